/* SPDX-License-Identifier: MIT */
#ifndef FS_LOCK_H
#define FS_LOCK_H

/*
 * Locks that are taken on the backing files (locks=forward): flock(2), and fcntl(2) locks of both
 * kinds. See lock.c.
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
struct lock_waiters;

/*
 * The lock owners of one mount, and the threads that wait for locks. Installs a handler for SIGUSR1
 * that does nothing, which is what ends a wait. Returns 0 or -ENOMEM.
 */
int lock_waiters_new(struct fs *fs, struct lock_waiters **ret_waiters);

/*
 * Answers all who wait with -ENOTCONN and joins their threads; later requests that would wait get
 * the same answer. To be called while the device can still take replies, before the handle table
 * goes. NULL is allowed.
 */
void lock_waiters_stop(struct lock_waiters *waiters);

/* Stops, drops the locks that are left, and frees. Nobody calls anything here any more. NULL is
 * allowed. */
void lock_waiters_free(struct lock_waiters *waiters);

/* FLUSH: the POSIX locks that this owner has on the file are gone. */
void lock_flush(struct fs *fs, const struct handle *handle, uint64_t owner);

/* RELEASE: what was locked through this handle is unlocked; also its flock when has_flock is set.
 */
void lock_release(struct fs *fs, const struct handle *handle, bool has_flock);

#endif
