/* SPDX-License-Identifier: MIT */
#include "evict.h"

#include <time.h>

#include "inode_table.h"
#include "notify.h"

#define EVICT_BATCH 64

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

static bool is_crowded(const struct inode_table *table)
{
	return table->kept_count > table->fd_limit - table->fd_limit / 4;
}

/*
 * One round asks for a batch; the FORGETs arrive on the workers. When a round brought nothing, all
 * that is left is in use, and the next one waits until another inode was added.
 */
static void *evictor_main(void *argument)
{
	struct inode_table *table = argument;
	uint64_t nodeids[EVICT_BATCH];
	uint64_t before = 0;

	pthread_mutex_lock(&table->lock);
	while (!table->stopping) {
		unsigned n;

		if (!is_crowded(table) || table->kept_count == before) {
			before = 0;
			pthread_cond_wait(&table->crowded, &table->lock);
			continue;
		}
		before = table->kept_count;
		n = choose_victims(table, nodeids);
		pthread_mutex_unlock(&table->lock);
		if (n)
			notify_forget(table->fs, nodeids, n);
		pthread_mutex_lock(&table->lock);
		if (!table->stopping)
			wait_a_moment(table);
	}
	pthread_mutex_unlock(&table->lock);
	return NULL;
}

void evict_make_room(struct inode_table *table)
{
	if (!table->evictor_runs || !is_crowded(table))
		return;
	pthread_cond_signal(&table->crowded);
	for (int i = 0; i < 20 && table->kept_count > table->fd_limit && !table->stopping; i++)
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
}
