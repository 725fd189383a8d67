/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pool/io.h"

struct wait_probe {
	struct pool_waiter waiter;
	unsigned calls;
	struct pool_buffer *buffer;
	unsigned *sequence; /* NULL, or counts the callbacks of several */
	unsigned order;
};

static void wait_probe_ready(struct pool_waiter *waiter, struct pool_buffer *buffer)
{
	struct wait_probe *probe = (struct wait_probe *)waiter;

	probe->calls++;
	probe->buffer = buffer;
	if (probe->sequence)
		probe->order = ++*probe->sequence;
}

static void lend_all(struct pool *pool, struct pool_buffer **buffer)
{
	for (unsigned i = 0; i < BUFFER_COUNT; i++) {
		buffer[i] = pool_lend(pool);
		assert_non_null(buffer[i]);
	}
	assert_null(pool_lend(pool));
	expect_places(pool, 0, BUFFER_COUNT, 0);
}

static void return_all(struct pool_buffer **buffer)
{
	for (unsigned i = 0; i < BUFFER_COUNT; i++)
		pool_return(buffer[i]);
}

/* ---- shape ---- */

static void sizes_are_rounded_up_to_pages_and_memory_is_page_aligned(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct pool_options options = { .buffer_size = page + 1, .headroom = 80, .count = 3 };
	struct ring *ring = fixture_of(state)->ring;
	struct pool_buffer *buffer[3];
	struct pool *pool;

	options.unregistered = true; /* the fixture's pool has the ring's registration */
	assert_int_equal(pool_new(ring, &options, &pool), 0);
	assert_int_equal(pool_buffer_size(pool), 2 * page);
	assert_int_equal(pool_count(pool), 3);
	assert_int_equal(pool_bytes(pool), 3 * 3 * page);
	assert_int_equal(pool_register_error(pool), 0);
	assert_ptr_equal(pool_ring(pool), ring);
	for (unsigned i = 0; i < 3; i++) {
		char *data;

		buffer[i] = pool_lend(pool);
		data = pool_buffer_data(buffer[i]);
		assert_ptr_equal(pool_buffer_pool(buffer[i]), pool);
		assert_int_equal((uintptr_t)data % page, 0);
		memset(data - page, (int)i, 3 * page); /* the headroom is the borrower's, too */
	}
	for (unsigned i = 0; i < 3; i++) {
		char *start = (char *)pool_buffer_data(buffer[i]) - page;

		for (size_t k = 0; k < 3 * page; k++)
			assert_int_equal(start[k], i);
		pool_return(buffer[i]);
	}
	pool_close(pool);
	pool_free(pool);
}

static void senseless_options_are_refused(void **state)
{
	static char area;
	static const struct pool_options options[] = {
		{ .buffer_size = 4096, .count = 0 },
		{ .buffer_size = 0, .count = 1 },
		{ .buffer_size = 4096, .count = 1, .min_count = 2 },
		{ .buffer_size = (size_t)1 << 31, .count = 1 },
		{ .buffer_size = 4096, .headroom = SIZE_MAX, .count = 1 },
		{ .buffer_size = 8192, .count = 1, .area = &area, .area_size = 4096 },
		{ .buffer_size = 4096, .count = 2, .area = &area, .area_size = 8192 },
		{ .buffer_size = 4096,
		  .headroom = 1,
		  .count = 1,
		  .area = &area,
		  .area_size = 8192 },
	};
	struct pool *pool;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		assert_int_equal(pool_new(fixture_of(state)->ring, &options[i], &pool), -EINVAL);
}

static void no_memory_is_an_error(void **state)
{
	struct pool_options options = { .buffer_size = 4096, .count = 1 };
	struct ring *ring = fixture_of(state)->ring;
	struct pool *pool;

	fault_set(FAULT_CALLOC, 1, 1, -ENOMEM);
	assert_int_equal(pool_new(ring, &options, &pool), -ENOMEM);
	fault_set(FAULT_MMAP, 1, 1, -ENOMEM);
	assert_int_equal(pool_new(ring, &options, &pool), -ENOMEM);
}

