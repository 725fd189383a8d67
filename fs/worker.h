/* SPDX-License-Identifier: MIT */
#ifndef FS_WORKER_H
#define FS_WORKER_H

/*
 * One thread, one ring, its pool, and whom it acts for. Request workers (of both transports) and
 * copiers (copier.c) are both made of it.
 *
 * Thread: worker_init() and everything after it belong to the worker's own thread: a ring has one
 * submitter.
 */

#include <stdbool.h>

#include "cred.h"
#include "pool/pool.h"

struct fs;

struct worker {
	struct fs *fs;
	struct ring *ring;
	struct pool *pool; /* others look at it under fs->lock; NULL while it is replaced */
	struct cred cred;
	int personality_no_fsetid; /* for writes that must clear set-uid bits; 0 where there is none
				    */
	bool ahead; /* what it serves is readahead: nobody waits for the answer yet */
	struct worker *next; /* in fs->workers, for the counters */
};

/*
 * Makes ring and pool; what cannot be had is a downgrade (fs_downgrade()), not an error. Returns 0
 * or -errno. worker_init_commands() makes a ring that takes commands, and fails when there is none.
 */
int worker_init(struct worker *worker, struct fs *fs, const struct pool_options *pool_options);
int worker_init_commands(struct worker *worker, struct fs *fs,
			 const struct pool_options *pool_options);

/* Another pool on the same ring, whose registration goes with the old one; the old pool's buffers
 * must have been returned. Returns 0 or -errno, and then there is none. */
int worker_replace_pool(struct worker *worker, const struct pool_options *pool_options);

/* Runs the ring once, blocking until something completes. Does not come back when io_uring_enter(2)
 * fails for good. */
void worker_run(struct worker *worker);

/* Drains and frees. Every buffer must have been returned. */
void worker_fini(struct worker *worker);

#endif
