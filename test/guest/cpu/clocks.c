/*
 * TSC, TSC_ADJUST, RDTSCP, RDPID; the paravirtual clock in KVM's format: monotonic over processors, agreeing with the RTC;
 * SDM vol. 3 17.17, Documentation/virt/kvm/x86/msr.rst. guest: bits=both cpus=2
 */
#include "lib/guest.h"

static volatile struct pvclock {
	u32 version, pad;
	u64 tsc, system;
	u32 mul;
	signed char shift;
	u8 flags, pad2[2];
} clocks[2] __attribute__((aligned(64)));
static volatile struct {
	u32 version, sec, nsec;
} wall __attribute__((aligned(64)));

static u64 scale(u64 delta, u32 mul, int shift)
{
	delta = shift < 0 ? delta >> -shift : delta << shift;
	u64 low = (delta & 0xffffffff) * mul, high = (delta >> 32) * mul;

	return (low >> 32) + high;
}

static u64 clock_read(unsigned cpu)
{
	volatile struct pvclock *c = &clocks[cpu];
	u32 version;
	u64 ns;

	do {
		version = c->version & ~1u;
		asm volatile("" : : : "memory");
		ns = c->system + scale(rdtsc() - c->tsc, c->mul, c->shift);
		asm volatile("" : : : "memory");
	} while (version != c->version);
	return ns;
}

static u32 bcd(u8 v) { return (v >> 4) * 10u + (v & 15); }
static u8 cmos(u8 i) { outb(0x70, i); return inb(0x71); }

static u32 rtc_seconds(void)
{
	u32 s, m, h, day, month, year, days = 0;

	do {
		while (cmos(10) & 0x80)
			;
		s = cmos(0), m = cmos(2), h = cmos(4), day = cmos(7), month = cmos(8), year = cmos(9);
	} while (cmos(0) != s);
	if (!(cmos(11) & 4))
		s = bcd((u8)s), m = bcd((u8)m), h = bcd((u8)h), day = bcd((u8)day), month = bcd((u8)month), year = bcd((u8)year);
	year += 2000;
	for (u32 y = 1970; y < year; y++)
		days += y % 4 ? 365 : 366;
	static const u8 length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	for (u32 i = 1; i < month; i++)
		days += length[i - 1] + (i == 2 && year % 4 == 0);
	return ((days + day - 1) * 24 + h) * 3600 + m * 60 + s;
}

static volatile u64 last;
static volatile int lock, back, turns, ready;
static volatile int stage;

static void chain(unsigned cpu)
{
	for (int i = 0; i < 20000; i++) {
		while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
			pause();
		u64 t = clock_read(cpu);
		back += t < last;
		last = t;
		turns++;
		__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
	}
}

static void ap(unsigned cpu)
{
	u64 t = rdtsc();

	check(rdmsr(0x3b) == 0, "ap-tsc-adjust-0");
	check(t > 0, "ap-tsc");
	wrmsr(0x4b564d01, (ulong)&clocks[1] | 1);
	ready = 1;
	while (stage != 1)
		pause();
	chain(1);
	ready = 2;
}

static void tsc(void)
{
	u32 r[4], aux;
	u64 t0 = rdtsc(), t1 = rdtsc();

	check(t1 > t0, "tsc-counts");
	u64 m = rdmsr(0x10);
	check(m >= t1 && m <= rdtsc(), "tsc-msr");
	wrmsr(0x10, m + 1000000000000ull);
	t1 = rdtsc();
	check(t1 - m > 1000000000000ull && t1 - m < 1100000000000ull, "tsc-msr-write");
	cpuid(7, 0, r);
	if (r[1] >> 1 & 1) {
		u64 a = rdmsr(0x3b);
		check(a > 900000000000ull, "tsc-write-moves-adjust", "%x%x", (u32)(a >> 32), (u32)a);
		wrmsr(0x3b, 0);
		t1 = rdtsc();
		check(rdmsr(0x3b) == 0 && t1 > m && t1 - m < 100000000000ull, "adjust-moves-tsc");
		wrmsr(0x3b, 0x100000000000ull);
		check(rdtsc() - t1 > 0x100000000000ull, "adjust-forward");
		wrmsr(0x3b, 0);
		wrmsr(0x10, 0);
		t1 = rdtsc();
		check(t1 < 100000000000ull && (long)(rdmsr(0x3b) >> (BITS == 64 ? 0 : 32)) < 0, "tsc-to-0");
		wrmsr(0x3b, 0);
		check(rdtsc() > m, "tsc-back");
	}
	cpuid(0x80000001, 0, r);
	if (r[3] >> 27 & 1) {
		u32 lo, hi;
		wrmsr(0xc0000103, 0x12345678);
		asm volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
		check(aux == 0x12345678, "rdtscp-aux");
		wrmsr(0xc0000103, 0xfedcba98);
		asm volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
		check(aux == 0xfedcba98, "rdtscp-aux-again");
		cpuid(7, 0, r);
		if (r[2] >> 22 & 1) {
			ulong id = 0;
			asm volatile(".byte 0xf3, 0x0f, 0xc7, 0xf8" : "=a"(id));
			check(id == 0xfedcba98, "rdpid", "%lx", id);
		}
		TRY_WRMSR(0xc0000103, 1ull << 32);
		check_fault(13, 0, "tsc-aux-high");
		wrmsr(0xc0000103, 0);
	}
	cpuid(0x80000007, 0, r);
	check(r[3] >> 8 & 1, "invariant-tsc");
}

