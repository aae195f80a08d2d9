/*
 * A guest that means no good, on the runtime of the CPU test suite (../cpu/lib). The command line is
 * "SCENARIO SEED"; most scenarios go on until the VMM is killed. What a scenario writes is random, so some
 * machines are powered off, reset or shut down by it, as real ones would be. guest: bits=both
 */
#include "lib/guest.h"

static u64 state;

static u64 random64(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dULL;
}

static u32 below(u32 n)
{
	return (u32)(random64() >> 33) % n;
}

/* Small, a power of two, or anything. */
static inline u64 value(void)
{
	switch (below(4)) {
	case 0:
		return below(256);
	case 1:
		return 1ULL << below(64);
	case 2:
		return ~(u64)below(4096);
	default:
		return random64();
	}
}

static void ignore(struct frame *f)
{
	if (f->vector >= 16)
		apic_write(APIC_EOI, 0);
}

static void ignore_interrupts(void)
{
	handle(2, ignore);
	for (unsigned v = 32; v < 256; v++)
		handle(v, ignore);
}

static void die(void)
{
	static const struct {
		u16 limit;
		ulong base;
	} __attribute__((packed)) none = {0, 0};

	asm volatile("lidt %0; ud2" : : "m"(none));
}

#ifdef __x86_64__

/* ---- PCI ---- */

/* One processor at a time: address and data are two ports, and what is written to another's register moves a device. */
static u32 config_lock;

static void config_begin(u32 slot, u32 offset)
{
	while (__atomic_exchange_n(&config_lock, 1, __ATOMIC_ACQUIRE))
		asm volatile("pause");
	outl(0xcf8, 0x80000000 | slot << 11 | (offset & 0xfc));
}

static void config_end(void)
{
	__atomic_store_n(&config_lock, 0, __ATOMIC_RELEASE);
}

static u32 config_read(u32 slot, u32 offset)
{
	config_begin(slot, offset);
	u32 v = inl(0xcfc);
	config_end();
	return v;
}

static void config_write(u32 slot, u32 offset, u32 v)
{
	config_begin(slot, offset);
	outl(0xcfc, v);
	config_end();
}

/* A slot with this word (vendor 31:0 or class in 31:8) from `from` on; 32: none. */
static u32 slot_find(u32 from, u32 offset, u32 mask, u32 word)
{
	while (from < 32 && (config_read(from, offset) & mask) != word)
		from++;
	return from;
}

static ulong bar(u32 slot)
{
	config_write(slot, 4, 6);
	return (config_read(slot, 0x10) & ~0xfu) | (ulong)config_read(slot, 0x14) << 32;
}

static void write_any(ulong at, u32 size, u64 v)
{
	switch (size) {
	case 1:
		*(volatile u8 *)at = (u8)v;
		break;
	case 2:
		*(volatile u16 *)at = (u16)v;
		break;
	case 4:
		*(volatile u32 *)at = (u32)v;
		break;
	default:
		*(volatile u64 *)at = v;
		break;
	}
}

static void read_any(ulong at, u32 size)
{
	switch (size) {
	case 1:
		(void)*(volatile u8 *)at;
		break;
	case 2:
		(void)*(volatile u16 *)at;
		break;
	case 4:
		(void)*(volatile u32 *)at;
		break;
	default:
		(void)*(volatile u64 *)at;
		break;
	}
}

/* ---- storms ---- */

static void (*everyone_fn)(void);

static void everyone_interrupt(struct frame *f)
{
	everyone_fn();
}

/* fn, which does not return, on all processors. They share one state of the random numbers: all the better.
 */
static void everyone(void (*fn)(void))
{
	everyone_fn = fn;
	handle(0x41, everyone_interrupt);
	if (cpus_count() > 1) {
		cpus_start(NULL);
		apic_ipi(0, 0xc4041); /* all but self */
	}
	fn();
}

static void storm_config(void)
{
	for (;;) {
		u32 slot = below(8) ? below(6) : below(32), offset = below(4) ? below(0x100) : below(0x1000);
		ulong ecam = 0xe0000000 + (slot << 15) + offset;

		if (below(2)) { /* without the lock: the others may come between */
			outl(0xcf8, 0x80000000 | slot << 11 | (offset & 0xfc));
			outl(0xcfc, (u32)value());
		} else if (below(4))
			write_any(ecam, 1u << below(4), value());
		else
			read_any(ecam, 1u << below(4));
	}
}

