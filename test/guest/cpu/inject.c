/*
 * Who comes first: interrupts, NMIs, traps, faults and shadows in every order, and faults while an event is
 * delivered or returned from; SDM vol. 3 §6.7, §6.9, table 6-2. guest: bits=both
 */
#include "lib/guest.h"

#ifdef __x86_64__
#define R  "r"
#define SP "rsp"
#else
#define R  "e"
#define SP "esp"
#endif
#define same(got, want, name)                                                                                \
	({                                                                                                   \
		ulong got_ = (ulong)(got), want_ = (ulong)(want);                                            \
		check(got_ == want_, name, "%lx instead of %lx", got_, want_);                               \
	})
#define LABEL(l) extern char l[]
#define MARK(l)  ".globl " #l "\n" #l ": "

/* What came, in order. */
static volatile unsigned count;
static volatile struct {
	unsigned vector;
	ulong rip, flags;
} came[16];
static volatile bool hold_eoi;

static void note(struct frame *f)
{
	if (count < ARRAY_SIZE(came)) {
		came[count].vector = (u32)f->vector;
		came[count].rip = f->rip;
		came[count].flags = f->rflags;
	}
	count++;
	if (f->vector >= 0x20 && f->vector != 0x30 && !hold_eoi)
		apic_write(APIC_EOI, 0);
	if (f->vector == 1)
		f->rflags &= ~0x100ul;
	if (f->vector == 6)
		f->rip += 2;
}

static void begin(void)
{
	cli();
	count = 0;
	write_dr6(0);
}

static bool order(unsigned n, unsigned a, unsigned b, unsigned c)
{
	unsigned want[] = {a, b, c};
	bool ok = count == n;

	for (unsigned i = 0; i < n && i < 3; i++)
		ok &= came[i].vector == want[i];
	return ok;
}
#define ordered(name, n, a, b, c)                                                                            \
	check(order(n, a, b, c), name, "%u came: %x %x %x", count, came[0].vector, came[1].vector, came[2].vector)

static void self(unsigned vector) { apic_write(APIC_ICR, 0x44000 | vector); }
static void self_nmi(void) { apic_write(APIC_ICR, 0x44400 & ~0x40000); }

