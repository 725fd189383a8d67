/* SPDX-License-Identifier: MIT */
#include "fs_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/handle.h"
#include "fs/inode.h"

void fs_fixture_init(struct fs_fixture *f, const struct options *options)
{
	const struct pool_options pool_options = {
		.buffer_size = FS_FIXTURE_BUFFER,
		.headroom = 4096,
		.count = 4,
		.unregistered = true,
	};
	struct options own = *options;
	int root_fd;

	memset(f, 0, sizeof(*f));
	strcpy(f->path, "/tmp/zcfs-test-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir_fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	root_fd = open(f->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dir_fd >= 0 && root_fd >= 0);
	own.threads = 4;
	own.max_write = FS_FIXTURE_BUFFER;
	assert_int_equal(fs_new(&own, root_fd, &f->fs), 0);
	assert_int_equal(fs_after_fork(f->fs), 0);
	assert_int_equal(worker_init(&f->worker, f->fs, &pool_options), 0);
}

static void remove_tree(const char *path)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", path);
	assert_int_equal(system(command), 0);
}

void fs_fixture_fini(struct fs_fixture *f)
{
	assert_int_equal(handle_count(f->fs->handles), 0);
	assert_int_equal(inode_counts(f->fs->inodes).inodes, 1);
	worker_fini(&f->worker);
	fs_free(f->fs);
	close(f->dir_fd);
	remove_tree(f->path);
}

struct detached {
	struct request request;
	struct exchange *origin;
};

static void answer(struct exchange *x, struct request *request, size_t size, bool payload)
{
	x->replies++;
	x->error = request->out.header.error;
	x->size = size;
	x->out = request->out;
	if (payload) {
		x->payload = malloc(size ? size : 1);
		memcpy(x->payload, request_payload(request), size);
	}
	sem_post(&x->answered);
}

static void give_buffer_back(struct request *request)
{
	if (request->buffer)
		pool_return(request->buffer);
	request->buffer = NULL;
}

static void reply(struct request *request, size_t size, bool payload)
{
	answer((struct exchange *)request, request, size, payload);
	give_buffer_back(request);
}

static void finish(struct request *request)
{
	struct exchange *x = (struct exchange *)request;

	x->finished = true;
	give_buffer_back(request);
	sem_post(&x->answered);
}

static void detached_reply(struct request *request, size_t size, bool payload)
{
	assert_false(payload);
	answer(((struct detached *)request)->origin, request, size, false);
	free(request);
}

static const struct transport_ops detached_ops = { .reply = detached_reply };

static struct request *detach(struct request *request)
{
	struct detached *detached = malloc(sizeof(*detached));

	assert_non_null(detached);
	detached->request = *request;
	detached->request.transport = &detached_ops;
	detached->request.worker = NULL;
	detached->request.buffer = NULL;
	detached->request.argument = NULL;
	detached->origin = (struct exchange *)request;
	detached->origin->detached = true;
	give_buffer_back(request);
	return &detached->request;
}

static const struct transport_ops ops = { .reply = reply, .finish = finish, .detach = detach };

struct handle *fs_fixture_handle(struct fs_fixture *f, enum handle_kind kind, uint64_t nodeid,
				 int fd, int flags)
{
	struct inode_ref ref;
	struct handle *handle;
	uint64_t fh;

	assert_true(fd >= 0);
	assert_int_equal(inode_ref_get(f->fs->inodes, nodeid, &ref), 0);
	assert_int_equal(handle_add(f->fs->handles, kind, ref.inode, fd, flags, &fh), 0);
	inode_ref_put(&ref);
	handle = handle_get(f->fs->handles, fh, kind);
	assert_non_null(handle);
	handle_put(handle);
	return handle;
}

void exchange_init(struct exchange *x, struct fs_fixture *f, uint64_t nodeid, const void *argument)
{
	static uint64_t unique = 2;

	memset(x, 0, sizeof(*x));
	sem_init(&x->answered, 0, 0);
	x->request.fs = f->fs;
	x->request.worker = &f->worker;
	x->request.transport = &ops;
	x->request.in.unique = unique += 2;
	x->request.in.nodeid = nodeid;
	x->request.in.uid = geteuid();
	x->request.in.gid = getegid();
	x->request.argument = argument;
	x->request.buffer = pool_lend(f->worker.pool);
	assert_non_null(x->request.buffer);
}

void exchange_fini(struct exchange *x)
{
	assert_int_equal(x->replies, !x->finished);
	sem_destroy(&x->answered);
	free(x->payload);
}

void exchange_run(struct exchange *x, request_handler handler)
{
	struct worker *worker = x->request.worker;

	handler(&x->request);
	while (!x->detached && !x->replies && !x->finished)
		assert_true(ring_run(worker->ring, true) > 0);
}

int exchange_wait(struct exchange *x)
{
	while (sem_wait(&x->answered) < 0)
		assert_int_equal(errno, EINTR);
	return x->error;
}

int exchange(struct fs_fixture *f, request_handler handler, uint64_t nodeid, const void *argument,
	     const char *name, struct request_out *ret_out)
{
	struct exchange x;
	int error;

	exchange_init(&x, f, nodeid, argument);
	x.request.name[0] = name;
	exchange_run(&x, handler);
	error = exchange_wait(&x);
	if (ret_out)
		*ret_out = x.out;
	exchange_fini(&x);
	return error;
}
