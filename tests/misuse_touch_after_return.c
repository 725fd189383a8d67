/* SPDX-License-Identifier: MIT */
/* Uses a buffer that it has returned. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_return(m.buffer);
	m.data[0] = 1;
	return 0;
}
