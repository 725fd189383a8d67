/* SPDX-License-Identifier: MIT */
#ifndef FS_TRANSPORT_URING_H
#define FS_TRANSPORT_URING_H

/*
 * The transport over io_uring (Linux 6.14, fuse.enable_uring): a queue for each possible CPU,
 * served by worker threads that run there. It stands beside transport_dev, which goes on alone when
 * the queues do not come up.
 */

#include <stdbool.h>
#include <stdio.h>

struct fs;
struct transport;
struct transport_uring;

/*
 * Makes the workers with their rings and pools, before INIT is answered: a kernel that was told
 * FUSE_OVER_IO_URING holds all requests back until every queue is registered. Returns NULL when
 * /dev/fuse is to serve alone, with the reason in the status unless that was asked for.
 *
 * whole, which it is a part of, is stopped when a queue breaks.
 */
struct transport_uring *transport_uring_new(struct fs *fs, int device_fd, struct transport *whole);

/* INIT was answered: with FUSE_OVER_IO_URING taken the queues are registered now, otherwise the
 * workers end. Returns at once. Any thread. */
void transport_uring_connect(struct transport_uring *transport, bool taken);

/* As in transport.h. */
int transport_uring_wait(struct transport_uring *transport);
bool transport_uring_is_busy(struct transport_uring *transport);
void transport_uring_stop(struct transport_uring *transport);
void transport_uring_free(struct transport_uring *transport);

/* Whether the kernel uses the queues. NULL is allowed. */
bool transport_uring_is_up(struct transport_uring *transport);

/* Whether OPEN may ask for zero copy. NULL is allowed. */
bool transport_uring_has_zerocopy(struct transport_uring *transport);

/* For the status: the line after "transport". */
void transport_uring_print(struct transport_uring *transport, FILE *out);

#endif
