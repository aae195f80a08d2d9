/*
 * What the integer instructions (int_*.c) share: forms of operands, flags by the host's own instructions,
 * conditions.
 *
 * Flags. An instruction is done by the same host instruction; LAHF and SETO behind it give c->af as it is
 * kept, so flags that the SDM leaves undefined are the host's. FLAGS_IN and CARRY_IN load the host's flags
 * from af in eax.
 *
 * Handlers exist by size and by form of operands. An L form is for 64-bit mode with 64-bit addresses, where
 * an effective address needs no checks; the others go through op_linear().
 */
#pragma once

#include "cpu/soft/block.h"
#include "cpu/soft/decode.h"
#include "cpu/soft/mmu.h"

#define FLAGS_OUT "\n\tlahf\n\tseto %%al"
#define FLAGS_IN  "addb $127, %%al\n\tsahf\n\t"
#define CARRY_IN  "btl $8, %%eax\n\t"

/* M(bits, suffix, type) for each operand size. */
#define FOR_SIZES(M, ...)            \
	M(8, b, u8, ##__VA_ARGS__)   \
	M(16, w, u16, ##__VA_ARGS__) \
	M(32, l, u32, ##__VA_ARGS__) \
	M(64, q, u64, ##__VA_ARGS__)
#define FOR_WIDE_SIZES(M, ...)       \
	M(16, w, u16, ##__VA_ARGS__) \
	M(32, l, u32, ##__VA_ARGS__) \
	M(64, q, u64, ##__VA_ARGS__)

static inline void set_reg8(struct soft_cpu *c, unsigned off, u8 v)
{
	*soft_reg8(c, off) = v;
}
static inline void set_reg16(struct soft_cpu *c, unsigned off, u16 v)
{
	*soft_reg16(c, off) = v;
}
static inline void set_reg32(struct soft_cpu *c, unsigned off, u32 v)
{
	*soft_reg64(c, off) = v;
}
static inline void set_reg64(struct soft_cpu *c, unsigned off, u64 v)
{
	*soft_reg64(c, off) = v;
}

/* Linear address of an L form's memory operand. */
static inline u64 ea_long(const struct soft_cpu *c, const struct op *o)
{
	return c->segbase[o->seg] + c->regs[o->base] + (c->regs[o->index] << o->scale) + (u64)o->disp;
}

enum form {
	FORM_RR,
	FORM_RI,
	FORM_RM,
	FORM_MR,
	FORM_MI,
	FORM_RML,
	FORM_MRL,
	FORM_MIL,
	FORM_MRK,
	FORM_MIK,
	FORM_COUNT
};
#define NO_FORM FORM_COUNT

/* Is it an L form? */
static inline bool op_long(const struct op *o)
{
	return (o->flags & OPF_LONG) && o->asize == 8;
}

/* Of two explicit operands; K: locked. */
static inline enum form op_form(const struct op *o)
{
	unsigned a = op_kind(o, 0), b = op_kind(o, 1);
	bool l = op_long(o), k = o->flags & OPF_LOCK;

	if (a == KIND_REG)
		return b == KIND_REG ? FORM_RR : b == KIND_IMM ? FORM_RI : l ? FORM_RML : FORM_RM;
	if (a == KIND_MEM && b == KIND_REG)
		return k ? FORM_MRK : l ? FORM_MRL : FORM_MR;
	if (a == KIND_MEM && b == KIND_IMM)
		return k ? FORM_MIK : l ? FORM_MIL : FORM_MI;
	return NO_FORM;
}

/* 0 to 3 for 1 to 8 bytes. */
static inline unsigned size_log2(unsigned size)
{
	return (unsigned)__builtin_ctz(size);
}

/* Are all visible register operands general registers? MOV, PUSH and POP have others. */
static inline bool general_registers(const struct insn *i)
{
	for (unsigned n = 0; n < i->z.operand_count_visible; n++) {
		if (i->operands[n].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(i->operands[n].reg.value)) {
		case ZYDIS_REGCLASS_GPR8:
		case ZYDIS_REGCLASS_GPR16:
		case ZYDIS_REGCLASS_GPR32:
		case ZYDIS_REGCLASS_GPR64:
			break;
		default:
			return false;
		}
	}
	return true;
}

/* Conditions by their encoding (SDM vol. 1 appendix B); each gives 0 or not 0. */
#define CC_O(af)   ((af)&1)
#define CC_NO(af)  (!CC_O(af))
#define CC_B(af)   ((af)&FLAG_CF << 8)
#define CC_NB(af)  (!CC_B(af))
#define CC_Z(af)   ((af)&FLAG_ZF << 8)
#define CC_NZ(af)  (!CC_Z(af))
#define CC_BE(af)  ((af) & (FLAG_CF | FLAG_ZF) << 8)
#define CC_NBE(af) (!CC_BE(af))
#define CC_S(af)   ((af)&FLAG_SF << 8)
#define CC_NS(af)  (!CC_S(af))
#define CC_P(af)   ((af)&FLAG_PF << 8)
#define CC_NP(af)  (!CC_P(af))
#define CC_L(af)   (((af) >> 15 ^ (af)) & 1)
#define CC_NL(af)  (!CC_L(af))
#define CC_LE(af)  (CC_L(af) || CC_Z(af))
#define CC_NLE(af) (!CC_LE(af))
#define FOR_CONDITIONS(M) \
	M(O) M(NO) M(B) M(NB) M(Z) M(NZ) M(BE) M(NBE) M(S) M(NS) M(P) M(NP) M(L) M(NL) M(LE) M(NLE)

static inline bool condition(u32 af, unsigned code)
{
	bool v;

	switch (code >> 1) {
	case 0:
		v = CC_O(af);
		break;
	case 1:
		v = CC_B(af);
		break;
	case 2:
		v = CC_Z(af);
		break;
	case 3:
		v = CC_BE(af);
		break;
	case 4:
		v = CC_S(af);
		break;
	case 5:
		v = CC_P(af);
		break;
	case 6:
		v = CC_L(af);
		break;
	default:
		v = CC_LE(af);
		break;
	}
	return v != (code & 1);
}
