/* SPDX-License-Identifier: MIT */
/*
 * What a hostile user does at the mount. Calls may fail as they like; what must not be is seen by
 * the caller of this program afterwards, or ends it with 1.
 *
 *     hostile roam BACKING_ARENA MOUNTED_ARENA OUTSIDE COUNT
 *         Directories are moved about, behind the mount, at it, and out of it and back, while an
 *         ordinary user tries every operation through "..", from directories that he holds open. In
 *         OUTSIDE there is a file "canary" with that text, which he must never read.
 *     hostile exchange BACKING_ARENA MOUNTED_ARENA COUNT
 *         Two files change names all the time behind the mount: one that everybody may read, and
 * one that only root may and whose text is "canary". An ordinary user opens one of the names.
 *     hostile ioctls DIRECTORY SEED COUNT
 *         ioctl(2) with all that is known to be dangerous and with random numbers.
 *     hostile handles DIRECTORY FILE
 *         open_by_handle_at(2) in DIRECTORY with the handle of FILE, and with invented ones.
 *     hostile opens DIRECTORY COUNT
 *         Opens and closes files and directories in four processes, which leave some open.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define VICTIM		62001
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t random_state = 88172645463325252ULL;

/* xorshift: the same numbers everywhere. */
static uint64_t random_number(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static unsigned pick(size_t count)
{
	return (unsigned)(random_number() % count);
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* What a call returned that may do as it likes. */
static void either(long result)
{
	(void)result;
}

/* Returns whether all of them ended with 0. */
static bool wait_for(const pid_t *pids, size_t count)
{
	bool good = true;

	for (size_t i = 0; i < count; i++) {
		int status;

		if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
			good = false;
	}
	return good;
}

/* ---- roam ---- */

static const char *const places[] = {
	".", "p", "p/q", "p/q/r", "s", "s/q", "s/q/r", "r", "x", "p/x", "open", "private",
};

/* In the arena; the last ones also exchange what is open to all with what is not. */
static const char *const moves[][2] = {
	{ "p/q", "s/q" }, { "s/q", "p/q" }, { "p/q/r", "r" }, { "r", "p/q/r" }, { "r", "s/q/r" },
	{ "s/q/r", "r" }, { "x", "p/x" },   { "p/x", "x" },   { "p", "s/p" },	{ "s/p", "p" },
};
static const char *const exchanges[][2] = { { "p", "s" }, { "open", "private" }, { "x", "open" } };

static const char *const targets[] = {
	"canary",
	"file",
	"../canary",
	"../file",
	"../private/canary",
	"../../private/canary",
	"../../canary",
	"../../../canary",
	"../../closed/outside/canary",
	"../../../closed/outside/canary",
	"../../../../closed/outside/canary",
	"../../../../../closed/outside/canary",
};

static void move_about(void)
{
	for (;;) {
		const char *const *move = moves[pick(COUNT_OF(moves))];
		const char *const *exchange = exchanges[pick(COUNT_OF(exchanges))];

		either(renameat2(AT_FDCWD, move[0], AT_FDCWD, move[1], RENAME_NOREPLACE));
		either(renameat2(AT_FDCWD, exchange[0], AT_FDCWD, exchange[1], RENAME_EXCHANGE));
	}
}

/* x is outside of the backing directory for moments. Ends at SIGTERM with it inside. */
static volatile sig_atomic_t enough;

static void end_soon(int signal)
{
	(void)signal;
	enough = 1;
}

static void move_out_and_back(const char *outside)
{
	char away[4096];
	bool is_out = false;

	snprintf(away, sizeof(away), "%s/x", outside);
	signal(SIGTERM, end_soon);
	while (!enough || is_out) {
		if (!is_out)
			is_out = rename("x", away) == 0;
		else
			is_out = renameat2(AT_FDCWD, away, AT_FDCWD, "x", RENAME_NOREPLACE) != 0;
	}
}

static bool reads_the_canary(int dir, const char *name)
{
	char text[8] = "";
	int fd = openat(dir, name, O_RDWR | O_NONBLOCK);
	bool is_it;

	if (fd < 0)
		fd = openat(dir, name, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return false;
	is_it = read(fd, text, 6) == 6 && !strcmp(text, "canary");
	either(pwrite(fd, "hostile", 7, 0));
	either(ftruncate(fd, 9));
	either(fchmod(fd, 0666));
	either(fsetxattr(fd, "user.x", "1", 1, 0));
	close(fd);
	return is_it;
}

static void try_all(int dir, const char *name)
{
	struct stat st;
	char text[64];
	int fd;

	either(fstatat(dir, name, &st, 0));
	either(fchmodat(dir, name, 0666, 0));
	either(fchownat(dir, name, VICTIM, VICTIM, 0));
	either(utimensat(dir, name, NULL, 0));
	either(linkat(dir, name, dir, "linked", 0));
	either(unlinkat(dir, "linked", 0));
	either(renameat(dir, name, dir, "stolen"));
	either(renameat(dir, "stolen", dir, name));
	either(mkdirat(dir, "../new", 0777));
	either(unlinkat(dir, "../new", AT_REMOVEDIR));
	either(symlinkat("../../../../closed/outside/canary", dir, "link"));
	either(readlinkat(dir, "link", text, sizeof(text)));
	either(unlinkat(dir, "link", 0));
	fd = openat(dir, "../made", O_RDWR | O_CREAT, 0666);
	if (fd >= 0)
		close(fd);
	either(unlinkat(dir, "../made", 0));
	either(unlinkat(dir, name, 0));
}

static void roam_once(int arena)
{
	int dir = openat(arena, places[pick(COUNT_OF(places))], O_PATH | O_DIRECTORY);

	if (dir < 0)
		return;
	for (unsigned i = 0; i < 4; i++) {
		const char *target = targets[pick(COUNT_OF(targets))];

		if (reads_the_canary(dir, target)) {
			fprintf(stderr, "hostile: read the canary at %s\n", target);
			exit(1);
		}
		try_all(dir, target);
	}
	close(dir);
}

static void roam_as_user(const char *arena_path, long count)
{
	int arena = open(arena_path, O_PATH | O_DIRECTORY);

	if (arena < 0 || setgid(VICTIM) || setuid(VICTIM))
		die(arena_path);
	for (long i = 0; i < count; i++)
		roam_once(arena);
}

static void make_arena(void)
{
	static const char *const names[] = { "p", "p/q", "p/q/r", "s", "x", "open" };

	umask(0);
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (mkdir(names[i], 0777))
			die(names[i]);
}

static pid_t start_mover(const char *directory, const char *outside)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (chdir(directory))
		die(directory);
	random_state += (uint64_t)getpid();
	if (outside)
		move_out_and_back(outside);
	else
		move_about();
	_exit(0);
}

static int roam(char **argv)
{
	pid_t movers[3];
	pid_t roamer;
	bool good;

	if (chdir(argv[0]))
		die(argv[0]);
	make_arena();
	movers[0] = start_mover(argv[0], NULL);
	movers[1] = start_mover(argv[1], NULL);
	movers[2] = start_mover(argv[0], argv[2]);
	roamer = fork();
	if (roamer == 0) {
		roam_as_user(argv[1], atol(argv[3]));
		_exit(0);
	}
	good = wait_for(&roamer, 1);
	kill(movers[2], SIGTERM);
	good = wait_for(&movers[2], 1) && good;
	for (size_t i = 0; i < 2; i++) {
		kill(movers[i], SIGKILL);
		waitpid(movers[i], NULL, 0);
	}
	return !good;
}

/* ---- exchange ---- */

static void make_text(const char *name, const char *text, mode_t mode)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, mode);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die(name);
	close(fd);
}

