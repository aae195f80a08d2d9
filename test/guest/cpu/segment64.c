/* Segments in long mode: null selectors, bases of FS and GS, far transfers and call gates, IRET, compatibility mode.
 * SDM vol. 3 ch. 3.4.4, 5.8, 6.14. guest: bits=64 */
#include "lib/guest.h"

#define barrier() asm volatile("" : : : "memory")
#define SEG       0x50
#define SEG2      0x58
#define LDT       0x60 /* 16 bytes each */
#define GATE      0x70
#define TSS2      0x80
#define CONF      0x90

#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101

static u64 ldt[4];
static u8 area[4096] __attribute__((aligned(4096)));

static void load_es(u16 s)
{
	TRY("mov %0, %%es", : "r"((u32)s) : "memory");
}
static void load_ss(u16 s)
{
	TRY("mov %0, %%ss", : "r"((u32)s) : "memory");
}
static void load_fs(u16 s)
{
	TRY("mov %0, %%fs", : "r"((u32)s) : "memory");
}
static void set16(unsigned at, u64 low, u64 high)
{
	gdt[at / 8] = low;
	gdt[at / 8 + 1] = high;
	barrier();
}
static u64 gate(u16 selector, u64 offset, u8 type_dpl)
{
	return (offset & 0xffff) | (u64)selector << 16 | (u64)type_dpl << 40 | (offset >> 16 & 0xffff) << 48;
}

