/* SPDX-License-Identifier: MIT */
/*
 * The life of an operation
 *
 *     ring_submit_*()  an SQE is filled in; its user_data is the struct ring_op. With no SQE left,
 *                      what is queued is sent first; if the kernel takes nothing, the operation
 *                      fails by the ordinary way, through its callback.
 *     enter()          the kernel takes the SQEs. It may take fewer than offered (no memory for a
 *                      request): the rest stay queued and go with the next enter.
 *     harvest()        every CQE is moved to the ready list, and only then is the completion queue
 *                      given back: a callback that submits can make the kernel post more of them.
 *     deliver()        callbacks, as many as were ready when it began: an operation that completes
 *                      at once and is submitted again from its callback must not keep ring_run()
 *                      from its caller.
 *
 * A plain operation and a deferred one go straight to the ready list. Nested ring_run(), from a
 * callback, works: the list belongs to the ring, not to a call.
 */
#include "ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <liburing.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* How often the kernel is asked to take what is queued before an operation fails for want of room.
 */
#define SEND_TRIES 16

struct ring {
	struct io_uring uring;
	bool plain;
	bool registered;
	unsigned slots; /* of the table, behind the buffer that is registered */
	int error;
	bool commands; /* the SQEs are of 128 bytes */
	unsigned awaited; /* operations that have an SQE and no CQE yet */
	unsigned may_stay; /* of them, commands and polls */
	unsigned ready_count;
	struct ring_op *ready_first;
	struct ring_op *ready_last;
	atomic_uint_fast64_t enters;
};

static void ready_push(struct ring *ring, struct ring_op *op, int result)
{
	op->result = result;
	op->next = NULL;
	if (ring->ready_last)
		ring->ready_last->next = op;
	else
		ring->ready_first = op;
	ring->ready_last = op;
	ring->ready_count++;
}

static struct ring_op *ready_pop(struct ring *ring)
{
	struct ring_op *op = ring->ready_first;

	ring->ready_first = op->next;
	if (!ring->ready_first)
		ring->ready_last = NULL;
	ring->ready_count--;
	return op;
}

/* ---- life ---- */

/* From the best to the oldest: completions run only when this thread asks (6.1), without
 * interrupting it (5.19), as ever. */
static int setup(struct io_uring *uring, unsigned entries, unsigned more)
{
	static const unsigned flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int ret = -EINVAL;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && ret == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = flags[i] | more | IORING_SETUP_CLAMP,
		};

		ret = io_uring_queue_init_params(entries, uring, &params);
		/* READ, WRITE and FALLOCATE came with this feature, in 5.6. */
		if (ret == 0 && !(params.features & IORING_FEAT_RW_CUR_POS)) {
			io_uring_queue_exit(uring);
			return -EOPNOTSUPP;
		}
	}
	return ret;
}

/* The kernel gives the addresses of a ring that is freed to the next one, maybe of another thread.
 * liburing maps and unmaps by system calls of its own, so a thread sanitizer would see two threads
 * in one place: this puts what the one did before what the other does. */
static atomic_uint rings_freed;

static int start(struct ring *ring, unsigned entries)
{
	int ret = setup(&ring->uring, entries, ring->commands ? IORING_SETUP_SQE128 : 0);

	if (ret < 0)
		return ret;
	(void)atomic_load_explicit(&rings_freed, memory_order_acquire);

	/* A sandbox may allow io_uring_setup(2) and refuse io_uring_enter(2): better known now than
	 * with operations queued. */
	ret = io_uring_get_events(&ring->uring);
	if (ret < 0) {
		io_uring_queue_exit(&ring->uring);
		return ret;
	}
	(void)io_uring_register_ring_fd(&ring->uring); /* saves a look-up (5.18), no more */
	return 0;
}

int ring_new(const struct ring_options *options, struct ring **ret_ring)
{
	struct ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return -ENOMEM;
	ring->plain = options->plain;
	ring->commands = options->commands;
	if (!ring->plain) {
		ring->error = start(ring, options->entries ? options->entries : 1);
		ring->plain = ring->error < 0;
	}
	*ret_ring = ring;
	return 0;
}

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	assert(ring_in_flight(ring) == ring->may_stay);
	if (!ring->plain) {
		atomic_fetch_add_explicit(&rings_freed, 1, memory_order_release);
		io_uring_queue_exit(&ring->uring);
	}
	free(ring);
}

