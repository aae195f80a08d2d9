/*
 * Several processors: INIT and SIPI in all orders, work handed to and fro, IPI storms, atomics, TLB shootdown, code changed
 * under a running processor; SDM vol. 3 ch. 8. guest: bits=both cpus=4
 */
#include "lib/guest.h"

#define CPUS 8
static volatile int starts, total;
static volatile struct { void (*fn)(unsigned); int asked, done; u8 pad[64]; } job[CPUS + 1];
static u8 apic_of[CPUS + 1];
static unsigned cpus;

static void worker(unsigned cpu)
{
	apic_of[cpu] = (u8)(apic_read(APIC_ID) >> 24);
	__atomic_fetch_add(&starts, 1, __ATOMIC_SEQ_CST);
	sti();
	for (;;) {
		while (job[cpu].asked == job[cpu].done)
			pause();
		job[cpu].fn(cpu);
		__atomic_fetch_add(&job[cpu].done, 1, __ATOMIC_SEQ_CST);
	}
}

static void post(unsigned cpu, void (*fn)(unsigned))
{
	job[cpu].fn = fn;
	__atomic_fetch_add(&job[cpu].asked, 1, __ATOMIC_SEQ_CST);
}

static void wait_for(unsigned cpu)
{
	for (u64 end = rdtsc() + 60000000000ull; job[cpu].asked != job[cpu].done; pause())
		if (rdtsc() > end) {
			print("not ok job-timeout # cpu %d\n", cpu);
			guest_exit(3);
		}
}

static void on_others(void (*fn)(unsigned))
{
	for (unsigned i = 1; i < cpus; i++)
		post(i, fn);
	for (unsigned i = 1; i < cpus; i++)
		wait_for(i);
}

static bool came_up(int n)
{
	for (u64 end = rdtsc() + 40000000000ull; starts < n && rdtsc() < end;)
		pause();
	delay(3000000);
	return starts == n;
}

/* Starts anew; each processor gets the next number, so numbers are handed out from 1 again. */
static void restart_count(void)
{
	starts = 0;
	for (unsigned i = 0; i <= CPUS; i++)
		job[i].asked = job[i].done = 0;
	cpus_numbering_restart();
}

/* ---- starting ---- */

static void start(void)
{
	cpus = cpus_count();
	/* The immediate form: INIT to all others, one SIPI, no delay. */
	cpus_start_async(worker);
	check(came_up((int)cpus - 1), "init-sipi-at-once", "%d of %d", starts, cpus - 1);
	/* A SIPI to one that runs is ignored. */
	apic_ipi(0, 0xc4608);
	check(came_up((int)cpus - 1), "sipi-to-running-ignored");
	/* INIT, then nothing: it stops. */
	restart_count();
	apic_ipi(0, 0xc4500);
	delay(30000000);
	check(starts == 0, "init-alone");
	/* Two SIPIs, as the specification's example has them. */
	apic_ipi(0, 0xc4608);
	delay(600000);
	apic_ipi(0, 0xc4608);
	check(came_up((int)cpus - 1), "two-sipis", "%d", starts);
	/* With assert, level and de-assert. */
	restart_count();
	apic_ipi(0, 0xcc500);
	apic_ipi(0, 0xc8500);
	apic_ipi(0, 0xc4608);
	check(came_up((int)cpus - 1), "init-level-assert-deassert", "%d", starts);
	/* One by one, by APIC ID. */
	restart_count();
	for (u32 i = 1; i < cpus; i++) {
		apic_ipi(i, 0x4500);
		apic_ipi(i, 0x4608);
		if (!came_up((int)i))
			check(false, "one-by-one", "%d", i);
	}
	check(starts == (int)cpus - 1, "one-by-one-all");
	bool distinct = true;
	for (unsigned i = 1; i < cpus; i++)
		for (unsigned k = 1; k < i; k++)
			distinct &= apic_of[i] != apic_of[k] && apic_of[i];
	check(distinct, "apic-ids-distinct");
	/* While they halt with interrupts off. */
	extern void halt_off(unsigned);
	for (unsigned i = 1; i < cpus; i++)
		post(i, halt_off);
	delay(10000000);
	restart_count();
	apic_ipi(0, 0xc4500);
	apic_ipi(0, 0xc4608);
	check(came_up((int)cpus - 1), "init-wakes-halted", "%d", starts);
	/* Again and again. */
	bool ok = true;
	for (int i = 0; i < 50 && ok; i++) {
		restart_count();
		apic_ipi(0, 0xc4500);
		apic_ipi(0, 0xc4608);
		for (u64 end = rdtsc() + 40000000000ull; starts < (int)cpus - 1 && rdtsc() < end;)
			pause();
		ok = starts == (int)cpus - 1;
	}
	check(ok, "fifty-restarts");
}
void halt_off(unsigned cpu)
{
	for (;;)
		asm volatile("cli; hlt");
}

