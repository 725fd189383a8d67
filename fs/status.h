/* SPDX-License-Identifier: MIT */
#ifndef FS_STATUS_H
#define FS_STATUS_H

/*
 * What `zcfs status` knows of a mount: the texts of the control directory, taken apart. Written by
 * control.c and copy.c of the zcfs that serves the mount, which may be older or newer than this
 * one: what is not understood is passed over, what is missing is empty or zero.
 *
 * No I/O, no state, one thread. Names are bytes as the filesystem has them, whatever they are:
 * status_draw.h makes them fit to be shown.
 */

#include <stddef.h>
#include <stdint.h>

#define STATUS_NAME_SIZE 32 /* of labels and of paths, with the NUL */

/* One value of a metric that has a label: path="fixed", op="lookup". */
struct status_count {
	char name[STATUS_NAME_SIZE];
	uint64_t value;
};

struct status_counts {
	struct status_count *items; /* in the order of the file */
	size_t count;
};

/* A line of the copies. */
struct status_copy {
	uint64_t pid;
	char path[STATUS_NAME_SIZE]; /* fixed, direct, ...; "" when it is not known */
	uint64_t done; /* bytes */
	uint64_t total; /* bytes */
	double seconds; /* since it began */
	char *src; /* NULL when it is not known */
	char *dst;
};

struct status_downgrade {
	char *what; /* is missing */
	char *why;
};

/* All zero is the status of nothing; status_fini() frees what the functions below add. */
struct status {
	const char *mount_point; /* the caller's */

	char *backing; /* NULL when it is not known */
	char *transport;
	uint64_t running; /* seconds */
	struct status_downgrade *downgrades;
	size_t downgrade_count;

	struct status_counts read_bytes; /* by path */
	struct status_counts write_bytes;
	struct status_counts copy_bytes;
	struct status_counts requests; /* by operation */
	uint64_t copy_requests;

	struct status_copy *copies;
	size_t copy_count;
	uint64_t waiting; /* copies that have not begun */
};

void status_fini(struct status *status);

/*
 * Each adds what a text says. 0, -ENOMEM, or -EPROTO: not one line of it is of the kind that zcfs
 * writes (status_parse_copies() cannot tell, nothing being in flight is an empty text).
 */
int status_parse_stats(struct status *status, const char *text);
int status_parse_page(struct status *status, const char *text);
int status_parse_copies(struct status *status, const char *text);

uint64_t status_sum(const struct status_counts *counts);

/* Bytes a second since the copy began, and the seconds that it will need at this rate: negative
 * when nobody can tell. */
double status_copy_rate(const struct status_copy *copy);
double status_copy_seconds_left(const struct status_copy *copy);

#endif
