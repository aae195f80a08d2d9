/*
 * What jit_cell.c, which has the cells and drops them, and jit_cell_miss.c, which fills them, share. For
 * these alone.
 */
#pragma once

#include "cpu/soft/jit.h"
#include "cpu/soft/jit_cell.h"
#include "cpu/soft/jit_window.h"

enum {
	HEADS = 1024,
	RUN_HEADS = 64,
	REGION = 21,
	FILTER = 1 << 14,
	WANTS = 4 /* how often a cell does until it is worth a window */
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
		u32 cell;         /* 0: none */
	} * shared;               /* SHARED of them */
	bool shares;              /* some are in use */
	u32 tick, kernel_changes; /* how often the kernel's cells changed their pages in this tick */
	u8 patience;              /* how often a cell wants one until it is asked for, */
	u8 often;                 /* and its page, within a tick: */
	struct {
		u64 page;
		u32 tick;
		u8 count;
	} wanted[256];
};

static inline bool cell_is_valid(const struct soft_cell *cell)
{
	return cell->tag != NO_TAG;
}
/* The cell, which is not valid, is for `pages` pages from page on: whatever drops these, or the address space,
 * finds it. */
void cell_validate(struct soft_cells *k, u32 n, u64 page, unsigned pages, bool global);
void cell_invalidate(struct soft_cell *cell);
/* A valid one is to be filled anew. */
void cell_unlink(struct soft_cells *k, u32 n);
/* None covers the page any more: of the address space, or global ones. */
void cell_forget_page(struct soft_cells *k, u64 page, bool global);
/* The cell may write to its pages; to the page with this word. */
void cell_note_written(struct soft_cells *k, u32 n);
void cell_note_word(struct soft_cells *k, const _Atomic u32 *word);
