/* Real-address mode: 16-bit snippets with given registers, their results and flags; the IVT; limits of segments.
 * SDM vol. 3 ch. 21, vol. 2. guest: bits=32 */
#include "lib/guest.h"

/*
 * Low memory: 0 IVT; 0x1000 data of the tests; 0x6000 an entry per vector; 0x7000 the stub, from real_stub to
 * real_stub_end; 0x8000 the snippet. SS:SP is 0:0x5ff0. A vector's entry ends the snippet; its number is in `vector`.
 */
#define DATA_AT 0x1000
#define ENTRIES 0x6000
#define STUB    0x7000
#define CODE_AT 0x8000

struct real {
	u32 eax, ecx, edx, ebx, esp, ebp, esi, edi, flags;
	u16 ds, es, fs, gs, ss;
	u16 vector; /* 0xffff: it came to its end */
	u16 ip, cs, pushed_flags, sp;
} __attribute__((packed));

extern char real_stub[], real_stub_end[], real_regs[];
void real_enter(void);

asm(".pushsection .text\n"
    "real_enter:\n"
    "	pusha; pushf; cli\n"
    "	mov %esp, real_saved_esp\n"
    "	sidt real_saved_idt\n"
    "	ljmp $0x48, $0x7000\n"
    "real_back32:\n"
    "	mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %fs; mov %eax, %gs; mov %eax, %ss\n"
    "	mov real_saved_esp, %esp\n"
    "	lidt real_saved_idt\n"
    "	popf; popa; ret\n"
    ".globl real_stub, real_stub_end, real_regs\n"
    ".code16\n"
    "real_stub:\n"
    "	mov $0x40, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %fs; mov %ax, %gs; mov %ax, %ss\n"
    "	lidtw real_ivt - real_stub + 0x7000\n"
    "	mov %cr0, %eax; and $~1, %al; mov %eax, %cr0\n"
    "	ljmp $0, $(1f - real_stub + 0x7000)\n"
    "1:	xor %ax, %ax; mov %ax, %ds; mov %ax, %ss\n"
    "	mov $(real_regs - real_stub + 0x7000 + 36), %sp\n"
    "	pop %ds; pop %es; pop %fs; pop %gs\n"
    "	mov $(real_regs - real_stub + 0x7000), %sp\n"
    "	popl %eax; popl %ecx; popl %edx; popl %ebx; pop %bp; pop %bp; popl %ebp; popl %esi; popl %edi; popfl\n"
    "	mov %cs:(real_regs - real_stub + 0x7000 + 44), %ss\n"
    "	mov %cs:(real_regs - real_stub + 0x7000 + 16), %esp\n"
    "	ljmp $0, $0x8000\n"
    /* The end: snippets jump here, to 0:0x7e00, and so do vectors, to 0:0x7e08 with the vector pushed. */
    "real_regs: .skip 64\n"
    "real_ivt: .word 0x3ff; .long 0\n"
    "	.org real_stub + 0xe00\n"
    "	movw $0xffff, %cs:(real_regs - real_stub + 0x7000 + 46)\n"
    "	jmp 2f\n"
    "	.org real_stub + 0xe10\n"
    "	pop %cs:(real_regs - real_stub + 0x7000 + 46)\n"
    "	mov %sp, %cs:(real_regs - real_stub + 0x7000 + 54)\n"
    "	pop %cs:(real_regs - real_stub + 0x7000 + 48)\n"
    "	pop %cs:(real_regs - real_stub + 0x7000 + 50)\n"
    "	pop %cs:(real_regs - real_stub + 0x7000 + 52)\n"
    "2:	mov %ss, %cs:(real_regs - real_stub + 0x7000 + 44)\n"
    "	mov %esp, %cs:(real_regs - real_stub + 0x7000 + 16)\n"
    "	mov %eax, %cs:(real_regs - real_stub + 0x7000 + 0)\n"
    "	mov %cs, %ax; mov %ax, %ss\n"
    "	mov $(real_regs - real_stub + 0x7000 + 36), %sp\n"
    "	pushfl; pushl %edi; pushl %esi; pushl %ebp; sub $4, %sp; pushl %ebx; pushl %edx; pushl %ecx\n"
    "	cli; cld\n"
    "	mov %ds, %cs:(real_regs - real_stub + 0x7000 + 36)\n"
    "	mov %es, %cs:(real_regs - real_stub + 0x7000 + 38)\n"
    "	mov %fs, %cs:(real_regs - real_stub + 0x7000 + 40)\n"
    "	mov %gs, %cs:(real_regs - real_stub + 0x7000 + 42)\n"
    "	mov %cr0, %eax; or $1, %al; mov %eax, %cr0\n"
    "	ljmpl $8, $real_back32\n"
    "real_stub_end:\n"
    ".code32\n"
    ".popsection\n"
    ".pushsection .data\n"
    "real_saved_esp: .long 0\n"
    "real_saved_idt: .skip 8\n"
    ".popsection");

static struct real r; /* in and out */
static u8 *const data = (u8 *)DATA_AT;

static void real_init(void)
{
	memcpy((void *)STUB, real_stub, (size_t)(real_stub_end - real_stub));
	for (unsigned v = 0; v < 256; v++) {
		u8 *e = (u8 *)ENTRIES + 8 * v;
		u16 rel = (u16)(STUB + 0xe10 - (ENTRIES + 8 * v + 5));

		e[0] = 0x6a, e[1] = (u8)v, e[2] = 0xe9, e[3] = (u8)rel, e[4] = (u8)(rel >> 8);
		((u32 *)0)[v] = ENTRIES + 8 * v;
	}
}

static void reset(void)
{
	memset(&r, 0, sizeof(r));
	r.esp = 0x5ff0;
	r.flags = 2;
}

static void run_at(const char *start, const char *end)
{
	struct real *at = (struct real *)(STUB + (ulong)(real_regs - real_stub));
	size_t n = (size_t)(end - start);
	u8 *code = (u8 *)CODE_AT;

	memcpy(code, start, n);
	code[n] = 0xea; /* ljmp 0:0x7e00 */
	code[n + 1] = 0x00, code[n + 2] = 0x7e, code[n + 3] = code[n + 4] = 0;
	*at = r;
	((void (*volatile)(void))real_enter)();
	r = *at;
}

/* Runs code with the registers in r. Percent signs are doubled in it. */
#define RUN(code)                                                                                                \
	do {                                                                                                     \
		const char *start_, *end_;                                                                       \
		asm volatile(".pushsection .rodata\n.code16\n.Lreal%=: " code                                    \
		             "\n.Lrealend%=:\n.code32\n.popsection\n\tmov $.Lreal%=, %0\n\tmov $.Lrealend%=, %1" \
		             : "=r"(start_), "=r"(end_));                                                        \
		run_at(start_, end_);                                                                            \
	} while (0)

static void check_end(const char *name)
{
	check(r.vector == 0xffff, name, "vector %x at %x:%x", r.vector, r.cs, r.ip);
}
static void check_real_vector(u16 v, const char *name)
{
	check(r.vector == v, name, "vector %x at %x:%x", r.vector, r.cs, r.ip);
}

