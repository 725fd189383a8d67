/* SPDX-License-Identifier: MIT */

/*
 * resize FILE SEEN COUNT
 *
 * FILE is cut off and written on at random, COUNT times, while SEEN, the same file by way of a
 * mount, is kept open and read. First in turns: each read gives what is there, and as much. Then at
 * the same time: what is read has the right bytes, or the zeros that a file is cut off with. Prints
 * how many bytes were read. On a difference it says what was read and ends with 1.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE_MAX_  (512 << 10) /* bytes, of the file */
#define LENGTH_MAX (96 << 10) /* bytes, of a read */

static uint64_t state = 88172645463325252ULL;
static uint64_t total; /* bytes read */

static size_t pick(size_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Never 0. */
static char byte_at(size_t offset)
{
	return (char)(1 + (offset * 7 + offset / 251) % 255);
}

/* Cuts the file off or writes on, and returns its size then. */
static size_t resize(int fd, size_t size)
{
	static char text[SIZE_MAX_];
	const size_t next = pick(SIZE_MAX_);

	if (next < size && ftruncate(fd, (off_t)next))
		die("ftruncate");
	for (size_t i = size; i < next; i++)
		text[i - size] = byte_at(i);
	if (next > size && pwrite(fd, text, next - size, (off_t)size) != (ssize_t)(next - size))
		die("pwrite");
	return next;
}

static bool is_right(const char *text, size_t offset, size_t length, bool zeros_allowed)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] != byte_at(offset + i) && !(zeros_allowed && !text[i])) {
			fprintf(stderr, "resize: byte %zu is %d instead of %d\n", offset + i,
				text[i], byte_at(offset + i));
			return false;
		}
	return true;
}

/* A read of whole sectors or of any bytes. Returns how many it brought, -1 when they are wrong. */
static ssize_t read_some(int fd, size_t *offset, size_t *length, bool zeros_allowed)
{
	static char text[LENGTH_MAX];
	const size_t unit = pick(2) ? 4096 : 1;
	ssize_t got;

	*offset = pick(SIZE_MAX_ / unit) * unit;
	*length = (1 + pick(LENGTH_MAX / unit)) * unit;
	memset(text, 0, sizeof(text));
	got = pread(fd, text, *length, (off_t)*offset);
	if (got < 0)
		die("pread");
	total += (uint64_t)got;
	return is_right(text, *offset, (size_t)got, zeros_allowed) ? got : -1;
}

static bool in_turns(int fd, int seen, unsigned count)
{
	size_t size = resize(fd, 0);

	for (unsigned i = 0; i < count; i++) {
		size_t offset, length, there;
		ssize_t got;

		if (pick(4) == 0)
			size = resize(fd, size);
		got = read_some(seen, &offset, &length, false);
		there = offset < size ? size - offset : 0;
		if (got < 0)
			return false;
		if ((size_t)got != (length < there ? length : there)) {
			fprintf(stderr, "resize: %zd bytes read of %zu at %zu of a file of %zu\n",
				got, length, offset, size);
			return false;
		}
	}
	return true;
}

static bool at_once(int fd, int seen, unsigned count)
{
	size_t offset, length, size = 0;
	ssize_t got = 0;
	pid_t writer;

	if (ftruncate(fd, 0))
		die("ftruncate");
	writer = fork();
	while (writer == 0) /* until it is ended */
		size = resize(fd, size);
	for (unsigned i = 0; i < count && got >= 0; i++)
		got = read_some(seen, &offset, &length, true);
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	return got >= 0;
}

int main(int argc, char **argv)
{
	int fd, seen;
	unsigned count;

	if (argc != 4)
		return 2;
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644);
	seen = open(argv[2], O_RDONLY);
	count = (unsigned)strtoul(argv[3], NULL, 10);
	if (fd < 0 || seen < 0)
		die(argv[fd < 0 ? 1 : 2]);
	if (!in_turns(fd, seen, count) || !at_once(fd, seen, count))
		return 1;
	printf("%llu\n", (unsigned long long)total);
	return 0;
}
