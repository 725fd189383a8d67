/* SPDX-License-Identifier: MIT */
#include "protocol.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "control.h"
#include "fs.h"
#include "log.h"
#include "ops.h"

/* What a string after the fixed argument is. */
enum string_kind {
	NONE,
	COMPONENT, /* a name in a directory: not empty, no '/', neither "." nor "..", NAME_MAX bytes
		      at most */
	TEXT, /* anything up to its NUL */
};

struct operation {
	const char *name;
	request_handler handler;
	size_t argument_size; /* bytes of the fixed struct */
	enum string_kind strings[2];
};

/*
 * What zcfs serves. An opcode that is not here gets ENOSYS, which the kernel remembers for most
 * operations: BMAP (no block device below), POLL (regular files are always ready), SETUPMAPPING
 * (DAX, virtiofs only).
 */
static const struct operation operations[STATS_OPERATIONS] = {
	[FUSE_LOOKUP] = { "lookup", op_lookup, 0, { COMPONENT } },
	[FUSE_FORGET] = { "forget", op_forget, sizeof(struct fuse_forget_in) },
	[FUSE_GETATTR] = { "getattr", op_getattr, sizeof(struct fuse_getattr_in) },
	[FUSE_SETATTR] = { "setattr", op_setattr, sizeof(struct fuse_setattr_in) },
	[FUSE_READLINK] = { "readlink", op_readlink, 0 },
	[FUSE_SYMLINK] = { "symlink", op_symlink, 0, { COMPONENT, TEXT } },
	[FUSE_MKNOD] = { "mknod", op_mknod, sizeof(struct fuse_mknod_in), { COMPONENT } },
	[FUSE_MKDIR] = { "mkdir", op_mkdir, sizeof(struct fuse_mkdir_in), { COMPONENT } },
	[FUSE_UNLINK] = { "unlink", op_unlink, 0, { COMPONENT } },
	[FUSE_RMDIR] = { "rmdir", op_rmdir, 0, { COMPONENT } },
	[FUSE_RENAME] = { "rename",
			  op_rename,
			  sizeof(struct fuse_rename_in),
			  { COMPONENT, COMPONENT } },
	[FUSE_LINK] = { "link", op_link, sizeof(struct fuse_link_in), { COMPONENT } },
	[FUSE_OPEN] = { "open", op_open, sizeof(struct fuse_open_in) },
	[FUSE_READ] = { "read", op_read, sizeof(struct fuse_read_in) },
	[FUSE_WRITE] = { "write", op_write, sizeof(struct fuse_write_in) },
	[FUSE_STATFS] = { "statfs", op_statfs, 0 },
	[FUSE_RELEASE] = { "release", op_release, sizeof(struct fuse_release_in) },
	[FUSE_FSYNC] = { "fsync", op_fsync, sizeof(struct fuse_fsync_in) },
	[FUSE_SETXATTR] = { "setxattr", op_setxattr, sizeof(struct fuse_setxattr_in), { TEXT } },
	[FUSE_GETXATTR] = { "getxattr", op_getxattr, sizeof(struct fuse_getxattr_in), { TEXT } },
	[FUSE_LISTXATTR] = { "listxattr", op_listxattr, sizeof(struct fuse_getxattr_in) },
	[FUSE_REMOVEXATTR] = { "removexattr", op_removexattr, 0, { TEXT } },
	[FUSE_FLUSH] = { "flush", op_flush, sizeof(struct fuse_flush_in) },
	/* Kernels before 5.17 send the first four words only. */
	[FUSE_INIT] = { "init", op_init, offsetof(struct fuse_init_in, flags2) },
	[FUSE_OPENDIR] = { "opendir", op_opendir, sizeof(struct fuse_open_in) },
	[FUSE_READDIR] = { "readdir", op_readdir, sizeof(struct fuse_read_in) },
	[FUSE_RELEASEDIR] = { "releasedir", op_releasedir, sizeof(struct fuse_release_in) },
	[FUSE_FSYNCDIR] = { "fsyncdir", op_fsyncdir, sizeof(struct fuse_fsync_in) },
	[FUSE_GETLK] = { "getlk", op_getlk, sizeof(struct fuse_lk_in) },
	[FUSE_SETLK] = { "setlk", op_setlk, sizeof(struct fuse_lk_in) },
	[FUSE_SETLKW] = { "setlkw", op_setlkw, sizeof(struct fuse_lk_in) },
	[FUSE_ACCESS] = { "access", op_access, sizeof(struct fuse_access_in) },
	[FUSE_CREATE] = { "create", op_create, sizeof(struct fuse_create_in), { COMPONENT } },
	[FUSE_INTERRUPT] = { "interrupt", op_interrupt, sizeof(struct fuse_interrupt_in) },
	[FUSE_DESTROY] = { "destroy", op_destroy, 0 },
	[FUSE_IOCTL] = { "ioctl", op_ioctl, sizeof(struct fuse_ioctl_in) },
	[FUSE_NOTIFY_REPLY] = { "notify_reply", op_notify_reply, 0 },
	[FUSE_BATCH_FORGET] = { "batch_forget", op_batch_forget,
				sizeof(struct fuse_batch_forget_in) },
	[FUSE_FALLOCATE] = { "fallocate", op_fallocate, sizeof(struct fuse_fallocate_in) },
	[FUSE_READDIRPLUS] = { "readdirplus", op_readdirplus, sizeof(struct fuse_read_in) },
	[FUSE_RENAME2] = { "rename2",
			   op_rename2,
			   sizeof(struct fuse_rename2_in),
			   { COMPONENT, COMPONENT } },
	[FUSE_LSEEK] = { "lseek", op_lseek, sizeof(struct fuse_lseek_in) },
	[FUSE_COPY_FILE_RANGE] = { "copy_file_range", op_copy_file_range,
				   sizeof(struct fuse_copy_file_range_in) },
	[FUSE_SYNCFS] = { "syncfs", op_syncfs, sizeof(struct fuse_syncfs_in) },
	/* The name is a placeholder of the kernel's ("/"): the file has none. */
	[FUSE_TMPFILE] = { "tmpfile", op_tmpfile, sizeof(struct fuse_create_in), { TEXT } },
	[FUSE_STATX] = { "statx", op_statx, sizeof(struct fuse_statx_in) },
	[FUSE_COPY_FILE_RANGE_64] = { "copy_file_range_64", op_copy_file_range_64,
				      sizeof(struct fuse_copy_file_range_in) },
};

