/*
 * The soft engine's core: small guests in 16, 32 and 64-bit mode.
 */
#include "soft_guest.h"

#include <pthread.h>

/* ---- 64-bit ---- */

GUEST(sum,
	"\tmov $100, %ecx\n"
	"\txor %eax, %eax\n"
	"1:\tadd %rcx, %rax\n"
	"\tdec %ecx\n"
	"\tjnz 1b\n"
	"\tmov %rax, %rbx\n"
	"\tcall 2f\n"
	"\tjmp 3f\n"
	"2:\tpush %rbx\n"
	"\tpopq 0x20000\n"
	"\tmovzbl 0x20000, %edx\n"
	"\tlea 1(%rdx, %rdx, 2), %esi\n"
	"\tret\n"
	"3:\tmovabs %eax, 0xfed00000\n")
static void test_sum(void **state)
{
	struct vcpu_state s;

	LOAD(sum, CODE);
	flat(*state, &s, true);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RAX], 5050);
	assert_int_equal(get64(0x20000), 5050);
	assert_int_equal(s.regs[REG_RSI], (5050 & 0xff) * 3 + 1);
	assert_int_equal(s.regs[REG_RSP], STACK);
	assert_int_equal(s.rip, CODE + (sum_end - sum_start));
}

GUEST(arith,
	"\tmov $0x7fffffffffffffff, %rax\n"
	"\tadd $1, %rax\n"
	"\tpushf\n"
	"\tpop %rbx\n"
	"\tstc\n"
	"\tmov $0xff, %cl\n"
	"\tadc $0, %cl\n"
	"\tpushf\n"
	"\tpop %rbp\n"
	"\tmov $-7, %rax\n"
	"\tcqo\n"
	"\tmov $2, %esi\n"
	"\tidiv %rsi\n"
	"\tmov %rax, %r8\n"
	"\tmov %rdx, %r9\n"
	"\tmov $0x123456789abcdef0, %rax\n"
	"\tmov $0xfedcba9876543210, %rdi\n"
	"\tmul %rdi\n"
	"\tmov %rdx, %r10\n"
	"\tmov %rax, %r11\n"
	"\tmov $0x8000000000000001, %r12\n"
	"\trol $4, %r12\n"
	"\tmov $0x80, %r13d\n"
	"\tshr $8, %r13b\n"
	"\tbsr %r12, %r14\n"
	"\timul $-3, %r14, %r15\n"
	"\tmovabs %eax, 0xfed00000\n")
static void test_arith(void **state)
{
	struct vcpu_state s;
	unsigned __int128 p = (unsigned __int128)0x123456789abcdef0ULL * 0xfedcba9876543210ULL;

	LOAD(arith, CODE);
	flat(*state, &s, true);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RBX] & FLAG_ARITH, FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF);
	assert_int_equal(s.regs[REG_RBP] & FLAG_ARITH, FLAG_CF | FLAG_ZF | FLAG_AF | FLAG_PF);
	assert_int_equal(s.regs[8], -3);
	assert_int_equal(s.regs[9], -1);
	assert_int_equal(s.regs[10], (u64)(p >> 64));
	assert_int_equal(s.regs[11], (u64)p);
	assert_int_equal(s.regs[12], 0x18);
	assert_int_equal(s.regs[13], 0);
	assert_int_equal(s.regs[14], 4);
	assert_int_equal(s.regs[15], -12);
}

/* A page fault in 8 MiB's PT, its handler maps the page. */
GUEST(fault,
	"\tmovq $0, 0x4000 + 8*5\n"
	"\tinvlpg 0x805000\n"
	"\tmov $77, %eax\n"
	"\tmov %rax, 0x805ff8\n"
	"\tmov 0x805ff8, %rbx\n"
	"\tmovabs %eax, 0xfed00000\n")
GUEST(fault_handler,
	"\tpop %r8\n"
	"\tmov (%rsp), %r9\n"
	"\tmov %cr2, %r10\n"
	"\tmovq $0x805007, 0x4000 + 8*5\n"
	"\tiretq\n")
