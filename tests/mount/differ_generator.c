/* SPDX-License-Identifier: MIT */
/*
 * Steps at random, but not blindly: paths are mostly of what exists, descriptors mostly open ones,
 * numbers those at which something changes.
 */
#include "differ.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif

struct choice {
	const char *name; /* NULL: show the number */
	long value;
	unsigned odds; /* of a flag: one in so many; of one of several: 0 */
};

#define V(value)                 \
	{                        \
#value, value, 0 \
	}
#define BIT(bit, odds)          \
	{                       \
#bit, bit, odds \
	}
#define OCTAL(value)             \
	{                        \
#value, value, 0 \
	}

static const struct choice open_flags[] = {
	V(O_RDONLY),	      V(O_WRONLY),     V(O_RDWR),	   V(O_RDWR),
	BIT(O_CREAT, 2),      BIT(O_EXCL, 8),  BIT(O_TRUNC, 8),	   BIT(O_APPEND, 8),
	BIT(O_DIRECT, 16),    BIT(O_SYNC, 60), BIT(O_DSYNC, 60),   BIT(O_NOFOLLOW, 12),
	BIT(O_DIRECTORY, 10), BIT(O_PATH, 16), BIT(O_NOATIME, 16),
};
static const struct choice modes[] = {
	OCTAL(0644),  OCTAL(0755),  OCTAL(0600),  OCTAL(0700),	OCTAL(0777),
	OCTAL(0666),  OCTAL(0),	    OCTAL(0444),  OCTAL(04755), OCTAL(02755),
	OCTAL(01777), OCTAL(02770), OCTAL(06711), OCTAL(02644), OCTAL(06664),
};
static const struct choice lengths[] = {
	V(0),	 V(1),	  V(7),	    V(511),   V(512),	V(1000),   V(4095),   V(4096),
	V(4097), V(8192), V(12288), V(16384), V(65536), V(100001), V(131072), V(200000),
};
static const struct choice ranges[] = {
	V(0), V(1), V(512), V(4096), V(4097), V(8192), V(65536), V(100000), V(262144), V(-1),
};
static const struct choice offsets[] = {
	V(0),	   V(0),      V(0),	 V(1),	     V(511),	    V(512),   V(4095),
	V(4096),   V(4097),   V(8192),	 V(12288),   V(20000),	    V(65536), V(65537),
	V(131072), V(262144), V(300000), V(1048576), V(4294967296), V(-1),    V(0x7fffffffffffffff),
};
static const struct choice setfl_flags[] = { V(0), V(O_APPEND), V(O_NOATIME), V(O_DIRECT) };
static const struct choice read_flags[] = { V(0), V(0), V(RWF_HIPRI), { "0x8000", 0x8000, 0 } };
static const struct choice write_flags[] = { V(0), V(RWF_DSYNC), V(RWF_SYNC), V(RWF_APPEND),
					     V(RWF_NOAPPEND) };
static const struct choice whences[] = { V(SEEK_SET),  V(SEEK_SET),  V(SEEK_CUR),  V(SEEK_END),
					 V(SEEK_DATA), V(SEEK_HOLE), { "9", 9, 0 } };
