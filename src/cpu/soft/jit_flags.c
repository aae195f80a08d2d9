/*
 * Flags behind jumps whose target is not known: returns, indirect jumps and calls, direct ones to other
 * pages.
 *
 * Hardly any code reads flags there, so they are not saved if they can be had later: from registers that
 * still hold what the last writer of flags computed with, or that are put aside right behind it. Such a jump
 * looks only for code that writes all flags before it reads any or jumps on (struct soft_block.needs_flags is
 * false). If there is none at its target, the writer is done again for its flags, off the main line, these
 * are saved, and any code will do.
 */
#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"

enum redo { REDO_NONE, REDO_ZERO, REDO_RESULT, REDO_CMP, REDO_TEST, REDO_ADD, REDO_SUB, REDO_NEG };

static bool is_register(const struct jit_insn *n, const struct op *o, unsigned k)
{
	return op_kind(o, k) == KIND_REG && jit_is_general(&n->i.operands[k]) && !(o->r[k] & 1);
}

static enum redo redo_of(const struct jit_insn *n, const struct op *o)
{
	bool immediate = op_kind(o, 1) == KIND_IMM, other;

	/* All write AF, though for some it is called undefined. */
	if (n->kind != JIT_COPY || (n->kill | FLAG_AF) != JIT_ALL || !is_register(n, o, 0))
		return REDO_NONE;
	other = immediate || (is_register(n, o, 1) && n->mem < 0);
	switch (n->i.z.mnemonic) {
	case ZYDIS_MNEMONIC_XOR:
		if (op_kind(o, 1) == KIND_REG && o->r[0] == o->r[1])
			return REDO_ZERO;
		return REDO_RESULT;
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_OR:
		return REDO_RESULT;
	case ZYDIS_MNEMONIC_CMP:
		return other ? REDO_CMP : REDO_NONE;
	case ZYDIS_MNEMONIC_TEST:
		return other ? REDO_TEST : REDO_NONE;
	case ZYDIS_MNEMONIC_ADD:
		return other && (immediate || o->r[0] != o->r[1]) ? REDO_ADD : REDO_NONE;
	case ZYDIS_MNEMONIC_SUB:
		return other && (immediate || o->r[0] != o->r[1]) ? REDO_SUB : REDO_NONE;
	case ZYDIS_MNEMONIC_NEG:
		return REDO_NEG;
	default:
		return REDO_NONE;
	}
}

/* Does it need operand 1, in a register? */
static bool has_second(const struct jit_insn *n, const struct op *o)
{
	return (n->redo == REDO_CMP || n->redo == REDO_TEST || n->redo == REDO_ADD || n->redo == REDO_SUB) &&
	       op_kind(o, 1) == KIND_REG;
}

