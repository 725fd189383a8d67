/* SPDX-License-Identifier: MIT */
/*
 * The life of an open file: OPEN or CREATE makes a handle, RELEASE ends it; FLUSH comes with each
 * close(2) between.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"
#include "fs.h"
#include "lock.h"
#include "names.h"
#include "notify.h"
#include "ops.h"
#include "refusal.h"
#include "request.h"
#include "transport_uring.h"
#include "worker.h"

/* How often CREATE looks again when the name comes and goes under it in the backing directory. */
#define CREATE_TRIES 8

#define BCACHEFS_MAGIC 0xca451a4e /* not in <linux/magic.h> */

/* ---- flags of open(2), and of the reply ---- */

static bool is_writable(int flags)
{
	return (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR;
}

/*
 * What of the caller's flags is meant for the backing file too. Not O_APPEND: the page cache writes
 * back through any handle of the file, at offsets of its own, and on an O_APPEND descriptor
 * pwrite(2) ignores the offset. The kernel says with each WRITE whether it appends, and data.c does
 * so by RWF_APPEND. Not O_NONBLOCK, O_NOCTTY and their like, which say nothing for regular files,
 * nor the kernel's own bits (FMODE_EXEC, 0x20).
 */
static int backing_flags(const struct fs *fs, uint32_t caller_flags)
{
	int flags = (int)caller_flags & (O_ACCMODE | O_TRUNC | O_DIRECT | O_SYNC | O_NOATIME);

	flags |= fs_noatime_flag(fs);
	/* With a write-back cache the kernel fills up partly written pages: it reads through
	 * whatever handle it has. */
	if (fs->options.writeback && (flags & O_ACCMODE) == O_WRONLY)
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	return flags;
}

/* Filesystems that do nothing at close(2), so that there is no error to be reported there (no
 * flush() in their file_operations). NFS, CIFS, FUSE and the like write back at close. */
static bool is_silent_type(int fd)
{
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return false;
	switch ((uint32_t)st.f_type) {
	case EXT4_SUPER_MAGIC: /* ext2 and ext3 too */
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case BCACHEFS_MAGIC:
	case TMPFS_MAGIC:
		return true;
	default:
		return false;
	}
}

static bool closes_silently(struct fs *fs, int fd, const struct statx *stx)
{
	const dev_t dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);

	if (refusal_is_known(&fs->refusals, REFUSAL_FLUSH, dev, dev))
		return true;
	if (!is_silent_type(fd))
		return false;
	refusal_note(&fs->refusals, REFUSAL_FLUSH, dev, dev);
	return true;
}

/*
 * Whether close(2) may go without FLUSH, which spares small files a round trip. The kernel then
 * does not write dirty pages at close either (Linux 5.16, fs/fuse/file.c, fuse_flush()): an O_RDWR
 * file may have some, dirtied through a shared mapping; the other two cannot. With a write-back
 * cache the kernel ignores the flag. A forwarded POSIX lock ends with FLUSH.
 */
static bool needs_no_flush(struct fs *fs, int fd, int flags, const struct statx *stx)
{
	if (fs->options.locks == LOCKS_FORWARD)
		return false;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return true;
	return (flags & O_ACCMODE) == O_WRONLY && closes_silently(fs, fd, stx);
}

static uint32_t reply_flags(struct fs *fs, struct inode *inode, int fd, int flags,
			    const struct statx *stx)
{
	uint32_t reply = needs_no_flush(fs, fd, flags, stx) ? FOPEN_NOFLUSH : 0;

	if (transport_uring_has_zerocopy(fs->uring))
		reply |= FOPEN_IO_URING_ZERO_COPY;
	switch (fs->options.cache) {
	case CACHE_NEVER:
		return reply | FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
	case CACHE_ALWAYS:
		return reply | FOPEN_KEEP_CACHE;
	case CACHE_AUTO: /* the pages may stay when the file is what it was at the last open */
		return reply |
		       (inode_data_unchanged(fs->inodes, inode, stx) ? FOPEN_KEEP_CACHE : 0);
	}
	return reply;
}

/* ---- open ---- */

/* Only regular files are opened by us: FIFOs, sockets and devices by the kernel itself, and opening
 * them here might block or act. */
static int check_type(mode_t type)
{
	switch (type) {
	case S_IFREG:
		return 0;
	case S_IFDIR:
		return -EISDIR;
	case S_IFLNK:
		return -ELOOP;
	default:
		return -ENXIO;
	}
}

