/* The system side of the soft engine: exceptions, segments, far transfers, tasks, debugging, control registers, MSRs. */
#include "soft_guest.h"

enum { NO_ERROR_CODE = -1 };

/* Runs and expects this exception at code offset `at` of the level's code; error NO_ERROR_CODE if there is none. */
static struct frame expect(struct guest *g, int vector, s64 error, u64 rip)
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
static void expect_end(struct guest *g, u64 end)
{
	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal(g->s.rip, end + 2);
}

#define GUEST(mode, cpl)                                                                                      \
	struct guest *g = guest_new();                                                                        \
	guest_mode(g, mode, cpl)

/* ---- exceptions in long mode ---- */

static void ud_long(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x0b);
	g->s.rflags |= FLAG_IF;
	struct frame f = expect(g, EXC_UD, NO_ERROR_CODE, GUEST_CODE);
	assert_int_equal(f.cs, CODE64);
	assert_int_equal(f.flags, FLAG_ONE | FLAG_IF | FLAG_RF);
	assert_int_equal(f.rsp, GUEST_STACK);
	assert_int_equal(f.ss, DATA);
	assert_false(g->s.rflags & (FLAG_IF | FLAG_RF));
	guest_free(g);
}

static void int3_pushes_next_rip(void **state)
{
	GUEST(LONG64, 3);
	CODE(g, 0xcc);
	struct frame f = expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 1);
	assert_int_equal(f.flags, FLAG_ONE);
	guest_free(g);
}

static void int_n_switches_stack(void **state)
{
	GUEST(LONG64, 3);
	CODE(g, 0xcd, 0x80);
	g->s.regs[REG_RSP] = GUEST_USER_STACK - 3;
	struct frame f = expect(g, 0x80, NO_ERROR_CODE, GUEST_USER_CODE + 2);
	assert_int_equal(f.cs, USER_CODE64);
	assert_int_equal(f.ss, USER_DATA);
	assert_int_equal(f.rsp, GUEST_USER_STACK - 3);
	assert_int_equal(g->s.regs[REG_RSP], GUEST_STACK0 - 40);
	assert_int_equal(g->s.seg[SEG_SS].selector, 0);
	assert_true(g->s.seg[SEG_SS].attr & SEG_ATTR_UNUSABLE);
	guest_free(g);
}

static void stack_is_aligned(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x0b);
	g->s.regs[REG_RSP] = GUEST_STACK - 5;
	expect(g, EXC_UD, NO_ERROR_CODE, GUEST_CODE);
	assert_int_equal(g->s.regs[REG_RSP], GUEST_STACK - 16 - 40);
	guest_free(g);
}

static void int_n_needs_gate_dpl(void **state)
{
	GUEST(LONG64, 3);
	CODE(g, 0xcd, 0x20);
	expect(g, EXC_GP, 0x20 * 8 + 2, GUEST_USER_CODE);
	guest_free(g);
}

static void absent_gate(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xcd, 0x21);
	set_gate(g, 0x21, gate(CODE64, handler(0x21), 0x0e, 0), 0);
	expect(g, EXC_NP, 0x21 * 8 + 2, GUEST_CODE);
	guest_free(g);
}

static void absent_gate_of_exception_sets_ext(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x0b);
	set_gate(g, EXC_UD, gate(CODE64, handler(EXC_UD), 0x0e, 0), 0);
	expect(g, EXC_NP, EXC_UD * 8 + 3, GUEST_CODE);
	guest_free(g);
}

static void gate_with_bad_selector(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xcd, 0x21);
	set_gate(g, 0x21, gate(0xff8, handler(0x21), 0x8e, 0), 0);
	expect(g, EXC_GP, 0xff8, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	set_gate(g, 0x21, gate(ABSENT_CODE, handler(0x21), 0x8e, 0), 0);
	expect(g, EXC_NP, ABSENT_CODE, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	set_gate(g, 0x21, gate(CODE32, handler(0x21), 0x8e, 0), 0);
	expect(g, EXC_GP, CODE32, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	set_gate(g, 0x21, gate(0, handler(0x21), 0x8e, 0), 0);
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_free(g);
}

static void non_canonical_access(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x48, 0x8b, 0x03); /* mov (%rbx), %rax */
	g->s.regs[REG_RBX] = 0x800000000000;
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	CODE(g, 0x48, 0x8b, 0x45, 0); /* mov (%rbp), %rax */
	g->s.regs[REG_RBP] = 0x800000000000;
	expect(g, EXC_SS, 0, GUEST_CODE);
	guest_free(g);
}

static void page_fault_codes(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x48, 0x8b, 0x03);
	g->s.regs[REG_RBX] = 0x2000123;
	expect(g, EXC_PF, 0, GUEST_CODE);
	assert_int_equal(g->s.cr2, 0x2000123);
	guest_mode(g, LONG64, 3);
	CODE(g, 0x48, 0x89, 0x03);
	g->s.regs[REG_RBX] = 0x2000123;
	expect(g, EXC_PF, 6, GUEST_USER_CODE);
	guest_mode(g, LONG64, 0);
	CODE(g, 0xff, 0xe3); /* jmp *%rbx */
	g->s.regs[REG_RBX] = 0x2000123;
	expect(g, EXC_PF, 0x10, 0x2000123);
	guest_free(g);
}

static void ist(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x0b);
	set_gate(g, EXC_UD, gate(CODE64, handler(EXC_UD), 0x8e, 1), 0);
	expect(g, EXC_UD, NO_ERROR_CODE, GUEST_CODE);
	assert_int_equal(g->s.regs[REG_RSP], GUEST_IST1 - 40);
	assert_int_equal(g->s.seg[SEG_SS].selector, DATA);
	guest_free(g);
}

static void double_fault(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x48, 0x8b, 0x03);
	g->s.regs[REG_RBX] = 0x2000000;
	set_gate(g, EXC_PF, gate(CODE64, handler(EXC_PF), 0x0e, 0), 0);
	expect(g, EXC_DF, 0, GUEST_CODE);
	guest_free(g);
}

static void double_fault_on_bad_stack(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x0b);
	g->s.regs[REG_RSP] = 0x4000000; /* not mapped: #UD, #PF on the stack, then #PF again: #DF, on IST */
	set_gate(g, EXC_DF, gate(CODE64, handler(EXC_DF), 0x8e, 1), 0);
	expect(g, EXC_DF, 0, GUEST_CODE);
	guest_free(g);
}

static void triple_fault(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x0b);
	g->s.idtr.limit = 0;
	assert_int_equal(guest_run(g), CPU_EXIT_SHUTDOWN);
	guest_mode(g, REAL, 0);
	CODE(g, 0x0f, 0x0b);
	g->s.idtr.limit = 0;
	assert_int_equal(guest_run(g), CPU_EXIT_SHUTDOWN);
	guest_free(g);
}

static void external_interrupt(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x90);
	g->s.rflags |= FLAG_IF;
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR);
	expect(g, 0x55, NO_ERROR_CODE, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	g->s.rflags |= FLAG_IF;
	set_gate(g, 0x55, gate(CODE64, handler(0x55), 0x0e, 0), 0);
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR);
	expect(g, EXC_NP, 0x55 * 8 + 3, GUEST_CODE);
	guest_free(g);
}

static void interrupt_waits_for_sti_shadow(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xfb, 0x90, 0x90); /* sti; nop; nop */
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR);
	expect(g, 0x55, NO_ERROR_CODE, GUEST_CODE + 2);
	guest_free(g);
}

static void interrupt_waits_for_mov_ss(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x8e, 0xd0, 0x90, 0x90); /* mov %eax, %ss; nop; nop */
	g->s.regs[REG_RAX] = DATA;
	g->s.rflags |= FLAG_IF;
	g->s.interrupt_shadow = 1; /* let the first instruction through */
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR);
	expect(g, 0x55, NO_ERROR_CODE, GUEST_CODE + 3);
	guest_free(g);
}

static void halt_wakes(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xfb, 0xf4, 0x90); /* sti; hlt; nop */
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR);
	expect(g, 0x55, NO_ERROR_CODE, GUEST_CODE + 2);
	guest_free(g);
}

static void nmi_blocks_until_iret(void **state)
{
	GUEST(LONG64, 0);
	static const u8 iretq[] = {0x48, 0xcf};
	CODE(g, 0x90);
	cpu_raise(g->cpu, CPU_EV_NMI);
	expect(g, EXC_NMI, NO_ERROR_CODE, GUEST_CODE);
	assert_true(g->s.nmi_blocked);
	/* A second one waits for the IRET. */
	memcpy(g->ram + handler(EXC_NMI) + 8, iretq, 2);
	g->s.rip = handler(EXC_NMI) + 8;
	cpu_raise(g->cpu, CPU_EV_NMI);
	expect(g, EXC_NMI, NO_ERROR_CODE, GUEST_CODE);
	guest_free(g);
}

/* ---- segments ---- */

static void load_ds(struct guest *g, enum guest_mode mode, unsigned cpl, u16 selector, int vector, s64 error)
{
	guest_mode(g, mode, cpl);
	CODE(g, 0x8e, 0xd8); /* mov %eax, %ds */
	g->s.regs[REG_RAX] = selector;
	if (vector < 0)
		expect_end(g, g->s.rip + 2);
	else
		expect(g, vector, error, g->s.rip);
	if (vector < 0)
		assert_int_equal(g->s.seg[SEG_DS].selector, selector);
}

static void load_ss(struct guest *g, enum guest_mode mode, unsigned cpl, u16 selector, int vector, s64 error)
{
	guest_mode(g, mode, cpl);
	CODE(g, 0x8e, 0xd0); /* mov %eax, %ss */
	g->s.regs[REG_RAX] = selector;
	if (vector < 0)
		expect_end(g, g->s.rip + 2);
	else
		expect(g, vector, error, g->s.rip);
}

static void segment_loads(void **state)
{
	struct guest *g = guest_new();

	for (enum guest_mode mode = PROT32; mode <= COMPAT32; mode++) {
		load_ds(g, mode, 0, DATA, -1, 0);
		load_ds(g, mode, 0, 0, -1, 0);
		load_ds(g, mode, 0, 3, -1, 0);
		load_ds(g, mode, 0, READ_ONLY, -1, 0);
		load_ds(g, mode, 0, CODE32, -1, 0);
		load_ds(g, mode, 0, DATA | 3, EXC_GP, DATA);
		load_ds(g, mode, 0, EXECUTE_ONLY, EXC_GP, EXECUTE_ONLY);
		load_ds(g, mode, 0, ABSENT_DATA, EXC_NP, ABSENT_DATA);
		load_ds(g, mode, 0, GDT_END, EXC_GP, GDT_END);
		load_ds(g, mode, 0, DATA | 4, EXC_GP, DATA | 4); /* no LDT */
		load_ds(g, mode, 0, TSS_SEL, EXC_GP, TSS_SEL);
		load_ss(g, mode, 0, DATA, -1, 0);
		load_ss(g, mode, 0, DATA | 1, EXC_GP, DATA);
		load_ss(g, mode, 0, USER_DATA, EXC_GP, USER_DATA & ~3);
		load_ss(g, mode, 0, READ_ONLY, EXC_GP, READ_ONLY);
		load_ss(g, mode, 0, ABSENT_DATA, EXC_SS, ABSENT_DATA);
		if (mode == LONG64)
			load_ss(g, mode, 0, 0, -1, 0);
		else
			load_ss(g, mode, 0, 0, EXC_GP, 0);
	}
	load_ss(g, LONG64, 3, 3, EXC_GP, 0);
	guest_free(g);
}

