/* Task switches by CALL, JMP, INT, exceptions and IRET; what a bad new task means. SDM vol. 3 ch. 8.
 * guest: bits=32 */
#include "lib/guest.h"

struct tss32 {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
	u32 es, cs, ss, ds, fs, gs, ldt;
	u16 trap, iomap;
};
struct tss16 {
	u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};

/* Descriptors and TSSs that were written are to be in memory. */
#define barrier() asm volatile("" : : : "memory")

#define TASK     0x50
#define HANDLER  0x58 /* the task of a bad task's exceptions */
#define GATE     0x60
#define OTHER    0x68
#define LDT      0x70
#define CONFORM  0x78
#define BAD      0x80
#define TASK16   0x88
#define CODE_LOW 0x90
#define TASK_B   0x98

static struct tss32 task, handler, task_b;
static struct tss16 task16;
static char stacks[3][4096] __attribute__((aligned(16)));
static u64 ldt[8];
static volatile u32 task16_seen[2]; /* ax, sp */
static u32 page_directory[2][1024] __attribute__((aligned(4096)));

static void nothing(void) {}
static void (*volatile hook)(void) = nothing;
static void (*volatile hook_b)(void) = nothing;
volatile u32 task_error, task_eax, task_esp;

extern char task_call[], task_error_call[], task_jump[], task_error_jump[], task_b_call[], task16_call[], v86_code[],
        v86_code_end[];
void task_hook(void);
void task_hook_b(void);
void task_hook(void)
{
	hook();
}
void task_hook_b(void)
{
	hook_b();
}

asm(".pushsection .text\n"
    "task_call: mov %eax, task_eax; mov %esp, task_esp; call task_hook; mov $0x1234, %eax; iret; jmp task_call\n"
    "task_b_call: call task_hook_b; iret; jmp task_b_call\n"
    "task_error_call: popl task_error; mov %esp, task_esp; call task_hook; iret; jmp task_error_call\n"
    "task_jump: call task_hook; ljmp $0x180, $0; jmp task_jump\n"
    "task_error_jump: popl task_error; mov %esp, task_esp; call task_hook; ljmp $0x180, $0; jmp task_error_jump\n"
    /* 16 bits: ax and sp go to the start of its data segment */
    ".code16\n"
    "task16_call: mov %ax, 0; mov %sp, 4; mov $0x4321, %ax; iret; jmp task16_call\n"
    "v86_code: mov %cs, %ax; mov $0x55, %bl; int $0x50; v86_code_end:\n"
    ".code32\n"
    ".popsection");

#define TASK_CALL(selector) asm volatile("lcall %0, $0" : : "i"(selector) : "memory", "cc")
#define TRY_CALL(selector)  TRY("lcall %0, $0", : "i"(selector) : "memory", "cc")
#define TRY_JMP(selector)   TRY("ljmp %0, $0", : "i"(selector) : "memory", "cc")

static unsigned type_of(unsigned selector)
{
	return gdt[selector / 8] >> 40 & 0xf;
}

static void task_init(struct tss32 *t, unsigned selector, void *entry, char *stack)
{
	memset(t, 0, sizeof(*t));
	t->cr3 = read_cr3();
	t->eip = (u32)entry;
	t->eflags = 2;
	t->esp = (u32)stack + 4096;
	t->es = t->ss = t->ds = t->fs = t->gs = DATA;
	t->cs = CODE32;
	t->iomap = sizeof(*t);
	t->ss0 = DATA;
	t->esp0 = (u32)stack + 2048;
	gdt_set(selector, (u32)t, sizeof(*t) - 1, 0x89, 0);
}

static void setup(void)
{
	task_init(&task, TASK, task_call, stacks[0]);
	task_init(&handler, HANDLER, task_error_jump, stacks[1]);
	task_init(&task_b, TASK_B, task_b_call, stacks[2]);
	gdt_set(GDT_TSS, (u32)&tss, sizeof(tss) - 1, 0x8b, 0);
	tss.cr3 = read_cr3(); /* never saved */
	hook = hook_b = nothing;
	write_flags(2);
}

static u16 read_tr(void)
{
	u16 v;
	asm volatile("str %0" : "=r"(v));
	return v;
}
static u16 read_ldt(void)
{
	u16 v;
	asm volatile("sldt %0" : "=r"(v));
	return v;
}

