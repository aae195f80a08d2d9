/* Common instructions with operands in RAM, across pages, and in memory that is a device (test device, local APIC).
 * guest: bits=64 */
#include "lib/guest.h"

#define DEVICE 0xff000000ul
#define FAR    0x40000000ul /* pages of RAM, of the device, and holes: see map() */

static u8 *m; /* 512 bytes of operand memory */
static const char *where;
static u8 *const hole = (u8 *)FAR; /* not present from FAR + 0x2000 on */

static void check2(bool ok, const char *name, u64 a, u64 b)
{
	char text[64], *p = text;

	for (const char *s = where; *s;)
		*p++ = *s++;
	*p++ = '-';
	while (*name && p < text + sizeof(text) - 1)
		*p++ = *name++;
	*p = 0;
	check(ok, text, "%lx %lx", a, b);
}
#define CHECK(ok, name)        check2(ok, name, *(volatile u64 *)m, 0)
#define CHECK2(ok, name, a, b) check2(ok, name, (u64)(a), (u64)(b))

static void set(u64 v)
{
	*(volatile u64 *)m = v;
}
static u64 get(void)
{
	return *(volatile u64 *)m;
}

static void moves(void)
{
	u64 a = 0, b = 0;

	set(0x1122334455667788);
	asm volatile("mov (%1), %b0" : "+a"(a) : "r"(m));
	CHECK2(a == 0x88, "mov-load-8", a, 0);
	a = 0xffffffffffffffff;
	asm volatile("mov 2(%1), %w0" : "+a"(a) : "r"(m));
	CHECK2(a == 0xffffffffffff5566, "mov-load-16", a, 0);
	asm volatile("mov 4(%1), %k0" : "+a"(a) : "r"(m));
	CHECK2(a == 0x11223344, "mov-load-32", a, 0);
	asm volatile("mov (%1), %0" : "+a"(a) : "r"(m));
	CHECK2(a == 0x1122334455667788, "mov-load-64", a, 0);
	asm volatile("mov 1(%1), %%ah; mov 7(%1), %%bh" : "+a"(a), "+b"(b) : "r"(m) : "memory");
	asm volatile("movb $0x99, (%0); movw $0xaabb, 1(%0); movl $0xccddeeff, 3(%0)" : : "r"(m) : "memory");
	CHECK(get() == 0x11ccddeeffaabb99, "mov-store-imm");
	asm volatile("movq $-2, (%0)" : : "r"(m) : "memory");
	CHECK(get() == (u64)-2, "mov-store-imm-64");
	asm volatile("mov %b1, (%0); mov %w1, 2(%0); mov %k1, 4(%0)" : : "r"(m), "a"(0x123456789abcdef0) : "memory");
	CHECK(get() == 0x9abcdef0def0fff0, "mov-store");
	asm volatile("mov %%ah, (%0); mov %%sil, 1(%0); mov %%r9b, 2(%0)"
	             :
	             : "D"(m), "a"(0x4200), "S"(0x43l)
	             : "memory", "r9");
	CHECK((get() & 0xffff) == 0x4342, "mov-store-8-registers");
	set(0x80f0);
	asm volatile("movzbl (%2), %k0; movsbq (%2), %1" : "=&r"(a), "=&r"(b) : "r"(m));
	CHECK2(a == 0xf0 && b == (u64)-16, "movzx-movsx-8", a, b);
	asm volatile("movzwq (%2), %0; movswl (%2), %k1" : "=&r"(a), "=&r"(b) : "r"(m));
	CHECK2(a == 0x80f0 && b == 0xffff80f0, "movzx-movsx-16", a, b);
	set(0x80000000);
	asm volatile("movslq (%1), %0" : "=r"(a) : "r"(m));
	CHECK2(a == 0xffffffff80000000, "movsxd", a, 0);
	set(0x1122334455667788);
	asm volatile("movbe (%2), %0; movbe (%2), %w1" : "=&r"(a), "+&r"(b) : "r"(m));
	CHECK2(a == 0x8877665544332211 && (b & 0xffff) == 0x8877, "movbe-load", a, b);
	asm volatile("movbe %k1, (%0)" : : "r"(m), "r"(0x01020304) : "memory");
	CHECK(get() == 0x1122334404030201, "movbe-store");
	set(0x33);
	a = 0x1111111122222222;
	asm volatile("stc; cmovnc (%1), %k0" : "+r"(a) : "r"(m) : "cc");
	CHECK2(a == 0x22222222, "cmov-32-clears", a, 0);
	asm volatile("stc; cmovc (%1), %0" : "+r"(a) : "r"(m) : "cc");
	CHECK2(a == 0x33, "cmov-64", a, 0);
	set(0);
	asm volatile("stc; setc (%0); setnc 1(%0)" : : "r"(m) : "memory", "cc");
	CHECK(get() == 1, "setcc");
	asm volatile("movnti %1, (%0)" : : "r"(m), "r"(0x5555555566666666) : "memory");
	CHECK(get() == 0x5555555566666666, "movnti");
}

