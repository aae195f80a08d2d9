/*
 * The local APIC of one vCPU (SDM vol. 3 ch. 10): registers as xAPIC MMIO and x2APIC MSRs, the timer, LINT
 * pins. Messages between APICs, from the I/O APIC and from MSIs go through struct apic_bus (apic_bus.h).
 *
 * Owned by the board; one per vCPU at cpu->board_data. Registers are accessed on the vCPU's thread; messages,
 * pins and the timer come on any. The APIC's own lock guards all of it; what is called with it held is only
 * cpu_raise() and the timer's arming. When something becomes deliverable, CPU_EV_INTR is raised.
 *
 * The timer counts at 1 GHz, so a tick before division is a nanosecond of CLOCK_MONOTONIC.
 *
 * What this model leaves out: SMIs are dropped (there is no SMM); EOI-broadcast suppression is not offered.
 */
#pragma once

#include "base/loop.h"
#include "base/types.h"
#include "cpu/cpu.h"

#include <pthread.h>

/* Register offsets in the MMIO page; the x2APIC MSR is 0x800 + offset / 16. */
enum {
	APIC_ID = 0x20,
	APIC_VERSION = 0x30,
	APIC_TPR = 0x80,
	APIC_APR = 0x90,
	APIC_PPR = 0xa0,
	APIC_EOI = 0xb0,
	APIC_RRD = 0xc0,
	APIC_LDR = 0xd0,
	APIC_DFR = 0xe0,
	APIC_SVR = 0xf0,
	APIC_ISR = 0x100,
	APIC_TMR = 0x180,
	APIC_IRR = 0x200,
	APIC_ESR = 0x280,
	APIC_ICR = 0x300,
	APIC_ICR2 = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_THERMAL = 0x330,
	APIC_LVT_PMC = 0x340,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370,
	APIC_TMICT = 0x380,
	APIC_TMCCT = 0x390,
	APIC_TDCR = 0x3e0,
	APIC_SELF_IPI = 0x3f0,
};

/* Delivery modes: LVT, ICR, redirection entries, MSI data. */
enum {
	APIC_DM_FIXED = 0,
	APIC_DM_LOWEST = 1,
	APIC_DM_SMI = 2,
	APIC_DM_NMI = 4,
	APIC_DM_INIT = 5,
	APIC_DM_SIPI = 6,
	APIC_DM_EXTINT = 7,
};

/* ESR bits */
enum {
	APIC_ESR_SEND_ACCEPT = 1 << 2,
	APIC_ESR_SEND_ILLEGAL = 1 << 5,
	APIC_ESR_RECV_ILLEGAL = 1 << 6,
	APIC_ESR_REGISTER = 1 << 7,
};

#define LVT_MODE(v)     ((v) >> 8 & 7)
#define LVT_STATUS      BIT(12)
#define LVT_RIRR        BIT(14)
#define LVT_LEVEL       BIT(15)
#define APIC_LVT_MASKED BIT(16)
#define APIC_SVR_ENABLE BIT(8)

#define APIC_BASE_BSP    BIT(8)
#define APIC_BASE_X2APIC BIT(10)
#define APIC_BASE_ENABLE BIT(11)

#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC       0x800
#define MSR_X2APIC_END   0x8ff

