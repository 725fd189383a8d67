/* SPDX-License-Identifier: MIT */
#ifndef FS_REFUSAL_H
#define FS_REFUSAL_H

/*
 * What filesystems have refused to do, so that they are not asked for every file: a small table of
 * pairs of devices. A refusal is forgotten after a minute, because a device number may by then
 * belong to another filesystem, and when the table is full the oldest goes: it costs one system
 * call that fails.
 *
 * Thread: any.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum refusal {
	REFUSAL_NONE,
	REFUSAL_CLONE, /* FICLONERANGE from the first device to the second */
	REFUSAL_DIRECT, /* O_DIRECT on both */
	REFUSAL_FLUSH, /* to do anything at close(2); the device twice */
};

#define REFUSALS 16

struct refusals {
	pthread_mutex_t lock; /* a leaf */
	struct {
		enum refusal what;
		dev_t from, to;
		int64_t until; /* CLOCK_MONOTONIC, seconds */
	} entry[REFUSALS];
	unsigned next; /* the oldest */
};

void refusals_init(struct refusals *refusals);
void refusals_fini(struct refusals *refusals);

void refusal_note(struct refusals *refusals, enum refusal what, dev_t from, dev_t to);
bool refusal_is_known(struct refusals *refusals, enum refusal what, dev_t from, dev_t to);

#endif
