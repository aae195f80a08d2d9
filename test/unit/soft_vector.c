/* Vector and x87 instructions: when they are denied, exceptions, environment formats, state in and out. */
#include "soft_bare.h"

#include "cpu/soft/features.h"

enum { CLASS_X87 = 1, CLASS_WAIT = 2, CLASS_MMX = 4, CLASS_SSE = 8, CLASS_AVX = 16, CLASS_FXSAVE = 32 };

static const struct {
	u8 code[8];
	u8 len;
	u8 class;
} samples[] = {
        {{0xd9, 0xe8}, 2, CLASS_X87},                               /* fld1 */
        {{0xdb, 0xe3}, 2, CLASS_X87},                               /* fninit */
        {{0x9b}, 1, CLASS_WAIT},                                    /* fwait */
        {{0x0f, 0xfc, 0xc1}, 3, CLASS_MMX},                         /* paddb %mm1, %mm0 */
        {{0x0f, 0x77}, 2, CLASS_MMX},                               /* emms */
        {{0x0f, 0x58, 0xc1}, 3, CLASS_SSE},                         /* addps %xmm1, %xmm0 */
        {{0x0f, 0xae, 0x1c, 0x25, 0, 0xa0, 0, 0}, 8, CLASS_SSE},    /* stmxcsr GUEST_DATA */
        {{0xf3, 0x0f, 0x2d, 0xc0}, 4, CLASS_SSE},                   /* cvtss2si %xmm0, %eax */
        {{0xc5, 0xf8, 0x58, 0xc1}, 4, CLASS_AVX},                   /* vaddps %xmm1, %xmm0, %xmm0 */
        {{0xc5, 0xf8, 0x77}, 3, CLASS_AVX},                         /* vzeroupper */
        {{0x0f, 0xae, 0x04, 0x25, 0, 0xa0, 0, 0}, 8, CLASS_FXSAVE}, /* fxsave GUEST_DATA */
};

/* SDM vol. 3 tables 2-2, 13-1 and vol. 2 2.4: the vector, or -1. */
static int expected(unsigned class, u64 cr0, u64 cr4, u64 xcr0)
{
	bool em = cr0 & CR0_EM, ts = cr0 & CR0_TS;

	switch (class) {
	case CLASS_X87:
	case CLASS_FXSAVE:
		return em || ts ? EXC_NM : -1;
	case CLASS_WAIT:
		return ts && cr0 & CR0_MP ? EXC_NM : -1;
	case CLASS_MMX:
		return em ? EXC_UD : ts ? EXC_NM : -1;
	case CLASS_SSE:
		return em || !(cr4 & CR4_OSFXSR) ? EXC_UD : ts ? EXC_NM : -1;
	default:
		return !(cr4 & CR4_OSXSAVE) || (xcr0 & 6) != 6 ? EXC_UD : ts ? EXC_NM : -1;
	}
}

static void denied(void **state)
{
	GUEST(LONG64, 0);
	struct vcpu_state base = g->s;

	for (unsigned i = 0; i < ARRAY_SIZE(samples); i++)
		for (unsigned bits = 0; bits < 64; bits++) {
			int vector;

			g->s = base;
			g->s.cr0 |=
			        (bits & 1 ? CR0_EM : 0) | (bits & 2 ? CR0_TS : 0) | (bits & 4 ? CR0_MP : 0);
			g->s.cr4 &= ~CR4_OSFXSR;
			g->s.cr4 |= (bits & 8 ? CR4_OSFXSR : 0) | (bits & 16 ? CR4_OSXSAVE : 0);
			g->s.xcr0 = bits & 32 ? 7 : 3;
			vector = expected(samples[i].class, g->s.cr0, g->s.cr4, g->s.xcr0);
			guest_code(g, GUEST_CODE, samples[i].code, samples[i].len);
			assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
			assert_int_equal(guest_vector(g), vector);
		}
	guest_free(g);
}

