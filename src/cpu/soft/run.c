/*
 * The run loop, and what follows from a vCPU's state: run.c decides what is done next between two
 * instructions.
 *
 * Order between instructions: an event that was raised is delivered; events from outside are looked at if
 * they matter now (events_enabled); a halted vCPU sleeps; then either one instruction (step: traps,
 * breakpoints, interrupt shadows) or blocks, until one of these changes.
 *
 * RF is cleared before an instruction in step mode: what the instruction itself sets stays, and faults push
 * it as set anyway. An interrupt shadow is cleared before the instruction it covers, for the same reason.
 */
#include "base/clock.h"
#include "cpu/soft/block.h"
#include "cpu/soft/decode.h"
#include "cpu/soft/jit.h"
#include "cpu/soft/lockstep.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A vCPU that sleeps for so long is idle: it has what it needs, and memory is for others. */
enum { IDLE_MS = 50 };

/* ---- derived state ---- */

static u32 events_enabled(const struct soft_cpu *c)
{
	u32 events = CPU_EV_STOP | CPU_EV_INIT | CPU_EV_SYNC;

	if (c->activity == VCPU_WAIT_SIPI)
		return events | CPU_EV_SIPI;
	if ((c->rflags & FLAG_IF) && !c->shadow)
		events |= CPU_EV_INTR;
	if (!c->nmi_blocked && !c->shadow)
		events |= CPU_EV_NMI;
	return events;
}

/* What follows from RFLAGS, CPL, shadows and DR7. */
static void update_flags(struct soft_cpu *c)
{
	u8 step = 0;

	/* Without breakpoints it makes no difference, and each return from a page fault sets it. */
	if (!(c->dr7 & 0xff))
		c->rflags &= ~(u64)FLAG_RF;
	if (unlikely(c->rflags & (FLAG_TF | FLAG_RF)))
		step |= (c->rflags & FLAG_TF ? SOFT_STEP_TF : 0) | (c->rflags & FLAG_RF ? SOFT_STEP_RF : 0);
	if (unlikely(c->shadow))
		step |= SOFT_STEP_SHADOW;
	if (unlikely(c->dr7 & 0xff))
		step |= SOFT_STEP_BREAKPOINT;
	if (unlikely(c->db_pending))
		step |= SOFT_STEP_DB;
	c->step = step;
	c->events_enabled = events_enabled(c);
	soft_mmu_update(c);
}

void soft_update(struct soft_cpu *c)
{
	u32 attr = c->seg[SEG_CS].attr;
	bool wide = attr & SEG_ATTR_DB;

	c->long64 = false;
	if (!soft_protected(c) || soft_v86(c)) {
		c->mode = wide && !soft_v86(c) ? SOFT_MODE_REAL32 : SOFT_MODE_REAL16;
	} else if (!soft_long_active(c)) {
		c->mode = wide ? SOFT_MODE_PROT32 : SOFT_MODE_PROT16;
	} else if (attr & SEG_ATTR_L) {
		c->mode = SOFT_MODE_LONG64;
		c->long64 = true;
	} else {
		c->mode = wide ? SOFT_MODE_COMPAT32 : SOFT_MODE_COMPAT16;
	}
	for (unsigned i = 0; i < SEG_COUNT; i++)
		c->segbase[i] = c->long64 && i < SEG_FS ? 0 : c->seg[i].base;
	update_flags(c);
	soft_vec_update(c);
}

void soft_update_level(struct soft_cpu *c)
{
	if (!c->long64 || !(c->seg[SEG_CS].attr & SEG_ATTR_L)) {
		soft_update(c);
		return;
	}
	c->segbase[SEG_FS] = c->seg[SEG_FS].base;
	c->segbase[SEG_GS] = c->seg[SEG_GS].base;
	update_flags(c);
}

void soft_set_rflags(struct soft_cpu *c, u64 v)
{
	u64 changed = (c->rflags ^ v) & FLAG_VM;

	soft_set_arith(c, v);
	c->rflags = (v & ~(u64)FLAG_ARITH) | FLAG_ONE;
	if (unlikely(changed))
		soft_update(c);
	else
		update_flags(c);
}

/* ---- running ---- */

static inline bool events_pending(const struct soft_cpu *c)
{
	return atomic_load_explicit(&c->base.events, memory_order_relaxed) & c->events_enabled;
}

