/* SPDX-License-Identifier: MIT */
#ifndef FS_RESIDENCY_H
#define FS_RESIDENCY_H

/*
 * How much of a range of a file lies in the page cache. Thread: any. Each returns 0 and bytes, or
 * -errno, and does not touch the data.
 */

#include <stdint.h>

/* By cachestat(2), and by mincore(2) where that is missing (before Linux 6.5). */
int residency(int fd, uint64_t offset, uint64_t length, uint64_t *ret_bytes);

/* fd must be readable. The kernel says that all is resident to whom the file does not belong and
 * who may not write it (Linux 5.2). */
int residency_by_mincore(int fd, uint64_t offset, uint64_t length, uint64_t *ret_bytes);

#endif
