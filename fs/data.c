/* SPDX-License-Identifier: MIT */
/*
 * READ and WRITE: the bytes of a file.
 *
 *     READ    READ_FIXED fills the request's own payload buffer, and the reply is sent from it
 *     WRITE   the data arrived in the request's payload buffer; WRITE_FIXED consumes it
 *
 * With zero copy (request->slot) the data does not come here: READ_FIXED and WRITE_FIXED move it
 * between the file and the pages that the request is about, and the payload has no part in it.
 *
 * The handlers submit to the worker's ring and return; the completions reply. A reference to the
 * handle lives from the submit to the completion: a RELEASE that comes meanwhile closes nothing
 * under the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"
#include "fs.h"
#include "notify.h"
#include "ops.h"
#include "residency.h"
#include "worker.h"

#ifndef RWF_APPEND
#define RWF_APPEND 0x00000010
#endif
#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x00000020 /* Linux 6.9 */
#endif

/* Bytes, of io=mixed: above, moving them outweighs how it is asked for. */
#define SMALL_WRITE (64 << 10)

/* Bytes. Readahead begins with four pages, so that who reads a stream asks for no less. */
#define DIRECT_READ_MIN (16 << 10)

#define READAHEAD_MIN	 (64 << 10) /* bytes */
#define DIRECT_ALIGNMENT 512 /* the least that a device has */

/*
 * The flags of the moment, so that fcntl(F_SETFL) counts; the offset is then the backing file's
 * end. A page of a file that can only be appended to, dirtied by a shared mapping, must rather fail
 * than be appended: only such a file is open with O_APPEND here.
 */
static int append_flags(const struct handle *handle, const struct fuse_write_in *in)
{
	if (in->write_flags & FUSE_WRITE_CACHE)
		return handle->flags & O_APPEND ? RWF_NOAPPEND : 0;
	return in->flags & O_APPEND ? RWF_APPEND : 0;
}

/*
 * RWF_SYNC and RWF_DSYNC of a single call come as flags of its WRITE (Linux 6.18, fs/fuse/file.c,
 * fuse_write_flags()). Of what went through the page cache the kernel then asks for an FSYNC too
 * (fuse_cache_write_iter(), generic_write_sync()); where there is none it does not.
 */
static int sync_flags(const struct fs *fs, const struct fuse_write_in *in)
{
	if (fs->options.cache != CACHE_NEVER || (in->write_flags & FUSE_WRITE_CACHE))
		return 0;
	if ((in->flags & O_SYNC) == O_SYNC)
		return RWF_SYNC;
	return in->flags & O_DSYNC ? RWF_DSYNC : 0;
}

static struct request *request_of_io(struct pool_io *io)
{
	return (struct request *)((char *)io - offsetof(struct request, io));
}

static struct request *request_of_op(struct ring_op *op)
{
	return (struct request *)((char *)op - offsetof(struct request, op));
}

static struct handle *take_handle(struct request *request)
{
	struct handle *handle = request->handle;

	request->handle = NULL;
	return handle;
}

/* What READ and WRITE have in common at their end: the handle goes, an error is answered. Returns
 * whether there is more to do. */
static bool moved(struct request *request, ssize_t result,
		  _Atomic uint64_t counters[STATS_TRANSFERS])
{
	handle_put(take_handle(request));
	if (result < 0) {
		request_reply_error(request, (int)result);
		return false;
	}
	stats_add(&counters[request->slot	? STATS_ZEROCOPY
			    : request->io.fixed ? STATS_FIXED
						: STATS_PLAIN],
		  (uint64_t)result);
	return true;
}

/* What may be read and written around the page cache is a multiple of that, as far as the file
 * says. */
static uint64_t offset_alignment(int fd)
{
	struct direct_alignment align;

	return attr_get_direct(fd, &align) && align.offset ? align.offset : DIRECT_ALIGNMENT;
}

/*
 * With zero copy O_DIRECT meets the caller's own memory, which may lie where the device cannot
 * reach it; a payload never does. The page cache takes it then. Where the offset or the length is
 * to blame the error is the caller's, as natively. Returns whether the transfer is on its way
 * again.
 */