static u32 writes(const struct jit_insn *n)
{
	u32 set = 0;

	if (n->kind == JIT_GUARD || n->kind == JIT_NOTHING)
		return 0;
	for (unsigned k = 0; k < n->i.z.operand_count; k++) {
		const ZydisDecodedOperand *d = &n->i.operands[k];

		if (d->type == ZYDIS_OPERAND_TYPE_REGISTER && jit_is_general(d) &&
		    d->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			set |= 1u << ZydisRegisterGetId(ZydisRegisterGetLargestEnclosing(
			               ZYDIS_MACHINE_MODE_LONG_64, d->reg.value));
	}
	return set;
}

void tr_plan_flags(struct tr *t, unsigned exit)
{
	struct jit_insn *insns = t->c->jit->insns;
	u32 changed = insns[exit].kind == JIT_CALL ? 1u << REG_RSP : 0, uses;

	insns[exit].writer = 0;
	for (unsigned i = exit; i-- > 0;) {
		struct jit_insn *n = &insns[i];
		const struct op *o = &t->block->ops[i];

		if (n->kind == JIT_VECTOR) /* it may fault; then flags would be wanted */
			return;
		if (!n->write) {
			changed |= writes(n);
			continue;
		}
		n->redo = (u8)redo_of(n, o);
		if (n->redo == REDO_NONE)
			return;
		uses = n->redo == REDO_ZERO ? 0 : 1u << (o->r[0] >> 3);
		if (has_second(n, o))
			uses |= 1u << (o->r[1] >> 3);
		n->aside = uses & changed;
		insns[exit].writer = (u8)(i + 1);
		return;
	}
}

void tr_put_aside(struct tr *t, const struct op *o, const struct jit_insn *n)
{
	struct soft_cpu *c = t->c;

	for (unsigned k = 0; k < 1u + has_second(n, o); k++) {
		unsigned reg = o->r[k] >> 3;

		if (jit_displaced(reg))
			e_load(&t->b, T0, &c->regs[reg]);
		e_store(&t->b, &c->jx.aside[k], jit_displaced(reg) ? T0 : reg);
	}
}

unsigned tr_exit_flags(struct tr *t, unsigned op)
{
	unsigned writer = t->c->jit->insns[op].writer;

	if (t->saved || writer)
		return t->saved ? 0 : writer;
	tr_save_flags(t, JIT_ALL);
	return 0;
}

/* opcode T1 or immediate (group 1's ext, or TEST), T0, of size bytes. */
static void with(struct tr *t, unsigned opcode, unsigned ext, const struct op *o)
{
	struct jit_buf *b = &t->b;
	bool immediate = op_kind(o, 1) == KIND_IMM;

	if (o->size == 2)
		e8(b, 0x66);
	if (!immediate) {
		e_rr(b, o->size == 8, o->size == 1 ? opcode - 1 : opcode, T1, T0);
		return;
	}
	e_rr(b, o->size == 8, (opcode == OP_TEST ? 0xf7u : 0x81u) - (o->size == 1), ext, T0);
	for (unsigned i = 0; i < min(o->size, 4u); i++)
		e8(b, o->imm >> (8 * i) & 0xff);
}

static void neg(struct tr *t, const struct op *o)
{
	if (o->size == 2)
		e8(&t->b, 0x66);
	e_rr(&t->b, o->size == 8, o->size == 1 ? 0xf6 : 0xf7, 3, T0);
}

void tr_redo_flags(struct tr *t, unsigned writer)
{
	const struct jit_insn *n = &t->c->jit->insns[writer - 1];
	const struct op *o = &t->block->ops[writer - 1];
	struct soft_cpu *c = t->c;

	for (unsigned k = 0; n->redo != REDO_ZERO && k < 1u + has_second(n, o); k++) {
		unsigned reg = o->r[k] >> 3, to = k ? T1 : T0;

		if (n->aside)
			e_load(&t->b, to, &c->jx.aside[k]);
		else if (jit_displaced(reg))
			e_load(&t->b, to, &c->regs[reg]);
		else
			e_mov(&t->b, to, reg);
	}
	switch ((enum redo)n->redo) {
	case REDO_ZERO:
		e_rr(&t->b, false, OP_XOR, T0, T0);
		break;
	case REDO_RESULT:
		if (o->size == 2)
			e8(&t->b, 0x66);
		e_rr(&t->b, o->size == 8, OP_TEST - (o->size == 1), T0, T0);
		break;
	case REDO_CMP:
		with(t, 0x39, 7, o);
		break;
	case REDO_TEST:
		with(t, OP_TEST, 0, o);
		break;
	case REDO_ADD:
		with(t, 0x29, 5, o);
		with(t, 0x01, 0, o);
		break;
	case REDO_SUB:
		with(t, 0x01, 0, o);
		with(t, 0x29, 5, o);
		break;
	case REDO_NEG:
		neg(t, o);
		neg(t, o);
		break;
	case REDO_NONE:
		t->b.full = true;
		break;
	}
	tr_save_host_flags(t);
}
