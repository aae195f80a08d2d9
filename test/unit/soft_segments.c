/* Segment registers and limits; tables and queries of descriptors. */
#include "soft_bare.h"

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

static void load_far_pointers(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0xc4, 0x03, 0x0f, 0xb2, 0x23); /* les (%ebx), %eax; lss (%ebx), %esp */
	g->s.regs[REG_RBX] = GUEST_DATA;
	put32(g, GUEST_DATA, 0x60000);
	put16(g, GUEST_DATA + 4, DATA);
	expect_end(g, GUEST_CODE + 5);
	assert_int_equal((u32)g->s.regs[REG_RAX], 0x60000);
	assert_int_equal(g->s.regs[REG_RSP], 0x60000);
	guest_mode(g, PROT32, 0);
	g->s.regs[REG_RBX] = GUEST_DATA;
	g->s.regs[REG_RAX] = 1;
	put16(g, GUEST_DATA + 4, ABSENT_DATA);
	expect(g, EXC_NP, ABSENT_DATA, GUEST_CODE);
	assert_int_equal(g->s.regs[REG_RAX], 1);
	/* LDS is VEX in 64-bit mode; LSS is there. */
	guest_mode(g, LONG64, 0);
	CODE(g, 0x48, 0x0f, 0xb2, 0x23);
	g->s.regs[REG_RBX] = GUEST_DATA;
	put64(g, GUEST_DATA, 0x60000);
	put16(g, GUEST_DATA + 8, DATA);
	expect_end(g, GUEST_CODE + 4);
	assert_int_equal(g->s.regs[REG_RSP], 0x60000);
	guest_free(g);
}

static void pop_ss_restarts(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0x17); /* pop %ss */
	put32(g, GUEST_STACK, ABSENT_DATA);
	struct frame f = expect(g, EXC_SS, ABSENT_DATA, GUEST_CODE);
	assert_int_equal(g->s.regs[REG_RSP], GUEST_STACK - 16);
	assert_int_equal(f.cs, CODE32);
	guest_free(g);
}

static void arpl(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0x63, 0xd8); /* arpl %bx, %ax */
	g->s.regs[REG_RAX] = 0x10;
	g->s.regs[REG_RBX] = 3;
	expect_end(g, GUEST_CODE + 2);
	assert_int_equal(g->s.regs[REG_RAX], 0x13);
	assert_true(g->s.rflags & FLAG_ZF);
	guest_mode(g, REAL, 0);
	CODE(g, 0x63, 0xd8);
	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(guest_vector(g), EXC_UD);
	guest_free(g);
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

static void bases(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x01, 0xf8, 0xf3, 0x48, 0x0f, 0xae, 0xcb, 0x65, 0x48, 0x8b, 0x04, 0x25, 8, 0, 0,
	     0); /* swapgs; rdgsbase %rbx; mov %gs:8, %rax */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(load_far_pointers),
	        cmocka_unit_test(pop_ss_restarts),
	        cmocka_unit_test(arpl),
	        cmocka_unit_test(segment_loads),
	        cmocka_unit_test(accessed_bit_is_set),
	        cmocka_unit_test(limits),
	        cmocka_unit_test(real_mode_limits),
	        cmocka_unit_test(ldt_segments),
	        cmocka_unit_test(push_segment_writes_half),
	        cmocka_unit_test(bases),
	        cmocka_unit_test(table_registers),
	        cmocka_unit_test(descriptor_queries),
	        cmocka_unit_test(load_task_register),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
