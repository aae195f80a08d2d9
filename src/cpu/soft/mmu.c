/*
 * The soft TLB.
 *
 * Tags. Each address space (PCID, or each load of CR3 without PCIDs) has a 10-bit tag, which is part of what
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
 * Privilege. There is one TLB for user accesses, one for supervisor accesses that SMAP keeps off user pages,
 * one for those that may touch them. tlb_slow never hits: every access then takes the slow path, where
 * alignment checks and data breakpoints are done.
 */
#include "cpu/soft/mmu.h"
#include "cpu/soft/block.h"
#include "cpu/soft/jit.h"
#include "cpu/soft/lockstep.h"
#include "cpu/soft/jit_cell.h"
#include "cpu/soft/walk.h"

#include <stdlib.h>

#define PAGE_MASK    (~(PAGE_SIZE - 1))
#define TAG_LIMIT    SOFT_TLB_ENTRIES
#define ITLB_NONE    (~0ULL)
#define LARGE_BITS   512
#define HUGE_BITS    512
#define WRITTEN_BITS 16384

/* Where a byte of guest memory is. host NULL: not to be touched directly (MMIO, or a store to ROM), gpa says
 * where. */
struct place {
	u8 *host;
	u64 gpa;
	_Atomic u32 *page;
};

/* The fragments of large pages in a region of 2 MiB; valid while the region's bit in soft_mmu.large is set.
 */
struct fragments {
	u64 region; /* linear >> 21, or FRAGMENTS_SHARED: of several regions */
	u16 count;  /* or FRAGMENTS_MANY */
	u16 page[7];
};
#define FRAGMENTS_SHARED (~0ULL)
#define FRAGMENTS_MANY   0xffff

/* 2 MiB of a large page, all of it memory. A TLB entry as any other: dropped when the fragments are. */
struct large {
	u64 region; /* linear address + address-space tag, 0 if global; LARGE_NONE */
	u8 *host;
	_Atomic u32 *page;
	bool write; /* permitted, and the dirty flag is set */
};
#define LARGE_SIZE    (2 * MiB)
#define LARGE_ENTRIES 128
#define LARGE_NONE    (~0ULL)

struct soft_mmu {
	u32 next_tag;
	u16 pcid_tag[4096]; /* 0: none yet */
	bool pcids;         /* another than that of PCID 0 may be set */
	u64 global[SOFT_TLB_MODES][SOFT_TLB_ENTRIES / 64];
	u64 large[LARGE_BITS / 64], huge[HUGE_BITS / 64];
	u64 written[WRITTEN_BITS / 64]; /* by hash: pages with write entries; never too few */
	struct fragments fragments[LARGE_BITS];
	struct large larges[SOFT_TLB_MODES][LARGE_ENTRIES];
	u64 pdptes[4];
	u64 signature; /* what translations depend on besides CR3 */
	u8 mode;       /* enum soft_tlb_mode of data accesses now */
	bool slow, align, breakpoints;
	/* soft_rmw(), soft_write_ptr() in progress on a copy: where its first bytes go, and the rest */
	struct span {
		struct place place[2];
		u8 first, rest;
	} rmw, write;
	_Atomic u32 *write_page; /* soft_write_ptr() without a copy; else NULL */
};

/* Held while a locked instruction works on a copy (page-crossing, MMIO), by any vCPU of the process. */
static atomic_flag split_lock = ATOMIC_FLAG_INIT;

int soft_mmu_init(struct soft_cpu *c, struct error *e)
{
	c->mmu = calloc(1, sizeof(*c->mmu));
	if (!c->mmu)
		return error_set(e, 0, "no memory for a vCPU's TLB");
	for (unsigned i = 0; i < SOFT_TLB_ENTRIES; i++)
		c->tlb_slow[i].tag_read = c->tlb_slow[i].tag_write = soft_tlb_none(i);
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

static void zero_words(u64 *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile u64 *)p)[i] = 0;
}

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

	zero_words(&m->global[0][0], sizeof(m->global) / sizeof(u64));
	zero_words(m->large, ARRAY_SIZE(m->large));
	zero_words(m->huge, ARRAY_SIZE(m->huge));
	soft_cells_drop_all(c);
	for (unsigned k = 0; k < SOFT_TLB_MODES; k++)
		for (unsigned i = 0; i < LARGE_ENTRIES; i++)
			m->larges[k][i].region = LARGE_NONE;
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
	zero_words(c->mmu->written, ARRAY_SIZE(c->mmu->written));
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

