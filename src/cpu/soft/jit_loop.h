/*
 * Loops: a block that ends an iteration by jumping to its own start has code of its own for further ones, in
 * which memory is not checked any more.
 *
 * What can be. The body is the block's operations up to the first jump to its start; nothing in
 * it is always interpreted, and no flags are live at the start. What registers hold at the end of an
 * iteration is known of those that are as they were, or have moved by a constant (jit_group.h's trace). A
 * group whose address thus moves by a constant, at most JIT_LOOP_STEP bytes (JIT_LOOP_STRIDE where a window is
 * likely, see jit_window.h), or not at all, is hoisted.
 *
 * In front of the loop each hoisted group is looked for in a cell of its own (jit_cell.h), and if it is not
 * there in the TLB, or by C, which fills the cell. How many iterations stay within what the cell covers is a
 * division by a constant; the least of all groups, and of some thousand iterations, is a limit for one
 * register that moves, which the body compares it with each time. At the limit events are looked at, and the
 * groups are looked for anew; without a limit events are looked at each time. When there is an event, or if a
 * group cannot be had, the block's ordinary code does an iteration, and then the loop is tried again. What a
 * group's addresses share, host address - linear address and all registers that do not change, is one word in
 * jx.loop.at[], so that most accesses are the guest's own instruction with another base.
 *
 * Where the body ends by comparing a register that moves with one that does not, for equality, it is known in
 * front of the loop whether it ends before the limit: then nothing is compared with the limit, else the
 * guest's comparison is left out, so that there is one of the two in an iteration.
 *
 * Why that is right. The TLB, cells, permissions, the marks of code pages, and what vector instructions are
 * allowed change in C alone (of this thread), and code of a loop that has called C leaves the loop: where one
 * of its ways out interprets, it interprets the rest of the block (JIT_SITE_REST). A miss of a cell, for
 * groups that are not hoisted, goes to soft_cell_refill() alone, which changes nothing but the cell.
 *
 * 32-bit registers are followed as if they had 64, which is right until they wrap: the loop is not entered if
 * they might within 4,096 iterations, or the iterations are limited likewise.
 *
 * A block in the middle of which a loop begins ends there (soft_block.loops), so that the first iteration is
 * the loop's, too.
 *
 * Under the lock-step check (lockstep.h) iterations are counted in jx.loop.rounds.
 *
 * Loops that turn out to be short do not pay: who leaves one within JIT_LOOP_SHORT iterations makes the next
 * ones skip it.
 */
#pragma once

#include "cpu/soft/jit_group.h"

enum {
	JIT_LOOP_GROUPS = 16, /* jx.loop.at[] */
	JIT_LOOP_STEP = 512,
	JIT_LOOP_STRIDE = 2048, /* likewise, where cells may have windows */
	JIT_LOOP_SHORT = 4,
	JIT_LOOP_ROUNDS = 16,     /* under the lock-step check it is left then */
	JIT_LOOP_ADDEND = 1 << 30 /* + a number in jx.loop.at[]: like the number of a cell */
};

/* The body ends with a comparison of a register that moves, and goes on until that is equal. */
struct jit_exit {
	bool known;
	u16 op;    /* that makes the flags */
	bool wide; /* 64 bits are compared */
	u8 moving;
	u8 with; /* register; SREG_ZERO: imm */
	s32 imm, step;
};

/* A hoisted group: its address is base + (index << scale) + plus, of registers at the start. */
struct jit_hoisted {
	bool yes;
	bool strides;   /* moves by too much: hardly any two accesses go to the same page */
	u8 slot;        /* in jx.loop.at[] */
	u32 cell;       /* number */
	u32 again;      /* address: where it is looked for */
	u8 base, index; /* SREG_ZERO: none */
	bool fixed[2];  /* base, index: do not change, and so are part of jx.loop.at[] */
	s32 origin[2];  /* base, index: what is added to the registers */
	s64 plus;       /* of the lowest address */
	s32 step;
};

struct jit_loop {
	bool yes;
	struct jit_trace trace;
	struct jit_groups groups;
	struct jit_hoisted hoisted[JIT_GROUPS]; /* of each group */
	bool strides[JIT_INSNS];                /* ops */
	unsigned count;                         /* that are hoisted */
	u8 classes;                             /* of vector instructions */
	u8 limited;                             /* the register that is compared; SREG_ZERO: none */
	struct jit_exit exit;
	u32 narrow; /* registers that must not wrap */
	u32 skip;   /* a cell's number: how often the loop is still to be skipped is in its addend, how
	              often misses are still to look into the TLB before they call C in its limit */
	u32 in_t0;  /* as JIT_LOOP_ADDEND: whose word is in T0; 0: none's */
	u32 in_t1;  /* … whose is in T1 at the start */
	u8 *enter;  /* rel32 of the jump to it */
	u32 ordinary, join; /* addresses: the ordinary code's first op, and what is behind the last op */
	bool saved;         /* struct tr's, there */
};

struct tr;
struct op;

/* Is the block a loop? Once flags' liveness is known. (jit_loop_find.c) */
void tr_loop_find(struct tr *t);
/* At the fast entry: the way to the loop. */
void tr_loop_enter(struct tr *t);
/* Op was written: if it is the last of the body, the loop will come back here. */
void tr_loop_leave(struct tr *t, unsigned op);
/* The loop's own code, behind the ordinary code. */
void tr_loop(struct tr *t);
/* A group is not in its cell: the way out. */
struct cold;
void tr_loop_missed(struct tr *t, const struct cold *k);
/* Leaving the loop: was it a short one? Keeps flags; clobbers T0 and T1. */
void tr_loop_account(struct tr *t);

/* Does op, of a loop, have an access that moves by too much? A cell is no use for it. */
bool tr_loop_strides(const struct tr *t, unsigned op);

/* Is this access, of the code that is being written, hoisted? Then: where it is. */
bool tr_loop_has(const struct tr *t, unsigned op, unsigned which);
struct place tr_loop_place(struct tr *t, unsigned op, unsigned which, const struct op *o);

/* ---- between jit_loop_find.c and jit_loop.c ---- */

enum { JIT_LOOP_NARROW = 0x7fffffff };
/* Does a register move by a constant? */
bool jit_loop_moves(const struct jit_loop *l, unsigned reg, s32 *step);
/* What is added to the registers that are not fixed, and to the word. */
s64 jit_loop_displacement(const struct jit_loop *l, unsigned op, unsigned which, unsigned scale, s64 disp);
/* Is the register's value loaded where it is used? */
bool jit_in_memory(unsigned reg);
