/* SPDX-License-Identifier: MIT */
/*
 * Looking: what is there, as text. Numbers that cannot be the same on both sides are put into a
 * form that can:
 *
 *     times     those that the generator sets lie far in the past or in the future and are shown to
 *               the nanosecond; all others are "now"
 *     inodes    shown by the first name of a hard link
 *     content   a hash
 */
#include "differ.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LONG_AGO 1000000000LL /* seconds; the present is later */
#define SOME_DAY 4000000000LL /* and before this */

void text_clear(struct text *text)
{
	text->size = 0;
	text->data[0] = '\0';
}

void text_add(struct text *text, const char *format, ...)
{
	const size_t room = sizeof(text->data) - text->size;
	va_list list;
	int n;

	va_start(list, format);
	n = vsnprintf(text->data + text->size, room, format, list);
	va_end(list);
	text->size += (size_t)n < room ? (size_t)n : room - 1;
}

uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 1099511628211ULL;
	return hash;
}

static void show_time(struct text *text, const char *name, const struct statx_timestamp *time)
{
	if (time->tv_sec < LONG_AGO || time->tv_sec > SOME_DAY)
		text_add(text, " %s=%lld.%09u", name, (long long)time->tv_sec, time->tv_nsec);
	else
		text_add(text, " %s=now", name);
}

void look_at_stat(const struct rules *rules, const struct statx *stx, struct text *text)
{
	text_add(text, " mode=%o nlink=%u owner=%u:%u size=%llu rdev=%u:%u", stx->stx_mode,
		 stx->stx_nlink, stx->stx_uid, stx->stx_gid, (unsigned long long)stx->stx_size,
		 stx->stx_rdev_major, stx->stx_rdev_minor);
	if (rules_show_mtime(rules, stx->stx_mode))
		show_time(text, "mtime", &stx->stx_mtime);
	if (rules_show_atime(rules, stx->stx_mode))
		show_time(text, "atime", &stx->stx_atime);
	if (stx->stx_mask & STATX_BTIME)
		text_add(text, " btime");
}

static bool is_later(const struct statx_timestamp *before, const struct statx_timestamp *after)
{
	return before->tv_sec != after->tv_sec || before->tv_nsec != after->tv_nsec;
}

void look_at_moves(const struct rules *rules, const struct statx *before, const struct statx *after,
		   struct text *text)
{
	if (!rules_show_mtime(rules, after->stx_mode))
		return;
	if (is_later(&before->stx_mtime, &after->stx_mtime))
		text_add(text, " mtime moved");
	if (is_later(&before->stx_ctime, &after->stx_ctime))
		text_add(text, " ctime moved");
	if (rules_show_atime(rules, after->stx_mode) &&
	    is_later(&before->stx_atime, &after->stx_atime))
		text_add(text, " atime moved");
}

/* ---- content ---- */

#define WHOLE (2 * 1024 * 1024) /* of larger files the beginning and the end are read */

static uint64_t hash_part(int fd, off_t from, off_t to, uint64_t hash)
{
	static unsigned char data[65536];

	while (from < to) {
		const size_t piece = to - from < (off_t)sizeof(data) ? (size_t)(to - from)
								     : sizeof(data);
		const ssize_t n = pread(fd, data, piece, from);

		if (n <= 0)
			return n < 0 ? hash ^ (uint64_t)errno : hash;
		hash = hash_bytes(hash, data, (size_t)n);
		from += n;
	}
	return hash;
}

