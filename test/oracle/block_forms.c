/*
 * Single instructions of a block: which forms are fit, their encoding, and where their memory operand is.
 */
#include "blocks.h"

#include <stdlib.h>

/* A memory operand: base + index * 2^scale, the displacement follows from the target; or a special one. */
struct address {
	enum { BASED, RIP, ABSOLUTE } kind;
	unsigned base;
	int index; /* -1: none */
	unsigned scale;
	bool gs, narrow; /* segment, 32-bit address */
	u64 target;
};

/* A known address to use as base; -1: none. */
int block_pointer(struct maker *m)
{
	for (unsigned tries = 0; tries < 24; tries++) {
		unsigned reg = (unsigned)below(m, 16);

		if (one_in(m, 4))
			reg = one_in(m, 2) ? REG_RSP : 10 + (unsigned)below(m, 2);
		if (is_pointer(m, reg))
			return (int)reg;
	}
	return -1;
}

static bool usable(const struct form *f)
{
	if (f->excluded || f->branch || f->compat || f->vsib || f->disp_size)
		return false;
	switch (f->category) {
	case ZYDIS_CATEGORY_SYSTEM:
	case ZYDIS_CATEGORY_IO:
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_XSAVE:
	case ZYDIS_CATEGORY_XSAVEOPT:
	case ZYDIS_CATEGORY_STRINGOP:
	case ZYDIS_CATEGORY_PUSH:
	case ZYDIS_CATEGORY_POP:
	case ZYDIS_CATEGORY_SEGOP:
	case ZYDIS_CATEGORY_RDWRFSGS:
	case ZYDIS_CATEGORY_SMAP:
		return false;
	default:
		break;
	}
	switch (f->mnemonic) {
	case ZYDIS_MNEMONIC_CLI:
	case ZYDIS_MNEMONIC_STI:
	case ZYDIS_MNEMONIC_STD:
	case ZYDIS_MNEMONIC_CLD:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_INVPCID:
	case ZYDIS_MNEMONIC_ENTER:
	case ZYDIS_MNEMONIC_LEAVE:
	case ZYDIS_MNEMONIC_XLAT:
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
	case ZYDIS_MNEMONIC_FLDCW:
	case ZYDIS_MNEMONIC_FLDENV:
	case ZYDIS_MNEMONIC_FNSTENV:
	case ZYDIS_MNEMONIC_FRSTOR:
	case ZYDIS_MNEMONIC_FNSAVE:
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
		return false;
	default:
		return true;
	}
}

static struct {
	const struct form **forms;
	unsigned count;
} kinds[KINDS];

static enum block_kind kind_of(const struct form *f)
{
	switch (f->category) {
	case ZYDIS_CATEGORY_BINARY:
	case ZYDIS_CATEGORY_LOGICAL:
	case ZYDIS_CATEGORY_SHIFT:
	case ZYDIS_CATEGORY_ROTATE:
	case ZYDIS_CATEGORY_BITBYTE:
	case ZYDIS_CATEGORY_CMOV:
	case ZYDIS_CATEGORY_SETCC:
	case ZYDIS_CATEGORY_CONVERT:
	case ZYDIS_CATEGORY_BMI1:
	case ZYDIS_CATEGORY_BMI2:
	case ZYDIS_CATEGORY_SEMAPHORE:
	case ZYDIS_CATEGORY_FLAGOP:
		return f->memory ? INTEGER_MEMORY : INTEGER_REGISTER;
	case ZYDIS_CATEGORY_DATAXFER:
		if (!f->vex && !f->evex &&
		    (f->map == 0 || f->mnemonic == ZYDIS_MNEMONIC_MOVZX ||
		     f->mnemonic == ZYDIS_MNEMONIC_MOVSX || f->mnemonic == ZYDIS_MNEMONIC_BSWAP ||
		     f->mnemonic == ZYDIS_MNEMONIC_MOVNTI || f->mnemonic == ZYDIS_MNEMONIC_MOVBE))
			return f->memory ? INTEGER_MEMORY : INTEGER_REGISTER;
		return f->memory ? VECTOR_MEMORY : VECTOR_REGISTER;
	default:
		if (f->vex || f->evex || f->map)
			return f->memory ? VECTOR_MEMORY : VECTOR_REGISTER;
		return OTHER;
	}
}

