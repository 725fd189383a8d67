/* SPDX-License-Identifier: MIT */
#ifndef FS_COPIER_H
#define FS_COPIER_H

/*
 * copy_file_range(2). A small copy is made on the worker that got the request, with its own
 * buffers; a large one goes to a copier: a thread with a ring and a pool of its own, so that no
 * other request waits for it. See copier.c, and copy.c for
 * what it does.
 */

#include <stdio.h>

struct copier;
struct fs;

/* Starts the threads that fs->options asks for (they may start lazily). Returns 0 or -errno. */
int copier_start(struct fs *fs, struct copier **ret_copier);

/* Ends copies in flight with what they have, answers those that wait with -EINTR, joins the
 * threads. NULL is allowed. */
void copier_stop(struct copier *copier);

/* Answers those with -EINTR whose callers were killed while they waited for a thread. Any thread;
 * NULL is allowed. */
void copier_refuse_killed(struct copier *copier);

/*
 * Writes a line for each copy of a file in flight, in however many requests it comes (progress.h),
 * and how many requests wait for a thread:
 *
 *     pid=1234 path=fixed done=1048576 total=3000000 seconds=0.25 src="a/b" dst="c"
 *     waiting=0
 *
 * Bytes, of the whole copy as far as zcfs can know it, seconds since it began. The names are those
 * of now, below the backing directory, with C escapes (\" \\ \n \ooo).
 */
void copier_print(struct copier *copier, FILE *out);

#endif
