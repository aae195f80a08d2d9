/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT: from 64-bit and compatibility mode, flags, segments, single step, targets that
 * are not canonical; SDM vol. 3 §5.8. guest: bits=64
 */
#include "lib/guest.h"

#define same(got, want, name)                                                                                \
	({                                                                                                   \
		ulong got_ = (ulong)(got), want_ = (ulong)(want);                                            \
		check(got_ == want_, name, "%lx instead of %lx", got_, want_);                               \
	})
#define LABEL(l) extern char l[]
#define MARK(l)  ".globl " #l "\n" #l ": "

#define MSR_STAR   0xc0000081
#define MSR_LSTAR  0xc0000082
#define MSR_CSTAR  0xc0000083
#define MSR_FMASK  0xc0000084
#define MSR_SE_CS  0x174
#define MSR_SE_ESP 0x175
#define MSR_SE_EIP 0x176

/* Descriptors in the order that the instructions assume: kernel code and data, user code 32, data, code 64, data. */
#define S_CODE   GDT_FREE
#define S_DATA   (GDT_FREE + 8)
#define S_UCODE  (GDT_FREE + 16)
#define S_UDATA  (GDT_FREE + 24)
#define S_UCODE6 (GDT_FREE + 32)
#define S_UDATA6 (GDT_FREE + 40)

static volatile ulong saved_rsp, got_rcx, got_r11, got_flags, got_rsp, got_cs, got_ss;
static char user_stack[4096] __attribute__((aligned(16)));
#define USER_RSP ((ulong)user_stack + sizeof(user_stack) - 64)

/* The kernel's side of SYSCALL and SYSENTER: notes what it finds, and goes back to where enter() was called. */
asm(".globl kernel_entry\nkernel_entry:\n"
    "mov %rcx, got_rcx; mov %r11, got_r11; mov %rsp, got_rsp\n"
    "mov saved_rsp, %rsp; pushf; pop got_flags; mov %cs, %rax; mov %rax, got_cs; mov %ss, %rax; mov %rax, got_ss\n"
    "push $2; popf; mov $0x10, %eax; mov %eax, %ss; mov %eax, %ds; mov %eax, %es\n"
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
    ".globl kernel_entry_too\nkernel_entry_too: movq $1, entered_too; jmp kernel_entry\n"
    /* interrupts itself (vector 0x40) by the APIC, whose ICR is at 0x300 */
    ".globl kernel_entry_ipi, kernel_entry_behind\nkernel_entry_ipi: mov apic_icr, %rax; movl $0x40040, (%rax); mov (%rax), %eax; nop; nop; nop\n"
    "kernel_entry_behind: cli; jmp kernel_entry\n"
    /* enter(rip, flags, 32): goes to user mode by SYSRET; comes back through kernel_entry. */
    ".globl enter\nenter:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; mov %rsp, saved_rsp\n"
    "mov %rdi, %rcx; mov %rsi, %r11; mov user_rsp, %rsp; test %edx, %edx; jnz 1f; sysretq\n1: sysretl\n"
    /* the same by SYSEXIT */
    ".globl enter_exit\nenter_exit:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; mov %rsp, saved_rsp\n"
    "mov user_rsp, %rcx; mov %edx, %eax; mov %rdi, %rdx; push %rsi; popf; test %eax, %eax; jnz 1f; rex.w sysexit\n1: sysexitl\n");
extern char kernel_entry[], kernel_entry_too[], kernel_entry_ipi[], kernel_entry_behind[];
volatile ulong apic_icr = APIC_BASE + 0x300;
volatile ulong entered_too;
void enter(void *rip, ulong flags, int bits32);
void enter_exit(void *rip, ulong flags, int bits32);
ulong user_rsp;

