/*
 * Paging in the soft engine: all combinations of rights in a page table against what the SDM says (vol.
 * 3 4.6, 4.7), the three paging formats, and what INVLPG, CR3 loads, PCIDs and global pages must drop and may
 * keep.
 */
#include "soft_guest.h"

#define PAGE    0x805000ULL /* its PTE is number 5 of PT */
#define USER_CS 0x23
#define USER_DS 0x2b

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, G = 0x100 };
#define NX   BIT(63)
#define RSVD BIT(50)

GUEST(read,
	"\tmov (%rdi), %rax\n"
	"\tud2\n")
GUEST(write,
	"\tmov %rax, (%rdi)\n"
	"\tud2\n")
GUEST(jump,
	"\tjmp *%rdi\n")
static void handlers(void)
{
	stop_handlers();
	put64(TSS + 4, STACK);
	put64(GDT + 0x20, 0x00affb000000ffff);
	put64(GDT + 0x28, 0x00cff3000000ffff);
}

static void user(struct vcpu_state *s)
{
	s->gdtr.limit = 0x2f;
	s->seg[SEG_CS].selector = USER_CS;
	s->seg[SEG_CS].attr |= 3 << SEG_ATTR_DPL_SHIFT;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		if (i != SEG_CS) {
			s->seg[i].selector = USER_DS;
			s->seg[i].attr |= 3 << SEG_ATTR_DPL_SHIFT;
		}
}

enum access { READ, WRITE, EXEC };

/* The error code, or -1: no fault. */
static int expected(u64 pde, u64 pte, enum access access, bool is_user, u64 cr0, u64 cr4, bool ac)
{
	int code = (access == WRITE ? 2 : 0) | (is_user ? 4 : 0) | (access == EXEC ? 16 : 0);
	u64 both = pde & pte;
	bool bad;

	if (!(pde & P) || !(pte & P))
		return code;
	if (pte & RSVD)
		return code | 9;
	if (is_user) {
		bad = !(both & U) || (access == WRITE && !(both & W));
	} else {
		bad = access == WRITE && !(both & W) && (cr0 & CR0_WP);
		if (both & U)
			bad |= access == EXEC ? (cr4 & CR4_SMEP) != 0 : (cr4 & CR4_SMAP) && !ac;
	}
	bad |= access == EXEC && ((pde | pte) & NX);
	return bad ? code | 1 : -1;
}

static void test_rights(void **state)
{
	static const u64 bits[] = {P, W, U, NX, RSVD};
	struct vcpu_state start, s;

	LOAD(read, CODE);
	LOAD(write, CODE + 0x100);
	LOAD(jump, CODE + 0x200);
	flat(*state, &start, true);
	handlers();
	/* What handlers and code need is readable by both, the stack is the supervisor's; SMAP does not
	 * disturb. */
	for (u64 i = 0; i < 4; i++)
		put64(PD + i * 8, i << 21 | 0x83);
	put64(PD + 8 * 8, 0x87); /* 16 MiB: all low memory for the user's code */
	put64(PAGE, 0x0b0f);     /* ud2 */

	for (unsigned k = 0; k < 32 * 4 * 3 * 2 * 16; k++) {
		unsigned x = k;
		u64 pte = PAGE, pde = PT | P;
		for (unsigned i = 0; i < 5; i++, x >>= 1)
			pte |= x & 1 ? bits[i] : 0;
		pde |= x & 1 ? W : 0, x >>= 1;
		pde |= x & 1 ? U : 0, x >>= 1;
		bool is_user = x & 1, ac = x >> 1 & 1, wp = x >> 2 & 1, smep = x >> 3 & 1, smap = x >> 4 & 1;
		enum access access = (x >> 5) % 3;

		s = start;
		s.cr0 = (start.cr0 & ~CR0_WP) | (wp ? CR0_WP : 0);
		s.cr4 |= (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0);
		s.rflags |= ac ? FLAG_AC : 0;
		s.rip = CODE + access * 0x100;
		s.regs[REG_RDI] = PAGE;
		if (is_user) {
			user(&s);
			s.rip += 16 * MiB;
		}
		put64(PT + 5 * 8, pte);
		put64(PD + 4 * 8, pde);
		run(*state, &s);

		int want = expected(pde, pte, access, is_user, s.cr0, s.cr4, ac);
		int got = s.regs[8] == EXC_PF   ? (int)get64(s.regs[REG_RSP])
		          : s.regs[8] == EXC_UD ? -1
		                                : -1000;
		u64 marks = get64(PT + 5 * 8) ^ pte;

		if (got != want || (want >= 0 && s.cr2 != PAGE) ||
		    marks != (u64)(want >= 0         ? 0
		                   : access == WRITE ? A | D
		                                     : A)) {
			print_error("pde %llx pte %llx access %d user %d ac %d wp %d smep %d smap %d: error "
			            "%x, not %x; cr2 "
			            "%llx, marks %llx\n",
			            (unsigned long long)pde, (unsigned long long)pte, access, is_user, ac, wp,
			            smep, smap, got, want, (unsigned long long)s.cr2,
			            (unsigned long long)marks);
			fail();
		}
		if (access == WRITE && want < 0)
			put64(PAGE, 0x0b0f);
	}
}

