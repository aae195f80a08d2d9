/*
 * Handlers of vector and x87 instructions that are done by their stub alone: with or without a memory
 * operand, a general register, flags. The name says which.
 */
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

#include "cpu/soft/block.h"

/*
 * vec_call(memory, stub, gprs). Flags in the form of soft_cpu.af: adding 127 to bit 0 makes OF of it, SAHF
 * the rest.
 */
__asm__(".text\n"
        ".globl vec_call\n"
        ".type vec_call, @function\n"
        "vec_call:\n"
        "	push %rbx\n"
        "	mov %rdx, %rbx\n"
        "	mov 24(%rbx), %eax\n"
        "	mov 8(%rbx), %rcx\n"
        "	mov 16(%rbx), %rdx\n"
        "	add $0x7f, %al\n"
        "	sahf\n"
        "	mov (%rbx), %rax\n"
        "	call *%rsi\n"
        "	mov %rax, (%rbx)\n"
        "	mov %rcx, 8(%rbx)\n"
        "	mov %rdx, 16(%rbx)\n"
        "	lahf\n"
        "	seto %al\n"
        "	movzwl %ax, %eax\n"
        "	mov %rax, 24(%rbx)\n"
        "	pop %rbx\n"
        "	ret\n"
        ".size vec_call, . - vec_call\n");

/* The stub does not know of the red zone below the caller's stack pointer. */
#define CALL_STUB "lea -128(%%rsp), %%rsp; call *%[stub]; lea 128(%%rsp), %%rsp; "

static inline u64 call_stub_rax(const struct op *o, const void *memory, u64 rax)
{
	__asm__ volatile(CALL_STUB : "+a"(rax) : [stub] "r"(o->stub), "D"(memory) : "memory", "cc");
	return rax;
}

/* Returns the flags that it left, as in soft_cpu.af. */
static inline u32 call_stub_flags(const struct op *o, const void *memory)
{
	u64 rax = 0;

	__asm__ volatile(CALL_STUB "lahf; seto %%al"
	                 : "+a"(rax)
	                 : [stub] "r"(o->stub), "D"(memory)
	                 : "memory", "cc");
	return (u16)rax;
}

static inline void call_stub(const struct op *o, const void *memory)
{
	((vec_stub_fn)o->stub)(memory);
}

static _Noreturn void misaligned(struct soft_cpu *c, const struct vec_info *i)
{
	if (i->how & VEC_WAITS)
		vec_wait(c);
	soft_raise_error(c, EXC_GP, 0);
}

/*
 * Host pointer to the memory operand, checked for reading. A pending x87 exception goes before any fault of
 * memory: it is looked for where one is possible, that is if the TLB misses, and always outside of 64-bit
 * mode, where segments have limits.
 */
static inline const void *read_operand(struct soft_cpu *c, const struct op *o, const struct vec_info *i,
                                       u64 *at)
{
	const struct soft_tlb_entry *e;
	u64 linear;

	if (!c->long64 && i->how & VEC_WAITS)
		vec_wait(c);
	linear = op_linear(c, o, i->size, SOFT_READ);
	e = soft_tlb_entry(c, linear);
	*at = linear;
	if (unlikely(linear & i->align))
		misaligned(c, i);
	if (soft_tlb_hit(c, e->tag_read, linear, i->size))
		return soft_tlb_host(e, linear);
	if (i->how & VEC_WAITS)
		vec_wait(c);
	return soft_read_ptr(c, linear, i->size, o->seg);
}

static inline void *write_operand(struct soft_cpu *c, const struct op *o, const struct vec_info *i, u64 *at)
{
	u64 linear;

	if (i->how & VEC_WAITS)
		vec_wait(c);
	linear = op_linear(c, o, i->size, SOFT_WRITE);
	*at = linear;
	if (unlikely(linear & i->align))
		misaligned(c, i);
	return soft_write_ptr(c, linear, i->size, o->seg);
}

/* Offsets, but in real mode linear addresses: the formats there have no selectors. */
static inline void x87_pointers(struct soft_cpu *c, const struct op *o)
{
	c->fpu_ip = soft_op_rip(c, o);
	c->fpu_op = vec_info(o)->aux;
	if (unlikely(!c->long64) && soft_real(c))
		c->fpu_ip += c->segbase[SEG_CS];
}

static inline void x87_data(struct soft_cpu *c, const struct op *o, u64 linear)
{
	c->fpu_dp = unlikely(!c->long64) && soft_real(c) ? linear : linear - c->segbase[o->seg];
}

/* Registers only. */
const struct op *vec_plain(struct soft_cpu *c, const struct op *o)
{
	vec_check(c, o);
	vec_enter(c);
	call_stub(o, NULL);
	vec_leave(c);
	return o + 1;
}

const struct op *vec_load(struct soft_cpu *c, const struct op *o)
{
	const void *p;
	u64 at;

	vec_check(c, o);
	p = read_operand(c, o, vec_info(o), &at);
	vec_enter(c);
	call_stub(o, p);
	vec_leave(c);
	return o + 1;
}

