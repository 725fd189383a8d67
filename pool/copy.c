/* SPDX-License-Identifier: MIT */
/*
 * The life of a copy
 *
 *     submit   defers start(): done must not be called from inside pool_copy_submit()
 *     pump     after every completion: writes the first lane if it is READY, reads ahead with the
 *              idle lanes for which there are buffers, and finishes when nothing is left to wait
 *              for
 *
 * Pieces get lanes in the order of the file and writes free them in the same order, so the lanes in
 * use are a queue: the piece to write next is always in the lane called first, and the lane behind
 * the last busy one is idle. A piece gets its position together with its buffer: the one that must
 * be written next never waits for memory, and copies that share a pool cannot block each other.
 *
 * The first short read, and the first failed one, lower the end of the copy. Lanes that have read
 * beyond it (the file was growing) are dropped when their turn comes.
 *
 * stop() is the other way to end: READY lanes are dropped at once, those in flight when they
 * complete.
 */
#include "copy.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>

enum lane_state { IDLE, READING, READY, WRITING };

static void pump(struct pool_copy *copy);

/* ---- lanes ---- */

static struct pool_copy_lane *lane_of(struct pool_io *io)
{
	return (struct pool_copy_lane *)((char *)io - offsetof(struct pool_copy_lane, io));
}

/* The index-th busy lane, in the order of the file; the first idle one for index == busy. */
static struct pool_copy_lane *lane_at(struct pool_copy *copy, unsigned index)
{
	return &copy->lane[(copy->first + index) % copy->lane_count];
}

static void lane_drop(struct pool_copy_lane *lane)
{
	pool_return(lane->io.buffer);
	lane->state = IDLE;
}

/* The first lane is IDLE now: its place in the queue goes to the next one. */
static void advance(struct pool_copy *copy)
{
	copy->first = (copy->first + 1) % copy->lane_count;
	copy->busy--;
}

static void stop(struct pool_copy *copy, int error)
{
	if (copy->stopped)
		return;
	copy->stopped = true;
	copy->error = error;
	for (unsigned i = 0; i < copy->busy; i++) {
		struct pool_copy_lane *lane = lane_at(copy, i);

		if (lane->state == READY)
			lane_drop(lane);
	}
}

/* There is nothing to copy from position on: an error, or 0 for the end of the source. */
static void end_at(struct pool_copy *copy, uint64_t position, int error)
{
	if (position >= copy->end)
		return;
	copy->end = position;
	copy->error = error;
}

/* ---- reading ---- */

static void read_done(struct pool_io *io, ssize_t result)
{
	struct pool_copy_lane *lane = lane_of(io);
	struct pool_copy *copy = lane->copy;
	size_t got = result > 0 ? (size_t)result : 0;

	copy->in_flight--;
	if (copy->stopped) {
		lane_drop(lane);
	} else {
		if (got < lane->length)
			end_at(copy, lane->position + got, io->error);
		lane->length = got;
		lane->fixed = io->fixed;
		lane->state = READY;
	}
	pump(copy);
}

static void read_next(struct pool_copy *copy, struct pool_buffer *buffer)
{
	struct pool_copy_lane *lane = lane_at(copy, copy->busy);
	uint64_t left = copy->end - copy->next_read;
	size_t size = pool_buffer_size(copy->pool);

	assert(lane->state == IDLE);
	lane->state = READING;
	lane->copy = copy;
	lane->position = copy->next_read;
	lane->length = left < size ? (size_t)left : size;
	lane->io = (struct pool_io){
		.done = read_done,
		.buffer = buffer,
		.fd = copy->src_fd,
		.offset = copy->src_offset + lane->position,
		.length = lane->length,
		.size_hint = copy->source_size,
	};
	copy->next_read += lane->length;
	copy->busy++;
	copy->in_flight++;
	pool_read_fixed(&lane->io);
}

/* Beyond the size that the source had at first there is most likely nothing: one lane goes to see.
 */
static bool wants_read(const struct pool_copy *copy)
{
	if (copy->stopped || copy->next_read >= copy->end || copy->busy == copy->lane_count)
		return false;
	return !copy->busy || copy->src_offset + copy->next_read < copy->source_size;
}

static void buffer_ready(struct pool_waiter *waiter, struct pool_buffer *buffer)
{
	struct pool_copy *copy =
		(struct pool_copy *)((char *)waiter - offsetof(struct pool_copy, waiter));

	copy->waiting = false;
	if (buffer && wants_read(copy))
		read_next(copy, buffer);
	else if (buffer)
		pool_return(buffer);
	else if (copy->next_read < copy->end)
		stop(copy, -ECANCELED); /* the pool was closed */
	pump(copy);
}

static void read_ahead(struct pool_copy *copy)
{
	while (wants_read(copy)) {
		struct pool_buffer *buffer = pool_lend(copy->pool);

		if (buffer) {
			read_next(copy, buffer);
			continue;
		}
		if (!copy->waiting) {
			copy->waiting = true;
			copy->waiter.ready = buffer_ready;
			pool_lend_wait(copy->pool, &copy->waiter);
		}
		return;
	}
}