static void arithmetic(void)
{
	u64 a, d, f;
	u8 c;

	set(5);
	asm volatile("addl $7, (%0); subw $2, (%0); orb $0x80, (%0); xorq $1, (%0); andl $0xff, (%0)"
	             :
	             : "r"(m)
	             : "memory", "cc");
	CHECK(get() == 0x8b, "add-sub-or-xor-and");
	asm volatile("stc; adcq %1, (%0); sbbl $0, (%0); incw (%0); decb (%0); negq (%0); notq (%0)"
	             :
	             : "r"(m), "r"(0x100ul)
	             : "memory", "cc");
	CHECK(get() == 0x18b, "adc-sbb-inc-dec-neg-not");
	asm volatile("cmpl $0x18b, (%1); setz %0" : "=q"(c) : "r"(m) : "cc");
	CHECK2(c == 1, "cmp", c, 0);
	asm volatile("testl $0x80, (%1); setnz %0" : "=q"(c) : "r"(m) : "cc");
	CHECK2(c == 1, "test", c, 0);
	a = 1;
	asm volatile("add (%1), %0" : "+r"(a) : "r"(m) : "cc");
	CHECK2(a == 0x18c, "add-load", a, 0);
	set(3);
	asm volatile("lock addl $4, (%0); lock incq (%0); lock orb $0x10, (%0); lock negw (%0)"
	             :
	             : "r"(m)
	             : "memory", "cc");
	CHECK(get() == 0xffe8, "lock");
	a = 0x1234;
	set(0xaaaabbbb);
	asm volatile("xchg %0, (%1)" : "+r"(a) : "r"(m) : "memory");
	CHECK2(a == 0xaaaabbbb && get() == 0x1234, "xchg-64", a, get());
	asm volatile("xchg %b0, (%1); xchg %w0, (%1)" : "+q"(a) : "r"(m) : "memory");
	CHECK2(a == 0xaaaa12bb && get() == 0xbb34, "xchg-8-16", a, get());
	set(0x10);
	a = 0x10;
	asm volatile("cmpxchg %3, (%2); sete %1" : "+a"(a), "=&q"(c) : "r"(m), "r"(0x77ul) : "memory", "cc");
	CHECK2(c && get() == 0x77, "cmpxchg-equal", a, get());
	asm volatile("lock cmpxchg %k3, (%2); sete %1" : "+a"(a), "=&q"(c) : "r"(m), "r"(0x88ul) : "memory", "cc");
	CHECK2(!c && a == 0x77 && get() == 0x77, "cmpxchg-differs", a, get());
	a = 0x77, d = 0;
	asm volatile("cmpxchg8b (%3); sete %2" : "+a"(a), "+d"(d), "=&q"(c) : "r"(m), "b"(1), "c"(2) : "memory", "cc");
	CHECK2(c && get() == 0x200000001, "cmpxchg8b", a, get());
	asm volatile("lock cmpxchg8b (%3); sete %2"
	             : "+a"(a), "+d"(d), "=&q"(c)
	             : "r"(m), "b"(1), "c"(2)
	             : "memory", "cc");
	CHECK2(!c && a == 1 && d == 2, "cmpxchg8b-differs", a, d);
	if (((ulong)m & 15) == 0) {
		*(volatile u64 *)(m + 8) = 0x99;
		a = get(), d = 0x99;
		asm volatile("lock cmpxchg16b (%3); sete %2"
		             : "+a"(a), "+d"(d), "=&q"(c)
		             : "r"(m), "b"(5l), "c"(6l)
		             : "memory", "cc");
		CHECK2(c && get() == 5 && *(volatile u64 *)(m + 8) == 6, "cmpxchg16b", a, get());
	} else {
		TRY("cmpxchg16b (%0)", : "r"(m) : "memory", "cc");
		CHECK2(fault.vector == 13, "cmpxchg16b-misaligned", fault.vector, 0);
	}
	set(0x100);
	a = 5;
	asm volatile("xadd %0, (%1); lock xadd %w0, (%1)" : "+r"(a) : "r"(m) : "memory", "cc");
	CHECK2(a == 0x105 && get() == 0x205, "xadd", a, get());
	set(0x8000000000000001);
	asm volatile("shlq (%1); setc %0" : "=q"(c) : "r"(m) : "memory", "cc");
	CHECK2(c && get() == 2, "shl", c, get());
	asm volatile("rolb $7, (%0); shrl %%cl, (%0); sarw (%0); rcrq (%0)" : : "r"(m), "c"(0) : "memory", "cc");
	set(0x1234567800000000);
	asm volatile("shld $8, %1, (%0)" : : "r"(m), "r"(0xab00000000000000) : "memory", "cc");
	CHECK(get() == 0x34567800000000ab, "shld");
	asm volatile("shrd %%cl, %k1, (%0)" : : "r"(m), "r"(0x0000cd), "c"(8) : "memory", "cc");
	CHECK(get() == 0x34567800cd000000, "shrd");
	set(7);
	asm volatile("imul (%1), %0" : "=r"(a) : "r"(m), "0"(6ul) : "cc");
	CHECK2(a == 42, "imul-2", a, 0);
	asm volatile("imul $-3, (%1), %k0" : "=r"(a) : "r"(m) : "cc");
	CHECK2(a == 0xffffffeb, "imul-3", a, 0);
	asm volatile("mulq (%2)" : "=a"(a), "=d"(d) : "r"(m), "0"(0x4000000000000000) : "cc");
	CHECK2(a == 0xc000000000000000 && d == 1, "mul", a, d);
	asm volatile("divl (%2)" : "=a"(a), "=d"(d) : "r"(m), "0"(100), "1"(0) : "cc");
	CHECK2(a == 14 && d == 2, "div", a, d);
	asm volatile("idivq (%2)" : "=a"(a), "=d"(d) : "r"(m), "0"(-100l), "1"(-1l) : "cc");
	CHECK2(a == (u64)-14 && d == (u64)-2, "idiv", a, d);
	set(0);
	TRY("divb (%0)", : "r"(m), "a"(1) : "cc");
	CHECK2(fault.vector == 0, "div-by-zero", fault.vector, 0);
	set(1);
	TRY("divq (%0)", : "r"(m), "a"(1l), "d"(1l) : "cc");
	CHECK2(fault.vector == 0, "div-overflow", fault.vector, 0);
	set(0xf0);
	asm volatile("bsf (%2), %0; bsr (%2), %1" : "=&r"(a), "=&r"(d) : "r"(m) : "cc");
	CHECK2(a == 4 && d == 7, "bsf-bsr", a, d);
	asm volatile("popcnt (%2), %0; tzcnt (%2), %1" : "=&r"(a), "=&r"(d) : "r"(m) : "cc");
	CHECK2(a == 4 && d == 4, "popcnt-tzcnt", a, d);
	set(0);
	for (unsigned i = 0; i < 32; i++)
		m[i] = 0;
	asm volatile("bts %1, 16(%0); btsw $17, 16(%0); btsl %k2, 16(%0); lock btcq $63, 16(%0)"
	             :
	             : "r"(m), "r"(-128l + 3), "r"(33)
	             : "memory", "cc");
	CHECK2(m[0] == 8 && m[16] == 2 && m[20] == 2 && m[23] == 0x80, "bts", m[0], *(volatile u64 *)(m + 16));
	asm volatile("bt %2, 16(%1); setc %0" : "=q"(c) : "r"(m), "r"(-125l) : "cc");
	asm volatile("btr %1, 16(%0)" : : "r"(m), "r"(-125l) : "memory", "cc");
	CHECK2(c == 1 && m[0] == 0, "bt-btr", c, m[0]);
	f = 0;
	asm volatile("crc32q (%1), %0" : "+r"(f) : "r"(m + 16));
	asm volatile("adcx (%1), %0" : "+r"(f) : "r"(m) : "cc");
}

