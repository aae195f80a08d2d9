/*
 * Interprocessor interrupts at random: destination modes, shorthands and delivery modes in xAPIC (flat and cluster) and x2APIC
 * mode, I/O APIC destinations, each against a model of who is meant; SDM vol. 3 10.6.2, 10.12.9. guest: bits=64 cpus=4
 */
#include "lib/guest.h"

#define CPUS 8
enum { FLAT, CLUSTER, X2APIC };
static unsigned cpus;
static volatile int mode, setups[CPUS], got[CPUS], setup_asked, nmis[CPUS];
static volatile u8 logical[CPUS];

static void eoi(void)
{
	if (rdmsr(0x1b) & 0x400)
		wrmsr(0x80b, 0);
	else
		apic_write(APIC_EOI, 0);
}

static unsigned current(void)
{
	return rdmsr(0x1b) & 0x400 ? (unsigned)rdmsr(0x802) : apic_read(APIC_ID) >> 24;
}

static void on_ipi(struct frame *f)
{
	__atomic_fetch_add(&got[current()], 1, __ATOMIC_SEQ_CST);
	eoi();
}
static void on_nmi(struct frame *f) { __atomic_fetch_add(&nmis[current()], 1, __ATOMIC_SEQ_CST); }

static void apply(void)
{
	u64 base = rdmsr(0x1b);
	unsigned id = current();

	if (mode == X2APIC) {
		if (!(base & 0x400))
			wrmsr(0x1b, base | 0xc00);
		wrmsr(0x80f, 0x1ff);
	} else {
		apic_write(APIC_DFR, mode == FLAT ? 0xffffffff : 0x0fffffff);
		apic_write(APIC_LDR, (u32)logical[id] << 24);
	}
	__atomic_fetch_add(&setups[id], 1, __ATOMIC_SEQ_CST);
}

static void worker(unsigned cpu)
{
	int seen = 0;

	sti();
	for (;;) {
		if (setup_asked != seen) {
			seen++;
			apply();
		}
		pause();
	}
}

static void mode_all(int m)
{
	mode = m;
	for (unsigned i = 0; i < cpus; i++)
		logical[i] = (u8)(m == FLAT ? 1u << i : (i / 2) << 4 | 1u << (i & 1));
	setup_asked++;
	apply();
	for (unsigned i = 1; i < cpus; i++)
		while (setups[i] != setup_asked)
			pause();
}

static u32 seed = 12345;
static u32 random(void)
{
	seed ^= seed << 13, seed ^= seed >> 17, seed ^= seed << 5;
	return seed;
}

static bool meant(unsigned id, u32 dest, bool is_logical, unsigned shorthand)
{
	if (shorthand)
		return shorthand == 1 ? id == 0 : shorthand == 2 ? true : id != 0;
	if (mode == X2APIC) {
		if (dest == 0xffffffff)
			return true;
		return is_logical ? dest >> 16 == id >> 4 && dest >> (id & 15) & 1 : dest == id;
	}
	if (dest == 0xff)
		return true;
	if (!is_logical)
		return dest == id;
	if (mode == FLAT)
		return dest & logical[id];
	return dest >> 4 == logical[id] >> 4 && dest & logical[id] & 15;
}

static void send(u32 dest, u32 low)
{
	if (mode == X2APIC)
		wrmsr(0x830, (u64)dest << 32 | low);
	else
		apic_ipi(dest, low);
}

static unsigned wrong;
static void fuzz(const char *name, int m, int turns)
{
	mode_all(m);
	wrong = 0;
	for (int t = 0; t < turns; t++) {
		u32 r = random(), dest = random(), sum = 0, want_sum = 0;
		bool is_logical = r & 1, lowest = (r >> 1 & 7) == 0;
		unsigned shorthand = r >> 4 & 1 ? r >> 5 & 3 : 0;

		if (shorthand)
			lowest = false;
		if (m == X2APIC)
			dest = r >> 8 & 15 ? is_logical ? (dest >> 20 & 1) << 16 | (dest & 0x1f) : dest % 6 : 0xffffffff;
		else
			dest = r >> 8 & 15 ? is_logical ? (m == CLUSTER ? (dest % 3) << 4 | (dest >> 8 & 3) : dest & 0x1f) : dest % 6 : 0xff;
		for (unsigned i = 0; i < cpus; i++) {
			got[i] = 0;
			want_sum += meant(i, dest, is_logical, shorthand);
		}
		if (lowest && want_sum)
			want_sum = 1;
		send(dest, shorthand << 18 | 0x4000 | (u32)is_logical << 11 | (lowest ? 0x100 : 0) | (0x40 + (r >> 16 & 31)));
		u64 end = rdtsc() + 20000000000ull;
		do {
			sum = 0;
			for (unsigned i = 0; i < cpus; i++)
				sum += (u32)got[i];
		} while (sum < want_sum && rdtsc() < end);
		if (!(t & 15))
			delay(200000);
		bool good = sum == want_sum;
		for (unsigned i = 0; i < cpus; i++)
			good &= got[i] <= meant(i, dest, is_logical, shorthand) && (lowest || got[i] == meant(i, dest, is_logical, shorthand));
		if (!good && wrong++ < 5)
			print("# dest %x logical %d shorthand %d lowest %d: got %d %d %d %d\n", dest, is_logical, shorthand, lowest, got[0], got[1],
			      got[2], got[3]);
	}
	check(!wrong, name, "%d", wrong);
	/* NMIs go the same ways. */
	for (unsigned i = 0; i < cpus; i++)
		nmis[i] = 0;
	send(m == X2APIC ? 0xffffffff : 0xff, 0x4400);
	for (unsigned i = 0; i < cpus; i++)
		for (u64 end = rdtsc() + 20000000000ull; !nmis[i] && rdtsc() < end;)
			pause();
	send(0, 0xc4400);
	for (unsigned i = 0; i < cpus; i++)
		for (u64 end = rdtsc() + 20000000000ull; nmis[i] < (i ? 2 : 1) && rdtsc() < end;)
			pause();
	bool good = true;
	for (unsigned i = 0; i < cpus; i++)
		good &= nmis[i] == (i ? 2 : 1);
	check(good, "nmi-broadcasts", "%d %d", nmis[0], nmis[1]);
}

void test(void)
{
	cpus = cpus_count();
	for (unsigned v = 0x40; v < 0x60; v++)
		handle(v, on_ipi);
	handle(2, on_nmi);
	cpus_start_async(worker);
	sti();
	fuzz("flat", FLAT, 600);
	fuzz("cluster", CLUSTER, 600);
	fuzz("flat-again", FLAT, 300);
	u32 r[4];
	cpuid(1, 0, r);
	if (r[2] >> 21 & 1)
		fuzz("x2apic", X2APIC, 600);
}
