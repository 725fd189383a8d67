/* SPDX-License-Identifier: MIT */
/*
 * The life of an inode:
 *
 * 1. names_lookup() brings a name to inode_lookup_name(), or a descriptor, O_PATH, to
 *    inode_lookup(). Nobody has the identity yet: a struct is made, with the next node id (never
 *    used twice) and the file handle; the descriptor, if there is one, becomes its cached one.
 * 2. The kernel sends the node id in requests. inode_ref_get() finds it, makes the descriptor from
 *    the handle if there is none, and keeps both alive until inode_ref_put(). Who only opens the
 *    file needs none (inode_ref_find()).
 * 3. An open file holds its inode (inode_hold()), with the descriptor where the handle might fail:
 *    a file that is unlinked behind our back stays reachable as long as it is open.
 * 4. The kernel forgets as many lookups as it was told. The last of lookups, references and holds
 *    frees it.
 *
 * How it may fail: the file is gone when its descriptor must be made again (-ESTALE: the kernel
 * looks the name up anew); its number has been given to another file meanwhile (the handle differs:
 * the old struct leaves the identity table, and lives on by its node id until it is forgotten); too
 * many descriptors (the cache shrinks, or the kernel is asked to forget).
 */
#include "inode.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"
#include "evict.h"
#include "fs.h"
#include "fuse_kernel.h"
#include "inode_table.h"

/* ---- making and freeing ---- */

static struct inode *inode_new(const struct statx *stx, const struct fhandle_mount *mount,
			       struct file_handle *handle)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->key = inode_key_of(stx);
	inode->type = stx->stx_mode & S_IFMT;
	inode->fd = -1;
	inode->mount = mount;
	inode->handle = handle;
	return inode;
}

static void inode_free(struct inode *inode)
{
	free(inode->handle);
	free(inode);
}

static void dispose(struct inode *inode, int fd)
{
	if (fd >= 0)
		close(fd);
	if (inode)
		inode_free(inode);
}

/* ---- the interface ---- */

int inode_table_new(struct fs *fs, int root_fd, unsigned fd_limit, struct inode_table **ret_table)
{
	struct inode_table *table = calloc(1, sizeof(*table));
	struct file_handle *handle = NULL;
	struct statx stx;
	int err = -ENOMEM;

	if (!table)
		return -ENOMEM;
	table->fs = fs;
	table->fd_limit = fd_limit < 8 ? 8 : fd_limit;
	table->next_nodeid = FUSE_ROOT_ID;
	table->bucket_count = INODE_TABLE_BUCKETS_MIN;
	fhandle_mounts_init(&table->mounts);
	pthread_mutex_init(&table->lock, NULL);
	pthread_cond_init(&table->crowded, NULL);
	pthread_cond_init(&table->roomier, NULL);
	table->by_id = calloc(INODE_TABLE_BUCKETS_MIN, sizeof(struct inode *));
	table->by_key = calloc(INODE_TABLE_BUCKETS_MIN, sizeof(struct inode *));
	if (!table->by_id || !table->by_key)
		goto free_table;
	err = attr_get(root_fd, &stx);
	if (err)
		goto free_table;
	err = -ENOMEM;
	handle = fhandle_get(root_fd);
	if (handle)
		table->by_handle = fhandle_mount_of(&table->mounts, root_fd, &stx, handle) != NULL;
	table->root = inode_new(&stx, NULL, NULL);
	free(handle);
	if (!table->root)
		goto free_table;
	table->root->pinned = true;
	table_insert(table, table->root);
	table_set_fd(table, table->root, root_fd);
	*ret_table = table;
	return 0;

free_table:
	fhandle_mounts_fini(&table->mounts);
	pthread_cond_destroy(&table->crowded);
	pthread_cond_destroy(&table->roomier);
	pthread_mutex_destroy(&table->lock);
	free(table->by_id);
	free(table->by_key);
	free(table);
	return err;
}

int inode_table_start(struct inode_table *table)
{
	return evict_start(table);
}

void inode_table_stop(struct inode_table *table)
{
	evict_stop(table);
}