static void loads(void)
{
	u64 v;
	u16 s;

	load_es(0);
	check_fault(-1, 0, "null-es");
	TRY("mov %%es:(%0), %%al", : "r"(area) : "rax");
	check_fault(-1, 0, "null-es-access");
	load_ss(0);
	check_fault(-1, 0, "null-ss");
	asm volatile("mov %%ss, %0; push %%rax; pop %%rax" : "=r"(s) : : "rax", "memory");
	check(s == 0, "null-ss-works", "%x", s);
	TRY("ud2");
	check_fault(6, 0, "null-ss-exception");
	asm volatile("mov %%ss, %0" : "=r"(s));
	check(s == 0, "iret-to-null-ss", "%x", s);
	load_ss(3);
	check_fault(13, 0, "null-ss-rpl-3");
	load_ss(1);
	check_fault(13, 0, "null-ss-rpl-1");
	load_ss(DATA);
	load_ss(CODE64);
	check_fault(13, CODE64, "ss-code");
	load_ss(USERDATA);
	check_fault(13, USERDATA & ~3, "ss-user");
	gdt_set(SEG, 0, 0xfffff, 0x12, 0xc);
	load_ss(SEG);
	check_fault(12, SEG, "ss-not-present");
	load_es(SEG);
	check_fault(11, SEG, "es-not-present");
	load_es(GDT_TSS);
	check_fault(13, GDT_TSS, "es-system");
	/* Limits and types do not matter, but for the bases of FS and GS */
	gdt_set(SEG, 0x1000, 0, 0x90, 0);
	load_es(SEG);
	area[5] = 0x55;
	TRY("movb $0x66, %%es:5(%0)", : "r"(area) : "memory");
	check(fault.vector == -1 && area[5] == 0x66, "es-has-no-limit");
	gdt_set(SEG, (u32)(ulong)area, 0, 0x90, 0);
	load_fs(SEG);
	TRY("movb $0x77, %%fs:6", : : "memory");
	check(fault.vector == -1 && area[6] == 0x77, "fs-base-by-descriptor", "%d %x", fault.vector, area[6]);
	check(rdmsr(MSR_FS_BASE) == (ulong)area, "fs-base-msr", "%lx", rdmsr(MSR_FS_BASE));
	wrmsr(MSR_FS_BASE, (ulong)area + 0x10);
	asm volatile("movb %%fs:-10, %b0; mov %%fs, %w1" : "=q"(v), "=r"(s));
	check((v & 0xff) == 0x77 && s == SEG, "fs-base-written", "%lx %x", v, s);
	load_fs(0);
	check(rdmsr(MSR_FS_BASE) == 0, "null-fs-clears-base", "%lx", rdmsr(MSR_FS_BASE));
	wrmsr(MSR_GS_BASE, 0x123456789000);
	wrmsr(0xc0000102, 0xffff800000000000);
	asm volatile("swapgs");
	check(rdmsr(MSR_GS_BASE) == 0xffff800000000000 && rdmsr(0xc0000102) == 0x123456789000, "swapgs");
	TRY_WRMSR(MSR_GS_BASE, 0x800000000000);
	check_fault(13, 0, "gs-base-non-canonical");
	TRY("mov %%gs:(%0), %%al", : "r"(0x0100000000000000) : "rax");
	check_fault(13, 0, "gs-address-non-canonical");
	asm volatile("mov %w0, %%gs" : : "r"(0));
	write_cr4(read_cr4() | 0x10000);
	TRY("wrfsbase %0; rdfsbase %1", : "r"(0x1234567890ul), "r"(0ul));
	check_fault(-1, 0, "wrfsbase");
	check(rdmsr(MSR_FS_BASE) == 0x1234567890, "wrfsbase-msr");
	v = -1ul;
	asm volatile("rdfsbase %k0" : "+r"(v));
	check(v == 0x34567890, "rdfsbase-32", "%lx", v);
	asm volatile("wrgsbase %k0" : : "r"(0xffffffff00001000));
	check(rdmsr(MSR_GS_BASE) == 0x1000, "wrgsbase-32", "%lx", rdmsr(MSR_GS_BASE));
	TRY("wrgsbase %0", : "r"(0x8000000000000000));
	check_fault(13, 0, "wrgsbase-non-canonical");
	write_cr4(read_cr4() & ~0x10000ul);
	TRY("rdgsbase %%rax", : : "rax");
	check_fault(6, 0, "rdgsbase-disabled");
	load_es(DATA);
	asm volatile("mov %w0, %%fs; mov %w0, %%gs" : : "r"(0));
	/* A stack address that is not canonical is #SS(0), but a prefix does not make one. */
	TRY("mov %%ss:(%0), %%al", : "r"(0x0100000000000000) : "rax");
	check_fault(13, 0, "ss-override-non-canonical");
	static u64 saved;
	TRY("mov %%rbp, %0; mov %1, %%rbp; mov (%%rbp), %%al", "=m"(saved) : "r"(0x0100000000000000) : "rax");
	asm volatile("mov %0, %%rbp" : : "m"(saved));
	check_fault(12, 0, "rbp-non-canonical");
	/* push and pop widths */
	ulong a, b;
	asm volatile("mov %%rsp, %0; push %%fs; mov %%rsp, %1; pop %%fs" : "=&r"(a), "=&r"(b) : : "memory");
	check(a - b == 8, "push-fs-8");
	asm volatile("mov %%rsp, %0; pushw %%gs; mov %%rsp, %1; popw %%gs" : "=&r"(a), "=&r"(b) : : "memory");
	check(a - b == 2, "pushw-gs-2");
}

