/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

bool fixture_init(struct fixture *f, enum kind kind, size_t buffer_size, unsigned count)
{
	struct ring_options ring_options = { .entries = 64, .plain = kind == KIND_PLAIN };
	struct pool_options pool_options = {
		.buffer_size = buffer_size,
		.count = count,
		.min_count = count,
		.unregistered = kind != KIND_FIXED,
	};

	f->kind = kind;
	if (ring_new(&ring_options, &f->ring) < 0)
		abort();
	if (pool_new(f->ring, &pool_options, &f->pool) < 0)
		abort();
	return ring_is_plain(f->ring) == (kind == KIND_PLAIN) &&
	       pool_is_registered(f->pool) == (kind == KIND_FIXED);
}

void fixture_fini(struct fixture *f)
{
	pool_close(f->pool);
	pool_free(f->pool);
	ring_free(f->ring);
}

static int setup(void **state, enum kind kind)
{
	struct fixture *f = malloc(sizeof(*f));

	fault_clear();
	if (!fixture_init(f, kind, BUFFER_SIZE, BUFFER_COUNT)) {
		fixture_fini(f);
		free(f);
		f = NULL;
	}
	fault_clear();
	*state = f;
	return 0;
}

int setup_fixed(void **state)
{
	return setup(state, KIND_FIXED);
}

int setup_unregistered(void **state)
{
	return setup(state, KIND_UNREGISTERED);
}

int setup_plain(void **state)
{
	return setup(state, KIND_PLAIN);
}

int teardown(void **state)
{
	struct fixture *f = *state;

	fault_clear();
	if (f)
		fixture_fini(f);
	free(f);
	return 0;
}

struct fixture *fixture_of(void **state)
{
	if (!*state)
		skip();
	return *state;
}

void expect_places(const struct pool *pool, unsigned home, unsigned lent, unsigned kernel)
{
	struct pool_counts counts = pool_counts(pool);

	assert_int_equal(counts.home, home);
	assert_int_equal(counts.lent, lent);
	assert_int_equal(counts.kernel, kernel);
}

/* ---- files ---- */

static uint64_t pattern_word(uint64_t index, uint64_t seed)
{
	uint64_t x = (index + 1) * 0x9e3779b97f4a7c15ull + seed * 0xda942042e4dd58b5ull;

	x ^= x >> 31;
	x *= 0xbf58476d1ce4e5b9ull;
	return x ^ x >> 29;
}

static unsigned char pattern_byte(uint64_t offset, uint64_t seed)
{
	return (unsigned char)(pattern_word(offset / 8, seed) >> (offset % 8 * 8));
}

void pattern_fill(void *data, uint64_t offset, size_t length, uint64_t seed)
{
	unsigned char *byte = data;

	for (size_t i = 0; i < length; i++)
		byte[i] = pattern_byte(offset + i, seed);
}

bool pattern_is(const void *data, uint64_t offset, size_t length, uint64_t seed)
{
	const unsigned char *byte = data;

	for (size_t i = 0; i < length; i++)
		if (byte[i] != pattern_byte(offset + i, seed))
			return false;
	return true;
}

static void write_all(int fd, const char *data, size_t length)
{
	while (length) {
		ssize_t put = write(fd, data, length);

		assert(put > 0);
		data += put;
		length -= (size_t)put;
	}
}

int temp_file(uint64_t size, uint64_t seed)
{
	const char *directory = getenv("TMPDIR");
	char name[4096];
	char data[65536];
	int fd;

	snprintf(name, sizeof(name), "%s/pool-test-XXXXXX", directory ? directory : "/var/tmp");
	fd = mkstemp(name);
	assert(fd >= 0);
	unlink(name);
	for (uint64_t at = 0; at < size; at += sizeof(data)) {
		size_t length = size - at < sizeof(data) ? (size_t)(size - at) : sizeof(data);

		pattern_fill(data, at, length, seed);
		write_all(fd, data, length);
	}
	return fd;
}

uint64_t file_size(int fd)
{
	struct stat st;
	int ret = fstat(fd, &st);

	assert(ret == 0);
	return (uint64_t)st.st_size;
}

/* With lseek() and read(): pread() may be at fault. */
bool file_has(int fd, uint64_t offset, uint64_t length, uint64_t from, uint64_t seed)
{
	char data[65536];

	lseek(fd, (off_t)offset, SEEK_SET);
	for (uint64_t at = 0; at < length;) {
		size_t want = length - at < sizeof(data) ? (size_t)(length - at) : sizeof(data);
		ssize_t got = read(fd, data, want);

		if (got <= 0 || !pattern_is(data, from + at, (size_t)got, seed))
			return false;
		at += (size_t)got;
	}
	return true;
}

/* ---- children ---- */

int in_child(int (*body)(void *arg), void *arg)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	assert(pid >= 0);
	if (pid == 0)
		_exit(body(arg));
	if (waitpid(pid, &status, 0) != pid)
		abort();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
