/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pool/ring.h"

/* An operation that remembers what became of it. */
struct probe {
	struct ring_op op;
	struct ring *ring;
	unsigned calls;
	int result;
	unsigned *sequence; /* NULL, or counts callbacks of several probes */
	unsigned order;
	bool again; /* the callback defers op once more */
	bool nested; /* the callback runs the ring */
};

static void probe_done(struct ring_op *op, int result)
{
	struct probe *probe = (struct probe *)op;

	probe->calls++;
	probe->result = result;
	if (probe->sequence)
		probe->order = ++*probe->sequence;
	if (probe->again) {
		probe->again = false;
		ring_defer(probe->ring, op, result + 1);
	}
	if (probe->nested)
		while (ring_in_flight(probe->ring))
			ring_run(probe->ring, true);
}

static struct probe probe_on(struct ring *ring)
{
	return (struct probe){ .op.done = probe_done, .ring = ring };
}

static void run_all(struct ring *ring)
{
	while (ring_in_flight(ring))
		assert_true(ring_run(ring, true) > 0);
}

static struct ring *new_ring(unsigned entries, bool plain)
{
	struct ring_options options = { .entries = entries, .plain = plain };
	struct ring *ring;

	assert_int_equal(ring_new(&options, &ring), 0);
	return ring;
}

/* One that is not plain, or the test is skipped. */
static struct ring *new_real_ring(unsigned entries)
{
	struct ring *ring = new_ring(entries, false);

	if (ring_is_plain(ring)) {
		ring_free(ring);
		skip();
	}
	return ring;
}

/* ---- set-up ---- */

static void a_ring_that_was_asked_to_be_plain_has_no_error(void **state)
{
	struct ring *ring = new_ring(8, true);

	assert_true(ring_is_plain(ring));
	assert_int_equal(ring_error(ring), 0);
	assert_int_equal(ring_enters(ring), 0);
	ring_free(ring);
}

static void a_refused_setup_makes_the_ring_plain_and_tells_why(void **state)
{
	static const int errors[] = { -ENOSYS, -EPERM, -ENOMEM, -EMFILE, -EINVAL };

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct ring *ring;

		fault_clear();
		fault_set(FAULT_QUEUE_INIT, 1, 3, errors[i]);
		ring = new_ring(8, false);
		assert_true(ring_is_plain(ring));
		assert_int_equal(ring_error(ring), errors[i]);
		/* Only unknown flags are worth another attempt. */
		assert_int_equal(fault_calls(FAULT_QUEUE_INIT), errors[i] == -EINVAL ? 3 : 1);
		ring_free(ring);
	}
}

static void a_kernel_that_knows_fewer_flags_gives_a_ring_all_the_same(void **state)
{
	for (unsigned unknown = 1; unknown <= 2; unknown++) {
		struct ring *ring;
		struct probe probe;
		int fd = temp_file(0, 0);
		char data[4] = "abc";
		struct ring_rw rw = { .fd = fd, .data = data, .length = sizeof(data) };

		ring = new_real_ring(8);
		ring_free(ring);
		fault_clear();
		fault_set(FAULT_QUEUE_INIT, 1, unknown, -EINVAL);
		ring = new_ring(8, false);
		assert_false(ring_is_plain(ring));
		probe = probe_on(ring);
		ring_submit_write(ring, &probe.op, &rw);
		run_all(ring);
		assert_int_equal(probe.result, sizeof(data));
		ring_free(ring);
		close(fd);
	}
}

static void a_kernel_without_read_and_write_makes_the_ring_plain(void **state)
{
	struct ring *ring = new_real_ring(8);

	ring_free(ring);
	fault_set(FAULT_FEATURES, 1, 1, 0);
	ring = new_ring(8, false);
	assert_true(ring_is_plain(ring));
	assert_int_equal(ring_error(ring), -EOPNOTSUPP);
	ring_free(ring);
}

static void no_memory_for_a_ring_is_an_error(void **state)
{
	struct ring_options options = { .entries = 8 };
	struct ring *ring;

	fault_set(FAULT_CALLOC, 1, 1, -ENOMEM);
	assert_int_equal(ring_new(&options, &ring), -ENOMEM);
}

static void freeing_no_ring_is_allowed(void **state)
{
	ring_free(NULL);
}

struct sandbox {
	int call;
	int error;
};