/* ---- formats ---- */

static void state32(struct cpu *c, struct vcpu_state *s, u64 cr4)
{
	flat(c, s, false);
	s->cr0 |= CR0_PG | CR0_WP;
	s->cr4 = cr4;
	s->cr3 = PML4;
	s->regs[REG_RDI] = 0x805000;
}

GUEST(touch32,
	"\t.code32\n"
	"\tmov 4(%edi), %eax\n"
	"\tmov %eax, 0xff0(%edi)\n"
	"\tmov 0xffe(%edi), %edx\n"
	"\tmov %eax, 0xfed00000\n")

static void put32(u64 gpa, u32 v)
{
	memcpy(ram + gpa, &v, 4);
}

static void test_pse(void **state)
{
	struct vcpu_state s;

	LOAD(touch32, CODE);
	state32(*state, &s, CR4_PSE);
	/* 0: 4 MiB page; 8 MiB: table; 0xfec00000: 4 MiB page */
	put32(PML4 + 0 * 4, 0x83);
	put32(PML4 + 2 * 4, PT | 7);
	put32(PML4 + 0x3fb * 4, 0xfec00083);
	put32(PT + 5 * 4, 0xa00007);
	put32(PT + 6 * 4, 0xa02007);
	put64(0xa00004, 0x11223344);
	put64(0xa00ffc, 0xbbaa0000);
	put64(0xa02000, 0xddcc);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RAX], 0x11223344);
	assert_int_equal(get64(0xa00ff0), 0x11223344);
	assert_int_equal(s.regs[REG_RDX], 0xddccbbaa);
	assert_int_equal(get64(PT + 5 * 4) & 0xfff, 0x67);
	assert_int_equal(get64(PT + 6 * 4) & 0xfff, 0x27);
}

static void test_pae(void **state)
{
	struct vcpu_state s;

	LOAD(touch32, CODE);
	state32(*state, &s, CR4_PAE);
	for (u64 i = 0; i < 4; i++)
		put64(PML4 + i * 8, (PDPT + i * 0x6000) | 1);
	put64(PDPT, 0x83);
	put64(PDPT + 4 * 8, PT | 7);
	put64(PDPT + 3 * 0x6000 + 0x1f6 * 8, 0xfec00083);
	put64(PT + 5 * 8, 0xa00007);
	put64(PT + 6 * 8, 0xa02007);
	put64(0xa00004, 0x11223344);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RAX], 0x11223344);
	assert_int_equal(get64(0xa00ff0), 0x11223344);
}

/* ---- flushes ---- */

/* A stale entry may be used until the flush, must not be after it. r8: after INVLPG, r9: after CR3, r10:
 * global page after CR3 may be either, r11: after the toggle of PGE. */
