/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pool/copy.h"

#define PIECES(n) ((uint64_t)(n)*BUFFER_SIZE)

static struct pool_copy copy_of(struct fixture *f, int src, int dst, uint64_t length)
{
	return (struct pool_copy){
		.pool = f->pool, .src_fd = src, .dst_fd = dst, .length = length
	};
}

/* What every copy must leave behind: its buffers at home, nothing in flight. */
static void expect_rest(struct fixture *f)
{
	expect_places(f->pool, pool_count(f->pool), 0, 0);
	assert_int_equal(ring_in_flight(f->ring), 0);
}

/* Runs a copy of a source of pattern 1 and checks what it wrote. */
static void copy_expecting(struct fixture *f, struct pool_copy *copy, int64_t result)
{
	assert_int_equal(pool_copy_run(copy), result);
	assert_int_equal(copy->copied, result > 0 ? result : 0);
	assert_int_equal(copy->fixed_bytes, f->kind == KIND_FIXED ? copy->copied : 0);
	if (result > 0)
		assert_true(file_has(copy->dst_fd, copy->dst_offset, (uint64_t)result,
				     copy->src_offset, 1));
	expect_rest(f);
}

/* ---- what is copied ---- */

static void a_file_of_any_size_is_copied_whole(void **state)
{
	static const uint64_t sizes[] = {
		1,	   4096,      BUFFER_SIZE - 1, BUFFER_SIZE,	 BUFFER_SIZE + 1,
		PIECES(3), PIECES(4), PIECES(5) + 7,   PIECES(40) + 4095
	};
	struct fixture *f = fixture_of(state);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int src = temp_file(sizes[i], 1);
		int dst = temp_file(0, 0);
		struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

		copy_expecting(f, &copy, (int64_t)sizes[i]);
		assert_int_equal(file_size(dst), sizes[i]);
		assert_int_equal(copy.error, 0);
		close(src);
		close(dst);
	}
}

static void nothing_to_copy_is_zero(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(100, 1);
	int dst = temp_file(0, 0);
	struct pool_copy none = copy_of(f, src, dst, 0);
	struct pool_copy beyond = copy_of(f, src, dst, UINT64_MAX);

	copy_expecting(f, &none, 0);
	beyond.src_offset = 100;
	copy_expecting(f, &beyond, 0);
	beyond.src_offset = 5000;
	copy_expecting(f, &beyond, 0);
	assert_int_equal(file_size(dst), 0);
	close(src);
	close(dst);
}

struct range {
	uint64_t start;
	uint64_t end;
	bool within;
};

static void watch_reads(void *arg, enum fault_call call, uint64_t offset, size_t length)
{
	struct range *range = arg;

	if (call == FAULT_READ && (offset < range->start || offset + length > range->end))
		range->within = false;
}

static void a_range_is_copied_to_another_place_and_no_byte_around_it_is_read(void **state)
{
	static const uint64_t lengths[] = { 1, BUFFER_SIZE, PIECES(2) + 5, PIECES(9) };
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(12), 1);

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		int dst = temp_file(PIECES(12), 2);
		struct pool_copy copy = copy_of(f, src, dst, lengths[i]);
		struct range range = { 333, 333 + lengths[i], true };
		uint64_t behind = 77 + lengths[i];

		copy.src_offset = 333;
		copy.dst_offset = 77;
		fault_watch(watch_reads, &range);
		copy_expecting(f, &copy, (int64_t)lengths[i]);
		assert_true(range.within);
		assert_true(file_has(dst, 0, 77, 0, 2));
		assert_true(file_has(dst, behind, PIECES(12) - behind, behind, 2));
		assert_int_equal(file_size(dst), PIECES(12));
		close(dst);
	}
	close(src);
}

static void a_range_may_be_copied_within_one_file(void **state)
{
	struct fixture *f = fixture_of(state);
	int fd = temp_file(PIECES(10), 1);
	struct pool_copy copy = copy_of(f, fd, fd, PIECES(10));

	copy.dst_offset = PIECES(10);
	copy_expecting(f, &copy, (int64_t)PIECES(10));
	close(fd);
}

static void a_file_without_a_size_is_copied_whole(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = open("/proc/self/maps", O_RDONLY);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

	assert_true(src >= 0);
	assert_true(pool_copy_run(&copy) > 0);
	assert_int_equal(file_size(dst), copy.copied);
	expect_rest(f);
	close(src);
	close(dst);
}

