/* SPDX-License-Identifier: MIT */
/*
 * The life of a request over io_uring:
 *
 * 1. A worker has one entry in the queue of its CPU: the headers in its own struct, the payload in
 *    the one buffer of its pool, which is registered with its ring. The kernel hands a request to
 *    the entry that became free last, copies header, first argument and the rest to where the
 *    entry says, and completes the command that the worker waits for.
 * 2. protocol_dispatch_parts() calls the handler, on this thread: it may block, and it may use the
 *    ring, on which the backing I/O of the request is done with the payload as the fixed buffer.
 * 3. commit(): the reply's header and data are put where the request lay, and the next command,
 *    COMMIT_AND_FETCH, is queued. The io_uring_enter(2) that waits for the next request sends it:
 *    one system call for a request that needs no I/O of the ring. For a READ that will be whole it
 *    is one as well: the command is linked to the READ_FIXED, with the header written in advance.
 *
 * Why a thread for each entry, and not one for a queue: a handler that blocks, on a frozen
 * filesystem or a slow disk, holds its own entry and nothing else, without being handed to another
 * thread and back. When all workers of a queue are stuck, the supervisor (uring_supervisor.c) adds
 * one.
 *
 * A request that was detached (copies, waits for locks) is answered by another thread; its worker
 * sleeps until then, and commits.
 *
 * With zero copy (zerocopy.h) the payload is where in the queue's pool the kernel says, and the
 * data of READ and WRITE is not in it.
 */
#include "transport.h"
#include "transport_uring.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"
#include "log.h"
#include "notify.h"
#include "protocol.h"
#include "request.h"
#include "uring_internal.h"
#include "worker.h"
#include "zerocopy.h"

#define MOVE_AFTER 4 /* requests: moving costs more than a request does */

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

	bool has_home; /* the CPU of the queue is one of them */
	bool roams; /* or is at home */
	unsigned misplaced; /* requests in a row that would be better served otherwise */

	bool serving; /* from its arrival until the commit */
	bool linked; /* the command that is out waited for an operation of the request */
	bool detached;
	sem_t answered; /* posted by whoever answers a detached request, with reply_size set */
	size_t reply_size; /* also of one that is linked */

	pthread_t thread;
	struct uring_worker *next;
};

static struct uring_worker *uring_worker_of(struct request *request)
{
	return (struct uring_worker *)((char *)request - offsetof(struct uring_worker, request));
}

/* ---- the command that is out while a worker waits ---- */

static void command_done(struct ring_op *op, int result)
{
	struct uring_worker *worker =
		(struct uring_worker *)((char *)op - offsetof(struct uring_worker, command));

	worker->result = result;
	worker->received = true;
}

