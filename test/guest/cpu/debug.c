/* Debug registers, single step, shadows of MOV SS; SDM vol. 3 ch. 17. guest: bits=both */
#include "lib/guest.h"

#define ACTIVE_LOW 0xffff0ff0ul
#define BS         0x4000ul
#define BD         0x2000ul

static volatile unsigned count;
static volatile ulong rips[64], dr6s[64], flags[64];
static volatile bool stop_after_first;

static void on_db(struct frame *f)
{
	if (count < ARRAY_SIZE(rips)) {
		rips[count] = f->rip;
		dr6s[count] = read_dr6();
		flags[count] = f->rflags;
	}
	count++;
	write_dr6(0);
	if (stop_after_first) {
		f->rflags &= ~0x100ul;
		write_dr7(0x400);
	} else {
		f->rflags |= 0x10000; /* RF: go past instruction breakpoints */
	}
}

static void begin(void)
{
	count = 0;
	stop_after_first = false;
	write_dr6(0);
}

static void breakpoint(int n, void *at, unsigned type, unsigned len)
{
	switch (n) {
	case 0: write_dr0((ulong)at); break;
	case 1: write_dr1((ulong)at); break;
	case 2: write_dr2((ulong)at); break;
	default: write_dr3((ulong)at); break;
	}
	write_dr7(read_dr7() | 2ul << (2 * n) | (ulong)(type | len << 2) << (16 + 4 * n));
}

static void off(void) { write_dr7(0x400); }

#define LABEL(l) extern char l[]
#define MARK(l)  ".globl " #l "\n" #l ": "

static void instruction_breakpoints(void)
{
	LABEL(bp_here);
	begin();
	breakpoint(0, bp_here, 0, 0);
	asm volatile("nop\n" MARK(bp_here) "nop" : : : "memory");
	check(count == 1 && rips[0] == (ulong)bp_here && dr6s[0] == (ACTIVE_LOW | 1), "instruction-breakpoint", "%u %lx", count, dr6s[0]);
	check(!!(flags[0] & 0x10000) == false, "instruction-breakpoint-rf", "flags %lx", flags[0]);
	begin();
	write_dr6(BS);
	asm volatile("nop\n jmp 1f\n1:" : : : "memory");
	off();
	LABEL(bp_bs);
	begin();
	breakpoint(0, bp_bs, 0, 0);
	write_dr6(BS);
	asm volatile(MARK(bp_bs) "nop" : : : "memory");
	check(count == 1 && dr6s[0] == (ACTIVE_LOW | BS | 1), "bs-is-not-cleared", "%lx", dr6s[0]);
	off();

	/* A breakpoint that matches but is not enabled may be reported, an enabled one always. */
	LABEL(bp_two);
	begin();
	breakpoint(1, bp_two, 0, 0);
	breakpoint(3, bp_two, 0, 0);
	asm volatile(MARK(bp_two) "nop" : : : "memory");
	check(count == 1 && dr6s[0] == (ACTIVE_LOW | 0xa), "two-breakpoints", "%lx", dr6s[0]);
	off();
}

static volatile u32 watched[4];

static void data_breakpoints(void)
{
	LABEL(dw0);
	LABEL(dr0_);
	begin();
	breakpoint(1, (void *)watched, 1, 3);
	asm volatile("movl $1, %0\n" MARK(dw0) "nop" : "=m"(watched[0]));
	check(count == 1 && rips[0] == (ulong)dw0 && dr6s[0] == (ACTIVE_LOW | 2), "write-breakpoint", "%u %lx", count, dr6s[0]);
	(void)watched[0];
	check(count == 1, "write-breakpoint-reads");
	begin();
	asm volatile("movb $1, %0" : "=m"(*((u8 *)watched + 3)));
	check(count == 1, "write-breakpoint-last-byte");
	begin();
	watched[1] = 1;
	check(count == 0, "write-breakpoint-behind");
	off();
	begin();
	breakpoint(2, (void *)watched, 3, 3);
	asm volatile("movl %0, %%eax\n" MARK(dr0_) "nop" : : "m"(watched[0]) : "eax");
	check(count == 1 && rips[0] == (ulong)dr0_ && dr6s[0] == (ACTIVE_LOW | 4), "access-breakpoint", "%u %lx", count, dr6s[0]);
	begin();
	asm volatile("addl $1, %0" : "+m"(watched[0]) : : "cc");
	check(count == 1, "access-breakpoint-rmw");
	begin();
	ulong d = (ulong)watched - 4, n = 3;
	asm volatile("rep stosl" : "+D"(d), "+c"(n) : "a"(5) : "memory");
	check(count == 1 && dr6s[0] == (ACTIVE_LOW | 4), "access-breakpoint-rep", "%u", count);
	off();
	begin();
	breakpoint(0, (void *)0x80, 2, 0);
	write_cr4(read_cr4() | 8);
	off();
	breakpoint(0, (void *)0x80, 2, 0);
	outb(0x80, 1);
	check(count == 1 && dr6s[0] == (ACTIVE_LOW | 1), "io-breakpoint", "%u %lx", count, dr6s[0]);
	begin();
	outb(0x84, 1);
	check(count == 0, "io-breakpoint-other-port");
	off();
	write_cr4(read_cr4() & ~8ul);
}