static void run_blocks(struct soft_cpu *c)
{
	do {
		const struct op *o;

		c->block = soft_block_at(c);
		if (c->block->heat-- <= 0 && c->jit && soft_jit_run(c, c->block)) {
			c->op = NULL;
			continue;
		}
		if (unlikely(c->lockstep != NULL))
			soft_lockstep_settle(c);
		o = soft_block_ops(c, c->block);
		do {
			c->op = o;
			o = o->fn(c, o);
			if (VEC_PARK_ALWAYS && c->vec_live)
				soft_vec_park(c);
		} while (o);
		c->op = NULL;
	} while (!events_pending(c) && likely(!(c->step | c->halted)));
	if (unlikely(c->lockstep != NULL))
		soft_lockstep_settle(c);
}

static void run_one(struct soft_cpu *c)
{
	bool tf = c->rflags & FLAG_TF, changed;
	const struct op *o;

	soft_debug_before(c);
	c->block = soft_block_single(c);
	changed = c->shadow || (c->rflags & FLAG_RF);
	c->shadow = 0;
	c->rflags &= ~(u64)FLAG_RF;
	o = c->op = c->block->ops;
	if (o->fn == op_guard_cpl0)
		o = c->op = o->fn(c, o);
	o = o->fn(c, o);
	if (o)
		c->rip = soft_op_rip(c, o);
	c->op = NULL;
	if (changed)
		update_flags(c);
	soft_debug_after(c, tf);
	if (c->step & SOFT_STEP_DB && !c->db_pending)
		update_flags(c);
}

static enum cpu_exit soft_run(struct cpu *cpu)
{
	struct soft_cpu *c = soft_of(cpu);

	soft_jit_thread(c, true);
	soft_jit_away(c, false);
	/* A raise comes back here, with the event to deliver in c->event. */
	soft_setjmp(c->jmp);
	c->op = NULL;
	if (unlikely(c->lockstep != NULL))
		soft_lockstep_fault(c);
	for (;;) {
		if (unlikely(c->shutdown | c->check_failed))
			break;
		if (c->event.kind != SOFT_EVENT_NONE) {
			soft_deliver(c);
		} else if (events_pending(c)) {
			if (c->vec_live)
				soft_vec_park(c);
			if (atomic_fetch_and(&c->base.events, ~(u32)CPU_EV_SYNC) & CPU_EV_SYNC)
				soft_jit_sweep(c);
			if (!soft_take_events(c))
				break;
		} else if (unlikely(c->halted || c->activity != VCPU_RUNNING)) {
			if (c->vec_live)
				soft_vec_park(c);
			soft_jit_away(c, true);
			if (!soft_cache_is_wide(c) || !cpu_wait_for(&c->base, c->events_enabled, IDLE_MS)) {
				soft_cache_narrow(c);
				cpu_wait(&c->base, c->events_enabled);
			}
			soft_jit_away(c, false);
		} else if (c->step) {
			run_one(c);
		} else {
			run_blocks(c);
		}
	}
	if (c->vec_live)
		soft_vec_park(c);
	soft_jit_away(c, true);
	soft_jit_thread(c, false);
	if (c->check_failed)
		return CPU_EXIT_ERROR;
	return c->shutdown ? CPU_EXIT_SHUTDOWN : CPU_EXIT_STOPPED;
}

/* ---- state ---- */

