/* SPDX-License-Identifier: MIT */
/*
 * Locks on the backing files (locks=forward).
 *
 * flock(2) belongs to an open file, and so does the backing descriptor of a handle: it is simply
 * passed on.
 *
 * A POSIX lock belongs to a process, and to the kernel zcfs is one process, whose locks never
 * conflict with each other and all fall with any close(2). So each owner has, for each file that it
 * locks, an open file description of its own, and takes OFD locks on it (F_OFD_SETLK, Linux 3.15),
 * which conflict with POSIX locks of others as they should. Not carried over: the kernel detects
 * deadlocks among POSIX locks only (EDEADLK).
 *
 *     struct lock_owner    (file, owner of the kernel's) -> descriptor; in a hash by file
 *         made by the first lock request
 *         ended by FLUSH of that owner, or by RELEASE of the handle through which it was made: then
 *         it was the owner of OFD locks, for which no FLUSH comes, because the FLUSH of a POSIX
 *         owner precedes every RELEASE of what it had open
 *
 * Its descriptor is closed, and its locks so dropped, with the last reference: a request in
 * progress has one.
 *
 * Waiting. A lock that cannot be had at once is waited for by a thread of its own, on the detached
 * request, never by a worker:
 *
 *     timer_start()    a timer that can send SIGUSR1 to this thread; not armed
 *     enter()          listed, for lock_waiters_stop(); registered, for FUSE_INTERRUPT
 *     wait_for()       flock(2) or F_OFD_SETLKW; at EINTR it looks whether it is to go on
 *     leave()          unregistered and unlisted: nobody knows the waiter any more
 *     reply
 *
 * Interrupting. Between looking at the flag and sleeping in the system call there is a gap, and a
 * signal that falls into it is lost. Therefore an interrupt arms the waiter's timer, which sends
 * the signal again and again until the thread has left: a wake-up can come late by one interval,
 * and not be missed. Arming is one system call that does not block, as the interrupt table asks.
 * When the lock is had in spite of the signal, that is the answer.
 */
#include "lock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"
#include "ops.h"
#include "request.h"

/* Threads that wait at most; further requests get ENOLCK. */
#define WAITERS_MAX   1024
#define WAITER_STACK  (128 << 10) /* bytes; sanitizers want more than PTHREAD_STACK_MIN */
#define OWNER_BUCKETS 256

/* How often an interrupted waiter is told, until it has heard. */
#define WAKE_INTERVAL_NS (5 * 1000 * 1000)

/* The name in timer_create(2), which glibc 2.36 lacks. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

struct lock_owner {
	uint64_t nodeid; /* of the file */
	uint64_t owner; /* the kernel's number for the process, or the open file */
	uint64_t fh; /* the handle through which it was made */
	int fd; /* its own open file description */
	_Atomic pid_t pid; /* who last locked, for F_GETLK */
	unsigned users; /* the table is one of them; under the lock */
	struct lock_owner *next;
};

/* A lock request, taken out of the message. */
struct lock_call {
	struct handle *handle; /* a reference */
	struct lock_owner *owner; /* a reference; NULL for a flock */
	int operation; /* of flock(2), without LOCK_NB */
	struct flock lock; /* of fcntl(2) */
};

struct lock_waiter {
	struct lock_waiters *waiters;
	struct request *request; /* detached */
	struct lock_call call;
	struct interruptible interruptible;
	_Atomic int wanted_end; /* 0, or the -errno to end with */
	timer_t timer;
	pthread_t thread;
	struct lock_waiter *next; /* in sleeping */
};

struct lock_waiters {
	struct fs *fs;
	pthread_mutex_t lock; /* a leaf; guards what follows */
	pthread_cond_t changed;
	bool stopping;
	unsigned running; /* threads */
	struct lock_waiter *sleeping; /* between enter() and leave() */
	struct lock_waiter *ended; /* the last one that did, to be joined */
	struct lock_owner *owners[OWNER_BUCKETS];
};

/* ---- owners ---- */

static struct lock_owner **bucket(struct lock_waiters *waiters, uint64_t nodeid)
{
	return &waiters->owners[nodeid % OWNER_BUCKETS];
}

