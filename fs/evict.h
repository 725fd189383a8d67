/* SPDX-License-Identifier: MIT */
#ifndef FS_EVICT_H
#define FS_EVICT_H

/*
 * A thread that asks the kernel to forget inodes, where each keeps a descriptor because it cannot
 * be opened by handle. It is a thread of its own because the kernel may wait for requests while it
 * forgets (notify.h).
 *
 * The FORGETs arrive on the workers, and free the descriptors there.
 */

struct inode_table;

/* After the last fork. Returns 0 or -errno. */
int evict_start(struct inode_table *table);
void evict_stop(struct inode_table *table);

/*
 * With the table's lock held, after an inode was added: wakes the thread when it gets crowded, and
 * waits a moment when there are too many. Bounded (100 ms), because what the kernel is using cannot
 * be evicted; the margin up to RLIMIT_NOFILE is for that. The lock is dropped while waiting.
 */
void evict_make_room(struct inode_table *table);

#endif
