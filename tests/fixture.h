/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

/*
 * What the unit tests share: a ring with a pool in one of three kinds, and temporary files.
 *
 * ON_EACH_KIND(test) lists a test three times, once for each kind; fixture_of() skips it where the
 * machine has no io_uring.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "fault.h"
#include "pool/pool.h"

#define BUFFER_SIZE  16384
#define BUFFER_COUNT 4

enum kind {
	KIND_FIXED, /* a ring with a registered pool */
	KIND_UNREGISTERED, /* a ring with a pool that is not */
	KIND_PLAIN, /* no io_uring */
};

struct fixture {
	enum kind kind;
	struct ring *ring;
	struct pool *pool;
};

/* false: this machine cannot do that kind. */
bool fixture_init(struct fixture *f, enum kind kind, size_t buffer_size, unsigned count);
void fixture_fini(struct fixture *f); /* closes, and thereby asserts that every buffer is HOME */

int setup_fixed(void **state);
int setup_unregistered(void **state);
int setup_plain(void **state);
int teardown(void **state);
struct fixture *fixture_of(void **state);

#define ON_EACH_KIND(test)                                                             \
	{ #test " [fixed]", test, setup_fixed, teardown, NULL },                       \
		{ #test " [unregistered]", test, setup_unregistered, teardown, NULL }, \
	{                                                                              \
#test " [plain]", test, setup_plain, teardown, NULL                    \
	}

/* Asserts how many buffers are where. */
void expect_places(const struct pool *pool, unsigned home, unsigned lent, unsigned kernel);

/* An unlinked temporary file of size bytes of the pattern. */
int temp_file(uint64_t size, uint64_t seed);
uint64_t file_size(int fd);

/* The pattern: bytes that differ from offset to offset, and from seed to seed. */
void pattern_fill(void *data, uint64_t offset, size_t length, uint64_t seed);
bool pattern_is(const void *data, uint64_t offset, size_t length, uint64_t seed);

/* Whether a file has length bytes of the pattern, starting with that of from. */
bool file_has(int fd, uint64_t offset, uint64_t length, uint64_t from, uint64_t seed);

/* Runs body in a child. Returns its exit status; 128 + signal when it was killed. */
int in_child(int (*body)(void *arg), void *arg);

/* What a child returns when it cannot test what it should. */
#define CHILD_SKIP 77

#endif