static void interrupts(void)
{
	LABEL(i_sti);
	LABEL(i_popf);
	LABEL(i_int);
	LABEL(i_ud);
	LABEL(i_iret);
	LABEL(i_hlt);

	begin();
	self(0x50);
	self(0x61);
	asm volatile("sti; nop\n" MARK(i_sti) "nop; nop; cli" : : : "memory");
	ordered("two-interrupts-by-priority", 2, 0x61, 0x50, 0);
	same(came[0].rip, i_sti, "first-interrupt-rip");
	/* The first handler's iret returns there, and the second comes before anything is done. */
	same(came[1].rip, i_sti, "second-interrupt-rip");

	begin();
	self(0x50);
	self(0x51);
	asm volatile("sti; nop; nop; cli" : : : "memory");
	ordered("same-class-by-vector", 2, 0x51, 0x50, 0);

	begin();
	self(0x50);
	asm volatile("pushf; orl $0x200, (%%" SP "); popf\n" MARK(i_popf) "cli" : : : "memory", "cc");
	ordered("popf-has-no-shadow", 1, 0x50, 0, 0);
	same(came[0].rip, i_popf, "popf-interrupt-rip");

	begin();
	self(0x50);
	asm volatile("sti; sti; cli" : : : "memory");
	ordered("second-sti-has-no-shadow", 1, 0x50, 0, 0);

	begin();
	self(0x50);
	asm volatile("sti; int $0x30\n" MARK(i_int) "nop; cli" : : : "memory");
	ordered("int-n-in-shadow-comes-first", 2, 0x30, 0x50, 0);
	same(came[0].rip, i_int, "int-n-rip");
	same(came[1].rip, i_int, "interrupt-behind-int-n-rip");
	check(came[0].flags & 0x200, "int-n-saves-if");

	begin();
	self(0x50);
	asm volatile("sti; ud2\n" MARK(i_ud) "cli" : : : "memory");
	ordered("fault-in-shadow-comes-first", 2, 6, 0x50, 0);
	same(came[0].rip, i_ud - 2, "fault-in-shadow-rip");
	same(came[1].rip, i_ud, "interrupt-behind-fault-rip");

	begin();
	self(0x50);
	asm volatile("sti; hlt\n" MARK(i_hlt) "cli" : : : "memory");
	ordered("sti-hlt", 1, 0x50, 0, 0);
	same(came[0].rip, i_hlt, "sti-hlt-rip");

	begin();
	self(0x50);
#ifdef __x86_64__
	asm volatile("mov %%rsp, %%rax; push $0x10; push %%rax; pushf; orl $0x200, (%%rsp); mov %%cs, %%ecx; push %%rcx; lea i_iret(%%rip), %%rcx; push %%rcx; iretq\n"
		     MARK(i_iret) "cli" : : : "rax", "rcx", "memory", "cc");
#else
	asm volatile("pushf; orl $0x200, (%%esp); push %%cs; push $i_iret; iret\n" MARK(i_iret) "cli" : : : "memory", "cc");
#endif
	ordered("iret-has-no-shadow", 1, 0x50, 0, 0);
	same(came[0].rip, i_iret, "iret-interrupt-rip");

	begin();
	apic_write(APIC_TPR, 0x50);
	self(0x50);
	self(0x61);
	asm volatile("sti; nop; nop; cli" : : : "memory");
	ordered("tpr-holds-its-class", 1, 0x61, 0, 0);
	apic_write(APIC_TPR, 0x40);
	asm volatile("sti; nop; nop; cli" : : : "memory");
	ordered("tpr-lowered", 2, 0x61, 0x50, 0);
	apic_write(APIC_TPR, 0);
#ifdef __x86_64__
	begin();
	asm volatile("mov %0, %%cr8" : : "r"(15ul));
	self(0x50);
	LABEL(i_cr8);
	asm volatile("sti; nop; nop; mov %0, %%cr8\n" MARK(i_cr8) "cli" : : "r"(0ul) : "memory");
	ordered("cr8-lowered", 1, 0x50, 0, 0);
	same(came[0].rip, i_cr8, "cr8-lowered-rip");
#endif
	/* With no EOI a lower one waits. */
	begin();
	hold_eoi = true;
	self(0x61);
	asm volatile("sti; nop; nop; cli" : : : "memory");
	self(0x50);
	asm volatile("sti; nop; nop; cli" : : : "memory");
	ordered("in-service-holds-lower", 1, 0x61, 0, 0);
	hold_eoi = false;
	apic_write(APIC_EOI, 0);
	asm volatile("sti; nop; nop; cli" : : : "memory");
	ordered("eoi-lets-lower", 2, 0x61, 0x50, 0);
}

static void traps(void)
{
	LABEL(t_next);
	LABEL(t_int);
	u16 ss;

	asm volatile("mov %%ss, %0" : "=r"(ss));
	/* A trap of the instruction before goes before interrupts and NMIs. */
	begin();
	self(0x50);
	asm volatile("pushf; orl $0x300, (%%" SP "); popf\n nop\n" MARK(t_next) "nop; cli" : : : "memory", "cc");
	/* The interrupt is open at once behind popf, whose own trap is not taken. */
	ordered("interrupt-then-step", 2, 0x50, 1, 0);
	same(came[1].rip, t_next, "interrupt-then-step-rip");
	begin();
	self(0x50);
	asm volatile("pushf; orl $0x100, (%%" SP "); popf\n sti\n" MARK(t_int) "nop; nop; cli" : : : "memory", "cc");
	ordered("step-in-sti-shadow-comes-first", 2, 1, 0x50, 0);
	same(came[0].rip, t_int, "step-in-sti-shadow-rip");
	/* int n: TF is cleared for the handler, the trap is lost; the one behind iret is that of the next instruction. */
	LABEL(t_int_behind);
	begin();
	asm volatile("pushf; orl $0x100, (%%" SP "); popf\n int $0x30\n nop\n" MARK(t_int_behind) "nop" : : : "memory", "cc");
	ordered("int-n-with-tf", 2, 0x30, 1, 0);
	same(came[1].rip, t_int_behind, "int-n-with-tf-rip");
	check(came[0].flags & 0x100, "int-n-saves-tf");
	/* MOV SS holds interrupts, traps and NMIs for one instruction. */
	LABEL(t_ss);
	begin();
	asm volatile("sti; nop" : : : "memory");
	asm volatile("movl $0x44050, %c1(%2)\n" : : "r"(ss), "i"(APIC_ICR), "r"((ulong)APIC_BASE) : "memory");
	begin();
	self(0x50);
	asm volatile("sti; mov %0, %%ss; nop\n" MARK(t_ss) "cli" : : "r"(ss) : "memory");
	ordered("sti-then-mov-ss", 1, 0x50, 0, 0);
	check(came[0].rip == (ulong)t_ss || came[0].rip == (ulong)t_ss - 1, "sti-then-mov-ss-rip", "%lx", came[0].rip);
	LABEL(t_ss_nmi);
	begin();
	asm volatile("mov %0, %%ss; movl $0x4400, %c1(%2)\n" MARK(t_ss_nmi) "nop; nop" : : "r"(ss), "i"(APIC_ICR), "r"((ulong)APIC_BASE) : "memory");
	delay(10000);
	ordered("mov-ss-then-nmi", 1, 2, 0, 0);
	check(came[0].rip >= (ulong)t_ss_nmi, "mov-ss-then-nmi-rip", "%lx", came[0].rip);
}