/* O_NOATIME: looking leaves no trace. */
static void show_content(struct text *text, int dir_fd, const char *path)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	uint64_t hash = HASH_START;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		text_add(text, " not opened: %s", strerrorname_np(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	if (st.st_size <= WHOLE) {
		hash = hash_part(fd, 0, st.st_size, hash);
	} else {
		hash = hash_part(fd, 0, WHOLE / 8, hash);
		hash = hash_part(fd, st.st_size - WHOLE / 8, st.st_size, hash);
	}
	text_add(text, " content=%016llx", (unsigned long long)hash);
	close(fd);
}

static void show_target(struct text *text, int dir_fd, const char *path)
{
	char target[PATH_SIZE];
	ssize_t n = readlinkat(dir_fd, path, target, sizeof(target) - 1);

	target[n < 0 ? 0 : n] = '\0';
	text_add(text, " -> %s", target);
}

static int compare_pointers(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

#define NAMES 64

/* By the directory's descriptor and /proc where there is one; the observer may be chrooted, and
 * then dir_fd is the current directory, and path good as it is. */
static void show_xattrs(struct text *text, const char *path)
{
	static char list[65536], value[65536];
	ssize_t size = llistxattr(path, list, sizeof(list));
	const char *name[NAMES];
	unsigned count = 0;

	if (size < 0)
		text_add(text, " xattrs: %s", strerrorname_np(errno));
	for (ssize_t at = 0; at < size && count < NAMES; at += (ssize_t)strlen(list + at) + 1)
		name[count++] = list + at;
	qsort(name, count, sizeof(name[0]), compare_pointers);
	for (unsigned i = 0; i < count; i++) {
		ssize_t n = lgetxattr(path, name[i], value, sizeof(value));

		text_add(text, " %s=%zd/%016llx", name[i], n,
			 (unsigned long long)hash_bytes(HASH_START, value, n > 0 ? (size_t)n : 0));
	}
}

static int stat_path(const char *path, struct statx *ret_stx)
{
	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, ret_stx);
}

static void show_path(const struct rules *rules, const char *path, struct text *text)
{
	struct statx stx;

	text_add(text, "  %s:", path);
	if (stat_path(path, &stx)) {
		text_add(text, " %s\n", strerrorname_np(errno));
		return;
	}
	look_at_stat(rules, &stx, text);
	if (S_ISREG(stx.stx_mode))
		show_content(text, AT_FDCWD, path);
	else if (S_ISLNK(stx.stx_mode))
		show_target(text, AT_FDCWD, path);
	show_xattrs(text, path);
	text_add(text, "\n");
}

/* ---- after a step ---- */

/* Of path number i: 0 and 2 those of the step, 1 and 3 their directories. False: there is none. */
static bool path_of(const struct step *step, unsigned i, char path[PATH_SIZE])
{
	const char *own = step->path[i / 2];
	char *slash;

	if (!*own || strchr(calls[step->call].arguments, i < 2 ? 'p' : 'P') == NULL)
		return false;
	memcpy(path, own, PATH_SIZE);
	if (i % 2 == 0)
		return true;
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	else
		strcpy(path, ".");
	return *path;
}

void look_settle(int fd)
{
	sync_file_range(fd, 0, 0,
			SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				SYNC_FILE_RANGE_WAIT_AFTER);
}

static void settle_path(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) || !S_ISREG(st.st_mode))
		return;
	fd = open(path, O_RDONLY | O_NOATIME | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	look_settle(fd);
	close(fd);
}

void look_before(struct actor *actor, const struct step *step)
{
	char path[PATH_SIZE];

	for (unsigned i = 0; i < LOOKED_AT; i++) {
		actor->was_there[i] = false;
		if (!path_of(step, i, path))
			continue;
		settle_path(path);
		actor->was_there[i] = stat_path(path, &actor->before[i]) == 0;
	}
}

void look_after(struct actor *actor, const struct step *step, struct text *text)
{
	char path[PATH_SIZE];
	struct statx stx;

	for (unsigned i = 0; i < LOOKED_AT; i++) {
		if (!path_of(step, i, path))
			continue;
		show_path(actor->rules, path, text);
		if (!step->timed || !actor->was_there[i] || stat_path(path, &stx) ||
		    stx.stx_ino != actor->before[i].stx_ino)
			continue;
		text_add(text, "  %s:", path);
		look_at_moves(actor->rules, &actor->before[i], &stx, text);
		text_add(text, "\n");
	}
}

