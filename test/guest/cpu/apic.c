/*
 * The local APIC: registers, modes and what #GPs among them, IPIs, priorities, NMIs, the timer; SDM vol. 3 ch. 10.
 * guest: bits=both cpus=2
 */
#include "lib/guest.h"

static volatile int count[256], order[64], order_n;
static volatile int nmis;

static bool x2(void) { return rdmsr(0x1b) & 0x400; }
static void eoi(void) { if (x2()) wrmsr(0x80b, 0); else apic_write(APIC_EOI, 0); }

static void on_interrupt(struct frame *f)
{
	__atomic_fetch_add(&count[f->vector], 1, __ATOMIC_SEQ_CST);
	if (order_n < 64)
		order[order_n++] = (int)f->vector;
	eoi();
}

static void wait_count(int vector, int n)
{
	for (u64 end = rdtsc() + 20000000000ull; count[vector] < n && rdtsc() < end;)
		pause();
}

static void settle(void) { delay(3000000); }

static void registers(void)
{
	check(apic_read(APIC_ID) >> 24 == 0, "id");
	u32 v = apic_read(APIC_VERSION);
	check((v & 0xff) >= 0x10 && (v & 0xff) <= 0x15 && (v >> 16 & 0xff) >= 3, "version", "%x", v);
	apic_write(APIC_VERSION, 0);
	check(apic_read(APIC_VERSION) == v, "version-read-only");
	check(rdmsr(0x1b) & 0x100, "bsp-bit");
	apic_write(APIC_LDR, 0xffffffff);
	check(apic_read(APIC_LDR) == 0xff000000, "ldr-bits");
	apic_write(APIC_LDR, 0);
	apic_write(APIC_DFR, 0);
	check(apic_read(APIC_DFR) == 0x0fffffff, "dfr-bits");
	apic_write(APIC_DFR, ~0u);
	apic_write(APIC_TPR, 0x123);
	check(apic_read(APIC_TPR) == 0x23, "tpr-bits");
	check(apic_read(APIC_PPR) == 0x23, "ppr-is-tpr");
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVTT, 0);
	check(apic_read(APIC_LVTT) == 0, "lvtt-writable");
	apic_write(APIC_SVR, 0xff);
	check(apic_read(APIC_LVTT) == 0x10000, "software-disable-masks");
	apic_write(APIC_LVTT, 0x40);
	check(apic_read(APIC_LVTT) == 0x10040, "disabled-keeps-masked");
	apic_enable();
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ICR, 0x40003); /* self, illegal vector */
	apic_write(APIC_ESR, 0);
	check(apic_read(APIC_ESR) & 0x20, "esr-send-illegal", "%x", apic_read(APIC_ESR));
	apic_write(APIC_ESR, 0);
	check((apic_read(APIC_ESR) & 0x60) == 0, "esr-clears", "%x", apic_read(APIC_ESR));
	apic_write(APIC_LVTERR, 0xe1);
	sti();
	apic_write(APIC_ICR, 0x40003);
	wait_count(0xe1, 1);
	check(count[0xe1] == 1, "error-interrupt");
	apic_write(APIC_LVTERR, 0x10000);
	apic_write(APIC_ESR, 0);
	check(!(apic_read(APIC_ICR) & 0x1000), "icr-idle");
	cli();
}