static void ranges_that_no_file_has_are_refused(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(100, 1);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

	copy.src_offset = UINT64_MAX - 10;
	copy_expecting(f, &copy, -EINVAL);
	copy.src_offset = 0;
	copy.dst_offset = (uint64_t)INT64_MAX + 1;
	copy_expecting(f, &copy, -EINVAL);
	copy.dst_offset = 0;
	copy.src_offset = INT64_MAX;
	copy_expecting(f, &copy, 0);
	close(src);
	close(dst);
}

static void bad_descriptors_are_told(void **state)
{
	struct fixture *f = fixture_of(state);
	int fd = temp_file(PIECES(8), 1);
	struct pool_copy from = copy_of(f, -1, fd, UINT64_MAX);
	struct pool_copy to = copy_of(f, fd, -1, UINT64_MAX);

	copy_expecting(f, &from, -EBADF);
	copy_expecting(f, &to, -EBADF);
	assert_int_equal(to.error, -EBADF);
	close(fd);
}

static void a_file_that_ends_at_a_known_size_is_read_once(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(100, 1);
	int dst = temp_file(0, 0);
	struct pool_copy bounded = copy_of(f, src, dst, 100);
	struct pool_copy endless = copy_of(f, src, dst, UINT64_MAX);

	copy_expecting(f, &bounded, 100);
	assert_int_equal(fault_calls(FAULT_READ), 1);
	copy_expecting(f, &endless, 100);
	assert_int_equal(fault_calls(FAULT_READ), 2);
	close(src);
	close(dst);
}

/* ---- order ---- */

struct order {
	uint64_t next; /* offset of the write that must come next */
	bool kept;
	struct pool_copy *copy;
};

/* A write begins where the one before ended, and not before that one is complete. */
static void watch_order(void *arg, enum fault_call call, uint64_t offset, size_t length)
{
	struct order *order = arg;

	if (call != FAULT_WRITE)
		return;
	if (offset != order->next || order->copy->copied != offset)
		order->kept = false;
	order->next += length;
}

static void writes_are_issued_in_order_and_one_at_a_time(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(30) + 5, 1);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);
	struct order order = { .kept = true, .copy = &copy };

	/* The first piece comes last: it is read by halves. */
	fault_set(FAULT_READ, 1, 1, FAULT_SHORT);
	fault_watch(watch_order, &order);
	copy_expecting(f, &copy, (int64_t)PIECES(30) + 5);
	assert_true(order.kept);
	assert_int_equal(order.next, PIECES(30) + 5);
	close(src);
	close(dst);
}

static void one_lane_is_enough_and_too_many_are_no_harm(void **state)
{
	static const unsigned lanes[] = { 1, 2, 3, 32, 1000 };
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(10), 1);

	for (size_t i = 0; i < sizeof(lanes) / sizeof(lanes[0]); i++) {
		int dst = temp_file(0, 0);
		struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

		copy.lanes = lanes[i];
		copy_expecting(f, &copy, (int64_t)PIECES(10));
		close(dst);
	}
	close(src);
}

/* ---- a source that changes ---- */

struct change {
	int fd;
	uint64_t at; /* when a read reaches that offset */
	uint64_t size;
};

static void change_size(void *arg, enum fault_call call, uint64_t offset, size_t length)
{
	struct change *change = arg;

	if (call == FAULT_READ && offset >= change->at &&
	    ftruncate(change->fd, (off_t)change->size))
		abort();
}

static void a_source_that_shrinks_ends_the_copy_there(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(20), 1);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, PIECES(20));
	struct change change = { src, PIECES(6), PIECES(8) + 9 };

	fault_watch(change_size, &change);
	copy_expecting(f, &copy, (int64_t)PIECES(8) + 9);
	assert_int_equal(copy.error, 0);
	assert_int_equal(file_size(dst), PIECES(8) + 9);
	close(src);
	close(dst);
}

static void a_source_that_grows_is_copied_as_far_as_asked(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(3), 1);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, PIECES(9));
	struct change change = { src, PIECES(2), PIECES(10) };

	fault_watch(change_size, &change);
	assert_int_equal(pool_copy_run(&copy), PIECES(9));
	assert_int_equal(file_size(dst), PIECES(9));
	assert_true(file_has(dst, 0, PIECES(3), 0, 1));
	expect_rest(f);
	close(src);
	close(dst);
}

