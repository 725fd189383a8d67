/* SPDX-License-Identifier: MIT */
/*
 * Acting for somebody else is two system calls there and two back: setfsuid(2) and setfsgid(2).
 *
 * Capabilities. When fsuid leaves 0 the kernel takes the file capabilities away (CAP_CHOWN,
 * CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_LINUX_IMMUTABLE,
 * CAP_MAC_OVERRIDE, CAP_MKNOD; capabilities(7)). zcfs keeps them: whether the caller may was
 * decided by the kernel at the mount, with all it knows of him, and the backing file is reached
 * through directories that he may not even search. SECBIT_NO_SETUID_FIXUP, set once a thread, keeps
 * them at no cost; it needs CAP_SETPCAP, and without that they are raised again by capset(2) each
 * time.
 *
 * Supplementary groups are not the caller's: a new file takes its group from fsgid or from a
 * set-group-ID directory, never from them, and for permissions see above. They matter for S_ISGID
 * alone, where the kernel asks whether the caller is in a file's group: cred_is_in_group() tells.
 * The thread has none at all, so that what the backing filesystem does depends on fsgid and
 * CAP_FSETID only, and never on the daemon's own groups.
 *
 * A change of fs ids makes the process undumpable (Linux kernel/cred.c, commit_creds()): from then
 * on it leaves no core file unless fs.suid_dumpable says so.
 */
#include "cred.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cleanup.h"

/* The libc has no wrappers for these three system calls that act on the thread alone. */

static struct __user_cap_header_struct this_thread(void)
{
	return (struct __user_cap_header_struct){ .version = _LINUX_CAPABILITY_VERSION_3 };
}

static int get_capabilities(struct cred *cred)
{
	struct __user_cap_header_struct header = this_thread();

	return syscall(SYS_capget, &header, cred->capabilities) < 0 ? -errno : 0;
}

/* Makes the capabilities of the daemon effective, but for those in without (a bit each). */
static int set_capabilities(const struct cred *cred, uint64_t without)
{
	struct __user_cap_header_struct header = this_thread();
	struct __user_cap_data_struct data[2] = { cred->capabilities[0], cred->capabilities[1] };

	data[0].effective &= ~(uint32_t)without;
	data[1].effective &= ~(uint32_t)(without >> 32);
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

#define CAPABILITY(number) (1ULL << (number))
#define DAC_CAPABILITIES   (CAPABILITY(CAP_DAC_OVERRIDE) | CAPABILITY(CAP_DAC_READ_SEARCH))

/* The daemon's effective capabilities, a bit each. */
static uint64_t own_capabilities(const struct cred *cred)
{
	return cred->capabilities[0].effective | (uint64_t)cred->capabilities[1].effective << 32;
}

/*
 * A file made set-group-ID and executable in a set-group-ID directory by somebody outside its group
 * must lose S_ISGID. Since Linux 6.0 the kernel does that at the mount, with the caller's groups;
 * before, it is left to the filesystem that makes the inode, the backing one, which must then not
 * see CAP_FSETID. (It may do so once too often, as it does not see the caller's supplementary
 * groups.)
 */
static bool mount_strips_sgid(void)
{
	struct utsname name;
	unsigned major;

	return uname(&name) == 0 && sscanf(name.release, "%u.", &major) == 1 && major >= 6;
}

/* Returns 0 or -errno. What fails here would fail later, with a request half done. */
static int prepare_to_switch(struct cred *cred)
{
	int bits = prctl(PR_GET_SECUREBITS);

	cred->keeps_capabilities =
		bits >= 0 && prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0;
	/* Of the thread alone; setgroups(3) would change them all. Not allowed everywhere in user
	 * namespaces, and then they stay. */
	syscall(SYS_setgroups, 0, NULL);
	cred->lacks_when_other = mount_strips_sgid() ? 0 : CAPABILITY(CAP_FSETID);
	return set_capabilities(cred, 0);
}

int cred_init(struct cred *cred)
{
	const uint64_t needed = CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID);
	int err;

	*cred = (struct cred){
		.uid = geteuid(),
		.gid = getegid(),
		.own_uid = geteuid(),
		.own_gid = getegid(),
	};
	if (unshare(CLONE_FS) < 0)
		return -errno;
	umask(cred->umask);
	err = get_capabilities(cred);
	if (err)
		return err;
	cred->can_switch = cred->own_uid == 0 && !(needed & ~own_capabilities(cred));
	return cred->can_switch ? prepare_to_switch(cred) : 0;
}

