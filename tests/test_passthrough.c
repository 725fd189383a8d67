/* SPDX-License-Identifier: MIT */
#include "fs_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "fs/fuse_kernel.h"
#include "fs/ops.h"
#include "fs/passthrough.h"

#define DEVICE 123456 /* of no open file: the tests are the kernel */

/* The kernel: the ids that are open, and how it answers. */
static struct {
	int refuse; /* errno of BACKING_OPEN, 0: it gives an id */
	int32_t last_id;
	unsigned open;
} kernel;

int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument);

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
	if (fd != DEVICE)
		return __real_ioctl(fd, request, argument);
	if (request == FUSE_DEV_IOC_BACKING_CLOSE) {
		assert_true(kernel.open > 0);
		assert_true(*(const uint32_t *)argument >= 1 &&
			    *(const uint32_t *)argument <= (uint32_t)kernel.last_id);
		kernel.open--;
		return 0;
	}
	assert_true(request == FUSE_DEV_IOC_BACKING_OPEN);
	assert_int_equal(fcntl(((const struct fuse_backing_map *)argument)->fd, F_GETFL) &
				 O_ACCMODE,
			 O_RDONLY);
	if (kernel.refuse) {
		errno = kernel.refuse;
		return -1;
	}
	kernel.open++;
	return ++kernel.last_id;
}

static struct fs_fixture fixture;

static int setup_with(void **state, enum passthrough_option option)
{
	struct fs_fixture *f = &fixture;

	fs_fixture_init(f, &(struct options){ .passthrough = option });
	f->fs->device_fd = DEVICE;
	f->fs->connection.offered = f->fs->connection.taken = FUSE_PASSTHROUGH;
	kernel.refuse = 0;
	kernel.last_id = 0;
	kernel.open = 0;
	*state = f;
	/* An ordinary directory: an overlay may lie on the mount. */
	f->fs->options.backing = f->path;
	assert_true(passthrough_settle(f->fs) > 0);
	return 0;
}

static int setup_rw(void **state)
{
	return setup_with(state, PASSTHROUGH_OPTION_RW);
}

static int setup_ro(void **state)
{
	return setup_with(state, PASSTHROUGH_OPTION_RO);
}

static int teardown(void **state)
{
	assert_int_equal(kernel.open, 0);
	assert_int_equal(fixture.fs->passthrough.backing_ids, 0);
	fs_fixture_fini(*state);
	return 0;
}

static uint64_t create(struct fs_fixture *f, struct fuse_open_out *ret_open)
{
	const struct fuse_create_in in = { .flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644 };
	struct request_out out;

	assert_int_equal(exchange(f, op_create, FUSE_ROOT_ID, &in, "file", &out), 0);
	*ret_open = out.create.open;
	return out.create.entry.nodeid;
}

static struct fuse_open_out open_node(struct fs_fixture *f, uint64_t nodeid, uint32_t flags)
{
	const struct fuse_open_in in = { .flags = flags };
	struct request_out out;

	assert_int_equal(exchange(f, op_open, nodeid, &in, NULL, &out), 0);
	return out.open;
}

static void release(struct fs_fixture *f, const struct fuse_open_out *open)
{
	const struct fuse_release_in in = { .fh = open->fh };

	assert_int_equal(exchange(f, op_release, 0, &in, NULL, NULL), 0);
}

static void assert_passed(const struct fuse_open_out *open, int32_t id)
{
	assert_int_equal(open->open_flags & ~(unsigned)FOPEN_NOFLUSH, FOPEN_PASSTHROUGH);
	assert_int_equal(fuse_open_out_backing_id(open), id);
}

static void assert_served(const struct fuse_open_out *open)
{
	assert_false(open->open_flags & FOPEN_PASSTHROUGH);
	assert_int_equal(fuse_open_out_backing_id(open), 0);
}

static void all_open_files_of_an_inode_share_an_id_until_the_last_is_closed(void **state)
{
	struct fs_fixture *f = *state;
	struct fuse_open_out created, reader, later;
	uint64_t nodeid = create(f, &created);

	assert_passed(&created, 1);
	reader = open_node(f, nodeid, O_RDONLY);
	assert_passed(&reader, 1);
	release(f, &created);
	assert_int_equal(kernel.open, 1);
	later = open_node(f, nodeid, O_WRONLY);
	assert_passed(&later, 1);
	release(f, &reader);
	assert_int_equal(kernel.open, 1);
	release(f, &later);
	assert_int_equal(kernel.open, 0);
	later = open_node(f, nodeid, O_RDONLY);
	assert_passed(&later, 2);
	release(f, &later);
	inode_forget(f->fs->inodes, nodeid, 1);
}

static void a_refused_file_is_served_until_all_have_closed_it(void **state)
{
	struct fs_fixture *f = *state;
	struct fuse_open_out created, reader;
	uint64_t nodeid;

	kernel.refuse = ELOOP;
	nodeid = create(f, &created);
	assert_served(&created);
	kernel.refuse = 0;
	reader = open_node(f, nodeid, O_RDONLY);
	assert_served(&reader);
	release(f, &created);
	release(f, &reader);
	reader = open_node(f, nodeid, O_RDONLY);
	assert_passed(&reader, 1);
	release(f, &reader);
	inode_forget(f->fs->inodes, nodeid, 1);
	assert_int_equal(f->fs->downgrade_count, 0);
}

static void who_may_not_at_all_is_not_asked_again(void **state)
{
	struct fs_fixture *f = *state;
	struct fuse_open_out created, reader;
	uint64_t nodeid;

	kernel.refuse = EPERM;
	nodeid = create(f, &created);
	assert_served(&created);
	release(f, &created);
	assert_int_equal(f->fs->downgrade_count, 1);
	kernel.refuse = 0;
	reader = open_node(f, nodeid, O_RDONLY);
	assert_served(&reader);
	release(f, &reader);
	inode_forget(f->fs->inodes, nodeid, 1);
}

static void a_writer_beside_readers_shares_their_id_and_asks_us(void **state)
{
	struct fs_fixture *f = *state;
	struct fuse_open_out created, reader, writer;
	uint64_t nodeid = create(f, &created);

	assert_served(&created);
	reader = open_node(f, nodeid, O_RDONLY);
	assert_served(&reader);
	release(f, &created);
	release(f, &reader);
	reader = open_node(f, nodeid, O_RDONLY);
	assert_passed(&reader, 1);
	writer = open_node(f, nodeid, O_RDWR);
	assert_int_equal(writer.open_flags, FOPEN_PASSTHROUGH | FOPEN_DIRECT_IO);
	assert_int_equal(fuse_open_out_backing_id(&writer), 1);
	release(f, &reader);
	assert_int_equal(kernel.open, 1);
	release(f, &writer);
	inode_forget(f->fs->inodes, nodeid, 1);
}

int main(void)
{
#define TEST_WITH(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST_WITH(all_open_files_of_an_inode_share_an_id_until_the_last_is_closed,
			  setup_rw),
		TEST_WITH(a_refused_file_is_served_until_all_have_closed_it, setup_rw),
		TEST_WITH(who_may_not_at_all_is_not_asked_again, setup_rw),
		TEST_WITH(a_writer_beside_readers_shares_their_id_and_asks_us, setup_ro),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
