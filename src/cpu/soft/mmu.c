/*
 * The soft TLB.
 *
 * Tags. Each address space (PCID, or each load of CR3 without PCIDs) has a 12-bit tag, which is part of what
 * a hit compares: a CR3 load or a flush of a PCID hands out a new tag and writes no entry. Tag 0 is for
 * global pages in the ITLB and invalid data entries. When the tags run out, everything is
 * wiped and they start anew.
 *
 * Global pages. Data entries of global pages are marked in a bitmap; one that is found with an old tag gets
 * the current one ("retag") instead of a walk. A flush of everything clears the bitmaps.
 *
 * Large pages are cached as 4 KiB fragments. Behind that, a record of each region of 2 MiB that lies in one
 * large page and in memory gives fragments without a walk (struct large). The regions of 2 MiB that hold such
 * fragments are recorded, with the fragments while they are few: INVLPG in one of them drops these entries,
 * or all of the region's; pages of 1 GiB likewise, by a full flush.
 *
 * Small pages that walks found are remembered apart, by another index (struct second): where two pages that
 * take turns have the same index in the TLB, their entries come from there.
 *
 * Privilege. There is one TLB for user accesses, one for supervisor accesses that SMAP keeps off user pages,
 * one for those that may touch them. tlb_slow never hits: every access then takes the slow path, where
 * alignment checks and data breakpoints are done.
 */
#include "cpu/soft/block.h"
#include "cpu/soft/jit.h"
#include "cpu/soft/jit_cell.h"
#include "cpu/soft/mmu_tlb.h"
#include "cpu/soft/walk.h"

#include <stdlib.h>

int soft_mmu_init(struct soft_cpu *c, struct error *e)
{
	c->mmu = calloc(1, sizeof(*c->mmu));
	if (!c->mmu)
		return error_set(e, 0, "no memory for a vCPU's TLB");
	c->tlb = c->tlb_slow;
	c->mmu->signature = ~0ULL;
	return 0;
}

void soft_mmu_release(struct soft_cpu *c)
{
	free(c->mmu);
	c->mmu = NULL;
}

/* ---- flushes ---- */

static void forget_tags(struct soft_mmu *m)
{
	m->pcid_tag[0] = 0;
	if (!m->pcids)
		return;
	m->pcids = false;
	for (unsigned i = 0; i < ARRAY_SIZE(m->pcid_tag); i++)
		((volatile u16 *)m->pcid_tag)[i] = 0;
}

static void forget_globals(struct soft_cpu *c)
{
	struct soft_mmu *m = c->mmu;

	mmu_zero(m->global, sizeof(m->global));
	mmu_zero(m->large, sizeof(m->large));
	mmu_zero(m->huge, sizeof(m->huge));
	soft_cells_drop_all(c);
	for (unsigned k = 0; k < SOFT_TLB_MODES; k++)
		for (unsigned i = 0; i < LARGE_ENTRIES; i++)
			m->larges[k][i].region = LARGE_NONE;
	for (unsigned i = 0; i < SECOND_ENTRIES; i++)
		m->seconds[i].page = SECOND_NONE;
	for (unsigned k = 0; k < 2; k++)
		for (unsigned i = 0; i < SOFT_ITLB_ENTRIES; i++)
			c->itlb[k][i].tag = ITLB_NONE;
	soft_cache_remapped(c);
}

static void wipe(struct soft_cpu *c)
{
	for (unsigned k = 0; k < SOFT_TLB_MODES; k++)
		for (unsigned i = 0; i < SOFT_TLB_ENTRIES; i++)
			c->tlbs[k][i].tag_read = c->tlbs[k][i].tag_write = soft_tlb_none(i);
	mmu_zero(c->mmu->written, sizeof(c->mmu->written));
	forget_tags(c->mmu);
	c->mmu->next_tag = 1;
	forget_globals(c);
}

static unsigned current_pcid(const struct soft_cpu *c)
{
	return c->cr4 & CR4_PCIDE ? c->cr3 & 0xfff : 0;
}

/* Gives the current PCID a tag, if it has none. */
static void choose_tag(struct soft_cpu *c)
{
	struct soft_mmu *m = c->mmu;
	u16 *tag = &m->pcid_tag[current_pcid(c)];

	if (!*tag) {
		if (m->next_tag == 0 || m->next_tag == TAG_LIMIT)
			wipe(c);
		*tag = (u16)m->next_tag++;
		m->pcids |= tag != m->pcid_tag;
	}
	if (unlikely(c->jx.own_pages) && c->tlb_tag != *tag) {
		c->jx.own_pages = false;
		soft_cache_remapped(c);
	}
	if (c->tlb_tag != *tag)
		soft_cells_drop_space(c);
	c->tlb_tag = *tag;
	c->tlb_key = c->tlb_tag << PAGE_SHIFT;
	soft_jit_space(c);
}

static void forget_pcids(struct soft_cpu *c)
{
	forget_tags(c->mmu);
	choose_tag(c);
}

void soft_mmu_flush_all(struct soft_cpu *c)
{
	forget_globals(c);
	forget_pcids(c);
}

