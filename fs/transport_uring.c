/* SPDX-License-Identifier: MIT */
/*
 * The life of a request over io_uring:
 *
 *  1  A worker has one entry in the queue of its CPU: the headers in its own struct, the payload in
 *     the one buffer of its pool, which is registered with its ring. The kernel hands a request to
 *     the entry that became free last, copies header, first argument and the rest to where the
 *     entry says, and completes the command that the worker waits for.
 *  2  protocol_dispatch_parts() calls the handler, on this thread: it may block, and it may use the
 *     ring, on which the backing I/O of the request is done with the payload as the fixed buffer.
 *  3  commit(): the reply's header and data are put where the request lay, and the next command,
 *     COMMIT_AND_FETCH, is queued. The io_uring_enter(2) that waits for the next request sends it:
 *     one system call for a request that needs no I/O of the ring.
 *
 * Why a thread for each entry, and not one for a queue: a handler that blocks, on a frozen
 * filesystem or a slow disk, holds its own entry and nothing else, without being handed to another
 * thread and back. When all workers of a queue are stuck, the supervisor adds one.
 *
 * A request that was detached (copies, waits for locks) is answered by another thread; its worker
 * sleeps until then, and commits.
 *
 * With zero copy (zerocopy.h) the payload is where in the queue's pool the kernel says, and the
 * data of READ and WRITE is not in it.
 *
 * The start. A kernel that was told FUSE_OVER_IO_URING holds back all requests until each queue has
 * an entry, or until a registration failed (Linux 6.18 fs/fuse/dev.c, fuse_block_alloc()). So the
 * workers are made before INIT is answered, and when there is a queue without an entry after a
 * second the supervisor sends a registration that must fail: /dev/fuse then serves. From that on no
 * worker registers any more: once each queue has an entry the kernel uses them, and Linux 7.3 takes
 * no commit after such a failure, so that requests would never be answered.
 *
 * The end. An unmount or an abort ends each command with ENOTCONN or ECONNABORTED. transport_uring_
 * stop() wakes the workers by a descriptor that each ring polls; their commands are taken back by
 * the kernel when the ring is closed.
 */
#include "transport_uring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "fs.h"
#include "log.h"
#include "notify.h"
#include "protocol.h"
#include "request.h"
#include "worker.h"
#include "zerocopy.h"

#define START_TIMEOUT_MS 1000

/* How often the supervisor looks whether a queue is stuck, and for how long it goes on when none
 * is. Two looks without a request served in between: help comes within 8 ms, and sooner where more
 * than one is needed. */
#define LOOK_MS		  4
#define LOOK_AGAIN_MS	  1
#define LOOKS_IN_VAIN	  25
#define LOOKS_LAST_RESORT 250
#define WORKERS_FIRST	  2
#define CPUS_MAX	  4096
#define FEATURE		  "FUSE over io_uring"
#define PARAMETER_FILE	  "/sys/module/fuse/parameters/enable_uring"

/* ARRANGING: INIT is answered, the supervisor makes queues with zero copy. */
enum state { PREPARING, ARRANGING, REGISTERING, ENDING };

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

struct uring_worker {
	struct worker worker;
	struct request request; /* the one being served */
	struct fuse_uring_req_header headers; /* the kernel's while the command is out */
	struct transport_uring *transport;
	struct uring_queue *queue;

	struct ring_op command;
	bool received; /* the command is complete, with result */
	int result;
	bool late; /* added to a queue that was stuck */
	bool unregistered; /* its buffer */
	struct ring_op wake; /* polls transport->stop_fd */

	bool serving; /* from its arrival until the commit */
	bool detached;
	sem_t answered; /* posted by whoever answers a detached request, with reply_size set */
	size_t reply_size;

	pthread_t thread;
	struct uring_worker *next;
};

struct transport_uring {
	struct fs *fs;
	int device_fd; /* not ours to close */
	int stop_fd; /* eventfd, readable once the workers are to stop */
	struct uring_plan plan;
	atomic_bool stopping;
	atomic_bool up; /* every queue has its entries */
	atomic_bool zerocopy; /* of some queue */
	atomic_bool watching; /* the supervisor looks at the queues */
	pthread_t supervisor;

