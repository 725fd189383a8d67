/* SPDX-License-Identifier: MIT */
/*
 * The life of a transfer
 *
 *     submit     the buffer goes to KERNEL and stays there over all the pieces; with a slot there
 *                is none
 *     issue      what is still to be moved is one operation of the ring
 *     piece_done short: issue the rest. EINTR: the same again. EAGAIN: the same again, but by a
 *                kernel worker, that may wait for what there was none of, instead of this thread
 *                asking in a circle.
 *     finish     the buffer goes where the kind of the transfer says; then the caller is told
 *
 * An error after some bytes have moved is not the result, as with read(2): the caller has the
 * bytes.
 */
#include "io.h"

#include <assert.h>
#include <errno.h>
#include <sys/uio.h>

#include "pool_internal.h"

/* EAGAIN in a row without a byte moved that are taken for passing. A blocking attempt that is
 * answered so again and again has something else to say. */
#define AGAIN_MAX 64

enum kind { READ, WRITE, WRITE_KEEP };

static struct pool_io *io_of(struct ring_op *op)
{
	return (struct pool_io *)((char *)op - offsetof(struct pool_io, op));
}

static struct ring *ring_of(const struct pool_io *io)
{
	return io->slot ? io->ring : pool_ring(pool_buffer_pool(io->buffer));
}

/* Where the rest goes, or comes from. */
static void *rest_of(const struct pool_io *io)
{
	char *start = io->slot ? NULL : pool_buffer_data(io->buffer);

	return (void *)((uintptr_t)start + io->buffer_offset + io->moved);
}

static void finish(struct pool_io *io)
{
	struct pool_buffer *buffer = io->buffer;
	ssize_t result = io->moved ? (ssize_t)io->moved : io->error;

	if (io->slot) {
		/* The driver takes its memory back by itself. */
	} else if (io->kind == WRITE) {
		io->buffer = NULL;
		pool_buffer_consumed(buffer);
	} else {
		pool_buffer_from_kernel(buffer);
	}
	io->done(io, result);
}

static void issue(struct pool_io *io)
{
	struct ring *ring = ring_of(io);
	bool plain = ring_is_plain(ring) || io->at_once;
	struct ring_rw rw = {
		.fd = io->fd,
		.data = rest_of(io),
		.length = (unsigned)(io->length - io->moved),
		.offset = io->offset + io->moved,
		.rw_flags = io->rw_flags,
		.personality = io->personality,
		.fixed = io->fixed,
		.slot = io->slot,
		.at_once = io->at_once,
		.linked = io->linked,
		.async = io->again > 0,
	};

	if (plain)
		pool_buffer_open(io->buffer);
	if (io->kind == READ)
		ring_submit_read(ring, &io->op, &rw);
	else
		ring_submit_write(ring, &io->op, &rw);
	if (plain)
		pool_buffer_shut(io->buffer);
}

/* Whether an attempt that moved nothing is to be made again. With RWF_NOWAIT, EAGAIN is the answer.
 * When the kernel has no memory for what is linked to it, it is cancelled with that (Linux 6.18
 * io_uring/io_uring.c, io_submit_fail_init()). */
static bool try_again(struct pool_io *io, int error, bool linked)
{
	if (error == -EINTR || (error == -ECANCELED && linked))
		return true;
	return error == -EAGAIN && !(io->rw_flags & RWF_NOWAIT) && io->again++ < AGAIN_MAX;
}

/* Whether nothing more is to be had after a piece of that many bytes. */
static bool is_complete(const struct pool_io *io, int piece)
{
	if (piece == 0 || io->moved == io->length)
		return true;
	return io->kind == READ && io->size_hint && io->offset + io->moved == io->size_hint;
}

/* Whether resuming a short read met EINVAL: O_DIRECT at an end of file that is not aligned. The
 * end, and no error. */
static bool is_unaligned_end(const struct pool_io *io, int error)
{
	return io->kind == READ && io->moved && error == -EINVAL;
}

static void piece_done(struct ring_op *op, int result)
{
	struct pool_io *io = io_of(op);
	const bool linked = io->linked;

	io->linked = linked && result == (int)io->length;
	if (result < 0 && try_again(io, result, linked)) {
		issue(io);
		return;
	}
	if (result < 0) {
		io->error = is_unaligned_end(io, result) ? 0 : result;
		finish(io);
		return;
	}
	io->moved += (size_t)result;
	io->again = 0;
	if (is_complete(io, result))
		finish(io);
	else
		issue(io);
}

static void start(struct pool_io *io, enum kind kind, bool fixed)
{
	io->kind = kind;
	io->moved = 0;
	io->again = 0;
	io->error = 0;
	io->fixed = fixed;
	io->op.done = piece_done;
	if (io->length)
		issue(io);
	else
		ring_defer(ring_of(io), &io->op, 0);
}

static void submit(struct pool_io *io, enum kind kind)
{
	struct pool *pool = pool_buffer_pool(io->buffer);

	assert(io->buffer_offset <= pool_buffer_size(pool));
	assert(io->length <= pool_buffer_size(pool) - io->buffer_offset);
	assert(!io->slot);
	pool_buffer_to_kernel(io->buffer);
	start(io, kind, pool_is_registered(pool) && !io->at_once);
}

static void submit_slot(struct pool_io *io, enum kind kind)
{
	assert(io->slot && !io->buffer);
	start(io, kind, true);
}

void pool_read_fixed(struct pool_io *io)
{
	submit(io, READ);
}

void pool_write_fixed(struct pool_io *io)
{
	submit(io, WRITE);
}

void pool_write_fixed_keep(struct pool_io *io)
{
	submit(io, WRITE_KEEP);
}

void pool_read_slot(struct pool_io *io)
{
	submit_slot(io, READ);
}

void pool_write_slot(struct pool_io *io)
{
	submit_slot(io, WRITE);
}