static void exchange_for_ever(void)
{
	for (;;)
		if (renameat2(AT_FDCWD, "open", AT_FDCWD, "closed", RENAME_EXCHANGE))
			die("open");
}

/* Returns whether it was read at all, and was never the canary. */
static bool reads_the_public_only(const char *arena, long count)
{
	long good = 0;

	if (chdir(arena) || setgid(VICTIM) || setuid(VICTIM))
		die(arena);
	for (long i = 0; i < count; i++) {
		char text[8] = "";
		int fd = open("open", O_RDONLY);

		if (fd < 0)
			continue;
		if (read(fd, text, 6) == 6 && !strcmp(text, "canary")) {
			fprintf(stderr, "hostile: read the canary\n");
			return false;
		}
		good += !strcmp(text, "public");
		close(fd);
	}
	return good > 0;
}

static int exchange(char **argv)
{
	pid_t mover, reader;
	bool good;

	if (chdir(argv[0]))
		die(argv[0]);
	umask(0);
	make_text("open", "public", 0644);
	make_text("closed", "canary", 0600);
	mover = fork();
	if (mover == 0)
		exchange_for_ever();
	reader = fork();
	if (reader == 0)
		_exit(!reads_the_public_only(argv[1], atol(argv[2])));
	good = wait_for(&reader, 1);
	kill(mover, SIGKILL);
	waitpid(mover, NULL, 0);
	return !good;
}