	pthread_mutex_t lock; /* a leaf; guards what follows */
	pthread_cond_t changed; /* CLOCK_MONOTONIC */
	enum state state;
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

static struct uring_worker *uring_worker_of(struct request *request)
{
	return (struct uring_worker *)((char *)request - offsetof(struct uring_worker, request));
}

/* ---- one request, on the thread of its worker ---- */

static void command_done(struct ring_op *op, int result)
{
	struct uring_worker *worker =
		(struct uring_worker *)((char *)op - offsetof(struct uring_worker, command));

	worker->result = result;
	worker->received = true;
}

static bool has_zerocopy(const struct uring_queue *queue)
{
	return queue->pool.area;
}

static void submit_command(struct uring_worker *worker, enum fuse_uring_cmd operation,
			   const struct iovec *entry)
{
	const bool zerocopy = has_zerocopy(worker->queue);
	const struct uring_request_command data = {
		.commit_id = worker->headers.ring_ent_in_out.commit_id,
		.qid = (uint16_t)worker->queue->id,
		.slot = zerocopy && operation == FUSE_IO_URING_CMD_REGISTER ? ZEROCOPY_SLOT : 0,
	};
	const struct ring_command command = {
		.fd = worker->transport->device_fd,
		.operation = operation,
		.data = &data,
		.size = sizeof(data),
		.address = entry,
		.length = entry ? 2 : 0,
		.fixed = zerocopy,
	};

	worker->received = false;
	worker->command.done = command_done;
	ring_submit_command(worker->worker.ring, &worker->command, &command);
}

/* Puts the reply where the kernel looks for it. The buffer has been away when the request was a
 * WRITE or a copy: its pool has only this one. */
static void commit(struct uring_worker *worker, size_t size, bool payload)
{
	struct request *request = &worker->request;

	if (!request->buffer)
		request->buffer = pool_lend(worker->worker.pool);
	assert(request->buffer);
	if (!payload)
		memcpy(request_payload(request),
		       (char *)&request->out + sizeof(request->out.header), size);
	memcpy(worker->headers.in_out, &request->out.header, sizeof(request->out.header));
	worker->headers.ring_ent_in_out.payload_sz = (uint32_t)size;
	submit_command(worker, FUSE_IO_URING_CMD_COMMIT_AND_FETCH, NULL);
	worker->serving = false;
}

static void uring_reply(struct request *request, size_t size, bool payload)
{
	struct uring_worker *worker = uring_worker_of(request);

	if (!worker->detached) {
		commit(worker, size, payload);
		return;
	}
	assert(!payload);
	worker->reply_size = size;
	sem_post(&worker->answered);
}

/* What has no reply comes on /dev/fuse, but an entry is only free again by a commit. */
static void uring_finish(struct request *request)
{
	request->out.header = (struct fuse_out_header){
		.len = sizeof(struct fuse_out_header),
		.error = -EIO,
		.unique = request->in.unique,
	};
	uring_reply(request, 0, false);
}

static struct request *uring_detach(struct request *request)
{
	struct uring_worker *worker = uring_worker_of(request);

	if (worker->detached)
		return request;
	worker->detached = true;
	if (request->buffer)
		pool_return(request->buffer);
	request->buffer = NULL;
	request->worker = NULL;
	request->argument = request->value = NULL;
	request->name[0] = request->name[1] = NULL;
	return request;
}

static const struct transport_ops uring_ops = {
	.reply = uring_reply,
	.finish = uring_finish,
	.detach = uring_detach,
};

/* The worker counts as ended meanwhile: those who end the mount tell the others to answer only when
 * transport_uring_wait() is over. */
static void await_answer(struct uring_worker *worker)
{
	struct transport_uring *transport = worker->transport;

	pthread_mutex_lock(&transport->lock);
	transport->detached++;
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);

	while (sem_wait(&worker->answered) && errno == EINTR)
		;
	pthread_mutex_lock(&transport->lock);
	transport->detached--;
	pthread_mutex_unlock(&transport->lock);
	worker->detached = false;
	commit(worker, worker->reply_size, false);
}

