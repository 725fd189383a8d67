/* SPDX-License-Identifier: MIT */
#include "fs_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/attr.h"
#include "fs/inode.h"
#include "fs/ops.h"

#define SOMEBODY 12345
#define THEIRS	 23456
#define REFUSED	 30

struct names {
	struct fs_fixture f;
	uid_t uid; /* of the next callers */
	gid_t gid;
};

static int setup_with(void **state, double negative_timeout)
{
	static struct names names;

	names = (struct names){ .uid = geteuid(), .gid = getegid() };
	fs_fixture_init(&names.f, &(struct options){ .attr_timeout = 1,
						     .entry_timeout = 1.5,
						     .negative_timeout = negative_timeout });
	*state = &names;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, 0);
}

static int setup_negative(void **state)
{
	return setup_with(state, 2.25);
}

/* With so low a limit the inode table holds 8 descriptors. */
static int setup_few_descriptors(void **state)
{
	struct rlimit before, few;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = 40;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	setup_with(state, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	return 0;
}

static int teardown(void **state)
{
	struct names *names = *state;

	fs_fixture_fini(&names->f);
	return 0;
}

/* One request about a directory. Returns the error of the reply. */
static int call(struct names *names, request_handler handler, uint64_t nodeid, const void *argument,
		const char *name, const char *second, struct fuse_entry_out *ret_entry)
{
	struct exchange x;
	int error;

	exchange_init(&x, &names->f, nodeid, argument);
	x.request.in.uid = names->uid;
	x.request.in.gid = names->gid;
	x.request.name[0] = name;
	x.request.name[1] = second;
	exchange_run(&x, handler);
	error = exchange_wait(&x);
	if (ret_entry)
		*ret_entry = x.out.entry;
	exchange_fini(&x);
	return error;
}

static int lookup(struct names *names, const char *name, struct fuse_entry_out *ret_entry)
{
	return call(names, op_lookup, FUSE_ROOT_ID, NULL, name, NULL, ret_entry);
}

static void forget(struct names *names, const struct fuse_entry_out *entry)
{
	inode_forget(names->f.fs->inodes, entry->nodeid, 1);
}

static uint64_t inodes(const struct names *names)
{
	return inode_counts(names->f.fs->inodes).inodes;
}

static void make(const struct names *names, const char *name, mode_t mode)
{
	int fd = openat(names->f.dir_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static struct stat stat_of(const struct names *names, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(names->f.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

static bool exists(const struct names *names, const char *name)
{
	return faccessat(names->f.dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- looking up ---- */

static void lookup_tells_the_attributes_and_counts_one_lookup(void **state)
{
	struct names *names = *state;
	struct fuse_entry_out entry;

	make(names, "f", 0640);
	assert_int_equal(lookup(names, "f", &entry), 0);
	assert_int_equal(entry.attr.ino, stat_of(names, "f").st_ino);
	assert_int_equal(entry.attr.mode, S_IFREG | 0640);
	assert_int_equal(entry.entry_valid, 1);
	assert_int_equal(entry.entry_valid_nsec, 500000000);
	assert_int_equal(entry.attr_valid, 1);
	assert_int_equal(entry.attr_valid_nsec, 0);
	assert_int_equal(inodes(names), 2);
	forget(names, &entry);
	assert_int_equal(inodes(names), 1);
}

static void lookup_does_not_follow_a_symbolic_link(void **state)
{
	struct names *names = *state;
	struct fuse_entry_out entry;

	assert_int_equal(symlinkat("/", names->f.dir_fd, "l"), 0);
	assert_int_equal(lookup(names, "l", &entry), 0);
	assert_true(S_ISLNK(entry.attr.mode));
	forget(names, &entry);
}

static void lookup_below_a_file_is_refused(void **state)
{
	struct names *names = *state;
	struct fuse_entry_out entry;

	make(names, "f", 0600);
	assert_int_equal(lookup(names, "f", &entry), 0);
	assert_int_equal(call(names, op_lookup, entry.nodeid, NULL, "x", NULL, NULL), -ENOTDIR);
	assert_int_equal(call(names, op_lookup, 12345678, NULL, "x", NULL, NULL), -ESTALE);
	forget(names, &entry);
}

static void a_missing_name_is_an_error(void **state)
{
	assert_int_equal(lookup(*state, "none", NULL), -ENOENT);
}

static void a_missing_name_is_remembered_when_that_is_wanted(void **state)
{
	struct fuse_entry_out entry;

	assert_int_equal(lookup(*state, "none", &entry), 0);
	assert_int_equal(entry.nodeid, 0);
	assert_int_equal(entry.entry_valid, 2);
	assert_int_equal(entry.entry_valid_nsec, 250000000);
}

/* Here the backing directory itself plays the mount: what is on its device counts as ours. */
static void what_lies_in_our_own_mount_is_replaced_by_the_covered_directory(void **state)
{
	struct names *names = *state;
	struct fs *fs = names->f.fs;
	struct fuse_entry_out entry;

	assert_int_equal(mkdirat(names->f.dir_fd, "covered", 0700), 0);
	assert_int_equal(mkdirat(names->f.dir_fd, "mnt", 0700), 0);
	fs->covered_fd = openat(names->f.dir_fd, "covered", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fs->covered_fd >= 0);
	assert_int_equal(lookup(names, "mnt", &entry), 0);
	assert_int_equal(entry.attr.ino, stat_of(names, "mnt").st_ino);
	forget(names, &entry);

	fs->self_device = stat_of(names, "mnt").st_dev;
	assert_int_equal(lookup(names, "mnt", &entry), 0);
	assert_int_equal(entry.attr.ino, stat_of(names, "covered").st_ino);
	forget(names, &entry);
}

static void batch_forget_goes_no_further_than_the_message(void **state)
{
	struct names *names = *state;
	struct fuse_entry_out entry[2];
	struct {
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[2];
	} batch = { .in.count = 1000000 };
	struct exchange x;

	for (int i = 0; i < 2; i++) {
		make(names, i ? "b" : "a", 0600);
		assert_int_equal(lookup(names, i ? "b" : "a", &entry[i]), 0);
		batch.one[i] = (struct fuse_forget_one){ entry[i].nodeid, 1 };
	}
	exchange_init(&x, &names->f, 0, &batch);
	x.request.value = batch.one;
	x.request.value_size = sizeof(batch.one) + 7;
	exchange_run(&x, op_batch_forget);
	assert_true(x.finished);
	exchange_fini(&x);
	assert_int_equal(inodes(names), 1);
}

/* ---- making ---- */

static void mkdir_honours_the_umask(void **state)
{
	const struct fuse_mkdir_in in = { .mode = 0777, .umask = 027 };
	struct names *names = *state;
	struct fuse_entry_out entry;

	assert_int_equal(call(names, op_mkdir, FUSE_ROOT_ID, &in, "d", NULL, &entry), 0);
	assert_int_equal(entry.attr.mode, S_IFDIR | 0750);
	assert_int_equal(call(names, op_mkdir, FUSE_ROOT_ID, &in, "d", NULL, NULL), -EEXIST);
	forget(names, &entry);
}

static void what_is_made_belongs_to_the_caller(void **state)
{
	const struct fuse_mkdir_in mkdir_in = { .mode = 0755 };
	const struct fuse_mknod_in mknod_in = { .mode = S_IFIFO | 0600 };
	struct names *names = *state;
	struct fuse_entry_out entry[3];

	if (geteuid() != 0)
		skip();
	names->uid = SOMEBODY;
	names->gid = THEIRS;
	assert_int_equal(call(names, op_mkdir, FUSE_ROOT_ID, &mkdir_in, "d", NULL, &entry[0]), 0);
	assert_int_equal(call(names, op_mknod, FUSE_ROOT_ID, &mknod_in, "p", NULL, &entry[1]), 0);
	assert_int_equal(call(names, op_symlink, FUSE_ROOT_ID, NULL, "l", "to", &entry[2]), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(entry[i].attr.uid, SOMEBODY);
		assert_int_equal(entry[i].attr.gid, THEIRS);
		forget(names, &entry[i]);
	}
}

static void a_failed_mkdir_leaves_the_thread_itself(void **state)
{
	const struct fuse_mkdir_in in = { .mode = 0755 };
	struct names *names = *state;

	names->uid = SOMEBODY;
	make(names, "f", 0600);
	assert_int_equal(call(names, op_mkdir, FUSE_ROOT_ID, &in, "f", NULL, NULL), -EEXIST);
	make(names, "mine", 0600);
	assert_int_equal(stat_of(names, "mine").st_uid, geteuid());
}

static void mknod_takes_large_device_numbers(void **state)
{
	/* As the kernel encodes 3000:70000. */
	const struct fuse_mknod_in in = {
		.mode = S_IFCHR | 0600,
		.rdev = (70000 & 0xff) | 3000 << 8 | (70000 & ~0xff) << 12,
	};
	struct names *names = *state;
	struct fuse_entry_out entry;
	int err = call(names, op_mknod, FUSE_ROOT_ID, &in, "n", NULL, &entry);

	if (err == -EPERM)
		skip();
	assert_int_equal(err, 0);
	assert_int_equal(entry.attr.rdev, in.rdev);
	assert_int_equal(stat_of(names, "n").st_rdev, makedev(3000, 70000));
	forget(names, &entry);
}

static void readlink_gives_back_the_longest_target(void **state)
{
	struct names *names = *state;
	struct fuse_entry_out entry;
	char target[PATH_MAX];
	struct exchange x;

	memset(target, 't', sizeof(target));
	target[PATH_MAX - 1] = '\0';
	assert_int_equal(call(names, op_symlink, FUSE_ROOT_ID, NULL, "l", target, &entry), 0);
	exchange_init(&x, &names->f, entry.nodeid, NULL);
	exchange_run(&x, op_readlink);
	assert_int_equal(exchange_wait(&x), 0);
	assert_int_equal(x.size, PATH_MAX - 1);
	assert_memory_equal(x.payload, target, PATH_MAX - 1);
	exchange_fini(&x);
	forget(names, &entry);
}

static void link_gives_the_same_inode_a_second_name(void **state)
{
	struct names *names = *state;
	struct fuse_entry_out first, second;

	assert_int_equal(symlinkat("to", names->f.dir_fd, "l"), 0);
	assert_int_equal(lookup(names, "l", &first), 0);
	assert_int_equal(call(names, op_link, FUSE_ROOT_ID,
			      &(struct fuse_link_in){ .oldnodeid = first.nodeid }, "m", NULL,
			      &second),
			 0);
	assert_int_equal(second.nodeid, first.nodeid);
	assert_int_equal(second.attr.nlink, 2);
	assert_true(S_ISLNK(stat_of(names, "m").st_mode));
	forget(names, &first);
	forget(names, &second);
}

/* ---- removing and renaming ---- */

static void expect_reachable(struct names *names, const struct fuse_entry_out *entry)
{
	const struct fuse_getattr_in in = { 0 };
	struct request_out out;

	assert_int_equal(exchange(&names->f, op_getattr, entry->nodeid, &in, NULL, &out), 0);
	assert_int_equal(out.attr.attr.ino, entry->attr.ino);
	assert_int_equal(out.attr.attr.nlink, 0);
}

static void an_unlinked_file_stays_reachable_until_it_is_forgotten(void **state)
{
	struct names *names = *state;
	struct fuse_entry_out entry;

	make(names, "f", 0600);
	assert_int_equal(lookup(names, "f", &entry), 0);
	assert_int_equal(call(names, op_unlink, FUSE_ROOT_ID, NULL, "f", NULL, NULL), 0);
	assert_false(exists(names, "f"));
	expect_reachable(names, &entry);
	assert_int_equal(call(names, op_unlink, FUSE_ROOT_ID, NULL, "f", NULL, NULL), -ENOENT);
	forget(names, &entry);
}

static void a_file_that_a_rename_replaces_stays_reachable(void **state)
{
	struct names *names = *state;
	struct fuse_entry_out entry;

	make(names, "old", 0600);
	make(names, "new", 0600);
	assert_int_equal(lookup(names, "old", &entry), 0);
	assert_int_equal(call(names, op_rename, FUSE_ROOT_ID,
			      &(struct fuse_rename_in){ .newdir = FUSE_ROOT_ID }, "new", "old",
			      NULL),
			 0);
	assert_false(exists(names, "new"));
	expect_reachable(names, &entry);
	forget(names, &entry);
}

static void refuse_rmdir(struct names *names, int i, struct fuse_entry_out *ret_entry)
{
	char path[32];

	snprintf(path, sizeof(path), "d%d", i);
	assert_int_equal(mkdirat(names->f.dir_fd, path, 0700), 0);
	snprintf(path, sizeof(path), "d%d/full", i);
	assert_int_equal(mkdirat(names->f.dir_fd, path, 0700), 0);
	snprintf(path, sizeof(path), "d%d", i);
	assert_int_equal(lookup(names, path, ret_entry), 0);
	assert_int_equal(call(names, op_rmdir, FUSE_ROOT_ID, NULL, path, NULL, NULL), -ENOTEMPTY);
}

/* The descriptor that is kept for a removed directory is not kept for one that is still there. */
static void a_refused_rmdir_keeps_no_descriptor(void **state)
{
	struct fuse_entry_out entries[REFUSED];
	struct names *names = *state;

	if (!inode_counts(names->f.fs->inodes).by_handle)
		skip();
	for (int i = 0; i < REFUSED; i++)
		refuse_rmdir(names, i, &entries[i]);
	assert_true(inode_counts(names->f.fs->inodes).fds < REFUSED);
	for (int i = 0; i < REFUSED; i++)
		forget(names, &entries[i]);
}

static void rmdir_and_unlink_keep_to_their_kind(void **state)
{
	struct names *names = *state;

	make(names, "f", 0600);
	assert_int_equal(mkdirat(names->f.dir_fd, "d", 0700), 0);
	assert_int_equal(call(names, op_rmdir, FUSE_ROOT_ID, NULL, "f", NULL, NULL), -ENOTDIR);
	assert_int_equal(call(names, op_unlink, FUSE_ROOT_ID, NULL, "d", NULL, NULL), -EISDIR);
	assert_int_equal(call(names, op_rmdir, FUSE_ROOT_ID, NULL, "d", NULL, NULL), 0);
}

static int rename2(struct names *names, const char *from, const char *to, unsigned flags)
{
	const struct fuse_rename2_in in = { .newdir = FUSE_ROOT_ID, .flags = flags };

	return call(names, op_rename2, FUSE_ROOT_ID, &in, from, to, NULL);
}

static void rename2_exchanges_and_refuses_to_replace(void **state)
{
	struct names *names = *state;

	make(names, "a", 0600);
	make(names, "b", 0640);
	assert_int_equal(rename2(names, "a", "b", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(rename2(names, "a", "b", RENAME_EXCHANGE), 0);
	assert_int_equal(stat_of(names, "a").st_mode & 0777, 0640);
	assert_int_equal(rename2(names, "a", "b", RENAME_NOREPLACE | RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(rename2(names, "a", "b", 1U << 31), -EINVAL);
}

static void a_whiteout_belongs_to_the_caller(void **state)
{
	struct names *names = *state;
	struct stat st;
	int err;

	if (geteuid() != 0)
		skip();
	make(names, "a", 0600);
	names->uid = SOMEBODY;
	names->gid = THEIRS;
	err = rename2(names, "a", "b", RENAME_WHITEOUT);
	if (err == -EINVAL)
		skip(); /* this filesystem has none */
	assert_int_equal(err, 0);
	st = stat_of(names, "a");
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
	assert_int_equal(st.st_uid, SOMEBODY);
	assert_int_equal(stat_of(names, "b").st_uid, 0);
}

#define NAMES_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NAMES_TEST(lookup_tells_the_attributes_and_counts_one_lookup),
		NAMES_TEST(lookup_does_not_follow_a_symbolic_link),
		NAMES_TEST(lookup_below_a_file_is_refused),
		NAMES_TEST(a_missing_name_is_an_error),
		cmocka_unit_test_setup_teardown(a_missing_name_is_remembered_when_that_is_wanted,
						setup_negative, teardown),
		NAMES_TEST(what_lies_in_our_own_mount_is_replaced_by_the_covered_directory),
		NAMES_TEST(batch_forget_goes_no_further_than_the_message),
		NAMES_TEST(mkdir_honours_the_umask),
		NAMES_TEST(what_is_made_belongs_to_the_caller),
		NAMES_TEST(a_failed_mkdir_leaves_the_thread_itself),
		NAMES_TEST(mknod_takes_large_device_numbers),
		NAMES_TEST(readlink_gives_back_the_longest_target),
		NAMES_TEST(link_gives_the_same_inode_a_second_name),
		NAMES_TEST(an_unlinked_file_stays_reachable_until_it_is_forgotten),
		NAMES_TEST(a_file_that_a_rename_replaces_stays_reachable),
		cmocka_unit_test_setup_teardown(a_refused_rmdir_keeps_no_descriptor,
						setup_few_descriptors, teardown),
		NAMES_TEST(rmdir_and_unlink_keep_to_their_kind),
		NAMES_TEST(rename2_exchanges_and_refuses_to_replace),
		NAMES_TEST(a_whiteout_belongs_to_the_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
