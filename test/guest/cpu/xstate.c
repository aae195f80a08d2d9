/* XSAVE and FXSAVE families, XCR0; SDM vol. 1 ch. 13, vol. 2. guest: bits=64 */
#include "lib/guest.h"

static u8 area[4096] __attribute__((aligned(64))), other[4096] __attribute__((aligned(64)));
static u64 all;

#define XSETBV(i, v) TRY("xsetbv", : "c"(i), "a"((u32)(v)), "d"((u32)((u64)(v) >> 32)))
static u64 xgetbv(u32 i)
{
	u32 a = 0, d = 0;

	TRY("xgetbv", "=a"(a), "=d"(d) : "c"(i));
	return (u64)d << 32 | a;
}
#define X(insn, at, mask) TRY(insn " %0", "+m"(*(at)) : "a"((u32)(mask)), "d"((u32)((u64)(mask) >> 32)) : "memory")
#define HEADER(a) ((u64 *)((a) + 512))

static void user(void *arg)
{
	XSETBV(0, 1);
	check_fault(13, 0, "xsetbv-user");
	TRY("xgetbv", : "c"(0) : "eax", "edx");
	check_fault(-1, 0, "xgetbv-user");
	X("xsaves64", &area, 1);
	check_fault(13, 0, "xsaves-user");
	X("xsave", &area, 1);
	check_fault(-1, 0, "xsave-user");
}

static void fill(void)
{
	u64 v = 0x1122334455667788;

	asm volatile("fninit; fld1; fldpi; movq %0, %%xmm0; movq %0, %%xmm15" : : "r"(v));
	if (all & 4)
		asm volatile("vpcmpeqd %ymm1, %ymm1, %ymm1");
}

static void clear(void)
{
	asm volatile("fninit; xorps %xmm0, %xmm0; xorps %xmm1, %xmm1; xorps %xmm15, %xmm15");
	if (all & 4)
		asm volatile("vzeroall");
}

static u64 xmm(int n)
{
	u64 v;

	if (n == 0)
		asm volatile("movq %%xmm0, %0" : "=r"(v));
	else
		asm volatile("movq %%xmm15, %0" : "=r"(v));
	return v;
}

static void legacy(void)
{
	u32 bad = 0xffff0000, mxcsr;

	fill();
	memset(area, 0xcc, sizeof(area));
	TRY("fxsave64 %0", "+m"(area));
	check_fault(-1, 0, "fxsave");
	check(*(u16 *)area == 0x37f && (*(u16 *)(area + 2) >> 11 & 7) == 6 && area[4] == 0xc0, "fxsave-x87", "%x %x %x", *(u16 *)area,
	      *(u16 *)(area + 2), area[4]);
	check(*(u64 *)(area + 160) == 0x1122334455667788, "fxsave-xmm0");
	check(*(u64 *)(area + 32) == 0xc90fdaa22168c235 && *(u16 *)(area + 40) == 0x4000, "fxsave-st0");
	check(area[464] == 0xcc, "fxsave-leaves-software-area");
	check((*(u32 *)(area + 28) & 0xffbf) == 0xffbf, "fxsave-mxcsr-mask", "%x", *(u32 *)(area + 28));
	clear();
	TRY("fxrstor64 %0", : "m"(area));
	check(fault.vector == -1 && xmm(0) == 0x1122334455667788 && xmm(15) == xmm(0), "fxrstor");
	*(u32 *)(area + 24) |= bad;
	TRY("fxrstor64 %0", : "m"(area));
	check_fault(13, 0, "fxrstor-bad-mxcsr");
	TRY("fxsave64 %0", "+m"(area[8]));
	check_fault(13, 0, "fxsave-misaligned");
	write_cr0(read_cr0() | 8);
	TRY("fxsave64 %0", "+m"(area));
	check_fault(7, 0, "fxsave-ts");
	X("xsave64", &area, 7);
	check_fault(7, 0, "xsave-ts");
	write_cr0((read_cr0() & ~8ul) | 4);
	TRY("fxsave64 %0", "+m"(area));
	check_fault(7, 0, "fxsave-em");
	write_cr0(read_cr0() & ~4ul);
	mxcsr = 0x1f80;
	asm volatile("ldmxcsr %0" : : "m"(mxcsr));
}

