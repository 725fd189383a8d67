/* SPDX-License-Identifier: MIT */
/*
 * The life of a copy:
 *
 *  1 op_copy_file_range() takes references to both handles and makes a job. How much there is to do
 *    decides who does it: a little (inline_max()) the worker itself, with the buffer that the
 *    request came in; more, a copier (copier.c). The request is then detached, and the worker free.
 *  2 copy_begin() starts it on a ring, which is run until the job is done.
 *  3 copy_step() clones what can be cloned, whatever the length. Of the rest it looks at
 *    the source: a hole is made a hole in the destination, at once; data goes through the
 *    pipeline of pool/copy.h, whose end (piece_done) brings the next step.
 *  4 The end of the source, of the length, or of the bound on one reply; an interrupt; an error:
 *    copy_finish() answers with the contiguous prefix, or with the errno when that is empty.
 *
 * Why an interrupt ends no copy before something is copied: the kernel sends one for whatever wakes
 * the caller up, a stop and a continuation, or what io_uring has to do in his thread (Linux 6.18
 * TIF_NOTIFY_SIGNAL), and hands an EINTR on to a program in which no handler ran, and which
 * copy_file_range(2) does not tell of that error.
 *
 * Why the bound: the kernel holds the destination's inode lock for the whole request (Linux
 * fs/fuse/file.c, __fuse_copy_file_range), the caller cannot be killed meanwhile and shows no
 * progress. Every caller of copy_file_range(2) must cope with a short result.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attr.h"
#include "copy_job.h"
#include "fs.h"
#include "ops.h"
#include "residency.h"
#include "worker.h"

/* Bytes. Up to this a copy is over before another thread would have woken up. */
#define INLINE_MAX (128 << 10)

/* A copy of one block is not searched for holes. */
#define HOLE_MIN 4096

/* Less is copied sooner than cloned. */
#define CLONE_MIN (64 << 10)

/* Smaller files, and shorter pieces of data, go through the page cache. Around it a copy is sooner
 * on the disk whatever its size, but who does not wait for that by fsync(2) has it at half the
 * speed, up to where the memory that may be dirty does not take it at once: see the README for
 * numbers. */
#define DIRECT_MIN	 (1 << 30)
#define DIRECT_PIECE_MIN (4 << 20)

/* When others wait for a thread, a copy makes room after so much data; its caller comes back for
 * the rest, behind them. */
#define TURN (64 << 20)

/* What one reply of the old form can say: fuse_write_out.size has 32 bits. Linux fs/fuse/file.c
 * asks for no more than this either. */
#define NARROW_MAX (UINT32_MAX & ~4095U)

/* ---- one job, on the thread of its worker ---- */

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
void copy_conclude(struct copy_job *job, int64_t result)
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

	if (job->kill_suid)
		cred_raise_fsetid(&job->worker->cred);
	copier_unlist(job, copied && !err && !atomic_load(&job->cancel));
	copy_direct_close(job);
	if (job->ended)
		*job->ended = true;
	copy_conclude(job, copied ? (int64_t)copied : err);
}

/* Bytes of data or of a hole are done. */
static void account(struct copy_job *job, enum stats_path path, uint64_t bytes)
{
	stats_add(&job->request->fs->stats.copy_bytes[path], bytes);
	if (path != STATS_HOLE && path != STATS_CLONE)
		job->data += bytes;
	atomic_fetch_add(&job->copied, bytes);
}

static void copy_step(struct copy_job *job);

static void account_piece(struct copy_job *job, uint64_t bytes)
{
	pthread_mutex_lock(copier_lock(job->copier)); /* copier_print() adds both up */
	atomic_store(&job->piece.copied, 0);
	if (job->direct.running) {
		account(job, STATS_DIRECT, bytes);
	} else {
		account(job, STATS_FIXED, job->piece.fixed_bytes);
		account(job, STATS_PLAIN, bytes - job->piece.fixed_bytes);
	}
	pthread_mutex_unlock(copier_lock(job->copier));
}

static void piece_done(struct pool_copy *piece, int64_t result)
{
	struct copy_job *job =
		(struct copy_job *)((char *)piece - offsetof(struct copy_job, piece));
	bool whole = result >= 0 && (uint64_t)result == piece->length;

	if (result > 0)
		account_piece(job, (uint64_t)result);
	if (!whole && job->direct.running) {
		if (result == -EINVAL && copy_direct_is_aligned(job, piece))
			copy_direct_refused(job);
		job->direct.over = true;
		whole = true; /* as far as this way goes */
	}
	if (result == -ECANCELED && piece->cancel && atomic_load(&job->cancel) &&
	    !atomic_load(&job->copied))
		whole = true; /* the next piece is short, and not cancelled */
	if (whole)
		copy_step(job);
	else
		copy_finish(job, result < 0 ? (int)result : 0);
}