static void storm_mmio(void)
{
	static const u32 places[] = {0xfec00000, 0xfee00000, 0xff000000, 0xfed00000,
	                             0xc0000000, 0xe0000000, 0xfffff000, 0xa0000};
	ulong bars[8];
	u32 count = 0;

	for (u32 s = 1; s < 6; s++)
		if (config_read(s, 0) != ~0u)
			bars[count++] = bar(s);
	for (;;) {
		ulong at = below(2) && count ? bars[below(count)] + below(0x8000)
		                             : places[below(ARRAY_SIZE(places))] + below(0x1000);

		/* An INIT to the only processor ends the story too early. */
		if ((at & ~0xfffUL) == 0xfee00000 && (at & 0xff0) == APIC_ICR)
			continue;
		if (below(4))
			at &= ~7UL;
		if (at > 0xfffffff8)
			continue; /* nothing is mapped behind it */
		if (below(4))
			write_any(at, 1u << below(4), value());
		else
			read_any(at, 1u << below(4));
	}
}

/* What ends a machine: i8042, system port A, reset control, ACPI's control registers. */
static bool ends(u16 port)
{
	return port == 0x60 || port == 0x64 || port == 0x92 || (port >= 0xcf8 && port < 0xd00) ||
	       (port >= 0x600 && port < 0x680);
}

static bool all_ports;

static void storm_ports(void)
{
	for (;;) {
		u16 port = (u16)(below(4) ? below(0x800) : random64());

		if (!all_ports &&
		    (ends(port) || ends((u16)(port + 1)) || ends((u16)(port + 2)) || ends((u16)(port + 3))))
			continue;
		switch (below(6)) {
		case 0:
			outb(port, (u8)value());
			break;
		case 1:
			outw(port, (u16)value());
			break;
		case 2:
			outl(port, (u32)value());
			break;
		case 3:
			inb(port);
			break;
		case 4:
			inw(port);
			break;
		default:
			inl(port);
			break;
		}
	}
}

static void storm_msrs(void)
{
	for (;;) {
		u32 msr = below(3) == 0 ? 0x800 + below(0x100)
		          : below(2)    ? below(0x1000)
		                        : 0xc0000080 + below(8);

		if (msr == 0x830 || msr == 0x1b)
			continue;
		if (below(2))
			TRY_WRMSR(msr, value());
		else
			TRY("rdmsr", : "c"(msr) : "eax", "edx");
		/* Long mode and our segments are still wanted. */
		TRY_WRMSR(0xc0000080, 0xd00);
	}
}

/* ---- disks and rings ---- */

/* An address for DMA: in memory, at its end, in a hole, at the device itself, or anywhere. */
static u64 dma_address(ulong device)
{
	switch (below(8)) {
	case 0:
		return 0x4000000 - 4096 * below(4) + below(2) * 8;
	case 1:
		return 0xa0000 - below(3) * 0x1000;
	case 2:
		return device + below(4) * 0x1000;
	case 3:
		return random64();
	case 4:
		return 0xfee00000;
	case 5:
		return 0xfffffffffffff000ULL + below(2) * 0xf00;
	default:
		return 0x2000000 + below(0x1000) * 4096ULL;
	}
}

#define QUEUES 0x3000000UL

static void nvme_command(u32 *c, ulong regs)
{
	static const u8 opcodes[] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12};

	memset(c, 0, 64);
	c[0] = opcodes[below(ARRAY_SIZE(opcodes))] | (below(4) ? 0 : 0x4000) | below(65536) << 16;
	c[1] = below(8) ? 1 : (u32)value();
	for (unsigned i = 6; i < 10; i += 2) {
		u64 a = dma_address(regs);

		c[i] = (u32)a;
		c[i + 1] = (u32)(a >> 32);
	}
	if (c[0] & 0x4000) { /* an SGL: length and type */
		c[8] = below(64) * 512;
		c[9] = below(4) << 28;
	}
	c[10] = below(2) ? below(20000) : (u32)value();
	c[11] = below(4) ? below(4) : (u32)value();
	c[12] = below(256);
}