/* ---- NMI ---- */
static volatile unsigned nmi_depth, nmi_deepest, nmi_iret_mode;
static volatile ulong resumed_at;
LABEL(nmi_iret_target);

static void nmi_nested(struct frame *f)
{
	unsigned n = count;

	note(f);
	if (++nmi_depth > nmi_deepest)
		nmi_deepest = nmi_depth;
	if (n == 0) {
		self_nmi();
		self_nmi();
		delay(100000);
		/* An exception's iret ends the blocking too. */
		if (nmi_iret_mode == 1)
			asm volatile("int $0x30" : : : "memory");
	}
	nmi_depth--;
}

static void nmi(void)
{
	LABEL(n_next);

	handle(2, note);
	begin();
	asm volatile("movl $0x4400, %c0(%1)\n" MARK(n_next) "nop; nop" : : "i"(APIC_ICR), "r"((ulong)APIC_BASE) : "memory");
	delay(100000);
	ordered("nmi-to-self", 1, 2, 0, 0);
	same(came[0].rip, n_next, "nmi-to-self-at-once");
	begin();
	self(0x50);
	cli();
	asm volatile("movl $0x4400, %c0(%1)\n nop; sti; nop; nop; cli" : : "i"(APIC_ICR), "r"((ulong)APIC_BASE) : "memory");
	ordered("nmi-before-interrupt", 2, 2, 0x50, 0);

	/* While one is in progress one more is kept, not two. */
	begin();
	nmi_iret_mode = 0;
	nmi_deepest = 0;
	handle(2, nmi_nested);
	self_nmi();
	delay(200000);
	ordered("nmi-blocked-by-nmi", 2, 2, 2, 0);
	same(nmi_deepest, 1, "nmi-does-not-nest");
	same(came[1].rip, came[0].rip, "second-nmi-behind-iret");
	begin();
	nmi_iret_mode = 1;
	nmi_deepest = 0;
	self_nmi();
	delay(200000);
	same(nmi_deepest, 2, "iret-of-an-exception-unblocks-nmi");
	nmi_iret_mode = 0;
	handle(2, note);
}

/* In an NMI handler an iret that faults: NMIs are unblocked all the same. */
#ifdef __x86_64__
static volatile unsigned in_handler;
static void nmi_bad_iret(struct frame *f)
{
	note(f);
	if (count == 1) {
		self_nmi();
		delay(50000);
		in_handler = count;
		TRY("mov %%rsp, %%rbx; push $0x10; push %%rbx; pushf; push $0x1000; push $0; iretq; 77: mov %%rbx, %%rsp", : : "rbx", "memory");
		in_handler = in_handler << 8 | count;
	}
}

static void nmi_iret_fault(void)
{
	begin();
	handle(2, nmi_bad_iret);
	self_nmi();
	delay(100000);
	handle(2, note);
	same(count, 2, "nmi-count-with-bad-iret");
	same(in_handler, 0x102, "faulting-iret-unblocks-nmi");
}
#endif

/* ---- faults on the way ---- */
static volatile unsigned np_seen;
static void mend(struct frame *f)
{
	np_seen++;
	same(f->error, 0x31 * 8 + 2, "np-error-code");
	idt[0x31].low |= 1ull << 47;
}

