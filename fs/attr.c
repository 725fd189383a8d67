/* SPDX-License-Identifier: MIT */
/*
 * Attributes: what is asked about a file, and what is set. Everything is done on descriptors: the
 * inode's own (O_PATH), an open handle's, or through the magic link in /proc/self/fd, which leads
 * to the inode itself, a symbolic link included, and never to a path of the backing tree.
 */
#include "attr.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "fs.h"
#include "ops.h"
#include "request.h"
#include "worker.h"

static int stat_fd(int fd, int sync, unsigned mask, struct statx *ret_stx)
{
	return statx(fd, "", AT_EMPTY_PATH | sync, mask, ret_stx) < 0 ? -errno : 0;
}

int attr_get(int fd, struct statx *ret_stx)
{
	return stat_fd(fd, AT_STATX_SYNC_AS_STAT, ATTR_STATX_MASK, ret_stx);
}

int attr_get_at(int dir_fd, const char *name, struct statx *ret_stx)
{
	const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

	return statx(dir_fd, name, flags, ATTR_STATX_MASK, ret_stx) < 0 ? -errno : 0;
}

bool attr_get_direct(int fd, struct direct_alignment *ret_align)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    (stx.stx_mask & STATX_DIOALIGN)) {
		ret_align->memory = stx.stx_dio_mem_align;
		ret_align->offset = stx.stx_dio_offset_align;
		return true;
	}
#endif
	return false;
}

/* The kernel's new_encode_dev() (include/linux/kdev_t.h): 12 bits of major, 20 of minor. */
static uint32_t encode_device(unsigned major, unsigned minor)
{
	return (minor & 0xff) | (major << 8) | ((minor & ~0xffU) << 12);
}

void attr_fill(const struct statx *stx, struct fuse_attr *ret_attr)
{
	*ret_attr = (struct fuse_attr){
		.ino = stx->stx_ino,
		.size = stx->stx_size,
		.blocks = stx->stx_blocks,
		.atime = (uint64_t)stx->stx_atime.tv_sec,
		.mtime = (uint64_t)stx->stx_mtime.tv_sec,
		.ctime = (uint64_t)stx->stx_ctime.tv_sec,
		.atimensec = stx->stx_atime.tv_nsec,
		.mtimensec = stx->stx_mtime.tv_nsec,
		.ctimensec = stx->stx_ctime.tv_nsec,
		.mode = stx->stx_mode,
		.nlink = stx->stx_nlink,
		.uid = stx->stx_uid,
		.gid = stx->stx_gid,
		.rdev = encode_device(stx->stx_rdev_major, stx->stx_rdev_minor),
		.blksize = stx->stx_blksize,
	};
}

void attr_timeout(double seconds, uint64_t *ret_sec, uint32_t *ret_nsec)
{
	*ret_sec = (uint64_t)seconds;
	*ret_nsec = (uint32_t)((seconds - (double)*ret_sec) * 1e9);
}

void attr_fill_out(const struct fs *fs, const struct statx *stx, struct fuse_attr_out *ret_out)
{
	*ret_out = (struct fuse_attr_out){ 0 };
	attr_timeout(fs->options.attr_timeout, &ret_out->attr_valid, &ret_out->attr_valid_nsec);
	attr_fill(stx, &ret_out->attr);
}

void attr_fill_entry(const struct fs *fs, const struct statx *stx, uint64_t nodeid,
		     uint64_t generation, struct fuse_entry_out *ret_entry)
{
	*ret_entry = (struct fuse_entry_out){ .nodeid = nodeid, .generation = generation };
	attr_timeout(fs->options.entry_timeout, &ret_entry->entry_valid,
		     &ret_entry->entry_valid_nsec);
	attr_timeout(fs->options.attr_timeout, &ret_entry->attr_valid, &ret_entry->attr_valid_nsec);
	attr_fill(stx, &ret_entry->attr);
}

/* ---- asking ---- */

