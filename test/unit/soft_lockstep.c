/* The lock-step check (cpu/soft/lockstep.h): it says nothing of code that is right, and finds what is not. */
#include "soft_guest.h"

#include "cpu/soft/jit.h"

#include <unistd.h>

#define DATA 0x40000

static struct cpu *checked(void **state)
{
	struct cpu_config config = {.count = 1, .board = &board, .tsc_hz = clock_tsc_hz(), .check = true};
	struct cpu *c;
	struct error e;

	cpu_free(*state);
	*state = c = soft_cpu_new(&config, &e);
	if (!c) {
		print_message("%s\n", e.text);
		skip();
	}
	return c;
}

/* Rounds end with a store to STOP_GPA and go on behind it. */
GUEST(sum, "	mov $0xfed00000, %ebx\n"
           "1:	mov $50, %ecx\n"
           "	xor %eax, %eax\n"
           "2:	add $0x01020304, %eax\n"
           "	movl $0x05060708, 0x40000(,%rcx,8)\n"
           "	dec %ecx\n"
           "	jnz 2b\n"
           "	mov %eax, (%rbx)\n"
           "	jmp 1b\n")

static void start_sum(struct cpu *c)
{
	struct vcpu_state s;

	flat(c, &s, true);
	LOAD(sum, CODE);
	cpu_set_state(c, &s);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(cpu_run(c), CPU_EXIT_STOPPED);
	cpu_get_state(c, &s);
	assert_int_equal(s.regs[REG_RAX], 50 * 0x01020304);
}

/* Changes the first byte of these four wherever translated code has them; returns how often. */
static unsigned spoil(struct cpu *c, u32 bytes)
{
	const struct soft_jit *j = soft_of(c)->jit;
	unsigned n = 0;

	for (size_t i = 0; i + 4 <= j->used; i++)
		if (!memcmp(j->write + i, &bytes, 4)) {
			j->write[i]++;
			n++;
		}
	return n;
}

/* Runs with standard error going elsewhere; returns what was printed. */
static const char *run_to_report(struct cpu *c)
{
	static char text[65536];
	FILE *f = tmpfile();
	int old = dup(2);
	size_t n;

	assert_non_null(f);
	dup2(fileno(f), 2);
	assert_int_equal(cpu_run(c), CPU_EXIT_ERROR);
	dup2(old, 2);
	close(old);
	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	return text;
}

static void test_wrong_register_is_found(void **state)
{
	struct cpu *c = checked(state);
	const char *text;

	start_sum(c);
	assert_true(spoil(c, 0x01020304) > 0);
	text = run_to_report(c);
	assert_non_null(strstr(text, "* rax"));
	assert_non_null(strstr(text, "add $0x1020304, %eax"));
	assert_non_null(strstr(c->error.text, "differ"));
}

static void test_wrong_store_is_found(void **state)
{
	struct cpu *c = checked(state);

	start_sum(c);
	assert_true(spoil(c, 0x05060708) > 0);
	assert_non_null(strstr(run_to_report(c), "* 401"));
}

/* What is done once only, faults, stores to code, long moves: none of it is a difference. */
GUEST(mixed, "	mov $0xfed00000, %ebx\n"
             "	lea 0x40000, %rsi\n"
             "	lea 0x800000, %rdi\n"
             "	mov $0x6000, %ecx\n"
             "	rep movsq\n" /* more pages than are copied */
             "	mov $0x40ffe, %edx\n"
             "	mov $20, %ecx\n"
             "1:	mov %ecx, (%rdx)\n" /* crosses pages */
             "	lock incq (%rdx)\n"
             "	push %rcx\n"
             "	mov 0x100(%rbx), %eax\n" /* MMIO reads and writes */
             "	mov %ecx, 0x100(%rbx)\n"
             "	out %al, $0x80\n"
             "	stc\n"
             "	rdtsc\n"
             "	adc $0, %r8d\n"
             "	mov $0x40ffe, %edx\n"
             "	cpuid\n"
             "	mov $0xfed00000, %ebx\n"
             "	mov $0x40ffe, %edx\n"
             "	movups (%rdx), %xmm1\n"
             "	paddd %xmm1, %xmm2\n"
             "	movups %xmm2, 0x1000(%rdx)\n"
             "	incl 3f+1(%rip)\n" /* this page's code */
             "3:	mov $1, %eax\n"
             "	add %eax, %r9d\n"
             "	pop %rcx\n"
             "	pushfq\n"
             "	cli\n"
             "	sti\n"
             "	popfq\n"
             "	xor %eax, %eax\n"
             "	div %eax\n" /* #DE: the handler skips it */
             "	ud2\n"
             "	dec %ecx\n"
             "	jnz 1b\n"
             "	mov %eax, (%rbx)\n"
             "	hlt\n")
GUEST(skip_two, "	addq $2, (%rsp)\n	iretq\n")

static void test_right_code_is_not_reported(void **state)
{
	struct cpu *c = checked(state);
	struct vcpu_state s;

	flat(c, &s, true);
	LOAD(mixed, CODE);
	LOAD(skip_two, CODE + 0x4000);
	gate64(EXC_DE, CODE + 0x4000);
	gate64(EXC_UD, CODE + 0x4000);
	run(c, &s);
	assert_int_equal(s.regs[REG_RCX], 0);
	assert_int_equal(s.regs[8], 20);
	assert_int_equal(s.regs[9], 20 * 21 / 2 + 20);
}

static void test_several_vcpus_are_refused(void **state)
{
	struct cpu_config config = {.count = 2, .board = &board, .tsc_hz = clock_tsc_hz(), .check = true};
	struct error e;

	assert_null(soft_cpu_new(&config, &e));
	assert_non_null(strstr(e.text, "one vCPU"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_wrong_register_is_found, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_wrong_store_is_found, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_right_code_is_not_reported, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_several_vcpus_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