/* setfsuid(2) and setfsgid(2) tell no error, only who one was before; -1 is nobody, and changes
 * nothing. */

static int set_gid(struct cred *cred, gid_t gid)
{
	if (gid == cred->gid)
		return 0;
	setfsgid(gid);
	if ((gid_t)setfsgid((gid_t)-1) != gid)
		return -EPERM;
	cred->gid = gid;
	return 0;
}

static int set_uid(struct cred *cred, uid_t uid)
{
	if (uid == cred->uid)
		return 0;
	setfsuid(uid);
	if ((uid_t)setfsuid((uid_t)-1) != uid)
		return -EPERM;
	cred->uid = uid;
	return 0;
}

static int become(struct cred *cred, uid_t uid, gid_t gid)
{
	int err = set_gid(cred, gid);

	if (!err)
		err = set_uid(cred, uid);
	if (!err && (!cred->keeps_capabilities || cred->lacks_when_other))
		err = set_capabilities(cred, cred->lacks_when_other);
	return err;
}

static bool is_other(const struct cred *cred)
{
	return cred->uid != cred->own_uid || cred->gid != cred->own_gid;
}

int cred_assume(struct cred *cred, const struct fuse_in_header *in, mode_t mask)
{
	int err;

	assert(!is_other(cred));
	if (mask != cred->umask) {
		umask(mask);
		cred->umask = mask;
	}
	if (!cred->can_switch || (in->uid == cred->uid && in->gid == cred->gid))
		return 0;
	err = become(cred, in->uid, in->gid);
	if (err)
		cred_restore(cred);
	return err;
}

/* The way back cannot fail, and if it did, nothing should be done any more as somebody else. */
void cred_restore(struct cred *cred)
{
	int err = 0;

	if (!is_other(cred))
		return;
	err = set_uid(cred, cred->own_uid);
	assert(!err);
	err = set_gid(cred, cred->own_gid);
	assert(!err);
	if (!cred->keeps_capabilities || cred->lacks_when_other)
		err = set_capabilities(cred, 0);
	assert(!err);
}

/* Whether a line of /proc/PID/status, "Groups:" and numbers, has the group. */
static bool lists_group(const char *line, gid_t gid)
{
	int length = 0;
	unsigned group;

	for (line += strcspn(line, " \t"); sscanf(line, "%u%n", &group, &length) == 1;
	     line += length)
		if (group == gid)
			return true;
	return false;
}

static bool has_supplementary_group(pid_t pid, gid_t gid)
{
	CLEANUP_FREE char *line = NULL;
	bool found = false;
	size_t size = 0;
	char path[32];
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	status = fopen(path, "re");
	if (!status)
		return false;
	while (!found && getline(&line, &size, status) > 0)
		found = !strncmp(line, "Groups:", 7) && lists_group(line, gid);
	fclose(status);
	return found;
}

bool cred_is_in_group(const struct fuse_in_header *in, gid_t gid)
{
	return in->gid == gid || (in->pid && has_supplementary_group((pid_t)in->pid, gid));
}

/* Lowering is always allowed, and raising what is permitted was tried by cred_init() or is what the
 * drop has shown to work. */

static void drop(struct cred *cred, uint64_t capabilities)
{
	int err = 0;

	if (own_capabilities(cred) & capabilities)
		err = set_capabilities(cred, capabilities);
	assert(!err);
}

static void raise_again(struct cred *cred, uint64_t capabilities)
{
	int err = 0;

	if (own_capabilities(cred) & capabilities)
		err = set_capabilities(cred, 0);
	assert(!err);
}

void cred_drop_fsetid(struct cred *cred)
{
	drop(cred, CAPABILITY(CAP_FSETID));
}

void cred_raise_fsetid(struct cred *cred)
{
	raise_again(cred, CAPABILITY(CAP_FSETID));
}

void cred_drop_dac(struct cred *cred)
{
	drop(cred, DAC_CAPABILITIES);
}

void cred_raise_dac(struct cred *cred)
{
	raise_again(cred, DAC_CAPABILITIES);
}

void cred_drop_admin(struct cred *cred)
{
	drop(cred, CAPABILITY(CAP_SYS_ADMIN));
}

void cred_raise_admin(struct cred *cred)
{
	raise_again(cred, CAPABILITY(CAP_SYS_ADMIN));
}
