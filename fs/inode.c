/* SPDX-License-Identifier: MIT */
/*
 * The life of an inode:
 *
 *  1  names_lookup() opens an entry with O_PATH and brings the descriptor to inode_lookup(). Nobody
 * has the identity yet: a struct is made, with the next node id (never used twice) and the file
 * handle, and the descriptor becomes its cached one. 2  The kernel sends the node id in requests.
 * inode_ref_get() finds it, makes the descriptor again from the handle if the cache had closed it,
 * and keeps both alive until inode_ref_put(). 3  An open file holds its inode (inode_hold()), and
 * with it its descriptor: a file that is unlinked behind our back stays reachable as long as it is
 * open. 4  The kernel forgets as many lookups as it was told. The last of lookups, references and
 * holds frees it.
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
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"
#include "fs.h"
#include "fuse_kernel.h"
#include "log.h"
#include "notify.h"

#define BUCKETS_MIN 1024

/* Where an inode can be made anew from its handle: a descriptor of its filesystem for
 * open_by_handle_at(2). */
struct mount {
	dev_t dev;
	int fd; /* -1: this filesystem has no handles, its inodes keep their descriptors */
	struct mount *next;
};

/* What the kernel was told of the content, see inode_data_unchanged(). */
struct data_version {
	bool known;
	struct statx_timestamp mtime;
	struct statx_timestamp ctime;
	uint64_t size;
};

struct inode {
	uint64_t nodeid;
	dev_t dev;
	ino_t ino;
	mode_t type;

	/* Under the table's lock. */
	uint64_t nlookup;
	unsigned refs; /* struct inode_ref that point here */
	unsigned holds; /* open handles and their like */
	bool named; /* in the identity table */
	bool pinned; /* its descriptor is not a cache: never closed before the end */
	bool cached; /* in the LRU list */
	int fd; /* O_PATH, -1 when closed */
	struct data_version data;
	struct inode *next_by_id;
	struct inode *next_by_key;
	struct inode *older, *newer; /* LRU */

	const struct mount *mount; /* NULL: no handle */
	struct file_handle *handle;
};

struct inode_table {
	struct fs *fs;
	unsigned fd_limit;
	bool by_handle; /* the daemon may use open_by_handle_at(2) at all */
	struct inode *root;

	pthread_mutex_t lock; /* a leaf */
	uint64_t next_nodeid;
	uint64_t count;
	uint64_t fd_count;
	uint64_t kept_count; /* of them, those of inodes without a handle: only the kernel's FORGET
				frees them */
	size_t bucket_count; /* a power of two; of both tables */
	struct inode **by_id;
	struct inode **by_key;
	struct inode *oldest, *newest; /* LRU of descriptors that can be closed, or whose inodes can
					  be forgotten */
	struct mount *mounts;

	/* The thread that asks the kernel to forget. */
	pthread_t evictor;
	bool evictor_runs;
	bool stopping;
	pthread_cond_t crowded; /* an inode without a handle was added, or stopping */
	pthread_cond_t roomier; /* fd_count went down */
};

/* ---- the two tables and the list; the lock is held ---- */

static size_t bucket_of_id(const struct inode_table *table, uint64_t nodeid)
{
	return nodeid & (table->bucket_count - 1);
}

static size_t bucket_of_key(const struct inode_table *table, dev_t dev, ino_t ino)
{
	uint64_t hash = (ino ^ (dev << 32 | dev >> 32)) * 0x9e3779b97f4a7c15ULL;

	return (hash >> 20) & (table->bucket_count - 1);
}

static void link_inode(struct inode_table *table, struct inode *inode)
{
	struct inode **id = &table->by_id[bucket_of_id(table, inode->nodeid)];
	struct inode **key = &table->by_key[bucket_of_key(table, inode->dev, inode->ino)];

	inode->next_by_id = *id;
	*id = inode;
	if (!inode->named)
		return;
	inode->next_by_key = *key;
	*key = inode;
}

