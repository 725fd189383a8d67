/* SPDX-License-Identifier: MIT */
#ifndef FS_NOTIFY_H
#define FS_NOTIFY_H

/* Messages to the kernel that no request asked for. */

#include <stdint.h>

struct fs;

/*
 * Asks the kernel to let go of inodes that nobody is using: FUSE_NOTIFY_PRUNE (Linux 6.18), or
 * FUSE_NOTIFY_INVAL_ENTRY for the name under which each is known just now. What it does forget
 * comes back as FORGET. Never from a request worker: the kernel may take the lock of a directory
 * that a request being served holds, and may write pages back first.
 */
void notify_forget(struct fs *fs, const uint64_t *nodeids, unsigned count);

/*
 * Tells the kernel that the attributes which it has of an inode are too old, and nothing of its
 * pages: FUSE_NOTIFY_INVAL_INODE. For an inode that a request being served is about, by that
 * request's worker: the kernel holds it meanwhile, and takes no lock that could wait.
 */
void notify_inval_attr(struct fs *fs, uint64_t nodeid);

/*
 * Has the kernel send a request that nobody waits for, NOTIFY_REPLY without data, to the queue of
 * the CPU that the caller runs on: FUSE_NOTIFY_RETRIEVE of nothing (Linux 6.18 fs/fuse/dev.c,
 * fuse_retrieve()). A request of the usual kind would have to be waited for in the kernel, and who
 * waits there when zcfs is killed keeps /dev/fuse open, so that neither ends. Any thread once the
 * connection is up. Returns 0 or -errno; -ENOENT when the kernel has no regular file in its memory,
 * which is what it wants for this.
 */
int notify_retrieve(struct fs *fs);

#endif
