/* SPDX-License-Identifier: MIT */
/*
 * The thread that sees to the queues: it brings them up or gives them up, and adds workers to those
 * that are stuck.
 *
 * The start. A kernel that was told FUSE_OVER_IO_URING holds back all requests until each queue has
 * an entry, or until a registration failed (Linux 6.18 fs/fuse/dev.c, fuse_block_alloc()). So the
 * workers are made before INIT is answered, and when there is a queue without an entry after a
 * second the supervisor sends a registration that must fail: /dev/fuse then serves. From that on no
 * worker registers any more: once each queue has an entry the kernel uses them, and Linux 7.3 takes
 * no commit after such a failure, so that requests would never be answered.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "fs.h"
#include "fuse_kernel.h"
#include "log.h"
#include "pool/ring.h"
#include "uring_internal.h"
#include "zerocopy.h"

/* How often the supervisor looks whether a queue is stuck, and for how long it goes on when none
 * is. Two looks without a request served in between: help comes within 8 ms, and sooner where more
 * than one is needed. */
#define LOOK_MS		  4
#define LOOK_AGAIN_MS	  1
#define LOOKS_IN_VAIN	  25
#define LOOKS_LAST_RESORT 250

/* ---- INIT is answered: queues with zero copy ---- */

/* Waits until INIT is answered. Returns whether there are queues to be arranged. */
static bool await_connect(struct transport_uring *transport)
{
	bool arranging;

	pthread_mutex_lock(&transport->lock);
	while (transport->state == PREPARING)
		pthread_cond_wait(&transport->changed, &transport->lock);
	arranging = transport->state == ARRANGING;
	pthread_mutex_unlock(&transport->lock);
	return arranging;
}

static void arrange_queues(struct transport_uring *transport, struct ring *ring)
{
	const struct uring_plan *plan = &transport->plan;
	const unsigned buffers = zerocopy_buffers(plan->queues, plan->workers, plan->payload);
	int err = 0;

	if (!buffers) {
		fs_downgrade(transport->fs, "zero copy",
			     "%u queues with buffers of %zu KiB are too much memory; a smaller "
			     "buffer_size may do",
			     plan->queues, plan->payload >> 10);
		return;
	}
	for (unsigned i = 0; i < plan->queues && !err; i++) {
		struct uring_queue *queue = &transport->queue[i];

		for (int tries = 0; tries < START_TIMEOUT_MS; tries++) {
			err = zerocopy_open(&queue->pool, ring, transport->device_fd, queue->id,
					    buffers, plan->payload);
			if (err != -EAGAIN || atomic_load(&transport->stopping))
				break;
			uring_nap_ms(1);
		}
		if (!err)
			atomic_store(&transport->zerocopy, true);
	}
	if (err && !uring_is_end_of_connection(err))
		fs_downgrade(transport->fs, "zero copy", "the kernel refuses a queue: %s%s",
			     strerror(-err), err == -EPERM ? " (CAP_SYS_ADMIN is needed)" : "");
}

/* Queues that do not become ones with zero copy work without. */
static void arrange(struct transport_uring *transport)
{
	struct ring *ring;

	if (!ring_new(&(struct ring_options){ .entries = 1, .commands = true }, &ring)) {
		if (!ring_is_plain(ring))
			arrange_queues(transport, ring);
		ring_free(ring);
	}
	pthread_mutex_lock(&transport->lock);
	if (transport->state == ARRANGING)
		transport->state = REGISTERING;
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
}

/* ---- the queues come up, or are given up ---- */

static struct timespec in_ms(unsigned ms)
{
	struct timespec then;

	clock_gettime(CLOCK_MONOTONIC, &then);
	then.tv_nsec += ms % 1000 * 1000000L;
	then.tv_sec += ms / 1000 + then.tv_nsec / 1000000000;
	then.tv_nsec %= 1000000000;
	return then;
}

static void refused_done(struct ring_op *op, int result)
{
	(void)op;
	(void)result;
}

/* A registration without an entry: the kernel refuses it, and lets the requests go to /dev/fuse
 * (Linux 6.18 fs/fuse/dev_uring.c, fuse_uring_cmd()). */
static void give_up_queues(struct transport_uring *transport)
{
	const struct fuse_uring_cmd_req data = { .qid = 0 };
	const struct ring_command command = {
		.fd = transport->device_fd,
		.operation = FUSE_IO_URING_CMD_REGISTER,
		.data = &data,
		.size = sizeof(data),
	};
	struct ring_op op = { .done = refused_done };
	struct ring *ring;

	if (ring_new(&(struct ring_options){ .entries = 1, .commands = true }, &ring))
		return;
	if (!ring_is_plain(ring)) {
		ring_submit_command(ring, &op, &command);
		ring_run(ring, true);
	}
	ring_free(ring);
}

