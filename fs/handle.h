/* SPDX-License-Identifier: MIT */
#ifndef FS_HANDLE_H
#define FS_HANDLE_H

/*
 * Open files and directories: what the kernel's fh numbers stand for. A number holds an index and a
 * generation, so one that was never given, or was released, is refused (-EBADF) and not followed.
 *
 * Thread: any. A handle got by handle_get() stays whole until handle_put(), also when a RELEASE
 * comes meanwhile: its descriptor is closed with the last reference.
 */

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "passthrough.h"

struct fs;
struct handle_table;
struct inode;

enum handle_kind {
	HANDLE_FILE,
	HANDLE_DIR,
	HANDLE_CONTROL, /* a snapshot of a file in the control directory */
};

struct handle {
	enum handle_kind kind;
	struct inode *inode; /* held, see inode_hold(); NULL for HANDLE_CONTROL */
	int fd; /* of the backing file, -1 for HANDLE_CONTROL */
	int flags; /* of open(2), as the backing file was opened */

	/* HANDLE_FILE: the same file without O_DIRECT where fd has it, and with it where not; -1
	 * until needed. */
	_Atomic int other_fd;

	/* HANDLE_FILE opened O_DIRECT: the thread (pid of a request) whose last write failed; 0:
	 * none. See data.c, note_outcome(). */
	_Atomic uint32_t refused;

	/* HANDLE_FILE: where the last READ ended, to tell readahead. See data.c, is_readahead(). */
	_Atomic uint64_t read_end;

	/* HANDLE_FILE: how far it reaches, bytes, as far as is known. See data.c, is_whole(). */
	_Atomic uint64_t size;

	/* HANDLE_FILE: who reads and writes it. */
	enum passthrough_mode passthrough;

	/* HANDLE_DIR: lock serialises the readers of one descriptor; entries read but not yet
	 * delivered. See dir.c. */
	pthread_mutex_t lock;
	char *dirents;
	size_t dirents_size; /* bytes in dirents */
	size_t dirents_next; /* bytes of them delivered */
	int64_t position; /* d_off after the last delivered entry */

	/* HANDLE_CONTROL */
	char *text;
	size_t text_size;

	/* The table's. */
	struct fs *fs;
	unsigned users;
	uint64_t id;
};

int handle_table_new(struct fs *fs, struct handle_table **ret_table);
void handle_table_free(
	struct handle_table *table); /* closes what is still open: the kernel is gone */

/*
 * Adds a handle with one reference, the kernel's, given back by handle_release(). Takes fd over,
 * holds inode. Returns 0 and the fh for the kernel, or -ENOMEM (fd is then still the caller's).
 *
 * Not the handle itself: numbers can be guessed, and a RELEASE of this one may be served by another
 * thread before this returns.
 */
int handle_add(struct handle_table *table, enum handle_kind kind, struct inode *inode, int fd,
	       int flags, uint64_t *ret_fh);

/* The same for a regular file, of that many bytes, of which passthrough_open() has decided; takes
 * that over too. */
int handle_add_file(struct handle_table *table, struct inode *inode, int fd, int flags,
		    uint64_t size, enum passthrough_mode passthrough, uint64_t *ret_fh);

/* The same for a file in the control directory; takes text, from malloc(3), over. */
int handle_add_text(struct handle_table *table, char *text, size_t size, uint64_t *ret_fh);

/* Whether anybody has the file open for writing. Looks through all open files. */
bool handle_has_writer(struct handle_table *table, const struct inode *inode);

/* Node ids of open regular files, at most count. Returns how many. */
unsigned handle_find_open(struct handle_table *table, uint64_t *ret_nodeids, unsigned count);

/* A reference to the handle of that number and kind, or NULL. */
struct handle *handle_get(struct handle_table *table, uint64_t fh, enum handle_kind kind);

/* A reference to a handle of the regular file with this node id, where it is open; not always
 * found, then NULL. */
struct handle *handle_of_inode(struct handle_table *table, uint64_t nodeid);

void handle_put(struct handle *handle);
static inline void handle_put_cleanup(struct handle **handle)
{
	if (*handle)
		handle_put(*handle);
}
#define CLEANUP_HANDLE __attribute__((cleanup(handle_put_cleanup)))

/* The kernel's RELEASE: the number is void from here on. Unknown numbers are ignored. */
void handle_release(struct handle_table *table, uint64_t fh, enum handle_kind kind);

/*
 * Opens the file of a handle again, with flags (access mode, O_DIRECT) and with those of the handle
 * that go for whatever is done for it: O_SYNC and O_NOATIME. Without O_NOATIME where the file has
 * since been given to another owner, for whom it is not ours to ask (open(2), EPERM). Returns a
 * descriptor, the caller's, or -errno.
 */
int handle_reopen(const struct handle *handle, int flags);

/*
 * A descriptor of the same file without O_DIRECT, for data whose offset and length nobody aligned;
 * handle->fd where that is what it is, or where it cannot be had. It lives as long as the handle.
 */
int handle_buffered_fd(struct handle *handle);

/* Likewise a descriptor with O_DIRECT, or -errno. */
int handle_direct_fd(struct handle *handle);

uint64_t handle_count(struct handle_table *table);

#endif