static void free_owner(struct lock_owner *owner)
{
	close(owner->fd);
	free(owner);
}

static void owner_put(struct lock_waiters *waiters, struct lock_owner *owner)
{
	unsigned left;

	pthread_mutex_lock(&waiters->lock);
	left = --owner->users;
	pthread_mutex_unlock(&waiters->lock);
	if (!left)
		free_owner(owner);
}

/* The lock is held. */
static struct lock_owner *find_owner(struct lock_waiters *waiters, uint64_t nodeid, uint64_t number)
{
	struct lock_owner *owner = *bucket(waiters, nodeid);

	while (owner && (owner->nodeid != nodeid || owner->owner != number))
		owner = owner->next;
	return owner;
}

/* A reference, or NULL. */
static struct lock_owner *owner_get(struct lock_waiters *waiters, uint64_t nodeid, uint64_t number)
{
	struct lock_owner *owner;

	pthread_mutex_lock(&waiters->lock);
	owner = find_owner(waiters, nodeid, number);
	if (owner)
		owner->users++;
	pthread_mutex_unlock(&waiters->lock);
	return owner;
}

/*
 * A read lock wants a descriptor that can read, a write lock one that can write (EBADF), and an
 * owner can ask for both through two handles, while locks cannot move from one descriptor to
 * another. So it can do both wherever that may be had.
 */
static int open_for_locks(struct fs *fs, const struct handle *handle)
{
	struct inode_ref ref = INODE_REF_NONE;
	int err = inode_ref_again(fs->inodes, handle->inode, &ref);
	int fd;

	if (err)
		return err;
	fd = inode_open(fs->inodes, &ref, O_RDWR);
	if (fd < 0)
		fd = inode_open(fs->inodes, &ref, handle->flags & O_ACCMODE);
	inode_ref_put(&ref);
	return fd;
}

static int new_owner(struct fs *fs, const struct handle *handle, uint64_t number,
		     struct lock_owner **ret_owner)
{
	struct lock_owner *owner = calloc(1, sizeof(*owner));

	if (!owner)
		return -ENOMEM;
	owner->fd = open_for_locks(fs, handle);
	if (owner->fd < 0) {
		int err = owner->fd;

		free(owner);
		return err == -EMFILE || err == -ENFILE ? -ENOLCK : err;
	}
	owner->nodeid = inode_nodeid(handle->inode);
	owner->owner = number;
	owner->fh = handle->id;
	owner->users = 1;
	*ret_owner = owner;
	return 0;
}

/* Lists the new owner, or takes the one that another thread was faster to list. Returns a
 * reference. */
static struct lock_owner *list_owner(struct lock_waiters *waiters, struct lock_owner *made)
{
	struct lock_owner **first = bucket(waiters, made->nodeid);
	struct lock_owner *owner;

	pthread_mutex_lock(&waiters->lock);
	owner = find_owner(waiters, made->nodeid, made->owner);
	if (!owner) {
		owner = made;
		owner->next = *first;
		*first = owner;
	}
	owner->users++;
	pthread_mutex_unlock(&waiters->lock);
	if (owner != made)
		free_owner(made);
	return owner;
}

static int owner_make(struct fs *fs, const struct handle *handle, uint64_t number,
		      struct lock_owner **ret_owner)
{
	struct lock_owner *made;
	int err;

	*ret_owner = owner_get(fs->lock_waiters, inode_nodeid(handle->inode), number);
	if (*ret_owner)
		return 0;
	err = new_owner(fs, handle, number, &made);
	if (!err)
		*ret_owner = list_owner(fs->lock_waiters, made);
	return err;
}

/* Takes the owners of a file that match off the table: by the handle fh that made them, or else by
 * number. */
