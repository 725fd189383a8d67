/* SPDX-License-Identifier: MIT */
#include "fhandle.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs.h"

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

/* Allocated to its size: most are of 8 to 16 bytes, the largest has MAX_HANDLE_SZ. */
struct file_handle *fhandle_get(int fd)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} buffer;
	struct file_handle *handle;
	int mount_id;

	buffer.handle.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(fd, "", &buffer.handle, &mount_id, AT_EMPTY_PATH))
		return NULL;
	handle = malloc(sizeof(*handle) + buffer.handle.handle_bytes);
	if (handle)
		memcpy(handle, &buffer, sizeof(*handle) + buffer.handle.handle_bytes);
	return handle;
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

const struct fhandle_mount *fhandle_mount_of(struct fhandle_mounts *mounts, int fd,
					     const struct statx *stx,
					     const struct file_handle *handle)
{
	dev_t dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
	const struct fhandle_mount *known = find_mount(mounts, dev, stx->stx_mnt_id);
	struct fhandle_mount *mount;

	if (known)
		return known;
	mount = malloc(sizeof(*mount));
	if (!mount)
		return NULL;
	mount->dev = dev;
	mount->mount_id = stx->stx_mnt_id;
	mount->fd = open_filesystem(fd, stx->stx_mode & S_IFMT, handle);
	if (mount->fd < 0) {
		free(mount);
		return NULL;
	}
	add_mount(mounts, mount);
	return mount;
}