/*
 * Moves the payload to where the kernel has put it, and notes where the data is. A READ with zero
 * copy has no payload, the kernel then says 0, and that buffer may be another's: it is not touched.
 * Returns false when there cannot be a payload.
 */
static bool find_payload(struct uring_worker *worker)
{
	const struct fuse_uring_ent_in_out *entry = &worker->headers.ring_ent_in_out;
	const struct zerocopy_pool *pool = &worker->queue->pool;
	struct request *request = &worker->request;

	if (!has_zerocopy(worker->queue))
		return true;
	if (fuse_uring_offset(entry) > pool->size - pool->buffer_size)
		return false;
	pool_buffer_move(request->buffer, fuse_uring_offset(entry));
	if (entry->flags & FUSE_URING_ENT_ZERO_COPY)
		request->slot = ZEROCOPY_SLOT;
	return true;
}

static void dispatch(struct uring_worker *worker)
{
	struct request *request = &worker->request;
	const struct fuse_in_header *in = (const void *)worker->headers.in_out;
	bool found = find_payload(worker);
	size_t rest = worker->headers.ring_ent_in_out.payload_sz;
	struct protocol_parts parts = {
		.header = in,
		.argument = worker->headers.op_in,
		.rest = request_payload(request),
		.rest_size = rest,
	};

	if (!found || rest > request_payload_size(request) || in->len < sizeof(*in) + rest ||
	    in->len - sizeof(*in) - rest > sizeof(worker->headers.op_in)) {
		request->in = *in;
		uring_finish(request);
		return;
	}
	parts.argument_size = in->len - sizeof(*in) - rest;
	protocol_dispatch_parts(request, &parts);
}

static void serve(struct uring_worker *worker)
{
	struct request *request = &worker->request;

	request->fs = worker->transport->fs;
	request->worker = &worker->worker;
	request->transport = &uring_ops;
	request->slot = 0;
	worker->serving = true;
	dispatch(worker);
	while (worker->serving) {
		if (worker->detached)
			await_answer(worker);
		else
			worker_run(&worker->worker);
	}
}

/* ---- a worker ---- */

static void wake_supervisor(struct transport_uring *transport)
{
	pthread_mutex_lock(&transport->lock);
	atomic_store(&transport->watching, true);
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
}

static void serve_counted(struct uring_worker *worker)
{
	struct uring_queue *queue = worker->queue;
	struct transport_uring *transport = worker->transport;

	if (atomic_fetch_add(&queue->busy, 1) + 1 >= transport->plan.workers &&
	    !atomic_load_explicit(&transport->watching, memory_order_relaxed))
		wake_supervisor(transport);
	serve(worker);
	atomic_fetch_sub(&queue->busy, 1);
	atomic_fetch_add_explicit(&queue->served, 1, memory_order_relaxed);
}

/* Returns the result of the command, or -ECANCELED when the worker is to stop. */
static int receive(struct uring_worker *worker)
{
	while (!worker->received) {
		if (atomic_load(&worker->transport->stopping))
			return -ECANCELED;
		worker_run(&worker->worker);
	}
	return worker->result;
}

static void on_wake(struct ring_op *op, int result)
{
	(void)op;
	(void)result;
}

static void nap_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

/* Under the lock, so that the supervisor knows what the kernel knows. */
static int try_to_register(struct uring_worker *worker, const struct iovec *entry)
{
	struct transport_uring *transport = worker->transport;
	struct uring_queue *queue = worker->queue;
	int err = -ECANCELED;

	pthread_mutex_lock(&transport->lock);
	if (!transport->given_up) {
		submit_command(worker, FUSE_IO_URING_CMD_REGISTER, entry);
		err = ring_run(worker->worker.ring, false);
		if (err >= 0)
			err = worker->received && worker->result < 0 ? worker->result : 0;
	}
	if (!err) {
		transport->registered++;
		transport->queues_up += !queue->registered++;
	}
	pthread_mutex_unlock(&transport->lock);
	return err;
}

