/*
 * A guest for tests of the soft engine: a few MiB of memory, a board that only counts, flat 64-bit and 32-bit
 * states. A guest ends by a store to STOP_GPA. Include it once, in the test's only file.
 */
#pragma once

#include "base/clock.h"
#include "cpu/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>

#include <cmocka.h>

#define MEM_SIZE (16 * MiB)
#define ROM_GPA  0xff000000ULL
#define STOP_GPA 0xfed00000ULL
#define MMIO_GPA 0xfed00100ULL /* reads as its address, keeps the last store */
#define CODE     0x10000
#define STACK    0x80000
#define PML4     0x1000
#define PDPT     0x2000
#define PD       0x3000
#define PT       0x4000 /* of the 2 MiB at 8 MiB */
#define GDT      0x5000
#define IDT      0x6000
#define TSS      0x7000

static struct physmem mem;
static u8 *ram, *rom;
static _Atomic u32 words[(MEM_SIZE + 0x10000) / PAGE_SIZE];
static u64 mmio_last;
static int irq_vector = -1;

static u64 mmio_read(void *ctx, struct cpu *cpu, u64 gpa, unsigned size)
{
	return gpa;
}
static void mmio_write(void *ctx, struct cpu *cpu, u64 gpa, unsigned size, u64 value)
{
	if (gpa == STOP_GPA)
		cpu_raise(cpu, CPU_EV_STOP);
	else
		mmio_last = value;
}
static u32 pio_read(void *ctx, struct cpu *cpu, u16 port, unsigned size)
{
	return 0;
}
static void pio_write(void *ctx, struct cpu *cpu, u16 port, unsigned size, u32 value)
{
	if (port == 0xf4)
		cpu_raise(cpu, CPU_EV_STOP);
	if (port == 0xf5) {
		irq_vector = (int)value;
		cpu_raise(cpu, CPU_EV_INTR);
	}
}
static bool msr_read(void *ctx, struct cpu *cpu, u32 msr, u64 *value)
{
	return false;
}
static bool msr_write(void *ctx, struct cpu *cpu, u32 msr, u64 value)
{
	return false;
}
static int interrupt_ack(void *ctx, struct cpu *cpu)
{
	int v = irq_vector;

	irq_vector = -1;
	return v;
}
static bool interrupt_pending(void *ctx, struct cpu *cpu)
{
	return irq_vector >= 0;
}
static u8 tpr_read(void *ctx, struct cpu *cpu)
{
	return 0;
}
static void tpr_write(void *ctx, struct cpu *cpu, u8 value) {}
static void init(void *ctx, struct cpu *cpu) {}

static const struct cpu_board board = {
        .mem = &mem,
        .mmio_read = mmio_read,
        .mmio_write = mmio_write,
        .pio_read = pio_read,
        .pio_write = pio_write,
        .msr_read = msr_read,
        .msr_write = msr_write,
        .interrupt_ack = interrupt_ack,
        .interrupt_pending = interrupt_pending,
        .tpr_read = tpr_read,
        .tpr_write = tpr_write,
        .init = init,
        .ferr = init,
};

static void put64(u64 gpa, u64 v)
{
	memcpy(ram + gpa, &v, 8);
}
static inline u64 get64(u64 gpa)
{
	u64 v;

	memcpy(&v, ram + gpa, 8);
	return v;
}

