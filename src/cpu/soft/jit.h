/*
 * The translator: hot blocks of 64-bit code become host code. One of each vCPU, vCPU thread only.
 *
 * Registers. Guest registers live in the host registers of the same number, RSP included, but for R10 and
 * R11: those stay in c->regs, and the host's are scratch (T0, T1). So most instructions are the guest's own
 * bytes. All of struct soft_cpu, the blocks and the code lie below 2 GiB and are addressed absolutely. As RSP
 * is the guest's, translated code does not push or call, and signals are taken on a stack of their own.
 *
 * Flags. Between blocks the arithmetic flags are in c->af, unless whatever follows overwrites them before it
 * reads them; inside they are in the host's flags, and are saved where a check would lose live ones. So a
 * fault, or an interrupt, may push dead flags that are not what hardware would push.
 *
 * Memory. Each access looks up the TLB inline. On a miss, and for each instruction that is not translated,
 * the registers go to c->regs and the interpreter does that one instruction (soft_jit_interpret()): so
 * faults, MMIO and stores to code are its business alone.
 *
 * Under the lock-step check (lockstep.h) all code comes back to C behind its block: nothing is linked, and
 * the jump table holds the way out.
 *
 * Entries of a block's code, in this order: "far" (T0 is rip: sets SREG_PAGE_RIP), "check" (events,
 * generation of the page), "fast" (neither). Forward jumps within the page go to fast, backward ones to
 * check, all others through the jump table by rip (jit_jumps) to far. Code depends on the data TLB in use
 * (enum soft_tlb_mode): up to one version for each.
 */
#pragma once

#include "cpu/soft/soft.h"

enum { JIT_FAR_SIZE = 15, JIT_CHECK_SIZE = 37 };

/* Without low memory, BMI2, or when it is not wanted, c->jit stays NULL: not an error. */
void soft_jit_init(struct soft_cpu *c);
void soft_jit_release(struct soft_cpu *c);
/* All code is forgotten; whoever calls forgets the blocks. */
void soft_jit_flush(struct soft_cpu *c);
/* The jump table's keys start anew. */
void soft_jit_forget_jumps(struct soft_cpu *c);
/* The calling thread is about to run c, or no longer: its signal stack. */
void soft_jit_thread(struct soft_cpu *c, bool runs);

/* Runs block b, which is at c->rip and current, if it is or becomes translated, and what it chains to; c->rip
 * says where it stopped. False: to be interpreted. */
bool soft_jit_run(struct soft_cpu *c, struct soft_block *b);

/* Where code is, and where it goes on when a vector instruction in it faults (vec_signal.h). */
static inline void soft_jit_site(const struct soft_cpu *c, uintptr_t *start, uintptr_t *end,
                                 uintptr_t *entry);

/* How many executions make a block hot. */
#define SOFT_JIT_NEVER 0x7fffffff

/* ---- between jit*.c ---- */

/* A place in code that leaves it: 16 bytes behind the block's code. */
struct jit_site {
	u32 op; /* address of the op (interpret, written); chain: 1 if it links to the fast entry, + 2 * TLB
	           mode */
	u32 block;  /* address of its block */
	u32 resume; /* where code goes on; chain: address of the rel32 to patch */
	u32 off;    /* page offset to go to; interpret: 1 if vectors must stay live; written: 1 if the op behind is not what comes next */
};

/* A piece of code being written. */
struct jit_buf {
	u8 *p, *end; /* writable mapping */
	s64 to_run;  /* add to get the address at which it runs */
	bool full;
};

/* An instruction that may raise SIGFPE, by the address of its code. */
struct jit_fault {
	u32 pc, op, block;
	bool host; /* the guest's flags are in the host's */
};
enum { JIT_FAULTS = 1 << 16 };

struct jit_insn;
struct soft_jit {
	u8 *write, *run;          /* the same bytes */
	size_t used, size, fixed; /* fixed: trampolines, at the start */
	s32 threshold;
	u32 stop, chain, miss, interpret, written, single, fault; /* trampolines */
	struct jit_fault *faults;                         /* ascending */
	unsigned fault_count;
	void (*enter)(u64 code);
	void *signal_stack;
	struct jit_map *map;    /* NULL: not wanted */
	struct jit_insn *insns; /* of the block being translated */
	u8 page[PAGE_SIZE];     /* a copy of its page */
};

static inline void soft_jit_site(const struct soft_cpu *c, uintptr_t *start, uintptr_t *end, uintptr_t *entry)
{
	*start = (uintptr_t)c->jit->run;
	*end = *start + c->jit->size;
	*entry = c->jit->fault;
}

/* Code of b for the TLB now in use, at the check entry; 0: cannot be. */
u32 soft_jit_translate(struct soft_cpu *c, struct soft_block *b, unsigned mode);
