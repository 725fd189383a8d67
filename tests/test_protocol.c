/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "session.h"

static int setup(void **state)
{
	static struct session session;

	session_init(&session, NULL);
	*state = &session;
	return 0;
}

static int setup_before_init(void **state)
{
	static struct session session;

	session_init_raw(&session, NULL);
	*state = &session;
	return 0;
}

static int teardown(void **state)
{
	session_fini(*state);
	return 0;
}

static int call_bytes(struct session *session, uint32_t opcode, const void *data, size_t size)
{
	return session_call(session, opcode, FUSE_ROOT_ID, &(struct session_part){ data, size }, 1);
}

static int lookup_bytes(struct session *session, const char *name, size_t size)
{
	return call_bytes(session, FUSE_LOOKUP, name, size);
}

static void a_message_too_short_for_a_header_is_dropped(void **state)
{
	struct session *session = *state;
	unsigned before = session->replies;

	session_send_raw(session, "1234567", 7);
	assert_true(session->finished);
	assert_int_equal(session->replies, before);
}

static void a_length_that_is_not_the_messages_is_refused(void **state)
{
	struct session *session = *state;
	struct fuse_in_header in = {
		.len = sizeof(in) + 1, .opcode = FUSE_STATFS, .unique = 4, .nodeid = 1
	};

	session_send_raw(session, &in, sizeof(in));
	assert_int_equal(session->error, -EINVAL);
	assert_int_equal(session->unique, 4);
}

static void a_forget_is_never_answered_not_even_a_broken_one(void **state)
{
	struct session *session = *state;
	static const uint32_t opcodes[] = { FUSE_FORGET, FUSE_BATCH_FORGET, FUSE_INTERRUPT };

	for (size_t i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
		unsigned before = session->replies;

		call_bytes(session, opcodes[i], "1234", 4);
		assert_true(session->finished);
		assert_int_equal(session->replies, before);
	}
}

static void a_batch_that_promises_more_than_it_holds_is_survived(void **state)
{
	struct fuse_batch_forget_in in = { .count = UINT32_MAX };

	call_bytes(*state, FUSE_BATCH_FORGET, &in, sizeof(in));
	assert_true(((struct session *)*state)->finished);
}

static void an_unknown_operation_gets_enosys(void **state)
{
	struct session *session = *state;
	static const uint32_t opcodes[] = { 0, 7, 63, 64, 4096, UINT32_MAX, FUSE_BMAP, FUSE_POLL };

	for (size_t i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++)
		assert_int_equal(call_bytes(session, opcodes[i], "", 0), -ENOSYS);
}

static void an_argument_shorter_than_its_struct_is_refused(void **state)
{
	char zeros[128] = { 0 };

	assert_int_equal(
		call_bytes(*state, FUSE_SETATTR, zeros, sizeof(struct fuse_setattr_in) - 1),
		-EINVAL);
	assert_int_equal(call_bytes(*state, FUSE_READ, zeros, sizeof(struct fuse_read_in) - 1),
			 -EINVAL);
	assert_int_equal(call_bytes(*state, FUSE_GETATTR, zeros, 0), -EINVAL);
}

static void a_name_without_its_end_is_refused(void **state)
{
	assert_int_equal(lookup_bytes(*state, "name", 4), -EINVAL);
	assert_int_equal(lookup_bytes(*state, "", 0), -EINVAL);
}

static void a_second_name_that_is_missing_is_refused(void **state)
{
	struct fuse_rename_in in = { .newdir = FUSE_ROOT_ID };
	struct session_part parts[] = { { &in, sizeof(in) }, { "only one", 9 } };

	assert_int_equal(session_call(*state, FUSE_RENAME, FUSE_ROOT_ID, parts, 2), -EINVAL);
}

static void a_name_that_could_leave_its_directory_is_refused(void **state)
{
	assert_int_equal(lookup_bytes(*state, "..", 3), -EINVAL);
	assert_int_equal(lookup_bytes(*state, ".", 2), -EINVAL);
	assert_int_equal(lookup_bytes(*state, "a/b", 4), -EINVAL);
	assert_int_equal(lookup_bytes(*state, "/", 2), -EINVAL);
	assert_int_equal(lookup_bytes(*state, "", 1), -EINVAL);
	assert_int_equal(lookup_bytes(*state, "...", 4), -ENOENT);
}

static void a_name_longer_than_255_bytes_is_refused(void **state)
{
	char name[NAME_MAX + 2];

	memset(name, 'n', sizeof(name));
	name[NAME_MAX + 1] = '\0';
	assert_int_equal(lookup_bytes(*state, name, sizeof(name)), -ENAMETOOLONG);
	name[NAME_MAX] = '\0';
	assert_int_equal(lookup_bytes(*state, name, NAME_MAX + 1), -ENOENT);
}

static void extensions_are_cut_off_before_the_argument_is_read(void **state)
{
	struct session *session = *state;
	struct {
		struct fuse_in_header in;
		char name[8];
		char extension[8];
	} message = {
		.in = { .len = sizeof(message),
			.opcode = FUSE_LOOKUP,
			.unique = 2,
			.nodeid = 1,
			.total_extlen = 1 },
		.name = "absent",
		.extension = "/../../",
	};

	session_send_raw(session, &message, sizeof(message));
	assert_int_equal(session->error, -ENOENT);
	message.in.total_extlen = UINT16_MAX;
	session_send_raw(session, &message, sizeof(message));
	assert_int_equal(session->error, -EINVAL);
}

