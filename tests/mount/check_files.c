/* SPDX-License-Identifier: MIT */

/* Names, attributes, extended attributes and locks. See check.h. */

#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static struct stat stat_of(const char *name)
{
	struct stat st;

	CHECK(lstat(name, &st) == 0);
	return st;
}

static void make_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);

	CHECK(fd >= 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	CHECK(close(fd) == 0);
}

static void check_content(const char *name, const char *text)
{
	char found[256] = "";
	int fd = open(name, O_RDONLY);

	CHECK(fd >= 0);
	CHECK(read(fd, found, sizeof(found) - 1) == (ssize_t)strlen(text));
	CHECK(strcmp(found, text) == 0);
	close(fd);
}

static char *proc_path(int fd)
{
	static char path[64]; /* a test program: one at a time is enough */

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static void a_temporary_file_can_be_linked(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);
	struct stat st;

	if (fd < 0 && errno == EOPNOTSUPP)
		check_skip("no O_TMPFILE");
	CHECK(fd >= 0);
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && (st.st_mode & 07777) == 0640);
	CHECK(write(fd, "text", 4) == 4);
	CHECK(linkat(AT_FDCWD, proc_path(fd), AT_FDCWD, "linked", AT_SYMLINK_FOLLOW) == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 1);
	CHECK(stat_of("linked").st_ino == st.st_ino);
	check_content("linked", "text");
	CHECK(write(fd, " more", 5) == 5);
	check_content("linked", "text more");
}

static void a_temporary_file_with_O_EXCL_cannot_be_linked(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);

	if (fd < 0 && errno == EOPNOTSUPP)
		check_skip("no O_TMPFILE");
	CHECK(fd >= 0);
	CHECK_ERRNO(linkat(AT_FDCWD, proc_path(fd), AT_FDCWD, "linked", AT_SYMLINK_FOLLOW), ENOENT);
}

static void an_unlinked_file_stays_usable(void)
{
	struct timespec times[2] = { { 1000000000, 5 }, { 1100000000, 7 } };
	char data[16] = "";
	struct stat st;
	char *map;
	int source = check_make_file("source", 100000, 1);
	int fd = open("gone", O_RDWR | O_CREAT | O_EXCL, 0644);
	loff_t in = 0;

	CHECK(fd >= 0);
	CHECK(write(fd, "before", 6) == 6);
	CHECK(unlink("gone") == 0);
	CHECK_ERRNO(open("gone", O_RDONLY), ENOENT);
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 6);
	CHECK(pread(fd, data, 6, 0) == 6 && memcmp(data, "before", 6) == 0);
	CHECK(pwrite(fd, "after", 5, 6) == 5);
	CHECK(ftruncate(fd, 10) == 0);
	CHECK(fchmod(fd, 0600) == 0);
	CHECK(futimens(fd, times) == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_size == 10 && (st.st_mode & 07777) == 0600);
	CHECK(st.st_mtim.tv_sec == 1100000000 && st.st_mtim.tv_nsec == 7);
	CHECK(fsetxattr(fd, "user.name", "value", 5, 0) == 0);
	CHECK(fgetxattr(fd, "user.name", data, sizeof(data)) == 5);
	CHECK(copy_file_range(source, &in, fd, NULL, 100000, 0) == 100000);
	CHECK(fstat(fd, &st) == 0 && st.st_size == 100006);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	map[0] = 'B';
	CHECK(munmap(map, 4096) == 0);
	CHECK(pread(fd, data, 6, 0) == 6 && memcmp(data, "Before", 6) == 0);
	CHECK(fsync(fd) == 0);
	CHECK(close(fd) == 0);
	CHECK_ERRNO(lstat("gone", &st), ENOENT);
}

static void an_unlinked_file_can_be_opened_through_proc(void)
{
	char data[8];
	int fd = check_make_file("gone", 8, 3);
	int again;

	CHECK(unlink("gone") == 0);
	again = open(proc_path(fd), O_RDONLY);
	CHECK(again >= 0);
	CHECK(read(again, data, 8) == 8);
}

static void hard_links_are_one_file(void)
{
	struct stat a, b;

	make_file("a", "text");
	CHECK(mkdir("d", 0755) == 0);
	CHECK(link("a", "d/b") == 0);
	a = stat_of("a");
	b = stat_of("d/b");
	CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_nlink == 2 && b.st_nlink == 2);
	make_file("d/b", "other");
	check_content("a", "other");
	CHECK(chmod("a", 0600) == 0);
	CHECK((stat_of("d/b").st_mode & 07777) == 0600);
	CHECK(unlink("a") == 0);
	check_content("d/b", "other");
	CHECK(stat_of("d/b").st_nlink == 1);
	CHECK_ERRNO(link("missing", "c"), ENOENT);
	CHECK_ERRNO(link("d/b", "d/b"), EEXIST);
	CHECK_ERRNO(link("d", "c"), EPERM);
}

static void renaming_a_file_replaces_the_old_one(void)
{
	ino_t inode;

	make_file("a", "a");
	make_file("b", "b");
	inode = stat_of("a").st_ino;
	CHECK(rename("a", "b") == 0);
	CHECK(stat_of("b").st_ino == inode);
	check_content("b", "a");
	CHECK_ERRNO(access("a", F_OK), ENOENT);
	CHECK_ERRNO(rename("a", "b"), ENOENT);
}

