/* SPDX-License-Identifier: MIT */
/*
 * swap DIRECTORY ARENA CANARY COUNT
 *
 * One process exchanges DIRECTORY/a, a directory, and DIRECTORY/b, a symbolic link to CANARY, all
 * the time; another makes COUNT rounds of every operation below ARENA/a as an ordinary user.
 * DIRECTORY and ARENA are one directory, behind the mount and at it. Operations may fail as they
 * like. Ends with 1 when the swapper has not lived to the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define VICTIM 62001

/* What the two processes share. */
struct shared {
	unsigned long swaps;
	int stop;
};

static _Noreturn void swap_until_told(struct shared *shared)
{
	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
		if (renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) != 0)
			_exit(1);
		__atomic_fetch_add(&shared->swaps, 1, __ATOMIC_RELAXED);
	}
	_exit(0);
}

static void write_to(const char *name, int flags)
{
	int fd = open(name, flags | O_NOFOLLOW, 0666);

	if (fd < 0)
		return;
	if (write(fd, "hostile", 7) != 7 || ftruncate(fd, 3) != 0 || fchmod(fd, 0666) != 0)
		errno = 0; /* as it may */
	close(fd);
}

static int one_round(void)
{
	char data[64];
	int done = 0;

	write_to("a/file", O_RDWR);
	write_to("a/new", O_RDWR | O_CREAT);
	done += unlink("a/new") == 0;
	done += mkdir("a/dir", 0777) == 0;
	done += rmdir("a/dir") == 0;
	done += mknod("a/node", S_IFREG | 0666, 0) == 0;
	done += link("a/node", "a/link") == 0;
	done += symlink("x", "a/symlink") == 0;
	done += rename("a/node", "a/moved") == 0;
	done += chmod("a/moved", 0600) == 0;
	done += truncate("a/moved", 100) == 0;
	done += utimensat(AT_FDCWD, "a/moved", NULL, 0) == 0;
	done += setxattr("a/moved", "user.x", "1", 1, 0) == 0;
	done += removexattr("a/moved", "user.x") == 0;
	done += getxattr("a/file", "user.x", data, sizeof(data)) >= 0;
	done += readlink("a/symlink", data, sizeof(data)) > 0;
	done += unlink("a/moved") == 0;
	done += unlink("a/link") == 0;
	done += unlink("a/symlink") == 0;
	done += rename("a/../a/file", "a/../a/file") == 0;
	done += unlink("a/canary") == 0;
	done += rename("a/canary", "a/stolen") == 0;
	return done;
}

int main(int argc, char **argv)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned long done = 0;
	int pid, status;

	if (argc != 5 || shared == MAP_FAILED || chdir(argv[1]) || symlink(argv[3], "b"))
		return 2;
	pid = fork();
	if (pid == 0)
		swap_until_told(shared);
	if (pid > 0 && !chdir(argv[2]) && !setgid(VICTIM) && !setuid(VICTIM))
		for (long i = 0; i < atol(argv[4]); i++)
			done += (unsigned long)one_round();
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
	if (waitpid(pid, &status, 0) != pid || status != 0 || shared->swaps == 0) {
		fprintf(stderr, "the swapper did not live to the end\n");
		return 1;
	}
	printf("%lu swaps, %lu operations succeeded\n", shared->swaps, done);
	return done == 0;
}
