/* SPDX-License-Identifier: MIT */

/*
 * copy_range [-i OFFSET] [-o OFFSET] [-n LENGTH] [-p PIECE] [-d] [-s] [-w] [-m FILE] SOURCE
 * DESTINATION
 *
 * Copies by copy_file_range(2) alone, where cp would look for holes and fall back to reading and
 * writing. The destination is not truncated. Prints the bytes copied and how many calls they took,
 * also when an error came after them, which ends it with 1.
 *
 *     -d         opens the source with O_DIRECT
 *     -s         gets a signal, which it catches, every 50 us meanwhile
 *     -w         waits for the end of standard input when both files are open
 *     -m FILE    has that file mapped meanwhile, each page of it touched and the first one written,
 *                and compares it with the source afterwards (3: they differ)
 */

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

struct range {
	off_t in;
	off_t out;
	uint64_t length;
	size_t piece; /* bytes that one call asks for */
	unsigned calls;
	uint64_t copied;
};

/* Returns 0 or -1. */
static int copy(int in, int out, struct range *range)
{
	while (range->copied < range->length) {
		uint64_t rest = range->length - range->copied;
		ssize_t n = copy_file_range(in, &range->in, out, &range->out,
					    rest < range->piece ? rest : range->piece, 0);

		if (n < 0)
			return -1;
		if (n == 0)
			break;
		range->copied += (uint64_t)n;
		range->calls++;
	}
	return 0;
}

static void wait_for_end_of_input(void)
{
	char byte;

	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

struct view {
	char *data;
	size_t size;
};

/* A shared mapping of the whole file, NULL when it cannot be had. */
static struct view map(const char *name)
{
	struct view view = { .data = NULL };
	int fd = open(name, O_RDWR);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return view;
	view.size = (size_t)st.st_size;
	view.data = mmap(NULL, view.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (view.data == MAP_FAILED)
		view.data = NULL;
	return view;
}

static void touch(struct view view)
{
	for (size_t i = 0; i < view.size; i += 4096)
		(void)*(volatile char *)&view.data[i];
	view.data[0] = 'x';
}

static void nothing(int signal)
{
	(void)signal;
}

static void be_interrupted(void)
{
	struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	struct itimerval timer = { .it_value.tv_usec = 50, .it_interval.tv_usec = 50 };

	if (sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &timer, NULL))
		perror("copy_range: signals");
}

int main(int argc, char **argv)
{
	struct range range = { .length = INT64_MAX, .piece = SSIZE_MAX };
	struct view view = { .data = NULL };
	bool wait = false, signals = false;
	int source_flags = O_RDONLY;
	int option, in, out, err;

	while ((option = getopt(argc, argv, "i:o:n:p:dswm:")) != -1) {
		switch (option) {
		case 'i':
			range.in = strtoll(optarg, NULL, 0);
			break;
		case 'o':
			range.out = strtoll(optarg, NULL, 0);
			break;
		case 'n':
			range.length = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			range.piece = strtoull(optarg, NULL, 0);
			break;
		case 'd':
			source_flags |= O_DIRECT;
			break;
		case 's':
			signals = true;
			break;
		case 'w':
			wait = true;
			break;
		case 'm':
			view = map(optarg);
			if (!view.data) {
				perror("copy_range: mapping");
				return 1;
			}
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != 2)
		return 2;
	in = open(argv[optind], source_flags);
	out = open(argv[optind + 1], O_WRONLY | O_CREAT, 0644);
	if (in < 0 || out < 0) {
		perror("copy_range: open");
		return 1;
	}
	if (wait)
		wait_for_end_of_input();
	if (view.data)
		touch(view);
	if (signals)
		be_interrupted();
	err = copy(in, out, &range);
	if (err)
		perror("copy_range");
	printf("%llu bytes in %u calls\n", (unsigned long long)range.copied, range.calls);
	if (!err && view.data) {
		struct view source = map(argv[optind]);

		if (!source.data || source.size != view.size ||
		    memcmp(source.data, view.data, view.size) != 0)
			return 3;
	}
	return err ? 1 : 0;
}
