/* SPDX-License-Identifier: MIT */
/*
 * What the kernel asks for and tells of locks (locks=forward).
 *
 * flock(2) belongs to an open file, and so does the backing descriptor of a handle: it is simply
 * passed on. A lock of fcntl(2) is taken on the descriptor of its owner.
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/file.h>

#include "fs.h"
#include "lock_waiter.h"
#include "ops.h"
#include "request.h"

/* ---- the lock of the wire ---- */

static bool is_range(const struct fuse_file_lock *lk)
{
	return lk->start <= lk->end && lk->end <= INT64_MAX;
}

/* INT64_MAX stands for the end of the file, wherever that may come to be. */
static struct flock to_flock(const struct fuse_file_lock *lk)
{
	return (struct flock){
		.l_type = (short)lk->type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lk->start,
		.l_len = lk->end == INT64_MAX ? 0 : (off_t)(lk->end - lk->start + 1),
	};
}

static uint64_t end_of(const struct flock *lock)
{
	return lock->l_len ? (uint64_t)(lock->l_start + lock->l_len - 1) : INT64_MAX;
}

static int to_operation(uint32_t type)
{
	switch (type) {
	case F_RDLCK:
		return LOCK_SH;
	case F_WRLCK:
		return LOCK_EX;
	default:
		return LOCK_UN;
	}
}

static bool is_type(uint32_t type)
{
	return type == F_RDLCK || type == F_WRLCK || type == F_UNLCK;
}

/* ---- setlk, setlkw ---- */

/* Everything that a lock request needs. Returns 0 or -errno; 1 when there is nothing to do. */
static int make_call(struct fs *fs, const struct fuse_lk_in *in, struct lock_call *ret_call)
{
	struct lock_call call = { .operation = to_operation(in->lk.type) };
	int err = 0;

	if (!is_type(in->lk.type) || !is_range(&in->lk))
		return -EINVAL;
	call.handle = handle_get(fs->handles, in->fh, HANDLE_FILE);
	if (!call.handle)
		return -EBADF;
	if (!(in->lk_flags & FUSE_LK_FLOCK)) {
		call.lock = to_flock(&in->lk);
		if (in->lk.type == F_UNLCK)
			call.owner = lock_owner_get(&fs->lock_owners,
						    inode_nodeid(call.handle->inode), in->owner);
		else
			err = lock_owner_make(fs, call.handle, in->owner, &call.owner);
		if (!call.owner) { /* who has no lock has none to drop */
			handle_put(call.handle);
			return err ? err : 1;
		}
		if (in->lk.type != F_UNLCK)
			atomic_store(&call.owner->pid, (pid_t)in->lk.pid);
	}
	*ret_call = call;
	return 0;
}

static void lock_file(struct request *request, bool wait)
{
	const struct fuse_lk_in in = *(const struct fuse_lk_in *)request->argument;
	struct fs *fs = request->fs;
	struct lock_call call;
	int err;

	if (fs->options.locks != LOCKS_FORWARD) {
		request_reply_error(request, -ENOSYS); /* INIT did not ask for it */
		return;
	}
	err = make_call(fs, &in, &call);
	if (err) {
		request_reply_error(request, err < 0 ? err : 0);
		return;
	}
	lock_take(request, &call, wait);
}

void op_setlk(struct request *request)
{
	lock_file(request, false);
}

void op_setlkw(struct request *request)
{
	lock_file(request, true);
}

/* ---- getlk ---- */

/*
 * Who has the lock that F_OFD_GETLK found. Of a process outside the mount the kernel gave the pid;
 * of an OFD lock it gives -1, and if that is one of ours, we know for whom we took it. 0 otherwise.
 */
static pid_t holder(struct fs *fs, uint64_t nodeid, uint64_t asking, const struct flock *lock)
{
	if (lock->l_pid >= 0)
		return lock->l_pid;
	return lock_owners_find_pid(&fs->lock_owners, nodeid, asking, (uint64_t)lock->l_start,
				    end_of(lock));
}

static int get_lock(struct fs *fs, const struct handle *handle, const struct fuse_lk_in *in,
		    struct fuse_file_lock *ret_lk)
{
	uint64_t nodeid = inode_nodeid(handle->inode);
	struct flock lock = to_flock(&in->lk);
	/* Without locks of its own every description answers the same. */
	struct lock_owner *owner = lock_owner_get(&fs->lock_owners, nodeid, in->owner);
	int err = fcntl(owner ? owner->fd : handle->fd, F_OFD_GETLK, &lock) < 0 ? -errno : 0;

	if (owner)
		lock_owner_put(&fs->lock_owners, owner);
	if (err)
		return err;
	*ret_lk = (struct fuse_file_lock){ .type = F_UNLCK };
	if (lock.l_type != F_UNLCK)
		*ret_lk = (struct fuse_file_lock){
			.start = (uint64_t)lock.l_start,
			.end = end_of(&lock),
			.type = (uint32_t)lock.l_type,
			.pid = (uint32_t)holder(fs, nodeid, in->owner, &lock),
		};
	return 0;
}

void op_getlk(struct request *request)
{
	const struct fuse_lk_in *in = request->argument;
	struct fs *fs = request->fs;
	struct handle *handle;
	int err;

	if (fs->options.locks != LOCKS_FORWARD) {
		request_reply_error(request, -ENOSYS);
		return;
	}
	if ((in->lk.type != F_RDLCK && in->lk.type != F_WRLCK) || !is_range(&in->lk)) {
		request_reply_error(request, -EINVAL);
		return;
	}
	handle = handle_get(fs->handles, in->fh, HANDLE_FILE);
	err = handle ? get_lock(fs, handle, in, &request->out.lk.lk) : -EBADF;
	if (handle)
		handle_put(handle);
	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.lk));
}

/* ---- flush, release ---- */

void lock_flush(struct fs *fs, const struct handle *handle, uint64_t owner)
{
	if (fs->options.locks == LOCKS_FORWARD)
		lock_owners_flush(&fs->lock_owners, inode_nodeid(handle->inode), owner);
}

void lock_release(struct fs *fs, const struct handle *handle, bool has_flock)
{
	if (fs->options.locks != LOCKS_FORWARD)
		return;
	/* The descriptor may live on for a moment, in a request that still uses it. */
	if (has_flock)
		(void)flock(handle->fd, LOCK_UN);
	lock_owners_release(&fs->lock_owners, inode_nodeid(handle->inode), handle->id);
}
