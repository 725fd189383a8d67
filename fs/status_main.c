/* SPDX-License-Identifier: MIT */
/*
 * One round: open the mount point and its control directory, read the three files, close all. Not
 * even a directory stays open between two rounds of -w, because it would keep the mount from being
 * unmounted. A round that finds another filesystem than the one before has found the end.
 */
#include "status_main.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "status.h"
#include "status_draw.h"

#define FUSE_SUPER_MAGIC 0x65735546 /* Linux fs/fuse/inode.c */
#define TEXT_MAX	 (16 << 20) /* bytes of a control file; what is longer is none of ours */

struct command {
	const char *mount_point;
	const char *control;
	bool watch;
	bool json;
	bool terminal;

	dev_t device; /* of the mount; 0 before the first round */
	size_t lines; /* on the terminal, of the round before */
	struct winsize size; /* of the terminal, then */
};

/* ---- the mount ---- */

/* Whose mount of zcfs the device is: from what follows " - " in its line, TYPE SOURCE OPTIONS. */
static bool find_zcfs(dev_t device, unsigned *ret_user)
{
	CLEANUP_FREE char *line = NULL;
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	size_t size = 0;
	bool found = false;

	if (!mounts)
		return false;
	while (!found && getline(&line, &size, mounts) > 0) {
		const char *type = strstr(line, " - fuse.zcfs ");
		const char *user = type ? strstr(type, "user_id=") : NULL;
		unsigned high, low;

		found = user && sscanf(line, "%*d %*d %u:%u", &high, &low) == 2 &&
			makedev(high, low) == device && sscanf(user, "user_id=%u", ret_user) == 1;
	}
	fclose(mounts);
	return found;
}

/* The control directory hides from others than its owner. */
static int explain_missing(const struct command *command, int dir_fd)
{
	struct stat st;
	unsigned user;

	if (fstat(dir_fd, &st) || !find_zcfs(st.st_dev, &user)) {
		log_error("%s is not the mount point of a zcfs", command->mount_point);
		return STATUS_NO_ZCFS;
	}
	if (geteuid() != 0 && geteuid() != user) {
		log_error("%s: only user %u, who mounted it, and root may see the status",
			  command->mount_point, user);
		return STATUS_DENIED;
	}
	log_error("%s/%s does not exist: was the mount point itself given, and is --control=NAME "
		  "that of the mount?",
		  command->mount_point, command->control);
	return STATUS_NO_ZCFS;
}

static int explain(const struct command *command, int err)
{
	switch (err) {
	case -EACCES:
	case -EPERM:
		log_error("%s: only who mounted it and root may see the status: %s",
			  command->mount_point, strerror(-err));
		return STATUS_DENIED;
	case -ENOTCONN:
	case -ECONNABORTED:
	case -ENODEV:
		log_error("%s: nobody serves this mount any longer (fusermount3 -u removes it): %s",
			  command->mount_point, strerror(-err));
		return STATUS_GONE;
	case -ENOENT:
	case -ENOTDIR:
	case -ELOOP:
		log_error("%s: %s", command->mount_point, strerror(-err));
		return STATUS_NO_ZCFS;
	default:
		log_error("%s: %s", command->mount_point, strerror(-err));
		return STATUS_ERROR;
	}
}

static int read_all(int fd, char **ret_text)
{
	CLEANUP_FREE char *text = NULL;
	size_t room = 0, size = 0;
	ssize_t n;

	do {
		if (room - size < 4096) {
			char *grown = realloc(text, room = 2 * room + 16384);

			if (!grown)
				return -ENOMEM;
			text = grown;
		}
		n = read(fd, text + size, room - size - 1);
		if (n < 0 && errno != EINTR)
			return -errno;
		size += n > 0 ? (size_t)n : 0;
		if (size > TEXT_MAX)
			return -EFBIG;
	} while (n);
	text[size] = '\0';
	*ret_text = text;
	text = NULL;
	return 0;
}