enum { LVT_TIMER, LVT_THERMAL, LVT_PMC, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

struct apic_bus;
struct apic_message;

struct lapic_timer {
	struct loop_timer alarm;
	bool running;  /* a count or a deadline is under way */
	u64 expiry_ns; /* when the count next reaches 0 */
	u64 period_ns; /* initial count × divisor */
	u64 deadline;  /* IA32_TSC_DEADLINE, 0 if disarmed */
};

struct lapic {
	pthread_mutex_t lock;
	struct cpu *cpu;
	struct apic_bus *bus;
	u32 id;
	u8 phys_bits; /* MAXPHYADDR, for the reserved bits of IA32_APIC_BASE */
	u64 base;     /* IA32_APIC_BASE */
	u32 tpr, ldr, dfr, svr, icr, icr2, tdcr, tmict;
	u32 esr, esr_pending;
	u32 lvt[LVT_COUNT];
	u32 isr[8], tmr[8], irr[8];
	bool lint_level[2];
	bool lint_remote_irr[2];
	bool extint; /* an ExtINT message came and was not acknowledged */
	struct lapic_timer timer;
};

int lapic_init(struct lapic *l, struct apic_bus *bus, unsigned id, unsigned phys_bits, struct loop *loop,
               struct error *e);
void lapic_release(struct lapic *l);
/* RESET: everything, with the BSP bit as the bus says. */
void lapic_reset(struct lapic *l);
/* INIT: all but the ID and IA32_APIC_BASE (10.4.7.3). */
void lapic_init_reset(struct lapic *l);

/* MMIO: offset within the 4 KiB page, any size and alignment. */
u64 lapic_read(struct lapic *l, u32 offset, unsigned size);
void lapic_write(struct lapic *l, u32 offset, unsigned size, u64 value);

/* IA32_APIC_BASE, IA32_TSC_DEADLINE and 0x800–0x8ff. False: #GP. */
bool lapic_msr_read(struct lapic *l, u32 msr, u64 *value);
bool lapic_msr_write(struct lapic *l, u32 msr, u64 value);

/* Whether the MMIO page answers at gpa now. For the vCPU's thread, no lock. */
static inline bool lapic_claims(const struct lapic *l, u64 gpa)
{
	return (l->base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE &&
	       gpa >> 12 == (l->base & ~0xfffULL) >> 12;
}
static inline bool lapic_x2apic(const struct lapic *l)
{
	return (l->base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == (APIC_BASE_ENABLE | APIC_BASE_X2APIC);
}

/* CR8 is TPR 7:4. */
u8 lapic_cr8_read(struct lapic *l);
void lapic_cr8_write(struct lapic *l, u8 value);

#define LAPIC_NONE   (-1)
#define LAPIC_EXTINT (-2) /* ask the PIC for the vector */
bool lapic_pending(struct lapic *l);
/* Takes the interrupt that lapic_pending() told of: its vector, LAPIC_EXTINT or LAPIC_NONE. */
int lapic_ack(struct lapic *l);

/* A LINT pin changes level. Any thread. */
void lapic_lint(struct lapic *l, unsigned pin, bool level);

/* What follows is for apic_bus.c. */
/* True if m's destination names this APIC. */
bool lapic_matches(struct lapic *l, const struct apic_message *m);
/* Priority class for lowest-priority arbitration, or -1 if it takes no fixed interrupts. */
int lapic_arbitrate(struct lapic *l);
/* Delivers here, whatever the destination says; false if it was not accepted. */
bool lapic_accept(struct lapic *l, const struct apic_message *m);

/* What follows is among lapic*.c, with the lock held if not said otherwise. */
void lapic_local_interrupt(struct lapic *l, unsigned lvt);
void lapic_error(struct lapic *l, u32 bit);
/* Looks at a LINT pin that is high: rising says whether it just became so. */
void lapic_pin(struct lapic *l, unsigned pin, bool rising);
/* Raises CPU_EV_INTR if something can be delivered. */
void lapic_kick(struct lapic *l);
u32 lapic_ppr(const struct lapic *l);
u32 lapic_apr(const struct lapic *l);
/* Without the lock, as messages may come back to us: an ICR was written; the EOI register was. */
void lapic_send(struct lapic *l, u32 icr, u32 dest, bool wide);
void lapic_eoi(struct lapic *l);
/* lapic_regs.c: all but TPR, ID and IA32_APIC_BASE to their state after INIT. */
void lapic_registers_reset(struct lapic *l);

/* lapic_timer.c */
int lapic_timer_init(struct lapic *l, struct loop *loop, struct error *e);
void lapic_timer_reset(struct lapic *l);
void lapic_timer_start(struct lapic *l);                /* TMICT was written */
void lapic_timer_divide(struct lapic *l, u32 old_tdcr); /* TDCR was written */
void lapic_timer_mode(struct lapic *l, u32 old_lvt);    /* the timer's LVT entry was written */
u32 lapic_timer_count(struct lapic *l);
u64 lapic_timer_deadline(const struct lapic *l);
void lapic_timer_set_deadline(struct lapic *l, u64 tsc);
