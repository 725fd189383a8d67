/* SPDX-License-Identifier: MIT */
/*
 * Reading directories.
 *
 * The kernel reads a directory in pieces and names the place to go on from by the d_off that we
 * gave it with the last entry it took: the backing filesystem's own, opaque and good for lseek(2)
 * on any descriptor of that directory. So telldir, seekdir and rewinddir work across the mount, and
 * entries that come or go meanwhile do what they do natively.
 *
 *     getdents64(2) --> handle->dirents --> fuse_dirent or fuse_direntplus in the payload
 *                       (what did not fit stays for the next request)
 *
 * handle->position is where the kernel goes on if it took everything. A request for any other place
 * (a seek, or a reply that it took only in part) drops what is buffered and seeks.
 *
 * READDIRPLUS counts a lookup for each entry that it describes. The kernel takes the count of every
 * entry in the reply, also of those that did not fit into its caller's buffer, so the rule is:
 * first room, then the lookup, and what was looked up is in the reply.
 *
 * Lock order: handle->lock, then the inode table's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs.h"
#include "names.h"
#include "ops.h"
#include "pool/ring.h"
#include "request.h"
#include "worker.h"

#define DIRENTS_SIZE 32768

/* What getdents64(2) gives: struct linux_dirent64 of the manual page. */
struct record {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/* A reply in the making. */
struct listing {
	struct fs *fs;
	struct handle *handle;
	struct inode_ref dir; /* with plus only */
	const char *hidden; /* a name that is not listed here, or NULL */
	char *data;
	size_t size; /* bytes that may be used */
	size_t used;
};

/* ---- opendir, releasedir, fsyncdir ---- */

static uint32_t open_flags(const struct fs *fs)
{
	return fs->options.cache == CACHE_ALWAYS ? FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE : 0;
}

/* O_NOATIME is refused to who does not own the directory: an ordinary user's zcfs does without. */
static int open_backing(struct fs *fs, const struct inode_ref *ref, int *flags)
{
	int fd = inode_open(fs->inodes, ref, *flags);

	if (fd == -EPERM && (*flags & O_NOATIME)) {
		*flags &= ~O_NOATIME;
		fd = inode_open(fs->inodes, ref, *flags);
	}
	return fd;
}

static int noatime_flag(const struct fs *fs)
{
	return fs->options.nodiratime ? O_NOATIME : fs_noatime_flag(fs);
}

static int dir_open(struct fs *fs, uint64_t nodeid, uint32_t caller_flags,
		    struct fuse_open_out *ret_open)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	int flags = O_RDONLY | O_DIRECTORY | ((int)caller_flags & O_NOATIME) | noatime_flag(fs);
	int err = inode_ref_get(fs->inodes, nodeid, &ref);
	int fd;

	if (err)
		return err;
	if (!S_ISDIR(inode_type(ref.inode)))
		return -ENOTDIR;
	fd = open_backing(fs, &ref, &flags);
	if (fd < 0)
		return fd;
	*ret_open = (struct fuse_open_out){ .open_flags = open_flags(fs) };
	err = handle_add(fs->handles, HANDLE_DIR, ref.inode, fd, flags, &ret_open->fh);
	if (err)
		close(fd);
	return err;
}

void op_opendir(struct request *request)
{
	const struct fuse_open_in *in = request->argument;
	int err = dir_open(request->fs, request->in.nodeid, in->flags, &request->out.open);

	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.open));
}

void op_releasedir(struct request *request)
{
	const struct fuse_release_in *in = request->argument;

	handle_release(request->fs->handles, in->fh, HANDLE_DIR);
	request_reply_error(request, 0);
}

static void synced(struct ring_op *op, int result)
{
	struct request *request = (struct request *)((char *)op - offsetof(struct request, op));

	handle_put(request->handle);
	request_reply_error(request, result);
}

void op_fsyncdir(struct request *request)
{
	const struct fuse_fsync_in *in = request->argument;
	bool datasync = in->fsync_flags & FUSE_FSYNC_FDATASYNC;

	request->handle = handle_get(request->fs->handles, in->fh, HANDLE_DIR);
	if (!request->handle) {
		request_reply_error(request, -EBADF);
		return;
	}
	request->op.done = synced;
	ring_submit_fsync(request->worker->ring, &request->op, request->handle->fd, datasync);
}

/* ---- what was read of the backing directory; handle->lock is held ---- */

/*
 * Goes to where the kernel wants to go on. Offset 0 always reads anew: rewinddir(3) promises the
 * present state.
 */
static int seek_to(struct handle *handle, int64_t offset)
{
	if (offset == handle->position && offset != 0)
		return 0;
	handle->dirents_size = handle->dirents_next = 0;
	if (lseek(handle->fd, offset, SEEK_SET) < 0) {
		int err = -errno;

		handle->position = 0; /* unknown: the next request seeks whatever it asks for */
		return err;
	}
	handle->position = offset;
	return 0;
}

