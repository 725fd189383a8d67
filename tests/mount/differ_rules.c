/* SPDX-License-Identifier: MIT */
/*
 * What cannot be the same at a FUSE mount, and where in the kernel (Linux 6.18) the reason is. Such
 * calls are not made, or their result is not compared, or the field is not shown.
 */
#include "differ.h"

#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif

#define HUGE_OFFSET (1L << 60)

static bool is_call(const struct step *step, const char *name)
{
	return !strcmp(calls[step->call].name, name);
}

/* lseek(2) beyond what the backing filesystem can hold is allowed: the superblock of a FUSE mount
 * says that files may have MAX_LFS_FILESIZE bytes (fs/fuse/inode.c, fuse_fill_super_common()), and
 * no message is sent. */
static bool seeks_too_far(const struct rules *rules, const struct step *step)
{
	return is_call(step, "lseek") && step->n[1] > HUGE_OFFSET;
}

/* A WRITE has the flags of the open file, not those of the call: O_APPEND is told, RWF_NOAPPEND is
 * not (fs/fuse/file.c, fuse_write_flags()). */
static bool writes_without_append(const struct rules *rules, const struct step *step)
{
	return is_call(step, "pwritev2") && (step->n[3] & RWF_NOAPPEND);
}

/* Other modes are refused without a message (fs/fuse/file.c, fuse_file_fallocate()). */
static bool moves_ranges(const struct rules *rules, const struct step *step)
{
	const long known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;

	return is_call(step, "fallocate") && (step->n[1] & ~known);
}

/* fcntl(2) sets O_DIRECT in the kernel's open file alone; no message is sent (fs/fcntl.c,
 * setfl()), and the backing file stays as it was opened: what is then out of line is not refused.
 */
static bool turns_direct(const struct rules *rules, const struct step *step)
{
	return is_call(step, "setfl") && (step->n[1] & O_DIRECT);
}

/* What the kernel has still to write back, from a shared mapping or a write-back cache, may lie in
 * a hole of the backing file: it does not write before it asks (fs/fuse/file.c, fuse_lseek()). */
static bool looks_for_holes(const struct rules *rules, const struct step *step)
{
	return is_call(step, "lseek") && (step->n[2] == SEEK_DATA || step->n[2] == SEEK_HOLE);
}

/* Far beyond what the backing filesystem can hold: the page cache takes it, and only writing back
 * meets the limit (fs/fuse/inode.c, fuse_fill_super_common(): MAX_LFS_FILESIZE). */
static bool writes_too_far(const struct rules *rules, const struct step *step)
{
	return rules->writeback &&
	       ((is_call(step, "pwrite") || is_call(step, "pwritev2")) && step->n[2] > HUGE_OFFSET);
}

/*
 * A SETATTR that sets nothing is all that comes of chown(-1, -1), and the same comes before a write
 * that is to take set-id bits or file capabilities away (fs/fuse/dir.c, fuse_setattr()). So who may
 * not chown cannot be told from who may write; nor, when root writes, whether the capabilities
 * alone are meant.
 */
static bool changes_no_owner(const struct rules *rules, const struct step *step)
{
	const bool by_fd = is_call(step, "fchown");

	return (by_fd || is_call(step, "chown") || is_call(step, "lchown")) &&
	       step->n[by_fd] == -1 && step->n[by_fd + 1] == -1;
}

static bool sets_capabilities(const struct rules *rules, const struct step *step)
{
	if (is_call(step, "fsetxattr"))
		return step->n[1] == XATTR_CAPABILITY;
	return (is_call(step, "setxattr") || is_call(step, "lsetxattr")) &&
	       step->n[0] == XATTR_CAPABILITY;
}

/* The kernel keeps the attributes that it has over FS_IOC_SETFLAGS, the old ctime among them
 * (fs/fuse/ioctl.c, fuse_fileattr_set()). */
static bool sets_flags(const struct rules *rules, const struct step *step)
{
	return is_call(step, "setflags");
}

/* Seen with a write-back cache: a write that O_DIRECT refuses takes set-id bits away first. */
static bool opens_direct(const struct rules *rules, const struct step *step)
{
	const bool at = is_call(step, "openat");

	return rules->writeback && (at || is_call(step, "open") || is_call(step, "tmpfile")) &&
	       (step->n[at] & O_DIRECT);
}

static bool (*const forbidden[])(const struct rules *rules, const struct step *step) = {
	seeks_too_far,	writes_without_append, moves_ranges,	  turns_direct, looks_for_holes,
	writes_too_far, changes_no_owner,      sets_capabilities, sets_flags,	opens_direct,
};

bool rules_forbid(const struct rules *rules, const struct step *step)
{
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		if (forbidden[i](rules, step))
			return true;
	return false;
}

/* btrfs lists trusted.* to everybody; zcfs, as ext4 and XFS, to root alone. */
bool rules_hide_result(const struct rules *rules, const struct step *step)
{
	return rules->btrfs && (is_call(step, "listxattr") || is_call(step, "flistxattr"));
}

/* With a write-back cache the kernel keeps mtime and ctime, by a clock of its own. */
bool rules_allow_timed(const struct rules *rules)
{
	return !rules->writeback;
}

/* The kernel serves an open FIFO by itself, and no write to it moves a time (fs/fuse/inode.c,
 * fuse_iget(): S_NOCMTIME). */
bool rules_show_mtime(const struct rules *rules, mode_t mode)
{
	return !S_ISFIFO(mode);
}

/* What the page cache or the cache of links (FUSE_CACHE_SYMLINKS) answers is no access for the
 * backing filesystem, and FUSE keeps no atime of its own (fs/fuse/inode.c, fuse_iget(): S_NOATIME).
 */
bool rules_show_atime(const struct rules *rules, mode_t mode)
{
	return false;
}

/* With a write-back cache the kernel keeps mtime and ctime itself (fs/fuse/inode.c,
 * fuse_get_cache_mask()). A filesystem cannot be told a ctime, and what is written back after mtime
 * was told moves it once more. */
bool rules_show_exact_times(const struct rules *rules, mode_t mode)
{
	return !rules->writeback || !S_ISREG(mode);
}
