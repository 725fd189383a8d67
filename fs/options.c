/* SPDX-License-Identifier: MIT */
/*
 * fuse_opt takes the command line apart: it joins "-o" with its list, splits the list at commas,
 * undoes the backslashes, and hands over one option at a time. Each is then looked for in three
 * tables: our own options, those that go on to libfuse, fusermount3 and the kernel, and those that
 * fstab(5) may hold for other readers.
 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <linux/capability.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse.h>

#include "config.h"
#include "log.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

struct option {
	const char *name;
	/* Sets the field at offset from value, NULL when none was given. Returns 0, or -EINVAL and
	 * the caller says what is allowed. */
	int (*set)(void *field, const struct option *option, const char *value);
	size_t offset; /* in struct options */
	const char *allowed; /* for people */
	const char *const *choices; /* of set_choice: by enumerator, NULL at the end */
	uint64_t min, max; /* of numbers */
};

/* What one run over the command line has met. */
struct parse {
	struct options *options;
	bool help;
	bool version;
	bool fsname;
	bool subtype;
};

/* Decimal digits and nothing else up to *ret_rest. strtoull(3) alone would take " -1" for a large
 * number. */
static int parse_digits(const char *text, uint64_t *ret_number, const char **ret_rest)
{
	char *rest;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*ret_number = strtoull(text, &rest, 10);
	*ret_rest = rest;
	return errno ? -EINVAL : 0;
}

static int parse_count(const char *text, uint64_t *ret_count)
{
	const char *rest;

	if (parse_digits(text, ret_count, &rest) || *rest)
		return -EINVAL;
	return 0;
}

static int parse_size(const char *text, uint64_t *ret_bytes)
{
	unsigned shift = 0;
	const char *rest;

	if (parse_digits(text, ret_bytes, &rest))
		return -EINVAL;
	if (*rest) {
		switch (toupper((unsigned char)*rest++)) {
		case 'K':
			shift = 10;
			break;
		case 'M':
			shift = 20;
			break;
		case 'G':
			shift = 30;
			break;
		default:
			return -EINVAL;
		}
	}
	if (*rest || *ret_bytes > UINT64_MAX >> shift)
		return -EINVAL;
	*ret_bytes <<= shift;
	return 0;
}

static bool in_range(const struct option *option, uint64_t number)
{
	return number >= option->min && number <= option->max;
}

static int set_count(void *field, const struct option *option, const char *value)
{
	uint64_t count;

	if (!value || parse_count(value, &count) || !in_range(option, count))
		return -EINVAL;
	*(unsigned *)field = (unsigned)count;
	return 0;
}

static int set_bytes64(void *field, const struct option *option, const char *value)
{
	uint64_t bytes;

	if (!value || parse_size(value, &bytes) || !in_range(option, bytes))
		return -EINVAL;
	*(uint64_t *)field = bytes;
	return 0;
}

/* Pools are made of pages, and a request's payload of a number that the kernel can halve. */
static int set_buffer_bytes(void *field, const struct option *option, const char *value)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t bytes;

	if (set_bytes64(&bytes, option, value) || bytes < page || (bytes & (bytes - 1)))
		return -EINVAL;
	*(size_t *)field = (size_t)bytes;
	return 0;
}

/* Digits and a point; strtod(3) would also take "nan", "inf" and 0x10. */
static int set_seconds(void *field, const struct option *option, const char *value)
{
	double seconds;

	if (!value || !*value || value[strspn(value, "0123456789.")] ||
	    !strpbrk(value, "0123456789") || strchr(value, '.') != strrchr(value, '.'))
		return -EINVAL;
	seconds = strtod(value, NULL);
	if (seconds < (double)option->min || seconds > (double)option->max)
		return -EINVAL;
	*(double *)field = seconds;
	return 0;
}

static int set_choice(void *field, const struct option *option, const char *value)
{
	for (unsigned i = 0; value && option->choices[i]; i++)
		if (!strcmp(value, option->choices[i])) {
			*(unsigned *)field = i;
			return 0;
		}
	return -EINVAL;
}

static int set_flag(void *field, const struct option *option, const char *value)
{
	if (value && strcmp(value, "yes") && strcmp(value, "no"))
		return -EINVAL;
	*(bool *)field = !value || !strcmp(value, "yes");
	return 0;
}

