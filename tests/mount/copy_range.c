/* SPDX-License-Identifier: MIT */

/*
 * copy_range [-i OFFSET] [-o OFFSET] [-n LENGTH] [-p PIECE] SOURCE DESTINATION
 *
 * Copies by copy_file_range(2) alone, where cp would look for holes and fall back to reading and
 * writing. The destination is not truncated. Prints the bytes copied and how many calls they took.
 */

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct range {
	off_t in;
	off_t out;
	uint64_t length;
	size_t piece; /* bytes that one call asks for */
	unsigned calls;
};

/* Returns the bytes copied, or -1. */
static int64_t copy(int in, int out, struct range *range)
{
	uint64_t copied = 0;

	while (copied < range->length) {
		uint64_t rest = range->length - copied;
		ssize_t n = copy_file_range(in, &range->in, out, &range->out,
					    rest < range->piece ? rest : range->piece, 0);

		if (n < 0)
			return -1;
		if (n == 0)
			break;
		copied += (uint64_t)n;
		range->calls++;
	}
	return (int64_t)copied;
}

int main(int argc, char **argv)
{
	struct range range = { .length = INT64_MAX, .piece = SSIZE_MAX };
	int64_t copied;
	int option, in, out;

	while ((option = getopt(argc, argv, "i:o:n:p:")) != -1) {
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
		default:
			return 2;
		}
	}
	if (argc - optind != 2)
		return 2;
	in = open(argv[optind], O_RDONLY);
	out = open(argv[optind + 1], O_WRONLY | O_CREAT, 0644);
	if (in < 0 || out < 0) {
		perror("copy_range: open");
		return 1;
	}
	copied = copy(in, out, &range);
	if (copied < 0) {
		perror("copy_range");
		return 1;
	}
	printf("%lld bytes in %u calls\n", (long long)copied, range.calls);
	return 0;
}