static void self_ipi(void)
{
	cli();
	apic_write(APIC_ICR, 0x44040);
	check(apic_read(APIC_IRR + 0x20) == 1, "irr");
	settle();
	check(count[0x40] == 0, "cli-holds");
	asm volatile("sti; nop" : : : "memory");
	check(count[0x40] == 1, "self-ipi-after-sti");
	check(apic_read(APIC_IRR + 0x20) == 0 && apic_read(APIC_ISR + 0x20) == 0, "eoi-clears");
	/* Immediately behind the write to ICR. */
	apic_write(APIC_ICR, 0x44040);
	asm volatile("nop");
	check(count[0x40] == 2, "self-ipi-at-once");
	/* Twice before it is taken: once. */
	cli();
	apic_write(APIC_ICR, 0x44040);
	apic_write(APIC_ICR, 0x44040);
	sti();
	check(count[0x40] == 3, "irr-is-one-bit");
	/* Priorities: highest vector first. */
	cli();
	order_n = 0;
	apic_write(APIC_ICR, 0x44041);
	apic_write(APIC_ICR, 0x44091);
	apic_write(APIC_ICR, 0x44071);
	sti();
	check(order_n == 3 && order[0] == 0x91 && order[1] == 0x71 && order[2] == 0x41, "priority-order", "%x %x %x", order[0], order[1], order[2]);
	/* TPR. */
	apic_write(APIC_TPR, 0x70);
	order_n = 0;
	apic_write(APIC_ICR, 0x44071);
	apic_write(APIC_ICR, 0x44041);
	apic_write(APIC_ICR, 0x44082);
	settle();
	check(order_n == 1 && order[0] == 0x82, "tpr-masks-its-class", "%d", order_n);
	apic_write(APIC_TPR, 0x6f);
	asm volatile("nop");
	check(order_n == 2 && order[1] == 0x71, "tpr-lowered");
#ifdef __x86_64__
	asm volatile("mov %0, %%cr8; nop" : : "r"(3ul) : "memory");
	check(order_n == 3 && order[2] == 0x41, "cr8-lowered");
	asm volatile("mov %0, %%cr8" : : "r"(0ul));
#endif
	apic_write(APIC_TPR, 0);
	asm volatile("nop");
	/* HLT wakes. */
	cli();
	apic_write(APIC_ICR, 0x44040);
	asm volatile("sti; hlt; cli" : : : "memory");
	check(true, "sti-hlt-wakes");
}

static volatile u32 ppr_in, isr_in;
static volatile int nested;
static void outer(struct frame *f)
{
	ppr_in = apic_read(APIC_PPR);
	isr_in = apic_read(APIC_ISR + (0x90 >> 5) * 0x10);
	count[0x90]++;
	asm volatile("sti");
	apic_write(APIC_ICR, 0x44080); /* same or lower class waits, higher comes */
	apic_write(APIC_ICR, 0x44095);
	apic_write(APIC_ICR, 0x440a0);
	asm volatile("nop");
	nested = count[0x80] * 100 + count[0x95] * 10 + count[0xa0];
	asm volatile("cli");
	eoi();
}

static void nesting(void)
{
	handle(0x90, outer);
	count[0x80] = count[0x95] = count[0xa0] = 0;
	sti();
	apic_write(APIC_ICR, 0x44090);
	asm volatile("nop");
	check(ppr_in == 0x90, "ppr-in-service", "%x", ppr_in);
	check(isr_in == 1 << 16, "isr-bit", "%x", isr_in);
	check(nested == 1, "nesting-by-class", "%d", nested);
	asm volatile("nop");
	check(count[0x80] == 1 && count[0x95] == 1, "lower-after-eoi");
	handle(0x90, on_interrupt);
	cli();
}

/* ---- modes ---- */

#define BASE 0xfee00000ull
static void try_base(u64 v, int vector, const char *name)
{
	TRY_WRMSR(0x1b, v);
	check_fault(vector, 0, name);
}

static void mmio_dead(const char *name)
{
	memset((void *)APIC_BASE, 0xff, 4096);
	check(apic_read(APIC_VERSION) == ~0u && apic_read(APIC_TPR) == ~0u, name, "%x", apic_read(APIC_VERSION));
}

