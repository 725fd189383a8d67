/* SPDX-License-Identifier: MIT */
/* Looks at a buffer that the kernel is filling. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_read_fixed(&m.io);
	(void)m.data[0];
	return 0;
}
