/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"
#include "fs/attr.h"
#include "fs/fhandle.h"
#include "fs/inode.h"

static int setup(void **state)
{
	static struct session session;

	session_init(&session, NULL);
	*state = &session;
	return 0;
}

static int teardown(void **state)
{
	session_fini(*state);
	return 0;
}

static void path_of(struct session *session, const char *name, char path[128])
{
	snprintf(path, 128, "%s/%s", session->backing, name);
}

static void make_file(struct session *session, const char *name)
{
	char path[128];
	int fd;

	path_of(session, name, path);
	fd = open(path, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
}

static uint64_t lookup(struct session *session, const char *name)
{
	struct fuse_entry_out entry;

	assert_int_equal(session_lookup(session, FUSE_ROOT_ID, name, &entry), 0);
	return entry.nodeid;
}

/* As many new files, each looked up: they push the descriptors of earlier ones out of a small
 * cache. */
static void look_up_others(struct session *session, int count)
{
	for (int i = 0; i < count; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%d", i);
		make_file(session, name);
		lookup(session, name);
	}
}

static uint64_t inodes(struct session *session)
{
	return inode_counts(session->fs->inodes).inodes;
}

/* Looked up, they have no descriptor yet. */
static void regular_files_that_the_kernel_knows_are_found(void **state)
{
	struct session *session = *state;
	struct inode_table *table = session->fs->inodes;
	uint64_t found[4] = { 0 }, a, b;

	assert_int_equal(inode_find_regular(table, found, 4), 0);
	make_file(session, "a");
	make_file(session, "b");
	a = lookup(session, "a");
	b = lookup(session, "b");
	assert_int_equal(inode_find_regular(table, found, 4), 2);
	assert_int_equal(found[0], b);
	assert_int_equal(found[1], a);
	assert_int_equal(inode_find_regular(table, found, 1), 1);
	inode_forget(table, b, 1);
	assert_int_equal(inode_find_regular(table, found, 4), 1);
	assert_int_equal(found[0], a);
}

static void hard_links_are_one_inode(void **state)
{
	struct session *session = *state;
	char a[128], b[128];
	uint64_t nodeid;

	make_file(session, "a");
	path_of(session, "a", a);
	path_of(session, "b", b);
	assert_int_equal(link(a, b), 0);
	nodeid = lookup(session, "a");
	assert_int_equal(lookup(session, "b"), nodeid);
	assert_int_equal(inodes(session), 2);
	inode_forget(session->fs->inodes, nodeid, 1);
	assert_int_equal(inodes(session), 2);
	inode_forget(session->fs->inodes, nodeid, 1);
	assert_int_equal(inodes(session), 1);
}

static void the_root_is_never_forgotten(void **state)
{
	struct session *session = *state;
	struct inode_ref ref;

	inode_forget(session->fs->inodes, FUSE_ROOT_ID, UINT64_MAX);
	assert_int_equal(inode_ref_get(session->fs->inodes, FUSE_ROOT_ID, &ref), 0);
	inode_ref_put(&ref);
}

static void forgetting_too_much_or_nobody_is_harmless(void **state)
{
	struct session *session = *state;
	uint64_t nodeid;

	make_file(session, "a");
	nodeid = lookup(session, "a");
	inode_forget(session->fs->inodes, nodeid, 1000);
	inode_forget(session->fs->inodes, nodeid, 1);
	inode_forget(session->fs->inodes, 123456, 1);
	assert_int_equal(inodes(session), 1);
}

static void a_reference_outlives_the_last_forget(void **state)
{
	struct session *session = *state;
	struct inode_ref ref;
	struct statx stx;
	uint64_t nodeid;

	make_file(session, "a");
	nodeid = lookup(session, "a");
	assert_int_equal(inode_ref_get(session->fs->inodes, nodeid, &ref), 0);
	inode_forget(session->fs->inodes, nodeid, 1);
	assert_int_equal(attr_get(ref.fd, &stx), 0);
	inode_ref_put(&ref);
	assert_int_equal(inodes(session), 1);
	assert_int_equal(inode_ref_get(session->fs->inodes, nodeid, &ref), -ESTALE);
}

/*
 * ext4 gives a freed inode number to the next file. The kernel may still hold the old node: it must
 * not become the new file.
 */
static void a_number_that_is_used_again_is_another_inode(void **state)
{
	struct session *session = *state;
	char path[128];
	uint64_t first, second;

	make_file(session, "a");
	first = lookup(session, "a");
	path_of(session, "a", path);
	/* Enough others to push the first one's descriptor out of the cache. */
	look_up_others(session, 3000);
	assert_int_equal(unlink(path), 0);
	make_file(session, "a");
	second = lookup(session, "a");
	assert_int_not_equal(first, second);
	assert_int_equal(lookup(session, "a"), second);
}

static void descriptors_stay_within_their_limit(void **state)
{
	struct session *session = *state;
	struct inode_counts counts;
	uint64_t before;

	counts = inode_counts(session->fs->inodes);
	if (!counts.by_handle)
		skip();
	look_up_others(session, 3000);
	counts = inode_counts(session->fs->inodes);
	assert_int_equal(counts.inodes, 3001);
	assert_true(counts.fds <= 64);
	/* All of them can still be reached. */
	before = counts.inodes;
	for (uint64_t nodeid = 2; nodeid < 3002; nodeid++) {
		struct inode_ref ref;

		assert_int_equal(inode_ref_get(session->fs->inodes, nodeid, &ref), 0);
		inode_ref_put(&ref);
	}
	assert_int_equal(inodes(session), before);
}

static int setup_few_descriptors(void **state)
{
	static struct session session;
	int backing_fd;

	session_init(&session, NULL);
	/* The same filesystem with a table of 64 descriptors. */
	inode_table_free(session.fs->inodes);
	backing_fd = open(session.backing, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(inode_table_new(session.fs, backing_fd, 64, &session.fs->inodes), 0);
	assert_int_equal(inode_table_start(session.fs->inodes), 0);
	*state = &session;
	return 0;
}

static void an_open_file_that_is_unlinked_behind_us_stays_reachable(void **state)
{
	struct session *session = *state;
	struct fuse_getattr_in in = { 0 };
	uint64_t nodeid, fh;
	char path[128];

	make_file(session, "a");
	nodeid = lookup(session, "a");
	assert_int_equal(session_open(session, nodeid, O_RDWR, &fh), 0);
	path_of(session, "a", path);
	assert_int_equal(unlink(path), 0);
	look_up_others(session, 200);
	assert_int_equal(session_call(session, FUSE_GETATTR, nodeid,
				      &(struct session_part){ &in, sizeof(in) }, 1),
			 0);
	session_release(session, nodeid, fh);
}

static void an_inode_whose_last_name_goes_is_pinned(void **state)
{
	struct session *session = *state;
	struct fuse_getattr_in in = { 0 };
	uint64_t nodeid;

	make_file(session, "a");
	nodeid = lookup(session, "a");
	assert_int_equal(session_call(session, FUSE_UNLINK, FUSE_ROOT_ID,
				      &(struct session_part){ "a", 2 }, 1),
			 0);
	look_up_others(session, 200);
	assert_int_equal(session_call(session, FUSE_GETATTR, nodeid,
				      &(struct session_part){ &in, sizeof(in) }, 1),
			 0);
}

static void a_file_that_vanished_is_stale(void **state)
{
	struct session *session = *state;
	struct inode_ref ref;
	uint64_t nodeid;
	char path[128];

	if (!inode_counts(session->fs->inodes).by_handle)
		skip();
	make_file(session, "a");
	nodeid = lookup(session, "a");
	path_of(session, "a", path);
	look_up_others(session, 200);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(inode_ref_get(session->fs->inodes, nodeid, &ref), -ESTALE);
	assert_null(ref.inode);
}

/* Where it is not known what is in a handle, the answer is no for both. */
static void a_handle_is_known_by_the_number_of_its_file(void **state)
{
	static const char *const names[] = { "a", "b" };
	struct session *session = *state;
	struct fhandle_mounts mounts;
	struct statx stx[2];
	union fhandle_buffer handle[2];
	uint64_t mount_id;
	int dir_fd = open(session->backing, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct fhandle_mount *mount;
	bool known;

	assert_true(dir_fd >= 0);
	fhandle_mounts_init(&mounts);
	for (int i = 0; i < 2; i++) {
		make_file(session, names[i]);
		assert_int_equal(attr_get_at(dir_fd, names[i], &stx[i]), 0);
		if (fhandle_get_at(dir_fd, names[i], &handle[i], &mount_id))
			skip();
		assert_int_equal(mount_id, stx[i].stx_mnt_id);
	}
	mount = fhandle_mount_of(&mounts, dir_fd, &stx[0], &handle[0].handle);
	if (!mount)
		skip();
	known = fhandle_is_known(mount);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fhandle_has_number(mount, &handle[i].handle, &stx[i]), known);
		assert_false(fhandle_has_number(mount, &handle[i].handle, &stx[!i]));
		/* Nor is one of another make taken for it. */
		handle[i].handle.handle_type ^= 0x40;
		assert_false(fhandle_has_number(mount, &handle[i].handle, &stx[i]));
	}
	fhandle_mounts_fini(&mounts);
	close(dir_fd);
}

static void pages_are_kept_only_while_the_file_is_as_it_was(void **state)
{
	struct session *session = *state;
	struct inode_ref ref;
	struct statx stx;

	make_file(session, "a");
	assert_int_equal(inode_ref_get(session->fs->inodes, lookup(session, "a"), &ref), 0);
	assert_int_equal(attr_get(ref.fd, &stx), 0);
	assert_false(inode_data_unchanged(session->fs->inodes, ref.inode, &stx));
	assert_true(inode_data_unchanged(session->fs->inodes, ref.inode, &stx));
	stx.stx_mtime.tv_nsec ^= 1;
	assert_false(inode_data_unchanged(session->fs->inodes, ref.inode, &stx));
	stx.stx_size++;
	assert_false(inode_data_unchanged(session->fs->inodes, ref.inode, &stx));
	assert_true(inode_data_unchanged(session->fs->inodes, ref.inode, &stx));
	inode_ref_put(&ref);
}

#define THREADS 4
#define ROUNDS	2000

static void *hammer(void *argument)
{
	struct session *session = argument;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t nodeid, generation;
		struct inode_ref ref;
		struct statx stx;
		char path[160];
		int fd;

		snprintf(path, sizeof(path), "%s/f%d", session->backing, i % 100);
		fd = open(path, O_PATH | O_CLOEXEC);
		if (fd < 0 || attr_get(fd, &stx) ||
		    inode_lookup(session->fs->inodes, fd, true, &stx, &nodeid, &generation) ||
		    inode_ref_get(session->fs->inodes, nodeid, &ref))
			return "failed";
		inode_forget(session->fs->inodes, nodeid, 1);
		if (attr_get(ref.fd, &stx))
			return "gone";
		inode_ref_put(&ref);
	}
	return NULL;
}