/* ---- ioctls ---- */

static const unsigned long dangers[] = {
	_IOWR('X', 119, int), /* FIFREEZE, FITHAW, the shutdown of ext4 and XFS */
	_IOWR('X', 120, int),
	_IOR('X', 125, uint32_t),
	_IOW('f', 6, long), /* of ext4: resize, make extents, migrate, move to another file */
	_IOW('f', 7, long),
	_IO('f', 9),
	_IOWR('f', 15, char[40]),
	_IOW('f', 16, uint64_t),
	_IOWR('f', 17, char[40]),
	FS_IOC_GETFLAGS,
	FS_IOC_SETFLAGS,
	FS_IOC_GETVERSION,
	FS_IOC_SETVERSION,
	FS_IOC_FSGETXATTR,
	FS_IOC_FSSETXATTR,
	FS_IOC_FIEMAP,
	FS_IOC_GETFSLABEL,
	FS_IOC_SETFSLABEL,
	FS_IOC_ENABLE_VERITY,
	FS_IOC_MEASURE_VERITY,
	FIBMAP,
	FIGETBSZ,
	FITRIM,
	FICLONE,
	FICLONERANGE,
	FIDEDUPERANGE,
	_IOW('X', 107, char[32]), /* XFS_IOC_OPEN_BY_HANDLE and its neighbours */
	_IOW('X', 108, char[32]),
	_IOWR('X', 109, char[192]),
	_IOW('f', 19, char[12]), /* encryption: set a policy, add a key */
	_IOWR('f', 23, char[80]),
	_IOWR(0x94, 3, char[4096]), /* btrfs: resize, make and remove subvolumes */
	_IOW(0x94, 14, char[4096]),
	_IOW(0x94, 15, char[4096]),
	_IOW(0x94, 1, char[4096]),
};

static unsigned long some_command(void)
{
	if (pick(3))
		return dangers[pick(COUNT_OF(dangers))];
	if (pick(2)) /* sizes and directions as they come, of letters that are in use */
		return (random_number() & 0xffff00ff) | ("fXvTU\x94\xe5\x15"[pick(8)] & 0xffUL)
								<< 8;
	return random_number() & 0xffffffff;
}

/* 64 KiB, as large as an argument can be said to be (14 bits), with room behind. */
static void fill_argument(unsigned char *argument, size_t size)
{
	const unsigned how = pick(4);

	for (size_t i = 0; i < 256; i++)
		argument[i] = (unsigned char)(how == 0 ? 0 : how == 1 ? 0xff : random_number());
	for (size_t i = 256; i < size; i += 64)
		argument[i] = (unsigned char)random_number();
}

/* Not those that only concern the descriptor (FIOCLEX, FIONBIO, FIOASYNC): their letter is T. */
static void rubbish(int fd, int other, unsigned char *argument, size_t size)
{
	const unsigned long command = some_command();

	fill_argument(argument, size);
	switch (pick(5)) {
	case 0:
		either(ioctl(fd, command, NULL));
		break;
	case 1:
		either(ioctl(fd, command, other));
		break;
	case 2:
		either(ioctl(fd, command, (void *)random_number()));
		break;
	default:
		either(ioctl(fd, command, argument));
	}
}

/* Flags that were set may forbid to remove the file. */
static void clear_flags(int fd)
{
	int flags = 0;

	either(ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

static int ioctls(char **argv)
{
	static unsigned char argument[65536];
	int fds[3];

	if (chdir(argv[0]))
		die(argv[0]);
	random_state += strtoull(argv[1], NULL, 0);
	fds[0] = open("rw", O_RDWR);
	fds[1] = open("ro", O_RDONLY);
	fds[2] = open(".", O_RDONLY | O_DIRECTORY);
	if (fds[0] < 0 || fds[1] < 0 || fds[2] < 0)
		die("open");
	for (long i = 0; i < atol(argv[2]); i++)
		rubbish(fds[pick(3)], fds[pick(3)], argument, sizeof(argument));
	for (size_t i = 0; i < COUNT_OF(fds); i++)
		clear_flags(fds[i]);
	return 0;
}

/* ---- handles ---- */

#define HANDLE_BYTES 128

struct invented {
	struct file_handle handle;
	unsigned char bytes[HANDLE_BYTES];
};

/* Whatever opens must be of this mount, and not the canary. */
static void try_handle(int dir, struct invented *invented, dev_t device)
{
	int fd = open_by_handle_at(dir, &invented->handle, O_RDONLY | O_NONBLOCK);
	char path[32];
	struct stat st;

	if (fd < 0 && errno == EPERM)
		die("open_by_handle_at");
	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) || st.st_dev != device) {
		fprintf(stderr, "hostile: a handle led out of the mount\n");
		exit(1);
	}
	if (S_ISREG(st.st_mode) && reads_the_canary(AT_FDCWD, path)) {
		fprintf(stderr, "hostile: a handle led to the canary\n");
		exit(1);
	}
	close(fd);
}

