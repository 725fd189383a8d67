/* SPDX-License-Identifier: MIT */
/*
 * What cannot be the same at a FUSE mount, and where in the kernel (Linux 6.18) the reason is. Such
 * calls are not made, or their result is not compared, or the field is not shown.
 */
#include "differ.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
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

/*
 * fcntl(2) sets O_DIRECT and O_NOATIME in the kernel's open file alone; no message is sent
 * (fs/fcntl.c, setfl()), and the backing file stays as it was opened: what is then out of line is
 * not refused, and what is read is an access or not, as it was. With passthrough that holds for
 * O_APPEND too, and when O_DIRECT is taken off.
 */
static bool turns_flags(const struct rules *rules, const struct step *step)
{
	return is_call(step, "setfl") &&
	       (rules->atime || rules->passthrough || (step->n[1] & O_DIRECT));
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
 * not chown cannot be told from who may write.
 */
static bool changes_no_owner(const struct rules *rules, const struct step *step)
{
	const bool by_fd = is_call(step, "fchown");

	return (by_fd || is_call(step, "chown") || is_call(step, "lchown")) &&
	       step->n[by_fd] == -1 && step->n[by_fd + 1] == -1;
}

/*
 * What a shared mapping or a write-back cache has dirtied is written by zcfs, and whoever writes
 * takes file capabilities away (fs/attr.c, notify_change(): ATTR_KILL_PRIV); natively the write of
 * a page takes none. On btrfs fallocate(2) takes none either, when it finds no block to punch,
 * while the kernel has taken them before it asks (fs/fuse/file.c, fuse_file_fallocate():
 * file_modified()). What else takes them is compared by access.sh.
 */
static bool sets_capabilities(const struct rules *rules, const struct step *step)
{
	const bool by_fd = is_call(step, "fsetxattr");

	return (by_fd || is_call(step, "setxattr") || is_call(step, "lsetxattr")) &&
	       step->n[by_fd] == XATTR_CAPABILITY;
}

/* On btrfs a hole that is punched where there is no block moves no times, which with a write-back
 * cache are the kernel's. */
static bool punches(const struct rules *rules, const struct step *step)
{
	return rules->writeback && rules->btrfs && is_call(step, "fallocate") &&
	       (step->n[1] & FALLOC_FL_PUNCH_HOLE);
}

/*
 * A write takes set-id bits away, and meets the limits of a file's size, before it is sent
 * (fs/fuse/file.c, fuse_cache_write_iter(): generic_write_checks(), kiocb_modified()), and so does
 * one that O_DIRECT refuses. Natively XFS refuses it first. ext4 does not, but with a write-back
 * cache the times are the kernel's.
 */
static bool opens_direct(const struct rules *rules, const struct step *step)
{
	const bool at = is_call(step, "openat");

	return (rules->writeback || rules->xfs) &&
	       (at || is_call(step, "open") || is_call(step, "tmpfile")) &&
	       (step->n[at] & O_DIRECT);
}

/*
 * mmap(2) is an access natively, with FUSE (S_NOATIME) it is none. What a mapping or readahead(2)
 * reads is none natively, and one when the backing file is read for it. A copy that shares blocks,
 * leaves out a hole, or finds nothing has read nothing: natively that may be other parts of it.
 */
static bool reads_elsewhere(const struct rules *rules, const struct step *step)
{
	static const char *const names[] = {
		"mmap",	    "readahead", "fadvise", "copy_file_range", "copy_file_range_here",
		"sendfile", "splice",
	};

	for (size_t i = 0; rules->atime && i < sizeof(names) / sizeof(names[0]); i++)
		if (is_call(step, names[i]))
			return true;
	return false;
}

/* The kernel writes passed files with the credentials of zcfs (fs/fuse/passthrough.c), which has it
 * take set-id bits away whoever writes: see the README. */
static bool sets_ids(const struct rules *rules, const struct step *step)
{
	const char *modes = calls[step->call].arguments;
	unsigned n = 0;

	for (; rules->passthrough && *modes; modes++) {
		if (*modes == 'm' && (step->n[n] & 06000))
			return true;
		n += *modes != 'p' && *modes != 'P';
	}
	return false;
}

/*
 * A passed mapping is one of the backing file (fs/fuse/passthrough.c, fuse_passthrough_mmap()).
 * What it writes moves times of which the kernel learns when those that it has are too old; and it
 * does not hold the open file at the mount, whose locks then go with close(2).
 */
static bool maps_backing_file(const struct rules *rules, const struct step *step)
{
	if (!rules->passthrough)
		return false;
	return (is_call(step, "mmap") && step->n[2] != PROT_READ && step->n[3] == MAP_SHARED) ||
	       is_call(step, "ofd_setlk") || is_call(step, "flock");
}

/*
 * What rename(2) leaves then is a device, which nobody can open on the mount of an ordinary user
 * (fusermount3(1): nodev). ext4 moves the directory's times also when it fails after it has put the
 * device there for a moment; the kernel keeps the old ones, as after any failure, until they time
 * out (fs/fuse/dir.c, fuse_rename_common()).
 */
static bool leaves_whiteout(const struct rules *rules, const struct step *step)
{
	return (rules->ext4 || !rules->root) && is_call(step, "renameat2") &&
	       (step->n[0] & RENAME_WHITEOUT);
}

/* The kernel opens a file anew for its flags (fs/fuse/ioctl.c, fuse_priv_ioctl_prepare()). zcfs as
 * an ordinary user may not, when the mode has become one that does not allow it. */
static bool asks_flags(const struct rules *rules, const struct step *step)
{
	return !rules->root && (is_call(step, "getflags") || is_call(step, "setflags"));
}

/*
 * What a shared mapping has dirtied is written by zcfs, and without CAP_FSETID that takes set-id
 * bits away (fs/fuse/file.c, fuse_writepages()); natively the write of a page takes none.
 */
static bool stores_without_fsetid(const struct rules *rules, const struct step *step)
{
	return !rules->root && is_call(step, "store");
}

static bool (*const forbidden[])(const struct rules *rules, const struct step *step) = {
	seeks_too_far,	   writes_without_append,
	moves_ranges,	   turns_flags,
	looks_for_holes,   writes_too_far,
	changes_no_owner,  opens_direct,
	reads_elsewhere,   sets_ids,
	maps_backing_file, leaves_whiteout,
	asks_flags,	   punches,
	sets_capabilities, stores_without_fsetid,
};

bool rules_forbid(const struct rules *rules, const struct step *step)
{
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		if (forbidden[i](rules, step))
			return true;
	return false;
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

/*
 * What the page cache or the cache of links (FUSE_CACHE_SYMLINKS) answers is no access for the
 * backing filesystem, and FUSE keeps no atime of its own (fs/fuse/inode.c, fuse_iget(): S_NOATIME).
 */
bool rules_show_atime(const struct rules *rules, mode_t mode)
{
	return rules->atime && (S_ISDIR(mode) || (S_ISREG(mode) && rules->cache_never));
}

/* With a write-back cache the kernel keeps mtime and ctime itself (fs/fuse/inode.c,
 * fuse_get_cache_mask()). A filesystem cannot be told a ctime, and what is written back after mtime
 * was told moves it once more. */
bool rules_show_exact_times(const struct rules *rules, mode_t mode)
{
	return !rules->writeback || !S_ISREG(mode);
}
