/* SPDX-License-Identifier: MIT */
/*
 * The calls, in the process of an actor. Arguments are checked by nobody: what is wrong with them
 * is part of the test.
 */
#include "differ.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif

#define PATH  (step->path[0])
#define PATH2 (step->path[1])
#define N     (step->n)
#define FD(i) (actor->slot[N[i]])

#define CALL(name) \
	static long call_##name(struct actor *actor, const struct step *step, struct text *text)

/* ---- descriptors ---- */

static long keep(struct actor *actor, long slot, int fd)
{
	if (fd < 0)
		return -1;
	if (actor->slot[slot] >= 0)
		close(actor->slot[slot]);
	actor->slot[slot] = fd;
	return 0;
}

/* O_NONBLOCK: a FIFO is not to be waited for. */
CALL(open)
{
	return keep(actor, N[2], open(PATH, (int)N[0] | O_NONBLOCK | O_CLOEXEC, N[1]));
}

CALL(creat)
{
	return keep(actor, N[1],
		    open(PATH, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, N[0]));
}

CALL(openat)
{
	return keep(actor, N[3], openat(FD(0), PATH, (int)N[1] | O_NONBLOCK | O_CLOEXEC, N[2]));
}

CALL(tmpfile)
{
	return keep(actor, N[2], open(PATH, (int)N[0] | O_TMPFILE | O_CLOEXEC, N[1]));
}

CALL(close)
{
	int fd = FD(0);

	actor->slot[N[0]] = -1;
	return close(fd);
}

CALL(dup)
{
	return keep(actor, N[1], fcntl(FD(0), F_DUPFD_CLOEXEC, 3));
}

CALL(setfl)
{
	return fcntl(FD(0), F_SETFL, N[1] | O_NONBLOCK);
}

CALL(getfl)
{
	int flags = fcntl(FD(0), F_GETFL);

	return flags < 0 ? -1 : flags & ~O_LARGEFILE;
}

/* ---- data ---- */

static void show_data(struct text *text, const void *data, long size)
{
	if (size > 0)
		text_add(text, " data %016llx",
			 (unsigned long long)hash_bytes(HASH_START, data, (size_t)size));
}

static void fill(unsigned char *data, size_t size, long seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(seed + (long)(i * 7 + (i >> 8)));
}

static void make_vector(unsigned char *data, size_t size, struct iovec vector[3])
{
	const size_t first = size / 3, second = size / 2;

	vector[0] = (struct iovec){ data, first };
	vector[1] = (struct iovec){ data + first, second - first };
	vector[2] = (struct iovec){ data + second, size - second };
}

/*
 * The position in a directory is the backing filesystem's own (btrfs: beyond all numbers at the
 * end), and FUSE lets lseek(2) go anywhere in it (fs/fuse/dir.c, fuse_dir_operations).
 */
