/* SPDX-License-Identifier: MIT */
#ifndef FS_STATS_H
#define FS_STATS_H

/*
 * Counters of one mount, shown in .zcfs/stats. Thread: any; each is a relaxed atomic, exact by
 * itself.
 */

#include <stdatomic.h>
#include <stdint.h>

/* How a byte of READ, WRITE or COPY_FILE_RANGE travelled. */
enum stats_path {
	STATS_ZEROCOPY, /* READ_FIXED or WRITE_FIXED, in the pages that the request is about; never
			   of copies */
	STATS_COPIES, /* what copies have begins here */
	STATS_FIXED = STATS_COPIES, /* READ_FIXED or WRITE_FIXED, in a registered buffer */
	STATS_PLAIN, /* anything else through a pool buffer */
	STATS_TRANSFERS, /* what READ and WRITE have ends here; the rest is of copies only */
	STATS_CLONE = STATS_TRANSFERS, /* blocks that both files share now */
	STATS_DIRECT, /* a pool buffer, but not the page cache */
	STATS_KERNEL, /* copy_file_range(2) on the backing files */
	STATS_HOLE, /* nothing had to travel */
	STATS_PATHS,
};

#define STATS_OPERATIONS 64 /* above the largest opcode that zcfs knows */

struct stats {
	_Atomic uint64_t requests[STATS_OPERATIONS]; /* by opcode */
	_Atomic uint64_t read_bytes[STATS_TRANSFERS];
	_Atomic uint64_t write_bytes[STATS_TRANSFERS];
	_Atomic uint64_t copy_bytes[STATS_PATHS];
	_Atomic uint64_t copy_requests;
};

/* As the label of a counter. */
static inline const char *stats_path_name(enum stats_path path)
{
	static const char *const names[STATS_PATHS] = {
		[STATS_ZEROCOPY] = "zerocopy", [STATS_FIXED] = "fixed",	  [STATS_PLAIN] = "plain",
		[STATS_CLONE] = "clone",       [STATS_DIRECT] = "direct", [STATS_KERNEL] = "kernel",
		[STATS_HOLE] = "hole",
	};

	return names[path];
}

static inline void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t stats_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