static void system_segments(void)
{
	u16 s;
	u32 v;
	u8 z;

	set16(LDT, 0, 0);
	gdt_set(LDT, (u32)(ulong)ldt, sizeof(ldt) - 1, 0x82, 0);
	ldt[1] = gdt[DATA / 8];
	TRY("lldt %w0", : "r"(LDT));
	check_fault(-1, 0, "lldt");
	load_es(0x0c);
	check_fault(-1, 0, "ldt-load");
	load_es(DATA);
	gdt[LDT / 8 + 1] = 0xffff8000;
	barrier();
	TRY("lldt %w0", : "r"(LDT));
	check_fault(-1, 0, "lldt-high-base");
	gdt[LDT / 8 + 1] = 0x8000;
	barrier();
	TRY("lldt %w0", : "r"(LDT));
	check_fault(13, LDT, "lldt-non-canonical");
	TRY("lldt %w0", : "r"(0x1f8));
	check_fault(13, 0x1f8, "lldt-half-beyond");
	TRY("lldt %w0", : "r"(0));
	asm volatile("sldt %0" : "=r"(s));
	check(s == 0, "sldt-null");
	u64 wide = -1ul;
	asm volatile("str %0" : "+r"(wide));
	check(wide == GDT_TSS, "str-64", "%lx", wide);
	wide = -1ul;
	asm volatile("sldt %k0" : "+r"(wide));
	check(wide == 0, "sldt-32", "%lx", wide);
	wide = -1ul;
	asm volatile("str %w0" : "+r"(wide));
	check(wide == (0xffffffffffff0000 | GDT_TSS), "str-16", "%lx", wide);
	wide = -1ul;
	asm volatile("mov %%ds, %k0" : "+r"(wide));
	check(wide == DATA, "mov-ds-32", "%lx", wide);
	wide = -1ul;
	asm volatile("mov %%ds, %w0" : "+r"(wide));
	check(wide == (0xffffffffffff0000 | DATA), "mov-ds-16", "%lx", wide);
	set16(TSS2, 0, 0);
	gdt_set(TSS2, (u32)(ulong)&tss, 0x67, 0x81, 0);
	TRY("ltr %w0", : "r"(TSS2));
	check_fault(13, TSS2, "ltr-16-bit");
	gdt_set(TSS2, (u32)(ulong)&tss, 0x67, 0x8b, 0);
	TRY("ltr %w0", : "r"(TSS2));
	check_fault(13, TSS2, "ltr-busy");
	gdt_set(TSS2, (u32)(ulong)&tss, 0x67, 0x09, 0);
	TRY("ltr %w0", : "r"(TSS2));
	check_fault(11, TSS2, "ltr-not-present");
	gdt_set(TSS2, (u32)(ulong)&tss, 0x67, 0x89, 0);
	TRY("ljmp *%0",
	    : "m"((struct {
		    u32 o;
		    u16 s;
	    }){0, TSS2})
	    : "memory");
	check_fault(13, TSS2, "jump-to-tss");
	gdt_set(SEG, 0, 0, 0x85, 0);
	TRY("ljmp *%0",
	    : "m"((struct {
		    u32 o;
		    u16 s;
	    }){0, SEG})
	    : "memory");
	check_fault(13, SEG, "jump-to-task-gate");
	u32 lars = 0, lsls = 0;
	for (unsigned type = 0; type < 16; type++) {
		set16(TSS2, 0, 0);
		gdt_set(TSS2, 0, 0x100, (u8)(0x80 | type), 0);
		asm volatile("lar %2, %0; setz %1" : "=r"(v), "=q"(z) : "r"((u32)TSS2) : "cc");
		lars |= (u32)z << type;
		asm volatile("lsl %2, %0; setz %1" : "=r"(v), "=q"(z) : "r"((u32)TSS2) : "cc");
		lsls |= (u32)z << type;
	}
	check(lars == 0x1a04 && lsls == 0x0a04, "lar-lsl-types", "%x %x", lars, lsls);
	wide = -1ul;
	asm volatile("lsl %k1, %k0" : "+r"(wide) : "r"(DATA) : "cc");
	check(wide == 0xffffffff, "lsl-32-clears", "%lx", wide);
}

extern char lm_target[];
volatile u64 lm_cs, lm_ss, lm_words[8], lm_rsp;
asm(".pushsection .text\n"
    "lm_target: mov %cs, %eax; mov %rax, lm_cs; mov %ss, %eax; mov %rax, lm_ss; mov %rsp, lm_rsp;"
    "	mov (%rsp), %rax; mov %rax, lm_words; mov 8(%rsp), %rax; mov %rax, lm_words + 8; mov 16(%rsp), %rax; mov %rax, "
    "lm_words + 16;"
    "	mov 24(%rsp), %rax; mov %rax, lm_words + 24; lretq\n"
    ".popsection");

/* What a faulting return leaves on the stack is dropped here. */
#define TRY_RETURN(pushes, insn)                                                        \
	do {                                                                            \
		static u64 rsp_;                                                        \
		fault.vector = -1;                                                      \
		asm volatile("mov %%rsp, %0; movq $1f, fault_resume; " pushes "; " insn \
		             "\n1: mov %0, %%rsp; movq $0, fault_resume"                \
		             : "+m"(rsp_)                                               \
		             :                                                          \
		             : "rax", "memory", "cc");                                  \
	} while (0)
