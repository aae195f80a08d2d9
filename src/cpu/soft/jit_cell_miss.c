#include "cpu/soft/block.h"
#include "cpu/soft/jit_cell_table.h"
#include "cpu/soft/jit_emit.h"
#include "cpu/soft/jit_map.h"
#include "cpu/soft/jit_seam.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

#include <time.h>

enum { STUB = 256, LOOK_UPS = 64, SOME_LOOK_UPS = 8, SKIPS = 30 };

/* ---- a cell gives up ---- */

/* For the next translation; lost if the operations are. False: they are. */
static bool learn(const struct jit_site *site, unsigned op, u8 flag)
{
	struct soft_block *b = (struct soft_block *)(u64)site->block;

	if (!b->ops)
		return false;
	b->ops[op].flags |= flag;
	b->learned = true;
	return true;
}

/* Its check becomes a look into the TLB: the same results, in T0 and T1 and in the cell. */
static void give_up(struct soft_cpu *c, struct soft_cell *cell, struct soft_cell_info *i)
{
	struct soft_jit *j = c->jit;
	struct jit_buf b = {
	        .p = j->write + j->used, .end = j->write + j->used + STUB, .to_run = j->run - j->write};
	struct jit_site *site = (struct jit_site *)(u64)i->site;
	u8 *patch = j->write + (i->patch - low(j->run)), *slow;
	const u8 *start = j->write + (i->start - low(j->run));
	u32 stub = here(&b);

	if (j->used + STUB > j->cold)
		return;
	learn(site, i->group ? i->first : site->op, OPF_TLB);
	slow = soft_cell_emit_tlb(c, &b, cell, i, false, i->again ? start : NULL, i->again ? patch : NULL);
	e_jmp(&b, i->back);
	e_fix(&b, slow, here(&b));
	soft_cell_emit_missed(c, &b, i->mode, i->write);
	e_imm32(&b, T1, (u32)(i - c->cells->info));
	e_jmp(&b, j->refill);
	if (b.full)
		return;
	i->tlb = true;
	j->used = align_up((size_t)(b.p - j->write), (size_t)16);
	if (j->map) { /* which calls libc, and code goes on with vectors as they are */
		bool live = c->vec_live;

		soft_vec_park(c);
		jit_map_name(j->map, stub, here(&b), "tlb");
		if (live)
			soft_vec_unpark(c);
	}
	b.p = patch;
	b.end = patch + 5;
	e_jmp(&b, stub);
}

