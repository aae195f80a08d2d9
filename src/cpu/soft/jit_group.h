/*
 * Groups: accesses of a block off the same base share one check.
 *
 * Values. A block is entered at its start alone, so what is in a register can be followed through it: a
 * value that nothing is known of, plus a constant (push, pop, add, lea, mov, leave). Accesses whose bases and
 * indices are the same values, and that lie within JIT_GROUP_SPAN bytes, are a group. The first of them
 * checks all the bytes, for writing if any of them writes; the others are `op disp(base, T1)` with T1 = the
 * cell's addend, from the cell if T1 was used for something else meanwhile.
 *
 * When the check fails, because of a page end, MMIO, or a member that may not be executed at all, nothing of
 * the group can be used: the interpreter does the rest of the block (JIT_SITE_REST). A group whose check
 * fails often is given up: its first op is marked (OPF_ALONE), and the block translated anew.
 *
 * Flags. Where the first member stands between an operation that writes flags and one that reads them, its
 * check would have them saved and loaded again. If base and index are what registers hold at the start of the
 * block, it is there that the group is checked (even if it is one access alone): flags are in memory then.
 *
 * A check holds to the end of the block: cells change only at their own checks. When something is interpreted
 * in between and a translation was dropped meanwhile, code is left (jx.flushes). An op that is always
 * interpreted, or may change the TLB's mode, ends all groups.
 */
#pragma once

#include "cpu/soft/jit_insn.h"

enum { JIT_GROUP_SPAN = 512, JIT_GROUPS = 48, JIT_NO_GROUP = 0xff };
enum { JIT_VALUES = 512 }; /* that origins are known of */

struct jit_group {
	s64 low, high;   /* bytes, relative to the value */
	u16 base, index; /* values; 0: none */
	u8 scale;
	u8 seg, align; /* only in a loop: SEG_FS, SEG_GS or 0; bits of the address of `low` that must be 0 */
	bool skewed;   /* … and a member wants other bits to be 0 */
	u16 first;     /* op */
	u16 count;
	u16 last; /* op */
	bool write, open;
	bool copies; /* all it needs can be read at the first member */
	bool alone;  /* one access, of a base whose group was given up */
	bool early;  /* checked at the block's start, off registers base - 1 and index - 1 */
	u32 cell;    /* once the check is written */
};

struct jit_groups {
	struct jit_group group[JIT_GROUPS];
	unsigned count;
	bool plain; /* set by whoever calls: no early checks */
	u8 stack;   /* plain: the group that goes by the stack's cell, even if it is one access alone */
	/* Of each op: its memory operand's, its stack access's; and the place in it, relative to the value.
	 */
	struct {
		u8 group[2];
		s32 at[2];
	} member[JIT_INSNS];
};

enum { JIT_OPERAND, JIT_STACK };

/* A value is that of a register at the start, plus a constant; narrow: taken modulo 2^32 on the way. */
struct jit_origin {
	bool known, narrow;
	u8 reg; /* or SREG_PAGE_RIP */
	s32 plus;
};
/* Of the operations from the block's start to its op `last`, which jumps back there. */
struct jit_trace {
	unsigned last;
	struct jit_origin value[JIT_VALUES];
	struct jit_origin end[REG_COUNT]; /* what registers hold behind it */
	s32 lowest[REG_COUNT];            /* of what was taken modulo 2^32 of a register, relative to it */
	s32 plus[JIT_INSNS][2][2];        /* of each access: base and index, relative to their values */
};

/* Which accesses of block b's first `count` operations belong together. No group goes on behind op `split`.
 * With a trace, it is of that alone that groups are sought, any access that can be has one, and what marks
 * ops does not count. */
void jit_groups_find(struct jit_groups *g, const struct soft_block *b, const struct jit_insn *insns,
                     unsigned count, unsigned split, struct jit_trace *trace);
