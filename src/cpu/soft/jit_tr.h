/*
 * A block while it is being translated: what the translator's parts share. jit_translate.c goes through the
 * block's operations and writes what is off the main line behind it; jit_memory.c has addresses and their
 * checks, jit_copy.c what computes and moves, jit_flow.c jumps, calls and returns, jit_system.c what kernels
 * do. The rules that all code keeps are in jit.h.
 */
#pragma once

#include "cpu/soft/jit_cell.h"
#include "cpu/soft/jit_emit.h"
#include "cpu/soft/jit_group.h"
#include "cpu/soft/jit_insn.h"
#include "cpu/soft/jit_loop.h"

/* Code off the main line, written behind it. */
enum cold_kind {
	COLD_INTERPRET,
	COLD_CELL,
	COLD_PLAIN,
	COLD_WRITTEN,
	COLD_CHAIN,
	COLD_FAR,
	COLD_JCC,
	COLD_REDO,
	COLD_LOOP,
	COLD_PROBE,
	COLD_UNKNOWN,
	COLD_OTHERS,
	COLD_EVENT,
	COLD_USED,
	COLD_STOP
};
struct cold {
	u8 kind;
	bool rest;    /* interpret: the rest of the block, too */
	bool of_loop; /* jcc: leaves jit_loop.h's code */
	bool vectors; /* interpret: they must be live behind it as they are in front of it */
	bool load;    /* interpret: the main line goes on with the flags in the host's; jcc: flags are to be
	                 saved */
	u8 writer;    /* of the flags that are not saved, or 0: they are had before C is called */
	u16 op;
	u8 *site;                 /* the rel32 that goes there */
	u32 resume;               /* far: the link's rel32 */
	s64 disp;                 /* chain, far, jcc, stop: where to; cell: its number */
	u32 addend, addend_again; /* cells whose addend must be in T1 behind it, and for another try */
	struct plain_check check; /* plain */
	u32 behind;               /* plain: the address behind the check */
};
enum { COLDS = 4 * JIT_INSNS };

struct tr {
	struct soft_cpu *c;
	struct soft_block *block;
	unsigned count; /* of the block's ops that are translated: fewer if a loop begins behind them */
	struct jit_buf b;
	unsigned mode; /* enum soft_tlb_mode, at this place of the code */
	unsigned entry_mode;
	bool plain;           /* the first code of a block, see jit.h */
	unsigned check_after; /* events are looked at behind this op */
	u32 check, stale;     /* this code's own check entry; where it leaves when it is stale */
	u8 start_live;        /* flags that are live at the block's start */
	bool host, saved;     /* where the flags are: in the host's, in c->af */
	u8 vec; /* classes of vector instructions that are known to be allowed, vectors being live */
	/* Where the last copy of an instruction ended, and which of T0 and T1 hold there what the guest's R10 and R11
	 * do: what comes next need not load them. */
	const u8 *held_at;
	u16 held;   /* BIT(register) */
	u32 addend; /* the cell whose addend is in T1, or JIT_LOOP_ADDEND + a loop's group; 0: of none */
	struct jit_groups groups;
	struct jit_loop loop;
	bool in_loop; /* the loop's own code is being written */
	bool early;   /* … or early checks, before the first op */
	bool direct;  /* checks look into the TLB, which leads to guest memory itself, not to a window */
	/* Op + 1: of the flags that the exit does not save; and since it was done, until they are saved. */
	u8 writer, pending;
	unsigned colds, open; /* open: the first whose resume is not known yet */
	struct cold cold[COLDS];
};

/* R10 and R11: they live in c->regs. */
static inline bool jit_displaced(unsigned reg)
{
	return reg == T0 || reg == T1;
}
static inline bool jit_in_page(s64 disp)
{
	return disp >= 0 && disp < (s64)PAGE_SIZE;
}

/* ---- jit_translate.c ---- */

/* Saves live flags in c->af; clobbers T0. */
void tr_save_flags(struct tr *t, u8 live);
/* … all that the host's have. */
void tr_save_host_flags(struct tr *t);
/* The host's flags from c->af; keeps T0 and T1. */
void tr_load_flags(struct tr *t);
/* Brings flags that are live into the host's. */
void tr_need_flags(struct tr *t, u8 live);
/* The op. */
void tr_one(struct tr *t, unsigned op);
/* A way out, taken by the rel32 at site. */
struct cold *tr_cold(struct tr *t, unsigned kind, unsigned op, u8 *site);
/* The interpreter does the op. */
void tr_interpret(struct tr *t, unsigned op, u8 before);

/* ---- jit_memory.c ---- */

/* Where an operand is for an instruction of the host: [base + index + disp]. */
struct place {
	s8 base, index; /* registers or NO_REG; T0 and T1 are busy if they are among them */
	s32 disp;
	u32 cell; /* for tr_written(): as in struct tr's addend */
	u8 scale; /* of index */
};

/* T1 = T0's entry in a TLB, as an offset. */
void jit_tlb_index(struct jit_buf *b);
/* T0 or T1 = the guest's register of that number, unless it is held. */
void tr_load_displaced(struct tr *t, unsigned reg);
/* Effective address of o's memory operand to T0; clobbers T1 if R11 is in it. */
void tr_address(struct tr *t, const struct op *o);
/* Checks an access of size bytes to o's memory operand, or to [reg + disp]; align: bits of the address that
 * must be 0, else the op is interpreted. Where that loses flags it saves those that are live, which `before`
 * tells. */
struct place tr_operand(struct tr *t, unsigned op, const struct op *o, unsigned size, bool write, u8 align,
                        u8 before);
