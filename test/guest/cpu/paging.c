/*
 * 4-level paging: every combination of P, W, U, NX and a reserved bit at each level, of A and D in the leaf, for 4 KiB, 2 MiB
 * and 1 GiB pages, against reads, writes and fetches by user and supervisor, under WP, NXE, SMEP, SMAP and AC; SDM vol. 3
 * ch. 4. Then what the TLB may keep, and large pages' own rules. guest: bits=64
 */
#include "lib/guest.h"

#define P   1ull
#define RW  2ull
#define US  4ull
#define A   0x20ull
#define D   0x40ull
#define PS  0x80ull
#define G   0x100ull
#define NX  (1ull << 63)
#define RSV (1ull << 51)

enum { READ, WRITE, FETCH };
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_R = 8, PF_I = 16 };

#define FRAME  0x2000000ul                  /* what the tested page maps */
#define ALIAS  0x8000000000ul               /* all memory once more, for the user */
#define LINEAR (0x18000000000ul + FRAME)    /* PML4 entry 3, PDPT 0, PD 16, PT 0 */

static u64 *pml4, *pdpt, *pd, *pt;
static volatile int last_vector;
static volatile ulong last_error, last_cr2;

/* access_go(stub, address, rflags or 0 for supervisor): runs a stub below; back by #PF or int $0x82. */
void access_go(void *stub, ulong address, ulong user_flags);
extern char access_read[], access_write[], access_fetch[], access_return[];
ulong access_rsp;
asm(".text\n"
    "access_go: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; pushf\n"
    "mov %rsp, access_rsp\n"
    "mov %rdi, %rax; mov %rsi, %rdi; xor %ecx, %ecx\n"
    "test %rdx, %rdx; jz 1f\n"
    "mov $0x8000000000, %rcx\n"
    "push $0x33; lea user_stack_top(%rcx), %rbx; push %rbx; push %rdx; push $0x3b; add %rcx, %rax; push %rax; iretq\n"
    "1: jmp *%rax\n"
    "access_return: mov access_rsp, %rsp\n"
    "popf; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
    "access_read: mov (%rdi), %al; int $0x82\n"
    "access_write: movb $0xcd, (%rdi); int $0x82\n"
    "access_fetch: jmp *%rdi\n");

static void back(struct frame *f)
{
	last_vector = f->vector == 0x82 ? -1 : (int)f->vector;
	last_error = f->error;
	last_cr2 = read_cr2();
	f->rip = (ulong)access_return;
	f->cs = CODE64;
	f->ss = DATA;
	f->rflags = 2;
	f->rsp = access_rsp;
}

static void access(int kind, bool user, bool ac)
{
	void *stubs[] = {access_read, access_write, access_fetch};
	ulong flags = read_flags();

	if (ac)
		write_flags(flags | 0x40000);
	handle(14, back);
	access_go(stubs[kind], LINEAR, user ? 2 : 0);
	handle(14, NULL);
	write_flags(flags);
}

struct mode {
	bool wp, nxe, smep, smap, ac;
};

static void mode_set(const struct mode *m)
{
	ulong cr0 = read_cr0() & ~0x10000ul, cr4 = read_cr4() & ~0x300000ul;
	u64 efer = rdmsr(MSR_EFER) & ~0x800ull;

	write_cr0(cr0 | (m->wp ? 0x10000 : 0));
	write_cr4(cr4 | (m->smep ? 0x100000 : 0) | (m->smap ? 0x200000 : 0));
	wrmsr(MSR_EFER, efer | (m->nxe ? 0x800 : 0));
}

/* The leaf is entry[leaf_level]; entries are entry[4] … entry[leaf_level]. Returns the error code or -1. */
static int expected(const u64 *entry, int leaf_level, int kind, bool user, const struct mode *m)
{
	int code = (kind == WRITE ? PF_W : 0) | (user ? PF_U : 0) | (kind == FETCH && (m->nxe || m->smep) ? PF_I : 0);
	u64 all = RW | US, nx = 0;

	for (int i = 4; i >= leaf_level; i--) {
		if (!(entry[i] & P))
			return code;
		if (entry[i] & RSV || (entry[i] & NX && !m->nxe))
			return code | PF_P | PF_R;
		all &= entry[i];
		nx |= entry[i] & NX;
	}
	bool ok = true;
	if (user)
		ok = (all & US) && (kind != WRITE || all & RW) && (kind != FETCH || !nx);
	else if (kind == FETCH)
		ok = !nx && !(m->smep && all & US);
	else
		ok = !(m->smap && !m->ac && all & US) && (kind == READ || all & RW || !m->wp);
	return ok ? -1 : code | PF_P;
}

