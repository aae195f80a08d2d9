/*
 * Segments: descriptors in guest memory, segment registers, and stacks that are being switched to
 * (SDM vol. 3 ch. 3.4, 3.5, 5).
 *
 * Errors: whoever reads a descriptor names the exception that a selector outside of its table means. Error
 * codes are the selector without RPL; exception.c adds EXT while an event is being delivered.
 *
 * CPL: c->cpl is also the DPL in SS's attributes, always (null SS in 64-bit mode included). Code that
 * prepares another privilege level's stack changes only c->cpl, so that an exception on the way can go back.
 */
#pragma once

#include "cpu/soft/soft.h"
#include "cpu/soft/mmu.h"

/* System descriptor types, SDM vol. 3 table 3-2. */
enum {
	DESC_TSS16 = 1,
	DESC_LDT = 2,
	DESC_TSS16_BUSY = 3,
	DESC_CALL16 = 4,
	DESC_TASK_GATE = 5,
	DESC_INT16 = 6,
	DESC_TRAP16 = 7,
	DESC_TSS32 = 9,
	DESC_TSS32_BUSY = 11,
	DESC_CALL32 = 12,
	DESC_INT32 = 14,
	DESC_TRAP32 = 15,
};

static inline unsigned desc_type(u64 d)
{
	return d >> 40 & 0xf;
}
static inline bool desc_is_segment(u64 d)
{
	return d >> 44 & 1;
}
static inline unsigned desc_dpl(u64 d)
{
	return d >> 45 & 3;
}
static inline bool desc_present(u64 d)
{
	return d >> 47 & 1;
}
static inline bool desc_long(u64 d)
{
	return d >> 53 & 1;
}
static inline bool desc_db(u64 d)
{
	return d >> 54 & 1;
}
static inline bool desc_is_code(u64 d)
{
	return (d >> 43 & 3) == 3;
}
static inline bool desc_conforming(u64 d)
{
	return d >> 42 & 1;
}
/* Of a code segment: readable. Of a data segment: writable. */
static inline bool desc_writable_data(u64 d)
{
	return (d >> 41 & 0xd) == 9;
}
static inline u16 gate_selector(u64 d)
{
	return (u16)(d >> 16);
}
static inline u32 gate_offset32(u64 d)
{
	return (u32)(d & 0xffff) | (u32)(d >> 32 & 0xffff0000);
}

static inline bool selector_null(u16 selector)
{
	return !(selector & ~3);
}
static inline u32 selector_error(u16 selector)
{
	return selector & ~3u;
}
static inline unsigned selector_rpl(u16 selector)
{
	return selector & 3;
}

static inline bool canonical(u64 a)
{
	return (u64)((s64)(a << 16) >> 16) == a;
}

/* Linear address of the size bytes of a descriptor; false: outside of its table. */
bool desc_find(const struct soft_cpu *c, u16 selector, unsigned size, u64 *linear);
/* Reads a descriptor; raises vector(selector) if it is outside of its table. */
u64 desc_load(struct soft_cpu *c, u16 selector, unsigned vector);
/* Upper half of a 16-byte system descriptor (long mode). */
u64 desc_load_high(struct soft_cpu *c, u16 selector, unsigned vector);
/* Sets bits of the descriptor's second doubleword, atomically, as the supervisor. */
void desc_set_bits(struct soft_cpu *c, u16 selector, u32 bits);
void desc_clear_bits(struct soft_cpu *c, u16 selector, u32 bits);
#define DESC_HIGH_ACCESSED 0x100u
#define DESC_HIGH_BUSY     0x200u

/* The segment register that descriptor d makes. */
struct vcpu_segment segment_from_desc(u16 selector, u64 d);
/* Same, after setting the accessed bit in memory and in the result. */
struct vcpu_segment segment_accept(struct soft_cpu *c, u16 selector, u64 d);
struct vcpu_segment segment_null(u16 selector, unsigned dpl);
/* Real mode: only base and selector change. Virtual-8086 mode: all of it. */
void segment_load_real(struct soft_cpu *c, unsigned seg, u16 selector);
struct vcpu_segment segment_v86(u16 selector);
/* MOV/POP/Lxs to a data segment register or SS in the current mode, with all checks. Never CS. */
void segment_load(struct soft_cpu *c, unsigned seg, u16 selector);
/* Return to less privilege: data segments that it may not use become null. */
void segment_drop_privileged(struct soft_cpu *c, unsigned cpl);

/* May size bytes at offset be accessed? Type and limit; not for 64-bit mode. */
bool segment_allows(const struct vcpu_segment *s, u64 offset, unsigned size, enum soft_access access,
                    bool real);

/* c->cpl alone, with the TLB that follows from it. */
void soft_set_cpl(struct soft_cpu *c, unsigned cpl);
/* CPL as SS remembers it. */
static inline unsigned soft_ss_dpl(const struct soft_cpu *c)
{
	return (c->seg[SEG_SS].attr & SEG_ATTR_DPL) >> SEG_ATTR_DPL_SHIFT;
}
static inline void soft_set_ss_dpl(struct soft_cpu *c, unsigned cpl)
{
	c->seg[SEG_SS].attr = (c->seg[SEG_SS].attr & ~SEG_ATTR_DPL) | cpl << SEG_ATTR_DPL_SHIFT;
}

/* The checks on a code segment d for a transfer to rip: 64-bit or 32-bit at once is #GP(selector), rip
 * outside of it #GP(0). */
void code_check_target(struct soft_cpu *c, u16 selector, u64 d, u64 rip);
static inline bool code_is_long(const struct soft_cpu *c, u64 d)
{
	return soft_long_active(c) && desc_long(d);
}

/* A stack that is not the current one yet, or not moved yet: pushes change only sp here. */
struct stack {
	struct vcpu_segment ss;
	u64 sp, mask;
	u32 error; /* of the #SS when it is too small */
	bool flat; /* 64-bit mode: no segment checks */
	bool real; /* real or virtual-8086 mode: only the limit counts */
};
/* The current one. */
struct stack stack_current(const struct soft_cpu *c);
/* That of the TSS for a more privileged level; reads and checks SS (#TS, #SS, …). Not for 64-bit TSS. */
struct stack stack_from_tss(struct soft_cpu *c, unsigned cpl);
/* 64-bit TSS: the RSP at slot (0–2: RSP0–RSP2, 3 + n: ISTn). */
u64 stack_from_tss64(struct soft_cpu *c, unsigned slot);
void stack_push(struct soft_cpu *c, struct stack *s, unsigned size, u64 value);
