/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "log.h"

/* Ring entries: a copy keeps POOL_COPY_LANES_MAX operations in flight at most, a request worker one
 * or two. */
#define RING_ENTRIES 64

/* One command, the poll that ends the wait for it, and an inline copy. */
#define COMMAND_ENTRIES 16

static void note_missing(struct worker *worker)
{
	int ring_err = ring_error(worker->ring);
	int pool_err = pool_register_error(worker->pool);

	if (ring_err)
		fs_downgrade(worker->fs, "io_uring",
			     "io_uring_setup: %s; reads, writes and copies go through pread and "
			     "pwrite%s",
			     strerror(-ring_err),
			     ring_err == -EPERM ? " (see sysctl kernel.io_uring_disabled)" : "");
	else if (pool_err && !pool_is_registered(worker->pool))
		fs_downgrade(worker->fs, "registered buffers",
			     "%s%s; the same buffers are used unregistered", strerror(-pool_err),
			     pool_err == -ENOMEM ? " (raise RLIMIT_MEMLOCK, ulimit -l)" : "");
}

/*
 * A personality is a snapshot of the thread's credentials: taken without CAP_FSETID, it makes a
 * write clear set-uid bits as an ordinary user's does, while the thread itself keeps the
 * capability.
 */
static int register_personality(struct worker *worker)
{
	int id;

	if (!worker->cred.can_switch || ring_is_plain(worker->ring))
		return 0;
	cred_drop_fsetid(&worker->cred);
	id = ring_register_personality(worker->ring);
	cred_raise_fsetid(&worker->cred);
	return id > 0 ? id : 0;
}

static void join_list(struct worker *worker)
{
	struct fs *fs = worker->fs;

	pthread_mutex_lock(&fs->lock);
	worker->next = fs->workers;
	fs->workers = worker;
	fs->worker_count++;
	pthread_mutex_unlock(&fs->lock);
}

static void leave_list(struct worker *worker)
{
	struct fs *fs = worker->fs;
	struct worker **link = &fs->workers;

	pthread_mutex_lock(&fs->lock);
	while (*link != worker)
		link = &(*link)->next;
	*link = worker->next;
	fs->worker_count--;
	fs->enters_of_gone += ring_enters(worker->ring);
	pthread_mutex_unlock(&fs->lock);
}

static int init(struct worker *worker, struct fs *fs, const struct ring_options *ring_options,
		const struct pool_options *pool_options)
{
	int err;

	*worker = (struct worker){ .fs = fs };
	err = cred_init(&worker->cred);
	if (err)
		return err;
	err = ring_new(ring_options, &worker->ring);
	if (err)
		return err;
	err = ring_options->commands ? ring_error(worker->ring) : 0;
	if (err)
		goto free_ring;
	err = pool_new(worker->ring, pool_options, &worker->pool);
	if (err)
		goto free_ring;
	note_missing(worker);
	worker->personality_no_fsetid = register_personality(worker);
	join_list(worker);
	return 0;

free_ring:
	ring_free(worker->ring);
	return err;
}

int worker_init(struct worker *worker, struct fs *fs, const struct pool_options *pool_options)
{
	const struct ring_options ring_options = {
		.entries = RING_ENTRIES,
		.plain = fs->options.io == IO_PLAIN,
	};

	return init(worker, fs, &ring_options, pool_options);
}

int worker_init_commands(struct worker *worker, struct fs *fs,
			 const struct pool_options *pool_options)
{
	const struct ring_options ring_options = { .entries = COMMAND_ENTRIES, .commands = true };

	return init(worker, fs, &ring_options, pool_options);
}

static void set_pool(struct worker *worker, struct pool *pool)
{
	pthread_mutex_lock(&worker->fs->lock);
	worker->pool = pool;
	pthread_mutex_unlock(&worker->fs->lock);
}

int worker_replace_pool(struct worker *worker, const struct pool_options *pool_options)
{
	struct pool *pool = worker->pool;
	int err;

	set_pool(worker, NULL);
	pool_close(pool);
	pool_free(pool);
	err = pool_new(worker->ring, pool_options, &pool);
	if (!err)
		set_pool(worker, pool);
	return err;
}

/*
 * UNTESTED: io_uring_enter(2) does not fail for good on a healthy ring. If it does, the kernel may
 * still read or write our buffers, and no request on this ring can be answered truthfully: only the
 * end of the process is safe.
 */
void worker_run(struct worker *worker)
{
	int err = ring_run(worker->ring, true);

	if (err < 0) {
		log_error("io_uring_enter: %s; giving up", strerror(-err));
		_exit(EXIT_RUNTIME);
	}
}

void worker_fini(struct worker *worker)
{
	leave_list(worker);
	pool_close(worker->pool);
	pool_free(worker->pool);
	ring_free(worker->ring);
}
