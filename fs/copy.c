/* SPDX-License-Identifier: MIT */
/*
 * The life of a copy:
 *
 *  1  op_copy_file_range() takes references to both handles and makes a job. How much there is to
 * do decides who does it: up to INLINE_MAX bytes the worker itself, with the buffer that the
 * request came in; more, a copier. The request is then detached, and the worker free. 2  A copier
 * thread takes the first job of the queue and runs its ring until the job is done. 3  copy_step()
 * looks at the source: a hole is made a hole in the destination, at once; data goes through the
 * pipeline of pool/copy.h, whose end (piece_done) brings the next step. 4  The end of the source,
 * of the length, or of the bound on one reply; an interrupt; an error: copy_finish() answers with
 * the contiguous prefix, or with the errno when that is empty.
 *
 * Why the bound: the kernel holds the destination's inode lock for the whole request (Linux
 * fs/fuse/file.c,
 * __fuse_copy_file_range), the caller cannot be killed meanwhile and shows no progress. Every
 * caller of copy_file_range(2) must cope with a short result.
 */
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"
#include "log.h"
#include "ops.h"
#include "pool/copy.h"
#include "worker.h"

/* Below this a copy is over before another thread would have woken up. */
#define INLINE_MAX (128 << 10)

/* A copy of one block is not searched for holes. */
#define HOLE_MIN 4096

/* What one reply of the old form can say: fuse_write_out.size has 32 bits. Linux fs/fuse/file.c
 * asks for no more than this either. */
#define NARROW_MAX (UINT32_MAX & ~4095U)

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
	bool wide; /* the reply of COPY_FILE_RANGE_64 */
	bool kill_suid; /* the caller is not privileged: the writes clear set-uid bits */
	bool holes_as_data; /* the destination cannot punch */

	_Atomic uint64_t copied; /* bytes done, holes included, before the piece that is running */
	uint64_t data; /* of them, data */
	bool *ended; /* set when the job is answered and gone; NULL inline */

	atomic_bool cancel;
	struct interruptible interruptible;
	struct timespec started; /* CLOCK_MONOTONIC, when its worker began */
	struct pool_copy piece;
	struct copy_job *next; /* in the queue, or among those that run */
};

struct copier_thread {
	struct copier *copier;
	struct worker worker;
	pthread_t thread;
	struct copier_thread *next;
};

struct copier {
	struct fs *fs;
	pthread_mutex_t lock; /* a leaf; guards what follows */
	pthread_cond_t work;
	struct copy_job *first, *last; /* queued */
	unsigned queued;
	struct copy_job *running; /* by copiers and, inline, by workers */
	struct copier_thread *threads;
	unsigned started;
	unsigned idle; /* threads that wait for work */
	bool stopping;
};

/* ---- one job, on the thread of its worker ---- */

static void list_running(struct copy_job *job)
{
	struct copier *copier = job->copier;

	pthread_mutex_lock(&copier->lock);
	job->next = copier->running;
	copier->running = job;
	pthread_mutex_unlock(&copier->lock);
}

static void unlist_running(struct copy_job *job)
{
	struct copier *copier = job->copier;
	struct copy_job **link = &copier->running;

	pthread_mutex_lock(&copier->lock);
	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	pthread_mutex_unlock(&copier->lock);
}

static void answer(struct request *request, bool wide, int64_t result)
{
	if (result < 0) {
		request_reply_error(request, (int)result);
	} else if (wide) {
		request->out.copy.bytes_copied = (uint64_t)result;
		request_reply_out(request, sizeof(request->out.copy));
	} else {
		request->out.write = (struct fuse_write_out){ .size = (uint32_t)result };
		request_reply_out(request, sizeof(request->out.write));
	}
}

/* Answers a job that nobody runs, and frees it. All references go first: the reply may bring the
 * RELEASE. */
static void conclude(struct copy_job *job, int64_t result)
{
	struct request *request = job->request;
	bool wide = job->wide;

	interrupt_unregister(&request->fs->interrupts, &job->interruptible);
	handle_put(job->src);
	handle_put(job->dst);
	free(job);
	answer(request, wide, result);
}

