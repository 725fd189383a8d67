/* SPDX-License-Identifier: MIT */
/*
 * Credentials. The kernel writes to the backing file as the thread that opened the backing id
 * (Linux 7.3, fs/fuse/backing.c, fuse_backing_open() keeps its credentials; passthrough.c,
 * fuse_passthrough_write_iter() gives them to backing_file_write_iter()). What that does before, on
 * the FUSE inode and as the caller, to clear set-uid bits does nothing with
 * FUSE_HANDLE_KILLPRIV_V2, which leaves it to the server (fs/fuse/dir.c, fuse_setattr(): it takes
 * ATTR_KILL_SUID and ATTR_MODE out). So the id is opened without CAP_FSETID: the backing
 * filesystem then clears set-uid and set-gid bits at each write, root's included, and file
 * capabilities as always. The caller's RLIMIT_FSIZE counts, as he is the one who writes.
 *
 * The kernel opens the backing file once more for each open file, with the flags of the caller
 * (fs/fuse/passthrough.c, fuse_passthrough_open()). What fd the id was made of matters only by its
 * path: it is one for reading, for a writer's would keep the backing file from being executed until
 * the last reader has closed it.
 */
#include "passthrough.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "fs.h"
#include "fuse_kernel.h"
#include "worker.h"

#define ECRYPTFS_MAGIC 0xf15f /* not in <linux/magic.h> */

void passthrough_init(struct passthrough *passthrough)
{
	pthread_mutex_init(&passthrough->lock, NULL);
}

void passthrough_fini(struct passthrough *passthrough)
{
	assert(passthrough->backing_ids == 0);
	pthread_mutex_destroy(&passthrough->lock);
}

/* ---- INIT ---- */

static bool is_admin(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &header, data) == 0 &&
	       data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN);
}

bool passthrough_is_wanted(const struct fs *fs)
{
	return fs->options.passthrough != PASSTHROUGH_OPTION_OFF && is_admin();
}

/*
 * Filesystems that lie on others count as 1, all others as 0, and the kernel wants the backing
 * below max_stack_depth, else the id gets ELOOP (Linux 7.3, fs/fuse/backing.c,
 * fuse_backing_open()); 0 means no passthrough at all (fs/fuse/inode.c). With 1, the least, an
 * overlay can still lie on the mount: 2 is where the kernel's stack ends.
 */
static uint32_t stack_depth(const struct statfs *st)
{
	switch ((uint32_t)st->f_type) {
	case OVERLAYFS_SUPER_MAGIC:
	case ECRYPTFS_MAGIC:
	case FUSE_SUPER_MAGIC:
		return 2;
	default:
		return 1;
	}
}

/* Our O_NOATIME is not among the flags with which the kernel opens the backing file anew. */
static void note_access_times(struct fs *fs, const struct statfs *st)
{
	if (!fs_noatime_flag(fs) || (st->f_flags & (ST_NOATIME | ST_RDONLY)))
		return;
	fs_downgrade(fs, fs->options.noatime ? "noatime" : "access times that stay with ro",
		     "what the kernel passes through moves them as the backing filesystem is "
		     "mounted; mount that with noatime");
}

/* Not by the path of the backing directory: it may lead into our own mount, which is not answered
 * before this is over. */
static void get_statfs(struct fs *fs, struct statfs *ret_st)
{
	CLEANUP_INODE struct inode_ref root = INODE_REF_NONE;

	if (inode_ref_get(fs->inodes, FUSE_ROOT_ID, &root) || fstatfs(root.fd, ret_st))
		*ret_st = (struct statfs){ 0 };
}

uint32_t passthrough_settle(struct fs *fs)
{
	const struct fs_connection *connection = &fs->connection;
	struct statfs st;

	if (fs->options.passthrough == PASSTHROUGH_OPTION_OFF)
		return 0;
	if (connection->taken & FUSE_PASSTHROUGH) {
		get_statfs(fs, &st);
		atomic_store(&fs->passthrough.on, true);
		note_access_times(fs, &st);
		return stack_depth(&st);
	}
	if (connection->offered & FUSE_PASSTHROUGH)
		fs_downgrade(
			fs, "kernel passthrough",
			"it needs CAP_SYS_ADMIN: run zcfs as root; data goes through the pool");
	else
		fs_downgrade(fs, "kernel passthrough",
			     "the kernel is older than 6.9 or built without "
			     "CONFIG_FUSE_PASSTHROUGH; data goes through the pool");
	return 0;
}

/* ---- backing ids ---- */

/* Returns the id, above 0, or -errno. */
static int32_t open_id(struct request *request, int fd, int flags)
{
	struct fs *fs = request->fs;
	struct cred *cred = &request->worker->cred;
	CLEANUP_FD int reading_fd = -1;
	struct fuse_backing_map map = { .fd = fd };
	int id;

	if ((flags & O_ACCMODE) != O_RDONLY) {
		reading_fd = open(fs_proc_path(fd).text, O_RDONLY | O_CLOEXEC);
		if (reading_fd < 0)
			return -errno;
		map.fd = reading_fd;
	}
	cred_drop_fsetid(cred);
	id = ioctl(fs->device_fd, FUSE_DEV_IOC_BACKING_OPEN, &map);
	id = id < 0 ? -errno : id;
	cred_raise_fsetid(cred);
	return id ? id : -EIO; /* 0 is none: fuse_passthrough_open() takes those above it */
}

