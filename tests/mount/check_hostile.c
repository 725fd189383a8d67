/* SPDX-License-Identifier: MIT */

/* What somebody does who means no good, and what every filesystem must answer in the same way. See
 * check.h. */

#include "check.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NAMES 400

static int make_file(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT, 0644);

	CHECK(fd >= 0);
	CHECK(write(fd, "text", 4) == 4);
	return fd;
}

static char *proc_path(int fd)
{
	static char path[64]; /* a test program: one at a time is enough */

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static int open_directory(const char *name)
{
	int fd;

	CHECK(mkdir(name, 0755) == 0);
	fd = open(name, O_RDONLY | O_DIRECTORY);
	CHECK(fd >= 0);
	return fd;
}

static void check_takes_nothing(int dir)
{
	CHECK_ERRNO(openat(dir, "new", O_CREAT | O_RDWR, 0644), ENOENT);
	SHOW(openat(dir, ".", O_TMPFILE | O_RDWR, 0644));
	CHECK_ERRNO(openat(dir, "file", O_RDONLY), ENOENT);
	CHECK_ERRNO(mkdirat(dir, "new", 0755), ENOENT);
	CHECK_ERRNO(symlinkat("target", dir, "new"), ENOENT);
	CHECK_ERRNO(mknodat(dir, "new", S_IFIFO | 0644, 0), ENOENT);
	CHECK_ERRNO(linkat(AT_FDCWD, "file", dir, "new", 0), ENOENT);
	CHECK_ERRNO(renameat(AT_FDCWD, "file", dir, "new"), ENOENT);
	CHECK_ERRNO(renameat(dir, "file", AT_FDCWD, "new"), ENOENT);
	CHECK_ERRNO(unlinkat(dir, "file", 0), ENOENT);
}

static void a_deleted_directory_takes_nothing(void)
{
	int dir = open_directory("d");
	struct stat st;

	close(make_file("file"));
	CHECK(rmdir("d") == 0);
	check_takes_nothing(dir);
	CHECK(fstat(dir, &st) == 0 && st.st_nlink == 0);
	CHECK(fchmod(dir, 0700) == 0);
	CHECK(fstat(dir, &st) == 0 && (st.st_mode & 07777) == 0700);
	/* Its name given to another one makes no difference to it. */
	CHECK(mkdir("d", 0755) == 0);
	close(make_file("d/file"));
	check_takes_nothing(dir);
	CHECK(access("d/file", F_OK) == 0);
	CHECK(fchdir(dir) == 0);
	CHECK_ERRNO(open("new", O_CREAT | O_RDWR, 0644), ENOENT);
	close(dir);
}

static void a_directory_that_another_one_replaced_takes_nothing(void)
{
	int dir = open_directory("old");

	close(make_file("file"));
	CHECK(mkdir("new", 0755) == 0);
	close(make_file("new/file"));
	CHECK(rename("new", "old") == 0);
	check_takes_nothing(dir);
	CHECK(access("old/file", F_OK) == 0);
	close(dir);
}

static void a_file_outlives_its_directory(void)
{
	char data[16];
	int dir = open_directory("d");
	int fd = make_file("d/file");
	int again;

	CHECK(unlink("d/file") == 0 && rmdir("d") == 0);
	CHECK_ERRNO(openat(dir, "file", O_RDONLY), ENOENT);
	CHECK_ERRNO(linkat(AT_FDCWD, proc_path(fd), AT_FDCWD, "back", AT_SYMLINK_FOLLOW), ENOENT);
	again = open(proc_path(fd), O_RDWR);
	CHECK(again >= 0);
	CHECK(close(fd) == 0);
	CHECK(pwrite(again, "more", 4, 4) == 4);
	CHECK(pread(again, data, sizeof(data), 0) == 8 && memcmp(data, "textmore", 8) == 0);
	CHECK(ftruncate(again, 2) == 0);
	CHECK(fsetxattr(again, "user.x", "1", 1, 0) == 0);
	CHECK(fgetxattr(again, "user.x", data, sizeof(data)) == 1);
	CHECK(fremovexattr(again, "user.x") == 0);
	CHECK(close(again) == 0);
	close(dir);
}

static void names_of_dots_are_names(void)
{
	static const char *const names[] = { "...", "..x", ".. ", ". .", "..\\", "..\n", "\x01.." };

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		CHECK(mkdir(names[i], 0755) == 0);
		CHECK(rename(names[i], "moved") == 0 && rename("moved", names[i]) == 0);
		CHECK(rmdir(names[i]) == 0);
	}
	CHECK(mkdir("d", 0755) == 0);
	SHOW(mkdir("d/..", 0755));
	SHOW(mkdir("d/../..", 0755));
	SHOW(rmdir("d/.."));
	SHOW(rmdir("d/."));
	SHOW(rename("d/..", "x"));
	SHOW(rename("d", "d/.."));
	SHOW(link("d/..", "x"));
	SHOW(unlink("d/.."));
	SHOW(open("d/..", O_CREAT | O_RDWR, 0644));
	SHOW(symlink("x", "d/.."));
}

