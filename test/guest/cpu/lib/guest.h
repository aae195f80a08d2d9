/*
 * The runtime of a CPU test guest: console, checks, exceptions, descriptors, APIC, other processors. Freestanding;
 * one test program is one .c file with `void test(void)`. Output lines are results as test/guest/lib/tap.sh has them.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef unsigned long ulong;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#ifdef __x86_64__
#define W "q"
#define BITS 64
#else
#define W "l"
#define BITS 32
#endif

/* ---- results ---- */
void print(const char *fmt, ...); /* %s %d %u %x %lx %p %c */
void check_(bool ok, const char *name, const char *fmt, ...);
/* check(condition, "name", "detail %x", …): a line "ok name" or "not ok name # detail". */
#define check(ok, ...) check_arguments(ok, __VA_ARGS__, "")
#define check_arguments(ok, name, ...) check_(ok, name, __VA_ARGS__)
void skip(const char *name, const char *why);
_Noreturn void guest_exit(u8 code); /* the VMM's status is (code << 1) | 1 */
extern const char *guest_args;      /* command line behind the kernel's name */

/* ---- exceptions ---- */
struct frame { /* as vector_common stores it */
#ifdef __x86_64__
	u64 rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
	u64 vector, error, rip, cs, rflags, rsp, ss;
#else
	u32 gs, fs, es, ds, edi, esi, ebp, esp_, ebx, edx, ecx, eax;
	u32 vector, error, rip, cs, rflags, rsp, ss; /* rsp, ss only from an outer level */
#endif
};

struct fault {
	int vector; /* -1: none happened */
	ulong error, cr2, rip, rflags, cs, rsp;
};
extern volatile struct fault fault;
extern volatile ulong fault_resume; /* where to go on after an expected fault; 0: none expected */

/* TRY("insn"), TRY("insn", outputs : inputs : clobbers): runs an instruction that may fault; fault.vector says. */
#define TRY(insns, ...)                                                                                      \
	do {                                                                                                 \
		fault.vector = -1;                                                                           \
		asm volatile("mov" W " $77f, fault_resume\n\t" insns "\n77:\n\tmov" W " $0, fault_resume" \
			     __VA_OPT__(:) __VA_ARGS__);                                                     \
	} while (0)
/* As check(), of the last TRY. vector -1: no fault. */
void check_fault(int vector, ulong error, const char *name);
void check_vector(int vector, const char *name); /* the error code does not matter */

/* A handler of one's own for a vector; called with interrupts as the gate has it. NULL: none. */
void handle(unsigned vector, void (*fn)(struct frame *));
void idt_gate(unsigned vector, void *entry, u8 type_dpl, u16 selector, u8 ist); /* type_dpl: 0x8e, 0xef, … */
extern ulong vector_entries[256];
extern u64 gdt[];
#ifdef __x86_64__
struct idt_entry { u64 low, high; };
struct tss { u32 reserved; u64 rsp[3]; u64 reserved1, ist[7]; u64 reserved2; u16 reserved3, iomap; u8 map[8193]; } __attribute__((packed));
extern u64 boot_pml4[];
#else
struct idt_entry { u64 low; };
struct tss {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
	u32 es, cs, ss, ds, fs, gs, ldt;
	u16 trap, iomap;
	u8 map[8193];
} __attribute__((packed));
#endif
extern struct idt_entry idt[256];
extern struct tss tss; /* of the bootstrap processor */
#define CODE32   0x08
#define DATA     0x10
#define CODE64   0x18
#define CODE16   0x20
#define USER32   0x2b
#define USERDATA 0x33
#define USER64   0x3b
#define DATA16   0x40
#define CODE16L  0x48
#define GDT_FREE 0x50 /* … below GDT_TSS */
#define GDT_TSS  0x180
#define CODE     (BITS == 64 ? CODE64 : CODE32)
#define USERCODE (BITS == 64 ? USER64 : USER32)
/* type: access byte (P, DPL, S, type); flags: G 8, D/B 4, L 2 */
void gdt_set(unsigned selector, u32 base, u32 limit20, u8 access, u8 flags);

/* At CPL 3, see start.S. The I/O bitmap lets it print. */
void user_call(void (*fn)(void *), void *arg);

