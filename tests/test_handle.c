/* SPDX-License-Identifier: MIT */
#include "fs_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/handle.h"
#include "fs/inode.h"

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

static struct handle *add(struct fs_fixture *f, enum handle_kind kind)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	return fs_fixture_handle(f, kind, FUSE_ROOT_ID, fd, O_RDONLY);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Whether the number finds something; of what it finds nothing is kept. */
static bool finds(struct fs_fixture *f, uint64_t fh, enum handle_kind kind)
{
	struct handle *handle = handle_get(f->fs->handles, fh, kind);

	if (handle)
		handle_put(handle);
	return handle;
}

static void a_number_finds_its_handle_and_is_not_zero(void **state)
{
	struct fs_fixture *f = *state;
	struct handle *handle = add(f, HANDLE_FILE);
	struct handle *got = handle_get(f->fs->handles, handle->id, HANDLE_FILE);

	assert_int_not_equal(handle->id, 0);
	assert_ptr_equal(got, handle);
	handle_put(got);
	assert_int_equal(handle_count(f->fs->handles), 1);
	handle_release(f->fs->handles, handle->id, HANDLE_FILE);
	assert_int_equal(handle_count(f->fs->handles), 0);
}

static void a_number_of_another_kind_is_refused(void **state)
{
	struct fs_fixture *f = *state;
	struct handle *handle = add(f, HANDLE_DIR);

	assert_false(finds(f, handle->id, HANDLE_FILE));
	assert_false(finds(f, handle->id, HANDLE_CONTROL));
	handle_release(f->fs->handles, handle->id, HANDLE_FILE);
	assert_true(finds(f, handle->id, HANDLE_DIR));
	handle_release(f->fs->handles, handle->id, HANDLE_DIR);
}

static void a_released_number_stays_void_when_its_slot_is_used_again(void **state)
{
	struct fs_fixture *f = *state;
	struct handle *first = add(f, HANDLE_FILE);
	uint64_t old = first->id;
	struct handle *second;

	handle_release(f->fs->handles, old, HANDLE_FILE);
	assert_false(finds(f, old, HANDLE_FILE));
	second = add(f, HANDLE_FILE);
	assert_int_equal((uint32_t)second->id, (uint32_t)old);
	assert_false(finds(f, old, HANDLE_FILE));
	handle_release(f->fs->handles, old, HANDLE_FILE);
	assert_true(finds(f, second->id, HANDLE_FILE));
	handle_release(f->fs->handles, second->id, HANDLE_FILE);
}