static void registers(void)
{
	off();
	write_dr6(0);
	check(read_dr6() == ACTIVE_LOW, "dr6-fixed-bits", "%lx", read_dr6());
	write_dr6(0xffffffff);
	check(read_dr6() == 0xffffefff || read_dr6() == 0xfffeefff, "dr6-all-ones", "%lx", read_dr6());
	write_dr6(0);
	write_dr7(0);
	check(read_dr7() == 0x400, "dr7-fixed-bit", "%lx", read_dr7());
	TRY("mov %%dr4, %0", "=r"(*(ulong *)&count));
	check_vector(-1, "dr4-is-dr6");
	write_cr4(read_cr4() | 8);
	TRY("mov %%dr4, %0", "=r"(*(ulong *)&count));
	check_fault(6, 0, "dr4-with-de");
	TRY("mov %0, %%dr5", : "r"(0ul));
	check_fault(6, 0, "dr5-with-de");
	write_cr4(read_cr4() & ~8ul);
#ifdef __x86_64__
	TRY("mov %0, %%dr7", : "r"(1ul << 32));
	check_fault(13, 0, "dr7-upper-half");
	TRY("mov %0, %%dr6", : "r"(1ul << 32));
	check_fault(13, 0, "dr6-upper-half");
	TRY("mov %0, %%dr0", : "r"(~0ul));
	check_fault(-1, 0, "dr0-takes-64-bits");
#endif
	begin();
	LABEL(gd_at);
	stop_after_first = true;
	write_dr7(0x2400);
	asm volatile(MARK(gd_at) "mov %%dr0, %0" : "=r"(*(ulong *)&rips[40]));
	check(count == 1 && rips[0] == (ulong)gd_at, "general-detect", "%u", count);
	/* The handler's own DR accesses worked: GD was cleared on entry. */
	off();
}

static void icebp(void)
{
	LABEL(ice_behind);
	begin();
	asm volatile(".byte 0xf1\n" MARK(ice_behind) "nop");
	check(count == 1 && rips[0] == (ulong)ice_behind && dr6s[0] == ACTIVE_LOW, "icebp", "%u %lx", count, dr6s[0]);
}

/* Sets TF by popf; the first trap comes behind the instruction after popf. */
#define TF_ON                                                                                                \
	"pushf; orl $0x100, (%%" SP "); popf\n"
#define TF_OFF                                                                                               \
	"pushf; andl $~0x100, (%%" SP "); popf\n"
#ifdef __x86_64__
#define SP "rsp"
#else
#define SP "esp"
#endif