static int setup(void **state)
{
	if (!ram) {
		ram = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		rom = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	memset(ram, 0, MEM_SIZE);
	memset((void *)words, 0, sizeof(words));
	mem = (struct physmem){.count = 2, .page = words, .single_vcpu = true};
	mem.slots[0] = (struct physmem_slot){.gpa = 0, .size = MEM_SIZE, .hva = ram};
	mem.slots[1] = (struct physmem_slot){.gpa = ROM_GPA,
	                                     .size = 0x10000,
	                                     .hva = rom,
	                                     .first_page = MEM_SIZE / PAGE_SIZE,
	                                     .readonly = true};
	irq_vector = -1;
	mmio_last = 0;

	struct cpu_config config = {.count = 1, .board = &board, .tsc_hz = clock_tsc_hz()};
	struct error e;
	*state = soft_cpu_new(&config, &e);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	cpu_free(*state);
	return 0;
}

#define SEG64_CODE (0xb | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_L | SEG_ATTR_G)
#define SEG32_CODE (0xb | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_DB | SEG_ATTR_G)
#define SEG_DATA   (0x3 | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_DB | SEG_ATTR_G)

static void gate64(unsigned vector, u64 handler)
{
	put64(IDT + vector * 16,
	      (handler & 0xffff) | 0x8 << 16 | 0x8e00ULL << 32 | (handler >> 16 & 0xffff) << 48);
	put64(IDT + vector * 16 + 8, handler >> 32);
}

/* Exceptions end the guest, with their number in r8. */
static inline void stop_handlers(void)
{
	static const u8 code[] = {0x41, 0xb8, 0, 0, 0, 0, 0xa3, 0x00, 0x00, 0xd0, 0xfe, 0, 0, 0, 0};

	for (unsigned v = 0; v < 32; v++) {
		u8 *p = ram + 0x11000 + v * 32;

		memcpy(p, code, sizeof(code));
		p[2] = (u8)v;
		gate64(v, 0x11000 + v * 32);
	}
}

/* Flat modes, paging as for 64-bit: identity for 1 GiB by 2 MiB pages, and 3–4 GiB; PT maps the 2 MiB at 8
 * MiB. */
static void flat(struct cpu *c, struct vcpu_state *s, bool wide)
{
	vcpu_state_reset(s, true);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = (struct vcpu_segment){.selector = 0x10, .limit = 0xffffffff, .attr = SEG_DATA};
	s->seg[SEG_CS] = (struct vcpu_segment){
	        .selector = 8, .limit = 0xffffffff, .attr = wide ? SEG64_CODE : SEG32_CODE};
	put64(GDT + 8, wide ? 0x00af9b000000ffff : 0x00cf9b000000ffff);
	put64(GDT + 16, 0x00cf93000000ffff);
	s->gdtr = (struct vcpu_table){.base = GDT, .limit = 0x1f};
	s->idtr = (struct vcpu_table){.base = IDT, .limit = 0xfff};
	s->tr = (struct vcpu_segment){.selector = 0x18, .base = TSS, .limit = 0x67, .attr = 0xb | SEG_ATTR_P};
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_MP;
	s->rip = CODE;
	s->regs[REG_RSP] = STACK;
	if (!wide)
		return;
	put64(PML4, PDPT | 7);
	put64(PDPT, PD | 7);
	put64(PDPT + 24, (0xc0000000 | 0x83));
	for (u64 i = 0; i < 512; i++)
		put64(PD + i * 8, i << 21 | 0x87);
	put64(PD + 4 * 8, PT | 7);
	for (u64 i = 0; i < 512; i++)
		put64(PT + i * 8, (8 * MiB + i * PAGE_SIZE) | 7);
	s->cr0 |= CR0_PG | CR0_WP;
	s->cr3 = PML4;
	s->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR;
	s->efer = EFER_LME | EFER_LMA | EFER_NXE;
}

/* Code as the assembler made it: GUEST(name, "…") gives name_start, name_end. */
#define GUEST(name, text)                                                                                  \
	__asm__(".pushsection .rodata\n" #name "_start:\n" text "\n" #name "_end:\n.code64\n.popsection"); \
	extern const u8 name##_start[], name##_end[];
#define LOAD(name, gpa) memcpy(ram + (gpa), name##_start, (size_t)(name##_end - name##_start))

static void run(struct cpu *c, struct vcpu_state *s)
{
	cpu_set_state(c, s);
	assert_int_equal(cpu_run(c), CPU_EXIT_STOPPED);
	cpu_get_state(c, s);
}
