#include "cpu/soft/jit_group.h"
#include "cpu/soft/block.h"
#include "cpu/soft/vec.h"

/* What a register holds. */
struct value {
	u16 id;
	s32 plus;
};

struct finder {
	struct jit_groups *g;
	const struct soft_block *b;
	struct value reg[REG_COUNT];
	struct jit_trace *trace; /* NULL: none */
	u16 next;                /* value */
	u16 rip;                 /* of the page */
	u16 alone[8];            /* values whose group was given up */
	unsigned alone_count;
};

static void forget(struct finder *f, unsigned reg)
{
	f->reg[reg] = (struct value){.id = f->next++};
}

static struct jit_origin origin_of(const struct finder *f, struct value v)
{
	struct jit_origin o = {0};
	s64 plus;

	if (f->trace && v.id < JIT_VALUES)
		o = f->trace->value[v.id];
	plus = (s64)o.plus + v.plus;
	o.known &= plus <= 1 << 28 && plus >= -(1 << 28);
	o.plus = (s32)plus;
	return o;
}

static void begin(struct finder *f)
{
	for (unsigned i = 0; i < REG_COUNT; i++)
		forget(f, i);
	f->rip = f->next++;
	for (unsigned i = 0; f->trace && i < JIT_VALUES; i++)
		f->trace->value[i] = (struct jit_origin){0};
	for (unsigned i = 0; f->trace && i < REG_COUNT; i++) {
		f->trace->value[f->reg[i].id] = (struct jit_origin){.known = true, .reg = (u8)i};
		f->trace->lowest[i] = 0;
	}
	if (f->trace)
		f->trace->value[f->rip] = (struct jit_origin){.known = true, .reg = SREG_PAGE_RIP};
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

/* reg = the lower half of v + by */
static void set_narrow(struct finder *f, unsigned reg, struct value v, s64 by)
{
	struct jit_origin o;

	v.plus += (s32)by;
	o = origin_of(f, v);
	forget(f, reg);
	if (!o.known || f->reg[reg].id >= JIT_VALUES)
		return;
	o.narrow = true;
	f->trace->value[f->reg[reg].id] = o;
	f->trace->lowest[o.reg] = min(f->trace->lowest[o.reg], o.plus);
}

static void move(struct finder *f, unsigned reg, s64 by)
{
	set(f, reg, f->reg[reg], by);
}

/* base + (index << scale) + plus, of values */
struct address {
	u16 base, index;
	u8 scale, seg;
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
	else if (o->base == SREG_PAGE_RIP)
		a.base = f->rip;
	a.seg = o->seg >= SEG_FS ? o->seg : 0;
	if (o->index < REG_COUNT) {
		a.index = f->reg[o->index].id;
		a.scale = o->scale;
		a.plus += (s64)f->reg[o->index].plus * (1 << o->scale);
	}
	return a;
}

/* The bits of its address that must be 0. */
static unsigned alignment(const struct finder *f, unsigned op, const struct jit_insn *n)
{
	if (n->kind == JIT_VECTOR)
		return vec_info(&f->b->ops[op])->align;
	return n->i.z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B ? 15 : 0;
}

/* The group's lowest address has moved down by `by`. */
static void lower(struct jit_group *k, s64 by)
{
	k->low -= by;
	k->skewed |= (by & k->align) != 0;
}

static void add_alignment(struct jit_group *k, s64 low, unsigned align)
{
	k->skewed |= ((low - k->low) & align) != 0;
	k->align |= (u8)align;
}

static void access(struct finder *f, unsigned op, unsigned which, struct address a, unsigned size, bool write,
                   unsigned align)
{
	struct jit_groups *g = f->g;
	s64 low = a.plus, high = low + size;
	struct jit_group *k;
	bool alone = false;

	if (low != (s32)low)
		return;
	g->member[op].at[which] = (s32)low;
	for (unsigned i = 0; i < g->count; i++) {
		k = &g->group[i];
		if (!k->open || k->base != a.base || k->index != a.index || k->scale != a.scale ||
		    k->seg != a.seg || max(high, k->high) - min(low, k->low) > JIT_GROUP_SPAN)
			continue;
		if (low < k->low)
			lower(k, k->low - low);
		add_alignment(k, low, align);
		k->high = max(high, k->high);
		k->write |= write;
		k->count++;
		k->last = (u16)op;
		g->member[op].group[which] = (u8)i;
		return;
	}
	if (!f->trace && f->b->ops[op].flags & OPF_ALONE && f->alone_count < ARRAY_SIZE(f->alone))
		f->alone[f->alone_count++] = a.base;
	for (unsigned i = 0; i < f->alone_count; i++)
		alone |= f->alone[i] == a.base;
	if (g->count == JIT_GROUPS)
		return;
	g->member[op].group[which] = (u8)g->count;
	g->group[g->count++] = (struct jit_group){.low = low,
	                                          .high = high,
	                                          .base = a.base,
	                                          .index = a.index,
	                                          .scale = a.scale,
	                                          .seg = a.seg,
	                                          .align = (u8)align,
	                                          .first = (u16)op,
	                                          .last = (u16)op,
	                                          .count = 1,
	                                          .write = write,
	                                          .alone = alone,
	                                          .open = !alone};
}

/* What checks of [base + disp] and the like can be moved by a little. */
static bool is_followed(const struct finder *f, const struct op *o)
{
	bool base = o->base < REG_COUNT || (o->base == SREG_ZERO && o->index < REG_COUNT);

	return (f->trace || (base && o->seg < SEG_FS)) && o->asize == 8 && o->disp < 1 << 30 &&
	       o->disp > -(1 << 30);
}

/* An access to o's memory operand. */
static void access_operand(struct finder *f, unsigned op, const struct op *o, unsigned size, bool write,
                           unsigned align)
{
	if (!is_followed(f, o))
		return;
	if (f->trace) {
		s32 *plus = f->trace->plus[op][JIT_OPERAND];

		plus[0] = o->base < REG_COUNT ? f->reg[o->base].plus : 0;
		plus[1] = o->index < REG_COUNT ? f->reg[o->index].plus : 0;
	}
	access(f, op, JIT_OPERAND, at_operand(f, o), size, write, align);
}

static void access_stack(struct finder *f, unsigned op, unsigned reg, s32 disp, bool write)
{
	if (f->trace)
		f->trace->plus[op][JIT_STACK][0] = f->reg[reg].plus, f->trace->plus[op][JIT_STACK][1] = 0;
	access(f, op, JIT_STACK, at_register(f, reg, disp), 8, write, 0);
}

static void accesses(struct finder *f, unsigned op, const struct jit_insn *n)
{
	const struct op *o = &f->b->ops[op];
	const ZydisDecodedOperand *m = n->mem >= 0 ? &n->i.operands[n->mem] : NULL;

	switch ((enum jit_kind)n->kind) {
	case JIT_COPY:
	case JIT_VECTOR:
		if (m)
			access_operand(f, op, o, m->size / 8, m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE,
			               f->trace ? alignment(f, op, n) : 0);
		break;
	case JIT_JMP:
	case JIT_CALL:
	case JIT_INTO:
	case JIT_PUSH:
		if (m)
			access_operand(f, op, o, 8, false, 0);
		if (n->kind != JIT_JMP)
			access_stack(f, op, REG_RSP, -8, true);
		break;
	case JIT_POP:
	case JIT_RET:
		access_stack(f, op, REG_RSP, 0, false);
		break;
	case JIT_LEAVE:
		access_stack(f, op, REG_RBP, 0, false);
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

/* The same of a 32-bit register, if that is wanted. */
static bool follow_narrow(struct finder *f, const struct op *o, const struct jit_insn *n)
{
	unsigned to = o->r[0] >> 3, from = o->r[1] >> 3;
	bool immediate = op_kind(o, 1) == KIND_IMM && (s64)o->imm == (s32)o->imm && (s32)o->imm < 1 << 24 &&
	                 (s32)o->imm > -(1 << 24);

	if (!f->trace)
		return false;
	switch (n->i.z.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		if (op_kind(o, 1) != KIND_REG || !jit_is_general(&n->i.operands[1]))
			return false;
		set_narrow(f, to, f->reg[from], 0);
		return true;
	case ZYDIS_MNEMONIC_LEA:
		if (!is_followed(f, o) || o->base >= REG_COUNT || o->index < REG_COUNT ||
		    o->disp != (s64)((u64)o->disp << 40) >> 40)
			return false;
		set_narrow(f, to, f->reg[o->base], o->disp);
		return true;
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_SUB:
		if (!immediate)
			return false;
		set_narrow(f, to, f->reg[to],
		           n->i.z.mnemonic == ZYDIS_MNEMONIC_ADD ? (s32)o->imm : -(s32)o->imm);
		return true;
	case ZYDIS_MNEMONIC_INC:
		set_narrow(f, to, f->reg[to], 1);
		return true;
	case ZYDIS_MNEMONIC_DEC:
		set_narrow(f, to, f->reg[to], -1);
		return true;
	default:
		return false;
	}
}

/* Does the instruction give its first operand, a 64-bit register, a value that is known? */
static bool follow(struct finder *f, const struct op *o, const struct jit_insn *n)
{
	unsigned to = o->r[0] >> 3, from = o->r[1] >> 3;

	if ((n->kind != JIT_COPY && n->kind != JIT_LEA) || (o->size != 8 && o->size != 4) ||
	    op_kind(o, 0) != KIND_REG || !jit_is_general(&n->i.operands[0]))
		return false;
	if (o->size == 4)
		return follow_narrow(f, o, n);
	switch (n->i.z.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		if (op_kind(o, 1) != KIND_REG || !jit_is_general(&n->i.operands[1]))
			return false;
		set(f, to, f->reg[from], 0);
		return true;
	case ZYDIS_MNEMONIC_LEA:
		if (!is_followed(f, o) || o->base >= REG_COUNT || o->index < REG_COUNT)
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
	case JIT_JMP:
	case JIT_END:
		break;
	case JIT_INTO:
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

static void find_early(struct finder *f, const struct jit_insn *insns)
{
	if (f->g->plain)
		return;
	for (unsigned i = 0; i < f->g->count; i++) {
		struct jit_group *k = &f->g->group[i];
		u8 flags = 0;

		k->early = k->first && insns[k->first].live && k->base <= REG_COUNT && k->index <= REG_COUNT;
		for (unsigned n = 0; n < k->first; n++) {
			k->early &= insns[n].kind != JIT_JCC;
			flags |= insns[n].read | insns[n].write;
		}
		k->early &= flags != 0; /* else they are in memory still */
	}
}

/* The largest off what RSP is at the start. */
static void find_stack(struct jit_groups *g)
{
	unsigned most = 0;

	for (unsigned i = 0; g->plain && i < g->count; i++) {
		const struct jit_group *k = &g->group[i];

		if (k->base != REG_RSP + 1 || k->index || k->alone || k->count <= most)
			continue;
		most = k->count;
		g->stack = (u8)i;
	}
	if (most)
		g->group[g->stack].write = true;
}

static bool may_store(const struct jit_insn *n)
{
	switch ((enum jit_kind)n->kind) {
	case JIT_COPY:
	case JIT_VECTOR:
		for (unsigned k = 0; k < n->i.z.operand_count; k++)
			if (n->i.operands[k].type == ZYDIS_OPERAND_TYPE_MEMORY &&
			    n->i.operands[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
				return true;
		return false;
	case JIT_NOTHING:
	case JIT_LEA:
	case JIT_JCC:
	case JIT_POP:
	case JIT_LEAVE:
	case JIT_RET:
	case JIT_JMP:
		return false;
	default:
		return true;
	}
}

_Static_assert((unsigned)JIT_GROUPS <= (unsigned)SOFT_ACROSS,
               "no block's copies take the place of others of it");

/* No store is between its check and the last of its members. */
static void find_copies(struct finder *f, const struct jit_insn *insns)
{
	for (unsigned i = 0; i < f->g->count; i++) {
		struct jit_group *k = &f->g->group[i];

		k->copies = !k->write && k->high - k->low <= SOFT_ACROSS_SPAN;
		for (unsigned n = k->early ? 0 : k->first; k->copies && n < k->last; n++)
			k->copies = !may_store(&insns[n]);
	}
}

void jit_groups_find(struct jit_groups *g, const struct soft_block *b, const struct jit_insn *insns,
                     unsigned count, unsigned split, struct jit_trace *trace)
{
	struct finder f = {.g = g, .b = b, .next = 1, .trace = trace};

	g->count = 0;
	g->stack = JIT_NO_GROUP;
	begin(&f);
	for (unsigned i = 0; i <= count; i++) {
		g->member[i].group[JIT_OPERAND] = g->member[i].group[JIT_STACK] = JIT_NO_GROUP;
		if (i == count || (trace && i > trace->last))
			continue;
		accesses(&f, i, &insns[i]);
		effects(&f, &b->ops[i], &insns[i]);
		for (unsigned k = 0; i == split && k < g->count; k++)
			g->group[k].open = false;
	}
	for (unsigned i = 0; trace && i < REG_COUNT; i++)
		trace->end[i] = origin_of(&f, f.reg[i]);
	if (trace)
		return;
	find_early(&f, insns);
	find_stack(g);
	find_copies(&f, insns);
	/* One alone needs no group. */
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < 2; k++)
			if (g->member[i].group[k] != JIT_NO_GROUP && g->member[i].group[k] != g->stack &&
			    g->group[g->member[i].group[k]].count == 1 &&
			    !g->group[g->member[i].group[k]].early)
				g->member[i].group[k] = JIT_NO_GROUP;
}