static const struct choice fallocate_modes[] = {
	V(0),
	V(FALLOC_FL_KEEP_SIZE),
	V(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
	V(FALLOC_FL_PUNCH_HOLE),
	V(FALLOC_FL_ZERO_RANGE),
	V(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE),
	V(FALLOC_FL_COLLAPSE_RANGE),
	V(FALLOC_FL_INSERT_RANGE),
	V(FALLOC_FL_UNSHARE_RANGE),
};
static const struct choice advices[] = {
	V(POSIX_FADV_NORMAL),	V(POSIX_FADV_SEQUENTIAL), V(POSIX_FADV_RANDOM),
	V(POSIX_FADV_WILLNEED), V(POSIX_FADV_DONTNEED),	  V(77),
};
static const struct choice statx_flags[] = { V(0), V(AT_SYMLINK_NOFOLLOW), V(AT_STATX_FORCE_SYNC),
					     V(AT_NO_AUTOMOUNT) };
static const struct choice statx_masks[] = { V(STATX_BASIC_STATS | STATX_BTIME), V(STATX_SIZE),
					     V(0) };
static const struct choice access_modes[] = { V(F_OK), V(R_OK),	       V(W_OK),
					      V(X_OK), V(R_OK | W_OK), V(R_OK | W_OK | X_OK),
					      V(8) };
static const struct choice at_flags[] = { V(0), V(0), V(AT_SYMLINK_NOFOLLOW), V(AT_EACCESS) };
static const struct choice users[] = { V(-1), V(0), V(FIRST_USER + 1), V(FIRST_USER + 2) };
static const struct choice groups[] = { V(-1), V(0), V(FIRST_USER + 1), V(FIRST_USER + 2),
					V(COMMON_GROUP) };
/* See look_at_stat() on which are shown as they are. */
static const struct choice times[] = { V(UTIME_NOW), V(UTIME_OMIT), V(0),	  V(1),
				       V(123456789), V(-1000),	    V(4102444801) };
static const struct choice inode_flags[] = { V(FS_NODUMP_FL), V(FS_NOATIME_FL) };
static const struct choice link_flags[] = { V(0), V(AT_SYMLINK_FOLLOW) };
static const struct choice unlink_flags[] = { V(0), V(AT_REMOVEDIR) };
static const struct choice types[] = { V(S_IFREG), V(S_IFIFO), V(S_IFSOCK), V(S_IFCHR),
				       V(S_IFBLK), V(0),       V(S_IFDIR) };
static const struct choice rename_flags[] = { V(RENAME_NOREPLACE),
					      V(RENAME_EXCHANGE),
					      V(RENAME_EXCHANGE),
					      V(RENAME_WHITEOUT),
					      V(RENAME_NOREPLACE | RENAME_EXCHANGE),
					      V(8) };
static const struct choice umasks[] = { OCTAL(022), OCTAL(0), OCTAL(007), OCTAL(027) };
static const struct choice xattrs[] = {
	{ "user.a", 0, 0 },
	{ "user.a", 0, 0 },
	{ "user.b", 1, 0 },
	{ "trusted.a", 2, 0 },
	{ "security.zcfs_test", 3, 0 },
	{ "system.posix_acl_access", 4, 0 },
	{ "system.posix_acl_access", 4, 0 },
	{ "system.posix_acl_default", 5, 0 },
	{ "foo.bar", 6, 0 },
	{ "user.", 7, 0 },
	{ "security.capability", 8, 0 },
};
static const struct choice xattr_sizes[] = {
	V(0), V(1), V(10), V(100), V(1000), V(5000), V(65537)
};
static const struct choice xattr_flags[] = { V(0), V(0), V(XATTR_CREATE), V(XATTR_REPLACE) };
static const struct choice flocks[] = { V(LOCK_SH), V(LOCK_EX), V(LOCK_UN) };
static const struct choice locks[] = { V(F_RDLCK), V(F_WRLCK), V(F_UNLCK) };
static const struct choice protections[] = { V(PROT_READ), V(PROT_READ | PROT_WRITE),
					     V(PROT_WRITE) };
static const struct choice map_flags[] = { V(MAP_SHARED), V(MAP_SHARED), V(MAP_PRIVATE) };
static const struct choice maps[] = { V(0), V(1) };
static const struct choice limits[] = { V(-1), V(-1), V(150000) };

#define KIND(letter, choices)                                           \
	{                                                               \
		letter, choices, sizeof(choices) / sizeof((choices)[0]) \
	}

static const struct kind {
	char letter;
	const struct choice *choices;
	unsigned count;
} kinds[] = {
	KIND('O', open_flags),	    KIND('m', modes),	     KIND('n', lengths),
	KIND('N', ranges),	    KIND('z', offsets),	     KIND('E', setfl_flags),
	KIND('r', read_flags),	    KIND('w', write_flags),  KIND('W', whences),
	KIND('A', fallocate_modes), KIND('a', advices),	     KIND('x', statx_flags),
	KIND('X', statx_masks),	    KIND('R', access_modes), KIND('y', at_flags),
	KIND('u', users),	    KIND('G', groups),	     KIND('t', times),
	KIND('F', inode_flags),	    KIND('l', link_flags),   KIND('d', unlink_flags),
	KIND('M', types),	    KIND('e', rename_flags), KIND('k', umasks),
	KIND('b', xattrs),	    KIND('s', xattr_sizes),  KIND('q', xattr_flags),
	KIND('L', flocks),	    KIND('T', locks),	     KIND('i', protections),
	KIND('h', map_flags),	    KIND('V', maps),	     KIND('S', limits),
};

static const struct kind *find_kind(char letter)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].letter == letter)
			return &kinds[i];
	return NULL;
}

