/*
 * From a form to a case: bytes, then a state in which its memory operands lie in the data pages.
 */
#include "oracle.h"

#include "cpu/soft/features.h"
#include "cpu/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(AREA_SIZE == VCPU_XSAVE_SIZE, "one layout");

u64 rng_next(struct rng *r)
{
	u64 z = r->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

u64 rng_integer(struct rng *r)
{
	static const u64 special[] = {0,
	                              1,
	                              2,
	                              0x7f,
	                              0x80,
	                              0xff,
	                              0x7fff,
	                              0x8000,
	                              0xffff,
	                              0x7fffffff,
	                              0x80000000,
	                              0xffffffff,
	                              0x100000000,
	                              0x7fffffffffffffff,
	                              0x8000000000000000,
	                              ~0ULL,
	                              10,
	                              64,
	                              ~0ULL - 1,
	                              0xffffffff80000000};

	switch (rng_below(r, 8)) {
	case 0:
		return special[rng_below(r, ARRAY_SIZE(special))];
	case 1:
		return rng_below(r, 256);
	case 2:
		return 0 - rng_below(r, 256);
	case 3:
		return rng_next(r) >> rng_below(r, 64);
	default:
		return rng_next(r);
	}
}

/* ---- bytes ---- */

static u8 random_modrm(struct rng *r, const struct form *f)
{
	u8 reg = f->reg_fixed ? f->reg : (u8)rng_below(r, 8);
	u8 rm = f->rm_fixed ? f->rm : (u8)rng_below(r, 8), mod = 3;

	if (f->memory) {
		mod = (u8)rng_below(r, 3);
		if (f->vsib)
			rm = 4;
	}
	return (u8)(mod << 6 | reg << 3 | rm);
}

static void put(u8 *bytes, unsigned *n, u64 v, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		bytes[(*n)++] = (u8)(v >> 8 * i);
}

/* Returns the length. Displacements and immediates are random yet. */
static unsigned assemble(struct rng *r, const struct form *f, u8 bytes[32])
{
	static const u8 segments[] = {0x26, 0x2e, 0x36, 0x3e, 0x65};
	bool addr = (f->memory || f->disp_size || !f->has_modrm) && rng_one_in(r, 12);
	u8 modrm = random_modrm(r, f), rxb = f->compat ? 0 : (u8)rng_below(r, 8);
	unsigned n = 0, disp = 0;

	memset(bytes, 0, 32);
	if (rng_one_in(r, 16) && !f->branch)
		bytes[n++] = segments[rng_below(r, ARRAY_SIZE(segments))];
	if (addr)
		bytes[n++] = 0x67;
	if (f->evex) {
		u8 vvvv = f->vvvv_free ? (u8)rng_below(r, f->compat ? 8 : 16) : 0, aaa = (u8)rng_below(r, 8);
		u8 more = f->compat ? 0 : (u8)rng_below(r, 4); /* R', V' */
		u8 l = f->b && !f->memory ? (u8)rng_below(r, 4) : f->l;

		if (!f->vvvv_free && !f->vsib)
			more &= 2;
		bytes[n++] = 0x62;
		bytes[n++] = (u8)((~rxb & 7) << 5 | (more & 2 ? 0 : 0x10) | f->map);
		bytes[n++] = (u8)(f->w << 7 | (~vvvv & 15) << 3 | 4 | f->pp);
		bytes[n++] = (u8)((aaa && rng_one_in(r, 2) ? 0x80 : 0) | l << 5 | f->b << 4 |
		                  (more & 1 ? 0 : 8) | aaa);
	} else if (f->vex) {
		u8 vvvv = f->vvvv_free ? (u8)rng_below(r, f->compat ? 8 : 16) : 0;
		u8 last = (u8)(f->w << 7 | (~vvvv & 15) << 3 | f->l << 2 | f->pp);

		if (f->map == 1 && !f->w && !(rxb & 3) && rng_one_in(r, 2)) {
			bytes[n++] = 0xc5;
			bytes[n++] = (u8)((rxb & 4 ? 0 : 0x80) | (last & 0x7f));
		} else {
			bytes[n++] = 0xc4;
			bytes[n++] = (u8)((~rxb & 7) << 5 | f->map);
			bytes[n++] = last;
		}
	} else {
		if (f->lock)
			bytes[n++] = 0xf0;
		if (f->size66)
			bytes[n++] = 0x66;
		if (f->repeat)
			bytes[n++] = f->repeat;
		if (!f->compat && (f->w || (rxb && rng_one_in(r, 2)) || rng_one_in(r, 4)))
			bytes[n++] = (u8)(0x40 | f->w << 3 | rxb);
		if (f->map)
			bytes[n++] = 0x0f;
		if (f->map == 2)
			bytes[n++] = 0x38;
		if (f->map == 3)
			bytes[n++] = 0x3a;
	}
	bytes[n++] = (u8)((f->opcode & ~f->opcode_free) | (rng_next(r) & f->opcode_free));
	if (f->has_modrm) {
		unsigned mod = modrm >> 6, rm = modrm & 7;

		bytes[n++] = modrm;
		if (f->compat && addr && f->memory) {
			disp = mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;
		} else if (f->memory) {
			if (rm == 4) {
				u8 sib = (u8)rng_next(r);

				bytes[n++] = sib;
				if ((sib & 7) == 5 && mod == 0)
					disp = 4;
			}
			if (mod == 1)
				disp = 1;
			else if (mod == 2 || (mod == 0 && rm == 5))
				disp = 4;
		}
	}
	if (f->disp_size)
		disp = f->compat ? (addr ? 2 : 4) : addr ? 4 : 8;
	put(bytes, &n, rng_next(r), disp);
	put(bytes, &n, rng_integer(r), f->imm_size[0]);
	put(bytes, &n, rng_integer(r), f->imm_size[1]);
	return n;
}

/* ---- vector state ---- */

static u32 random_float(struct rng *r)
{
	static const u32 special[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
	                              0x7fc00000, 0x7f800001, 0xffc12345, 1,          0x80000001, 0x007fffff,
	                              0x00800000, 0x7f7fffff, 0x4f000000, 0xcf000000};

	switch (rng_below(r, 4)) {
	case 0:
		return special[rng_below(r, ARRAY_SIZE(special))];
	case 1:
		return (u32)(rng_next(r) & 0x80ffffff) | (u32)(112 + rng_below(r, 30)) << 23;
	default:
		return (u32)rng_next(r);
	}
}

static u64 random_double(struct rng *r)
{
	static const u64 special[] = {0,
	                              0x8000000000000000,
	                              0x3ff0000000000000,
	                              0xbff0000000000000,
	                              0x7ff0000000000000,
	                              0xfff0000000000000,
	                              0x7ff8000000000000,
	                              0x7ff0000000000001,
	                              1,
	                              0x000fffffffffffff,
	                              0x0010000000000000,
	                              0x7fefffffffffffff,
	                              0x43e0000000000000,
	                              0xc3e0000000000000,
	                              0x41dfffffffc00000};

	switch (rng_below(r, 4)) {
	case 0:
		return special[rng_below(r, ARRAY_SIZE(special))];
	case 1:
		return (rng_next(r) & 0x800fffffffffffff) | (1008 + rng_below(r, 80)) << 52;
	default:
		return rng_next(r);
	}
}

/* 16 bytes of vector data. */
static void random_vector(struct rng *r, u8 *p)
{
	u64 v[2];

	switch (rng_below(r, 5)) {
	case 0:
	case 1:
		for (unsigned i = 0; i < 2; i++) {
			v[i] = random_float(r);
			v[i] |= (u64)random_float(r) << 32;
		}
		break;
	case 2:
		v[0] = random_double(r);
		v[1] = random_double(r);
		break;
	case 3:
		v[0] = rng_integer(r);
		v[1] = rng_integer(r);
		break;
	default:
		v[0] = rng_next(r);
		v[1] = rng_next(r);
	}
	memcpy(p, v, 16);
}

static void random_x87(struct rng *r, u8 *p)
{
	u64 mantissa = rng_next(r) | BIT(63);
	u16 exponent = (u16)(rng_next(r) & 0x8000);

	switch (rng_below(r, 8)) {
	case 0: /* any bits: also unsupported encodings */
		mantissa = rng_next(r);
		exponent = (u16)rng_next(r);
		break;
	case 1:
		mantissa = 0;
		break;
	case 2:
		mantissa = BIT(63);
		exponent |= 0x7fff;
		break; /* infinity */
	case 3:
		exponent |= 0x7fff;
		break; /* NaN */
	case 4:
		mantissa &= ~BIT(63);
		break; /* denormal */
	case 5:        /* integers and such */
		mantissa &= ~0ULL << rng_below(r, 63);
		exponent |= (u16)(16383 + rng_below(r, 70));
		break;
	default:
		exponent |= (u16)(16383 - 40 + rng_below(r, 110));
	}
	memcpy(p, &mantissa, 8);
	memcpy(p + 8, &exponent, 2);
}

u32 vectors_components(void)
{
	return (u32)soft_feature_xcr0();
}

u32 *vectors_lane(u8 *x, unsigned reg, unsigned dword)
{
	if (reg >= 16)
		return (u32 *)(x + 1664 + (reg - 16) * 64 + dword * 4);
	if (dword < 4)
		return (u32 *)(x + 160 + reg * 16 + dword * 4);
	if (dword < 8)
		return (u32 *)(x + 576 + reg * 16 + (dword - 4) * 4);
	return (u32 *)(x + 1152 + reg * 32 + (dword - 8) * 4);
}

void vectors_random(struct rng *r, u8 *x)
{
	u16 fcw = 0x37f, fsw;
	u32 mxcsr = 0x1f80;

	memset(x, 0, AREA_SIZE);
	if (rng_one_in(r, 2))
		fcw = (u16)((rng_next(r) & 0xf00) | 0x7f);
	if (rng_one_in(r, 8))
		fcw = (u16)((rng_next(r) & 0xf3f) | 0x40);
	fsw = (u16)(rng_next(r) & 0x7f7f);
	if (!rng_one_in(r, 16)) /* mostly nothing pending */
		fsw &= (u16) ~(~fcw & 0x3f);
	if (fsw & ~fcw & 0x3f)
		fsw |= 0x8080;
	memcpy(x, &fcw, 2);
	memcpy(x + 2, &fsw, 2);
	x[4] = rng_one_in(r, 4) ? (u8)rng_next(r) : 0xff;
	if (rng_one_in(r, 2))
		mxcsr |= (u32)(rng_next(r) & 0xe07f);
	if (rng_one_in(r, 8))
		mxcsr = (u32)(rng_next(r) & 0xffff);
	memcpy(x + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++)
		random_x87(r, x + 32 + 16 * i);
	for (unsigned i = 0; i < 16; i++) {
		random_vector(r, x + 160 + 16 * i);
		random_vector(r, x + 576 + 16 * i);
	}
	x[512] = (u8)vectors_components();
	if (x[512] == 7)
		return;
	for (unsigned i = 0; i < 8; i++) {
		u64 mask = rng_one_in(r, 4) ? rng_integer(r) : rng_next(r);

		memcpy(x + 1088 + 8 * i, &mask, 8);
	}
	for (unsigned at = 1152; at < AREA_SIZE; at += 16)
		random_vector(r, x + at);
}

/* ---- addresses ---- */

static u64 random_target(struct rng *r, unsigned size)
{
	u64 at;

	switch (rng_below(r, 16)) {
	case 0:
		at = DATA_BASE + 0x1000 - rng_below(r, size + 1);
		break; /* the two writable pages */
	case 1:
		at = DATA_BASE + DATA_WRITE - rng_below(r, size + 1);
		break; /* into the read-only one */
	case 2:
		at = rng_one_in(r, 2) ? DATA_BASE + DATA_SIZE - rng_below(r, size + 1)
		                      : DATA_BASE - rng_below(r, size + 1);
		break;
	case 3:
		at = DATA_BASE + DATA_WRITE + rng_below(r, 0x1000 - size);
		break;
	default:
		at = DATA_BASE + 64 + rng_below(r, DATA_WRITE - 128 - size);
	}
	if (!rng_one_in(r, 3))
		at &= ~(u64)(size >= 64 ? 63 : size >= 32 ? 31 : size >= 16 ? 15 : size ? size - 1 : 0);
	return at;
}

static int gpr_number(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return ZydisRegisterGetId(reg);
	default:
		return -1;
	}
}