static void sort_forms(const struct form_list *l)
{
	if (kinds[0].forms)
		return;
	for (unsigned k = 0; k < KINDS; k++) {
		kinds[k].forms = calloc(l->count, sizeof(*kinds[k].forms));
		if (!kinds[k].forms)
			abort();
	}
	for (unsigned i = 0; i < l->count; i++) {
		enum block_kind k = kind_of(&l->forms[i]);

		if (usable(&l->forms[i]))
			kinds[k].forms[kinds[k].count++] = &l->forms[i];
	}
}

struct encoding {
	u8 reg, rm, vvvv, low; /* low: of the opcode */
	u8 high, mask;         /* EVEX: R', V', z, X of a register; aaa */
	bool plain_rex;
	u64 imm[2];
	struct address a;
};

/* To the end of the block; returns the length. */
static unsigned encode(struct maker *m, const struct form *f, const struct encoding *e, bool aimed)
{
	const struct address *a = &e->a;
	unsigned start = m->s->len, x = 0, b = 0, mod = 3, rm = e->rm & 7u, disp_size = 0;
	u64 disp = 0;

	if (f->memory) {
		disp = a->target - (a->gs ? GS_BASE : 0);
		if (a->kind == BASED) {
			disp -= m->value[a->base];
			if (a->index >= 0)
				disp -= m->value[a->index] << a->scale;
			b = a->base >> 3;
			x = a->index >= 0 ? (unsigned)a->index >> 3 : 0;
			rm = a->index >= 0 ? 4 : a->base & 7;
			/* EVEX scales a displacement of one byte. */
			mod = !aimed || f->evex || (s64)disp != (s8)disp ? 2 : 1;
			if (mod == 1 && !disp && (a->base & 7) != 5)
				mod = 0;
			disp_size = mod == 2 ? 4 : mod;
		} else {
			mod = 0;
			rm = a->kind == RIP ? 5 : 4;
			disp_size = 4;
		}
	} else {
		b = e->rm >> 3;
		x = e->high >> 3;
	}
	if (f->memory && a->gs)
		byte(m, 0x65);
	if (f->memory && a->narrow)
		byte(m, 0x67);
	if (f->evex) {
		byte(m, 0x62);
		byte(m, (~((u32)e->reg >> 3 << 2 | x << 1 | b) & 7) << 5 | (e->high & 1 ? 0 : 0x10) | f->map);
		byte(m, (u32)f->w << 7 | (~e->vvvv & 15) << 3 | 4 | f->pp);
		byte(m, (e->mask && e->high & 4 ? 0x80 : 0) | (u32)f->l << 5 | (u32)f->b << 4 |
		                (f->vvvv_free && e->high & 2 ? 0 : 8) | e->mask);
	} else if (f->vex) {
		u8 last = (u8)(f->w << 7 | (~e->vvvv & 15) << 3 | f->l << 2 | f->pp);

		if (f->map == 1 && !f->w && !x && !b && !e->plain_rex) {
			byte(m, 0xc5);
			byte(m, (e->reg >> 3 ? 0 : 0x80) | (last & 0x7f));
		} else {
			byte(m, 0xc4);
			byte(m, (~((u32)e->reg >> 3 << 2 | x << 1 | b) & 7) << 5 | f->map);
			byte(m, last);
		}
	} else {
		unsigned rex = (unsigned)f->w << 3 | (unsigned)e->reg >> 3 << 2 | x << 1 | b;

		if (f->opcode_free)
			rex = (rex & ~5u) | e->low >> 3;
		if (f->lock)
			byte(m, 0xf0);
		if (f->size66)
			byte(m, 0x66);
		if (f->repeat)
			byte(m, f->repeat);
		if (rex || e->plain_rex)
			byte(m, 0x40 | rex);
		if (f->map)
			byte(m, 0x0f);
		if (f->map == 2)
			byte(m, 0x38);
		if (f->map == 3)
			byte(m, 0x3a);
	}
	byte(m, (f->opcode & ~f->opcode_free) | (e->low & f->opcode_free));
	if (f->has_modrm) {
		byte(m, mod << 6 | (e->reg & 7u) << 3 | rm);
		if (mod != 3 && rm == 4) {
			if (a->kind == ABSOLUTE)
				byte(m, 0x25);
			else
				byte(m, a->scale << 6 | (a->index >= 0 ? (unsigned)a->index & 7 : 4) << 3 |
				                (a->base & 7));
		}
		if (mod != 3 && a->kind == RIP)
			disp -= here(m) + 4u + f->imm_size[0] + f->imm_size[1];
		bytes(m, disp, disp_size);
	}
	bytes(m, e->imm[0], f->imm_size[0]);
	bytes(m, e->imm[1], f->imm_size[1]);
	return m->s->len - start;
}

