/* SPDX-License-Identifier: MIT */
#ifndef FS_REMOUNT_H
#define FS_REMOUNT_H

/*
 * `mount -o remount,... MOUNTPOINT`, which mount(8) hands to the helper of the type, and so to us.
 * The flags of a mount (ro, nosuid, noatime, ...) are the kernel's, and it does not tell the daemon
 * when they change: so this asks mount(8) to do it without a helper (-i). The options of zcfs stay
 * as they were; those that come along, from fstab or from the mount, are left out.
 *
 * Returns -1 when argv asks for no remount. Does not return when it does: the process becomes
 * mount(8), or ends with a message and the exit code 1.
 */
int remount(int argc, char **argv);

#endif