#define CF 1u
#define PF 4u
#define AF 0x10u
#define ZF 0x40u
#define SF 0x80u
#define DF 0x400u
#define OF 0x800u

/* One instruction: registers in; registers, and the flags in the mask, out. */
static void one(const char *name, const char *start, const char *end, u32 eax, u32 ecx, u32 edx, u32 flags, u32 out_eax,
                u32 out_ecx, u32 out_edx, u32 out_flags, u32 mask)
{
	reset();
	r.eax = eax;
	r.ecx = ecx;
	r.edx = edx;
	r.flags |= flags;
	run_at(start, end);
	check(r.vector == 0xffff && r.eax == out_eax && r.ecx == out_ecx && r.edx == out_edx &&
	              (r.flags & mask) == out_flags,
	      name, "eax %x ecx %x edx %x flags %x vector %x", r.eax, r.ecx, r.edx, r.flags, r.vector);
}

/* ONE(name, code, eax, ecx, edx, flags, out eax, ecx, edx, flags, mask of flags) */
#define ONE(name, code, ...)                                                                                     \
	do {                                                                                                     \
		const char *start_, *end_;                                                                       \
		asm volatile(".pushsection .rodata\n.code16\n.Lreal%=: " code                                    \
		             "\n.Lrealend%=:\n.code32\n.popsection\n\tmov $.Lreal%=, %0\n\tmov $.Lrealend%=, %1" \
		             : "=r"(start_), "=r"(end_));                                                        \
		one(name, start_, end_, __VA_ARGS__);                                                            \
	} while (0)

static void arithmetic(void)
{
	u32 all = CF | PF | AF | ZF | SF | OF, logic = CF | PF | ZF | SF | OF;

	ONE("add8", "add %%cl, %%al", 0x112233ff, 1, 0, 0, 0x11223300, 1, 0, CF | PF | AF | ZF, all);
	ONE("add16", "add %%cx, %%ax", 0x11117fff, 1, 0, 0, 0x11118000, 1, 0, PF | AF | SF | OF, all);
	ONE("add32", "add %%ecx, %%eax", 0xffffffff, 2, 0, 0, 1, 2, 0, CF | AF, all);
	ONE("adc16", "adc %%cx, %%ax", 0xffff, 0, 0, CF, 0, 0, 0, CF | PF | AF | ZF, all);
	ONE("sub16-imm8", "sub $-1, %%ax", 0x7fff, 0, 0, 0, 0x8000, 0, 0, CF | PF | SF | OF, all);
	ONE("sbb8", "sbb %%cl, %%al", 0, 0, 0, CF, 0xff, 0, 0, CF | PF | AF | SF, all);
	ONE("cmp16", "cmp %%cx, %%ax", 5, 5, 0, 0, 5, 5, 0, PF | ZF, all);
	ONE("and16", "and %%cx, %%ax", 0xff00f0f0, 0xff00, 0, CF, 0xff00f000, 0xff00, 0, PF | SF, logic);
	ONE("or16", "or %%cx, %%ax", 0xf0, 0x0f, 0, CF, 0xff, 0x0f, 0, PF, logic);
	ONE("xor16", "xor %%ax, %%ax", 0xaaaa5555, 0, 0, CF, 0xaaaa0000, 0, 0, PF | ZF, logic);
	ONE("test8", "test $0x80, %%al", 0xff, 0, 0, CF, 0xff, 0, 0, SF, logic);
	ONE("inc16-keeps-cf", "inc %%ax", 0xffff, 0, 0, CF, 0, 0, 0, CF | PF | AF | ZF, all);
	ONE("dec16", "dec %%ax", 0x8000, 0, 0, 0, 0x7fff, 0, 0, PF | AF | OF, all);
	ONE("dec32", "dec %%eax", 0, 0, 0, 0, 0xffffffff, 0, 0, PF | AF | SF, all);
	ONE("neg16", "neg %%ax", 0x8000, 0, 0, 0, 0x8000, 0, 0, CF | PF | SF | OF, all);
	ONE("not16", "not %%ax", 0x1234ffff, 0, 0, CF | ZF, 0x12340000, 0, 0, CF | ZF, all);
	ONE("mul8", "mul %%cl", 0xffff, 0xff, 0, 0, 0xfe01, 0xff, 0, CF | OF, CF | OF);
	ONE("mul16", "mul %%cx", 0x1234, 0x10, 0x5555aaaa, 0, 0x2340, 0x10, 0x55550001, CF | OF, CF | OF);
	ONE("mul32", "mul %%ecx", 0x80000000, 2, 7, 0, 0, 2, 1, CF | OF, CF | OF);
	ONE("imul16", "imul %%cx", 0xffff, 2, 0, CF, 0xfffe, 2, 0xffff, 0, CF | OF);
	ONE("imul16-2", "imul %%cx, %%ax", 0x4000, 2, 0, 0, 0x8000, 2, 0, CF | OF, CF | OF);
	ONE("imul16-3", "imul $-3, %%cx, %%ax", 0x4000, 2, 0, CF, 0xfffa, 2, 0, 0, CF | OF);
	ONE("imul32-3", "imul $100000, %%ecx, %%eax", 0, 3, 0, CF, 300000, 3, 0, 0, CF | OF);
	ONE("div8", "div %%cl", 0x0107, 2, 0, 0, 0x0183, 2, 0, 0, 0);
	ONE("div16", "div %%cx", 0x0007, 2, 1, 0, 0x8003, 2, 1, 0, 0);
	ONE("div32", "div %%ecx", 0x7, 2, 1, 0, 0x80000003, 2, 1, 0, 0);
	ONE("idiv16", "idiv %%cx", 0xfff9, 2, 0xffff, 0, 0xfffd, 2, 0xffff, 0, 0);
	ONE("idiv8", "idiv %%cl", 0xfff9, 2, 0, 0, 0xfffd, 2, 0, 0, 0);
	ONE("shl16", "shl $4, %%ax", 0x1111f234, 0, 0, 0, 0x11112340, 0, 0, CF, CF | PF | ZF | SF);
	ONE("shr16-1", "shr %%ax", 0x8001, 0, 0, 0, 0x4000, 0, 0, CF | PF | OF, CF | PF | ZF | SF | OF);
	ONE("sar16-cl", "sar %%cl, %%ax", 0x8000, 15, 0, 0, 0xffff, 15, 0, PF | SF, CF | PF | ZF | SF);
	ONE("shl16-count-0", "shl %%cl, %%ax", 0x8000, 0x20, 0, all, 0x8000, 0x20, 0, all, all);
	ONE("rol16", "rol $4, %%ax", 0x1234, 0, 0, 0, 0x2341, 0, 0, CF, CF);
	ONE("ror8", "ror %%al", 0x01, 0, 0, 0, 0x80, 0, 0, CF | OF, CF | OF);
	ONE("rcl16", "rcl %%ax", 0x8000, 0, 0, CF, 0x0001, 0, 0, CF | OF, CF | OF);
	ONE("rcr16-17", "rcr %%cl, %%ax", 0x1234, 17, 0, CF, 0x1234, 17, 0, CF, CF);
	ONE("shld16", "shld $4, %%cx, %%ax", 0x1234, 0xabcd, 0, 0, 0x234a, 0xabcd, 0, CF, CF);
	ONE("shrd16-cl", "shrd %%cl, %%dx, %%ax", 0x1234, 8, 0xabcd, 0, 0xcd12, 8, 0xabcd, 0, CF);
	ONE("shld32", "shld $8, %%ecx, %%eax", 0x12345678, 0xabcdef01, 0, 0, 0x345678ab, 0xabcdef01, 0, 0, CF);
	ONE("bsf16", "bsf %%cx, %%ax", 0, 0x8000, 0, ZF, 15, 0x8000, 0, 0, ZF);
	ONE("bsf16-zero", "bsf %%cx, %%ax", 5, 0, 0, 0, 5, 0, 0, ZF, ZF);
	ONE("bsr32", "bsr %%ecx, %%eax", 0, 0x80000, 0, ZF, 19, 0x80000, 0, 0, ZF);
	ONE("bt16", "bt %%cx, %%ax", 0x8000, 31, 0, 0, 0x8000, 31, 0, CF, CF);
	ONE("bts16", "bts $1, %%ax", 0, 0, 0, CF, 2, 0, 0, 0, CF);
	ONE("btr16", "btr $1, %%ax", 2, 0, 0, 0, 0, 0, 0, CF, CF);
	ONE("btc32", "btc $31, %%eax", 0, 0, 0, CF, 0x80000000, 0, 0, 0, CF);
	ONE("movzx", "movzbw %%cl, %%ax", 0x55555555, 0xfff0, 0, 0, 0x555500f0, 0xfff0, 0, 0, 0);
	ONE("movzx32", "movzwl %%cx, %%eax", 0x55555555, 0xfffff, 0, 0, 0xffff, 0xfffff, 0, 0, 0);
	ONE("movsx", "movsbw %%cl, %%ax", 0x55555555, 0xf0, 0, 0, 0x5555fff0, 0xf0, 0, 0, 0);
	ONE("movsx32", "movswl %%cx, %%eax", 0x55555555, 0x8000, 0, 0, 0xffff8000, 0x8000, 0, 0, 0);
	ONE("cbw", "cbtw", 0x12345680, 0, 0, 0, 0x1234ff80, 0, 0, 0, 0);
	ONE("cwde", "cwtl", 0x12348000, 0, 0, 0, 0xffff8000, 0, 0, 0, 0);
	ONE("cwd", "cwtd", 0x8000, 0, 0x12345678, 0, 0x8000, 0, 0x1234ffff, 0, 0);
	ONE("cdq", "cltd", 0x80000000, 0, 1, 0, 0x80000000, 0, 0xffffffff, 0, 0);
	ONE("xchg16", "xchg %%ax, %%cx", 0x11112222, 0x33334444, 0, 0, 0x11114444, 0x33332222, 0, 0, 0);
	ONE("xadd16", "xadd %%cx, %%ax", 0x7fff, 1, 0, 0, 0x8000, 0x7fff, 0, PF | AF | SF | OF, all);
	ONE("cmpxchg16", "cmpxchg %%dx, %%cx", 5, 5, 9, 0, 5, 9, 9, PF | ZF, all);
	ONE("cmpxchg16-differs", "cmpxchg %%dx, %%cx", 5, 6, 9, 0, 6, 6, 9, CF | PF | AF | SF, all);
	ONE("bswap", "bswap %%eax", 0x12345678, 0, 0, 0, 0x78563412, 0, 0, 0, 0);
	ONE("lahf", "lahf", 0, 0, 0, CF | ZF, 0x4300, 0, 0, 0, 0);
	ONE("sahf", "sahf", 0xd700, 0, 0, OF, 0xd700, 0, 0, all, all);
	ONE("salc", ".byte 0xd6", 0, 0, 0, CF, 0xff, 0, 0, CF, CF);
	ONE("cmc", "cmc", 0, 0, 0, CF, 0, 0, 0, 0, CF);
	ONE("stc", "stc", 0, 0, 0, 0, 0, 0, 0, CF, CF);
	ONE("std", "std", 0, 0, 0, 0, 0, 0, 0, DF, DF);
	ONE("setc", "setc %%al", 0xffff, 0, 0, CF, 0xff01, 0, 0, 0, 0);
	ONE("setg", "setg %%al", 0xffff, 0, 0, SF, 0xff00, 0, 0, 0, 0);
	ONE("setle", "setle %%al", 0, 0, 0, SF, 1, 0, 0, 0, 0);
	ONE("cmov", "cmovc %%cx, %%ax", 0x12340001, 0x4321, 0, CF, 0x12344321, 0x4321, 0, 0, 0);
	ONE("lea16", "mov $0xfff0, %%bx; mov $0x20, %%si; lea 4(%%bx,%%si), %%ax", 0xffffffff, 0, 0, 0, 0xffff0014, 0,
	    0, 0, 0);
	ONE("lea-a32", "mov $0xfff0, %%ebx; lea 0x10(%%ebx,%%ebx,2), %%ax", 0, 0, 0, 0, 0xffe0, 0, 0, 0, 0);
	ONE("lea-o32-a16", "mov $0xfff0, %%bx; lea 0x20(%%bx), %%eax", 0xffffffff, 0, 0, 0, 0x10, 0, 0, 0, 0);
}

