/*
 * 16550A UART (National Semiconductor PC16550D data sheet) at eight I/O ports.
 *
 * Output: bytes go to a ring of SERIAL_RING bytes that the loop's thread drains into the chardev; in
 * unbuffered mode each byte is written at once, on the vCPU's thread. With no room left, THRE is withheld, so
 * that a driver which looks at LSR loses nothing however slow the reader is. A guest that writes without
 * looking is held up for a short, bounded time; if the reader has not moved by then, its bytes are lost, as
 * on hardware.
 *
 * Input: pulled from the chardev only when the guest listens (receive interrupt on, or LSR polled in a row)
 * and the FIFO has room. What arrives before that waits on the host and does not fall to a driver's FIFO
 * reset.
 *
 * The interrupt line's level is recomputed from the registers after each change. OUT2 does not gate it, as on
 * most integrated UARTs. There is no baud clock: bytes take no time, and the character timeout is immediate.
 *
 * Threads: registers on any (own lock); _new, _reset, _free on the loop's thread.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "base/types.h"
#include "device/chardev.h"
#include "machine/bus.h"
#include "machine/irq.h"

#define SERIAL_RING 65536u

struct serial_config {
	u16 base; /* 0x3f8 */
	struct irq_line irq;
	struct chardev *chardev; /* borrowed; must outlive the UART */
	bool unbuffered;
};

struct serial;

struct serial *serial_new(const struct serial_config *config, struct bus *pio, struct loop *loop,
                          struct error *e);
/* When the loop has ended. Waits up to a few seconds for output that is still in the ring. */
void serial_free(struct serial *s);
/* Power-on state; output already accepted is kept. */
void serial_reset(struct serial *s);
