/*
 * A guest without a CPU, to drive devices with: memory, buses, a PCI bus whose MSIs are counted, an event
 * loop. For unit tests that include it after cmocka.h.
 */
#pragma once

#include "base/clock.h"
#include "base/loop.h"
#include "machine/bus.h"
#include "machine/memory.h"
#include "machine/pci.h"

#include <pthread.h>
#include <string.h>

#define GUEST_MEMORY (16 * MiB)
#define GUEST_MSIS   64

struct guest {
	struct memory mem;
	struct bus *pio, *mmio;
	struct pci_host *pci;
	struct loop loop;
	struct loop_timer timer;
	struct loop_call stop;
	unsigned msi[GUEST_MSIS]; /* by message data */
	bool line[24];
	unsigned line_changes;
	u64 heap; /* next free gpa */
};

static void guest_msi(void *ctx, u64 address, u32 data)
{
	struct guest *g = ctx;

	if (address == 0xfee00000 && data < GUEST_MSIS)
		g->msi[data]++;
}

static void guest_line(void *ctx, unsigned n, bool level)
{
	struct guest *g = ctx;

	g->line_changes += g->line[n] != level;
	g->line[n] = level;
}

static void guest_stop(void *ctx)
{
	loop_stop(ctx);
}

/* What was ready before the time was up has its turn before the call: descriptors are served in the order of
 * their events. */
static void guest_timer(void *ctx)
{
	struct guest *g = ctx;

	g->stop = (struct loop_call){.fn = guest_stop, .ctx = &g->loop};
	loop_post(&g->loop, &g->stop);
}

static void guest_nothing(void *ctx) {}

static void guest_init(struct guest *g)
{
	struct error e = {0};

	memset(g, 0, sizeof(*g));
	g->heap = 0x100000;
	assert_int_equal(memory_init(&g->mem, GUEST_MEMORY, &e), 0);
	assert_int_equal(loop_init(&g->loop, &e), 0);
	assert_int_equal(loop_timer_init(&g->loop, &g->timer, guest_timer, g, &e), 0);
	g->pio = bus_new();
	g->mmio = bus_new();
	struct pci_host_config c = {
	        .pio = g->pio,
	        .mmio = g->mmio,
	        .ecam_base = 0xe0000000,
	        .ecam_size = 0x10000000,
	        .mem_base = 0xc0000000,
	        .mem_size = 0x20000000,
	        .mem64_base = 0x100000000000,
	        .mem64_size = 0x1000000000,
	        .io_base = 0xc000,
	        .io_size = 0x1000,
	        .msi = {.send = guest_msi, .ctx = g},
	        .reset = guest_nothing,
	        .ctx = g,
	};
	for (unsigned i = 0; i < 8; i++)
		c.intx[i] = (struct irq_line){.set = guest_line, .ctx = g, .n = 16 + i};
	g->pci = pci_host_new(&c, &e);
	assert_non_null(g->pci);
}

static void guest_release(struct guest *g)
{
	pci_host_free(g->pci);
	bus_free(g->pio);
	bus_free(g->mmio);
	loop_timer_release(&g->timer);
	loop_release(&g->loop);
	memory_release(&g->mem);
}

/* Guest memory, page-aligned; zeroed unless the test has moved the heap back. */
static inline u64 guest_alloc(struct guest *g, u64 size)
{
	u64 gpa = g->heap;

	g->heap += align_up(size, PAGE_SIZE);
	assert_true(g->heap <= GUEST_MEMORY);
	return gpa;
}

static inline void *guest_ptr(struct guest *g, u64 gpa)
{
	void *p = memory_range(&g->mem, gpa, 1);

	assert_non_null(p);
	return p;
}

/* Lets the loop run for a while, and until it has handled what had come by then. */
static inline void guest_run(struct guest *g, unsigned ms)
{
	struct error e;

	loop_timer_arm(&g->timer, clock_monotonic_ns() + ms * 1000000ULL);
	assert_int_equal(loop_run(&g->loop, &e), 0);
	g->loop.stop = false;
}

/* Lets the loop run until the condition holds; fails after a minute. */
#define guest_until(g, condition)                                 \
	do {                                                      \
		u64 _end = clock_monotonic_ns() + 60000000000ULL; \
		while (!(condition)) {                            \
			assert_true(clock_monotonic_ns() < _end); \
			guest_run(g, 1);                          \
		}                                                 \
	} while (0)

/* BAR 0 of the device in a slot, decoding and bus mastering on. */
static inline u64 guest_bar(struct guest *g, unsigned slot)
{
	pci_config_write(g->pci, slot, 4, 2, 6);
	return (pci_config_read(g->pci, slot, 0x10, 4) & ~0xfu) | (u64)pci_config_read(g->pci, slot, 0x14, 4)
	                                                                  << 32;
}

static inline unsigned guest_capability(struct guest *g, unsigned slot, u8 id, unsigned nth)
{
	unsigned at = pci_config_read(g->pci, slot, 0x34, 1);

	for (; at; at = pci_config_read(g->pci, slot, at + 1, 1))
		if (pci_config_read(g->pci, slot, at, 1) == id && !nth--)
			break;
	return at;
}

/* MSI-X on: vector v sends data v + base. */
static inline void guest_msix(struct guest *g, unsigned slot, u64 table, unsigned vectors, u32 base)
{
	unsigned cap = guest_capability(g, slot, 0x11, 0);

	assert_int_not_equal(cap, 0);
	for (unsigned v = 0; v < vectors; v++) {
		bus_write(g->mmio, table + v * 16, 8, 0xfee00000);
		bus_write(g->mmio, table + v * 16 + 8, 4, base + v);
		bus_write(g->mmio, table + v * 16 + 12, 4, 0);
	}
	pci_config_write(g->pci, slot, cap + 2, 2, 0x8000);
}
