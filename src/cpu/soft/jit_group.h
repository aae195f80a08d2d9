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
 * A check holds to the end of the block: cells change only at their own checks. When something is interpreted
 * in between and a translation was dropped meanwhile, code is left (jx.flushes). An op that is always
 * interpreted, or may change the TLB's mode, ends all groups.
 */
#pragma once

#include "cpu/soft/jit_insn.h"

enum { JIT_GROUP_SPAN = 512, JIT_GROUPS = 48, JIT_NO_GROUP = 0xff };

struct jit_group {
	s64 low, high;   /* bytes, relative to the value */
	u16 base, index; /* values; 0: none */
	u8 scale;
	u16 first; /* op */
	u16 count;
	bool write, open;
	u32 cell; /* once the check is written */
};

struct jit_groups {
	struct jit_group group[JIT_GROUPS];
	unsigned count;
	/* Of each op: its memory operand's, its stack access's; and the place in it, relative to the value.
	 */
	struct {
		u8 group[2];
		s32 at[2];
	} member[JIT_INSNS];
};

enum { JIT_OPERAND, JIT_STACK };

/* Which accesses of block b belong together. */
void jit_groups_find(struct jit_groups *g, const struct soft_block *b, const struct jit_insn *insns);