static void submit_command(struct uring_worker *worker, enum fuse_uring_cmd operation,
			   const struct iovec *entry)
{
	const bool zerocopy = uring_has_zerocopy(worker->queue);
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

/* The header goes where the kernel looks for it. */
static void submit_commit(struct uring_worker *worker, size_t size)
{
	memcpy(worker->headers.in_out, &worker->request.out.header,
	       sizeof(worker->request.out.header));
	worker->headers.ring_ent_in_out.payload_sz = (uint32_t)size;
	submit_command(worker, FUSE_IO_URING_CMD_COMMIT_AND_FETCH, NULL);
}

/* ---- 1: a request comes ---- */

/* Returns the result of the command, or -ECANCELED when the worker is to stop. */
static int await_command(struct uring_worker *worker)
{
	while (!worker->received) {
		if (atomic_load(&worker->transport->stopping))
			return -ECANCELED;
		worker_run(&worker->worker);
	}
	return worker->result;
}

/* The same. A reply that was linked may have been cancelled though its operation has moved all: it
 * is as it was. */
static int receive(struct uring_worker *worker)
{
	const bool linked = worker->linked;
	int err = await_command(worker);

	worker->linked = false;
	if (err != -ECANCELED || !linked || !worker->received)
		return err;
	submit_commit(worker, worker->reply_size);
	return await_command(worker);
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

	if (!uring_has_zerocopy(worker->queue))
		return true;
	if (fuse_uring_offset(entry) > pool->size - pool->buffer_size)
		return false;
	pool_buffer_move(request->buffer, fuse_uring_offset(entry));
	if (entry->flags & FUSE_URING_ENT_ZERO_COPY)
		request->slot = ZEROCOPY_SLOT;
	return true;
}

/* ---- 2: to its handler ---- */

static void uring_finish(struct request *request);

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

/* ---- 3: the reply ---- */

/* A reply that was linked to an operation which did not do all it should: the kernel says so of the
 * command too. */
static void await_cancelled(struct uring_worker *worker)
{
	while (!worker->received)
		worker_run(&worker->worker);
	worker->linked = false;
}

/* Puts the reply where the kernel looks for it. The buffer has been away when the request was a
 * WRITE or a copy: its pool has only this one. */
static void commit(struct uring_worker *worker, size_t size, bool payload)
{
	struct request *request = &worker->request;

	if (worker->linked)
		await_cancelled(worker);
	if (!request->buffer)
		request->buffer = pool_lend(worker->worker.pool);
	assert(request->buffer);
	if (!payload)
		memcpy(request_payload(request),
		       (char *)&request->out + sizeof(request->out.header), size);
	submit_commit(worker, size);
	worker->serving = false;
}

static void uring_reply_linked(struct request *request, size_t size)
{
	struct uring_worker *worker = uring_worker_of(request);

	submit_commit(worker, size);
	worker->reply_size = size;
	worker->linked = true;
}

static void uring_linked_sent(struct request *request)
{
	uring_worker_of(request)->serving = false;
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

/* ---- a request whose answer comes from another thread ---- */

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

/* ---- one after the other ---- */

static const struct transport_ops uring_ops = {
	.reply = uring_reply,
	.reply_linked = uring_reply_linked,
	.linked_sent = uring_linked_sent,
	.finish = uring_finish,
	.detach = uring_detach,
	.keeps_worker = true,
};

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

/* Possible is not present, and a container may allow some only: then it has no home. */
static void find_home(struct uring_worker *worker)
{
	const unsigned cpu = worker->queue->id;

	worker->has_home = cpu < CPU_SETSIZE && CPU_ISSET(cpu, &worker->transport->fs->cpus);
}

static void go_home(const struct uring_worker *worker)
{
	cpu_set_t home;

	CPU_ZERO(&home);
	CPU_SET(worker->queue->id, &home);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(home), &home);
}

/*
 * A worker's home is the CPU whose requests it serves: the caller sleeps until the reply, and his
 * CPU is warm. Not so with readahead: who asks for it goes on with what he has, and a worker on the
 * same CPU would only take turns with him. So one that gets nothing else goes where there is room,
 * until it gets something else.
 */
static void choose_cpu(struct uring_worker *worker)
{
	const bool ahead = worker->worker.ahead;

	worker->misplaced = ahead == worker->roams ? 0 : worker->misplaced + 1;
	if (worker->misplaced < MOVE_AFTER || !worker->has_home)
		return;
	worker->roams = ahead;
	if (ahead)
		fs_run_anywhere(worker->transport->fs);
	else
		go_home(worker);
}

static void serve_counted(struct uring_worker *worker)
{
	struct uring_queue *queue = worker->queue;
	struct transport_uring *transport = worker->transport;

	if (atomic_fetch_add(&queue->busy, 1) + 1 >= transport->plan.workers &&
	    !atomic_load_explicit(&transport->watching, memory_order_relaxed))
		uring_supervisor_wake(transport);
	worker->worker.ahead = false;
	serve(worker);
	choose_cpu(worker);
	atomic_fetch_sub(&queue->busy, 1);
	atomic_fetch_add_explicit(&queue->served, 1, memory_order_relaxed);
}

/* Returns the error that ended it: of a command, or -ECANCELED. */
static int serve_all(struct uring_worker *worker)
{
	for (;;) {
		int err = receive(worker);

		if (err)
			return err;
		serve_counted(worker);
	}
}

/* ---- a worker ---- */

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
	const bool zerocopy = uring_has_zerocopy(worker->queue);
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
		uring_nap_ms(1);
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

static void on_wake(struct ring_op *op, int result)
{
	(void)op;
	(void)result;
}

/* The start of this worker: 0, or -errno, which is the supervisor's to judge. */
static int join_queue(struct uring_worker *worker)
{
	struct transport_uring *transport = worker->transport;
	int err = 0;

	if (uring_has_zerocopy(worker->queue))
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
	return err;
}

static int join_and_serve(struct uring_worker *worker)
{
	int err = 0;

	if (!join_queue(worker))
		err = serve_all(worker);
	if (worker->request.buffer)
		pool_return(worker->request.buffer);
	worker->request.buffer = NULL;
	return err;
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

	find_home(worker);
	if (worker->has_home)
		go_home(worker);
	err = worker_init_commands(&worker->worker, transport->fs, &pool_options);
	if (err) {
		worker_ended(worker, err, 0);
		return NULL;
	}
	if (await_init(transport))
		err = join_and_serve(worker);
	worker_fini(&worker->worker);
	if (uring_is_end_of_connection(err))
		err = 0;
	/* The kernel knows no way back to /dev/fuse: only the end of the connection is an answer to
	 * those who wait for this queue. */
	if (err) {
		log_error("queue %u of io_uring: %s", worker->queue->id, strerror(-err));
		transport_stop(transport->whole);
	}
	worker_ended(worker, 0, err);
	return NULL;
}

int uring_worker_start(struct transport_uring *transport, struct uring_queue *queue, bool late)
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

/* ---- the whole ---- */

static void init_sync(struct transport_uring *transport)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&transport->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&transport->changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

static struct transport_uring *make(struct fs *fs, int device_fd, struct transport *whole)
{
	struct uring_plan plan = uring_plan(uring_possible_cpus(), fs->options.threads,
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
	transport->whole = whole;
	transport->plan = plan;
	transport->state = PREPARING;
	init_sync(transport);
	for (unsigned i = 0; i < plan.queues; i++)
		transport->queue[i].id = i;
	return transport;
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

struct transport_uring *transport_uring_new(struct fs *fs, int device_fd, struct transport *whole)
{
	const enum transport_mode mode = fs->options.transport;
	struct transport_uring *transport;
	const char *why;
	int err;

	if (mode == TRANSPORT_DEV || (mode == TRANSPORT_AUTO && fs->options.io == IO_PLAIN))
		return NULL;
	why = uring_refusal(&fs->options);
	if (why) {
		fs_downgrade(fs, FEATURE, "%s", why);
		return NULL;
	}
	transport = make(fs, device_fd, whole);
	err = transport ? uring_supervisor_start(transport) : -ENOMEM;
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

/*
 * The end. An unmount or an abort ends each command with ENOTCONN or ECONNABORTED. transport_uring_
 * stop() wakes the workers by a descriptor that each ring polls; their commands are taken back by
 * the kernel when the ring is closed.
 */

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
		queues += uring_has_zerocopy(&transport->queue[i]);
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
