#include "cpu/cpu.h"
#include "base/clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* limit: NULL or how long to wait. */
static long futex(_Atomic u32 *word, int op, u32 value, const struct timespec *limit)
{
	return syscall(SYS_futex, word, op, value, limit, NULL, 0);
}

void cpu_raise(struct cpu *c, u32 events)
{
	u32 old = atomic_load(&c->events), new;

	/* seq_cst on both words: either we see the sleeper, or the sleeper sees our events. */
	do {
		new = old | events;
		if (old & events & CPU_EV_NMI)
			new |= CPU_EV_NMI_AGAIN;
		/* A SIPI counts only behind the INIT: one that came to a running vCPU was ignored. */
		if (events & CPU_EV_INIT)
			new &= ~(u32)CPU_EV_SIPI;
	} while (!atomic_compare_exchange_weak(&c->events, &old, new));
	if (atomic_load(&c->asleep) && atomic_exchange(&c->asleep, 0))
		futex(&c->asleep, FUTEX_WAKE_PRIVATE, 1, NULL);
}

static bool wait_for(struct cpu *c, u32 mask, const struct timespec *limit)
{
	bool late = false;

	while (!(atomic_load(&c->events) & mask) && !late) {
		atomic_store(&c->asleep, 1);
		if (!(atomic_load(&c->events) & mask))
			late = futex(&c->asleep, FUTEX_WAIT_PRIVATE, 1, limit) && errno == ETIMEDOUT;
		atomic_store(&c->asleep, 0);
	}
	return atomic_load(&c->events) & mask;
}

void cpu_wait(struct cpu *c, u32 mask)
{
	wait_for(c, mask, NULL);
}

bool cpu_wait_for(struct cpu *c, u32 mask, u32 ms)
{
	struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	return wait_for(c, mask, &limit);
}

u64 cpu_guest_tsc(const struct cpu *c)
{
	return clock_tsc() + atomic_load_explicit(&c->tsc_offset, memory_order_relaxed);
}

#define SEG_DATA16 (0x3 | SEG_ATTR_S | SEG_ATTR_P)
#define SEG_CODE16 (0xb | SEG_ATTR_S | SEG_ATTR_P)

void vcpu_state_reset(struct vcpu_state *s, bool bsp)
{
	memset(s, 0, sizeof(*s));
	s->rip = 0xfff0;
	s->rflags = FLAG_ONE;
	s->cr0 = CR0_ET | CR0_NW | CR0_CD;
	s->regs[REG_RDX] = 0x600;
	for (int i = 0; i < SEG_COUNT; i++)
		s->seg[i] = (struct vcpu_segment){.limit = 0xffff, .attr = SEG_DATA16};
	s->seg[SEG_CS] = (struct vcpu_segment){
	        .selector = 0xf000, .base = 0xffff0000, .limit = 0xffff, .attr = SEG_CODE16};
	s->ldtr = (struct vcpu_segment){.limit = 0xffff, .attr = 2 | SEG_ATTR_P};
	s->tr = (struct vcpu_segment){.limit = 0xffff, .attr = 0xb | SEG_ATTR_P};
	s->gdtr.limit = s->idtr.limit = 0xffff;
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	s->xcr0 = 1;
	s->pat = 0x0007040600070406;
	s->misc_enable = 1; /* fast strings */
	s->activity = bsp ? VCPU_RUNNING : VCPU_WAIT_SIPI;
	/* x87 and SSE: FCW 0x40 after RESET, MXCSR 0x1f80, all registers empty. */
	s->xsave[0] = 0x40;
	s->xsave[24] = 0x80;
	s->xsave[25] = 0x1f;
}
