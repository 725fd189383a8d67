/* SPDX-License-Identifier: MIT */
#ifndef TESTS_MOUNT_CHECK_H
#define TESTS_MOUNT_CHECK_H

/*
 * Checks of what system calls do on a filesystem, each made twice: in a native directory and at the
 * mount.
 *
 *     check_files NATIVE_DIRECTORY MOUNTED_DIRECTORY [CHECK... | -CHECK...]
 *
 * -CHECK leaves one out.
 *
 * A check is a function that works in the current directory, which is fresh and empty. What must
 * hold everywhere it CHECKs; what depends on the filesystem it prints, and the two outputs must be
 * equal. So the native run proves the check, and a mode that the backing filesystem lacks is
 * expected to be lacking at the mount in the same way.
 *
 * Every check runs in a child process: it may change limits, credentials and signals, and leave
 * descriptors open.
 */

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
	const char *name; /* a sentence, with underscores */
	void (*run)(void);
};

int check_main(int argc, char **argv, const struct check *checks, size_t count);

/* Ends the check, here it cannot be made. */
_Noreturn void check_skip(const char *why);
_Noreturn void check_failed(const char *file, int line, const char *what);

/* Each assertion is counted, and the number is shown when the check has passed. */
void check_count_one(void);

#define CHECK(condition)                                              \
	do {                                                          \
		check_count_one();                                    \
		if (!(condition))                                     \
			check_failed(__FILE__, __LINE__, #condition); \
	} while (0)

/* The call returns -1 with that errno. */
#define CHECK_ERRNO(call, error)                                                       \
	do {                                                                           \
		check_count_one();                                                     \
		errno = 0;                                                             \
		if ((call) != -1 || errno != (error))                                  \
			check_failed(__FILE__, __LINE__, #call " fails with " #error); \
	} while (0)

/* Prints what the call returned, and the errno with -1. */
#define SHOW(call) check_show(#call, (call))
void check_show(const char *call, long long result);

/* A file of size bytes that differ from block to block and from seed to seed. Returns a descriptor
 * open for reading and writing. */
int check_make_file(const char *name, size_t size, unsigned seed);
void check_pattern(void *data, size_t size, unsigned seed);

/* Prints size and checksum of a file's content. */
void check_show_file(const char *name);

/* A child process that runs function(argument) and ends with what it returns. */
int check_fork(int (*function)(void *argument), void *argument);
int check_wait(int pid); /* its exit status, -1 when a signal ended it */

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
