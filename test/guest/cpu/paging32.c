/*
 * 32-bit paging with 4 KiB and 4 MiB pages, PAE paging with its PDPTEs and NX: faults, error codes, A and D, reserved bits;
 * SDM vol. 3 ch. 4.3, 4.4. guest: bits=32
 */
#include "lib/guest.h"

#define P  1u
#define RW 2u
#define US 4u
#define A  0x20u
#define D  0x40u
#define PS 0x80u
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_R = 8, PF_I = 16 };

#define FRAME  0x2000000u
#define LINEAR 0x42000000u

static u32 *dir, *table;
static volatile int vector;
static volatile ulong error, cr2;

void access_go(void *stub, ulong address, ulong user);
extern char access_read[], access_write[], access_fetch[], access_return[];
ulong access_esp;
asm(".text\n"
    "access_go: mov 4(%esp), %eax; mov 8(%esp), %edx; mov 12(%esp), %ecx\n"
    "push %ebx; push %ebp; push %esi; push %edi; pushf; mov %esp, access_esp\n"
    "jecxz 1f\n"
    "mov $0x33, %ecx; mov %ecx, %ds; mov %ecx, %es\n"
    "push $0x33; push $user_stack_top; push $2; push $0x2b; push %eax; iret\n"
    "1: jmp *%eax\n"
    "access_return: mov access_esp, %esp; mov $0x10, %ecx; mov %ecx, %ds; mov %ecx, %es\n"
    "popf; pop %edi; pop %esi; pop %ebp; pop %ebx; ret\n"
    "access_read: mov (%edx), %al; int $0x82\n"
    "access_write: movb $0xcd, (%edx); int $0x82\n"
    "access_fetch: jmp *%edx\n");

static void back(struct frame *f)
{
	vector = f->vector == 0x82 ? -1 : (int)f->vector;
	error = f->error;
	cr2 = read_cr2();
	f->rip = (ulong)access_return;
	f->cs = CODE32;
	f->rflags = 2;
}

enum { READ, WRITE, FETCH };
static int access(int kind, bool user)
{
	void *stubs[] = {access_read, access_write, access_fetch};

	vector = -2;
	handle(14, back);
	access_go(stubs[kind], LINEAR, user);
	handle(14, NULL);
	return vector == 14 ? (int)error : vector;
}

static unsigned wrong;
static void report(const char *what, u64 upper, u64 leaf, int kind, bool user, bool wp, int got, int want, u64 now)
{
	if (wrong++ < 5)
		print("# %s: upper %x leaf %x%x kind %d user %d wp %d: got %x want %x, leaf now %x\n", what, (u32)upper, (u32)(leaf >> 32),
		      (u32)leaf, kind, user, wp, got, want, (u32)now);
}

/* nx: PAE with NXE; bit 63 of either entry. */
static int model(u64 upper, u64 leaf, int kind, bool user, bool wp, bool nx)
{
	int code = (kind == WRITE ? PF_W : 0) | (user ? PF_U : 0) | (kind == FETCH && nx ? PF_I : 0);
	u64 both = upper & leaf, any = upper | leaf;

	if (!(upper & P))
		return code;
	if (!(leaf & P))
		return code;
	if (user ? !(both & US) || (kind == WRITE && !(both & RW)) : kind == WRITE && wp && !(both & RW))
		return code | PF_P;
	if (kind == FETCH && any >> 63)
		return code | PF_P;
	return -1;
}

static void wp(bool on) { write_cr0(on ? read_cr0() | 0x10000 : read_cr0() & ~0x10000ul); }

