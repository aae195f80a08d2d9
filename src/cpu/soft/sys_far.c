#include "cpu/soft/far.h"
#include "cpu/soft/task.h"

const struct op *far_enter(struct soft_cpu *c, struct vcpu_segment cs, unsigned cpl, u64 rip)
{
	cs.selector = (u16)((cs.selector & ~3) | cpl);
	c->seg[SEG_CS] = cs;
	c->cpl = (u8)cpl;
	c->rip = rip;
	soft_update_level(c);
	return NULL;
}

/* ---- JMP and CALL ---- */

static void push_return(struct soft_cpu *c, const struct op *o, struct stack *s, unsigned size)
{
	stack_push(c, s, size, c->seg[SEG_CS].selector);
	stack_push(c, s, size, soft_next_rip(c, o));
}

static const struct op *far_real(struct soft_cpu *c, const struct op *o, u16 selector, u64 rip, bool call)
{
	struct stack s = stack_current(c);

	if (rip > c->seg[SEG_CS].limit)
		soft_raise_error(c, EXC_GP, 0);
	if (call) {
		push_return(c, o, &s, o->osize);
		c->regs[REG_RSP] = s.sp;
	}
	segment_load_real(c, SEG_CS, selector);
	c->rip = rip;
	soft_update(c);
	return NULL;
}

static const struct op *far_code(struct soft_cpu *c, const struct op *o, u16 selector, u64 d, u64 rip,
                                 bool call)
{
	unsigned dpl = desc_dpl(d);
	u32 error = selector_error(selector);
	struct stack s = stack_current(c);

	if (!desc_is_code(d))
		soft_raise_error(c, EXC_GP, error);
	if (desc_conforming(d) ? dpl > c->cpl : (selector_rpl(selector) > c->cpl || dpl != c->cpl))
		soft_raise_error(c, EXC_GP, error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_NP, error);
	code_check_target(c, selector, d, rip);
	if (call)
		push_return(c, o, &s, o->osize);
	struct vcpu_segment cs = segment_accept(c, selector, d);
	if (call)
		c->regs[REG_RSP] = s.sp;
	return far_enter(c, cs, c->cpl, rip);
}

static const struct op *far_task(struct soft_cpu *c, const struct op *o, u16 selector, bool call)
{
	task_switch(c, selector, call ? TASK_CALL : TASK_JMP, soft_next_rip(c, o), NULL);
	return NULL;
}

/* A call gate to more privilege: new stack, parameters copied. */
static const struct op *gate_inner(struct soft_cpu *c, const struct op *o, u64 gate, u16 selector, u64 d,
                                   u64 rip, unsigned size)
{
	unsigned old_cpl = c->cpl, cpl = desc_dpl(d), count = size == 8 ? 0 : gate >> 32 & 31;
	u32 params[31];
	struct stack s;

	if (size == 8) {
		s = (struct stack){.sp = stack_from_tss64(c, cpl), .mask = ~0ULL, .flat = true};
		s.ss = segment_null((u16)cpl, cpl);
		if (!canonical(s.sp))
			soft_raise_error(c, EXC_SS, 0);
	} else {
		s = stack_from_tss(c, cpl);
	}
	code_check_target(c, selector, d, rip);
	for (unsigned i = 0; i < count; i++)
		params[i] = (u32)soft_peek(c, size, i * size);
	soft_set_cpl(c, cpl);
	stack_push(c, &s, size, c->seg[SEG_SS].selector);
	stack_push(c, &s, size, c->regs[REG_RSP]);
	for (unsigned i = count; i > 0; i--)
		stack_push(c, &s, size, params[i - 1]);
	push_return(c, o, &s, size);
	soft_set_cpl(c, old_cpl);
	struct vcpu_segment cs = segment_accept(c, selector, d);
	c->seg[SEG_SS] = s.ss;
	c->regs[REG_RSP] = s.sp;
	return far_enter(c, cs, cpl, rip);
}

