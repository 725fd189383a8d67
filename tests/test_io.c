/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pool/io.h"

/* A transfer that remembers what became of it, and how things were when done was called. */
struct probe {
	struct pool_io io;
	struct pool *pool;
	unsigned calls;
	ssize_t result;
	struct pool_counts counts;
	unsigned waiter_served; /* what *served was */
	const unsigned *served;
};

static void probe_done(struct pool_io *io, ssize_t result)
{
	struct probe *probe = (struct probe *)io;

	probe->calls++;
	probe->result = result;
	probe->counts = pool_counts(probe->pool);
	if (probe->served)
		probe->waiter_served = *probe->served;
}

/* What is linked to a transfer. */
struct linked {
	struct ring_op op;
	unsigned calls;
	int result;
};

static void linked_done(struct ring_op *op, int result)
{
	struct linked *linked = (struct linked *)op;

	linked->calls++;
	linked->result = result;
}

static struct probe probe_of(struct pool *pool, int fd, uint64_t offset, size_t length)
{
	return (struct probe){
		.io = { .done = probe_done,
			.buffer = pool_lend(pool),
			.fd = fd,
			.offset = offset,
			.length = length },
		.pool = pool,
	};
}

static void run(struct probe *probe)
{
	assert_int_equal(probe->calls, 0);
	while (!probe->calls)
		assert_true(ring_run(pool_ring(probe->pool), true) > 0);
	assert_int_equal(probe->calls, 1);
	assert_int_equal(ring_in_flight(pool_ring(probe->pool)), 0);
}

/* Reads and gives the buffer back; the data must be the pattern of the file. */
static void read_expecting(struct probe *probe, ssize_t result, uint64_t seed)
{
	pool_read_fixed(&probe->io);
	run(probe);
	assert_int_equal(probe->result, result);
	assert_non_null(probe->io.buffer);
	assert_int_equal(probe->counts.lent, 1);
	if (result > 0)
		assert_true(pattern_is((char *)pool_buffer_data(probe->io.buffer) +
					       probe->io.buffer_offset,
				       probe->io.offset, (size_t)result, seed));
	pool_return(probe->io.buffer);
}

static void fill(struct probe *probe, uint64_t seed)
{
	pattern_fill((char *)pool_buffer_data(probe->io.buffer) + probe->io.buffer_offset,
		     probe->io.offset, probe->io.length, seed);
}

static void write_expecting(struct probe *probe, ssize_t result, uint64_t seed)
{
	fill(probe, seed);
	pool_write_fixed(&probe->io);
	run(probe);
	assert_int_equal(probe->result, result);
	assert_null(probe->io.buffer);
	expect_places(probe->pool, BUFFER_COUNT, 0, 0);
	if (result > 0)
		assert_true(file_has(probe->io.fd, probe->io.offset, (uint64_t)result,
				     probe->io.offset, seed));
}

/* ---- where the buffer is ---- */

static void read_fills_a_buffer_and_gives_it_back(void **state)
{
	struct fixture *f = fixture_of(state);
	int fd = temp_file(3 * BUFFER_SIZE, 1);
	struct probe probe = probe_of(f->pool, fd, 1000, BUFFER_SIZE);

	read_expecting(&probe, BUFFER_SIZE, 1);
	assert_int_equal(probe.io.fixed, f->kind == KIND_FIXED);
	assert_int_equal(probe.io.error, 0);
	assert_int_equal(fault_calls(FAULT_READ), 1);
	close(fd);
}

static void a_transfer_is_done_by_ring_run_and_never_by_the_submit(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(BUFFER_SIZE, 1);
	struct probe reader = probe_of(pool, fd, 0, 100);
	struct probe writer = probe_of(pool, fd, 0, 100);

	pool_read_fixed(&reader.io);
	expect_places(pool, BUFFER_COUNT - 2, 1, 1);
	memset(pool_buffer_data(writer.io.buffer), 1, 100);
	pool_write_fixed(&writer.io);
	expect_places(pool, BUFFER_COUNT - 2, 0, 2);
	assert_int_equal(reader.calls + writer.calls, 0);
	while (!reader.calls || !writer.calls)
		ring_run(pool_ring(pool), true);
	pool_return(reader.io.buffer);
	close(fd);
}

