/*
 * Far transfers in long mode: jumps, calls and returns between 64-bit, 32-bit and 16-bit segments and privilege levels, 16-byte
 * call gates, what LAR, LSL, VERR and VERW say of each type, the end of the I/O bitmap, TSD and PCE;
 * SDM vol. 3 §5.8, vol. 2. guest: bits=64
 */
#include "lib/guest.h"

#define same(got, want, name)                                                                                \
	({                                                                                                   \
		ulong got_ = (ulong)(got), want_ = (ulong)(want);                                            \
		check(got_ == want_, name, "%lx instead of %lx", got_, want_);                               \
	})
#define LABEL(l) extern char l[]
#define F(n)     (GDT_FREE + 8 * (n))

static void gate_set(unsigned selector, u16 target, ulong offset, u8 access)
{
	gdt[selector / 8] = (offset & 0xffff) | (u64)target << 16 | (u64)access << 40 | (u64)(offset >> 16 & 0xffff) << 48;
	gdt[selector / 8 + 1] = offset >> 32;
}

/* Reached by far jumps and calls; notes where it is and comes back to r15 with the stack of rbx. */
static volatile ulong at_cs, at_ss, at_rsp, top[6];
asm(".globl landed, landed32, landed_call, landed_call32\n"
    "landed: mov %cs, %rax; mov %rax, at_cs; mov %rbx, %rsp; push $0x18; push %r15; rex.w lret\n"
    /* a call: what was pushed */
    "landed_call: mov %cs, %rax; mov %rax, at_cs; mov %ss, %rax; mov %rax, at_ss; mov %rsp, at_rsp\n"
    "mov (%rsp), %rax; mov %rax, top; mov 8(%rsp), %rax; mov %rax, top+8; mov 16(%rsp), %rax; mov %rax, top+16; mov 24(%rsp), %rax; mov %rax, top+24\n"
    "rex.w lret\n"
    "landed_call32: mov (%rsp), %rax; mov %rax, top; lretl\n"
    ".code32\n"
    "landed32: mov %cs, %eax; mov %eax, at_cs; movl $0, at_cs+4; ljmp $0x18, $landed_back\n"
    ".code64\n"
    "landed_back: mov %rbx, %rsp; jmp *%r15\n");
LABEL(landed);
LABEL(landed32);
LABEL(landed_call);
LABEL(landed_call32);

/* One far transfer by insn with the pointer p; its vector. */
#define FAR(insn, ...)                                                                                       \
	TRY("mov %%rsp, %%rbx; movq $77f, %%r15\n" insn "\n77: mov %%rbx, %%rsp", __VA_ARGS__ : "rax", "rbx", "rcx", "rdx", "r15", "memory", "cc")

struct far32 { u32 offset; u16 selector; } __attribute__((packed));
struct far64 { u64 offset; u16 selector; } __attribute__((packed));
static struct far32 p32;
static struct far64 p64;

static int jump32(ulong offset, u16 selector)
{
	p32 = (struct far32){(u32)offset, selector};
	at_cs = 0;
	FAR("ljmpl *%0", : "m"(p32));
	return fault.vector;
}

static int jump64(ulong offset, u16 selector)
{
	p64 = (struct far64){offset, selector};
	at_cs = 0;
	FAR("rex.w ljmp *%0", : "m"(p64));
	return fault.vector;
}

static int call64(ulong offset, u16 selector)
{
	p64 = (struct far64){offset, selector};
	at_cs = 0;
	FAR("rex.w lcall *%0", : "m"(p64));
	return fault.vector;
}

