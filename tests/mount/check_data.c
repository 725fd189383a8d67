/* SPDX-License-Identifier: MIT */

/* Reading, writing, holes, mappings, direct I/O. See check.h. */

#include "check.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define KIB 1024
#define MIB (1024 * KIB)
#define GIB (1024LL * MIB)

static void *aligned(size_t size)
{
	void *data = aligned_alloc(4096, size);

	CHECK(data);
	memset(data, 0, size);
	return data;
}

static long long size_of(const char *name)
{
	struct stat st;

	CHECK(stat(name, &st) == 0);
	return st.st_size;
}

static void reading_ends_at_the_end_of_the_file(void)
{
	char data[300];
	int fd = check_make_file("f", 100, 1);

	CHECK(pread(fd, data, sizeof(data), 0) == 100);
	CHECK(pread(fd, data, sizeof(data), 99) == 1);
	CHECK(pread(fd, data, sizeof(data), 100) == 0);
	CHECK(pread(fd, data, sizeof(data), 1LL << 40) == 0);
	CHECK(pread(fd, data, 0, 0) == 0);
	CHECK_ERRNO(pread(fd, data, 1, -1), EINVAL);
	fd = open("empty", O_RDWR | O_CREAT, 0644);
	CHECK(read(fd, data, sizeof(data)) == 0);
	CHECK(pwrite(fd, data, 0, 1000) == 0 && size_of("empty") == 0);
}

static void every_size_around_a_page_comes_back_whole(void)
{
	static const size_t sizes[] = { 1,	511,	 512,	4095,	 4096,
					4097,	65535,	 65537, 131071,	 131072,
					131073, MIB - 1, MIB,	MIB + 1, 2 * MIB + 17 };
	char *expected = malloc(3 * MIB), *found = malloc(3 * MIB);

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		int fd = check_make_file("f", sizes[i], (unsigned)i);

		check_pattern(expected, sizes[i], (unsigned)i);
		CHECK(close(fd) == 0);
		fd = open("f", O_RDONLY);
		CHECK(pread(fd, found, 3 * MIB, 0) == (ssize_t)sizes[i]);
		CHECK(memcmp(expected, found, sizes[i]) == 0);
		close(fd);
	}
}

static void vectors_and_odd_offsets_work(void)
{
	char a[10], b[5000], c[1] = { 'c' };
	struct iovec vector[] = { { a, 10 }, { b, 5000 }, { NULL, 0 }, { c, 1 } };
	int fd = open("f", O_RDWR | O_CREAT, 0644);

	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	CHECK(pwritev(fd, vector, 4, 12345) == 5011);
	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	CHECK(preadv(fd, vector, 4, 12345) == 5011);
	CHECK(a[9] == 'a' && b[0] == 'b' && b[4999] == 'b' && c[0] == 'c');
	CHECK(pread(fd, b, 10, 12340) == 10);
	CHECK(memcmp(b, "\0\0\0\0\0aaaaa", 10) == 0);
	check_show_file("f");
}

struct appender {
	const char *name;
	int number;
};

enum { APPENDERS = 4, LINES = 500 };

static int append_lines(void *argument)
{
	struct appender *appender = argument;
	int fd = open(appender->name, O_WRONLY | O_APPEND);
	char line[32];

	for (int i = 0; i < LINES; i++) {
		int length =
			snprintf(line, sizeof(line), "writer %d line %06d\n", appender->number, i);

		if (write(fd, line, (size_t)length) != length)
			return 1;
	}
	return close(fd);
}

static void four_appending_processes_lose_no_line(void)
{
	struct appender appenders[APPENDERS];
	int next[APPENDERS] = { 0 };
	int pids[APPENDERS];
	int number, line, count = 0;
	FILE *file;

	close(check_make_file("f", 0, 0));
	for (int i = 0; i < APPENDERS; i++) {
		appenders[i] = (struct appender){ "f", i };
		pids[i] = check_fork(append_lines, &appenders[i]);
	}
	for (int i = 0; i < APPENDERS; i++)
		CHECK(check_wait(pids[i]) == 0);
	file = fopen("f", "r");
	CHECK(file);
	while (fscanf(file, "writer %d line %d\n", &number, &line) == 2) {
		CHECK(number >= 0 && number < APPENDERS && line == next[number]);
		next[number]++;
		count++;
	}
	CHECK(count == APPENDERS * LINES);
}

