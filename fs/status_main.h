/* SPDX-License-Identifier: MIT */
#ifndef FS_STATUS_MAIN_H
#define FS_STATUS_MAIN_H

/*
 * The command `zcfs status [-w] [--json] MOUNTPOINT`: reads the control directory of a mount,
 * through the mount, as anybody's program could, and shows what is there. Another process than the
 * one that serves the mount, with one thread and no signal handlers: what is in the middle of
 * waiting for a mount that does not answer must end at Ctrl-C.
 */

/* How the command ends. */
enum status_exit {
	STATUS_OK = 0, /* with -w: the mount was unmounted */
	STATUS_USAGE = 1,
	STATUS_NO_MOUNTPOINT = 2, /* none was given */
	STATUS_NO_ZCFS = 3, /* what was given is no mount of zcfs */
	STATUS_DENIED = 4, /* it is somebody else's */
	STATUS_GONE = 5, /* the mount is there, but nobody serves it */
	STATUS_ERROR = 6, /* anything else */
};

/* argv[0] is "status". Returns a status_exit. */
int status_main(int argc, char **argv);

#endif
