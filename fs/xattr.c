/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes, by the path /proc/self/fd/NNN where the file is not open: the f* calls
 * refuse O_PATH descriptors, and the magic link leads to the inode itself, so that a symbolic
 * link's own attributes are meant. The name in a request lies where the value of the reply goes,
 * and is copied first.
 *
 * What needs a capability (trusted.*, security.*) the kernel has checked at the mount, for the
 * caller; here it takes the daemon's own.
 */
#include <errno.h>
#include <limits.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

#include "attr.h"
#include "fs.h"
#include "ops.h"
#include "request.h"
#include "worker.h"

static bool has_prefix(const char *name, const char *prefix)
{
	return !strncmp(name, prefix, strlen(prefix));
}

/* Without FUSE_SETXATTR_EXT the struct ends before setxattr_flags. */
static bool kills_sgid(const struct fs *fs, const struct fuse_setxattr_in *in)
{
	return (fs->connection.taken & FUSE_SETXATTR_EXT) &&
	       (in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID);
}

static int set_value(const struct request *request, const struct fuse_setxattr_in *in,
		     const struct inode_ref *ref)
{
	if (setxattr(fs_proc_path(ref->fd).text, request->name[0], request->value, in->size,
		     (int)in->flags) < 0)
		return -errno;
	return 0;
}

/*
 * Setting an access ACL takes S_ISGID off a file when the caller neither is in its group nor has
 * CAP_FSETID: then the kernel sets the flag. The backing filesystem does it by itself when it sees
 * somebody like that.
 */
static int set_value_killing(struct request *request, const struct fuse_setxattr_in *in,
			     const struct inode_ref *ref)
{
	int err = attr_begin_killing(request, ref->fd);

	if (err)
		return err;
	err = set_value(request, in, ref);
	attr_end_killing(request);
	return err;
}

static int xattr_set(struct request *request, const struct fuse_setxattr_in *in)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	int err;

	if (request->value_size != in->size)
		return -EINVAL;
	err = inode_ref_get(request->fs->inodes, request->in.nodeid, &ref);
	if (err)
		return err;
	if (kills_sgid(request->fs, in))
		return set_value_killing(request, in, &ref);
	return set_value(request, in, &ref);
}

void op_setxattr(struct request *request)
{
	request_reply_error(request, xattr_set(request, request->argument));
}

/* size bytes in the payload, or only their number when the caller had no room and asks for that. */
static void reply_bytes(struct request *request, ssize_t size, uint32_t room)
{
	if (size < 0) {
		request_reply_error(request, (int)size);
	} else if (room) {
		request_reply_payload(request, (size_t)size);
	} else {
		request->out.getxattr = (struct fuse_getxattr_out){ .size = (uint32_t)size };
		request_reply_out(request, sizeof(request->out.getxattr));
	}
}

/*
 * The kernel asks for ACLs to check permissions (FUSE_POSIX_ACL), and takes EOPNOTSUPP for a
 * failure of that check: everybody but the owner would be refused. A backing filesystem without
 * ACLs has none on this file.
 */
static bool is_absent_acl(const struct fs *fs, const char *name, int err)
{
	return err == -EOPNOTSUPP && (fs->connection.taken & FUSE_POSIX_ACL) &&
	       has_prefix(name, "system.posix_acl_");
}

/* It is not the caller's room that is too small, but ours (a buffer_size below 64 KiB): a larger
 * one would not help him, see getxattr(2) on E2BIG. */
static int too_big(int err)
{
	return err == -ERANGE ? -E2BIG : err;
}

/*
 * By the open file where there is one: whoever writes to it first is asked for security.capability
 * (Linux 6.18, fs/fuse/file.c, file_remove_privs()), and the way by /proc takes several times as
 * long.
 */
static ssize_t get_value(const struct request *request, const char *name, size_t room)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	struct fs *fs = request->fs;
	CLEANUP_HANDLE struct handle *handle = handle_of_inode(fs->handles, request->in.nodeid);
	void *value = request_payload(request);
	ssize_t size;
	int err;

	if (handle) {
		size = fgetxattr(handle->fd, name, value, room);
		return size < 0 ? -errno : size;
	}
	err = inode_ref_get(fs->inodes, request->in.nodeid, &ref);
	if (err)
		return err;
	size = getxattr(fs_proc_path(ref.fd).text, name, value, room);
	return size < 0 ? -errno : size;
}

