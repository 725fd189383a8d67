/* SPDX-License-Identifier: MIT */
/*
 * Sharing the source's blocks with the destination (FICLONERANGE): whatever the length, no data
 * moves.
 *
 * The kernel clones whole blocks only, and of a block that the source ends in only what cannot
 * uncover old data behind it: the range must reach the end of the source, and the end of the
 * destination or beyond (Linux fs/remap_range.c, generic_remap_checks, generic_remap_check_len). So
 * offsets that lie equally far into a block are first copied up to its end, the whole blocks are
 * cloned, and the rest is copied again.
 *
 * The block is taken from st_blksize, which is that of the filesystem or a multiple of it.
 *
 * The kernel writes back dirty pages of both ranges before, updates the times and clears set-uid
 * bits by the capabilities of this thread: all as in a write.
 */
#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "copy_job.h"
#include "refusal.h"

/* How many of the bytes at these offsets can be cloned. *ret_before: how many are to be copied
 * first, so that it may be tried again behind them. */
static uint64_t whole_blocks(const struct copy_job *job, const struct stat *dst,
			     uint64_t *ret_before)
{
	uint64_t copied = atomic_load(&job->copied);
	uint64_t from = job->src_offset + copied, to = job->dst_offset + copied;
	uint64_t left = job->length - copied;
	uint64_t block = job->src_block;

	*ret_before = 0;
	if ((uint64_t)dst->st_blksize > block)
		block = (uint64_t)dst->st_blksize;
	if (from % block != to % block)
		return 0;
	if (from % block) {
		*ret_before = block - from % block;
		return 0;
	}
	if (from + left == job->src_size && to + left >= (uint64_t)dst->st_size)
		return left;
	return left - left % block;
}

/* Whether an error is about the filesystems, and not about these two files. EINVAL is the latter:
 * btrfs says it for files with and without checksums, XFS for files on different devices of it. */
static bool is_general(int err)
{
	return err == EOPNOTSUPP || err == EXDEV || err == ENOTTY;
}

int copy_clone(struct copy_job *job, uint64_t *ret_cloned, uint64_t *ret_before)
{
	uint64_t copied = atomic_load(&job->copied);
	struct file_clone_range range = {
		.src_fd = job->src->fd,
		.src_offset = job->src_offset + copied,
		.dest_offset = job->dst_offset + copied,
	};
	struct refusals *refusals = &job->request->fs->refusals;
	struct stat dst;

	*ret_cloned = 0;
	*ret_before = 0;
	if (fstat(job->dst->fd, &dst))
		return -errno;
	if (refusal_is_known(refusals, REFUSAL_CLONE, job->src_device, dst.st_dev))
		return -EOPNOTSUPP;
	range.src_length = whole_blocks(job, &dst, ret_before);
	if (!range.src_length)
		return *ret_before ? 0 : -EOPNOTSUPP;
	if (ioctl(job->dst->fd, FICLONERANGE, &range)) {
		int err = errno;

		if (is_general(err))
			refusal_note(refusals, REFUSAL_CLONE, job->src_device, dst.st_dev);
		return is_general(err) || err == EINVAL ? -EOPNOTSUPP : -err;
	}
	*ret_cloned = range.src_length;
	return 0;
}
