/* SPDX-License-Identifier: MIT */

/*
 * LD_PRELOADed into zcfs: makes calls fail on demand. ZCFS_FAULT_FILE names a file of at least 64
 * bytes, whose text says which:
 *
 *     CALL FIRST COUNT ERRNO        pwrite 3 1 5: the third pwrite from now on ends in errno 5
 *
 * ERRNO -1: the call is held up until the text differs, and does then what it always does.
 *
 * The file is mapped, so a test can rewrite it while zcfs runs (in place: truncating it would take
 * the mapping away); counting starts anew whenever the text differs. Each fault is told on stderr.
 *
 * What zcfs calls, and not what liburing does inside: its system calls are its own.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs/fuse_kernel.h"

#define TEXT_SIZE 64
#define HOLD_UP	  (-1)

static struct {
	pthread_mutex_t lock;
	const char *text; /* the mapped file, NULL when there is none */
	char seen[TEXT_SIZE]; /* all but its newline at the end */
	unsigned calls; /* of the call that seen names, since it was seen */
} fault = { .lock = PTHREAD_MUTEX_INITIALIZER };

__attribute__((constructor)) static void map_file(void)
{
	const char *path = getenv("ZCFS_FAULT_FILE");
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
	void *map;

	if (fd < 0)
		return;
	map = (void *)syscall(SYS_mmap, NULL, TEXT_SIZE, PROT_READ, MAP_SHARED, fd, 0L);
	syscall(SYS_close, fd);
	if (map != MAP_FAILED)
		fault.text = map;
}

static int count_call(const char *call)
{
	unsigned first, count;
	char name[32];
	int error;

	if (memcmp(fault.seen, fault.text, TEXT_SIZE - 1) != 0) {
		memcpy(fault.seen, fault.text, TEXT_SIZE - 1);
		fault.calls = 0;
	}
	if (sscanf(fault.seen, "%31s %u %u %d", name, &first, &count, &error) != 4)
		return 0;
	if (strcmp(name, call) != 0)
		return 0;
	fault.calls++;
	return fault.calls >= first && fault.calls - first < count ? error : 0;
}

/* Until the test says something else. */
static void hold_up(void)
{
	char seen[TEXT_SIZE - 1];

	pthread_mutex_lock(&fault.lock);
	memcpy(seen, fault.seen, sizeof(seen));
	pthread_mutex_unlock(&fault.lock);
	while (!memcmp(seen, fault.text, sizeof(seen)))
		usleep(1000);
}

/* Whether this call is to fail; errno is then set. */
static bool fails(const char *call)
{
	char message[80];
	int error, length;

	if (!fault.text)
		return false;
	pthread_mutex_lock(&fault.lock);
	error = count_call(call);
	pthread_mutex_unlock(&fault.lock);
	if (error == HOLD_UP)
		hold_up();
	if (!error || error == HOLD_UP)
		return false;
	length = snprintf(message, sizeof(message), "fault: %s ends in %d\n", call, error);
	if (write(STDERR_FILENO, message, (size_t)length) < 0)
		abort();
	errno = error;
	return true;
}

/* The next one: of a sanitizer, or of the C library. */
#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* As <unistd.h> and its like declare them: with and without the 64 that _FILE_OFFSET_BITS adds. */
#define FAULT(type, name, call, parameters, arguments) \
	extern type name parameters;                   \
	type name parameters                           \
	{                                              \
		NEXT(name);                            \
		if (fails(call))                       \
			return (type)-1;               \
		return next arguments;                 \
	}

#undef pread
#undef pwrite
FAULT(ssize_t, pread64, "pread", (int fd, void *data, size_t size, off64_t offset),
      (fd, data, size, offset))
FAULT(ssize_t, pwrite64, "pwrite", (int fd, const void *data, size_t size, off64_t offset),
      (fd, data, size, offset))
FAULT(ssize_t, preadv64v2, "preadv2",
      (int fd, const struct iovec *iov, int count, off64_t offset, int flags),
      (fd, iov, count, offset, flags))
FAULT(ssize_t, pwritev64v2, "pwritev2",
      (int fd, const struct iovec *iov, int count, off64_t offset, int flags),
      (fd, iov, count, offset, flags))
FAULT(int, open_by_handle_at, "open_by_handle_at",
      (int mount, struct file_handle *handle, int flags), (mount, handle, flags))
FAULT(int, name_to_handle_at, "name_to_handle_at",
      (int dir, const char *name, struct file_handle *handle, int *mount, int flags),
      (dir, name, handle, mount, flags))