static volatile struct {
	u16 tr, ldt, link;
	u32 flags, cr0, cr3;
	unsigned type, main_type, count;
	u32 dr7;
} in;
static void observe(void)
{
	in.tr = read_tr();
	in.ldt = read_ldt();
	in.link = (u16)((struct tss32 *)(in.tr == TASK ? &task : &handler))->link;
	in.flags = read_flags();
	in.cr0 = read_cr0();
	in.cr3 = read_cr3();
	in.type = type_of(in.tr);
	in.main_type = type_of(GDT_TSS);
	in.dr7 = read_dr7();
	in.count++;
	asm volatile("clts");
}

static void calls(void)
{
	u32 ebx = 0x11, esi = 0x22;

	setup();
	hook = observe;
	task.eax = 0xabcd;
	in.count = 0;
	write_dr7(0x5ff & ~2u);
	asm volatile("lcall %2, $0" : "+b"(ebx), "+S"(esi) : "i"(TASK) : "memory", "cc");
	check(in.count == 1, "call-runs-task");
	check(in.tr == TASK && in.link == GDT_TSS, "call-link", "tr %x link %x", in.tr, in.link);
	check(in.flags & 0x4000, "call-sets-nt", "%x", in.flags);
	check(in.cr0 & 8, "call-sets-ts");
	check(in.type == 11 && in.main_type == 11, "call-busy", "%u %u", in.type, in.main_type);
	check(!(in.dr7 & 0x155), "switch-clears-local-breakpoints", "%x", in.dr7);
	check(task_eax == 0xabcd && task_esp == (u32)stacks[0] + 4096, "registers-loaded", "%x %x", task_eax, task_esp);
	check(read_tr() == GDT_TSS && type_of(TASK) == 9 && type_of(GDT_TSS) == 11, "iret-busy", "%x %u", read_tr(),
	      type_of(TASK));
	check(task.eax == 0x1234 && !(task.eflags & 0x4000), "iret-saves", "%x %x", task.eax, task.eflags);
	check(ebx == 0x11 && esi == 0x22 && !(read_flags() & 0x4000), "iret-restores", "%x %x", ebx, esi);
	asm volatile("clts");
	write_dr7(0x400);
	TASK_CALL(TASK);
	check(in.count == 2, "call-resumes-behind-iret", "%u", in.count);
	check(read_cr0() & 8, "iret-sets-ts");
	asm volatile("clts");
	check(tss.es == DATA && tss.cs == CODE32 && tss.ss == DATA, "segments-saved");

	setup();
	hook = observe;
	gdt_set(GATE, 0, 0, 0x85, 0);
	gdt[GATE / 8] |= (u64)TASK << 16;
	barrier();
	TASK_CALL(GATE);
	check(in.tr == TASK && in.link == GDT_TSS && type_of(TASK) == 9, "call-by-gate", "%x %x", in.tr, in.link);
	static struct {
		u32 offset;
		u16 selector;
	} far = {0, TASK};
	in.count = 0;
	asm volatile("lcall *%0" : : "m"(far) : "memory");
	check(in.count == 1, "call-by-memory");
}

static void nested_inner(void)
{
	in.link = (u16)task_b.link;
	in.count++;
}
static void nested_outer(void)
{
	in.count++;
	TASK_CALL(TASK_B);
	check(read_tr() == TASK && (read_flags() & 0x4000) && type_of(GDT_TSS) == 11 && type_of(TASK_B) == 9,
	      "nested-back", "tr %x", read_tr());
}

static void jumps(void)
{
	setup();
	task.eip = (u32)task_jump;
	hook = observe;
	in.count = 0;
	asm volatile("ljmp %0, $0" : : "i"(TASK) : "memory", "cc");
	check(in.count == 1 && in.tr == TASK, "jump-runs-task", "%x", in.tr);
	check(in.type == 11 && in.main_type == 9, "jump-busy", "%u %u", in.type, in.main_type);
	check(!(in.flags & 0x4000) && in.link == 0, "jump-does-not-nest", "%x %x", in.flags, in.link);
	check(type_of(TASK) == 9 && type_of(GDT_TSS) == 11 && read_tr() == GDT_TSS, "jump-back");
	asm volatile("ljmp %0, $0" : : "i"(GATE) : "memory", "cc");
	check(in.count == 2, "jump-by-gate");
	/* EFLAGS.NT of the old task stays on a jump, in both directions */
	write_flags(0x4002);
	asm volatile("ljmp %0, $0" : : "i"(TASK) : "memory", "cc");
	check((tss.eflags & 0x4000) && (read_flags() & 0x4000), "jump-keeps-nt", "%x", tss.eflags);
	write_flags(2);
	setup();
	hook = nested_outer;
	hook_b = nested_inner;
	in.count = 0;
	TASK_CALL(TASK);
	check(in.count == 2 && in.link == TASK && read_tr() == GDT_TSS, "nested", "%u %x", in.count, in.link);
	asm volatile("clts");
}

