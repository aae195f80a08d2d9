/*
 * Every kind of instruction on memory that is a device: the test device's 64 KiB at 0xff000000, within a page, across two,
 * and with RAM on the other side. guest: bits=64
 */
#include "lib/guest.h"

static u8 *const mem = (u8 *)0xff000000;
static u8 ram[8192] __attribute__((aligned(4096)));

static void fill(void)
{
	for (int i = 0; i < 0x3000; i++)
		((volatile u8 *)mem)[i] = (u8)(i * 7 + (i >> 8));
}
static u8 at(int i) { return (u8)(i * 7 + (i >> 8)); }

static void moves(u8 *m, const char *where)
{
	u64 v;
	bool ok = true;

	*(volatile u64 *)m = 0x1122334455667788;
	ok &= *(volatile u64 *)m == 0x1122334455667788;
	*(volatile u32 *)(m + 1) = 0xa1b2c3d4;
	ok &= *(volatile u64 *)m == 0x112233a1b2c3d488;
	*(volatile u16 *)(m + 3) = 0xeeff;
	ok &= *(volatile u64 *)m == 0x112233eeffc3d488;
	*(volatile u8 *)(m + 7) = 0x99;
	ok &= *(volatile u64 *)m == 0x992233eeffc3d488;
	asm volatile("movzwl 3(%1), %k0" : "=r"(v) : "r"(m));
	ok &= v == 0xeeff;
	asm volatile("movsbq 7(%1), %0" : "=r"(v) : "r"(m));
	ok &= v == (u64)-0x67;
	asm volatile("movbe (%1), %0" : "=r"(v) : "r"(m));
	ok &= v == 0x88d4c3ffee332299;
	check(ok, where, "%lx", *(volatile u64 *)m);
}

static void rmw(u8 *m, const char *where)
{
	volatile u64 *q = (u64 *)m;
	u64 r;
	u8 f;
	bool ok = true;

	*q = 10;
	asm volatile("addq $5, %0" : "+m"(*q) : : "cc");
	ok &= *q == 15;
	asm volatile("lock subq $6, %0" : "+m"(*q) : : "cc");
	ok &= *q == 9;
	asm volatile("lock; orb $0xf0, %0" : "+m"(*m) : : "cc");
	ok &= *q == 0xf9;
	r = 0x77;
	asm volatile("xchg %0, %1" : "+r"(r), "+m"(*q));
	ok &= r == 0xf9 && *q == 0x77;
	r = 3;
	asm volatile("lock xaddq %0, %1" : "+r"(r), "+m"(*q) : : "cc");
	ok &= r == 0x77 && *q == 0x7a;
	u64 a = 0x7a;
	asm volatile("lock cmpxchgq %3, %1; sete %2" : "+a"(a), "+m"(*q), "=q"(f) : "r"(0x123456789abcull) : "cc");
	ok &= f && *q == 0x123456789abc;
	asm volatile("lock cmpxchgq %3, %1; sete %2" : "+a"(a), "+m"(*q), "=q"(f) : "r"(1ull) : "cc");
	ok &= !f && a == 0x123456789abc;
	*q = 0x10;
	asm volatile("btsq $40, %0" : "+m"(*q) : : "cc");
	ok &= *q == 0x10000000010;
	asm volatile("lock btrq $4, %1; setc %0" : "=q"(f), "+m"(*q) : : "cc");
	ok &= f && *q == 0x10000000000;
	*q = 6;
	asm volatile("mulq %1" : "=a"(r) : "m"(*q), "a"(7ull) : "rdx", "cc");
	ok &= r == 42;
	asm volatile("imulq $3, %1, %0" : "=r"(r) : "m"(*q) : "cc");
	ok &= r == 18;
	asm volatile("divq %1" : "=a"(r) : "m"(*q), "a"(43ull), "d"(0ull) : "cc");
	ok &= r == 7;
	asm volatile("bsf %1, %0" : "=r"(r) : "m"(*q) : "cc");
	ok &= r == 1;
	asm volatile("shldq $8, %1, %0" : "+m"(*q) : "r"(0xabull << 56) : "cc");
	ok &= *q == 0x6ab;
	asm volatile("sete %0" : "=m"(*m));
	asm volatile("cmpq %1, %0" : : "r"(*q), "m"(*q) : "cc");
	check(ok, where, "%lx", *q);
}

