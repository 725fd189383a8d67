/* SPDX-License-Identifier: MIT */
#ifndef TESTS_MOUNT_DIFFER_H
#define TESTS_MOUNT_DIFFER_H

/*
 * The differential tester: random system calls, each made twice, on a plain directory (native) and
 * at a mount, by several processes for each side; whatever a program could see must be the same.
 *
 *     generator --step--> actor of the native side --text--+
 *         ^       |                                        +-- equal? -- no --> shrink --> script
 *         |       +-----> actor of the mount side  --text--+
 *         +--- the native tree as it is now
 *
 * Each side has ACTORS processes that make the calls, as different users when we are root, and one
 * that looks: it describes what a step has touched, and whole trees. All are chrooted into the
 * side's directory when we are root. One step is made at a time, so that there is one right
 * answer. An answer is a text; two texts are compared as they are. What FUSE cannot do is left out
 * of both, by rules, see differ_rules.c.
 *
 * Everything here belongs to the one process that is called differ, but for differ_actor.c,
 * differ_calls.c and differ_look.c, which run in the processes of the sides.
 */

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#define ACTORS	     4
#define OBSERVER     ACTORS /* the process that looks */
#define PROCESSES    (ACTORS + 1)
#define SLOTS	     8 /* descriptors of an actor */
#define MAPS	     2 /* mappings of an actor */
#define ARGUMENTS    6
#define PATH_SIZE    320
#define TEXT_SIZE    (256 * 1024)
#define LOOKED_AT    4 /* paths of a step, and their directories */
#define FIRST_USER   50001
#define COMMON_GROUP 50009

/* ---- texts ---- */

struct text {
	size_t size;
	char data[TEXT_SIZE];
};

__attribute__((format(printf, 2, 3))) void text_add(struct text *text, const char *format, ...);
void text_clear(struct text *text);
uint64_t hash_bytes(uint64_t hash, const void *data, size_t size);
#define HASH_START 14695981039346656037ULL /* FNV-1a */

/* ---- steps ---- */

/* A system call with its arguments. path holds those of kind 'p' and 'P', n all others in their
 * order. */
struct step {
	unsigned call; /* index in calls[] */
	unsigned actor;
	bool look; /* describe afterwards what it has touched */
	bool timed; /* and which of its times have moved */
	long n[ARGUMENTS];
	char path[2][PATH_SIZE];
};

struct rules;

/* What an actor has. */
struct actor {
	const struct rules *rules;
	int slot[SLOTS]; /* descriptors, -1: none */
	struct {
		unsigned char *address; /* NULL: none */
		size_t size;
	} map[MAPS];
	unsigned char *buffer; /* BUFFER_SIZE bytes, aligned to a page */
	struct statx before[LOOKED_AT];
	bool was_there[LOOKED_AT];
};
#define BUFFER_SIZE (512 * 1024)

struct call {
	const char *name;
	const char *arguments; /* a letter each, see differ_generator.c */
	unsigned weight; /* how often, compared with the others */
	/* Makes the call and returns what it returned, errno set; 0 for a descriptor. What it has
	 * read goes into text. */
	long (*make)(struct actor *actor, const struct step *step, struct text *text);
};

#define XATTR_CAPABILITY 8 /* number of security.capability among the names of xattrs */

extern const struct call calls[];
extern const unsigned call_count;

/* ---- the rules ---- */

struct rules {
	bool writeback;
	bool cache_never;
	bool passthrough;
	bool atime; /* compare it, and make no calls after which it cannot be the same */
	bool root; /* we are, and so callers differ */
	bool ext4, xfs, btrfs;
};

/* Whether a step is not to be generated, because what it leaves behind cannot be the same. */
bool rules_forbid(const struct rules *rules, const struct step *step);
bool rules_allow_timed(const struct rules *rules);
bool rules_show_mtime(const struct rules *rules, mode_t mode);
bool rules_show_atime(const struct rules *rules, mode_t mode);
/* Of the mount and its own backing file. */
bool rules_show_exact_times(const struct rules *rules, mode_t mode);

