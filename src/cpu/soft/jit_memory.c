#include "cpu/soft/block.h"
#include "cpu/soft/jit_tr.h"
#include "cpu/soft/mmu.h"

/* ---- registers and addresses ---- */

static bool is_displaced(unsigned reg)
{
	return reg < REG_COUNT && jit_displaced(reg);
}

void tr_load_displaced(struct tr *t, unsigned reg)
{
	if (t->held_at != t->b.p || !(t->held & BIT(reg))) {
		bool other = t->held_at == t->b.p;

		e_load(&t->b, reg, &t->c->regs[reg]);
		t->held = (u16)((other ? t->held : 0) | BIT(reg));
		t->held_at = t->b.p;
	}
}

void tr_address(struct tr *t, const struct op *o)
{
	struct soft_cpu *c = t->c;
	int base = o->base < REG_COUNT ? o->base : NO_REG, index = o->index < REG_COUNT ? o->index : NO_REG;

	if (o->base == SREG_PAGE_RIP) {
		base = T0;
		e_fixed(&t->b, true, OP_LOAD, T0, &c->regs[SREG_PAGE_RIP]);
	} else if (is_displaced(o->base)) {
		tr_load_displaced(t, o->base);
	}
	if (is_displaced(o->index) && o->index != o->base)
		tr_load_displaced(t, o->index);
	if (o->base == T1 || o->index == T1)
		t->addend = 0;
	if (base >= 0 && index < 0 && !o->disp) {
		if (base != T0)
			e_mov(&t->b, T0, (unsigned)base);
	} else {
		e_mem(&t->b, true, OP_LEA, T0, base, index, o->scale, o->disp);
	}
	if (o->seg >= SEG_FS)
		e_fixed(&t->b, true, OP_ADD, T0, &c->segbase[o->seg]);
}

/* ---- checks ---- */

void jit_tlb_index(struct jit_buf *b)
{
	static const u8 rorx6[] = {0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x06}; /* rorx $6, %r10, %r11 */
	static const u8 and_index[] = {0x41, 0x81, 0xe3};               /* and $…, %r11d */

	e_bytes(b, rorx6, sizeof(rorx6));
	e_bytes(b, and_index, sizeof(and_index));
	e32(b, (SOFT_TLB_ENTRIES - 1) * sizeof(struct soft_tlb_entry));
}

u8 *soft_cell_emit_tlb(struct soft_cpu *c, struct jit_buf *b, struct soft_cell *cell,
                       const struct soft_cell_info *i, bool offset, const u8 *address, const u8 *address_end)
{
	struct soft_tlb_entry *tlb = c->tlbs[i->mode];
	bool page = i->write && !c->base.config.board->mem->single_vcpu;
	u8 *slow;

	_Static_assert(sizeof(*tlb) == 64, "by rorx");
	jit_tlb_index(b);
	e_abs(b, true, OP_ADD, T0, &c->tlb_key);
	e_mem(b, true, OP_SUB, T0, T1, NO_REG, 0, low(i->write ? &tlb->tag_write : &tlb->tag_read));
	e_group1(b, true, 7, T0, (s32)(PAGE_SIZE - i->span));
	slow = e_jcc(b, CC_A);
	if (offset) {
		e_mem(b, true, OP_LOAD, T1, T1, NO_REG, 0, low(&tlb->host));
		return slow;
	}
	if (i->form == CELL_ADDRESS && !address) {
		e_mem(b, true, OP_ADD, T0, T1, NO_REG, 0, low(i->write ? &tlb->tag_write : &tlb->tag_read));
		e_abs(b, true, OP_SUB, T0, &c->tlb_key);
		if (page) {
			e_mem(b, true, OP_LOAD, T1, T1, NO_REG, 0, low(&tlb->page));
			e_store(b, &cell->page, T1);
			jit_tlb_index(b);
		}
		e_mem(b, true, OP_LOAD, T1, T1, NO_REG, 0, low(&tlb->addend));
		if (i->group)
			e_store(b, &cell->addend, T1);
		return slow;
	}
	if (page) {
		e_mem(b, true, OP_LOAD, T0, T1, NO_REG, 0, low(&tlb->page));
		e_store(b, &cell->page, T0);
	}
	e_mem(b, true, OP_LOAD, T1, T1, NO_REG, 0, low(&tlb->addend));
	if (i->group)
		e_store(b, &cell->addend, T1);
	if (i->form == CELL_ADDRESS)
		e_bytes(b, address, (size_t)(address_end - address));
	return slow;
}

