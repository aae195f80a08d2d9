#include "cpu/soft/task.h"
#include "cpu/soft/debug.h"
#include "cpu/soft/segment.h"

/* Offsets in the TSS, SDM vol. 3 figures 8-2 and 8-10. */
enum {
	TSS_LINK = 0,
	TSS32_CR3 = 0x1c,
	TSS32_EIP = 0x20,
	TSS32_EFLAGS = 0x24,
	TSS32_REGS = 0x28,
	TSS32_SEGS = 0x48,
	TSS32_LDT = 0x60,
	TSS32_TRAP = 0x64,
	TSS32_LIMIT = 0x67,
	TSS16_IP = 0x0e,
	TSS16_FLAGS = 0x10,
	TSS16_REGS = 0x12,
	TSS16_SEGS = 0x22,
	TSS16_LDT = 0x2a,
	TSS16_LIMIT = 0x2b,
};

/* What the new task's TSS says. */
struct task {
	u32 regs[8], eip, eflags, cr3;
	u16 segs[SEG_COUNT], ldt;
	bool wide, trap;
};

u16 task_gate_selector(u64 d)
{
	return gate_selector(d);
}

static u32 tss_load(struct soft_cpu *c, u64 base, u32 offset, unsigned size)
{
	return (u32)soft_sys_load(c, (u32)(base + offset), size);
}

static void tss_store(struct soft_cpu *c, u64 base, u32 offset, unsigned size, u32 value)
{
	soft_sys_store(c, (u32)(base + offset), size, value);
}

static bool tss_wide(unsigned type)
{
	return type >= DESC_TSS32;
}

static void task_save(struct soft_cpu *c, u64 rip, u64 flags)
{
	u64 base = c->tr.base;

	if (tss_wide(c->tr.attr & 0xf)) {
		tss_store(c, base, TSS32_EIP, 4, (u32)rip);
		tss_store(c, base, TSS32_EFLAGS, 4, (u32)flags);
		for (unsigned i = 0; i < 8; i++)
			tss_store(c, base, TSS32_REGS + 4 * i, 4, (u32)c->regs[i]);
		for (unsigned i = 0; i < SEG_COUNT; i++)
			tss_store(c, base, TSS32_SEGS + 4 * i, 2, c->seg[i].selector);
	} else {
		tss_store(c, base, TSS16_IP, 2, (u32)rip);
		tss_store(c, base, TSS16_FLAGS, 2, (u32)flags);
		for (unsigned i = 0; i < 8; i++)
			tss_store(c, base, TSS16_REGS + 2 * i, 2, (u32)c->regs[i]);
		for (unsigned i = 0; i <= SEG_DS; i++)
			tss_store(c, base, TSS16_SEGS + 2 * i, 2, c->seg[i].selector);
	}
}

static struct task task_read(struct soft_cpu *c, u64 base, bool wide)
{
	struct task t = {.wide = wide};

	if (wide) {
		t.cr3 = tss_load(c, base, TSS32_CR3, 4);
		t.eip = tss_load(c, base, TSS32_EIP, 4);
		t.eflags = tss_load(c, base, TSS32_EFLAGS, 4);
		for (unsigned i = 0; i < 8; i++)
			t.regs[i] = tss_load(c, base, TSS32_REGS + 4 * i, 4);
		for (unsigned i = 0; i < SEG_COUNT; i++)
			t.segs[i] = (u16)tss_load(c, base, TSS32_SEGS + 4 * i, 2);
		t.ldt = (u16)tss_load(c, base, TSS32_LDT, 2);
		t.trap = tss_load(c, base, TSS32_TRAP, 2) & 1;
	} else {
		t.eip = tss_load(c, base, TSS16_IP, 2);
		t.eflags = tss_load(c, base, TSS16_FLAGS, 2);
		for (unsigned i = 0; i < 8; i++)
			t.regs[i] = 0xffff0000 | tss_load(c, base, TSS16_REGS + 2 * i, 2);
		for (unsigned i = 0; i <= SEG_DS; i++)
			t.segs[i] = (u16)tss_load(c, base, TSS16_SEGS + 2 * i, 2);
		t.ldt = (u16)tss_load(c, base, TSS16_LDT, 2);
	}
	return t;
}

static void load_ldt(struct soft_cpu *c, u16 selector)
{
	u32 error = selector_error(selector);
	u64 linear, d;

	c->ldtr = segment_null(selector, 0);
	if (selector_null(selector))
		return;
	if (selector & 4 || !desc_find(c, selector, 8, &linear))
		soft_raise_error(c, EXC_TS, error);
	d = soft_sys_load(c, linear, 8);
	if (desc_is_segment(d) || desc_type(d) != DESC_LDT || !desc_present(d))
		soft_raise_error(c, EXC_TS, error);
	c->ldtr = segment_from_desc(selector, d);
}

static void load_ss(struct soft_cpu *c, u16 selector, unsigned cpl)
{
	u32 error = selector_error(selector);
	u64 d;

	if (selector_null(selector))
		soft_raise_error(c, EXC_TS, error);
	d = desc_load(c, selector, EXC_TS);
	if (!desc_writable_data(d) || desc_dpl(d) != cpl || selector_rpl(selector) != cpl)
		soft_raise_error(c, EXC_TS, error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_SS, error);
	c->seg[SEG_SS] = segment_accept(c, selector, d);
}