/*
 * Opens the backing file with flags, or with less where that is all we may: O_NOATIME is refused to
 * who does not own the file, and an ordinary user's zcfs may have a file that it can write and not
 * read. Changes *flags to what it became. Returns a descriptor or -errno.
 */
static int open_backing(struct fs *fs, const struct inode_ref *ref, int *flags, int asked_mode)
{
	int fd = inode_open(fs->inodes, ref, *flags);

	if (fd == -EPERM && (*flags & O_NOATIME)) {
		*flags &= ~O_NOATIME;
		fd = inode_open(fs->inodes, ref, *flags);
	}
	if (fd == -EACCES && (*flags & O_ACCMODE) != asked_mode) {
		*flags = (*flags & ~O_ACCMODE) | asked_mode;
		fd = inode_open(fs->inodes, ref, *flags);
	}
	return fd;
}

/*
 * O_TRUNC takes set-uid and set-gid bits off when the caller is one whose writes do
 * (FUSE_HANDLE_KILLPRIV_V2): the file is then opened as the caller, because who is in its group
 * keeps set-gid.
 */
static int open_killing(struct request *request, const struct inode_ref *ref, int *flags,
			int asked_mode)
{
	int fd = attr_begin_killing(request, ref->fd);

	if (fd)
		return fd;
	fd = open_backing(request->fs, ref, flags, asked_mode);
	attr_end_killing(request);
	return fd;
}

static int open_with(struct request *request, const struct inode_ref *ref, int *flags,
		     uint32_t asked_flags, uint32_t open_flags)
{
	int asked_mode = (int)asked_flags & O_ACCMODE;

	if ((*flags & O_TRUNC) && (open_flags & FUSE_OPEN_KILL_SUIDGID))
		return open_killing(request, ref, flags, asked_mode);
	return open_backing(request->fs, ref, flags, asked_mode);
}

/*
 * A file that can only be appended to (chattr +a) is not opened for writing without O_APPEND: only
 * then the flag is passed on. Not with a write-back cache, which writes whole pages, old bytes
 * included, that would all be appended.
 */
static int open_for(struct request *request, const struct inode_ref *ref, int *flags,
		    uint32_t asked_flags, uint32_t open_flags)
{
	int fd = open_with(request, ref, flags, asked_flags, open_flags);

	if (fd != -EPERM || !(asked_flags & O_APPEND) || request->fs->options.writeback)
		return fd;
	*flags |= O_APPEND;
	return open_with(request, ref, flags, asked_flags, open_flags);
}

/* Makes the handle of an open file, whose attributes are stx, and the reply. Takes fd over, also on
 * error. */
static int add_file(struct request *request, const struct inode_ref *ref, int fd, int flags,
		    const struct statx *stx, struct fuse_open_out *ret_open)
{
	struct fs *fs = request->fs;
	enum passthrough_mode passthrough;
	int err;

	/* As long as the descriptor is ours: once there is a number, somebody may release it. */
	*ret_open = (struct fuse_open_out){
		.open_flags = reply_flags(fs, ref->inode, fd, flags, stx),
	};
	passthrough = passthrough_open(request, ref->inode, fd, flags, ret_open);
	err = handle_add_file(fs->handles, ref->inode, fd, flags, stx->stx_size, passthrough,
			      &ret_open->fh);
	if (err) {
		passthrough_close(fs, ref->inode, passthrough);
		close(fd);
	}
	return err;
}

static int add_opened(struct request *request, const struct inode_ref *ref, int fd, int flags,
		      struct fuse_open_out *ret_open)
{
	struct statx stx;
	int err = attr_get(fd, &stx);

	if (err) {
		close(fd);
		return err;
	}
	return add_file(request, ref, fd, flags, &stx, ret_open);
}

/* Opens an inode with the flags that a request has brought. */
static int open_inode(struct request *request, uint64_t nodeid, uint32_t asked_flags,
		      uint32_t open_flags, struct fuse_open_out *ret_open)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	struct fs *fs = request->fs;
	int flags = backing_flags(fs, asked_flags);
	int err = open_flags & FUSE_OPEN_KILL_SUIDGID ? inode_ref_get(fs->inodes, nodeid, &ref)
						      : inode_ref_find(fs->inodes, nodeid, &ref);
	int fd;

	if (!err)
		err = check_type(inode_type(ref.inode));
	if (err)
		return err;
	fd = open_for(request, &ref, &flags, asked_flags, open_flags);
	if (fd < 0)
		return fd;
	return add_opened(request, &ref, fd, flags, ret_open);
}