static void kvmclock(void)
{
	u32 r[4];

	cpuid(0x40000001, 0, r);
	if (!(r[0] & 8)) {
		skip("kvmclock", "absent");
		return;
	}
	TRY_WRMSR(0x4b564d01, (ulong)&clocks[0] | 2);
	check(fault.vector == 13 || fault.vector == -1, "clock-msr-odd");
	wrmsr(0x4b564d01, (ulong)&clocks[0] | 1);
	check(rdmsr(0x4b564d01) == ((ulong)&clocks[0] | 1), "clock-msr-reads");
	check(clocks[0].version && !(clocks[0].version & 1) && clocks[0].mul, "clock-filled", "%x", clocks[0].version);
	if (r[0] >> 24 & 1)
		check(clocks[0].flags & 1, "clock-stable-flag");
	/* The wall clock at boot plus time since: within two seconds of the RTC. */
	wrmsr(0x4b564d00, (ulong)&wall);
	check(wall.version && !(wall.version & 1), "wall-version");
	u64 ns = clock_read(0);
	u32 whole = 0;
	while (ns >= 1000000000)
		ns -= 1000000000, whole++;
	u32 now = wall.sec + whole, rtc = rtc_seconds();
	check(now - rtc + 2 <= 4, "wall-clock", "clock %u rtc %u", now, rtc);
	/* Rate against the PIT: it counts 10 ms, and ends between two looks at it. */
	outb(0x61, (inb(0x61) & ~2) | 1);
	bool right = true, close = false;
	u64 least = 0, most = 0;
	for (int i = 0; i < 200 && right && !close; i++) {
		outb(0x43, 0xb0);
		outb(0x42, 0x9b);
		u64 begun = clock_read(0), look = begun, over;
		outb(0x42, 0x2e);
		u64 counting = clock_read(0);
		while (over = clock_read(0), !(inb(0x61) & 0x20))
			look = over;
		most = clock_read(0) - begun, least = look > counting ? look - counting : 0;
		right = least < 10100000 && most > 9900000;
		close = most < 10500000 && least > 9500000;
	}
	/* A host that never leaves a guest alone for 10 ms shows only that the clock is not wrong. */
	check(right, "clock-rate", "%u to %u ns for 10 ms", (u32)least, (u32)most);
	print("# 10 ms of the PIT are %u to %u ns\n", (u32)least, (u32)most);
	cpus_start_async(ap);
	wait_until_(&ready, 1);
	check(!(clocks[1].version & 1) && clocks[1].version, "ap-clock-filled");
	stage = 1;
	chain(0);
	wait_until_(&ready, 2);
	check(!back && turns == 40000, "clock-monotonic", "%d back of %d", back, turns);
	/* Off: no more written. */
	wrmsr(0x4b564d01, 0);
	memset((void *)&clocks[0], 0, sizeof(clocks[0]));
	delay(10000000);
	check(!clocks[0].version && !clocks[0].mul, "clock-off");
	/* The old numbers of the MSRs. */
	if (r[0] & 1) {
		wrmsr(0x12, (ulong)&clocks[0] | 1);
		check(clocks[0].version && clocks[0].mul, "old-clock-msr");
		wrmsr(0x11, (ulong)&wall);
	}
}

void test(void)
{
	tsc();
	kvmclock();
}
