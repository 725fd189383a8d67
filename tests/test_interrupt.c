/* SPDX-License-Identifier: MIT */
#include "fs_fixture.h"

#include "fs/interrupt.h"
#include "fs/ops.h"

struct listener {
	struct interruptible interruptible;
	unsigned interrupted;
};

static void on_interrupt(struct interruptible *interruptible)
{
	((struct listener *)interruptible)->interrupted++;
}

static struct listener listener_of(uint64_t unique)
{
	return (struct listener){
		.interruptible = { .unique = unique, .interrupt = on_interrupt },
	};
}

static int setup(void **state)
{
	static struct fs_fixture f;

	fs_fixture_init(&f, &(struct options){ 0 });
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	fs_fixture_fini(*state);
	return 0;
}

static void send_interrupt(struct fs_fixture *f, uint64_t unique)
{
	const struct fuse_interrupt_in in = { .unique = unique };
	struct exchange x;

	exchange_init(&x, f, 0, &in);
	exchange_run(&x, op_interrupt);
	assert_true(x.finished);
	exchange_fini(&x);
}

static void an_interrupt_reaches_its_request_and_no_other(void **state)
{
	struct fs_fixture *f = *state;
	struct interrupt_table *table = &f->fs->interrupts;
	struct listener a = listener_of(10);
	struct listener b = listener_of(12);
	struct listener c = listener_of(14);

	interrupt_register(table, &a.interruptible);
	interrupt_register(table, &b.interruptible);
	interrupt_register(table, &c.interruptible);
	send_interrupt(f, 12);
	interrupt_unregister(table, &b.interruptible);
	assert_int_equal(a.interrupted, 0);
	assert_int_equal(b.interrupted, 1);
	assert_int_equal(c.interrupted, 0);
	send_interrupt(f, 14);
	assert_int_equal(c.interrupted, 1);
	interrupt_unregister(table, &a.interruptible);
	interrupt_unregister(table, &c.interruptible);
}

static void an_interrupt_that_comes_first_is_remembered_once(void **state)
{
	struct fs_fixture *f = *state;
	struct interrupt_table *table = &f->fs->interrupts;
	struct listener early = listener_of(20);
	struct listener again = listener_of(20);

	send_interrupt(f, 20);
	interrupt_register(table, &early.interruptible);
	assert_int_equal(early.interrupted, 1);
	interrupt_unregister(table, &early.interruptible);

	interrupt_register(table, &again.interruptible);
	assert_int_equal(again.interrupted, 0);
	interrupt_unregister(table, &again.interruptible);
}

static void the_last_early_interrupts_are_remembered(void **state)
{
	struct fs_fixture *f = *state;
	struct interrupt_table *table = &f->fs->interrupts;

	for (uint64_t i = 0; i < INTERRUPT_EARLY + 5; i++)
		send_interrupt(f, 100 + i);
	for (uint64_t i = 0; i < INTERRUPT_EARLY + 5; i++) {
		struct listener listener = listener_of(100 + i);

		interrupt_register(table, &listener.interruptible);
		assert_int_equal(listener.interrupted, i >= 5);
		interrupt_unregister(table, &listener.interruptible);
	}
}

static void number_zero_is_nobody(void **state)
{
	struct fs_fixture *f = *state;
	struct listener nobody = listener_of(0);

	send_interrupt(f, 0);
	interrupt_register(&f->fs->interrupts, &nobody.interruptible);
	assert_int_equal(nobody.interrupted, 0);
	interrupt_unregister(&f->fs->interrupts, &nobody.interruptible);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_interrupt_reaches_its_request_and_no_other,
						setup, teardown),
		cmocka_unit_test_setup_teardown(an_interrupt_that_comes_first_is_remembered_once,
						setup, teardown),
		cmocka_unit_test_setup_teardown(the_last_early_interrupts_are_remembered, setup,
						teardown),
		cmocka_unit_test_setup_teardown(number_zero_is_nobody, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
