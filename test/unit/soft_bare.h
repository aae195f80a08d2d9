/*
 * A bare vCPU of the soft engine with 16 MiB of RAM and a board that does nothing, for tests of the system
 * side: a few instructions run, and the test looks at what became of the state.
 *
 * guest_mode() puts a GDT, an IDT and a TSS in place and sets the mode. Each IDT entry leads to a handler
 * that stops the run, so rip tells the vector, and the frame lies on the stack. OUT to GUEST_STOP stops too.
 */
#pragma once

#include "base/clock.h"
#include "cpu/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GUEST_RAM (16 * MiB)

enum {
	GUEST_GDT = 0x1000,
	GUEST_IDT = 0x2000,
	GUEST_TSS = 0x3000,
	GUEST_TSS2 = 0x3800,
	GUEST_LDT = 0x4000,
	GUEST_HANDLERS = 0x5000, /* 16 bytes a vector */
	GUEST_CODE = 0x8000,
	GUEST_USER_CODE = 0x9000,
	GUEST_DATA = 0xa000,
	GUEST_STACK = 0x20000,
	GUEST_STACK0 = 0x30000, /* of the TSS, level 0 */
	GUEST_IST1 = 0x40000,
	GUEST_USER_STACK = 0x50000,
	GUEST_PML4 = 0x100000,
	GUEST_PAGE_DIRECTORY = 0x101000,
	GUEST_PDPT = 0x102000,
	GUEST_STOP = 0xf4,
};

enum { /* selectors */
       CODE32 = 0x08,
       CODE64 = 0x10,
       DATA = 0x18,
       USER_CODE32 = 0x20 | 3,
       USER_DATA = 0x28 | 3,
       USER_CODE64 = 0x30 | 3,
       TSS_SEL = 0x38,
       TSS2_SEL = 0x48,
       GATE_SEL = 0x50,
       ABSENT_DATA = 0x60,
       CONFORMING = 0x68,
       READ_ONLY = 0x70,
       CODE16 = 0x78,
       DATA16 = 0x80,
       EXPAND_DOWN = 0x88,
       LDT_SEL = 0x90,
       EXECUTE_ONLY = 0xa0,
       ABSENT_CODE = 0xa8,
       TASK_GATE_SEL = 0xb0,
       GDT_END = 0xb8,
};

struct guest {
	struct physmem mem;
	struct cpu_board board;
	struct cpu *cpu;
	struct vcpu_state s; /* before guest_run(): what to set; after: what it became */
	u8 *ram;
	int stops, inits;
	int interrupt; /* vector to give, or -1 */
	u32 last_port, last_value;
	u8 tpr;
	bool is_long;
};

static inline u64 guest_mmio_read(void *ctx, struct cpu *c, u64 gpa, unsigned size)
{
	return ~0ULL;
}
static inline void guest_mmio_write(void *ctx, struct cpu *c, u64 gpa, unsigned size, u64 v) {}

static inline u32 guest_pio_read(void *ctx, struct cpu *c, u16 port, unsigned size)
{
	return 0xa5a5a5a5;
}

static inline void guest_pio_write(void *ctx, struct cpu *c, u16 port, unsigned size, u32 v)
{
	struct guest *g = ctx;

	g->last_port = port;
	g->last_value = v;
	if (port == GUEST_STOP) {
		g->stops++;
		cpu_raise(c, CPU_EV_STOP);
	}
}

static inline bool guest_msr_read(void *ctx, struct cpu *c, u32 msr, u64 *v)
{
	*v = 0xfee00900;
	return msr == 0x1b;
}
static inline bool guest_msr_write(void *ctx, struct cpu *c, u32 msr, u64 v)
{
	return msr == 0x1b;
}

static inline int guest_ack(void *ctx, struct cpu *c)
{
	struct guest *g = ctx;
	int v = g->interrupt;

	g->interrupt = -1;
	return v;
}
static inline bool guest_pending(void *ctx, struct cpu *c)
{
	return ((struct guest *)ctx)->interrupt >= 0;
}
static inline u8 guest_tpr_read(void *ctx, struct cpu *c)
{
	return ((struct guest *)ctx)->tpr;
}
static inline void guest_tpr_write(void *ctx, struct cpu *c, u8 v)
{
	((struct guest *)ctx)->tpr = v;
}
static inline void guest_init(void *ctx, struct cpu *c)
{
	((struct guest *)ctx)->inits++;
}
static inline void guest_ferr(void *ctx, struct cpu *c) {}