static bool is_directory(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

CALL(read)
{
	long n = is_directory(FD(0)) ? 0 : read(FD(0), actor->buffer, (size_t)N[1]);

	show_data(text, actor->buffer, n);
	return n;
}

CALL(pread)
{
	long n = pread(FD(0), actor->buffer, (size_t)N[1], N[2]);

	show_data(text, actor->buffer, n);
	return n;
}

CALL(readv)
{
	struct iovec vector[3];
	long n;

	make_vector(actor->buffer, (size_t)N[1], vector);
	n = is_directory(FD(0)) ? 0 : readv(FD(0), vector, 3);
	show_data(text, actor->buffer, n);
	return n;
}

CALL(preadv2)
{
	struct iovec vector[3];
	long n;

	make_vector(actor->buffer, (size_t)N[1], vector);
	n = N[2] == -1 && is_directory(FD(0)) ? 0 : preadv2(FD(0), vector, 3, N[2], (int)N[3]);
	show_data(text, actor->buffer, n);
	return n;
}

CALL(write)
{
	fill(actor->buffer, (size_t)N[1], N[2]);
	return write(FD(0), actor->buffer, (size_t)N[1]);
}

CALL(pwrite)
{
	fill(actor->buffer, (size_t)N[1], N[3]);
	return pwrite(FD(0), actor->buffer, (size_t)N[1], N[2]);
}

CALL(writev)
{
	struct iovec vector[3];

	fill(actor->buffer, (size_t)N[1], N[2]);
	make_vector(actor->buffer, (size_t)N[1], vector);
	return writev(FD(0), vector, 3);
}

CALL(pwritev2)
{
	struct iovec vector[3];

	fill(actor->buffer, (size_t)N[1], N[4]);
	make_vector(actor->buffer, (size_t)N[1], vector);
	return pwritev2(FD(0), vector, 3, N[2], (int)N[3]);
}

CALL(lseek)
{
	return is_directory(FD(0)) ? 0 : lseek(FD(0), N[1], (int)N[2]);
}

/*
 * To the size that it has: natively ext4 moves mtime. With a write-back cache the kernel keeps it,
 * and moves it when the size changes (Linux 6.18, fs/fuse/dir.c, fuse_do_setattr()).
 */
static bool has_size(const char *path, long size)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size == size;
}

CALL(truncate)
{
	if (actor->rules->writeback && has_size(PATH, N[0]))
		return 0;
	return truncate(PATH, N[0]);
}

CALL(ftruncate)
{
	return ftruncate(FD(0), N[1]);
}

/* At the mount nothing has happened then (fs/fuse/file.c, fuse_file_fallocate()); natively ext4 and
 * XFS have moved the times before they look at the limit. */
static bool is_over_limit(long offset, long size)
{
	struct rlimit limit;

	return !getrlimit(RLIMIT_FSIZE, &limit) && offset >= 0 && size >= 0 &&
	       (unsigned long)offset + (unsigned long)size > limit.rlim_cur;
}

CALL(fallocate)
{
	if (is_over_limit(N[2], N[3]))
		return 0;
	return fallocate(FD(0), (int)N[1], N[2], N[3]);
}

/*
 * Copies between files opened O_DIRECT are not made when either is out of line: zcfs copies through
 * descriptors of its own, where natively it would be EINVAL.
 */
static bool is_direct(struct actor *actor, const struct step *step)
{
	const int in = fcntl(FD(0), F_GETFL), out = fcntl(FD(1), F_GETFL);

	return (in >= 0 && (in & O_DIRECT)) || (out >= 0 && (out & O_DIRECT));
}

/* As cp(1) does: a copy may end early (btrfs: at the last whole block), and is asked to go on. */
static long copy_on(int in_fd, off_t *in, int out_fd, off_t *out, size_t size)
{
	size_t copied = 0;

	for (;;) {
		const ssize_t n = copy_file_range(in_fd, in, out_fd, out, size - copied, 0);

		if (n <= 0)
			return copied ? (long)copied : n;
		copied += (size_t)n;
		if (copied == size)
			return (long)copied;
	}
}

CALL(copy_file_range)
{
	off_t in = N[2], out = N[3];
	long n;

	if (is_direct(actor, step))
		return 0;
	n = copy_on(FD(0), &in, FD(1), &out, (size_t)N[4]);

	text_add(text, " at %lld %lld", (long long)in, (long long)out);
	return n;
}

CALL(copy_file_range_here)
{
	if (is_direct(actor, step) || is_directory(FD(0)))
		return 0;
	return copy_on(FD(0), NULL, FD(1), NULL, (size_t)N[2]);
}

/*
 * A splice takes the pages of a file, and what changes them before they are used up is seen, or not
 * where the file is read around the page cache and copies are taken (fs/splice.c,
 * copy_splice_read()), or changed in another way. So not within a file, and not into a FIFO, where
 * they stay.
 */