static void appending_moves_to_the_end(void)
{
	int fd = check_make_file("f", 100, 1);
	int append = open("f", O_RDWR | O_APPEND);

	CHECK(lseek(append, 10, SEEK_SET) == 10);
	CHECK(write(append, "x", 1) == 1 && lseek(append, 0, SEEK_CUR) == 101);
	CHECK(ftruncate(fd, 200) == 0);
	CHECK(write(append, "y", 1) == 1 && lseek(append, 0, SEEK_CUR) == 201);
	CHECK(pwrite(append, "z", 1, 0) == 1); /* Linux: appends all the same */
	check_show_file("f");
	CHECK(fcntl(append, F_SETFL, 0) == 0);
	CHECK(pwrite(append, "0", 1, 0) == 1);
	CHECK(fcntl(fd, F_SETFL, O_APPEND) == 0);
	CHECK(pwrite(fd, "e", 1, 0) == 1);
	check_show_file("f");
}

static void truncating_makes_zeros(void)
{
	char data[64];
	int fd = check_make_file("f", 10000, 1);

	CHECK(ftruncate(fd, 5000) == 0 && size_of("f") == 5000);
	CHECK(ftruncate(fd, 9000) == 0 && size_of("f") == 9000);
	CHECK(pread(fd, data, 64, 4990) == 64);
	for (int i = 10; i < 64; i++)
		CHECK(data[i] == 0);
	CHECK(truncate("f", 123) == 0 && size_of("f") == 123);
	CHECK(truncate("f", 0) == 0 && size_of("f") == 0);
	CHECK(truncate("f", 5 * GIB) == 0 && size_of("f") == 5 * GIB);
	CHECK(pread(fd, data, 64, 5 * GIB - 10) == 10);
	CHECK_ERRNO(ftruncate(open("f", O_RDONLY), 0), EINVAL);
	CHECK_ERRNO(truncate("f", -1), EINVAL);
	CHECK_ERRNO(truncate(".", 0), EISDIR);
	CHECK_ERRNO(truncate("missing", 0), ENOENT);
	CHECK(close(open("f", O_WRONLY | O_TRUNC)) == 0 && size_of("f") == 0);
}

static void offsets_beyond_4_GiB_are_kept(void)
{
	static const long long offsets[] = { 2 * GIB - 3, 4 * GIB - 3, 4 * GIB + 5, 5 * GIB,
					     100 * GIB };
	char data[8];
	int fd = open("f", O_RDWR | O_CREAT, 0644);

	for (size_t i = 0; i < COUNT_OF(offsets); i++) {
		memset(data, 'a' + (int)i, sizeof(data));
		CHECK(pwrite(fd, data, sizeof(data), offsets[i]) == sizeof(data));
		CHECK(size_of("f") == offsets[i] + (long long)sizeof(data));
	}
	CHECK(fsync(fd) == 0 && close(fd) == 0);
	fd = open("f", O_RDONLY);
	for (size_t i = 0; i < COUNT_OF(offsets); i++) {
		CHECK(pread(fd, data, sizeof(data), offsets[i]) == sizeof(data));
		CHECK(data[0] == 'a' + (int)i && data[7] == 'a' + (int)i);
	}
}

static void offsets_at_the_end_of_the_world_are_refused(void)
{
	int fd = open("f", O_RDWR | O_CREAT, 0644);
	char data[16];

	SHOW(pwrite(fd, "x", 1, INT64_MAX));
	SHOW(pwrite(fd, "xy", 2, INT64_MAX - 1));
	SHOW(pread(fd, data, 16, INT64_MAX - 20));
	SHOW(ftruncate(fd, INT64_MAX));
}

