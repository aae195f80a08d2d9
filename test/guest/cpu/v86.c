/* Virtual-8086 mode: what runs in it, what IOPL and the I/O bitmap forbid, the way in and out. SDM vol. 3 ch. 21.
 * guest: bits=32 */
#include "lib/guest.h"

#define CODE_AT 0x8000
#define END     0x50

/* What IRET finds, and what an exception leaves behind. */
static struct v86 {
	u32 eax, ecx, edx, ebx, ebp, esi, edi;
	u32 eip, cs, eflags, esp, ss, es, ds, fs, gs;
} r;
static struct {
	int vector;
	u32 error, rip, cs, rflags;
	u32 ring0_ds, ring0_es, ring0_fs, ring0_gs;
} t;
u32 v86_saved_esp;
extern char v86_back[];
void v86_go(struct v86 *);

asm(".pushsection .text\n"
    "v86_go: mov 4(%esp), %eax\n"
    "	pusha; pushf; cli\n"
    "	mov %esp, v86_saved_esp\n"
    "	pushl 60(%eax); pushl 56(%eax); pushl 52(%eax); pushl 48(%eax); pushl 44(%eax); pushl 40(%eax); pushl "
    "36(%eax)\n"
    "	pushl 32(%eax); pushl 28(%eax)\n"
    "	mov 4(%eax), %ecx; mov 8(%eax), %edx; mov 12(%eax), %ebx; mov 16(%eax), %ebp; mov 20(%eax), %esi; mov "
    "24(%eax), %edi\n"
    "	mov (%eax), %eax\n"
    "	iret\n"
    "v86_back: mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %fs; mov %eax, %gs; mov %eax, %ss\n"
    "	mov v86_saved_esp, %esp\n"
    "	popf; popa; ret\n"
    ".popsection");

static void trap(struct frame *f)
{
	u32 *more = &f->ss + 1;

	t.vector = (int)f->vector;
	t.error = f->error;
	t.rip = f->rip;
	t.cs = f->cs;
	t.rflags = f->rflags;
	t.ring0_ds = (u16)f->ds, t.ring0_es = (u16)f->es, t.ring0_fs = (u16)f->fs, t.ring0_gs = (u16)f->gs;
	if (f->rflags & 0x20000) {
		r = (struct v86){f->eax, f->ecx,    f->edx, f->ebx, f->ebp,  f->esi,  f->edi,  f->rip,
		                 f->cs,  f->rflags, f->rsp, f->ss,  more[0], more[1], more[2], more[3]};
	}
	f->rip = (u32)v86_back;
	f->cs = CODE32;
	f->rflags = 2;
}

static void reset(unsigned iopl)
{
	memset(&r, 0, sizeof(r));
	r.eip = CODE_AT;
	r.esp = 0x5ff0;
	r.eflags = 0x20002 | iopl << 12;
}

static void run_at(const char *start, const char *end)
{
	u8 *code = (u8 *)CODE_AT;
	size_t n = (size_t)(end - start);

	memcpy(code, start, n);
	code[n] = 0xcd; /* int $END */
	code[n + 1] = END;
	t.vector = -1;
	v86_go(&r);
}

#define RUN(code)                                                                                             \
	do {                                                                                                  \
		const char *start_, *end_;                                                                    \
		asm volatile(".pushsection .rodata\n.code16\n.Lv86%=: " code                                  \
		             "\n.Lv86end%=:\n.code32\n.popsection\n\tmov $.Lv86%=, %0\n\tmov $.Lv86end%=, %1" \
		             : "=r"(start_), "=r"(end_));                                                     \
		run_at(start_, end_);                                                                         \
	} while (0)
/* Code at IOPL that comes to its end. It needs IOPL 3, or a gate that END reaches by #GP. */
#define RUNS(name, iopl, code)                                                                         \
	do {                                                                                           \
		reset(iopl);                                                                           \
		RUN(code);                                                                             \
		check((iopl) == 3 ? t.vector == END                                                    \
		                  : t.vector == 13 && *(u8 *)r.eip == 0xcd && ((u8 *)r.eip)[1] == END, \
		      name, "vector %d error %x at %x", t.vector, t.error, t.rip);                     \
	} while (0)
#define FAULTS(name, iopl, v, e, code)                                                                             \
	do {                                                                                                       \
		reset(iopl);                                                                                       \
		RUN("nop; " code);                                                                                 \
		check(t.vector == (v) && t.error == (e) && t.rip == CODE_AT + 1, name, "vector %d error %x at %x", \
		      t.vector, t.error, t.rip);                                                                   \
	} while (0)