static bool keeps_pages(int from, int to)
{
	struct stat a, b;

	if (fstat(from, &a) || fstat(to, &b))
		return false;
	return S_ISFIFO(b.st_mode) || (a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

CALL(sendfile)
{
	if (is_direct(actor, step) || is_directory(FD(0)) || keeps_pages(FD(0), FD(1)))
		return 0;
	return sendfile(FD(1), FD(0), NULL, (size_t)N[2]);
}

/* File to pipe to file. */
CALL(splice)
{
	off_t in = N[2], out = N[3];
	long n, put = -1;
	int pipe_fd[2];

	if (is_direct(actor, step) || keeps_pages(FD(0), FD(1)))
		return 0;
	if (pipe(pipe_fd))
		return -1;
	n = splice(FD(0), &in, pipe_fd[1], NULL, (size_t)N[4], SPLICE_F_NONBLOCK);
	if (n > 0)
		put = splice(pipe_fd[0], NULL, FD(1), &out, (size_t)n, SPLICE_F_NONBLOCK);
	text_add(text, " into the pipe %ld", n);
	n = n > 0 ? put : n;
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return n;
}

CALL(fsync)
{
	return fsync(FD(0));
}

CALL(fdatasync)
{
	return fdatasync(FD(0));
}

CALL(sync_file_range)
{
	return sync_file_range(FD(0), N[1], N[2],
			       SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				       SYNC_FILE_RANGE_WAIT_AFTER);
}

CALL(fadvise)
{
	return -posix_fadvise(FD(0), N[1], N[2], (int)N[3]);
}

CALL(readahead)
{
	return readahead(FD(0), N[1], (size_t)N[2]);
}

/* ---- attributes ---- */

static long show_stat(struct actor *actor, struct text *text, int fd, const char *path, int flags)
{
	struct statx stx;

	if (statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &stx))
		return -1;
	look_at_stat(actor->rules, &stx, text);
	return 0;
}

CALL(stat)
{
	return show_stat(actor, text, AT_FDCWD, PATH, 0);
}

CALL(lstat)
{
	return show_stat(actor, text, AT_FDCWD, PATH, AT_SYMLINK_NOFOLLOW);
}

CALL(fstat)
{
	return show_stat(actor, text, FD(0), "", AT_EMPTY_PATH);
}

CALL(statx)
{
	struct statx stx;

	if (statx(AT_FDCWD, PATH, (int)N[0], (unsigned)N[1], &stx))
		return -1;
	if (N[1] == (STATX_BASIC_STATS | STATX_BTIME))
		look_at_stat(actor->rules, &stx, text);
	else if (N[1] & STATX_SIZE)
		text_add(text, " size %llu", (unsigned long long)stx.stx_size);
	return 0;
}

CALL(statfs)
{
	struct statfs st;

	if (statfs(PATH, &st))
		return -1;
	text_add(text, " %ld %ld %ld %lu", (long)st.f_bsize, (long)st.f_frsize, (long)st.f_namelen,
		 (unsigned long)st.f_blocks);
	return 0;
}

CALL(access)
{
	return access(PATH, (int)N[0]);
}

CALL(faccessat2)
{
	return syscall(SYS_faccessat2, AT_FDCWD, PATH, N[0], N[1]);
}

CALL(chmod)
{
	return chmod(PATH, (mode_t)N[0]);
}

CALL(fchmod)
{
	return fchmod(FD(0), (mode_t)N[1]);
}

CALL(chown)
{
	return chown(PATH, (uid_t)N[0], (gid_t)N[1]);
}

CALL(lchown)
{
	return lchown(PATH, (uid_t)N[0], (gid_t)N[1]);
}

CALL(fchown)
{
	return fchown(FD(0), (uid_t)N[1], (gid_t)N[2]);
}

/* A time as the generator writes it: seconds, or one of the special ones; its nanoseconds follow
 * from it. */
static struct timespec time_of(long number)
{
	if (number == UTIME_NOW || number == UTIME_OMIT)
		return (struct timespec){ .tv_nsec = number };
	return (struct timespec){ .tv_sec = number, .tv_nsec = number & 1 ? 999999999 : 1 };
}

CALL(utimensat)
{
	const struct timespec times[2] = { time_of(N[0]), time_of(N[1]) };

	return utimensat(AT_FDCWD, PATH, times, (int)N[2]);
}

CALL(futimens)
{
	const struct timespec times[2] = { time_of(N[1]), time_of(N[2]) };

	return futimens(FD(0), times);
}

/* Of other files FUSE knows none (fs/fuse/ioctl.c, fuse_priv_ioctl_prepare()). */
static bool has_flags(int fd)
{
	struct stat st;

	return fd < 0 || fstat(fd, &st) || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
}

CALL(getflags)
{
	int flags = 0;
	int err = has_flags(FD(0)) ? ioctl(FD(0), FS_IOC_GETFLAGS, &flags) : 0;

	if (!err)
		text_add(text, " flags %x",
			 (unsigned)flags & (FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL));
	return err;
}

CALL(setflags)
{
	int flags = 0;

	if (!has_flags(FD(0)))
		return 0;
	if (ioctl(FD(0), FS_IOC_GETFLAGS, &flags))
		return -1;
	flags ^= (int)N[1];
	return ioctl(FD(0), FS_IOC_SETFLAGS, &flags);
}

/* ---- names ---- */

CALL(link)
{
	return link(PATH, PATH2);
}

CALL(linkat)
{
	return linkat(AT_FDCWD, PATH, AT_FDCWD, PATH2, (int)N[0]);
}

CALL(link_fd)
{
	return linkat(FD(0), "", AT_FDCWD, PATH, AT_EMPTY_PATH);
}

CALL(symlink)
{
	return symlink(PATH2, PATH);
}

CALL(readlink)
{
	char target[PATH_SIZE];
	long n = readlink(PATH, target, sizeof(target));

	show_data(text, target, n);
	return n;
}

CALL(unlink)
{
	return unlink(PATH);
}

CALL(unlinkat)
{
	return unlinkat(FD(0), PATH, (int)N[1]);
}

CALL(rmdir)
{
	return rmdir(PATH);
}

CALL(mkdir)
{
	return mkdir(PATH, (mode_t)N[0]);
}

CALL(mkdirat)
{
	return mkdirat(FD(0), PATH, (mode_t)N[1]);
}

CALL(mknod)
{
	const mode_t type = (mode_t)N[0];
	const bool device = type == S_IFCHR || type == S_IFBLK;

	return mknod(PATH, type | (mode_t)N[1], device ? makedev(1, 3) : 0);
}

CALL(rename)
{
	return rename(PATH, PATH2);
}

CALL(renameat2)
{
	return renameat2(AT_FDCWD, PATH, AT_FDCWD, PATH2, (unsigned)N[0]);
}

CALL(umask)
{
	return umask((mode_t)N[0]);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

#define ENTRIES 512

static long show_entries(struct text *text, DIR *dir)
{
	static char name[ENTRIES][264];
	const struct dirent *entry;
	unsigned count = 0;

	errno = 0;
	while ((entry = readdir(dir)) && count < ENTRIES)
		snprintf(name[count++], sizeof(name[0]), "%.255s:%d", entry->d_name, entry->d_type);
	if (errno)
		return -1;
	qsort(name, count, sizeof(name[0]), compare_names);
	for (unsigned i = 0; i < count; i++)
		text_add(text, " %s", name[i]);
	return (long)count;
}

CALL(readdir)
{
	int fd = fcntl(FD(0), F_DUPFD_CLOEXEC, 3);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	long count;
	int error;

	if (!dir) {
		error = errno;
		if (fd >= 0)
			close(fd);
		errno = error;
		return -1;
	}
	rewinddir(dir);
	count = show_entries(text, dir);
	error = errno;
	closedir(dir);
	errno = error;
	return count;
}

/* ---- xattrs ---- */

static const char *const xattr_names[] = {
	"user.a",
	"user.b",
	"trusted.a",
	"security.zcfs_test",
	"system.posix_acl_access",
	"system.posix_acl_default",
	"foo.bar",
	"user.",
	"security.capability",
};

/* <linux/posix_acl_xattr.h> is a later kernel's here, an earlier one's there. */
struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

struct acl {
	uint32_t version;
	struct acl_entry entry[6];
};

/* An ACL with one user and one group beside the usual three. */
static size_t make_acl(unsigned char *data, long seed)
{
	const uint16_t perm = (uint16_t)(seed & 7);
	struct acl acl = {
		.version = 2,
		.entry = { { 0x01, 6, UINT32_MAX },
			   { 0x02, perm, FIRST_USER },
			   { 0x04, 4, UINT32_MAX },
			   { 0x08, (uint16_t)(perm ^ 5), COMMON_GROUP },
			   { 0x10, (uint16_t)(seed >> 3 & 7), UINT32_MAX },
			   { 0x20, (uint16_t)(seed >> 6 & 7), UINT32_MAX } },
	};

	memcpy(data, &acl, sizeof(acl));
	return sizeof(acl);
}

/* struct vfs_cap_data of revision 2. */
static size_t make_capability(unsigned char *data)
{
	const uint32_t words[5] = { 0x02000001, 0x400, 0, 0, 0 };

	memcpy(data, words, sizeof(words));
	return sizeof(words);
}

/* The value of a name: sized for user's own, else what the name demands, mostly. */
static size_t make_value(struct actor *actor, long name, long size, long seed)
{
	if ((name == 4 || name == 5) && size != 1)
		return make_acl(actor->buffer, seed);
	if (name == XATTR_CAPABILITY && size != 1)
		return make_capability(actor->buffer);
	fill(actor->buffer, (size_t)size, seed);
	return (size_t)size;
}

CALL(setxattr)
{
	size_t size = make_value(actor, N[0], N[1], N[3]);

	return setxattr(PATH, xattr_names[N[0]], actor->buffer, size, (int)N[2]);
}

CALL(lsetxattr)
{
	size_t size = make_value(actor, N[0], N[1], N[3]);

	return lsetxattr(PATH, xattr_names[N[0]], actor->buffer, size, (int)N[2]);
}

CALL(fsetxattr)
{
	size_t size = make_value(actor, N[1], N[2], N[4]);

	return fsetxattr(FD(0), xattr_names[N[1]], actor->buffer, size, (int)N[3]);
}

CALL(getxattr)
{
	long n = getxattr(PATH, xattr_names[N[0]], actor->buffer, (size_t)N[1]);

	if (N[1])
		show_data(text, actor->buffer, n);
	return n;
}

CALL(lgetxattr)
{
	long n = lgetxattr(PATH, xattr_names[N[0]], actor->buffer, (size_t)N[1]);

	if (N[1])
		show_data(text, actor->buffer, n);
	return n;
}

CALL(fgetxattr)
{
	long n = fgetxattr(FD(0), xattr_names[N[1]], actor->buffer, (size_t)N[2]);

	if (N[2])
		show_data(text, actor->buffer, n);
	return n;
}

CALL(listxattr)
{
	return listxattr(PATH, (char *)actor->buffer, (size_t)N[0]);
}

CALL(flistxattr)
{
	return flistxattr(FD(0), (char *)actor->buffer, (size_t)N[1]);
}

CALL(removexattr)
{
	return removexattr(PATH, xattr_names[N[0]]);
}

CALL(fremovexattr)
{
	return fremovexattr(FD(0), xattr_names[N[1]]);
}

/* ---- locks ---- */

CALL(flock)
{
	return flock(FD(0), (int)N[1] | LOCK_NB);
}

static long lock_range(int fd, int command, short type, long start, long size, struct text *text)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = size
	};
	int err = fcntl(fd, command, &lock);

	if (!err)
		text_add(text, " %d %lld %lld", lock.l_type,
			 lock.l_type == F_UNLCK ? 0LL : (long long)lock.l_start,
			 lock.l_type == F_UNLCK ? 0LL : (long long)lock.l_len);
	return err;
}

