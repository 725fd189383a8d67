/* SPDX-License-Identifier: MIT */
#include "fs_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/handle.h"
#include "fs/inode.h"
#include "fs/ops.h"

static int setup_with(void **state, const struct options *options)
{
	static struct fs_fixture f;

	fs_fixture_init(&f, options);
	*state = &f;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, &(struct options){ .cache = CACHE_AUTO });
}

static int setup_never(void **state)
{
	return setup_with(state, &(struct options){ .cache = CACHE_NEVER });
}

static int setup_always(void **state)
{
	return setup_with(state, &(struct options){ .cache = CACHE_ALWAYS });
}

static int setup_forward(void **state)
{
	return setup_with(state, &(struct options){ .locks = LOCKS_FORWARD });
}

static int setup_writeback(void **state)
{
	return setup_with(state, &(struct options){ .writeback = true });
}

static int teardown(void **state)
{
	fs_fixture_fini(*state);
	return 0;
}

/* ---- requests ---- */

static int create(struct fs_fixture *f, const char *name, uint32_t flags, struct request_out *out)
{
	const struct fuse_create_in in = { .flags = flags | O_CREAT, .mode = S_IFREG | 0644 };

	return exchange(f, op_create, FUSE_ROOT_ID, &in, name, out);
}

static int open_node(struct fs_fixture *f, uint64_t nodeid, uint32_t flags,
		     struct fuse_open_out *ret)
{
	const struct fuse_open_in in = { .flags = flags };
	struct request_out out;
	int error = exchange(f, op_open, nodeid, &in, NULL, &out);

	*ret = out.open;
	return error;
}

static void release(struct fs_fixture *f, uint64_t fh)
{
	const struct fuse_release_in in = { .fh = fh };

	assert_int_equal(exchange(f, op_release, 0, &in, NULL, NULL), 0);
}

/* What the kernel would do with an entry that it was given. */
static void give_back(struct fs_fixture *f, const struct request_out *out)
{
	release(f, out->create.open.fh);
	inode_forget(f->fs->inodes, out->create.entry.nodeid, 1);
}

static uint64_t lookup(struct fs_fixture *f, const char *name)
{
	struct request_out out;

	assert_int_equal(exchange(f, op_lookup, FUSE_ROOT_ID, NULL, name, &out), 0);
	return out.entry.nodeid;
}

/* The flags that the backing file has, and those of the reply. */
static int backing_flags(struct fs_fixture *f, const char *name, uint32_t flags,
			 uint32_t *ret_reply)
{
	uint64_t nodeid = lookup(f, name);
	struct fuse_open_out open_out;
	struct handle *handle;
	int fd_flags;

	assert_int_equal(open_node(f, nodeid, flags, &open_out), 0);
	handle = handle_get(f->fs->handles, open_out.fh, HANDLE_FILE);
	fd_flags = fcntl(handle->fd, F_GETFL);
	handle_put(handle);
	release(f, open_out.fh);
	inode_forget(f->fs->inodes, nodeid, 1);
	if (ret_reply)
		*ret_reply = open_out.open_flags;
	return fd_flags;
}

