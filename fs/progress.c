/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <string.h>

#define PAUSE_MAX 2 /* seconds between two requests of one copy */

static double seconds_since(const struct timespec *then)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - then->tv_sec) + (double)(now.tv_nsec - then->tv_nsec) / 1e9;
}

static void forget(struct progress_list *list, unsigned index)
{
	list->count--;
	memmove(&list->kept[index], &list->kept[index + 1],
		(list->count - index) * sizeof(list->kept[0]));
}

/* Takes the copy between the same open files off the list. */
static bool take(struct progress_list *list, const struct progress *progress,
		 struct progress *ret_kept)
{
	for (unsigned i = 0; i < list->count; i++) {
		if (list->kept[i].src != progress->src || list->kept[i].dst != progress->dst)
			continue;
		*ret_kept = list->kept[i];
		forget(list, i);
		return true;
	}
	return false;
}

bool progress_resume(struct progress_list *list, struct progress *progress)
{
	struct progress kept;

	if (!take(list, progress, &kept) || kept.shift != progress->shift ||
	    progress->next < kept.next || seconds_since(&kept.paused) >= PAUSE_MAX)
		return false;
	progress->first = kept.first;
	progress->started = kept.started;
	if (progress->end > kept.end)
		progress->end = progress->source_end;
	else
		progress->end = kept.end;
	if (progress->end > progress->source_end)
		progress->end = progress->source_end;
	return true;
}

void progress_pause(struct progress_list *list, const struct progress *progress)
{
	struct progress *kept;

	if (progress->next >= progress->source_end)
		return;
	if (list->count == PROGRESS_KEPT_MAX)
		forget(list, 0);
	kept = &list->kept[list->count++];
	*kept = *progress;
	clock_gettime(CLOCK_MONOTONIC, &kept->paused);
}

bool progress_is_going_on(const struct progress *progress)
{
	return progress->next < progress->end && seconds_since(&progress->paused) < PAUSE_MAX;
}

double progress_seconds(const struct progress *progress)
{
	return seconds_since(&progress->started);
}
