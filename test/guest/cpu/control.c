/*
 * CR0, CR3, CR4, CR8, EFER, MSRs: what may be written, and what #GPs; PCID and INVPCID; SMAP, SMEP and UMIP outside of the
 * page tables' matrix; what CPUID says; SDM vol. 3 ch. 2, 4.10, vol. 4. guest: bits=both
 */
#include "lib/guest.h"

#define TRY_CR(n, v) TRY("mov %0, %%cr" #n, : "r"((ulong)(v)) : "memory")

static bool has(u32 leaf, u32 sub, int reg, int bit)
{
	u32 r[4];

	cpuid(leaf & 0x80000000, 0, r);
	if (r[0] < leaf)
		return false;
	cpuid(leaf, sub, r);
	return r[reg] >> bit & 1;
}

static void cr0(void)
{
	ulong v = read_cr0();

	TRY_CR(0, (v & ~1ul) | 0x80000000);
	check_fault(13, 0, "cr0-pg-without-pe");
	TRY_CR(0, v | 0x20000000);
	check_fault(13, 0, "cr0-nw-without-cd");
	TRY_CR(0, v | 0x60000000);
	check_fault(-1, 0, "cr0-nw-cd");
	TRY_CR(0, v | 0x40000000);
	check_fault(-1, 0, "cr0-cd");
	TRY_CR(0, v);
	TRY_CR(0, v & ~0x10ul);
	check(fault.vector == -1 && read_cr0() & 0x10, "cr0-et-is-fixed");
	TRY_CR(0, v | 0x1ffaffc0);
	check(fault.vector == -1 && read_cr0() == v, "cr0-reserved-low-ignored", "%d %lx", fault.vector, read_cr0());
#ifdef __x86_64__
	TRY_CR(0, v | 1ul << 32);
	check_fault(13, 0, "cr0-reserved-high");
	TRY_CR(0, v & ~0x80000000ul);
	check_fault(13, 0, "cr0-pg-off-in-64-bit-code");
#endif
	TRY("lmsw %w0", : "r"((u32)v & ~1u));
	check(read_cr0() & 1, "lmsw-keeps-pe");
	TRY("lmsw %w0", : "r"((u32)v | 8));
	check(read_cr0() == (v | 8), "lmsw-sets-ts");
	TRY("clts");
	check(read_cr0() == v, "clts");
	u32 w = ~0u;
	asm volatile("smsw %k0" : "+r"(w));
	check((w & 0xffff) == (v & 0xffff), "smsw", "%x", w);
}

static void cr4(void)
{
	ulong v = read_cr4();

	for (int i = 0; i < BITS; i++) {
		bool must_fault = i == 15 || (i > 25 && i != 27) || (i == 12 && BITS == 64) || i == 13 || i == 14 || i == 19 || i == 22;

		if (i == 13)
			must_fault = !has(1, 0, 2, 5);
		if (i == 14)
			must_fault = !has(1, 0, 2, 6);
		if (i == 19)
			must_fault = !has(7, 0, 2, 23);
		if (i == 22)
			must_fault = !has(7, 0, 2, 3);
		if (i == 12 || (i > 22 && i < 26) || i == 27 || i == 28)
			continue;
		if (!must_fault)
			continue;
		TRY_CR(4, v | 1ul << i);
		if (fault.vector != 13)
			check(false, "cr4-reserved", "bit %d vector %d", i, fault.vector);
		if (fault.vector == -1)
			write_cr4(v);
	}
	check(read_cr4() == v, "cr4-unchanged");
	TRY_CR(4, v | 1 << 12);
	if (has(7, 0, 2, 16))
		skip("cr4-la57", "offered");
	else
		check_fault(13, 0, "cr4-la57-not-offered");
	const int toggled[] = {2, 3, 4, 6, 7, 8, 9, 10};
	for (unsigned i = 0; i < ARRAY_SIZE(toggled); i++) {
		TRY_CR(4, v ^ 1ul << toggled[i]);
		if (fault.vector != -1 || read_cr4() != (v ^ 1ul << toggled[i]))
			check(false, "cr4-toggle", "bit %d vector %d", toggled[i], fault.vector);
	}
	write_cr4(v);
#ifdef __x86_64__
	TRY_CR(4, v & ~0x20ul);
	check_fault(13, 0, "cr4-pae-off-in-long-mode");
#endif
	TRY("mov %%cr1, %0", "=r"(v));
	check_fault(6, 0, "cr1-ud");
	TRY("mov %0, %%cr5", : "r"(v));
	check_fault(6, 0, "cr5-ud");
	TRY("mov %%cr7, %0", "=r"(v));
	check_fault(6, 0, "cr7-ud");
}