static void modes(void)
{
	u64 b = BASE | 0x100;
	u32 r[4], version = apic_read(APIC_VERSION);

	try_base(b | 0x400, 13, "xapic-to-invalid");
	try_base(b | 0x800 | 1, 13, "base-reserved-0");
	try_base(b | 0x800 | 0x200, 13, "base-reserved-9");
	cpuid(0x80000008, 0, r);
	try_base(b | 0x800 | 1ull << (r[0] & 0xff), 13, "base-reserved-high");
	TRY("rdmsr", : "c"(0x802) : "eax", "edx");
	check_fault(13, 0, "x2apic-msr-in-xapic-mode");
	TRY_WRMSR(0x808, 0);
	check_fault(13, 0, "x2apic-write-in-xapic-mode");
	apic_write(APIC_TPR, 0);
	wrmsr(0x1b, b);
	cpuid(1, 0, r);
	check(!(r[3] >> 9 & 1), "cpuid-apic-disabled");
	mmio_dead("mmio-when-disabled");
#ifdef __x86_64__
	ulong cr8;
	asm volatile("mov %1, %%cr8; mov %%cr8, %0" : "=r"(cr8) : "r"(9ul));
	check(cr8 == 9, "cr8-when-disabled");
	asm volatile("mov %0, %%cr8" : : "r"(0ul));
#endif
	try_base(b | 0x400, 13, "disabled-to-invalid");
	try_base(b | 0xc00, 13, "disabled-to-x2apic");
	try_base(b | 0x800, -1, "disabled-to-xapic");
	check(apic_read(APIC_VERSION) == version, "mmio-again");
	check(apic_read(APIC_SVR) == 0xff && apic_read(APIC_LVTT) == 0x10000, "disable-resets", "%x %x", apic_read(APIC_SVR), apic_read(APIC_LVTT));
	/* Somewhere else. */
	wrmsr(0x1b, 0xfed40000ull | 0x900);
	check(*(volatile u32 *)0xfed40030 == version, "relocated");
	check(*(volatile u32 *)0xfee00030 != version, "relocated-old-place");
	wrmsr(0x1b, b | 0x800);
	apic_enable();
	cpuid(1, 0, r);
	if (!(r[2] >> 21 & 1)) {
		skip("x2apic", "absent");
		return;
	}
	try_base(b | 0xc00, -1, "xapic-to-x2apic");
	check(rdmsr(0x802) == 0, "x2-id");
	check(rdmsr(0x803) == version, "x2-version");
	check(rdmsr(0x80d) == 1, "x2-ldr", "%x", (u32)rdmsr(0x80d));
	check(rdmsr(0x80f) == 0x1ff, "x2-svr-kept", "%x", (u32)rdmsr(0x80f));
	mmio_dead("mmio-in-x2apic-mode");
	static const struct {
		u32 msr;
		u64 value;
	} bad[] = {
		{0x802, 0}, {0x803, 0}, {0x808, 0x100}, {0x808, 1ull << 32}, {0x80a, 0}, {0x80b, 1}, {0x80d, 0}, {0x80e, 0}, {0x80f, 0x10000}, {0x810, 0},
		{0x820, 0}, {0x828, 1}, {0x830, 1 << 20}, {0x830, 1 << 13}, {0x831, 0}, {0x832, 1 << 8}, {0x832, 1ull << 32}, {0x838, 1ull << 32},
		{0x839, 0}, {0x83e, 4}, {0x83e, 0x10}, {0x83f, 0x100}, {0x840, 0}, {0x809, 0}, {0x80c, 0}, {0x8ff, 0}, {0x804, 0},
	};
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		TRY_WRMSR(bad[i].msr, bad[i].value);
		if (fault.vector != 13)
			check(false, "x2-bad-write", "%x %x", bad[i].msr, (u32)bad[i].value);
	}
	static const u32 absent[] = {0x800, 0x801, 0x804, 0x80b, 0x80e, 0x80c, 0x809, 0x831, 0x83f, 0x840, 0x8ff};
	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
		TRY("rdmsr", : "c"(absent[i]) : "eax", "edx");
		if (fault.vector != 13)
			check(false, "x2-absent-read", "%x", absent[i]);
	}
	sti();
	count[0x40] = 0;
	wrmsr(0x83f, 0x40);
	asm volatile("nop");
	check(count[0x40] == 1, "x2-self-ipi");
	wrmsr(0x830, 0x44040);
	asm volatile("nop");
	check(count[0x40] == 2, "x2-icr-self");
	wrmsr(0x830, 0x4040); /* physical 0 */
	asm volatile("nop");
	check(count[0x40] == 3, "x2-icr-physical");
	wrmsr(0x830, 1ull << 32 | 0x4840); /* logical cluster 0, bit 0 */
	asm volatile("nop");
	check(count[0x40] == 4, "x2-icr-logical");
	wrmsr(0x830, 0x1ffffull << 47 >> 15 | 0x4040);
	cli();
	check(rdmsr(0x830) >> 32 != 0, "x2-icr-reads-back");
	try_base(b | 0x800, 13, "x2apic-to-xapic");
	try_base(b | 0x400, 13, "x2apic-to-invalid");
	try_base(b, -1, "x2apic-to-disabled");
	try_base(b | 0xc00, 13, "disabled-to-x2apic-again");
	try_base(b | 0x800, -1, "back-to-xapic");
	check(apic_read(APIC_ID) == 0, "id-after-x2apic");
	apic_enable();
}

/* ---- the timer ---- */

static void wait_half(u32 from)
{
	while (apic_read(APIC_TMCCT) > from / 2)
		pause();
}

