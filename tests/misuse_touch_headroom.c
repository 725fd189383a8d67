/* SPDX-License-Identifier: MIT */
/* Writes a header in front of a buffer that it has returned. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_return(m.buffer);
	m.data[-1] = 1;
	return 0;
}
