/* MOV of general registers, MOVZX, MOVSX, MOVSXD, LEA, XCHG, BSWAP, MOVBE, MOVNTI, CMOVcc, SETcc, XLAT, CBW
 * and kin. */
#include "cpu/soft/int.h"

#define HANDLER(name) static const struct op *name(struct soft_cpu *c, const struct op *o)

/* ---- MOV ---- */

#define MOV(bits, sfx, T)                                                                                    \
	HANDLER(mov##bits##_rr)                                                                              \
	{                                                                                                    \
		set_reg##bits(c, o->r[0], *soft_reg##bits(c, o->r[1]));                                      \
		return o + 1;                                                                                \
	}                                                                                                    \
	HANDLER(mov##bits##_ri)                                                                              \
	{                                                                                                    \
		set_reg##bits(c, o->r[0], (T)o->imm);                                                        \
		return o + 1;                                                                                \
	}                                                                                                    \
	MOV_MEMORY(bits, T, , op_linear(c, o, sizeof(T), SOFT_READ), op_linear(c, o, sizeof(T), SOFT_WRITE)) \
	MOV_MEMORY(bits, T, l, ea_long(c, o), ea_long(c, o))
#define MOV_MEMORY(bits, T, l, ea_read, ea_write)                                   \
	HANDLER(mov##bits##_rm##l)                                                  \
	{                                                                           \
		set_reg##bits(c, o->r[0], soft_load##bits(c, ea_read, o->seg));     \
		return o + 1;                                                       \
	}                                                                           \
	HANDLER(mov##bits##_mr##l)                                                  \
	{                                                                           \
		soft_store##bits(c, ea_write, *soft_reg##bits(c, o->r[1]), o->seg); \
		return o + 1;                                                       \
	}                                                                           \
	HANDLER(mov##bits##_mi##l)                                                  \
	{                                                                           \
		soft_store##bits(c, ea_write, (T)o->imm, o->seg);                   \
		return o + 1;                                                       \
	}
FOR_SIZES(MOV)

#define MOV_ROW(bits, sfx, T)                                                                     \
	{[FORM_RR] = mov##bits##_rr,   [FORM_RI] = mov##bits##_ri,  [FORM_RM] = mov##bits##_rm,   \
	 [FORM_MR] = mov##bits##_mr,   [FORM_MI] = mov##bits##_mi,  [FORM_RML] = mov##bits##_rml, \
	 [FORM_MRL] = mov##bits##_mrl, [FORM_MIL] = mov##bits##_mil},

static bool bind_mov(struct op *o, const struct insn *i)
{
	static const op_fn table[4][FORM_COUNT] = {FOR_SIZES(MOV_ROW)};
	enum form f = op_form(o);

	if (f == NO_FORM || !general_registers(i))
		return false;
	o->fn = table[size_log2(o->size)][f];
	return o->fn;
}

HANDLER(movnti)
{
	op_write(c, o, 0, o->size, soft_reg_get(c, o->r[1], o->size));
	return o + 1;
}

/* ---- MOVZX, MOVSX, MOVSXD: destination and source sizes ---- */

#define EXTEND(name, dbits, D, sbits, S)                                                                  \
	HANDLER(name##_rr)                                                                                \
	{                                                                                                 \
		set_reg##dbits(c, o->r[0], (D)(S)*soft_reg##sbits(c, o->r[1]));                           \
		return o + 1;                                                                             \
	}                                                                                                 \
	HANDLER(name##_rm)                                                                                \
	{                                                                                                 \
		set_reg##dbits(c, o->r[0],                                                                \
		               (D)(S)soft_load##sbits(c, op_linear(c, o, sbits / 8, SOFT_READ), o->seg)); \
		return o + 1;                                                                             \
	}                                                                                                 \
	HANDLER(name##_rml)                                                                               \
	{                                                                                                 \
		set_reg##dbits(c, o->r[0], (D)(S)soft_load##sbits(c, ea_long(c, o), o->seg));             \
		return o + 1;                                                                             \
	}
#define EXTEND_ROW(name)                         \
	{                                        \
		name##_rr, name##_rm, name##_rml \
	}

EXTEND(zx16_8, 16, u16, 8, u8)
EXTEND(zx32_8, 32, u32, 8, u8)
EXTEND(zx16_16, 16, u16, 16, u16)
EXTEND(zx32_16, 32, u32, 16, u16)
EXTEND(sx16_8, 16, s16, 8, s8)
EXTEND(sx32_8, 32, s32, 8, s8)
EXTEND(sx64_8, 64, s64, 8, s8)
EXTEND(sx32_16, 32, s32, 16, s16)
EXTEND(sx64_16, 64, s64, 16, s16)
EXTEND(sx32_32, 32, u32, 32, u32)
EXTEND(sx64_32, 64, s64, 32, s32)

static bool choose_extend(struct op *o, const op_fn row[3])
{
	o->fn = row[op_kind(o, 1) == KIND_REG ? 0 : op_long(o) ? 2 : 1];
	return o->fn;
}

static bool bind_movzx(struct op *o, const struct insn *i)
{
	/* To 64 bits is the same as to 32. */
	static const op_fn bytes[2][3] = {EXTEND_ROW(zx16_8), EXTEND_ROW(zx32_8)};
	static const op_fn words[2][3] = {EXTEND_ROW(zx16_16), EXTEND_ROW(zx32_16)};

	return choose_extend(o, (i->operands[1].size == 8 ? bytes : words)[o->size > 2]);
}

static bool bind_movsx(struct op *o, const struct insn *i)
{
	static const op_fn table[3][3][3] = {
	        /* from 8 */ {EXTEND_ROW(sx16_8), EXTEND_ROW(sx32_8), EXTEND_ROW(sx64_8)},
	        /* from 16 */ {EXTEND_ROW(zx16_16), EXTEND_ROW(sx32_16), EXTEND_ROW(sx64_16)},
	        /* from 32 */ {EXTEND_ROW(zx16_16), EXTEND_ROW(sx32_32), EXTEND_ROW(sx64_32)},
	};

	return choose_extend(o, table[size_log2(i->operands[1].size / 8)][size_log2(o->size) - 1]);
}

/* ---- LEA ---- */

HANDLER(lea64)
{
	*soft_reg64(c, o->r[0]) = c->regs[o->base] + (c->regs[o->index] << o->scale) + (u64)o->disp;
	return o + 1;
}

HANDLER(lea)
{
	soft_reg_set(c, o->r[0], o->size, op_offset(c, o));
	return o + 1;
}

static bool bind_lea(struct op *o, const struct insn *i)
{
	o->fn = op_long(o) && o->size == 8 ? lea64 : lea;
	return true;
}

/* ---- XCHG: with memory it is always locked ---- */

HANDLER(xchg_rr)
{
	u64 a = soft_reg_get(c, o->r[0], o->size), b = soft_reg_get(c, o->r[1], o->size);

	soft_reg_set(c, o->r[0], o->size, b);
	soft_reg_set(c, o->r[1], o->size, a);
	return o + 1;
}

#define XCHG(bits, sfx, T)                                                                           \
	HANDLER(xchg##bits##_m)                                                                      \
	{                                                                                            \
		unsigned r = op_kind(o, 0) == KIND_REG ? o->r[0] : o->r[1];                          \
		T *p = soft_rmw(c, op_linear(c, o, sizeof(T), SOFT_WRITE), sizeof(T), o->seg, true); \
		T v = *soft_reg##bits(c, r);                                                         \
		__asm__ volatile("xchg" #sfx " %0, %1" : "+r"(v), "+m"(*p) : : "memory");            \
		set_reg##bits(c, r, v);                                                              \
		soft_rmw_end(c);                                                                     \
		return o + 1;                                                                        \
	}
#define XCHG_FN(bits, sfx, T) xchg##bits##_m,
FOR_SIZES(XCHG)

static bool bind_xchg(struct op *o, const struct insn *i)
{
	static const op_fn memory[] = {FOR_SIZES(XCHG_FN)};

	o->fn = op_kind(o, 0) == KIND_REG && op_kind(o, 1) == KIND_REG ? xchg_rr : memory[size_log2(o->size)];
	return true;
}

/* ---- byte order ---- */

static u64 swapped(u64 v, unsigned size)
{
	switch (size) {
	case 2:
		return __builtin_bswap16((u16)v);
	case 4:
		return __builtin_bswap32((u32)v);
	default:
		return __builtin_bswap64(v);
	}
}

HANDLER(bswap)
{
	/* A 16-bit one is undefined, and gives zero. */
	u64 v = soft_reg_get(c, o->r[0], o->size);

	soft_reg_set(c, o->r[0], o->size, o->size == 2 ? 0 : swapped(v, o->size));
	return o + 1;
}

HANDLER(movbe)
{
	op_write(c, o, 0, o->size, swapped(op_read(c, o, 1, o->size), o->size));
	return o + 1;
}

/* ---- CMOVcc, SETcc ---- */

/* The source is read whatever the condition; a 32-bit destination is zero-extended in any case. */
#define CMOV(cc)                                                                                       \
	HANDLER(cmov32_##cc)                                                                           \
	{                                                                                              \
		u32 v = *soft_reg32(c, o->r[1]), old = *soft_reg32(c, o->r[0]);                        \
		*soft_reg64(c, o->r[0]) = CC_##cc(c->af) ? v : old;                                    \
		return o + 1;                                                                          \
	}                                                                                              \
	HANDLER(cmov64_##cc)                                                                           \
	{                                                                                              \
		u64 v = *soft_reg64(c, o->r[1]), old = *soft_reg64(c, o->r[0]);                        \
		*soft_reg64(c, o->r[0]) = CC_##cc(c->af) ? v : old;                                    \
		return o + 1;                                                                          \
	}                                                                                              \
	HANDLER(cmov_##cc)                                                                             \
	{                                                                                              \
		u64 v = op_read(c, o, 1, o->size), old = soft_reg_get(c, o->r[0], o->size);            \
		soft_reg_set(c, o->r[0], o->size, CC_##cc(c->af) ? v : old);                           \
		return o + 1;                                                                          \
	}                                                                                              \
	HANDLER(set_##cc)                                                                              \
	{                                                                                              \
		*soft_reg8(c, o->r[0]) = CC_##cc(c->af) != 0;                                          \
		return o + 1;                                                                          \
	}                                                                                              \
	HANDLER(setm_##cc)                                                                             \
	{                                                                                              \
		op_write(c, o, 0, 1, CC_##cc(c->af) != 0);                                             \
		return o + 1;                                                                          \
	}                                                                                              \
	static bool bind_cmov_##cc(struct op *o, const struct insn *i)                                 \
	{                                                                                              \
		bool r = op_kind(o, 1) == KIND_REG;                                                    \
		o->fn = r && o->size == 8 ? cmov64_##cc : r && o->size == 4 ? cmov32_##cc : cmov_##cc; \
		return true;                                                                           \
	}                                                                                              \
	static bool bind_set_##cc(struct op *o, const struct insn *i)                                  \
	{                                                                                              \
		o->fn = op_kind(o, 0) == KIND_REG ? set_##cc : setm_##cc;                              \
		return true;                                                                           \
	}
FOR_CONDITIONS(CMOV)
#define CMOV_ROWS(cc) \
	{ZYDIS_MNEMONIC_CMOV##cc, 0, NULL, bind_cmov_##cc}, {ZYDIS_MNEMONIC_SET##cc, 0, NULL, bind_set_##cc},

/* ---- XLAT, sign extensions of the accumulator ---- */

HANDLER(xlat)
{
	u64 offset = c->regs[REG_RBX] + (u8)c->regs[REG_RAX];

	offset &= MASK(o->asize * 8);
	*soft_reg8(c, 0) = soft_load8(c, soft_seg_linear(c, o->seg, offset, 1, SOFT_READ), o->seg);
	return o + 1;
}

HANDLER(cbw)
{
	set_reg16(c, 0, (u16)(s8)c->regs[REG_RAX]);
	return o + 1;
}
HANDLER(cwde)
{
	set_reg32(c, 0, (u32)(s16)c->regs[REG_RAX]);
	return o + 1;
}
HANDLER(cdqe)
{
	set_reg64(c, 0, (u64)(s32)c->regs[REG_RAX]);
	return o + 1;
}
HANDLER(cwd)
{
	set_reg16(c, REG_RDX * 8, (u16)((s16)c->regs[REG_RAX] >> 15));
	return o + 1;
}
HANDLER(cdq)
{
	set_reg32(c, REG_RDX * 8, (u32)((s32)c->regs[REG_RAX] >> 31));
	return o + 1;
}
HANDLER(cqo)
{
	set_reg64(c, REG_RDX * 8, (u64)((s64)c->regs[REG_RAX] >> 63));
	return o + 1;
}

const struct opdef soft_int_move[] = {
        {ZYDIS_MNEMONIC_MOV, 0, NULL, bind_mov},
        {ZYDIS_MNEMONIC_MOVNTI, 0, movnti},
        {ZYDIS_MNEMONIC_MOVZX, 0, NULL, bind_movzx},
        {ZYDIS_MNEMONIC_MOVSX, 0, NULL, bind_movsx},
        {ZYDIS_MNEMONIC_MOVSXD, 0, NULL, bind_movsx},
        {ZYDIS_MNEMONIC_LEA, 0, NULL, bind_lea},
        {ZYDIS_MNEMONIC_XCHG, 0, NULL, bind_xchg},
        {ZYDIS_MNEMONIC_BSWAP, 0, bswap},
        {ZYDIS_MNEMONIC_MOVBE, 0, movbe},
        {ZYDIS_MNEMONIC_XLAT, 0, xlat},
        {ZYDIS_MNEMONIC_CBW, 0, cbw},
        {ZYDIS_MNEMONIC_CWDE, 0, cwde},
        {ZYDIS_MNEMONIC_CDQE, 0, cdqe},
        {ZYDIS_MNEMONIC_CWD, 0, cwd},
        {ZYDIS_MNEMONIC_CDQ, 0, cdq},
        {ZYDIS_MNEMONIC_CQO, 0, cqo},
        FOR_CONDITIONS(CMOV_ROWS){0},
};
