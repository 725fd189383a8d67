/* SPDX-License-Identifier: MIT */
#include "posix.h"

#include <grp.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>

#define DAYS_BACK 86400

const struct person root = { 0, 0, 0 };
const struct person anna = { 62001, 62001, 62002 };
const struct person bert = { 62002, 62002, 0 };

static const char *error_name(int error)
{
	return error ? strerrorname_np(error) : "success";
}

void posix_expect_with(const char *file, int line, const char *call, const char *what,
		       long long result, int error)
{
	const int found = result == -1 ? errno : 0;

	check_count_one();
	if (found == error)
		return;
	fprintf(stderr, "%s:%d: %s%s%s%s: expected %s, found %s\n", file, line, call,
		*what ? " (" : "", what, *what ? ")" : "", error_name(error), error_name(found));
	fflush(stdout);
	_exit(1);
}

void posix_expect(const char *file, int line, const char *call, long long result, int error)
{
	posix_expect_with(file, line, call, "", result, error);
}

/* ---- people ---- */

void posix_become(const struct person *person)
{
	CHECK(seteuid(0) == 0);
	CHECK(setgroups(person->group ? 1 : 0, &person->group) == 0);
	CHECK(setegid(person->gid) == 0 && seteuid(person->uid) == 0);
}

void posix_needs_root(void)
{
	if (getuid() != 0)
		check_skip("takes root");
}

/* ---- files ---- */

const mode_t posix_types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };

size_t posix_type_count(void)
{
	return COUNT_OF(posix_types) - (getuid() == 0 ? 0 : 2);
}

const char *posix_type_name(mode_t type)
{
	switch (type) {
	case S_IFREG:
		return "regular file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symbolic link";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFCHR:
		return "character device";
	case S_IFBLK:
		return "block device";
	default:
		return "?";
	}
}

static int make(const char *name, mode_t type, mode_t mode)
{
	switch (type) {
	case S_IFDIR:
		return mkdir(name, mode);
	case S_IFLNK:
		return symlink("nowhere", name);
	case S_IFCHR:
	case S_IFBLK:
		return mknod(name, type | mode, makedev(240, 17));
	default:
		return mknod(name, type | mode, 0);
	}
}

void posix_make(const char *name, mode_t type, mode_t mode)
{
	CHECK(make(name, type, mode) == 0);
	CHECK(type == S_IFLNK || chmod(name, mode) == 0);
}

void posix_make_for(const struct person *owner, const char *name, mode_t type, mode_t mode)
{
	CHECK(make(name, type, mode) == 0);
	CHECK(lchown(name, owner->uid, owner->gid) == 0);
	CHECK(type == S_IFLNK || chmod(name, mode) == 0);
}

void posix_discard(const char *name)
{
	CHECK(S_ISDIR(posix_stat(name).st_mode) ? rmdir(name) == 0 : unlink(name) == 0);
}

struct stat posix_stat(const char *name)
{
	struct stat st;

	CHECK(lstat(name, &st) == 0);
	return st;
}

mode_t posix_mode(const char *name)
{
	return posix_stat(name).st_mode & 07777;
}

bool posix_exists(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0;
}

bool posix_set_flag(const char *name, int flag, bool on)
{
	int flags = 0;
	int fd = open(name, O_RDONLY | O_NONBLOCK);
	bool done;

	CHECK(fd >= 0);
	done = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
	flags = on ? flags | flag : flags & ~flag;
	done = done && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
	close(fd);
	return done;
}

/* ---- times ---- */

static bool is_later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static bool are_equal(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

int posix_moved(const char *name, const struct stat *before)
{
	struct stat now = posix_stat(name);

	return (are_equal(now.st_ctim, before->st_ctim) ? 0 : CTIME_MOVES) |
	       (are_equal(now.st_mtim, before->st_mtim) ? 0 : MTIME_MOVES) |
	       (are_equal(now.st_atim, before->st_atim) ? 0 : ATIME_MOVES);
}

/* The stamp of a file is this clock's, or a finer one's reading that is not before it. */
static void wait_beyond(struct timespec stamp)
{
	struct timespec now, pause = { .tv_nsec = 500000 };

	do {
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
		if (is_later(now, stamp))
			return;
		nanosleep(&pause, NULL);
	} while (now.tv_sec + DAYS_BACK > stamp.tv_sec);
}

struct stat posix_wait_beyond(const char *name)
{
	struct stat st = posix_stat(name);

	wait_beyond(st.st_ctim);
	wait_beyond(st.st_mtim);
	wait_beyond(st.st_atim);
	return st;
}

void posix_expect_times(const char *file, int line, const char *name, const struct stat *before,
			int expected)
{
	const int moved = posix_moved(name, before);

	check_count_one();
	if (moved == expected)
		return;
	fprintf(stderr, "%s:%d: times of %s: expected%s%s%s, moved%s%s%s\n", file, line, name,
		expected & CTIME_MOVES ? " ctime" : "", expected & MTIME_MOVES ? " mtime" : "",
		expected & ATIME_MOVES ? " atime" : "", moved & CTIME_MOVES ? " ctime" : "",
		moved & MTIME_MOVES ? " mtime" : "", moved & ATIME_MOVES ? " atime" : "");
	fflush(stdout);
	_exit(1);
}
