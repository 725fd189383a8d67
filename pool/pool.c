/* SPDX-License-Identifier: MIT */
/*
 * The mapping: count strides, each headroom and then data, both whole pages.
 *
 *     | headroom | data ... | headroom | data ... | ...
 *
 * A buffer that comes home goes on top of a stack and is lent first: its memory is likely to be in
 * the cache still. While anybody waits, the stack is empty: whatever comes home goes to the first
 * waiter, by way of ring_defer().
 */
#include "pool_internal.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_ASAN 1
#endif
#endif

#ifdef POOL_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum place { HOME, LENT, KERNEL, PLACE_COUNT };

struct pool_buffer {
	struct pool *pool;
	struct pool_buffer *next; /* at home: below this one on the stack */
	unsigned char *data;
	enum place place;
};

struct pool {
	struct ring *ring;
	unsigned char *mapping;
	size_t headroom; /* bytes, whole pages */
	size_t size; /* bytes of data in a buffer, whole pages */
	unsigned count;
	size_t area_size; /* bytes; 0 when the mapping is our own */
	bool closed;
	bool registered;
	int register_error;
	atomic_uint place_count[PLACE_COUNT];

	struct pool_buffer *home;
	struct pool_waiter *waiter_first;
	struct pool_waiter *waiter_last;
	unsigned called; /* waiters that ring_run() is about to call */

	struct pool_buffer buffer[];
};

/* ---- places ---- */

/* What belongs to a buffer is its data and the headroom before it. What is next to it in an area,
 * or in its place when it is at home, may be another pool's. */
static void poison(struct pool_buffer *buffer)
{
	struct pool *pool = buffer->pool;

	if (pool->area_size)
		return;
	ASAN_POISON_MEMORY_REGION(buffer->data - pool->headroom, pool->headroom + pool->size);
}

static void unpoison(struct pool_buffer *buffer)
{
	struct pool *pool = buffer->pool;

	ASAN_UNPOISON_MEMORY_REGION(buffer->data - pool->headroom, pool->headroom + pool->size);
}

static void move(struct pool_buffer *buffer, enum place from, enum place to)
{
	struct pool *pool = buffer->pool;

	assert(buffer->place == from);
	buffer->place = to;
	atomic_fetch_sub_explicit(&pool->place_count[from], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&pool->place_count[to], 1, memory_order_relaxed);
	if (to == LENT)
		unpoison(buffer);
	else
		poison(buffer);
}

static unsigned count_at(const struct pool *pool, enum place place)
{
	return atomic_load_explicit(&pool->place_count[place], memory_order_relaxed);
}

static struct pool_buffer *take_home(struct pool *pool)
{
	struct pool_buffer *buffer = pool->home;

	if (buffer) {
		pool->home = buffer->next;
		move(buffer, HOME, LENT);
	}
	return buffer;
}

/* ---- waiters ---- */

static struct pool_waiter *waiter_of(struct ring_op *op)
{
	return (struct pool_waiter *)((char *)op - offsetof(struct pool_waiter, op));
}

static void waiter_ready(struct ring_op *op, int result)
{
	struct pool_waiter *waiter = waiter_of(op);

	waiter->pool->called--;
	waiter->ready(waiter, waiter->buffer);
}

static void waiter_call(struct pool_waiter *waiter, struct pool_buffer *buffer)
{
	waiter->buffer = buffer;
	waiter->op.done = waiter_ready;
	waiter->pool->called++;
	ring_defer(waiter->pool->ring, &waiter->op, 0);
}

static void waiter_push(struct pool *pool, struct pool_waiter *waiter)
{
	waiter->next = NULL;
	if (pool->waiter_last)
		pool->waiter_last->next = waiter;
	else
		pool->waiter_first = waiter;
	pool->waiter_last = waiter;
}

/* Takes a waiter out of the queue; false when it is not there. */
static bool waiter_unlink(struct pool *pool, struct pool_waiter *waiter)
{
	struct pool_waiter *before = NULL;
	struct pool_waiter *at = pool->waiter_first;

	for (; at && at != waiter; at = at->next)
		before = at;
	if (!at)
		return false;
	if (before)
		before->next = waiter->next;
	else
		pool->waiter_first = waiter->next;
	if (pool->waiter_last == waiter)
		pool->waiter_last = before;
	return true;
}

