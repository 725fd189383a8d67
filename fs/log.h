/* SPDX-License-Identifier: MIT */
#ifndef FS_LOG_H
#define FS_LOG_H

/*
 * Messages for people. In the foreground, and until the daemon detaches, they go to stderr;
 * afterwards to syslog(3), facility LOG_DAEMON. A message is one line that names what is wrong and
 * what to do; the program's name is put in front of it.
 *
 * Thread: any, after log_open().
 */

#include <stdbool.h>

/* Where messages go; debug also lets log_debug() through. Called by main before threads start, and
 * after detaching. */
void log_open(bool to_syslog, bool debug);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether log_debug() prints, to spare the work of composing a line nobody reads. */
bool log_debugging(void);

#endif