static void threads_that_look_up_and_forget_leave_nothing_behind(void **state)
{
	struct session *session = *state;
	pthread_t threads[THREADS];

	for (int i = 0; i < 100; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%d", i);
		make_file(session, name);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, session), 0);
	for (int i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(inodes(session), 1);
	assert_int_equal(inode_counts(session->fs->inodes).fds, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_FEW(name) cmocka_unit_test_setup_teardown(name, setup_few_descriptors, teardown)
		TEST(hard_links_are_one_inode),
		TEST(regular_files_that_the_kernel_knows_are_found),
		TEST(the_root_is_never_forgotten),
		TEST(a_handle_is_known_by_the_number_of_its_file),
		TEST(forgetting_too_much_or_nobody_is_harmless),
		TEST(a_reference_outlives_the_last_forget),
		TEST_FEW(a_number_that_is_used_again_is_another_inode),
		TEST_FEW(descriptors_stay_within_their_limit),
		TEST_FEW(an_open_file_that_is_unlinked_behind_us_stays_reachable),
		TEST_FEW(an_inode_whose_last_name_goes_is_pinned),
		TEST_FEW(a_file_that_vanished_is_stale),
		TEST(pages_are_kept_only_while_the_file_is_as_it_was),
		TEST_FEW(threads_that_look_up_and_forget_leave_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