/*
 * What a request is about: the open file that it names, or else the inode. The open file is worth
 * the trouble when it has no name any more, or when it is on a network filesystem.
 */
struct subject {
	struct handle *handle;
	struct inode_ref ref;
	int fd; /* of one of the two */
};
#define SUBJECT_NONE ((struct subject){ .handle = NULL, .ref = INODE_REF_NONE, .fd = -1 })

static void put_subject(struct subject *subject)
{
	if (subject->handle)
		handle_put(subject->handle);
	inode_ref_put(&subject->ref);
}
#define CLEANUP_SUBJECT __attribute__((cleanup(put_subject)))

static int get_subject(const struct request *request, bool has_fh, uint64_t fh,
		       struct subject *ret_subject)
{
	struct fs *fs = request->fs;
	int err;

	*ret_subject = SUBJECT_NONE;
	if (has_fh) {
		ret_subject->handle = handle_get(fs->handles, fh, HANDLE_FILE);
		if (!ret_subject->handle)
			ret_subject->handle = handle_get(fs->handles, fh, HANDLE_DIR);
	}
	if (ret_subject->handle) {
		ret_subject->fd = ret_subject->handle->fd;
		return 0;
	}
	err = inode_ref_get(fs->inodes, request->in.nodeid, &ret_subject->ref);
	ret_subject->fd = ret_subject->ref.fd;
	return err;
}

static int attr_of_request(const struct request *request, const struct fuse_getattr_in *in,
			   struct fuse_attr_out *ret_out)
{
	CLEANUP_SUBJECT struct subject subject;
	struct statx stx;
	int err = get_subject(request, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &subject);

	if (!err)
		err = attr_get(subject.fd, &stx);
	if (!err)
		attr_fill_out(request->fs, &stx, ret_out);
	return err;
}

void op_getattr(struct request *request)
{
	int err = attr_of_request(request, request->argument, &request->out.attr);

	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.attr));
}

static struct fuse_sx_time sx_time(const struct statx_timestamp *time)
{
	return (struct fuse_sx_time){ .tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec };
}

/* dev is the backing filesystem's: the kernel does not use it, and shows the mount's. */
static void fill_statx(const struct statx *stx, struct fuse_statx *ret_stat)
{
	*ret_stat = (struct fuse_statx){
		.mask = stx->stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
		.blksize = stx->stx_blksize,
		.attributes = stx->stx_attributes,
		.nlink = stx->stx_nlink,
		.uid = stx->stx_uid,
		.gid = stx->stx_gid,
		.mode = stx->stx_mode,
		.ino = stx->stx_ino,
		.size = stx->stx_size,
		.blocks = stx->stx_blocks,
		.attributes_mask = stx->stx_attributes_mask,
		.atime = sx_time(&stx->stx_atime),
		.btime = sx_time(&stx->stx_btime),
		.ctime = sx_time(&stx->stx_ctime),
		.mtime = sx_time(&stx->stx_mtime),
		.rdev_major = stx->stx_rdev_major,
		.rdev_minor = stx->stx_rdev_minor,
		.dev_major = stx->stx_dev_major,
		.dev_minor = stx->stx_dev_minor,
	};
}

static int statx_of_request(const struct request *request, const struct fuse_statx_in *in,
			    struct fuse_statx_out *ret_out)
{
	CLEANUP_SUBJECT struct subject subject;
	struct statx stx;
	int err = get_subject(request, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &subject);

	if (!err)
		err = stat_fd(subject.fd, (int)(in->sx_flags & AT_STATX_SYNC_TYPE),
			      in->sx_mask & (STATX_BASIC_STATS | STATX_BTIME), &stx);
	if (err)
		return err;
	*ret_out = (struct fuse_statx_out){ 0 };
	attr_timeout(request->fs->options.attr_timeout, &ret_out->attr_valid,
		     &ret_out->attr_valid_nsec);
	fill_statx(&stx, &ret_out->stat);
	return 0;
}

