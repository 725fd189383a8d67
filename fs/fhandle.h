/* SPDX-License-Identifier: MIT */
#ifndef FS_FHANDLE_H
#define FS_FHANDLE_H

/*
 * File handles (name_to_handle_at(2)): what an inode is kept as where a descriptor each would be
 * too many.
 *
 * open_by_handle_at(2) wants CAP_DAC_READ_SEARCH, a filesystem that has handles, and a descriptor
 * somewhere on it, not an O_PATH one. Those are kept here, one for each
 * filesystem and mount of it that was met: what is opened by one is reached by its mount. They live
 * as long as ours.
 *
 * Thread: any. The lock is a leaf.
 */

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct fhandle_mount {
	dev_t dev;
	uint64_t mount_id; /* statx(2)'s, 0 before Linux 5.8 */
	int fd; /* there */
	struct fhandle_mount *next;
};

struct fhandle_mounts {
	pthread_mutex_t lock;
	struct fhandle_mount *first;
};

void fhandle_mounts_init(struct fhandle_mounts *mounts);
void fhandle_mounts_fini(struct fhandle_mounts *mounts);

/*
 * The mount that fd (also O_PATH), whose attributes and handle these are, is on. NULL where
 * its inodes cannot be opened by handle, or when there is no memory.
 */
const struct fhandle_mount *fhandle_mount_of(struct fhandle_mounts *mounts, int fd,
					     const struct statx *stx,
					     const struct file_handle *handle);

/* The handle of fd, to be freed by free(3); NULL where there is none. */
struct file_handle *fhandle_get(int fd);

bool fhandle_equal(const struct file_handle *a, const struct file_handle *b);

/* Opens the file with flags of open(2). Returns a descriptor or -errno, -ESTALE when it is gone. */
int fhandle_open(const struct fhandle_mount *mount, const struct file_handle *handle, int flags);

#endif
