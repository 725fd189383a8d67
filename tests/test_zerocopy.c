/* SPDX-License-Identifier: MIT */
/* How much memory the pools take. The rest needs a kernel that has it: tests/mount/zerocopy.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/uring_plan.h"
#include "fs/zerocopy.h"

#define MIB ((size_t)1 << 20)

static void a_small_host_gets_all_the_buffers_there_are(void **state)
{
	assert_int_equal(zerocopy_buffers(2, 2, MIB), ZEROCOPY_BUFFERS_MAX);
	assert_int_equal(zerocopy_buffers(1, 1, 8192), ZEROCOPY_BUFFERS_MAX);
}

static void many_cpus_get_fewer_within_the_budget(void **state)
{
	assert_int_equal(zerocopy_buffers(64, 1, MIB), 4);
	assert_int_equal(zerocopy_buffers(256, 1, MIB / 4), 4);
	for (unsigned cpus = 1; cpus <= 1024; cpus *= 2) {
		struct uring_plan plan = uring_plan(cpus, 16, MIB, UINT64_MAX);
		unsigned buffers = zerocopy_buffers(plan.queues, plan.workers, plan.payload);

		assert_true(buffers * plan.queues * plan.payload <= URING_BUDGET);
	}
}

/* All workers of a queue may be stuck, and then one more must find a buffer. */
static void a_queue_without_a_buffer_to_spare_does_without(void **state)
{
	assert_int_equal(zerocopy_buffers(128, 1, MIB), 2);
	assert_int_equal(zerocopy_buffers(256, 1, MIB), 0);
	assert_int_equal(zerocopy_buffers(128, 2, MIB), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_host_gets_all_the_buffers_there_are),
		cmocka_unit_test(many_cpus_get_fewer_within_the_budget),
		cmocka_unit_test(a_queue_without_a_buffer_to_spare_does_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