static void write_sends_the_buffer_home_before_the_callback(void **state)
{
	struct fixture *f = fixture_of(state);
	int fd = temp_file(0, 0);
	struct probe probe = probe_of(f->pool, fd, 5, BUFFER_SIZE);

	write_expecting(&probe, BUFFER_SIZE, 1);
	assert_int_equal(probe.counts.home, BUFFER_COUNT);
	assert_int_equal(probe.io.fixed, f->kind == KIND_FIXED);
	close(fd);
}

static void a_failed_write_sends_the_buffer_home_as_well(void **state)
{
	struct fixture *f = fixture_of(state);
	struct probe probe = probe_of(f->pool, -1, 0, 10);

	write_expecting(&probe, -EBADF, 1);
	assert_int_equal(probe.counts.home, BUFFER_COUNT);
	assert_int_equal(probe.io.error, -EBADF);
}

static void a_kept_write_gives_the_buffer_back(void **state)
{
	struct fixture *f = fixture_of(state);
	int fd = temp_file(0, 0);
	struct probe probe = probe_of(f->pool, fd, 0, BUFFER_SIZE);

	fill(&probe, 1);
	pool_write_fixed_keep(&probe.io);
	run(&probe);
	assert_int_equal(probe.result, BUFFER_SIZE);
	assert_int_equal(probe.counts.lent, 1);
	assert_true(pattern_is(pool_buffer_data(probe.io.buffer), 0, BUFFER_SIZE, 1));
	assert_true(file_has(fd, 0, BUFFER_SIZE, 0, 1));
	pool_return(probe.io.buffer);
	close(fd);
}

struct wait_probe {
	struct pool_waiter waiter;
	unsigned served;
	struct pool_buffer *buffer;
};

static void wait_probe_ready(struct pool_waiter *waiter, struct pool_buffer *buffer)
{
	struct wait_probe *probe = (struct wait_probe *)waiter;

	probe->served++;
	probe->buffer = buffer;
}

static void a_consumed_buffer_goes_to_who_waits_for_one(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(0, 0);
	struct probe probe = probe_of(pool, fd, 0, 10);
	struct wait_probe waiting = { .waiter.ready = wait_probe_ready };
	struct pool_buffer *other[BUFFER_COUNT - 1];

	for (unsigned i = 0; i < BUFFER_COUNT - 1; i++)
		other[i] = pool_lend(pool);
	pool_lend_wait(pool, &waiting.waiter);
	fill(&probe, 1);
	pool_write_fixed(&probe.io);
	while (!waiting.served)
		assert_true(ring_run(pool_ring(pool), true) > 0);
	assert_int_equal(probe.calls, 1);
	assert_int_equal(probe.counts.home, 0); /* it was promised already */
	pool_return(waiting.buffer);
	for (unsigned i = 0; i < BUFFER_COUNT - 1; i++)
		pool_return(other[i]);
	close(fd);
}

/* Frees itself: the callback is the last thing that is done with a transfer. */
static void free_io(struct pool_io *io, ssize_t result)
{
	free(io);
}

static void the_callback_may_free_the_transfer(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(0, 0);
	struct pool_io *io = calloc(1, sizeof(*io));

	*io = (struct pool_io){ .done = free_io, .buffer = pool_lend(pool), .fd = fd, .length = 1 };
	*(char *)pool_buffer_data(io->buffer) = 'x';
	pool_write_fixed(io);
	while (ring_in_flight(pool_ring(pool)))
		ring_run(pool_ring(pool), true);
	expect_places(pool, BUFFER_COUNT, 0, 0);
	assert_int_equal(file_size(fd), 1);
	close(fd);
}