void test(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	if (!(r[2] >> 26 & 1)) {
		skip("xsave", "absent");
		return;
	}
	XSETBV(0, 1);
	check_fault(6, 0, "xsetbv-without-osxsave");
	xgetbv(0);
	check_fault(6, 0, "xgetbv-without-osxsave");
	X("xsave", &area, 1);
	check_fault(6, 0, "xsave-without-osxsave");
	write_cr4(read_cr4() | 0x40000);
	cpuid(0xd, 0, r);
	all = r[0] & 7; /* what this test knows */
	u64 offered = (u64)r[3] << 32 | r[0];
	check((all & 3) == 3, "components");
	check(r[2] >= 576, "cpuid-d-size");
	check(xgetbv(0) == 1, "xcr0-at-reset");
	check((cpuid(0xd, 0, r), r[1]) == 576, "cpuid-d-current-size-1");
	XSETBV(0, 3);
	check(fault.vector == -1 && xgetbv(0) == 3, "xcr0-sse");
	if (all & 4) {
		XSETBV(0, 7);
		check(fault.vector == -1 && xgetbv(0) == 7, "xcr0-avx");
		check((cpuid(0xd, 0, r), r[1]) == 832, "cpuid-d-current-size-7");
		cpuid(0xd, 2, r);
		check(r[0] == 256 && r[1] == 576, "cpuid-d-2");
		XSETBV(0, 5);
		check_fault(13, 0, "avx-without-sse");
		XSETBV(0, 3);
		TRY("vpxor %ymm0, %ymm0, %ymm0");
		check_fault(6, 0, "avx-with-xcr0-clear");
		XSETBV(0, 7);
	}
	if ((offered & 0xe0) == 0xe0) {
		XSETBV(0, 0xe7);
		check(fault.vector == -1 && xgetbv(0) == 0xe7, "xcr0-avx512");
		u32 size = (cpuid(0xd, 7, r), r[0] + r[1]);
		check((cpuid(0xd, 0, r), r[1]) == size, "cpuid-d-current-size-e7");
		static const u8 parts[] = {0x27, 0x67, 0xa7, 0xc7, 0xe3, 0xe1};
		for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
			XSETBV(0, parts[i]);
			check_fault(13, 0, "avx512-in-part");
		}
		XSETBV(0, 7);
		TRY(".byte 0x62,0xf1,0x7c,0x48,0x57,0xc0"); /* vxorps %zmm0, %zmm0, %zmm0 */
		check_fault(6, 0, "avx512-with-xcr0-clear");
		TRY(".byte 0xc5,0xfc,0x47,0xc8"); /* kxorw %k0, %k0, %k1 */
		check_fault(6, 0, "opmask-with-xcr0-clear");
	}
	XSETBV(0, 0);
	check_fault(13, 0, "xcr0-without-x87");
	XSETBV(0, 6);
	check_fault(13, 0, "xcr0-6");
	XSETBV(1, 1);
	check_fault(13, 0, "xsetbv-ecx-1");
	XSETBV(~0u, 1);
	check_fault(13, 0, "xsetbv-ecx-max");
	for (int i = 3; i < 64; i++)
		if (!(offered >> i & 1)) {
			XSETBV(0, all | 1ull << i);
			if (fault.vector != 13)
				check(false, "xcr0-reserved", "%d", i);
		}
	TRY(".byte 0x66; xsetbv", : "c"(0), "a"((u32)all), "d"(0));
	check_fault(6, 0, "xsetbv-66");
	TRY(".byte 0xf0; xsetbv", : "c"(0), "a"((u32)all), "d"(0));
	check_fault(6, 0, "xsetbv-lock");
	TRY(".byte 0xf3; xgetbv", : "c"(0) : "eax", "edx");
	check_fault(6, 0, "xgetbv-f3");
	xgetbv(2);
	check_fault(13, 0, "xgetbv-2");
	check(xgetbv(0) == all, "xcr0-kept");
	user_call(user, NULL);
	legacy();

	cpuid(0xd, 1, r);
	u32 d1 = r[0];
	clear();
	if (d1 & 4) {
		check((xgetbv(1) & ~3ull) == 0 && fault.vector == -1, "in-use-nothing", "%lx", xgetbv(1));
		fill();
		check((xgetbv(1) & all) == all, "in-use-all", "%lx", xgetbv(1));
	}
	fill();
	memset(area, 0, sizeof(area));
	memset(area + 464, 0xcc, 48);
	X("xsave64", &area, all);
	check(fault.vector == -1 && HEADER(area)[0] == all && !HEADER(area)[1], "xsave", "%lx", HEADER(area)[0]);
	check(area[464] == 0xcc, "xsave-leaves-software-area");
	if (all & 4)
		check(*(u64 *)(area + 576 + 16) == ~0ull, "xsave-ymm");
	clear();
	X("xrstor64", &area, all);
	check(fault.vector == -1 && xmm(15) == 0x1122334455667788, "xrstor");
	HEADER(area)[0] = 1;
	X("xrstor64", &area, all);
	check(fault.vector == -1 && xmm(15) == 0 && xmm(0) == 0, "xrstor-init");
	HEADER(area)[0] = all;
	X("xrstor64", &area, 1);
	check(xmm(0) == 0, "xrstor-mask");
	HEADER(area)[0] = all | 1ull << 62;
	X("xrstor64", &area, all);
	check_fault(13, 0, "xrstor-bad-bv");
	HEADER(area)[0] = all;
	HEADER(area)[2] = 1;
	X("xrstor64", &area, all);
	check_fault(13, 0, "xrstor-bad-header");
	HEADER(area)[2] = 0;
	X("xrstor64", (area + 8), all);
	check_fault(13, 0, "xrstor-misaligned");
	X("xsave64", (area + 16), all);
	check_fault(13, 0, "xsave-misaligned");
	*(u32 *)(area + 24) = 0x80001f80;
	X("xrstor64", &area, all);
	check_fault(13, 0, "xrstor-bad-mxcsr");
	*(u32 *)(area + 24) = 0x1f80;
	TRY(".byte 0x0f, 0xae, 0xe0" /* XSAVE with a register operand */);
	check_fault(6, 0, "xsave-register");
	/* XSAVE of nothing writes only the header's bits of RFBM */
	memset(other, 0xee, sizeof(other));
	memset(HEADER(other), 0, 64);
	HEADER(other)[0] = 4;
	X("xsave64", &other, 0);
	check(other[0] == 0xee && HEADER(other)[0] == 4, "xsave-nothing");
	if (d1 & 1) {
		clear();
		memset(other, 0xee, sizeof(other));
		memset(HEADER(other), 0, 64);
		X("xsaveopt64", &other, all);
		check(fault.vector == -1 && !(HEADER(other)[0] & ~1ull) && other[160] == 0xee, "xsaveopt-init", "%lx", HEADER(other)[0]);
	}
	if (d1 & 2) {
		fill();
		memset(other, 0, sizeof(other));
		X("xsavec64", &other, all);
		check(fault.vector == -1 && HEADER(other)[1] == (1ull << 63 | all) && HEADER(other)[0] == all, "xsavec", "%lx %lx",
		      HEADER(other)[0], HEADER(other)[1]);
		clear();
		X("xrstor64", &other, all);
		check(fault.vector == -1 && xmm(15) == 0x1122334455667788, "xrstor-compact");
		HEADER(other)[1] = 1ull << 63 | 1;
		X("xrstor64", &other, all);
		check_fault(13, 0, "xrstor-compact-bv-beyond");
		HEADER(other)[1] = 1ull << 63 | all | 1ull << 62;
		X("xrstor64", &other, all);
		check_fault(13, 0, "xrstor-compact-unknown");
	}
	if (d1 & 8) {
		fill();
		memset(other, 0, sizeof(other));
		X("xsaves64", &other, all);
		check(fault.vector == -1 && HEADER(other)[1] == (1ull << 63 | all), "xsaves");
		clear();
		X("xrstors64", &other, all);
		check(fault.vector == -1 && xmm(15) == 0x1122334455667788, "xrstors");
		HEADER(other)[1] = 0;
		X("xrstors64", &other, all);
		check_fault(13, 0, "xrstors-standard-format");
		TRY_WRMSR(0xda0, 0);
		check_fault(-1, 0, "xss-0");
		TRY_WRMSR(0xda0, 1);
		check_fault(13, 0, "xss-user-component");
		cpuid(0xd, 1, r);
		check(r[1] == (all & 4 ? 832 : 576), "cpuid-d-1-size", "%d", r[1]);
	}
	write_cr4(read_cr4() & ~0x40000ul);
	X("xrstor64", &area, all);
	check_fault(6, 0, "xrstor-without-osxsave");
	TRY("vpxor %ymm0, %ymm0, %ymm0");
	check_fault(6, 0, "avx-without-osxsave");
}