CALL(setlk)
{
	return lock_range(FD(0), F_SETLK, (short)N[1], N[2], N[3], text);
}

CALL(getlk)
{
	return lock_range(FD(0), F_GETLK, (short)N[1], N[2], N[3], text);
}

CALL(ofd_setlk)
{
	return lock_range(FD(0), F_OFD_SETLK, (short)N[1], N[2], N[3], text);
}

/* ---- mappings ---- */

/* Volatile and not in the actor: siglongjmp(3) out of a handler finds them. */
static sigjmp_buf bus_error;

static void on_bus_error(int signal)
{
	siglongjmp(bus_error, signal);
}

static void drop_map(struct actor *actor, long map)
{
	if (actor->map[map].address)
		munmap(actor->map[map].address, actor->map[map].size);
	actor->map[map].address = NULL;
}

CALL(mmap)
{
	void *address = mmap(NULL, (size_t)N[1], (int)N[2], (int)N[3], FD(0), 0);

	if (address == MAP_FAILED)
		return -1;
	drop_map(actor, N[4]);
	actor->map[N[4]].address = address;
	actor->map[N[4]].size = (size_t)N[1];
	return 0;
}

/* The part of a mapping that is asked for and there. */
static size_t clip(const struct actor *actor, long map, long offset, long size)
{
	const size_t whole = actor->map[map].size;

	if (!actor->map[map].address || offset < 0 || (size_t)offset >= whole)
		return 0;
	return (size_t)size < whole - (size_t)offset ? (size_t)size : whole - (size_t)offset;
}

