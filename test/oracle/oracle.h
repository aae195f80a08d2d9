/*
 * The instruction oracle: every user-mode instruction form that CPUID offers is run with random operands, and
 * blocks of random instructions are run, on the host CPU and in the soft engine, interpreted and translated,
 * and what they leave behind is compared.
 *
 * Theory of operation. forms.c walks the whole encoding space through Zydis and keeps one template for each
 * form that the feature table offers. generate.c makes an instruction and a state of it: registers, flags,
 * vector state, memory operands that lie in the data pages, at times across a page end or into pages that are
 * not there; blocks.c makes blocks. native.c loads that state into the host CPU, at the same linear addresses
 * that the guest has, and takes faults as signals. guest.c is a machine with a small kernel that does the
 * same under the engine, at CPL 3 mostly, and asks for the next case by an OUT; compare.c compares. Code,
 * data and the state block are at fixed low addresses, so that absolute and rip-relative operands mean the
 * same on both sides.
 *
 * Processes. A child makes the cases and runs them natively, since the engine's memory is at low addresses,
 * too, where instructions may not find any; what it makes goes to the parent, which has the guests, through
 * a ring in shared memory (stream.c).
 */
#pragma once

#include "base/types.h"

#include <Zydis/Zydis.h>

/* Linear addresses, the same in both worlds; at distances that no operand of a bit string instruction
 * favours. */
#define CODE_BASE  0x12345000u /* two pages, int3 wherever no instruction is */
#define CODE_SIZE  0x2000u
#define EXIT_BASE  0x12355000u /* native only: the way out */
#define DATA_BASE  0x20000000u /* two pages read-write, one read-only; nothing around */
#define DATA_WRITE 0x2000u
#define DATA_SIZE  0x3000u
#define STATE_BASE 0x37e91000u /* struct image; user memory natively, supervisor's in the guest */
#define GS_BASE    0x1000u

#define SEL_CODE64 0x33
#define SEL_CODE32 0x23
#define SEL_DATA   0x2b

/* VCPU_XSAVE_SIZE, whose header does not go with that of signals. */
#define AREA_SIZE 2688

/* What goes in and comes out. The layout is known to assembly code. */
struct image {
	u64 gpr[16]; /* 0: hardware's order */
	u64 rip, rflags;
	u32 far_rip; /* m16:32 of a far jump */
	u16 far_cs, pad0;
	u64 vector; /* of the exception, or NO_EXCEPTION */
	u64 error, cr2;
	u64 host_rsp;
	u64 cs, ss;
	u8 remapped; /* guest: the data pages are elsewhere now: 1: CR3 is to be loaded, 2: INVLPG */
	u8 pad1[3];
	u32 components; /* of xsave: EAX of XSAVE and XRSTOR */
	u8 pad2[48];
	u8 xsave[AREA_SIZE] __attribute__((aligned(64))); /* as struct vcpu_state has it */
};
_Static_assert(offsetof(struct image, far_rip) == 144 && offsetof(struct image, host_rsp) == 176 &&
                       offsetof(struct image, remapped) == 200 && offsetof(struct image, components) == 204,
               "for assembly");
_Static_assert(offsetof(struct image, xsave) == 256, "for assembly");

#define NO_EXCEPTION 256

/* ---- random numbers: splitmix64 ---- */
struct rng {
	u64 state;
};
u64 rng_next(struct rng *r);
static inline u64 rng_below(struct rng *r, u64 n)
{
	return rng_next(r) % n;
}
static inline bool rng_one_in(struct rng *r, u64 n)
{
	return rng_below(r, n) == 0;
}
/* Values that find mistakes: small, all ones, sign bits, random. */
u64 rng_integer(struct rng *r);

/* ---- forms ---- */
struct form {
	char name[112]; /* as --form takes it, and the seed of its random numbers */
	bool compat;    /* runs in 32-bit compatibility mode */
	bool vex, evex, has_modrm, memory, reg_fixed, rm_fixed;
	bool lock, size66;
	u8 repeat; /* 0, 0xf2 or 0xf3: part of the form */
	bool w;
	u8 map, opcode; /* map 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A */
	u8 opcode_free; /* low bits of the opcode that name a register: 0 or 7 */
	u8 pp, l;       /* VEX, EVEX */
	bool b;         /* EVEX: broadcast, rounding, no exceptions */
	bool vvvv_free, vsib;
	u8 reg, rm;
	u8 imm_size[2], disp_size; /* disp: moffs */
	bool relative;
	ZydisMnemonic mnemonic;
	u8 category;
	bool branch;
	bool excluded;
};

