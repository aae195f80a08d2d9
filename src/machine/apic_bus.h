/*
 * The APIC bus: interrupt messages and who gets them (SDM vol. 3 10.6.2, 10.11). Messages come from ICRs, I/O
 * APICs and MSIs; EOI broadcasts go the other way. Any thread; no lock of the sender may be one that lapic.c
 * takes.
 */
#pragma once

#include "base/types.h"

#include <stdatomic.h>

struct lapic;
struct ioapic;

#define APIC_BUS_MAX 64

struct apic_message {
	u32 dest;
	bool logical;
	bool wide;  /* dest has 32 bits (sent by an x2APIC); else 8 */
	bool level; /* trigger mode */
	u8 mode;    /* APIC_DM_* */
	u8 vector;
};

struct apic_bus {
	struct lapic *lapic[APIC_BUS_MAX];
	unsigned count;
	struct ioapic *ioapic; /* gets EOIs; may be NULL */
	_Atomic unsigned turn; /* lowest-priority arbitration starts with another APIC each time */
};

/* Who of the APICs that match are meant. */
enum apic_shorthand { APIC_TO_DEST, APIC_TO_SELF, APIC_TO_ALL, APIC_TO_OTHERS };

/* True if at least one APIC accepted it. self is only for shorthands. */
bool apic_send(struct apic_bus *bus, const struct apic_message *m, enum apic_shorthand to,
               struct lapic *self);
/* An MSI write to 0xfee00000–0xfeefffff (10.11). */
void apic_msi(struct apic_bus *bus, u64 address, u32 data);
/* A level-triggered interrupt was finished. */
void apic_eoi(struct apic_bus *bus, u8 vector);
