/* Segments of 32-bit protected mode: loads, limits, types, far transfers, call gates, LAR and its kin.
 * SDM vol. 3 ch. 3, 5. guest: bits=32 */
#include "lib/guest.h"

#define barrier() asm volatile("" : : : "memory")
#define SEG       0x50
#define SEG2      0x58
#define LDT       0x60
#define GATE      0x68
#define RING1     0x70 /* code of DPL 1 */
#define RING1D    0x78
#define CONF      0x80
#define LOW       0x88 /* code, 16 bits, based at low16 */

static u64 ldt[4];
static u8 area[0x10000] __attribute__((aligned(4096)));

static void load_es(u16 selector)
{
	TRY("mov %0, %%es", : "r"((u32)selector) : "memory");
}
static void load_ss(u16 selector)
{
	TRY("mov %0, %%ss", : "r"((u32)selector) : "memory");
}
static void reload(void)
{
	asm volatile("mov %w0, %%ds; mov %w0, %%es; mov %w0, %%fs; mov %w0, %%gs; mov %w0, %%ss" : : "r"(DATA));
}
/* A byte etc. at offset in es. DS stays usable. */
#define ACCESS(insn, offset) TRY(insn, : "r"(offset) : "eax", "memory")

/* Exception entries save and restore ES, so it is not to hold what changes. */
static void seg_set(u32 base, u32 limit, u8 access, u8 flags)
{
	reload();
	gdt_set(SEG, base, limit, access, flags);
}

static bool accessed(unsigned selector)
{
	barrier();
	return gdt[selector / 8] >> 40 & 1;
}

