/* SPDX-License-Identifier: MIT */
#ifndef FS_ZEROCOPY_H
#define FS_ZEROCOPY_H

/*
 * Queues with zero copy, for transport_uring.c and uring_supervisor.c (Linux 7.3, CAP_SYS_ADMIN).
 *
 *     the data of READ and WRITE   the kernel puts the pages that they are about, the caller's own
 *                                  or the page cache's, into ZEROCOPY_SLOT of the ring's table;
 *                                  READ_FIXED and WRITE_FIXED move it between them and the backing
 *                                  file
 *     everything else              lies in a buffer of the queue's pool, which is one area; the
 *                                  kernel chooses the buffer anew for each request
 *
 * The kernel looks the area up in the ring of the entry that it has at hand. So the workers of a
 * queue each keep a ring, with the whole area registered, and one slot: an entry per worker as
 * without zero copy, but no more of them than the area has buffers.
 *
 * Source: Linux 7.3, Documentation/filesystems/fuse/uapi/fuse-uapi-io-uring.rst and
 * fs/fuse/dev_uring.c.
 */

#include <stdbool.h>
#include <stddef.h>

struct fs;
struct ring;
struct worker;

#define ZEROCOPY_SLOT	     1
#define ZEROCOPY_BUFFERS_MAX 16

/* Of one queue. All 0 where it has no zero copy. */
struct zerocopy_pool {
	void *area;
	size_t size; /* bytes */
	unsigned buffers;
	size_t buffer_size;
};

/* Whether it is to be asked for in INIT. */
bool zerocopy_is_wanted(const struct fs *fs);

/*
 * How many buffers a queue gets, of all that stay within URING_BUDGET: more than the workers that
 * it begins with, so that there is help when all are stuck. 0 where that is too much.
 */
unsigned zerocopy_buffers(unsigned queues, unsigned workers, size_t payload);

/*
 * Makes a queue that has no entries yet one with zero copy, by commands on a ring that is used for
 * nothing else. Returns 0 or -errno: -EPERM without the capability, -EAGAIN as long as the kernel
 * has not digested the reply of INIT. The pool is to be closed when all rings with it are freed.
 */
int zerocopy_open(struct zerocopy_pool *pool, struct ring *ring, int device_fd, unsigned queue,
		  unsigned buffers, size_t buffer_size);
void zerocopy_close(struct zerocopy_pool *pool);

/* Gives a worker one buffer in the area, and the slot, for the pool that it had. Returns 0 or
 * -errno. On the worker's thread, with nothing in flight. */
int zerocopy_join(const struct zerocopy_pool *pool, struct worker *worker);

#endif