static bool go_by_page_cache(struct request *request, ssize_t result,
			     void (*submit)(struct pool_io *io))
{
	struct pool_io *io = &request->io;
	int fd;

	if (!request->slot || result != -EINVAL)
		return false;
	fd = handle_buffered_fd(request->handle);
	if (fd == io->fd)
		return false;
	if (io->fd == request->handle->fd && (io->offset | io->length) % offset_alignment(io->fd))
		return false;
	io->fd = fd;
	submit(io);
	return true;
}

static _Atomic uint64_t *linked_counter(struct request *request)
{
	return &request->fs->stats.read_bytes[request->slot ? STATS_ZEROCOPY : STATS_FIXED];
}

/*
 * A reply that is linked to its read goes out before we know: what is read is counted before, lest
 * somebody who has his data does not find it counted.
 */
static void count_linked(struct request *request, size_t size)
{
	request->scratch = size;
	stats_add(linked_counter(request), size);
}

/* The read was not what it should be, and the reply did not go out. */
static void uncount_linked(struct request *request)
{
	atomic_fetch_sub_explicit(linked_counter(request), request->scratch, memory_order_relaxed);
	request->scratch = 0;
}

/* Remembers how far the file reaches, where a READ tells something new. */
static void note_size(struct request *request, size_t result)
{
	const uint64_t known = atomic_load(&request->handle->size);
	const uint64_t end = request->io.offset + result;
	const bool whole = result == request->io.length;

	if (whole ? end > known : end < known)
		atomic_store(&request->handle->size, end);
}

static void read_done(struct pool_io *io, ssize_t result)
{
	struct request *request = request_of_io(io);

	if (io->linked) {
		handle_put(take_handle(request));
		request_linked_sent(request);
		return;
	}
	if (request->scratch)
		uncount_linked(request);
	if (go_by_page_cache(request, result, pool_read_slot))
		return;
	if (result >= 0)
		note_size(request, (size_t)result);
	if (moved(request, result, request->fs->stats.read_bytes))
		request_reply_payload(request, (size_t)result);
}

/*
 * The descriptor for data that comes with these flags of the caller's open file: they are those of
 * the moment, and fcntl(F_SETFL) may have taken O_DIRECT off. (It may also have set it, and then
 * nothing is refused for being out of line.)
 */
static int fd_for(struct handle *handle, uint32_t flags)
{
	return flags & O_DIRECT ? handle->fd : handle_buffered_fd(handle);
}

/* Whether a READ is for the page cache of the mount. */
static bool is_cached(const struct request *request, const struct fuse_read_in *in)
{
	return !(in->flags & O_DIRECT) && request->fs->options.cache != CACHE_NEVER;
}

/*
 * With zero copy what goes to the page cache of the mount need not be in that of the backing file
 * too: where it is not yet, it is read around it. What the file does not take so, however it is
 * aligned, go_by_page_cache() gets.
 */
static int fd_to_read(struct request *request, const struct fuse_read_in *in)
{
	int fd = fd_for(request->handle, in->flags);
	int direct_fd;
	uint64_t cached;

	if (!request->slot || !is_cached(request, in) || in->size < DIRECT_READ_MIN)
		return fd;
	if (residency(fd, in->offset, in->size, &cached) || cached)
		return fd;
	direct_fd = handle_direct_fd(request->handle);
	return direct_fd < 0 ? fd : direct_fd;
}

/* Where the data of a READ or WRITE is moved from or to: offset bytes into the payload, or the
 * slot. Returns whether it is the slot. */
static bool set_place(struct request *request, size_t offset)
{
	struct pool_io *io = &request->io;

	if (request->slot) {
		io->ring = request->worker->ring;
		io->slot = request->slot;
	} else {
		io->buffer = request->buffer;
		io->buffer_offset = offset;
	}
	return request->slot;
}

/*
 * READs that follow each other and are not small come from a reader of the page cache, mostly
 * before he wants the data (Linux mm/readahead.c), and more than one at a time. Around the page
 * cache he waits for each.
 */