static void unname(struct inode_table *table, struct inode *inode)
{
	struct inode **link = &table->by_key[bucket_of_key(table, inode->dev, inode->ino)];

	if (!inode->named)
		return;
	while (*link != inode)
		link = &(*link)->next_by_key;
	*link = inode->next_by_key;
	inode->named = false;
}

static void unlink_inode(struct inode_table *table, struct inode *inode)
{
	struct inode **link = &table->by_id[bucket_of_id(table, inode->nodeid)];

	while (*link != inode)
		link = &(*link)->next_by_id;
	*link = inode->next_by_id;
	unname(table, inode);
}

/* Doubles the tables. Without memory they stay as they are: only slower. */
static void grow(struct inode_table *table)
{
	size_t old_count = table->bucket_count;
	struct inode **old = table->by_id;
	struct inode **by_id = calloc(old_count * 2, sizeof(struct inode *));
	struct inode **by_key = calloc(old_count * 2, sizeof(struct inode *));

	if (!by_id || !by_key) {
		free(by_id);
		free(by_key);
		return;
	}
	free(table->by_key);
	table->by_id = by_id;
	table->by_key = by_key;
	table->bucket_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++) {
		struct inode *next;

		for (struct inode *inode = old[i]; inode; inode = next) {
			next = inode->next_by_id;
			link_inode(table, inode);
		}
	}
	free(old);
}

static struct inode *find_by_id(struct inode_table *table, uint64_t nodeid)
{
	struct inode *inode = table->by_id[bucket_of_id(table, nodeid)];

	while (inode && inode->nodeid != nodeid)
		inode = inode->next_by_id;
	return inode;
}

static struct inode *find_by_key(struct inode_table *table, dev_t dev, ino_t ino)
{
	struct inode *inode = table->by_key[bucket_of_key(table, dev, ino)];

	while (inode && (inode->ino != ino || inode->dev != dev))
		inode = inode->next_by_key;
	return inode;
}

static void lru_remove(struct inode_table *table, struct inode *inode)
{
	if (!inode->cached)
		return;
	*(inode->older ? &inode->older->newer : &table->oldest) = inode->newer;
	*(inode->newer ? &inode->newer->older : &table->newest) = inode->older;
	inode->older = inode->newer = NULL;
	inode->cached = false;
}

static void lru_touch(struct inode_table *table, struct inode *inode)
{
	lru_remove(table, inode);
	inode->older = table->newest;
	inode->newer = NULL;
	*(table->newest ? &table->newest->newer : &table->oldest) = inode;
	table->newest = inode;
	inode->cached = true;
}

static bool is_idle(const struct inode *inode)
{
	return inode->refs == 0 && inode->holds == 0;
}

static void set_fd(struct inode_table *table, struct inode *inode, int fd)
{
	inode->fd = fd;
	table->fd_count++;
	table->kept_count += !inode->handle;
	if (!inode->pinned)
		lru_touch(table, inode);
}

static int take_fd_of(struct inode_table *table, struct inode *inode)
{
	int fd = inode->fd;

	lru_remove(table, inode);
	if (fd >= 0) {
		inode->fd = -1;
		table->fd_count--;
		table->kept_count -= !inode->handle;
		pthread_cond_broadcast(&table->roomier);
	}
	return fd;
}

/* A descriptor that the caller closes outside the lock, or -1 when there are not too many, or all
 * are in use. */
static int surplus_fd(struct inode_table *table)
{
	if (table->fd_count <= table->fd_limit)
		return -1;
	for (struct inode *inode = table->oldest; inode; inode = inode->newer)
		if (is_idle(inode) && inode->handle)
			return take_fd_of(table, inode);
	return -1;
}

/* ---- file handles; no lock is held ---- */

/*
 * The handle of fd, allocated to its size, or NULL where there is none. A filesystem without
 * handles says EOPNOTSUPP. Source: name_to_handle_at(2).
 */
static struct file_handle *handle_of(int fd)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} buffer;
	struct file_handle *handle;
	int mount_id;

	buffer.handle.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(fd, "", &buffer.handle, &mount_id, AT_EMPTY_PATH))
		return NULL;
	handle = malloc(sizeof(*handle) + buffer.handle.handle_bytes);
	if (handle)
		memcpy(handle, &buffer, sizeof(*handle) + buffer.handle.handle_bytes);
	return handle;
}