const struct op *vec_store(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	const struct soft_tlb_entry *e;
	u64 linear;
	void *p;

	vec_check(c, o);
	if (!c->long64 && i->how & VEC_WAITS)
		vec_wait(c);
	linear = op_linear(c, o, i->size, SOFT_WRITE);
	e = soft_tlb_entry(c, linear);
	if (likely(soft_tlb_hit(c, e->tag_write, linear, i->size) && !(linear & i->align))) {
		vec_enter(c);
		call_stub(o, soft_tlb_host(e, linear));
		vec_leave(c);
		if (unlikely(atomic_load_explicit(e->page, memory_order_relaxed) & PHYSMEM_PAGE_CODE))
			soft_code_written(c, e->page);
		return o + 1;
	}
	p = write_operand(c, o, i, &linear);
	vec_enter(c);
	call_stub(o, p);
	vec_leave(c);
	soft_write_done(c);
	return o + 1;
}

const struct op *x87_plain_op(struct soft_cpu *c, const struct op *o)
{
	vec_check(c, o);
	vec_enter(c);
	call_stub(o, NULL);
	x87_pointers(c, o);
	vec_leave(c);
	return o + 1;
}

const struct op *x87_load_op(struct soft_cpu *c, const struct op *o)
{
	const void *p;
	u64 at;

	vec_check(c, o);
	p = read_operand(c, o, vec_info(o), &at);
	vec_enter(c);
	call_stub(o, p);
	x87_pointers(c, o);
	x87_data(c, o, at);
	vec_leave(c);
	return o + 1;
}

/*
 * An unmasked invalid operation, overflow or underflow leaves memory as it was; the instruction is done all
 * the same and the exception is pending. With a bounce buffer that must not become a store of its old bytes.
 */
const struct op *x87_store_op(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	const struct soft_tlb_entry *e;
	u16 control, status;
	void *p;
	u64 at;

	vec_check(c, o);
	if (likely(c->long64)) {
		at = op_linear(c, o, i->size, SOFT_WRITE);
		e = soft_tlb_entry(c, at);
		if (likely(soft_tlb_hit(c, e->tag_write, at, i->size))) {
			vec_enter(c);
			call_stub(o, soft_tlb_host(e, at));
			x87_pointers(c, o);
			x87_data(c, o, at);
			vec_leave(c);
			if (unlikely(atomic_load_explicit(e->page, memory_order_relaxed) & PHYSMEM_PAGE_CODE))
				soft_code_written(c, e->page);
			return o + 1;
		}
	}
	p = write_operand(c, o, i, &at);
	vec_enter(c);
	call_stub(o, p);
	x87_pointers(c, o);
	x87_data(c, o, at);
	__asm__ volatile("fnstcw %0" : "=m"(control));
	__asm__ volatile("fnstsw %0" : "=m"(status));
	vec_leave(c);
	if (likely(!(status & ~control & 0x19)))
		soft_write_done(c);
	return o + 1;
}

static void *operand(struct soft_cpu *c, const struct op *o, const struct vec_info *i)
{
	u64 at;

	if (i->how & VEC_READ)
		return (void *)read_operand(c, o, i, &at);
	return i->how & VEC_WRITE ? write_operand(c, o, i, &at) : NULL;
}

/* A general register, read or written. */
const struct op *vec_gpr(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	void *p;
	u64 rax;

	vec_check(c, o);
	p = operand(c, o, i);
	vec_enter(c);
	rax = call_stub_rax(o, p, *soft_reg64(c, i->gpr));
	vec_leave(c);
	if (i->gpr_size)
		soft_reg_set(c, i->gpr, i->gpr_size, rax);
	else if (i->how & VEC_WRITE)
		soft_write_done(c);
	return o + 1;
}

/* Sets all arithmetic flags; no general registers. */
const struct op *vec_flags(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	void *p;
	u32 af;

	vec_check(c, o);
	p = operand(c, o, i);
	vec_enter(c);
	af = call_stub_flags(o, p);
	if (i->how & VEC_X87)
		x87_pointers(c, o);
	vec_leave(c);
	c->af = af;
	return o + 1;
}

/* Implicit rax, rcx, rdx (PCMPESTRx), and what reads flags (FCMOVcc). */
const struct op *vec_general(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	struct vec_gprs g;
	void *p;

	vec_check(c, o);
	p = operand(c, o, i);
	g = (struct vec_gprs){c->regs[REG_RAX], c->regs[REG_RCX], c->regs[REG_RDX], c->af};
	vec_enter(c);
	vec_call(p, o->stub, &g);
	if (i->how & VEC_X87)
		x87_pointers(c, o);
	vec_leave(c);
	c->af = (u32)g.af;
	c->regs[REG_RCX] = g.rcx;
	return o + 1;
}

/* VZEROUPPER and VZEROALL of 32-bit modes: the host's would reach the registers above 7. */
const struct op *vec_zero(struct soft_cpu *c, const struct op *o)
{
	vec_check(c, o);
	soft_vec_park(c);
	for (unsigned i = 0; i < 16; i++) {
		((u64 *)(c->xsave + XSAVE_YMMH))[i] = 0;
		if (vec_info(o)->aux)
			((u64 *)(c->xsave + XSAVE_XMM))[i] = 0;
	}
	for (unsigned i = 0; c->vec_high & XSTATE_ZMMH && i < 8; i++)
		for (unsigned k = 8; k < 16; k++)
			*vec_lane(c, i, k) = 0;
	return o + 1;
}

/* No room for another stub: all of them go, and all blocks that use them; then this instruction is decoded
 * again. */
const struct op *vec_full(struct soft_cpu *c, const struct op *o)
{
	c->rip = soft_op_rip(c, o);
	c->op = NULL;
	vec_stubs_reset(c);
	soft_cache_flush(c);
	soft_longjmp(c->jmp);
}