static void test_page_fault(void **state)
{
	struct vcpu_state s;

	LOAD(fault, CODE);
	LOAD(fault_handler, 0x11000);
	gate64(EXC_PF, 0x11000);
	flat(*state, &s, true);
	run(*state, &s);
	assert_int_equal(s.regs[8], 2);
	assert_int_equal(s.regs[10], 0x805ff8);
	assert_int_equal(s.regs[REG_RBX], 77);
	assert_int_equal(get64(0x805ff8), 77);
	assert_int_equal(get64(PT + 40) & 0x60, 0x60);
	assert_int_equal(s.regs[REG_RSP], STACK);
}

/* Changes the operand of the next instruction. */
GUEST(smc,
	"\tmov $5, %ecx\n"
	"1:\tincb 2f+1(%rip)\n"
	"2:\tmov $0, %al\n"
	"\tadd %al, %bl\n"
	"\tdec %ecx\n"
	"\tjnz 1b\n"
	"\tmovabs %eax, 0xfed00000\n")
static void test_smc(void **state)
{
	struct vcpu_state s;

	LOAD(smc, CODE);
	flat(*state, &s, true);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RBX], 1 + 2 + 3 + 4 + 5);
}

GUEST(cross,
	"\tmov $1000, %ecx\n"
	"\tjmp 1f\n"
	"\t.skip 4090 - (. - cross_start), 0x90\n"
	"1:\t.byte 0x48, 0xb8\n"
	"\t.quad 0x1122334455667788\n"
	"\tadd %rax, %rbx\n"
	"\tincb 1b+9(%rip)\n"
	"\tdec %ecx\n"
	"\tjnz 1b\n"
	"\tmovabs %eax, 0xfed00000\n")
static void test_cross_page(void **state)
{
	struct vcpu_state s;
	u64 v = 0x1122334455667788, sum_ = 0;

	LOAD(cross, CODE);
	flat(*state, &s, true);
	for (unsigned i = 0; i < 1000; i++) {
		sum_ += v;
		v = (v & ~(0xffULL << 56)) | ((v >> 56) + 1) << 56;
	}
	run(*state, &s);
	assert_int_equal(s.regs[REG_RBX], sum_);
}

GUEST(strings,
	"\tmov $0x100000, %edi\n"
	"\tmov $0x55, %al\n"
	"\tmov $0x12345, %ecx\n"
	"\trep stosb\n"
	"\tmov %rdi, %r8\n"
	"\tmov $0x100000, %esi\n"
	"\tmov $0x200003, %edi\n"
	"\tmov $0x2000, %ecx\n"
	"\trep movsq\n"
	"\tmov %rsi, %r9\n"
	"\tmov %rdi, %r10\n"
	"\tmov $0x200004, %esi           /* overlap: replicates */\n"
	"\tmov $0x200005, %edi\n"
	"\tmovb $0x77, (%rsi)\n"
	"\tmov $100, %ecx\n"
	"\trep movsb\n"
	"\tmov $0x200000, %edi\n"
	"\tmov $0x77, %al\n"
	"\tmov $1000, %ecx\n"
	"\trepne scasb\n"
	"\tmov %rcx, %r11\n"
	"\tmov $0x100000, %esi\n"
	"\tmov $0x100001, %edi\n"
	"\tmov $500, %ecx\n"
	"\trepe cmpsb\n"
	"\tsetz %bl\n"
	"\tmovabs %eax, 0xfed00000\n")
static void test_strings(void **state)
{
	struct vcpu_state s;

	LOAD(strings, CODE);
	flat(*state, &s, true);
	run(*state, &s);
	assert_int_equal(s.regs[8], 0x112345);
	assert_int_equal(s.regs[9], 0x110000);
	assert_int_equal(s.regs[10], 0x210003);
	assert_int_equal(ram[0x112344], 0x55);
	assert_int_equal(ram[0x112345], 0);
	assert_int_equal(ram[0x200003], 0x55);
	assert_int_equal(ram[0x210002], 0x55);
	assert_int_equal(ram[0x210003], 0);
	for (unsigned i = 0; i < 101; i++)
		assert_int_equal(ram[0x200004 + i], 0x77);
	assert_int_equal(ram[0x200004 + 101], 0x55);
	assert_int_equal(s.regs[11], 1000 - 5);
	assert_int_equal(s.regs[REG_RBX], 1);
	assert_int_equal(s.regs[REG_RCX], 0);
}