static void accessed_bit_is_set(void **state)
{
	GUEST(PROT32, 0);
	set_desc(g, DATA16, descriptor(0, 0xffff, 0x92));
	CODE(g, 0x8e, 0xd8);
	g->s.regs[REG_RAX] = DATA16;
	expect_end(g, GUEST_CODE + 2);
	assert_int_equal(get64(g, GUEST_GDT + DATA16) >> 40 & 0xff, 0x93);
	guest_free(g);
}

static void limits(void **state)
{
	GUEST(PROT32, 0);
	g->s.seg[SEG_DS] = guest_segment(g, DATA16);
	CODE(g, 0x8b, 0x03); /* mov (%ebx), %eax */
	g->s.regs[REG_RBX] = 0xfffc;
	expect_end(g, GUEST_CODE + 2);
	g->s.rip = GUEST_CODE;
	g->s.regs[REG_RBX] = 0xfffd;
	expect(g, EXC_GP, 0, GUEST_CODE);

	guest_mode(g, PROT32, 0);
	g->s.seg[SEG_DS] = guest_segment(g, EXPAND_DOWN);
	g->s.regs[REG_RBX] = 0x1000;
	expect_end(g, GUEST_CODE + 2);
	g->s.rip = GUEST_CODE;
	g->s.regs[REG_RBX] = 0xfff;
	expect(g, EXC_GP, 0, GUEST_CODE);

	guest_mode(g, PROT32, 0);
	g->s.seg[SEG_DS] = (struct vcpu_segment){.attr = SEG_ATTR_UNUSABLE};
	expect(g, EXC_GP, 0, GUEST_CODE);

	guest_mode(g, PROT32, 0);
	CODE(g, 0x89, 0x03); /* mov %eax, (%ebx) */
	g->s.seg[SEG_DS] = guest_segment(g, READ_ONLY);
	g->s.regs[REG_RBX] = GUEST_DATA;
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_free(g);
}

static void real_mode_limits(void **state)
{
	GUEST(REAL, 0);
	CODE(g, 0x8b, 0x07); /* mov (%bx), %ax */
	g->s.regs[REG_RBX] = 0xffff;
	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(guest_vector(g), EXC_GP);
	guest_mode(g, REAL, 0);
	CODE(g, 0x8b, 0x46, 0x00); /* mov (%bp), %ax */
	g->s.regs[REG_RBP] = 0xffff;
	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(guest_vector(g), EXC_SS);
	/* Limits survive loads: "unreal" mode. */
	guest_mode(g, REAL, 0);
	CODE(g, 0x8e, 0xd8, 0x67, 0x66, 0x8b, 0x03); /* mov %ax, %ds; mov (%ebx), %eax */
	g->s.seg[SEG_DS].limit = 0xffffffff;
	g->s.regs[REG_RAX] = 0x10;
	g->s.regs[REG_RBX] = 0x200000;
	put32(g, 0x200100, 0x12345678);
	expect_end(g, GUEST_CODE + 6);
	assert_int_equal((u32)g->s.regs[REG_RAX], 0x12345678);
	guest_free(g);
}

static void real_mode_int(void **state)
{
	GUEST(REAL, 0);
	CODE(g, 0xcd, 0x21);
	g->s.rflags |= FLAG_IF | FLAG_TF * 0;
	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(guest_vector(g), 0x21);
	assert_int_equal(g->s.regs[REG_RSP], 0x7000 - 6);
	assert_int_equal(get16(g, 0x7000 - 2), FLAG_ONE | FLAG_IF);
	assert_int_equal(get16(g, 0x7000 - 4), 0);
	assert_int_equal(get16(g, 0x7000 - 6), GUEST_CODE + 2);
	assert_false(g->s.rflags & FLAG_IF);
	guest_free(g);
}

/* ---- far transfers ---- */

static void far_jump_checks(void **state)
{
	GUEST(PROT32, 0);
	/* ljmp $sel, $0x9000 */
	CODE(g, 0xea, 0x00, 0x90, 0, 0, CODE32, 0);
	guest_code(g, GUEST_USER_CODE, "\x90", 1);
	expect_end(g, GUEST_USER_CODE + 1);

	guest_mode(g, PROT32, 0);
	CODE(g, 0xea, 0x00, 0x90, 0, 0, 0, 0);
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_mode(g, PROT32, 0);
	CODE(g, 0xea, 0x00, 0x90, 0, 0, DATA, 0);
	expect(g, EXC_GP, DATA, GUEST_CODE);
	guest_mode(g, PROT32, 0);
	CODE(g, 0xea, 0x00, 0x90, 0, 0, ABSENT_CODE, 0);
	expect(g, EXC_NP, ABSENT_CODE, GUEST_CODE);
	guest_mode(g, PROT32, 0);
	CODE(g, 0xea, 0x00, 0x90, 0, 0, USER_CODE32, 0);
	expect(g, EXC_GP, USER_CODE32 & ~3, GUEST_CODE);
	guest_mode(g, PROT32, 0);
	CODE(g, 0xea, 0x00, 0x90, 1, 0, CODE16, 0);
	expect(g, EXC_GP, 0, GUEST_CODE);
	/* Conforming: from level 3 it runs at level 3. */
	guest_mode(g, PROT32, 3);
	CODE(g, 0xea, 0x00, 0x80, 0, 0, CONFORMING, 0);
	guest_code(g, GUEST_CODE, "\xcc", 1);
	struct frame f = expect(g, EXC_BP, NO_ERROR_CODE, GUEST_CODE + 1);
	assert_int_equal(f.cs, CONFORMING | 3);
	guest_free(g);
}

static void long_to_compat_and_back(void **state)
{
	GUEST(LONG64, 0);
	/* lretq to 32-bit code, which far-jumps back */
	static const u8 compat[] = {0xea, 0x00, 0xa0, 0, 0, CODE64, 0};
	CODE(g, 0x48, 0xcb);
	memcpy(g->ram + GUEST_USER_CODE, compat, sizeof(compat));
	put64(g, GUEST_STACK, GUEST_USER_CODE);
	put64(g, GUEST_STACK + 8, CODE32);
	guest_code(g, GUEST_DATA, "\x48\x89\xe0", 3); /* mov %rsp, %rax */
	expect_end(g, GUEST_DATA + 3);
	assert_int_equal(g->s.regs[REG_RAX], GUEST_STACK + 16);
	guest_free(g);
}

static void call_gate_32(void **state)
{
	GUEST(PROT32, 3);
	/* Two parameters; the handler returns with lret $8. */
	set_desc(g, GATE_SEL, gate(CODE32, GUEST_CODE, 0xec, 2));
	CODE(g, 0x6a, 0x11, 0x6a, 0x22, 0x9a, 0, 0, 0, 0, GATE_SEL | 3, 0, 0xcc);
	static const u8 inner[] = {0x8b, 0x44, 0x24, 0x08, 0x8b, 0x5c, 0x24, 0x0c, 0x89, 0xe1, 0xca, 0x08, 0x00};
	memcpy(g->ram + GUEST_CODE, inner, sizeof(inner));
	struct frame f = expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 12);
	assert_int_equal((u32)g->s.regs[REG_RAX], 0x22);
	assert_int_equal((u32)g->s.regs[REG_RBX], 0x11);
	assert_int_equal((u32)g->s.regs[REG_RCX], GUEST_STACK0 - 24);
	assert_int_equal(f.rsp, GUEST_USER_STACK); /* parameters released */
	assert_int_equal(f.cs, USER_CODE32);
	assert_int_equal(f.ss, USER_DATA);
	guest_free(g);
}

static void call_gate_64(void **state)
{
	GUEST(LONG64, 3);
	set_desc(g, GATE_SEL, gate(CODE64, GUEST_CODE, 0xec, 0));
	set_desc(g, GATE_SEL + 8, 0);
	put64(g, GUEST_DATA, (u64)(GATE_SEL | 3) << 32);
	CODE(g, 0xff, 0x1b, 0xcc); /* lcall *(%rbx); int3 */
	g->s.regs[REG_RBX] = GUEST_DATA;
	static const u8 inner[] = {0x48, 0x89, 0xe1, 0x8c, 0xd2, 0x48, 0xcb}; /* mov %rsp, %rcx; mov %ss, %edx; lretq */
	memcpy(g->ram + GUEST_CODE, inner, sizeof(inner));
	struct frame f = expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 3);
	assert_int_equal(g->s.regs[REG_RCX], GUEST_STACK0 - 32);
	assert_int_equal(g->s.regs[REG_RDX], 0);
	assert_int_equal(f.rsp, GUEST_USER_STACK);
	assert_int_equal(f.cs, USER_CODE64);
	/* Not present, and of too little privilege. */
	guest_mode(g, LONG64, 3);
	set_desc(g, GATE_SEL, gate(CODE64, GUEST_CODE, 0x6c, 0));
	g->s.regs[REG_RBX] = GUEST_DATA;
	expect(g, EXC_NP, GATE_SEL, GUEST_USER_CODE);
	guest_mode(g, LONG64, 3);
	set_desc(g, GATE_SEL, gate(CODE64, GUEST_CODE, 0x8c, 0));
	g->s.regs[REG_RBX] = GUEST_DATA;
	expect(g, EXC_GP, GATE_SEL, GUEST_USER_CODE);
	guest_mode(g, LONG64, 3);
	set_desc(g, GATE_SEL, gate(CODE32, GUEST_CODE, 0xec, 0));
	g->s.regs[REG_RBX] = GUEST_DATA;
	expect(g, EXC_GP, CODE32, GUEST_USER_CODE);
	guest_free(g);
}

static void iret_frame(struct guest *g, u64 rip, u64 cs, u64 flags, u64 rsp, u64 ss)
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