static void decimal(void)
{
	ONE("aaa", "aaa", 0x000a, 0, 0, 0, 0x0100, 0, 0, CF | AF, CF | AF);
	ONE("aaa-none", "aaa", 0x0309, 0, 0, CF, 0x0309, 0, 0, 0, CF | AF);
	ONE("aaa-af", "aaa", 0x01f1, 0, 0, AF, 0x0207, 0, 0, CF | AF, CF | AF);
	ONE("aaa-carries", "aaa", 0x00fa, 0, 0, 0, 0x0200, 0, 0, CF | AF, CF | AF);
	ONE("aas", "aas", 0x020f, 0, 0, 0, 0x0109, 0, 0, CF | AF, CF | AF);
	ONE("aas-none", "aas", 0x0215, 0, 0, CF, 0x0205, 0, 0, 0, CF | AF);
	ONE("aam", "aam", 0x12ff, 0, 0, 0, 0x1905, 0, 0, PF, SF | ZF | PF);
	ONE("aam-16", "aam $16", 0x00a0, 0, 0, 0, 0x0a00, 0, 0, ZF | PF, SF | ZF | PF);
	ONE("aad", "aad", 0x0205, 0, 0, 0, 0x0019, 0, 0, 0, SF | ZF | PF);
	ONE("aad-16", "aad $16", 0xf0f8, 0, 0, 0, 0x00f8, 0, 0, SF, SF | ZF | PF);
	ONE("daa", "daa", 0x9a, 0, 0, 0, 0x00, 0, 0, CF | AF | ZF | PF, CF | AF | ZF | SF | PF);
	ONE("daa-cf", "daa", 0x15, 0, 0, CF, 0x75, 0, 0, CF, CF | AF | ZF | SF | PF);
	ONE("daa-af", "daa", 0x15, 0, 0, AF, 0x1b, 0, 0, AF | PF, CF | AF | ZF | SF | PF);
	ONE("das", "das", 0xff, 0, 0, 0, 0x99, 0, 0, CF | AF | SF | PF, CF | AF | ZF | SF | PF);
	ONE("das-borrow", "das", 0x01, 0, 0, AF, 0xfb, 0, 0, CF | AF | SF, CF | AF | ZF | SF | PF);
	reset();
	RUN("aam $0");
	check_real_vector(0, "aam-0-divides");
}