void inode_table_free(struct inode_table *table)
{
	if (!table)
		return;
	evict_stop(table);
	for (size_t i = 0; i < table->bucket_count; i++) {
		struct inode *next;

		for (struct inode *inode = table->by_id[i]; inode; inode = next) {
			next = inode->next_by_id;
			dispose(inode, inode->fd);
		}
	}
	fhandle_mounts_fini(&table->mounts);
	pthread_cond_destroy(&table->crowded);
	pthread_cond_destroy(&table->roomier);
	pthread_mutex_destroy(&table->lock);
	free(table->by_id);
	free(table->by_key);
	free(table);
}

/* An O_PATH descriptor from an ordinary one of the same file. */
static int path_fd_of(int fd)
{
	int path_fd = open(fs_proc_path(fd).text, O_PATH | O_CLOEXEC);

	return path_fd < 0 ? -errno : path_fd;
}

/* By its handle. Where that is no longer taken, as in a subvolume of btrfs that was deleted (Linux
 * fs/btrfs/export.c, btrfs_get_dentry()), by an open file. */
static int open_path(struct inode_table *table, const struct inode *inode)
{
	int fd = fhandle_open(inode->mount, inode->handle, O_PATH | O_NOFOLLOW);
	CLEANUP_HANDLE struct handle *handle = NULL;

	if (fd == -ESTALE)
		handle = handle_of_inode(table->fs->handles, inode->nodeid);
	return handle ? path_fd_of(handle->fd) : fd;
}

/* Makes sure that a referenced inode has a descriptor. The reference keeps the struct; two threads
 * may race to make the descriptor. */
static int fill_fd(struct inode_table *table, struct inode *inode, int *ret_fd)
{
	unsigned tries = 0;
	int fd, surplus;

	assert(inode->handle); /* without one, the descriptor lives as long as the inode */
	do
		fd = open_path(table, inode);
	while (fd < 0 && inode_table_relieve(table, fd, tries++));
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&table->lock);
	if (inode->fd < 0) {
		table_set_fd(table, inode, fd);
		fd = -1;
	}
	*ret_fd = inode->fd;
	surplus = table_surplus_fd(table);
	pthread_mutex_unlock(&table->lock);
	dispose(NULL, fd);
	dispose(NULL, surplus);
	return 0;
}

/* With the lock held. */
static void ref_inode(struct inode_table *table, struct inode *inode, struct inode_ref *ret_ref)
{
	inode->refs++;
	ret_ref->table = table;
	ret_ref->inode = inode;
	ret_ref->fd = inode->fd;
	if (inode->cached)
		table_touch(table, inode);
}

/* Makes the descriptor of a reference, or gives the reference back. */
static int complete(struct inode_ref *ref)
{
	int err = ref->fd < 0 ? fill_fd(ref->table, ref->inode, &ref->fd) : 0;

	if (err)
		inode_ref_put(ref);
	return err;
}

int inode_ref_find(struct inode_table *table, uint64_t nodeid, struct inode_ref *ret_ref)
{
	struct inode *inode;

	*ret_ref = INODE_REF_NONE;
	pthread_mutex_lock(&table->lock);
	inode = table_find(table, nodeid);
	if (inode)
		ref_inode(table, inode, ret_ref);
	pthread_mutex_unlock(&table->lock);
	if (!inode)
		return -ESTALE;
	return ret_ref->fd < 0 && !fhandle_is_known(inode->mount) ? complete(ret_ref) : 0;
}

int inode_ref_get(struct inode_table *table, uint64_t nodeid, struct inode_ref *ret_ref)
{
	int err = inode_ref_find(table, nodeid, ret_ref);

	return err ? err : complete(ret_ref);
}

int inode_ref_again(struct inode_table *table, struct inode *inode, struct inode_ref *ret_ref)
{
	*ret_ref = INODE_REF_NONE;
	pthread_mutex_lock(&table->lock);
	ref_inode(table, inode, ret_ref);
	pthread_mutex_unlock(&table->lock);
	return complete(ret_ref);
}

void inode_ref_put(struct inode_ref *ref)
{
	struct inode_table *table = ref->table;
	struct inode *dead;
	int fd;

	if (!ref->inode)
		return;
	pthread_mutex_lock(&table->lock);
	assert(ref->inode->refs > 0);
	ref->inode->refs--;
	dead = table_reap(table, ref->inode, &fd);
	pthread_mutex_unlock(&table->lock);
	dispose(dead, fd);
	*ref = INODE_REF_NONE;
}

