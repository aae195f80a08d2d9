#include "machine/lapic.h"
#include "machine/apic_bus.h"

#include <string.h>

/* ---- 256-bit registers ---- */

static void bits_set(u32 *r, u8 v)
{
	r[v / 32] |= (u32)BIT(v % 32);
}

static void bits_clear(u32 *r, u8 v)
{
	r[v / 32] &= ~(u32)BIT(v % 32);
}

static bool bits_test(const u32 *r, u8 v)
{
	return r[v / 32] & BIT(v % 32);
}

/* The highest bit that is set, or -1. */
static int bits_top(const u32 *r)
{
	for (int i = 7; i >= 0; i--)
		if (r[i])
			return i * 32 + 31 - __builtin_clz(r[i]);
	return -1;
}

/* ---- priorities (10.8.3); with the lock ---- */

u32 lapic_ppr(const struct lapic *l)
{
	int isrv = bits_top(l->isr);
	u32 serving = isrv < 0 ? 0 : (u32)isrv & 0xf0;

	return (l->tpr & 0xf0) >= serving ? l->tpr : serving;
}

u32 lapic_apr(const struct lapic *l)
{
	u32 isrv = (u32)max(bits_top(l->isr), 0) & 0xf0, irrv = (u32)max(bits_top(l->irr), 0) & 0xf0;
	u32 task = l->tpr & 0xf0, interrupt = max(isrv, irrv);

	return task >= irrv && task > isrv ? l->tpr & 0xff : max(task, interrupt);
}

/* The vector to deliver now, or -1. */
static int lapic_top(const struct lapic *l)
{
	int irrv = bits_top(l->irr);

	return irrv >= 0 && (u32)(irrv & 0xf0) > (lapic_ppr(l) & 0xf0) ? irrv : -1;
}

static bool lapic_extint_ready(const struct lapic *l)
{
	u32 lvt = l->lvt[LVT_LINT0];

	/* Without its APIC the bootstrap processor's LINT0 pin is INTR (10.4.3). */
	if (!(l->base & APIC_BASE_ENABLE))
		return (l->base & APIC_BASE_BSP) && l->lint_level[0];
	return l->extint || (l->lint_level[0] && !(lvt & APIC_LVT_MASKED) && LVT_MODE(lvt) == APIC_DM_EXTINT);
}

static bool lapic_ready(const struct lapic *l)
{
	return lapic_extint_ready(l) || ((l->base & APIC_BASE_ENABLE) && lapic_top(l) >= 0);
}

void lapic_kick(struct lapic *l)
{
	if (l->cpu && lapic_ready(l))
		cpu_raise(l->cpu, CPU_EV_INTR);
}

static void lapic_raise(struct lapic *l, u32 events)
{
	if (l->cpu)
		cpu_raise(l->cpu, events);
}

bool lapic_pending(struct lapic *l)
{
	pthread_mutex_lock(&l->lock);
	bool ready = lapic_ready(l);
	pthread_mutex_unlock(&l->lock);
	return ready;
}

int lapic_ack(struct lapic *l)
{
	int vector = LAPIC_NONE;

	pthread_mutex_lock(&l->lock);
	if (lapic_extint_ready(l)) {
		l->extint = false;
		vector = LAPIC_EXTINT;
	} else if (l->base & APIC_BASE_ENABLE) {
		vector = lapic_top(l);
		if (vector >= 0) {
			bits_clear(l->irr, (u8)vector);
			bits_set(l->isr, (u8)vector);
		}
	}
	lapic_kick(l);
	pthread_mutex_unlock(&l->lock);
	return vector;
}

/* ---- what comes in; with the lock ---- */

void lapic_error(struct lapic *l, u32 bit)
{
	bool fresh = !(l->esr_pending & bit);

	l->esr_pending |= bit;
	/* An illegal vector in the error entry itself ends here, instead of going round. */
	if (fresh && (l->lvt[LVT_ERROR] & 0xff) >= 16)
		lapic_local_interrupt(l, LVT_ERROR);
}

