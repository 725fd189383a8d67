/* SPDX-License-Identifier: MIT */
#include "fault.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>

#define INJECTED_MAX 256

struct fault {
	unsigned calls;
	unsigned first; /* 0 for none; the number of the first call that fails */
	unsigned last;
	int result;
};

/* An operation that went as a NOP: its completion gets this result. */
struct injected {
	uint64_t user_data;
	int result;
};

static _Thread_local struct {
	struct fault fault[FAULT_CALLS];
	uint64_t random;
	unsigned soft;
	unsigned hard;
	fault_watch_fn watch;
	void *watch_arg;
	struct injected injected[INJECTED_MAX];
	unsigned injected_count;
} table;

void fault_set(enum fault_call call, unsigned nth, unsigned times, int result)
{
	struct fault *fault = &table.fault[call];

	fault->first = fault->calls + nth;
	fault->last = times > UINT_MAX - fault->first ? UINT_MAX : fault->first + times - 1;
	fault->result = result;
}

void fault_random(uint64_t seed, unsigned soft, unsigned hard)
{
	table.random = seed | 1;
	table.soft = soft;
	table.hard = hard;
}

void fault_watch(fault_watch_fn watch, void *arg)
{
	table.watch = watch;
	table.watch_arg = arg;
}

void fault_clear(void)
{
	assert(table.injected_count == 0);
	memset(&table, 0, sizeof(table));
}

unsigned fault_calls(enum fault_call call)
{
	return table.fault[call].calls;
}

static unsigned dice(unsigned sides)
{
	table.random ^= table.random << 13;
	table.random ^= table.random >> 7;
	table.random ^= table.random << 17;
	return (unsigned)(table.random >> 33) % sides;
}

static bool random_hit(enum fault_call call, int *ret_result)
{
	static const int soft[] = { FAULT_SHORT, -EINTR, -EAGAIN };
	unsigned n;

	if (!table.random)
		return false;
	n = dice(1000);
	if (n < table.hard)
		*ret_result = call == FAULT_WRITE && dice(2) ? -ENOSPC : -EIO;
	else if (n < table.hard + table.soft)
		*ret_result = soft[dice(3)];
	else
		return false;
	return true;
}

static bool hit(enum fault_call call, int *ret_result)
{
	struct fault *fault = &table.fault[call];

	fault->calls++;
	if (fault->first && fault->calls >= fault->first && fault->calls <= fault->last) {
		*ret_result = fault->result;
		return true;
	}
	return (call == FAULT_READ || call == FAULT_WRITE) && random_hit(call, ret_result);
}

static bool hit_rw(enum fault_call call, uint64_t offset, size_t length, int *ret_result)
{
	if (table.watch)
		table.watch(table.watch_arg, call, offset, length);
	return hit(call, ret_result);
}

static size_t half(size_t length)
{
	return length > 1 ? length / 2 : length;
}

/* ---- operations of a ring ---- */

static void inject(struct io_uring_sqe *sqe, int result)
{
	uint64_t user_data = sqe->user_data;

	assert(table.injected_count < INJECTED_MAX);
	table.injected[table.injected_count++] = (struct injected){ user_data, result };
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_NOP;
	sqe->user_data = user_data;
}

static void outgoing(struct io_uring_sqe *sqe)
{
	bool is_read = sqe->opcode == IORING_OP_READ || sqe->opcode == IORING_OP_READ_FIXED;
	bool is_write = sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITE_FIXED;
	int result;

	if (!is_read && !is_write)
		return;
	if (sqe->flags & IOSQE_ASYNC)
		table.fault[FAULT_ASYNC].calls++;
	if (!hit_rw(is_read ? FAULT_READ : FAULT_WRITE, sqe->off, sqe->len, &result))
		return;
	if (result == FAULT_SHORT)
		sqe->len = (unsigned)half(sqe->len);
	else
		inject(sqe, result);
}

static void incoming(struct io_uring_cqe *cqe)
{
	for (unsigned i = 0; i < table.injected_count; i++) {
		if (table.injected[i].user_data != cqe->user_data)
			continue;
		cqe->res = table.injected[i].result;
		table.injected[i] = table.injected[--table.injected_count];
		return;
	}
}

static void all_outgoing(struct io_uring *ring)
{
	for (unsigned i = *ring->sq.khead; i != ring->sq.sqe_tail; i++)
		outgoing(&ring->sq.sqes[i & (ring->sq.ring_entries - 1)]);
}