static void closing_and_freeing_no_pool_is_allowed(void **state)
{
	pool_close(NULL);
	pool_free(NULL);
}

/* ---- lending ---- */

static void a_buffer_is_lent_and_comes_home(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	struct pool_buffer *buffer[BUFFER_COUNT];

	expect_places(pool, BUFFER_COUNT, 0, 0);
	lend_all(pool, buffer);
	for (unsigned i = 0; i < BUFFER_COUNT; i++)
		for (unsigned k = 0; k < i; k++)
			assert_ptr_not_equal(pool_buffer_data(buffer[i]),
					     pool_buffer_data(buffer[k]));
	return_all(buffer);
	expect_places(pool, BUFFER_COUNT, 0, 0);
}

static void the_buffer_that_came_home_last_is_lent_first(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	struct pool_buffer *buffer[BUFFER_COUNT];

	lend_all(pool, buffer);
	return_all(buffer);
	assert_ptr_equal(pool_lend(pool), buffer[BUFFER_COUNT - 1]);
	pool_return(buffer[BUFFER_COUNT - 1]);
}

/* ---- waiting ---- */

static void a_wait_with_a_buffer_at_home_is_served_by_the_next_run(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	struct wait_probe probe = { .waiter.ready = wait_probe_ready };

	pool_lend_wait(pool, &probe.waiter);
	assert_int_equal(probe.calls, 0);
	assert_int_equal(ring_run(pool_ring(pool), true), 1);
	assert_int_equal(probe.calls, 1);
	assert_non_null(probe.buffer);
	memset(pool_buffer_data(probe.buffer), 1, pool_buffer_size(pool));
	expect_places(pool, BUFFER_COUNT - 1, 1, 0);
	pool_return(probe.buffer);
}

static void waiters_are_served_first_come_first_served(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	struct pool_buffer *buffer[BUFFER_COUNT];
	struct wait_probe probe[BUFFER_COUNT];
	unsigned sequence = 0;

	lend_all(pool, buffer);
	for (unsigned i = 0; i < BUFFER_COUNT; i++) {
		probe[i] = (struct wait_probe){ .waiter.ready = wait_probe_ready,
						.sequence = &sequence };
		pool_lend_wait(pool, &probe[i].waiter);
	}
	assert_int_equal(ring_run(pool_ring(pool), true), 0); /* nothing will come by itself */
	return_all(buffer);
	assert_null(pool_lend(pool)); /* they are not for whoever asks now */
	assert_int_equal(sequence, 0);
	assert_int_equal(ring_run(pool_ring(pool), true), BUFFER_COUNT);
	for (unsigned i = 0; i < BUFFER_COUNT; i++) {
		assert_int_equal(probe[i].order, i + 1);
		assert_ptr_equal(probe[i].buffer, buffer[i]);
		pool_return(probe[i].buffer);
	}
}

static void wait_three(struct pool *pool, struct wait_probe probe[3])
{
	for (unsigned i = 0; i < 3; i++) {
		probe[i] = (struct wait_probe){ .waiter.ready = wait_probe_ready };
		pool_lend_wait(pool, &probe[i].waiter);
	}
}

static void a_cancelled_wait_is_told_so_once(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	struct pool_buffer *buffer[BUFFER_COUNT];
	struct wait_probe probe[3];

	lend_all(pool, buffer);
	wait_three(pool, probe);
	pool_lend_cancel(&probe[1].waiter); /* from the middle, and then the end */
	pool_lend_cancel(&probe[2].waiter);
	pool_lend_cancel(&probe[1].waiter);
	assert_int_equal(probe[1].calls, 0);
	assert_int_equal(ring_run(pool_ring(pool), true), 2);
	assert_int_equal(probe[1].calls, 1);
	assert_null(probe[1].buffer);
	assert_int_equal(probe[2].calls, 1);
	return_all(buffer);
	assert_int_equal(ring_run(pool_ring(pool), true), 1);
	assert_non_null(probe[0].buffer);
	pool_return(probe[0].buffer);
}