void soft_cell_emit_missed(struct soft_cpu *c, struct jit_buf *b, unsigned mode, bool write)
{
	struct soft_tlb_entry *tlb = c->tlbs[mode];

	e_mem(b, true, OP_ADD, T0, T1, NO_REG, 0, low(write ? &tlb->tag_write : &tlb->tag_read));
	e_abs(b, true, OP_SUB, T0, &c->tlb_key);
}

/* The cell of the access, for the check that is written from here on. */
static u32 cell_new(struct tr *t, enum cell_form form, unsigned size, bool write)
{
	u32 n = t->plain ? CELL_ALONE : soft_cell_new(t->c);

	if (!n) { /* like a cache that is full */
		t->b.p = t->b.end;
		t->b.full = true;
	}
	struct soft_cell_info *i = soft_cell_info(t->c, n);
	i->form = (u8)form;
	i->mode = (u8)t->mode;
	i->entry_mode = (u8)t->entry_mode;
	i->span = (u16)size;
	i->write = write;
	i->group = i->copies = false;
	i->tlb = t->plain;
	i->start = here(&t->b);
	return n;
}

/* The cell is the group's. */
static void note_group(struct tr *t, const struct jit_group *g)
{
	struct soft_cell_info *i = soft_cell_info(t->c, g->cell);

	i->group = true;
	i->first = g->first;
	/* A copy is older than what other members' places have been read since. */
	i->copies = g->copies && t->mode == SOFT_TLB_USER && !tr_asks_written(t);
}

static void miss(struct tr *t, unsigned op, u32 n, u8 *from)
{
	struct cold *k = tr_cold(t, t->plain ? COLD_PLAIN : COLD_CELL, op, from);
	const struct soft_cell_info *i = soft_cell_info(t->c, n);

	k->disp = n;
	k->addend_again = i->form == CELL_CONSTANT ? t->addend : 0;
	k->check = (struct plain_check){.again = i->patch,
	                                .cell = n,
	                                .span = i->span,
	                                .mode = i->mode,
	                                .entry_mode = i->entry_mode,
	                                .write = i->write,
	                                .group = i->group,
	                                .copies = i->copies};
}

/* T0 has the address: T1 = what to add to it (or to what it was computed from). True, if it may be: what to add to
 * T0, which is the offset in the page now. */
static bool check(struct tr *t, unsigned op, u32 n, bool may_offset, const u8 *start)
{
	struct soft_cell *cell = soft_cell(t->c, n);
	struct soft_cell_info *i = soft_cell_info(t->c, n);
	bool moved = i->form == CELL_ADDRESS;

	t->addend = 0;
	i->patch = here(&t->b);
	i->again = start != NULL;
	if (t->plain || t->direct || t->block->ops[t->early ? i->first : op].flags & OPF_TLB ||
	    tr_loop_strides(t, op)) {
		const u8 *end = t->b.p;
		bool offset = may_offset && (!i->write || !tr_asks_written(t));

		i->tlb = true;
		miss(t, op, n,
		     soft_cell_emit_tlb(t->c, &t->b, cell, i, offset, t->b.full ? NULL : start, end));
		t->cold[t->colds - 1].behind = i->back = here(&t->b);
		return offset;
	}
	if (moved)
		e_mov(&t->b, T1, T0);
	e_abs(&t->b, true, OP_SUB, moved ? T1 : T0, &cell->tag);
	e_abs(&t->b, true, OP_CMP, moved ? T1 : T0, &cell->limit);
	miss(t, op, n, e_jcc(&t->b, CC_AE));
	e_load(&t->b, T1, &cell->addend);
	i->back = here(&t->b);
	return false;
}

static void check_align(struct tr *t, unsigned op, u8 align)
{
	static const u8 test[] = {0x41, 0xf6, 0xc2}; /* test $…, %r10b */

	if (!align)
		return;
	e_bytes(&t->b, test, sizeof(test));
	e8(&t->b, align);
	tr_cold(t, COLD_INTERPRET, op, e_jcc(&t->b, CC_NE));
}