/* A NOP completes while it is submitted, so its completion is there when the call returns. */
static void all_incoming(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned head;

	io_uring_for_each_cqe(ring, head, cqe)
	{
		incoming(cqe);
	}
}

/* Hides all but the first of what is queued. Returns how many. */
static unsigned hide_all_but_one(struct io_uring *ring)
{
	const unsigned queued = ring->sq.sqe_tail - *ring->sq.khead;
	const unsigned hidden = queued ? queued - 1 : 0;

	ring->sq.sqe_tail -= hidden;
	return hidden;
}

int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
	unsigned hidden = 0;
	int ret;

	if (hit(FAULT_ENTER, &ret)) {
		if (ret != FAULT_SHORT)
			return ret;
		hidden = hide_all_but_one(ring);
	}
	all_outgoing(ring);
	ret = __real_io_uring_submit_and_wait(ring, wait_nr);
	ring->sq.sqe_tail += hidden;
	all_incoming(ring);
	return ret;
}

int __real_io_uring_submit_and_get_events(struct io_uring *ring);
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring);
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
	unsigned hidden = 0;
	int ret;

	if (hit(FAULT_ENTER, &ret)) {
		if (ret != FAULT_SHORT)
			return ret;
		hidden = hide_all_but_one(ring);
	}
	all_outgoing(ring);
	ret = __real_io_uring_submit_and_get_events(ring);
	ring->sq.sqe_tail += hidden;
	all_incoming(ring);
	return ret;
}

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
				      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
				      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
				      struct io_uring_params *params)
{
	int ret;
	int ignored;

	if (hit(FAULT_QUEUE_INIT, &ret))
		return ret;
	ret = __real_io_uring_queue_init_params(entries, ring, params);
	if (hit(FAULT_FEATURES, &ignored))
		params->features = 0;
	return ret;
}

int __real_io_uring_register_buffers(struct io_uring *ring, const struct iovec *iovecs,
				     unsigned count);
int __wrap_io_uring_register_buffers(struct io_uring *ring, const struct iovec *iovecs,
				     unsigned count);
int __wrap_io_uring_register_buffers(struct io_uring *ring, const struct iovec *iovecs,
				     unsigned count)
{
	int ret;

	if (hit(FAULT_REGISTER, &ret))
		return ret;
	return __real_io_uring_register_buffers(ring, iovecs, count);
}

/* ---- system calls ---- */

/* Whether a call is answered here; else it goes on with what is now in length. */
static bool answered(enum fault_call call, off_t offset, size_t *length, ssize_t *ret_answer)
{
	int result;

	if (!hit_rw(call, (uint64_t)offset, *length, &result))
		return false;
	if (result == FAULT_SHORT) {
		*length = half(*length);
		return false;
	}
	if (result < 0) {
		errno = -result;
		result = -1;
	}
	*ret_answer = result;
	return true;
}

ssize_t __real_pread64(int fd, void *data, size_t length, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t length, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t length, off_t offset)
{
	ssize_t answer;

	if (answered(FAULT_READ, offset, &length, &answer))
		return answer;
	return __real_pread64(fd, data, length, offset);
}

ssize_t __real_pwrite64(int fd, const void *data, size_t length, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t length, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t length, off_t offset)
{
	ssize_t answer;

	if (answered(FAULT_WRITE, offset, &length, &answer))
		return answer;
	return __real_pwrite64(fd, data, length, offset);
}

ssize_t __real_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	struct iovec one = iov[0];
	ssize_t answer;

	assert(count == 1);
	if (answered(FAULT_READ, offset, &one.iov_len, &answer))
		return answer;
	return __real_preadv64v2(fd, &one, 1, offset, flags);
}

ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	struct iovec one = iov[0];
	ssize_t answer;

	assert(count == 1);
	if (answered(FAULT_WRITE, offset, &one.iov_len, &answer))
		return answer;
	return __real_pwritev64v2(fd, &one, 1, offset, flags);
}

void *__real_mmap64(void *address, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	int result;

	if (hit(FAULT_MMAP, &result)) {
		errno = -result;
		return MAP_FAILED;
	}
	return __real_mmap64(address, length, prot, flags, fd, offset);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	int result;

	if (hit(FAULT_CALLOC, &result)) {
		errno = -result;
		return NULL;
	}
	return __real_calloc(count, size);
}