bool ring_is_plain(const struct ring *ring)
{
	return ring->plain;
}

int ring_error(const struct ring *ring)
{
	return ring->error;
}

uint64_t ring_enters(const struct ring *ring)
{
	return atomic_load_explicit(&ring->enters, memory_order_relaxed);
}

unsigned ring_in_flight(const struct ring *ring)
{
	return ring->awaited + ring->ready_count;
}

/* ---- registration ---- */

int ring_register_buffer(struct ring *ring, void *address, size_t length)
{
	struct iovec area = { .iov_base = address, .iov_len = length };
	int ret;

	if (ring->plain)
		return -EOPNOTSUPP;
	assert(!ring->registered);
	ret = io_uring_register_buffers(&ring->uring, &area, 1);
	if (ret < 0)
		return ret;
	ring->registered = true;
	return 0;
}

int ring_register_table(struct ring *ring, void *address, size_t length, unsigned slots)
{
	struct iovec area = { .iov_base = address, .iov_len = length };
	__u64 tag = 0;
	int ret;

	if (ring->plain)
		return -EOPNOTSUPP;
	assert(!ring->registered);
	ret = io_uring_register_buffers_sparse(&ring->uring, 1 + slots);
	if (ret < 0)
		return ret;
	ret = io_uring_register_buffers_update_tag(&ring->uring, 0, &area, &tag, 1);
	if (ret < 0) {
		(void)io_uring_unregister_buffers(&ring->uring);
		return ret;
	}
	ring->registered = true;
	ring->slots = slots;
	return 0;
}

void ring_unregister_buffer(struct ring *ring)
{
	if (!ring->registered)
		return;
	(void)io_uring_unregister_buffers(&ring->uring);
	ring->registered = false;
	ring->slots = 0;
}

int ring_register_personality(struct ring *ring)
{
	if (ring->plain)
		return -EOPNOTSUPP;
	return io_uring_register_personality(&ring->uring);
}

/* ---- to and from the kernel ---- */

/* Worth another try: a signal, no memory for a request, completions that must be taken first. */
static bool is_passing(int error)
{
	return error == -EINTR || error == -EAGAIN || error == -EBUSY;
}

/*
 * Without memory for one more request the kernel takes the first of two that are linked alone, and
 * starts it (Linux 6.18 io_uring/io_uring.c, io_submit_sqes()). The second would then go by itself
 * with the next io_uring_enter(2): it goes as a NOP, and is cancelled.
 */
static void cut_off(struct ring *ring)
{
	struct io_uring_sq *sq = &ring->uring.sq;
	const unsigned shift = ring->commands ? 1 : 0;
	const unsigned mask = *sq->kring_mask;
	const unsigned head = io_uring_smp_load_acquire(sq->khead);
	struct io_uring_sqe *left = &sq->sqes[(head & mask) << shift];
	struct ring_op *op = (struct ring_op *)(uintptr_t)left->user_data;

	if (!(sq->sqes[((head - 1) & mask) << shift].flags & IOSQE_IO_LINK))
		return;
	op->cut_off = true;
	io_uring_prep_nop(left);
	io_uring_sqe_set_data(left, op);
}

/* One io_uring_enter(2): sends what is queued, lets finished work post its CQEs, and waits for one
 * when told to. */
static int enter(struct ring *ring, bool wait)
{
	const unsigned queued = io_uring_sq_ready(&ring->uring);
	unsigned left;
	int ret;

	atomic_fetch_add_explicit(&ring->enters, 1, memory_order_relaxed);
	if (wait)
		ret = io_uring_submit_and_wait(&ring->uring, 1);
	else
		ret = io_uring_submit_and_get_events(&ring->uring);
	left = io_uring_sq_ready(&ring->uring);
	if (left && left < queued)
		cut_off(ring);
	return ret < 0 ? ret : 0;
}

static void harvest(struct ring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned head;
	unsigned count = 0;

	io_uring_for_each_cqe(&ring->uring, head, cqe)
	{
		struct ring_op *op = io_uring_cqe_get_data(cqe);

		ring->may_stay -= op->may_stay;
		ready_push(ring, op, op->cut_off ? -ECANCELED : cqe->res);
		count++;
	}
	io_uring_cq_advance(&ring->uring, count);
	assert(count <= ring->awaited);
	ring->awaited -= count;
}

