/* SPDX-License-Identifier: MIT */
/* Frees a pool with a buffer still lent. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_close(m.pool);
	pool_free(m.pool);
	return 0;
}
