/* SPDX-License-Identifier: MIT */
#ifndef FS_TRANSPORT_URING_H
#define FS_TRANSPORT_URING_H

/*
 * The transport over io_uring (Linux 6.14, fuse.enable_uring): a queue for each possible CPU,
 * served by worker threads that run there. It stands beside transport_dev, which goes on alone when
 * the queues do not come up.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct fs;
struct transport_uring;

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

/*
 * Makes the workers with their rings and pools, before INIT is answered: a kernel that was told
 * FUSE_OVER_IO_URING holds all requests back until every queue is registered. Returns NULL when
 * /dev/fuse is to serve alone, with the reason in the status unless that was asked for.
 */
struct transport_uring *transport_uring_new(struct fs *fs, int device_fd);

/* INIT was answered: with FUSE_OVER_IO_URING taken the queues are registered now, otherwise the
 * workers end. Returns at once. Any thread. */
void transport_uring_connect(struct transport_uring *transport, bool taken);

/* As in transport.h. */
int transport_uring_wait(struct transport_uring *transport);
bool transport_uring_is_busy(struct transport_uring *transport);
void transport_uring_stop(struct transport_uring *transport);
void transport_uring_free(struct transport_uring *transport);

/* Whether the kernel uses the queues. NULL is allowed. */
bool transport_uring_is_up(struct transport_uring *transport);

/* Whether OPEN may ask for zero copy. NULL is allowed. */
bool transport_uring_has_zerocopy(struct transport_uring *transport);

/* For the status: the line after "transport". */
void transport_uring_print(struct transport_uring *transport, FILE *out);

#endif
