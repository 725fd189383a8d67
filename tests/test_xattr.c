/* SPDX-License-Identifier: MIT */
#include "fs_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs/inode.h"
#include "fs/names.h"
#include "fs/ops.h"

#define SOMEBODY 12345

/* A file "f", known to the kernel, in a filesystem that has user.*. */
struct xattr {
	struct fs_fixture f;
	struct fuse_entry_out entry;
	uid_t uid; /* of the next callers */
	char path[80];
};

static int setup(void **state)
{
	static struct xattr xattr;
	struct inode_ref root = INODE_REF_NONE;
	int fd;

	xattr = (struct xattr){ .uid = geteuid() };
	fs_fixture_init(&xattr.f, &(struct options){ .attr_timeout = 1 });
	snprintf(xattr.path, sizeof(xattr.path), "%s/f", xattr.f.path);
	fd = open(xattr.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(inode_ref_get(xattr.f.fs->inodes, FUSE_ROOT_ID, &root), 0);
	assert_int_equal(names_lookup(xattr.f.fs, &root, "f", &xattr.entry), 0);
	inode_ref_put(&root);
	*state = &xattr;
	return 0;
}

static int teardown(void **state)
{
	struct xattr *xattr = *state;

	inode_forget(xattr->f.fs->inodes, xattr->entry.nodeid, 1);
	fs_fixture_fini(&xattr->f);
	return 0;
}

static void need(const struct xattr *xattr, const char *name)
{
	if (setxattr(xattr->path, name, "1", 1, 0) < 0)
		skip();
}

static void begin(struct exchange *x, struct xattr *xattr, const void *argument)
{
	exchange_init(x, &xattr->f, xattr->entry.nodeid, argument);
	x->request.in.uid = xattr->uid;
}

static int end(struct exchange *x, request_handler handler)
{
	exchange_run(x, handler);
	return exchange_wait(x);
}

/* The name lies in the payload, as it may in a real message. */
static int get(struct exchange *x, struct xattr *xattr, const char *name, uint32_t room)
{
	const struct fuse_getxattr_in in = { .size = room };

	begin(x, xattr, &in);
	strcpy(request_payload(&x->request), name);
	x->request.name[0] = request_payload(&x->request);
	return end(x, op_getxattr);
}

static int list(struct exchange *x, struct xattr *xattr, uint32_t room)
{
	const struct fuse_getxattr_in in = { .size = room };

	begin(x, xattr, &in);
	return end(x, op_listxattr);
}

static int set_in(struct xattr *xattr, const char *name, const void *value, size_t size,
		  const struct fuse_setxattr_in *in)
{
	struct exchange x;
	int err;

	begin(&x, xattr, in);
	x.request.name[0] = name;
	x.request.value = value;
	x.request.value_size = size;
	err = end(&x, op_setxattr);
	exchange_fini(&x);
	return err;
}

static int set(struct xattr *xattr, const char *name, const char *value, uint32_t flags)
{
	const struct fuse_setxattr_in in = { .size = (uint32_t)strlen(value), .flags = flags };

	return set_in(xattr, name, value, strlen(value), &in);
}

static void a_value_is_set_and_got(void **state)
{
	struct xattr *xattr = *state;
	struct exchange x;

	need(xattr, "user.probe");
	assert_int_equal(set(xattr, "user.a", "value", 0), 0);
	assert_int_equal(get(&x, xattr, "user.a", 100), 0);
	assert_int_equal(x.size, 5);
	assert_memory_equal(x.payload, "value", 5);
	exchange_fini(&x);
	assert_int_equal(get(&x, xattr, "user.a", 5), 0);
	assert_int_equal(x.size, 5);
	exchange_fini(&x);
}

static void without_room_the_size_is_told(void **state)
{
	struct xattr *xattr = *state;
	struct exchange x;

	need(xattr, "user.probe");
	assert_int_equal(set(xattr, "user.a", "value", 0), 0);
	assert_int_equal(get(&x, xattr, "user.a", 0), 0);
	assert_int_equal(x.size, sizeof(struct fuse_getxattr_out));
	assert_int_equal(x.out.getxattr.size, 5);
	exchange_fini(&x);
	assert_int_equal(list(&x, xattr, 0), 0);
	assert_int_equal(x.size, sizeof(struct fuse_getxattr_out));
	assert_true(x.out.getxattr.size >= sizeof("user.probe") + sizeof("user.a"));
	exchange_fini(&x);
}

static void too_little_room_is_an_error(void **state)
{
	struct xattr *xattr = *state;
	struct exchange x;

	need(xattr, "user.probe");
	assert_int_equal(set(xattr, "user.a", "value", 0), 0);
	assert_int_equal(get(&x, xattr, "user.a", 4), -ERANGE);
	exchange_fini(&x);
	assert_int_equal(list(&x, xattr, 5), -ERANGE);
	exchange_fini(&x);
}

static void errors_are_those_of_the_system_call(void **state)
{
	char name[XATTR_NAME_MAX + 2];
	struct xattr *xattr = *state;
	struct exchange x;

	need(xattr, "user.probe");
	assert_int_equal(get(&x, xattr, "user.none", 10), -ENODATA);
	exchange_fini(&x);
	assert_int_equal(set(xattr, "user.probe", "", XATTR_CREATE), -EEXIST);
	assert_int_equal(set(xattr, "user.none", "", XATTR_REPLACE), -ENODATA);
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(get(&x, xattr, name, 10), -ERANGE);
	exchange_fini(&x);
	assert_int_equal(set(xattr, name, "", 0), -ERANGE);
}

static void a_value_of_another_size_than_announced_is_refused(void **state)
{
	struct xattr *xattr = *state;

	assert_int_equal(set_in(xattr, "user.a", "abc", 3, &(struct fuse_setxattr_in){ .size = 4 }),
			 -EINVAL);
	assert_int_equal(set_in(xattr, "user.a", "abc", 3, &(struct fuse_setxattr_in){ .size = 2 }),
			 -EINVAL);
	assert_int_equal(getxattr(xattr->path, "user.a", NULL, 0), -1);
}

static void removexattr_removes(void **state)
{
	struct xattr *xattr = *state;
	struct exchange x;

	need(xattr, "user.probe");
	for (int i = 0; i < 2; i++) {
		begin(&x, xattr, NULL);
		x.request.name[0] = "user.probe";
		assert_int_equal(end(&x, op_removexattr), i ? -ENODATA : 0);
		exchange_fini(&x);
	}
}

static bool lists(const struct exchange *x, const char *name)
{
	for (size_t next = 0; next < x->size; next += strlen(x->payload + next) + 1)
		if (!strcmp(x->payload + next, name))
			return true;
	return false;
}

/* What the backing filesystem shows to who lacks CAP_SYS_ADMIN: btrfs trusted.* too. */
static size_t size_for_others(struct xattr *xattr)
{
	char path[sizeof(xattr->f.path) + 2];
	ssize_t size;

	snprintf(path, sizeof(path), "%s/f", xattr->f.path);
	cred_drop_admin(&xattr->f.worker.cred);
	size = listxattr(path, NULL, 0);
	cred_raise_admin(&xattr->f.worker.cred);
	assert_true(size >= 0);
	return (size_t)size;
}

static void trusted_names_are_listed_for_whom_the_backing_filesystem_does(void **state)
{
	struct xattr *xattr = *state;
	struct exchange x;
	size_t all, others;

	need(xattr, "trusted.t");
	need(xattr, "user.a");
	need(xattr, "user.b");
	assert_int_equal(list(&x, xattr, 1000), 0);
	assert_true(lists(&x, "trusted.t") && lists(&x, "user.a") && lists(&x, "user.b"));
	all = x.size;
	exchange_fini(&x);

	others = size_for_others(xattr);
	xattr->uid = SOMEBODY;
	assert_int_equal(list(&x, xattr, 1000), 0);
	assert_int_equal(lists(&x, "trusted.t"), others == all);
	assert_true(lists(&x, "user.a") && lists(&x, "user.b"));
	assert_int_equal(x.size, others);
	exchange_fini(&x);
	assert_int_equal(list(&x, xattr, 0), 0);
	assert_int_equal(x.out.getxattr.size, others);
	exchange_fini(&x);
}

/* user::rw- user:1000:r-- group::r-- mask::r-- other::---, as <linux/posix_acl_xattr.h> has it. */
static const struct {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} entry[5];
} acl = { 2, { { 1, 6, ~0U }, { 2, 4, 1000 }, { 4, 4, ~0U }, { 0x10, 4, ~0U }, { 0x20, 0, ~0U } } };