static void a_cancel_that_comes_too_late_brings_the_buffer(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	struct wait_probe probe = { .waiter.ready = wait_probe_ready };

	pool_lend_wait(pool, &probe.waiter);
	pool_lend_cancel(&probe.waiter);
	assert_int_equal(ring_run(pool_ring(pool), true), 1);
	assert_non_null(probe.buffer);
	pool_return(probe.buffer);
}

static void closing_tells_every_waiter_and_lends_no_more(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	struct pool_buffer *buffer[BUFFER_COUNT];
	struct wait_probe probe[3];

	lend_all(pool, buffer);
	wait_three(pool, probe);
	pool_close(pool);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(probe[i].calls, 1);
		assert_null(probe[i].buffer);
	}
	return_all(buffer); /* what is lent comes back after the closing */
	assert_null(pool_lend(pool));
	pool_lend_wait(pool, &probe[0].waiter);
	assert_int_equal(ring_run(pool_ring(pool), true), 1);
	assert_int_equal(probe[0].calls, 2);
	assert_null(probe[0].buffer);
}

struct write_probe {
	struct pool_io io;
	unsigned calls;
};

static void write_probe_done(struct pool_io *io, ssize_t result)
{
	((struct write_probe *)io)->calls++;
}

static void closing_waits_for_the_kernel(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	struct write_probe probe[BUFFER_COUNT];
	int fd = temp_file(0, 0);

	for (unsigned i = 0; i < BUFFER_COUNT; i++) {
		struct pool_buffer *buffer = pool_lend(pool);

		pattern_fill(pool_buffer_data(buffer), i * BUFFER_SIZE, BUFFER_SIZE, 1);
		probe[i] = (struct write_probe){ .io = { .done = write_probe_done,
							 .buffer = buffer,
							 .fd = fd,
							 .offset = i * BUFFER_SIZE,
							 .length = BUFFER_SIZE } };
		pool_write_fixed(&probe[i].io);
	}
	expect_places(pool, 0, 0, BUFFER_COUNT);
	pool_close(pool);
	for (unsigned i = 0; i < BUFFER_COUNT; i++)
		assert_int_equal(probe[i].calls, 1);
	expect_places(pool, BUFFER_COUNT, 0, 0);
	assert_true(file_has(fd, 0, BUFFER_COUNT * BUFFER_SIZE, 0, 1));
	close(fd);
}

/* ---- registration ---- */

/* Makes a ring and a pool of 8 buffers, at least min_count, with the fault that is set. */
static void new_pool_of_8(unsigned min_count, struct ring **ret_ring, struct pool **ret_pool)
{
	struct ring_options ring_options = { .entries = 8 };
	struct pool_options options = { .buffer_size = 4096, .count = 8, .min_count = min_count };

	assert_int_equal(ring_new(&ring_options, ret_ring), 0);
	if (ring_is_plain(*ret_ring)) {
		ring_free(*ret_ring);
		skip();
	}
	assert_int_equal(pool_new(*ret_ring, &options, ret_pool), 0);
}

static void free_both(struct ring *ring, struct pool *pool)
{
	pool_close(pool);
	pool_free(pool);
	ring_free(ring);
}

static void without_memlock_for_all_the_count_is_halved(void **state)
{
	static const struct {
		unsigned failures, min_count, count;
	} cases[] = {
		{ 0, 1, 8 }, { 1, 1, 4 }, { 2, 0, 2 }, { 3, 1, 1 }, { 2, 3, 3 }, { 1, 8, 0 }
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ring *ring;
		struct pool *pool;

		fault_clear();
		fault_set(FAULT_REGISTER, 1, cases[i].failures, -ENOMEM);
		new_pool_of_8(cases[i].min_count, &ring, &pool);
		if (cases[i].count) {
			assert_true(pool_is_registered(pool));
			assert_int_equal(pool_register_error(pool), 0);
			assert_int_equal(pool_count(pool), cases[i].count);
			assert_int_equal(pool_bytes(pool), cases[i].count * 4096);
			expect_places(pool, cases[i].count, 0, 0);
		} else { /* all of them, unregistered */
			assert_false(pool_is_registered(pool));
			assert_int_equal(pool_register_error(pool), -ENOMEM);
			assert_int_equal(pool_count(pool), 8);
		}
		free_both(ring, pool);
	}
}