static void soft_get_state(struct cpu *cpu, struct vcpu_state *s)
{
	struct soft_cpu *c = soft_of(cpu);
	const struct cpu_board *board = soft_board(c);

	memset(s, 0, sizeof(*s));
	memcpy(s->regs, c->regs, sizeof(s->regs));
	s->rip = c->rip;
	s->rflags = soft_rflags(c);
	s->cr0 = c->cr0;
	s->cr2 = c->cr2;
	s->cr3 = c->cr3;
	s->cr4 = c->cr4;
	s->cr8 = board->tpr_read(board->ctx, cpu);
	s->xcr0 = c->xcr0;
	memcpy(s->dr, c->dr, sizeof(s->dr));
	s->dr6 = c->dr6;
	s->dr7 = c->dr7;
	memcpy(s->seg, c->seg, sizeof(s->seg));
	s->ldtr = c->ldtr;
	s->tr = c->tr;
	s->gdtr = c->gdtr;
	s->idtr = c->idtr;
	s->efer = c->efer;
	s->star = c->star;
	s->lstar = c->lstar;
	s->cstar = c->cstar;
	s->sfmask = c->sfmask;
	s->kernel_gs_base = c->kernel_gs_base;
	s->sysenter_cs = c->sysenter_cs;
	s->sysenter_esp = c->sysenter_esp;
	s->sysenter_eip = c->sysenter_eip;
	s->pat = c->pat;
	s->tsc_offset = atomic_load(&cpu->tsc_offset);
	s->tsc_adjust = c->tsc_adjust;
	s->tsc_aux = c->tsc_aux;
	s->misc_enable = c->misc_enable;
	s->debugctl = c->debugctl;
	s->xss = c->xss;
	s->spec_ctrl = c->spec_ctrl;
	s->mtrr_def_type = c->mtrr_def_type;
	memcpy(s->mtrr_fixed, c->mtrr_fixed, sizeof(s->mtrr_fixed));
	memcpy(s->mtrr_base, c->mtrr_base, sizeof(s->mtrr_base));
	memcpy(s->mtrr_mask, c->mtrr_mask, sizeof(s->mtrr_mask));
	s->activity = c->shutdown ? VCPU_SHUTDOWN : c->halted ? VCPU_HALTED : c->activity;
	s->nmi_blocked = c->nmi_blocked;
	s->nmi_pending = c->nmi_pending || (atomic_load(&cpu->events) & CPU_EV_NMI);
	s->interrupt_shadow = c->shadow;
	soft_vec_get_image(c, s->xsave);
}

/* As loading a base would have made sure of; translated code relies on it (jit_cell.h). */
static u64 canonical(u64 v)
{
	return (u64)((s64)(v << 16) >> 16);
}

static void load_state(struct soft_cpu *c, const struct vcpu_state *s)
{
	unsigned cpl;

	memcpy(c->regs, s->regs, sizeof(s->regs));
	c->rip = s->rip;
	c->op = NULL;
	c->cr0 = s->cr0;
	c->cr2 = s->cr2;
	c->cr4 = s->cr4;
	c->xcr0 = s->xcr0;
	memcpy(c->dr, s->dr, sizeof(s->dr));
	c->dr6 = s->dr6;
	c->dr7 = s->dr7;
	memcpy(c->seg, s->seg, sizeof(s->seg));
	for (unsigned i = SEG_FS; i <= SEG_GS; i++)
		c->seg[i].base = canonical(c->seg[i].base);
	c->ldtr = s->ldtr;
	c->tr = s->tr;
	c->gdtr = s->gdtr;
	c->idtr = s->idtr;
	c->efer = s->efer;
	c->star = s->star;
	c->lstar = s->lstar;
	c->cstar = s->cstar;
	c->sfmask = s->sfmask;
	soft_syscall_changed(c);
	c->kernel_gs_base = canonical(s->kernel_gs_base);
	c->sysenter_cs = s->sysenter_cs;
	c->sysenter_esp = s->sysenter_esp;
	c->sysenter_eip = s->sysenter_eip;
	c->pat = s->pat;
	atomic_store(&c->base.tsc_offset, s->tsc_offset);
	c->tsc_adjust = s->tsc_adjust;
	c->tsc_aux = s->tsc_aux;
	c->misc_enable = s->misc_enable;
	c->debugctl = s->debugctl;
	c->xss = s->xss;
	c->spec_ctrl = s->spec_ctrl;
	c->mtrr_def_type = s->mtrr_def_type;
	memcpy(c->mtrr_fixed, s->mtrr_fixed, sizeof(s->mtrr_fixed));
	memcpy(c->mtrr_base, s->mtrr_base, sizeof(s->mtrr_base));
	memcpy(c->mtrr_mask, s->mtrr_mask, sizeof(s->mtrr_mask));
	c->shutdown = s->activity == VCPU_SHUTDOWN;
	c->halted = s->activity == VCPU_HALTED;
	c->activity = s->activity == VCPU_WAIT_SIPI ? VCPU_WAIT_SIPI : VCPU_RUNNING;
	c->nmi_blocked = s->nmi_blocked;
	c->nmi_pending = false;
	if (s->nmi_pending)
		atomic_fetch_or(&c->base.events, CPU_EV_NMI);
	c->shadow = s->interrupt_shadow & (SOFT_SHADOW_STI | SOFT_SHADOW_SS);
	c->event.kind = c->delivering.kind = SOFT_EVENT_NONE;
	c->db_pending = 0;

	/* CPL is SS's DPL, always. */
	c->rflags = s->rflags;
	cpl = !soft_protected(c) ? 0 : soft_v86(c) ? 3 : s->seg[SEG_SS].attr >> SEG_ATTR_DPL_SHIFT & 3;
	c->seg[SEG_SS].attr = (s->seg[SEG_SS].attr & ~SEG_ATTR_DPL) | cpl << SEG_ATTR_DPL_SHIFT;
	c->cpl = (u8)cpl;

	soft_vec_set_image(c, s->xsave);
	soft_mmu_load_cr3(c, s->cr3, false);
	soft_mmu_flush_all(c);
	soft_set_rflags(c, s->rflags);
	soft_update(c);
	if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !soft_long_active(c))
		soft_mmu_load_pdptes(c, c->cr3);
	soft_cache_flush(c);
}