#define TRY_FAR(insn, selector, offset)                                         \
	do {                                                                    \
		static struct {                                                 \
			u64 o;                                                  \
			u16 s;                                                  \
		} __attribute__((packed)) far_;                                 \
		far_.o = (u64)(offset);                                         \
		far_.s = (selector);                                            \
		TRY("rex64 " insn " *%0", : "m"(far_) : "rax", "memory", "cc"); \
	} while (0)

static void user_gate(void *arg)
{
	static const struct {
		u32 o;
		u16 s;
	} __attribute__((packed)) far = {0, GATE | 3};
	TRY("lcall *%0", : "m"(far) : "rax", "memory");
}

static void gates(void)
{
	TRY_FAR("lcall", CODE64, lm_target);
	check(fault.vector == -1 && (u16)lm_cs == CODE64, "far-call-64", "%d", fault.vector);
	TRY_FAR("lcall", CODE64, 0x8000000000000000);
	check_fault(13, 0, "far-call-non-canonical");
	TRY_FAR("lcall", 0, lm_target);
	check_fault(13, 0, "far-call-null");
	gdt_set(SEG, 0, 0xfffff, 0x9b, 0xe); /* L and D */
	TRY_FAR("lcall", SEG, lm_target);
	check_fault(13, SEG, "far-call-l-and-d");
	gdt_set(SEG, 0x1000, 0, 0x9a, 2);
	TRY_FAR("lcall", SEG, lm_target);
	check(fault.vector == -1 && (u16)lm_cs == SEG, "64-bit-code-has-no-base-or-limit", "%d", fault.vector);
	/* 64-bit gates */
	set16(GATE, gate(CODE64, (ulong)lm_target, 0x8c), (ulong)lm_target >> 32);
	TRY_FAR("lcall", GATE, 0x123);
	check(fault.vector == -1 && (u16)lm_words[1] == CODE64, "gate", "%d %lx", fault.vector, fault.error);
	gdt[GATE / 8 + 1] = 0x8000;
	barrier();
	TRY_FAR("lcall", GATE, 0);
	check_fault(13, 0, "gate-non-canonical");
	gdt[GATE / 8 + 1] = 0x0000010000000000;
	barrier();
	TRY_FAR("lcall", GATE, 0);
	check_fault(13, GATE, "gate-upper-type");
	set16(GATE, gate(CODE64, (ulong)lm_target, 0x0c), 0);
	TRY_FAR("lcall", GATE, 0);
	check_fault(11, GATE, "gate-not-present");
	set16(GATE, gate(CODE32, (ulong)lm_target, 0x8c), 0);
	TRY_FAR("lcall", GATE, 0);
	check_fault(13, CODE32, "gate-to-32-bit-code");
	set16(GATE, gate(0, (ulong)lm_target, 0x8c), 0);
	TRY_FAR("lcall", GATE, 0);
	check_fault(13, 0, "gate-null");
	set16(GATE, gate(CODE64, (ulong)lm_target, 0x84), 0);
	TRY_FAR("lcall", GATE, 0);
	check_fault(13, GATE, "gate-16-bit");
	/* To more privilege: SS is null, no parameters */
	set16(GATE, gate(CODE64, (ulong)lm_target, 0xec) | 5ull << 32, 0);
	user_call(user_gate, NULL);
	check(fault.vector == -1, "user-gate", "%d %lx", fault.vector, fault.error);
	check((u16)lm_ss == 0 && (u16)lm_cs == CODE64 && lm_rsp == tss.rsp[0] - 32, "user-gate-stack", "%lx %lx %lx",
	      lm_ss, lm_rsp, tss.rsp[0]);
	check((u16)lm_words[1] == USER64 && (u16)lm_words[3] == USERDATA, "user-gate-frame", "%lx %lx", lm_words[1],
	      lm_words[3]);
	u64 old = tss.rsp[1];
	gdt_set(SEG, 0, 0, 0xba, 2); /* DPL 1 */
	set16(GATE, gate(SEG, (ulong)lm_target, 0xec), 0);
	tss.rsp[1] = 0x8000000000000000;
	user_call(user_gate, NULL);
	check_vector(12, "user-gate-stack-non-canonical");
	tss.rsp[1] = (ulong)area + sizeof(area);
	user_call(user_gate, NULL);
	check(fault.vector == -1 && (u16)lm_ss == 1 && (u16)lm_cs == (SEG | 1), "user-gate-ring-1", "%d %lx %lx",
	      fault.vector, lm_ss, lm_cs);
	tss.rsp[1] = old;
}

