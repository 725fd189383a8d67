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

#endif