static void another_failure_to_register_is_not_tried_again(void **state)
{
	struct ring *ring;
	struct pool *pool;

	fault_set(FAULT_REGISTER, 1, 100, -EOPNOTSUPP);
	new_pool_of_8(1, &ring, &pool);
	assert_int_equal(fault_calls(FAULT_REGISTER), 1);
	assert_false(pool_is_registered(pool));
	assert_int_equal(pool_register_error(pool), -EOPNOTSUPP);
	assert_int_equal(pool_count(pool), 8);
	free_both(ring, pool);
}

static void a_plain_ring_says_why_its_pool_is_not_registered(void **state)
{
	struct ring_options ring_options = { .entries = 8, .plain = true };
	struct pool_options options = { .buffer_size = 4096, .count = 8 };
	struct ring *ring;
	struct pool *pool;

	assert_int_equal(ring_new(&ring_options, &ring), 0);
	assert_int_equal(pool_new(ring, &options, &pool), 0);
	assert_false(pool_is_registered(pool));
	assert_int_equal(pool_register_error(pool), -EOPNOTSUPP);
	assert_int_equal(pool_count(pool), 8);
	free_both(ring, pool);
}

/* Becomes an ordinary user that may lock 64 KiB; no one else has that uid's account. */
static bool drop_privileges(void)
{
	struct rlimit limit = { 65536, 65536 };

	return geteuid() == 0 && setgroups(0, NULL) == 0 && setgid(64999) == 0 &&
	       setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && setuid(64999) == 0;
}

static int with_64k_of_memlock(void *arg)
{
	struct ring_options ring_options = { .entries = 8 };
	struct pool_options options = { .buffer_size = 16384, .count = 64 };
	struct ring *ring;
	struct pool *pool;
	int ret = 0;

	if (!drop_privileges())
		return CHILD_SKIP;
	if (ring_new(&ring_options, &ring) < 0)
		return 1;
	if (ring_is_plain(ring))
		return CHILD_SKIP;
	options.min_count = *(unsigned *)arg;
	if (pool_new(ring, &options, &pool) < 0)
		return 2;
	if (options.min_count == 1 && (!pool_is_registered(pool) || pool_count(pool) > 4))
		ret = 3;
	if (options.min_count == 64 && (pool_is_registered(pool) || pool_count(pool) != 64 ||
					pool_register_error(pool) != -ENOMEM))
		ret = 4;
	free_both(ring, pool);
	return ret;
}

static void a_user_with_little_memlock_gets_fewer_buffers_or_unregistered_ones(void **state)
{
	unsigned min_count[] = { 1, 64 };

	for (unsigned i = 0; i < 2; i++) {
		int status = in_child(with_64k_of_memlock, &min_count[i]);

		if (status == CHILD_SKIP)
			skip();
		assert_int_equal(status, 0);
	}
}

static void more_than_one_registration_may_span_is_halved_as_well(void **state)
{
	struct ring *ring;
	struct pool *pool;

	fault_set(FAULT_REGISTER, 1, 1, -EFAULT); /* the kernel's answer above 1 GiB */
	new_pool_of_8(1, &ring, &pool);
	assert_true(pool_is_registered(pool));
	assert_int_equal(pool_count(pool), 4);
	free_both(ring, pool);
}

/* ---- other threads, and AddressSanitizer ---- */

