/* SPDX-License-Identifier: MIT */
#include "inode_table.h"

#include <stdlib.h>
#include <sys/sysmacros.h>

static size_t bucket_of_id(const struct inode_table *table, uint64_t nodeid)
{
	return nodeid & (table->bucket_count - 1);
}

struct inode_key inode_key_of(const struct statx *stx)
{
	return (struct inode_key){
		.dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.ino = stx->stx_ino,
		.mount_id = stx->stx_mnt_id,
	};
}

static bool same_key(const struct inode_key *a, const struct inode_key *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->mount_id == b->mount_id;
}

static size_t bucket_of_key(const struct inode_table *table, const struct inode_key *key)
{
	uint64_t hash = key->ino ^ (key->dev << 32 | key->dev >> 32) ^ key->mount_id << 16;

	hash *= 0x9e3779b97f4a7c15ULL;

	return (hash >> 20) & (table->bucket_count - 1);
}

static void table_link(struct inode_table *table, struct inode *inode)
{
	struct inode **id = &table->by_id[bucket_of_id(table, inode->nodeid)];
	struct inode **key = &table->by_key[bucket_of_key(table, &inode->key)];

	inode->next_by_id = *id;
	*id = inode;
	if (!inode->named)
		return;
	inode->next_by_key = *key;
	*key = inode;
}

void table_unname(struct inode_table *table, struct inode *inode)
{
	struct inode **link = &table->by_key[bucket_of_key(table, &inode->key)];

	if (!inode->named)
		return;
	while (*link != inode)
		link = &(*link)->next_by_key;
	*link = inode->next_by_key;
	inode->named = false;
}

static void table_unlink(struct inode_table *table, struct inode *inode)
{
	struct inode **link = &table->by_id[bucket_of_id(table, inode->nodeid)];

	while (*link != inode)
		link = &(*link)->next_by_id;
	*link = inode->next_by_id;
	table_unname(table, inode);
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
			table_link(table, inode);
		}
	}
	free(old);
}

struct inode *table_find(struct inode_table *table, uint64_t nodeid)
{
	struct inode *inode = table->by_id[bucket_of_id(table, nodeid)];

	while (inode && inode->nodeid != nodeid)
		inode = inode->next_by_id;
	return inode;
}

/* Not along the list of descriptors: most inodes never get one. Node ids are given in turn, and so
 * their buckets are. */
unsigned table_find_regular(struct inode_table *table, uint64_t *ret_nodeids, unsigned count)
{
	unsigned n = 0;

	for (size_t i = 1; i <= table->bucket_count; i++) {
		size_t bucket = bucket_of_id(table, table->next_nodeid - i);

		for (struct inode *inode = table->by_id[bucket]; inode; inode = inode->next_by_id) {
			if (n == count)
				return n;
			if (S_ISREG(inode->type) && inode->nlookup)
				ret_nodeids[n++] = inode->nodeid;
		}
	}
	return n;
}

struct inode *table_find_key(struct inode_table *table, const struct inode_key *key)
{
	struct inode *inode = table->by_key[bucket_of_key(table, key)];

	while (inode && !same_key(&inode->key, key))
		inode = inode->next_by_key;
	return inode;
}

void table_uncache(struct inode_table *table, struct inode *inode)
{
	if (!inode->cached)
		return;
	*(inode->older ? &inode->older->newer : &table->oldest) = inode->newer;
	*(inode->newer ? &inode->newer->older : &table->newest) = inode->older;
	inode->older = inode->newer = NULL;
	inode->cached = false;
}

void table_touch(struct inode_table *table, struct inode *inode)
{
	table_uncache(table, inode);
	inode->older = table->newest;
	inode->newer = NULL;
	*(table->newest ? &table->newest->newer : &table->oldest) = inode;
	table->newest = inode;
	inode->cached = true;
}

bool inode_is_idle(const struct inode *inode)
{
	return inode->refs == 0 && inode->holds == 0;
}

void table_set_fd(struct inode_table *table, struct inode *inode, int fd)
{
	inode->fd = fd;
	table->fd_count++;
	table->kept_count += !inode->handle;
	if (!inode->pinned)
		table_touch(table, inode);
}

static int table_take_fd(struct inode_table *table, struct inode *inode)
{
	int fd = inode->fd;

	table_uncache(table, inode);
	if (fd >= 0) {
		inode->fd = -1;
		table->fd_count--;
		table->kept_count -= !inode->handle;
		pthread_cond_broadcast(&table->roomier);
	}
	return fd;
}

int table_idle_fd(struct inode_table *table)
{
	for (struct inode *inode = table->oldest; inode; inode = inode->newer)
		if (inode_is_idle(inode) && inode->handle)
			return table_take_fd(table, inode);
	return -1;
}

int table_surplus_fd(struct inode_table *table)
{
	return table->fd_count > table->fd_limit ? table_idle_fd(table) : -1;
}

struct inode *table_reap(struct inode_table *table, struct inode *inode, int *ret_fd)
{
	*ret_fd = -1;
	if (inode->nlookup || !inode_is_idle(inode) || inode == table->root)
		return NULL;
	*ret_fd = table_take_fd(table, inode);
	table_unlink(table, inode);
	table->count--;
	return inode;
}

void table_insert(struct inode_table *table, struct inode *inode)
{
	if (table->count >= table->bucket_count)
		grow(table);
	inode->nodeid = table->next_nodeid++;
	inode->named = true;
	table_link(table, inode);
	table->count++;
}