/* Of what an address register counts: stack pointers do not follow the address size. */
static u64 width_mask(const struct sample *s, ZydisRegister r)
{
	return MASK((unsigned)ZydisRegisterGetWidth(s->z.machine_mode, r));
}

static u64 segment_base(const struct sample *s, const ZydisDecodedOperand *p)
{
	return p->mem.segment == ZYDIS_REGISTER_GS && !s->form->compat ? GS_BASE : 0;
}

/* Rewrites the displacement (at raw.disp) so that it is v. */
static void set_displacement(struct sample *s, u64 v)
{
	unsigned n = s->z.raw.disp.offset;

	put(s->bytes, &n, v, s->z.raw.disp.size / 8);
}

/* Makes the memory operand lie at target, as far as its addressing mode allows. taken: registers others
 * depend on. */
static void aim(struct sample *s, struct rng *r, const ZydisDecodedOperand *p, u64 target, u32 *taken)
{
	int base = gpr_number(p->mem.base),
	    index = p->mem.type == ZYDIS_MEMOP_TYPE_VSIB ? -1 : gpr_number(p->mem.index);
	u64 disp = p->mem.disp.has_displacement ? (u64)p->mem.disp.value : 0;
	u64 *g = s->in.gpr, scale = p->mem.scale;

	target -= segment_base(s, p);
	if (p->mem.base == ZYDIS_REGISTER_RIP || p->mem.base == ZYDIS_REGISTER_EIP) {
		set_displacement(s, target - (s->rip + s->len));
		return;
	}
	if (base < 0 && index < 0) {
		if (p->mem.disp.has_displacement)
			set_displacement(s, target);
		return;
	}
	if (base >= 0 && base != index && !(*taken & 1u << base)) {
		u64 rest = index >= 0 ? g[index] * scale : 0;

		if (index >= 0 && rng_one_in(r, 2) && !(*taken & 1u << index)) {
			g[index] = rng_below(r, 64);
			rest = g[index] * scale;
		}
		g[base] = target - disp - rest;
		/* Bits above the address width do not count. */
		if (width_mask(s, p->mem.base) != ~0ULL) {
			u64 mask = width_mask(s, p->mem.base);

			g[base] &= mask;
			if (!s->form->compat)
				g[base] |= rng_next(r) & ~mask;
		}
		*taken |= 1u << base | (index >= 0 ? 1u << index : 0);
		return;
	}
	if (base >= 0 && base == index && !(*taken & 1u << base)) {
		g[base] = (target - disp) / (scale + 1);
		*taken |= 1u << base;
		return;
	}
	if (index >= 0 && !(*taken & 1u << index)) {
		g[index] = (target - disp - (base >= 0 ? g[base] : 0)) / scale;
		*taken |= 1u << index;
	}
}