static void drop_owners(struct lock_waiters *waiters, uint64_t nodeid, uint64_t fh, uint64_t number)
{
	struct lock_owner **link = bucket(waiters, nodeid);
	struct lock_owner *dropped = NULL;

	pthread_mutex_lock(&waiters->lock);
	while (*link) {
		struct lock_owner *owner = *link;

		if (owner->nodeid != nodeid || (fh ? owner->fh != fh : owner->owner != number)) {
			link = &owner->next;
			continue;
		}
		*link = owner->next;
		owner->next = dropped;
		dropped = owner;
	}
	pthread_mutex_unlock(&waiters->lock);
	while (dropped) {
		struct lock_owner *owner = dropped;

		dropped = owner->next;
		owner_put(waiters, owner);
	}
}

void lock_flush(struct fs *fs, const struct handle *handle, uint64_t owner)
{
	if (fs->lock_waiters && fs->options.locks == LOCKS_FORWARD)
		drop_owners(fs->lock_waiters, inode_nodeid(handle->inode), 0, owner);
}

void lock_release(struct fs *fs, const struct handle *handle, bool has_flock)
{
	if (fs->options.locks != LOCKS_FORWARD)
		return;
	/* The descriptor may live on for a moment, in a request that still uses it. */
	if (has_flock)
		(void)flock(handle->fd, LOCK_UN);
	if (fs->lock_waiters)
		drop_owners(fs->lock_waiters, inode_nodeid(handle->inode), handle->id, 0);
}

/* ---- the lock of the wire ---- */

static bool is_range(const struct fuse_file_lock *lk)
{
	return lk->start <= lk->end && lk->end <= INT64_MAX;
}

/* INT64_MAX stands for the end of the file, wherever that may come to be. */
static struct flock to_flock(const struct fuse_file_lock *lk)
{
	return (struct flock){
		.l_type = (short)lk->type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lk->start,
		.l_len = lk->end == INT64_MAX ? 0 : (off_t)(lk->end - lk->start + 1),
	};
}

static uint64_t end_of(const struct flock *lock)
{
	return lock->l_len ? (uint64_t)(lock->l_start + lock->l_len - 1) : INT64_MAX;
}

static int to_operation(uint32_t type)
{
	switch (type) {
	case F_RDLCK:
		return LOCK_SH;
	case F_WRLCK:
		return LOCK_EX;
	default:
		return LOCK_UN;
	}
}

static bool is_type(uint32_t type)
{
	return type == F_RDLCK || type == F_WRLCK || type == F_UNLCK;
}

/* ---- calls ---- */

static void call_put(struct fs *fs, struct lock_call *call)
{
	if (call->owner)
		owner_put(fs->lock_waiters, call->owner);
	handle_put(call->handle);
}

/* Everything that a lock request needs. Returns 0 or -errno; 1 when there is nothing to do. */
static int call_get(struct fs *fs, const struct fuse_lk_in *in, struct lock_call *ret_call)
{
	struct lock_call call = { .operation = to_operation(in->lk.type) };
	int err = 0;

	if (!is_type(in->lk.type) || !is_range(&in->lk))
		return -EINVAL;
	call.handle = handle_get(fs->handles, in->fh, HANDLE_FILE);
	if (!call.handle)
		return -EBADF;
	if (!(in->lk_flags & FUSE_LK_FLOCK)) {
		call.lock = to_flock(&in->lk);
		if (in->lk.type == F_UNLCK)
			call.owner = owner_get(fs->lock_waiters, inode_nodeid(call.handle->inode),
					       in->owner);
		else
			err = owner_make(fs, call.handle, in->owner, &call.owner);
		if (!call.owner) { /* who has no lock has none to drop */
			handle_put(call.handle);
			return err ? err : 1;
		}
		if (in->lk.type != F_UNLCK)
			atomic_store(&call.owner->pid, (pid_t)in->lk.pid);
	}
	*ret_call = call;
	return 0;
}

/* Returns 0 or -errno: -EAGAIN when it would have to wait and may not. */
static int call_run(const struct lock_call *call, bool wait)
{
	int ret;

	if (call->owner)
		ret = fcntl(call->owner->fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &call->lock);
	else
		ret = flock(call->handle->fd, call->operation | (wait ? 0 : LOCK_NB));
	return ret < 0 ? -errno : 0;
}

/* ---- waiting ---- */

static void on_signal(int signal)
{
	(void)signal; /* it ends a system call, that is all */
}

