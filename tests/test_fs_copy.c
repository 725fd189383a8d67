/* SPDX-License-Identifier: MIT */
/* fs/copy.c: COPY_FILE_RANGE in both wire forms, on a real backing directory (tests/test_copy.c is
 * for the pipeline below). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/copy_job.h"
#include "session.h"

#define KIB    1024ULL
#define MIB    (1024 * KIB)
#define UNIQUE (1ULL << 40) /* of send_copy() */

struct file {
	uint64_t nodeid;
	uint64_t fh;
	int fd; /* of the backing file */
};

static void tweak_small_bound(struct options *options)
{
	options->copy_max = 1 * MIB;
}

static void tweak_plain(struct options *options)
{
	options->io = IO_PLAIN;
}

static void tweak_direct(struct options *options)
{
	options->copy = COPY_DIRECT;
}

static void tweak_kernel(struct options *options)
{
	options->copy = COPY_KERNEL;
}

static int setup_with(void **state, void (*tweak)(struct options *))
{
	static struct session session;

	session_init(&session, tweak);
	*state = &session;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, NULL);
}

static int setup_small_bound(void **state)
{
	return setup_with(state, tweak_small_bound);
}

static int setup_plain(void **state)
{
	return setup_with(state, tweak_plain);
}

static int setup_direct(void **state)
{
	return setup_with(state, tweak_direct);
}

static int setup_kernel(void **state)
{
	return setup_with(state, tweak_kernel);
}

static int teardown(void **state)
{
	session_fini(*state);
	return 0;
}

static struct file file_make_flags(struct session *session, const char *name, uint32_t flags)
{
	struct file file;
	char path[128];

	assert_int_equal(
		session_create(session, FUSE_ROOT_ID, name, flags, 0644, &file.nodeid, &file.fh),
		0);
	snprintf(path, sizeof(path), "%s/%s", session->backing, name);
	file.fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(file.fd >= 0);
	return file;
}

static struct file file_make(struct session *session, const char *name)
{
	return file_make_flags(session, name, O_RDWR | O_TRUNC);
}

static void file_done(struct session *session, struct file *file)
{
	close(file->fd);
	session_release(session, file->nodeid, file->fh);
}

static char pattern_at(uint64_t offset)
{
	return (char)(offset * 7 + (offset >> 12) * 13 + 1);
}

static void fill(int fd, uint64_t offset, uint64_t length)
{
	char *data = malloc(length);

	assert_non_null(data);
	for (uint64_t i = 0; i < length; i++)
		data[i] = pattern_at(offset + i);
	assert_int_equal(pwrite(fd, data, length, (off_t)offset), length);
	free(data);
}

static void expect_same(int a, uint64_t a_offset, int b, uint64_t b_offset, uint64_t length)
{
	char *x = malloc(length), *y = malloc(length);

	assert_true(x && y);
	assert_int_equal(pread(a, x, length, (off_t)a_offset), length);
	assert_int_equal(pread(b, y, length, (off_t)b_offset), length);
	assert_memory_equal(x, y, length);
	free(x);
	free(y);
}

static uint64_t size_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}

static int64_t copy_form(struct session *session, uint32_t opcode, const struct file *src,
			 uint64_t src_offset, const struct file *dst, uint64_t dst_offset,
			 uint64_t length)
{
	struct fuse_copy_file_range_in in = {
		.fh_in = src->fh,
		.off_in = src_offset,
		.nodeid_out = dst->nodeid,
		.fh_out = dst->fh,
		.off_out = dst_offset,
		.len = length,
	};
	struct fuse_copy_file_range_out wide;
	struct fuse_write_out narrow;
	int err = session_call(session, opcode, src->nodeid,
			       &(struct session_part){ &in, sizeof(in) }, 1);

	if (err)
		return err;
	if (opcode == FUSE_COPY_FILE_RANGE_64) {
		assert_int_equal(session->size, sizeof(wide));
		memcpy(&wide, session->data, sizeof(wide));
		return (int64_t)wide.bytes_copied;
	}
	assert_int_equal(session->size, sizeof(narrow));
	memcpy(&narrow, session->data, sizeof(narrow));
	return narrow.size;
}

static int64_t copy(struct session *session, const struct file *src, uint64_t src_offset,
		    const struct file *dst, uint64_t dst_offset, uint64_t length)
{
	return copy_form(session, FUSE_COPY_FILE_RANGE_64, src, src_offset, dst, dst_offset,
			 length);
}

static uint64_t counted(struct session *session, enum stats_path path)
{
	return stats_read(&session->fs->stats.copy_bytes[path]);
}