/* Whether completions wait inside the kernel for this thread to enter it. */
static bool holds_back(const struct ring *ring)
{
	return IO_URING_READ_ONCE(*ring->uring.sq.kflags) &
	       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* Brings completions to the ready list, at least one when wait is true and any is awaited. */
static int gather(struct ring *ring, bool wait)
{
	harvest(ring);
	for (;;) {
		bool block = wait && !ring->ready_first && ring->awaited;
		int ret;

		if (!block && !io_uring_sq_ready(&ring->uring) && !holds_back(ring))
			return 0;
		ret = enter(ring, block);
		harvest(ring);
		if (ret < 0 && !is_passing(ret))
			return ret;
		if (!block || ring->ready_first)
			return 0;
		if (ret < 0)
			sched_yield(); /* no memory now: somebody else has to move first */
	}
}

static struct io_uring_sqe *get_sqe(struct ring *ring, int *ret_error)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	*ret_error = -EAGAIN;
	for (int tries = 0; !sqe && tries < SEND_TRIES; tries++) {
		int ret = enter(ring, false);

		harvest(ring);
		if (ret < 0 && !is_passing(ret)) {
			*ret_error = ret;
			return NULL;
		}
		sqe = io_uring_get_sqe(&ring->uring);
	}
	return sqe;
}

/* An SQE for op, or NULL after op was failed through its callback. */
static struct io_uring_sqe *queue(struct ring *ring, struct ring_op *op)
{
	int error;
	struct io_uring_sqe *sqe = get_sqe(ring, &error);

	if (!sqe) {
		ready_push(ring, op, error);
		return NULL;
	}
	ring->awaited++;
	op->may_stay = op->cut_off = false;
	return sqe;
}

static void let_stay(struct ring *ring, struct ring_op *op)
{
	op->may_stay = true;
	ring->may_stay++;
}

bool ring_has_room(const struct ring *ring)
{
	return io_uring_sq_space_left(&ring->uring) >= 2;
}

/* ---- operations ---- */

static int plain_result(ssize_t ret)
{
	return ret < 0 ? -errno : (int)ret;
}

static int plain_read(const struct ring_rw *rw)
{
	struct iovec iov = { .iov_base = rw->data, .iov_len = rw->length };

	if (!rw->rw_flags)
		return plain_result(pread(rw->fd, rw->data, rw->length, (off_t)rw->offset));
	return plain_result(preadv2(rw->fd, &iov, 1, (off_t)rw->offset, rw->rw_flags));
}

static int plain_write(const struct ring_rw *rw)
{
	struct iovec iov = { .iov_base = rw->data, .iov_len = rw->length };

	if (!rw->rw_flags)
		return plain_result(pwrite(rw->fd, rw->data, rw->length, (off_t)rw->offset));
	return plain_result(pwritev2(rw->fd, &iov, 1, (off_t)rw->offset, rw->rw_flags));
}

/* What a read and a write have in common; prep_rw() has cleared the SQE, so it comes first. */
static void finish_rw(struct io_uring_sqe *sqe, struct ring_op *op, const struct ring_rw *rw)
{
	sqe->rw_flags = rw->rw_flags;
	sqe->personality = (__u16)rw->personality;
	if (rw->async)
		sqe->flags |= IOSQE_ASYNC;
	if (rw->linked)
		sqe->flags |= IOSQE_IO_LINK;
	io_uring_sqe_set_data(sqe, op);
}

static void check_rw(const struct ring *ring, const struct ring_rw *rw)
{
	assert(rw->length <= INT_MAX); /* a result is an int */
	assert(!rw->fixed || ring->registered);
	assert(rw->slot <= (rw->fixed ? ring->slots : 0));
	assert(rw->personality >= 0 && rw->personality <= UINT16_MAX);
	assert(!rw->at_once || (!rw->fixed && !rw->personality));
	assert(!rw->linked || (!ring->plain && !rw->at_once));
}