static void strings(void)
{
	static u8 ram[64], copy[64];
	u64 a, c, s, d;
	u8 z;

	for (unsigned i = 0; i < 64; i++)
		ram[i] = (u8)(i + 1);
#define STRING(insn) asm volatile("cld; " insn "; cld" : "+a"(a), "+c"(c), "+S"(s), "+D"(d) : : "memory", "cc")
	memset(m, 0, 64);
	c = 0, a = 0, s = (ulong)ram, d = (ulong)m;
	STRING("movsb; movsw; movsl; movsq");
	CHECK2(!memcmp(m, ram, 15) && m[15] == 0 && d == (ulong)m + 15 && s == (ulong)ram + 15, "movs-to", s, d);
	memset(copy, 0, 64);
	s = (ulong)m, d = (ulong)copy;
	STRING("movsb; movsw; movsl; movsq");
	CHECK2(!memcmp(copy, ram, 15) && copy[15] == 0, "movs-from", s, d);
	c = 40, s = (ulong)ram, d = (ulong)m;
	STRING("rep movsb");
	CHECK2(!memcmp(m, ram, 40) && c == 0 && d == (ulong)m + 40, "rep-movsb-to", c, d);
	memset(copy, 0, 64);
	c = 5, s = (ulong)m, d = (ulong)copy;
	STRING("rep movsq");
	CHECK2(!memcmp(copy, ram, 40) && copy[40] == 0 && c == 0, "rep-movsq-from", c, d);
	c = 8, s = (ulong)m + 28, d = (ulong)m + 128 + 28;
	STRING("std; rep movsl");
	CHECK2(!memcmp(m + 128, ram, 32) && s == (ulong)m - 4, "rep-movsd-down", s, d);
	c = 15, s = (ulong)m, d = (ulong)m + 1;
	m[0] = 0x5a;
	STRING("rep movsb");
	CHECK2(m[15] == 0x5a && m[16] == ram[16], "rep-movsb-overlapping", m[15], m[16]);
	c = 0, s = 0x8000000000000000, d = 0x8000000000000000;
	STRING("rep movsb; rep stosb; rep lodsb");
	CHECK2(s == 0x8000000000000000, "rep-count-0", s, d);
	a = 0x1122334455667788, d = (ulong)m;
	STRING("stosb; stosw; stosl; stosq");
	CHECK2(m[0] == 0x88 && m[1] == 0x88 && m[2] == 0x77 && m[6] == 0x55 && m[7] == 0x88 && m[14] == 0x11, "stos",
	       *(u64 *)m, 0);
	c = 10, d = (ulong)m + 18, a = 0x1234;
	STRING("std; rep stosw");
	CHECK2(*(u16 *)m == 0x1234 && *(u16 *)(m + 18) == 0x1234 && d == (ulong)m - 2, "rep-stosw-down", d, 0);
	set(0x8877665544332211);
	s = (ulong)m, a = 0;
	STRING("lodsb");
	CHECK2(a == 0x11, "lodsb", a, 0);
	STRING("lodsw; lodsl");
	CHECK2(a == 0x77665544 && s == (ulong)m + 7, "lodsd", a, s);
	s = (ulong)m, c = 2;
	STRING("rep lodsw");
	CHECK2((a & 0xffff) == 0x4433 && c == 0, "rep-lodsw", a, c);
	memcpy(m, ram, 32);
	m[20] = 0;
	s = (ulong)m, d = (ulong)ram, c = 32;
	asm volatile("repe cmpsb; seta %0" : "=q"(z), "+c"(c), "+S"(s), "+D"(d) : : "memory", "cc");
	CHECK2(c == 11 && s == (ulong)m + 21 && !z, "repe-cmpsb", c, z);
	s = (ulong)ram, d = (ulong)m, c = 2;
	asm volatile("repe cmpsq; sete %0" : "=q"(z), "+c"(c), "+S"(s), "+D"(d) : : "memory", "cc");
	CHECK2(c == 0 && z, "repe-cmpsq", c, z);
	d = (ulong)m, c = 64, a = 0;
	asm volatile("repne scasb; sete %0" : "=q"(z), "+c"(c), "+D"(d) : "a"(a) : "memory", "cc");
	CHECK2(c == 43 && z && d == (ulong)m + 21, "repne-scasb", c, d);
	d = (ulong)m, a = 0x04030201;
	asm volatile("scasl; sete %0" : "=q"(z), "+D"(d) : "a"(a) : "memory", "cc");
	CHECK2(z, "scasd", z, d);
	/* 32-bit addresses */
	c = 0xf00000004, s = 0xabcd00000000 | (u32)(ulong)ram, d = 0xabcd00000000 | (u32)(ulong)m;
	STRING("addr32 rep movsb");
	CHECK2(!memcmp(m, ram, 4) && c == 0 && s == (u32)(ulong)ram + 4, "rep-movsb-a32", c, s);
	/* Ports: the latch of the test device */
	outl(0xe0, 0xa1b2c3d4);
	memset(m, 0, 16);
	d = (ulong)m;
	asm volatile("insb; insw; insl" : "+D"(d) : "d"(0xe0) : "memory");
	CHECK2(m[0] == 0xd4 && *(u16 *)(m + 1) == 0xc3d4 && *(u32 *)(m + 3) == 0xa1b2c3d4 && d == (ulong)m + 7, "ins",
	       get(), d);
	d = (ulong)m + 4, c = 3;
	asm volatile("std; rep insw; cld" : "+D"(d), "+c"(c) : "d"(0xe0) : "memory");
	CHECK2(get() >> 48 == 0xa1 && (u32)get() == 0xc3d4c3d4 && c == 0 && d == (ulong)m - 2, "rep-insw-down", get(),
	       d);
	set(0x3344556600112233);
	s = (ulong)m, c = 2;
	asm volatile("rep outsl" : "+S"(s), "+c"(c) : "d"(0xe0) : "memory");
	CHECK2(inl(0xe0) == 0x33445566 && s == (ulong)m + 8, "rep-outsd", inl(0xe0), s);
	s = (ulong)m;
	asm volatile("outsb" : "+S"(s) : "d"(0xe0) : "memory");
	CHECK2((inl(0xe0) & 0xff) == 0x33, "outsb", inl(0xe0), s);
}