FAULT(int, statx, "statx",
      (int dir, const char *restrict name, int flags, unsigned mask, struct statx *restrict stx),
      (dir, name, flags, mask, stx))
FAULT(int, mkdirat, "mkdirat", (int dir, const char *name, mode_t mode), (dir, name, mode))
FAULT(int, unlinkat, "unlinkat", (int dir, const char *name, int flags), (dir, name, flags))
FAULT(int, fsync, "fsync", (int fd), (fd))
FAULT(int, ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size))
FAULT(off64_t, lseek64, "lseek", (int fd, off64_t offset, int whence), (fd, offset, whence))
FAULT(ssize_t, getdents64, "getdents64", (int fd, void *data, size_t size), (fd, data, size))
FAULT(void *, mmap64, "mmap",
      (void *address, size_t size, int protection, int flags, int fd, off64_t offset),
      (address, size, protection, flags, fd, offset))

extern int ioctl(int fd, unsigned long request, ...);
int ioctl(int fd, unsigned long request, ...)
{
	void *argument;
	va_list list;
	NEXT(ioctl);

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	if (request == FUSE_DEV_IOC_BACKING_OPEN && fails("backing_open"))
		return -1;
	return next(fd, request, argument);
}

int openat64(int dir, const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list list;
	NEXT(openat64);

	va_start(list, flags);
	if (__OPEN_NEEDS_MODE(flags))
		mode = va_arg(list, mode_t);
	va_end(list);
	return fails("openat") ? -1 : next(dir, name, flags, mode);
}

/* These return what went wrong. */
#define FAULT_RETURNED(name, parameters, arguments)            \
	extern int name parameters;                            \
	int name parameters                                    \
	{                                                      \
		NEXT(name);                                    \
		return fails(#name) ? -errno : next arguments; \
	}

FAULT_RETURNED(io_uring_queue_init_params,
	       (unsigned entries, struct io_uring *ring, struct io_uring_params *params),
	       (entries, ring, params))
FAULT_RETURNED(io_uring_register_buffers,
	       (struct io_uring * ring, const struct iovec *iov, unsigned count),
	       (ring, iov, count))
FAULT_RETURNED(io_uring_register_personality, (struct io_uring * ring), (ring))

/* A command that gives an answer back, and is queued, becomes one that the kernel does not know. */
static void spoil_commit(struct io_uring *ring)
{
	const unsigned shift = ring->flags & IORING_SETUP_SQE128 ? 1 : 0;
	const unsigned mask = *ring->sq.kring_mask;

	for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
		struct io_uring_sqe *sqe = &ring->sq.sqes[(i & mask) << shift];

		if (sqe->opcode == IORING_OP_URING_CMD &&
		    sqe->cmd_op == FUSE_IO_URING_CMD_COMMIT_AND_FETCH && fails("uring_commit"))
			sqe->cmd_op = 99;
	}
}

/* Whether two are queued of which the first is linked to the second, and the kernel is to take the
 * first alone. */
static bool cuts_link(struct io_uring *ring)
{
	const unsigned shift = ring->flags & IORING_SETUP_SQE128 ? 1 : 0;
	const unsigned first = ring->sq.sqe_head & *ring->sq.kring_mask;

	return ring->sq.sqe_tail - ring->sq.sqe_head == 2 &&
	       (ring->sq.sqes[first << shift].flags & IOSQE_IO_LINK) && fails("uring_cut");
}

extern int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);
int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait)
{
	unsigned hidden;
	int ret;
	NEXT(io_uring_submit_and_wait);

	if (fails("io_uring_submit_and_wait"))
		return -errno;
	spoil_commit(ring);
	hidden = cuts_link(ring) ? 1 : 0;
	ring->sq.sqe_tail -= hidden;
	ret = next(ring, wait);
	ring->sq.sqe_tail += hidden;
	return ret;
}
FAULT_RETURNED(io_uring_submit_and_get_events, (struct io_uring * ring), (ring))

/* With ZCFS_DROP_ADMIN in the environment zcfs may mount, and has not CAP_SYS_ADMIN any more when
 * its first thread starts. */
static void drop_admin(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2];

	if (!getenv("ZCFS_DROP_ADMIN") || syscall(SYS_capget, &header, sets))
		return;
	sets[0].effective &= ~(1U << CAP_SYS_ADMIN);
	sets[0].permitted &= ~(1U << CAP_SYS_ADMIN);
	if (syscall(SYS_capset, &header, sets))
		perror("fault: capset");
}

/* Returns a positive errno. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*function)(void *),
		   void *argument)
{
	NEXT(pthread_create);

	drop_admin();
	return fails("pthread_create") ? errno : next(thread, attr, function, argument);
}
