/* SPDX-License-Identifier: MIT */
#ifndef POOL_IO_H
#define POOL_IO_H

/*
 * Managed I/O: a read or a write between a file and a pool buffer, that looks after the buffer.
 *
 *     pool_read_fixed        fills a LENT buffer: LENT again when done is called
 *     pool_write_fixed       consumes a LENT buffer: the kernel holds it until the write is
 *                            complete, whatever becomes of the caller; it is HOME, or with the
 *                            next waiter, before done is called
 *     pool_write_fixed_keep  the same write, but the buffer is LENT to the caller again when done
 *                            is called
 *
 *     pool_read_slot,        the same between a file and the memory that a driver has put into a
 *     pool_write_slot        slot of the ring's table (ring_register_table()): no buffer is moved
 *
 * Short transfers are resumed until the length is reached, a read meets the end of the file, or an
 * error comes. EINTR is retried, and so is EAGAIN, unless RWF_NOWAIT asks for it; a file that
 * answers nothing else gets it reported after some tens of attempts. The result is what read(2)
 * and write(2) would say: bytes moved, or -errno when none was.
 *
 * On a plain ring or in an unregistered pool the same calls work with pread(2)/pwrite(2) or
 * READ/WRITE; pool_io.fixed tells afterwards whether every byte travelled by READ_FIXED or
 * WRITE_FIXED.
 *
 * Thread: that of the ring. Exactly one done for each submit, from ring_run(), errors
 * included.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pool.h"

struct pool_io {
	/* The caller's, set before the submit. */
	void (*done)(struct pool_io *io, ssize_t result); /* the last thing that is done with io */
	struct pool_buffer *buffer; /* LENT; NULL in done after a consumed write, and with a slot */
	struct ring *ring; /* with a slot: whose */
	unsigned slot; /* its number, from 1; buffer_offset then counts from the start of its
			  memory, and length must not go beyond it */
	int fd;
	uint64_t offset; /* in the file, bytes */
	size_t buffer_offset; /* where in the buffer the data starts, bytes */
	size_t length; /* bytes; buffer_offset + length <= pool_buffer_size() (asserted) */
	int rw_flags; /* RWF_*, see preadv2(2) */
	int personality; /* see ring_rw */
	bool at_once; /* by pread(2) or pwrite(2) of this thread: nothing is fixed; not with a slot
			 or a personality */
	bool linked; /* what is submitted next waits for the first attempt, see ring_rw. True in
			done when that has moved everything, so that the next goes ahead; else it
			was cancelled */
	uint64_t size_hint; /* reads: a short read that ends at this file offset is taken for the
			       end of the file; 0 = none */

	/* Set for the caller when done is called. */
	bool fixed;
	int error; /* what ended the transfer short of its length: -errno, also when some bytes were
		      moved; 0 at the end of the file */

	/* Ours until done. */
	struct ring_op op;
	size_t moved; /* bytes, so far */
	unsigned again; /* EAGAIN in a row */
	int kind;
};

void pool_read_fixed(struct pool_io *io);
void pool_write_fixed(struct pool_io *io);
void pool_write_fixed_keep(struct pool_io *io);
void pool_read_slot(struct pool_io *io);
void pool_write_slot(struct pool_io *io);

#endif