static const struct op *far_gate(struct soft_cpu *c, const struct op *o, u16 gate_sel, u64 gate, bool call)
{
	bool lm = soft_long_active(c);
	unsigned size = lm ? 8 : desc_type(gate) == DESC_CALL32 ? 4 : 2;
	u16 selector = gate_selector(gate);
	u32 error = selector_error(selector);
	u64 rip = gate_offset32(gate), d, high;

	if (lm) {
		high = desc_load_high(c, gate_sel, EXC_GP);
		if (high >> 40 & 0x1f)
			soft_raise_error(c, EXC_GP, selector_error(gate_sel));
		rip |= high << 32;
	} else if (size == 2) {
		rip &= 0xffff;
	}
	if (!desc_present(gate))
		soft_raise_error(c, EXC_NP, selector_error(gate_sel));
	if (selector_null(selector))
		soft_raise_error(c, EXC_GP, 0);
	d = desc_load(c, selector, EXC_GP);
	if (!desc_is_code(d) || desc_dpl(d) > c->cpl || (lm && (!desc_long(d) || desc_db(d))))
		soft_raise_error(c, EXC_GP, error);
	if (!call && !desc_conforming(d) && desc_dpl(d) != c->cpl)
		soft_raise_error(c, EXC_GP, error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_NP, error);
	if (call && !desc_conforming(d) && desc_dpl(d) < c->cpl)
		return gate_inner(c, o, gate, selector, d, rip, size);

	struct stack s = stack_current(c);
	if (lm) { /* from compatibility mode too: pushed in 64-bit mode */
		s.mask = ~0ULL;
		s.flat = true;
	}
	code_check_target(c, selector, d, rip);
	if (call)
		push_return(c, o, &s, size);
	struct vcpu_segment cs = segment_accept(c, selector, d);
	if (call)
		c->regs[REG_RSP] = s.sp;
	return far_enter(c, cs, c->cpl, rip);
}

static const struct op *far_transfer(struct soft_cpu *c, const struct op *o, u16 selector, u64 rip, bool call)
{
	u32 error = selector_error(selector);
	unsigned type;
	u64 d;

	if (soft_real(c))
		return far_real(c, o, selector, rip, call);
	if (selector_null(selector))
		soft_raise_error(c, EXC_GP, 0);
	d = desc_load(c, selector, EXC_GP);
	if (desc_is_segment(d))
		return far_code(c, o, selector, d, rip, call);

	type = desc_type(d);
	if (soft_long_active(c) ? type != DESC_CALL32
	                        : (type != DESC_CALL16 && type != DESC_CALL32 && type != DESC_TASK_GATE &&
	                           (type & 5) != 1))
		soft_raise_error(c, EXC_GP, error);
	if (desc_dpl(d) < c->cpl || desc_dpl(d) < selector_rpl(selector))
		soft_raise_error(c, EXC_GP, error);
	if (type == DESC_CALL16 || type == DESC_CALL32)
		return far_gate(c, o, selector, d, call);
	if (type == DESC_TASK_GATE) {
		if (!desc_present(d))
			soft_raise_error(c, EXC_NP, error);
		return far_task(c, o, task_gate_selector(d), call);
	}
	return far_task(c, o, selector, call);
}

static const struct op *far_direct(struct soft_cpu *c, const struct op *o, bool call)
{
	return far_transfer(c, o, (u16)o->aux, o->imm & MASK(o->osize * 8), call);
}

static const struct op *far_indirect(struct soft_cpu *c, const struct op *o, bool call)
{
	u64 linear = op_linear(c, o, o->osize + 2, SOFT_READ);
	u64 rip = soft_load(c, linear, o->osize, o->seg);
	u16 selector = soft_load16(c, c->long64 ? linear + o->osize : (u32)(linear + o->osize), o->seg);

	return far_transfer(c, o, selector, rip, call);
}

