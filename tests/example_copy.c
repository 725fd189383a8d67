/* SPDX-License-Identifier: MIT */
/* The program of pool/copy.h: copies standard input to standard output, both of them files. */
#include "pool/copy.h"

int main(void)
{
	int in = 0;
	int out = 1;
	struct ring *ring;
	struct pool *pool;

	ring_new(&(struct ring_options){ .entries = 16 }, &ring);
	pool_new(ring, &(struct pool_options){ .buffer_size = 256 << 10, .count = 8 }, &pool);
	struct pool_copy copy = { .pool = pool, .src_fd = in, .dst_fd = out, .length = UINT64_MAX };
	int64_t copied = pool_copy_run(&copy);
	pool_close(pool);
	pool_free(pool);
	ring_free(ring);
	return copied < 0 || copy.error;
}