/* Writes what was read, from the callback of the read, with the same struct. */
static void read_then_write(struct pool_io *io, ssize_t result)
{
	struct pool_io next = { .done = probe_done,
				.buffer = io->buffer,
				.fd = io->fd,
				.offset = (uint64_t)result,
				.length = (size_t)result };

	*io = next;
	pool_write_fixed(io);
}

static void the_callback_may_submit_the_same_transfer_anew(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(BUFFER_SIZE, 1);
	struct probe probe = probe_of(pool, fd, 0, BUFFER_SIZE);

	probe.io.done = read_then_write;
	pool_read_fixed(&probe.io);
	run(&probe);
	assert_int_equal(probe.result, BUFFER_SIZE);
	assert_true(file_has(fd, BUFFER_SIZE, BUFFER_SIZE, 0, 1));
	close(fd);
}

/* ---- lengths ---- */

static void any_part_of_a_buffer_can_be_moved(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(4096, 1);
	struct probe reader = probe_of(pool, fd, 17, 1000);
	struct probe writer;

	reader.io.buffer_offset = 333;
	memset(pool_buffer_data(reader.io.buffer), 0xee, BUFFER_SIZE);
	pool_read_fixed(&reader.io);
	run(&reader);
	for (size_t i = 0; i < BUFFER_SIZE; i++)
		if (i < 333 || i >= 1333)
			assert_int_equal(((unsigned char *)pool_buffer_data(reader.io.buffer))[i],
					 0xee);
	pool_return(reader.io.buffer);

	writer = probe_of(pool, fd, 50, 77);
	writer.io.buffer_offset = BUFFER_SIZE - 77;
	write_expecting(&writer, 77, 2);
	assert_true(file_has(fd, 0, 50, 0, 1));
	assert_true(file_has(fd, 127, 4096 - 127, 127, 1));
	close(fd);
}

static void nothing_to_move_is_done_with_zero(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(100, 1);
	struct probe reader = probe_of(pool, fd, 0, 0);
	struct probe writer;

	read_expecting(&reader, 0, 1);
	writer = probe_of(pool, fd, 0, 0);
	write_expecting(&writer, 0, 1);
	close(fd);
}

static void a_read_ends_at_the_end_of_the_file(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(1000, 1);
	struct probe probe = probe_of(pool, fd, 400, BUFFER_SIZE);

	read_expecting(&probe, 600, 1);
	assert_int_equal(fault_calls(FAULT_READ), 2); /* the second one saw the end */
	probe = probe_of(pool, fd, 1000, BUFFER_SIZE);
	read_expecting(&probe, 0, 1);
	probe = probe_of(pool, fd, 5000, BUFFER_SIZE);
	read_expecting(&probe, 0, 1);
	close(fd);
}

static void a_known_size_saves_the_read_that_would_see_the_end(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(1000, 1);
	struct probe probe = probe_of(pool, fd, 400, BUFFER_SIZE);

	probe.io.size_hint = 1000;
	read_expecting(&probe, 600, 1);
	assert_int_equal(fault_calls(FAULT_READ), 1);
	close(fd);
}

static void a_wrong_size_loses_nothing(void **state)
{
	static const uint64_t hints[] = { 1, 999, 1001, BUFFER_SIZE, UINT64_MAX };
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(1000, 1);

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
		struct probe probe = probe_of(pool, fd, 0, BUFFER_SIZE);

		probe.io.size_hint = hints[i];
		read_expecting(&probe, 1000, 1);
	}
	close(fd);
}