void op_statx(struct request *request)
{
	int err = statx_of_request(request, request->argument, &request->out.statx);

	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.statx));
}

/* fstatfs(2) takes an O_PATH descriptor since Linux 3.12. */
static int statfs_of_request(const struct request *request, struct fuse_kstatfs *ret_st)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	struct statfs st;
	int err = inode_ref_get(request->fs->inodes, request->in.nodeid, &ref);

	if (err)
		return err;
	if (fstatfs(ref.fd, &st) < 0)
		return -errno;
	*ret_st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.namelen = (uint32_t)st.f_namelen,
		.frsize = (uint32_t)st.f_frsize,
	};
	return 0;
}

void op_statfs(struct request *request)
{
	int err = statfs_of_request(request, &request->out.statfs.st);

	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.statfs));
}

/*
 * Asks the backing filesystem, as the caller and without the capabilities that would always say
 * yes. The caller's supplementary groups are not known here: who has a right only by one of them is
 * refused. The daemon's own user keeps what it has.
 */
static int access_as_caller(struct request *request, int fd, int mask)
{
	struct cred *cred = &request->worker->cred;
	const bool other = cred->can_switch && request->in.uid != cred->uid;
	int err = cred_assume(cred, &request->in, cred->umask);

	if (err)
		return err;
	if (other)
		cred_drop_dac(cred);
	if (faccessat(fd, "", mask, AT_EACCESS | AT_EMPTY_PATH) < 0)
		err = -errno;
	if (other)
		cred_raise_dac(cred);
	cred_restore(cred);
	return err;
}

static int attr_access(struct request *request, const struct fuse_access_in *in)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	int err = inode_ref_get(request->fs->inodes, request->in.nodeid, &ref);

	return err ? err : access_as_caller(request, ref.fd, (int)in->mask);
}

/* default_permissions is always on, and then the kernel decides by itself and does not ask. Should
 * it, the answer is an honest one. */
void op_access(struct request *request)
{
	request_reply_error(request, attr_access(request, request->argument));
}

/* ---- set-user-ID and set-group-ID ---- */

static bool keeps_sgid(const struct fuse_in_header *sender, const struct statx *stx)
{
	return (stx->stx_mode & (S_ISGID | S_IXGRP)) == S_ISGID &&
	       cred_is_in_group(sender, stx->stx_gid);
}

bool attr_take_set_ids(const struct fuse_in_header *sender, int fd, bool *ret_had_bits)
{
	struct statx stx;
	mode_t mode;
	int err = attr_get(fd, &stx);

	*ret_had_bits = !err && (stx.stx_mode & (S_ISUID | S_ISGID));
	if (err || (stx.stx_mode & (S_ISGID | S_IXGRP)) != S_ISGID)
		return false;
	mode = stx.stx_mode & 07777 & ~(mode_t)S_ISUID;
	if (!cred_is_in_group(sender, stx.stx_gid))
		mode &= ~(mode_t)S_ISGID;
	return mode == (stx.stx_mode & 07777) || fchmod(fd, mode) == 0;
}

/* fsgid stands for all groups of the sender, and is the file's where he is in that by another. */
int attr_begin_killing(struct request *request, int fd)
{
	struct cred *cred = &request->worker->cred;
	struct fuse_in_header sender = request->in;
	struct statx stx;
	int err = attr_get(fd, &stx);

	if (!err && keeps_sgid(&sender, &stx))
		sender.gid = stx.stx_gid;
	if (!err)
		err = cred_assume(cred, &sender, cred->umask);
	if (!err)
		cred_drop_fsetid(cred);
	return err;
}

void attr_end_killing(struct request *request)
{
	struct cred *cred = &request->worker->cred;

	cred_raise_fsetid(cred);
	cred_restore(cred);
}

/* ---- setting ---- */

/* Whether it is the kernel that wants to have the file as it was before a write that has failed,
 * see data.c, note_outcome(), and the file is: a truncation would change its times. */
