/* CPUID: its leaves agree with each other, with the machine, and with what the CPU then does. guest: bits=both cpus=4 */
#include "lib/guest.h"

#define same(got, want, name)                                                                                \
	({                                                                                                   \
		ulong got_ = (ulong)(got), want_ = (ulong)(want);                                            \
		check(got_ == want_, name, "%lx instead of %lx", got_, want_);                               \
	})

static u32 r[4];
static u32 leaf(u32 n, u32 sub, int reg)
{
	cpuid(n, sub, r);
	return r[reg];
}
enum { A, B, C, D };
static bool bit(u32 n, u32 sub, int reg, int b) { return leaf(n, sub, reg) >> b & 1; }

static void ranges(void)
{
	u32 max = leaf(0, 0, A), top, again[4];

	check(max >= 0xd && max < 0x40, "highest-basic-leaf", "%x", max);
	top = leaf(0x80000000, 0, A);
	check(top >= 0x80000008 && top < 0x80000040, "highest-extended-leaf", "%x", top);
	/* Beyond the highest: Intel gives the highest basic leaf's data. */
	cpuid(max, 0, again);
	cpuid(0x1234, 0, r);
	check(!memcmp(r, again, 16) || !(r[0] | r[1] | r[2] | r[3]), "leaf-beyond-the-highest");
	cpuid(0x80000000 + 0x1234, 0, r);
	check(!memcmp(r, again, 16) || !(r[0] | r[1] | r[2] | r[3]), "extended-leaf-beyond-the-highest");
#ifdef __x86_64__
	u64 a = 0xffffffff00000000, b = ~0ul, c = 0xffffffff00000000, d = ~0ul;
	asm volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
	check(a >> 32 == 0 && b >> 32 == 0 && c >> 32 == 0 && d >> 32 == 0, "upper-halves-cleared");
	same((u32)a, max, "input-is-eax-only");
#endif
	ulong f = read_flags();
	write_flags(f ^ 0x200000);
	check((read_flags() ^ f) & 0x200000, "flags-id-toggles");
	write_flags(f);
}

static void signature(void)
{
	u32 v[4], first = leaf(1, 0, A);

	cpuid(0, 0, v);
	bool intel = v[B] == 0x756e6547 && v[D] == 0x49656e69 && v[C] == 0x6c65746e;
	bool amd = v[B] == 0x68747541 && v[D] == 0x69746e65 && v[C] == 0x444d4163;
	check(intel || amd, "vendor", "%x %x %x", v[B], v[D], v[C]);
	check((first >> 8 & 15) == 6 || (first >> 8 & 15) == 15, "family", "%x", first);
	check(leaf(0x80000002, 0, A) != 0, "brand-string");
	check(leaf(0x80000000, 0, A) >= 0x80000004, "brand-string-leaves");
	check((leaf(1, 0, B) >> 8 & 0xff) == 8, "clflush-line", "%x", leaf(1, 0, B));
	if (bit(1, 0, C, 31)) {
		cpuid(0x40000000, 0, v);
		check(v[A] >= 0x40000000 && v[A] < 0x40000100, "hypervisor-leaves", "%x", v[A]);
		check(v[B] == 0x4b4d564b && v[C] == 0x564b4d56 && v[D] == 0x4d, "hypervisor-is-kvm", "%x %x %x", v[B], v[C], v[D]);
	}
}