static void no_vex_in_real_mode(void **state)
{
	GUEST(REAL, 0);
	g->s.cr4 = CR4_OSXSAVE | CR4_OSFXSR;
	g->s.xcr0 = 7;
	CODE(g, 0xc5, 0xf8, 0x77);
	assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
	assert_int_equal(guest_vector(g), EXC_UD);
	guest_free(g);
}

/* fninit; fldcw with zero divide unmasked; fld1; fldz; fdivrp (1/0); fwait */
#define DIVIDE 0xdb, 0xe3, 0xd9, 0x2c, 0x25, 0, 0xa0, 0, 0, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x90, 0x9b

static void x87_error_waits(void **state)
{
	GUEST(LONG64, 0);
	put16(g, GUEST_DATA, 0x37b);
	CODE(g, DIVIDE);
	expect(g, EXC_MF, NO_ERROR_CODE, GUEST_CODE + 16);
	assert_int_equal(*(u16 *)(g->s.xsave + 2) & 0x8084, 0x8084);
	/* Pointers are those of the division. */
	assert_int_equal(*(u64 *)(g->s.xsave + 8), GUEST_CODE + 13);
	assert_int_equal(*(u16 *)(g->s.xsave + 6), 0x6f9);
	guest_free(g);
}

static void x87_error_not_for_nonwaiting(void **state)
{
	GUEST(LONG64, 0);
	put16(g, GUEST_DATA, 0x37b);
	CODE(g, 0xdb, 0xe3, 0xd9, 0x2c, 0x25, 0, 0xa0, 0, 0, 0xd9, 0xe8, 0xd9, 0xee, 0xde,
	     0xf9,                          /* as above */
	     0xdf, 0xe0, 0xdb, 0xe2, 0x9b); /* fnstsw; fnclex; fwait */
	expect_end(g, GUEST_CODE + 20);
	assert_int_equal(g->s.regs[REG_RAX] & 0x8084, 0x8084);
	guest_free(g);
}

static int ferrs;

static void count_ferr(void *ctx, struct cpu *c)
{
	struct guest *g = ctx;

	ferrs++;
	g->interrupt = 0x75;
	cpu_raise(c, CPU_EV_INTR);
}

/* CR0.NE = 0: FERR#, and the board's interrupt comes before the waiting instruction. */
static void x87_error_by_interrupt(void **state)
{
	GUEST(LONG64, 0);
	g->board.ferr = count_ferr;
	g->s.cr0 &= ~CR0_NE;
	g->s.rflags |= FLAG_IF;
	put16(g, GUEST_DATA, 0x37b);
	CODE(g, DIVIDE);
	ferrs = 0;
	expect(g, 0x75, NO_ERROR_CODE, GUEST_CODE + 16);
	assert_int_equal(ferrs, 1);
	guest_free(g);
}

/* ldmxcsr GUEST_DATA; divss %xmm1, %xmm0: 1.0 / 0 */
static void simd_error(u64 cr4, int vector)
{
	static const float one = 1;

	GUEST(LONG64, 0);
	g->s.cr4 |= cr4;
	put32(g, GUEST_DATA, 0x1d80);
	g->s.xsave[512] = 3;
	memcpy(g->s.xsave + 160, &one, 4);
	CODE(g, 0x0f, 0xae, 0x14, 0x25, 0, 0xa0, 0, 0, 0xf3, 0x0f, 0x5e, 0xc1);
	expect(g, vector, NO_ERROR_CODE, GUEST_CODE + 8);
	assert_int_equal(*(u32 *)(g->s.xsave + 24), 0x1d84);
	assert_memory_equal(g->s.xsave + 160, &one, 4);
	guest_free(g);
}

static void simd_error_is_xm(void **state)
{
	simd_error(CR4_OSXMMEXCPT, EXC_XM);
}

static void simd_error_is_ud(void **state)
{
	simd_error(0, EXC_UD);
}

static void mxcsr_reserved(void **state)
{
	GUEST(LONG64, 0);
	put32(g, GUEST_DATA, 0x10000);
	CODE(g, 0x0f, 0xae, 0x14, 0x25, 0, 0xa0, 0, 0);
	expect(g, EXC_GP, 0, GUEST_CODE);
	guest_free(g);
}

