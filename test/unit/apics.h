/*
 * What the APIC tests share: a few local APICs and an I/O APIC on one bus, with vCPUs that only collect
 * events.
 */
#pragma once

#include "base/clock.h"
#include "machine/apic_bus.h"
#include "machine/bus.h"
#include "machine/ioapic.h"
#include "machine/lapic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define APICS 4

struct apics {
	struct loop loop;
	struct apic_bus bus;
	struct cpu cpu[APICS];
	struct lapic lapic[APICS];
	struct ioapic ioapic;
};

static inline struct apics *apics_new(void)
{
	struct apics *a = calloc(1, sizeof(*a));
	struct error e;

	assert_int_equal(loop_init(&a->loop, &e), 0);
	for (unsigned i = 0; i < APICS; i++) {
		a->cpu[i].config.index = i;
		a->cpu[i].config.tsc_hz = clock_tsc_hz();
		assert_int_equal(lapic_init(&a->lapic[i], &a->bus, i, 40, &a->loop, &e), 0);
		a->lapic[i].cpu = &a->cpu[i];
		a->bus.lapic[i] = &a->lapic[i];
	}
	a->bus.count = APICS;
	ioapic_init(&a->ioapic, &a->bus);
	a->bus.ioapic = &a->ioapic;
	return a;
}

static inline void apics_free(struct apics *a)
{
	ioapic_release(&a->ioapic);
	for (unsigned i = 0; i < APICS; i++)
		lapic_release(&a->lapic[i]);
	loop_release(&a->loop);
	free(a);
}

static inline u32 rd(struct lapic *l, u32 reg)
{
	return (u32)lapic_read(l, reg, 4);
}
static inline void wr(struct lapic *l, u32 reg, u32 v)
{
	lapic_write(l, reg, 4, v);
}

static inline void enable_all(struct apics *a)
{
	for (unsigned i = 0; i < APICS; i++)
		wr(&a->lapic[i], APIC_SVR, 0x1ff);
}

static inline void x2apic(struct lapic *l)
{
	assert_true(lapic_msr_write(l, MSR_APIC_BASE, l->base | APIC_BASE_X2APIC));
}

/* The events raised at a vCPU since the last call. */
static inline u32 events(struct apics *a, unsigned cpu)
{
	return atomic_exchange(&a->cpu[cpu].events, 0);
}

/* Takes the one interrupt that must be pending, and ends it. */
static inline void expect(struct lapic *l, int vector)
{
	assert_int_equal(lapic_ack(l), vector);
	if (vector >= 0)
		wr(l, APIC_EOI, 0);
}