static void timer(void)
{
	/* Half a second: what is compared with it may lose a quarter to a busy host. */
	u32 n = 0x20000000, r[4];
	u64 t0, t1;

	sti();
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, 0x50);
	count[0x50] = 0;
	t0 = rdtsc();
	apic_write(APIC_TMICT, 0x10000);
	wait_count(0x50, 1);
	t1 = rdtsc();
	check(count[0x50] == 1 && t1 - t0 >= 0x10000, "one-shot", "%d %lx", count[0x50], (ulong)(t1 - t0));
	check(apic_read(APIC_TMCCT) == 0, "one-shot-count-0");
	settle();
	check(count[0x50] == 1, "one-shot-once");
	check(apic_read(APIC_TMICT) == 0x10000, "tmict-keeps");
	apic_write(APIC_LVTT, 0x10050);
	apic_write(APIC_TMICT, n);
	apic_write(APIC_LVTT, 0x30050);
	check(apic_read(APIC_TMICT) == n, "tmict-kept-by-mode");
	apic_write(APIC_LVTT, 0x10050);
	apic_write(APIC_TMICT, n);
	check(apic_read(APIC_TMCCT) != 0, "counts");
	while (apic_read(APIC_TMCCT))
		pause();
	check(apic_read(APIC_TMCCT) == 0, "reaches-0");
	apic_write(APIC_TMICT, n);
	wait_half(n);
	apic_write(APIC_LVTT, 0x30050);
	u32 c = apic_read(APIC_TMCCT);
	check(c && c <= n / 2, "to-periodic-goes-on", "%x", c);
	u32 last = c, now;
	while ((now = apic_read(APIC_TMCCT)) <= last)
		last = now;
	check(now > n / 2, "periodic-reloads", "%x", now);
	wait_half(n);
	apic_write(APIC_LVTT, 0x10050);
	c = apic_read(APIC_TMCCT);
	check(c && c <= n / 2, "to-one-shot-goes-on", "%x", c);
	while (apic_read(APIC_TMCCT))
		pause();
	apic_write(APIC_LVTT, 0x30050);
	check(apic_read(APIC_TMCCT) == 0, "expired-stays-0");
	/* periodic */
	count[0x50] = 0;
	apic_write(APIC_LVTT, 0x20050);
	t0 = rdtsc();
	apic_write(APIC_TMICT, 1000000);
	wait_count(0x50, 10);
	t1 = rdtsc();
	check(count[0x50] >= 10, "periodic");
	apic_write(APIC_TMICT, 0);
	settle();
	int k = count[0x50];
	settle();
	check(count[0x50] == k && apic_read(APIC_TMCCT) == 0, "tmict-0-stops");
	/* divisors: the count goes down in proportion */
	static const u32 code[] = {0xb, 0, 1, 2, 3, 8, 9, 0xa};
	u32 first = 0;
	bool good = true;
	apic_write(APIC_LVTT, 0x10050);
	for (unsigned i = 0; i < 8; i++) {
		bool near = false;
		apic_write(APIC_TDCR, code[i]);
		/* Again if the host took its time in between. */
		for (int attempt = 0; attempt < 10 && !near; attempt++) {
			apic_write(APIC_TMICT, ~0u);
			delay(100000000);
			u32 went = ~0u - apic_read(APIC_TMCCT);
			if (!i)
				first = went;
			near = went << i >= first / 2 && went << i <= first * 2;
			if (!near)
				print("# divisor %d: %u of %u\n", 1 << i, went, first);
		}
		good &= near;
	}
	check(good, "divisors");
	apic_write(APIC_TMICT, 0);
	apic_write(APIC_TDCR, 0xb);
	/* masked: counts, no interrupt */
	count[0x50] = 0;
	apic_write(APIC_TMICT, 1000);
	settle();
	check(count[0x50] == 0 && apic_read(APIC_TMCCT) == 0, "masked-no-interrupt");

	cpuid(1, 0, r);
	if (!(r[2] >> 24 & 1)) {
		skip("tsc-deadline", "absent");
		return;
	}
	apic_write(APIC_LVTT, 0x40051);
	count[0x51] = 0;
	wrmsr(0x6e0, rdtsc());
	asm volatile("nop");
	check(count[0x51] == 1, "deadline-past-at-once", "%d", count[0x51]);
	check(rdmsr(0x6e0) == 0, "deadline-clears");
	u64 at = rdtsc() + 1000000000;
	wrmsr(0x6e0, at);
	u64 reads = rdmsr(0x6e0);
	int came = count[0x51];
	/* Unless the host let it pass. */
	bool passed = rdtsc() >= at;
	check(reads == at || passed, "deadline-reads-back");
	check(came == 1 || passed, "deadline-not-early");
	wait_count(0x51, 2);
	t1 = rdtsc();
	check(count[0x51] == 2 && t1 >= at, "deadline-fires", "%d", count[0x51]);
	print("# deadline late by %u cycles\n", (u32)(t1 - at));
	apic_write(APIC_TMICT, 1000);
	check(apic_read(APIC_TMICT) == 0 && apic_read(APIC_TMCCT) == 0, "tmict-ignored-in-deadline-mode", "%x", apic_read(APIC_TMICT));
	/* Disarmed before it comes, which takes another attempt if the host was away meanwhile. */
	do {
		at = rdtsc() + 20000000;
		wrmsr(0x6e0, at);
		wrmsr(0x6e0, 0);
		passed = rdtsc() >= at;
		if (passed)
			delay(1000000);
		else
			came = count[0x51];
	} while (passed);
	delay(40000000);
	check(count[0x51] == came, "deadline-disarm");
	do {
		at = rdtsc() + 20000000;
		wrmsr(0x6e0, at);
		apic_write(APIC_LVTT, 0x00051);
		reads = rdmsr(0x6e0);
		passed = rdtsc() >= at;
		if (passed)
			apic_write(APIC_LVTT, 0x40051);
		else
			came = count[0x51];
	} while (passed);
	check(reads == 0, "deadline-gone-with-mode");
	delay(40000000);
	check(count[0x51] == came, "mode-change-disarms");
	wrmsr(0x6e0, rdtsc() + 1000);
	settle();
	check(count[0x51] == came, "deadline-ignored-in-other-mode");
	apic_write(APIC_LVTT, 0x40051);
	/* STI; HLT with a deadline */
	cli();
	wrmsr(0x6e0, rdtsc() + 3000000);
	asm volatile("sti; hlt; cli" : : : "memory");
	check(count[0x51] == came + 1, "hlt-until-deadline");
	apic_write(APIC_LVTT, 0x10000);
	sti();
}