/* The rest of the transfer, and every further attempt, too. */
static void what_is_to_be_done_at_once_does_not_go_to_the_kernels_queue(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(0, 0);
	struct probe writer = probe_of(pool, fd, 100, BUFFER_SIZE);
	struct probe reader;

	writer.io.at_once = true;
	fault_set(FAULT_WRITE, 1, 2, FAULT_SHORT);
	fault_set(FAULT_ENTER, 1, UINT_MAX, -EIO);
	write_expecting(&writer, BUFFER_SIZE, 1);
	assert_false(writer.io.fixed);
	reader = probe_of(pool, fd, 100, BUFFER_SIZE);
	reader.io.at_once = true;
	fault_set(FAULT_READ, 1, 2, -EAGAIN);
	read_expecting(&reader, BUFFER_SIZE, 1);
	assert_false(reader.io.fixed);
	assert_int_equal(fault_calls(FAULT_WRITE) + fault_calls(FAULT_READ), 3 + 3);
	assert_int_equal(fault_calls(FAULT_ENTER) + fault_calls(FAULT_ASYNC), 0);
	close(fd);
}

/* ---- short, interrupted, failed ---- */

static void short_reads_are_resumed(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(2 * BUFFER_SIZE, 1);
	struct probe probe = probe_of(pool, fd, 100, BUFFER_SIZE);

	fault_set(FAULT_READ, 1, 6, FAULT_SHORT);
	read_expecting(&probe, BUFFER_SIZE, 1);
	assert_int_equal(fault_calls(FAULT_READ), 7);
	close(fd);
}

/* Reads length bytes at offset, linked to an fsync. Returns whether that went ahead, which the
 * transfer must know. */
static bool linked_goes_ahead(struct pool *pool, int fd, uint64_t offset, size_t length,
			      ssize_t result)
{
	struct probe read = probe_of(pool, fd, offset, length);
	struct linked next = { .op.done = linked_done };

	read.io.linked = true;
	pool_read_fixed(&read.io);
	ring_submit_fsync(pool_ring(pool), &next.op, fd, true);
	while (!read.calls || !next.calls)
		assert_true(ring_run(pool_ring(pool), true) > 0);
	assert_int_equal(read.result, result);
	assert_int_equal(next.result, read.io.linked ? 0 : -ECANCELED);
	pool_return(read.io.buffer);
	return read.io.linked;
}

static void a_transfer_knows_whether_what_is_linked_to_it_goes_ahead(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(BUFFER_SIZE, 1);
	int directory = open("/", O_RDONLY | O_DIRECTORY);
	struct probe read;

	if (ring_is_plain(pool_ring(pool)))
		skip();
	assert_true(linked_goes_ahead(pool, fd, 0, BUFFER_SIZE, BUFFER_SIZE));
	assert_false(linked_goes_ahead(pool, fd, 100, BUFFER_SIZE, BUFFER_SIZE - 100));
	assert_false(linked_goes_ahead(pool, fd, BUFFER_SIZE, 10, 0));
	assert_false(linked_goes_ahead(pool, directory, 0, 10, -EISDIR));
	read = probe_of(pool, fd, 0, BUFFER_SIZE);
	read.io.linked = true;
	fault_set(FAULT_READ, 1, 1, -ECANCELED);
	read_expecting(&read, BUFFER_SIZE, 1);
	assert_false(read.io.linked);
	read = probe_of(pool, fd, 0, BUFFER_SIZE);
	fault_set(FAULT_READ, 1, 1, -ECANCELED);
	read_expecting(&read, -ECANCELED, 1);
	close(fd);
	close(directory);
}

static void short_writes_are_resumed(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(0, 0);
	struct probe probe = probe_of(pool, fd, 100, BUFFER_SIZE);

	fault_set(FAULT_WRITE, 1, 6, FAULT_SHORT);
	write_expecting(&probe, BUFFER_SIZE, 1);
	assert_int_equal(fault_calls(FAULT_WRITE), 7);
	close(fd);
}

