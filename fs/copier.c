/* SPDX-License-Identifier: MIT */
/*
 * The queue of copies, and the threads that serve it. A thread is started when the queue is longer
 * than those that wait for it can serve, up to options->copy_threads; it takes the first job and
 * runs its ring until the job is done.
 *
 * An interrupt for a job that is still queued is answered by the thread that read the interrupt
 * when the caller is killed; any other leaves the job in the queue: copy.c says why.
 */
#include "copier.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "copy_job.h"
#include "fs.h"
#include "log.h"

#define COPIER_NICE 5 /* more than the other threads */

struct copier_thread {
	struct copier *copier;
	struct worker worker;
	pthread_t thread;
	struct copier_thread *next;
};

struct copier {
	struct fs *fs;
	pthread_mutex_t lock; /* a leaf; guards what follows */
	pthread_cond_t work;
	struct copy_job *first, *last; /* queued */
	unsigned queued;
	struct copy_job *running; /* by copiers and, inline, by workers */
	struct progress_list paused; /* copies between two requests */
	struct copier_thread *threads;
	unsigned started;
	unsigned idle; /* threads that wait for work */
	bool stopping;
};

/* ---- jobs that are run ---- */

/* With the lock held: whether the job is a further piece of a copy that is known. */
static bool resume(struct copy_job *job)
{
	return job->progress.started.tv_sec ||
	       progress_resume(&job->copier->paused, &job->progress);
}

void copier_list(struct copy_job *job)
{
	struct copier *copier = job->copier;

	pthread_mutex_lock(&copier->lock);
	if (!resume(job))
		clock_gettime(CLOCK_MONOTONIC, &job->progress.started);
	job->next = copier->running;
	copier->running = job;
	pthread_mutex_unlock(&copier->lock);
}

void copier_unlist(struct copy_job *job, bool goes_on)
{
	struct copier *copier = job->copier;
	struct copy_job **link = &copier->running;

	pthread_mutex_lock(&copier->lock);
	if (goes_on) {
		job->progress.next += atomic_load(&job->copied);
		job->progress.path = atomic_load(&job->path);
		progress_pause(&copier->paused, &job->progress);
	}
	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	pthread_mutex_unlock(&copier->lock);
}

pthread_mutex_t *copier_lock(struct copier *copier)
{
	return &copier->lock;
}

/* ---- the queue and the threads ---- */

/* With the lock held. */
static struct copy_job *dequeue(struct copier *copier)
{
	struct copy_job *job = copier->first;

	if (!job)
		return NULL;
	copier->first = job->next;
	if (!copier->first)
		copier->last = NULL;
	copier->queued--;
	return job;
}

/* Waits for a job. NULL: the thread is to end. */
static struct copy_job *next_job(struct copier *copier)
{
	struct copy_job *job = NULL;

	pthread_mutex_lock(&copier->lock);
	copier->idle++;
	while (!copier->stopping && !(job = dequeue(copier)))
		pthread_cond_wait(&copier->work, &copier->lock);
	copier->idle--;
	pthread_mutex_unlock(&copier->lock);
	return job;
}

static void refuse_queued(struct copier *copier, int err)
{
	struct copy_job *job;

	do {
		pthread_mutex_lock(&copier->lock);
		job = dequeue(copier);
		pthread_mutex_unlock(&copier->lock);
		if (job)
			copy_conclude(job, err);
	} while (job);
}

/* With the lock held: takes a job out of the queue whose caller is being killed. */
static struct copy_job *dequeue_killed(struct copier *copier)
{
	struct copy_job *before = NULL, *job = copier->first;

	while (job && !(atomic_load(&job->cancel) && interrupt_is_fatal(&job->request->in))) {
		before = job;
		job = job->next;
	}
	if (!job || !before)
		return job ? dequeue(copier) : NULL;
	before->next = job->next;
	if (copier->last == job)
		copier->last = before;
	copier->queued--;
	return job;
}

