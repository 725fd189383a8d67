/* SPDX-License-Identifier: MIT */
/*
 * The mount against its own backing directory: here all numbers must be the same, times to the
 * nanosecond and blocks included.
 */
#include "differ.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What the backing filesystem does by itself meanwhile, as giving blocks to what was written, shows
 * up as a difference that is gone at the next look. */
#define LOOKS 20

struct pair {
	int mounted_fd;
	int backing_fd;
	const struct rules *rules;
	bool fresh; /* past the caches of the mount: then blocks and atime are right too */
	struct text *mounted;
	struct text *backing;
};

static void show_time(struct text *text, const char *name, const struct statx_timestamp *time)
{
	text_add(text, " %s=%lld.%09u", name, (long long)time->tv_sec, time->tv_nsec);
}

static void show(const struct pair *pair, struct text *text, int dir_fd, const char *path)
{
	const bool fresh = pair->fresh;
	struct statx stx;

	text_add(text, "  %s:", path);
	if (statx(dir_fd, path, AT_SYMLINK_NOFOLLOW | (fresh ? AT_STATX_FORCE_SYNC : 0),
		  STATX_BASIC_STATS | STATX_BTIME, &stx)) {
		text_add(text, " %s\n", strerrorname_np(errno));
		return;
	}
	text_add(text, " ino=%llu mode=%o nlink=%u owner=%u:%u size=%llu rdev=%u:%u blksize=%u",
		 (unsigned long long)stx.stx_ino, stx.stx_mode, stx.stx_nlink, stx.stx_uid,
		 stx.stx_gid, (unsigned long long)stx.stx_size, stx.stx_rdev_major,
		 stx.stx_rdev_minor, stx.stx_blksize);
	if (rules_show_exact_times(pair->rules, stx.stx_mode)) {
		show_time(text, "mtime", &stx.stx_mtime);
		show_time(text, "ctime", &stx.stx_ctime);
	}
	if (fresh) {
		show_time(text, "atime", &stx.stx_atime);
		show_time(text, "btime", &stx.stx_btime);
		text_add(text, " blocks=%llu", (unsigned long long)stx.stx_blocks);
	}
	text_add(text, "\n");
}

static void show_pair(const struct pair *pair, const char *path)
{
	struct dirent **list;
	int count;

	show(pair, pair->mounted, pair->mounted_fd, path);
	show(pair, pair->backing, pair->backing_fd, path);
	count = scan_quietly(pair->backing_fd, path, &list);
	for (int i = 0; i < count; i++) {
		char below[PATH_SIZE * 2];

		snprintf(below, sizeof(below), "%s/%s", path, list[i]->d_name);
		show_pair(pair, below);
		free(list[i]);
	}
	if (count >= 0)
		free(list);
}

static bool is_exact(struct pair *pair)
{
	text_clear(pair->mounted);
	text_clear(pair->backing);
	show_pair(pair, ".");
	return !strcmp(pair->mounted->data, pair->backing->data);
}

static void let_it_work(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
}

bool look_is_exact(const struct rules *rules, const char *mounted, const char *backing,
		   struct text *ret_mounted, struct text *ret_backing)
{
	struct pair pair = {
		.rules = rules,
		.mounted_fd = open(mounted, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.backing_fd = open(backing, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.mounted = ret_mounted,
		.backing = ret_backing,
	};
	bool exact;

	exact = is_exact(&pair);
	pair.fresh = true;
	for (unsigned i = 0; exact && !(exact = is_exact(&pair)) && i < LOOKS; i++) {
		let_it_work();
		exact = true;
	}
	if (pair.mounted_fd >= 0)
		close(pair.mounted_fd);
	if (pair.backing_fd >= 0)
		close(pair.backing_fd);
	return exact;
}
