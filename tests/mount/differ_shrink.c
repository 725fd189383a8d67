/* SPDX-License-Identifier: MIT */
/*
 * Delta debugging: pieces are taken out, larger ones first, and stay out when the sides differ
 * without them too.
 */
#include "differ.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS_MAX    400
#define SECONDS_MAX 30

static bool is_time_over(const struct differ *differ)
{
	return differ->runs >= RUNS_MAX || time(NULL) > differ->shrink_until;
}

/* Tries the steps without those from first on, count of them. Returns how many are left when the
 * sides still differ, else 0. */
static unsigned try_without(struct differ *differ, const struct step *steps, unsigned total,
			    unsigned first, unsigned count, struct step *ret_steps)
{
	const unsigned left = total - count;
	long differs;

	memcpy(ret_steps, steps, first * sizeof(*steps));
	memcpy(ret_steps + first, steps + first + count, (left - first) * sizeof(*steps));
	differs = left ? differ_play(differ, ret_steps, left, NULL) : SAME;
	/* Another difference is another story. */
	if (differs == SAME || ret_steps[differs].call != steps[total - 1].call)
		return 0;
	return (unsigned)differs + 1;
}

static unsigned take_out(struct differ *differ, struct step *steps, unsigned total, unsigned piece,
			 struct step *trial)
{
	for (unsigned end = total; end > 0 && !is_time_over(differ);) {
		const unsigned first = end > piece ? end - piece : 0;
		unsigned left = try_without(differ, steps, total, first, end - first, trial);

		if (left) {
			memcpy(steps, trial, left * sizeof(*steps));
			total = left;
		}
		end = first < total ? first : total;
	}
	return total;
}

unsigned differ_shrink(struct differ *differ, struct step *steps, unsigned count)
{
	struct step *trial = calloc(count, sizeof(*trial));
	unsigned before;

	if (!trial)
		differ_give_up("calloc");
	differ->shrink_until = time(NULL) + SECONDS_MAX;
	for (unsigned piece = count / 2; piece > 1; piece /= 2)
		count = take_out(differ, steps, count, piece, trial);
	do {
		before = count;
		count = take_out(differ, steps, count, 1, trial);
	} while (count < before && !is_time_over(differ));
	free(trial);
	return count;
}
