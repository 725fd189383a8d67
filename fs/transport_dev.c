/* SPDX-License-Identifier: MIT */
/*
 * The life of a request over /dev/fuse:
 *
 * 1. A worker lends a buffer of its pool and blocks in read(2), with the buffer's headroom in
 *    front: the data of a WRITE then lands page-aligned at the start of registered memory.
 * 2. protocol_dispatch() calls the handler. It replies at once, or it submits to the worker's ring
 *    and returns.
 * 3. In the second case the worker runs its ring until the reply is out; it receives nothing
 *    meanwhile, which is why another worker starts when all are busy.
 * 4. reply(): one write(2) of header and data, to the descriptor that the request came in on. The
 *    buffer goes home.
 *
 * Long work is detached between 2 and 3: the request moves to a struct of its own on the heap, the
 * worker is free at once, and reply() is called from another thread.
 *
 * How a step may fail: read(2) says ENOENT when the request was taken back (again), EINTR for a
 * signal (again, unless we are to stop), ENODEV after an unmount and ECONNABORTED after an abort
 * (the end). write(2) says ENOENT when the kernel no longer waits (nothing to do) and ENODEV at the
 * end.
 */
#include "transport_dev.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"
#include "log.h"
#include "protocol.h"
#include "request.h"
#include "worker.h"

struct dev_worker {
	struct worker worker;
	struct request request; /* the one being served */
	bool serving; /* from its arrival until reply, finish or detach */
	int device_fd;
	bool device_fd_is_clone;
	atomic_bool receiving; /* may be blocked in read(2) */
	bool ended; /* under transport->lock */
	struct transport_dev *transport;
	struct dev_worker *next;
	pthread_t thread;
};

struct transport_dev {
	struct fs *fs;
	int device_fd; /* not ours to close */
	unsigned limit;
	atomic_uint idle; /* workers that receive or are about to */
	atomic_bool stopping;
	atomic_bool aborted; /* and that was logged */

	pthread_mutex_t lock; /* a leaf; guards what follows */
	pthread_cond_t changed;
	struct dev_worker *workers;
	unsigned started;
	unsigned running;
	bool first_ready;
	int error; /* of the first worker's start, or of the device */
};

static struct dev_worker *dev_worker_of(struct request *request)
{
	return (struct dev_worker *)((char *)request - offsetof(struct dev_worker, request));
}

static void send_reply(int fd, const void *data, size_t size)
{
	ssize_t n;

	do
		n = write(fd, data, size);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != ENOENT && errno != ENODEV && errno != ECONNABORTED)
		log_error("/dev/fuse: a reply of %zu bytes was refused: %s", size, strerror(errno));
}

static void end_request(struct request *request)
{
	if (request->buffer)
		pool_return(request->buffer);
	request->buffer = NULL;
	dev_worker_of(request)->serving = false;
}

static void dev_reply(struct request *request, size_t size, bool payload)
{
	size_t total = sizeof(struct fuse_out_header) + size;

	if (payload) {
		char *data = request_payload(request);

		memcpy(data - sizeof(struct fuse_out_header), &request->out.header,
		       sizeof(struct fuse_out_header));
		send_reply(request->device_fd, data - sizeof(struct fuse_out_header), total);
	} else {
		send_reply(request->device_fd, &request->out, total);
	}
	end_request(request);
}

static void detached_reply(struct request *request, size_t size, bool payload)
{
	assert(!payload);
	send_reply(request->device_fd, &request->out, sizeof(struct fuse_out_header) + size);
	free(request);
}

static void detached_finish(struct request *request)
{
	free(request);
}

static struct request *detached_detach(struct request *request)
{
	return request;
}

static const struct transport_ops detached_ops = {
	.reply = detached_reply,
	.finish = detached_finish,
	.detach = detached_detach,
};

static struct request *dev_detach(struct request *request)
{
	struct request *detached = malloc(sizeof(*detached));

	if (!detached)
		return NULL;
	*detached = *request;
	detached->transport = &detached_ops;
	detached->worker = NULL;
	detached->buffer = NULL;
	detached->argument = detached->value = NULL;
	detached->name[0] = detached->name[1] = NULL;
	end_request(request);
	return detached;
}

static const struct transport_ops dev_ops = {
	.reply = dev_reply,
	.finish = end_request,
	.detach = dev_detach,
};

static void *dev_worker_main(void *argument);