/*
 * Makes the thread come back from its system call, soon, and end with error. It is between enter()
 * and leave(). EINTR is for a caller that has a signal: the kernel makes ERESTARTSYS of it (Linux
 * fs/fuse/file.c, fuse_setlk()), which without a signal would reach the program as it is, 512.
 */
static void wake(struct lock_waiter *waiter, int error)
{
	const struct itimerspec again = {
		.it_value.tv_nsec = 1,
		.it_interval.tv_nsec = WAKE_INTERVAL_NS,
	};

	atomic_store(&waiter->wanted_end, error);
	timer_settime(waiter->timer, 0, &again, NULL);
}

static void on_interrupt(struct interruptible *interruptible)
{
	struct lock_waiter *waiter =
		(struct lock_waiter *)((char *)interruptible -
				       offsetof(struct lock_waiter, interruptible));

	wake(waiter, -EINTR);
}

static int timer_start(struct lock_waiter *waiter)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = SIGUSR1,
	};

	event.sigev_notify_thread_id = gettid();
	/* EAGAIN: RLIMIT_SIGPENDING, of which a timer takes one. */
	return timer_create(CLOCK_MONOTONIC, &event, &waiter->timer) < 0 ? -ENOLCK : 0;
}

static int enter(struct lock_waiter *waiter)
{
	struct lock_waiters *waiters = waiter->waiters;
	bool stopping;

	pthread_mutex_lock(&waiters->lock);
	stopping = waiters->stopping;
	if (!stopping) {
		waiter->next = waiters->sleeping;
		waiters->sleeping = waiter;
	}
	pthread_mutex_unlock(&waiters->lock);
	if (stopping)
		return -ENOTCONN;
	interrupt_register(&waiters->fs->interrupts, &waiter->interruptible);
	return 0;
}

static void leave(struct lock_waiter *waiter)
{
	struct lock_waiters *waiters = waiter->waiters;
	struct lock_waiter **link = &waiters->sleeping;

	interrupt_unregister(&waiters->fs->interrupts, &waiter->interruptible);
	pthread_mutex_lock(&waiters->lock);
	while (*link != waiter)
		link = &(*link)->next;
	*link = waiter->next;
	pthread_mutex_unlock(&waiters->lock);
}

static int wait_for(struct lock_waiter *waiter)
{
	int err;

	do {
		err = atomic_load(&waiter->wanted_end);
		if (err)
			return err;
		err = call_run(&waiter->call, true);
	} while (err == -EINTR);
	return err;
}

static int wait_with_timer(struct lock_waiter *waiter)
{
	int err = timer_start(waiter);

	if (err)
		return err;
	err = enter(waiter);
	if (!err) {
		err = wait_for(waiter);
		leave(waiter);
	}
	timer_delete(waiter->timer);
	return err;
}

/* This thread takes our signal and no other: the rest is for the main thread. */
static void set_signals(void)
{
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
}

/* Joins a thread that is past its reply; NULL is allowed. */
static void join(struct lock_waiter *ended)
{
	if (!ended)
		return;
	pthread_join(ended->thread, NULL);
	free(ended);
}

static void *waiter_main(void *argument)
{
	struct lock_waiter *waiter = argument;
	struct lock_waiters *waiters = waiter->waiters;
	struct lock_waiter *ended;
	int err;

	set_signals();
	err = wait_with_timer(waiter);
	call_put(waiters->fs, &waiter->call);
	request_reply_error(waiter->request, err);

	/* Who ends joins who ended before, so that no more than one is left over. */
	pthread_mutex_lock(&waiters->lock);
	ended = waiters->ended;
	waiters->ended = waiter;
	waiters->running--;
	pthread_cond_broadcast(&waiters->changed);
	pthread_mutex_unlock(&waiters->lock);
	join(ended);
	return NULL;
}

/* Starts the thread. The lock is held throughout, so that it cannot end, and be joined, before we
 * know its number. */