static void stack_and_branches(void)
{
	u64 a, rsp, v;

	set(0x123456789abcdef0);
	asm volatile("push (%1); pop %0" : "=r"(a) : "r"(m) : "memory");
	CHECK2(a == 0x123456789abcdef0, "push", a, 0);
	asm volatile("push $-7; pop (%0)" : : "r"(m) : "memory");
	CHECK(get() == (u64)-7, "pop");
	asm volatile("pushw $0x55; popw (%0)" : : "r"(m) : "memory");
	CHECK(get() == 0xffffffffffff0055, "popw");
	asm volatile("lea 1f(%%rip), %0; mov %0, (%1); xor %0, %0; call *(%1); jmp 2f; 1: mov $0x42, %0; ret; 2:"
	             : "=&r"(a)
	             : "r"(m)
	             : "memory");
	CHECK2(a == 0x42, "call", a, 0);
	asm volatile("lea 1f(%%rip), %0; mov %0, (%1); jmp *(%1); ud2; 1:" : "=&r"(a) : "r"(m) : "memory");
	CHECK(1, "jmp");
	asm volatile("lea 1f(%%rip), %0; mov %k0, (%1); movw %2, 4(%1); ljmpl *(%1); ud2; 1: mov %%cs, %0"
	             : "=&r"(a)
	             : "r"(m), "i"(CODE64)
	             : "memory");
	CHECK2((u16)a == CODE64, "ljmp", a, 0);
	asm volatile(
	        "lea 1f(%%rip), %0; mov %0, (%1); movw %2, 8(%1); rex64 lcall *(%1); jmp 2f; 1: mov $1, %k0; lretq; 2:"
	        : "=&r"(a)
	        : "r"(m), "i"(CODE64)
	        : "memory");
	CHECK2(a == 1, "lcall-64", a, 0);
	/* The stack itself in this memory */
	asm volatile("mov %%rsp, %0; lea 256(%2), %%rsp; push $0x11; call 1f; pop %1; jmp 2f; 1: push %%rbp; mov "
	             "%%rsp, %%rbp;"
	             "pushf; popf; enter $16, $1; leave; pop %%rbp; ret; 2: mov %0, %%rsp"
	             : "=&r"(rsp), "=&r"(v)
	             : "r"(m)
	             : "memory", "cc");
	CHECK2(v == 0x11, "stack", v, 0);
	/* An exception on it, and back */
	asm volatile("mov %%rsp, %0; lea 512(%1), %%rsp; int3; mov %0, %%rsp" : "=&r"(rsp) : "r"(m) : "memory", "cc");
	CHECK(1, "interrupt-stack");
}

