/* Hardware tasks and virtual-8086 mode. */
#include "soft_bare.h"

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

enum {
	TSS16_SP0 = 2,
	TSS16_IP = 0x0e,
	TSS16_FLAGS = 0x10,
	TSS16_REGS = 0x12,
	TSS16_SEGS = 0x22,
	TSS16_LDT = 0x2a
};

static void v86_external_interrupt(void **state)
{
	struct guest *g = guest_new();

	enter_v86(g, FLAG_IF);
	guest_code(g, GUEST_USER_CODE + 0x10, "\x90", 1);
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR);
	struct frame f = expect(g, 0x55, NO_ERROR_CODE, 0x10);
	assert_int_equal(f.cs, GUEST_USER_CODE >> 4);
	assert_false(g->s.rflags & FLAG_IF);
	/* Handlers of another level than 0 are refused. */
	enter_v86(g, FLAG_IOPL);
	guest_code(g, GUEST_USER_CODE + 0x10, "\xcd\x80", 2);
	set_gate(g, 0x80, gate(USER_CODE32, handler(0x80), 0xee, 0), 0);
	expect(g, EXC_GP, USER_CODE32 & ~3, 0x10);
	enter_v86(g, FLAG_IOPL);
	guest_code(g, GUEST_USER_CODE + 0x10, "\xcd\x80", 2);
	set_gate(g, 0x80, gate(CONFORMING, handler(0x80), 0xee, 0), 0);
	expect(g, EXC_GP, CONFORMING, 0x10);
	guest_free(g);
}

static void v86_ports(void **state)
{
	struct guest *g = guest_new();

	/* The bitmap counts, whatever IOPL is. */
	enter_v86(g, FLAG_IOPL);
	guest_code(g, GUEST_USER_CODE + 0x10, "\xe4\x71", 2);
	memset(g->ram + GUEST_TSS + 0x68, 0xff, 0x40);
	expect(g, EXC_GP, 0, 0x10);
	enter_v86(g, 0);
	guest_code(g, GUEST_USER_CODE + 0x10, "\xe4\x71\xcc", 3);
	memset(g->ram + GUEST_TSS + 0x68, 0, 0x40);
	expect(g, EXC_BP, NO_ERROR_CODE, 0x13);
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

static void task_16(void **state)
{
	GUEST(PROT32, 0);
	set_desc(g, TSS2_SEL, descriptor(GUEST_TSS2, 0x2b, 0x81));
	put16(g, GUEST_TSS2 + TSS16_IP, GUEST_USER_CODE);
	put16(g, GUEST_TSS2 + TSS16_FLAGS, FLAG_ONE);
	put16(g, GUEST_TSS2 + TSS16_REGS + 2 * REG_RSP, 0xf000);
	put16(g, GUEST_TSS2 + TSS16_REGS + 2 * REG_RBX, 0x77);
	for (unsigned i = 0; i <= SEG_DS; i++)
		put16(g, GUEST_TSS2 + TSS16_SEGS + 2 * i, i == SEG_CS ? CODE16 : DATA16);
	put16(g, GUEST_TSS2 + TSS16_LDT, 0);
	CODE(g, 0x9a, 0, 0, 0, 0, TSS2_SEL, 0, 0x90);
	guest_code(g, GUEST_USER_CODE, "\x90", 1);
	expect_end(g, GUEST_USER_CODE + 1);
	assert_int_equal(g->s.regs[REG_RBX] & 0xffff, 0x77);
	assert_int_equal(g->s.seg[SEG_CS].selector, CODE16);
	assert_int_equal(g->s.seg[SEG_FS].selector, 0);
	assert_int_equal(tss_type(g, TSS2_SEL), 3);
	/* IRET goes back, and the 16-bit TSS holds the state. */
	guest_code(g, GUEST_USER_CODE, "\xcf", 1);
	g->s.rip = GUEST_USER_CODE;
	g->s.regs[REG_RBX] = 0x99;
	expect_end(g, GUEST_CODE + 8);
	assert_int_equal(tss_type(g, TSS2_SEL), 1);
	assert_int_equal(get16(g, GUEST_TSS2 + TSS16_REGS + 2 * REG_RBX), 0x99);
	assert_int_equal(get16(g, GUEST_TSS2 + TSS16_IP), GUEST_USER_CODE + 1);
	assert_int_equal(g->s.tr.selector, TSS_SEL);
	guest_free(g);
}

static void inner_stack_of_tss16(void **state)
{
	GUEST(PROT32, 3);
	CODE(g, 0xcd, 0x80);
	g->s.tr =
	        (struct vcpu_segment){.selector = TSS2_SEL, .base = GUEST_TSS2, .limit = 0x2b, .attr = 0x83};
	put16(g, GUEST_TSS2 + TSS16_SP0, 0x6000);
	put16(g, GUEST_TSS2 + TSS16_SP0 + 2, DATA16);
	expect(g, 0x80, NO_ERROR_CODE, GUEST_USER_CODE + 2);
	assert_int_equal(g->s.regs[REG_RSP], 0x6000 - 20);
	/* The I/O bitmap needs a 32-bit TSS. */
	guest_mode(g, PROT32, 3);
	CODE(g, 0xe4, 0x71);
	g->s.tr =
	        (struct vcpu_segment){.selector = TSS2_SEL, .base = GUEST_TSS2, .limit = 0xff, .attr = 0x83};
	put16(g, GUEST_TSS2 + TSS16_SP0, 0x6000);
	put16(g, GUEST_TSS2 + TSS16_SP0 + 2, DATA16);
	expect(g, EXC_GP, 0, GUEST_USER_CODE);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(v86_external_interrupt),
	        cmocka_unit_test(v86_ports),
	        cmocka_unit_test(stack_limit),
	        cmocka_unit_test(task_call_and_return),
	        cmocka_unit_test(task_jump_clears_busy),
	        cmocka_unit_test(fault_through_task_gate),
	        cmocka_unit_test(task_trap_bit),
	        cmocka_unit_test(task_bad_segment_is_of_new_task),
	        cmocka_unit_test(v86_interrupt_frame),
	        cmocka_unit_test(v86_sensitive),
	        cmocka_unit_test(task_to_v86_and_back),
	        cmocka_unit_test(task_with_conforming_code),
	        cmocka_unit_test(external_interrupt_through_task_gate),
	        cmocka_unit_test(v86_iret_keeps_iopl),
	        cmocka_unit_test(task_16),
	        cmocka_unit_test(inner_stack_of_tss16),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
