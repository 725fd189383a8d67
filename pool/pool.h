/* SPDX-License-Identifier: MIT */
#ifndef POOL_POOL_H
#define POOL_POOL_H

/*
 * A pool of equal buffers, carved from one page-aligned mapping that is registered once with one
 * ring.
 *
 * A buffer is in exactly one place, and each move is asserted:
 *
 *            lend                     read_fixed, write_fixed, write_fixed_keep
 *     HOME --------> LENT (caller's) ------------------------------------------> KERNEL
 *       ^             |    ^                                                      |
 *       |   return    |    |      a read, or a kept write, is complete            |
 *       +-------------+    +------------------------------------------------------+
 *       |                         a consumed write is complete                    |
 *       +-------------------------------------------------------------------------+
 *
 * Under AddressSanitizer every buffer that is not LENT is poisoned: whoever touches a buffer after
 * giving it away dies.
 *
 * When registration fails (RLIMIT_MEMLOCK for a user without CAP_IPC_LOCK, see
 * io_uring_register(2)) the pool first halves its count, down to min_count, and at last goes
 * without registration: the same buffers, the same calls, and pool_register_error() says why.
 *
 * A pool may also be one buffer in an area of the caller's, that several pools share: the caller,
 * or the kernel, says where in it the buffer lies (pool_buffer_move()), and sees to it that no two
 * are in the same place.
 *
 * Back-pressure: who finds no buffer at home waits in a queue, first come, first served.
 *
 * Thread: a pool belongs to the thread of its ring, except where it says "any thread". Nothing here
 * logs.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring.h"

struct pool;
struct pool_buffer;

struct pool_options {
	size_t buffer_size; /* bytes that may be used of each buffer; rounded up to whole pages */
	size_t headroom; /* bytes before each buffer, for a header that must lie in front; rounded
			    up to whole pages */
	unsigned count; /* how many buffers are wanted, at least 1 */
	unsigned min_count; /* rather this many registered than more unregistered; 0 counts as 1 */
	bool unregistered; /* true: do not even try to register */

	/* For one buffer in an area that outlives the pool; count is 1, headroom 0. Without
	 * registration there is no pool then. */
	void *area; /* whole pages; NULL for a mapping of the pool's own */
	size_t area_size; /* bytes */
	unsigned slots; /* see ring_register_table() */
};

/* How many buffers are where. */
struct pool_counts {
	unsigned home;
	unsigned lent;
	unsigned kernel;
};

/* Waits for a buffer. Embedded in the caller's struct. */
struct pool_waiter {
	/* The caller's. Called by ring_run(), exactly once, never from inside pool_lend_wait();
	 * buffer is LENT, or NULL when the pool was closed or the wait cancelled. */
	void (*ready)(struct pool_waiter *waiter, struct pool_buffer *buffer);

	/* Ours until ready. */
	struct pool *pool;
	struct pool_waiter *next;
	struct pool_buffer *buffer;
	struct ring_op op;
};

/* Makes a pool on a ring that outlives it. One pool a ring. Returns 0, -ENOMEM, or -EINVAL (a count
 * or a size of 0, min_count above count, 2 GiB or more in a buffer, more than the area holds); with
 * an area also what io_uring_register(2) says. */
int pool_new(struct ring *ring, const struct pool_options *options, struct pool **ret_pool);

/*
 * Closing has two steps. pool_close() lends no more and runs the ring until no buffer is with the
 * kernel and every waiter has been told; what is LENT may still be used and comes back later.
 * pool_free() then unregisters and unmaps; every buffer must be HOME (asserted). NULL is allowed in
 * both.
 */
void pool_close(struct pool *pool);
void pool_free(struct pool *pool);

/* A buffer, LENT to the caller, or NULL when none is at home, others wait before, or the pool is
 * closed. */
struct pool_buffer *pool_lend(struct pool *pool);

/* The same, later: waiter->ready gets the buffer from ring_run() as soon as there is one. */
void pool_lend_wait(struct pool *pool, struct pool_waiter *waiter);

/* Gives up a wait that ready has not ended yet: ready still comes, with NULL, or with a buffer that
 * was already on its way. May be called twice. */
void pool_lend_cancel(struct pool_waiter *waiter);

/* Gives a LENT buffer back unused; it goes to the first waiter, or HOME. */
void pool_return(struct pool_buffer *buffer);

/* The memory of a buffer: page-aligned, pool_buffer_size() bytes, with the headroom in front. Only
 * LENT memory may be touched. */
void *pool_buffer_data(const struct pool_buffer *buffer);
struct pool *pool_buffer_pool(const struct pool_buffer *buffer);

/* The LENT buffer of a pool with an area is now that many bytes behind the area's beginning, which
 * must leave room for it (asserted), until it is moved again. */
void pool_buffer_move(struct pool_buffer *buffer, size_t offset);

struct ring *pool_ring(const struct pool *pool);

/* Any thread. */
size_t pool_buffer_size(const struct pool *pool);
unsigned pool_count(const struct pool *pool);
size_t pool_bytes(const struct pool *pool); /* the whole mapping, headroom included */
bool pool_is_registered(const struct pool *pool);
int pool_register_error(const struct pool *pool); /* why not: -errno of the last attempt; 0 when
						     registered or not wanted */
struct pool_counts
pool_counts(const struct pool *pool); /* a snapshot, each number by itself exact */

#endif