static void loads(void)
{
	load_es(0);
	check_fault(-1, 0, "null-es");
	ACCESS("movb %%es:(%0), %%al", area);
	check_fault(13, 0, "null-es-access");
	load_es(3);
	check_fault(-1, 0, "null-es-rpl-3");
	load_ss(0);
	check_fault(13, 0, "null-ss");
	load_ss(3);
	check_fault(13, 0, "null-ss-rpl-3");
	load_es(0x200);
	check_fault(13, 0x200, "beyond-gdt");
	load_es(0x1f8 + 3);
	check_fault(13, 0x1f8, "empty-descriptor");
	load_es(0x14);
	check_fault(13, 0x14, "no-ldt");
	load_ss(0x14);
	check_fault(13, 0x14, "ss-no-ldt");
	load_es(GDT_TSS);
	check_fault(13, GDT_TSS, "system-descriptor");
	load_ss(GDT_TSS);
	check_fault(13, GDT_TSS, "ss-system-descriptor");
	load_ss(CODE32);
	check_fault(13, CODE32, "ss-code");
	load_ss(DATA | 1);
	check_fault(13, DATA, "ss-rpl");
	load_ss(USERDATA);
	check_fault(13, USERDATA & ~3, "ss-dpl-rpl");
	load_ss(USERDATA & ~3);
	check_fault(13, USERDATA & ~3, "ss-dpl");
	load_es(DATA | 3);
	check_fault(13, DATA, "rpl-above-dpl");
	load_es(USERDATA);
	check_fault(-1, 0, "user-data-from-0");
	load_es(CODE32);
	check_fault(-1, 0, "readable-code");
	ACCESS("movb %%es:(%0), %%al", area);
	check_fault(-1, 0, "readable-code-read");
	ACCESS("movb %%al, %%es:(%0)", area);
	check_fault(13, 0, "readable-code-write");
	seg_set(0, 0xfffff, 0x99, 0xc);
	load_es(SEG);
	check_fault(13, SEG, "execute-only");
	seg_set(0, 0xfffff, 0x9d, 0xc);
	load_es(SEG);
	check_fault(13, SEG, "execute-only-conforming");
	seg_set(0, 0xfffff, 0x9e, 0xc);
	load_es(SEG | 3);
	check_fault(-1, 0, "conforming-any-rpl");
	check(accessed(SEG), "sets-accessed");
	seg_set(0, 0xfffff, 0x12, 0xc);
	load_es(SEG);
	check_fault(11, SEG, "not-present");
	load_ss(SEG);
	check_fault(12, SEG, "ss-not-present");
	check(!accessed(SEG), "fault-keeps-accessed");
	seg_set(0, 0xfffff, 0x10, 0xc);
	load_ss(SEG);
	check_fault(13, SEG, "ss-read-only-before-present");
	seg_set(0, 0xfffff, 0x90, 0xc);
	load_ss(SEG);
	check_fault(13, SEG, "ss-read-only");
	load_es(SEG);
	ACCESS("movb %%es:(%0), %%al", area);
	check_fault(-1, 0, "read-only-read");
	ACCESS("movb %%al, %%es:(%0)", area);
	check_fault(13, 0, "read-only-write");
	ACCESS("lock incb %%es:(%0)", area);
	check_fault(13, 0, "read-only-rmw");
	seg_set(0, 0xfffff, 0x92, 0xc);
	load_es(SEG);
	check(accessed(SEG), "data-accessed");
	seg_set(0, 0xfffff, 0x92, 0xc);
	load_ss(SEG);
	check_fault(-1, 0, "ss-load");
	check(accessed(SEG), "ss-accessed");
	reload();
	/* A failed load leaves the register */
	load_es(USERDATA);
	load_es(0x1000);
	u16 es;
	asm volatile("mov %%es, %0" : "=r"(es));
	check(es == USERDATA, "failed-load-keeps", "%x", es);
	/* The cached descriptor counts, not memory */
	seg_set((u32)area, 0xfff, 0x92, 4);
	load_es(SEG);
	gdt_set(SEG, 0, 0, 0, 0);
	area[5] = 0x77;
	u8 v;
	asm volatile("movb %%es:5, %0" : "=q"(v));
	reload();
	check(v == 0x77, "descriptor-is-cached", "%x", v);
	/* push and pop */
	seg_set((u32)area, 0xfff, 0x92, 4);
	TRY("push %0; pop %%es", : "r"(SEG) : "memory");
	check_fault(-1, 0, "pop-es");
	ulong sp, sp2;
	asm volatile("mov %%esp, %0; push %%ds; mov %%esp, %1; pop %%ds" : "=&r"(sp), "=&r"(sp2) : : "memory");
	check(sp - sp2 == 4, "push-ds-4");
	asm volatile("mov %%esp, %0; pushw %%ds; mov %%esp, %1; popw %%ds" : "=&r"(sp), "=&r"(sp2) : : "memory");
	check(sp - sp2 == 2, "pushw-ds-2");
	static volatile ulong before;
	asm volatile("mov %%esp, %0; push $0x1000; movl $1f, fault_resume; pop %%es; 1: mov %%esp, %1; mov %0, %%esp; "
	             "movl $0, fault_resume"
	             : "+m"(before), "=&r"(sp2)
	             :
	             : "memory");
	check(sp2 == before - 4, "failed-pop-keeps-esp", "%lx %lx", sp2, before);
	check_fault(13, 0x1000, "failed-pop");
	static struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) far = {0x12345678, SEG};
	u32 off = 0;
	TRY("les %1, %0", "=r"(off) : "m"(far));
	check(fault.vector == -1 && off == 0x12345678, "les");
	far.selector = 0x1000;
	off = 1;
	TRY("lfs %1, %0", "+r"(off) : "m"(far));
	check(fault.vector == 13 && fault.error == 0x1000 && off == 1, "lfs-fails", "%d %x", fault.vector, off);
	far.selector = 0;
	TRY("lss %1, %0", "+r"(off) : "m"(far));
	check_fault(13, 0, "lss-null");
	TRY(".byte 0xc5, 0xc0");
	check_fault(6, 0, "lds-register");
	reload();
}

