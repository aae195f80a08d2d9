/*
 * The base MSRs of FS and GS outside of long mode, as code does that sets its per-CPU area up before it gets there: WRMSR sets
 * the hidden base, a selector sets it anew; SDM vol. 3 §3.4.4, vol. 4. guest: bits=32
 */
#include "lib/guest.h"

#define FS_BASE 0xc0000100
#define GS_BASE 0xc0000101

static u32 words[4] = {0x11111111, 0x22222222, 0x33333333, 0x44444444};

void test(void)
{
	u32 id[4], v;

	cpuid(0x80000001, 0, id);
	if (!(id[3] >> 29 & 1)) {
		skip("base-msrs", "no long mode");
		return;
	}
	wrmsr(GS_BASE, (ulong)&words[1]);
	asm volatile("mov %%gs:0, %0" : "=r"(v));
	check(v == 0x22222222, "gs-base-by-wrmsr", "%x", v);
	check(rdmsr(GS_BASE) == (ulong)&words[1], "gs-base-read-back");
	asm volatile("mov %0, %%gs" : : "r"(DATA));
	check(rdmsr(GS_BASE) == 0, "selector-sets-gs-base");
	asm volatile("mov %%gs:(%1), %0" : "=r"(v) : "r"(&words[2]));
	check(v == 0x33333333, "gs-base-by-selector", "%x", v);
	wrmsr(FS_BASE, (ulong)&words[3]);
	asm volatile("mov %%fs:0, %0" : "=r"(v));
	check(v == 0x44444444, "fs-base-by-wrmsr", "%x", v);
	gdt_set(GDT_FREE, (u32)&words[0], 0xfffff, 0x93, 0xc);
	asm volatile("mov %0, %%fs" : : "r"(GDT_FREE));
	check(rdmsr(FS_BASE) == (ulong)&words[0], "fs-base-of-descriptor");
	asm volatile("mov %%fs:4, %0" : "=r"(v));
	check(v == 0x22222222, "fs-base-by-descriptor", "%x", v);
	/* The limit is the segment's all the same. */
	gdt_set(GDT_FREE, 0, 3, 0x93, 0x4);
	asm volatile("mov %0, %%fs" : : "r"(GDT_FREE));
	wrmsr(FS_BASE, (ulong)&words[0]);
	TRY("mov %%fs:0, %0", "=r"(v));
	check_fault(-1, 0, "fs-within-limit");
	TRY("mov %%fs:4, %0", "=r"(v));
	check_fault(13, 0, "fs-beyond-limit");
	asm volatile("mov %0, %%fs" : : "r"(DATA));
	TRY(".byte 0xf3, 0x0f, 0xae, 0xc0", : : "eax");
	check_fault(6, 0, "rdfsbase-outside-of-64-bit-mode");
	TRY(".byte 0x0f, 0x01, 0xf8");
	check_fault(6, 0, "swapgs-outside-of-64-bit-mode");
}