static inline void put16(struct guest *g, u32 at, u16 v)
{
	memcpy(g->ram + at, &v, 2);
}
static inline void put32(struct guest *g, u32 at, u32 v)
{
	memcpy(g->ram + at, &v, 4);
}
static inline void put64(struct guest *g, u32 at, u64 v)
{
	memcpy(g->ram + at, &v, 8);
}
static inline u16 get16(struct guest *g, u64 at)
{
	u16 v;

	assert_true(at < GUEST_RAM - 8);
	memcpy(&v, g->ram + at, 2);
	return v;
}
static inline u32 get32(struct guest *g, u64 at)
{
	return get16(g, at) | (u32)get16(g, at + 2) << 16;
}
static inline u64 get64(struct guest *g, u64 at)
{
	return get32(g, at) | (u64)get32(g, at + 4) << 32;
}

/* access: type, S, DPL, P (bits 7:0), AVL, L, D/B, G (bits 15:12). */
static inline u64 descriptor(u32 base, u32 limit, u32 access)
{
	return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(access & 0xff) << 40 |
	       (u64)(limit >> 16 & 0xf) << 48 | (u64)(access >> 12 & 0xf) << 52 | (u64)(base >> 24) << 56;
}
static inline u64 gate(u16 selector, u32 offset, u32 access, u32 low)
{
	return (offset & 0xffff) | (u64)selector << 16 | (u64)low << 32 | (u64)access << 40 |
	       (u64)(offset >> 16) << 48;
}

static inline void set_desc(struct guest *g, u16 selector, u64 d)
{
	put64(g, GUEST_GDT + (selector & ~7u), d);
}

static inline void set_gate(struct guest *g, unsigned vector, u64 raw, u64 high)
{
	if (g->is_long) {
		put64(g, GUEST_IDT + 16 * vector, raw);
		put64(g, GUEST_IDT + 16 * vector + 8, high);
	} else {
		put64(g, GUEST_IDT + 8 * vector, raw);
	}
}

static inline u32 handler(unsigned vector)
{
	return GUEST_HANDLERS + 16 * vector;
}

static inline struct guest *guest_new(void)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct cpu_config config = {0};
	struct error e;

	g->ram = aligned_alloc(4096, GUEST_RAM);
	memset(g->ram, 0, GUEST_RAM);
	g->mem.slots[0] = (struct physmem_slot){.gpa = 0, .size = GUEST_RAM, .hva = g->ram};
	g->mem.count = 1;
	g->mem.page = calloc(GUEST_RAM / PAGE_SIZE, sizeof(u32));
	g->mem.single_vcpu = true;
	g->board = (struct cpu_board){.ctx = g,
	                              .mem = &g->mem,
	                              .mmio_read = guest_mmio_read,
	                              .mmio_write = guest_mmio_write,
	                              .pio_read = guest_pio_read,
	                              .pio_write = guest_pio_write,
	                              .msr_read = guest_msr_read,
	                              .msr_write = guest_msr_write,
	                              .interrupt_ack = guest_ack,
	                              .interrupt_pending = guest_pending,
	                              .tpr_read = guest_tpr_read,
	                              .tpr_write = guest_tpr_write,
	                              .init = guest_init,
	                              .ferr = guest_ferr};
	g->interrupt = -1;
	config.count = 1;
	config.board = &g->board;
	config.tsc_hz = 1000000000;
	g->cpu = soft_cpu_new(&config, &e);
	assert_non_null(g->cpu);
	return g;
}

static inline void guest_free(struct guest *g)
{
	cpu_free(g->cpu);
	free((void *)g->mem.page);
	free(g->ram);
	free(g);
}

static inline struct vcpu_segment guest_segment(struct guest *g, u16 selector)
{
	u64 d = get64(g, GUEST_GDT + (selector & ~7u));
	u32 limit = (u32)(d & 0xffff) | (u32)(d >> 32 & 0xf0000);

	return (struct vcpu_segment){.selector = selector,
	                             .base = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000),
	                             .limit = d >> 55 & 1 ? limit << 12 | 0xfff : limit,
	                             .attr = d >> 40 & 0xf0ff};
}

