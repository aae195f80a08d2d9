#include "cpu/soft/jit_tr.h"
#include "cpu/soft/vec.h"

enum {
	RECIPROCAL = 30,
	RECIPROCAL_STRIDE = 34, /* of what is more than JIT_LOOP_STEP */
	SKIPS = 60,             /* a shift: skips 15 iterations */
	MOST = 4096,            /* iterations */
	REGION_BITS = 21        /* no cell covers more */
};

bool tr_loop_strides(const struct tr *t, unsigned op)
{
	return t->loop.yes && op <= t->loop.trace.last && t->loop.strides[op];
}

/* ---- ways in and out ---- */

void tr_loop_enter(struct tr *t)
{
	struct jit_loop *l = &t->loop;

	if (!l->yes)
		return;
	if (l->limited != SREG_ZERO) {
		e8(&t->b, 0x83); /* subl $1, … */
		e_mem_tail(&t->b, 5, &soft_cell(t->c, l->skip)->addend);
		e8(&t->b, 1);
		l->enter = e_jcc(&t->b, CC_S);
	} else {
		l->enter = e_jmp_later(&t->b);
	}
	l->ordinary = here(&t->b);
}

void tr_loop_leave(struct tr *t, unsigned op)
{
	struct jit_loop *l = &t->loop;

	if (!l->yes || op != l->trace.last)
		return;
	t->addend = 0;
	t->held_at = NULL;
	l->saved = t->saved;
	l->join = here(&t->b);
}

void tr_loop_account(struct tr *t)
{
	static const u8 not_t0[] = {0x49, 0xf7, 0xd2}, shrx[] = {0xc4, 0x42, 0xa3, 0xf7, 0xd2};
	const struct jit_loop *l = &t->loop;
	s32 step;

	if (l->limited == SREG_ZERO || !jit_loop_moves(l, l->limited, &step))
		return;
	/* T0 = register - what it would be had the loop been long enough, or the other way round: its top
	 * bits tell. */
	e_load(&t->b, T0, &t->c->jx.loop.early);
	e_mem(&t->b, true, OP_LEA, T0, l->limited, T0, 0, 0);
	if (step < 0)
		e_bytes(&t->b, not_t0, sizeof(not_t0));
	e_imm32(&t->b, T1, SKIPS);
	e_bytes(&t->b, shrx, sizeof(shrx)); /* shrx T1, T0, T0 */
	e_abs(&t->b, false, OP_STORE, T0, &soft_cell(t->c, l->skip)->addend);
}

/* ---- in front of the loop ---- */

struct fails {
	u8 *site[4 * JIT_LOOP_GROUPS + 2 * REG_COUNT + 2];
	unsigned count;
};

static void fail(struct fails *f, u8 *site)
{
	f->site[f->count++] = site;
}

/* T0 /= by, if T0 is at most 2 MiB. */
static void divide(struct jit_buf *b, u32 by)
{
	unsigned shift = (unsigned)__builtin_ctz(by);

	unsigned scale = by > JIT_LOOP_STEP ? RECIPROCAL_STRIDE : RECIPROCAL;

	_Static_assert((u64)JIT_LOOP_STEP << REGION_BITS <= 1ULL << RECIPROCAL, "the quotient is exact");
	_Static_assert((u64)JIT_LOOP_STRIDE << REGION_BITS <= 1ULL << RECIPROCAL_STRIDE, "likewise");

	if (by & (by - 1)) {
		u32 m = (u32)(((1ULL << scale) + by - 1) / by);

		e_rr(b, true, 0x69, T0, T0); /* imul $m, T0, T0 */
		e32(b, m);
		shift = scale;
	}
	if (shift) {
		e_rr(b, true, 0xc1, 5, T0);
		e8(b, shift);
	}
}