static void copy_finish(struct copy_job *job, int err)
{
	uint64_t copied = atomic_load(&job->copied);

	if (atomic_load(&job->cancel))
		err = -EINTR;
	if (job->kill_suid)
		cred_raise_fsetid(&job->worker->cred);
	unlist_running(job);
	if (job->ended)
		*job->ended = true;
	conclude(job, copied ? (int64_t)copied : err);
}

static void count(struct copy_job *job, enum stats_path path, uint64_t bytes)
{
	stats_add(&job->request->fs->stats.copy_bytes[path], bytes);
}

static void copy_step(struct copy_job *job);

static void piece_done(struct pool_copy *piece, int64_t result)
{
	struct copy_job *job =
		(struct copy_job *)((char *)piece - offsetof(struct copy_job, piece));

	if (result > 0) {
		count(job, STATS_FIXED, piece->fixed_bytes);
		count(job, STATS_PLAIN, (uint64_t)result - piece->fixed_bytes);
		job->data += (uint64_t)result;
		atomic_fetch_add(&job->copied, (uint64_t)result);
	}
	if (result < 0 || (uint64_t)result < piece->length)
		copy_finish(job, result < 0 ? (int)result : 0);
	else
		copy_step(job);
}

static void submit_piece(struct copy_job *job, uint64_t length)
{
	struct worker *worker = job->worker;
	uint64_t copied = atomic_load(&job->copied);

	pthread_mutex_lock(&job->copier->lock); /* copier_print() looks at piece.copied */
	job->piece = (struct pool_copy){
		.pool = worker->pool,
		.src_fd = handle_buffered_fd(job->src),
		.dst_fd = handle_buffered_fd(job->dst),
		.src_offset = job->src_offset + copied,
		.dst_offset = job->dst_offset + copied,
		.length = length,
		.write_personality = job->kill_suid ? worker->personality_no_fsetid : 0,
		.cancel = &job->cancel,
		.done = piece_done,
	};
	pthread_mutex_unlock(&job->copier->lock);
	pool_copy_submit(&job->piece);
}

/*
 * Makes length bytes of the destination read as zeros without writing them: old data is punched
 * out, and a file that ends before is extended. Returns 0, or -errno; -EOPNOTSUPP where the
 * filesystem cannot punch.
 */
static int make_hole(struct copy_job *job, uint64_t offset, uint64_t length)
{
	int fd = job->dst->fd;
	struct stat st;
	uint64_t old;

	if (fstat(fd, &st))
		return -errno;
	old = (uint64_t)st.st_size;
	if (offset < old) {
		uint64_t end = offset + length < old ? offset + length : old;

		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			      (off_t)(end - offset)))
			return -errno;
	}
	if (offset + length > old && ftruncate(fd, (off_t)(offset + length)))
		return -errno;
	return 0;
}

static int skip_hole(struct copy_job *job, uint64_t length)
{
	int err = make_hole(job, job->dst_offset + atomic_load(&job->copied), length);

	if (err)
		return err;
	count(job, STATS_HOLE, length);
	atomic_fetch_add(&job->copied, length);
	return 0;
}

/*
 * Where the next data and the end of it lie, as offsets in the source, not beyond limit. A
 * filesystem without SEEK_DATA says EINVAL; a file whose last part is a hole, or that ends, says
 * ENXIO (lseek(2)).
 */
static int find_data(struct copy_job *job, uint64_t position, uint64_t limit, uint64_t *ret_data,
		     uint64_t *ret_end)
{
	off_t data = lseek(job->src->fd, (off_t)position, SEEK_DATA);
	off_t end;

	*ret_data = position;
	*ret_end = limit;
	if (data < 0 && errno == ENXIO) {
		*ret_data = limit;
		return 0;
	}
	if (data < 0)
		return errno == EINVAL ? 0 : -errno;
	if ((uint64_t)data >= limit) {
		*ret_data = limit;
		return 0;
	}
	end = lseek(job->src->fd, data, SEEK_HOLE);
	*ret_data = (uint64_t)data;
	if (end > data && (uint64_t)end < limit)
		*ret_end = (uint64_t)end;
	return 0;
}

