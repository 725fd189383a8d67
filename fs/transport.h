/* SPDX-License-Identifier: MIT */
#ifndef FS_TRANSPORT_H
#define FS_TRANSPORT_H

/* Receiving requests and sending replies. Today one transport, /dev/fuse; see request.h for the
 * seam. */

struct fs;
struct transport_dev;

/*
 * Serves device_fd, the mount's /dev/fuse descriptor, with worker threads: each has a clone of it
 * (FUSE_DEV_IOC_CLONE, Linux 4.2), or shares it where a clone cannot be had; more start when all
 * are busy, up to the limit of the options. Returns 0 once the first worker is ready, or -errno.
 */
int transport_dev_start(struct fs *fs, int device_fd, struct transport_dev **ret_transport);

/* Blocks until the connection ended (unmount, abort) or transport_dev_stop() was called. Returns 0,
 * or -errno of a broken device. */
int transport_dev_wait(struct transport_dev *transport);

/* Makes the workers finish the requests they have and end. Async-signal-safe: no. Any thread. */
void transport_dev_stop(struct transport_dev *transport);

/* Joins and frees; the workers have ended. */
void transport_dev_free(struct transport_dev *transport);

#endif
