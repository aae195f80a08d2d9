/* IRET in all its forms (SDM vol. 2 IRET). */
#include "cpu/soft/far.h"
#include "cpu/soft/task.h"

/* Changes rflags to value in the bits of mask. */
static void set_flags(struct soft_cpu *c, u64 value, u64 mask)
{
	soft_set_rflags(c, (soft_rflags(c) & ~mask) | (value & mask) | FLAG_ONE);
}

#define FLAGS_16   (FLAG_ARITH | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT)
#define FLAGS_32   (FLAGS_16 | FLAG_RF | FLAG_AC | FLAG_ID)
#define FLAGS_USER (FLAG_ARITH | FLAG_TF | FLAG_DF | FLAG_NT)

static const struct op *iret_real(struct soft_cpu *c, unsigned size)
{
	u64 mask = size == 2 ? FLAGS_16 : FLAGS_32, rip, flags;
	u16 selector;

	if (soft_v86(c)) {
		if (soft_iopl(c) < 3)
			soft_raise_error(c, EXC_GP, 0);
		mask &= ~(u64)FLAG_IOPL;
	}
	rip = soft_peek(c, size, 0);
	selector = (u16)soft_peek(c, size, size);
	flags = soft_peek(c, size, 2 * size);
	if (rip > c->seg[SEG_CS].limit)
		soft_raise_error(c, EXC_GP, 0);
	soft_set_rsp(c, c->regs[REG_RSP] + 3 * size);
	segment_load_real(c, SEG_CS, selector);
	c->rip = rip;
	set_flags(c, flags, mask);
	soft_update(c);
	return NULL;
}

static const struct op *iret_task(struct soft_cpu *c, const struct op *o)
{
	u16 link = (u16)soft_sys_load(c, c->tr.base, 2);

	task_switch(c, link, TASK_IRET, soft_next_rip(c, o), NULL);
	return NULL;
}

static const struct op *iret_to_v86(struct soft_cpu *c, u64 rip, u16 cs, u64 flags)
{
	static const u8 order[] = {SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
	u64 rsp = soft_peek(c, 4, 12);
	u16 selectors[ARRAY_SIZE(order)];

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		selectors[i] = (u16)soft_peek(c, 4, 16 + 4 * i);
	if (rip > 0xffff)
		soft_raise_error(c, EXC_GP, 0);
	c->seg[SEG_CS] = segment_v86(cs);
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		c->seg[order[i]] = segment_v86(selectors[i]);
	c->cpl = 3;
	c->regs[REG_RSP] = (u32)rsp;
	c->rip = rip;
	set_flags(c, flags, FLAGS_32 | FLAG_VM | FLAG_VIF | FLAG_VIP);
	soft_update(c);
	return NULL;
}

/* What CPL allows IRET to change. */
static u64 flags_mask(const struct soft_cpu *c, unsigned size)
{
	u64 mask = FLAGS_USER;

	if (size > 2)
		mask |= FLAG_RF | FLAG_AC | FLAG_ID;
	if (c->cpl <= soft_iopl(c))
		mask |= FLAG_IF;
	if (c->cpl == 0)
		mask |= FLAG_IOPL | (size > 2 ? FLAG_VIF | FLAG_VIP : 0);
	return mask;
}

static const struct op *iret_protected(struct soft_cpu *c, unsigned size)
{
	u64 rip = soft_peek(c, size, 0), flags = soft_peek(c, size, 2 * size), mask = flags_mask(c, size), d,
	    rsp = 0;
	u16 selector = (u16)soft_peek(c, size, size);
	unsigned cpl = selector_rpl(selector);
	bool with_stack;
	struct vcpu_segment cs, ss = {0};

	if (size == 4 && flags & FLAG_VM && c->cpl == 0 && !soft_long_active(c))
		return iret_to_v86(c, rip, selector, flags);
	d = far_return_cs(c, selector);
	with_stack = c->long64 || cpl != c->cpl;
	if (with_stack) {
		rsp = soft_peek(c, size, 3 * size);
		ss = far_return_ss(c, (u16)soft_peek(c, size, 4 * size), cpl, d);
	}
	code_check_target(c, selector, d, rip);
	cs = segment_accept(c, selector, d);

	if (with_stack) {
		bool outer = cpl != c->cpl;

		c->seg[SEG_SS] = ss;
		far_set_rsp(c, &ss, d, rsp);
		if (outer)
			segment_drop_privileged(c, cpl);
	} else {
		soft_set_rsp(c, c->regs[REG_RSP] + 3 * size);
	}
	c->seg[SEG_CS] = cs;
	c->cpl = (u8)cpl;
	c->rip = rip;
	set_flags(c, flags, mask);
	return far_enter(c, cs, cpl, rip);
}

const struct op *far_iret(struct soft_cpu *c, const struct op *o)
{
	/* Even an IRET that faults ends the blocking of NMIs; of those that came meanwhile one is left. */
	if (c->nmi_blocked)
		atomic_fetch_and(&c->base.events, ~(u32)CPU_EV_NMI_AGAIN);
	c->nmi_blocked = false;
	if (soft_real(c))
		return iret_real(c, o->osize);
	if (c->rflags & FLAG_NT) {
		if (soft_long_active(c))
			soft_raise_error(c, EXC_GP, 0);
		return iret_task(c, o);
	}
	return iret_protected(c, o->osize);
}
