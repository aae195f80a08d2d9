/*
 * What a multiboot guest finds: registers at entry, the information structure, fw_cfg, ACPI tables by scanning for the RSDP,
 * the serial port, unclaimed ports and memory; Multiboot 0.6.96, ACPI 6.4. guest: bits=both cpus=3
 */
#include "lib/guest.h"

extern u32 boot_eax, boot_ebx;

struct mbi {
	u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
};
static u64 ram;

static void multiboot(void)
{
	const struct mbi *m = (void *)(ulong)boot_ebx;

	check(boot_eax == 0x2badb002, "magic");
	check((m->flags & 0x47) == 0x47 || (m->flags & 0x45) == 0x45, "mbi-flags", "%x", m->flags);
	check(m->mem_lower >= 500 && m->mem_lower <= 640, "mem-lower", "%u", m->mem_lower);
	check(m->mem_upper > 100000 && m->mem_upper <= 130048, "mem-upper", "%u", m->mem_upper);
	const char *c = (void *)(ulong)m->cmdline;
	check(c[0] != 0, "cmdline-has-the-kernel", "%s", c);
	bool low = false, high = false, sane = true;
	u64 end = 0;
	for (u32 at = m->mmap_addr; at < m->mmap_addr + m->mmap_length;) {
		struct {
			u32 size;
			u64 base, length;
			u32 type;
		} __attribute__((packed)) const *e = (void *)(ulong)at;

		if (e->type == 1) {
			ram += e->length;
			low |= e->base == 0 && e->length >= 0x80000;
			high |= e->base == 0x100000 && e->length > 100 << 20;
		}
		sane &= e->size >= 20 && e->base >= end && e->length;
		end = e->base + e->length;
		at += e->size + 4;
	}
	check(low && high, "mmap-ram");
	check(sane, "mmap-sorted");
	check(!(m->flags & 8) || m->mods_count == 0, "no-modules");
}

static u64 fw_cfg(u16 key, int bytes)
{
	u64 v = 0;

	outw(0x510, key);
	for (int i = 0; i < bytes; i++)
		v |= (u64)inb(0x511) << 8 * i;
	return v;
}

static void configuration(void)
{
	check(fw_cfg(0, 4) == 0x554d4551, "fw-cfg-signature");
	check(fw_cfg(3, 8) == 128ull << 20, "fw-cfg-ram", "%x", (u32)fw_cfg(3, 8));
	check(fw_cfg(5, 2) == 3, "fw-cfg-cpus");
	check(fw_cfg(15, 2) >= 3, "fw-cfg-max-cpus");
	outw(0x510, 0x19);
	u32 n = 0;
	for (int i = 0; i < 4; i++)
		n = n << 8 | inb(0x511);
	check(n > 0 && n < 100, "fw-cfg-files", "%u", n);
	check(fw_cfg(0x7777, 4) == 0, "fw-cfg-unknown-key");
}

static u8 sum(const void *p, u32 n)
{
	u8 s = 0;

	for (const u8 *b = p; n; n--)
		s += *b++;
	return s;
}

static const u8 *found(const char *sig, const u8 *rsdt, const u8 *xsdt)
{
	const u8 *a = NULL, *b = NULL;

	for (u32 i = 36; i < *(u32 *)(rsdt + 4); i += 4)
		if (!memcmp((void *)(ulong) * (u32 *)(rsdt + i), sig, 4))
			a = (void *)(ulong) * (u32 *)(rsdt + i);
	for (u32 i = 36; xsdt && i < *(u32 *)(xsdt + 4); i += 8)
		if (!memcmp((void *)(ulong) * (u64 *)(xsdt + i), sig, 4))
			b = (void *)(ulong) * (u64 *)(xsdt + i);
	return a && (!xsdt || a == b) ? a : NULL;
}