/* rep movs into a page that is not there: registers are exact at the fault. */
GUEST(rep_fault,
	"\tmovq $0, 0x4000 + 8*6\n"
	"\tinvlpg 0x806000\n"
	"\tmov $0x100000, %esi\n"
	"\tmov $0x805ff0, %edi\n"
	"\tmov $100, %ecx\n"
	"\trep movsb\n"
	"\tmovabs %eax, 0xfed00000\n")
GUEST(rep_fault_handler,
	"\tpop %r8\n"
	"\tmov (%rsp), %r9\n"
	"\tmov %cr2, %r10\n"
	"\tmov %rsi, %r11\n"
	"\tmov %rdi, %r12\n"
	"\tmov %rcx, %r13\n"
	"\tmovq $0x806007, 0x4000 + 8*6\n"
	"\tiretq\n")
static void test_rep_fault(void **state)
{
	struct vcpu_state s;

	LOAD(rep_fault, CODE);
	LOAD(rep_fault_handler, 0x11000);
	gate64(EXC_PF, 0x11000);
	memset(ram + 0x100000, 0xab, 100);
	flat(*state, &s, true);
	run(*state, &s);
	assert_int_equal(s.regs[10], 0x806000);
	assert_int_equal(s.regs[11], 0x100010);
	assert_int_equal(s.regs[12], 0x806000);
	assert_int_equal(s.regs[13], 84);
	assert_int_equal(s.regs[REG_RCX], 0);
	assert_int_equal(ram[0x805ff0 + 99], 0xab);
}

GUEST(exceptions,
	"\tmov $0x8000000000000000, %rax\n"
	"\tmov %rax, (%rax)              /* not canonical */\n"
	"\txor %edx, %edx\n"
	"\txor %ecx, %ecx\n"
	"\tdiv %rcx\n"
	"\tud2\n"
	"\tmovabs %eax, 0xfed00000\n")
GUEST(gp_handler,
	"\tadd $8, %rsp\n"
	"\taddq $3, (%rsp)\n"
	"\tinc %r8\n"
	"\tiretq\n")
GUEST(de_handler,
	"\taddq $3, (%rsp)\n"
	"\tinc %r9\n"
	"\tiretq\n")
GUEST(ud_handler,
	"\taddq $2, (%rsp)\n"
	"\tinc %r10\n"
	"\tiretq\n")
static void test_exceptions(void **state)
{
	struct vcpu_state s;

	LOAD(exceptions, CODE);
	LOAD(gp_handler, 0x11000);
	LOAD(de_handler, 0x11100);
	LOAD(ud_handler, 0x11200);
	gate64(EXC_GP, 0x11000);
	gate64(EXC_DE, 0x11100);
	gate64(EXC_UD, 0x11200);
	flat(*state, &s, true);
	run(*state, &s);
	assert_int_equal(s.regs[8], 1);
	assert_int_equal(s.regs[9], 1);
	assert_int_equal(s.regs[10], 1);
	assert_int_equal(s.regs[REG_RSP], STACK);
}

GUEST(mmio,
	"\t.code32\n"
	"\tmov 0xfed00100, %eax\n"
	"\tmov 0xfed00ffe, %ebx          /* crosses a page */\n"
	"\taddl $5, 0xfed00104\n"
	"\tmov $0xff000000, %edi         /* ROM */\n"
	"\tmovl $1, (%edi)\n"
	"\tmov (%edi), %esi\n"
	"\tmov %eax, 0xfed00000\n")
static void test_mmio(void **state)
{
	struct vcpu_state s;

	LOAD(mmio, CODE);
	memset(rom, 0x5a, 16);
	flat(*state, &s, false);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RAX], 0xfed00100);
	assert_int_equal(mmio_last, 0xfed00104 + 5);
	assert_int_equal(s.regs[REG_RSI], 0x5a5a5a5a);
}

/* Interrupts: a loop that ends when the handler says so. */
GUEST(irq,
	"\tsti\n"
	"1:\tcmp $0, %r8d\n"
	"\tje 1b\n"
	"\tmovabs %eax, 0xfed00000\n")
GUEST(irq_handler,
	"\tinc %r8\n"
	"\tiretq\n")
static void test_interrupt(void **state)
{
	struct vcpu_state s;

	LOAD(irq, CODE);
	LOAD(irq_handler, 0x11000);
	gate64(0x40, 0x11000);
	flat(*state, &s, true);
	irq_vector = 0x40;
	cpu_raise(*state, CPU_EV_INTR);
	run(*state, &s);
	assert_int_equal(s.regs[8], 1);
}