/*
 * With the lock held: the inode that fd is, if it is known. One that has a descriptor is the same
 * file for sure, because the descriptor keeps the number from being used again; else the handles
 * decide. Another file with an old number takes its place.
 */
static struct inode *find_same(struct inode_table *table, const struct statx *stx,
			       const struct file_handle *handle)
{
	const struct inode_key key = inode_key_of(stx);
	struct inode *inode = table_find_key(table, &key);

	if (!inode || inode->fd >= 0)
		return inode;
	if (handle && inode->handle && fhandle_equal(handle, inode->handle))
		return inode;
	table_unname(table, inode);
	return NULL;
}

/* What is known of a file when it is looked up. */
struct found {
	const struct statx *stx;
	int fd; /* -1: it was not opened, and the handle is there */
	int path_fd; /* O_PATH, to be its inode's, or -1 */
	const struct file_handle *handle; /* NULL: to be asked for */
	const struct fhandle_mount *mount; /* with handle */
};

/* The handle of a new inode, to be freed by free(3), and the mount by which it is to be opened; or
 * NULL. */
static struct file_handle *take_handle(struct inode_table *table, const struct found *found,
				       const struct fhandle_mount **ret_mount)
{
	struct file_handle *handle;

	*ret_mount = found->mount;
	if (found->handle)
		return fhandle_copy(found->handle);
	handle = table->by_handle ? fhandle_get(found->fd) : NULL;
	if (handle)
		*ret_mount = fhandle_mount_of(&table->mounts, found->fd, found->stx, handle);
	if (*ret_mount)
		return handle;
	free(handle);
	return NULL;
}

/* A candidate for the table: what is inserted if the identity is new. */
static int make_candidate(struct inode_table *table, struct found *found, struct inode **ret_inode)
{
	const struct fhandle_mount *mount;
	struct file_handle *handle = take_handle(table, found, &mount);

	if (!handle && found->fd < 0)
		return -ENOMEM;
	if (!handle && found->path_fd < 0) {
		found->path_fd = path_fd_of(found->fd);
		if (found->path_fd < 0)
			return found->path_fd;
	}
	*ret_inode = inode_new(found->stx, mount, handle);
	if (*ret_inode)
		return 0;
	free(handle);
	return -ENOMEM;
}

/*
 * With the lock held: the inode that was found, if it is known. Who has a descriptor of it knows by
 * the number that it is the same, as long as the table has one too; else the handles decide, which
 * may take a candidate. -EAGAIN when it was not opened, and another file may have its number now.
 */
static int find_known(struct inode_table *table, const struct found *found,
		      const struct inode *candidate, struct inode **ret_inode)
{
	const struct inode_key key = inode_key_of(found->stx);
	struct inode *inode = table_find_key(table, &key);

	*ret_inode = NULL;
	if (!inode)
		return 0;
	if (found->fd < 0) {
		if (!inode->handle || !fhandle_equal(found->handle, inode->handle))
			return -EAGAIN;
		*ret_inode = inode;
	} else if (inode->fd >= 0) {
		*ret_inode = inode;
	} else if (candidate) {
		*ret_inode = find_same(table, found->stx, candidate->handle);
	}
	return 0;
}

/* Known or new. Without the lock, which is held when it returns 0. */
static int find_or_insert(struct inode_table *table, struct found *found, struct inode **candidate,
			  struct inode **ret_inode)
{
	for (;;) {
		int err;

		pthread_mutex_lock(&table->lock);
		err = find_known(table, found, *candidate, ret_inode);
		if (!err && !*ret_inode && *candidate) {
			*ret_inode = *candidate;
			*candidate = NULL;
			table_insert(table, *ret_inode);
		}
		if (!err && *ret_inode)
			return 0;
		pthread_mutex_unlock(&table->lock);
		if (!err)
			err = make_candidate(table, found, candidate);
		if (err)
			return err;
	}
}

/* Takes found->path_fd over where there is one. */
static int count_lookup(struct inode_table *table, struct found *found, uint64_t *ret_nodeid,
			uint64_t *ret_generation)
{
	struct inode *candidate = NULL;
	struct inode *inode;
	int surplus;
	int err = find_or_insert(table, found, &candidate, &inode);

	if (err) {
		dispose(candidate, found->path_fd);
		return err;
	}
	inode->nlookup++;
	if (inode->fd < 0 && found->path_fd >= 0)
		table_set_fd(table, inode, take_fd(&found->path_fd));
	*ret_nodeid = inode->nodeid;
	*ret_generation = 0; /* node ids are not used twice */
	surplus = table_surplus_fd(table);
	evict_make_room(table);
	pthread_mutex_unlock(&table->lock);
	dispose(candidate, surplus);
	dispose(NULL, found->path_fd);
	return 0;
}