/* Pieces of user code. */
asm(".globl u_syscall, u_syscall_behind, u_look, u_sysenter, u_syscall32, u_syscall32_behind, u_sysenter32, u_nops, u_nops32, u_misaligned\n"
    "u_syscall: syscall\nu_syscall_behind: ud2\n"
    "u_look: pushf; pop u_flags; mov %cs, %rax; mov %rax, u_cs; mov %ss, %rax; mov %rax, u_ss; mov %rsp, u_rsp; syscall; ud2\n"
    "u_sysenter: sysenter; ud2\n"
    "u_nops: nop; nop; syscall; ud2\n"
    "u_misaligned: mov 1(%rsp), %eax; syscall; ud2\n"
    ".code32\n"
    "u_syscall32: syscall\nu_syscall32_behind: ud2\n"
    "u_sysenter32: mov %cs, %eax; mov %eax, u_cs; mov %ss, %eax; mov %eax, u_ss; mov %esp, u_rsp; sysenter; ud2\n"
    "u_nops32: nop; nop; sysenter; ud2\n"
    ".code64\n");
LABEL(u_syscall);
LABEL(u_syscall_behind);
LABEL(u_look);
LABEL(u_sysenter);
LABEL(u_syscall32);
LABEL(u_sysenter32);
LABEL(u_nops);
LABEL(u_misaligned);
LABEL(u_nops32);
ulong u_flags, u_cs, u_ss, u_rsp;

/* An exception in user code ends it as the system call would. */
static volatile struct fault ended;
static void end(struct frame *f)
{
	ended.vector = (int)f->vector;
	ended.error = f->error;
	ended.rip = f->rip;
	ended.cs = f->cs;
	ended.rflags = f->rflags;
	ended.rsp = f->rsp;
	f->rip = (ulong)kernel_entry;
	f->cs = CODE64;
	f->ss = DATA;
	f->rflags = 2;
	f->rsp = (ulong)f;
}

static void with_handlers(bool on)
{
	ended.vector = -1;
	handle(6, on ? end : NULL);
	handle(13, on ? end : NULL);
}

static void flags_and_segments(void)
{
	with_handlers(true);
	wrmsr(MSR_FMASK, 0x700);
	enter(u_syscall, 0xad7 | 0x202 | 0x40000, 0);
	same(got_rcx, u_syscall_behind, "syscall-rcx");
	same(got_r11 & ~0x28ul, (0xad7 | 0x40202) & ~0x28ul, "syscall-r11");
	same(got_flags & 0x40ed5ul, (0xad7 | 0x40202) & ~0x700 & 0x40ed5, "syscall-flags-masked");
	same(got_cs, S_CODE, "syscall-cs");
	same(got_ss, S_DATA, "syscall-ss");
	same(got_rsp, user_rsp, "syscall-leaves-rsp");
	wrmsr(MSR_FMASK, 0xffffffff);
	enter(u_syscall, 0x202, 0);
	same(got_flags, 2, "syscall-mask-of-all");
	wrmsr(MSR_FMASK, 0x47700);

	u_cs = 0;
	enter(u_look, 0x3202 | 0x10000 | 0x4000 | 0x20000 | 0x80000, 0);
	same(u_flags & 0x37fd7, 0x3202 | 0x4000, "sysret-flags-without-rf-vm");
	same(u_cs, S_UCODE6 | 3, "sysretq-cs");
	same(u_ss, S_UDATA | 3, "sysretq-ss");
	same(u_rsp, user_rsp, "sysret-leaves-rsp");
	enter_exit(u_look, 2, 0);
	same(u_cs, S_UCODE6 | 3, "sysexitq-cs");
	same(u_ss, S_UDATA6 | 3, "sysexitq-ss");
	same(u_rsp, user_rsp, "sysexitq-rsp");

	/* Into compatibility mode. SYSCALL there is #UD on processors of this vendor; SYSENTER is not. */
	u_cs = 0;
	enter(u_sysenter32, 0x202, 1);
	same(u_cs, S_UCODE | 3, "sysretl-cs");
	same(u_ss, S_UDATA | 3, "sysretl-ss");
	same(ended.vector, -1, "sysretl-no-fault");
	same(got_cs, S_CODE, "sysenter-from-compat-cs");
	same(got_ss, S_DATA, "sysenter-from-compat-ss");
	same(got_rsp, 0x123456789a0, "sysenter-rsp-64");
	check(!(got_flags & 0x200), "sysenter-clears-if");
	u_cs = 0;
	enter_exit(u_sysenter32, 0x202, 1);
	same(u_cs, S_UCODE | 3, "sysexitl-cs");
	same(u_ss, S_UDATA | 3, "sysexitl-ss");
	same(u_rsp, (u32)user_rsp, "sysexitl-rsp");
	u32 id[4];
	cpuid(0, 0, id);
	if (id[1] == 0x756e6547) {
		ended.vector = -1;
		enter(u_syscall32, 0x202, 1);
		same(ended.vector, 6, "syscall-in-compat");
		same(ended.rip, (ulong)u_syscall32, "syscall-in-compat-rip");
		same(ended.cs, S_UCODE | 3, "syscall-in-compat-cs");
	} else {
		skip("syscall-in-compat", "not Intel");
	}
	ended.vector = -1;
	enter(u_sysenter, 0x202, 0);
	same(ended.vector, -1, "sysenter-from-64");
	same(got_rsp, 0x123456789a0, "sysenter-from-64-rsp");
	same(got_cs, S_CODE, "sysenter-from-64-cs");
	/* The CS and SS that SYSCALL loads are flat and accessed whatever the table says; RPL of the MSR is ignored. */
	wrmsr(MSR_STAR, (u64)(S_UCODE | 3) << 48 | (u64)(S_CODE | 3) << 32);
	enter(u_syscall, 0x202, 0);
	same(got_cs, S_CODE, "syscall-cs-without-rpl");
	same(got_ss, S_DATA, "syscall-ss-without-rpl");
	wrmsr(MSR_STAR, (u64)S_UCODE << 48 | (u64)S_CODE << 32);
	wrmsr(MSR_SE_CS, S_CODE | 3);
	enter(u_sysenter, 0x202, 0);
	same(got_cs, S_CODE, "sysenter-cs-without-rpl");
	wrmsr(MSR_SE_CS, S_CODE);
	with_handlers(false);
}