static void limits(void)
{
	for (unsigned i = 0; i < sizeof(area); i++)
		area[i] = 0;
	seg_set((u32)area, 0x0fff, 0x92, 4);
	load_es(SEG);
	ACCESS("movb %%es:(%0), %%al", 0xfff);
	check_fault(-1, 0, "limit-last-byte");
	ACCESS("movb %%es:(%0), %%al", 0x1000);
	check_fault(13, 0, "limit-beyond");
	ACCESS("movw %%es:(%0), %%ax", 0xfff);
	check_fault(13, 0, "limit-word-across");
	ACCESS("movl %%es:(%0), %%eax", 0xffd);
	check_fault(13, 0, "limit-dword-across");
	ACCESS("movl %%es:(%0), %%eax", 0xffc);
	check_fault(-1, 0, "limit-dword");
	ACCESS("movl %%es:(%0), %%eax", 0xffffffff);
	check_fault(13, 0, "limit-wraps");
	ACCESS("movdqu %%es:(%0), %%xmm0", 0xff1);
	check_fault(13, 0, "limit-16-across");
	ACCESS("movdqu %%es:(%0), %%xmm0", 0xff0);
	check_fault(-1, 0, "limit-16");
	ACCESS("fxsave %%es:(%0)", 0xe10);
	check_fault(13, 0, "limit-fxsave");
	seg_set((u32)area, 0xf, 0x92, 0xc);
	load_es(SEG);
	ACCESS("movb %%es:(%0), %%al", 0xffff);
	check_fault(-1, 0, "limit-granularity");
	ACCESS("movb %%es:(%0), %%al", 0x10000);
	check_fault(13, 0, "limit-granularity-beyond");
	/* Expand-down */
	seg_set((u32)area, 0x0fff, 0x96, 4);
	load_es(SEG);
	ACCESS("movb %%es:(%0), %%al", 0xfff);
	check_fault(13, 0, "down-limit");
	ACCESS("movb %%es:(%0), %%al", 0x1000);
	check_fault(-1, 0, "down-first");
	ACCESS("movl %%es:(%0), %%eax", 0xffd);
	check_fault(13, 0, "down-dword-across");
	ACCESS("movl %%es:(%0), %%eax", 0x20000);
	check_fault(-1, 0, "down-32-top");
	seg_set((u32)area, 0x0fff, 0x96, 0);
	load_es(SEG);
	ACCESS("movb %%es:(%0), %%al", 0xffff);
	check_fault(-1, 0, "down-16-top");
	ACCESS("movb %%es:(%0), %%al", 0x10000);
	check_fault(13, 0, "down-16-beyond");
	ACCESS("movw %%es:(%0), %%ax", 0xffff);
	check_fault(13, 0, "down-16-across");
	/* String instructions stop at the limit */
	seg_set((u32)area, 0x0fff, 0x92, 4);
	load_es(SEG);
	u32 di = 0xff0, cx = 0x40;
	TRY("rep stosb", "+D"(di), "+c"(cx) : "a"(0x5a) : "memory");
	check(fault.vector == 13 && di == 0x1000 && cx == 0x30 && area[0xfff] == 0x5a && area[0x1000] == 0,
	      "stosb-to-limit", "%d %x %x", fault.vector, di, cx);
	u32 si = 0xffa;
	cx = 4;
	TRY("rep lodsl %%es:(%%esi), %%eax", "+S"(si), "+c"(cx) : : "eax", "memory");
	check(fault.vector == 13 && si == 0xffe && cx == 3, "lodsd-to-limit", "%d %x %x", fault.vector, si, cx);
	/* Stack segment: #SS(0). Its base is 0, as the handler goes on with it. */
	static u32 saved;
	gdt_set(SEG2, 0, 0x4ff, 0x92, 0xc);
	asm volatile("mov %w0, %%ss" : : "r"(SEG2) : "memory");
	TRY("mov %%ss:(%0), %%eax", : "r"(0x4ffffc) : "eax");
	check_fault(-1, 0, "stack-limit-last");
	TRY("mov %%ss:(%0), %%eax", : "r"(0x4ffffd) : "eax");
	check_fault(12, 0, "stack-limit");
	static u32 ebp;
	TRY("mov %%ebp, %0; mov %1, %%ebp; mov (%%ebp), %%eax", "=m"(ebp) : "r"(0x500000) : "eax");
	asm volatile("mov %0, %%ebp" : : "m"(ebp));
	check_fault(12, 0, "stack-limit-by-ebp");
	TRY("mov %%ebp, %0; mov %1, %%ebp; mov %%ds:(%%ebp), %%eax", "=m"(ebp) : "r"(0x500000) : "eax");
	asm volatile("mov %0, %%ebp" : : "m"(ebp));
	check_fault(-1, 0, "ebp-with-ds");
	TRY("mov 0x200000(%%esp), %%eax", : : "eax");
	check_fault(12, 0, "stack-limit-by-esp");
	reload();
	gdt_set(SEG2, (u32)area, 0xffff, 0x92, 0);
	/* 16-bit stack: only sp moves */
	u32 esp;
	asm volatile("mov %%esp, %0; mov %w2, %%ss; mov $0x12340800, %%esp; push %%eax; push %%eax; popw %%ax; mov "
	             "%%esp, %1; mov %w3, %%ss; mov %0, %%esp"
	             : "+m"(saved), "=&r"(esp)
	             : "b"(SEG2), "d"(DATA)
	             : "eax", "memory");
	check(esp == 0x123407fa, "stack-16", "%x", esp);
	reload();
}

