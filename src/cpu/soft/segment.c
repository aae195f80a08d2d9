#include "cpu/soft/segment.h"

/* ---- descriptors ---- */

bool desc_find(const struct soft_cpu *c, u16 selector, unsigned size, u64 *linear)
{
	u32 offset = selector & ~7u;
	u64 base = c->gdtr.base;
	u32 limit = c->gdtr.limit;

	if (selector & 4) {
		if (c->ldtr.attr & SEG_ATTR_UNUSABLE)
			return false;
		base = c->ldtr.base;
		limit = c->ldtr.limit;
	}
	if (offset + size - 1 > limit)
		return false;
	*linear = base + offset;
	if (!soft_long_active(c))
		*linear = (u32)*linear;
	return true;
}

u64 desc_load(struct soft_cpu *c, u16 selector, unsigned vector)
{
	u64 linear;

	if (!desc_find(c, selector, 8, &linear))
		soft_raise_error(c, vector, selector_error(selector));
	return soft_sys_load(c, linear, 8);
}

u64 desc_load_high(struct soft_cpu *c, u16 selector, unsigned vector)
{
	u64 linear;

	if (!desc_find(c, selector, 16, &linear))
		soft_raise_error(c, vector, selector_error(selector));
	return soft_sys_load(c, linear + 8, 8);
}

static void desc_change_bits(struct soft_cpu *c, u16 selector, u32 set, u32 clear)
{
	unsigned cpl = c->cpl;
	u64 linear;
	u32 *p;

	if (!desc_find(c, selector, 8, &linear))
		return;
	soft_set_cpl(c, 0);
	p = soft_rmw(c, linear + 4, 4, SEG_DS, true);
	if (set)
		__atomic_fetch_or(p, set, __ATOMIC_SEQ_CST);
	if (clear)
		__atomic_fetch_and(p, ~clear, __ATOMIC_SEQ_CST);
	soft_rmw_end(c);
	soft_set_cpl(c, cpl);
}

void desc_set_bits(struct soft_cpu *c, u16 selector, u32 bits)
{
	desc_change_bits(c, selector, bits, 0);
}
void desc_clear_bits(struct soft_cpu *c, u16 selector, u32 bits)
{
	desc_change_bits(c, selector, 0, bits);
}

/* ---- segment registers ---- */

struct vcpu_segment segment_from_desc(u16 selector, u64 d)
{
	u32 limit = (u32)(d & 0xffff) | (u32)(d >> 32 & 0xf0000);

	if (d >> 55 & 1)
		limit = limit << 12 | 0xfff;
	return (struct vcpu_segment){
	        .base = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000),
	        .limit = limit,
	        .attr = d >> 40 & 0xf0ff,
	        .selector = selector,
	};
}

struct vcpu_segment segment_accept(struct soft_cpu *c, u16 selector, u64 d)
{
	struct vcpu_segment s = segment_from_desc(selector, d);

	if (!(s.attr & SEG_ATTR_ACCESSED)) {
		desc_set_bits(c, selector, DESC_HIGH_ACCESSED);
		s.attr |= SEG_ATTR_ACCESSED;
	}
	return s;
}

struct vcpu_segment segment_null(u16 selector, unsigned dpl)
{
	return (struct vcpu_segment){.selector = selector,
	                             .attr = SEG_ATTR_UNUSABLE | dpl << SEG_ATTR_DPL_SHIFT};
}

#define ATTR_V86 (3u | SEG_ATTR_S | SEG_ATTR_DPL | SEG_ATTR_P)

struct vcpu_segment segment_v86(u16 selector)
{
	return (struct vcpu_segment){
	        .base = (u64)selector << 4, .limit = 0xffff, .attr = ATTR_V86, .selector = selector};
}

