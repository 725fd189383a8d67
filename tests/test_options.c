/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/options.h"

#define GOES_ON (-1)

/* What was said on stdout or stderr while options_parse() ran. */
struct capture {
	int target;
	int saved;
	int file;
	char text[8192];
};

static void capture_start(struct capture *capture, int target)
{
	fflush(NULL);
	capture->target = target;
	capture->saved = dup(target);
	capture->file = memfd_create("capture", MFD_CLOEXEC);
	assert_true(capture->saved >= 0 && capture->file >= 0);
	assert_true(dup2(capture->file, target) >= 0);
}

static void capture_stop(struct capture *capture)
{
	ssize_t n;

	fflush(NULL);
	n = pread(capture->file, capture->text, sizeof(capture->text) - 1, 0);
	capture->text[n > 0 ? n : 0] = '\0';
	dup2(capture->saved, capture->target);
	close(capture->saved);
	close(capture->file);
}

/* The words of line, parted by one space, are the command line. */
static int parse(struct options *options, const char *line)
{
	char *copy = strdup(line);
	char *argv[32] = { copy };
	char *rest = copy;
	int argc = 0;
	int code;

	assert_non_null(copy);
	while ((argv[argc] = strsep(&rest, " ")))
		argc++;
	code = options_parse(options, argc, argv);
	free(copy);
	return code;
}

static void assert_accepted(struct options *options, const char *line)
{
	assert_int_equal(parse(options, line), GOES_ON);
}

/* Expects the exit code, and a message that holds each of the texts up to NULL. */
static void assert_refused(int code, const char *line, ...)
{
	struct options options;
	struct capture capture;
	const char *text;
	va_list texts;
	int got;

	capture_start(&capture, STDERR_FILENO);
	got = parse(&options, line);
	capture_stop(&capture);
	options_fini(&options);
	if (got != code)
		fail_msg("%s: exit code %d instead of %d", line, got, code);
	va_start(texts, line);
	while ((text = va_arg(texts, const char *)))
		if (!strstr(capture.text, text))
			fail_msg("%s: no \"%s\" in: %s", line, text, capture.text);
	va_end(texts);
}

static bool has_kernel_option(const struct options *options, const char *option)
{
	const size_t size = strlen(option);
	const char *at = options->kernel_options;

	while (at && *at) {
		if (!strncmp(at, option, size) && (at[size] == ',' || !at[size]))
			return true;
		at = strchr(at, ',');
		at += at != NULL;
	}
	return false;
}

static void defaults_are_those_of_the_manual(void **state)
{
	struct options options;

	assert_accepted(&options, "zcfs /usr /");
	assert_string_equal(options.backing, "/usr");
	assert_string_equal(options.mountpoint, "/");
	assert_false(options.foreground || options.debug || options.allow_other ||
		     options.read_only || options.writeback);
	assert_int_equal(options.io, IO_AUTO);
	assert_int_equal(options.cache, CACHE_AUTO);
	assert_int_equal(options.locks, LOCKS_LOCAL);
	assert_true(options.attr_timeout == 1 && options.entry_timeout == 1 &&
		    options.negative_timeout == 0);
	assert_true(options.threads >= 1 && options.threads <= 16);
	assert_int_equal(options.max_write, 1 << 20);
	assert_true(options.copy_threads >= 1 && options.copy_threads <= 4);
	assert_int_equal(options.copy_buffers, 4);
	assert_int_equal(options.copy_buffer_size, 1 << 20);
	assert_int_equal(options.copy_max, 256 << 20);
	assert_string_equal(options.control, ".zcfs");
	options_fini(&options);
}

static void check_own_options(const struct options *options)
{
	assert_int_equal(options->io, IO_PLAIN);
	assert_int_equal(options->cache, CACHE_NEVER);
	assert_int_equal(options->locks, LOCKS_FORWARD);
	assert_true(options->attr_timeout == 0.5 && options->entry_timeout == 60 &&
		    options->negative_timeout == .25);
	assert_true(options->writeback);
	assert_int_equal(options->threads, 3);
	assert_int_equal(options->max_write, 128 << 10);
	assert_int_equal(options->copy_threads, 2);
	assert_int_equal(options->copy_buffer_size, 64 << 10);
	assert_int_equal(options->copy_buffers, 5);
	assert_int_equal(options->copy_max, 1 << 30);
	assert_string_equal(options->control, "control");
}