static bool is_readahead(const struct request *request, const struct fuse_read_in *in)
{
	const uint64_t before = atomic_exchange_explicit(
		&request->handle->read_end, in->offset + in->size, memory_order_relaxed);

	return before == in->offset && in->size >= READAHEAD_MIN && is_cached(request, in);
}

/*
 * Whether a READ will find as many bytes as it asks for, as far as is known: then its reply can be
 * linked to it. One that is cut short after all, or fails, costs a system call more.
 */
static bool is_whole(const struct request *request)
{
	const struct pool_io *io = &request->io;

	return io->length && io->offset + io->length <= atomic_load(&request->handle->size);
}

/* Only what is registered, as it is counted so. */
static bool may_link(const struct request *request)
{
	return is_whole(request) && request_may_link(request) &&
	       (request->slot || pool_is_registered(pool_buffer_pool(request->buffer)));
}

void op_read(struct request *request)
{
	const struct fuse_read_in *in = request->argument;
	size_t room = request_payload_size(request);

	request->handle = handle_get(request->fs->handles, in->fh, HANDLE_FILE);
	if (!request->handle) {
		request_reply_error(request, -EBADF);
		return;
	}
	request->io = (struct pool_io){
		.done = read_done,
		.fd = fd_to_read(request, in),
		.offset = in->offset,
		.length = in->size < room ? in->size : room,
	};
	request->scratch = 0;
	request->io.linked = may_link(request);
	request->worker->ahead = is_readahead(request, in);
	if (set_place(request, 0))
		pool_read_slot(&request->io);
	else
		pool_read_fixed(&request->io);
	if (request->io.linked) {
		count_linked(request, request->io.length);
		request_reply_linked(request, request->io.length);
	}
}

/*
 * Nobody reads how much of a page that is written back was written: the kernel looks for an error
 * only, and takes the page for clean (Linux 6.18, fs/fuse/file.c, fuse_writepage_end()). What ended
 * the write short is therefore its result.
 */
static ssize_t result_of_write_back(const struct pool_io *io, ssize_t result)
{
	if (result < 0 || (size_t)result == io->length)
		return result;
	return io->error ? io->error : -EIO;
}

static bool ends_beyond_file(const struct pool_io *io)
{
	struct statx stx;

	return !attr_get(io->fd, &stx) && io->offset + io->length > stx.stx_size;
}

/*
 * When a write by O_DIRECT fails that would have made the file longer, the kernel sends a SETATTR
 * of the size that it had, lest a part of the write is left at the end (Linux 6.18, fs/fuse/file.c,
 * fuse_direct_IO(), fuse_do_truncate(); not for FOPEN_DIRECT_IO, fuse_direct_write_iter()). The
 * caller has asked for no such thing: see attr.c, set_size().
 */
static void note_outcome(struct request *request, ssize_t result)
{
	struct handle *handle = request->handle;
	const bool direct = (handle->flags & O_DIRECT) && request->io.fd == handle->fd;

	if (direct && request->fs->options.cache != CACHE_NEVER)
		atomic_store(&handle->refused,
			     result < 0 && ends_beyond_file(&request->io) ? request->in.pid : 0);
}

/*
 * Before a write through the page cache the kernel asks for the set-id bits to be taken off, and
 * knows; before one with cache=never it does not, and would show them until the mode times out
 * (Linux 6.18, fs/fuse/file.c, fuse_write_update_attr(): the mode stays valid).
 */
static void write_done(struct pool_io *io, ssize_t result)
{
	struct request *request = request_of_io(io);

	if (go_by_page_cache(request, result, pool_write_slot))
		return;
	note_outcome(request, result);
	if (request->scratch & FUSE_WRITE_CACHE)
		result = result_of_write_back(io, result);
	if (!moved(request, result, request->fs->stats.write_bytes))
		return;
	if (request->loses_bits)
		notify_inval_attr(request->fs, request->in.nodeid);
	request->out.write = (struct fuse_write_out){ .size = (uint32_t)result };
	request_reply_out(request, sizeof(request->out.write));
}