static void start_worker(struct transport_dev *transport)
{
	struct dev_worker *worker;
	int err;

	pthread_mutex_lock(&transport->lock);
	if (transport->started == transport->limit || transport->stopping)
		goto unlock;
	worker = calloc(1, sizeof(*worker));
	if (!worker)
		goto unlock;
	worker->transport = transport;
	worker->device_fd = -1;
	err = pthread_create(&worker->thread, NULL, dev_worker_main, worker);
	if (err) {
		free(worker);
		transport->limit = transport->started; /* no more; those that run go on */
		if (!transport->started)
			transport->error = -err;
		else
			fs_downgrade(transport->fs, "threads",
				     "only %u workers could be started: %s", transport->started,
				     strerror(err));
		goto unlock;
	}
	worker->next = transport->workers;
	transport->workers = worker;
	transport->started++;
	transport->running++;
	atomic_fetch_add(&transport->idle, 1);
unlock:
	pthread_mutex_unlock(&transport->lock);
}

/* A device descriptor of its own spares the workers the contention on one queue lock; Linux 4.2,
 * FUSE_DEV_IOC_CLONE. */
static void open_device(struct dev_worker *worker)
{
	uint32_t master = (uint32_t)worker->transport->device_fd;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, FUSE_DEV_IOC_CLONE, &master) == 0) {
		worker->device_fd = fd;
		worker->device_fd_is_clone = true;
		return;
	}
	if (fd >= 0)
		close(fd);
	worker->device_fd = (int)master;
}

/* Receives one message. Returns its size, 0 when there is nothing to serve, or -errno when this
 * worker is to end. */
static ssize_t receive(struct dev_worker *worker, struct pool_buffer *buffer)
{
	char *start = (char *)pool_buffer_data(buffer) - PROTOCOL_HEADROOM;
	size_t room = PROTOCOL_HEADROOM + pool_buffer_size(worker->worker.pool);
	ssize_t n;

	atomic_store(&worker->receiving, true);
	n = -ECANCELED;
	if (!atomic_load(&worker->transport->stopping)) {
		n = read(worker->device_fd, start, room);
		n = n < 0 ? -errno : n;
	}
	atomic_store(&worker->receiving, false);
	if (n == -ENOENT || n == -EINTR || n == -EAGAIN)
		return 0;
	return n;
}

/* Messages that are served in no time are no reason for one more thread. */
static bool is_brief(const void *message, size_t size)
{
	const struct fuse_in_header *in = message;
	uint32_t opcode = size >= sizeof(*in) ? in->opcode : FUSE_FORGET;

	return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT;
}

static void serve(struct dev_worker *worker, struct pool_buffer *buffer, size_t size)
{
	struct transport_dev *transport = worker->transport;
	struct request *request = &worker->request;
	const char *message = (char *)pool_buffer_data(buffer) - PROTOCOL_HEADROOM;

	if (atomic_fetch_sub(&transport->idle, 1) == 1 && !is_brief(message, size))
		start_worker(transport);
	request->fs = transport->fs;
	request->worker = &worker->worker;
	request->transport = &dev_ops;
	request->buffer = buffer;
	request->device_fd = worker->device_fd;
	worker->serving = true;
	protocol_dispatch(request, message, size);
	while (worker->serving)
		worker_run(&worker->worker);
	atomic_fetch_add(&transport->idle, 1);
}

static int serve_all(struct dev_worker *worker)
{
	for (;;) {
		struct pool_buffer *buffer = pool_lend(worker->worker.pool);
		ssize_t size;

		assert(buffer); /* one at least, and the last request gave its buffer back */
		size = receive(worker, buffer);
		if (size <= 0)
			pool_return(buffer);
		if (size < 0)
			return (int)size;
		if (size == 0)
			continue;
		serve(worker, buffer, (size_t)size);
	}
}

static void worker_ended(struct dev_worker *worker, int err)
{
	struct transport_dev *transport = worker->transport;

	pthread_mutex_lock(&transport->lock);
	worker->ended = true;
	transport->running--;
	atomic_fetch_sub(&transport->idle, 1);
	if (err && !transport->error)
		transport->error = err;
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
}

static bool first_is_ready(struct transport_dev *transport)
{
	bool ready;

	pthread_mutex_lock(&transport->lock);
	ready = transport->first_ready;
	pthread_mutex_unlock(&transport->lock);
	return ready;
}

static void worker_ready(struct transport_dev *transport)
{
	pthread_mutex_lock(&transport->lock);
	transport->first_ready = true;
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
}

