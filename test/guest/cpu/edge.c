/*
 * Corners of 64-bit mode: single step over what is not a plain instruction, what MOV SS holds back, both ends of the
 * canonical space, segments made null by iret, SMSW and LMSW; SDM vol. 3 §17.3, §6.8.3. guest: bits=64
 */
#include "lib/guest.h"

#define same(got, want, name)                                                                                \
	({                                                                                                   \
		ulong got_ = (ulong)(got), want_ = (ulong)(want);                                            \
		check(got_ == want_, name, "%lx instead of %lx", got_, want_);                               \
	})
#define LABEL(l) extern char l[]
#define MARK(l)  ".globl " #l "\n" #l ": "
#define ACTIVE_LOW 0xffff0ff0ul
#define BS         0x4000ul
#define BD         0x2000ul
#define TF_ON      "pushf; orl $0x100, (%%rsp); popf\n"
#define TF_OFF     "pushf; andl $~0x100, (%%rsp); popf\n"

static volatile unsigned count;
static volatile ulong rips[16], dr6s[16];
static volatile u8 vectors[16];
static void on_db(struct frame *f)
{
	if (count < 16) {
		rips[count] = f->rip;
		dr6s[count] = read_dr6();
		vectors[count] = (u8)f->vector;
	}
	count++;
	write_dr6(0);
}

static void begin(void)
{
	count = 0;
	write_dr6(0);
}

static volatile bool timer_came;
static void on_timer(struct frame *f)
{
	timer_came = true;
	apic_write(APIC_EOI, 0);
}

static u16 read_ss(void) { u16 v; asm volatile("mov %%ss, %0" : "=r"(v)); return v; }

static void steps(void)
{
	LABEL(h_hlt);
	LABEL(m_ice);
	LABEL(m_gd);
	LABEL(s_user);
	u16 ss = read_ss();

	/* HLT ends with the trap that is due behind it. */
	handle(0x60, on_timer);
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, 0x60);
	apic_write(APIC_TMICT, 20000000);
	begin();
	asm volatile(TF_ON "sti\n" MARK(h_hlt) "hlt\n cli\n" TF_OFF : : : "memory", "cc");
	check(count >= 3 && rips[0] == (ulong)h_hlt && rips[1] == (ulong)h_hlt + 1, "step-over-hlt", "%u: %lx %lx", count, rips[0], rips[1]);
	check(!timer_came, "step-over-hlt-does-not-wait");
	apic_write(APIC_LVTT, 0x10000);
	asm volatile("sti; nop; nop; cli");

	/* MOV SS holds the step trap; INT1 is not one, and takes no step trap with it. */
	begin();
	asm volatile(TF_ON "mov %0, %%ss\n .byte 0xf1\n" MARK(m_ice) ".byte 0xf1\n nop\n" TF_OFF : : "r"(ss) : "memory", "cc");
	check(count >= 3 && rips[0] == (ulong)m_ice && dr6s[0] == ACTIVE_LOW, "mov-ss-then-int1", "%u: %lx %lx", count, rips[0], dr6s[0]);
	check(rips[1] == (ulong)m_ice + 1 && dr6s[1] == ACTIVE_LOW, "int1-with-tf", "%lx %lx", rips[1], dr6s[1]);
	check(rips[2] == (ulong)m_ice + 2 && dr6s[2] == (ACTIVE_LOW | BS), "step-behind-int1", "%lx %lx", rips[2], dr6s[2]);

	/* General detect is a fault, and is not held. */
	begin();
	write_dr7(0x2400);
	asm volatile("xor %%eax, %%eax\n" TF_ON "mov %0, %%ss\n" MARK(m_gd) "mov %%rax, %%dr6\n nop\n" TF_OFF : : "r"(ss) : "rax", "memory", "cc");
	write_dr7(0x400);
	check(count >= 2 && rips[0] == (ulong)m_gd && dr6s[0] == (ACTIVE_LOW | BD), "mov-ss-then-general-detect", "%u: %lx %lx", count, rips[0], dr6s[0]);
	check(rips[1] == (ulong)m_gd + 3 && dr6s[1] == (ACTIVE_LOW | BS), "step-behind-general-detect", "%lx %lx", rips[1], dr6s[1]);

	/* A data breakpoint that MOV SS holds, and then an instruction that is an exception itself. */
	static volatile u64 selector;
	selector = ss;
	write_dr0((ulong)&selector);
	write_dr7(0x000f0402);
	LABEL(w_int1);
	handle(3, on_db);
	begin();
	asm volatile("mov %0, %%ss\n .byte 0x2e, 0x2e, 0xf1\n" MARK(w_int1) "nop" : : "m"(selector));
	check(count == 1 && rips[0] == (ulong)w_int1, "held-breakpoint-and-int1", "%u: %lx", count, rips[0]);
	same(dr6s[0] & 1, 1, "held-breakpoint-and-int1-dr6");
	begin();
	asm volatile("mov %0, %%ss\n int $1\n nop" : : "m"(selector));
	check(count == 2, "held-breakpoint-and-int-1", "%u", count);
	begin();
	asm volatile("mov %0, %%ss\n .byte 0x2e, 0x2e, 0xcc\n nop" : : "m"(selector));
	check(count == 2, "held-breakpoint-and-int3", "%u", count);
	/* The breakpoint comes in the end at the first instruction of the other's handler, or before: both came. */
	check(vectors[0] + vectors[1] == 4, "held-breakpoint-and-int3-vectors", "%u %u", (u32)vectors[0], (u32)vectors[1]);
	write_dr7(0x400);
	handle(3, NULL);
	(void)s_user;
}

