/* SPDX-License-Identifier: MIT */
/* Frees a ring that owes a callback. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_read_fixed(&m.io);
	ring_free(m.ring);
	return 0;
}
