#include "cpu/soft/jit_cell.h"
#include "cpu/soft/block.h"
#include "cpu/soft/jit_emit.h"
#include "cpu/soft/jit_map.h"
#include "cpu/soft/jit_seam.h"
#include "cpu/soft/jit_window.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
	HEADS = 1024,
	RUN_HEADS = 64,
	REGION = 21,
	FILTER = 1 << 14,
	STUB = 256,
	LOOK_UPS = 64,
	SOME_LOOK_UPS = 8,
	WANTS = 4,
	WANTS_OF_PAGE = 8,
	SHARED = 1 << 14,
	SKIPS = 30
};
/* Not canonical: no base of anything. */
#define NO_TAG (1ULL << 63)

/* Cells that were filled since the list was last cleared, and the valid ones by page. */
struct list {
	u32 epoch, count;
	u32 *items;
	u32 heads[HEADS];
	u32 runs[RUN_HEADS]; /* of those that cover several pages, by region of 2 MiB */
};

const u16 soft_stack_spans[SOFT_STACK_SPANS] = {8, 24, 56, 120, 512};

struct soft_cells {
	struct soft_cell *cells; /* below 2 GiB */
	struct soft_cell_info *info;
	u32 used, size;
	struct list lists[2]; /* not global, global */
	_Atomic u32
	        *stack_second[SOFT_TLB_MODES]; /* the word of the stack cell's second page, if it has one */
	u64 written[FILTER / 64]; /* by hash: pages that valid cells may write to; never too few */
	struct windows *windows;  /* NULL: none */
	struct shared {
		u32 code; /* page */
		s32 pages;
		u32 cell; /* 0: none */
	} * shared;       /* SHARED of them */
	bool shares;      /* some are in use */
	u8 patience;      /* how often a cell wants one until it is asked for, */
	u8 often;         /* and its page, within a tick: */
	struct {
		u64 page;
		u32 tick;
		u8 count;
	} wanted[256];
};

/* ---- life ---- */

bool soft_cells_init(struct soft_cpu *c)
{
	struct soft_cells *k = calloc(1, sizeof(*k));

	if (!k)
		return false;
	k->size = c->base.config.count > 16 ? 1 << 15 : 1 << 18;
	k->cells = soft_map(&c->base.config, k->size * sizeof(*k->cells), PROT_READ | PROT_WRITE, -1);
	k->info = calloc(k->size, sizeof(*k->info));
	for (unsigned i = 0; i < 2; i++)
		k->lists[i].items = calloc(k->size, sizeof(u32));
	k->shared = calloc(SHARED, sizeof(*k->shared));
	c->cells = k;
	if (k->cells == MAP_FAILED || !k->info || !k->shared || !k->lists[0].items || !k->lists[1].items ||
	    (u64)(k->cells + k->size) >> 31) {
		soft_cells_release(c);
		return false;
	}
	k->windows = windows_new(c->base.config.count);
	k->patience = c->jit->threshold == 1 ? 1 : WANTS;
	k->often = c->jit->threshold == 1 ? 1 : WANTS_OF_PAGE;
	soft_cells_reset(c);
	return true;
}

void soft_cells_release(struct soft_cpu *c)
{
	struct soft_cells *k = c->cells;

	if (!k)
		return;
	if (k->cells != MAP_FAILED)
		munmap(k->cells, k->size * sizeof(*k->cells));
	free(k->info);
	free(k->shared);
	free(k->lists[0].items);
	free(k->lists[1].items);
	windows_free(k->windows);
	free(k);
	c->cells = NULL;
}

void soft_cells_reset(struct soft_cpu *c)
{
	if (!c->cells)
		return;
	soft_cells_drop_all(c);
	c->cells->used = CELL_FIRST;
	for (u32 i = 0; c->cells->shares && i < SHARED; i++)
		((volatile struct shared *)c->cells->shared)[i].cell = 0;
	c->cells->shares = false;
}

