/* SPDX-License-Identifier: MIT */

/*
 * listing make DIRECTORY COUNT
 * listing check DIRECTORY COUNT
 *
 * make     COUNT empty files, named by their numbers
 * check    that a listing shows each of them once while other entries come and go, and that
 *          seekdir(3) leads back to what telldir(3) has named, as long as they do not
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLACES 500 /* to go back to */

struct place {
	long position; /* before the entry */
	long number;
};

static _Noreturn void fail(const char *what, const char *name)
{
	fprintf(stderr, "listing: %s: %s (%s)\n", what, name, strerror(errno));
	exit(1);
}

static void make(int dir_fd, long count)
{
	char name[32];

	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%ld", i);
		if (mknodat(dir_fd, name, S_IFREG | 0644, 0))
			fail("mknod", name);
	}
}

/* The number of the next entry, -1 at the end; others are passed over. *ret_position is where it
 * is.
 */
static long next_number(DIR *dir, long *ret_position)
{
	const struct dirent *entry;

	do {
		*ret_position = telldir(dir);
		errno = 0;
		entry = readdir(dir);
		if (!entry && errno)
			fail("readdir", "");
	} while (entry && (entry->d_name[0] < '0' || entry->d_name[0] > '9'));
	return entry ? atol(entry->d_name) : -1;
}

/* Each once; those in places are remembered. */
static void read_all(DIR *dir, long count, struct place places[PLACES])
{
	unsigned char *seen = calloc((size_t)count, 1);
	long number, position, n = 0;

	while ((number = next_number(dir, &position)) >= 0) {
		if (number >= count || seen[number]++)
			fail("listed twice, or not there", "");
		if (places && n % (count / PLACES) == 0 && n / (count / PLACES) < PLACES)
			places[n / (count / PLACES)] = (struct place){ position, number };
		n++;
	}
	if (n != count)
		fail("entries are missing", "");
	free(seen);
}

/* From everywhere to everywhere. */
static void go_back(DIR *dir, const struct place places[PLACES])
{
	long position;

	for (unsigned i = 0; i < PLACES; i++) {
		const struct place *place = &places[i * 211 % PLACES];

		seekdir(dir, place->position);
		if (next_number(dir, &position) != place->number)
			fail("seekdir", "leads elsewhere");
	}
}

static void come_and_go(int dir_fd)
{
	char name[32];

	for (unsigned long i = 0;; i++) {
		snprintf(name, sizeof(name), "new-%lu", i % 1000);
		if (mknodat(dir_fd, name, S_IFREG | 0644, 0) && errno != EEXIST)
			_exit(1);
		snprintf(name, sizeof(name), "new-%lu", i * 7 % 1000);
		unlinkat(dir_fd, name, 0);
	}
}

/* A process that makes entries and removes them, until it is killed. */
static int disturb(int dir_fd)
{
	int pid = fork();

	if (pid == 0)
		come_and_go(dir_fd);
	return pid;
}

static void check(DIR *dir, long count)
{
	static struct place places[PLACES];
	int pid;

	read_all(dir, count, places);
	go_back(dir, places);
	pid = disturb(dirfd(dir));
	rewinddir(dir);
	read_all(dir, count, NULL);
	kill(pid, SIGKILL);
}

int main(int argc, char **argv)
{
	DIR *dir = argc == 4 ? opendir(argv[2]) : NULL;
	const long count = argc == 4 ? atol(argv[3]) : 0;

	if (!dir || count < PLACES)
		fail("usage: listing make|check DIRECTORY COUNT", argc == 4 ? argv[2] : "");
	if (!strcmp(argv[1], "make"))
		make(dirfd(dir), count);
	else
		check(dir, count);
	closedir(dir);
	return 0;
}
