/* SPDX-License-Identifier: MIT */
#include "fs_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/inode.h"
#include "fs/ops.h"

#define FILES 1200 /* more than one getdents64(2) brings */

struct dir {
	struct fs_fixture f;
	uint64_t fh;
	bool seen[FILES];
	unsigned dots;
	unsigned others;
	uint64_t lookups; /* that replies have counted */
};

static void make(struct dir *dir, const char *name)
{
	int fd = openat(dir->f.dir_fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void make_files(struct dir *dir)
{
	char name[16];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		make(dir, name);
	}
}

static uint64_t open_root(struct dir *dir)
{
	const struct fuse_open_in in = { .flags = O_RDONLY | O_DIRECTORY };
	struct request_out out;

	assert_int_equal(exchange(&dir->f, op_opendir, FUSE_ROOT_ID, &in, NULL, &out), 0);
	assert_int_not_equal(out.open.fh, 0);
	return out.open.fh;
}

static void close_root(struct dir *dir, uint64_t fh)
{
	const struct fuse_release_in in = { .fh = fh };

	assert_int_equal(exchange(&dir->f, op_releasedir, FUSE_ROOT_ID, &in, NULL, NULL), 0);
}

static int setup(void **state)
{
	static struct dir dir;
	static char control[] = ".zcfs";

	memset(&dir, 0, sizeof(dir));
	fs_fixture_init(&dir.f, &(struct options){ .control = control });
	dir.fh = open_root(&dir);
	*state = &dir;
	return 0;
}

static int teardown(void **state)
{
	struct dir *dir = *state;

	close_root(dir, dir->fh);
	fs_fixture_fini(&dir->f);
	return 0;
}

/* ---- reading ---- */

static void note_name(struct dir *dir, const char *name)
{
	if (name[0] == 'f') {
		int i = atoi(name + 1);

		assert_true(i >= 0 && i < FILES);
		assert_false(dir->seen[i]);
		dir->seen[i] = true;
	} else if (!strcmp(name, ".") || !strcmp(name, "..")) {
		dir->dots++;
	} else {
		dir->others++;
	}
}

static void check_entry(struct dir *dir, const struct fuse_entry_out *entry,
			const struct fuse_dirent *dirent, const char *name)
{
	struct stat st;

	if (name[0] == '.' && (name[1] == 0 || !strcmp(name, ".."))) {
		assert_int_equal(entry->nodeid, 0);
		return;
	}
	assert_int_not_equal(entry->nodeid, 0);
	assert_int_equal(fstatat(dir->f.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(entry->attr.ino, st.st_ino);
	assert_int_equal(entry->attr.mode, st.st_mode);
	assert_int_equal(dirent->ino, st.st_ino);
	dir->lookups++;
	inode_forget(dir->f.fs->inodes, entry->nodeid, 1);
}

/* Takes a reply apart, with everything that the kernel checks. Returns the offset to go on from. */
static uint64_t parse(struct dir *dir, const char *data, size_t size, bool plus)
{
	uint64_t offset = 0;
	char name[256];

	while (size) {
		const size_t skip = plus ? sizeof(struct fuse_entry_out) : 0;
		const struct fuse_dirent *dirent = (const struct fuse_dirent *)(data + skip);
		size_t length;

		assert_true(size > skip + FUSE_NAME_OFFSET);
		assert_true(dirent->namelen >= 1 && dirent->namelen <= 255);
		length = skip + FUSE_DIRENT_SIZE(dirent);
		assert_true(length <= size && length % 8 == 0);
		memcpy(name, dirent->name, dirent->namelen);
		name[dirent->namelen] = '\0';
		assert_int_equal(strlen(name), dirent->namelen);
		for (const char *pad = dirent->name + dirent->namelen; pad < data + length; pad++)
			assert_int_equal(*pad, 0);
		note_name(dir, name);
		if (plus)
			check_entry(dir, (const struct fuse_entry_out *)data, dirent, name);
		offset = dirent->off;
		data += length;
		size -= length;
	}
	return offset;
}

/* One request. Returns the size of the reply or -errno; *offset moves on. */
static int read_some(struct dir *dir, uint64_t fh, uint64_t *offset, uint32_t size, bool plus)
{
	const struct fuse_read_in in = { .fh = fh, .offset = *offset, .size = size };
	struct exchange x;
	int ret;

	exchange_init(&x, &dir->f, FUSE_ROOT_ID, &in);
	/* What was in the buffer must not get out. */
	memset(request_payload(&x.request), 0xaa, request_payload_size(&x.request));
	exchange_run(&x, plus ? op_readdirplus : op_readdir);
	ret = x.error;
	if (!ret) {
		ret = (int)x.size;
		assert_true(x.size <= size);
		if (x.size)
			*offset = parse(dir, x.payload, x.size, plus);
	}
	exchange_fini(&x);
	return ret;
}

static void read_all(struct dir *dir, uint32_t size, bool plus)
{
	uint64_t offset = 0;
	int ret;

	memset(dir->seen, 0, sizeof(dir->seen));
	dir->dots = dir->others = 0;
	do {
		ret = read_some(dir, dir->fh, &offset, size, plus);
		assert_true(ret >= 0);
	} while (ret);
}

static unsigned seen_count(const struct dir *dir)
{
	unsigned count = 0;

	for (int i = 0; i < FILES; i++)
		count += dir->seen[i];
	return count;
}

/* ---- tests ---- */

static void every_entry_comes_once_whatever_the_size_of_the_request(void **state)
{
	struct dir *dir = *state;
	static const uint32_t sizes[] = { 160, 512, 4096, 100000 };

	make_files(dir);
	for (int plus = 0; plus < 2; plus++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			read_all(dir, sizes[i], plus);
			assert_int_equal(seen_count(dir), FILES);
			assert_int_equal(dir->dots, 2);
			assert_int_equal(dir->others, 0);
		}
	assert_int_equal(dir->lookups, 4 * FILES);
}

static void a_lookup_is_counted_for_entries_in_the_reply_only(void **state)
{
	struct dir *dir = *state;

	make_files(dir);
	/* parse() takes back exactly what a reply counts; fs_fixture_fini() sees the rest. */
	for (uint32_t size = 160; size < 2000; size += 37) {
		uint64_t offset = 0;

		memset(dir->seen, 0, sizeof(dir->seen));
		assert_true(read_some(dir, dir->fh, &offset, size, true) > 0);
	}
	assert_int_equal(inode_counts(dir->f.fs->inodes).inodes, 1);
}

static void a_place_can_be_gone_back_to(void **state)
{
	struct dir *dir = *state;
	uint64_t offsets[8] = { 0 };
	int sizes[7];

	make_files(dir);
	for (int i = 0; i < 7; i++) {
		offsets[i + 1] = offsets[i];
		sizes[i] = read_some(dir, dir->fh, &offsets[i + 1], 1000, false);
		assert_true(sizes[i] > 0);
	}
	for (int i = 6; i >= 0; i--) {
		uint64_t offset = offsets[i];

		memset(dir->seen, 0, sizeof(dir->seen));
		assert_int_equal(read_some(dir, dir->fh, &offset, 1000, false), sizes[i]);
		assert_int_equal(offset, offsets[i + 1]);
	}
}

static void two_handles_do_not_disturb_each_other(void **state)
{
	struct dir *dir = *state;
	uint64_t other = open_root(dir);
	uint64_t offset = 0, other_offset = 0;
	int a, b;

	make_files(dir);
	do {
		memset(dir->seen, 0, sizeof(dir->seen));
		a = read_some(dir, dir->fh, &offset, 2000, false);
		memset(dir->seen, 0, sizeof(dir->seen));
		b = read_some(dir, other, &other_offset, 2000, true);
		assert_true(a >= 0 && b >= 0);
	} while (a || b);
	close_root(dir, other);
}

static void rewinding_shows_the_present(void **state)
{
	struct dir *dir = *state;

	make(dir, "f1");
	read_all(dir, 4096, false);
	assert_int_equal(seen_count(dir), 1);
	make(dir, "f2");
	assert_int_equal(unlinkat(dir->f.dir_fd, "f1", 0), 0);
	read_all(dir, 4096, false);
	assert_false(dir->seen[1]);
	assert_true(dir->seen[2]);
}

static void deleting_while_reading_loses_nothing(void **state)
{
	struct dir *dir = *state;
	bool gone[FILES] = { false };
	uint64_t offset = 0;
	int ret;

	make_files(dir);
	do {
		char name[16];

		ret = read_some(dir, dir->fh, &offset, 3000, true);
		assert_true(ret >= 0);
		for (int i = 0; i < FILES; i++) {
			if (!dir->seen[i] || gone[i])
				continue;
			snprintf(name, sizeof(name), "f%d", i);
			assert_int_equal(unlinkat(dir->f.dir_fd, name, 0), 0);
			gone[i] = true;
		}
	} while (ret);
	assert_int_equal(seen_count(dir), FILES);
}

/* What getdents64(2) brought and is gone by the time it is looked up. */
static void an_entry_that_cannot_be_looked_up_is_listed_without_attributes(void **state)
{
	struct dir *dir = *state;
	uint64_t offset = 0;
	struct fuse_read_in in = { .fh = dir->fh, .size = 4096 };
	struct exchange x;
	const struct fuse_entry_out *entry;

	make(dir, "f1");
	/* "." and ".." only, or whatever comes first: the rest stays in the handle's buffer. */
	assert_true(read_some(dir, dir->fh, &offset, 160, true) > 0);
	assert_int_equal(unlinkat(dir->f.dir_fd, "f1", 0), 0);
	if (dir->seen[1])
		return; /* it came first: nothing to see here */
	in.offset = offset;
	exchange_init(&x, &dir->f, FUSE_ROOT_ID, &in);
	exchange_run(&x, op_readdirplus);
	assert_int_equal(x.error, 0);
	assert_true(x.size >= sizeof(*entry));
	for (size_t at = 0; at < x.size;) {
		const struct fuse_direntplus *plus =
			(const struct fuse_direntplus *)(x.payload + at);

		assert_int_equal(plus->entry_out.nodeid, 0);
		at += FUSE_DIRENTPLUS_SIZE(plus);
	}
	exchange_fini(&x);
}

static void the_control_directory_hides_a_backing_entry_of_its_name(void **state)
{
	struct dir *dir = *state;

	assert_int_equal(mkdirat(dir->f.dir_fd, ".zcfs", 0700), 0);
	make(dir, "f1");
	make(dir, "other");
	for (int plus = 0; plus < 2; plus++) {
		read_all(dir, 200, plus);
		assert_int_equal(seen_count(dir), 1);
		assert_int_equal(dir->others, 1);
	}
}

static void a_request_without_room_is_invalid(void **state)
{
	struct dir *dir = *state;
	uint64_t offset = 0;

	make(dir, "a_name_of_some_length");
	assert_int_equal(read_some(dir, dir->fh, &offset, 8, false), -EINVAL);
	assert_int_equal(read_some(dir, dir->fh, &offset, 128, true), -EINVAL);
	read_all(dir, 200, true);
	assert_int_equal(dir->others, 1);
	assert_int_equal(inode_counts(dir->f.fs->inodes).inodes, 1);
}

static void handles_that_are_none_are_refused(void **state)
{
	struct dir *dir = *state;
	const struct fuse_open_in open_in = { 0 };
	const struct fuse_fsync_in fsync_in = { .fh = 77 };
	uint64_t offset = 0;

	assert_int_equal(read_some(dir, 77, &offset, 4096, false), -EBADF);
	assert_int_equal(read_some(dir, dir->fh ^ 1ULL << 40, &offset, 4096, true), -EBADF);
	assert_int_equal(exchange(&dir->f, op_fsyncdir, FUSE_ROOT_ID, &fsync_in, NULL, NULL),
			 -EBADF);
	assert_int_equal(exchange(&dir->f, op_opendir, 4711, &open_in, NULL, NULL), -ESTALE);
}

static void a_bad_offset_does_no_harm(void **state)
{
	struct dir *dir = *state;
	uint64_t offset = UINT64_MAX;

	make(dir, "f1");
	assert_int_equal(read_some(dir, dir->fh, &offset, 4096, false), -EINVAL);
	read_all(dir, 4096, false);
	assert_int_equal(seen_count(dir), 1);
}

static void fsyncdir_answers_when_it_is_done(void **state)
{
	struct dir *dir = *state;
	struct fuse_fsync_in in = { .fh = dir->fh };

	assert_int_equal(exchange(&dir->f, op_fsyncdir, FUSE_ROOT_ID, &in, NULL, NULL), 0);
	in.fsync_flags = FUSE_FSYNC_FDATASYNC;
	assert_int_equal(exchange(&dir->f, op_fsyncdir, FUSE_ROOT_ID, &in, NULL, NULL), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_entry_comes_once_whatever_the_size_of_the_request),
		TEST(a_lookup_is_counted_for_entries_in_the_reply_only),
		TEST(a_place_can_be_gone_back_to),
		TEST(two_handles_do_not_disturb_each_other),
		TEST(rewinding_shows_the_present),
		TEST(deleting_while_reading_loses_nothing),
		TEST(an_entry_that_cannot_be_looked_up_is_listed_without_attributes),
		TEST(the_control_directory_hides_a_backing_entry_of_its_name),
		TEST(a_request_without_room_is_invalid),
		TEST(handles_that_are_none_are_refused),
		TEST(a_bad_offset_does_no_harm),
		TEST(fsyncdir_answers_when_it_is_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
