#include "machine/pvclock.h"
#include "base/clock.h"

#include <stdatomic.h>
#include <string.h>

#define NS      1000000000ULL
#define ENABLED 1ULL

void pvclock_init(struct pvclock *p, const struct memory *memory)
{
	memset(p, 0, sizeof(*p));
	p->memory = memory;
	pvclock_reset(p);
}

void pvclock_reset(struct pvclock *p)
{
	memset(p->system_msr, 0, sizeof(p->system_msr));
	p->wall_msr = 0;
	/* One moment on both clocks: the tightest of a few readings, so that a preemption in between does not
	 * count. */
	u64 best = ~0ULL;
	for (int i = 0; i < 16; i++) {
		u64 before = clock_tsc(), real = clock_realtime_ns(), took = clock_tsc() - before;

		if (took < best) {
			best = took;
			p->base_tsc = before + took / 2;
			p->base_real_ns = real;
		}
	}
}

void pvclock_scale(u64 tsc_hz, u32 *mul, s8 *shift)
{
	*shift = 0;
	/* Wanted: 2^31 <= mul < 2^32, which is 1/2 <= ns per shifted tick < 1. */
	while (tsc_hz >= 2 * NS) {
		tsc_hz >>= 1;
		--*shift;
	}
	while (tsc_hz <= NS) {
		tsc_hz <<= 1;
		++*shift;
	}
	*mul = (u32)((NS << 32) / tsc_hz);
}

/* Writes what follows a leading version word, by the protocol: odd, content, even. */
static void publish(const struct pvclock *p, u64 gpa, const void *content, size_t size)
{
	u32 version = 0;
	u8 copy[sizeof(struct pvclock_time)];

	if (memory_read(p->memory, gpa, &version, sizeof(version)) < 0)
		return;
	memcpy(copy, content, size);
	version = (version + 1) | 1;
	memory_write(p->memory, gpa, &version, sizeof(version));
	atomic_thread_fence(memory_order_release);
	memory_write(p->memory, gpa + sizeof(version), copy + sizeof(version), size - sizeof(version));
	atomic_thread_fence(memory_order_release);
	version++;
	memory_write(p->memory, gpa, &version, sizeof(version));
}

void pvclock_update(struct pvclock *p, const struct cpu *cpu)
{
	u64 msr = p->system_msr[cpu->config.index];
	struct pvclock_time t = {
	        .tsc_timestamp = p->base_tsc + atomic_load_explicit(&cpu->tsc_offset, memory_order_relaxed),
	        .flags = PVCLOCK_TSC_STABLE,
	};

	if (!(msr & ENABLED))
		return;
	pvclock_scale(cpu->config.tsc_hz, &t.tsc_to_system_mul, &t.tsc_shift);
	publish(p, msr & ~ENABLED, &t, sizeof(t));
}

static void write_wall(const struct pvclock *p, u64 gpa)
{
	struct pvclock_wall w = {.sec = (u32)(p->base_real_ns / NS), .nsec = (u32)(p->base_real_ns % NS)};

	publish(p, gpa, &w, sizeof(w));
}

bool pvclock_msr_read(const struct pvclock *p, const struct cpu *cpu, u32 msr, u64 *value)
{
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		*value = p->wall_msr;
		return true;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		*value = p->system_msr[cpu->config.index];
		return true;
	}
	return false;
}

bool pvclock_msr_write(struct pvclock *p, const struct cpu *cpu, u32 msr, u64 value)
{
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		if (value & 3)
			return false;
		p->wall_msr = value;
		write_wall(p, value);
		return true;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		if (value & 2) /* 4-byte alignment */
			return false;
		p->system_msr[cpu->config.index] = value;
		pvclock_update(p, cpu);
		return true;
	}
	return false;
}