static void system(void)
{
	u64 a = 0;
	u16 w;

	set(0);
	asm volatile("mov %%ds, (%0); mov %%ss, 2(%0); mov %%cs, 4(%0)" : : "r"(m) : "memory");
	CHECK((get() & 0xffffffff0000) == ((u64)CODE64 << 32 | DATA << 16), "mov-from-sreg");
	set(DATA);
	asm volatile("mov (%0), %%es; mov (%0), %%ss" : : "r"(m) : "memory");
	asm volatile("mov %%es, %0" : "=r"(a));
	CHECK2((u16)a == DATA, "mov-to-sreg", a, 0);
	set(0);
	asm volatile("sldt (%0); str 2(%0); smsw 4(%0)" : : "r"(m) : "memory");
	CHECK(get() == ((u64)(u16)read_cr0() << 32 | GDT_TSS << 16), "sldt-str-smsw");
	gdt_set(GDT_FREE, 0, 0xff, 0x82, 0);
	gdt[GDT_FREE / 8 + 1] = 0;
	set(GDT_FREE);
	asm volatile("lldt (%1); sldt %0; lldt %w2" : "=&r"(w) : "r"(m), "r"(0) : "memory");
	CHECK2(w == GDT_FREE, "lldt", w, 0);
	gdt[GDT_TSS / 8] &= ~(2ull << 40);
	set(GDT_TSS);
	asm volatile("ltr (%0)" : : "r"(m) : "memory");
	CHECK2((gdt[GDT_TSS / 8] >> 40 & 0xf) == 11, "ltr", gdt[GDT_TSS / 8], 0);
	set(read_cr0() | 8);
	asm volatile("lmsw (%0)" : : "r"(m) : "memory");
	CHECK2(read_cr0() & 8, "lmsw", read_cr0(), 0);
	asm volatile("clts");
	set(0xffffffffffffffff);
	asm volatile("sgdt (%0); sidt 16(%0)" : : "r"(m) : "memory");
	CHECK2(*(u64 *)(m + 2) == (ulong)gdt && *(u64 *)(m + 18) == (ulong)idt && *(u16 *)(m + 16) == 0xfff,
	       "sgdt-sidt", get(), 0);
	asm volatile("lgdt (%0); lidt 16(%0)" : : "r"(m) : "memory");
	CHECK(1, "lgdt-lidt");
	set(DATA);
	u8 z;
	asm volatile("verw (%1); setz %0" : "=q"(z) : "r"(m) : "cc");
	CHECK2(z, "verw", z, 0);
	asm volatile("lar (%2), %k0; setz %1" : "=r"(a), "=q"(z) : "r"(m) : "cc");
	CHECK2(z && a == 0xcf9300 - 0xf0000, "lar", a, z);
	TRY("invlpg (%0)", : "r"(m));
	CHECK2(fault.vector == -1, "invlpg", 0, 0);
	u32 old = 0, mxcsr = 0;
	asm volatile("stmxcsr %0" : "=m"(old));
	set(0x1fa0);
	asm volatile("ldmxcsr (%1); stmxcsr %0; ldmxcsr %2" : "=m"(mxcsr) : "r"(m), "m"(old));
	CHECK2(mxcsr == 0x1fa0, "ldmxcsr", mxcsr, 0);
	asm volatile("fninit; fnstcw (%0); fnstsw 2(%0); fldcw (%0)" : : "r"(m) : "memory");
	CHECK((u32)get() == 0x37f, "fnstcw-fnstsw");
	asm volatile("fildl 8(%0); fistpll (%0); fldpi; fstps 8(%0)" : : "r"(m) : "memory");
	CHECK(*(u32 *)(m + 8) == 0x40490fdb, "fst");
}

static void vectors(void)
{
	u8 *at = (u8 *)(((ulong)m + 15) & ~15ul);
	static u8 ram[64] __attribute__((aligned(16)));

	for (unsigned i = 0; i < 32; i++)
		ram[i] = (u8)(0xa0 + i);
	memset(at, 0, 32);
	asm volatile("movdqu (%0), %%xmm0; movdqu %%xmm0, 1(%1)" : : "r"(ram), "r"(at) : "memory");
	CHECK2(!memcmp(at + 1, ram, 16) && at[17] == 0, "movdqu-store", at[1], at[16]);
	asm volatile("pxor %%xmm1, %%xmm1; movdqu 1(%1), %%xmm1; movdqu %%xmm1, 32(%0)"
	             :
	             : "r"(ram), "r"(at)
	             : "memory");
	CHECK2(!memcmp(ram + 32, ram, 16), "movdqu-load", ram[32], 0);
	asm volatile("movaps (%0), %%xmm2; movaps %%xmm2, (%1); movapd (%1), %%xmm3; movntdq %%xmm3, 16(%1)"
	             :
	             : "r"(ram), "r"(at)
	             : "memory");
	CHECK2(!memcmp(at, ram, 16) && !memcmp(at + 16, ram, 16), "movaps", at[0], at[16]);
	TRY("movaps %%xmm0, 1(%0)", : "r"(at) : "memory");
	CHECK2(fault.vector == 13 && fault.error == 0, "movaps-store-misaligned", fault.vector, 0);
	TRY("movdqa 8(%0), %%xmm0", : "r"(at) : "memory");
	CHECK2(fault.vector == 13, "movdqa-load-misaligned", fault.vector, 0);
	TRY("paddb 8(%0), %%xmm0", : "r"(at) : "memory");
	CHECK2(fault.vector == 13, "paddb-misaligned", fault.vector, 0);
	TRY("movups %%xmm0, 1(%0); movups 3(%0), %%xmm1", : "r"(at) : "memory");
	CHECK2(fault.vector == -1, "movups-misaligned", fault.vector, 0);
	memset(at, 0, 32);
	asm volatile(
	        "movq (%0), %%mm0; movq %%mm0, (%1); movd %%mm0, 8(%1); paddb (%1), %%mm0; movntq %%mm0, 16(%1); emms"
	        :
	        : "r"(ram), "r"(at)
	        : "memory");
	CHECK2(!memcmp(at, ram, 8) && *(u32 *)(at + 8) == *(u32 *)ram && at[16] == 0x40, "mmx", get(), at[16]);
	memset(at, 0, 32);
	asm volatile("movdqu (%0), %%xmm0; movq %%xmm0, (%1); movhps %%xmm0, 8(%1); movd %%xmm0, 16(%1); movss %%xmm0, "
	             "20(%1);"
	             "pextrw $1, %%xmm0, 24(%1); movlps %%xmm0, 32(%1)"
	             :
	             : "r"(ram), "r"(at)
	             : "memory");
	CHECK2(!memcmp(at, ram, 16) && *(u32 *)(at + 16) == *(u32 *)ram && *(u32 *)(at + 20) == *(u32 *)ram &&
	               *(u16 *)(at + 24) == 0xa3a2,
	       "sse-parts", *(u64 *)(at + 16), 0);
	asm volatile("pcmpeqd %%xmm1, %%xmm1; movdqu %%xmm1, (%1); pxor (%1), %%xmm0; pcmpeqb (%1), %%xmm1; pmovmskb "
	             "%%xmm1, %%eax"
	             :
	             : "r"(ram), "r"(at)
	             : "memory", "eax");
}

static void everything(void)
{
	moves();
	arithmetic();
	strings();
	stack_and_branches();
	system();
	vectors();
}

