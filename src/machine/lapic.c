#include "machine/lapic.h"
#include "machine/apic_bus.h"

#include <string.h>

#define LAPIC_VERSION ((LVT_COUNT - 1) << 16 | 0x14)

#define SVR_WRITABLE 0x3ffu
#define ICR_WRITABLE 0xccfffu /* all but delivery status and reserved bits */
#define LVT_MODE(v)  ((v) >> 8 & 7)
#define LVT_LEVEL    BIT(15)
#define LVT_RIRR     BIT(14)
#define LVT_STATUS   BIT(12)

static const struct {
	u16 offset;
	u32 writable;
} lvt_table[LVT_COUNT] = {
        [LVT_TIMER] = {APIC_LVT_TIMER, 0x700ff}, [LVT_THERMAL] = {APIC_LVT_THERMAL, 0x107ff},
        [LVT_PMC] = {APIC_LVT_PMC, 0x107ff},     [LVT_LINT0] = {APIC_LVT_LINT0, 0x1a7ff},
        [LVT_LINT1] = {APIC_LVT_LINT1, 0x1a7ff}, [LVT_ERROR] = {APIC_LVT_ERROR, 0x100ff},
};

static int lvt_index(u32 reg)
{
	for (int i = 0; i < LVT_COUNT; i++)
		if (lvt_table[i].offset == reg)
			return i;
	return -1;
}

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

static u32 lapic_ppr(const struct lapic *l)
{
	int isrv = bits_top(l->isr);
	u32 serving = isrv < 0 ? 0 : (u32)isrv & 0xf0;

	return (l->tpr & 0xf0) >= serving ? l->tpr : serving;
}

static u32 lapic_apr(const struct lapic *l)
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

static void lapic_error(struct lapic *l, u32 bit)
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

/* Looks at a pin that is high: rising says whether it just became so. */
static void lapic_pin(struct lapic *l, unsigned pin, bool rising)
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

static void lapic_send(struct lapic *l, u32 icr, u32 dest, bool wide)
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

static void lapic_eoi(struct lapic *l)
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

/* ---- registers ---- */

static u32 lvt_read(const struct lapic *l, unsigned i)
{
	return l->lvt[i] | (i == LVT_LINT0 && l->lint_remote_irr[0] ? (u32)LVT_RIRR : 0);
}

static void lvt_write(struct lapic *l, unsigned i, u32 value)
{
	u32 old = l->lvt[i];

	value &= lvt_table[i].writable;
	if (!(l->svr & APIC_SVR_ENABLE))
		value |= APIC_LVT_MASKED;
	l->lvt[i] = value;
	if (i == LVT_TIMER)
		lapic_timer_mode(l, old);
	if (i == LVT_LINT0) {
		if (!(value & LVT_LEVEL) || LVT_MODE(value) != APIC_DM_FIXED)
			l->lint_remote_irr[0] = false;
		if (l->lint_level[0])
			lapic_pin(l, 0, false);
	}
}

static void svr_write(struct lapic *l, u32 value)
{
	l->svr = value & SVR_WRITABLE;
	if (!(l->svr & APIC_SVR_ENABLE))
		for (unsigned i = 0; i < LVT_COUNT; i++)
			l->lvt[i] |= APIC_LVT_MASKED;
}

/* False: there is no such register. */
static bool reg_read(struct lapic *l, u32 reg, u32 *value)
{
	int i = lvt_index(reg);

	*value = 0;
	if (i >= 0) {
		*value = lvt_read(l, (unsigned)i);
		return true;
	}
	if (reg >= APIC_ISR && reg < APIC_ESR) {
		const u32 *bits = reg >= APIC_IRR ? l->irr : reg >= APIC_TMR ? l->tmr : l->isr;

		*value = bits[reg >> 4 & 7];
		return true;
	}
	switch (reg) {
	case APIC_ID:
		*value = lapic_x2apic(l) ? l->id : l->id << 24;
		break;
	case APIC_VERSION:
		*value = LAPIC_VERSION;
		break;
	case APIC_TPR:
		*value = l->tpr;
		break;
	case APIC_APR:
		*value = lapic_apr(l);
		break;
	case APIC_PPR:
		*value = lapic_ppr(l);
		break;
	case APIC_EOI:
	case APIC_RRD:
		break;
	case APIC_LDR:
		*value = l->ldr;
		break;
	case APIC_DFR:
		*value = l->dfr;
		break;
	case APIC_SVR:
		*value = l->svr;
		break;
	case APIC_ESR:
		*value = l->esr;
		break;
	case APIC_ICR:
		*value = l->icr;
		break;
	case APIC_ICR2:
		*value = l->icr2;
		break;
	case APIC_TMICT:
		*value = l->tmict;
		break;
	case APIC_TMCCT:
		*value = lapic_timer_count(l);
		break;
	case APIC_TDCR:
		*value = l->tdcr;
		break;
	default:
		return false;
	}
	return true;
}

