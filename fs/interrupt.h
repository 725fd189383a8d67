/* SPDX-License-Identifier: MIT */
#ifndef FS_INTERRUPT_H
#define FS_INTERRUPT_H

/*
 * FUSE_INTERRUPT: the caller of a request got a signal. Only long work (copies, lock waits) listens
 * for it: it registers when it starts and unregisters before it replies. An interrupt may be read
 * before the worker that got its request has registered it, so the last few that nobody waited for
 * are remembered.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "fuse_kernel.h"

struct interruptible {
	uint64_t unique; /* of the request */
	void (*interrupt)(struct interruptible *interruptible); /* called with the table's lock
								   held: only sets flags, signals */
	struct interruptible *next;
};

#define INTERRUPT_EARLY 64

struct interrupt_table {
	pthread_mutex_t lock;
	struct interruptible *first;
	uint64_t early[INTERRUPT_EARLY]; /* uniques interrupted before they registered */
	unsigned early_next;
};

void interrupt_table_init(struct interrupt_table *table);
void interrupt_table_fini(struct interrupt_table *table);

/* May call interruptible->interrupt at once. */
void interrupt_register(struct interrupt_table *table, struct interruptible *interruptible);
void interrupt_unregister(struct interrupt_table *table, struct interruptible *interruptible);

/* Whether nobody will see the answer, as the caller is being killed. Not, when zcfs cannot see
 * him. Reads a file of /proc. */
bool interrupt_is_fatal(const struct fuse_in_header *in);

#endif
