/* SPDX-License-Identifier: MIT */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "log.h"

/* Descriptors that are neither a worker's nor a file's: the standard three, device, /proc, root,
 * syslog, and some to spare. */
#define FD_RESERVE 20

/* Descriptors pin inodes and dentries of the backing filesystem in memory: more than this brings
 * nothing. */
#define FD_CACHE_MAX 4096

/* Descriptors that the process has room for from the start: the cache, and open files. */
#define FD_ROOM (4 * FD_CACHE_MAX)

/*
 * How many O_PATH descriptors the inode table may hold. Each worker and copier has a ring, a worker
 * also a clone of the device, and each queue of io_uring has a worker; what is left is shared
 * between the table and open files.
 */
static unsigned fd_cache_limit(const struct options *options)
{
	const rlim_t ours = FD_RESERVE + 2 * (rlim_t)options->threads + options->copy_threads +
			    (options->transport == TRANSPORT_DEV ? 0 : (rlim_t)get_nprocs_conf());
	struct rlimit limit;
	rlim_t share;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur <= ours + 16)
		return 8;
	share = (limit.rlim_cur - ours) / 2;
	return (unsigned)(share < FD_CACHE_MAX ? share : FD_CACHE_MAX);
}

int fs_new(const struct options *options, int backing_fd, struct fs **ret_fs)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	int err;

	if (!fs)
		return -ENOMEM;
	fs->options = *options;
	fs->owner = geteuid();
	fs->root = fs->owner == 0;
	fs->device_fd = fs->proc_self_fd = fs->covered_fd = -1;
	if (sched_getaffinity(0, sizeof(fs->cpus), &fs->cpus) < 0)
		CPU_ZERO(&fs->cpus);
	clock_gettime(CLOCK_REALTIME, &fs->started);
	pthread_mutex_init(&fs->lock, NULL);
	interrupt_table_init(&fs->interrupts);
	lock_owners_init(&fs->lock_owners);
	refusals_init(&fs->refusals);
	passthrough_init(&fs->passthrough);
	err = handle_table_new(fs, &fs->handles);
	if (err)
		goto free_fs;
	err = inode_table_new(fs, backing_fd, fd_cache_limit(options), &fs->inodes);
	if (err)
		goto free_handles;
	*ret_fs = fs;
	return 0;

free_handles:
	handle_table_free(fs->handles);
free_fs:
	passthrough_fini(&fs->passthrough);
	refusals_fini(&fs->refusals);
	lock_owners_fini(&fs->lock_owners);
	interrupt_table_fini(&fs->interrupts);
	pthread_mutex_destroy(&fs->lock);
	free(fs);
	return err;
}

/*
 * A full table of descriptors is doubled, and in a process with several threads that waits for an
 * RCU grace period, milliseconds in which nobody gets a descriptor (Linux fs/file.c,
 * expand_fdtable()): on the way to a full cache of them seven times. While there is one thread it
 * costs nothing, and the table never shrinks.
 */
static void make_room_for_fds(int fd)
{
	struct rlimit limit;
	rlim_t high = FD_ROOM - 1;

	if (getrlimit(RLIMIT_NOFILE, &limit) || !limit.rlim_cur)
		return;
	if (high > limit.rlim_cur - 1)
		high = limit.rlim_cur - 1;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, (int)high);
	if (fd >= 0)
		close(fd);
}

int fs_after_fork(struct fs *fs)
{
	fs->proc_self_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fs->proc_self_fd < 0)
		return -errno;
	make_room_for_fds(fs->proc_self_fd);
	return inode_table_start(fs->inodes);
}

void fs_free(struct fs *fs)
{
	if (!fs)
		return;
	handle_table_free(fs->handles);
	inode_table_free(fs->inodes);
	passthrough_fini(&fs->passthrough);
	refusals_fini(&fs->refusals);
	lock_owners_fini(&fs->lock_owners);
	interrupt_table_fini(&fs->interrupts);
	if (fs->proc_self_fd >= 0)
		close(fs->proc_self_fd);
	if (fs->covered_fd >= 0)
		close(fs->covered_fd);
	pthread_mutex_destroy(&fs->lock);
	free(fs);
}

void fs_run_anywhere(const struct fs *fs)
{
	if (CPU_COUNT(&fs->cpus))
		(void)pthread_setaffinity_np(pthread_self(), sizeof(fs->cpus), &fs->cpus);
}

static bool is_noted(const struct fs *fs, const char *what)
{
	for (unsigned i = 0; i < fs->downgrade_count; i++)
		if (!strcmp(fs->downgrades[i].what, what))
			return true;
	return false;
}

void fs_downgrade(struct fs *fs, const char *what, const char *format, ...)
{
	char why[sizeof(fs->downgrades[0].why)];
	bool is_new;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);

	pthread_mutex_lock(&fs->lock);
	is_new = !is_noted(fs, what) && fs->downgrade_count < FS_DOWNGRADES;
	if (is_new) {
		struct fs_downgrade *downgrade = &fs->downgrades[fs->downgrade_count++];

		downgrade->what = what;
		memcpy(downgrade->why, why, sizeof(why));
	}
	pthread_mutex_unlock(&fs->lock);
	if (is_new)
		log_warning("without %s: %s", what, why);
}

int fs_noatime_flag(const struct fs *fs)
{
	return fs->options.noatime || fs->options.read_only ? O_NOATIME : 0;
}

struct fs_proc_name fs_proc_name(int fd)
{
	struct fs_proc_name name;

	snprintf(name.text, sizeof(name.text), "%d", fd);
	return name;
}

struct fs_proc_path fs_proc_path(int fd)
{
	struct fs_proc_path path;

	snprintf(path.text, sizeof(path.text), "/proc/self/fd/%d", fd);
	return path;
}