/* Copies as many bytes as there are before the signal; a page at a time. Returns how many. */
static size_t copy_pages(unsigned char *to, const unsigned char *from, size_t size)
{
	volatile size_t done = 0;

	signal(SIGBUS, on_bus_error);
	signal(SIGSEGV, on_bus_error);
	if (!sigsetjmp(bus_error, 1))
		while (done < size) {
			size_t piece = size - done < 512 ? size - done : 512;

			memcpy(to + done, from + done, piece);
			done += piece;
		}
	signal(SIGBUS, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	return done;
}

CALL(load)
{
	size_t size = clip(actor, N[0], N[1], N[2]);
	long n = (long)copy_pages(actor->buffer, actor->map[N[0]].address + N[1], size);

	show_data(text, actor->buffer, n);
	return n;
}

/*
 * Natively mtime moves when a clean page is written to; at the mount when it is written back, and
 * with a write-back cache before an attribute is set (Linux 6.18, fs/fuse/dir.c,
 * fuse_do_setattr()). So it is written back at once on both sides.
 */
CALL(store)
{
	size_t size = clip(actor, N[0], N[1], N[2]);
	long n;

	fill(actor->buffer, size, N[3]);
	n = (long)copy_pages(actor->map[N[0]].address + N[1], actor->buffer, size);
	if (size)
		msync(actor->map[N[0]].address, actor->map[N[0]].size, MS_SYNC);
	return n;
}

CALL(msync)
{
	if (!actor->map[N[0]].address)
		return 0;
	return msync(actor->map[N[0]].address, actor->map[N[0]].size, MS_SYNC);
}

CALL(munmap)
{
	drop_map(actor, N[0]);
	return 0;
}

CALL(limit_fsize)
{
	const struct rlimit limit = { .rlim_cur = (rlim_t)N[0], .rlim_max = RLIM_INFINITY };

	return setrlimit(RLIMIT_FSIZE, &limit);
}

#define ROW(name, arguments, weight)                  \
	{                                             \
#name, arguments, weight, call_##name \
	}

const struct call calls[] = {
	ROW(open, "pOmo", 50),
	ROW(creat, "pmo", 8),
	ROW(openat, "fpOmo", 10),
	ROW(tmpfile, "pOmo", 6),
	ROW(close, "f", 10),
	ROW(dup, "fo", 3),
	ROW(setfl, "fE", 4),
	ROW(getfl, "f", 2),
	ROW(read, "fn", 10),
	ROW(pread, "fnz", 10),
	ROW(readv, "fn", 4),
	ROW(preadv2, "fnzr", 4),
	ROW(write, "fnD", 18),
	ROW(pwrite, "fnzD", 16),
	ROW(writev, "fnD", 6),
	ROW(pwritev2, "fnzwD", 8),
	ROW(lseek, "fzW", 8),
	ROW(truncate, "pz", 8),
	ROW(ftruncate, "fz", 8),
	ROW(fallocate, "fAzN", 10),
	ROW(copy_file_range, "fgzzN", 8),
	ROW(copy_file_range_here, "fgN", 3),
	ROW(sendfile, "fgn", 3),
	ROW(splice, "fgzzn", 3),
	ROW(fsync, "f", 2),
	ROW(fdatasync, "f", 2),
	ROW(sync_file_range, "fzN", 1),
	ROW(fadvise, "fzNa", 1),
	ROW(readahead, "fzn", 1),
	ROW(stat, "p", 8),
	ROW(lstat, "p", 8),
	ROW(fstat, "f", 4),
	ROW(statx, "pxX", 4),
	ROW(statfs, "p", 2),
	ROW(access, "pR", 4),
	ROW(faccessat2, "pRy", 4),
	ROW(chmod, "pm", 12),
	ROW(fchmod, "fm", 6),
	ROW(chown, "puG", 8),
	ROW(lchown, "puG", 4),
	ROW(fchown, "fuG", 4),
	ROW(utimensat, "ptty", 12),
	ROW(futimens, "ftt", 6),
	ROW(getflags, "f", 1),
	ROW(setflags, "fF", 2),
	ROW(link, "pP", 8),
	ROW(linkat, "pPl", 3),
	ROW(link_fd, "fp", 5),
	ROW(symlink, "pP", 6),
	ROW(readlink, "p", 4),
	ROW(unlink, "p", 14),
	ROW(unlinkat, "fpd", 4),
	ROW(rmdir, "p", 8),
	ROW(mkdir, "pm", 12),
	ROW(mkdirat, "fpm", 4),
	ROW(mknod, "pMm", 8),
	ROW(rename, "pP", 14),
	ROW(renameat2, "pPe", 10),
	ROW(umask, "k", 2),
	ROW(readdir, "f", 6),
	ROW(setxattr, "pbsqD", 8),
	ROW(lsetxattr, "pbsqD", 3),
	ROW(fsetxattr, "fbsqD", 5),
	ROW(getxattr, "pbs", 4),
	ROW(lgetxattr, "pbs", 2),
	ROW(fgetxattr, "fbs", 2),
	ROW(listxattr, "ps", 2),
	ROW(flistxattr, "fs", 2),
	ROW(removexattr, "pb", 3),
	ROW(fremovexattr, "fb", 2),
	ROW(flock, "fL", 3),
	ROW(setlk, "fTzN", 4),
	ROW(getlk, "fTzN", 2),
	ROW(ofd_setlk, "fTzN", 2),
	ROW(mmap, "fnihV", 6),
	ROW(load, "Vzn", 5),
	ROW(store, "VznD", 5),
	ROW(msync, "V", 3),
	ROW(munmap, "V", 1),
	ROW(limit_fsize, "S", 1),
};

const unsigned call_count = sizeof(calls) / sizeof(calls[0]);