GUEST(flush,
	"\tmov $0x805000, %edi\n"
	"\tmov (%rdi), %rax\n"
	"\tmovl $0xa01007, 0x4000 + 8*5\n"
	"\tinvlpg (%rdi)\n"
	"\tmov (%rdi), %r8\n"
	"\tmovl $0xa00007, 0x4000 + 8*5\n"
	"\tmov %cr3, %rax\n"
	"\tmov %rax, %cr3\n"
	"\tmov (%rdi), %r9\n"
	"\tmovl $0xa01107, 0x4000 + 8*5\n"
	"\tinvlpg (%rdi)\n"
	"\tmov (%rdi), %r10\n"
	"\tmovl $0xa00107, 0x4000 + 8*5\n"
	"\tmov %cr4, %rax\n"
	"\txor $0x80, %rax\n"
	"\tmov %rax, %cr4\n"
	"\txor $0x80, %rax\n"
	"\tmov %rax, %cr4\n"
	"\tmov (%rdi), %r11\n"
	"\tmovl $0xa01107, 0x4000 + 8*5\n"
	"\tinvlpg (%rdi)\n"
	"\tmov (%rdi), %r12\n"
	"\tmovabs %eax, 0xfed00000\n")
static void test_flush(void **state)
{
	struct vcpu_state s;

	LOAD(flush, CODE);
	flat(*state, &s, true);
	put64(PT + 5 * 8, 0xa00007);
	put64(0xa00000, 1);
	put64(0xa01000, 2);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RAX] & 0x80, 0x80);
	assert_int_equal(s.regs[8], 2);
	assert_int_equal(s.regs[9], 1);
	assert_int_equal(s.regs[10], 2);
	assert_int_equal(s.regs[11], 1);
	assert_int_equal(s.regs[12], 2);
}

/* A large page is remapped; INVLPG of any address in it drops all of it. */
GUEST(large,
	"\tmov $0x400000, %edi\n"
	"\tmov (%rdi), %rax\n"
	"\tmov 0x3000(%rdi), %rbx\n"
	"\tmovq $0xa00087, 0x3000 + 8*2\n"
	"\tinvlpg 0x1ff000(%rdi)\n"
	"\tmov (%rdi), %r8\n"
	"\tmov 0x3000(%rdi), %r9\n"
	"\tmovabs %eax, 0xfed00000\n")
static void test_large(void **state)
{
	struct vcpu_state s;

	LOAD(large, CODE);
	flat(*state, &s, true);
	put64(0x400000, 1);
	put64(0x403000, 2);
	put64(0xa00000, 3);
	put64(0xa03000, 4);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RBX], 2);
	assert_int_equal(s.regs[8], 3);
	assert_int_equal(s.regs[9], 4);
}

/* Code is remapped under a function that was called before. */
GUEST(remap,
	"\tmov $0x805000, %edi\n"
	"\tcall *%rdi\n"
	"\tmov %rax, %r8\n"
	"\tmovl $0xa01007, 0x4000 + 8*5\n"
	"\tinvlpg (%rdi)\n"
	"\tcall *%rdi\n"
	"\tmov %rax, %r9\n"
	"\tmovl $0xa00007, 0x4000 + 8*5\n"
	"\tmov %cr3, %rax\n"
	"\tmov %rax, %cr3\n"
	"\tcall *%rdi\n"
	"\tmov %rax, %r10\n"
	"\tmovl $0xb8, 0xa00000          /* through the other mapping: mov $0x90909090, %eax; ret */\n"
	"\tmovl $0xc3909090, 0xa00001\n"
	"\tmovl $0xc39090, 0xa00005\n"
	"\tcall *%rdi\n"
	"\tmov %rax, %r11\n"
	"\tmovabs %eax, 0xfed00000\n")
