/* PUSH, POP of general registers, memory, immediates; PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE, LAHF, SAHF. */
#include "cpu/soft/int.h"

#define HANDLER(name) static const struct op *name(struct soft_cpu *c, const struct op *o)

/* ---- PUSH ---- */

HANDLER(push64_r)
{
	u64 sp = c->regs[REG_RSP] - 8;

	soft_store64(c, sp, *soft_reg64(c, o->r[0]), SEG_SS);
	c->regs[REG_RSP] = sp;
	return o + 1;
}

HANDLER(push)
{
	soft_push(c, o->osize, op_read(c, o, 0, o->osize));
	return o + 1;
}

static bool bind_push(struct op *o, const struct insn *i)
{
	if (!general_registers(i))
		return false;
	o->fn = (o->flags & OPF_LONG) && o->osize == 8 && op_kind(o, 0) == KIND_REG ? push64_r : push;
	return true;
}

/* ---- POP ---- */

HANDLER(pop64_r)
{
	u64 sp = c->regs[REG_RSP], v = soft_load64(c, sp, SEG_SS);

	c->regs[REG_RSP] = sp + 8;
	*soft_reg64(c, o->r[0]) = v; /* last: POP RSP */
	return o + 1;
}

HANDLER(pop_r)
{
	u64 v = soft_pop(c, o->osize);

	soft_reg_set(c, o->r[0], o->osize, v);
	return o + 1;
}

/* An address off rsp is computed with rsp as it will be. */
HANDLER(pop_m)
{
	u64 v = soft_peek(c, o->osize, 0), old = c->regs[REG_RSP], offset, new;

	soft_set_rsp(c, old + o->osize);
	new = c->regs[REG_RSP];
	offset = op_offset(c, o);
	c->regs[REG_RSP] = old;
	soft_store(c, soft_seg_linear(c, o->seg, offset, o->osize, SOFT_WRITE), o->osize, v, o->seg);
	c->regs[REG_RSP] = new;
	return o + 1;
}

static bool bind_pop(struct op *o, const struct insn *i)
{
	if (!general_registers(i))
		return false;
	if (op_kind(o, 0) == KIND_MEM)
		o->fn = pop_m;
	else
		o->fn = (o->flags & OPF_LONG) && o->osize == 8 ? pop64_r : pop_r;
	return true;
}

/* ---- PUSHA, POPA: nothing changes before all of the stack that they touch was checked ---- */

HANDLER(pusha)
{
	u64 mask = soft_stack_mask(c), linear[8];
	unsigned size = o->osize;

	for (unsigned i = 0; i < 8; i++) {
		u64 sp = (c->regs[REG_RSP] - (i + 1) * size) & mask;

		linear[i] = soft_seg_linear(c, SEG_SS, sp, size, SOFT_WRITE);
		soft_probe(c, linear[i], size, SOFT_WRITE, SEG_SS);
	}
	for (unsigned i = 0; i < 8; i++)
		soft_store(c, linear[i], size, c->regs[i], SEG_SS);
	soft_set_rsp(c, c->regs[REG_RSP] - 8 * size);
	return o + 1;
}

HANDLER(popa)
{
	unsigned size = o->osize;
	u64 v[8];

	for (unsigned i = 0; i < 8; i++)
		v[i] = soft_peek(c, size, i * size);
	for (unsigned i = 0; i < 8; i++)
		if (7 - i != REG_RSP)
			soft_reg_set(c, (7 - i) * 8, size, v[i]);
	soft_set_rsp(c, c->regs[REG_RSP] + 8 * size);
	return o + 1;
}

/* ---- flags ---- */

/* In virtual-8086 mode with IOPL < 3: false if the instruction faults, else VIF stands for IF (CR4.VME,
 * 16-bit only). */
static bool virtual_if(const struct soft_cpu *c, const struct op *o)
{
	return (c->cr4 & CR4_VME) && o->osize == 2;
}

HANDLER(pushf)
{
	u64 v = soft_rflags(c) & ~(u64)(FLAG_VM | FLAG_RF);

	if (soft_v86(c) && soft_iopl(c) < 3) {
		if (!virtual_if(c, o))
			soft_raise_error(c, EXC_GP, 0);
		v = (v & ~(u64)FLAG_IF) | FLAG_IOPL | (v & FLAG_VIF ? FLAG_IF : 0);
	}
	soft_push(c, o->osize, v);
	return o + 1;
}

