/*
 * The I/O APIC (82093AA datasheet, with the EOI register of version 0x20): 24 pins. Own lock, any thread;
 * apic_bus and lapic locks are taken inside it.
 *
 * Levels given to ioapic_set() are "asserted" or not: the polarity bit is kept for the guest but not applied,
 * as there is no wire whose voltage could differ. An edge on a masked pin is lost.
 */
#pragma once

#include "base/types.h"

#include <pthread.h>

#define IOAPIC_PINS 24

#define IOAPIC_MASKED     BIT(16)
#define IOAPIC_LEVEL      BIT(15)
#define IOAPIC_REMOTE_IRR BIT(14)
#define IOAPIC_LOGICAL    BIT(11)

struct apic_bus;

struct ioapic {
	pthread_mutex_t lock;
	struct apic_bus *bus;
	u64 redirection[IOAPIC_PINS];
	u32 level; /* pins asserted now */
	u8 id, select;
};

void ioapic_init(struct ioapic *io, struct apic_bus *bus);
void ioapic_release(struct ioapic *io);
/* Registers to power-on state; pins keep the level their devices give them. */
void ioapic_reset(struct ioapic *io);

void ioapic_set(struct ioapic *io, unsigned pin, bool level);
void ioapic_eoi(struct ioapic *io, u8 vector);

u64 ioapic_read(struct ioapic *io, u64 offset, unsigned size);
void ioapic_write(struct ioapic *io, u64 offset, unsigned size, u64 value);

extern const struct bus_ops ioapic_ops; /* ctx: struct ioapic */