/* The base is the word at `at`, the same for a long time: T0 = host address. */
static struct place constant(struct tr *t, unsigned op, const u64 *at, s32 disp, unsigned size, bool write)
{
	u32 n = cell_new(t, CELL_CONSTANT, size, write);
	struct soft_cell *cell = soft_cell(t->c, n);

	soft_cell_info(t->c, n)->disp = disp;
	e_load(&t->b, T0, at);
	e_abs(&t->b, true, OP_CMP, T0, &cell->tag);
	miss(t, op, n, e_jcc(&t->b, CC_NE));
	e_load(&t->b, T0, &cell->addend);
	t->host = false;
	return (struct place){T0, NO_REG, 0, n};
}

/* The operand is relative to rip: T0 = its page's host address. False: nothing is written. */
static bool shared(struct tr *t, unsigned op, const struct op *o, unsigned size, bool write, struct place *p)
{
	u32 off = (u32)o->disp & (PAGE_SIZE - 1), again;
	const struct soft_jit *j = t->c->jit;
	struct soft_cell *cell;
	struct cold *k;
	u32 n;

	if (!t->plain || (j->counter_count < SHARED_FROM && j->threshold != 1) || t->mode != SOFT_TLB_USER ||
	    off + size > PAGE_SIZE || t->block->ops[op].flags & OPF_TLB)
		return false;
	n = soft_cell_shared(t->c, t->block->gpa, (s32)(o->disp >> PAGE_SHIFT), t->mode, write);
	if (!n)
		return false;
	cell = soft_cell(t->c, n);
	e_load(&t->b, T0, &t->c->regs[SREG_PAGE_RIP]);
	again = here(&t->b);
	e_abs(&t->b, true, OP_CMP, T0, &cell->tag);
	k = tr_cold(t, COLD_PLAIN, op, e_jcc(&t->b, CC_NE));
	k->check = (struct plain_check){.again = again,
	                                .disp = o->disp,
	                                .cell = n,
	                                .span = (u16)size,
	                                .mode = (u8)t->mode,
	                                .entry_mode = (u8)t->entry_mode,
	                                .write = write,
	                                .shared = true};
	k->addend_again = t->addend;
	e_load(&t->b, T0, &cell->addend);
	*p = (struct place){T0, NO_REG, (s32)off, n, 0};
	return true;
}

/* A check for one access alone; stack: T0 is wanted for other things. */
static struct place single(struct tr *t, unsigned op, const struct op *o, unsigned size, bool write, u8 align,
                           bool stack, u8 before)
{
	bool displaced = is_displaced(o->base) || is_displaced(o->index), segment = o->seg >= SEG_FS;
	const u8 *start;
	struct place p;
	u32 n;

	tr_save_flags(t, before);
	t->host = false;
	start = t->b.p;
	if (o->base == SREG_PAGE_RIP && o->index >= REG_COUNT && !align && !segment &&
	    shared(t, op, o, size, write, &p))
		return p;
	if (!align && o->index >= REG_COUNT && !t->plain && !(t->block->ops[op].flags & OPF_TLB)) {
		if (o->base == SREG_PAGE_RIP && !segment)
			return constant(t, op, &t->c->regs[SREG_PAGE_RIP], (s32)o->disp, size, write);
		if (o->base == SREG_ZERO && segment)
			return constant(t, op, &t->c->segbase[o->seg], (s32)o->disp, size, write);
	}
	if (o->base < REG_COUNT && o->index >= REG_COUNT && !displaced && !segment) {
		n = cell_new(t, CELL_BASE, size, write);
		soft_cell_info(t->c, n)->copies = !write && size <= SOFT_ACROSS_SPAN;
		if (o->disp)
			e_mem(&t->b, true, OP_LEA, T0, o->base, NO_REG, 0, o->disp);
		else
			e_mov(&t->b, T0, o->base);
		check_align(t, op, align);
		if (check(t, op, n, !stack, NULL))
			return (struct place){T0, T1, 0, n};
		return (struct place){(s8)o->base, T1, (s32)o->disp, n};
	}
	n = cell_new(t, CELL_ADDRESS, size, write);
	soft_cell_info(t->c, n)->copies = !write && size <= SOFT_ACROSS_SPAN;
	tr_address(t, o);
	check_align(t, op, align);
	check(t, op, n, !stack, displaced || align ? NULL : start);
	return (struct place){T0, T1, 0, n};
}

