/*
 * The engine's side: a machine of one vCPU with a kernel of some fifty instructions. It loads a state block,
 * goes to CPL 3 by IRET, and on any exception saves the state there and tells this side by OUT, which gives
 * it the next case.
 */
#include "oracle.h"

#include "cpu/cpu.h"
#include "cpu/physmem.h"
#include "cpu/soft/soft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PORT 0x10

/* Guest-physical layout, one slot from 0. Kernel memory is at the same offset behind KERNEL. */
#define RAM_SIZE    0x100000u
#define KERNEL      STATE_BASE
#define KERNEL_GPA  0x20000u
#define KERNEL_SIZE 0x10000u
#define OFF_CODE    0x2000u
#define OFF_GDT     0x4000u
#define OFF_IDT     0x5000u
#define OFF_TSS     0x6000u
#define OFF_STACK   0x9000u /* end */
/* Where code and data pages may be; not side by side, so that what runs over a page's end does not find the
 * next. */
#define PLACE_GPA(n) (0x40000u + (n)*0x2000u)
enum { PLACES = 16, CODE_PAGES = CODE_SIZE / 0x1000, PAGES = CODE_PAGES + DATA_SIZE / 0x1000 };

extern const u8 kernel_start[], kernel_resume[], kernel_vectors[], kernel_end[];

/* Position-independent but for the state block, at S. */
__asm__(".section .rodata\n"
        ".set S, 0x37e91000\n"
        ".globl kernel_start, kernel_resume, kernel_vectors, kernel_end\n"
        "kernel_start:\n"
        "kernel_common:\n" /* vector, error code, frame */
        "	mov %rax, S+0; mov %rcx, S+8; mov %rdx, S+16; mov %rbx, S+24\n"
        "	mov %rbp, S+40; mov %rsi, S+48; mov %rdi, S+56\n"
        "	mov %r8, S+64; mov %r9, S+72; mov %r10, S+80; mov %r11, S+88\n"
        "	mov %r12, S+96; mov %r13, S+104; mov %r14, S+112; mov %r15, S+120\n"
        "	pop S+152; pop S+160; pop S+128; pop S+184; pop S+136; pop S+32; pop S+192\n"
        "	mov %cr2, %rax\n"
        "	mov %rax, S+168\n"
        "	mov S+204, %eax; xor %edx, %edx\n"
        "	xsave64 S+256\n"
        "	out %al, $0x10\n"
        "kernel_resume:\n"
        "	cmpb $1, S+200\n"
        "	jb 2f\n"
        "	ja 1f\n"
        "	mov %cr3, %rax; mov %rax, %cr3\n"
        "	jmp 2f\n"
        "1:	invlpg 0x20000000; invlpg 0x20001000; invlpg 0x20002000\n"
        "	invlpg 0x12345000; invlpg 0x12346000\n"
        "2:\n"
        "	mov S+204, %eax; xor %edx, %edx\n"
        "	xrstor64 S+256\n"
        "	push S+192; push S+32; push S+136; push S+184; push S+128\n"
        "	mov S+0, %rax; mov S+8, %rcx; mov S+16, %rdx; mov S+24, %rbx\n"
        "	mov S+40, %rbp; mov S+48, %rsi; mov S+56, %rdi\n"
        "	mov S+64, %r8; mov S+72, %r9; mov S+80, %r10; mov S+88, %r11\n"
        "	mov S+96, %r12; mov S+104, %r13; mov S+112, %r14; mov S+120, %r15\n"
        "	iretq\n"
        ".balign 16\n"
        "kernel_vectors:\n"
        ".set v, 0\n"
        ".rept 32\n"
        ".balign 16\n"
        ".if v == 8 || v == 10 || v == 11 || v == 12 || v == 13 || v == 14 || v == 17\n"
        "	push $v\n"
        ".else\n"
        "	push $0; push $v\n"
        ".endif\n"
        "	jmp kernel_common\n"
        ".set v, v + 1\n"
        ".endr\n"
        "kernel_end:\n"
        ".text\n");

struct guest {
	u8 *ram;
	struct physmem mem;
	struct cpu_board board;
	struct cpu *cpu;
	const struct guest_calls *calls;
	const struct sample *sample; /* whose result is awaited */
	struct sample placed;        /* whose code is in memory */
	u64 *entry[PAGES];           /* page-table entries of code and data pages, and where these are: */
	u32 gpa[PAGES];
	bool parked; /* behind an OUT: the next case can follow */
	bool done;
};