void ring_submit_read(struct ring *ring, struct ring_op *op, const struct ring_rw *rw)
{
	struct io_uring_sqe *sqe;

	check_rw(ring, rw);
	if (ring->plain || rw->at_once) {
		ready_push(ring, op, plain_read(rw));
		return;
	}
	sqe = queue(ring, op);
	if (!sqe)
		return;
	if (rw->fixed)
		io_uring_prep_read_fixed(sqe, rw->fd, rw->data, rw->length, rw->offset,
					 (int)rw->slot);
	else
		io_uring_prep_read(sqe, rw->fd, rw->data, rw->length, rw->offset);
	finish_rw(sqe, op, rw);
}

void ring_submit_write(struct ring *ring, struct ring_op *op, const struct ring_rw *rw)
{
	struct io_uring_sqe *sqe;

	check_rw(ring, rw);
	if (ring->plain || rw->at_once) {
		ready_push(ring, op, plain_write(rw));
		return;
	}
	sqe = queue(ring, op);
	if (!sqe)
		return;
	if (rw->fixed)
		io_uring_prep_write_fixed(sqe, rw->fd, rw->data, rw->length, rw->offset,
					  (int)rw->slot);
	else
		io_uring_prep_write(sqe, rw->fd, rw->data, rw->length, rw->offset);
	finish_rw(sqe, op, rw);
}

void ring_submit_fsync(struct ring *ring, struct ring_op *op, int fd, bool datasync)
{
	struct io_uring_sqe *sqe;

	if (ring->plain) {
		ready_push(ring, op, plain_result(datasync ? fdatasync(fd) : fsync(fd)));
		return;
	}
	sqe = queue(ring, op);
	if (!sqe)
		return;
	io_uring_prep_fsync(sqe, fd, datasync ? IORING_FSYNC_DATASYNC : 0);
	io_uring_sqe_set_data(sqe, op);
}

void ring_submit_fallocate(struct ring *ring, struct ring_op *op, int fd, int mode, uint64_t offset,
			   uint64_t length)
{
	struct io_uring_sqe *sqe;

	if (ring->plain) {
		ready_push(ring, op,
			   plain_result(fallocate(fd, mode, (off_t)offset, (off_t)length)));
		return;
	}
	sqe = queue(ring, op);
	if (!sqe)
		return;
	io_uring_prep_fallocate(sqe, fd, mode, (off_t)offset, (off_t)length);
	io_uring_sqe_set_data(sqe, op);
}

void ring_submit_command(struct ring *ring, struct ring_op *op, const struct ring_command *command)
{
	struct io_uring_sqe *sqe;

	assert(!ring->plain && ring->commands);
	assert(command->size <= RING_COMMAND_MAX);
	sqe = queue(ring, op);
	if (!sqe)
		return;
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, command->fd, command->address, command->length,
			 0);
	sqe->cmd_op = command->operation;
	if (command->fixed)
		sqe->uring_cmd_flags = IORING_URING_CMD_FIXED; /* prepared with buf_index 0 */
	memset(sqe->cmd, 0, RING_COMMAND_MAX);
	memcpy(sqe->cmd, command->data, command->size);
	io_uring_sqe_set_data(sqe, op);
	let_stay(ring, op);
}

void ring_submit_poll(struct ring *ring, struct ring_op *op, int fd, unsigned events)
{
	struct io_uring_sqe *sqe;

	assert(!ring->plain);
	sqe = queue(ring, op);
	if (!sqe)
		return;
	io_uring_prep_poll_add(sqe, fd, events);
	io_uring_sqe_set_data(sqe, op);
	let_stay(ring, op);
}

void ring_defer(struct ring *ring, struct ring_op *op, int result)
{
	ready_push(ring, op, result);
}

/* ---- delivery ---- */

static int deliver(struct ring *ring)
{
	unsigned batch = ring->ready_count;
	int ran = 0;

	while (batch-- && ring->ready_first) {
		struct ring_op *op = ready_pop(ring);

		ran++;
		op->done(op, op->result);
	}
	return ran;
}

int ring_run(struct ring *ring, bool wait)
{
	int ret = ring->plain ? 0 : gather(ring, wait);

	/* What is complete is delivered even if the kernel takes no more: its callbacks are owed.
	 */
	if (ret < 0 && !ring->ready_first)
		return ret;
	return deliver(ring);
}