static void returns(void)
{
	TRY_RETURN("push $0x18; push $1f", "lretq");
	check_fault(-1, 0, "lretq");
	TRY_RETURN("sub $8, %%rsp; movl $1f, (%%rsp); movl $0x18, 4(%%rsp)", "lretl");
	check_fault(-1, 0, "lretl");
	TRY_RETURN("mov $0x8000000000000000, %%rax; push $0x18; push %%rax", "lretq");
	check_fault(13, 0, "lretq-non-canonical");
	TRY_RETURN("push $0; push $1f", "lretq");
	check_fault(13, 0, "lretq-null");
	TRY_RETURN("push $0x1b; push $1f", "lretq");
	check_vector(13, "lretq-rpl");
	TRY_RETURN("push $0; push %%rsp; push $0x3b; push $1f", "lretq");
	check_fault(13, 0, "lretq-user-ss-null");
	TRY_RETURN("mov %%rsp, %%rax; push $0; push %%rax; pushf; push $0x18; push $1f", "iretq");
	check_fault(-1, 0, "iretq-null-ss");
	TRY_RETURN("mov %%rsp, %%rax; push $0; push %%rax; pushf; push $0x3b; push $1f", "iretq");
	check_fault(13, 0, "iretq-user-null-ss");
	TRY_RETURN("mov %%rsp, %%rax; push $0x10; push %%rax; pushf; push $0x3b; push $1f", "iretq");
	check_fault(13, 0x10, "iretq-user-ss-dpl");
	TRY_RETURN("mov %%rsp, %%rax; push $0x10; push %%rax; pushf; push $0; push $1f", "iretq");
	check_fault(13, 0, "iretq-null-cs");
	TRY_RETURN("mov %%rsp, %%rax; push $0x10; push %%rax; pushf; push $0x10; push $1f", "iretq");
	check_fault(13, 0x10, "iretq-data-cs");
	TRY_RETURN("mov $0x8000000000000000, %%rax; push $0x10; push %%rsp; pushf; push $0x18; push %%rax", "iretq");
	check_fault(13, 0, "iretq-non-canonical");
	TRY_RETURN("mov %%rsp, %%rax; push $0; push %%rax; pushf; push $8; push $1f", "iretq");
	check_fault(13, 0, "iretq-compat-null-ss");
	TRY_RETURN("mov %%rsp, %%rax; push $0x10; push %%rax; pushf; orl $0x4000, (%%rsp); popf; pushf; push $0x18; "
	           "push $1f",
	           "iretq");
	check_fault(13, 0, "iretq-nt");
	write_flags(2);
	TRY_RETURN("mov %%rsp, %%rax; push $0x10; push %%rax; pushf; orl $0x20000, (%%rsp); push $0x18; push $1f",
	           "iretq");
	check(fault.vector == -1 && !(read_flags() & 0x20000), "iretq-ignores-vm", "%d %lx", fault.vector, fault.error);
	/* 32-bit IRET in 64-bit mode pops five doublewords */
	TRY_RETURN("mov %%rsp, %%rax; sub $20, %%rsp; movl $1f, (%%rsp); movl $0x18, 4(%%rsp); movl $2, 8(%%rsp); mov "
	           "%%eax, 12(%%rsp); movl $0x10, 16(%%rsp)",
	           "iretl");
	check_fault(-1, 0, "iretl");
	load_ss(DATA);
}