/* Skips the holes at the present position. Returns 1 when data was found (and submitted), 0 at the
 * end, or -errno. */
static int next_piece(struct copy_job *job)
{
	uint64_t position = job->src_offset + atomic_load(&job->copied);
	uint64_t limit = job->src_offset + job->length;
	uint64_t left = job->data_max - job->data;
	uint64_t data = position, end = limit;
	int err = 0;

	if (position >= limit || left == 0 || atomic_load(&job->cancel))
		return 0;
	if (!job->holes_as_data)
		err = find_data(job, position, limit, &data, &end);
	if (!err && data > position)
		err = skip_hole(job, data - position);
	if (err == -EOPNOTSUPP) {
		job->holes_as_data = true;
		data = position;
		end = limit;
		err = 0;
	}
	if (err)
		return err;
	if (data >= limit)
		return 0;
	submit_piece(job, end - data < left ? end - data : left);
	return 1;
}

static void copy_step(struct copy_job *job)
{
	int found = next_piece(job);

	if (found <= 0)
		copy_finish(job, found);
}

/*
 * For an unprivileged caller CAP_FSETID is off until the end: punching and extending are done by
 * this thread itself, and so are the writes of a plain ring; those of a real one go by the
 * personality.
 */
static void copy_begin(struct copy_job *job, struct worker *worker)
{
	job->worker = worker;
	clock_gettime(CLOCK_MONOTONIC, &job->started);
	list_running(job);
	if (job->kill_suid)
		cred_drop_fsetid(&worker->cred);
	copy_step(job);
}

/* ---- the queue and the threads ---- */

/* With the lock held. */
static struct copy_job *dequeue(struct copier *copier)
{
	struct copy_job *job = copier->first;

	if (!job)
		return NULL;
	copier->first = job->next;
	if (!copier->first)
		copier->last = NULL;
	copier->queued--;
	return job;
}

/* Waits for a job. NULL: the thread is to end. */
static struct copy_job *next_job(struct copier *copier)
{
	struct copy_job *job = NULL;

	pthread_mutex_lock(&copier->lock);
	copier->idle++;
	while (!copier->stopping && !(job = dequeue(copier)))
		pthread_cond_wait(&copier->work, &copier->lock);
	copier->idle--;
	pthread_mutex_unlock(&copier->lock);
	return job;
}

static void refuse_queued(struct copier *copier, int err)
{
	struct copy_job *job;

	do {
		pthread_mutex_lock(&copier->lock);
		job = dequeue(copier);
		pthread_mutex_unlock(&copier->lock);
		if (job)
			conclude(job, err);
	} while (job);
}

/* One copier less. Without any, nobody would ever serve the queue. */
static void could_not_start(struct copier *copier, int err)
{
	bool none;

	fs_downgrade(copier->fs, "copy threads", "one could not start: %s", strerror(-err));
	pthread_mutex_lock(&copier->lock);
	none = --copier->started == 0;
	pthread_mutex_unlock(&copier->lock);
	if (none)
		refuse_queued(copier, err);
}

static void *copier_main(void *argument)
{
	struct copier_thread *thread = argument;
	struct copier *copier = thread->copier;
	const struct options *options = &copier->fs->options;
	const struct pool_options pool_options = {
		.buffer_size = options->copy_buffer_size,
		.count = options->copy_buffers,
		.unregistered = options->io == IO_PLAIN,
	};
	struct copy_job *job;
	int err = worker_init(&thread->worker, copier->fs, &pool_options);

	if (err) {
		could_not_start(copier, err);
		return NULL;
	}
	while ((job = next_job(copier))) {
		bool ended = false;

		job->ended = &ended;
		copy_begin(job, &thread->worker);
		while (!ended)
			worker_run(&thread->worker);
	}
	worker_fini(&thread->worker);
	return NULL;
}

