#include "cpu/soft/decode_form.h"

#include <string.h>

/* What follows an opcode. */
enum {
	ALONE = 1,
	MODRM = 2,
	IMM8 = 4,
	IMM = 8,       /* of the operand's size, 4 bytes at most */
	IMM_FULL = 16, /* of all the operand's size */
	REL8 = 32,
	REL32 = 64,
	GROUP = 128 /* ModRM.reg is part of the opcode */
};
#define ALU(base)                                                                           \
	[(base)] = MODRM, [(base) + 1] = MODRM, [(base) + 2] = MODRM, [(base) + 3] = MODRM, \
	[(base) + 4] = IMM8, [(base) + 5] = IMM

/* Opcodes of one byte, and of 0F and one: those whose function does not depend on displacement or immediate. */
static const u8 one_byte[256] = {
        ALU(0x00),
        ALU(0x08),
        ALU(0x10),
        ALU(0x18),
        ALU(0x20),
        ALU(0x28),
        ALU(0x30),
        ALU(0x38),
        [0x50 ... 0x5f] = ALONE,
        [0x63] = MODRM,
        [0x68] = IMM,
        [0x69] = MODRM | IMM,
        [0x6a] = IMM8,
        [0x6b] = MODRM | IMM8,
        [0x70 ... 0x7f] = REL8,
        [0x80] = MODRM | IMM8 | GROUP,
        [0x81] = MODRM | IMM | GROUP,
        [0x83] = MODRM | IMM8 | GROUP,
        [0x84 ... 0x8b] = MODRM,
        [0x8d] = MODRM,
        [0x90 ... 0x99] = ALONE,
        [0xa8] = IMM8,
        [0xa9] = IMM,
        [0xb0 ... 0xb7] = IMM8,
        [0xb8 ... 0xbf] = IMM_FULL,
        [0xc0 ... 0xc1] = MODRM | IMM8 | GROUP,
        [0xc3] = ALONE,
        [0xc6] = MODRM | IMM8 | GROUP,
        [0xc7] = MODRM | IMM | GROUP,
        [0xc9] = ALONE,
        [0xd0 ... 0xd3] = MODRM | GROUP,
        [0xe8 ... 0xe9] = REL32,
        [0xeb] = REL8,
        [0xf6] = MODRM | IMM8 | GROUP,
        [0xf7] = MODRM | IMM | GROUP,
        [0xfe ... 0xff] = MODRM | GROUP,
};
static const u8 two_byte[256] = {
        [0x0b] = ALONE,
        [0x0d] = MODRM | GROUP,
        [0x18] = MODRM | GROUP,
        [0x1f] = MODRM,
        [0x40 ... 0x4f] = MODRM,
        [0x80 ... 0x8f] = REL32,
        [0x90 ... 0x9f] = MODRM,
        [0xa3] = MODRM,
        [0xa4] = MODRM | IMM8,
        [0xa5] = MODRM,
        [0xab] = MODRM,
        [0xac] = MODRM | IMM8,
        [0xad] = MODRM,
        [0xaf ... 0xb1] = MODRM,
        [0xb3] = MODRM,
        [0xb6 ... 0xb8] = MODRM,
        [0xba] = MODRM | IMM8 | GROUP,
        [0xbb ... 0xc1] = MODRM,
        [0xc8 ... 0xcf] = ALONE,
};

u64 decode_number(const u8 *p, unsigned len, bool negative)
{
	u64 v = 0;

	if (!len)
		return 0;
	memcpy(&v, p, len);
	return negative ? (u64)((s64)(v << (64 - 8 * len)) >> (64 - 8 * len)) : v;
}

