/* SPDX-License-Identifier: MIT */

/* Errors that lie in a path, and that every call with a path has. */

#include "posix.h"

#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>

enum {
	MAKES = 1, /* a new name: there must be nothing, or O_EXCL */
	FOLLOWS = 2, /* the last component, when it is a symbolic link */
	CHANGES = 4, /* is refused on a read-only filesystem */
	REMOVES = 8, /* or gives the name away */
};

static int do_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK);

	return fd < 0 ? -1 : close(fd);
}

static int do_open_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	return fd < 0 ? -1 : close(fd);
}

static int do_open_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_NONBLOCK);

	return fd < 0 ? -1 : close(fd);
}

static int do_open_trunc(const char *path)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_NONBLOCK);

	return fd < 0 ? -1 : close(fd);
}

static int do_create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int do_create_or_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int do_tmpfile(const char *path)
{
	int fd = open(path, O_TMPFILE | O_WRONLY, 0600);

	return fd < 0 ? -1 : close(fd);
}

static int do_mkdir(const char *path)
{
	return mkdir(path, 0755);
}

static int do_mkfifo(const char *path)
{
	return mkfifo(path, 0644);
}

static int do_mknod(const char *path)
{
	return mknod(path, S_IFREG | 0644, 0);
}

static int do_symlink(const char *path)
{
	return symlink("target", path);
}

static int do_link_to(const char *path)
{
	return link("other", path);
}

static int do_link_from(const char *path)
{
	int err = link(path, "made");

	if (!err)
		CHECK(unlink("made") == 0);
	return err;
}

static int do_link_from_followed(const char *path)
{
	int err = linkat(AT_FDCWD, path, AT_FDCWD, "made", AT_SYMLINK_FOLLOW);

	if (!err)
		CHECK(unlink("made") == 0);
	return err;
}

static int do_rename_to(const char *path)
{
	return rename("moves", path);
}

static int do_rename_from(const char *path)
{
	return rename(path, "made");
}

static int do_exchange(const char *path)
{
	return renameat2(AT_FDCWD, path, AT_FDCWD, "other", RENAME_EXCHANGE);
}

static int do_chmod(const char *path)
{
	return chmod(path, 0755);
}

static int do_chown(const char *path)
{
	return chown(path, geteuid(), (gid_t)-1);
}

static int do_lchown(const char *path)
{
	return lchown(path, geteuid(), (gid_t)-1);
}

static int do_truncate(const char *path)
{
	return truncate(path, 3);
}

static int do_utimensat(const char *path)
{
	return utimensat(AT_FDCWD, path, NULL, 0);
}

static int do_utimensat_set(const char *path)
{
	const struct timespec times[2] = { { 1, 2 }, { 3, 4 } };

	return utimensat(AT_FDCWD, path, times, 0);
}

static int do_utimensat_nofollow(const char *path)
{
	return utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
}

static int do_stat(const char *path)
{
	struct stat st;

	return stat(path, &st);
}

static int do_lstat(const char *path)
{
	struct stat st;

	return lstat(path, &st);
}

static int do_statvfs(const char *path)
{
	struct statvfs st;

	return statvfs(path, &st);
}

static int do_access(const char *path)
{
	return faccessat(AT_FDCWD, path, F_OK, AT_EACCESS);
}

static int do_readlink(const char *path)
{
	char target[16];

	return readlink(path, target, sizeof(target)) < 0 ? -1 : 0;
}

static int do_chdir(const char *path)
{
	return chdir(path);
}

static int do_getxattr(const char *path)
{
	char value[8];

	return getxattr(path, "user.zcfs", value, sizeof(value)) < 0 ? -1 : 0;
}

static int do_setxattr(const char *path)
{
	return setxattr(path, "user.zcfs", "1", 1, 0);
}

static int do_listxattr(const char *path)
{
	return listxattr(path, NULL, 0) < 0 ? -1 : 0;
}

static int do_removexattr(const char *path)
{
	return removexattr(path, "user.zcfs");
}

static int do_execve(const char *path)
{
	char *arguments[] = { NULL };
	char *environment[] = { NULL };

	return execve(path, arguments, environment);
}