/* The check of the block's group on the stack, that begins at `low`. */
static void check_stack(struct tr *t, unsigned op, struct jit_group *g, const struct op *low)
{
	u32 n = CELL_STACK + t->mode, span = (u32)(g->high - g->low), again, size = 0;
	struct soft_cell *cell = soft_cell(t->c, n);
	struct cold *k;

	while (soft_stack_spans[size] < span)
		size++;
	g->cell = n;
	tr_address(t, low);
	again = here(&t->b);
	e_abs(&t->b, true, OP_SUB, T0, &cell->tag);
	e_abs(&t->b, true, OP_CMP, T0, &t->c->jx.stack_limit[t->mode][size]);
	k = tr_cold(t, COLD_PLAIN, op, e_jcc(&t->b, CC_AE));
	k->disp = n;
	k->check = (struct plain_check){.again = again,
	                                .seam = here(&t->b),
	                                .cell = n,
	                                .fits = PAGE_SIZE - span,
	                                .span = (u16)span,
	                                .mode = (u8)t->mode,
	                                .entry_mode = (u8)t->entry_mode,
	                                .write = true,
	                                .group = true};
	e_load(&t->b, T1, &cell->addend);
}

/* A member of a group. */
static struct place member(struct tr *t, unsigned op, unsigned which, const struct op *o, u8 align, u8 before)
{
	struct jit_group *g = &t->groups.group[t->groups.member[op].group[which]];
	s32 to_low = (s32)(g->low - t->groups.member[op].at[which]);
	bool direct = o->base < REG_COUNT && o->index >= REG_COUNT && !jit_displaced(o->base),
	     first = !g->cell;
	bool displaced = is_displaced(o->base) || is_displaced(o->index);
	struct place p = {direct ? (s8)o->base : T0, T1, direct ? (s32)o->disp : 0, 0};

	if (align || first) {
		tr_save_flags(t, before);
		t->host = false;
	}
	if (align || (!direct && !first)) {
		tr_address(t, o);
		check_align(t, op, align);
	}
	if (first) {
		struct op low = *o;
		const u8 *start = t->b.p;

		low.disp += to_low;
		if (direct && t->groups.member[op].group[which] == t->groups.stack) {
			check_stack(t, op, g, &low);
			t->addend = p.cell = g->cell;
			return p;
		}
		g->cell = cell_new(t, direct ? CELL_BASE : CELL_ADDRESS, (unsigned)(g->high - g->low),
		                   g->write);
		if (t->plain) {
			u32 n = CELL_GROUPS + (u32)(g - t->groups.group);

			_Static_assert(CELL_GROUPS + JIT_GROUPS <= CELL_FIRST, "");
			*soft_cell_info(t->c, n) = *soft_cell_info(t->c, g->cell);
			g->cell = n;
		}
		note_group(t, g);
		tr_address(t, &low);
		check(t, op, g->cell, false, direct || displaced ? NULL : start);
		if (!direct)
			p.disp = -to_low;
	} else if (t->addend != g->cell) {
		tr_load_addend(t, g->cell);
	}
	t->addend = p.cell = g->cell;
	return p;
}

void tr_early_checks(struct tr *t)
{
	t->early = true;
	for (unsigned i = 0; i < t->groups.count; i++) {
		struct jit_group *g = &t->groups.group[i];
		struct op o = {.base = (u8)(g->base ? g->base - 1 : SREG_ZERO),
		               .index = (u8)(g->index ? g->index - 1 : SREG_ZERO),
		               .scale = g->scale,
		               .disp = g->low,
		               .seg = SEG_DS};
		bool displaced = is_displaced(o.base) || is_displaced(o.index), direct;
		const u8 *start = t->b.p;

		if (!g->early)
			continue;
		direct = o.base < REG_COUNT && o.index >= REG_COUNT && !displaced;
		g->cell = cell_new(t, direct ? CELL_BASE : CELL_ADDRESS, (unsigned)(g->high - g->low),
		                   g->write);
		note_group(t, g);
		soft_cell_info(t->c, g->cell)->alone = g->alone;
		tr_address(t, &o);
		check(t, 0, g->cell, false, direct || displaced ? NULL : start);
		t->addend = g->cell;
	}
	t->early = false;
	t->open = t->colds;
}