/* ---- faults ---- */

static void soft_faults_change_nothing(void **state)
{
	static const int faults[] = { FAULT_SHORT, -EINTR, -EAGAIN };
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(9) + 100, 1);

	for (unsigned call = FAULT_READ; call <= FAULT_WRITE; call++) {
		for (unsigned i = 0; i < 3; i++) {
			int dst = temp_file(0, 0);
			struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

			fault_clear();
			fault_set(call, 3, 20, faults[i]);
			copy_expecting(f, &copy, (int64_t)PIECES(9) + 100);
			assert_int_equal(file_size(dst), PIECES(9) + 100);
			close(dst);
		}
	}
	close(src);
}

static void a_failed_write_ends_the_copy_with_what_was_written_before(void **state)
{
	static const int errors[] = { -ENOSPC, -EIO, -EFBIG, -EDQUOT };
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(10), 1);

	for (unsigned n = 1; n <= 10; n++) {
		int error = errors[n % 4];
		int dst = temp_file(0, 0);
		struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

		fault_clear();
		fault_set(FAULT_WRITE, n, 1, error);
		copy_expecting(f, &copy, n == 1 ? error : (int64_t)PIECES(n - 1));
		assert_int_equal(copy.error, error);
		assert_int_equal(fault_calls(FAULT_WRITE),
				 n); /* and nothing was written after it */
		assert_int_equal(file_size(dst), PIECES(n - 1));
		close(dst);
	}
	close(src);
}

static void a_failed_read_ends_the_copy_with_all_that_lies_before_it(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(10), 1);

	for (unsigned n = 1; n <= 10; n++) {
		int dst = temp_file(0, 0);
		struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

		fault_clear();
		fault_set(FAULT_READ, n, 1, -EIO);
		copy_expecting(f, &copy, n == 1 ? -EIO : (int64_t)PIECES(n - 1));
		assert_int_equal(copy.error, -EIO);
		assert_int_equal(file_size(dst), PIECES(n - 1));
		close(dst);
	}
	close(src);
}

/* Sees the second half of the second piece coming and lets it fail. */
static void fail_second_half(void *arg, enum fault_call call, uint64_t offset, size_t length)
{
	if (call == FAULT_WRITE && offset == PIECES(1))
		fault_set(FAULT_WRITE, 1, 1, FAULT_SHORT);
	if (call == FAULT_WRITE && offset == PIECES(1) + BUFFER_SIZE / 2)
		fault_set(FAULT_WRITE, 1, 1, -ENOSPC);
}

static void a_write_that_fails_in_the_middle_leaves_its_first_part(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(4), 1);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

	fault_watch(fail_second_half, NULL);
	copy_expecting(f, &copy, (int64_t)PIECES(1) + BUFFER_SIZE / 2);
	assert_int_equal(copy.error, -ENOSPC);
	assert_int_equal(file_size(dst), copy.copied);
	close(src);
	close(dst);
}

static void a_write_that_takes_nothing_is_an_error(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(4), 1);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

	fault_set(FAULT_WRITE, 1, UINT_MAX, 0);
	copy_expecting(f, &copy, -EIO);
	fault_clear();
	fault_set(FAULT_WRITE, 3, UINT_MAX, 0);
	copy_expecting(f, &copy, (int64_t)PIECES(2));
	assert_int_equal(copy.error, -EIO);
	close(src);
	close(dst);
}

static void a_full_device_ends_the_copy(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(8), 1);
	int dst = open("/dev/full", O_WRONLY);
	struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

	if (dst < 0)
		skip();
	copy_expecting(f, &copy, -ENOSPC);
	close(src);
	close(dst);
}

/* ---- ending early ---- */

struct canceller {
	atomic_bool cancel;
	uint64_t at; /* set when a write reaches that offset */
};

static void cancel_at(void *arg, enum fault_call call, uint64_t offset, size_t length)
{
	struct canceller *canceller = arg;

	if (call == FAULT_WRITE && offset >= canceller->at)
		atomic_store(&canceller->cancel, true);
}