static uint32_t pick(struct generator *generator, uint32_t below)
{
	generator->state = generator->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(generator->state >> 33) % below;
}

/* ---- paths ---- */

static const char *const strange_paths[] = {
	"", ".", "a/", "b/.", "nothing/x", "c//d", "..", "../a", "/a", "a/../b", "b/..",
};

static const char *const names[] = { "a", "b", "c", "d", "e", "f", "name\nof\377two lines" };
#define PICK(generator, list) ((list)[pick(generator, sizeof(list) / sizeof((list)[0]))])

/* Without a root of our own ".." and "/" lead out of the side. */
static bool leads_out(const struct generator *generator, const char *path)
{
	return !generator->rules->root && (*path == '/' || strstr(path, ".."));
}

static void long_name(struct generator *generator, char path[PATH_SIZE])
{
	const size_t size = 254 + pick(generator, 3);

	memset(path, 'n', size);
	path[size] = '\0';
}

static void strange_path(struct generator *generator, char path[PATH_SIZE])
{
	const char *chosen;

	if (pick(generator, 4) == 0) {
		long_name(generator, path);
		return;
	}
	do
		chosen = PICK(generator, strange_paths);
	while (leads_out(generator, chosen));
	snprintf(path, PATH_SIZE, "%s", chosen);
}

static void new_path(struct generator *generator, char path[PATH_SIZE])
{
	const char *directory = "";

	if (generator->directory_count && pick(generator, 3))
		directory = generator->directory[pick(generator, generator->directory_count)];
	if (strlen(directory) > 40)
		directory = "";
	snprintf(path, PATH_SIZE, "%.250s%s%s", directory, *directory ? "/" : "",
		 PICK(generator, names));
}

static void pick_path(struct generator *generator, char path[PATH_SIZE])
{
	const unsigned way = pick(generator, 40);

	if (way == 0)
		strange_path(generator, path);
	else if (way < 12 || !generator->path_count)
		new_path(generator, path);
	else
		memcpy(path, generator->path[pick(generator, generator->path_count)], PATH_SIZE);
}

static void find_paths(struct generator *generator, int root_fd, const char *path)
{
	struct dirent **list;
	int count = scan_quietly(root_fd, *path ? path : ".", &list);

	for (int i = 0; i < count; i++) {
		char below[PATH_SIZE + 260];
		const size_t size = (size_t)snprintf(below, sizeof(below), "%s%s%s", path,
						     *path ? "/" : "", list[i]->d_name);
		const bool room = generator->path_count <
				  sizeof(generator->path) / sizeof(generator->path[0]);

		if (size < PATH_SIZE && room) {
			memcpy(generator->path[generator->path_count++], below, size + 1);
			if (list[i]->d_type == DT_DIR && generator->directory_count < 64) {
				memcpy(generator->directory[generator->directory_count++], below,
				       size + 1);
				find_paths(generator, root_fd, below);
			}
		}
		free(list[i]);
	}
	if (count >= 0)
		free(list);
}

/* ---- steps ---- */

static long pick_slot(struct generator *generator, unsigned actor)
{
	long slot = 0;

	for (unsigned tries = 0; tries < 6; tries++) {
		slot = pick(generator, SLOTS);
		if (generator->open[actor][slot])
			break;
	}
	return slot;
}

static long pick_choice(struct generator *generator, const struct kind *kind)
{
	unsigned plain = 0;
	long value;

	while (plain < kind->count && !kind->choices[plain].odds)
		plain++;
	value = kind->choices[pick(generator, plain)].value;
	for (unsigned i = plain; i < kind->count; i++)
		if (pick(generator, kind->choices[i].odds) == 0)
			value |= kind->choices[i].value;
	return value;
}

static long pick_number(struct generator *generator, char letter, unsigned actor)
{
	switch (letter) {
	case 'f':
	case 'g':
		return pick_slot(generator, actor);
	case 'o':
		return pick(generator, SLOTS);
	case 'D':
		return pick(generator, 512);
	default:
		return pick_choice(generator, find_kind(letter));
	}
}