static const struct call {
	const char *name;
	int (*run)(const char *path);
	int kind;
} calls[] = {
	{ "open", do_open, FOLLOWS },
	{ "open, O_DIRECTORY", do_open_directory, FOLLOWS },
	{ "open, O_WRONLY", do_open_write, FOLLOWS | CHANGES },
	{ "open, O_TRUNC", do_open_trunc, FOLLOWS | CHANGES },
	{ "open, O_CREAT O_EXCL", do_create, MAKES | CHANGES },
	{ "open, O_CREAT", do_create_or_open, MAKES | FOLLOWS | CHANGES },
	{ "open, O_TMPFILE", do_tmpfile, FOLLOWS | CHANGES },
	{ "mkdir", do_mkdir, MAKES | CHANGES },
	{ "mkfifo", do_mkfifo, MAKES | CHANGES },
	{ "mknod", do_mknod, MAKES | CHANGES },
	{ "symlink", do_symlink, MAKES | CHANGES },
	{ "link, new", do_link_to, MAKES | CHANGES },
	{ "link, old", do_link_from, CHANGES },
	{ "linkat, old, AT_SYMLINK_FOLLOW", do_link_from_followed, FOLLOWS | CHANGES },
	{ "rename, new", do_rename_to, MAKES | CHANGES },
	{ "rename, old", do_rename_from, REMOVES | CHANGES },
	{ "renameat2, RENAME_EXCHANGE", do_exchange, REMOVES | CHANGES },
	{ "unlink", unlink, REMOVES | CHANGES },
	{ "rmdir", rmdir, REMOVES | CHANGES },
	{ "chmod", do_chmod, FOLLOWS | CHANGES },
	{ "chown", do_chown, FOLLOWS | CHANGES },
	{ "lchown", do_lchown, CHANGES },
	{ "truncate", do_truncate, FOLLOWS | CHANGES },
	{ "utimensat", do_utimensat, FOLLOWS | CHANGES },
	{ "utimensat, times", do_utimensat_set, FOLLOWS | CHANGES },
	{ "utimensat, AT_SYMLINK_NOFOLLOW", do_utimensat_nofollow, CHANGES },
	{ "setxattr", do_setxattr, FOLLOWS | CHANGES },
	{ "removexattr", do_removexattr, FOLLOWS | CHANGES },
	{ "getxattr", do_getxattr, FOLLOWS },
	{ "listxattr", do_listxattr, FOLLOWS },
	{ "stat", do_stat, FOLLOWS },
	{ "lstat", do_lstat, 0 },
	{ "statvfs", do_statvfs, FOLLOWS },
	{ "access", do_access, FOLLOWS },
	{ "readlink", do_readlink, 0 },
	{ "chdir", do_chdir, FOLLOWS },
	{ "execve", do_execve, FOLLOWS },
};

/* The files that the two-path calls use besides. */
static void make_others(void)
{
	posix_make("other", S_IFREG, 0644);
	posix_make("moves", S_IFREG, 0644);
}

static void all_fail(const char *path, int error, int kinds)
{
	for (size_t i = 0; i < COUNT_OF(calls); i++)
		if (!kinds || (calls[i].kind & kinds))
			EXPECT_WITH(calls[i].name, error, calls[i].run(path));
}

/* As if it were not there: what makes the name succeeds, and it is taken away again. */
static void all_find_nothing(const char *path)
{
	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		const bool makes = calls[i].kind & MAKES;

		EXPECT_WITH(calls[i].name, makes ? 0 : ENOENT, calls[i].run(path));
		if (makes)
			posix_discard(path);
		if (!posix_exists("moves"))
			posix_make("moves", S_IFREG, 0644);
	}
}

static void paths_through_what_is_no_directory_are_ENOTDIR(void)
{
	make_others();
	for (size_t i = 0; i < posix_type_count(); i++) {
		if (posix_types[i] == S_IFDIR || posix_types[i] == S_IFLNK)
			continue;
		posix_make("thing", posix_types[i], 0777);
		all_fail("thing/x", ENOTDIR, 0);
		all_fail("thing/.", ENOTDIR, FOLLOWS);
		all_fail("thing/..", ENOTDIR, FOLLOWS);
		posix_discard("thing");
	}
	CHECK(symlink("other", "link") == 0);
	all_fail("link/x", ENOTDIR, 0);
}