/* ---- looking ---- */

/* One line about what an lstat(2) or fstat(2) has told. */
void look_at_stat(const struct rules *rules, const struct statx *stx, struct text *text);
/*
 * Writes back what mappings have left in the page cache, so that no later call does: natively a
 * page that is dirtied moves mtime, with FUSE one that is written back does (Linux 6.18,
 * fs/fuse/file.c, fuse_page_mkwrite(): file_update_time() finds S_NOCMTIME).
 */
void look_settle(int fd);
/* Before a timed step, and after any step that is to be looked at. */
void look_before(struct actor *actor, const struct step *step);
void look_after(struct actor *actor, const struct step *step, struct text *text);
void look_at_moves(const struct rules *rules, const struct statx *before, const struct statx *after,
		   struct text *text);
/* The entries of a directory, sorted, without "." and "..", as of scandirat(3); the directory's
 * atime stays. Returns their number, the list to be freed, or -1. */
int scan_quietly(int dir_fd, const char *path, struct dirent ***ret_list);
/* Everything below the directory dir_fd: attributes, content, xattrs. */
void look_at_tree(const struct rules *rules, int dir_fd, struct text *text);

/*
 * What stat(2) says at the mount and of the backing files, to the nanosecond and the block. Leaves
 * the two texts of a difference and returns false, or returns true.
 */
bool look_is_exact(const struct rules *rules, const char *mounted, const char *backing,
		   struct text *ret_mounted, struct text *ret_backing);

/* ---- processes ---- */

enum order { ORDER_STEP, ORDER_BEFORE, ORDER_LOOK, ORDER_TREE, ORDER_SYNC };

struct link {
	int pid;
	int fd;
};

/* Starts process number of a side whose directory that is. Returns 0 or -errno. */
int actor_start(struct link *link, const char *directory, unsigned number,
		const struct rules *rules);
/* Has it do something; false when it has died. */
bool actor_order(const struct link *link, enum order order, const struct step *step,
		 struct text *text);
void actor_end(struct link *link);

/* ---- the generator ---- */

struct generator {
	const struct rules *rules;
	uint64_t state;
	bool open[ACTORS][SLOTS];
	unsigned path_count;
	char path[256][PATH_SIZE]; /* what exists on the native side */
	unsigned directory_count;
	char directory[64][PATH_SIZE];
	unsigned weights;
};

void generator_init(struct generator *generator, uint64_t seed, const struct rules *rules);
void generator_make(struct generator *generator, struct step *ret_step);
/* What came of the step: its result on the native side, and the tree that is there now. */
void generator_learn(struct generator *generator, const struct step *step, bool succeeded,
		     int native_fd);
void step_print(const struct step *step, FILE *out);

/* ---- playing and shrinking ---- */

struct side {
	const char *top;
	char directory[4096]; /* of this run, below top */
	struct link link[PROCESSES];
};

struct differ {
	struct rules rules;
	struct side side[2]; /* native, mount */
	const char *backing; /* of the mount, or NULL: then it is not compared with the mount */
	unsigned tree_every; /* steps between comparisons of whole trees */
	unsigned runs; /* directories made so far */
	struct text *text[2];
	unsigned long steps_made;
	int64_t shrink_until; /* seconds, of time(2) */
	bool keep; /* the directories of the last run */
};

#define SAME (-1L)

/*
 * Makes the steps in fresh directories, with a generator more of them, up to count. Returns the
 * index of the step after which the sides differ, with the two texts that do, or SAME.
 */
long differ_play(struct differ *differ, struct step *steps, unsigned count,
		 struct generator *generator);
/* Takes steps out as long as the sides still differ, and returns how many are left. */
unsigned differ_shrink(struct differ *differ, struct step *steps, unsigned count);

_Noreturn void differ_give_up(const char *what);

#endif