void copier_refuse_killed(struct copier *copier)
{
	struct copy_job *job;

	if (!copier)
		return;
	do {
		pthread_mutex_lock(&copier->lock);
		job = dequeue_killed(copier);
		pthread_mutex_unlock(&copier->lock);
		if (job)
			copy_conclude(job, -EINTR);
	} while (job);
}

bool copier_is_short(struct copier *copier)
{
	bool is_short;

	pthread_mutex_lock(&copier->lock);
	is_short = copier->queued > copier->idle;
	pthread_mutex_unlock(&copier->lock);
	return is_short;
}

/* One copier less. Without any, nobody would ever serve the queue. */
static void could_not_start(struct copier *copier, int err)
{
	bool none;

	fs_downgrade(copier->fs, "copy threads", "one could not start: %s", strerror(-err));
	pthread_mutex_lock(&copier->lock);
	none = --copier->started == 0;
	pthread_mutex_unlock(&copier->lock);
	if (none)
		refuse_queued(copier, err);
}

/*
 * A copy may use a processor for seconds, a request takes microseconds and somebody waits for it:
 * with a little less weight a copier, and the kernel's workers that write for it and inherit that,
 * gives way when a request comes, and loses nothing else. Of this thread alone (setpriority(2), "C
 * library/kernel differences").
 */
static void be_nice(void)
{
	if (setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + COPIER_NICE) < 0)
		log_debug("copier: nice: %s", strerror(errno));
}

static void *copier_main(void *argument)
{
	struct copier_thread *thread = argument;
	struct copier *copier = thread->copier;
	const struct options *options = &copier->fs->options;
	const struct pool_options pool_options = {
		.buffer_size = options->copy_buffer_size,
		.count = options->copy_buffers,
		.unregistered = options->io == IO_PLAIN,
	};
	struct copy_job *job;
	int err;

	fs_run_anywhere(copier->fs);
	be_nice();
	err = worker_init(&thread->worker, copier->fs, &pool_options);
	if (err) {
		could_not_start(copier, err);
		return NULL;
	}
	while ((job = next_job(copier))) {
		bool ended = false;

		job->ended = &ended;
		copy_begin(job, &thread->worker);
		while (!ended)
			worker_run(&thread->worker);
	}
	worker_fini(&thread->worker);
	return NULL;
}

/* With the lock held: one thread more, when the queue is longer than those that wait for it can
 * serve. 0 or -errno. */
static int add_thread(struct copier *copier)
{
	struct copier_thread *thread;
	int err;

	if (copier->queued <= copier->idle || copier->started == copier->fs->options.copy_threads)
		return 0;
	thread = calloc(1, sizeof(*thread));
	if (!thread)
		return -ENOMEM;
	thread->copier = copier;
	err = pthread_create(&thread->thread, NULL, copier_main, thread);
	if (err) {
		free(thread);
		return -err;
	}
	thread->next = copier->threads;
	copier->threads = thread;
	copier->started++;
	return 0;
}

void copier_submit(struct copy_job *job)
{
	struct copier *copier = job->copier;
	bool nobody;
	int err;

	pthread_mutex_lock(&copier->lock);
	job->next = NULL;
	*(copier->last ? &copier->last->next : &copier->first) = job;
	copier->last = job;
	copier->queued++;
	resume(job);
	err = add_thread(copier);
	nobody = err && copier->started == 0;
	pthread_cond_signal(&copier->work);
	pthread_mutex_unlock(&copier->lock);
	if (nobody)
		refuse_queued(copier, err);
	copier_refuse_killed(copier); /* the interrupt may have come before it was queued */
}

int copier_start(struct fs *fs, struct copier **ret_copier)
{
	struct copier *copier = calloc(1, sizeof(*copier));

	if (!copier)
		return -ENOMEM;
	copier->fs = fs;
	pthread_mutex_init(&copier->lock, NULL);
	pthread_cond_init(&copier->work, NULL);
	*ret_copier = copier;
	return 0;
}

