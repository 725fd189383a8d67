/* SPDX-License-Identifier: MIT */
#include "residency.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The same on every architecture (Linux 6.5, include/uapi/asm-generic/unistd.h), and newer than
 * many C libraries. */
#define CACHESTAT 451

struct cache_range {
	uint64_t offset;
	uint64_t length;
};

struct cache_counts { /* pages */
	uint64_t cached;
	uint64_t dirty;
	uint64_t writeback;
	uint64_t evicted;
	uint64_t recently_evicted;
};

#define WINDOW ((uint64_t)64 << 20) /* bytes that are mapped at a time */

static int count_window(int fd, uint64_t offset, size_t length, uint64_t *ret_pages)
{
	unsigned char resident[WINDOW / 4096];
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *window = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	int err = 0;

	if (window == MAP_FAILED)
		return -errno;
	if (mincore(window, length, resident))
		err = -errno;
	munmap(window, length);
	for (size_t i = 0; !err && i < (length + page - 1) / page; i++)
		*ret_pages += resident[i] & 1;
	return err;
}

int residency_by_mincore(int fd, uint64_t offset, uint64_t length, uint64_t *ret_bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t end = offset + length, pages = 0;
	int err = 0;

	offset -= offset % page;
	while (!err && offset < end) {
		uint64_t window = end - offset < WINDOW ? end - offset : WINDOW;

		err = count_window(fd, offset, (size_t)window, &pages);
		offset += window;
	}
	*ret_bytes = pages * page;
	return err;
}

int residency(int fd, uint64_t offset, uint64_t length, uint64_t *ret_bytes)
{
	struct cache_range range = { offset, length };
	struct cache_counts counts = { 0 };

	if (!syscall(CACHESTAT, fd, &range, &counts, 0)) {
		*ret_bytes = counts.cached * (uint64_t)sysconf(_SC_PAGESIZE);
		return 0;
	}
	if (errno != ENOSYS && errno != EPERM) /* EPERM: seccomp filters that are older than it */
		return -errno;
	return residency_by_mincore(fd, offset, length, ret_bytes);
}
