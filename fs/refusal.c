/* SPDX-License-Identifier: MIT */
#include "refusal.h"

#include <time.h>

#define LIFETIME 60 /* seconds */

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
	return time.tv_sec;
}

void refusals_init(struct refusals *refusals)
{
	*refusals = (struct refusals){ .next = 0 };
	pthread_mutex_init(&refusals->lock, NULL);
}

void refusals_fini(struct refusals *refusals)
{
	pthread_mutex_destroy(&refusals->lock);
}

void refusal_note(struct refusals *refusals, enum refusal what, dev_t from, dev_t to)
{
	unsigned i;

	if (refusal_is_known(refusals, what, from, to))
		return;
	pthread_mutex_lock(&refusals->lock);
	i = refusals->next++ % REFUSALS;
	refusals->entry[i].what = what;
	refusals->entry[i].from = from;
	refusals->entry[i].to = to;
	refusals->entry[i].until = now() + LIFETIME;
	pthread_mutex_unlock(&refusals->lock);
}

bool refusal_is_known(struct refusals *refusals, enum refusal what, dev_t from, dev_t to)
{
	bool known = false;

	pthread_mutex_lock(&refusals->lock);
	for (unsigned i = 0; i < REFUSALS && !known; i++)
		known = refusals->entry[i].what == what && refusals->entry[i].from == from &&
			refusals->entry[i].to == to && refusals->entry[i].until > now();
	pthread_mutex_unlock(&refusals->lock);
	return known;
}
