/*
 * Cells: each checked access of translated code has a one-entry TLB of its own, at a fixed address apart from
 * the code (a store near code would stall the host). A cell covers one linear page,
 * or a run of pages:
 *
 *   lea ea, T0; sub tag, T0; cmp limit, T0; jae miss; mov addend, T1; op disp(base, T1)
 *
 * limit is the bytes covered + 1 - the bytes accessed while the cell is valid, and 0 while it is not, so that
 * an invalid cell hits for no address whatever its tag is. A constant base (rip's page, a segment's base) is
 * compared for equality with the tag instead, and an invalid tag is not canonical, which no such base is.
 *
 * There is no address-space key in the hit path: valid cells are on lists, and are cleared. Those of global
 * pages are on one, all others on the other: a change of the address space clears the second, a flush of
 * global pages both, INVLPG the cells that a hash of their pages finds. So a flush costs no more than the
 * fills since the last one.
 *
 * A cell is filled from the TLB (soft_cell_refill(), called by code on a miss), which is filled by a walk if
 * need be. If that is a fault or no memory, or the access crosses the page, the interpreter does the op. A
 * cell that keeps changing between pages far apart gives up: its check becomes a look into the TLB, in code
 * of its own.
 *
 * Runs. A cell that changes its page, or whose access crosses into another page, covers what lies in host
 * memory as it does in linear addresses (soft_mmu_run()): of large pages, and of small ones that happen to
 * lie so. All is in one region of 2 MiB, and INVLPG drops all runs of its region. Cells of stores with
 * several vCPUs have no runs, as each page has its word. Where no run is long, and the cell has wanted one a
 * few times, its pages are mapped beside each other (jit_window.h), unless they are global.
 *
 * Stores and code. With one vCPU a write entry (TLB's write tag, cell) exists only for pages that are not
 * marked as code (physmem.h): mmu_fill() and cell_refill() look at the mark, which only this thread
 * sets, and whoever sets it drops the write entries of the page (soft_mmu_code_marked()). So a store that
 * hits is no store to code. With more vCPUs another one may set the mark at any time: each translated store
 * then looks at the word of the page behind itself (physmem.h says why that is enough), by a pointer in the
 * cell; a cell stays right for as long as its translation does, marked or not.
 *
 * Copies. What is only read across a page's end, and has no run or window, is copied to a place in struct soft_cpu,
 * and the access is led there: plain loads, and groups of a user's, if no store is among their members, and no other
 * vCPU may be the one that stores. A copy is good to the end of the block.
 *
 * Owner: struct soft_jit; vCPU thread only.
 */
#pragma once

#include "cpu/soft/jit.h"

struct soft_cell {
	u64 tag, addend, limit; /* addend: host address - linear address */
	_Atomic u32 *page;      /* the page's word */
};

enum cell_form {
	CELL_BASE,    /* T0 = address; T0 -= tag */
	CELL_ADDRESS, /* T1 = T0 = address; T1 -= tag */
	CELL_CONSTANT /* T0 = base, compared with tag; addend is the operand's host address */
};

/* What C knows of a cell. */
struct soft_cell_info {
	u64 page;               /* linear, of a valid cell: the first */
	u32 next, prev;         /* valid: in its hash chain; cell numbers, 0: none */
	u32 listed[2];          /* is on the list if equal to the list's epoch */
	u32 site;               /* address of its struct jit_site */
	u32 out;                /* code that saves flags and has the op interpreted; 0: flags are saved */
	u32 start, patch, back; /* addresses: the check, its part to replace by a jump, what follows it */
	s32 disp;               /* CELL_CONSTANT: of the operand */
	u16 span;               /* bytes */
	u16 pages;              /* of a valid cell; more than one: a run, or of a window */
	u8 form, mode, entry_mode, global;
	bool write, group;
	bool copies; /* the bytes may be those of a copy */
	bool alone;  /* fails as often as it wants */
	bool tlb;    /* the check looks into the TLB */
	bool again;  /* the address can be computed anew by the bytes from start to patch */
	bool loop;   /* of a loop's preparation, see jit_loop.c */
	u64 failed;  /* loop: where it could not be had last */
	s8 step;     /* of the last change of its page, if to a neighbour */
	u8 window;   /* the number of its window + 1; 0: none */
	u8 wants;    /* one: how often, up to a limit */
	u16 excuses;
	u16 first; /* group: its first op, which is marked when it is given up */
	u8 score;  /* changes within this tick: */
	u32 tick;
};