/* T0: how many iterations there may be after the first; becomes the least of all until now. */
static void at_most(struct tr *t, bool first)
{
	const u64 *most = first ? &t->c->jx.loop.most : &t->c->jx.loop.count;

	t->c->jx.loop.most = MOST;
	e_abs(&t->b, true, OP_CMP, T0, most);
	e8(&t->b, 0x4c); /* cmova most, T0 */
	e8(&t->b, 0x0f);
	e8(&t->b, 0x47);
	e_mem_tail(&t->b, T0 & 7, most);
	e_store(&t->b, &t->c->jx.loop.count, T0);
}

/* Registers of which the lower half alone counts: do they have room? */
static void check_narrow(struct tr *t, struct fails *f, bool *first)
{
	static const u8 cmova_t1[] = {0x4d, 0x0f, 0x47, 0xd3};
	const struct jit_loop *l = &t->loop;

	for (unsigned reg = 0; reg < REG_COUNT; reg++) {
		s32 step;

		if (!(l->narrow >> reg & 1))
			continue;
		(void)jit_loop_moves(l, reg, &step);
		e_mem(&t->b, true, OP_LEA, T0, (int)reg, NO_REG, 0, l->trace.lowest[reg]);
		e_group1(&t->b, true, 7, T0, JIT_LOOP_NARROW);
		fail(f, e_jcc(&t->b, CC_A));
		if (step >= 0)
			continue;
		e_imm32(&t->b, T1, PAGE_SIZE - 1);
		e_rr(&t->b, true, 0x39, T1, T0);
		e_bytes(&t->b, cmova_t1, sizeof(cmova_t1));
		/* The division is exact for small numbers alone; any less does as well. */
		divide(&t->b, (u32)1 << (32 - __builtin_clz((u32)-step)));
		at_most(t, *first);
		*first = false;
	}
}

/* T0 = the group's lowest address in this iteration. */
static void group_address(struct tr *t, const struct jit_group *g, const struct jit_hoisted *h)
{
	int base = h->base == SREG_ZERO ? NO_REG : h->base, index = h->index == SREG_ZERO ? NO_REG : h->index;

	if (base >= 0 && jit_in_memory(h->base)) {
		e_load(&t->b, T0, &t->c->regs[h->base]);
		base = T0;
	}
	if (index >= 0 && jit_in_memory(h->index)) {
		e_load(&t->b, T0, &t->c->regs[h->index]);
		index = T0;
	}
	e_mem(&t->b, true, OP_LEA, T0, base, index, g->scale, h->plus);
	if (g->seg)
		e_abs(&t->b, true, OP_ADD, T0, &t->c->segbase[g->seg]);
}

/* T1 += what of the group's addresses does not change. T0 may be lost. */
static void add_fixed(struct tr *t, const struct jit_group *g, const struct jit_hoisted *h)
{
	if (!h->fixed[0] && !h->fixed[1])
		return;
	if (h->fixed[0] && h->base != SREG_ZERO) {
		if (jit_in_memory(h->base))
			e_abs(&t->b, true, OP_ADD, T1, &t->c->regs[h->base]);
		else
			e_rr(&t->b, true, 0x01, h->base, T1);
	}
	if (h->fixed[1] && h->index != SREG_ZERO) {
		int index = h->index;

		if (jit_in_memory(h->index)) {
			e_load(&t->b, T0, &t->c->regs[h->index]);
			index = T0;
		}
		e_mem(&t->b, true, OP_LEA, T1, T1, index, g->scale, 0);
	}
	if (g->seg)
		e_abs(&t->b, true, OP_ADD, T1, &t->c->segbase[g->seg]);
}

/* What is asked of the page word behind each store. */
static bool wants_page(struct tr *t, const struct jit_group *g)
{
	return g->write && tr_asks_written(t);
}

