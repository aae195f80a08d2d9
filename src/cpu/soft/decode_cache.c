#include "cpu/soft/decode_cache.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 1024, LONGEST = 7 };
/* In a key of bytes, above them, their number; in any: is it a form's? */
enum { LENGTH = 56, FORM = 63 };

struct decode_cache {
	u64 keys[ENTRIES]; /* 0: none */
	struct entry {
		struct op op; /* at page offset 0 */
		struct decode_origin origin;
	} entries[ENTRIES];
};

struct decode_cache *decode_cache_new(void)
{
	return calloc(1, sizeof(struct decode_cache));
}

void decode_cache_free(struct decode_cache *k)
{
	free(k);
}

void decode_cache_reset(struct decode_cache *k)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		((volatile u64 *)k->keys)[i] = 0;
}

/* The first bytes, as a number. */
static u64 load(const u8 *bytes, size_t len)
{
	u64 v = 0;

	if (len >= sizeof(v)) {
		memcpy(&v, bytes, sizeof(v));
		return v;
	}
	while (len--)
		v = v << 8 | bytes[len];
	return v;
}

static u64 key_of(u64 bytes, unsigned len)
{
	return (bytes & (BIT(8 * len) - 1)) | (u64)len << LENGTH;
}

static unsigned slot_of(u64 key)
{
	return (unsigned)(key * 0x9e3779b97f4a7c15ULL >> 40) % ENTRIES;
}

/* ---- forms ---- */

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

static u64 number(const u8 *p, unsigned len, bool negative)
{
	u64 v = 0;

	if (!len)
		return 0;
	memcpy(&v, p, len);
	return negative ? (u64)((s64)(v << (64 - 8 * len)) >> (64 - 8 * len)) : v;
}

/* An instruction of a form, taken apart. */
struct parts {
	u64 key;
	u8 len, disp_at, disp, imm; /* bytes; the immediate is behind the displacement, at the end */
	u8 rex, opcode, modrm, sib; /* rex: 0 if there is none */
	u8 seg;                     /* SEG_FS, SEG_GS by a prefix, or SEG_DS */
	bool memory, rel;           /* rel: the displacement is a branch's */
};

static bool prefixes(const u8 **at, const u8 *end, struct parts *d, unsigned *seen)
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

/* False: of no form, or more than len bytes. */
static bool take_apart(const u8 *bytes, size_t len, unsigned off, struct parts *d)
{
	const u8 *p = bytes, *end = bytes + len;
	unsigned seen = 0, what, two = 0, reg = 0;
	bool wide, small;

	*d = (struct parts){.seg = SEG_DS};
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
	d->key = BIT(FORM) | opcode | two << 8 | (u64)seen << 9 | (u64)wide << 16 | (u64)d->memory << 17 |
	         (u64)reg << 18;
	if (d->rel && (u64)((s64)number(bytes + d->disp_at, d->disp, true) + off + d->len) < PAGE_SIZE)
		d->key |= 1 << 21;
	return true;
}

static u8 register_of(const struct parts *d, unsigned from, bool byte)
{
	unsigned n = from == DECODE_REG  ? (d->modrm >> 3 & 7) | (d->rex & 4) << 1
	             : from == DECODE_RM ? (d->modrm & 7) | (d->rex & 1) << 3
	                                 : (d->opcode & 7) | (d->rex & 1) << 3;

	return (u8)(byte && !d->rex && n >= 4 ? (n - 4) * 8 + 1 : n * 8); /* AH … */
}

static void fill_address(const struct parts *d, struct op *o)
{
	unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

	o->index = SREG_ZERO;
	o->scale = 0;
	o->base = (u8)(rm | (d->rex & 1) << 3);
	if (rm == 4) {
		unsigned index = (d->sib >> 3 & 7) | (d->rex & 2) << 2;

		o->base = (u8)((d->sib & 7) | (d->rex & 1) << 3);
		if (index != 4) {
			o->index = (u8)index;
			o->scale = d->sib >> 6;
		}
		if (mod == 0 && (d->sib & 7) == 5)
			o->base = SREG_ZERO;
	} else if (mod == 0 && rm == 5) {
		o->base = SREG_PAGE_RIP;
	}
	o->seg = d->seg != SEG_DS ? d->seg : o->base == REG_RSP || o->base == REG_RBP ? SEG_SS : SEG_DS;
}

/* The operation of an entry's form with the numbers that the instruction has. */
static void fill(const struct entry *e, const u8 *bytes, const struct parts *d, unsigned off, struct op *o)
{
	*o = e->op;
	o->off = (u16)off;
	o->len = d->len;
	for (unsigned n = 0; n < 3; n++)
		if (e->origin.from[n])
			o->r[n] = register_of(d, e->origin.from[n], e->origin.byte[n]);
	if (d->imm)
		o->imm = number(bytes + d->disp_at + d->disp, d->imm, e->origin.negative);
	if (d->memory)
		fill_address(d, o);
	if (d->memory || d->rel)
		o->disp = (s64)number(bytes + d->disp_at, d->disp, true);
	if (d->rel || o->base == SREG_PAGE_RIP)
		o->disp += off + d->len;
}

/* ---- */

bool decode_cache_find(const struct decode_cache *k, const u8 *bytes, size_t len, unsigned off, struct op *o,
                       bool *ends)
{
	const struct entry *e;
	struct parts d;

	if (take_apart(bytes, len, off, &d)) {
		unsigned slot = slot_of(d.key);

		if (k->keys[slot] != d.key)
			return false;
		e = &k->entries[slot];
		fill(e, bytes, &d, off, o);
		*ends = e->origin.ends;
		return true;
	}
	u64 v = load(bytes, len);

	for (unsigned n = 1; n <= LONGEST && n <= len; n++) {
		u64 key = key_of(v, n);
		unsigned slot = slot_of(key);

		if (k->keys[slot] != key)
			continue;
		e = &k->entries[slot];
		*o = e->op;
		o->off = (u16)off;
		if (o->base == SREG_PAGE_RIP)
			o->disp += off;
		*ends = e->origin.ends;
		return true;
	}
	return false;
}

void decode_cache_add(struct decode_cache *k, const u8 *bytes, const struct op *o,
                      const struct decode_origin *origin)
{
	struct entry e = {.op = *o, .origin = *origin};
	struct parts d;
	unsigned slot;
	u64 key;

	if (!o->len)
		return;
	if (take_apart(bytes, o->len, o->off, &d)) {
		struct op again;

		fill(&e, bytes, &d, o->off, &again);
		if (memcmp(&again, o, sizeof(again)) != 0)
			return;
		key = d.key;
	} else {
		if (o->len > LONGEST || origin->branch)
			return;
		e.op.off = 0;
		if (o->base == SREG_PAGE_RIP)
			e.op.disp -= o->off;
		key = key_of(load(bytes, o->len), o->len);
	}
	slot = slot_of(key);
	k->keys[slot] = key;
	k->entries[slot] = e;
}