static bool bit_test(const u64 *map, u64 n)
{
	return map[n / 64] >> (n % 64) & 1;
}
static void bit_set(u64 *map, u64 n)
{
	map[n / 64] |= BIT(n % 64);
}
static u64 large_bit(u64 linear)
{
	return (linear >> 21 ^ linear >> 30 ^ linear >> 39) % LARGE_BITS;
}
static u64 written_bit(const _Atomic u32 *page)
{
	return ((u64)page / sizeof(*page)) % WRITTEN_BITS;
}
static u64 huge_bit(u64 linear)
{
	return (linear >> 30 ^ linear >> 39) % HUGE_BITS;
}

/* Is it a data entry's tag for this page, in whatever address space? */
static bool tag_is_page(u64 tag, u64 page)
{
	return tag - page < (u64)SOFT_TLB_ENTRIES << PAGE_SHIFT;
}

static void drop_entry(struct soft_cpu *c, u64 linear)
{
	u64 page = linear & PAGE_MASK;

	for (unsigned m = 0; m < SOFT_TLB_MODES; m++) {
		unsigned i = linear >> PAGE_SHIFT & (SOFT_TLB_ENTRIES - 1);
		struct soft_tlb_entry *e = &c->tlbs[m][i];

		if (tag_is_page(e->tag_read, page) || tag_is_page(e->tag_write, page))
			e->tag_read = e->tag_write = soft_tlb_none(i);
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

static struct large *large_entry(struct soft_mmu *m, unsigned mode, u64 linear)
{
	return &m->larges[mode][(linear / LARGE_SIZE ^ linear >> 30) % LARGE_ENTRIES];
}

/* Drops what may be a fragment of a large page in this region of 2 MiB. */
static void drop_fragments(struct soft_cpu *c, u64 start)
{
	struct soft_mmu *m = c->mmu;

	for (unsigned k = 0; k < SOFT_TLB_MODES; k++) {
		struct large *l = large_entry(m, k, start);

		if ((l->region & ~(LARGE_SIZE - 1)) == start)
			l->region = LARGE_NONE;
	}

	u64 bit = large_bit(start);
	struct fragments *f = &m->fragments[bit];

	if (!bit_test(m->large, bit) || (f->region != start >> 21 && f->region != FRAGMENTS_SHARED))
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
	if (bit_test(c->mmu->huge, huge_bit(linear))) {
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
	c->tlb = m->slow || c->rehearsing ? c->tlb_slow : c->tlbs[m->mode];
}

u8 *soft_mmu_mode(struct soft_cpu *c)
{
	return &c->mmu->mode;
}

/* ---- translation ---- */

static void check_canonical(struct soft_cpu *c, u64 linear, unsigned seg)
{
	if (unlikely((u64)((s64)(linear << 16) >> 16) != linear) && soft_long_active(c))
		soft_raise_error(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

static void note_fragment(struct soft_mmu *m, u64 linear)
{
	u64 bit = large_bit(linear), region = linear >> 21;
	struct fragments *f = &m->fragments[bit];

	if (!bit_test(m->large, bit)) {
		bit_set(m->large, bit);
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
		bit_set(m->huge, huge_bit(linear));
	else if (w->page_size > PAGE_SIZE)
		note_fragment(m, linear);
}

/* A write entry to the page may be made; notes that it is. */
static bool may_write_to(struct soft_cpu *c, const _Atomic u32 *page)
{
	if (c->base.config.board->mem->single_vcpu &&
	    (atomic_load_explicit(page, memory_order_relaxed) & PHYSMEM_PAGE_CODE))
		return false;
	bit_set(c->mmu->written, written_bit(page));
	return true;
}

void soft_mmu_code_marked(struct soft_cpu *c, const _Atomic u32 *page)
{
	struct soft_mmu *m = c->mmu;

	soft_cells_drop_writes(c, page);
	if (!bit_test(m->written, written_bit(page)))
		return;
	/* While all entries are looked at, the map becomes exact. */
	zero_words(m->written, ARRAY_SIZE(m->written));
	for (unsigned k = 0; k < SOFT_TLB_MODES; k++)
		for (unsigned i = 0; i < SOFT_TLB_ENTRIES; i++) {
			struct soft_tlb_entry *e = &c->tlbs[k][i];

			if (e->tag_write == soft_tlb_none(i))
				continue;
			if (e->page == page)
				e->tag_write = soft_tlb_none(i);
			else
				bit_set(m->written, written_bit(e->page));
		}
}

static void note_large(struct soft_cpu *c, u64 linear, unsigned mode, const struct soft_walk *w,
                       const struct physmem_slot *slot)
{
	u64 gpa = w->gpa & ~(LARGE_SIZE - 1);

	if (w->page_size < LARGE_SIZE || gpa < slot->gpa || gpa + LARGE_SIZE > slot->gpa + slot->size)
		return;
	*large_entry(c->mmu, mode, linear) = (struct large){
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
	e->tag_write = write && may_write_to(c, p->page) ? tag : soft_tlb_none(index);
	e->addend = (u64)p->host - linear;
	e->page = p->page;
	if (global)
		bit_set(m->global[mode], index);
	else
		m->global[mode][index / 64] &= ~BIT(index % 64);
}

static bool fill_large(struct soft_cpu *c, u64 linear, bool write, unsigned mode, struct place *p)
{
	const struct large *l = large_entry(c->mmu, mode, linear);
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

static __attribute__((noinline)) void fill(struct soft_cpu *c, u64 linear, bool write, unsigned mode,
                                           unsigned seg, struct place *p)
{
	const struct physmem *pm = c->base.config.board->mem;
	struct soft_walk w;
	u32 error;

	if (fill_large(c, linear, write, mode, p))
		return;
	check_canonical(c, linear, seg);
	if (!soft_walk(c, linear, write ? SOFT_WRITE : SOFT_READ, mode, c->mmu->pdptes, &w, &error))
		soft_raise_pf(c, linear, error);

	const struct physmem_slot *slot = physmem_find(pm, w.gpa);
	p->gpa = w.gpa;
	if (!slot || (write && slot->readonly)) {
		p->host = NULL;
		return;
	}
	p->host = slot->hva + (w.gpa - slot->gpa);
	p->page = physmem_page(pm, slot, w.gpa);
	if (unlikely(c->rehearsing))
		return;
	enter(c, linear, mode, p, w.write && !slot->readonly, w.global);
	note_size(c->mmu, linear, &w);
	note_large(c, linear, mode, &w, slot);
}

/* Is tag, of an entry, one of this page that may be used now? */
static inline bool is_current(struct soft_cpu *c, struct soft_tlb_entry *e, u64 tag, u64 page, unsigned mode)
{
	unsigned index = page >> PAGE_SHIFT & (SOFT_TLB_ENTRIES - 1);

	if (tag == page + c->tlb_key)
		return true;
	if (!tag_is_page(tag, page) || tag == soft_tlb_none(index) || !bit_test(c->mmu->global[mode], index))
		return false;
	e->tag_read = page + c->tlb_key;
	if (e->tag_write != soft_tlb_none(index))
		e->tag_write = page + c->tlb_key;
	return true;
}

const struct soft_tlb_entry *soft_mmu_cached(struct soft_cpu *c, u64 linear, bool write, unsigned mode,
                                             bool *global)
{
	unsigned index = linear >> PAGE_SHIFT & (SOFT_TLB_ENTRIES - 1);
	struct soft_tlb_entry *e = &c->tlbs[mode][index];

	if (!is_current(c, e, write ? e->tag_write : e->tag_read, linear & PAGE_MASK, mode))
		return NULL;
	*global = bit_test(c->mmu->global[mode], index);
	return e;
}

static inline void translate(struct soft_cpu *c, u64 linear, bool write, unsigned mode, unsigned seg,
                             struct place *p)
{
	struct soft_tlb_entry *e = &c->tlbs[mode][linear >> PAGE_SHIFT & (SOFT_TLB_ENTRIES - 1)];
	u64 page = linear & PAGE_MASK, tag = write ? e->tag_write : e->tag_read;

	if (!is_current(c, e, tag, page, mode)) {
		fill(c, linear, write, mode, seg, p);
		if (unlikely(c->rehearsing))
			p->host = soft_lockstep_host(c, p->host, SOFT_LOCKSTEP_ACCESS, write);
		return;
	}
	p->host = soft_tlb_host(e, linear);
	p->page = e->page;
	if (unlikely(c->rehearsing))
		p->host = soft_lockstep_host(c, p->host, SOFT_LOCKSTEP_ACCESS, write);
}

/* Outside of long mode linear addresses have 32 bits. */
static inline u64 wrap(const struct soft_cpu *c, u64 linear)
{
	return soft_long_active(c) ? linear : (u32)linear;
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

/* ---- bytes ---- */

static void copy(void *dst, const void *src, size_t n)
{
	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

/* The largest access of 1, 2, 4, 8 bytes that n bytes hold. */
static unsigned piece(size_t n)
{
	return n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

static void mmio_read(struct soft_cpu *c, u64 gpa, u8 *buf, size_t n)
{
	const struct cpu_board *b = soft_board(c);
	const u8 *rom = physmem_ptr(b->mem, gpa, n); /* as part of a read-modify-write */

	if (rom) {
		copy(buf, rom, n);
		return;
	}
	while (n) {
		unsigned s = piece(n);
		u64 v = b->mmio_read(b->ctx, &c->base, gpa, s);

		copy(buf, &v, s);
		gpa += s, buf += s, n -= s;
	}
}

static void mmio_write(struct soft_cpu *c, u64 gpa, const u8 *buf, size_t n)
{
	const struct cpu_board *b = soft_board(c);

	if (physmem_find(b->mem, gpa)) /* ROM */
		return;
	while (n) {
		unsigned s = piece(n);
		u64 v = 0;

		copy(&v, buf, s);
		b->mmio_write(b->ctx, &c->base, gpa, s, v);
		gpa += s, buf += s, n -= s;
	}
	/* What it caused (an interrupt to ourselves) is to be seen behind this instruction. */
	if (atomic_load_explicit(&c->base.events, memory_order_relaxed) & c->events_enabled)
		soft_block_stop(c);
}

static void read_place(struct soft_cpu *c, const struct place *p, void *buf, size_t n)
{
	if (likely(p->host != NULL))
		copy(buf, p->host, n);
	else
		mmio_read(c, p->gpa, buf, n);
}

static void written(struct soft_cpu *c, _Atomic u32 *page)
{
	if (unlikely(atomic_load_explicit(page, memory_order_relaxed) & PHYSMEM_PAGE_CODE))
		soft_code_written(c, page);
}

static void write_place(struct soft_cpu *c, const struct place *p, const void *buf, size_t n)
{
	if (likely(p->host != NULL)) {
		copy(p->host, buf, n);
		written(c, p->page);
	} else {
		mmio_write(c, p->gpa, buf, n);
	}
}

void soft_code_written(struct soft_cpu *c, _Atomic u32 *page)
{
	if (unlikely(c->rehearsing))
		return;
	physmem_page_changed(page);
	if (c->block && c->block->page == page)
		soft_block_stop(c);
}

/* Bytes of an access that lie in its first page. */
static size_t in_page(u64 linear, size_t n)
{
	return min((size_t)(PAGE_SIZE - (linear & (PAGE_SIZE - 1))), n);
}

static void check_align(struct soft_cpu *c, u64 linear, size_t size)
{
	size_t need = size == 10 ? 8 : size > 16 ? 16 : size; /* SDM vol. 3 table 6-7 */

	/* A non-canonical address is a fault of its own, which comes first. */
	if (c->mmu->align && !(need & (need - 1)) && (linear & (need - 1)) &&
	    (s64)(linear << 16) >> 16 == (s64)linear)
		soft_raise_error(c, EXC_AC, 0);
}

static void check_breakpoints(struct soft_cpu *c, u64 linear, size_t size, bool write)
{
	if (c->mmu->breakpoints)
		soft_debug_data(c, linear, (unsigned)size, write);
}

/* Reads across pages; every page is translated before the first byte is read. */
static void read_span(struct soft_cpu *c, u64 linear, void *buf, size_t n, unsigned mode, unsigned seg)
{
	size_t first = in_page(linear, n);
	struct place a, b;

	translate(c, linear, false, mode, seg, &a);
	if (first < n)
		translate(c, wrap(c, linear + first), false, mode, seg, &b);
	read_place(c, &a, buf, first);
	if (first < n)
		read_place(c, &b, (u8 *)buf + first, n - first);
}

/* Translates a write of n bytes. */
static void span_init(struct soft_cpu *c, struct span *s, u64 linear, size_t n, unsigned mode, unsigned seg)
{
	s->first = (u8)in_page(linear, n);
	s->rest = (u8)(n - s->first);
	translate(c, linear, true, mode, seg, &s->place[0]);
	if (s->rest)
		translate(c, wrap(c, linear + s->first), true, mode, seg, &s->place[1]);
}

static void span_write(struct soft_cpu *c, const struct span *s, const void *buf)
{
	write_place(c, &s->place[0], buf, s->first);
	if (s->rest)
		write_place(c, &s->place[1], (const u8 *)buf + s->first, s->rest);
}

/* One page, power of two: a single access, so that it is atomic towards other vCPUs and devices. */
static u64 load_one(const u8 *p, unsigned size)
{
	switch (size) {
	case 1:
		return *(const volatile u8 *)p;
	case 2:
		return *(const volatile u16 *)p;
	case 4:
		return *(const volatile u32 *)p;
	default:
		return *(const volatile u64 *)p;
	}
}

static void store_one(u8 *p, unsigned size, u64 v)
{
	switch (size) {
	case 1:
		*(volatile u8 *)p = (u8)v;
		break;
	case 2:
		*(volatile u16 *)p = (u16)v;
		break;
	case 4:
		*(volatile u32 *)p = (u32)v;
		break;
	default:
		*(volatile u64 *)p = v;
		break;
	}
}

static u64 load(struct soft_cpu *c, u64 linear, unsigned size, unsigned mode, unsigned seg)
{
	u64 v = 0;

	if (in_page(linear, size) == size) {
		struct place p;

		translate(c, linear, false, mode, seg, &p);
		if (p.host)
			return load_one(p.host, size);
		mmio_read(c, p.gpa, (u8 *)&v, size);
	} else {
		read_span(c, linear, &v, size, mode, seg);
	}
	return v;
}

static void store(struct soft_cpu *c, u64 linear, unsigned size, u64 v, unsigned mode, unsigned seg)
{
	if (in_page(linear, size) == size) {
		struct place p;

		translate(c, linear, true, mode, seg, &p);
		if (p.host) {
			store_one(p.host, size, v);
			written(c, p.page);
		} else {
			mmio_write(c, p.gpa, (const u8 *)&v, size);
		}
	} else {
		struct span s;

		span_init(c, &s, linear, size, mode, seg);
		span_write(c, &s, &v);
	}
}

u64 soft_load_slow(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg)
{
	linear = wrap(c, linear);
	if (likely(!c->mmu->slow))
		return load(c, linear, size, c->mmu->mode, seg);
	check_align(c, linear, size);
	u64 v = load(c, linear, size, c->mmu->mode, seg);
	check_breakpoints(c, linear, size, false);
	return v;
}

void soft_store_slow(struct soft_cpu *c, u64 linear, unsigned size, u64 value, unsigned seg)
{
	linear = wrap(c, linear);
	if (unlikely(c->mmu->slow))
		check_align(c, linear, size);
	store(c, linear, size, value, c->mmu->mode, seg);
	if (unlikely(c->mmu->slow))
		check_breakpoints(c, linear, size, true);
}

static unsigned system_mode(const struct soft_cpu *c)
{
	return c->cr4 & CR4_SMAP ? SOFT_TLB_SUPER_SMAP : SOFT_TLB_SUPER;
}

u64 soft_sys_load(struct soft_cpu *c, u64 linear, unsigned size)
{
	return load(c, wrap(c, linear), size, system_mode(c), SEG_DS);
}

void soft_sys_store(struct soft_cpu *c, u64 linear, unsigned size, u64 value)
{
	store(c, wrap(c, linear), size, value, system_mode(c), SEG_DS);
}

/* ---- read-modify-write ---- */

void *soft_rmw_slow(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg, bool locked)
{
	struct span *s = &c->mmu->rmw;

	linear = wrap(c, linear);
	check_align(c, linear, size);
	span_init(c, s, linear, size, c->mmu->mode, seg);
	check_breakpoints(c, linear, size, true);
	if (!s->rest && s->place[0].host) {
		c->rmw.page = s->place[0].page;
		return s->place[0].host;
	}
	c->rmw.page = NULL;
	c->rmw.locked = locked;
	if (locked)
		while (atomic_flag_test_and_set_explicit(&split_lock, memory_order_acquire))
			__builtin_ia32_pause();
	read_place(c, &s->place[0], c->rmw.buf, s->first);
	if (s->rest)
		read_place(c, &s->place[1], (u8 *)c->rmw.buf + s->first, s->rest);
	return c->rmw.buf;
}

void soft_rmw_end_slow(struct soft_cpu *c)
{
	if (c->rmw.page) {
		soft_code_written(c, c->rmw.page);
		return;
	}
	span_write(c, &c->mmu->rmw, c->rmw.buf);
	if (c->rmw.locked)
		atomic_flag_clear_explicit(&split_lock, memory_order_release);
}

/* ---- vector operands, runs of bytes ---- */

const void *soft_read_ptr(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg)
{
	const struct soft_tlb_entry *e = soft_tlb_entry(c, linear);
	struct place p;

	if (soft_tlb_hit(c, e->tag_read, linear, size))
		return soft_tlb_host(e, linear);
	linear = wrap(c, linear);
	check_align(c, linear, size);
	if (in_page(linear, size) == size) {
		translate(c, linear, false, c->mmu->mode, seg, &p);
		check_breakpoints(c, linear, size, false);
		if (p.host)
			return p.host;
		mmio_read(c, p.gpa, c->bounce[0], size);
	} else {
		read_span(c, linear, c->bounce[0], size, c->mmu->mode, seg);
		check_breakpoints(c, linear, size, false);
	}
	return c->bounce[0];
}

void *soft_write_ptr(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg)
{
	const struct soft_tlb_entry *e = soft_tlb_entry(c, linear);
	struct soft_mmu *m = c->mmu;

	if (soft_tlb_hit(c, e->tag_write, linear, size)) {
		m->write_page = e->page;
		return soft_tlb_host(e, linear);
	}
	linear = wrap(c, linear);
	check_align(c, linear, size);
	span_init(c, &m->write, linear, size, m->mode, seg);
	check_breakpoints(c, linear, size, true);
	if (!m->write.rest && m->write.place[0].host) {
		m->write_page = m->write.place[0].page;
		return m->write.place[0].host;
	}
	m->write_page = NULL;
	return c->bounce[1];
}

void soft_write_done(struct soft_cpu *c)
{
	struct soft_mmu *m = c->mmu;

	if (m->write_page)
		written(c, m->write_page);
	else
		span_write(c, &m->write, c->bounce[1]);
}

void soft_read_bytes(struct soft_cpu *c, u64 linear, void *buf, size_t len, unsigned seg)
{
	u8 *to = buf;

	soft_probe(c, linear, len, SOFT_READ, seg);
	while (len) {
		struct place p;
		size_t n;

		linear = wrap(c, linear);
		n = in_page(linear, len);
		translate(c, linear, false, c->mmu->mode, seg, &p);
		if (unlikely(c->rehearsing))
			p.host = soft_lockstep_host(c, p.host, n, false);
		read_place(c, &p, to, n);
		check_breakpoints(c, linear, n, false);
		linear += n, to += n, len -= n;
	}
}

void soft_write_bytes(struct soft_cpu *c, u64 linear, const void *buf, size_t len, unsigned seg)
{
	const u8 *from = buf;

	soft_probe(c, linear, len, SOFT_WRITE, seg);
	while (len) {
		struct place p;
		size_t n;

		linear = wrap(c, linear);
		n = in_page(linear, len);
		translate(c, linear, true, c->mmu->mode, seg, &p);
		if (unlikely(c->rehearsing))
			p.host = soft_lockstep_host(c, p.host, n, true);
		write_place(c, &p, from, n);
		check_breakpoints(c, linear, n, true);
		linear += n, from += n, len -= n;
	}
}

void soft_probe(struct soft_cpu *c, u64 linear, size_t len, enum soft_access access, unsigned seg)
{
	while (len) {
		struct place p;
		size_t n;

		linear = wrap(c, linear);
		n = in_page(linear, len);
		translate(c, linear, access == SOFT_WRITE, c->mmu->mode, seg, &p);
		linear += n, len -= n;
	}
}

void *soft_page_ptr(struct soft_cpu *c, u64 linear, size_t *len, enum soft_access access, unsigned seg)
{
	bool write = access == SOFT_WRITE;
	struct place p;

	if (c->mmu->slow)
		return NULL;
	linear = wrap(c, linear);
	translate(c, linear, write, c->mmu->mode, seg, &p);
	if (!p.host || (write && (atomic_load_explicit(p.page, memory_order_relaxed) & PHYSMEM_PAGE_CODE)))
		return NULL;
	*len = in_page(linear, *len);
	if (unlikely(c->rehearsing))
		p.host = soft_lockstep_host(c, p.host, *len, true); /* a source may overlap the target */
	return p.host;
}
