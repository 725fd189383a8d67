/* SPDX-License-Identifier: MIT */
#ifndef FS_LOCK_H
#define FS_LOCK_H

/*
 * Locks that are taken on the backing files (locks=forward): flock(2), and fcntl(2) locks of both
 * kinds. Who has them is in lock_owner.h, and who waits for one in lock_waiter.h.
 *
 * The kernel tells of a lock's end by FLUSH (a process closed a descriptor: its POSIX locks on that
 * file are gone) and by RELEASE (the open file is gone, and its flock and OFD locks with it), so
 * file.c passes these on.
 *
 * Thread: any.
 */

#include <stdbool.h>
#include <stdint.h>

struct fs;
struct handle;

/* FLUSH: the POSIX locks that this owner has on the file are gone. */
void lock_flush(struct fs *fs, const struct handle *handle, uint64_t owner);

/* RELEASE: what was locked through this handle is unlocked; also its flock when has_flock is set.
 */
void lock_release(struct fs *fs, const struct handle *handle, bool has_flock);

#endif