/* With the lock held: one thread more, when the queue is longer than those that wait for it can
 * serve. 0 or -errno. */
static int add_thread(struct copier *copier)
{
	struct copier_thread *thread;
	int err;

	if (copier->queued <= copier->idle || copier->started == copier->fs->options.copy_threads)
		return 0;
	thread = calloc(1, sizeof(*thread));
	if (!thread)
		return -ENOMEM;
	thread->copier = copier;
	err = pthread_create(&thread->thread, NULL, copier_main, thread);
	if (err) {
		free(thread);
		return -err;
	}
	thread->next = copier->threads;
	copier->threads = thread;
	copier->started++;
	return 0;
}

static void enqueue(struct copier *copier, struct copy_job *job)
{
	bool nobody;
	int err;

	pthread_mutex_lock(&copier->lock);
	job->next = NULL;
	*(copier->last ? &copier->last->next : &copier->first) = job;
	copier->last = job;
	copier->queued++;
	err = add_thread(copier);
	nobody = err && copier->started == 0;
	pthread_cond_signal(&copier->work);
	pthread_mutex_unlock(&copier->lock);
	if (nobody)
		refuse_queued(copier, err);
}

int copier_start(struct fs *fs, struct copier **ret_copier)
{
	struct copier *copier = calloc(1, sizeof(*copier));

	if (!copier)
		return -ENOMEM;
	copier->fs = fs;
	pthread_mutex_init(&copier->lock, NULL);
	pthread_cond_init(&copier->work, NULL);
	*ret_copier = copier;
	return 0;
}

static void join_threads(struct copier *copier)
{
	while (copier->threads) {
		struct copier_thread *thread = copier->threads;

		copier->threads = thread->next;
		pthread_join(thread->thread, NULL);
		free(thread);
	}
}

void copier_stop(struct copier *copier)
{
	if (!copier)
		return;
	pthread_mutex_lock(&copier->lock);
	copier->stopping = true;
	for (struct copy_job *job = copier->running; job; job = job->next)
		atomic_store(&job->cancel, true);
	pthread_cond_broadcast(&copier->work);
	pthread_mutex_unlock(&copier->lock);
	join_threads(copier);
	refuse_queued(copier, -EINTR);
	pthread_cond_destroy(&copier->work);
	pthread_mutex_destroy(&copier->lock);
	free(copier);
}

static double seconds_since(const struct timespec *then)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - then->tv_sec) + (double)(now.tv_nsec - then->tv_nsec) / 1e9;
}