static void a_cancelled_copy_ends_with_its_prefix(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(20), 1);

	for (unsigned n = 0; n < 20; n += 3) {
		int dst = temp_file(0, 0);
		struct canceller canceller = { .at = PIECES(n) };
		struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

		copy.cancel = &canceller.cancel;
		fault_watch(cancel_at, &canceller);
		assert_true(pool_copy_run(&copy) >= 0);
		assert_true(copy.copied >= PIECES(n) && copy.copied <= PIECES(n + 1));
		assert_int_equal(copy.error, -ECANCELED);
		assert_int_equal(file_size(dst), copy.copied);
		assert_true(file_has(dst, 0, copy.copied, 0, 1));
		expect_rest(f);
		close(dst);
	}
	close(src);
}

static void a_copy_that_is_cancelled_before_it_starts_does_nothing(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(2), 1);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);
	atomic_bool cancel = true;

	copy.cancel = &cancel;
	copy_expecting(f, &copy, -ECANCELED);
	assert_int_equal(fault_calls(FAULT_READ) + fault_calls(FAULT_WRITE), 0);
	close(src);
	close(dst);
}

struct submitted {
	struct pool_copy copy;
	unsigned calls;
	int64_t result;
};

static void submitted_done(struct pool_copy *copy, int64_t result)
{
	struct submitted *submitted = (struct submitted *)copy;

	submitted->calls++;
	submitted->result = result;
}

static void free_copy(struct pool_copy *copy, int64_t result)
{
	free(copy);
}

static void done_comes_from_ring_run_and_may_free_the_copy(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(6), 1);
	int dst = temp_file(0, 0);
	struct pool_copy *copy = calloc(1, sizeof(*copy));
	struct submitted nothing = { .copy = copy_of(f, src, dst, 0) };

	nothing.copy.done = submitted_done;
	pool_copy_submit(&nothing.copy);
	assert_int_equal(nothing.calls, 0);
	*copy = copy_of(f, src, dst, UINT64_MAX);
	copy->done = free_copy;
	pool_copy_submit(copy);
	while (ring_in_flight(f->ring))
		ring_run(f->ring, true);
	assert_int_equal(nothing.calls, 1);
	assert_int_equal(file_size(dst), PIECES(6));
	expect_rest(f);
	close(src);
	close(dst);
}

static void closing_the_pool_ends_a_copy(void **state)
{
	struct fixture *f = fixture_of(state);

	for (unsigned rounds = 0; rounds < 12; rounds++) {
		struct fixture own;
		int src = temp_file(PIECES(20), 1);
		int dst = temp_file(0, 0);
		struct submitted submitted;

		assert_true(fixture_init(&own, f->kind, BUFFER_SIZE, BUFFER_COUNT));
		submitted = (struct submitted){ .copy = copy_of(&own, src, dst, UINT64_MAX) };
		submitted.copy.done = submitted_done;
		pool_copy_submit(&submitted.copy);
		for (unsigned i = 0; i < rounds; i++)
			ring_run(own.ring, true);
		pool_close(own.pool);
		while (!submitted.calls)
			assert_true(ring_run(own.ring, true) > 0);
		assert_int_equal(file_size(dst), submitted.copy.copied);
		assert_true(file_has(dst, 0, submitted.copy.copied, 0, 1));
		if (submitted.copy.copied < PIECES(20))
			assert_int_equal(submitted.copy.error, -ECANCELED);
		fixture_fini(&own);
		close(src);
		close(dst);
	}
}

/* ---- scarce buffers ---- */

static void a_copy_takes_the_buffers_that_it_can_get(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(10), 1);

	for (unsigned taken = 1; taken < BUFFER_COUNT; taken++) {
		struct pool_buffer *buffer[BUFFER_COUNT];
		int dst = temp_file(0, 0);
		struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

		for (unsigned i = 0; i < taken; i++)
			buffer[i] = pool_lend(f->pool);
		assert_int_equal(pool_copy_run(&copy), PIECES(10));
		assert_true(file_has(dst, 0, PIECES(10), 0, 1));
		expect_places(f->pool, BUFFER_COUNT - taken, taken, 0);
		for (unsigned i = 0; i < taken; i++)
			pool_return(buffer[i]);
		close(dst);
	}
	close(src);
}

