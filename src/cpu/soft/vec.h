/*
 * Vector and x87 state and instructions: they run on the host's own units. Each instruction form gets a host
 * stub: the same instruction with its memory operand at (%rdi) and its general-register operand in %rax, then
 * ret.
 *
 * Who may touch what. While c->vec_live the guest's x87, MMX, SSE, AVX and AVX-512 registers and MXCSR are in
 * the host's; a handler resolves its memory operand first (that may call the board, and so park), unparks if
 * need be, and calls the stub. While not live they lie in c->xsave, the host's standard format (vec_layout),
 * and every component's bytes are valid whatever XSTATE_BV says of it; those of AVX-512 that c->vec_high does
 * not name are zero. FIP, FDP and FOP of the guest are c->fpu_*; the host's own are addresses of stubs and
 * never seen.
 *
 * Errors. An unmasked x87 or SIMD exception is a SIGFPE with its pc in the stubs: the handler (vec_signal.c)
 * goes on in soft_vec_fault(), which raises #MF or #XM (SDM vol. 1 8.6, 11.5) for c->op. Nothing else in a
 * stub can fault: memory operands are host pointers that were checked, alignment is checked before.
 */
#pragma once

#include "cpu/soft/decode.h"
#include "cpu/soft/soft.h"

/* Why a class of instructions may not run now; op.vclass names those that apply to an op. */
enum {
	VEC_DENY_X87_EM = 1,   /* CR0.EM: #NM for x87 */
	VEC_DENY_TS = 2,       /* CR0.TS: #NM */
	VEC_DENY_SSE = 4,      /* CR0.EM or !CR4.OSFXSR: #UD */
	VEC_DENY_AVX = 8,      /* !CR4.OSXSAVE or XCR0[2:1] != 3, or real/v86 mode: #UD */
	VEC_DENY_MMX = 16,     /* CR0.EM: #UD for MMX */
	VEC_DENY_WAIT = 32,    /* CR0.TS && CR0.MP: #NM for WAIT */
	VEC_PARKED = 64,       /* c->jx.vec: not in the host's registers */
	VEC_DENY_AVX512 = 128, /* like AVX, and XCR0[7:5] != 7 */
};

/* c->vec_deny or c->vec_live has changed. */
static inline void soft_vec_note(struct soft_cpu *c)
{
	c->jx.vec = c->vec_deny | (c->vec_live ? 0 : VEC_PARKED);
}

int soft_vec_init(struct soft_cpu *c, struct error *e); /* stubs, and the process's handler for SIGFPE */
void soft_vec_release(struct soft_cpu *c);
/* Recomputes c->vec_deny from CR0, CR4, XCR0, mode; called by soft_update(). */
void soft_vec_update(struct soft_cpu *c);
/* Loads c->xsave into the host registers; counterpart of soft_vec_park(). */
void soft_vec_unpark(struct soft_cpu *c);
/* c->xsave (parked) as after RESET. INIT leaves x87, SSE and AVX state as it is (SDM vol. 3 table 9-1). */
void soft_vec_reset(struct soft_cpu *c);
/* From and to an engine-neutral image, standard XSAVE format; parks. A bad header or MXCSR in it is mended.
 */
void soft_vec_get_image(struct soft_cpu *c, u8 image[VCPU_XSAVE_SIZE]);
void soft_vec_set_image(struct soft_cpu *c, const u8 image[VCPU_XSAVE_SIZE]);

/* ---- what follows is between vec*.c, x87*.c and sys_xstate.c ---- */

/* Offsets in the standard XSAVE area (SDM vol. 1 13.4, 13.5.4). */
enum {
	XSAVE_FCW = 0,
	XSAVE_FSW = 2,
	XSAVE_FTW = 4,
	XSAVE_FOP = 6,
	XSAVE_FIP = 8,
	XSAVE_FDP = 16,
	XSAVE_MXCSR = 24,
	XSAVE_MXCSR_MASK = 28,
	XSAVE_ST = 32,
	XSAVE_XMM = 160,
	XSAVE_LEGACY_END = 416,
	XSAVE_BV = 512,
	XSAVE_COMP_BV = 520,
	XSAVE_YMMH = 576,
	XSAVE_END = 832,
};
enum {
	XSTATE_X87 = 1,
	XSTATE_SSE = 2,
	XSTATE_AVX = 4,
	XSTATE_LOW = 7,
	XSTATE_OPMASK = 1 << 5,
	XSTATE_ZMMH = 1 << 6, /* upper halves of ZMM0-15 */
	XSTATE_HI16 = 1 << 7, /* ZMM16-31 */
	XSTATE_AVX512 = XSTATE_OPMASK | XSTATE_ZMMH | XSTATE_HI16
};

/* Extended components: number, and offset and size in the standard format as guests and images have it. */
enum { XSTATE_COMPONENTS = 4 };
struct xstate_component {
	u8 bit;
	u16 offset, size;
};
extern const struct xstate_component xstate_components[XSTATE_COMPONENTS];
/* Bytes of an XSAVE area with these components; compact: those of XCOMP_BV, 0 for the standard format. */
unsigned xstate_area_size(u64 components, u64 compact);

/* The host's: components that are kept, and offsets in c->xsave of those above, in their order. The same for
 * all vCPUs. */
struct vec_layout {
	u32 components;
	u16 offset[XSTATE_COMPONENTS];
};
extern struct vec_layout vec_layout;

