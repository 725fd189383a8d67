/* SPDX-License-Identifier: MIT */

/*
 * odd_direct FILE SHIFT...
 *
 * Writes and reads FILE around the page cache (O_DIRECT) with memory that begins SHIFT bytes behind
 * a page's beginning, for each SHIFT, and compares. Offsets and lengths are aligned.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LENGTH ((size_t)300 << 10)
#define PAGE   4096

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int try(int fd, size_t shift)
{
	char *data = (char *)aligned_alloc(PAGE, LENGTH + PAGE) + shift;
	char *found = (char *)aligned_alloc(PAGE, LENGTH + PAGE) + shift;

	for (size_t i = 0; i < LENGTH; i++)
		data[i] = (char)(i * 7 + i / 251 + shift);
	memset(found, 0, LENGTH);
	if (pwrite(fd, data, LENGTH, PAGE) != (ssize_t)LENGTH)
		return fail("pwrite");
	if (pread(fd, found, LENGTH, PAGE) != (ssize_t)LENGTH)
		return fail("pread");
	if (memcmp(data, found, LENGTH)) {
		fprintf(stderr, "memory shifted by %zu bytes: the data differs\n", shift);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int fd;

	if (argc < 3)
		return 2;
	fd = open(argv[1], O_RDWR | O_CREAT | O_DIRECT, 0644);
	if (fd < 0)
		return fail(argv[1]);
	for (int i = 2; i < argc; i++)
		if (try(fd, strtoul(argv[i], NULL, 0) % PAGE))
			return 1;
	return 0;
}
