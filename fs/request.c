/* SPDX-License-Identifier: MIT */
#include "request.h"

#include <assert.h>
#include <errno.h>

#include "worker.h"

void *request_payload(const struct request *request)
{
	return pool_buffer_data(request->buffer);
}

size_t request_payload_size(const struct request *request)
{
	return pool_buffer_size(pool_buffer_pool(request->buffer));
}

static void set_header(struct request *request, int error, size_t size)
{
	request->out.header = (struct fuse_out_header){
		.len = (uint32_t)(sizeof(struct fuse_out_header) + size),
		.error = error,
		.unique = request->in.unique,
	};
}

static void reply(struct request *request, int error, size_t size, bool payload)
{
	assert(!request->replied);
	request->replied = true;
	set_header(request, error, size);
	request->transport->reply(request, size, payload);
}

/*
 * The kernel takes -511..0 for an error and fails the request with EIO for anything else (Linux
 * fs/fuse/dev.c, fuse_dev_do_write); no system call gives others, and what our own arithmetic might
 * make of it is EIO too.
 */
void request_reply_error(struct request *request, int error)
{
	if (error > 0 || error <= -512)
		error = -EIO;
	reply(request, error, 0, false);
}

void request_reply_out(struct request *request, size_t size)
{
	assert(size <= sizeof(request->out) - sizeof(request->out.header));
	reply(request, 0, size, false);
}

void request_reply_payload(struct request *request, size_t size)
{
	assert(size <= request_payload_size(request));
	reply(request, 0, size, true);
}

bool request_may_link(const struct request *request)
{
	return request->transport->reply_linked && ring_has_room(request->worker->ring);
}

void request_reply_linked(struct request *request, size_t size)
{
	assert(size <= request_payload_size(request));
	set_header(request, 0, size);
	request->transport->reply_linked(request, size);
}

void request_linked_sent(struct request *request)
{
	assert(!request->replied);
	request->replied = true;
	request->transport->linked_sent(request);
}

void request_finish(struct request *request)
{
	assert(!request->replied);
	request->replied = true;
	request->transport->finish(request);
}

struct request *request_detach(struct request *request)
{
	return request->transport->detach(request);
}
