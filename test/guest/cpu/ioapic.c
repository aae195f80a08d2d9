/*
 * The I/O APIC with the test device's lines (port 0x2000 + n), the 8259s and virtual wire, PIT, RTC, PM timer; 82093AA,
 * 8259A, 8254, MC146818 datasheets, SDM vol. 3 ch. 10. guest: bits=both cpus=2
 */
#include "lib/guest.h"

#define IO 0xfec00000ul
static u32 io_read(u32 i) { *(volatile u32 *)IO = i; return *(volatile u32 *)(IO + 0x10); }
static void io_write(u32 i, u32 v) { *(volatile u32 *)IO = i; *(volatile u32 *)(IO + 0x10) = v; }
#define LEVEL   0x8000
#define MASKED  0x10000
#define LOW     0x2000
#define LOGICAL 0x800
#define RIRR    0x4000
static void redirect(unsigned pin, u32 low, u8 dest)
{
	io_write(0x11 + 2 * pin, (u32)dest << 24);
	io_write(0x10 + 2 * pin, low);
}
static u32 entry(unsigned pin) { return io_read(0x10 + 2 * pin); }
static void line(unsigned n, bool on) { outb((u16)(0x2000 + n), on); }
static void pulse(unsigned n) { line(n, true), line(n, false); }

static volatile int count[256], where[256];
static volatile int order[64], order_n;
static volatile u32 tmr_seen;

static void plain(struct frame *f)
{
	__atomic_fetch_add(&count[f->vector], 1, __ATOMIC_SEQ_CST);
	where[f->vector] = (int)(apic_read(APIC_ID) >> 24);
	if (order_n < 64)
		order[order_n++] = (int)f->vector;
	apic_write(APIC_EOI, 0);
}

static void lowers(struct frame *f) /* a level interrupt that is served at once */
{
	count[f->vector]++;
	tmr_seen = apic_read(APIC_TMR + (f->vector >> 5) * 0x10) >> (f->vector & 31) & 1;
	line(14, false);
	apic_write(APIC_EOI, 0);
}

static void lowers_third(struct frame *f)
{
	if (++count[f->vector] == 3)
		line(14, false);
	apic_write(APIC_EOI, 0);
}

static void masks(struct frame *f) /* leaves the line up, masks the pin */
{
	count[f->vector]++;
	io_write(0x10 + 2 * 14, entry(14) | MASKED);
	apic_write(APIC_EOI, 0);
}

static void settle(void) { delay(3000000); }

static void registers(void)
{
	u32 v = io_read(1);

	check((v & 0xff) >= 0x11 && (v >> 16 & 0xff) == 23, "version", "%x", v);
	io_write(1, 0);
	check(io_read(1) == v, "version-read-only");
	u32 id = io_read(0);
	io_write(0, 0x0f000000);
	check(io_read(0) == 0x0f000000, "id", "%x", io_read(0));
	io_write(0, id);
	check(entry(23) & MASKED, "reset-masked");
	redirect(20, 0x1ffff, 0xff);
	check(io_read(0x10 + 40) == (0x1ffff & ~0x5000), "entry-writable-bits", "%x", io_read(0x10 + 40));
	check(io_read(0x11 + 40) == 0xff000000, "entry-destination");
	redirect(20, MASKED, 0);
}

static void edges(void)
{
	handle(0x77, plain);
	redirect(14, 0x77, 0);
	pulse(14);
	asm volatile("nop");
	check(count[0x77] == 1, "edge");
	line(14, true);
	settle();
	line(14, true);
	settle();
	check(count[0x77] == 2, "edge-is-one-interrupt", "%d", count[0x77]);
	check(!(entry(14) & RIRR), "edge-no-remote-irr");
	line(14, false);
	/* masked: lost */
	redirect(14, 0x77 | MASKED, 0);
	pulse(14);
	redirect(14, 0x77, 0);
	settle();
	check(count[0x77] == 2, "masked-edge-lost", "%d", count[0x77]);
	/* two pins at once */
	handle(0x78, plain);
	handle(0x66, plain);
	redirect(14, 0x78, 0);
	redirect(15, 0x66, 0);
	order_n = 0;
	cli();
	pulse(15);
	pulse(14);
	sti();
	check(order_n == 2 && order[0] == 0x78 && order[1] == 0x66, "simultaneous-edges", "%d", order_n);
	/* sequential on one pin while held off: one */
	cli();
	count[0x78] = 0;
	pulse(14);
	pulse(14);
	sti();
	check(count[0x78] == 1, "coalesced-edges");
	count[0x78] = 0;
	pulse(14);
	asm volatile("nop");
	pulse(14);
	asm volatile("nop");
	check(count[0x78] == 2, "sequential-edges");
}