int inode_lookup(struct inode_table *table, int fd, bool own_fd, const struct statx *stx,
		 uint64_t *ret_nodeid, uint64_t *ret_generation)
{
	struct found found = { .stx = stx, .fd = fd, .path_fd = own_fd ? fd : -1 };

	return count_lookup(table, &found, ret_nodeid, ret_generation);
}

/*
 * The handle first: a number that is given to another file in between then comes with the new one's
 * attributes and a handle that nothing can be opened by, and not with those of a file that is gone.
 */
int inode_lookup_name(struct inode_table *table, int dir_fd, const char *name,
		      struct statx *ret_stx, uint64_t *ret_nodeid, uint64_t *ret_generation)
{
	struct found found = { .stx = ret_stx, .fd = -1, .path_fd = -1 };
	union fhandle_buffer buffer;
	uint64_t mount_id;
	int err;

	if (!table->by_handle)
		return -EAGAIN;
	err = fhandle_get_at(dir_fd, name, &buffer, &mount_id);
	if (!err)
		err = attr_get_at(dir_fd, name, ret_stx);
	if (err)
		return err == -ENOENT ? err : -EAGAIN;
	found.mount = fhandle_mount_known(&table->mounts, ret_stx);
	if (!found.mount || found.mount->mount_id != mount_id ||
	    !fhandle_has_number(found.mount, &buffer.handle, ret_stx))
		return -EAGAIN;
	found.handle = &buffer.handle;
	return count_lookup(table, &found, ret_nodeid, ret_generation);
}

void inode_forget(struct inode_table *table, uint64_t nodeid, uint64_t n)
{
	struct inode *inode, *dead = NULL;
	int fd = -1;

	pthread_mutex_lock(&table->lock);
	inode = table_find(table, nodeid);
	if (inode) {
		inode->nlookup -= n < inode->nlookup ? n : inode->nlookup;
		dead = table_reap(table, inode, &fd);
	}
	pthread_mutex_unlock(&table->lock);
	dispose(dead, fd);
}

static void pin(struct inode_table *table, struct inode *inode)
{
	inode->pinned = true;
	table_uncache(table, inode);
}

bool inode_pin_cached(struct inode_table *table, const struct statx *stx)
{
	const struct inode_key key = inode_key_of(stx);
	struct inode *inode;
	bool done;

	pthread_mutex_lock(&table->lock);
	inode = table_find_key(table, &key);
	done = !inode || inode->fd >= 0;
	if (inode && done)
		pin(table, inode);
	pthread_mutex_unlock(&table->lock);
	return done;
}

void inode_pin(struct inode_table *table, int fd, const struct statx *stx)
{
	CLEANUP_FD int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	CLEANUP_FREE struct file_handle *handle = fhandle_get(fd);
	struct inode *inode;

	pthread_mutex_lock(&table->lock);
	inode = find_same(table, stx, handle);
	if (inode && inode->fd < 0 && copy >= 0)
		table_set_fd(table, inode, take_fd(&copy));
	if (inode && inode->fd >= 0)
		pin(table, inode);
	pthread_mutex_unlock(&table->lock);
}

