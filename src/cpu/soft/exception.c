/*
 * Exceptions and interrupts: raising, combining (double and triple faults), delivery through IVT and IDT, and
 * what happens between instructions (SDM vol. 3 ch. 6, vol. 2 INT n).
 *
 * A fault leaves by longjmp to run.c with c->event set, c->rip at the faulting instruction and no op active.
 * run.c calls soft_deliver(), which changes guest state only when nothing can fault any more, so that an
 * exception during delivery finds the state of before.
 */
#include "cpu/soft/debug.h"
#include "cpu/soft/segment.h"
#include "cpu/soft/task.h"
#include "cpu/soft/features.h"
#include "cpu/soft/vec.h"

#include <string.h>

#define ERROR_EXT 1u
#define ERROR_IDT 2u

/* ---- raising ---- */

static _Noreturn void leave(struct soft_cpu *c)
{
	unsigned cpl = soft_ss_dpl(c);

	if (c->cpl != cpl)
		soft_set_cpl(c, cpl);
	if (c->vec_live && (VEC_PARK_ALWAYS || c->lockstep))
		soft_vec_park(c);
	c->op = NULL;
	c->delivering.kind = SOFT_EVENT_NONE;
	soft_longjmp(c->jmp);
}

static u64 current_rip(const struct soft_cpu *c)
{
	return c->op ? soft_op_rip(c, c->op) : c->rip;
}