/* ---- the local APIC, which knows aligned doublewords ---- */

static void apic(void)
{
	volatile u32 *tpr = (u32 *)(APIC_BASE + APIC_TPR);
	u32 a, b;
	u64 cr8;

	asm volatile("movl $0x20, (%1); mov (%1), %0" : "=r"(a) : "r"(tpr) : "memory");
	check(a == 0x20, "apic-mov");
	asm volatile("mov %%cr8, %0" : "=r"(cr8));
	check(cr8 == 2, "apic-cr8-reads", "%lx", cr8);
	asm volatile("mov %1, %%cr8; mov (%2), %0" : "=r"(a) : "r"(5ul), "r"(tpr) : "memory");
	check(a == 0x50, "apic-cr8-writes", "%x", a);
	TRY("mov %0, %%cr8", : "r"(0x10ul));
	check_fault(13, 0, "apic-cr8-reserved");
	asm volatile("addl $0x10, (%1); orl $1, (%1); andl $0xf0, (%1); mov (%1), %0"
	             : "=r"(a)
	             : "r"(tpr)
	             : "memory", "cc");
	check(a == 0x60, "apic-read-modify-write", "%x", a);
	b = 0x10;
	asm volatile("xchg %0, (%1)" : "+r"(b) : "r"(tpr) : "memory");
	check(b == 0x60 && *tpr == 0x10, "apic-xchg", "%x", b);
	asm volatile("lock cmpxchg %2, (%1)" : "=a"(a) : "r"(tpr), "r"(0x30), "0"(0x10) : "memory", "cc");
	check(*tpr == 0x30, "apic-cmpxchg", "%x", *tpr);
	asm volatile("push $0x40; pop %%rax; mov %%eax, (%0); push %%rax; testl $0x40, (%0); pop %%rax"
	             :
	             : "r"(tpr)
	             : "memory", "rax", "cc");
	check(*tpr == 0x40, "apic-write");
	asm volatile("mov %1, %%rdi; stosl" : : "a"(0), "r"((ulong)tpr) : "memory", "rdi");
	check(*tpr == 0, "apic-stosd");
	static u32 copy[2];
	ulong from = APIC_BASE + APIC_VERSION, to = (ulong)copy;
	asm volatile("movsl" : "+S"(from), "+D"(to) : : "memory");
	check(copy[0] == apic_read(APIC_VERSION), "apic-movsd", "%x", copy[0]);
	asm volatile("mov (%1), %0" : "=a"(a) : "r"(APIC_BASE + 0x30ul));
	asm volatile("movabs 0xfee00030, %%eax" : "=a"(b));
	check(a == b, "apic-moffs");
}

/* ---- instructions that are none, and no-operations ---- */

static void odd(void)
{
	u64 a = 5;

	TRY(".byte 0x0f, 0x38, 0xf0, 0xc0");
	check_fault(6, 0, "movbe-register");
	TRY(".byte 0x8d, 0xc0");
	check_fault(6, 0, "lea-register");
	TRY(".byte 0xff, 0xe8");
	check_fault(6, 0, "ljmp-register");
	TRY(".byte 0xff, 0xd8");
	check_fault(6, 0, "lcall-register");
	TRY(".byte 0xfe, 0xd0");
	check_fault(6, 0, "group-4-2");
	TRY(".byte 0xff, 0xff");
	check_fault(6, 0, "group-5-7");
	TRY(".byte 0x8f, 0xc8");
	check_vector(6, "group-1a-1");
	TRY(".byte 0xc6, 0x08, 0x00", : "a"(&a));
	check_fault(6, 0, "group-11-1");
	TRY(".byte 0x8c, 0xf0");
	check_fault(6, 0, "mov-from-segment-6");
	TRY(".byte 0x8e, 0xf8");
	check_fault(6, 0, "mov-to-segment-7");
	TRY(".byte 0x8e, 0xc8");
	check_fault(6, 0, "mov-to-cs");
	TRY(".byte 0x0f, 0x20, 0xc8");
	check_fault(6, 0, "mov-cr1");
	TRY(".byte 0x0f, 0xba, 0xc0, 0x01");
	check_fault(6, 0, "group-8-0");
	TRY(".byte 0x0f, 0xc7, 0xc8");
	check_fault(6, 0, "cmpxchg8b-register");
	static const u8 gone[] = {0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60,
	                          0x61, 0x62, 0x82, 0x9a, 0xc4, 0xc5, 0xce, 0xd4, 0xd5, 0xd6, 0xea};
	static u8 code[16];
	for (unsigned i = 0; i < sizeof(gone); i++) {
		memset(code, 0, sizeof(code));
		code[0] = gone[i];
		code[1] = gone[i] == 0x62 || gone[i] == 0xc4 || gone[i] == 0xc5 ? 0 : 1;
		TRY("jmp *%0", : "r"(code) : "memory");
		check(fault.vector == 6, "gone-in-64-bit", "opcode %x vector %d", gone[i], fault.vector);
	}
	asm volatile("nop; xchg %%rax, %%rax; .byte 0x66, 0x90; .byte 0xf3, 0x90; nopw (%%rax); nopl 0(%%rax,%%rax,1); "
	             ".byte 0x0f, 0x1f, 0xc0;"
	             ".byte 0x0f, 0x1e, 0xc8; .byte 0x0f, 0x18, 0x20; prefetchnta (%%rax); .byte 0x2e, 0x90"
	             :
	             : "a"(0x8000000000000000));
	check(1, "nops");
	a = 0xffffffff11111111;
	asm volatile(".byte 0x90; .byte 0x87, 0xc0"
	             : "+a"(a)); /* xchg %eax, %eax clears the upper half; nop does not */
	check(a == 0x11111111, "xchg-eax-eax", "%lx", a);
	a = 1;
	u64 r8 = 2;
	asm volatile("mov %1, %%r8; .byte 0x49, 0x90; mov %%r8, %1" : "+a"(a), "+r"(r8) : : "r8");
	check(a == 2 && r8 == 1, "xchg-r8-rax");
	asm volatile("mov %1, %%r8; .byte 0x41, 0x90; mov %%r8, %1" : "+a"(a), "+r"(r8) : : "r8");
	check(a == 1 && r8 == 2, "xchg-r8d-eax");
	asm volatile("movabs %%al, 0x7000; movb $0x12, 0x7001; movabs 0x7000, %%ax" : "+a"(a) : : "memory");
	check(a == 0x1201, "moffs", "%lx", a);
	a = 0;
	asm volatile("mov $0x55, %%cl; mov %%rsp, %%rdx; lea (%%esp), %%eax; cmp %%edx, %%eax; setz %b0"
	             : "=a"(a)
	             :
	             : "rcx", "rdx", "cc");
	check((a & 0xff) == 1, "lea-a32");
}