static void wide(u8 *m, const char *where)
{
	static u64 in[4] __attribute__((aligned(32))) = {1, 2, 0x3333, 0x4444}, out[4] __attribute__((aligned(32)));
	u64 lo, hi;
	u8 f;
	bool ok = true;

	asm volatile("movdqa %1, %%xmm0; movdqu %%xmm0, %0" : "=m"(*(u64(*)[2])m) : "m"(in));
	ok &= *(volatile u64 *)m == 1 && *(volatile u64 *)(m + 8) == 2;
	asm volatile("movdqu %1, %%xmm1; movdqa %%xmm1, %0" : "=m"(out) : "m"(*(u64(*)[2])m));
	ok &= out[0] == 1 && out[1] == 2;
	asm volatile("movq %1, %%xmm2; movhps %2, %%xmm2; paddq %%xmm2, %%xmm2; movdqa %%xmm2, %0" : "=m"(out) : "m"(*(u64 *)m), "m"(*(u64 *)(m + 8)));
	ok &= out[0] == 2 && out[1] == 4;
	asm volatile("fildll %1; fistpll %0" : "=m"(*(u64 *)m) : "m"(in[2]));
	ok &= *(volatile u64 *)m == 0x3333;
	asm volatile("fildll %1; fstpt %0; fldt %0; fistpll %2" : "=m"(*(u8(*)[10])m), "+m"(in[3]), "=m"(out[0]) : : "memory");
	ok &= out[0] == 0x4444;
	if (!((ulong)m & 15)) {
		*(volatile u64 *)m = 5, *(volatile u64 *)(m + 8) = 6;
		lo = 5, hi = 6;
		asm volatile("lock cmpxchg16b %2; sete %3" : "+a"(lo), "+d"(hi), "+m"(*(u64(*)[2])m), "=q"(f) : "b"(8ull), "c"(9ull) : "cc");
		ok &= f && *(volatile u64 *)m == 8 && *(volatile u64 *)(m + 8) == 9;
		asm volatile("movaps %%xmm0, %0; movntdq %%xmm0, %0; movaps %0, %%xmm3" : "=m"(*(u64(*)[2])m));
		ok &= *(volatile u64 *)m == 1;
	}
	check(ok, where);
}