static void not_present(void)
{
	LABEL(np_int);
	LABEL(np_behind);
	static volatile ulong rip;

	begin();
	handle(11, mend);
	handle(0x31, note);
	idt[0x31].low &= ~(1ull << 47);
	asm volatile(MARK(np_int) "int $0x31\n" MARK(np_behind) "nop" : : : "memory");
	same(np_seen, 1, "np-then-again");
	ordered("np-mended", 1, 0x31, 0, 0);
	same(came[0].rip, np_behind, "np-mended-rip");
	/* An external interrupt whose gate is missing: it is accepted; EXT is set. The vector is in service. */
	handle(11, NULL);
	idt[0x52].low &= ~(1ull << 47);
	begin();
	self(0x52);
	TRY("sti; nop; nop; cli");
	cli();
	check_fault(11, 0x52 * 8 + 3, "interrupt-gate-not-present-ext");
	check(apic_read(APIC_ISR + 0x20) & 1 << 18, "interrupt-was-accepted");
	apic_write(APIC_EOI, 0);
	idt[0x52].low |= 1ull << 47;
	/* And an NMI. */
	idt[2].low &= ~(1ull << 47);
	TRY("movl $0x4400, %c0(%1)\n nop; nop; nop", : "i"(APIC_ICR), "r"((ulong)APIC_BASE) : "memory");
	check_fault(11, 2 * 8 + 3, "nmi-gate-not-present-ext");
	idt[2].low |= 1ull << 47;
	(void)rip;
	(void)np_int;
}

#ifdef __x86_64__
#define PAGES 0x140000000ul
static u64 *pages;
static void page_set(unsigned n, u64 pte)
{
	pages[n] = pte;
	invlpg((void *)(PAGES + n * 4096ul));
}

struct table {
	u16 limit;
	ulong base;
} __attribute__((packed));

static volatile unsigned pf_count;
static volatile ulong pf_cr2, pf_error, pf_rip;
static u64 mend_pte;
static void mend_page(struct frame *f)
{
	pf_count++;
	pf_cr2 = read_cr2();
	pf_error = f->error;
	pf_rip = f->rip;
	page_set((unsigned)((pf_cr2 - PAGES) / 4096), mend_pte);
	if (pf_count > 20)
		guest_exit(4);
}

static void nothing(void *arg) {}

