/* SPDX-License-Identifier: MIT */
#ifndef FS_FS_H
#define FS_FS_H

/* Everything of one mount. Made by fs_new() before threads start, freed after they ended. */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "handle.h"
#include "inode.h"
#include "interrupt.h"
#include "lock_owner.h"
#include "options.h"
#include "passthrough.h"
#include "refusal.h"
#include "stats.h"

struct copier;
struct lock_waiters;
struct transport_uring;
struct worker;

#define FS_DOWNGRADES 16

/* Something the machine lacks, and what that means. */
struct fs_downgrade {
	const char *what; /* a constant: "registered buffers" */
	char why[160];
};

/* What INIT settled. Written by op_init() before any other request is served. */
struct fs_connection {
	atomic_bool initialised;
	uint32_t minor; /* the kernel's protocol is 7.minor */
	uint64_t offered; /* FUSE_* INIT flags of the kernel */
	uint64_t taken;
	uint32_t max_readahead; /* bytes */
	uint32_t max_write; /* bytes */
	uint32_t max_pages;
};

struct fs {
	struct options options;
	uid_t owner; /* who mounted */
	bool root; /* running with uid 0 */
	cpu_set_t cpus; /* that the process may use; none when there are too many to tell */

	struct fs_connection connection;
	struct inode_table *inodes;
	struct handle_table *handles;
	struct copier *copier;
	struct lock_waiters *lock_waiters;
	struct transport_uring *uring; /* NULL where /dev/fuse serves alone */
	struct interrupt_table interrupts;
	struct lock_owners lock_owners;
	struct refusals refusals;
	struct passthrough passthrough;
	struct stats stats;
	struct timespec started; /* CLOCK_REALTIME */

	int device_fd; /* /dev/fuse, for notifications and backing ids; -1 before the mount */
	_Atomic uint64_t retrieved; /* how often notify_retrieve() was called, for its numbers */
	int proc_self_fd; /* directory /proc/self/fd: reopening an inode without a path of the
			     backing tree */

	/*
	 * Where the mount point lies inside the backing directory: what is under the mount, opened
	 * before mounting, and the mount's device. A lookup that would enter our own mount (and
	 * wait for ourselves) gets the directory below it instead.
	 */
	int covered_fd; /* O_PATH, -1 when the mount point is elsewhere */
	dev_t self_device; /* of the mount, 0 when it does not matter */

	/* lock guards what follows; a leaf, taken for moments. */
	pthread_mutex_t lock;
	struct fs_downgrade downgrades[FS_DOWNGRADES];
	unsigned downgrade_count;
	struct worker *workers; /* all that exist now */
	unsigned worker_count;
	uint64_t enters_of_gone; /* ring_enters() of workers that ended */
};

/*
 * Takes the options over, opens the backing directory's inode and handle tables. backing_fd (O_PATH
 * directory) is taken over on success. Returns 0 or -errno.
 */
int fs_new(const struct options *options, int backing_fd, struct fs **ret_fs);

/*
 * Opens and starts what belongs to the process that will serve: to be called after the last fork
 * (fuse_daemonize()), with device_fd set. Returns 0 or -errno (-ENOENT without /proc).
 */
int fs_after_fork(struct fs *fs);

/* Frees it all; no thread uses it any more. NULL is allowed. */
void fs_free(struct fs *fs);

/* Notes a downgrade: the first time that what is missing, it is logged and kept for the status. Any
 * thread. */
void fs_downgrade(struct fs *fs, const char *what, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * O_NOATIME when the access times of backing files are to stay as they are, else 0. The kernel
 * leaves them to us (S_NOATIME, Linux fs/fuse/inode.c, fuse_iget()), whatever the mount says:
 * with noatime, or read-only, where a local filesystem would not write them either.
 */
int fs_noatime_flag(const struct fs *fs);

/*
 * Lets the calling thread run on every CPU that the process may use. A thread begins with the CPUs
 * of the one that starts it (pthread_create(3)), and a worker of io_uring has one: whoever is
 * started by a worker, and does not serve its queue, calls this.
 */
void fs_run_anywhere(const struct fs *fs);

/* "NNN" of a descriptor inside fs->proc_self_fd, for calls that follow the magic link there (*at
 * functions without AT_SYMLINK_NOFOLLOW). */
struct fs_proc_name {
	char text[16];
};
struct fs_proc_name fs_proc_name(int fd);

/* "/proc/self/fd/NNN", for the calls that have no *at form (the xattr family, truncate). */
struct fs_proc_path {
	char text[32];
};
struct fs_proc_path fs_proc_path(int fd);

#endif
