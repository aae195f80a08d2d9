/*
 * MUL, IMUL, DIV, IDIV, MULX. Hosts leave some undefined flags as they were, so they get the guest's first;
 * the sequence wants rax for both, so the operand that belongs there is moved in behind it.
 */
#include "cpu/soft/int.h"

#define HANDLER(name) static const struct op *name(struct soft_cpu *c, const struct op *o)

/* ---- one operand: rdx:rax by the operand, ax by a byte ---- */

HANDLER(mul8)
{
	u8 b = (u8)op_read(c, o, 0, 1);
	u32 af = c->af, product = *soft_reg8(c, 0);

	__asm__(FLAGS_IN "movl %1, %%eax\n\tmulb %2\n\tmovzwl %%ax, %1" FLAGS_OUT
	        : "+&a"(af), "+&r"(product)
	        : "r"(b)
	        : "cc");
	set_reg16(c, 0, (u16)product);
	c->af = af;
	return o + 1;
}

HANDLER(imul8)
{
	u8 b = (u8)op_read(c, o, 0, 1);
	u32 af = c->af, product = *soft_reg8(c, 0);

	__asm__(FLAGS_IN "movl %1, %%eax\n\timulb %2\n\tmovzwl %%ax, %1" FLAGS_OUT
	        : "+&a"(af), "+&r"(product)
	        : "r"(b)
	        : "cc");
	set_reg16(c, 0, (u16)product);
	c->af = af;
	return o + 1;
}