/* What repeated checks found wrong first. */
struct wrong {
	unsigned count;
	ulong got, want;
};
#define expect(w, got_, want_)                                                                               \
	({                                                                                                   \
		ulong g_ = (ulong)(got_), w_ = (ulong)(want_);                                               \
		if (g_ != w_ && !(w)->count++)                                                               \
			(w)->got = g_, (w)->want = w_;                                                       \
	})
static void say(const struct wrong *w, const char *name)
{
	check(!w->count, name, "%u times, first %lx instead of %lx", w->count, w->got, w->want);
}

/* Where SFMASK leaves IF, an interrupt comes at once; and one that waited comes as soon as SYSRET sets IF. */
static volatile ulong interrupted_at;
static void interrupted(struct frame *f)
{
	interrupted_at = f->rip;
	apic_write(APIC_EOI, 0);
}

static void interrupts(void)
{
	struct wrong late = {0}, early = {0};

	apic_enable();
	handle(0x40, interrupted);
	wrmsr(MSR_FMASK, 0x40000);
	for (unsigned n = 0; n < 6; n++) {
		wrmsr(MSR_LSTAR, (ulong)kernel_entry);
		enter(u_syscall, 0x202, 0);
		wrmsr(MSR_LSTAR, (ulong)kernel_entry_ipi);
		interrupted_at = 0;
		enter(u_syscall, 0x202, 0);
		expect(&late, interrupted_at > (ulong)kernel_entry_ipi && interrupted_at <= (ulong)kernel_entry_behind, 1);
	}
	say(&late, "syscall-that-leaves-if");
	wrmsr(MSR_LSTAR, (ulong)kernel_entry);
	wrmsr(MSR_FMASK, 0x47700);
	late.count = 0;
	for (unsigned n = 0; n < 6; n++) {
		interrupted_at = 0;
		wrmsr(MSR_LSTAR, (ulong)kernel_entry_ipi);
		enter(u_syscall, 0x202, 0);
		expect(&early, interrupted_at, 0);
		wrmsr(MSR_LSTAR, (ulong)kernel_entry);
		enter(u_syscall, 0x202, 0);
		expect(&late, interrupted_at, u_syscall);
	}
	say(&early, "syscall-that-clears-if");
	say(&late, "sysret-that-sets-if");
	handle(0x40, NULL);
}