static void efer(void)
{
	u64 v = rdmsr(MSR_EFER);

	TRY_WRMSR(MSR_EFER, v | 1 << 1);
	check_fault(13, 0, "efer-reserved-1");
	TRY_WRMSR(MSR_EFER, v | 1ull << 32);
	check_fault(13, 0, "efer-reserved-32");
	TRY_WRMSR(MSR_EFER, v | 1 << 12);
	check(fault.vector == (has(0x80000001, 0, 2, 2) ? -1 : 13), "efer-svme", "%d", fault.vector);
	TRY_WRMSR(MSR_EFER, v ^ 1);
	check(fault.vector == -1 && rdmsr(MSR_EFER) == (v ^ 1), "efer-sce");
	TRY_WRMSR(MSR_EFER, v);
#ifdef __x86_64__
	TRY_WRMSR(MSR_EFER, v & ~0x100ull);
	check_fault(13, 0, "efer-lme-off-while-paging");
	TRY_WRMSR(MSR_EFER, v & ~0x400ull);
	check(rdmsr(MSR_EFER) & 0x400, "efer-lma-is-read-only");
#else
	TRY_WRMSR(MSR_EFER, v | 0x100);
	check_fault(-1, 0, "efer-lme-without-paging");
	TRY_CR(0, read_cr0() | 0x80000000); /* PAE is clear */
	check_fault(13, 0, "lme-pg-without-pae");
	wrmsr(MSR_EFER, v);
#endif
}