static void matrix32(void)
{
	wrong = 0;
	for (int bits = 0; bits < 64; bits++)
		for (int large = 0; large < 2; large++)
			for (int x = 0; x < 12; x++) {
				u32 upper = (u32)table | (bits & 7), leaf = FRAME | (bits >> 3 & 7);
				int kind = x % 3;
				bool user = x / 3 & 1, protect = x >= 6;

				if (large) {
					leaf = FRAME | PS | (bits & 7);
					upper = P | RW | US;
					dir[LINEAR >> 22] = leaf;
				} else {
					dir[LINEAR >> 22] = upper;
					table[0] = leaf;
				}
				invlpg((void *)LINEAR);
				wp(protect);
				int want = model(upper, leaf, kind, user, protect, false), got = access(kind, user);
				u32 now = large ? dir[LINEAR >> 22] : table[0];
				u32 set = want < 0 ? A | (kind == WRITE ? D : 0) : 0;
				if (got != want || now != (leaf | set) || (want >= 0 && cr2 != LINEAR))
					report("32-bit", upper, leaf, kind, user, protect, got, want, now);
				if (want < 0 && !large && !(dir[LINEAR >> 22] & A))
					report("directory A", upper, leaf, kind, user, protect, got, want, now);
			}
	wp(true);
	check(!wrong, "32-bit-matrix", "%d", wrong);
	dir[LINEAR >> 22] = FRAME | PS | 1 << 21 | 7;
	invlpg((void *)LINEAR);
	check(access(READ, true) == (PF_P | PF_R | PF_U), "pse-bit-21-reserved");
	/* Without PSE the bit is ignored: a table is there. */
	table[0] = FRAME | 7;
	dir[LINEAR >> 22] = (u32)table | PS | 7;
	write_cr4(read_cr4() & ~0x10ul);
	invlpg((void *)LINEAR);
	check(access(READ, true) == -1, "ps-ignored-without-pse");
	write_cr4(read_cr4() | 0x10);
	dir[LINEAR >> 22] = (u32)table | 7;
	write_cr3(read_cr3());
	/* Both halves of a 4 MiB page. */
	volatile u32 *p = (u32 *)LINEAR;
	dir[LINEAR >> 22] = FRAME | PS | 7;
	invlpg((void *)LINEAR);
	(void)p[0], (void)p[0x300000 / 4];
	table[0x300] = (u32)(ulong)page_alloc() | 7;
	*(u32 *)(table[0x300] & ~0xfffu) = 0x1234567;
	dir[LINEAR >> 22] = (u32)table | 7;
	invlpg((void *)LINEAR);
	check(p[0x300000 / 4] == 0x1234567, "invlpg-of-4m-page");
}

static u64 pdpt[4] __attribute__((aligned(32)));
static u64 *pae_dir, *pae_table, *dirs[4];