void segment_load_real(struct soft_cpu *c, unsigned seg, u16 selector)
{
	struct vcpu_segment *s = &c->seg[seg];

	if (soft_v86(c)) {
		*s = segment_v86(selector);
	} else {
		if (s->attr & SEG_ATTR_UNUSABLE) {
			s->limit = 0xffff;
			s->attr = 3;
		}
		s->selector = selector;
		s->base = (u64)selector << 4;
		s->attr = (s->attr & ~(SEG_ATTR_UNUSABLE | SEG_ATTR_DPL)) | SEG_ATTR_ACCESSED | SEG_ATTR_S |
		          SEG_ATTR_P;
	}
	c->segbase[seg] = s->base;
}

static struct vcpu_segment load_null(struct soft_cpu *c, unsigned seg, u16 selector)
{
	if (seg == SEG_SS && (!c->long64 || c->cpl == 3 || selector_rpl(selector) != c->cpl))
		soft_raise_error(c, EXC_GP, 0);
	return segment_null(selector, seg == SEG_SS ? c->cpl : 0);
}

static struct vcpu_segment load_protected(struct soft_cpu *c, unsigned seg, u16 selector)
{
	u64 d = desc_load(c, selector, EXC_GP);
	unsigned rpl = selector_rpl(selector), dpl = desc_dpl(d);
	u32 error = selector_error(selector);

	if (seg == SEG_SS) {
		if (rpl != c->cpl || !desc_writable_data(d) || dpl != c->cpl)
			soft_raise_error(c, EXC_GP, error);
		if (!desc_present(d))
			soft_raise_error(c, EXC_SS, error);
	} else {
		if (!desc_is_segment(d) || (desc_is_code(d) && !(desc_type(d) & SEG_ATTR_WRITE)))
			soft_raise_error(c, EXC_GP, error);
		if (!(desc_is_code(d) && desc_conforming(d)) && (rpl > dpl || c->cpl > dpl))
			soft_raise_error(c, EXC_GP, error);
		if (!desc_present(d))
			soft_raise_error(c, EXC_NP, error);
	}
	return segment_accept(c, selector, d);
}

void segment_load(struct soft_cpu *c, unsigned seg, u16 selector)
{
	if (soft_real(c)) {
		segment_load_real(c, seg, selector);
		return;
	}
	c->seg[seg] =
	        selector_null(selector) ? load_null(c, seg, selector) : load_protected(c, seg, selector);
	c->segbase[seg] = c->long64 && seg < SEG_FS ? 0 : c->seg[seg].base;
}

void segment_drop_privileged(struct soft_cpu *c, unsigned cpl)
{
	static const u8 data[] = {SEG_ES, SEG_FS, SEG_GS, SEG_DS};

	for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
		struct vcpu_segment *s = &c->seg[data[i]];
		bool conforming =
		        (s->attr & (SEG_ATTR_CODE | SEG_ATTR_EXPAND)) == (SEG_ATTR_CODE | SEG_ATTR_EXPAND);

		if (s->attr & SEG_ATTR_UNUSABLE || conforming)
			continue;
		if ((s->attr & SEG_ATTR_DPL) >> SEG_ATTR_DPL_SHIFT < cpl) {
			/* The base of FS and GS stays, as in hardware that runs 64-bit code. */
			u64 base = soft_long_active(c) && data[i] >= SEG_FS ? s->base : 0;

			*s = segment_null(0, 0);
			s->base = base;
		}
	}
}

bool segment_allows(const struct vcpu_segment *s, u64 offset, unsigned size, enum soft_access access,
                    bool real)
{
	u64 last = offset + size - 1;

	if (!real) {
		bool code = s->attr & SEG_ATTR_CODE;

		if (s->attr & SEG_ATTR_UNUSABLE)
			return false;
		if (access == SOFT_READ && code && !(s->attr & SEG_ATTR_WRITE))
			return false;
		if (access == SOFT_WRITE && (code || !(s->attr & SEG_ATTR_WRITE)))
			return false;
		if (!code && s->attr & SEG_ATTR_EXPAND) {
			u64 top = s->attr & SEG_ATTR_DB ? 0xffffffff : 0xffff;

			return offset > s->limit && last <= top;
		}
	}
	return last <= s->limit;
}

