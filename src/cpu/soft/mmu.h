/*
 * Guest memory through the soft TLB: linear addresses, 4-level, PAE and 32-bit paging (SDM vol. 3 ch. 4).
 *
 * Address-space tags: tlb_tag (12 bits) names the address space of an entry, so that loading CR3 with another
 * PCID, or the same, flushes nothing by writing: a flush hands out a new tag. Entries of global pages carry
 * the tag of supervisor accesses, which does not change with CR3; non-global supervisor entries are recorded
 * and dropped at a CR3 load. mmu.c has the details.
 *
 * All loads and stores raise #PF, #GP(0)/#SS(0) (non-canonical), #AC as the SDM says, on behalf of c->op.
 */
#pragma once

#include "cpu/soft/soft.h"

int soft_mmu_init(struct soft_cpu *c, struct error *e);
void soft_mmu_release(struct soft_cpu *c);

/* ---- flushes ---- */
void soft_mmu_flush_all(struct soft_cpu *c); /* everything, global pages too */
void soft_mmu_invlpg(struct soft_cpu *c, u64 linear);
void soft_mmu_load_cr3(struct soft_cpu *c, u64 cr3,
                       bool no_flush); /* sets c->cr3; no_flush: bit 63 with PCID */
/* Loads the PDPTE registers from cr3 (PAE paging outside of long mode: MOV CR3, CR0, CR4, task switch); false
 * and nothing changed if one has a reserved bit set: #GP(0). */
bool soft_mmu_load_pdptes(struct soft_cpu *c, u64 cr3);
/* INVPCID types 0–3, operands checked by the caller. */
void soft_mmu_invpcid(struct soft_cpu *c, unsigned type, u16 pcid, u64 linear);
/* Privilege, SMAP/AC, paging mode may have changed: choose c->tlb and c->tlb_tag. Called by soft_update(). */
void soft_mmu_update(struct soft_cpu *c);
/* Where it keeps enum soft_tlb_mode of data accesses, for code that changes AC. */
u8 *soft_mmu_mode(struct soft_cpu *c);

/* ---- linear accesses with the current privilege ---- */
u64 soft_load_slow(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg);
void soft_store_slow(struct soft_cpu *c, u64 linear, unsigned size, u64 value, unsigned seg);

/* The TLB entry of an access, if there is one: without a walk. */
const struct soft_tlb_entry *soft_mmu_cached(struct soft_cpu *c, u64 linear, bool write, unsigned mode,
                                             bool *global);
/* The same with a walk if need be; NULL: a fault, a device, a store to code, all of which others see to.
 * maybe: a write is not sure to follow, so the dirty flag is not set. */
const struct soft_tlb_entry *soft_mmu_walked(struct soft_cpu *c, u64 linear, bool write, bool maybe,
                                             unsigned mode, bool *global);
/* Around the page of entry e: which pages of its region of 2 MiB have the same addend, as translated code may
 * access them all likewise. *global is that of e, or becomes false. */
void soft_mmu_run(struct soft_cpu *c, u64 linear, bool write, unsigned mode, const struct soft_tlb_entry *e,
                  bool *global, u64 *from, u64 *to);
/* The page is about to be marked as code (physmem.h), by the only vCPU: see jit_cell.h. */
void soft_mmu_code_marked(struct soft_cpu *c, const _Atomic u32 *page);

/* A store hit a page that holds decoded code: its blocks die; the rest of the current one too. */
void soft_code_written(struct soft_cpu *c, _Atomic u32 *page);

static inline struct soft_tlb_entry *soft_tlb_entry(const struct soft_cpu *c, u64 linear)
{
	return &c->tlb[linear >> PAGE_SHIFT & (SOFT_TLB_ENTRIES - 1)];
}
static inline bool soft_tlb_hit(const struct soft_cpu *c, u64 tag, u64 linear, unsigned size)
{
	return likely(linear + c->tlb_key - tag <= PAGE_SIZE - size);
}
static inline void *soft_tlb_host(const struct soft_tlb_entry *e, u64 linear)
{
	return (void *)(linear + e->addend);
}

