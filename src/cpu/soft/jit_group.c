#include "cpu/soft/jit_group.h"
#include "cpu/soft/block.h"

/* What a register holds. */
struct value {
	u16 id;
	s32 plus;
};

struct finder {
	struct jit_groups *g;
	const struct soft_block *b;
	struct value reg[REG_COUNT];
	u16 next;     /* value */
	u16 alone[8]; /* values whose group was given up */
	unsigned alone_count;
};

static void forget(struct finder *f, unsigned reg)
{
	f->reg[reg] = (struct value){.id = f->next++};
}

static void forget_all(struct finder *f)
{
	for (unsigned i = 0; i < REG_COUNT; i++)
		forget(f, i);
	for (unsigned i = 0; i < f->g->count; i++)
		f->g->group[i].open = false;
}

/* reg = v + by */
static void set(struct finder *f, unsigned reg, struct value v, s64 by)
{
	s64 plus = v.plus + by;

	if (plus != (s32)plus || plus > 1 << 28 || plus < -(1 << 28))
		forget(f, reg);
	else
		f->reg[reg] = (struct value){v.id, (s32)plus};
}

static void move(struct finder *f, unsigned reg, s64 by)
{
	set(f, reg, f->reg[reg], by);
}

/* base + (index << scale) + plus, of values */
struct address {
	u16 base, index;
	u8 scale;
	s64 plus;
};

static struct address at_register(const struct finder *f, unsigned reg, s64 disp)
{
	return (struct address){.base = f->reg[reg].id, .plus = f->reg[reg].plus + disp};
}

static struct address at_operand(const struct finder *f, const struct op *o)
{
	struct address a = {.plus = o->disp};

	if (o->base < REG_COUNT)
		a = at_register(f, o->base, o->disp);
	if (o->index < REG_COUNT) {
		a.index = f->reg[o->index].id;
		a.scale = o->scale;
		a.plus += (s64)f->reg[o->index].plus * (1 << o->scale);
	}
	return a;
}

static void access(struct finder *f, unsigned op, unsigned which, struct address a, unsigned size, bool write)
{
	struct jit_groups *g = f->g;
	s64 low = a.plus, high = low + size;
	struct jit_group *k;

	if (low != (s32)low)
		return;
	g->member[op].at[which] = (s32)low;
	for (unsigned i = 0; i < g->count; i++) {
		k = &g->group[i];
		if (!k->open || k->base != a.base || k->index != a.index || k->scale != a.scale ||
		    max(high, k->high) - min(low, k->low) > JIT_GROUP_SPAN)
			continue;
		k->low = min(low, k->low);
		k->high = max(high, k->high);
		k->write |= write;
		k->count++;
		g->member[op].group[which] = (u8)i;
		return;
	}
	if (f->b->ops[op].flags & OPF_ALONE && f->alone_count < ARRAY_SIZE(f->alone))
		f->alone[f->alone_count++] = a.base;
	for (unsigned i = 0; i < f->alone_count; i++)
		if (f->alone[i] == a.base)
			return;
	if (g->count == JIT_GROUPS)
		return;
	g->member[op].group[which] = (u8)g->count;
	g->group[g->count++] = (struct jit_group){.low = low,
	                                          .high = high,
	                                          .base = a.base,
	                                          .index = a.index,
	                                          .scale = a.scale,
	                                          .first = (u16)op,
	                                          .count = 1,
	                                          .write = write,
	                                          .open = true};
}

/* What checks of [base + disp] and the like can be moved by a little. */
static bool is_followed(const struct op *o)
{
	return (o->base < REG_COUNT || (o->base == SREG_ZERO && o->index < REG_COUNT)) && o->seg < SEG_FS &&
	       o->asize == 8 && o->disp < 1 << 30 && o->disp > -(1 << 30);
}