static void storm_nvme(void)
{
	u32 slot = slot_find(0, 8, 0xffffff00, 0x01080200);

	check(slot < 32, "nvme", "");
	ulong regs = bar(slot);
	for (;;) {
		bool good = below(4);

		write_any(regs + 0x14, 4, 0);
		write_any(regs + 0x24, 4, good ? 0x003f003f : (u32)value());
		write_any(regs + 0x28, 8, good ? QUEUES : dma_address(regs));
		write_any(regs + 0x30, 8, good ? QUEUES + 0x1000 : dma_address(regs));
		write_any(regs + 0x14, 4, below(8) ? 0x00460001 : (u32)value());
		for (unsigned round = 0; round < 40; round++) {
			for (unsigned i = 0; i < 64; i++)
				nvme_command((u32 *)(QUEUES + i * 64), regs);
			/* Queue 1, proper or not, so that commands to the disk are seen as well. */
			u32 *c = (u32 *)QUEUES;
			memset(c, 0, 128);
			c[0] = 5;
			c[6] = QUEUES + 0x3000;
			c[10] = 0x003f0001;
			c[11] = 1;
			c[16] = 1;
			c[22] = QUEUES + 0x2000;
			c[26] = 0x003f0001;
			c[27] = 0x00010001;
			for (unsigned i = 0; i < 64; i++)
				nvme_command((u32 *)(QUEUES + 0x2000 + i * 64), regs);
			for (unsigned i = 0; i < 512; i++)
				((u64 *)0x2000000)[i] = dma_address(regs);
			write_any(regs + 0x1000, 4, below(64));
			for (unsigned i = 0; i < 8; i++)
				write_any(regs + 0x1000 + below(6) * 4, 4,
				          below(4) ? below(64) : (u32)value());
			read_any(regs + 0x1c, 4);
		}
	}
}

static void virtio_descriptors(u64 *table, ulong regs)
{
	for (unsigned i = 0; i < 256; i++) {
		table[i * 2] = below(4) ? 0x2000000 + below(0x100000) : dma_address(regs);
		table[i * 2 + 1] = (below(4) ? below(8) * 512 : (u32)value()) |
		                   (u64)below(below(4) ? 4 : 8) << 32 |
		                   (u64)(below(16) ? (i + 1) % 256 : (u32)value() & 0xffff) << 48;
	}
}

/* One device for a while: any rings, any descriptors. */
static void virtio_abuse(u32 slot)
{
	ulong b = bar(slot), common = 0, notify = 0;

	for (u32 at = config_read(slot, 0x34) & 0xfc; at; at = config_read(slot, at) >> 8 & 0xfc) {
		u32 head = config_read(slot, at);

		if ((head & 0xff) != 9)
			continue;
		if (head >> 24 == 1)
			common = b + config_read(slot, at + 8);
		if (head >> 24 == 2)
			notify = b + config_read(slot, at + 8);
	}
	if (!common || !notify)
		return;
	for (unsigned round = 0; round < 8; round++) {
		write_any(common + 0x14, 1, 0);
		write_any(common + 0x14, 1, 3);
		for (unsigned half = 0; half < 2; half++) {
			write_any(common, 4, half);
			u32 offered = *(volatile u32 *)(common + 4);
			write_any(common + 8, 4, half);
			write_any(common + 0xc, 4, below(2) ? offered : half);
		}
		write_any(common + 0x14, 1, 11);
		for (u32 q = 0; q < 3; q++) {
			bool good = below(4);
			ulong rings = QUEUES + q * 0x3000;

			write_any(common + 0x16, 2, q);
			write_any(common + 0x20, 8, good ? rings : dma_address(b));
			write_any(common + 0x28, 8, good ? rings + 0x1000 : dma_address(b));
			write_any(common + 0x30, 8, good ? rings + 0x2000 : dma_address(b));
			write_any(common + 0x1c, 2, 1);
		}
		write_any(common + 0x14, 1, 15);
		for (unsigned i = 0; i < 30; i++) {
			u32 q = below(3);
			u16 *avail = (u16 *)(QUEUES + q * 0x3000 + 0x1000);

			virtio_descriptors((u64 *)(QUEUES + q * 0x3000), b);
			for (unsigned k = 0; k < 258; k++)
				avail[k] = (u16)(below(64) ? below(256) : random64());
			avail[1] = (u16)(below(16) ? i + 1 : random64());
			write_any(notify + q * 4, 2, q);
		}
	}
}

static void storm_virtio(void)
{
	for (;;)
		for (u32 slot = slot_find(0, 0, 0xffff, 0x1af4); slot < 32;
		     slot = slot_find(slot + 1, 0, 0xffff, 0x1af4))
			virtio_abuse(slot);
}

/* ---- any bytes as code ---- */

#define CHUNK 0x2000000UL

static bool user_bytes;
static ulong good_cr3;
static char bytes_stack[8192] __attribute__((aligned(16), used));

