/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/copier.h"
#include "fs/lock_waiter.h"
#include "fs/log.h"
#include "fs/protocol.h"

#define MAX_WRITE (128 << 10)

/* A request that was detached, with its way back to the session. */
struct held {
	struct request request;
	struct session *session;
};

static struct session *session_of(struct request *request)
{
	return (struct session *)((char *)request - offsetof(struct session, request));
}

static void keep_reply(struct session *session, const struct request *request, const void *data,
		       size_t size)
{
	assert(size <= SESSION_REPLY_MAX);
	pthread_mutex_lock(&session->lock);
	session->replies++;
	session->unique = request->out.header.unique;
	session->error = request->out.header.error;
	session->size = size;
	memcpy(session->data, data, size);
	pthread_cond_broadcast(&session->answered);
	pthread_mutex_unlock(&session->lock);
}

static void end_request(struct request *request)
{
	if (request->buffer)
		pool_return(request->buffer);
	request->buffer = NULL;
	session_of(request)->serving = false;
}

static void session_reply(struct request *request, size_t size, bool payload)
{
	const void *data = payload ? request_payload(request)
				   : (const char *)&request->out + sizeof(struct fuse_out_header);

	assert(request->out.header.len == size + sizeof(struct fuse_out_header));
	keep_reply(session_of(request), request, data, size);
	end_request(request);
}

static void session_finish(struct request *request)
{
	session_of(request)->finished = true;
	end_request(request);
}

static void release_held(struct held *held)
{
	struct session *session = held->session;

	pthread_mutex_lock(&session->lock);
	session->detached--;
	pthread_cond_broadcast(&session->answered);
	pthread_mutex_unlock(&session->lock);
	free(held);
}

static void held_reply(struct request *request, size_t size, bool payload)
{
	struct held *held = (struct held *)request;

	assert(!payload);
	keep_reply(held->session, request,
		   (const char *)&request->out + sizeof(struct fuse_out_header), size);
	release_held(held);
}

static void held_finish(struct request *request)
{
	release_held((struct held *)request);
}

static struct request *held_detach(struct request *request)
{
	return request;
}

static const struct transport_ops held_ops = {
	.reply = held_reply,
	.finish = held_finish,
	.detach = held_detach,
};

static struct request *session_detach(struct request *request)
{
	struct session *session = session_of(request);
	struct held *held = malloc(sizeof(*held));

	if (!held)
		return NULL;
	held->request = *request;
	held->session = session;
	held->request.transport = &held_ops;
	held->request.worker = NULL;
	held->request.buffer = NULL;
	held->request.argument = held->request.value = NULL;
	pthread_mutex_lock(&session->lock);
	session->detached++;
	pthread_mutex_unlock(&session->lock);
	end_request(request);
	return &held->request;
}

static const struct transport_ops session_ops = {
	.reply = session_reply,
	.finish = session_finish,
	.detach = session_detach,
};

