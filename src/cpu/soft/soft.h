/*
 * The soft engine's own header: one vCPU's state, decoded operations, and what its parts offer to each other.
 * Nothing outside of src/cpu/soft includes it.
 *
 * Theory of operation. Guest code is decoded once, by Zydis, into blocks of struct op (block.c, decode.c). A
 * block lies in one physical page, is keyed by guest-physical address and mode, and belongs to one vCPU.
 * run.c finds the block at rip and calls op after op; each op's function does the instruction and returns the
 * next op, or NULL when rip was set anew. Memory goes through a soft TLB (mmu.h). Faults leave by
 * soft_raise(), a longjmp back to run.c, so an instruction changes no guest state before its last access that
 * can fault.
 *
 * Vector state. Guest x87/SSE/AVX registers live in the host's own while `vec_live`; this room is compiled
 * for general registers only, so its code leaves them alone. Whoever calls out of the room (board, libc,
 * Zydis) parks them first: soft_vec_park(); faults leave them as they are. In sanitizer builds they are
 * parked after each operation.
 *
 * Threads: everything here belongs to the vCPU's thread, but for struct cpu's atomics and physmem's page
 * words.
 */
#pragma once

#include "base/types.h"
#include "cpu/cpu.h"

#include <setjmp.h>

/* Sanitizers' own code uses vector registers everywhere. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VEC_PARK_ALWAYS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define VEC_PARK_ALWAYS 1
#endif
#endif
#ifndef VEC_PARK_ALWAYS
#define VEC_PARK_ALWAYS 0
#endif

/* Faults leave by a jump that keeps vector registers, as libc's does not promise; sanitizers know only
 * libc's. */
#if VEC_PARK_ALWAYS
typedef jmp_buf soft_jmp_buf;
#define soft_setjmp(buf)  setjmp(buf)
#define soft_longjmp(buf) longjmp(buf, 1)
#else
typedef void *soft_jmp_buf[5];
#define soft_setjmp(buf)  __builtin_setjmp(buf)
#define soft_longjmp(buf) __builtin_longjmp(buf, 1)
#endif

struct soft_cpu;
struct op;
struct insn; /* decode.h */

/* Returns the op to do next: o + 1, the first op of a linked block, or NULL with c->rip set. */
typedef const struct op *(*op_fn)(struct soft_cpu *c, const struct op *o);

enum {
	OPF_LOCK = 1,
	OPF_REP = 2,
	OPF_REPNE = 4,
	OPF_LONG = 8 /* decoded in 64-bit mode */,
	OPF_CPL0 = 16 /* see block.h */,
	OPF_ONCE = 32 /* under the lock-step check: see lockstep.h */,
	OPF_TLB = 64 /* translated: its access looks into the TLB, see jit_cell.h */,
	OPF_ALONE = 128 /* translated: its base has no group, see jit_group.h */
};
enum { KIND_NONE, KIND_REG, KIND_MEM, KIND_IMM };

/* Pseudo registers behind the sixteen: always zero, and rip of the first byte of the current code page. */
enum { SREG_ZERO = 16, SREG_PAGE_RIP = 17, SREG_COUNT = 18 };

struct op {
	op_fn fn;
	u64 imm;  /* immediate, sign-extended as the instruction says; relative branch: see disp; far pointer:
	             offset */
	s64 disp; /* memory: displacement (rip-relative: base is SREG_PAGE_RIP); relative branch: target -
	             page rip */
	union {
		struct soft_block *link; /* branch: block at the target, if in the same page */
		void *stub;              /* vector: host code */
		u64 aux;                 /* far pointer: selector; others' own */
	};
	/* Operands 0..2 in Intel order. Register: general -> byte offset into c->regs (AH: 1, CH: 9, …);
	 * segment, control, debug, x87, vector -> its number. */
	u8 r[3];
	u8 kinds;              /* KIND_* of operand n in bits 2n+1:2n */
	u8 base, index, scale; /* register numbers (or SREG_*), log2 of the scale */
	u8 seg;                /* SEG_*, overrides applied */
	u8 size;   /* operand size in bytes: of operand 0 if explicit, else the effective operand size */
	u8 osize;  /* effective operand-size attribute in bytes: 2, 4, 8 */
	u8 asize;  /* address-size attribute in bytes: 2, 4, 8 */
	u8 flags;  /* OPF_* */
	u8 len;    /* instruction length in bytes */
	u8 vclass; /* VEC_DENY_* bits that forbid it, see vec.h; 0 for others */
	u16 off;   /* offset of its first byte in the page */
};

