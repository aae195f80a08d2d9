/*
 * The 8254 programmable interval timer (Intel 8254 datasheet), ports 0x40–0x43, and the part of port 0x61
 * that belongs to it: gate and output of channel 2, the refresh toggle. Channel 0's output is IRQ 0.
 *
 * Nothing ticks: a channel knows when it was started, and counts and outputs are derived from
 * CLOCK_MONOTONIC; an alarm of the loop follows channel 0's output only. Own lock, any thread; the irq line
 * is set with it held.
 */
#pragma once

#include "base/loop.h"
#include "base/types.h"
#include "machine/bus.h"
#include "machine/irq.h"

#include <pthread.h>

#define PIT_HZ 1193182ULL

struct pit_channel {
	u32 count; /* 1 … 65536 (10000 in BCD) */
	u8 mode;   /* 0–5 */
	u8 access; /* 1 low, 2 high, 3 low then high */
	bool bcd;
	bool gate;
	bool loaded;                /* a count was written since the control word */
	bool waiting;               /* modes 1 and 5: no trigger came yet */
	bool write_high, read_high; /* which byte is next with access 3 */
	u8 low;                     /* low byte written, waiting for the high one */
	u8 latched;                 /* bytes of the latched count left: bit 0 low, bit 1 high */
	u16 latch;
	bool status_latched;
	u8 status;
	u64 start_ns; /* when counting began */
	u64 run_ns;   /* counted before the gate stopped it (modes 0, 4) */
};

struct pit {
	pthread_mutex_t lock;
	struct pit_channel channel[3];
	u8 port61; /* bits 3:0 */
	struct irq_line irq;
	struct loop_timer alarm;
	struct bus_region region, region61;
};

int pit_init(struct pit *p, struct irq_line irq, struct loop *loop, struct error *e);
void pit_release(struct pit *p);
void pit_reset(struct pit *p);
int pit_map(struct pit *p, struct bus *pio);

/* Ports 0x40–0x43 and 0x61, at a time. */
u8 pit_read(struct pit *p, u16 port, u64 now_ns);
void pit_write(struct pit *p, u16 port, u8 value, u64 now_ns);
/* A channel's output, and when it will next rise (0: never); for channel 0's alarm and tests. */
bool pit_output(const struct pit_channel *c, u64 now_ns);
u64 pit_next_rise(const struct pit_channel *c, u64 now_ns);
