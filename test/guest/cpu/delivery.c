/*
 * Delivery of exceptions and interrupts: gates and handler segments that will not do, stacks, faults within faults, privilege,
 * the length limit; SDM vol. 3 ch. 6. guest: bits=both
 */
#include "lib/guest.h"

enum { DE, DB, BP = 3, UD = 6, DF = 8, GP = 13, PF };
#ifdef __x86_64__
#define SP "rsp"
#else
#define SP "esp"
#endif
#define F_IF   0x200ul
#define F_IOPL 0x3000ul
#define F_NT   0x4000ul

#define same(got, want, name)                                                                                \
	({                                                                                                   \
		ulong got_ = (ulong)(got), want_ = (ulong)(want);                                            \
		check(got_ == want_, name, "%lx instead of %lx", got_, want_);                               \
	})
/* The vector of one instruction. */
#define VECTOR(...)                                                                                          \
	({                                                                                                   \
		TRY(__VA_ARGS__);                                                                            \
		fault.vector;                                                                                \
	})
struct table {
	u16 limit;
	ulong base;
} __attribute__((packed));

static void load_idt(const struct table *t) { asm volatile("lidt %0" : : "m"(*t)); }
static void idt_default(unsigned vector)
{
	idt_gate(vector, (void *)vector_entries[vector], vector == 3 || vector == 4 || vector == 0x81 ? 0xee : 0x8e, CODE, 0);
}

/* A page of its own, mapped at 4 KiB grain in the tables of 64-bit guests. */
#ifdef __x86_64__
#define PAGES 0x140000000ul
static u64 *pages;
static void pages_init(void)
{
	u64 *pdpt = (u64 *)(boot_pml4[0] & ~0xffful), *pd = page_alloc();

	pages = page_alloc();
	pd[0] = (u64)pages | 7;
	pdpt[PAGES >> 30] = (u64)pd | 7;
}

static void page_set(unsigned n, u64 pte)
{
	pages[n] = pte;
	invlpg((void *)(PAGES + n * 4096ul));
}
#endif

static volatile ulong seen_flags, seen_frame, seen_rsp;
static void note(struct frame *f)
{
	seen_flags = read_flags();
	seen_frame = (ulong)f;
	seen_rsp = f->rsp;
}
static void user_gates(void *arg)
{
	same(VECTOR(".byte 0xf1"), DB, "int1-needs-no-gate-dpl");
	same(VECTOR("ud2"), UD, "exception-needs-no-gate-dpl");
	idt[3].low &= ~(3ull << 45);
	TRY("int3");
	check_fault(GP, 3 * 8 + 2, "int3-gate-dpl");
	idt_default(3);
}