static void ldts(void)
{
	u16 v;

	ldt[1] = 0x00cf92000000ffff;
	ldt[2] = 0x00cf9a000000ffff;
	gdt_set(LDT, (u32)ldt, 0x17, 0x82, 0);
	TRY("lldt %w0", : "r"(LDT));
	check_fault(-1, 0, "lldt");
	asm volatile("sldt %0" : "=r"(v));
	check(v == LDT, "sldt");
	load_es(0x0c);
	check_fault(-1, 0, "ldt-load");
	barrier();
	check(ldt[1] >> 40 & 1, "ldt-accessed");
	load_es(0x1c);
	check_fault(13, 0x1c, "ldt-beyond");
	load_ss(0x0c);
	check_fault(-1, 0, "ldt-ss");
	asm volatile("lcall $0x14, $1f; jmp 2f; 1: lret; 2:" : : : "memory");
	check(1, "ldt-code");
	reload();
	TRY("lldt %w0", : "r"(DATA));
	check_fault(13, DATA, "lldt-data");
	TRY("lldt %w0", : "r"(LDT | 4));
	check_fault(13, LDT | 4, "lldt-in-ldt");
	TRY("lldt %w0", : "r"(0x1000));
	check_fault(13, 0x1000, "lldt-beyond");
	gdt_set(LDT, (u32)ldt, 0x17, 0x02, 0);
	TRY("lldt %w0", : "r"(LDT));
	check_fault(11, LDT, "lldt-not-present");
	TRY("ltr %w0", : "r"(0));
	check_fault(13, 0, "ltr-null");
	TRY("ltr %w0", : "r"(GDT_TSS));
	check_fault(13, GDT_TSS, "ltr-busy");
	TRY("ltr %w0", : "r"(DATA));
	check_fault(13, DATA, "ltr-data");
	seg_set((u32)&tss, 0x67, 0x09, 0);
	TRY("ltr %w0", : "r"(SEG));
	check_fault(11, SEG, "ltr-not-present");
	TRY("lldt %w0", : "r"(3));
	check_fault(-1, 0, "lldt-null");
	load_es(0x0c);
	check_fault(13, 0x0c, "ldt-gone");
}

/* ---- LAR, LSL, VERR, VERW, ARPL ---- */

static bool lar(u16 s, u32 *v)
{
	u8 z;
	asm volatile("lar %2, %0; setz %1" : "+r"(*v), "=q"(z) : "r"((u32)s) : "cc");
	return z;
}
static bool lsl(u16 s, u32 *v)
{
	u8 z;
	asm volatile("lsl %2, %0; setz %1" : "+r"(*v), "=q"(z) : "r"((u32)s) : "cc");
	return z;
}
static bool verr(u16 s)
{
	u8 z;
	asm volatile("verr %w1; setz %0" : "=q"(z) : "r"(s) : "cc");
	return z;
}
static bool verw(u16 s)
{
	u8 z;
	asm volatile("verw %w1; setz %0" : "=q"(z) : "r"(s) : "cc");
	return z;
}

static void looks(void)
{
	u32 v = 0x5a5a5a5a;

	check(lar(CODE32, &v) && v == 0x00c09b00, "lar-code", "%x", v);
	v = 0x5a5a5a5a;
	check(!lar(0, &v) && v == 0x5a5a5a5a, "lar-null", "%x", v);
	check(!lar(0x1000, &v) && !lar(DATA | 3, &v), "lar-refuses");
	check(lsl(DATA, &v) && v == 0xffffffff, "lsl", "%x", v);
	check(lsl(DATA16, &v) && v == 0xffff, "lsl-16", "%x", v);
	seg_set(0, 0x12345, 0x92, 8);
	check(lsl(SEG, &v) && v == 0x12345fff, "lsl-granularity", "%x", v);
	u32 w = 0x5a5a5a5a;
	asm volatile("lsl %w1, %w0" : "+r"(w) : "r"(SEG) : "cc");
	check(w == 0x5a5a5fff, "lsl-word", "%x", w);
	w = 0x5a5a5a5a;
	asm volatile("lar %w1, %w0" : "+r"(w) : "r"(SEG) : "cc");
	check(w == 0x5a5a9200, "lar-word", "%x", w);
	/* Which system types */
	u32 lars = 0, lsls = 0, verrs = 0;
	for (unsigned type = 0; type < 16; type++) {
		seg_set(0, 0x100, (u8)(0x80 | type), 0);
		lars |= (u32)lar(SEG, &v) << type;
		lsls |= (u32)lsl(SEG, &v) << type;
		verrs |= (u32)(verr(SEG) || verw(SEG)) << type;
	}
	check(lars == 0x1a3e, "lar-types", "%x", lars);
	check(lsls == 0x0a0e, "lsl-types", "%x", lsls);
	check(!verrs, "verr-types", "%x", verrs);
	/* Segments, present or not */
	u32 r = 0, wr = 0;
	for (unsigned type = 0; type < 16; type++) {
		seg_set(0, 0x100, (u8)(0x10 | type), 0);
		r |= (u32)verr(SEG) << type;
		wr |= (u32)verw(SEG) << type;
	}
	check(r == 0xccff && wr == 0xcc, "verr-verw", "%x %x", r, wr);
	seg_set(0, 0x100, 0x92, 0);
	check(!verr(SEG | 1) && !verw(SEG | 3) && verw(SEG), "verw-rpl");
	seg_set(0, 0x100, 0x9e, 0);
	check(verr(SEG | 3) && lar(SEG | 3, &v) && lsl(SEG | 3, &v), "conforming-any-rpl-looks");
	u16 a = 0x10;
	u8 z;
	asm volatile("arpl %2, %0; setz %1" : "+r"(a), "=q"(z) : "r"((u16)0x23) : "cc");
	check(a == 0x13 && z, "arpl", "%x", a);
	asm volatile("arpl %2, %0; setz %1" : "+r"(a), "=q"(z) : "r"((u16)0x22) : "cc");
	check(a == 0x13 && !z, "arpl-keeps", "%x", a);
	a = 0;
	asm volatile("stc; verr %w1; setc %0" : "=q"(z) : "r"(0) : "cc");
	check(z, "verr-keeps-cf");
}

