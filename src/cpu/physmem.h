/*
 * Guest-physical memory as a CPU sees it: a few slots of RAM or ROM, everything else is MMIO.
 *
 * Owned and filled by machine/memory.c before the first vCPU runs; read-only afterwards (any thread).
 *
 * page[] holds one word for each 4 KiB page of RAM (index physmem_page()): bit 0 says "a translation cache
 * holds code of this page"; bit 1, only with bit 0 and with several vCPUs, "did until the page changed, which
 * not all vCPUs may have noticed yet"; the other bits count the page's changes since. Whoever writes to a
 * page by any other way than a vCPU's own store path (devices' DMA, loaders) calls physmem_written() after
 * the write, before the guest is told of it: decoded code of that page dies then.
 *
 * Marking a page as code (bit 0: 0 -> 1) is followed by a membarrier(2), and stores look at the word after
 * the store: so either the decoder sees the new bytes or the store sees the mark.
 */
#pragma once

#include "base/types.h"

#include <stdatomic.h>

#define PHYSMEM_MAX_SLOTS 8
#define PAGE_SHIFT        12
#define PAGE_SIZE         4096ULL

struct physmem_slot {
	u64 gpa, size; /* bytes, multiples of PAGE_SIZE */
	u8 *hva;
	u64 first_page; /* index into page[] of the slot's first page */
	bool readonly;  /* ROM: guest stores are dropped */
};

struct physmem {
	struct physmem_slot slots[PHYSMEM_MAX_SLOTS];
	unsigned count;
	_Atomic u32 *page;
	bool single_vcpu; /* no membarrier needed */
};

#define PHYSMEM_PAGE_CODE 1u
#define PHYSMEM_PAGE_TOLD 2u
#define PHYSMEM_PAGE_STEP 4u

static inline const struct physmem_slot *physmem_find(const struct physmem *pm, u64 gpa)
{
	for (unsigned i = 0; i < pm->count; i++)
		if (gpa - pm->slots[i].gpa < pm->slots[i].size)
			return &pm->slots[i];
	return NULL;
}

/* Host address of len bytes at gpa if they lie in one slot, else NULL. Never crosses a slot; len 0 is
 * allowed. */
static inline u8 *physmem_ptr(const struct physmem *pm, u64 gpa, u64 len)
{
	const struct physmem_slot *s = physmem_find(pm, gpa);

	if (!s || len > s->size - (gpa - s->gpa))
		return NULL;
	return s->hva + (gpa - s->gpa);
}

static inline _Atomic u32 *physmem_page(const struct physmem *pm, const struct physmem_slot *s, u64 gpa)
{
	return &pm->page[s->first_page + ((gpa - s->gpa) >> PAGE_SHIFT)];
}

/* A page changed that had the mark: tells the vCPUs that may have code of it, and takes the mark away as soon
 * as all have noticed. By the soft engine: cpu/soft/jit_pages.c */
void physmem_code_changed(_Atomic u32 *page);

/* One page changed: if it was marked as code, its code dies. */
static inline void physmem_page_changed(_Atomic u32 *page)
{
	if (atomic_load_explicit(page, memory_order_relaxed) & PHYSMEM_PAGE_CODE)
		physmem_code_changed(page);
}

static inline void physmem_written(const struct physmem *pm, u64 gpa, u64 len)
{
	u64 end = gpa + len;

	for (u64 p = align_down(gpa, PAGE_SIZE); len && p < end; p += PAGE_SIZE) {
		const struct physmem_slot *s = physmem_find(pm, p);

		if (s)
			physmem_page_changed(physmem_page(pm, s, p));
	}
}
