/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FS_FIXTURE_H
#define TESTS_FS_FIXTURE_H

/*
 * A filesystem without a mount: a backing directory, one worker, and requests that the test hands
 * to the operations itself and whose replies it catches.
 *
 * The test's thread is the worker's. A detached request is answered from another thread;
 * exchange_wait() waits for that.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>
#include <semaphore.h>

#include "fs/fs.h"
#include "fs/request.h"
#include "fs/worker.h"

#define FS_FIXTURE_BUFFER 65536

struct fs_fixture {
	struct fs *fs;
	struct worker worker;
	int dir_fd; /* the backing directory */
	char path[64];
};

/* Takes the options as they are, but for what the fixture needs. */
void fs_fixture_init(struct fs_fixture *f, const struct options *options);

/* Asserts that no handle and, but for the root, no inode is left. */
void fs_fixture_fini(struct fs_fixture *f);

/* Adds an open file or directory of that inode, with a descriptor of its own that was opened with
 * flags. The handle comes without a reference: the table has one, until handle_release(). */
struct handle *fs_fixture_handle(struct fs_fixture *f, enum handle_kind kind, uint64_t nodeid,
				 int fd, int flags);

/* A request and its reply. */
struct exchange {
	struct request request; /* dead when detached */
	sem_t answered;
	unsigned replies; /* 1 once it was answered */
	bool finished; /* without a reply */
	bool detached;
	int error;
	size_t size; /* bytes after the header */
	struct request_out out; /* as it was when answered */
	char *payload; /* a copy, when that was the reply */
};

/* argument must live until the handler returns. */
void exchange_init(struct exchange *x, struct fs_fixture *f, uint64_t nodeid, const void *argument);
void exchange_fini(struct exchange *x);

/* Calls the handler, and runs the ring until the request is answered or detached. */
void exchange_run(struct exchange *x, request_handler handler);

/* Until it is answered. Returns the error. */
int exchange_wait(struct exchange *x);

/* All of it at once; returns the error, and the reply in *ret_out (may be NULL). */
int exchange(struct fs_fixture *f, request_handler handler, uint64_t nodeid, const void *argument,
	     const char *name, struct request_out *ret_out);

#endif