u32 soft_cell_new(struct soft_cpu *c)
{
	struct soft_cells *k = c->cells;
	u32 n = k->used;

	if (n == k->size)
		return 0;
	k->used++;
	k->cells[n] = (struct soft_cell){.tag = NO_TAG};
	k->info[n] = (struct soft_cell_info){0};
	return n;
}

u32 soft_cell_shared(struct soft_cpu *c, u64 code, s32 pages, unsigned mode, bool write)
{
	enum { PER_PAGE = 8, WAYS = 16 };
	struct soft_cells *k = c->cells;
	u32 page = (u32)(code >> PAGE_SHIFT), first = page * PER_PAGE + (u32)pages % PER_PAGE;

	for (unsigned i = 0; i < WAYS; i++) {
		struct shared *s = &k->shared[(first + i) % SHARED];
		struct soft_cell_info *info;

		if (s->cell) {
			info = &k->info[s->cell];
			if (s->code == page && s->pages == pages && info->mode == mode &&
			    info->write == write)
				return s->cell;
			continue;
		}
		s->cell = soft_cell_new(c);
		if (!s->cell)
			return 0;
		info = &k->info[s->cell];
		info->form = CELL_CONSTANT;
		info->mode = (u8)mode;
		info->write = write;
		s->code = page;
		s->pages = pages;
		k->shares = true;
		return s->cell;
	}
	return 0;
}

struct soft_cell *soft_cell(struct soft_cpu *c, u32 number)
{
	return &c->cells->cells[number];
}
struct soft_cell_info *soft_cell_info(struct soft_cpu *c, u32 number)
{
	return &c->cells->info[number];
}

/* ---- lists ---- */

static u32 head_of(u64 page)
{
	return (page >> PAGE_SHIFT ^ page >> 22) % HEADS;
}

static u32 *list_of(struct list *l, const struct soft_cell_info *i)
{
	return i->pages > 1 ? &l->runs[(i->page >> REGION) % RUN_HEADS] : &l->heads[head_of(i->page)];
}

static u32 filter_of(const _Atomic u32 *page)
{
	return ((u64)page / sizeof(*page)) % FILTER;
}

static void invalidate(struct soft_cell *cell)
{
	cell->limit = 0;
	cell->tag = NO_TAG;
}

static void unlink_cell(struct soft_cells *k, u32 n)
{
	struct soft_cell_info *i = &k->info[n];

	if (i->prev)
		k->info[i->prev].next = i->next;
	else
		*list_of(&k->lists[i->global], i) = i->next;
	if (i->next)
		k->info[i->next].prev = i->prev;
}

static bool is_valid(const struct soft_cell *cell)
{
	return cell->tag != NO_TAG;
}

static void validate(struct soft_cells *k, u32 n, u64 page, unsigned pages, bool global)
{
	struct soft_cell_info *i = &k->info[n];
	struct list *l = &k->lists[global];
	u32 *head;

	i->page = page;
	i->pages = (u16)pages;
	i->global = global;
	i->prev = 0;
	head = list_of(l, i);
	i->next = *head;
	if (i->next)
		k->info[i->next].prev = n;
	*head = n;
	if (i->listed[global] != l->epoch) {
		i->listed[global] = l->epoch;
		l->items[l->count++] = n;
	}
}

static void clear(struct soft_cells *k, bool global)
{
	struct list *l = &k->lists[global];

	bool few = l->count < HEADS / 8;

	for (u32 i = 0; i < l->count; i++) {
		u32 n = l->items[i];

		if (k->info[n].global == global)
			invalidate(&k->cells[n]);
		if (few) /* all heads that lead somewhere */
			*list_of(l, &k->info[n]) = 0;
	}
	l->count = 0;
	if (++l->epoch == 0) {
		for (u32 i = 0; i < k->size; i++)
			((volatile struct soft_cell_info *)k->info)[i].listed[global] = 0;
		l->epoch = 1;
	}
	for (u32 i = 0; !few && i < HEADS; i++)
		((volatile u32 *)l->heads)[i] = 0;
	for (u32 i = 0; !few && i < RUN_HEADS; i++)
		((volatile u32 *)l->runs)[i] = 0;
}