/* ---- far transfers ---- */

#define TRY_FAR(op, selector, offset)                         \
	do {                                                  \
		static struct {                               \
			u32 o;                                \
			u16 s;                                \
		} __attribute__((packed)) far_;               \
		far_.o = (u32)(offset);                       \
		far_.s = (selector);                          \
		TRY(op " *%0", : "m"(far_) : "memory", "cc"); \
	} while (0)

extern char far_return[], gate_target[], gate_target16[], ring1_code[], ring1_es[], low16[], low16_call[];
volatile u32 gate_cs, gate_ss, gate_esp, gate_words[8];
asm(".pushsection .text\n"
    "far_return: mov %cs, gate_cs; lret\n"
    /* A call gate's target with two parameters */
    "gate_target: push %eax; mov %cs, %eax; mov %eax, gate_cs; mov %ss, %eax; mov %eax, gate_ss; mov %esp, gate_esp; "
    "push %ecx; push %esi; push %edi; push %ds; push %es;"
    "	mov $0x10, %ecx; mov %ecx, %ds; mov %ecx, %es; lea 24(%esp), %esi; mov $gate_words, %edi; mov $8, %ecx; cld; "
    "rep movsl;"
    "	pop %es; pop %ds; pop %edi; pop %esi; pop %ecx; pop %eax; lret $8\n"
    "ring1_code: mov %cs, gate_cs; mov %ss, gate_ss; lret\n"
    "ring1_es: mov $0x79, %eax; mov %eax, %es; lret\n"
    "	.balign 16\n"
    ".code16\n"
    "low16: lretw\n"
    "	.org low16 + 6\n"
    "low16_call: mov $0x1234, %bx; lretl\n"
    "gate_target16: ljmpl $8, $1f\n"
    ".code32\n"
    "1:	mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %esp, %esi; mov $gate_words, %edi; mov $4, %ecx; cld; rep "
    "movsl;"
    "	mov %esp, gate_esp; jmp user_return\n"
    ".popsection");

static void gate_set(unsigned at, u16 selector, u32 offset, u8 type_dpl, u8 count)
{
	gdt[at / 8] = (offset & 0xffff) | (u64)selector << 16 | (u64)count << 32 | (u64)type_dpl << 40 |
	              (u64)(offset >> 16) << 48;
	barrier();
}