static void divide_errors(void)
{
	reset();
	r.eax = 1;
	RUN("nop; div %%cx");
	check(r.vector == 0 && r.cs == 0 && r.ip == CODE_AT + 1, "divide-error", "vector %x at %x:%x", r.vector, r.cs,
	      r.ip);
	check(r.sp == 0x5ff0 - 6, "real-frame-6-bytes", "sp %x", r.sp);
	reset();
	r.eax = 0x100, r.ecx = 1;
	RUN("div %%cl");
	check_real_vector(0, "divide-overflow-byte");
	reset();
	r.edx = 1, r.ecx = 1;
	RUN("div %%ecx");
	check_real_vector(0, "divide-overflow-dword");
	reset();
	r.edx = 0x8000, r.ecx = 0xffff;
	RUN("idiv %%cx");
	check_real_vector(0, "idiv-overflow");
}

static void stack(void)
{
	u16 *top = (u16 *)0x5ff0;

	reset();
	r.eax = 0x12345678;
	RUN("push %%ax; pushl %%eax; push $-2; pushl $0x11223344; pushw $0x5566; push %%cs; pushl %%cs; mov %%sp, %%bx;"
	    "popl %%ecx; pop %%dx; pop %%bp");
	check_end("pushes");
	check(r.ebx == 0x5ff0 - 20, "push-widths", "bx %x", r.ebx);
	check(top[-1] == 0x5678 && *(u32 *)(top - 3) == 0x12345678 && top[-4] == 0xfffe &&
	              *(u32 *)(top - 6) == 0x11223344 && top[-7] == 0x5566 && top[-8] == 0,
	      "push-values");
	check((r.ecx & 0xffff) == 0 && r.edx == 0 && r.ebp == 0x5566, "pop-values", "%x %x %x", r.ecx, r.edx, r.ebp);

	reset();
	*(u32 *)data = 0xcafef00d;
	RUN("pushw 0x1000; pushl 0x1000; popw 0x1010; popl 0x1014; mov 0x1010, %%ax; mov 0x1014, %%ecx");
	check(r.eax == 0xf00d && r.ecx == 0xf00dcafe && r.esp == 0x5ff0, "push-pop-memory", "%x %x %x", r.eax, r.ecx,
	      r.esp);

	reset();
	r.eax = 0x10001, r.ecx = 0x20002, r.edx = 0x30003, r.ebx = 0x40004, r.ebp = 0x50005, r.esi = 0x60006,
	r.edi = 0x70007;
	RUN("pusha; xor %%di, %%di; mov %%di, %%si; mov %%di, %%ax; popa");
	check(top[-1] == 1 && top[-2] == 2 && top[-3] == 3 && top[-4] == 4 && top[-5] == 0x5ff0 && top[-6] == 5 &&
	              top[-7] == 6 && top[-8] == 7,
	      "pusha");
	check(r.eax == 0x10001 && r.edi == 0x70007 && r.esi == 0x60006 && r.esp == 0x5ff0, "popa", "%x %x", r.eax,
	      r.esp);
	reset();
	r.eax = 0x11111111, r.edi = 0x77777777;
	RUN("pushal; xor %%edi, %%edi; xor %%eax, %%eax; popal");
	check(((u32 *)top)[-1] == 0x11111111 && ((u32 *)top)[-8] == 0x77777777, "pushad");
	check(r.eax == 0x11111111 && r.edi == 0x77777777 && r.esp == 0x5ff0, "popad", "%x %x", r.eax, r.esp);

	reset();
	RUN("push $0x1234; mov %%sp, %%bp; push %%sp; pop %%ax; push $0x4321; pop %%sp; mov %%sp, %%cx; mov %%bp, "
	    "%%sp");
	check(r.eax == 0x5fee && r.ecx == 0x4321, "push-sp-pop-sp", "%x %x", r.eax, r.ecx);

	reset();
	r.esp = 0x12345ff0, r.ebp = 0xaaaabbbb;
	RUN("enter $16, $0; mov %%esp, %%eax; mov %%ebp, %%ecx; leave");
	check(r.eax == 0x12345fde && r.ecx == 0xaaaa5fee && r.esp == 0x12345ff0 && r.ebp == 0xaaaabbbb, "enter-leave",
	      "%x %x %x %x", r.eax, r.ecx, r.esp, r.ebp);
	reset();
	r.ebp = 0x5ff8;
	*(u16 *)0x5ff6 = 0x1111, *(u16 *)0x5ff4 = 0x2222;
	RUN("enter $8, $3; mov %%sp, %%ax; mov %%bp, %%cx");
	check(r.eax == 0x5fe0 && r.ecx == 0x5fee && top[-1] == 0x5ff8 && top[-2] == 0x1111 && top[-3] == 0x2222 &&
	              top[-4] == 0x5fee,
	      "enter-nested", "%x %x %x %x %x", r.eax, r.ecx, top[-2], top[-3], top[-4]);

	reset();
	RUN("mov $0xfffffeff, %%eax; pushl %%eax; popfl; pushfl; popl %%ecx; pushl $0; popfl; pushfl; popl %%edx; "
	    "pushw $0x7ed7;"
	    "popfw; pushfw; popw %%bx; pushw $2; popfw");
	check((r.ecx & 0x257fd7) == 0x247ed7 && !(r.ecx & 0x30000), "popfd-real", "%x", r.ecx);
	check(r.edx == 2, "popfd-zero", "%x", r.edx);
	check_end("popf-ends");

	/* Wrapping by words, at 64 KiB */
	reset();
	r.ss = 0x1000, r.esp = 0;
	*(u16 *)0x1fffe = 0;
	RUN("mov $0xbeef, %%ax; push %%ax; mov %%sp, %%bx; pop %%cx");
	check(*(u16 *)0x1fffe == 0xbeef && r.ebx == 0xfffe && r.ecx == 0xbeef && r.esp == 0, "push-wraps", "%x %x",
	      r.ebx, r.esp);
	reset();
	r.ss = 0x1000, r.ebx = 0;
	RUN("mov $0x200, %%sp; mov $0xffff, %%bp; mov (%%bp), %%al; mov (%%bp), %%ax");
	check_real_vector(12, "stack-segment-limit");
	check(r.sp == 0x200 - 6, "ss-fault-frame", "%x", r.sp);
}