static void iret_long(void **state)
{
	GUEST(LONG64, 0);
	guest_code(g, GUEST_USER_CODE, "\xcc", 1);
	CODE(g, 0x48, 0xcf);
	iret_frame(g, GUEST_USER_CODE, USER_CODE64, FLAG_ONE | FLAG_IF | FLAG_IOPL | FLAG_AC, GUEST_USER_STACK, USER_DATA);
	struct frame f = expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 1);
	assert_int_equal(f.cs, USER_CODE64);
	assert_int_equal(f.rsp, GUEST_USER_STACK);
	assert_int_equal(f.flags, FLAG_ONE | FLAG_IF | FLAG_IOPL | FLAG_AC);

	guest_mode(g, LONG64, 0);
	iret_frame(g, 0x800000000000, USER_CODE64, 2, GUEST_USER_STACK, USER_DATA);
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	iret_frame(g, GUEST_USER_CODE, USER_CODE64, 2, GUEST_USER_STACK, 0);
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	iret_frame(g, GUEST_USER_CODE, USER_CODE64, 2, GUEST_USER_STACK, DATA);
	expect(g, EXC_GP, DATA, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	iret_frame(g, GUEST_USER_CODE, ABSENT_CODE, 2, GUEST_USER_STACK, DATA);
	expect(g, EXC_NP, ABSENT_CODE, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	iret_frame(g, GUEST_CODE, CODE64, 2, GUEST_USER_STACK, ABSENT_DATA);
	expect(g, EXC_SS, ABSENT_DATA, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	g->s.rflags |= FLAG_NT;
	iret_frame(g, GUEST_CODE, CODE64, 2, GUEST_USER_STACK, DATA);
	expect(g, EXC_GP, 0, GUEST_CODE);
	/* A null SS is fine at level 0. */
	guest_mode(g, LONG64, 0);
	guest_code(g, GUEST_USER_CODE, "\x90", 1);
	iret_frame(g, GUEST_USER_CODE, CODE64, 2, GUEST_USER_STACK, 0);
	expect_end(g, GUEST_USER_CODE + 1);
	guest_free(g);
}

static void iret_nulls_segments(void **state)
{
	GUEST(PROT32, 0);
	guest_code(g, GUEST_USER_CODE, "\xcc", 1);
	CODE(g, 0xcf);
	g->s.seg[SEG_ES] = guest_segment(g, USER_DATA);
	iret_frame(g, GUEST_USER_CODE, USER_CODE32, 2, GUEST_USER_STACK, USER_DATA);
	expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 1);
	assert_int_equal(g->s.seg[SEG_DS].selector, 0);
	assert_true(g->s.seg[SEG_DS].attr & SEG_ATTR_UNUSABLE);
	assert_int_equal(g->s.seg[SEG_ES].selector, USER_DATA);
	guest_free(g);
}

static void user_cannot_gain_flags(void **state)
{
	GUEST(PROT32, 3);
	CODE(g, 0xcf);
	guest_code(g, GUEST_USER_CODE + 0x100, "\xcc", 1);
	iret_frame(g, GUEST_USER_CODE + 0x100, USER_CODE32, FLAG_ONE | FLAG_IF | FLAG_IOPL | FLAG_VM | FLAG_CF, 0, 0);
	struct frame f = expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 0x101);
	assert_int_equal(f.flags, FLAG_ONE | FLAG_CF);
	guest_free(g);
}

/* ---- SYSCALL and SYSENTER ---- */

static void syscall_and_sysret(void **state)
{
	GUEST(LONG64, 3);
	CODE(g, 0x0f, 0x05, 0xcc);
	static const u8 kernel[] = {0x48, 0x89, 0xc8, 0x4c, 0x89, 0xdb, 0x48, 0x0f, 0x07}; /* rax = rcx; rbx = r11; sysretq */
	memcpy(g->ram + GUEST_CODE, kernel, sizeof(kernel));
	g->s.star = (u64)(USER_CODE32) << 48 | (u64)CODE64 << 32;
	g->s.lstar = GUEST_CODE;
	g->s.sfmask = FLAG_IF | FLAG_TF | FLAG_CF;
	g->s.rflags |= FLAG_IF | FLAG_CF;
	struct frame f = expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 3);
	assert_int_equal(g->s.regs[REG_RAX], GUEST_USER_CODE + 2);
	assert_int_equal(g->s.regs[REG_RBX], FLAG_ONE | FLAG_IF | FLAG_CF);
	assert_int_equal(f.cs, USER_CODE64);
	assert_int_equal(f.ss, USER_DATA);
	assert_int_equal(f.flags, FLAG_ONE | FLAG_IF | FLAG_CF);

	guest_mode(g, LONG64, 3);
	g->s.efer &= ~EFER_SCE;
	expect(g, EXC_UD, NO_ERROR_CODE, GUEST_USER_CODE);
	guest_mode(g, COMPAT32, 3);
	expect(g, EXC_UD, NO_ERROR_CODE, GUEST_USER_CODE);
	guest_mode(g, LONG64, 0);
	CODE(g, 0x48, 0x0f, 0x07);
	g->s.regs[REG_RCX] = 0x800000000000;
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_mode(g, LONG64, 3);
	CODE(g, 0x48, 0x0f, 0x07);
	expect(g, EXC_GP, 0, GUEST_USER_CODE);
	guest_free(g);
}

static void sysenter_and_sysexit(void **state)
{
	for (enum guest_mode mode = PROT32; mode <= COMPAT32; mode++) {
		GUEST(mode, 3);
		CODE(g, 0x0f, 0x34);
		guest_code(g, GUEST_USER_CODE + 0x100, "\xcc", 1);
		static const u8 kernel[] = {0x89, 0xe6, 0x0f, 0x35}; /* mov %esp, %esi; sysexit */
		memcpy(g->ram + GUEST_CODE, kernel, sizeof(kernel));
		g->s.sysenter_cs = CODE64;
		if (mode == PROT32) /* the same layout, one slot down */
			g->s.sysenter_cs = CODE64;
		g->s.sysenter_eip = GUEST_CODE;
		g->s.sysenter_esp = 0x12340;
		g->s.regs[REG_RDX] = GUEST_USER_CODE + 0x100;
		g->s.regs[REG_RCX] = GUEST_USER_STACK;
		struct frame f = expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 0x101);
		assert_int_equal(g->s.regs[REG_RSI], 0x12340);
		assert_int_equal(f.cs, USER_CODE32);
		assert_int_equal(f.ss, USER_DATA);
		assert_int_equal(f.rsp, GUEST_USER_STACK);
		guest_mode(g, mode, 3);
		expect(g, EXC_GP, 0, GUEST_USER_CODE);
		guest_free(g);
	}
}

/* ---- tasks ---- */

static void task_two(struct guest *g, u32 eip)
{
	put32(g, GUEST_TSS2 + 0x20, eip);
	put32(g, GUEST_TSS2 + 0x24, FLAG_ONE);
	put32(g, GUEST_TSS2 + 0x28 + 4 * REG_RSP, 0x60000);
	put32(g, GUEST_TSS2 + 0x28 + 4 * REG_RBX, 0x77);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		put32(g, GUEST_TSS2 + 0x48 + 4 * i, i == SEG_CS ? CODE32 : DATA);
	put32(g, GUEST_TSS2 + 0x60, 0);
	put32(g, GUEST_TSS2 + 0x64, 0x680000);
}

static unsigned tss_type(struct guest *g, u16 selector) { return get64(g, GUEST_GDT + selector) >> 40 & 0xf; }

static void task_call_and_return(void **state)
{
	GUEST(PROT32, 0);
	task_two(g, GUEST_USER_CODE);
	CODE(g, 0x9a, 0, 0, 0, 0, TSS2_SEL, 0, 0x90); /* lcall */
	g->s.regs[REG_RSI] = 0x4242;
	guest_code(g, GUEST_USER_CODE, "\x90", 1);
	expect_end(g, GUEST_USER_CODE + 1);
	assert_int_equal(g->s.tr.selector, TSS2_SEL);
	assert_int_equal(g->s.regs[REG_RBX], 0x77);
	assert_int_equal(g->s.regs[REG_RSP], 0x60000);
	assert_true(g->s.rflags & FLAG_NT);
	assert_true(g->s.cr0 & CR0_TS);
	assert_int_equal(get16(g, GUEST_TSS2), TSS_SEL);
	assert_int_equal(get32(g, GUEST_TSS + 0x20), GUEST_CODE + 7);
	assert_int_equal(get32(g, GUEST_TSS + 0x28 + 4 * REG_RSI), 0x4242);
	assert_int_equal(tss_type(g, TSS_SEL), 0xb);
	assert_int_equal(tss_type(g, TSS2_SEL), 0xb);
	/* and back */
	guest_code(g, GUEST_USER_CODE, "\xcf", 1);
	g->s.rip = GUEST_USER_CODE;
	expect_end(g, GUEST_CODE + 8);
	assert_int_equal(g->s.tr.selector, TSS_SEL);
	assert_int_equal(g->s.regs[REG_RSI], 0x4242);
	assert_false(g->s.rflags & FLAG_NT);
	assert_int_equal(tss_type(g, TSS_SEL), 0xb);
	assert_int_equal(tss_type(g, TSS2_SEL), 0x9);
	assert_false(get32(g, GUEST_TSS2 + 0x24) & FLAG_NT);
	guest_free(g);
}

static void task_jump_clears_busy(void **state)
{
	GUEST(PROT32, 0);
	task_two(g, GUEST_USER_CODE);
	CODE(g, 0xea, 0, 0, 0, 0, TASK_GATE_SEL, 0);
	guest_code(g, GUEST_USER_CODE, "\x90", 1);
	expect_end(g, GUEST_USER_CODE + 1);
	assert_int_equal(tss_type(g, TSS_SEL), 0x9);
	assert_int_equal(tss_type(g, TSS2_SEL), 0xb);
	assert_false(g->s.rflags & FLAG_NT);
	/* A busy one cannot be entered. */
	guest_mode(g, PROT32, 0);
	CODE(g, 0xea, 0, 0, 0, 0, TSS_SEL, 0);
	expect(g, EXC_GP, TSS_SEL, GUEST_CODE);
	/* A short one neither. */
	guest_mode(g, PROT32, 0);
	set_desc(g, TSS2_SEL, descriptor(GUEST_TSS2, 0x66, 0x89));
	CODE(g, 0xea, 0, 0, 0, 0, TSS2_SEL, 0);
	expect(g, EXC_TS, TSS2_SEL, GUEST_CODE);
	guest_free(g);
}

static void fault_through_task_gate(void **state)
{
	GUEST(PROT32, 0);
	task_two(g, GUEST_USER_CODE);
	set_gate(g, EXC_GP, gate(TSS2_SEL, 0, 0x85, 0), 0);
	CODE(g, 0x8e, 0xd8);
	g->s.regs[REG_RAX] = GDT_END;
	guest_code(g, GUEST_USER_CODE, "\x90", 1);
	expect_end(g, GUEST_USER_CODE + 1);
	assert_int_equal(g->s.regs[REG_RSP], 0x60000 - 4);
	assert_int_equal(get32(g, 0x60000 - 4), GDT_END);
	assert_int_equal(get32(g, GUEST_TSS + 0x20), GUEST_CODE);
	guest_free(g);
}

static void task_trap_bit(void **state)
{
	GUEST(PROT32, 0);
	task_two(g, GUEST_USER_CODE);
	put32(g, GUEST_TSS2 + 0x64, 0x680001);
	CODE(g, 0xea, 0, 0, 0, 0, TSS2_SEL, 0);
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_USER_CODE);
	assert_int_equal(g->s.dr6, 0xffff8ff0);
	guest_free(g);
}

static void task_bad_segment_is_of_new_task(void **state)
{
	GUEST(PROT32, 0);
	task_two(g, GUEST_USER_CODE);
	put32(g, GUEST_TSS2 + 0x48 + 4 * SEG_DS, ABSENT_DATA);
	CODE(g, 0xea, 0, 0, 0, 0, TSS2_SEL, 0);
	expect(g, EXC_NP, ABSENT_DATA, GUEST_USER_CODE);
	assert_int_equal(g->s.tr.selector, TSS2_SEL);
	guest_free(g);
}

/* ---- virtual-8086 mode ---- */