static void test_remap(void **state)
{
	static const u8 one[] = {0xb8, 1, 0, 0, 0, 0xc3}, two[] = {0xb8, 2, 0, 0, 0, 0xc3};
	struct vcpu_state s;

	LOAD(remap, CODE);
	flat(*state, &s, true);
	put64(PD + 5 * 8, 0xa00087);
	put64(PT + 5 * 8, 0xa00007);
	memcpy(ram + 0xa00000, one, sizeof(one));
	memcpy(ram + 0xa01000, two, sizeof(two));
	run(*state, &s);
	assert_int_equal(s.regs[8], 1);
	assert_int_equal(s.regs[9], 2);
	assert_int_equal(s.regs[10], 1);
	assert_int_equal(s.regs[11], 0xc3909090);
}

/* A function's only instruction lies on two pages, of which the second is remapped, with INVLPG and by a load
 * of CR3; then either page is written to; then the second is not there any more. */
#define SUM_OF_CALLS "\txor %ebx, %ebx\n\tmov $200, %ecx\n1:\tcall *%rdi\n\tadd %rax, %rbx\n\tdec %ecx\n\tjne 1b\n"
GUEST(crossing,
	"\tmov $0x805ffb, %edi           /* movabs $…, %rax; ret */\n"
	"\tmov $0x806000, %esi\n"
	SUM_OF_CALLS
	"\tmov %rbx, %r9\n"
	"\tmovl $0xa02007, 0x4000 + 8*6\n"
	"\tinvlpg (%rsi)\n"
	SUM_OF_CALLS
	"\tmov %rbx, %r10\n"
	"\tmovl $0xa01007, 0x4000 + 8*6\n"
	"\tmov %cr3, %rax\n"
	"\tmov %rax, %cr3\n"
	SUM_OF_CALLS
	"\tmov %rbx, %r12\n"
	"\tmovb $0x55, 0xa01000          /* the fourth byte of the constant */\n"
	SUM_OF_CALLS
	"\tmov %rbx, %r13\n"
	"\tmovb $0x66, 0xa00ffd          /* the first */\n"
	SUM_OF_CALLS
	"\tmov %rbx, %r14\n"
	"\tmovl $0xa02007, 0x4000 + 8*6\n"
	"\tinvlpg (%rsi)\n"
	SUM_OF_CALLS
	"\tmov %rbx, %r15\n"
	"\tmovl $0, 0x4000 + 8*6\n"
	"\tinvlpg (%rsi)\n"
	SUM_OF_CALLS)
static void test_crossing(void **state)
{
	static const u8 first[] = {0x48, 0xb8, 1, 0, 0}, second[] = {0, 0, 0, 0, 0, 0xc3},
	                other[] = {2, 0, 0, 0, 0, 0xc3};
	struct vcpu_state s;

	LOAD(crossing, CODE);
	flat(*state, &s, true);
	stop_handlers();
	put64(PD + 5 * 8, 0xa00087);
	put64(PT + 5 * 8, 0xa00007);
	put64(PT + 6 * 8, 0xa01007);
	memcpy(ram + 0xa00ffb, first, sizeof(first));
	memcpy(ram + 0xa01000, second, sizeof(second));
	memcpy(ram + 0xa02000, other, sizeof(other));
	run(*state, &s);
	assert_int_equal(s.regs[9], 200 * 1);
	assert_int_equal(s.regs[10], 200 * 0x2000001ULL);
	assert_int_equal(s.regs[12], 200 * 1);
	assert_int_equal(s.regs[13], 200 * 0x55000001ULL);
	assert_int_equal(s.regs[14], 200 * 0x55000066ULL);
	assert_int_equal(s.regs[15], 200 * 0x2000066ULL);
	assert_int_equal(s.regs[8], EXC_PF);
	assert_int_equal(s.cr2, 0x806000);
	assert_int_equal(get64(s.regs[REG_RSP] + 8), 0x805ffb);
	assert_int_equal(s.regs[REG_RCX], 200);
}