static void features(void)
{
	/* What the board and every 64-bit system rely on. */
	static const struct {
		u8 reg, bit;
		const char *name;
	} need[] = {{D, 0, "fpu"}, {D, 3, "pse"}, {D, 4, "tsc"}, {D, 5, "msr"}, {D, 6, "pae"}, {D, 8, "cx8"}, {D, 9, "apic"},
		    {D, 11, "sep"}, {D, 12, "mtrr"}, {D, 13, "pge"}, {D, 15, "cmov"}, {D, 16, "pat"}, {D, 19, "clflush"}, {D, 23, "mmx"},
		    {D, 24, "fxsr"}, {D, 25, "sse"}, {D, 26, "sse2"}, {C, 0, "sse3"}, {C, 13, "cx16"}, {C, 17, "pcid"}, {C, 21, "x2apic"},
		    {C, 22, "movbe"}, {C, 23, "popcnt"}, {C, 24, "tsc-deadline"}, {C, 26, "xsave"}};

	for (unsigned i = 0; i < ARRAY_SIZE(need); i++)
		check(bit(1, 0, need[i].reg, need[i].bit), need[i].name);
	check(bit(0x80000001, 0, D, 29), "long-mode");
	check(bit(0x80000001, 0, D, 20), "nx");
	check(bit(0x80000001, 0, D, 26), "1g-pages");
	check(bit(0x80000001, 0, D, 27), "rdtscp");
	check(bit(0x80000001, 0, C, 0), "lahf-64");
	check(bit(0x80000007, 0, D, 8), "invariant-tsc");
	check(!bit(1, 0, C, 5), "no-vmx");
	check(!bit(0x80000001, 0, C, 2), "no-svm");
	check(!bit(1, 0, C, 3), "no-monitor");
	check(!bit(7, 0, B, 4) && !bit(7, 0, B, 11), "no-tsx");
	check(!bit(7, 0, C, 3), "no-pku");
	/* One needs another. */
	check(!bit(1, 0, C, 28) || bit(1, 0, C, 26), "avx-needs-xsave");
	check(!bit(1, 0, C, 12) || bit(1, 0, C, 28), "fma-needs-avx");
	check(!bit(1, 0, C, 29) || bit(1, 0, C, 28), "f16c-needs-avx");
	check(!bit(7, 0, B, 5) || bit(1, 0, C, 28), "avx2-needs-avx");
	check(!bit(1, 0, C, 28) || (leaf(0xd, 0, A) & 7) == 7, "avx-has-a-state-component");
	check(!bit(7, 0, B, 10) || bit(1, 0, C, 17), "invpcid-needs-pcid");
	check(bit(1, 0, C, 27) == !!(read_cr4() & 1 << 18), "osxsave-follows-cr4");
	u32 a = leaf(0x80000008, 0, A);
	check((a & 0xff) >= 36 && (a & 0xff) <= 52, "physical-address-bits", "%x", a);
	check((a >> 8 & 0xff) == (bit(7, 0, C, 16) ? 57 : 48), "linear-address-bits", "%x", a);
}

#define ABSENT_UD(name, present, ...)                                                                        \
	do {                                                                                                 \
		if (!(present)) {                                                                            \
			TRY(__VA_ARGS__);                                                                    \
			check_fault(6, 0, name);                                                             \
		}                                                                                            \
	} while (0)

/* What is not offered is not there. */
static void absent(void)
{
	static u8 buf[64] __attribute__((aligned(64)));

	ABSENT_UD("monitor-absent", bit(1, 0, C, 3), "monitor", : "a"(buf), "c"(0), "d"(0));
	ABSENT_UD("mwait-absent", bit(1, 0, C, 3), "mwait", : "a"(0), "c"(0));
	ABSENT_UD("rdpru-absent", bit(0x80000008, 0, B, 4), ".byte 0x0f,0x01,0xfd", : "c"(0) : "eax", "edx");
	ABSENT_UD("xbegin-absent", bit(7, 0, B, 11), ".byte 0xc7,0xf8,0,0,0,0");
	ABSENT_UD("rdpkru-absent", bit(7, 0, C, 3), ".byte 0x0f,0x01,0xee", : "c"(0) : "eax", "edx");
	ABSENT_UD("enqcmd-absent", bit(7, 0, C, 29), ".byte 0xf2,0x0f,0x38,0xf8,0x00", : "a"(buf));
	ABSENT_UD("movdir64b-absent", bit(7, 0, C, 28), ".byte 0x66,0x0f,0x38,0xf8,0x00", : "a"(buf));
	ABSENT_UD("movdiri-absent", bit(7, 0, C, 27), ".byte 0x0f,0x38,0xf9,0x00", : "a"(buf));
	ABSENT_UD("waitpkg-absent", bit(7, 0, C, 5), ".byte 0xf3,0x0f,0xae,0xf0");
	ABSENT_UD("hreset-absent", bit(7, 1, A, 22), ".byte 0xf3,0x0f,0x3a,0xf0,0xc0,0x00");
	ABSENT_UD("invpcid-absent", bit(7, 0, B, 10), ".byte 0x66,0x0f,0x38,0x82,0x00", : "a"(buf));
	ABSENT_UD("getsec-absent", bit(1, 0, C, 6), ".byte 0x0f,0x37", : "a"(0));
	ABSENT_UD("xsaves-absent", bit(0xd, 1, A, 3), ".byte 0x0f,0xc7,0x28", : "a"(buf));
	ABSENT_UD("serialize-absent", bit(7, 0, D, 14), ".byte 0x0f,0x01,0xe8");
	ABSENT_UD("3dnow-absent", bit(0x80000001, 0, D, 31), ".byte 0x0f,0x0f,0xc0,0x9e");
	ABSENT_UD("sse4a-absent", bit(0x80000001, 0, C, 6), ".byte 0xf2,0x0f,0x79,0xc1");
	ABSENT_UD("xop-absent", bit(0x80000001, 0, C, 11), ".byte 0x8f,0xe9,0x78,0xc1,0xc0");
	ABSENT_UD("avx512-absent", bit(7, 0, B, 16), ".byte 0x62,0xf1,0x7c,0x48,0x58,0xc0");
	ABSENT_UD("clzero-absent", bit(0x80000008, 0, B, 0), ".byte 0x0f,0x01,0xfc", : "a"(buf));
	/* CR4 and EFER bits of absent features. */
	static const struct {
		u8 cr4, reg, bit;
		u32 leaf;
		const char *name;
	} control[] = {{11, C, 2, 7, "umip"}, {12, C, 16, 7, "la57"}, {13, C, 5, 1, "vmxe"}, {14, C, 6, 1, "smxe"}, {16, B, 0, 7, "fsgsbase"}, {20, B, 7, 7, "smep"},
		       {21, B, 20, 7, "smap"}, {22, C, 3, 7, "pke"}, {23, C, 7, 7, "cet"}, {24, C, 31, 7, "pks"}};
	for (unsigned i = 0; i < ARRAY_SIZE(control); i++) {
		ulong old = read_cr4(), b = 1ul << control[i].cr4;
		bool there = bit(control[i].leaf, 0, control[i].reg, control[i].bit);

		if (BITS == 64 && control[i].cr4 == 12) /* may not change there */
			there = false;
		/* All memory here is the user's: with SMEP or SMAP on, not one instruction more. */
		if (there && (control[i].cr4 == 20 || control[i].cr4 == 21))
			continue;
		TRY("mov %0, %%cr4", : "r"(old | b) : "memory");
		int vector = fault.vector;
		if (vector < 0)
			write_cr4(old);
		check(vector == (there ? -1 : 13), control[i].name, "cr4 bit: vector %d, CPUID %d", vector, there);
	}
}