static void jumps(void)
{
	same(jump32((ulong)landed, CODE64), -1, "ljmp-32");
	same(at_cs, CODE64, "ljmp-32-cs");
	same(jump64((ulong)landed, CODE64), -1, "ljmp-64");
	same(jump64((ulong)landed32, CODE32), -1, "ljmp-to-compat");
	same(at_cs, CODE32, "ljmp-to-compat-cs");
	same(jump64(0x800000000000, CODE64), 13, "ljmp-not-canonical");
	same(fault.error, 0, "ljmp-not-canonical-error");
	same(jump64((ulong)landed, 0), 13, "ljmp-null");
	same(fault.error, 0, "ljmp-null-error");
	same(jump64((ulong)landed, 0x1000), 13, "ljmp-beyond");
	same(fault.error, 0x1000, "ljmp-beyond-error");
	same(jump64((ulong)landed, DATA), 13, "ljmp-data");
	same(fault.error, DATA, "ljmp-data-error");
	same(jump64((ulong)landed, USER64 & ~3), 13, "ljmp-dpl-3");
	same(fault.error, USER64 & ~3, "ljmp-dpl-3-error");
	same(jump64((ulong)landed, CODE64 | 3), 13, "ljmp-rpl-3");
	gdt_set(F(0), 0, 0xfffff, 0x1b, 0xa);
	same(jump64((ulong)landed, F(0)), 11, "ljmp-not-present");
	same(fault.error, F(0), "ljmp-not-present-error");
	gdt_set(F(0), 0, 0xfffff, 0x9b, 0xe);
	same(jump64((ulong)landed, F(0)), 13, "ljmp-l-and-d");
	gdt_set(F(0), 0, 0xfffff, 0x9f, 0xa);
	same(jump64((ulong)landed, F(0) | 3), -1, "ljmp-conforming-rpl-3");
	same(at_cs, F(0), "ljmp-conforming-cs");
	gdt_set(F(0), 0, 0xfffff, 0xff, 0xa);
	same(jump64((ulong)landed, F(0)), 13, "ljmp-conforming-dpl-3");
	gdt_set(F(0), 0, 0x10, 0x9b, 0x4);
	same(jump64(0x20, F(0)), 13, "ljmp-beyond-limit-of-compat");
	same(fault.error, 0, "ljmp-beyond-limit-of-compat-error");
	gdt_set(F(0), 0, 0x67, 0x89, 0);
	gdt[F(1) / 8] = 0;
	same(jump64(0, F(0)), 13, "ljmp-tss-in-long-mode");
	same(fault.error, F(0), "ljmp-tss-in-long-mode-error");
	gdt_set(F(0), 0, 0, 0x85, 0);
	same(jump64(0, F(0)), 13, "ljmp-task-gate-in-long-mode");
	gdt_set(F(0), 0, 0, 0x82, 0);
	same(jump64(0, F(0)), 13, "ljmp-ldt");
}

static void calls(void)
{
	at_rsp = 0;
	same(call64((ulong)landed_call, CODE64), -1, "lcall-64");
	same(top[1], CODE64, "lcall-64-pushes-cs");
	p32 = (struct far32){(u32)(ulong)landed_call32, CODE64};
	FAR("lcall *%0", : "m"(p32));
	same(fault.vector, -1, "lcall-32-pushes-4-bytes");
	same((u32)(top[0] >> 32), CODE64, "lcall-32-frame");
	p64 = (struct far64){(ulong)landed_call, CODE64};
	same(call64((ulong)landed_call, 0), 13, "lcall-null");
	same(call64(0x800000000000, CODE64), 13, "lcall-not-canonical");

	/* Call gates of 16 bytes. */
	gate_set(F(0), CODE64, (ulong)landed_call, 0x8c);
	same(call64(0x1111111111111111, F(0)), -1, "gate");
	same(at_cs, CODE64, "gate-cs");
	same(top[1], CODE64, "gate-pushes-8-bytes");
	gate_set(F(0), CODE64, (ulong)landed, 0x8c);
	same(jump64(0, F(0)), -1, "gate-jump");
	same(jump64(0, F(0) | 3), 13, "gate-rpl-above-dpl");
	same(fault.error, F(0), "gate-rpl-above-dpl-error");
	gate_set(F(0), CODE64, (ulong)landed, 0x0c);
	same(jump64(0, F(0)), 11, "gate-not-present");
	same(fault.error, F(0), "gate-not-present-error");
	gate_set(F(0), 0, (ulong)landed, 0x8c);
	same(jump64(0, F(0)), 13, "gate-to-null");
	same(fault.error, 0, "gate-to-null-error");
	gate_set(F(0), CODE32, (ulong)landed, 0x8c);
	same(jump64(0, F(0)), 13, "gate-to-32-bit-code");
	same(fault.error, CODE32, "gate-to-32-bit-code-error");
	gate_set(F(0), DATA, (ulong)landed, 0x8c);
	same(jump64(0, F(0)), 13, "gate-to-data");
	gate_set(F(0), USER64 & ~3, (ulong)landed, 0x8c);
	same(jump64(0, F(0)), 13, "gate-to-lower-privilege");
	gate_set(F(0), CODE64, 0x800000000000, 0x8c);
	same(jump64(0, F(0)), 13, "gate-not-canonical");
	same(fault.error, 0, "gate-not-canonical-error");
	gate_set(F(0), CODE64, (ulong)landed, 0x8c);
	gdt[F(1) / 8] |= 0x1f0000000000;
	same(jump64(0, F(0)), 13, "gate-upper-type");
	same(fault.error, F(0), "gate-upper-type-error");
	gate_set(F(0), CODE64, (ulong)landed, 0x84);
	same(jump64(0, F(0)), 13, "gate-of-16-bits");
}