static void step(void)
{
	LABEL(st1);
	LABEL(st2);
	LABEL(st3);
	begin();
	asm volatile(TF_ON "nop\n" MARK(st1) "nop\n" MARK(st2) TF_OFF : : : "memory", "cc");
	check(count == 5 && rips[0] == (ulong)st1 && rips[1] == (ulong)st2, "single-step", "%u", count);
	check(dr6s[0] == (ACTIVE_LOW | BS), "single-step-dr6", "%lx", dr6s[0]);
	check((flags[0] & 0x100) && !(flags[0] & 0x10000), "single-step-flags", "%lx", flags[0]);
	LABEL(cp1);
	begin();
	asm volatile("xor %%eax, %%eax\n" TF_ON "cpuid\n" MARK(cp1) TF_OFF : : : "eax", "ebx", "ecx", "edx", "memory", "cc");
	check(count == 4 && rips[0] == (ulong)cp1, "single-step-cpuid", "%u", count);
	begin();
	asm volatile("mov $0x1b, %%ecx\n" TF_ON "rdmsr\n" MARK(st3) TF_OFF : : : "eax", "ecx", "edx", "memory", "cc");
	check(count == 4 && rips[0] == (ulong)st3, "single-step-rdmsr", "%u", count);
	LABEL(io1);
	begin();
	asm volatile(TF_ON "inb $0x61, %%al\n" MARK(io1) TF_OFF : : : "eax", "memory", "cc");
	check(count == 4 && rips[0] == (ulong)io1, "single-step-in", "%u", count);
	LABEL(rep1);
	static u8 buf[8];
	begin();
	ulong d = (ulong)buf, n = 3;
	asm volatile(TF_ON MARK(rep1) "rep stosb\n" TF_OFF : "+D"(d), "+c"(n) : "a"(0) : "memory", "cc");
	check(count == 6 && rips[0] == (ulong)rep1 && rips[1] == (ulong)rep1, "single-step-rep", "%u", count);
	/* The trap of an instruction that clears TF is still taken; that of one that sets it is not. */
	LABEL(mov_ss_next);
	u16 ss;
	asm volatile("mov %%ss, %0" : "=r"(ss));
	begin();
	asm volatile(TF_ON "mov %0, %%ss\n nop\n" MARK(mov_ss_next) TF_OFF : : "r"(ss) : "memory", "cc");
	check(count == 4 && rips[0] == (ulong)mov_ss_next, "single-step-mov-ss", "%u", count);
	/* Data breakpoint on the operand of MOV SS is held until behind the next instruction. */
	static volatile u16 stack_selector;
	LABEL(held);
	stack_selector = ss;
	begin();
	breakpoint(0, (void *)&stack_selector, 3, 1);
	asm volatile("mov %0, %%ss\n nop\n" MARK(held) "nop" : : "m"(stack_selector));
	check(count == 1 && rips[0] == (ulong)held && dr6s[0] == (ACTIVE_LOW | 1), "mov-ss-holds-data-breakpoint", "%u %lx", count,
	      dr6s[0]);
	off();
	/* Step and data breakpoint together. */
	begin();
	breakpoint(1, (void *)watched, 1, 3);
	asm volatile(TF_ON "movl $1, %0\n" TF_OFF : "=m"(watched[0]) : : "memory", "cc");
	check(dr6s[0] == (ACTIVE_LOW | BS | 2), "step-and-watch", "%lx", dr6s[0]);
	off();
	/* int n clears TF for the handler; the trap comes behind iret's target instruction. */
	begin();
	LABEL(int_next);
	asm volatile(TF_ON "int $0x30\n nop\n" MARK(int_next) TF_OFF : : : "memory", "cc");
	check(rips[0] == (ulong)int_next, "step-over-int", "%u %lx %p", count, rips[0], int_next);
}

#ifdef __x86_64__
static void user_steps(void *arg)
{
	asm volatile(TF_ON "nop\n nop\n" TF_OFF : : : "memory", "cc");
}
#endif

static volatile bool interrupted;
static void on_interrupt(struct frame *f)
{
	interrupted = true;
	rips[0] = f->rip;
	apic_write(APIC_EOI, 0);
}

static void shadows(void)
{
	LABEL(sti_next);
	LABEL(sti_next2);
	u16 ss;

	asm volatile("mov %%ss, %0" : "=r"(ss));
	handle(0x40, on_interrupt);
	cli();
	apic_write(APIC_ICR, 0x44040);
	delay(100000);
	asm volatile("sti\n nop\n" MARK(sti_next) "nop; nop; cli" : : : "memory");
	check(interrupted && rips[0] == (ulong)sti_next, "sti-shadow", "%lx %p", rips[0], sti_next);
	interrupted = false;
	apic_write(APIC_ICR, 0x44040);
	delay(100000);
	asm volatile("sti; cli" : : : "memory");
	check(!interrupted, "sti-cli");
	asm volatile("sti\n mov %0, %%ss\n nop\n" MARK(sti_next2) "nop; cli" : : "r"(ss) : "memory");
	check(interrupted, "sti-mov-ss", "%lx %p", rips[0], sti_next2);
	handle(0x40, NULL);
}

static void ignore(struct frame *f) {}

void test(void)
{
	handle(1, on_db);
	handle(0x30, ignore);
	instruction_breakpoints();
	data_breakpoints();
	registers();
	icebp();
	step();
#ifdef __x86_64__
	begin();
	user_call(user_steps, NULL);
	check(count == 5, "single-step-user", "%u", count);
#endif
	shadows();
}