struct form_list {
	struct form *forms;
	unsigned count, room;
	unsigned excluded; /* forms that the table of exclusions took away */
};

/* compat: of 32-bit compatibility mode. */
void forms_find(struct form_list *l, bool compat);
void forms_release(struct form_list *l);
void form_name(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands, bool compat,
               char name[112]);
ZydisDecoder *oracle_decoder(bool compat);

/* ---- cases ---- */
enum { BLOCK_SIZE = 1024 };
struct sample {
	const struct form *form;
	u64 number;
	u8 bytes[BLOCK_SIZE];
	unsigned len;
	u32 rip;
	u64 code;      /* of a block: its number + 1; cases of one block follow each other. Else 0 */
	u64 undefined; /* of a block: flags that are undefined behind it */
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	struct image in;
	u64 target; /* linear address of its last memory operand, 0: it has none */
};

/* Components of vector state that the host and the engine have. */
u32 vectors_components(void);
/* A doubleword of a vector register, in an area. */
u32 *vectors_lane(u8 *x, unsigned reg, unsigned dword);
/* An XSAVE area of random vector state. */
void vectors_random(struct rng *r, u8 *x);
/* Does it save or restore an FXSAVE or XSAVE area? */
bool sample_is_xstate(const struct sample *s);
/* data: the native data pages, which it changes; false: no instruction of that form came out. */
bool sample_make(struct sample *s, const struct form *f, u64 seed, u64 number, u8 *data);

/* ---- the two worlds ---- */
void native_init(void);
/* The data pages, DATA_SIZE bytes, all writable through this address. */
u8 *native_data(void);
void native_run(const struct sample *s, struct image *out);

/* ---- blocks ---- */
/* Cases of one block: same code, other states. */
#define BLOCK_CASES 6
/* Makes case `number`, of block number / BLOCK_CASES, with the forms of l. data: as for sample_make(). */
/* The guest runs every other block at CPL 0. */
static inline bool sample_is_kernel(const struct sample *s)
{
	return s->code && s->number / BLOCK_CASES & 1;
}
void block_make(struct sample *s, const struct form_list *l, u64 seed, u64 number, u8 *data);

/* ---- from the child to the parent ---- */
struct task {
	struct sample sample;
	struct image native;
	u8 before[DATA_SIZE], after[DATA_SIZE]; /* the data pages */
	bool last;                              /* no case: those of this form, or all blocks, have been */
};
struct stream;
/* Forks; the child calls make(stream, ctx), and ends. */
struct stream *stream_new(void (*make)(struct stream *t, void *ctx), void *ctx);
void stream_free(struct stream *t);
/* In the child: room for a task, then it is sent. */
struct task *stream_room(struct stream *t);
void stream_send(struct stream *t);
/* In the parent: waits for one task at least; those that are there, in *tasks, one behind the other; then
 * they are done with. */
unsigned stream_receive(struct stream *t, struct task **tasks);
void stream_done(struct stream *t, unsigned count);

struct guest;
/* translated: each block is, when it is first executed. several: the engine takes it that there are other
 * vCPUs. NULL: the engine cannot. */
struct guest *guest_new(bool translated, bool several);
void guest_free(struct guest *g);
/* The data pages, DATA_SIZE bytes. */
void guest_data_set(struct guest *g, const u8 *data);
void guest_data_get(const struct guest *g, u8 *data);
/*
 * Runs samples until next() returns false; done() gets what came out. ctx is for both. Returns 0, or -1 with
 * a message printed if the machine ended otherwise.
 */
struct guest_calls {
	bool (*next)(void *ctx, const struct sample **s);
	void (*done)(void *ctx, const struct image *out);
	void *ctx;
};
int guest_run(struct guest *g, const struct guest_calls *calls);

/* ---- hosts of another vendor ---- */
/* Are the x87 pointers those that the model has? */
bool vendor_keeps_pointers(const struct image *native);
/* Is what comes out up to the CPU? */
bool vendor_leaves(const struct sample *s, const struct image *native, const struct image *soft);
/* What is up to the CPU in *soft becomes as it is natively. */
void vendor_even_out(const struct sample *s, const struct image *native, struct image *soft);

/* ---- comparison ---- */
struct difference {
	char text[4096];
};
/* True if both agree on everything that is defined; else what differs goes to *d. May even out soft_data
 * first, where an instruction stores what is not defined. */
bool compare(const struct sample *s, const struct image *native, const struct image *soft,
             const u8 *native_data, u8 *soft_data, struct difference *d);