static bool lapic_fixed(struct lapic *l, u8 vector, bool level)
{
	if (!(l->svr & APIC_SVR_ENABLE))
		return false;
	if (vector < 16) {
		lapic_error(l, APIC_ESR_RECV_ILLEGAL);
		return true;
	}
	bits_set(l->irr, vector);
	if (level)
		bits_set(l->tmr, vector);
	else
		bits_clear(l->tmr, vector);
	lapic_kick(l);
	return true;
}

void lapic_local_interrupt(struct lapic *l, unsigned lvt)
{
	u32 v = l->lvt[lvt];
	unsigned mode = lvt == LVT_TIMER || lvt == LVT_ERROR ? APIC_DM_FIXED : LVT_MODE(v);

	if (v & APIC_LVT_MASKED)
		return;
	if (mode == APIC_DM_FIXED)
		lapic_fixed(l, (u8)v, false);
	else if (mode == APIC_DM_NMI)
		lapic_raise(l, CPU_EV_NMI);
	else if (mode == APIC_DM_INIT)
		lapic_raise(l, CPU_EV_INIT);
}

void lapic_pin(struct lapic *l, unsigned pin, bool rising)
{
	unsigned lvt = LVT_LINT0 + pin;
	u32 v = l->lvt[lvt];

	if (!(l->base & APIC_BASE_ENABLE)) {
		if (pin == 1 && rising)
			lapic_raise(l, CPU_EV_NMI);
	} else if (LVT_MODE(v) == APIC_DM_FIXED && (v & LVT_LEVEL) && pin == 0) {
		if (!(v & APIC_LVT_MASKED) && !l->lint_remote_irr[pin] && lapic_fixed(l, (u8)v, true))
			l->lint_remote_irr[pin] = true;
	} else if (rising) {
		lapic_local_interrupt(l, lvt);
	}
	lapic_kick(l); /* ExtINT is a level */
}

void lapic_lint(struct lapic *l, unsigned pin, bool level)
{
	pthread_mutex_lock(&l->lock);
	bool rising = level && !l->lint_level[pin];

	l->lint_level[pin] = level;
	if (level)
		lapic_pin(l, pin, rising);
	pthread_mutex_unlock(&l->lock);
}

static bool lapic_matches_logical(const struct lapic *l, const struct apic_message *m)
{
	if (lapic_x2apic(l)) {
		u32 dest = m->dest;

		if (dest == (m->wide ? 0xffffffff : 0xff))
			return true;
		return dest >> 16 == l->ldr >> 16 && (dest & l->ldr & 0xffff);
	}
	if (m->wide ? m->dest == 0xffffffff : m->dest == 0xff)
		return true;
	u32 dest = m->dest, ldr = l->ldr >> 24;
	if (dest > 0xff)
		return false;
	if (l->dfr >> 28 == 0xf)
		return dest & ldr;
	return (dest >> 4 == ldr >> 4 || dest >> 4 == 0xf) && (dest & ldr & 0xf);
}

bool lapic_matches(struct lapic *l, const struct apic_message *m)
{
	bool match;

	pthread_mutex_lock(&l->lock);
	if (m->logical)
		match = lapic_matches_logical(l, m);
	else
		match = m->dest == l->id || m->dest == (m->wide ? 0xffffffff : 0xff);
	pthread_mutex_unlock(&l->lock);
	return match;
}

int lapic_arbitrate(struct lapic *l)
{
	int class = -1;

	pthread_mutex_lock(&l->lock);
	if ((l->base & APIC_BASE_ENABLE) && (l->svr & APIC_SVR_ENABLE))
		class = (int)(lapic_ppr(l) >> 4);
	pthread_mutex_unlock(&l->lock);
	return class;
}

bool lapic_accept(struct lapic *l, const struct apic_message *m)
{
	bool accepted = true;

	pthread_mutex_lock(&l->lock);
	if (!(l->base & APIC_BASE_ENABLE)) {
		accepted = false;
	} else {
		switch (m->mode) {
		case APIC_DM_FIXED:
		case APIC_DM_LOWEST:
			accepted = lapic_fixed(l, m->vector, m->level);
			break;
		case APIC_DM_NMI:
			lapic_raise(l, CPU_EV_NMI);
			break;
		case APIC_DM_INIT:
			lapic_raise(l, CPU_EV_INIT);
			break;
		case APIC_DM_SIPI:
			if (l->cpu)
				atomic_store(&l->cpu->sipi_vector, m->vector);
			lapic_raise(l, CPU_EV_SIPI);
			break;
		case APIC_DM_EXTINT:
			l->extint = true;
			lapic_kick(l);
			break;
		default:
			break; /* no SMM; reserved */
		}
	}
	pthread_mutex_unlock(&l->lock);
	return accepted;
}