/* The host's time in ticks of some milliseconds; reading the time stamp counter can be very slow. */
static u32 tick(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (u32)(t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

/* What is counted in a cell's score is so within a tick. */
static void begin_tick(struct soft_cell_info *i)
{
	u32 now = tick();

	if (i->tick == now)
		return;
	i->tick = now;
	i->score = 0;
}

/* The cell is to change from another page. Those who do that often within a short time give up, or, in a
 * loop's preparation, are not filled each time; but walking through memory by small steps, or by the same few
 * pages, is no reason. Where tasks take turns many of the kernel's cells change at each turn, from one stack to
 * another; that takes so long that none of them would do it often, so these are counted together. */
static bool thrashes(struct soft_cells *k, struct soft_cell_info *i, u64 page, u64 off)
{
	enum { OFTEN = 250, STRIDE = 256, MANY = 2000, OFTEN_OF_MANY = 50 };
	s64 step = (s64)(page - i->page) / (s64)PAGE_SIZE;
	bool near = step > 0 ? off < STRIDE : off + i->span > PAGE_SIZE - STRIDE;
	bool kernel = i->mode != SOFT_TLB_USER;
	bool few = step == (s8)step, walks = near && few && (step == i->step || step == i->pages);

	i->step = few ? (s8)step : 0;
	if (walks)
		return false;
	begin_tick(i);
	if (k->tick != i->tick) {
		k->tick = i->tick;
		k->kernel_changes = 0;
	}
	k->kernel_changes += kernel;
	i->score += i->score < OFTEN;
	return i->score >= (kernel && k->kernel_changes > MANY ? OFTEN_OF_MANY : OFTEN);
}

/* Likewise for a group's check that fails for good reason. A microsecond each time is less than what the members'
 * own checks would take from then on. */
static bool fails_often(struct soft_cell_info *i)
{
	enum { OFTEN = 200 };

	begin_tick(i);
	return ++i->score == OFTEN;
}

/* op: the first of the group. */
static void ungroup(struct soft_cpu *c, const struct jit_site *site, unsigned op, unsigned entry_mode)
{
	if (learn(site, op, OPF_ALONE))
		jit_pages_retire(c->jit, (struct soft_block *)(u64)site->block, entry_mode);
}

/* ---- a miss ---- */

/* What a cell is to cover: [from, to) in linear addresses. */
struct covered {
	const struct soft_tlb_entry *e; /* of the access' page */
	u64 from, to, addend;
	bool global;
	u8 window;  /* its number + 1; 0: none */
	bool later; /* there may be a window soon */
};

struct looker {
	struct soft_cpu *c;
	const struct soft_cell_info *i;
};

/* A page for a window: the host's. */
static u8 *look(void *arg, u64 page, _Atomic u32 **word)
{
	const struct looker *l = arg;
	bool global;
	const struct soft_tlb_entry *e = soft_mmu_cached(l->c, page, l->i->write, l->i->mode, &global);

	if (!e || global || !e->page)
		return NULL;
	*word = e->page;
	return soft_tlb_host(e, page);
}

/* A window, if its page is there already, or where that is more than there is without. */
static void widen(struct soft_cpu *c, const struct soft_cell_info *i, u64 page, unsigned count, bool there,
                  struct covered *v)
{
	struct soft_cells *k = c->cells;
	struct window_view view;

	_Static_assert(2 * SOFT_TLB_MODES <= (unsigned)WINDOW_KINDS, "");

	/* Stores with several vCPUs look at one page's word alone. */
	if (i->write && !c->base.config.board->mem->single_vcpu)
		return;
	if (window_of(k->windows, page, count, c->cr3 >> PAGE_SHIFT, tick(), 2 * i->mode + i->write, look,
	              &(struct looker){.c = c, .i = i}, &view)) {
		for (u64 at = view.from; i->write && view.fresh && at != view.to; at += PAGE_SIZE)
			cell_note_word(k, window_word(k->windows, view.number, at));
		for (u64 at = view.from; view.made && at != view.to; at += PAGE_SIZE)
			cell_forget_page(k, at, false);
		if (i->form == CELL_CONSTANT) {
			v->addend = (u64)view.at - view.from;
			v->window = (u8)(view.number + 1);
		} else if (there || view.to - view.from > v->to - v->from) {
			v->from = view.from;
			v->to = view.to;
			v->addend = (u64)view.at - view.from;
			v->window = (u8)(view.number + 1);
		}
	}
	v->later = view.later;
}

/* A stream comes to each page once, by a few cells. */
static bool is_wanted_often(struct soft_cells *k, u64 page)
{
	unsigned i = page / PAGE_SIZE % ARRAY_SIZE(k->wanted);
	u32 now = tick();

	if (k->wanted[i].page != page || k->wanted[i].tick != now) {
		k->wanted[i].page = page;
		k->wanted[i].tick = now;
		k->wanted[i].count = 0;
	}
	k->wanted[i].count += k->wanted[i].count < k->often;
	return k->wanted[i].count == k->often;
}

/* What the cell is to cover for an access at `linear`; false: it cannot, now. */
static bool find(struct soft_cpu *c, const struct soft_cell_info *i, bool changes, u64 linear,
                 struct covered *v)
{
	enum { ENOUGH = 8 };
	u64 page = linear & ~(PAGE_SIZE - 1);
	bool crosses = linear - page + i->span > PAGE_SIZE, may_run = !i->tlb && i->form != CELL_CONSTANT;
	bool other, there, want;

	*v = (struct covered){0};
	if (crosses && (!may_run || page >> REGION != (page + PAGE_SIZE) >> REGION))
		return false;
	v->e = soft_mmu_walked(c, linear, i->write, i->group, i->mode, &v->global);
	if (!v->e || (crosses && !soft_mmu_walked(c, page + PAGE_SIZE, i->write, i->group, i->mode, &other)))
		return false;
	v->from = page;
	v->to = page + PAGE_SIZE;
	v->addend = v->e->addend;
	other = v->global;
	there = !i->tlb && !other && v->e->page &&
	        window_has(c->cells->windows, page, c->cr3 >> PAGE_SHIFT, soft_tlb_host(v->e, page));
	if (may_run && (crosses || changes) && !there)
		soft_mmu_run(c, linear, i->write, i->mode, v->e, &v->global, &v->from, &v->to);
	/* The end of a window helps no access that crosses it. */
	want = may_run && (crosses || changes) && i->wants >= c->cells->patience &&
	       linear >> WINDOW_BITS == (linear + i->span - 1) >> WINDOW_BITS &&
	       (linear + i->span > v->to || v->to - v->from < ENOUGH * PAGE_SIZE);
	if (there || (want && !other && v->e->page && is_wanted_often(c->cells, page)))
		widen(c, i, page, 1 + crosses, there, v);
	return linear + i->span <= v->to;
}

/* Would a cell cover the plain check's access, though it crosses a page? */
static bool cell_would(struct soft_cpu *c, const struct plain_check *p, u64 linear)
{
	const struct soft_cell_info i = {
	        .form = CELL_ADDRESS, .mode = p->mode, .span = p->span, .write = p->write, .group = p->group};
	struct covered v;

	return find(c, &i, true, linear, &v);
}

/* The group of a plain check goes from one page into the next: its cell gets a seam's address. */
static bool crosses_seam(struct soft_cpu *c, const struct plain_check *p, u64 linear)
{
	u64 page = linear & ~(PAGE_SIZE - 1);
	struct soft_cell *cell = soft_cell(c, p->cell);
	const struct soft_tlb_entry *e;
	_Atomic u32 *words[2];
	u8 *first, *second;
	bool global;

	/* Stores with several vCPUs look at one page's word alone. */
	if (p->write && !c->base.config.board->mem->single_vcpu)
		return false;
	e = soft_mmu_walked(c, page, p->write, true, p->mode, &global);
	if (!e)
		return false;
	first = soft_tlb_host(e, page);
	words[0] = e->page;
	e = soft_mmu_walked(c, page + PAGE_SIZE, p->write, true, p->mode, &global);
	if (!e)
		return false;
	second = soft_tlb_host(e, page + PAGE_SIZE);
	words[1] = e->page;
	/* Stacks have few such places, data has many. */
	if (second != first + PAGE_SIZE)
		first = p->cell >= CELL_STACK ? seam_of(c->jit->seams, first, second, tick()) : NULL;
	if (!first || !soft_jit_may_return(c))
		return false;
	cell->addend = (u64)first - page;
	if (p->cell < CELL_STACK)
		return true;
	/* The stack's covers both pages. */
	seam_pin(c->jit->seams, p->mode, first);
	cell->tag = page;
	cell->page = words[0];
	c->cells->stack_second[p->mode] = words[1];
	for (unsigned i = 0; i < SOFT_STACK_SPANS; i++)
		c->jx.stack_limit[p->mode][i] = 2 * PAGE_SIZE + 1 - soft_stack_spans[i];
	return true;
}

static u64 load(const u8 *p)
{
	u64 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

/* What is read there, from one page into the next, is copied; what leads there is added to its address. */
static bool copy_across(struct soft_cpu *c, unsigned mode, unsigned span, bool group, u64 linear, u64 *addend)
{
	u64 page = linear & ~(PAGE_SIZE - 1), next = page + PAGE_SIZE;
	unsigned in_first = (unsigned)(next - linear), slot = SOFT_ACROSS;
	const struct soft_tlb_entry *e;
	const u8 *first, *second;
	u8 *to;
	bool global;

	e = soft_mmu_walked(c, linear, false, group, mode, &global);
	if (!e)
		return false;
	first = soft_tlb_host(e, linear);
	e = soft_mmu_walked(c, next, false, group, mode, &global);
	if (!e || !soft_jit_may_return(c))
		return false;
	second = soft_tlb_host(e, next);
	/* Of groups there may be several at a time. */
	if (group)
		slot = c->jx.across_next++ % SOFT_ACROSS;
	/* What is aligned stays so. */
	to = c->jx.across[slot] + linear % SOFT_ACROSS_SPAN;
	for (unsigned i = 0; i < span; i += 8) {
		unsigned here = in_first > i ? in_first - i : 0; /* bytes of the first page */
		u64 v;

		if (here >= 8)
			v = load(first + i);
		else if (!here)
			v = load(second + (i - in_first));
		else
			v = load(first + in_first - 8) >> (8 * (8 - here)) | load(second) << (8 * here);
		__builtin_memcpy(to + i, &v, sizeof(v));
	}
	*addend = (u64)to - linear;
	return true;
}

/* Where address spaces take turns a shared cell is filled at each turn. */
static bool misses_often(struct soft_cell_info *i)
{
	enum { OFTEN = 24 };

	begin_tick(i);
	i->score += i->score < OFTEN;
	return i->score == OFTEN;
}

/* The op that missed is to look into the TLB. */
static void unshare(struct soft_cpu *c, const struct plain_check *p)
{
	const struct jit_site *site = (const struct jit_site *)(u64)p->site;
	struct soft_block *b = (struct soft_block *)(u64)site->block;

	if (!c->vec_live)
		soft_block_ops(c, b);
	if (learn(site, site->op, OPF_TLB))
		jit_pages_retire(c->jit, b, p->entry_mode);
}

/* base: of the page of the code. */
static struct soft_cell_answer shared_miss(struct soft_cpu *c, const struct plain_check *p, u64 base)
{
	struct soft_cells *k = c->cells;
	struct soft_cell *cell = &k->cells[p->cell];
	u64 linear = base + (u64)p->disp, page = align_down(linear, PAGE_SIZE);
	bool global;
	const struct soft_tlb_entry *e = soft_mmu_walked(c, linear, p->write, false, p->mode, &global);

	if (!e || unlikely(!soft_jit_may_return(c))) {
		c->jx.site = p->site;
		return (struct soft_cell_answer){p->out ? p->out : c->jit->interpret_site, base};
	}
	if (cell_is_valid(cell))
		cell_unlink(k, p->cell);
	cell_validate(k, p->cell, page, 1, global);
	if (p->write)
		cell_note_written(k, p->cell);
	cell->page = e->page;
	cell->tag = base;
	cell->addend = (u64)soft_tlb_host(e, page);
	if (misses_often(&k->info[p->cell]))
		unshare(c, p);
	return (struct soft_cell_answer){p->again, base};
}

static struct soft_cell_answer plain_miss(struct soft_cpu *c, u64 record, u64 linear)
{
	enum { OFTEN = 16, RATE = 8, SEAM = 4 };
	const struct plain_check *p = (const struct plain_check *)record;
	u64 off = linear & (PAGE_SIZE - 1), addend;
	bool global;

	if (p->shared)
		return shared_miss(c, p, linear);
	if (off + p->span <= PAGE_SIZE && soft_mmu_walked(c, linear, p->write, p->group, p->mode, &global) &&
	    likely(soft_jit_may_return(c)))
		return (struct soft_cell_answer){p->again, linear};
	c->jx.site = p->site;
	if (p->group && off + p->span > PAGE_SIZE && (p->failures >= SEAM || c->jit->threshold == 1) &&
	    crosses_seam(c, p, linear))
		return (struct soft_cell_answer){p->seam, linear};
	if (p->copies && off + p->span > PAGE_SIZE &&
	    copy_across(c, p->mode, p->span, p->group, linear, &addend)) {
		if (p->group) {
			soft_cell(c, p->cell)->addend = addend;
			return (struct soft_cell_answer){p->seam, linear};
		}
		c->jx.addend = addend;
		c->jx.resume = p->seam;
		return (struct soft_cell_answer){c->jit->across, linear};
	}
	if (p->group) {
		struct plain_check *w = (struct plain_check *)(c->jit->write + (record - (u64)c->jit->run));
		const struct jit_site *site = (const struct jit_site *)(u64)p->site;
		const s32 *left = jit_counter(c->jit, (const struct soft_block *)(u64)site->block);

		/* Blocks that begin with it may be what others go on in because it fails there (jit.c). */
		if (++w->failures % OFTEN == 0 && left && w->failures * RATE > c->jit->uses - *left &&
		    (!site->op || !cell_would(c, p, linear)))
			ungroup(c, site, site->op, p->entry_mode);
	}
	return (struct soft_cell_answer){p->out ? p->out : c->jit->interpret_site, linear};
}

/* Counts the times that the cell might have done with more pages around the one it has. */
static void count_want(struct soft_cell_info *i, bool valid, u64 linear)
{
	bool crosses = (linear & (PAGE_SIZE - 1)) + i->span > PAGE_SIZE;

	if (i->wants < WANTS && (crosses || (valid && linear >> WINDOW_BITS == i->page >> WINDOW_BITS)))
		i->wants++;
}

/* It need not give up, as it is going to have a window: for a while. */
static bool is_excused(struct soft_cell_info *i, const struct covered *v)
{
	enum { EXCUSES = 2000 };

	if (!v->later || i->excuses == EXCUSES)
		return false;
	i->excuses++;
	return true;
}

struct soft_cell_answer soft_cell_refill(struct soft_cpu *c, u64 number, u64 t0)
{
	struct soft_cells *k = c->cells;
	u32 n = (u32)number;

	if (n >= k->size)
		return plain_miss(c, number, t0);

	struct soft_cell *cell = &k->cells[n];
	struct soft_cell_info *i = &k->info[n];
	u64 linear = t0, page;
	struct covered v;
	bool found;

	if (i->tlb)
		;
	else if (i->form == CELL_BASE)
		linear += cell->tag;
	else if (i->form == CELL_CONSTANT)
		linear += (u64)(s64)i->disp;
	page = linear & ~(PAGE_SIZE - 1);
	count_want(i, cell_is_valid(cell), linear);
	found = find(c, i, cell_is_valid(cell) || i->window, linear, &v);
	if (i->loop)
		k->cells[i->back].limit = 0;
	if (!found || unlikely(!soft_jit_may_return(c))) {
		if (i->loop) {
			/* Once more the same, as it does not move: not to be tried each time. */
			if (i->failed == linear)
				k->cells[i->back].addend = SKIPS;
			i->failed = linear;
			return (struct soft_cell_answer){soft_jit_may_return(c) ? i->out : i->start, linear};
		}
		if (i->copies && linear - page + i->span > PAGE_SIZE &&
		    copy_across(c, i->mode, i->span, i->group, linear, &c->jx.addend)) {
			if (i->group) {
				if (cell_is_valid(cell)) {
					cell_unlink(k, n);
					cell_invalidate(cell);
				}
				cell->addend = c->jx.addend;
			}
			c->jx.resume = i->back;
			return (struct soft_cell_answer){c->jit->across, linear};
		}
		c->jx.site = i->site;
		if (i->group && !i->alone && !is_excused(i, &v) && fails_often(i))
			ungroup(c, (struct jit_site *)(u64)i->site, i->first, i->entry_mode);
		return (struct soft_cell_answer){i->out ? i->out : c->jit->interpret_site, linear};
	}
	if (i->tlb)
		return (struct soft_cell_answer){i->patch, linear};
	if (cell_is_valid(cell)) {
		cell_unlink(k, n);
		if (i->form != CELL_CONSTANT && !is_excused(i, &v) && thrashes(k, i, page, linear - page)) {
			if (!i->loop) {
				cell_invalidate(cell);
				give_up(c, cell, i);
				return (struct soft_cell_answer){i->patch, linear};
			}
			k->cells[i->back].limit = LOOK_UPS;
		}
	}
	if (i->loop && v.to - v.from == PAGE_SIZE)
		k->cells[i->back].limit = max(k->cells[i->back].limit, (u64)SOME_LOOK_UPS);
	i->window = v.window;
	cell_validate(k, n, v.from, (unsigned)((v.to - v.from) / PAGE_SIZE), v.global);
	cell->page = v.window ? v.e->page : v.e->page - (page - v.from) / PAGE_SIZE;
	if (i->write && !v.window) /* widen() did it */
		cell_note_written(k, n);
	if (i->form == CELL_CONSTANT) {
		cell->tag = t0;
		cell->addend = v.addend + linear;
		return (struct soft_cell_answer){i->start, linear};
	}
	cell->tag = v.from;
	cell->addend = v.addend;
	cell->limit = v.to - v.from + 1 - i->span;
	return (struct soft_cell_answer){i->patch, linear};
}
