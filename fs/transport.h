/* SPDX-License-Identifier: MIT */
#ifndef FS_TRANSPORT_H
#define FS_TRANSPORT_H

/*
 * Receiving requests and sending replies, whatever way they go. /dev/fuse is always served
 * (transport_dev.h): INIT, FORGET and INTERRUPT come there on every kernel. Where the kernel has
 * FUSE over io_uring and it is wanted, everything else comes by transport_uring.h. See request.h
 * for the seam between a transport and the handlers.
 */

#include <stdbool.h>

struct fs;
struct transport;

/* Serves device_fd, the mount's /dev/fuse descriptor, which stays the caller's. Returns 0 once a
 * worker is ready for INIT, or -errno. */
int transport_start(struct fs *fs, int device_fd, struct transport **ret_transport);

/* Blocks until the connection ended (unmount, abort) or transport_stop() was called. Returns 0, or
 * -errno of a broken device. What other threads still hold (request_detach()) is not waited for. */
int transport_wait(struct transport *transport);

/* Whether a request is waiting or being served. */
bool transport_is_busy(struct transport *transport);

/* Makes the workers finish the requests they have and end. Async-signal-safe: no. Any thread. */
void transport_stop(struct transport *transport);

/* Joins and frees; transport_wait() has returned, and every request is answered. */
void transport_free(struct transport *transport);

#endif
