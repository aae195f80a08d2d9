/*
 * SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD, and those that leave the flags alone: SHLX, SHRX, SARX,
 * RORX.
 *
 * The host gets all flags before it shifts, so a count of zero keeps them and rotates keep what they do not
 * change.
 */
#include "cpu/soft/int.h"

#define HANDLER(name) static const struct op *name(struct soft_cpu *c, const struct op *o)

#define SHIFT(bits, sfx, T, name)                                                                            \
	static inline T shift_##name##bits(struct soft_cpu *c, T a, u8 count)                                \
	{                                                                                                    \
		u32 af = c->af;                                                                              \
		__asm__(FLAGS_IN #name #sfx " %%cl, %0" FLAGS_OUT : "+r"(a), "+&a"(af) : "c"(count) : "cc"); \
		c->af = af;                                                                                  \
		return a;                                                                                    \
	}                                                                                                    \
	HANDLER(name##bits##_ri)                                                                             \
	{                                                                                                    \
		set_reg##bits(c, o->r[0], shift_##name##bits(c, *soft_reg##bits(c, o->r[0]), (u8)o->imm));   \
		return o + 1;                                                                                \
	}                                                                                                    \
	HANDLER(name##bits##_rc)                                                                             \
	{                                                                                                    \
		u8 count = *soft_reg8(c, REG_RCX * 8);                                                       \
		set_reg##bits(c, o->r[0], shift_##name##bits(c, *soft_reg##bits(c, o->r[0]), count));        \
		return o + 1;                                                                                \
	}                                                                                                    \
	HANDLER(name##bits##_m)                                                                              \
	{                                                                                                    \
		u8 count = op_kind(o, 1) == KIND_IMM ? (u8)o->imm : *soft_reg8(c, REG_RCX * 8);              \
		volatile T *p =                                                                              \
		        soft_rmw(c, op_linear(c, o, sizeof(T), SOFT_WRITE), sizeof(T), o->seg, false);       \
		*p = shift_##name##bits(c, *p, count);                                                       \
		soft_rmw_end(c);                                                                             \
		return o + 1;                                                                                \
	}
#define SHIFT_ROW(bits, sfx, T, name) {name##bits##_ri, name##bits##_rc, name##bits##_m},
#define SHIFT_BIND(name)                                                            \
	FOR_SIZES(SHIFT, name)                                                      \
	static bool bind_##name(struct op *o, const struct insn *i)                 \
	{                                                                           \
		static const op_fn table[4][3] = {FOR_SIZES(SHIFT_ROW, name)};      \
		o->fn = table[size_log2(o->size)][op_kind(o, 0) == KIND_MEM   ? 2   \
		                                  : op_kind(o, 1) == KIND_IMM ? 0   \
		                                                              : 1]; \
		return true;                                                        \
	}
SHIFT_BIND(shl)
SHIFT_BIND(shr)
SHIFT_BIND(sar)
SHIFT_BIND(rol)
SHIFT_BIND(ror)
SHIFT_BIND(rcl)
SHIFT_BIND(rcr)

/* ---- double shifts ---- */

#define DOUBLE(bits, sfx, T, name)                                                                     \
	static inline T shift_##name##bits(struct soft_cpu *c, T a, T b, u8 count)                     \
	{                                                                                              \
		u32 af = c->af;                                                                        \
		__asm__(FLAGS_IN #name #sfx " %%cl, %2, %0" FLAGS_OUT                                  \
		        : "+r"(a), "+&a"(af)                                                           \
		        : "r"(b), "c"(count)                                                           \
		        : "cc");                                                                       \
		c->af = af;                                                                            \
		return a;                                                                              \
	}                                                                                              \
	HANDLER(name##bits)                                                                            \
	{                                                                                              \
		u8 count = op_kind(o, 2) == KIND_IMM ? (u8)o->imm : *soft_reg8(c, REG_RCX * 8);        \
		T b = *soft_reg##bits(c, o->r[1]);                                                     \
		if (op_kind(o, 0) == KIND_REG) {                                                       \
			set_reg##bits(c, o->r[0],                                                      \
			              shift_##name##bits(c, *soft_reg##bits(c, o->r[0]), b, count));   \
		} else {                                                                               \
			volatile T *p = soft_rmw(c, op_linear(c, o, sizeof(T), SOFT_WRITE), sizeof(T), \
			                         o->seg, false);                                       \
			*p = shift_##name##bits(c, *p, b, count);                                      \
			soft_rmw_end(c);                                                               \
		}                                                                                      \
		return o + 1;                                                                          \
	}
#define DOUBLE_FN(bits, sfx, T, name) name##bits,
#define DOUBLE_BIND(name)                                                             \
	FOR_WIDE_SIZES(DOUBLE, name)                                                  \
	static bool bind_##name(struct op *o, const struct insn *i)                   \
	{                                                                             \
		static const op_fn table[] = {NULL, FOR_WIDE_SIZES(DOUBLE_FN, name)}; \
		o->fn = table[size_log2(o->size)];                                    \
		return true;                                                          \
	}
DOUBLE_BIND(shld)
DOUBLE_BIND(shrd)

/* ---- without flags: destination, source, count ---- */

static unsigned count_of(struct soft_cpu *c, const struct op *o)
{
	u64 v = op_kind(o, 2) == KIND_IMM ? o->imm : *soft_reg8(c, o->r[2]);

	return v & (o->size * 8 - 1);
}

HANDLER(shlx)
{
	soft_reg_set(c, o->r[0], o->size, op_read(c, o, 1, o->size) << count_of(c, o));
	return o + 1;
}

HANDLER(shrx)
{
	soft_reg_set(c, o->r[0], o->size, op_read(c, o, 1, o->size) >> count_of(c, o));
	return o + 1;
}

HANDLER(sarx)
{
	u64 v = op_read(c, o, 1, o->size);

	v = o->size == 4 ? (u64)((s32)v >> count_of(c, o)) : (u64)((s64)v >> count_of(c, o));
	soft_reg_set(c, o->r[0], o->size, v);
	return o + 1;
}

HANDLER(rorx)
{
	u64 v = op_read(c, o, 1, o->size);
	unsigned bits = o->size * 8, n = count_of(c, o);

	if (n)
		v = v >> n | v << (bits - n);
	soft_reg_set(c, o->r[0], o->size, v);
	return o + 1;
}

const struct opdef soft_int_shift[] = {
        {ZYDIS_MNEMONIC_SHL, 0, NULL, bind_shl},
        {ZYDIS_MNEMONIC_SHR, 0, NULL, bind_shr},
        {ZYDIS_MNEMONIC_SAR, 0, NULL, bind_sar},
        {ZYDIS_MNEMONIC_ROL, 0, NULL, bind_rol},
        {ZYDIS_MNEMONIC_ROR, 0, NULL, bind_ror},
        {ZYDIS_MNEMONIC_RCL, 0, NULL, bind_rcl},
        {ZYDIS_MNEMONIC_RCR, 0, NULL, bind_rcr},
        {ZYDIS_MNEMONIC_SHLD, 0, NULL, bind_shld},
        {ZYDIS_MNEMONIC_SHRD, 0, NULL, bind_shrd},
        {ZYDIS_MNEMONIC_SHLX, 0, shlx},
        {ZYDIS_MNEMONIC_SHRX, 0, shrx},
        {ZYDIS_MNEMONIC_SARX, 0, sarx},
        {ZYDIS_MNEMONIC_RORX, 0, rorx},
        {0},
};