static void transfers(void)
{
	reset();
	RUN("mov $1, %%ax; jmp 1f; mov $2, %%ax; 1: call 2f; jmp 3f; 2: mov $3, %%cx; ret; 3:");
	check(r.eax == 1 && r.ecx == 3 && r.esp == 0x5ff0, "near-call");
	reset();
	RUN("push $7; push $8; call 1f; jmp 2f; 1: ret $4; 2:");
	check(r.esp == 0x5ff0 && r.vector == 0xffff, "ret-imm", "%x", r.esp);
	reset();
	memcpy((void *)0x9000, "\x8c\xc8\xcb", 3);         /* mov %cs, %ax; lret */
	memcpy((void *)0x9010, "\x8c\xc8\x66\xcb", 4);     /* lretl */
	memcpy((void *)0x9020, "\x8c\xc8\xca\x04\x00", 5); /* lret $4 */
	RUN("lcall $0x8f0, $0x100");
	check(r.eax == 0x8f0 && r.esp == 0x5ff0 && r.vector == 0xffff, "far-call-immediate", "%x %x", r.eax, r.esp);
	reset();
	RUN("lcalll $0x900, $0x10");
	check(r.eax == 0x900 && r.esp == 0x5ff0 && r.vector == 0xffff, "far-call-immediate-32", "%x %x", r.eax, r.esp);
	reset();
	*(u32 *)data = 0x08f00100;
	RUN("lcall *0x1000");
	check(r.eax == 0x8f0 && r.esp == 0x5ff0 && r.vector == 0xffff, "far-call-memory", "%x %x", r.eax, r.esp);
	reset();
	*(u32 *)data = 0x110;
	*(u16 *)(data + 4) = 0x8f0;
	RUN("lcalll *0x1000");
	check(r.eax == 0x8f0 && r.esp == 0x5ff0 && r.vector == 0xffff, "far-call-memory-32", "%x %x", r.eax, r.esp);
	reset();
	RUN("push $1; push $2; lcall $0x902, $0");
	check(r.eax == 0x902 && r.esp == 0x5ff0 && r.vector == 0xffff, "far-return-imm", "%x %x", r.eax, r.esp);
	reset();
	*(u32 *)data = 0x00007e00;
	RUN("mov $5, %%ax; ljmp *0x1000; mov $6, %%ax");
	check(r.eax == 5 && r.vector == 0xffff, "far-jump-memory");
	reset();
	RUN("pushf; push %%cs; pushw $(1f - .Lreal%= + 0x8000); iret; ud2; 1: mov $9, %%cx");
	check(r.ecx == 9 && r.vector == 0xffff && r.esp == 0x5ff0, "iret", "%x", r.esp);
	reset();
	RUN("pushfl; pushl $0; pushl $0x8010; iretl; .org .Lreal%= + 0x10; mov $9, %%cx");
	check(r.ecx == 9 && r.vector == 0xffff && r.esp == 0x5ff0, "iretd", "%x", r.esp);
	reset();
	RUN("mov $3, %%cx; xor %%ax, %%ax; 1: inc %%ax; loop 1b; jcxz 2f; mov $99, %%ax; 2:");
	check(r.eax == 3 && r.ecx == 0, "loop");
	reset();
	RUN("mov $0x10003, %%ecx; xor %%ax, %%ax; 1: inc %%ax; loop 1b");
	check(r.eax == 3 && r.ecx == 0x10000, "loop-counts-cx", "%x %x", r.eax, r.ecx);
	reset();
	RUN("mov $0x10003, %%ecx; xor %%eax, %%eax; 1: inc %%eax; addr32 loop 1b");
	check(r.eax == 0x10003 && r.ecx == 0, "loop-a32-counts-ecx", "%x %x", r.eax, r.ecx);
	reset();
	RUN("mov $5, %%cx; 1: cmp $3, %%cx; loopne 1b");
	check(r.ecx == 2, "loopne", "%x", r.ecx);
	reset();
	RUN("mov $5, %%cx; xor %%ax, %%ax; 1: cmp $0, %%ax; loope 1b; mov $1, %%ax");
	check(r.ecx == 0 && r.eax == 1, "loope");
	reset();
	r.ecx = 0x10000;
	RUN("jcxz 1f; mov $1, %%ax; 1: jecxz 2f; mov $2, %%dx; 2:");
	check(r.eax == 0 && r.edx == 2, "jcxz-jecxz");
	reset();
	RUN("mov $0x12345, %%eax; jmp *%%eax");
	check(r.vector == 13, "jump-beyond-limit", "vector %x", r.vector);
	check(r.ip == CODE_AT + 6, "jump-beyond-limit-ip", "%x", r.ip);
	reset();
	RUN("pushl $0x10005; retl");
	check_real_vector(13, "return-beyond-limit");
	reset();
	RUN("ljmpl $0, $0x10005");
	check_real_vector(13, "far-jump-beyond-limit");
}

static void interrupts(void)
{
	u32 old = ((u32 *)0)[0x40];

	/* push %bp; mov %sp, %bp; mov 6(%bp), %dx; pushf; pop %cx; pop %bp; mov $0x77, %ax; iret */
	static const u8 handler[] = {0x55, 0x89, 0xe5, 0x8b, 0x56, 0x06, 0x9c, 0x59, 0x5d, 0xb8, 0x77, 0x00, 0xcf};
	memcpy((void *)0x9100, handler, sizeof(handler));
	((u32 *)0)[0x40] = 0x09000100;
	reset();
	r.flags |= CF | OF;
	RUN("sti; int $0x40; cli");
	check(r.vector == 0xffff && r.eax == 0x77 && r.esp == 0x5ff0, "int-n", "vector %x", r.vector);
	check((r.edx & 0xfff) == (0x202 | CF | OF), "int-pushes-flags", "%x", r.edx);
	check(!(r.ecx & 0x300), "int-clears-if-tf", "%x", r.ecx);
	check((r.flags & (CF | OF)) == (CF | OF), "iret-restores-flags");
	((u32 *)0)[0x40] = old;
	reset();
	RUN("nop; int3; nop");
	check(r.vector == 3 && r.ip == CODE_AT + 2, "int3-real", "vector %x ip %x", r.vector, r.ip);
	reset();
	r.flags |= OF;
	RUN("into");
	check_real_vector(4, "into-real");
	reset();
	RUN("into");
	check_end("into-without-of");
	reset();
	*(u16 *)data = 5, *(u16 *)(data + 2) = 10;
	RUN("mov $7, %%ax; bound %%ax, 0x1000; mov $10, %%ax; bound %%ax, 0x1000");
	check_end("bound-within-real");
	reset();
	RUN("mov $11, %%ax; bound %%ax, 0x1000");
	check_real_vector(5, "bound-beyond-real");
	reset();
	RUN("ud2");
	check_real_vector(6, "ud2-real");
	/* An IDT limit that leaves vector 0x40 out */
	reset();
	RUN("push $0; push $0; push $0xff; mov %%sp, %%bp; lidtw (%%bp); int $0x40");
	check_real_vector(13, "int-beyond-idt-limit");
	/* The IVT elsewhere */
	memcpy((void *)0xa000, (void *)0, 0x400);
	((u32 *)0xa000)[0x41] = 0x09000100;
	reset();
	RUN("pushl $0xa000; pushw $0x3ff; mov %%sp, %%bp; lidtw (%%bp); int $0x41; add $6, %%sp; mov %%ax, %%bx");
	check(r.ebx == 0x77 && r.esp == 0x5ff0, "ivt-moved", "%x %x", r.ebx, r.esp);
	/* Single step: the handler counts */
	static const u8 counter[] = {0x2e, 0xff, 0x06, 0x10, 0x10, 0xcf}; /* incw %cs:0x1010; iret */
	memcpy((void *)0x9200, counter, sizeof(counter));
	old = ((u32 *)0)[1];
	((u32 *)0)[1] = 0x9200;
	*(u16 *)0x1010 = 0;
	reset();
	RUN("pushf; orw $0x100, (%%esp); popf; nop; nop; mov %%ss, %%ax; mov %%ax, %%ss; nop; pushf; andw $~0x100, "
	    "(%%esp);"
	    "popf; nop");
	check(r.vector == 0xffff && *(u16 *)0x1010 == 7, "single-step-real", "%u", *(u16 *)0x1010);
	((u32 *)0)[1] = old;
}