/* Looks for the group. T0 has the least count behind it, as jx.loop.count, if it moves. */
static void prepare(struct tr *t, struct fails *f, struct jit_group *g, struct jit_hoisted *h, bool *first)
{
	static const u8 test[] = {0x41, 0xf6, 0xc2};
	const struct soft_cell *cell;
	struct soft_cell_info *i;
	struct cold *k;

	h->cell = soft_cell_new(t->c);
	if (!h->cell) {
		t->b.p = t->b.end;
		t->b.full = true;
	}
	cell = soft_cell(t->c, h->cell);
	i = soft_cell_info(t->c, h->cell);
	h->again = here(&t->b);
	*i = (struct soft_cell_info){.form = CELL_ADDRESS,
	                             .mode = (u8)t->mode,
	                             .entry_mode = (u8)t->entry_mode,
	                             .span = (u16)(g->high - g->low),
	                             .write = g->write,
	                             .group = true,
	                             .alone = true,
	                             .loop = true,
	                             .patch = h->again,
	                             .start = t->check,
	                             .back = t->loop.skip};
	group_address(t, g, h);
	if (g->align) {
		e_bytes(&t->b, test, sizeof(test));
		e8(&t->b, g->align);
		fail(f, e_jcc(&t->b, CC_NE));
	}
	e_abs(&t->b, true, OP_SUB, T0, &cell->tag);
	if (h->step > 0) {
		e_load(&t->b, T1, &cell->limit);
		e_rr(&t->b, true, 0x29, T0, T1); /* T1 = limit - T0 */
		k = tr_cold(t, COLD_LOOP, 0, e_jcc(&t->b, CC_BE));
		e_mem(&t->b, true, OP_LEA, T0, T1, NO_REG, 0, -1);
	} else {
		e_abs(&t->b, true, OP_CMP, T0, &cell->limit);
		k = tr_cold(t, COLD_LOOP, 0, e_jcc(&t->b, CC_AE));
	}
	k->disp = g - t->loop.groups.group;
	if (wants_page(t, g)) {
		e_load(&t->b, T1, &cell->page);
		e_store(&t->b, &t->c->jx.loop.at[h->slot].page, T1);
	}
	e_load(&t->b, T1, &cell->addend);
	/* T0: room of the group, in bytes, beyond the first iteration. T1: its addend. */
	k->resume = here(&t->b);
	if (h->step) {
		divide(&t->b, (u32)(h->step > 0 ? h->step : -h->step));
		at_most(t, *first);
		*first = false;
	}
	add_fixed(t, g, h);
	e_store(&t->b, &t->c->jx.loop.at[h->slot].host, T1);
}

void tr_loop_missed(struct tr *t, const struct cold *k)
{
	static const u8 less[] = {0x83, 0x2c, 0x25}, not_t0[] = {0x49, 0xf7, 0xd2}; /* subl $…, … */
	const struct jit_group *g = &t->loop.groups.group[k->disp];
	const struct jit_hoisted *h = &t->loop.hoisted[k->disp];
	struct soft_tlb_entry *tlb = t->c->tlbs[t->entry_mode];
	s32 room = (s32)(PAGE_SIZE - (u64)(g->high - g->low));
	u8 *full, *missed;

	e_bytes(&t->b, less, sizeof(less));
	e32(&t->b, low(&soft_cell(t->c, t->loop.skip)->limit));
	e8(&t->b, 1);
	full = e_jcc(&t->b, CC_S);
	group_address(t, g, h);
	jit_tlb_index(&t->b);
	e_abs(&t->b, true, OP_ADD, T0, &t->c->tlb_key);
	e_mem(&t->b, true, OP_SUB, T0, T1, NO_REG, 0, low(g->write ? &tlb->tag_write : &tlb->tag_read));
	if (h->step > 0) {
		e_bytes(&t->b, not_t0, sizeof(not_t0));
		e_group1(&t->b, true, 0, T0,
		         room + 1); /* T0 = room - T0, with a carry if that is not less than 0 */
		missed = e_jcc(&t->b, CC_AE);
	} else {
		e_group1(&t->b, true, 7, T0, room);
		missed = e_jcc(&t->b, CC_A);
	}
	if (wants_page(t, g)) {
		e_store(&t->b, &t->c->jx.temp, T0);
		e_mem(&t->b, true, OP_LOAD, T0, T1, NO_REG, 0, low(&tlb->page));
		e_store(&t->b, &t->c->jx.loop.at[h->slot].page, T0);
		e_load(&t->b, T0, &t->c->jx.temp);
	}
	e_mem(&t->b, true, OP_LOAD, T1, T1, NO_REG, 0, low(&tlb->addend));
	e_jmp(&t->b, k->resume);
	e_fix(&t->b, full, here(&t->b));
	e_fix(&t->b, missed, here(&t->b));
	group_address(t, g, h);
	e_imm32(&t->b, T1, h->cell);
	e_jmp(&t->b, t->c->jit->refill);
	soft_cell_info(t->c, h->cell)->out = here(&t->b);
	e_jmp(&t->b, t->loop.ordinary);
}