/* ---- by interrupt and exception ---- */

static void task_gate(unsigned vector, u16 selector, u8 dpl)
{
	idt[vector].low = (u64)selector << 16 | (u64)(0x85 | dpl << 5) << 40;
	barrier();
	barrier();
}

static void skip_ud2(void)
{
	observe();
	tss.eip += 2;
}
static void skip_load(void)
{
	observe();
	tss.eip = fault_resume;
	fault_resume = 0;
}

static void interrupt_hook(void)
{
	observe();
	apic_write(APIC_EOI, 0);
}

static void user_interrupts(void *arg)
{
	asm volatile("int $0x40" : : : "memory");
}

static void events(void)
{
	struct idt_entry old6 = idt[6], old13 = idt[13];

	setup();
	hook = observe;
	task_gate(0x40, TASK, 3);
	in.count = 0;
	write_flags(0x202 | 0x800);
	asm volatile("int $0x40" : : : "memory");
	ulong flags = read_flags();
	cli();
	check(in.count == 1 && in.tr == TASK && in.link == GDT_TSS && (in.flags & 0x4000), "int-task-gate");
	check((flags & 0xa00) == 0xa00, "int-task-gate-flags-back", "%lx", flags);
	check(!(in.flags & 0x200), "task-has-its-own-if");
	check(!(tss.eflags & 0x10000), "int-saves-no-rf");

	setup();
	hook = skip_ud2;
	task_gate(6, TASK, 0);
	asm volatile("ud2" : : : "memory");
	check(in.tr == TASK && (tss.eflags & 0x10000), "ud-task-gate-saves-rf", "%x", tss.eflags);
	idt[6] = old6;
	barrier();

	setup();
	task.eip = (u32)task_error_call;
	hook = skip_load;
	task_gate(13, TASK, 0);
	TRY("mov %0, %%ds", : "r"(0x1004));
	idt[13] = old13;
	barrier();
	check(task_error == 0x1004 && task_esp == (u32)stacks[0] + 4096, "gp-task-gate-error-code", "%x %x", task_error,
	      task_esp);

	/* To CPL 0 from 3 */
	setup();
	hook = observe;
	in.count = 0;
	user_call(user_interrupts, NULL);
	check(in.count == 1 && (tss.cs & 3) == 3, "int-task-gate-from-user", "%x", tss.cs);

	/* From outside */
	setup();
	hook = interrupt_hook;
	in.count = 0;
	task_gate(0x42, TASK, 0);
	sti();
	apic_ipi(0, 0x40000 | 0x42);
	delay(100000);
	cli();
	check(in.count == 1 && in.link == GDT_TSS && type_of(TASK) == 9, "interrupt-task-gate", "%u", in.count);
	struct idt_entry old2 = idt[2];
	setup();
	hook = observe;
	in.count = 0;
	task_gate(2, TASK, 0);
	for (int i = 0; i < 2; i++) {
		apic_ipi(0, 0x400);
		delay(100000);
	}
	check(in.count == 2, "nmi-task-gate", "%u", in.count);
	idt[2] = old2;
	idt_gate(0x42, (void *)vector_entries[0x42], 0x8e, CODE32, 0);

	/* Gates and TSSs that cannot be used */
	task_gate(0x41, GDT_TSS, 0);
	TRY("int $0x41");
	check_fault(13, GDT_TSS, "int-to-busy-task");
	task_gate(6, GDT_TSS, 0);
	TRY("ud2");
	check_fault(13, GDT_TSS | 1, "ud-to-busy-task-ext");
	task_gate(6, TASK | 4, 0);
	TRY("ud2");
	check_fault(13, TASK | 4 | 1, "task-gate-to-ldt");
	task_gate(6, 0x1000, 0);
	TRY("ud2");
	check_fault(13, 0x1001, "task-gate-beyond-gdt");
	task_gate(6, DATA, 0);
	TRY("ud2");
	check_fault(13, DATA | 1, "task-gate-to-data");
	task_gate(6, 0, 0);
	TRY("ud2");
	check_fault(13, 1, "task-gate-to-null");
	idt[6] = old6;
	barrier();
	idt[0x41].low &= ~(1ull << 47);
	barrier();
	TRY("int $0x41");
	check_fault(11, 0x41 * 8 + 2, "task-gate-not-present");
	idt_gate(0x40, (void *)vector_entries[0x40], 0x8e, CODE32, 0);
	idt_gate(0x41, (void *)vector_entries[0x41], 0x8e, CODE32, 0);
}

