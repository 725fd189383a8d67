/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "copy_job.h"

int copy_make_hole(int fd, uint64_t offset, uint64_t length)
{
	struct stat st;
	uint64_t old;

	if (fstat(fd, &st))
		return -errno;
	old = (uint64_t)st.st_size;
	if (offset < old) {
		uint64_t end = offset + length < old ? offset + length : old;

		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			      (off_t)(end - offset)))
			return -errno;
	}
	if (offset + length > old && ftruncate(fd, (off_t)(offset + length)))
		return -errno;
	return 0;
}

/* The end of the file, where it lies between the two. */
static int find_end(int fd, uint64_t position, uint64_t limit, uint64_t *ret_end)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*ret_end = (uint64_t)st.st_size < limit ? (uint64_t)st.st_size : limit;
	if (*ret_end < position)
		*ret_end = position;
	return 0;
}

/* A filesystem without SEEK_DATA says EINVAL; a file whose last part is a hole, or that ends
 * before, as it may since somebody has cut it off, says ENXIO (lseek(2)). */
int copy_find_data(int fd, uint64_t position, uint64_t limit, uint64_t *ret_data, uint64_t *ret_end)
{
	off_t data = lseek(fd, (off_t)position, SEEK_DATA);
	off_t end;

	*ret_data = position;
	*ret_end = limit;
	if (data < 0 && errno == ENXIO) {
		int err = find_end(fd, position, limit, ret_end);

		*ret_data = *ret_end;
		return err;
	}
	if (data < 0)
		return errno == EINVAL ? 0 : -errno;
	if ((uint64_t)data >= limit) {
		*ret_data = limit;
		return 0;
	}
	end = lseek(fd, data, SEEK_HOLE);
	*ret_data = (uint64_t)data;
	if (end > data && (uint64_t)end < limit)
		*ret_end = (uint64_t)end;
	return 0;
}