/* Each CR3 load is an address space of its own to the TLBs, whose tags begin anew after some thousands. The
 * last page, of all ones, is there in none of them. r10 counts faults, r9 is where they return to. */
GUEST(spaces,
	"\tmov $5000, %ecx\n"
	"1:\tmov %cr3, %rax\n"
	"\tmov %rax, %cr3\n"
	"\tlea 2f(%rip), %r9\n"
	"\tmov (%rdi), %al\n"
	"2:\tlea 3f(%rip), %r9\n"
	"\tjmp *%rdi\n"
	"3:\tdec %ecx\n"
	"\tjnz 1b\n"
	"\tmovabs %eax, 0xfed00000\n")
GUEST(spaces_fault,
	"\tinc %r10d\n"
	"\tadd $8, %rsp\n"
	"\tmov %r9, (%rsp)\n"
	"\tiretq\n")
static void test_spaces(void **state)
{
	struct vcpu_state s;

	LOAD(spaces, CODE);
	LOAD(spaces_fault, CODE + 0x100);
	flat(*state, &s, true);
	stop_handlers();
	gate64(EXC_PF, CODE + 0x100);
	s.regs[REG_RDI] = ~0xfffULL;
	run(*state, &s);
	assert_int_equal(s.regs[10], 2 * 5000);
	assert_int_equal(s.cr2, ~0xfffULL);
}

/* PCIDs keep their translations apart; a load with bit 63 keeps them. */
GUEST(pcid,
	"\tmov $0x805000, %edi\n"
	"\tmov (%rdi), %r8               /* PCID 0: 1 */\n"
	"\tmov $0xd001, %rax             /* another table, PCID 1 */\n"
	"\tmov %rax, %cr3\n"
	"\tmov (%rdi), %r9\n"
	"\tmov $0x1000, %rax\n"
	"\tbts $63, %rax\n"
	"\tmov %rax, %cr3\n"
	"\tmov (%rdi), %r10\n"
	"\tmov $0xd001, %rax\n"
	"\tbts $63, %rax\n"
	"\tmov %rax, %cr3\n"
	"\tmov (%rdi), %r11\n"
	"\tmovabs %eax, 0xfed00000\n")
static void test_pcid(void **state)
{
	struct vcpu_state s;

	LOAD(pcid, CODE);
	flat(*state, &s, true);
	s.cr4 |= CR4_PCIDE;
	memcpy(ram + 0xd000, ram + PML4, 4096);
	put64(0xd000, 0xe007);
	memcpy(ram + 0xe000, ram + PDPT, 4096);
	put64(0xe000, 0xf007);
	memcpy(ram + 0xf000, ram + PD, 4096);
	put64(0xf000 + 4 * 8, 0x13007);
	memcpy(ram + 0x13000, ram + PT, 4096);
	put64(PT + 5 * 8, 0xa00007);
	put64(0x13000 + 5 * 8, 0xa01007);
	put64(0xa00000, 1);
	put64(0xa01000, 2);
	run(*state, &s);
	assert_int_equal(s.regs[8], 1);
	assert_int_equal(s.regs[9], 2);
	assert_int_equal(s.regs[10], 1);
	assert_int_equal(s.regs[11], 2);
}

/* #AC at CPL 3, not across what is aligned. */
static void test_alignment(void **state)
{
	struct vcpu_state start, s;

	LOAD(read, CODE);
	flat(*state, &start, true);
	handlers();
	put64(PD + 8 * 8, 0x87);
	for (unsigned i = 0; i < 9; i++) {
		s = start;
		user(&s);
		s.cr0 |= CR0_AM;
		s.rflags |= FLAG_AC;
		s.rip = CODE + 16 * MiB;
		s.regs[REG_RDI] = PAGE + i;
		run(*state, &s);
		assert_int_equal(s.regs[8], i % 8 ? EXC_AC : EXC_UD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_rights, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_pse, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_pae, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_flush, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_large, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_remap, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_crossing, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_pcid, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_spaces, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_alignment, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