/*
 * Gives the kernel this worker's entry. A command that is taken stays out until the first request.
 * The kernel says EAGAIN until it has digested the reply of INIT, which was sent just now.
 */
static int register_entry(struct uring_worker *worker)
{
	const bool zerocopy = has_zerocopy(worker->queue);
	struct pool_buffer *buffer = pool_lend(worker->worker.pool);
	const struct iovec entry[2] = {
		{ .iov_base = &worker->headers, .iov_len = sizeof(worker->headers) },
		{ .iov_base = zerocopy ? NULL : pool_buffer_data(buffer),
		  .iov_len = zerocopy ? 0 : pool_buffer_size(worker->worker.pool) },
	};
	int err = -EAGAIN;

	worker->request.buffer = buffer;
	for (int tries = 0; tries < START_TIMEOUT_MS; tries++) {
		err = try_to_register(worker, entry);
		if (err != -EAGAIN)
			break;
		nap_ms(1);
	}
	return err;
}

/*
 * What waits in a queue goes to an entry that commits, and not to one that is registered
 * (Linux 6.18 fs/fuse/dev_uring.c, fuse_uring_do_register()). A new request goes to the new entry
 * at once, and its commit fetches the next: so one is sent, from the CPU of this worker. When that
 * fails the next request of anybody does the same.
 */
static void fetch_waiting(struct uring_worker *worker)
{
	int err = notify_retrieve(worker->transport->fs);

	if (err)
		log_debug("queue %u: no request for a new entry: %s", worker->queue->id,
			  strerror(-err));
}

static int serve_all(struct uring_worker *worker)
{
	struct transport_uring *transport = worker->transport;
	int ret = 0;
	int err = 0;

	if (has_zerocopy(worker->queue))
		err = zerocopy_join(&worker->queue->pool, &worker->worker);
	worker->wake.done = on_wake;
	ring_submit_poll(worker->worker.ring, &worker->wake, transport->stop_fd, POLLIN);
	if (!err)
		err = register_entry(worker);
	pthread_mutex_lock(&transport->lock);
	if (err && !transport->start_error)
		transport->start_error = err;
	if (err && !worker->late) /* one that was added is not replaced for ever */
		worker->queue->workers--;
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
	if (!err && worker->late)
		fetch_waiting(worker);
	if (err)
		goto give_back; /* of the start, and the supervisor's to judge */
	for (;;) {
		err = receive(worker);
		if (err)
			break;
		serve_counted(worker);
	}
	ret = err;
give_back:
	if (worker->request.buffer)
		pool_return(worker->request.buffer);
	worker->request.buffer = NULL;
	return ret;
}

/* On the CPU whose requests it serves: the caller sleeps until the reply, and its CPU is warm.
 * Possible is not present, and a container may allow some only: then anywhere. */
