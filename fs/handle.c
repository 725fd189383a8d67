/* SPDX-License-Identifier: MIT */
/*
 * The table: an array of slots, grown by doubling, the free ones in a list. A slot's generation
 * goes up when its handle is released, so that the number which the kernel had is void at once,
 * also when the slot is used again.
 *
 * A handle is in the table until RELEASE and in memory until its last reference is given back;
 * both are decided under the table's lock, while closing (which may wait for a slow backing
 * filesystem) happens outside it. The lock is a leaf.
 */
#include "handle.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs.h"
#include "inode.h"

#define SLOTS_FIRST 64
#define SLOTS_MAX   (UINT32_MAX / 2)
#define SLOT_NONE   UINT32_MAX

struct slot {
	struct handle *handle; /* NULL: free */
	uint32_t generation; /* never 0, so that no id is 0 */
	uint32_t next_free; /* of a free slot: the next one, or SLOT_NONE */
};

struct handle_table {
	struct fs *fs;
	pthread_mutex_t lock; /* guards what follows, and users of every handle */
	struct slot *slots;
	uint32_t slot_count;
	uint32_t first_free;
	uint64_t open_count;
};

static uint64_t make_id(uint32_t index, uint32_t generation)
{
	return (uint64_t)generation << 32 | index;
}