static struct image *state(struct guest *g)
{
	return (struct image *)(g->ram + KERNEL_GPA);
}

static void write_code(struct guest *g, const struct sample *s, bool clear)
{
	for (unsigned at = 0; at < s->len;) {
		unsigned off = s->rip - CODE_BASE + at, n = min(s->len - at, 0x1000 - off % 0x1000);
		u64 gpa = g->gpa[off / 0x1000] + off % 0x1000;

		if (clear)
			memset(g->ram + gpa, 0xcc, n);
		else
			memcpy(g->ram + gpa, s->bytes + at, n);
		physmem_written(&g->mem, gpa, n);
		at += n;
	}
}

/* Pages go elsewhere, as a kernel would do it: what the engine remembers of them is wrong then. */
static void remap(struct guest *g, struct rng *r, bool code)
{
	u8 copies[PAGES][0x1000];
	u32 taken = 0;

	for (unsigned n = 0; n < PAGES; n++) {
		memcpy(copies[n], g->ram + g->gpa[n], 0x1000);
		if (n < CODE_PAGES && !code)
			taken |= 1u << (g->gpa[n] - PLACE_GPA(0)) / 0x2000;
	}
	for (unsigned n = 0; n < PAGES; n++) {
		unsigned to;

		if (n < CODE_PAGES && !code)
			continue;
		if (n < CODE_PAGES) { /* what was there is nothing to be run */
			memset(g->ram + g->gpa[n], 0xf4, 0x1000);
			physmem_written(&g->mem, g->gpa[n], 0x1000);
		}
		do
			to = (unsigned)rng_below(r, PLACES);
		while (taken >> to & 1);
		taken |= 1u << to;
		g->gpa[n] = PLACE_GPA(to);
		*g->entry[n] = (*g->entry[n] & ~0xfffff000ULL) | PLACE_GPA(to);
	}
	for (unsigned n = 0; n < PAGES; n++) {
		memcpy(g->ram + g->gpa[n], copies[n], 0x1000);
		physmem_written(&g->mem, g->gpa[n], 0x1000);
	}
	state(g)->remapped = rng_one_in(r, 2) ? 1 : 2;
}

/* The next case; false: there is none. */
static bool place(struct guest *g)
{
	if (!g->calls->next(g->calls->ctx, &g->sample)) {
		g->sample = NULL;
		return false;
	}
	/* Code of a block stays what it is from case to case. */
	if (!g->sample->code || g->sample->code != g->placed.code) {
		if (g->placed.len)
			write_code(g, &g->placed, true);
		write_code(g, g->sample, false);
		g->placed = *g->sample;
	}
	*state(g) = g->sample->in;
	if (sample_is_kernel(g->sample)) {
		state(g)->cs = 0x08;
		state(g)->ss = 0x10;
	}
	struct rng r = {.state = g->sample->number * 0x94d049bb133111ebULL};
	if (rng_one_in(&r, 4))
		remap(g, &r, rng_one_in(&r, 4));
	return true;
}

static void on_out(void *ctx, struct cpu *cpu, u16 port, unsigned size, u32 value)
{
	struct guest *g = ctx;

	if (port != PORT)
		return;
	if (g->sample) {
		struct image out = *state(g);

		if (out.vector == 3) { /* int3 behind the instruction, or where it went */
			out.vector = NO_EXCEPTION;
			out.rip--;
		}
		g->calls->done(g->calls->ctx, &out);
	}
	if (!place(g)) {
		g->done = true;
		cpu_raise(cpu, CPU_EV_STOP);
	}
}

static u64 mmio_read(void *ctx, struct cpu *cpu, u64 gpa, unsigned size)
{
	return ~0ULL;
}
static void mmio_write(void *ctx, struct cpu *cpu, u64 gpa, unsigned size, u64 value) {}
static u32 pio_read(void *ctx, struct cpu *cpu, u16 port, unsigned size)
{
	return ~0u;
}
static bool msr_read(void *ctx, struct cpu *cpu, u32 msr, u64 *value)
{
	return false;
}
static bool msr_write(void *ctx, struct cpu *cpu, u32 msr, u64 value)
{
	return false;
}
static int interrupt_ack(void *ctx, struct cpu *cpu)
{
	return -1;
}
static bool interrupt_pending(void *ctx, struct cpu *cpu)
{
	return false;
}
static u8 tpr_read(void *ctx, struct cpu *cpu)
{
	return 0;
}
static void tpr_write(void *ctx, struct cpu *cpu, u8 value) {}
static void board_init(void *ctx, struct cpu *cpu) {}
static void ferr(void *ctx, struct cpu *cpu) {}

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4 };
#define PTE_NX BIT(63)

