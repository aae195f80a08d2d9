/*
 * The soft engine's core: small guests in 16, 32 and 64-bit mode.
 */
#include "soft_guest.h"

#include <pthread.h>

/* ---- 64-bit ---- */

GUEST(sum, R"(
	mov $100, %ecx
	xor %eax, %eax
1:	add %rcx, %rax
	dec %ecx
	jnz 1b
	mov %rax, %rbx
	call 2f
	jmp 3f
2:	push %rbx
	popq 0x20000
	movzbl 0x20000, %edx
	lea 1(%rdx, %rdx, 2), %esi
	ret
3:	movabs %eax, 0xfed00000
)")
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

GUEST(arith, R"(
	mov $0x7fffffffffffffff, %rax
	add $1, %rax
	pushf
	pop %rbx
	stc
	mov $0xff, %cl
	adc $0, %cl
	pushf
	pop %rbp
	mov $-7, %rax
	cqo
	mov $2, %esi
	idiv %rsi
	mov %rax, %r8
	mov %rdx, %r9
	mov $0x123456789abcdef0, %rax
	mov $0xfedcba9876543210, %rdi
	mul %rdi
	mov %rdx, %r10
	mov %rax, %r11
	mov $0x8000000000000001, %r12
	rol $4, %r12
	mov $0x80, %r13d
	shr $8, %r13b
	bsr %r12, %r14
	imul $-3, %r14, %r15
	movabs %eax, 0xfed00000
)")
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
GUEST(fault, R"(
	movq $0, 0x4000 + 8*5
	invlpg 0x805000
	mov $77, %eax
	mov %rax, 0x805ff8
	mov 0x805ff8, %rbx
	movabs %eax, 0xfed00000
)")
GUEST(fault_handler, R"(
	pop %r8
	mov (%rsp), %r9
	mov %cr2, %r10
	movq $0x805007, 0x4000 + 8*5
	iretq
)")
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
GUEST(smc, R"(
	mov $5, %ecx
1:	incb 2f+1(%rip)
2:	mov $0, %al
	add %al, %bl
	dec %ecx
	jnz 1b
	movabs %eax, 0xfed00000
)")
static void test_smc(void **state)
{
	struct vcpu_state s;

	LOAD(smc, CODE);
	flat(*state, &s, true);
	run(*state, &s);
	assert_int_equal(s.regs[REG_RBX], 1 + 2 + 3 + 4 + 5);
}

GUEST(cross, R"(
	mov $1000, %ecx
	jmp 1f
	.skip 4090 - (. - cross_start), 0x90
1:	.byte 0x48, 0xb8
	.quad 0x1122334455667788
	add %rax, %rbx
	incb 1b+9(%rip)
	dec %ecx
	jnz 1b
	movabs %eax, 0xfed00000
)")
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

GUEST(strings, R"(
	mov $0x100000, %edi
	mov $0x55, %al
	mov $0x12345, %ecx
	rep stosb
	mov %rdi, %r8
	mov $0x100000, %esi
	mov $0x200003, %edi
	mov $0x2000, %ecx
	rep movsq
	mov %rsi, %r9
	mov %rdi, %r10
	mov $0x200004, %esi           /* overlap: replicates */
	mov $0x200005, %edi
	movb $0x77, (%rsi)
	mov $100, %ecx
	rep movsb
	mov $0x200000, %edi
	mov $0x77, %al
	mov $1000, %ecx
	repne scasb
	mov %rcx, %r11
	mov $0x100000, %esi
	mov $0x100001, %edi
	mov $500, %ecx
	repe cmpsb
	setz %bl
	movabs %eax, 0xfed00000
)")
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
GUEST(rep_fault, R"(
	movq $0, 0x4000 + 8*6
	invlpg 0x806000
	mov $0x100000, %esi
	mov $0x805ff0, %edi
	mov $100, %ecx
	rep movsb
	movabs %eax, 0xfed00000
)")
GUEST(rep_fault_handler, R"(
	pop %r8
	mov (%rsp), %r9
	mov %cr2, %r10
	mov %rsi, %r11
	mov %rdi, %r12
	mov %rcx, %r13
	movq $0x806007, 0x4000 + 8*6
	iretq
)")
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

GUEST(exceptions, R"(
	mov $0x8000000000000000, %rax
	mov %rax, (%rax)              /* not canonical */
	xor %edx, %edx
	xor %ecx, %ecx
	div %rcx
	ud2
	movabs %eax, 0xfed00000
)")
GUEST(gp_handler, R"(
	add $8, %rsp
	addq $3, (%rsp)
	inc %r8
	iretq
)")
GUEST(de_handler, R"(
	addq $3, (%rsp)
	inc %r9
	iretq
)")
GUEST(ud_handler, R"(
	addq $2, (%rsp)
	inc %r10
	iretq
)")
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

GUEST(mmio, R"(
	.code32
	mov 0xfed00100, %eax
	mov 0xfed00ffe, %ebx          /* crosses a page */
	addl $5, 0xfed00104
	mov $0xff000000, %edi         /* ROM */
	movl $1, (%edi)
	mov (%edi), %esi
	mov %eax, 0xfed00000
)")
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
GUEST(irq, R"(
	sti
1:	cmp $0, %r8d
	je 1b
	movabs %eax, 0xfed00000
)")
GUEST(irq_handler, R"(
	inc %r8
	iretq
)")
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

/* ---- 32-bit, paging off ---- */

GUEST(code32, R"(
	.code32
	mov $0x12345678, %eax
	pusha
	mov %esp, %ebx
	popa
	mov $0xfffe, %cx
	inc %cx
	inc %cx
	mov $9, %al
	add $8, %al
	daa
	enter $16, $0
	mov %esp, %edx
	leave
	bound %eax, 0x20000
	mov %eax, 0xfed00000
)")
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

GUEST(code16, R"(
	.code16
	mov $0x2000, %ax
	mov %ax, %ds
	mov $0x1234, %bx
	mov %bx, 0x10
	push %bx
	pop %cx
	call 1f
	jmp 2f
1:	mov $7, %si
	ret
2:	mov $3, %cx
3:	add %cx, %di
	loop 3b
	int $0x21
	mov $0xf4, %dx
	out %al, %dx
	hlt
)")
GUEST(int21, R"(
	.code16
	mov $0x4321, %bp
	iret
)")
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
GUEST(step, R"(
	pushf
	orl $0x100, (%rsp)
	popf
	nop
	nop
	pushf
	andl $~0x100, (%rsp)
	popf
	movabs %eax, 0xfed00000
)")
GUEST(db_handler, R"(
	inc %r8
	iretq
)")
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

GUEST(smp, R"(
1:	lock incl 0x20000
2:	pause
	mov $1, %eax
	xchg %eax, 0x20010            /* a lock around a plain count, which crosses pages */
	test %eax, %eax
	jnz 2b
	incq 0x21ffc
	movl $0, 0x20010
	lock incl 0x22ffe             /* a locked one that does */
	dec %rbx
	jnz 1b
	movabs %eax, 0xfed00000
)")
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
	        cmocka_unit_test_setup_teardown(test_code32, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_code16, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_step, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_smp, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