/* A child that may not make that call: its ring must be plain, say so, and work. */
static int in_sandbox(void *arg)
{
	struct sandbox *sandbox = arg;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)sandbox->call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)sandbox->error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = filter };
	struct ring_options options = { .entries = 8 };
	struct ring *ring;
	struct probe probe;
	char data[8];
	struct ring_rw rw = { .fd = temp_file(8, 1), .data = data, .length = 8 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program))
		return CHILD_SKIP;
	if (ring_new(&options, &ring) < 0 || !ring_is_plain(ring) ||
	    ring_error(ring) != -sandbox->error)
		return 1;
	probe = probe_on(ring);
	ring_submit_read(ring, &probe.op, &rw);
	if (ring_run(ring, true) != 1 || probe.result != 8 || !pattern_is(data, 0, 8, 1))
		return 2;
	ring_free(ring);
	close(rw.fd);
	return 0;
}

static void a_sandbox_that_forbids_io_uring_makes_the_ring_plain(void **state)
{
	static struct sandbox sandboxes[] = {
		{ SYS_io_uring_setup, EPERM },
		{ SYS_io_uring_setup, ENOSYS },
		{ SYS_io_uring_enter, EPERM },
	};

	ring_free(new_real_ring(8));
	for (size_t i = 0; i < sizeof(sandboxes) / sizeof(sandboxes[0]); i++) {
		int status = in_child(in_sandbox, &sandboxes[i]);

		if (status == CHILD_SKIP)
			skip();
		assert_int_equal(status, 0);
	}
}

/* ---- delivery; on every kind, the pool lies idle ---- */

static void a_result_comes_from_ring_run_and_never_from_the_submit(void **state)
{
	struct ring *ring = fixture_of(state)->ring;
	struct probe probe = probe_on(ring);
	char data[100];
	struct ring_rw rw = { .fd = temp_file(100, 1), .data = data, .length = 100 };

	ring_submit_read(ring, &probe.op, &rw);
	assert_int_equal(probe.calls, 0);
	assert_int_equal(ring_in_flight(ring), 1);
	assert_int_equal(ring_run(ring, true), 1);
	assert_int_equal(probe.calls, 1);
	assert_int_equal(probe.result, 100);
	assert_true(pattern_is(data, 0, 100, 1));
	assert_int_equal(ring_in_flight(ring), 0);
	close(rw.fd);
}

static void with_nothing_in_flight_run_returns_zero_and_does_not_block(void **state)
{
	struct ring *ring = fixture_of(state)->ring;

	assert_int_equal(ring_run(ring, false), 0);
	assert_int_equal(ring_run(ring, true), 0);
}

static void running_without_waiting_delivers_in_the_end(void **state)
{
	struct ring *ring = fixture_of(state)->ring;
	struct probe probe = probe_on(ring);
	char data[100];
	struct ring_rw rw = { .fd = temp_file(100, 1), .data = data, .length = 100, .async = true };

	ring_submit_read(ring, &probe.op, &rw);
	while (!probe.calls)
		assert_true(ring_run(ring, false) >= 0);
	assert_int_equal(probe.result, 100);
	close(rw.fd);
}

static void an_error_arrives_in_the_callback(void **state)
{
	struct ring *ring = fixture_of(state)->ring;
	struct probe probe[4];
	char data[4] = "";
	struct ring_rw rw = { .fd = -1, .data = data, .length = sizeof(data) };

	for (unsigned i = 0; i < 4; i++)
		probe[i] = probe_on(ring);
	ring_submit_read(ring, &probe[0].op, &rw);
	ring_submit_write(ring, &probe[1].op, &rw);
	ring_submit_fsync(ring, &probe[2].op, -1, false);
	ring_submit_fallocate(ring, &probe[3].op, -1, 0, 0, 1);
	run_all(ring);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(probe[i].calls, 1);
		assert_int_equal(probe[i].result, -EBADF);
	}
}

static void deferred_results_are_delivered_in_order(void **state)
{
	struct ring *ring = fixture_of(state)->ring;
	unsigned sequence = 0;
	struct probe probe[5];

	for (int i = 0; i < 5; i++) {
		probe[i] = probe_on(ring);
		probe[i].sequence = &sequence;
		ring_defer(ring, &probe[i].op, i * 10);
	}
	assert_int_equal(ring_in_flight(ring), 5);
	assert_int_equal(ring_run(ring, true), 5);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(probe[i].order, i + 1);
		assert_int_equal(probe[i].result, i * 10);
	}
}