/* From CPL 3 through a gate to CPL 0 and back. */
static volatile int gate_vector;
static volatile ulong user_cs, user_rsp_before, user_rsp_after;
static void user_gate(void *arg)
{
	p64 = (struct far64){0, (u16)((ulong)arg | 3)};
	asm volatile("mov %%rsp, %0" : "=m"(user_rsp_before));
	FAR("rex.w lcall *%0", : "m"(p64));
	asm volatile("mov %%rsp, %0" : "=m"(user_rsp_after));
	asm volatile("mov %%cs, %0" : "=r"(user_cs));
	gate_vector = fault.vector;
}

static void user_jump_gate(void *arg)
{
	p64 = (struct far64){0, (u16)((ulong)arg | 3)};
	FAR("rex.w ljmp *%0", : "m"(p64));
	gate_vector = fault.vector;
}

static void privileges(void)
{
	gate_set(F(0), CODE64, (ulong)landed_call, 0xec);
	user_call(user_gate, (void *)F(0));
	same(gate_vector, -1, "gate-from-user");
	same(at_cs, CODE64, "gate-from-user-cs");
	same(at_ss, 0, "gate-from-user-null-ss");
	same(at_rsp, tss.rsp[0] - 32, "gate-from-user-stack");
	same(top[1], USER64, "gate-from-user-pushed-cs");
	same(top[3], USERDATA, "gate-from-user-pushed-ss");
	same(user_cs & 3, 3, "gate-return-to-user");
	same(user_rsp_after, user_rsp_before, "gate-return-rsp");
	user_call(user_jump_gate, (void *)F(0));
	same(gate_vector, 13, "jump-through-gate-from-user");
	same(fault.error, CODE64, "jump-through-gate-from-user-error");
	gate_set(F(0), CODE64, (ulong)landed_call, 0x8c);
	user_call(user_gate, (void *)F(0));
	same(gate_vector, 13, "gate-dpl-0-from-user");
	same(fault.error, F(0), "gate-dpl-0-from-user-error");
	gate_set(F(0), CODE64, (ulong)landed_call, 0xec);
	ulong old = tss.rsp[0];
	tss.rsp[0] = 0x800000000000;
	/* Any exception from user mode would find the same stack: give this one an IST. */
	static u8 ist[4096] __attribute__((aligned(16)));
	tss.ist[0] = (ulong)ist + sizeof(ist);
	idt_gate(12, (void *)vector_entries[12], 0x8e, CODE, 1);
	idt_gate(0x81, (void *)vector_entries[0x81], 0xee, CODE, 1);
	user_call(user_gate, (void *)F(0));
	idt_gate(12, (void *)vector_entries[12], 0x8e, CODE, 0);
	idt_gate(0x81, (void *)vector_entries[0x81], 0xee, CODE, 0);
	tss.rsp[0] = old;
	same(gate_vector, 12, "gate-stack-not-canonical");
}

static void returns(void)
{
	/* lret to what cannot be. rbx is the stack to come back to. */
#define RETURN(name, vector, code, cs_, rip_)                                                                \
	do {                                                                                                 \
		FAR("push %0; push %1; rex.w lret", : "r"((ulong)(cs_)), "r"((ulong)(rip_)));                \
		check_fault(vector, code, name);                                                             \
	} while (0)
	RETURN("lret-null", 13, 0, 0, landed);
	RETURN("lret-beyond", 13, 0x1000, 0x1000, landed);
	RETURN("lret-data", 13, DATA, DATA, landed);
	RETURN("lret-not-canonical", 13, 0, CODE64, 0x800000000000);
	RETURN("lret-good", -1, 0, CODE64, landed);
	RETURN("lret-rpl-3-dpl-0", 13, CODE64, CODE64 | 3, landed);
	RETURN("lret-to-compat", -1, 0, CODE32, landed32);
	same(at_cs, CODE32, "lret-to-compat-cs");
	FAR("push $0x33; push $0; push $0x3b; push %0; rex.w lret", : "r"(0x800000000000));
	check_fault(13, 0, "lret-to-user-not-canonical");
	FAR("push $0x10; push $0; push $0x3b; push %0; rex.w lret", : "r"((ulong)landed));
	check_fault(13, DATA, "lret-to-user-bad-ss");
	FAR("push $0; push $0; push $0x2b; push %0; rex.w lret", : "r"((ulong)landed));
	check_fault(13, 0, "lret-to-user-32-null-ss");
	FAR("lea -64(%%rsp), %%rsp; push $0x18; push %0; rex.w lret $64", : "r"((ulong)landed));
	check_fault(-1, 0, "lret-n");
}

