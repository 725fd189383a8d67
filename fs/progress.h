/* SPDX-License-Identifier: MIT */
#ifndef FS_PROGRESS_H
#define FS_PROGRESS_H

/*
 * How far the copy of a file has come. It reaches zcfs as many requests: a reply covers a bounded
 * piece, the kernel bounds what it asks for, and so may the caller. What goes on between the same
 * two open files behind the place where the last request ended, and moves the data equally far, is
 * the same copy; a hole that the caller left out on the way counts as done.
 *
 * A copy between two requests is in a list of bounded size. What it holds of open files is their
 * numbers only: it keeps nothing open, and must be asked about by handle_get() before it is shown.
 *
 * Thread: any, one at a time: copier.c calls with its lock held. No I/O.
 */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "stats.h"

/* Between two requests at once. Of more the oldest are forgotten, and begin anew. */
#define PROGRESS_KEPT_MAX 64

struct progress {
	/* Of the request, set before progress_resume(). Offsets are those in the source, bytes. */
	uint64_t src, dst; /* numbers of the open files, as handle_get() takes them */
	uint64_t shift; /* from an offset in the source to that in the destination, modulo 2^64 */
	uint64_t first; /* where the request begins; then, where the copy began */
	uint64_t next; /* where the request begins, and where it ended */
	uint64_t end; /* where the request ends; then, where the copy will, as far as is known */
	uint64_t source_end; /* where the source ends */
	uint32_t pid; /* of the caller */
	enum stats_path path; /* that the data took last */
	struct timespec started; /* of its first request, CLOCK_MONOTONIC; zero: not yet */

	/* Ours. */
	struct timespec paused; /* when its last request ended */
};

/* All zero is an empty one. */
struct progress_list {
	struct progress kept[PROGRESS_KEPT_MAX]; /* the oldest first */
	unsigned count;
};

/*
 * The request may go on with a copy of the list, which is then taken off it: first, end and started
 * become those of the copy, and true is returned.
 *
 * Of a caller who asks for pieces nobody knows the end: from the second piece on that of the source
 * is taken.
 */
bool progress_resume(struct progress_list *list, struct progress *progress);

/* A request ended, next is where. At the end of the source nothing is kept. */
void progress_pause(struct progress_list *list, const struct progress *progress);

/* Whether a copy that is kept is not complete, and so fresh that most likely its next request is on
 * the way. */
bool progress_is_going_on(const struct progress *progress);

/* Since the copy began. */
double progress_seconds(const struct progress *progress);

#endif
