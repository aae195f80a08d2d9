/*
 * One virtual CPU, whatever engine runs it. This is the whole interface between a machine and its CPUs.
 *
 * Threads: each vCPU has a thread of its own, which alone calls cpu_run(), cpu_get_state() and
 * cpu_set_state() (or another thread while the vCPU's thread is known to be outside of cpu_run()).
 * cpu_raise() is for any thread. The callbacks in struct cpu_board are called on the vCPU's thread, inside
 * cpu_run().
 */
#pragma once

#include "base/error.h"
#include "base/types.h"
#include "cpu/physmem.h"
#include "cpu/state.h"

#include <stdatomic.h>

struct cpu;

/* What a machine offers to its CPUs. ctx is passed to each; size is 1, 2, 4 or 8 (pio: 1, 2, 4). */
struct cpu_board {
	void *ctx;
	const struct physmem *mem;

	/* Guest-physical addresses outside of RAM; never crosses a page, may be misaligned. */
	u64 (*mmio_read)(void *ctx, struct cpu *cpu, u64 gpa, unsigned size);
	void (*mmio_write)(void *ctx, struct cpu *cpu, u64 gpa, unsigned size, u64 value);
	u32 (*pio_read)(void *ctx, struct cpu *cpu, u16 port, unsigned size);
	void (*pio_write)(void *ctx, struct cpu *cpu, u16 port, unsigned size, u32 value);

	/* MSRs that live on the board (APIC base, x2APIC, TSC deadline, paravirtual clock). False: #GP. */
	bool (*msr_read)(void *ctx, struct cpu *cpu, u32 msr, u64 *value);
	bool (*msr_write)(void *ctx, struct cpu *cpu, u32 msr, u64 value);

	/* Takes the highest-priority interrupt that can be delivered now: its vector (moved from IRR to ISR,
	 * or the PIC's INTA cycle done), or -1 if there is none after all. */
	int (*interrupt_ack)(void *ctx, struct cpu *cpu);
	/* True if interrupt_ack would give one. */
	bool (*interrupt_pending)(void *ctx, struct cpu *cpu);

	/* CR8: task priority 7:4. */
	u8 (*tpr_read)(void *ctx, struct cpu *cpu);
	void (*tpr_write)(void *ctx, struct cpu *cpu, u8 value);

	/* The vCPU took an INIT: reset its local APIC (all but its ID). */
	void (*init)(void *ctx, struct cpu *cpu);
	/* FERR#: an unmasked x87 error with CR0.NE = 0; IRQ 13 on a PC. */
	void (*ferr)(void *ctx, struct cpu *cpu);
	/* A hypercall of KVM's; what is not known is -1000 (KVM_ENOSYS). May be NULL: none is known. */
	s64 (*hypercall)(void *ctx, struct cpu *cpu, u64 number, const u64 args[4]);
};

/* Events for cpu_raise(). */
enum cpu_event {
	CPU_EV_INTR = 1 << 0, /* look at interrupt_pending() again */
	CPU_EV_NMI = 1 << 1,
	CPU_EV_INIT = 1 << 2,
	CPU_EV_SIPI = 1 << 3, /* vector in cpu->sipi_vector */
	CPU_EV_STOP = 1 << 4, /* cpu_run() returns CPU_EXIT_STOPPED soon; the bit is cleared by that */
	CPU_EV_SYNC = 1 << 5, /* engine's own */
	/* cpu_raise()'s own: another NMI came before the first was taken. Whoever takes an NMI turns this
	 * into CPU_EV_NMI: one is in service then, one pending. When NMIs become unblocked it is dropped: a
	 * CPU keeps one while it serves one (SDM vol. 3 6.7.1). */
	CPU_EV_NMI_AGAIN = 1 << 6,
};

enum cpu_exit {
	CPU_EXIT_STOPPED,  /* CPU_EV_STOP was raised */
	CPU_EXIT_SHUTDOWN, /* triple fault: the machine decides (reset, or end with status 3) */
	CPU_EXIT_ERROR,    /* the engine failed; cpu->error says how */
};

struct cpu_config {
	unsigned index; /* 0 is the bootstrap processor; also the APIC ID */
	unsigned count; /* vCPUs of the machine */
	const struct cpu_board *board;
	u64 tsc_hz;     /* rate of the guest's TSC: the host's own (clock_tsc_hz()) */
	u64 tsc_offset; /* guest TSC = host TSC + tsc_offset; the same for all vCPUs at start */
	bool interpret; /* soft engine: translate nothing */
	bool check;     /* soft engine: interpret and translate everything, and compare (--soft-check) */
};

struct cpu_ops {
	const char *name;
	void (*free)(struct cpu *);
	enum cpu_exit (*run)(struct cpu *);
	void (*get_state)(struct cpu *, struct vcpu_state *);
	void (*set_state)(struct cpu *, const struct vcpu_state *);
};

/* The common head of each engine's vCPU. */
struct cpu {
	const struct cpu_ops *ops;
	struct cpu_config config;
	_Atomic u32 events; /* enum cpu_event bits that are raised */
	_Atomic u32 asleep; /* futex word: 1 while the thread sleeps in cpu_wait() */
	_Atomic u32 sipi_vector;
	_Atomic u64 tsc_offset; /* guest TSC - host TSC */
	void *board_data;       /* the board's own: its local APIC */
	struct error error;
};

/* Engines. The caller owns the result; free with cpu_free(). */
struct cpu *soft_cpu_new(const struct cpu_config *config, struct error *e);

static inline void cpu_free(struct cpu *c)
{
	if (c)
		c->ops->free(c);
}
static inline enum cpu_exit cpu_run(struct cpu *c)
{
	return c->ops->run(c);
}
static inline void cpu_get_state(struct cpu *c, struct vcpu_state *s)
{
	c->ops->get_state(c, s);
}
static inline void cpu_set_state(struct cpu *c, const struct vcpu_state *s)
{
	c->ops->set_state(c, s);
}

/* Sets event bits and wakes the vCPU if it sleeps. Any thread. */
void cpu_raise(struct cpu *c, u32 events);
/* Sleeps until any bit of mask is raised. For engines, on the vCPU's thread. */
void cpu_wait(struct cpu *c, u32 mask);
/* The same, for about so many milliseconds at most; false: none was raised. */
bool cpu_wait_for(struct cpu *c, u32 mask, u32 ms);

/* The guest's TSC now. Any thread. */
u64 cpu_guest_tsc(const struct cpu *c);
