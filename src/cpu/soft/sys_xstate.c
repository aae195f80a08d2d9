/*
 * FXSAVE, XSAVE and their families; XGETBV, XSETBV (SDM vol. 1 ch. 10.5, 13; vol. 2). They work on the parked
 * state.
 *
 * Components are x87, SSE, AVX and AVX-512's three. Whether a component is in use is told by its contents: it
 * is not if it is in its initial configuration.
 */
#include "cpu/soft/features.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/vec.h"

#include <string.h>

enum {
	FORM_64 = 1,      /* 64-bit FIP and FDP: REX.W */
	FORM_OPT = 2,     /* XSAVEOPT */
	FORM_COMPACT = 4, /* XSAVEC, XSAVES */
	FORM_SUPER = 8,   /* XSAVES, XRSTORS */
};

#define XCOMP_COMPACT BIT(63)

/* len is a multiple of 8, p aligned. */
static bool all_zero(const u8 *p, size_t len)
{
	const u64 *q = (const u64 *)p;

	for (; len; len -= 8)
		if (*q++)
			return false;
	return true;
}

static u64 in_use(const struct soft_cpu *c)
{
	const u8 *x = c->xsave;
	u64 bv = 0;

	if (*(const u64 *)x != 0x37f || !all_zero(x + XSAVE_FIP, XSAVE_MXCSR - XSAVE_FIP) ||
	    !all_zero(x + XSAVE_ST, XSAVE_XMM - XSAVE_ST))
		bv |= XSTATE_X87;
	if (!all_zero(x + XSAVE_XMM, XSAVE_LEGACY_END - XSAVE_XMM))
		bv |= XSTATE_SSE;
	for (unsigned i = 0; i < XSTATE_COMPONENTS; i++) {
		unsigned bit = xstate_components[i].bit;

		if ((BIT(bit) & (c->vec_high | XSTATE_AVX)) &&
		    !all_zero(x + vec_layout.offset[i], xstate_components[i].size))
			bv |= BIT(bit);
	}
	return bv;
}

/* Vector registers that the current mode can name. */
static unsigned registers(const struct soft_cpu *c)
{
	return c->long64 ? 16 : 8;
}

/* Bytes of extended component i that the current mode can name. */
static unsigned component_size(const struct soft_cpu *c, unsigned i)
{
	if (c->long64 || BIT(xstate_components[i].bit) == XSTATE_OPMASK)
		return xstate_components[i].size;
	return BIT(xstate_components[i].bit) == XSTATE_HI16 ? 0 : xstate_components[i].size / 2;
}

/* Where extended component i is in an area; compact: XCOMP_BV, 0 for the standard format. */
static unsigned component_offset(unsigned i, u64 compact)
{
	unsigned at = XSAVE_YMMH;

	if (!compact)
		return xstate_components[i].offset;
	for (unsigned k = 0; k < i; k++)
		if (compact >> xstate_components[k].bit & 1)
			at += xstate_components[k].size;
	return at;
}

unsigned xstate_area_size(u64 components, u64 compact)
{
	unsigned size = XSAVE_YMMH;

	for (unsigned i = 0; i < XSTATE_COMPONENTS; i++)
		if (components >> xstate_components[i].bit & 1)
			size = component_offset(i, compact) + xstate_components[i].size;
	return size;
}

