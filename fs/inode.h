/* SPDX-License-Identifier: MIT */
#ifndef FS_INODE_H
#define FS_INODE_H

/*
 * The inodes that the kernel knows, or that a request is using.
 *
 * An inode is found by its node id (what the kernel sends) and by its identity in the backing tree:
 * device and inode number, the mount by which it was reached, and the file handle of
 * name_to_handle_at(2), whose generation tells a new file from an older one with the same number.
 *
 * The mount: bind mounts below the backing directory may show one directory twice, with different
 * rights (read-only), and the kernel allows a directory one place only. It is 0 before Linux 5.8.
 *
 * It is not a path: names change under us. It is reached through an O_PATH descriptor, and these
 * are bounded whatever the size of the tree:
 *
 * - Where open_by_handle_at(2) works (CAP_DAC_READ_SEARCH, and a filesystem with handles),
 *   descriptors are a cache: the least recently used is closed and made again from the handle when
 *   needed. An inode that lost its last name while somebody may still use it keeps its descriptor
 *   (inode_pin), because not every filesystem finds an unlinked file by handle.
 * - Elsewhere each inode keeps its descriptor until the kernel forgets it, and when there are too
 *   many, the kernel is asked to forget idle ones (FUSE_NOTIFY_PRUNE, or FUSE_NOTIFY_INVAL_ENTRY
 *   before Linux 6.18).
 *
 * Lookup count: inode_lookup() adds one, as the kernel does for every entry that it is told;
 * inode_forget() takes them back. An inode with neither lookups nor users is freed.
 *
 * Thread: any. One lock, never held while a system call on the backing filesystem may block, nor
 * across a callback.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct fs;
struct inode;
struct inode_table;

/* An inode in use: neither it nor its descriptor goes away before inode_ref_put(). */
struct inode_ref {
	struct inode_table *table;
	struct inode *inode;
	int fd; /* O_PATH; of inode_ref_find() also -1 */
};
#define INODE_REF_NONE ((struct inode_ref){ .table = NULL, .inode = NULL, .fd = -1 })

struct inode_counts {
	uint64_t inodes;
	uint64_t fds; /* O_PATH descriptors held */
	bool by_handle;
};

/*
 * Makes the table with the root (FUSE_ROOT_ID), taking over root_fd (O_PATH, a directory). fd_limit
 * bounds the descriptors it may hold. Returns 0 or -errno; root_fd is then still the caller's.
 */
int inode_table_new(struct fs *fs, int root_fd, unsigned fd_limit, struct inode_table **ret_table);

/* Starts the thread that asks the kernel to forget idle inodes, where that is needed; after the
 * last fork. 0 or -errno. */
int inode_table_start(struct inode_table *table);

/*
 * Ends it, while requests are still served: the kernel may have some written back before it
 * forgets. A second call, and one without a start, does nothing.
 */
void inode_table_stop(struct inode_table *table);

/* Frees everything; no other thread uses the table any more. */
void inode_table_free(struct inode_table *table);

/*
 * Takes a reference to the inode with this node id. Returns 0; -ESTALE when there is none (a node
 * id that the kernel was not given, or a file that is gone from the backing filesystem); -EMFILE
 * and the like.
 */
int inode_ref_get(struct inode_table *table, uint64_t nodeid, struct inode_ref *ret_ref);

/*
 * The same for who only opens or holds it: without a descriptor of its own (ret_ref->fd is then -1)
 * where the file can be opened by its handle for sure.
 */
int inode_ref_find(struct inode_table *table, uint64_t nodeid, struct inode_ref *ret_ref);

void inode_ref_put(struct inode_ref *ref); /* leaves INODE_REF_NONE; allowed on that */
#define CLEANUP_INODE __attribute__((cleanup(inode_ref_put)))

/* The same for an inode that is known to be alive, e.g. that of an open handle. */
int inode_ref_again(struct inode_table *table, struct inode *inode, struct inode_ref *ret_ref);