void op_open(struct request *request)
{
	const struct fuse_open_in *in = request->argument;
	int err = open_inode(request, request->in.nodeid, in->flags, in->open_flags,
			     &request->out.open);

	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.open));
}

/* ---- create ---- */

/* openat(2) as the caller; name is "." with O_TMPFILE. Returns a descriptor or -errno. */
static int open_as_caller(struct request *request, const struct inode_ref *dir, const char *name,
			  int flags, const struct fuse_create_in *in)
{
	struct cred *cred = &request->worker->cred;
	unsigned tries = 0;
	int fd;
	int err = cred_assume(cred, &request->in, in->umask);

	if (err)
		return err;
	do {
		fd = openat(dir->fd, name, flags | O_NOFOLLOW | O_CLOEXEC, in->mode & 07777);
		fd = fd < 0 ? -errno : fd;
	} while (fd < 0 && inode_table_relieve(request->fs->inodes, fd, tries++));
	cred_restore(cred);
	return fd;
}

static void forget_entry(struct fs *fs, const struct fuse_entry_out *entry)
{
	inode_forget(fs->inodes, entry->nodeid, 1);
}

/* Handle and reply for a file whose entry is already in the reply, with its lookup counted. Takes
 * fd over, also on error. */
static int add_created(struct request *request, int fd, int flags, const struct statx *stx)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	struct fs *fs = request->fs;
	int err = inode_ref_find(fs->inodes, request->out.create.entry.nodeid, &ref);

	if (err) {
		close(fd);
		return err;
	}
	return add_file(request, &ref, fd, flags, stx, &request->out.create.open);
}

static int create_new(struct request *request, const struct inode_ref *dir,
		      const struct fuse_create_in *in)
{
	struct fuse_entry_out *entry = &request->out.create.entry;
	int flags = backing_flags(request->fs, in->flags);
	int fd = open_as_caller(request, dir, request->name[0], flags | O_CREAT | O_EXCL, in);
	struct statx stx;
	int err;

	if (fd < 0)
		return fd;
	err = names_entry_of_fd(request->fs, fd, &stx, entry);
	if (err) {
		close(fd);
		return err;
	}
	err = add_created(request, fd, flags, &stx);
	if (err)
		forget_entry(request->fs, entry);
	return err;
}

/*
 * The name exists, though the kernel thought it did not: it was made in the backing directory a
 * moment ago. The kernel checks no permission on a file that it believes to be new, so it is opened
 * here only for who may do what we may. Anybody else gets ESTALE, at which the kernel looks the
 * name up again and opens what it finds by the ordinary way, with the ordinary checks (Linux
 * fs/namei.c, do_filp_open(): LOOKUP_REVAL).
 */
static int open_existing(struct request *request, const struct inode_ref *dir,
			 const struct fuse_create_in *in)
{
	struct fuse_entry_out *entry = &request->out.create.entry;
	int err;

	if (request->in.uid != geteuid())
		return -ESTALE;
	err = names_lookup(request->fs, dir, request->name[0], entry);
	if (err)
		return err;
	err = open_inode(request, entry->nodeid, in->flags, in->open_flags,
			 &request->out.create.open);
	if (err)
		forget_entry(request->fs, entry);
	return err;
}

/*
 * Making and opening are two steps, so that nothing but a file of our own making is opened blindly:
 * an O_CREAT alone would also open a FIFO, and wait. The first round does it, but for names that
 * come and go.
 */
static int file_create(struct request *request, const struct fuse_create_in *in)
{
	CLEANUP_INODE struct inode_ref dir = INODE_REF_NONE;
	int err = inode_ref_get(request->fs->inodes, request->in.nodeid, &dir);

	if (err)
		return err;
	for (int i = 0; i < CREATE_TRIES; i++) {
		err = create_new(request, &dir, in);
		if (err != -EEXIST || (in->flags & O_EXCL))
			return err;
		err = open_existing(request, &dir, in);
		if (err != -ENOENT)
			return err;
	}
	return err;
}

static void reply_created(struct request *request, int err)
{
	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.create));
}

void op_create(struct request *request)
{
	reply_created(request, file_create(request, request->argument));
}

/* ---- tmpfile (Linux 6.2) ---- */

/* A file without a name is reached only through a descriptor: the inode keeps one (O_PATH: it
 * shares no state with the open file), for the linkat(2) that may give it a name. */