/* Reads on when nothing is left. Returns whether there is a record, or -errno. */
static int refill(struct handle *handle)
{
	long n;

	if (handle->dirents_next < handle->dirents_size)
		return 1;
	if (!handle->dirents)
		handle->dirents = malloc(DIRENTS_SIZE);
	if (!handle->dirents)
		return -ENOMEM;
	handle->dirents_size = handle->dirents_next = 0;
	n = syscall(SYS_getdents64, handle->fd, handle->dirents, DIRENTS_SIZE);
	if (n < 0)
		return -errno;
	handle->dirents_size = (size_t)n;
	return n > 0;
}

static const struct record *peek(const struct handle *handle)
{
	return (const struct record *)(handle->dirents + handle->dirents_next);
}

static void skip(struct handle *handle)
{
	handle->dirents_next += peek(handle)->reclen;
}

/* ---- entries ---- */

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Writes a dirent of size bytes, padding included, to data. */
static void put_dirent(char *data, size_t size, const struct record *record)
{
	struct fuse_dirent *dirent = (struct fuse_dirent *)data;
	size_t length = strlen(record->name);

	*dirent = (struct fuse_dirent){
		.ino = record->ino,
		.off = (uint64_t)record->off,
		.namelen = (uint32_t)length,
		.type = record->type,
	};
	memcpy(dirent->name, record->name, length);
	memset(dirent->name + length, 0, size - FUSE_NAME_OFFSET - length);
}

static size_t dirent_size(const struct record *record)
{
	return FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + strlen(record->name));
}

/*
 * Adds a record to the reply. Returns false when there is no room.
 *
 * An entry that cannot be looked up (it went away just now, is not ours to enter, or there are too
 * many inodes already) is listed without its attributes: node id 0 tells the kernel so, and whoever
 * stats it looks it up, or gets the error. "." and ".." never have any: the kernel takes no lookup
 * for them.
 */
static bool add_record(struct listing *listing, const struct record *record, bool plus)
{
	const size_t entry_size = plus ? sizeof(struct fuse_entry_out) : 0;
	const size_t size = dirent_size(record);
	char *data = listing->data + listing->used;

	if (listing->size - listing->used < entry_size + size)
		return false;
	if (plus) {
		struct fuse_entry_out entry = { .nodeid = 0 };

		if (!is_dots(record->name) && !inode_table_is_crowded(listing->fs->inodes) &&
		    names_lookup(listing->fs, &listing->dir, record->name, &entry))
			entry = (struct fuse_entry_out){ .nodeid = 0 };
		memcpy(data, &entry, sizeof(entry));
	}
	put_dirent(data + entry_size, size, record);
	listing->used += entry_size + size;
	return true;
}

static bool is_hidden(const struct listing *listing, const struct record *record)
{
	return listing->hidden && !strcmp(record->name, listing->hidden);
}

/*
 * Fills the reply. An error that comes after the first entry is left for the next request, which
 * meets it again. Returns 0 or -errno; -EINVAL when not even one entry fits, as getdents64(2).
 */
static int fill(struct listing *listing, bool plus)
{
	struct handle *handle = listing->handle;

	for (;;) {
		const struct record *record;
		int more = refill(handle);

		if (more < 0)
			return listing->used ? 0 : more;
		if (!more)
			return 0;
		record = peek(handle);
		if (!is_hidden(listing, record)) {
			if (!add_record(listing, record, plus))
				return listing->used ? 0 : -EINVAL;
			handle->position = record->off;
		}
		skip(handle);
	}
}

/* ---- readdir, readdirplus ---- */

/* The control directory shadows a backing entry of its name, and is not listed itself. */
static const char *hidden_name(const struct fs *fs, const struct handle *handle)
{
	return inode_nodeid(handle->inode) == FUSE_ROOT_ID ? fs->options.control : NULL;
}

static int dir_read(struct listing *listing, int64_t offset, bool plus)
{
	struct handle *handle = listing->handle;
	int err = 0;

	if (plus)
		err = inode_ref_again(listing->fs->inodes, handle->inode, &listing->dir);
	if (err)
		return err;
	pthread_mutex_lock(&handle->lock);
	err = seek_to(handle, offset);
	if (!err)
		err = fill(listing, plus);
	pthread_mutex_unlock(&handle->lock);
	inode_ref_put(&listing->dir);
	return err;
}

static void reply_listing(struct request *request, bool plus)
{
	const struct fuse_read_in in = *(const struct fuse_read_in *)request->argument;
	struct fs *fs = request->fs;
	struct handle *handle = handle_get(fs->handles, in.fh, HANDLE_DIR);
	struct listing listing = {
		.fs = fs,
		.handle = handle,
		.dir = INODE_REF_NONE,
		.data = request_payload(request),
		.size = request_payload_size(request),
	};
	int err;

	if (!handle) {
		request_reply_error(request, -EBADF);
		return;
	}
	if (in.size < listing.size)
		listing.size = in.size;
	listing.hidden = hidden_name(fs, handle);
	err = dir_read(&listing, (int64_t)in.offset, plus);
	handle_put(handle);
	if (err)
		request_reply_error(request, err);
	else
		request_reply_payload(request, listing.used);
}

void op_readdir(struct request *request)
{
	reply_listing(request, false);
}

void op_readdirplus(struct request *request)
{
	reply_listing(request, true);
}