static void gates(void)
{
	struct table full = {sizeof(idt) - 1, (ulong)idt}, small = {16 * sizeof(idt[0]) - 1, (ulong)idt};
	void *entry = (void *)vector_entries[0x50];

	user_call(user_gates, NULL);
	idt_gate(0x50, entry, 0x8e, 0xfff8, 0);
	TRY("int $0x50");
	check_fault(GP, 0xfff8, "handler-beyond-gdt");
	idt_gate(0x50, entry, 0x8e, USERCODE & ~3, 0);
	TRY("int $0x50");
	check_fault(GP, USERCODE & ~3, "handler-less-privileged");
	idt_gate(0x50, entry, 0x80, CODE, 0);
	TRY("int $0x50");
	check_fault(GP, 0x50 * 8 + 2, "gate-type-0");
#ifdef __x86_64__
	idt_gate(0x50, entry, 0x85, CODE, 0);
	TRY("int $0x50");
	check_fault(GP, 0x50 * 8 + 2, "task-gate-in-long-mode");
	idt_gate(0x50, entry, 0x86, CODE, 0);
	TRY("int $0x50");
	check_fault(GP, 0x50 * 8 + 2, "16-bit-gate-in-long-mode");
	idt_gate(0x50, entry, 0x8e, CODE32, 0);
	TRY("int $0x50");
	check_fault(GP, CODE32, "32-bit-handler-in-long-mode");
	idt_gate(0x50, (void *)0x800000000000, 0x8e, CODE, 0);
	TRY("int $0x50");
	check_fault(GP, 0, "handler-not-canonical");
#endif
	idt_default(0x50);
	load_idt(&small);
	TRY("int $0x10");
	load_idt(&full);
	check_fault(GP, 0x10 * 8 + 2, "just-beyond-idt");

	gdt_set(GDT_FREE, 0, 0xfffff, 0x9f, BITS == 64 ? 0xa : 0xc);
	handle(0x50, note);
	seen_frame = 0;
	idt_gate(0x50, entry, 0x8e, GDT_FREE, 0);
	asm volatile("int $0x50" : : : "memory");
	check(seen_frame, "conforming-handler");
	idt_gate(0x50, entry, 0x8f, CODE, 0);
	asm volatile("sti; nop; int $0x50; cli" : : : "memory");
	check(seen_flags & F_IF, "trap-gate-leaves-if");
	idt_default(0x50);
	asm volatile("sti; nop; int $0x50; cli" : : : "memory");
	check(!(seen_flags & F_IF), "interrupt-gate-clears-if");
	asm volatile("pushf; orl $0x4000, (%%" SP "); popf; int $0x50; pushf; andl $~0x4000, (%%" SP "); popf" : : : "cc", "memory");
	check(!(seen_flags & F_NT), "delivery-clears-nt");
	handle(0x50, NULL);
}

#ifdef __x86_64__
static void note_ud(struct frame *f)
{
	note(f);
	f->rip += 2;
}

static void stacks(void)
{
	static char ist[4096] __attribute__((aligned(16)));
	ulong before, after;

	handle(UD, note_ud);
	asm volatile("mov %%rsp, %%rbx; lea -13(%%rsp), %%rsp; mov %%rsp, %0; ud2; mov %%rsp, %1; mov %%rbx, %%rsp"
		     : "=&r"(before), "=&r"(after) : : "rbx", "memory");
	same(after, before, "unaligned-rsp-survives");
	same(seen_rsp, before, "unaligned-rsp-saved");
	same(seen_frame + sizeof(struct frame), before & ~15ul, "frame-aligned");
	handle(UD, NULL);
	tss.ist[0] = (ulong)ist + sizeof(ist);
	tss.ist[3] = 0x800000000000;
	idt_gate(GP, (void *)vector_entries[GP], 0x8e, CODE, 4);
	idt_gate(DF, (void *)vector_entries[DF], 0x8e, CODE, 1);
	TRY("rdmsr", : "c"(0x12345678) : "eax", "edx");
	check_fault(DF, 0, "gp-then-ss-is-df");
	idt_default(GP);
	idt_default(DF);
}

