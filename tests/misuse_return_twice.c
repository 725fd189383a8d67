/* SPDX-License-Identifier: MIT */
/* Returns a buffer twice: two borrowers would get it. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_return(m.buffer);
	pool_return(m.buffer);
	return 0;
}
