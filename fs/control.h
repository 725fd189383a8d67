/* SPDX-License-Identifier: MIT */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

/*
 * The control directory: .zcfs at the root of the mount, not listed, for the owner of the mount and
 * root only.
 *
 *     stats    counters in the Prometheus text format
 *     status   one readable page: transport, kernel features, pool, downgrades and why
 *     copies   copies in flight
 *
 * Each is a text made when it is opened. It shadows an entry of the same name in the backing
 * directory.
 */

#include <stdbool.h>

#include "request.h"

/* Whether the request is about the control directory: then control_dispatch() answers it, before
 * any other handler sees it. */
bool control_owns(const struct request *request);
void control_dispatch(struct request *request);

#endif