static int pin(struct fs *fs, int fd)
{
	CLEANUP_FD int path_fd = open(fs_proc_path(fd).text, O_PATH | O_CLOEXEC);
	struct statx stx;
	int err;

	if (path_fd < 0)
		return -errno;
	err = attr_get(path_fd, &stx);
	if (!err)
		inode_pin(fs->inodes, path_fd, &stx);
	return err;
}

static int file_tmpfile(struct request *request, const struct fuse_create_in *in)
{
	CLEANUP_INODE struct inode_ref dir = INODE_REF_NONE;
	CLEANUP_FD int fd = -1;
	struct fs *fs = request->fs;
	struct fuse_entry_out *entry = &request->out.create.entry;
	int flags = backing_flags(fs, in->flags) & ~O_TRUNC;
	struct statx stx;
	int err = inode_ref_get(fs->inodes, request->in.nodeid, &dir);

	if (err)
		return err;
	/* O_EXCL here means that no name may ever be given. */
	fd = open_as_caller(request, &dir, ".", flags | O_TMPFILE | ((int)in->flags & O_EXCL), in);
	if (fd < 0)
		return fd;
	err = names_entry_of_fd(fs, fd, &stx, entry);
	if (err)
		return err;
	err = pin(fs, fd);
	if (!err)
		err = add_created(request, take_fd(&fd), flags, &stx);
	if (err)
		forget_entry(fs, entry);
	return err;
}

void op_tmpfile(struct request *request)
{
	reply_created(request, file_tmpfile(request, request->argument));
}

/* ---- flush, release ---- */

/* A filesystem that writes back at close(2) tells us here what went wrong, while somebody listens.
 * (That close also drops our own POSIX locks on the file: lock.c takes none, only OFD locks.) */
static int close_copy(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return 0; /* out of descriptors: nothing is known to be wrong with the file */
	return close(copy) < 0 ? -errno : 0;
}

static int file_flush(const struct handle *handle)
{
	int other_fd = atomic_load(&handle->other_fd);
	int err;

	if (!is_writable(handle->flags))
		return 0;
	err = close_copy(handle->fd);
	if (!err && other_fd >= 0)
		err = close_copy(other_fd);
	return err;
}

void op_flush(struct request *request)
{
	const struct fuse_flush_in *in = request->argument;
	struct handle *handle = handle_get(request->fs->handles, in->fh, HANDLE_FILE);
	int err;

	if (!handle) {
		request_reply_error(request, -EBADF);
		return;
	}
	lock_flush(request->fs, handle, in->lock_owner);
	err = file_flush(handle);
	handle_put(handle);
	request_reply_error(request, err);
}

void op_release(struct request *request)
{
	const struct fuse_release_in *in = request->argument;
	struct fs *fs = request->fs;
	struct handle *handle = handle_get(fs->handles, in->fh, HANDLE_FILE);

	if (handle) {
		lock_release(fs, handle, in->release_flags & FUSE_RELEASE_FLOCK_UNLOCK);
		handle_release(fs->handles, in->fh, HANDLE_FILE);
		handle_put(handle);
	}
	request_reply_error(request, 0);
}

/* ---- lseek ---- */

/* Moves the descriptor's offset, which nobody uses: all reads and writes name theirs. */
static int64_t file_lseek(const struct handle *handle, const struct fuse_lseek_in *in)
{
	off_t offset;

	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
		return -EINVAL; /* the kernel does the others itself */
	/* What the kernel has still to write back may lie in what is a hole here, and may be longer
	 * than the file is here. Then the kernel takes all for data (Linux fs/fuse/file.c,
	 * fuse_lseek(): it neither writes back before it asks, nor looks at its pages). */
	if (handle->fs->connection.taken & FUSE_WRITEBACK_CACHE)
		return -ENOSYS;
	offset = lseek(handle->fd, (off_t)in->offset, (int)in->whence);
	return offset < 0 ? -errno : offset;
}

void op_lseek(struct request *request)
{
	const struct fuse_lseek_in *in = request->argument;
	struct handle *handle = handle_get(request->fs->handles, in->fh, HANDLE_FILE);
	int64_t offset = handle ? file_lseek(handle, in) : -EBADF;

	if (handle)
		handle_put(handle);
	if (offset < 0) {
		request_reply_error(request, (int)offset);
		return;
	}
	request->out.lseek.offset = (uint64_t)offset;
	request_reply_out(request, sizeof(request->out.lseek));
}