static void make(struct fs_fixture *f, const char *name)
{
	int fd = openat(f->dir_fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	assert_int_equal(write(fd, "content", 7), 7);
	close(fd);
}

/* ---- open ---- */

static void flags_of_the_caller_alone_stay_with_the_caller(void **state)
{
	struct fs_fixture *f = *state;
	int flags;

	make(f, "file");
	flags = backing_flags(f, "file", O_RDWR | O_APPEND | O_NONBLOCK | O_NOCTTY | 0x20, NULL);
	assert_int_equal(flags & O_ACCMODE, O_RDWR);
	assert_int_equal(flags & (O_APPEND | O_NONBLOCK), 0);
	flags = backing_flags(f, "file", O_WRONLY | O_SYNC, NULL);
	assert_int_equal(flags & O_ACCMODE, O_WRONLY);
	assert_int_equal(flags & O_SYNC, O_SYNC);
	assert_int_equal(backing_flags(f, "file", O_RDONLY | O_DSYNC, NULL) & O_SYNC, O_DSYNC);
}

static void a_write_back_cache_can_read_what_it_writes(void **state)
{
	make(*state, "file");
	assert_int_equal(backing_flags(*state, "file", O_WRONLY, NULL) & O_ACCMODE, O_RDWR);
}

static void truncating_comes_with_open(void **state)
{
	struct fs_fixture *f = *state;
	struct stat st;

	make(f, "file");
	backing_flags(f, "file", O_WRONLY | O_TRUNC, NULL);
	assert_int_equal(fstatat(f->dir_fd, "file", &st, 0), 0);
	assert_int_equal(st.st_size, 0);
}

static void pages_are_kept_while_the_file_is_the_same(void **state)
{
	struct fs_fixture *f = *state;
	uint64_t nodeid;
	uint32_t reply;

	make(f, "file");
	nodeid = lookup(f, "file");
	backing_flags(f, "file", O_RDONLY, &reply);
	assert_false(reply & FOPEN_KEEP_CACHE);
	backing_flags(f, "file", O_RDONLY, &reply);
	assert_true(reply & FOPEN_KEEP_CACHE);
	make(f, "file");
	backing_flags(f, "file", O_RDONLY, &reply);
	assert_false(reply & FOPEN_KEEP_CACHE);
	inode_forget(f->fs->inodes, nodeid, 1);
}

static void cache_never_and_always_say_so(void **state)
{
	struct fs_fixture *f = *state;
	uint32_t reply;

	make(f, "file");
	backing_flags(f, "file", O_RDWR, &reply);
	if (f->fs->options.cache == CACHE_NEVER)
		assert_int_equal(reply, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
	else
		assert_int_equal(reply, FOPEN_KEEP_CACHE);
}

static void only_who_may_have_dirty_pages_flushes(void **state)
{
	uint32_t reply;

	make(*state, "file");
	backing_flags(*state, "file", O_RDONLY, &reply);
	assert_true(reply & FOPEN_NOFLUSH);
	backing_flags(*state, "file", O_RDWR, &reply);
	assert_false(reply & FOPEN_NOFLUSH);
}

static void forwarded_locks_need_flush(void **state)
{
	uint32_t reply;

	make(*state, "file");
	backing_flags(*state, "file", O_RDONLY, &reply);
	assert_false(reply & FOPEN_NOFLUSH);
}

static void only_regular_files_are_opened(void **state)
{
	struct fs_fixture *f = *state;
	struct fuse_open_out open_out;
	uint64_t nodeid;

	assert_int_equal(mkfifoat(f->dir_fd, "fifo", 0600), 0);
	nodeid = lookup(f, "fifo");
	assert_int_equal(open_node(f, nodeid, O_RDONLY, &open_out), -ENXIO);
	inode_forget(f->fs->inodes, nodeid, 1);
	assert_int_equal(open_node(f, FUSE_ROOT_ID, O_RDONLY, &open_out), -EISDIR);
	assert_int_equal(open_node(f, 4711, O_RDONLY, &open_out), -ESTALE);
	assert_int_equal(symlinkat("fifo", f->dir_fd, "link"), 0);
	nodeid = lookup(f, "link");
	assert_int_equal(open_node(f, nodeid, O_RDONLY, &open_out), -ELOOP);
	inode_forget(f->fs->inodes, nodeid, 1);
}

/* ---- create ---- */

static void create_makes_a_file_and_opens_it(void **state)
{
	struct fs_fixture *f = *state;
	struct request_out out;
	struct stat st;

	assert_int_equal(create(f, "new", O_RDWR | O_EXCL, &out), 0);
	assert_int_equal(fstatat(f->dir_fd, "new", &st, 0), 0);
	assert_int_equal(out.create.entry.attr.ino, st.st_ino);
	assert_int_not_equal(out.create.open.fh, 0);
	give_back(f, &out);
}

static void create_of_a_file_that_came_meanwhile_opens_it(void **state)
{
	struct fs_fixture *f = *state;
	struct request_out out;

	make(f, "old");
	assert_int_equal(create(f, "old", O_RDWR | O_EXCL, &out), -EEXIST);
	assert_int_equal(create(f, "old", O_RDWR, &out), 0);
	assert_int_equal(out.create.entry.attr.size, 7);
	give_back(f, &out);
}

/* The kernel checks no permission on what it takes for a new file. */
static void create_of_another_users_file_sends_the_kernel_back_to_look(void **state)
{
	struct fs_fixture *f = *state;
	const struct fuse_create_in in = { .flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644 };
	struct exchange x;

	make(f, "old");
	exchange_init(&x, f, FUSE_ROOT_ID, &in);
	x.request.name[0] = "old";
	x.request.in.uid = geteuid() + 1000;
	exchange_run(&x, op_create);
	assert_int_equal(x.error, -ESTALE);
	exchange_fini(&x);
}

static void create_does_not_wait_at_a_fifo(void **state)
{
	struct fs_fixture *f = *state;
	struct request_out out;

	assert_int_equal(mkfifoat(f->dir_fd, "fifo", 0600), 0);
	assert_int_equal(symlinkat("nowhere", f->dir_fd, "link"), 0);
	assert_int_equal(create(f, "fifo", O_WRONLY, &out), -ENXIO);
	assert_int_equal(create(f, "link", O_WRONLY, &out), -ELOOP);
	assert_int_equal(faccessat(f->dir_fd, "nowhere", F_OK, 0), -1);
}

static void a_tmpfile_can_be_reached_without_a_name(void **state)
{
	struct fs_fixture *f = *state;
	const struct fuse_create_in in = { .flags = O_RDWR | O_TMPFILE, .mode = S_IFREG | 0600 };
	struct request_out out;
	struct fuse_link_in link_in = { 0 };
	struct fuse_open_out open_out;
	struct stat st;
	int error = exchange(f, op_tmpfile, FUSE_ROOT_ID, &in, "/", &out);

	if (error == -EOPNOTSUPP)
		skip();
	assert_int_equal(error, 0);
	assert_int_equal(out.create.entry.attr.nlink, 0);
	release(f, out.create.open.fh);
	assert_int_equal(open_node(f, out.create.entry.nodeid, O_RDWR, &open_out), 0);
	release(f, open_out.fh);
	link_in.oldnodeid = out.create.entry.nodeid;
	assert_int_equal(exchange(f, op_link, FUSE_ROOT_ID, &link_in, "named", NULL), 0);
	assert_int_equal(fstatat(f->dir_fd, "named", &st, 0), 0);
	assert_int_equal(st.st_ino, out.create.entry.attr.ino);
	inode_forget(f->fs->inodes, out.create.entry.nodeid, 2);
}

/* ---- flush, lseek, ioctl ---- */

static void flush_and_release_of_any_number_are_harmless(void **state)
{
	struct fs_fixture *f = *state;
	const struct fuse_flush_in in = { .fh = 77 };

	assert_int_equal(exchange(f, op_flush, 0, &in, NULL, NULL), -EBADF);
	release(f, 77);
	release(f, UINT64_MAX);
}

static void flush_closes_a_copy(void **state)
{
	struct fs_fixture *f = *state;
	struct fuse_flush_in in = { 0 };
	struct request_out out;

	assert_int_equal(create(f, "new", O_RDWR, &out), 0);
	in.fh = out.create.open.fh;
	assert_int_equal(exchange(f, op_flush, 0, &in, NULL, NULL), 0);
	give_back(f, &out);
}

static void lseek_finds_data_and_holes_and_does_nothing_else(void **state)
{
	struct fs_fixture *f = *state;
	struct fuse_lseek_in in = { .whence = SEEK_HOLE };
	struct request_out file, out;

	make(f, "file");
	assert_int_equal(create(f, "file", O_RDONLY, &file), 0);
	in.fh = file.create.open.fh;
	assert_int_equal(exchange(f, op_lseek, 0, &in, NULL, &out), 0);
	assert_int_equal(out.lseek.offset, 7);
	in.offset = 7;
	in.whence = SEEK_DATA;
	assert_int_equal(exchange(f, op_lseek, 0, &in, NULL, NULL), -ENXIO);
	in.whence = SEEK_SET;
	assert_int_equal(exchange(f, op_lseek, 0, &in, NULL, NULL), -EINVAL);
	in.fh = 0;
	assert_int_equal(exchange(f, op_lseek, 0, &in, NULL, NULL), -EBADF);
	give_back(f, &file);
}

struct ioctl_call {
	struct fuse_ioctl_in in;
	uid_t uid;
	char data[32];
	size_t size; /* of data that arrived */
	size_t reply_size;
};

static int call_ioctl(struct fs_fixture *f, struct ioctl_call *call)
{
	struct exchange x;
	int error;

	exchange_init(&x, f, 0, &call->in);
	x.request.in.uid = call->uid;
	x.request.value = call->data;
	x.request.value_size = call->size;
	exchange_run(&x, op_ioctl);
	error = x.error;
	call->reply_size = x.size - sizeof(struct fuse_ioctl_out);
	if (!error)
		memcpy(call->data, x.out.ioctl.data, sizeof(call->data));
	exchange_fini(&x);
	return error;
}

static struct ioctl_call ioctl_of(uint64_t fh, uint32_t cmd)
{
	size_t size = _IOC_SIZE(cmd);

	return (struct ioctl_call){
		.in = { .fh = fh,
			.cmd = cmd,
			.in_size = _IOC_DIR(cmd) & _IOC_WRITE ? (uint32_t)size : 0,
			.out_size = _IOC_DIR(cmd) & _IOC_READ ? (uint32_t)size : 0 },
		.uid = geteuid(),
		.size = _IOC_DIR(cmd) & _IOC_WRITE ? size : 0,
	};
}

static void only_ioctls_about_flags_are_passed_on(void **state)
{
	struct fs_fixture *f = *state;
	static const unsigned long others[] = { FIONREAD, FITRIM, FIFREEZE, FICLONE,
						FS_IOC_SETVERSION };
	struct request_out out;
	struct ioctl_call call;

	assert_int_equal(create(f, "file", O_RDWR, &out), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		call = ioctl_of(out.create.open.fh, (uint32_t)others[i]);
		assert_int_equal(call_ioctl(f, &call), -ENOTTY);
	}
	call = ioctl_of(77, FS_IOC_GETFLAGS);
	assert_int_equal(call_ioctl(f, &call), -EBADF);
	call = ioctl_of(out.create.open.fh, FS_IOC_GETFLAGS);
	call.in.flags = FUSE_IOCTL_DIR;
	assert_int_equal(call_ioctl(f, &call), -EBADF);
	give_back(f, &out);
}

static void ioctl_takes_and_gives_no_more_than_arrived_and_was_asked(void **state)
{
	struct fs_fixture *f = *state;
	struct request_out out;
	struct ioctl_call call;

	assert_int_equal(create(f, "file", O_RDWR, &out), 0);
	call = ioctl_of(out.create.open.fh, FS_IOC_GETFLAGS);
	if (call_ioctl(f, &call) == -ENOTTY) {
		give_back(f, &out);
		skip();
	}
	assert_int_equal(call.reply_size, sizeof(int));
	call = ioctl_of(out.create.open.fh, FS_IOC_GETFLAGS);
	call.in.out_size = 3;
	assert_int_equal(call_ioctl(f, &call), -EINVAL);
	call = ioctl_of(out.create.open.fh, FS_IOC_SETFLAGS);
	call.size = 2;
	assert_int_equal(call_ioctl(f, &call), -EINVAL);
	call = ioctl_of(out.create.open.fh, FS_IOC_FSSETXATTR);
	call.in.in_size = 27;
	assert_int_equal(call_ioctl(f, &call), -EINVAL);
	give_back(f, &out);
}

static void flags_are_set_by_the_owner_and_some_by_root_only(void **state)
{
	struct fs_fixture *f = *state;
	const int nodump = FS_NODUMP_FL, immutable = FS_IMMUTABLE_FL;
	struct request_out out;
	struct ioctl_call call;

	assert_int_equal(create(f, "file", O_RDWR, &out), 0);
	call = ioctl_of(out.create.open.fh, FS_IOC_SETFLAGS);
	memcpy(call.data, &nodump, sizeof(nodump));
	call.uid = 12345;
	if (geteuid() != 0) {
		give_back(f, &out);
		skip();
	}
	assert_int_equal(call_ioctl(f, &call), -EPERM);
	assert_int_equal(fchownat(f->dir_fd, "file", 12345, 12345, 0), 0);
	memcpy(call.data, &immutable, sizeof(immutable));
	assert_int_equal(call_ioctl(f, &call), -EPERM);
	give_back(f, &out);
}

int main(void)
{
#define TEST_WITH(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST(name)	       TEST_WITH(name, setup)
	const struct CMUnitTest tests[] = {
		TEST(flags_of_the_caller_alone_stay_with_the_caller),
		TEST_WITH(a_write_back_cache_can_read_what_it_writes, setup_writeback),
		TEST(truncating_comes_with_open),
		TEST(pages_are_kept_while_the_file_is_the_same),
		TEST_WITH(cache_never_and_always_say_so, setup_never),
		TEST_WITH(cache_never_and_always_say_so, setup_always),
		TEST(only_who_may_have_dirty_pages_flushes),
		TEST_WITH(forwarded_locks_need_flush, setup_forward),
		TEST(only_regular_files_are_opened),
		TEST(create_makes_a_file_and_opens_it),
		TEST(create_of_a_file_that_came_meanwhile_opens_it),
		TEST(create_of_another_users_file_sends_the_kernel_back_to_look),
		TEST(create_does_not_wait_at_a_fifo),
		TEST(a_tmpfile_can_be_reached_without_a_name),
		TEST(flush_and_release_of_any_number_are_harmless),
		TEST(flush_closes_a_copy),
		TEST(lseek_finds_data_and_holes_and_does_nothing_else),
		TEST(only_ioctls_about_flags_are_passed_on),
		TEST(ioctl_takes_and_gives_no_more_than_arrived_and_was_asked),
		TEST(flags_are_set_by_the_owner_and_some_by_root_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