/* ---- paging ---- */

static void page_fault_hook(void)
{
	observe();
	page_directory[0][0x30000000 >> 22] = 0x000001e7;
	asm volatile("invlpg 0x30000000");
}
static void map_hook(void)
{
	observe();
	in.flags = *(volatile u32 *)0x30000000;
}

static void paging(void)
{
	struct idt_entry old14 = idt[14];

	for (unsigned i = 0; i < 1024; i++)
		page_directory[0][i] = page_directory[1][i] = i << 22 | 0xe7;
	page_directory[0][0x30000000 >> 22] = 0;
	page_directory[1][0x30000000 >> 22] = 0x000000e7;
	write_cr4(read_cr4() | 0x10);
	write_cr3((ulong)page_directory[0]);
	write_cr0(read_cr0() | 0x80000000);
	setup();
	task.eip = (u32)task_error_call;
	hook = page_fault_hook;
	task_gate(14, TASK, 0);
	in.count = 0;
	u32 v;
	*(volatile u32 *)0x800 = 0x600d600d;
	asm volatile("mov 0x30000800, %0" : "=r"(v) : : "memory");
	check(in.count == 1 && v == 0x600d600d, "pf-task-gate", "%x", v);
	check(task_error == 0 && read_cr2() == 0x30000800, "pf-task-gate-error", "%x %lx", task_error, read_cr2());
	idt[14] = old14;
	barrier();
	page_directory[0][0x30000000 >> 22] = 0;
	invlpg((void *)0x30000000);

	setup();
	hook = map_hook;
	task.cr3 = (u32)page_directory[1];
	*(volatile u32 *)0 = 0x12345678;
	TASK_CALL(TASK);
	check(in.cr3 == (u32)page_directory[1] && in.flags == 0x12345678, "task-has-its-cr3", "%x", in.flags);
	check(read_cr3() == (ulong)page_directory[0], "cr3-back", "%lx", read_cr3());
	TRY("mov 0x30000000, %%eax", : : "eax");
	check_fault(14, 0, "cr3-back-flushes");
	/* The new TSS is not there: still the old task */
	setup();
	gdt_set(BAD, 0x30000000, 0x67, 0x89, 0);
	TRY_CALL(BAD);
	check_vector(14, "tss-not-mapped");
	check(read_tr() == GDT_TSS && type_of(BAD) == 9, "tss-not-mapped-old-task", "%x %u", read_tr(), type_of(BAD));
	write_cr0(read_cr0() & ~0x80000000);
	write_cr4(read_cr4() & ~0x10ul);
	asm volatile("clts");
}

/* ---- refusals in the old task ---- */

static void user_calls(void *arg)
{
	TRY_CALL(TASK);
	check_fault(13, TASK, "user-call-dpl-0");
	TRY_JMP(TASK);
	check_fault(13, TASK, "user-jump-dpl-0");
	TRY_CALL(GATE);
	check_fault(13, GATE, "user-call-gate-dpl-0");
}
static void user_call_allowed(void *arg)
{
	TASK_CALL(TASK);
}