/* ext4 ends at 16 TiB, XFS and btrfs at 8 EiB; the page cache of a FUSE mount at 8 EiB. */
static void files_are_as_large_as_on_the_backing_filesystem(void)
{
	static const int bits[] = { 32, 41, 43, 44, 45, 60, 62 };
	int fd = open("f", O_RDWR | O_CREAT, 0644);

	for (size_t i = 0; i < COUNT_OF(bits); i++)
		for (int before = 8193; before > -8192; before -= 4096) {
			const off_t offset = (1LL << bits[i]) - before;

			printf("%d bits, %d before: ", bits[i], before);
			SHOW(pwrite(fd, "x", 1, offset));
			SHOW(ftruncate(fd, offset));
		}
}

static void show_map_of(int fd, long long size)
{
	long long at = 0;

	while (at < size) {
		long long data = lseek(fd, at, SEEK_DATA);
		long long hole;

		if (data < 0) {
			printf("no data after %lld: %s\n", at, strerrorname_np(errno));
			return;
		}
		hole = lseek(fd, data, SEEK_HOLE);
		printf("data %lld-%lld\n", data, hole);
		at = hole;
	}
}

static void holes_and_data_are_found(void)
{
	char data[64 * KIB];
	int fd = open("f", O_RDWR | O_CREAT, 0644);

	memset(data, 'x', sizeof(data));
	CHECK(ftruncate(fd, 16 * MIB) == 0);
	CHECK(pwrite(fd, data, sizeof(data), 1 * MIB) == sizeof(data));
	CHECK(pwrite(fd, data, sizeof(data), 8 * MIB) == sizeof(data));
	CHECK(fsync(fd) == 0);
	show_map_of(fd, 16 * MIB);
	SHOW(lseek(fd, 16 * MIB, SEEK_DATA));
	SHOW(lseek(fd, 16 * MIB, SEEK_HOLE));
	SHOW(lseek(fd, 16 * MIB - 1, SEEK_HOLE));
	SHOW(lseek(fd, -1, SEEK_DATA));
	CHECK(ftruncate(fd, 0) == 0);
	SHOW(lseek(fd, 0, SEEK_DATA));
	SHOW(lseek(fd, 0, SEEK_HOLE));
}

static void data_not_yet_synced_is_no_hole(void)
{
	int fd = open("f", O_RDWR | O_CREAT, 0644);
	long long data;

	CHECK(ftruncate(fd, 4 * MIB) == 0);
	CHECK(pwrite(fd, "x", 1, 2 * MIB) == 1);
	data = lseek(fd, 0, SEEK_DATA);
	CHECK(data >= 0 && data <= 2 * MIB);
}

/* What is on the disk, past all caches. */
static struct statx allocation_of(int fd)
{
	struct statx stx;

	CHECK(fsync(fd) == 0);
	CHECK(statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx) == 0);
	return stx;
}

static void show_fallocate(const char *name, int mode, off_t offset, off_t length)
{
	int fd = check_make_file("f", 1 * MIB, 7);
	struct statx stx;
	int result;

	result = fallocate(fd, mode, offset, length);
	printf("%s %lld+%lld: %s\n", name, (long long)offset, (long long)length,
	       result == 0 ? "done" : strerrorname_np(errno));
	stx = allocation_of(fd);
	printf("size %lld, allocated up to there %d\n", (long long)stx.stx_size,
	       (long long)stx.stx_blocks * 512 >= offset + length);
	close(fd);
	check_show_file("f");
	unlink("f");
}