static void submit_piece(struct copy_job *job, uint64_t length, bool direct, bool can_cancel)
{
	struct worker *worker = job->worker;
	uint64_t copied = atomic_load(&job->copied);

	job->direct.running = direct;
	if (direct)
		atomic_store(&job->path, STATS_DIRECT);
	else
		atomic_store(&job->path,
			     pool_is_registered(worker->pool) ? STATS_FIXED : STATS_PLAIN);
	pthread_mutex_lock(copier_lock(job->copier)); /* copier_print() looks at it */
	job->piece = (struct pool_copy){
		.pool = worker->pool,
		.src_fd = direct ? job->direct.src_fd : handle_buffered_fd(job->src),
		.dst_fd = direct ? job->direct.dst_fd : handle_buffered_fd(job->dst),
		.src_offset = job->src_offset + copied,
		.dst_offset = job->dst_offset + copied,
		.length = length,
		.write_personality = job->kill_suid ? worker->personality_no_fsetid : 0,
		.cancel = can_cancel ? &job->cancel : NULL,
		.done = piece_done,
	};
	pthread_mutex_unlock(copier_lock(job->copier));
	pool_copy_submit(&job->piece);
}

static int skip_hole(struct copy_job *job, uint64_t length)
{
	uint64_t offset = job->dst_offset + atomic_load(&job->copied);
	int err;

	atomic_store(&job->path, STATS_HOLE);
	err = copy_make_hole(job->dst->fd, offset, length);
	if (err)
		return err;
	account(job, STATS_HOLE, length);
	return 0;
}

/*
 * Skips a hole at the present position. Returns 0 and the length of the data that follows, 0 at the
 * end; or -errno.
 */
static int next_data(struct copy_job *job, uint64_t *ret_length)
{
	uint64_t position = job->src_offset + atomic_load(&job->copied);
	uint64_t limit = job->src_offset + job->length;
	uint64_t data = position, end = limit;
	int err = 0;

	if (!job->holes_as_data)
		err = copy_find_data(job->src->fd, position, limit, &data, &end);
	if (!err && data > position)
		err = skip_hole(job, data - position);
	if (err == -EOPNOTSUPP) {
		job->holes_as_data = true;
		data = position;
		end = limit;
		err = 0;
	}
	*ret_length = end - data;
	return err;
}

enum step {
	STEP_END, /* nothing is left to do, or nothing more can be done in this reply */
	STEP_AGAIN,
	STEP_WAIT, /* for piece_done() */
};

/* copy_file_range(2) blocks this thread: not for longer than an interrupt may have to wait. */
#define KERNEL_PIECE (4 << 20)

static int kernel_piece(struct copy_job *job, uint64_t length)
{
	uint64_t copied = atomic_load(&job->copied);
	off_t src_offset = (off_t)(job->src_offset + copied);
	off_t dst_offset = (off_t)(job->dst_offset + copied);
	ssize_t n;

	atomic_store(&job->path, STATS_KERNEL);
	n = copy_file_range(handle_buffered_fd(job->src), &src_offset, handle_buffered_fd(job->dst),
			    &dst_offset, length < KERNEL_PIECE ? length : KERNEL_PIECE, 0);

	if (n < 0)
		return errno == EINTR ? STEP_AGAIN : -errno;
	account(job, STATS_KERNEL, (uint64_t)n);
	return n ? STEP_AGAIN : STEP_END;
}

/*
 * Clones what can be cloned from here on. Any error leaves the rest to the other ways, which find
 * the same one if it is about the files; when there must be no other way, it is the answer:
 * -EOPNOTSUPP makes the caller's kernel copy through the mount's page cache by itself. What is left
 * behind the clone is then for the next request, with the same answer.
 */
static int clone_step(struct copy_job *job, uint64_t *ret_before)
{
	uint64_t cloned;
	int err;

	atomic_store(&job->path, STATS_CLONE);
	err = copy_clone(job, &cloned, ret_before);
	if (job->request->fs->options.copy == COPY_CLONE && (err || *ret_before)) {
		*ret_before = 0;
		return err ? err : -EOPNOTSUPP;
	}
	account(job, STATS_CLONE, cloned);
	job->clone = *ret_before > 0;
	return job->request->fs->options.copy == COPY_CLONE ? STEP_END : STEP_AGAIN;
}

/*
 * Whether going around the page cache pays: opening, and waiting for the device with every write,
 * has its price, and what is in the page cache need not be read.
 */
static bool direct_pays(const struct copy_job *job, uint64_t length)
{
	uint64_t resident;

	return job->src_size >= DIRECT_MIN && length >= DIRECT_PIECE_MIN &&
	       !ring_is_plain(job->worker->ring) && !copy_direct_is_in_vain(job) &&
	       !residency(job->src->fd, job->src_offset + atomic_load(&job->copied), length,
			  &resident) &&
	       resident < length / 2;
}

/* Whether the next piece, of *length bytes at most, goes direct; *length is then what can. */
static bool is_direct(struct copy_job *job, uint64_t *length)
{
	enum copy_mode mode = job->request->fs->options.copy;
	uint64_t aligned, before;

	if (job->direct.over || (mode != COPY_DIRECT && mode != COPY_AUTO) ||
	    (mode == COPY_AUTO && !direct_pays(job, *length)))
		return false;
	if (copy_direct_open(job)) {
		job->direct.over = true;
		return false;
	}
	aligned = copy_direct_length(job, *length, &before);
	if (aligned)
		*length = aligned;
	else if (before && before < *length)
		*length = before;
	return aligned > 0;
}

