/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/residency.h"

#define SIZE 1000000

static int make_file(void)
{
	char name[] = "/tmp/zcfs-residency-XXXXXX";
	char *data = calloc(1, SIZE);
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	assert_non_null(data);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(write(fd, data, SIZE), SIZE);
	free(data);
	return fd;
}

/* What was just written and not yet written back is resident for certain; what was never there is
 * not. */
static void expect_both(int (*ask)(int, uint64_t, uint64_t, uint64_t *))
{
	int fd = make_file();
	uint64_t bytes;

	assert_int_equal(ask(fd, 0, SIZE, &bytes), 0);
	assert_true(bytes >= SIZE && bytes < SIZE + 65536);
	assert_int_equal(ask(fd, 500001, 10, &bytes), 0);
	assert_true(bytes >= 10 && bytes <= 65536);
	assert_int_equal(ftruncate(fd, 100 << 20), 0);
	assert_int_equal(ask(fd, 10 << 20, 90 << 20, &bytes), 0);
	assert_int_equal(bytes, 0);
	close(fd);
}

static void cached_pages_are_counted(void **state)
{
	expect_both(residency);
}

static void cached_pages_are_counted_without_cachestat(void **state)
{
	expect_both(residency_by_mincore);
}

static void no_file_is_an_error(void **state)
{
	uint64_t bytes;

	assert_true(residency(-1, 0, 1, &bytes) < 0);
	assert_true(residency_by_mincore(-1, 0, 1, &bytes) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cached_pages_are_counted),
		cmocka_unit_test(cached_pages_are_counted_without_cachestat),
		cmocka_unit_test(no_file_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
