/* SPDX-License-Identifier: MIT */
#include "uring_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cleanup.h"
#include "fuse_kernel.h"
#include "options.h"

#define WORKERS_FIRST  2
#define CPUS_MAX       4096
#define PARAMETER_FILE "/sys/module/fuse/parameters/enable_uring"

/* How many buffers of that size may be registered beside those of /dev/fuse: two workers, with the
 * page before each buffer. */
static uint64_t affordable(uint64_t lockable, size_t payload)
{
	uint64_t count = lockable / payload;

	return count > 3 ? count - 3 : 0;
}

struct uring_plan uring_plan(unsigned possible_cpus, unsigned threads, size_t max_write,
			     uint64_t lockable)
{
	const unsigned wanted = possible_cpus + 2; /* some are to spare when one is stuck */
	struct uring_plan plan = {
		.queues = possible_cpus,
		.workers = threads / possible_cpus,
		.payload = max_write > FUSE_MIN_READ_BUFFER ? max_write : FUSE_MIN_READ_BUFFER,
	};
	uint64_t total;

	if (plan.workers > WORKERS_FIRST)
		plan.workers = WORKERS_FIRST;
	if (!plan.workers)
		plan.workers = 1;
	while (plan.payload > URING_PAYLOAD_MIN &&
	       (plan.payload * plan.queues * plan.workers > URING_BUDGET ||
		affordable(lockable, plan.payload) < wanted))
		plan.payload /= 2;
	total = affordable(lockable, plan.payload);
	if (total < plan.queues * plan.workers || total > plan.queues * URING_WORKERS_MAX)
		total = plan.queues * URING_WORKERS_MAX;
	plan.workers_registered = (unsigned)total;
	return plan;
}

/* A list as "0-3,8". */
unsigned uring_possible_cpus(void)
{
	FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned count = 0;
	unsigned first, last;

	while (file && fscanf(file, "%u", &first) == 1) {
		last = first;
		if (fscanf(file, "-%u", &last) < 0 || last < first)
			last = first;
		count += last - first + 1;
		if (fgetc(file) != ',')
			break;
	}
	if (file)
		fclose(file);
	if (!count) {
		long configured = sysconf(_SC_NPROCESSORS_CONF);

		count = configured > 0 ? (unsigned)configured : 1;
	}
	return count < CPUS_MAX ? count : CPUS_MAX;
}

const char *uring_refusal(const struct options *options)
{
	CLEANUP_FD int fd = -1;
	char value = 'Y';

	if (options->io == IO_PLAIN)
		return "io=plain does without io_uring";
	/* fusermount3 looks once, when we are gone, whether the mount is dead; the kernel takes the
	 * commands back, and ends the connection, a moment later. */
	if (options->auto_unmount)
		return "auto_unmount works with /dev/fuse only";
	fd = open(PARAMETER_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return "the kernel does not have it (Linux 6.14 with CONFIG_FUSE_IO_URING)";
	if (fd >= 0 && read(fd, &value, 1) == 1 && value == 'N')
		return "it is off; as root: echo 1 > " PARAMETER_FILE;
	return NULL;
}
