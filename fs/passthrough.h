/* SPDX-License-Identifier: MIT */
#ifndef FS_PASSTHROUGH_H
#define FS_PASSTHROUGH_H

/*
 * Kernel passthrough (Linux 6.9): reads, writes and mappings of an open file go from the kernel's
 * FUSE client straight to the backing file, and no request comes here. Off unless asked for, and
 * only for root: CAP_SYS_ADMIN is needed.
 *
 * The kernel wants all that have an inode open to agree: either every open file of it goes through
 * the page cache of the mount, or every one names the same backing file, by a number that
 * FUSE_DEV_IOC_BACKING_OPEN gives. Otherwise open(2) ends in EIO (Linux 7.3, fs/fuse/iomode.c: no
 * backing file where the inode has one, fuse_file_io_open(); another one, or one where the page
 * cache is in use, fuse_inode_uncached_io_start(); two numbers of one file count as two). So an
 * inode has one mode from its first open file to its last, and one number that all share:
 *
 *                      first open            next ones, until all are closed
 *     passed           backing id opened     the same id
 *     served           the pool serves       served too: "fell back"
 *
 * With passthrough=ro, what is open for writing is served: by itself as ever; where the inode is
 * passed, as FOPEN_PASSTHROUGH with FOPEN_DIRECT_IO, which leaves reads and writes to us and keeps
 * the pages of the backing file the only ones.
 *
 * We count an open file until its RELEASE has come, so longer than the kernel does: its mode is
 * then kept a moment longer than need be, and never changed too early.
 *
 * Thread: any.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct fs;
struct fuse_open_out;
struct inode;
struct request;

/* Why an open file is passed or served; the labels of a counter. */
enum passthrough_result {
	PASSTHROUGH_PASSED,
	PASSTHROUGH_SERVED_WRITER, /* passthrough=ro, and it may write */
	PASSTHROUGH_SERVED_IN_USE, /* the inode was already open as served */
	PASSTHROUGH_SERVED_REFUSED, /* the kernel took no backing file */
	PASSTHROUGH_RESULTS,
};

/* Of an open file. */
enum passthrough_mode {
	PASSTHROUGH_NONE, /* not counted: passthrough is off */
	PASSTHROUGH_BY_ID, /* it shares the backing id of its inode */
	PASSTHROUGH_SERVED,
};

/* Of an inode; guarded by the lock of struct passthrough. */
struct passthrough_inode {
	int32_t backing_id; /* while by_id > 0 */
	unsigned by_id; /* open files that share it */
	unsigned served; /* open files without it; one of the two is 0 */
};

/* Of the mount. */
struct passthrough {
	atomic_bool on; /* INIT took it, and the kernel has not refused it since */
	pthread_mutex_t lock; /* a leaf; no system call under it */
	uint64_t backing_ids; /* open now */
	_Atomic uint64_t opens[PASSTHROUGH_RESULTS];
};

void passthrough_init(struct passthrough *passthrough);
void passthrough_fini(struct passthrough *passthrough);

/* Whether INIT should take FUSE_PASSTHROUGH if it is offered. */
bool passthrough_is_wanted(const struct fs *fs);

/*
 * For INIT, after the flags were chosen: switches it on, or notes why not (fs_downgrade()). Returns
 * max_stack_depth for the reply: how deep a stack of filesystems the mount is counted as, 0 without
 * passthrough.
 */
uint32_t passthrough_settle(struct fs *fs);

/*
 * Decides how a file that was just opened is served, before anybody can release it, and changes the
 * reply to OPEN or CREATE accordingly. fd and flags are those of the backing file. The result is to
 * be given back by passthrough_close().
 */
enum passthrough_mode passthrough_open(struct request *request, struct inode *inode, int fd,
				       int flags, struct fuse_open_out *out);
void passthrough_close(struct fs *fs, struct inode *inode, enum passthrough_mode mode);

void passthrough_print_stats(struct fs *fs, FILE *out);
void passthrough_print_status(struct fs *fs, FILE *out);

#endif