static int open_again(struct inode_table *table, const struct inode_ref *ref, int flags)
{
	bool pinned;
	int path_fd, fd;

	pthread_mutex_lock(&table->lock);
	pinned = ref->inode->pinned;
	path_fd = ref->inode->fd; /* the reference keeps it */
	pthread_mutex_unlock(&table->lock);
	/* Twice as fast as through /proc, but not every filesystem finds a file without a name by
	 * its handle. */
	if (ref->inode->handle && !pinned) {
		fd = fhandle_open(ref->inode->mount, ref->inode->handle, flags);
		if (fd != -ESTALE || path_fd < 0)
			return fd;
	}
	fd = open(fs_proc_path(path_fd).text, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int inode_open(struct inode_table *table, const struct inode_ref *ref, int flags)
{
	unsigned tries = 0;
	int fd;

	do
		fd = open_again(table, ref, flags);
	while (fd < 0 && inode_table_relieve(table, fd, tries++));
	return fd;
}

struct inode *inode_hold(const struct inode_ref *ref)
{
	pthread_mutex_lock(&ref->table->lock);
	ref->inode->holds++;
	pthread_mutex_unlock(&ref->table->lock);
	return ref->inode;
}

void inode_drop(struct inode_table *table, struct inode *inode)
{
	struct inode *dead;
	int fd;

	pthread_mutex_lock(&table->lock);
	assert(inode->holds > 0);
	inode->holds--;
	dead = table_reap(table, inode, &fd);
	pthread_mutex_unlock(&table->lock);
	dispose(dead, fd);
}

void inode_note_handle(struct inode *inode, uint64_t fh)
{
	atomic_store_explicit(&inode->fh, fh, memory_order_relaxed);
}

uint64_t inode_last_handle(struct inode_table *table, uint64_t nodeid)
{
	struct inode *inode;
	uint64_t fh;

	pthread_mutex_lock(&table->lock);
	inode = table_find(table, nodeid);
	fh = inode ? atomic_load_explicit(&inode->fh, memory_order_relaxed) : 0;
	pthread_mutex_unlock(&table->lock);
	return fh;
}

uint64_t inode_nodeid(const struct inode *inode)
{
	return inode->nodeid;
}

mode_t inode_type(const struct inode *inode)
{
	return inode->type;
}

static bool same_time(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool inode_data_unchanged(struct inode_table *table, struct inode *inode, const struct statx *stx)
{
	struct data_version *data = &inode->data;
	bool unchanged;

	pthread_mutex_lock(&table->lock);
	unchanged = data->known && data->size == stx->stx_size &&
		    same_time(&data->mtime, &stx->stx_mtime) &&
		    same_time(&data->ctime, &stx->stx_ctime);
	*data = (struct data_version){ true, stx->stx_mtime, stx->stx_ctime, stx->stx_size };
	pthread_mutex_unlock(&table->lock);
	return unchanged;
}

void inode_data_forget(struct inode_table *table, struct inode *inode)
{
	pthread_mutex_lock(&table->lock);
	inode->data.known = false;
	pthread_mutex_unlock(&table->lock);
}

struct passthrough_inode *inode_passthrough(struct inode *inode)
{
	return &inode->passthrough;
}

struct inode_counts inode_counts(struct inode_table *table)
{
	struct inode_counts counts;

	pthread_mutex_lock(&table->lock);
	counts.inodes = table->count;
	counts.fds = table->fd_count;
	counts.by_handle = table->by_handle;
	pthread_mutex_unlock(&table->lock);
	return counts;
}

uint64_t inode_find(struct inode_table *table, const struct statx *stx)
{
	const struct inode_key key = inode_key_of(stx);
	struct inode *inode;
	uint64_t nodeid;

	pthread_mutex_lock(&table->lock);
	inode = table_find_key(table, &key);
	nodeid = inode ? inode->nodeid : 0;
	pthread_mutex_unlock(&table->lock);
	return nodeid;
}

unsigned inode_find_regular(struct inode_table *table, uint64_t *ret_nodeids, unsigned count)
{
	unsigned n;

	pthread_mutex_lock(&table->lock);
	n = table_find_regular(table, ret_nodeids, count);
	pthread_mutex_unlock(&table->lock);
	return n;
}

bool inode_table_is_crowded(struct inode_table *table)
{
	bool crowded;

	pthread_mutex_lock(&table->lock);
	crowded = evict_is_due(table);
	pthread_mutex_unlock(&table->lock);
	return crowded;
}

#define RELIEVE_TRIES 8
#define RELIEVE_FDS   8

bool inode_table_relieve(struct inode_table *table, int err, unsigned tries)
{
	int fds[RELIEVE_FDS];
	unsigned n = 0;

	if (err != -EMFILE || tries >= RELIEVE_TRIES)
		return false;
	pthread_mutex_lock(&table->lock);
	while (n < RELIEVE_FDS && (fds[n] = table_idle_fd(table)) >= 0)
		n++;
	if (!n)
		evict_now(table);
	pthread_mutex_unlock(&table->lock);
	while (n)
		close(fds[--n]);
	return true;
}