static bool contributory(unsigned vector)
{
	return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

/* SDM vol. 3 table 6-5. */
static bool makes_double_fault(unsigned first, unsigned second)
{
	if (contributory(first))
		return contributory(second);
	return first == EXC_PF && (contributory(second) || second == EXC_PF);
}

/* Was what is being delivered caused from outside of the instruction stream? */
static bool delivering_external(const struct soft_cpu *c)
{
	return c->delivering.kind != SOFT_EVENT_NONE && c->delivering.kind != SOFT_EVENT_SOFT_INT &&
	       c->delivering.kind != SOFT_EVENT_SOFT_EXC;
}

static _Noreturn void raise_fault(struct soft_cpu *c, unsigned vector, bool has_error, u32 error)
{
	const struct soft_event *first = &c->delivering;
	struct soft_event e = {
	        .kind = SOFT_EVENT_EXCEPTION, .vector = (u8)vector, .has_error = has_error, .error = error};

	if (c->op) /* breakpoints that this instruction met before it failed */
		c->db_pending = 0;
	c->rip = e.rip = current_rip(c);
	if (first->kind == SOFT_EVENT_EXCEPTION) {
		if (first->vector == EXC_DF && (contributory(vector) || vector == EXC_PF)) {
			c->shutdown = true;
			c->activity = VCPU_SHUTDOWN;
			c->event.kind = SOFT_EVENT_NONE;
			leave(c);
		}
		if (makes_double_fault(first->vector, vector)) {
			e.vector = EXC_DF;
			e.has_error = true;
			e.error = 0;
		} else if (vector == first->vector) {
			/* #AC on the way to the handler of #AC, for ever: the instruction runs again, and the
			 * run loop sees events in between. */
			e.kind = SOFT_EVENT_NONE;
		}
	}
	c->event = e;
	leave(c);
}

void soft_raise(struct soft_cpu *c, unsigned vector)
{
	raise_fault(c, vector, false, 0);
}

void soft_raise_error(struct soft_cpu *c, unsigned vector, u32 error)
{
	if (delivering_external(c) && vector >= EXC_TS && vector <= EXC_GP)
		error |= ERROR_EXT;
	raise_fault(c, vector, true, error);
}

void soft_raise_pf(struct soft_cpu *c, u64 linear, u32 error)
{
	c->cr2 = linear;
	raise_fault(c, EXC_PF, true, error);
}

void soft_raise_soft(struct soft_cpu *c, enum soft_event_kind kind, unsigned vector, u64 rip)
{
	c->rip = current_rip(c);
	c->event = (struct soft_event){.kind = (u8)kind, .vector = (u8)vector, .trap = true, .rip = rip};
	/* A debug trap that MOV SS held back is the same #DB as that of INT1. */
	if (kind == SOFT_EVENT_PRIV_EXC && c->db_pending) {
		c->dr6 = (c->dr6 & ~DR6_TRAPS) | (c->db_pending & DR6_EVENTS);
		c->db_pending = 0;
	}
	leave(c);
}

void soft_raise_db(struct soft_cpu *c, u64 dr6_bits, u64 rip)
{
	/* B0–B3 tell of this exception, the others only accumulate. */
	c->dr6 = (c->dr6 & ~DR6_TRAPS) | dr6_bits;
	c->rip = rip;
	c->event = (struct soft_event){
	        .kind = SOFT_EVENT_EXCEPTION, .vector = EXC_DB, .trap = !(dr6_bits & DR6_BD), .rip = rip};
	leave(c);
}

/* ---- delivery ---- */

/* RFLAGS as pushed: RF is set for faults (traps and instruction breakpoints push it as it is). */
static u64 pushed_flags(const struct soft_cpu *c, const struct soft_event *e)
{
	u64 flags = soft_rflags(c);

	if (e->kind == SOFT_EVENT_EXCEPTION && !e->trap)
		flags |= FLAG_RF;
	return flags;
}

static void deliver_real(struct soft_cpu *c, const struct soft_event *e)
{
	struct stack s = stack_current(c);
	u32 entry;

	if (e->vector * 4u + 3 > c->idtr.limit)
		soft_raise_error(c, EXC_GP, e->vector * 8u + ERROR_IDT);
	entry = (u32)soft_sys_load(c, c->idtr.base + e->vector * 4u, 4);
	stack_push(c, &s, 2, soft_rflags(c));
	stack_push(c, &s, 2, c->seg[SEG_CS].selector);
	stack_push(c, &s, 2, e->rip);
	c->regs[REG_RSP] = s.sp;
	segment_load_real(c, SEG_CS, (u16)(entry >> 16));
	c->rip = entry & 0xffff;
	c->rflags &= ~(u64)(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
}

struct gate {
	u64 raw, offset;
	u32 error; /* of faults about the gate itself */
	u16 selector;
	u8 type;
	u8 ist;
};

static struct gate gate_load(struct soft_cpu *c, const struct soft_event *e)
{
	bool lm = soft_long_active(c);
	u32 size = lm ? 16 : 8, offset = e->vector * size;
	struct gate g = {.error = e->vector * 8u + ERROR_IDT};

	if (offset + size - 1 > c->idtr.limit)
		soft_raise_error(c, EXC_GP, g.error);
	g.raw = soft_sys_load(c, c->idtr.base + offset, 8);
	g.selector = gate_selector(g.raw);
	g.offset = gate_offset32(g.raw);
	g.type = (u8)desc_type(g.raw);
	if (lm) {
		g.offset |= soft_sys_load(c, c->idtr.base + offset + 8, 4) << 32;
		g.ist = g.raw >> 32 & 7;
	}
	if (desc_is_segment(g.raw) ||
	    !(g.type == DESC_INT32 || g.type == DESC_TRAP32 ||
	      (!lm && (g.type == DESC_INT16 || g.type == DESC_TRAP16 || g.type == DESC_TASK_GATE))))
		soft_raise_error(c, EXC_GP, g.error);
	if ((e->kind == SOFT_EVENT_SOFT_INT || e->kind == SOFT_EVENT_SOFT_EXC) && desc_dpl(g.raw) < c->cpl)
		soft_raise_error(c, EXC_GP, g.error);
	if (!desc_present(g.raw))
		soft_raise_error(c, EXC_NP, g.error);
	if (g.type == DESC_INT16 || g.type == DESC_TRAP16)
		g.offset &= 0xffff;
	return g;
}

/* The handler's code segment descriptor; *cpl is the level it will run at. */
static u64 handler_segment(struct soft_cpu *c, const struct gate *g, unsigned *cpl)
{
	u32 error = selector_error(g->selector);
	u64 d;

	if (selector_null(g->selector))
		soft_raise_error(c, EXC_GP, 0);
	d = desc_load(c, g->selector, EXC_GP);
	if (!desc_is_code(d) || desc_dpl(d) > c->cpl)
		soft_raise_error(c, EXC_GP, error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_NP, error);
	if (soft_long_active(c) && (!desc_long(d) || desc_db(d)))
		soft_raise_error(c, EXC_GP, error);
	*cpl = desc_conforming(d) ? c->cpl : desc_dpl(d);
	if (soft_v86(c) && *cpl != 0)
		soft_raise_error(c, EXC_GP, error);
	return d;
}

static void deliver_long(struct soft_cpu *c, const struct soft_event *e, const struct gate *g)
{
	unsigned cpl, old_cpl = c->cpl;
	u64 d = handler_segment(c, g, &cpl), flags = pushed_flags(c, e);
	struct stack s = {.sp = c->regs[REG_RSP], .mask = ~0ULL, .flat = true};
	u16 old_ss = c->seg[SEG_SS].selector;

	if (g->ist)
		s.sp = stack_from_tss64(c, 3 + g->ist);
	else if (cpl != old_cpl)
		s.sp = stack_from_tss64(c, cpl);
	if (!canonical(s.sp))
		soft_raise_error(c, EXC_SS, 0);
	if (!canonical(g->offset))
		soft_raise_error(c, EXC_GP, 0);
	s.sp &= ~0xfULL;
	soft_set_cpl(c, cpl);
	stack_push(c, &s, 8, old_ss);
	stack_push(c, &s, 8, c->regs[REG_RSP]);
	stack_push(c, &s, 8, flags);
	stack_push(c, &s, 8, c->seg[SEG_CS].selector);
	stack_push(c, &s, 8, e->rip);
	if (e->has_error)
		stack_push(c, &s, 8, e->error);
	soft_set_cpl(c, old_cpl);
	c->seg[SEG_CS] = segment_accept(c, (u16)((g->selector & ~3) | cpl), d);
	if (cpl != old_cpl)
		c->seg[SEG_SS] = segment_null((u16)cpl, cpl);
	c->cpl = (u8)cpl;
	c->regs[REG_RSP] = s.sp;
	c->rip = g->offset;
}

static void deliver_legacy(struct soft_cpu *c, const struct soft_event *e, const struct gate *g)
{
	static const u8 data[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};
	unsigned cpl, old_cpl = c->cpl, size = g->type >= DESC_INT32 ? 4 : 2;
	u64 d = handler_segment(c, g, &cpl), flags = pushed_flags(c, e);
	bool inner = cpl != old_cpl, v86 = soft_v86(c);
	struct stack s = inner ? stack_from_tss(c, cpl) : stack_current(c);

	if (g->offset > segment_from_desc(g->selector, d).limit)
		soft_raise_error(c, EXC_GP, 0);
	soft_set_cpl(c, cpl);
	if (v86)
		for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
			stack_push(c, &s, size, c->seg[data[i]].selector);
	if (inner) {
		stack_push(c, &s, size, c->seg[SEG_SS].selector);
		stack_push(c, &s, size, c->regs[REG_RSP]);
	}
	stack_push(c, &s, size, flags);
	stack_push(c, &s, size, c->seg[SEG_CS].selector);
	stack_push(c, &s, size, e->rip);
	if (e->has_error)
		stack_push(c, &s, size, e->error);
	soft_set_cpl(c, old_cpl);
	c->seg[SEG_CS] = segment_accept(c, (u16)((g->selector & ~3) | cpl), d);
	if (inner)
		c->seg[SEG_SS] = s.ss;
	if (v86)
		for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
			c->seg[data[i]] = segment_null(0, 0);
	c->cpl = (u8)cpl;
	c->regs[REG_RSP] = s.sp;
	c->rip = g->offset;
}

static void deliver_protected(struct soft_cpu *c, const struct soft_event *e)
{
	struct gate g = gate_load(c, e);
	u64 clear = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;

	if (g.type == DESC_TASK_GATE) {
		task_switch(c, g.selector, TASK_EVENT, e->rip, e->has_error ? &e->error : NULL);
		return;
	}
	if (soft_long_active(c))
		deliver_long(c, e, &g);
	else
		deliver_legacy(c, e, &g);
	if (g.type == DESC_INT16 || g.type == DESC_INT32)
		clear |= FLAG_IF;
	c->rflags &= ~clear;
}

void soft_deliver(struct soft_cpu *c)
{
	const struct soft_event *e = &c->delivering;
	bool debug;

	c->delivering = c->event;
	c->event.kind = SOFT_EVENT_NONE;
	c->op = NULL;
	c->halted = false;
	c->activity = VCPU_RUNNING;
	c->shadow = 0;
	debug = e->vector == EXC_DB && (e->kind == SOFT_EVENT_EXCEPTION || e->kind == SOFT_EVENT_PRIV_EXC);
	if (e->kind == SOFT_EVENT_NMI)
		c->nmi_blocked = true;
	if (soft_protected(c))
		deliver_protected(c, e);
	else
		deliver_real(c, e);
	c->delivering.kind = SOFT_EVENT_NONE;
	if (debug) {
		c->dr7 &= ~DR7_GD;
		c->debugctl &= ~(DEBUGCTL_LBR | DEBUGCTL_BTF);
	}
	soft_update_level(c);
}

/* ---- between instructions ---- */

/* SDM vol. 3 table 9-1, column INIT: x87, vector state, XCR0, MSRs, the TSC, CR0.CD and NW stay. */
static void take_init(struct soft_cpu *c)
{
	const struct cpu_board *board = soft_board(c);
	bool bsp = c->base.config.index == 0;
	u64 cache_bits = c->cr0 & (CR0_CD | CR0_NW);
	struct vcpu_state s;
	u32 id[4];

	vcpu_state_reset(&s, bsp);
	soft_cpuid(c, 1, 0, id);
	memcpy(c->regs, s.regs, sizeof(s.regs));
	c->regs[REG_RDX] = id[0];
	c->rip = s.rip;
	c->op = NULL;
	c->cr0 = (s.cr0 & ~(CR0_CD | CR0_NW)) | cache_bits;
	c->cr2 = 0;
	c->cr4 = 0;
	c->efer = 0;
	soft_syscall_changed(c);
	memcpy(c->dr, s.dr, sizeof(s.dr));
	c->dr6 = s.dr6;
	c->dr7 = s.dr7;
	memcpy(c->seg, s.seg, sizeof(s.seg));
	c->ldtr = s.ldtr;
	c->tr = s.tr;
	c->gdtr = s.gdtr;
	c->idtr = s.idtr;
	c->cpl = 0;
	c->db_pending = 0;
	c->shadow = 0;
	c->halted = false;
	c->nmi_blocked = c->nmi_pending = false;
	c->shutdown = false;
	c->event.kind = c->delivering.kind = SOFT_EVENT_NONE;
	c->activity = (u8)s.activity;
	soft_set_rflags(c, s.rflags);
	soft_mmu_load_cr3(c, 0, false);
	soft_mmu_flush_all(c);
	board->init(board->ctx, &c->base);
	soft_update(c);
}

static void take_sipi(struct soft_cpu *c)
{
	u32 vector = atomic_load(&c->base.sipi_vector) & 0xff;

	c->seg[SEG_CS].selector = (u16)(vector << 8);
	c->seg[SEG_CS].base = (u64)vector << 12;
	c->rip = 0;
	c->activity = VCPU_RUNNING;
	soft_update(c);
}

static void take_interrupt(struct soft_cpu *c)
{
	const struct cpu_board *board = soft_board(c);
	int vector;

	/* Cleared first: what is raised from here on sets it again. It stays set as long as there may be
	 * more. */
	atomic_fetch_and(&c->base.events, ~(u32)CPU_EV_INTR);
	vector = board->interrupt_ack(board->ctx, &c->base);
	if (vector < 0)
		return;
	atomic_fetch_or(&c->base.events, CPU_EV_INTR);
	c->event = (struct soft_event){.kind = SOFT_EVENT_EXTERNAL, .vector = (u8)vector, .rip = c->rip};
}

bool soft_take_events(struct soft_cpu *c)
{
	u32 events = atomic_load(&c->base.events);

	if (events & CPU_EV_STOP) {
		atomic_fetch_and(&c->base.events, ~(u32)CPU_EV_STOP);
		return false;
	}
	if (events & CPU_EV_INIT) {
		atomic_fetch_and(&c->base.events, ~(u32)CPU_EV_INIT);
		take_init(c);
	}
	if (events & CPU_EV_SIPI) {
		atomic_fetch_and(&c->base.events, ~(u32)CPU_EV_SIPI);
		if (c->activity == VCPU_WAIT_SIPI)
			take_sipi(c);
	}
	if (c->activity != VCPU_RUNNING && c->activity != VCPU_HALTED)
		return true;
	if ((events & CPU_EV_NMI || c->nmi_pending) && !c->nmi_blocked && !c->shadow) {
		u32 old = atomic_fetch_and(&c->base.events, ~(u32)(CPU_EV_NMI | CPU_EV_NMI_AGAIN));

		if (old & CPU_EV_NMI_AGAIN)
			atomic_fetch_or(&c->base.events, CPU_EV_NMI);
		c->nmi_pending = false;
		c->event = (struct soft_event){.kind = SOFT_EVENT_NMI, .vector = EXC_NMI, .rip = c->rip};
	} else if (events & CPU_EV_INTR && c->rflags & FLAG_IF && !c->shadow) {
		take_interrupt(c);
	}
	return true;
}
