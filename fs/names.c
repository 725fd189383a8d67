/* SPDX-License-Identifier: MIT */
/*
 * Directory entries. A name is only ever used together with the descriptor of its directory, and
 * never followed when it is a symbolic link, so whatever happens to the backing tree meanwhile, no
 * request leaves it.
 *
 * Looking up asks for the file handle and the attributes by name: that both are of one inode,
 * though the name may change hands between, is seen by the inode number in the handle. Where there
 * is no such handle the entry is opened first (O_PATH), and that descriptor is asked.
 */
#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"
#include "fs.h"
#include "ops.h"
#include "request.h"
#include "worker.h"

/* ---- looking up ---- */

/* Of what name is in the directory, or with "" of fd itself. Asked in a way that sends no request:
 * to ourselves it might never be answered (no mask, no sync; Linux fs/fuse/dir.c,
 * fuse_update_get_attr()). */
static bool is_in_own_mount(const struct fs *fs, int fd, const char *name)
{
	const int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC;
	struct statx stx;

	if (fs->covered_fd < 0 || !fs->self_device)
		return false;
	if (statx(fd, name, flags, 0, &stx) < 0)
		return false;
	return makedev(stx.stx_dev_major, stx.stx_dev_minor) == fs->self_device;
}

/* The entry, O_PATH, with its attributes; our own mount point stands for the directory below it.
 * Returns a descriptor or -errno. */
static int open_name(const struct fs *fs, int dir_fd, const char *name, struct statx *ret_stx)
{
	CLEANUP_FD int fd = -1;
	unsigned tries = 0;
	int err;

	do
		fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	while (fd < 0 && inode_table_relieve(fs->inodes, -errno, tries++));
	if (fd >= 0 && is_in_own_mount(fs, fd, "")) {
		close(fd);
		fd = fcntl(fs->covered_fd, F_DUPFD_CLOEXEC, 0);
	}
	if (fd < 0)
		return -errno;
	err = attr_get(fd, ret_stx);
	return err ? err : take_fd(&fd);
}

static int count_lookup(struct fs *fs, int fd, bool own_fd, const struct statx *stx,
			struct fuse_entry_out *ret_entry)
{
	uint64_t nodeid, generation;
	int err = inode_lookup(fs->inodes, fd, own_fd, stx, &nodeid, &generation);

	if (!err)
		attr_fill_entry(fs, stx, nodeid, generation, ret_entry);
	return err;
}

/* -EAGAIN when it takes a descriptor: what may be our own mount is to be asked with care. */
static int lookup_unopened(struct fs *fs, int dir_fd, const char *name,
			   struct fuse_entry_out *ret_entry)
{
	uint64_t nodeid, generation;
	struct statx stx;
	int err;

	if (fs->covered_fd >= 0)
		return -EAGAIN;
	err = inode_lookup_name(fs->inodes, dir_fd, name, &stx, &nodeid, &generation);
	if (!err)
		attr_fill_entry(fs, &stx, nodeid, generation, ret_entry);
	return err;
}

int names_lookup(struct fs *fs, const struct inode_ref *dir, const char *name,
		 struct fuse_entry_out *ret_entry)
{
	struct statx stx;
	int err = lookup_unopened(fs, dir->fd, name, ret_entry);
	int fd;

	if (err != -EAGAIN)
		return err;
	fd = open_name(fs, dir->fd, name, &stx);
	return fd < 0 ? fd : count_lookup(fs, fd, true, &stx, ret_entry);
}

int names_entry_of_fd(struct fs *fs, int fd, struct statx *ret_stx,
		      struct fuse_entry_out *ret_entry)
{
	int err = attr_get(fd, ret_stx);

	return err ? err : count_lookup(fs, fd, false, ret_stx, ret_entry);
}

static void reply_entry(struct request *request, int err)
{
	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.entry));
}

/* That there is no such name may be remembered for a while too: node id 0 (FUSE_LOOKUP). */
static void fill_negative(const struct fs *fs, struct fuse_entry_out *ret_entry)
{
	*ret_entry = (struct fuse_entry_out){ 0 };
	attr_timeout(fs->options.negative_timeout, &ret_entry->entry_valid,
		     &ret_entry->entry_valid_nsec);
}

static int lookup(struct request *request)
{
	CLEANUP_INODE struct inode_ref dir = INODE_REF_NONE;
	struct fs *fs = request->fs;
	int err = inode_ref_get(fs->inodes, request->in.nodeid, &dir);

	if (err)
		return err;
	err = names_lookup(fs, &dir, request->name[0], &request->out.entry);
	if (err != -ENOENT || fs->options.negative_timeout <= 0)
		return err;
	fill_negative(fs, &request->out.entry);
	return 0;
}