static void accesses(struct finder *f, unsigned op, const struct jit_insn *n)
{
	const struct op *o = &f->b->ops[op];
	const ZydisDecodedOperand *m = n->mem >= 0 ? &n->i.operands[n->mem] : NULL;

	switch ((enum jit_kind)n->kind) {
	case JIT_COPY:
	case JIT_VECTOR:
		if (m && is_followed(o))
			access(f, op, JIT_OPERAND, at_operand(f, o), m->size / 8,
			       m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
		break;
	case JIT_JMP:
	case JIT_CALL:
	case JIT_PUSH:
		if (m && is_followed(o))
			access(f, op, JIT_OPERAND, at_operand(f, o), 8, false);
		if (n->kind != JIT_JMP)
			access(f, op, JIT_STACK, at_register(f, REG_RSP, -8), 8, true);
		break;
	case JIT_POP:
	case JIT_RET:
		access(f, op, JIT_STACK, at_register(f, REG_RSP, 0), 8, false);
		break;
	case JIT_LEAVE:
		access(f, op, JIT_STACK, at_register(f, REG_RBP, 0), 8, false);
		break;
	default:
		break;
	}
}

static void forget_written(struct finder *f, const struct jit_insn *n)
{
	for (unsigned k = 0; k < n->i.z.operand_count; k++) {
		const ZydisDecodedOperand *d = &n->i.operands[k];
		ZydisRegister whole;

		if (d->type != ZYDIS_OPERAND_TYPE_REGISTER || !(d->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, d->reg.value);
		if (ZydisRegisterGetClass(whole) == ZYDIS_REGCLASS_GPR64)
			forget(f, (unsigned)ZydisRegisterGetId(whole));
	}
}

/* Does the instruction give its first operand, a 64-bit register, a value that is known? */
static bool follow(struct finder *f, const struct op *o, const struct jit_insn *n)
{
	unsigned to = o->r[0] >> 3, from = o->r[1] >> 3;

	if ((n->kind != JIT_COPY && n->kind != JIT_LEA) || o->size != 8 || op_kind(o, 0) != KIND_REG ||
	    !jit_is_general(&n->i.operands[0]))
		return false;
	switch (n->i.z.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		if (op_kind(o, 1) != KIND_REG || !jit_is_general(&n->i.operands[1]))
			return false;
		set(f, to, f->reg[from], 0);
		return true;
	case ZYDIS_MNEMONIC_LEA:
		if (!is_followed(o) || o->base >= REG_COUNT || o->index < REG_COUNT)
			return false;
		set(f, to, f->reg[o->base], o->disp);
		return true;
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_SUB:
		if (op_kind(o, 1) != KIND_IMM || (s64)o->imm != (s32)o->imm)
			return false;
		move(f, to, n->i.z.mnemonic == ZYDIS_MNEMONIC_ADD ? (s64)o->imm : -(s64)o->imm);
		return true;
	case ZYDIS_MNEMONIC_INC:
		move(f, to, 1);
		return true;
	case ZYDIS_MNEMONIC_DEC:
		move(f, to, -1);
		return true;
	default:
		return false;
	}
}

static void effects(struct finder *f, const struct op *o, const struct jit_insn *n)
{
	switch ((enum jit_kind)n->kind) {
	case JIT_NOTHING:
	case JIT_JCC:
	case JIT_END:
		break;
	case JIT_PUSH:
		move(f, REG_RSP, -8);
		break;
	case JIT_POP:
		move(f, REG_RSP, 8);
		forget(f, o->r[0] >> 3);
		break;
	case JIT_LEAVE:
		set(f, REG_RSP, f->reg[REG_RBP], 8);
		forget(f, REG_RBP);
		break;
	case JIT_COPY:
	case JIT_LEA:
	case JIT_VECTOR:
		if (!follow(f, o, n))
			forget_written(f, n);
		break;
	default:
		forget_all(f);
		break;
	}
}

void jit_groups_find(struct jit_groups *g, const struct soft_block *b, const struct jit_insn *insns)
{
	struct finder f = {.g = g, .b = b, .next = 1};

	g->count = 0;
	forget_all(&f);
	for (unsigned i = 0; i <= b->count; i++) {
		g->member[i].group[JIT_OPERAND] = g->member[i].group[JIT_STACK] = JIT_NO_GROUP;
		if (i == b->count)
			break;
		accesses(&f, i, &insns[i]);
		effects(&f, &b->ops[i], &insns[i]);
	}
	/* One alone needs no group. */
	for (unsigned i = 0; i < b->count; i++)
		for (unsigned k = 0; k < 2; k++)
			if (g->member[i].group[k] != JIT_NO_GROUP &&
			    g->group[g->member[i].group[k]].count == 1)
				g->member[i].group[k] = JIT_NO_GROUP;
}
