/*
 * Entries of the soft TLB (mmu.c) are made: from a record of a large page, or by a walk; and what flushes
 * have to know of them is noted.
 */
#include "cpu/soft/jit_cell.h"
#include "cpu/soft/mmu_tlb.h"
#include "cpu/soft/walk.h"

static void check_canonical(struct soft_cpu *c, u64 linear, unsigned seg)
{
	if (unlikely((u64)((s64)(linear << 16) >> 16) != linear) && soft_long_active(c))
		soft_raise_error(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

static void note_fragment(struct soft_mmu *m, u64 linear)
{
	u64 bit = mmu_large_bit(linear), region = linear >> 21;
	struct fragments *f = &m->fragments[bit];

	if (!mmu_bit_test(m->large, bit)) {
		mmu_bit_set(m->large, bit);
		f->region = region;
		f->count = 0;
	}
	if (f->region != region) {
		f->region = FRAGMENTS_SHARED;
		f->count = FRAGMENTS_MANY;
	} else if (f->count < ARRAY_SIZE(f->page)) {
		f->page[f->count++] = linear >> PAGE_SHIFT & 511;
	} else {
		f->count = FRAGMENTS_MANY;
	}
}

static void note_size(struct soft_mmu *m, u64 linear, const struct soft_walk *w)
{
	if (w->page_size == GiB)
		mmu_bit_set(m->huge, mmu_huge_bit(linear));
	else if (w->page_size > PAGE_SIZE)
		note_fragment(m, linear);
}

/* The entry that a slot of `written` names. */
static struct soft_tlb_entry *noted(struct soft_cpu *c, u16 slot)
{
	return &c->tlbs[(slot - 1u) / SOFT_TLB_ENTRIES][(slot - 1u) % SOFT_TLB_ENTRIES];
}

static bool has_write_entry(const struct soft_tlb_entry *e, u16 slot)
{
	return e->tag_write != soft_tlb_none((slot - 1u) % SOFT_TLB_ENTRIES);
}

/* This entry is a write entry to the page. */
static void note_written(struct soft_cpu *c, const _Atomic u32 *page, unsigned mode, unsigned index)
{
	u16 *slot = &c->mmu->written[mmu_written_slot(page)];
	u16 now = (u16)(1 + mode * SOFT_TLB_ENTRIES + index);

	if (*slot == 0 || *slot == now) {
		*slot = now;
	} else if (*slot != WRITTEN_MANY) {
		const struct soft_tlb_entry *e = noted(c, *slot);
		bool gone = !has_write_entry(e, *slot) || mmu_written_slot(e->page) != mmu_written_slot(page);

		*slot = gone ? now : WRITTEN_MANY;
	}
}

/* A write entry to the page may be made; notes that it is. */
static bool may_write_to(struct soft_cpu *c, const _Atomic u32 *page, unsigned mode, unsigned index)
{
	if (c->base.config.board->mem->single_vcpu &&
	    (atomic_load_explicit(page, memory_order_relaxed) & PHYSMEM_PAGE_CODE))
		return false;
	note_written(c, page, mode, index);
	return true;
}

void soft_mmu_code_marked(struct soft_cpu *c, const _Atomic u32 *page)
{
	struct soft_mmu *m = c->mmu;
	u16 *slot = &m->written[mmu_written_slot(page)];

	soft_cells_drop_writes(c, page);
	if (*slot != WRITTEN_MANY) {
		struct soft_tlb_entry *e = *slot ? noted(c, *slot) : NULL;

		if (e && e->page == page) {
			e->tag_write = soft_tlb_none((*slot - 1u) % SOFT_TLB_ENTRIES);
			*slot = 0;
		}
		return;
	}
	/* While all entries are looked at, the map becomes exact. */
	mmu_zero(m->written, sizeof(m->written));
	for (unsigned k = 0; k < SOFT_TLB_MODES; k++)
		for (unsigned i = 0; i < SOFT_TLB_ENTRIES; i++) {
			struct soft_tlb_entry *e = &c->tlbs[k][i];

			if (e->tag_write == soft_tlb_none(i))
				continue;
			if (e->page == page)
				e->tag_write = soft_tlb_none(i);
			else
				note_written(c, e->page, k, i);
		}
}

static void note_large(struct soft_cpu *c, u64 linear, unsigned mode, const struct soft_walk *w,
                       const struct physmem_slot *slot)
{
	u64 gpa = w->gpa & ~(LARGE_SIZE - 1);

	if (w->page_size < LARGE_SIZE || gpa < slot->gpa || gpa + LARGE_SIZE > slot->gpa + slot->size)
		return;
	*mmu_large_entry(c->mmu, mode, linear) = (struct large){
	        .region = (linear & ~(LARGE_SIZE - 1)) | (w->global ? 0 : c->tlb_tag),
	        .host = slot->hva + (gpa - slot->gpa),
	        .page = physmem_page(c->base.config.board->mem, slot, gpa),
	        .write = w->write && !slot->readonly,
	};
}

/* The entry of a page that is memory. */
static void enter(struct soft_cpu *c, u64 linear, unsigned mode, const struct place *p, bool write,
                  bool global)
{
	struct soft_mmu *m = c->mmu;
	unsigned index = linear >> PAGE_SHIFT & (SOFT_TLB_ENTRIES - 1);
	struct soft_tlb_entry *e = &c->tlbs[mode][index];
	u64 tag = (linear & PAGE_MASK) + c->tlb_key;

	e->tag_read = tag;
	e->tag_write = write && may_write_to(c, p->page, mode, index) ? tag : soft_tlb_none(index);
	e->addend = (u64)p->host - linear;
	e->host = p->host - (linear & ~PAGE_MASK);
	e->page = p->page;
	if (global)
		mmu_bit_set(m->global[mode], index);
	else
		m->global[mode][index / 64] &= ~BIT(index % 64);
}

static bool fill_large(struct soft_cpu *c, u64 linear, bool write, unsigned mode, struct place *p)
{
	const struct large *l = mmu_large_entry(c->mmu, mode, linear);
	u64 region = linear & ~(LARGE_SIZE - 1), offset = linear & (LARGE_SIZE - 1);

	if ((l->region != region && l->region != (region | c->tlb_tag)) || (write && !l->write))
		return false;
	p->host = l->host + offset;
	p->page = l->page + (offset >> PAGE_SHIFT);
	if (likely(!c->rehearsing)) {
		enter(c, linear, mode, p, l->write, l->region == region);
		note_fragment(c->mmu, linear);
	}
	return true;
}

static bool fill_second(struct soft_cpu *c, u64 linear, bool write, unsigned mode, struct place *p)
{
	const struct second *s = mmu_second(c->mmu, mode, linear);
	u64 page = linear & PAGE_MASK;

	if ((s->page != (page | c->tlb_tag) && s->page != page) || s->mode != mode || (write && !s->write))
		return false;
	p->host = s->host + (linear - page);
	p->page = s->word;
	if (likely(!c->rehearsing))
		enter(c, linear, mode, p, s->write, s->page == page);
	return true;
}

/* False: a page fault. */
static bool walk(struct soft_cpu *c, u64 linear, bool write, unsigned mode, struct place *p, u32 *error)
{
	const struct physmem *pm = c->base.config.board->mem;
	struct soft_walk w;

	if (!soft_walk(c, linear, write ? SOFT_WRITE : SOFT_READ, mode, c->mmu->pdptes, &w, error))
		return false;

	const struct physmem_slot *slot = physmem_find(pm, w.gpa);
	p->gpa = w.gpa;
	if (!slot || (write && slot->readonly)) {
		p->host = NULL;
		return true;
	}
	p->host = slot->hva + (w.gpa - slot->gpa);
	p->page = physmem_page(pm, slot, w.gpa);
	if (unlikely(c->rehearsing))
		return true;
	enter(c, linear, mode, p, w.write && !slot->readonly, w.global);
	note_size(c->mmu, linear, &w);
	note_large(c, linear, mode, &w, slot);
	if (w.page_size == PAGE_SIZE)
		*mmu_second(c->mmu, mode, linear) = (struct second){
		        .page = (linear & PAGE_MASK) | (w.global ? 0 : c->tlb_tag),
		        .host = p->host - (linear & ~PAGE_MASK),
		        .word = p->page,
		        .write = w.write && !slot->readonly,
		        .mode = (u8)mode,
		};
	return true;
}

void mmu_fill(struct soft_cpu *c, u64 linear, bool write, unsigned mode, unsigned seg, struct place *p)
{
	u32 error;

	if (fill_large(c, linear, write, mode, p) || fill_second(c, linear, write, mode, p))
		return;
	check_canonical(c, linear, seg);
	if (!walk(c, linear, write, mode, p, &error))
		soft_raise_pf(c, linear, error);
}

const struct soft_tlb_entry *soft_mmu_walked(struct soft_cpu *c, u64 linear, bool write, bool maybe,
                                             unsigned mode, bool *global)
{
	const struct soft_tlb_entry *e = soft_mmu_cached(c, linear, write, mode, global);
	struct place p;
	u32 error;

	if (likely(e != NULL))
		return e;
	if ((u64)((s64)(linear << 16) >> 16) != linear)
		return NULL;
	e = write ? soft_mmu_cached(c, linear, false, mode, global) : NULL;
	if (e && atomic_load_explicit(e->page, memory_order_relaxed) & PHYSMEM_PAGE_CODE)
		return NULL;
	if (!fill_large(c, linear, write, mode, &p) && !fill_second(c, linear, write, mode, &p) &&
	    !walk(c, linear, write && !maybe, mode, &p, &error))
		return NULL;
	return soft_mmu_cached(c, linear, write, mode, global);
}

/* Does the page `by` pages on go on with the run? */
static bool continues(struct soft_cpu *c, u64 page, s64 by, bool write, unsigned mode,
                      const struct soft_tlb_entry *e, bool global)
{
	const struct soft_tlb_entry *other;
	bool is_global;

	other = soft_mmu_cached(c, page + (u64)by * PAGE_SIZE, write, mode, &is_global);
	return other && other->addend == e->addend && other->page == e->page + by && is_global == global;
}

static bool has_mark(const _Atomic u32 *page)
{
	return atomic_load_explicit(page, memory_order_relaxed) & PHYSMEM_PAGE_CODE;
}

void soft_mmu_run(struct soft_cpu *c, u64 linear, bool write, unsigned mode, const struct soft_tlb_entry *e,
                  bool *global, u64 *from, u64 *to)
{
	/* So many pages around it at most: of small ones; of stores, which may not go to marked ones. */
	enum { NEIGHBOURS = 16, MARKS = 128 };
	u64 page = linear & PAGE_MASK, region = linear & ~(LARGE_SIZE - 1), start, end;
	const struct large *l = mmu_large_entry(c->mmu, mode, linear);

	*from = page;
	*to = page + PAGE_SIZE;
	if (write && !c->base.config.board->mem->single_vcpu)
		return;
	if ((l->region != region && l->region != (region | c->tlb_tag)) || (write && !l->write) ||
	    (u64)l->host - region != e->addend) {
		for (s64 by = 1; by <= NEIGHBOURS && *to != region + LARGE_SIZE &&
		                 continues(c, page, by, write, mode, e, *global);
		     by++)
			*to += PAGE_SIZE;
		for (s64 by = 1;
		     by <= NEIGHBOURS && *from != region && continues(c, page, -by, write, mode, e, *global);
		     by++)
			*from -= PAGE_SIZE;
		return;
	}
	*global &= l->region == region;
	start = write ? align_down(page, MARKS * PAGE_SIZE) : region;
	end = write ? start + MARKS * PAGE_SIZE : region + LARGE_SIZE;
	if (!write) {
		*from = start;
		*to = end;
		return;
	}
	while (*to != end && !has_mark(l->page + (*to - region) / PAGE_SIZE))
		*to += PAGE_SIZE;
	while (*from != start && !has_mark(l->page + (*from - region) / PAGE_SIZE - 1))
		*from -= PAGE_SIZE;
}

const struct soft_tlb_entry *soft_mmu_cached(struct soft_cpu *c, u64 linear, bool write, unsigned mode,
                                             bool *global)
{
	unsigned index = linear >> PAGE_SHIFT & (SOFT_TLB_ENTRIES - 1);
	struct soft_tlb_entry *e = &c->tlbs[mode][index];

	if (!mmu_is_current(c, e, write ? e->tag_write : e->tag_read, linear & PAGE_MASK, mode))
		return NULL;
	*global = mmu_bit_test(c->mmu->global[mode], index);
	return e;
}

const struct soft_itlb_entry *soft_mmu_exec(struct soft_cpu *c, u64 linear)
{
	bool user = c->cpl == 3;
	struct soft_itlb_entry *e = &c->itlb[user][linear >> PAGE_SHIFT & (SOFT_ITLB_ENTRIES - 1)];
	u64 page = linear & PAGE_MASK;
	const struct physmem *pm = c->base.config.board->mem;
	const struct physmem_slot *slot;
	struct soft_walk w;
	u32 error;

	if (likely(e->tag == (page | c->tlb_tag) || e->tag == page))
		return e;
	check_canonical(c, linear, SEG_CS);
	if (!soft_walk(c, linear, SOFT_EXEC, user ? SOFT_TLB_USER : SOFT_TLB_SUPER, c->mmu->pdptes, &w,
	               &error))
		soft_raise_pf(c, linear, error);
	slot = physmem_find(pm, w.gpa);
	e->tag = page | (w.global ? 0 : c->tlb_tag);
	e->gpa = w.gpa & PAGE_MASK;
	e->hva = slot ? slot->hva + (e->gpa - slot->gpa) : NULL;
	e->page = slot ? physmem_page(pm, slot, e->gpa) : NULL;
	note_size(c->mmu, linear, &w);
	return e;
}
