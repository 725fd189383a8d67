/* SPDX-License-Identifier: MIT */
#ifndef FS_LOCK_WAITER_H
#define FS_LOCK_WAITER_H

/*
 * Taking a lock, which may mean to wait for it: at once on the worker, or else, on the detached
 * request, in a thread of its own, which FUSE_INTERRUPT and the end of the mount can wake. See
 * lock_waiter.c.
 *
 * Thread: any.
 */

#include <fcntl.h>
#include <stdbool.h>

struct fs;
struct handle;
struct lock_owner;
struct lock_waiters;
struct request;

/* A lock request, taken out of the message. */
struct lock_call {
	struct handle *handle; /* a reference */
	struct lock_owner *owner; /* a reference; NULL for a flock */
	int operation; /* of flock(2), without LOCK_NB */
	struct flock lock; /* of fcntl(2) */
};

/*
 * The threads of one mount that wait for locks. Installs a handler for SIGUSR1 that does nothing,
 * which is what ends a wait. Returns 0 or -ENOMEM.
 */
int lock_waiters_new(struct fs *fs, struct lock_waiters **ret_waiters);

/*
 * Answers all who wait with -ENOTCONN and joins their threads; later requests that would wait get
 * the same answer. To be called while the device can still take replies, before the handle table
 * goes. NULL is allowed.
 */
void lock_waiters_stop(struct lock_waiters *waiters);

/* Stops, and frees. Nobody calls anything here any more. NULL is allowed. */
void lock_waiters_free(struct lock_waiters *waiters);

/*
 * Does what the call says, takes the lock or drops it, and replies; takes the references in the
 * call over. A lock that is not free is waited for elsewhere, and without wait the reply is
 * -EAGAIN. A wait may end with -EINTR (FUSE_INTERRUPT), -ENOTCONN (stopped), -ENOLCK (too many
 * wait, no thread or timer) or -ENOMEM.
 */
void lock_take(struct request *request, struct lock_call *call, bool wait);

#endif