/* Registers whose write is only state of this APIC; with the lock. False: no such register. */
static bool reg_write(struct lapic *l, u32 reg, u32 value)
{
	int i = lvt_index(reg);

	if (i >= 0) {
		lvt_write(l, (unsigned)i, value);
		return true;
	}
	if (reg >= APIC_ISR && reg < APIC_ESR)
		return true;
	switch (reg) {
	case APIC_ID:
	case APIC_VERSION:
	case APIC_APR:
	case APIC_PPR:
	case APIC_RRD:
	case APIC_TMCCT:
		break;
	case APIC_TPR:
		l->tpr = value & 0xff;
		lapic_kick(l);
		break;
	case APIC_LDR:
		l->ldr = value & 0xff000000;
		break;
	case APIC_DFR:
		l->dfr = value | 0x0fffffff;
		break;
	case APIC_SVR:
		svr_write(l, value);
		break;
	case APIC_ESR: /* a write shows what came together since the last one (10.5.3) */
		l->esr = l->esr_pending;
		l->esr_pending = 0;
		break;
	case APIC_ICR2:
		l->icr2 = value & 0xff000000;
		break;
	case APIC_TMICT:
		/* Ignored in TSC-deadline mode (10.5.4.1). */
		if ((l->lvt[LVT_TIMER] >> 17 & 3) != 2) {
			l->tmict = value;
			lapic_timer_start(l);
		}
		break;
	case APIC_TDCR: {
		u32 old = l->tdcr;

		l->tdcr = value & 0xb;
		lapic_timer_divide(l, old);
		break;
	}
	default:
		return false;
	}
	return true;
}

u64 lapic_read(struct lapic *l, u32 offset, unsigned size)
{
	u32 value;

	/* Registers are 32 bits at multiples of 16; what lies between reads as zero. */
	if ((offset & 0xf) + size > 4)
		return 0;
	pthread_mutex_lock(&l->lock);
	if (!reg_read(l, offset & 0xff0, &value))
		lapic_error(l, APIC_ESR_REGISTER);
	pthread_mutex_unlock(&l->lock);
	return value >> (offset & 3) * 8;
}

void lapic_write(struct lapic *l, u32 offset, unsigned size, u64 value)
{
	u32 v = (u32)value;

	if ((offset & 0xf) || size != 4)
		return;
	switch (offset) {
	case APIC_EOI:
		lapic_eoi(l);
		return;
	case APIC_ICR:
		pthread_mutex_lock(&l->lock);
		l->icr = v & ICR_WRITABLE;
		u32 dest = l->icr2 >> 24;
		pthread_mutex_unlock(&l->lock);
		lapic_send(l, v, dest, false);
		return;
	}
	pthread_mutex_lock(&l->lock);
	if (!reg_write(l, offset & 0xff0, v))
		lapic_error(l, APIC_ESR_REGISTER);
	pthread_mutex_unlock(&l->lock);
}

/* ---- MSRs ---- */

static bool x2apic_read(struct lapic *l, u32 reg, u64 *value)
{
	u32 low;

	switch (reg) {
	case APIC_APR:
	case APIC_RRD:
	case APIC_EOI:
	case APIC_DFR:
	case APIC_ICR2:
		return false;
	case APIC_ICR:
		*value = (u64)l->icr2 << 32 | l->icr;
		return true;
	}
	if (!reg_read(l, reg, &low))
		return false;
	*value = low;
	return true;
}

/* Bits that must be zero in a write (10.12.1.2); all of them where there is nothing to write. */
static u64 x2apic_reserved(u32 reg)
{
	int i = lvt_index(reg);

	if (i >= 0)
		return ~(u64)(lvt_table[i].writable | LVT_STATUS |
		              (i == LVT_LINT0 || i == LVT_LINT1 ? LVT_RIRR : 0));
	switch (reg) {
	case APIC_TPR:
	case APIC_SELF_IPI:
		return ~0xffULL;
	case APIC_EOI:
	case APIC_ESR:
		return ~0ULL;
	case APIC_SVR:
		return ~(u64)SVR_WRITABLE;
	case APIC_ICR:
		return ~(0xffffffff00000000ULL | ICR_WRITABLE);
	case APIC_TMICT:
		return ~MASK(32);
	case APIC_TDCR:
		return ~0xbULL;
	}
	return 0;
}