/* Where it lies in the end. */
static u64 effective(const struct sample *s, const ZydisDecodedOperand *p)
{
	int base = gpr_number(p->mem.base);
	int index = p->mem.type == ZYDIS_MEMOP_TYPE_VSIB ? -1 : gpr_number(p->mem.index);
	u64 ea = p->mem.disp.has_displacement ? (u64)p->mem.disp.value : 0;

	if (p->mem.base == ZYDIS_REGISTER_RIP || p->mem.base == ZYDIS_REGISTER_EIP)
		ea += s->rip + s->len;
	if (base >= 0)
		ea += s->in.gpr[base];
	if (index >= 0)
		ea += s->in.gpr[index] * p->mem.scale;
	return (ea & MASK(s->z.address_width)) + segment_base(s, p);
}

/* Indices of a gather: small numbers times whatever, so that addresses stay near. */
static void aim_gather(struct sample *s, struct rng *r, const ZydisDecodedOperand *p)
{
	unsigned index = (unsigned)ZydisRegisterGetId(p->mem.index) & 31;
	bool quad = s->form->opcode & 1;

	for (unsigned i = 0; i < (quad ? 8u : 16u); i++) {
		u64 v = rng_below(r, 64) - (rng_one_in(r, 4) ? 32 : 0);

		if (rng_one_in(r, 40))
			v = rng_below(r, 0x2000);
		*vectors_lane(s->in.xsave, index, quad ? 2 * i : i) = (u32)v;
		if (quad)
			*vectors_lane(s->in.xsave, index, 2 * i + 1) = (u32)(v >> 32);
	}
}

