/* SPDX-License-Identifier: MIT */
#ifndef FS_URING_INTERNAL_H
#define FS_URING_INTERNAL_H

/*
 * The transport over io_uring inside: what its files share, and nobody else includes.
 *
 *     transport_uring.c     a request, a worker, and what transport_uring.h offers
 *     uring_supervisor.c    the start of the queues, and help for those that are stuck
 *     uring_plan.c          what is settled before that: how many of each, how much memory
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "uring_plan.h"
#include "zerocopy.h"

struct transport;
struct uring_worker;

#define FEATURE		 "FUSE over io_uring"
#define START_TIMEOUT_MS 1000

/* ARRANGING: INIT is answered, the supervisor makes queues with zero copy. */
enum uring_state { PREPARING, ARRANGING, REGISTERING, ENDING };

struct uring_queue {
	unsigned id; /* the CPU */
	atomic_uint workers; /* that serve it, or will */
	unsigned registered; /* of them, under transport->lock */
	atomic_uint busy; /* of them, those that serve a request */
	atomic_uint served; /* requests, to see that it moves */
	unsigned served_before; /* the supervisor's, as is what follows */
	unsigned stuck; /* looks in a row at which nothing had moved */
	struct zerocopy_pool pool; /* settled before REGISTERING */
};

struct transport_uring {
	struct fs *fs;
	int device_fd; /* not ours to close */
	int stop_fd; /* eventfd, readable once the workers are to stop */
	struct transport *whole; /* that this is a part of */
	struct uring_plan plan;
	atomic_bool stopping;
	atomic_bool up; /* every queue has its entries */
	atomic_bool zerocopy; /* of some queue */
	atomic_bool watching; /* the supervisor looks at the queues */
	pthread_t supervisor;

	pthread_mutex_t lock; /* a leaf; guards what follows */
	pthread_cond_t changed; /* CLOCK_MONOTONIC */
	enum uring_state state;
	struct uring_worker *workers;
	unsigned started;
	unsigned running;
	unsigned detached; /* of them, those that wait for another thread's answer */
	unsigned ready; /* have ring and pool */
	unsigned registered;
	unsigned queues_up; /* have an entry: when all have, the kernel uses them */
	bool given_up; /* nobody registers any more */
	int start_error; /* of the first worker that could not start */
	int error; /* of a queue that broke */

	struct uring_queue queue[];
};

/*
 * One more worker for a queue; late: for one that was stuck. It makes its ring and pool, and takes
 * part from REGISTERING on. Returns 0 or -errno. Who starts the transport calls it, then the
 * supervisor alone.
 */
int uring_worker_start(struct transport_uring *transport, struct uring_queue *queue, bool late);

/*
 * Makes all workers of the plan, each with ring and pool, and then the supervisor, which is to be
 * joined once the transport was stopped. Returns 0; or -errno, and then there may be workers, but
 * no supervisor.
 */
int uring_supervisor_start(struct transport_uring *transport);

/* All workers of a queue are busy: it is to be looked at. Any worker. */
void uring_supervisor_wake(struct transport_uring *transport);

static inline bool uring_has_zerocopy(const struct uring_queue *queue)
{
	return queue->pool.area;
}

static inline bool uring_is_end_of_connection(int err)
{
	return err == -ENOTCONN || err == -ECONNABORTED || err == -ENODEV || err == -ECANCELED;
}

static inline void uring_nap_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

#endif
