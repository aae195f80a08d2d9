/* The local APIC's registers, by MMIO and by MSR. */
#include "machine/lapic.h"

#include <string.h>

#define LAPIC_VERSION ((LVT_COUNT - 1) << 16 | 0x14)

#define SVR_WRITABLE 0x3ffu
#define ICR_WRITABLE 0xccfffu /* all but delivery status and reserved bits */

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
void lapic_registers_reset(struct lapic *l)
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
		lapic_registers_reset(l); /* all is lost, but CR8 stays what it was */
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
