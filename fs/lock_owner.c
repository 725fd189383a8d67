/* SPDX-License-Identifier: MIT */
#include "lock_owner.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"

void lock_owners_init(struct lock_owners *owners)
{
	*owners = (struct lock_owners){ .buckets = { NULL } };
	pthread_mutex_init(&owners->lock, NULL);
}

static struct lock_owner **bucket(struct lock_owners *owners, uint64_t nodeid)
{
	return &owners->buckets[nodeid % LOCK_OWNER_BUCKETS];
}

static void free_owner(struct lock_owner *owner)
{
	close(owner->fd);
	free(owner);
}

void lock_owners_fini(struct lock_owners *owners)
{
	for (size_t i = 0; i < LOCK_OWNER_BUCKETS; i++)
		while (owners->buckets[i]) {
			struct lock_owner *owner = owners->buckets[i];

			owners->buckets[i] = owner->next;
			assert(owner->users == 1);
			free_owner(owner);
		}
	pthread_mutex_destroy(&owners->lock);
}

/* ---- references ---- */

void lock_owner_put(struct lock_owners *owners, struct lock_owner *owner)
{
	unsigned left;

	pthread_mutex_lock(&owners->lock);
	left = --owner->users;
	pthread_mutex_unlock(&owners->lock);
	if (!left)
		free_owner(owner);
}

/* The lock is held. */
static struct lock_owner *find_owner(struct lock_owners *owners, uint64_t nodeid, uint64_t number)
{
	struct lock_owner *owner = *bucket(owners, nodeid);

	while (owner && (owner->nodeid != nodeid || owner->owner != number))
		owner = owner->next;
	return owner;
}

struct lock_owner *lock_owner_get(struct lock_owners *owners, uint64_t nodeid, uint64_t number)
{
	struct lock_owner *owner;

	pthread_mutex_lock(&owners->lock);
	owner = find_owner(owners, nodeid, number);
	if (owner)
		owner->users++;
	pthread_mutex_unlock(&owners->lock);
	return owner;
}

/*
 * A read lock wants a descriptor that can read, a write lock one that can write (EBADF), and an
 * owner can ask for both through two handles, while locks cannot move from one descriptor to
 * another. So it can do both wherever that may be had.
 */
static int open_for_locks(struct fs *fs, const struct handle *handle)
{
	struct inode_ref ref = INODE_REF_NONE;
	int err = inode_ref_again(fs->inodes, handle->inode, &ref);
	int fd;

	if (err)
		return err;
	fd = inode_open(fs->inodes, &ref, O_RDWR);
	if (fd < 0)
		fd = inode_open(fs->inodes, &ref, handle->flags & O_ACCMODE);
	inode_ref_put(&ref);
	return fd;
}

static int new_owner(struct fs *fs, const struct handle *handle, uint64_t number,
		     struct lock_owner **ret_owner)
{
	struct lock_owner *owner = calloc(1, sizeof(*owner));

	if (!owner)
		return -ENOMEM;
	owner->fd = open_for_locks(fs, handle);
	if (owner->fd < 0) {
		int err = owner->fd;

		free(owner);
		return err == -EMFILE || err == -ENFILE ? -ENOLCK : err;
	}
	owner->nodeid = inode_nodeid(handle->inode);
	owner->owner = number;
	owner->fh = handle->id;
	owner->users = 1;
	*ret_owner = owner;
	return 0;
}

/* Lists the new owner, or takes the one that another thread was faster to list. Returns a
 * reference. */
static struct lock_owner *list_owner(struct lock_owners *owners, struct lock_owner *made)
{
	struct lock_owner **first = bucket(owners, made->nodeid);
	struct lock_owner *owner;

	pthread_mutex_lock(&owners->lock);
	owner = find_owner(owners, made->nodeid, made->owner);
	if (!owner) {
		owner = made;
		owner->next = *first;
		*first = owner;
	}
	owner->users++;
	pthread_mutex_unlock(&owners->lock);
	if (owner != made)
		free_owner(made);
	return owner;
}

int lock_owner_make(struct fs *fs, const struct handle *handle, uint64_t number,
		    struct lock_owner **ret_owner)
{
	struct lock_owner *made;
	int err;

	*ret_owner = lock_owner_get(&fs->lock_owners, inode_nodeid(handle->inode), number);
	if (*ret_owner)
		return 0;
	err = new_owner(fs, handle, number, &made);
	if (!err)
		*ret_owner = list_owner(&fs->lock_owners, made);
	return err;
}

/* ---- the end ---- */

/* Takes the owners of a file that match off the table: by the handle fh that made them, or else by
 * number. */
static void drop_owners(struct lock_owners *owners, uint64_t nodeid, uint64_t fh, uint64_t number)
{
	struct lock_owner **link = bucket(owners, nodeid);
	struct lock_owner *dropped = NULL;

	pthread_mutex_lock(&owners->lock);
	while (*link) {
		struct lock_owner *owner = *link;

		if (owner->nodeid != nodeid || (fh ? owner->fh != fh : owner->owner != number)) {
			link = &owner->next;
			continue;
		}
		*link = owner->next;
		owner->next = dropped;
		dropped = owner;
	}
	pthread_mutex_unlock(&owners->lock);
	while (dropped) {
		struct lock_owner *owner = dropped;

		dropped = owner->next;
		lock_owner_put(owners, owner);
	}
}

void lock_owners_flush(struct lock_owners *owners, uint64_t nodeid, uint64_t number)
{
	drop_owners(owners, nodeid, 0, number);
}

void lock_owners_release(struct lock_owners *owners, uint64_t nodeid, uint64_t fh)
{
	drop_owners(owners, nodeid, fh, 0);
}

/* ---- who has a lock ---- */

/*
 * Whether a line of /proc/self/fdinfo/FD (proc(5)) is a lock of this description that overlaps:
 *
 *     lock:	1: OFDLCK  ADVISORY  WRITE -1 fe:00:1234 100 199
 */
static bool line_overlaps(const char *line, uint64_t first, uint64_t last)
{
	uint64_t start;
	uint64_t end = INT64_MAX;
	char end_text[24];

	if (sscanf(line, "lock: %*d: OFDLCK %*s %*s %*d %*s %" SCNu64 " %23s", &start, end_text) !=
	    2)
		return false;
	if (strcmp(end_text, "EOF"))
		end = strtoull(end_text, NULL, 10);
	return start <= last && first <= end;
}

static bool owner_has(const struct lock_owner *owner, uint64_t first, uint64_t last)
{
	char path[40];
	char line[128];
	bool found = false;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", owner->fd);
	info = fopen(path, "re");
	if (!info)
		return false;
	while (!found && fgets(line, sizeof(line), info))
		found = line_overlaps(line, first, last);
	fclose(info);
	return found;
}

pid_t lock_owners_find_pid(struct lock_owners *owners, uint64_t nodeid, uint64_t asking,
			   uint64_t first, uint64_t last)
{
	pid_t pid = 0;

	pthread_mutex_lock(&owners->lock);
	for (struct lock_owner *owner = *bucket(owners, nodeid); owner && !pid; owner = owner->next)
		if (owner->nodeid == nodeid && owner->owner != asking &&
		    owner_has(owner, first, last))
			pid = atomic_load(&owner->pid);
	pthread_mutex_unlock(&owners->lock);
	return pid;
}
