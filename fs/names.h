/* SPDX-License-Identifier: MIT */
#ifndef FS_NAMES_H
#define FS_NAMES_H

#include "inode.h"
#include "fuse_kernel.h"

struct fs;

/*
 * Looks name up in the directory, never following a symbolic link, and fills entry; one lookup is
 * counted for the kernel, which the caller takes back by inode_forget() if the entry does not reach
 * it. Returns 0 or -errno.
 */
int names_lookup(struct fs *fs, const struct inode_ref *dir, const char *name,
		 struct fuse_entry_out *ret_entry);

/* The same for a file that is open as fd, which stays the caller's; its attributes too. */
int names_entry_of_fd(struct fs *fs, int fd, struct statx *ret_stx,
		      struct fuse_entry_out *ret_entry);

#endif
