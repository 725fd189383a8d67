/* SPDX-License-Identifier: MIT */

/* copy_file_range(2). See check.h. */

#include "check.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB 1024
#define MIB (1024 * KIB)
#define GIB (1024LL * MIB)

/* One call may copy less than it was asked for; the caller then goes on. Returns bytes or -1. */
static long long copy(int in, off_t in_offset, int out, off_t out_offset, size_t length)
{
	long long copied = 0;

	while (length > 0) {
		ssize_t n = copy_file_range(in, &in_offset, out, &out_offset, length, 0);

		if (n < 0)
			return copied > 0 ? copied : -1;
		if (n == 0)
			break;
		copied += n;
		length -= (size_t)n;
	}
	return copied;
}

static int make_output(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

	CHECK(fd >= 0);
	return fd;
}

static void all_tails_are_copied(void)
{
	static const size_t sizes[] = { 0,	 1,	511,	 4095,		4096,
					4097,	 65537, 131071,	 131072,	131073,
					MIB - 1, MIB,	MIB + 1, 3 * MIB + 4097 };

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		int in = check_make_file("in", sizes[i], (unsigned)i);
		int out = make_output("out");

		CHECK(copy(in, 0, out, 0, sizes[i] + 100) == (long long)sizes[i]);
		close(in);
		close(out);
		check_show_file("out");
	}
}

static void any_offset_is_copied(void)
{
	static const struct {
		off_t in, out;
		size_t length;
	} ranges[] = { { 1, 0, 10000 },	      { 0, 1, 10000 },	     { 4095, 4097, 4096 },
		       { 100, 5000000, 7 },   { 99999, 3, 1000000 }, { 131071, 65535, 262145 },
		       { 2097151, 0, 10000 }, { 2097152, 0, 10000 } };
	int in = check_make_file("in", 2 * MIB, 1);

	for (size_t i = 0; i < COUNT_OF(ranges); i++) {
		int out = check_make_file("out", 300000, 2);

		printf("%lld\n", copy(in, ranges[i].in, out, ranges[i].out, ranges[i].length));
		check_show_file("out");
		close(out);
	}
}

static void file_offsets_move_on(void)
{
	int in = check_make_file("in", 100000, 1);
	int out = make_output("out");

	CHECK(lseek(in, 10, SEEK_SET) == 10 && lseek(out, 7, SEEK_SET) == 7);
	CHECK(copy_file_range(in, NULL, out, NULL, 5000, 0) == 5000);
	CHECK(lseek(in, 0, SEEK_CUR) == 5010 && lseek(out, 0, SEEK_CUR) == 5007);
	while (copy_file_range(in, NULL, out, NULL, 1 << 30, 0) > 0)
		;
	CHECK(lseek(in, 0, SEEK_CUR) == 100000 && lseek(out, 0, SEEK_CUR) == 100000 - 3);
	check_show_file("out");
}

static void nothing_is_copied_past_the_end(void)
{
	int in = check_make_file("in", 1000, 1);
	int out = check_make_file("out", 10, 2);

	CHECK(copy(in, 1000, out, 0, 100) == 0);
	CHECK(copy(in, 1LL << 40, out, 0, 100) == 0);
	CHECK(copy(in, 0, out, 0, 0) == 0);
	check_show_file("out");
	CHECK(copy(in, 999, out, 10, SSIZE_MAX - 999) == 1);
	check_show_file("out");
}

static void a_file_can_be_copied_into_itself(void)
{
	int fd = check_make_file("f", 300000, 1);

	CHECK(copy(fd, 0, fd, 300000, 300000) == 300000);
	check_show_file("f");
	CHECK(copy(fd, 500000, fd, 100, 10000) == 10000);
	check_show_file("f");
	CHECK_ERRNO(copy(fd, 0, fd, 1000, 5000), EINVAL);
	CHECK_ERRNO(copy(fd, 1000, fd, 0, 5000), EINVAL);
	SHOW(copy(fd, 0, fd, 0, 5000));
	CHECK(copy(fd, 0, fd, 5000, 5000) == 5000);
	check_show_file("f");
}