static void entry(void)
{
	reset(3);
	r.eax = 0x11111111, r.es = 0x1001, r.ds = 0x2002, r.fs = 0x3003, r.gs = 0x4004, r.ss = 0x100, r.esp = 0x8ff0;
	RUN("mov %%cs, %%bx; mov %%ss, %%cx; mov %%ds, %%dx; mov %%es, %%si; mov %%gs, %%di; inc %%eax; push %%ax");
	check(t.vector == END && t.error == 0, "v86-runs", "vector %d error %x at %x:%x", t.vector, t.error, t.cs,
	      t.rip);
	check(r.ebx == 0 && r.ecx == 0x100 && r.edx == 0x2002 && r.esi == 0x1001 && r.edi == 0x4004 &&
	              r.eax == 0x11111112,
	      "v86-registers");
	check((u16)r.es == 0x1001 && (u16)r.ds == 0x2002 && (u16)r.fs == 0x3003 && (u16)r.gs == 0x4004 &&
	              (u16)r.ss == 0x100 && r.esp == 0x8fee,
	      "v86-frame", "%x %x %x %x %x %x", r.es, r.ds, r.fs, r.gs, r.ss, r.esp);
	check(t.ring0_ds == 0 && t.ring0_es == 0 && t.ring0_fs == 0 && t.ring0_gs == 0, "v86-exit-nulls-segments");
	check((t.rflags & 0x23000) == 0x23000, "v86-frame-flags", "%x", t.rflags);
	reset(3);
	r.cs = 0x700, r.eip = 0x1000;
	RUN("mov %%cs, %%ax");
	check(t.vector == END && r.eax == 0x700 && r.eip == 0x1000 + 4, "v86-cs-base", "%x", r.eip);
	reset(3);
	r.eip = 0x18000;
	RUN("nop");
	check(t.vector == 13 && t.error == 0, "v86-eip-beyond-limit", "vector %d error %x at %x", t.vector, t.error,
	      t.rip);
}

static void memory(void)
{
	*(u32 *)0x1000 = 0x11223344;
	reset(3);
	RUN("mov $0xff, %%ax; mov %%ax, %%ds; mov 0x10, %%ecx; mov $0x80, %%ax; push %%ax; pop %%es; mov %%es:0x800, "
	    "%%edx;"
	    "mov $0xffff, %%ax; mov %%ax, %%fs; movl $0x5a5a5a5a, %%fs:0x110");
	check(t.vector == END && r.ecx == 0x11223344 && r.edx == 0x11223344 && *(u32 *)0x100100 == 0x5a5a5a5a,
	      "v86-memory", "%x %x", r.ecx, r.edx);
	FAULTS("v86-limit-data", 3, 13, 0, "mov %%ds:0xffff, %%ax");
	FAULTS("v86-limit-stack", 3, 12, 0, "mov %%ss:0xffff, %%ax");
	FAULTS("v86-limit-a32", 3, 13, 0, "addr32 mov %%ds:0x10000, %%al");
	reset(3);
	r.esp = 1;
	RUN("nop; push %%ax");
	check(t.vector == 12 && t.error == 0, "v86-push-at-1", "vector %d", t.vector);
	reset(3);
	RUN("xor %%eax, %%eax; mov %%ax, %%ds; mov %%ax, %%es; mov %%ds:0x1000, %%ebx");
	check(r.ebx == 0x11223344, "v86-null-selectors");
	reset(3);
	*(u32 *)0x1010 = 0x01230456;
	RUN("lds 0x1010, %%si; mov %%ds, %%ax; push %%cs; pop %%ds; les 0x1010, %%di; mov %%es, %%bx");
	check(r.esi == 0x456 && r.eax == 0x123 && r.edi == 0x456 && r.ebx == 0x123, "v86-lds-les");
	memcpy((void *)0x9000, "\x8c\xc8\xcb", 3);     /* mov %cs, %ax; lret */
	memcpy((void *)0x9010, "\x8c\xc8\x66\xcb", 4); /* lretl */
	reset(3);
	RUN("lcall $0x8f0, $0x100; mov %%ax, %%bx; lcalll $0x900, $0x10");
	check(t.vector == END && r.ebx == 0x8f0 && r.eax == 0x900 && r.esp == 0x5ff0, "v86-far-calls", "%x %x %x",
	      r.ebx, r.eax, r.esp);
	reset(3);
	RUN("ljmp $1, $(1f - .Lv86%= + 0x7ff0); 1: mov %%cs, %%ax");
	check(t.vector == END && r.eax == 1 && r.cs == 1, "v86-far-jump", "%d %x", t.vector, r.eax);
	FAULTS("v86-jump-beyond-limit", 3, 13, 0, "ljmpl $0, $0x10000");
}

