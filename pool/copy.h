/* SPDX-License-Identifier: MIT */
#ifndef POOL_COPY_H
#define POOL_COPY_H

/*
 * The copy pipeline: READ_FIXED from one file into pool buffers, WRITE_FIXED from the same buffers
 * into another.
 *
 * Each buffer in use is a lane, a small state machine:
 *
 *     IDLE --> READING --> READY --> WRITING --> IDLE
 *
 * Several lanes read ahead at once; writes are issued in the order of the file, one at a time, so
 * that at every moment, also when the process is killed, what the destination has is a whole prefix
 * of the copy. A short read is the end of the source. A read that fails is an end too: what lies
 * before it is still written. When a write fails, the copy is cancelled or the pool is closed, no
 * new operation starts and what is in flight drains. The result is the contiguous prefix that was
 * written, or -errno when that is empty; nothing to copy is 0.
 *
 * A copy takes from the pool what it can get, up to its lanes, and gives each buffer back after its
 * write, so that several copies on one pool share it evenly. It waits in the pool's queue for what
 * it lacks.
 *
 * Holes are copied as zeros. The two ranges must not overlap when both lie in one file.
 *
 * A program that copies a file:
 *
 *     struct ring *ring;
 *     struct pool *pool;
 *     ring_new(&(struct ring_options){ .entries = 16 }, &ring);
 *     pool_new(ring, &(struct pool_options){ .buffer_size = 256 << 10, .count = 8 }, &pool);
 *     struct pool_copy copy = { .pool = pool, .src_fd = in, .dst_fd = out, .length = UINT64_MAX };
 *     int64_t copied = pool_copy_run(&copy);
 *     pool_close(pool);
 *     pool_free(pool);
 *     ring_free(ring);
 *
 * Thread: that of the pool's ring, but cancel may be set, and copied read, by any thread.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "io.h"

#define POOL_COPY_LANES_MAX 32

struct pool_copy;

struct pool_copy_lane {
	struct pool_io io;
	struct pool_copy *copy;
	uint64_t position; /* of this lane's piece, bytes from the start of the copy */
	size_t length; /* of this lane's piece, then what was read of it */
	int state;
	bool fixed; /* whether it was read by READ_FIXED */
};

struct pool_copy {
	/* The caller's, set before the submit; zero the rest. */
	struct pool *pool;
	int src_fd;
	int dst_fd;
	uint64_t src_offset;
	uint64_t dst_offset;
	uint64_t length; /* bytes at most; the copy ends at the end of the source */
	unsigned lanes; /* buffers in flight; 0 = as many as the pool has, POOL_COPY_LANES_MAX at
			   most */
	int write_flags; /* RWF_* for the writes */
	int write_personality; /* see ring_rw */
	const atomic_bool *cancel; /* NULL, or ends the copy with its prefix when it becomes true:
				      seen when an operation completes; -ECANCELED when nothing was
				      written */
	void (*done)(struct pool_copy *copy, int64_t result); /* may free copy */

	/* To be read by any thread: the contiguous prefix written so far, bytes. */
	_Atomic uint64_t copied;

	/* For the caller when done is called. */
	uint64_t fixed_bytes; /* that went by READ_FIXED and WRITE_FIXED both */
	int error; /* what ended the copy before its length and before the end of the source:
		      -errno, also when the result is a prefix; 0 otherwise */

	/* Ours until done. The lanes in use are busy ones from first on, in the order of the file,
	 * wrapping around. */
	struct pool_copy_lane lane[POOL_COPY_LANES_MAX];
	unsigned lane_count;
	unsigned first; /* the lane with the next piece to write */
	unsigned busy; /* lanes that are not IDLE */
	unsigned in_flight; /* lanes that are READING or WRITING */
	uint64_t next_read; /* position of the next piece to read, bytes from the start of the copy
			     */
	uint64_t end; /* where the copy ends, as far as is known; likewise */
	uint64_t source_size; /* of a regular file when the copy began, else UINT64_MAX */
	struct ring_op start;
	struct pool_waiter waiter;
	bool waiting;
	bool stopped; /* nothing new is started */
	bool finished;
	int64_t result;
};

/* Starts the copy; done is called exactly once, from ring_run(). */
void pool_copy_submit(struct pool_copy *copy);

/* Submits and runs the ring until this copy is done. Returns the bytes copied or -errno; -ENOBUFS
 * when every buffer is LENT elsewhere and nothing in flight could bring one back. done is not used.
 */
int64_t pool_copy_run(struct pool_copy *copy);

#endif