static void missing_pages(void)
{
	static char pf_stack[8192] __attribute__((aligned(16)));
	u64 *pdpt = (u64 *)(boot_pml4[0] & ~0xffful), *pd = page_alloc();
	char *low, *high;
	struct table old, moved;

	pages = page_alloc();
	pd[0] = (u64)pages | 7;
	pdpt[PAGES >> 30] = (u64)pd | 7;
	tss.ist[0] = (ulong)pf_stack + sizeof(pf_stack);
	idt_gate(14, (void *)vector_entries[14], 0x8e, CODE, 1);
	handle(14, mend_page);

	/* The stack is missing when an interrupt, an int n, an exception, an NMI comes; each is delivered after the page is there. */
	static const unsigned vectors[] = {0x50, 0x30, 6, 2};
	static const char *const names[] = {"interrupt-stack-missing", "int-n-stack-missing", "exception-stack-missing", "nmi-stack-missing"};

	low = page_alloc();
	mend_pte = (u64)low | 3;
	for (unsigned i = 0; i < 4; i++) {
		begin();
		page_set(1, 0);
		pf_count = 0;
		switch (i) {
		case 0:
			self(0x50);
			asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; sti; nop; nop; cli; mov %%rbx, %%rsp" : : "r"(PAGES + 8192) : "rbx", "memory");
			break;
		case 1: asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; int $0x30; mov %%rbx, %%rsp" : : "r"(PAGES + 8192) : "rbx", "memory"); break;
		case 2: asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; ud2; mov %%rbx, %%rsp" : : "r"(PAGES + 8192) : "rbx", "memory"); break;
		case 3:
			asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; movl $0x4400, %c1(%2); nop; nop; nop; mov %%rbx, %%rsp"
				     : : "r"(PAGES + 8192), "i"(APIC_ICR), "r"((ulong)APIC_BASE) : "rbx", "memory");
			break;
		}
		/* An external event that faulted while delivered is gone with the fault: an interrupt is in service, an NMI blocks no more. */
		check(pf_count == 1, names[i], "%u page faults, %u came, first %x", pf_count, count, came[0].vector);
		same(pf_cr2, PAGES + 8192 - 8, "…-cr2");
		same(pf_error & ~1ul, 2, "…-error-code");
		if (i == 1 || i == 2)
			same(count == 1 && came[0].vector == vectors[i], 1, "…-delivered-again");
		if (i == 0)
			apic_write(APIC_EOI, 0);
	}

	/* The descriptor of the handler's segment is on a missing page. */
	asm volatile("sgdt %0" : "=m"(old));
	low = page_alloc();
	high = page_alloc();
	memcpy(low, gdt, 4096 < old.limit + 1 ? 4096 : old.limit + 1ul);
	page_set(0, (u64)low | 3);
	moved = (struct table){8191, PAGES};
	gdt_set(GDT_FREE, 0, 0xfffff, 0x9b, 0xa);
	memcpy(high, &gdt[GDT_FREE / 8], 8);
	mend_pte = (u64)high | 3;
	begin();
	page_set(1, 0);
	pf_count = 0;
	handle(0x32, note);
	idt_gate(0x32, (void *)vector_entries[0x32], 0xee, 0x1000, 0);
	asm volatile("lgdt %0" : : "m"(moved));
	asm volatile("int $0x32" : : : "memory");
	asm volatile("lgdt %0" : : "m"(old));
	same(pf_count, 1, "gdt-page-missing");
	same(pf_cr2, PAGES + 4096, "gdt-page-missing-cr2");
	same(pf_error, 0, "gdt-page-missing-error-code");
	ordered("gdt-page-mended", 1, 0x32, 0, 0);
	/* A descriptor that is not yet accessed, on a page that may not be written. */
	memcpy(high, &gdt[DATA / 8], 8);
	high[5] &= ~1;
	page_set(1, (u64)high | 1);
	mend_pte = (u64)high | 3;
	pf_count = 0;
	asm volatile("lgdt %0" : : "m"(moved));
	asm volatile("mov %0, %%fs" : : "r"(0x1000));
	asm volatile("lgdt %0" : : "m"(old));
	same(pf_count, 1, "accessed-bit-on-read-only-page");
	same(pf_error, 3, "accessed-bit-on-read-only-page-error-code");
	check(high[5] & 1, "accessed-bit-is-set");
	asm volatile("mov %0, %%fs" : : "r"(0));

	/* The stack that iret reads is missing. */
	low = page_alloc();
	mend_pte = (u64)low | 3;
	ulong *frame = (ulong *)(low + 4096 - 40);
	LABEL(back);
	frame[0] = (ulong)back;
	frame[1] = CODE;
	frame[2] = 2;
	asm volatile("mov %%rsp, %0" : "=r"(frame[3]));
	frame[4] = DATA;
	page_set(1, 0);
	pf_count = 0;
	asm volatile("mov %%rsp, %1; mov %0, %%rsp\n .globl iret_at\niret_at: iretq\n" MARK(back) "nop" : : "r"(PAGES + 8192 - 40), "m"(frame[3]) : "memory", "cc");
	LABEL(iret_at);
	same(pf_count, 1, "iret-stack-missing");
	same(pf_rip, iret_at, "iret-stack-missing-rip");
	same(pf_error, 0, "iret-stack-missing-error-code");
	handle(14, NULL);
	idt_gate(14, (void *)vector_entries[14], 0x8e, CODE, 0);
	page_set(0, 0);
	page_set(1, 0);
	(void)nothing;
}

