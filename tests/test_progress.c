/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/progress.h"

/* A request for so many bytes from offset on, of a source of 1000 bytes, to 5 bytes further on. */
static struct progress request(uint64_t offset, uint64_t length)
{
	return (struct progress){
		.src = 1,
		.dst = 2,
		.shift = 5,
		.first = offset,
		.next = offset,
		.end = offset + length,
		.source_end = 1000,
		.started = { .tv_sec = 100 + (time_t)offset },
	};
}

/* It has copied so many bytes. */
static void pause_after(struct progress_list *list, struct progress progress, uint64_t bytes)
{
	progress.next += bytes;
	progress_pause(list, &progress);
}

static void what_goes_on_is_the_same_copy(void **state)
{
	struct progress_list list = { .count = 0 };
	struct progress next = request(300, 500);

	pause_after(&list, request(100, 700), 200);
	assert_true(progress_resume(&list, &next));
	assert_int_equal(next.first, 100);
	assert_int_equal(next.next, 300);
	assert_int_equal(next.end, 800);
	assert_int_equal(next.started.tv_sec, 200);
	assert_int_equal(list.count, 0);
}

static void a_hole_that_was_left_out_is_no_other_copy(void **state)
{
	struct progress_list list = { .count = 0 };
	struct progress next = request(600, 400);

	pause_after(&list, request(0, 1000), 200);
	assert_true(progress_resume(&list, &next));
	assert_int_equal(next.first, 0);
	assert_int_equal(next.next, 600);
	assert_int_equal(next.end, 1000);
}

static void who_asks_for_pieces_goes_on_to_the_end_of_the_source(void **state)
{
	struct progress_list list = { .count = 0 };
	struct progress second = request(100, 100);

	pause_after(&list, request(0, 100), 100);
	assert_false(progress_is_going_on(&list.kept[0])); /* as far as anybody can know */
	assert_true(progress_resume(&list, &second));
	assert_int_equal(second.end, 1000);
}

static void a_source_that_shrank_ends_the_copy_sooner(void **state)
{
	struct progress_list list = { .count = 0 };
	struct progress next = request(200, 100);

	next.source_end = 300;
	pause_after(&list, request(0, 1000), 200);
	assert_true(progress_resume(&list, &next));
	assert_int_equal(next.end, 300);
}

static void what_is_elsewhere_is_another_copy(void **state)
{
	struct progress others[] = { request(200, 800), request(200, 800), request(200, 800),
				     request(199, 801) };

	others[0].src = 3;
	others[1].dst = 3;
	others[2].shift = 6;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct progress_list list = { .count = 0 };
		struct progress before = others[i];

		pause_after(&list, request(0, 1000), 200);
		assert_false(progress_resume(&list, &others[i]));
		assert_memory_equal(&before, &others[i], sizeof(before));
		/* Of the same two files only the newest is kept. */
		assert_int_equal(list.count, i < 2 ? 1 : 0);
	}
}

static void a_complete_copy_is_not_kept(void **state)
{
	struct progress_list list = { .count = 0 };

	pause_after(&list, request(100, 900), 900);
	assert_int_equal(list.count, 0);
}

static void of_too_many_the_oldest_are_forgotten(void **state)
{
	struct progress_list list = { .count = 0 };

	for (uint64_t i = 0; i < PROGRESS_KEPT_MAX + 3; i++) {
		struct progress one = request(0, 1000);

		one.src = i;
		pause_after(&list, one, 10);
	}
	assert_int_equal(list.count, PROGRESS_KEPT_MAX);
	for (uint64_t i = 0; i < PROGRESS_KEPT_MAX + 3; i++) {
		struct progress next = request(10, 990);

		next.src = i;
		assert_int_equal(progress_resume(&list, &next), i >= 3);
	}
	assert_int_equal(list.count, 0);
}

static void a_long_pause_is_the_end(void **state)
{
	struct progress_list list = { .count = 0 };
	struct progress *kept = &list.kept[0], next = request(10, 990);

	pause_after(&list, request(0, 1000), 10);
	assert_true(progress_is_going_on(kept));
	kept->paused.tv_sec -= 3;
	assert_false(progress_is_going_on(kept));
	assert_false(progress_resume(&list, &next));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_on_is_the_same_copy),
		cmocka_unit_test(a_hole_that_was_left_out_is_no_other_copy),
		cmocka_unit_test(who_asks_for_pieces_goes_on_to_the_end_of_the_source),
		cmocka_unit_test(a_source_that_shrank_ends_the_copy_sooner),
		cmocka_unit_test(what_is_elsewhere_is_another_copy),
		cmocka_unit_test(a_complete_copy_is_not_kept),
		cmocka_unit_test(of_too_many_the_oldest_are_forgotten),
		cmocka_unit_test(a_long_pause_is_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