static void join_threads(struct copier *copier)
{
	while (copier->threads) {
		struct copier_thread *thread = copier->threads;

		copier->threads = thread->next;
		pthread_join(thread->thread, NULL);
		free(thread);
	}
}

void copier_stop(struct copier *copier)
{
	if (!copier)
		return;
	pthread_mutex_lock(&copier->lock);
	copier->stopping = true;
	for (struct copy_job *job = copier->running; job; job = job->next)
		atomic_store(&job->cancel, true);
	pthread_cond_broadcast(&copier->work);
	pthread_mutex_unlock(&copier->lock);
	join_threads(copier);
	refuse_queued(copier, -EINTR);
	pthread_cond_destroy(&copier->work);
	pthread_mutex_destroy(&copier->lock);
	free(copier);
}

/* ---- the listing ---- */

/* In quotes; what would break the line, or the quotes, escaped as in C. */
static void print_quoted(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '\n')
			fputs("\\n", out);
		else if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(out, "\\%03o", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

/* The name that an open file has now, as the kernel knows it, below the backing directory without
 * that; " (deleted)" after one that is gone. */
static void print_name(FILE *out, const char *key, const struct handle *handle)
{
	const char *root = handle->fs->options.backing;
	size_t root_size = strcmp(root, "/") ? strlen(root) : 0;
	char name[PATH_MAX];
	ssize_t size = readlinkat(handle->fs->proc_self_fd, fs_proc_name(handle->fd).text, name,
				  sizeof(name) - 1);

	name[size > 0 ? size : 0] = '\0';
	fprintf(out, " %s=", key);
	if (!strncmp(name, root, root_size) && name[root_size] == '/')
		print_quoted(out, name + root_size + 1);
	else
		print_quoted(out, name);
}

static void print_line(FILE *out, const struct progress *progress, const struct handle *src,
		       const struct handle *dst)
{
	fprintf(out, "pid=%u path=%s done=%llu total=%llu seconds=%.2f", progress->pid,
		stats_path_name(progress->path),
		(unsigned long long)(progress->next - progress->first),
		(unsigned long long)(progress->end - progress->first), progress_seconds(progress));
	print_name(out, "src", src);
	print_name(out, "dst", dst);
	fputc('\n', out);
}

static void print_running(FILE *out, struct copy_job *job)
{
	struct progress progress = job->progress;

	progress.next += atomic_load(&job->copied) + atomic_load(&job->piece.copied);
	progress.path = atomic_load(&job->path);
	print_line(out, &progress, job->src, job->dst);
}

/* Between two requests. One of the files may have been closed since. */
static void print_paused(FILE *out, struct fs *fs, const struct progress *progress)
{
	CLEANUP_HANDLE struct handle *src = handle_get(fs->handles, progress->src, HANDLE_FILE);
	CLEANUP_HANDLE struct handle *dst = handle_get(fs->handles, progress->dst, HANDLE_FILE);

	if (src && dst && progress_is_going_on(progress))
		print_line(out, progress, src, dst);
}

void copier_print(struct copier *copier, FILE *out)
{
	struct progress_list paused;
	unsigned queued;

	pthread_mutex_lock(&copier->lock);
	for (struct copy_job *job = copier->running; job; job = job->next)
		print_running(out, job);
	for (struct copy_job *job = copier->first; job; job = job->next)
		if (job->progress.started.tv_sec) /* of a copy that has begun */
			print_line(out, &job->progress, job->src, job->dst);
	paused = copier->paused;
	queued = copier->queued;
	pthread_mutex_unlock(&copier->lock);
	for (unsigned i = 0; i < paused.count; i++)
		print_paused(out, copier->fs, &paused.kept[i]);
	fprintf(out, "waiting=%u\n", queued);
}
