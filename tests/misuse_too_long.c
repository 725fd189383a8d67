/* SPDX-License-Identifier: MIT */
/* Reads more than a buffer holds. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	m.io.buffer_offset = 1;
	pool_read_fixed(&m.io);
	return 0;
}
