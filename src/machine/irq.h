/*
 * Interrupt wiring. A line is a level (ISA IRQ or PCI INTx); an MSI is a write. Any thread; the
 * implementation (board) locks. Devices hold a copy of struct irq_line or struct msi_sink and know nothing of
 * APICs.
 */
#pragma once

#include "base/types.h"

struct irq_line {
	void (*set)(void *ctx, unsigned n, bool level);
	void *ctx;
	unsigned n; /* GSI */
};

static inline void irq_set(const struct irq_line *l, bool level)
{
	if (l->set)
		l->set(l->ctx, l->n, level);
}

struct msi_sink {
	void (*send)(void *ctx, u64 address, u32 data); /* SDM vol. 3 10.11 */
	void *ctx;
};

static inline void msi_send(const struct msi_sink *s, u64 address, u32 data)
{
	if (s->send)
		s->send(s->ctx, address, data);
}