static void enter_v86(struct guest *g, u32 flags)
{
	u32 at;

	guest_mode(g, PROT32, 0);
	CODE(g, 0xcf);
	iret_frame(g, 0x10, GUEST_USER_CODE >> 4, FLAG_ONE | FLAG_VM | flags, 0xfff0, 0x1000);
	at = GUEST_STACK + 20;
	put32(g, at, 0x1111);
	put32(g, at + 4, 0x2222);
	put32(g, at + 8, 0x3333);
	put32(g, at + 12, 0x4444);
}

static void v86_interrupt_frame(void **state)
{
	struct guest *g = guest_new();

	enter_v86(g, FLAG_IOPL);
	guest_code(g, GUEST_USER_CODE + 0x10, "\xcd\x80", 2);
	struct frame f = expect(g, 0x80, NO_ERROR_CODE, 0x12);
	u64 sp = g->s.regs[REG_RSP];
	assert_int_equal(sp, GUEST_STACK0 - 36);
	assert_int_equal(f.cs, GUEST_USER_CODE >> 4);
	assert_int_equal(f.flags, FLAG_ONE | FLAG_VM | FLAG_IOPL);
	assert_int_equal(f.rsp, 0xfff0);
	assert_int_equal(f.ss, 0x1000);
	assert_int_equal(get32(g, sp + 20), 0x1111);
	assert_int_equal(get32(g, sp + 24), 0x2222);
	assert_int_equal(get32(g, sp + 28), 0x3333);
	assert_int_equal(get32(g, sp + 32), 0x4444);
	assert_false(g->s.rflags & FLAG_VM);
	assert_int_equal(g->s.seg[SEG_DS].selector, 0);
	guest_free(g);
}

static void v86_sensitive(void **state)
{
	static const u8 codes[][2] = {{0xcd, 0x80}, {0xfa, 0x90}, {0xfb, 0x90}, {0xcf, 0x90}};
	struct guest *g = guest_new();

	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
		enter_v86(g, 0);
		guest_code(g, GUEST_USER_CODE + 0x10, codes[i], 2);
		struct frame f = expect(g, EXC_GP, 0, 0x10);
		assert_int_equal(f.flags, FLAG_ONE | FLAG_VM | FLAG_RF);
	}
	/* INT3 is not sensitive; privileged and protected-mode instructions fault. */
	enter_v86(g, 0);
	guest_code(g, GUEST_USER_CODE + 0x10, "\xcc", 1);
	expect(g, EXC_BP, NO_ERROR_CODE, 0x11);
	enter_v86(g, 0);
	guest_code(g, GUEST_USER_CODE + 0x10, "\xf4", 1);
	expect(g, EXC_GP, 0, 0x10);
	enter_v86(g, 0);
	guest_code(g, GUEST_USER_CODE + 0x10, "\x0f\x00\xd8", 3); /* ltr */
	expect(g, EXC_UD, NO_ERROR_CODE, 0x10);
	guest_free(g);
}

/* ---- debugging ---- */

#define DR6(bits) (0xffff0ff0u | (bits))

static void single_step(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x90, 0x90);
	g->s.rflags |= FLAG_TF;
	struct frame f = expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE + 1);
	assert_int_equal(f.flags, FLAG_ONE | FLAG_TF);
	assert_int_equal(g->s.dr6, DR6(BIT(14)));
	/* MOV SS: the trap comes after the next instruction. */
	guest_mode(g, LONG64, 0);
	CODE(g, 0x8e, 0xd0, 0x90);
	g->s.regs[REG_RAX] = DATA;
	g->s.rflags |= FLAG_TF;
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE + 3);
	/* HLT: the trap wakes. */
	guest_mode(g, LONG64, 0);
	CODE(g, 0xf4);
	g->s.rflags |= FLAG_TF;
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE + 1);
	/* A fault is delivered without a trap, with TF saved. */
	guest_mode(g, LONG64, 0);
	CODE(g, 0x0f, 0x0b);
	g->s.rflags |= FLAG_TF;
	f = expect(g, EXC_UD, NO_ERROR_CODE, GUEST_CODE);
	assert_true(f.flags & FLAG_TF);
	guest_free(g);
}

static void instruction_breakpoint(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x90, 0x90);
	g->s.dr[2] = GUEST_CODE + 1;
	g->s.dr7 |= BIT(5);
	g->s.dr6 = DR6(BIT(14) | BIT(1));
	struct frame f = expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE + 1);
	assert_int_equal(f.flags & FLAG_RF, 0);
	assert_int_equal(g->s.dr6, DR6(BIT(14) | BIT(2)));
	/* RF lets it pass once. */
	guest_mode(g, LONG64, 0);
	g->s.rip = GUEST_CODE + 1;
	g->s.dr[2] = GUEST_CODE + 1;
	g->s.dr7 |= BIT(5);
	g->s.rflags |= FLAG_RF;
	expect_end(g, GUEST_CODE + 2);
	assert_false(g->s.rflags & FLAG_RF);
	guest_free(g);
}

static void data_breakpoint(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x89, 0x03, 0x90); /* mov %eax, (%rbx) */
	g->s.regs[REG_RBX] = GUEST_DATA + 2;
	g->s.dr[1] = GUEST_DATA + 4;
	g->s.dr7 |= BIT(3) | 0xdULL << 20; /* G1, write, 4 bytes */
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE + 2);
	assert_int_equal(g->s.dr6, DR6(BIT(1)));
	/* A read does not match a write breakpoint. */
	guest_mode(g, LONG64, 0);
	CODE(g, 0x8b, 0x03, 0x90);
	g->s.regs[REG_RBX] = GUEST_DATA + 4;
	g->s.dr[1] = GUEST_DATA + 4;
	g->s.dr7 |= BIT(3) | 0xdULL << 20;
	expect_end(g, GUEST_CODE + 3);
	guest_free(g);
}

static void mov_ss_holds_breakpoint_for_icebp(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x8e, 0x13, 0xf1); /* mov (%rbx), %ss; int1 */
	put16(g, GUEST_DATA, DATA);
	g->s.regs[REG_RBX] = GUEST_DATA;
	g->s.dr[1] = GUEST_DATA;
	g->s.dr7 |= BIT(3) | 0xfULL << 20; /* read or write */
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE + 3);
	assert_int_equal(g->s.dr6, DR6(BIT(1)));
	assert_int_equal(g->s.regs[REG_RSP], GUEST_STACK - 40);
	/* Before INT n: the trap is taken in front of the handler. */
	guest_mode(g, LONG64, 0);
	CODE(g, 0x8e, 0x13, 0xcd, 0x40);
	g->s.regs[REG_RBX] = GUEST_DATA;
	g->s.dr[1] = GUEST_DATA;
	g->s.dr7 |= BIT(3) | 0xfULL << 20;
	expect(g, EXC_DB, NO_ERROR_CODE, handler(0x40));
	guest_free(g);
}

static void io_breakpoint(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xe4, 0x71, 0x90); /* in $0x71, %al */
	g->s.dr[0] = 0x70;
	g->s.dr7 |= BIT(1) | 6ULL << 16; /* G0, I/O, 2 bytes */
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE + 2);
	assert_int_equal(g->s.dr6, DR6(BIT(0)));
	guest_free(g);
}

static void general_detect(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x21, 0xf0); /* mov %dr6, %rax */
	g->s.dr7 |= BIT(13);
	struct frame f = expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE);
	assert_int_equal(g->s.dr6, DR6(BIT(13)));
	assert_int_equal(f.flags, FLAG_ONE | FLAG_RF);
	assert_int_equal(g->s.dr7, 0x400);
	guest_free(g);
}

static void icebp(void **state)
{
	GUEST(LONG64, 3);
	CODE(g, 0xf1);
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_USER_CODE + 1);
	assert_int_equal(g->s.dr6, DR6(0));
	guest_free(g);
}

static void debug_registers(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x23, 0xf3, 0x0f, 0x21, 0xf0, 0x0f, 0x23, 0xfb, 0x0f, 0x21, 0xf9); /* dr6, dr7 = rbx; rax = dr6; rcx = dr7 */
	g->s.regs[REG_RBX] = 0xffffdf00; /* all but GD and the enables */
	expect_end(g, GUEST_CODE + 12);
	assert_int_equal(g->s.regs[REG_RAX], 0xffffcff0);
	assert_int_equal(g->s.regs[REG_RCX], 0xffff0700);
	guest_mode(g, LONG64, 0);
	g->s.regs[REG_RBX] = BIT(32);
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_mode(g, LONG64, 0); /* CR4.DE: no DR4 */
	CODE(g, 0x0f, 0x21, 0xe0);
	expect(g, EXC_UD, NO_ERROR_CODE, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	g->s.cr4 &= ~CR4_DE;
	expect_end(g, GUEST_CODE + 3);
	assert_int_equal(g->s.regs[REG_RAX], DR6(0));
	guest_free(g);
}


/* ---- more of debugging ---- */

static void step_follows_syscall(void **state)
{
	GUEST(LONG64, 3);
	CODE(g, 0x0f, 0x05, 0x90);
	g->s.star = (u64)(USER_CODE32) << 48 | (u64)CODE64 << 32;
	g->s.lstar = GUEST_CODE;
	g->s.sfmask = FLAG_TF;
	g->s.rflags |= FLAG_TF;
	/* The kernel runs unstepped; SYSRET loads TF, and the trap comes at once. */
	static const u8 kernel[] = {0x90, 0x90, 0x48, 0x0f, 0x07};
	memcpy(g->ram + GUEST_CODE, kernel, sizeof(kernel));
	struct frame f = expect(g, EXC_DB, NO_ERROR_CODE, GUEST_USER_CODE + 2);
	assert_int_equal(f.cs, USER_CODE64);
	assert_int_equal(g->s.dr6, DR6(BIT(14)));
	/* Without a mask, the trap is in front of the kernel's first instruction. */
	guest_mode(g, LONG64, 3);
	g->s.star = (u64)(USER_CODE32) << 48 | (u64)CODE64 << 32;
	g->s.lstar = GUEST_CODE;
	g->s.rflags |= FLAG_TF;
	f = expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE);
	assert_int_equal(f.cs, CODE64);
	guest_free(g);
}

static void popf_steps_after_next(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x9d, 0x90, 0x90); /* popf; nop; nop */
	put64(g, GUEST_STACK, FLAG_ONE | FLAG_TF);
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE + 2);
	/* IRET too. */
	guest_mode(g, LONG64, 0);
	CODE(g, 0x48, 0xcf);
	guest_code(g, GUEST_USER_CODE, "\x90\x90", 2);
	iret_frame(g, GUEST_USER_CODE, CODE64, FLAG_ONE | FLAG_TF, GUEST_USER_STACK, DATA);
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_USER_CODE + 1);
	guest_free(g);
}