/* ---- ICR and EOI; without the lock, as messages may come back to us ---- */

void lapic_send(struct lapic *l, u32 icr, u32 dest, bool wide)
{
	struct apic_message m = {
	        .dest = dest,
	        .wide = wide,
	        .logical = icr & BIT(11),
	        .mode = icr >> 8 & 7,
	        .vector = (u8)icr,
	};
	static const enum apic_shorthand to[] = {APIC_TO_DEST, APIC_TO_SELF, APIC_TO_ALL, APIC_TO_OTHERS};

	/* INIT level de-assert did something on the first APICs only. */
	if (m.mode == APIC_DM_INIT && (icr & BIT(15)) && !(icr & BIT(14)))
		return;
	if (m.mode == APIC_DM_EXTINT || m.mode == 3)
		return;
	if ((m.mode == APIC_DM_FIXED || m.mode == APIC_DM_LOWEST) && m.vector < 16) {
		pthread_mutex_lock(&l->lock);
		lapic_error(l, APIC_ESR_SEND_ILLEGAL);
		pthread_mutex_unlock(&l->lock);
		return;
	}
	apic_send(l->bus, &m, to[icr >> 18 & 3], l);
}

void lapic_eoi(struct lapic *l)
{
	bool broadcast = false;

	pthread_mutex_lock(&l->lock);
	int vector = bits_top(l->isr);
	if (vector >= 0) {
		bits_clear(l->isr, (u8)vector);
		if (bits_test(l->tmr, (u8)vector)) {
			broadcast = true;
			if (l->lint_remote_irr[0] && (u8)l->lvt[LVT_LINT0] == vector) {
				broadcast = false;
				l->lint_remote_irr[0] = false;
				if (l->lint_level[0])
					lapic_pin(l, 0, false);
			}
		}
		lapic_kick(l);
	}
	pthread_mutex_unlock(&l->lock);
	if (broadcast)
		apic_eoi(l->bus, (u8)vector);
}

u8 lapic_cr8_read(struct lapic *l)
{
	pthread_mutex_lock(&l->lock);
	u8 value = (u8)(l->tpr >> 4);
	pthread_mutex_unlock(&l->lock);
	return value;
}

void lapic_cr8_write(struct lapic *l, u8 value)
{
	pthread_mutex_lock(&l->lock);
	l->tpr = (u32)(value & 0xf) << 4;
	lapic_kick(l);
	pthread_mutex_unlock(&l->lock);
}

/* ---- life ---- */

int lapic_init(struct lapic *l, struct apic_bus *bus, unsigned id, unsigned phys_bits, struct loop *loop,
               struct error *e)
{
	memset(l, 0, sizeof(*l));
	pthread_mutex_init(&l->lock, NULL);
	l->bus = bus;
	l->id = id;
	l->phys_bits = (u8)phys_bits;
	if (lapic_timer_init(l, loop, e) < 0) {
		pthread_mutex_destroy(&l->lock);
		return -1;
	}
	lapic_reset(l);
	return 0;
}

void lapic_release(struct lapic *l)
{
	loop_timer_release(&l->timer.alarm);
	pthread_mutex_destroy(&l->lock);
}

void lapic_init_reset(struct lapic *l)
{
	pthread_mutex_lock(&l->lock);
	l->tpr = 0;
	lapic_registers_reset(l);
	pthread_mutex_unlock(&l->lock);
}

void lapic_reset(struct lapic *l)
{
	pthread_mutex_lock(&l->lock);
	l->base = 0xfee00000 | APIC_BASE_ENABLE | (l->id == 0 ? APIC_BASE_BSP : 0);
	l->tpr = 0;
	lapic_registers_reset(l);
	pthread_mutex_unlock(&l->lock);
}
