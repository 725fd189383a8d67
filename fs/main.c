/* SPDX-License-Identifier: MIT */
/*
 * The life of zcfs:
 *
 *     options_parse()     what is wanted
 *     prepare_process()   limits, umask, signals
 *     mount_prepare()     both directories, before the mount may cover them
 *     prepare_fs()        tables; a trial of io_uring, so that what is missing is said to the shell
 *     mount_attach()      the mount: from here on the kernel queues requests
 *     detach_from_shell() the last fork; the shell learns that all is well
 *     start_threads()     copiers, workers
 *     serve()             until the mount ends or a signal comes
 *     stop_threads()      nothing that was acknowledged is left behind
 *
 * A signal (INT, TERM, HUP) has the kernel write its dirty pages and unmounts; the end of the
 * connection then ends the workers as if somebody else had unmounted. Who still has files open
 * there is cut off, after his dirty pages are written. A second signal does not wait for pages, a
 * third not for anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse.h>

#include "cleanup.h"
#include "copier.h"
#include "fs.h"
#include "lock_waiter.h"
#include "log.h"
#include "mount.h"
#include "options.h"
#include "remount.h"
#include "status_main.h"
#include "transport.h"
#include "worker.h"

#define FLUSH_TIMEOUT_MS 60000 /* for dirty pages to be written at the end */
#define END_TIMEOUT_MS	 1000 /* from an unmount that nobody hinders to the end of the connection */
#define DRAIN_TIMEOUT_MS 10000 /* for requests that wait in the kernel */
#define DRAIN_STEP_MS	 10
#define DRAIN_QUIET	 20 /* steps without a request that mean that none waits */

struct zcfs {
	struct options options;
	struct mount mount;
	struct fs *fs;
	struct transport *transport;
	pthread_t watcher; /* waits for the transport */
	int transport_result; /* once the watcher has ended */
	int ended_fd; /* eventfd: the transport ended */
	int signal_fd;
	pid_t detacher; /* see mount_detach(); 0 when there is none */
};

enum event {
	EVENT_ENDED,
	EVENT_SIGNAL,
	EVENT_DETACHED,
	EVENT_TIMEOUT,
};

/* Whoever starts us may have closed the first three descriptors. No file may get their numbers:
 * what is printed would land in it, and detaching would replace it. */
static int occupy_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static void raise_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Signals are read from a descriptor. Blocked before the mount, so that none kills us between
 * mounting and serving; SIGHUP only when nobody (nohup) has it ignored. */