static void misaligned(void **state)
{
	GUEST(LONG64, 0);
	CODE(g, 0x0f, 0x10, 0x04, 0x25, 8, 0xa0, 0, 0, /* movups */
	     0x0f, 0x28, 0x04, 0x25, 8, 0xa0, 0, 0);   /* movaps */
	expect(g, EXC_GP, 0, GUEST_CODE + 8);
	guest_free(g);
}

/* fninit; fld1; fadd m32; fnstenv */
static void environment(enum guest_mode mode, bool small, unsigned size)
{
	GUEST(mode, 0);
	u8 code[24], *p = code;
	u32 at = (u32)g->s.rip;
	bool addr16 = mode == REAL;

#define BYTES(...)                            \
	do {                                  \
		const u8 b[] = {__VA_ARGS__}; \
		memcpy(p, b, sizeof(b));      \
		p += sizeof(b);               \
	} while (0)
	BYTES(0xdb, 0xe3, 0xd9, 0xe8);
	if (addr16)
		BYTES(0xd8, 0x06, 0x00, 0xa0);
	else
		BYTES(0xd8, 0x05, 0x00, 0xa0, 0, 0);
	if (small != addr16)
		BYTES(0x66);
	if (addr16)
		BYTES(0xd9, 0x36, 0x40, 0xa0);
	else
		BYTES(0xd9, 0x35, 0x40, 0xa0, 0, 0);
	put32(g, GUEST_DATA + 0x40 + size, 0x5a5a5a5a);
	guest_code(g, at, code, (size_t)(p - code));
	expect_end(g, at + (u64)(p - code));
	at += 4;
	if (small) {
		assert_int_equal(get16(g, GUEST_DATA + 0x40), 0x37f);
		assert_int_equal(get16(g, GUEST_DATA + 0x42), 7 << 11);
		assert_int_equal(get16(g, GUEST_DATA + 0x44), 0x3fff);
		assert_int_equal(get16(g, GUEST_DATA + 0x46), at);
		assert_int_equal(get16(g, GUEST_DATA + 0x48), mode == REAL ? 0x006 : 0);
		assert_int_equal(get16(g, GUEST_DATA + 0x4a), GUEST_DATA);
		assert_int_equal(get16(g, GUEST_DATA + 0x4c), 0);
	} else {
		assert_int_equal(get32(g, GUEST_DATA + 0x40), 0xffff037f);
		assert_int_equal(get32(g, GUEST_DATA + 0x44), 0xffff0000 | 7 << 11);
		assert_int_equal(get32(g, GUEST_DATA + 0x48), 0xffff3fff);
		assert_int_equal(get16(g, GUEST_DATA + 0x4c), at);
		assert_int_equal(get32(g, GUEST_DATA + 0x50), 0x006);
		assert_int_equal(get16(g, GUEST_DATA + 0x54), GUEST_DATA);
	}
	assert_int_equal(get32(g, GUEST_DATA + 0x40 + size), 0x5a5a5a5a);
	guest_free(g);
}

static void environment_real16(void **state)
{
	environment(REAL, true, 14);
}
static void environment_real32(void **state)
{
	environment(REAL, false, 28);
}
static void environment_prot16(void **state)
{
	environment(PROT32, true, 14);
}

/* Selectors are zero, the opcode lies above CS. */
static void environment_prot32(void **state)
{
	GUEST(PROT32, 0);
	CODE(g, 0xdb, 0xe3, 0xd9, 0xe8, 0xd8, 0x05, 0, 0xa0, 0, 0, 0xd9, 0x35, 0x40, 0xa0, 0, 0);
	expect_end(g, GUEST_CODE + 16);
	assert_int_equal(get32(g, GUEST_DATA + 0x4c), GUEST_CODE + 4);
	assert_int_equal(get32(g, GUEST_DATA + 0x50), 0x005 << 16);
	assert_int_equal(get32(g, GUEST_DATA + 0x54), GUEST_DATA);
	assert_int_equal(get32(g, GUEST_DATA + 0x58), 0xffff0000);
	guest_free(g);
}