static mode_t mode_after_acl(struct xattr *xattr, uint32_t flags)
{
	const struct fuse_setxattr_in in = { .size = sizeof(acl), .setxattr_flags = flags };
	struct stat st;

	assert_int_equal(chmod(xattr->path, 02644), 0);
	assert_int_equal(set_in(xattr, "system.posix_acl_access", &acl, sizeof(acl), &in), 0);
	assert_int_equal(stat(xattr->path, &st), 0);
	return st.st_mode & 07777;
}

static void an_acl_clears_set_gid_only_when_told(void **state)
{
	struct xattr *xattr = *state;

	if (geteuid() != 0)
		skip();
	if (setxattr(xattr->path, "system.posix_acl_access", &acl, sizeof(acl), 0) < 0)
		skip();
	xattr->uid = SOMEBODY;
	assert_int_equal(chown(xattr->path, SOMEBODY, SOMEBODY), 0);
	xattr->f.fs->connection.taken = FUSE_SETXATTR_EXT;
	assert_int_equal(mode_after_acl(xattr, 0), 02640);
	assert_int_equal(mode_after_acl(xattr, FUSE_SETXATTR_ACL_KILL_SGID), 0640);
	/* Without FUSE_SETXATTR_EXT that word is the name. */
	xattr->f.fs->connection.taken = 0;
	assert_int_equal(mode_after_acl(xattr, FUSE_SETXATTR_ACL_KILL_SGID), 02640);
}

#define XATTR_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		XATTR_TEST(a_value_is_set_and_got),
		XATTR_TEST(without_room_the_size_is_told),
		XATTR_TEST(too_little_room_is_an_error),
		XATTR_TEST(errors_are_those_of_the_system_call),
		XATTR_TEST(a_value_of_another_size_than_announced_is_refused),
		XATTR_TEST(removexattr_removes),
		XATTR_TEST(trusted_names_are_listed_for_whom_the_backing_filesystem_does),
		XATTR_TEST(an_acl_clears_set_gid_only_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