static void serve(struct pool *pool)
{
	while (pool->waiter_first && pool->home) {
		struct pool_waiter *waiter = pool->waiter_first;

		waiter_unlink(pool, waiter);
		waiter_call(waiter, take_home(pool));
	}
}

/* ---- moves ---- */

static void go_home(struct pool_buffer *buffer, enum place from)
{
	struct pool *pool = buffer->pool;

	move(buffer, from, HOME);
	buffer->next = pool->home;
	pool->home = buffer;
	serve(pool);
}

struct pool_buffer *pool_lend(struct pool *pool)
{
	return pool->closed ? NULL : take_home(pool);
}

void pool_lend_wait(struct pool *pool, struct pool_waiter *waiter)
{
	waiter->pool = pool;
	if (pool->closed) {
		waiter_call(waiter, NULL);
		return;
	}
	waiter_push(pool, waiter);
	serve(pool);
}

void pool_lend_cancel(struct pool_waiter *waiter)
{
	if (waiter_unlink(waiter->pool, waiter))
		waiter_call(waiter, NULL);
}

void pool_return(struct pool_buffer *buffer)
{
	go_home(buffer, LENT);
}

void pool_buffer_to_kernel(struct pool_buffer *buffer)
{
	move(buffer, LENT, KERNEL);
}

void pool_buffer_from_kernel(struct pool_buffer *buffer)
{
	move(buffer, KERNEL, LENT);
}

void pool_buffer_consumed(struct pool_buffer *buffer)
{
	go_home(buffer, KERNEL);
}

void pool_buffer_open(struct pool_buffer *buffer)
{
	assert(buffer->place == KERNEL);
	unpoison(buffer);
}

void pool_buffer_shut(struct pool_buffer *buffer)
{
	assert(buffer->place == KERNEL);
	poison(buffer);
}

/* ---- life ---- */

static bool round_to_pages(size_t bytes, size_t *ret_bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (bytes > INT_MAX - page) /* a transfer's result is an int */
		return false;
	*ret_bytes = (bytes + page - 1) / page * page;
	return true;
}

static size_t stride(const struct pool *pool)
{
	return pool->headroom + pool->size;
}

/* Of x86, and of arm64 with pages of 4 KiB. Where huge pages are larger it has no effect. */
#define HUGE_PAGE ((size_t)2 << 20)

/*
 * A mapping of whole huge pages is aligned to them, and the kernel asked for them: what the device
 * reads and writes then lies in a few long pieces instead of many pages. Refused or not, the pool
 * is the same. MAP_FAILED and errno.
 */
static unsigned char *map_aligned(size_t bytes)
{
	size_t slack = bytes % HUGE_PAGE ? 0 : HUGE_PAGE;
	unsigned char *start = mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (start == MAP_FAILED || !slack)
		return start;
	before = -(uintptr_t)start % HUGE_PAGE;
	if (before)
		munmap(start, before);
	if (slack > before)
		munmap(start + before + bytes, slack - before);
	madvise(start + before, bytes, MADV_HUGEPAGE);
	return start + before;
}

static int map(struct pool *pool, size_t bytes)
{
	pool->mapping = map_aligned(bytes);
	return pool->mapping == MAP_FAILED ? -errno : 0;
}

/* A part of a huge page would count as the whole of it against RLIMIT_MEMLOCK. */
static void do_without_huge_pages(struct pool *pool)
{
	madvise(pool->mapping, pool_bytes(pool), MADV_NOHUGEPAGE);
	madvise(pool->mapping, pool_bytes(pool), MADV_DONTNEED);
}

/* Too much for RLIMIT_MEMLOCK, or for the 1 GiB that one registration may span (EFAULT): less of it
 * may do. */
static bool may_shrink(int error)
{
	return error == -ENOMEM || error == -EFAULT;
}

static int use_area(struct pool *pool, const struct pool_options *options)
{
	int err;

	if (pool->count != 1 || pool->headroom || pool->size > options->area_size)
		return -EINVAL;
	err = ring_register_table(pool->ring, options->area, options->area_size, options->slots);
	if (err)
		return err;
	pool->registered = true;
	pool->mapping = options->area;
	pool->area_size = options->area_size;
	return 0;
}

/* Registers as many buffers as can be had, from the front of the mapping, and gives up the rest; or
 * none, and keeps them all. */