/* The connection may be gone, and the id with it. */
static void close_id(struct fs *fs, int32_t id)
{
	uint32_t backing_id = (uint32_t)id;

	if (ioctl(fs->device_fd, FUSE_DEV_IOC_BACKING_CLOSE, &backing_id) < 0)
		return;
}

/* Whether that error says the same of every file to come: no CAP_SYS_ADMIN, or a connection without
 * passthrough (fs/fuse/backing.c, fuse_backing_open()); a kernel without the ioctl. */
static bool is_final(int err)
{
	return err == -EPERM || err == -ENOTTY;
}

static void note_refusal(struct fs *fs, int err)
{
	if (!is_final(err))
		return;
	atomic_store(&fs->passthrough.on, false);
	fs_downgrade(fs, "kernel passthrough",
		     "the kernel refuses a backing file: %s; data goes through the pool",
		     strerror(-err));
}

/* ---- open and close ---- */

static bool is_served_writer(const struct fs *fs, int flags)
{
	return fs->options.passthrough == PASSTHROUGH_OPTION_RO && (flags & O_ACCMODE) != O_RDONLY;
}

/*
 * Joins those who have the inode open, if there are any, and counts the file as theirs. offered_id
 * (0: none) is what the inode gets when nobody has it open; *ret_taken says whether it did. Returns
 * PASSTHROUGH_NONE when that would need an id.
 */
static enum passthrough_mode join(struct passthrough *passthrough, struct passthrough_inode *inode,
				  int32_t offered_id, int32_t *ret_id)
{
	enum passthrough_mode mode = PASSTHROUGH_NONE;

	pthread_mutex_lock(&passthrough->lock);
	if (inode->served) {
		inode->served++;
		mode = PASSTHROUGH_SERVED;
	} else if (inode->by_id || offered_id) {
		if (!inode->by_id) {
			inode->backing_id = offered_id;
			passthrough->backing_ids++;
		}
		inode->by_id++;
		*ret_id = inode->backing_id;
		mode = PASSTHROUGH_BY_ID;
	}
	pthread_mutex_unlock(&passthrough->lock);
	return mode;
}

/* The same for who comes without an id: served, unless the inode is passed. */
static enum passthrough_mode join_served(struct passthrough *passthrough,
					 struct passthrough_inode *inode, int32_t *ret_id)
{
	enum passthrough_mode mode = PASSTHROUGH_BY_ID;

	pthread_mutex_lock(&passthrough->lock);
	if (inode->by_id) {
		inode->by_id++;
		*ret_id = inode->backing_id;
	} else {
		inode->served++;
		mode = PASSTHROUGH_SERVED;
	}
	pthread_mutex_unlock(&passthrough->lock);
	return mode;
}

/* Decides for one that is to be passed if that is possible. */
static enum passthrough_mode join_or_open(struct request *request, struct inode *inode, int fd,
					  int flags, int32_t *ret_id,
					  enum passthrough_result *ret_result)
{
	struct fs *fs = request->fs;
	struct passthrough *passthrough = &fs->passthrough;
	struct passthrough_inode *of_inode = inode_passthrough(inode);
	enum passthrough_mode mode = join(passthrough, of_inode, 0, ret_id);
	int32_t id;

	*ret_result = mode == PASSTHROUGH_SERVED ? PASSTHROUGH_SERVED_IN_USE : PASSTHROUGH_PASSED;
	if (mode != PASSTHROUGH_NONE)
		return mode;
	id = open_id(request, fd, flags);
	if (id < 0) {
		note_refusal(fs, id);
		mode = join_served(passthrough, of_inode, ret_id);
		*ret_result = mode == PASSTHROUGH_SERVED ? PASSTHROUGH_SERVED_REFUSED
							 : PASSTHROUGH_PASSED;
		return mode;
	}
	mode = join(passthrough, of_inode, id, ret_id);
	*ret_result = mode == PASSTHROUGH_SERVED ? PASSTHROUGH_SERVED_IN_USE : PASSTHROUGH_PASSED;
	if (mode != PASSTHROUGH_BY_ID || *ret_id != id)
		close_id(fs, id); /* somebody was faster */
	return mode;
}