int handle_table_new(struct fs *fs, struct handle_table **ret_table)
{
	struct handle_table *table = calloc(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	table->fs = fs;
	table->first_free = SLOT_NONE;
	pthread_mutex_init(&table->lock, NULL);
	*ret_table = table;
	return 0;
}

static void destroy(struct handle *handle)
{
	int other_fd = atomic_load(&handle->other_fd);

	if (handle->fd >= 0)
		close(handle->fd);
	if (other_fd >= 0)
		close(other_fd);
	if (handle->passthrough != PASSTHROUGH_NONE)
		passthrough_close(handle->fs, handle->inode, handle->passthrough);
	if (handle->inode)
		inode_drop(handle->fs->inodes, handle->inode);
	pthread_mutex_destroy(&handle->lock);
	free(handle->dirents);
	free(handle->text);
	free(handle);
}

void handle_table_free(struct handle_table *table)
{
	if (!table)
		return;
	for (uint32_t i = 0; i < table->slot_count; i++)
		if (table->slots[i].handle)
			destroy(table->slots[i].handle);
	pthread_mutex_destroy(&table->lock);
	free(table->slots);
	free(table);
}

/* ---- slots; the lock is held ---- */

static int grow(struct handle_table *table)
{
	uint32_t old_count = table->slot_count;
	uint32_t count = old_count ? old_count * 2 : SLOTS_FIRST;
	struct slot *slots;

	if (old_count >= SLOTS_MAX)
		return -ENFILE;
	slots = realloc(table->slots, count * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (uint32_t i = old_count; i < count; i++)
		slots[i] = (struct slot){
			.generation = 1,
			.next_free = i + 1 < count ? i + 1 : SLOT_NONE,
		};
	table->slots = slots;
	table->slot_count = count;
	table->first_free = old_count;
	return 0;
}

static int slot_fill(struct handle_table *table, struct handle *handle)
{
	uint32_t index;
	int err = table->first_free == SLOT_NONE ? grow(table) : 0;

	if (err)
		return err;
	index = table->first_free;
	table->first_free = table->slots[index].next_free;
	table->slots[index].handle = handle;
	table->open_count++;
	handle->id = make_id(index, table->slots[index].generation);
	return 0;
}

/* The slot that fh stands for, or NULL: fh may be anything. */
static struct slot *slot_find(struct handle_table *table, uint64_t fh, enum handle_kind kind)
{
	uint32_t index = (uint32_t)fh;
	struct slot *slot;

	if (index >= table->slot_count)
		return NULL;
	slot = &table->slots[index];
	if (!slot->handle || slot->generation != fh >> 32 || slot->handle->kind != kind)
		return NULL;
	return slot;
}

static void slot_empty(struct handle_table *table, struct slot *slot)
{
	slot->handle = NULL;
	if (++slot->generation == 0)
		slot->generation = 1;
	slot->next_free = table->first_free;
	table->first_free = (uint32_t)(slot - table->slots);
	table->open_count--;
}

/* ---- handles ---- */

static struct handle *make(struct fs *fs, enum handle_kind kind, int fd, int flags)
{
	struct handle *handle = calloc(1, sizeof(*handle));

	if (!handle)
		return NULL;
	handle->kind = kind;
	handle->fd = fd;
	handle->flags = flags;
	atomic_init(&handle->other_fd, -1);
	pthread_mutex_init(&handle->lock, NULL);
	handle->fs = fs;
	handle->users = 1;
	return handle;
}

/* Gives a handle that is whole its number, at which anybody may find it, and release it. */
static int publish(struct handle_table *table, struct handle *handle, uint64_t *ret_fh)
{
	int err;

	pthread_mutex_lock(&table->lock);
	err = slot_fill(table, handle);
	if (!err)
		*ret_fh = handle->id;
	if (!err && handle->kind == HANDLE_FILE)
		inode_note_handle(handle->inode, handle->id);
	pthread_mutex_unlock(&table->lock);
	if (err) {
		handle->fd = -1; /* still the caller's, and so is: */
		handle->passthrough = PASSTHROUGH_NONE;
		destroy(handle);
	}
	return err;
}

static struct inode *hold(struct handle_table *table, struct inode *inode)
{
	return inode_hold(
		&(struct inode_ref){ .table = table->fs->inodes, .inode = inode, .fd = -1 });
}

static struct handle *make_held(struct handle_table *table, enum handle_kind kind,
				struct inode *inode, int fd, int flags)
{
	struct handle *handle = make(table->fs, kind, fd, flags);

	if (handle && inode)
		handle->inode = hold(table, inode);
	return handle;
}

int handle_add(struct handle_table *table, enum handle_kind kind, struct inode *inode, int fd,
	       int flags, uint64_t *ret_fh)
{
	struct handle *handle = make_held(table, kind, inode, fd, flags);

	return handle ? publish(table, handle, ret_fh) : -ENOMEM;
}

int handle_add_file(struct handle_table *table, struct inode *inode, int fd, int flags,
		    uint64_t size, enum passthrough_mode passthrough, uint64_t *ret_fh)
{
	struct handle *handle = make_held(table, HANDLE_FILE, inode, fd, flags);

	if (!handle)
		return -ENOMEM;
	atomic_store(&handle->size, size);
	handle->passthrough = passthrough;
	return publish(table, handle, ret_fh);
}

int handle_add_text(struct handle_table *table, char *text, size_t size, uint64_t *ret_fh)
{
	struct handle *handle = make(table->fs, HANDLE_CONTROL, -1, O_RDONLY);

	if (!handle) {
		free(text);
		return -ENOMEM;
	}
	handle->text = text;
	handle->text_size = size;
	return publish(table, handle, ret_fh);
}

bool handle_has_writer(struct handle_table *table, const struct inode *inode)
{
	bool found = false;

	pthread_mutex_lock(&table->lock);
	for (uint32_t i = 0; i < table->slot_count && !found; i++) {
		const struct handle *handle = table->slots[i].handle;

		found = handle && handle->kind == HANDLE_FILE && handle->inode == inode &&
			(handle->flags & O_ACCMODE) != O_RDONLY;
	}
	pthread_mutex_unlock(&table->lock);
	return found;
}

unsigned handle_find_open(struct handle_table *table, uint64_t *ret_nodeids, unsigned count)
{
	unsigned n = 0;

	pthread_mutex_lock(&table->lock);
	for (uint32_t i = 0; i < table->slot_count && n < count; i++) {
		const struct handle *handle = table->slots[i].handle;

		if (handle && handle->kind == HANDLE_FILE)
			ret_nodeids[n++] = inode_nodeid(handle->inode);
	}
	pthread_mutex_unlock(&table->lock);
	return n;
}

struct handle *handle_get(struct handle_table *table, uint64_t fh, enum handle_kind kind)
{
	struct handle *handle = NULL;
	struct slot *slot;

	pthread_mutex_lock(&table->lock);
	slot = slot_find(table, fh, kind);
	if (slot) {
		handle = slot->handle;
		handle->users++;
	}
	pthread_mutex_unlock(&table->lock);
	return handle;
}

struct handle *handle_of_inode(struct handle_table *table, uint64_t nodeid)
{
	const uint64_t fh = inode_last_handle(table->fs->inodes, nodeid);

	return fh ? handle_get(table, fh, HANDLE_FILE) : NULL;
}

void handle_put(struct handle *handle)
{
	struct handle_table *table = handle->fs->handles;
	unsigned left;

	pthread_mutex_lock(&table->lock);
	assert(handle->users > 0);
	left = --handle->users;
	pthread_mutex_unlock(&table->lock);
	if (!left)
		destroy(handle);
}

void handle_release(struct handle_table *table, uint64_t fh, enum handle_kind kind)
{
	struct handle *handle = NULL;
	struct slot *slot;

	pthread_mutex_lock(&table->lock);
	slot = slot_find(table, fh, kind);
	if (slot) {
		handle = slot->handle;
		slot_empty(table, slot);
	}
	pthread_mutex_unlock(&table->lock);
	if (handle)
		handle_put(handle);
}

uint64_t handle_count(struct handle_table *table)
{
	uint64_t count;

	pthread_mutex_lock(&table->lock);
	count = table->open_count;
	pthread_mutex_unlock(&table->lock);
	return count;
}

int handle_reopen(const struct handle *handle, int flags)
{
	struct fs_proc_path path = fs_proc_path(handle->fd);
	int fd;

	flags |= (handle->flags & (O_SYNC | O_NOATIME)) | O_CLOEXEC;
	fd = open(path.text, flags);
	if (fd < 0 && errno == EPERM && (flags & O_NOATIME))
		fd = open(path.text, flags & ~O_NOATIME);
	return fd < 0 ? -errno : fd;
}

static int other_fd(struct handle *handle, int flags)
{
	int fd = atomic_load(&handle->other_fd);
	int expected = -1;

	if (fd >= 0)
		return fd;
	fd = handle_reopen(handle, (handle->flags & O_ACCMODE) | flags);
	if (fd < 0 || atomic_compare_exchange_strong(&handle->other_fd, &expected, fd))
		return fd;
	close(fd); /* another thread was faster */
	return expected;
}

int handle_buffered_fd(struct handle *handle)
{
	int fd = handle->flags & O_DIRECT ? other_fd(handle, 0) : handle->fd;

	return fd < 0 ? handle->fd : fd; /* better O_DIRECT, which may do, than nothing */
}

int handle_direct_fd(struct handle *handle)
{
	if (handle->flags & O_DIRECT)
		return handle->fd;
	return other_fd(handle, O_DIRECT);
}