static void fallocate_has_the_modes_of_the_backing_filesystem(void)
{
	const int keep = FALLOC_FL_KEEP_SIZE;
	const int punch = FALLOC_FL_PUNCH_HOLE;

	show_fallocate("plain", 0, 0, 2 * MIB);
	show_fallocate("plain", 0, 12345, 100);
	show_fallocate("keep size", keep, 0, 4 * MIB);
	show_fallocate("punch", punch | keep, 64 * KIB, 128 * KIB);
	show_fallocate("punch", punch | keep, 1000, 100000);
	show_fallocate("punch", punch | keep, 900 * KIB, 4 * MIB);
	show_fallocate("punch alone", punch, 64 * KIB, 128 * KIB);
	show_fallocate("zero", FALLOC_FL_ZERO_RANGE, 1000, 100000);
	show_fallocate("zero", FALLOC_FL_ZERO_RANGE, 512 * KIB, 1 * MIB);
	show_fallocate("zero, keep size", FALLOC_FL_ZERO_RANGE | keep, 512 * KIB, 1 * MIB);
	show_fallocate("no length", 0, 0, 0);
	show_fallocate("unknown", 1 << 20, 0, 4096);
	/* Collapsing and inserting never reach a FUSE filesystem: the kernel refuses them. */
}

static void punching_frees_blocks_and_reads_as_zeros(void)
{
	int fd = check_make_file("f", 4 * MIB, 1);
	struct statx before = allocation_of(fd), after;
	char data[16];

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 * MIB, 2 * MIB))
		check_skip("no punching");
	after = allocation_of(fd);
	printf("fewer blocks %d\n", after.stx_blocks <= before.stx_blocks - 2 * MIB / 512);
	CHECK(pread(fd, data, 16, 2 * MIB) == 16);
	CHECK(memcmp(data, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16) == 0);
}

static void a_shared_mapping_and_the_file_agree(void)
{
	int fd = check_make_file("f", 64 * KIB, 1);
	char *map = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char data[8] = "";

	CHECK(map != MAP_FAILED);
	memcpy(map + 5000, "mapped", 6);
	CHECK(pread(fd, data, 6, 5000) == 6 && memcmp(data, "mapped", 6) == 0);
	CHECK(pwrite(fd, "file", 4, 20000) == 4);
	CHECK(memcmp(map + 20000, "file", 4) == 0);
	CHECK(msync(map, 64 * KIB, MS_SYNC) == 0);
	CHECK(munmap(map, 64 * KIB) == 0 && close(fd) == 0);
	check_show_file("f");
}

static int write_through_a_mapping(void *argument)
{
	int fd = open(argument, O_RDWR);
	char *map = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return 1;
	memset(map, 'm', 64 * KIB);
	return 0; /* without msync: the exit must do */
}

static void two_processes_share_a_mapping(void)
{
	char name[] = "f";
	int fd = check_make_file(name, 64 * KIB, 1);
	char *map = mmap(NULL, 64 * KIB, PROT_READ, MAP_SHARED, fd, 0);

	CHECK(map != MAP_FAILED);
	CHECK(check_wait(check_fork(write_through_a_mapping, name)) == 0);
	for (size_t i = 0; i < 64 * KIB; i++)
		CHECK(map[i] == 'm');
	check_show_file(name);
}

static void a_private_mapping_stays_private(void)
{
	int fd = check_make_file("f", 4096, 1);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	CHECK(map != MAP_FAILED);
	memset(map, 0, 4096);
	check_show_file("f");
}

static void direct_io_reads_what_it_wrote(void)
{
	int fd = open("f", O_RDWR | O_CREAT | O_DIRECT, 0644);
	char *data = aligned(MIB), *found = aligned(MIB);

	if (fd < 0)
		check_skip("no O_DIRECT");
	check_pattern(data, MIB, 3);
	CHECK(pwrite(fd, data, MIB, 0) == MIB);
	CHECK(pwrite(fd, data, 4096, MIB + 4096) == 4096);
	CHECK(pread(fd, found, MIB, 0) == MIB);
	CHECK(memcmp(data, found, MIB) == 0);
	CHECK(pread(fd, found, MIB, 4096) == MIB);
	CHECK(memcmp(found, data + 4096, MIB - 4096) == 0);
	CHECK(pread(fd, found, 4096, 2 * MIB) == 0);
	check_show_file("f");
}

