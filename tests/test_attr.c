/* SPDX-License-Identifier: MIT */
#include "fs_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/attr.h"
#include "fs/handle.h"
#include "fs/inode.h"
#include "fs/names.h"
#include "fs/ops.h"

#define SOMEBODY 12345
#define THEIRS	 23456

/* A file "f" of 100 bytes, known to the kernel. */
struct attr {
	struct fs_fixture f;
	struct fuse_entry_out entry;
	uid_t uid; /* of the next callers */
	gid_t gid;
	uint32_t pid;
};

static int setup(void **state)
{
	static struct attr attr;
	struct inode_ref root = INODE_REF_NONE;
	int fd;

	attr = (struct attr){ .uid = geteuid(), .gid = getegid() };
	fs_fixture_init(&attr.f, &(struct options){ .attr_timeout = 0.25 });
	fd = openat(attr.f.dir_fd, "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 100), 0);
	close(fd);
	assert_int_equal(inode_ref_get(attr.f.fs->inodes, FUSE_ROOT_ID, &root), 0);
	assert_int_equal(names_lookup(attr.f.fs, &root, "f", &attr.entry), 0);
	inode_ref_put(&root);
	*state = &attr;
	return 0;
}

static int teardown(void **state)
{
	struct attr *attr = *state;

	inode_forget(attr->f.fs->inodes, attr->entry.nodeid, 1);
	fs_fixture_fini(&attr->f);
	return 0;
}

static int call(struct attr *attr, request_handler handler, uint64_t nodeid, const void *argument,
		struct request_out *ret_out)
{
	struct exchange x;
	int error;

	exchange_init(&x, &attr->f, nodeid, argument);
	x.request.in.uid = attr->uid;
	x.request.in.gid = attr->gid;
	x.request.in.pid = attr->pid;
	exchange_run(&x, handler);
	error = exchange_wait(&x);
	if (ret_out)
		*ret_out = x.out;
	exchange_fini(&x);
	return error;
}

static int set(struct attr *attr, const struct fuse_setattr_in *in, struct fuse_attr *ret_attr)
{
	struct request_out out;
	int err = call(attr, op_setattr, attr->entry.nodeid, in, &out);

	*ret_attr = out.attr.attr;
	return err;
}

static struct stat stat_of(const struct attr *attr)
{
	struct stat st;

	assert_int_equal(fstatat(attr->f.dir_fd, "f", &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

static void change_mode(const struct attr *attr, mode_t mode)
{
	assert_int_equal(fchmodat(attr->f.dir_fd, "f", mode, 0), 0);
}

/* A handle of the file, to be given to release(). */
static struct handle *open_handle(struct attr *attr, int flags)
{
	int fd = openat(attr->f.dir_fd, "f", flags | O_CLOEXEC);

	return fs_fixture_handle(&attr->f, HANDLE_FILE, attr->entry.nodeid, fd, flags);
}

static void release(struct attr *attr, const struct handle *handle)
{
	handle_release(attr->f.fs->handles, handle->id, HANDLE_FILE);
}

/* ---- the wire ---- */

static void attributes_are_encoded_as_the_kernel_reads_them(void **state)
{
	const struct statx stx = {
		.stx_ino = 77,
		.stx_mode = S_IFCHR | 0600,
		.stx_rdev_major = 0xabc,
		.stx_rdev_minor = 0x12345,
		.stx_mtime = { .tv_sec = -5, .tv_nsec = 6 },
	};
	struct fuse_attr attr;

	attr_fill(&stx, &attr);
	assert_int_equal(attr.ino, 77);
	assert_int_equal(attr.rdev, 0x123abc45);
	assert_int_equal((int64_t)attr.mtime, -5);
	assert_int_equal(attr.mtimensec, 6);
}

static void a_timeout_is_seconds_and_nanoseconds(void **state)
{
	uint64_t sec;
	uint32_t nsec;

	attr_timeout(0, &sec, &nsec);
	assert_int_equal(sec, 0);
	assert_int_equal(nsec, 0);
	attr_timeout(86400.5, &sec, &nsec);
	assert_int_equal(sec, 86400);
	assert_int_equal(nsec, 500000000);
}

/* ---- asking ---- */

static void getattr_tells_what_stat_tells(void **state)
{
	const struct fuse_getattr_in in = { 0 };
	struct attr *attr = *state;
	struct stat st = stat_of(attr);
	struct request_out out;

	assert_int_equal(call(attr, op_getattr, attr->entry.nodeid, &in, &out), 0);
	assert_int_equal(out.attr.attr_valid, 0);
	assert_int_equal(out.attr.attr_valid_nsec, 250000000);
	assert_int_equal(out.attr.attr.ino, st.st_ino);
	assert_int_equal(out.attr.attr.size, 100);
	assert_int_equal(out.attr.attr.mode, st.st_mode);
	assert_int_equal(out.attr.attr.nlink, 1);
	assert_int_equal(out.attr.attr.mtime, st.st_mtim.tv_sec);
	assert_int_equal(out.attr.attr.mtimensec, st.st_mtim.tv_nsec);
}

static void getattr_prefers_the_open_file_that_is_named(void **state)
{
	struct attr *attr = *state;
	struct handle *handle = open_handle(attr, O_RDONLY);
	const struct fuse_getattr_in in = { .getattr_flags = FUSE_GETATTR_FH, .fh = handle->id };
	const struct fuse_getattr_in wrong = { .getattr_flags = FUSE_GETATTR_FH, .fh = ~0ULL };
	struct request_out out;

	assert_int_equal(call(attr, op_getattr, 87654321, &in, &out), 0);
	assert_int_equal(out.attr.attr.size, 100);
	assert_int_equal(call(attr, op_getattr, attr->entry.nodeid, &wrong, &out), 0);
	assert_int_equal(out.attr.attr.size, 100);
	assert_int_equal(call(attr, op_getattr, 87654321, &wrong, NULL), -ESTALE);
	release(attr, handle);
}

static void statx_adds_the_time_of_birth(void **state)
{
	const struct fuse_statx_in in = { .sx_mask = ~0U, .sx_flags = ~0U };
	const struct fuse_statx_in plain = { .sx_mask = STATX_BASIC_STATS | STATX_BTIME };
	struct attr *attr = *state;
	struct request_out out;
	struct statx stx;

	assert_int_equal(statx(attr->f.dir_fd, "f", 0, STATX_BTIME, &stx), 0);
	assert_int_equal(call(attr, op_statx, attr->entry.nodeid, &plain, &out), 0);
	assert_int_equal(out.statx.stat.mask & ~(STATX_BASIC_STATS | STATX_BTIME), 0);
	assert_int_equal(out.statx.stat.mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
	assert_int_equal(out.statx.stat.mask & STATX_BTIME, stx.stx_mask & STATX_BTIME);
	if (stx.stx_mask & STATX_BTIME)
		assert_int_equal(out.statx.stat.btime.tv_sec, stx.stx_btime.tv_sec);
	assert_int_equal(out.statx.stat.size, 100);
	/* Whatever flags come, none but those of synchronisation reach the system call: both of
	 * them at once is what it refuses. */
	assert_int_equal(call(attr, op_statx, attr->entry.nodeid, &in, NULL), -EINVAL);
}

static void statfs_tells_of_the_backing_filesystem(void **state)
{
	struct attr *attr = *state;
	struct request_out out;

	assert_int_equal(call(attr, op_statfs, attr->entry.nodeid, NULL, &out), 0);
	assert_int_equal(out.statfs.st.namelen, 255);
	assert_true(out.statfs.st.bsize >= 512);
}

static void access_is_answered_as_for_the_caller(void **state)
{
	struct attr *attr = *state;

	if (geteuid() != 0)
		skip();
	change_mode(attr, 0640);
	assert_int_equal(call(attr, op_access, attr->entry.nodeid,
			      &(struct fuse_access_in){ .mask = R_OK | W_OK }, NULL),
			 0);
	attr->uid = SOMEBODY;
	assert_int_equal(call(attr, op_access, attr->entry.nodeid,
			      &(struct fuse_access_in){ .mask = R_OK }, NULL),
			 0); /* by the group, 0 */
	attr->gid = THEIRS;
	assert_int_equal(call(attr, op_access, attr->entry.nodeid,
			      &(struct fuse_access_in){ .mask = R_OK }, NULL),
			 -EACCES);
	assert_int_equal(call(attr, op_access, attr->entry.nodeid,
			      &(struct fuse_access_in){ .mask = F_OK }, NULL),
			 0);
}

/* ---- setting ---- */

static void the_mode_is_set(void **state)
{
	struct fuse_attr out;

	assert_int_equal(
		set(*state,
		    &(struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = S_IFREG | 04751 },
		    &out),
		0);
	assert_int_equal(out.mode, S_IFREG | 04751);
	assert_int_equal(stat_of(*state).st_mode, S_IFREG | 04751);
}

static void times_are_set_one_by_one(void **state)
{
	struct attr *attr = *state;
	struct stat before;
	struct fuse_attr out;

	assert_int_equal(
		set(attr,
		    &(struct fuse_setattr_in){ .valid = FATTR_MTIME, .mtime = 1, .mtimensec = 2 },
		    &out),
		0);
	assert_int_equal(out.mtime, 1);
	assert_int_equal(out.mtimensec, 2);
	before = stat_of(attr);
	assert_int_equal(set(attr,
			     &(struct fuse_setattr_in){ .valid = FATTR_ATIME | FATTR_ATIME_NOW },
			     &out),
			 0);
	assert_int_equal(out.mtime, 1);
	assert_true(out.atime >= (uint64_t)before.st_atim.tv_sec && out.atime > 1000);
	assert_int_equal(
		set(attr, &(struct fuse_setattr_in){ .valid = FATTR_ATIME, .atime = (uint64_t)-9 },
		    &out),
		0);
	assert_int_equal((int64_t)out.atime, -9);
}

static void the_size_is_set_through_a_writable_handle(void **state)
{
	struct attr *attr = *state;
	struct handle *handle = open_handle(attr, O_RDWR);
	struct fuse_attr out;

	assert_int_equal(unlinkat(attr->f.dir_fd, "f", 0), 0);
	assert_int_equal(set(attr,
			     &(struct fuse_setattr_in){
				     .valid = FATTR_SIZE | FATTR_FH, .fh = handle->id, .size = 7 },
			     &out),
			 0);
	assert_int_equal(out.size, 7);
	assert_int_equal(out.nlink, 0);
	release(attr, handle);
}

static void the_size_is_set_where_no_handle_can_write(void **state)
{
	struct attr *attr = *state;
	struct handle *handle = open_handle(attr, O_RDONLY);
	struct fuse_attr out;

	assert_int_equal(set(attr,
			     &(struct fuse_setattr_in){
				     .valid = FATTR_SIZE | FATTR_FH, .fh = handle->id, .size = 7 },
			     &out),
			 0);
	assert_int_equal(out.size, 7);
	assert_int_equal(set(attr,
			     &(struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 1ULL << 32 },
			     &out),
			 0);
	assert_int_equal(stat_of(attr).st_size, 1LL << 32);
	assert_int_equal(set(attr,
			     &(struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 1ULL << 63 },
			     &out),
			 -EFBIG);
	release(attr, handle);
}

static void a_mode_set_with_an_owner_outlives_it(void **state)
{
	struct attr *attr = *state;
	struct fuse_attr out;

	if (geteuid() != 0)
		skip();
	assert_int_equal(set(attr,
			     &(struct fuse_setattr_in){ .valid = FATTR_MODE | FATTR_UID,
							.mode = 04755,
							.uid = SOMEBODY },
			     &out),
			 0);
	assert_int_equal(out.uid, SOMEBODY);
	assert_int_equal(out.gid, 0);
	assert_int_equal(out.mode & 07777, 04755);
	assert_int_equal(
		set(attr, &(struct fuse_setattr_in){ .valid = FATTR_GID, .gid = THEIRS }, &out), 0);
	assert_int_equal(out.uid, SOMEBODY);
	assert_int_equal(out.gid, THEIRS);
	assert_int_equal(out.mode & 07777, 0755);
}

static void a_truncation_clears_set_uid_only_when_told(void **state)
{
	struct attr *attr = *state;
	struct fuse_attr out;

	if (geteuid() != 0)
		skip();
	change_mode(attr, 06755);
	assert_int_equal(
		set(attr, &(struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 9 }, &out), 0);
	assert_int_equal(out.mode & 07777, 06755);
	assert_int_equal(set(attr,
			     &(struct fuse_setattr_in){ .valid = FATTR_SIZE | FATTR_KILL_SUIDGID,
							.size = 8 },
			     &out),
			 0);
	assert_int_equal(out.mode & 07777, 0755);
}

static void set_gid_without_group_execution_goes_for_strangers_only(void **state)
{
	const struct fuse_setattr_in in = { .valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 8 };
	struct attr *attr = *state;
	struct fuse_attr out;

	if (geteuid() != 0)
		skip();
	assert_int_equal(fchownat(attr->f.dir_fd, "f", 0, THEIRS, 0), 0);
	change_mode(attr, 02666);
	attr->uid = SOMEBODY;
	attr->gid = THEIRS;
	assert_int_equal(set(attr, &in, &out), 0);
	assert_int_equal(out.mode & 07777, 02666);
	attr->gid = SOMEBODY;
	assert_int_equal(set(attr, &in, &out), 0);
	assert_int_equal(out.mode & 07777, 0666);
}

static void setting_nothing_clears_set_uid(void **state)
{
	struct attr *attr = *state;
	struct fuse_attr out;

	change_mode(attr, 04755);
	assert_int_equal(set(attr, &(struct fuse_setattr_in){ .valid = 0 }, &out), 0);
	assert_int_equal(out.mode & 07777, 0755);
	assert_int_equal(out.uid, geteuid());
}

static void setting_nothing_of_a_file_that_root_writes_keeps_set_uid(void **state)
{
	struct attr *attr = *state;
	struct handle *handle = open_handle(attr, O_WRONLY);
	struct fuse_attr out;

	change_mode(attr, 04755);
	attr->uid = 0;
	assert_int_equal(set(attr, &(struct fuse_setattr_in){ .valid = 0 }, &out), 0);
	assert_int_equal(out.mode & 07777, 04755);
	release(attr, handle);
	assert_int_equal(set(attr, &(struct fuse_setattr_in){ .valid = 0 }, &out), 0);
	assert_int_equal(out.mode & 07777, 0755);
}

/* What the kernel asks for when a write has failed. */
static uint64_t mtime_after_truncation(struct attr *attr, const struct handle *handle,
				       uint64_t size)
{
	const struct fuse_setattr_in in = { .valid = FATTR_SIZE | FATTR_FH,
					    .fh = handle->id,
					    .size = size };
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct fuse_attr out;

	assert_int_equal(futimens(handle->fd, times), 0);
	assert_int_equal(set(attr, &in, &out), 0);
	assert_int_equal(out.size, size);
	return out.mtime;
}

static void a_truncation_after_a_refused_write_changes_nothing(void **state)
{
	struct attr *attr = *state;
	struct handle *handle = open_handle(attr, O_RDWR);

	attr->pid = 77;
	atomic_store(&handle->refused, 77);
	assert_int_equal(mtime_after_truncation(attr, handle, 100), 1);
	assert_int_not_equal(mtime_after_truncation(attr, handle, 100), 1); /* once */
	atomic_store(&handle->refused, 78);
	assert_int_not_equal(mtime_after_truncation(attr, handle, 100), 1);
	atomic_store(&handle->refused, 77);
	assert_int_not_equal(mtime_after_truncation(attr, handle, 90), 1);
	release(attr, handle);
}

static void the_first_error_ends_it(void **state)
{
	struct attr *attr = *state;
	struct fuse_attr out;

	assert_int_equal(set(attr,
			     &(struct fuse_setattr_in){
				     .valid = FATTR_SIZE | FATTR_MODE, .size = ~0ULL, .mode = 0 },
			     &out),
			 -EFBIG);
	assert_int_equal(stat_of(attr).st_mode & 07777, 0644);
}

#define ATTR_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attributes_are_encoded_as_the_kernel_reads_them),
		cmocka_unit_test(a_timeout_is_seconds_and_nanoseconds),
		ATTR_TEST(getattr_tells_what_stat_tells),
		ATTR_TEST(getattr_prefers_the_open_file_that_is_named),
		ATTR_TEST(statx_adds_the_time_of_birth),
		ATTR_TEST(statfs_tells_of_the_backing_filesystem),
		ATTR_TEST(access_is_answered_as_for_the_caller),
		ATTR_TEST(the_mode_is_set),
		ATTR_TEST(times_are_set_one_by_one),
		ATTR_TEST(the_size_is_set_through_a_writable_handle),
		ATTR_TEST(the_size_is_set_where_no_handle_can_write),
		ATTR_TEST(a_mode_set_with_an_owner_outlives_it),
		ATTR_TEST(a_truncation_clears_set_uid_only_when_told),
		ATTR_TEST(set_gid_without_group_execution_goes_for_strangers_only),
		ATTR_TEST(setting_nothing_clears_set_uid),
		ATTR_TEST(setting_nothing_of_a_file_that_root_writes_keeps_set_uid),
		ATTR_TEST(a_truncation_after_a_refused_write_changes_nothing),
		ATTR_TEST(the_first_error_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