/* Page faults while something is delivered. */
static void page_faults(void)
{
	struct table full = {sizeof(idt) - 1, (ulong)idt}, moved = {sizeof(idt) - 1, 0};
	char *copy = page_alloc();
	ulong old_base;

	page_alloc();
	/* Gates 0–9 on a missing page, the others behind it. */
	memcpy(copy, &idt[10], 4096);
	page_set(0, 0);
	page_set(1, (u64)copy | 3);
	moved.limit = 255 * 16 - 1;
	moved.base = PAGES + 4096 - 160;
	load_idt(&moved);
	TRY("ud2");
	load_idt(&full);
	same(fault.vector, PF, "ud-gate-missing-page");
	same(fault.cr2, PAGES + 4096 - 160 + 6 * 16, "ud-gate-cr2");
	same(fault.error & ~1ul, 0, "ud-gate-error-code");
	load_idt(&moved);
	TRY("divl %0", : "r"(0), "a"(0), "d"(0) : "cc");
	load_idt(&full);
	same(fault.vector, PF, "de-then-pf-is-pf");
	load_idt(&moved);
	TRY("int $3");
	load_idt(&full);
	same(fault.vector, PF, "int-3-gate-missing-page");
	/* #GP, then #PF: the page fault is what is delivered. */
	memcpy(copy, &idt[14], 2048);
	moved.base = PAGES + 4096 - 14 * 16;
	load_idt(&moved);
	TRY("rdmsr", : "c"(0x12345678) : "eax", "edx");
	load_idt(&full);
	same(fault.vector, PF, "gp-then-pf-is-pf");
	/* #PF, then its gate is missing: #DF, whose gate is at 8, so put the IDT where only gate 14 is missing. */
	memcpy(copy, idt, 14 * 16);
	page_set(0, (u64)copy | 3);
	memcpy(copy + 4096 - 14 * 16, idt, 14 * 16);
	page_set(1, 0);
	load_idt(&moved);
	TRY("movb (%0), %%al", : "r"(PAGES + 4096 * 5) : "eax");
	load_idt(&full);
	check_fault(DF, 0, "pf-then-pf-is-df");
	same(fault.cr2, PAGES + 4096, "pf-then-pf-cr2-is-of-the-second");

	/* A stack on a missing page, from user mode (rsp0), with the page fault on an IST stack. */
	static char ist[8192] __attribute__((aligned(16)));
	old_base = tss.rsp[0];
	tss.ist[0] = (ulong)ist + sizeof(ist);
	idt_gate(PF, (void *)vector_entries[PF], 0x8e, CODE, 1);
	asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; movq $77f, fault_resume; ud2; 77: mov %%rbx, %%rsp; movq $0, fault_resume"
		     : : "r"(PAGES + 3 * 4096) : "rbx", "memory");
	same(fault.vector, PF, "ud-with-stack-missing");
	same(fault.cr2, PAGES + 3 * 4096 - 8, "ud-with-stack-missing-cr2");
	same(fault.error, 2, "ud-with-stack-missing-error-code");
	same(fault.rsp, PAGES + 3 * 4096, "ud-with-stack-missing-rsp");
	idt_default(PF);
	tss.rsp[0] = old_base;
	page_set(0, 0);
}
#endif

static void nesting(void)
{
	idt_gate(DE, (void *)vector_entries[0], 0x8e, DATA, 0);
	TRY("divl %0", : "r"(0), "a"(0), "d"(0) : "cc");
	check_fault(DF, 0, "de-then-gp-is-df");
	idt_default(DE);
	idt_gate(UD, (void *)vector_entries[UD], 0x8e, DATA, 0);
	TRY("ud2");
	check_fault(GP, DATA | 1, "ud-then-gp-is-gp-with-ext");
	idt_default(UD);
	idt_gate(BP, (void *)vector_entries[BP], 0x8e, DATA, 0);
	TRY("int3");
	check_fault(GP, DATA, "int3-then-gp-without-ext");
	idt_default(BP);
	idt_gate(DB, (void *)vector_entries[DB], 0x8e, DATA, 0);
	TRY(".byte 0xf1");
	check_fault(GP, DATA | 1, "int1-then-gp-with-ext");
	idt_default(DB);
}