static void direct_io_reads_a_short_tail(void)
{
	int fd = check_make_file("f", 10000, 1);
	char *found = aligned(16 * KIB);

	CHECK(fsync(fd) == 0);
	fd = open("f", O_RDONLY | O_DIRECT);
	if (fd < 0)
		check_skip("no O_DIRECT");
	CHECK(pread(fd, found, 16 * KIB, 0) == 10000);
	CHECK(pread(fd, found, 4096, 8192) == 10000 - 8192);
}

static void direct_io_out_of_line_ends_as_on_the_backing_filesystem(void)
{
	int fd = check_make_file("f", 64 * KIB, 1);
	char *data = aligned(16 * KIB);

	CHECK(fsync(fd) == 0);
	fd = open("f", O_RDWR | O_DIRECT);
	if (fd < 0)
		check_skip("no O_DIRECT");
	SHOW(pread(fd, data, 4096, 100));
	SHOW(pread(fd, data, 100, 4096));
	SHOW(pwrite(fd, data, 4096, 100));
	SHOW(pwrite(fd, data, 100, 4096));
	close(fd);
	check_show_file("f");
}

/* A write that would have made the file longer: fuse_direct_IO() then has it truncated. */
static void a_refused_direct_write_moves_times_as_on_the_backing_filesystem(void)
{
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	int fd = open("f", O_RDWR | O_CREAT | O_DIRECT, 0644);
	char *data = aligned(4096);
	struct stat st;

	if (fd < 0)
		check_skip("no O_DIRECT");
	CHECK(pwrite(fd, data, 4096, 0) == 4096);
	CHECK(futimens(fd, times) == 0);
	SHOW(pwrite(fd, data, 1, 8192));
	CHECK(fstat(fd, &st) == 0);
	printf("%lld bytes, mtime %s\n", (long long)st.st_size,
	       st.st_mtim.tv_sec == 1 ? "as set" : "moved");
}

static void direct_and_buffered_io_agree(void)
{
	int buffered = check_make_file("f", 64 * KIB, 1);
	int direct = open("f", O_RDWR | O_DIRECT);
	char *data = aligned(4096);
	char byte;

	if (direct < 0)
		check_skip("no O_DIRECT");
	CHECK(pwrite(buffered, "B", 1, 8192) == 1);
	CHECK(pread(direct, data, 4096, 8192) == 4096 && data[0] == 'B');
	memset(data, 'D', 4096);
	CHECK(pwrite(direct, data, 4096, 8192) == 4096);
	CHECK(pread(buffered, &byte, 1, 9000) == 1 && byte == 'D');
	CHECK(pread(buffered, &byte, 1, 20000) == 1);
	memset(data, 'E', 4096);
	CHECK(pwrite(direct, data, 4096, 5 * 4096) == 4096);
	CHECK(pread(buffered, &byte, 1, 5 * 4096) == 1 && byte == 'E');
}

static void direct_writes_meet_mapped_pages(void)
{
	int fd = check_make_file("f", 64 * KIB, 1);
	char *map = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int direct = open("f", O_RDWR | O_DIRECT);
	char *data = aligned(4096);

	if (direct < 0)
		check_skip("no O_DIRECT");
	CHECK(map != MAP_FAILED);
	map[4096] = 'm';
	CHECK(pread(direct, data, 4096, 4096) == 4096 && data[0] == 'm');
	memset(data, 'd', 4096);
	CHECK(pwrite(direct, data, 4096, 4096) == 4096);
	CHECK(map[4096] == 'd');
}

static void synchronous_files_can_be_written(void)
{
	static const int flags[] = { O_SYNC, O_DSYNC, O_SYNC | O_APPEND };

	for (size_t i = 0; i < COUNT_OF(flags); i++) {
		int fd = open("f", O_RDWR | O_CREAT | flags[i], 0644);

		CHECK(fd >= 0 && write(fd, "text", 4) == 4);
		CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
		CHECK(close(fd) == 0);
	}
	check_show_file("f");
}

