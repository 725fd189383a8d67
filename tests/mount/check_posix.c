/* SPDX-License-Identifier: MIT */

/* Errors, times and rights of POSIX's calls on files. See posix.h. */

#include "posix.h"

static const struct posix_group *const groups[] = {
	&posix_paths,
	&posix_names,
	&posix_attr,
};

int main(int argc, char **argv)
{
	struct check checks[128];
	size_t count = 0;

	for (size_t i = 0; i < COUNT_OF(groups); i++)
		for (size_t j = 0; j < groups[i]->count; j++) {
			if (count == COUNT_OF(checks))
				abort();
			checks[count++] = groups[i]->checks[j];
		}
	return check_main(argc, argv, checks, count);
}