void session_init_raw(struct session *session, void (*tweak)(struct options *options))
{
	struct options options = {
		.io = IO_AUTO,
		.cache = CACHE_AUTO,
		.attr_timeout = 1,
		.entry_timeout = 1,
		.threads = 1,
		.max_write = MAX_WRITE,
		.copy_threads = 1,
		.copy_buffer_size = 64 << 10,
		.copy_buffers = 4,
		.copy_max = 256 << 20,
	};
	const char *tmp = getenv("TMPDIR");
	int backing_fd;
	int err;

	*session = (struct session){ .serving = false };
	snprintf(session->backing, sizeof(session->backing), "%s/zcfs-session-XXXXXX",
		 tmp ? tmp : "/tmp");
	if (!mkdtemp(session->backing))
		abort();
	log_open(false, false);
	options.backing = session->backing;
	options.mountpoint = session->backing;
	options.control = (char[]){ ".zcfs" };
	if (tweak)
		tweak(&options);
	pthread_mutex_init(&session->lock, NULL);
	pthread_cond_init(&session->answered, NULL);
	session->data = malloc(SESSION_REPLY_MAX);
	backing_fd = open(session->backing, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = fs_new(&options, backing_fd, &session->fs);
	assert(!err && session->data);
	session->fs->options.control = options.control ? strdup(options.control) : NULL;
	err = fs_after_fork(session->fs);
	assert(!err);
	err = copier_start(session->fs, &session->fs->copier);
	assert(!err);
	err = lock_waiters_new(session->fs, &session->fs->lock_waiters);
	assert(!err);
	err = worker_init(&session->worker, session->fs,
			  &(struct pool_options){ .buffer_size = MAX_WRITE,
						  .headroom = PROTOCOL_HEADROOM,
						  .count = 1,
						  .unregistered = options.io == IO_PLAIN });
	assert(!err);
}

void session_init(struct session *session, void (*tweak)(struct options *options))
{
	session_init_raw(session, tweak);
	if (session_init_request(session))
		abort();
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	remove(path);
	return 0;
}

void session_fini(struct session *session)
{
	struct fs *fs = session->fs;

	copier_stop(fs->copier);
	lock_waiters_stop(fs->lock_waiters);
	session_wait(session);
	worker_fini(&session->worker);
	lock_waiters_free(fs->lock_waiters);
	free(fs->options.control);
	fs_free(fs);
	free(session->data);
	pthread_cond_destroy(&session->answered);
	pthread_mutex_destroy(&session->lock);
	nftw(session->backing, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
}

void session_send_raw(struct session *session, const void *message, size_t size)
{
	struct pool_buffer *buffer = pool_lend(session->worker.pool);
	struct request *request = &session->request;
	char *start;

	assert(buffer && size <= PROTOCOL_HEADROOM + MAX_WRITE);
	start = (char *)pool_buffer_data(buffer) - PROTOCOL_HEADROOM;
	memcpy(start, message, size);
	request->fs = session->fs;
	request->worker = &session->worker;
	request->transport = &session_ops;
	request->buffer = buffer;
	session->serving = true;
	session->finished = false;
	protocol_dispatch(request, start, size);
	while (session->serving)
		worker_run(&session->worker);
}

void session_wait(struct session *session)
{
	pthread_mutex_lock(&session->lock);
	while (session->detached)
		pthread_cond_wait(&session->answered, &session->lock);
	pthread_mutex_unlock(&session->lock);
}

void session_wait_count(struct session *session, unsigned replies)
{
	pthread_mutex_lock(&session->lock);
	while (session->replies < replies)
		pthread_cond_wait(&session->answered, &session->lock);
	pthread_mutex_unlock(&session->lock);
}

int session_call(struct session *session, uint32_t opcode, uint64_t nodeid,
		 const struct session_part *parts, unsigned count)
{
	static _Atomic uint64_t unique = 2;
	struct fuse_in_header in = {
		.opcode = opcode,
		.unique = atomic_fetch_add(&unique, 2),
		.nodeid = nodeid,
		.uid = geteuid(),
		.gid = getegid(),
		.pid = (uint32_t)getpid(),
	};
	char *message = malloc(PROTOCOL_HEADROOM + MAX_WRITE);
	size_t size = sizeof(in);
	unsigned before = session->replies;

	assert(message);
	for (unsigned i = 0; i < count; i++) {
		memcpy(message + size, parts[i].data, parts[i].size);
		size += parts[i].size;
	}
	in.len = (uint32_t)size;
	memcpy(message, &in, sizeof(in));
	session_send_raw(session, message, size);
	free(message);
	if (session->finished)
		return 0;
	session_wait_count(session, before + 1);
	return session->error;
}

int session_init_request(struct session *session)
{
	struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_PROTOCOL_MINOR,
		.max_readahead = 128 << 10,
		.flags = UINT32_MAX,
		.flags2 = UINT32_MAX,
	};

	return session_call(session, FUSE_INIT, 0, &(struct session_part){ &in, sizeof(in) }, 1);
}

int session_lookup(struct session *session, uint64_t parent, const char *name,
		   struct fuse_entry_out *ret_entry)
{
	int err = session_call(session, FUSE_LOOKUP, parent,
			       &(struct session_part){ name, strlen(name) + 1 }, 1);

	if (!err)
		memcpy(ret_entry, session->data, sizeof(*ret_entry));
	return err;
}

int session_create(struct session *session, uint64_t parent, const char *name, uint32_t flags,
		   uint32_t mode, uint64_t *ret_nodeid, uint64_t *ret_fh)
{
	struct fuse_create_in in = { .flags = flags, .mode = mode };
	struct session_part parts[] = { { &in, sizeof(in) }, { name, strlen(name) + 1 } };
	int err = session_call(session, FUSE_CREATE, parent, parts, 2);
	struct fuse_entry_out entry;
	struct fuse_open_out open;

	if (err)
		return err;
	memcpy(&entry, session->data, sizeof(entry));
	memcpy(&open, session->data + sizeof(entry), sizeof(open));
	*ret_nodeid = entry.nodeid;
	*ret_fh = open.fh;
	return 0;
}

int session_open(struct session *session, uint64_t nodeid, uint32_t flags, uint64_t *ret_fh)
{
	struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out out;
	int err = session_call(session, FUSE_OPEN, nodeid,
			       &(struct session_part){ &in, sizeof(in) }, 1);

	if (err)
		return err;
	memcpy(&out, session->data, sizeof(out));
	*ret_fh = out.fh;
	return 0;
}

int session_release(struct session *session, uint64_t nodeid, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return session_call(session, FUSE_RELEASE, nodeid,
			    &(struct session_part){ &in, sizeof(in) }, 1);
}

int session_write(struct session *session, uint64_t nodeid, uint64_t fh, uint64_t offset,
		  const void *data, size_t size)
{
	struct fuse_write_in in = { .fh = fh, .offset = offset, .size = (uint32_t)size };
	struct session_part parts[] = { { &in, sizeof(in) }, { data, size } };

	return session_call(session, FUSE_WRITE, nodeid, parts, 2);
}
