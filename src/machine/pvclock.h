/*
 * The paravirtual clock in KVM's format (Linux, Documentation/virt/kvm/x86/msr.rst and cpuid.rst): a guest
 * names a page by an MSR, and finds there how to turn its TSC into nanoseconds since the machine started.
 *
 * All vCPUs get the same base and factor, so their clocks are one (flag "TSC stable"). The structures are
 * written when the MSR is, on the vCPU's thread; as the TSC's rate is fixed, nothing needs to follow.
 */
#pragma once

#include "base/types.h"
#include "cpu/cpu.h"
#include "machine/memory.h"

#define MSR_KVM_WALL_CLOCK      0x11
#define MSR_KVM_SYSTEM_TIME     0x12
#define MSR_KVM_WALL_CLOCK_NEW  0x4b564d00
#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01

#define PVCLOCK_MAX_CPUS 64

/* As in guest memory. */
struct pvclock_time {
	u32 version; /* odd while it is being written */
	u32 pad0;
	u64 tsc_timestamp;
	u64 system_time;
	u32 tsc_to_system_mul; /* ns = (tsc - timestamp) << shift × mul >> 32 */
	s8 tsc_shift;          /* negative: shifts right */
	u8 flags;
	u8 pad[2];
};
#define PVCLOCK_TSC_STABLE 1

struct pvclock_wall {
	u32 version, sec, nsec;
};

struct pvclock {
	const struct memory *memory;
	u64 base_tsc;     /* the host's TSC at system time 0 */
	u64 base_real_ns; /* CLOCK_REALTIME then */
	u64 system_msr[PVCLOCK_MAX_CPUS];
	_Atomic u64 wall_msr; /* one for all vCPUs */
};

void pvclock_init(struct pvclock *p, const struct memory *memory);
/* System time starts at 0 again; no page is named. */
void pvclock_reset(struct pvclock *p);

/* False: not one of the four MSRs, or a value that is #GP. */
bool pvclock_msr_read(const struct pvclock *p, const struct cpu *cpu, u32 msr, u64 *value);
bool pvclock_msr_write(struct pvclock *p, const struct cpu *cpu, u32 msr, u64 value);

/* The vCPU's TSC offset has changed: writes its structure anew. On its thread. */
void pvclock_update(struct pvclock *p, const struct cpu *cpu);

/* mul and shift for a TSC rate; mul has its top bit set. */
void pvclock_scale(u64 tsc_hz, u32 *mul, s8 *shift);