static void drop_stack(struct soft_cpu *c, unsigned mode)
{
	c->cells->cells[CELL_STACK + mode].tag = NO_TAG;
	c->cells->stack_second[mode] = NULL;
	for (unsigned i = 0; i < SOFT_STACK_SPANS; i++)
		c->jx.stack_limit[mode][i] = 0;
}

void soft_cells_drop_space(struct soft_cpu *c)
{
	c->jx.flushes++;
	if (!c->cells)
		return;
	clear(c->cells, false);
	windows_release(c->cells->windows);
	for (unsigned i = 0; i < SOFT_TLB_MODES; i++)
		drop_stack(c, i);
}

void soft_cells_drop_all(struct soft_cpu *c)
{
	soft_cells_drop_space(c);
	if (!c->cells)
		return;
	clear(c->cells, true);
	for (u32 i = 0; i < FILTER / 64; i++)
		((volatile u64 *)c->cells->written)[i] = 0;
}

/* Cells that cover the page, and runs near it. */
static void forget_page(struct soft_cells *k, u64 page, bool global)
{
	struct list *l = &k->lists[global];
	u32 next;

	for (u32 n = l->heads[head_of(page)]; n; n = next) {
		next = k->info[n].next;
		if (k->info[n].page != page)
			continue;
		unlink_cell(k, n);
		invalidate(&k->cells[n]);
	}
	for (u32 n = l->runs[(page >> REGION) % RUN_HEADS]; n; n = next) {
		next = k->info[n].next;
		if (k->info[n].page >> REGION != page >> REGION)
			continue;
		unlink_cell(k, n);
		invalidate(&k->cells[n]);
	}
}

void soft_cells_drop_page(struct soft_cpu *c, u64 linear)
{
	struct soft_cells *k = c->cells;
	u64 page = align_down(linear, PAGE_SIZE);

	c->jx.flushes++;
	if (!k)
		return;
	for (unsigned i = 0; i < SOFT_TLB_MODES; i++)
		if (page - k->cells[CELL_STACK + i].tag <= PAGE_SIZE)
			drop_stack(c, i);
	windows_look_again(k->windows);
	for (unsigned global = 0; global < 2; global++)
		forget_page(k, page, global);
}

/* The word of the cell's page number i. */
static const _Atomic u32 *word_of(const struct soft_cells *k, u32 n, u32 i)
{
	const struct soft_cell_info *info = &k->info[n];

	return info->window ? window_word(k->windows, info->window - 1, info->page + i * PAGE_SIZE)
	                    : k->cells[n].page + i;
}

static bool covers(const struct soft_cells *k, u32 n, const _Atomic u32 *page)
{
	const _Atomic u32 *first = k->cells[n].page;

	if (!k->info[n].window)
		return page >= first && page < first + k->info[n].pages;
	for (u32 i = 0; i < k->info[n].pages; i++)
		if (word_of(k, n, i) == page)
			return true;
	return false;
}

static void note_word(struct soft_cells *k, const _Atomic u32 *word)
{
	u32 bit = filter_of(word);

	k->written[bit / 64] |= BIT(bit % 64);
}

/* The cell may write to its pages. */
static void note_written(struct soft_cells *k, u32 n)
{
	const struct soft_cell_info *info = &k->info[n];
	u32 bit = filter_of(k->cells[n].page);

	for (u32 i = 0; info->window && i < info->pages; i++)
		note_word(k, word_of(k, n, i));
	/* The words of a run follow each other. */
	for (u32 left = info->window ? 0 : info->pages, some; left; left -= some) {
		some = min(left, 64 - bit % 64);
		k->written[bit / 64] |= MASK(some) << (bit % 64);
		bit = (bit + some) % FILTER;
	}
}