static void step_sees_each_iteration(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xf3, 0xa4); /* rep movsb */
	g->s.regs[REG_RCX] = 3;
	g->s.regs[REG_RSI] = GUEST_DATA;
	g->s.regs[REG_RDI] = GUEST_DATA + 0x100;
	g->s.rflags |= FLAG_TF;
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE);
	assert_int_equal(g->s.regs[REG_RCX], 2);
	/* A data breakpoint stops behind its iteration. */
	guest_mode(g, LONG64, 0);
	g->s.regs[REG_RCX] = 5;
	g->s.regs[REG_RSI] = GUEST_DATA;
	g->s.regs[REG_RDI] = GUEST_DATA + 0x100;
	g->s.dr[0] = GUEST_DATA + 0x102;
	g->s.dr7 |= BIT(1) | 1ULL << 16;
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE);
	assert_int_equal(g->s.regs[REG_RCX], 2);
	assert_int_equal(g->s.dr6, DR6(BIT(0)));
	guest_free(g);
}

static void int_n_is_not_stepped(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xcd, 0x40);
	g->s.rflags |= FLAG_TF;
	struct frame f = expect(g, 0x40, NO_ERROR_CODE, GUEST_CODE + 2);
	assert_true(f.flags & FLAG_TF);
	guest_free(g);
}

/* ---- mode switches by the guest itself ---- */

static void real_to_long(void **state)
{
	GUEST(REAL, 0);
	static const u8 real[] = {
		0x66, 0x0f, 0x01, 0x16, 0x00, 0x06, /* lgdtl 0x600 */
		0x66, 0xb8, 0x20, 0, 0, 0,          /* mov $CR4_PAE, %eax */
		0x0f, 0x22, 0xe0,                   /* mov %eax, %cr4 */
		0x66, 0xb8, 0x00, 0x00, 0x10, 0,    /* mov $GUEST_PML4, %eax */
		0x0f, 0x22, 0xd8,                   /* mov %eax, %cr3 */
		0x66, 0xb9, 0x80, 0, 0, 0xc0,       /* mov $MSR_EFER, %ecx */
		0x0f, 0x32, 0x80, 0xcc, 0x01,       /* rdmsr; or $1, %ah */
		0x0f, 0x30,                         /* wrmsr */
		0x66, 0xb8, 0x11, 0, 0, 0x80,       /* mov $PG|ET|PE, %eax */
		0x0f, 0x22, 0xc0,                   /* mov %eax, %cr0 */
		0xea, 0x00, 0x90, CODE64, 0x00,     /* ljmp $CODE64, $0x9000 */
	};
	static const u8 code64[] = {0xb8, DATA, 0, 0, 0, 0x8e, 0xd0, 0x48, 0xb9, 1, 2, 3, 4, 5, 6, 7, 8, 0x90};
	g->is_long = true;
	guest_tables(g);
	put16(g, 0x600, GDT_END - 1);
	put32(g, 0x602, GUEST_GDT);
	guest_code(g, GUEST_CODE, real, sizeof(real));
	guest_code(g, GUEST_USER_CODE, code64, sizeof(code64));
	expect_end(g, GUEST_USER_CODE + sizeof(code64));
	assert_int_equal(g->s.regs[REG_RCX], 0x0807060504030201);
	assert_int_equal(g->s.efer, EFER_LME | EFER_LMA);
	assert_int_equal(g->s.seg[SEG_CS].selector, CODE64);
	/* And out again: compatibility mode first, then paging off. */
	static const u8 out64[] = {0x48, 0xcb};
	static const u8 out32[] = {0x0f, 0x20, 0xc0, 0x0f, 0xba, 0xf0, 31, 0x0f, 0x22, 0xc0, 0x90};
	guest_code(g, GUEST_CODE, out64, sizeof(out64));
	guest_code(g, GUEST_USER_CODE, out32, sizeof(out32));
	g->s.rip = GUEST_CODE;
	g->s.regs[REG_RSP] = GUEST_STACK;
	put64(g, GUEST_STACK, (u64)CODE32 << 32 | GUEST_USER_CODE); /* 32-bit operands */
	guest_code(g, GUEST_CODE, "\xcb", 1);
	expect_end(g, GUEST_USER_CODE + sizeof(out32));
	assert_int_equal(g->s.efer, EFER_LME);
	assert_false(g->s.cr0 & CR0_PG);
	guest_free(g);
}

static void real_to_protected_and_back(void **state)
{
	GUEST(REAL, 0);
	static const u8 real[] = {
		0x66, 0x0f, 0x01, 0x16, 0x00, 0x06, /* lgdtl 0x600 */
		0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, /* cr0 |= PE */
		0x66, 0xea, 0x00, 0x90, 0x00, 0x00, CODE32, 0x00, /* ljmpl */
	};
	static const u8 prot[] = {
		0x66, 0xb8, DATA, 0, 0x8e, 0xd8, /* mov $DATA, %ax; mov %ax, %ds */
		0xc7, 0x05, 0x00, 0x00, 0x20, 0x00, 0x78, 0x56, 0x34, 0x12, /* movl $0x12345678, 0x200000 */
		0xea, 0x00, 0xa0, 0, 0, CODE16, 0, /* ljmp $CODE16, $0xa000 */
	};
	static const u8 prot16[] = {
		0x0f, 0x20, 0xc0, 0x24, 0xfe, 0x0f, 0x22, 0xc0, /* cr0 &= ~PE */
		0xea, 0x00, 0xb0, 0x00, 0x00,                   /* ljmp $0, $0xb000 */
	};
	guest_tables(g);
	put16(g, 0x600, GDT_END - 1);
	put32(g, 0x602, GUEST_GDT);
	guest_code(g, GUEST_CODE, real, sizeof(real));
	guest_code(g, GUEST_USER_CODE, prot, sizeof(prot));
	guest_code(g, GUEST_DATA, prot16, sizeof(prot16));
	/* The cached limit of DS stays 4 GiB: movl 0x200000, %ebx */
	static const u8 real2[] = {0x67, 0x66, 0x8b, 0x1d, 0x00, 0x00, 0x20, 0x00};
	guest_code(g, 0xb000, real2, sizeof(real2));
	expect_end(g, 0xb000 + sizeof(real2));
	assert_int_equal((u32)g->s.regs[REG_RBX], 0x12345678);
	assert_int_equal(g->s.seg[SEG_CS].selector, 0);
	assert_false(g->s.cr0 & CR0_PE);
	guest_free(g);
}

static void compat_interrupt_frame(void **state)
{
	GUEST(COMPAT32, 3);
	CODE(g, 0xcd, 0x80);
	struct frame f = expect(g, 0x80, NO_ERROR_CODE, GUEST_USER_CODE + 2);
	assert_int_equal(f.cs, USER_CODE32);
	assert_int_equal(f.ss, USER_DATA);
	assert_int_equal(f.rsp, GUEST_USER_STACK);
	assert_int_equal(g->s.regs[REG_RSP], GUEST_STACK0 - 40);
	assert_int_equal(g->s.seg[SEG_CS].selector, CODE64);
	guest_free(g);
}

static void gate_16(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0xcd, 0x40);
	set_gate(g, 0x40, gate(CODE32, handler(0x40), 0x86, 0), 0);
	g->s.rflags |= FLAG_IF;
	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(guest_vector(g), 0x40);
	assert_int_equal(g->s.regs[REG_RSP], GUEST_STACK - 6);
	assert_int_equal(get16(g, GUEST_STACK - 6), GUEST_CODE + 2);
	assert_int_equal(get16(g, GUEST_STACK - 4), CODE32);
	assert_int_equal(get16(g, GUEST_STACK - 2), FLAG_ONE | FLAG_IF);
	assert_false(g->s.rflags & FLAG_IF);
	/* A trap gate leaves IF. */
	guest_mode(g, PROT32, 0);
	set_gate(g, 0x40, gate(CODE32, handler(0x40), 0x8f, 0), 0);
	g->s.rflags |= FLAG_IF;
	expect(g, 0x40, NO_ERROR_CODE, GUEST_CODE + 2);
	assert_true(g->s.rflags & FLAG_IF);
	guest_free(g);
}

static void tss_faults(void **state)
{
	static const struct {
		u16 ss;
		int vector;
		u32 error;
	} cases[] = {{0, EXC_TS, 0}, {GDT_END, EXC_TS, GDT_END}, {READ_ONLY, EXC_TS, READ_ONLY}, {USER_DATA, EXC_TS, USER_DATA & ~3},
		     {DATA | 1, EXC_TS, DATA}, {ABSENT_DATA, EXC_SS, ABSENT_DATA}};
	struct guest *g = guest_new();

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		guest_mode(g, PROT32, 3);
		CODE(g, 0xcd, 0x80);
		put32(g, GUEST_TSS + 8, cases[i].ss);
		/* The fault itself goes to level 3 code, as no stack of level 0 can be had. */
		set_desc(g, CONFORMING, descriptor(0, 0xfffff, 0xc0ff));
		set_gate(g, (unsigned)cases[i].vector, gate(CONFORMING, handler((unsigned)cases[i].vector), 0x8e, 0), 0);
		g->s.rflags |= FLAG_IOPL; /* its OUT */
		expect(g, cases[i].vector, cases[i].error, GUEST_USER_CODE);
	}
	/* A TSS that is too short. */
	guest_mode(g, PROT32, 3);
	set_desc(g, CONFORMING, descriptor(0, 0xfffff, 0xc0ff));
	set_gate(g, EXC_TS, gate(CONFORMING, handler(EXC_TS), 0x8e, 0), 0);
	g->s.rflags |= FLAG_IOPL;
	g->s.tr.limit = 8;
	expect(g, EXC_TS, TSS_SEL, GUEST_USER_CODE);
	guest_free(g);
}

static void stack_limit(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0x50); /* push %eax */
	g->s.seg[SEG_SS] = guest_segment(g, EXPAND_DOWN);
	g->s.regs[REG_RSP] = 0x1002; /* below 0x1000: outside */
	set_gate(g, EXC_SS, gate(TSS2_SEL, 0, 0x85, 0), 0);
	task_two(g, GUEST_DATA);
	guest_code(g, GUEST_DATA, "\x90", 1);
	expect_end(g, GUEST_DATA + 1);
	assert_int_equal(get32(g, 0x60000 - 4), 0);
	assert_int_equal(get32(g, GUEST_TSS + 0x20), GUEST_CODE);
	guest_free(g);
}

/* ---- more of tasks and virtual-8086 mode ---- */

static void task_to_v86_and_back(void **state)
{
	GUEST(PROT32, 0);
	task_two(g, 0x10);
	set_desc(g, TSS2_SEL, descriptor(GUEST_TSS2, 0x67, 0x8b)); /* busy: IRET goes there */
	put32(g, GUEST_TSS2 + 0x24, FLAG_ONE | FLAG_VM);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		put32(g, GUEST_TSS2 + 0x48 + 4 * i, i == SEG_CS ? GUEST_DATA >> 4 : 0x1234 + i);
	put16(g, GUEST_TSS, TSS2_SEL);
	set_gate(g, EXC_UD, gate(TSS_SEL, 0, 0x85, 0), 0);
	CODE(g, 0xcf, 0x90);
	g->s.rflags |= FLAG_NT;
	memcpy(g->ram + GUEST_DATA + 0x10, "\x0f\x0b", 2);
	expect_end(g, GUEST_CODE + 2);
	assert_int_equal(get32(g, GUEST_TSS2 + 0x20), 0x10);
	assert_int_equal(get32(g, GUEST_TSS2 + 0x24) & (FLAG_VM | FLAG_RF), FLAG_VM | FLAG_RF);
	assert_int_equal(get16(g, GUEST_TSS2 + 0x48 + 4 * SEG_DS), 0x1234 + SEG_DS);
	assert_int_equal(g->s.tr.selector, TSS_SEL);
	assert_true(g->s.rflags & FLAG_NT);
	guest_free(g);
}