/* The same again and again, each time with other registers of the system: nothing may be left of the last. */
static void changes(void)
{
	static const u32 masks[] = {0x47700, 0x47741, 0x40200, 0x47fd5, 0x700};
	static const u32 flags[] = {0x202, 0xad7, 0x40202, 0x2, 0xa93, 0x246, 0x3203};
	struct wrong rcx = {0}, r11 = {0}, masked = {0}, back = {0}, segments = {0}, lstar = {0};

	with_handlers(true);
	for (unsigned m = 0; m < ARRAY_SIZE(masks); m++) {
		wrmsr(MSR_FMASK, masks[m]);
		for (unsigned n = 0; n < 3 * ARRAY_SIZE(flags); n++) {
			u32 f = flags[n % ARRAY_SIZE(flags)];

			got_rcx = u_flags = 0;
			enter(u_syscall, f, 0);
			expect(&rcx, got_rcx, u_syscall_behind);
			expect(&r11, got_r11, f | 2);
			expect(&masked, got_flags, (f & ~masks[m]) | 2);
			enter(u_look, f, 0);
			expect(&back, u_flags, f | 2);
		}
	}
	say(&rcx, "syscall-again-rcx");
	say(&r11, "syscall-again-r11");
	say(&masked, "syscall-again-flags");
	say(&back, "sysret-again-flags");
	wrmsr(MSR_FMASK, 0x47700);
	for (unsigned n = 0; n < 4; n++) {
		/* Other selectors, of descriptors that nobody reads. */
		unsigned by = n & 1 ? 64 : 0;

		wrmsr(MSR_STAR, (u64)(S_UCODE + by) << 48 | (u64)(S_CODE + by) << 32);
		for (unsigned k = 0; k < 3; k++) {
			enter(u_look, 0x202, 0);
			expect(&segments, u_cs, (S_UCODE6 + by) | 3);
			expect(&segments, u_ss, (S_UDATA + by) | 3);
			expect(&segments, got_cs, S_CODE + by);
			expect(&segments, got_ss, S_DATA + by);
		}
		wrmsr(MSR_LSTAR, (ulong)(n & 1 ? kernel_entry : kernel_entry_too));
		enter(u_syscall, 0x202, 0);
		expect(&lstar, entered_too, !(n & 1));
		entered_too = 0;
		wrmsr(MSR_LSTAR, (ulong)kernel_entry);
	}
	say(&segments, "syscall-and-sysret-by-another-star");
	say(&lstar, "syscall-to-another-lstar");
	wrmsr(MSR_STAR, (u64)S_UCODE << 48 | (u64)S_CODE << 32);
	/* Alignment is checked where SYSRET set AC. */
	write_cr0(read_cr0() | 0x40000);
	handle(17, end);
	for (unsigned n = 0; n < 6; n++) {
		ended.vector = -1;
		enter(u_misaligned, n & 1 ? 0x40202 : 0x202, 0);
		same(ended.vector, n & 1 ? 17 : -1, "sysret-that-sets-ac");
	}
	handle(17, NULL);
	write_cr0(read_cr0() & ~0x40000ul);
	/* EFER.SCE is seen to be gone in user mode too; SYSRET without it is kept for faults(). */
	u64 efer = rdmsr(MSR_EFER);
	ended.vector = -1;
	enter(u_look, 0x202, 0);
	same(ended.vector, -1, "syscall-with-sce");
	wrmsr(MSR_EFER, efer & ~1ull);
	enter_exit(u_look, 0x202, 0);
	same(ended.vector, 6, "syscall-without-sce-in-user-mode");
	same(ended.cs, S_UCODE6 | 3, "syscall-without-sce-cs");
	wrmsr(MSR_EFER, efer);
	with_handlers(false);
}

