/*
 * Vector and x87 instructions: which handler and which stub each gets, and the handlers of all that need no
 * special treatment of memory.
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
		return (const void *)(linear + e->addend);
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

static inline void x87_pointers(struct soft_cpu *c, const struct op *o)
{
	c->fpu_ip = soft_op_rip(c, o);
	c->fpu_op = vec_info(o)->aux;
}

/* Registers only. */
static const struct op *vec_plain(struct soft_cpu *c, const struct op *o)
{
	vec_check(c, o);
	vec_enter(c);
	call_stub(o, NULL);
	vec_leave(c);
	return o + 1;
}

static const struct op *vec_load(struct soft_cpu *c, const struct op *o)
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

static const struct op *vec_store(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	const struct soft_tlb_entry *e;
	u64 linear;
	void *p;

	vec_check(c, o);
	linear = op_linear(c, o, i->size, SOFT_WRITE);
	e = soft_tlb_entry(c, linear);
	if (likely(soft_tlb_hit(c, e->tag_write, linear, i->size) && !(linear & i->align))) {
		vec_enter(c);
		call_stub(o, (void *)(linear + e->addend));
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

static const struct op *x87_plain_op(struct soft_cpu *c, const struct op *o)
{
	vec_check(c, o);
	vec_enter(c);
	call_stub(o, NULL);
	x87_pointers(c, o);
	vec_leave(c);
	return o + 1;
}

static const struct op *x87_load_op(struct soft_cpu *c, const struct op *o)
{
	const void *p;
	u64 at;

	vec_check(c, o);
	p = read_operand(c, o, vec_info(o), &at);
	vec_enter(c);
	call_stub(o, p);
	x87_pointers(c, o);
	c->fpu_dp = at - c->segbase[o->seg];
	vec_leave(c);
	return o + 1;
}

/*
 * An unmasked invalid operation, overflow or underflow leaves memory as it was; the instruction is done all
 * the same and the exception is pending. With a bounce buffer that must not become a store of its old bytes.
 */
static const struct op *x87_store_op(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	u16 control, status;
	void *p;
	u64 at;

	vec_check(c, o);
	p = write_operand(c, o, i, &at);
	vec_enter(c);
	call_stub(o, p);
	x87_pointers(c, o);
	c->fpu_dp = at - c->segbase[o->seg];
	__asm__ volatile("fnstcw %0" : "=m"(control));
	__asm__ volatile("fnstsw %0" : "=m"(status));
	vec_leave(c);
	if (likely(!(status & ~control & 0x19)))
		soft_write_done(c);
	return o + 1;
}

/* Everything with a general register or flags. */
static const struct op *vec_general(struct soft_cpu *c, const struct op *o)
{
	const struct vec_info *i = vec_info(o);
	struct vec_gprs g;
	void *p = NULL;
	u64 at = 0;

	vec_check(c, o);
	if (i->how & VEC_READ)
		p = (void *)read_operand(c, o, i, &at);
	else if (i->how & VEC_WRITE)
		p = write_operand(c, o, i, &at);
	g.af = c->af;
	g.rcx = c->regs[REG_RCX];
	g.rdx = c->regs[REG_RDX];
	g.rax = i->how & VEC_RCX_RDX ? c->regs[REG_RAX] : *soft_reg64(c, i->gpr);
	vec_enter(c);
	vec_call(p, o->stub, &g);
	if (i->how & VEC_X87)
		x87_pointers(c, o);
	vec_leave(c);
	if (i->how & VEC_WRITE)
		soft_write_done(c);
	if (i->how & VEC_FLAGS)
		c->af = (u32)g.af;
	if (i->how & VEC_RCX_RDX)
		c->regs[REG_RCX] = g.rcx;
	else if (i->gpr_size)
		soft_reg_set(c, i->gpr, i->gpr_size, g.rax);
	return o + 1;
}

/* VZEROUPPER and VZEROALL of 32-bit modes: the host's would reach the registers above 7. */
static const struct op *vec_zero(struct soft_cpu *c, const struct op *o)
{
	vec_check(c, o);
	soft_vec_park(c);
	for (unsigned i = 0; i < 16; i++) {
		((u64 *)(c->xsave + XSAVE_YMMH))[i] = 0;
		if (vec_info(o)->aux)
			((u64 *)(c->xsave + XSAVE_XMM))[i] = 0;
	}
	return o + 1;
}

/* No room for another stub: all of them go, and all blocks that use them; then this instruction is decoded
 * again. */
static const struct op *vec_full(struct soft_cpu *c, const struct op *o)
{
	c->rip = soft_op_rip(c, o);
	c->op = NULL;
	vec_stubs_reset(c);
	soft_cache_flush(c);
	longjmp(c->jmp, 1);
}

/* Legacy SSE operands of 16 bytes are aligned but for these, and for SHA's on AMD; VEX ones are not but for
 * those. */
static bool is_aligned(const ZydisDecodedInstruction *z, unsigned size)
{
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI:
	case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPISTRM:
		return false;
	case ZYDIS_MNEMONIC_VMOVAPS:
	case ZYDIS_MNEMONIC_VMOVAPD:
	case ZYDIS_MNEMONIC_VMOVDQA:
	case ZYDIS_MNEMONIC_VMOVNTPS:
	case ZYDIS_MNEMONIC_VMOVNTPD:
	case ZYDIS_MNEMONIC_VMOVNTDQ:
	case ZYDIS_MNEMONIC_VMOVNTDQA:
		return true;
	default:
		if (z->meta.category == ZYDIS_CATEGORY_SHA && !soft_vec_sha_aligned())
			return false;
		return z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && size == 16;
	}
}

static bool is_x87(const ZydisDecodedInstruction *z)
{
	return z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	       z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && z->opcode >= 0xd8 && z->opcode <= 0xdf;
}

/* Neither FIP, FOP nor FDP change by these. */
static bool is_x87_control(unsigned mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_FNINIT:
	case ZYDIS_MNEMONIC_FNCLEX:
	case ZYDIS_MNEMONIC_FLDCW:
	case ZYDIS_MNEMONIC_FNSTCW:
	case ZYDIS_MNEMONIC_FNSTSW:
	case ZYDIS_MNEMONIC_FENI8087_NOP:
	case ZYDIS_MNEMONIC_FDISI8087_NOP:
	case ZYDIS_MNEMONIC_FSETPM287_NOP:
		return true;
	default:
		return false;
	}
}