static int read_file(int control_fd, const char *name,
		     int (*parse)(struct status *status, const char *text), struct status *status)
{
	CLEANUP_FD int fd = openat(control_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_FREE char *text = NULL;
	int err;

	if (fd < 0)
		return -errno;
	err = read_all(fd, &text);
	return err ? err : parse(status, text);
}

static int read_files(int control_fd, struct status *status)
{
	int err = read_file(control_fd, "status", status_parse_page, status);

	if (!err)
		err = read_file(control_fd, "stats", status_parse_stats, status);
	if (!err)
		err = read_file(control_fd, "copies", status_parse_copies, status);
	return err;
}

static bool is_fuse(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && fs.f_type == FUSE_SUPER_MAGIC;
}

/* Whether a round after the first has met something else than the mount of the first. */
static bool has_ended(const struct command *command, int fd)
{
	struct stat st;

	return command->device && !fstat(fd, &st) && st.st_dev != command->device;
}

static int say_ended(const struct command *command)
{
	log_info("%s is unmounted", command->mount_point);
	return STATUS_OK;
}

/* Reads the status. Returns -1, or the code to exit with. */
static int read_mount(struct command *command, struct status *status)
{
	CLEANUP_FD int dir_fd = open(command->mount_point, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_FD int control_fd = -1;
	struct stat st;
	int err;

	if (dir_fd < 0)
		return explain(command, -errno);
	if (has_ended(command, dir_fd))
		return say_ended(command);
	control_fd =
		openat(dir_fd, command->control, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (control_fd < 0 && errno != ENOENT)
		return explain(command, -errno);
	if (control_fd < 0 || !is_fuse(control_fd))
		return explain_missing(command, dir_fd);
	err = read_files(control_fd, status);
	if (err == -EPROTO || err == -ENOENT) {
		log_error("%s/%s is not what zcfs has there", command->mount_point,
			  command->control);
		return STATUS_NO_ZCFS;
	}
	if (err)
		return explain(command, err);
	if (!fstat(dir_fd, &st))
		command->device = st.st_dev;
	return -1;
}

/* ---- the screen ---- */

/* What a line of the round before shows further right, and what it had below, is wiped out. After a
 * change of size nobody knows where the lines of before have gone: everything is. */
static void redraw(struct command *command, const char *text, bool resized)
{
	if (resized)
		fputs("\033[H\033[2J", stdout);
	else if (command->lines)
		printf("\033[%zuA\r", command->lines);
	command->lines = 0;
	for (; *text; text++) {
		if (*text == '\n') {
			fputs("\033[K", stdout);
			command->lines++;
		}
		putchar(*text);
	}
	fputs("\033[J", stdout);
}

static struct winsize terminal_size(void)
{
	struct winsize size = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
		size = (struct winsize){ .ws_col = 80, .ws_row = 24 };
	return size;
}

static int draw_on_terminal(struct command *command, const struct status *status)
{
	struct winsize size = terminal_size();
	bool resized = command->lines &&
		       (size.ws_col != command->size.ws_col || size.ws_row != command->size.ws_row);
	/* The cursor takes the last row. Behind a character in the last column it would still stand
	 * on it, and wiping out the rest of the line would take it along. */
	struct status_view view = {
		.columns = size.ws_col > 1 ? size.ws_col - 1U : 1,
		.rows = !command->watch	  ? 0
			: size.ws_row > 1 ? size.ws_row - 1U
					  : 1,
	};
	CLEANUP_FREE char *text = NULL;
	size_t length;
	FILE *page = open_memstream(&text, &length);

	if (!page)
		return -errno;
	status_draw(status, &view, page);
	if (fclose(page))
		return -errno;
	if (command->watch)
		redraw(command, text, resized);
	else
		fputs(text, stdout);
	command->size = size;
	return 0;
}

static int show(struct command *command, const struct status *status)
{
	int err = 0;

	if (command->json)
		status_draw_json(status, stdout);
	else if (command->terminal)
		err = draw_on_terminal(command, status);
	else
		status_draw(status, &(struct status_view){ 0 }, stdout);
	if (!err && fflush(stdout))
		err = -errno;
	if (!err)
		return -1;
	log_error("showing the status: %s", strerror(-err));
	return STATUS_ERROR;
}

static int run_round(struct command *command)
{
	struct status status = { .mount_point = command->mount_point };
	int code = read_mount(command, &status);

	if (code < 0)
		code = show(command, &status);
	status_fini(&status);
	return code;
}

static int run(struct command *command)
{
	int code = run_round(command);

	while (code < 0 && command->watch) {
		struct timespec second = { .tv_sec = 1 };

		nanosleep(&second, NULL);
		code = run_round(command);
	}
	return code < 0 ? STATUS_OK : code;
}

/* ---- the command line ---- */

static const char help_text[] =
	"usage: zcfs status [-w] [--json] [--control=NAME] MOUNTPOINT\n"
	"\n"
	"Shows what a mount of zcfs has done, what it does without, and copies in flight.\n"
	"\n"
	"    -w, --watch       again each second, until the mount ends\n"
	"    --json            one JSON object; with -w one a line\n"
	"    --control=NAME    the control directory, if the mount has control=NAME (.zcfs)\n";

/* -1 to go on, or the code to exit with. */
static int parse(struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{ "watch", no_argument, NULL, 'w' },
		{ "json", no_argument, NULL, 'j' },
		{ "control", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static char name[] = "zcfs status"; /* getopt's messages begin with it */
	int option;

	argv[0] = name;
	while ((option = getopt_long(argc, argv, "wh", options, NULL)) != -1) {
		switch (option) {
		case 'w':
			command->watch = true;
			break;
		case 'j':
			command->json = true;
			break;
		case 'c':
			command->control = optarg;
			break;
		case 'h':
			fputs(help_text, stdout);
			return STATUS_OK;
		default:
			return STATUS_USAGE; /* getopt has said it */
		}
	}
	if (!*command->control || strchr(command->control, '/') || !strcmp(command->control, ".") ||
	    !strcmp(command->control, "..")) {
		log_error("--control=%s: not a name", command->control);
		return STATUS_USAGE;
	}
	if (optind == argc) {
		log_error("status: the mount point is missing (zcfs status --help)");
		return STATUS_NO_MOUNTPOINT;
	}
	if (optind + 1 < argc) {
		log_error("status: one mount point at a time, not also %s", argv[optind + 1]);
		return STATUS_USAGE;
	}
	command->mount_point = argv[optind];
	return -1;
}

static bool is_terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

int status_main(int argc, char **argv)
{
	struct command command = { .control = ".zcfs", .terminal = is_terminal() };
	int code;

	setlocale(LC_CTYPE, ""); /* which characters are shown as they are */
	code = parse(&command, argc, argv);
	return code < 0 ? run(&command) : code;
}
