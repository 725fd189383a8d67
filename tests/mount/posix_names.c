/* SPDX-License-Identifier: MIT */

/* Names that are made, given away and taken: mkdir, mkfifo, mknod, symlink, link, open with
 * O_CREAT, rename, unlink, rmdir. */

#include "posix.h"

#include <limits.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

static int create(const char *name, mode_t mode)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, mode);

	return fd < 0 ? -1 : close(fd);
}

static int make_fifo(const char *name, mode_t mode)
{
	return mkfifo(name, mode);
}

static int make_node(const char *name, mode_t mode)
{
	return mknod(name, S_IFREG | mode, 0);
}

static int make_socket(const char *name, mode_t mode)
{
	return mknod(name, S_IFSOCK | mode, 0);
}

static int make_link(const char *name, mode_t mode)
{
	return symlink("target", name);
}

static const struct maker {
	const char *name;
	int (*make)(const char *name, mode_t mode);
	mode_t type;
} makers[] = {
	{ "open, O_CREAT", create, S_IFREG },
	{ "mkdir", mkdir, S_IFDIR },
	{ "mkfifo", make_fifo, S_IFIFO },
	{ "mknod, S_IFREG", make_node, S_IFREG },
	{ "mknod, S_IFSOCK", make_socket, S_IFSOCK },
	{ "symlink", make_link, S_IFLNK },
};

static void create_gives_the_mode_less_the_umask(void)
{
	static const mode_t masks[] = { 0, 022, 027, 077, 0151, 0777 };
	static const mode_t modes[] = { 0, 0151, 0345, 0644, 0755, 0777 };

	for (size_t i = 0; i < COUNT_OF(makers); i++)
		for (size_t j = 0; j < COUNT_OF(masks) * COUNT_OF(modes); j++) {
			mode_t mode = modes[j % COUNT_OF(modes)], mask = masks[j / COUNT_OF(modes)];

			umask(mask);
			EXPECT_WITH(makers[i].name, 0, makers[i].make("x", mode));
			CHECK((posix_stat("x").st_mode & S_IFMT) == makers[i].type);
			if (makers[i].type != S_IFLNK)
				CHECK(posix_mode("x") == (mode & ~mask));
			posix_discard("x");
		}
}

static void create_moves_the_times_of_the_directory(void)
{
	CHECK(mkdir("d", 0755) == 0);
	for (size_t i = 0; i < COUNT_OF(makers); i++) {
		struct stat before = posix_wait_beyond("d"), made;

		EXPECT_WITH(makers[i].name, 0, makers[i].make("d/x", 0644));
		EXPECT_TIMES(CTIME_MOVES | MTIME_MOVES, "d", &before);
		made = posix_stat("d/x");
		CHECK(made.st_ctim.tv_sec >= before.st_ctim.tv_sec);
		CHECK(made.st_mtim.tv_sec >= before.st_mtim.tv_sec);
		before = posix_wait_beyond("d");
		EXPECT_WITH(makers[i].name, EEXIST, makers[i].make("d/x", 0644));
		EXPECT_TIMES(0, "d", &before);
		EXPECT_TIMES(0, "d/x", &made);
		posix_discard("d/x");
	}
}

static void create_of_what_exists_is_EEXIST(void)
{
	posix_make("other", S_IFREG, 0644);
	for (size_t t = 0; t < posix_type_count(); t++) {
		posix_make("x", posix_types[t], 0755);
		for (size_t i = 0; i < COUNT_OF(makers); i++)
			EXPECT_WITH(makers[i].name, EEXIST, makers[i].make("x", 0644));
		EXPECT_WITH(posix_type_name(posix_types[t]), EEXIST, link("other", "x"));
		CHECK((posix_stat("x").st_mode & S_IFMT) == posix_types[t]);
		posix_discard("x");
	}
	for (size_t i = 0; i < COUNT_OF(makers); i++) {
		EXPECT_WITH(makers[i].name, EEXIST, makers[i].make(".", 0644));
		EXPECT_WITH(makers[i].name, EEXIST, makers[i].make("..", 0644));
	}
}