static void what_a_callback_submits_waits_for_the_next_run(void **state)
{
	struct ring *ring = fixture_of(state)->ring;
	struct probe probe = probe_on(ring);

	probe.again = true;
	ring_defer(ring, &probe.op, 7);
	assert_int_equal(ring_run(ring, true), 1);
	assert_int_equal(probe.calls, 1);
	assert_int_equal(ring_run(ring, true), 1);
	assert_int_equal(probe.calls, 2);
	assert_int_equal(probe.result, 8);
}

static void a_callback_may_run_the_ring_itself(void **state)
{
	struct ring *ring = fixture_of(state)->ring;
	struct probe probe[3];

	for (int i = 0; i < 3; i++) {
		probe[i] = probe_on(ring);
		ring_defer(ring, &probe[i].op, 0);
	}
	probe[0].nested = true;
	assert_int_equal(ring_run(ring, true), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(probe[i].calls, 1);
}

static void far_more_operations_than_entries_all_come_back(void **state)
{
	enum { COUNT = 1000 };
	struct fixture *f = fixture_of(state);
	struct ring *ring = new_ring(4, f->kind == KIND_PLAIN);
	struct probe *probe = calloc(COUNT, sizeof(*probe));
	unsigned char *data = calloc(COUNT, 8);
	int fd = temp_file(COUNT * 8, 3);

	for (unsigned i = 0; i < COUNT; i++) {
		struct ring_rw rw = {
			.fd = fd, .data = data + i * 8, .length = 8, .offset = i * 8
		};

		probe[i] = probe_on(ring);
		ring_submit_read(ring, &probe[i].op, &rw);
	}
	assert_int_equal(ring_in_flight(ring), COUNT);
	run_all(ring);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(probe[i].calls, 1);
		assert_int_equal(probe[i].result, 8);
	}
	assert_true(pattern_is(data, 0, COUNT * 8, 3));
	ring_free(ring);
	free(probe);
	free(data);
	close(fd);
}

/* ---- operations ---- */

static void fsync_and_fallocate_do_what_they_say(void **state)
{
	struct ring *ring = fixture_of(state)->ring;
	struct probe probe[3];
	int fd = temp_file(10, 1);

	for (unsigned i = 0; i < 3; i++)
		probe[i] = probe_on(ring);
	ring_submit_fallocate(ring, &probe[0].op, fd, 0, 4096, 8192);
	run_all(ring);
	ring_submit_fsync(ring, &probe[1].op, fd, false);
	ring_submit_fsync(ring, &probe[2].op, fd, true);
	run_all(ring);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(probe[i].result, 0);
	assert_int_equal(file_size(fd), 4096 + 8192);
	close(fd);
}

static void flags_of_preadv2_and_pwritev2_are_honoured(void **state)
{
	struct ring *ring = fixture_of(state)->ring;
	struct probe probe = probe_on(ring);
	char data[10];
	struct ring_rw rw = {
		.fd = temp_file(10, 1), .data = data, .length = 10, .rw_flags = RWF_APPEND
	};

	pattern_fill(data, 10, 10, 1);
	ring_submit_write(ring, &probe.op, &rw); /* at 0, were it not for RWF_APPEND */
	run_all(ring);
	assert_int_equal(probe.result, 10);
	assert_int_equal(file_size(rw.fd), 20);
	assert_true(file_has(rw.fd, 0, 20, 0, 1));

	memset(data, 0, sizeof(data));
	rw.offset = 5;
	rw.rw_flags = RWF_NOWAIT; /* it has just been written: in the page cache */
	ring_submit_read(ring, &probe.op, &rw);
	run_all(ring);
	if (probe.result == -EAGAIN || probe.result == -EOPNOTSUPP)
		skip();
	assert_int_equal(probe.result, 10);
	assert_true(pattern_is(data, 5, 10, 1));
	close(rw.fd);
}

static void a_personality_is_refused_on_a_plain_ring(void **state)
{
	struct ring *ring = new_ring(8, true);

	assert_int_equal(ring_register_personality(ring), -EOPNOTSUPP);
	assert_int_equal(ring_register_buffer(ring, ring, 1), -EOPNOTSUPP);
	assert_int_equal(ring_register_table(ring, ring, 1, 1), -EOPNOTSUPP);
	ring_unregister_buffer(ring);
	ring_free(ring);
}

/* Takes CAP_FSETID from the thread's effective set, or gives it back. false: not ours to change. */
static bool set_fsetid(bool on)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return false;
	if (on)
		data[0].effective |= 1u << CAP_FSETID;
	else
		data[0].effective &= ~(1u << CAP_FSETID);
	return data[0].permitted & 1u << CAP_FSETID && !syscall(SYS_capset, &header, data);
}

