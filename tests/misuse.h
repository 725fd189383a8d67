/* SPDX-License-Identifier: MIT */
#ifndef TESTS_MISUSE_H
#define TESTS_MISUSE_H

/*
 * Each misuse_<what>.c breaks one rule and must die of it, see misuse.sh. They are built with
 * AddressSanitizer whatever the rest is built with.
 */

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool/io.h"

struct misuse {
	struct ring *ring;
	struct pool *pool;
	struct pool_buffer *buffer; /* LENT */
	volatile char *data; /* of buffer */
	struct pool_io io; /* of buffer, on a descriptor that takes and gives */
};

static inline void misuse_done(struct pool_io *io, ssize_t result)
{
}

static inline struct misuse misuse_start(void)
{
	struct ring_options ring_options = { .entries = 8 };
	struct pool_options options = { .buffer_size = 4096, .headroom = 4096, .count = 2 };
	struct misuse m;

	if (ring_new(&ring_options, &m.ring) < 0 || pool_new(m.ring, &options, &m.pool) < 0)
		exit(2);
	m.buffer = pool_lend(m.pool);
	m.data = pool_buffer_data(m.buffer);
	m.io = (struct pool_io){ .done = misuse_done, .buffer = m.buffer, .length = 4096 };
	m.io.fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	if (m.io.fd < 0)
		exit(2);
	return m;
}

static inline void misuse_drain(struct misuse *m)
{
	while (ring_in_flight(m->ring))
		ring_run(m->ring, true);
}

#endif