static unsigned wrong, tried;

static void one(u64 *const *slot, const u64 *entry, int leaf, int kind, bool user, const struct mode *m)
{
	int want = expected(entry, leaf, kind, user, m);

	for (int i = 4; i >= leaf; i--)
		*slot[i] = entry[i];
	invlpg((void *)LINEAR);
	last_vector = -2;
	access(kind, user, m->ac);
	int got = last_vector == 14 ? (int)last_error : last_vector;
	u64 now = *slot[leaf], bits = want < 0 ? A | (kind == WRITE ? D : 0) : 0;
	bool good = got == want && (want < 0 || last_cr2 == LINEAR) && now == (entry[leaf] | bits);
	if (want < 0)
		for (int i = 4; i > leaf; i--)
			good &= *slot[i] == (entry[i] | A);
	else
		for (int i = 4; i > leaf; i--)
			good &= (*slot[i] | A) == (entry[i] | A);
	if (want < 0) { /* again, from the TLB */
		access(kind, user, m->ac);
		good &= last_vector == -1;
	}
	tried++;
	if (!good && wrong++ < 5)
		print("# leaf %d entries %lx %lx %lx %lx kind %d user %d wp %d nxe %d smep %d smap %d ac %d: got %x want %x cr2 %lx leaf now %lx\n",
		      leaf, entry[4], entry[3], entry[2], entry[1], kind, user, m->wp, m->nxe, m->smep, m->smap, m->ac, got, want,
		      (ulong)last_cr2, now);
}

static void matrix(const char *name, int leaf)
{
	u64 *slot[5] = {NULL, &pt[0], &pd[16], &pdpt[0], &pml4[3]};
	u64 table[5] = {0, FRAME, (ulong)pt, (ulong)pd, (ulong)pdpt};

	wrong = 0;
	if (leaf == 2)
		table[2] = FRAME | PS;
	if (leaf == 3)
		table[3] = 0 | PS;
	for (int x = 0; x < 32; x++) {
		struct mode m = {x & 1, x & 2, x & 4, x & 8, x & 16};

		mode_set(&m);
		for (int level = leaf; level <= 4; level++)
			for (int bits = 0; bits < 32; bits++)
				for (int ad = 0; ad < 3; ad++) {
					u64 entry[5];

					for (int i = 1; i <= 4; i++)
						entry[i] = table[i] | P | RW | US;
					entry[leaf] |= ad == 0 ? 0 : ad == 1 ? A : A | D;
					entry[level] = (entry[level] & ~(P | RW | US)) | (u64)(bits & 7) | (bits & 8 ? NX : 0) |
						       (bits & 16 ? RSV : 0);
					for (int who = 0; who < 6; who++)
						one(slot, entry, leaf, who % 3, who >= 3, &m);
				}
	}
	struct mode plain = {.wp = true, .nxe = true};
	mode_set(&plain);
	check(wrong == 0, name, "%d of %d", wrong, tried);
}

static void set_4k(u64 flags)
{
	pml4[3] = (ulong)pdpt | 7;
	pdpt[0] = (ulong)pd | 7;
	pd[16] = (ulong)pt | 7;
	pt[0] = FRAME | flags;
	invlpg((void *)LINEAR);
}

static void expect(int kind, bool user, int want, const char *name)
{
	access(kind, user, false);
	int got = last_vector == 14 ? (int)last_error : last_vector;
	check(got == want, name, "%x instead of %x", got, want);
}

static void reserved(void)
{
	set_4k(7);
	pml4[3] |= PS;
	invlpg((void *)LINEAR);
	expect(READ, false, PF_P | PF_R, "ps-in-pml4-is-reserved");
	pml4[3] = (ulong)pdpt | 7;
	for (int bit = 13; bit < 21; bit++) {
		pd[16] = FRAME | PS | 7 | 1ull << bit;
		invlpg((void *)LINEAR);
		access(READ, true, false);
		if (!(last_vector == 14 && last_error == (PF_P | PF_R | PF_U)))
			check(false, "2m-reserved", "bit %d", bit);
	}
	pd[16] = FRAME | PS | 7 | 1 << 12;
	invlpg((void *)LINEAR);
	expect(READ, true, -1, "2m-pat-bit");
	for (int bit = 13; bit < 30; bit++) {
		pdpt[0] = PS | 7 | 1ull << bit;
		invlpg((void *)LINEAR);
		access(WRITE, false, false);
		if (!(last_vector == 14 && last_error == (PF_P | PF_R | PF_W)))
			check(false, "1g-reserved", "bit %d", bit);
	}
	u32 r[4];
	cpuid(0x80000008, 0, r);
	for (u32 bit = r[0] & 0xff; bit < 52; bit++) {
		set_4k(7);
		pt[0] |= 1ull << bit;
		access(READ, false, false);
		if (!(last_vector == 14 && last_error == (PF_P | PF_R)))
			check(false, "maxphyaddr-reserved", "bit %d", bit);
	}
	for (int bit = 52; bit < 63; bit++) { /* ignored without protection keys */
		set_4k(7);
		pt[0] |= 1ull << bit;
		access(READ, false, false);
		if (last_vector != -1)
			check(false, "ignored-bits", "bit %d", bit);
	}
	set_4k(7);
	pt[0] = 0xffffffffffffeull << 0;
	expect(READ, false, 0, "not-present-ignores-reserved");
}