static void *watch_counts(void *arg)
{
	struct pool *pool = arg;
	struct pool_counts counts;

	do {
		counts = pool_counts(pool);
	} while (counts.home != BUFFER_COUNT - 1); /* the sign to end */
	return NULL;
}

static void counts_may_be_read_by_any_thread(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	struct pool_buffer *buffer[BUFFER_COUNT];
	pthread_t thread;

	lend_all(pool, buffer);
	assert_int_equal(pthread_create(&thread, NULL, watch_counts, pool), 0);
	for (unsigned i = 0; i < 1000; i++) {
		pool_return(buffer[0]);
		buffer[0] = pool_lend(pool);
	}
	for (unsigned i = 1; i < BUFFER_COUNT; i++)
		pool_return(buffer[i]);
	pthread_join(thread, NULL);
	pool_return(buffer[0]);
}

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif

#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>

static void only_lent_memory_is_not_poisoned(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	struct pool_buffer *buffer = pool_lend(pool);
	unsigned char *data = pool_buffer_data(buffer);
	struct write_probe probe = { .io = { .done = write_probe_done,
					     .buffer = buffer,
					     .fd = temp_file(0, 0),
					     .length = 1 } };

	data[0] = 1;
	assert_null(__asan_region_is_poisoned(data, BUFFER_SIZE));
	pool_write_fixed(&probe.io);
	assert_true(__asan_address_is_poisoned(data));
	assert_true(__asan_address_is_poisoned(data + BUFFER_SIZE - 1));
	while (!probe.calls)
		ring_run(pool_ring(pool), true);
	assert_true(__asan_address_is_poisoned(data));
	close(probe.io.fd);
}

static void memory_of_a_freed_pool_is_not_poisoned_for_the_next_owner(void **state)
{
	struct ring *ring = fixture_of(state)->ring;
	struct pool_options options = { .buffer_size = 4096, .count = 2, .unregistered = true };
	struct pool_buffer *buffer;
	struct pool *pool;
	char *data;

	assert_int_equal(pool_new(ring, &options, &pool), 0);
	buffer = pool_lend(pool);
	data = pool_buffer_data(buffer);
	pool_return(buffer);
	assert_true(__asan_address_is_poisoned(data));
	pool_free(pool);
	assert_false(__asan_address_is_poisoned(data));
}
#endif

static int clean(void **state)
{
	fault_clear();
	return 0;
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, clean, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_EACH_KIND(sizes_are_rounded_up_to_pages_and_memory_is_page_aligned),
		ON_EACH_KIND(senseless_options_are_refused),
		ON_EACH_KIND(no_memory_is_an_error),
		TEST(closing_and_freeing_no_pool_is_allowed),
		ON_EACH_KIND(a_buffer_is_lent_and_comes_home),
		ON_EACH_KIND(the_buffer_that_came_home_last_is_lent_first),
		ON_EACH_KIND(a_wait_with_a_buffer_at_home_is_served_by_the_next_run),
		ON_EACH_KIND(waiters_are_served_first_come_first_served),
		ON_EACH_KIND(a_cancelled_wait_is_told_so_once),
		ON_EACH_KIND(a_cancel_that_comes_too_late_brings_the_buffer),
		ON_EACH_KIND(closing_tells_every_waiter_and_lends_no_more),
		ON_EACH_KIND(closing_waits_for_the_kernel),
		TEST(without_memlock_for_all_the_count_is_halved),
		TEST(another_failure_to_register_is_not_tried_again),
		TEST(a_plain_ring_says_why_its_pool_is_not_registered),
		TEST(a_user_with_little_memlock_gets_fewer_buffers_or_unregistered_ones),
		TEST(more_than_one_registration_may_span_is_halved_as_well),
		ON_EACH_KIND(counts_may_be_read_by_any_thread),
#ifdef HAVE_ASAN
		ON_EACH_KIND(only_lent_memory_is_not_poisoned),
		ON_EACH_KIND(memory_of_a_freed_pool_is_not_poisoned_for_the_next_owner),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