static bool is_bit_string(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR ||
	       m == ZYDIS_MNEMONIC_BTC;
}

static void random_memory(struct rng *r, u8 *data, u64 target, unsigned size)
{
	u64 from = target - 32, to = target + size + 32;

	from = max(from, (u64)DATA_BASE);
	to = min(to, (u64)DATA_BASE + DATA_SIZE);
	for (; from < to; from += 8) {
		u8 v[16];

		if (rng_one_in(r, 3))
			random_x87(r, v);
		else
			random_vector(r, v);
		memcpy(data + (from - DATA_BASE), v, min(8ULL, to - from));
	}
}

/* Where a branch may go: code pages full of int3, at times nowhere. Not to itself: that takes forever. */
static u64 branch_target(const struct sample *s, struct rng *r)
{
	u64 target = CODE_BASE + rng_below(r, CODE_SIZE);

	if (rng_one_in(r, 8))
		return rng_next(r) >> (17 + rng_below(r, 40));
	return target - s->rip < s->len ? target + 16 : target;
}

bool sample_is_xstate(const struct sample *s)
{
	switch (s->z.mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEC:
	case ZYDIS_MNEMONIC_XSAVEC64:
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64:
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64:
		return true;
	default:
		return false;
	}
}

/* Mostly a good area; of the components only those that the model has, since the host may have more. */
static void xstate_operand(struct sample *s, struct rng *r, u8 *data, u64 target)
{
	u8 *p = data + (target - DATA_BASE);
	u64 header[8] = {rng_below(r, 8)};
	u8 area[AREA_SIZE];

	if (target < DATA_BASE || target + 832 > DATA_BASE + DATA_SIZE)
		return;
	if (rng_one_in(r, 3)) { /* compacted */
		header[1] = BIT(63) | rng_below(r, 8);
		header[0] &= header[1];
	}
	if (rng_one_in(r, 16))
		header[rng_below(r, 8)] |= BIT(62);
	if (rng_one_in(r, 16))
		header[0] |= rng_below(r, 8);
	vectors_random(r, area);
	if (rng_one_in(r, 16))
		area[26] = 0x04; /* MXCSR: reserved everywhere */
	memcpy(area + 512, header, sizeof(header));
	memcpy(p, area, 832);
}