struct place tr_stack(struct tr *t, unsigned op, unsigned reg, s32 disp, bool write, u8 before)
{
	struct op o = {.base = (u8)reg, .index = SREG_ZERO, .disp = disp, .seg = SEG_DS};

	if (tr_loop_has(t, op, JIT_STACK))
		return tr_loop_place(t, op, JIT_STACK, &o);
	if (t->groups.member[op].group[JIT_STACK] != JIT_NO_GROUP)
		return member(t, op, JIT_STACK, &o, 0, before);
	return single(t, op, &o, 8, write, 0, true, before);
}

struct place tr_operand(struct tr *t, unsigned op, const struct op *o, unsigned size, bool write, u8 align,
                        u8 before)
{
	if (tr_loop_has(t, op, JIT_OPERAND))
		return tr_loop_place(t, op, JIT_OPERAND, o);
	if (t->groups.member[op].group[JIT_OPERAND] != JIT_NO_GROUP)
		return member(t, op, JIT_OPERAND, o, align, before);
	return single(t, op, o, size, write, align, false, before);
}

void tr_load_addend(struct tr *t, u32 cell)
{
	e_load(&t->b, T1,
	       cell >= JIT_LOOP_ADDEND ? &t->c->jx.loop.at[cell - JIT_LOOP_ADDEND].host
	                               : &soft_cell(t->c, cell)->addend);
}

unsigned tr_spare(struct tr *t, struct place *p)
{
	if (p->base != T0 && p->index != T0)
		return T0;
	if (p->base == T1 || p->index == T1) {
		e_mem(&t->b, true, OP_LEA, T0, p->base, p->index, p->scale, p->disp);
		p->base = T0;
		p->index = NO_REG;
		p->disp = p->scale = 0;
	}
	t->addend = 0;
	return T1;
}

void tr_emit(struct tr *t, bool wide, unsigned opcode, unsigned reg, const struct place *p)
{
	e_mem(&t->b, wide, opcode, reg, p->base, p->index, p->scale, p->disp);
}

/* ---- stores to code ---- */

bool tr_asks_written(const struct tr *t)
{
	return !t->c->base.config.board->mem->single_vcpu;
}

/* The page word's address is in reg. */
static void test_written(struct tr *t, unsigned op, unsigned reg, bool last)
{
	struct cold *k;

	e_mem(&t->b, false, 0xf6, 0, (int)reg, NO_REG, 0, 0); /* testb $1, (reg) */
	e8(&t->b, PHYSMEM_PAGE_CODE);
	k = tr_cold(t, COLD_WRITTEN, op, e_jcc(&t->b, CC_NE));
	k->resume = here(&t->b);
	k->load = last;
	k->disp = reg;
	t->host = false;
}

void tr_check_written(struct tr *t, unsigned op, bool last)
{
	if (tr_asks_written(t))
		test_written(t, op, T1, last);
}

void tr_written(struct tr *t, unsigned op, const struct place *p, bool last)
{
	if (!tr_asks_written(t))
		return;
	e_load(&t->b, T0,
	       p->cell >= JIT_LOOP_ADDEND ? (void *)&t->c->jx.loop.at[p->cell - JIT_LOOP_ADDEND].page
	                                  : (void *)&soft_cell(t->c, p->cell)->page);
	test_written(t, op, T0, last);
}

/* ---- with the host address in T0 ---- */

void tr_check(struct tr *t, unsigned op, unsigned size, bool write, bool page)
{
	u32 n = cell_new(t, CELL_ADDRESS, size, write);

	t->host = false;
	check(t, op, n, true, NULL);
	e_rr(&t->b, true, OP_ADD, T0, T1);
	if (page && tr_asks_written(t))
		e_load(&t->b, T1, &soft_cell(t->c, n)->page);
}

void tr_push_check(struct tr *t, unsigned op)
{
	e_mem(&t->b, true, OP_LEA, T0, REG_RSP, NO_REG, 0, -8);
	tr_check(t, op, 8, true, true);
}

void tr_move_rsp(struct tr *t, s32 by)
{
	e_mem(&t->b, true, OP_LEA, REG_RSP, REG_RSP, NO_REG, 0, by);
}