static void interrupted_and_postponed_transfers_are_retried(void **state)
{
	static const int errors[] = { -EINTR, -EAGAIN };
	struct fixture *f = fixture_of(state);
	struct pool *pool = f->pool;
	int fd = temp_file(BUFFER_SIZE, 1);

	for (size_t i = 0; i < 2; i++) {
		struct probe probe = probe_of(pool, fd, 0, BUFFER_SIZE);

		fault_clear();
		fault_set(FAULT_READ, 1, 5, errors[i]);
		read_expecting(&probe, BUFFER_SIZE, 1);
		assert_int_equal(fault_calls(FAULT_READ), 6);
		/* What is postponed goes to a kernel worker. */
		assert_int_equal(fault_calls(FAULT_ASYNC),
				 f->kind != KIND_PLAIN && errors[i] == -EAGAIN ? 5 : 0);
		probe = probe_of(pool, fd, 0, BUFFER_SIZE);
		fault_set(FAULT_WRITE, 1, 5, errors[i]);
		write_expecting(&probe, BUFFER_SIZE, 2 + i);
		assert_int_equal(fault_calls(FAULT_WRITE), 6);
		probe = probe_of(pool, fd, 0, BUFFER_SIZE);
		write_expecting(&probe, BUFFER_SIZE, 1);
	}
	close(fd);
}

static void a_file_that_only_ever_says_again_is_given_up(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(BUFFER_SIZE, 1);
	struct probe probe = probe_of(pool, fd, 0, BUFFER_SIZE);

	fault_set(FAULT_READ, 1, UINT_MAX, -EAGAIN);
	read_expecting(&probe, -EAGAIN, 1);
	assert_true(fault_calls(FAULT_READ) >= 10 && fault_calls(FAULT_READ) <= 1000);
	close(fd);
}

/* Moves some bytes at every eleventh attempt. */
static void mostly_again(void *arg, enum fault_call call, uint64_t offset, size_t length)
{
	unsigned *attempts = arg;

	fault_set(call, 1, 1, ++*attempts % 11 ? -EAGAIN : FAULT_SHORT);
}

static void a_transfer_that_gets_on_is_not_given_up(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(BUFFER_SIZE, 1);
	struct probe probe = probe_of(pool, fd, 0, BUFFER_SIZE);
	unsigned attempts = 0;

	fault_watch(mostly_again, &attempts);
	read_expecting(&probe, BUFFER_SIZE, 1);
	assert_true(attempts > 100);
	close(fd);
}

static void who_asks_not_to_wait_is_told_to_come_again(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(BUFFER_SIZE, 1);
	struct probe probe = probe_of(pool, fd, 0, BUFFER_SIZE);

	probe.io.rw_flags = RWF_NOWAIT;
	fault_set(FAULT_READ, 1, UINT_MAX, -EAGAIN);
	read_expecting(&probe, -EAGAIN, 1);
	assert_int_equal(fault_calls(FAULT_READ), 1);
	close(fd);
}

/* tmpfs has no way not to block: O_NONBLOCK must not turn that into EAGAIN. */
static void a_nonblocking_descriptor_on_tmpfs_is_read_and_written(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = memfd_create("pool-test", MFD_CLOEXEC);
	struct probe probe = probe_of(pool, fd, 0, BUFFER_SIZE);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	write_expecting(&probe, BUFFER_SIZE, 1);
	probe = probe_of(pool, fd, 0, BUFFER_SIZE);
	read_expecting(&probe, BUFFER_SIZE, 1);
	close(fd);
}

static void an_error_is_the_result_when_nothing_was_moved(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(BUFFER_SIZE, 1);
	struct probe probe = probe_of(pool, fd, 0, BUFFER_SIZE);

	fault_set(FAULT_READ, 1, 1, -EIO);
	read_expecting(&probe, -EIO, 1);
	assert_int_equal(probe.io.error, -EIO);
	probe = probe_of(pool, fd, 0, BUFFER_SIZE);
	fault_set(FAULT_WRITE, 1, 1, -ENOSPC);
	write_expecting(&probe, -ENOSPC, 1);
	assert_int_equal(probe.io.error, -ENOSPC);
	close(fd);
}

