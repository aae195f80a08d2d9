/*
 * Near branches: JMP, Jcc, JCXZ, LOOP, CALL, RET (SDM vol. 2). A target outside of the CS limit or not
 * canonical faults at the branch, so it is checked before anything changes.
 *
 * A branch within the page goes on by its link; one out of it, or to a computed target, through run.c.
 */
#include "cpu/soft/int.h"

#define HANDLER(name) static const struct op *name(struct soft_cpu *c, const struct op *o)

static bool canonical(u64 a)
{
	return (u64)((s64)(a << 16) >> 16) == a;
}

/* Cuts a target to the operand size and checks it. */
static inline u64 checked(struct soft_cpu *c, const struct op *o, u64 target)
{
	if (c->long64) {
		if (unlikely(!canonical(target)))
			soft_raise_error(c, EXC_GP, 0);
		return target;
	}
	target = o->osize == 2 ? (u16)target : (u32)target;
	if (unlikely(target > c->seg[SEG_CS].limit))
		soft_raise_error(c, EXC_GP, 0);
	return target;
}

static inline const struct op *jump_to(struct soft_cpu *c, u64 target)
{
	c->rip = target;
	return NULL;
}

/* A relative branch is taken: out of the page, or not in 64-bit mode. */
static __attribute__((noinline)) const struct op *taken_far(struct soft_cpu *c, const struct op *o)
{
	u64 page = c->regs[SREG_PAGE_RIP], target = page + (u64)o->disp;
	u64 to = checked(c, o, target);

	/* The link holds if the target was not cut, and all of the page lies within the limit. */
	if ((u64)o->disp < PAGE_SIZE && to == (u32)target &&
	    (u32)page + (PAGE_SIZE - 1) <= c->seg[SEG_CS].limit && !c->long64)
		return soft_chain(c, o);
	return jump_to(c, to);
}

HANDLER(jmp)
{
	return soft_chain(c, o);
}
HANDLER(jmp_far)
{
	return taken_far(c, o);
}

/* May it use its link without checks? */
static bool near(const struct op *o)
{
	return (o->flags & OPF_LONG) && (u64)o->disp < PAGE_SIZE;
}

HANDLER(jmp_indirect)
{
	return jump_to(c, checked(c, o, op_read(c, o, 0, o->osize)));
}