/* Returns an enum step, or -errno. */
static int one_step(struct copy_job *job)
{
	uint64_t left = job->data_max - job->data;
	uint64_t copied = atomic_load(&job->copied);
	bool cancel = atomic_load(&job->cancel);
	uint64_t length, before = 0;
	bool direct;
	int err;

	if (copied == job->length || !left || (cancel && copied))
		return STEP_END;
	if (job->ended && job->data >= TURN && copier_is_short(job->copier))
		return STEP_END;
	if (job->clone) {
		int step = clone_step(job, &before);

		if (!before)
			return step;
	}
	err = next_data(job, &length);
	if (err || !length)
		return err;
	if (length > left)
		length = left;
	if (length > TURN)
		length = TURN;
	if (before && length > before)
		length = before;
	if (cancel && length > pool_buffer_size(job->worker->pool))
		length = pool_buffer_size(job->worker->pool); /* soon over, and more than nothing */
	if (job->request->fs->options.copy == COPY_KERNEL)
		return kernel_piece(job, length);
	direct = is_direct(job, &length);
	submit_piece(job, length, direct, !cancel);
	return STEP_WAIT;
}

static void copy_step(struct copy_job *job)
{
	int step;

	do
		step = one_step(job);
	while (step == STEP_AGAIN);
	if (step != STEP_WAIT)
		copy_finish(job, step);
}

/*
 * For an unprivileged caller CAP_FSETID is off until the end: punching and extending are done by
 * this thread itself, and so are the writes of a plain ring; those of a real one go by the
 * personality.
 */
void copy_begin(struct copy_job *job, struct worker *worker)
{
	bool had_bits;

	job->worker = worker;
	atomic_store(&job->path, STATS_HOLE); /* nothing has travelled yet */
	copier_list(job);
	if (job->kill_suid)
		job->kill_suid = !attr_take_set_ids(&job->request->in, job->dst->fd, &had_bits);
	if (job->kill_suid)
		cred_drop_fsetid(&worker->cred);
	copy_step(job);
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
		.direct = { .src_fd = -1, .dst_fd = -1 },
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
		copy_conclude(job, -ENOMEM);
		return;
	}
	job->request = detached;
	copier_submit(job);
}

/* With the buffer that brought the request: the pipeline lends it again from the worker's pool. */
static void run_inline(struct copy_job *job)
{
	struct request *request = job->request;

	pool_return(request->buffer);
	request->buffer = NULL;
	copy_begin(job, request->worker);
}

static bool wants_clone(const struct copy_job *job)
{
	enum copy_mode mode = job->request->fs->options.copy;

	return mode == COPY_CLONE || (mode == COPY_AUTO && job->length >= CLONE_MIN);
}

/* Kernels that clip a request do it to this length, or to a little less (Linux before 6.18,
 * fs/read_write.c, MAX_RW_COUNT): the caller has most likely asked for all. */
#define CLIPPED_LENGTH (2000 << 20)

static void set_progress(struct copy_job *job, uint64_t source_size)
{
	const struct fuse_copy_file_range_in *in = job->request->argument;

	job->progress = (struct progress){
		.src = in->fh_in,
		.dst = in->fh_out,
		.shift = in->off_out - in->off_in,
		.first = in->off_in,
		.next = in->off_in,
		.end = in->len < CLIPPED_LENGTH ? in->off_in + job->length : source_size,
		.source_end = source_size,
		.pid = job->request->in.pid,
	};
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
	job->src_device = st.st_dev;
	job->src_size = size;
	job->src_block = (uint64_t)st.st_blksize;
	set_progress(job, size);
	job->clone = wants_clone(job);
	job->holes_as_data = job->length <= HOLE_MIN;
	return 0;
}

/*
 * copy_file_range(2) refuses what read(2) and write(2), by which zcfs copies, take: a destination
 * that became immutable after it was opened, a swap file (Linux 6.18 fs/read_write.c,
 * generic_copy_file_checks()). The kernel at the mount does not know of such flags; the backing
 * filesystem's is asked by a copy of nothing. EXDEV is no reason: these two are one filesystem
 * here.
 */
static int check_files(const struct copy_job *job)
{
	off_t in = 0;
	off_t out = 0;

	if (!copy_file_range(job->src->fd, &in, job->dst->fd, &out, 0, 0))
		return 0;
	return errno == EPERM || errno == ETXTBSY ? -errno : 0;
}

/* Bytes. A worker that would only wait for the copier does what fits its buffer itself. */
static size_t inline_max(const struct request *request)
{
	return request->transport->keeps_worker ? request_payload_size(request) : INLINE_MAX;
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
	err = check_files(job);
	if (!err)
		err = clamp_to_source(job);
	if (err || !job->length)
		copy_conclude(job, err);
	else if (job->length <= inline_max(request))
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
