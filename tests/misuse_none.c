/* SPDX-License-Identifier: MIT */
/* Breaks no rule and lives: without it, nobody would know that misuse.sh can tell. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	m.data[0] = 1;
	m.data[-1] = 1;
	m.data[4095] = 1;
	pool_write_fixed_keep(&m.io);
	misuse_drain(&m);
	m.data[0] = 2;
	pool_read_fixed(&m.io);
	misuse_drain(&m);
	m.data[0] = 3;
	pool_write_fixed(&m.io);
	pool_close(m.pool);
	pool_free(m.pool);
	ring_free(m.ring);
	close(m.io.fd);
	return 0;
}
