/* SPDX-License-Identifier: MIT */
/* Reads a buffer that a complete write has sent home. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_write_fixed(&m.io);
	misuse_drain(&m);
	(void)m.data[4095];
	return 0;
}