static bool has_setuid(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_mode & S_ISUID;
}

static void a_write_by_a_personality_acts_with_its_credentials(void **state)
{
	struct ring *ring = new_real_ring(8);
	struct probe probe = probe_on(ring);
	char data[1] = { 'x' };
	struct ring_rw rw = { .fd = temp_file(0, 0), .data = data, .length = 1 };

	if (!set_fsetid(false)) {
		ring_free(ring);
		close(rw.fd);
		skip();
	}
	rw.personality = ring_register_personality(ring);
	set_fsetid(true);
	assert_true(rw.personality > 0);
	assert_int_equal(fchmod(rw.fd, 04755), 0);

	ring_submit_write(ring, &probe.op, &rw);
	run_all(ring);
	assert_int_equal(probe.result, 1);
	assert_false(has_setuid(rw.fd));

	assert_int_equal(fchmod(rw.fd, 04755), 0);
	rw.personality = 0;
	ring_submit_write(ring, &probe.op, &rw);
	run_all(ring);
	assert_true(has_setuid(rw.fd));
	ring_free(ring);
	close(rw.fd);
}

static void an_unknown_personality_is_an_error_in_the_callback(void **state)
{
	struct ring *ring = new_real_ring(8);
	struct probe probe = probe_on(ring);
	char data[1] = { 'x' };
	struct ring_rw rw = { .fd = temp_file(0, 0), .data = data, .length = 1, .personality = 99 };

	ring_submit_write(ring, &probe.op, &rw);
	run_all(ring);
	assert_int_equal(probe.result, -EINVAL);
	ring_free(ring);
	close(rw.fd);
}

/* ---- entering the kernel ---- */

static void several_operations_enter_the_kernel_once(void **state)
{
	struct ring *ring = new_real_ring(8);
	struct probe probe[4];
	char data[4][64];
	int fd = temp_file(256, 1);
	uint64_t before = ring_enters(ring);

	for (unsigned i = 0; i < 4; i++) {
		struct ring_rw rw = { .fd = fd, .data = data[i], .length = 64, .offset = i * 64 };

		probe[i] = probe_on(ring);
		ring_submit_read(ring, &probe[i].op, &rw);
	}
	assert_int_equal(ring_run(ring, true), 4); /* in the page cache: complete at once */
	assert_int_equal(ring_enters(ring) - before, 1);
	assert_int_equal(fault_calls(FAULT_ENTER), 1);
	ring_free(ring);
	close(fd);
}

static void deferred_results_do_not_enter_the_kernel(void **state)
{
	struct ring *ring = new_real_ring(8);
	struct probe probe = probe_on(ring);

	ring_defer(ring, &probe.op, 1);
	assert_int_equal(ring_run(ring, true), 1);
	assert_int_equal(ring_enters(ring), 0);
	ring_free(ring);
}

static void a_passing_failure_to_enter_is_retried(void **state)
{
	static const int errors[] = { -EINTR, -EAGAIN, -EBUSY };

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct ring *ring = new_real_ring(8);
		struct probe probe = probe_on(ring);
		char data[8];
		struct ring_rw rw = { .fd = temp_file(8, 1), .data = data, .length = 8 };

		fault_set(FAULT_ENTER, 1, 3, errors[i]);
		ring_submit_read(ring, &probe.op, &rw);
		assert_int_equal(ring_run(ring, true), 1);
		assert_int_equal(probe.result, 8);
		ring_free(ring);
		close(rw.fd);
	}
}

static void a_lasting_failure_to_enter_is_told_and_loses_nothing(void **state)
{
	struct ring *ring = new_real_ring(8);
	struct probe probe = probe_on(ring);
	struct probe deferred = probe_on(ring);
	char data[8];
	struct ring_rw rw = { .fd = temp_file(8, 1), .data = data, .length = 8 };

	fault_set(FAULT_ENTER, 1, 2, -ENXIO);
	ring_submit_read(ring, &probe.op, &rw);
	assert_int_equal(ring_run(ring, true), -ENXIO);
	assert_int_equal(ring_in_flight(ring), 1);
	ring_defer(ring, &deferred.op, 0);
	assert_int_equal(ring_run(ring, true), 1); /* what is complete is delivered */
	assert_int_equal(deferred.calls, 1);
	assert_int_equal(ring_run(ring, true), 1);
	assert_int_equal(probe.result, 8);
	ring_free(ring);
	close(rw.fd);
}

