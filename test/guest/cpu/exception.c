/* bits: 32 64. Each exception: vector, error code, saved rip and flags, and who wins when several apply (SDM vol. 3 ch. 6). */
#include "guest.h"

#define FAULT(name, vec, err, insn, ...)                                                                     \
	do {                                                                                                 \
		extern char at_##name[];                                                                     \
		trap_clear();                                                                                \
		asm volatile(TRY("at_" #name ": " insn) __VA_ARGS__);                                        \
		same(LAST.vector, vec, #name " vector");                                                     \
		same(LAST.error, err, #name " error code");                                                  \
		same(LAST.rip, (ulong)at_##name, #name " rip");                                              \
		ok(vec == DB || LAST.flags & F_RF, #name " sets RF in the saved flags");                     \
	} while (0)

static void basics(void)
{
	ulong zero = 0;
	static u8 unaligned[64] aligned(64);

	FAULT(div, DE, 0, "divl %0", : : "m"(zero), "a"(1), "d"(0) : "cc");
	FAULT(idiv_overflow, DE, 0, "idivl %0", : : "r"(-1), "a"(0x80000000), "d"(-1) : "cc");
	FAULT(div_overflow, DE, 0, "divb %b0", : : "q"(1), "a"(0x100) : "cc");
	FAULT(ud2, UD, 0, "ud2", );
	FAULT(ud1, UD, 0, ".byte 0x0f,0xb9,0xc0", );
	FAULT(ud0, UD, 0, ".byte 0x0f,0xff,0xc0", );
	FAULT(lea_reg, UD, 0, ".byte 0x8d,0xc0", );
	FAULT(lock_nop, UD, 0, ".byte 0xf0,0x90", );
	FAULT(lock_reg, UD, 0, ".byte 0xf0,0x01,0xc0", );
	FAULT(lock_cmp, UD, 0, ".byte 0xf0,0x39,0x00", : : "a"(unaligned));
	FAULT(lock_mov, UD, 0, ".byte 0xf0,0x89,0x00", : : "a"(unaligned));
	FAULT(mov_cs, UD, 0, ".byte 0x8e,0xc8", );
	FAULT(cr1, UD, 0, ".byte 0x0f,0x20,0xc8", );
	FAULT(cr5, UD, 0, ".byte 0x0f,0x20,0xe8", );
	FAULT(cmpxchg8b_reg, UD, 0, ".byte 0x0f,0xc7,0xc8", );
	FAULT(movbe_reg, UD, 0, ".byte 0x0f,0x38,0xf0,0xc0", );
	FAULT(null_ldt_load, GP, 0x1234 & ~3, "lldt %w0", : : "r"(0x1234));
	FAULT(rdmsr, GP, 0, "rdmsr", : : "c"(0x12345678) : "eax", "edx");
	FAULT(wrmsr, GP, 0, "wrmsr", : : "c"(0x12345678), "a"(0), "d"(0));
	FAULT(bad_ds, GP, 0x1234 & ~3, "mov %w0, %%ds", : : "r"(0x1234));
	FAULT(np_ds, NP, SEL_NP, "mov %w0, %%es", : : "r"(({ gdt_set(SEL_FREE, descriptor(0, 0xfffff, 0x13, 0xc)); SEL_FREE; })));
	(void)unaligned;
}

static void software(void)
{
	extern char at_int3[], at_into[], at_int50[];

	trap_clear();
	idt_reset(3);
	asm volatile("at_int3: int3\n771:\n.pushsection .ex,\"a\"\n" EX_WORD " 771b, 771b\n.popsection");
	same(LAST.vector, BP, "int3 vector");
	same(LAST.rip, (ulong)at_int3 + 1, "int3 is a trap");
	ok(!(LAST.flags & F_RF), "int3 saves no RF");
	trap_clear();
	asm volatile("at_int50: int $0x50\n771:\n.pushsection .ex,\"a\"\n" EX_WORD " 771b, 771b\n.popsection");
	same(LAST.vector, 0x50, "int n vector");
	same(LAST.rip, (ulong)at_int50 + 2, "int n saves the next rip");
#ifndef __x86_64__
	trap_clear();
	asm volatile("movb $127, %%al; addb $1, %%al\nat_into: into\n771:\n.pushsection .ex,\"a\"\n.long 771b, 771b\n.popsection" : : : "eax");
	same(LAST.vector, OF, "into vector");
	same(LAST.rip, (ulong)at_into + 1, "into is a trap");
	{
		static int bounds[2] = {1, 5};

		same(TRAP_OF("bound %0, %1", : : "r"(6), "m"(*(u64 *)bounds)), BR, "bound above");
		same(TRAP_OF("bound %0, %1", : : "r"(0), "m"(*(u64 *)bounds)), BR, "bound below");
		same(TRAP_OF("bound %0, %1", : : "r"(5), "m"(*(u64 *)bounds)), NONE, "bound within");
	}
	same(TRAP_OF(".byte 0x62,0xc0", ), UD, "bound with a register");
#else
	(void)at_into;
	same(TRAP_OF(".byte 0xce", ), UD, "into in 64-bit mode");
	same(TRAP_OF(".byte 0x06", ), UD, "push es in 64-bit mode");
	same(TRAP_OF(".byte 0x27", ), UD, "daa in 64-bit mode");
	same(TRAP_OF(".byte 0x60", ), UD, "pusha in 64-bit mode");
	same(TRAP_OF(".byte 0xd4,0x0a", ), UD, "aam in 64-bit mode");
	same(TRAP_OF(".byte 0x9a,0,0,0,0,8,0", ), UD, "lcall ptr in 64-bit mode");
	same(TRAP_OF(".byte 0xea,0,0,0,0,8,0", ), UD, "ljmp ptr in 64-bit mode");
	same(TRAP_OF(".byte 0xc5,0x00", ), UD, "lds in 64-bit mode");
	same(TRAP_OF(".byte 0x82,0xc0,0x00", ), UD, "82 in 64-bit mode");
#endif
}

/* int n through a gate with DPL 0, and faults while delivering. */
static ulong user_int50(ulong v) { asm volatile("int $0x50"); return v; }
static ulong user_int3(ulong v) { asm volatile("int3"); return v; }
static ulong user_int60(ulong v) { asm volatile("int $0x60"); return v; }
static ulong user_ud(ulong v) { asm volatile("ud2"); return v; }
static ulong user_icebp(ulong v) { asm volatile(".byte 0xf1"); return v; }

static void gates(void)
{
	struct table_reg small = {16 * sizeof(struct gate) - 1, (ulong)idt}, full = {sizeof(idt) - 1, (ulong)idt};

	same(in_user(user_int50, 0, 0), GP, "int n, gate DPL 0 from CPL 3");
	same(LAST.error, 0x50 * 8 + 2, "error code of gate DPL");
	idt_reset(3);
	same(in_user(user_int3, 0, 0), BP, "int3, gate DPL 3");
	idt[3].low &= ~(3ULL << 45);
	same(in_user(user_int3, 0, 0), GP, "int3, gate DPL 0");
	same(LAST.error, 3 * 8 + 2, "error code of int3");
	idt_reset(3);
	same(in_user(user_icebp, 0, 0), DB, "int1 needs no gate DPL");
	idt[UD].low &= ~(3ULL << 45);
	same(in_user(user_ud, 0, 0), UD, "exceptions need no gate DPL");
	idt[0x50].low &= ~(1ULL << 47);
	same(TRAP_OF("int $0x50", ), NP, "gate not present");
	same(LAST.error, 0x50 * 8 + 2, "its error code");
	idt[UD].low &= ~(1ULL << 47);
	same(TRAP_OF("ud2", ), NP, "#UD gate not present");
	same(LAST.error, UD * 8 + 2 + 1, "its error code has EXT");
	idt_reset(UD);
	idt_set(0x50, trap_stubs + 0x50 * 16, SEL_NP, 14, 0, 0);
	same(TRAP_OF("int $0x50", ), NP, "handler segment not present");
	same(LAST.error, SEL_NP, "its error code");
	idt_set(0x50, trap_stubs + 0x50 * 16, 0, 14, 0, 0);
	same(TRAP_OF("int $0x50", ), GP, "handler segment null");
	same(LAST.error, 0, "its error code");
	idt_set(0x50, trap_stubs + 0x50 * 16, SEL_DATA, 14, 0, 0);
	same(TRAP_OF("int $0x50", ), GP, "handler segment is data");
	same(LAST.error, SEL_DATA, "its error code");
	idt_set(0x50, trap_stubs + 0x50 * 16, 0xfff8, 14, 0, 0);
	same(TRAP_OF("int $0x50", ), GP, "handler segment beyond the GDT");
	same(LAST.error, 0xfff8, "its error code");
	idt_set(0x50, trap_stubs + 0x50 * 16, SEL_UCODE & ~3, 14, 0, 0);
	same(TRAP_OF("int $0x50", ), GP, "handler segment DPL 3 from CPL 0");
	same(LAST.error, SEL_UCODE & ~3, "its error code");
	idt_set(0x50, trap_stubs + 0x50 * 16, SEL_CODE, 0, 0, 0);
	same(TRAP_OF("int $0x50", ), GP, "gate of type 0");
	same(LAST.error, 0x50 * 8 + 2, "its error code");
#ifdef __x86_64__
	idt_set(0x50, trap_stubs + 0x50 * 16, SEL_CODE, 5, 0, 0);
	same(TRAP_OF("int $0x50", ), GP, "task gate in 64-bit mode");
	idt_set(0x50, trap_stubs + 0x50 * 16, SEL_CODE, 6, 0, 0);
	same(TRAP_OF("int $0x50", ), GP, "16-bit gate in 64-bit mode");
	idt_set(0x50, trap_stubs + 0x50 * 16, SEL_CODE32, 14, 0, 0);
	same(TRAP_OF("int $0x50", ), GP, "32-bit handler segment");
	same(LAST.error, SEL_CODE32, "its error code");
	idt_set(0x50, (void *)0x800000000000, SEL_CODE, 14, 0, 0);
	same(TRAP_OF("int $0x50", ), GP, "handler not canonical");
	same(LAST.error, 0, "its error code");
#endif
	idt_reset(0x50);
	lidt(&small);
	same(TRAP_OF("int $0x50", ), GP, "beyond the IDT limit");
	same(LAST.error, 0x50 * 8 + 2, "its error code");
	same(TRAP_OF("int $0x10", ), GP, "just beyond the IDT limit");
	lidt(&full);
	/* Conforming handler segment: keeps CPL. */
	gdt_set(SEL_FREE, SEL_CODE == SEL_CODE64 ? descriptor(0, 0xfffff, 0x9f, 0xa) : descriptor(0, 0xfffff, 0x9f, 0xc));
	idt_set(0x60, trap_stubs + 0x60 * 16, SEL_FREE, 14, 3, 0);
	same(TRAP_OF("int $0x60", ), 0x60, "conforming handler segment");
	idt_reset(0x60);
	(void)user_int60;
	/* Trap gate leaves IF. */
	idt_set(0x60, trap_stubs + 0x60 * 16, SEL_CODE, 15, 0, 0);
	static volatile ulong seen;
	void see(struct frame *f) { (void)f; seen = flags(); }
	on_vector(0x60, see);
	asm volatile("sti; nop; int $0x60; cli");
	ok(seen & F_IF, "trap gate leaves IF");
	idt_reset(0x60);
	asm volatile("sti; nop; int $0x60; cli");
	ok(!(seen & F_IF), "interrupt gate clears IF");
	asm volatile("pushf; orl $0x4000, (%%esp); popf; int $0x60" : : : "cc", "memory");
	ok(!(seen & F_NT), "delivery clears NT");
	set_flags(2);
	on_vector(0x60, NULL);
}

#ifdef __x86_64__
static u8 ist_stack[4096] aligned(16);
static volatile ulong ist_rsp;
static void ist_see(struct frame *f) { ist_rsp = (ulong)f; LAST.rsp = f->rsp; f->rip += 2; }

static void ist_and_stack(void)
{
	ulong before, after;

	tss[0].ist[2] = (ulong)ist_stack + sizeof(ist_stack) - 7; /* is aligned to 16 downward */
	idt_set(UD, trap_stubs + UD * 16, SEL_CODE, 14, 0, 3);
	on_vector(UD, ist_see);
	asm volatile("mov %%rsp, %0; ud2" : "=r"(before));
	ok(ist_rsp > (ulong)ist_stack && ist_rsp < (ulong)ist_stack + sizeof(ist_stack), "IST stack is used");
	same(ist_rsp + sizeof(struct frame), (ulong)ist_stack + sizeof(ist_stack) - 16, "IST stack is aligned");
	same(LAST.rsp, before, "rsp is saved");
	idt_reset(UD);
	/* Without IST at CPL 0: rsp aligned down to 16 before the push. */
	asm volatile("mov %%rsp, %%rbx; lea -13(%%rsp), %%rsp; mov %%rsp, %0; ud2; mov %%rsp, %1; mov %%rbx, %%rsp" : "=&r"(before), "=&r"(after) : : "rbx", "memory");
	same(after, before, "unaligned rsp survives");
	same(LAST.rsp, before, "unaligned rsp is saved");
	same(ist_rsp + sizeof(struct frame), before & ~15UL, "frame is aligned");
	on_vector(UD, NULL);
	/* A non-canonical IST stack: #SS while delivering #UD is a double fault with error 0. */
	tss[0].ist[3] = 0x800000000000;
	tss[0].ist[0] = (ulong)ist_stack + sizeof(ist_stack);
	idt_set(UD, trap_stubs + UD * 16, SEL_CODE, 14, 0, 4);
	same(TRAP_OF("ud2", ), SS, "#UD then #SS of its stack");
	same(LAST.error, 1, "its error code has EXT");
	idt_reset(UD);
	idt_set(GP, trap_stubs + GP * 16, SEL_CODE, 14, 0, 4);
	idt_set(DF, trap_stubs + DF * 16, SEL_CODE, 14, 0, 1);
	same(TRAP_OF("rdmsr", : : "c"(0x12345678) : "eax", "edx"), DF, "#GP then #SS is #DF");
	same(LAST.error, 0, "#DF error code");
	idt_reset(GP);
	idt_reset(DF);
}
#endif

/* Contributory and page faults in delivery (table 6-5). */
static void nesting(void)
{
	ulong va = 0x50000000;
	u8 *p = (u8 *)va;

	map(va, (ulong)page_alloc(), P_P | P_W | P_U);
	p[0] = 0;
	*pte_at(va, 1) = 0;
	invlpg(va);
	same(TRAP_OF("movb $1, %0", : "=m"(*p)), PF, "#PF");
	same(LAST.cr2, va, "cr2");
	same(LAST.error, 2, "error code");
	/* #PF gate's segment not present: #NP inside #PF is #DF. */
	idt_set(PF, trap_stubs + PF * 16, SEL_NP, 14, 0, 0);
	same(TRAP_OF("movb $1, %0", : "=m"(*p)), DF, "#PF then #NP is #DF");
	same(LAST.error, 0, "#DF error code");
	idt_reset(PF);
	idt_set(GP, trap_stubs + GP * 16, SEL_NP, 14, 0, 0);
	same(TRAP_OF("rdmsr", : : "c"(0x12345678) : "eax", "edx"), DF, "#GP then #NP is #DF");
	idt_reset(GP);
	idt_set(DE, trap_stubs, SEL_NP, 14, 0, 0);
	same(TRAP_OF("divl %0", : : "r"(0), "a"(0), "d"(0)), DF, "#DE then #NP is #DF");
	idt_reset(DE);
	idt_set(UD, trap_stubs + UD * 16, SEL_NP, 14, 0, 0);
	same(TRAP_OF("ud2", ), NP, "#UD then #NP is #NP");
	same(LAST.error, SEL_NP | 1, "with EXT");
	idt_reset(UD);
	/* IDT page away: #UD then #PF is #PF with cr2 at the gate. */
	struct table_reg moved = {sizeof(idt) - 1, va}, full = {sizeof(idt) - 1, (ulong)idt};
	static u64 copy[1024] aligned(4096);

	memcpy(copy, idt, sizeof(idt));
	/* Two tables can not be had: the page holds the low gates; move so that #UD is in a missing page and #PF in the next. */
	map(va + 0x1000, (ulong)copy, P_P | P_W | P_U);
	map(va + 0x2000, (ulong)copy + 4096, P_P | P_W | P_U);
	memcpy(copy, &idt[10], sizeof(idt) - 10 * sizeof(struct gate));
	moved.base = va + 0x1000 - 10 * sizeof(struct gate);
	lidt(&moved);
	trap_clear();
	asm volatile(TRY("ud2"));
	lidt(&full);
	same(LAST.vector, PF, "#UD with its gate on a missing page");
	same(LAST.cr2, va + 0x1000 - 4 * sizeof(struct gate), "cr2 at the gate");
	same(LAST.error & ~1u, 0, "error code of a supervisor read");
	lidt(&moved);
	trap_clear();
	asm volatile(TRY("divl %0") : : "r"(0), "a"(0), "d"(0));
	lidt(&full);
	same(LAST.vector, PF, "#DE then #PF is #PF");
	lidt(&moved);
	trap_clear();
	asm volatile("int $3\n771:\n.pushsection .ex,\"a\"\n" EX_WORD " 771b-1, 771b\n.popsection\n.pushsection .ex,\"a\"\n" EX_WORD " 771b-2, 771b\n.popsection\n");
	lidt(&full);
	same(LAST.vector, PF, "int $3 with its gate on a missing page");
}

static ulong user_priv(ulong n)
{
	switch (n) {
	case 0: asm volatile("hlt"); break;
	case 1: asm volatile("cli"); break;
	case 2: asm volatile("sti"); break;
	case 3: asm volatile("inb $0x80, %%al" : : : "eax"); break;
	case 4: asm volatile("outb %%al, $0x80" : : : "eax"); break;
	case 5: asm volatile("mov %%cr0, %0" : "=r"(n)); break;
	case 6: asm volatile("mov %0, %%cr3" : : "r"(n)); break;
	case 7: asm volatile("mov %%dr0, %0" : "=r"(n)); break;
	case 8: asm volatile("lgdt (%0)" : : "r"(0)); break;
	case 9: asm volatile("lmsw %w0" : : "r"(1)); break;
	case 10: asm volatile("clts"); break;
	case 11: asm volatile("invlpg (%0)" : : "r"(0)); break;
	case 12: asm volatile("wbinvd"); break;
	case 13: asm volatile("rdmsr" : : "c"(0x10) : "eax", "edx"); break;
	case 14: asm volatile("lldt %w0" : : "r"(0)); break;
	case 15: asm volatile("ltr %w0" : : "r"(0)); break;
	case 16: asm volatile("insb" : : "d"(0x80), "D"(0)); break;
	case 17: asm volatile("invd"); break;
	}
	return 0;
}

static void privilege(void)
{
	static const char *const name[] = {"hlt", "cli", "sti", "in", "out", "mov cr0", "mov to cr3", "mov dr0", "lgdt", "lmsw", "clts", "invlpg", "wbinvd", "rdmsr", "lldt", "ltr", "ins", "invd"};

	for (unsigned i = 0; i < ARRAY_LEN(name); i++) {
		same(in_user(user_priv, i, 0), GP, "%s at CPL 3", name[i]);
		same(LAST.error, 0, "%s at CPL 3: error code", name[i]);
	}
	for (unsigned i = 1; i < 5; i++)
		same(in_user(user_priv, i, F_IOPL), NONE, "%s at CPL 3 with IOPL 3", name[i]);
	tss[0].bitmap[0x80 / 8] = 0;
	same(in_user(user_priv, 3, 0), NONE, "in allowed by the bitmap");
	same(in_user(user_priv, 4, 0), NONE, "out allowed by the bitmap");
	tss[0].bitmap[0x80 / 8] = 0xff;
}

static volatile bool popf_if;
static ulong user_popf(ulong v)
{
	asm volatile("push %0; popf" : : "r"(v) : "cc", "memory");
	return flags();
}

static ulong user_ac(ulong at)
{
	u32 v;

	asm volatile("pushf; orl $0x40000, (%%" 
#ifdef __x86_64__
		     "rsp"
#else
		     "esp"
#endif
		     "); popf; movl (%1), %0" : "=r"(v) : "r"(at) : "cc", "memory");
	return v;
}

static void user_flags(void)
{
	in_user(user_popf, F_IF | F_IOPL | F_CF, 0);
	same(user_result & (F_IF | F_IOPL | F_CF), F_CF, "popf at CPL 3 leaves IF and IOPL");
	in_user(user_popf, F_IF, F_IOPL);
	same(user_result & (F_IF | F_IOPL), F_IF | F_IOPL, "popf at CPL 3 with IOPL 3 sets IF, leaves IOPL");
	static u32 words[4];
	write_cr0(read_cr0() | 1 << 18);
	same(in_user(user_ac, (ulong)words + 1, 0), AC, "#AC");
	same(LAST.error, 0, "#AC error code");
	same(in_user(user_ac, (ulong)words + 4, 0), NONE, "no #AC when aligned");
	write_cr0(read_cr0() & ~(1UL << 18));
	same(in_user(user_ac, (ulong)words + 1, 0), NONE, "no #AC without CR0.AM");
	set_flags(2);
}

static void length_limit(void)
{
	/* 15 bytes are the limit; a 16th is #GP. */
	same(TRAP_OF(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90", ), NONE, "15 bytes");
	trap_clear();
	asm volatile("771: .byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90\n772:\n.pushsection .ex,\"a\"\n" EX_WORD " 771b, 772b\n.popsection");
	same(LAST.vector, GP, "16 bytes");
	same(LAST.error, 0, "its error code");
	/* Decoding across a page border into nothing. */
	u8 *page = (u8 *)0x51000000;

	map((ulong)page, (ulong)page_alloc(), P_P | P_W | P_U);
	*pte_at((ulong)page + 4096, 1) = 0;
	invlpg((ulong)page + 4096);
	page[4094] = 0x0f; /* 0f 0b, then nothing needed */
	page[4095] = 0x0b;
	same(catch ((void (*)(void *))(page + 4094), 0), UD, "instruction that ends at a page border");
	page[4095] = 0x66;
	same(catch ((void (*)(void *))(page + 4095), 0), PF, "instruction that runs into a missing page");
	same(LAST.rip, (ulong)page + 4095, "its rip");
	same(LAST.cr2, (ulong)page + 4096, "its cr2");
	memset(page + 4081, 0x66, 15);
	same(catch ((void (*)(void *))(page + 4081), 0), PF, "15 prefixes before a missing page");
}

void guest_test(void)
{
	basics();
	software();
	gates();
#ifdef __x86_64__
	ist_and_stack();
#endif
	nesting();
	privilege();
	user_flags();
	length_limit();
}
