/* ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT. */
#include "cpu/soft/int.h"

/* T alu_NAME_BITS(c, a, b): the result, flags in c->af. */
#define ALU(bits, sfx, T, name, insn)                                                        \
	static inline T alu_##name##bits(struct soft_cpu *c, T a, T b)                       \
	{                                                                                    \
		u32 af;                                                                      \
		__asm__(insn #sfx " %2, %0" FLAGS_OUT : "+r"(a), "=&a"(af) : "r"(b) : "cc"); \
		c->af = af;                                                                  \
		return a;                                                                    \
	}                                                                                    \
	static inline void lock_##name##bits(struct soft_cpu *c, T *a, T b)                  \
	{                                                                                    \
		u32 af;                                                                      \
		__asm__ volatile("lock " insn #sfx " %2, %0" FLAGS_OUT                       \
		                 : "+m"(*a), "=&a"(af)                                       \
		                 : "r"(b)                                                    \
		                 : "cc", "memory");                                          \
		c->af = af;                                                                  \
	}
#define ALU_CARRY(bits, sfx, T, name, insn)                                                           \
	static inline T alu_##name##bits(struct soft_cpu *c, T a, T b)                                \
	{                                                                                             \
		u32 af = c->af;                                                                       \
		__asm__(CARRY_IN insn #sfx " %2, %0" FLAGS_OUT : "+r"(a), "+&a"(af) : "r"(b) : "cc"); \
		c->af = af;                                                                           \
		return a;                                                                             \
	}                                                                                             \
	static inline void lock_##name##bits(struct soft_cpu *c, T *a, T b)                           \
	{                                                                                             \
		u32 af = c->af;                                                                       \
		__asm__ volatile(CARRY_IN "lock " insn #sfx " %2, %0" FLAGS_OUT                       \
		                 : "+m"(*a), "+&a"(af)                                                \
		                 : "r"(b)                                                             \
		                 : "cc", "memory");                                                   \
		c->af = af;                                                                           \
	}
#define ALU_COMPARE(bits, sfx, T, name, insn)                                               \
	static inline void alu_##name##bits(struct soft_cpu *c, T a, T b)                   \
	{                                                                                   \
		u32 af;                                                                     \
		__asm__(insn #sfx " %2, %1" FLAGS_OUT : "=&a"(af) : "r"(a), "r"(b) : "cc"); \
		c->af = af;                                                                 \
	}

FOR_SIZES(ALU, add, "add")
FOR_SIZES(ALU, or, "or")
FOR_SIZES(ALU, and, "and")
FOR_SIZES(ALU, sub, "sub")
FOR_SIZES(ALU, xor, "xor")
FOR_SIZES(ALU_CARRY, adc, "adc")
FOR_SIZES(ALU_CARRY, sbb, "sbb")
FOR_SIZES(ALU_COMPARE, cmp, "cmp")
FOR_SIZES(ALU_COMPARE, test, "test")

#define HANDLER(name) static const struct op *name(struct soft_cpu *c, const struct op *o)

#define RR(bits, sfx, T, name)                                                                          \
	HANDLER(name##bits##_rr)                                                                        \
	{                                                                                               \
		set_reg##bits(                                                                          \
		        c, o->r[0],                                                                     \
		        alu_##name##bits(c, *soft_reg##bits(c, o->r[0]), *soft_reg##bits(c, o->r[1]))); \
		return o + 1;                                                                           \
	}                                                                                               \
	HANDLER(name##bits##_ri)                                                                        \
	{                                                                                               \
		set_reg##bits(c, o->r[0], alu_##name##bits(c, *soft_reg##bits(c, o->r[0]), (T)o->imm)); \
		return o + 1;                                                                           \
	}
#define MEMORY(bits, T, name, l, ea_read, ea_write)                                             \
	HANDLER(name##bits##_rm##l)                                                             \
	{                                                                                       \
		T b = soft_load##bits(c, ea_read, o->seg);                                      \
		set_reg##bits(c, o->r[0], alu_##name##bits(c, *soft_reg##bits(c, o->r[0]), b)); \
		return o + 1;                                                                   \
	}                                                                                       \
	HANDLER(name##bits##_mr##l)                                                             \
	{                                                                                       \
		volatile T *p = soft_rmw(c, ea_write, sizeof(T), o->seg, false);                \
		*p = alu_##name##bits(c, *p, *soft_reg##bits(c, o->r[1]));                      \
		soft_rmw_end(c);                                                                \
		return o + 1;                                                                   \
	}                                                                                       \
	HANDLER(name##bits##_mi##l)                                                             \
	{                                                                                       \
		volatile T *p = soft_rmw(c, ea_write, sizeof(T), o->seg, false);                \
		*p = alu_##name##bits(c, *p, (T)o->imm);                                        \
		soft_rmw_end(c);                                                                \
		return o + 1;                                                                   \
	}
#define LOCKED(bits, sfx, T, name)                                                                   \
	HANDLER(name##bits##_mrk)                                                                    \
	{                                                                                            \
		T *p = soft_rmw(c, op_linear(c, o, sizeof(T), SOFT_WRITE), sizeof(T), o->seg, true); \
		lock_##name##bits(c, p, *soft_reg##bits(c, o->r[1]));                                \
		soft_rmw_end(c);                                                                     \
		return o + 1;                                                                        \
	}                                                                                            \
	HANDLER(name##bits##_mik)                                                                    \
	{                                                                                            \
		T *p = soft_rmw(c, op_linear(c, o, sizeof(T), SOFT_WRITE), sizeof(T), o->seg, true); \
		lock_##name##bits(c, p, (T)o->imm);                                                  \
		soft_rmw_end(c);                                                                     \
		return o + 1;                                                                        \
	}
#define MEMORY_SIZED(bits, sfx, T, name)                               \
	MEMORY(bits, T, name, , op_linear(c, o, sizeof(T), SOFT_READ), \
	       op_linear(c, o, sizeof(T), SOFT_WRITE))                 \
	MEMORY(bits, T, name, l, ea_long(c, o), ea_long(c, o))

#define COMPARE(bits, sfx, T, name)                                                            \
	HANDLER(name##bits##_rr)                                                               \
	{                                                                                      \
		alu_##name##bits(c, *soft_reg##bits(c, o->r[0]), *soft_reg##bits(c, o->r[1])); \
		return o + 1;                                                                  \
	}                                                                                      \
	HANDLER(name##bits##_ri)                                                               \
	{                                                                                      \
		alu_##name##bits(c, *soft_reg##bits(c, o->r[0]), (T)o->imm);                   \
		return o + 1;                                                                  \
	}                                                                                      \
	COMPARE_MEMORY(bits, T, name, , op_linear(c, o, sizeof(T), SOFT_READ))                 \
	COMPARE_MEMORY(bits, T, name, l, ea_long(c, o))
#define COMPARE_MEMORY(bits, T, name, l, ea)                         \
	HANDLER(name##bits##_rm##l)                                  \
	{                                                            \
		T b = soft_load##bits(c, ea, o->seg);                \
		alu_##name##bits(c, *soft_reg##bits(c, o->r[0]), b); \
		return o + 1;                                        \
	}                                                            \
	HANDLER(name##bits##_mr##l)                                  \
	{                                                            \
		T a = soft_load##bits(c, ea, o->seg);                \
		alu_##name##bits(c, a, *soft_reg##bits(c, o->r[1])); \
		return o + 1;                                        \
	}                                                            \
	HANDLER(name##bits##_mi##l)                                  \
	{                                                            \
		T a = soft_load##bits(c, ea, o->seg);                \
		alu_##name##bits(c, a, (T)o->imm);                   \
		return o + 1;                                        \
	}

#define ROW(bits, sfx, T, name)                                                                       \
	{[FORM_RR] = name##bits##_rr,   [FORM_RI] = name##bits##_ri,   [FORM_RM] = name##bits##_rm,   \
	 [FORM_MR] = name##bits##_mr,   [FORM_MI] = name##bits##_mi,   [FORM_RML] = name##bits##_rml, \
	 [FORM_MRL] = name##bits##_mrl, [FORM_MIL] = name##bits##_mil, [FORM_MRK] = name##bits##_mrk, \
	 [FORM_MIK] = name##bits##_mik},
#define COMPARE_ROW(bits, sfx, T, name)                                                              \
	{[FORM_RR] = name##bits##_rr,   [FORM_RI] = name##bits##_ri,  [FORM_RM] = name##bits##_rm,   \
	 [FORM_MR] = name##bits##_mr,   [FORM_MI] = name##bits##_mi,  [FORM_RML] = name##bits##_rml, \
	 [FORM_MRL] = name##bits##_mrl, [FORM_MIL] = name##bits##_mil},

static bool choose(struct op *o, const op_fn table[4][FORM_COUNT])
{
	enum form f = op_form(o);

	if (f != NO_FORM)
		o->fn = table[size_log2(o->size)][f];
	return f != NO_FORM && o->fn;
}

#define BIND(name, row)                                                           \
	static bool bind_##name(struct op *o, const struct insn *i)               \
	{                                                                         \
		static const op_fn table[4][FORM_COUNT] = {FOR_SIZES(row, name)}; \
		return choose(o, table);                                          \
	}
#define WHOLE(name)                   \
	FOR_SIZES(RR, name)           \
	FOR_SIZES(MEMORY_SIZED, name) \
	FOR_SIZES(LOCKED, name)       \
	BIND(name, ROW)

WHOLE(add)
WHOLE(or)
WHOLE(adc)
WHOLE(sbb)
WHOLE(and)
WHOLE(sub)
WHOLE(xor)
FOR_SIZES(COMPARE, cmp)
BIND(cmp, COMPARE_ROW)
FOR_SIZES(COMPARE, test)
BIND(test, COMPARE_ROW)

/* ---- one operand ---- */

/* INC and DEC keep CF. */
#define STEP(bits, sfx, T, name, insn)                                                     \
	static inline T alu_##name##bits(struct soft_cpu *c, T a)                          \
	{                                                                                  \
		u32 af = c->af;                                                            \
		__asm__(CARRY_IN insn #sfx " %0" FLAGS_OUT : "+r"(a), "+&a"(af) : : "cc"); \
		c->af = af;                                                                \
		return a;                                                                  \
	}                                                                                  \
	static inline void lock_##name##bits(struct soft_cpu *c, T *a)                     \
	{                                                                                  \
		u32 af = c->af;                                                            \
		__asm__ volatile(CARRY_IN "lock " insn #sfx " %0" FLAGS_OUT                \
		                 : "+m"(*a), "+&a"(af)                                     \
		                 :                                                         \
		                 : "cc", "memory");                                        \
		c->af = af;                                                                \
	}
/* NOT changes no flags. */
#define STEP_NOT(bits, sfx, T)                                                   \
	static inline T alu_not##bits(struct soft_cpu *c, T a)                   \
	{                                                                        \
		return (T)~a;                                                    \
	}                                                                        \
	static inline void lock_not##bits(struct soft_cpu *c, T *a)              \
	{                                                                        \
		__asm__ volatile("lock not" #sfx " %0" : "+m"(*a) : : "memory"); \
	}
FOR_SIZES(STEP, inc, "inc")
FOR_SIZES(STEP, dec, "dec")
FOR_SIZES(STEP, neg, "neg")
FOR_SIZES(STEP_NOT)

#define UNARY(bits, sfx, T, name)                                                                      \
	HANDLER(name##bits##_r)                                                                        \
	{                                                                                              \
		set_reg##bits(c, o->r[0], alu_##name##bits(c, *soft_reg##bits(c, o->r[0])));           \
		return o + 1;                                                                          \
	}                                                                                              \
	HANDLER(name##bits##_m)                                                                        \
	{                                                                                              \
		volatile T *p =                                                                        \
		        soft_rmw(c, op_linear(c, o, sizeof(T), SOFT_WRITE), sizeof(T), o->seg, false); \
		*p = alu_##name##bits(c, *p);                                                          \
		soft_rmw_end(c);                                                                       \
		return o + 1;                                                                          \
	}                                                                                              \
	HANDLER(name##bits##_mk)                                                                       \
	{                                                                                              \
		T *p = soft_rmw(c, op_linear(c, o, sizeof(T), SOFT_WRITE), sizeof(T), o->seg, true);   \
		lock_##name##bits(c, p);                                                               \
		soft_rmw_end(c);                                                                       \
		return o + 1;                                                                          \
	}
#define UNARY_ROW(bits, sfx, T, name) {name##bits##_r, name##bits##_m, name##bits##_mk},
#define UNARY_BIND(name)                                                        \
	FOR_SIZES(UNARY, name)                                                  \
	static bool bind_##name(struct op *o, const struct insn *i)             \
	{                                                                       \
		static const op_fn table[4][3] = {FOR_SIZES(UNARY_ROW, name)};  \
		o->fn = table[size_log2(o->size)][op_kind(o, 0) == KIND_REG ? 0 \
		                                  : o->flags & OPF_LOCK     ? 2 \
		                                                            : 1];   \
		return true;                                                    \
	}
UNARY_BIND(inc)
UNARY_BIND(dec)
UNARY_BIND(neg)
UNARY_BIND(not )

const struct opdef soft_int_alu[] = {
        {ZYDIS_MNEMONIC_ADD, 0, NULL, bind_add},   {ZYDIS_MNEMONIC_OR, 0, NULL, bind_or},
        {ZYDIS_MNEMONIC_ADC, 0, NULL, bind_adc},   {ZYDIS_MNEMONIC_SBB, 0, NULL, bind_sbb},
        {ZYDIS_MNEMONIC_AND, 0, NULL, bind_and},   {ZYDIS_MNEMONIC_SUB, 0, NULL, bind_sub},
        {ZYDIS_MNEMONIC_XOR, 0, NULL, bind_xor},   {ZYDIS_MNEMONIC_CMP, 0, NULL, bind_cmp},
        {ZYDIS_MNEMONIC_TEST, 0, NULL, bind_test}, {ZYDIS_MNEMONIC_INC, 0, NULL, bind_inc},
        {ZYDIS_MNEMONIC_DEC, 0, NULL, bind_dec},   {ZYDIS_MNEMONIC_NEG, 0, NULL, bind_neg},
        {ZYDIS_MNEMONIC_NOT, 0, NULL, bind_not},   {0},
};