static void sync_calls_succeed(void)
{
	int fd = check_make_file("f", 100000, 1);

	CHECK(fsync(fd) == 0 && fdatasync(fd) == 0 && syncfs(fd) == 0);
	CHECK(sync_file_range(fd, 0, 0,
			      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				      SYNC_FILE_RANGE_WAIT_AFTER) == 0);
	CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	check_show_file("f");
	CHECK(fsync(open("f", O_RDONLY)) == 0);
}

static void sendfile_and_splice_move_the_data(void)
{
	int in = check_make_file("in", 300000, 1);
	int out = open("out", O_RDWR | O_CREAT, 0644);
	int pipes[2];
	off_t at = 0;

	CHECK(pipe(pipes) == 0);
	while (at < 300000) {
		ssize_t n = sendfile(out, in, &at, 300000);

		CHECK(n > 0);
	}
	check_show_file("out");
	CHECK(ftruncate(out, 0) == 0 && lseek(in, 0, SEEK_SET) == 0);
	CHECK(lseek(out, 0, SEEK_SET) == 0);
	for (;;) {
		ssize_t n = splice(in, NULL, pipes[1], NULL, 30000, 0);

		CHECK(n >= 0);
		if (n == 0)
			break;
		for (ssize_t done = 0; done < n;) {
			ssize_t m = splice(pipes[0], NULL, out, NULL, (size_t)(n - done), 0);

			CHECK(m > 0);
			done += m;
		}
	}
	check_show_file("out");
}

static void the_file_size_limit_holds(void)
{
	struct rlimit limit = { 10000, 10000 };
	int fd = check_make_file("f", 8000, 1);
	char data[8000];

	memset(data, 'x', sizeof(data));
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK(pwrite(fd, data, sizeof(data), 8000) == 2000);
	CHECK_ERRNO(pwrite(fd, data, 1, 10000), EFBIG);
	CHECK_ERRNO(ftruncate(fd, 20000), EFBIG);
}

static void writing_takes_set_id_bits_away(void)
{
	struct stat st;
	int fd = check_make_file("f", 100, 1);

	CHECK(fchmod(fd, 06775) == 0);
	CHECK(pwrite(fd, "x", 1, 0) == 1);
	CHECK(fstat(fd, &st) == 0);
	printf("after write %o\n", st.st_mode & 07777);
	CHECK(fchmod(fd, 06775) == 0 && ftruncate(fd, 10) == 0 && fstat(fd, &st) == 0);
	printf("after truncate %o\n", st.st_mode & 07777);
	CHECK(fchmod(fd, 06775) == 0);
	CHECK(close(open("f", O_WRONLY | O_TRUNC)) == 0 && fstat(fd, &st) == 0);
	printf("after O_TRUNC %o\n", st.st_mode & 07777);
	CHECK(fchmod(fd, 06775) == 0 && fallocate(fd, 0, 0, 8192) == 0 && fstat(fd, &st) == 0);
	printf("after fallocate %o\n", st.st_mode & 07777);
	CHECK(fchmod(fd, 06775) == 0 && fchown(fd, geteuid(), getegid()) == 0);
	CHECK(fstat(fd, &st) == 0);
	printf("after chown %o\n", st.st_mode & 07777);
}

static void give_capabilities(int fd, mode_t mode)
{
	/* struct vfs_cap_data: revision 2, effective, CAP_NET_BIND_SERVICE */
	static const uint32_t words[5] = { 0x02000001, 0x400 };

	CHECK(fchmod(fd, mode) == 0);
	CHECK(fsetxattr(fd, "security.capability", words, sizeof(words), 0) == 0);
}

static void show_privileges(int fd, const char *what)
{
	struct stat st;

	CHECK(fstat(fd, &st) == 0);
	printf("after %s %o, capabilities: %zd\n", what, st.st_mode & 07777,
	       fgetxattr(fd, "security.capability", NULL, 0));
}

