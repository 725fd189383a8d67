/* SPDX-License-Identifier: MIT */
#ifndef FS_INIT_H
#define FS_INIT_H

#include <stdio.h>

struct fs;

/* Writes a line for each INIT flag that zcfs knows: whether the kernel offered it, whether it was
 * taken, and why. */
void init_print_flags(const struct fs *fs, FILE *out);

#endif