/* ---- trees ---- */

struct walk {
	const struct rules *rules;
	struct text *text;
	unsigned count;
	struct {
		uint64_t ino;
		char path[PATH_SIZE];
	} linked[256]; /* files with several names */
};

static void show_links(struct walk *walk, const struct statx *stx, const char *path)
{
	for (unsigned i = 0; i < walk->count; i++)
		if (walk->linked[i].ino == stx->stx_ino) {
			text_add(walk->text, "  is %s\n", walk->linked[i].path);
			return;
		}
	if (walk->count < sizeof(walk->linked) / sizeof(walk->linked[0])) {
		walk->linked[walk->count].ino = stx->stx_ino;
		snprintf(walk->linked[walk->count++].path, PATH_SIZE, "%s", path);
	}
}

static void show_tree(struct walk *walk, const char *path);

static bool is_dots(const struct dirent *entry)
{
	return !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
}

static struct dirent *copy_of(const struct dirent *entry)
{
	struct dirent *copy = malloc(sizeof(*copy));

	if (!copy)
		differ_give_up("malloc");
	memcpy(copy, entry, entry->d_reclen < sizeof(*copy) ? entry->d_reclen : sizeof(*copy));
	return copy;
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp((*(struct dirent *const *)a)->d_name, (*(struct dirent *const *)b)->d_name);
}

static int read_entries(DIR *dir, struct dirent ***ret_list)
{
	const struct dirent *entry;
	struct dirent **list = NULL;
	int count = 0;

	errno = 0;
	while ((entry = readdir(dir))) {
		if (is_dots(entry))
			continue;
		list = realloc(list, ((size_t)count + 1) * sizeof(*list));
		if (!list)
			differ_give_up("realloc");
		list[count++] = copy_of(entry);
	}
	if (count)
		qsort(list, (size_t)count, sizeof(*list), compare_entries);
	*ret_list = list;
	return errno && !count ? -1 : count;
}

int scan_quietly(int dir_fd, const char *path, struct dirent ***ret_list)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int count, error;

	if (!dir)
		return -1;
	count = read_entries(dir, ret_list);
	error = errno;
	closedir(dir);
	errno = error;
	return count;
}

static void show_directory(struct walk *walk, const char *path)
{
	struct dirent **list;
	int count = scan_quietly(AT_FDCWD, path, &list);

	if (count < 0)
		text_add(walk->text, "  %s: not listed: %s\n", path, strerrorname_np(errno));
	for (int i = 0; i < count; i++) {
		char below[PATH_SIZE * 2];
		struct statx stx;

		snprintf(below, sizeof(below), "%s%s%s", strcmp(path, ".") ? path : "",
			 strcmp(path, ".") ? "/" : "", list[i]->d_name);
		if (!stat_path(below, &stx) &&
		    (stx.stx_ino != list[i]->d_ino || (stx.stx_mode >> 12) != list[i]->d_type))
			text_add(walk->text, "  %s: listed as another inode or type\n", below);
		show_tree(walk, below);
		free(list[i]);
	}
	if (count >= 0)
		free(list);
}

static void show_tree(struct walk *walk, const char *path)
{
	struct statx stx;

	show_path(walk->rules, path, walk->text);
	if (stat_path(path, &stx))
		return;
	if (S_ISDIR(stx.stx_mode))
		show_directory(walk, path);
	else if (stx.stx_nlink > 1)
		show_links(walk, &stx, path);
}

void look_at_tree(const struct rules *rules, int dir_fd, struct text *text)
{
	static struct walk walk;

	walk = (struct walk){ .rules = rules, .text = text };
	if (fchdir(dir_fd))
		text_add(text, "not entered: %s\n", strerrorname_np(errno));
	else
		show_tree(&walk, ".");
}
