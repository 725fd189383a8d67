/* SPDX-License-Identifier: MIT */
/*
 * differ [OPTION...] NATIVE MOUNT
 *
 *     --seed N --steps N     the same numbers make the same steps (1, 1000)
 *     --backing DIR          behind MOUNT: its attributes must be the mount's
 *     --filesystem NAME      of both (ext4)
 *     --cache MODE           auto, always or never, as of zcfs
 *     --writeback
 *     --passthrough
 *     --atime              is to be compared, too: of directories, and of files with --cache never
 *     --no-shrink            show the whole sequence that fails
 *
 * differ --trees A B         compares two trees as they are
 *
 * Exit code 0: the same. 1: not, and the shortest sequence of steps found that shows it was
 * printed.
 */
#include "differ.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHOWN_WHOLE 4096 /* bytes of a text of which all lines are shown */

struct arguments {
	uint64_t seed;
	unsigned steps;
	bool shrink;
	bool trees;
};

static void parse_word(struct differ *differ, struct arguments *arguments, int option)
{
	struct rules *rules = &differ->rules;

	switch (option) {
	case 's':
		arguments->seed = strtoull(optarg, NULL, 0);
		return;
	case 'n':
		arguments->steps = (unsigned)strtoul(optarg, NULL, 0);
		return;
	case 'b':
		differ->backing = optarg;
		return;
	case 'f':
		rules->ext4 = !strcmp(optarg, "ext4");
		rules->xfs = !strcmp(optarg, "xfs");
		rules->btrfs = !strcmp(optarg, "btrfs");
		return;
	case 'c':
		rules->cache_never = !strcmp(optarg, "never");
		return;
	case 'w':
		rules->writeback = true;
		return;
	case 'p':
		rules->passthrough = true;
		return;
	case 'a':
		rules->atime = true;
		return;
	case 'S':
		arguments->shrink = false;
		return;
	case 't':
		arguments->trees = true;
		return;
	default:
		exit(2);
	}
}

static void parse(struct differ *differ, struct arguments *arguments, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "steps", required_argument, NULL, 'n' },
		{ "backing", required_argument, NULL, 'b' },
		{ "filesystem", required_argument, NULL, 'f' },
		{ "cache", required_argument, NULL, 'c' },
		{ "writeback", no_argument, NULL, 'w' },
		{ "passthrough", no_argument, NULL, 'p' },
		{ "atime", no_argument, NULL, 'a' },
		{ "no-shrink", no_argument, NULL, 'S' },
		{ "trees", no_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		parse_word(differ, arguments, option);
	if (argc - optind != 2 || !arguments->steps) {
		fprintf(stderr, "usage: differ [OPTION...] NATIVE MOUNT\n");
		exit(2);
	}
	differ->side[0].top = argv[optind];
	differ->side[1].top = argv[optind + 1];
}

/* The lines of a step's two texts, and those of whole trees that are not equal. */
static void show_difference(const struct differ *differ)
{
	const char *native = differ->text[0]->data, *mounted = differ->text[1]->data;

	while (*native || *mounted) {
		const int a = (int)strcspn(native, "\n"), b = (int)strcspn(mounted, "\n");

		if (a != b || memcmp(native, mounted, (size_t)a) != 0)
			printf("    native  %.*s\n    mount   %.*s\n", a, native, b, mounted);
		else if (differ->text[0]->size < SHOWN_WHOLE)
			printf("    both    %.*s\n", a, native);
		native += native[a] ? a + 1 : a;
		mounted += mounted[b] ? b + 1 : b;
	}
}

static int report(struct differ *differ, const struct arguments *arguments, struct step *steps,
		  unsigned count)
{
	printf("differ: the sides differ after step %u of seed %llu:\n", count,
	       (unsigned long long)arguments->seed);
	step_print(&steps[count - 1], stdout);
	show_difference(differ);
	if (arguments->shrink) {
		count = differ_shrink(differ, steps, count);
		printf("the shortest sequence found:\n");
	} else {
		printf("all steps:\n");
	}
	for (unsigned i = 0; i < count; i++) {
		printf("  ");
		step_print(&steps[i], stdout);
	}
	if (arguments->shrink) {
		if (differ_play(differ, steps, count, NULL) == SAME)
			printf("it does not show the difference each time\n");
		show_difference(differ);
	}
	return 1;
}

static int differ_at_random(struct differ *differ, const struct arguments *arguments)
{
	struct step *steps = calloc(arguments->steps, sizeof(*steps));
	static struct generator generator;
	long differs;

	if (!steps)
		differ_give_up("calloc");
	generator_init(&generator, arguments->seed, &differ->rules);
	differ->keep = true;
	differs = differ_play(differ, steps, arguments->steps, &generator);
	differ->keep = false;
	if (differs != SAME)
		report(differ, arguments, steps, (unsigned)differs + 1);
	else
		printf("differ: seed %llu, %lu steps, no difference\n",
		       (unsigned long long)arguments->seed, differ->steps_made);
	free(steps);
	return differs != SAME;
}

static int differ_trees(struct differ *differ)
{
	for (unsigned i = 0; i < 2; i++) {
		int fd = open(differ->side[i].top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			differ_give_up(differ->side[i].top);
		look_at_tree(&differ->rules, fd, differ->text[i]);
		close(fd);
	}
	if (!strcmp(differ->text[0]->data, differ->text[1]->data))
		return 0;
	show_difference(differ);
	return 1;
}

int main(int argc, char **argv)
{
	static struct text texts[2];
	static struct differ differ = {
		.rules = { .ext4 = true },
		.text = { &texts[0], &texts[1] },
		.tree_every = 250,
	};
	struct arguments arguments = { .seed = 1, .steps = 1000, .shrink = true };

	umask(022);
	differ.rules.root = geteuid() == 0;
	parse(&differ, &arguments, argc, argv);
	return arguments.trees ? differ_trees(&differ) : differ_at_random(&differ, &arguments);
}
