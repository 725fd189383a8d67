/* SPDX-License-Identifier: MIT */
#ifndef TESTS_MOUNT_POSIX_H
#define TESTS_MOUNT_POSIX_H

/*
 * What the checks of POSIX's list of errors, times and set-id bits have in common: files of each
 * type, several people, and expectations that name the errno. See check.h.
 *
 * The name of a check begins with the call that it is about.
 */

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

/* The call fails with that errno; 0: it succeeds. */
#define EXPECT(error, call) posix_expect(__FILE__, __LINE__, #call, (errno = 0, (call)), (error))
void posix_expect(const char *file, int line, const char *call, long long result, int error);

/* The same, and says what it was tried with. */
#define EXPECT_WITH(what, error, call) \
	posix_expect_with(__FILE__, __LINE__, #call, (what), (errno = 0, (call)), (error))
void posix_expect_with(const char *file, int line, const char *call, const char *what,
		       long long result, int error);

/* ---- people: the effective ids of this process; capabilities go and come with user 0 ---- */

struct person {
	uid_t uid;
	gid_t gid;
	gid_t group; /* the supplementary one, 0: none */
};

extern const struct person root, anna, bert; /* anna is also in bert's group */

void posix_become(const struct person *person);
void posix_needs_root(void); /* skips the check of an ordinary user */

/* ---- files ---- */

extern const mode_t posix_types[]; /* S_IFREG, and so on; devices only for root */
size_t posix_type_count(void);
const char *posix_type_name(mode_t type);

void posix_make(const char *name, mode_t type, mode_t mode); /* the umask does not count */
void posix_make_for(const struct person *owner, const char *name, mode_t type, mode_t mode);
void posix_discard(const char *name);
struct stat posix_stat(const char *name); /* of a symbolic link itself */
mode_t posix_mode(const char *name); /* the 12 bits */
bool posix_exists(const char *name);
bool posix_set_flag(const char *name, int flag, bool on); /* FS_IMMUTABLE_FL...; false: cannot */

/* ---- times ---- */

enum { CTIME_MOVES = 1, MTIME_MOVES = 2, ATIME_MOVES = 4 };

/* Which of the times have moved on since before. */
int posix_moved(const char *name, const struct stat *before);

/* Waits until the clock that stamps files is beyond all times of a file. Returns them. */
struct stat posix_wait_beyond(const char *name);

/* The times that a call moved, and no others. */
#define EXPECT_TIMES(expected, name, before) \
	posix_expect_times(__FILE__, __LINE__, name, before, expected)
void posix_expect_times(const char *file, int line, const char *name, const struct stat *before,
			int expected);

/* ---- the checks ---- */

#define POSIX_ENTRY(function)       \
	{                           \
#function, function \
	}

struct posix_group {
	const struct check *checks;
	size_t count;
};

extern const struct posix_group posix_paths, posix_names, posix_attr;

#endif