static void tlb(void)
{
	volatile u8 *p = (u8 *)LINEAR;
	u64 other = (ulong)page_alloc();

	*(u8 *)other = 0x55;
	set_4k(7);
	u8 first = *p;
	pt[0] = other | 7;
	invlpg((void *)(LINEAR + 123));
	check(*p == 0x55 && first != 0x55, "invlpg-any-byte");
	pt[0] = FRAME | 7;
	write_cr3(read_cr3());
	check(*p == first, "cr3-load-flushes");
	/* A global page outlives CR3 loads, not a change of CR4.PGE. */
	write_cr4(read_cr4() | 0x80);
	pt[0] = FRAME | 7 | G;
	invlpg((void *)LINEAR);
	(void)*p;
	pt[0] = other | 7 | G;
	write_cr4(read_cr4() & ~0x80ul);
	check(*p == 0x55, "pge-change-flushes-global");
	write_cr4(read_cr4() | 0x80);
	(void)*p;
	pt[0] = FRAME | 7;
	invlpg((void *)LINEAR);
	check(*p == first, "invlpg-global");
	write_cr4(read_cr4() & ~0x80ul);
	/* Taking rights away, then INVLPG; D must be set anew. */
	*p = first;
	pt[0] = FRAME | 5;
	invlpg((void *)LINEAR);
	expect(WRITE, false, PF_P | PF_W, "write-protect-after-write");
	pt[0] = FRAME | 7 | A;
	invlpg((void *)LINEAR);
	*p = first;
	check(pt[0] & D, "dirty-set-again");
	pt[0] = FRAME | 7;
	invlpg((void *)LINEAR);
	(void)*p;
	check((pt[0] & (A | D)) == A, "read-sets-a-only");
	*p = first;
	check(pt[0] & D, "write-after-read-sets-d");
	/* A not-present page may be made present without a flush. */
	pt[0] = 0;
	invlpg((void *)LINEAR);
	expect(READ, false, 0, "not-present");
	pt[0] = FRAME | 7;
	expect(READ, false, -1, "made-present-without-flush");
	/* Large to small: INVLPG of one address drops all of a large page. */
	pd[16] = FRAME | PS | 7;
	invlpg((void *)LINEAR);
	(void)p[0];
	(void)p[0x5000];
	pt[0] = other | 7;
	pt[5] = other | 7;
	pd[16] = (ulong)pt | 7;
	invlpg((void *)LINEAR);
	check(p[0x5000] == 0x55 && p[0] == 0x55, "invlpg-of-large-page");
	/* Tables above: INVLPG flushes the paging-structure caches. */
	u64 *pt2 = page_alloc();
	pt2[0] = FRAME | 7;
	pd[16] = (ulong)pt2 | 7;
	invlpg((void *)LINEAR);
	check(*p == first, "invlpg-sees-new-table");
	/* A read-modify-write is a write, even if it writes what was there. */
	set_4k(5);
	TRY("orb $0, (%0)", : "r"(LINEAR) : "memory", "cc");
	check_fault(14, PF_P | PF_W, "rmw-is-a-write");
	set_4k(5);
	TRY("lock cmpxchg8b (%0)", : "r"(LINEAR), "a"(1), "b"(2), "c"(3), "d"(4) : "memory", "cc");
	check_fault(14, PF_P | PF_W, "cmpxchg8b-is-a-write");
	set_4k(7);
	TRY("invlpg (%0)", : "r"(0x8000000000000000ul));
	check_fault(-1, 0, "invlpg-non-canonical");
	TRY("mov (%0), %%al", : "r"(0x8000000000000000ul) : "eax");
	check_fault(13, 0, "non-canonical-gp");
	TRY("mov (%0), %%rax", : "r"(0x7ffffffffffcul) : "rax");
	check(fault.vector == 13 || fault.vector == 14, "across-canonical-end", "%d", fault.vector);
	TRY("push %%rax; mov %%rsp, %%rbx; mov %0, %%rsp; pop %%rax; mov %%rbx, %%rsp; pop %%rax", : "r"(LINEAR) : "rax", "rbx");
	check_fault(-1, 0, "stack-there");
	/* Crossing into a page that is not there: CR2 is the first byte of it. */
	pt[1] = 0;
	invlpg((void *)(LINEAR + 4096));
	TRY("movl $1, (%0)", : "r"(LINEAR + 4094) : "memory");
	check_fault(14, PF_W, "crossing-write");
	check(fault.cr2 == LINEAR + 4096, "crossing-cr2", "%lx", fault.cr2);
	TRY("mov (%0), %%rax", : "r"(LINEAR + 4091) : "rax");
	check(fault.cr2 == LINEAR + 4096, "crossing-read-cr2", "%lx", fault.cr2);
}