static void drop_entry(struct soft_cpu *c, u64 linear)
{
	u64 page = linear & PAGE_MASK;

	for (unsigned m = 0; m < SOFT_TLB_MODES; m++) {
		unsigned i = linear >> PAGE_SHIFT & (SOFT_TLB_ENTRIES - 1);
		struct soft_tlb_entry *e = &c->tlbs[m][i];

		if (mmu_tag_is_page(e->tag_read, page) || mmu_tag_is_page(e->tag_write, page))
			e->tag_read = e->tag_write = soft_tlb_none(i);
		if ((mmu_second(c->mmu, m, linear)->page & PAGE_MASK) == page)
			mmu_second(c->mmu, m, linear)->page = SECOND_NONE;
	}
	for (unsigned m = 0; m < 2; m++) {
		struct soft_itlb_entry *e = &c->itlb[m][linear >> PAGE_SHIFT & (SOFT_ITLB_ENTRIES - 1)];

		if ((e->tag & PAGE_MASK) == page)
			e->tag = ITLB_NONE;
	}
}

static void drop_page(struct soft_cpu *c, u64 linear)
{
	drop_entry(c, linear);
	soft_cells_drop_page(c, linear);
	soft_cache_invlpg(c, linear);
}

/* Drops what may be a fragment of a large page in this region of 2 MiB. */
static void drop_fragments(struct soft_cpu *c, u64 start)
{
	struct soft_mmu *m = c->mmu;

	for (unsigned k = 0; k < SOFT_TLB_MODES; k++) {
		struct large *l = mmu_large_entry(m, k, start);

		if ((l->region & ~(LARGE_SIZE - 1)) == start)
			l->region = LARGE_NONE;
	}

	u64 bit = mmu_large_bit(start);
	struct fragments *f = &m->fragments[bit];

	if (!mmu_bit_test(m->large, bit) || (f->region != start >> 21 && f->region != FRAGMENTS_SHARED))
		return;
	if (f->count == FRAGMENTS_MANY) {
		for (u64 p = start; p != start + 2 * MiB; p += PAGE_SIZE)
			drop_entry(c, p);
		soft_cells_drop_all(c);
		soft_cache_remapped(c);
	} else {
		for (unsigned i = 0; i < f->count; i++)
			drop_page(c, start + f->page[i] * PAGE_SIZE);
	}
	if (f->region != FRAGMENTS_SHARED)
		m->large[bit / 64] &= ~BIT(bit % 64);
}

void soft_mmu_invlpg(struct soft_cpu *c, u64 linear)
{
	if (mmu_bit_test(c->mmu->huge, mmu_huge_bit(linear))) {
		soft_mmu_flush_all(c);
		return;
	}
	drop_page(c, linear);
	drop_fragments(c, linear & ~(2 * MiB - 1));
	/* A page of 32-bit paging may have 4 MiB. */
	if (!soft_long_active(c) && !(c->cr4 & CR4_PAE))
		drop_fragments(c, (linear & ~(2 * MiB - 1)) ^ 2 * MiB);
}

void soft_mmu_load_cr3(struct soft_cpu *c, u64 cr3, bool no_flush)
{
	c->cr3 = cr3;
	if (!no_flush)
		c->mmu->pcid_tag[current_pcid(c)] = 0;
	choose_tag(c);
}

bool soft_mmu_load_pdptes(struct soft_cpu *c, u64 cr3)
{
	return soft_walk_pdptes(c, cr3, c->mmu->pdptes);
}

void soft_mmu_invpcid(struct soft_cpu *c, unsigned type, u16 pcid, u64 linear)
{
	switch (type) {
	case 0:
		soft_mmu_invlpg(c, linear);
		break;
	case 1:
		c->mmu->pcid_tag[pcid] = 0;
		choose_tag(c);
		break;
	case 2:
		soft_mmu_flush_all(c);
		break;
	default:
		forget_pcids(c);
		break;
	}
}

/* Few guests want it, and it is large: so not before. */
static void need_slow(struct soft_cpu *c)
{
	if (c->mmu->slow_ready)
		return;
	for (unsigned i = 0; i < SOFT_TLB_ENTRIES; i++)
		c->tlb_slow[i].tag_read = c->tlb_slow[i].tag_write = soft_tlb_none(i);
	c->mmu->slow_ready = true;
}

void soft_mmu_update(struct soft_cpu *c)
{
	struct soft_mmu *m = c->mmu;
	u64 signature = (c->cr0 & (CR0_PG | CR0_WP)) |
	                (c->cr4 & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)) << 32 |
	                (c->efer & (EFER_LMA | EFER_NXE));

	if (unlikely(signature != m->signature)) {
		m->signature = signature;
		soft_mmu_flush_all(c);
	}
	bool ac = c->rflags & FLAG_AC;
	m->align = c->cpl == 3 && ac && (c->cr0 & CR0_AM);
	m->breakpoints = false;
	if (unlikely(c->dr7 & 0xff))
		for (unsigned i = 0; i < 4; i++) /* enabled, and for data writes (1) or accesses (3) */
			m->breakpoints |= (c->dr7 >> (2 * i) & 3) && (c->dr7 >> (16 + 4 * i) & 1);
	m->slow = m->align || m->breakpoints;
	m->mode = c->cpl == 3                  ? SOFT_TLB_USER
	          : (c->cr4 & CR4_SMAP) && !ac ? SOFT_TLB_SUPER_SMAP
	                                       : SOFT_TLB_SUPER;
	if (unlikely(m->slow || c->rehearsing))
		need_slow(c);
	c->tlb = m->slow || c->rehearsing ? c->tlb_slow : c->tlbs[m->mode];
}

u8 *soft_mmu_mode(struct soft_cpu *c)
{
	return &c->mmu->mode;
}