static void pae(void)
{
	ulong cr3 = read_cr3(), cr0 = read_cr0();
	u32 r[4];

	for (unsigned i = 0; i < 4; i++) {
		dirs[i] = page_alloc();
		for (u32 k = 0; k < 512; k++)
			dirs[i][k] = ((u64)i << 30) + (k << 21) + (PS | US | RW | P);
		pdpt[i] = (u32)dirs[i] | P;
	}
	pae_table = page_alloc();
	write_cr0(cr0 & ~0x80000000ul);
	write_cr4(read_cr4() | 0x20);
	write_cr3((ulong)pdpt);
	/* PDPTEs are read when paging goes on, and by MOV CR3. */
	static const u64 bad[] = {2, 4, 0x20, 0x40, 0x80, 0x100, 1ull << 63, 1ull << 52};
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		pdpt[3] = (u32)dirs[3] | P | bad[i];
		TRY("mov %0, %%cr0", : "r"(cr0 | 0x80000000ul) : "memory");
		if (fault.vector != 13 || fault.error)
			check(false, "pdpte-reserved-at-pg", "%x %d", (u32)bad[i], fault.vector);
	}
	pdpt[3] = (u32)dirs[3] | P;
	TRY("mov %0, %%cr0", : "r"(cr0 | 0x80000000ul) : "memory");
	check_fault(-1, 0, "pae-on");
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		pdpt[2] = (u32)dirs[2] | P | bad[i];
		TRY("mov %0, %%cr3", : "r"(pdpt) : "memory");
		if (fault.vector != 13 || fault.error)
			check(false, "pdpte-reserved-at-cr3", "%x %d", (u32)bad[i], fault.vector);
		TRY("mov %0, %%cr4", : "r"(read_cr4() ^ 0x80) : "memory");
		if (fault.vector != 13)
			check(false, "pdpte-reserved-at-cr4", "%x %d", (u32)bad[i], fault.vector);
	}
	pdpt[2] = 0xfe6; /* not present: nothing is reserved */
	TRY("mov %0, %%cr3", : "r"(pdpt) : "memory");
	check_fault(-1, 0, "pdpte-absent-ignores-rest");
	TRY("movb (%0), %%al", : "r"(0x80000000) : "eax");
	check_fault(14, 0, "pdpte-absent");
	pdpt[2] = (u32)dirs[2] | P;
	TRY("movb (%0), %%al", : "r"(0x80000000) : "eax");
	check_fault(14, 0, "pdpte-kept-until-cr3-load");
	write_cr3((ulong)pdpt);
	TRY("movb (%0), %%al", : "r"(0x80000000) : "eax");
	check_fault(-1, 0, "pdpte-reloaded");

	pae_dir = dirs[LINEAR >> 30];
	cpuid(0x80000001, 0, r);
	for (int nxe = 0; nxe < 2; nxe++) {
		wrmsr(MSR_EFER, (rdmsr(MSR_EFER) & ~0x800ull) | (nxe ? 0x800 : 0));
		wrong = 0;
		for (int bits = 0; bits < 256; bits++)
			for (int large = 0; large < 2; large++)
				for (int x = 0; x < 12; x++) {
					u64 nxu = (u64)(bits >> 6 & 1) << 63, nxl = (u64)(bits >> 7) << 63;
					u64 upper = (u32)pae_table | (u32)(bits & 7) | nxu, leaf = FRAME | (u32)(bits >> 3 & 7) | nxl;
					int kind = x % 3, want;
					bool user = x / 3 & 1, protect = x >= 6;

					if (large) {
						leaf |= PS;
						upper = P | RW | US;
						pae_dir[LINEAR >> 21 & 511] = leaf;
					} else {
						pae_dir[LINEAR >> 21 & 511] = upper;
						pae_table[0] = leaf;
					}
					invlpg((void *)LINEAR);
					wp(protect);
					want = model(upper, leaf, kind, user, protect, nxe);
					if (!nxe && upper & P && (upper >> 63 || (leaf & P && leaf >> 63)))
						want = (kind == WRITE ? PF_W : 0) | (user ? PF_U : 0) | PF_P | PF_R;
					int got = access(kind, user);
					u64 now = large ? pae_dir[LINEAR >> 21 & 511] : pae_table[0];
					u32 set = want < 0 ? A | (kind == WRITE ? D : 0) : 0;
					if (got != want || now != (leaf | set))
						report("pae", upper, leaf, kind, user, protect, got, want, now);
				}
		wp(true);
		check(!wrong, nxe ? "pae-matrix-nx" : "pae-matrix", "%d", wrong);
	}
	for (int bit = 52; bit < 63; bit++) { /* reserved in PAE paging, unlike in long mode */
		pae_dir[LINEAR >> 21 & 511] = FRAME | PS | 7 | 1ull << bit;
		invlpg((void *)LINEAR);
		if (access(READ, false) != (PF_P | PF_R))
			check(false, "pae-high-reserved", "%d", bit);
	}
	pae_dir[LINEAR >> 21 & 511] = FRAME | PS | 7 | 1 << 13;
	invlpg((void *)LINEAR);
	check(access(READ, false) == (PF_P | PF_R), "pae-2m-reserved");
	pae_dir[LINEAR >> 21 & 511] = FRAME | PS | 7;
	write_cr4(read_cr4() & ~0x10ul);
	check(access(READ, false) == -1, "pae-ignores-pse");
	write_cr0(read_cr0() & ~0x80000000ul);
	write_cr4((read_cr4() | 0x10) & ~0x20ul);
	write_cr3(cr3);
	write_cr0(cr0);
	check(true, "pae-off");
}

void test(void)
{
	dir = page_alloc();
	table = page_alloc();
	for (u32 i = 0; i < 1024; i++)
		dir[i] = i << 22 | PS | US | RW | P;
	for (u32 i = 0; i < 5; i++) { /* what runs without PSE */
		u32 *t = page_alloc();

		for (u32 k = 0; k < 1024; k++)
			t[k] = i << 22 | k << 12 | US | RW | P;
		dir[i] = (u32)t | US | RW | P;
	}
	*(volatile u16 *)FRAME = 0x82cd;
	handle(0x82, back);
	idt_gate(0x82, (void *)vector_entries[0x82], 0xee, CODE32, 0);
	write_cr4(read_cr4() | 0x10);
	write_cr3((ulong)dir);
	TRY("mov %0, %%cr0", : "r"(read_cr0() | 0x80000000ul) : "memory");
	check_fault(-1, 0, "paging-on");
	matrix32();
	pae();
	/* Paging off: linear is physical. */
	write_cr0(read_cr0() & ~0x80000000ul);
	check(*(volatile u16 *)FRAME == 0x82cd, "paging-off");
}