static void memory(void)
{
	reset();
	memset(data, 0, 0x100);
	r.ds = 0x100, r.es = 0x101, r.fs = 0x102, r.gs = 0x103, r.ss = 0;
	RUN("movb $1, 0; movb $2, %%es:0; movb $3, %%fs:0; movb $4, %%gs:0; movb $5, %%ss:0x1040; movb %%cs:0x1040, "
	    "%%al");
	check(data[0] == 1 && data[0x10] == 2 && data[0x20] == 3 && data[0x30] == 4 && data[0x40] == 5 && r.eax == 5,
	      "segment-overrides");
	reset();
	r.ebx = 0x10, r.esi = 0x20, r.edi = 0x30, r.ebp = 0x1000;
	for (unsigned i = 0; i < 0x100; i++)
		data[i] = (u8)i;
	RUN("mov 0x1000(%%bx,%%si), %%al; mov 0x1000(%%bx,%%di), %%ah; mov 2(%%bp,%%si), %%cl; mov 3(%%bp,%%di), %%ch;"
	    "mov 0x1004(%%si), %%dl; mov 0x1005(%%di), %%dh; mov 0x1006(%%bx), %%bl; mov 7(%%bp), %%bh");
	check(r.eax == 0x4030 && r.ecx == 0x3322 && r.edx == 0x3524 && r.ebx == 0x0716, "addressing-16", "%x %x %x %x",
	      r.eax, r.ecx, r.edx, r.ebx);
	reset();
	r.ebx = 0x1010, r.esi = 2, r.ebp = 0x1020;
	RUN("mov (%%ebx,%%esi,8), %%al; mov 1(%%ebp,%%esi,4), %%ah; mov 0x1003, %%cl; addr32 mov 0x1004, %%ch");
	check(r.eax == 0x2920 && (r.ecx & 0xff00) == 0x0400, "addressing-32", "%x %x", r.eax, r.ecx);
	/* 16-bit offsets wrap */
	reset();
	r.ds = 0x100, r.ebx = 0xfff0;
	RUN("mov 0x20(%%bx), %%al");
	check(r.eax == 0x10, "offset-wraps", "%x", r.eax);
	reset();
	r.ebx = 0x10000;
	RUN("nop; mov (%%ebx), %%al");
	check_real_vector(13, "offset-beyond-limit");
	check(r.ip == CODE_AT + 1, "offset-beyond-limit-ip", "%x", r.ip);
	reset();
	r.ebx = 0xffff;
	RUN("mov (%%bx), %%al; mov (%%bx), %%ax");
	check_real_vector(13, "word-at-ffff");
	reset();
	r.ebx = 0xfffd;
	RUN("mov (%%bx), %%ax; mov (%%bx), %%eax");
	check_real_vector(13, "dword-at-fffd");
	reset();
	r.ebp = 0x10000;
	RUN("mov (%%ebp), %%al");
	check_real_vector(12, "ebp-beyond-limit");
	reset();
	r.ebp = 0x10000;
	RUN("mov %%ds:(%%ebp), %%al");
	check_real_vector(13, "ebp-override-beyond-limit");
	/* Above 1 MiB */
	*(u32 *)0x100010 = 0x12345678;
	reset();
	r.ds = 0xffff;
	RUN("mov 0x20, %%eax; movl $0x87654321, 0x20");
	check(r.eax == 0x12345678 && *(u32 *)0x100010 == 0x87654321, "above-1-mib", "%x", r.eax);
	/* Null and odd selectors are nothing special */
	reset();
	RUN("mov $3, %%ax; mov %%ax, %%es; mov %%es:0xfd0, %%cl; xor %%ax, %%ax; mov %%ax, %%fs; mov %%fs:0x1001, %%ch;"
	    "push $0x100; pop %%gs; mov %%gs:2, %%dl");
	check(r.es == 3 && r.fs == 0 && r.gs == 0x100 && r.edx == 2 && r.ecx == 0x0100, "segment-loads", "%x %x %x",
	      r.es, r.ecx, r.edx);
	reset();
	*(u32 *)(data + 0x80) = 0x01021234;
	*(u32 *)(data + 0x84) = 0x11223344;
	*(u16 *)(data + 0x88) = 0x105;
	RUN("les 0x1080, %%ax; lfs 0x1080, %%cx; lgs 0x1080, %%dx; lfsl 0x1084, %%esi; mov %%ds, %%bx; lds 0x1080, "
	    "%%di; mov %%bx, %%ds;"
	    "lssl 0x1084, %%ebp; mov %%ss, %%bx; xor %%bp, %%bp; mov %%bp, %%ss");
	check(r.eax == 0x1234 && r.ecx == 0x1234 && r.edx == 0x1234 && r.edi == 0x1234 && r.esi == 0x11223344 &&
	              r.es == 0x102 && r.fs == 0x105 && r.gs == 0x102 && r.ebx == 0x105,
	      "load-far-pointers", "%x %x %x %x", r.es, r.fs, r.gs, r.esi);
	reset();
	r.eax = 0xffff0005, r.ebx = 0x1000;
	RUN("xlat; mov $0x10, %%bx; add $0xff0, %%bx; mov %%al, %%ah; mov $0x33, %%al; xlat");
	check(r.eax == 0xffff0533, "xlat", "%x", r.eax);
	reset();
	RUN("mov 0x1001, %%al; mov 0x1002, %%cx; mov %%al, 0x1090; mov %%ax, 0x1092; mov 0x1004, %%eax; mov %%eax, "
	    "0x1094");
	check(r.eax == 0x07060504 && (r.ecx & 0xffff) == 0x0302 && data[0x90] == 1 &&
	              *(u32 *)(data + 0x94) == 0x07060504,
	      "mov-moffs", "%x", r.eax);
	reset();
	*(u64 *)(data + 0xa0) = 0x1122334455667788;
	r.eax = 0x55667788, r.edx = 0x11223344, r.ebx = 1, r.ecx = 2;
	RUN("cmpxchg8b 0x10a0; setz %%bl; cmpxchg8b 0x10a0; setz %%bh");
	check(*(u64 *)(data + 0xa0) == 0x0000000200000001 && r.ebx == 1 && r.eax == 1 && r.edx == 2, "cmpxchg8b",
	      "%x %x", r.ebx, r.eax);
	reset();
	memset(data + 0xb0, 0, 16);
	r.ebx = 0x10b8, r.eax = (u32)-33, r.ecx = 17;
	RUN("bts %%ax, (%%bx); bts %%cx, (%%bx); lock btsl $33, (%%bx)");
	check(*(u16 *)(data + 0xb8 - 6) == 0x8000 && *(u16 *)(data + 0xba) == 2 && *(u16 *)(data + 0xb8) == 2,
	      "bts-memory", "%x %x %x", *(u16 *)(data + 0xb2), *(u16 *)(data + 0xba), *(u16 *)(data + 0xb8));
	/* Code that changes the next instruction */
	reset();
	RUN("movb $0x42, 1f - .Lreal%= + 0x8001; 1: mov $0x11, %%al");
	check(r.eax == 0x42, "self-modified", "%x", r.eax);
	reset();
	RUN("mov $0x41, %%dl; mov $3, %%cx; 1: mov $0, %%al; add %%al, %%ah; mov %%dl, 1b - .Lreal%= + 0x8001; loop "
	    "1b");
	check(r.eax == 0x8241, "self-modified-loop", "%x", r.eax);
	/* Running off the end of the segment */
	u8 *end = (u8 *)0x2fffe;
	end[0] = end[1] = 0x90;
	reset();
	RUN("ljmp $0x2000, $0xfffe");
	check(r.vector == 13 && r.cs == 0x2000, "runs-beyond-segment", "vector %x at %x:%x", r.vector, r.cs, r.ip);
	end[0] = 0xb8; /* mov $imm16, %ax */
	reset();
	RUN("ljmp $0x2000, $0xfffe");
	check(r.vector == 13 && r.ip == 0xfffe, "insn-crosses-segment-end", "vector %x at %x:%x", r.vector, r.cs, r.ip);
}

