/*
 * What the translator wants to know of an instruction: how it is translated, and which flags it reads and
 * writes.
 */
#pragma once

#include "cpu/soft/decode.h"
#include "cpu/soft/jit.h"

enum jit_kind {
	JIT_INTERPRET, /* by the interpreter */
	JIT_NOTHING,   /* does nothing */
	JIT_COPY, /* general registers, at most one memory operand: the guest's own bytes, more or less */
	JIT_LEA,
	JIT_VECTOR, /* SSE, AVX; at most one memory operand; like JIT_COPY */
	JIT_JCC,
	JIT_JMP,
	JIT_CALL,
	JIT_INTO, /* op_call_next */
	JIT_RET,
	JIT_PUSH,
	JIT_POP,
	JIT_LEAVE,
	JIT_GUARD, /* op_guard_cpl0 */
	JIT_END,   /* the closing op */
};

enum { JIT_INSNS = SOFT_BLOCK_OPS + 1 };

struct jit_insn {
	struct insn i;
	u8 kind;
	u8 read, write, kill; /* flags (JIT_ALL); kill: surely overwritten */
	u8 live;              /* before it */
	bool looked;          /* where it jumps to, or goes on, was looked up: */
	u8 there;             /* what is live there */
	u8 writer;            /* jump: op + 1 whose flags can be had later, see jit_flags.c; 0: none */
	u8 redo;              /* how these can be had; and do registers for it change before the jump */
	bool aside;
	s8 mem, reg; /* visible operands: in memory, named by ModRM.reg; -1: none */
};

/* The arithmetic flags in a byte: as in RFLAGS 7:0, and OF as bit 3. */
enum { JIT_ALL = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | 8 };

/* Is it a general register? */
bool jit_is_general(const ZydisDecodedOperand *d);
/* Decodes and classifies op o, from its bytes. exact, here and below: undefined flags may be what they were,
 * as the host's instruction has it (the lock-step check wants the interpreter's). */
void jit_classify(struct jit_decoder *k, struct jit_insn *n, const struct op *o, const u8 *bytes, bool exact);
/* Flags that code at offset off of a page reads before it writes them. */
u8 jit_live_at(struct jit_decoder *k, const u8 *page, unsigned off, unsigned depth, bool exact);