static void task_with_conforming_code(void **state)
{
	GUEST(PROT32, 0);
	task_two(g, GUEST_USER_CODE);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		put32(g, GUEST_TSS2 + 0x48 + 4 * i, i == SEG_CS ? CONFORMING | 3 : USER_DATA);
	put32(g, GUEST_TSS2 + 0x24, FLAG_ONE | FLAG_IOPL);
	CODE(g, 0x9a, 0, 0, 0, 0, TSS2_SEL, 0);
	guest_code(g, GUEST_USER_CODE, "\x90", 1);
	expect_end(g, GUEST_USER_CODE + 1);
	assert_int_equal(g->s.seg[SEG_CS].selector, CONFORMING | 3);
	guest_free(g);
}

static void external_interrupt_through_task_gate(void **state)
{
	GUEST(PROT32, 0);
	task_two(g, GUEST_USER_CODE);
	set_gate(g, 0x55, gate(TSS2_SEL, 0, 0x85, 0), 0);
	CODE(g, 0x90, 0x90);
	guest_code(g, GUEST_USER_CODE, "\xcf", 1);
	g->s.rflags |= FLAG_IF;
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR);
	expect_end(g, GUEST_CODE + 2);
	assert_int_equal(get32(g, GUEST_TSS2 + 0x20), GUEST_USER_CODE + 1);
	assert_true(g->s.rflags & FLAG_IF);
	guest_free(g);
}

static void v86_iret_keeps_iopl(void **state)
{
	struct guest *g = guest_new();

	enter_v86(g, FLAG_IOPL);
	guest_code(g, GUEST_USER_CODE + 0x10, "\xcf", 1);
	put16(g, 0x10000 + 0xfff0, 0x20);
	put16(g, 0x10000 + 0xfff2, GUEST_USER_CODE >> 4);
	put16(g, 0x10000 + 0xfff4, FLAG_ONE | FLAG_CF | FLAG_IF);
	guest_code(g, GUEST_USER_CODE + 0x20, "\xcd\x80", 2);
	struct frame f = expect(g, 0x80, NO_ERROR_CODE, 0x22);
	assert_int_equal(f.flags, FLAG_ONE | FLAG_VM | FLAG_IOPL | FLAG_CF | FLAG_IF);
	guest_free(g);
}

/* ---- odds and ends ---- */

static void ldt_segments(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0x0f, 0x00, 0xd3, 0x8e, 0xd8); /* lldt %bx; mov %eax, %ds */
	g->s.regs[REG_RBX] = LDT_SEL;
	g->s.regs[REG_RAX] = 8 | 4;
	put64(g, GUEST_LDT + 8, descriptor(0x1000, 0xfff, 0x4093));
	expect_end(g, GUEST_CODE + 5);
	assert_int_equal(g->s.seg[SEG_DS].base, 0x1000);
	guest_mode(g, PROT32, 0);
	g->s.regs[REG_RBX] = LDT_SEL;
	g->s.regs[REG_RAX] = 0x100 | 4;
	expect(g, EXC_GP, 0x104, GUEST_CODE + 3);
	guest_free(g);
}

static void push_segment_writes_half(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0x1e); /* push %ds */
	put32(g, GUEST_STACK - 4, 0xaaaaaaaa);
	expect_end(g, GUEST_CODE + 1);
	assert_int_equal(get32(g, GUEST_STACK - 4), 0xaaaa0000 | DATA);
	assert_int_equal(g->s.regs[REG_RSP], GUEST_STACK - 4);
	guest_mode(g, LONG64, 0);
	CODE(g, 0x0f, 0xa0, 0x66, 0x0f, 0xa0); /* push %fs; pushw %fs */
	put64(g, GUEST_STACK - 8, -1ULL);
	expect_end(g, GUEST_CODE + 5);
	assert_int_equal(get64(g, GUEST_STACK - 8), DATA);
	assert_int_equal(g->s.regs[REG_RSP], GUEST_STACK - 10);
	guest_free(g);
}

static void alignment_check(void **state)
{
	GUEST(LONG64, 3);
	CODE(g, 0x8b, 0x03, 0xcc);
	g->s.regs[REG_RBX] = GUEST_DATA + 1;
	g->s.rflags |= FLAG_AC;
	g->s.cr0 |= CR0_AM;
	expect(g, EXC_AC, 0, GUEST_USER_CODE);
	guest_mode(g, LONG64, 3);
	g->s.regs[REG_RBX] = GUEST_DATA + 1;
	g->s.rflags |= FLAG_AC;
	expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 3);
	guest_free(g);
}

static void time_stamp_disable(void **state)
{
	GUEST(LONG64, 3);
	CODE(g, 0x0f, 0x31, 0xcc);
	g->s.cr4 |= CR4_TSD;
	expect(g, EXC_GP, 0, GUEST_USER_CODE);
	guest_mode(g, LONG64, 3);
	expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 3);
	guest_mode(g, LONG64, 0);
	CODE(g, 0x0f, 0x33); /* rdpmc */
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	CODE(g, 0x0f, 0x01, 0xf9);
	g->s.tsc_aux = 0x77;
	expect_end(g, GUEST_CODE + 3);
	assert_int_equal(g->s.regs[REG_RCX], 0x77);
	guest_free(g);
}

static void bases(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x01, 0xf8, 0xf3, 0x48, 0x0f, 0xae, 0xcb, 0x65, 0x48, 0x8b, 0x04, 0x25, 8, 0, 0, 0); /* swapgs; rdgsbase %rbx; mov %gs:8, %rax */
	g->s.cr4 |= CR4_FSGSBASE;
	g->s.kernel_gs_base = GUEST_DATA;
	g->s.seg[SEG_GS].base = 0xffff800000001000;
	put64(g, GUEST_DATA + 8, 0x1122334455667788);
	expect_end(g, GUEST_CODE + 17);
	assert_int_equal(g->s.regs[REG_RAX], 0x1122334455667788);
	assert_int_equal(g->s.regs[REG_RBX], GUEST_DATA);
	assert_int_equal(g->s.kernel_gs_base, 0xffff800000001000);
	guest_mode(g, LONG64, 3);
	CODE(g, 0x0f, 0x01, 0xf8);
	expect(g, EXC_GP, 0, GUEST_USER_CODE);
	guest_mode(g, LONG64, 3);
	CODE(g, 0xf3, 0x48, 0x0f, 0xae, 0xd3); /* wrfsbase %rbx */
	expect(g, EXC_UD, NO_ERROR_CODE, GUEST_USER_CODE);
	guest_mode(g, LONG64, 3);
	g->s.cr4 |= CR4_FSGSBASE;
	g->s.regs[REG_RBX] = 0x800000000000;
	expect(g, EXC_GP, 0, GUEST_USER_CODE);
	guest_free(g);
}

static void null_gs_keeps_base_on_iret(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x48, 0xcf);
	guest_code(g, GUEST_USER_CODE, "\x65\x8b\x04\x25\x08\x00\x00\x00\xcc", 9); /* mov %gs:8, %eax; int3 */
	g->s.seg[SEG_GS].base = GUEST_DATA;
	put32(g, GUEST_DATA + 8, 0x1234);
	iret_frame(g, GUEST_USER_CODE, USER_CODE64, FLAG_ONE, GUEST_USER_STACK, USER_DATA);
	expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 9);
	assert_int_equal(g->s.regs[REG_RAX], 0x1234);
	assert_int_equal(g->s.seg[SEG_GS].selector, 0);
	guest_free(g);
}

static void pae_pdptes(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0x0f, 0x22, 0xd8, 0x0f, 0x22, 0xc3, 0x90); /* mov %eax, %cr3; mov %ebx, %cr0; nop */
	g->s.cr4 |= CR4_PAE;
	g->s.regs[REG_RAX] = GUEST_PDPT;
	g->s.regs[REG_RBX] = g->s.cr0 | CR0_PG;
	put64(g, GUEST_PDPT, GUEST_PAGE_DIRECTORY | 1);
	put64(g, GUEST_PDPT + 8, 0);
	for (unsigned i = 0; i < 8; i++)
		put64(g, GUEST_PAGE_DIRECTORY + 8 * i, i * 2 * MiB | 0x87);
	expect_end(g, GUEST_CODE + 7);
	assert_true(g->s.cr0 & CR0_PG);
	/* A reserved bit in one. */
	guest_mode(g, PROT32, 0);
	g->s.cr4 |= CR4_PAE;
	g->s.regs[REG_RAX] = GUEST_PDPT;
	g->s.regs[REG_RBX] = g->s.cr0 | CR0_PG;
	put64(g, GUEST_PDPT + 8, 3);
	expect(g, EXC_GP, 0, GUEST_CODE + 3);
	guest_free(g);
}

static void invpcid_checks(void **state)
{
	static const struct {
		u64 type, pcid, address, cr4;
		bool ok;
	} cases[] = {
		{0, 0, 0x1000, 0, true},          {0, 1, 0x1000, 0, false},         {0, 1, 0x1000, CR4_PCIDE, true},
		{0, 0x1000, 0, CR4_PCIDE, false}, {0, 0, 0x800000000000, 0, false}, {1, 0, 0x800000000000, 0, true},
		{1, 1, 0, 0, false},              {2, 10, 0, CR4_PCIDE, true},      {3, 0, 0, 0, true},
		{4, 0, 0, 0, false},
	};
	struct guest *g = guest_new();

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		guest_mode(g, LONG64, 0);
		CODE(g, 0x66, 0x0f, 0x38, 0x82, 0x18); /* invpcid (%rax), %rbx */
		g->s.cr4 |= cases[i].cr4;
		g->s.regs[REG_RAX] = GUEST_DATA;
		g->s.regs[REG_RBX] = cases[i].type;
		put64(g, GUEST_DATA, cases[i].pcid);
		put64(g, GUEST_DATA + 8, cases[i].address);
		if (cases[i].ok)
			expect_end(g, GUEST_CODE + 5);
		else
			expect(g, EXC_GP, 0, GUEST_CODE);
	}
	guest_free(g);
}

static void table_registers(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x01, 0x13, 0x0f, 0x01, 0x40, 0x10); /* lgdt (%rbx); sgdt 16(%rax) */
	g->s.regs[REG_RAX] = g->s.regs[REG_RBX] = GUEST_DATA;
	put16(g, GUEST_DATA, 0x1ff);
	put64(g, GUEST_DATA + 2, 0xffff800000123456);
	put64(g, GUEST_DATA + 24, -1ULL);
	expect_end(g, GUEST_CODE + 7);
	assert_int_equal(get64(g, GUEST_DATA + 18), 0xffff800000123456);
	assert_int_equal(get16(g, GUEST_DATA + 16), 0x1ff);
	assert_int_equal(get16(g, GUEST_DATA + 26), 0xffff);
	guest_mode(g, LONG64, 0);
	g->s.regs[REG_RBX] = GUEST_DATA;
	put64(g, GUEST_DATA + 2, 0x800000000000);
	expect(g, EXC_GP, 0, GUEST_CODE);
	/* A 16-bit LIDT loads 24 bits of base. */
	guest_mode(g, PROT32, 0);
	CODE(g, 0x66, 0x0f, 0x01, 0x13, 0x0f, 0x01, 0x18); /* lgdtw (%ebx); lidt (%eax) */
	g->s.regs[REG_RBX] = GUEST_DATA;
	g->s.regs[REG_RAX] = GUEST_DATA;
	put32(g, GUEST_DATA + 2, 0xff001000);
	expect_end(g, GUEST_CODE + 7);
	assert_int_equal(g->s.gdtr.base, 0x1000);
	assert_int_equal(g->s.idtr.base, 0xff001000);
	guest_free(g);
}

