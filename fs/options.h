/* SPDX-License-Identifier: MIT */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

/*
 * The command line, read by libfuse's fuse_opt: every option of ours works as --name=value and as
 * -o name=value (fstab), mount options that the kernel or fusermount3 know are passed on, and
 * unknown ones are errors.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum io_mode {
	IO_AUTO, /* registered buffers where they can be had, else plain */
	IO_FIXED, /* registered buffers, or zcfs does not start */
	IO_MIXED, /* registered buffers, but small writes by pwrite(2) out of them */
	IO_PLAIN, /* pread(2)/pwrite(2) with the same buffers, to compare */
};

enum copy_mode {
	COPY_AUTO, /* whatever moves least, by what the files and their filesystems are */
	COPY_CLONE, /* by sharing blocks, or not at all */
	COPY_DIRECT, /* around the page cache, as far as it can be */
	COPY_FIXED, /* always through the buffers */
	COPY_KERNEL, /* copy_file_range(2) on the backing files, to compare */
};

enum cache_mode {
	CACHE_AUTO, /* keep pages while mtime, ctime and size of the backing file are what they were
		     */
	CACHE_ALWAYS, /* keep pages whatever happens in the backing directory */
	CACHE_NEVER, /* no page cache at the mount: FOPEN_DIRECT_IO */
};

enum lock_mode {
	LOCKS_LOCAL, /* the kernel keeps flock and POSIX locks; they meet only inside the mount */
	LOCKS_FORWARD, /* they are taken on the backing files too */
};

enum transport_mode {
	TRANSPORT_AUTO, /* io_uring where the kernel has it, else /dev/fuse */
	TRANSPORT_URING, /* the same today: what is missing is a downgrade */
	TRANSPORT_DEV, /* /dev/fuse alone */
};

enum zerocopy_option {
	ZEROCOPY_AUTO, /* over io_uring, where the kernel has it and we may */
	ZEROCOPY_OFF,
};

enum passthrough_option {
	PASSTHROUGH_OPTION_OFF, /* data goes through the pool */
	PASSTHROUGH_OPTION_RO, /* the kernel reads what is open for reading by itself */
	PASSTHROUGH_OPTION_RW, /* and writes */
};

struct options {
	/* Both absolute, as realpath(3) gives them; as given where that fails, and mount_prepare()
	 * tells why. */
	char *backing;
	char *mountpoint;
	char *kernel_options; /* for fuse_open_channel(): comma-separated */
	bool foreground; /* -f, -d */
	bool debug; /* -d, -o debug */
	bool allow_other;
	bool read_only;
	bool noatime; /* reading a file leaves its access time as it is */
	bool nodiratime; /* the same of directories alone */
	bool auto_unmount;

	enum io_mode io;
	enum cache_mode cache;
	enum lock_mode locks;
	enum transport_mode transport;
	enum zerocopy_option zerocopy;
	enum passthrough_option passthrough;
	bool writeback;
	double attr_timeout; /* seconds */
	double entry_timeout; /* seconds */
	double negative_timeout; /* seconds */

	unsigned threads; /* request workers at most */
	size_t max_write; /* bytes of payload of a request, and of a worker's buffer */
	enum copy_mode copy;
	unsigned copy_threads; /* copies in flight at most */
	size_t copy_buffer_size; /* bytes */
	unsigned copy_buffers; /* per copy thread */
	uint64_t copy_max; /* data bytes that one copy_file_range request moves at most */

	char *control; /* name of the control directory, NULL for none */
};

/* The exit codes of mount.fuse3 and of fuse_main(), see libfuse 3.14, include/fuse.h. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_USAGE = 1, /* invalid option arguments */
	EXIT_NO_MOUNTPOINT = 2, /* no mount point, or no backing directory, specified */
	EXIT_SETUP = 3, /* setting up failed */
	EXIT_MOUNT = 4, /* mounting failed */
	EXIT_DAEMONIZE = 5, /* detaching failed */
	EXIT_SIGNALS = 6, /* setting up signal handlers failed */
	EXIT_RUNTIME = 7, /* an error during the life of the filesystem */
};

/*
 * Reads the command line into options. Returns -1 when the program should go on, or the code to
 * exit with: -h and -V have then been answered on stdout, an error has been explained on stderr.
 * options_fini() either way.
 */
int options_parse(struct options *options, int argc, char **argv);
void options_fini(struct options *options);

/* The values' names, by the enums above; NULL ends each. */
extern const char *const options_io_names[];
extern const char *const options_copy_names[];
extern const char *const options_cache_names[];
extern const char *const options_lock_names[];

/* The bytes that all request workers together may register: RLIMIT_MEMLOCK, of which the copiers
 * take their part, or UINT64_MAX where it does not count. */
uint64_t options_lockable(void);

#endif
