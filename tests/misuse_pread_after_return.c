/* SPDX-License-Identifier: MIT */
/* Lets pread(2) fill a buffer that it has returned. */
#include "misuse.h"

int main(void)
{
	struct misuse m = misuse_start();

	pool_return(m.buffer);
	if (pread(m.io.fd, pool_buffer_data(m.buffer), 10, 0) != 10)
		return 3;
	return 0;
}