void op_lookup(struct request *request)
{
	reply_entry(request, lookup(request));
}

void op_forget(struct request *request)
{
	const struct fuse_forget_in *in = request->argument;

	inode_forget(request->fs->inodes, request->in.nodeid, in->nlookup);
	request_finish(request);
}

void op_batch_forget(struct request *request)
{
	const struct fuse_batch_forget_in *in = request->argument;
	const struct fuse_forget_one *one = request->value;
	const size_t sent = request->value_size / sizeof(*one);

	for (size_t i = 0; i < in->count && i < sent; i++)
		inode_forget(request->fs->inodes, one[i].nodeid, one[i].nlookup);
	request_finish(request);
}

/* Returns the length of the target, now in the payload, or -errno. */
static ssize_t read_link(struct request *request)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	ssize_t length;
	int err = inode_ref_get(request->fs->inodes, request->in.nodeid, &ref);

	if (err)
		return err;
	length = readlinkat(ref.fd, "", request_payload(request), request_payload_size(request));
	return length < 0 ? -errno : length;
}

void op_readlink(struct request *request)
{
	ssize_t length = read_link(request);

	if (length < 0)
		request_reply_error(request, (int)length);
	else
		request_reply_payload(request, (size_t)length);
}

/* ---- making ---- */

/* Gets the directory that the request is about, and becomes its sender; 0 is to be followed by
 * end_making(). */
static int begin_making(struct request *request, mode_t umask, struct inode_ref *ret_dir)
{
	int err = inode_ref_get(request->fs->inodes, request->in.nodeid, ret_dir);

	return err ? err : cred_assume(&request->worker->cred, &request->in, umask);
}

/* made is what the system call returned. The entry is looked up anew, to tell what stands there
 * now: the backing filesystem has had its say about mode and group. */
static int end_making(struct request *request, const struct inode_ref *dir, int made)
{
	int err = made < 0 ? -errno : 0;

	cred_restore(&request->worker->cred);
	if (err)
		return err;
	return names_lookup(request->fs, dir, request->name[0], &request->out.entry);
}

/* The kernel's new_decode_dev() (include/linux/kdev_t.h). */
static dev_t decode_device(uint32_t device)
{
	return makedev((device & 0xfff00) >> 8, (device & 0xff) | ((device >> 12) & 0xfff00));
}

static int make_node(struct request *request, const struct fuse_mknod_in *in)
{
	CLEANUP_INODE struct inode_ref dir = INODE_REF_NONE;
	int err = begin_making(request, in->umask, &dir);

	if (err)
		return err;
	return end_making(request, &dir,
			  mknodat(dir.fd, request->name[0], in->mode, decode_device(in->rdev)));
}

void op_mknod(struct request *request)
{
	reply_entry(request, make_node(request, request->argument));
}

static int make_directory(struct request *request, const struct fuse_mkdir_in *in)
{
	CLEANUP_INODE struct inode_ref dir = INODE_REF_NONE;
	int err = begin_making(request, in->umask, &dir);

	if (err)
		return err;
	return end_making(request, &dir, mkdirat(dir.fd, request->name[0], in->mode));
}

void op_mkdir(struct request *request)
{
	reply_entry(request, make_directory(request, request->argument));
}

static int make_symlink(struct request *request)
{
	CLEANUP_INODE struct inode_ref dir = INODE_REF_NONE;
	const char *target = request->name[1];
	int err = begin_making(request, request->worker->cred.umask, &dir);

	if (err)
		return err;
	return end_making(request, &dir, symlinkat(target, dir.fd, request->name[0]));
}

void op_symlink(struct request *request)
{
	reply_entry(request, make_symlink(request));
}

/*
 * By the magic link of the inode's descriptor: AT_EMPTY_PATH would do it directly, but before Linux
 * 6.10 wants CAP_DAC_READ_SEARCH. The owner does not change, so the caller's identity does not
 * matter.
 */