static void levels(void)
{
	handle(0x98, lowers);
	redirect(14, 0x98 | LEVEL, 0);
	line(14, true);
	asm volatile("nop");
	check(count[0x98] == 1, "level");
	check(tmr_seen == 1, "level-tmr");
	check(!(entry(14) & RIRR), "level-eoi-clears-remote-irr");
	cli();
	line(14, true);
	check(entry(14) & RIRR, "remote-irr");
	sti();
	check(count[0x98] == 2, "level-again");
	handle(0x98, lowers_third);
	count[0x98] = 0;
	line(14, true);
	settle();
	check(count[0x98] == 3, "level-retriggers-until-low", "%d", count[0x98]);
	/* masked: comes when unmasked */
	handle(0x98, lowers);
	count[0x98] = 0;
	redirect(14, 0x98 | LEVEL | MASKED, 0);
	line(14, true);
	settle();
	check(count[0x98] == 0, "masked-level");
	redirect(14, 0x98 | LEVEL, 0);
	asm volatile("nop");
	check(count[0x98] == 1, "unmasked-level");
	redirect(14, 0x98 | LEVEL | MASKED, 0);
	pulse(14);
	redirect(14, 0x98 | LEVEL, 0);
	settle();
	check(count[0x98] == 1, "masked-level-gone");
	/* the handler masks */
	handle(0x98, masks);
	count[0x98] = 0;
	line(14, true);
	settle();
	check(count[0x98] == 1, "level-masked-in-handler", "%d", count[0x98]);
	handle(0x98, lowers);
	redirect(14, 0x98 | LEVEL, 0);
	settle();
	check(count[0x98] == 2, "level-unmasked-after-eoi", "%d", count[0x98]);
	/* edge and level at once */
	handle(0x78, plain);
	redirect(15, 0x78, 0);
	count[0x78] = count[0x98] = 0;
	cli();
	pulse(15);
	line(14, true);
	sti();
	settle();
	check(count[0x78] == 1 && count[0x98] == 1, "edge-and-level", "%d %d", count[0x78], count[0x98]);
	/* one edge while masked in between */
	count[0x98] = 0;
	cli();
	line(14, true);
	line(14, false); /* delivered already: stays in IRR */
	sti();
	settle();
	check(count[0x98] == 1, "level-short-pulse", "%d", count[0x98]);
	/* Remote IRR held by another's EOI: vector 0x99 must not clear that of 0x98. */
	handle(0x99, plain);
	cli();
	count[0x98] = 0;
	line(14, true);
	redirect(15, 0x99, 0);
	pulse(15);
	asm volatile("sti; nop; cli");
	check(count[0x98] == 1 && count[0x99] == 1, "two-vectors");
	sti();
	/* polarity is as programmed on a wire that does not care */
	redirect(14, MASKED, 0);
	redirect(15, MASKED, 0);
	line(14, false);
}

static void destinations(void)
{
	static const struct {
		const char *name;
		u32 low;
		u8 dest;
		int self, other;
	} row[] = {
		{"physical-0", 0x70, 0, 1, 0}, {"physical-1", 0x70, 1, 0, 1}, {"physical-broadcast", 0x70, 0xff, 1, 1},
		{"logical-0", 0x70 | LOGICAL, 1, 1, 0}, {"logical-1", 0x70 | LOGICAL, 2, 0, 1}, {"logical-both", 0x70 | LOGICAL, 3, 1, 1},
		{"lowest-of-both", 0x170 | LOGICAL, 3, 2, 2}, {"nobody", 0x70 | LOGICAL, 0x80, 0, 0},
	};
	handle(0x70, plain);
	apic_write(APIC_LDR, 1 << 24);
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		int want = row[i].self == 2 ? 1 : row[i].self + row[i].other;

		count[0x70] = 0;
		where[0x70] = -1;
		redirect(14, row[i].low, row[i].dest);
		pulse(14);
		for (u64 end = rdtsc() + 20000000000ull; count[0x70] < want && rdtsc() < end;)
			pause();
		settle();
		check(count[0x70] == want && (want != 1 || row[i].self == 2 || where[0x70] == row[i].other), row[i].name, "%d at %d",
		      count[0x70], where[0x70]);
	}
	/* NMI by pin. */
	extern void on_nmi(struct frame *);
	handle(2, on_nmi);
	redirect(14, 0x400, 0);
	cli();
	pulse(14);
	asm volatile("nop");
	sti();
	check(count[2] == 1, "nmi-delivery");
	redirect(14, MASKED, 0);
}
void on_nmi(struct frame *f) { count[2]++; }

