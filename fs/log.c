/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024 /* a longer message is cut */

/*
 * The one piece of state outside struct fs: a message may come from where no struct fs is at hand,
 * and a process has one stderr and one syslog connection anyway. Set while there is one thread,
 * read by all.
 */
static struct {
	atomic_bool to_syslog;
	atomic_bool debug;
} destination;

void log_open(bool to_syslog, bool debug)
{
	if (to_syslog)
		openlog("zcfs", LOG_PID, LOG_DAEMON);
	atomic_store(&destination.to_syslog, to_syslog);
	atomic_store(&destination.debug, debug);
}

bool log_debugging(void)
{
	return atomic_load_explicit(&destination.debug, memory_order_relaxed);
}

/* One write(2) a line, so that the lines of several threads do not mix. */
static void print_line(const char *format, va_list arguments)
{
	char line[LINE_MAX_BYTES] = "zcfs: ";
	const size_t prefix = strlen(line);
	const size_t room = sizeof(line) - prefix - 1; /* the newline needs a place */
	int wanted = vsnprintf(line + prefix, room, format, arguments);
	size_t size = prefix;

	if (wanted > 0)
		size += (size_t)wanted < room ? (size_t)wanted : room - 1;
	line[size++] = '\n';
	if (write(STDERR_FILENO, line, size) < 0)
		return; /* nobody left to tell */
}

static void __attribute__((format(printf, 2, 0)))
message(int priority, const char *format, va_list arguments)
{
	if (atomic_load_explicit(&destination.to_syslog, memory_order_relaxed))
		vsyslog(priority, format, arguments);
	else
		print_line(format, arguments);
}

void log_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	message(LOG_ERR, format, arguments);
	va_end(arguments);
}

void log_warning(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	message(LOG_WARNING, format, arguments);
	va_end(arguments);
}

void log_info(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	message(LOG_INFO, format, arguments);
	va_end(arguments);
}

void log_debug(const char *format, ...)
{
	va_list arguments;

	if (!log_debugging())
		return;
	va_start(arguments, format);
	message(LOG_DEBUG, format, arguments);
	va_end(arguments);
}