static void bytes_that_were_moved_win_over_an_error(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(BUFFER_SIZE / 2, 1); /* the first read is short by itself */
	struct probe probe = probe_of(pool, fd, 0, BUFFER_SIZE);

	fault_set(FAULT_READ, 2, 1, -EIO);
	read_expecting(&probe, BUFFER_SIZE / 2, 1);
	assert_int_equal(probe.io.error, -EIO);
	close(fd);
}

static void a_full_device_says_so(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = open("/dev/full", O_WRONLY);
	struct probe probe;

	if (fd < 0)
		skip();
	probe = probe_of(pool, fd, 0, 100);
	write_expecting(&probe, -ENOSPC, 1);
	close(fd);
}

static void a_write_that_takes_nothing_ends(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(0, 0);
	struct probe probe = probe_of(pool, fd, 0, 100);

	fault_set(FAULT_WRITE, 1, UINT_MAX, 0);
	write_expecting(&probe, 0, 1);
	assert_int_equal(fault_calls(FAULT_WRITE), 1);
	close(fd);
}

/* ---- O_DIRECT ---- */

/* Puts O_DIRECT on a descriptor, or skips where the filesystem has none. */
static void set_direct(int fd)
{
	if (fcntl(fd, F_SETFL, O_DIRECT) < 0) {
		close(fd);
		skip();
	}
}

static void a_direct_read_ends_at_an_unaligned_end_of_file(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(4096 + 100, 1);
	struct probe probe;

	set_direct(fd);
	probe = probe_of(pool, fd, 0, BUFFER_SIZE);
	read_expecting(&probe, 4096 + 100, 1);
	assert_int_equal(probe.io.error, 0);
	close(fd);
}

static void a_resumed_direct_read_that_is_refused_is_an_end(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(4096 + 100, 1);
	struct probe probe = probe_of(pool, fd, 0, BUFFER_SIZE);

	fault_set(FAULT_READ, 2, 1, -EINVAL); /* as some filesystems answer */
	read_expecting(&probe, 4096 + 100, 1);
	assert_int_equal(probe.io.error, 0);
	close(fd);
}

static void a_direct_write_takes_a_buffer_as_it_is(void **state)
{
	struct pool *pool = fixture_of(state)->pool;
	int fd = temp_file(0, 0);
	struct probe probe;

	set_direct(fd);
	probe = probe_of(pool, fd, BUFFER_SIZE, BUFFER_SIZE);
	fill(&probe, 1);
	pool_write_fixed(&probe.io);
	run(&probe);
	assert_int_equal(probe.result, BUFFER_SIZE);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	assert_true(file_has(fd, BUFFER_SIZE, BUFFER_SIZE, BUFFER_SIZE, 1));
	close(fd);
}

/* ---- slots ---- */

/* A driver would put its pages into the slot, with addresses from 0 on; here it is memory of ours,
 * at its own address. */
static struct io_uring *table;

int __real_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned nr);
int __wrap_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned nr);
int __wrap_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned nr)
{
	table = ring;
	return __real_io_uring_register_buffers_sparse(ring, nr);
}

static void fill_slot(void *memory, size_t length)
{
	const struct iovec iov = { .iov_base = memory, .iov_len = length };
	__u64 tag = 0;

	assert_int_equal(io_uring_register_buffers_update_tag(table, 1, &iov, &tag, 1), 1);
}

struct slot {
	struct fixture fixture; /* its pool is one buffer in area */
	char *area;
	char *memory; /* of the slot, once that is filled */
};

static void slot_init(struct slot *slot)
{
	const struct ring_options ring_options = { .entries = 8 };
	struct pool_options options = {
		.buffer_size = BUFFER_SIZE,
		.count = 1,
		.area_size = 4 * BUFFER_SIZE,
		.slots = 1,
	};

	assert_int_equal(ring_new(&ring_options, &slot->fixture.ring), 0);
	if (ring_is_plain(slot->fixture.ring)) {
		ring_free(slot->fixture.ring);
		skip();
	}
	slot->area = aligned_alloc(4096, 4 * BUFFER_SIZE);
	slot->memory = aligned_alloc(4096, BUFFER_SIZE);
	options.area = slot->area;
	assert_int_equal(pool_new(slot->fixture.ring, &options, &slot->fixture.pool), 0);
}