static void a_copy_without_a_buffer_waits_for_one(void **state)
{
	struct fixture *f = fixture_of(state);
	struct pool_buffer *buffer[BUFFER_COUNT];
	int src = temp_file(PIECES(10), 1);
	int dst = temp_file(0, 0);
	struct submitted submitted = { .copy = copy_of(f, src, dst, UINT64_MAX) };

	submitted.copy.done = submitted_done;
	for (unsigned i = 0; i < BUFFER_COUNT; i++)
		buffer[i] = pool_lend(f->pool);
	pool_copy_submit(&submitted.copy);
	while (ring_run(f->ring, true) > 0)
		;
	assert_int_equal(submitted.calls, 0);
	pool_return(buffer[0]);
	while (!submitted.calls)
		assert_true(ring_run(f->ring, true) > 0);
	assert_int_equal(submitted.result, PIECES(10));
	for (unsigned i = 1; i < BUFFER_COUNT; i++)
		pool_return(buffer[i]);
	expect_rest(f);
	close(src);
	close(dst);
}

static void a_copy_that_could_only_wait_for_ever_is_refused(void **state)
{
	struct fixture *f = fixture_of(state);
	struct pool_buffer *buffer[BUFFER_COUNT];
	int src = temp_file(PIECES(10), 1);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

	for (unsigned i = 0; i < BUFFER_COUNT; i++)
		buffer[i] = pool_lend(f->pool);
	assert_int_equal(pool_copy_run(&copy), -ENOBUFS);
	for (unsigned i = 0; i < BUFFER_COUNT; i++)
		pool_return(buffer[i]);
	expect_rest(f);
	close(src);
	close(dst);
}

static void copies_share_a_pool_evenly(void **state)
{
	enum { COPIES = 7 }; /* more than there are buffers */
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(50), 1);
	struct submitted submitted[COPIES];
	unsigned calls = 0;

	for (unsigned i = 0; i < COPIES; i++) {
		submitted[i] =
			(struct submitted){ .copy = copy_of(f, src, temp_file(0, 0), UINT64_MAX) };
		submitted[i].copy.done = submitted_done;
		pool_copy_submit(&submitted[i].copy);
	}
	while (!calls) {
		assert_true(ring_run(f->ring, true) > 0);
		for (unsigned i = 0; i < COPIES; i++)
			calls += submitted[i].calls;
	}
	for (unsigned i = 0; i < COPIES; i++) /* when the first is done, none has starved */
		assert_true(submitted[i].copy.copied >= PIECES(25));
	while (calls < COPIES) {
		assert_true(ring_run(f->ring, true) > 0);
		calls = 0;
		for (unsigned i = 0; i < COPIES; i++)
			calls += submitted[i].calls;
	}
	for (unsigned i = 0; i < COPIES; i++) {
		assert_int_equal(submitted[i].result, PIECES(50));
		assert_true(file_has(submitted[i].copy.dst_fd, 0, PIECES(50), 0, 1));
		close(submitted[i].copy.dst_fd);
	}
	expect_rest(f);
	close(src);
}

/* ---- O_DIRECT ---- */

static void direct_descriptors_are_copied_with_an_unaligned_end_of_the_source(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(9) + 100, 1);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);

	if (fcntl(src, F_SETFL, O_DIRECT) < 0)
		skip();
	copy_expecting(f, &copy, (int64_t)PIECES(9) + 100);
	assert_int_equal(fcntl(dst, F_SETFL, O_DIRECT), 0);
	copy.length = PIECES(9);
	assert_int_equal(pool_copy_run(&copy), PIECES(9));
	assert_int_equal(fcntl(dst, F_SETFL, 0), 0);
	assert_true(file_has(dst, 0, PIECES(9) + 100, 0, 1));
	expect_rest(f);
	close(src);
	close(dst);
}

/* ---- a sudden end ---- */

struct killed {
	enum kind kind;
	int src;
	int dst;
};

static _Noreturn void copy_in_child(const struct killed *killed)
{
	struct fixture f;
	struct pool_copy copy;

	fixture_init(&f, killed->kind, 65536, 8);
	copy = copy_of(&f, killed->src, killed->dst, UINT64_MAX);
	pool_copy_run(&copy);
	_exit(0);
}

