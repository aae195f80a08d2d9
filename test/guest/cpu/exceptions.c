/* Each exception: its vector, error code, saved rip and flags; SDM vol. 3 ch. 6. guest: bits=both */
#include "lib/guest.h"

extern char at_ud2[], behind_int3[], at_div[];

static volatile struct fault seen;
static ulong scratch;

static void record(struct frame *f)
{
	seen.vector = (int)f->vector;
	seen.error = f->error;
	seen.rip = f->rip;
	seen.rflags = f->rflags;
}

static void traps(void)
{
	handle(3, record);
	seen.vector = -1;
	asm volatile("int3\n.globl behind_int3\nbehind_int3:");
	check(seen.vector == 3 && seen.rip == (ulong)behind_int3, "int3-rip-behind", "%lx", seen.rip);
	asm volatile("int $3");
	check(seen.vector == 3 && !seen.error, "int-3");
	check(!(seen.rflags & 0x10000), "trap-pushes-no-rf", "rflags %lx", seen.rflags);
	handle(3, NULL);
#ifndef __x86_64__
	handle(4, record);
	seen.vector = -1;
	asm volatile("movb $0x7f, %%al; incb %%al; into" : : : "eax", "cc");
	check(seen.vector == 4, "into");
	seen.vector = -1;
	asm volatile("xor %%eax, %%eax; into" : : : "eax", "cc");
	check(seen.vector == -1, "into-without-overflow");
	handle(4, NULL);
	int bounds[2] = {10, 20};
	TRY("bound %0, %1", : "r"(9), "m"(bounds));
	check_fault(5, 0, "bound-below");
	TRY("bound %0, %1", : "r"(21), "m"(bounds));
	check_fault(5, 0, "bound-above");
	TRY("bound %0, %1", : "r"(20), "m"(bounds));
	check_fault(-1, 0, "bound-within");
#endif
}

static void faults(void)
{
	TRY(".globl at_ud2\nat_ud2: ud2");
	check_fault(6, 0, "ud2");
	check(fault.rip == (ulong)at_ud2, "fault-rip-at");
	check(fault.rflags & 0x10000, "fault-pushes-rf", "rflags %lx", fault.rflags);
	TRY(".globl at_div\nat_div: divl %0", : "r"(0), "a"(1), "d"(0) : "cc");
	check_fault(0, 0, "divide-by-zero");
	check(fault.rip == (ulong)at_div, "divide-rip-at");
	TRY("divl %0", : "r"(2), "a"(0), "d"(2) : "cc");
	check_fault(0, 0, "divide-overflow");
	TRY("idivl %0", : "r"(-1), "a"(0x80000000), "d"(-1) : "cc");
	check_fault(0, 0, "idiv-min-by-minus-1");
	TRY("idivb %b0", : "q"(-1), "a"(0xff80) : "cc");
	check_fault(0, 0, "idiv-byte-overflow");
#ifndef __x86_64__
	TRY("aam $0", : "a"(1));
	check_fault(0, 0, "aam-0");
#endif
	TRY(".byte 0xf0; nop");
	check_fault(6, 0, "lock-nop");
	TRY(".byte 0xf0; addl $1, %k0", "+r"(scratch));
	check_fault(6, 0, "lock-register");
	TRY(".byte 0x0f, 0xff, 0xc0");
	check_fault(6, 0, "ud0");
	TRY(".byte 0x0f, 0xb9, 0xc0");
	check_fault(6, 0, "ud1");
	TRY(".fill 15, 1, 0x66\n nop");
	check_fault(13, 0, "sixteen-bytes");
	TRY(".fill 14, 1, 0x66\n nop");
	check_fault(-1, 0, "fifteen-bytes");
	TRY("int $0x30");
	check_vector(-1, "int-n-present");
}

