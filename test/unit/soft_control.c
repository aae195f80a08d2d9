/* Control registers, MSRs, CPUID, ports, and other system instructions. */
#include "soft_bare.h"

static void write_cr(struct guest *g, unsigned n, u64 value, bool ok)
{
	CODE(g, 0x0f, 0x22, 0xc3 | n << 3); /* mov %rbx, %crN */
	g->s.regs[REG_RBX] = value;
	if (ok)
		expect_end(g, GUEST_CODE + 3);
	else
		expect(g, EXC_GP, 0, GUEST_CODE);
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

static void port_sizes(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x66, 0xef); /* out %ax, %dx */
	g->s.regs[REG_RAX] = 0x11223344;
	g->s.regs[REG_RDX] = 0x1234;
	expect_end(g, GUEST_CODE + 2);
	guest_mode(g, LONG64, 0);
	CODE(g, 0xed); /* in %dx, %eax */
	g->s.regs[REG_RAX] = -1ULL;
	expect_end(g, GUEST_CODE + 1);
	assert_int_equal(g->s.regs[REG_RAX], 0xa5a5a5a5);
	guest_mode(g, LONG64, 0);
	CODE(g, 0x66, 0xed);
	g->s.regs[REG_RAX] = -1ULL;
	expect_end(g, GUEST_CODE + 2);
	assert_int_equal(g->s.regs[REG_RAX], 0xffffffffffffa5a5);
	guest_free(g);
}

static void ins_faults_before_reading(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0xf3, 0x6d);
	g->s.regs[REG_RCX] = 4;
	g->s.regs[REG_RDX] = 0x1234;
	g->s.regs[REG_RDI] = 0x1000000 - 8; /* two fit */
	expect(g, EXC_PF, 2, GUEST_CODE);
	assert_int_equal(g->s.regs[REG_RCX], 2);
	assert_int_equal(g->s.regs[REG_RDI], 0x1000000);
	assert_int_equal(g->s.cr2, 0x1000000);
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
	        {0, 0, 0x1000, 0, true},
	        {0, 1, 0x1000, 0, false},
	        {0, 1, 0x1000, CR4_PCIDE, true},
	        {0, 0x1000, 0, CR4_PCIDE, false},
	        {0, 0, 0x800000000000, 0, false},
	        {1, 0, 0x800000000000, 0, true},
	        {1, 1, 0, 0, false},
	        {2, 10, 0, CR4_PCIDE, true},
	        {3, 0, 0, 0, true},
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
	static const u8 codes[][3] = {{0x0f, 0x01, 0x03},
	                              {0x0f, 0x01, 0x0b},
	                              {0x0f, 0x00, 0x03},
	                              {0x0f, 0x00, 0x0b},
	                              {0x0f, 0x01, 0x23}};
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
	g->s.regs[REG_RBX] = 0xe;                    /* PE stays */
	expect_end(g, GUEST_CODE + 6);
	assert_int_equal(g->s.cr0 & 0xf, 0xf);
	assert_int_equal((u32)g->s.regs[REG_RAX], (u32)g->s.cr0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(port_sizes),
	        cmocka_unit_test(ins_faults_before_reading),
	        cmocka_unit_test(time_stamp_disable),
	        cmocka_unit_test(pae_pdptes),
	        cmocka_unit_test(invpcid_checks),
	        cmocka_unit_test(smap_smep),
	        cmocka_unit_test(control_register_checks),
	        cmocka_unit_test(umip),
	        cmocka_unit_test(msrs),
	        cmocka_unit_test(tsc_adjust_follows_tsc),
	        cmocka_unit_test(smsw_lmsw),
	        cmocka_unit_test(io_permission),
	        cmocka_unit_test(string_io),
	        cmocka_unit_test(hypercalls),
	        cmocka_unit_test(undefined_here),
	        cmocka_unit_test(cpuid_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