static void special_operands(struct sample *s, struct rng *r, u8 *data, u64 target, unsigned size)
{
	const struct form *f = s->form;
	u64 *g = s->in.gpr, inside = target - DATA_BASE;
	bool fits = target >= DATA_BASE && inside + size <= DATA_SIZE;

	if (is_bit_string(s->z.mnemonic) && s->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
	    s->operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER && !rng_one_in(r, 8)) {
		unsigned reg = (unsigned)gpr_number(s->operands[1].reg.value);

		if (g[reg] < DATA_BASE - 0x100000 || g[reg] > DATA_BASE + 0x100000)
			g[reg] = rng_below(r, 1024) - 512;
	}
	if (f->branch && f->relative) {
		unsigned at = s->z.raw.imm[0].offset;

		if (s->z.raw.imm[0].size > 8)
			put(s->bytes, &at, branch_target(s, r) - (s->rip + s->len), s->z.raw.imm[0].size / 8);
		else if ((s8)s->bytes[at] < 0 && (s8)s->bytes[at] >= -(int)s->len)
			s->bytes[at] = (u8)(s->bytes[at] - 16);
		return;
	}
	if (f->branch && fits && size >= 4) { /* memory holds the target: RET, JMP m, CALL m */
		u64 v = branch_target(s, r);

		memcpy(data + inside, &v, f->compat ? 4 : min(size, 8u));
		return;
	}
	switch (s->z.mnemonic) {
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
		if (fits) /* neither TF nor AC nor NT: they would hit what comes after */
			data[inside + 1] &= (u8)~0x41;
		if (fits && size > 2)
			data[inside + 2] &= (u8)~0x04;
		break;
	default:
		break;
	}
}

static bool is_repeated(const struct sample *s)
{
	return s->z.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
}

static u64 name_hash(const char *name)
{
	u64 h = 0xcbf29ce484222325ULL;

	while (*name)
		h = (h ^ (u8)*name++) * 0x100000001b3ULL;
	return h;
}