/* In quotes; what would break the line, or the quotes, escaped as in C. */
static void print_quoted(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '\n')
			fputs("\\n", out);
		else if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(out, "\\%03o", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

/* The name that an open file has now, as the kernel knows it, below the backing directory without
 * that; " (deleted)" after one that is gone. */
static void print_name(FILE *out, const char *key, const struct handle *handle)
{
	const char *root = handle->fs->options.backing;
	size_t root_size = strcmp(root, "/") ? strlen(root) : 0;
	char name[PATH_MAX];
	ssize_t size = readlinkat(handle->fs->proc_self_fd, fs_proc_name(handle->fd).text, name,
				  sizeof(name) - 1);

	name[size > 0 ? size : 0] = '\0';
	fprintf(out, " %s=", key);
	if (!strncmp(name, root, root_size) && name[root_size] == '/')
		print_quoted(out, name + root_size + 1);
	else
		print_quoted(out, name);
}

static void print_job(FILE *out, struct copy_job *job)
{
	uint64_t done = atomic_load(&job->copied) + atomic_load(&job->piece.copied);

	fprintf(out, "pid=%u path=%s done=%llu total=%llu seconds=%.2f", job->request->in.pid,
		pool_is_registered(job->worker->pool) ? "fixed" : "plain", (unsigned long long)done,
		(unsigned long long)job->length, seconds_since(&job->started));
	print_name(out, "src", job->src);
	print_name(out, "dst", job->dst);
	fputc('\n', out);
}

void copier_print(struct copier *copier, FILE *out)
{
	pthread_mutex_lock(&copier->lock);
	for (struct copy_job *job = copier->running; job; job = job->next)
		print_job(out, job);
	fprintf(out, "waiting=%u\n", copier->queued);
	pthread_mutex_unlock(&copier->lock);
}

/* ---- the request ---- */

static void on_interrupt(struct interruptible *interruptible)
{
	struct copy_job *job = (struct copy_job *)((char *)interruptible -
						   offsetof(struct copy_job, interruptible));

	atomic_store(&job->cancel, true);
}

static uint64_t clamp_length(const struct fuse_copy_file_range_in *in, bool wide)
{
	uint64_t offset = in->off_in > in->off_out ? in->off_in : in->off_out;
	uint64_t most = (uint64_t)INT64_MAX - offset;

	if (!wide && most > NARROW_MAX)
		most = NARROW_MAX;
	return in->len < most ? in->len : most;
}

static int make_job(struct request *request, bool wide, struct copy_job **ret_job)
{
	const struct fuse_copy_file_range_in *in = request->argument;
	struct fs *fs = request->fs;
	struct copy_job *job;

	if (in->flags || in->off_in > INT64_MAX || in->off_out > INT64_MAX)
		return -EINVAL;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	*job = (struct copy_job){
		.copier = fs->copier,
		.request = request,
		.src = handle_get(fs->handles, in->fh_in, HANDLE_FILE),
		.dst = handle_get(fs->handles, in->fh_out, HANDLE_FILE),
		.src_offset = in->off_in,
		.dst_offset = in->off_out,
		.length = clamp_length(in, wide),
		.data_max = fs->options.copy_max,
		.wide = wide,
		.kill_suid = request->in.uid != 0,
		.interruptible = { .unique = request->in.unique, .interrupt = on_interrupt },
	};
	if (!job->src || !job->dst) {
		if (job->src)
			handle_put(job->src);
		if (job->dst)
			handle_put(job->dst);
		free(job);
		return -EBADF;
	}
	*ret_job = job;
	return 0;
}

static void submit_to_copier(struct copy_job *job)
{
	struct request *detached = request_detach(job->request);

	if (!detached) {
		conclude(job, -ENOMEM);
		return;
	}
	job->request = detached;
	enqueue(job->copier, job);
}

/* With the buffer that brought the request: the pipeline lends it again from the worker's pool. */
static void run_inline(struct copy_job *job)
{
	struct request *request = job->request;

	pool_return(request->buffer);
	request->buffer = NULL;
	copy_begin(job, request->worker);
}

/*
 * The source may grow or shrink meanwhile. What it has now is what this reply is about: growth is
 * for the next request, and a file that shrank ends at a short read.
 */
static int clamp_to_source(struct copy_job *job)
{
	struct stat st;
	uint64_t size;

	if (fstat(job->src->fd, &st))
		return -errno;
	size = (uint64_t)st.st_size;
	if (size <= job->src_offset)
		job->length = 0;
	else if (size - job->src_offset < job->length)
		job->length = size - job->src_offset;
	job->holes_as_data = job->length <= HOLE_MIN;
	return 0;
}

static void copy_file_range_request(struct request *request, bool wide)
{
	struct copy_job *job;
	int err = make_job(request, wide, &job);

	if (err) {
		request_reply_error(request, err);
		return;
	}
	stats_add(&request->fs->stats.copy_requests, 1);
	interrupt_register(&request->fs->interrupts, &job->interruptible);
	err = clamp_to_source(job);
	if (err || !job->length)
		conclude(job, err);
	else if (job->length <= INLINE_MAX)
		run_inline(job);
	else
		submit_to_copier(job);
}

void op_copy_file_range(struct request *request)
{
	copy_file_range_request(request, false);
}

void op_copy_file_range_64(struct request *request)
{
	copy_file_range_request(request, true);
}