static void strings(void)
{
	u8 *to = data + 0x100;

	for (unsigned i = 0; i < 0x100; i++)
		data[i] = (u8)i;
#define SETUP() (reset(), memset(to, 0xee, 0x100), r.esi = 0x1000, r.edi = 0x1100)
	SETUP();
	RUN("movsb; movsw; movsl");
	check(!memcmp(to, data, 7) && to[7] == 0xee && r.esi == 0x1007 && r.edi == 0x1107, "movs", "%x %x", r.esi,
	      r.edi);
	SETUP();
	r.ecx = 5;
	RUN("rep movsb");
	check(!memcmp(to, data, 5) && to[5] == 0xee && r.ecx == 0 && r.esi == 0x1005, "rep-movsb");
	SETUP();
	r.ecx = 0x10003;
	RUN("rep movsw");
	check(!memcmp(to, data, 6) && to[6] == 0xee && r.ecx == 0x10000, "rep-movsw-counts-cx", "%x", r.ecx);
	SETUP();
	r.ecx = 3;
	RUN("addr32 rep movsl");
	check(!memcmp(to, data, 12) && to[12] == 0xee && r.edi == 0x110c, "rep-movsd-a32");
	SETUP();
	RUN("rep movsb");
	check(to[0] == 0xee && r.esi == 0x1000, "rep-count-0");
	SETUP();
	r.esi = 0x1003, r.edi = 0x1103, r.ecx = 4;
	RUN("std; rep movsb; cld");
	check(!memcmp(to, data, 4) && to[4] == 0xee && r.esi == 0xfff && r.edi == 0x10ff, "rep-movsb-down", "%x %x",
	      r.esi, r.edi);
	SETUP();
	r.edi = 0x1106, r.esi = 0x1006, r.ecx = 4;
	RUN("std; rep movsw; cld");
	check(!memcmp(to, data, 8) && r.edi == 0x10fe, "rep-movsw-down");
	SETUP();
	r.es = 0x110, r.edi = 0, r.fs = 0x100, r.esi = 8, r.ecx = 4;
	RUN("rep movsb %%fs:(%%si), %%es:(%%di)");
	check(!memcmp(to, data + 8, 4), "rep-movsb-fs");
	SETUP();
	r.eax = 0x11223344, r.ecx = 3;
	RUN("stosb; stosw; rep stosl");
	check(to[0] == 0x44 && *(u16 *)(to + 1) == 0x3344 && *(u32 *)(to + 3) == 0x11223344 &&
	              *(u32 *)(to + 11) == 0x11223344 && to[15] == 0xee,
	      "stos");
	SETUP();
	RUN("lodsb; mov %%al, %%cl; lodsw; mov %%ax, %%dx; lodsl");
	check((r.ecx & 0xff) == 0 && (r.edx & 0xffff) == 0x0201 && r.eax == 0x06050403, "lods", "%x %x %x", r.ecx,
	      r.edx, r.eax);
	SETUP();
	memcpy(to, data, 16);
	to[9] = 0;
	r.ecx = 16;
	RUN("repe cmpsb");
	check(r.ecx == 6 && r.esi == 0x100a && r.edi == 0x110a && !(r.flags & (ZF | CF)), "repe-cmpsb", "%x %x", r.ecx,
	      r.flags);
	SETUP();
	memcpy(to, data, 16);
	r.ecx = 4;
	RUN("repe cmpsl");
	check(r.ecx == 0 && (r.flags & ZF), "repe-cmpsd-equal");
	SETUP();
	r.ecx = 0, r.flags |= ZF | CF;
	RUN("repe cmpsb");
	check((r.flags & (ZF | CF)) == (ZF | CF), "repe-cmpsb-count-0-keeps-flags");
	SETUP();
	r.edi = 0x1000, r.eax = 0x20, r.ecx = 0x100;
	RUN("repne scasb");
	check(r.edi == 0x1021 && r.ecx == 0x100 - 0x21 && (r.flags & ZF), "repne-scasb", "%x %x", r.edi, r.ecx);
	SETUP();
	r.edi = 0x1000, r.eax = 0x2120, r.ecx = 0x80;
	RUN("repne scasw");
	check(r.edi == 0x1022 && (r.flags & ZF), "repne-scasw", "%x", r.edi);
	SETUP();
	r.eax = 0xeeeeeeee, r.ecx = 8;
	RUN("repe scasl");
	check(r.edi == 0x1120 && r.ecx == 0 && (r.flags & ZF), "repe-scasd");
	/* di wraps within the segment */
	reset();
	r.es = 0x2000, r.edi = 0xfffe, r.ecx = 4, r.eax = 0x55;
	memset((void *)0x20000, 0, 4), memset((void *)0x2fffc, 0, 4);
	RUN("rep stosb");
	check(*(u16 *)0x2fffe == 0x5555 && *(u16 *)0x20000 == 0x5555 && r.edi == 2 && r.vector == 0xffff, "stosb-wraps",
	      "%x %x", r.edi, r.vector);
	reset();
	r.es = 0x2000, r.edi = 0xfffd, r.ecx = 4, r.eax = 0x6666;
	RUN("rep stosw");
	check(r.vector == 13 && r.ecx == 3 && r.edi == 0xffff && *(u16 *)0x2fffd == 0x6666, "stosw-at-end", "%x %x %x",
	      r.vector, r.ecx, r.edi);
}