static void numeric(void)
{
	u16 cw = 0x37b; /* divide by zero unmasked */
	u32 mxcsr = 0x1d80, bad = 0x10000;

	write_cr0(read_cr0() | 8);
	TRY("fninit");
	check_fault(7, 0, "ts-x87");
	TRY("xorps %xmm0, %xmm0");
	check_fault(7, 0, "ts-sse");
	TRY("fwait");
	check_fault(7, 0, "ts-mp-wait");
	write_cr0(read_cr0() & ~2ul);
	TRY("fwait");
	check_fault(-1, 0, "ts-wait-without-mp");
	write_cr0((read_cr0() | 2) & ~8ul);
	write_cr0(read_cr0() | 4);
	TRY("fninit");
	check_fault(7, 0, "em-x87");
	TRY("xorps %xmm0, %xmm0");
	check_fault(6, 0, "em-sse");
	write_cr0(read_cr0() & ~4ul);

	asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp" : : "m"(cw));
	TRY("fwait");
	check_fault(16, 0, "x87-error-at-fwait");
	TRY("fld1");
	check_fault(16, 0, "x87-error-at-next");
	TRY("fnclex; fwait");
	check_fault(-1, 0, "x87-cleared");
	asm volatile("fninit");

	asm volatile("ldmxcsr %0" : : "m"(mxcsr));
	TRY("xorps %xmm1, %xmm1; pcmpeqd %xmm0, %xmm0; psrld $25, %xmm0; pslld $23, %xmm0; divps %xmm1, %xmm0");
	check_fault(19, 0, "sse-divide-by-zero");
	write_cr4(read_cr4() & ~0x400ul);
	TRY("divps %xmm1, %xmm0");
	check_fault(6, 0, "sse-error-without-osxmmexcpt");
	write_cr4(read_cr4() | 0x400);
	TRY("ldmxcsr %0", : "m"(bad));
	check_fault(13, 0, "mxcsr-reserved");
	mxcsr = 0x1f80;
	asm volatile("ldmxcsr %0" : : "m"(mxcsr));
	static char buf[64] __attribute__((aligned(64)));
	TRY("movaps %%xmm0, %0", "=m"(buf[8]));
	check_fault(13, 0, "movaps-misaligned");
	write_cr4(read_cr4() & ~0x200ul);
	TRY("xorps %xmm0, %xmm0");
	check_fault(6, 0, "sse-without-osfxsr");
	write_cr4(read_cr4() | 0x200);
}

static void misaligned(void *arg)
{
	static u32 buf[4];
	ulong flags = read_flags();

	write_flags(flags | 0x40000);
	TRY("movl %0, %%eax", : "m"(*(u32 *)((char *)buf + 1)) : "eax");
	check_fault(17, 0, "alignment-user");
	write_flags(flags | 0x40000);
	TRY("movl %0, %%eax", : "m"(buf[1]) : "eax");
	check_fault(-1, 0, "alignment-aligned");
	write_flags(flags);
	TRY("movl %0, %%eax", : "m"(*(u32 *)((char *)buf + 1)) : "eax");
	check_fault(-1, 0, "alignment-without-ac");
}

static void alignment(void)
{
	static u32 buf[4];

	write_cr0(read_cr0() | 0x40000);
	user_call(misaligned, NULL);
	write_flags(read_flags() | 0x40000);
	TRY("movl %0, %%eax", : "m"(*(u32 *)((char *)buf + 1)) : "eax");
	write_flags(read_flags() & ~0x40000ul);
	check_fault(-1, 0, "alignment-supervisor");
	write_cr0(read_cr0() & ~0x40000ul);
}

