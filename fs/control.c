/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "copier.h"
#include "fs.h"
#include "init.h"
#include "ops.h"
#include "protocol.h"
#include "transport_uring.h"
#include "worker.h"

/* Node ids that the inode table, which counts up from 1, never reaches. */
#define CONTROL_DIR ((uint64_t)1 << 63)

struct control_file {
	const char *name;
	void (*print)(struct fs *fs, FILE *out);
};

/* ---- what the files say ---- */

/* Sums over the workers that exist now. */
struct totals {
	struct pool_counts buffers;
	uint64_t bytes_registered;
	uint64_t bytes_unregistered;
	uint64_t enters;
	unsigned workers;
};

static struct totals sum_workers(struct fs *fs)
{
	struct totals totals = { 0 };

	pthread_mutex_lock(&fs->lock);
	totals.enters = fs->enters_of_gone;
	totals.workers = fs->worker_count;
	for (struct worker *worker = fs->workers; worker; worker = worker->next) {
		struct pool_counts counts;

		totals.enters += ring_enters(worker->ring);
		if (!worker->pool) /* just now replaced */
			continue;
		counts = pool_counts(worker->pool);
		totals.buffers.home += counts.home;
		totals.buffers.lent += counts.lent;
		totals.buffers.kernel += counts.kernel;
		*(pool_is_registered(worker->pool)
			  ? &totals.bytes_registered
			  : &totals.bytes_unregistered) += pool_bytes(worker->pool);
	}
	pthread_mutex_unlock(&fs->lock);
	return totals;
}