/*
 * A WRITE that must clear set-uid bits goes out without CAP_FSETID: by the personality, or, where
 * it is done on the spot, by the thread itself.
 */
static void submit_write(struct request *request, bool kill_suid)
{
	struct worker *worker = request->worker;
	bool drop;

	request->loses_bits = false;
	if (kill_suid)
		kill_suid = !attr_take_set_ids(&request->in, request->io.fd, &request->loses_bits);
	if (kill_suid && !request->io.at_once)
		request->io.personality = worker->personality_no_fsetid;
	drop = kill_suid && !request->io.personality;
	if (drop)
		cred_drop_fsetid(&worker->cred);
	if (request->slot)
		pool_write_slot(&request->io);
	else
		pool_write_fixed(&request->io);
	if (drop)
		cred_raise_fsetid(&worker->cred);
}

void op_write(struct request *request)
{
	const struct fuse_write_in *in = request->argument;
	bool from_cache = in->write_flags & FUSE_WRITE_CACHE;
	struct handle *handle;

	if (in->size > request->value_size) {
		request_reply_error(request, -EINVAL);
		return;
	}
	handle = handle_get(request->fs->handles, in->fh, HANDLE_FILE);
	if (!handle) {
		request_reply_error(request, -EBADF);
		return;
	}
	request->handle = handle;
	request->scratch = in->write_flags;
	request->io = (struct pool_io){
		.done = write_done,
		/*
		 * The page cache writes back through whatever open file it finds, whole pages and a
		 * last partial one, at offsets it knows: neither O_DIRECT nor O_APPEND of that file
		 * may apply.
		 */
		.fd = from_cache ? handle_buffered_fd(handle) : fd_for(handle, in->flags),
		.offset = in->offset,
		.length = in->size,
		.rw_flags = append_flags(handle, in) | sync_flags(request->fs, in),
		.at_once = request->fs->options.io == IO_MIXED && in->size <= SMALL_WRITE &&
			   !request->slot,
	};
	if (!set_place(request, (size_t)((const char *)request->value -
					 (const char *)request_payload(request))))
		request->buffer = NULL; /* the write consumes it */
	submit_write(request, in->write_flags & FUSE_WRITE_KILL_SUIDGID);
}

static void op_done(struct ring_op *op, int result)
{
	struct request *request = request_of_op(op);

	handle_put(take_handle(request));
	request_reply_error(request, result < 0 ? result : 0);
}

/* Takes the handle for an operation on the ring that ends in op_done(). */
static bool start_op(struct request *request, uint64_t fh)
{
	request->handle = handle_get(request->fs->handles, fh, HANDLE_FILE);
	if (!request->handle) {
		request_reply_error(request, -EBADF);
		return false;
	}
	request->op.done = op_done;
	return true;
}

void op_fsync(struct request *request)
{
	const struct fuse_fsync_in *in = request->argument;

	if (start_op(request, in->fh))
		ring_submit_fsync(request->worker->ring, &request->op, request->handle->fd,
				  in->fsync_flags & FUSE_FSYNC_FDATASYNC);
}

void op_fallocate(struct request *request)
{
	const struct fuse_fallocate_in *in = request->argument;

	if (start_op(request, in->fh))
		ring_submit_fallocate(request->worker->ring, &request->op, request->handle->fd,
				      (int)in->mode, in->offset, in->length);
}

/* The kernel sends it to virtiofs only (Linux 5.14), but it costs nothing to be right. */
void op_syncfs(struct request *request)
{
	CLEANUP_INODE struct inode_ref ref = INODE_REF_NONE;
	CLEANUP_FD int fd = -1;
	int err = inode_ref_find(request->fs->inodes, request->in.nodeid, &ref);

	if (!err) {
		fd = inode_open(request->fs->inodes, &ref, O_RDONLY | O_NONBLOCK);
		err = fd < 0 ? fd : 0;
	}
	if (!err && syncfs(fd))
		err = -errno;
	inode_ref_put(&ref);
	request_reply_error(request, err);
}