static void sensitive(void)
{
	RUNS("v86-iopl3-cli-sti", 3, "cli; sti; cli");
	reset(3);
	RUN("pushf; pop %%ax; pushfl; pop %%ecx; mov $0, %%edx; push %%edx; popfl; pushfl; pop %%edx; pushw $0x4eed; "
	    "popf; pushf; pop %%bx;"
	    "pushw $2; popf");
	check((r.eax & 0xffff) == 0x3002 && r.ecx == 0x3002 && r.edx == 0x3002, "v86-iopl3-pushf", "%x %x %x", r.eax,
	      r.ecx, r.edx);
	check((r.ebx & 0xffff) == 0x7ec7, "v86-popf-keeps-iopl", "%x", r.ebx);
	reset(3);
	RUN("sti; pushf; push %%cs; pushw $(1f - .Lv86%= + 0x8000); iret; ud2; 1: pushl $0; push $0; push %%cs;"
	    "pushl $(2f - .Lv86%= + 0x8000); iretl; ud2; 2: nop");
	check(t.vector == END && (r.eflags & 0x23000) == 0x23000 && !(r.eflags & 0x200), "v86-iopl3-iret", "%d %x",
	      t.vector, r.eflags);

	FAULTS("v86-iopl0-cli", 0, 13, 0, "cli");
	FAULTS("v86-iopl0-sti", 0, 13, 0, "sti");
	FAULTS("v86-iopl2-pushf", 2, 13, 0, "pushf");
	FAULTS("v86-iopl0-popf", 0, 13, 0, "popf");
	FAULTS("v86-iopl0-pushfd", 0, 13, 0, "pushfl");
	FAULTS("v86-iopl0-popfd", 0, 13, 0, "popfl");
	FAULTS("v86-iopl0-int", 0, 13, 0, "int $0x50");
	FAULTS("v86-iopl0-int-3", 0, 13, 0, ".byte 0xcd, 3");
	FAULTS("v86-iopl0-iret", 0, 13, 0, "iret");
	FAULTS("v86-iopl0-iretd", 0, 13, 0, "iretl");
	reset(0);
	RUN("int3; nop");
	check(t.vector == 3 && t.rip == CODE_AT + 1, "v86-iopl0-int3", "vector %d at %x", t.vector, t.rip);
	reset(0);
	RUN("mov $0x7f, %%al; inc %%al; into; nop");
	check(t.vector == 4, "v86-iopl0-into", "vector %d", t.vector);
	FAULTS("v86-int-gate-dpl-0", 3, 13, 0x51 * 8 + 2, "int $0x51");
	FAULTS("v86-int-beyond-dpl", 3, 13, 13 * 8 + 2, "int $13");

	RUNS("v86-unprivileged", 0,
	     "cpuid; rdtsc; smsw %%ax; sgdtw 0x1000; sidtw 0x1000; lahf; sahf; cld; std; cld; stc");
	FAULTS("v86-hlt", 3, 13, 0, "hlt");
	FAULTS("v86-mov-cr0", 3, 13, 0, "mov %%cr0, %%eax");
	FAULTS("v86-mov-to-cr0", 3, 13, 0, "mov %%eax, %%cr0");
	FAULTS("v86-mov-dr7", 3, 13, 0, "mov %%dr7, %%eax");
	FAULTS("v86-lgdt", 3, 13, 0, "lgdtw 0x1000");
	FAULTS("v86-lidt", 3, 13, 0, "lidtw 0x1000");
	FAULTS("v86-lmsw", 3, 13, 0, "lmsw %%ax");
	FAULTS("v86-clts", 3, 13, 0, "clts");
	FAULTS("v86-invd", 3, 13, 0, "invd");
	FAULTS("v86-wbinvd", 3, 13, 0, "wbinvd");
	FAULTS("v86-invlpg", 3, 13, 0, "invlpg 0x1000");
	FAULTS("v86-rdmsr", 3, 13, 0, "rdmsr");
	FAULTS("v86-wrmsr", 3, 13, 0, "wrmsr");
	FAULTS("v86-sldt", 3, 6, 0, "sldt %%ax");
	FAULTS("v86-str", 3, 6, 0, "str %%ax");
	FAULTS("v86-lldt", 3, 6, 0, "lldt %%ax");
	FAULTS("v86-ltr", 3, 6, 0, "ltr %%ax");
	FAULTS("v86-lar", 3, 6, 0, "lar %%ax, %%bx");
	FAULTS("v86-lsl", 3, 6, 0, "lsl %%ax, %%bx");
	FAULTS("v86-verr", 3, 6, 0, "verr %%ax");
	FAULTS("v86-verw", 3, 6, 0, "verw %%ax");
	FAULTS("v86-arpl", 3, 6, 0, "arpl %%ax, %%bx");
	FAULTS("v86-ud2", 0, 6, 0, "ud2");
	FAULTS("v86-divide", 0, 0, 0, "div %%cx");
	FAULTS("v86-bound", 0, 5, 0, "bound %%sp, 0x1100");
}