#define MUL(bits, sfx, T, name)                                                                    \
	HANDLER(name##bits)                                                                        \
	{                                                                                          \
		T b = (T)op_read(c, o, 0, sizeof(T)), high;                                        \
		u64 a = c->af, low = *soft_reg##bits(c, 0);                                        \
		__asm__(FLAGS_IN "movq %2, %%rax\n\t" #name #sfx " %3\n\tmovq %%rax, %2" FLAGS_OUT \
		        : "+&a"(a), "=&d"(high), "+&r"(low)                                        \
		        : "r"(b)                                                                   \
		        : "cc");                                                                   \
		set_reg##bits(c, REG_RAX * 8, (T)low);                                             \
		set_reg##bits(c, REG_RDX * 8, high);                                               \
		c->af = (u32)a;                                                                    \
		return o + 1;                                                                      \
	}
FOR_WIDE_SIZES(MUL, mul)
FOR_WIDE_SIZES(MUL, imul)

/* ---- IMUL with two and three operands: the sources are the last two ---- */

#define IMUL(bits, sfx, T)                                                                              \
	static inline T product##bits(struct soft_cpu *c, T a, T b)                                     \
	{                                                                                               \
		u32 af = c->af;                                                                         \
		__asm__(FLAGS_IN "imul" #sfx " %2, %0" FLAGS_OUT : "+r"(a), "+&a"(af) : "r"(b) : "cc"); \
		c->af = af;                                                                             \
		return a;                                                                               \
	}                                                                                               \
	HANDLER(imul##bits##_2)                                                                         \
	{                                                                                               \
		T b = (T)op_read(c, o, 1, sizeof(T));                                                   \
		set_reg##bits(c, o->r[0], product##bits(c, *soft_reg##bits(c, o->r[0]), b));            \
		return o + 1;                                                                           \
	}                                                                                               \
	HANDLER(imul##bits##_3)                                                                         \
	{                                                                                               \
		T a = (T)op_read(c, o, 1, sizeof(T));                                                   \
		set_reg##bits(c, o->r[0], product##bits(c, a, (T)o->imm));                              \
		return o + 1;                                                                           \
	}
FOR_WIDE_SIZES(IMUL)

static bool bind_mul(struct op *o, const struct insn *i)
{
	static const op_fn table[] = {mul8, mul16, mul32, mul64};

	o->fn = table[size_log2(o->size)];
	return true;
}

static bool bind_imul(struct op *o, const struct insn *i)
{
	static const op_fn one[] = {imul8, imul16, imul32, imul64};
	static const op_fn two[] = {NULL, imul16_2, imul32_2, imul64_2};
	static const op_fn three[] = {NULL, imul16_3, imul32_3, imul64_3};

	/* The one-operand form has the accumulator among its hidden operands. */
	bool single =
	        i->z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (i->z.opcode == 0xf6 || i->z.opcode == 0xf7);
	o->fn = (single ? one : op_kind(o, 2) == KIND_NONE ? two : three)[size_log2(o->size)];
	return true;
}

/* ---- division: #DE is found before the host would fault ---- */

HANDLER(div8)
{
	u8 b = (u8)op_read(c, o, 0, 1);
	u32 af = c->af, result = *soft_reg16(c, 0);

	if ((result >> 8) >= b)
		soft_raise(c, EXC_DE);
	__asm__(FLAGS_IN "movl %1, %%eax\n\tdivb %2\n\tmovzwl %%ax, %1" FLAGS_OUT
	        : "+&a"(af), "+&r"(result)
	        : "r"(b)
	        : "cc");
	set_reg16(c, 0, (u16)result);
	c->af = af;
	return o + 1;
}

HANDLER(idiv8)
{
	s8 b = (s8)op_read(c, o, 0, 1);
	s32 a = (s16)*soft_reg16(c, 0);
	u32 af = c->af, result = *soft_reg16(c, 0);

	if (!b || a / b > INT8_MAX || a / b < INT8_MIN)
		soft_raise(c, EXC_DE);
	__asm__(FLAGS_IN "movl %1, %%eax\n\tidivb %2\n\tmovzwl %%ax, %1" FLAGS_OUT
	        : "+&a"(af), "+&r"(result)
	        : "r"(b)
	        : "cc");
	set_reg16(c, 0, (u16)result);
	c->af = af;
	return o + 1;
}

#define DIVIDE(bits, sfx, T, name)                                                                 \
	static inline void name##bits##_host(struct soft_cpu *c, T b)                              \
	{                                                                                          \
		u64 a = c->af, quotient = *soft_reg##bits(c, REG_RAX * 8);                         \
		T high = *soft_reg##bits(c, REG_RDX * 8);                                          \
		__asm__(FLAGS_IN "movq %2, %%rax\n\t" #name #sfx " %3\n\tmovq %%rax, %2" FLAGS_OUT \
		        : "+&a"(a), "+&d"(high), "+&r"(quotient)                                   \
		        : "r"(b)                                                                   \
		        : "cc");                                                                   \
		set_reg##bits(c, REG_RAX * 8, (T)quotient);                                        \
		set_reg##bits(c, REG_RDX * 8, high);                                               \
		c->af = (u32)a;                                                                    \
	}
FOR_WIDE_SIZES(DIVIDE, div)
FOR_WIDE_SIZES(DIVIDE, idiv)

#define DIV(bits, sfx, T)                                 \
	HANDLER(div##bits)                                \
	{                                                 \
		T b = (T)op_read(c, o, 0, sizeof(T));     \
		if (*soft_reg##bits(c, REG_RDX * 8) >= b) \
			soft_raise(c, EXC_DE);            \
		div##bits##_host(c, b);                   \
		return o + 1;                             \
	}
FOR_WIDE_SIZES(DIV)

HANDLER(idiv16)
{
	s16 b = (s16)op_read(c, o, 0, 2);
	s32 a = (s32)((u32)*soft_reg16(c, REG_RDX * 8) << 16 | *soft_reg16(c, REG_RAX * 8));

	if (!b || (s64)a / b > INT16_MAX || (s64)a / b < INT16_MIN)
		soft_raise(c, EXC_DE);
	idiv16_host(c, (u16)b);
	return o + 1;
}

HANDLER(idiv32)
{
	s32 b = (s32)op_read(c, o, 0, 4);
	s64 a = (s64)((u64)*soft_reg32(c, REG_RDX * 8) << 32 | *soft_reg32(c, REG_RAX * 8));

	if (!b || (a == INT64_MIN && b == -1) || a / b > INT32_MAX || a / b < INT32_MIN)
		soft_raise(c, EXC_DE);
	idiv32_host(c, (u32)b);
	return o + 1;
}

HANDLER(idiv64)
{
	s64 b = (s64)op_read(c, o, 0, 8);
	unsigned __int128 a = (unsigned __int128)c->regs[REG_RDX] << 64 | c->regs[REG_RAX];
	bool negative = (s64)c->regs[REG_RDX] < 0;
	u64 magnitude = b < 0 ? -(u64)b : (u64)b, quotient, rest;

	if (negative)
		a = -a;
	/* By magnitudes: the quotient of these fits 64 bits, and then 63 and a sign. */
	if ((u64)(a >> 64) >= magnitude)
		soft_raise(c, EXC_DE);
	__asm__("divq %4"
	        : "=a"(quotient), "=d"(rest)
	        : "a"((u64)a), "d"((u64)(a >> 64)), "r"(magnitude)
	        : "cc");
	if (quotient > (u64)INT64_MAX + (negative != (b < 0)))
		soft_raise(c, EXC_DE);
	idiv64_host(c, (u64)b);
	return o + 1;
}

static bool bind_div(struct op *o, const struct insn *i)
{
	static const op_fn table[] = {div8, div16, div32, div64};

	o->fn = table[size_log2(o->size)];
	return true;
}

static bool bind_idiv(struct op *o, const struct insn *i)
{
	static const op_fn table[] = {idiv8, idiv16, idiv32, idiv64};

	o->fn = table[size_log2(o->size)];
	return true;
}

/* Operands: high, low, source; no flags. If both are the same register it gets the high half. */
HANDLER(mulx)
{
	u64 b = op_read(c, o, 2, o->size), a = soft_reg_get(c, REG_RDX * 8, o->size);
	unsigned __int128 p = (unsigned __int128)a * b;

	soft_reg_set(c, o->r[1], o->size, (u64)p);
	soft_reg_set(c, o->r[0], o->size, (u64)(p >> (o->size * 8)));
	return o + 1;
}

const struct opdef soft_int_mul[] = {
        {ZYDIS_MNEMONIC_MUL, 0, NULL, bind_mul}, {ZYDIS_MNEMONIC_IMUL, 0, NULL, bind_imul},
        {ZYDIS_MNEMONIC_DIV, 0, NULL, bind_div}, {ZYDIS_MNEMONIC_IDIV, 0, NULL, bind_idiv},
        {ZYDIS_MNEMONIC_MULX, 0, mulx},          {0},
};