/* Descriptors are read by the supervisor whatever CPL is, and SMAP keeps it off user pages whatever AC is. */
static void implicit(void)
{
	static u64 ldt[512] __attribute__((aligned(4096)));
	ulong flags = read_flags();

	ldt[1] = 0x00cff3000000ffff;
	ldt[2] = 0x00cff2000000ffff; /* not accessed: the processor writes */
	for (int user_page = 0; user_page < 2; user_page++)
		for (int smap = 0; smap < 2; smap++)
			for (int who = 0; who < 4; who++) { /* supervisor, user; AC clear, set */
				ulong base = (ulong)ldt + (user_page ? ALIAS : 0);
				bool ac = who & 1, from_user = who & 2;

				gdt_set(GDT_FREE, (u32)base, 4095, 0x82, 0);
				gdt[GDT_FREE / 8 + 1] = base >> 32;
				asm volatile("lldt %w0" : : "r"(GDT_FREE));
				struct mode m = {.wp = true, .nxe = true, .smep = true, .smap = smap};
				mode_set(&m);
				for (ulong sel = 0xf; sel <= 0x17; sel += 8) {
					ldt[2] &= ~(1ull << 40);
					handle(14, back);
					extern char implicit_load[];
					if (ac)
						write_flags(flags | 0x40000);
					access_go(implicit_load, sel, from_user ? (ac ? 0x40002 : 2) : 0);
					write_flags(flags);
					handle(14, NULL);
					int got = last_vector == 14 ? (int)last_error : last_vector, want = user_page && smap ? PF_P : -1;
					if (got != want && !(want > 0 && sel == 0x17 && got == (PF_P | PF_W)))
						check(false, "implicit-access", "user page %d smap %d who %d selector %lx: %x", user_page, smap, who, sel, got);
					if (got == -1 && sel == 0x17 && !(ldt[2] >> 40 & 1))
						check(false, "accessed-bit");
				}
			}
	check(true, "implicit-accesses");
	asm volatile("lldt %w0; mov %w0, %%fs" : : "r"(0));
	struct mode plain = {.wp = true, .nxe = true};
	mode_set(&plain);
}
asm("implicit_load: mov %edi, %fs; int $0x82\n");

void test(void)
{
	u64 *super = page_alloc(), *user = page_alloc();

	for (unsigned i = 0; i < 4; i++) {
		u64 *s = page_alloc(), *u = page_alloc();

		for (unsigned k = 0; k < 512; k++) {
			u64 a = ((u64)i << 30) + ((u64)k << 21);

			s[k] = a | PS | D | A | RW | P;
			u[k] = s[k] | US;
		}
		super[i] = (ulong)s | RW | P;
		user[i] = (ulong)u | RW | US | P;
	}
	pml4 = page_alloc();
	pdpt = page_alloc();
	pd = page_alloc();
	pt = page_alloc();
	pml4[0] = (ulong)super | RW | P;
	pml4[1] = (ulong)user | RW | US | P;
	/* The tested page: int $0x82. */
	*(volatile u16 *)FRAME = 0x82cd;
	handle(0x82, back);
	idt_gate(0x82, (void *)vector_entries[0x82], 0xee, CODE64, 0);
	write_cr3((ulong)pml4);
	matrix("4k-matrix", 1);
	matrix("2m-matrix", 2);
	matrix("1g-matrix", 3);
	reserved();
	struct mode plain = {.wp = true, .nxe = true};
	mode_set(&plain);
	tlb();
	implicit();
}