static void renaming_directories_follows_posix(void)
{
	CHECK(mkdir("empty", 0755) == 0 && mkdir("full", 0755) == 0 && mkdir("moved", 0755) == 0);
	make_file("full/file", "text");
	SHOW(rename("moved", "full")); /* ENOTEMPTY, or EEXIST on XFS */
	CHECK(rename("full", "empty") == 0);
	check_content("empty/file", "text");
	CHECK_ERRNO(rename("empty", "empty/inside"), EINVAL);
	make_file("file", "text");
	CHECK_ERRNO(rename("empty", "file"), ENOTDIR);
	CHECK_ERRNO(rename("file", "empty"), EISDIR);
	CHECK(rename("empty", "moved/new") == 0);
	check_content("moved/new/file", "text");
}

static void renameat2_knows_its_flags(void)
{
	make_file("a", "a");
	make_file("b", "b");
	CHECK(mkdir("d", 0755) == 0);
	CHECK_ERRNO(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
	CHECK(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE) == 0);
	CHECK(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE) == 0);
	check_content("b", "a");
	check_content("c", "b");
	CHECK(renameat2(AT_FDCWD, "d", AT_FDCWD, "c", RENAME_EXCHANGE) == 0);
	CHECK(S_ISDIR(stat_of("c").st_mode) && S_ISREG(stat_of("d").st_mode));
	CHECK_ERRNO(renameat2(AT_FDCWD, "b", AT_FDCWD, "missing", RENAME_EXCHANGE), ENOENT);
	CHECK_ERRNO(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE | RENAME_NOREPLACE),
		    EINVAL);
}

static void names_of_255_bytes_of_any_kind_work(void)
{
	char name[257];
	DIR *dir;
	struct dirent *entry;
	bool found = false;

	for (int i = 0; i < 255; i++) {
		name[i] = i + 1 == '/' ? 'x' : (char)(i + 1);
	}
	name[255] = '\0';
	make_file(name, "text");
	check_content(name, "text");
	dir = opendir(".");
	CHECK(dir);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, name) == 0)
			found = true;
	CHECK(found);
	closedir(dir);
	CHECK(mkdir("d", 0755) == 0);
	CHECK(unlink(name) == 0);
	memset(name, 'x', 256);
	name[256] = '\0';
	CHECK_ERRNO(open(name, O_CREAT | O_WRONLY, 0644), ENAMETOOLONG);
	CHECK_ERRNO(mkdir(name, 0755), ENAMETOOLONG);
	CHECK_ERRNO(access(name, F_OK), ENAMETOOLONG);
	CHECK_ERRNO(rename("d", name), ENAMETOOLONG);
}

static unsigned count_entries(DIR *dir)
{
	unsigned count = 0;

	while (readdir(dir))
		count++;
	return count;
}

static void make_files(const char *directory, unsigned count)
{
	char name[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/file-with-a-name-of-some-length-%05u", directory,
			 i);
		make_file(name, "");
	}
}

static void a_large_directory_is_listed_once_and_whole(void)
{
	bool seen[3000] = { false };
	struct dirent *entry;
	DIR *dir;

	CHECK(mkdir("d", 0755) == 0);
	make_files("d", COUNT_OF(seen));
	dir = opendir("d");
	CHECK(dir);
	while ((entry = readdir(dir))) {
		unsigned i;

		if (entry->d_name[0] == '.')
			continue;
		CHECK(entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN);
		CHECK(sscanf(entry->d_name, "file-with-a-name-of-some-length-%u", &i) == 1);
		CHECK(!seen[i]);
		seen[i] = true;
	}
	for (size_t i = 0; i < COUNT_OF(seen); i++)
		CHECK(seen[i]);
	rewinddir(dir);
	CHECK(count_entries(dir) == COUNT_OF(seen) + 2);
	closedir(dir);
}

static void telldir_and_seekdir_go_back(void)
{
	enum { FILES = 400, AT = 150 };
	char expected[256];
	struct dirent *entry;
	DIR *dir;
	long position;
	unsigned rest;

	CHECK(mkdir("d", 0755) == 0);
	make_files("d", FILES);
	dir = opendir("d");
	CHECK(dir);
	for (int i = 0; i < AT; i++)
		CHECK(readdir(dir));
	position = telldir(dir);
	entry = readdir(dir);
	CHECK(entry);
	snprintf(expected, sizeof(expected), "%s", entry->d_name);
	rest = count_entries(dir);
	CHECK(rest == FILES + 2 - AT - 1);
	seekdir(dir, position);
	entry = readdir(dir);
	CHECK(entry && strcmp(entry->d_name, expected) == 0);
	CHECK(count_entries(dir) == rest);
	closedir(dir);
}