/* A field that options_fini() frees. */
static int set_string(char **field, const char *value)
{
	char *copy = value ? strdup(value) : NULL;

	if (value && !copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int set_control(void *field, const struct option *option, const char *value)
{
	if (!value || !*value || strlen(value) > NAME_MAX || strchr(value, '/') ||
	    !strcmp(value, ".") || !strcmp(value, ".."))
		return -EINVAL;
	return set_string(field, strcmp(value, "off") ? value : NULL);
}

const char *const options_io_names[] = {
	[IO_AUTO] = "auto", [IO_FIXED] = "fixed", [IO_MIXED] = "mixed", [IO_PLAIN] = "plain", NULL
};
const char *const options_copy_names[] = {
	[COPY_AUTO] = "auto",	[COPY_CLONE] = "clone",	  [COPY_DIRECT] = "direct",
	[COPY_FIXED] = "fixed", [COPY_KERNEL] = "kernel", NULL
};
const char *const options_cache_names[] = {
	[CACHE_AUTO] = "auto", [CACHE_ALWAYS] = "always", [CACHE_NEVER] = "never", NULL
};
const char *const options_lock_names[] = {
	[LOCKS_LOCAL] = "local", [LOCKS_FORWARD] = "forward", NULL
};

static const char *const transport_modes[] = {
	[TRANSPORT_AUTO] = "auto", [TRANSPORT_URING] = "uring", [TRANSPORT_DEV] = "dev", NULL
};

static const char *const zerocopy_options[] = {
	[ZEROCOPY_AUTO] = "auto", [ZEROCOPY_OFF] = "off", NULL
};

static const char *const passthrough_options[] = { [PASSTHROUGH_OPTION_OFF] = "off",
						   [PASSTHROUGH_OPTION_RO] = "ro",
						   [PASSTHROUGH_OPTION_RW] = "rw",
						   NULL };

#define FIELD(name)	offsetof(struct options, name)
#define SECONDS_ALLOWED "seconds, 0 to 1000000000, as 1 or 0.5"
#define SECONDS_MAX	1000000000

/* clang-format off */
static const struct option own[] = {
	{ "io", set_choice, FIELD(io), "auto, fixed, mixed or plain", options_io_names },
	{ "transport", set_choice, FIELD(transport), "auto, uring or dev", transport_modes },
	{ "zerocopy", set_choice, FIELD(zerocopy), "auto or off", zerocopy_options },
	{ "passthrough", set_choice, FIELD(passthrough), "off, ro or rw", passthrough_options },
	{ "buffer_size", set_buffer_bytes, FIELD(max_write),
	  "a power of two from 4K (or a page) to 1M", NULL, 4 * KIB, MIB },
	{ "threads", set_count, FIELD(threads), "a number from 1 to 64", NULL, 1, 64 },
	{ "copy", set_choice, FIELD(copy), "auto, clone, direct, fixed or kernel", options_copy_names },
	{ "copy_threads", set_count, FIELD(copy_threads), "a number from 1 to 64", NULL, 1, 64 },
	{ "copy_buffer_size", set_buffer_bytes, FIELD(copy_buffer_size),
	  "a power of two from 4K (or a page) to 4M", NULL, 4 * KIB, 4 * MIB },
	{ "copy_buffers", set_count, FIELD(copy_buffers), "a number from 1 to 32", NULL, 1, 32 },
	{ "copy_max", set_bytes64, FIELD(copy_max), "a size from 4K to 2G", NULL, 4 * KIB, 2 * GIB },
	{ "cache", set_choice, FIELD(cache), "auto, always or never", options_cache_names },
	{ "attr_timeout", set_seconds, FIELD(attr_timeout), SECONDS_ALLOWED, NULL, 0, SECONDS_MAX },
	{ "entry_timeout", set_seconds, FIELD(entry_timeout), SECONDS_ALLOWED, NULL, 0, SECONDS_MAX },
	{ "negative_timeout", set_seconds, FIELD(negative_timeout), SECONDS_ALLOWED, NULL, 0, SECONDS_MAX },
	{ "writeback", set_flag, FIELD(writeback), "nothing, yes or no" },
	{ "locks", set_choice, FIELD(locks), "local or forward", options_lock_names },
	{ "control", set_control, FIELD(control), "one name without '/', or off" },
};
/* clang-format on */

/* Go on as they are. What ends in '=' takes a value. libfuse knows which of them are mount(2)
 * flags, which the kernel parses, and which are fusermount3's. */
static const char *const passed[] = {
	"ro",	      "rw",	     "suid",	     "nosuid",	  "dev",
	"nodev",      "exec",	     "noexec",	     "atime",	  "noatime",
	"nodiratime", "symfollow",   "nosymfollow",  "async",	  "sync",
	"dirsync",    "allow_other", "auto_unmount", "max_read=", "context=",
	"fscontext=", "defcontext=", "rootcontext=", "fsname=",	  "subtype=",
};

/* For mount(8), systemd and others who read fstab, or the default anyway, or about times, in which
 * the backing filesystem has the say. */
static const char *const ignored[] = {
	"defaults",    "auto",
	"noauto",      "user",
	"user=",       "users",
	"nouser",      "owner",
	"group",       "nofail",
	"_netdev",     "comment=",
	"nonempty",    "default_permissions",
	"relatime",    "norelatime",
	"strictatime", "nostrictatime",
	"diratime",    "lazytime",
	"nolazytime",
};

static bool is_listed(const char *const *list, size_t count, const char *option)
{
	const char *equals = strchr(option, '=');
	const size_t size = equals ? (size_t)(equals - option) + 1 : strlen(option);

	for (size_t i = 0; i < count; i++)
		if (strlen(list[i]) == size && !memcmp(list[i], option, size))
			return true;
	return false;
}
#define IS_LISTED(list, option) is_listed(list, sizeof(list) / sizeof(list[0]), option)

static int out_of_memory(void)
{
	log_error("no memory to read the options");
	return -1;
}

static int pass_on(struct parse *parse, const char *option)
{
	struct options *options = parse->options;

	if (!strcmp(option, "ro") || !strcmp(option, "rw"))
		options->read_only = option[1] == 'o';
	else if (!strcmp(option, "atime") || !strcmp(option, "noatime"))
		options->noatime = option[0] == 'n';
	else if (!strcmp(option, "nodiratime"))
		options->nodiratime = true;
	else if (!strcmp(option, "allow_other"))
		options->allow_other = true;
	else if (!strcmp(option, "auto_unmount"))
		options->auto_unmount = true;
	else if (!strncmp(option, "fsname=", 7))
		parse->fsname = true;
	else if (!strncmp(option, "subtype=", 8))
		parse->subtype = true;
	if (fuse_opt_add_opt_escaped(&options->kernel_options, option))
		return out_of_memory();
	return 0;
}

/* Whether text, up to its '=' or end, is name; '-' counts as '_'. */
static bool is_named(const char *text, const char *name)
{
	while (*name && (*text == '-' ? '_' : *text) == *name)
		text++, name++;
	return !*name && (!*text || *text == '=');
}

static const struct option *find_own(const char *text)
{
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (is_named(text, own[i].name))
			return &own[i];
	return NULL;
}

/* text is "name=value" or "name". */
static int set_own(struct options *options, const struct option *option, const char *text)
{
	const char *equals = strchr(text, '=');
	const char *value = equals ? equals + 1 : NULL;
	int err = option->set((char *)options + option->offset, option, value);

	if (err == -ENOMEM)
		return out_of_memory();
	if (err && !value)
		log_error("option %s needs a value: %s", option->name, option->allowed);
	else if (err)
		log_error("option %s=%s: not allowed; it takes %s", option->name, value,
			  option->allowed);
	return err ? -1 : 0;
}

static int unknown_option(const char *option)
{
	log_error("unknown option `%s' (zcfs -h lists them)", option);
	return -1;
}

/* -x, and the long forms of -h and -V. */
static int take_flag(struct parse *parse, const char *arg)
{
	struct options *options = parse->options;

	if (!strcmp(arg, "-f")) {
		options->foreground = true;
	} else if (!strcmp(arg, "-d")) {
		options->foreground = options->debug = true;
	} else if (!strcmp(arg, "-s")) {
		options->threads = 1;
	} else if (!strcmp(arg, "-h") || !strcmp(arg, "--help")) {
		parse->help = true;
	} else if (!strcmp(arg, "-V") || !strcmp(arg, "--version")) {
		parse->version = true;
	} else {
		return unknown_option(arg);
	}
	return 0;
}

/* One element of a -o list. */
static int take_mount_option(struct parse *parse, const char *arg)
{
	if (IS_LISTED(passed, arg))
		return pass_on(parse, arg);
	if (!strcmp(arg, "debug"))
		return take_flag(parse, "-d");
	if (!*arg || IS_LISTED(ignored, arg) || !strncmp(arg, "x-", 2) || !strncmp(arg, "X-", 2))
		return 0;
	return unknown_option(arg);
}

static int take_directory(struct options *options, const char *arg)
{
	if (options->backing && options->mountpoint) {
		log_error("too many arguments: `%s' after backing directory and mount point", arg);
		return -1;
	}
	if (set_string(options->backing ? &options->mountpoint : &options->backing, arg))
		return out_of_memory();
	return 0;
}

/* fuse_opt's callback: 0 takes the argument out of the list, -1 ends the parsing. */
static int take(void *data, const char *arg, int key, struct fuse_args *rest)
{
	struct parse *parse = data;
	const bool is_long = !strncmp(arg, "--", 2);
	const struct option *option;

	if (key == FUSE_OPT_KEY_NONOPT)
		return take_directory(parse->options, arg);
	option = find_own(is_long ? arg + 2 : arg);
	if (option)
		return set_own(parse->options, option, is_long ? arg + 2 : arg);
	return *arg == '-' ? take_flag(parse, arg) : take_mount_option(parse, arg);
}

/*
 * The absolute path without symbolic links, or the path as it is when it leads nowhere: who opens
 * it then says so. Slashes at the end are dropped first: with them realpath(3) asks the filesystem
 * that is mounted there, which may never answer.
 */
static int resolve(char **path)
{
	size_t size = strlen(*path);
	char *resolved;

	while (size > 1 && (*path)[size - 1] == '/')
		(*path)[--size] = '\0';
	resolved = realpath(*path, NULL);
	if (!resolved)
		return errno == ENOMEM ? -ENOMEM : 0;
	free(*path);
	*path = resolved;
	return 0;
}

static int add_source(struct options *options)
{
	char *option;
	int err;

	if (asprintf(&option, "fsname=%s", options->backing) < 0)
		return -1;
	err = fuse_opt_add_opt_escaped(&options->kernel_options, option);
	free(option);
	return err;
}

/* The kernel has either a page cache of the mount or none. */
static int check_passthrough(const struct options *options)
{
	const char *other = options->writeback		    ? "writeback"
			    : options->cache == CACHE_NEVER ? "cache=never"
							    : NULL;

	if (options->passthrough == PASSTHROUGH_OPTION_OFF || !other)
		return 0;
	log_error("passthrough and %s exclude each other: the kernel passes no file through then",
		  other);
	return -1;
}

/* What every mount has. The kernel decides by mode and owner who may do what (default_permissions),
 * because the backing filesystem is only asked by the daemon. */
static int complete(struct parse *parse)
{
	struct options *options = parse->options;

	if (resolve(&options->backing) || resolve(&options->mountpoint) ||
	    fuse_opt_add_opt(&options->kernel_options, "default_permissions") ||
	    (!parse->subtype && fuse_opt_add_opt(&options->kernel_options, "subtype=zcfs")) ||
	    (!parse->fsname && add_source(options)))
		return out_of_memory();
	return 0;
}

static bool may_lock_memory(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &header, data) == 0 &&
	       data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK);
}