/* ---- processor ---- */
#define MSR_EFER 0xc0000080
static inline u64 rdmsr(u32 i) { u32 a, d; asm volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(i)); return (u64)d << 32 | a; }
static inline void wrmsr(u32 i, u64 v) { asm volatile("wrmsr" : : "c"(i), "a"((u32)v), "d"((u32)(v >> 32)) : "memory"); }
#define TRY_WRMSR(i, v) TRY("wrmsr", : "c"(i), "a"((u32)(v)), "d"((u32)((u64)(v) >> 32)) : "memory")
static inline u64 rdtsc(void) { u32 a, d; asm volatile("rdtsc" : "=a"(a), "=d"(d)); return (u64)d << 32 | a; }
#define CR_FUNCTIONS(n)                                                                                      \
	static inline ulong read_cr##n(void) { ulong v; asm volatile("mov %%cr" #n ", %0" : "=r"(v)); return v; } \
	static inline void write_cr##n(ulong v) { asm volatile("mov %0, %%cr" #n : : "r"(v) : "memory"); }
CR_FUNCTIONS(0)
CR_FUNCTIONS(2)
CR_FUNCTIONS(3)
CR_FUNCTIONS(4)
#define DR_FUNCTIONS(n)                                                                                      \
	static inline ulong read_dr##n(void) { ulong v; asm volatile("mov %%dr" #n ", %0" : "=r"(v)); return v; } \
	static inline void write_dr##n(ulong v) { asm volatile("mov %0, %%dr" #n : : "r"(v) : "memory"); }
DR_FUNCTIONS(0)
DR_FUNCTIONS(1)
DR_FUNCTIONS(2)
DR_FUNCTIONS(3)
DR_FUNCTIONS(6)
DR_FUNCTIONS(7)
static inline void cpuid(u32 leaf, u32 sub, u32 r[4]) { asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "0"(leaf), "2"(sub)); }
static inline ulong read_flags(void) { ulong f; asm volatile("pushf; pop %0" : "=r"(f)); return f; }
static inline void write_flags(ulong f) { asm volatile("push %0; popf" : : "r"(f) : "cc", "memory"); }
static inline void sti(void) { asm volatile("sti; nop" : : : "memory"); }
static inline void cli(void) { asm volatile("cli" : : : "memory"); }
static inline void pause(void) { asm volatile("pause" : : : "memory"); }
static inline void outb(u16 p, u8 v) { asm volatile("outb %0, %1" : : "a"(v), "Nd"(p)); }
static inline void outw(u16 p, u16 v) { asm volatile("outw %0, %1" : : "a"(v), "Nd"(p)); }
static inline void outl(u16 p, u32 v) { asm volatile("outl %0, %1" : : "a"(v), "Nd"(p)); }
static inline u8 inb(u16 p) { u8 v; asm volatile("inb %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u16 inw(u16 p) { u16 v; asm volatile("inw %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 inl(u16 p) { u32 v; asm volatile("inl %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline void invlpg(void *p) { asm volatile("invlpg (%0)" : : "r"(p) : "memory"); }

void *memset(void *, int, size_t);
void *memcpy(void *, const void *, size_t);
int memcmp(const void *, const void *, size_t);
void *page_alloc(void); /* a zeroed page, never freed, below 1 GiB */
void delay(u64 tsc);    /* spins */
void wait_until_(volatile int *flag, int value);

/* ---- local APIC and other processors ---- */
#define APIC_BASE 0xfee00000
static inline u32 apic_read(u32 reg) { return *(volatile u32 *)(ulong)(APIC_BASE + reg); }
static inline void apic_write(u32 reg, u32 v) { *(volatile u32 *)(ulong)(APIC_BASE + reg) = v; }
enum { APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_PPR = 0xa0, APIC_EOI = 0xb0, APIC_LDR = 0xd0, APIC_DFR = 0xe0,
       APIC_SVR = 0xf0, APIC_ISR = 0x100, APIC_TMR = 0x180, APIC_IRR = 0x200, APIC_ESR = 0x280, APIC_ICR = 0x300, APIC_ICR2 = 0x310,
       APIC_LVTT = 0x320, APIC_LVTPC = 0x340, APIC_LINT0 = 0x350, APIC_LINT1 = 0x360, APIC_LVTERR = 0x370, APIC_TMICT = 0x380,
       APIC_TMCCT = 0x390, APIC_TDCR = 0x3e0 };
void apic_enable(void);                 /* software-enable, xAPIC mode, all LVTs masked */
void apic_ipi(u32 dest, u32 icr_low);   /* waits for delivery */
unsigned cpus_start(void (*fn)(unsigned cpu)); /* INIT, SIPI to all others; each calls fn(1…), then halts with IF = 1;
						* returns their number when all of fw_cfg's count have come up */
void cpus_start_async(void (*fn)(unsigned cpu)); /* does not wait for fn to return */
void cpus_numbering_restart(void); /* the next processor to start is number 1 again */
unsigned cpus_count(void);              /* by fw_cfg */
void pic_mask(void);

void test(void); /* the program */