static void own_options_work_as_long_options(void **state)
{
	struct options options;

	assert_accepted(&options,
			"zcfs --io=plain --cache=never --locks=forward --attr_timeout=0.5 "
			"--entry_timeout=60 --negative_timeout=.25 --writeback --threads=3 "
			"--buffer_size=128K --copy_threads=2 --copy_buffer_size=65536 "
			"--copy_buffers=5 --copy_max=1g --control=control / /");
	check_own_options(&options);
	options_fini(&options);
}

static void own_options_work_in_a_list_as_in_fstab(void **state)
{
	struct options options;

	assert_accepted(
		&options,
		"zcfs / / -o io=plain,cache=never,locks=forward,attr_timeout=0.5,entry_timeout=60 "
		"-onegative_timeout=.25,writeback=yes,threads=3,buffer_size=128k "
		"-o "
		"copy_threads=2,copy_buffer_size=64K,copy_buffers=5,copy_max=1G,control=control");
	check_own_options(&options);
	options_fini(&options);
}

static void dashes_do_for_underscores(void **state)
{
	struct options options;

	assert_accepted(&options, "zcfs --attr-timeout=3 --copy-buffer-size=8K -o entry-timeout=4 "
				  "/ /");
	assert_true(options.attr_timeout == 3 && options.entry_timeout == 4);
	assert_int_equal(options.copy_buffer_size, 8192);
	options_fini(&options);
}

static void the_last_of_several_counts(void **state)
{
	struct options options;

	assert_accepted(&options, "zcfs --io=plain --writeback -o io=fixed,writeback=no,ro,rw / /");
	assert_int_equal(options.io, IO_FIXED);
	assert_false(options.writeback || options.read_only);
	options_fini(&options);
}

static void flags_of_the_fuse_world_are_known(void **state)
{
	struct options options;

	assert_accepted(&options, "zcfs -f -s / /");
	assert_true(options.foreground && !options.debug && options.threads == 1);
	options_fini(&options);
	assert_accepted(&options, "zcfs / / -d");
	assert_true(options.foreground && options.debug);
	options_fini(&options);
	assert_accepted(&options, "zcfs / / -o debug");
	assert_true(options.foreground && options.debug);
	options_fini(&options);
}

static void control_can_be_switched_off(void **state)
{
	struct options options;

	assert_accepted(&options, "zcfs --control=off / /");
	assert_null(options.control);
	options_fini(&options);
}

static void nonsense_is_refused_with_option_value_and_what_is_allowed(void **state)
{
	static const struct {
		const char *option, *value, *allowed;
	} nonsense[] = {
		{ "io", "fast", "auto, fixed, mixed or plain" },
		{ "io", "", "auto, fixed, mixed or plain" },
		{ "copy", "plain", "auto, clone, direct, fixed or kernel" },
		{ "cache", "autox", "auto, always or never" },
		{ "locks", "none", "local or forward" },
		{ "threads", "0", "1 to 64" },
		{ "threads", "65", "1 to 64" },
		{ "threads", "-1", "1 to 64" },
		{ "threads", "+1", "1 to 64" },
		{ "threads", "4x", "1 to 64" },
		{ "threads", "4294967297", "1 to 64" },
		{ "threads", "99999999999999999999999999", "1 to 64" },
		{ "buffer_size", "0", "4K" },
		{ "buffer_size", "4095", "4K" },
		{ "buffer_size", "12K", "power of two" },
		{ "buffer_size", "2M", "1M" },
		{ "buffer_size", "-4096", "1M" },
		{ "buffer_size", "1MB", "1M" },
		{ "buffer_size", "K", "1M" },
		{ "buffer_size", "0x1000", "1M" },
		{ "buffer_size", "17592186044417G", "1M" },
		{ "copy_threads", "many", "1 to 64" },
		{ "copy_buffer_size", "8M", "4M" },
		{ "copy_buffers", "33", "1 to 32" },
		{ "copy_max", "3G", "2G" },
		{ "copy_max", "1", "4K" },
		{ "attr_timeout", "-1", "seconds" },
		{ "attr_timeout", "nan", "seconds" },
		{ "entry_timeout", "inf", "seconds" },
		{ "entry_timeout", "1e3", "seconds" },
		{ "entry_timeout", ".", "seconds" },
		{ "negative_timeout", "1.2.3", "seconds" },
		{ "negative_timeout", "2000000000", "seconds" },
		{ "writeback", "maybe", "yes or no" },
		{ "control", "a/b", "one name" },
		{ "control", "..", "one name" },
		{ "control", ".", "one name" },
		{ "control", "", "one name" },
	};

	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		char line[256], named[128];

		snprintf(named, sizeof(named), "option %s=%s:", nonsense[i].option,
			 nonsense[i].value);
		snprintf(line, sizeof(line), "zcfs --%s=%s / /", nonsense[i].option,
			 nonsense[i].value);
		assert_refused(EXIT_USAGE, line, named, nonsense[i].allowed, NULL);
		snprintf(line, sizeof(line), "zcfs / / -o %s=%s", nonsense[i].option,
			 nonsense[i].value);
		assert_refused(EXIT_USAGE, line, named, nonsense[i].allowed, NULL);
	}
}