/* ---- ioctl ---- */

/* Flags that the owner of a file may not change: CAP_LINUX_IMMUTABLE, on ext4 CAP_SYS_RESOURCE. */
#define PRIVILEGED_FLAGS  (FS_IMMUTABLE_FL | FS_APPEND_FL | FS_JOURNAL_DATA_FL)
#define PRIVILEGED_XFLAGS (FS_XFLAG_IMMUTABLE | FS_XFLAG_APPEND)

/*
 * The ioctls that are passed on: those that read and change a file's flags. Everything else might
 * mean something else to the backing filesystem than to the caller, who has at best the rights of a
 * file's owner, while we may be root.
 *
 * FS_IOC_GETFLAGS and SETFLAGS are declared with long and move an int; the kernel asks for the int
 * when it calls by itself (Linux 5.13, fs/fuse/ioctl.c, fuse_fileattr_get()) and for the long when
 * it passes a program's call on.
 */
static size_t ioctl_data_size(uint32_t cmd)
{
	switch (cmd) {
	case FS_IOC_GETFLAGS:
	case FS_IOC_SETFLAGS:
	case FS_IOC_GETVERSION:
		return sizeof(int);
	case FS_IOC_FSGETXATTR:
	case FS_IOC_FSSETXATTR:
		return sizeof(struct fsxattr);
	default:
		return 0;
	}
}

static bool changes_privileged(int fd, uint32_t cmd, const void *data)
{
	if (cmd == FS_IOC_SETFLAGS) {
		unsigned old = 0;
		unsigned new;

		memcpy(&new, data, sizeof(new));
		return ioctl(fd, FS_IOC_GETFLAGS, &old) < 0 || ((old ^ new) & PRIVILEGED_FLAGS);
	} else {
		struct fsxattr old = { .fsx_xflags = 0 };
		struct fsxattr new;

		memcpy(&new, data, sizeof(new));
		return ioctl(fd, FS_IOC_FSGETXATTR, &old) < 0 ||
		       ((old.fsx_xflags ^ new.fsx_xflags) & PRIVILEGED_XFLAGS);
	}
}

/* What the backing filesystem would check of the caller, when it sees only us. */
static int check_may_set(const struct request *request, int fd, uint32_t cmd, const void *data)
{
	struct statx stx;
	int err;

	if (request->in.uid == 0)
		return 0;
	err = attr_get(fd, &stx);
	if (err)
		return err;
	if (stx.stx_uid != request->in.uid || changes_privileged(fd, cmd, data))
		return -EPERM;
	return 0;
}

/* Returns how many bytes of request->out.ioctl.data are for the caller, or -errno. */
static int file_ioctl(struct request *request, int fd, const struct fuse_ioctl_in *in)
{
	char *data = request->out.ioctl.data;
	const bool sets = _IOC_DIR(in->cmd) & _IOC_WRITE;
	const size_t size = ioctl_data_size(in->cmd);
	int err;

	if (!size)
		return -ENOTTY;
	memset(data, 0, sizeof(request->out.ioctl.data));
	if (sets) {
		if (in->in_size < size || request->value_size < size)
			return -EINVAL;
		memcpy(data, request->value, size);
		err = check_may_set(request, fd, in->cmd, data);
		if (err)
			return err;
	} else if (in->out_size < size) {
		return -EINVAL;
	}
	if (ioctl(fd, in->cmd, data) < 0)
		return -errno;
	if (!sets)
		return (int)size;
	/* ctime has changed, which nothing tells the kernel (Linux 6.18, fs/fuse/ioctl.c,
	 * fuse_fileattr_set()). */
	notify_inval_attr(request->fs, request->in.nodeid);
	return 0;
}

void op_ioctl(struct request *request)
{
	const struct fuse_ioctl_in *in = request->argument;
	enum handle_kind kind = in->flags & FUSE_IOCTL_DIR ? HANDLE_DIR : HANDLE_FILE;
	struct handle *handle = handle_get(request->fs->handles, in->fh, kind);
	int size = handle ? file_ioctl(request, handle->fd, in) : -EBADF;

	if (handle)
		handle_put(handle);
	if (size < 0) {
		request_reply_error(request, size);
		return;
	}
	memset(&request->out.ioctl.header, 0, sizeof(request->out.ioctl.header));
	request_reply_out(request, sizeof(request->out.ioctl.header) + (size_t)size);
}