static void print_metric(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_value(FILE *out, const char *name, const char *type, const char *help,
			uint64_t value)
{
	print_metric(out, name, type, help);
	fprintf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void print_by_path(FILE *out, const char *name, const char *help,
			  const _Atomic uint64_t *counters, enum stats_path first,
			  enum stats_path end)
{
	print_metric(out, name, "counter", help);
	for (enum stats_path path = first; path < end; path++)
		fprintf(out, "%s{path=\"%s\"} %llu\n", name, stats_path_name(path),
			(unsigned long long)stats_read(&counters[path]));
}

static void print_requests(struct fs *fs, FILE *out)
{
	print_metric(out, "zcfs_requests_total", "counter", "Requests by operation.");
	for (uint32_t opcode = 0; opcode < STATS_OPERATIONS; opcode++) {
		const char *name = protocol_operation_name(opcode);

		if (name)
			fprintf(out, "zcfs_requests_total{op=\"%s\"} %llu\n", name,
				(unsigned long long)stats_read(&fs->stats.requests[opcode]));
	}
}

static void print_stats(struct fs *fs, FILE *out)
{
	struct totals totals = sum_workers(fs);
	struct inode_counts inodes = inode_counts(fs->inodes);
	uint64_t handles = handle_count(fs->handles);

	print_by_path(out, "zcfs_read_bytes_total", "Bytes served to READ.", fs->stats.read_bytes,
		      0, STATS_TRANSFERS);
	print_by_path(out, "zcfs_write_bytes_total", "Bytes taken from WRITE.",
		      fs->stats.write_bytes, 0, STATS_TRANSFERS);
	print_by_path(out, "zcfs_copy_bytes_total", "Bytes of copy_file_range.",
		      fs->stats.copy_bytes, STATS_COPIES, STATS_PATHS);
	print_value(out, "zcfs_copy_requests_total", "counter", "Requests of copy_file_range.",
		    stats_read(&fs->stats.copy_requests));
	print_requests(fs, out);
	passthrough_print_stats(fs, out);
	print_value(out, "zcfs_ring_enters_total", "counter", "Calls of io_uring_enter, all rings.",
		    totals.enters);
	print_metric(out, "zcfs_pool_buffers", "gauge", "Buffers of all pools, by place.");
	fprintf(out, "zcfs_pool_buffers{state=\"home\"} %u\n", totals.buffers.home);
	fprintf(out, "zcfs_pool_buffers{state=\"lent\"} %u\n", totals.buffers.lent);
	fprintf(out, "zcfs_pool_buffers{state=\"kernel\"} %u\n", totals.buffers.kernel);
	print_metric(out, "zcfs_pool_bytes", "gauge", "Memory of all pools.");
	fprintf(out, "zcfs_pool_bytes{registered=\"yes\"} %llu\n",
		(unsigned long long)totals.bytes_registered);
	fprintf(out, "zcfs_pool_bytes{registered=\"no\"} %llu\n",
		(unsigned long long)totals.bytes_unregistered);
	print_value(out, "zcfs_inodes", "gauge", "Inodes that the kernel knows or uses.",
		    inodes.inodes);
	print_value(out, "zcfs_open_files", "gauge", "Open files and directories.", handles);
	print_value(out, "zcfs_open_fds", "gauge", "Descriptors held for inodes and open files.",
		    inodes.fds + handles);
}

static void print_options(const struct options *options, FILE *out)
{
	fprintf(out, "backing            %s\n", options->backing);
	fprintf(out, "mount point        %s\n", options->mountpoint);
	fprintf(out, "io                 %s\n", options_io_names[options->io]);
	fprintf(out, "cache              %s%s, attributes %g s, entries %g s, negative %g s\n",
		options_cache_names[options->cache], options->writeback ? ", writeback" : "",
		options->attr_timeout, options->entry_timeout, options->negative_timeout);
	fprintf(out, "locks              %s\n", options_lock_names[options->locks]);
	fprintf(out, "threads            %u request workers and %u copiers at most\n",
		options->threads, options->copy_threads);
	fprintf(out, "copies             %s, %u buffers of %zu KiB, %llu MiB a reply\n",
		options_copy_names[options->copy], options->copy_buffers,
		options->copy_buffer_size >> 10, (unsigned long long)options->copy_max >> 20);
}

static void print_downgrades(struct fs *fs, FILE *out)
{
	fputs("downgrades\n", out);
	pthread_mutex_lock(&fs->lock);
	for (unsigned i = 0; i < fs->downgrade_count; i++)
		fprintf(out, "  without %s: %s\n", fs->downgrades[i].what, fs->downgrades[i].why);
	if (!fs->downgrade_count)
		fputs("  none\n", out);
	pthread_mutex_unlock(&fs->lock);
}

static void print_status(struct fs *fs, FILE *out)
{
	struct totals totals = sum_workers(fs);
	struct inode_counts inodes = inode_counts(fs->inodes);
	struct utsname kernel;
	struct timespec now;

	uname(&kernel);
	clock_gettime(CLOCK_REALTIME, &now);
	print_options(&fs->options, out);
	fprintf(out, "running            %lld s, on %s %s\n",
		(long long)(now.tv_sec - fs->started.tv_sec), kernel.sysname, kernel.release);
	fprintf(out, "transport          %s, FUSE protocol 7.%u, requests up to %u KiB\n",
		transport_uring_is_up(fs->uring) ? "uring" : "dev", fs->connection.minor,
		fs->connection.max_write >> 10);
	if (transport_uring_is_up(fs->uring))
		transport_uring_print(fs->uring, out);
	passthrough_print_status(fs, out);
	fprintf(out, "workers            %u\n", totals.workers);
	fprintf(out, "pool               %llu KiB registered, %llu KiB not\n",
		(unsigned long long)totals.bytes_registered >> 10,
		(unsigned long long)totals.bytes_unregistered >> 10);
	fprintf(out, "inodes             %llu, %s\n", (unsigned long long)inodes.inodes,
		inodes.by_handle ? "by file handle" : "by descriptor");
	print_downgrades(fs, out);
	fputs("kernel features\n", out);
	init_print_flags(fs, out);
}

static void print_copies(struct fs *fs, FILE *out)
{
	copier_print(fs->copier, out);
}

static const struct control_file files[] = {
	{ "copies", print_copies },
	{ "stats", print_stats },
	{ "status", print_status },
};

#define FILE_COUNT (sizeof(files) / sizeof(files[0]))

/* ---- serving them ---- */

/* The node id of files[i] is CONTROL_DIR + 1 + i. */
static const struct control_file *file_of(uint64_t nodeid)
{
	uint64_t i = nodeid - CONTROL_DIR - 1;

	return i < FILE_COUNT ? &files[i] : NULL;
}

static bool is_owner(const struct request *request)
{
	return request->in.uid == request->fs->owner || request->in.uid == 0;
}

static bool names_control(const struct request *request)
{
	const char *name = request->fs->options.control;

	return name && request->in.nodeid == FUSE_ROOT_ID && request->name[0] &&
	       !strcmp(request->name[0], name);
}

/* Names are only looked up: whoever tries to make, remove or rename the directory is told that it
 * is not his. */
bool control_owns(const struct request *request)
{
	const struct fuse_rename2_in *rename = request->argument;
	const struct fuse_link_in *link = request->argument;
	const char *control = request->fs->options.control;

	if (request->in.nodeid >= CONTROL_DIR)
		return true;
	switch (request->in.opcode) {
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
	case FUSE_CREATE:
		return names_control(request);
	case FUSE_LINK:
		return names_control(request) || link->oldnodeid >= CONTROL_DIR;
	case FUSE_RENAME:
	case FUSE_RENAME2:
		return names_control(request) ||
		       (control && rename->newdir == FUSE_ROOT_ID &&
			!strcmp(request->name[1], control)) ||
		       rename->newdir >= CONTROL_DIR;
	default:
		return false;
	}
}

static void fill_attr(const struct fs *fs, uint64_t nodeid, struct fuse_attr *attr)
{
	bool is_dir = nodeid == CONTROL_DIR;

	*attr = (struct fuse_attr){
		.ino = nodeid,
		.mode = is_dir ? S_IFDIR | 0500 : S_IFREG | 0400,
		.nlink = is_dir ? 2 : 1,
		.uid = fs->owner,
		.gid = getegid(),
		.atime = (uint64_t)fs->started.tv_sec,
		.mtime = (uint64_t)fs->started.tv_sec,
		.ctime = (uint64_t)fs->started.tv_sec,
		.blksize = 4096,
	};
}

static uint64_t find_name(const struct request *request)
{
	if (request->in.nodeid == FUSE_ROOT_ID)
		return CONTROL_DIR;
	for (uint64_t i = 0; i < FILE_COUNT; i++)
		if (request->in.nodeid == CONTROL_DIR && !strcmp(request->name[0], files[i].name))
			return CONTROL_DIR + 1 + i;
	return 0;
}

static void control_lookup(struct request *request)
{
	struct fuse_entry_out *entry = &request->out.entry;
	uint64_t nodeid = is_owner(request) ? find_name(request) : 0;

	if (!nodeid) {
		request_reply_error(request, -ENOENT);
		return;
	}
	*entry = (struct fuse_entry_out){ .nodeid = nodeid };
	fill_attr(request->fs, nodeid, &entry->attr);
	request_reply_out(request, sizeof(*entry));
}

static void control_getattr(struct request *request)
{
	request->out.attr = (struct fuse_attr_out){ .attr_valid = 0 };
	fill_attr(request->fs, request->in.nodeid, &request->out.attr.attr);
	request_reply_out(request, sizeof(request->out.attr));
}

static int make_text(struct fs *fs, const struct control_file *file, char **ret_text,
		     size_t *ret_size)
{
	FILE *out = open_memstream(ret_text, ret_size);

	if (!out)
		return -errno;
	file->print(fs, out);
	if (!fclose(out))
		return 0;
	free(*ret_text);
	return -ENOMEM;
}

/* The text is made now and stays as it is for this open file, however it is read. */
static int open_handle(struct request *request, const struct control_file *file, uint64_t *ret_fh)
{
	struct fs *fs = request->fs;
	char *text = NULL;
	size_t size = 0;
	int err = file ? make_text(fs, file, &text, &size) : 0;

	return err ? err : handle_add_text(fs->handles, text, size, ret_fh);
}

static void control_open(struct request *request)
{
	const struct fuse_open_in *in = request->argument;
	const struct control_file *file = file_of(request->in.nodeid);
	bool is_dir = request->in.opcode == FUSE_OPENDIR;
	int err = 0;

	if (!is_owner(request) || (in->flags & O_ACCMODE) != O_RDONLY)
		err = -EACCES;
	else if (is_dir != !file)
		err = is_dir ? -ENOTDIR : -EISDIR;
	request->out.open = (struct fuse_open_out){ .open_flags = is_dir ? 0 : FOPEN_DIRECT_IO };
	if (!err)
		err = open_handle(request, file, &request->out.open.fh);
	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.open));
}