static void a_control_name_longer_than_a_file_name_is_refused(void **state)
{
	char line[512] = "zcfs / / -o control=";
	const size_t start = strlen(line);

	memset(line + start, 'x', NAME_MAX + 1);
	assert_refused(EXIT_USAGE, line, "one name", NULL);
}

static void an_option_without_its_value_is_refused(void **state)
{
	assert_refused(EXIT_USAGE, "zcfs --threads / /", "option threads needs a value", NULL);
	assert_refused(EXIT_USAGE, "zcfs -o io / /", "option io needs a value", NULL);
	assert_refused(EXIT_USAGE, "zcfs --control / /", "option control needs a value", NULL);
	assert_refused(EXIT_USAGE, "zcfs / / -o", "", NULL);
}

static void unknown_options_are_errors(void **state)
{
	static const char *const unknown[] = { "--nonsense", "--io2=auto", "--thread=1",
					       "-q",	     "-",	   "--ro" };
	char line[64];

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		snprintf(line, sizeof(line), "zcfs %s / /", unknown[i]);
		assert_refused(EXIT_USAGE, line, "unknown option", unknown[i], "zcfs -h", NULL);
	}
	assert_refused(EXIT_USAGE, "zcfs / / -o ro,nonsense", "`nonsense'", NULL);
	assert_refused(EXIT_USAGE, "zcfs / / -o ro=1", "`ro=1'", NULL);
	assert_refused(EXIT_USAGE, "zcfs / / -o fsname", "`fsname'", NULL);
	assert_refused(EXIT_USAGE, "zcfs / / -o blkdev", "`blkdev'", NULL);
}

static void mount_options_are_passed_on(void **state)
{
	struct options options;

	assert_accepted(&options, "zcfs / / -o ro,nosuid,nodev,noexec,noatime,allow_other "
				  "-o auto_unmount,sync,dirsync,max_read=65536");
	assert_true(options.read_only && options.allow_other && options.noatime);
	for (const char *const *option =
		     (const char *const[]){ "ro", "nosuid", "nodev", "noexec", "noatime",
					    "allow_other", "auto_unmount", "sync", "dirsync",
					    "max_read=65536", NULL };
	     *option; option++)
		assert_true(has_kernel_option(&options, *option));
	options_fini(&options);
}

static void what_others_read_in_fstab_is_ignored(void **state)
{
	struct options options;

	assert_accepted(&options,
			"zcfs / / -o defaults,auto,noauto,user,user=me,users,nouser,owner,group,"
			"nofail,_netdev,relatime,norelatime,strictatime,nostrictatime,diratime,"
			"lazytime,nolazytime,x-systemd.automount,X-mount.mkdir,comment=x,,"
			"nonempty,default_permissions");
	assert_string_equal(options.kernel_options, "default_permissions,subtype=zcfs,fsname=/");
	options_fini(&options);
}

static void source_and_type_can_be_given(void **state)
{
	struct options options;

	assert_accepted(&options, "zcfs / / -o fsname=a\\,b,subtype=mine");
	assert_string_equal(options.kernel_options,
			    "fsname=a\\,b,subtype=mine,default_permissions");
	options_fini(&options);
}

static void the_source_is_the_absolute_path_with_its_commas_escaped(void **state)
{
	char directory[] = "/tmp/zcfs,test\\XXXXXX", expected[128], line[128];
	struct options options;

	assert_non_null(mkdtemp(directory));
	snprintf(line, sizeof(line), "zcfs %s/../%s/ /", directory, directory + strlen("/tmp/"));
	assert_accepted(&options, line);
	snprintf(expected, sizeof(expected), "fsname=/tmp/zcfs\\,test\\\\%s",
		 directory + strlen("/tmp/zcfs,test\\"));
	assert_non_null(strstr(options.kernel_options, expected));
	options_fini(&options);
	assert_int_equal(rmdir(directory), 0);
}