static void slot_fini(struct slot *slot)
{
	fault_clear();
	fixture_fini(&slot->fixture);
	free(slot->area);
	free(slot->memory);
}

static struct probe probe_slot(struct slot *slot, int fd, uint64_t offset, size_t length)
{
	return (struct probe){
		.io = { .done = probe_done,
			.ring = slot->fixture.ring,
			.slot = 1,
			.buffer_offset = (size_t)slot->memory,
			.fd = fd,
			.offset = offset,
			.length = length },
		.pool = slot->fixture.pool,
	};
}

static void a_slot_is_read_into_and_written_from(void **state)
{
	int fd = temp_file(3 * BUFFER_SIZE, 1);
	struct probe probe;
	struct slot slot;

	slot_init(&slot);
	fill_slot(slot.memory, BUFFER_SIZE);
	probe = probe_slot(&slot, fd, 1000, BUFFER_SIZE);
	pool_read_slot(&probe.io);
	run(&probe);
	assert_int_equal(probe.result, BUFFER_SIZE);
	assert_true(probe.io.fixed);
	assert_true(pattern_is(slot.memory, 1000, BUFFER_SIZE, 1));

	pattern_fill(slot.memory, 5000, BUFFER_SIZE, 2);
	probe = probe_slot(&slot, fd, 5000, BUFFER_SIZE);
	pool_write_slot(&probe.io);
	run(&probe);
	assert_int_equal(probe.result, BUFFER_SIZE);
	assert_true(file_has(fd, 5000, BUFFER_SIZE, 5000, 2));
	expect_places(slot.fixture.pool, 1, 0, 0);
	slot_fini(&slot);
	close(fd);
}

static void short_transfers_of_a_slot_are_resumed(void **state)
{
	int fd = temp_file(BUFFER_SIZE / 2, 1);
	struct probe probe;
	struct slot slot;

	slot_init(&slot);
	fill_slot(slot.memory, BUFFER_SIZE);
	fault_set(FAULT_READ, 1, 4, FAULT_SHORT);
	probe = probe_slot(&slot, fd, 0, BUFFER_SIZE);
	pool_read_slot(&probe.io);
	run(&probe);
	assert_int_equal(probe.result, BUFFER_SIZE / 2); /* the end of the file */
	assert_true(pattern_is(slot.memory, 0, BUFFER_SIZE / 2, 1));

	fault_set(FAULT_WRITE, 1, 4, FAULT_SHORT);
	pattern_fill(slot.memory, 0, BUFFER_SIZE, 2);
	probe = probe_slot(&slot, fd, 0, BUFFER_SIZE);
	pool_write_slot(&probe.io);
	run(&probe);
	assert_int_equal(probe.result, BUFFER_SIZE);
	assert_true(fault_calls(FAULT_WRITE) >= 5);
	assert_true(file_has(fd, 0, BUFFER_SIZE, 0, 2));
	slot_fini(&slot);
	close(fd);
}

static void errors_of_a_slot_are_told(void **state)
{
	int fd = temp_file(BUFFER_SIZE, 1);
	struct probe probe;
	struct slot slot;

	slot_init(&slot);
	probe = probe_slot(&slot, fd, 0, BUFFER_SIZE);
	pool_read_slot(&probe.io); /* the driver has put nothing there */
	run(&probe);
	assert_int_equal(probe.result, -EFAULT);

	fill_slot(slot.memory, BUFFER_SIZE);
	fault_set(FAULT_WRITE, 1, 1, -ENOSPC);
	probe = probe_slot(&slot, fd, 0, BUFFER_SIZE);
	pool_write_slot(&probe.io);
	run(&probe);
	assert_int_equal(probe.result, -ENOSPC);
	slot_fini(&slot);
	close(fd);
}