static void smap_smep(void **state)
{
	GUEST(LONG64, 0);
	/* 4..6 MiB stays open to the user, everything else is the supervisor's. */
	static const u8 code[] = {0x8b, 0x03, 0x0f, 0x01, 0xcb, 0x8b, 0x03, 0x0f, 0x01, 0xca, 0xff, 0xe3};
	for (unsigned i = 0; i < 4; i++) {
		guest_mode(g, LONG64, 0);
		for (unsigned k = 0; k < 8; k++)
			put64(g, GUEST_PAGE_DIRECTORY + 8 * k, k * 2 * MiB | (k == 2 ? 0x87 : 0x83));
		CODE(g, 0);
		guest_code(g, GUEST_CODE, code, sizeof(code));
		g->s.regs[REG_RBX] = 0x400000;
		g->s.cr4 |= i & 1 ? CR4_SMAP : 0;
		g->s.cr4 |= i & 2 ? CR4_SMEP : 0;
		g->ram[0x400000] = 0xcc;
		if (i & 1) {
			expect(g, EXC_PF, 1, GUEST_CODE);
			g->s.rip = GUEST_CODE + 2; /* with STAC it may, then CLAC */
		}
		if (i & 2)
			expect(g, EXC_PF, 0x11, 0x400000);
		else
			expect(g, EXC_BP, NO_ERROR_CODE, 0x400001);
	}
	guest_free(g);
}

/* ---- control registers, MSRs ---- */

static void write_cr(struct guest *g, unsigned n, u64 value, bool ok)
{
	CODE(g, 0x0f, 0x22, 0xc3 | n << 3); /* mov %rbx, %crN */
	g->s.regs[REG_RBX] = value;
	if (ok)
		expect_end(g, GUEST_CODE + 3);
	else
		expect(g, EXC_GP, 0, GUEST_CODE);
}

static void control_register_checks(void **state)
{
	GUEST(LONG64, 0);
	u64 cr0 = g->s.cr0, cr4 = g->s.cr4;
	const struct {
		u8 n;
		u64 value;
		bool ok;
	} cases[] = {
		{0, cr0 | CR0_AM, true},
		{0, cr0 & ~CR0_PG, false},
		{0, cr0 & ~CR0_PE, false},
		{0, cr0 | BIT(32), false},
		{0, cr0 | CR0_NW, false},
		{0, cr0 | CR0_NW | CR0_CD, true},
		{3, GUEST_PML4 | 0x18, true},
		{3, GUEST_PML4 | BIT(46), false},
		{3, GUEST_PML4 | BIT(63), false},
		{4, cr4 & ~CR4_PAE, false},
		{4, cr4 | CR4_VME, false},
		{4, cr4 | BIT(12), false}, /* LA57 */
		{4, cr4 | BIT(13), false}, /* VMXE */
		{4, cr4 | BIT(22), false}, /* PKE */
		{4, cr4 | BIT(23), false}, /* CET */
		{4, cr4 | BIT(32), false},
		{4, cr4 | CR4_PCIDE, true},
		{4, cr4 | CR4_SMEP | CR4_UMIP | CR4_FSGSBASE, true},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		guest_mode(g, LONG64, 0);
		if (cases[i].n == 4 && cases[i].value & CR4_SMEP) /* the tables are open to the user */
			for (unsigned k = 0; k < 8; k++)
				put64(g, GUEST_PAGE_DIRECTORY + 8 * k, k * 2 * MiB | 0x83);
		write_cr(g, cases[i].n, cases[i].value, cases[i].ok);
	}
	/* PCIDE wants CR3[11:0] = 0. */
	guest_mode(g, LONG64, 0);
	g->s.cr3 |= 0x18;
	write_cr(g, 4, cr4 | CR4_PCIDE, false);
	guest_mode(g, PROT32, 0);
	write_cr(g, 4, CR4_PCIDE, false);
	/* CR1 does not exist. */
	guest_mode(g, LONG64, 0);
	CODE(g, 0x0f, 0x20, 0xc8);
	expect(g, EXC_UD, NO_ERROR_CODE, GUEST_CODE);
	/* CR8 */
	guest_mode(g, LONG64, 0);
	CODE(g, 0x44, 0x0f, 0x22, 0xc3);
	g->s.regs[REG_RBX] = 16;
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_mode(g, LONG64, 0);
	g->s.regs[REG_RBX] = 9;
	expect_end(g, GUEST_CODE + 4);
	assert_int_equal(g->tpr, 9);
	guest_mode(g, LONG64, 3);
	CODE(g, 0x0f, 0x20, 0xc0);
	expect(g, EXC_GP, 0, GUEST_USER_CODE);
	guest_free(g);
}

static void umip(void **state)
{
	static const u8 codes[][3] = {
		{0x0f, 0x01, 0x03}, {0x0f, 0x01, 0x0b}, {0x0f, 0x00, 0x03}, {0x0f, 0x00, 0x0b}, {0x0f, 0x01, 0x23}};
	struct guest *g = guest_new();

	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++)
		for (unsigned on = 0; on < 2; on++) {
			guest_mode(g, LONG64, 3);
			CODE(g, codes[i][0], codes[i][1], codes[i][2], 0xcc);
			g->s.regs[REG_RBX] = GUEST_DATA;
			g->s.cr4 |= on ? CR4_UMIP : 0;
			if (on)
				expect(g, EXC_GP, 0, GUEST_USER_CODE);
			else
				expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 4);
		}
	guest_free(g);
}

static void msr(struct guest *g, u32 number, u64 value, bool ok, u64 expected)
{
	guest_mode(g, LONG64, 0);
	CODE(g, 0x0f, 0x30, 0x0f, 0x32); /* wrmsr; rdmsr */
	g->s.regs[REG_RCX] = number;
	g->s.regs[REG_RAX] = (u32)value;
	g->s.regs[REG_RDX] = value >> 32;
	if (!ok) {
		expect(g, EXC_GP, 0, GUEST_CODE);
		return;
	}
	expect_end(g, GUEST_CODE + 4);
	assert_int_equal(g->s.regs[REG_RDX] << 32 | g->s.regs[REG_RAX], expected);
}

static void msrs(void **state)
{
	struct guest *g = guest_new();
	const u64 bad = 0xaaaaaaaaaaaaaaaa, address = 0x0000123456789abc;

	msr(g, 0x174, 0x1234, true, 0x1234);
	msr(g, 0x175, address, true, address);
	msr(g, 0x175, bad, false, 0);
	msr(g, 0x1a0, 0x400c50809, true, (0x400c50809 & ~0x1880ULL) | 0x1800);
	msr(g, 0x1a0, 2, false, 0);
	msr(g, 0x277, 0x07070707, true, 0x07070707);
	msr(g, 0x277, 0x02, false, 0);
	msr(g, 0xc0000100, address, true, address);
	msr(g, 0xc0000102, bad, false, 0);
	msr(g, 0xc0000082, address, true, address);
	msr(g, 0xc0000082, bad, false, 0);
	msr(g, 0xc0000084, 0xffffffff, true, 0xffffffff);
	msr(g, 0xc0000080, EFER_LME | EFER_NXE, true, EFER_LME | EFER_LMA | EFER_NXE);
	msr(g, 0xc0000080, EFER_NXE, false, 0); /* LME cannot change under paging */
	msr(g, 0xc0000080, EFER_LME | BIT(12), false, 0);
	msr(g, 0xc0000103, BIT(32), false, 0);
	msr(g, 0x48, 7, true, 7);
	msr(g, 0x48, BIT(5), false, 0);
	msr(g, 0x200, 0x80000006, true, 0x80000006);
	msr(g, 0x200, 0x80000002, false, 0);
	msr(g, 0x20f, MASK(46) & ~0xfffULL, true, MASK(46) & ~0xfffULL);
	msr(g, 0x2ff, 0xc06, true, 0xc06);
	msr(g, 0x26f, 0x0606060606060606, true, 0x0606060606060606);
	msr(g, 0x26f, 0x0606060606060602, false, 0);
	msr(g, 0xfe, 0, false, 0);
	msr(g, 0x12345678, 0, false, 0);
	msr(g, 0x400, 0, false, 0); /* no machine-check banks */
	guest_free(g);
}

static void tsc_adjust_follows_tsc(void **state)
{
	GUEST(LONG64, 0);
	u64 offset;

	CODE(g, 0x0f, 0x30, 0xb9, 0x3b, 0, 0, 0, 0x0f, 0x32); /* wrmsr; mov $0x3b, %ecx; rdmsr */
	g->s.regs[REG_RCX] = 0x10;
	g->s.tsc_offset = -(clock_tsc() - 1000);
	offset = g->s.tsc_offset;
	expect_end(g, GUEST_CODE + 9);
	assert_int_equal(g->s.tsc_adjust, g->s.tsc_offset - offset);
	assert_int_equal(g->s.regs[REG_RDX] << 32 | g->s.regs[REG_RAX], g->s.tsc_adjust);
	guest_free(g);
}

static void smsw_lmsw(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0x0f, 0x01, 0xf3, 0x0f, 0x01, 0xe0); /* lmsw %bx; smsw %eax */
	g->s.regs[REG_RBX] = 0xe; /* PE stays */
	expect_end(g, GUEST_CODE + 6);
	assert_int_equal(g->s.cr0 & 0xf, 0xf);
	assert_int_equal((u32)g->s.regs[REG_RAX], (u32)g->s.cr0);
	guest_free(g);
}

static void descriptor_queries(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x02, 0xc3, 0x0f, 0x03, 0xcb); /* lar %ebx, %eax; lsl %ebx, %ecx */
	g->s.regs[REG_RBX] = DATA;
	expect_end(g, GUEST_CODE + 6);
	assert_int_equal(g->s.regs[REG_RAX], 0xc09300);
	assert_int_equal(g->s.regs[REG_RCX], 0xffffffff);
	assert_true(g->s.rflags & FLAG_ZF);
	guest_mode(g, LONG64, 0);
	g->s.regs[REG_RBX] = GDT_END;
	g->s.regs[REG_RAX] = 0x55;
	expect_end(g, GUEST_CODE + 6);
	assert_int_equal(g->s.regs[REG_RAX], 0x55);
	assert_false(g->s.rflags & FLAG_ZF);
	guest_mode(g, LONG64, 0);
	CODE(g, 0x0f, 0x00, 0xeb); /* verw %bx */
	g->s.regs[REG_RBX] = READ_ONLY;
	expect_end(g, GUEST_CODE + 3);
	assert_false(g->s.rflags & FLAG_ZF);
	guest_mode(g, REAL, 0);
	CODE(g, 0x0f, 0x00, 0xeb);
	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(guest_vector(g), EXC_UD);
	guest_free(g);
}