static void create_gives_the_caller_and_the_group_of_a_set_gid_directory(void)
{
	posix_needs_root();
	posix_make("open", S_IFDIR, 0777);
	posix_make_for(&bert, "shared", S_IFDIR, 02777);
	for (size_t i = 0; i < COUNT_OF(makers); i++) {
		struct stat st;

		posix_become(&anna);
		EXPECT_WITH(makers[i].name, 0, makers[i].make("open/x", 0755));
		st = posix_stat("open/x");
		CHECK(st.st_uid == anna.uid && st.st_gid == anna.gid);
		EXPECT_WITH(makers[i].name, 0, makers[i].make("shared/x", 0755));
		st = posix_stat("shared/x");
		CHECK(st.st_uid == anna.uid && st.st_gid == bert.gid);
		CHECK(!!(st.st_mode & S_ISGID) == (makers[i].type == S_IFDIR));
		posix_discard("open/x");
		posix_discard("shared/x");
		posix_become(&root);
	}
}

/* Who is in the group by a supplementary one keeps S_ISGID of a new program, a stranger does not.
 */
static void create_with_set_gid_depends_on_the_group(void)
{
	static const mode_t modes[] = { 02755, 06755, 02745, 04711, 06777, 07777 };

	posix_needs_root();
	umask(0);
	posix_make("open", S_IFDIR, 0777);
	posix_make_for(&bert, "of bert", S_IFDIR, 02777);
	posix_make_for(&root, "of root", S_IFDIR, 02777);
	posix_become(&anna);
	for (size_t i = 0; i < COUNT_OF(modes) * 3; i++) {
		static const char *const names[] = { "open/x", "of bert/x", "of root/x" };
		const char *name = names[i / COUNT_OF(modes)];

		EXPECT(0, create(name, modes[i % COUNT_OF(modes)]));
		printf("open %s %o: %o\n", name, modes[i % COUNT_OF(modes)], posix_mode(name));
		posix_discard(name);
		EXPECT(0, mkdir(name, modes[i % COUNT_OF(modes)]));
		printf("mkdir %s %o: %o\n", name, modes[i % COUNT_OF(modes)], posix_mode(name));
		posix_discard(name);
	}
}

static void mknod_of_devices_takes_root(void)
{
	posix_needs_root();
	CHECK(chmod(".", 0777) == 0);
	posix_become(&anna);
	EXPECT(EPERM, mknod("x", S_IFCHR | 0644, 5));
	EXPECT(EPERM, mknod("x", S_IFBLK | 0644, 5));
	EXPECT(0, mknod("x", S_IFIFO | 0644, 0));
	posix_become(&root);
	EXPECT(EPERM, mknod("y", S_IFDIR | 0755, 0));
	EXPECT(EINVAL, mknod("y", S_IFLNK | 0755, 0));
}

static void symlink_keeps_targets_up_to_4095_bytes(void)
{
	char target[PATH_MAX + 1], found[PATH_MAX];

	memset(target, 't', PATH_MAX);
	target[PATH_MAX] = '\0';
	EXPECT(ENAMETOOLONG, symlink(target, "x"));
	EXPECT(ENOENT, symlink("", "x"));
	for (size_t size = PATH_MAX - 1; size; size /= 2) {
		target[size] = '\0';
		SHOW(symlink(target, "x"));
		if (!posix_exists("x"))
			continue;
		CHECK(readlink("x", found, sizeof(found)) == (ssize_t)size);
		CHECK(memcmp(found, target, size) == 0);
		CHECK(posix_stat("x").st_size == (off_t)size);
		posix_discard("x");
	}
}

/* ---- link ---- */

static void link_counts_and_moves_the_times(void)
{
	for (size_t t = 0; t < posix_type_count(); t++) {
		struct stat before, directory;

		if (posix_types[t] == S_IFDIR)
			continue;
		CHECK(mkdir("d", 0755) == 0);
		posix_make("x", posix_types[t], 0644);
		for (nlink_t n = 2; n < 5; n++) {
			char name[8];

			snprintf(name, sizeof(name), "d/%lu", (unsigned long)n);
			before = posix_wait_beyond("x");
			directory = posix_wait_beyond("d");
			EXPECT_WITH(posix_type_name(posix_types[t]), 0, link("x", name));
			EXPECT_TIMES(CTIME_MOVES, "x", &before);
			EXPECT_TIMES(CTIME_MOVES | MTIME_MOVES, "d", &directory);
			CHECK(posix_stat("x").st_nlink == n && posix_stat(name).st_nlink == n);
			CHECK(posix_stat(name).st_ino == before.st_ino);
		}
		before = posix_wait_beyond("x");
		directory = posix_wait_beyond("d");
		EXPECT(0, unlink("d/3"));
		EXPECT_TIMES(CTIME_MOVES, "x", &before);
		EXPECT_TIMES(CTIME_MOVES | MTIME_MOVES, "d", &directory);
		CHECK(posix_stat("x").st_nlink == 3 && posix_stat("d/2").st_nlink == 3);
		EXPECT(0, unlink("x"));
		EXPECT(0, unlink("d/2"));
		CHECK(posix_stat("d/4").st_nlink == 1);
		EXPECT(0, unlink("d/4"));
		EXPECT(0, rmdir("d"));
	}
}