enum passthrough_mode passthrough_open(struct request *request, struct inode *inode, int fd,
				       int flags, struct fuse_open_out *out)
{
	struct fs *fs = request->fs;
	const bool is_writer = is_served_writer(fs, flags);
	enum passthrough_result result = PASSTHROUGH_SERVED_WRITER;
	enum passthrough_mode mode;
	int32_t id = 0;

	/* Once it was on, every file counts: one may be passed, opened before it was refused. */
	if (!(fs->connection.taken & FUSE_PASSTHROUGH))
		return PASSTHROUGH_NONE;
	if (is_writer || !atomic_load(&fs->passthrough.on))
		mode = join_served(&fs->passthrough, inode_passthrough(inode), &id);
	else
		mode = join_or_open(request, inode, fd, flags, &id, &result);
	if (!is_writer && !atomic_load(&fs->passthrough.on))
		result = mode == PASSTHROUGH_BY_ID ? PASSTHROUGH_PASSED
						   : PASSTHROUGH_SERVED_REFUSED;
	stats_add(&fs->passthrough.opens[result], 1);
	if (mode != PASSTHROUGH_BY_ID)
		return mode;
	/* The kernel takes no other flags beside it but these and
	 * FOPEN_PARALLEL_DIRECT_WRITES (Linux 7.3, fs/fuse/iomode.c, FOPEN_PASSTHROUGH_MASK), and
	 * the pages that the mount may have are not those that will now be written. */
	out->open_flags = (out->open_flags & FOPEN_NOFLUSH) | FOPEN_PASSTHROUGH |
			  (is_writer ? FOPEN_DIRECT_IO : 0);
	fuse_open_out_set_backing_id(out, id);
	inode_data_forget(fs->inodes, inode);
	return mode;
}

/* Takes the file off the count; returns the id to close with the last of them, or 0. */
static int32_t leave(struct passthrough *passthrough, struct passthrough_inode *inode,
		     enum passthrough_mode mode)
{
	int32_t id = 0;

	pthread_mutex_lock(&passthrough->lock);
	if (mode == PASSTHROUGH_SERVED) {
		assert(inode->served > 0);
		inode->served--;
	} else {
		assert(inode->by_id > 0);
		if (--inode->by_id == 0) {
			id = inode->backing_id;
			inode->backing_id = 0;
			passthrough->backing_ids--;
		}
	}
	pthread_mutex_unlock(&passthrough->lock);
	return id;
}

void passthrough_close(struct fs *fs, struct inode *inode, enum passthrough_mode mode)
{
	int32_t id;

	if (mode == PASSTHROUGH_NONE)
		return;
	id = leave(&fs->passthrough, inode_passthrough(inode), mode);
	if (id)
		close_id(fs, id);
}

/* ---- what is shown ---- */

static const char *const result_names[PASSTHROUGH_RESULTS] = {
	[PASSTHROUGH_PASSED] = "passed",
	[PASSTHROUGH_SERVED_WRITER] = "writer",
	[PASSTHROUGH_SERVED_IN_USE] = "in_use",
	[PASSTHROUGH_SERVED_REFUSED] = "refused",
};

static uint64_t count_ids(struct passthrough *passthrough)
{
	uint64_t count;

	pthread_mutex_lock(&passthrough->lock);
	count = passthrough->backing_ids;
	pthread_mutex_unlock(&passthrough->lock);
	return count;
}

void passthrough_print_stats(struct fs *fs, FILE *out)
{
	fputs("# HELP zcfs_backing_ids Files that the kernel reads and writes by itself.\n"
	      "# TYPE zcfs_backing_ids gauge\n",
	      out);
	fprintf(out, "zcfs_backing_ids %llu\n", (unsigned long long)count_ids(&fs->passthrough));
	fputs("# HELP zcfs_passthrough_opens_total Opened files, by who serves them and why.\n"
	      "# TYPE zcfs_passthrough_opens_total counter\n",
	      out);
	for (unsigned i = 0; i < PASSTHROUGH_RESULTS; i++)
		fprintf(out, "zcfs_passthrough_opens_total{result=\"%s\"} %llu\n", result_names[i],
			(unsigned long long)stats_read(&fs->passthrough.opens[i]));
}

static uint64_t opens(struct fs *fs, enum passthrough_result result)
{
	return stats_read(&fs->passthrough.opens[result]);
}

void passthrough_print_status(struct fs *fs, FILE *out)
{
	static const char *const modes[] = { "off", "ro", "rw" };
	const bool on = atomic_load(&fs->passthrough.on);

	fprintf(out, "passthrough        %s", modes[on ? fs->options.passthrough : 0]);
	if (fs->options.passthrough != PASSTHROUGH_OPTION_OFF)
		fprintf(out,
			", %llu backing ids open, %llu opens passed; %llu served: %llu writers, "
			"%llu in use as served, %llu refused",
			(unsigned long long)count_ids(&fs->passthrough),
			(unsigned long long)opens(fs, PASSTHROUGH_PASSED),
			(unsigned long long)(opens(fs, PASSTHROUGH_SERVED_WRITER) +
					     opens(fs, PASSTHROUGH_SERVED_IN_USE) +
					     opens(fs, PASSTHROUGH_SERVED_REFUSED)),
			(unsigned long long)opens(fs, PASSTHROUGH_SERVED_WRITER),
			(unsigned long long)opens(fs, PASSTHROUGH_SERVED_IN_USE),
			(unsigned long long)opens(fs, PASSTHROUGH_SERVED_REFUSED));
	fputc('\n', out);
}
