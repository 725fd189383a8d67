/* SPDX-License-Identifier: MIT */
#ifndef FS_CLEANUP_H
#define FS_CLEANUP_H

/* Scope-bound release of descriptors and memory. Never put a lock's scope around a reply. */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void free_memory(void *pointer)
{
	free(*(void **)pointer);
}

#define CLEANUP_FD   __attribute__((cleanup(close_fd)))
#define CLEANUP_FREE __attribute__((cleanup(free_memory)))

#endif