static inline unsigned op_kind(const struct op *o, unsigned n)
{
	return o->kinds >> (2 * n) & 3;
}

/* 12 at most: address-space tags are in the low bits of pages' addresses. */
#define SOFT_TLB_BITS    12
#define SOFT_TLB_ENTRIES (1u << SOFT_TLB_BITS)

/* Tag: linear page address + (address-space tag << PAGE_SHIFT). Tags are 1 to SOFT_TLB_ENTRIES - 2, and an
 * entry's index is bits 23:12 of its page, so the sum is unambiguous; and linear + tlb_key - tag is the
 * offset in the page on a hit, at least PAGE_SIZE on a miss. */
struct soft_tlb_entry {
	u64 tag_read, tag_write;
	u64 addend;        /* host address - linear address */
	u8 *host;          /* the page */
	_Atomic u32 *page; /* the page's word in physmem */
	u64 unused[3];     /* in the same line of the host's cache, and of a size to shift by */
};

/* The tag of an invalid entry: as if of address space 0, which there is not. */
static inline u64 soft_tlb_none(unsigned index)
{
	return (u64)index << 12;
}

enum { SOFT_STACK_SPANS = 5 };
/* Data TLBs by privilege; SOFT_TLB_SLOW never hits (alignment checks, data breakpoints). */
enum soft_tlb_mode { SOFT_TLB_USER, SOFT_TLB_SUPER_SMAP, SOFT_TLB_SUPER, SOFT_TLB_MODES };

#define SOFT_ITLB_ENTRIES 1024
struct soft_itlb_entry {
	u64 tag; /* as above; address-space tag 0: a global page */
	u64 gpa; /* of the page */
	u8 *hva;
	_Atomic u32 *page; /* NULL: not RAM */
};

/* How many operations a block has at most, guards (OPF_CPL0) among them: at first, and once it is widened. */
#define SOFT_BLOCK_FIRST 64
#define SOFT_BLOCK_OPS   250

#define SOFT_NOT_PLAIN ((1u << 20) - 1)

struct soft_block {
	u64 gpa;
	_Atomic u32 *page; /* the page's word, and its value when the block was decoded: see generation */
	struct op *ops;    /* count, and an end op that sets rip behind the last; NULL: see block.h */
	u32 next;          /* hash chain: number of a block, 0: none */
	u32 kept;          /* where its bytes are for good, see block.c; 0: behind its ops */
	u32 generation;
	s32 heat;         /* executions until it is translated (jit.h); less than 1: code may be there */
	u32 counter : 20; /* of the uses of its plain code (jit.h); 0: there has been none; or SOFT_NOT_PLAIN */
	u32 before : 12;          /* of its bytes, those in front of its start: wide blocks */
	u32 code[SOFT_TLB_MODES]; /* translations, 0: none */
	u16 off;                  /* in the page */
	u16 bytes;
	u8 count;             /* of ops, without the closing one */
	u8 mode : 4;          /* SOFT_MODE_* */
	u8 revived : 4;       /* how often, up to a limit */
	u8 seen;              /* heat when op_ring.c last looked, bits 7:0 */
	bool needs_flags : 1; /* translated: not all flags are written before they are read or it is left */
	bool learned : 1;     /* its ops have OPF_TLB or OPF_ALONE */
	bool loops : 1;       /* translated: it is a loop (jit_loop.h) */
	bool wide : 1;        /* soft_block_widen() */
	bool regrouped : 1;   /* groups that plain code gave up were tried with cells */
};
_Static_assert(sizeof(struct soft_block) == 64, "a block is a line of the host's cache");