static void strings(void)
{
	void *s, *d;
	ulong n;
	u8 f;

	fill();
	s = mem + 3, d = ram + 5, n = 4000;
	asm volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	bool ok = !n && s == mem + 4003;
	for (int i = 0; i < 4000; i++)
		ok &= ram[5 + i] == at(3 + i);
	check(ok, "movs-from-device");
	for (int i = 0; i < 4096; i++)
		ram[i] = (u8)(i ^ 0x5a);
	s = ram, d = mem + 4096 - 64, n = 32;
	asm volatile("rep movsq" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	ok = true;
	for (int i = 0; i < 256; i++)
		ok &= ((volatile u8 *)mem)[4032 + i] == (u8)(i ^ 0x5a);
	check(ok, "movs-to-device-across-pages");
	d = mem + 4090, n = 100;
	asm volatile("rep stosw" : "+D"(d), "+c"(n) : "a"(0xbeef) : "memory");
	check(*(volatile u16 *)(mem + 4090) == 0xbeef && *(volatile u16 *)(mem + 4288) == 0xbeef && *(volatile u16 *)(mem + 4290) != 0xbeef, "stos");
	fill();
	s = mem + 100 + 31 * 4, d = mem + 4200 + 31 * 4, n = 32;
	asm volatile("std; rep movsl; cld" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	check(((volatile u8 *)mem)[4200] == at(100) && ((volatile u8 *)mem)[4200 + 127] == at(227), "movs-backwards");
	fill();
	((volatile u8 *)mem)[300] = 0xff;
	for (int i = 200; i < 300; i++)
		((volatile u8 *)mem)[i] = 0;
	d = mem + 200, n = 1000;
	asm volatile("repne scasb; sete %2" : "+D"(d), "+c"(n), "=q"(f) : "a"(0xff) : "cc");
	check(f && d == mem + 301 && n == 899, "scas");
	memcpy(ram, mem, 512);
	ram[77] ^= 1;
	s = mem, d = ram, n = 512;
	asm volatile("repe cmpsb; setne %3" : "+S"(s), "+D"(d), "+c"(n), "=q"(f) : : "cc", "memory");
	check(f && s == mem + 78 && n == 512 - 78, "cmps");
	u64 v;
	s = mem + 8;
	asm volatile("lodsq" : "+S"(s), "=a"(v));
	check((u8)v == at(8) && s == mem + 16, "lods");
}

static void stack(void)
{
	ulong sp, v, w;

	fill();
	asm volatile("mov %%rsp, %0; mov %3, %%rsp; push $0x1234; pushq %%rbx; pop %1; pop %2; mov %0, %%rsp"
		     : "=&r"(sp), "=&r"(v), "=&r"(w)
		     : "r"(mem + 4096 + 4), "b"(0x9876543210ul)
		     : "memory");
	check(v == 0x9876543210 && w == 0x1234, "push-pop", "%lx %lx", v, w);
	*(volatile u64 *)(mem + 16) = 0xabcdef;
	asm volatile("push %1; pop %0" : "=m"(*(u64 *)(mem + 4092)) : "m"(*(u64 *)(mem + 16)));
	check(*(volatile u64 *)(mem + 4092) == 0xabcdef, "push-pop-operand");
	extern char mmio_target[];
	*(volatile u64 *)(mem + 24) = (ulong)mmio_target;
	asm volatile("xor %k0, %k0; jmp *%1; ud2\n.globl mmio_target\nmmio_target: inc %k0" : "=&r"(v) : "m"(*(u64 *)(mem + 24)) : "cc");
	check(v == 1, "jmp-through");
	extern char mmio_called[];
	*(volatile u64 *)(mem + 4093) = (ulong)mmio_called;
	asm volatile("jmp 1f\n.globl mmio_called\nmmio_called: mov $77, %k0; ret\n1: call *%1" : "=&r"(v) : "m"(*(u64 *)(mem + 4093)));
	check(v == 77, "call-through");
}

static void system_tables(void)
{
	struct {
		u16 limit;
		ulong base;
	} __attribute__((packed)) volatile *p = (void *)(mem + 64);

	asm volatile("sgdt %0" : "=m"(*p));
	check(p->base == (ulong)gdt, "sgdt");
	asm volatile("lgdt %0" : : "m"(*p));
	*(volatile u16 *)(mem + 128) = DATA;
	asm volatile("mov %0, %%fs; mov %%fs, %1" : : "m"(*(u16 *)(mem + 128)), "m"(*(u16 *)(mem + 130)) : "memory");
	check(*(volatile u16 *)(mem + 130) == DATA, "mov-segment");
	asm volatile("smsw %0" : "=m"(*(u16 *)(mem + 132)));
	check(*(volatile u16 *)(mem + 132) == (u16)read_cr0(), "smsw");
	asm volatile("fxsave64 %0" : "=m"(*(u8(*)[512])(mem + 0x800)));
	check(*(volatile u16 *)(mem + 0x800) == 0x37f, "fxsave");
	asm volatile("fxrstor64 %0" : : "m"(*(u8(*)[512])(mem + 0x800)));
	u32 bounds = 0;
	asm volatile("stmxcsr %0" : "=m"(*(u32 *)(mem + 0x700)));
	bounds = *(volatile u32 *)(mem + 0x700);
	check(bounds == 0x1f80, "stmxcsr", "%x", bounds);
}

/* A page of RAM with the device behind it. */
static void mixed(void)
{
	u64 *l3 = page_alloc(), *l2 = page_alloc(), *l1 = page_alloc();
	u8 *w = (u8 *)0x10000000000;

	boot_pml4[2] = (ulong)l3 | 7;
	l3[0] = (ulong)l2 | 7;
	l2[0] = (ulong)l1 | 7;
	l1[0] = (ulong)ram | 7;
	l1[1] = (ulong)mem | 7;
	l1[2] = (ulong)ram | 7;
	moves(w + 4093, "moves-ram-device");
	moves(w + 8190, "moves-device-ram");
	rmw(w + 4093, "rmw-ram-device");
	rmw(w + 8190, "rmw-device-ram");
	wide(w + 4090, "wide-ram-device");
	wide(w + 8185, "wide-device-ram");
	/* What lies behind is not there: nothing is written. */
	l1[2] = 0;
	invlpg(w + 8192);
	*(volatile u32 *)(mem + 4092) = 0x01020304;
	TRY("movl $-1, (%0)", : "r"(w + 8190) : "memory");
	check(fault.vector == 14 && fault.cr2 == (ulong)w + 8192 && *(volatile u32 *)(mem + 4092) == 0x01020304, "fault-behind-device");
	boot_pml4[2] = 0;
	write_cr3(read_cr3());
}

void test(void)
{
	moves(mem + 0x100, "moves");
	moves(mem + 4093, "moves-across");
	rmw(mem + 0x100, "rmw");
	rmw(mem + 4093, "rmw-across");
	wide(mem + 0x100, "wide");
	wide(mem + 0x101, "wide-misaligned");
	wide(mem + 4090, "wide-across");
	strings();
	stack();
	system_tables();
	mixed();
}
