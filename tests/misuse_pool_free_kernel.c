/* SPDX-License-Identifier: MIT */
/* Frees a pool without closing it, while the kernel writes to its memory. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_read_fixed(&m.io);
	pool_free(m.pool);
	return 0;
}
