/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/refusal.h"

static void a_refusal_is_known_for_its_pair_in_its_direction(void **state)
{
	struct refusals refusals;

	refusals_init(&refusals);
	assert_false(refusal_is_known(&refusals, REFUSAL_CLONE, 0, 0));
	refusal_note(&refusals, REFUSAL_CLONE, 1, 2);
	assert_true(refusal_is_known(&refusals, REFUSAL_CLONE, 1, 2));
	assert_false(refusal_is_known(&refusals, REFUSAL_CLONE, 2, 1));
	assert_false(refusal_is_known(&refusals, REFUSAL_CLONE, 1, 1));
	refusals_fini(&refusals);
}

static void the_oldest_gives_way_and_one_place_is_enough_for_each(void **state)
{
	struct refusals refusals;

	refusals_init(&refusals);
	for (dev_t device = 0; device < REFUSALS; device++) {
		refusal_note(&refusals, REFUSAL_CLONE, device, 7);
		refusal_note(&refusals, REFUSAL_CLONE, device, 7);
	}
	for (dev_t device = 0; device < REFUSALS; device++)
		assert_true(refusal_is_known(&refusals, REFUSAL_CLONE, device, 7));
	refusal_note(&refusals, REFUSAL_CLONE, REFUSALS, 7);
	assert_false(refusal_is_known(&refusals, REFUSAL_CLONE, 0, 7));
	assert_true(refusal_is_known(&refusals, REFUSAL_CLONE, 1, 7));
	assert_true(refusal_is_known(&refusals, REFUSAL_CLONE, REFUSALS, 7));
	refusals_fini(&refusals);
}

static void a_refusal_is_forgotten_in_time(void **state)
{
	struct refusals refusals;

	refusals_init(&refusals);
	refusal_note(&refusals, REFUSAL_CLONE, 1, 2);
	refusals.entry[0].until = 0;
	assert_false(refusal_is_known(&refusals, REFUSAL_CLONE, 1, 2));
	refusals_fini(&refusals);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_is_known_for_its_pair_in_its_direction),
		cmocka_unit_test(the_oldest_gives_way_and_one_place_is_enough_for_each),
		cmocka_unit_test(a_refusal_is_forgotten_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