static bool prefixes(const u8 **at, const u8 *end, struct decode_form *d, unsigned *seen)
{
	enum { SMALL = 1, LOCK = 2, REPNE = 4, REP = 8, IGNORED = 16, FS = 32, GS = 64 };
	const u8 *p = *at;

	for (; p < end; p++) {
		unsigned bit;

		switch (*p) {
		case 0x66:
			bit = SMALL;
			break;
		case 0xf0:
			bit = LOCK;
			break;
		case 0xf2:
			bit = REPNE;
			break;
		case 0xf3:
			bit = REP;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			bit = IGNORED;
			break;
		case 0x64:
			bit = FS;
			d->seg = SEG_FS;
			break;
		case 0x65:
			bit = GS;
			d->seg = SEG_GS;
			break;
		default:
			*at = p;
			return true;
		}
		/* Which of several counts is not known here. */
		if (*seen & (bit | (bit & (SMALL | REPNE | REP) ? SMALL | REPNE | REP : 0) |
		             (bit & (IGNORED | FS | GS) ? IGNORED | FS | GS : 0)))
			return false;
		*seen |= bit;
	}
	return false;
}

bool decode_form(const u8 *bytes, size_t len, unsigned off, struct decode_form *d)
{
	const u8 *p = bytes, *end = bytes + len;
	unsigned seen = 0, what, two = 0, reg = 0;
	bool wide, small;

	*d = (struct decode_form){.seg = SEG_DS};
	if (!prefixes(&p, end, d, &seen))
		return false;
	if ((*p & 0xf0) == 0x40)
		d->rex = *p++;
	wide = d->rex & 8;
	small = seen & 1;
	if (p < end && *p == 0x0f) {
		two = 1;
		p++;
	}
	if (p == end)
		return false;
	d->opcode = *p++;
	what = two ? two_byte[d->opcode] : one_byte[d->opcode];
	if (!what)
		return false;
	/* PUSH, POP, MOV, BSWAP: the register is a number, too. */
	unsigned opcode = d->opcode;

	if (two ? (opcode & 0xf8) == 0xc8 : (opcode & 0xf0) == 0x50 || (opcode & 0xf0) == 0xb0)
		opcode &= 0xf8;
	if (!two && d->opcode == 0x90 && d->rex & 1)
		return false;
	if (what & MODRM) {
		unsigned mod, rm;

		if (p == end)
			return false;
		d->modrm = *p++;
		mod = d->modrm >> 6;
		rm = d->modrm & 7;
		d->memory = mod < 3;
		if (d->memory && rm == 4) {
			if (p == end)
				return false;
			d->sib = *p++;
			rm = d->sib & 7;
		}
		d->disp = mod == 1 ? 1 : mod == 2 || (mod == 0 && rm == 5) ? 4 : 0;
		if (what & GROUP)
			reg = d->modrm >> 3 & 7;
		if (what & GROUP && what & (IMM8 | IMM) && !two && d->opcode >= 0xc6) {
			/* MOV alone of group 11, TEST alone of group 3. */
			if (d->opcode < 0xf0 && reg)
				return false;
			if (d->opcode >= 0xf0 && reg > 1)
				what &= ~(unsigned)(IMM8 | IMM);
		}
	}
	if (what & (REL8 | REL32)) {
		if (small)
			return false; /* of which processors differ */
		d->disp = what & REL8 ? 1 : 4;
		d->rel = true;
	}
	if (what & IMM8)
		d->imm = 1;
	else if (what & (IMM | IMM_FULL))
		d->imm = wide ? (what & IMM ? 4 : 8) : small ? 2 : 4;
	d->disp_at = (u8)(p - bytes);
	d->len = d->disp_at + d->disp + d->imm;
	if (d->len > len)
		return false;
	d->key = BIT(63) | opcode | two << 8 | (u64)seen << 9 | (u64)wide << 16 | (u64)d->memory << 17 |
	         (u64)reg << 18;
	if (d->rel && (u64)((s64)decode_number(bytes + d->disp_at, d->disp, true) + off + d->len) < PAGE_SIZE)
		d->key |= DECODE_IN_PAGE;
	return true;
}