static void control_read(struct request *request)
{
	const struct fuse_read_in in = *(const struct fuse_read_in *)request->argument;
	struct handle *handle = handle_get(request->fs->handles, in.fh, HANDLE_CONTROL);
	size_t size = request_payload_size(request);

	if (!handle) {
		request_reply_error(request, -EBADF);
		return;
	}
	if (in.size < size)
		size = in.size;
	if (in.offset >= handle->text_size)
		size = 0;
	else if (handle->text_size - in.offset < size)
		size = handle->text_size - in.offset;
	if (size)
		memcpy(request_payload(request), handle->text + in.offset, size);
	handle_put(handle);
	request_reply_payload(request, size);
}

/* ".", "..", and the files, in this order; an entry's offset is its number. */
static const char *entry_name(uint64_t i)
{
	if (i < 2)
		return i ? ".." : ".";
	return i - 2 < FILE_COUNT ? files[i - 2].name : NULL;
}

/* READDIRPLUS may leave the attributes out: with node id 0 the kernel takes the name alone. */
static void control_readdir(struct request *request)
{
	const struct fuse_read_in in = *(const struct fuse_read_in *)request->argument;
	size_t before = request->in.opcode == FUSE_READDIRPLUS ? sizeof(struct fuse_entry_out) : 0;
	size_t room = request_payload_size(request);
	char *start = request_payload(request);
	size_t used = 0;
	const char *name;

	if (in.size < room)
		room = in.size;
	for (uint64_t i = in.offset; i < FILE_COUNT + 2 && (name = entry_name(i)); i++) {
		size_t length = strlen(name);
		size_t size = FUSE_DIRENT_ALIGN(before + FUSE_NAME_OFFSET + length);
		struct fuse_dirent *entry = (struct fuse_dirent *)(void *)(start + used + before);

		if (size > room - used)
			break;
		memset(start + used, 0, size);
		entry->ino = i < 2 ? CONTROL_DIR : CONTROL_DIR + 1 + (i - 2);
		entry->off = i + 1;
		entry->namelen = (uint32_t)length;
		entry->type = (i < 2 ? S_IFDIR : S_IFREG) >> 12;
		memcpy(entry->name, name, length);
		used += size;
	}
	request_reply_payload(request, used);
}