static void bytes_fill(u8 *p, unsigned n)
{
	static const char *const starts[] = {
	        "\x0f\x01", "\x0f",     "\x0f\x20", "\x0f\x22", "\x0f\x21",     "\x0f\x23",     "\x0f\x30",
	        "\x0f\x32", "\xf4",     "\xfb",     "\xcf",     "\x48\xcf",     "\x0f\x05",     "\x0f\x07",
	        "\x0f\xae", "\xc5",     "\xc4\xe2", "\xc4\xe3", "\x66\x0f\x38", "\x66\x0f\x3a", "\xf3\xa4",
	        "\xf3\xab", "\x0f\xc7", "\xcd",     "\xea",     "\xff",         "\x8e",         "\xf0\x0f",
	        "\x0f\xc1", "\x9b\xd9", "\xdd",     "\xdf",     "\x62",         "\x48\x0f",     "\x0f\xc7",
	        "\xf3\x0f", "\xf2\x0f", "\xca",     "\xc8",     "\x9d"};

	for (unsigned i = 0; i < n;) {
		const char *s = starts[below(ARRAY_SIZE(starts))];

		while (below(8) && *s && i < n)
			p[i++] = (u8)*s++;
		for (unsigned k = below(6); k && i < n; k--)
			p[i++] = (u8)random64();
	}
}

/* Where every exception and interrupt leads: the processor is put right again, and off it goes. */
static void __attribute__((naked)) bytes_again(void)
{
	asm("cld; lgdt gdt_pointer\n"
	    "mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss\n"
	    "mov $bytes_stack + 8192, %rsp\n"
	    "call bytes_next\n");
}

void bytes_next(void);
void bytes_next(void)
{
	u8 *code = (u8 *)(CHUNK + below(2) * 4096 * 511 + below(4096));
	u64 regs[8];

	write_cr3(good_cr3);
	asm volatile("mov %0, %%dr7" : : "r"(0x400UL));
	apic_write(APIC_EOI, 0);
	bytes_fill(code, 128);
	for (unsigned i = 0; i < 8; i++)
		regs[i] = below(2) ? CHUNK + below(65536) : value();
	asm volatile("push %[ss]; push %[sp]; push %[flags]; push %[cs]; push %[ip]\n"
	             "mov (%[r]), %%rax; mov 8(%[r]), %%rcx; mov 16(%[r]), %%rdx; mov 24(%[r]), %%rsi\n"
	             "mov 32(%[r]), %%rdi; mov 40(%[r]), %%rbp; mov 48(%[r]), %%r8; mov 56(%[r]), %%rbx\n"
	             "iretq"
	             :
	             : [ss] "r"(user_bytes ? (ulong)USERDATA : (ulong)DATA), [sp] "r"(CHUNK + 0x100000),
	               [flags] "r"(below(16) ? 0x202UL : 0x302UL),
	               [cs] "r"(user_bytes ? (ulong)USER64 : (ulong)CODE64), [ip] "r"(code), [r] "r"(regs)
	             : "memory");
	__builtin_unreachable();
}

static void storm_bytes(bool user)
{
	u64 *pdpt = (u64 *)(boot_pml4[0] & ~0xfffULL), *pd = (u64 *)(pdpt[0] & ~0xfffULL);
	static char stack[4096] __attribute__((aligned(16)));

	user_bytes = user;
	good_cr3 = read_cr3();
	/* From user mode the runtime cannot be reached, and its own tables are read-only to nobody. */
	for (unsigned i = 0; i < 8; i++)
		pd[i] &= ~4ULL;
	write_cr3(good_cr3);
	tss.ist[0] = (ulong)stack + sizeof(stack);
	for (unsigned v = 0; v < 256; v++)
		idt_gate(v, (void *)bytes_again, 0xee, CODE64, 1);
	/* Out of loops and halts: the timer's pin gives NMIs, 2 kHz. */
	outb(0x43, 0x34);
	outb(0x40, 0x54);
	outb(0x40, 0x02);
	*(volatile u32 *)0xfec00000 = 0x14;
	*(volatile u32 *)0xfec00010 = 0x400;
	bytes_next();
}

/* ---- processors against each other ---- */