static void unlinking_while_reading_leaves_nothing(void)
{
	struct dirent *entry;
	unsigned removed = 0;
	DIR *dir;

	CHECK(mkdir("d", 0755) == 0);
	make_files("d", 2000);
	dir = opendir("d");
	CHECK(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			CHECK(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
			removed++;
		}
	CHECK(removed == 2000);
	closedir(dir);
	CHECK(rmdir("d") == 0);
}

/* What is there all the time is listed once, whatever comes and goes beside it (readdir(3)). */
static void a_listing_bears_entries_that_come_and_go(void)
{
	static const char form[] = "file-with-a-name-of-some-length-%05u";
	bool seen[2000] = { false };
	struct dirent *entry;
	unsigned i, n = 0;
	DIR *dir;

	CHECK(mkdir("d", 0755) == 0);
	make_files("d", COUNT_OF(seen));
	dir = opendir("d");
	CHECK(dir);
	while ((entry = readdir(dir))) {
		char name[64];

		if (sscanf(entry->d_name, form, &i) != 1 || i % 2)
			continue;
		CHECK(i < COUNT_OF(seen) && !seen[i]);
		seen[i] = true;
		snprintf(name, sizeof(name), form, 2 * (n * 7 % 1000) + 1);
		CHECK(unlinkat(dirfd(dir), name, 0) == 0);
		snprintf(name, sizeof(name), "d/new-%u", n++);
		make_file(name, "");
	}
	CHECK(n == COUNT_OF(seen) / 2);
	closedir(dir);
}

static void a_new_entry_is_seen_after_rewinddir(void)
{
	DIR *dir;
	unsigned before;

	CHECK(mkdir("d", 0755) == 0);
	make_file("d/a", "");
	dir = opendir("d");
	CHECK(dir);
	before = count_entries(dir);
	make_file("d/b", "");
	rewinddir(dir);
	CHECK(count_entries(dir) == before + 1);
	closedir(dir);
}

static void a_removed_directory_is_empty(void)
{
	struct stat st;
	DIR *dir;

	CHECK(mkdir("d", 0755) == 0);
	dir = opendir("d");
	CHECK(dir);
	CHECK(rmdir("d") == 0);
	CHECK(count_entries(dir) == 0);
	CHECK(fstat(dirfd(dir), &st) == 0 && st.st_nlink == 0);
	CHECK_ERRNO(openat(dirfd(dir), "file", O_CREAT | O_WRONLY, 0644), ENOENT);
	CHECK_ERRNO(mkdirat(dirfd(dir), "dir", 0755), ENOENT);
	CHECK_ERRNO(openat(dirfd(dir), "file", O_RDONLY), ENOENT);
	closedir(dir);
}

static void directories_count_their_links(void)
{
	CHECK(mkdir("d", 0755) == 0);
	printf("empty %lu\n", (unsigned long)stat_of("d").st_nlink);
	CHECK(mkdir("d/a", 0755) == 0 && mkdir("d/b", 0755) == 0);
	printf("two inside %lu\n", (unsigned long)stat_of("d").st_nlink);
	SHOW(rmdir("d"));
	CHECK_ERRNO(unlink("d"), EISDIR);
	CHECK(rmdir("d/a") == 0);
	printf("one inside %lu\n", (unsigned long)stat_of("d").st_nlink);
	make_file("f", "");
	CHECK_ERRNO(rmdir("f"), ENOTDIR);
	CHECK_ERRNO(mkdir("f", 0755), EEXIST);
	CHECK_ERRNO(mkdir("d", 0755), EEXIST);
	CHECK_ERRNO(mkdir("f/x", 0755), ENOTDIR);
	CHECK_ERRNO(rmdir("missing"), ENOENT);
}

static void open_flags_are_honoured(void)
{
	struct stat st;
	char data[8];
	int fd;

	make_file("f", "text");
	CHECK(mkdir("d", 0755) == 0);
	CHECK(symlink("f", "l") == 0);
	CHECK_ERRNO(open("f", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
	CHECK_ERRNO(open("l", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
	CHECK_ERRNO(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	CHECK_ERRNO(open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
	CHECK_ERRNO(open("d", O_RDWR), EISDIR);
	CHECK_ERRNO(open("d", O_WRONLY | O_CREAT, 0644), EISDIR);
	CHECK_ERRNO(open("missing", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("f/x", O_RDONLY), ENOTDIR);
	fd = open("f", O_PATH);
	CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 4);
	CHECK_ERRNO(read(fd, data, 1), EBADF);
	fd = open("f", O_RDONLY);
	CHECK_ERRNO(write(fd, "x", 1), EBADF);
	fd = open("f", O_WRONLY);
	CHECK_ERRNO(read(fd, data, 1), EBADF);
	fd = open("f", O_RDONLY | O_NOATIME);
	CHECK(fd >= 0);
	CHECK(open("f", O_WRONLY | O_TRUNC) >= 0 && stat_of("f").st_size == 0);
	fd = open("f", 3); /* neither reading nor writing: for ioctls */
	CHECK(fd >= 0);
	fd = open("new", O_RDWR | O_CREAT, 0); /* usable though nobody may open it */
	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && (stat_of("new").st_mode & 07777) == 0);
}

static void symbolic_links_keep_their_target(void)
{
	char target[4000], read_back[4096];

	memset(target, 'x', sizeof(target));
	target[sizeof(target) - 1] = '\0';
	for (size_t i = 200; i < sizeof(target) - 1; i += 200)
		target[i] = '/';
	CHECK(symlink("nowhere", "dangling") == 0);
	CHECK(readlink("dangling", read_back, sizeof(read_back)) == 7);
	CHECK(memcmp(read_back, "nowhere", 7) == 0);
	CHECK(readlink("dangling", read_back, 3) == 3);
	CHECK(stat_of("dangling").st_size == 7);
	CHECK_ERRNO(open("dangling", O_RDONLY), ENOENT);
	CHECK_ERRNO(symlink("x", "dangling"), EEXIST);
	SHOW(symlink(target, "long"));
	if (errno != ENAMETOOLONG) {
		CHECK(readlink("long", read_back, sizeof(read_back)) == sizeof(target) - 1);
		CHECK(memcmp(read_back, target, sizeof(target) - 1) == 0);
	}
	CHECK(symlink("loop", "loop") == 0);
	CHECK_ERRNO(open("loop", O_RDONLY), ELOOP);
	make_file("f", "");
	CHECK_ERRNO(readlink("f", read_back, sizeof(read_back)), EINVAL);
}

static int compare_times(struct timespec a, struct timespec b)
{
	if (a.tv_sec != b.tv_sec)
		return a.tv_sec < b.tv_sec ? -1 : 1;
	return a.tv_nsec < b.tv_nsec ? -1 : a.tv_nsec > b.tv_nsec;
}

/* Lets the clock that filesystems stamp with go on: it ticks a few hundred times a second. */
static void let_time_pass(void)
{
	poll(NULL, 0, 20);
}

static void times_can_be_set_to_the_nanosecond(void)
{
	struct timespec times[2] = { { 1234567890, 123456789 }, { 987654321, 987654321 } };
	struct stat before, after;

	make_file("f", "text");
	CHECK(utimensat(AT_FDCWD, "f", times, 0) == 0);
	before = stat_of("f");
	CHECK(compare_times(before.st_atim, times[0]) == 0);
	CHECK(compare_times(before.st_mtim, times[1]) == 0);
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_nsec = UTIME_NOW;
	CHECK(utimensat(AT_FDCWD, "f", times, 0) == 0);
	after = stat_of("f");
	CHECK(compare_times(after.st_atim, before.st_atim) == 0);
	CHECK(after.st_mtim.tv_sec > 1600000000);
	CHECK(symlink("f", "l") == 0);
	times[0] = times[1] = (struct timespec){ 500000000, 1 };
	CHECK(utimensat(AT_FDCWD, "l", times, AT_SYMLINK_NOFOLLOW) == 0);
	CHECK(stat_of("l").st_mtim.tv_sec == 500000000);
	CHECK(stat_of("f").st_mtim.tv_sec > 1600000000);
	times[0] = times[1] = (struct timespec){ 4294967296 + 1000, 1 }; /* beyond 2106 */
	SHOW(utimensat(AT_FDCWD, "f", times, 0));
	printf("mtime %lld\n", (long long)stat_of("f").st_mtim.tv_sec);
	times[0] = times[1] = (struct timespec){ -1000, 1 }; /* before 1970 */
	SHOW(utimensat(AT_FDCWD, "f", times, 0));
	printf("mtime %lld\n", (long long)stat_of("f").st_mtim.tv_sec);
}

static void changes_move_the_times(void)
{
	struct stat before, after;
	int fd;

	make_file("f", "text");
	before = stat_of("f");
	let_time_pass();
	CHECK(chmod("f", 0600) == 0);
	after = stat_of("f");
	CHECK(compare_times(after.st_ctim, before.st_ctim) > 0);
	CHECK(compare_times(after.st_mtim, before.st_mtim) == 0);
	let_time_pass();
	fd = open("f", O_WRONLY | O_APPEND);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1);
	CHECK(close(fd) == 0);
	CHECK(compare_times(stat_of("f").st_mtim, after.st_mtim) > 0);
	before = stat_of(".");
	let_time_pass();
	make_file("g", "");
	CHECK(compare_times(stat_of(".").st_mtim, before.st_mtim) > 0);
	before = stat_of("f");
	let_time_pass();
	CHECK(link("f", "h") == 0);
	CHECK(compare_times(stat_of("f").st_ctim, before.st_ctim) > 0);
}

static void modes_keep_all_bits_and_honour_the_umask(void)
{
	CHECK(close(open("f", O_CREAT | O_WRONLY, 0777)) == 0);
	CHECK((stat_of("f").st_mode & 07777) == 0755);
	umask(077);
	CHECK(mkdir("d", 0777) == 0 && mkfifo("p", 0666) == 0);
	CHECK((stat_of("d").st_mode & 07777) == 0700 && (stat_of("p").st_mode & 07777) == 0600);
	umask(0);
	CHECK(close(open("g", O_CREAT | O_WRONLY, 0666)) == 0);
	CHECK((stat_of("g").st_mode & 07777) == 0666);
	for (mode_t mode = 0; mode <= 07777; mode += 0111) {
		CHECK(chmod("f", mode) == 0);
		CHECK((stat_of("f").st_mode & 07777) == mode);
	}
	CHECK(chmod("d", 01777) == 0 && (stat_of("d").st_mode & 07777) == 01777);
	CHECK(chmod("d", 02755) == 0 && (stat_of("d").st_mode & 07777) == 02755);
	CHECK(mkdir("d/inner", 0755) == 0 && (stat_of("d/inner").st_mode & 07777) == 02755);
}

static void owners_can_be_changed_by_root_only(void)
{
	make_file("f", "");
	CHECK(symlink("f", "l") == 0);
	if (geteuid() != 0) {
		CHECK_ERRNO(chown("f", 12345, (gid_t)-1), EPERM);
		CHECK_ERRNO(chown("f", (uid_t)-1, 12345), EPERM);
		CHECK(chown("f", (uid_t)-1, (gid_t)-1) == 0);
		CHECK(chown("f", geteuid(), getegid()) == 0);
		return;
	}
	CHECK(chmod("f", 06755) == 0);
	CHECK(chown("f", 12345, 54321) == 0);
	CHECK(stat_of("f").st_uid == 12345 && stat_of("f").st_gid == 54321);
	CHECK((stat_of("f").st_mode & 07777) == 0755);
	CHECK(chown("f", (uid_t)-1, 7) == 0);
	CHECK(stat_of("f").st_uid == 12345 && stat_of("f").st_gid == 7);
	CHECK(lchown("l", 99, 98) == 0);
	CHECK(stat_of("l").st_uid == 99 && stat_of("f").st_uid == 12345);
	CHECK(chown("f", 4000000000U, 4000000001U) == 0);
	CHECK(stat_of("f").st_uid == 4000000000U && stat_of("f").st_gid == 4000000001U);
}

static void extended_attributes_round_trip(void)
{
	char value[3000], found[4096];

	check_pattern(value, sizeof(value), 9);
	make_file("f", "");
	CHECK(mkdir("d", 0755) == 0);
	CHECK(setxattr("f", "user.small", "value", 5, 0) == 0);
	CHECK(getxattr("f", "user.small", found, sizeof(found)) == 5);
	CHECK(memcmp(found, "value", 5) == 0);
	CHECK(setxattr("f", "user.empty", "", 0, 0) == 0);
	CHECK(getxattr("f", "user.empty", found, sizeof(found)) == 0);
	CHECK(setxattr("f", "user.large", value, sizeof(value), 0) == 0);
	CHECK(getxattr("f", "user.large", found, sizeof(found)) == sizeof(value));
	CHECK(memcmp(found, value, sizeof(value)) == 0);
	CHECK(getxattr("f", "user.large", NULL, 0) == sizeof(value));
	CHECK_ERRNO(getxattr("f", "user.large", found, 10), ERANGE);
	CHECK_ERRNO(getxattr("f", "user.none", found, 10), ENODATA);
	CHECK_ERRNO(setxattr("f", "user.small", "x", 1, XATTR_CREATE), EEXIST);
	CHECK_ERRNO(setxattr("f", "user.none", "x", 1, XATTR_REPLACE), ENODATA);
	CHECK(setxattr("f", "user.small", "new", 3, XATTR_REPLACE) == 0);
	CHECK(setxattr("d", "user.dir", "1", 1, 0) == 0);
	CHECK(getxattr("d", "user.dir", found, sizeof(found)) == 1);
	CHECK(removexattr("f", "user.small") == 0);
	CHECK_ERRNO(removexattr("f", "user.small"), ENODATA);
	CHECK_ERRNO(setxattr("f", "nonsense", "x", 1, 0), EOPNOTSUPP);
}

static void extended_attributes_are_listed(void)
{
	char list[4096];
	ssize_t size;

	make_file("f", "");
	CHECK(listxattr("f", NULL, 0) == 0 || errno == 0);
	CHECK(setxattr("f", "user.a", "1", 1, 0) == 0);
	CHECK(setxattr("f", "user.b", "2", 1, 0) == 0);
	size = listxattr("f", NULL, 0);
	printf("size %zd\n", size);
	CHECK(listxattr("f", list, sizeof(list)) == size);
	for (char *name = list; name < list + size; name += strlen(name) + 1)
		printf("%s\n", name);
	CHECK_ERRNO(listxattr("f", list, 3), ERANGE);
}

static void trusted_attributes_are_for_root(void)
{
	char found[8];

	make_file("f", "");
	SHOW(setxattr("f", "trusted.zcfs-test", "1", 1, 0));
	SHOW(getxattr("f", "trusted.zcfs-test", found, sizeof(found)));
}

static void fifos_and_sockets_work(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int server = socket(AF_UNIX, SOCK_STREAM, 0);
	int client = socket(AF_UNIX, SOCK_STREAM, 0);
	char data[8] = "";
	int fd;

	CHECK(mkfifo("fifo", 0644) == 0);
	CHECK(S_ISFIFO(stat_of("fifo").st_mode));
	fd = open("fifo", O_RDWR);
	CHECK(fd >= 0 && write(fd, "text", 4) == 4 && read(fd, data, 4) == 4);
	CHECK(bind(server, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(S_ISSOCK(stat_of("socket").st_mode));
	CHECK(listen(server, 1) == 0);
	CHECK(connect(client, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(mknod("regular", S_IFREG | 0600, 0) == 0);
	CHECK(S_ISREG(stat_of("regular").st_mode) && stat_of("regular").st_size == 0);
}

static void devices_keep_their_number(void)
{
	if (geteuid() != 0) {
		CHECK_ERRNO(mknod("null", S_IFCHR | 0666, makedev(1, 3)), EPERM);
		return;
	}
	CHECK(mknod("null", S_IFCHR | 0666, makedev(1, 3)) == 0);
	CHECK(S_ISCHR(stat_of("null").st_mode) && stat_of("null").st_rdev == makedev(1, 3));
	CHECK(mknod("block", S_IFBLK | 0600, makedev(259, 250000)) == 0);
	CHECK(S_ISBLK(stat_of("block").st_mode));
	CHECK(stat_of("block").st_rdev == makedev(259, 250000));
}

static void statvfs_tells_of_the_backing_filesystem(void)
{
	struct statvfs st;

	CHECK(statvfs(".", &st) == 0);
	printf("bsize %lu frsize %lu namemax %lu blocks %lu\n", st.f_bsize, st.f_frsize,
	       st.f_namemax, (unsigned long)st.f_blocks);
	CHECK(st.f_bavail <= st.f_bfree && st.f_bfree <= st.f_blocks);
}

/* Older kernels do not ask the daemon for it: FUSE_STATX came with Linux 6.6 (fs/fuse/dir.c). */
static bool fuse_has_birth_times(void)
{
	struct utsname name;
	int major, minor;

	CHECK(uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2);
	return major > 6 || (major == 6 && minor >= 6);
}

static void stat_fields_are_those_of_the_file(void)
{
	struct statx stx;
	int fd = check_make_file("f", 10000, 1);

	CHECK(fsync(fd) == 0);
	CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &stx) == 0);
	CHECK((stx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
	printf("size %llu nlink %u mode %o blksize %u\n", (unsigned long long)stx.stx_size,
	       stx.stx_nlink, (unsigned)stx.stx_mode, stx.stx_blksize);
	printf("has blocks %d\n", stx.stx_blocks * 512 >= 10000);
	if (fuse_has_birth_times())
		printf("birth time %d\n", !!(stx.stx_mask & STATX_BTIME));
	CHECK(!(stx.stx_mask & STATX_BTIME) || stx.stx_btime.tv_sec > 1600000000);
}

static void access_answers_for_the_caller(void)
{
	make_file("f", "");
	CHECK(chmod("f", 0444) == 0);
	SHOW(access("f", R_OK));
	SHOW(access("f", W_OK));
	SHOW(access("f", X_OK));
	SHOW(access(".", R_OK | W_OK | X_OK));
	CHECK(chmod("f", 0) == 0);
	SHOW(access("f", R_OK));
	SHOW(open("f", O_RDONLY) < 0 ? -1 : 0);
	CHECK_ERRNO(access("missing", F_OK), ENOENT);
}

static void inode_flags_can_be_read_and_set(void)
{
	struct fsxattr attr = { 0 };
	int fd = check_make_file("f", 1, 1);
	int flags = 0;

	SHOW(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags |= FS_NODUMP_FL;
	SHOW(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	flags = 0;
	SHOW(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	printf("nodump %d\n", !!(flags & FS_NODUMP_FL));
	SHOW(ioctl(fd, FS_IOC_FSGETXATTR, &attr));
	printf("nodump %d\n", !!(attr.fsx_xflags & FS_XFLAG_NODUMP));
}

static void unknown_ioctls_are_refused(void)
{
	int fd = check_make_file("f", 1, 1);
	int value = 0;

	CHECK_ERRNO(ioctl(fd, _IOR('z', 99, int), &value), ENOTTY);
}

/* The child's side of the lock checks. Returns 0 when the lock was refused as it should be. */
static int lock_is_refused(void *argument)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1 };
	int fd = open(argument, O_RDWR);

	if (fd < 0 || fcntl(fd, F_SETLK, &lock) != -1 || (errno != EAGAIN && errno != EACCES))
		return 1;
	lock.l_type = F_WRLCK;
	if (fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type != F_WRLCK || lock.l_pid != getppid())
		return 2;
	lock = (struct flock){ .l_type = F_WRLCK, .l_start = 100, .l_len = 10 };
	return fcntl(fd, F_SETLK, &lock) == 0 ? 0 : 3;
}

static int lock_byte(int fd, int command, off_t at)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = at, .l_len = 1 };

	return fcntl(fd, command, &lock);
}

static bool lock_is_free(int fd, off_t at)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = at, .l_len = 1 };

	CHECK(fcntl(fd, F_GETLK, &lock) == 0);
	return lock.l_type == F_UNLCK;
}

static void posix_locks_exclude_other_processes(void)
{
	char name[] = "f";
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10 };
	int fd = check_make_file(name, 10, 1);

	CHECK(fcntl(fd, F_SETLK, &lock) == 0);
	CHECK(check_wait(check_fork(lock_is_refused, name)) == 0);
	lock.l_type = F_UNLCK;
	CHECK(fcntl(fd, F_SETLK, &lock) == 0);
}

static int lock_waits(void *argument)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(argument, O_RDWR);

	return fd >= 0 && fcntl(fd, F_SETLKW, &lock) == 0 ? 0 : 1;
}

static int lock_second_and_first(void *fd)
{
	int result;

	if (lock_byte(*(int *)fd, F_SETLKW, 1))
		return 2;
	result = lock_byte(*(int *)fd, F_SETLKW, 0);
	return result && errno == EDEADLK;
}

/* Of two who wait for each other, whoever comes second is told. */
static void a_deadlock_among_posix_locks_is_seen(void)
{
	int fd = open("f", O_RDWR | O_CREAT, 0644);
	int child, seen = 0;

	CHECK(lock_byte(fd, F_SETLKW, 0) == 0);
	child = check_fork(lock_second_and_first, &fd);
	while (lock_is_free(fd, 1))
		let_time_pass();
	if (lock_byte(fd, F_SETLKW, 1)) {
		CHECK(errno == EDEADLK);
		seen = 1;
	}
	CHECK(close(fd) == 0); /* gives all locks back */
	CHECK(seen + check_wait(child) == 1);
}

static void a_waiting_lock_is_granted_when_free(void)
{
	char name[] = "f";
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = check_make_file(name, 10, 1);
	int child;

	CHECK(fcntl(fd, F_SETLK, &lock) == 0);
	child = check_fork(lock_waits, name);
	let_time_pass();
	lock.l_type = F_UNLCK;
	CHECK(fcntl(fd, F_SETLK, &lock) == 0);
	CHECK(check_wait(child) == 0);
}

static void on_alarm(int signal)
{
}

static int lock_is_interrupted(void *argument)
{
	struct sigaction action = { .sa_handler = on_alarm }; /* without SA_RESTART */
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(argument, O_RDWR);

	sigaction(SIGALRM, &action, NULL);
	ualarm(100000, 100000);
	return fd >= 0 && fcntl(fd, F_SETLKW, &lock) == -1 && errno == EINTR ? 0 : 1;
}

static void a_waiting_lock_is_interrupted_by_a_signal(void)
{
	char name[] = "f";
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = check_make_file(name, 10, 1);

	CHECK(fcntl(fd, F_SETLK, &lock) == 0);
	CHECK(check_wait(check_fork(lock_is_interrupted, name)) == 0);
}

static int ofd_lock_is_refused(void *argument)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(argument, O_RDWR);

	return fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == -1 && errno == EAGAIN ? 0 : 1;
}

static void open_file_description_locks_exclude(void)
{
	char name[] = "f";
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = check_make_file(name, 10, 1);

	CHECK(fcntl(fd, F_OFD_SETLK, &lock) == 0);
	CHECK(check_wait(check_fork(ofd_lock_is_refused, name)) == 0);
}

static void flock_excludes_other_descriptors(void)
{
	int a = check_make_file("f", 10, 1);
	int b = open("f", O_RDONLY);

	CHECK(flock(a, LOCK_EX) == 0);
	CHECK_ERRNO(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	CHECK_ERRNO(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	CHECK(flock(a, LOCK_SH) == 0);
	CHECK(flock(b, LOCK_SH | LOCK_NB) == 0);
	CHECK(flock(a, LOCK_UN) == 0 && flock(b, LOCK_UN) == 0);
}

static void flock_ends_with_close(void)
{
	int a = check_make_file("f", 10, 1);
	int b = open("f", O_RDONLY);

	CHECK(flock(a, LOCK_EX) == 0);
	CHECK(close(a) == 0);
	CHECK(flock(b, LOCK_EX | LOCK_NB) == 0);
}

/* Where the lock is forwarded, close(2) does not wait for the RELEASE that drops it. */
static void flock_ends_soon_after_close(void)
{
	int a = check_make_file("f", 10, 1);
	int b = open("f", O_RDONLY);

	CHECK(flock(a, LOCK_EX) == 0);
	CHECK(close(a) == 0);
	CHECK(flock(b, LOCK_EX) == 0);
}

static void show_events(int fd)
{
	char buffer[8192] __attribute__((aligned(8)));
	ssize_t size = read(fd, buffer, sizeof(buffer));

	CHECK(size > 0);
	for (ssize_t at = 0; at < size;) {
		const struct inotify_event *event = (const struct inotify_event *)(buffer + at);

		printf("%08x %s\n", event->mask, event->len ? event->name : "");
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

static void inotify_tells_what_is_done_in_the_mount(void)
{
	int fd = inotify_init1(IN_CLOEXEC);

	CHECK(inotify_add_watch(fd, ".", IN_ALL_EVENTS & ~(IN_ACCESS | IN_OPEN)) > 0);
	make_file("f", "text");
	CHECK(chmod("f", 0600) == 0);
	CHECK(truncate("f", 2) == 0);
	CHECK(link("f", "g") == 0);
	CHECK(rename("f", "h") == 0);
	CHECK(mkdir("d", 0755) == 0);
	CHECK(rename("g", "d/g") == 0);
	CHECK(symlink("h", "l") == 0);
	CHECK(unlink("l") == 0 && unlink("h") == 0 && unlink("d/g") == 0 && rmdir("d") == 0);
	show_events(fd);
	close(fd);
}

static void directories_can_be_synced(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY);

	make_file("f", "text");
	CHECK(fd >= 0 && fsync(fd) == 0 && fdatasync(fd) == 0 && syncfs(fd) == 0);
}

static void a_path_of_many_levels_works(void)
{
	enum { LEVELS = 200 };

	for (int i = 0; i < LEVELS; i++)
		CHECK(mkdir("level", 0755) == 0 && chdir("level") == 0);
	make_file("f", "deep");
	for (int i = 0; i < LEVELS; i++)
		CHECK(chdir("..") == 0);
	CHECK(mkdir("other", 0755) == 0);
	CHECK(rename("level/level", "other/moved") == 0);
	CHECK(chdir("other/moved") == 0 && chdir("../..") == 0);
	CHECK(stat_of("other/moved/..").st_ino == stat_of("other").st_ino);
}

static void a_program_on_the_mount_runs(void)
{
	int in = open("/bin/true", O_RDONLY);
	int out = open("program", O_WRONLY | O_CREAT, 0755);
	int pid;

	CHECK(in >= 0 && out >= 0);
	while (copy_file_range(in, NULL, out, NULL, 1 << 30, 0) > 0)
		;
	if (lseek(out, 0, SEEK_CUR) == 0) { /* EXDEV: between filesystems */
		char data[4096];
		ssize_t n;

		while ((n = read(in, data, sizeof(data))) > 0)
			CHECK(write(out, data, (size_t)n) == n);
	}
	close(out);
	pid = fork();
	if (pid == 0) {
		execl("./program", "program", NULL);
		_exit(99);
	}
	CHECK(check_wait(pid) == 0);
}

#define CHECK_ENTRY(function)       \
	{                           \
#function, function \
	}

static const struct check checks[] = {
	CHECK_ENTRY(a_temporary_file_can_be_linked),
	CHECK_ENTRY(a_temporary_file_with_O_EXCL_cannot_be_linked),
	CHECK_ENTRY(an_unlinked_file_stays_usable),
	CHECK_ENTRY(an_unlinked_file_can_be_opened_through_proc),
	CHECK_ENTRY(hard_links_are_one_file),
	CHECK_ENTRY(renaming_a_file_replaces_the_old_one),
	CHECK_ENTRY(renaming_directories_follows_posix),
	CHECK_ENTRY(renameat2_knows_its_flags),
	CHECK_ENTRY(names_of_255_bytes_of_any_kind_work),
	CHECK_ENTRY(a_large_directory_is_listed_once_and_whole),
	CHECK_ENTRY(telldir_and_seekdir_go_back),
	CHECK_ENTRY(unlinking_while_reading_leaves_nothing),
	CHECK_ENTRY(a_listing_bears_entries_that_come_and_go),
	CHECK_ENTRY(a_new_entry_is_seen_after_rewinddir),
	CHECK_ENTRY(a_removed_directory_is_empty),
	CHECK_ENTRY(directories_count_their_links),
	CHECK_ENTRY(open_flags_are_honoured),
	CHECK_ENTRY(symbolic_links_keep_their_target),
	CHECK_ENTRY(times_can_be_set_to_the_nanosecond),
	CHECK_ENTRY(changes_move_the_times),
	CHECK_ENTRY(modes_keep_all_bits_and_honour_the_umask),
	CHECK_ENTRY(owners_can_be_changed_by_root_only),
	CHECK_ENTRY(extended_attributes_round_trip),
	CHECK_ENTRY(extended_attributes_are_listed),
	CHECK_ENTRY(trusted_attributes_are_for_root),
	CHECK_ENTRY(fifos_and_sockets_work),
	CHECK_ENTRY(devices_keep_their_number),
	CHECK_ENTRY(statvfs_tells_of_the_backing_filesystem),
	CHECK_ENTRY(stat_fields_are_those_of_the_file),
	CHECK_ENTRY(access_answers_for_the_caller),
	CHECK_ENTRY(inode_flags_can_be_read_and_set),
	CHECK_ENTRY(unknown_ioctls_are_refused),
	CHECK_ENTRY(posix_locks_exclude_other_processes),
	CHECK_ENTRY(a_deadlock_among_posix_locks_is_seen),
	CHECK_ENTRY(a_waiting_lock_is_granted_when_free),
	CHECK_ENTRY(a_waiting_lock_is_interrupted_by_a_signal),
	CHECK_ENTRY(open_file_description_locks_exclude),
	CHECK_ENTRY(flock_excludes_other_descriptors),
	CHECK_ENTRY(flock_ends_with_close),
	CHECK_ENTRY(flock_ends_soon_after_close),
	CHECK_ENTRY(inotify_tells_what_is_done_in_the_mount),
	CHECK_ENTRY(directories_can_be_synced),
	CHECK_ENTRY(a_path_of_many_levels_works),
	CHECK_ENTRY(a_program_on_the_mount_runs),
};

int main(int argc, char **argv)
{
	return check_main(argc, argv, checks, COUNT_OF(checks));
}