/* jx.loop.limit. counted: T0 is jx.loop.count. */
static void set_limit(struct tr *t, bool counted)
{
	const struct jit_loop *l = &t->loop;
	s32 step;

	if (l->limited == SREG_ZERO)
		return;
	(void)jit_loop_moves(l, l->limited, &step);
	if (!counted)
		e_load(&t->b, T0, &t->c->jx.loop.count);
	if (step > 0 && !(step & (step - 1))) {
		e_rr(&t->b, true, 0xc1, 4, T0); /* shl */
		e8(&t->b, (unsigned)__builtin_ctz((u32)step));
	} else {
		e_rr(&t->b, true, 0x69, T0, T0); /* imul */
		e32(&t->b, (u32)step);
	}
	e_mem(&t->b, true, OP_LEA, T0, l->limited, T0, 0, step);
	e_store(&t->b, &t->c->jx.loop.limit, T0);
}

/* jx.loop.early, negative. */
static void set_early(struct tr *t)
{
	const struct jit_loop *l = &t->loop;
	s32 step;

	if (l->limited == SREG_ZERO)
		return;
	(void)jit_loop_moves(l, l->limited, &step);
	e_mem(&t->b, true, OP_LEA, T0, l->limited, NO_REG, 0, (s64)step * JIT_LOOP_SHORT);
	e_rr(&t->b, true, 0xf7, 3, T0);
	e_store(&t->b, &t->c->jx.loop.early, T0);
}

/* Does the loop end within the iterations that there may be? T0 becomes jx.loop.count, counted: is already. Returns
 * the rel32 of the jump if it does not. */
static u8 *ends_within(struct tr *t, bool counted)
{
	enum { CC_B = 2, ROR = 1 };
	const struct jit_exit *x = &t->loop.exit;
	u32 size = (u32)(x->step < 0 ? -x->step : x->step), inverse = 1;
	unsigned shift = (unsigned)__builtin_ctz(size);

	if (!counted)
		e_load(&t->b, T0, &t->c->jx.loop.count);
	/* T1: how far it has to go behind the first iteration */
	if (x->step > 0) {
		if (x->with == SREG_ZERO) {
			e_mem(&t->b, true, OP_LEA, T1, NO_REG, NO_REG, 0, (s64)x->imm - x->step);
		} else if (jit_displaced(x->with)) {
			e_load(&t->b, T1, &t->c->regs[x->with]);
			e_mem(&t->b, true, OP_LEA, T1, T1, NO_REG, 0, -x->step);
		} else {
			e_mem(&t->b, true, OP_LEA, T1, x->with, NO_REG, 0, -x->step);
		}
		e_rr(&t->b, x->wide, 0x29, x->moving, T1);
	} else {
		e_mem(&t->b, true, OP_LEA, T1, x->moving, NO_REG, 0,
		      x->with == SREG_ZERO ? (s64)x->step - x->imm : x->step);
		if (x->with == SREG_ZERO)
			e_rr(&t->b, x->wide, OP_STORE, T1, T1);
		else if (jit_displaced(x->with))
			e_abs(&t->b, x->wide, OP_SUB, T1, &t->c->regs[x->with]);
		else
			e_rr(&t->b, x->wide, 0x29, x->with, T1);
	}
	/* Divided by the step, as a number of so many bits that is multiplied: many, if there is a remainder. */
	for (unsigned i = 0; i < 5; i++)
		inverse *= 2 - (size >> shift) * inverse;
	if (inverse != 1) {
		e_rr(&t->b, false, 0x69, T1, T1); /* imul */
		e32(&t->b, inverse);
	}
	if (shift) {
		e_rr(&t->b, x->wide, 0xc1, ROR, T1);
		e8(&t->b, shift);
	}
	e_rr(&t->b, true, 0x39, T1, T0);
	return e_jcc(&t->b, CC_B);
}