/* Prints how far a value of that size comes, and compares what came back. */
static void try_value(const char *value, size_t size)
{
	static char found[XATTR_SIZE_MAX];
	int set;

	/* A new file: with an old value in place, btrfs may have no room for a larger one. */
	close(make_file("file"));
	set = setxattr("file", "user.large", value, size, 0);
	printf("%zu: %d %s\n", size, set, set ? strerror(errno) : "");
	if (set < 0)
		return;
	CHECK(getxattr("file", "user.large", NULL, 0) == (ssize_t)size);
	CHECK_ERRNO(getxattr("file", "user.large", found, size - 1), ERANGE);
	CHECK(getxattr("file", "user.large", found, sizeof(found)) == (ssize_t)size);
	CHECK(memcmp(found, value, size) == 0);
	CHECK(unlink("file") == 0);
}

static void attributes_are_as_large_as_the_filesystem_has_them(void)
{
	static char value[XATTR_SIZE_MAX + 1];

	check_pattern(value, sizeof(value), 3);
	for (size_t size = 1000; size <= XATTR_SIZE_MAX; size *= 2)
		try_value(value, size);
	try_value(value, 65000);
	try_value(value, XATTR_SIZE_MAX - 1);
	try_value(value, XATTR_SIZE_MAX);
	close(make_file("file"));
	CHECK_ERRNO(setxattr("file", "user.large", value, XATTR_SIZE_MAX + 1, 0), E2BIG);
}

static void names_of_attributes_end_at_255_bytes(void)
{
	char name[XATTR_NAME_MAX + 2] = "user.";
	char found[4];

	close(make_file("file"));
	memset(name + 5, 'n', sizeof(name) - 6);
	CHECK_ERRNO(setxattr("file", name, "1", 1, 0), ERANGE);
	CHECK_ERRNO(getxattr("file", name, found, sizeof(found)), ERANGE);
	CHECK_ERRNO(removexattr("file", name), ERANGE);
	name[XATTR_NAME_MAX] = 0;
	SHOW(setxattr("file", name, "1", 1, 0));
	SHOW(getxattr("file", name, found, sizeof(found)));
	SHOW(removexattr("file", name));
	SHOW(setxattr("file", "user.", "1", 1, 0));
	SHOW(setxattr("file", "", "1", 1, 0));
}

/* The size alone is not compared: the kernel cuts it off at 64 KiB (Linux fs/fuse/xattr.c,
 * fuse_listxattr()), where a local filesystem tells the whole. */
static void lists_of_attributes_overflow(void)
{
	static char list[XATTR_LIST_MAX];
	char name[256];
	int made = 0;

	close(make_file("file"));
	while (made < NAMES) {
		snprintf(name, sizeof(name), "user.%0240d", made);
		if (setxattr("file", name, "1", 1, 0) < 0)
			break;
		made++;
	}
	/* How many there is room for, one filesystem tells to the byte and another never. */
	if (made < NAMES)
		printf("%s\n", strerror(errno));
	if (made == NAMES)
		CHECK(listxattr("file", NULL, 0) >= XATTR_LIST_MAX);
	SHOW(listxattr("file", list, sizeof(list)));
	CHECK_ERRNO(listxattr("file", list, 100), ERANGE);
	for (int i = 0; i < made; i++) {
		snprintf(name, sizeof(name), "user.%0240d", i);
		CHECK(removexattr("file", name) == 0);
	}
	CHECK(listxattr("file", list, sizeof(list)) == 0);
}

#define CHECK_ENTRY(function)       \
	{                           \
#function, function \
	}

static const struct check checks[] = {
	CHECK_ENTRY(a_deleted_directory_takes_nothing),
	CHECK_ENTRY(a_directory_that_another_one_replaced_takes_nothing),
	CHECK_ENTRY(a_file_outlives_its_directory),
	CHECK_ENTRY(names_of_dots_are_names),
	CHECK_ENTRY(attributes_are_as_large_as_the_filesystem_has_them),
	CHECK_ENTRY(names_of_attributes_end_at_255_bytes),
	CHECK_ENTRY(lists_of_attributes_overflow),
};

int main(int argc, char **argv)
{
	return check_main(argc, argv, checks, COUNT_OF(checks));
}
