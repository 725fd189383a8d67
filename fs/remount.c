/* SPDX-License-Identifier: MIT */
#include "remount.h"

#include <errno.h>
#include <fuse_opt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

/* What a mount may change, see mount(8), "Filesystem-independent mount options". */
static const char *const flags[] = {
	"ro",	   "rw",	"suid",	       "nosuid",   "dev",	 "nodev",
	"exec",	   "noexec",	"sync",	       "async",	   "dirsync",	 "atime",
	"noatime", "diratime",	"nodiratime",  "relatime", "norelatime", "strictatime",
	"bind",	   "symfollow", "nosymfollow", "lazytime", "nolazytime", "nostrictatime",
};

struct remount {
	char *options; /* "remount" and those of flags that were given */
	const char *mountpoint; /* the last argument that is no option */
	bool asked;
	bool failed; /* for want of memory */
};

static bool is_flag(const char *option)
{
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (!strcmp(flags[i], option))
			return true;
	return false;
}

/* fuse_opt's callback; what is not looked at here goes on to who parses it for a mount. */
static int take(void *data, const char *arg, int key, struct fuse_args *rest)
{
	struct remount *remount = data;

	if (key == FUSE_OPT_KEY_NONOPT)
		remount->mountpoint = arg;
	else if (!strcmp(arg, "remount"))
		remount->asked = true;
	else if (is_flag(arg) && fuse_opt_add_opt(&remount->options, arg))
		remount->failed = true;
	return 1;
}

static void become_mount(const struct remount *remount)
{
	execlp("mount", "mount", "-i", "-o", remount->options, "--", remount->mountpoint, NULL);
	log_error("remount: mount(8) cannot be run: %s", strerror(errno));
}

int remount(int argc, char **argv)
{
	struct remount remount = { .options = NULL };
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	int err;

	remount.failed = fuse_opt_add_opt(&remount.options, "remount");
	err = fuse_opt_parse(&args, &remount, NULL, take); /* says what is wrong */
	fuse_opt_free_args(&args);
	if (remount.failed)
		log_error("no memory to read the options");
	else if (!err && remount.asked && !remount.mountpoint)
		log_error("remount: the mount point is missing");
	else if (!err && remount.asked)
		become_mount(&remount);
	free(remount.options);
	return err || remount.asked || remount.failed ? 1 : -1;
}