static const struct op *jmp_far(struct soft_cpu *c, const struct op *o)
{
	return far_direct(c, o, false);
}
static const struct op *call_far(struct soft_cpu *c, const struct op *o)
{
	return far_direct(c, o, true);
}
static const struct op *jmp_far_mem(struct soft_cpu *c, const struct op *o)
{
	return far_indirect(c, o, false);
}
static const struct op *call_far_mem(struct soft_cpu *c, const struct op *o)
{
	return far_indirect(c, o, true);
}

/* ---- RET ---- */

u64 far_return_cs(struct soft_cpu *c, u16 selector)
{
	u32 error = selector_error(selector);
	unsigned rpl = selector_rpl(selector);
	u64 d;

	if (selector_null(selector))
		soft_raise_error(c, EXC_GP, 0);
	d = desc_load(c, selector, EXC_GP);
	if (!desc_is_code(d) || rpl < c->cpl || (desc_conforming(d) ? desc_dpl(d) > rpl : desc_dpl(d) != rpl))
		soft_raise_error(c, EXC_GP, error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_NP, error);
	return d;
}

struct vcpu_segment far_return_ss(struct soft_cpu *c, u16 selector, unsigned cpl, u64 cs_d)
{
	u32 error = selector_error(selector);
	u64 d;

	if (selector_null(selector)) {
		if (!code_is_long(c, cs_d) || cpl == 3 || selector_rpl(selector) != cpl)
			soft_raise_error(c, EXC_GP, 0);
		return segment_null(selector, cpl);
	}
	d = desc_load(c, selector, EXC_GP);
	if (selector_rpl(selector) != cpl || !desc_writable_data(d) || desc_dpl(d) != cpl)
		soft_raise_error(c, EXC_GP, error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_SS, error);
	return segment_accept(c, selector, d);
}

void far_set_rsp(struct soft_cpu *c, const struct vcpu_segment *ss, u64 cs_d, u64 rsp)
{
	if (code_is_long(c, cs_d))
		c->regs[REG_RSP] = rsp;
	else if (ss->attr & SEG_ATTR_DB)
		c->regs[REG_RSP] = (u32)rsp;
	else
		*(u16 *)&c->regs[REG_RSP] = (u16)rsp;
}

static const struct op *ret_far(struct soft_cpu *c, const struct op *o)
{
	unsigned size = o->osize, release = op_kind(o, 0) == KIND_IMM ? o->imm & 0xffff : 0, cpl;
	u64 rip = soft_peek(c, size, 0), rsp, d;
	u16 selector = (u16)soft_peek(c, size, size);
	struct vcpu_segment cs, ss;

	if (soft_real(c)) {
		if (rip > c->seg[SEG_CS].limit)
			soft_raise_error(c, EXC_GP, 0);
		soft_set_rsp(c, c->regs[REG_RSP] + 2 * size + release);
		segment_load_real(c, SEG_CS, selector);
		c->rip = rip;
		soft_update(c);
		return NULL;
	}
	d = far_return_cs(c, selector);
	cpl = selector_rpl(selector);
	if (cpl == c->cpl) {
		code_check_target(c, selector, d, rip);
		cs = segment_accept(c, selector, d);
		soft_set_rsp(c, c->regs[REG_RSP] + 2 * size + release);
		return far_enter(c, cs, cpl, rip);
	}
	rsp = soft_peek(c, size, 2 * size + release);
	ss = far_return_ss(c, (u16)soft_peek(c, size, 3 * size + release), cpl, d);
	code_check_target(c, selector, d, rip);
	cs = segment_accept(c, selector, d);
	c->seg[SEG_SS] = ss;
	far_set_rsp(c, &ss, d, rsp + release);
	segment_drop_privileged(c, cpl);
	return far_enter(c, cs, cpl, rip);
}

/* ---- INT ---- */

static const struct op *int_n(struct soft_cpu *c, const struct op *o)
{
	if (soft_v86(c) && soft_iopl(c) < 3)
		soft_raise_error(c, EXC_GP, 0);
	soft_raise_soft(c, SOFT_EVENT_SOFT_INT, o->imm & 0xff, soft_next_rip(c, o));
}