/* ---- NMI ---- */

static void on_nmi(struct frame *f) { nmis++; }
static volatile int nmis_in_handler;
static void on_nmi_sends(struct frame *f)
{
	if (++nmis == 1)
		for (int i = 0; i < 10; i++)
			apic_write(APIC_ICR, 0x4400 | 0x40000);
	asm volatile("nop; nop");
	nmis_in_handler = nmis;
}

extern char nmi_after_sti[];
static volatile int nmi_at_shadow;
static void on_nmi_where(struct frame *f)
{
	nmis++;
	nmi_at_shadow += f->rip == (ulong)nmi_after_sti;
}

static volatile int loop_active, loop_turns;
static void sti_loop(void)
{
	while (loop_active) {
		asm volatile("sti\n.globl nmi_after_sti\nnmi_after_sti: testb $0, (%0); nop; cli" : : "r"(0x1000000 + (loop_turns & 0xfff) * 4096l) : "cc");
		loop_turns++;
	}
	loop_active = -1;
}

static volatile int ap_job, ap_seen, handshake;
static void ap(unsigned cpu)
{
	for (;;) {
		int job = ap_job;

		if (job == ap_seen) {
			pause();
			continue;
		}
		ap_seen = job;
		if (job == 1) {
			sti_loop();
		} else if (job == 2) {
			for (int i = 1; handshake >= 0; i++) {
				while (handshake != i && handshake >= 0)
					pause();
				if (handshake < 0)
					break;
				apic_write(APIC_ICR2, 0);
				apic_write(APIC_ICR, 0x4400);
				apic_write(APIC_ICR, 0x4044);
			}
			handshake = -2;
		} else if (job == 3) {
			return; /* halts with interrupts on */
		}
	}
}