/* A node id, twice four bytes, and a generation (Linux fs/fuse/inode.c, fuse_encode_fh()). */
static void invent(struct invented *invented)
{
	static const int types[] = { 0x81, 0x82, 1, 2, 0x4d, 0x4e, 0x97, 0xff, 0 };
	uint32_t words[HANDLE_BYTES / 4];

	for (size_t i = 0; i < COUNT_OF(words); i++)
		words[i] = pick(2) ? 0 : (uint32_t)random_number();
	if (pick(4)) {
		words[0] = words[2] = 0;
		words[1] = pick(200);
	}
	invented->handle.handle_type = types[pick(COUNT_OF(types))];
	invented->handle.handle_bytes = pick(2) ? 12 : 4 * (1 + pick(HANDLE_BYTES / 4));
	memcpy(invented->bytes, words, sizeof(words));
}

static int handles(char **argv)
{
	struct invented invented = { .handle = { .handle_bytes = HANDLE_BYTES } };
	int dir = open(argv[0], O_RDONLY | O_DIRECTORY);
	struct stat st;
	int mount_id;

	if (dir < 0 || fstat(dir, &st))
		die(argv[0]);
	if (name_to_handle_at(AT_FDCWD, argv[1], &invented.handle, &mount_id, 0))
		die(argv[1]);
	try_handle(dir, &invented, st.st_dev);
	invented.handle.handle_bytes = HANDLE_BYTES;
	if (name_to_handle_at(dir, "", &invented.handle, &mount_id, AT_EMPTY_PATH) == 0)
		printf("the mount gives handles\n");
	for (int i = 0; i < 20000; i++) {
		invent(&invented);
		try_handle(dir, &invented, st.st_dev);
	}
	return 0;
}

/* ---- opens ---- */

static void open_and_close(const char *name, int flags)
{
	int fd = open(name, flags, 0600);

	if (fd >= 0)
		close(fd);
}

static void open_once(const char *own)
{
	switch (pick(10)) {
	case 0:
		open_and_close(".", O_RDONLY | O_DIRECTORY);
		break;
	case 1:
		open_and_close(own, O_RDWR | O_CREAT | O_TRUNC);
		either(unlink(own));
		break;
	case 2:
		open_and_close(".", O_RDWR | O_TMPFILE);
		break;
	case 3:
		open_and_close("missing", O_RDONLY);
		break;
	case 4:
		open_and_close("file", O_RDONLY | O_CREAT | O_EXCL);
		break;
	case 5:
		open_and_close("file", O_RDONLY | O_DIRECTORY);
		break;
	default:
		open_and_close("file", pick(2) ? O_RDONLY : O_RDWR | O_DIRECT);
	}
}

static void open_many(unsigned number, long count)
{
	char own[16];

	snprintf(own, sizeof(own), "own-%u", number);
	random_state += number;
	for (long i = 0; i < count; i++)
		open_once(own);
	for (int i = 0; i < 50; i++) /* which the kernel closes */
		either(open(i % 2 ? "file" : ".", O_RDONLY));
}

static int opens(char **argv)
{
	pid_t pids[4];

	if (chdir(argv[0]))
		die(argv[0]);
	for (unsigned i = 0; i < COUNT_OF(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			open_many(i, atol(argv[1]) / (long)COUNT_OF(pids));
			_exit(0);
		}
	}
	return !wait_for(pids, COUNT_OF(pids));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int arguments;
		int (*run)(char **argv);
	} commands[] = {
		{ "roam", 4, roam },	   { "exchange", 3, exchange }, { "ioctls", 3, ioctls },
		{ "handles", 2, handles }, { "opens", 2, opens },
	};

	for (size_t i = 0; argc > 1 && i < COUNT_OF(commands); i++)
		if (!strcmp(argv[1], commands[i].name) && argc == 2 + commands[i].arguments)
			return commands[i].run(argv + 2);
	fprintf(stderr, "usage: hostile roam|exchange|ioctls|handles|opens ...\n");
	return 2;
}
