/* SPDX-License-Identifier: MIT */

/*
 * churn data|names DIRECTORY SEED OPERATIONS
 *
 * data    random operations on a few files of its own, each compared with a model in memory
 * names   random operations on names, to be run by several processes in one directory at a time:
 *         they get in each other's way, so all that is asked is that no error comes that has no
 *         right to
 *
 * The same seed makes the same operations. On a difference it says what it did last and ends with
 * 1.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FILES	  8
#define FILE_MAX  (1024 * 1024)
#define PIECE_MAX (200 * 1024)
#define HISTORY	  32
#define LINE	  128

struct file {
	char name[32];
	int fd;
	size_t size;
	unsigned char *model; /* FILE_MAX bytes, zero from size on */
};

struct churn {
	uint64_t state; /* of the random numbers */
	unsigned operation;
	char history[HISTORY][LINE];
	struct file file[FILES];
	unsigned char *buffer; /* FILE_MAX bytes */
};

static uint32_t pick(struct churn *churn, uint32_t below)
{
	churn->state = churn->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(churn->state >> 33) % below;
}

__attribute__((format(printf, 2, 3))) static void note(struct churn *churn, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(churn->history[churn->operation % HISTORY], LINE, format, list);
	va_end(list);
}

static _Noreturn void give_up(struct churn *churn, const char *what)
{
	int error = errno;

	for (unsigned i = 0; i < HISTORY; i++) {
		const char *line = churn->history[(churn->operation + 1 + i) % HISTORY];

		if (*line)
			fprintf(stderr, "  %s\n", line);
	}
	fprintf(stderr, "churn: operation %u: %s (errno: %s)\n", churn->operation, what,
		strerror(error));
	exit(1);
}

#define REQUIRE(condition)                                       \
	do {                                                     \
		if (!(condition))                                \
			give_up(churn, "not true: " #condition); \
	} while (0)

static void verify(struct churn *churn, struct file *file, size_t offset, size_t length)
{
	ssize_t expected = 0;
	ssize_t n;

	if (offset < file->size)
		expected = (ssize_t)(file->size - offset < length ? file->size - offset : length);
	n = pread(file->fd, churn->buffer, length, (off_t)offset);
	REQUIRE(n == expected);
	for (ssize_t i = 0; i < n; i++)
		if (churn->buffer[i] != file->model[offset + (size_t)i]) {
			fprintf(stderr, "%s differs at %zu: %02x, expected %02x\n", file->name,
				offset + (size_t)i, churn->buffer[i],
				file->model[offset + (size_t)i]);
			give_up(churn, "wrong data");
		}
}

static void do_read(struct churn *churn, struct file *file)
{
	size_t offset = pick(churn, FILE_MAX);
	size_t length = pick(churn, PIECE_MAX);

	note(churn, "read %s %zu+%zu", file->name, offset, length);
	if (offset + length > FILE_MAX)
		length = FILE_MAX - offset;
	verify(churn, file, offset, length);
}

static void do_write(struct churn *churn, struct file *file)
{
	size_t length = 1 + pick(churn, PIECE_MAX);
	size_t offset = pick(churn, FILE_MAX - PIECE_MAX);
	unsigned char first = (unsigned char)pick(churn, 256);

	note(churn, "write %s %zu+%zu", file->name, offset, length);
	for (size_t i = 0; i < length; i++)
		file->model[offset + i] = (unsigned char)(first + i * 7 + (i >> 8));
	if (offset + length > file->size)
		file->size = offset + length;
	REQUIRE(pwrite(file->fd, file->model + offset, length, (off_t)offset) == (ssize_t)length);
}

static void do_truncate(struct churn *churn, struct file *file)
{
	size_t size = pick(churn, FILE_MAX);

	note(churn, "truncate %s from %zu to %zu", file->name, file->size, size);
	REQUIRE(ftruncate(file->fd, (off_t)size) == 0);
	if (size < file->size)
		memset(file->model + size, 0, file->size - size);
	file->size = size;
}

static void do_punch(struct churn *churn, struct file *file)
{
	size_t length = 1 + pick(churn, PIECE_MAX);
	size_t offset = pick(churn, FILE_MAX - PIECE_MAX);

	note(churn, "punch %s %zu+%zu", file->name, offset, length);
	if (fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)length)) {
		REQUIRE(errno == EOPNOTSUPP);
		return;
	}
	memset(file->model + offset, 0, length);
}