static int general(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return ZydisRegisterGetId(ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg));
	default:
		return -1;
	}
}

static bool is_shift(ZydisMnemonic n)
{
	return n == ZYDIS_MNEMONIC_SHL || n == ZYDIS_MNEMONIC_SHR || n == ZYDIS_MNEMONIC_SAR ||
	       n == ZYDIS_MNEMONIC_SHLD || n == ZYDIS_MNEMONIC_SHRD;
}
static bool is_rotate(ZydisMnemonic n)
{
	return n == ZYDIS_MNEMONIC_ROL || n == ZYDIS_MNEMONIC_ROR || n == ZYDIS_MNEMONIC_RCL ||
	       n == ZYDIS_MNEMONIC_RCR;
}

/* The flags that may be undefined behind it, if undef may be before. */
static u64 undefined_behind(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o, u64 undef)
{
	const ZydisAccessedFlags *f = z->cpu_flags;
	unsigned size = o[0].size, count = 1;
	bool variable = false;

	if (!f)
		return undef;
	if (!is_shift(z->mnemonic) && !is_rotate(z->mnemonic))
		return ((undef & ~(u64)(f->modified | f->set_0 | f->set_1)) | f->undefined) & FLAG_ARITH;
	if (z->operand_count_visible > 1) {
		const ZydisDecodedOperand *c = &o[z->operand_count_visible - 1];

		variable = c->type != ZYDIS_OPERAND_TYPE_IMMEDIATE;
		count = variable ? 0 : c->imm.value.u & (size == 64 ? 63 : 31);
	}
	if (is_rotate(z->mnemonic)) {
		if (variable || count > 1)
			return undef | FLAG_OF;
		return count ? undef & ~(u64)(FLAG_CF | FLAG_OF) : undef;
	}
	if (variable)
		return undef | FLAG_CF | FLAG_OF | FLAG_AF;
	if (!count)
		return undef;
	return FLAG_AF | (count > 1 ? FLAG_OF : 0) | (count >= size ? FLAG_CF : 0);
}

static bool is_number(const struct maker *m, unsigned reg)
{
	return is_known(m, reg) && m->value[reg] < 0x400;
}

static bool is_bit_string(ZydisMnemonic n)
{
	return n == ZYDIS_MNEMONIC_BT || n == ZYDIS_MNEMONIC_BTS || n == ZYDIS_MNEMONIC_BTR ||
	       n == ZYDIS_MNEMONIC_BTC;
}

/* CPL 0 is not like the native side's. */
static bool tells_privilege(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_SEGMENT:
	case ZYDIS_REGCLASS_CONTROL:
	case ZYDIS_REGCLASS_DEBUG:
		return true;
	default:
		return false;
	}
}