/* ---- compatibility mode: 32-bit code called with a far call; it must keep below 4 GiB ---- */

extern char compat_flags[], compat_fault[], compat_call[], compat_here[], compat_16[];
volatile u32 compat_seen[8];
asm(".pushsection .text\n"
    ".code32\n"
    "compat_flags: push %ebx; mov %cs, compat_seen; mov $0x10, %eax; mov %eax, %ss; inc %eax; dec %eax; .byte 0x40; "
    "mov %eax, compat_seen + 4;"
    "	mov %esp, compat_seen + 8; pusha; popa; push %ds; pop %es; mov $0x7fffffff, %ecx; lea 0x70000000(%ecx), %ecx; "
    "mov %ecx, compat_seen + 12;"
    "	aam $10; pop %ebx; lret\n"
    /* Through a 64-bit call gate: 64-bit code sees an 8-byte frame */
    "compat_call: mov %esp, compat_seen; lcall $0x70, $0; mov %esp, compat_seen + 4; lret\n"
    "compat_fault: mov $0, %eax; mov %eax, %ds; mov compat_seen, %eax\n"
    "compat_here: lret\n"
    ".code16\n"
    "compat_16: mov $0x99995678, %eax; lretl\n"
    ".code64\n"
    ".popsection");

static volatile unsigned skipped;
static struct frame skip_frame;
static void skip_load(struct frame *f)
{
	skip_frame = *f;
	skipped++;
	f->rip += 5;
}

static void compat(void)
{
	static struct {
		u32 o;
		u16 s;
	} __attribute__((packed)) far = {0, CODE32};
	u64 rax = 0, rbx = 0x1122334455667788;

	far.o = (u32)(ulong)compat_flags;
	asm volatile("lcall *%2" : "=&a"(rax), "+b"(rbx) : "m"(far) : "rcx", "rdx", "rsi", "rdi", "memory", "cc");
	check(compat_seen[0] == CODE32 && compat_seen[1] == DATA + 1, "compat-runs", "%x %x", compat_seen[0],
	      compat_seen[1]);
	check(compat_seen[3] == 0xefffffff, "compat-wraps", "%x", compat_seen[3]);
	check((u32)rbx == 0x55667788, "compat-keeps-ebx", "%lx", rbx);
	asm volatile("mov %w0, %%ds; mov %w0, %%es" : : "r"(DATA));
	/* Exceptions come to a 64-bit handler, which skips the instruction: a null DS faults, and so does a limit */
	handle(13, skip_load);
	far.o = (u32)(ulong)compat_fault;
	skipped = 0;
	asm volatile("lcall *%0" : : "m"(far) : "rax", "memory", "cc");
	handle(13, NULL);
	check(skipped == 1 && skip_frame.cs == CODE32 && skip_frame.rip == (ulong)compat_here - 5 &&
	              skip_frame.error == 0,
	      "compat-null-ds-fault", "%u %lx", skipped, skip_frame.rip);
	asm volatile("mov %w0, %%ds; mov %w0, %%es" : : "r"(DATA));
	/* A call gate to 64-bit code */
	set16(GATE, gate(CODE64, (ulong)lm_target, 0x8c), 0);
	far.o = (u32)(ulong)compat_call;
	asm volatile("lcall *%0" : : "m"(far) : "rax", "memory", "cc");
	check((u16)lm_cs == CODE64 && (u16)lm_words[1] == CODE32 && lm_rsp == compat_seen[0] - 16 &&
	              compat_seen[0] == compat_seen[1],
	      "compat-gate", "%lx %lx %lx %x %x", lm_cs, lm_words[1], lm_rsp, compat_seen[0], compat_seen[1]);
	/* 16-bit code */
	gdt_set(SEG2, (u32)(ulong)compat_16, 0xffff, 0x9b, 0);
	far.o = 0, far.s = SEG2;
	asm volatile("lcall *%1" : "=a"(rax) : "m"(far) : "memory", "cc");
	check((u32)rax == 0x99995678, "compat-16", "%lx", rax);
}

void test(void)
{
	loads();
	system_segments();
	gates();
	returns();
	compat();
}