static void wrong_arguments_are_refused(void)
{
	int in = check_make_file("in", 1000, 1);
	int out = make_output("out");
	loff_t at = 0;
	int pipes[2];

	CHECK_ERRNO(copy(in, 0, open("out", O_RDONLY), 0, 10), EBADF);
	CHECK_ERRNO(copy(open("in", O_WRONLY), 0, out, 0, 10), EBADF);
	CHECK_ERRNO(copy(in, 0, open("out", O_WRONLY | O_APPEND), 0, 10), EBADF);
	CHECK_ERRNO(copy(in, 0, 1000, 0, 10), EBADF);
	CHECK_ERRNO(copy(open(".", O_RDONLY), 0, out, 0, 10), EISDIR);
	CHECK_ERRNO(copy_file_range(in, &at, out, NULL, 10, 1 << 5), EINVAL);
	CHECK(pipe(pipes) == 0);
	CHECK_ERRNO(copy(pipes[0], 0, out, 0, 10), EINVAL);
	SHOW(copy(in, -1, out, 0, 10));
	SHOW(copy(in, 0, out, INT64_MAX - 5, 10));
	SHOW(copy(in, 0, out, INT64_MAX, 10));
	CHECK(ftruncate(out, 0) == 0);
	CHECK(mkfifo("fifo", 0600) == 0);
	CHECK_ERRNO(copy(open("fifo", O_RDWR), 0, out, 0, 10), EINVAL);
}

static void the_limit_of_a_files_size_holds(void)
{
	const struct rlimit limit = { 10000, 10000 };
	int in = check_make_file("in", 20000, 1);
	int out = make_output("out");

	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	SHOW(copy(in, 0, out, 0, 20000));
	SHOW(copy(in, 0, out, 10000, 1));
	SHOW(copy(in, 0, out, 9999, 2));
	check_show_file("out");
}

static void set_flag(int fd, int flag)
{
	int flags = 0;

	CHECK(ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0);
	flags = (flags & ~(FS_IMMUTABLE_FL | FS_APPEND_FL)) | flag;
	CHECK(ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0);
}

/* Opened before, and so for writing. */
static void immutable_files_are_no_destination(void)
{
	int in = check_make_file("in", 300000, 1);
	int out = make_output("out");

	if (geteuid() != 0)
		check_skip("for root");
	/* With a write-back cache the kernel does not do so by itself, and cannot later. */
	CHECK(fsync(in) == 0 && fsync(out) == 0);
	set_flag(in, FS_IMMUTABLE_FL);
	SHOW(copy(in, 0, out, 0, 300000));
	set_flag(out, FS_IMMUTABLE_FL);
	SHOW(copy(in, 0, out, 0, 300000));
	set_flag(out, FS_APPEND_FL);
	SHOW(copy(in, 0, out, 0, 300000));
	set_flag(out, 0);
	set_flag(in, 0);
	check_show_file("out");
}

static void fill(int fd, off_t at, size_t size, unsigned seed)
{
	char *data = malloc(size);

	check_pattern(data, size, seed);
	CHECK(pwrite(fd, data, size, at) == (ssize_t)size);
	free(data);
}

static long long blocks_of(int fd)
{
	struct stat st;

	CHECK(fsync(fd) == 0 && fstat(fd, &st) == 0);
	return st.st_blocks * 512LL;
}

static void holes_read_as_zeros_where_old_data_was(void)
{
	int in = make_output("in");
	int out = check_make_file("out", 8 * MIB, 9);

	CHECK(ftruncate(in, 6 * MIB) == 0);
	fill(in, 1 * MIB, 100000, 1);
	fill(in, 4 * MIB + 4097, 300000, 2);
	CHECK(fsync(in) == 0);
	CHECK(copy(in, 0, out, 0, 6 * MIB) == 6 * MIB);
	check_show_file("out");
	CHECK(copy(in, 4000, out, 123, 5 * MIB) == 5 * MIB);
	check_show_file("out");
}

