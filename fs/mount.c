/* SPDX-License-Identifier: MIT */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse.h>

#include "cleanup.h"
#include "log.h"
#include "options.h"

#if defined(__has_feature) && !defined(__SANITIZE_ADDRESS__)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ /* gcc defines it by itself */
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable() ((void)0)
#define __lsan_enable()	 ((void)0)
#endif

#define DEVICE		 "/dev/fuse"
#define MOUNTINFO	 "/proc/self/mountinfo"
#define PROBE_TIMEOUT_MS 1000

/* One line of /proc/self/mountinfo, see proc(5). The strings lie in line. */
struct mountinfo {
	char *line;
	int id;
	dev_t device;
	char *mountpoint;
	char *type;
	char *source;
};

static void mountinfo_fini(struct mountinfo *info)
{
	free(info->line);
}
#define CLEANUP_MOUNTINFO __attribute__((cleanup(mountinfo_fini)))

/* \040 is a space: the kernel writes space, tab, newline and backslash so. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		unsigned code;

		if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
			*to = (char)code;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/*
 * "36 35 98:0 /root /mountpoint rw,noatime shared:1 - ext3 /dev/sda1 rw": fields parted by one
 * space, optional ones up to the dash.
 */
static bool mountinfo_parse(struct mountinfo *info)
{
	char *rest = info->line;
	unsigned major_number, minor_number;
	char *field[5];

	for (unsigned i = 0; i < 5; i++)
		field[i] = strsep(&rest, " ");
	if (!rest || sscanf(field[2], "%u:%u", &major_number, &minor_number) != 2)
		return false;
	rest = strstr(rest, " - ");
	if (!rest)
		return false;
	rest += 3;
	info->id = atoi(field[0]);
	info->device = makedev(major_number, minor_number);
	info->mountpoint = field[4];
	info->type = strsep(&rest, " ");
	info->source = strsep(&rest, " ");
	unescape(info->mountpoint);
	if (info->source)
		unescape(info->source);
	return info->source != NULL;
}

/*
 * Walks the lines. Returns 0 with the first line whose mount id is id, or -ENOENT; and how many
 * mounts there are of device (a bind mount, or a propagated one, is one more).
 */
static int mountinfo_find(int id, struct mountinfo *ret_info, dev_t device, unsigned *ret_count)
{
	struct mountinfo info = { .line = NULL };
	FILE *file = fopen(MOUNTINFO, "re");
	size_t room = 0;
	int err = -ENOENT;

	if (!file)
		return -errno;
	while (getline(&info.line, &room, file) > 0) {
		info.line[strcspn(info.line, "\n")] = '\0';
		if (!mountinfo_parse(&info))
			continue;
		if (ret_count && info.device == device)
			++*ret_count;
		if (ret_info && info.id == id && err) {
			*ret_info = info;
			info.line = NULL;
			room = 0;
			err = 0;
		}
	}
	free(info.line);
	fclose(file);
	return err;
}

/* The id of the mount that fd lies in. statx(2) would tell as well, but may ask the filesystem. */
static int mount_id(int fd)
{
	char path[40], line[128];
	int id = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "mnt_id: %d", &id) == 1)
			break;
	if (file)
		fclose(file);
	return id;
}

/* What is mounted exactly at path. Returns 0 or -errno: -ENOENT when nothing is. */
static int mounted_at(const char *path, int fd, struct mountinfo *ret_info)
{
	int err = mountinfo_find(mount_id(fd), ret_info, 0, NULL);

	if (err)
		return err;
	if (!ret_info->mountpoint || strcmp(ret_info->mountpoint, path)) {
		mountinfo_fini(ret_info);
		ret_info->line = NULL;
		return -ENOENT;
	}
	return 0;
}

/*
 * Whether the filesystem of fd answers: 0 or -errno, -ENOTCONN when its daemon died. Cached
 * attributes would not tell. A request that was sent while the daemon died is aborted.
 */
static int ask(int fd)
{
	struct statx stx;

	if (!statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_TYPE, &stx))
		return 0;
	return errno == ECONNABORTED ? -ENOTCONN : -errno;
}

