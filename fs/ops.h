/* SPDX-License-Identifier: MIT */
#ifndef FS_OPS_H
#define FS_OPS_H

/*
 * The handlers, by the file that holds them; listed once in the table of protocol.c. Each answers
 * its request exactly once, at once or later (request.h).
 */

#include "request.h"

/* init.c */
void op_init(struct request *request);
void op_destroy(struct request *request);

/* names.c: what happens to directory entries */
void op_lookup(struct request *request);
void op_forget(struct request *request);
void op_batch_forget(struct request *request);
void op_notify_reply(struct request *request);
void op_readlink(struct request *request);
void op_mknod(struct request *request);
void op_mkdir(struct request *request);
void op_symlink(struct request *request);
void op_unlink(struct request *request);
void op_rmdir(struct request *request);
void op_rename(struct request *request);
void op_rename2(struct request *request);
void op_link(struct request *request);

/* attr.c */
void op_getattr(struct request *request);
void op_setattr(struct request *request);
void op_statx(struct request *request);
void op_statfs(struct request *request);
void op_access(struct request *request);

/* dir.c */
void op_opendir(struct request *request);
void op_readdir(struct request *request);
void op_readdirplus(struct request *request);
void op_releasedir(struct request *request);
void op_fsyncdir(struct request *request);

/* file.c: the life of an open file */
void op_open(struct request *request);
void op_create(struct request *request);
void op_tmpfile(struct request *request);
void op_flush(struct request *request);
void op_release(struct request *request);
void op_lseek(struct request *request);
void op_ioctl(struct request *request);

/* data.c */
void op_read(struct request *request);
void op_write(struct request *request);
void op_fsync(struct request *request);
void op_fallocate(struct request *request);
void op_syncfs(struct request *request);

/* copy.c */
void op_copy_file_range(struct request *request);
void op_copy_file_range_64(struct request *request);

/* xattr.c */
void op_setxattr(struct request *request);
void op_getxattr(struct request *request);
void op_listxattr(struct request *request);
void op_removexattr(struct request *request);

/* lock.c */
void op_getlk(struct request *request);
void op_setlk(struct request *request);
void op_setlkw(struct request *request);

/* interrupt.c */
void op_interrupt(struct request *request);

#endif