static void link_of_directories_is_EPERM(void)
{
	CHECK(mkdir("d", 0755) == 0);
	EXPECT(EPERM, link("d", "x"));
	EXPECT(EPERM, link(".", "x"));
	CHECK(!posix_exists("x"));
}

static const char *elsewhere(const char *name)
{
	static char path[PATH_MAX];
	const char *work = getenv("WORK");

	CHECK(work);
	snprintf(path, sizeof(path), "%s/%s.%d", work, name, getpid());
	return path;
}

static void link_and_rename_across_filesystems_are_EXDEV(void)
{
	for (size_t t = 0; t < posix_type_count(); t++) {
		posix_make("x", posix_types[t], 0755);
		if (posix_types[t] != S_IFDIR)
			EXPECT(EXDEV, link("x", elsewhere("new")));
		EXPECT(EXDEV, rename("x", elsewhere("new")));
		CHECK(posix_exists("x"));
		posix_discard("x");
	}
}

/* ---- rename ---- */

static void rename_keeps_the_inode_and_moves_the_times(void)
{
	for (size_t t = 0; t < posix_type_count(); t++) {
		struct stat file, from, to;

		CHECK(mkdir("from", 0755) == 0 && mkdir("to", 0755) == 0);
		posix_make("from/x", posix_types[t], 0755);
		file = posix_wait_beyond("from/x");
		from = posix_wait_beyond("from");
		to = posix_wait_beyond("to");
		EXPECT_WITH(posix_type_name(posix_types[t]), 0, rename("from/x", "to/y"));
		EXPECT(ENOENT, access("from/x", F_OK));
		CHECK(posix_stat("to/y").st_ino == file.st_ino);
		CHECK(posix_stat("to/y").st_mode == file.st_mode);
		printf("%s: moved %d\n", posix_type_name(posix_types[t]),
		       posix_moved("to/y", &file));
		EXPECT_TIMES(CTIME_MOVES | MTIME_MOVES, "from", &from);
		EXPECT_TIMES(CTIME_MOVES | MTIME_MOVES, "to", &to);
		posix_discard("to/y");
		EXPECT(0, rmdir("from"));
		EXPECT(0, rmdir("to"));
	}
}

static void rename_over_something_follows_the_types(void)
{
	for (size_t a = 0; a < posix_type_count(); a++)
		for (size_t b = 0; b < posix_type_count(); b++) {
			const bool from = posix_types[a] == S_IFDIR, to = posix_types[b] == S_IFDIR;
			const int error = from == to ? 0 : from ? ENOTDIR : EISDIR;
			ino_t inode;

			posix_make("x", posix_types[a], 0755);
			posix_make("y", posix_types[b], 0755);
			inode = posix_stat("x").st_ino;
			EXPECT_WITH(posix_type_name(posix_types[b]), error, rename("x", "y"));
			CHECK((posix_stat("y").st_ino == inode) == !error);
			if (error)
				posix_discard("x");
			posix_discard("y");
		}
}

static void rename_takes_a_link_from_what_it_replaces(void)
{
	struct stat before;

	posix_make("x", S_IFREG, 0644);
	posix_make("y", S_IFREG, 0644);
	EXPECT(0, link("y", "z"));
	before = posix_wait_beyond("z");
	EXPECT(0, rename("x", "y"));
	EXPECT_TIMES(CTIME_MOVES, "z", &before);
	CHECK(posix_stat("z").st_nlink == 1);
	EXPECT(0, link("z", "same"));
	EXPECT(0, rename("z", "same")); /* two names of one file: nothing happens */
	CHECK(posix_exists("z") && posix_stat("same").st_nlink == 2);
}

static void rename_into_itself_is_EINVAL(void)
{
	CHECK(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0 && mkdir("d/e/f", 0755) == 0);
	EXPECT(EINVAL, rename("d", "d/x"));
	EXPECT(EINVAL, rename("d", "d/e/f/x"));
	EXPECT(EBUSY, rename("d/.", "x"));
	EXPECT(EBUSY, rename("d/..", "x"));
	EXPECT(EBUSY, rename("d/e", "d/."));
	EXPECT(ENOTEMPTY, rename("d/e/f", "d"));
}

