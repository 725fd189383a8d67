/* SPDX-License-Identifier: MIT */
#include "zerocopy.h"

#include <errno.h>
#include <sys/mman.h>

#include "fs.h"
#include "fuse_kernel.h"
#include "pool/ring.h"
#include "uring_plan.h"
#include "worker.h"

bool zerocopy_is_wanted(const struct fs *fs)
{
	return fs->uring && fs->root && fs->options.zerocopy == ZEROCOPY_AUTO;
}

unsigned zerocopy_buffers(unsigned queues, unsigned workers, size_t payload)
{
	size_t count = URING_BUDGET / payload / queues;

	if (count > ZEROCOPY_BUFFERS_MAX)
		count = ZEROCOPY_BUFFERS_MAX;
	return count > workers ? (unsigned)count : 0;
}

/* ---- commands that are answered at once ---- */

struct answer {
	struct ring_op op;
	bool arrived;
	int result;
};

static void answer_done(struct ring_op *op, int result)
{
	struct answer *answer = (struct answer *)op;

	answer->arrived = true;
	answer->result = result;
}

static int ask(struct ring *ring, const struct ring_command *command)
{
	struct answer answer = { .op.done = answer_done };

	ring_submit_command(ring, &answer.op, command);
	while (!answer.arrived) {
		int ran = ring_run(ring, true);

		if (ran < 0)
			return ran;
	}
	return answer.result;
}

static int add_queue(struct ring *ring, int device_fd, unsigned queue)
{
	const struct uring_request_command data = {
		.flags = FUSE_URING_ZERO_COPY,
		.qid = (uint16_t)queue,
	};
	const struct ring_command command = {
		.fd = device_fd,
		.operation = URING_CMD_ADD_QUEUE,
		.data = &data,
		.size = sizeof(data),
	};

	return ask(ring, &command);
}

/* With the flag for registered memory, although this ring has none: it is the rings of the entries
 * that count, at their index 0, as here. */
static int add_pool(struct ring *ring, int device_fd, unsigned queue,
		    const struct zerocopy_pool *pool)
{
	const struct uring_request_command data = {
		.qid = (uint16_t)queue,
		.pool = { .address = (uintptr_t)pool->area, .size = (uint32_t)pool->size },
	};
	const struct ring_command command = {
		.fd = device_fd,
		.operation = URING_CMD_ADD_BUFPOOL,
		.data = &data,
		.size = sizeof(data),
		.fixed = true,
	};

	return ask(ring, &command);
}

/* ---- the pool of a queue ---- */

int zerocopy_open(struct zerocopy_pool *pool, struct ring *ring, int device_fd, unsigned queue,
		  unsigned buffers, size_t buffer_size)
{
	struct zerocopy_pool made = {
		.size = buffers * buffer_size,
		.buffers = buffers,
		.buffer_size = buffer_size,
	};
	int err;

	made.area =
		mmap(NULL, made.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (made.area == MAP_FAILED)
		return -errno;
	/* Every ring pins all of it: in large pages that takes a fraction of the time. */
	(void)madvise(made.area, made.size, MADV_HUGEPAGE);
	err = add_queue(ring, device_fd, queue);
	if (!err)
		err = add_pool(ring, device_fd, queue, &made);
	if (err)
		munmap(made.area, made.size);
	else
		*pool = made;
	return err;
}

void zerocopy_close(struct zerocopy_pool *pool)
{
	if (pool->area)
		munmap(pool->area, pool->size);
	*pool = (struct zerocopy_pool){ 0 };
}

int zerocopy_join(const struct zerocopy_pool *pool, struct worker *worker)
{
	const struct pool_options options = {
		.buffer_size = pool->buffer_size,
		.count = 1,
		.area = pool->area,
		.area_size = pool->size,
		.slots = ZEROCOPY_SLOT,
	};

	return worker_replace_pool(worker, &options);
}