static void acpi(void)
{
	const u8 *rsdp = NULL;

	for (ulong a = 0xe0000; a < 0x100000 && !rsdp; a += 16)
		if (!memcmp((void *)a, "RSD PTR ", 8) && !sum((void *)a, 20))
			rsdp = (void *)a;
	check(rsdp != NULL, "rsdp");
	if (!rsdp)
		return;
	const u8 *rsdt = (void *)(ulong) * (u32 *)(rsdp + 16), *xsdt = NULL;
	check(rsdt && !memcmp(rsdt, "RSDT", 4) && !sum(rsdt, *(u32 *)(rsdt + 4)), "rsdt");
	if (rsdp[15] >= 2) {
		check(!sum(rsdp, *(u32 *)(rsdp + 20)), "rsdp-extended-checksum");
		xsdt = (void *)(ulong) * (u64 *)(rsdp + 24);
		check(!memcmp(xsdt, "XSDT", 4) && !sum(xsdt, *(u32 *)(xsdt + 4)), "xsdt");
	}
	const u8 *fadt = found("FACP", rsdt, xsdt), *madt = found("APIC", rsdt, xsdt);
	check(fadt && !sum(fadt, *(u32 *)(fadt + 4)), "fadt");
	check(madt && !sum(madt, *(u32 *)(madt + 4)), "madt");
	if (!fadt || !madt)
		return;
	const u8 *facs = (void *)(ulong) * (u32 *)(fadt + 36), *dsdt = (void *)(ulong) * (u32 *)(fadt + 40);
	check(facs && !memcmp(facs, "FACS", 4) && !((ulong)facs & 63), "facs");
	check(dsdt && !memcmp(dsdt, "DSDT", 4) && !sum(dsdt, *(u32 *)(dsdt + 4)), "dsdt");
	u32 tmr = *(u32 *)(fadt + 76), evt = *(u32 *)(fadt + 56), cnt = *(u32 *)(fadt + 64);
	check(tmr && evt && cnt && fadt[91] == 4, "fadt-ports", "%x %x %x", evt, cnt, tmr);
	u32 t = inl((u16)tmr);
	delay(3000000);
	check(inl((u16)tmr) != t, "pm-timer-counts");
	check((inw((u16)cnt) & 1) == 1 || *(u32 *)(fadt + 48), "sci-en-or-smi-command");
	outw((u16)(evt + 2), 0x400);
	check(inw((u16)(evt + 2)) == 0x400, "pm1-enable-rtc");
	outw((u16)(evt + 2), 0);
	/* A disk, a sleep type, and its position: the DSDT names \_S5. */
	bool s5 = false;
	for (u32 i = 36; i + 4 < *(u32 *)(dsdt + 4); i++)
		s5 |= !memcmp(dsdt + i, "_S5_", 4);
	check(s5, "dsdt-s5");
	unsigned cpus = 0, io = 0;
	check(*(u32 *)(madt + 36) == 0xfee00000, "madt-lapic");
	for (u32 i = 44; i < *(u32 *)(madt + 4); i += madt[i + 1]) {
		if (!madt[i + 1])
			break;
		if (madt[i] == 0 && madt[i + 4] & 1)
			cpus++;
		if (madt[i] == 1 && *(u32 *)(madt + i + 4) == 0xfec00000)
			io++;
	}
	check(cpus == 3 && io == 1, "madt-entries", "%u %u", cpus, io);
}

static void ports(void)
{
	/* Serial as it is set up everywhere: DLAB, 115200, 8n1, FIFO. */
	outb(0x3f9, 0);
	outb(0x3fb, 0x80);
	outb(0x3f8, 1);
	outb(0x3f9, 0);
	check(inb(0x3f8) == 1 && inb(0x3f9) == 0, "serial-divisor");
	outb(0x3fb, 3);
	outb(0x3fa, 7);
	outb(0x3fc, 3);
	check((inb(0x3fd) & 0x60) == 0x60, "serial-ready");
	outb(0x3ff, 0x5a);
	check(inb(0x3ff) == 0x5a, "serial-scratch");
	outb(0x3fc, 0x1b); /* loopback */
	outb(0x3f8, 'x');
	check((inb(0x3fd) & 1) && inb(0x3f8) == 'x', "serial-loopback");
	outb(0x3fc, 3);
	/* Nobody there. */
	check(inb(0x3e8) == 0xff && inw(0x1f0) == 0xffff && inl(0x5000) == ~0u, "unclaimed-port");
	outb(0x5000, 1);
	outb(0x80, 1);
	check(*(volatile u32 *)0xfe800000 == ~0u, "unclaimed-memory", "%x", *(volatile u32 *)0xfe800000);
	*(volatile u32 *)0xfe800000 = 0;
	/* The test device's latch, of all sizes, also by string instructions. */
	outl(0xe0, 0x12345678);
	check(inl(0xe0) == 0x12345678 && inw(0xe0) == 0x5678 && inb(0xe0) == 0x78, "latch");
	outw(0xe0, 0xabcd);
	outb(0xe3, 0x99);
	check(inl(0xe0) == 0x9934abcd || inl(0xe0) == 0x1234abcd || inb(0xe3) == 0x99, "latch-parts", "%x", inl(0xe0));
	u8 buf[4] = {1, 2, 3, 4}, in[4];
	ulong n = 4;
	void *p = buf;
	asm volatile("rep outsb" : "+S"(p), "+c"(n) : "d"(0xe0) : "memory");
	check(inb(0xe0) == 4 && n == 0 && p == buf + 4, "rep-outs");
	n = 4, p = in;
	asm volatile("rep insb" : "+D"(p), "+c"(n) : "d"(0xe0) : "memory");
	check(in[0] == 4 && in[3] == 4, "rep-ins");
	/* The test device's memory takes every access size. */
	volatile u8 *m = (u8 *)0xff000000;
	*(volatile u32 *)m = 0x11223344;
	check(*(volatile u32 *)m == 0x11223344 && m[0] == 0x44 && *(volatile u16 *)(m + 2) == 0x1122, "test-memory");
	/* PCI: a host bridge at 0:0.0. */
	outl(0xcf8, 0x80000000);
	check(inl(0xcfc) != ~0u && inl(0xcfc) != 0, "pci-host-bridge", "%x", inl(0xcfc));
	outl(0xcf8, 0x8000f800);
	/* Port 0xf4 by word: the lib ends by byte. */
}

void test(void)
{
	multiboot();
	configuration();
	acpi();
	ports();
}