static void msrs(void)
{
	static const struct {
		u32 msr;
		u64 value, keep;
		bool only64, canonical;
	} row[] = {
		{0x174, 0x1234},
		{0x175, BITS == 64 ? 0x123456789abc : 0x56789abc, 0, false, true},
		{0x176, BITS == 64 ? 0x123456789abc : 0x56789abc, 0, false, true},
		{0x277, 0x0007040600070406},
		{0x277, 0x07070707},
		{0xc0000081, 0x123456789abcdef0},
		{0xc0000082, 0x123456789abc, 0, true, true},
		{0xc0000083, 0x123456789abc, 0, true, true},
		{0xc0000084, 0xffffffff},
		{0xc0000100, 0x123456789abc, 0, true, true},
		{0xc0000101, 0x123456789abc, 0, true, true},
		{0xc0000102, 0x123456789abc, 0, true, true},
		{0xc0000103, 0x89abcdef},
		{0x1a0, 0x400c50809, 0x1880},
		{0x48, 1},
		{0x3b, 0x1000},
		{0x250, 0x0606060606060606},
		{0x268, 0x0000010405060600},
		{0x200, 0x80000006},
		{0x201, 0xff80000800},
		{0x2ff, 0xc06},
		{0x17a, 0},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		if (row[i].only64 && BITS == 32)
			continue;
		TRY("rdmsr", : "c"(row[i].msr) : "eax", "edx");
		if (fault.vector != -1) {
			check(false, "msr-read", "%x", row[i].msr);
			continue;
		}
		u64 old = rdmsr(row[i].msr), want = (row[i].value & ~row[i].keep) | (old & row[i].keep);
		TRY_WRMSR(row[i].msr, want);
		u64 now = rdmsr(row[i].msr);
		if (fault.vector == -1)
			wrmsr(row[i].msr, old);
		if (fault.vector != -1 || now != want)
			check(false, "msr-write", "%x vector %d now %x%x", row[i].msr, fault.vector, (u32)(now >> 32), (u32)now);
		if (row[i].canonical) {
			TRY_WRMSR(row[i].msr, 0xaaaaaaaaaaaaaaaa);
			if (fault.vector != 13)
				check(false, "msr-canonical", "%x %d", row[i].msr, fault.vector);
			wrmsr(row[i].msr, old);
		}
	}
	static const struct {
		u32 msr;
		u64 value;
	} bad[] = {
		{0x277, 2}, {0x277, 3}, {0x277, 8}, {0x277, 0x0100000000000200}, {0x250, 2}, {0x2ff, 2}, {0x2ff, 0x100}, {0x2ff, 0x1006},
		{0x200, 2}, {0x200, 0x106}, {0x201, 0x400}, {0x201, 1ull << 52}, {0xc0000103, 1ull << 32}, {0xc0000084, 1ull << 32}, {0x48, 1ull << 63},
		{0x49, 2}, {0x49, 1ull << 32}, {0x1b, 0xfee00901}, {0x12345, 0}, {0xc0010117, 0}, {0x480, 0}, {0xfe, 0}, {0x400 + 4 * 31, 0},
		{0x309, 0}, {0x38f, 0}, {0xd90, 0}, {0xe1, 0}, {0x122, 0}, {0xda0, 1}, {0x6a0, 0}, {0x1d9, 1ull << 40},
	};
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		TRY_WRMSR(bad[i].msr, bad[i].value);
		if (fault.vector != 13 || fault.error)
			check(false, "msr-bad-write", "%x %d", bad[i].msr, fault.vector);
	}
	static const u32 absent[] = {0x12345, 0xc0010117, 0x480, 0x49, 0xd90, 0x400 + 4 * 31, 0x309, 0x38f, 0x122, 0xffffffff, 0x40000082, 0x6e1, 0x830};
	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
		TRY("rdmsr", : "c"(absent[i]) : "eax", "edx");
		if (fault.vector != 13 || fault.error)
			check(false, "msr-absent-read", "%x %d", absent[i], fault.vector);
	}
	u32 banks = rdmsr(0x179) & 0xff;
	for (u32 b = banks; b < 32; b++)
		for (u32 k = 0; k < 4; k++) {
			TRY("rdmsr", : "c"(0x400 + 4 * b + k) : "eax", "edx");
			if (fault.vector != 13)
				check(false, "mc-bank-absent", "%d", b);
		}
	check(true, "msrs-done");
}

static void absent(void)
{
	if (!has(7, 0, 2, 3)) {
		TRY(".byte 0x0f, 0x01, 0xee", : "c"(0) : "eax", "edx"); /* RDPKRU */
		check_fault(6, 0, "rdpkru-absent");
		TRY(".byte 0x0f, 0x01, 0xef", : "a"(0), "c"(0), "d"(0));
		check_fault(6, 0, "wrpkru-absent");
	}
	if (!has(0x80000008, 0, 1, 4)) {
		TRY(".byte 0x0f, 0x01, 0xfd", : "c"(0) : "eax", "edx"); /* RDPRU */
		check_fault(6, 0, "rdpru-absent");
	}
	if (!has(1, 0, 2, 3)) {
		TRY(".byte 0x0f, 0x01, 0xc8", : "a"(0), "c"(0), "d"(0)); /* MONITOR */
		check_fault(6, 0, "monitor-absent");
		TRY(".byte 0x0f, 0x01, 0xc9", : "a"(0), "c"(0)); /* MWAIT */
		check_fault(6, 0, "mwait-absent");
	}
	if (!has(1, 0, 2, 5)) {
		TRY(".byte 0x0f, 0x01, 0xc4"); /* VMXOFF */
		check_fault(6, 0, "vmxoff-absent");
		TRY(".byte 0x0f, 0x01, 0xc2"); /* VMLAUNCH */
		check_fault(6, 0, "vmlaunch-absent");
	}
	if (!has(7, 0, 1, 11)) {
		TRY(".byte 0x0f, 0x01, 0xd5"); /* XEND */
		check_fault(6, 0, "xend-absent");
	}
	TRY(".byte 0x0f, 0xaa"); /* RSM outside of SMM */
	check_fault(6, 0, "rsm");
	u32 r[4];
	cpuid(0xa, 0, r);
	if (!(r[0] & 0xff)) {
		TRY("rdpmc", : "c"(0) : "eax", "edx");
		check_fault(13, 0, "rdpmc-without-counters");
	}
}