static void load_words(struct tr *t)
{
	const struct jit_loop *l = &t->loop;

	if (l->in_t1)
		tr_load_addend(t, l->in_t1);
	if (l->in_t0)
		e_load(&t->b, T0, &t->c->jx.loop.at[l->in_t0 - JIT_LOOP_ADDEND].host);
}

/* Returns whether T0 is jx.loop.count. */
static bool prepare_all(struct tr *t)
{
	static const u8 testb[] = {0xf6, 0x04, 0x25};
	struct jit_loop *l = &t->loop;
	struct fails f = {.count = 0};
	bool first = true, counted = false;

	if (l->classes) {
		e_bytes(&t->b, testb, sizeof(testb));
		e32(&t->b, low(&t->c->jx.vec));
		e8(&t->b, l->classes | VEC_PARKED);
		fail(&f, e_jcc(&t->b, CC_NE));
	}
	check_narrow(t, &f, &first);
	for (unsigned i = 0; i < l->groups.count; i++) {
		const struct jit_hoisted *h = &l->hoisted[i];

		if (!h->yes)
			continue;
		prepare(t, &f, &l->groups.group[i], &l->hoisted[i], &first);
		counted = h->step && !(h->fixed[1] && jit_in_memory(h->index)); /* add_fixed() */
	}
	for (unsigned i = 0; i < f.count; i++)
		e_fix(&t->b, f.site[i], l->ordinary);
	return counted;
}

/* ---- the loop ---- */

bool tr_loop_has(const struct tr *t, unsigned op, unsigned which)
{
	unsigned g = t->groups.member[op].group[which];

	return t->in_loop && g != JIT_NO_GROUP && t->loop.hoisted[g].yes;
}

struct place tr_loop_place(struct tr *t, unsigned op, unsigned which, const struct op *o)
{
	const struct jit_loop *l = &t->loop;
	unsigned g = l->groups.member[op].group[which], scale = l->groups.group[g].scale;
	const struct jit_hoisted *h = &l->hoisted[g];
	struct place p = {NO_REG, NO_REG, 0, JIT_LOOP_ADDEND + h->slot, 0};
	int base = h->fixed[0] ? NO_REG : o->base, index = h->fixed[1] ? NO_REG : o->index;
	bool both = base >= 0 && index >= 0;
	s8 word = p.cell == l->in_t0 ? T0 : T1;

	if (both) {
		struct op flat = *o;

		flat.seg = SEG_DS;
		tr_address(t, &flat);
		if (o->seg >= SEG_FS) { /* keeps flags */
			e_load(&t->b, T1, &t->c->segbase[o->seg]);
			e_mem(&t->b, true, OP_LEA, T0, T0, T1, 0, 0);
			t->addend = 0;
		}
		base = T0;
		index = NO_REG;
	} else {
		p.disp = (s32)jit_loop_displacement(l, op, which, scale, o->disp);
	}
	if (base >= 0 && base != T0 && jit_displaced((unsigned)base)) {
		e_load(&t->b, T0, &t->c->regs[base]);
		base = T0;
	} else if (base == T0 && !both) {
		e_load(&t->b, T0, &t->c->regs[T0]);
	}
	if (index >= 0 && jit_displaced((unsigned)index)) {
		e_load(&t->b, T0, &t->c->regs[index]);
		index = T0;
	}
	if (word == T1 && t->addend != p.cell) {
		tr_load_addend(t, p.cell);
		t->addend = p.cell;
	}
	if (index >= 0) {
		p.base = word;
		p.index = (s8)index;
		p.scale = (u8)scale;
	} else if (base >= 0) {
		p.base = (s8)base;
		p.index = word;
	} else {
		p.base = word;
	}
	return p;
}