/* Root has CAP_FSETID, and only a change of owner takes its set-id bits. */
static void capabilities_go_when_root_writes_and_set_id_bits_stay(void)
{
	int fd = check_make_file("f", 100, 1);

	if (geteuid() != 0)
		check_skip("for root");
	give_capabilities(fd, 06755);
	CHECK(pwrite(fd, "x", 1, 0) == 1);
	show_privileges(fd, "write");
	give_capabilities(fd, 06755);
	CHECK(fallocate(fd, 0, 0, 8192) == 0);
	show_privileges(fd, "fallocate");
	give_capabilities(fd, 06755);
	CHECK(truncate("f", 10) == 0);
	show_privileges(fd, "truncate");
	CHECK(close(fd) == 0);
	fd = open("f", O_RDONLY);
	give_capabilities(fd, 06755);
	CHECK(fchown(fd, (uid_t)-1, (gid_t)-1) == 0);
	show_privileges(fd, "chown");
}

static void a_file_opened_twice_is_one_file(void)
{
	int a = check_make_file("f", 10, 1);
	int b = open("f", O_RDWR);
	char data[4];

	CHECK(pwrite(a, "abcd", 4, 3) == 4);
	CHECK(pread(b, data, 4, 3) == 4 && memcmp(data, "abcd", 4) == 0);
	CHECK(rename("f", "g") == 0);
	CHECK(pwrite(b, "efgh", 4, 3) == 4);
	CHECK(pread(a, data, 4, 3) == 4 && memcmp(data, "efgh", 4) == 0);
	check_show_file("g");
}

#define CHECK_ENTRY(function)       \
	{                           \
#function, function \
	}

static const struct check checks[] = {
	CHECK_ENTRY(reading_ends_at_the_end_of_the_file),
	CHECK_ENTRY(every_size_around_a_page_comes_back_whole),
	CHECK_ENTRY(vectors_and_odd_offsets_work),
	CHECK_ENTRY(four_appending_processes_lose_no_line),
	CHECK_ENTRY(appending_moves_to_the_end),
	CHECK_ENTRY(truncating_makes_zeros),
	CHECK_ENTRY(offsets_beyond_4_GiB_are_kept),
	CHECK_ENTRY(offsets_at_the_end_of_the_world_are_refused),
	CHECK_ENTRY(files_are_as_large_as_on_the_backing_filesystem),
	CHECK_ENTRY(holes_and_data_are_found),
	CHECK_ENTRY(data_not_yet_synced_is_no_hole),
	CHECK_ENTRY(fallocate_has_the_modes_of_the_backing_filesystem),
	CHECK_ENTRY(punching_frees_blocks_and_reads_as_zeros),
	CHECK_ENTRY(a_shared_mapping_and_the_file_agree),
	CHECK_ENTRY(two_processes_share_a_mapping),
	CHECK_ENTRY(a_private_mapping_stays_private),
	CHECK_ENTRY(direct_io_reads_what_it_wrote),
	CHECK_ENTRY(direct_io_reads_a_short_tail),
	CHECK_ENTRY(direct_io_out_of_line_ends_as_on_the_backing_filesystem),
	CHECK_ENTRY(a_refused_direct_write_moves_times_as_on_the_backing_filesystem),
	CHECK_ENTRY(direct_and_buffered_io_agree),
	CHECK_ENTRY(direct_writes_meet_mapped_pages),
	CHECK_ENTRY(synchronous_files_can_be_written),
	CHECK_ENTRY(sync_calls_succeed),
	CHECK_ENTRY(sendfile_and_splice_move_the_data),
	CHECK_ENTRY(the_file_size_limit_holds),
	CHECK_ENTRY(writing_takes_set_id_bits_away),
	CHECK_ENTRY(capabilities_go_when_root_writes_and_set_id_bits_stay),
	CHECK_ENTRY(a_file_opened_twice_is_one_file),
};

int main(int argc, char **argv)
{
	return check_main(argc, argv, checks, COUNT_OF(checks));
}