static bool x2apic_writable(u32 reg)
{
	switch (reg) {
	case APIC_TPR:
	case APIC_EOI:
	case APIC_SVR:
	case APIC_ESR:
	case APIC_ICR:
	case APIC_TMICT:
	case APIC_TDCR:
	case APIC_SELF_IPI:
		return true;
	}
	return lvt_index(reg) >= 0;
}

static bool x2apic_write(struct lapic *l, u32 reg, u64 value)
{
	if (!x2apic_writable(reg) || (value & x2apic_reserved(reg)))
		return false;
	switch (reg) {
	case APIC_EOI:
		lapic_eoi(l);
		return true;
	case APIC_ICR:
		pthread_mutex_lock(&l->lock);
		l->icr = (u32)value;
		l->icr2 = (u32)(value >> 32);
		pthread_mutex_unlock(&l->lock);
		lapic_send(l, (u32)value, (u32)(value >> 32), true);
		return true;
	case APIC_SELF_IPI:
		lapic_send(l, 1u << 18 | (u32)value, 0, true);
		return true;
	}
	pthread_mutex_lock(&l->lock);
	reg_write(l, reg, (u32)value);
	pthread_mutex_unlock(&l->lock);
	return true;
}

/* Registers as after INIT; with the lock. */
static void registers_reset(struct lapic *l)
{
	l->icr = l->icr2 = l->tdcr = l->tmict = 0;
	l->esr = l->esr_pending = 0;
	l->dfr = 0xffffffff;
	l->ldr = lapic_x2apic(l) ? (l->id >> 4) << 16 | (u32)BIT(l->id & 0xf) : 0;
	l->svr = 0xff;
	for (unsigned i = 0; i < LVT_COUNT; i++)
		l->lvt[i] = APIC_LVT_MASKED;
	memset(l->isr, 0, sizeof(l->isr));
	memset(l->tmr, 0, sizeof(l->tmr));
	memset(l->irr, 0, sizeof(l->irr));
	memset(l->lint_remote_irr, 0, sizeof(l->lint_remote_irr));
	l->extint = false;
	lapic_timer_reset(l);
}

/* IA32_APIC_BASE: figure 10-27 says which changes of mode there are. */
static bool base_write(struct lapic *l, u64 value)
{
	u64 allowed = (MASK(l->phys_bits) & ~0xfffULL) | APIC_BASE_BSP | APIC_BASE_X2APIC | APIC_BASE_ENABLE;
	u64 mode = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
	u64 from = l->base & mode, to = value & mode;

	if ((value & ~allowed) || to == APIC_BASE_X2APIC)
		return false;
	if (from == mode && to == APIC_BASE_ENABLE)
		return false;
	if (!from && to == mode)
		return false;
	pthread_mutex_lock(&l->lock);
	l->base = value;
	if (from && !to) {
		registers_reset(l); /* all is lost, but CR8 stays what it was */
	} else if (from != to && to == mode) {
		l->ldr = (l->id >> 4) << 16 | (u32)BIT(l->id & 0xf);
		l->icr2 = 0;
	}
	lapic_kick(l);
	pthread_mutex_unlock(&l->lock);
	return true;
}

bool lapic_msr_read(struct lapic *l, u32 msr, u64 *value)
{
	bool ok = true;

	pthread_mutex_lock(&l->lock);
	if (msr == MSR_APIC_BASE)
		*value = l->base;
	else if (msr == MSR_TSC_DEADLINE)
		*value = lapic_timer_deadline(l);
	else if (msr >= MSR_X2APIC && msr <= MSR_X2APIC_END && lapic_x2apic(l))
		ok = x2apic_read(l, (msr - MSR_X2APIC) << 4, value);
	else
		ok = false;
	pthread_mutex_unlock(&l->lock);
	return ok;
}

bool lapic_msr_write(struct lapic *l, u32 msr, u64 value)
{
	if (msr == MSR_APIC_BASE)
		return base_write(l, value);
	if (msr == MSR_TSC_DEADLINE) {
		pthread_mutex_lock(&l->lock);
		lapic_timer_set_deadline(l, value);
		pthread_mutex_unlock(&l->lock);
		return true;
	}
	if (msr >= MSR_X2APIC && msr <= MSR_X2APIC_END && lapic_x2apic(l))
		return x2apic_write(l, (msr - MSR_X2APIC) << 4, value);
	return false;
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
	registers_reset(l);
	pthread_mutex_unlock(&l->lock);
}

void lapic_reset(struct lapic *l)
{
	pthread_mutex_lock(&l->lock);
	l->base = 0xfee00000 | APIC_BASE_ENABLE | (l->id == 0 ? APIC_BASE_BSP : 0);
	l->tpr = 0;
	registers_reset(l);
	pthread_mutex_unlock(&l->lock);
}