/* iret to places that are not there. */
static void bad_irets(void)
{
#define IRET(name, vector, code, cs_, flags_, rip_, ss_)                                                     \
	do {                                                                                                 \
		TRY("mov %%rsp, %%rbx; push %0; push %%rbx; push %1; push %2; push %3; iretq; 77: mov %%rbx, %%rsp",           \
		    : "r"((ulong)(ss_)), "r"((ulong)(flags_)), "r"((ulong)(cs_)), "r"((ulong)(rip_)) : "rbx", "memory", "cc");    \
		check_fault(vector, code, name);                                                             \
	} while (0)
	LABEL(iret_ok);
	IRET("iret-null-cs", 13, 0, 0, 2, 0, DATA);
	IRET("iret-cs-beyond", 13, 0x1000, 0x1000, 2, 0, DATA);
	IRET("iret-cs-data", 13, DATA, DATA, 2, 0, DATA);
	IRET("iret-cs-rpl-below-cpl-has-wrong-dpl", 13, USER64 & ~3, USER64 & ~3, 2, 0, DATA);
	IRET("iret-cs-rpl-3-dpl-0", 13, CODE64, CODE64 | 3, 2, 0, USERDATA);
	gdt_set(GDT_FREE, 0, 0xfffff, 0x1b, 0xa);
	IRET("iret-cs-not-present", 11, GDT_FREE, GDT_FREE, 2, 0, DATA);
	gdt_set(GDT_FREE, 0, 0xfffff, 0x9b, 0xe);
	IRET("iret-cs-l-and-d", 13, GDT_FREE, GDT_FREE, 2, 0, DATA);
	IRET("iret-rip-not-canonical", 13, 0, CODE64, 2, 0x800000000000, DATA);
	IRET("iret-ss-wrong-rpl", 13, DATA, USER64, 2, 0, DATA);
	IRET("iret-ss-code", 13, CODE64, USER64, 2, 0, CODE64 | 3);
	IRET("iret-ss-null-to-user-32", 13, 0, USER32, 2, 0, 0);
	IRET("iret-ss-null-rpl3-to-user-64", 13, 0, USER64, 2, 0, 3);
	gdt_set(GDT_FREE, 0, 0xfffff, 0x73, 0xc);
	IRET("iret-ss-not-present", 12, GDT_FREE, USER64, 2, 0, GDT_FREE | 3);
	gdt_set(GDT_FREE, 0, 0xfffff, 0xf1, 0xc);
	IRET("iret-ss-read-only", 13, GDT_FREE, USER64, 2, 0, GDT_FREE | 3);
	TRY("mov %%rsp, %%rbx; push $0x10; push %%rbx; push $2; push $0x18; push $iret_ok\n"
	    "pushf; orl $0x4000, (%%rsp); popf; iretq\n"
	    ".globl iret_ok\niret_ok: nop\n 77: pushf; andl $~0x4000, (%%rsp); popf; mov %%rbx, %%rsp",
	    : : "rbx", "memory", "cc");
	check_fault(13, 0, "iret-with-nt-in-long-mode");
	/* SS may be null at CPL 0 in 64-bit mode. */
	TRY("mov %%rsp, %%rbx; push $0; push %%rbx; push $2; push $0x18; push $78f; iretq; 78: mov %%ss, %%eax; mov $0x10, %%ecx; mov %%ecx, %%ss",
	    : : "rax", "rbx", "rcx", "memory", "cc");
	check_vector(-1, "iret-null-ss-at-cpl-0");
	(void)iret_ok;
}
#endif

/* An interrupt in the midst of a repeated string instruction. */
static volatile ulong rep_left;
static void on_timer(struct frame *f)
{
#ifdef __x86_64__
	rep_left = f->rcx;
#else
	rep_left = f->ecx;
#endif
	note(f);
}

static void strings(void)
{
	char *to = (char *)0x1800000;
	ulong d = (ulong)to, n = 16 << 20;

	handle(0x60, on_timer);
	begin();
	to[n - 1] = 0;
	to[n] = 0;
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, 0x60);
	apic_write(APIC_TMICT, 100000);
	LABEL(rep_at);
	asm volatile("sti\n" MARK(rep_at) "rep stosb; cli" : "+D"(d), "+c"(n) : "a"(0x5a) : "memory");
	check(n == 0 && to[(16 << 20) - 1] == 0x5a && to[16 << 20] == 0, "rep-stos-ends");
	check(count == 1, "rep-stos-interrupted", "%u", count);
	if (count && came[0].rip == (ulong)rep_at)
		check(rep_left > 0 && rep_left < 16 << 20, "rep-stos-interrupted-state", "%lx left", rep_left);
	apic_write(APIC_LVTT, 0x10000);
}

void test(void)
{
	static const unsigned noted[] = {1, 6, 0x30, 0x50, 0x51, 0x52, 0x61};

	for (unsigned i = 0; i < ARRAY_SIZE(noted); i++)
		handle(noted[i], note);
	handle(2, note);
	interrupts();
	traps();
	nmi();
	not_present();
	strings();
#ifdef __x86_64__
	nmi_iret_fault();
	missing_pages();
	bad_irets();
#endif
}