/* A doubleword of a parked vector register. */
u32 *vec_lane(struct soft_cpu *c, unsigned reg, unsigned dword);
/* … is written: of which components they are is kept in mind. */
void vec_lanes_written(struct soft_cpu *c);

#define VEC_MXCSR_INIT 0x1f80u
#define VEC_MXCSR_MASK 0xffffu /* the model has no misaligned-SSE bit */

/* How an op's stub is called; lies in op.imm. */
struct vec_info {
	u8 size;     /* of the memory operand, bytes */
	u8 align;    /* mask: a linear address with one of these bits set is #GP(0) */
	u8 gpr;      /* byte offset into c->regs of the general-register operand */
	u8 gpr_size; /* it is written, with this many bytes; 0: only read, or there is none */
	u8 how;      /* VEC_* */
	u8 elem;     /* masked moves, gathers: element size in bytes; gathers: index size in bits 7:4 */
	u16 aux; /* x87: FOP; masked moves: number of the stub that stores the mask; gathers: registers; EVEX
	            under a mask: see vec_evex.c */
};
_Static_assert(sizeof(struct vec_info) == sizeof(u64), "lies in op.imm");

enum {
	VEC_READ = 1,  /* memory operand is read */
	VEC_WRITE = 2, /* … is written */
	VEC_WAITS = 4, /* a pending x87 exception comes before a memory fault */
	VEC_X87 = 8,   /* sets FIP, FOP, FDP */
};

static inline struct vec_info *vec_info(const struct op *o)
{
	return (struct vec_info *)&o->imm;
}

typedef void (*vec_stub_fn)(const void *memory);
#define VEC_STUB_SIZE 16

struct soft_stubs;
int vec_stubs_init(struct soft_cpu *c, struct error *e);
void vec_stubs_release(struct soft_cpu *c);
/* Forgets all stubs. The caller drops all blocks, too. */
void vec_stubs_reset(struct soft_cpu *c);
/* The stub for code (which does not end with a ret yet, at most 15 bytes); -1 if there is no room. */
int vec_stub_number(struct soft_cpu *c, const u8 *code, unsigned len);
void *vec_stub_at(const struct soft_cpu *c, unsigned number);
#define VEC_STUB_FWAIT 0 /* always there */
/* Bytes of the instruction, moved to (%rdi) and %rax. mem, gpr_reg, gpr_rm: what it has of these. */
unsigned vec_encode(const struct insn *i, u8 code[15], bool mem, bool gpr_reg, bool gpr_rm);

/* With a stub pointer, memory pointer and rax, rcx, rdx and flags (as in soft_cpu.af), in and out. */
struct vec_gprs {
	u64 rax, rcx, rdx, af;
};
void vec_call(const void *memory, void *stub, struct vec_gprs *g);

/* Do the host's SHA instructions want aligned operands? */
bool soft_vec_sha_aligned(void);

_Noreturn void vec_denied(struct soft_cpu *c, unsigned vclass);
/* Entered from the signal handler in place of the stub; trap: 16 (#MF) or 19 (#XM). */
_Noreturn void soft_vec_fault(struct soft_cpu *c, unsigned trap);
/* Raises #MF now if an x87 exception is pending. Unparks. */
void vec_wait(struct soft_cpu *c);

static inline void vec_check(struct soft_cpu *c, const struct op *o)
{
	if (unlikely(c->vec_deny & o->vclass))
		vec_denied(c, o->vclass);
}
static inline void vec_enter(struct soft_cpu *c)
{
	if (unlikely(!c->vec_live))
		soft_vec_unpark(c);
}
static inline void vec_leave(struct soft_cpu *c)
{
	if (VEC_PARK_ALWAYS)
		soft_vec_park(c);
}
/* memcpy() of libc is not for use while vectors are live. */
static inline void vec_copy(void *to, const void *from, size_t len)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
}

/* Masked moves and gathers; true: it is one, and o->fn is set (NULL: no room for stubs). */
bool vec_masked_bind(struct soft_cpu *c, struct op *o, const struct insn *i);
/* Must a memory operand of that size be aligned? */
bool vec_is_aligned(const ZydisDecodedInstruction *z, unsigned size);
/* Likewise EVEX's: memory operands under a mask, gathers, scatters (vec_evex.c). */
bool vec_evex_bind(struct soft_cpu *c, struct op *o, const struct insn *i);
/* NULL if the mnemonic is not one that saves or loads the x87 environment, or LDMXCSR. */
op_fn x87_control_fn(unsigned mnemonic);

/* Handlers, vec_run.c. */
const struct op *vec_plain(struct soft_cpu *c, const struct op *o);
const struct op *vec_load(struct soft_cpu *c, const struct op *o);
const struct op *vec_store(struct soft_cpu *c, const struct op *o);
const struct op *x87_plain_op(struct soft_cpu *c, const struct op *o);
const struct op *x87_load_op(struct soft_cpu *c, const struct op *o);
const struct op *x87_store_op(struct soft_cpu *c, const struct op *o);
const struct op *vec_gpr(struct soft_cpu *c, const struct op *o);
const struct op *vec_flags(struct soft_cpu *c, const struct op *o);
const struct op *vec_general(struct soft_cpu *c, const struct op *o);
const struct op *vec_zero(struct soft_cpu *c, const struct op *o);
const struct op *vec_full(struct soft_cpu *c, const struct op *o);
/* vec_evex.c */
const struct op *evex_load(struct soft_cpu *c, const struct op *o);
const struct op *evex_store(struct soft_cpu *c, const struct op *o);
