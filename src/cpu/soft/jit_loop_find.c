#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/vec.h"

/* Steps of a register that is compared. */
enum { NARROW_STEP = 1 << 16 };

static bool allowed(const struct jit_insn *n)
{
	switch ((enum jit_kind)n->kind) {
	case JIT_NOTHING:
	case JIT_COPY:
	case JIT_VECTOR:
	case JIT_LEA:
	case JIT_JCC:
	case JIT_PUSH:
	case JIT_POP:
		return true;
	default:
		return false;
	}
}

static bool find_last(struct tr *t)
{
	const struct soft_block *b = t->block;

	for (unsigned i = 0; i < t->count; i++) {
		const struct jit_insn *n = &t->c->jit->insns[i];

		t->loop.trace.last = i;
		if ((n->kind == JIT_JCC || n->kind == JIT_JMP) && op_kind(&b->ops[i], 0) == KIND_IMM &&
		    b->ops[i].disp == b->off)
			return i > 0;
		if (!allowed(n))
			return false;
	}
	return false;
}

bool jit_loop_moves(const struct jit_loop *l, unsigned reg, s32 *step)
{
	const struct jit_origin *o;

	*step = 0;
	if (reg == SREG_PAGE_RIP || reg == SREG_ZERO)
		return true;
	o = &l->trace.end[reg];
	*step = o->plus;
	return o->known && o->reg == reg;
}

bool jit_in_memory(unsigned reg)
{
	return reg == SREG_PAGE_RIP || (reg < REG_COUNT && jit_displaced(reg));
}

/* Part k of a group's address, value id. */
static bool resolve(struct jit_loop *l, struct jit_hoisted *h, unsigned id, unsigned k, s32 *step)
{
	const struct jit_origin *o = &l->trace.value[id];
	u8 *reg = k ? &h->index : &h->base;

	*step = 0;
	*reg = SREG_ZERO;
	h->fixed[k] = true;
	h->origin[k] = 0;
	if (!id)
		return true;
	if (id >= JIT_VALUES || !o->known || !jit_loop_moves(l, o->reg, step))
		return false;
	*reg = o->reg;
	h->fixed[k] = !*step;
	h->origin[k] = o->plus;
	return true;
}

static void must_not_wrap(struct jit_loop *l, unsigned reg, unsigned id)
{
	if (reg < REG_COUNT && (l->trace.value[id].narrow || l->trace.end[reg].narrow))
		l->narrow |= 1u << reg;
}

/* Fills *h; false: cannot be hoisted. most: bytes it may move by. */
static bool hoist(struct jit_loop *l, struct jit_hoisted *h, const struct jit_group *g, s64 most)
{
	s32 step[2];
	s64 total;

	h->strides = false;
	if (!resolve(l, h, g->base, 0, &step[0]) || !resolve(l, h, g->index, 1, &step[1]) || g->skewed)
		return false;
	total = (s64)step[0] + (s64)step[1] * (1 << g->scale);
	h->step = (s32)total;
	h->strides = total > most || total < -most;
	h->plus = (s64)h->origin[0] + (s64)h->origin[1] * (1 << g->scale) + g->low;
	return !h->strides && !(total & g->align) && h->plus == (s32)h->plus && h->index != REG_RSP &&
	       !(jit_in_memory(h->base) && jit_in_memory(h->index)) && l->count < JIT_LOOP_GROUPS;
}

s64 jit_loop_displacement(const struct jit_loop *l, unsigned op, unsigned which, unsigned scale, s64 disp)
{
	const struct jit_hoisted *h = &l->hoisted[l->groups.member[op].group[which]];
	const s32 *plus = l->trace.plus[op][which];

	if (h->fixed[0])
		disp += (s64)plus[0] + h->origin[0];
	if (h->fixed[1])
		disp += ((s64)plus[1] + h->origin[1]) * (1 << scale);
	return disp;
}

static void no_group(struct jit_loop *l, unsigned op, unsigned which)
{
	l->groups.member[op].group[which] = JIT_NO_GROUP;
}