/* Real mode, so that it can be restarted anywhere: x2APIC on, then IPIs for ever. Its page is at 0x9000. */
extern char ipi_entry[], ipi_entry_end[];
asm(".pushsection .text; .code16\n"
    "ipi_entry:\n"
    "cli; xor %ax, %ax; mov %ax, %ss; mov $0x6f00, %sp; mov %cs, %ax; mov %ax, %ds\n"
    "mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr\n"
    "mov $0x80f, %ecx; mov $0x1ff, %eax; xor %edx, %edx; wrmsr\n"
    "mov $0x802, %ecx; rdmsr; mov %eax, %ebx; shl $8, %ax; sub %ax, %sp\n" /* a stack for each */
    "imul $0x9e3779b9, %ebx; add ipi_seed - ipi_entry, %ebx; sti\n"
    "1: imul $1103515245, %ebx; add $12345, %ebx\n"
    "mov %ebx, %edx; shr $16, %edx; and $3, %edx; jnz 2f; inc %edx; 2:\n" /* whom: not the first processor */
    "mov %ebx, %esi; shr $20, %esi; and $7, %esi; shl $2, %esi; mov ipi_kinds - ipi_entry(%esi), %eax\n"
    "mov $0x830, %ecx; wrmsr\n"
    "mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr\n"
    "test $0xf000000, %ebx; jnz 1b; sti; hlt; jmp 1b\n"
    ".align 4\n"
    "ipi_kinds: .long 0x4500, 0x4609, 0x4609, 0x40ff, 0x4041, 0x4400, 0x4180, 0x4609\n"
    "ipi_seed: .long 0\n"
    "ipi_entry_end: .code64; .popsection");

static void storm_ipis(void)
{
	static const u32 kinds[] = {0x4500, 0x4609, 0x4609, 0x4041, 0x4400,
	                            0x4180, 0x4200, 0x4700, 0x8500, 0x4010};

	for (unsigned v = 15; v < 32; v++)
		handle(v, ignore); /* a spurious interrupt of the PIC; an IPI */
	/* Whatever arrives in real mode is answered by IRET. */
	*(volatile u8 *)0x9f00 = 0xcf;
	for (unsigned v = 0; v < 256; v++)
		((volatile u32 *)0)[v] = 0x9f00;
	memcpy((void *)0x9000, ipi_entry, (size_t)(ipi_entry_end - ipi_entry));
	*(u32 *)(0x9000 + (ipi_entry_end - ipi_entry) - 4) = (u32)state;
	apic_ipi(0, 0xc4500);
	apic_ipi(0, 0xc4609);
	for (;;) {
		u32 low = kinds[below(ARRAY_SIZE(kinds))], dest = below(5);

		/* Our own INIT would end it. */
		if (!(low & 0x500) || dest)
			apic_ipi(dest, low);
		if (!below(16))
			asm volatile("sti; hlt");
		cli();
	}
}

/* Slots of eight bytes: mov $n, %eax; ret. Both halves of n tell of each other, so a torn one would show. */
#define SLOTS 2048
#define ALIAS (1UL << 39) /* all memory once more */

static void smc_cpu(void)
{
	u32 cpu = apic_read(APIC_ID) >> 24;
	u64 own = state + cpu * 0x9e3779b97f4a7c15ULL;

	for (;;) {
		own ^= own << 13;
		own ^= own >> 7;
		own ^= own << 17;
		ulong base = CHUNK + (own & 0x100 ? ALIAS : 0), from = CHUNK + (own & 0x200 ? ALIAS : 0);
		u16 half = (u16)(own >> 40);
		u32 n = half | (u32)(u16)~half << 16, got;

		*(volatile u64 *)(base + (own >> 12) % SLOTS * 8) = 0xb8 | (u64)n << 8 | 0x9090c3ULL << 40;
		asm volatile("call *%1" : "=a"(got) : "r"(from + (own >> 24) % SLOTS * 8) : "memory");
		if ((got & 0xffff) != (~got >> 16)) {
			print("not ok code # cpu %u: eax %x\n", cpu, got);
			guest_exit(1);
		}
	}
}

static void storm_code(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		((volatile u64 *)CHUNK)[i] = 0xb8 | 0xffff0000ULL << 8 | 0x9090c3ULL << 40;
	boot_pml4[1] = boot_pml4[0];
	write_cr3(read_cr3());
	everyone(smc_cpu);
}

static void ap_dies(unsigned cpu)
{
	if (cpu == 2)
		die();
}

#else

/* ---- real mode ---- */

/* At 0x7000: to real mode, then to 0x1000:0; at 0x7000 + again every interrupt goes on at another paragraph.
 */