static void a_buffer_of_an_area_is_where_it_was_moved(void **state)
{
	int fd = temp_file(4 * BUFFER_SIZE, 1);
	struct slot slot;

	slot_init(&slot);
	for (size_t place = 4; place-- > 0;) {
		struct probe probe = probe_of(slot.fixture.pool, fd, place * 1000, BUFFER_SIZE);

		pool_buffer_move(probe.io.buffer, place * BUFFER_SIZE);
		assert_ptr_equal(pool_buffer_data(probe.io.buffer),
				 slot.area + place * BUFFER_SIZE);
		pool_read_fixed(&probe.io);
		run(&probe);
		assert_int_equal(probe.result, BUFFER_SIZE);
		assert_true(probe.io.fixed);
		pool_return(probe.io.buffer);
	}
	for (size_t place = 0; place < 4; place++)
		assert_true(
			pattern_is(slot.area + place * BUFFER_SIZE, place * 1000, BUFFER_SIZE, 1));
	slot_fini(&slot);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_EACH_KIND(read_fills_a_buffer_and_gives_it_back),
		ON_EACH_KIND(a_transfer_is_done_by_ring_run_and_never_by_the_submit),
		ON_EACH_KIND(write_sends_the_buffer_home_before_the_callback),
		ON_EACH_KIND(a_failed_write_sends_the_buffer_home_as_well),
		ON_EACH_KIND(a_kept_write_gives_the_buffer_back),
		ON_EACH_KIND(a_consumed_buffer_goes_to_who_waits_for_one),
		ON_EACH_KIND(the_callback_may_free_the_transfer),
		ON_EACH_KIND(the_callback_may_submit_the_same_transfer_anew),
		ON_EACH_KIND(any_part_of_a_buffer_can_be_moved),
		ON_EACH_KIND(nothing_to_move_is_done_with_zero),
		ON_EACH_KIND(a_read_ends_at_the_end_of_the_file),
		ON_EACH_KIND(a_known_size_saves_the_read_that_would_see_the_end),
		ON_EACH_KIND(a_wrong_size_loses_nothing),
		ON_EACH_KIND(what_is_to_be_done_at_once_does_not_go_to_the_kernels_queue),
		ON_EACH_KIND(short_reads_are_resumed),
		ON_EACH_KIND(a_transfer_knows_whether_what_is_linked_to_it_goes_ahead),
		ON_EACH_KIND(short_writes_are_resumed),
		ON_EACH_KIND(interrupted_and_postponed_transfers_are_retried),
		ON_EACH_KIND(a_file_that_only_ever_says_again_is_given_up),
		ON_EACH_KIND(a_transfer_that_gets_on_is_not_given_up),
		ON_EACH_KIND(who_asks_not_to_wait_is_told_to_come_again),
		ON_EACH_KIND(a_nonblocking_descriptor_on_tmpfs_is_read_and_written),
		ON_EACH_KIND(an_error_is_the_result_when_nothing_was_moved),
		ON_EACH_KIND(bytes_that_were_moved_win_over_an_error),
		ON_EACH_KIND(a_full_device_says_so),
		ON_EACH_KIND(a_write_that_takes_nothing_ends),
		ON_EACH_KIND(a_direct_read_ends_at_an_unaligned_end_of_file),
		ON_EACH_KIND(a_resumed_direct_read_that_is_refused_is_an_end),
		ON_EACH_KIND(a_direct_write_takes_a_buffer_as_it_is),
		cmocka_unit_test(a_slot_is_read_into_and_written_from),
		cmocka_unit_test(short_transfers_of_a_slot_are_resumed),
		cmocka_unit_test(errors_of_a_slot_are_told),
		cmocka_unit_test(a_buffer_of_an_area_is_where_it_was_moved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