/* Members of groups that are not hoisted go back to what the ordinary code knows. */
static bool settle_members(struct tr *t)
{
	struct jit_loop *l = &t->loop;
	bool any = false;

	for (unsigned i = 0; i <= l->trace.last; i++) {
		const struct op *o = &t->block->ops[i];

		l->strides[i] = false;
		for (unsigned k = 0; k < 2; k++) {
			unsigned n = l->groups.member[i].group[k];
			const struct jit_group *g;
			s64 d;

			if (n == JIT_NO_GROUP)
				continue;
			g = &l->groups.group[n];
			if (!l->hoisted[n].yes) {
				l->strides[i] |= l->hoisted[n].strides;
				if (g->count == 1 || g->seg || t->block->ops[g->first].flags & OPF_ALONE ||
				    (k == JIT_OPERAND && o->base >= REG_COUNT && o->index >= REG_COUNT))
					no_group(l, i, k);
				continue;
			}
			any = true;
			d = jit_loop_displacement(l, i, k, g->scale, k == JIT_OPERAND ? o->disp : 0);
			if (d != (s32)d || d > JIT_LOOP_NARROW - 64 || d < -JIT_LOOP_NARROW + 64)
				return false;
		}
	}
	return any;
}

/* Registers a and b are compared. */
static bool exit_by(struct jit_loop *l, unsigned a, unsigned b, bool wide)
{
	struct jit_exit *x = &l->exit;
	s32 step, other;

	if (!jit_loop_moves(l, a, &step) || !jit_loop_moves(l, b, &other) || !step || other ||
	    jit_displaced(a))
		return false;
	*x = (struct jit_exit){.wide = wide, .moving = (u8)a, .with = (u8)b, .step = step};
	return !wide || (!l->trace.end[a].narrow && !l->trace.end[b].narrow);
}

static bool exit_at(struct jit_loop *l, unsigned reg, s32 imm, bool wide)
{
	struct jit_exit *x = &l->exit;
	s32 step;

	if (!jit_loop_moves(l, reg, &step) || !step || jit_displaced(reg) || imm > 1 << 29 ||
	    imm < -(1 << 29))
		return false;
	*x = (struct jit_exit){.wide = wide, .moving = (u8)reg, .with = SREG_ZERO, .imm = imm, .step = step};
	return !wide || !l->trace.end[reg].narrow;
}

/* By what the flags are that the loop's jump reads. */
static bool find_exit(struct tr *t)
{
	struct jit_loop *l = &t->loop;
	const struct jit_insn *n = &t->c->jit->insns[l->trace.last];
	unsigned op = l->trace.last, reg;
	const struct op *o;
	bool wide;
	s32 size;

	if (n->kind != JIT_JCC || (n->i.z.opcode & 15) != CC_NE)
		return false;
	do {
		if (!op)
			return false;
		n = &t->c->jit->insns[--op];
	} while (n->kind == JIT_NOTHING);
	o = &t->block->ops[op];
	if (n->kind != JIT_COPY || n->mem >= 0 || (o->size != 8 && o->size != 4) ||
	    op_kind(o, 0) != KIND_REG || !jit_is_general(&n->i.operands[0]))
		return false;
	reg = o->r[0] >> 3;
	wide = o->size == 8;
	switch (n->i.z.mnemonic) {
	case ZYDIS_MNEMONIC_CMP:
		if (op_kind(o, 1) == KIND_IMM) {
			if ((s64)o->imm != (s32)o->imm || !exit_at(l, reg, (s32)o->imm, wide))
				return false;
		} else if (op_kind(o, 1) != KIND_REG || !jit_is_general(&n->i.operands[1]) ||
		           (!exit_by(l, reg, o->r[1] >> 3, wide) && !exit_by(l, o->r[1] >> 3, reg, wide))) {
			return false;
		}
		break;
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_SUB:
		if (op_kind(o, 1) != KIND_IMM || !exit_at(l, reg, 0, wide))
			return false;
		break;
	case ZYDIS_MNEMONIC_INC:
	case ZYDIS_MNEMONIC_DEC:
		if (!exit_at(l, reg, 0, wide))
			return false;
		break;
	default:
		return false;
	}
	l->exit.op = (u16)op;
	size = l->exit.step < 0 ? -l->exit.step : l->exit.step;
	return size <= NARROW_STEP && (!wide || !(size & (size - 1)));
}

/* The registers that must not wrap can be watched, and there is one to compare if iterations are limited. */
static bool choose_registers(struct jit_loop *l)
{
	bool limit = false;
	s32 step;

	for (unsigned i = 0; i < l->groups.count; i++)
		limit |= l->hoisted[i].yes && l->hoisted[i].step;
	for (unsigned reg = 0; reg < REG_COUNT; reg++) {
		if (!(l->narrow >> reg & 1))
			continue;
		if (jit_displaced(reg) || !jit_loop_moves(l, reg, &step) || step > NARROW_STEP ||
		    step < -NARROW_STEP || (step && !limit))
			return false;
	}
	l->limited = SREG_ZERO;
	for (unsigned reg = 0; limit && reg < REG_COUNT; reg++)
		if (!jit_displaced(reg) && jit_loop_moves(l, reg, &step) && step && step <= NARROW_STEP &&
		    step >= -NARROW_STEP && (l->limited == SREG_ZERO || l->trace.end[l->limited].narrow))
			l->limited = (u8)reg;
	return !limit || l->limited != SREG_ZERO;
}

