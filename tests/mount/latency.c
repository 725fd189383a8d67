/* SPDX-License-Identifier: MIT */

/*
 * latency DIRECTORY [SECONDS]
 *
 * Walks the directory over and over, as ls -lR does, and measures how long each stat(2) and each
 * reading of a directory takes, until SIGTERM comes or the time is over. Prints:
 *
 *     operations N median_us N p99_us N max_us N
 */

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MAX (1 << 22)

struct samples {
	uint32_t *us;
	size_t count;
};

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
	stop = 1;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void add(struct samples *samples, uint64_t since_us)
{
	if (samples->count < SAMPLES_MAX)
		samples->us[samples->count++] = (uint32_t)(now_us() - since_us);
}

static void walk(int parent, const char *name, struct samples *samples)
{
	uint64_t since = now_us();
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		struct stat st;

		add(samples, since);
		if (stop)
			break; /* now that there is something to tell */
		since = now_us();
		if (entry->d_name[0] == '.')
			continue;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			add(samples, since);
			if (S_ISDIR(st.st_mode))
				walk(fd, entry->d_name, samples);
		}
		since = now_us();
	}
	closedir(dir);
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct samples samples = { .us = calloc(SAMPLES_MAX, sizeof(uint32_t)) };

	if (argc < 2 || !samples.us)
		return 2;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	if (argc > 2)
		alarm((unsigned)atoi(argv[2]));
	do
		walk(AT_FDCWD, argv[1], &samples);
	while (!stop);
	if (samples.count == 0)
		return 1;
	qsort(samples.us, samples.count, sizeof(uint32_t), compare);
	printf("operations %zu median_us %u p99_us %u max_us %u\n", samples.count,
	       samples.us[samples.count / 2], samples.us[samples.count * 99 / 100],
	       samples.us[samples.count - 1]);
	free(samples.us);
	return 0;
}