static ulong value;
static void user_privileged(void *arg)
{
	TRY("cli");
	check_fault(GP, 0, "user-cli");
	TRY("outb %%al, $0x80", :);
	check_fault(GP, 0, "user-out");
	TRY("insb", : "d"(0x80), "D"(&value) : "memory");
	check_fault(GP, 0, "user-ins");
	TRY("mov %0, %%cr3", : "r"(0ul));
	check_fault(GP, 0, "user-cr3");
	TRY("mov %%dr0, %0", "=r"(value));
	check_fault(GP, 0, "user-dr0");
	TRY("lmsw %w0", : "r"(1));
	check_fault(GP, 0, "user-lmsw");
	TRY("clts");
	check_fault(GP, 0, "user-clts");
	TRY("invlpg (%0)", : "r"(0ul));
	check_fault(GP, 0, "user-invlpg");
	TRY("wbinvd");
	check_fault(GP, 0, "user-wbinvd");
	TRY("lldt %w0", : "r"(0));
	check_fault(GP, 0, "user-lldt");
	TRY("ltr %w0", : "r"(0));
	check_fault(GP, 0, "user-ltr");
	TRY("lidt (%0)", : "r"(idt));
	check_fault(GP, 0, "user-lidt");
	TRY("inb $0x84, %%al", : : "eax");
	check_fault(-1, 0, "user-in-by-bitmap");
	TRY("inw $0x84, %%ax", : : "eax");
	check_fault(GP, 0, "user-in-word-by-bitmap");
	ulong f = read_flags();
	write_flags(f | F_IOPL | F_IF);
	check(!(read_flags() & F_IOPL), "user-popf-leaves-iopl");
	check(!(read_flags() & F_IF), "user-popf-leaves-if");
}

static void user_iopl(void *arg)
{
	TRY("cli");
	check_fault(-1, 0, "iopl-cli");
	TRY("sti; cli");
	check_fault(-1, 0, "iopl-sti");
	TRY("outb %%al, $0x80", :);
	check_fault(-1, 0, "iopl-out");
	TRY("hlt");
	check_fault(GP, 0, "iopl-hlt");
	write_flags(read_flags() & ~F_IOPL);
	check((read_flags() & F_IOPL) == F_IOPL, "iopl-popf-leaves-iopl");
}

static void privilege(void)
{
	tss.map[0x84 / 8] = (u8)~0x10;
	user_call(user_privileged, NULL);
	tss.map[0x84 / 8] = 0xff;
	write_flags(F_IOPL | 2);
	user_call(user_iopl, NULL);
	write_flags(2);
}