/* Returns the size of the value, which is then in the payload unless room is 0, or -errno. */
static ssize_t xattr_get(struct request *request, uint32_t room)
{
	char name[XATTR_NAME_MAX + 1];
	size_t length = strlen(request->name[0]);
	const size_t most = request_payload_size(request);
	ssize_t size;

	if (length > XATTR_NAME_MAX)
		return -ERANGE;
	memcpy(name, request->name[0], length + 1);
	size = get_value(request, name, room < most ? room : most);
	if (size >= 0)
		return size;
	if (is_absent_acl(request->fs, name, (int)size))
		return -ENODATA;
	return room > most ? too_big((int)size) : size;
}

void op_getxattr(struct request *request)
{
	const uint32_t room = ((const struct fuse_getxattr_in *)request->argument)->size;

	reply_bytes(request, xattr_get(request, room), room);
}

static bool has_trusted(const char *list, size_t size)
{
	for (size_t next = 0; next < size; next += strlen(list + next) + 1)
		if (has_prefix(list + next, "trusted."))
			return true;
	return false;
}

/* Returns the size of the list, which is then in the payload, or -errno. */
static ssize_t read_list(const struct request *request, int fd)
{
	ssize_t size = listxattr(fs_proc_path(fd).text, request_payload(request),
				 request_payload_size(request));

	return size < 0 ? -errno : size;
}

/*
 * A list that is longer than ours can be. Who has less room is told about that first, as by
 * listxattr(2); who asks for the size gets it (the kernel cuts it off at XATTR_LIST_MAX: Linux
 * fs/fuse/xattr.c, fuse_listxattr()).
 */
static ssize_t answer_too_long(int fd, int err, uint32_t room, size_t most)
{
	ssize_t size;

	if (err != -ERANGE && err != -E2BIG)
		return err;
	if (room)
		return room < XATTR_LIST_MAX && room <= most ? -ERANGE : -E2BIG;
	size = listxattr(fs_proc_path(fd).text, NULL, 0);
	return size < 0 ? -errno : size;
}

/*
 * A daemon with CAP_SYS_ADMIN is shown trusted.*. Who is not may be shown less, as the backing
 * filesystem does it: ext4 and XFS leave these names out, btrfs does not. Whether the caller has
 * the capability is not known here, only who he is.
 */
static ssize_t list_for_caller(struct request *request, int fd)
{
	struct cred *cred = &request->worker->cred;
	ssize_t size = read_list(request, fd);

	if (size <= 0 || request->in.uid == 0 ||
	    !has_trusted(request_payload(request), (size_t)size))
		return size;
	cred_drop_admin(cred);
	size = read_list(request, fd);
	cred_raise_admin(cred);
	return size;
}

/* The list is always read whole, as what the caller may see of it is known only then. */
static ssize_t xattr_list(struct request *request, uint32_t room)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	ssize_t size;
	int err = inode_ref_get(request->fs->inodes, request->in.nodeid, &ref);

	if (err)
		return err;
	size = list_for_caller(request, ref.fd);
	if (size < 0)
		return answer_too_long(ref.fd, (int)size, room, request_payload_size(request));
	return room && (size_t)size > room ? -ERANGE : size;
}

void op_listxattr(struct request *request)
{
	const uint32_t room = ((const struct fuse_getxattr_in *)request->argument)->size;

	reply_bytes(request, xattr_list(request, room), room);
}

static int xattr_remove(const struct request *request)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	int err = inode_ref_get(request->fs->inodes, request->in.nodeid, &ref);

	if (err)
		return err;
	return removexattr(fs_proc_path(ref.fd).text, request->name[0]) < 0 ? -errno : 0;
}

void op_removexattr(struct request *request)
{
	request_reply_error(request, xattr_remove(request));
}