static ulong hypercall(ulong nr, ulong b, ulong c, ulong d, ulong s)
{
	ulong v = nr;

	TRY("vmcall", "+a"(v) : "b"(b), "c"(c), "d"(d), "S"(s) : "memory");
	return v;
}

static void end_of_interrupt(struct frame *f) { apic_write(APIC_EOI, 0); }

static void hypercalls(void)
{
	u32 r[4];

	cpuid(0x40000000, 0, r);
	if (!(has(1, 0, 2, 31) && r[1] == 0x4b4d564b)) {
		skip("hypercalls", "no KVM");
		return;
	}
	check(r[0] >= 0x40000001 && r[2] == 0x564b4d56 && r[3] == 0x4d, "kvm-signature");
	ulong v = hypercall(~0u, 0, 0, 0, 0);
	check(fault.vector == -1 && v == (ulong)-1000, "hypercall-enosys", "vector %d value %lx", fault.vector, v);
	/* IPIs to a set: nobody is that far out; processor 0 is. */
	v = hypercall(10, 0xffffffff, 0, 0xffffffff, 0);
	check(fault.vector == -1 && v == 0, "hypercall-ipi-nobody", "%lx", v);
	v = hypercall(10, 1, 0, 0, 0x45);
	check(v == 1 && apic_read(APIC_IRR + 0x20) == 1 << 5, "hypercall-ipi", "%lx", v);
	handle(0x45, end_of_interrupt);
	asm volatile("sti; nop; cli");
}

static void cpuids(void)
{
	u32 r[4], s[4];

	cpuid(0, 0, r);
	check(r[0] >= 0xd, "cpuid-max", "%x", r[0]);
	cpuid(1, 0, s);
	check(s[1] >> 24 == apic_read(APIC_ID) >> 24, "cpuid-apic-id");
	check((s[1] >> 8 & 0xff) == 8, "cpuid-clflush");
	write_cr4(read_cr4() | 0x40000);
	check(has(1, 0, 2, 27), "cpuid-osxsave-follows-cr4");
	write_cr4(read_cr4() & ~0x40000ul);
	check(!has(1, 0, 2, 27), "cpuid-osxsave-clear");
	u64 base = rdmsr(0x1b);
	wrmsr(0x1b, base & ~0x800ull);
	check(!has(1, 0, 3, 9), "cpuid-apic-follows-base");
	wrmsr(0x1b, base);
	check(has(1, 0, 3, 9), "cpuid-apic-back");
	apic_enable();
	cpuid(0x80000000, 0, r);
	check(r[0] >= 0x80000008, "cpuid-extended-max");
	cpuid(0x80000008, 0, r);
	check((r[0] & 0xff) >= 36 && (r[0] & 0xff) <= 52 && (r[0] >> 8 & 0xff) == 48, "cpuid-address-sizes", "%x", r[0]);
	u64 v = 0xffffffff00000000ull;
#ifdef __x86_64__
	u64 a = v | 1, b = ~0ull, c = v, d = ~0ull;
	asm volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
	check(!((a | b | c | d) & v), "cpuid-clears-upper-halves");
#endif
	(void)v;
	cpuid(0x12345678, 0, r);
	cpuid(0xd, 0x7fffffff, r);
	check(!(r[0] | r[1] | r[2] | r[3]), "cpuid-d-beyond");
}

/* ---- UMIP, and what else CPL 3 may not ---- */

static bool umip_on;
static struct {
	u16 limit;
	ulong base;
} __attribute__((packed)) table_at;
static ulong word_at;

static void umip_user(void *arg)
{
	int v = umip_on ? 13 : -1;
	const char *when = umip_on ? "umip" : "no-umip";

	TRY("sgdt %0", "=m"(table_at));
	check(fault.vector == v, when, "sgdt %d", fault.vector);
	TRY("sidt %0", "=m"(table_at));
	check(fault.vector == v, when, "sidt %d", fault.vector);
	TRY("sldt %0", "=r"(word_at));
	check(fault.vector == v, when, "sldt %d", fault.vector);
	TRY("smsw %0", "=r"(word_at));
	check(fault.vector == v, when, "smsw %d", fault.vector);
	TRY("str %0", "=r"(word_at));
	check(fault.vector == v, when, "str %d", fault.vector);
	TRY("str %0", "=m"(word_at));
	check(fault.vector == v, when, "str memory %d", fault.vector);
}

