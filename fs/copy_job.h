/* SPDX-License-Identifier: MIT */
#ifndef FS_COPY_JOB_H
#define FS_COPY_JOB_H

/*
 * One COPY_FILE_RANGE request while it is worked on: what the files of the copy engine share, and
 * nobody else includes.
 *
 *     copy.c      the request and the steps of its job        copier.c   queue, threads, listing
 *     copy_clone.c copy_direct.c copy_hole.c                  what a step is made of
 *
 * Thread: that of the job's worker from copy_begin() on; before, whoever holds the job. cancel and
 * copied may be used by any thread, the rest of what copier_print() reads is written under the
 * copier's lock.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "copier.h"
#include "fs.h"
#include "pool/copy.h"
#include "progress.h"
#include "worker.h"

struct copy_job {
	struct copier *copier;
	struct request *request;
	struct worker *worker; /* who runs it */
	struct handle *src;
	struct handle *dst;
	uint64_t src_offset;
	uint64_t dst_offset;
	uint64_t length;
	uint64_t data_max; /* data bytes for this reply */
	dev_t src_device;
	uint64_t src_size; /* when the job was made */
	uint64_t src_block; /* bytes, st_blksize */
	bool wide; /* the reply of COPY_FILE_RANGE_64 */
	bool kill_suid; /* the caller is not privileged: the writes clear set-uid bits */
	bool clone; /* worth a try from here on */
	struct {
		int src_fd, dst_fd; /* O_DIRECT, -1 until needed */
		uint64_t align; /* of offsets and lengths, bytes; 0 until they are open */
		dev_t dst_device;
		bool over; /* it was tried, and cannot be */
		bool running; /* the piece goes this way */
	} direct;
	bool holes_as_data; /* the destination cannot punch */

	_Atomic uint64_t copied; /* bytes done, holes included, before the piece that is running */
	uint64_t data; /* of them, data */
	_Atomic enum stats_path path; /* that it takes now, for the listing */
	bool *ended; /* set when the job is answered and gone; NULL inline */

	atomic_bool cancel;
	struct interruptible interruptible;
	struct progress progress; /* of the file's copy that this is a piece of */
	struct pool_copy piece;
	struct copy_job *next; /* in the queue, or among those that run */
};

/* copy.c: runs the job on this thread, whose ring is to be run until it is answered. */
void copy_begin(struct copy_job *job, struct worker *worker);

/* copy.c: answers a job that nobody runs, and frees it. */
void copy_conclude(struct copy_job *job, int64_t result);

/* copier.c: hands a job whose request is detached to a copier thread. */
void copier_submit(struct copy_job *job);

/* copier.c: the jobs that are run, for the listing and for copier_stop(). Whether the caller is
 * likely to come back for more decides whether the copy stays in the listing. */
void copier_list(struct copy_job *job);
void copier_unlist(struct copy_job *job, bool goes_on);
/* copier.c: whether there are more jobs than threads. */
bool copier_is_short(struct copier *copier);

pthread_mutex_t *copier_lock(struct copier *copier);

/*
 * copy_clone.c: lets the destination share blocks of the source, as many as can be from the present
 * position. Returns 0 and the bytes, or the bytes to be copied before it is tried again; or -errno,
 * -EOPNOTSUPP when this range cannot be cloned. Nothing has changed then.
 */
int copy_clone(struct copy_job *job, uint64_t *ret_cloned, uint64_t *ret_before);

/*
 * copy_direct.c: opens both files once more with O_DIRECT; does nothing when they are. Returns 0;
 * -EINVAL where that cannot be had, which is then remembered of the filesystems; other -errno.
 */
int copy_direct_open(struct copy_job *job);
void copy_direct_close(struct copy_job *job); /* allowed when they are not open */

/* copy_direct.c: whether the destination's filesystem takes O_DIRECT, but not around the processor
 * and the page cache. */
bool copy_direct_is_in_vain(const struct copy_job *job);

/* copy_direct.c: how many of the next length bytes can go that way; or how many must be copied
 * before that any can. Both 0: none. */
uint64_t copy_direct_length(const struct copy_job *job, uint64_t length, uint64_t *ret_before);

/* copy_direct.c: whether all that the piece could have transferred was aligned: not, when the
 * source ends inside it by now. */
bool copy_direct_is_aligned(const struct copy_job *job, const struct pool_copy *piece);

/* copy_direct.c: the first direct transfer was refused: remembers that. */
void copy_direct_refused(struct copy_job *job);

/*
 * copy_hole.c: where the next data and the end of it lie, as offsets in the source, not beyond
 * limit: at the end of a hole at the end of the file, or at position when the file ends before,
 * both are the same. Returns 0 or -errno.
 */
int copy_find_data(int fd, uint64_t position, uint64_t limit, uint64_t *ret_data,
		   uint64_t *ret_end);

/*
 * copy_hole.c: makes length bytes of the destination read as zeros without writing them: old data
 * is punched out, and a file that ends before is extended. Returns 0, or -errno; -EOPNOTSUPP where
 * the filesystem cannot punch.
 */
int copy_make_hole(int fd, uint64_t offset, uint64_t length);

#endif
