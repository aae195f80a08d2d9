#include "guest.h"

struct idt_entry idt[256] __attribute__((aligned(16)));
struct tss tss __attribute__((aligned(16)));
volatile struct fault fault;
volatile ulong fault_resume;
const char *guest_args = "";

static void (*handlers[256])(struct frame *);
static unsigned failures;
static char kernel_stack[2][8192] __attribute__((aligned(16)));

extern char user_return[], ap_entry[], ap_entry_end[], guest_end[];

/* ---- memory ---- */

void *memset(void *d, int c, size_t n)
{
	void *r = d;
	asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return r;
}

void *memcpy(void *d, const void *s, size_t n)
{
	void *r = d;
	asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	return r;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *p = a, *q = b;

	for (; n; p++, q++, n--)
		if (*p != *q)
			return *p - *q;
	return 0;
}

void *page_alloc(void)
{
	static ulong next;

	if (!next)
		next = 0x1000000;
	next += 4096;
	return memset((void *)(next - 4096), 0, 4096);
}

/* ---- console ---- */

static void put(char c)
{
	if (c == '\n')
		outb(0x3f8, '\r');
	while (!(inb(0x3fd) & 0x20))
		;
	outb(0x3f8, (u8)c);
}

static void put_number(ulong v, unsigned base)
{
	char text[24];
	int n = 0;

	do
		text[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	while (n)
		put(text[--n]);
}

static void vprint(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		bool wide = *++fmt == 'l';
		if (wide)
			fmt++;
		switch (*fmt) {
		case 's':
			for (const char *s = va_arg(ap, const char *); *s; s++)
				put(*s);
			break;
		case 'c': put((char)va_arg(ap, int)); break;
		case 'd': {
			long v = wide ? va_arg(ap, long) : va_arg(ap, int);
			if (v < 0)
				put('-');
			put_number((ulong)(v < 0 ? -v : v), 10);
			break;
		}
		case 'p': put_number((ulong)va_arg(ap, void *), 16); break;
		case 'u': put_number(wide ? va_arg(ap, ulong) : va_arg(ap, u32), 10); break;
		default: put_number(wide ? va_arg(ap, ulong) : va_arg(ap, u32), 16); break;
		}
	}
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
}

void check_(bool ok, const char *name, const char *fmt, ...)
{
	va_list ap;

	print(ok ? "ok %s" : "not ok %s", name);
	if (!ok) {
		failures++;
		if (*fmt) {
			print(" # ");
			va_start(ap, fmt);
			vprint(fmt, ap);
			va_end(ap);
		}
	}
	put('\n');
}

void skip(const char *name, const char *why) { print("skip %s # %s\n", name, why); }

void guest_exit(u8 code)
{
	outb(0xf4, code);
	for (;;)
		asm volatile("cli; hlt");
}

/* ---- exceptions ---- */

void check_fault(int vector, ulong error, const char *name)
{
	check(fault.vector == vector && (vector < 0 || fault.error == error), name,
	      "vector %d error %lx instead of %d %lx", fault.vector, fault.error, vector, error);
}

void check_vector(int vector, const char *name)
{
	check(fault.vector == vector, name, "vector %d (error %lx) instead of %d", fault.vector, fault.error, vector);
}

void vector_handle(struct frame *f);
void vector_handle(struct frame *f)
{
	if (f->vector == 0x81 && (f->cs & 3) == 3) {
		f->rip = (ulong)user_return;
		f->cs = CODE;
		f->rflags = 2;
#ifdef __x86_64__
		f->ss = DATA;
		f->rsp = (ulong)f;
#else
		/* To the same level: no stack pointer is popped. */
#endif
		return;
	}
	if (handlers[f->vector]) {
		handlers[f->vector](f);
		return;
	}
	if (f->vector < 32 && fault_resume) {
		fault.vector = (int)f->vector;
		fault.error = f->error;
		fault.cr2 = read_cr2();
		fault.rip = f->rip;
		fault.rflags = f->rflags;
		fault.cs = f->cs;
		fault.rsp = (f->cs & 3) || BITS == 64 ? f->rsp : (ulong)&f->rsp;
		f->rip = fault_resume;
		f->rflags &= ~0x100ul;
		fault_resume = 0;
		return;
	}
	print("not ok unexpected-vector # %u error %lx rip %lx cs %lx rflags %lx cr2 %lx\n", (u32)f->vector, (ulong)f->error,
	      (ulong)f->rip, (ulong)f->cs, (ulong)f->rflags, read_cr2());
	guest_exit(2);
}

void handle(unsigned vector, void (*fn)(struct frame *)) { handlers[vector] = fn; }