/* Returns whether the queues came up. */
static bool supervise_start(struct transport_uring *transport)
{
	const unsigned wanted = transport->plan.queues * transport->plan.workers;
	struct timespec until;
	unsigned missing;
	bool up;
	int err;

	if (await_connect(transport))
		arrange(transport);
	pthread_mutex_lock(&transport->lock);
	until = in_ms(START_TIMEOUT_MS);
	err = 0;
	while (transport->state == REGISTERING && transport->registered < wanted &&
	       !transport->start_error && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&transport->changed, &transport->lock, &until);
	up = transport->state == REGISTERING && transport->queues_up == transport->plan.queues;
	transport->given_up = !up;
	missing = wanted - transport->registered;
	err = transport->start_error ? transport->start_error : -ETIMEDOUT;
	pthread_mutex_unlock(&transport->lock);
	atomic_store(&transport->up, up);
	if (up && missing)
		log_warning("io_uring: %u of %u entries are not there yet: %s", missing, wanted,
			    strerror(-err));
	if (up || atomic_load(&transport->stopping))
		return up;
	if (uring_is_end_of_connection(err))
		return false;
	fs_downgrade(transport->fs, FEATURE,
		     "its queues did not come up: %s; requests come on "
		     "/dev/fuse",
		     strerror(-err));
	give_up_queues(transport);
	return false;
}

/* ---- queues that are stuck ---- */

/* Whether all workers of a queue have been busy since the last look, with the same requests. */
static bool is_stuck(struct uring_queue *queue)
{
	unsigned served = atomic_load_explicit(&queue->served, memory_order_relaxed);
	bool moved = served != queue->served_before;

	queue->served_before = served;
	queue->stuck = moved ? 0 : queue->stuck + 1;
	return queue->stuck > 0;
}

/* A worker whose buffer is not registered is a last resort: its reads and writes are plain ones. */
static bool may_add(const struct transport_uring *transport, const struct uring_queue *queue)
{
	if (queue->workers == (uring_has_zerocopy(queue) ? queue->pool.buffers : URING_WORKERS_MAX))
		return false;
	return transport->started < transport->plan.workers_registered ||
	       queue->stuck >= LOOKS_LAST_RESORT;
}

/* Looks once at each queue. Returns whether any is short of workers, and whether one got another.
 */
static bool look(struct transport_uring *transport, bool *ret_grew)
{
	bool short_of = false;

	*ret_grew = false;
	for (unsigned i = 0; i < transport->plan.queues; i++) {
		struct uring_queue *queue = &transport->queue[i];

		if (atomic_load(&queue->busy) < queue->workers)
			continue;
		short_of = true;
		if (!is_stuck(queue) || !may_add(transport, queue))
			continue;
		queue->stuck = 0;
		*ret_grew = true;
		if (uring_worker_start(transport, queue, true))
			fs_downgrade(transport->fs, "threads", "a queue could not get one more");
	}
	return short_of;
}

void uring_supervisor_wake(struct transport_uring *transport)
{
	pthread_mutex_lock(&transport->lock);
	atomic_store(&transport->watching, true);
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
}

static void *supervisor_main(void *argument)
{
	struct transport_uring *transport = argument;
	unsigned in_vain = 0;
	bool grew = false;

	if (!supervise_start(transport))
		return NULL;
	while (!atomic_load(&transport->stopping)) {
		pthread_mutex_lock(&transport->lock);
		if (in_vain == LOOKS_IN_VAIN) {
			atomic_store(&transport->watching, false);
			in_vain = 0;
		}
		while (!atomic_load(&transport->watching) && !atomic_load(&transport->stopping))
			pthread_cond_wait(&transport->changed, &transport->lock);
		pthread_mutex_unlock(&transport->lock);
		uring_nap_ms(grew ? LOOK_AGAIN_MS : LOOK_MS);
		in_vain = look(transport, &grew) ? 0 : in_vain + 1;
	}
	return NULL;
}

/* ---- the start, before INIT ---- */

/* Waits until so many have ring and pool. 0, or -errno of one that could not start. */
static int await_workers(struct transport_uring *transport, unsigned wanted)
{
	int err;

	pthread_mutex_lock(&transport->lock);
	while (!transport->start_error && transport->ready < wanted)
		pthread_cond_wait(&transport->changed, &transport->lock);
	err = transport->start_error;
	pthread_mutex_unlock(&transport->lock);
	return err;
}

/* All workers of the plan, each with ring and pool. 0 or -errno. */
static int start_workers(struct transport_uring *transport)
{
	const unsigned queues = transport->plan.queues;
	const unsigned wanted = queues * transport->plan.workers;
	int err = 0;

	for (unsigned i = 0; i < wanted && !err; i++)
		err = uring_worker_start(transport, &transport->queue[i % queues], false);
	return err ? err : await_workers(transport, wanted);
}

int uring_supervisor_start(struct transport_uring *transport)
{
	int err = start_workers(transport);

	if (!err)
		err = -pthread_create(&transport->supervisor, NULL, supervisor_main, transport);
	return err;
}