/* An iteration is over, for the lock-step check; no flags are live. */
static void count_round(struct tr *t)
{
	const u64 *rounds = &t->c->jx.loop.rounds;
	struct cold *k;

	e8(&t->b, 0xff); /* incl */
	e_mem_tail(&t->b, 0, rounds);
	e8(&t->b, 0x83); /* cmpl $…, */
	e_mem_tail(&t->b, 7, rounds);
	e8(&t->b, JIT_LOOP_ROUNDS);
	k = tr_cold(t, COLD_STOP, 0, e_jcc(&t->b, CC_AE));
	k->disp = t->block->off;
	k->writer = 0;
}

/* The body without its jump; flagless: nor what makes the flags for that alone. Returns its address. */
static u32 body(struct tr *t, bool flagless)
{
	const struct jit_loop *l = &t->loop;
	u32 start;

	load_words(t);
	t->groups = l->groups; /* with no check written yet */
	t->host = false;
	t->saved = true;
	t->pending = 0;
	t->vec = l->classes;
	t->addend = l->in_t1;
	t->held_at = NULL;
	start = here(&t->b);
	for (unsigned i = 0; i < l->trace.last; i++)
		if (!flagless || i != l->exit.op || t->c->jit->insns[i].i.z.mnemonic != ZYDIS_MNEMONIC_CMP)
			tr_one(t, i);
	if (!flagless)
		tr_need_flags(t, t->c->jit->insns[l->trace.last].read);
	if (l->in_t1 && t->addend != l->in_t1)
		tr_load_addend(t, l->in_t1);
	return start;
}

/* The loop is left, with its last jump not taken. */
static void leave(struct tr *t)
{
	if (t->loop.saved && !t->saved)
		tr_save_host_flags(t);
	tr_loop_account(t);
	e_jmp(&t->b, t->loop.join);
}

/* Iterations without a limit, as long as the guest wants. */
static void unlimited(struct tr *t)
{
	u32 start = body(t, false);
	u8 *out;

	if (t->c->lockstep) {
		out = e_jcc(&t->b, CC_E);
		count_round(t);
		e_jmp(&t->b, start);
		e_fix(&t->b, out, here(&t->b));
	} else {
		e_fix(&t->b, e_jcc(&t->b, CC_NE), start);
	}
	leave(t);
}

void tr_loop(struct tr *t)
{
	struct jit_loop *l = &t->loop;
	const struct jit_insn *n = &t->c->jit->insns[l->trace.last];
	static const u8 no_events[] = {0x83, 0x3c, 0x25};
	u32 start, again;
	u8 *out = NULL, *beyond;
	bool counted;

	if (!l->yes)
		return;
	t->mode = t->entry_mode;
	e_fix(&t->b, l->enter, here(&t->b));
	set_early(t);
	again = here(&t->b);
	counted = prepare_all(t);
	t->in_loop = true;
	if (l->exit.known) {
		beyond = ends_within(t, counted);
		unlimited(t);
		e_fix(&t->b, beyond, here(&t->b));
		counted = true;
	}
	set_limit(t, counted);
	start = body(t, l->exit.known);
	if (!l->exit.known && n->kind == JIT_JCC)
		out = e_jcc(&t->b, (n->i.z.opcode & 15) ^ 1);
	if (t->c->lockstep)
		count_round(t);
	if (l->limited != SREG_ZERO) {
		e_abs(&t->b, !l->trace.end[l->limited].narrow, OP_CMP, l->limited, &t->c->jx.loop.limit);
		e_fix(&t->b, e_jcc(&t->b, CC_NE), start);
	}
	e_bytes(&t->b, no_events, sizeof(no_events));
	e32(&t->b, low(&t->c->base.events));
	e8(&t->b, 0);
	e_fix(&t->b, e_jcc(&t->b, CC_E), l->limited == SREG_ZERO ? start : again);
	e_jmp(&t->b, t->check);
	if (out) {
		e_fix(&t->b, out, here(&t->b));
		leave(t);
	}
	t->in_loop = false;
}
