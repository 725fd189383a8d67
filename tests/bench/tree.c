/* SPDX-License-Identifier: MIT */

/*
 * tree fill DIRECTORY COUNT BYTES          files of so many random bytes, a hundred to a directory
 * tree mixed DIRECTORY COUNT               files of a few bytes to a megabyte, most of them small
 * tree create|stat|list|rename|remove DIRECTORY COUNT
 *
 * What a benchmark does with many files, without a process for each: makes them (512 bytes each, on
 * "create"), asks for their attributes, lists all directories with attributes as ls -l does,
 * renames each within its directory, removes them and the directories. The same count means the
 * same names; "remove" finds them after "rename". Ends with 1 and a message when a call fails, or
 * when "list" finds another number of files.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PER_DIRECTORY 100
#define CREATED_SIZE  512
#define SIZE_MAX_LOG2 20 /* of mixed files */

struct tree {
	int fd; /* of the directory that holds it */
	unsigned long count; /* files */
	size_t size; /* bytes of each; 0: mixed */
	uint64_t random; /* state */
	char data[1 << SIZE_MAX_LOG2];
};

static void die(const char *what, const char *name)
{
	fprintf(stderr, "tree: %s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

/* xorshift64: the same on every machine. */
static uint64_t next_random(struct tree *tree)
{
	tree->random ^= tree->random << 13;
	tree->random ^= tree->random >> 7;
	tree->random ^= tree->random << 17;
	return tree->random;
}

static void fill_data(struct tree *tree, size_t size)
{
	for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
		uint64_t word = next_random(tree);

		memcpy(tree->data + i, &word, sizeof(word));
	}
}

struct name {
	char text[48];
};

static struct name directory_name(unsigned long i)
{
	struct name name;

	snprintf(name.text, sizeof(name.text), "d%lu", i / PER_DIRECTORY);
	return name;
}

static struct name file_name(unsigned long i, bool renamed)
{
	struct name name;

	snprintf(name.text, sizeof(name.text), "d%lu/%s%lu", i / PER_DIRECTORY,
		 renamed ? "renamed" : "f", i);
	return name;
}

/* Half of them below 4 KiB, one in thirty above 256 KiB. */
static size_t mixed_size(struct tree *tree)
{
	unsigned log2 = 6 + (unsigned)(next_random(tree) % 7);

	while (log2 < SIZE_MAX_LOG2 && next_random(tree) % 5 < 3)
		log2++;
	return ((size_t)1 << (log2 - 1)) + next_random(tree) % ((size_t)1 << (log2 - 1));
}

static void write_file(struct tree *tree, const char *name, size_t size)
{
	int fd = openat(tree->fd, name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (fd < 0)
		die("creating", name);
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, tree->data + done, size - done);

		if (n < 0)
			die("writing", name);
		done += (size_t)n;
	}
	if (close(fd))
		die("closing", name);
}

static void create_all(struct tree *tree)
{
	for (unsigned long i = 0; i < tree->count; i++) {
		size_t size = tree->size ? tree->size : mixed_size(tree);

		if (i % PER_DIRECTORY == 0 && mkdirat(tree->fd, directory_name(i).text, 0755))
			die("making", directory_name(i).text);
		if (i == 0 || size != CREATED_SIZE)
			fill_data(tree, size);
		write_file(tree, file_name(i, false).text, size);
	}
}

static void stat_all(struct tree *tree)
{
	struct stat st;

	for (unsigned long i = 0; i < tree->count; i++)
		if (fstatat(tree->fd, file_name(i, false).text, &st, AT_SYMLINK_NOFOLLOW))
			die("stat of", file_name(i, false).text);
}

static unsigned long list_one(const struct tree *tree, const char *name)
{
	int fd = openat(tree->fd, name, O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	unsigned long found = 0;
	struct dirent *entry;
	struct stat st;

	if (!dir)
		die("opening", name);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			die("stat of", entry->d_name);
		found++;
	}
	closedir(dir);
	return found;
}

static void list_all(struct tree *tree)
{
	unsigned long found = 0;

	for (unsigned long i = 0; i < tree->count; i += PER_DIRECTORY)
		found += list_one(tree, directory_name(i).text);
	if (found != tree->count) {
		fprintf(stderr, "tree: %lu files are listed, not %lu\n", found, tree->count);
		exit(1);
	}
}

static void rename_all(struct tree *tree)
{
	for (unsigned long i = 0; i < tree->count; i++)
		if (renameat(tree->fd, file_name(i, false).text, tree->fd, file_name(i, true).text))
			die("renaming", file_name(i, false).text);
}

static void remove_all(struct tree *tree)
{
	for (unsigned long i = 0; i < tree->count; i++) {
		if (unlinkat(tree->fd, file_name(i, true).text, 0))
			die("removing", file_name(i, true).text);
		if ((i + 1 == tree->count || (i + 1) % PER_DIRECTORY == 0) &&
		    unlinkat(tree->fd, directory_name(i).text, AT_REMOVEDIR))
			die("removing", directory_name(i).text);
	}
}

static const struct {
	const char *name;
	void (*run)(struct tree *tree);
} commands[] = {
	{ "fill", create_all },	  { "mixed", create_all }, { "create", create_all },
	{ "stat", stat_all },	  { "list", list_all },	   { "rename", rename_all },
	{ "remove", remove_all },
};

int main(int argc, char **argv)
{
	static struct tree tree = { .size = CREATED_SIZE, .random = 88172645463325252 };

	if (argc < 4)
		return 2;
	tree.fd = open(argv[2], O_RDONLY | O_DIRECTORY);
	tree.count = strtoul(argv[3], NULL, 10);
	if (tree.fd < 0)
		die("opening", argv[2]);
	if (!strcmp(argv[1], "mixed"))
		tree.size = 0;
	else if (argc > 4)
		tree.size = strtoul(argv[4], NULL, 10);
	if (tree.size > sizeof(tree.data))
		return 2;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(argv[1], commands[i].name)) {
			commands[i].run(&tree);
			return 0;
		}
	}
	return 2;
}