static void copy_of_size(struct session *session, uint64_t size)
{
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");

	if (size)
		fill(src.fd, 0, size);
	assert_int_equal(copy(session, &src, 0, &dst, 0, UINT64_MAX), size);
	assert_int_equal(size_of(dst.fd), size);
	if (size)
		expect_same(src.fd, 0, dst.fd, 0, size);
	file_done(session, &src);
	file_done(session, &dst);
}

static void files_of_every_kind_of_length_are_copied_whole(void **state)
{
	static const uint64_t sizes[] = {
		0,	1, 4095, 4096, 4097, 128 * KIB, 128 * KIB + 1, 1 * MIB - 1, 1 * MIB + 4097,
		5 * MIB
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		copy_of_size(*state, sizes[i]);
}

static void both_wire_forms_copy_the_same(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");

	fill(src.fd, 0, 300 * KIB);
	assert_int_equal(copy_form(session, FUSE_COPY_FILE_RANGE, &src, 100, &dst, 5000, 200 * KIB),
			 200 * KIB);
	expect_same(src.fd, 100, dst.fd, 5000, 200 * KIB);
	assert_int_equal(copy_form(session, FUSE_COPY_FILE_RANGE_64, &src, 7, &dst, 300 * KIB, 9),
			 9);
	expect_same(src.fd, 7, dst.fd, 300 * KIB, 9);
	assert_int_equal(stats_read(&session->fs->stats.copy_requests), 2);
	file_done(session, &src);
	file_done(session, &dst);
}

static void the_bytes_are_counted_as_fixed(void **state)
{
	struct session *session = *state;

	if (!pool_is_registered(session->worker.pool))
		skip();
	copy_of_size(session, 3 * MIB + 5);
	copy_of_size(session, 5);
	assert_int_equal(counted(session, STATS_FIXED), 3 * MIB + 10);
	assert_int_equal(counted(session, STATS_PLAIN), 0);
}

static void without_io_uring_they_are_counted_as_plain(void **state)
{
	struct session *session = *state;

	copy_of_size(session, 3 * MIB + 5);
	assert_int_equal(counted(session, STATS_FIXED), 0);
	assert_int_equal(counted(session, STATS_PLAIN), 3 * MIB + 5);
}

static void copy_file_range_is_counted_as_kernel(void **state)
{
	struct session *session = *state;

	copy_of_size(session, 9 * MIB + 5);
	assert_int_equal(counted(session, STATS_KERNEL), 9 * MIB + 5);
	assert_int_equal(counted(session, STATS_FIXED) + counted(session, STATS_PLAIN), 0);
}

static void holes_stay_holes(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");
	struct stat st;

	fill(src.fd, 10 * MIB, 64 * KIB);
	assert_int_equal(ftruncate(src.fd, 30 * MIB), 0);
	assert_int_equal(copy(session, &src, 0, &dst, 0, UINT64_MAX), 30 * MIB);
	assert_int_equal(size_of(dst.fd), 30 * MIB);
	expect_same(src.fd, 0, dst.fd, 0, 30 * MIB);
	assert_int_equal(fstat(dst.fd, &st), 0);
	assert_true(st.st_blocks * 512 < (blkcnt_t)(1 * MIB));
	assert_int_equal(counted(session, STATS_HOLE) + counted(session, STATS_FIXED) +
				 counted(session, STATS_PLAIN) + counted(session, STATS_KERNEL) +
				 counted(session, STATS_DIRECT),
			 30 * MIB);
	file_done(session, &src);
	file_done(session, &dst);
}

static void a_hole_is_punched_where_the_destination_had_data(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");

	fill(src.fd, 0, 64 * KIB);
	fill(src.fd, 1 * MIB, 64 * KIB);
	fill(dst.fd, 0, 3 * MIB);
	assert_int_equal(copy(session, &src, 0, &dst, 512, UINT64_MAX), 1 * MIB + 64 * KIB);
	expect_same(src.fd, 0, dst.fd, 512, 1 * MIB + 64 * KIB);
	assert_int_equal(size_of(dst.fd), 3 * MIB);
	/* Around the range the destination is as it was. */
	char byte;
	assert_int_equal(pread(dst.fd, &byte, 1, 511), 1);
	assert_int_equal(byte, pattern_at(511));
	assert_int_equal(pread(dst.fd, &byte, 1, 512 + 1 * MIB + 64 * KIB), 1);
	assert_int_equal(byte, pattern_at(512 + 1 * MIB + 64 * KIB));
	file_done(session, &src);
	file_done(session, &dst);
}

/* What has been cut off meanwhile is no hole. */
static void a_source_that_ends_early_is_not_made_longer(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src");
	uint64_t data, end;

	fill(src.fd, 0, 64 * KIB);
	assert_int_equal(ftruncate(src.fd, 1 * MIB), 0);
	assert_int_equal(copy_find_data(src.fd, 0, 3 * MIB, &data, &end), 0);
	assert_int_equal(data, 0);
	assert_int_equal(end, 64 * KIB);
	assert_int_equal(copy_find_data(src.fd, 128 * KIB, 3 * MIB, &data, &end), 0);
	assert_int_equal(data, 1 * MIB);
	assert_int_equal(end, 1 * MIB);
	assert_int_equal(copy_find_data(src.fd, 128 * KIB, 512 * KIB, &data, &end), 0);
	assert_int_equal(data, 512 * KIB);
	assert_int_equal(end, 512 * KIB);
	assert_int_equal(copy_find_data(src.fd, 2 * MIB, 3 * MIB, &data, &end), 0);
	assert_int_equal(data, 2 * MIB);
	assert_int_equal(end, 2 * MIB);
	file_done(session, &src);
}

static void one_reply_is_bounded_and_the_caller_goes_on(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");

	fill(src.fd, 0, 2 * MIB + 5);
	assert_int_equal(copy(session, &src, 0, &dst, 0, UINT64_MAX), 1 * MIB);
	assert_int_equal(copy(session, &src, 1 * MIB, &dst, 1 * MIB, UINT64_MAX), 1 * MIB);
	assert_int_equal(copy(session, &src, 2 * MIB, &dst, 2 * MIB, UINT64_MAX), 5);
	expect_same(src.fd, 0, dst.fd, 0, 2 * MIB + 5);
	file_done(session, &src);
	file_done(session, &dst);
}

static void the_old_form_never_promises_more_than_32_bits(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");
	int64_t copied;

	assert_int_equal(ftruncate(src.fd, 6LL << 30), 0);
	copied = copy_form(session, FUSE_COPY_FILE_RANGE, &src, 0, &dst, 0, 6ULL << 30);
	assert_true(copied > 0 && copied <= UINT32_MAX);
	assert_int_equal(size_of(dst.fd), copied);
	assert_int_equal(copy(session, &src, 0, &dst, 0, 6ULL << 30), 6LL << 30);
	file_done(session, &src);
	file_done(session, &dst);
}

static void past_the_end_there_is_nothing(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");

	fill(src.fd, 0, 10);
	assert_int_equal(copy(session, &src, 10, &dst, 0, 100), 0);
	assert_int_equal(copy(session, &src, INT64_MAX, &dst, 0, 100), 0);
	assert_int_equal(copy(session, &src, 0, &dst, 0, 0), 0);
	assert_int_equal(size_of(dst.fd), 0);
	file_done(session, &src);
	file_done(session, &dst);
}

static void offsets_and_flags_that_make_no_sense_are_refused(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");
	struct file none = { .nodeid = dst.nodeid, .fh = 12345 };

	fill(src.fd, 0, 10);
	assert_int_equal(copy(session, &src, UINT64_MAX, &dst, 0, 100), -EINVAL);
	assert_int_equal(copy(session, &src, 0, &dst, UINT64_MAX, 100), -EINVAL);
	assert_int_equal(copy(session, &src, 0, &none, 0, 100), -EBADF);
	assert_int_equal(copy(session, &none, 0, &dst, 0, 100), -EBADF);
	file_done(session, &src);
	file_done(session, &dst);
}

static void a_destination_opened_for_reading_is_refused(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"),
		    dst = file_make_flags(session, "dst", O_RDONLY);

	fill(src.fd, 0, 1 * MIB);
	assert_int_equal(copy(session, &src, 0, &dst, 0, 1 * MIB), -EBADF);
	assert_int_equal(copy(session, &src, 0, &dst, 0, 10), -EBADF);
	file_done(session, &src);
	file_done(session, &dst);
}

/* Sends a copy without waiting for its reply, as a caller of that uid. */
static void send_copy(struct session *session, const struct file *src, const struct file *dst,
		      uint64_t length, uint32_t uid)
{
	struct {
		struct fuse_in_header in;
		struct fuse_copy_file_range_in copy;
	} message = {
		.in = { .len = sizeof(message),
			.opcode = FUSE_COPY_FILE_RANGE_64,
			.unique = UNIQUE,
			.nodeid = src->nodeid,
			.uid = uid },
		.copy = { .fh_in = src->fh,
			  .nodeid_out = dst->nodeid,
			  .fh_out = dst->fh,
			  .len = length },
	};

	session_send_raw(session, &message, sizeof(message));
}

/* The interrupt is read first: the kernel sends both, and two workers may take them in either
 * order. */
static void an_interrupt_that_came_early_ends_the_copy_after_a_buffer(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");
	struct fuse_interrupt_in interrupt = { .unique = UNIQUE };
	unsigned before;

	fill(src.fd, 0, 8 * MIB);
	session_call(session, FUSE_INTERRUPT, 0,
		     &(struct session_part){ &interrupt, sizeof(interrupt) }, 1);
	before = session->replies;
	send_copy(session, &src, &dst, 8 * MIB, 0);
	session_wait_count(session, before + 1);
	session_wait(session);
	assert_int_equal(session->error, 0);
	assert_int_equal(size_of(dst.fd), session->fs->options.copy_buffer_size);
	expect_same(src.fd, 0, dst.fd, 0, size_of(dst.fd));
	file_done(session, &src);
	file_done(session, &dst);
}

static void a_copy_that_is_released_meanwhile_still_has_its_files(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");

	fill(src.fd, 0, 16 * MIB);
	send_copy(session, &src, &dst, 16 * MIB, 0);
	session_release(session, src.nodeid, src.fh);
	session_release(session, dst.nodeid, dst.fh);
	session_wait(session);
	assert_int_equal(size_of(dst.fd), 16 * MIB);
	expect_same(src.fd, 0, dst.fd, 0, 16 * MIB);
	assert_int_equal(handle_count(session->fs->handles), 0);
	close(src.fd);
	close(dst.fd);
}

static void an_unprivileged_copy_clears_set_uid(void **state)
{
	struct session *session = *state;
	struct file src = file_make(session, "src"), dst = file_make(session, "dst");
	struct stat st;

	if (geteuid())
		skip();
	fill(src.fd, 0, 10);
	fill(dst.fd, 0, 10);
	assert_int_equal(fchmod(dst.fd, 04755), 0);
	assert_int_equal(copy(session, &src, 0, &dst, 0, 10), 10); /* root keeps it */
	assert_int_equal(fstat(dst.fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 04755);
	send_copy(session, &src, &dst, 10, 12345);
	session_wait(session);
	assert_int_equal(session->error, 0);
	assert_int_equal(fstat(dst.fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	file_done(session, &src);
	file_done(session, &dst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PLAIN(name) { #name " [plain]", name, setup_plain, teardown, NULL }
#define DIRECT(name)                                                  \
	{                                                             \
#name " [direct]", name, setup_direct, teardown, NULL \
	}
#define KERNEL(name)                                                  \
	{                                                             \
#name " [kernel]", name, setup_kernel, teardown, NULL \
	}
		TEST(files_of_every_kind_of_length_are_copied_whole),
		PLAIN(files_of_every_kind_of_length_are_copied_whole),
		DIRECT(files_of_every_kind_of_length_are_copied_whole),
		DIRECT(holes_stay_holes),
		DIRECT(a_destination_opened_for_reading_is_refused),
		DIRECT(an_unprivileged_copy_clears_set_uid),
		DIRECT(a_hole_is_punched_where_the_destination_had_data),
		DIRECT(a_copy_that_is_released_meanwhile_still_has_its_files),
		KERNEL(files_of_every_kind_of_length_are_copied_whole),
		KERNEL(copy_file_range_is_counted_as_kernel),
		TEST(both_wire_forms_copy_the_same),
		TEST(the_bytes_are_counted_as_fixed),
		PLAIN(without_io_uring_they_are_counted_as_plain),
		TEST(holes_stay_holes),
		PLAIN(holes_stay_holes),
		KERNEL(holes_stay_holes),
		TEST(a_hole_is_punched_where_the_destination_had_data),
		TEST(a_source_that_ends_early_is_not_made_longer),
		cmocka_unit_test_setup_teardown(one_reply_is_bounded_and_the_caller_goes_on,
						setup_small_bound, teardown),
		TEST(the_old_form_never_promises_more_than_32_bits),
		TEST(past_the_end_there_is_nothing),
		TEST(offsets_and_flags_that_make_no_sense_are_refused),
		TEST(a_destination_opened_for_reading_is_refused),
		TEST(an_interrupt_that_came_early_ends_the_copy_after_a_buffer),
		TEST(a_copy_that_is_released_meanwhile_still_has_its_files),
		TEST(an_unprivileged_copy_clears_set_uid),
		PLAIN(an_unprivileged_copy_clears_set_uid),
		KERNEL(an_unprivileged_copy_clears_set_uid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