#define SOFT_ACCESSORS(bits, type)                                                                    \
	static inline type soft_load##bits(struct soft_cpu *c, u64 linear, unsigned seg)              \
	{                                                                                             \
		const struct soft_tlb_entry *e = soft_tlb_entry(c, linear);                           \
		if (soft_tlb_hit(c, e->tag_read, linear, sizeof(type)))                               \
			return *(const volatile type *)soft_tlb_host(e, linear);                      \
		return (type)soft_load_slow(c, linear, sizeof(type), seg);                            \
	}                                                                                             \
	static inline void soft_store##bits(struct soft_cpu *c, u64 linear, type value, unsigned seg) \
	{                                                                                             \
		const struct soft_tlb_entry *e = soft_tlb_entry(c, linear);                           \
		if (soft_tlb_hit(c, e->tag_write, linear, sizeof(type))) {                            \
			*(volatile type *)soft_tlb_host(e, linear) = value;                           \
			if (unlikely(atomic_load_explicit(e->page, memory_order_relaxed) &            \
			             PHYSMEM_PAGE_CODE))                                              \
				soft_code_written(c, e->page);                                        \
			return;                                                                       \
		}                                                                                     \
		soft_store_slow(c, linear, sizeof(type), value, seg);                                 \
	}
SOFT_ACCESSORS(8, u8)
SOFT_ACCESSORS(16, u16)
SOFT_ACCESSORS(32, u32)
SOFT_ACCESSORS(64, u64)
#undef SOFT_ACCESSORS

static inline u64 soft_load(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg)
{
	switch (size) {
	case 1:
		return soft_load8(c, linear, seg);
	case 2:
		return soft_load16(c, linear, seg);
	case 4:
		return soft_load32(c, linear, seg);
	default:
		return soft_load64(c, linear, seg);
	}
}
static inline void soft_store(struct soft_cpu *c, u64 linear, unsigned size, u64 v, unsigned seg)
{
	switch (size) {
	case 1:
		soft_store8(c, linear, (u8)v, seg);
		break;
	case 2:
		soft_store16(c, linear, (u16)v, seg);
		break;
	case 4:
		soft_store32(c, linear, (u32)v, seg);
		break;
	default:
		soft_store64(c, linear, v, seg);
		break;
	}
}

/* Read-modify-write: write permission is checked first. Returns a host pointer with the operand (aligned as
 * the guest's address is): guest memory itself, or a copy when it crosses a page or is MMIO. locked: for
 * LOCK/XCHG; a copy is then held under a process-wide lock, guest memory is to be changed with the host's
 * locked instruction. Finish with soft_rmw_end() in any case that did not raise; nothing may raise in
 * between. */
void *soft_rmw_slow(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg, bool locked);
void soft_rmw_end_slow(struct soft_cpu *c);
static inline void *soft_rmw(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg, bool locked)
{
	const struct soft_tlb_entry *e = soft_tlb_entry(c, linear);

	if (soft_tlb_hit(c, e->tag_write, linear, size)) {
		c->rmw.page = e->page;
		return soft_tlb_host(e, linear);
	}
	return soft_rmw_slow(c, linear, size, seg, locked);
}
static inline void soft_rmw_end(struct soft_cpu *c)
{
	/* page is NULL on the slow way */
	if (likely(c->rmw.page &&
	           !(atomic_load_explicit(c->rmw.page, memory_order_relaxed) & PHYSMEM_PAGE_CODE)))
		return;
	soft_rmw_end_slow(c);
}

/* #AC if it is misaligned and that is checked now; all accessors below and above do it. */
void soft_check_align(struct soft_cpu *c, u64 linear, size_t size);

/* size (1–64) bytes for a vector operand: a host pointer to read from; a pointer into guest memory or
 * c->bounce[0]. */
const void *soft_read_ptr(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg);
/* … to write to: fill it, then soft_write_done(). Permission is checked here. Uses c->bounce[1]. */
void *soft_write_ptr(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg);
void soft_write_done(struct soft_cpu *c);