HANDLER(popf)
{
	u64 allowed = FLAG_ARITH | FLAG_TF | FLAG_DF | FLAG_NT, old = soft_rflags(c), v;

	if (soft_v86(c) && soft_iopl(c) < 3) {
		if (!virtual_if(c, o))
			soft_raise_error(c, EXC_GP, 0);
		v = soft_peek(c, 2, 0);
		if ((v & FLAG_TF) || ((v & FLAG_IF) && (old & FLAG_VIP)))
			soft_raise_error(c, EXC_GP, 0);
		v = (v & ~(u64)FLAG_VIF) | (v & FLAG_IF ? FLAG_VIF : 0);
		allowed |= FLAG_VIF;
	} else {
		v = soft_peek(c, o->osize, 0);
		if (c->cpl <= soft_iopl(c))
			allowed |= FLAG_IF;
		if (c->cpl == 0)
			allowed |= FLAG_IOPL;
		if (o->osize > 2)
			allowed |= FLAG_AC | FLAG_ID;
	}
	soft_set_rsp(c, c->regs[REG_RSP] + o->osize);
	soft_set_rflags(c, ((old & ~allowed) | (v & allowed)) & ~(u64)FLAG_RF);
	return soft_end(c, o);
}

HANDLER(lahf)
{
	*soft_reg8(c, 1) = (u8)((c->af >> 8 & 0xd5) | FLAG_ONE);
	return o + 1;
}

HANDLER(sahf)
{
	c->af = (c->af & 1) | ((u32)*soft_reg8(c, 1) & 0xd5) << 8 | FLAG_ONE << 8;
	return o + 1;
}

/* ---- frames ---- */

HANDLER(enter)
{
	u64 mask = soft_stack_mask(c), sp = c->regs[REG_RSP], bp = c->regs[REG_RBP], frame;
	unsigned size = o->osize, level = o->aux & 31;

	sp = (sp - size) & mask;
	soft_store(c, soft_seg_linear(c, SEG_SS, sp, size, SOFT_WRITE), size, bp, SEG_SS);
	frame = sp;
	for (unsigned i = 1; i < level; i++) {
		u64 v;

		bp = (bp - size) & mask;
		v = soft_load(c, soft_seg_linear(c, SEG_SS, bp, size, SOFT_READ), size, SEG_SS);
		sp = (sp - size) & mask;
		soft_store(c, soft_seg_linear(c, SEG_SS, sp, size, SOFT_WRITE), size, v, SEG_SS);
	}
	if (level) {
		sp = (sp - size) & mask;
		soft_store(c, soft_seg_linear(c, SEG_SS, sp, size, SOFT_WRITE), size, frame, SEG_SS);
	}
	/* A store through the final stack pointer must be possible. */
	sp = (sp - (o->imm & 0xffff)) & mask;
	soft_probe(c, soft_seg_linear(c, SEG_SS, sp, size, SOFT_WRITE), size, SOFT_WRITE, SEG_SS);
	soft_set_rsp(c, sp);
	soft_reg_set(c, REG_RBP * 8, mask == 0xffff ? 2 : c->long64 ? 8 : 4, frame);
	return o + 1;
}

HANDLER(leave)
{
	u64 sp = c->regs[REG_RBP] & soft_stack_mask(c);
	u64 v = soft_load(c, soft_seg_linear(c, SEG_SS, sp, o->osize, SOFT_READ), o->osize, SEG_SS);

	soft_set_rsp(c, sp + o->osize);
	soft_reg_set(c, REG_RBP * 8, o->osize, v);
	return o + 1;
}

const struct opdef soft_int_stack[] = {
        {ZYDIS_MNEMONIC_PUSH, 0, NULL, bind_push},
        {ZYDIS_MNEMONIC_POP, 0, NULL, bind_pop},
        {ZYDIS_MNEMONIC_PUSHA, 0, pusha},
        {ZYDIS_MNEMONIC_PUSHAD, 0, pusha},
        {ZYDIS_MNEMONIC_POPA, 0, popa},
        {ZYDIS_MNEMONIC_POPAD, 0, popa},
        {ZYDIS_MNEMONIC_PUSHF, 0, pushf},
        {ZYDIS_MNEMONIC_PUSHFD, 0, pushf},
        {ZYDIS_MNEMONIC_PUSHFQ, 0, pushf},
        {ZYDIS_MNEMONIC_POPF, OPDEF_END, popf},
        {ZYDIS_MNEMONIC_POPFD, OPDEF_END, popf},
        {ZYDIS_MNEMONIC_POPFQ, OPDEF_END, popf},
        {ZYDIS_MNEMONIC_LAHF, 0, lahf},
        {ZYDIS_MNEMONIC_SAHF, 0, sahf},
        {ZYDIS_MNEMONIC_ENTER, 0, enter},
        {ZYDIS_MNEMONIC_LEAVE, 0, leave},
        {0},
};