/* ---- the 8259s, through LINT0 as ExtINT, and as real interrupts without APIC ---- */

static volatile u8 pic_isr;
static void on_pic(struct frame *f)
{
	count[f->vector]++;
	outb(0x20, 0x0b);
	pic_isr = inb(0x20);
	if (f->vector >= 0x38)
		outb(0xa0, 0x20);
	outb(0x20, 0x20);
}

static void pic_init(void)
{
	static const u8 seq[][2] = {{0x20, 0x11}, {0x21, 0x30}, {0x21, 4}, {0x21, 1}, {0xa0, 0x11}, {0xa1, 0x38}, {0xa1, 2}, {0xa1, 1}, {0x21, 0xff}, {0xa1, 0xff}};
	for (unsigned i = 0; i < ARRAY_SIZE(seq); i++)
		outb(seq[i][0], seq[i][1]);
}

static void pit_one_shot(u16 n)
{
	outb(0x43, 0x30);
	outb(0x40, (u8)n);
	outb(0x40, (u8)(n >> 8));
}

static bool came(int vector, int n)
{
	for (u64 end = rdtsc() + 20000000000ull; count[vector] < n && rdtsc() < end;)
		pause();
	return count[vector] == n;
}

static void pics(void)
{
	for (unsigned v = 0x30; v < 0x40; v++)
		handle(v, on_pic);
	pic_init();
	check(inb(0x21) == 0xff && inb(0xa1) == 0xff, "pic-imr");
	outb(0x21, 0xfa);
	check(inb(0x21) == 0xfa, "pic-imr-reads");
	apic_write(APIC_LINT0, 0x700);
	sti();
	outb(0x21, 0xda & ~4);
	pulse(5);
	asm volatile("nop");
	check(count[0x35] == 1 && pic_isr == 0x20, "virtual-wire-irq5", "%d %x", count[0x35], pic_isr);
	outb(0xa1, 0xf7);
	pulse(11);
	asm volatile("nop");
	check(count[0x3b] == 1 && pic_isr == 4, "virtual-wire-slave-irq11", "%d %x", count[0x3b], pic_isr);
	outb(0x21, 0xfe);
	pit_one_shot(2000);
	check(came(0x30, 1), "pit-irq0-through-pic", "%d", count[0x30]);
	apic_write(APIC_LINT0, 0x10700);
	pit_one_shot(2000);
	settle();
	check(count[0x30] == 1, "lint0-masked");
	outb(0x20, 0x0a);
	bool irr = false;
	for (u64 end = rdtsc() + 20000000000ull; !irr && rdtsc() < end;)
		irr = inb(0x20) & 1;
	check(irr, "pic-irr");
	apic_write(APIC_LINT0, 0x700);
	check(came(0x30, 2), "lint0-unmasked", "%d", count[0x30]);
	/* without the APIC */
	u64 base = rdmsr(0x1b);
	wrmsr(0x1b, base & ~0x800ull);
	pit_one_shot(2000);
	check(came(0x30, 3), "pic-with-apic-disabled", "%d", count[0x30]);
	wrmsr(0x1b, base);
	apic_enable();
	pic_mask();
	cli();
}

