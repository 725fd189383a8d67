/* SPDX-License-Identifier: MIT */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

/*
 * Where the filesystem hangs: the two directories before mounting, the mount itself, its end.
 *
 *     mount_prepare()     opens both directories, or explains what is wrong with them
 *     mount_attach()      mounts, by libfuse: mount(2) for root, fusermount3 for others
 *     mount_is_attached() whether the mount is still there
 *     mount_detach()      writes out what the page cache holds, and unmounts
 *
 * Nothing here asks a filesystem that may not answer, least of all our own mount: what is mounted
 * where is read from /proc/self/mountinfo, and an O_PATH descriptor of a mount's root is had
 * without a request to its daemon.
 *
 * Thread: the main one.
 */

#include <stdbool.h>
#include <sys/types.h>

struct options;

struct mount {
	char *mountpoint; /* absolute */
	int backing_fd; /* O_PATH, for fs_new() to take over */
	int covered_fd; /* O_PATH, the directory that the mount will cover, for struct fs to take
			   over */
	int device_fd; /* /dev/fuse, -1 before mount_attach() */
	dev_t device; /* of the mounted filesystem */
	int id; /* of the mount */
	bool inside; /* the mount can be reached from the backing directory, so that a lookup there
			may lead to ourselves: covered_fd and device matter */
};

/* What follows returns -1 when the program should go on, or the code to exit with: the error has
 * then been explained on the log. mount_fini() either way. */
int mount_prepare(struct mount *mount, const struct options *options);
int mount_attach(struct mount *mount, const struct options *options);

/* Frees; closes what was not taken over, the device last of all: that ends the connection. */
void mount_fini(struct mount *mount);

/*
 * Whether what is mounted at the mount point is ours. Only while the connection stands: the numbers
 * that tell it apart are given to the next mount as soon as ours is gone.
 */
bool mount_is_attached(const struct mount *mount);

/*
 * Starts a process that has the dirty pages of the mount written (requests that the caller goes on
 * serving), then unmounts, lazily: who still has files open may use them as long as they are
 * served. It is a process and not a thread because it waits for our own answers: were it a thread
 * that waits when the process exits, it would keep the device open, whose closing it waits for.
 *
 * Returns 0 or -errno, its id, and a descriptor that polls POLLHUP when it has ended; close it, and
 * wait for the process after mount_fini().
 */
int mount_detach(const struct mount *mount, pid_t *ret_pid, int *ret_ended_fd);

#endif