/* Code that runs often enables interrupts for one jump, again and again: the first time is enough. rdx: the round in which
 * one came. */
GUEST(moment,
	"\tmov $40000, %ecx\n"
	"1:\tcmp $1000, %ecx\n"
	"\tjne 2f\n"
	"\tmov $0x40, %eax\n"
	"\tout %eax, $0xf5\n"
	"2:\tsti\n"
	"\tjmp 3f\n"
	"\tnop\n"
	"3:\tcli\n"
	"\tdec %ecx\n"
	"\tjnz 1b\n"
	"\tmovabs %eax, 0xfed00000\n")
GUEST(moment_handler,
	"\tmov %rcx, %rdx\n"
	"\tiretq\n")
static void test_moment(void **state)
{
	struct vcpu_state s;

	LOAD(moment, CODE);
	LOAD(moment_handler, 0x11000);
	gate64(0x40, 0x11000);
	flat(*state, &s, true);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RDX], 1000);
}

/* More code than decoded operations are kept of, run, and run again after a sleep in which they may be given
 * back. rbx: rounds, 0x20000: how many have come to their end. */
GUEST(idle,
	"\tincl 0x20000\n"
	"\tsti\n"
	"\thlt\n"
	"\tdec %ebx\n"
	"\tjnz 1f\n"
	"\tmovabs %eax, 0xfed00000\n"
	"1:\tmovabs $0x100000, %rdx\n"
	"\tjmp *%rdx\n")
static void *wakes(void *arg)
{
	for (unsigned i = 0; i < 3; i++) {
		const struct timespec sleep = {.tv_nsec = 150 * 1000000};

		do
			nanosleep(&sleep, NULL);
		while (*(volatile u32 *)(ram + 0x20000) <= i);
		irq_vector = 0x40;
		cpu_raise(arg, CPU_EV_INTR);
	}
	return NULL;
}
static void test_idle(void **state)
{
	/* inc eax; add ecx, eax; jmp to the next */
	static const u8 piece[] = {0xff, 0xc0, 0x01, 0xc1, 0xeb, 0x00};
	enum { PIECES = 60000 };
	u8 *p = ram + 0x100000;
	struct vcpu_state s;
	pthread_t thread;
	s32 disp;

	LOAD(idle, CODE);
	LOAD(irq_handler, 0x11000);
	gate64(0x40, 0x11000);
	for (unsigned i = 0; i < PIECES; i++, p += sizeof(piece))
		memcpy(p, piece, sizeof(piece));
	p[0] = 0xe9; /* jmp */
	disp = (s32)(ram + CODE - (p + 5));
	memcpy(p + 1, &disp, sizeof(disp));
	flat(*state, &s, true);
	s.rip = 0x100000;
	s.regs[REG_RBX] = 3;
	pthread_create(&thread, NULL, wakes, *state);
	run(*state, &s);
	pthread_join(thread, NULL);
	assert_int_equal(s.regs[REG_RAX], 3 * PIECES);
	assert_int_equal((u32)s.regs[REG_RCX], (u32)(3ULL * PIECES * (3 * PIECES + 1ULL) / 2));
	assert_int_equal(s.regs[8], 3);
}

/* ---- 32-bit, paging off ---- */

GUEST(code32,
	"\t.code32\n"
	"\tmov $0x12345678, %eax\n"
	"\tpusha\n"
	"\tmov %esp, %ebx\n"
	"\tpopa\n"
	"\tmov $0xfffe, %cx\n"
	"\tinc %cx\n"
	"\tinc %cx\n"
	"\tmov $9, %al\n"
	"\tadd $8, %al\n"
	"\tdaa\n"
	"\tenter $16, $0\n"
	"\tmov %esp, %edx\n"
	"\tleave\n"
	"\tbound %eax, 0x20000\n"
	"\tmov %eax, 0xfed00000\n")
static void test_code32(void **state)
{
	struct vcpu_state s;

	LOAD(code32, CODE);
	put64(0x20000, 0x7fffffff00000000);
	flat(*state, &s, false);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RAX], 0x12345617);
	assert_int_equal(s.regs[REG_RCX], 0);
	assert_int_equal(s.regs[REG_RDX], STACK - 20);
	assert_int_equal(s.regs[REG_RSP], STACK);
}

