/* SPDX-License-Identifier: MIT */

/* Open, truncate, chmod, chown, utimensat: rights, times, set-id bits. */

#include "posix.h"

#include <linux/fs.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const mode_t set_id_modes[] = { 04777, 02777, 06777, 06775, 02767, 06666, 04711, 06755 };

static int open_and_close(const char *name, int flags)
{
	int fd = open(name, flags, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int write_byte(const char *name)
{
	int fd = open(name, O_WRONLY);
	ssize_t n = fd < 0 ? -1 : write(fd, "x", 1);

	close(fd);
	return n == 1 ? 0 : -1;
}

/* ---- chmod ---- */

static void chmod_changes_every_type_and_moves_ctime(void)
{
	static const mode_t modes[] = { 0, 0111, 0444, 0751, 01777, 02755, 04711, 07777 };

	for (size_t t = 0; t < posix_type_count(); t++) {
		if (posix_types[t] == S_IFLNK)
			continue;
		posix_make("x", posix_types[t], 0644);
		CHECK(symlink("x", "link") == 0);
		for (size_t i = 0; i < COUNT_OF(modes); i++) {
			struct stat before = posix_wait_beyond("x");

			EXPECT(0, chmod(i % 2 ? "x" : "link", modes[i]));
			CHECK(posix_mode("x") == modes[i]);
			EXPECT_TIMES(CTIME_MOVES, "x", &before);
		}
		CHECK(chmod("x", 0644) == 0);
		posix_discard("x");
		posix_discard("link");
	}
}

static void chmod_by_others_is_EPERM(void)
{
	posix_needs_root();
	for (size_t t = 0; t < posix_type_count(); t++) {
		struct stat before;

		if (posix_types[t] == S_IFLNK)
			continue;
		posix_make_for(&bert, "x", posix_types[t], 0777);
		before = posix_wait_beyond("x");
		posix_become(&anna);
		EXPECT(EPERM, chmod("x", 0700));
		EXPECT(EPERM, fchmodat(AT_FDCWD, "x", 0700, 0));
		posix_become(&root);
		EXPECT_TIMES(0, "x", &before);
		CHECK(posix_mode("x") == 0777);
		posix_discard("x");
	}
}

static void chmod_of_set_gid_depends_on_the_group(void)
{
	const gid_t groups[] = { anna.gid, anna.group, 62099 };

	posix_needs_root();
	for (size_t i = 0; i < COUNT_OF(groups) * COUNT_OF(set_id_modes); i++) {
		const mode_t mode = set_id_modes[i % COUNT_OF(set_id_modes)];
		const gid_t group = groups[i / COUNT_OF(set_id_modes)];

		posix_make("x", S_IFREG, 0644);
		CHECK(chown("x", anna.uid, group) == 0);
		posix_become(&anna);
		EXPECT(0, chmod("x", mode));
		CHECK(posix_mode("x") == (group == 62099 ? mode & ~02000U : mode));
		posix_become(&root);
		EXPECT(0, chmod("x", mode));
		CHECK(posix_mode("x") == mode);
		posix_discard("x");
	}
}

static void chmod_of_sticky_by_an_owner_is_allowed(void)
{
	posix_needs_root();
	posix_make_for(&anna, "f", S_IFREG, 0644);
	posix_make_for(&anna, "d", S_IFDIR, 0755);
	posix_become(&anna);
	EXPECT(0, chmod("f", 01644));
	EXPECT(0, chmod("d", 01755));
	CHECK(posix_mode("f") == 01644 && posix_mode("d") == 01755);
}

/* ---- chown ---- */

static void chown_changes_every_type_and_moves_ctime(void)
{
	posix_needs_root();
	for (size_t t = 0; t < posix_type_count(); t++) {
		struct stat before, now;

		posix_make("x", posix_types[t], 0644);
		before = posix_wait_beyond("x");
		EXPECT(0, lchown("x", 7, 8));
		now = posix_stat("x");
		CHECK(now.st_uid == 7 && now.st_gid == 8);
		EXPECT_TIMES(CTIME_MOVES, "x", &before);
		before = posix_wait_beyond("x");
		EXPECT(0, lchown("x", (uid_t)-1, 9));
		EXPECT(0, lchown("x", 10, (gid_t)-1));
		now = posix_stat("x");
		CHECK(now.st_uid == 10 && now.st_gid == 9);
		EXPECT_TIMES(CTIME_MOVES, "x", &before);
		posix_discard("x");
	}
}

static void chown_by_users_is_limited(void)
{
	posix_needs_root();
	for (size_t t = 0; t < posix_type_count(); t++) {
		posix_make_for(&anna, "mine", posix_types[t], 0777);
		posix_make_for(&bert, "his", posix_types[t], 0777);
		posix_become(&anna);
		EXPECT(EPERM, lchown("his", anna.uid, (gid_t)-1));
		EXPECT(EPERM, lchown("his", (uid_t)-1, anna.gid));
		EXPECT(EPERM, lchown("mine", bert.uid, (gid_t)-1));
		EXPECT(EPERM, lchown("mine", (uid_t)-1, 0));
		EXPECT(0, lchown("mine", anna.uid, anna.gid));
		EXPECT(0, lchown("mine", (uid_t)-1, anna.group));
		CHECK(posix_stat("mine").st_gid == anna.group);
		EXPECT(0, lchown("mine", (uid_t)-1, (gid_t)-1));
		posix_become(&root);
		posix_discard("mine");
		posix_discard("his");
	}
}

/* ---- set-id bits ---- */

static int do_chown(const char *name)
{
	return chown(name, (uid_t)-1, anna.group);
}

static int do_chown_nothing(const char *name)
{
	return chown(name, (uid_t)-1, (gid_t)-1);
}

static int do_truncate(const char *name)
{
	return truncate(name, 2);
}

static int do_truncate_same(const char *name)
{
	return truncate(name, 4);
}

static int do_ftruncate(const char *name)
{
	int fd = open(name, O_RDWR);
	int err = fd < 0 ? -1 : ftruncate(fd, 100);

	close(fd);
	return err;
}

static int do_fallocate(const char *name)
{
	int fd = open(name, O_RDWR);
	int err = fd < 0 ? -1 : fallocate(fd, 0, 0, 100);

	close(fd);
	return err;
}

static int do_open_trunc(const char *name)
{
	return open_and_close(name, O_WRONLY | O_TRUNC);
}

static int do_copy(const char *name)
{
	int from = open("source", O_RDONLY), to = open(name, O_WRONLY);
	ssize_t n = copy_file_range(from, NULL, to, NULL, 4, 0);

	close(from);
	close(to);
	return n == 4 ? 0 : -1;
}

static int do_append(const char *name)
{
	int fd = open(name, O_WRONLY | O_APPEND);
	ssize_t n = fd < 0 ? -1 : write(fd, "x", 1);

	close(fd);
	return n == 1 ? 0 : -1;
}

static const struct {
	const char *name;
	int (*run)(const char *name);
} changes[] = {
	{ "write", write_byte },
	{ "write, O_APPEND", do_append },
	{ "truncate", do_truncate },
	{ "truncate to the same size", do_truncate_same },
	{ "ftruncate", do_ftruncate },
	{ "fallocate", do_fallocate },
	{ "open, O_TRUNC", do_open_trunc },
	{ "copy_file_range", do_copy },
	{ "chown", do_chown },
	{ "chown of nothing", do_chown_nothing },
};

/* Who keeps which bits is the kernel's long story: the native run tells. */
static void try_changes(const struct person *who, uid_t owner, gid_t group, mode_t mode)
{
	for (size_t i = 0; i < COUNT_OF(changes); i++) {
		int err, error;

		posix_become(&root);
		posix_make("x", S_IFREG, 0644);
		CHECK(truncate("x", 4) == 0 && chown("x", owner, group) == 0);
		CHECK(chmod("x", mode) == 0);
		posix_become(who);
		err = changes[i].run("x");
		check_count_one();
		error = err ? errno : 0;
		printf("%s by %u of %u:%u %04o: %s %04o\n", changes[i].name, who->uid, owner, group,
		       mode, error ? strerrorname_np(error) : "success", posix_mode("x"));
		posix_become(&root);
		posix_discard("x");
	}
}

static void set_id_bits_go_as_the_kernel_has_it(const struct person *who)
{
	posix_needs_root();
	check_make_file("source", 4, 1);
	for (size_t i = 0; i < COUNT_OF(set_id_modes); i++) {
		try_changes(who, anna.uid, anna.gid, set_id_modes[i]);
		try_changes(who, anna.uid, anna.group, set_id_modes[i]);
		try_changes(who, bert.uid, 62099, set_id_modes[i]);
		try_changes(who, bert.uid, root.gid, set_id_modes[i]);
	}
}

static void set_id_bits_go_by_an_owner(void)
{
	set_id_bits_go_as_the_kernel_has_it(&anna);
}

static void set_id_bits_go_by_another(void)
{
	set_id_bits_go_as_the_kernel_has_it(&bert);
}

static void set_id_bits_go_by_root(void)
{
	set_id_bits_go_as_the_kernel_has_it(&root);
}

/* ---- utimensat ---- */

static void utimensat_sets_every_type(void)
{
	const struct timespec times[2] = { { 1000000001, 123456789 }, { 2000000002, 987654321 } };
	const struct timespec omit[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
	const struct timespec only_atime[2] = { { 5, 6 }, { 0, UTIME_OMIT } };
	const struct timespec only_mtime[2] = { { 0, UTIME_OMIT }, { 7, 8 } };
	const struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };

	for (size_t t = 0; t < posix_type_count(); t++) {
		struct stat before, st;

		posix_make("x", posix_types[t], 0644);
		before = posix_wait_beyond("x");
		EXPECT(0, utimensat(AT_FDCWD, "x", omit, AT_SYMLINK_NOFOLLOW));
		EXPECT_TIMES(0, "x", &before);
		EXPECT(0, utimensat(AT_FDCWD, "x", times, AT_SYMLINK_NOFOLLOW));
		EXPECT_TIMES(CTIME_MOVES | MTIME_MOVES | ATIME_MOVES, "x", &before);
		st = posix_stat("x");
		CHECK(st.st_atim.tv_sec == 1000000001 && st.st_atim.tv_nsec == 123456789);
		CHECK(st.st_mtim.tv_sec == 2000000002 && st.st_mtim.tv_nsec == 987654321);
		before = posix_stat("x");
		EXPECT(0, utimensat(AT_FDCWD, "x", only_atime, AT_SYMLINK_NOFOLLOW));
		CHECK(posix_moved("x", &before) & ATIME_MOVES);
		CHECK(!(posix_moved("x", &before) & MTIME_MOVES));
		before = posix_stat("x");
		EXPECT(0, utimensat(AT_FDCWD, "x", only_mtime, AT_SYMLINK_NOFOLLOW));
		CHECK(posix_moved("x", &before) & MTIME_MOVES);
		CHECK(!(posix_moved("x", &before) & ATIME_MOVES));
		before = posix_stat("x");
		EXPECT(0, utimensat(AT_FDCWD, "x", now, AT_SYMLINK_NOFOLLOW));
		CHECK(posix_stat("x").st_mtim.tv_sec >= st.st_ctim.tv_sec);
		CHECK(posix_stat("x").st_atim.tv_sec >= st.st_ctim.tv_sec);
		posix_discard("x");
	}
}

static void utimensat_of_bad_values_is_EINVAL(void)
{
	static const long bad[] = { -1, 1000000000, UTIME_NOW + 1, UTIME_OMIT - 1 };

	posix_make("x", S_IFREG, 0644);
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		const struct timespec first[2] = { { 1, bad[i] }, { 1, 1 } };
		const struct timespec second[2] = { { 1, 1 }, { 1, bad[i] } };

		if (bad[i] == UTIME_NOW || bad[i] == UTIME_OMIT)
			continue;
		EXPECT(EINVAL, utimensat(AT_FDCWD, "x", first, 0));
		EXPECT(EINVAL, utimensat(AT_FDCWD, "x", second, 0));
	}
}

static void utimensat_by_others_depends_on_what_is_set(void)
{
	const struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	const struct timespec omit[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
	const struct timespec mixed[2] = { { 0, UTIME_NOW }, { 0, UTIME_OMIT } };
	const struct timespec set[2] = { { 1, 2 }, { 3, 4 } };

	posix_needs_root();
	posix_make_for(&bert, "writable", S_IFREG, 0666);
	posix_make_for(&bert, "closed", S_IFREG, 0644);
	posix_become(&anna);
	EXPECT(0, utimensat(AT_FDCWD, "writable", NULL, 0));
	EXPECT(0, utimensat(AT_FDCWD, "writable", now, 0));
	EXPECT(0, utimensat(AT_FDCWD, "writable", omit, 0));
	EXPECT(EPERM, utimensat(AT_FDCWD, "writable", mixed, 0));
	EXPECT(EPERM, utimensat(AT_FDCWD, "writable", set, 0));
	EXPECT(EACCES, utimensat(AT_FDCWD, "closed", NULL, 0));
	EXPECT(EACCES, utimensat(AT_FDCWD, "closed", now, 0));
	EXPECT(0, utimensat(AT_FDCWD, "closed", omit, 0));
	EXPECT(EPERM, utimensat(AT_FDCWD, "closed", mixed, 0));
	EXPECT(EPERM, utimensat(AT_FDCWD, "closed", set, 0));
}

/* ---- open ---- */

static void try_modes(const struct person *who, int shift, gid_t group)
{
	for (mode_t bits = 0; bits < 8; bits++) {
		const mode_t mode = (mode_t)((0777 & ~(7 << shift)) | (bits << shift));
		const int read = bits & 4 ? 0 : EACCES, write = bits & 2 ? 0 : EACCES;
		const int both = read | write;

		posix_become(&root);
		posix_make("x", S_IFREG, 0);
		CHECK(chown("x", shift == 6 ? who->uid : 0, group) == 0 && chmod("x", mode) == 0);
		posix_become(who);
		EXPECT(read, open_and_close("x", O_RDONLY));
		EXPECT(write, open_and_close("x", O_WRONLY));
		EXPECT(both, open_and_close("x", O_RDWR));
		EXPECT(write, open_and_close("x", O_WRONLY | O_TRUNC));
		EXPECT(write, open_and_close("x", O_WRONLY | O_CREAT));
		EXPECT(read, faccessat(AT_FDCWD, "x", R_OK, AT_EACCESS));
		EXPECT(write, truncate("x", 1));
		EXPECT(bits & 1 ? 0 : EACCES, faccessat(AT_FDCWD, "x", X_OK, AT_EACCESS));
		posix_become(&root);
		posix_discard("x");
	}
}

static void open_and_truncate_honour_every_mode(void)
{
	posix_needs_root();
	try_modes(&anna, 6, 0);
	try_modes(&anna, 3, anna.gid);
	try_modes(&anna, 3, anna.group);
	try_modes(&bert, 0, 0);
}

static void open_of_other_types_has_errors_of_its_own(void)
{
	for (size_t t = 0; t < posix_type_count(); t++) {
		const mode_t type = posix_types[t];

		posix_make("x", type, 0755);
		if (type != S_IFDIR && type != S_IFLNK)
			EXPECT_WITH(posix_type_name(type), ENOTDIR,
				    open_and_close("x", O_RDONLY | O_DIRECTORY | O_NONBLOCK));
		EXPECT(EEXIST, open_and_close("x", O_RDWR | O_CREAT | O_EXCL));
		if (type == S_IFDIR) {
			EXPECT(EISDIR, open_and_close("x", O_WRONLY));
			EXPECT(EISDIR, open_and_close("x", O_RDWR));
			EXPECT(EISDIR, open_and_close("x", O_RDONLY | O_TRUNC));
			EXPECT(EISDIR, open_and_close("x", O_RDONLY | O_CREAT));
			EXPECT(EISDIR, truncate("x", 0));
		} else if (type == S_IFLNK) {
			EXPECT(ELOOP, open_and_close("x", O_RDONLY | O_NOFOLLOW));
			EXPECT(ENOENT, open_and_close("x", O_RDONLY));
			EXPECT(ENOENT, truncate("x", 0));
		} else if (type == S_IFIFO) {
			EXPECT(ENXIO, open_and_close("x", O_WRONLY | O_NONBLOCK));
			EXPECT(0, open_and_close("x", O_RDONLY | O_NONBLOCK));
			EXPECT(EINVAL, truncate("x", 0));
		} else if (type == S_IFSOCK) {
			EXPECT(ENXIO, open_and_close("x", O_RDONLY));
			EXPECT(EINVAL, truncate("x", 0));
		} else if (type != S_IFREG) {
			SHOW(open_and_close("x", O_RDONLY | O_NONBLOCK));
			SHOW(truncate("x", 0));
		}
		posix_discard("x");
	}
}

static void open_moves_no_times_but_with_O_TRUNC(void)
{
	struct stat before;

	close(check_make_file("x", 100, 1));
	before = posix_wait_beyond("x");
	EXPECT(0, open_and_close("x", O_RDONLY));
	EXPECT(0, open_and_close("x", O_RDWR));
	EXPECT(0, open_and_close("x", O_RDWR | O_CREAT));
	EXPECT_TIMES(0, "x", &before);
	EXPECT(0, open_and_close("x", O_WRONLY | O_TRUNC));
	EXPECT_TIMES(CTIME_MOVES | MTIME_MOVES, "x", &before);
	CHECK(posix_stat("x").st_size == 0);
	before = posix_wait_beyond("x");
	EXPECT(0, open_and_close("x", O_WRONLY | O_TRUNC)); /* of an empty file too */
	EXPECT_TIMES(CTIME_MOVES | MTIME_MOVES, "x", &before);
}

static void writing_a_running_program_is_ETXTBSY(void)
{
	int pipes[2];
	int in = open("/bin/cat", O_RDONLY), out = open("x", O_WRONLY | O_CREAT, 0755);
	char data[4096];
	ssize_t n;
	int pid, held;

	while ((n = read(in, data, sizeof(data))) > 0)
		CHECK(write(out, data, (size_t)n) == n);
	CHECK(close(out) == 0 && pipe(pipes) == 0);
	pid = fork();
	if (pid == 0) {
		dup2(pipes[0], 0);
		close(pipes[0]);
		close(pipes[1]);
		execl("./x", "x", NULL);
		_exit(99);
	}
	close(pipes[0]);
	CHECK(fcntl(pipes[1], F_SETPIPE_SZ, 4096) == 4096);
	/* More than the pipe holds: when that is written, the program has begun to read. */
	memset(data, 'x', sizeof(data));
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 3; i++)
		CHECK(write(pipes[1], data, sizeof(data)) == sizeof(data));
	EXPECT(ETXTBSY, open_and_close("x", O_WRONLY));
	EXPECT(ETXTBSY, open_and_close("x", O_RDWR));
	EXPECT(ETXTBSY, open_and_close("x", O_WRONLY | O_TRUNC));
	EXPECT(ETXTBSY, truncate("x", 0));
	EXPECT(0, open_and_close("x", O_RDONLY));
	close(pipes[1]);
	CHECK(check_wait(pid) == 0);
	held = open("x", O_WRONLY);
	CHECK(held >= 0);
	EXPECT(ETXTBSY, execl("./x", "x", NULL));
}

/* ---- truncate ---- */

static void truncate_moves_the_times_and_zeroes(void)
{
	char data[100];
	struct stat before;
	int fd = check_make_file("x", 100, 7);

	before = posix_wait_beyond("x");
	EXPECT(0, truncate("x", 10));
	EXPECT_TIMES(CTIME_MOVES | MTIME_MOVES, "x", &before);
	EXPECT(0, ftruncate(fd, 100000));
	CHECK(posix_stat("x").st_size == 100000);
	CHECK(pread(fd, data, sizeof(data), 0) == sizeof(data));
	for (size_t i = 10; i < sizeof(data); i++)
		CHECK(data[i] == 0);
	before = posix_wait_beyond("x");
	EXPECT(0, ftruncate(fd, 100000));
	printf("to the same size: moved %d\n", posix_moved("x", &before));
	EXPECT(0, truncate("x", 100000));
	printf("to the same size by path: moved %d\n", posix_moved("x", &before));
	EXPECT(EINVAL, truncate("x", -1));
	EXPECT(EINVAL, ftruncate(fd, -1));
	close(fd);
	fd = open("x", O_RDONLY);
	EXPECT(EINVAL, ftruncate(fd, 0));
	EXPECT(EBADF, ftruncate(999, 0));
}

static void truncate_beyond_limits_is_EFBIG(void)
{
	const struct rlimit limit = { 5000, 5000 };
	int fd = check_make_file("x", 100, 7);

	SHOW(truncate("x", 1LL << 62)); /* ext4 has a limit of its own, others take it */
	EXPECT(0, truncate("x", 100));
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	EXPECT(EFBIG, truncate("x", 5001));
	EXPECT(EFBIG, ftruncate(fd, 5001));
	EXPECT(EFBIG, pwrite(fd, "x", 1, 5000));
	EXPECT(0, ftruncate(fd, 5000));
	CHECK(pwrite(fd, "xyz", 3, 4998) == 2);
}

/* ---- flags of inodes ---- */

static void immutable_files_are_EPERM(void)
{
	const struct timespec times[2] = { { 1, 2 }, { 3, 4 } };

	posix_needs_root();
	close(check_make_file("f", 100, 7));
	if (!posix_set_flag("f", FS_IMMUTABLE_FL, true))
		check_skip("no inode flags");
	EXPECT(EPERM, open_and_close("f", O_WRONLY));
	EXPECT(EPERM, open_and_close("f", O_RDWR));
	EXPECT(EPERM, open_and_close("f", O_WRONLY | O_APPEND));
	EXPECT(EPERM, open_and_close("f", O_WRONLY | O_TRUNC));
	EXPECT(0, open_and_close("f", O_RDONLY));
	EXPECT(EPERM, truncate("f", 0));
	EXPECT(EPERM, chmod("f", 0600));
	EXPECT(EPERM, chown("f", 1, 1));
	EXPECT(EPERM, utimensat(AT_FDCWD, "f", times, 0));
	EXPECT(EPERM, utimensat(AT_FDCWD, "f", NULL, 0));
	CHECK(posix_set_flag("f", FS_IMMUTABLE_FL, false));
	EXPECT(0, open_and_close("f", O_WRONLY | O_TRUNC));
}

static void append_only_files_take_only_appends(void)
{
	const struct timespec times[2] = { { 1, 2 }, { 3, 4 } };
	int fd;

	posix_needs_root();
	close(check_make_file("f", 100, 7));
	if (!posix_set_flag("f", FS_APPEND_FL, true))
		check_skip("no inode flags");
	EXPECT(EPERM, open_and_close("f", O_WRONLY));
	EXPECT(EPERM, open_and_close("f", O_RDWR));
	EXPECT(EPERM, open_and_close("f", O_WRONLY | O_TRUNC));
	EXPECT(EPERM, open_and_close("f", O_WRONLY | O_TRUNC | O_APPEND));
	EXPECT(EPERM, truncate("f", 0));
	EXPECT(EPERM, chmod("f", 0600));
	EXPECT(EPERM, chown("f", 1, 1));
	EXPECT(EPERM, utimensat(AT_FDCWD, "f", times, 0));
	EXPECT(0, utimensat(AT_FDCWD, "f", NULL, 0));
	fd = open("f", O_WRONLY | O_APPEND);
	CHECK(fd >= 0);
	CHECK(write(fd, "more", 4) == 4 && write(fd, "more", 4) == 4);
	EXPECT(0, close(fd));
	fd = open("f", O_RDWR | O_APPEND | O_CREAT, 0644);
	CHECK(fd >= 0);
	CHECK(write(fd, "more", 4) == 4);
	EXPECT(EPERM, ftruncate(fd, 5));
	EXPECT(0, close(fd));
	CHECK(posix_stat("f").st_size == 112);
	CHECK(posix_set_flag("f", FS_APPEND_FL, false));
	check_show_file("f");
}

static const struct check checks[] = {
	POSIX_ENTRY(chmod_changes_every_type_and_moves_ctime),
	POSIX_ENTRY(chmod_by_others_is_EPERM),
	POSIX_ENTRY(chmod_of_set_gid_depends_on_the_group),
	POSIX_ENTRY(chmod_of_sticky_by_an_owner_is_allowed),
	POSIX_ENTRY(chown_changes_every_type_and_moves_ctime),
	POSIX_ENTRY(chown_by_users_is_limited),
	POSIX_ENTRY(set_id_bits_go_by_an_owner),
	POSIX_ENTRY(set_id_bits_go_by_another),
	POSIX_ENTRY(set_id_bits_go_by_root),
	POSIX_ENTRY(utimensat_sets_every_type),
	POSIX_ENTRY(utimensat_of_bad_values_is_EINVAL),
	POSIX_ENTRY(utimensat_by_others_depends_on_what_is_set),
	POSIX_ENTRY(open_and_truncate_honour_every_mode),
	POSIX_ENTRY(open_of_other_types_has_errors_of_its_own),
	POSIX_ENTRY(open_moves_no_times_but_with_O_TRUNC),
	POSIX_ENTRY(writing_a_running_program_is_ETXTBSY),
	POSIX_ENTRY(truncate_moves_the_times_and_zeroes),
	POSIX_ENTRY(truncate_beyond_limits_is_EFBIG),
	POSIX_ENTRY(immutable_files_are_EPERM),
	POSIX_ENTRY(append_only_files_take_only_appends),
};

const struct posix_group posix_attr = { checks, COUNT_OF(checks) };