/* Single step: the trap of SYSCALL and SYSRET goes by TF at their end. */
static volatile unsigned steps;
static volatile ulong step_rip[16], step_cs[16];
static void on_step(struct frame *f)
{
	if (steps < 16) {
		step_rip[steps] = f->rip;
		step_cs[steps] = f->cs;
	}
	if (++steps > 12)
		f->rflags &= ~0x100ul;
	write_dr6(0);
}

static char sysenter_stack[4096] __attribute__((aligned(16)));

static void single_step(void)
{
	handle(1, on_step);
	wrmsr(MSR_SE_ESP, (ulong)sysenter_stack + sizeof(sysenter_stack));
	with_handlers(true);
	wrmsr(MSR_FMASK, 0x47700);
	for (unsigned n = 0; n < 3; n++)
		enter(u_nops, 0x202, 0);
	steps = 0;
	enter(u_nops, 0x302, 0);
	/* SYSRET set TF: one trap before any user instruction, then one behind each NOP; none behind SYSCALL. */
	same(step_rip[0], u_nops, "sysret-that-sets-tf");
	same(step_cs[0], S_UCODE6 | 3, "sysret-that-sets-tf-cs");
	same(steps, 3, "syscall-that-clears-tf");
	same(got_flags & 0x100, 0, "syscall-tf-masked");
	steps = 0;
	enter(u_nops32, 0x302, 1);
	same(step_rip[0], u_nops32, "sysretl-that-sets-tf");
	same(step_cs[0], S_UCODE | 3, "sysretl-that-sets-tf-cs");
	/* SYSENTER does not clear TF. */
	check(steps > 3 && step_rip[3] == (ulong)kernel_entry, "sysenter-leaves-tf", "%u steps, %lx", steps, step_rip[3]);
	wrmsr(MSR_FMASK, 0);
	steps = 0;
	enter(u_nops, 0x302, 0);
	check(steps > 3 && step_rip[3] == (ulong)kernel_entry && step_cs[3] == S_CODE, "syscall-that-leaves-tf", "%u steps, %lx", steps, step_rip[3]);
	wrmsr(MSR_FMASK, 0x47700);
	handle(1, NULL);
	with_handlers(false);
}

static void user_privileged(void *arg)
{
	TRY("sysretq", : "c"(0), "a"(0) : "r11");
	check_fault(13, 0, "sysret-in-user-mode");
	TRY("sysexitl", : "c"(0), "d"(0));
	check_fault(13, 0, "sysexit-in-user-mode");
	TRY("swapgs");
	check_fault(13, 0, "swapgs-in-user-mode");
}

static void faults(void)
{
	u64 efer = rdmsr(MSR_EFER);

	user_call(user_privileged, NULL);
	for (unsigned n = 0; n < 3; n++)
		enter(u_syscall, 0x202, 0);
	TRY("mov %%rsp, %%rbx; sysretq", : "c"(0x800000000000), "a"(0) : "r11", "rbx");
	check_fault(13, 0, "sysret-not-canonical");
	same(fault.cs & 3, 0, "sysret-not-canonical-cpl");
	TRY("rex.w sysexit", : "c"(0ul), "d"(0x800000000000));
	check_fault(13, 0, "sysexit-rip-not-canonical");
	TRY("rex.w sysexit", : "c"(0x800000000000), "d"(0ul));
	check_fault(13, 0, "sysexit-rsp-not-canonical");
	wrmsr(MSR_EFER, efer & ~1ull);
	TRY("syscall", : : "rcx", "r11");
	check_fault(6, 0, "syscall-without-sce");
	TRY("sysretq", : "c"(0ul) : "r11");
	check_fault(6, 0, "sysret-without-sce");
	wrmsr(MSR_EFER, efer);
	wrmsr(MSR_SE_CS, 0);
	TRY("sysenter");
	check_fault(13, 0, "sysenter-cs-0");
	TRY("sysexitl", : "c"(0ul), "d"(0ul));
	check_fault(13, 0, "sysexit-cs-0");
	wrmsr(MSR_SE_CS, 3);
	TRY("sysenter");
	check_fault(13, 0, "sysenter-cs-null-with-rpl");
	wrmsr(MSR_SE_CS, S_CODE);
	static const u32 canonical[] = {MSR_LSTAR, MSR_CSTAR, MSR_SE_ESP, MSR_SE_EIP, 0xc0000100, 0xc0000101, 0xc0000102};
	for (unsigned i = 0; i < ARRAY_SIZE(canonical); i++) {
		TRY_WRMSR(canonical[i], 0x800000000000);
		check_fault(13, 0, "msr-canonical");
	}
	TRY_WRMSR(MSR_FMASK, 1ull << 32);
	check_fault(13, 0, "fmask-upper-half");
	/* From CPL 0. */
	LABEL(behind_syscall);
	wrmsr(MSR_LSTAR, (ulong)behind_syscall);
	ulong cs, ss;
	asm volatile("pushf; syscall\n" MARK(behind_syscall) "mov %%cs, %0; mov %%ss, %1; mov %2, %%ss; popf" : "=&r"(cs), "=&r"(ss) : "r"(DATA) : "rcx", "r11", "memory", "cc");
	same(cs, S_CODE, "syscall-from-cpl-0-cs");
	same(ss, S_DATA, "syscall-from-cpl-0-ss");
	wrmsr(MSR_LSTAR, (ulong)kernel_entry);
}

