/*
 * Any bytes as guest code, in any mode, on a vCPU of the soft engine whose board does little. The first bytes
 * choose the mode, how the machine is prepared, and what is put into tables; the rest is code at CODE, and
 * where most exceptions lead. A run ends by a store to port 0xf4, after some accesses to the board, or by the
 * clock.
 *
 * Nothing the guest does may show in this process: no signal but those the engine takes, the host's vector
 * unit as it was, memory around the guest's RAM untouched (it is not mapped).
 */
#include "base/clock.h"
#include "cpu/cpu.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define RAM_SIZE (2 * MiB)
#define ROM_GPA  0xff000000ULL
#define ROM_SIZE 0x10000ULL
#define PML4     0x1000
#define PDPT     0x2000
#define PD       0x3000
#define PT       0x4000
#define GDT      0x5000
#define IDT      0x6000
#define TSS      0x7000
#define PD32     0x8000
#define END_CODE 0xf000 /* out %al, $0xf4, again and again */
#define HANDLERS 0x9000
#define CODE     0x10000
#define STACK    0x80000

#define INSTRUCTIONS 40  /* at least */
#define ACCESSES     300 /* to the board, then it ends */
#define RUN_NS       3000000ULL

static u8 *ram, *rom;
static _Atomic u32 words[(RAM_SIZE + ROM_SIZE) / PAGE_SIZE];
static struct physmem memory;
static struct cpu *cpu;
static unsigned accesses;
static u8 vector;
static bool interrupts;
static _Atomic u64 deadline; /* of the run under way, 0: none */

/* ---- board ---- */

static void count(struct cpu *c)
{
	if (++accesses >= ACCESSES)
		cpu_raise(c, CPU_EV_STOP);
	else if (interrupts && accesses % 16 == 0)
		cpu_raise(c, CPU_EV_INTR);
}

