/* SYSCALL, SYSRET, SYSENTER, SYSEXIT as Intel's processors do them: SYSCALL and SYSRET only in 64-bit mode.
 */
#include "cpu/soft/debug.h"
#include "cpu/soft/far.h"

/* A flat segment, whatever the descriptor in memory says. */
static struct vcpu_segment flat(unsigned selector, unsigned type, unsigned cpl, u32 width)
{
	return (struct vcpu_segment){
	        .limit = 0xffffffff,
	        .attr = type | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_G | cpl << SEG_ATTR_DPL_SHIFT | width,
	        .selector = (u16)((selector & 0xfffc) | cpl),
	};
}

enum { TYPE_CODE = 0xb, TYPE_DATA = 3 };

static const struct op *enter_flat(struct soft_cpu *c, unsigned cs, unsigned ss, unsigned cpl, bool is_long,
                                   u64 rip)
{
	c->seg[SEG_SS] = flat(ss, TYPE_DATA, cpl, SEG_ATTR_DB);
	return far_enter(c, flat(cs, TYPE_CODE, cpl, is_long ? SEG_ATTR_L : SEG_ATTR_DB), cpl, rip);
}

/* The single step after SYSCALL and SYSRET goes by the TF that they load. */
static void step_by_new_tf(struct soft_cpu *c)
{
	if (c->rflags & FLAG_TF)
		c->db_pending |= DR6_BS;
	else if (c->step & SOFT_STEP_TF)
		c->db_pending |= DB_NO_STEP;
}

/* What SYSCALL and SYSRET do next time is known until soft_syscall_changed(), if SYSCALL leads to where no
 * interrupts are taken, with RFLAGS.AC clear. */
static void prepare(struct soft_cpu *c)
{
	const u64 masked = FLAG_IF | FLAG_AC;
	unsigned enter = c->star >> 32 & 0xffff, leave = (unsigned)(c->star >> 48);
	struct soft_syscall *s = &c->jx.syscall;

	if (s->ready || (c->sfmask & masked) != masked)
		return;
	s->cs[0] = flat(enter, TYPE_CODE, 0, SEG_ATTR_L);
	s->ss[0] = flat(enter + 8, TYPE_DATA, 0, SEG_ATTR_DB);
	s->cs[1] = flat(leave + 16, TYPE_CODE, 3, SEG_ATTR_L);
	s->ss[1] = flat(leave + 8, TYPE_DATA, 3, SEG_ATTR_DB);
	s->keep = ~(c->sfmask | FLAG_RF) | FLAG_ONE;
	s->keep_af = (u32)((~c->sfmask & 0xd5) | FLAG_ONE) << 8 | (~c->sfmask >> 11 & 1);
	s->ready = 1 + (c->cr4 & CR4_SMAP ? SOFT_TLB_SUPER_SMAP : SOFT_TLB_SUPER);
}

const struct op *far_syscall(struct soft_cpu *c, const struct op *o)
{
	u64 flags = soft_rflags(c);

	if (!c->long64 || !(c->efer & EFER_SCE))
		soft_raise(c, EXC_UD);
	prepare(c);
	c->regs[REG_RCX] = soft_next_rip(c, o);
	c->regs[11] = flags & ~(u64)FLAG_RF;
	c->rflags = (flags & ~(u64)FLAG_ARITH & ~(c->sfmask | FLAG_RF)) | FLAG_ONE;
	soft_set_arith(c, flags & ~c->sfmask);
	step_by_new_tf(c);
	return enter_flat(c, c->star >> 32 & 0xffff, (c->star >> 32 & 0xffff) + 8, 0, true, c->lstar);
}

const struct op *far_sysret(struct soft_cpu *c, const struct op *o)
{
	unsigned base = c->star >> 48;
	bool wide = o->osize == 8;

	if (!c->long64 || !(c->efer & EFER_SCE))
		soft_raise(c, EXC_UD);
	if (c->cpl || (wide && !canonical(c->regs[REG_RCX])))
		soft_raise_error(c, EXC_GP, 0);
	soft_set_rflags(c, (c->regs[11] & 0x3c7fd7) | FLAG_ONE);
	step_by_new_tf(c);
	return enter_flat(c, wide ? base + 16 : base, base + 8, 3, wide,
	                  wide ? c->regs[REG_RCX] : (u32)c->regs[REG_RCX]);
}

const struct op *far_sysenter(struct soft_cpu *c, const struct op *o)
{
	bool lm = soft_long_active(c);

	if (!soft_protected(c) || !(c->sysenter_cs & 0xfffc))
		soft_raise_error(c, EXC_GP, 0);
	c->regs[REG_RSP] = lm ? c->sysenter_esp : (u32)c->sysenter_esp;
	soft_set_rflags(c, soft_rflags(c) & ~(u64)(FLAG_VM | FLAG_IF | FLAG_RF));
	return enter_flat(c, (unsigned)c->sysenter_cs, (unsigned)c->sysenter_cs + 8, 0, lm,
	                  lm ? c->sysenter_eip : (u32)c->sysenter_eip);
}

const struct op *far_sysexit(struct soft_cpu *c, const struct op *o)
{
	unsigned base = (unsigned)c->sysenter_cs & 0xfffc;
	bool wide = o->osize == 8 && c->long64;
	u64 rip = c->regs[REG_RDX], rsp = c->regs[REG_RCX];

	if (!soft_protected(c) || !base || c->cpl)
		soft_raise_error(c, EXC_GP, 0);
	if (wide && (!canonical(rip) || !canonical(rsp)))
		soft_raise_error(c, EXC_GP, 0);
	c->regs[REG_RSP] = wide ? rsp : (u32)rsp;
	return enter_flat(c, wide ? base + 32 : base + 16, wide ? base + 40 : base + 24, 3, wide,
	                  wide ? rip : (u32)rip);
}