void idt_gate(unsigned vector, void *entry, u8 type_dpl, u16 selector, u8 ist)
{
	ulong a = (ulong)entry;

	idt[vector].low = (a & 0xffff) | (u64)selector << 16 | (u64)ist << 32 | (u64)type_dpl << 40 | (u64)(a >> 16 & 0xffff) << 48;
#ifdef __x86_64__
	idt[vector].high = a >> 32;
#endif
}

void gdt_set(unsigned selector, u32 base, u32 limit, u8 access, u8 flags)
{
	gdt[selector / 8] = (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 | (u64)(limit >> 16 & 0xf) << 48 |
			    (u64)flags << 52 | (u64)(base >> 24) << 56;
}

static void load_tables(void)
{
	struct {
		u16 limit;
		ulong base;
	} __attribute__((packed)) p = {sizeof(idt) - 1, (ulong)idt};

	asm volatile("lidt %0" : : "m"(p));
}

static void descriptors_init(void)
{
	for (unsigned i = 0; i < 256; i++)
		idt_gate(i, (void *)vector_entries[i], i == 3 || i == 4 || i == 0x81 ? 0xee : 0x8e, CODE, 0);
	load_tables();
#ifdef __x86_64__
	tss.rsp[0] = (ulong)kernel_stack[1];
	gdt[GDT_TSS / 8 + 1] = (ulong)&tss >> 32;
#else
	tss.esp0 = (ulong)kernel_stack[1];
	tss.ss0 = DATA;
#endif
	memset(tss.map, 0xff, sizeof(tss.map));
	tss.map[0x3f8 / 8] = 0;
	tss.iomap = offsetof(struct tss, map);
	gdt_set(GDT_TSS, (u32)(ulong)&tss, sizeof(tss) - 1, 0x89, 0);
	asm volatile("ltr %w0" : : "r"(GDT_TSS));
}

/* ---- time, APIC, processors ---- */

void delay(u64 tsc)
{
	u64 end = rdtsc() + tsc;

	while (rdtsc() < end)
		pause();
}

void wait_until_(volatile int *flag, int value)
{
	for (u64 end = rdtsc() + 20000000000ull; *flag != value;) {
		pause();
		if (rdtsc() > end) {
			print("not ok timeout # waited for %d, is %d\n", value, *flag);
			guest_exit(3);
		}
	}
}

void pic_mask(void)
{
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

void apic_enable(void)
{
	wrmsr(0x1b, (rdmsr(0x1b) & ~0xc00ull) | 0x800);
	apic_write(APIC_SVR, 0x1ff);
	apic_write(APIC_TPR, 0);
	for (u32 r = APIC_LVTT; r <= APIC_LVTERR; r += 0x10)
		apic_write(r, 0x10000);
	apic_write(APIC_TMICT, 0);
}

void apic_ipi(u32 dest, u32 low)
{
	apic_write(APIC_ICR2, dest << 24);
	apic_write(APIC_ICR, low);
	while (apic_read(APIC_ICR) & 0x1000)
		pause();
}

unsigned cpus_count(void)
{
	unsigned n;

	outw(0x510, 5);
	n = inb(0x511);
	n |= (unsigned)inb(0x511) << 8;
	return n;
}

static void (*volatile ap_fn)(unsigned);
static volatile int ap_up;

void ap_main(unsigned cpu);
void ap_main(unsigned cpu)
{
	load_tables();
	apic_enable();
	if (ap_fn)
		ap_fn(cpu);
	__atomic_fetch_add(&ap_up, 1, __ATOMIC_SEQ_CST);
	for (;;)
		asm volatile("sti; hlt");
}

void cpus_numbering_restart(void)
{
	extern u32 ap_next;

	ap_next = 1;
}

void cpus_start_async(void (*fn)(unsigned))
{
	ap_fn = fn;
	memcpy((void *)0x8000, ap_entry, (size_t)(ap_entry_end - ap_entry));
	apic_ipi(0, 0xc4500); /* INIT, all but self */
	apic_ipi(0, 0xc4608); /* SIPI */
}

unsigned cpus_start(void (*fn)(unsigned))
{
	cpus_start_async(fn);
	wait_until_(&ap_up, (int)cpus_count() - 1);
	return (unsigned)ap_up;
}

void guest_main(u32 magic, u32 info);
void guest_main(u32 magic, u32 info)
{
	const u32 *mbi = (const u32 *)(ulong)info;

	check(magic == 0x2badb002, "multiboot-magic", "eax %x", magic);
	if (mbi[0] & 4) {
		guest_args = (const char *)(ulong)mbi[4];
		while (*guest_args && *guest_args != ' ')
			guest_args++;
		while (*guest_args == ' ')
			guest_args++;
	}
	pic_mask();
	descriptors_init();
	apic_enable();
	test();
	print("end %u failures\n", failures);
	guest_exit(failures ? 1 : 0);
}
