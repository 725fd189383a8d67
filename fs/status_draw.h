/* SPDX-License-Identifier: MIT */
#ifndef FS_STATUS_DRAW_H
#define FS_STATUS_DRAW_H

/*
 * A status as text: for people at a terminal, as plain lines, or as JSON. No I/O but on the stream
 * given; all depends on the arguments and on the locale's LC_CTYPE.
 *
 * A file's name can be anything. What could steer a terminal or feign a line of ours is written as
 * an escape, \n or \033, and so is what is no character of the locale. JSON escapes by its own
 * rules, and writes a byte that is not UTF-8 as the lone surrogate U+DC80 to U+DCFF that Python's
 * "surrogateescape" makes of it, so that the name can be had back.
 */

#include <stdio.h>

#include "status.h"

/* The terminal. Both zero: there is none, lines are as long and as many as need be. */
struct status_view {
	unsigned columns;
	unsigned rows;
};

/* Lines of at most view->columns columns, and at most view->rows of them, each with its newline. */
void status_draw(const struct status *status, const struct status_view *view, FILE *out);

/* One object, on one line. */
void status_draw_json(const struct status *status, FILE *out);

/* The columns that a name takes when it is shown, and showing it in at most so many: of one that is
 * too long the end is shown, after "..". */
size_t status_name_columns(const char *name);
void status_draw_name(const char *name, size_t columns, FILE *out);

#endif
