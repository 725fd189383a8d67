/* SPDX-License-Identifier: MIT */
#ifndef FS_TRANSPORT_DEV_H
#define FS_TRANSPORT_DEV_H

/* The transport over /dev/fuse. The functions do what those of transport.h say. */

#include <stdbool.h>

struct fs;
struct transport_dev;

/*
 * Serves device_fd with worker threads: each has a clone of it (FUSE_DEV_IOC_CLONE, Linux 4.2), or
 * shares it where a clone cannot be had; more start when all are busy, up to the limit of the
 * options. Returns 0 once the first worker is ready, with *ret_transport set before it was, or
 * -errno.
 */
int transport_dev_start(struct fs *fs, int device_fd, struct transport_dev **ret_transport);
int transport_dev_wait(struct transport_dev *transport);
void transport_dev_stop(struct transport_dev *transport);
void transport_dev_free(struct transport_dev *transport);

#endif