/* Copies len bytes (any length, pages crossed); all pages are checked before the first byte is written. */
void soft_read_bytes(struct soft_cpu *c, u64 linear, void *buf, size_t len, unsigned seg);
void soft_write_bytes(struct soft_cpu *c, u64 linear, const void *buf, size_t len, unsigned seg);

/* Checks that [linear, linear+len) can be accessed (raises if not): for instructions with more than one
 * access. */
void soft_probe(struct soft_cpu *c, u64 linear, size_t len, enum soft_access access, unsigned seg);

/* For string instructions: host pointer to linear, with *len reduced to what lies in the same page; NULL:
 * MMIO or a page with decoded code (write), go element by element. Raises faults. After writing, nothing more
 * is needed. */
void *soft_page_ptr(struct soft_cpu *c, u64 linear, size_t *len, enum soft_access access, unsigned seg);

/* ---- implicit supervisor accesses (GDT, LDT, IDT, TSS): U/S as supervisor, SMAP as CR4 says ---- */
u64 soft_sys_load(struct soft_cpu *c, u64 linear, unsigned size);
void soft_sys_store(struct soft_cpu *c, u64 linear, unsigned size, u64 value);

/* Translation of rip's page for execution: fills and returns the ITLB entry; raises #PF/#GP. */
const struct soft_itlb_entry *soft_mmu_exec(struct soft_cpu *c, u64 linear);

/* ---- op operands ---- */
static inline u64 op_linear(struct soft_cpu *c, const struct op *o, unsigned size, enum soft_access access)
{
	return soft_seg_linear(c, o->seg, op_offset(c, o), size, access);
}

/* Operand n, whatever kind it is (general register, memory, immediate), size in bytes. */
static inline u64 op_read(struct soft_cpu *c, const struct op *o, unsigned n, unsigned size)
{
	switch (op_kind(o, n)) {
	case KIND_REG:
		return soft_reg_get(c, o->r[n], size);
	case KIND_MEM:
		return soft_load(c, op_linear(c, o, size, SOFT_READ), size, o->seg);
	default:
		return o->imm & MASK(size * 8);
	}
}
static inline void op_write(struct soft_cpu *c, const struct op *o, unsigned n, unsigned size, u64 v)
{
	if (op_kind(o, n) == KIND_REG)
		soft_reg_set(c, o->r[n], size, v);
	else
		soft_store(c, op_linear(c, o, size, SOFT_WRITE), size, v, o->seg);
}

/* ---- stack: width in bytes (2, 4, 8); address width follows SS.B or 64-bit mode ---- */
static inline u64 soft_stack_mask(const struct soft_cpu *c)
{
	if (c->long64)
		return ~0ULL;
	return c->seg[SEG_SS].attr & SEG_ATTR_DB ? 0xffffffffULL : 0xffffULL;
}
static inline void soft_set_rsp(struct soft_cpu *c, u64 v)
{
	u64 mask = soft_stack_mask(c);

	if (mask == 0xffff)
		*(u16 *)&c->regs[REG_RSP] = (u16)v;
	else
		c->regs[REG_RSP] = v & mask;
}
static inline void soft_push(struct soft_cpu *c, unsigned size, u64 v)
{
	u64 sp = (c->regs[REG_RSP] - size) & soft_stack_mask(c);

	soft_store(c, soft_seg_linear(c, SEG_SS, sp, size, SOFT_WRITE), size, v, SEG_SS);
	soft_set_rsp(c, sp);
}
/* Value at rsp + skip; rsp is not changed: soft_set_rsp() when nothing can fault any more. */
static inline u64 soft_peek(struct soft_cpu *c, unsigned size, unsigned skip)
{
	u64 sp = (c->regs[REG_RSP] + skip) & soft_stack_mask(c);

	return soft_load(c, soft_seg_linear(c, SEG_SS, sp, size, SOFT_READ), size, SEG_SS);
}
static inline u64 soft_pop(struct soft_cpu *c, unsigned size)
{
	u64 v = soft_peek(c, size, 0);

	soft_set_rsp(c, c->regs[REG_RSP] + size);
	return v;
}
