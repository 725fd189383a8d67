/* SPDX-License-Identifier: MIT */
/*
 * Feeds the protocol layer, and all handlers behind it, with messages that no kernel would send.
 * The input is a row of records; each becomes one message. Half of the time node ids and file
 * handles are real ones, so that handlers are reached and not only their checks.
 *
 * Built with clang's -fsanitize=fuzzer (meson option fuzz) it is a libFuzzer target; else a test
 * that runs a fixed number of pseudo-random inputs, whose seed it prints.
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "session.h"
#include "fs/inode.h"
#include "fs/protocol.h"

#define FILE_SIZE_MAX (1 << 20)
#define KNOWN	      8

struct record {
	uint8_t opcode;
	uint8_t node; /* which of the known nodes; high bit: as it stands in the data */
	uint8_t handle; /* likewise */
	uint8_t length; /* of the data, in units of 4 bytes */
};

struct known {
	uint64_t nodes[KNOWN];
	uint64_t handles[KNOWN];
	uint64_t uniques[KNOWN];
	unsigned node_count, handle_count, unique_count;
};

static void remember(uint64_t values[KNOWN], unsigned *count, uint64_t value)
{
	values[(*count)++ % KNOWN] = value;
}

static void learn(struct session *session, struct known *known, uint32_t opcode)
{
	struct fuse_entry_out entry;
	struct fuse_open_out open;
	size_t before = 0;

	switch (opcode) {
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		before = sizeof(entry);
		/* fall through */
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		if (session->error || session->size < before + sizeof(open))
			return;
		memcpy(&open, session->data + before, sizeof(open));
		remember(known->handles, &known->handle_count, open.fh);
		if (!before)
			return;
		/* fall through */
	case FUSE_LOOKUP:
	case FUSE_MKDIR:
	case FUSE_MKNOD:
	case FUSE_SYMLINK:
		if (session->error || session->size < sizeof(entry))
			return;
		memcpy(&entry, session->data, sizeof(entry));
		remember(known->nodes, &known->node_count, entry.nodeid);
		return;
	default:
		return;
	}
}

/* Where the file handle lies in the argument: first in most, not in all. */
static void set_handle(char *argument, size_t size, uint32_t opcode, uint64_t fh)
{
	size_t at = 0;

	if (opcode == FUSE_GETATTR || opcode == FUSE_SETATTR || opcode == FUSE_STATX)
		at = 8;
	if (size >= at + sizeof(fh))
		memcpy(argument + at, &fh, sizeof(fh));
	if (opcode == FUSE_COPY_FILE_RANGE || opcode == FUSE_COPY_FILE_RANGE_64)
		if (size >= offsetof(struct fuse_copy_file_range_in, fh_out) + sizeof(fh))
			memcpy(argument + offsetof(struct fuse_copy_file_range_in, fh_out), &fh,
			       sizeof(fh));
}

static void send(struct session *session, struct known *known, const struct record *record,
		 const uint8_t *data, size_t size)
{
	static uint64_t unique = 2;
	char message[sizeof(struct fuse_in_header) + 4 * 255];
	struct fuse_in_header in = { .opcode = record->opcode % STATS_OPERATIONS };
	unsigned before = session->replies;
	bool expects_none = in.opcode == FUSE_FORGET || in.opcode == FUSE_BATCH_FORGET ||
			    in.opcode == FUSE_INTERRUPT;

	memcpy(message + sizeof(in), data, size);
	in.len = (uint32_t)(sizeof(in) + size);
	in.unique = unique += 2;
	in.nodeid = FUSE_ROOT_ID;
	if (record->node & 0x80 && size >= sizeof(in.nodeid))
		memcpy(&in.nodeid, data, sizeof(in.nodeid));
	else if (known->node_count)
		in.nodeid = known->nodes[record->node % KNOWN];
	if (record->node == 0x7f && size >= sizeof(in))
		memcpy(&in, data, sizeof(in)); /* anything at all */
	if (!(record->handle & 0x80) && known->handle_count)
		set_handle(message + sizeof(in), size, in.opcode,
			   known->handles[record->handle % KNOWN]);
	if (in.opcode == FUSE_DESTROY || in.opcode == FUSE_SYNCFS)
		return; /* slow, and without arguments worth fuzzing */
	memcpy(message, &in, sizeof(in));
	session_send_raw(session, message, sizeof(in) + size);
	pthread_mutex_lock(&session->lock);
	/* Answered once, or held by another thread, or of the kind that has no answer. */
	assert(session->replies == before + 1 || session->detached || session->finished ||
	       expects_none);
	pthread_mutex_unlock(&session->lock);
	learn(session, known, in.opcode);
	remember(known->uniques, &known->unique_count, in.unique);
}

