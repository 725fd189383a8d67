/* SPDX-License-Identifier: MIT */
/* Writes from a buffer that it has returned. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_return(m.buffer);
	pool_write_fixed(&m.io);
	return 0;
}