static void go_to_cpu(unsigned cpu)
{
	cpu_set_t allowed;
	cpu_set_t one;

	if (cpu >= CPU_SETSIZE ||
	    pthread_getaffinity_np(pthread_self(), sizeof(allowed), &allowed) ||
	    !CPU_ISSET(cpu, &allowed))
		return;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

/* Waits until INIT is answered. Returns whether there is something to serve. */
static bool await_init(struct transport_uring *transport)
{
	bool go;

	pthread_mutex_lock(&transport->lock);
	transport->ready++;
	pthread_cond_broadcast(&transport->changed);
	while (transport->state < REGISTERING)
		pthread_cond_wait(&transport->changed, &transport->lock);
	go = transport->state == REGISTERING;
	pthread_mutex_unlock(&transport->lock);
	return go;
}

static bool is_end_of_connection(int err)
{
	return err == -ENOTCONN || err == -ECONNABORTED || err == -ENODEV || err == -ECANCELED;
}

static void worker_ended(struct uring_worker *worker, int start_error, int error)
{
	struct transport_uring *transport = worker->transport;

	pthread_mutex_lock(&transport->lock);
	transport->running--;
	if (start_error && !transport->start_error)
		transport->start_error = start_error;
	if (error && !transport->error)
		transport->error = error;
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
}

static void *worker_main(void *argument)
{
	struct uring_worker *worker = argument;
	struct transport_uring *transport = worker->transport;
	const struct pool_options pool_options = {
		.buffer_size = transport->plan.payload,
		.count = 1,
		.unregistered = worker->unregistered,
	};
	int err;

	go_to_cpu(worker->queue->id);
	err = worker_init_commands(&worker->worker, transport->fs, &pool_options);
	if (err) {
		worker_ended(worker, err, 0);
		return NULL;
	}
	if (await_init(transport))
		err = serve_all(worker);
	worker_fini(&worker->worker);
	if (is_end_of_connection(err))
		err = 0;
	/* UNTESTED: the kernel gives no other error to a command that it once took. */
	if (err)
		log_error("queue %u of io_uring: %s", worker->queue->id, strerror(-err));
	worker_ended(worker, 0, err);
	return NULL;
}

static int start_worker(struct transport_uring *transport, struct uring_queue *queue, bool late)
{
	struct uring_worker *worker = calloc(1, sizeof(*worker));
	int err;

	if (!worker)
		return -ENOMEM;
	worker->transport = transport;
	worker->queue = queue;
	worker->late = late;
	worker->unregistered = transport->started >= transport->plan.workers_registered;
	sem_init(&worker->answered, 0, 0);
	pthread_mutex_lock(&transport->lock);
	err = -pthread_create(&worker->thread, NULL, worker_main, worker);
	if (!err) {
		worker->next = transport->workers;
		transport->workers = worker;
		transport->running++;
		transport->started++;
		queue->workers++;
	}
	pthread_mutex_unlock(&transport->lock);
	if (err) {
		sem_destroy(&worker->answered);
		free(worker);
	}
	return err;
}

/* ---- the supervisor ---- */

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
			nap_ms(1);
		}
		if (!err)
			atomic_store(&transport->zerocopy, true);
	}
	if (err && !is_end_of_connection(err))
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
	if (is_end_of_connection(err))
		return false;
	fs_downgrade(transport->fs, FEATURE,
		     "its queues did not come up: %s; requests come on "
		     "/dev/fuse",
		     strerror(-err));
	give_up_queues(transport);
	return false;
}

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
	if (queue->workers == (has_zerocopy(queue) ? queue->pool.buffers : URING_WORKERS_MAX))
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
		if (start_worker(transport, queue, true))
			fs_downgrade(transport->fs, "threads", "a queue could not get one more");
	}
	return short_of;
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
		nap_ms(grew ? LOOK_AGAIN_MS : LOOK_MS);
		in_vain = look(transport, &grew) ? 0 : in_vain + 1;
	}
	return NULL;
}

/* ---- the whole ---- */

/* How many buffers of that size may be registered beside those of /dev/fuse: two workers, with the
 * page before each buffer. */
static uint64_t affordable(uint64_t lockable, size_t payload)
{
	uint64_t count = lockable / payload;

	return count > 3 ? count - 3 : 0;
}

struct uring_plan uring_plan(unsigned possible_cpus, unsigned threads, size_t max_write,
			     uint64_t lockable)
{
	const unsigned wanted = possible_cpus + 2; /* some are to spare when one is stuck */
	struct uring_plan plan = {
		.queues = possible_cpus,
		.workers = threads / possible_cpus,
		.payload = max_write > FUSE_MIN_READ_BUFFER ? max_write : FUSE_MIN_READ_BUFFER,
	};
	uint64_t total;

	if (plan.workers > WORKERS_FIRST)
		plan.workers = WORKERS_FIRST;
	if (!plan.workers)
		plan.workers = 1;
	while (plan.payload > URING_PAYLOAD_MIN &&
	       (plan.payload * plan.queues * plan.workers > URING_BUDGET ||
		affordable(lockable, plan.payload) < wanted))
		plan.payload /= 2;
	total = affordable(lockable, plan.payload);
	if (total < plan.queues * plan.workers || total > plan.queues * URING_WORKERS_MAX)
		total = plan.queues * URING_WORKERS_MAX;
	plan.workers_registered = (unsigned)total;
	return plan;
}