static void state_in_and_out(void **state)
{
	GUEST(LONG64, 0);
	u8 before[VCPU_XSAVE_SIZE];

	g->s.cr4 |= CR4_OSXSAVE;
	g->s.xcr0 = 7;
	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 16; k++) {
			g->s.xsave[160 + 16 * i + k] = (u8)(i * 16 + k);
			g->s.xsave[576 + 16 * i + k] = (u8) ~(i * 16 + k);
		}
	*(u16 *)g->s.xsave = 0x27f;
	*(u32 *)(g->s.xsave + 24) = 0x3fa0;
	*(u32 *)(g->s.xsave + 28) = 0xffff;
	*(u64 *)(g->s.xsave + 8) = 0x1234;
	g->s.xsave[512] = 7;
	memcpy(before, g->s.xsave, sizeof(before));
	CODE(g, 0xc5, 0xfc, 0x10, 0xc0); /* vmovups %ymm0, %ymm0 */
	expect_end(g, GUEST_CODE + 4);
	assert_memory_equal(before, g->s.xsave, 832);
	guest_free(g);
}

/* Opmask, upper halves and upper registers through images, XSAVE, XSAVEC and XRSTOR. */
static void wide_state(void **state)
{
	GUEST(LONG64, 0);
	enum { STANDARD = 0x10000, COMPACT = 0x11000, SOME = 0x12000, NOTHING = 0x13000 };
	u8 before[VCPU_XSAVE_SIZE];

	if ((soft_feature_xcr0() & 0xe0) != 0xe0) {
		guest_free(g);
		skip();
	}
	g->s.cr4 |= CR4_OSXSAVE;
	g->s.xcr0 = 0xe7;
	for (unsigned i = 160; i < 416; i++)
		g->s.xsave[i] = (u8)(i * 7);
	for (unsigned i = 576; i < VCPU_XSAVE_SIZE; i++)
		g->s.xsave[i] = i < 832 || i >= 1088 ? (u8)(i * 5 + i / 256) : 0;
	*(u16 *)g->s.xsave = 0x37f;
	*(u32 *)(g->s.xsave + 24) = 0x1f80;
	*(u32 *)(g->s.xsave + 28) = 0xffff;
	g->s.xsave[512] = 0xe7;
	memcpy(before, g->s.xsave, sizeof(before));
	g->s.regs[REG_RAX] = 0xe7;
	g->s.regs[REG_RDX] = 0;
	g->s.regs[REG_RBX] = STANDARD;
	g->s.regs[REG_RCX] = COMPACT;
	g->s.regs[REG_RSI] = SOME;
	g->s.regs[REG_RDI] = NOTHING;
	memset(g->ram + STANDARD, 0, 0x4000);
	put64(g, NOTHING + 24, 0xffff00001f80);
	CODE(g, 0x48, 0x0f, 0xae, 0x23, /* xsave64 (%rbx) */
	     0x48, 0x0f, 0xc7, 0x21,    /* xsavec64 (%rcx) */
	     0xb8, 0xa2, 0, 0, 0,       /* mov $0xa2, %eax */
	     0x48, 0x0f, 0xc7, 0x26,    /* xsavec64 (%rsi) */
	     0xb8, 0xe7, 0, 0, 0,       /* mov $0xe7, %eax */
	     0x48, 0x0f, 0xae, 0x2f,    /* xrstor64 (%rdi): all is initial */
	     0x48, 0x0f, 0xae, 0x29);   /* xrstor64 (%rcx) */
	expect_end(g, GUEST_CODE + 30);
	assert_memory_equal(before + 160, g->s.xsave + 160, 256);
	assert_memory_equal(before + 576, g->s.xsave + 576, VCPU_XSAVE_SIZE - 576);
	assert_int_equal(g->s.xsave[512], 0xe6 | (g->s.xsave[512] & 1));
	assert_memory_equal(before + 576, g->ram + STANDARD + 576, VCPU_XSAVE_SIZE - 576);
	assert_memory_equal(before + 576, g->ram + COMPACT + 576, 256);
	assert_memory_equal(before + 1088, g->ram + COMPACT + 832, 64 + 512 + 1024);
	assert_memory_equal(before + 1088, g->ram + SOME + 576, 64);
	assert_memory_equal(before + 1664, g->ram + SOME + 640, 1024);
	guest_free(g);
}