/* What decoding depends on; also the key of a block. */
enum soft_mode {
	SOFT_MODE_REAL16, /* real or virtual-8086 mode */
	SOFT_MODE_REAL32, /* real mode with a 32-bit CS ("unreal" code segment) */
	SOFT_MODE_PROT16,
	SOFT_MODE_PROT32,
	SOFT_MODE_COMPAT16,
	SOFT_MODE_COMPAT32, /* long mode active, CS.L = 0 */
	SOFT_MODE_LONG64,
	/* Of blocks alone: one instruction that crosses the end of its page, and the second page of it
	 * (block_single.c). */
	SOFT_MODE_CROSSING = 8,
	SOFT_MODE_SECOND = 15
};
static inline enum soft_mode soft_block_mode(const struct soft_block *b)
{
	return (enum soft_mode)(b->mode & ~(unsigned)SOFT_MODE_CROSSING);
}

#define SOFT_JUMP_ENTRIES 16384
struct soft_jump {
	u64 rip; /* linear */
	u64 key; /* exec tag | mode: see block_jumps.c */
	struct soft_block *block;
};

enum soft_event_kind {
	SOFT_EVENT_NONE,
	SOFT_EVENT_EXCEPTION, /* processor-detected */
	SOFT_EVENT_SOFT_INT,  /* INT n */
	SOFT_EVENT_SOFT_EXC,  /* INT3, INTO */
	SOFT_EVENT_PRIV_EXC,  /* INT1 */
	SOFT_EVENT_EXTERNAL,
	SOFT_EVENT_NMI,
};

/* An event to deliver, or being delivered. */
struct soft_event {
	u8 kind; /* enum soft_event_kind */
	u8 vector;
	bool has_error;
	bool trap; /* saved rip is that of the next instruction (informative; rip below is what is pushed) */
	u32 error;
	u64 rip;
};

/* Copies of what is read across a page's end: as many as a block has groups; bytes of each. */
enum { SOFT_ACROSS = 48, SOFT_ACROSS_SPAN = 64 };

/* Reasons to run one instruction at a time. */
enum {
	SOFT_STEP_TF = 1,
	SOFT_STEP_RF = 2,
	SOFT_STEP_SHADOW = 4,
	SOFT_STEP_BREAKPOINT = 8,
	SOFT_STEP_DB = 16
};
/* Interrupt shadow: after STI; after MOV SS/POP SS, which holds back debug traps too. */
enum { SOFT_SHADOW_STI = 1, SOFT_SHADOW_SS = 2 };

/* What SYSCALL and SYSRET make of STAR and SFMASK, for translated code (jit_syscall.c); [0]: of SYSCALL. */
struct soft_syscall {
	struct vcpu_segment cs[2], ss[2];
	u64 keep;    /* of RFLAGS, bit 1 too; and of soft_cpu.af: */
	u32 keep_af; /* its own bit that is always set too */
	u8 ready;    /* 1 + the TLB mode that SYSCALL leads to; 0: the rest says nothing yet, C does it */
};

struct soft_cpu {
	struct cpu base; /* first */

	/* ---- hot ---- */
	u64 regs[SREG_COUNT];
	u64 rip;             /* valid between blocks, and wherever op is NULL */
	const struct op *op; /* the one being executed, NULL outside of blocks */
	/* Arithmetic flags as LAHF and SETO give them: AH (SF ZF 0 AF 0 PF 1 CF) in bits 15:8, OF in bit 0.
	 */
	u32 af;
	u32 events_enabled;         /* bits of base.events that matter now */
	u64 rflags;                 /* all but FLAG_ARITH, which are 0 here; bit 1 set */
	struct soft_tlb_entry *tlb; /* data TLB of the current privilege */
	u64 tlb_tag;                /* address-space tag now */
	u64 tlb_key;                /* tlb_tag << PAGE_SHIFT */
	u64 segbase[SEG_COUNT];     /* what is added to an offset: 0 for ES, CS, SS, DS in 64-bit mode */
	bool long64;                /* in 64-bit mode */
	u8 cpl;
	u8 mode;         /* enum soft_mode */
	u8 shadow;       /* SOFT_SHADOW_* in force for the instruction about to run */
	bool rehearsing; /* lockstep.h */
	bool check_failed;
	u8 step;     /* SOFT_STEP_*; != 0: run.c goes one instruction at a time */
	u8 vec_deny; /* VEC_DENY_*: what vector instructions may not run now */
	bool vec_live;
	bool in_slow_step;    /* run.c's own */
	u32 pauses;           /* PAUSE instructions, to yield now and then: */
	u32 pauses_per_yield; /* a power of two; few if vCPUs have to share the host's CPUs */

