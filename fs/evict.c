/* SPDX-License-Identifier: MIT */
#include "evict.h"

#include <time.h>

#include "inode_table.h"
#include "notify.h"

#define EVICT_BATCH 64
#define WAITS_MAX   4 /* moments that a lookup waits for room */

static unsigned choose_victims(struct inode_table *table, uint64_t nodeids[EVICT_BATCH])
{
	unsigned n = 0;
	struct inode *next;

	for (struct inode *inode = table->oldest; inode && n < EVICT_BATCH; inode = next) {
		next = inode->newer;
		if (!inode_is_idle(inode) || inode->handle)
			continue;
		nodeids[n++] = inode->nodeid;
	}
	/* Those the kernel is still using stay: next time others are asked for first. */
	for (unsigned i = 0; i < n; i++)
		table_touch(table, table_find(table, nodeids[i]));
	return n;
}

static void wait_a_moment(struct inode_table *table)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 5 * 1000 * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&table->roomier, &table->lock, &until);
}

bool evict_is_due(const struct inode_table *table)
{
	return table->evict_now || table->kept_count > table->fd_limit - table->fd_limit / 4;
}

/*
 * One round asks for a batch; the FORGETs arrive on the workers. When it brought nothing, all that
 * is left is in use, and the next round waits until another inode was added.
 */
static void *evictor_main(void *argument)
{
	struct inode_table *table = argument;
	uint64_t nodeids[EVICT_BATCH];

	pthread_mutex_lock(&table->lock);
	while (!table->stopping) {
		uint64_t before = table->kept_count;
		unsigned n;

		if (!evict_is_due(table) || table->evict_in_vain) {
			pthread_cond_wait(&table->crowded, &table->lock);
			table->evict_in_vain = false;
			continue;
		}
		n = choose_victims(table, nodeids);
		pthread_mutex_unlock(&table->lock);
		if (n)
			notify_forget(table->fs, nodeids, n);
		pthread_mutex_lock(&table->lock);
		if (n && !table->stopping && table->kept_count >= before)
			wait_a_moment(table);
		table->evict_in_vain = table->kept_count >= before;
		table->evict_now = false;
		pthread_cond_broadcast(&table->roomier);
	}
	pthread_mutex_unlock(&table->lock);
	return NULL;
}

void evict_make_room(struct inode_table *table)
{
	if (!table->evictor_runs || !evict_is_due(table))
		return;
	pthread_cond_signal(&table->crowded);
	for (int i = 0; i < WAITS_MAX && table->kept_count > table->fd_limit; i++) {
		if (table->stopping || (i && table->evict_in_vain))
			return;
		wait_a_moment(table);
	}
}

void evict_now(struct inode_table *table)
{
	const uint64_t before = table->fd_count;

	if (!table->evictor_runs)
		return;
	table->evict_now = true;
	pthread_cond_signal(&table->crowded);
	for (int i = 0; i < WAITS_MAX && table->fd_count >= before; i++)
		wait_a_moment(table);
}

int evict_start(struct inode_table *table)
{
	int err = pthread_create(&table->evictor, NULL, evictor_main, table);

	table->evictor_runs = !err;
	return -err;
}

void evict_stop(struct inode_table *table)
{
	if (!table->evictor_runs)
		return;
	pthread_mutex_lock(&table->lock);
	table->stopping = true;
	pthread_cond_broadcast(&table->crowded);
	pthread_cond_broadcast(&table->roomier);
	pthread_mutex_unlock(&table->lock);
	pthread_join(table->evictor, NULL);
	pthread_mutex_lock(&table->lock);
	table->evictor_runs = false;
	pthread_mutex_unlock(&table->lock);
}