extern char real_entry[], real_entry_end[], real_again[], real_state[];
asm(".pushsection .text; .code32\n"
    "real_entry:\n"
    "ljmp $0x48, $(real_16 - real_entry) + 0x7000\n"
    ".code16\n"
    "real_16: mov $0x40, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss; mov %ax, %fs; mov %ax, %gs\n"
    "mov %cr0, %eax; and $0x7ffffffe, %eax; mov %eax, %cr0\n"
    "ljmp $0, $(real_again - real_entry) + 0x7000\n"
    "real_again: cli; xor %ax, %ax; mov %ax, %ds; mov %ax, %ss; mov $0x6ff0, %sp\n"
    "mov $0x20, %al; out %al, $0x20\n"
    "imull $1103515245, (real_state - real_entry) + 0x7000, %eax; add $12345, %eax\n"
    "mov %eax, (real_state - real_entry) + 0x7000\n"
    "shr $16, %eax; and $0x7fff, %ax; add $0x1000, %ax; mov %ax, %es; mov %ax, %ds\n"
    "pushw $0x202; push %ax; pushw $0; mov %eax, %ebx; mov %eax, %esi; iretw\n"
    ".align 4\n"
    "real_state: .long 1\n"
    "real_entry_end: .code32; .popsection");

/* Fills memory with bytes (or loops) and executes them in real mode; the timer's interrupt ends what hangs.
 */
static void storm_real(bool loop)
{
	u8 *code = (u8 *)0x10000;

	for (unsigned i = 0; i < 0x80000; i++)
		code[i] = loop ? "\xeb\xfe"[i & 1] : (u8)random64();
	memcpy((void *)0x7000, real_entry, (size_t)(real_entry_end - real_entry));
	*(u32 *)(0x7000 + (real_state - real_entry)) = (u32)state;
	for (unsigned v = 0; v < 256; v++)
		((volatile u32 *)0)[v] = (u32)(0x7000 + (real_again - real_entry));
	asm volatile("lidt %0" : : "m"(*(const u8(*)[6]) "\xff\x03\0\0\0\0"));
	if (!loop)
		outb(0x21, 0xfe);
	((void (*)(void))0x7000)();
}

/* As user code of a 32-bit kernel without paging. */
static void user_bytes(void *arg)
{
	u8 *code = arg;

	for (unsigned i = 0; i < 4096; i++)
		code[i] = (u8)random64();
	((void (*)(void))code)();
}

static void user_again(struct frame *f)
{
	if (!(f->cs & 3))
		guest_exit(1);
	f->rip = (ulong)user_bytes;
	f->cs = USER32;
	f->ss = f->ds = f->es = USERDATA;
	f->rsp = 0x2100000 - 8;
	*(u32 *)(0x2100000 - 4) = 0x2000000 + below(0x1000);
	f->rflags = 2;
}

static void storm_user(void)
{
	for (unsigned v = 0; v < 20; v++)
		handle(v, user_again);
	user_call(user_bytes, (void *)0x2000000);
}

#endif

static bool is(const char *name)
{
	const char *p = guest_args;

	while (*name && *p == *name)
		p++, name++;
	return !*name && *p == ' ';
}

void test(void)
{
	const char *p = guest_args;

	while (*p && *p != ' ')
		p++;
	while (*p++)
		state = state * 10 + (u64)(*p ? *p - '0' : 0);
	state = state * 0x9e3779b97f4a7c15ULL + 1;
	ignore_interrupts();
	print("begin %s\n", guest_args);
	if (is("die"))
		die();
#ifdef __x86_64__
	if (is("die-ap"))
		cpus_start(ap_dies);
	if (is("config"))
		everyone(storm_config);
	if (is("mmio"))
		everyone(storm_mmio);
	all_ports = is("all-ports");
	if (is("ports") || all_ports)
		everyone(storm_ports);
	if (is("msrs"))
		everyone(storm_msrs);
	if (is("nvme"))
		everyone(storm_nvme);
	if (is("virtio"))
		everyone(storm_virtio);
	if (is("kernel-bytes"))
		storm_bytes(false);
	if (is("user-bytes"))
		storm_bytes(true);
	if (is("ipis"))
		storm_ipis();
	if (is("code"))
		storm_code();
#else
	if (is("real-loop"))
		storm_real(true);
	if (is("real-bytes"))
		storm_real(false);
	if (is("user-bytes"))
		storm_user();
#endif
	print("no scenario '%s'\n", guest_args);
}
