/* SPDX-License-Identifier: MIT */
#include "init.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "log.h"
#include "notify.h"
#include "ops.h"
#include "passthrough.h"
#include "transport_uring.h"
#include "zerocopy.h"

/* COPY_FILE_RANGE and MAX_PAGES came with 7.28; 7.31 (Linux 5.4) is the oldest that anybody still
 * runs. */
#define MINOR_MIN 31

#define MAX_BACKGROUND	     64 /* readahead and writeback requests in flight before the kernel waits */
#define CONGESTION_THRESHOLD 48

struct init_flag {
	uint64_t flag;
	const char *name;
	bool (*wanted)(const struct fs *fs); /* NULL: always */
	const char *why;
};

static bool wants_auto_inval(const struct fs *fs)
{
	return fs->options.cache == CACHE_AUTO;
}

static bool wants_writeback(const struct fs *fs)
{
	return fs->options.writeback;
}

static bool wants_locks(const struct fs *fs)
{
	return fs->options.locks == LOCKS_FORWARD;
}

static bool wants_uring(const struct fs *fs)
{
	return fs->uring;
}

static const struct init_flag flags[] = {
	{ FUSE_ASYNC_READ, "async_read", NULL, "several readahead requests at once" },
	{ FUSE_POSIX_LOCKS, "posix_locks", wants_locks, "locks=forward" },
	{ FUSE_ATOMIC_O_TRUNC, "atomic_o_trunc", NULL, "O_TRUNC comes with OPEN" },
	{ FUSE_BIG_WRITES, "big_writes", NULL, "writes above 4 KiB" },
	{ FUSE_DONT_MASK, "dont_mask", NULL, "default ACLs decide before the umask" },
	{ FUSE_FLOCK_LOCKS, "flock_locks", wants_locks, "locks=forward" },
	{ FUSE_HAS_IOCTL_DIR, "has_ioctl_dir", NULL, "inode flags of directories" },
	{ FUSE_AUTO_INVAL_DATA, "auto_inval_data", wants_auto_inval,
	  "cache=auto: pages go when mtime or size changed" },
	{ FUSE_DO_READDIRPLUS, "do_readdirplus", NULL, "attributes with the listing" },
	{ FUSE_READDIRPLUS_AUTO, "readdirplus_auto", NULL, "only when somebody asks for them" },
	{ FUSE_ASYNC_DIO, "async_dio", NULL, "parallel parts of one O_DIRECT call" },
	{ FUSE_WRITEBACK_CACHE, "writeback_cache", wants_writeback, "writeback" },
	{ FUSE_PARALLEL_DIROPS, "parallel_dirops", NULL, "lookups of one directory in parallel" },
	{ FUSE_POSIX_ACL, "posix_acl", NULL, "the kernel checks ACLs too" },
	{ FUSE_ABORT_ERROR, "abort_error", NULL, "an abort is told from an unmount" },
	{ FUSE_MAX_PAGES, "max_pages", NULL, "requests above 128 KiB" },
	{ FUSE_CACHE_SYMLINKS, "cache_symlinks", NULL, "the target of an inode does not change" },
	{ FUSE_HANDLE_KILLPRIV_V2, "handle_killpriv_v2", NULL,
	  "set-uid bits are cleared by the backing filesystem; no GETXATTR before a write" },
	{ FUSE_SETXATTR_EXT, "setxattr_ext", NULL, "setting an ACL may clear set-gid" },
	{ FUSE_INIT_EXT, "init_ext", NULL, "64 flags" },
	{ FUSE_DIRECT_IO_ALLOW_MMAP, "direct_io_allow_mmap", NULL,
	  "shared mappings with cache=never" },
	{ FUSE_NO_EXPORT_SUPPORT, "no_export_support", NULL,
	  "no file handles of the mount, nor NFS: a node id lasts as long as the kernel knows it" },
	{ FUSE_PASSTHROUGH, "passthrough", passthrough_is_wanted,
	  "passthrough=ro|rw: the kernel reads and writes backing files by itself" },
	{ FUSE_OVER_IO_URING, "over_io_uring", wants_uring, "requests come on queues of io_uring" },
	{ FUSE_HAS_IO_URING_BUFPOOL, "io_uring_bufpool", zerocopy_is_wanted,
	  "pools for queues with zero copy" },
};

#define FLAG_COUNT (sizeof(flags) / sizeof(flags[0]))