static bool same_handle(const struct file_handle *a, const struct file_handle *b)
{
	return a->handle_type == b->handle_type && a->handle_bytes == b->handle_bytes &&
	       !memcmp(a->f_handle, b->f_handle, a->handle_bytes);
}

static const struct mount *find_mount(struct inode_table *table, dev_t dev)
{
	struct mount *mount;

	pthread_mutex_lock(&table->lock);
	for (mount = table->mounts; mount && mount->dev != dev; mount = mount->next)
		;
	pthread_mutex_unlock(&table->lock);
	return mount;
}

/* An ordinary descriptor on the filesystem of fd: open_by_handle_at(2) takes no O_PATH one. -1 when
 * none can be had. */
static int open_mount(int fd, mode_t type, const struct file_handle *handle)
{
	int mount_fd, trial;

	if (!S_ISDIR(type) && !S_ISREG(type))
		return -1; /* opening a fifo or a device is not harmless; another file of this
			      filesystem will come */
	mount_fd = open(fs_proc_path(fd).text, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (mount_fd < 0)
		return -1;
	trial = open_by_handle_at(mount_fd, (struct file_handle *)(uintptr_t)handle,
				  O_PATH | O_CLOEXEC);
	if (trial < 0) {
		close(mount_fd);
		return -1;
	}
	close(trial);
	return mount_fd;
}

/* Finds or makes the entry for the filesystem that fd is on. NULL where inodes keep their
 * descriptors. */
static const struct mount *mount_of(struct inode_table *table, int fd, const struct statx *stx,
				    const struct file_handle *handle)
{
	dev_t dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
	const struct mount *mount = find_mount(table, dev);
	struct mount *fresh;

	if (mount)
		return mount->fd >= 0 ? mount : NULL;
	fresh = malloc(sizeof(*fresh));
	if (!fresh)
		return NULL;
	fresh->dev = dev;
	fresh->fd = open_mount(fd, stx->stx_mode & S_IFMT, handle);
	if (fresh->fd < 0) {
		free(fresh);
		return NULL;
	}
	pthread_mutex_lock(&table->lock); /* two threads may both have made one: the older is then
					     unused, but right */
	fresh->next = table->mounts;
	table->mounts = fresh;
	pthread_mutex_unlock(&table->lock);
	return fresh;
}

static int open_handle(const struct inode *inode, int flags)
{
	int fd = open_by_handle_at(inode->mount->fd, inode->handle, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* ---- making and freeing ---- */

static struct inode *inode_new(const struct statx *stx, const struct mount *mount,
			       struct file_handle *handle)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
	inode->ino = stx->stx_ino;
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

/* With the lock held: takes the inode out if nobody needs it any more. The caller then disposes of
 * it without the lock. */
static struct inode *reap(struct inode_table *table, struct inode *inode, int *ret_fd)
{
	*ret_fd = -1;
	if (inode->nlookup || !is_idle(inode) || inode == table->root)
		return NULL;
	*ret_fd = take_fd_of(table, inode);
	unlink_inode(table, inode);
	table->count--;
	return inode;
}

static void dispose(struct inode *inode, int fd)
{
	if (fd >= 0)
		close(fd);
	if (inode)
		inode_free(inode);
}

/* With the lock held: gives a new inode its node id and puts it in. */
static void insert(struct inode_table *table, struct inode *inode)
{
	if (table->count >= table->bucket_count)
		grow(table);
	inode->nodeid = table->next_nodeid++;
	inode->named = true;
	link_inode(table, inode);
	table->count++;
}

/* ---- asking the kernel to forget ---- */

#define EVICT_BATCH 64

static unsigned choose_victims(struct inode_table *table, uint64_t nodeids[EVICT_BATCH])
{
	unsigned n = 0;
	struct inode *next;

	for (struct inode *inode = table->oldest; inode && n < EVICT_BATCH; inode = next) {
		next = inode->newer;
		if (!is_idle(inode) || inode->handle)
			continue;
		nodeids[n++] = inode->nodeid;
	}
	/* Those the kernel is still using stay: next time others are asked for first. */
	for (unsigned i = 0; i < n; i++)
		lru_touch(table, find_by_id(table, nodeids[i]));
	return n;
}

static void wait_a_moment(struct inode_table *table)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 5 * 1000 * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&table->roomier, &table->lock, &until);
}

static bool is_crowded(const struct inode_table *table)
{
	return table->kept_count > table->fd_limit - table->fd_limit / 4;
}

/*
 * One round asks for a batch; the FORGETs arrive on the workers. When a round brought nothing, all
 * that is left is in use, and the next one waits until another inode was added.
 */
static void *evictor_main(void *argument)
{
	struct inode_table *table = argument;
	uint64_t nodeids[EVICT_BATCH];
	uint64_t before = 0;

	pthread_mutex_lock(&table->lock);
	while (!table->stopping) {
		unsigned n;

		if (!is_crowded(table) || table->kept_count == before) {
			before = 0;
			pthread_cond_wait(&table->crowded, &table->lock);
			continue;
		}
		before = table->kept_count;
		n = choose_victims(table, nodeids);
		pthread_mutex_unlock(&table->lock);
		if (n)
			notify_forget(table->fs, nodeids, n);
		pthread_mutex_lock(&table->lock);
		if (!table->stopping)
			wait_a_moment(table);
	}
	pthread_mutex_unlock(&table->lock);
	return NULL;
}

/*
 * With the lock held, after a descriptor was added: calls the evictor, and when the limit is passed
 * gives it a moment. Bounded, because what the kernel is using cannot be evicted; the margin up to
 * RLIMIT_NOFILE is for that.
 */
static void make_room(struct inode_table *table)
{
	if (!table->evictor_runs || !is_crowded(table))
		return;
	pthread_cond_signal(&table->crowded);
	for (int i = 0; i < 20 && table->kept_count > table->fd_limit && !table->stopping; i++)
		wait_a_moment(table);
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
	table->bucket_count = BUCKETS_MIN;
	pthread_mutex_init(&table->lock, NULL);
	pthread_cond_init(&table->crowded, NULL);
	pthread_cond_init(&table->roomier, NULL);
	table->by_id = calloc(BUCKETS_MIN, sizeof(struct inode *));
	table->by_key = calloc(BUCKETS_MIN, sizeof(struct inode *));
	if (!table->by_id || !table->by_key)
		goto free_table;
	err = attr_get(root_fd, &stx);
	if (err)
		goto free_table;
	err = -ENOMEM;
	handle = handle_of(root_fd);
	if (handle)
		table->by_handle = mount_of(table, root_fd, &stx, handle) != NULL;
	table->root = inode_new(&stx, NULL, NULL);
	free(handle);
	if (!table->root)
		goto free_mounts;
	table->root->pinned = true;
	insert(table, table->root);
	set_fd(table, table->root, root_fd);
	*ret_table = table;
	return 0;

free_mounts:
	if (table->mounts)
		close(table->mounts->fd);
	free(table->mounts);
free_table:
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
	int err = pthread_create(&table->evictor, NULL, evictor_main, table);

	table->evictor_runs = !err;
	return -err;
}

static void stop_evictor(struct inode_table *table)
{
	if (!table->evictor_runs)
		return;
	pthread_mutex_lock(&table->lock);
	table->stopping = true;
	pthread_cond_broadcast(&table->crowded);
	pthread_cond_broadcast(&table->roomier);
	pthread_mutex_unlock(&table->lock);
	pthread_join(table->evictor, NULL);
}

void inode_table_free(struct inode_table *table)
{
	if (!table)
		return;
	stop_evictor(table);
	for (size_t i = 0; i < table->bucket_count; i++) {
		struct inode *next;

		for (struct inode *inode = table->by_id[i]; inode; inode = next) {
			next = inode->next_by_id;
			dispose(inode, inode->fd);
		}
	}
	while (table->mounts) {
		struct mount *mount = table->mounts;

		table->mounts = mount->next;
		close(mount->fd);
		free(mount);
	}
	pthread_cond_destroy(&table->crowded);
	pthread_cond_destroy(&table->roomier);
	pthread_mutex_destroy(&table->lock);
	free(table->by_id);
	free(table->by_key);
	free(table);
}

/* Makes sure that a referenced inode has a descriptor. The reference keeps the struct; two threads
 * may race to make the descriptor. */
static int fill_fd(struct inode_table *table, struct inode *inode, int *ret_fd)
{
	int fd, surplus;

	assert(inode->handle); /* without one, the descriptor lives as long as the inode */
	fd = open_handle(inode, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&table->lock);
	if (inode->fd < 0) {
		set_fd(table, inode, fd);
		fd = -1;
	}
	*ret_fd = inode->fd;
	surplus = surplus_fd(table);
	pthread_mutex_unlock(&table->lock);
	dispose(NULL, fd);
	dispose(NULL, surplus);
	return 0;
}

/* Called with the lock held, and gives it back. */
static int ref_inode(struct inode_table *table, struct inode *inode, struct inode_ref *ret_ref)
{
	int err = 0;

	inode->refs++;
	ret_ref->table = table;
	ret_ref->inode = inode;
	ret_ref->fd = inode->fd;
	if (inode->cached)
		lru_touch(table, inode);
	pthread_mutex_unlock(&table->lock);
	if (ret_ref->fd < 0)
		err = fill_fd(table, inode, &ret_ref->fd);
	if (err)
		inode_ref_put(ret_ref);
	return err;
}

int inode_ref_get(struct inode_table *table, uint64_t nodeid, struct inode_ref *ret_ref)
{
	struct inode *inode;

	*ret_ref = INODE_REF_NONE;
	pthread_mutex_lock(&table->lock);
	inode = find_by_id(table, nodeid);
	if (!inode) {
		pthread_mutex_unlock(&table->lock);
		return -ESTALE;
	}
	return ref_inode(table, inode, ret_ref);
}

int inode_ref_again(struct inode_table *table, struct inode *inode, struct inode_ref *ret_ref)
{
	*ret_ref = INODE_REF_NONE;
	pthread_mutex_lock(&table->lock);
	return ref_inode(table, inode, ret_ref);
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
	dead = reap(table, ref->inode, &fd);
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
	struct inode *inode =
		find_by_key(table, makedev(stx->stx_dev_major, stx->stx_dev_minor), stx->stx_ino);

	if (!inode || inode->fd >= 0)
		return inode;
	if (handle && inode->handle && same_handle(handle, inode->handle))
		return inode;
	unname(table, inode);
	return NULL;
}

/* An O_PATH descriptor for a new inode that has no handle, from the caller's ordinary one. */
static int path_fd_of(int fd)
{
	int path_fd = open(fs_proc_path(fd).text, O_PATH | O_CLOEXEC);

	return path_fd < 0 ? -errno : path_fd;
}

/* A candidate for the table: what inode_lookup() would insert if the identity is new. */
static int make_candidate(struct inode_table *table, int fd, bool own_fd, const struct statx *stx,
			  int *path_fd, struct inode **ret_inode)
{
	CLEANUP_FREE struct file_handle *handle = table->by_handle ? handle_of(fd) : NULL;
	const struct mount *mount = handle ? mount_of(table, fd, stx, handle) : NULL;

	if (!mount && !own_fd) {
		*path_fd = path_fd_of(fd);
		if (*path_fd < 0)
			return *path_fd;
	}
	*ret_inode = inode_new(stx, mount, mount ? handle : NULL);
	if (!*ret_inode)
		return -ENOMEM;
	if (mount)
		handle = NULL; /* it is the inode's now */
	return 0;
}

/* With the lock held: the inode of fd, known or new; NULL when it takes a candidate to decide. */
static struct inode *find_or_insert(struct inode_table *table, const struct statx *stx,
				    struct inode **candidate)
{
	struct inode *inode =
		find_by_key(table, makedev(stx->stx_dev_major, stx->stx_dev_minor), stx->stx_ino);

	if (inode && inode->fd >= 0)
		return inode;
	if (!*candidate)
		return NULL;
	inode = find_same(table, stx, (*candidate)->handle);
	if (!inode) {
		inode = *candidate;
		*candidate = NULL;
		insert(table, inode);
	}
	return inode;
}

int inode_lookup(struct inode_table *table, int fd, bool own_fd, const struct statx *stx,
		 uint64_t *ret_nodeid, uint64_t *ret_generation)
{
	CLEANUP_FD int path_fd = own_fd ? fd : -1;
	struct inode *candidate = NULL;
	struct inode *inode;
	int surplus;

	/* The usual case needs no candidate: the inode is known and its descriptor is open. */
	pthread_mutex_lock(&table->lock);
	while (!(inode = find_or_insert(table, stx, &candidate))) {
		int err;

		pthread_mutex_unlock(&table->lock);
		err = make_candidate(table, fd, own_fd, stx, &path_fd, &candidate);
		if (err)
			return err;
		pthread_mutex_lock(&table->lock);
	}
	inode->nlookup++;
	if (inode->fd < 0 && path_fd >= 0)
		set_fd(table, inode, take_fd(&path_fd));
	*ret_nodeid = inode->nodeid;
	*ret_generation = 0; /* node ids are not used twice */
	surplus = surplus_fd(table);
	make_room(table);
	pthread_mutex_unlock(&table->lock);
	dispose(candidate, surplus);
	return 0;
}

void inode_forget(struct inode_table *table, uint64_t nodeid, uint64_t n)
{
	struct inode *inode, *dead = NULL;
	int fd = -1;

	pthread_mutex_lock(&table->lock);
	inode = find_by_id(table, nodeid);
	if (inode) {
		inode->nlookup -= n < inode->nlookup ? n : inode->nlookup;
		dead = reap(table, inode, &fd);
	}
	pthread_mutex_unlock(&table->lock);
	dispose(dead, fd);
}

static void pin(struct inode_table *table, struct inode *inode)
{
	inode->pinned = true;
	lru_remove(table, inode);
}

bool inode_pin_cached(struct inode_table *table, const struct statx *stx)
{
	struct inode *inode;
	bool done;

	pthread_mutex_lock(&table->lock);
	inode = find_by_key(table, makedev(stx->stx_dev_major, stx->stx_dev_minor), stx->stx_ino);
	done = !inode || inode->fd >= 0;
	if (inode && done)
		pin(table, inode);
	pthread_mutex_unlock(&table->lock);
	return done;
}

void inode_pin(struct inode_table *table, int fd, const struct statx *stx)
{
	CLEANUP_FD int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	CLEANUP_FREE struct file_handle *handle = handle_of(fd);
	struct inode *inode;

	pthread_mutex_lock(&table->lock);
	inode = find_same(table, stx, handle);
	if (inode && inode->fd < 0 && copy >= 0)
		set_fd(table, inode, take_fd(&copy));
	if (inode && inode->fd >= 0)
		pin(table, inode);
	pthread_mutex_unlock(&table->lock);
}

int inode_open(struct inode_table *table, const struct inode_ref *ref, int flags)
{
	bool pinned;
	int fd;

	pthread_mutex_lock(&table->lock);
	pinned = ref->inode->pinned;
	pthread_mutex_unlock(&table->lock);
	/* Twice as fast as through /proc, but not every filesystem finds a file without a name by
	 * its handle. */
	if (ref->inode->handle && !pinned) {
		fd = open_handle(ref->inode, flags);
		if (fd != -ESTALE)
			return fd;
	}
	fd = open(fs_proc_path(ref->fd).text, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
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
	dead = reap(table, inode, &fd);
	pthread_mutex_unlock(&table->lock);
	dispose(dead, fd);
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
	struct inode *inode;
	uint64_t nodeid;

	pthread_mutex_lock(&table->lock);
	inode = find_by_key(table, makedev(stx->stx_dev_major, stx->stx_dev_minor), stx->stx_ino);
	nodeid = inode ? inode->nodeid : 0;
	pthread_mutex_unlock(&table->lock);
	return nodeid;
}