/* ---- writing ---- */

static void write_done(struct pool_io *io, ssize_t result)
{
	struct pool_copy_lane *lane = lane_of(io);
	struct pool_copy *copy = lane->copy;
	size_t put = result > 0 ? (size_t)result : 0;

	copy->in_flight--;
	lane->state = IDLE;
	atomic_store_explicit(&copy->copied, lane->position + put, memory_order_relaxed);
	if (lane->fixed && io->fixed)
		copy->fixed_bytes += put;
	/* A write that takes nothing and gives no reason would be repeated for ever. */
	if (put < lane->length)
		stop(copy, io->error ? io->error : -EIO);
	advance(copy);
	pump(copy);
}

static void write_lane(struct pool_copy *copy, struct pool_copy_lane *lane)
{
	struct pool_buffer *buffer = lane->io.buffer;

	lane->state = WRITING;
	lane->io = (struct pool_io){
		.done = write_done,
		.buffer = buffer,
		.fd = copy->dst_fd,
		.offset = copy->dst_offset + lane->position,
		.length = lane->length,
		.rw_flags = copy->write_flags,
		.personality = copy->write_personality,
	};
	copy->in_flight++;
	pool_write_fixed(&lane->io);
}

/* Issues the next write, if its data is there and none is under way. */
static void write_first(struct pool_copy *copy)
{
	while (!copy->stopped && copy->busy && lane_at(copy, 0)->state == READY) {
		struct pool_copy_lane *lane = lane_at(copy, 0);

		if (lane->position < copy->end) {
			write_lane(copy, lane);
			return;
		}
		lane_drop(lane);
		advance(copy);
	}
}

/* ---- the whole ---- */

static bool is_cancelled(const struct pool_copy *copy)
{
	return copy->cancel && atomic_load_explicit(copy->cancel, memory_order_relaxed);
}

static void finish(struct pool_copy *copy)
{
	uint64_t copied = atomic_load_explicit(&copy->copied, memory_order_relaxed);

	copy->result = copied ? (int64_t)copied : copy->error;
	copy->finished = true;
	if (copy->done)
		copy->done(copy, copy->result);
}

static void pump(struct pool_copy *copy)
{
	bool complete = !copy->busy && copy->next_read >= copy->end;

	if (!complete && is_cancelled(copy))
		stop(copy, -ECANCELED);
	write_first(copy);
	read_ahead(copy);
	if (copy->waiting && (copy->stopped || copy->next_read >= copy->end))
		pool_lend_cancel(&copy->waiter);
	if (!copy->in_flight && !copy->waiting)
		finish(copy);
}

/* Of something that is no regular file, or that tells no size, anything may be expected. */
static uint64_t size_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return UINT64_MAX;
	return (uint64_t)st.st_size;
}

static void start(struct ring_op *op, int result)
{
	struct pool_copy *copy =
		(struct pool_copy *)((char *)op - offsetof(struct pool_copy, start));

	if (copy->src_offset > INT64_MAX || copy->dst_offset > INT64_MAX)
		stop(copy, -EINVAL);
	else if (copy->end > INT64_MAX - copy->src_offset)
		copy->end = INT64_MAX - copy->src_offset; /* no file goes further */
	copy->source_size = size_of(copy->src_fd);
	pump(copy);
}

static unsigned count_lanes(const struct pool_copy *copy)
{
	unsigned count = copy->lanes ? copy->lanes : POOL_COPY_LANES_MAX;

	if (count > POOL_COPY_LANES_MAX)
		count = POOL_COPY_LANES_MAX;
	return count < pool_count(copy->pool) ? count : pool_count(copy->pool);
}

void pool_copy_submit(struct pool_copy *copy)
{
	atomic_store_explicit(&copy->copied, 0, memory_order_relaxed);
	copy->fixed_bytes = 0;
	copy->error = 0;
	copy->lane_count = count_lanes(copy);
	for (unsigned i = 0; i < copy->lane_count; i++)
		copy->lane[i].state = IDLE;
	copy->first = 0;
	copy->busy = 0;
	copy->in_flight = 0;
	copy->next_read = 0;
	copy->end = copy->length;
	copy->waiting = false;
	copy->stopped = false;
	copy->finished = false;
	copy->start.done = start;
	ring_defer(pool_ring(copy->pool), &copy->start, 0);
}

int64_t pool_copy_run(struct pool_copy *copy)
{
	void (*done)(struct pool_copy *, int64_t) = copy->done;

	copy->done = NULL;
	pool_copy_submit(copy);
	while (!copy->finished) {
		int ran = ring_run(pool_ring(copy->pool), true);

		assert(ran >= 0); /* see pool_close(): what is in flight cannot be abandoned */
		if (ran == 0 && !copy->finished) {
			stop(copy, -ENOBUFS);
			pump(copy);
		}
	}
	copy->done = done;
	return copy->result;
}