#define TOP 0x800000000000ul
static void canonical(void)
{
	struct {
		u16 limit;
		ulong base;
	} __attribute__((packed)) good, bad;
	static struct {
		u64 pcid, linear;
	} descriptor __attribute__((aligned(16)));
	static const ulong out[] = {TOP, 0xffff7ffffffffffful, 0x0123456789abcdef, 0x00ffffffffffff00};
	u64 *pdpt = page_alloc(), *pd = page_alloc(), *pt = page_alloc();
	u8 *page = page_alloc(), *edge = (u8 *)(TOP - 4096);
	u32 id[4];

	for (unsigned i = 0; i < ARRAY_SIZE(out); i++) {
		asm volatile("sgdt %0" : "=m"(good));
		bad = good;
		bad.base = out[i];
		TRY("lgdt %0", : "m"(bad));
		if (fault.vector < 0)
			asm volatile("lgdt %0" : : "m"(good));
		check_fault(13, 0, "lgdt-not-canonical");
		asm volatile("sidt %0" : "=m"(good));
		bad = good;
		bad.base = out[i];
		TRY("lidt %0", : "m"(bad));
		check_fault(13, 0, "lidt-not-canonical");
		gdt_set(GDT_FREE, (u32)out[i], 0xff, 0x82, 0);
		gdt[GDT_FREE / 8 + 1] = out[i] >> 32;
		TRY("lldt %w0", : "r"(GDT_FREE));
		check_fault(13, GDT_FREE, "lldt-not-canonical");
		gdt_set(GDT_FREE, (u32)out[i], 0xff, 0x89, 0);
		TRY("ltr %w0", : "r"(GDT_FREE));
		check_fault(13, GDT_FREE, "ltr-not-canonical");
		TRY("invlpg (%0)", : "c"(out[i]));
		check_fault(-1, 0, "invlpg-not-canonical");
		TRY("mov (%0), %%al", : "c"(out[i]) : "eax");
		check_fault(13, 0, "load-not-canonical");
		TRY("prefetcht0 (%0)", : "c"(out[i]));
		check_fault(-1, 0, "prefetch-not-canonical");
		TRY("clflush (%0)", : "c"(out[i]));
		check_fault(13, 0, "clflush-not-canonical");
		TRY("xchg %%rbp, %%rbx; mov (%%rbp), %%al; 77: xchg %%rbp, %%rbx", : "b"(out[i]) : "eax");
		check_fault(12, 0, "load-by-rbp-not-canonical");
		cpuid(7, 0, id);
		if (id[1] >> 10 & 1) {
			descriptor.pcid = 0;
			descriptor.linear = out[i];
			TRY("invpcid %0, %1", : "m"(descriptor), "r"(0ul));
			check_fault(13, 0, "invpcid-not-canonical");
		}
	}
	/* The type word of the upper half of a system descriptor must be 0. */
	gdt_set(GDT_FREE, 0x1000, 0xff, 0x82, 0);
	gdt[GDT_FREE / 8 + 1] = 0x1f0000000000;
	TRY("lldt %w0", : "r"(GDT_FREE));
	check_fault(13, GDT_FREE, "lldt-upper-type");
	gdt[GDT_FREE / 8 + 1] = 0;
	TRY("lldt %w0", : "r"(GDT_FREE));
	check_fault(-1, 0, "lldt-good");
	TRY("lldt %w0", : "r"(0));

	/* An instruction that ends with the lower half: what comes behind it is the fault. */
	boot_pml4[255] = (u64)pdpt | 7;
	pdpt[511] = (u64)pd | 7;
	pd[511] = (u64)pt | 7;
	pt[511] = (u64)page | 7;
	memset(page, 0xcc, 4096);
	memcpy(page + 4093, "\x0f\x1f\x00", 3); /* nopl (%rax) */
	TRY("mov %%rsp, %%rbx; call *%0; 77: mov %%rbx, %%rsp", : "r"(edge + 4093), "a"(page) : "rbx", "memory");
	check_fault(13, 0, "run-off-the-lower-half");
	same(fault.rip, TOP, "run-off-the-lower-half-rip");
	cpuid(0x40000000, 0, id);
	if (id[1] == 0x4b4d564b) {
		memcpy(page + 4093, "\x0f\x01\xc1", 3); /* vmcall */
		TRY("mov %%rsp, %%rbx; call *%0; 77: mov %%rbx, %%rsp", : "r"(edge + 4093), "a"(-1) : "rbx", "memory");
		check_fault(13, 0, "vmcall-at-the-end");
		same(fault.rip, TOP, "vmcall-at-the-end-rip");
		long v = -1;
		asm volatile("vmcall" : "+a"(v) : : "memory");
		same(v, -1000, "vmcall-unknown");
	}
	/* An access that runs into the hole. */
	TRY("mov (%0), %%rax", : "r"(edge + 4092) : "rax");
	check_fault(13, 0, "load-into-the-hole");
	/* Wrap from the top of the address space to 0 is canonical all the way. */
	TRY("movb -1, %%al", : : "eax");
	check_vector(14, "load-at-the-very-top");
	TRY("jmp *%0", : "r"(TOP));
	check_fault(13, 0, "jmp-not-canonical");
	TRY("mov %%rsp, %%rbx; push %0; ret; 77: mov %%rbx, %%rsp", : "r"(TOP) : "rbx", "memory");
	check_fault(13, 0, "ret-not-canonical");
	boot_pml4[255] = 0;
}