static void rename_and_rmdir_of_full_directories_fail(void)
{
	CHECK(mkdir("d", 0755) == 0 && mkdir("e", 0755) == 0);
	for (size_t t = 0; t < posix_type_count(); t++) {
		int result;

		posix_make("d/x", posix_types[t], 0755);
		errno = 0;
		result = rename("e", "d");
		CHECK(result == -1 && (errno == ENOTEMPTY || errno == EEXIST));
		printf("%s\n", strerrorname_np(errno));
		errno = 0;
		result = rmdir("d");
		CHECK(result == -1 && (errno == ENOTEMPTY || errno == EEXIST));
		posix_discard("d/x");
	}
	EXPECT(0, rename("e", "d"));
}

/* Its ".." changes, so it must be writable too. */
static void rename_of_a_directory_one_may_not_write_is_EACCES(void)
{
	posix_needs_root();
	posix_make_for(&anna, "a", S_IFDIR, 0755);
	posix_make_for(&anna, "b", S_IFDIR, 0755);
	posix_make_for(&root, "a/d", S_IFDIR, 0755);
	posix_become(&anna);
	EXPECT(EACCES, rename("a/d", "b/d"));
	EXPECT(0, rename("a/d", "a/e"));
}

/* ---- sticky directories ---- */

static void try_sticky(const struct person *directory, const struct person *file, mode_t type)
{
	const bool may = directory == &anna || file == &anna;

	posix_become(&root);
	posix_make_for(directory, "sticky", S_IFDIR, 01777);
	posix_make_for(file, "sticky/x", type, 0777);
	posix_make_for(file, "sticky/y", type, 0777);
	posix_make_for(&anna, "free/x", type, 0777);
	posix_become(&anna);
	EXPECT(may ? 0 : EPERM, type == S_IFDIR ? rmdir("sticky/x") : unlink("sticky/x"));
	EXPECT(may ? 0 : EPERM, rename("free/x", "sticky/y"));
	EXPECT(may ? 0 : EPERM, rename("sticky/y", "free/y"));
	posix_become(&root);
	if (!may) {
		posix_discard("sticky/x");
		posix_discard("sticky/y");
		posix_discard("free/x");
	} else {
		posix_discard("free/y");
	}
	posix_discard("sticky");
}

static void unlink_and_rename_in_sticky_directories_take_an_owner(void)
{
	const struct person *const people[] = { &root, &anna, &bert };

	posix_needs_root();
	posix_make("free", S_IFDIR, 0777);
	for (size_t t = 0; t < posix_type_count(); t++)
		for (size_t i = 0; i < COUNT_OF(people); i++)
			for (size_t j = 0; j < COUNT_OF(people); j++)
				try_sticky(people[i], people[j], posix_types[t]);
}

/* ---- unlink, rmdir ---- */

static void unlink_and_rmdir_know_the_types(void)
{
	for (size_t t = 0; t < posix_type_count(); t++) {
		const bool directory = posix_types[t] == S_IFDIR;
		struct stat before;

		CHECK(mkdir("d", 0755) == 0);
		posix_make("d/x", posix_types[t], 0755);
		before = posix_wait_beyond("d");
		if (directory)
			EXPECT(EISDIR, unlink("d/x"));
		else
			EXPECT_WITH(posix_type_name(posix_types[t]), ENOTDIR, rmdir("d/x"));
		EXPECT_TIMES(0, "d", &before);
		EXPECT(0, directory ? rmdir("d/x") : unlink("d/x"));
		EXPECT_TIMES(CTIME_MOVES | MTIME_MOVES, "d", &before);
		EXPECT(ENOENT, directory ? rmdir("d/x") : unlink("d/x"));
		EXPECT(0, rmdir("d"));
	}
	CHECK(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0);
	EXPECT(EINVAL, rmdir("d/e/."));
	EXPECT(ENOTEMPTY, rmdir("d/e/.."));
	EXPECT(EISDIR, unlink("d/e/."));
}

static void mount_points_are_EBUSY(void)
{
	posix_needs_root();
	CHECK(mkdir("d", 0755) == 0 && mkdir("e", 0755) == 0);
	posix_make("f", S_IFREG, 0644);
	posix_make("g", S_IFREG, 0644);
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("zcfs-test", "d", "tmpfs", 0, NULL) == 0);
	CHECK(mount("/dev/null", "f", NULL, MS_BIND, NULL) == 0);
	EXPECT(EBUSY, rmdir("d"));
	EXPECT(EBUSY, unlink("f"));
	EXPECT(EBUSY, rename("d", "new"));
	EXPECT(EBUSY, rename("e", "d"));
	EXPECT(EBUSY, rename("f", "new"));
	EXPECT(EBUSY, rename("g", "f"));
	EXPECT(EXDEV, rename("g", "d/g"));
	EXPECT(EXDEV, link("g", "d/g"));
}