static void states(void)
{
	u32 mask = leaf(0xd, 0, A), size = 576;

	for (unsigned i = 2; i < 32; i++) {
		cpuid(0xd, i, r);
		if (!(mask >> i & 1))
			continue;
		check(r[A] > 0 && r[B] >= 576 && !(r[C] & 1), "state-component", "%u: %x %x %x", i, r[A], r[B], r[C]);
		if (r[B] + r[A] > size)
			size = r[B] + r[A];
	}
	same(leaf(0xd, 0, C), size, "xsave-area-size-of-all");
	check(bit(0xd, 1, A, 0), "xsaveopt");
	write_cr4(read_cr4() | 1 << 18);
	check(bit(1, 0, C, 27), "osxsave-set");
	asm volatile("xsetbv" : : "a"(1), "d"(0), "c"(0));
	same(leaf(0xd, 0, B), 576, "xsave-area-size-now-x87");
	asm volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
	same(leaf(0xd, 0, B), 832, "xsave-area-size-now-avx");
	write_cr4(read_cr4() & ~(1ul << 18));
	check(!bit(1, 0, C, 27), "osxsave-cleared");
}

static volatile u32 ids[8], ids_b[8];
static void identify(unsigned cpu)
{
	u32 v[4];

	cpuid(1, 0, v);
	ids[cpu] = v[B] >> 24;
	cpuid(0xb, 0, v);
	ids_b[cpu] = v[D];
}

static void topology(void)
{
	u32 v[4], siblings = leaf(1, 0, B) >> 16 & 0xff;

	ids[0] = leaf(1, 0, B) >> 24;
	ids_b[0] = leaf(0xb, 0, D);
	cpus_start(identify);
	for (unsigned i = 0; i < cpus_count(); i++) {
		same(ids[i], ids_b[i], "apic-id-in-both-leaves");
		for (unsigned k = 0; k < i; k++)
			check(ids[i] != ids[k], "apic-id-unique");
	}
	same(ids[0], apic_read(APIC_ID) >> 24, "apic-id-of-the-apic");
	check(!bit(1, 0, D, 28) || siblings >= 1, "siblings", "%u", siblings);
	cpuid(0xb, 0, v);
	check((v[C] >> 8 & 0xff) == 1 && (v[C] & 0xff) == 0, "leaf-b-smt-level", "%x", v[C]);
	cpuid(0xb, 1, v);
	check((v[C] >> 8 & 0xff) == 2 && (v[C] & 0xff) == 1, "leaf-b-core-level", "%x", v[C]);
	check((v[B] & 0xffff) == cpus_count(), "leaf-b-core-count", "%x", v[B]);
	cpuid(0xb, 2, v);
	check((v[C] >> 8 & 0xff) == 0 && v[B] == 0, "leaf-b-ends", "%x", v[C]);
}

/* APIC disabled by its base register: the feature bit goes. */
static void dynamic(void)
{
	u64 base = rdmsr(0x1b);

	wrmsr(0x1b, base & ~0xc00ull);
	check(!bit(1, 0, D, 9), "apic-bit-goes");
	wrmsr(0x1b, base);
	check(bit(1, 0, D, 9), "apic-bit-comes");
	apic_enable();
}

void test(void)
{
	write_cr4(read_cr4() & ~(1ul << 18));
	ranges();
	signature();
	features();
	absent();
	states();
	topology();
	dynamic();
}