/* Ends what still waits: lock waits, copies. */
static void interrupt_all(struct session *session, struct known *known)
{
	for (unsigned i = 0; i < KNOWN && session->detached; i++) {
		struct fuse_interrupt_in in = { .unique = known->uniques[i] };

		session_call(session, FUSE_INTERRUPT, 0, &(struct session_part){ &in, sizeof(in) },
			     1);
	}
}

static void tweak(struct options *options)
{
	options->locks = LOCKS_FORWARD;
	options->copy_max = 256 << 10;
}

static void limit_files(void)
{
	struct rlimit limit = { FILE_SIZE_MAX, FILE_SIZE_MAX };

	setrlimit(RLIMIT_FSIZE, &limit);
	signal(SIGXFSZ, SIG_IGN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool limited;
	struct session session;
	struct known known = { .nodes = { FUSE_ROOT_ID, FUSE_ROOT_ID, FUSE_ROOT_ID,
					  FUSE_ROOT_ID } };

	if (!limited)
		limit_files();
	limited = true;
	session_init_raw(&session, tweak);
	if (size && data[0] & 1)
		session_init_request(&session);
	while (size > sizeof(struct record)) {
		struct record record;
		size_t length;

		memcpy(&record, data, sizeof(record));
		data += sizeof(record);
		size -= sizeof(record);
		length = (size_t)record.length * 4;
		if (length > size)
			length = size;
		send(&session, &known, &record, data, length);
		data += length;
		size -= length;
	}
	interrupt_all(&session, &known);
	session_fini(&session);
	return 0;
}

#ifndef FUZZ_ENGINE /* else libFuzzer brings main() */
/* xorshift: the same inputs everywhere. */
static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static size_t make_input(uint32_t *state, uint8_t *input, size_t room)
{
	static const char *const names[] = { "a", "b", "dir", "..", "a/b", "", ".zcfs", "user.x" };
	size_t used = 0;

	while (used + sizeof(struct record) + 4 * 255 < room) {
		struct record record = {
			.opcode = (uint8_t)next_random(state),
			.node = (uint8_t)(next_random(state) % 0x90),
			.handle = (uint8_t)(next_random(state) % 0x90),
			.length = (uint8_t)(next_random(state) % 40),
		};
		size_t length = (size_t)record.length * 4;
		const char *name = names[next_random(state) % (sizeof(names) / sizeof(names[0]))];

		memcpy(input + used, &record, sizeof(record));
		used += sizeof(record);
		for (size_t i = 0; i < length; i++)
			input[used + i] = next_random(state) % 4 ? 0 : (uint8_t)next_random(state);
		if (length > strlen(name))
			memcpy(input + used +
				       (next_random(state) % 3) * 8 % (length - strlen(name)),
			       name, strlen(name) + 1);
		used += length;
	}
	return used;
}

int main(int argc, char **argv)
{
	uint32_t state = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 1;
	int runs = argc > 2 ? atoi(argv[2]) : 300;
	uint8_t input[8192];

	if (!state || runs <= 0) {
		fprintf(stderr, "usage: %s [SEED [RUNS]]\n", argv[0]);
		return 1;
	}
	printf("seed %u, %d runs\n", state, runs);
	for (int i = 0; i < runs; i++)
		LLVMFuzzerTestOneInput(input, make_input(&state, input, sizeof(input)));
	return 0;
}
#endif
