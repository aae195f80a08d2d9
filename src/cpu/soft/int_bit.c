/* BT, BTS, BTR, BTC, BSF, BSR, TZCNT, LZCNT, POPCNT, BMI1, BMI2, ADX, CRC32. */
#include "cpu/soft/int.h"

#define HANDLER(name) static const struct op *name(struct soft_cpu *c, const struct op *o)

/* ---- bit tests ---- */

/* Linear address of the operand that holds the bit: a bit number in a register reaches beyond the operand,
 * signed. */
static u64 bit_linear(struct soft_cpu *c, const struct op *o, u64 *bit, enum soft_access access)
{
	u64 offset = op_offset(c, o);

	if (op_kind(o, 1) == KIND_REG) {
		s64 n = o->size == 2   ? (s16)*soft_reg16(c, o->r[1])
		        : o->size == 4 ? (s32)*soft_reg32(c, o->r[1])
		                       : (s64)*soft_reg64(c, o->r[1]);
		unsigned shift = 3 + size_log2(o->size);

		offset = (offset + (u64)(n >> shift) * o->size) & MASK(o->asize * 8);
		*bit = (u64)n & (o->size * 8 - 1);
	} else {
		*bit = o->imm & (o->size * 8 - 1);
	}
	return soft_seg_linear(c, o->seg, offset, o->size, access);
}

static u64 bit_number(struct soft_cpu *c, const struct op *o)
{
	u64 n = op_kind(o, 1) == KIND_REG ? soft_reg_get(c, o->r[1], o->size) : o->imm;

	return n & (o->size * 8 - 1);
}