	struct soft_block *block; /* being executed */
	struct {
		struct soft_block *block;
		struct op *op;
		op_fn fn;
	} stop; /* soft_block_stop(): the op that ends the block now, and its own function */
	struct soft_cells *cells; /* the translator's, see jit_cell.h; NULL: none */
	struct soft_jit *jit;     /* the translator's own; NULL: only interpret. And what its code uses: */
	struct {
		u64 host_rsp, resume;
		u64 key[2], table; /* of links: of the user, of the supervisor; the user's jump table */
		u64 target_rip, target_code, temp, temp2, aside[2];
		u64 interpret, written, fault, refill; /* functions */
		u64 site;
		u64 unknown[2]; /* stands for the struct jit_jump of a target that no table has */
		u64 addend;     /* for T1, with jx.resume: where code goes on with it */
		u64 stack_limit[SOFT_TLB_MODES]
		               [SOFT_STACK_SPANS]; /* of cells, by what is accessed: jit_cell.h */
		u8 vec;                            /* vec_deny, and VEC_PARKED unless vec_live */
		u32 flushes;                       /* of translations; counts */
		bool low_shared; /* tables but the current user's may have code of the lower half */
		bool own_pages;  /* the supervisor's tables may have supervisor code of this address space
		                    alone */
		u32 link;        /* the site that was left by, to be linked */
		struct soft_syscall syscall;
		struct {
			u64 limit, early, count, most;
			u64 rounds; /* under the lock-step check: iterations since the block was entered */
			struct {
				u64 host, page;
			} at[16];
		} loop; /* the loop that runs, see jit_loop.h */
		/* Copies, see jit_cell.h: of groups, and one of single accesses. */
		u8 across[SOFT_ACROSS + 1][2 * SOFT_ACROSS_SPAN] __attribute__((aligned(SOFT_ACROSS_SPAN)));
		u32 across_next;
	} jx;
	struct {
		struct soft_cpu *next;
		u64 seen;          /* the last change of code that it has noticed */
		_Atomic bool away; /* between two instructions, and looks for events before the next */
	} watch;                   /* jit_pages.c */
	struct soft_event event;   /* to deliver next */
	struct soft_event delivering;
	bool shutdown;
	bool nmi_blocked, nmi_pending;
	bool halted;
	u8 activity; /* enum vcpu_activity */
	soft_jmp_buf jmp;

	/* ---- architectural ---- */
	struct vcpu_segment seg[SEG_COUNT], ldtr, tr;
	struct vcpu_table gdtr, idtr;
	u64 cr0, cr2, cr3, cr4, xcr0, efer;
	u64 dr[4], dr6, dr7;
	u64 db_pending; /* DR6 bits of a debug trap to raise after this instruction */
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, tsc_adjust, tsc_aux, misc_enable, debugctl, xss, spec_ctrl;
	u64 mtrr_def_type, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
	/* x87 pointers as the guest sees them (the host's own would be addresses of stubs). */
	u64 fpu_ip, fpu_dp;
	u16 fpu_op;
	u8 vec_high; /* XSTATE_AVX512: components in xsave that may not be zero */
	u8 xsave[VCPU_XSAVE_SIZE] __attribute__((aligned(64))); /* vector state while not vec_live */

	/* ---- memory ---- */
	struct soft_tlb_entry tlbs[SOFT_TLB_MODES][SOFT_TLB_ENTRIES];
	struct soft_tlb_entry tlb_slow[SOFT_TLB_ENTRIES];
	struct soft_itlb_entry itlb[2][SOFT_ITLB_ENTRIES]; /* supervisor, user */
	struct soft_mmu *mmu; /* mmu_tlb.h: address-space tags, large-page records */
	/* Read-modify-write in progress, see soft_rmw(). */
	struct {
		_Atomic u32 *page;
		bool locked;
		u64 buf[2];
	} rmw;
	u8 bounce[2][64] __attribute__((aligned(64))); /* vector operands that cross a page or are MMIO */

	/* ---- code ---- */
	struct soft_jump jumps[SOFT_JUMP_ENTRIES];
	struct soft_cache *cache; /* block.c's own: blocks and their hash */
	struct decode_cache *decoded;
	struct soft_stubs *stubs;       /* vec.c's own: host code */
	struct soft_lockstep *lockstep; /* NULL: no check */
};