static u64 mmio_read(void *ctx, struct cpu *c, u64 gpa, unsigned size)
{
	if (physmem_find(&memory, gpa) || (gpa & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
		abort();
	count(c);
	return gpa * 0x9e3779b97f4a7c15ULL;
}

static void mmio_write(void *ctx, struct cpu *c, u64 gpa, unsigned size, u64 value)
{
	const struct physmem_slot *s = physmem_find(&memory, gpa);

	if ((s && !s->readonly) || (gpa & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
		abort();
	count(c);
}

static u32 pio_read(void *ctx, struct cpu *c, u16 port, unsigned size)
{
	count(c);
	return port;
}

static void pio_write(void *ctx, struct cpu *c, u16 port, unsigned size, u32 value)
{
	if (port == 0xf4)
		cpu_raise(c, CPU_EV_STOP);
	count(c);
}

static bool msr_read(void *ctx, struct cpu *c, u32 msr, u64 *value)
{
	count(c);
	*value = msr;
	return msr >= 0x800 && msr < 0x900;
}

static bool msr_write(void *ctx, struct cpu *c, u32 msr, u64 value)
{
	count(c);
	return msr >= 0x800 && msr < 0x900;
}

static int interrupt_ack(void *ctx, struct cpu *c)
{
	count(c);
	return accesses & 1 ? vector++ : -1;
}

static bool interrupt_pending(void *ctx, struct cpu *c)
{
	return interrupts;
}
static u8 tpr_read(void *ctx, struct cpu *c)
{
	return 0;
}
static void tpr_write(void *ctx, struct cpu *c, u8 value) {}
static void nothing(void *ctx, struct cpu *c)
{
	count(c);
}

static const struct cpu_board board = {
        .mem = &memory,
        .mmio_read = mmio_read,
        .mmio_write = mmio_write,
        .pio_read = pio_read,
        .pio_write = pio_write,
        .msr_read = msr_read,
        .msr_write = msr_write,
        .interrupt_ack = interrupt_ack,
        .interrupt_pending = interrupt_pending,
        .tpr_read = tpr_read,
        .tpr_write = tpr_write,
        .init = nothing,
        .ferr = nothing,
};

/* Ends what loops or sleeps. A run that does not end then is for libFuzzer's own clock. */
static void *watch(void *arg)
{
	for (;;) {
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
		u64 d = atomic_load(&deadline);
		bool late = d && (clock_monotonic_ns() > d || atomic_load(&cpu->asleep));

		if (late && atomic_load(&deadline) == d)
			cpu_raise(cpu, CPU_EV_STOP);
	}
	return NULL;
}

/* RAM between pages that are not mapped. */
static u8 *area(size_t size)
{
	u8 *p = mmap(NULL, size + 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + PAGE_SIZE, size, PROT_READ | PROT_WRITE))
		abort();
	return p + PAGE_SIZE;
}

static void start(void)
{
	struct cpu_config config = {.count = 1, .board = &board, .tsc_hz = clock_tsc_hz()};
	struct error e;
	pthread_t thread;

	ram = area(RAM_SIZE);
	rom = area(ROM_SIZE);
	memset(rom, 0xf4, ROM_SIZE);
	mprotect(rom, ROM_SIZE, PROT_READ);
	memory = (struct physmem){.count = 2, .page = words, .single_vcpu = true};
	memory.slots[0] = (struct physmem_slot){.gpa = 0, .size = RAM_SIZE, .hva = ram};
	memory.slots[1] = (struct physmem_slot){.gpa = ROM_GPA,
	                                        .size = ROM_SIZE,
	                                        .hva = rom,
	                                        .first_page = RAM_SIZE / PAGE_SIZE,
	                                        .readonly = true};
	cpu = soft_cpu_new(&config, &e);
	if (!cpu || pthread_create(&thread, NULL, watch, NULL))
		abort();
}

/* ---- the machine's state ---- */

struct input {
	const u8 *p, *end;
	u64 more; /* made of all of it; goes on when it has run out */
};

static u64 in_bytes(struct input *in, unsigned n)
{
	u64 v = 0;

	for (unsigned i = 0; i < n; i++) {
		if (in->p < in->end) {
			v |= (u64)*in->p++ << 8 * i;
		} else {
			in->more = in->more * 6364136223846793005ULL + 1442695040888963407ULL;
			v |= in->more >> 56 << 8 * i;
		}
	}
	return v;
}

static void put64(u64 gpa, u64 v)
{
	memcpy(ram + gpa, &v, 8);
}

enum { REAL16, PROT16, PROT32, PAGED32, PAE32, COMPAT32, LONG64, USER64, USER32, V86, MODES };

static bool is_long(unsigned mode)
{
	return mode == COMPAT32 || mode == LONG64 || mode == USER64;
}

static void page_tables(unsigned mode)
{
	put64(PML4, PDPT | 7);
	put64(PML4 + 511 * 8, PDPT | 7);
	put64(PDPT, PD | (mode == PAE32 ? 1 : 7));
	if (mode != PAE32) {
		put64(PDPT + 8, 0x80000000 | 0x87);
		put64(PDPT + 24, 0xc0000000 | 0x83);
	}
	put64(PD, PT | 7);
	for (u64 i = 1; i < 512; i++)
		put64(PD + i * 8, i % 8 << 21 | (i & 1 ? 0x87 : 0xe7));
	for (u64 i = 0; i < 512; i++)
		put64(PT + i * 8, i << 12 | (i % 32 == 30 ? 5 : 7));
	for (u64 i = 0; i < 512; i++)
		put64(PD32 + i * 8, (i * 2 % 4) << 22 | 0x87 | ((i * 2 + 1) % 4 << 22 | 0x87) << 32);
}

/* A handler that skips five bytes, NOPs mostly. */
static void handler(unsigned mode, u64 v)
{
	bool error = (v == 8 || (v >= 10 && v <= 14) || v == 17) && mode != REAL16;
	u8 *p = ram + HANDLERS + v * 16;

	if (is_long(mode)) {
		if (error)
			memcpy(p, "\x48\x83\xc4\x08", 4), p += 4;
		memcpy(p, "\x48\x83\x04\x24\x05\x48\xcf", 7);
	} else if (mode == REAL16) {
		memcpy(p, "\x67\x83\x04\x24\x05\xcf", 6);
	} else if (mode == PROT16) {
		if (error)
			memcpy(p, "\x66\x83\xc4\x04", 4), p += 4;
		memcpy(p, "\x66\x67\x83\x04\x24\x05\x66\xcf", 8);
	} else {
		if (error)
			memcpy(p, "\x83\xc4\x04", 3), p += 3;
		memcpy(p, "\x83\x04\x24\x05\xcf", 5);
	}
}

static void gates(unsigned mode, u8 how)
{
	bool wide = is_long(mode);

	for (u64 v = 0; v < 256; v++) {
		u64 to = how & 1 && v % 8 != 7 ? HANDLERS + v * 16
		         : how & 0x80          ? CODE + v * 4
		                               : END_CODE,
		    dpl = how & 2 && v > 2 ? 3 : 0;
		u64 type = how & 4 && v % 8 == 5 ? 0xf : 0xe;

		handler(mode, v);
		if (mode == REAL16) {
			u32 far = (u32)(to & 0xf) | (u32)(to >> 4) << 16;

			memcpy(ram + v * 4, &far, 4);
			continue;
		}
		u64 gate =
		        (to & 0xffff) | 8 << 16 | (0x80 | dpl << 5 | type) << 40 | (to >> 16 & 0xffff) << 48;
		if (wide) {
			put64(IDT + v * 16, gate | (how & 8 ? v % 8 : 0) << 32);
			put64(IDT + v * 16 + 8, 0);
		} else {
			put64(IDT + v * 8, gate);
		}
	}
}

static void descriptors(unsigned mode)
{
	bool wide = is_long(mode);
	u64 code = wide ? 0x00af9b000000ffff : mode == PROT16 ? 0x008f9b000000ffff : 0x00cf9b000000ffff;

	put64(GDT + 0x08, code);
	put64(GDT + 0x10, 0x00cf93000000ffff);
	put64(GDT + 0x18, 0x0000890000000067 | TSS << 16); /* available; TR says busy itself */
	put64(GDT + 0x28, code | 0x600000000000);
	put64(GDT + 0x30, 0x00cff3000000ffff);
	put64(GDT + 0x38, 0x00cffb000000ffff);
	put64(GDT + 0x40, 0x0000ec0000080000 | (END_CODE & 0xffff)); /* call gate */
	put64(GDT + 0x50, 0x0000820000000fff | (u64)GDT << 16);      /* LDT */
	put64(GDT + 0x58, 0x0000e50000180000);                       /* task gate */
	put64(GDT + 0x60, 0x0000890000000067 | (u64)(TSS + 0x800) << 16);
	put64(GDT + 0x70, 0x00009f000000ffff | (u64)CODE << 16); /* 16-bit, conforming */
	/* Stacks for ring 0: a 32-bit TSS and a 64-bit one have them in the same place, nearly. */
	if (wide) {
		for (unsigned i = 0; i < 10; i++)
			put64(TSS + 4 + i * 8, STACK - i * 256);
	} else {
		put64(TSS + 4, (u64)0x10 << 32 | STACK);
	}
	memset(ram + TSS + 0x68, 0x5a, 0x80);
}

static void segment(struct vcpu_state *s, unsigned i, u16 selector, u64 base, u32 limit, u32 attr)
{
	s->seg[i] = (struct vcpu_segment){.selector = selector, .base = base, .limit = limit, .attr = attr};
}

#define DATA     0x93u
#define CODE_SEG 0x9bu

static void prepare(struct vcpu_state *s, unsigned mode, u8 how)
{
	bool user = mode == USER64 || mode == USER32 || mode == V86, wide = is_long(mode);
	u32 dpl = user ? SEG_ATTR_DPL : 0, big = SEG_ATTR_DB | SEG_ATTR_G;

	vcpu_state_reset(s, true);
	s->rip = CODE;
	s->regs[REG_RSP] = STACK;
	s->rflags = FLAG_ONE | (how & 0x10 ? FLAG_IF : 0) | (how & 0x20 ? FLAG_IOPL : 0) |
	            (how & 0x40 ? FLAG_TF : 0);
	if (mode == REAL16 || mode == V86) {
		s->rip = 0;
		s->regs[REG_RSP] = 0xfff0;
		segment(s, SEG_CS, CODE >> 4, CODE, 0xffff, mode == V86 ? 0xf3 : 0x9b);
		for (unsigned i = 0; i < SEG_COUNT; i++)
			if (i != SEG_CS)
				segment(s, i, 0x7000, 0x70000, 0xffff, mode == V86 ? 0xf3 : 0x93);
	} else {
		for (unsigned i = 0; i < SEG_COUNT; i++)
			segment(s, i, user ? 0x33 : 0x10, 0, ~0u, DATA | dpl | big);
		segment(s, SEG_CS, user ? mode == USER32 ? 0x3b : 0x2b : 8, 0, ~0u,
		        CODE_SEG | dpl | SEG_ATTR_G | (mode == LONG64 || mode == USER64 ? SEG_ATTR_L : 0) |
		                (mode == PROT32 || mode == PAGED32 || mode == PAE32 || mode == COMPAT32 ||
		                                 mode == USER32
		                         ? SEG_ATTR_DB
		                         : 0));
	}
	if (mode == REAL16)
		return;
	if (mode == V86)
		s->rflags |= FLAG_VM;
	s->gdtr = (struct vcpu_table){.base = GDT, .limit = 0x7f};
	s->idtr = (struct vcpu_table){.base = IDT, .limit = 0xfff};
	s->tr = (struct vcpu_segment){.selector = 0x18, .base = TSS, .limit = 0xe7, .attr = 0x8b};
	s->cr0 = CR0_PE | CR0_ET | (how & 0x80 ? 0 : CR0_NE) | CR0_MP;
	if (mode >= PAGED32) {
		s->cr0 |= CR0_PG | CR0_WP;
		s->cr3 = mode == PAE32 ? PDPT : wide ? PML4 : PD32;
		s->cr4 = mode == PAE32 || wide ? CR4_PAE : CR4_PSE;
	}
	s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_DE | CR4_PGE;
	s->xcr0 = 7;
	if (wide) {
		s->cr4 |= CR4_FSGSBASE;
		s->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	}
	s->lstar = s->cstar = s->sysenter_eip = CODE + 64;
	s->star = 0x0028000800000000;
	s->sysenter_cs = 8;
	s->sysenter_esp = STACK;
}

/* Each general register but the stack's: small, into RAM, to an edge, or anything. */
static void registers(struct vcpu_state *s, struct input *in)
{
	static const u64 edges[] = {0,       RAM_SIZE - 4,   0xfed00ffe, ROM_GPA,
	                            0xa0000, 0x7fffffffffff, ~0ULL,      1ULL << 63};

	static const u32 msrs[] = {0x10,       0x1b,       0x3b,       0xce,       0x174,      0x175,
	                           0x176,      0x1a0,      0x1d9,      0x200,      0x201,      0x250,
	                           0x259,      0x26f,      0x277,      0x2ff,      0x6e0,      0x830,
	                           0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100,
	                           0xc0000101, 0xc0000102, 0xc0000103, 0xda0,      0x48};

	for (unsigned i = 0; i < REG_COUNT; i++) {
		u8 how = (u8)in_bytes(in, 1);

		if (i == REG_RSP && (how & 3))
			continue;
		if (i == REG_RCX && how & 0x80) {
			s->regs[i] = msrs[how % ARRAY_SIZE(msrs)];
			continue;
		}
		switch (how & 3) {
		case 0:
			s->regs[i] = how >> 2;
			break;
		case 1:
			s->regs[i] = CODE + (how >> 2) * 512ULL;
			break;
		case 2:
			s->regs[i] = edges[how >> 2 & 7];
			break;
		case 3:
			s->regs[i] = how & 4 ? in_bytes(in, 8) : 0x90000 + (how >> 3) * 1021ULL;
			break;
		}
	}
}

/* ---- code ---- */

/* Instructions from the input, so that most of them are some: prefix, map and opcode, ModRM, then NOPs that
 * also are displacement and immediate. Returns the bytes made. */
static size_t in_code(struct input *in, u8 *to, size_t room, unsigned mode)
{
	static const u8 prefixes[] = {0, 0x66, 0xf3, 0xf2};
	u8 *p = to;

	for (unsigned i = 0; (i < INSTRUCTIONS || in->p < in->end) && (size_t)(p - to) + 24 < room; i++) {
		u8 how = (u8)in_bytes(in, 1), opcode = (u8)in_bytes(in, 1), modrm = (u8)in_bytes(in, 1);
		unsigned prefix = how & 3, map = how >> 2 & 7, nops = 4;

		if (map < 7 && prefixes[prefix])
			*p++ = prefixes[prefix];
		if (map == 3)
			*p++ = 0xf0;
		if (map < 7 && (mode == LONG64 || mode == USER64) && how & 0x20)
			*p++ = 0x48 | (how >> 6);
		if (map == 7) { /* VEX, three bytes: R, X, B off; W, length and prefix */
			*p++ = 0xc4;
			*p++ = 0xe0 | (1 + opcode % 3);
			*p++ = (u8)((how & 0x20 ? 0x80 : 0) | (modrm & 8 ? 0x78 : 0x60) | (how >> 4 & 4) |
			            prefix);
			opcode = (u8)in_bytes(in, 1);
		} else if (map >= 2 && map < 5) {
			*p++ = 0x0f;
		} else if (map >= 5) {
			*p++ = 0x0f;
			*p++ = map == 5 ? 0x38 : 0x3a;
		}
		*p++ = opcode;
		*p++ = how & 0x80 && modrm < 0xc0 ? (modrm & 0x3f) | 0x40 : modrm;
		memset(p, 0x90, nops);
		if (modrm & 1) /* small displacement, small immediate */
			p[0] = modrm >> 1, p[1] = 0x21;
		p += nops;
	}
	return (size_t)(p - to);
}

/* ---- runs ---- */

static void check_host(void)
{
	u32 mxcsr;
	u16 cw;

	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(cw));
	if ((mxcsr & ~0x3fu) != 0x1f80 || cw != 0x37f)
		abort();
}

static enum cpu_exit run(void)
{
	accesses = 0;
	atomic_store(&deadline, clock_monotonic_ns() + RUN_NS);
	enum cpu_exit exit = cpu_run(cpu);

	atomic_store(&deadline, 0);
	check_host();
	if (exit == CPU_EXIT_ERROR)
		abort();
	return exit;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct input in = {data, data + size, size};
	struct vcpu_state s;

	if (!ram)
		start();
	for (size_t i = 0; i < size; i++)
		in.more = (in.more ^ data[i]) * 0x100000001b3ULL;
	memset(ram, 0, RAM_SIZE);
	memset((void *)words, 0, sizeof(words));
	unsigned mode = (unsigned)in_bytes(&in, 1) % MODES;
	u8 how = (u8)in_bytes(&in, 1), events = (u8)in_bytes(&in, 1), patches = (u8)in_bytes(&in, 1);

	page_tables(mode);
	descriptors(mode);
	gates(mode, how);
	for (unsigned i = 0; i < PAGE_SIZE; i += 2)
		memcpy(ram + END_CODE + i, "\xe6\xf4", 2);
	prepare(&s, mode, how);
	registers(&s, &in);
	for (unsigned i = 0; i < (patches & 7); i++) {
		u64 at = in_bytes(&in, 2) & 0x7ff8;

		put64(at + 0x1000, in_bytes(&in, 8));
	}
	/* Errors of the vector unit masked, or not. */
	s.xsave[0] = events & 8 ? 0x40 : 0x7f;
	s.xsave[1] = 3;
	s.xsave[25] = events & 0x10 ? 0 : 0x1f;
	s.xsave[512] = 7;
	if (patches & 8)
		s.cr4 ^= in_bytes(&in, 4) & (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_SMEP | CR4_SMAP |
		                             CR4_UMIP | CR4_OSXSAVE);
	if (patches & 0x10) {
		s.dr[0] = CODE + in_bytes(&in, 1);
		s.dr[1] = STACK - in_bytes(&in, 1);
		s.dr7 = 0x400 | (in_bytes(&in, 4) & 0x00ff00ff);
	}
	size_t left = min((size_t)(in.end - in.p), (size_t)(STACK - CODE) / 2);
	if ((patches & 0x60) != 0x60)
		left = in_code(&in, ram + CODE, (STACK - CODE) / 2, mode);
	else
		memcpy(ram + CODE, in.p, left);
	memcpy(ram + CODE + left, "\xe6\xf4\xe6\xf4\xe6\xf4", 6);

	interrupts = events & 1;
	vector = events;
	atomic_store(&cpu->events, 0);
	atomic_store(&cpu->sipi_vector, CODE >> 12);
	cpu_set_state(cpu, &s);
	cpu_raise(cpu, interrupts ? CPU_EV_INTR : 0);
	cpu_raise(cpu,
	          (events & 2 ? CPU_EV_NMI : 0) | ((events & 0xf0) == 0xf0 ? CPU_EV_INIT | CPU_EV_SIPI : 0));
	if (run() == CPU_EXIT_STOPPED && events & 4) {
		cpu_get_state(cpu, &s);
		if (!(s.rflags & FLAG_ONE) || (s.rflags >> 22))
			abort();
		/* Saved and loaded it goes on. */
		cpu_set_state(cpu, &s);
		run();
	}
	return 0;
}