void soft_cells_drop_writes(struct soft_cpu *c, const _Atomic u32 *page)
{
	struct soft_cells *k = c->cells;
	u32 bit = filter_of(page);

	c->jx.flushes++; /* plain code has no cells, but what it found */
	for (unsigned i = 0; k && i < SOFT_TLB_MODES; i++)
		if (k->cells[CELL_STACK + i].page == page || k->stack_second[i] == page)
			drop_stack(c, i);
	if (!k || !(k->written[bit / 64] >> (bit % 64) & 1))
		return;
	windows_look_again(k->windows);
	for (u32 i = 0; i < FILTER / 64; i++)
		((volatile u64 *)k->written)[i] = 0;
	for (unsigned global = 0; global < 2; global++) {
		struct list *l = &k->lists[global];

		for (u32 i = 0; i < l->count; i++) {
			u32 n = l->items[i];
			struct soft_cell *cell = &k->cells[n];

			if (!is_valid(cell) || !k->info[n].write)
				continue;
			if (covers(k, n, page)) {
				unlink_cell(k, n);
				invalidate(cell);
			} else {
				note_written(k, n);
			}
		}
	}
}

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

void soft_cells_settle(struct soft_cpu *c)
{
	if (windows_full(c->cells->windows))
		soft_cells_drop_space(c);
}

/* The cell is to change from another page. Those who do that often within a short time give up, or, in a
 * loop's preparation, are not filled each time; but walking through memory by small steps, or by the same few
 * pages, is no reason. */
static bool thrashes(struct soft_cell_info *i, u64 page, u64 off)
{
	enum { OFTEN = 250, STRIDE = 256 };
	s64 step = (s64)(page - i->page) / (s64)PAGE_SIZE;
	bool near = step > 0 ? off < STRIDE : off + i->span > PAGE_SIZE - STRIDE;
	bool few = step == (s8)step, walks = near && few && (step == i->step || step == i->pages);
	u32 now;

	i->step = few ? (s8)step : 0;
	if (walks)
		return false;
	now = tick();
	if (i->tick != now) {
		i->tick = now;
		i->score = 0;
	}
	i->score += i->score < OFTEN;
	return i->score == OFTEN;
}

/* Likewise for a group's check that fails for good reason. A microsecond each time is less than what the members'
 * own checks would take from then on. */
static bool fails_often(struct soft_cell_info *i)
{
	enum { OFTEN = 200 };
	u32 now = tick();

	if (i->tick != now) {
		i->tick = now;
		i->score = 0;
	}
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
			note_word(k, window_word(k->windows, view.number, at));
		for (u64 at = view.from; view.made && at != view.to; at += PAGE_SIZE)
			forget_page(k, at, false);
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
	u32 now = tick();

	if (i->tick != now) {
		i->tick = now;
		i->score = 0;
	}
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
	if (is_valid(cell))
		unlink_cell(k, p->cell);
	validate(k, p->cell, page, 1, global);
	if (p->write)
		note_written(k, p->cell);
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
	count_want(i, is_valid(cell), linear);
	found = find(c, i, is_valid(cell) || i->window, linear, &v);
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
				if (is_valid(cell)) {
					unlink_cell(k, n);
					invalidate(cell);
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
	if (is_valid(cell)) {
		unlink_cell(k, n);
		if (i->form != CELL_CONSTANT && !is_excused(i, &v) && thrashes(i, page, linear - page)) {
			if (!i->loop) {
				invalidate(cell);
				give_up(c, cell, i);
				return (struct soft_cell_answer){i->patch, linear};
			}
			k->cells[i->back].limit = LOOK_UPS;
		}
	}
	if (i->loop && v.to - v.from == PAGE_SIZE)
		k->cells[i->back].limit = max(k->cells[i->back].limit, (u64)SOME_LOOK_UPS);
	i->window = v.window;
	validate(k, n, v.from, (unsigned)((v.to - v.from) / PAGE_SIZE), v.global);
	cell->page = v.window ? v.e->page : v.e->page - (page - v.from) / PAGE_SIZE;
	if (i->write && !v.window) /* widen() did it */
		note_written(k, n);
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