/* mmap() of anonymous memory (fd -1) or of a file: for the translator (jit.h) below 2 GiB if there is room,
 * else anywhere. run.c */
void *soft_map(const struct cpu_config *config, size_t size, int prot, int fd);

/* A vCPU's share of what must lie there: all if it is alone, down to `least` where there are many. */
static inline size_t soft_share(const struct soft_cpu *c, size_t all, size_t some, size_t least)
{
	unsigned count = c->base.config.count;

	return count <= 1 ? all : count <= 2 ? max(all / 2, some) : count <= 16 ? some : least;
}

static inline struct soft_cpu *soft_of(struct cpu *c)
{
	return (struct soft_cpu *)c;
}

/* ---- registers and flags ---- */

static inline u64 *soft_reg64(struct soft_cpu *c, unsigned off)
{
	return (u64 *)((u8 *)c->regs + off);
}
static inline u32 *soft_reg32(struct soft_cpu *c, unsigned off)
{
	return (u32 *)((u8 *)c->regs + off);
}
static inline u16 *soft_reg16(struct soft_cpu *c, unsigned off)
{
	return (u16 *)((u8 *)c->regs + off);
}
static inline u8 *soft_reg8(struct soft_cpu *c, unsigned off)
{
	return (u8 *)c->regs + off;
}

/* Size in bytes; a 32-bit write clears the upper half, smaller ones leave the rest. */
static inline u64 soft_reg_get(const struct soft_cpu *c, unsigned off, unsigned size)
{
	const u8 *p = (const u8 *)c->regs + off;

	switch (size) {
	case 1:
		return *p;
	case 2:
		return *(const u16 *)p;
	case 4:
		return *(const u32 *)p;
	default:
		return *(const u64 *)p;
	}
}
static inline void soft_reg_set(struct soft_cpu *c, unsigned off, unsigned size, u64 v)
{
	u8 *p = (u8 *)c->regs + off;

	switch (size) {
	case 1:
		*p = (u8)v;
		break;
	case 2:
		*(u16 *)p = (u16)v;
		break;
	case 4:
		*(u64 *)p = (u32)v;
		break;
	default:
		*(u64 *)p = v;
		break;
	}
}

/* RFLAGS as the guest sees them. */
static inline u64 soft_rflags(const struct soft_cpu *c)
{
	return c->rflags | (c->af >> 8 & (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF)) |
	       (c->af & 1) << 11;
}
/* Sets only the arithmetic flags from the RFLAGS image v. */
static inline void soft_set_arith(struct soft_cpu *c, u64 v)
{
	c->af = (u32)((v & 0xd5) | 2) << 8 | (u32)(v >> 11 & 1);
}
/* Sets all of RFLAGS (no permission checks) and what follows from them: event mask, step reasons, TLB choice.
 */
void soft_set_rflags(struct soft_cpu *c, u64 v);

/* STAR, SFMASK, EFER or CR4 may be other ones. */
static inline void soft_syscall_changed(struct soft_cpu *c)
{
	c->jx.syscall.ready = 0;
}

static inline unsigned soft_iopl(const struct soft_cpu *c)
{
	return c->rflags >> 12 & 3;
}
static inline bool soft_long_active(const struct soft_cpu *c)
{
	return c->efer & EFER_LMA;
}
static inline bool soft_protected(const struct soft_cpu *c)
{
	return c->cr0 & CR0_PE;
}
static inline bool soft_v86(const struct soft_cpu *c)
{
	return c->rflags & FLAG_VM;
}
/* Real-address or virtual-8086 mode: segments are selector << 4. */
static inline bool soft_real(const struct soft_cpu *c)
{
	return !soft_protected(c) || soft_v86(c);
}

/* Recomputes everything derived (mode, long64, cpl-dependent TLB, segbase, event mask, step, vec_deny) after
 * a change of CR0, CR4, EFER, XCR0, CPL, CS, segment bases, RFLAGS or DR7. Cheap enough to call after any of
 * them. run.c */
void soft_update(struct soft_cpu *c);