/* iret to CPL 3 makes segments of a higher privilege null; the base of GS stays what WRMSR made it. */
static ulong magic = 0x6d61676963;
static volatile ulong got;
static u16 user_gs, user_fs, user_ds;
static void user_segments(void *arg)
{
	asm volatile("mov %%gs, %0; mov %%fs, %1; mov %%ds, %2" : "=r"(user_gs), "=r"(user_fs), "=r"(user_ds));
	TRY("mov %%gs:(%1), %0", "=r"(got) : "r"((ulong)&magic - 0x400000));
}

static void nulled(void)
{
	asm volatile("mov %0, %%gs; mov %0, %%fs" : : "r"(DATA));
	wrmsr(0xc0000101, 0x400000);
	user_call(user_segments, NULL);
	same(user_gs, 0, "iret-nulls-gs");
	same(user_fs, 0, "iret-nulls-fs");
	same(user_ds, USERDATA, "iret-leaves-user-ds");
	check(fault.vector < 0 && got == magic, "null-gs-keeps-its-base", "vector %d, %lx", fault.vector, got);
	wrmsr(0xc0000101, 0);
}

static void machine_status(void)
{
	ulong cr0 = read_cr0(), v;
	static u64 memory;

	v = ~0ul;
	asm volatile("smsw %w0" : "+r"(v));
	same(v, (~0ul & ~0xfffful) | (cr0 & 0xffff), "smsw-16");
	v = ~0ul;
	asm volatile("smsw %k0" : "+r"(v));
	same(v, (u32)cr0, "smsw-32");
	asm volatile("smsw %q0" : "+r"(v));
	same(v, cr0, "smsw-64");
	memory = ~0ul;
	asm volatile("smsw %0" : "+m"(memory));
	same(memory, ~0xfffful | (cr0 & 0xffff), "smsw-memory-writes-16-bits");
	asm volatile("lmsw %w0" : : "r"(cr0 ^ 8));
	same(read_cr0(), cr0 ^ 8, "lmsw-ts");
	asm volatile("lmsw %w0" : : "r"((cr0 & ~1ul) ^ 4));
	same(read_cr0(), cr0 ^ 4, "lmsw-leaves-pe");
	asm volatile("lmsw %w0" : : "r"(cr0 ^ 0x20));
	same(read_cr0(), cr0, "lmsw-changes-four-bits-only");
	asm volatile("clts");
	write_cr0(cr0);
}