static void umip(void)
{
	if (!has(7, 0, 2, 2)) {
		skip("umip", "absent");
		return;
	}
	user_call(umip_user, NULL);
	write_cr4(read_cr4() | 0x800);
	umip_on = true;
	user_call(umip_user, NULL);
	TRY("sgdt %0", "=m"(table_at));
	check(fault.vector == -1 && table_at.base == (ulong)gdt, "umip-supervisor");
	write_cr4(read_cr4() & ~0x800ul);
}

static void stac_user(void *arg)
{
	TRY("stac");
	check_fault(6, 0, "stac-user");
	TRY("clac");
	check_fault(6, 0, "clac-user");
	TRY("invlpg (%0)", : "r"(0));
	check_fault(13, 0, "invlpg-user");
	TRY("vmcall", : "a"(~0u));
	TRY("rdtsc", : : "eax", "edx");
	check_fault(-1, 0, "rdtsc-user");
}

static void tsd_user(void *arg)
{
	TRY("rdtsc", : : "eax", "edx");
	check_fault(13, 0, "tsd-rdtsc-user");
	TRY("rdtscp", : : "eax", "edx", "ecx");
	check_fault(13, 0, "tsd-rdtscp-user");
}

#ifdef __x86_64__
static void cr8(void)
{
	TRY("mov %0, %%cr8", : "r"(16ul));
	check_fault(13, 0, "cr8-reserved");
	TRY("mov %0, %%cr8", : "r"(1ul << 63));
	check_fault(13, 0, "cr8-reserved-63");
	for (ulong i = 0; i < 16; i++) {
		ulong v;

		TRY("mov %1, %%cr8; mov %%cr8, %0", "=r"(v) : "r"(i));
		if (v != i || apic_read(APIC_TPR) != i << 4)
			check(false, "cr8-is-tpr", "%d", i);
	}
	apic_write(APIC_TPR, 0x5b);
	ulong v;
	asm volatile("mov %%cr8, %0" : "=r"(v));
	check(v == 5, "tpr-is-cr8");
	asm volatile("mov %0, %%cr8" : : "r"(0ul));
}

