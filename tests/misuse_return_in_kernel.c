/* SPDX-License-Identifier: MIT */
/* Returns a buffer that the kernel holds. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_read_fixed(&m.io);
	pool_return(m.buffer);
	return 0;
}