/* ---- real mode ---- */

GUEST(code16,
	"\t.code16\n"
	"\tmov $0x2000, %ax\n"
	"\tmov %ax, %ds\n"
	"\tmov $0x1234, %bx\n"
	"\tmov %bx, 0x10\n"
	"\tpush %bx\n"
	"\tpop %cx\n"
	"\tcall 1f\n"
	"\tjmp 2f\n"
	"1:\tmov $7, %si\n"
	"\tret\n"
	"2:\tmov $3, %cx\n"
	"3:\tadd %cx, %di\n"
	"\tloop 3b\n"
	"\tint $0x21\n"
	"\tmov $0xf4, %dx\n"
	"\tout %al, %dx\n"
	"\thlt\n")
GUEST(int21,
	"\t.code16\n"
	"\tmov $0x4321, %bp\n"
	"\tiret\n")
static void test_code16(void **state)
{
	struct vcpu_state s;

	LOAD(code16, 0x1000);
	LOAD(int21, 0x3000);
	ram[0x21 * 4 + 1] = 0x30;
	vcpu_state_reset(&s, true);
	s.seg[SEG_CS].base = 0;
	s.seg[SEG_CS].selector = 0;
	s.rip = 0x1000;
	s.regs[REG_RSP] = 0x8000;
	run(*state, &s);
	assert_int_equal(get64(0x20010), 0x1234);
	assert_int_equal(s.regs[REG_RCX], 0);
	assert_int_equal(s.regs[REG_RSI], 7);
	assert_int_equal(s.regs[REG_RDI], 6);
	assert_int_equal(s.regs[REG_RBP], 0x4321);
	assert_int_equal(s.regs[REG_RSP], 0x8000);
}

/* Single step: a trap after each of three instructions, POPF's own excepted. */
GUEST(step,
	"\tpushf\n"
	"\torl $0x100, (%rsp)\n"
	"\tpopf\n"
	"\tnop\n"
	"\tnop\n"
	"\tpushf\n"
	"\tandl $~0x100, (%rsp)\n"
	"\tpopf\n"
	"\tmovabs %eax, 0xfed00000\n")
GUEST(db_handler,
	"\tinc %r8\n"
	"\tiretq\n")
static void test_step(void **state)
{
	struct vcpu_state s;

	LOAD(step, CODE);
	LOAD(db_handler, 0x11000);
	gate64(EXC_DB, 0x11000);
	flat(*state, &s, true);
	run(*state, &s);
	assert_int_equal(s.regs[8], 5);
}

/* ---- two vCPUs on the same memory ---- */

GUEST(smp,
	"1:\tlock incl 0x20000\n"
	"2:\tpause\n"
	"\tmov $1, %eax\n"
	"\txchg %eax, 0x20010            /* a lock around a plain count, which crosses pages */\n"
	"\ttest %eax, %eax\n"
	"\tjnz 2b\n"
	"\tincq 0x21ffc\n"
	"\tmovl $0, 0x20010\n"
	"\tlock incl 0x22ffe             /* a locked one that does */\n"
	"\tdec %rbx\n"
	"\tjnz 1b\n"
	"\tmovabs %eax, 0xfed00000\n")
static void *smp_thread(void *arg)
{
	cpu_run(arg);
	return NULL;
}
static void test_smp(void **state)
{
	struct cpu_config config = {.index = 1, .count = 2, .board = &board, .tsc_hz = clock_tsc_hz()};
	struct vcpu_state s;
	struct error e;
	struct cpu *other = soft_cpu_new(&config, &e);
	pthread_t thread;

	mem.single_vcpu = false;
	LOAD(smp, CODE);
	flat(*state, &s, true);
	s.regs[REG_RBX] = 200000;
	cpu_set_state(other, &s);
	cpu_set_state(*state, &s);
	pthread_create(&thread, NULL, smp_thread, other);
	cpu_run(*state);
	pthread_join(thread, NULL);
	cpu_free(other);
	assert_int_equal(get64(0x20000), 400000);
	assert_int_equal(get64(0x21ffc), 400000);
	assert_int_equal(get64(0x22ffe), 400000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_sum, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_arith, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_page_fault, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_smc, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_cross_page, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_strings, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_rep_fault, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_exceptions, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_mmio, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_interrupt, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_moment, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_code32, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_code16, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_step, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_smp, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