static void an_operation_without_room_fails_through_its_callback(void **state)
{
	static const int errors[] = { -EAGAIN, -ENXIO };

	for (size_t k = 0; k < 2; k++) {
		struct ring *ring = new_real_ring(4);
		struct probe probe[5];
		char data[8];
		struct ring_rw rw = { .fd = temp_file(8, 1), .data = data, .length = 8 };

		fault_set(FAULT_ENTER, 1, 1000, errors[k]);
		for (unsigned i = 0; i < 5; i++) {
			probe[i] = probe_on(ring);
			ring_submit_read(ring, &probe[i].op, &rw);
		}
		assert_int_equal(probe[4].calls, 0);
		assert_int_equal(ring_run(ring, false), 1);
		assert_int_equal(probe[4].result, errors[k]);
		fault_clear();
		run_all(ring);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(probe[i].result, 8);
		ring_free(ring);
		close(rw.fd);
	}
}

static int clean(void **state)
{
	fault_clear();
	return 0;
}

static void a_poll_tells_when_a_descriptor_is_ready(void **state)
{
	struct ring *ring = new_real_ring(4);
	struct probe probe = probe_on(ring);
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	ring_submit_poll(ring, &probe.op, fds[0], POLLIN);
	assert_int_equal(ring_run(ring, false), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	run_all(ring);
	assert_int_equal(probe.calls, 1);
	assert_true(probe.result & POLLIN);
	close(fds[0]);
	close(fds[1]);
	ring_free(ring);
}

static void a_poll_may_stay_behind_when_the_ring_is_freed(void **state)
{
	struct ring *ring = new_real_ring(4);
	struct probe probe = probe_on(ring);
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	ring_submit_poll(ring, &probe.op, fds[0], POLLIN);
	assert_int_equal(ring_run(ring, false), 0);
	assert_int_equal(ring_in_flight(ring), 1);
	ring_free(ring);
	assert_int_equal(probe.calls, 0);
	close(fds[0]);
	close(fds[1]);
}

/* A pipe has no commands: the answer is an error, and comes like any other. */
static void a_command_that_a_file_does_not_know_is_an_error_in_the_callback(void **state)
{
	const struct ring_options options = { .entries = 4, .commands = true };
	struct ring_command command = { .data = "data", .size = 4 };
	struct ring *ring;
	struct probe probe;
	int fds[2];

	assert_int_equal(ring_new(&options, &ring), 0);
	if (ring_is_plain(ring)) {
		ring_free(ring);
		skip();
	}
	probe = probe_on(ring);
	assert_int_equal(pipe(fds), 0);
	command.fd = fds[0];
	ring_submit_command(ring, &probe.op, &command);
	run_all(ring);
	assert_int_equal(probe.calls, 1);
	assert_int_equal(probe.result, -EOPNOTSUPP);
	close(fds[0]);
	close(fds[1]);
	ring_free(ring);
}

/* What is linked to a read of 50 bytes at offset of a file of 100: its result. */
static int linked_to_read_at(uint64_t offset, int fd, int *ret_first)
{
	struct ring *ring = new_real_ring(8);
	struct probe first = probe_on(ring), second = probe_on(ring);
	char data[2][50];
	struct ring_rw rw = { .fd = fd, .data = data[0], .length = 50, .offset = offset };

	assert_true(ring_has_room(ring));
	rw.linked = true;
	ring_submit_read(ring, &first.op, &rw);
	ring_submit_read(ring, &second.op,
			 &(struct ring_rw){ .fd = fd, .data = data[1], .length = 50 });
	run_all(ring);
	if (first.result == 50)
		assert_int_equal(ring_enters(ring), 1);
	ring_free(ring);
	*ret_first = first.result;
	return second.result;
}

static void what_is_linked_goes_ahead_when_all_was_moved_and_not_else(void **state)
{
	int file = temp_file(100, 1);
	int directory = open("/", O_RDONLY | O_DIRECTORY);
	int first;

	assert_int_equal(linked_to_read_at(50, file, &first), 50);
	assert_int_equal(first, 50);
	assert_int_equal(linked_to_read_at(51, file, &first), -ECANCELED);
	assert_int_equal(first, 49);
	assert_int_equal(linked_to_read_at(200, file, &first), -ECANCELED);
	assert_int_equal(first, 0);
	assert_int_equal(linked_to_read_at(0, directory, &first), -ECANCELED);
	assert_int_equal(first, -EISDIR);
	close(file);
	close(directory);
}

/* The kernel may have memory for the first only. */
static void what_is_cut_off_from_what_it_is_linked_to_is_cancelled(void **state)
{
	struct ring *ring = new_real_ring(8);
	int fd = temp_file(100, 1);
	int copy = temp_file(0, 0);
	struct probe read = probe_on(ring), write = probe_on(ring), last = probe_on(ring);
	char data[50];
	struct ring_rw rw = { .fd = fd, .data = data, .length = 50, .linked = true };

	fault_set(FAULT_ENTER, 1, 1, FAULT_SHORT);
	ring_submit_read(ring, &read.op, &rw);
	rw.linked = false;
	rw.fd = copy;
	ring_submit_write(ring, &write.op, &rw);
	rw.fd = fd;
	ring_submit_read(ring, &last.op, &rw);
	run_all(ring);
	assert_int_equal(read.result, 50);
	assert_int_equal(write.result, -ECANCELED);
	assert_int_equal(last.result, 50);
	assert_int_equal(lseek(copy, 0, SEEK_END), 0);

	/* The same struct goes again, and what is not linked is not touched. */
	fault_set(FAULT_ENTER, 1, 1, FAULT_SHORT);
	rw.fd = copy;
	ring_submit_write(ring, &write.op, &rw);
	ring_submit_fsync(ring, &last.op, copy, false);
	run_all(ring);
	assert_int_equal(write.result, 50);
	assert_int_equal(last.result, 0);
	ring_free(ring);
	close(fd);
	close(copy);
}

static void a_ring_has_room_for_two_until_it_is_nearly_full(void **state)
{
	struct ring *ring = new_real_ring(4);
	struct probe probes[3];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	for (int i = 0; i < 3; i++) {
		assert_true(ring_has_room(ring));
		probes[i] = probe_on(ring);
		ring_submit_poll(ring, &probes[i].op, fds[1], POLLOUT);
	}
	assert_false(ring_has_room(ring));
	run_all(ring);
	assert_true(ring_has_room(ring));
	close(fds[0]);
	close(fds[1]);
	ring_free(ring);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, clean, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_ring_that_was_asked_to_be_plain_has_no_error),
		TEST(a_refused_setup_makes_the_ring_plain_and_tells_why),
		TEST(a_kernel_that_knows_fewer_flags_gives_a_ring_all_the_same),
		TEST(a_kernel_without_read_and_write_makes_the_ring_plain),
		TEST(no_memory_for_a_ring_is_an_error),
		TEST(freeing_no_ring_is_allowed),
		TEST(a_sandbox_that_forbids_io_uring_makes_the_ring_plain),
		ON_EACH_KIND(a_result_comes_from_ring_run_and_never_from_the_submit),
		ON_EACH_KIND(with_nothing_in_flight_run_returns_zero_and_does_not_block),
		ON_EACH_KIND(running_without_waiting_delivers_in_the_end),
		ON_EACH_KIND(an_error_arrives_in_the_callback),
		ON_EACH_KIND(deferred_results_are_delivered_in_order),
		ON_EACH_KIND(what_a_callback_submits_waits_for_the_next_run),
		ON_EACH_KIND(a_callback_may_run_the_ring_itself),
		ON_EACH_KIND(far_more_operations_than_entries_all_come_back),
		ON_EACH_KIND(fsync_and_fallocate_do_what_they_say),
		ON_EACH_KIND(flags_of_preadv2_and_pwritev2_are_honoured),
		TEST(a_personality_is_refused_on_a_plain_ring),
		TEST(a_write_by_a_personality_acts_with_its_credentials),
		TEST(an_unknown_personality_is_an_error_in_the_callback),
		TEST(a_poll_tells_when_a_descriptor_is_ready),
		TEST(a_poll_may_stay_behind_when_the_ring_is_freed),
		TEST(a_command_that_a_file_does_not_know_is_an_error_in_the_callback),
		TEST(what_is_linked_goes_ahead_when_all_was_moved_and_not_else),
		TEST(what_is_cut_off_from_what_it_is_linked_to_is_cancelled),
		TEST(a_ring_has_room_for_two_until_it_is_nearly_full),
		TEST(several_operations_enter_the_kernel_once),
		TEST(deferred_results_do_not_enter_the_kernel),
		TEST(a_passing_failure_to_enter_is_retried),
		TEST(a_lasting_failure_to_enter_is_told_and_loses_nothing),
		TEST(an_operation_without_room_fails_through_its_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