/* ---- flags of inodes ---- */

static void names_in_immutable_directories_are_EPERM(void)
{
	posix_needs_root();
	posix_make("other", S_IFREG, 0644);
	CHECK(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0);
	posix_make("d/f", S_IFREG, 0644);
	if (!posix_set_flag("d", FS_IMMUTABLE_FL, true))
		check_skip("no inode flags");
	for (size_t i = 0; i < COUNT_OF(makers); i++)
		EXPECT_WITH(makers[i].name, EPERM, makers[i].make("d/x", 0644));
	EXPECT(EPERM, link("other", "d/x"));
	EXPECT(EPERM, rename("other", "d/x"));
	EXPECT(EPERM, rename("d/f", "x"));
	EXPECT(EPERM, rename("d/f", "d/g"));
	EXPECT(EPERM, unlink("d/f"));
	EXPECT(EPERM, rmdir("d/e"));
	CHECK(posix_set_flag("d", FS_IMMUTABLE_FL, false));
	CHECK(posix_set_flag("d", FS_APPEND_FL, true));
	EXPECT(0, create("d/new", 0644));
	EXPECT(0, mkdir("d/newer", 0755));
	EXPECT(0, link("other", "d/newest"));
	EXPECT(EPERM, rename("d/f", "d/g"));
	EXPECT(EPERM, rename("d/f", "x"));
	EXPECT(EPERM, unlink("d/f"));
	EXPECT(EPERM, rmdir("d/e"));
	CHECK(posix_set_flag("d", FS_APPEND_FL, false));
	EXPECT(0, unlink("d/f"));
}

static void names_of_immutable_files_are_EPERM(void)
{
	static const int flags[] = { FS_IMMUTABLE_FL, FS_APPEND_FL };

	posix_needs_root();
	posix_make("other", S_IFREG, 0644);
	for (size_t i = 0; i < COUNT_OF(flags); i++) {
		posix_make("f", S_IFREG, 0644);
		if (!posix_set_flag("f", flags[i], true))
			check_skip("no inode flags");
		EXPECT(EPERM, unlink("f"));
		EXPECT(EPERM, rename("f", "g"));
		EXPECT(EPERM, rename("other", "f"));
		EXPECT(EPERM, link("f", "g"));
		CHECK(posix_set_flag("f", flags[i], false));
		EXPECT(0, unlink("f"));
	}
}

static const struct check checks[] = {
	POSIX_ENTRY(create_gives_the_mode_less_the_umask),
	POSIX_ENTRY(create_moves_the_times_of_the_directory),
	POSIX_ENTRY(create_of_what_exists_is_EEXIST),
	POSIX_ENTRY(create_gives_the_caller_and_the_group_of_a_set_gid_directory),
	POSIX_ENTRY(create_with_set_gid_depends_on_the_group),
	POSIX_ENTRY(mknod_of_devices_takes_root),
	POSIX_ENTRY(symlink_keeps_targets_up_to_4095_bytes),
	POSIX_ENTRY(link_counts_and_moves_the_times),
	POSIX_ENTRY(link_of_directories_is_EPERM),
	POSIX_ENTRY(link_and_rename_across_filesystems_are_EXDEV),
	POSIX_ENTRY(rename_keeps_the_inode_and_moves_the_times),
	POSIX_ENTRY(rename_over_something_follows_the_types),
	POSIX_ENTRY(rename_takes_a_link_from_what_it_replaces),
	POSIX_ENTRY(rename_into_itself_is_EINVAL),
	POSIX_ENTRY(rename_and_rmdir_of_full_directories_fail),
	POSIX_ENTRY(rename_of_a_directory_one_may_not_write_is_EACCES),
	POSIX_ENTRY(unlink_and_rename_in_sticky_directories_take_an_owner),
	POSIX_ENTRY(unlink_and_rmdir_know_the_types),
	POSIX_ENTRY(mount_points_are_EBUSY),
	POSIX_ENTRY(names_in_immutable_directories_are_EPERM),
	POSIX_ENTRY(names_of_immutable_files_are_EPERM),
};

const struct posix_group posix_names = { checks, COUNT_OF(checks) };