/* The state after INIT and SIPI. */
static volatile ulong ap_cr0, ap_efer;
static void look(unsigned cpu)
{
	ap_cr0 = read_cr0();
	ap_efer = (ulong)rdmsr(0x1b);
}

/* ---- work ---- */

static volatile int counter_lock, counter_plain, counter_atomic;
static volatile u64 counter8;
#define TURNS 20000
static void atomics(unsigned cpu)
{
	for (int i = 0; i < TURNS; i++) {
		asm volatile("lock incl %0" : "+m"(counter_atomic) : : "cc");
		while (__atomic_exchange_n(&counter_lock, 1, __ATOMIC_ACQUIRE))
			pause();
		counter_plain++;
		__atomic_store_n(&counter_lock, 0, __ATOMIC_RELEASE);
		u32 a = (u32)counter8, d = (u32)(counter8 >> 32), b, c;
		u8 done;
		do {
			u64 next = ((u64)d << 32 | a) + 0x100000001ull;
			b = (u32)next, c = (u32)(next >> 32);
			asm volatile("lock cmpxchg8b %0; sete %1" : "+m"(counter8), "=q"(done), "+a"(a), "+d"(d) : "b"(b), "c"(c) : "cc");
		} while (!done);
	}
}

static void on_ipi(struct frame *f)
{
	__atomic_fetch_add(&total, 1, __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
}

static volatile int ping, pong;
static void ponger(unsigned cpu)
{
	for (int i = 1; i <= 20000; i++) {
		while (ping != i)
			pause();
		pong = i;
	}
}

static volatile int ipi_got[CPUS + 1];
static void on_storm(struct frame *f)
{
	__atomic_fetch_add(&ipi_got[apic_read(APIC_ID) >> 24], 1, __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
}
static void storm(unsigned cpu)
{
	u32 me = apic_read(APIC_ID) >> 24;

	for (int i = 0; i < 2000; i++) {
		u32 to = (me + 1 + (u32)i % (cpus - 1)) % cpus;

		apic_ipi(to, 0x4000 | (0x90 + (u32)i % 0x40));
	}
}

/* ---- TLB shootdown ---- */

static volatile int flushed;
static volatile ulong shot;
static void on_flush(struct frame *f)
{
	invlpg((void *)shot);
	apic_write(APIC_EOI, 0);
	__atomic_fetch_add(&flushed, 1, __ATOMIC_SEQ_CST);
}

#ifdef __x86_64__
static void to_all(u32 vector)
{
	flushed = 0;
	apic_ipi(0, 0xc4000 | vector);
	while (flushed < (int)cpus - 1)
		pause();
}

static volatile u32 *const window = (u32 *)0x30000000000;
static volatile int reading, bad_reads, epoch;
static void reader(unsigned cpu)
{
	while (reading) {
		int e = epoch;
		u32 v = *window;

		/* The page of the epoch or, while it changes, of the one before. */
		if (epoch == e && !(e & 1) && v != (u32)e)
			__atomic_fetch_add(&bad_reads, 1, __ATOMIC_SEQ_CST);
		pause();
	}
}

static void shootdown(void)
{
	u64 *l3 = page_alloc(), *l2 = page_alloc(), *l1 = page_alloc();
	u32 *page[2] = {page_alloc(), page_alloc()};

	boot_pml4[6] = (ulong)l3 | 7;
	l3[0] = (ulong)l2 | 7;
	l2[0] = (ulong)l1 | 7;
	*page[0] = 0;
	l1[0] = (ulong)page[0] | 7;
	shot = (ulong)window;
	reading = 1;
	for (unsigned i = 1; i < cpus; i++)
		post(i, reader);
	for (int i = 2; i <= 300; i += 2) {
		*page[i / 2 & 1] = (u32)i;
		epoch = i - 1;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		l1[0] = (ulong)page[i / 2 & 1] | 7;
		invlpg((void *)window);
		to_all(0xf0);
		epoch = i;
	}
	reading = 0;
	for (unsigned i = 1; i < cpus; i++)
		wait_for(i);
	check(!bad_reads, "tlb-shootdown", "%d stale reads", bad_reads);
}
#endif

/* ---- code changed by another processor ---- */

static u8 code[64] __attribute__((aligned(64))) = {0xb8, 0, 0, 0, 0, 0xc3}; /* mov $0, %eax; ret */
static volatile int code_step, code_bad;
static void runner(unsigned cpu)
{
	int last = 0;
	u32 r[4];

	while (last < 2000) {
		int want = code_step;

		cpuid(0, 0, r); /* serializes */
		int got = ((int (*)(void))(ulong)code)();
		if (got < want || got > code_step + 1 || got < last)
			code_bad++;
		last = got;
		if (code_step >= 2000)
			break;
	}
}

static void modify(void)
{
	if (cpus < 2)
		return;
	post(1, runner);
	for (int i = 1; i <= 2000; i++) {
		__atomic_store_n((int *)(code + 1), i, __ATOMIC_SEQ_CST);
		code_step = i;
		for (int k = 0; k < 50; k++)
			pause();
	}
	wait_for(1);
	check(!code_bad, "cross-modifying-code", "%d", code_bad);
	/* An IPI is enough too. */
	int bad = 0;
	for (int i = 0; i < 200; i++) {
		__atomic_store_n((int *)(code + 1), 5000 + i, __ATOMIC_SEQ_CST);
		extern void run_once(unsigned);
		extern volatile int run_result;
		post(1, run_once);
		wait_for(1);
		bad += run_result != 5000 + i;
	}
	check(!bad, "modified-then-called", "%d", bad);
}
volatile int run_result;
void run_once(unsigned cpu)
{
	u32 r[4];

	cpuid(0, 0, r);
	run_result = ((int (*)(void))(ulong)code)();
}

/*
 * Three functions in one page, each of which one processor alone changes and calls: what a processor stores is
 * what it runs next (SDM vol. 3 11.6), whatever others do to the page meanwhile.
 */
static u8 shared_page[4096] __attribute__((aligned(4096)));
#define STORES_AHEAD_AT 0    /* mov %edi, 1f + 1; 1: mov $…, %eax; ret */
#define JUMPS_AHEAD_AT  512  /* mov %edi, 1f + 1; jmp 1f; …; 1: mov $…, %eax; ret */
#define OTHERS_AT       2048 /* mov $…, %eax; ret: one for each of the others */
static volatile int ahead_bad, ahead_done;

static void put_ahead(u8 *p, unsigned over)
{
	u8 *mov = p + 6 + over;
	ulong to = BITS == 64 ? (ulong)over + 1 : (ulong)(mov + 1);
	u32 at = (u32)to;

	p[0] = 0x89; /* mov %edi, … */
	p[1] = 0x3d;
	memcpy(p + 2, &at, 4);
	if (over) {
		p[6] = 0xeb;
		p[7] = (u8)(over - 2);
		memset(p + 8, 0xf4, over - 2);
	}
	mov[0] = 0xb8;
	mov[5] = 0xc3;
}

static u32 call_ahead(u8 *p, u32 value)
{
	u32 got;

	asm volatile("call *%1" : "=a"(got) : "r"(p), "D"(value) : "memory", "cc");
	return got;
}

static void ahead_runner(unsigned cpu)
{
	for (u32 i = 0; i < 30000; i++) {
		ahead_bad += call_ahead(shared_page + STORES_AHEAD_AT, i) != i;
		ahead_bad += call_ahead(shared_page + JUMPS_AHEAD_AT, i) != i;
	}
	ahead_done = 1;
}

static void beside_runner(unsigned cpu)
{
	u8 *own = shared_page + OTHERS_AT + cpu * 64;

	for (u32 i = 0; !ahead_done; i++) {
		*(volatile u32 *)(own + 1) = i;
		ahead_bad += call_ahead(own, 0) != i;
		for (u32 n = i % 64; n; n--)
			asm volatile("" : : : "memory");
	}
}

static void shared_code(void)
{
	if (cpus < 2)
		return;
	put_ahead(shared_page + STORES_AHEAD_AT, 0);
	put_ahead(shared_page + JUMPS_AHEAD_AT, 64);
	for (unsigned i = 0; i < cpus; i++) {
		shared_page[OTHERS_AT + i * 64] = 0xb8;
		shared_page[OTHERS_AT + i * 64 + 5] = 0xc3;
	}
	post(1, ahead_runner);
	beside_runner(0);
	wait_for(1);
	check(!ahead_bad, "own-stores-in-shared-code-page", "%d", ahead_bad);
}

static volatile u64 tsc_last;
static volatile int tsc_back;
static void tsc_chain(unsigned cpu)
{
	for (int i = 0; i < 3000; i++) {
		while (__atomic_exchange_n(&counter_lock, 1, __ATOMIC_ACQUIRE))
			pause();
		u64 t = rdtsc();
		if (t < tsc_last)
			tsc_back++;
		tsc_last = t;
		__atomic_store_n(&counter_lock, 0, __ATOMIC_RELEASE);
	}
}

void test(void)
{
	check(cpus_count() >= 1, "fw-cfg-cpus");
	start();
	sti();
	post(1, look);
	wait_for(1);
	check((ap_cr0 & 0x80000001) == (read_cr0() & 0x80000001) && !(ap_efer & 0x100), "ap-state");
	handle(0x50, on_ipi);
	handle(0xf0, on_flush);
	for (unsigned v = 0x90; v < 0xd0; v++)
		handle(v, on_storm);

	for (unsigned i = 1; i < cpus; i++)
		post(i, atomics);
	atomics(0);
	for (unsigned i = 1; i < cpus; i++)
		wait_for(i);
	int want = TURNS * (int)cpus;
	check(counter_atomic == want && counter_plain == want && counter8 == (u32)want * 0x100000001ull, "atomics", "%d %d %d", counter_atomic,
	      counter_plain, (u32)counter8);

	u64 t = rdtsc();
	post(1, ponger);
	for (int i = 1; i <= 20000; i++) {
		ping = i;
		while (pong != i)
			pause();
	}
	wait_for(1);
	print("# handshake %u cycles\n", (u32)(rdtsc() - t) / 20000);
	check(true, "handshakes");

	/* Spinners on all processors while one IPI after the other goes round. */
	t = rdtsc();
	for (int i = 0; i < 2000; i++) {
		total = 0;
		apic_ipi(0, 0xc4050);
		while (total < (int)cpus - 1)
			pause();
	}
	print("# broadcast %u cycles\n", (u32)(rdtsc() - t) / 2000);
	check(true, "ipi-broadcasts");
	for (unsigned i = 1; i < cpus; i++)
		post(i, storm);
	storm(0);
	for (unsigned i = 1; i < cpus; i++)
		wait_for(i);
	delay(10000000);
	int got = 0;
	for (unsigned i = 0; i < cpus; i++)
		got += ipi_got[i];
	check(got > 0 && got <= 2000 * (int)cpus, "ipi-storm", "%d", got);
	for (u32 r = 0; r < 8; r++)
		if (apic_read(APIC_IRR + r * 16) | apic_read(APIC_ISR + r * 16))
			check(false, "storm-leaves-nothing", "%d", r);
	/* No interrupt is lost: one at a time to each vector and each processor. */
	bool ok = true;
	for (u32 v = 0x90; v < 0xd0 && ok; v++)
		for (u32 c = 0; c < cpus && ok; c++) {
			int before = ipi_got[c];

			apic_ipi(c, 0x4000 | v);
			u64 end = rdtsc() + 40000000000ull;
			while (ipi_got[c] == before && rdtsc() < end)
				pause();
			ok = ipi_got[c] == before + 1;
		}
	check(ok, "each-vector-each-cpu");
	for (unsigned i = 1; i < cpus; i++)
		post(i, tsc_chain);
	tsc_chain(0);
	for (unsigned i = 1; i < cpus; i++)
		wait_for(i);
	check(!tsc_back, "tsc-monotonic-across-cpus", "%d", tsc_back);
	on_others(look);
#ifdef __x86_64__
	shootdown();
#endif
	modify();
	shared_code();
	/* Halted ones wake up. */
	check(true, "end");
}