static void the_mount_point_becomes_absolute(void **state)
{
	struct options options;

	assert_int_equal(chdir("/usr"), 0);
	assert_accepted(&options, "zcfs / ../usr///");
	assert_string_equal(options.mountpoint, "/usr");
	options_fini(&options);
	assert_accepted(&options, "zcfs / /does/not/exist");
	assert_string_equal(options.mountpoint, "/does/not/exist");
	options_fini(&options);
}

static void missing_directories_are_named(void **state)
{
	assert_refused(EXIT_NO_MOUNTPOINT, "zcfs", "backing directory is missing", "usage:", NULL);
	assert_refused(EXIT_NO_MOUNTPOINT, "zcfs /", "mount point is missing", "usage:", NULL);
	assert_refused(EXIT_NO_MOUNTPOINT, "zcfs -f -o ro", "backing directory is missing", NULL);
}

static void too_many_arguments_are_an_error(void **state)
{
	assert_refused(EXIT_USAGE, "zcfs / / third", "too many arguments", "`third'", NULL);
}

static void two_dashes_end_the_options(void **state)
{
	struct options options;

	assert_accepted(&options, "zcfs -f -- -backing -mountpoint");
	assert_string_equal(options.backing, "-backing");
	assert_string_equal(options.mountpoint, "-mountpoint");
	options_fini(&options);
}

static void assert_answered(const char *line, const char *text)
{
	struct options options;
	struct capture capture;
	int code;

	capture_start(&capture, STDOUT_FILENO);
	code = parse(&options, line);
	capture_stop(&capture);
	options_fini(&options);
	assert_int_equal(code, EXIT_OK);
	assert_non_null(strstr(capture.text, text));
}

static void help_and_version_are_answered_on_stdout(void **state)
{
	assert_answered("zcfs -h", "usage: zcfs [options] BACKING MOUNTPOINT");
	assert_answered("zcfs --help", "--copy_buffer_size=");
	assert_answered("zcfs -V", "zcfs 0.");
	assert_answered("zcfs --version", "libfuse 3.");
}

/* A process may lower its hard limit, but not raise it again: a child does. */
static void few_descriptors_mean_few_threads(void **state)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		const struct rlimit limit = { .rlim_cur = 64, .rlim_max = 64 };
		struct options options;

		if (setrlimit(RLIMIT_NOFILE, &limit) || parse(&options, "zcfs / /") != GOES_ON)
			_exit(100);
		_exit((int)options.threads);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	assert_true(WEXITSTATUS(status) >= 1 && WEXITSTATUS(status) <= 4);
}

/* Half of what may be locked is for requests, half for copies; a child does, as above. */
static void little_lockable_memory_means_few_threads(void **state)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		const struct rlimit limit = { .rlim_cur = 8 << 20, .rlim_max = 8 << 20 };
		struct options options;

		/* An ordinary user, who lacks CAP_IPC_LOCK. */
		if (setrlimit(RLIMIT_MEMLOCK, &limit) ||
		    (!geteuid() && setresuid(65534, 65534, 65534)) ||
		    parse(&options, "zcfs / /") != GOES_ON)
			_exit(100);
		_exit(options.threads <= 3 && options.copy_threads == 1 ? 0 : 1);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_manual),
		cmocka_unit_test(own_options_work_as_long_options),
		cmocka_unit_test(own_options_work_in_a_list_as_in_fstab),
		cmocka_unit_test(dashes_do_for_underscores),
		cmocka_unit_test(the_last_of_several_counts),
		cmocka_unit_test(flags_of_the_fuse_world_are_known),
		cmocka_unit_test(control_can_be_switched_off),
		cmocka_unit_test(nonsense_is_refused_with_option_value_and_what_is_allowed),
		cmocka_unit_test(a_control_name_longer_than_a_file_name_is_refused),
		cmocka_unit_test(an_option_without_its_value_is_refused),
		cmocka_unit_test(unknown_options_are_errors),
		cmocka_unit_test(mount_options_are_passed_on),
		cmocka_unit_test(what_others_read_in_fstab_is_ignored),
		cmocka_unit_test(source_and_type_can_be_given),
		cmocka_unit_test(the_source_is_the_absolute_path_with_its_commas_escaped),
		cmocka_unit_test(the_mount_point_becomes_absolute),
		cmocka_unit_test(missing_directories_are_named),
		cmocka_unit_test(too_many_arguments_are_an_error),
		cmocka_unit_test(two_dashes_end_the_options),
		cmocka_unit_test(help_and_version_are_answered_on_stdout),
		cmocka_unit_test(few_descriptors_mean_few_threads),
		cmocka_unit_test(little_lockable_memory_means_few_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
