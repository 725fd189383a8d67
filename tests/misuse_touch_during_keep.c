/* SPDX-License-Identifier: MIT */
/* Changes the data of a write that will give the buffer back, too early. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_write_fixed_keep(&m.io);
	m.data[0] = 1;
	return 0;
}
