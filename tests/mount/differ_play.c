/* SPDX-License-Identifier: MIT */
/*
 * One run: fresh directories on both sides, fresh processes, steps, comparisons.
 */
#include "differ.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NATIVE 0
#define MOUNT  1

_Noreturn void differ_give_up(const char *what)
{
	fprintf(stderr, "differ: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* ---- beginning and end ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

/* Directories that a user of ours has closed to us are opened first. */
static int open_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	if (type == FTW_D || type == FTW_DNR)
		chmod(path, 0700);
	return 0;
}

static void remove_tree(const char *directory)
{
	nftw(directory, open_one, 16, FTW_PHYS);
	nftw(directory, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

static void start_side(struct differ *differ, struct side *side)
{
	snprintf(side->directory, sizeof(side->directory), "%s/run-%u", side->top, differ->runs);
	if (mkdir(side->directory, 0777) || chmod(side->directory, 0777))
		differ_give_up(side->directory);
	for (unsigned i = 0; i < PROCESSES; i++)
		if (actor_start(&side->link[i], side->directory, i, &differ->rules))
			differ_give_up("fork");
}

static void end_side(struct differ *differ, struct side *side)
{
	for (unsigned i = 0; i < PROCESSES; i++)
		actor_end(&side->link[i]);
	if (!differ->keep)
		remove_tree(side->directory);
}

/* ---- steps ---- */

/* Times are told apart by the clock that the kernel stamps files with. */
static void wait_for_another_time(void)
{
	struct timespec before, now;

	clock_gettime(CLOCK_REALTIME_COARSE, &before);
	do
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

static bool order_both(struct differ *differ, unsigned process, enum order order,
		       const struct step *step)
{
	bool alive = true;

	for (unsigned i = 0; i < 2; i++)
		if (!actor_order(&differ->side[i].link[process], order, step, differ->text[i])) {
			text_add(differ->text[i], "the process has died\n");
			alive = false;
		}
	return alive;
}

static bool is_same(const struct differ *differ)
{
	return !strcmp(differ->text[NATIVE]->data, differ->text[MOUNT]->data);
}

static void clear_texts(struct differ *differ)
{
	text_clear(differ->text[NATIVE]);
	text_clear(differ->text[MOUNT]);
}

static bool make_step(struct differ *differ, const struct step *step)
{
	clear_texts(differ);
	differ->steps_made++;
	if (step->timed) {
		if (!order_both(differ, OBSERVER, ORDER_BEFORE, step))
			return false;
		wait_for_another_time();
	}
	if (!order_both(differ, step->actor, ORDER_STEP, step))
		return false;
	if ((step->look || step->timed) && !order_both(differ, OBSERVER, ORDER_LOOK, step))
		return false;
	return is_same(differ);
}

static bool compare_with_backing(struct differ *differ)
{
	char backing[sizeof(differ->side[0].directory)];

	if (!differ->backing)
		return true;
	snprintf(backing, sizeof(backing), "%s/run-%u", differ->backing, differ->runs);
	return look_is_exact(&differ->rules, differ->side[MOUNT].directory, backing,
			     differ->text[MOUNT], differ->text[NATIVE]);
}

static bool compare_trees(struct differ *differ)
{
	clear_texts(differ);
	if (!order_both(differ, OBSERVER, ORDER_TREE, NULL) || !is_same(differ))
		return false;
	if (differ->rules.writeback) {
		clear_texts(differ);
		if (!order_both(differ, OBSERVER, ORDER_SYNC, NULL))
			return false;
	}
	return compare_with_backing(differ);
}

static bool has_succeeded(const struct differ *differ)
{
	const char *result = strstr(differ->text[NATIVE]->data, " = ");

	return result && strncmp(result, " = -1", 5) != 0;
}

long differ_play(struct differ *differ, struct step *steps, unsigned count,
		 struct generator *generator)
{
	int native_fd;
	long result = SAME;

	differ->runs++;
	start_side(differ, &differ->side[NATIVE]);
	start_side(differ, &differ->side[MOUNT]);
	native_fd = open(differ->side[NATIVE].directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < count && result == SAME; i++) {
		const bool last = i + 1 == count;

		if (generator)
			generator_make(generator, &steps[i]);
		if (!make_step(differ, &steps[i])) {
			result = (long)i;
			break;
		}
		if (generator)
			generator_learn(generator, &steps[i], has_succeeded(differ), native_fd);
		if ((last || (i + 1) % differ->tree_every == 0) && !compare_trees(differ))
			result = (long)i;
	}
	close(native_fd);
	end_side(differ, &differ->side[MOUNT]);
	end_side(differ, &differ->side[NATIVE]);
	return result;
}