static void load_cs(struct soft_cpu *c, u16 selector)
{
	unsigned rpl = selector_rpl(selector);
	u32 error = selector_error(selector);
	u64 d;

	if (selector_null(selector))
		soft_raise_error(c, EXC_TS, error);
	d = desc_load(c, selector, EXC_TS);
	if (!desc_is_code(d) || (desc_conforming(d) ? desc_dpl(d) > rpl : desc_dpl(d) != rpl))
		soft_raise_error(c, EXC_TS, error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_NP, error);
	c->seg[SEG_CS] = segment_accept(c, selector, d);
}

static void load_data(struct soft_cpu *c, unsigned seg, u16 selector, unsigned cpl)
{
	u32 error = selector_error(selector);
	unsigned rpl = selector_rpl(selector);
	u64 d;

	if (selector_null(selector))
		return;
	d = desc_load(c, selector, EXC_TS);
	if (!desc_is_segment(d) || (desc_is_code(d) && !(desc_type(d) & SEG_ATTR_WRITE)))
		soft_raise_error(c, EXC_TS, error);
	if (!(desc_is_code(d) && desc_conforming(d)) && (rpl > desc_dpl(d) || cpl > desc_dpl(d)))
		soft_raise_error(c, EXC_TS, error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_NP, error);
	c->seg[seg] = segment_accept(c, selector, d);
}

/* From here on the new task runs: exceptions are its own. */
static void load_segments(struct soft_cpu *c, const struct task *t)
{
	unsigned cpl;

	if (t->eflags & FLAG_VM) {
		for (unsigned i = 0; i < SEG_COUNT; i++)
			c->seg[i] = segment_v86(t->segs[i]);
		c->cpl = 3;
		load_ldt(c, t->ldt);
		return;
	}
	cpl = selector_rpl(t->segs[SEG_CS]);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		c->seg[i] = segment_null(t->segs[i], cpl);
	c->cpl = (u8)cpl;
	soft_update(c);
	load_ldt(c, t->ldt);
	load_cs(c, t->segs[SEG_CS]);
	soft_update(c);
	load_ss(c, t->segs[SEG_SS], cpl);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		if (i != SEG_CS && i != SEG_SS)
			load_data(c, i, t->segs[i], cpl);
}

static void push_error_code(struct soft_cpu *c, const struct task *t, u32 error)
{
	struct stack s = stack_current(c);

	stack_push(c, &s, t->wide ? 4 : 2, error);
	c->regs[REG_RSP] = s.sp;
}

/* The TSS descriptor, checked for this kind of switch. */
static u64 check_tss(struct soft_cpu *c, u16 selector, enum task_reason reason)
{
	unsigned vector = reason == TASK_IRET ? EXC_TS : EXC_GP, type;
	u32 error = selector_error(selector);
	u64 linear, d;
	bool busy;

	if (selector_null(selector) || selector & 4 || !desc_find(c, selector, 8, &linear))
		soft_raise_error(c, vector, error);
	d = soft_sys_load(c, linear, 8);
	type = desc_type(d);
	busy = type == DESC_TSS16_BUSY || type == DESC_TSS32_BUSY;
	if (desc_is_segment(d) || (type & 5) != 1 || busy != (reason == TASK_IRET))
		soft_raise_error(c, vector, error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_NP, error);
	if (segment_from_desc(selector, d).limit < (tss_wide(type) ? TSS32_LIMIT : TSS16_LIMIT))
		soft_raise_error(c, EXC_TS, error);
	return d;
}

void task_switch(struct soft_cpu *c, u16 selector, enum task_reason reason, u64 rip, const u32 *error_code)
{
	u64 d = check_tss(c, selector, reason), flags = soft_rflags(c);
	struct vcpu_segment tss = segment_from_desc(selector, d);
	bool wide = tss_wide(desc_type(d));
	u16 old = c->tr.selector;
	struct task t;

	/* Both TSSs are read and written before anything else changes: a page fault leaves the old task
	 * running. */
	t = task_read(c, tss.base, wide);
	if (reason == TASK_EVENT && c->delivering.kind == SOFT_EVENT_EXCEPTION && !c->delivering.trap)
		flags |= FLAG_RF;
	if (reason == TASK_IRET)
		flags &= ~(u64)FLAG_NT;
	task_save(c, rip, flags);
	if (reason == TASK_CALL || reason == TASK_EVENT) {
		tss_store(c, tss.base, TSS_LINK, 2, old);
		t.eflags |= FLAG_NT;
	}
	if (reason == TASK_JMP || reason == TASK_IRET)
		desc_clear_bits(c, old, DESC_HIGH_BUSY);
	if (reason != TASK_IRET)
		desc_set_bits(c, selector, DESC_HIGH_BUSY);
	tss.attr |= DESC_HIGH_BUSY >> 8;

	c->tr = tss;
	c->cr0 |= CR0_TS;
	c->dr7 &= ~DR7_LOCAL;
	c->op = NULL;
	c->rip = t.eip;
	for (unsigned i = 0; i < 8; i++)
		c->regs[i] = t.regs[i];
	soft_set_rflags(c, (t.eflags & 0x3f7fd7) | FLAG_ONE);
	if (wide && c->cr0 & CR0_PG) {
		if (c->cr4 & CR4_PAE && !soft_mmu_load_pdptes(c, t.cr3))
			soft_raise_error(c, EXC_GP, 0);
		soft_mmu_load_cr3(c, t.cr3, false);
	}
	load_segments(c, &t);
	soft_update(c);
	if (error_code)
		push_error_code(c, &t, *error_code);
	if (t.eip > c->seg[SEG_CS].limit)
		soft_raise_error(c, EXC_GP, 0);
	if (t.trap)
		c->db_pending |= DR6_BT;
	soft_update(c);
}
