/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_SKIPPED	77
#define SECONDS_A_CHECK 120

/* How one run of a check ended. */
struct outcome {
	int status; /* exit status, -1 for a signal */
	char *output;
};

static unsigned long *counted; /* in memory that the checks' processes share */

void check_count_one(void)
{
	__atomic_fetch_add(counted, 1, __ATOMIC_RELAXED);
}

_Noreturn void check_skip(const char *why)
{
	fprintf(stderr, "skipped: %s\n", why);
	fflush(stdout);
	_exit(EXIT_SKIPPED);
}

_Noreturn void check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not true: %s (errno now: %s)\n", file, line, what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

void check_show(const char *call, long long result)
{
	if (result == -1)
		printf("%s = -1 %s\n", call, strerrorname_np(errno));
	else
		printf("%s = %lld\n", call, result);
}

/* xorshift: cheap, and no two 8-byte words of a file are likely to be equal. */
void check_pattern(void *data, size_t size, unsigned seed)
{
	uint64_t state = 88172645463325252ULL + seed * 2654435761ULL;
	unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++) {
		if (i % 8 == 0) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
		}
		bytes[i] = (unsigned char)(state >> (8 * (i % 8)));
	}
}

int check_make_file(const char *name, size_t size, unsigned seed)
{
	char *data = malloc(size + 1);
	size_t written = 0;
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

	CHECK(data && fd >= 0);
	check_pattern(data, size, seed);
	while (written < size) {
		ssize_t n = write(fd, data + written, size - written);

		CHECK(n > 0);
		written += (size_t)n;
	}
	free(data);
	return fd;
}

void check_show_file(const char *name)
{
	uint64_t sum = 14695981039346656037ULL; /* FNV-1a */
	unsigned char data[65536];
	long long size = 0;
	ssize_t n;
	int fd = open(name, O_RDONLY);

	CHECK(fd >= 0);
	while ((n = read(fd, data, sizeof(data))) > 0) {
		size += n;
		for (ssize_t i = 0; i < n; i++)
			sum = (sum ^ data[i]) * 1099511628211ULL;
	}
	CHECK(n == 0);
	close(fd);
	printf("%s: %lld bytes, sum %016llx\n", name, size, (unsigned long long)sum);
}

int check_fork(int (*function)(void *argument), void *argument)
{
	int pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int status = function(argument);

		fflush(stdout);
		_exit(status);
	}
	CHECK(pid > 0);
	return pid;
}

int check_wait(int pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static _Noreturn void run_here(const struct check *check, const char *directory, int output)
{
	if (chdir(directory) || mkdir(check->name, 0755) || chdir(check->name)) {
		fprintf(stderr, "%s in %s: %s\n", check->name, directory, strerror(errno));
		_exit(1);
	}
	umask(022);
	dup2(output, STDOUT_FILENO);
	alarm(SECONDS_A_CHECK);
	check->run();
	fflush(stdout);
	_exit(0);
}

static char *read_all(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)size + 1);

	if (!text || pread(fd, text, (size_t)size, 0) != size)
		abort();
	return text;
}

static struct outcome run_in(const struct check *check, const char *directory)
{
	int output = memfd_create("output", MFD_CLOEXEC);
	struct outcome outcome;
	int pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		run_here(check, directory, output);
	outcome.status = check_wait(pid);
	outcome.output = read_all(output);
	close(output);
	return outcome;
}

/* The lines of two outputs that differ. */
static void show_difference(const char *native, const char *mounted)
{
	while (*native || *mounted) {
		int a = (int)strcspn(native, "\n"), b = (int)strcspn(mounted, "\n");

		if (a != b || memcmp(native, mounted, (size_t)a) != 0)
			printf("    native   %.*s\n    mounted  %.*s\n", a, native, b, mounted);
		native += native[a] ? a + 1 : a;
		mounted += mounted[b] ? b + 1 : b;
	}
}

/* Returns whether the check passed. */
static int run_check(const struct check *check, const char *native, const char *mounted)
{
	struct outcome expected = run_in(check, native);
	struct outcome got = { 0 };
	int passed = 0;

	if (expected.status == EXIT_SKIPPED) {
		printf("skipped  %s\n", check->name);
		free(expected.output);
		return 1;
	}
	*counted = 0;
	if (expected.status == 0)
		got = run_in(check, mounted);
	if (expected.status != 0) {
		printf("FAILED   %s, already in the native directory\n%s", check->name,
		       expected.output);
	} else if (got.status != 0) {
		printf("FAILED   %s\n%s", check->name, got.output);
	} else if (strcmp(expected.output, got.output) != 0) {
		printf("FAILED   %s\n", check->name);
		show_difference(expected.output, got.output);
	} else {
		printf("passed   %s, %lu assertions\n", check->name, *counted);
		passed = 1;
	}
	free(expected.output);
	free(got.output);
	return passed;
}

static int is_wanted(const char *name, int argc, char **argv)
{
	int wanted = 1;

	for (int i = 3; i < argc; i++) {
		if (strcmp(argv[i], name) == 0)
			return 1;
		if (argv[i][0] == '-' && strcmp(argv[i] + 1, name) == 0)
			return 0;
		if (argv[i][0] != '-')
			wanted = 0;
	}
	return wanted;
}

int check_main(int argc, char **argv, const struct check *checks, size_t count)
{
	unsigned failed = 0;

	if (argc < 3) {
		fprintf(stderr,
			"usage: %s NATIVE_DIRECTORY MOUNTED_DIRECTORY [CHECK... | -CHECK...]\n",
			argv[0]);
		return 2;
	}
	counted = mmap(NULL, sizeof(*counted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (counted == MAP_FAILED)
		return 2;
	for (size_t i = 0; i < count; i++)
		if (is_wanted(checks[i].name, argc, argv) &&
		    !run_check(&checks[i], argv[1], argv[2]))
			failed++;
	return failed > 0;
}