static void refusals(void)
{
	setup();
	TRY_JMP(GDT_TSS);
	check_fault(13, GDT_TSS, "jump-to-self");
	TRY_CALL(GDT_TSS);
	check_fault(13, GDT_TSS, "call-self");
	user_call(user_calls, NULL);
	gdt[TASK / 8] |= 3ull << 45;
	barrier();
	hook = observe;
	in.count = 0;
	user_call(user_call_allowed, NULL);
	check(in.count == 1, "user-call-dpl-3");
	setup();
	gdt[TASK / 8] &= ~(1ull << 47);
	barrier();
	TRY_CALL(TASK);
	check_fault(11, TASK, "tss-not-present");
	gdt_set(TASK, (u32)&task, 0x66, 0x89, 0);
	TRY_CALL(TASK);
	check_fault(10, TASK, "tss-limit");
	gdt_set(TASK, (u32)&task16, 0x2a, 0x81, 0);
	TRY_CALL(TASK);
	check_fault(10, TASK, "tss16-limit");
	gdt[GATE / 8] = (gdt[GATE / 8] & ~0xffff0000ull) | (u64)(TASK | 4) << 16;
	barrier();
	TRY_CALL(GATE);
	check_fault(13, TASK | 4, "gate-to-ldt-tss");
	gdt[GATE / 8] &= ~(1ull << 47);
	barrier();
	TRY_CALL(GATE);
	check_fault(11, GATE, "gate-not-present");
	check(read_tr() == GDT_TSS && type_of(GDT_TSS) == 11, "refused-old-task");

	/* IRET with NT */
	setup();
	tss.link = TASK;
	barrier();
	TRY("pushf; orl $0x4000, (%%esp); popf; iret", : : "memory", "cc");
	check_fault(10, TASK, "iret-to-available-task");
	write_flags(2);
	tss.link = 0;
	barrier();
	TRY("pushf; orl $0x4000, (%%esp); popf; iret", : : "memory", "cc");
	check_fault(10, 0, "iret-to-null-task");
	write_flags(2);
	tss.link = DATA;
	barrier();
	TRY("pushf; orl $0x4000, (%%esp); popf; iret", : : "memory", "cc");
	check_fault(10, DATA, "iret-to-no-task");
	write_flags(2);
	tss.link = GDT_TSS | 4;
	barrier();
	TRY("pushf; orl $0x4000, (%%esp); popf; iret", : : "memory", "cc");
	check_fault(10, GDT_TSS | 4, "iret-to-ldt-task");
	write_flags(2);
	tss.link = 0;
	barrier();
}

/* ---- a new task that is bad: its exceptions are its own, and come to HANDLER ---- */

static void bad(unsigned vector, u32 error, const char *name)
{
	struct idt_entry old = idt[vector];
	unsigned selector = TASK;

	task_gate(vector, HANDLER, 0);
	hook = observe;
	in.count = 0;
	task_error = 0xdead;
	asm volatile("ljmp %0, $0" : : "i"(TASK) : "memory", "cc");
	idt[vector] = old;
	barrier();
	check(in.count == 1 && in.link == selector && task_error == error, name, "%u times, link %x, error %x for %x",
	      in.count, in.link, task_error, error);
	check(task.eip == (u32)task_call || in.count != 1, name, "eip %x", task.eip);
	setup();
}

static void observe_cs(void)
{
	u16 cs;

	asm volatile("mov %%cs, %0" : "=r"(cs));
	in.tr = cs;
}