static void a_killed_copy_leaves_a_prefix(void **state)
{
	const uint64_t size = 16 << 20;
	struct fixture *f = fixture_of(state);
	struct killed killed = { .kind = f->kind, .src = temp_file(size, 1) };
	unsigned midway = 0;

	for (unsigned round = 0; round < 40; round++) {
		struct timespec pause = { .tv_nsec = 1000000 };
		uint64_t enough = size / 40 * round;
		pid_t pid;

		killed.dst = temp_file(0, 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			copy_in_child(&killed);
		while (file_size(killed.dst) < enough && waitpid(pid, NULL, WNOHANG) == 0)
			if (round % 2)
				nanosleep(&pause, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		midway += file_size(killed.dst) > 0 && file_size(killed.dst) < size;
		assert_true(file_has(killed.dst, 0, file_size(killed.dst), 0, 1));
		close(killed.dst);
	}
	assert_true(midway > 0);
	close(killed.src);
}

/* ---- stress: several threads, each with its ring and its pool, and random faults ---- */

struct stress {
	enum kind kind;
	uint64_t seed;
};

static unsigned stress_random(uint64_t *seed, unsigned below)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(*seed >> 33) % below;
}

/* Whatever was refused: a prefix of what was asked for is there, and errors have a reason. */
static void stress_copy(struct fixture *f, struct stress *stress, int src)
{
	uint64_t size = PIECES(20);
	atomic_bool cancel = false;
	struct canceller canceller = { .at = stress_random(&stress->seed, (unsigned)size * 4) };
	struct submitted copies[3];
	unsigned count = 1 + stress_random(&stress->seed, 3);
	unsigned calls;

	fault_watch(cancel_at, &canceller);
	for (unsigned i = 0; i < count; i++) {
		copies[i] = (struct submitted){ .copy = copy_of(f, src, temp_file(0, 0), 0) };
		copies[i].copy.src_offset = stress_random(&stress->seed, (unsigned)size);
		copies[i].copy.dst_offset = stress_random(&stress->seed, 10000);
		copies[i].copy.length = stress_random(&stress->seed, (unsigned)size);
		copies[i].copy.lanes = stress_random(&stress->seed, 7);
		copies[i].copy.cancel = i ? &cancel : &canceller.cancel;
		copies[i].copy.done = submitted_done;
		pool_copy_submit(&copies[i].copy);
	}
	do {
		ring_run(f->ring, true);
		calls = 0;
		for (unsigned i = 0; i < count; i++)
			calls += copies[i].calls;
	} while (calls < count);
	fault_watch(NULL, NULL);

	for (unsigned i = 0; i < count; i++) {
		struct pool_copy *copy = &copies[i].copy;
		uint64_t left = size - copy->src_offset;
		uint64_t whole = copy->length < left ? copy->length : left;

		assert(copies[i].calls == 1);
		assert(copy->copied <= whole);
		assert(copy->copied == whole || copy->error < 0);
		assert(copies[i].result == (copy->copied ? (int64_t)copy->copied : copy->error));
		assert(file_has(copy->dst_fd, copy->dst_offset, copy->copied, copy->src_offset, 1));
		close(copy->dst_fd);
	}
}

static void stress_done(struct pool_io *io, ssize_t result)
{
	io->op.done = NULL; /* the sign that it is done */
	io->moved = result > 0 ? (size_t)result : 0;
}

static void stress_transfer(struct fixture *f, struct stress *stress, int fd)
{
	bool keep = stress_random(&stress->seed, 2);
	bool is_write = stress_random(&stress->seed, 2);
	struct pool_buffer *buffer = pool_lend(f->pool);
	struct pool_io io = { .done = stress_done, .buffer = buffer, .fd = fd };

	io.buffer_offset = stress_random(&stress->seed, BUFFER_SIZE);
	io.length = stress_random(&stress->seed, (unsigned)(BUFFER_SIZE - io.buffer_offset));
	io.offset = stress_random(&stress->seed, (unsigned)(PIECES(20) - io.length));
	if (is_write)
		pattern_fill((char *)pool_buffer_data(buffer) + io.buffer_offset, io.offset,
			     io.length, 1);
	if (is_write && keep)
		pool_write_fixed_keep(&io);
	else if (is_write)
		pool_write_fixed(&io);
	else
		pool_read_fixed(&io);
	while (io.op.done)
		ring_run(f->ring, true);
	assert((io.buffer == NULL) == (is_write && !keep));
	if (!io.buffer)
		return;
	assert(pattern_is((char *)pool_buffer_data(buffer) + io.buffer_offset, io.offset, io.moved,
			  1));
	pool_return(buffer);
}

static void *stress_run(void *arg)
{
	struct stress *stress = arg;
	int src = temp_file(PIECES(20), 1);
	struct fixture f;

	fixture_init(&f, stress->kind, BUFFER_SIZE, BUFFER_COUNT);
	fault_random(stress->seed, 100, 3);
	for (unsigned i = 0; i < 600; i++) {
		if (stress_random(&stress->seed, 8))
			stress_transfer(&f, stress, src);
		else
			stress_copy(&f, stress, src);
		assert(ring_in_flight(f.ring) == 0);
		assert(pool_counts(f.pool).home == BUFFER_COUNT);
	}
	fault_clear();
	fixture_fini(&f);
	close(src);
	return NULL;
}

static void random_faults_in_many_threads_lose_no_buffer_and_no_byte(void **state)
{
	enum { THREADS = 4 };
	struct fixture *f = fixture_of(state);
	struct stress stress[THREADS];
	pthread_t thread[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		stress[i] = (struct stress){ .kind = f->kind, .seed = 1234567 + i };
		assert_int_equal(pthread_create(&thread[i], NULL, stress_run, &stress[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

/* Another thread: the two fields that it may touch. */
struct observer {
	struct pool_copy *copy;
	atomic_bool cancel;
};

static void *watch_and_cancel(void *arg)
{
	struct observer *observer = arg;

	while (atomic_load(&observer->copy->copied) < PIECES(50))
		sched_yield();
	atomic_store(&observer->cancel, true);
	return NULL;
}

static void progress_is_seen_and_cancel_is_set_by_another_thread(void **state)
{
	struct fixture *f = fixture_of(state);
	int src = temp_file(PIECES(200), 1);
	int dst = temp_file(0, 0);
	struct pool_copy copy = copy_of(f, src, dst, UINT64_MAX);
	struct observer observer = { .copy = &copy };
	pthread_t thread;

	copy.cancel = &observer.cancel;
	assert_int_equal(pthread_create(&thread, NULL, watch_and_cancel, &observer), 0);
	assert_true(pool_copy_run(&copy) >= (int64_t)PIECES(50));
	pthread_join(thread, NULL);
	expect_rest(f);
	close(src);
	close(dst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_EACH_KIND(a_file_of_any_size_is_copied_whole),
		ON_EACH_KIND(nothing_to_copy_is_zero),
		ON_EACH_KIND(a_range_is_copied_to_another_place_and_no_byte_around_it_is_read),
		ON_EACH_KIND(a_range_may_be_copied_within_one_file),
		ON_EACH_KIND(a_file_without_a_size_is_copied_whole),
		ON_EACH_KIND(ranges_that_no_file_has_are_refused),
		ON_EACH_KIND(bad_descriptors_are_told),
		ON_EACH_KIND(a_file_that_ends_at_a_known_size_is_read_once),
		ON_EACH_KIND(writes_are_issued_in_order_and_one_at_a_time),
		ON_EACH_KIND(one_lane_is_enough_and_too_many_are_no_harm),
		ON_EACH_KIND(a_source_that_shrinks_ends_the_copy_there),
		ON_EACH_KIND(a_source_that_grows_is_copied_as_far_as_asked),
		ON_EACH_KIND(soft_faults_change_nothing),
		ON_EACH_KIND(a_failed_write_ends_the_copy_with_what_was_written_before),
		ON_EACH_KIND(a_failed_read_ends_the_copy_with_all_that_lies_before_it),
		ON_EACH_KIND(a_write_that_fails_in_the_middle_leaves_its_first_part),
		ON_EACH_KIND(a_write_that_takes_nothing_is_an_error),
		ON_EACH_KIND(a_full_device_ends_the_copy),
		ON_EACH_KIND(a_cancelled_copy_ends_with_its_prefix),
		ON_EACH_KIND(a_copy_that_is_cancelled_before_it_starts_does_nothing),
		ON_EACH_KIND(done_comes_from_ring_run_and_may_free_the_copy),
		ON_EACH_KIND(closing_the_pool_ends_a_copy),
		ON_EACH_KIND(a_copy_takes_the_buffers_that_it_can_get),
		ON_EACH_KIND(a_copy_without_a_buffer_waits_for_one),
		ON_EACH_KIND(a_copy_that_could_only_wait_for_ever_is_refused),
		ON_EACH_KIND(copies_share_a_pool_evenly),
		ON_EACH_KIND(direct_descriptors_are_copied_with_an_unaligned_end_of_the_source),
		ON_EACH_KIND(a_killed_copy_leaves_a_prefix),
		ON_EACH_KIND(random_faults_in_many_threads_lose_no_buffer_and_no_byte),
		ON_EACH_KIND(progress_is_seen_and_cancel_is_set_by_another_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
