/*
 * The test device behind --debug-exit: what CPU test suites written for QEMU's pc-testdev and isa-debug-exit
 * expect to find. Own lock, any thread.
 *
 *   0xf4 (any size)        write v: the process ends with status (v << 1) | 1
 *   0xe0–0xe3, 0xe8–0xeb   one 32-bit latch, readable and writable in all sizes
 *   0xe4–0xe7              "flush page": writes are taken and do nothing
 *   0x2000–0x2017          write v: GSI n has level v != 0
 *   0xff000000, 64 KiB     memory that is MMIO
 */
#pragma once

#include "base/types.h"
#include "machine/bus.h"
#include "machine/irq.h"

#include <pthread.h>

#define TESTDEV_MEM_SIZE 0x10000
#define TESTDEV_LINES    24

struct testdev {
	pthread_mutex_t lock;
	u32 latch;
	struct irq_line line[TESTDEV_LINES];
	void (*exit)(void *ctx, int status);
	void *ctx;
	struct bus_region latch_region, latch_byte_region, flush_region, exit_region, line_region, mem_region;
	u8 mem[TESTDEV_MEM_SIZE];
};

/* line[n] is set by the caller after this. */
void testdev_init(struct testdev *t, void (*exit_fn)(void *ctx, int status), void *ctx);
void testdev_release(struct testdev *t);
int testdev_map(struct testdev *t, struct bus *pio, struct bus *mmio, u64 mem_base);