static void transfers(void)
{
	u32 esp, esp2;

	TRY("lcall %0, $far_return", : "i"(CODE32) : "memory");
	check_fault(-1, 0, "far-call");
	TRY("lcall %0, $far_return", : "i"(0) : "memory");
	check_fault(13, 0, "far-call-null");
	TRY("ljmp %0, $far_return", : "i"(3) : "memory");
	check_fault(13, 0, "far-jump-null");
	TRY("ljmp %0, $far_return", : "i"(0x1000) : "memory");
	check_fault(13, 0x1000, "far-jump-beyond");
	TRY("ljmp %0, $far_return", : "i"(DATA) : "memory");
	check_fault(13, DATA, "far-jump-data");
	TRY("lcall %0, $far_return", : "i"(USER32) : "memory");
	check_fault(13, USER32 & ~3, "far-call-user");
	TRY("ljmp %0, $far_return", : "i"(CODE32 | 1) : "memory");
	check_fault(13, CODE32, "far-jump-rpl");
	seg_set(0, 0xfffff, 0x1a, 0xc);
	TRY("ljmp %0, $far_return", : "i"(SEG) : "memory");
	check_fault(11, SEG, "far-jump-not-present");
	seg_set(0, 0xff, 0x9a, 4);
	TRY("ljmp %0, $far_return", : "i"(SEG) : "memory");
	check_fault(13, 0, "far-jump-limit");
	seg_set(0, 0xfffff, 0x9a, 0xc);
	TRY("lcall %0, $far_return", : "i"(SEG) : "memory");
	check(fault.vector == -1 && (gate_cs & 0xffff) == SEG, "far-call-segment", "%x", gate_cs);
	check(accessed(SEG), "far-call-accessed");
	gdt_set(CONF, 0, 0xfffff, 0x9e, 0xc);
	TRY("lcall %0, $far_return", : "i"(CONF | 3) : "memory");
	check(fault.vector == -1 && (gate_cs & 0xffff) == CONF, "conforming-rpl-is-cpl", "%d %x", fault.vector,
	      gate_cs);
	gdt_set(CONF, 0, 0xfffff, 0xfe, 0xc);
	TRY("lcall %0, $far_return", : "i"(CONF) : "memory");
	check_fault(13, CONF, "conforming-dpl-above-cpl");
	TRY_FAR("lcall", CODE32, far_return);
	check_fault(-1, 0, "far-call-memory");
	asm volatile("mov %%esp, %0; push %%cs; call far_return; mov %%esp, %1" : "=&r"(esp), "=&r"(esp2) : : "memory");
	check(esp == esp2, "lret");
	asm volatile("mov %%esp, %0; push $1; push $2; push %%cs; push $1f; lret $8; ud2; 1: mov %%esp, %1"
	             : "=&r"(esp), "=&r"(esp2)
	             :
	             : "memory");
	check(esp == esp2, "lret-imm");
}
/* What a faulting LRET leaves on the stack is dropped here. */
#define TRY_RETURN(pushes, insn)                                                        \
	do {                                                                            \
		static u32 esp_;                                                        \
		fault.vector = -1;                                                      \
		asm volatile("mov %%esp, %0; movl $1f, fault_resume; " pushes "; " insn \
		             "\n1: mov %0, %%esp; movl $0, fault_resume"                \
		             : "+m"(esp_)                                               \
		             :                                                          \
		             : "memory", "cc");                                         \
	} while (0)

static void returns(void)
{
	TRY_RETURN("push $0; push $far_return", "lret");
	check_fault(13, 0, "lret-to-null");
	TRY_RETURN("push $0x1000; push $far_return", "lret");
	check_fault(13, 0x1000, "lret-beyond");
	TRY_RETURN("push $0x10; push $far_return", "lret");
	check_fault(13, 0x10, "lret-to-data");
	TRY_RETURN("push $0x2a; push $far_return", "lret");
	check_fault(13, 0x28, "lret-rpl-differs");
	TRY_RETURN("push $0x10; push $0; push $0x2b; push $far_return", "lret");
	check_fault(13, 0x10, "lret-ss-bad");
	TRY_RETURN("push $0; push $0; push $0x2b; push $far_return", "lret");
	check_fault(13, 0, "lret-ss-null");
	seg_set(0, 0xfffff, 0x72, 0xc);
	TRY_RETURN("push $0x53; push $0; push $0x2b; push $far_return", "lret");
	check_fault(12, SEG, "lret-ss-not-present");
	seg_set(0, 0xfffff, 0x1a, 0xc);
	TRY_RETURN("push $0x50; push $far_return", "lret");
	check_fault(11, SEG, "lret-cs-not-present");
	seg_set(0, 0xff, 0x9a, 4);
	TRY_RETURN("push $0x50; push $far_return", "lret");
	check_fault(13, 0, "lret-beyond-limit");
	TRY_RETURN("pushf; push $0x50; push $far_return", "iret");
	check_fault(13, 0, "iret-beyond-limit");
	TRY_RETURN("pushf; push $0; push $far_return", "iret");
	check_fault(13, 0, "iret-to-null");
	TRY_RETURN("pushf; push $0x10; push $far_return", "iret");
	check_fault(13, 0x10, "iret-to-data");
	TRY_RETURN("push $0x10; push $0; pushf; push $0x2b; push $far_return", "iret");
	check_fault(13, 0x10, "iret-ss-rpl");
	/* 16-bit code */
	gdt_set(LOW, (u32)low16, 0xffff, 0x9a, 0);
	u32 esp, esp2, ebx = 0;
	asm volatile("mov %%esp, %0; lcall %3, %4; mov %%esp, %1"
	             : "=&r"(esp), "=&r"(esp2), "+b"(ebx)
	             : "i"(LOW), "i"(6)
	             : "memory");
	check(esp == esp2 && ebx == 0x1234, "far-call-16-bit-code", "%x %x %x", esp, esp2, ebx);
}

