/*
 * CMPXCHG, CMPXCHG8B/16B, XADD, BCD, BOUND, flag bits, RDRAND/RDSEED, no-operations, fences and hints,
 * undefined opcodes.
 */
#include "cpu/soft/int.h"

#include <sys/syscall.h>

#define HANDLER(name) static const struct op *name(struct soft_cpu *c, const struct op *o)

/* ---- CMPXCHG, XADD: write permission is needed in any case ---- */

#define CMPXCHG(bits, sfx, T)                                                                          \
	HANDLER(cmpxchg##bits##_r)                                                                     \
	{                                                                                              \
		T to = *soft_reg##bits(c, o->r[0]), a = *soft_reg##bits(c, 0);                         \
		u64 old = to;                                                                          \
		u32 af;                                                                                \
		__asm__("cmp" #sfx " %2, %1" FLAGS_OUT : "=&a"(af) : "r"(a), "r"(to) : "cc");          \
		/* 32 bits: the destination is zero-extended if it is written, else rax is. */         \
		if (a == to)                                                                           \
			set_reg##bits(c, o->r[0], *soft_reg##bits(c, o->r[1]));                        \
		else                                                                                   \
			set_reg##bits(c, 0, (T)old);                                                   \
		c->af = af;                                                                            \
		return o + 1;                                                                          \
	}                                                                                              \
	HANDLER(cmpxchg##bits##_m)                                                                     \
	{                                                                                              \
		bool locked = o->flags & OPF_LOCK;                                                     \
		T *p = soft_rmw(c, op_linear(c, o, sizeof(T), SOFT_WRITE), sizeof(T), o->seg, locked); \
		T new = *soft_reg##bits(c, o->r[1]);                                                   \
		u64 a = *soft_reg##bits(c, 0), old;                                                    \
		if (locked)                                                                            \
			__asm__ volatile("lock cmpxchg" #sfx " %3, %1\n\tmovq %%rax, %2" FLAGS_OUT     \
			                 : "+&a"(a), "+m"(*p), "=&r"(old)                              \
			                 : "r"(new)                                                    \
			                 : "cc", "memory");                                            \
		else                                                                                   \
			__asm__ volatile("cmpxchg" #sfx " %3, %1\n\tmovq %%rax, %2" FLAGS_OUT          \
			                 : "+&a"(a), "+m"(*p), "=&r"(old)                              \
			                 : "r"(new)                                                    \
			                 : "cc", "memory");                                            \
		c->af = (u32)a;                                                                        \
		if (!CC_Z(c->af))                                                                      \
			set_reg##bits(c, 0, (T)old);                                                   \
		soft_rmw_end(c);                                                                       \
		return o + 1;                                                                          \
	}
#define XADD(bits, sfx, T)                                                                             \
	HANDLER(xadd##bits##_r)                                                                        \
	{                                                                                              \
		T a = *soft_reg##bits(c, o->r[0]), b = *soft_reg##bits(c, o->r[1]), sum = a;           \
		u32 af;                                                                                \
		__asm__("add" #sfx " %2, %0" FLAGS_OUT : "+r"(sum), "=&a"(af) : "r"(b) : "cc");        \
		set_reg##bits(c, o->r[1], a);                                                          \
		set_reg##bits(c, o->r[0], sum); /* last: both may be the same */                       \
		c->af = af;                                                                            \
		return o + 1;                                                                          \
	}                                                                                              \
	HANDLER(xadd##bits##_m)                                                                        \
	{                                                                                              \
		bool locked = o->flags & OPF_LOCK;                                                     \
		T *p = soft_rmw(c, op_linear(c, o, sizeof(T), SOFT_WRITE), sizeof(T), o->seg, locked); \
		T v = *soft_reg##bits(c, o->r[1]);                                                     \
		u32 af;                                                                                \
		if (locked)                                                                            \
			__asm__ volatile("lock xadd" #sfx " %0, %1" FLAGS_OUT                          \
			                 : "+r"(v), "+m"(*p), "=&a"(af)                                \
			                 :                                                             \
			                 : "cc", "memory");                                            \
		else                                                                                   \
			__asm__ volatile("xadd" #sfx " %0, %1" FLAGS_OUT                               \
			                 : "+r"(v), "+m"(*p), "=&a"(af)                                \
			                 :                                                             \
			                 : "cc", "memory");                                            \
		set_reg##bits(c, o->r[1], v);                                                          \
		c->af = af;                                                                            \
		soft_rmw_end(c);                                                                       \
		return o + 1;                                                                          \
	}
#define PAIR_ROW(bits, sfx, T, name) {name##bits##_r, name##bits##_m},
FOR_SIZES(CMPXCHG)
FOR_SIZES(XADD)

static bool bind_cmpxchg(struct op *o, const struct insn *i)
{
	static const op_fn table[4][2] = {FOR_SIZES(PAIR_ROW, cmpxchg)};

	o->fn = table[size_log2(o->size)][op_kind(o, 0) == KIND_MEM];
	return true;
}

static bool bind_xadd(struct op *o, const struct insn *i)
{
	static const op_fn table[4][2] = {FOR_SIZES(PAIR_ROW, xadd)};

	o->fn = table[size_log2(o->size)][op_kind(o, 0) == KIND_MEM];
	return true;
}

/* Only ZF changes. The host's locked form serves for both: it is merely stronger. */
HANDLER(cmpxchg8b)
{
	u64 *p = soft_rmw(c, op_linear(c, o, 8, SOFT_WRITE), 8, o->seg, o->flags & OPF_LOCK);
	u64 expect = (u64)*soft_reg32(c, REG_RDX * 8) << 32 | *soft_reg32(c, REG_RAX * 8), old = expect;
	u64 new = (u64)*soft_reg32(c, REG_RCX * 8) << 32 | *soft_reg32(c, REG_RBX * 8);

	__asm__ volatile("lock cmpxchgq %2, %1" : "+a"(old), "+m"(*p) : "r"(new) : "cc", "memory");
	if (old == expect) {
		c->af |= FLAG_ZF << 8;
	} else {
		c->af &= ~(u32)(FLAG_ZF << 8);
		set_reg32(c, REG_RAX * 8, (u32)old);
		set_reg32(c, REG_RDX * 8, (u32)(old >> 32));
	}
	soft_rmw_end(c);
	return o + 1;
}

HANDLER(cmpxchg16b)
{
	u64 linear = op_linear(c, o, 16, SOFT_WRITE), low = c->regs[REG_RAX], high = c->regs[REG_RDX];
	u8 equal;

	if (linear & 15)
		soft_raise_error(c, EXC_GP, 0);
	u64 *p = soft_rmw(c, linear, 16, o->seg, o->flags & OPF_LOCK);
	if (((u64)p & 15) == 0) {
		__asm__ volatile("lock cmpxchg16b %1\n\tsete %0"
		                 : "=q"(equal), "+m"(*(unsigned __int128 *)p), "+a"(low), "+d"(high)
		                 : "b"(c->regs[REG_RBX]), "c"(c->regs[REG_RCX])
		                 : "cc", "memory");
	} else { /* a copy */
		equal = p[0] == low && p[1] == high;
		low = p[0], high = p[1];
		if (equal)
			p[0] = c->regs[REG_RBX], p[1] = c->regs[REG_RCX];
	}
	if (equal) {
		c->af |= FLAG_ZF << 8;
	} else {
		c->af &= ~(u32)(FLAG_ZF << 8);
		c->regs[REG_RAX] = low;
		c->regs[REG_RDX] = high;
	}
	soft_rmw_end(c);
	return o + 1;
}

/* ---- decimal arithmetic: the opcodes do not exist in 64-bit mode, so not on the host as we run ---- */

static u32 parity(u8 v)
{
	return __builtin_parity(v) ? 0 : FLAG_PF << 8;
}

/* SF, ZF, PF by al; AF and CF as given; OF (undefined) 0. */
static void set_decimal(struct soft_cpu *c, bool adjust, bool carry)
{
	u8 al = *soft_reg8(c, 0);

	c->af = FLAG_ONE << 8 | (al & 0x80 ? FLAG_SF << 8 : 0) | (al ? 0 : FLAG_ZF << 8) | parity(al) |
	        (adjust ? FLAG_AF << 8 : 0) | (carry ? FLAG_CF << 8 : 0);
}

static const struct op *decimal(struct soft_cpu *c, const struct op *o, int sign)
{
	u8 *al = soft_reg8(c, 0), old = *al;
	bool old_carry = c->af >> 8 & FLAG_CF, carry = false, adjust = false;

	if ((old & 15) > 9 || (c->af >> 8 & FLAG_AF)) {
		carry = old_carry || (sign > 0 ? old > 0xf9 : old < 6);
		*al = (u8)(*al + sign * 6);
		adjust = true;
	}
	if (old > 0x99 || old_carry) {
		*al = (u8)(*al + sign * 0x60);
		carry = true;
	} else if (sign > 0) {
		carry = false;
	}
	set_decimal(c, adjust, carry);
	return o + 1;
}
HANDLER(daa)
{
	return decimal(c, o, 1);
}
HANDLER(das)
{
	return decimal(c, o, -1);
}

static const struct op *ascii(struct soft_cpu *c, const struct op *o, int sign)
{
	bool adjust = (*soft_reg8(c, 0) & 15) > 9 || (c->af >> 8 & FLAG_AF);

	if (adjust)
		*soft_reg16(c, 0) = (u16)(*soft_reg16(c, 0) + sign * 0x106);
	*soft_reg8(c, 0) &= 15;
	set_decimal(c, adjust, adjust);
	return o + 1;
}
HANDLER(aaa)
{
	return ascii(c, o, 1);
}
HANDLER(aas)
{
	return ascii(c, o, -1);
}

HANDLER(aam)
{
	u8 base = (u8)o->imm, al = *soft_reg8(c, 0);

	if (!base)
		soft_raise(c, EXC_DE);
	*soft_reg8(c, 1) = al / base;
	*soft_reg8(c, 0) = al % base;
	set_decimal(c, false, false);
	return o + 1;
}

HANDLER(aad)
{
	*soft_reg16(c, 0) = (u8)(*soft_reg8(c, 0) + *soft_reg8(c, 1) * (u8)o->imm);
	set_decimal(c, false, false);
	return o + 1;
}

HANDLER(salc)
{
	*soft_reg8(c, 0) = c->af >> 8 & FLAG_CF ? 0xff : 0;
	return o + 1;
}

/* ---- BOUND ---- */

HANDLER(bound)
{
	unsigned size = o->osize;
	u64 offset = op_offset(c, o), linear = soft_seg_linear(c, o->seg, offset, 2 * size, SOFT_READ);
	u64 low = soft_load(c, linear, size, o->seg), high = soft_load(c, linear + size, size, o->seg);
	u64 v = soft_reg_get(c, o->r[0], size);
	bool in = size == 2 ? (s16)v >= (s16)low && (s16)v <= (s16)high
	                    : (s32)v >= (s32)low && (s32)v <= (s32)high;

	if (!in)
		soft_raise(c, EXC_BR);
	return o + 1;
}

/* ---- single flags ---- */

HANDLER(clc)
{
	c->af &= ~(u32)(FLAG_CF << 8);
	return o + 1;
}
HANDLER(stc)
{
	c->af |= FLAG_CF << 8;
	return o + 1;
}
HANDLER(cmc)
{
	c->af ^= FLAG_CF << 8;
	return o + 1;
}
HANDLER(cld)
{
	c->rflags &= ~(u64)FLAG_DF;
	return o + 1;
}
HANDLER(std_)
{
	c->rflags |= FLAG_DF;
	return o + 1;
}

/* ---- random numbers: the host's; CF says whether there was one, all other flags are 0 ---- */

static const struct op *random_done(struct soft_cpu *c, const struct op *o, u64 v, u8 ok)
{
	soft_reg_set(c, o->r[0], o->size, ok ? v : 0);
	c->af = FLAG_ONE << 8 | (ok ? FLAG_CF << 8 : 0);
	return o + 1;
}

HANDLER(rdrand)
{
	u64 v;
	u8 ok;

	__asm__ volatile("rdrand %0\n\tsetc %1" : "=r"(v), "=q"(ok) : : "cc");
	return random_done(c, o, v, ok);
}

HANDLER(rdseed)
{
	u64 v;
	u8 ok;

	__asm__ volatile("rdseed %0\n\tsetc %1" : "=r"(v), "=q"(ok) : : "cc");
	return random_done(c, o, v, ok);
}

/* ---- nothing ---- */

HANDLER(nop)
{
	return o + 1;
}

/* Whoever spins waits for another vCPU, which may want the host's CPU. A bare system call keeps vector
 * registers. */
HANDLER(pause)
{
	__builtin_ia32_pause();
	if (!(++c->pauses & (c->pauses_per_yield - 1)) && !c->base.config.board->mem->single_vcpu) {
		long result = SYS_sched_yield;

		__asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
	}
	return o + 1;
}

HANDLER(lfence)
{
	__asm__ volatile("lfence" : : : "memory");
	return o + 1;
}

HANDLER(mfence)
{
	__asm__ volatile("mfence" : : : "memory");
	return o + 1;
}

HANDLER(sfence)
{
	__asm__ volatile("sfence" : : : "memory");
	return o + 1;
}

/* The caches are coherent with the memory that is written back to, so only the address is checked, as a load.
 */
HANDLER(flush_line)
{
	soft_load8(c, op_linear(c, o, 1, SOFT_READ), o->seg);
	return o + 1;
}

HANDLER(undefined)
{
	return op_undefined(c, o);
}

const struct opdef soft_int_misc[] = {
        {ZYDIS_MNEMONIC_CMPXCHG, 0, NULL, bind_cmpxchg},
        {ZYDIS_MNEMONIC_XADD, 0, NULL, bind_xadd},
        {ZYDIS_MNEMONIC_CMPXCHG8B, 0, cmpxchg8b},
        {ZYDIS_MNEMONIC_CMPXCHG16B, 0, cmpxchg16b},
        {ZYDIS_MNEMONIC_DAA, 0, daa},
        {ZYDIS_MNEMONIC_DAS, 0, das},
        {ZYDIS_MNEMONIC_AAA, 0, aaa},
        {ZYDIS_MNEMONIC_AAS, 0, aas},
        {ZYDIS_MNEMONIC_AAM, 0, aam},
        {ZYDIS_MNEMONIC_AAD, 0, aad},
        {ZYDIS_MNEMONIC_SALC, 0, salc},
        {ZYDIS_MNEMONIC_BOUND, 0, bound},
        {ZYDIS_MNEMONIC_CLC, 0, clc},
        {ZYDIS_MNEMONIC_STC, 0, stc},
        {ZYDIS_MNEMONIC_CMC, 0, cmc},
        {ZYDIS_MNEMONIC_CLD, 0, cld},
        {ZYDIS_MNEMONIC_STD, 0, std_},
        {ZYDIS_MNEMONIC_RDRAND, 0, rdrand},
        {ZYDIS_MNEMONIC_RDSEED, 0, rdseed},
        {ZYDIS_MNEMONIC_NOP, 0, nop},
        {ZYDIS_MNEMONIC_PAUSE, 0, pause},
        {ZYDIS_MNEMONIC_PREFETCH, 0, nop},
        {ZYDIS_MNEMONIC_PREFETCHNTA, 0, nop},
        {ZYDIS_MNEMONIC_PREFETCHT0, 0, nop},
        {ZYDIS_MNEMONIC_PREFETCHT1, 0, nop},
        {ZYDIS_MNEMONIC_PREFETCHT2, 0, nop},
        {ZYDIS_MNEMONIC_PREFETCHW, 0, nop},
        {ZYDIS_MNEMONIC_PREFETCHWT1, 0, nop},
        {ZYDIS_MNEMONIC_LFENCE, 0, lfence},
        {ZYDIS_MNEMONIC_MFENCE, 0, mfence},
        {ZYDIS_MNEMONIC_SFENCE, 0, sfence},
        {ZYDIS_MNEMONIC_CLFLUSH, 0, flush_line},
        {ZYDIS_MNEMONIC_CLFLUSHOPT, 0, flush_line},
        {ZYDIS_MNEMONIC_CLWB, 0, flush_line},
        {ZYDIS_MNEMONIC_UD0, OPDEF_END, undefined},
        {ZYDIS_MNEMONIC_UD1, OPDEF_END, undefined},
        {ZYDIS_MNEMONIC_UD2, OPDEF_END, undefined},
        {0},
};
