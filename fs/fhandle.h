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
	uint32_t type; /* of the filesystem, see statfs(2) */
	int fd; /* there */
	struct fhandle_mount *next;
};

struct fhandle_mounts {
	pthread_mutex_t lock;
	struct fhandle_mount *first;
};

/* Room for any handle. */
union fhandle_buffer {
	struct file_handle handle;
	char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
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

/* The same, of one that is known by these attributes, or NULL. */
const struct fhandle_mount *fhandle_mount_known(struct fhandle_mounts *mounts,
						const struct statx *stx);

/* The handle of fd, to be freed by free(3); NULL where there is none. */
struct file_handle *fhandle_get(int fd);

/* The handle of what name is in dir_fd, and the id of the mount that it is on. Returns 0 or -errno.
 */
int fhandle_get_at(int dir_fd, const char *name, union fhandle_buffer *ret_buffer,
		   uint64_t *ret_mount_id);

/* A copy, to be freed by free(3), or NULL. */
struct file_handle *fhandle_copy(const struct file_handle *handle);

/*
 * Whether the handles of this filesystem are known here: a file that has lost its last name is
 * found by its handle as long as it is open.
 */
bool fhandle_is_known(const struct fhandle_mount *mount);

/*
 * Whether handle, on mount, is certainly of the inode number in stx: both were asked for by a name,
 * which may have changed hands in between. False also where the filesystem is not known to put the
 * number into its handles.
 */
bool fhandle_has_number(const struct fhandle_mount *mount, const struct file_handle *handle,
			const struct statx *stx);

bool fhandle_equal(const struct file_handle *a, const struct file_handle *b);

/* Opens the file with flags of open(2). Returns a descriptor or -errno, -ESTALE when it is gone. */
int fhandle_open(const struct fhandle_mount *mount, const struct file_handle *handle, int flags);

#endif