static void a_write_that_promises_more_than_it_brings_is_refused(void **state)
{
	struct session *session = *state;
	struct fuse_write_in in = { .size = 4096 };
	uint64_t nodeid;

	assert_int_equal(session_create(session, FUSE_ROOT_ID, "f", 2, 0644, &nodeid, &in.fh), 0);
	assert_int_equal(session_call(session, FUSE_WRITE, nodeid,
				      &(struct session_part){ &in, sizeof(in) }, 1),
			 -EINVAL);
	session_release(session, nodeid, in.fh);
}

static void a_handle_that_was_never_given_is_refused(void **state)
{
	struct fuse_read_in in = { .size = 10 };
	static const uint64_t handles[] = { 0, 1, 1ULL << 32, UINT64_MAX };

	for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
		in.fh = handles[i];
		assert_int_equal(call_bytes(*state, FUSE_READ, &in, sizeof(in)), -EBADF);
	}
}

static void a_node_that_was_never_given_is_stale(void **state)
{
	struct fuse_getattr_in in = { 0 };
	static const uint64_t nodes[] = { 0, 2, 1ULL << 62, (1ULL << 63) + 100, UINT64_MAX };

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		assert_int_equal(session_call(*state, FUSE_GETATTR, nodes[i],
					      &(struct session_part){ &in, sizeof(in) }, 1),
				 -ESTALE);
}

static void nothing_is_served_before_init(void **state)
{
	assert_int_equal(lookup_bytes(*state, "f", 2), -EIO);
}

static void a_kernel_that_is_too_old_is_refused(void **state)
{
	struct fuse_init_in in = { .major = 7, .minor = 8 };

	assert_int_equal(
		session_call(*state, FUSE_INIT, 0, &(struct session_part){ &in, sizeof(in) }, 1),
		-EPROTO);
	in.major = 6;
	assert_int_equal(
		session_call(*state, FUSE_INIT, 0, &(struct session_part){ &in, sizeof(in) }, 1),
		-EPROTO);
}

static void a_newer_major_is_asked_to_speak_ours(void **state)
{
	struct session *session = *state;
	struct fuse_init_in in = { .major = 8, .minor = 0 };
	struct fuse_init_out out;

	assert_int_equal(
		session_call(session, FUSE_INIT, 0, &(struct session_part){ &in, sizeof(in) }, 1),
		0);
	memcpy(&out, session->data, sizeof(out));
	assert_int_equal(out.major, 7);
	assert_false(atomic_load(&session->fs->connection.initialised));
	assert_int_equal(session_init_request(session), 0);
}

static void an_init_of_four_words_is_understood(void **state)
{
	struct session *session = *state;
	struct fuse_init_in in = { .major = 7, .minor = 31, .max_readahead = 4096 };
	struct fuse_init_out out;

	assert_int_equal(
		session_call(session, FUSE_INIT, 0,
			     &(struct session_part){ &in, offsetof(struct fuse_init_in, flags2) },
			     1),
		0);
	memcpy(&out, session->data, sizeof(out));
	assert_int_equal(out.flags, 0);
	assert_int_equal(session->fs->connection.minor, 31);
	/* Without MAX_PAGES a request holds 32 pages. */
	assert_true(out.max_write <= 32 * (uint32_t)sysconf(_SC_PAGESIZE));
}

static void a_second_init_is_refused(void **state)
{
	assert_int_equal(session_init_request(*state), -EPROTO);
}

static void only_flags_that_the_kernel_offers_are_taken(void **state)
{
	struct session *session = *state;
	struct fuse_init_in in = { .major = 7,
				   .minor = 45,
				   .flags = FUSE_ASYNC_READ | FUSE_WRITEBACK_CACHE };
	struct fuse_init_out out;

	assert_int_equal(
		session_call(session, FUSE_INIT, 0, &(struct session_part){ &in, sizeof(in) }, 1),
		0);
	memcpy(&out, session->data, sizeof(out));
	assert_int_equal(out.flags, FUSE_ASYNC_READ); /* writeback was not asked for */
	assert_int_equal(out.flags2, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name)	       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_BEFORE_INIT(name) cmocka_unit_test_setup_teardown(name, setup_before_init, teardown)
		TEST(a_message_too_short_for_a_header_is_dropped),
		TEST(a_length_that_is_not_the_messages_is_refused),
		TEST(a_forget_is_never_answered_not_even_a_broken_one),
		TEST(a_batch_that_promises_more_than_it_holds_is_survived),
		TEST(an_unknown_operation_gets_enosys),
		TEST(an_argument_shorter_than_its_struct_is_refused),
		TEST(a_name_without_its_end_is_refused),
		TEST(a_second_name_that_is_missing_is_refused),
		TEST(a_name_that_could_leave_its_directory_is_refused),
		TEST(a_name_longer_than_255_bytes_is_refused),
		TEST(extensions_are_cut_off_before_the_argument_is_read),
		TEST(a_write_that_promises_more_than_it_brings_is_refused),
		TEST(a_handle_that_was_never_given_is_refused),
		TEST(a_node_that_was_never_given_is_stale),
		TEST_BEFORE_INIT(nothing_is_served_before_init),
		TEST_BEFORE_INIT(a_kernel_that_is_too_old_is_refused),
		TEST_BEFORE_INIT(a_newer_major_is_asked_to_speak_ours),
		TEST_BEFORE_INIT(an_init_of_four_words_is_understood),
		TEST(a_second_init_is_refused),
		TEST_BEFORE_INIT(only_flags_that_the_kernel_offers_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