u64 soft_seg_linear_slow(struct soft_cpu *c, unsigned seg, u64 offset, unsigned size, enum soft_access access)
{
	const struct vcpu_segment *s = &c->seg[seg];

	if (unlikely(!segment_allows(s, offset, size, access, soft_real(c))))
		soft_raise_error(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
	return (u32)(s->base + offset);
}

void soft_set_cpl(struct soft_cpu *c, unsigned cpl)
{
	if (c->cpl == cpl)
		return;
	c->cpl = (u8)cpl;
	soft_mmu_update(c);
}

void code_check_target(struct soft_cpu *c, u16 selector, u64 d, u64 rip)
{
	if (code_is_long(c, d)) {
		if (desc_db(d))
			soft_raise_error(c, EXC_GP, selector_error(selector));
		if (!canonical(rip))
			soft_raise_error(c, EXC_GP, 0);
	} else if (rip > segment_from_desc(selector, d).limit) {
		soft_raise_error(c, EXC_GP, 0);
	}
}

/* ---- stacks ---- */

static u64 stack_mask(const struct vcpu_segment *ss)
{
	return ss->attr & SEG_ATTR_DB ? 0xffffffff : 0xffff;
}

struct stack stack_current(const struct soft_cpu *c)
{
	return (struct stack){.ss = c->seg[SEG_SS],
	                      .sp = c->regs[REG_RSP],
	                      .mask = soft_stack_mask(c),
	                      .flat = c->long64,
	                      .real = soft_real(c)};
}

struct stack stack_from_tss(struct soft_cpu *c, unsigned cpl)
{
	bool wide = (c->tr.attr & 0xf) >= DESC_TSS32;
	u32 offset = wide ? 4 + 8 * cpl : 2 + 4 * cpl;
	u32 tss_error = selector_error(c->tr.selector);
	struct stack s = {0};
	u16 selector;
	u64 d;

	if (offset + (wide ? 5 : 3) > c->tr.limit)
		soft_raise_error(c, EXC_TS, tss_error);
	if (wide) {
		s.sp = soft_sys_load(c, c->tr.base + offset, 4);
		selector = (u16)soft_sys_load(c, c->tr.base + offset + 4, 2);
	} else {
		s.sp = soft_sys_load(c, c->tr.base + offset, 2);
		selector = (u16)soft_sys_load(c, c->tr.base + offset + 2, 2);
	}
	if (selector_null(selector))
		soft_raise_error(c, EXC_TS, 0);
	s.error = selector_error(selector);
	d = desc_load(c, selector, EXC_TS);
	if (selector_rpl(selector) != cpl || desc_dpl(d) != cpl || !desc_writable_data(d))
		soft_raise_error(c, EXC_TS, s.error);
	if (!desc_present(d))
		soft_raise_error(c, EXC_SS, s.error);
	s.ss = segment_accept(c, selector, d);
	s.mask = stack_mask(&s.ss);
	return s;
}

u64 stack_from_tss64(struct soft_cpu *c, unsigned slot)
{
	u32 offset = slot < 3 ? 4 + 8 * slot : 36 + 8 * (slot - 4);

	if (offset + 7 > c->tr.limit)
		soft_raise_error(c, EXC_TS, selector_error(c->tr.selector));
	return soft_sys_load(c, c->tr.base + offset, 8);
}

void stack_push(struct soft_cpu *c, struct stack *s, unsigned size, u64 value)
{
	u64 sp = (s->sp - size) & s->mask, linear = sp;

	if (!s->flat) {
		if (!segment_allows(&s->ss, sp, size, SOFT_WRITE, s->real))
			soft_raise_error(c, EXC_SS, s->error);
		linear = (u32)(s->ss.base + sp);
	}
	soft_store(c, linear, size, value, SEG_SS);
	s->sp = (s->sp & ~s->mask) | sp;
}
