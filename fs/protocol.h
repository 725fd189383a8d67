/* SPDX-License-Identifier: MIT */
#ifndef FS_PROTOCOL_H
#define FS_PROTOCOL_H

/*
 * The FUSE wire format: one table of operations, and the checks that every message passes before a
 * handler sees it. Nothing that arrives can make the daemon read or write out of bounds:
 * tests/fuzz_protocol.c tries.
 */

#include <stddef.h>
#include <stdint.h>

#include "request.h"

/* The header and argument of WRITE, in front of its page-aligned data: a message is received this
 * far before the payload. */
#define PROTOCOL_HEADROOM (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

/*
 * Takes the message of size bytes that lies at data (PROTOCOL_HEADROOM bytes before the payload of
 * request->buffer, or anywhere in a test) apart into request, whose fs, worker, transport and
 * buffer are set, and calls the handler, or replies with an error itself. A message too short to
 * hold a header is dropped: there is nothing to reply to.
 */
void protocol_dispatch(struct request *request, const void *data, size_t size);

/* The same for a message that came in three places, as over io_uring: its header, the fixed struct
 * of the operation, and what follows that. */
struct protocol_parts {
	const void *header; /* struct fuse_in_header */
	const void *argument;
	size_t argument_size; /* bytes */
	const void *rest;
	size_t rest_size; /* bytes */
};
void protocol_dispatch_parts(struct request *request, const struct protocol_parts *parts);

/* "lookup", "getattr", ...; NULL for an opcode that zcfs does not serve. */
const char *protocol_operation_name(uint32_t opcode);

#endif
