/*
 * What the soft TLB's files share: mmu.c (flushes, what the mode asks for; its theory), mmu_fill.c (entries
 * are made), mmu_access.c (what is done through them). Nothing else includes it.
 */
#pragma once

#include "cpu/soft/lockstep.h"
#include "cpu/soft/mmu.h"

#define PAGE_MASK (~(PAGE_SIZE - 1))
/* The tag of all ones, with the last page, would be ITLB_NONE and SECOND_NONE. */
#define TAG_LIMIT    (SOFT_TLB_ENTRIES - 1)
#define ITLB_NONE    (~0ULL)
#define LARGE_BITS   512
#define HUGE_BITS    512
#define WRITTEN      16384
#define WRITTEN_MANY 0xffff

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

/* What a walk found of a small page, for when its entry gave way to that of another page with the same index:
 * the two may take turns. Dropped when the entry would be. */
struct second {
	u64 page; /* linear address + address-space tag, 0 if global; SECOND_NONE */
	u8 *host;
	_Atomic u32 *word;
	bool write; /* as above */
	u8 mode;    /* enum soft_tlb_mode */
};
#define SECOND_ENTRIES 1024
#define SECOND_NONE    (~0ULL)

struct soft_mmu {
	u32 next_tag;
	u16 pcid_tag[4096]; /* 0: none yet */
	bool pcids;         /* another than that of PCID 0 may be set */
	u64 global[SOFT_TLB_MODES][SOFT_TLB_ENTRIES / 64];
	u64 large[LARGE_BITS / 64], huge[HUGE_BITS / 64];
	/* By hash of the page: its write entry, if it has one alone, as 1 + mode * SOFT_TLB_ENTRIES + index; 0:
	 * surely none, WRITTEN_MANY: there may be several. */
	_Alignas(8) u16 written[WRITTEN];
	struct fragments fragments[LARGE_BITS];
	struct large larges[SOFT_TLB_MODES][LARGE_ENTRIES];
	struct second seconds[SECOND_ENTRIES];
	u64 pdptes[4];
	u64 signature; /* what translations depend on besides CR3 */
	u8 mode;       /* enum soft_tlb_mode of data accesses now */
	bool slow, align, breakpoints;
	bool slow_ready; /* soft_cpu.tlb_slow has been filled */
	/* soft_rmw(), soft_write_ptr() in progress on a copy: where its first bytes go, and the rest */
	struct span {
		struct place place[2];
		u8 first, rest;
	} rmw, write;
	_Atomic u32 *write_page; /* soft_write_ptr() without a copy; else NULL */
};

static inline bool mmu_bit_test(const u64 *map, u64 n)
{
	return map[n / 64] >> (n % 64) & 1;
}
static inline void mmu_bit_set(u64 *map, u64 n)
{
	map[n / 64] |= BIT(n % 64);
}
/* size: bytes, by eights. */
static inline void mmu_zero(void *p, size_t size)
{
	for (size_t i = 0; i < size / 8; i++)
		((volatile u64 *)p)[i] = 0;
}
static inline u64 mmu_large_bit(u64 linear)
{
	return (linear >> 21 ^ linear >> 30 ^ linear >> 39) % LARGE_BITS;
}
static inline u64 mmu_written_slot(const _Atomic u32 *page)
{
	return ((u64)page / sizeof(*page)) % WRITTEN;
}
static inline u64 mmu_huge_bit(u64 linear)
{
	return (linear >> 30 ^ linear >> 39) % HUGE_BITS;
}

/* Is it a data entry's tag for this page, in whatever address space? */
static inline bool mmu_tag_is_page(u64 tag, u64 page)
{
	return tag - page < (u64)SOFT_TLB_ENTRIES << PAGE_SHIFT;
}

static inline struct large *mmu_large_entry(struct soft_mmu *m, unsigned mode, u64 linear)
{
	return &m->larges[mode][(linear / LARGE_SIZE ^ linear >> 30) % LARGE_ENTRIES];
}

/* Pages with one index in the TLB have several here. */
static inline struct second *mmu_second(struct soft_mmu *m, unsigned mode, u64 linear)
{
	u64 page = linear >> PAGE_SHIFT;

	page ^= page >> SOFT_TLB_BITS ^ page >> 2 * SOFT_TLB_BITS ^ mode << 8;
	return &m->seconds[page % SECOND_ENTRIES];
}

/* The entry of what an access needs, by a walk if need be; raises. On behalf of mmu_translate()
 * below. */
void mmu_fill(struct soft_cpu *c, u64 linear, bool write, unsigned mode, unsigned seg, struct place *p);

/* Is tag, of an entry, one of this page that may be used now? */
static inline bool mmu_is_current(struct soft_cpu *c, struct soft_tlb_entry *e, u64 tag, u64 page,
                                  unsigned mode)
{
	unsigned index = page >> PAGE_SHIFT & (SOFT_TLB_ENTRIES - 1);

	if (tag == page + c->tlb_key)
		return true;
	if (!mmu_tag_is_page(tag, page) || tag == soft_tlb_none(index) ||
	    !mmu_bit_test(c->mmu->global[mode], index))
		return false;
	e->tag_read = page + c->tlb_key;
	if (e->tag_write != soft_tlb_none(index))
		e->tag_write = page + c->tlb_key;
	return true;
}

static inline void mmu_translate(struct soft_cpu *c, u64 linear, bool write, unsigned mode, unsigned seg,
                                 struct place *p)
{
	struct soft_tlb_entry *e = &c->tlbs[mode][linear >> PAGE_SHIFT & (SOFT_TLB_ENTRIES - 1)];
	u64 page = linear & PAGE_MASK, tag = write ? e->tag_write : e->tag_read;

	if (!mmu_is_current(c, e, tag, page, mode)) {
		mmu_fill(c, linear, write, mode, seg, p);
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
static inline u64 mmu_wrap(const struct soft_cpu *c, u64 linear)
{
	return soft_long_active(c) ? linear : (u32)linear;
}
