/* SPDX-License-Identifier: MIT */
#include "fhandle.h"

#include <errno.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs.h"

/* What is in a handle, by its type (Linux include/linux/exportfs.h, enum fid_type; XFS:
 * fs/xfs/xfs_export.h; btrfs: fs/btrfs/export.h). */
#define FILEID_INO32_GEN	    0x01 /* 32 bits of inode number, 32 of generation */
#define FILEID_INO64_GEN	    0x81 /* 64 bits of inode number, 32 of generation */
#define FILEID_BTRFS_WITHOUT_PARENT 0x4d /* 64 bits of inode number, 64 of subvolume, ... */

/* Of btrfs: each root of a subvolume has this inode number, and what stands for one that a snapshot
 * lacks a lower one (Linux include/uapi/linux/btrfs_tree.h). */
#define BTRFS_FIRST_FREE_OBJECTID 256

void fhandle_mounts_init(struct fhandle_mounts *mounts)
{
	pthread_mutex_init(&mounts->lock, NULL);
	mounts->first = NULL;
}

void fhandle_mounts_fini(struct fhandle_mounts *mounts)
{
	while (mounts->first) {
		struct fhandle_mount *mount = mounts->first;

		mounts->first = mount->next;
		close(mount->fd);
		free(mount);
	}
	pthread_mutex_destroy(&mounts->lock);
}

static int get(int fd, const char *name, int flags, union fhandle_buffer *ret_buffer,
	       uint64_t *ret_mount_id)
{
	int mount_id;

	ret_buffer->handle.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(fd, name, &ret_buffer->handle, &mount_id, flags))
		return -errno;
	*ret_mount_id = (uint64_t)mount_id;
	return 0;
}

struct file_handle *fhandle_get(int fd)
{
	union fhandle_buffer buffer;
	uint64_t mount_id;

	return get(fd, "", AT_EMPTY_PATH, &buffer, &mount_id) ? NULL : fhandle_copy(&buffer.handle);
}

int fhandle_get_at(int dir_fd, const char *name, union fhandle_buffer *ret_buffer,
		   uint64_t *ret_mount_id)
{
	return get(dir_fd, name, 0, ret_buffer, ret_mount_id);
}

/* Allocated to its size: most are of 8 to 16 bytes, the largest has MAX_HANDLE_SZ. */
struct file_handle *fhandle_copy(const struct file_handle *handle)
{
	const size_t size = sizeof(*handle) + handle->handle_bytes;
	struct file_handle *copy = malloc(size);

	return copy ? memcpy(copy, handle, size) : NULL;
}

bool fhandle_is_known(const struct fhandle_mount *mount)
{
	return mount && (mount->type == EXT4_SUPER_MAGIC || mount->type == XFS_SUPER_MAGIC ||
			 mount->type == BTRFS_SUPER_MAGIC);
}

/* The inode number in a handle of a filesystem of this type, or 0 when it is not known to be
 * there, or does not tell one inode from another. */
static uint64_t number_in(const struct file_handle *handle, uint32_t type)
{
	uint32_t number32;
	uint64_t number;

	switch (handle->handle_type) {
	case FILEID_INO32_GEN:
		if (type != EXT4_SUPER_MAGIC && type != XFS_SUPER_MAGIC)
			return 0;
		memcpy(&number32, handle->f_handle, sizeof(number32));
		return number32;
	case FILEID_INO64_GEN:
		if (type != XFS_SUPER_MAGIC)
			return 0;
		break;
	case FILEID_BTRFS_WITHOUT_PARENT:
		if (type != BTRFS_SUPER_MAGIC)
			return 0;
		break;
	default:
		return 0;
	}
	memcpy(&number, handle->f_handle, sizeof(number));
	return type == BTRFS_SUPER_MAGIC && number <= BTRFS_FIRST_FREE_OBJECTID ? 0 : number;
}

bool fhandle_has_number(const struct fhandle_mount *mount, const struct file_handle *handle,
			const struct statx *stx)
{
	return stx->stx_ino && number_in(handle, mount->type) == stx->stx_ino;
}

bool fhandle_equal(const struct file_handle *a, const struct file_handle *b)
{
	return a->handle_type == b->handle_type && a->handle_bytes == b->handle_bytes &&
	       !memcmp(a->f_handle, b->f_handle, a->handle_bytes);
}

/*
 * ENOMEM is also what ext4 says while the number of a file that is gone is being given to a new one
 * (Linux fs/inode.c, iget_locked() meets I_CREATING; fs/ext4/inode.c, __ext4_iget()): a moment
 * later it is ESTALE.
 */
#define OPEN_TRIES 100

int fhandle_open(const struct fhandle_mount *mount, const struct file_handle *handle, int flags)
{
	unsigned tries = 0;
	int fd;

	do
		fd = open_by_handle_at(mount->fd, (struct file_handle *)(uintptr_t)handle,
				       flags | O_CLOEXEC);
	while (fd < 0 && errno == ENOMEM && ++tries < OPEN_TRIES && !sched_yield());
	return fd < 0 ? -errno : fd;
}

static const struct fhandle_mount *find_mount(struct fhandle_mounts *mounts, dev_t dev,
					      uint64_t mount_id)
{
	const struct fhandle_mount *mount;

	pthread_mutex_lock(&mounts->lock);
	mount = mounts->first;
	while (mount && (mount->dev != dev || mount->mount_id != mount_id))
		mount = mount->next;
	pthread_mutex_unlock(&mounts->lock);
	return mount;
}

/* A descriptor on the filesystem of fd with which open_by_handle_at(2) works, or -1. */
static int open_filesystem(int fd, mode_t type, const struct file_handle *handle)
{
	struct fhandle_mount candidate;
	int trial;

	if (!S_ISDIR(type) && !S_ISREG(type))
		return -1; /* opening a fifo or a device is not harmless; another file of this
			      filesystem will come */
	candidate.fd = open(fs_proc_path(fd).text, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (candidate.fd < 0)
		return -1;
	trial = fhandle_open(&candidate, handle, O_PATH);
	if (trial < 0) {
		close(candidate.fd);
		return -1;
	}
	close(trial);
	return candidate.fd;
}

/* Two threads may both make an entry: one is then never found, but harmless. */
static void add_mount(struct fhandle_mounts *mounts, struct fhandle_mount *mount)
{
	pthread_mutex_lock(&mounts->lock);
	mount->next = mounts->first;
	mounts->first = mount;
	pthread_mutex_unlock(&mounts->lock);
}

const struct fhandle_mount *fhandle_mount_known(struct fhandle_mounts *mounts,
						const struct statx *stx)
{
	return find_mount(mounts, makedev(stx->stx_dev_major, stx->stx_dev_minor), stx->stx_mnt_id);
}

const struct fhandle_mount *fhandle_mount_of(struct fhandle_mounts *mounts, int fd,
					     const struct statx *stx,
					     const struct file_handle *handle)
{
	const struct fhandle_mount *known = fhandle_mount_known(mounts, stx);
	struct fhandle_mount *mount;
	struct statfs st;

	if (known)
		return known;
	mount = malloc(sizeof(*mount));
	if (!mount)
		return NULL;
	mount->dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
	mount->mount_id = stx->stx_mnt_id;
	mount->fd = open_filesystem(fd, stx->stx_mode & S_IFMT, handle);
	if (mount->fd < 0) {
		free(mount);
		return NULL;
	}
	mount->type = fstatfs(mount->fd, &st) ? 0 : (uint32_t)st.f_type;
	add_mount(mounts, mount);
	return mount;
}