const char *protocol_operation_name(uint32_t opcode)
{
	return opcode < STATS_OPERATIONS ? operations[opcode].name : NULL;
}

/* Some must not be answered, not even with an error. */
static void refuse(struct request *request, int error)
{
	switch (request->in.opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_NOTIFY_REPLY:
		request_finish(request);
		break;
	default:
		request_reply_error(request, error);
	}
}

/* SETXATTR grew by two words in 7.33, used only when negotiated. */
static size_t fixed_size(const struct request *request, const struct operation *operation)
{
	if (request->in.opcode == FUSE_SETXATTR &&
	    !(request->fs->connection.taken & FUSE_SETXATTR_EXT))
		return FUSE_COMPAT_SETXATTR_IN_SIZE;
	return operation->argument_size;
}

static int check_component(const char *name, size_t length)
{
	if (length > NAME_MAX)
		return -ENAMETOOLONG;
	if (length == 0 || memchr(name, '/', length) || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	return 0;
}

static int take_strings(struct request *request, const struct operation *operation,
			const char *next, size_t left)
{
	for (int i = 0; i < 2 && operation->strings[i] != NONE; i++) {
		const char *nul = memchr(next, '\0', left);
		size_t length;
		int err = 0;

		if (!nul)
			return -EINVAL;
		length = (size_t)(nul - next);
		if (operation->strings[i] == COMPONENT)
			err = check_component(next, length);
		if (err)
			return err;
		request->name[i] = next;
		next += length + 1;
		left -= length + 1;
	}
	request->value = next;
	request->value_size = left;
	return 0;
}

/* The fixed struct that an operation needs, in a message that is one piece: what follows is the
 * rest.
 */
static int cut(const struct request *request, const struct operation *operation,
	       struct protocol_parts *parts)
{
	size_t fixed = fixed_size(request, operation);

	if (fixed > parts->argument_size)
		return -EINVAL;
	parts->rest = (const char *)parts->argument + fixed;
	parts->rest_size = parts->argument_size - fixed;
	return 0;
}

/* Takes the message after the header apart. Returns 0 or the -errno of the reply. */
static int take_argument(struct request *request, const struct operation *operation,
			 struct protocol_parts *parts)
{
	size_t extensions = (size_t)request->in.total_extlen * 8;
	int err = parts->rest ? 0 : cut(request, operation, parts);

	if (err)
		return err;
	if (fixed_size(request, operation) > parts->argument_size || extensions > parts->rest_size)
		return -EINVAL;
	request->argument = parts->argument;
	request->argument_size = parts->argument_size;
	return take_strings(request, operation, parts->rest, parts->rest_size - extensions);
}

static const struct operation *find_operation(uint32_t opcode)
{
	if (opcode >= STATS_OPERATIONS || !operations[opcode].handler)
		return NULL;
	return &operations[opcode];
}

static void dispatch(struct request *request, struct protocol_parts *parts, size_t size)
{
	struct fs *fs = request->fs;
	const struct operation *operation;
	int err;

	memcpy(&request->in, parts->header, sizeof(request->in));
	operation = find_operation(request->in.opcode);
	if (request->in.len != size) {
		refuse(request, -EINVAL);
		return;
	}
	if (!operation) {
		log_debug("opcode %u: not served", request->in.opcode);
		request_reply_error(request, -ENOSYS);
		return;
	}
	stats_add(&fs->stats.requests[request->in.opcode], 1);
	log_debug("%s unique %llu node %llu", operation->name,
		  (unsigned long long)request->in.unique, (unsigned long long)request->in.nodeid);

	/* Acquire: what op_init() wrote is seen by every worker that serves a later request. */
	if (!atomic_load_explicit(&fs->connection.initialised, memory_order_acquire) &&
	    request->in.opcode != FUSE_INIT)
		err = -EIO;
	else
		err = take_argument(request, operation, parts);
	if (err)
		refuse(request, err);
	else if (control_owns(request))
		control_dispatch(request);
	else
		operation->handler(request);
}

void protocol_dispatch(struct request *request, const void *data, size_t size)
{
	struct protocol_parts parts = {
		.header = data,
		.argument = (const char *)data + sizeof(request->in),
		.argument_size = size - sizeof(request->in),
	};

	request->replied = false;
	if (size < sizeof(request->in))
		request_finish(request);
	else
		dispatch(request, &parts, size);
}

void protocol_dispatch_parts(struct request *request, const struct protocol_parts *parts)
{
	struct protocol_parts copy = *parts;

	request->replied = false;
	dispatch(request, &copy, sizeof(request->in) + parts->argument_size + parts->rest_size);
}