/* Maps linear, one 4 KiB page; tables are taken one after the other from 0x1000 on. */
static u64 *map_page(struct guest *g, unsigned *tables, u64 linear, u64 gpa, u64 flags)
{
	u64 table = 0x1000;

	for (int level = 3; level > 0; level--) {
		u64 *entry = (u64 *)(g->ram + table) + (linear >> (12 + 9 * level) & 511);

		if (!*entry)
			*entry = (0x1000u + 0x1000u * ++*tables) | PTE_P | PTE_W | PTE_U;
		table = *entry & 0xfffff000;
	}
	u64 *entry = (u64 *)(g->ram + table) + (linear >> 12 & 511);
	*entry = gpa | PTE_P | flags;
	return entry;
}

static void gate(struct guest *g, unsigned vector, u64 handler, unsigned dpl)
{
	u64 *d = (u64 *)(g->ram + KERNEL_GPA + OFF_IDT) + 2 * vector;

	/* On a stack of its own, whatever is interrupted. */
	d[0] = (handler & 0xffff) | 0x08ULL << 16 | 1ULL << 32 | (0x8e00ULL | dpl << 13) << 32 |
	       (handler >> 16 & 0xffff) << 48;
	d[1] = handler >> 32;
}

static struct vcpu_segment segment(u16 selector, u32 attr)
{
	return (struct vcpu_segment){.selector = selector, .limit = 0xffffffff, .attr = attr};
}

static void fill_memory(struct guest *g)
{
	static const u64 gdt[] = {0,
	                          0x00af9b000000ffff, /* 08: kernel code */
	                          0x00cf93000000ffff, /* 10: kernel data */
	                          0,
	                          0x00cffb000000ffff, /* 20: user code, 32 bits */
	                          0x00cff3000000ffff, /* 28: user data */
	                          0x00affb000000ffff, /* 30: user code, 64 bits */
	                          0};
	u64 *g64 = (u64 *)(g->ram + KERNEL_GPA + OFF_GDT), tss = KERNEL + OFF_TSS, stack = KERNEL + OFF_STACK;
	unsigned tables = 0;

	memcpy(g64, gdt, sizeof(gdt));
	g64[8] = 0x67 | (tss & 0xffffff) << 16 | 0x8bULL << 40 | (tss >> 24 & 0xff) << 56;
	g64[9] = tss >> 32;
	memcpy(g->ram + KERNEL_GPA + OFF_TSS + 0x24, &stack, sizeof(stack)); /* IST1 */
	*(u16 *)(g->ram + KERNEL_GPA + OFF_TSS + 0x66) = 0x68;               /* no I/O bitmap */
	memcpy(g->ram + KERNEL_GPA + OFF_CODE, kernel_start, (size_t)(kernel_end - kernel_start));
	for (unsigned v = 0; v < 32; v++)
		gate(g, v, KERNEL + OFF_CODE + (u64)(kernel_vectors - kernel_start) + 16 * v,
		     v == 3 || v == 4 ? 3 : 0);
	for (unsigned at = 0; at < KERNEL_SIZE; at += 0x1000)
		map_page(g, &tables, KERNEL + at, KERNEL_GPA + at, PTE_W);
	for (unsigned n = 0; n < PAGES; n++) {
		unsigned at = (n - CODE_PAGES) * 0x1000;
		bool code = n < CODE_PAGES;

		g->gpa[n] = PLACE_GPA(n);
		g->entry[n] =
		        map_page(g, &tables, code ? CODE_BASE + n * 0x1000 : DATA_BASE + at, PLACE_GPA(n),
		                 PTE_U | (code ? 0 : PTE_NX) | (!code && at < DATA_WRITE ? PTE_W : 0));
		if (code)
			memset(g->ram + g->gpa[n], 0xcc, 0x1000);
	}
}