/* Does nothing in the body need T0? */
static bool spares_t0(struct tr *t)
{
	const struct jit_loop *l = &t->loop;

	for (unsigned i = 0; i <= l->trace.last; i++) {
		const struct jit_insn *n = &t->c->jit->insns[i];
		const struct op *o = &t->block->ops[i];

		if (n->kind == JIT_PUSH || n->kind == JIT_POP || n->aside ||
		    (n->kind == JIT_LEA && o->base == SREG_PAGE_RIP) ||
		    (o->vclass && vec_info(o)->how & VEC_X87))
			return false;
		for (unsigned k = 0; (n->kind == JIT_COPY || n->kind == JIT_LEA || n->kind == JIT_VECTOR) &&
		                     k < n->i.z.operand_count_visible && k < 3;
		     k++) {
			const ZydisDecodedOperand *d = &n->i.operands[k];

			/* AH and the like are copied for an access to memory. */
			if (d->type == ZYDIS_OPERAND_TYPE_REGISTER && jit_is_general(d) &&
			    (jit_displaced(o->r[k] >> 3) || (n->mem >= 0 && o->r[k] & 1)))
				return false;
		}
		if (n->kind == JIT_LEA && ((o->base < REG_COUNT && jit_displaced(o->base)) ||
		                           (o->index < REG_COUNT && jit_displaced(o->index))))
			return false;
		if (n->kind == JIT_LEA || n->mem < 0 || n->kind == JIT_NOTHING)
			continue;
		unsigned g = l->groups.member[i].group[JIT_OPERAND];
		const struct jit_hoisted *h;

		if (g == JIT_NO_GROUP)
			return false;
		h = &l->hoisted[g];
		if (!h->yes || (!h->fixed[0] && !h->fixed[1]) || (!h->fixed[0] && jit_displaced(o->base)) ||
		    (!h->fixed[1] && jit_displaced(o->index)) ||
		    (l->groups.group[g].write && tr_asks_written(t)))
			return false;
	}
	return true;
}

/* Whose words stay in registers: T0 has the one that is used most often, T1 any other. */
static void choose_words(struct tr *t)
{
	struct jit_loop *l = &t->loop;
	const struct jit_hoisted *most = NULL;
	unsigned count = 0;

	l->in_t0 = l->in_t1 = 0;
	for (unsigned i = 0; i < l->groups.count; i++) {
		if (!l->hoisted[i].yes || l->groups.group[i].count <= count)
			continue;
		most = &l->hoisted[i];
		count = l->groups.group[i].count;
	}
	if (most && spares_t0(t))
		l->in_t0 = JIT_LOOP_ADDEND + most->slot;
	for (unsigned i = l->groups.count; i-- > 0;)
		if (l->hoisted[i].yes && (u32)JIT_LOOP_ADDEND + l->hoisted[i].slot != l->in_t0)
			l->in_t1 = JIT_LOOP_ADDEND + l->hoisted[i].slot;
}

void tr_loop_find(struct tr *t)
{
	struct jit_loop *l = &t->loop;
	const struct jit_insn *insns = t->c->jit->insns;

	l->yes = false;
	t->in_loop = false;
	if (t->plain || insns[0].live || !find_last(t))
		return;
	jit_groups_find(&l->groups, t->block, insns, t->count, l->trace.last, &l->trace);
	l->count = l->narrow = l->classes = 0;
	for (unsigned i = 0; i < l->groups.count; i++) {
		const struct jit_group *g = &l->groups.group[i];
		struct jit_hoisted *h = &l->hoisted[i];

		h->yes = hoist(l, h, g, g->write && tr_asks_written(t) ? JIT_LOOP_STEP : JIT_LOOP_STRIDE);
		if (!h->yes)
			continue;
		h->slot = (u8)l->count++;
		must_not_wrap(l, h->base, g->base);
		must_not_wrap(l, h->index, g->index);
	}
	for (unsigned i = 0; i <= l->trace.last; i++)
		if (insns[i].kind == JIT_VECTOR)
			l->classes |= t->block->ops[i].vclass;
	if (!settle_members(t) || !choose_registers(l))
		return;
	l->exit.known = l->limited != SREG_ZERO && find_exit(t);
	choose_words(t);
	l->skip = soft_cell_new(t->c);
	l->yes = l->skip != 0;
}
