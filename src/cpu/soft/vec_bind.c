/*
 * Vector and x87 instructions: which handler and which stub each gets.
 */
#include "cpu/soft/vec.h"

/* Legacy SSE operands of 16 bytes are aligned but for these, and for SHA's on AMD; VEX ones are not but for
 * those. */
bool vec_is_aligned(const ZydisDecodedInstruction *z, unsigned size)
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
	case ZYDIS_MNEMONIC_VMOVDQA32:
	case ZYDIS_MNEMONIC_VMOVDQA64:
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

	if (i->z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return VEC_DENY_AVX512 | VEC_DENY_TS;
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
		if (class == ZYDIS_REGCLASS_MASK)
			return VEC_DENY_AVX512 | VEC_DENY_TS;
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
	bool mem, gpr_reg, gpr_rm, implicit_gprs, flags, flags_read;
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
	if (i->z.cpu_flags) {
		const ZydisAccessedFlags *f = i->z.cpu_flags;

		x.flags_read = f->tested & FLAG_ARITH;
		x.flags = (f->modified | f->set_0 | f->set_1 | f->undefined) & FLAG_ARITH;
	}
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
	if (i->z.encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX && vec_masked_bind(c, o, i)) {
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
	if (i->z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX && vec_evex_bind(c, o, i)) {
		if (!o->fn)
			o->fn = vec_full;
		return true;
	}
	x = look(i, info);
	if (vec_is_aligned(&i->z, info->size))
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
	if (x.implicit_gprs || x.flags_read)
		o->fn = vec_general;
	else if (x.flags)
		o->fn = vec_flags;
	else if (x.gpr_reg || x.gpr_rm || info->gpr_size)
		o->fn = vec_gpr;
	else if (info->how & VEC_X87)
		o->fn = !x.mem ? x87_plain_op : info->how & VEC_WRITE ? x87_store_op : x87_load_op;
	else
		o->fn = !x.mem ? vec_plain : info->how & VEC_WRITE ? vec_store : vec_load;
	return true;
}