static bool is_as_before(const struct request *request, struct handle *handle, uint64_t size)
{
	struct statx stx;

	return handle && atomic_exchange(&handle->refused, 0) == request->in.pid &&
	       request->in.pid && !attr_get(handle->fd, &stx) && stx.stx_size == size;
}

static int set_size(const struct request *request, const struct subject *subject, uint64_t size)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	struct handle *handle = subject->handle;
	int err;

	if (size > INT64_MAX)
		return -EFBIG;
	if (is_as_before(request, handle, size))
		return 0;
	if (handle && (handle->flags & O_ACCMODE) != O_RDONLY)
		return ftruncate(handle->fd, (off_t)size) < 0 ? -errno : 0;
	err = inode_ref_get(request->fs->inodes, request->in.nodeid, &ref);
	if (err)
		return err;
	return truncate(fs_proc_path(ref.fd).text, (off_t)size) < 0 ? -errno : 0;
}

static int set_owner(int fd, const struct fuse_setattr_in *in)
{
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Whether S_ISGID may be set was decided at the mount (Linux fs/attr.c, setattr_prepare()); with
 * CAP_FSETID nothing more is taken off here. */
static int set_mode(const struct fs *fs, int fd, mode_t mode)
{
	return fchmodat(fs->proc_self_fd, fs_proc_name(fd).text, mode & 07777, 0) < 0 ? -errno : 0;
}

static struct timespec time_to_set(uint32_t valid, uint32_t set, uint32_t now, uint64_t sec,
				   uint32_t nsec)
{
	if (!(valid & set))
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	if (valid & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	return (struct timespec){ .tv_sec = (time_t)sec, .tv_nsec = (long)nsec };
}

/* Through the magic link: utimensat(2) has AT_EMPTY_PATH since Linux 5.8 only. ctime cannot be
 * set, the backing filesystem keeps it (FATTR_CTIME comes with the write-back cache). */
static int set_times(const struct fs *fs, int fd, const struct fuse_setattr_in *in)
{
	const struct timespec times[2] = {
		time_to_set(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		time_to_set(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	return utimensat(fs->proc_self_fd, fs_proc_name(fd).text, times, 0) < 0 ? -errno : 0;
}

/*
 * With FUSE_HANDLE_KILLPRIV_V2 a SETATTR that sets nothing is what is left of one that was to take
 * set-uid and set-gid bits off: it comes for chown(-1, -1), and before a WRITE or FALLOCATE of such
 * a file by somebody without CAP_FSETID (Linux 6.18, fs/fuse/dir.c, fuse_setattr()).
 */
static bool sets_nothing(const struct fuse_setattr_in *in)
{
	return !(in->valid &
		 (FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_SIZE | FATTR_ATIME | FATTR_MTIME));
}

static bool has_bits_to_lose(const struct statx *stx, const struct fuse_in_header *sender)
{
	if (S_ISDIR(stx->stx_mode))
		return false;
	if (stx->stx_mode & S_ISUID)
		return true;
	return (stx->stx_mode & S_ISGID) && !keeps_sgid(sender, stx);
}

/*
 * A chown(-1, -1) of a set-uid file takes its owner; the kernel has not checked that (it would have
 * before it took the bits out of the change). A write takes an open file, which tells the two
 * apart: who asks while another writes there brings forward what that write does.
 */
static int check_may_clear(const struct request *request, const struct subject *subject)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	struct fs *fs = request->fs;
	struct statx stx;
	int err = attr_get(subject->fd, &stx);

	if (err)
		return err;
	if (request->in.uid == 0 || request->in.uid == stx.stx_uid ||
	    !has_bits_to_lose(&stx, &request->in))
		return 0;
	err = inode_ref_find(fs->inodes, request->in.nodeid, &ref);
	if (err)
		return err;
	return handle_has_writer(fs->handles, ref.inode) ? 0 : -EPERM;
}

/*
 * From root, who keeps set-uid and set-gid bits when writing, it comes when the file had
 * capabilities, which the kernel has taken off by a REMOVEXATTR (Linux 6.18, fs/inode.c,
 * file_remove_privs_flags()); nothing is left to do. A chown(-1, -1), by root too, takes the bits
 * off (fs/open.c, chown_common()).
 */
static bool is_of_a_write_by_root(const struct request *request)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	struct fs *fs = request->fs;

	return request->in.uid == 0 && !inode_ref_find(fs->inodes, request->in.nodeid, &ref) &&
	       handle_has_writer(fs->handles, ref.inode);
}

/* EPERM: an ordinary user's zcfs that does not own the file; its write will clear the bits. */
static int clear_bits(const struct request *request, const struct subject *subject,
		      const struct fuse_setattr_in *in)
{
	int err = check_may_clear(request, subject);

	if (err)
		return err;
	if (is_of_a_write_by_root(request))
		return 0;
	err = set_owner(subject->fd, in);
	return err == -EPERM ? 0 : err;
}

static int set_size_and_owner(const struct request *request, const struct subject *subject,
			      const struct fuse_setattr_in *in)
{
	int err = 0;

	if (sets_nothing(in))
		return clear_bits(request, subject, in);
	if (in->valid & FATTR_SIZE)
		err = set_size(request, subject, in->size);
	if (!err && (in->valid & (FATTR_UID | FATTR_GID)))
		err = set_owner(subject->fd, in);
	return err;
}

/*
 * Whether the change is to be made as the caller would, with his group and without CAP_FSETID. A
 * truncation takes set-uid and set-gid bits off when the caller lacks the capability, which the
 * kernel tells by the flag. A change of owner does so for root too, by itself, but for S_ISGID
 * without group execution: that one stays for who is in the file's group or has the capability.
 */
static bool must_kill(const struct request *request, const struct subject *subject,
		      const struct fuse_setattr_in *in)
{
	const bool other = request->in.uid != request->worker->cred.uid;
	struct statx stx;

	if (sets_nothing(in))
		return other;
	if (!(in->valid & FATTR_KILL_SUIDGID))
		return false;
	if (in->valid & FATTR_SIZE)
		return true;
	return other && !attr_get(subject->fd, &stx) && !keeps_sgid(&request->in, &stx);
}

static int set_killing(struct request *request, const struct subject *subject,
		       const struct fuse_setattr_in *in)
{
	int err = attr_begin_killing(request, subject->fd);

	if (err)
		return err;
	err = set_size_and_owner(request, subject, in);
	attr_end_killing(request);
	return err;
}

/* The size first, as only it can fail for want of space; the mode after the owner, whose change
 * takes bits off; the times last, as the others change them. */
static int attr_set(struct request *request, const struct subject *subject,
		    const struct fuse_setattr_in *in)
{
	int err;

	if (must_kill(request, subject, in))
		err = set_killing(request, subject, in);
	else
		err = set_size_and_owner(request, subject, in);
	if (!err && (in->valid & FATTR_MODE))
		err = set_mode(request->fs, subject->fd, in->mode);
	if (!err && (in->valid & (FATTR_ATIME | FATTR_MTIME)))
		err = set_times(request->fs, subject->fd, in);
	return err;
}

static int setattr_of_request(struct request *request, const struct fuse_setattr_in *in,
			      struct fuse_attr_out *ret_out)
{
	CLEANUP_SUBJECT struct subject subject;
	struct statx stx;
	int err = get_subject(request, in->valid & FATTR_FH, in->fh, &subject);

	if (!err)
		err = attr_set(request, &subject, in);
	if (!err)
		err = attr_get(subject.fd, &stx);
	if (!err)
		attr_fill_out(request->fs, &stx, ret_out);
	return err;
}

void op_setattr(struct request *request)
{
	int err = setattr_of_request(request, request->argument, &request->out.attr);

	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.attr));
}
