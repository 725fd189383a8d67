/* SPDX-License-Identifier: MIT */
#ifndef POOL_RING_H
#define POOL_RING_H

/*
 * A ring: one io_uring, owned by one thread, with a callback for each operation.
 *
 *     ring_submit_*()      queue an operation; nothing happens yet
 *     ring_run()           one io_uring_enter(2): send what is queued, wait, run the callbacks
 *
 * Where io_uring cannot be had (kernel.io_uring_disabled, seccomp, an old kernel) or is not wanted,
 * the ring is "plain": the same calls then do pread(2), pwrite(2), fsync(2) and fallocate(2) on the
 * spot, and ring_run() delivers the results, so that a caller is written once.
 *
 * A callback never runs inside ring_submit_*(): all completions of a round are first taken off the
 * completion queue and then delivered one by one by ring_run(). A callback may submit further
 * operations, also with the very struct ring_op that it was called for.
 *
 * Thread: every function here belongs to the thread that called ring_new(), except where it says
 * "any thread". Nothing here logs; errors are -errno.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ring;

struct ring_options {
	unsigned entries; /* submission queue entries, at least 1; the kernel rounds up to a power
			     of two. More may be in flight */
	bool plain; /* true: do not even try io_uring */
	bool commands; /* for ring_submit_command(): entries of 128 bytes (IORING_SETUP_SQE128,
			  Linux 5.19) */
};

/* One operation in flight, embedded in the caller's own struct. */
struct ring_op {
	/* The caller's, set before the submit. result: bytes or 0, or -errno. The last line of the
	 * callback may free op. */
	void (*done)(struct ring_op *op, int result);

	/* Ours until done: the list of what is to be delivered. */
	struct ring_op *next;
	int result;
	bool may_stay; /* a command or a poll, see ring_free() */
	bool cut_off; /* from what it was linked to */
};

/* What a read or a write moves. The memory must stay valid until done. */
struct ring_rw {
	int fd;
	void *data;
	unsigned length; /* bytes */
	uint64_t offset; /* bytes from the start of the file */
	int rw_flags; /* RWF_*, see preadv2(2); 0 for none */
	int personality; /* of ring_register_personality(), 0 for the thread's own credentials;
			    plain: ignored */
	bool fixed; /* data lies in the memory given to ring_register_buffer(): READ_FIXED or
		       WRITE_FIXED */
	unsigned slot; /* fixed: 0; or a slot of the ring's table that a driver has filled, and data
			  is then an offset into its memory, from (void *)0 on */
	bool at_once; /* by pread(2) or pwrite(2) of this thread, also on a ring that is not plain;
			 fixed and personality are not for it */
	bool linked; /* what is submitted next waits for it, and is cancelled (-ECANCELED) unless
			all of length is moved (IOSQE_IO_LINK); it may be cancelled all the same
			when the kernel is short of memory, and so may this one. Not plain, not
			at_once, see ring_has_room() */
	bool async; /* straight to a kernel worker that may block (IOSQE_ASYNC): the cure when the
		       attempt not to block ended in EAGAIN; plain: ignored */
};

/*
 * Makes a ring. Never fails for want of io_uring: the ring is then plain and ring_error() tells
 * why. Returns 0, or -ENOMEM.
 */
int ring_new(const struct ring_options *options, struct ring **ret_ring);

/* Frees the ring. Nothing may be in flight but commands and polls (asserted): the kernel takes
 * those back, and their callbacks never come. NULL is allowed. */
void ring_free(struct ring *ring);

/* Whether operations go through pread(2) and its like. Any thread. */
bool ring_is_plain(const struct ring *ring);

/* Why a ring is plain: the -errno of io_uring_setup(2), or 0 when it was asked for or when io_uring
 * is in use. Any thread. */
int ring_error(const struct ring *ring);

/* How often this ring entered the kernel by io_uring_enter(2). Any thread. */
uint64_t ring_enters(const struct ring *ring);

/* Operations submitted and not yet delivered. */
unsigned ring_in_flight(const struct ring *ring);

/*
 * Registers one area as the ring's fixed buffer (io_uring_register(2), IORING_REGISTER_BUFFERS), to
 * be called once. Returns 0; -EOPNOTSUPP on a plain ring; -ENOMEM when RLIMIT_MEMLOCK is too small;
 * other -errno of the kernel.
 */
int ring_register_buffer(struct ring *ring, void *address, size_t length);
void ring_unregister_buffer(struct ring *ring);

/*
 * The same, with slots more behind it in the ring's table, from 1 on, that are empty until a driver
 * puts memory there (Linux 6.15, io_buffer_register_bvec()). The same memory may be registered with
 * several rings.
 */
int ring_register_table(struct ring *ring, void *address, size_t length, unsigned slots);

/*
 * Records the calling thread's present credentials (IORING_REGISTER_PERSONALITY) for later use in
 * ring_rw.personality. Returns an id above 0, or -errno (-EOPNOTSUPP on a plain ring).
 */
int ring_register_personality(struct ring *ring);

/*
 * The operations. Each gets exactly one callback, from ring_run(), with the errors too. A read or a
 * write may be short. The caller must not touch op until then.
 */
void ring_submit_read(struct ring *ring, struct ring_op *op, const struct ring_rw *rw);
void ring_submit_write(struct ring *ring, struct ring_op *op, const struct ring_rw *rw);
void ring_submit_fsync(struct ring *ring, struct ring_op *op, int fd, bool datasync);
void ring_submit_fallocate(struct ring *ring, struct ring_op *op, int fd, int mode, uint64_t offset,
			   uint64_t length);

/* Whether two operations can be queued without one being sent first. Not on a plain ring. */
bool ring_has_room(const struct ring *ring);

/*
 * A command to a driver (IORING_OP_URING_CMD), on a ring made for commands. data goes along inside
 * the SQE, RING_COMMAND_MAX bytes at most; address and length are for the driver to interpret.
 * Not on a plain ring (asserted).
 */
#define RING_COMMAND_MAX 80

struct ring_command {
	int fd;
	unsigned operation; /* the driver's own number */
	const void *data;
	size_t size; /* bytes of data */
	const void *address;
	unsigned length;
	bool fixed; /* the driver may use the memory that is registered (IORING_URING_CMD_FIXED) */
};
void ring_submit_command(struct ring *ring, struct ring_op *op, const struct ring_command *command);

/* Once, as soon as fd has one of events (POLLIN, ...); the result is poll(2)'s revents. Not on a
 * plain ring (asserted). */
void ring_submit_poll(struct ring *ring, struct ring_op *op, int fd, unsigned events);

/* No operation: delivers result by the next ring_run(). It is how a callback is put off until the
 * stack is unwound. */
void ring_defer(struct ring *ring, struct ring_op *op, int result);

/*
 * Sends what is queued; when wait is true and nothing is ready to be delivered, blocks until
 * something is. Then runs the callbacks of all that is complete. Returns how many ran (0 when
 * nothing is in flight), or -errno when io_uring_enter(2) failed for a reason that retrying does
 * not mend; EINTR, EAGAIN and EBUSY are retried.
 */
int ring_run(struct ring *ring, bool wait);

#endif