/* Elements that a mask leaves out do not fault, those that it selects do. */
static void masked_at_the_end(void **state)
{
	GUEST(LONG64, 0);
	struct vcpu_state base;

	if ((soft_feature_xcr0() & 0xe0) != 0xe0) {
		guest_free(g);
		skip();
	}
	g->s.cr4 |= CR4_OSXSAVE;
	g->s.xcr0 = 0xe7;
	g->s.xsave[512] = 0x23;
	base = g->s;
	for (unsigned mask = 0; mask < 16; mask++) {
		g->s = base;
		g->s.xsave[1088 + 8] = (u8)mask;
		g->s.regs[REG_RBX] = GUEST_RAM - 8;
		CODE(g, 0x62, 0xf1, 0x7c, 0x09, 0x10, 0x03); /* vmovups (%rbx), %xmm0 {%k1} */
		assert_int_equal(guest_run(g), CPU_EXIT_STOPPED);
		assert_int_equal(guest_vector(g), mask & 12 ? EXC_PF : -1);
		if (mask & 12)
			assert_int_equal(g->s.cr2, GUEST_RAM + (mask & 4 ? 0 : 4));
	}
	guest_free(g);
}

static void bad_image_is_mended(void **state)
{
	GUEST(LONG64, 0);
	memset(g->s.xsave, 0xff, sizeof(g->s.xsave));
	CODE(g, 0x0f, 0x57, 0xc0); /* xorps */
	expect_end(g, GUEST_CODE + 3);
	assert_int_equal(*(u32 *)(g->s.xsave + 24), 0xffff);
	guest_free(g);
}

/* More different instructions than there is room for stubs: vpalignr, all registers, many immediates. */
static void many_stubs(void **state)
{
	GUEST(LONG64, 0);
	struct vcpu_state base;

	g->s.cr4 |= CR4_OSXSAVE;
	g->s.xcr0 = 7;
	base = g->s;
	for (unsigned imm = 0; imm < 20; imm++) {
		u32 at = 0x200000;

		g->s = base;
		g->s.rip = at;
		for (unsigned r = 0; r < 4096; r++) { /* destination, first source, second source */
			const u8 insn[] = {0xc4,
			                   (u8)((r & 8 ? 0 : 0x80) | 0x40 | (r & 0x800 ? 0 : 0x20) | 3),
			                   (u8)((~(r >> 4) & 15) << 3 | 1),
			                   0x0f,
			                   (u8)(0xc0 | (r & 7) << 3 | (r >> 8 & 7)),
			                   (u8)imm};

			memcpy(g->ram + at, insn, sizeof(insn));
			at += sizeof(insn);
		}
		guest_code(g, at, NULL, 0);
		expect_end(g, at);
	}
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(denied),
	        cmocka_unit_test(no_vex_in_real_mode),
	        cmocka_unit_test(x87_error_waits),
	        cmocka_unit_test(x87_error_not_for_nonwaiting),
	        cmocka_unit_test(x87_error_by_interrupt),
	        cmocka_unit_test(simd_error_is_xm),
	        cmocka_unit_test(simd_error_is_ud),
	        cmocka_unit_test(mxcsr_reserved),
	        cmocka_unit_test(misaligned),
	        cmocka_unit_test(environment_real16),
	        cmocka_unit_test(environment_real32),
	        cmocka_unit_test(environment_prot16),
	        cmocka_unit_test(environment_prot32),
	        cmocka_unit_test(state_in_and_out),
	        cmocka_unit_test(wide_state),
	        cmocka_unit_test(masked_at_the_end),
	        cmocka_unit_test(bad_image_is_mended),
	        cmocka_unit_test(many_stubs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