static void nmi(void)
{
	handle(2, on_nmi);
	cli();
	nmis = 0;
	apic_write(APIC_ICR2, 0);
	apic_write(APIC_ICR, 0x4400);
	asm volatile("nop");
	check(nmis == 1, "nmi-to-self-physical", "%d", nmis);
	apic_write(APIC_ICR, 0x44400);
	asm volatile("nop");
	check(nmis == 2, "nmi-shorthand-self", "%d", nmis);
	handle(2, on_nmi_sends);
	bool ok = true;
	for (int i = 0; i < 20000; i++) {
		nmis = 0;
		apic_write(APIC_ICR, 0x4400 | 0x40000);
		while (nmis < 2)
			pause();
		ok &= nmis == 2 && nmis_in_handler == 2;
	}
	settle();
	check(ok && nmis == 2, "pending-nmi-is-one", "%d", nmis);

	handle(2, on_nmi_where);
	nmis = nmi_at_shadow = 0;
	loop_active = 1;
	ap_job = 1;
	for (int i = 0; i < 5000; i++) {
		int old = nmis, turns;

		apic_write(APIC_ICR2, 1 << 24);
		apic_write(APIC_ICR, 0x4400);
		while (nmis == old)
			pause();
		turns = loop_turns;
		while (turns == loop_turns)
			;
	}
	loop_active = 0;
	wait_until_(&loop_active, -1);
	check(nmi_at_shadow == 0, "nmi-not-behind-sti", "%d of %d", nmi_at_shadow, nmis);

	handle(2, on_nmi);
	handshake = 0;
	ap_job = 2;
	sti();
	u64 t = rdtsc();
	int bad = 0;
	for (int i = 1; i <= 20000; i++) {
		nmis = 0;
		count[0x44] = 0;
		handshake = i;
		apic_write(APIC_ICR2, 0);
		apic_write(APIC_ICR, 0x4400);
		while (!count[0x44])
			pause();
		bad += nmis != 2;
	}
	check(!bad, "two-nmis-are-two", "%d lost", bad);
	print("# handshake %u cycles\n", (u32)(rdtsc() - t) / 20000);
	handshake = -1;
	wait_until_(&handshake, -2);
	ap_job = 3;
	settle();
	cli();
}

/* ---- between processors ---- */

static void between(void)
{
	sti();
	static const struct {
		const char *name;
		u32 dest, icr;
		int self, other;
	} row[] = {
		{"physical", 1, 0x4060, 0, 1}, {"physical-broadcast", 0xff, 0x4060, 1, 1}, {"all-including", 0, 0x84060, 1, 1},
		{"all-excluding", 0, 0xc4060, 0, 1}, {"logical-flat-both", 3, 0x4860, 1, 1}, {"logical-flat-other", 2, 0x4860, 0, 1},
		{"logical-broadcast", 0xff, 0x4860, 1, 1}, {"physical-nobody", 5, 0x4060, 0, 0}, {"logical-nobody", 0x80, 0x4860, 0, 0},
		{"deassert-fixed", 1, 0x0060, 0, 1}, {"level-ignored", 1, 0xc060, 0, 1},
	};
	static volatile int *n = &count[0x60];

	apic_write(APIC_LDR, 1 << 24);
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		*n = 0;
		apic_ipi(row[i].dest, row[i].icr);
		wait_count(0x60, row[i].self + row[i].other);
		settle();
		check(*n == row[i].self + row[i].other, row[i].name, "%d", *n);
	}
	*n = 0;
	apic_ipi(3, 0x4960);
	wait_count(0x60, 1);
	settle();
	check(*n == 1, "lowest-priority-one", "%d", *n);
	apic_write(APIC_LDR, 0);
	cli();
}

static void ap_start(unsigned cpu)
{
	apic_write(APIC_DFR, ~0u);
	apic_write(APIC_LDR, 2 << 24);
	apic_write(APIC_TPR, 0);
	u32 r[4];
	cpuid(1, 0, r);
	check(r[1] >> 24 == apic_read(APIC_ID) >> 24 && apic_read(APIC_ID) >> 24 == 1, "ap-id");
	check(!(rdmsr(0x1b) & 0x100), "ap-not-bsp");
}

static volatile bool ap_begun;
static void ap_main_(unsigned cpu)
{
	ap_start(cpu);
	ap_begun = true;
	ap(cpu);
}

void test(void)
{
	for (int v = 0x30; v < 256; v++)
		if (v != 0x81)
			handle((unsigned)v, on_interrupt);
	registers();
	self_ipi();
	nesting();
	modes();
	timer();
	cpus_start_async(ap_main_);
	while (!ap_begun)
		pause();
	nmi();
	between();
}
