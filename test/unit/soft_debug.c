/* Debug registers, breakpoints, single stepping. */
#include "soft_bare.h"

static void trap_before_interrupt(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xe6, 0x80, 0x90); /* out: the interrupt comes with it */
	g->s.rflags |= FLAG_TF;
	g->s.interrupt_shadow = 1;
	g->s.rflags |= FLAG_IF;
	g->interrupt = 0x55;
	cpu_raise(g->cpu, CPU_EV_INTR);
	expect(g, EXC_DB, NO_ERROR_CODE, GUEST_CODE + 2);
	guest_free(g);
}

static void mov_ss_suppresses_instruction_breakpoint(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x8e, 0xd0, 0x90);
	g->s.regs[REG_RAX] = DATA;
	g->s.dr[0] = GUEST_CODE + 2;
	g->s.dr7 |= BIT(1);
	expect_end(g, GUEST_CODE + 3);
	guest_free(g);
}

static void fault_sets_rf_and_iret_passes(void **state)
{
	/* A breakpoint handler that sets RF in the frame goes on behind it. */
	GUEST(LONG64, 0);
	static const u8 resume[] = {0x81, 0x4c, 0x24, 0x10, 0,
	                            0,    1,    0,    0x48, 0xcf}; /* orl $RF, 16(%rsp); iretq */
	CODE(g, 0x90, 0x90);
	g->s.dr[0] = GUEST_CODE;
	g->s.dr7 |= BIT(1);
	memcpy(g->ram + handler(EXC_DB), resume, sizeof(resume));
	expect_end(g, GUEST_CODE + 2);
	assert_int_equal(g->s.dr6, DR6(BIT(0)));
	guest_free(g);
}

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
	CODE(g, 0x0f, 0x23, 0xf3, 0x0f, 0x21, 0xf0, 0x0f, 0x23, 0xfb, 0x0f, 0x21,
	     0xf9);                      /* dr6, dr7 = rbx; rax = dr6; rcx = dr7 */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(trap_before_interrupt),
	        cmocka_unit_test(mov_ss_suppresses_instruction_breakpoint),
	        cmocka_unit_test(fault_sets_rf_and_iret_passes),
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