/* ---- pages: boundaries with a hole, code that changes, code across pages ---- */

static u64 pt[512] __attribute__((aligned(4096)));

static void map(void)
{
	u64 *pdpt = (u64 *)(boot_pml4[0] & ~0xffful), *pd = (u64 *)(pdpt[FAR >> 30] & ~0xffful);

	pt[0] = (ulong)page_alloc() | 7;
	pt[1] = (ulong)page_alloc() | 7;
	pd[(FAR >> 21) & 511] = (ulong)pt | 7;
	pt[4] = (ulong)page_alloc() | 7; /* between holes */
	pt[6] = DEVICE | 7;
	pt[7] = (ulong)page_alloc() | 7;
	pt[8] = DEVICE | 7;
	write_cr3(read_cr3());
}

static void check_pf(ulong address, ulong error, const char *name)
{
	check(fault.vector == 14 && fault.cr2 == address && fault.error == error, name, "vector %d error %lx cr2 %lx",
	      fault.vector, fault.error, fault.cr2);
}

static void holes(void)
{
	u8 *end = hole + 0x2000;
	u64 c, s, d;

	memset(end - 16, 0x77, 16);
	TRY("mov -4(%0), %%rax", : "r"(end) : "rax");
	check_pf((ulong)end, 0, "load-crosses-to-hole");
	TRY("movq $0, -4(%0)", : "r"(end) : "memory");
	check_pf((ulong)end, 2, "store-crosses-to-hole");
	check(end[-1] == 0x77 && end[-4] == 0x77, "store-crosses-changes-nothing");
	TRY("lock incq -4(%0)", : "r"(end) : "memory");
	check_pf((ulong)end, 2, "rmw-crosses-to-hole");
	TRY("movdqu %%xmm0, -8(%0)", : "r"(end) : "memory");
	check_pf((ulong)end, 2, "movdqu-crosses-to-hole");
	TRY("movq $0, (%0)", : "r"(hole + 0x4000 - 4) : "memory");
	check_pf((ulong)hole + 0x4000 - 4, 2, "store-from-hole");
	c = 32, s = (ulong)hole, d = (ulong)end - 10;
	TRY("rep movsb", "+c"(c), "+S"(s), "+D"(d) : : "memory");
	check_pf((ulong)end, 2, "rep-movsb-to-hole");
	check(c == 22 && s == (ulong)hole + 10 && d == (ulong)end, "rep-movsb-to-hole-state", "%lx %lx %lx", c, s, d);
	c = 32, s = (ulong)end - 16, d = (ulong)hole;
	TRY("rep movsl", "+c"(c), "+S"(s), "+D"(d) : : "memory");
	check_pf((ulong)end, 0, "rep-movsd-from-hole");
	check(c == 28 && s == (ulong)end, "rep-movsd-from-hole-state", "%lx %lx", c, s);
	c = 8, d = (ulong)hole + 0x4000 + 16;
	TRY("std; rep stosq; cld", "+c"(c), "+D"(d) : "a"(0) : "memory");
	asm volatile("cld");
	check_pf((ulong)hole + 0x4000 - 8, 2, "rep-stosq-down-to-hole");
	check(c == 5, "rep-stosq-down-to-hole-state", "%lx", c);
	TRY("push (%0)", : "r"(end - 4) : "memory");
	check_pf((ulong)end, 0, "push-from-hole");
	static u64 rsp;
	fault.vector = -1;
	asm volatile("mov %%rsp, %0; movq $1f, fault_resume; mov %1, %%rsp; pop -4(%2); 1: mov %0, %%rsp; movq $0, "
	             "fault_resume"
	             : "+m"(rsp)
	             : "r"(hole + 0x800), "r"(end)
	             : "memory");
	check(fault.vector == 14 && fault.rsp == (ulong)hole + 0x800, "pop-to-hole-keeps-rsp", "rsp %lx", fault.rsp);
	TRY("call *(%0)", : "r"(end) : "memory");
	check_pf((ulong)end, 0, "call-through-hole");
	/* ins does not ask the device before the fault: the latch stays */
	d = (ulong)end;
	TRY("insl", "+D"(d) : "d"(0xe0) : "memory");
	check_pf((ulong)end, 2, "ins-to-hole");
	u64 fx = (ulong)end - 256;
	TRY("fxsave (%0)", : "r"(fx) : "memory");
	check_pf((ulong)end, 2, "fxsave-to-hole");
	TRY("cmpxchg8b -4(%0)", : "r"(end) : "memory", "rax", "rdx");
	check_pf((ulong)end, 2, "cmpxchg8b-to-hole");
}