static void load_task_register(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0x0f, 0x00, 0xdb); /* ltr %bx */
	g->s.regs[REG_RBX] = TSS2_SEL;
	expect_end(g, GUEST_CODE + 3);
	assert_int_equal(tss_type(g, TSS2_SEL), 0xb);
	guest_mode(g, PROT32, 0);
	g->s.regs[REG_RBX] = TSS_SEL; /* busy */
	expect(g, EXC_GP, TSS_SEL, GUEST_CODE);
	guest_mode(g, PROT32, 0);
	g->s.regs[REG_RBX] = 0;
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_mode(g, PROT32, 0);
	CODE(g, 0x0f, 0x00, 0xd3); /* lldt */
	g->s.regs[REG_RBX] = LDT_SEL;
	expect_end(g, GUEST_CODE + 3);
	assert_int_equal(g->s.ldtr.base, GUEST_LDT);
	guest_mode(g, PROT32, 0);
	g->s.regs[REG_RBX] = DATA;
	expect(g, EXC_GP, DATA, GUEST_CODE);
	guest_free(g);
}

static void io_permission(void **state)
{
	GUEST(LONG64, 3);
	CODE(g, 0xe4, 0x71, 0xcc);
	memset(g->ram + GUEST_TSS + 0x68, 0, 0x40);
	expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 3);
	assert_int_equal(g->s.regs[REG_RAX] & 0xff, 0xa5);
	guest_mode(g, LONG64, 3);
	g->ram[GUEST_TSS + 0x68 + 0x71 / 8] = 1 << (0x71 & 7);
	expect(g, EXC_GP, 0, GUEST_USER_CODE);
	guest_mode(g, LONG64, 3);
	g->s.rflags |= FLAG_IOPL;
	expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 3);
	guest_mode(g, LONG64, 3);
	g->s.tr.limit = 0x67;
	expect(g, EXC_GP, 0, GUEST_USER_CODE);
	guest_free(g);
}

static void string_io(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xf3, 0x6d); /* rep insl */
	g->s.regs[REG_RCX] = 3;
	g->s.regs[REG_RDX] = 0x1234;
	g->s.regs[REG_RDI] = GUEST_DATA;
	expect_end(g, GUEST_CODE + 2);
	assert_int_equal(g->s.regs[REG_RCX], 0);
	assert_int_equal(g->s.regs[REG_RDI], GUEST_DATA + 12);
	assert_int_equal(get32(g, GUEST_DATA + 8), 0xa5a5a5a5);
	assert_int_equal(get32(g, GUEST_DATA + 12), 0);
	guest_free(g);
}

static void hypercalls(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x01, 0xc1);
	g->s.regs[REG_RAX] = 99;
	expect_end(g, GUEST_CODE + 3);
	assert_int_equal((s64)g->s.regs[REG_RAX], -1000);
	guest_mode(g, LONG64, 3);
	CODE(g, 0x0f, 0x01, 0xd9, 0xcc);
	expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 4);
	assert_int_equal((s64)g->s.regs[REG_RAX], -1);
	guest_free(g);
}

static void undefined_here(void **state)
{
	static const u8 codes[][4] = {
		{0x0f, 0x01, 0xc8, 0x90}, /* monitor */
		{0x0f, 0x01, 0xc9, 0x90}, /* mwait */
		{0x0f, 0x01, 0xfd, 0x90}, /* rdpru */
		{0x0f, 0x01, 0xee, 0x90}, /* rdpkru */
		{0x0f, 0xaa, 0x90, 0x90}, /* rsm */
		{0x0f, 0x37, 0x90, 0x90}, /* getsec */
		{0x0f, 0x01, 0xd5, 0x90}, /* xend */
		{0x0f, 0xff, 0xc0, 0x90}, /* ud0 */
		{0x0f, 0xb9, 0xc0, 0x90}, /* ud1 */
		{0x8e, 0xc8, 0x90, 0x90}, /* mov %eax, %cs */
		{0x0f, 0x01, 0xc2, 0x90}, /* vmlaunch */
		{0x0f, 0x01, 0xd8, 0x90}, /* vmrun */
	};
	struct guest *g = guest_new();

	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
		guest_mode(g, LONG64, 0);
		CODE(g, codes[i][0], codes[i][1], codes[i][2], codes[i][3]);
		expect(g, EXC_UD, NO_ERROR_CODE, GUEST_CODE);
	}
	/* STAC at level 3. */
	guest_mode(g, LONG64, 3);
	CODE(g, 0x0f, 0x01, 0xcb);
	expect(g, EXC_UD, NO_ERROR_CODE, GUEST_USER_CODE);
	guest_free(g);
}

static void cpuid_model(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0xa2);
	expect_end(g, GUEST_CODE + 2);
	assert_int_equal(g->s.regs[REG_RBX], 0x756e6547);
	guest_mode(g, LONG64, 0);
	g->s.regs[REG_RAX] = 0x40000000;
	expect_end(g, GUEST_CODE + 2);
	assert_int_equal(g->s.regs[REG_RAX], 0x40000001);
	assert_int_equal(g->s.regs[REG_RBX], 0x4b4d564b);
	guest_mode(g, LONG64, 0);
	g->s.regs[REG_RAX] = 1;
	expect_end(g, GUEST_CODE + 2);
	assert_int_equal(g->s.regs[REG_RAX], 0x606a6);
	assert_false(g->s.regs[REG_RCX] & BIT(27));
	assert_true(g->s.regs[REG_RDX] & BIT(9));
	guest_mode(g, LONG64, 0);
	g->s.regs[REG_RAX] = 1;
	g->s.cr4 |= CR4_OSXSAVE;
	expect_end(g, GUEST_CODE + 2);
	assert_true(g->s.regs[REG_RCX] & BIT(27));
	guest_free(g);
}

/* ---- INIT, SIPI ---- */

static void init_and_sipi(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xeb, 0xfe);
	g->s.activity = VCPU_WAIT_SIPI;
	atomic_store(&g->cpu->sipi_vector, 0x9);
	guest_code(g, 0x9000, "\x90", 1);
	g->ram[0xfff0] = 0xf4;
	cpu_raise(g->cpu, CPU_EV_INIT);
	g->cpu->config.index = 1;
	cpu_raise(g->cpu, CPU_EV_SIPI);
	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(g->inits, 1);
	assert_int_equal(g->s.seg[SEG_CS].selector, 0x900);
	assert_int_equal(g->s.seg[SEG_CS].base, 0x9000);
	assert_int_equal(g->s.rip, 3);
	assert_int_equal(g->s.efer, 0);
	assert_int_equal(g->s.cr0, CR0_ET);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ud_long),
		cmocka_unit_test(int3_pushes_next_rip),
		cmocka_unit_test(int_n_switches_stack),
		cmocka_unit_test(stack_is_aligned),
		cmocka_unit_test(int_n_needs_gate_dpl),
		cmocka_unit_test(absent_gate),
		cmocka_unit_test(absent_gate_of_exception_sets_ext),
		cmocka_unit_test(gate_with_bad_selector),
		cmocka_unit_test(non_canonical_access),
		cmocka_unit_test(page_fault_codes),
		cmocka_unit_test(ist),
		cmocka_unit_test(double_fault),
		cmocka_unit_test(double_fault_on_bad_stack),
		cmocka_unit_test(triple_fault),
		cmocka_unit_test(external_interrupt),
		cmocka_unit_test(interrupt_waits_for_sti_shadow),
		cmocka_unit_test(interrupt_waits_for_mov_ss),
		cmocka_unit_test(halt_wakes),
		cmocka_unit_test(nmi_blocks_until_iret),
		cmocka_unit_test(segment_loads),
		cmocka_unit_test(accessed_bit_is_set),
		cmocka_unit_test(limits),
		cmocka_unit_test(real_mode_limits),
		cmocka_unit_test(real_mode_int),
		cmocka_unit_test(far_jump_checks),
		cmocka_unit_test(long_to_compat_and_back),
		cmocka_unit_test(call_gate_32),
		cmocka_unit_test(call_gate_64),
		cmocka_unit_test(iret_long),
		cmocka_unit_test(iret_nulls_segments),
		cmocka_unit_test(user_cannot_gain_flags),
		cmocka_unit_test(syscall_and_sysret),
		cmocka_unit_test(sysenter_and_sysexit),
		cmocka_unit_test(task_call_and_return),
		cmocka_unit_test(task_jump_clears_busy),
		cmocka_unit_test(fault_through_task_gate),
		cmocka_unit_test(task_trap_bit),
		cmocka_unit_test(task_bad_segment_is_of_new_task),
		cmocka_unit_test(v86_interrupt_frame),
		cmocka_unit_test(v86_sensitive),
		cmocka_unit_test(single_step),
		cmocka_unit_test(instruction_breakpoint),
		cmocka_unit_test(data_breakpoint),
		cmocka_unit_test(mov_ss_holds_breakpoint_for_icebp),
		cmocka_unit_test(io_breakpoint),
		cmocka_unit_test(general_detect),
		cmocka_unit_test(icebp),
		cmocka_unit_test(debug_registers),
		cmocka_unit_test(step_follows_syscall),
		cmocka_unit_test(popf_steps_after_next),
		cmocka_unit_test(step_sees_each_iteration),
		cmocka_unit_test(int_n_is_not_stepped),
		cmocka_unit_test(real_to_long),
		cmocka_unit_test(real_to_protected_and_back),
		cmocka_unit_test(compat_interrupt_frame),
		cmocka_unit_test(gate_16),
		cmocka_unit_test(tss_faults),
		cmocka_unit_test(stack_limit),
		cmocka_unit_test(task_to_v86_and_back),
		cmocka_unit_test(task_with_conforming_code),
		cmocka_unit_test(external_interrupt_through_task_gate),
		cmocka_unit_test(v86_iret_keeps_iopl),
		cmocka_unit_test(ldt_segments),
		cmocka_unit_test(push_segment_writes_half),
		cmocka_unit_test(alignment_check),
		cmocka_unit_test(time_stamp_disable),
		cmocka_unit_test(bases),
		cmocka_unit_test(null_gs_keeps_base_on_iret),
		cmocka_unit_test(pae_pdptes),
		cmocka_unit_test(invpcid_checks),
		cmocka_unit_test(table_registers),
		cmocka_unit_test(smap_smep),
		cmocka_unit_test(control_register_checks),
		cmocka_unit_test(umip),
		cmocka_unit_test(msrs),
		cmocka_unit_test(tsc_adjust_follows_tsc),
		cmocka_unit_test(smsw_lmsw),
		cmocka_unit_test(descriptor_queries),
		cmocka_unit_test(load_task_register),
		cmocka_unit_test(io_permission),
		cmocka_unit_test(string_io),
		cmocka_unit_test(hypercalls),
		cmocka_unit_test(undefined_here),
		cmocka_unit_test(cpuid_model),
		cmocka_unit_test(init_and_sipi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