static void do_copy(struct churn *churn, struct file *from)
{
	struct file *to = &churn->file[pick(churn, FILES)];
	size_t length = 1 + pick(churn, PIECE_MAX);
	off_t in = pick(churn, FILE_MAX), out = pick(churn, FILE_MAX - PIECE_MAX);
	size_t copied = 0;

	if (from == to)
		return;
	note(churn, "copy %s %lld+%zu to %s %lld", from->name, (long long)in, length, to->name,
	     (long long)out);
	while (copied < length) {
		size_t in_now = (size_t)in, out_now = (size_t)out;
		ssize_t n = copy_file_range(from->fd, &in, to->fd, &out, length - copied, 0);

		REQUIRE(n >= 0);
		if (n == 0)
			break;
		REQUIRE(in_now + (size_t)n <= from->size);
		memcpy(to->model + out_now, from->model + in_now, (size_t)n);
		if (out_now + (size_t)n > to->size)
			to->size = out_now + (size_t)n;
		copied += (size_t)n;
	}
	REQUIRE(copied == length || (size_t)in >= from->size);
}

static void do_map(struct churn *churn, struct file *file)
{
	size_t offset, length;
	unsigned char *map;

	if (file->size == 0)
		return;
	offset = pick(churn, (uint32_t)file->size);
	length = 1 + pick(churn, (uint32_t)(file->size - offset));
	note(churn, "map %s %zu+%zu of %zu", file->name, offset, length, file->size);
	map = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
	REQUIRE(map != MAP_FAILED);
	if (memcmp(map, file->model, file->size) != 0)
		give_up(churn, "the mapping differs");
	memset(map + offset, (int)churn->operation, length);
	memset(file->model + offset, (int)churn->operation, length);
	if (pick(churn, 2))
		REQUIRE(msync(map, file->size, MS_SYNC) == 0);
	REQUIRE(munmap(map, file->size) == 0);
}

static void do_append(struct churn *churn, struct file *file)
{
	int fd = open(file->name, O_WRONLY | O_APPEND);
	size_t length = 1 + pick(churn, 10000);

	note(churn, "append %zu to %s of %zu", length, file->name, file->size);
	REQUIRE(fd >= 0);
	if (file->size + length <= FILE_MAX) {
		memset(file->model + file->size, 'a', length);
		REQUIRE(write(fd, file->model + file->size, length) == (ssize_t)length);
		file->size += length;
	}
	REQUIRE(close(fd) == 0);
}

static void open_file(struct churn *churn, struct file *file, int flags)
{
	file->fd = open(file->name, O_RDWR | flags, 0644);
	REQUIRE(file->fd >= 0);
}

static void do_reopen(struct churn *churn, struct file *file)
{
	note(churn, "reopen %s", file->name);
	REQUIRE(close(file->fd) == 0);
	open_file(churn, file, 0);
}

static void do_replace(struct churn *churn, struct file *file)
{
	note(churn, "unlink and create %s", file->name);
	REQUIRE(unlink(file->name) == 0);
	verify(churn, file, 0, file->size); /* unlinked, still there */
	REQUIRE(close(file->fd) == 0);
	open_file(churn, file, O_CREAT | O_EXCL);
	memset(file->model, 0, FILE_MAX);
	file->size = 0;
}

static void do_rename(struct churn *churn, struct file *file)
{
	char name[32];

	snprintf(name, sizeof(name), "%c%s", file->name[0] == 'f' ? 'g' : 'f', file->name + 1);
	note(churn, "rename %s to %s", file->name, name);
	REQUIRE(rename(file->name, name) == 0);
	memcpy(file->name, name, sizeof(name));
}

static void do_sync(struct churn *churn, struct file *file)
{
	note(churn, "sync %s", file->name);
	REQUIRE(fsync(file->fd) == 0);
}

static void do_stat(struct churn *churn, struct file *file)
{
	struct stat st;

	note(churn, "stat %s", file->name);
	REQUIRE(stat(file->name, &st) == 0 && st.st_size == (off_t)file->size);
	REQUIRE(fstat(file->fd, &st) == 0 && st.st_size == (off_t)file->size);
}

static void (*const data_operations[])(struct churn *churn, struct file *file) = {
	do_write, do_write, do_write,  do_read,	  do_read,    do_truncate, do_punch, do_copy,
	do_copy,  do_map,   do_append, do_reopen, do_replace, do_rename,   do_sync,  do_stat,
};