static void swapgs(void)
{
	wrmsr(0xc0000101, 0x1111000);
	wrmsr(0xc0000102, 0xffff888000002000);
	asm volatile("swapgs");
	same(rdmsr(0xc0000101), 0xffff888000002000, "swapgs-gs-base");
	same(rdmsr(0xc0000102), 0x1111000, "swapgs-kernel-gs-base");
	asm volatile("swapgs");
	/* Loading a selector sets the base of GS from its descriptor, that of the other stays. */
	asm volatile("mov %0, %%gs" : : "r"(DATA));
	same(rdmsr(0xc0000101), 0, "selector-sets-gs-base");
	same(rdmsr(0xc0000102), 0xffff888000002000, "selector-leaves-kernel-gs-base");
	u32 r[4];
	cpuid(7, 0, r);
	if (r[1] & 1) {
		TRY("wrgsbase %0", : "r"(0x1234ul));
		check_fault(6, 0, "fsgsbase-without-cr4");
		write_cr4(read_cr4() | 0x10000);
		ulong v = 0;
		asm volatile("wrgsbase %1; rdgsbase %0" : "=r"(v) : "r"(0xffff800000001234));
		same(v, 0xffff800000001234, "wrgsbase");
		TRY("wrfsbase %0", : "r"(0x800000000000));
		check_fault(13, 0, "wrfsbase-not-canonical");
		asm volatile("wrfsbase %k1; rdfsbase %0" : "=r"(v) : "r"(0xffff800080001234));
		same(v, 0x80001234, "wrfsbase-32");
		write_cr4(read_cr4() & ~0x10000ul);
	}
}

void test(void)
{
	user_rsp = USER_RSP;
	gdt_set(S_CODE, 0, 0xfffff, 0x9b, 0xa);
	gdt_set(S_DATA, 0, 0xfffff, 0x93, 0xc);
	gdt_set(S_UCODE, 0, 0xfffff, 0xfb, 0xc);
	gdt_set(S_UDATA, 0, 0xfffff, 0xf3, 0xc);
	gdt_set(S_UCODE6, 0, 0xfffff, 0xfb, 0xa);
	gdt_set(S_UDATA6, 0, 0xfffff, 0xf3, 0xc);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
	wrmsr(MSR_STAR, (u64)S_UCODE << 48 | (u64)S_CODE << 32);
	wrmsr(MSR_LSTAR, (ulong)kernel_entry);
	wrmsr(MSR_CSTAR, (ulong)kernel_entry);
	wrmsr(MSR_SE_CS, S_CODE);
	wrmsr(MSR_SE_ESP, 0x123456789a0);
	wrmsr(MSR_SE_EIP, (ulong)kernel_entry);
	flags_and_segments();
	changes();
	interrupts();
	single_step();
	faults();
	swapgs();
}
