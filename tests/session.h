/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SESSION_H
#define TESTS_SESSION_H

/*
 * A mount without a kernel: a transport made for tests. A message goes through protocol_dispatch()
 * and the real handlers, on a real backing directory; the reply is kept for the test to look at.
 * Used by unit tests of the handlers and by the fuzzer.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/fs.h"
#include "fs/fuse_kernel.h"
#include "fs/request.h"
#include "fs/worker.h"

#define SESSION_REPLY_MAX (1 << 20)

struct session {
	struct fs *fs;
	struct worker worker;
	struct request request;
	bool serving;
	char backing[64]; /* of session_init(); removed by session_fini() */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t answered;
	unsigned detached; /* requests that other threads still hold */
	unsigned replies; /* so far */
	bool finished; /* the last message had no reply */
	uint64_t unique; /* of the last reply */
	int error; /* of the last reply: 0 or -errno */
	size_t size; /* of its data */
	char *data;
};

/* Makes a temporary backing directory, and the filesystem on it, INIT done. options may be changed
 * by tweak. */
void session_init(struct session *session, void (*tweak)(struct options *options));

/* The same without the INIT. */
void session_init_raw(struct session *session, void (*tweak)(struct options *options));
void session_fini(struct session *session);

/* Sends a message as it is, header included, and returns when it is answered or held by another
 * thread. */
void session_send_raw(struct session *session, const void *message, size_t size);

/* Waits until nothing is held by other threads; interrupts what is, when asked to. */
void session_wait(struct session *session);
void session_wait_count(struct session *session, unsigned replies);

/*
 * Sends a request made of up to three parts, waits for its reply, also from another thread, and
 * returns the error of the reply. The data of the reply is in session->data.
 */
struct session_part {
	const void *data;
	size_t size;
};
int session_call(struct session *session, uint32_t opcode, uint64_t nodeid,
		 const struct session_part *parts, unsigned count);

/* The common ones. Each returns 0 or -errno. */
int session_init_request(struct session *session);
int session_lookup(struct session *session, uint64_t parent, const char *name,
		   struct fuse_entry_out *ret_entry);
int session_create(struct session *session, uint64_t parent, const char *name, uint32_t flags,
		   uint32_t mode, uint64_t *ret_nodeid, uint64_t *ret_fh);
int session_open(struct session *session, uint64_t nodeid, uint32_t flags, uint64_t *ret_fh);
int session_release(struct session *session, uint64_t nodeid, uint64_t fh);
int session_write(struct session *session, uint64_t nodeid, uint64_t fh, uint64_t offset,
		  const void *data, size_t size);

#endif