/* Is it fit to stand here? written: general registers that it writes. */
static bool fits(struct maker *m, const struct form *f, const ZydisDecodedInstruction *z,
                 const ZydisDecodedOperand *o, u32 *written)
{
	*written = 0;
	if (z->mnemonic != f->mnemonic)
		return false;
	if ((z->mnemonic == ZYDIS_MNEMONIC_SHLD || z->mnemonic == ZYDIS_MNEMONIC_SHRD) && o[0].size == 16)
		return false;
	if (z->cpu_flags && z->cpu_flags->tested & m->undef)
		return false;
	for (unsigned i = 0; i < z->operand_count; i++) {
		if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY && i >= z->operand_count_visible)
			return false;
		if (o[i].type == ZYDIS_OPERAND_TYPE_REGISTER && tells_privilege(o[i].reg.value))
			return false;
		if (o[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    o[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE && general(o[i].reg.value) >= 0)
			*written |= 1u << general(o[i].reg.value);
		/* With EVEX.X set, which means nothing here, a host's stack pointer may lack the last push. */
		if (f->evex && o[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM &&
		    o[i].type == ZYDIS_OPERAND_TYPE_REGISTER && general(o[i].reg.value) == REG_RSP)
			return false;
		/* A bit string that begins there. */
		if (i == 1 && o[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    o[1].type == ZYDIS_OPERAND_TYPE_REGISTER && is_bit_string(z->mnemonic) &&
		    !is_number(m, (unsigned)general(o[1].reg.value)))
			return false;
	}
	if (*written & (m->keep | 1u << REG_RSP))
		return false;
	for (unsigned reg = 0; reg < 16; reg++)
		if (*written >> reg & 1 && is_pointer(m, reg) && !one_in(m, 16))
			return false;
	return true;
}

static bool decode_last(struct maker *m, unsigned len, ZydisDecodedInstruction *z, ZydisDecodedOperand *o)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(oracle_decoder(false), m->s->bytes + m->s->len - len, len,
	                                           z, o)) &&
	       z->length == len && !(z->mnemonic == ZYDIS_MNEMONIC_PAUSE && z->raw.rex.B);
}

static bool aim_at(struct maker *m, struct address *a, u64 target, unsigned size)
{
	u64 disp;

	if (!in_data(target, size))
		return false;
	a->target = target;
	if (a->kind != BASED)
		return true;
	disp = target - (a->gs ? GS_BASE : 0) - m->value[a->base] -
	       (a->index >= 0 ? m->value[a->index] << a->scale : 0);
	return (u64)(s64)(s32)disp == disp;
}

/* Somewhere near the base mostly; at times across the end of the page, seldom where there is a fault. */
static void choose_target(struct maker *m, struct address *a, unsigned size, bool write, u64 near)
{
	u64 limit = size >= 16 && !one_in(m, 16) ? ~(u64)(size >= 64 ? 63 : 15)
	            : size && !one_in(m, 3)      ? ~(u64)(size - 1)
	                                         : ~0ULL;

	if (one_in(m, 300)) {
		aim_at(m, a, DATA_BASE + 64, size);
		a->target = one_in(m, 2) ? DATA_BASE + DATA_WRITE - below(m, size + 1)
		                         : DATA_BASE - below(m, size + 1);
		return;
	}
	if (!write && one_in(m, 24) && aim_at(m, a, DATA_BASE + 64, size)) { /* read-only */
		a->target = DATA_BASE + DATA_WRITE + (below(m, 4000 - size) & limit);
		return;
	}
	for (unsigned tries = 0; tries < 16; tries++) {
		u64 at = near + 8 * (below(m, 24) - 8);

		if (tries > 4 || one_in(m, 12))
			at = DATA_BASE + below(m, DATA_WRITE - size);
		else if (one_in(m, size < 16 ? 12 : 48)) /* the pages' common end */
			at = DATA_BASE + 0x1000 - below(m, size + 1), limit = ~0ULL;
		else if (one_in(m, 4))
			at += below(m, 8);
		if (aim_at(m, a, at & limit, size))
			return;
	}
	aim_at(m, a, (DATA_BASE + 0x1000 / 2) & limit, size);
}

static void choose_address(struct maker *m, struct address *a, int base)
{
	*a = (struct address){.kind = BASED, .index = -1, .gs = one_in(m, 40), .narrow = one_in(m, 40)};
	if (base < 0)
		base = block_pointer(m);
	if (base < 0 || one_in(m, 16)) {
		a->kind = one_in(m, 2) ? RIP : ABSOLUTE;
		return;
	}
	a->base = (unsigned)base;
	if (m->indexed && is_number(m, m->index) && !one_in(m, 6)) {
		a->index = (int)m->index;
		a->scale = m->scale;
	} else if (one_in(m, 5))
		for (unsigned tries = 0; tries < 8; tries++) {
			unsigned reg = (unsigned)below(m, 16);

			if (reg != REG_RSP && is_known(m, reg) && m->value[reg] < 0x400) {
				a->index = (int)reg;
				a->scale = (unsigned)below(m, 4);
			}
		}
}

/* One instruction of this form; base: of its memory operand, or -1. near: where that is to be. False: none
 * came out. */
static bool form_at(struct maker *m, const struct form *f, int base, u64 near)
{
	unsigned start = m->s->len;

	for (unsigned tries = 0; tries < 8; tries++) {
		ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
		ZydisDecodedInstruction z;
		struct encoding e = {
		        .reg = f->reg_fixed ? f->reg : (u8)below(m, 16),
		        .rm = f->rm_fixed ? f->rm : (u8)below(m, 16),
		        .vvvv = f->vvvv_free ? (u8)below(m, 16) : 0,
		        .low = (u8)below(m, f->opcode_free ? 16 : 1),
		        .plain_rex = one_in(m, 4),
		        .high = f->evex ? (u8)below(m, 16) : 0,
		        .mask = f->evex ? (u8)below(m, 8) : 0,
		        .imm = {rng_integer(&m->r), rng_integer(&m->r)},
		};
		unsigned len;
		u32 written;

		for (unsigned n = 0; is_bit_string(f->mnemonic) && !is_number(m, e.reg) && n < 32; n++)
			e.reg = f->reg_fixed ? f->reg : (u8)below(m, 16);
		m->s->len = start;
		if (f->memory) {
			choose_address(m, &e.a, base);
			e.a.target = DATA_BASE + 0x800;
		}
		len = encode(m, f, &e, false);
		if (len > 15 || !decode_last(m, len, &z, o) || !fits(m, f, &z, o, &written))
			continue;
		if ((z.mnemonic == ZYDIS_MNEMONIC_DIV || z.mnemonic == ZYDIS_MNEMONIC_IDIV) && !one_in(m, 16))
			continue;
		if (f->memory) {
			unsigned size = 1;
			bool write = false;

			for (unsigned i = 0; i < z.operand_count_visible; i++)
				if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY) {
					size = o[i].size / 8;
					write = o[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
				}
			if (write && m->in_function) /* there may be its return address */
				continue;
			choose_target(m, &e.a, size, write,
			              near                ? near
			              : e.a.kind == BASED ? m->value[e.a.base]
			                                  : DATA_BASE + 0x800);
			m->s->len = start;
			len = encode(m, f, &e, true);
			if (len > 15 || !decode_last(m, len, &z, o))
				continue;
		}
		m->undef = undefined_behind(&z, o, m->undef);
		for (unsigned reg = 0; reg < 16; reg++)
			if (written >> reg & 1)
				lose(m, reg);
		return true;
	}
	m->s->len = start;
	return false;
}

void block_form(struct maker *m, enum block_kind k, int base, u64 near)
{
	sort_forms(m->l);
	for (unsigned tries = 0; tries < 32; tries++)
		if (form_at(m, kinds[k].forms[below(m, kinds[k].count)], base, near))
			return;
}