static void timers(void)
{
	/* PIT through the I/O APIC: GSI 2 */
	handle(0xc2, plain);
	sti();
	redirect(2, 0xc2, 0);
	pit_one_shot(2000);
	check(came(0xc2, 1), "pit-through-ioapic", "%d", count[0xc2]);
	outb(0x43, 0x34);
	outb(0x40, 0xa9);
	outb(0x40, 0x04); /* 1193: a kHz */
	count[0xc2] = 0;
	u64 t0 = rdtsc();
	for (u64 end = rdtsc() + 20000000000ull; count[0xc2] < 20 && rdtsc() < end;)
		pause();
	u64 ms20 = rdtsc() - t0;
	u32 r[4];
	cpuid(0x16, 0, r); /* MHz, if it says */
	check(count[0xc2] >= 20 && ms20 > 18000ull * r[0], "pit-periodic", "%d %lx", count[0xc2], (ulong)ms20);
	if (r[0])
		ms20 = 20000ull * r[0];
	redirect(2, MASKED, 0);
	/* Counter latch and read-back. */
	u32 a, b;
	/* Again if the host let it count to its end and around: 55 ms. */
	do {
		outb(0x43, 0x30);
		outb(0x40, 0xff), outb(0x40, 0xff);
		outb(0x43, 0);
		a = inb(0x40);
		a |= (u32)inb(0x40) << 8;
		delay(1000000);
		outb(0x43, 0);
		b = inb(0x40);
		b |= (u32)inb(0x40) << 8;
		outb(0x43, 0xe2);
	} while (inb(0x40) & 0x80);
	check(b < a, "pit-counts-down", "%x %x", a, b);
	outb(0x43, 0xe2);
	check((inb(0x40) & 0x3f) == 0x30, "pit-status");
	/* Channel 2 with its gate: how calibration measures the TSC. */
	outb(0x61, (inb(0x61) & ~2) | 1);
	u64 ms10 = ~0ull;
	for (int i = 0; i < 20; i++) {
		outb(0x43, 0xb0);
		outb(0x42, 0x9b);
		t0 = rdtsc();
		outb(0x42, 0x2e); /* 11931: 10 ms */
		while (!(inb(0x61) & 0x20))
			;
		if (rdtsc() - t0 < ms10)
			ms10 = rdtsc() - t0;
	}
	/* Without a rate from CPUID, a busy host may have stretched the 20 ms. */
	check((!r[0] || ms10 > ms20 / 4) && ms10 < ms20 * 4, "pit-channel-2", "%lx %lx", (ulong)ms10, (ulong)ms20);
	/* PM timer: 3.579545 MHz, 24 or 32 bits; 35,795 counts in 10 ms, at least and at most as long as the reads are apart */
	u64 before = rdtsc();
	u32 p0 = inl(0x608) & 0xffffff;
	u64 least = rdtsc();
	delay(ms10);
	least = rdtsc() - least;
	u32 dp = ((inl(0x608) & 0xffffff) - p0) & 0xffffff;
	u64 most = rdtsc() - before, went = dp * (ms10 >> 10);
	if (p0 == 0xffffff)
		skip("pm-timer", "elsewhere");
	else
		check(went > 25 * least && went < 200 * most, "pm-timer", "%u", dp);
	/* RTC periodic interrupt at 1024 Hz on GSI 8 */
	extern void on_rtc(struct frame *);
	handle(0xc8, on_rtc);
	redirect(8, 0xc8, 0);
	outb(0x70, 0x8a), outb(0x71, 0x26);
	outb(0x70, 0x8b);
	u8 regb = inb(0x71);
	outb(0x70, 0x8b), outb(0x71, regb | 0x40);
	outb(0x70, 0x0c), (void)inb(0x71);
	count[0xc8] = 0;
	t0 = rdtsc();
	for (u64 end = rdtsc() + 20000000000ull; count[0xc8] < 20 && rdtsc() < end;)
		pause();
	u64 rtc20 = rdtsc() - t0;
	check(count[0xc8] >= 20 && rtc20 > ms20 / 2, "rtc-periodic", "%d %lx %lx", count[0xc8], (ulong)rtc20, (ulong)ms20);
	outb(0x70, 0x8b), outb(0x71, regb);
	outb(0x70, 0x0c), (void)inb(0x71);
	redirect(8, MASKED, 0);
	outb(0x70, 0x0d);
	check(inb(0x71) & 0x80, "rtc-valid-ram-and-time");
	outb(0x70, 0x5f), outb(0x71, 0xa5);
	outb(0x70, 0x5f);
	check(inb(0x71) == 0xa5, "cmos-ram");
}
void on_rtc(struct frame *f)
{
	outb(0x70, 0x0c);
	if (inb(0x71) & 0x40)
		count[f->vector]++;
	apic_write(APIC_EOI, 0);
}

static volatile bool ap_ready;
static void ap(unsigned cpu)
{
	apic_write(APIC_LDR, 2 << 24);
	ap_ready = true;
}

void test(void)
{
	cpus_start(ap);
	registers();
	sti();
	edges();
	levels();
	destinations();
	cli();
	timers();
	pics();
}
