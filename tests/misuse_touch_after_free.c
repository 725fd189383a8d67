/* SPDX-License-Identifier: MIT */
/* Uses the memory of a pool that is no more. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_return(m.buffer);
	pool_close(m.pool);
	pool_free(m.pool);
	m.data[0] = 1;
	return 0;
}
