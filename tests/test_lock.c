/* SPDX-License-Identifier: MIT */
#include "fs_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/handle.h"
#include "fs/inode.h"
#include "fs/lock.h"
#include "fs/lock_waiter.h"
#include "fs/ops.h"

/* An inode that the kernel knows, open twice, and a descriptor of somebody outside the mount. */
struct file {
	struct fs_fixture f;
	uint64_t nodeid;
	struct handle *a;
	struct handle *b;
	int outside_fd;
};

#define WHOLE 0, INT64_MAX

static struct handle *open_handle(struct file *file)
{
	struct inode_table *inodes = file->f.fs->inodes;
	struct inode_ref ref;
	int fd;

	assert_int_equal(inode_ref_get(inodes, file->nodeid, &ref), 0);
	fd = inode_open(inodes, &ref, O_RDWR);
	inode_ref_put(&ref);
	return fs_fixture_handle(&file->f, HANDLE_FILE, file->nodeid, fd, O_RDWR);
}

static int setup(void **state)
{
	static struct file file;
	struct statx stx;
	uint64_t generation;

	fs_fixture_init(&file.f, &(struct options){ .locks = LOCKS_FORWARD });
	assert_int_equal(lock_waiters_new(file.f.fs, &file.f.fs->lock_waiters), 0);
	file.outside_fd = openat(file.f.dir_fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(file.outside_fd >= 0);
	assert_int_equal(statx(file.outside_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx), 0);
	assert_int_equal(inode_lookup(file.f.fs->inodes, file.outside_fd, false, &stx, &file.nodeid,
				      &generation),
			 0);
	file.a = open_handle(&file);
	file.b = open_handle(&file);
	*state = &file;
	return 0;
}

static int teardown(void **state)
{
	struct file *file = *state;

	lock_waiters_stop(file->f.fs->lock_waiters);
	lock_waiters_free(file->f.fs->lock_waiters);
	file->f.fs->lock_waiters = NULL;
	close(file->outside_fd);
	handle_release(file->f.fs->handles, file->a->id, HANDLE_FILE);
	handle_release(file->f.fs->handles, file->b->id, HANDLE_FILE);
	inode_forget(file->f.fs->inodes, file->nodeid, 1);
	fs_fixture_fini(&file->f);
	return 0;
}

/* ---- requests ---- */

static struct fuse_lk_in posix(const struct handle *handle, uint64_t owner, short type,
			       uint64_t start, uint64_t end)
{
	return (struct fuse_lk_in){
		.fh = handle->id,
		.owner = owner,
		.lk = { .start = start,
			.end = end,
			.type = (uint32_t)type,
			.pid = (uint32_t)owner + 1000 },
	};
}

static struct fuse_lk_in whole_file(const struct handle *handle, short type)
{
	struct fuse_lk_in in = posix(handle, 0, type, WHOLE);

	in.lk_flags = FUSE_LK_FLOCK;
	return in;
}

static int setlk(struct file *file, struct fuse_lk_in in)
{
	return exchange(&file->f, op_setlk, file->nodeid, &in, NULL, NULL);
}

static struct fuse_file_lock getlk(struct file *file, struct fuse_lk_in in)
{
	struct request_out out;

	assert_int_equal(exchange(&file->f, op_getlk, file->nodeid, &in, NULL, &out), 0);
	return out.lk.lk;
}

/* SETLKW that has to wait. */
static void start_waiting(struct exchange *x, struct file *file, struct fuse_lk_in *in)
{
	exchange_init(x, &file->f, file->nodeid, in);
	exchange_run(x, op_setlkw);
	assert_true(x->detached);
}

static void interrupt(struct file *file, const struct exchange *x)
{
	const struct fuse_interrupt_in in = { .unique = x->request.in.unique };
	struct exchange sent;

	exchange_init(&sent, &file->f, 0, &in);
	exchange_run(&sent, op_interrupt);
	exchange_fini(&sent);
}

/* A lock of somebody outside; OFD, so that it meets ours although this is one process. Returns 0 or
 * -errno. */
static int outside(const struct file *file, short type, off_t start, off_t length)
{
	struct flock lock = { .l_type = type, .l_start = start, .l_len = length };

	return fcntl(file->outside_fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* ---- tests ---- */

static void a_posix_lock_meets_those_of_other_owners_only(void **state)
{
	struct file *file = *state;

	assert_int_equal(setlk(file, posix(file->a, 1, F_WRLCK, 0, 99)), 0);
	assert_int_equal(setlk(file, posix(file->b, 1, F_WRLCK, 50, 149)), 0);
	assert_int_equal(setlk(file, posix(file->b, 2, F_WRLCK, 0, 0)), -EAGAIN);
	assert_int_equal(setlk(file, posix(file->b, 2, F_RDLCK, 149, 149)), -EAGAIN);
	assert_int_equal(setlk(file, posix(file->b, 2, F_WRLCK, 150, INT64_MAX)), 0);
	assert_int_equal(setlk(file, posix(file->a, 1, F_UNLCK, 0, 9)), 0);
	assert_int_equal(setlk(file, posix(file->b, 2, F_WRLCK, 0, 9)), 0);
	lock_flush(file->f.fs, file->a, 1);
	lock_flush(file->f.fs, file->a, 2);
}

static void a_posix_lock_meets_those_outside(void **state)
{
	struct file *file = *state;

	assert_int_equal(outside(file, F_WRLCK, 100, 100), 0);
	assert_int_equal(setlk(file, posix(file->a, 1, F_RDLCK, 0, 99)), 0);
	assert_int_equal(setlk(file, posix(file->a, 1, F_RDLCK, 199, 300)), -EAGAIN);
	assert_int_equal(outside(file, F_WRLCK, 99, 1), -EAGAIN);
	assert_int_equal(outside(file, F_RDLCK, 99, 1), 0);
	lock_flush(file->f.fs, file->a, 1);
	assert_int_equal(outside(file, F_WRLCK, 0, 0), 0);
}

static void a_flush_drops_the_locks_of_that_owner(void **state)
{
	struct file *file = *state;

	assert_int_equal(setlk(file, posix(file->a, 1, F_RDLCK, WHOLE)), 0);
	assert_int_equal(setlk(file, posix(file->a, 2, F_RDLCK, WHOLE)), 0);
	lock_flush(file->f.fs, file->b, 1);
	assert_int_equal(outside(file, F_WRLCK, 0, 0), -EAGAIN);
	lock_flush(file->f.fs, file->a, 2);
	assert_int_equal(outside(file, F_WRLCK, 0, 0), 0);
}

static void a_release_drops_what_was_locked_through_the_handle(void **state)
{
	struct file *file = *state;

	assert_int_equal(setlk(file, posix(file->a, 1, F_WRLCK, 0, 9)), 0);
	assert_int_equal(setlk(file, posix(file->b, 2, F_WRLCK, 10, 19)), 0);
	lock_release(file->f.fs, file->a, false);
	assert_int_equal(outside(file, F_WRLCK, 0, 10), 0);
	assert_int_equal(outside(file, F_WRLCK, 10, 10), -EAGAIN);
	lock_release(file->f.fs, file->b, false);
	assert_int_equal(outside(file, F_WRLCK, 10, 10), 0);
}

static void an_unlock_by_who_has_nothing_is_no_error(void **state)
{
	struct file *file = *state;

	assert_int_equal(setlk(file, posix(file->a, 1, F_UNLCK, WHOLE)), 0);
	assert_int_equal(setlk(file, whole_file(file->a, F_UNLCK)), 0);
}

static void nonsense_is_refused(void **state)
{
	struct file *file = *state;
	struct fuse_lk_in in = posix(file->a, 1, F_RDLCK, 10, 9);

	assert_int_equal(setlk(file, in), -EINVAL);
	assert_int_equal(setlk(file, posix(file->a, 1, F_RDLCK, 0, UINT64_MAX)), -EINVAL);
	assert_int_equal(setlk(file, posix(file->a, 1, 77, WHOLE)), -EINVAL);
	in = posix(file->a, 1, F_RDLCK, WHOLE);
	in.fh = 77;
	assert_int_equal(setlk(file, in), -EBADF);
	in.lk_flags = FUSE_LK_FLOCK;
	assert_int_equal(setlk(file, in), -EBADF);
	in = posix(file->a, 1, F_UNLCK, WHOLE);
	assert_int_equal(exchange(&file->f, op_getlk, file->nodeid, &in, NULL, NULL), -EINVAL);
}

static void getlk_tells_what_is_in_the_way_and_whose_it_is(void **state)
{
	struct file *file = *state;
	struct fuse_file_lock lk;

	assert_int_equal(getlk(file, posix(file->a, 1, F_WRLCK, WHOLE)).type, F_UNLCK);
	assert_int_equal(setlk(file, posix(file->a, 3, F_RDLCK, 0, 1)), 0);
	assert_int_equal(setlk(file, posix(file->a, 1, F_RDLCK, 10, 19)), 0);
	assert_int_equal(setlk(file, posix(file->b, 2, F_WRLCK, 100, INT64_MAX)), 0);

	lk = getlk(file, posix(file->b, 2, F_WRLCK, 5, INT64_MAX));
	assert_int_equal(lk.type, F_RDLCK);
	assert_int_equal(lk.start, 10);
	assert_int_equal(lk.end, 19);
	assert_int_equal(lk.pid, 1001);

	lk = getlk(file, posix(file->a, 1, F_RDLCK, 50, 200));
	assert_int_equal(lk.type, F_WRLCK);
	assert_int_equal(lk.start, 100);
	assert_int_equal(lk.end, INT64_MAX);
	assert_int_equal(lk.pid, 1002);

	/* One without a lock asks, and reads do not meet reads. */
	assert_int_equal(getlk(file, posix(file->a, 4, F_RDLCK, 0, 50)).type, F_UNLCK);
	assert_int_equal(getlk(file, posix(file->a, 4, F_WRLCK, 0, 1)).pid, 1003);
	for (uint64_t owner = 1; owner <= 3; owner++)
		lock_flush(file->f.fs, file->a, owner);
}

static void a_lock_outside_the_mount_has_the_pid_that_the_kernel_knows(void **state)
{
	struct file *file = *state;
	int ready[2];
	pid_t child;
	char byte;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct flock lock = { .l_type = F_WRLCK };

		close(ready[0]);
		if (fcntl(file->outside_fd, F_SETLK, &lock) == 0 && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(getlk(file, posix(file->a, 1, F_RDLCK, WHOLE)).pid, child);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(ready[0]);
}

static void a_flock_belongs_to_the_open_file(void **state)
{
	struct file *file = *state;

	assert_int_equal(setlk(file, whole_file(file->a, F_WRLCK)), 0);
	assert_int_equal(setlk(file, whole_file(file->b, F_RDLCK)), -EAGAIN);
	assert_int_equal(flock(file->outside_fd, LOCK_SH | LOCK_NB), -1);
	assert_int_equal(setlk(file, whole_file(file->a, F_RDLCK)), 0);
	assert_int_equal(setlk(file, whole_file(file->b, F_RDLCK)), 0);
	assert_int_equal(flock(file->outside_fd, LOCK_SH | LOCK_NB), 0);
	assert_int_equal(flock(file->outside_fd, LOCK_EX | LOCK_NB), -1);
	assert_int_equal(setlk(file, whole_file(file->a, F_UNLCK)), 0);
	lock_release(file->f.fs, file->b, true);
	assert_int_equal(flock(file->outside_fd, LOCK_EX | LOCK_NB), 0);
}

static void who_waits_gets_the_lock_when_it_is_free(void **state)
{
	struct file *file = *state;
	struct fuse_lk_in in = posix(file->a, 1, F_WRLCK, 0, 9);
	struct fuse_lk_in flock_in = whole_file(file->a, F_WRLCK);
	struct exchange x, y;

	assert_int_equal(outside(file, F_RDLCK, 5, 1), 0);
	assert_int_equal(flock(file->outside_fd, LOCK_SH), 0);
	start_waiting(&x, file, &in);
	start_waiting(&y, file, &flock_in);
	assert_int_equal(outside(file, F_UNLCK, 0, 0), 0);
	assert_int_equal(exchange_wait(&x), 0);
	assert_int_equal(y.replies, 0);
	assert_int_equal(flock(file->outside_fd, LOCK_UN), 0);
	assert_int_equal(exchange_wait(&y), 0);
	assert_int_equal(outside(file, F_RDLCK, 5, 1), -EAGAIN);
	exchange_fini(&x);
	exchange_fini(&y);
	lock_flush(file->f.fs, file->a, 1);
}

static void setlkw_that_need_not_wait_answers_at_once(void **state)
{
	struct file *file = *state;
	struct fuse_lk_in in = posix(file->a, 1, F_WRLCK, WHOLE);

	assert_int_equal(exchange(&file->f, op_setlkw, file->nodeid, &in, NULL, NULL), 0);
	in.lk.type = F_UNLCK;
	assert_int_equal(exchange(&file->f, op_setlkw, file->nodeid, &in, NULL, NULL), 0);
	assert_int_equal(outside(file, F_WRLCK, 0, 0), 0);
	lock_flush(file->f.fs, file->a, 1);
}

#define INTERRUPTS 300

/* Wherever the waiter is on its way into the system call. */
static void no_interrupt_is_missed(void **state)
{
	struct file *file = *state;

	assert_int_equal(outside(file, F_WRLCK, 0, 0), 0);
	assert_int_equal(flock(file->outside_fd, LOCK_EX), 0);
	for (unsigned i = 0; i < INTERRUPTS; i++) {
		struct fuse_lk_in in = i % 2 ? posix(file->a, 1, F_WRLCK, WHOLE)
					     : whole_file(file->a, F_RDLCK);
		struct exchange x;

		start_waiting(&x, file, &in);
		for (volatile unsigned spin = 0; spin < i * 100; spin++)
			;
		interrupt(file, &x);
		assert_int_equal(exchange_wait(&x), -EINTR);
		exchange_fini(&x);
	}
	lock_flush(file->f.fs, file->a, 1);
}

static void an_interrupt_that_comes_before_the_request_counts(void **state)
{
	struct file *file = *state;
	struct fuse_lk_in in = posix(file->a, 1, F_WRLCK, WHOLE);
	struct exchange x;

	assert_int_equal(outside(file, F_WRLCK, 0, 0), 0);
	exchange_init(&x, &file->f, file->nodeid, &in);
	interrupt(file, &x);
	exchange_run(&x, op_setlkw);
	assert_int_equal(exchange_wait(&x), -EINTR);
	exchange_fini(&x);
	lock_flush(file->f.fs, file->a, 1);
}

static void a_stranger_to_the_signal_goes_on_waiting(void **state)
{
	struct file *file = *state;
	struct fuse_lk_in in = posix(file->a, 1, F_WRLCK, WHOLE);
	struct exchange x;

	assert_int_equal(outside(file, F_WRLCK, 0, 0), 0);
	start_waiting(&x, file, &in);
	for (int i = 0; i < 20; i++)
		kill(getpid(), SIGUSR1);
	assert_int_equal(outside(file, F_UNLCK, 0, 0), 0);
	assert_int_equal(exchange_wait(&x), 0);
	exchange_fini(&x);
	lock_flush(file->f.fs, file->a, 1);
}

#define CROWD 100

static void stopping_answers_all_who_wait(void **state)
{
	struct file *file = *state;
	static struct fuse_lk_in in[CROWD];
	static struct exchange x[CROWD];
	struct fuse_lk_in late = whole_file(file->a, F_WRLCK);

	assert_int_equal(outside(file, F_WRLCK, 0, 0), 0);
	assert_int_equal(flock(file->outside_fd, LOCK_EX), 0);
	for (unsigned i = 0; i < CROWD; i++) {
		in[i] = i % 2 ? posix(file->a, i, F_WRLCK, WHOLE) : whole_file(file->b, F_RDLCK);
		start_waiting(&x[i], file, &in[i]);
	}
	lock_waiters_stop(file->f.fs->lock_waiters);
	for (unsigned i = 0; i < CROWD; i++) {
		assert_int_equal(x[i].replies, 1);
		assert_int_equal(x[i].error, -ENOTCONN);
		exchange_fini(&x[i]);
	}
	assert_int_equal(exchange(&file->f, op_setlkw, file->nodeid, &late, NULL, NULL), -ENOTCONN);
}

static void a_flush_of_the_owner_leaves_no_lock_to_who_waits(void **state)
{
	struct file *file = *state;
	struct fuse_lk_in in = posix(file->a, 1, F_WRLCK, WHOLE);
	struct exchange x;

	assert_int_equal(outside(file, F_WRLCK, 0, 0), 0);
	start_waiting(&x, file, &in);
	lock_flush(file->f.fs, file->a, 1);
	assert_int_equal(outside(file, F_UNLCK, 0, 0), 0);
	exchange_wait(&x);
	assert_int_equal(outside(file, F_WRLCK, 0, 0), 0);
	exchange_fini(&x);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_posix_lock_meets_those_of_other_owners_only),
		TEST(a_posix_lock_meets_those_outside),
		TEST(a_flush_drops_the_locks_of_that_owner),
		TEST(a_release_drops_what_was_locked_through_the_handle),
		TEST(an_unlock_by_who_has_nothing_is_no_error),
		TEST(nonsense_is_refused),
		TEST(getlk_tells_what_is_in_the_way_and_whose_it_is),
		TEST(a_lock_outside_the_mount_has_the_pid_that_the_kernel_knows),
		TEST(a_flock_belongs_to_the_open_file),
		TEST(who_waits_gets_the_lock_when_it_is_free),
		TEST(setlkw_that_need_not_wait_answers_at_once),
		TEST(no_interrupt_is_missed),
		TEST(an_interrupt_that_comes_before_the_request_counts),
		TEST(a_stranger_to_the_signal_goes_on_waiting),
		TEST(stopping_answers_all_who_wait),
		TEST(a_flush_of_the_owner_leaves_no_lock_to_who_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
