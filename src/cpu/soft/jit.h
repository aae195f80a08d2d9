/*
 * The translator: hot blocks of 64-bit code become host code. One of each vCPU, vCPU thread only.
 *
 * Registers. Guest registers live in the host registers of the same number, RSP included, but for R10 and
 * R11: those stay in c->regs, and the host's are scratch (T0, T1). So most instructions are the guest's own
 * bytes. All of struct soft_cpu, the blocks and the code lie below 2 GiB and are addressed relative to rip or
 * absolutely. As RSP is the guest's, translated code does not push or call, and signals are taken on a stack
 * of their own.
 *
 * Flags. Between blocks the arithmetic flags are in c->af, unless whatever follows overwrites them before it
 * reads them; inside they are in the host's flags, and are saved where a check would lose live ones. So a
 * fault, or an interrupt, may push dead flags that are not what hardware would push.
 *
 * Memory. Each access, or group of accesses off one base (jit_group.h), is checked against a one-entry TLB of
 * its own (jit_cell.h). On a miss that the TLB cannot fill, and for each instruction that is not translated,
 * the registers go to c->regs and the interpreter does that one instruction, or the rest of the block if a
 * group needed the check: so faults, MMIO and stores to code are its business alone.
 *
 * A block's first code is plain: its checks look into the TLB, and it counts how often it is used (in
 * counters side by side: those in blocks would take a line of the host's cache each). Most code is used some
 * thousand times, with data all over memory, and its cells would be filled anew again and again. What is used
 * more often than that is translated once more, with cells; what was linked to the old code is linked to the
 * new (jit_pages.c).
 *
 * Loops. A block that jumps to its own start has code for further iterations that checks no memory
 * (jit_loop.h): what they need was looked up in the TLB in front of the loop.
 *
 * Under the lock-step check (lockstep.h) all code comes back to C behind its block: nothing is linked, and
 * the jump table holds the way out.
 *
 * Entries of a block's code, in this order: "check" (leaves if an event is raised), "fast". Direct jumps go to
 * check or, forwards, to fast; returns and indirect jumps go through a jump table to check (jit_jumps.c). So
 * each cycle has a check. Whoever jumps to another page sets SREG_PAGE_RIP. What C wants to know of the code
 * (struct jit_code) is in front of what the check jumps to, off the main line. Code depends on the data TLB in use (enum soft_tlb_mode): up to one version for each.
 * When its page changes it dies by an event (jit_pages.c): a C function that code calls, and that may change
 * guest memory or page tables, leaves code if CPU_EV_SYNC is raised (soft_jit_may_return()).
 */
#pragma once

#include "cpu/soft/soft.h"

enum { JIT_CHECK_SIZE = 13 };

/* Without low memory, BMI2, or when it is not wanted, c->jit stays NULL: not an error. */
void soft_jit_init(struct soft_cpu *c);
void soft_jit_release(struct soft_cpu *c);
/* All code is forgotten; whoever calls forgets the blocks. */
void soft_jit_flush(struct soft_cpu *c);
/* Translations of code changed: all jumps to other pages are looked up anew. */
void soft_jit_remapped(struct soft_cpu *c);
/* The same of a page in the lower half, in the current address space: false if that is not enough, as other
 * tables may have code there. */
bool soft_jit_remapped_user(struct soft_cpu *c);
/* Does any jump lead to code of the page at this address, in the current address space? (Others' do not
 * count.) */
bool soft_jit_has_page(const struct soft_cpu *c, u64 linear);
/* Calls soft_cache_note_jump() for each page that has. False: they are not known. */
bool soft_jit_note_pages(struct soft_cpu *c);
/* c->tlb_tag is another now. */
void soft_jit_space(struct soft_cpu *c);
/* c is told by CPU_EV_SYNC of code that changes, with a translator or without. Unwatch does no harm if it
 * never was. */