static void bad_tasks(void)
{
	setup();
	gdt_set(BAD, 0, 0xfffff, 0x13, 0xc); /* data, not present */
	task.cs = 0;
	bad(10, 0, "task-cs-null");
	task.cs = DATA;
	bad(10, DATA, "task-cs-data");
	task.cs = 0x1000;
	bad(10, 0x1000, "task-cs-beyond");
	task.cs = USER32 & ~3u;
	bad(10, USER32 & ~3u, "task-cs-dpl");
	gdt_set(BAD, 0, 0xfffff, 0x1b, 0xc);
	task.cs = BAD;
	bad(11, BAD, "task-cs-not-present");
	task.ss = 0;
	bad(10, 0, "task-ss-null");
	task.ss = CODE32;
	bad(10, CODE32, "task-ss-code");
	task.ss = USERDATA;
	bad(10, USERDATA & ~3u, "task-ss-rpl");
	task.ss = USERDATA & ~3u;
	bad(10, USERDATA & ~3u, "task-ss-dpl");
	gdt_set(BAD, 0, 0xfffff, 0x13, 0xc);
	task.ss = BAD;
	bad(12, BAD, "task-ss-not-present");
	task.ds = BAD;
	bad(11, BAD, "task-ds-not-present");
	task.es = 0x1000;
	bad(10, 0x1000, "task-es-beyond");
	task.fs = GDT_TSS;
	bad(10, GDT_TSS, "task-fs-system");
	gdt_set(BAD, 0, 0xfffff, 0x99, 0xc); /* execute-only */
	task.gs = BAD;
	bad(10, BAD, "task-gs-execute-only");
	task.ldt = 0x1000;
	bad(10, 0x1000, "task-ldt-beyond");
	task.ldt = DATA;
	bad(10, DATA, "task-ldt-data");
	gdt_set(LDT, (u32)ldt, sizeof(ldt) - 1, 0x02, 0);
	task.ldt = LDT;
	bad(10, LDT, "task-ldt-not-present");
	task.ldt = LDT | 4;
	bad(10, LDT | 4, "task-ldt-in-ldt");
	gdt_set(BAD, 0, 0xffff, 0x9b, 4);
	task.cs = BAD;
	bad(13, 0, "task-eip-beyond-cs");

	/* Null data segments are fine, LDT and all */
	setup();
	hook = observe;
	ldt[1] = gdt[DATA / 8];
	gdt_set(LDT, (u32)ldt, sizeof(ldt) - 1, 0x82, 0);
	task.ldt = LDT;
	task.ds = task.es = 8 | 4;
	task.fs = task.gs = 0;
	TASK_CALL(TASK);
	check(in.ldt == LDT && read_ldt() == 0, "task-has-its-ldt", "%x %x", in.ldt, read_ldt());

	/* Conforming code runs at the RPL of its selector */
	gdt_set(CONFORM, 0, 0xfffff, 0x9f, 0xc);
	setup();
	hook = observe;
	task.cs = CONFORM;
	in.count = 0;
	TASK_CALL(TASK);
	check(in.count == 1, "task-conforming");
	setup();
	hook = observe_cs;
	task.cs = CONFORM | 3;
	task.ss = task.ds = task.es = task.fs = task.gs = USERDATA;
	TASK_CALL(TASK);
	check(in.tr == (CONFORM | 3), "task-conforming-at-3", "%x", in.tr);
	gdt_set(CONFORM, 0, 0xfffff, 0xff, 0xc);
	task.cs = CONFORM;
	task.eip = (u32)task_call;
	bad(10, CONFORM, "task-conforming-dpl");
	asm volatile("clts");
}

/* ---- trap bit, 16 bits, virtual-8086 ---- */

static volatile u32 trap_dr6, trap_eip, trap_tr, trap_count;
static void on_debug(struct frame *f)
{
	trap_dr6 = read_dr6();
	trap_eip = f->rip;
	trap_tr = read_tr();
	trap_count++;
	write_dr6(0xffff0ff0);
	f->rflags &= ~0x100u;
}

static volatile u32 v86_eflags, v86_cs, v86_ip, v86_sp, v86_ds, v86_ebx, v86_tr;
static void from_v86(struct frame *f)
{
	v86_eflags = f->rflags;
	v86_cs = f->cs;
	v86_ip = f->rip;
	v86_sp = f->rsp;
	v86_ds = (&f->ss)[2];
	v86_ebx = f->ebx;
	v86_tr = read_tr();
	asm volatile("ljmp %0, $0" : : "i"(GDT_TSS) : "memory");
}