static void system_types(void)
{
	/* Which system types LAR and LSL know in long mode: LDT, TSS (9, 11), call gate (LAR only). */
	for (unsigned type = 0; type < 16; type++) {
		gdt_set(F(0), 0, 0x123, (u8)(0x80 | type), 0);
		gdt[F(1) / 8] = 0;
		u8 lar_ok, lsl_ok;
		u32 a = 0x5555, l = 0x5555;
		asm volatile("lar %2, %0; setz %1" : "+r"(a), "=&q"(lar_ok) : "r"(F(0)) : "cc");
		asm volatile("lsl %2, %0; setz %1" : "+r"(l), "=&q"(lsl_ok) : "r"(F(0)) : "cc");
		bool lar_want = type == 2 || type == 9 || type == 11 || type == 12, lsl_want = type == 2 || type == 9 || type == 11;
		check(lar_ok == lar_want && a == (lar_want ? (0x8000u | type << 8) : 0x5555u), "lar-of-system-types", "%u: %x %u", type, a, lar_ok);
		check(lsl_ok == lsl_want && l == (lsl_want ? 0x123u : 0x5555u), "lsl-of-system-types", "%u: %x %u", type, l, lsl_ok);
	}
	for (unsigned type = 16; type < 32; type++) {
		u8 ok, r, w;
		u32 a = 0;
		gdt_set(F(0), 0, 0x12345, (u8)(0x80 | type), 0xc);
		asm volatile("lar %2, %0; setz %1" : "+r"(a), "=q"(ok) : "r"(F(0)) : "cc");
		check(ok && (a & 0xf0ff00) == (0xc08000u | type << 8), "lar-of-segments", "%u: %x", type, a);
		asm volatile("lsl %2, %0; setz %1" : "+r"(a), "=q"(ok) : "r"(F(0)) : "cc");
		check(ok && a == 0x12345fff, "lsl-of-segments", "%u: %x", type, a);
		asm volatile("verr %w2; setz %0; verw %w2; setz %1" : "=&q"(r), "=&q"(w) : "r"(F(0)) : "cc");
		check(r == (!(type & 8) || type & 2) && w == (!(type & 8) && type & 2), "verr-verw", "%u: %u %u", type, r, w);
	}
	u8 ok;
	asm volatile("verr %w1; setz %0" : "=q"(ok) : "r"(0) : "cc");
	check(!ok, "verr-null");
	asm volatile("verr %w1; setz %0" : "=q"(ok) : "r"(0x1000) : "cc");
	check(!ok, "verr-beyond");
	asm volatile("verr %w1; setz %0" : "=q"(ok) : "r"(DATA | 3) : "cc");
	check(!ok, "verr-rpl");
}

static void user_io(void *arg)
{
	TRY("inb %%dx, %%al", : "d"(0xfff8) : "eax");
	check_fault(-1, 0, "io-bitmap-last-byte");
	TRY("inl %%dx, %%eax", : "d"(0xfff8) : "eax");
	check_fault(-1, 0, "io-bitmap-last-long");
}

static void user_counters(void *arg)
{
	TRY("rdtsc", : : "eax", "edx");
	check_vector((int)(ulong)arg, "user-rdtsc");
	TRY("rdtscp", : : "eax", "ecx", "edx");
	check_vector((int)(ulong)arg, "user-rdtscp");
	TRY("rdpmc", : "c"(0) : "eax", "edx");
	check_fault(13, 0, "user-rdpmc");
}

static void input_output(void)
{
	tss.map[0x1fff] = 0;
	user_call(user_io, NULL);
	tss.map[0x1fff] = 0xff;
	user_call(user_counters, (void *)-1l);
	write_cr4(read_cr4() | 4);
	user_call(user_counters, (void *)13l);
	TRY("rdtsc", : : "eax", "edx");
	check_fault(-1, 0, "tsd-not-for-supervisor");
	write_cr4(read_cr4() & ~4ul);
}

void test(void)
{
	jumps();
	calls();
	returns();
	privileges();
	system_types();
	input_output();
}