static int open_signals(int *ret_fd)
{
	struct sigaction old;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (!sigaction(SIGHUP, NULL, &old) && old.sa_handler != SIG_IGN)
		sigaddset(&set, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit of ours is EFBIG for the caller, and not our end */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	*ret_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

static int prepare_process(struct zcfs *zcfs)
{
	int err;

	raise_open_files();
	umask(0); /* the caller's comes with each request */
	err = open_signals(&zcfs->signal_fd);
	if (!err) {
		zcfs->ended_fd = eventfd(0, EFD_CLOEXEC);
		err = zcfs->ended_fd < 0 ? -errno : 0;
	}
	if (!err)
		return -1;
	log_error("waiting for signals: %s", strerror(-err));
	return EXIT_SIGNALS;
}

/* What a worker will find, found before the shell is told that all is well: a downgrade is logged,
 * and with io=fixed it is the end. */
static int try_worker(struct fs *fs)
{
	const struct pool_options pool_options = {
		.buffer_size = fs->options.max_write,
		.count = 1,
		.unregistered = fs->options.io == IO_PLAIN,
	};
	struct worker worker;
	bool registered;
	int err = worker_init(&worker, fs, &pool_options);

	if (err) {
		log_error("a worker cannot be set up: %s", strerror(-err));
		return EXIT_SETUP;
	}
	registered = pool_is_registered(worker.pool);
	worker_fini(&worker);
	if (fs->options.io != IO_FIXED || registered)
		return -1;
	log_error("io=fixed is asked for, and registered buffers cannot be had");
	return EXIT_SETUP;
}

static int prepare_fs(struct zcfs *zcfs)
{
	int err = fs_new(&zcfs->options, zcfs->mount.backing_fd, &zcfs->fs);

	if (err) {
		log_error("setting up: %s", strerror(-err));
		return EXIT_SETUP;
	}
	take_fd(&zcfs->mount.backing_fd);
	return try_worker(zcfs->fs);
}

static void adopt_mount(struct fs *fs, struct mount *mount)
{
	fs->device_fd = mount->device_fd;
	if (mount->inside) {
		fs->self_device = mount->device;
		fs->covered_fd = take_fd(&mount->covered_fd);
	}
	close_fd(&mount->covered_fd);
	mount->covered_fd = -1;
}

/* No thread and no ring may exist yet: fork(2) loses them. */
static int detach_from_shell(const struct options *options)
{
	if (fuse_daemonize(options->foreground)) {
		log_error("going into the background: %s", strerror(errno));
		return EXIT_DAEMONIZE;
	}
	log_open(!options->foreground, options->debug);
	return -1;
}

static void *watch_transport(void *argument)
{
	struct zcfs *zcfs = argument;

	zcfs->transport_result = transport_wait(zcfs->transport);
	eventfd_write(zcfs->ended_fd, 1);
	return NULL;
}

static int start_transport(struct zcfs *zcfs)
{
	int err = transport_start(zcfs->fs, zcfs->mount.device_fd, &zcfs->transport);

	if (err)
		return err;
	err = -pthread_create(&zcfs->watcher, NULL, watch_transport, zcfs);
	if (err) {
		transport_stop(zcfs->transport);
		transport_wait(zcfs->transport);
		transport_free(zcfs->transport);
		zcfs->transport = NULL;
	}
	return err;
}

static void stop_threads(struct fs *fs)
{
	lock_waiters_stop(fs->lock_waiters);
	copier_stop(fs->copier);
	fs->copier = NULL;
}

static int start_threads(struct zcfs *zcfs)
{
	struct fs *fs = zcfs->fs;
	int err = fs_after_fork(fs);

	if (!err)
		err = lock_waiters_new(fs, &fs->lock_waiters);
	if (!err)
		err = copier_start(fs, &fs->copier);
	if (!err)
		err = start_transport(zcfs);
	if (!err)
		return -1;
	log_error("starting: %s", strerror(-err));
	stop_threads(fs);
	return EXIT_SETUP;
}

/* The next thing that happens; detached_fd may be -1, timeout_ms too. */
static enum event next_event(const struct zcfs *zcfs, int detached_fd, int timeout_ms)
{
	struct pollfd fds[] = {
		{ .fd = zcfs->ended_fd, .events = POLLIN },
		{ .fd = zcfs->signal_fd, .events = POLLIN },
		{ .fd = detached_fd, .events = POLLIN },
	};
	struct signalfd_siginfo info;
	int n;

	do
		n = poll(fds, 3, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return EVENT_TIMEOUT;
	if (fds[0].revents)
		return EVENT_ENDED;
	if (!fds[1].revents)
		return EVENT_DETACHED;
	if (read(zcfs->signal_fd, &info, sizeof(info)) == sizeof(info))
		log_info("%s: %s", zcfs->options.mountpoint, strsignal((int)info.ssi_signo));
	return EVENT_SIGNAL;
}

/*
 * Unmounts with the help of those who serve. Returns EVENT_ENDED when that ended the connection,
 * EVENT_DETACHED when it did not because somebody still uses the mount, or what kept us from
 * finding out.
 */
static enum event unmount(struct zcfs *zcfs)
{
	CLEANUP_FD int detached_fd = -1;
	enum event event = EVENT_DETACHED;
	int err;

	if (!mount_is_attached(&zcfs->mount))
		return EVENT_DETACHED; /* somebody did that, lazily: it is still in use */
	err = mount_detach(&zcfs->mount, &zcfs->detacher, &detached_fd);
	if (err) {
		log_error("unmounting %s: %s", zcfs->options.mountpoint, strerror(-err));
		return EVENT_TIMEOUT;
	}
	event = next_event(zcfs, detached_fd, FLUSH_TIMEOUT_MS);
	if (event != EVENT_DETACHED)
		return event;
	event = next_event(zcfs, -1, END_TIMEOUT_MS);
	return event == EVENT_TIMEOUT ? EVENT_DETACHED : event;
}

/*
 * syncfs(2) of a FUSE filesystem sends WRITE requests but does not wait for their answers (Linux
 * fs/fuse/inode.c, fuse_sync_fs(), and since 6.16 fs/fs-writeback.c, wait_sb_inodes()): workers are
 * to stop when none is left.
 */
static enum event drain(const struct zcfs *zcfs)
{
	unsigned quiet = 0;

	for (unsigned ms = 0; ms < DRAIN_TIMEOUT_MS && quiet < DRAIN_QUIET; ms += DRAIN_STEP_MS) {
		enum event event = next_event(zcfs, -1, DRAIN_STEP_MS);

		if (event != EVENT_TIMEOUT)
			return event;
		quiet = transport_is_busy(zcfs->transport) ? 0 : quiet + 1;
	}
	return EVENT_TIMEOUT;
}

static void end_by_signal(struct zcfs *zcfs)
{
	const char *mountpoint = zcfs->options.mountpoint;
	enum event event = unmount(zcfs);

	if (event == EVENT_DETACHED) {
		log_warning("%s is still in use: open files there are cut off", mountpoint);
		event = drain(zcfs);
	} else if (event != EVENT_ENDED) {
		log_warning("%s: not waiting for dirty pages any longer", mountpoint);
	}
	if (event == EVENT_ENDED)
		return;
	inode_table_stop(zcfs->fs->inodes);
	transport_stop(zcfs->transport);
	if (next_event(zcfs, -1, -1) == EVENT_ENDED)
		return;
	log_error("%s: requests in flight are given up", mountpoint);
	_exit(EXIT_RUNTIME);
}

static int serve(struct zcfs *zcfs)
{
	const struct options *options = &zcfs->options;

	log_info("%s on %s", options->backing, options->mountpoint);
	if (next_event(zcfs, -1, -1) == EVENT_SIGNAL)
		end_by_signal(zcfs);
	pthread_join(zcfs->watcher, NULL);
	stop_threads(zcfs->fs);
	transport_free(zcfs->transport);
	if (!zcfs->transport_result)
		return EXIT_OK;
	log_error("the mount on %s ends: %s", options->mountpoint,
		  strerror(-zcfs->transport_result));
	return EXIT_RUNTIME;
}

/* From the mount to its end. */
static int run_mounted(struct zcfs *zcfs)
{
	int code;

	adopt_mount(zcfs->fs, &zcfs->mount);
	code = detach_from_shell(&zcfs->options);
	if (code < 0)
		code = start_threads(zcfs);
	if (code < 0)
		code = serve(zcfs);
	/* After an error the mount is still there. Nobody serves it, so the detacher gets no
	 * further than our closing of the device. */
	if (code != EXIT_OK && !zcfs->detacher && mount_is_attached(&zcfs->mount)) {
		CLEANUP_FD int detached_fd = -1;

		mount_detach(&zcfs->mount, &zcfs->detacher, &detached_fd);
	}
	return code;
}

static void fini(struct zcfs *zcfs)
{
	if (zcfs->fs)
		lock_waiters_free(zcfs->fs->lock_waiters);
	fs_free(zcfs->fs);
	mount_fini(&zcfs->mount);
	if (zcfs->detacher > 0)
		waitpid(zcfs->detacher, NULL, 0);
	close_fd(&zcfs->signal_fd);
	close_fd(&zcfs->ended_fd);
	options_fini(&zcfs->options);
}

static int run(struct zcfs *zcfs)
{
	int code;

	log_open(false, zcfs->options.debug);
	code = prepare_process(zcfs);
	if (code < 0)
		code = mount_prepare(&zcfs->mount, &zcfs->options);
	if (code < 0)
		code = prepare_fs(zcfs);
	if (code < 0)
		code = mount_attach(&zcfs->mount, &zcfs->options);
	if (code < 0)
		code = run_mounted(zcfs);
	return code;
}

int main(int argc, char **argv)
{
	struct zcfs zcfs = {
		.mount = { .backing_fd = -1, .covered_fd = -1, .device_fd = -1 },
		.ended_fd = -1,
		.signal_fd = -1,
	};
	int code;

	if (occupy_standard_fds())
		return EXIT_SETUP;
	if (argc > 1 && !strcmp(argv[1], "status"))
		return status_main(argc - 1, argv + 1);
	code = remount(argc, argv);
	if (code < 0)
		code = options_parse(&zcfs.options, argc, argv);
	if (code < 0)
		code = run(&zcfs);
	fini(&zcfs);
	return code;
}
