/*
 * Two cascaded 8259A interrupt controllers (Intel 8259A datasheet), ports 0x20–0x21, 0xa0–0xa1, and the ELCR
 * ports 0x4d0–0x4d1 that make single lines level-triggered. Own lock, any thread; the output callback is
 * called with it held and may take a local APIC's lock.
 */
#pragma once

#include "base/types.h"
#include "machine/bus.h"

#include <pthread.h>

struct pic_chip {
	u8 irr, isr, imr;
	u8 lines;                 /* levels at the pins */
	u8 elcr;                  /* level-triggered pins */
	u8 base;                  /* ICW2: vector of IR0 */
	u8 icw_step;              /* next ICW expected at the odd port: 2, 3, 4; 0: none, it is OCW1 */
	u8 lowest;                /* the IR with lowest priority: 7 but for rotation */
	bool icw4, single, level; /* of ICW1 */
	bool auto_eoi, special_nested;
	bool rotate_auto, special_mask, poll, read_isr;
};

struct pic {
	pthread_mutex_t lock;
	struct pic_chip chip[2];               /* master, slave */
	void (*output)(void *ctx, bool level); /* INTR */
	void *ctx;
	struct bus_region region[3];
};

void pic_init(struct pic *p, void (*output)(void *ctx, bool level), void *ctx);
void pic_release(struct pic *p);
void pic_reset(struct pic *p);

/* Irq 0–15; 2 is the cascade and ignored. */
void pic_set(struct pic *p, unsigned irq, bool level);
/* The INTA cycle: the vector, the spurious one (IR7) if the request went away. */
u8 pic_ack(struct pic *p);

/* ports 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 */
u8 pic_read(struct pic *p, u16 port);
void pic_write(struct pic *p, u16 port, u8 value);

int pic_map(struct pic *p, struct bus *pio);
