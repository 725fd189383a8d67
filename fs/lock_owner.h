/* SPDX-License-Identifier: MIT */
#ifndef FS_LOCK_OWNER_H
#define FS_LOCK_OWNER_H

/*
 * Who has POSIX and OFD locks on files of the mount, and the descriptors that carry them.
 *
 * A POSIX lock belongs to a process, and to the kernel zcfs is one process, whose locks never
 * conflict with each other and all fall with any close(2). So each owner has, for each file that it
 * locks, an open file description of its own, and takes OFD locks on it (F_OFD_SETLK, Linux 3.15),
 * which conflict with POSIX locks of others as they should. Not carried over: the kernel detects
 * deadlocks among POSIX locks only (EDEADLK).
 *
 *     struct lock_owner    (file, owner of the kernel's) -> descriptor; in a hash by file
 *         made by the first lock request
 *         ended by FLUSH of that owner, or by RELEASE of the handle through which it was made: then
 *         it was the owner of OFD locks, for which no FLUSH comes, because the FLUSH of a POSIX
 *         owner precedes every RELEASE of what it had open
 *
 * Its descriptor is closed, and its locks so dropped, with the last reference: a request in
 * progress has one. It holds neither the inode nor the handle.
 *
 * Thread: any.
 */

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

struct fs;
struct handle;

#define LOCK_OWNER_BUCKETS 256

struct lock_owner {
	uint64_t nodeid; /* of the file */
	uint64_t owner; /* the kernel's number for the process, or the open file */
	uint64_t fh; /* the handle through which it was made */
	int fd; /* its own open file description */
	_Atomic pid_t pid; /* who last locked, for F_GETLK; the caller's to set */

	/* The table's. */
	unsigned users; /* the table is one of them */
	struct lock_owner *next;
};

struct lock_owners {
	pthread_mutex_t lock; /* a leaf; guards what follows, and what is the table's of each */
	struct lock_owner *buckets[LOCK_OWNER_BUCKETS];
};

void lock_owners_init(struct lock_owners *owners);

/* Drops the locks that are left. Nobody has a reference any more (asserted). */
void lock_owners_fini(struct lock_owners *owners);

/* A reference to the owner with the kernel's number, or NULL when it has no lock on the file. */
struct lock_owner *lock_owner_get(struct lock_owners *owners, uint64_t nodeid, uint64_t number);

/*
 * The same for the file of the handle; an owner that is not known yet is made, for which the file
 * is opened. Returns 0 or -errno (-ENOLCK when descriptors have run out, -ENOMEM), and then NULL.
 */
int lock_owner_make(struct fs *fs, const struct handle *handle, uint64_t number,
		    struct lock_owner **ret_owner);

/* May close the descriptor. */
void lock_owner_put(struct lock_owners *owners, struct lock_owner *owner);

/* FLUSH: the owner's locks on the file end; where a request still uses it, with that request. */
void lock_owners_flush(struct lock_owners *owners, uint64_t nodeid, uint64_t number);

/* RELEASE: the same for all owners that were made through the handle. */
void lock_owners_release(struct lock_owners *owners, uint64_t nodeid, uint64_t fh);

/*
 * For whom an owner, other than the one asking, has a lock that overlaps the bytes from first to
 * last: a pid, or 0 when it is none of ours. Reads /proc/self/fdinfo.
 */
pid_t lock_owners_find_pid(struct lock_owners *owners, uint64_t nodeid, uint64_t asking,
			   uint64_t first, uint64_t last);

#endif
