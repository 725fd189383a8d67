/* SPDX-License-Identifier: MIT */
#include "interrupt.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"
#include "copier.h"
#include "fs.h"
#include "ops.h"
#include "request.h"

void interrupt_table_init(struct interrupt_table *table)
{
	*table = (struct interrupt_table){ .first = NULL };
	pthread_mutex_init(&table->lock, NULL);
}

void interrupt_table_fini(struct interrupt_table *table)
{
	assert(!table->first);
	pthread_mutex_destroy(&table->lock);
}

/* Whether unique was interrupted before; forgets it then. 0 marks a free place and is no request's
 * number. */
static bool take_early(struct interrupt_table *table, uint64_t unique)
{
	if (!unique)
		return false;
	for (unsigned i = 0; i < INTERRUPT_EARLY; i++) {
		if (table->early[i] != unique)
			continue;
		table->early[i] = 0;
		return true;
	}
	return false;
}

void interrupt_register(struct interrupt_table *table, struct interruptible *interruptible)
{
	pthread_mutex_lock(&table->lock);
	interruptible->next = table->first;
	table->first = interruptible;
	if (take_early(table, interruptible->unique))
		interruptible->interrupt(interruptible);
	pthread_mutex_unlock(&table->lock);
}

void interrupt_unregister(struct interrupt_table *table, struct interruptible *interruptible)
{
	struct interruptible **link = &table->first;

	pthread_mutex_lock(&table->lock);
	while (*link && *link != interruptible)
		link = &(*link)->next;
	assert(*link);
	*link = interruptible->next;
	pthread_mutex_unlock(&table->lock);
}

static struct interruptible *find(struct interrupt_table *table, uint64_t unique)
{
	struct interruptible *found = table->first;

	while (found && found->unique != unique)
		found = found->next;
	return found;
}

/*
 * Most interrupts are for requests that are not listening and will be answered in a moment; their
 * numbers push the older ones out of the ring. The kernel never uses a number twice.
 */
static void interrupt(struct interrupt_table *table, uint64_t unique)
{
	struct interruptible *found;

	pthread_mutex_lock(&table->lock);
	found = find(table, unique);
	if (found)
		found->interrupt(found);
	else
		table->early[table->early_next++ % INTERRUPT_EARLY] = unique;
	pthread_mutex_unlock(&table->lock);
}

/* A signal that ends the process, but for one that leaves a core, becomes a SIGKILL that is pending
 * for each of its threads at once (Linux 6.18 kernel/signal.c, complete_signal()). */
bool interrupt_is_fatal(const struct fuse_in_header *in)
{
	CLEANUP_FREE char *line = NULL;
	uint64_t pending = 0;
	size_t size = 0;
	char path[32];
	FILE *status;

	if (!in->pid)
		return false;
	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/status", in->pid);
	status = fopen(path, "re");
	if (!status)
		return false;
	while (getline(&line, &size, status) > 0 && sscanf(line, "SigPnd: %" SCNx64, &pending) != 1)
		;
	fclose(status);
	return pending >> (SIGKILL - 1) & 1;
}

/* No reply: the interrupted request gets it. (EAGAIN would ask the kernel to send the interrupt
 * once more, Linux fs/fuse/dev.c; remembering it needs no second round.) */
void op_interrupt(struct request *request)
{
	const struct fuse_interrupt_in *in = request->argument;

	interrupt(&request->fs->interrupts, in->unique);
	copier_refuse_killed(request->fs->copier);
	request_finish(request);
}
