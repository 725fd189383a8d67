/* SPDX-License-Identifier: MIT */
#ifndef FS_URING_PLAN_H
#define FS_URING_PLAN_H

/*
 * What is settled about the transport over io_uring before anything of it is made: whether it is
 * worth a try, how many queues and workers, and how much memory.
 *
 * Thread: any.
 */

#include <stddef.h>
#include <stdint.h>

struct options;

/* How many queues and workers, and how much memory they register. */
struct uring_plan {
	unsigned
		queues; /* one for each possible CPU, whether or not it is there: the kernel asks */
	unsigned workers; /* of each queue, at first */
	unsigned workers_registered; /* of all queues, those whose buffers are registered at most */
	size_t payload; /* bytes of each worker's buffer */
};

/* Of a queue, when those before are stuck or wait for copies and locks to end. */
#define URING_WORKERS_MAX 64

/*
 * Shares threads, the workers that the options allow, among the queues; a queue has one at least,
 * and more than two at first do no better. What those register stays within URING_BUDGET, and what
 * all ever register, with those of /dev/fuse, within lockable bytes (UINT64_MAX: no limit): the
 * requests become smaller for it, down to URING_PAYLOAD_MIN. Where even that is too much, nothing
 * will be registered, and nothing counts.
 */
#define URING_BUDGET	  ((size_t)256 << 20)
#define URING_PAYLOAD_MIN ((size_t)128 << 10)
struct uring_plan uring_plan(unsigned possible_cpus, unsigned threads, size_t max_write,
			     uint64_t lockable);

/* What the kernel counts for its queues; 1 at least. */
unsigned uring_possible_cpus(void);

/* Why the kernel will not have it, as far as can be told before INIT; NULL when it may. */
const char *uring_refusal(const struct options *options);

#endif