static bool bind_jmp(struct op *o, const struct insn *i)
{
	if (i->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return false;
	o->fn = !i->operands[0].imm.is_relative || op_kind(o, 0) != KIND_IMM ? jmp_indirect
	        : near(o)                                                    ? jmp
	                                                                     : jmp_far;
	return true;
}

#define JCC(cc)                                                     \
	HANDLER(j_##cc)                                             \
	{                                                           \
		if (CC_##cc(c->af))                                 \
			return soft_chain(c, o);                    \
		return o + 1;                                       \
	}                                                           \
	HANDLER(jfar_##cc)                                          \
	{                                                           \
		if (CC_##cc(c->af))                                 \
			return taken_far(c, o);                     \
		return o + 1;                                       \
	}                                                           \
	static bool bind_j_##cc(struct op *o, const struct insn *i) \
	{                                                           \
		o->fn = near(o) ? j_##cc : jfar_##cc;               \
		return true;                                        \
	}
FOR_CONDITIONS(JCC)
#define JCC_ROWS(cc) {ZYDIS_MNEMONIC_J##cc, 0, NULL, bind_j_##cc},

static const struct op *taken(struct soft_cpu *c, const struct op *o)
{
	return near(o) ? soft_chain(c, o) : taken_far(c, o);
}

HANDLER(jcxz)
{
	return c->regs[REG_RCX] & MASK(o->asize * 8) ? o + 1 : taken(c, o);
}

/* rcx is as wide as addresses are; it is not counted down if the branch faults. */
static const struct op *loop_if(struct soft_cpu *c, const struct op *o, bool flag)
{
	u64 count = (soft_reg_get(c, REG_RCX * 8, o->asize) - 1) & MASK(o->asize * 8);

	if (count && flag)
		checked(c, o, c->regs[SREG_PAGE_RIP] + (u64)o->disp);
	soft_reg_set(c, REG_RCX * 8, o->asize, count);
	return count && flag ? taken(c, o) : o + 1;
}
HANDLER(loop)
{
	return loop_if(c, o, true);
}
HANDLER(loope)
{
	return loop_if(c, o, CC_Z(c->af));
}
HANDLER(loopne)
{
	return loop_if(c, o, CC_NZ(c->af));
}

/* ---- CALL, RET ---- */

const struct op *op_call_next(struct soft_cpu *c, const struct op *o)
{
	u64 sp = c->regs[REG_RSP] - 8;

	soft_store64(c, sp, c->regs[SREG_PAGE_RIP] + o->off + o->len, SEG_SS);
	c->regs[REG_RSP] = sp;
	return o + 1;
}

HANDLER(call64)
{
	op_call_next(c, o);
	return soft_chain(c, o);
}

HANDLER(call64_far)
{
	u64 sp = c->regs[REG_RSP] - 8, to = checked(c, o, c->regs[SREG_PAGE_RIP] + (u64)o->disp);

	soft_store64(c, sp, c->regs[SREG_PAGE_RIP] + o->off + o->len, SEG_SS);
	c->regs[REG_RSP] = sp;
	return jump_to(c, to);
}

HANDLER(call)
{
	u64 to = checked(c, o, c->regs[SREG_PAGE_RIP] + (u64)o->disp);

	soft_push(c, o->osize, soft_next_rip(c, o));
	return jump_to(c, to);
}

HANDLER(call_indirect)
{
	u64 to = checked(c, o, op_read(c, o, 0, o->osize));

	soft_push(c, o->osize, soft_next_rip(c, o));
	return jump_to(c, to);
}

static bool bind_call(struct op *o, const struct insn *i)
{
	if (i->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return false;
	if (op_kind(o, 0) != KIND_IMM)
		o->fn = call_indirect;
	else if (o->flags & OPF_LONG)
		o->fn = near(o) ? call64 : call64_far;
	else
		o->fn = call;
	return true;
}

HANDLER(ret64)
{
	u64 sp = c->regs[REG_RSP], to = soft_load64(c, sp, SEG_SS);

	if (unlikely(!canonical(to)))
		soft_raise_error(c, EXC_GP, 0);
	c->regs[REG_RSP] = sp + 8 + o->imm;
	return jump_to(c, to);
}

HANDLER(ret)
{
	u64 to = checked(c, o, soft_peek(c, o->osize, 0));

	soft_set_rsp(c, c->regs[REG_RSP] + o->osize + o->imm);
	return jump_to(c, to);
}

static bool bind_ret(struct op *o, const struct insn *i)
{
	if (i->z.opcode != 0xc2 && i->z.opcode != 0xc3)
		return false;
	o->imm &= 0xffff;
	if (o->flags & OPF_LONG)
		o->osize = 8;
	o->fn = o->flags & OPF_LONG ? ret64 : ret;
	return true;
}

const struct opdef soft_int_branch[] = {
        {ZYDIS_MNEMONIC_JMP, OPDEF_END, NULL, bind_jmp},
        {ZYDIS_MNEMONIC_CALL, OPDEF_END, NULL, bind_call},
        {ZYDIS_MNEMONIC_RET, OPDEF_END, NULL, bind_ret},
        {ZYDIS_MNEMONIC_JCXZ, 0, jcxz},
        {ZYDIS_MNEMONIC_JECXZ, 0, jcxz},
        {ZYDIS_MNEMONIC_JRCXZ, 0, jcxz},
        {ZYDIS_MNEMONIC_LOOP, 0, loop},
        {ZYDIS_MNEMONIC_LOOPE, 0, loope},
        {ZYDIS_MNEMONIC_LOOPNE, 0, loopne},
        FOR_CONDITIONS(JCC_ROWS){0},
};