static bool decode(struct sample *s)
{
	/* The decoder calls F3 90 PAUSE with REX.B, too, where it is XCHG. */
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(oracle_decoder(s->form->compat), s->bytes, s->len, &s->z,
	                                           s->operands)) &&
	       s->z.length == s->len && !(s->z.mnemonic == ZYDIS_MNEMONIC_PAUSE && s->z.raw.rex.B);
}

static bool make_bytes(struct sample *s, struct rng *r)
{
	u8 bytes[32];
	char name[112];

	for (unsigned tries = 0; tries < 200; tries++) {
		s->len = assemble(r, s->form, bytes);
		if (s->len > 15)
			continue;
		memcpy(s->bytes, bytes, 16);
		if (!decode(s))
			continue;
		form_name(&s->z, s->operands, s->form->compat, name);
		if (!strcmp(name, s->form->name))
			return true;
	}
	return false;
}

bool sample_make(struct sample *s, const struct form *f, u64 seed, u64 number, u8 *data)
{
	struct rng r = {.state = name_hash(f->name) ^ seed * 0x9e3779b97f4a7c15ULL ^
	                         number * 0xd1342543de82ef95ULL};
	u64 *g = s->in.gpr;
	u32 taken = 0;

	*s = (struct sample){.form = f, .number = number};
	rng_next(&r);
	if (!make_bytes(s, &r))
		return false;
	s->rip = CODE_BASE + 0x800 + (u32)rng_below(&r, 64);
	if (rng_one_in(&r, 64))
		s->rip = CODE_BASE + 0x1000 - (u32)rng_below(&r, s->len);
	for (unsigned i = 0; i < 16; i++) {
		g[i] = rng_integer(&r);
		if (f->compat)
			g[i] = i < 8 ? (u32)g[i] : 0;
	}
	s->in.rflags = 0x202 | (rng_next(&r) & FLAG_ARITH);
	if (rng_one_in(&r, 8))
		s->in.rflags |= FLAG_DF;
	if (rng_one_in(&r, 16))
		s->in.rflags |= FLAG_AC;
	vectors_random(&r, s->in.xsave);
	if (is_repeated(s))
		g[REG_RCX] = (g[REG_RCX] & ~MASK(s->z.address_width == 64 ? 64 : s->z.address_width)) |
		             rng_below(&r, 12);
	if (sample_is_xstate(s)) { /* the mask */
		g[REG_RAX] = rng_one_in(&r, 2) ? 7 : rng_below(&r, 8);
		g[REG_RDX] = 0;
		taken |= 1u << REG_RAX | 1u << REG_RDX;
	}
	/* A register that names a branch target. */
	if (f->branch && s->operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	    gpr_number(s->operands[0].reg.value) >= 0)
		g[gpr_number(s->operands[0].reg.value)] = branch_target(s, &r);
	for (unsigned i = 0; i < s->z.operand_count; i++) {
		const ZydisDecodedOperand *p = &s->operands[i];
		unsigned size = p->size / 8;
		u64 target;

		if (p->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		size = sample_is_xstate(s) ? 832 : min(size, 512u);
		target = random_target(&r, size);
		if (sample_is_xstate(s) && !rng_one_in(&r, 8))
			target &= ~63ULL;
		if (p->mem.type == ZYDIS_MEMOP_TYPE_VSIB)
			aim_gather(s, &r, p);
		aim(s, &r, p, target, &taken);
		random_memory(&r, data, target, size);
		special_operands(s, &r, data, target, size);
		if (sample_is_xstate(s))
			xstate_operand(s, &r, data, target);
	}
	if (f->branch)
		special_operands(s, &r, data, 0, 0);
	if (s->z.mnemonic == ZYDIS_MNEMONIC_XLAT)
		g[REG_RBX] -= g[REG_RAX] & 0xff;
	/* The displacement may have changed. */
	if (!decode(s))
		return false;
	for (unsigned i = 0; i < s->z.operand_count; i++)
		if (s->operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			s->target = effective(s, &s->operands[i]);
	s->in.rip = s->in.far_rip = s->rip;
	s->in.far_cs = f->compat ? SEL_CODE32 : SEL_CODE64;
	s->in.cs = s->in.far_cs;
	s->in.ss = SEL_DATA;
	s->in.components = vectors_components();
	return true;
}
