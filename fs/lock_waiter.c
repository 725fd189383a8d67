/* SPDX-License-Identifier: MIT */
/*
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
#include "lock_waiter.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"
#include "request.h"

/* Threads that wait at most; further requests get ENOLCK. */
#define WAITERS_MAX  1024
#define WAITER_STACK (128 << 10) /* bytes; sanitizers want more than PTHREAD_STACK_MIN */

/* How often an interrupted waiter is told, until it has heard. */
#define WAKE_INTERVAL_NS (5 * 1000 * 1000)

/* The name in timer_create(2), which glibc 2.36 lacks. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

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
};

/* ---- calls ---- */

static void call_put(struct fs *fs, struct lock_call *call)
{
	if (call->owner)
		lock_owner_put(&fs->lock_owners, call->owner);
	handle_put(call->handle);
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

	fs_run_anywhere(waiters->fs);
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

/* ---- taking ---- */

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

void lock_take(struct request *request, struct lock_call *call, bool wait)
{
	struct fs *fs = request->fs;
	int err = call_run(call, false);

	if (err == -EAGAIN && wait) {
		wait_elsewhere(request, call);
		return;
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
	pthread_cond_destroy(&waiters->changed);
	pthread_mutex_destroy(&waiters->lock);
	free(waiters);
}
