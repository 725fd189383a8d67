/* SPDX-License-Identifier: MIT */
#ifndef FS_ATTR_H
#define FS_ATTR_H

/* struct statx to the wire, and the cache times that go with it. */

#include <stdbool.h>
#include <sys/stat.h>

#include "fuse_kernel.h"

struct fs;
struct request;

/* The mount (Linux 5.8) is part of an inode's identity, see inode.h. */
#define ATTR_STATX_MASK (STATX_BASIC_STATS | STATX_MNT_ID)

/* statx(2) of what fd (also O_PATH) stands for. Returns 0 or -errno. */
int attr_get(int fd, struct statx *ret_stx);

/* The same of what name is in dir_fd. */
int attr_get_at(int dir_fd, const char *name, struct statx *ret_stx);

/* What O_DIRECT asks of a transfer, bytes; offset 0: the file has no direct I/O. */
struct direct_alignment {
	uint32_t memory;
	uint32_t offset; /* and the length */
};

/* Returns whether the filesystem tells (STATX_DIOALIGN, Linux 6.1). */
bool attr_get_direct(int fd, struct direct_alignment *ret_align);

/*
 * Set-id bits before a transfer of data by somebody without CAP_FSETID. Without group execution
 * S_ISGID goes only where the sender is not in the file's group (Linux fs/attr.c,
 * setattr_should_drop_sgid()), and the backing filesystem would ask that of us: so the bits of such
 * a file, fd, which is open, are taken here, and the return is true, the transfer must then take
 * nothing. False where it does the right thing by itself. *ret_had_bits: the file had any of the
 * two.
 */
bool attr_take_set_ids(const struct fuse_in_header *sender, int fd, bool *ret_had_bits);

/*
 * Between these two the thread acts for the sender without CAP_FSETID, so that the backing
 * filesystem takes set-id bits off the file (fd, also O_PATH) as it would natively. 0 or -errno as
 * of cred_assume(), and then there is nothing to end.
 */
int attr_begin_killing(struct request *request, int fd);
void attr_end_killing(struct request *request);

/* A cache time as the wire has it. */
void attr_timeout(double seconds, uint64_t *ret_sec, uint32_t *ret_nsec);

void attr_fill(const struct statx *stx, struct fuse_attr *ret_attr);
void attr_fill_out(const struct fs *fs, const struct statx *stx, struct fuse_attr_out *ret_out);

/* The reply to LOOKUP and its like, for an inode that was counted by inode_lookup(). */
void attr_fill_entry(const struct fs *fs, const struct statx *stx, uint64_t nodeid,
		     uint64_t generation, struct fuse_entry_out *ret_entry);

#endif