enum guest_mode { REAL, PROT32, LONG64, COMPAT32 };

static inline void guest_handler(struct guest *g, unsigned vector)
{
	static const u8 stop[] = {0xe6, GUEST_STOP, 0xeb, 0xfe}; /* out %al, $GUEST_STOP; jmp . */

	memcpy(g->ram + handler(vector), stop, sizeof(stop));
}

static inline void guest_tables(struct guest *g)
{
	set_desc(g, CODE32, descriptor(0, 0xfffff, 0xc09b));
	set_desc(g, CODE64, descriptor(0, 0xfffff, 0xa09b));
	set_desc(g, DATA, descriptor(0, 0xfffff, 0xc093));
	set_desc(g, USER_CODE32, descriptor(0, 0xfffff, 0xc0fb));
	set_desc(g, USER_DATA, descriptor(0, 0xfffff, 0xc0f3));
	set_desc(g, USER_CODE64, descriptor(0, 0xfffff, 0xa0fb));
	set_desc(g, TSS_SEL, descriptor(GUEST_TSS, 0x67 + 0x41, 0x8b));
	set_desc(g, ABSENT_DATA, descriptor(0, 0xfffff, 0xc013));
	set_desc(g, CONFORMING, descriptor(0, 0xfffff, g->is_long ? 0xa09f : 0xc09f));
	set_desc(g, READ_ONLY, descriptor(0, 0xfffff, 0xc091));
	set_desc(g, CODE16, descriptor(0, 0xffff, 0x9b));
	set_desc(g, DATA16, descriptor(0, 0xffff, 0x93));
	set_desc(g, EXPAND_DOWN, descriptor(0, 0xfff, 0x4097));
	set_desc(g, EXECUTE_ONLY, descriptor(0, 0xfffff, 0xc099));
	set_desc(g, ABSENT_CODE, descriptor(0, 0xfffff, 0xc01b));
	set_desc(g, LDT_SEL, descriptor(GUEST_LDT, 0xff, 0x82));
	if (!g->is_long) {
		set_desc(g, TSS2_SEL, descriptor(GUEST_TSS2, 0x67, 0x89));
		set_desc(g, TASK_GATE_SEL, gate(TSS2_SEL, 0, 0x85, 0));
	}
	for (unsigned v = 0; v < 256; v++) {
		/* Open to level 3: #BP, #OF, 0x80 and 0x81. */
		u32 access = v == 0x80 || v == 0x81 || v == 3 || v == 4 ? 0xee : 0x8e;

		guest_handler(g, v);
		set_gate(g, v, gate(g->is_long ? CODE64 : CODE32, handler(v), access, 0), 0);
	}
	put16(g, GUEST_TSS + 0x66, 0x68);
	if (g->is_long) {
		put64(g, GUEST_TSS + 4, GUEST_STACK0);
		put64(g, GUEST_TSS + 0x24, GUEST_IST1);
		/* 16 MiB, one to one, open to the user. */
		put64(g, GUEST_PML4, GUEST_PDPT | 7);
		put64(g, GUEST_PDPT, GUEST_PAGE_DIRECTORY | 7);
		for (unsigned i = 0; i < 8; i++)
			put64(g, GUEST_PAGE_DIRECTORY + 8 * i, i * 2 * MiB | 0x87);
	} else {
		put32(g, GUEST_TSS + 4, GUEST_STACK0);
		put32(g, GUEST_TSS + 8, DATA);
	}
}

