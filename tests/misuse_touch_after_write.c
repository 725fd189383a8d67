/* SPDX-License-Identifier: MIT */
/* Changes the data of a write that the kernel may still be reading. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_write_fixed(&m.io);
	m.data[0] = 1;
	return 0;
}