static void soft_set_state(struct cpu *cpu, const struct vcpu_state *s)
{
	struct soft_cpu *c = soft_of(cpu);
	const struct cpu_board *board = soft_board(c);

	load_state(c, s);
	board->tpr_write(board->ctx, cpu, (u8)s->cr8);
}

/* There in leak-checking builds only: what a mapping points to is in use, too. */
void __lsan_register_root_region(const void *p, size_t size) __attribute__((weak));
void __lsan_unregister_root_region(const void *p, size_t size) __attribute__((weak));

static void soft_free(struct cpu *cpu)
{
	struct soft_cpu *c = soft_of(cpu);

	soft_jit_unwatch(c);
	soft_vec_release(c);
	soft_cache_release(c);
	soft_mmu_release(c);
	soft_jit_release(c);
	soft_lockstep_release(c);
	if (__lsan_unregister_root_region)
		__lsan_unregister_root_region(c, sizeof(*c));
	munmap(c, sizeof(*c));
}

static const struct cpu_ops soft_ops = {
        .name = "soft",
        .free = soft_free,
        .run = soft_run,
        .get_state = soft_get_state,
        .set_state = soft_set_state,
};

/* A yield gives up a whole slice of the host's scheduler: where every vCPU can have a CPU, spinning a little
 * is cheaper. */
static u32 pauses_per_yield(unsigned vcpus)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && vcpus <= (unsigned)CPU_COUNT(&set))
		return 1024;
	return 64;
}

void *soft_map(const struct cpu_config *config, size_t size, int prot, int fd)
{
	int flags = (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | MAP_NORESERVE;
	void *p;

	if (config->interpret)
		return mmap(NULL, size, prot, flags, fd, 0);
	/* High first: what users of fixed addresses (sanitizers, tests) want is further down. */
	for (u64 at = 0x60000000; at < 0x7f000000; at += 8 * MiB) {
		p = mmap((void *)at, size, prot, flags | MAP_FIXED_NOREPLACE, fd, 0);
		if ((u64)p == at && at + size <= 0x7f000000)
			return p;
		if (p != MAP_FAILED)
			munmap(p, size);
	}
	p = mmap(NULL, size, prot, flags | MAP_32BIT, fd, 0);
	return p != MAP_FAILED ? p : mmap(NULL, size, prot, flags, fd, 0);
}

struct cpu *soft_cpu_new(const struct cpu_config *config, struct error *e)
{
	struct soft_cpu *c = soft_map(config, sizeof(*c), PROT_READ | PROT_WRITE, -1);
	struct vcpu_state s;

	if (c == MAP_FAILED) {
		error_set(e, 0, "no memory for a vCPU");
		return NULL;
	}
	if (__lsan_register_root_region)
		__lsan_register_root_region(c, sizeof(*c));
	c->base.ops = &soft_ops;
	c->base.config = *config;
	c->pauses_per_yield = pauses_per_yield(config->count);
	soft_decode_init();
	if (soft_mmu_init(c, e) < 0 || soft_cache_init(c, e) < 0 || soft_vec_init(c, e) < 0) {
		soft_free(&c->base);
		return NULL;
	}
	soft_jit_init(c);
	soft_jit_watch(c);
	if (config->check && soft_lockstep_init(c, e) < 0) {
		soft_free(&c->base);
		return NULL;
	}
	vcpu_state_reset(&s, config->index == 0);
	s.tsc_offset = config->tsc_offset;
	load_state(c, &s);
	return &c->base;
}