static void a_hole_at_the_end_makes_the_file_as_long(void)
{
	int in = make_output("in");
	int out = make_output("out");

	CHECK(ftruncate(in, 10 * MIB) == 0);
	fill(in, 0, 5000, 1);
	CHECK(fsync(in) == 0);
	CHECK(copy(in, 0, out, 0, 20 * MIB) == 10 * MIB);
	check_show_file("out");
	CHECK(ftruncate(in, 0) == 0 && ftruncate(in, 3 * MIB) == 0);
	out = make_output("only-a-hole");
	CHECK(copy(in, 0, out, 0, 20 * MIB) == 3 * MIB);
	check_show_file("only-a-hole");
	CHECK(copy(in, 0, out, 5 * MIB, 20 * MIB) == 3 * MIB);
	check_show_file("only-a-hole");
}

static void preallocated_space_is_copied_as_zeros(void)
{
	int in = make_output("in");
	int out = check_make_file("out", 2 * MIB, 4);

	if (fallocate(in, 0, 0, 1 * MIB))
		check_skip("no fallocate");
	fill(in, 300000, 1000, 1);
	CHECK(copy(in, 0, out, 100, 1 * MIB) == 1 * MIB);
	check_show_file("out");
}

static void a_copy_that_grows_the_file_leaves_a_hole_before_it(void)
{
	int in = check_make_file("in", 100000, 1);
	int out = make_output("out");

	CHECK(copy(in, 0, out, 64LL * MIB, 100000) == 100000);
	CHECK(blocks_of(out) < 32LL * MIB);
	check_show_file("out");
}

static void data_not_yet_written_back_is_copied(void)
{
	int in = check_make_file("in", 1 * MIB, 1);
	char *map = mmap(NULL, 1 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, in, 0);
	int out = make_output("out");

	CHECK(map != MAP_FAILED);
	memcpy(map + 500000, "mapped", 6);
	CHECK(pwrite(in, "written", 7, 700000) == 7);
	CHECK(copy(in, 0, out, 0, 1 * MIB) == 1 * MIB);
	check_show_file("out");
}