void soft_jit_watch(struct soft_cpu *c);
void soft_jit_unwatch(struct soft_cpu *c);
/* CPU_EV_SYNC was raised (and is cleared): code of pages that changed dies. */
void soft_jit_sweep(struct soft_cpu *c);
/* The vCPU is in the middle of no code until it is back, and then looks at its events first. */
static inline void soft_jit_away(struct soft_cpu *c, bool away)
{
	atomic_store(&c->watch.away, away);
}
/* May a C function go back into the code that called it? If not it returns to run.c with c->rip set. */
static inline bool soft_jit_may_return(const struct soft_cpu *c)
{
	return !(atomic_load_explicit(&c->base.events, memory_order_relaxed) & CPU_EV_SYNC);
}
/* b, which has no code now, is to have plain code first. */
void soft_jit_plain_again(struct soft_cpu *c, struct soft_block *b);
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
	u32 op;     /* number of the op in its block (interpret, written); link: JIT_LINK_* */
	u32 block;  /* address of its block */
	u32 resume; /* where code goes on; link: address of the rel32 to patch */
	u32 off;    /* page offset to go to; interpret: JIT_SITE_*, and the op's page offset; written: 1 for a
	               call's push; far link: address of its probe */
};
enum {
	JIT_SITE_VECTORS = 1, /* they must stay live */
	JIT_SITE_REST = 2,    /* the rest of the block is interpreted, too */
	JIT_SITE_VCLASS = 4,  /* the op has one */
	JIT_SITE_OFF = 16     /* bits from here on: page offset */
};
enum {
	JIT_LINK_FAST = 1, /* to the fast entry */
	JIT_LINK_FAR = 2,
	JIT_LINK_MODE = 4,      /* 16 times: TLB mode */
	JIT_LINK_FLAGLESS = 64, /* flags are not saved */
	JIT_LINK_AGAIN = 8 /* 256 times: how often it was linked; when that is enough, it takes the probe */
};
enum { JIT_LINKS = 16 };
/* A far link, before its rel32: cmpl $key, jx.key; jne; addq $…, SREG_PAGE_RIP; jmp */
enum { JIT_FAR_GUARD = 1 + 11 + 6 + 4, JIT_FAR_MISS = 1 + 11 + 4 };

/* Of a block's code. */
struct jit_code {
	u32 next;       /* of the pages of one hash; JIT_NO_CODE ends */
	u32 block;      /* and in bits 3:0, as blocks are aligned: JIT_CODE_* */
	u32 generation; /* of its page */
	u32 check;      /* its check entry */
	u32 stale;      /* where it leaves when it is stale */
	u32 links; /* the last of the jumps that are linked to it: number of a struct jit_linked; 0: none */
};
enum { JIT_NO_CODE = 1, JIT_LINKED = 1 << 18 };
/* A jump to an entry of code. */
struct jit_linked {
	u32 at; /* its rel32 */
	u32 next;
};
enum {
	JIT_CODE_FLAGS = 1, /* struct soft_block.needs_flags */
	JIT_CODE_MODE = 1,  /* bits 2:1: TLB mode */
	JIT_CODE_RETIRED = 8,
	JIT_CODE_BITS = 15
};

/* Where it may be, of slots that begin with that of its rip: 0 or JIT_OTHER if the code needs no flags; with
 * JIT_NEEDS besides if it does. */
struct jit_jump {
	u64 rip, code; /* at the check entry */
};
struct jit_table {
	struct jit_jump *jumps;
	u32 key;
	u16 tag, count;
	u32 size;        /* of jumps; a power of two */
	u32 slots[2048]; /* that are in use, if count is not more */
};
enum {
	JIT_JUMPS = 131072,      /* of a user's table; half as many where there are many vCPUs */
	JIT_SUPER_JUMPS = 32768, /* of a supervisor's: kernels are large */
	JIT_NEEDS = 1,           /* slot ^ JIT_NEEDS: in the same line of the cache */
	JIT_OTHER = 128,         /* slot ^ JIT_OTHER: within a page of the host */
	JIT_USER_TABLE = 2,      /* the first of users */
	JIT_TABLES = 8,
	JIT_HEADS = 1024,
	JIT_CHANGED = 16,
	JIT_DEATHS = 8, /* then its code is taken to need flags, as that is cheaper to replace */
	JIT_SEEN = 8192,
	JIT_ALIASED = 4096
};
/* A page that has code was seen at this address under this key. */
struct jit_seen {
	u32 page, key;
	u64 linear;
};

/* A piece of code being written. */
struct jit_buf {
	u8 *p, *end; /* writable mapping */
	s64 to_run;  /* add to get the address at which it runs */
	bool full;
};

/* An instruction that may raise SIGFPE, by the address of its code. */
struct jit_fault {
	u32 pc, block;
	u16 op;    /* its number in the block */
	bool host; /* the guest's flags are in the host's */
};
enum { JIT_FAULTS = 1 << 16 };