static void register_buffers(struct pool *pool, unsigned min_count)
{
	unsigned count = pool->count;
	int ret;

	for (;;) {
		ret = ring_register_buffer(pool->ring, pool->mapping, count * stride(pool));
		if (!may_shrink(ret) || count == min_count)
			break;
		count = count / 2 > min_count ? count / 2 : min_count;
		do_without_huge_pages(pool);
	}
	pool->register_error = ret;
	if (ret < 0)
		return;
	pool->registered = true;
	if (count < pool->count)
		munmap(pool->mapping + count * stride(pool), (pool->count - count) * stride(pool));
	pool->count = count;
}

static void carve(struct pool *pool)
{
	for (unsigned i = pool->count; i-- > 0;) {
		struct pool_buffer *buffer = &pool->buffer[i];

		buffer->pool = pool;
		buffer->place = HOME;
		buffer->data = pool->mapping + i * stride(pool) + pool->headroom;
		buffer->next = pool->home;
		pool->home = buffer;
		poison(buffer);
	}
	atomic_store_explicit(&pool->place_count[HOME], pool->count, memory_order_relaxed);
}

int pool_new(struct ring *ring, const struct pool_options *options, struct pool **ret_pool)
{
	unsigned count = options->count;
	unsigned min_count = options->min_count ? options->min_count : 1;
	size_t bytes;
	struct pool *pool;
	int ret;

	if (!count || !options->buffer_size || min_count > count)
		return -EINVAL;
	pool = calloc(1, sizeof(*pool) + count * sizeof(pool->buffer[0]));
	if (!pool)
		return -ENOMEM;
	pool->ring = ring;
	pool->count = count;

	ret = -EINVAL;
	if (!round_to_pages(options->buffer_size, &pool->size) ||
	    !round_to_pages(options->headroom, &pool->headroom) ||
	    __builtin_mul_overflow(stride(pool), count, &bytes))
		goto free_pool;

	ret = options->area ? use_area(pool, options) : map(pool, bytes);
	if (ret)
		goto free_pool;
	if (!options->area && !options->unregistered)
		register_buffers(pool, min_count);
	carve(pool);
	*ret_pool = pool;
	return 0;

free_pool:
	free(pool);
	return ret;
}

static void dismiss_waiters(struct pool *pool)
{
	while (pool->waiter_first)
		pool_lend_cancel(pool->waiter_first);
}

void pool_close(struct pool *pool)
{
	if (!pool)
		return;
	pool->closed = true;
	dismiss_waiters(pool);
	while (count_at(pool, KERNEL) || pool->called) {
		int ran = ring_run(pool->ring, true);

		/* Something is in flight, so something comes. A ring that worked and now fails for
		 * good was broken by us, and the kernel may still write to the buffers: there is no
		 * way on. */
		assert(ran > 0);
	}
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	assert(count_at(pool, HOME) == pool->count);
	assert(!pool->waiter_first && !pool->called);
	if (pool->registered)
		ring_unregister_buffer(pool->ring);
	/* Whatever is mapped here next must not be born poisoned. */
	if (!pool->area_size) {
		ASAN_UNPOISON_MEMORY_REGION(pool->mapping, pool_bytes(pool));
		munmap(pool->mapping, pool_bytes(pool));
	}
	free(pool);
}

/* ---- what it is like ---- */

void *pool_buffer_data(const struct pool_buffer *buffer)
{
	return buffer->data;
}

struct pool *pool_buffer_pool(const struct pool_buffer *buffer)
{
	return buffer->pool;
}

void pool_buffer_move(struct pool_buffer *buffer, size_t offset)
{
	struct pool *pool = buffer->pool;

	assert(buffer->place == LENT && pool->area_size);
	assert(offset <= pool->area_size - pool->size);
	buffer->data = pool->mapping + offset;
}

struct ring *pool_ring(const struct pool *pool)
{
	return pool->ring;
}

size_t pool_buffer_size(const struct pool *pool)
{
	return pool->size;
}

unsigned pool_count(const struct pool *pool)
{
	return pool->count;
}

size_t pool_bytes(const struct pool *pool)
{
	return pool->count * stride(pool);
}

bool pool_is_registered(const struct pool *pool)
{
	return pool->registered;
}

int pool_register_error(const struct pool *pool)
{
	return pool->register_error;
}

struct pool_counts pool_counts(const struct pool *pool)
{
	return (struct pool_counts){
		.home = count_at(pool, HOME),
		.lent = count_at(pool, LENT),
		.kernel = count_at(pool, KERNEL),
	};
}