static void control_release(struct request *request)
{
	const struct fuse_release_in *in = request->argument;

	handle_release(request->fs->handles, in->fh, HANDLE_CONTROL);
	request_reply_error(request, 0);
}

void control_dispatch(struct request *request)
{
	uint64_t nodeid = request->in.nodeid;
	bool exists = nodeid == FUSE_ROOT_ID || nodeid == CONTROL_DIR || file_of(nodeid);

	switch (request->in.opcode) {
	case FUSE_FORGET:
		request_finish(request);
		return;
	case FUSE_BATCH_FORGET:
		op_batch_forget(request);
		return;
	case FUSE_INTERRUPT:
		op_interrupt(request);
		return;
	default:
		break;
	}
	if (!exists && request->in.opcode != FUSE_LINK && request->in.opcode != FUSE_RENAME &&
	    request->in.opcode != FUSE_RENAME2) {
		request_reply_error(request, -ESTALE);
		return;
	}
	switch (request->in.opcode) {
	case FUSE_LOOKUP:
		control_lookup(request);
		return;
	case FUSE_GETATTR:
		control_getattr(request);
		return;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		control_open(request);
		return;
	case FUSE_READ:
		control_read(request);
		return;
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		control_readdir(request);
		return;
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		control_release(request);
		return;
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
		request_reply_error(request, 0);
		return;
	case FUSE_STATFS:
		request->in.nodeid = FUSE_ROOT_ID;
		op_statfs(request);
		return;
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		request_reply_error(request, -EOPNOTSUPP);
		return;
	case FUSE_CREATE:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
		request_reply_error(request, nodeid == FUSE_ROOT_ID ? -EEXIST : -EPERM);
		return;
	default:
		/* ENOSYS would make the kernel give the operation up for the whole mount. */
		request_reply_error(request, -EPERM);
		return;
	}
}