static int start_thread(struct lock_waiters *waiters, struct lock_waiter *waiter)
{
	pthread_attr_t attr;
	int err = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WAITER_STACK);
	pthread_mutex_lock(&waiters->lock);
	if (waiters->stopping)
		err = -ENOTCONN;
	else if (waiters->running >= WAITERS_MAX ||
		 pthread_create(&waiter->thread, &attr, waiter_main, waiter))
		err = -ENOLCK;
	else
		waiters->running++;
	pthread_mutex_unlock(&waiters->lock);
	pthread_attr_destroy(&attr);
	return err;
}

static struct lock_waiter *new_waiter(struct lock_waiters *waiters, struct request *request,
				      const struct lock_call *call)
{
	struct lock_waiter *waiter = calloc(1, sizeof(*waiter));

	if (!waiter)
		return NULL;
	waiter->request = request_detach(request);
	if (!waiter->request) {
		free(waiter);
		return NULL;
	}
	waiter->waiters = waiters;
	waiter->call = *call;
	waiter->interruptible.unique = waiter->request->in.unique;
	waiter->interruptible.interrupt = on_interrupt;
	return waiter;
}

/* Waits for the lock elsewhere and replies there; takes call over. */
static void wait_elsewhere(struct request *request, struct lock_call *call)
{
	struct fs *fs = request->fs;
	struct lock_waiters *waiters = fs->lock_waiters;
	struct lock_waiter *waiter;
	int err = -ENOMEM;

	waiter = new_waiter(waiters, request, call);
	if (waiter) {
		request = waiter->request;
		err = start_thread(waiters, waiter);
		if (!err)
			return;
		free(waiter);
	}
	call_put(fs, call);
	request_reply_error(request, err);
}

/* ---- life ---- */

int lock_waiters_new(struct fs *fs, struct lock_waiters **ret_waiters)
{
	struct sigaction action = { .sa_handler = on_signal }; /* without SA_RESTART */
	struct lock_waiters *waiters = calloc(1, sizeof(*waiters));

	if (!waiters)
		return -ENOMEM;
	waiters->fs = fs;
	pthread_mutex_init(&waiters->lock, NULL);
	pthread_cond_init(&waiters->changed, NULL);
	sigaction(SIGUSR1, &action, NULL);
	*ret_waiters = waiters;
	return 0;
}

void lock_waiters_stop(struct lock_waiters *waiters)
{
	struct lock_waiter *ended;

	if (!waiters)
		return;
	pthread_mutex_lock(&waiters->lock);
	waiters->stopping = true;
	for (struct lock_waiter *waiter = waiters->sleeping; waiter; waiter = waiter->next)
		wake(waiter, -ENOTCONN);
	while (waiters->running)
		pthread_cond_wait(&waiters->changed, &waiters->lock);
	ended = waiters->ended;
	waiters->ended = NULL;
	pthread_mutex_unlock(&waiters->lock);
	join(ended);
}

void lock_waiters_free(struct lock_waiters *waiters)
{
	if (!waiters)
		return;
	lock_waiters_stop(waiters);
	for (size_t i = 0; i < OWNER_BUCKETS; i++)
		while (waiters->owners[i]) {
			struct lock_owner *owner = waiters->owners[i];

			waiters->owners[i] = owner->next;
			assert(owner->users == 1);
			free_owner(owner);
		}
	pthread_cond_destroy(&waiters->changed);
	pthread_mutex_destroy(&waiters->lock);
	free(waiters);
}

/* ---- setlk, setlkw ---- */

static void lock_file(struct request *request, bool wait)
{
	const struct fuse_lk_in in = *(const struct fuse_lk_in *)request->argument;
	struct fs *fs = request->fs;
	struct lock_call call;
	int err;

	if (!fs->lock_waiters || fs->options.locks != LOCKS_FORWARD) {
		request_reply_error(request, -ENOSYS); /* INIT did not ask for it */
		return;
	}
	err = call_get(fs, &in, &call);
	if (err) {
		request_reply_error(request, err < 0 ? err : 0);
		return;
	}
	err = call_run(&call, false);
	if (err == -EAGAIN && wait) {
		wait_elsewhere(request, &call);
		return;
	}
	call_put(fs, &call);
	request_reply_error(request, err);
}