/* A list as "0-3,8": what the kernel counts for its queues. */
static unsigned possible_cpus(void)
{
	FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned count = 0;
	unsigned first, last;

	while (file && fscanf(file, "%u", &first) == 1) {
		last = first;
		if (fscanf(file, "-%u", &last) < 0 || last < first)
			last = first;
		count += last - first + 1;
		if (fgetc(file) != ',')
			break;
	}
	if (file)
		fclose(file);
	if (!count) {
		long configured = sysconf(_SC_NPROCESSORS_CONF);

		count = configured > 0 ? (unsigned)configured : 1;
	}
	return count < CPUS_MAX ? count : CPUS_MAX;
}

/* Why the kernel will not have it, as far as can be told before INIT; NULL when it may. */
static const char *refusal(const struct fs *fs)
{
	CLEANUP_FD int fd = -1;
	char value = 'Y';

	if (fs->options.io == IO_PLAIN)
		return "io=plain does without io_uring";
	/* fusermount3 looks once, when we are gone, whether the mount is dead; the kernel takes the
	 * commands back, and ends the connection, a moment later. */
	if (fs->options.auto_unmount)
		return "auto_unmount works with /dev/fuse only";
	fd = open(PARAMETER_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return "the kernel does not have it (Linux 6.14 with CONFIG_FUSE_IO_URING)";
	if (fd >= 0 && read(fd, &value, 1) == 1 && value == 'N')
		return "it is off; as root: echo 1 > " PARAMETER_FILE;
	return NULL;
}

static void init_sync(struct transport_uring *transport)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&transport->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&transport->changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

static struct transport_uring *make(struct fs *fs, int device_fd)
{
	struct uring_plan plan = uring_plan(possible_cpus(), fs->options.threads,
					    fs->options.max_write, options_lockable());
	struct transport_uring *transport =
		calloc(1, sizeof(*transport) + plan.queues * sizeof(transport->queue[0]));

	if (!transport)
		return NULL;
	transport->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (transport->stop_fd < 0) {
		free(transport);
		return NULL;
	}
	transport->fs = fs;
	transport->device_fd = device_fd;
	transport->plan = plan;
	transport->state = PREPARING;
	init_sync(transport);
	for (unsigned i = 0; i < plan.queues; i++)
		transport->queue[i].id = i;
	return transport;
}

/* All workers of the plan, each with ring and pool. 0 or -errno. */
static int start_workers(struct transport_uring *transport)
{
	const unsigned wanted = transport->plan.queues * transport->plan.workers;
	int err = 0;

	for (unsigned i = 0; i < wanted && !err; i++)
		err = start_worker(transport, &transport->queue[i % transport->plan.queues], false);
	pthread_mutex_lock(&transport->lock);
	while (!err && !transport->start_error && transport->ready < wanted)
		pthread_cond_wait(&transport->changed, &transport->lock);
	if (!err)
		err = transport->start_error;
	pthread_mutex_unlock(&transport->lock);
	return err;
}

static int start(struct transport_uring *transport)
{
	int err = start_workers(transport);

	if (!err)
		err = -pthread_create(&transport->supervisor, NULL, supervisor_main, transport);
	return err;
}

static void join_workers(struct transport_uring *transport)
{
	while (transport->workers) {
		struct uring_worker *worker = transport->workers;

		transport->workers = worker->next;
		pthread_join(worker->thread, NULL);
		sem_destroy(&worker->answered);
		free(worker);
	}
}

static void destroy(struct transport_uring *transport)
{
	join_workers(transport);
	for (unsigned i = 0; i < transport->plan.queues; i++)
		zerocopy_close(&transport->queue[i].pool);
	close(transport->stop_fd);
	pthread_cond_destroy(&transport->changed);
	pthread_mutex_destroy(&transport->lock);
	free(transport);
}

struct transport_uring *transport_uring_new(struct fs *fs, int device_fd)
{
	const enum transport_mode mode = fs->options.transport;
	struct transport_uring *transport;
	const char *why;
	int err;

	if (mode == TRANSPORT_DEV || (mode == TRANSPORT_AUTO && fs->options.io == IO_PLAIN))
		return NULL;
	why = refusal(fs);
	if (why) {
		fs_downgrade(fs, FEATURE, "%s", why);
		return NULL;
	}
	transport = make(fs, device_fd);
	err = transport ? start(transport) : -ENOMEM;
	if (!err) {
		fs->options.max_write = transport->plan.payload < fs->options.max_write
						? transport->plan.payload
						: fs->options.max_write;
		return transport;
	}
	if (err != -EPERM &&
	    err != -ENOSYS) /* all of io_uring is missing, which is said elsewhere */
		fs_downgrade(fs, FEATURE, "its workers could not start: %s", strerror(-err));
	if (transport) {
		transport_uring_stop(transport);
		destroy(transport);
	}
	return NULL;
}

static bool wants_zerocopy(const struct transport_uring *transport)
{
	return transport->fs->connection.taken & FUSE_HAS_IO_URING_BUFPOOL;
}

void transport_uring_connect(struct transport_uring *transport, bool taken)
{
	if (!taken)
		fs_downgrade(transport->fs, FEATURE, "the kernel does not offer it for this mount");
	pthread_mutex_lock(&transport->lock);
	if (transport->state == PREPARING)
		transport->state = !taken		       ? ENDING
				   : wants_zerocopy(transport) ? ARRANGING
							       : REGISTERING;
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
}

int transport_uring_wait(struct transport_uring *transport)
{
	int err;

	if (!transport)
		return 0;
	pthread_mutex_lock(&transport->lock);
	/* Without INIT nobody else would tell them. */
	if (transport->state == PREPARING)
		transport->state = ENDING;
	pthread_cond_broadcast(&transport->changed);
	while (transport->running > transport->detached)
		pthread_cond_wait(&transport->changed, &transport->lock);
	err = transport->error;
	pthread_mutex_unlock(&transport->lock);
	return err;
}

bool transport_uring_is_busy(struct transport_uring *transport)
{
	for (unsigned i = 0; transport && i < transport->plan.queues; i++)
		if (atomic_load(&transport->queue[i].busy))
			return true;
	return false;
}

void transport_uring_stop(struct transport_uring *transport)
{
	if (!transport)
		return;
	pthread_mutex_lock(&transport->lock);
	atomic_store(&transport->stopping, true);
	transport->state = ENDING;
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
	eventfd_write(transport->stop_fd, 1);
}

void transport_uring_free(struct transport_uring *transport)
{
	if (!transport)
		return;
	transport_uring_stop(transport); /* the supervisor; the workers have ended */
	pthread_join(transport->supervisor, NULL);
	destroy(transport);
}

bool transport_uring_is_up(struct transport_uring *transport)
{
	return transport && atomic_load(&transport->up);
}

bool transport_uring_has_zerocopy(struct transport_uring *transport)
{
	return transport && atomic_load(&transport->zerocopy);
}

static void print_zerocopy(const struct transport_uring *transport, FILE *out)
{
	unsigned queues = 0;
	size_t bytes = 0;

	for (unsigned i = 0; i < transport->plan.queues; i++) {
		queues += has_zerocopy(&transport->queue[i]);
		bytes += transport->queue[i].pool.size;
	}
	fprintf(out, "zero copy          %u queues, pools of %zu KiB\n", queues, bytes >> 10);
}

void transport_uring_print(struct transport_uring *transport, FILE *out)
{
	unsigned workers = 0;
	unsigned registered;

	pthread_mutex_lock(&transport->lock);
	for (unsigned i = 0; i < transport->plan.queues; i++)
		workers += transport->queue[i].workers;
	registered = transport->registered;
	pthread_mutex_unlock(&transport->lock);
	fprintf(out, "queues             %u, %u workers, %u entries of %zu KiB\n",
		transport->plan.queues, workers, registered, transport->plan.payload >> 10);
	if (transport_uring_has_zerocopy(transport))
		print_zerocopy(transport, out);
}
