/* SPDX-License-Identifier: MIT */
#ifndef POOL_INTERNAL_H
#define POOL_INTERNAL_H

/*
 * The moves to and from KERNEL, for io.c alone: nobody else hands buffers to the kernel.
 */

#include "pool.h"

void pool_buffer_to_kernel(struct pool_buffer *buffer); /* LENT -> KERNEL */
void pool_buffer_from_kernel(struct pool_buffer *buffer); /* KERNEL -> LENT */
void pool_buffer_consumed(struct pool_buffer *buffer); /* KERNEL -> HOME, or to the first waiter */

/*
 * Around a pread(2) or pwrite(2) that this thread does with a buffer in KERNEL: AddressSanitizer
 * checks the memory that such a call is given. An io_uring operation needs neither.
 */
void pool_buffer_open(struct pool_buffer *buffer);
void pool_buffer_shut(struct pool_buffer *buffer);

#endif
