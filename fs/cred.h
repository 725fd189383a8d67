/* SPDX-License-Identifier: MIT */
#ifndef FS_CRED_H
#define FS_CRED_H

/*
 * Whom a worker acts for. New files belong to the caller: when zcfs runs as root and the caller is
 * somebody else, the thread's fs uid and gid are the caller's for the one system call that creates
 * (setfsuid(2), setfsgid(2): per thread), with the daemon's file capabilities kept, because the
 * kernel has already decided whether the caller may (default_permissions is always on). The umask
 * is the thread's own (unshare(CLONE_FS)), so that default ACLs are honoured by the backing
 * filesystem (FUSE_DONT_MASK).
 *
 * Thread: a struct cred belongs to the thread that called cred_init().
 */

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "request.h"

struct cred {
	bool can_switch; /* root: callers may differ */
	uid_t uid; /* the thread's present fs uid and gid */
	gid_t gid;
	mode_t umask;

	/* cred.c's own. */
	uid_t own_uid; /* the daemon's */
	gid_t own_gid;
	struct __user_cap_data_struct capabilities[2]; /* the daemon's */
	bool keeps_capabilities; /* the kernel leaves them when fsuid leaves 0 */
	uint64_t lacks_when_other; /* capabilities to be without while acting for others */
};

/* Gives the thread its own umask, and learns whether it can act for others. Returns 0 or -errno. */
int cred_init(struct cred *cred);

/*
 * Acts for the sender of the request until cred_restore(). No cost when he is whom the thread acts
 * for anyhow. The umask stays: only what runs between these two depends on it. Returns 0, or -EPERM
 * for an id that does not exist here (user namespaces); the thread is then itself again.
 */
int cred_assume(struct cred *cred, const struct fuse_in_header *in, mode_t umask);
void cred_restore(struct cred *cred);

/*
 * Whether the sender is in the group, by a supplementary one too. A request does not tell these:
 * they are read from /proc, where he is as long as he waits for the answer. False for other groups
 * than his own where he cannot be found: the kernel wrote by itself (no pid), or he is in a PID
 * namespace that is not below ours.
 */
bool cred_is_in_group(const struct fuse_in_header *in, gid_t gid);

/*
 * Takes CAP_FSETID off the thread, so that the backing filesystem clears set-uid and set-gid bits
 * as for an ordinary writer, and puts it back. (File capabilities go whoever writes.) Needed where
 * no io_uring personality can do it. No-ops for an ordinary user.
 */
void cred_drop_fsetid(struct cred *cred);
void cred_raise_fsetid(struct cred *cred);

/* The same for CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, to ask the backing filesystem what
 * somebody else may. */
void cred_drop_dac(struct cred *cred);
void cred_raise_dac(struct cred *cred);

/* The same for CAP_SYS_ADMIN, to ask what an ordinary user is shown. */
void cred_drop_admin(struct cred *cred);
void cred_raise_admin(struct cred *cred);

#endif