static void set_state(struct guest *g)
{
	struct vcpu_state s;

	vcpu_state_reset(&s, true);
	s.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	s.cr3 = 0x1000;
	s.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE | CR4_UMIP;
	s.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	s.xcr0 = vectors_components();
	s.rflags = 2;
	s.rip = KERNEL + OFF_CODE + (u64)(kernel_resume - kernel_start) - 2; /* the OUT before it */
	s.regs[REG_RSP] = KERNEL + OFF_STACK;
	s.seg[SEG_CS] = segment(0x08, 0xa09b);
	s.seg[SEG_SS] = segment(0x10, 0xc093);
	s.seg[SEG_DS] = s.seg[SEG_ES] = segment(SEL_DATA, 0xc0f3);
	s.seg[SEG_FS] = s.seg[SEG_GS] = segment(0, SEG_ATTR_UNUSABLE);
	s.seg[SEG_GS].base = GS_BASE;
	s.ldtr = segment(0, SEG_ATTR_UNUSABLE);
	s.tr = (struct vcpu_segment){.selector = 0x40, .base = KERNEL + OFF_TSS, .limit = 0x67, .attr = 0x8b};
	s.gdtr = (struct vcpu_table){.base = KERNEL + OFF_GDT, .limit = 0x4f};
	s.idtr = (struct vcpu_table){.base = KERNEL + OFF_IDT, .limit = 0x1ff};
	s.activity = VCPU_RUNNING;
	cpu_set_state(g->cpu, &s);
}

struct guest *guest_new(bool translated, bool several)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct cpu_config config = {.count = 1, .tsc_hz = 1000000000, .interpret = !translated};
	struct error e;

	if (!g)
		abort();
	g->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	g->mem.page = calloc(RAM_SIZE >> PAGE_SHIFT, sizeof(*g->mem.page));
	if (g->ram == MAP_FAILED || !g->mem.page)
		abort();
	g->mem.slots[0] = (struct physmem_slot){.size = RAM_SIZE, .hva = g->ram};
	g->mem.count = 1;
	g->mem.single_vcpu = !several;
	g->board = (struct cpu_board){.ctx = g,
	                              .mem = &g->mem,
	                              .mmio_read = mmio_read,
	                              .mmio_write = mmio_write,
	                              .pio_read = pio_read,
	                              .pio_write = on_out,
	                              .msr_read = msr_read,
	                              .msr_write = msr_write,
	                              .interrupt_ack = interrupt_ack,
	                              .interrupt_pending = interrupt_pending,
	                              .tpr_read = tpr_read,
	                              .tpr_write = tpr_write,
	                              .init = board_init,
	                              .ferr = ferr};
	fill_memory(g);
	config.board = &g->board;
	setenv("INSULA_TRANSLATE", "1", true);
	g->cpu = soft_cpu_new(&config, &e);
	if (!g->cpu) {
		fprintf(stderr, "oracle: %s\n", e.text);
		exit(2);
	}
	if (translated && !soft_of(g->cpu)->jit) {
		guest_free(g);
		return NULL;
	}
	return g;
}

void guest_free(struct guest *g)
{
	cpu_free(g->cpu);
	free(g->mem.page);
	munmap(g->ram, RAM_SIZE);
	free(g);
}

void guest_data_set(struct guest *g, const u8 *data)
{
	for (unsigned at = 0; at < DATA_SIZE; at += 0x1000)
		memcpy(g->ram + g->gpa[CODE_PAGES + at / 0x1000], data + at, 0x1000);
}

void guest_data_get(const struct guest *g, u8 *data)
{
	for (unsigned at = 0; at < DATA_SIZE; at += 0x1000)
		memcpy(data + at, g->ram + g->gpa[CODE_PAGES + at / 0x1000], 0x1000);
}

int guest_run(struct guest *g, const struct guest_calls *calls)
{
	enum cpu_exit exit_reason;

	g->calls = calls;
	g->sample = NULL;
	g->done = false;
	if (!g->parked)
		set_state(g);
	else if (!place(g))
		return 0;
	exit_reason = cpu_run(g->cpu);
	g->parked = g->done;
	if (g->done)
		return 0;
	fprintf(stderr, "oracle: the guest ended (%s %s)\n",
	        exit_reason == CPU_EXIT_SHUTDOWN ? "triple fault" : "error",
	        exit_reason == CPU_EXIT_ERROR ? g->cpu->error.text : "");
	return -1;
}