static void cr3_and_pcid(void)
{
	ulong cr3 = read_cr3(), cr4v = read_cr4();
	struct {
		u64 pcid, address;
	} d = {0};
	u32 r[4];

	cpuid(0x80000008, 0, r);
	TRY_CR(3, cr3 | 1ul << (r[0] & 0xff));
	check_fault(13, 0, "cr3-reserved");
	TRY_CR(3, cr3 | 1ul << 63);
	check_fault(13, 0, "cr3-bit-63-without-pcide");
	TRY_CR(3, cr3 | 0x18);
	check(fault.vector == -1 && read_cr3() == (cr3 | 0x18), "cr3-pwt-pcd");
	write_cr3(cr3);
	if (!has(1, 0, 2, 17)) {
		skip("pcid", "absent");
		return;
	}
	write_cr3(cr3 | 1);
	TRY_CR(4, cr4v | 0x20000);
	check_fault(13, 0, "pcide-with-cr3-low-bits");
	write_cr3(cr3);
	TRY_CR(4, cr4v | 0x20000);
	check(fault.vector == -1 && read_cr4() & 0x20000, "pcide");
	TRY_CR(3, cr3 | 0x123);
	check(fault.vector == -1 && read_cr3() == (cr3 | 0x123), "pcid-in-cr3", "%lx", read_cr3());
	TRY_CR(3, cr3 | 5 | 1ul << 63);
	check(fault.vector == -1 && read_cr3() == (cr3 | 5), "cr3-bit-63-reads-0", "%lx", read_cr3());
	TRY_CR(3, cr3 | 1ul << 62);
	check_fault(13, 0, "cr3-bit-62");
	write_cr3(cr3);
	TRY_CR(0, read_cr0() & ~0x80000000ul);
	check_fault(13, 0, "pg-off-with-pcide");

	/* A page of its own per PCID. */
	volatile u8 *p = (u8 *)0x10000000000;
	u64 *l3 = page_alloc(), *l2 = page_alloc(), *l1 = page_alloc();
	u8 *a = page_alloc(), *b = page_alloc();
	*a = 1, *b = 2;
	boot_pml4[2] = (ulong)l3 | 7;
	l3[0] = (ulong)l2 | 7;
	l2[0] = (ulong)l1 | 7;
	l1[0] = (ulong)a | 7;
	write_cr3(cr3 | 1);
	(void)*p;
	write_cr3(cr3 | 2);
	l1[0] = (ulong)b | 7;
	write_cr3(cr3 | 1);
	check(*p == 2, "cr3-load-flushes-its-pcid");
	(void)*p;
	l1[0] = (ulong)a | 7;
	d.pcid = 1;
	d.address = (ulong)p;
#define INVPCID(type) TRY("invpcid %0, %1", : "m"(d), "r"((ulong)(type)) : "memory")
	INVPCID(0);
	check(fault.vector == -1 && *p == 1, "invpcid-address");
	l1[0] = (ulong)b | 7;
	INVPCID(1);
	check(fault.vector == -1 && *p == 2, "invpcid-context");
	l1[0] = (ulong)a | 7;
	INVPCID(3);
	check(fault.vector == -1 && *p == 1, "invpcid-all-but-global");
	write_cr4(read_cr4() | 0x80);
	l1[0] = (ulong)b | 0x107;
	invlpg((void *)p);
	(void)*p;
	l1[0] = (ulong)a | 7;
	INVPCID(2);
	check(fault.vector == -1 && *p == 1, "invpcid-all");
	write_cr4(read_cr4() & ~0x80ul);
	/* Another PCID's entry goes by address, or with its context, while we are elsewhere. */
	write_cr3(cr3 | 7);
	(void)*p;
	write_cr3(cr3 | 8);
	l1[0] = (ulong)b | 7;
	d.pcid = 7;
	INVPCID(0);
	write_cr3(cr3 | 7 | 1ul << 63);
	check(*p == 2, "invpcid-address-of-another");
	write_cr3(cr3 | 8);
	l1[0] = (ulong)a | 7;
	INVPCID(1);
	write_cr3(cr3 | 7 | 1ul << 63);
	check(*p == 1, "invpcid-context-of-another");
	INVPCID(4);
	check_fault(13, 0, "invpcid-type-4");
	INVPCID(~0ul);
	check_fault(13, 0, "invpcid-type-max");
	d.pcid = 0x1000;
	for (int i = 0; i < 4; i++) {
		INVPCID(i);
		if (fault.vector != 13)
			check(false, "invpcid-reserved", "type %d", i);
	}
	d.pcid = 1;
	d.address = 0x8000000000000000;
	INVPCID(0);
	check_fault(13, 0, "invpcid-non-canonical");
	INVPCID(1);
	check_fault(-1, 0, "invpcid-address-unused");
	d.address = 0;
	write_cr3(cr3);
	TRY_CR(4, cr4v);
	check_fault(-1, 0, "pcide-off");
	INVPCID(0);
	check_fault(13, 0, "invpcid-0-without-pcide");
	INVPCID(1);
	check_fault(13, 0, "invpcid-1-without-pcide");
	INVPCID(2);
	check_fault(-1, 0, "invpcid-2-without-pcide");
	d.pcid = 0;
	INVPCID(0);
	check_fault(-1, 0, "invpcid-0-pcid-0");
	boot_pml4[2] = 0;
	write_cr3(cr3);
}
#endif

void test(void)
{
	cr0();
	cr4();
	efer();
	msrs();
	absent();
	hypercalls();
	cpuids();
	umip();
	user_call(stac_user, NULL);
	write_cr4(read_cr4() | 4);
	user_call(tsd_user, NULL);
	TRY("rdtsc", : : "eax", "edx");
	check_fault(-1, 0, "tsd-supervisor");
	write_cr4(read_cr4() & ~4ul);
#ifdef __x86_64__
	cr8();
	cr3_and_pcid();
#endif
}