static int open_directory(int at, const char *path)
{
	int fd = openat(at, path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int open_backing(const char *path, int *ret_fd)
{
	CLEANUP_FD int fd = open_directory(AT_FDCWD, path);
	CLEANUP_FD int dot = -1;
	int err;

	if (fd < 0)
		return fd;
	dot = open_directory(fd, "."); /* O_PATH alone needs no search permission */
	if (dot < 0)
		return dot;
	err = ask(fd); /* nor does it notice a dead mount */
	if (err)
		return err;
	*ret_fd = take_fd(&fd);
	return 0;
}

static int prepare_backing(struct mount *mount, const char *path)
{
	int err = open_backing(path, &mount->backing_fd);

	switch (err) {
	case 0:
		return -1;
	case -ENOENT:
		log_error("backing directory %s does not exist", path);
		break;
	case -ENOTDIR:
		log_error("backing directory %s is not a directory", path);
		break;
	case -EACCES:
		log_error("no permission to search backing directory %s", path);
		break;
	case -ENOTCONN:
		log_error("the daemon of the filesystem at backing directory %s died: run "
			  "fusermount3 -u there and mount that filesystem again",
			  path);
		break;
	default:
		log_error("backing directory %s: %s", path, strerror(-err));
	}
	return EXIT_SETUP;
}

/*
 * Whether a filesystem has lost its daemon. Only a request can tell, and a daemon that hangs does
 * not answer it, so a process of its own asks, and is left behind when that takes too long.
 */
static bool is_dead(int fd)
{
	struct pollfd answer = { .events = POLLIN };
	char dead = 0;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return false;
	pid = fork();
	if (pid == 0) {
		dead = ask(fd) == -ENOTCONN;
		_exit(write(ends[1], &dead, 1) != 1);
	}
	close(ends[1]);
	answer.fd = ends[0];
	if (pid > 0 && poll(&answer, 1, PROBE_TIMEOUT_MS) == 1) {
		if (read(ends[0], &dead, 1) != 1)
			dead = 0;
		waitpid(pid, NULL, 0);
	} else if (pid > 0) {
		kill(pid, SIGKILL);
	}
	close(ends[0]);
	return dead;
}

/* A mount point may be one already, mount(2) stacks; but a second zcfs on top of the first is a
 * mistake, and a dead mount is in the way. */
static int check_covered(const struct mount *mount)
{
	CLEANUP_MOUNTINFO struct mountinfo info = { .line = NULL };
	const char *path = mount->mountpoint;

	if (mounted_at(path, mount->covered_fd, &info) || strncmp(info.type, "fuse", 4))
		return -1;
	if (is_dead(mount->covered_fd)) {
		log_error("a filesystem whose daemon died is still mounted on %s: run "
			  "fusermount3 -u %s",
			  path, path);
		return EXIT_MOUNT;
	}
	if (!strcmp(info.type, "fuse.zcfs")) {
		log_error("%s is already a zcfs mount of %s; unmount it first: fusermount3 -u %s",
			  path, info.source, path);
		return EXIT_MOUNT;
	}
	return -1;
}

static int prepare_mountpoint(struct mount *mount)
{
	const char *path = mount->mountpoint;

	mount->covered_fd = open_directory(AT_FDCWD, path);
	if (mount->covered_fd >= 0)
		return check_covered(mount);
	switch (mount->covered_fd) {
	case -ENOENT:
		log_error("mount point %s does not exist: make it with mkdir", path);
		break;
	case -ENOTDIR:
		log_error("mount point %s is not a directory", path);
		break;
	case -EACCES:
		log_error("mount point %s: no permission to reach it", path);
		break;
	default:
		log_error("mount point %s: %s", path, strerror(-mount->covered_fd));
	}
	return EXIT_MOUNT;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/*
 * Whether the mount point lies below the backing directory, seen from the mount point upwards. A
 * bind mount of the backing directory counts as the directory itself: mounts made in the one may
 * appear in the other (shared subtrees, mount_namespaces(7)). The backing directory itself is no
 * case: it is held by a descriptor from before the mount.
 */
static int find_inside(const struct mount *mount, bool *ret_inside)
{
	CLEANUP_FD int fd = open_directory(mount->covered_fd, "..");
	struct stat backing, here, up;

	*ret_inside = false;
	if (fd == -EACCES)
		return 0; /* we could not come down this way either */
	if (fd < 0)
		return fd;
	if (fstat(mount->backing_fd, &backing) || fstat(fd, &here))
		return -errno;
	for (;;) {
		int parent;

		*ret_inside = is_same(&here, &backing);
		parent = open_directory(fd, "..");
		if (*ret_inside || parent == -EACCES) {
			close_fd(&parent);
			return 0;
		}
		if (parent < 0)
			return parent;
		if (fstat(parent, &up)) {
			close_fd(&parent);
			return -errno;
		}
		if (is_same(&up, &here) && mount_id(parent) == mount_id(fd)) {
			close(parent);
			return 0; /* the root */
		}
		close(fd);
		fd = parent;
		here = up;
	}
}

static int check_proc(void)
{
	if (access(MOUNTINFO, R_OK) == 0)
		return -1;
	log_error(MOUNTINFO ": %s (is /proc mounted?)", strerror(errno));
	return EXIT_SETUP;
}

static int check_device(void)
{
	CLEANUP_FD int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return -1;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		log_error(DEVICE " is missing: load the fuse module (modprobe fuse); in a "
				 "container, pass the device in");
		break;
	case EACCES:
	case EPERM:
		log_error("no permission to open " DEVICE
			  ": its mode should be 0666 (chmod 0666 " DEVICE
			  "); a container must be allowed the device");
		break;
	default:
		log_error(DEVICE ": %s", strerror(errno));
	}
	return EXIT_MOUNT;
}

int mount_prepare(struct mount *mount, const struct options *options)
{
	int code, err;

	*mount = (struct mount){ .backing_fd = -1, .covered_fd = -1, .device_fd = -1 };
	mount->mountpoint = strdup(options->mountpoint);
	if (!mount->mountpoint) {
		log_error("no memory");
		return EXIT_SETUP;
	}
	code = check_proc();
	if (code < 0)
		code = prepare_backing(mount, options->backing);
	if (code < 0)
		code = prepare_mountpoint(mount);
	if (code < 0)
		code = check_device();
	if (code >= 0)
		return code;
	err = find_inside(mount, &mount->inside);
	if (!err)
		return -1;
	log_error("the directories above %s: %s", mount->mountpoint, strerror(-err));
	return EXIT_SETUP;
}

static bool is_executable(const char *directory, size_t size, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%.*s/%s", (int)size, directory, name);
	return access(path, X_OK) == 0;
}

static bool is_in_path(const char *name)
{
	const char *path = getenv("PATH");

	for (path = path ? path : _PATH_DEFPATH; *path; path += strspn(path, ":")) {
		size_t size = strcspn(path, ":");

		if (is_executable(path, size, name))
			return true;
		path += size;
	}
	return is_executable("/usr/bin", strlen("/usr/bin"), name);
}

/* libfuse and fusermount3 have said what they know, on stderr. */
static void explain_failure(const struct mount *mount)
{
	if (geteuid() && !is_in_path("fusermount3"))
		log_error("an ordinary user mounts through fusermount3, which is missing: install "
			  "the package fuse3");
	log_error("mounting on %s failed", mount->mountpoint);
}

/*
 * Learns the mount's device number, from which alone it can be told apart. Not by stat(2): nobody
 * serves the mount yet.
 */
static int identify(struct mount *mount)
{
	CLEANUP_MOUNTINFO struct mountinfo info = { .line = NULL };
	CLEANUP_FD int fd = open_directory(AT_FDCWD, mount->mountpoint);
	unsigned count = 0;
	int err = fd < 0 ? fd : mounted_at(mount->mountpoint, fd, &info);

	if (err)
		return err;
	if (strncmp(info.type, "fuse", 4))
		return -ENODEV;
	mount->device = info.device;
	mount->id = info.id;
	mountinfo_find(-1, NULL, mount->device, &count);
	if (count > 1)
		mount->inside = true; /* it appeared in other places as well: maybe in backing */
	return 0;
}

int mount_attach(struct mount *mount, const struct options *options)
{
	int err;

	__lsan_disable(); /* libfuse (3.14 at least) does not free what it parses here */
	mount->device_fd = fuse_open_channel(mount->mountpoint, options->kernel_options);
	__lsan_enable();
	if (mount->device_fd < 0) {
		explain_failure(mount);
		return EXIT_MOUNT;
	}
	err = identify(mount);
	if (err) {
		/* UNTESTED: somebody unmounted it, or mounted over it, within microseconds. */
		log_error("the mount on %s is gone at once: %s", mount->mountpoint, strerror(-err));
		return EXIT_MOUNT;
	}
	return -1;
}

void mount_fini(struct mount *mount)
{
	close_fd(&mount->backing_fd);
	close_fd(&mount->covered_fd);
	close_fd(&mount->device_fd);
	free(mount->mountpoint);
	*mount = (struct mount){ .backing_fd = -1, .covered_fd = -1, .device_fd = -1 };
}

bool mount_is_attached(const struct mount *mount)
{
	CLEANUP_MOUNTINFO struct mountinfo info = { .line = NULL };
	CLEANUP_FD int fd = open_directory(AT_FDCWD, mount->mountpoint);

	return fd >= 0 && !mounted_at(mount->mountpoint, fd, &info) && info.device == mount->device;
}

static void run_fusermount(const char *mountpoint)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/usr/bin/fusermount3", "fusermount3", "-u", "-z", "-q", "--", mountpoint,
		      NULL);
		execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", mountpoint, NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/*
 * The process of mount_detach(): forked off a process with threads, it makes system calls only. The
 * descriptor keeps the filesystem alive between the two syncfs(2), so that what was written before
 * the unmount, but after the first, reaches us too. Its closing ends the filesystem, unless
 * somebody else uses it.
 */
static void detach_and_exit(const char *mountpoint)
{
	int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		syncfs(fd);
	if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) && errno == EPERM)
		run_fusermount(mountpoint);
	if (fd >= 0) {
		syncfs(fd);
		close(fd);
	}
	_exit(0);
}

int mount_detach(const struct mount *mount, pid_t *ret_pid, int *ret_ended_fd)
{
	int ends[2], err;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	*ret_pid = fork();
	if (*ret_pid == 0) {
		/* All but the pipe: a copy of the device's descriptor would outlive us. */
		if (dup2(ends[1], STDERR_FILENO + 1) >= 0)
			closefrom(STDERR_FILENO + 2);
		detach_and_exit(mount->mountpoint);
	}
	err = *ret_pid < 0 ? -errno : 0;
	close(ends[1]);
	if (err)
		close(ends[0]);
	else
		*ret_ended_fd = ends[0];
	return err;
}