static void gates(void)
{
	gate_set(GATE, CODE32, (u32)far_return, 0x8c, 0);
	TRY("lcall %0, $0x12345", : "i"(GATE) : "memory");
	check_fault(-1, 0, "call-gate-same-level");
	gate_set(GATE, CODE32 | 3, (u32)far_return, 0x8c, 0);
	TRY("lcall %0, $0", : "i"(GATE) : "memory");
	check(fault.vector == -1 && (gate_cs & 0xffff) == CODE32, "call-gate-selector-rpl", "%d %x", fault.vector,
	      gate_cs);
	gate_set(GATE, CODE32, (u32)far_return, 0x0c, 0);
	TRY("lcall %0, $0", : "i"(GATE) : "memory");
	check_fault(11, GATE, "call-gate-not-present");
	gate_set(GATE, 0, (u32)far_return, 0x8c, 0);
	TRY("lcall %0, $0", : "i"(GATE) : "memory");
	check_fault(13, 0, "call-gate-null");
	gate_set(GATE, DATA, (u32)far_return, 0x8c, 0);
	TRY("lcall %0, $0", : "i"(GATE) : "memory");
	check_fault(13, DATA, "call-gate-data");
	gate_set(GATE, 0x1000, (u32)far_return, 0x8c, 0);
	TRY("lcall %0, $0", : "i"(GATE) : "memory");
	check_fault(13, 0x1000, "call-gate-beyond");
	gate_set(GATE, USER32, (u32)far_return, 0x8c, 0);
	TRY("lcall %0, $0", : "i"(GATE) : "memory");
	check_fault(13, USER32 & ~3, "call-gate-outward");
	gate_set(GATE, CODE32, (u32)far_return, 0x8c, 0);
	TRY("lcall %0, $0", : "i"(GATE | 1) : "memory");
	check_fault(13, GATE, "call-gate-rpl");
	gate_set(GATE, CODE32, (u32)far_return, 0x8e, 0);
	TRY("lcall %0, $0", : "i"(GATE) : "memory");
	check_fault(13, GATE, "call-interrupt-gate");
	seg_set(0, 0xff, 0x9a, 4);
	gate_set(GATE, SEG, (u32)far_return, 0x8c, 0);
	TRY("lcall %0, $0", : "i"(GATE) : "memory");
	check_fault(13, 0, "call-gate-beyond-limit");
	/* A jump through one */
	extern char jump_here[];
	gate_set(GATE, CODE32, (u32)jump_here, 0x8c, 0);
	TRY("ljmp %0, $0; ud2; jump_here: nop", : "i"(GATE) : "memory");
	check_fault(-1, 0, "jump-gate");
}

/* From ring 3 */
volatile u32 u_esp, u_esp2, u_ds;
static void user(void *arg)
{
	TRY("lcall %0, $0", : "i"(GATE | 3) : "memory");
	check_fault(13, GATE, "user-gate-dpl");
	TRY("ljmp %0, $far_return", : "i"(CODE32) : "memory");
	check_fault(13, CODE32, "user-jump-ring-0");
	load_es(DATA);
	check_fault(13, DATA, "user-load-dpl-0");
	load_ss(DATA);
	check_fault(13, DATA, "user-ss-dpl-0");
	load_ss(0);
	check_fault(13, 0, "user-ss-null");
	TRY("lcall %0, $far_return", : "i"(CONF) : "memory");
	check(fault.vector == -1 && (gate_cs & 0xffff) == (CONF | 3), "user-conforming", "%d %x", fault.vector,
	      gate_cs);
	u16 a = 0;
	TRY("lldt %w0", : "r"(a));
	check_fault(13, 0, "user-lldt");
	TRY("ltr %w0", : "r"(a));
	check_fault(13, 0, "user-ltr");
}
static void user_gate(void *arg)
{
	u32 a, b;

	asm volatile("mov %%esp, %0; push $0x1111; push $0x2222; lcall %2, $0; mov %%esp, %1"
	             : "=&r"(a), "=&r"(b)
	             : "i"(GATE | 3)
	             : "memory", "cc");
	u_esp = a;
	u_esp2 = b;
	asm volatile("mov %%ds, %0" : "=r"(a));
	u_ds = (u16)a;
}
static void user_gate16(void *arg)
{
	asm volatile("pushw $0x1111; pushw $0x2222; mov %%esp, u_esp; lcall %0, $0" : : "i"(GATE | 3) : "memory");
}
static void user_gate_fails(void *arg)
{
	TRY("lcall %0, $0", : "i"(GATE | 3) : "memory", "cc");
}