static void paths_with_a_missing_directory_are_ENOENT(void)
{
	make_others();
	all_fail("missing/x", ENOENT, 0);
	all_fail("missing/../other", ENOENT, 0);
	all_fail("", ENOENT, 0);
	CHECK(symlink("nowhere", "dangling") == 0);
	all_fail("dangling/x", ENOENT, 0);
}

static void names_of_256_bytes_are_ENAMETOOLONG(void)
{
	char name[NAME_MAX + 2], path[NAME_MAX + 8];

	make_others();
	memset(name, 'n', sizeof(name) - 1);
	name[NAME_MAX + 1] = '\0';
	all_fail(name, ENAMETOOLONG, 0);
	snprintf(path, sizeof(path), "%s/x", name);
	all_fail(path, ENAMETOOLONG, 0);
	name[NAME_MAX] = '\0';
	all_find_nothing(name);
	snprintf(path, sizeof(path), "%s/x", name);
	all_fail(path, ENOENT, 0);
}

/* path becomes size - 1 bytes long, and leads to last. */
static void fill_path(char *path, size_t size, const char *last)
{
	size_t rest = size - 1 - strlen(last);

	memset(path, '/', rest);
	for (size_t i = 0; i + 1 < rest; i += 2)
		path[i] = '.';
	if (rest % 2)
		path[rest - 1] = '/';
	snprintf(path + rest, size - rest, "%s", last);
}

static void paths_of_4096_bytes_are_ENAMETOOLONG(void)
{
	char path[PATH_MAX + 1];

	make_others();
	fill_path(path, PATH_MAX + 1, "x");
	CHECK(strlen(path) == PATH_MAX);
	all_fail(path, ENAMETOOLONG, 0);
	fill_path(path, PATH_MAX, "x");
	CHECK(strlen(path) == PATH_MAX - 1);
	all_find_nothing(path);
}

/* Directories of long names, so that the path is as long with every component in use. */
static void paths_of_4095_bytes_lead_down_a_deep_tree(void)
{
	char name[NAME_MAX + 1], path[PATH_MAX];
	size_t length = 0;

	memset(name, 'd', NAME_MAX);
	name[NAME_MAX] = '\0';
	while (length + NAME_MAX + 1 < sizeof(path) - 2) {
		length += (size_t)snprintf(path + length, sizeof(path) - length, "%s", name);
		EXPECT(0, mkdir(path, 0755));
		path[length++] = '/';
	}
	memset(path + length, 'f', sizeof(path) - 1 - length);
	path[sizeof(path) - 1] = '\0';
	CHECK(strlen(path) == PATH_MAX - 1);
	make_others();
	all_find_nothing(path);
}

static void paths_of_looping_links_are_ELOOP(void)
{
	char name[16], target[16];

	make_others();
	CHECK(symlink("loop", "loop") == 0);
	CHECK(symlink("pong", "ping") == 0 && symlink("ping", "pong") == 0);
	all_fail("loop/x", ELOOP, 0);
	all_fail("ping/x", ELOOP, 0);
	for (size_t i = 0; i < COUNT_OF(calls); i++)
		if (calls[i].kind & FOLLOWS)
			EXPECT_WITH(calls[i].name, ELOOP, calls[i].run("ping"));
	/* The limit is 40 in one path (MAXSYMLINKS). */
	posix_make("l0", S_IFDIR, 0755);
	for (int i = 1; i <= 41; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		snprintf(target, sizeof(target), "l%d", i - 1);
		CHECK(symlink(target, name) == 0);
	}
	all_find_nothing("l40/x");
	all_fail("l41/x", ELOOP, 0);
}

static void paths_at_bad_addresses_are_EFAULT(void)
{
	/* The top of the address space: never a program's. */
	const char *nowhere = (const char *)-4096L;

	make_others();
	all_fail(nowhere, EFAULT, 0);
}

/* Two things that an expectation was tried with. */
static const char *both(const char *a, const char *b)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s, %s", a, b);
	return text;
}

static void expect_search_denied(const struct person *who, const char *what)
{
	posix_become(who);
	for (size_t i = 0; i < COUNT_OF(calls); i++)
		EXPECT_WITH(both(calls[i].name, what), EACCES, calls[i].run("closed/x"));
	posix_become(&root);
}