/*
 * Finds or makes the inode behind fd (O_PATH, or an ordinary descriptor of the file), whose
 * attributes are stx (as attr_get() asks for them), and counts one lookup for the kernel. Takes fd
 * over when own_fd is true and it is O_PATH, also on error. Returns 0 and its node id and a number
 * that with the node id is unique for the life of the mount, or -errno (-ENOMEM, -EMFILE).
 */
int inode_lookup(struct inode_table *table, int fd, bool own_fd, const struct statx *stx,
		 uint64_t *ret_nodeid, uint64_t *ret_generation);

/*
 * The same for what name is in dir_fd, without opening it, and with its attributes. Returns 0;
 * -ENOENT; -ENOMEM; -EAGAIN when it is not possible, or not for sure, and takes a descriptor.
 */
int inode_lookup_name(struct inode_table *table, int dir_fd, const char *name,
		      struct statx *ret_stx, uint64_t *ret_nodeid, uint64_t *ret_generation);

/* The kernel drops n lookups. Unknown ids are ignored. FUSE_ROOT_ID is never freed. */
void inode_forget(struct inode_table *table, uint64_t nodeid, uint64_t n);

/*
 * Keeps the descriptor of an inode that is about to lose its last name. inode_pin_cached() does it
 * for one that has its descriptor, and returns true also when there is no such inode; false: open
 * the file (O_PATH, of which a copy is kept) and call inode_pin().
 */
bool inode_pin_cached(struct inode_table *table, const struct statx *stx);
void inode_pin(struct inode_table *table, int fd, const struct statx *stx);

/* Opens the file itself anew, with open(2) flags (O_CLOEXEC and O_NOFOLLOW are added as needed).
 * Returns a descriptor or -errno. */
int inode_open(struct inode_table *table, const struct inode_ref *ref, int flags);

/* A reference without a descriptor, for handles. */
struct inode *inode_hold(const struct inode_ref *ref);
void inode_drop(struct inode_table *table, struct inode *inode);

/* The number of the handle by which a held inode was opened last; and that of the inode with this
 * node id, 0 when there was none: a hint, it may be released. */
void inode_note_handle(struct inode *inode, uint64_t fh);
uint64_t inode_last_handle(struct inode_table *table, uint64_t nodeid);

uint64_t inode_nodeid(const struct inode *inode);
mode_t inode_type(const struct inode *inode); /* S_IFMT bits */

/*
 * Whether the kernel may keep the pages it has of this file: true when mtime, ctime and size are
 * what they were when this was last asked. Remembers the new ones.
 */
bool inode_data_unchanged(struct inode_table *table, struct inode *inode, const struct statx *stx);

/* Pages that the kernel may have of it are not to be kept, whatever the file's times. */
void inode_data_forget(struct inode_table *table, struct inode *inode);

/* How it is open, see passthrough.h; the inode is held. */
struct passthrough_inode;
struct passthrough_inode *inode_passthrough(struct inode *inode);

/* The node id of the inode with this identity, or 0: a hint, it may be forgotten at once. */
uint64_t inode_find(struct inode_table *table, const struct statx *stx);

/* Node ids of regular files that the kernel knows, at most count, about the newest first: hints as
 * well. Returns how many. */
unsigned inode_find_regular(struct inode_table *table, uint64_t *ret_nodeids, unsigned count);

/*
 * Whether inodes that keep a descriptor each are getting many: then none is to be added that nobody
 * asked for, as READDIRPLUS would, all of whose entries stay until the kernel has its reply.
 */
bool inode_table_is_crowded(struct inode_table *table);

/*
 * For a call that failed with err: true when it is worth another try, because descriptors had run
 * out (-EMFILE) and some of ours were given back since. May wait, 20 ms at most. tries counts from
 * 0.
 */
bool inode_table_relieve(struct inode_table *table, int err, unsigned tries);

struct inode_counts inode_counts(struct inode_table *table);

#endif