/* The more there is, the more is taken away. */
static bool is_unwelcome(struct generator *generator, const char *name)
{
	const bool adds = !strcmp(name, "mkdir") || !strcmp(name, "mknod") ||
			  !strcmp(name, "link") || !strcmp(name, "symlink") ||
			  !strcmp(name, "creat") || !strcmp(name, "mkdirat");

	return adds && pick(generator, 60) < generator->path_count;
}

static unsigned pick_call(struct generator *generator)
{
	unsigned call;

	do {
		unsigned at = pick(generator, generator->weights);

		for (call = 0; at >= calls[call].weight; call++)
			at -= calls[call].weight;
	} while (is_unwelcome(generator, calls[call].name));
	return call;
}

void generator_make(struct generator *generator, struct step *ret_step)
{
	do {
		unsigned n = 0;

		*ret_step = (struct step){
			.call = pick_call(generator),
			/* Mostly the first: others often may not. */
			.actor = pick(generator, 2) ? 0 : pick(generator, ACTORS),
			.look = pick(generator, 2) == 0,
			.timed = pick(generator, 24) == 0 && rules_allow_timed(generator->rules),
		};
		for (const char *at = calls[ret_step->call].arguments; *at; at++) {
			if (*at == 'p')
				pick_path(generator, ret_step->path[0]);
			else if (*at == 'P')
				pick_path(generator, ret_step->path[1]);
			else
				ret_step->n[n++] = pick_number(generator, *at, ret_step->actor);
		}
	} while (rules_forbid(generator->rules, ret_step));
}

static bool has_path(const struct step *step)
{
	return strchr(calls[step->call].arguments, 'p') != NULL;
}

void generator_learn(struct generator *generator, const struct step *step, bool succeeded,
		     int native_fd)
{
	const char *arguments = calls[step->call].arguments;
	unsigned n = 0;

	if (!strcmp(calls[step->call].name, "close"))
		generator->open[step->actor][step->n[0]] = false;
	if (!succeeded)
		return;
	for (; *arguments; arguments++) {
		if (*arguments == 'o')
			generator->open[step->actor][step->n[n]] = true;
		n += *arguments != 'p' && *arguments != 'P';
	}
	if (has_path(step)) {
		generator->path_count = generator->directory_count = 0;
		find_paths(generator, native_fd, "");
	}
}

void generator_init(struct generator *generator, uint64_t seed, const struct rules *rules)
{
	*generator = (struct generator){
		.rules = rules,
		.state = seed * 2654435761U + 12345,
	};
	for (unsigned i = 0; i < call_count; i++)
		generator->weights += calls[i].weight;
}

/* ---- showing ---- */

static void print_path(const char *path, FILE *out)
{
	fputc('"', out);
	for (; *path; path++)
		if (*path >= ' ' && *path <= '~')
			fputc(*path, out);
		else
			fprintf(out, "\\%03o", (unsigned char)*path);
	fputc('"', out);
}

static void print_choice(const struct kind *kind, long value, FILE *out)
{
	const char *between = "";

	for (unsigned i = 0; i < kind->count; i++) {
		const struct choice *choice = &kind->choices[i];

		if (choice->odds && (value & choice->value) == choice->value) {
			fprintf(out, "%s%s", between, choice->name);
			between = "|";
			value &= ~choice->value;
		}
	}
	for (unsigned i = 0; i < kind->count; i++)
		if (kind->choices[i].value == value && (value || !*between)) {
			fprintf(out, "%s%s", between, kind->choices[i].name);
			return;
		}
	if (value)
		fprintf(out, "%s%#lx", between, (unsigned long)value);
}

void step_print(const struct step *step, FILE *out)
{
	const char *between = "";
	unsigned n = 0;

	fprintf(out, "%u: %s(", step->actor, calls[step->call].name);
	for (const char *at = calls[step->call].arguments; *at; at++) {
		const struct kind *kind = find_kind(*at);

		fputs(between, out);
		between = ", ";
		if (*at == 'p' || *at == 'P')
			print_path(step->path[*at == 'P'], out);
		else if (kind)
			print_choice(kind, step->n[n++], out);
		else
			fprintf(out, "%s%ld", *at == 'D' ? "seed " : "fd ", step->n[n++]);
	}
	fprintf(out, ")%s%s\n", step->look ? " look" : "", step->timed ? " timed" : "");
}