/* INVLPG is for all of a large page, whatever address in it is named. */
static void large_pages(void)
{
	u64 *pdpt = page_alloc(), *pd = page_alloc(), *pt = page_alloc();
	volatile char *va = (char *)0xffff900000000000;
	char *a = (char *)0x2000000, *b = (char *)0x2200000;

	boot_pml4[0x120] = (u64)pdpt | 3;
	pdpt[0] = (u64)pd | 3;
	for (unsigned i = 0; i < 512; i++) {
		a[i * 4096] = 'a';
		b[i * 4096] = 'b';
		pt[i] = (0x2000000 + i * 4096ul) | 3;
	}
	static const unsigned touched[] = {1, 3, 12, 200};
	for (unsigned t = 0; t < ARRAY_SIZE(touched); t++) {
		unsigned n = touched[t], wrong = 0;

		pd[0] = (u64)a | 0x83;
		invlpg((void *)va);
		for (unsigned i = 0; i < n; i++)
			wrong += va[i * 8192] != 'a';
		pd[0] = (u64)b | 0x83;
		invlpg((void *)(va + 511 * 4096));
		for (unsigned i = 0; i < n; i++)
			wrong += va[i * 8192] != 'b';
		/* From large to small pages and back. */
		pd[0] = (u64)pt | 3;
		invlpg((void *)(va + 100 * 4096));
		for (unsigned i = 0; i < n; i++)
			wrong += va[i * 8192] != 'a';
		pd[0] = (u64)b | 0x83;
		for (unsigned i = 0; i < 512; i++)
			invlpg((void *)(va + i * 4096));
		for (unsigned i = 0; i < n; i++)
			wrong += va[i * 8192] != 'b';
		check(!wrong, "invlpg-of-a-large-page", "%u wrong with %u touched", wrong, n);
	}
	/* Two regions that may share a record of whatever kind: 512 of them, then each alone. */
	unsigned wrong = 0;
	for (unsigned i = 0; i < 64; i++)
		pd[i] = (u64)a | 0x83;
	write_cr3(read_cr3());
	for (unsigned i = 0; i < 64; i++)
		wrong += va[i << 21] != 'a';
	for (unsigned i = 0; i < 64; i++) {
		pd[i] = (u64)b | 0x83;
		invlpg((void *)(va + ((ulong)i << 21) + 4096));
		wrong += va[(ulong)i << 21] != 'b';
	}
	check(!wrong, "invlpg-of-many-large-pages", "%u wrong", wrong);
	/* Of code. */
	a[0] = (char)0xb8, a[1] = 1, a[2] = a[3] = a[4] = 0, a[5] = (char)0xc3;
	memcpy(b, a, 6);
	b[1] = 2;
	int (*code)(void) = (int (*)(void))va;
	pd[0] = (u64)a | 0x83;
	invlpg((void *)va);
	int first = code();
	pd[0] = (u64)b | 0x83;
	invlpg((void *)(va + 0x100000));
	check(first == 1 && code() == 2, "invlpg-of-a-large-page-of-code");
	/* Global pages outlive CR3, not INVLPG and not CR4.PGE. */
	write_cr4(read_cr4() | 0x80);
	pd[0] = (u64)a | 0x183;
	invlpg((void *)va);
	wrong = code() != 1;
	pd[0] = (u64)b | 0x183;
	invlpg((void *)(va + 0x3000));
	wrong += code() != 2;
	pd[0] = (u64)a | 0x183;
	write_cr4(read_cr4() ^ 0x80);
	wrong += code() != 1;
	check(!wrong, "global-large-page");
	boot_pml4[0x120] = 0;
	write_cr3(read_cr3());
}

void test(void)
{
	handle(1, on_db);
	same(apic_read(APIC_VERSION) & 0xffff, 0x14, "apic-version");
	steps();
	canonical();
	nulled();
	machine_status();
	large_pages();
}
