/* SPDX-License-Identifier: MIT */
#include "notify.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <fcntl.h>

#include "attr.h"
#include "cleanup.h"
#include "fs.h"
#include "fuse_kernel.h"
#include "inode.h"
#include "log.h"
#include "ops.h"
#include "request.h"

/* The kernel counts its own from 2 up by 2, and an odd one is an interrupt (Linux 6.18
 * fs/fuse/fuse_dev_i.h). A reply is found by its number: no two may be under way with the same. */
#define RETRIEVE_FIRST (UINT64_C(1) << 62)
#define RETRIEVE_STEP  2
#define RETRIEVE_TRIES 16 /* the kernel may have forgotten a file that is still in our table */

/* The kernel tells a notification from a reply by unique == 0; error then holds the code. */
static int notify(struct fs *fs, int code, struct iovec *parts, int count)
{
	struct fuse_out_header header = { .len = sizeof(header), .error = code, .unique = 0 };

	for (int i = 1; i < count; i++)
		header.len += (uint32_t)parts[i].iov_len;
	parts[0] = (struct iovec){ &header, sizeof(header) };
	return writev(fs->device_fd, parts, count) < 0 ? -errno : 0;
}

static int prune(struct fs *fs, const uint64_t *nodeids, unsigned count)
{
	struct fuse_notify_prune_out out = { .count = count };
	struct iovec parts[3] = {
		[1] = { &out, sizeof(out) },
		[2] = { (void *)(uintptr_t)nodeids, count * sizeof(*nodeids) },
	};

	return notify(fs, FUSE_NOTIFY_PRUNE, parts, 3);
}

/*
 * The path that /proc shows for a descriptor is used as a hint only: a wrong one costs the kernel a
 * name that it looks up again, nothing else.
 */
static int invalidate_entry(struct fs *fs, uint64_t nodeid)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	struct fuse_notify_inval_entry_out out = { 0 };
	CLEANUP_FD int parent_fd = -1;
	char path[PATH_MAX];
	struct statx stx;
	ssize_t length;
	char *name;
	int err;

	err = inode_ref_get(fs->inodes, nodeid, &ref);
	if (err)
		return err;
	length = readlink(fs_proc_path(ref.fd).text, path, sizeof(path) - 1);
	if (length <= 0)
		return -ENOENT;
	path[length] = '\0';
	name = strrchr(path, '/');
	if (!name || name == path)
		return -ENOENT;
	*name++ = '\0';
	parent_fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (parent_fd < 0)
		return -errno;
	err = attr_get(parent_fd, &stx);
	if (err)
		return err;
	out.parent = inode_find(fs->inodes, &stx);
	out.namelen = (uint32_t)strlen(name);
	inode_ref_put(&ref); /* or the FORGET would not free it */

	struct iovec parts[3] = {
		[1] = { &out, sizeof(out) },
		[2] = { name, out.namelen + 1 },
	};
	return out.parent ? notify(fs, FUSE_NOTIFY_INVAL_ENTRY, parts, 3) : -ENOENT;
}

void notify_forget(struct fs *fs, const uint64_t *nodeids, unsigned count)
{
	if (fs->device_fd < 0 || !atomic_load(&fs->connection.initialised))
		return;
	if (fs->connection.minor >= 45) {
		int err = prune(fs, nodeids, count);

		if (err != -EINVAL && err != -ENOSYS) {
			log_debug("asked the kernel to forget %u inodes: %s", count,
				  strerror(-err));
			return;
		}
	}
	for (unsigned i = 0; i < count; i++)
		invalidate_entry(fs, nodeids[i]);
}

void notify_inval_attr(struct fs *fs, uint64_t nodeid)
{
	struct fuse_notify_inval_inode_out out = { .ino = nodeid, .off = -1 };
	struct iovec parts[2] = { [1] = { &out, sizeof(out) } };
	int err = notify(fs, FUSE_NOTIFY_INVAL_INODE, parts, 2);

	if (err)
		log_debug("attributes of inode %" PRIu64 " stay: %s", nodeid, strerror(-err));
}

static int retrieve(struct fs *fs, uint64_t nodeid)
{
	struct fuse_notify_retrieve_out out = {
		.notify_unique =
			RETRIEVE_FIRST + RETRIEVE_STEP * atomic_fetch_add(&fs->retrieved, 1),
		.nodeid = nodeid,
	};
	struct iovec parts[2] = { [1] = { &out, sizeof(out) } };

	return notify(fs, FUSE_NOTIFY_RETRIEVE, parts, 2);
}

/* An open file is known to the kernel for sure, one that was looked up just now maybe not yet. */
int notify_retrieve(struct fs *fs)
{
	uint64_t nodeids[RETRIEVE_TRIES];
	unsigned n = handle_find_open(fs->handles, nodeids, RETRIEVE_TRIES / 2);
	int err = -ENOENT;

	n += inode_find_regular(fs->inodes, nodeids + n, RETRIEVE_TRIES - n);
	for (unsigned i = 0; i < n && err == -ENOENT; i++)
		err = retrieve(fs, nodeids[i]);
	return err;
}

/* What notify_retrieve() asked for. */
void op_notify_reply(struct request *request)
{
	request_finish(request);
}
