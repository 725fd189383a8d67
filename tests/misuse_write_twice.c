/* SPDX-License-Identifier: MIT */
/* Writes a buffer that the kernel holds already. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	struct pool_io again = m.io;

	pool_write_fixed(&m.io);
	pool_write_fixed(&again);
	return 0;
}