static void code(void)
{
	u8 *end = hole + 0x2000, *p = hole + 0x1000 - 3;
	u64 a;

	/* mov $0x12345678, %eax; ret across pages */
	static const u8 mov[] = {0xb8, 0x78, 0x56, 0x34, 0x12, 0xc3};
	memcpy(p, mov, sizeof(mov));
	asm volatile("call *%1" : "=a"(a) : "r"(p) : "memory");
	check(a == 0x12345678, "code-across-pages", "%lx", a);
	p[4] = 0x99;
	asm volatile("call *%1" : "=a"(a) : "r"(p) : "memory");
	check(a == 0x99345678, "code-across-pages-second-changed", "%lx", a);
	p[1] = 0x11;
	asm volatile("call *%1" : "=a"(a) : "r"(p) : "memory");
	check(a == 0x99345611, "code-across-pages-first-changed", "%lx", a);
	/* Into the hole */
	memcpy(end - 3, mov, 3);
	TRY("jmp *%0", : "r"(end - 3) : "memory", "eax");
	check(fault.vector == 14 && (fault.error & ~0x10ul) == 0 && fault.cr2 == (ulong)end &&
	              fault.rip == (ulong)end - 3,
	      "code-into-hole", "vector %d error %lx cr2 %lx rip %lx", fault.vector, fault.error, fault.cr2, fault.rip);
	memset(end - 3, 0x90, 3);
	TRY("jmp *%0", : "r"(end - 3) : "memory", "eax");
	check(fault.vector == 14 && fault.cr2 == (ulong)end && fault.rip == (ulong)end, "code-runs-into-hole",
	      "rip %lx cr2 %lx", fault.rip, fault.cr2);
	/* Fifteen bytes that end with the page are one instruction; the sixteenth is not asked for */
	memset(end - 16, 0x66, 15);
	end[-2] = 0x90;
	end[-1] = 0xc3;
	asm volatile("call *%0" : : "r"(end - 16) : "memory");
	check(1, "code-ends-with-page");
	memset(end - 15, 0x66, 15);
	TRY("jmp *%0", : "r"(end - 15) : "memory");
	check_fault(13, 0, "fifteen-prefixes-before-hole");
	/* Its own next instruction */
	static const u8 self[] = {0xc6, 0x05, 0x01, 0,    0,
	                          0,    0x42, 0xb0, 0x11, 0xc3}; /* movb $0x42, 1(%rip); mov $0x11, %al; ret */
	memcpy(hole, self, sizeof(self));
	asm volatile("xor %%eax, %%eax; call *%1" : "=&a"(a) : "r"(hole) : "memory");
	check(a == 0x42, "self-modified", "%lx", a);
	/* By another mapping of the same page */
	pt[9] = pt[0];
	memcpy(hole + 0x9000, "\xb0\x01\xc3", 3);
	asm volatile("xor %%eax, %%eax; call *%1" : "=&a"(a) : "r"(hole) : "memory");
	check(a == 1, "code-first");
	hole[0x9001] = 2;
	asm volatile("xor %%eax, %%eax; call *%1" : "=&a"(a) : "r"(hole) : "memory");
	check(a == 2, "code-changed-by-alias", "%lx", a);
	/* Code in a device */
	memcpy(hole + 0x6000, mov, sizeof(mov));
	asm volatile("call *%1" : "=a"(a) : "r"(hole + 0x6000) : "memory");
	check(a == 0x12345678, "code-in-device", "%lx", a);
}

static void ignore(struct frame *f) {}

/* ---- an instruction breakpoint on a repeated instruction is met once ---- */

static volatile unsigned breaks;
static void on_break(struct frame *f)
{
	breaks++;
	f->rflags |= 0x10000;
	write_dr6(0xffff0ff0);
}

extern char break_movs[], break_outs[];
static void breakpoints(void)
{
	static u8 ram[32];
	u64 c = 4, s = (ulong)ram, d = (ulong)ram + 16;

	handle(1, on_break);
	write_dr0((ulong)break_movs);
	write_dr1((ulong)break_outs);
	write_dr7(0x40a);
	asm volatile("break_movs: rep movsb" : "+c"(c), "+S"(s), "+D"(d) : : "memory");
	check(breaks == 1 && c == 0, "breakpoint-rep-movsb", "%u", breaks);
	breaks = 0;
	c = 4;
	asm volatile("break_outs: rep outsb" : "+c"(c), "+S"(s) : "d"(0xe0) : "memory");
	check(breaks == 1 && c == 0, "breakpoint-rep-outsb", "%u", breaks);
	write_dr7(0x400);
	handle(1, NULL);
}

/* ---- in 64-bit mode a prefix does not choose between #GP and #SS (SDM vol. 1 3.3.7.1) ---- */

static void prefixes(void)
{
	u64 bad = 0x0100000000000000;
	static u64 rbp;

	TRY("movb %%ss:(%0), %%cl", : "a"(bad) : "rcx");
	check_fault(13, 0, "ss-prefix-non-canonical");
	TRY("mov %0, %%rsi; lodsb %%ss:(%%rsi), %%al", : "a"(bad) : "rsi", "memory");
	check_vector(13, "ss-prefix-lodsb");
	TRY("mov %%rbp, %0; mov %1, %%rbp; movb %%ds:(%%rbp), %%cl", "=m"(rbp) : "a"(bad) : "rcx");
	asm volatile("mov %0, %%rbp" : : "m"(rbp));
	check_fault(12, 0, "ds-prefix-non-canonical");
}

void test(void)
{
	static u8 ram[1024] __attribute__((aligned(64)));

	handle(3, ignore);
	where = "ram";
	m = ram;
	everything();
	where = "unaligned";
	m = ram + 3;
	everything();
	map();
	where = "across-pages";
	m = hole + 0x1000 - 3;
	everything();
	where = "device";
	m = (u8 *)DEVICE + 0x100;
	everything();
	where = "device-to-ram";
	m = hole + 0x7000 - 5;
	everything();
	where = "ram-to-device";
	m = hole + 0x8000 - 5;
	everything();
	apic();
	odd();
	holes();
	code();
	breakpoints();
	prefixes();
}