/* Plain code (jit.h) has no cells of its own: its checks look into the TLB, and what they find for a group,
 * or for the page of a store, is kept in these for as long as the block is being run. On a miss C is told of
 * a record in the code. */
enum { CELL_ALONE = 1, CELL_GROUPS = 2, CELL_STACK = 52, CELL_FIRST = 64 };
struct plain_check {
	union {
		u64 fits; /* of the stack: PAGE_SIZE - span */
		s64 disp; /* shared: the operand's, from the page of the code */
	};
	u32 site, out; /* as those of a cell */
	u32 again;     /* where code goes on when the TLB has it: with the address in T0 */
	u32 seam; /* group: where it goes on when cell `cell` has what is to be added; else: behind the check */
	u32 cell;
	u16 span, failures;
	u8 mode, entry_mode;
	bool write, group, copies;
	bool shared; /* see below */
};

/*
 * The stack, half of all accesses, has cells CELL_STACK + mode, which all plain code shares: of each block
 * one group off what RSP is at its start. They cover one page that may be written to, or two (jit_seam.h).
 * What the last accesses of a page are depends on how many bytes a group has, and an invalid cell must hit
 * for none: so there are limits for some sizes, and a group takes that of the next larger one. What misses
 * looks into the TLB, in code that fills the cell (jit.c); so these are on no list, and whatever drops a
 * translation looks at them.
 */
extern const u16 soft_stack_spans[SOFT_STACK_SPANS];

/*
 * Shared cells. What user code finds relative to rip is in few pages of data: all plain code of one page has
 * one cell for each of these, one more if it writes to it. They hold the host's address of the page; what
 * they are compared with is as with CELL_CONSTANT, and offsets in the page are constants. Ops that find theirs
 * empty again and again, as address spaces take turns, look into the TLB (OPF_TLB).
 */
/* Only large code is worth their memory: from so many blocks on, or if all code is translated at once. */
enum { SHARED_FROM = 20000 };
/* Of code in the page at guest-physical address code, for data `pages` pages from it; 0: there is none. */
u32 soft_cell_shared(struct soft_cpu *c, u64 code, s32 pages, unsigned mode, bool write);

struct soft_cells;

/* false: no memory, or not below 2 GiB. */
bool soft_cells_init(struct soft_cpu *c);
void soft_cells_release(struct soft_cpu *c);
/* All code is forgotten, and all cells. */
void soft_cells_reset(struct soft_cpu *c);

/* A new cell's number; 0: there is none left. */
u32 soft_cell_new(struct soft_cpu *c);
struct soft_cell *soft_cell(struct soft_cpu *c, u32 number);
struct soft_cell_info *soft_cell_info(struct soft_cpu *c, u32 number);

/* Translations change. These may be called without a translator. */
/* No code runs: something that needs room may have all cells that are not global dropped. */
void soft_cells_settle(struct soft_cpu *c);
void soft_cells_drop_page(struct soft_cpu *c, u64 linear);
void soft_cells_drop_space(struct soft_cpu *c); /* all that are not global */
void soft_cells_drop_all(struct soft_cpu *c);
/* The page is about to be marked as code. */
void soft_cells_drop_writes(struct soft_cpu *c, const _Atomic u32 *page);

/* Called by code: cell `number`, or the check whose record is there, does not hit. Returns where to go on,
 * and the linear address. */
struct soft_cell_answer {
	u64 to, linear;
};
struct soft_cell_answer soft_cell_refill(struct soft_cpu *c, u64 number, u64 t0);

/* Behind such a check that missed: the address to T0 again. jit_memory.c */
void soft_cell_emit_missed(struct soft_cpu *c, struct jit_buf *b, unsigned mode, bool write);

/* The check of a cell that gave up; address: code that computes it anew (NULL: none), up to address_end. offset:
 * T0 becomes the offset in the page, T1 the page's host address, and the cell is not used. Returns the rel32 of the
 * jump for a miss. jit_memory.c */
u8 *soft_cell_emit_tlb(struct soft_cpu *c, struct jit_buf *b, struct soft_cell *cell,
                       const struct soft_cell_info *i, bool offset, const u8 *address, const u8 *address_end);