static void others(void)
{
	setup();
	handle(1, on_debug);
	task.trap = 1;
	TASK_CALL(TASK);
	check(trap_count == 1 && (trap_dr6 & 0xe00f) == 0x8000, "trap-bit", "%u dr6 %x", trap_count, trap_dr6);
	check(trap_eip == (u32)task_call && trap_tr == TASK, "trap-bit-in-new-task", "%x %x", trap_eip, trap_tr);
	/* TF in the new task */
	setup();
	task.eflags = 0x102;
	trap_count = 0;
	TASK_CALL(TASK);
	check(trap_count >= 1 && (trap_dr6 & 0xe00f) == 0x4000 && trap_tr == TASK, "task-with-tf", "%u %x", trap_count,
	      trap_dr6);
	handle(1, NULL);

	/* 16 bits; its code runs from a segment based at it, as ip has 16 bits */
	setup();
	memset(&task16, 0, sizeof(task16));
	gdt_set(CODE_LOW, (u32)task16_call & ~0xfu, 0xffff, 0x9b, 0);
	gdt_set(OTHER, (u32)stacks[0], 0xfff, 0x93, 0);
	gdt_set(BAD, (u32)task16_seen, 0xffff, 0x93, 0);
	task16.ip = (u32)task16_call & 0xf;
	task16.cs = CODE_LOW;
	task16.flags = 2;
	task16.ss = OTHER;
	task16.sp = 0x800;
	task16.ds = task16.es = BAD;
	task16.ax = 0x7777;
	gdt_set(TASK16, (u32)&task16, sizeof(task16) - 1, 0x81, 0);
	asm volatile("mov %w0, %%fs; mov %w0, %%gs" : : "r"(DATA));
	u32 esi = 0x12345678;
	asm volatile("lcall %1, $0; mov %%fs, %%ax; mov %%gs, %%dx"
	             : "+S"(esi)
	             : "i"(TASK16)
	             : "eax", "edx", "memory", "cc");
	check(task16_seen[0] == 0x7777 && task16_seen[1] == 0x800 && task16.ax == 0x4321 && task16.link == GDT_TSS &&
	              type_of(TASK16) == 1,
	      "task16", "%x %x %x %x %u", task16_seen[0], task16_seen[1], task16.ax, task16.link, type_of(TASK16));
	check(esi == 0x12345678 && !(task16.flags & 0x4000), "task16-back", "%x", esi);
	asm volatile("mov %w0, %%fs; mov %w0, %%gs; clts" : : "r"(DATA));

	/* Virtual-8086 mode */
	setup();
	memcpy((void *)0x8000, v86_code, (size_t)(v86_code_end - v86_code));
	struct idt_entry old = idt[0x50];
	idt_gate(0x50, (void *)vector_entries[0x50], 0xee, CODE32, 0);
	handle(0x50, from_v86);
	task.eflags = 0x23002;
	task.cs = 0x800;
	task.eip = 0;
	task.ss = 0x700;
	task.esp = 0xff0;
	task.ds = 0x1234;
	task.es = task.fs = task.gs = 0;
	asm volatile("ljmp %0, $0" : : "i"(TASK) : "memory", "cc");
	check(v86_tr == TASK && (v86_eflags & 0x23000) == 0x23000, "task-v86", "%x %x", v86_tr, v86_eflags);
	check(v86_cs == 0x800 && v86_ip == (u32)(v86_code_end - v86_code) && v86_sp == 0xff0 &&
	              (v86_ds & 0xffff) == 0x1234 && (v86_ebx & 0xff) == 0x55,
	      "task-v86-state", "%x:%x sp %x ds %x", v86_cs, v86_ip, v86_sp, v86_ds);
	handle(0x50, NULL);
	idt[0x50] = old;
	/* By IRET into a virtual-8086 task, and back by its exception through a task gate to the main task */
	struct idt_entry old6 = idt[6];
	setup();
	*(u16 *)0x42000 = 0x0b0f; /* ud2 */
	task.eflags = 0x20002;
	task.cs = 0x4200;
	task.eip = 0;
	task.ds = 0x1234, task.es = 0x2345, task.ss = 0;
	gdt_set(TASK, (u32)&task, sizeof(task) - 1, 0x8b, 0);
	tss.link = TASK;
	barrier();
	task_gate(6, GDT_TSS, 0);
	asm volatile("pushf; orw $0x4000, (%%esp); popf; iret" : : : "memory", "cc");
	idt[6] = old6;
	check(read_tr() == GDT_TSS && (read_flags() & 0x4000) && tss.link == TASK, "v86-task-and-back", "%x %x %x",
	      read_tr(), tss.link, read_flags());
	check(task.cs == 0x4200 && (task.eflags & 0x30000) == 0x30000 && task.eip == 0, "v86-task-saved", "%x %x %x",
	      task.cs, task.eflags, task.eip);
	write_flags(2);
	tss.link = 0;
	barrier();
	asm volatile("clts");
}

void test(void)
{
	calls();
	jumps();
	events();
	paging();
	refusals();
	bad_tasks();
	others();
}