static int make_link(struct request *request, const struct fuse_link_in *in)
{
	CLEANUP_INODE struct inode_ref dir = INODE_REF_NONE;
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	struct fs *fs = request->fs;
	struct statx stx;
	int err = inode_ref_get(fs->inodes, request->in.nodeid, &dir);

	if (!err)
		err = inode_ref_get(fs->inodes, in->oldnodeid, &ref);
	if (err)
		return err;
	if (linkat(fs->proc_self_fd, fs_proc_name(ref.fd).text, dir.fd, request->name[0],
		   AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return names_entry_of_fd(fs, ref.fd, &stx, &request->out.entry);
}

void op_link(struct request *request)
{
	reply_entry(request, make_link(request, request->argument));
}

/* ---- removing and renaming ---- */

/*
 * An inode that loses its last name may still be in use, and can then not be found by its handle
 * everywhere: its descriptor is to be kept. So it is referred to before the removal, and pinned
 * after it, as a removal that fails must not cost a descriptor: rmdir(2) of full directories may
 * come as often as somebody likes.
 */
struct victim {
	struct inode_ref ref; /* INODE_REF_NONE: nobody whom the kernel knows loses his last name */
	struct statx stx;
};

static void put_victim(struct victim *victim)
{
	inode_ref_put(&victim->ref);
}
#define CLEANUP_VICTIM __attribute__((cleanup(put_victim)))

static bool is_last_name(const struct statx *stx)
{
	return S_ISDIR(stx->stx_mode) || stx->stx_nlink <= 1;
}

/* The root of our own mount has no name to lose, and must not be asked for its attributes. */
static int stat_victim(const struct fs *fs, int dir_fd, const char *name, struct statx *ret_stx)
{
	if (is_in_own_mount(fs, dir_fd, name))
		return -EBUSY;
	return attr_get_at(dir_fd, name, ret_stx);
}

static void find_victim(const struct fs *fs, int dir_fd, const char *name,
			struct victim *ret_victim)
{
	uint64_t nodeid = 0;
	int err;

	*ret_victim = (struct victim){ .ref = INODE_REF_NONE };
	err = stat_victim(fs, dir_fd, name, &ret_victim->stx);
	if (!err && is_last_name(&ret_victim->stx))
		nodeid = inode_find(fs->inodes, &ret_victim->stx);
	if (nodeid)
		inode_ref_get(fs->inodes, nodeid, &ret_victim->ref);
}

static void keep_victim(const struct fs *fs, const struct victim *victim)
{
	if (victim->ref.inode)
		inode_pin_cached(fs->inodes, &victim->stx);
}

static int remove_from(const struct fs *fs, int dir_fd, const char *name, int flags)
{
	CLEANUP_VICTIM struct victim victim;

	find_victim(fs, dir_fd, name, &victim);
	if (unlinkat(dir_fd, name, flags) < 0)
		return -errno;
	keep_victim(fs, &victim);
	return 0;
}

static int remove_name(struct request *request, int flags)
{
	CLEANUP_INODE struct inode_ref dir = INODE_REF_NONE;
	int err = inode_ref_get(request->fs->inodes, request->in.nodeid, &dir);

	return err ? err : remove_from(request->fs, dir.fd, request->name[0], flags);
}

void op_unlink(struct request *request)
{
	request_reply_error(request, remove_name(request, 0));
}

void op_rmdir(struct request *request)
{
	request_reply_error(request, remove_name(request, AT_REMOVEDIR));
}

static int move_name(const struct request *request, int from_fd, int to_fd, unsigned flags)
{
	if (renameat2(from_fd, request->name[0], to_fd, request->name[1], flags) < 0)
		return -errno;
	return 0;
}

/* A whiteout is a new device node, and belongs to the caller. */
static int move_as_caller(struct request *request, int from_fd, int to_fd, unsigned flags)
{
	struct cred *cred = &request->worker->cred;
	int err = cred_assume(cred, &request->in, cred->umask);

	if (err)
		return err;
	err = move_name(request, from_fd, to_fd, flags);
	cred_restore(cred);
	return err;
}

static int move(struct request *request, int from_fd, int to_fd, unsigned flags)
{
	CLEANUP_VICTIM struct victim victim = { .ref = INODE_REF_NONE };
	const struct fs *fs = request->fs;
	int err;

	if (!(flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)))
		find_victim(fs, to_fd, request->name[1], &victim);
	if (flags & RENAME_WHITEOUT)
		err = move_as_caller(request, from_fd, to_fd, flags);
	else
		err = move_name(request, from_fd, to_fd, flags);
	if (!err)
		keep_victim(fs, &victim);
	return err;
}

static int rename_name(struct request *request, uint64_t to_nodeid, unsigned flags)
{
	CLEANUP_INODE struct inode_ref from = INODE_REF_NONE;
	CLEANUP_INODE struct inode_ref to = INODE_REF_NONE;
	struct fs *fs = request->fs;
	int err = inode_ref_get(fs->inodes, request->in.nodeid, &from);

	if (!err)
		err = inode_ref_get(fs->inodes, to_nodeid, &to);
	if (err)
		return err;
	return move(request, from.fd, to.fd, flags);
}

void op_rename(struct request *request)
{
	const struct fuse_rename_in *in = request->argument;

	request_reply_error(request, rename_name(request, in->newdir, 0));
}

void op_rename2(struct request *request)
{
	const struct fuse_rename2_in *in = request->argument;

	request_reply_error(request, rename_name(request, in->newdir, in->flags));
}