/* VEC_DENY_* by the registers that it names; 0: no vector or x87 instruction. */
static unsigned vector_class(const struct insn *i)
{
	unsigned found = 0;

	switch (i->z.mnemonic) {
	case ZYDIS_MNEMONIC_FWAIT:
		return VEC_DENY_WAIT;
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_STMXCSR:
		return VEC_DENY_SSE | VEC_DENY_TS;
	case ZYDIS_MNEMONIC_VLDMXCSR:
	case ZYDIS_MNEMONIC_VSTMXCSR:
	case ZYDIS_MNEMONIC_VZEROALL:
	case ZYDIS_MNEMONIC_VZEROUPPER:
		return VEC_DENY_AVX | VEC_DENY_TS;
	case ZYDIS_MNEMONIC_EMMS:
		return VEC_DENY_MMX | VEC_DENY_TS;
	/* With a memory operand they name no vector register. */
	case ZYDIS_MNEMONIC_CVTSS2SI:
	case ZYDIS_MNEMONIC_CVTSD2SI:
	case ZYDIS_MNEMONIC_CVTTSS2SI:
	case ZYDIS_MNEMONIC_CVTTSD2SI:
		return VEC_DENY_SSE | VEC_DENY_TS;
	case ZYDIS_MNEMONIC_VCVTSS2SI:
	case ZYDIS_MNEMONIC_VCVTSD2SI:
	case ZYDIS_MNEMONIC_VCVTTSS2SI:
	case ZYDIS_MNEMONIC_VCVTTSD2SI:
		return VEC_DENY_AVX | VEC_DENY_TS;
	default:
		break;
	}
	if (is_x87(&i->z))
		return VEC_DENY_X87_EM | VEC_DENY_TS;
	for (unsigned k = 0; k < i->z.operand_count; k++) {
		const ZydisDecodedOperand *p = &i->operands[k];
		ZydisRegisterClass class;

		if (p->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		class = ZydisRegisterGetClass(p->reg.value);
		if (class == ZYDIS_REGCLASS_MMX)
			found |= VEC_DENY_MMX | VEC_DENY_TS;
		else if (class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM)
			found |= VEC_DENY_SSE | VEC_DENY_TS;
	}
	if (found && i->z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
		return VEC_DENY_AVX | VEC_DENY_TS;
	return found;
}

static bool is_gpr(ZydisRegister r)
{
	ZydisRegisterClass class = ZydisRegisterGetClass(r);

	return class == ZYDIS_REGCLASS_GPR8 || class == ZYDIS_REGCLASS_GPR16 ||
	       class == ZYDIS_REGCLASS_GPR32 || class == ZYDIS_REGCLASS_GPR64;
}

/* What an instruction has besides vector registers; its memory and general register go to *info. */
struct explicit
{
	bool mem, gpr_reg, gpr_rm, implicit_gprs, flags;
};

static struct explicit look(const struct insn *i, struct vec_info *info)
{
	struct explicit x = {0};

	for (unsigned k = 0; k < i->z.operand_count; k++) {
		const ZydisDecodedOperand *p = &i->operands[k];

		if (p->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    p->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
			x.mem = true;
			info->size = (u8)(p->size / 8);
			info->how |= p->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? VEC_WRITE : VEC_READ;
		} else if (p->type == ZYDIS_OPERAND_TYPE_REGISTER && is_gpr(p->reg.value)) {
			if (p->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
				x.implicit_gprs = true;
				continue;
			}
			/* Neither is AX of FNSTSW, which is where it belongs. */
			x.gpr_reg |= p->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;
			x.gpr_rm |= p->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
			info->gpr = (u8)(8 * ZydisRegisterGetId(p->reg.value));
			if (p->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
				info->gpr_size = (u8)(p->size / 8);
		}
	}
	x.flags =
	        i->z.cpu_flags && (i->z.cpu_flags->tested | i->z.cpu_flags->modified | i->z.cpu_flags->set_0 |
	                           i->z.cpu_flags->set_1 | i->z.cpu_flags->undefined) &
	                                  FLAG_ARITH;
	return x;
}

bool soft_vec_bind(struct soft_cpu *c, struct op *o, const struct insn *i)
{
	bool x87 = is_x87(&i->z);
	struct vec_info *info = vec_info(o);
	struct explicit x;
	u8 code[15];
	int stub;

	o->vclass = (u8)vector_class(i);
	if (!o->vclass)
		return false;
	*info = (struct vec_info){0};
	if (vec_masked_bind(c, o, i)) {
		if (!o->fn)
			o->fn = vec_full;
		return true;
	}
	if (i->mode != SOFT_MODE_LONG64 &&
	    (i->z.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER || i->z.mnemonic == ZYDIS_MNEMONIC_VZEROALL)) {
		info->aux = i->z.mnemonic == ZYDIS_MNEMONIC_VZEROALL;
		o->fn = vec_zero;
		return true;
	}
	x = look(i, info);
	if (is_aligned(&i->z, info->size))
		info->align = (u8)(info->size - 1);
	o->fn = x87_control_fn(i->z.mnemonic);
	if (o->fn)
		return true;
	if (x87)
		info->aux = (u16)((i->z.opcode & 7) << 8 | i->z.raw.modrm.mod << 6 | i->z.raw.modrm.reg << 3 |
		                  i->z.raw.modrm.rm);
	if ((x87 && i->z.mnemonic != ZYDIS_MNEMONIC_FNSTCW && i->z.mnemonic != ZYDIS_MNEMONIC_FNSTSW) ||
	    o->vclass & VEC_DENY_MMX)
		info->how |= VEC_WAITS;
	if (x87 && !is_x87_control(i->z.mnemonic))
		info->how |= VEC_X87;
	stub = vec_stub_number(c, code, vec_encode(i, code, x.mem, x.gpr_reg, x.gpr_rm));
	if (stub < 0) {
		o->fn = vec_full;
		return true;
	}
	o->stub = vec_stub_at(c, (unsigned)stub);
	if (x.implicit_gprs)
		info->how |= VEC_RCX_RDX;
	if (x.flags)
		info->how |= VEC_FLAGS;
	if (x.gpr_reg || x.gpr_rm || x.implicit_gprs || info->gpr_size || x.flags)
		o->fn = vec_general;
	else if (info->how & VEC_X87)
		o->fn = !x.mem ? x87_plain_op : info->how & VEC_WRITE ? x87_store_op : x87_load_op;
	else
		o->fn = !x.mem ? vec_plain : info->how & VEC_WRITE ? vec_store : vec_load;
	return true;
}