static void gates(void)
{
	struct idt_entry old = idt[0x30];

	idt_gate(0x30, (void *)vector_entries[0x30], 0x0e, CODE, 0);
	TRY("int $0x30");
	check_fault(11, 0x30 * 8 + 2, "gate-not-present");
	idt_gate(0x30, (void *)vector_entries[0x30], 0x8e, 0x1000, 0);
	TRY("int $0x30");
	check_fault(13, 0x1000, "gate-bad-selector");
	idt_gate(0x30, (void *)vector_entries[0x30], 0x8e, 0, 0);
	TRY("int $0x30");
	check_fault(13, 0, "gate-null-selector");
	idt_gate(0x30, (void *)vector_entries[0x30], 0x8e, DATA, 0);
	TRY("int $0x30");
	check_fault(13, DATA, "gate-data-selector");
	idt_gate(0x30, (void *)vector_entries[0x30], 0x82, CODE, 0);
	TRY("int $0x30");
	check_fault(13, 0x30 * 8 + 2, "gate-bad-type");
	gdt_set(GDT_FREE, 0, 0xfffff, 0x1b, BITS == 64 ? 0xa : 0xc);
	idt_gate(0x30, (void *)vector_entries[0x30], 0x8e, GDT_FREE, 0);
	TRY("int $0x30");
	check_fault(11, GDT_FREE, "gate-segment-not-present");
	idt[0x30] = old;

	struct {
		u16 limit;
		ulong base;
	} __attribute__((packed)) p, q;
	asm volatile("sidt %0" : "=m"(p));
	q = p;
	q.limit = 0x20 * (u16)sizeof(idt[0]) - 1;
	asm volatile("lidt %0" : : "m"(q));
	TRY("int $0x40");
	asm volatile("lidt %0" : : "m"(p));
	check_fault(13, 0x40 * 8 + 2, "vector-beyond-idt");
}

static void from_user(void *arg)
{
	TRY("int $0x30");
	check_fault(13, 0x30 * 8 + 2, "user-int-gate-dpl");
	TRY("int $13");
	check_fault(13, 13 * 8 + 2, "user-int-13");
	TRY("hlt");
	check_fault(13, 0, "user-hlt");
	TRY("mov %%cr0, %0", "=r"(scratch));
	check_fault(13, 0, "user-cr0");
	TRY("in $0x80, %%al", : : "eax");
	check_fault(13, 0, "user-in");
	TRY("sti");
	check_fault(13, 0, "user-sti");
	TRY("rdmsr", : "c"(0x10) : "eax", "edx");
	check_fault(13, 0, "user-rdmsr");
	TRY("invd");
	check_fault(13, 0, "user-invd");
	TRY("lgdt (%0)", : "r"(gdt));
	check_fault(13, 0, "user-lgdt");
	TRY("ud2");
	check_fault(6, 0, "user-ud2");
	check((fault.cs & 3) == 3, "user-fault-cs", "cs %lx", fault.cs);
}

static void ignore(struct frame *f) {}

/* A fault while an exception is delivered: #DF with error 0; benign first ones are forgotten. */
static void double_faults(void)
{
	struct idt_entry gp = idt[13], ud = idt[6];

	idt[13].low &= ~(1ull << 47);
	TRY("mov %0, %%ds", : "r"(0x1003));
	check_fault(8, 0, "gp-then-np-is-df");
	idt[13] = gp;
	idt[6].low &= ~(1ull << 47);
	TRY("ud2");
	check_fault(11, 6 * 8 + 3, "ud-then-np-is-np");
	idt[6] = ud;
}

#ifdef __x86_64__
static volatile ulong ist_rsp;
static void on_ist(struct frame *f)
{
	ist_rsp = (ulong)f;
	f->rip += 2;
}

static void ist(void)
{
	static char stack[4096] __attribute__((aligned(16)));

	tss.ist[2] = (ulong)stack + 4088;
	handle(6, on_ist);
	idt_gate(6, (void *)vector_entries[6], 0x8e, CODE64, 3);
	asm volatile("ud2");
	check(ist_rsp > (ulong)stack && ist_rsp < (ulong)stack + 4096, "ist-stack", "%lx", ist_rsp);
	check(((ist_rsp + sizeof(struct frame)) & 15) == 0, "ist-stack-aligned", "%lx", ist_rsp);
	tss.ist[2] = 0x8000000000000000;
	idt_gate(12, (void *)vector_entries[12], 0x8e, CODE64, 0);
	handle(6, NULL);
	TRY("ud2");
	check_fault(12, 1, "ist-non-canonical");
	idt_gate(6, (void *)vector_entries[6], 0x8e, CODE64, 0);
	TRY("mov (%0), %%rax", : "r"(0x8000000000000000) : "rax");
	check_fault(13, 0, "non-canonical-load");
}
#endif

void test(void)
{
	handle(0x30, ignore);
	traps();
	faults();
	numeric();
	alignment();
	gates();
	double_faults();
	user_call(from_user, NULL);
#ifdef __x86_64__
	ist();
#endif
}
