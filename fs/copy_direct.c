/* SPDX-License-Identifier: MIT */
/*
 * Copying around the page cache: O_DIRECT descriptors of the same two files, for as long as the job
 * lasts. The device writes into the pool's buffers and reads from them; no processor touches the
 * data, and no page of another program has to make room.
 *
 * It stays coherent: the kernel writes dirty pages of the source back before it reads, and drops
 * the destination's cached pages of what was written (Linux mm/filemap.c, kiocb_write_and_wait,
 * kiocb_invalidate_pages).
 *
 * Offsets and lengths must be aligned: to whole pages at least, so that no page is written both
 * ways; what lies before and behind goes buffered. Whatever goes wrong in a direct piece, its rest
 * is copied buffered as well, which finds the same error if it is one: a source that was cut off in
 * the middle of a block meanwhile is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "attr.h"
#include "copy_job.h"
#include "refusal.h"

/* The alignment that the filesystem asks for, 0 for no direct I/O. Where it does not tell, a page
 * has to do; the first piece will tell. */
static uint64_t alignment(int fd)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct direct_alignment align;

	if (!attr_get_direct(fd, &align))
		return page;
	if (!align.offset || align.memory > page)
		return 0;
	return align.offset > page ? align.offset : page;
}

static int open_both(struct copy_job *job)
{
	uint64_t src_align, dst_align;

	job->direct.src_fd = handle_reopen(job->src, O_RDONLY | O_DIRECT);
	if (job->direct.src_fd < 0)
		return job->direct.src_fd;
	job->direct.dst_fd = handle_reopen(job->dst, O_WRONLY | O_DIRECT);
	if (job->direct.dst_fd < 0)
		return job->direct.dst_fd;
	src_align = alignment(job->direct.src_fd);
	dst_align = alignment(job->direct.dst_fd);
	job->direct.align = src_align > dst_align ? src_align : dst_align;
	if (!src_align || !dst_align || pool_buffer_size(job->worker->pool) % job->direct.align)
		return -EINVAL;
	return 0;
}

/* btrfs makes checksums of all data, and since Linux 6.15 of a copy of it in the page cache. */
bool copy_direct_is_in_vain(const struct copy_job *job)
{
	struct statfs fs;

	return !fstatfs(job->dst->fd, &fs) && fs.f_type == BTRFS_SUPER_MAGIC;
}

int copy_direct_open(struct copy_job *job)
{
	struct refusals *refusals = &job->request->fs->refusals;
	struct stat dst;
	int err;

	if (job->direct.align)
		return 0;
	/* What the file was not opened for is not to be had by opening it again. */
	if ((job->src->flags & O_ACCMODE) == O_WRONLY || (job->dst->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (fstat(job->dst->fd, &dst))
		return -errno;
	job->direct.dst_device = dst.st_dev;
	if (refusal_is_known(refusals, REFUSAL_DIRECT, job->src_device, dst.st_dev))
		return -EINVAL;
	err = open_both(job);
	if (err)
		copy_direct_close(job);
	if (err == -EINVAL)
		copy_direct_refused(job);
	return err;
}

uint64_t copy_direct_length(const struct copy_job *job, uint64_t length, uint64_t *ret_before)
{
	uint64_t copied = atomic_load(&job->copied);
	uint64_t from = job->src_offset + copied, to = job->dst_offset + copied;
	uint64_t align = job->direct.align;

	*ret_before = 0;
	if (from % align != to % align)
		return 0;
	if (from % align) {
		*ret_before = align - from % align;
		return 0;
	}
	return length - length % align;
}

bool copy_direct_is_aligned(const struct copy_job *job, const struct pool_copy *piece)
{
	struct stat st;

	return !fstat(job->src->fd, &st) &&
	       (uint64_t)st.st_size >= piece->src_offset + piece->length;
}

void copy_direct_refused(struct copy_job *job)
{
	refusal_note(&job->request->fs->refusals, REFUSAL_DIRECT, job->src_device,
		     job->direct.dst_device);
}

void copy_direct_close(struct copy_job *job)
{
	if (job->direct.src_fd >= 0)
		close(job->direct.src_fd);
	if (job->direct.dst_fd >= 0)
		close(job->direct.dst_fd);
	job->direct.src_fd = job->direct.dst_fd = -1;
	job->direct.align = 0;
}