static void pages_of_the_destination_are_refreshed(void)
{
	int in = check_make_file("in", 1 * MIB, 1);
	int out = check_make_file("out", 1 * MIB, 2);
	char *map = mmap(NULL, 1 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
	unsigned long sum = 0;

	CHECK(map != MAP_FAILED);
	for (size_t i = 0; i < MIB; i++)
		sum += (unsigned char)map[i];
	CHECK(sum > 0);
	map[0] = 'd';
	CHECK(pwrite(out, "dirty", 5, 600000) == 5);
	CHECK(copy(in, 0, out, 0, 1 * MIB) == 1 * MIB);
	for (size_t i = 0; i < MIB; i += 4096)
		printf("%02x", (unsigned char)map[i]);
	printf("\n");
	check_show_file("out");
}

static void a_part_of_a_dirty_file_keeps_the_rest(void)
{
	int in = check_make_file("in", 10000, 1);
	int out = check_make_file("out", 100000, 2); /* still in the page cache */

	CHECK(copy(in, 0, out, 50001, 777) == 777);
	CHECK(copy(in, 5, out, 99999, 777) == 777);
	check_show_file("out");
}

static void unlinked_files_can_be_copied(void)
{
	int in = check_make_file("in", 300000, 1);
	int out = make_output("out");

	CHECK(unlink("in") == 0 && unlink("out") == 0);
	CHECK(copy(in, 0, out, 0, 300000) == 300000);
	in = make_output("again");
	CHECK(copy(out, 0, in, 0, 300000) == 300000);
	check_show_file("again");
}

static void direct_files_can_be_copied(void)
{
	int in = check_make_file("in", 307200, 1);
	int out;

	CHECK(fsync(in) == 0);
	in = open("in", O_RDONLY | O_DIRECT);
	out = open("out", O_RDWR | O_CREAT | O_DIRECT, 0644);
	if (in < 0 || out < 0)
		check_skip("no O_DIRECT");
	CHECK(copy(in, 0, out, 0, 307200) == 307200);
	check_show_file("out");
}

static void times_and_modes_follow_the_rules_of_writing(void)
{
	int in = check_make_file("in", 1000, 1);
	int out = make_output("out");
	struct timespec old[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
	struct stat st;

	CHECK(futimens(out, old) == 0 && fchmod(out, 06775) == 0);
	CHECK(copy(in, 0, out, 0, 1000) == 1000);
	CHECK(fstat(out, &st) == 0);
	CHECK(st.st_mtim.tv_sec > 1600000000 && st.st_size == 1000);
	printf("mode %o\n", st.st_mode & 07777);
}

static void a_limit_in_the_middle_of_a_large_copy_holds(void)
{
	const struct rlimit limit = { .rlim_cur = 1 * MIB + 5, .rlim_max = 1 * MIB + 5 };
	int in = check_make_file("in", 3 * MIB, 1);
	int out = make_output("out");

	CHECK(fsync(in) == 0);
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK(copy(in, 0, out, 0, 3 * MIB) == 1 * MIB + 5);
	CHECK_ERRNO(copy(in, 0, out, 1 * MIB + 5, 1), EFBIG);
	check_show_file("out");
	CHECK(copy(in, 5, out, 1 * MIB, 10) == 5);
	check_show_file("out");
}

static void a_copy_across_directories_works(void)
{
	int in, out;

	CHECK(mkdir("a", 0755) == 0 && mkdir("b", 0755) == 0);
	in = check_make_file("a/in", 70000, 1);
	out = make_output("b/out");
	CHECK(copy(in, 0, out, 0, 70000) == 70000);
	check_show_file("b/out");
}

#define CHECK_ENTRY(function)       \
	{                           \
#function, function \
	}

static const struct check checks[] = {
	CHECK_ENTRY(all_tails_are_copied),
	CHECK_ENTRY(any_offset_is_copied),
	CHECK_ENTRY(file_offsets_move_on),
	CHECK_ENTRY(nothing_is_copied_past_the_end),
	CHECK_ENTRY(a_file_can_be_copied_into_itself),
	CHECK_ENTRY(wrong_arguments_are_refused),
	CHECK_ENTRY(the_limit_of_a_files_size_holds),
	CHECK_ENTRY(immutable_files_are_no_destination),
	CHECK_ENTRY(holes_read_as_zeros_where_old_data_was),
	CHECK_ENTRY(a_hole_at_the_end_makes_the_file_as_long),
	CHECK_ENTRY(preallocated_space_is_copied_as_zeros),
	CHECK_ENTRY(a_copy_that_grows_the_file_leaves_a_hole_before_it),
	CHECK_ENTRY(data_not_yet_written_back_is_copied),
	CHECK_ENTRY(pages_of_the_destination_are_refreshed),
	CHECK_ENTRY(a_part_of_a_dirty_file_keeps_the_rest),
	CHECK_ENTRY(unlinked_files_can_be_copied),
	CHECK_ENTRY(direct_files_can_be_copied),
	CHECK_ENTRY(times_and_modes_follow_the_rules_of_writing),
	CHECK_ENTRY(a_limit_in_the_middle_of_a_large_copy_holds),
	CHECK_ENTRY(a_copy_across_directories_works),
};

int main(int argc, char **argv)
{
	return check_main(argc, argv, checks, COUNT_OF(checks));
}
