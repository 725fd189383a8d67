/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

/*
 * Faults on demand, put between the pool library and the system by -Wl,--wrap: the n-th call fails,
 * or moves only half of what it was asked for. Reads and writes are counted and hit alike whether
 * they go by pread(2) and pwrite(2) or as io_uring operations: those are changed on their way into
 * the kernel (a shorter length, or a NOP in their place), so that a write that fails has written
 * nothing, as a real one.
 *
 * Each thread has its own table.
 */

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

enum fault_call {
	FAULT_READ,
	FAULT_WRITE,
	FAULT_ENTER, /* io_uring_enter(2) */
	FAULT_ASYNC, /* only counted: reads and writes that go straight to a kernel worker */
	FAULT_QUEUE_INIT,
	FAULT_FEATURES, /* any result: the features of a new ring are gone */
	FAULT_REGISTER, /* io_uring_register(2) of buffers */
	FAULT_MMAP,
	FAULT_CALLOC,
	FAULT_CALLS
};

#define FAULT_SHORT INT_MAX /* as a result: half of the length; of FAULT_ENTER: one is taken */

/* The nth call from now (1 is the next), and times in all, gets result: 0, -errno or FAULT_SHORT.
 */
void fault_set(enum fault_call call, unsigned nth, unsigned times, int result);

/* Reads and writes fail at random: soft ones (short, EINTR, EAGAIN) and hard ones (EIO, ENOSPC), in
 * thousandths. */
void fault_random(uint64_t seed, unsigned soft, unsigned hard);

/* Called for each read and write on its way, before any fault. */
typedef void (*fault_watch_fn)(void *arg, enum fault_call call, uint64_t offset, size_t length);
void fault_watch(fault_watch_fn watch, void *arg);

/* Forgets all of it and counts from 0. */
void fault_clear(void);

/* Calls since fault_clear(). */
unsigned fault_calls(enum fault_call call);

#endif