static const struct op *int_3(struct soft_cpu *c, const struct op *o)
{
	soft_raise_soft(c, SOFT_EVENT_SOFT_EXC, EXC_BP, soft_next_rip(c, o));
}

static const struct op *int_1(struct soft_cpu *c, const struct op *o)
{
	soft_raise_soft(c, SOFT_EVENT_PRIV_EXC, EXC_DB, soft_next_rip(c, o));
}

static const struct op *into(struct soft_cpu *c, const struct op *o)
{
	if (c->long64)
		soft_raise(c, EXC_UD);
	if (c->af & 1)
		soft_raise_soft(c, SOFT_EVENT_SOFT_EXC, EXC_OF, soft_next_rip(c, o));
	return soft_end(c, o);
}

/* ---- table ---- */

static bool is_far(const struct insn *i)
{
	return i->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

static bool bind_far(struct op *o, const struct insn *i, op_fn direct, op_fn indirect)
{
	if (!is_far(i))
		return false;
	if (i->operands[0].type == ZYDIS_OPERAND_TYPE_POINTER) {
		o->imm = i->operands[0].ptr.offset;
		o->aux = i->operands[0].ptr.segment;
		o->fn = direct;
	} else {
		o->osize = (u8)(i->operands[0].size / 8 - 2);
		o->fn = indirect;
	}
	return true;
}

static bool bind_jmp(struct op *o, const struct insn *i)
{
	return bind_far(o, i, jmp_far, jmp_far_mem);
}
static bool bind_call(struct op *o, const struct insn *i)
{
	return bind_far(o, i, call_far, call_far_mem);
}

static bool bind_ret(struct op *o, const struct insn *i)
{
	o->fn = ret_far;
	return is_far(i);
}

static bool bind_iret(struct op *o, const struct insn *i)
{
	o->osize = i->z.mnemonic == ZYDIS_MNEMONIC_IRET ? 2 : i->z.mnemonic == ZYDIS_MNEMONIC_IRETD ? 4 : 8;
	o->fn = far_iret;
	return true;
}

/* REX.W chooses the width of the return, whatever the decoder thinks of operand sizes. */
static bool bind_sysexit(struct op *o, const struct insn *i)
{
	o->osize = i->z.raw.rex.W ? 8 : 4;
	o->fn = i->z.mnemonic == ZYDIS_MNEMONIC_SYSRET ? far_sysret : far_sysexit;
	return true;
}

const struct opdef soft_sys_far[] = {
        {ZYDIS_MNEMONIC_JMP, OPDEF_END, NULL, bind_jmp},
        {ZYDIS_MNEMONIC_CALL, OPDEF_END, NULL, bind_call},
        {ZYDIS_MNEMONIC_RET, OPDEF_END, NULL, bind_ret},
        {ZYDIS_MNEMONIC_IRET, OPDEF_END, NULL, bind_iret},
        {ZYDIS_MNEMONIC_IRETD, OPDEF_END, NULL, bind_iret},
        {ZYDIS_MNEMONIC_IRETQ, OPDEF_END, NULL, bind_iret},
        {ZYDIS_MNEMONIC_INT, OPDEF_END, int_n, NULL},
        {ZYDIS_MNEMONIC_INT3, OPDEF_END, int_3, NULL},
        {ZYDIS_MNEMONIC_INT1, OPDEF_END, int_1, NULL},
        {ZYDIS_MNEMONIC_INTO, OPDEF_END, into, NULL},
        {ZYDIS_MNEMONIC_SYSCALL, OPDEF_END, far_syscall, NULL},
        {ZYDIS_MNEMONIC_SYSRET, OPDEF_END, NULL, bind_sysexit},
        {ZYDIS_MNEMONIC_SYSENTER, OPDEF_END, far_sysenter, NULL},
        {ZYDIS_MNEMONIC_SYSEXIT, OPDEF_END, NULL, bind_sysexit},
        {0},
};