/* The first worker that cannot start ends the mount; a further one is a pity. */
static void could_not_start(struct dev_worker *worker, int err)
{
	struct transport_dev *transport = worker->transport;

	if (first_is_ready(transport)) {
		fs_downgrade(transport->fs, "threads", "a worker could not start: %s",
			     strerror(-err));
		err = 0;
	}
	worker_ended(worker, err);
}

/* Each worker sees the end of the connection for itself. Returns 0 where it is one to be expected.
 */
static int judge_end(struct transport_dev *transport, int err)
{
	if (err == -ENODEV || err == -ECANCELED)
		return 0;
	if (err == -ECONNABORTED) {
		if (!atomic_exchange(&transport->aborted, true))
			log_warning("the connection was aborted (umount -f, or abort in "
				    "/sys/fs/fuse/connections)");
		return 0;
	}
	log_error("/dev/fuse: %s; the mount ends", strerror(-err));
	atomic_store(&transport->stopping, true);
	return err;
}

static void *dev_worker_main(void *argument)
{
	struct dev_worker *worker = argument;
	struct transport_dev *transport = worker->transport;
	const struct options *options = &transport->fs->options;
	const struct pool_options pool_options = {
		.buffer_size = options->max_write > FUSE_MIN_READ_BUFFER ? options->max_write
									 : FUSE_MIN_READ_BUFFER,
		.headroom = PROTOCOL_HEADROOM,
		.count = 1,
		.unregistered = options->io == IO_PLAIN,
	};
	int err = worker_init(&worker->worker, transport->fs, &pool_options);

	if (err) {
		could_not_start(worker, err);
		return NULL;
	}
	open_device(worker);
	worker_ready(transport);
	err = serve_all(worker);
	worker_fini(&worker->worker);
	worker_ended(worker, judge_end(transport, err));
	return NULL;
}

/* Only to make a blocking read(2) return. */
static void on_wake(int signal)
{
	(void)signal;
}

int transport_dev_start(struct fs *fs, int device_fd, struct transport_dev **ret_transport)
{
	struct sigaction wake = { .sa_handler = on_wake };
	struct transport_dev *transport = calloc(1, sizeof(*transport));
	int err;

	if (!transport)
		return -ENOMEM;
	sigaction(SIGUSR1, &wake, NULL);
	transport->fs = fs;
	transport->device_fd = device_fd;
	transport->limit = fs->options.threads;
	pthread_mutex_init(&transport->lock, NULL);
	pthread_cond_init(&transport->changed, NULL);
	*ret_transport = transport; /* before the first request is served */
	start_worker(transport);
	pthread_mutex_lock(&transport->lock);
	while (!transport->first_ready && transport->running)
		pthread_cond_wait(&transport->changed, &transport->lock);
	err = transport->first_ready ? 0 : transport->error;
	pthread_mutex_unlock(&transport->lock);
	if (err)
		transport_dev_free(transport);
	return err;
}

/* Wakes who may be blocked in read(2). A signal that comes just before the call is lost, so the
 * waiter repeats this. */
static void wake_all(struct transport_dev *transport)
{
	for (struct dev_worker *worker = transport->workers; worker; worker = worker->next)
		if (!worker->ended && atomic_load(&worker->receiving))
			pthread_kill(worker->thread, SIGUSR1);
}

int transport_dev_wait(struct transport_dev *transport)
{
	int err;

	pthread_mutex_lock(&transport->lock);
	while (transport->running) {
		struct timespec until;

		if (!atomic_load(&transport->stopping)) {
			pthread_cond_wait(&transport->changed, &transport->lock);
			continue;
		}
		wake_all(transport);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 10 * 1000 * 1000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&transport->changed, &transport->lock, &until);
	}
	err = transport->error;
	pthread_mutex_unlock(&transport->lock);
	return err;
}

void transport_dev_stop(struct transport_dev *transport)
{
	pthread_mutex_lock(&transport->lock);
	atomic_store(&transport->stopping, true);
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
}

void transport_dev_free(struct transport_dev *transport)
{
	while (transport->workers) {
		struct dev_worker *worker = transport->workers;

		transport->workers = worker->next;
		pthread_join(worker->thread, NULL);
		if (worker->device_fd_is_clone)
			close(worker->device_fd);
		free(worker);
	}
	pthread_cond_destroy(&transport->changed);
	pthread_mutex_destroy(&transport->lock);
	free(transport);
}
