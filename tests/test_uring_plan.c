/* SPDX-License-Identifier: MIT */
/* How many workers and how much memory: hosts that the tests do not run on. The transport itself is
 * tested on real mounts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/uring_plan.h"

#define MIB ((size_t)1 << 20)

static size_t registered_at_first(const struct uring_plan *plan)
{
	return plan->payload * plan->queues * plan->workers;
}

static void a_small_host_has_two_workers_a_queue_and_whole_requests(void **state)
{
	struct uring_plan plan = uring_plan(2, 4, MIB, UINT64_MAX);

	assert_int_equal(plan.queues, 2);
	assert_int_equal(plan.workers, 2);
	assert_int_equal(plan.payload, MIB);
}

static void one_thread_is_one_for_each_queue(void **state)
{
	struct uring_plan plan = uring_plan(2, 1, MIB, UINT64_MAX);

	assert_int_equal(plan.workers, 1);
}

static void many_cpus_stay_within_the_budget(void **state)
{
	for (unsigned cpus = 1; cpus <= 1024; cpus *= 2) {
		struct uring_plan plan = uring_plan(cpus, 16, MIB, UINT64_MAX);

		assert_int_equal(plan.queues, cpus);
		assert_true(plan.workers >= 1);
		assert_true(registered_at_first(&plan) <= URING_BUDGET);
		assert_true(plan.payload >= URING_PAYLOAD_MIN);
	}
}

static void sixty_four_cpus_keep_requests_of_a_mebibyte(void **state)
{
	assert_int_equal(uring_plan(64, 16, MIB, UINT64_MAX).payload, MIB);
	assert_int_equal(uring_plan(256, 16, MIB, UINT64_MAX).payload, MIB);
	assert_int_equal(uring_plan(512, 16, MIB, UINT64_MAX).payload, MIB / 2);
}

static void what_may_be_locked_bounds_all_workers(void **state)
{
	struct uring_plan plan = uring_plan(2, 3, MIB, 4 * MIB);

	assert_int_equal(plan.payload, MIB / 2);
	assert_true((plan.workers_registered + 2) * (plan.payload + 4096) <= 4 * MIB);
	assert_true(plan.workers_registered > plan.queues);
}

static void too_little_to_lock_limits_nothing(void **state)
{
	struct uring_plan plan = uring_plan(2, 4, MIB, 32 << 10);

	assert_int_equal(plan.payload, URING_PAYLOAD_MIN);
	assert_int_equal(plan.workers_registered, 2 * URING_WORKERS_MAX);
}

static void a_small_request_still_holds_what_the_kernel_asks_for(void **state)
{
	assert_int_equal(uring_plan(2, 4, 4096, UINT64_MAX).payload, 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_host_has_two_workers_a_queue_and_whole_requests),
		cmocka_unit_test(one_thread_is_one_for_each_queue),
		cmocka_unit_test(many_cpus_stay_within_the_budget),
		cmocka_unit_test(sixty_four_cpus_keep_requests_of_a_mebibyte),
		cmocka_unit_test(what_may_be_locked_bounds_all_workers),
		cmocka_unit_test(too_little_to_lock_limits_nothing),
		cmocka_unit_test(a_small_request_still_holds_what_the_kernel_asks_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