static void paths_through_closed_directories_are_EACCES(void)
{
	posix_needs_root();
	CHECK(chmod(".", 0777) == 0);
	posix_make_for(&anna, "other", S_IFREG, 0666);
	posix_make_for(&anna, "moves", S_IFREG, 0666);
	posix_make_for(&anna, "closed", S_IFDIR, 0677);
	posix_make_for(&anna, "closed/x", S_IFREG, 0666);
	expect_search_denied(&anna, "owner");
	CHECK(chown("closed", 0, anna.gid) == 0 && chmod("closed", 0767) == 0);
	expect_search_denied(&anna, "group");
	CHECK(chown("closed", 0, anna.group) == 0);
	expect_search_denied(&anna, "supplementary group");
	CHECK(chmod("closed", 0776) == 0);
	CHECK(chown("closed", 0, 0) == 0);
	expect_search_denied(&anna, "others");
	CHECK(chmod("closed", 0777) == 0);
	posix_become(&anna);
	EXPECT(0, do_open("closed/x"));
}

static void expect_change_denied(const struct person *who, const char *what)
{
	posix_become(who);
	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		if (calls[i].kind & MAKES)
			EXPECT_WITH(both(calls[i].name, what), EACCES, calls[i].run("fixed/new"));
		if ((calls[i].kind & REMOVES) && calls[i].run != rmdir)
			EXPECT_WITH(both(calls[i].name, what), EACCES, calls[i].run("fixed/file"));
	}
	EXPECT_WITH(what, EACCES, rmdir("fixed/dir"));
	EXPECT_WITH(what, EACCES, rename("fixed/dir", "made"));
	EXPECT_WITH(what, 0, do_open("fixed/file"));
	posix_become(&root);
}

static void names_in_directories_one_may_not_write_are_EACCES(void)
{
	posix_needs_root();
	CHECK(chmod(".", 0777) == 0);
	posix_make_for(&anna, "other", S_IFREG, 0666);
	posix_make_for(&anna, "moves", S_IFREG, 0666);
	posix_make_for(&anna, "fixed", S_IFDIR, 0577);
	posix_make_for(&anna, "fixed/file", S_IFREG, 0666);
	posix_make_for(&anna, "fixed/dir", S_IFDIR, 0777);
	expect_change_denied(&anna, "owner");
	CHECK(chown("fixed", 0, anna.gid) == 0 && chmod("fixed", 0757) == 0);
	expect_change_denied(&anna, "group");
	CHECK(chown("fixed", 0, anna.group) == 0);
	expect_change_denied(&anna, "supplementary group");
	CHECK(chown("fixed", 0, 0) == 0 && chmod("fixed", 0775) == 0);
	expect_change_denied(&anna, "others");
}

static void paths_on_a_read_only_mount_are_EROFS(void)
{
	posix_needs_root();
	CHECK(mkdir("d", 0755) == 0 && chdir("d") == 0);
	make_others();
	posix_make("file", S_IFREG, 0644);
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(chdir("..") == 0);
	CHECK(mount("d", "d", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "d", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
	CHECK(chdir("d") == 0);
	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		if (calls[i].run == do_tmpfile || !(calls[i].kind & CHANGES))
			continue;
		EXPECT_WITH(calls[i].name, EROFS,
			    calls[i].run(calls[i].kind & MAKES ? "new" : "file"));
	}
	EXPECT(EROFS, do_tmpfile("."));
	EXPECT(0, do_open("file"));
}

static const struct check checks[] = {
	POSIX_ENTRY(paths_through_what_is_no_directory_are_ENOTDIR),
	POSIX_ENTRY(paths_with_a_missing_directory_are_ENOENT),
	POSIX_ENTRY(names_of_256_bytes_are_ENAMETOOLONG),
	POSIX_ENTRY(paths_of_4096_bytes_are_ENAMETOOLONG),
	POSIX_ENTRY(paths_of_4095_bytes_lead_down_a_deep_tree),
	POSIX_ENTRY(paths_of_looping_links_are_ELOOP),
	POSIX_ENTRY(paths_at_bad_addresses_are_EFAULT),
	POSIX_ENTRY(paths_through_closed_directories_are_EACCES),
	POSIX_ENTRY(names_in_directories_one_may_not_write_are_EACCES),
	POSIX_ENTRY(paths_on_a_read_only_mount_are_EROFS),
};

const struct posix_group posix_paths = { checks, COUNT_OF(checks) };