static inline void guest_mode(struct guest *g, enum guest_mode mode, unsigned cpl)
{
	struct vcpu_state *s = &g->s;

	vcpu_state_reset(s, true);
	s->rip = cpl ? GUEST_USER_CODE : GUEST_CODE;
	s->regs[REG_RSP] = cpl ? GUEST_USER_STACK : GUEST_STACK;
	g->is_long = mode == LONG64 || mode == COMPAT32;
	if (mode == REAL) {
		s->seg[SEG_CS].selector = 0;
		s->seg[SEG_CS].base = 0;
		s->regs[REG_RSP] = 0x7000;
		s->idtr.limit = 0x3ff;
		for (unsigned v = 0; v < 256; v++) {
			guest_handler(g, v);
			put32(g, 4 * v, handler(v));
		}
		return;
	}
	guest_tables(g);
	s->gdtr = (struct vcpu_table){GUEST_GDT, GDT_END - 1, 0};
	s->idtr = (struct vcpu_table){GUEST_IDT, g->is_long ? 0xfff : 0x7ff, 0};
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP;
	s->cr4 = CR4_DE | CR4_OSFXSR;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = guest_segment(g, cpl ? USER_DATA : DATA);
	if (mode == LONG64)
		s->seg[SEG_CS] = guest_segment(g, cpl ? USER_CODE64 : CODE64);
	else
		s->seg[SEG_CS] = guest_segment(g, cpl ? USER_CODE32 : CODE32);
	s->tr = guest_segment(g, TSS_SEL);
	s->ldtr = (struct vcpu_segment){.attr = SEG_ATTR_UNUSABLE};
	if (g->is_long) {
		s->cr0 |= CR0_PG;
		s->cr4 |= CR4_PAE;
		s->cr3 = GUEST_PML4;
		s->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
	}
}

/* Code with a stop behind it. */
static inline void guest_code(struct guest *g, u32 at, const void *code, size_t len)
{
	static const u8 stop[] = {0xe6, GUEST_STOP, 0xeb, 0xfe};

	if (len)
		memcpy(g->ram + at, code, len);
	memcpy(g->ram + at + len, stop, sizeof(stop));
}
/* Bytes at rip, with a stop behind them. */
#define CODE(g, ...)                                                  \
	do {                                                          \
		const u8 _code[] = {__VA_ARGS__};                     \
		guest_code(g, (u32)(g)->s.rip, _code, sizeof(_code)); \
	} while (0)

static inline enum cpu_exit guest_run(struct guest *g)
{
	enum cpu_exit x;

	physmem_written(&g->mem, 0, GUEST_RAM);
	cpu_set_state(g->cpu, &g->s);
	x = cpu_run(g->cpu);
	cpu_get_state(g->cpu, &g->s);
	return x;
}

/* The vector whose handler stopped the run, or -1. */
static inline int guest_vector(const struct guest *g)
{
	u64 at = g->s.rip - 2 - GUEST_HANDLERS;

	return at < 256 * 16 && at % 16 == 0 ? (int)(at / 16) : -1;
}

/* The frame that the handler found. */
struct frame {
	u64 error, rip, cs, flags, rsp, ss;
};

static inline struct frame guest_frame(struct guest *g, bool has_error)
{
	struct frame f = {0};
	u64 sp = g->s.regs[REG_RSP];
	unsigned w = g->is_long ? 8 : 4;
	u64 *const fields[] = {&f.rip, &f.cs, &f.flags, &f.rsp, &f.ss};

	if (has_error) {
		f.error = w == 8 ? get64(g, sp) : get32(g, sp);
		sp += w;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		*fields[i] = w == 8 ? get64(g, sp + w * i) : get32(g, sp + w * i);
	return f;
}

enum { NO_ERROR_CODE = -1 };

/* Runs and expects this exception at code offset `at` of the level's code; error NO_ERROR_CODE if there is
 * none. */
static inline struct frame expect(struct guest *g, int vector, s64 error, u64 rip)
{
	struct frame f;

	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(guest_vector(g), vector);
	f = guest_frame(g, error != NO_ERROR_CODE);
	if (error != NO_ERROR_CODE)
		assert_int_equal(f.error, error);
	assert_int_equal(f.rip, rip);
	return f;
}

/* Runs to the stop behind the code. */
static inline void expect_end(struct guest *g, u64 end)
{
	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal(g->s.rip, end + 2);
}

#define GUEST(mode, cpl)               \
	struct guest *g = guest_new(); \
	guest_mode(g, mode, cpl)

static inline void iret_frame(struct guest *g, u64 rip, u64 cs, u64 flags, u64 rsp, u64 ss)
{
	u64 at = g->s.regs[REG_RSP];
	const u64 v[] = {rip, cs, flags, rsp, ss};

	for (unsigned i = 0; i < 5; i++) {
		if (g->is_long)
			put64(g, (u32)at + 8 * i, v[i]);
		else
			put32(g, (u32)at + 4 * i, (u32)v[i]);
	}
}

static inline unsigned tss_type(struct guest *g, u16 selector)
{
	return get64(g, GUEST_GDT + selector) >> 40 & 0xf;
}

#define DR6(bits) (0xffff0ff0u | (bits))