/* The same for what has changed only CPL, segments and RFLAGS: from 64-bit mode to 64-bit mode, which is most
 * often, little of that follows. */
void soft_update_level(struct soft_cpu *c);

/* rip of op o, and of the instruction after it (wrapped to the mode's width). */
static inline u64 soft_op_rip(const struct soft_cpu *c, const struct op *o)
{
	u64 rip = c->regs[SREG_PAGE_RIP] + o->off;

	return c->long64 ? rip : (u32)rip;
}
static inline u64 soft_next_rip(const struct soft_cpu *c, const struct op *o)
{
	u64 rip = c->regs[SREG_PAGE_RIP] + o->off + o->len;

	return c->long64 ? rip : (u32)rip;
}
/* Ends the block behind o: for instructions after which decoding or events may look different. */
static inline const struct op *soft_end(struct soft_cpu *c, const struct op *o)
{
	c->rip = soft_next_rip(c, o);
	return NULL;
}

/* ---- exceptions (exception.c) ---- */

/* Raises a fault of the current instruction (or at c->rip if no op is active), by a jump to run.c. */
_Noreturn void soft_raise(struct soft_cpu *c, unsigned vector);
_Noreturn void soft_raise_error(struct soft_cpu *c, unsigned vector, u32 error);
_Noreturn void soft_raise_pf(struct soft_cpu *c, u64 linear, u32 error);
/* INT n, INT3, INTO, INT1: rip is that of the next instruction. */
_Noreturn void soft_raise_soft(struct soft_cpu *c, enum soft_event_kind kind, unsigned vector, u64 rip);
/* A debug trap or fault, with bits for DR6; rip is what is pushed. */
_Noreturn void soft_raise_db(struct soft_cpu *c, u64 dr6_bits, u64 rip);
/* Delivers c->event (which must not be NONE): IDT, stack, handler. May raise (double, triple fault). On
 * return c->rip is at the handler. */
void soft_deliver(struct soft_cpu *c);
/* Called by run.c between instructions when base.events & events_enabled: INIT, SIPI, NMI, interrupts; fills
 * c->event if one is to be delivered. Returns false if cpu_run() must return (CPU_EV_STOP). */
bool soft_take_events(struct soft_cpu *c);
/* Instruction breakpoints before (may raise #DB), traps after an instruction in step mode. tf: TF as it was
 * before. debug.c */
void soft_debug_before(struct soft_cpu *c);
void soft_debug_after(struct soft_cpu *c, bool tf);
/* Data breakpoints: called by slow-path accesses; write: 0 read, 1 write. Sets db_pending. debug.c */
void soft_debug_data(struct soft_cpu *c, u64 linear, unsigned size, bool write);
/* I/O breakpoints. */
void soft_debug_io(struct soft_cpu *c, u16 port, unsigned size);

/* ---- memory: see mmu.h for the fast paths ---- */
enum soft_access { SOFT_READ, SOFT_WRITE, SOFT_EXEC };

/* ---- segments (segment.c) ---- */

/* Offset to linear address with all checks outside of 64-bit mode (limit, type, null: #GP/#SS); in 64-bit
 * mode just the base. Canonical checks are the MMU's. */
u64 soft_seg_linear_slow(struct soft_cpu *c, unsigned seg, u64 offset, unsigned size,
                         enum soft_access access);
static inline u64 soft_seg_linear(struct soft_cpu *c, unsigned seg, u64 offset, unsigned size,
                                  enum soft_access access)
{
	if (likely(c->long64))
		return c->segbase[seg] + offset;
	return soft_seg_linear_slow(c, seg, offset, size, access);
}

/* ---- board ---- */

/* The way out to the board: vectors are parked first. Of the calling thread's own vCPU. */
void soft_vec_park(struct soft_cpu *c);
static inline const struct cpu_board *soft_board(struct soft_cpu *c)
{
	if (c->vec_live)
		soft_vec_park(c);
	return c->base.config.board;
}

/* ---- operands ---- */

static inline u64 op_offset(const struct soft_cpu *c, const struct op *o)
{
	u64 ea = c->regs[o->base] + (c->regs[o->index] << o->scale) + (u64)o->disp;

	if (likely(o->asize == 8))
		return ea;
	return o->asize == 4 ? (u32)ea : (u16)ea;
}
