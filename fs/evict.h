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

#include <stdbool.h>

struct inode_table;

/* After the last fork. Returns 0 or -errno. */
int evict_start(struct inode_table *table);
void evict_stop(struct inode_table *table);

/* With the table's lock held: whether the thread has something to do. */
bool evict_is_due(const struct inode_table *table);

/*
 * With the table's lock held, after an inode was added: wakes the thread when it gets crowded, and
 * waits a moment when there are too many. Bounded (20 ms), because what the kernel is using cannot
 * be evicted; the margin up to RLIMIT_NOFILE is for that. The lock is dropped while waiting.
 */
void evict_make_room(struct inode_table *table);

/*
 * The same when there are too many for RLIMIT_NOFILE, whatever the table's own limit. Also the
 * descriptors of files that have lost their last name (inode_pin()) are waited for: their FORGETs
 * are on the way, and who removes a tree may be faster.
 */
void evict_now(struct inode_table *table);

#endif
