/* SPDX-License-Identifier: MIT */
/*
 * Credentials belong to a thread, so each test has a thread of its own, which reports the line that
 * failed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/cleanup.h"
#include "fs/cred.h"

#define SOMEBODY 12345
#define THEIRS	 23456

#define CHECK(condition)                 \
	do {                             \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

#define BIT(capability) (1ULL << (capability))

static const struct fuse_in_header somebody = { .uid = SOMEBODY, .gid = THEIRS };

struct body {
	int (*run)(int dir);
	int dir;
	int line;
};

static void *body_main(void *argument)
{
	struct body *body = argument;

	body->line = body->run(body->dir);
	return NULL;
}

/* In a thread, with a directory for files. */
static void run(int (*body_run)(int dir))
{
	char path[] = "/tmp/zcfs-cred-XXXXXX";
	struct body body = { .run = body_run };
	pthread_t thread;

	assert_non_null(mkdtemp(path));
	body.dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(body.dir >= 0);
	assert_int_equal(pthread_create(&thread, NULL, body_main, &body), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	unlinkat(body.dir, "f", 0);
	close(body.dir);
	rmdir(path);
	if (body.line)
		print_message("failed at line %d\n", body.line);
	assert_int_equal(body.line, 0);
}

static void run_as_root(int (*body_run)(int dir))
{
	if (geteuid() != 0)
		skip();
	run(body_run);
}

static uint64_t effective(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

static void lose_for_good(unsigned capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	syscall(SYS_capget, &header, data);
	data[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
	data[CAP_TO_INDEX(capability)].permitted &= ~CAP_TO_MASK(capability);
	syscall(SYS_capset, &header, data);
}

static int make(int dir, mode_t mode, struct stat *ret_st)
{
	CLEANUP_FD int fd = openat(dir, "f", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);

	return fd < 0 ? -1 : fstat(fd, ret_st);
}

static int assumed_files(int dir)
{
	struct cred cred;
	struct stat st;

	CHECK(cred_init(&cred) == 0 && cred.can_switch);
	CHECK(cred_assume(&cred, &somebody, 022) == 0);
	CHECK(make(dir, 0666, &st) == 0);
	cred_restore(&cred);
	CHECK(st.st_uid == SOMEBODY && st.st_gid == THEIRS && (st.st_mode & 07777) == 0644);
	CHECK(unlinkat(dir, "f", 0) == 0 && make(dir, 0666, &st) == 0);
	CHECK(st.st_uid == geteuid() && st.st_gid == getegid());
	return 0;
}

static void new_files_belong_to_whom_the_thread_acts_for(void **state)
{
	run_as_root(assumed_files);
}

static int kept_capabilities(int dir)
{
	const uint64_t before = effective();
	struct cred cred;

	CHECK(cred_init(&cred) == 0);
	CHECK(cred_assume(&cred, &somebody, 0) == 0);
	CHECK(effective() == (before & ~cred.lacks_when_other));
	cred_restore(&cred);
	CHECK(effective() == before);
	return 0;
}

static void capabilities_are_kept_while_acting_for_others(void **state)
{
	run_as_root(kept_capabilities);
}

static int kept_without_setpcap(int dir)
{
	lose_for_good(CAP_SETPCAP);
	return kept_capabilities(dir);
}

static void capabilities_are_kept_without_cap_setpcap_too(void **state)
{
	run_as_root(kept_without_setpcap);
}

static int raised_without_setpcap(int dir)
{
	struct cred cred;

	lose_for_good(CAP_SETPCAP);
	CHECK(cred_init(&cred) == 0);
	CHECK(!cred.keeps_capabilities);
	return 0;
}

static void the_kernel_takes_capabilities_where_securebits_cannot_be_set(void **state)
{
	run_as_root(raised_without_setpcap);
}

static int stripped_for_others(int dir)
{
	struct cred cred;
	struct stat st;

	CHECK(cred_init(&cred) == 0);
	cred.lacks_when_other = BIT(CAP_FSETID);
	CHECK(fchown(dir, 0, 0) == 0 && fchmod(dir, 02777) == 0);
	CHECK(cred_assume(&cred, &somebody, 0) == 0);
	CHECK(!(effective() & BIT(CAP_FSETID)));
	CHECK(make(dir, 02755, &st) == 0);
	cred_restore(&cred);
	CHECK(effective() & BIT(CAP_FSETID));
	CHECK(st.st_gid == 0 && (st.st_mode & 07777) == 0755);
	return 0;
}

static void on_old_kernels_the_backing_filesystem_strips_set_gid(void **state)
{
	run_as_root(stripped_for_others);
}

static int refused_id(int dir)
{
	const struct fuse_in_header nobody = { .uid = (uid_t)-1, .gid = THEIRS };
	struct cred cred;
	struct stat st;

	CHECK(cred_init(&cred) == 0);
	CHECK(cred_assume(&cred, &nobody, 0) == -EPERM);
	CHECK(make(dir, 0600, &st) == 0 && st.st_uid == geteuid() && st.st_gid == getegid());
	return 0;
}

static void an_id_that_does_not_exist_is_refused_and_leaves_the_thread_itself(void **state)
{
	run_as_root(refused_id);
}

static int own_umask(int dir)
{
	const struct fuse_in_header self = { .uid = geteuid(), .gid = getegid() };
	struct cred cred;
	struct stat st;

	CHECK(cred_init(&cred) == 0);
	CHECK(cred_assume(&cred, &self, 077) == 0);
	CHECK(make(dir, 0666, &st) == 0);
	cred_restore(&cred);
	CHECK((st.st_mode & 07777) == 0600);
	return 0;
}

static void the_umask_is_of_the_thread_alone(void **state)
{
	const mode_t before = umask(027);

	run(own_umask);
	assert_int_equal(umask(before), 027);
}

static int killed_bits(int dir)
{
	struct cred cred;
	struct stat st;
	CLEANUP_FD int fd = openat(dir, "f", O_CREAT | O_RDWR | O_CLOEXEC, 0700);

	CHECK(cred_init(&cred) == 0);
	CHECK(fd >= 0 && fchmod(fd, 06755) == 0);
	CHECK(ftruncate(fd, 1) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 06755);
	cred_drop_fsetid(&cred);
	CHECK(ftruncate(fd, 2) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0755);
	cred_raise_fsetid(&cred);
	CHECK(effective() & BIT(CAP_FSETID));
	return 0;
}

static void without_fsetid_set_uid_bits_are_cleared(void **state)
{
	run_as_root(killed_bits);
}

/* Of the thread alone, as raw system calls are. */
static int groups_of_a_sender(int dir)
{
	const struct fuse_in_header sender = { .gid = THEIRS, .pid = (uint32_t)gettid() };
	const struct fuse_in_header kernel = { .gid = THEIRS };
	const struct fuse_in_header gone = { .gid = THEIRS, .pid = INT32_MAX };
	const gid_t groups[] = { 7, 34567, 4000000000 };

	CHECK(syscall(SYS_setgroups, 3, groups) == 0);
	CHECK(cred_is_in_group(&sender, THEIRS));
	for (size_t i = 0; i < 3; i++) {
		CHECK(cred_is_in_group(&sender, groups[i]));
		CHECK(!cred_is_in_group(&kernel, groups[i]));
		CHECK(!cred_is_in_group(&gone, groups[i]));
	}
	CHECK(!cred_is_in_group(&sender, 345) && !cred_is_in_group(&sender, 0));
	CHECK(syscall(SYS_setgroups, 0, NULL) == 0);
	CHECK(!cred_is_in_group(&sender, 7) && cred_is_in_group(&sender, THEIRS));
	return 0;
}

static void supplementary_groups_are_those_of_the_waiting_sender(void **state)
{
	run_as_root(groups_of_a_sender);
}

static int kept_while_dropped(int dir)
{
	struct cred cred;

	CHECK(cred_init(&cred) == 0);
	CHECK(cred_assume(&cred, &somebody, 0) == 0);
	cred_drop_dac(&cred);
	CHECK(!(effective() & (BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH))));
	CHECK(effective() & BIT(CAP_FOWNER));
	cred_raise_dac(&cred);
	CHECK(effective() & BIT(CAP_DAC_OVERRIDE));
	cred_restore(&cred);
	return 0;
}

static void capabilities_can_be_dropped_while_acting_for_others(void **state)
{
	run_as_root(kept_while_dropped);
}

static int ordinary_user(int dir)
{
	struct cred cred;
	struct stat st;

	CHECK(fchmod(dir, 0777) == 0);
	/* Of this thread alone, unlike setresuid(3). */
	if (geteuid() == 0)
		CHECK(syscall(SYS_setresuid, SOMEBODY, SOMEBODY, SOMEBODY) == 0);
	CHECK(cred_init(&cred) == 0 && !cred.can_switch);
	CHECK(cred_assume(&cred, &(struct fuse_in_header){ .uid = 1, .gid = 1 }, 0) == 0);
	CHECK(make(dir, 0600, &st) == 0 && st.st_uid == geteuid());
	cred_drop_fsetid(&cred);
	cred_raise_fsetid(&cred);
	cred_restore(&cred);
	return 0;
}

static void an_ordinary_user_acts_for_itself(void **state)
{
	run(ordinary_user);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_files_belong_to_whom_the_thread_acts_for),
		cmocka_unit_test(capabilities_are_kept_while_acting_for_others),
		cmocka_unit_test(capabilities_are_kept_without_cap_setpcap_too),
		cmocka_unit_test(the_kernel_takes_capabilities_where_securebits_cannot_be_set),
		cmocka_unit_test(on_old_kernels_the_backing_filesystem_strips_set_gid),
		cmocka_unit_test(an_id_that_does_not_exist_is_refused_and_leaves_the_thread_itself),
		cmocka_unit_test(the_umask_is_of_the_thread_alone),
		cmocka_unit_test(without_fsetid_set_uid_bits_are_cleared),
		cmocka_unit_test(supplementary_groups_are_those_of_the_waiting_sender),
		cmocka_unit_test(capabilities_can_be_dropped_while_acting_for_others),
		cmocka_unit_test(an_ordinary_user_acts_for_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