static void user_es(void *arg)
{
	u16 v;

	gate_set(GATE, RING1, (u32)ring1_es, 0xec, 0);
	asm volatile("lcall %1, $0; mov %%es, %0" : "=r"(v) : "i"(GATE | 3) : "eax", "memory", "cc");
	asm volatile("mov %w0, %%es" : : "r"(USERDATA));
	*(u16 *)arg = v;
}

static void privileges(void)
{
	gdt_set(CONF, 0, 0xfffff, 0x9e, 0xc);
	gate_set(GATE, CODE32, (u32)gate_target, 0x8c, 2);
	user_call(user, NULL);
	gate_set(GATE, CODE32, (u32)gate_target, 0xec, 2);
	user_call(user_gate, NULL);
	check((gate_cs & 0xffff) == CODE32 && (gate_ss & 0xffff) == DATA, "gate-inner", "%x %x", gate_cs, gate_ss);
	check(gate_esp == tss.esp0 - 28, "gate-stack", "%x %x", gate_esp, tss.esp0);
	check((gate_words[1] & 0xffff) == USER32 && gate_words[2] == 0x2222 && gate_words[3] == 0x1111 &&
	              (gate_words[5] & 0xffff) == USERDATA,
	      "gate-parameters", "%x %x %x %x", gate_words[1], gate_words[2], gate_words[3], gate_words[5]);
	check(u_esp == u_esp2 && gate_words[4] == u_esp - 8, "gate-return", "%x %x %x", u_esp, u_esp2, gate_words[4]);
	check(u_ds == USERDATA, "gate-keeps-user-ds", "%x", u_ds);
	/* 16 bits: the stack is the 32-bit one of the TSS, with 16-bit slots; it does not return, as ip has 16 bits */
	gdt_set(LOW, (u32)low16, 0xffff, 0x9a, 0);
	gate_set(GATE, LOW, (u32)(gate_target16 - low16), 0xe4, 2);
	user_call(user_gate16, NULL);
	check(gate_words[0] >> 16 == USER32 && gate_words[1] == 0x11112222 &&
	              gate_words[2] == (USERDATA << 16 | (u_esp & 0xffff)) && gate_esp == tss.esp0 - 12,
	      "gate16", "%x %x %x %x", gate_words[0], gate_words[1], gate_words[2], gate_esp);
	/* A bad inner stack: #TS with its selector, in the old context; it comes by a gate that needs no new stack */
	gate_set(GATE, CODE32, (u32)gate_target, 0xec, 2);
	tss.ss1 = 0;
	gdt_set(RING1, 0, 0xfffff, 0xbb, 0xc);
	gate_set(GATE, RING1, (u32)gate_target, 0xec, 0);
	user_call(user_gate_fails, NULL);
	check_fault(10, 0, "gate-null-stack");
	tss.ss1 = DATA | 1;
	user_call(user_gate_fails, NULL);
	check_fault(10, DATA, "gate-stack-dpl");
	tss.ss1 = DATA;
	user_call(user_gate_fails, NULL);
	check_fault(10, DATA, "gate-stack-rpl");
	tss.ss1 = 0x1001;
	user_call(user_gate_fails, NULL);
	check_fault(10, 0x1000, "gate-stack-beyond");
	gdt_set(RING1D, 0, 0xfffff, 0x33, 0xc);
	tss.ss1 = RING1D | 1;
	tss.esp1 = (u32)area + 0x1000;
	user_call(user_gate_fails, NULL);
	check_fault(12, RING1D, "gate-stack-not-present");
	gdt_set(RING1D, 0, 0x10, 0xb3, 0x4);
	user_call(user_gate_fails, NULL);
	check_fault(12, RING1D, "gate-stack-limit");
	gdt_set(RING1, 0, 0xfffff, 0x3b, 0xc);
	user_call(user_gate_fails, NULL);
	check_fault(11, RING1, "gate-code-not-present");
	/* Ring 1 and back to 3, with a TSS that has it; DS of DPL 0 would not come along */
	gdt_set(RING1, 0, 0xfffff, 0xbb, 0xc);
	gdt_set(RING1D, 0, 0xfffff, 0xb3, 0xc);
	gate_set(GATE, RING1, (u32)ring1_code, 0xec, 0);
	user_call(user_gate_fails, NULL);
	check(fault.vector == -1 && (gate_cs & 0xffff) == (RING1 | 1) && (gate_ss & 0xffff) == (RING1D | 1),
	      "gate-ring-1", "%d %x %x", fault.vector, gate_cs, gate_ss);
	u16 es;
	user_call(user_es, &es);
	check(es == 0, "return-nulls-privileged-es", "%x", es);
}

void test(void)
{
	loads();
	limits();
	ldts();
	looks();
	transfers();
	returns();
	gates();
	privileges();
}