/* The smaller of wanted and what the limit affords, but never less than 1. */
static unsigned afford(unsigned wanted, uint64_t affordable)
{
	if (affordable >= wanted)
		return wanted;
	return affordable ? (unsigned)affordable : 1;
}

/* Half of the limit: copiers may have as much, so that whoever starts last finds some left. */
uint64_t options_lockable(void)
{
	struct rlimit limit;

	if (may_lock_memory() || getrlimit(RLIMIT_MEMLOCK, &limit) ||
	    limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur / 2;
}

/* A limit too small for one is no reason to have only one: none will be registered. */
static unsigned afford_locked(unsigned wanted, uint64_t bytes_each)
{
	const uint64_t affordable = options_lockable() / bytes_each;

	return affordable ? afford(wanted, affordable) : wanted;
}

/*
 * Workers that stand for lack of a processor are of no use, workers that wait for a disk are: twice
 * the processors. Each needs two descriptors, of which most are to be left for files, and registers
 * a buffer with a page before it.
 */
static unsigned default_threads(const struct options *options)
{
	unsigned threads = 4;
	struct rlimit limit;
	cpu_set_t cpus;

	if (!sched_getaffinity(0, sizeof(cpus), &cpus) && CPU_COUNT(&cpus) > 2)
		threads = CPU_COUNT(&cpus) < 8 ? 2 * (unsigned)CPU_COUNT(&cpus) : 16;
	if (!getrlimit(RLIMIT_NOFILE, &limit))
		threads = afford(threads, limit.rlim_max > 40 ? (limit.rlim_max - 40) / 6 : 1);
	return afford_locked(threads, options->max_write + (uint64_t)sysconf(_SC_PAGESIZE));
}

static unsigned default_copy_threads(const struct options *options)
{
	return afford_locked(4, (uint64_t)options->copy_buffers * options->copy_buffer_size);
}

static const char help_text[] =
	"usage: zcfs [options] BACKING MOUNTPOINT\n"
	"       zcfs status [-w] [--json] MOUNTPOINT (zcfs status --help)\n"
	"\n"
	"Mirrors the directory BACKING at MOUNTPOINT; file data travels in io_uring's registered\n"
	"buffers. Each --name=value works as -o name=value too. SIZE takes K, M or G.\n"
	"\n"
	"reads and writes\n"
	"    --io=auto|fixed|mixed|plain   registered buffers if they can be had; or do not\n"
	"                              start; but small writes by pwrite; never (auto)\n"
	"    --transport=auto|uring|dev   requests over io_uring where the kernel has it, or by\n"
	"                              /dev/fuse alone (auto)\n"
	"    --zerocopy=auto|off       over io_uring, data does not come to zcfs where the kernel\n"
	"                              can do so: root, Linux 7.3 (auto)\n"
	"    --passthrough=off|ro|rw   let the kernel read, or read and write, backing files by\n"
	"                              itself: root, Linux 6.9 (off)\n"
	"    --buffer_size=SIZE        bytes of a request at most: a power of two, 4K to 1M (1M)\n"
	"    --threads=N               request workers at most: 1 to 64 (by processors and\n"
	"                              limits, 4 to 16)\n"
	"    -s                        --threads=1\n"
	"copies inside the mount\n"
	"    --copy=auto|clone|direct|fixed|kernel\n"
	"                              whatever moves least; share blocks or refuse; around the\n"
	"                              page cache; through it; by copy_file_range(2) (auto)\n"
	"    --copy_threads=N          copies in flight at most: 1 to 64 (4)\n"
	"    --copy_buffers=N          buffers in flight for each: 1 to 32 (4)\n"
	"    --copy_buffer_size=SIZE   of each buffer: a power of two, 4K to 4M (1M)\n"
	"    --copy_max=SIZE           that one request copies at most: 4K to 2G (256M)\n"
	"caching\n"
	"    --cache=auto|always|never keep file data until the backing file changes; until asked\n"
	"                              not to; do not (auto)\n"
	"    --attr_timeout=S          seconds that attributes are kept (1)\n"
	"    --entry_timeout=S         seconds that names are kept (1)\n"
	"    --negative_timeout=S      seconds that the absence of a name is kept (0)\n"
	"    --writeback               collect writes in the page cache\n"
	"other\n"
	"    --locks=local|forward     locks are seen in the mount only, or by users of BACKING "
	"too\n"
	"                              (local)\n"
	"    --control=NAME|off        name of the directory with counters and status (.zcfs)\n"
	"    -f, -d                    stay in the foreground; with debugging messages\n"
	"    -h, -V                    this text; the version\n"
	"    -o OPTION[,OPTION...]     ro, allow_other, auto_unmount, nosuid, nodev, noexec, "
	"noatime,\n"
	"                              sync, fsname=..., context=... and the like; what is for\n"
	"                              others in fstab (nofail, _netdev, x-...) is ignored\n"
	"\n"
	"fusermount3 -u MOUNTPOINT unmounts. See zcfs(1).\n";

static int answer_help(void)
{
	fputs(help_text, stdout);
	return EXIT_OK;
}

static int answer_version(void)
{
	printf("zcfs %s, libfuse %s\n", ZCFS_VERSION, fuse_pkgversion());
	return EXIT_OK;
}

static int usage(const struct options *options)
{
	log_error("%s is missing", options->backing ? "the mount point" : "the backing directory");
	log_error("usage: zcfs [options] BACKING MOUNTPOINT (zcfs -h lists the options)");
	return EXIT_NO_MOUNTPOINT;
}

int options_parse(struct options *options, int argc, char **argv)
{
	struct parse parse = { .options = options };
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	int err;

	*options = (struct options){
		.attr_timeout = 1,
		.entry_timeout = 1,
		.max_write = MIB,
		.copy_buffer_size = MIB,
		.copy_buffers = 4,
		.copy_max = 256 * MIB,
	};
	if (set_string(&options->control, ".zcfs")) {
		out_of_memory();
		return EXIT_USAGE;
	}
	err = fuse_opt_parse(&args, &parse, NULL, take);
	fuse_opt_free_args(&args);
	if (err)
		return EXIT_USAGE;
	if (parse.help)
		return answer_help();
	if (parse.version)
		return answer_version();
	if (!options->backing || !options->mountpoint)
		return usage(options);
	if (check_passthrough(options))
		return EXIT_USAGE;
	if (!options->threads)
		options->threads = default_threads(options);
	if (!options->copy_threads)
		options->copy_threads = default_copy_threads(options);
	return complete(&parse) ? EXIT_USAGE : -1;
}

void options_fini(struct options *options)
{
	free(options->backing);
	free(options->mountpoint);
	free(options->kernel_options);
	free(options->control);
	*options = (struct options){ .control = NULL };
}