static void ports(void)
{
	reset();
	RUN("mov $0x12345678, %%eax; mov $0xe0, %%dx; outl %%eax, %%dx; inb $0xe0, %%al; mov %%al, %%cl; inw $0xe0, "
	    "%%ax; mov %%ax, %%bx;"
	    "inl %%dx, %%eax");
	check(r.eax == 0x12345678 && r.ecx == 0x78 && r.ebx == 0x5678, "in-out", "%x %x %x", r.eax, r.ecx, r.ebx);
	reset();
	*(u32 *)data = 0xa1b2c3d4;
	r.esi = 0x1000, r.edi = 0x1010;
	RUN("mov $0xe0, %%dx; outsl; insl; insw; mov $3, %%cx; rep insb");
	check(*(u32 *)(data + 16) == 0xa1b2c3d4 && *(u16 *)(data + 20) == 0xc3d4 && data[22] == 0xd4 &&
	              data[24] == 0xd4 && r.edi == 0x1019 && r.esi == 0x1004,
	      "ins-outs", "%x %x", *(u32 *)(data + 16), r.edi);
}

static void system(void)
{
	reset();
	RUN("smsw %%ax; smsw %%ecx; mov %%cr0, %%edx");
	check((r.eax & 1) == 0 && (r.ecx ^ r.edx) << 16 == 0 && !(r.edx & 1), "smsw", "%x %x", r.ecx, r.edx);
	reset();
	RUN("sgdtw 0x1000; sidtw 0x1008; sgdtl 0x1010");
	check(*(u32 *)(data + 0x12) == (u32)gdt && *(u16 *)(data + 8) == 0x3ff && *(u32 *)(data + 10) == 0,
	      "sgdt-sidt");
	reset();
	RUN("xor %%eax, %%eax; cpuid; mov %%ebx, %%esi");
	u32 v[4];
	cpuid(0, 0, v);
	check(r.eax == v[0] && r.esi == v[1], "cpuid-real");
	reset();
	RUN("sldt %%ax");
	check_real_vector(6, "sldt-real-ud");
	reset();
	RUN("str %%ax");
	check_real_vector(6, "str-real-ud");
	reset();
	RUN("lar %%ax, %%cx");
	check_real_vector(6, "lar-real-ud");
	reset();
	RUN("lsl %%ax, %%cx");
	check_real_vector(6, "lsl-real-ud");
	reset();
	RUN("verr %%ax");
	check_real_vector(6, "verr-real-ud");
	reset();
	RUN("ltr %%ax");
	check_real_vector(6, "ltr-real-ud");
	reset();
	RUN("arpl %%ax, %%cx");
	check_real_vector(6, "arpl-real-ud");
	reset();
	RUN("mov %%ax, %%ax; .byte 0x8e, 0xc8"); /* mov %ax, %cs */
	check_real_vector(6, "mov-cs-ud");
	reset();
	RUN(".byte 0xf0; add $1, %%ax; nop");
	check_real_vector(6, "lock-register-ud");
	reset();
	RUN(".fill 15, 1, 0x2e; nop");
	check_real_vector(13, "sixteen-bytes-real");
	reset();
	RUN("mov $0x10, %%ecx; rdmsr; rdtsc; mov %%cr4, %%eax; mov %%cr3, %%eax; clts; wbinvd");
	check_end("privileged-in-real-mode");
	reset();
	r.eax = 0x3f, r.ecx = 5;
	RUN("fninit; fld1; fld1; faddp; fistps 0x1000; fnstsw %%ax; mov 0x1000, %%cx");
	check(r.ecx == 2, "x87-real", "%x", r.ecx);
	reset();
	RUN("movd %%esp, %%xmm0; pshufd $0, %%xmm0, %%xmm0; movups %%xmm0, 0x1001; mov 0x100d, %%eax");
	check(r.eax == 0x5ff0, "sse-real", "%x", r.eax);
}

/* Into protected mode and back with the limits kept. */
static void unreal(void)
{
	*(u32 *)0x200000 = 0x600df00d;
	reset();
	RUN("mov %%cr0, %%eax; or $1, %%al; mov %%eax, %%cr0; mov $0x10, %%bx; mov %%bx, %%ds; and $~1, %%al; mov "
	    "%%eax, %%cr0;"
	    "mov $0x200000, %%esi; mov (%%esi), %%ecx; xor %%bx, %%bx; mov %%bx, %%ds; mov (%%esi), %%edx");
	check(r.ecx == 0x600df00d && r.edx == 0x600df00d && r.vector == 0xffff, "unreal-mode", "%x %x %x", r.ecx, r.edx,
	      r.vector);
	reset();
	RUN("mov %%cr0, %%eax; or $1, %%al; mov %%eax, %%cr0; mov $0x10, %%bx; mov %%bx, %%es; and $~1, %%al; mov "
	    "%%eax, %%cr0;"
	    "mov $0x200000, %%edi; mov $0x1000, %%esi; mov $4, %%ecx; addr32 rep movsb; xor %%bx, %%bx; mov %%bx, "
	    "%%es");
	check(r.edi == 0x200004 && r.vector == 0xffff && *(u32 *)0x200000 == *(u32 *)data, "unreal-movs", "%x", r.edi);
	/* 16-bit protected mode */
	reset();
	RUN("mov %%cr0, %%eax; or $1, %%al; mov %%eax, %%cr0; ljmp $0x48, $(1f - .Lreal%= + 0x8000); 1: mov %%cs, "
	    "%%cx; mov $0x10, %%bx;"
	    "mov %%bx, %%ds; mov $0x200000, %%esi; mov (%%esi), %%edx; mov $0x40, %%bx; mov %%bx, %%ds; mov %%cr0, "
	    "%%eax; and $~1, %%al; mov %%eax, %%cr0;"
	    "ljmp $0, $(2f - .Lreal%= + 0x8000); 2: mov %%cs, %%ax");
	check(r.ecx == 0x48 && r.edx == *(u32 *)0x200000 && (r.eax & 0xffff) == 0 && r.vector == 0xffff, "protected-16",
	      "%x %x %x", r.ecx, r.edx, r.vector);
	reset();
	RUN("mov %%cr0, %%eax; or $1, %%al; lmsw %%ax; mov $0x10, %%bx; mov %%bx, %%gs; mov %%cr0, %%ecx; and $~1, "
	    "%%al; lmsw %%ax;"
	    "mov %%cr0, %%edx; and $~1, %%dl; mov %%edx, %%cr0");
	check((r.ecx & 1) && r.vector == 0xffff, "lmsw-sets-pe-only", "%x", r.ecx);
}

void test(void)
{
	real_init();
	arithmetic();
	decimal();
	divide_errors();
	stack();
	transfers();
	interrupts();
	memory();
	strings();
	ports();
	system();
	unreal();
}