#define BT(bits, sfx, T, name)                                                                           \
	static inline T test_##name##bits(struct soft_cpu *c, T a, T bit)                                \
	{                                                                                                \
		u32 af = c->af;                                                                          \
		__asm__(FLAGS_IN #name #sfx " %2, %0" FLAGS_OUT : "+r"(a), "+&a"(af) : "r"(bit) : "cc"); \
		c->af = af;                                                                              \
		return a;                                                                                \
	}
BT(64, q, u64, bt)
#define BT_WRITE(bits, sfx, T, name)                                                                   \
	BT(bits, sfx, T, name)                                                                         \
	HANDLER(name##bits##_r)                                                                        \
	{                                                                                              \
		set_reg##bits(c, o->r[0],                                                              \
		              test_##name##bits(c, *soft_reg##bits(c, o->r[0]), (T)bit_number(c, o))); \
		return o + 1;                                                                          \
	}                                                                                              \
	HANDLER(name##bits##_m)                                                                        \
	{                                                                                              \
		u64 bit, linear = bit_linear(c, o, &bit, SOFT_WRITE);                                  \
		volatile T *p = soft_rmw(c, linear, sizeof(T), o->seg, false);                         \
		*p = test_##name##bits(c, *p, (T)bit);                                                 \
		soft_rmw_end(c);                                                                       \
		return o + 1;                                                                          \
	}                                                                                              \
	HANDLER(name##bits##_mk)                                                                       \
	{                                                                                              \
		u64 bit, linear = bit_linear(c, o, &bit, SOFT_WRITE);                                  \
		T *p = soft_rmw(c, linear, sizeof(T), o->seg, true);                                   \
		u32 af = c->af;                                                                        \
		__asm__ volatile(FLAGS_IN "lock " #name #sfx " %2, %0" FLAGS_OUT                       \
		                 : "+m"(*p), "+&a"(af)                                                 \
		                 : "r"((T)bit)                                                         \
		                 : "cc", "memory");                                                    \
		c->af = af;                                                                            \
		soft_rmw_end(c);                                                                       \
		return o + 1;                                                                          \
	}
#define BT_ROW(bits, sfx, T, name) {name##bits##_r, name##bits##_m, name##bits##_mk},
#define BT_BIND(name)                                                               \
	FOR_WIDE_SIZES(BT_WRITE, name)                                              \
	static bool bind_##name(struct op *o, const struct insn *i)                 \
	{                                                                           \
		static const op_fn table[3][3] = {FOR_WIDE_SIZES(BT_ROW, name)};    \
		o->fn = table[size_log2(o->size) - 1][op_kind(o, 0) == KIND_REG ? 0 \
		                                      : o->flags & OPF_LOCK     ? 2 \
		                                                                : 1];   \
		return true;                                                        \
	}
BT_BIND(bts)
BT_BIND(btr)
BT_BIND(btc)

HANDLER(bt)
{
	u64 bit, v;

	if (op_kind(o, 0) == KIND_REG) {
		bit = bit_number(c, o);
		v = soft_reg_get(c, o->r[0], o->size);
	} else {
		u64 linear = bit_linear(c, o, &bit, SOFT_READ);

		v = soft_load(c, linear, o->size, o->seg);
	}
	test_bt64(c, v, bit);
	return o + 1;
}

/* ---- scans and counts: destination, source ---- */

/* The destination is taken in all its width: what a zero source leaves, or not, is as on the host. modifier:
 * the compiler's for a register of that size. */
#define SCAN(bits, modifier, T, name)                                   \
	HANDLER(name##bits)                                             \
	{                                                               \
		T v = (T)op_read(c, o, 1, sizeof(T));                   \
		u64 to = *soft_reg64(c, o->r[0]);                       \
		u32 af = c->af;                                         \
		__asm__(FLAGS_IN #name " %2, %" #modifier "0" FLAGS_OUT \
		        : "+r"(to), "+&a"(af)                           \
		        : "r"(v)                                        \
		        : "cc");                                        \
		*soft_reg64(c, o->r[0]) = to;                           \
		c->af = af;                                             \
		return o + 1;                                           \
	}
#define SCAN_FN(bits, sfx, T, name) name##bits,
#define SCAN_BIND(name)                                                             \
	static bool bind_##name(struct op *o, const struct insn *i)                 \
	{                                                                           \
		static const op_fn table[] = {NULL, FOR_WIDE_SIZES(SCAN_FN, name)}; \
		o->fn = table[size_log2(o->size)];                                  \
		return true;                                                        \
	}
#define SCAN_ALL(name) SCAN(16, w, u16, name) SCAN(32, k, u32, name) SCAN(64, q, u64, name)
SCAN_ALL(bsf)
SCAN_BIND(bsf)
SCAN_ALL(bsr)
SCAN_BIND(bsr)
SCAN_ALL(tzcnt)
SCAN_BIND(tzcnt)
SCAN_ALL(lzcnt)
SCAN_BIND(lzcnt)
SCAN_ALL(popcnt)
SCAN_BIND(popcnt)

/* ---- BMI: 32 and 64 bits ---- */

/* Destination, source. */
#define BMI_UNARY(name)                                                                                     \
	HANDLER(name)                                                                                       \
	{                                                                                                   \
		u64 v = op_read(c, o, 1, o->size), to;                                                      \
		u32 af = c->af;                                                                             \
		if (o->size == 8)                                                                           \
			__asm__(FLAGS_IN #name " %2, %0" FLAGS_OUT : "=&r"(to), "+&a"(af) : "r"(v) : "cc"); \
		else                                                                                        \
			__asm__(FLAGS_IN #name " %k2, %k0" FLAGS_OUT                                        \
			        : "=&r"(to), "+&a"(af)                                                      \
			        : "r"(v)                                                                    \
			        : "cc");                                                                    \
		soft_reg_set(c, o->r[0], o->size, to);                                                      \
		c->af = af;                                                                                 \
		return o + 1;                                                                               \
	}
BMI_UNARY(blsi)
BMI_UNARY(blsmsk)
BMI_UNARY(blsr)

/* Destination, two sources in Intel order (the assembler wants them the other way round). */
#define BMI_BINARY(name)                                                              \
	HANDLER(name)                                                                 \
	{                                                                             \
		u64 a = op_read(c, o, 1, o->size), b = op_read(c, o, 2, o->size), to; \
		u32 af = c->af;                                                       \
		if (o->size == 8)                                                     \
			__asm__(FLAGS_IN #name " %3, %2, %0" FLAGS_OUT                \
			        : "=&r"(to), "+&a"(af)                                \
			        : "r"(a), "r"(b)                                      \
			        : "cc");                                              \
		else                                                                  \
			__asm__(FLAGS_IN #name " %k3, %k2, %k0" FLAGS_OUT             \
			        : "=&r"(to), "+&a"(af)                                \
			        : "r"(a), "r"(b)                                      \
			        : "cc");                                              \
		soft_reg_set(c, o->r[0], o->size, to);                                \
		c->af = af;                                                           \
		return o + 1;                                                         \
	}
BMI_BINARY(andn)
BMI_BINARY(bextr)
BMI_BINARY(bzhi)
BMI_BINARY(pdep)
BMI_BINARY(pext)

/* ---- ADX ---- */

HANDLER(adcx)
{
	u64 b = op_read(c, o, 1, o->size), a = soft_reg_get(c, o->r[0], o->size), carry = c->af >> 8 & 1;
	unsigned __int128 sum = (unsigned __int128)a + b + carry;

	soft_reg_set(c, o->r[0], o->size, (u64)sum);
	c->af = (c->af & ~(FLAG_CF << 8)) | (u32)(sum >> (o->size * 8) & 1) << 8;
	return o + 1;
}

HANDLER(adox)
{
	u64 b = op_read(c, o, 1, o->size), a = soft_reg_get(c, o->r[0], o->size), carry = c->af & 1;
	unsigned __int128 sum = (unsigned __int128)a + b + carry;

	soft_reg_set(c, o->r[0], o->size, (u64)sum);
	c->af = (c->af & ~0xffu) | (u32)(sum >> (o->size * 8) & 1);
	return o + 1;
}

/* ---- CRC32 ---- */

HANDLER(crc32)
{
	u64 crc = *soft_reg32(c, o->r[0]);
	unsigned size = o->aux;
	u64 v = op_read(c, o, 1, size);

	switch (size) {
	case 1:
		__asm__("crc32b %b1, %k0" : "+r"(crc) : "r"(v));
		break;
	case 2:
		__asm__("crc32w %w1, %k0" : "+r"(crc) : "r"(v));
		break;
	case 4:
		__asm__("crc32l %k1, %k0" : "+r"(crc) : "r"(v));
		break;
	default:
		__asm__("crc32q %1, %0" : "+r"(crc) : "r"(v));
		break;
	}
	*soft_reg64(c, o->r[0]) = (u32)crc;
	return o + 1;
}

static bool bind_crc32(struct op *o, const struct insn *i)
{
	o->aux = i->operands[1].size / 8;
	o->fn = crc32;
	return true;
}

const struct opdef soft_int_bit[] = {
        {ZYDIS_MNEMONIC_BT, 0, bt},
        {ZYDIS_MNEMONIC_BTS, 0, NULL, bind_bts},
        {ZYDIS_MNEMONIC_BTR, 0, NULL, bind_btr},
        {ZYDIS_MNEMONIC_BTC, 0, NULL, bind_btc},
        {ZYDIS_MNEMONIC_BSF, 0, NULL, bind_bsf},
        {ZYDIS_MNEMONIC_BSR, 0, NULL, bind_bsr},
        {ZYDIS_MNEMONIC_TZCNT, 0, NULL, bind_tzcnt},
        {ZYDIS_MNEMONIC_LZCNT, 0, NULL, bind_lzcnt},
        {ZYDIS_MNEMONIC_POPCNT, 0, NULL, bind_popcnt},
        {ZYDIS_MNEMONIC_BLSI, 0, blsi},
        {ZYDIS_MNEMONIC_BLSMSK, 0, blsmsk},
        {ZYDIS_MNEMONIC_BLSR, 0, blsr},
        {ZYDIS_MNEMONIC_ANDN, 0, andn},
        {ZYDIS_MNEMONIC_BEXTR, 0, bextr},
        {ZYDIS_MNEMONIC_BZHI, 0, bzhi},
        {ZYDIS_MNEMONIC_PDEP, 0, pdep},
        {ZYDIS_MNEMONIC_PEXT, 0, pext},
        {ZYDIS_MNEMONIC_ADCX, 0, adcx},
        {ZYDIS_MNEMONIC_ADOX, 0, adox},
        {ZYDIS_MNEMONIC_CRC32, 0, NULL, bind_crc32},
        {0},
};