static void no_number_that_was_not_given_is_followed(void **state)
{
	struct fs_fixture *f = *state;
	struct handle *handle = add(f, HANDLE_FILE);
	static const uint64_t numbers[] = {
		0,	    1,		UINT32_MAX,	   UINT64_MAX, 1ULL << 32,
		2ULL << 32, 1ULL << 63, (1ULL << 32) + 64, INT64_MAX,  UINT64_MAX - 1
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		assert_true(numbers[i] == handle->id || !finds(f, numbers[i], HANDLE_FILE));
	srandom(1);
	for (int i = 0; i < 100000; i++) {
		uint64_t number = (uint64_t)random() << 33 ^ (uint64_t)random() << 11 ^ random();

		handle_release(f->fs->handles, number, HANDLE_DIR);
		assert_true(number == handle->id || !finds(f, number, HANDLE_FILE));
	}
	handle_release(f->fs->handles, handle->id, HANDLE_FILE);
}

static void the_descriptor_is_closed_with_the_last_reference(void **state)
{
	struct fs_fixture *f = *state;
	struct handle *handle = add(f, HANDLE_FILE);
	struct handle *reader = handle_get(f->fs->handles, handle->id, HANDLE_FILE);
	int fd = handle->fd;

	handle_release(f->fs->handles, handle->id, HANDLE_FILE);
	assert_true(is_open(fd));
	handle_put(reader);
	assert_false(is_open(fd));
}

static void a_handle_keeps_its_inode(void **state)
{
	struct fs_fixture *f = *state;
	int fd = openat(f->dir_fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct statx stx;
	struct handle *handle;
	uint64_t nodeid, generation, found[2];

	assert_int_equal(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx), 0);
	assert_int_equal(inode_lookup(f->fs->inodes, fd, false, &stx, &nodeid, &generation), 0);
	handle = fs_fixture_handle(f, HANDLE_FILE, nodeid, fd, O_RDWR);
	inode_forget(f->fs->inodes, nodeid, 1);
	assert_int_equal(inode_counts(f->fs->inodes).inodes, 2);
	assert_int_equal(inode_nodeid(handle->inode), nodeid);
	assert_int_equal(handle_find_open(f->fs->handles, found, 2), 1);
	assert_int_equal(found[0], nodeid);
	assert_int_equal(handle_find_open(f->fs->handles, found, 0), 0);
	handle_release(f->fs->handles, handle->id, HANDLE_FILE);
	assert_int_equal(inode_counts(f->fs->inodes).inodes, 1);
	assert_int_equal(handle_find_open(f->fs->handles, found, 2), 0);
}

#define MANY 1000

static void the_table_grows(void **state)
{
	struct fs_fixture *f = *state;
	static uint64_t ids[MANY];

	for (int i = 0; i < MANY; i++)
		ids[i] = add(f, HANDLE_FILE)->id;
	assert_int_equal(handle_count(f->fs->handles), MANY);
	for (int i = 0; i < MANY; i++)
		for (int j = i - 1; j >= 0 && j > i - 50; j--)
			assert_int_not_equal(ids[i], ids[j]);
	for (int i = 0; i < MANY; i += 2)
		handle_release(f->fs->handles, ids[i], HANDLE_FILE);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(finds(f, ids[i], HANDLE_FILE), i % 2);
	for (int i = 1; i < MANY; i += 2)
		handle_release(f->fs->handles, ids[i], HANDLE_FILE);
	assert_int_equal(handle_count(f->fs->handles), 0);
}

static void what_is_open_at_the_end_is_closed(void **state)
{
	struct fs_fixture *f = *state;
	struct handle_table *old = f->fs->handles;
	int fd = add(f, HANDLE_FILE)->fd;

	handle_table_free(old);
	assert_false(is_open(fd));
	assert_int_equal(handle_table_new(f->fs, &f->fs->handles), 0);
}

/* Threads that use and release the same numbers. */
struct race {
	struct fs_fixture *f;
	uint64_t ids[MANY];
};

static void *use_all(void *argument)
{
	struct race *race = argument;

	for (int i = 0; i < MANY; i++) {
		struct handle *handle = handle_get(race->f->fs->handles, race->ids[i], HANDLE_FILE);

		handle_release(race->f->fs->handles, race->ids[i], HANDLE_FILE);
		if (handle && !is_open(handle->fd))
			return handle;
		if (handle)
			handle_put(handle);
	}
	return NULL;
}

static void a_reference_outlives_the_release_by_another_thread(void **state)
{
	static struct race race;
	pthread_t threads[4];

	race.f = *state;
	for (int i = 0; i < MANY; i++)
		race.ids[i] = add(race.f, HANDLE_FILE)->id;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_all, &race), 0);
	for (int i = 0; i < 4; i++) {
		void *broken;

		pthread_join(threads[i], &broken);
		assert_null(broken);
	}
	assert_int_equal(handle_count(race.f->fs->handles), 0);
}

/* A regular file, as it was opened. Some filesystems know no O_DIRECT. */
static struct handle *add_regular(struct fs_fixture *f, int flags)
{
	int fd = openat(f->dir_fd, "f", flags | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EINVAL)
		skip();
	assert_true(fd >= 0);
	return fs_fixture_handle(f, HANDLE_FILE, FUSE_ROOT_ID, fd, flags);
}

static bool is_direct(int fd)
{
	return fcntl(fd, F_GETFL) & O_DIRECT;
}

static void a_file_is_had_with_the_page_cache_and_around_it(void **state)
{
	struct fs_fixture *f = *state;
	struct handle *direct = add_regular(f, O_RDWR | O_DIRECT);
	struct handle *buffered = add_regular(f, O_RDWR);
	int direct_other = handle_buffered_fd(direct);
	int buffered_other = handle_direct_fd(buffered);

	assert_int_equal(handle_direct_fd(direct), direct->fd);
	assert_int_equal(handle_buffered_fd(buffered), buffered->fd);
	assert_true(direct_other != direct->fd && !is_direct(direct_other));
	assert_true(buffered_other != buffered->fd && is_direct(buffered_other));
	assert_int_equal(handle_buffered_fd(direct), direct_other);
	assert_int_equal(handle_direct_fd(buffered), buffered_other);
	handle_release(f->fs->handles, direct->id, HANDLE_FILE);
	handle_release(f->fs->handles, buffered->id, HANDLE_FILE);
	assert_false(is_open(direct_other) || is_open(buffered_other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_number_finds_its_handle_and_is_not_zero, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_number_of_another_kind_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			a_released_number_stays_void_when_its_slot_is_used_again, setup, teardown),
		cmocka_unit_test_setup_teardown(no_number_that_was_not_given_is_followed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_descriptor_is_closed_with_the_last_reference,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_handle_keeps_its_inode, setup, teardown),
		cmocka_unit_test_setup_teardown(the_table_grows, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_open_at_the_end_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reference_outlives_the_release_by_another_thread,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_is_had_with_the_page_cache_and_around_it,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