static void ports(void)
{
	RUNS("v86-port-allowed", 0, "mov $0x3fd, %%dx; in %%dx, %%al");
	FAULTS("v86-port-refused", 3, 13, 0, "in $0x80, %%al");
	FAULTS("v86-port-partly", 3, 13, 0, "in %%dx, %%eax");
	reset(3);
	r.edx = 0x3fe;
	RUN("nop; in %%dx, %%ax; in %%dx, %%eax");
	check(t.vector == 13 && t.rip == CODE_AT + 2, "v86-port-four-of-which-two", "vector %d at %x", t.vector, t.rip);
	u16 old = tss.iomap;
	tss.iomap = 0xffff;
	FAULTS("v86-no-bitmap", 3, 13, 0, "in %%dx, %%al");
	tss.iomap = old;
}

static void gates(void)
{
	struct idt_entry old = idt[END];

	/* The handler's segment must be of DPL 0 */
	idt_gate(END, (void *)vector_entries[END], 0xee, USER32, 0);
	FAULTS("v86-handler-dpl-3", 3, 13, USER32 & ~3u, "int $0x50");
	gdt_set(GDT_FREE, 0, 0xfffff, 0x9f, 0xc);
	idt_gate(END, (void *)vector_entries[END], 0xee, GDT_FREE, 0);
	FAULTS("v86-handler-conforming", 3, 13, GDT_FREE, "int $0x50");
	idt[END] = old;
	/* Single step */
	reset(3);
	RUN("pushf; mov %%sp, %%bp; orw $0x100, (%%bp); popf; nop; nop; nop");
	check(t.vector == 1 && (read_dr6() & 0x4000), "v86-single-step", "vector %d at %x", t.vector, t.rip);
	write_dr6(0xffff0ff0);
	/* TF is lost on the way in */
	check(!(read_flags() & 0x20100), "v86-exit-clears-vm-tf");
}

static void vme(void)
{
	u32 v[4];

	cpuid(1, 0, v);
	if (!(v[3] & 2)) {
		TRY("mov %0, %%cr4", : "r"(read_cr4() | 1) : "memory");
		check_fault(13, 0, "cr4-vme-reserved");
		skip("vme", "not in CPUID");
		return;
	}
	write_cr4(read_cr4() | 1);
	/* VIF stands for IF; VIP makes STI fault */
	reset(0);
	RUN("sti; pushf; pop %%ax; cli; pushf; pop %%bx; pushw $0x202; popf; pushf; pop %%cx; nop; pushfl");
	check(t.vector == 13 && r.eax == 0x3202 && r.ebx == 0x3002 && r.ecx == 0x3202, "vme-vif", "vector %d %x %x %x",
	      t.vector, r.eax, r.ebx, r.ecx);
	check((r.eflags & 0x80200) == 0x80000, "vme-vif-in-frame", "%x", r.eflags);
	reset(0);
	r.eflags |= 0x100000;
	RUN("nop; sti");
	check(t.vector == 13 && t.error == 0 && t.rip == CODE_AT + 1, "vme-sti-with-vip", "vector %d", t.vector);
	reset(0);
	r.eflags |= 0x100000;
	RUN("nop; pushw $0x202; popf");
	check(t.vector == 13 && t.error == 0, "vme-popf-with-vip", "vector %d", t.vector);
	reset(0);
	RUN("nop; pushw $0x102; popf");
	check(t.vector == 13, "vme-popf-tf", "vector %d", t.vector);
	write_cr4(read_cr4() & ~1ul);
}

void test(void)
{
	for (unsigned v = 0; v < 20; v++)
		handle(v, trap);
	handle(END, trap);
	idt_gate(END, (void *)vector_entries[END], 0xee, CODE32, 0);
	memset((void *)0x1100, 0, 16);
	((u32 *)0x1100)[0] = 0x70006000; /* bounds 0x6000, 0x7000 */
	entry();
	memory();
	sensitive();
	ports();
	gates();
	for (unsigned v = 0; v < 20; v++)
		handle(v, NULL);
	vme();
}