/* The op's access to the stack. */
struct place tr_stack(struct tr *t, unsigned op, unsigned reg, s32 disp, bool write, u8 before);
/* At the start: the checks of groups that are checked there. */
void tr_early_checks(struct tr *t);
/* T1 = the addend of a cell, or of a loop's group. */
void tr_load_addend(struct tr *t, u32 cell);
/* Which of T0 and T1 can hold something else while the place is used. Before flags are loaded. */
unsigned tr_spare(struct tr *t, struct place *p);
/* opcode reg, place */
void tr_emit(struct tr *t, bool wide, unsigned opcode, unsigned reg, const struct place *p);
/* Behind a store: it may have been one to code (jit_cell.h). Clobbers T0 and flags if it asks; last: a call's
 * push. */
bool tr_asks_written(const struct tr *t);
void tr_written(struct tr *t, unsigned op, const struct place *p, bool last);

/* The same with the host address in T0: from the linear address in T0; page: its page word's address to T1,
 * else T1 is free. */
void tr_check(struct tr *t, unsigned op, unsigned size, bool write, bool page);
/* After a store: T1 has the page word's address. T0 is free. last: a call's push. */
void tr_check_written(struct tr *t, unsigned op, bool last);
/* Room on the stack for 8 bytes: host address to T0, page word to T1. rsp does not change yet. */
void tr_push_check(struct tr *t, unsigned op);
void tr_move_rsp(struct tr *t, s32 by);

/* ---- jit_copy.c; before, after: flags live in front of the op and behind it ---- */

/* Vector state must be live, the class of o be allowed. */
void tr_check_vector(struct tr *t, unsigned op, const struct op *o, u8 before);
void tr_copy_memory(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n, u8 after);
void tr_copy_registers(struct tr *t, const struct op *o, const struct jit_insn *n, u8 after);
void tr_lea(struct tr *t, const struct op *o, const struct jit_insn *n);
void tr_push(struct tr *t, unsigned op, const struct op *o, u8 before);
void tr_pop(struct tr *t, unsigned op, const struct op *o, u8 before);
void tr_leave(struct tr *t, unsigned op, u8 before);

/* ---- jit_flags.c ---- */

/* Op `exit` jumps somewhere: finds out whether its flags can be had later (jit_insn.writer). */
void tr_plan_flags(struct tr *t, unsigned exit);
/* Behind the op that is the writer, if n->aside. */
void tr_put_aside(struct tr *t, const struct op *o, const struct jit_insn *n);
/* At an exit: 0 if flags are saved (now), else the writer whose flags are not. */
unsigned tr_exit_flags(struct tr *t, unsigned op);
/* The writer's flags to c->af. T0 and T1 are lost. */
void tr_redo_flags(struct tr *t, unsigned writer);

/* Flags live at offset off of the page, where op leads; looked up once. jit_translate.c */
u8 tr_live_there(struct tr *t, unsigned op, unsigned off);

/* ---- jit_flow.c ---- */

/* Flags live behind jump o, where it is taken. */
u8 tr_live_after_jump(struct tr *t, const struct op *o);
/* The rel32 at `from` goes to offset off of this page. */
void tr_link(struct tr *t, u8 *from, unsigned off, bool fast);
/* To page rip + disp, which is in another page. */
void tr_far_jump(struct tr *t, s64 disp, unsigned writer);
/* The ways out of a far jump: by the jump table (its address is returned), and, with rip in T0, what follows.
 */
u32 tr_far_probe(struct tr *t, const struct cold *k);
void tr_jcc_taken(struct tr *t, const struct cold *k);
/* The way out of a jump that found no code that needs no flags: those of k->writer are had, then any will do.
 */
void tr_redo_probe(struct tr *t, const struct cold *k);
/* … of one that found no code at the first place. */
void tr_probe_other(struct tr *t, const struct cold *k);
/* To rip in T0 in the mode that is now, with flags saved; and its way out, if the first place has no code. */
void tr_jump_saved(struct tr *t, unsigned op);
void tr_probe_saved(struct tr *t, const struct cold *k);
/* Page rip + disp to T0. */
void tr_rip_to_t0(struct tr *t, s64 disp);
void tr_jcc(struct tr *t, const struct op *o, const struct jit_insn *n);
void tr_jmp(struct tr *t, unsigned op, const struct op *o);
void tr_call(struct tr *t, unsigned op, const struct op *o);
/* A call that the block goes on behind. */
void tr_into(struct tr *t, unsigned op, const struct op *o, u8 before);
void tr_ret(struct tr *t, unsigned op, const struct op *o);

/* ---- jit_system.c ---- */

enum { EXT_OR = 1, EXT_AND = 4, EXT_XOR = 6 };
/* 81 /ext: group 1 on a doubleword of state; flags are lost. */
void tr_state_op(struct tr *t, unsigned ext, const volatile void *at, u32 imm);
/* What follows is code for that TLB mode (enum soft_tlb_mode); T0 is lost. */
void tr_to_mode(struct tr *t, unsigned mode);
/* RFLAGS to T0, flags being saved; T1 is lost. */
void tr_rflags_to_t0(struct tr *t);
/* The interpreter does the op if T0 is not canonical; T1 and flags are lost. */
void tr_need_canonical(struct tr *t, unsigned op);
/* Does op if it is one of those that this file knows; else false, and nothing was written. */
bool tr_system(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n);

/* ---- jit_syscall.c: likewise ---- */

bool tr_syscall(struct tr *t, unsigned op, const struct op *o);
bool tr_sysret(struct tr *t, unsigned op, const struct op *o);

/* ---- jit_x87.c ---- */

/* Behind an x87 instruction: where it was, and its operand; clobbers T0 and T1. */
void tr_x87_pointers(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n);

/* ---- jit_string.c: likewise ---- */

bool tr_string(struct tr *t, unsigned op, const struct op *o, const struct jit_insn *n);