static uint64_t choose_flags(const struct fs *fs, uint64_t offered)
{
	uint64_t taken = 0;

	for (size_t i = 0; i < FLAG_COUNT; i++)
		if ((offered & flags[i].flag) && (!flags[i].wanted || flags[i].wanted(fs)))
			taken |= flags[i].flag;
	return taken;
}

void init_print_flags(const struct fs *fs, FILE *out)
{
	for (size_t i = 0; i < FLAG_COUNT; i++) {
		const char *state = "not offered";

		if (fs->connection.taken & flags[i].flag)
			state = "taken";
		else if (fs->connection.offered & flags[i].flag)
			state = "left";
		fprintf(out, "  %-22s%-13s%s\n", flags[i].name, state, flags[i].why);
	}
}

/* The size of a request's data is bounded by what the kernel can send: 32 pages unless MAX_PAGES
 * was taken. */
static void settle(struct fs *fs, const struct fuse_init_in *in)
{
	struct fs_connection *connection = &fs->connection;
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);

	connection->minor = in->minor < FUSE_PROTOCOL_MINOR ? in->minor : FUSE_PROTOCOL_MINOR;
	connection->offered = in->flags;
	if (in->flags & FUSE_INIT_EXT)
		connection->offered |= (uint64_t)in->flags2 << 32;
	connection->taken = choose_flags(fs, connection->offered);
	connection->max_readahead = in->max_readahead;
	connection->max_write = (uint32_t)fs->options.max_write;
	if (!(connection->taken & FUSE_MAX_PAGES) && connection->max_write > 32 * page)
		connection->max_write = 32 * page;
	connection->max_pages = connection->max_write / page;
}

static void note_missing(struct fs *fs)
{
	uint64_t missing = ~fs->connection.offered;

	if (missing & FUSE_HANDLE_KILLPRIV_V2)
		fs_downgrade(fs, "handle_killpriv_v2",
			     "the kernel is older than 5.11; each write asks for "
			     "security.capability first");
	if (fs->options.cache == CACHE_NEVER && (missing & FUSE_DIRECT_IO_ALLOW_MMAP))
		fs_downgrade(fs, "shared mappings with cache=never",
			     "the kernel is older than 6.6; mmap with MAP_SHARED fails");
}

static void fill_reply(const struct fs_connection *connection, struct fuse_init_out *out)
{
	*out = (struct fuse_init_out){
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_PROTOCOL_MINOR,
		.max_readahead = connection->max_readahead,
		.flags = (uint32_t)connection->taken,
		.flags2 = (uint32_t)(connection->taken >> 32),
		.max_background = MAX_BACKGROUND,
		.congestion_threshold = CONGESTION_THRESHOLD,
		.max_write = connection->max_write,
		.time_gran = 1,
		.max_pages = (uint16_t)connection->max_pages,
	};
}

void op_init(struct request *request)
{
	struct fs *fs = request->fs;
	struct fuse_init_in in = { 0 };
	size_t size = request->argument_size < sizeof(in) ? request->argument_size : sizeof(in);

	memcpy(&in, request->argument, size);
	if (in.major > FUSE_KERNEL_VERSION) {
		/* The kernel then sends INIT again in the protocol that we speak. */
		fill_reply(&fs->connection, &request->out.init);
		request_reply_out(request, sizeof(request->out.init));
		return;
	}
	if (in.major < FUSE_KERNEL_VERSION || in.minor < MINOR_MIN) {
		log_error("the kernel speaks FUSE protocol %u.%u: Linux 5.4 or newer is needed",
			  in.major, in.minor);
		request_reply_error(request, -EPROTO);
		return;
	}
	if (atomic_load(&fs->connection.initialised)) {
		request_reply_error(request, -EPROTO);
		return;
	}
	settle(fs, &in);
	note_missing(fs);
	fill_reply(&fs->connection, &request->out.init);
	fuse_init_out_set_stack_depth(&request->out.init, passthrough_settle(fs));
	atomic_store_explicit(&fs->connection.initialised, true, memory_order_release);
	request_reply_out(request, sizeof(request->out.init));
	if (fs->uring)
		transport_uring_connect(fs->uring, fs->connection.taken & FUSE_OVER_IO_URING);
}

/* The last message of an orderly unmount. Everything was released before; the read of the next
 * request then fails. */
void op_destroy(struct request *request)
{
	request_reply_error(request, 0);
}
