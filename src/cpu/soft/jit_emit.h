/*
 * Writing x86-64 instructions. Register numbers are the hardware's; addresses of state are below 2 GiB, as code is, and
 * relative to rip where nothing else is said, which is a byte shorter than absolute.
 */
#pragma once

#include "cpu/soft/jit.h"

enum { T0 = 10, T1 = 11, NO_REG = -1 };

static inline void e8(struct jit_buf *b, unsigned v)
{
	if (b->p < b->end)
		*b->p++ = (u8)v;
	else
		b->full = true;
}
static inline void e32(struct jit_buf *b, u32 v)
{
	for (unsigned i = 0; i < 32; i += 8)
		e8(b, v >> i & 0xff);
}
static inline void e64(struct jit_buf *b, u64 v)
{
	e32(b, (u32)v);
	e32(b, (u32)(v >> 32));
}
static inline u32 here(const struct jit_buf *b)
{
	return (u32)((u64)b->p + (u64)b->to_run);
}
static inline u32 low(const volatile void *p)
{
	return (u32)(u64)p;
}

enum {
	OP_ADD = 0x03,
	OP_AND = 0x23,
	OP_SUB = 0x2b,
	OP_XOR = 0x33,
	OP_CMP = 0x3b,
	OP_LOAD = 0x8b,
	OP_STORE = 0x89,
	OP_LEA = 0x8d,
	OP_TEST = 0x85
};

/* ModRM, SIB and displacement of reg, [base + index << scale + disp]. */
static inline void e_modrm_as(struct jit_buf *b, unsigned mod, unsigned reg, int base, int index,
                              unsigned scale, s64 disp)
{
	bool sib = index >= 0 || base < 0 || (base & 7) == 4;

	e8(b, mod << 6 | (reg & 7) << 3 | (sib ? 4u : (unsigned)base & 7));
	if (sib)
		e8(b, scale << 6 | (index >= 0 ? (unsigned)index & 7 : 4u) << 3 |
		              (base >= 0 ? (unsigned)base & 7 : 5u));
	if (mod == 1)
		e8(b, (u8)disp);
	else if (mod == 2 || base < 0)
		e32(b, (u32)disp);
}
static inline void e_modrm(struct jit_buf *b, unsigned reg, int base, int index, unsigned scale, s64 disp)
{
	unsigned mod = base < 0 ? 0 : disp == 0 && (base & 7) != 5 ? 0 : disp == (s8)disp ? 1 : 2;

	e_modrm_as(b, mod, reg, base, index, scale, disp);
}
/* The same, of four bytes whatever the displacement is. */
static inline void e_modrm_disp32(struct jit_buf *b, unsigned reg, int base, int index, unsigned scale,
                                  s64 disp)
{
	e_modrm_as(b, base < 0 ? 0 : 2, reg, base, index, scale, disp);
}
/* opcode reg, [base + index << scale + disp], REX.W if wide. */
static inline void e_mem(struct jit_buf *b, bool wide, unsigned opcode, unsigned reg, int base, int index,
                         unsigned scale, s64 disp)
{
	unsigned rex = (wide ? 8u : 0) | (reg >> 3) << 2 | (index >= 8 ? 2u : 0) | (base >= 8 ? 1u : 0);

	if (rex)
		e8(b, 0x40 | rex);
	e8(b, opcode);
	e_modrm(b, reg, base, index, scale, disp);
}
/* For what is copied to another place. */
static inline void e_fixed(struct jit_buf *b, bool wide, unsigned opcode, unsigned reg,
                           const volatile void *at)
{
	e_mem(b, wide, opcode, reg, NO_REG, NO_REG, 0, low(at));
}
/* ModRM and what follows, but for `immediate` bytes behind it; reg may be an opcode's extension. */
static inline void e_rip_tail(struct jit_buf *b, unsigned reg, const volatile void *at, unsigned immediate)
{
	e8(b, (reg & 7) << 3 | 5);
	e32(b, low(at) - (here(b) + 4 + immediate));
}
/* No immediate follows. */
static inline void e_abs(struct jit_buf *b, bool wide, unsigned opcode, unsigned reg, const volatile void *at)
{
	unsigned rex = (wide ? 8u : 0) | (reg >> 3) << 2;

	if (rex)
		e8(b, 0x40 | rex);
	e8(b, opcode);
	e_rip_tail(b, reg, at, 0);
}
static inline void e_load(struct jit_buf *b, unsigned reg, const void *at)
{
	e_abs(b, true, OP_LOAD, reg, at);
}
static inline void e_store(struct jit_buf *b, const void *at, unsigned reg)
{
	e_abs(b, true, OP_STORE, reg, at);
}
/* opcode rm, reg: both registers */
static inline void e_rr(struct jit_buf *b, bool wide, unsigned opcode, unsigned reg, unsigned rm)
{
	unsigned rex = (wide ? 8u : 0) | (reg >> 3) << 2 | rm >> 3;

	if (rex)
		e8(b, 0x40 | rex);
	e8(b, opcode);
	e8(b, 0xc0 | (reg & 7) << 3 | (rm & 7));
}
static inline void e_mov(struct jit_buf *b, unsigned to, unsigned from)
{
	e_rr(b, true, OP_STORE, from, to);
}
/* 81 /ext: group 1 with a 32-bit immediate, or its short form */
static inline void e_group1(struct jit_buf *b, bool wide, unsigned ext, unsigned reg, s32 imm)
{
	bool small = imm == (s8)imm;

	e_rr(b, wide, small ? 0x83 : 0x81, ext, reg);
	if (small)
		e8(b, (u8)imm);
	else
		e32(b, (u32)imm);
}
static inline void e_imm32(struct jit_buf *b, unsigned reg, u32 v)
{
	if (reg >= 8)
		e8(b, 0x41);
	e8(b, 0xb8 | (reg & 7));
	e32(b, v);
}
static inline void e_jmp(struct jit_buf *b, u32 to)
{
	e8(b, 0xe9);
	e32(b, to - (here(b) + 4));
}
static inline void e_jmp_reg(struct jit_buf *b, unsigned reg)
{
	e_rr(b, false, 0xff, 4, reg);
}
static inline void e_jmp_abs(struct jit_buf *b, const void *at)
{
	e_abs(b, false, 0xff, 4, at);
}
/* Returns where its rel32 is. */
static inline u8 *e_jcc(struct jit_buf *b, unsigned cc)
{
	e8(b, 0x0f);
	e8(b, 0x80 | cc);
	e32(b, 0);
	return b->p - 4;
}
static inline u8 *e_jmp_later(struct jit_buf *b)
{
	e8(b, 0xe9);
	e32(b, 0);
	return b->p - 4;
}
static inline void e_bytes(struct jit_buf *b, const u8 *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		e8(b, bytes[i]);
}
/* ModRM and what follows: an absolute address; reg may be an opcode's extension. */
static inline void e_mem_tail(struct jit_buf *b, unsigned reg, const volatile void *at)
{
	e8(b, reg << 3 | 4);
	e8(b, 0x25);
	e32(b, low(at));
}
/* Makes the rel32 at `site` go to run address `to`. */
static inline void e_fix(struct jit_buf *b, u8 *site, u32 to)
{
	u32 rel = to - ((u32)((u64)site + (u64)b->to_run) + 4);

	if (!b->full)
		*(u32 *)site = rel;
}
enum { CC_AE = 3, CC_E = 4, CC_NE = 5, CC_BE = 6, CC_A = 7, CC_S = 8 };