/* The pointers of an image, 24 bytes from FCW on, in the format asked for; selectors are zero. */
static void put_x87(const struct soft_cpu *c, u8 *image, unsigned form)
{
	memcpy(image, c->xsave, XSAVE_MXCSR);
	*(u16 *)(image + XSAVE_FOP) = c->fpu_op;
	*(u64 *)(image + XSAVE_FIP) = form & FORM_64 ? c->fpu_ip : (u32)c->fpu_ip;
	*(u64 *)(image + XSAVE_FDP) = form & FORM_64 ? c->fpu_dp : (u32)c->fpu_dp;
	memcpy(image + XSAVE_ST, c->xsave + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
}

static void get_x87(struct soft_cpu *c, const u8 *image, unsigned form)
{
	u64 mask = form & FORM_64 ? ~0ULL : 0xffffffff;

	memcpy(c->xsave, image, XSAVE_MXCSR);
	memcpy(c->xsave + XSAVE_ST, image + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	c->xsave[XSAVE_FTW + 1] = 0;
	c->fpu_op = *(const u16 *)(image + XSAVE_FOP) & 0x7ff;
	c->fpu_ip = *(const u64 *)(image + XSAVE_FIP) & mask;
	c->fpu_dp = *(const u64 *)(image + XSAVE_FDP) & mask;
	*(u16 *)(c->xsave + XSAVE_FOP) = c->fpu_op;
}

static void init_x87(struct soft_cpu *c)
{
	memset(c->xsave, 0, XSAVE_MXCSR);
	memset(c->xsave + XSAVE_ST, 0, XSAVE_XMM - XSAVE_ST);
	*(u16 *)(c->xsave + XSAVE_FCW) = 0x37f;
	c->fpu_ip = c->fpu_dp = 0;
	c->fpu_op = 0;
}

/* The host's XRSTOR takes it from there whatever XSTATE_BV says. */
static void set_mxcsr(struct soft_cpu *c, u32 v)
{
	*(u32 *)(c->xsave + XSAVE_MXCSR) = v;
}

static u64 aligned_operand(struct soft_cpu *c, const struct op *o, unsigned size, unsigned align,
                           enum soft_access access)
{
	u64 linear = op_linear(c, o, size, access);

	if (linear & (align - 1))
		soft_raise_error(c, EXC_GP, 0);
	return linear;
}

/* ---- FXSAVE ---- */

static const struct op *fx_save(struct soft_cpu *c, const struct op *o)
{
	unsigned len = XSAVE_XMM + 16 * registers(c);
	u8 image[XSAVE_LEGACY_END] __attribute__((aligned(8)));
	u64 at;

	if (c->vec_deny & (VEC_DENY_X87_EM | VEC_DENY_TS))
		soft_raise(c, EXC_NM);
	at = aligned_operand(c, o, 512, 16, SOFT_WRITE);
	soft_probe(c, at, 512, SOFT_WRITE, o->seg);
	soft_vec_park(c);
	memcpy(image, c->xsave, sizeof(image));
	put_x87(c, image, (unsigned)o->imm);
	soft_write_bytes(c, at, image, len, o->seg);
	return o + 1;
}

static const struct op *fx_restore(struct soft_cpu *c, const struct op *o)
{
	u8 image[XSAVE_LEGACY_END] __attribute__((aligned(8)));
	u64 at;

	if (c->vec_deny & (VEC_DENY_X87_EM | VEC_DENY_TS))
		soft_raise(c, EXC_NM);
	at = aligned_operand(c, o, 512, 16, SOFT_READ);
	soft_probe(c, at, 512, SOFT_READ, o->seg);
	soft_vec_park(c);
	soft_read_bytes(c, at, image, sizeof(image), o->seg);
	if (*(u32 *)(image + XSAVE_MXCSR) & ~VEC_MXCSR_MASK)
		soft_raise_error(c, EXC_GP, 0);
	get_x87(c, image, (unsigned)o->imm);
	set_mxcsr(c, *(u32 *)(image + XSAVE_MXCSR));
	memcpy(c->xsave + XSAVE_XMM, image + XSAVE_XMM, 16 * registers(c));
	*(u64 *)(c->xsave + XSAVE_BV) |= XSTATE_X87 | XSTATE_SSE;
	soft_vec_unpark(c);
	vec_leave(c);
	return o + 1;
}

/* ---- XSAVE ---- */

static void xstate_check(struct soft_cpu *c, unsigned form)
{
	if (!(c->cr4 & CR4_OSXSAVE))
		soft_raise(c, EXC_UD);
	if (form & FORM_SUPER && c->cpl)
		soft_raise_error(c, EXC_GP, 0);
	if (c->vec_deny & VEC_DENY_TS)
		soft_raise(c, EXC_NM);
}

/* Requested components; no supervisor ones exist. */
static u64 requested(const struct soft_cpu *c)
{
	return c->xcr0 & ((u32)c->regs[REG_RAX] | c->regs[REG_RDX] << 32);
}

/* Where an area goes: straight into memory if it lies in one page of it. */
struct target {
	struct soft_cpu *c;
	u64 linear;
	u8 *host; /* NULL: by linear address */
	unsigned seg;
};

static struct target target_open(struct soft_cpu *c, const struct op *o, u64 linear, unsigned size)
{
	struct target t = {.c = c, .linear = linear, .seg = o->seg};

	if ((linear & (PAGE_SIZE - 1)) + size <= PAGE_SIZE)
		t.host = soft_write_ptr(c, linear, size, o->seg);
	if (t.host == c->bounce[1]) /* not memory, and too small for an area */
		t.host = NULL;
	if (!t.host)
		soft_probe(c, linear, size, SOFT_WRITE, o->seg);
	return t;
}

static void target_put(struct target *t, unsigned offset, const void *from, size_t len)
{
	if (t->host)
		memcpy(t->host + offset, from, len);
	else
		soft_write_bytes(t->c, t->linear + offset, from, len, t->seg);
}

static void target_close(struct target *t)
{
	if (t->host)
		soft_write_done(t->c);
}

static const struct op *x_save(struct soft_cpu *c, const struct op *o)
{
	unsigned form = (unsigned)o->imm, n = registers(c), size;
	u8 image[XSAVE_LEGACY_END] __attribute__((aligned(8)));
	u64 rfbm, at, used, bv, header[2] = {0}, write;
	struct target t;

	xstate_check(c, form);
	rfbm = requested(c);
	size = xstate_area_size(rfbm, form & FORM_COMPACT ? rfbm : 0);
	at = aligned_operand(c, o, size, 64, SOFT_WRITE);
	soft_vec_park(c);
	used = in_use(c);
	if (form & FORM_COMPACT) {
		if (*(u32 *)(c->xsave + XSAVE_MXCSR) != VEC_MXCSR_INIT)
			used |= XSTATE_SSE;
		bv = rfbm & used;
		header[1] = rfbm | XCOMP_COMPACT;
	} else {
		soft_probe(c, at, size, SOFT_WRITE,
		           o->seg); /* a page of what is behind before one of the header */
		bv = soft_load64(c, at + XSAVE_BV, o->seg);
		bv = (bv & ~rfbm) | (rfbm & used);
	}
	header[0] = bv;
	write = form & (FORM_COMPACT | FORM_OPT) ? rfbm & used : rfbm;
	put_x87(c, image, form);
	t = target_open(c, o, at, size);
	if (write & XSTATE_X87) {
		target_put(&t, 0, image, XSAVE_MXCSR);
		target_put(&t, XSAVE_ST, image + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	}
	/* MXCSR goes with SSE, or in the standard format with AVX too, in use or not. */
	if (form & FORM_COMPACT ? write & XSTATE_SSE : rfbm & (XSTATE_SSE | XSTATE_AVX))
		target_put(&t, XSAVE_MXCSR, c->xsave + XSAVE_MXCSR, 8);
	if (write & XSTATE_SSE)
		target_put(&t, XSAVE_XMM, c->xsave + XSAVE_XMM, 16 * n);
	for (unsigned i = 0; i < XSTATE_COMPONENTS; i++)
		if (write >> xstate_components[i].bit & 1)
			target_put(&t, component_offset(i, form & FORM_COMPACT ? rfbm : 0),
			           c->xsave + vec_layout.offset[i], component_size(c, i));
	target_put(&t, XSAVE_BV, header, form & FORM_COMPACT ? 16 : 8);
	target_close(&t);
	return o + 1;
}

/* True if XRSTOR takes this header (SDM vol. 1 13.8, 13.12). */
static bool header_ok(const struct soft_cpu *c, const u64 header[8], unsigned form)
{
	u64 bv = header[0], comp = header[1];

	if (comp & XCOMP_COMPACT)
		return !(comp & ~XCOMP_COMPACT & ~c->xcr0) && !(bv & ~(comp & ~XCOMP_COMPACT)) &&
		       all_zero((const u8 *)&header[2], 48);
	return !(form & FORM_SUPER) && !(bv & ~c->xcr0) && !comp && !header[2];
}

static const struct op *x_restore(struct soft_cpu *c, const struct op *o)
{
	unsigned form = (unsigned)o->imm, n = registers(c), size;
	u8 image[VCPU_XSAVE_SIZE] __attribute__((aligned(64)));
	u64 rfbm, at, load, clear, compact;
	u32 mxcsr;

	xstate_check(c, form);
	rfbm = requested(c);
	at = aligned_operand(c, o, XSAVE_YMMH, 64, SOFT_READ);
	soft_vec_park(c);
	soft_read_bytes(c, at, image, XSAVE_YMMH, o->seg);
	if (!header_ok(c, (u64 *)(image + XSAVE_BV), form))
		soft_raise_error(c, EXC_GP, 0);
	load = rfbm & *(u64 *)(image + XSAVE_BV);
	clear = rfbm & ~load;
	compact = *(u64 *)(image + XSAVE_COMP_BV);
	size = xstate_area_size(load, compact);
	if (size > XSAVE_YMMH)
		at = aligned_operand(c, o, size, 64, SOFT_READ);
	for (unsigned i = 0; i < XSTATE_COMPONENTS; i++)
		if (load >> xstate_components[i].bit & 1)
			soft_read_bytes(c, at + component_offset(i, compact),
			                image + xstate_components[i].offset, component_size(c, i), o->seg);
	mxcsr = *(u32 *)(image + XSAVE_MXCSR);
	if (compact ? load & XSTATE_SSE : rfbm & (XSTATE_SSE | XSTATE_AVX)) {
		if (mxcsr & ~VEC_MXCSR_MASK)
			soft_raise_error(c, EXC_GP, 0);
		set_mxcsr(c, mxcsr);
	} else if (compact && clear & XSTATE_SSE) {
		set_mxcsr(c, VEC_MXCSR_INIT);
	}
	if (load & XSTATE_X87)
		get_x87(c, image, form);
	else if (clear & XSTATE_X87)
		init_x87(c);
	if (load & XSTATE_SSE)
		memcpy(c->xsave + XSAVE_XMM, image + XSAVE_XMM, 16 * n);
	else if (clear & XSTATE_SSE)
		memset(c->xsave + XSAVE_XMM, 0, 16 * n);
	for (unsigned i = 0; i < XSTATE_COMPONENTS; i++) {
		u64 bit = BIT(xstate_components[i].bit);
		u8 *to = c->xsave + vec_layout.offset[i];

		if (load & bit) {
			memcpy(to, image + xstate_components[i].offset, component_size(c, i));
			c->vec_high |= bit & XSTATE_AVX512;
		} else if (clear & bit & (c->vec_high | XSTATE_AVX)) {
			memset(to, 0, component_size(c, i));
		}
	}
	*(u64 *)(c->xsave + XSAVE_BV) = in_use(c);
	soft_vec_unpark(c);
	vec_leave(c);
	return o + 1;
}

static const struct op *x_getbv(struct soft_cpu *c, const struct op *o)
{
	u64 v = c->xcr0;

	if (!(c->cr4 & CR4_OSXSAVE))
		soft_raise(c, EXC_UD);
	if ((u32)c->regs[REG_RCX] > 1)
		soft_raise_error(c, EXC_GP, 0);
	if ((u32)c->regs[REG_RCX] == 1) {
		soft_vec_park(c);
		v &= in_use(c);
	}
	c->regs[REG_RAX] = (u32)v;
	c->regs[REG_RDX] = v >> 32;
	return o + 1;
}

static const struct op *x_setbv(struct soft_cpu *c, const struct op *o)
{
	u64 v = (u32)c->regs[REG_RAX] | c->regs[REG_RDX] << 32;

	if (!(c->cr4 & CR4_OSXSAVE))
		soft_raise(c, EXC_UD);
	if (c->cpl || (u32)c->regs[REG_RCX] || !(v & XSTATE_X87) || v & ~soft_feature_xcr0() ||
	    (v & (XSTATE_SSE | XSTATE_AVX)) == XSTATE_AVX ||
	    (v & XSTATE_AVX512 && (v & (XSTATE_AVX512 | XSTATE_AVX)) != (XSTATE_AVX512 | XSTATE_AVX)))
		soft_raise_error(c, EXC_GP, 0);
	c->xcr0 = v;
	soft_update(c);
	return soft_end(c, o);
}

static bool bind_form(struct op *o, const struct insn *i)
{
	switch (i->z.mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
		o->fn = fx_save;
		break;
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
		o->fn = fx_restore;
		break;
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64:
	case ZYDIS_MNEMONIC_XRSTORS:
	case ZYDIS_MNEMONIC_XRSTORS64:
		o->fn = x_restore;
		break;
	default:
		o->fn = x_save;
	}
	o->imm = 0;
	switch (i->z.mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XRSTOR64:
		o->imm = FORM_64;
		break;
	case ZYDIS_MNEMONIC_XSAVEOPT64:
		o->imm = FORM_64;
		/* fall through */
	case ZYDIS_MNEMONIC_XSAVEOPT:
		o->imm |= FORM_OPT;
		break;
	case ZYDIS_MNEMONIC_XSAVEC64:
		o->imm = FORM_64;
		/* fall through */
	case ZYDIS_MNEMONIC_XSAVEC:
		o->imm |= FORM_COMPACT;
		break;
	case ZYDIS_MNEMONIC_XSAVES64:
		o->imm = FORM_64;
		/* fall through */
	case ZYDIS_MNEMONIC_XSAVES:
		o->imm |= FORM_COMPACT | FORM_SUPER;
		break;
	case ZYDIS_MNEMONIC_XRSTORS64:
		o->imm = FORM_64;
		/* fall through */
	case ZYDIS_MNEMONIC_XRSTORS:
		o->imm |= FORM_SUPER;
		break;
	default:
		break;
	}
	return true;
}

const struct opdef soft_sys_xstate[] = {
        {ZYDIS_MNEMONIC_FXSAVE, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_FXSAVE64, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_FXRSTOR, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_FXRSTOR64, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XSAVE, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XSAVE64, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XSAVEC, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XSAVEC64, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XSAVEOPT, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XSAVEOPT64, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XSAVES, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XSAVES64, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XRSTOR, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XRSTOR64, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XRSTORS, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XRSTORS64, 0, NULL, bind_form},
        {ZYDIS_MNEMONIC_XGETBV, 0, x_getbv, NULL},
        {ZYDIS_MNEMONIC_XSETBV, OPDEF_END, x_setbv, NULL},
        {0, 0, NULL, NULL},
};
