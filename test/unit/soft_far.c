/* Far transfers, call gates, IRET, SYSCALL, SYSENTER, and switches between modes. */
#include "soft_bare.h"

static void far_return_checks(void **state)
{
	static const struct {
		u16 cs, ss;
		int vector;
		u32 error;
	} cases[] = {
	        {0, 0, EXC_GP, 0},
	        {DATA, 0, EXC_GP, DATA},
	        {ABSENT_CODE, 0, EXC_NP, ABSENT_CODE},
	        {USER_CODE32, 0, EXC_GP, 0},
	        {USER_CODE32, DATA, EXC_GP, DATA},
	        {USER_CODE32, READ_ONLY | 3, EXC_GP, READ_ONLY},
	        {CODE32 | 3, USER_DATA, EXC_GP, CODE32},
	        {GDT_END, 0, EXC_GP, GDT_END},
	};
	struct guest *g = guest_new();

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		guest_mode(g, PROT32, 0);
		CODE(g, 0xcb);
		put32(g, GUEST_STACK, GUEST_USER_CODE);
		put32(g, GUEST_STACK + 4, cases[i].cs);
		put32(g, GUEST_STACK + 8, GUEST_USER_STACK);
		put32(g, GUEST_STACK + 12, cases[i].ss);
		expect(g, cases[i].vector, cases[i].error, GUEST_CODE);
		assert_int_equal(guest_frame(g, true).cs, CODE32);
	}
	/* To more privilege never. */
	guest_mode(g, PROT32, 3);
	CODE(g, 0xcb);
	put32(g, GUEST_USER_STACK, GUEST_CODE);
	put32(g, GUEST_USER_STACK + 4, CODE32);
	expect(g, EXC_GP, CODE32, GUEST_USER_CODE);
	guest_free(g);
}

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
	static const u8 inner[] = {0x8b, 0x44, 0x24, 0x08, 0x8b, 0x5c, 0x24,
	                           0x0c, 0x89, 0xe1, 0xca, 0x08, 0x00};
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
	static const u8 inner[] = {0x48, 0x89, 0xe1, 0x8c,
	                           0xd2, 0x48, 0xcb}; /* mov %rsp, %rcx; mov %ss, %edx; lretq */
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

static void iret_long(void **state)
{
	GUEST(LONG64, 0);
	guest_code(g, GUEST_USER_CODE, "\xcc", 1);
	CODE(g, 0x48, 0xcf);
	iret_frame(g, GUEST_USER_CODE, USER_CODE64, FLAG_ONE | FLAG_IF | FLAG_IOPL | FLAG_AC,
	           GUEST_USER_STACK, USER_DATA);
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
	iret_frame(g, GUEST_USER_CODE + 0x100, USER_CODE32,
	           FLAG_ONE | FLAG_IF | FLAG_IOPL | FLAG_VM | FLAG_CF, 0, 0);
	struct frame f = expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 0x101);
	assert_int_equal(f.flags, FLAG_ONE | FLAG_CF);
	guest_free(g);
}

static void syscall_and_sysret(void **state)
{
	GUEST(LONG64, 3);
	CODE(g, 0x0f, 0x05, 0xcc);
	static const u8 kernel[] = {0x48, 0x89, 0xc8, 0x4c, 0x89,
	                            0xdb, 0x48, 0x0f, 0x07}; /* rax = rcx; rbx = r11; sysretq */
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

static void real_to_long(void **state)
{
	GUEST(REAL, 0);
	static const u8 real[] = {
	        0x66, 0x0f, 0x01, 0x16,   0x00, 0x06, /* lgdtl 0x600 */
	        0x66, 0xb8, 0x20, 0,      0,    0,    /* mov $CR4_PAE, %eax */
	        0x0f, 0x22, 0xe0,                     /* mov %eax, %cr4 */
	        0x66, 0xb8, 0x00, 0x00,   0x10, 0,    /* mov $GUEST_PML4, %eax */
	        0x0f, 0x22, 0xd8,                     /* mov %eax, %cr3 */
	        0x66, 0xb9, 0x80, 0,      0,    0xc0, /* mov $MSR_EFER, %ecx */
	        0x0f, 0x32, 0x80, 0xcc,   0x01,       /* rdmsr; or $1, %ah */
	        0x0f, 0x30,                           /* wrmsr */
	        0x66, 0xb8, 0x11, 0,      0,    0x80, /* mov $PG|ET|PE, %eax */
	        0x0f, 0x22, 0xc0,                     /* mov %eax, %cr0 */
	        0xea, 0x00, 0x90, CODE64, 0x00,       /* ljmp $CODE64, $0x9000 */
	};
	static const u8 code64[] = {0xb8, DATA, 0, 0, 0, 0x8e, 0xd0, 0x48, 0xb9,
	                            1,    2,    3, 4, 5, 6,    7,    8,    0x90};
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
	        0x66, 0x0f, 0x01, 0x16, 0x00, 0x06,               /* lgdtl 0x600 */
	        0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22,   0xc0, /* cr0 |= PE */
	        0x66, 0xea, 0x00, 0x90, 0x00, 0x00, CODE32, 0x00, /* ljmpl */
	};
	static const u8 prot[] = {
	        0x66, 0xb8, DATA, 0,    0x8e, 0xd8, /* mov $DATA, %ax; mov %ax, %ds */
	        0xc7, 0x05, 0x00, 0x00, 0x20, 0x00,   0x78, 0x56, 0x34, 0x12, /* movl $0x12345678, 0x200000 */
	        0xea, 0x00, 0xa0, 0,    0,    CODE16, 0,                      /* ljmp $CODE16, $0xa000 */
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

static void call_gate_16(void **state)
{
	GUEST(PROT32, 3);
	set_desc(g, GATE_SEL, gate(CODE32, GUEST_CODE, 0xe4, 1));
	/* pushw $0x1122; lcall gate; int3 */
	CODE(g, 0x66, 0x68, 0x22, 0x11, 0x9a, 0, 0, 0, 0, GATE_SEL | 3, 0, 0xcc);
	/* movzwl 4(%esp), %eax; mov %esp, %ecx; lretw $2 */
	static const u8 inner[] = {0x0f, 0xb7, 0x44, 0x24, 0x04, 0x89, 0xe1, 0x66, 0xca, 0x02, 0x00};
	memcpy(g->ram + GUEST_CODE, inner, sizeof(inner));
	g->s.regs[REG_RSP] = 0x7000;
	struct frame f = expect(g, EXC_BP, NO_ERROR_CODE, GUEST_USER_CODE + 12);
	assert_int_equal((u32)g->s.regs[REG_RAX], 0x1122);
	assert_int_equal((u32)g->s.regs[REG_RCX], GUEST_STACK0 - 10);
	assert_int_equal(f.rsp, 0x7000);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(far_return_checks),
	        cmocka_unit_test(far_jump_checks),
	        cmocka_unit_test(long_to_compat_and_back),
	        cmocka_unit_test(call_gate_32),
	        cmocka_unit_test(call_gate_64),
	        cmocka_unit_test(iret_long),
	        cmocka_unit_test(iret_nulls_segments),
	        cmocka_unit_test(user_cannot_gain_flags),
	        cmocka_unit_test(syscall_and_sysret),
	        cmocka_unit_test(sysenter_and_sysexit),
	        cmocka_unit_test(real_to_long),
	        cmocka_unit_test(real_to_protected_and_back),
	        cmocka_unit_test(call_gate_16),
	        cmocka_unit_test(null_gs_keeps_base_on_iret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
