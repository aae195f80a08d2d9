/* Descriptor table registers and instructions that look at descriptors (SDM vol. 2, vol. 3 ch. 2.4, 5.10). */
#include "cpu/soft/sys.h"

/* ---- GDTR, IDTR ---- */

static u64 next_linear(const struct soft_cpu *c, u64 linear, unsigned n)
{
	return c->long64 ? linear + n : (u32)(linear + n);
}

static const struct op *load_table(struct soft_cpu *c, const struct op *o, struct vcpu_table *t)
{
	unsigned width = c->long64 ? 8 : 4;
	u64 linear, base;
	u32 limit;

	sys_need_cpl0(c);
	linear = op_linear(c, o, 2 + width, SOFT_READ);
	limit = soft_load16(c, linear, o->seg);
	base = soft_load(c, next_linear(c, linear, 2), width, o->seg);
	if (c->long64 && !canonical(base))
		soft_raise_error(c, EXC_GP, 0);
	if (!c->long64 && o->osize == 2)
		base &= 0xffffff;
	t->base = base;
	t->limit = limit;
	return soft_end(c, o);
}

static const struct op *store_table(struct soft_cpu *c, const struct op *o, const struct vcpu_table *t)
{
	unsigned width = c->long64 ? 8 : 4;
	u64 linear;

	sys_need_umip(c);
	linear = op_linear(c, o, 2 + width, SOFT_WRITE);
	soft_probe(c, linear, 2 + width, SOFT_WRITE, o->seg);
	soft_store16(c, linear, (u16)t->limit, o->seg);
	soft_store(c, next_linear(c, linear, 2), width, t->base, o->seg);
	return soft_end(c, o);
}

const struct op *sys_lgdt(struct soft_cpu *c, const struct op *o)
{
	return load_table(c, o, &c->gdtr);
}
const struct op *sys_lidt(struct soft_cpu *c, const struct op *o)
{
	return load_table(c, o, &c->idtr);
}
const struct op *sys_sgdt(struct soft_cpu *c, const struct op *o)
{
	return store_table(c, o, &c->gdtr);
}
const struct op *sys_sidt(struct soft_cpu *c, const struct op *o)
{
	return store_table(c, o, &c->idtr);
}

/* ---- LDTR, TR ---- */

/* The segment of the system descriptor at selector, which must be in the GDT, of this type, present. */
static struct vcpu_segment load_system(struct soft_cpu *c, u16 selector, bool (*type_ok)(unsigned type))
{
	u32 error = selector_error(selector);
	struct vcpu_segment s;
	u64 d, high = 0;

	if (selector & 4)
		soft_raise_error(c, EXC_GP, error);
	d = desc_load(c, selector, EXC_GP);
	if (soft_long_active(c))
		high = desc_load_high(c, selector, EXC_GP);
	if (desc_is_segment(d) || !type_ok(desc_type(d)))
		soft_raise_error(c, EXC_GP, error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_NP, error);
	s = segment_from_desc(selector, d);
	if (soft_long_active(c)) {
		s.base |= high << 32;
		if (high >> 40 & 0x1f || !canonical(s.base))
			soft_raise_error(c, EXC_GP, error);
	}
	return s;
}

static bool is_ldt(unsigned type)
{
	return type == DESC_LDT;
}
static bool is_available_tss(unsigned type)
{
	return type == DESC_TSS16 || type == DESC_TSS32;
}
static bool is_available_tss64(unsigned type)
{
	return type == DESC_TSS32;
}

const struct op *sys_lldt(struct soft_cpu *c, const struct op *o)
{
	u16 selector;

	sys_need_protected(c);
	sys_need_cpl0(c);
	selector = (u16)op_read(c, o, 0, 2);
	c->ldtr = selector_null(selector) ? segment_null(selector, 0) : load_system(c, selector, is_ldt);
	return soft_end(c, o);
}

const struct op *sys_ltr(struct soft_cpu *c, const struct op *o)
{
	struct vcpu_segment s;
	u16 selector;

	sys_need_protected(c);
	sys_need_cpl0(c);
	selector = (u16)op_read(c, o, 0, 2);
	if (selector_null(selector))
		soft_raise_error(c, EXC_GP, 0);
	s = load_system(c, selector, soft_long_active(c) ? is_available_tss64 : is_available_tss);
	desc_set_bits(c, selector, DESC_HIGH_BUSY);
	s.attr |= DESC_HIGH_BUSY >> 8;
	c->tr = s;
	return soft_end(c, o);
}

const struct op *sys_sldt(struct soft_cpu *c, const struct op *o)
{
	sys_need_protected(c);
	sys_need_umip(c);
	sys_write16(c, o, c->ldtr.selector);
	return soft_end(c, o);
}

