/* Exceptions, interrupts, NMI, INIT: vectors, error codes, frames, double and triple faults, their order. */
#include "soft_bare.h"

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

static void page_fault_after_contributory_is_serial(void **state)
{
	/* #GP whose delivery page-faults on the handler's gate page is a #PF, not a #DF. */
	GUEST(LONG64, 0);
	CODE(g, 0x8e, 0xd8);
	g->s.regs[REG_RAX] = GDT_END;
	g->s.regs[REG_RSP] = 0x4000008; /* not mapped */
	set_gate(g, EXC_PF, gate(CODE64, handler(EXC_PF), 0x8e, 1), 0);
	expect(g, EXC_PF, 2, GUEST_CODE);
	assert_int_equal(g->s.cr2, 0x4000000 - 8);
	guest_free(g);
}

static void contributory_pair_is_double(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0x8e, 0xd8);
	g->s.regs[REG_RAX] = GDT_END;
	set_gate(g, EXC_GP, gate(0, 0, 0x8e, 0), 0);
	expect(g, EXC_DF, 0, GUEST_CODE);
	/* A fault in the delivery of the double fault ends it. */
	guest_mode(g, PROT32, 0);
	g->s.regs[REG_RAX] = GDT_END;
	set_gate(g, EXC_GP, gate(0, 0, 0x8e, 0), 0);
	set_gate(g, EXC_DF, gate(0, 0, 0x8e, 0), 0);
	assert_int_equal(guest_run(g), CPU_EXIT_SHUTDOWN);
	guest_free(g);
}

static void interrupt_fault_is_benign(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0x90);
	g->s.rflags |= FLAG_IF;
	set_gate(g, 0x55, gate(ABSENT_CODE, 0, 0x8e, 0), 0);
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR);
	expect(g, EXC_NP, ABSENT_CODE | 1, GUEST_CODE);
	/* The IDT bit and EXT, past the limit. */
	guest_mode(g, PROT32, 0);
	g->s.rflags |= FLAG_IF;
	g->s.idtr.limit = 0x7f * 4 - 1;
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR);
	expect(g, EXC_GP, 0x55 * 8 + 3, GUEST_CODE);
	guest_free(g);
}

static void nmi_and_interrupt_order(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x90);
	g->s.rflags |= FLAG_IF;
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR | CPU_EV_NMI);
	expect(g, EXC_NMI, NO_ERROR_CODE, GUEST_CODE);
	assert_int_equal(g->interrupt, 0x55);
	guest_free(g);
}

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
	} cases[] = {{0, EXC_TS, 0},
	             {GDT_END, EXC_TS, GDT_END},
	             {READ_ONLY, EXC_TS, READ_ONLY},
	             {USER_DATA, EXC_TS, USER_DATA & ~3},
	             {DATA | 1, EXC_TS, DATA},
	             {ABSENT_DATA, EXC_SS, ABSENT_DATA}};
	struct guest *g = guest_new();

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		guest_mode(g, PROT32, 3);
		CODE(g, 0xcd, 0x80);
		put32(g, GUEST_TSS + 8, cases[i].ss);
		/* The fault itself goes to level 3 code, as no stack of level 0 can be had. */
		set_desc(g, CONFORMING, descriptor(0, 0xfffff, 0xc0ff));
		set_gate(g, (unsigned)cases[i].vector,
		         gate(CONFORMING, handler((unsigned)cases[i].vector), 0x8e, 0), 0);
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
	        cmocka_unit_test(page_fault_after_contributory_is_serial),
	        cmocka_unit_test(contributory_pair_is_double),
	        cmocka_unit_test(interrupt_fault_is_benign),
	        cmocka_unit_test(nmi_and_interrupt_order),
	        cmocka_unit_test(init_and_sipi),
	        cmocka_unit_test(real_mode_int),
	        cmocka_unit_test(compat_interrupt_frame),
	        cmocka_unit_test(gate_16),
	        cmocka_unit_test(tss_faults),
	        cmocka_unit_test(alignment_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
