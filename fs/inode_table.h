/* SPDX-License-Identifier: MIT */
#ifndef FS_INODE_TABLE_H
#define FS_INODE_TABLE_H

/*
 * The insides of the inode table: two hash tables and a list, for inode.c and evict.c alone.
 *
 * The caller of every function here holds table->lock. None of them makes a system call:
 * descriptors and inodes that are no longer needed are handed out, to be closed and freed without
 * the lock.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fhandle.h"
#include "passthrough.h"

struct fs;

#define INODE_TABLE_BUCKETS_MIN 1024

/* What the kernel was told of the content, see inode_data_unchanged(). */
struct data_version {
	bool known;
	struct statx_timestamp mtime;
	struct statx_timestamp ctime;
	uint64_t size;
};

struct inode_key {
	dev_t dev;
	ino_t ino;
	uint64_t mount_id;
};

struct inode {
	uint64_t nodeid;
	struct inode_key key;
	mode_t type;

	/* Under the table's lock. */
	uint64_t nlookup;
	unsigned refs; /* struct inode_ref that point here */
	unsigned holds; /* open handles and their like */
	bool named; /* in the identity table */
	bool pinned; /* its descriptor is not a cache: never closed before the end */
	bool cached; /* in the LRU list */
	int fd; /* O_PATH, -1 when closed */
	struct data_version data;
	struct inode *next_by_id;
	struct inode *next_by_key;
	struct inode *older, *newer; /* LRU */

	struct passthrough_inode passthrough; /* passthrough.c's */

	_Atomic uint64_t fh; /* see inode_note_handle() */

	const struct fhandle_mount *mount; /* NULL: no handle */
	struct file_handle *handle;
};

struct inode_table {
	struct fs *fs;
	unsigned fd_limit;
	bool by_handle; /* the daemon may use open_by_handle_at(2) at all */
	struct inode *root;

	pthread_mutex_t lock; /* a leaf */
	uint64_t next_nodeid;
	uint64_t count;
	uint64_t fd_count;
	uint64_t kept_count; /* of them, those of inodes without a handle: only the kernel's FORGET
				frees them */
	size_t bucket_count; /* a power of two; of both tables */
	struct inode **by_id;
	struct inode **by_key;
	struct inode *oldest, *newest; /* LRU of descriptors that can be closed, or whose inodes can
					  be forgotten */
	struct fhandle_mounts mounts;

	/* The thread that asks the kernel to forget. */
	pthread_t evictor;
	bool evictor_runs;
	bool evict_now; /* a round is wanted, however few there are */
	bool evict_in_vain; /* its last round brought nothing */
	bool stopping;
	pthread_cond_t crowded; /* an inode without a handle was added, or stopping */
	pthread_cond_t roomier; /* fd_count went down */
};

/* Of what was asked with ATTR_STATX_MASK. */
struct inode_key inode_key_of(const struct statx *stx);

/* The inode with this node id, or this key, or NULL. */
struct inode *table_find(struct inode_table *table, uint64_t nodeid);
struct inode *table_find_key(struct inode_table *table, const struct inode_key *key);

/* See inode_find_regular(). */
unsigned table_find_regular(struct inode_table *table, uint64_t *ret_nodeids, unsigned count);

/* Puts a new inode in and gives it its node id. */
void table_insert(struct inode_table *table, struct inode *inode);

/* Another file has its number now: it is found by its node id only. */
void table_unname(struct inode_table *table, struct inode *inode);

/* Takes the inode out if nobody needs it any more, and returns it with its descriptor (or -1); else
 * NULL and -1. */
struct inode *table_reap(struct inode_table *table, struct inode *inode, int *ret_fd);

/* Neither referenced nor held. */
bool inode_is_idle(const struct inode *inode);

/* Gives the inode its descriptor. */
void table_set_fd(struct inode_table *table, struct inode *inode, int fd);

/* Moves it to the young end of the list of descriptors that may be closed, or takes it off that
 * list. */
void table_touch(struct inode_table *table, struct inode *inode);
void table_uncache(struct inode_table *table, struct inode *inode);

/* The descriptor of the oldest idle inode that can be opened again, taken from it; -1 when there is
 * none. */
int table_idle_fd(struct inode_table *table);

/* A descriptor to be closed, taken from the oldest idle inode; -1 when there are not too many, or
 * all are in use. */
int table_surplus_fd(struct inode_table *table);

#endif