struct jit_decoder;
struct jit_insn;
struct seams;
struct soft_jit {
	u8 *write, *run;          /* the same bytes */
	size_t used, size, fixed; /* fixed: trampolines, at the start; used == size: full */
	size_t unmapped;          /* what was used when the writable mapping's pages were given back */
	size_t ready, cold_ready; /* up to here both mappings have their pages */
	size_t cold, cold_used; /* from cold on: what is off the main line, apart, as it would fill caches */
	s32 threshold, uses;    /* executions until a block is translated, and until it is again */
	u32 event, stop, chain, far, miss, unknown, interpret, written, fault; /* trampolines */
	u32 out;                                                          /* … that targets of jumps are */
	u32 interpret_site, refill, across, stack_missed[SOFT_TLB_MODES]; /* trampolines of jit_cell.h */
	s32 *counters; /* of plain code's uses, to go: below 0 it is time for better code; the first is no
	                  block's */
	unsigned counter_count, counters_size;
	struct jit_fault *faults; /* ascending */
	unsigned fault_count;
	void (*enter)(u64 code);
	void *signal_stack;
	struct seams *seams; /* jit_seam.h; NULL: none */
	struct jit_map *map; /* NULL: not wanted */
	struct jit_decoder *decoder;
	struct jit_insn *insns; /* of the block being translated */
	u8 page[PAGE_SIZE];     /* a copy of its page */

	/* jit_jumps.c */
	struct jit_jump *jumps; /* of all tables */
	struct jit_table tables[JIT_TABLES];
	unsigned table_count, table, oldest; /* table: the current user's */
	u32 last_key, link_key;
	u64 link_rip;          /* where the last link was to go, link_key: under which key */
	struct jit_seen *seen; /* and as many more, for when old ones are sorted out */
	unsigned seen_count;
	u64 aliased[JIT_ALIASED / 64];
	bool seen_twice; /* seen does not have all addresses of aliased pages */

	/* jit_pages.c */
	_Atomic u32 heads[JIT_HEADS]; /* of struct jit_code; 0: there never was code */
	u16 changed[JIT_CHANGED], changed_count;
	bool changed_all;
	struct jit_linked *linked;
	u32 linked_count;      /* and one */
	u8 deaths[JIT_HEADS];  /* of code that needed no flags */
	u8 retired[JIT_HEADS]; /* pieces of code that are, and for which there is no other yet; 255: or more
	                        */
};

static inline void soft_jit_site(const struct soft_cpu *c, uintptr_t *start, uintptr_t *end, uintptr_t *entry)
{
	*start = (uintptr_t)c->jit->run;
	*end = *start + c->jit->size;
	*entry = c->jit->fault;
}

/* NULL: no plain code. */
static inline s32 *jit_counter(const struct soft_jit *j, const struct soft_block *b)
{
	return b->counter && b->counter != SOFT_NOT_PLAIN ? &j->counters[b->counter] : NULL;
}

/* ---- jit_jumps.c ---- */

/* How many entries the table of such code has. */
static inline u32 jit_jumps(const struct soft_jit *j, unsigned mode)
{
	return j->tables[mode == SOFT_TLB_USER ? JIT_USER_TABLE : mode - 1].size;
}
u32 jit_key(const struct soft_cpu *c, unsigned mode);
/* Block b is about to run at rip; may start new keys. */
void jit_note_page(struct soft_cpu *c, const struct soft_block *b, u64 rip, unsigned mode);
/* The code for rip; 0: none is known. */
u32 jit_jump_at(const struct soft_cpu *c, u64 rip, unsigned mode);
void jit_note_jump(struct soft_cpu *c, u64 rip, u32 code, unsigned mode, bool needs_flags);
/* Code was left at s for block b, which has code now. False: the jump goes by the table. */
bool jit_link(struct soft_cpu *c, const struct jit_site *s, const struct soft_block *b, u32 code,
              unsigned mode);
/* There is no code to link it with. */
void jit_link_none(struct soft_cpu *c, const struct jit_site *s);

/* ---- jit_pages.c ---- */

void jit_pages_forget(struct soft_jit *j);
/* There is going to be code of b's page. Is the block still current? */
bool jit_pages_announce(struct soft_jit *j, const struct soft_block *b);
/* This version of b's code is not to be used again. */
void jit_pages_retire(struct soft_jit *j, struct soft_block *b, unsigned mode);
/* Does code of b's page change again and again? */
bool jit_pages_change(const struct soft_jit *j, const struct soft_block *b);
void jit_pages_add(struct soft_jit *j, const struct soft_block *b, struct jit_code *code);
/* The rel32 at `at` goes to an entry of the code whose check entry is `code`: to that of other code once that
 * replaces it. */
void jit_pages_linked(struct soft_jit *j, u32 code, u32 at);

/* jit_x87.c: op o of c->block is interpreted, or faults, in the middle of code: the x87 pointers become what
 * the op before it left. */
void soft_jit_x87_before(struct soft_cpu *c, const struct op *o);

/* Code of b for the TLB now in use, at the check entry; 0: cannot be. */
u32 soft_jit_translate(struct soft_cpu *c, struct soft_block *b, unsigned mode);