static void opcodes(void)
{
	static ulong m;

#define UNDEFINED(name, ...) same(VECTOR(".byte " #__VA_ARGS__, : "a"(&m) : "memory"), UD, name)
	UNDEFINED("lea-register", 0x8d, 0xc0);
	UNDEFINED("lock-cmp", 0xf0, 0x39, 0x00);
	UNDEFINED("lock-mov", 0xf0, 0x89, 0x00);
	UNDEFINED("lock-btc-register", 0xf0, 0x0f, 0xba, 0xf8, 0x01);
	UNDEFINED("lock-bt-memory", 0xf0, 0x0f, 0xba, 0x20, 0x01);
	UNDEFINED("lock-test", 0xf0, 0x85, 0x00);
	UNDEFINED("lock-push", 0xf0, 0xff, 0x30);
	UNDEFINED("lock-movs", 0xf0, 0xa4);
	UNDEFINED("lock-mov-cr0", 0xf0, 0x0f, 0x20, 0xc0);
	UNDEFINED("mov-to-cs", 0x8e, 0xc8);
	UNDEFINED("mov-to-segment-6", 0x8e, 0xf0);
	UNDEFINED("mov-from-segment-7", 0x8c, 0xf8);
	UNDEFINED("mov-cr1", 0x0f, 0x20, 0xc8);
	UNDEFINED("mov-cr5", 0x0f, 0x22, 0xe8);
	UNDEFINED("mov-cr7", 0x0f, 0x20, 0xf8);
	UNDEFINED("cmpxchg8b-register", 0x0f, 0xc7, 0xc8);
	UNDEFINED("movbe-register", 0x0f, 0x38, 0xf0, 0xc0);
	UNDEFINED("lgdt-register", 0x0f, 0x01, 0xd7);
	UNDEFINED("sidt-register", 0x0f, 0x01, 0xce);
	UNDEFINED("invlpg-register", 0x0f, 0x01, 0xff);
	UNDEFINED("group-8-reserved", 0x0f, 0xba, 0xc0, 0x00);
	UNDEFINED("group-5-reserved", 0xff, 0xf8);
	UNDEFINED("group-4-reserved", 0xfe, 0xd0);
	UNDEFINED("group-11-reserved", 0xc7, 0xc8, 0, 0, 0, 0);
	UNDEFINED("group-1a-reserved", 0x8f, 0xc8);
	UNDEFINED("far-jump-register", 0xff, 0xe8);
	UNDEFINED("far-call-register", 0xff, 0xd8);
	UNDEFINED("invalid-clwb", 0x66, 0x0f, 0xae, 0xf0);
	UNDEFINED("pcommit", 0x66, 0x0f, 0xae, 0xf8);
	UNDEFINED("vmxon", 0xf3, 0x0f, 0xc7, 0x30);
	UNDEFINED("vmlaunch", 0x0f, 0x01, 0xc2);
	UNDEFINED("vmrun", 0x0f, 0x01, 0xd8);
	UNDEFINED("forced-emulation-prefix", 0x0f, 0x0b, 0x6b, 0x76, 0x6d);
	UNDEFINED("rsm", 0x0f, 0xaa);
	UNDEFINED("0f-04", 0x0f, 0x04);
	UNDEFINED("0f-0a", 0x0f, 0x0a);
	UNDEFINED("0f-24", 0x0f, 0x24, 0xc0);
	UNDEFINED("0f-26", 0x0f, 0x26, 0xc0);
	UNDEFINED("0f-a6", 0x0f, 0xa6, 0xc0);
#ifdef __x86_64__
	UNDEFINED("into", 0xce);
	UNDEFINED("push-es", 0x06);
	UNDEFINED("pop-ds", 0x1f);
	UNDEFINED("daa", 0x27);
	UNDEFINED("aas", 0x3f);
	UNDEFINED("pusha", 0x60);
	UNDEFINED("popa", 0x61);
	UNDEFINED("bound", 0x62, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	UNDEFINED("aam", 0xd4, 0x0a);
	UNDEFINED("aad", 0xd5, 0x0a);
	UNDEFINED("salc", 0xd6);
	UNDEFINED("lcall-pointer", 0x9a, 0, 0, 0, 0, 8, 0);
	UNDEFINED("ljmp-pointer", 0xea, 0, 0, 0, 0, 8, 0);
	UNDEFINED("82", 0x82, 0xc0, 0x00);
#else
	UNDEFINED("bound-register", 0x62, 0xc0);
	UNDEFINED("lds-register", 0xc5, 0xc0, 0x90);
	UNDEFINED("swapgs", 0x0f, 0x01, 0xf8);
	UNDEFINED("sysret", 0x0f, 0x07);
#endif
}

#ifdef __x86_64__
/* Calls an address that may not be executable. */
static int vector_of_call(void *at)
{
	TRY("mov %%rsp, %%rbx\n call *%0\n jmp 78f\n77: mov %%rbx, %%rsp\n78:", : "r"(at) : "rbx", "memory", "cc");
	return fault.vector;
}

static void page_edge(void)
{
	u8 *page = page_alloc(), *at = (u8 *)PAGES;

	page_set(0, (u64)page | 3);
	page_set(1, 0);
	page[4094] = 0x0f;
	page[4095] = 0x0b;
	same(vector_of_call(at + 4094), UD, "ud2-ends-at-missing-page");
	page[4095] = 0x66;
	same(vector_of_call(at + 4095), PF, "instruction-runs-into-missing-page");
	same(fault.rip, PAGES + 4095, "instruction-runs-into-missing-page-rip");
	same(fault.cr2, PAGES + 4096, "instruction-runs-into-missing-page-cr2");
	page[4095] = 0xc3;
	same(vector_of_call(at + 4095), -1, "ret-at-page-end");
	same(vector_of_call((void *)0x800000000000), GP, "call-not-canonical");
	page_set(0, 0);
}
#endif

void test(void)
{
	gates();
	nesting();
	privilege();
	opcodes();
#ifdef __x86_64__
	pages_init();
	stacks();
	page_faults();
	page_edge();
#endif
}