const struct op *sys_str(struct soft_cpu *c, const struct op *o)
{
	sys_need_protected(c);
	sys_need_umip(c);
	sys_write16(c, o, c->tr.selector);
	return soft_end(c, o);
}

/* ---- LAR, LSL, VERR, VERW, ARPL ---- */

static void set_zf(struct soft_cpu *c, bool zf)
{
	soft_set_arith(c, (soft_rflags(c) & ~(u64)FLAG_ZF) | (zf ? FLAG_ZF : 0));
}

/* Reads the descriptor if the selector is inside of a table. */
static bool look_up(struct soft_cpu *c, u16 selector, u64 *d)
{
	u64 linear;

	if (selector_null(selector) || !desc_find(c, selector, 8, &linear))
		return false;
	*d = soft_sys_load(c, linear, 8);
	return true;
}

/* CPL and RPL may see it. */
static bool visible(const struct soft_cpu *c, u16 selector, u64 d)
{
	if (desc_is_code(d) && desc_conforming(d))
		return true;
	return c->cpl <= desc_dpl(d) && selector_rpl(selector) <= desc_dpl(d);
}

#define TYPE(n) (1u << (n))
#define LSL_LEGACY \
	(TYPE(DESC_TSS16) | TYPE(DESC_LDT) | TYPE(DESC_TSS16_BUSY) | TYPE(DESC_TSS32) | TYPE(DESC_TSS32_BUSY))
#define LAR_LEGACY (LSL_LEGACY | TYPE(DESC_CALL16) | TYPE(DESC_TASK_GATE) | TYPE(DESC_CALL32))
#define LSL_LONG   (TYPE(DESC_LDT) | TYPE(DESC_TSS32) | TYPE(DESC_TSS32_BUSY))
#define LAR_LONG   (LSL_LONG | TYPE(DESC_CALL32))

static bool look_up_for(struct soft_cpu *c, u16 selector, u64 *d, unsigned legacy, unsigned lm)
{
	if (!look_up(c, selector, d))
		return false;
	if (!desc_is_segment(*d) && !((soft_long_active(c) ? lm : legacy) >> desc_type(*d) & 1))
		return false;
	return visible(c, selector, *d);
}

const struct op *sys_lar(struct soft_cpu *c, const struct op *o)
{
	u16 selector;
	bool ok;
	u64 d = 0;

	sys_need_protected(c);
	selector = (u16)op_read(c, o, 1, 2);
	ok = look_up_for(c, selector, &d, LAR_LEGACY, LAR_LONG);
	if (ok)
		soft_reg_set(c, o->r[0], o->osize, d >> 32 & (o->osize == 2 ? 0xff00 : 0xf0ff00));
	set_zf(c, ok);
	return soft_end(c, o);
}

const struct op *sys_lsl(struct soft_cpu *c, const struct op *o)
{
	u16 selector;
	bool ok;
	u64 d = 0;

	sys_need_protected(c);
	selector = (u16)op_read(c, o, 1, 2);
	ok = look_up_for(c, selector, &d, LSL_LEGACY, LSL_LONG);
	if (ok)
		soft_reg_set(c, o->r[0], o->osize, segment_from_desc(selector, d).limit);
	set_zf(c, ok);
	return soft_end(c, o);
}

const struct op *sys_verr(struct soft_cpu *c, const struct op *o)
{
	u16 selector;
	u64 d = 0;

	sys_need_protected(c);
	selector = (u16)op_read(c, o, 0, 2);
	set_zf(c,
	       look_up_for(c, selector, &d, 0, 0) && !(desc_is_code(d) && !(desc_type(d) & SEG_ATTR_WRITE)));
	return soft_end(c, o);
}

const struct op *sys_verw(struct soft_cpu *c, const struct op *o)
{
	u16 selector;
	u64 d = 0;

	sys_need_protected(c);
	selector = (u16)op_read(c, o, 0, 2);
	set_zf(c, look_up_for(c, selector, &d, 0, 0) && desc_writable_data(d));
	return soft_end(c, o);
}

const struct op *sys_arpl(struct soft_cpu *c, const struct op *o)
{
	u16 dst, src;

	sys_need_protected(c);
	src = (u16)op_read(c, o, 1, 2);
	dst = (u16)op_read(c, o, 0, 2); /* written, and checked for that, only if it changes */
	if (selector_rpl(dst) < selector_rpl(src)) {
		op_write(c, o, 0, 2, (dst & ~3u) | selector_rpl(src));
		set_zf(c, true);
	} else {
		set_zf(c, false);
	}
	return soft_end(c, o);
}