static void churn_data(struct churn *churn, unsigned operations)
{
	const unsigned kinds = sizeof(data_operations) / sizeof(data_operations[0]);

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(churn->file[i].name, sizeof(churn->file[i].name), "f%u", i);
		churn->file[i].model = calloc(1, FILE_MAX);
		REQUIRE(churn->file[i].model);
		open_file(churn, &churn->file[i], O_CREAT | O_EXCL);
	}
	for (churn->operation = 0; churn->operation < operations; churn->operation++)
		data_operations[pick(churn, kinds)](churn, &churn->file[pick(churn, FILES)]);
	for (unsigned i = 0; i < FILES; i++) {
		do_reopen(churn, &churn->file[i]);
		verify(churn, &churn->file[i], 0, FILE_MAX);
		REQUIRE(close(churn->file[i].fd) == 0);
		free(churn->file[i].model);
	}
}

/* The errors that come when somebody else was faster. */
static void expect(struct churn *churn, int result)
{
	static const int allowed[] = { ENOENT, EEXIST, ENOTEMPTY, ENOTDIR,
				       EISDIR, EINVAL, ELOOP,	  EPERM };

	if (result >= 0)
		return;
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (errno == allowed[i])
			return;
	give_up(churn, "an error that has no right to come");
}

static void list(struct churn *churn, const char *name)
{
	DIR *dir = opendir(name);
	unsigned entries = 0;

	expect(churn, dir ? 0 : -1);
	if (!dir)
		return;
	errno = 0;
	while (readdir(dir))
		entries++;
	REQUIRE(errno == 0 || errno == ENOENT);
	REQUIRE(entries < 1000);
	closedir(dir);
}

static void write_and_close(struct churn *churn, const char *name, int flags)
{
	int fd = open(name, O_RDWR | flags, 0644);
	char data[8];

	expect(churn, fd);
	if (fd < 0)
		return;
	REQUIRE(write(fd, "text", 4) == 4);
	if (pick(churn, 4) == 0)
		expect(churn, unlink(name));
	REQUIRE(pread(fd, data, 4, 0) >= 0);
	REQUIRE(close(fd) == 0);
}

static void change_name(struct churn *churn, const char *a, const char *b)
{
	struct stat st;

	switch (pick(churn, 14)) {
	case 0:
		return expect(churn, mkdir(a, 0755));
	case 1:
		return expect(churn, rmdir(a));
	case 2:
		return expect(churn, unlink(a));
	case 3:
	case 4:
		return expect(churn, rename(a, b));
	case 5:
		return expect(churn, link(a, b));
	case 6:
		return expect(churn, symlink("f0", a));
	case 7:
		return expect(churn, lstat(a, &st));
	case 8:
		return list(churn, a);
	case 9:
		return expect(churn, chmod(a, 0700 | pick(churn, 0100)));
	case 10:
		expect(churn, setxattr(a, "user.churn", "value", 5, 0));
		return expect(churn, truncate(a, pick(churn, 10000)));
	case 11:
		return list(churn, ".");
	default:
		return write_and_close(churn, a, pick(churn, 2) ? O_CREAT : O_TRUNC);
	}
}

static void pick_name(struct churn *churn, char name[32])
{
	if (pick(churn, 3) == 0)
		snprintf(name, 32, "f%u", pick(churn, 6));
	else
		snprintf(name, 32, "f%u/f%u", pick(churn, 6), pick(churn, 6));
}

static void churn_names(struct churn *churn, unsigned operations)
{
	char a[32], b[32];

	for (churn->operation = 0; churn->operation < operations; churn->operation++) {
		pick_name(churn, a);
		pick_name(churn, b);
		note(churn, "%s %s", a, b);
		change_name(churn, a, b);
	}
}

int main(int argc, char **argv)
{
	static struct churn churn;

	if (argc != 5 || chdir(argv[2]) || !(churn.buffer = malloc(FILE_MAX))) {
		fprintf(stderr, "usage: churn data|names DIRECTORY SEED OPERATIONS\n");
		return 2;
	}
	churn.state = strtoull(argv[3], NULL, 0) * 2654435761U + 12345;
	if (strcmp(argv[1], "data") == 0)
		churn_data(&churn, (unsigned)atoi(argv[4]));
	else
		churn_names(&churn, (unsigned)atoi(argv[4]));
	free(churn.buffer);
	return 0;
}
