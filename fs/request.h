/* SPDX-License-Identifier: MIT */
#ifndef FS_REQUEST_H
#define FS_REQUEST_H

/*
 * One FUSE request, from its arrival to its one reply.
 *
 * - the transport receives it into a pool buffer
 * - protocol_dispatch() checks it
 * - op_<verb>(request) serves it
 * - request_reply_*() answers
 *
 * A handler may reply before it returns, or later: from a completion on its worker's ring, or,
 * after request_detach(), from any thread. It replies exactly once (asserted), holding no lock, and
 * does not touch the request afterwards: the reply may bring the FORGET or RELEASE of what it was
 * about at once.
 *
 * The pointers into the message (argument, name, value) die with the reply, with request_detach(),
 * and when the payload buffer is given away or overwritten: a handler that fills the payload takes
 * copies of them first.
 *
 * Thread: the worker that received it; after request_detach() whoever holds it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pool/io.h"
#include "fuse_kernel.h"

struct fs;
struct handle;
struct request;
struct worker;

/* How requests come and replies go: implemented by both transports, and by the fuzzer. */
struct transport_ops {
	/*
	 * Sends header and size bytes after it: request->out, or with payload those of
	 * request->buffer, which is LENT. Then the request and its buffer belong to the transport
	 * again.
	 */
	void (*reply)(struct request *request, size_t size, bool payload);

	/*
	 * Queues the first size bytes of request->buffer as the reply behind the operation that was
	 * submitted last, linked (ring_rw), so that one system call brings both about. Unless that
	 * operation moves all its bytes the reply does not go out, and reply() sends another. NULL:
	 * there is no such thing.
	 */
	void (*reply_linked)(struct request *request, size_t size);

	/* The operation has moved all: as after reply(). */
	void (*linked_sent)(struct request *request);

	/* Ends a request that has no reply (FORGET and its like). */
	void (*finish)(struct request *request);

	/* See request_detach(). */
	struct request *(*detach)(struct request *request);

	/* A detached request keeps its worker, with its buffer, until it is answered. */
	bool keeps_worker;
};

/* The fixed-size replies. The header stands right before them: one write(2) sends both. */
struct request_out {
	struct fuse_out_header header;
	union {
		struct fuse_attr_out attr;
		struct fuse_entry_out entry;
		struct {
			struct fuse_entry_out entry;
			struct fuse_open_out open;
		} create;
		struct fuse_open_out open;
		struct fuse_write_out write;
		struct fuse_copy_file_range_out copy;
		struct fuse_statfs_out statfs;
		struct fuse_statx_out statx;
		struct fuse_getxattr_out getxattr;
		struct fuse_lk_out lk;
		struct fuse_lseek_out lseek;
		struct fuse_init_out init;
		struct {
			struct fuse_ioctl_out header;
			char data[64];
		} ioctl;
	};
};

struct request {
	struct fs *fs;
	struct worker *worker; /* whose ring, pool and credentials serve it; NULL once detached */
	const struct transport_ops *transport;

	struct fuse_in_header in; /* a copy: survives the buffer */

	/* The message after the header, checked by protocol_dispatch(). */
	const void *argument; /* the fixed struct of the operation, argument_size bytes at least as
				 the table says */
	size_t argument_size; /* everything after the header, extensions excluded */
	const char *name[2]; /* the strings after the struct, NUL-terminated */
	const void *value; /* what follows them: data of WRITE, value of SETXATTR, input of IOCTL */
	size_t value_size;

	struct pool_buffer *buffer; /* its payload, LENT; NULL when given away or detached */
	unsigned slot; /* of the worker's ring, with the pages that the data of this READ or WRITE
			  goes to or comes from; 0: it travels in the payload */

	/* For a handler that answers later. */
	struct pool_io io;
	struct ring_op op;
	struct handle *handle; /* a reference that the handler gives back before it replies */
	uint64_t scratch;
	bool loses_bits; /* a WRITE to a file that has set-id bits, and takes them off */

	struct request_out out;
	bool replied;

	/* The transport's. */
	int device_fd;
};

/* The payload: request_payload_size() bytes, page-aligned. */
void *request_payload(const struct request *request);
size_t request_payload_size(const struct request *request);

/* error is 0 or -errno, as everywhere in zcfs; this is the one place where the sign meets the wire.
 */
void request_reply_error(struct request *request, int error);

/* The first size bytes of the union in request->out. */
void request_reply_out(struct request *request, size_t size);

/* The first size bytes of the payload buffer, which must be LENT. */
void request_reply_payload(struct request *request, size_t size);

/*
 * The same reply queued behind the operation on the worker's ring that was submitted last, which is
 * linked; where request_may_link() said before that it can be. When that operation is complete,
 * either it has moved all its bytes, then request_linked_sent() says so and the request is over; or
 * it is to be answered as if nothing had been queued.
 */
bool request_may_link(const struct request *request);
void request_reply_linked(struct request *request, size_t size);
void request_linked_sent(struct request *request);

/* For operations without a reply. */
void request_finish(struct request *request);

/*
 * For work that would hold up the worker: returns the request in a form that outlives its slot
 * (maybe another struct, the old pointer is then dead; its buffer has gone home). Returns NULL when
 * there is no memory; the old one is then still to be answered.
 */
struct request *request_detach(struct request *request);

/* For tables of operations: the handlers of fs/, see protocol.c. */
typedef void (*request_handler)(struct request *request);

#endif