void op_setlk(struct request *request)
{
	lock_file(request, false);
}

void op_setlkw(struct request *request)
{
	lock_file(request, true);
}

/* ---- getlk ---- */

/*
 * Whether a line of /proc/self/fdinfo/FD (proc(5)) is a lock of this description that overlaps:
 *
 *     lock:	1: OFDLCK  ADVISORY  WRITE -1 fe:00:1234 100 199
 */
static bool line_overlaps(const char *line, const struct flock *lock)
{
	uint64_t start;
	uint64_t end = INT64_MAX;
	char end_text[24];

	if (sscanf(line, "lock: %*d: OFDLCK %*s %*s %*d %*s %" SCNu64 " %23s", &start, end_text) !=
	    2)
		return false;
	if (strcmp(end_text, "EOF"))
		end = strtoull(end_text, NULL, 10);
	return start <= end_of(lock) && (uint64_t)lock->l_start <= end;
}

static bool owner_has(const struct lock_owner *owner, const struct flock *lock)
{
	char path[40];
	char line[128];
	bool found = false;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", owner->fd);
	info = fopen(path, "re");
	if (!info)
		return false;
	while (!found && fgets(line, sizeof(line), info))
		found = line_overlaps(line, lock);
	fclose(info);
	return found;
}

/*
 * Who has the lock that F_OFD_GETLK found. Of a process outside the mount the kernel gave the pid;
 * of an OFD lock it gives -1, and if that is one of ours, we know for whom we took it. 0 otherwise.
 */
static pid_t holder(struct lock_waiters *waiters, uint64_t nodeid, uint64_t asking,
		    const struct flock *lock)
{
	pid_t pid = 0;

	if (lock->l_pid >= 0)
		return lock->l_pid;
	pthread_mutex_lock(&waiters->lock);
	for (struct lock_owner *owner = *bucket(waiters, nodeid); owner && !pid;
	     owner = owner->next)
		if (owner->nodeid == nodeid && owner->owner != asking && owner_has(owner, lock))
			pid = atomic_load(&owner->pid);
	pthread_mutex_unlock(&waiters->lock);
	return pid;
}

static int get_lock(struct fs *fs, const struct handle *handle, const struct fuse_lk_in *in,
		    struct fuse_file_lock *ret_lk)
{
	struct lock_waiters *waiters = fs->lock_waiters;
	uint64_t nodeid = inode_nodeid(handle->inode);
	struct flock lock = to_flock(&in->lk);
	/* Without locks of its own every description answers the same. */
	struct lock_owner *owner = owner_get(waiters, nodeid, in->owner);
	int err = fcntl(owner ? owner->fd : handle->fd, F_OFD_GETLK, &lock) < 0 ? -errno : 0;

	if (owner)
		owner_put(waiters, owner);
	if (err)
		return err;
	*ret_lk = (struct fuse_file_lock){ .type = F_UNLCK };
	if (lock.l_type != F_UNLCK)
		*ret_lk = (struct fuse_file_lock){
			.start = (uint64_t)lock.l_start,
			.end = end_of(&lock),
			.type = (uint32_t)lock.l_type,
			.pid = (uint32_t)holder(waiters, nodeid, in->owner, &lock),
		};
	return 0;
}

void op_getlk(struct request *request)
{
	const struct fuse_lk_in *in = request->argument;
	struct fs *fs = request->fs;
	struct handle *handle;
	int err;

	if (!fs->lock_waiters || fs->options.locks != LOCKS_FORWARD) {
		request_reply_error(request, -ENOSYS);
		return;
	}
	if ((in->lk.type != F_RDLCK && in->lk.type != F_WRLCK) || !is_range(&in->lk)) {
		request_reply_error(request, -EINVAL);
		return;
	}
	handle = handle_get(fs->handles, in->fh, HANDLE_FILE);
	err = handle ? get_lock(fs, handle, in, &request->out.lk.lk) : -EBADF;
	if (handle)
		handle_put(handle);
	if (err)
		request_reply_error(request, err);
	else
		request_reply_out(request, sizeof(request->out.lk));
}
