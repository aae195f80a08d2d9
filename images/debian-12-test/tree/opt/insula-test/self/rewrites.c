/* Code that changes under the processor. Each case writes code, calls it, and checks what the call gave; the
 * first wrong value ends the program with status 1. rewrites [CASE..] */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };
#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

typedef uint32_t function(void);

static const char *now;

static void need(bool good, const char *format, ...)
{
	va_list args;

	if (good)
		return;
	va_start(args, format);
	printf("%s: ", now);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	fflush(stdout);
	_exit(1);
}

static uint8_t *pages(unsigned n, int prot)
{
	uint8_t *p = mmap(NULL, n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

static void put32(uint8_t *p, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)p, value, __ATOMIC_RELAXED);
}

/* nop nop nop; mov eax, value; ret: the immediate is aligned. */
static void put_constant(uint8_t *p, uint32_t value)
{
	static const uint8_t code[] = {0x90, 0x90, 0x90, 0xb8};

	memcpy(p, code, 4);
	put32(p + 4, value);
	p[8] = 0xc3;
}

static uint32_t call(uint8_t *p)
{
	/* The compiler must not think that the call has no say in what memory holds. */
	__asm__ volatile("" ::: "memory");
	return ((function *)(void *)p)();
}

static void called(uint8_t *p, uint32_t wanted)
{
	uint32_t got = call(p);

	need(got == wanted, "got %#x, wanted %#x", got, wanted);
}

static void serialize(void)
{
	uint32_t a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d)::"memory");
}

/* ---- one page, one thread ---- */

static void same_page(void)
{
	uint8_t *p = pages(1, RWX);

	put_constant(p, 0);
	for (uint32_t i = 0; i < 200000; i++) {
		put32(p + 4, i * 2654435761u);
		called(p, i * 2654435761u);
	}
}

/* Long runs between changes, so that whatever compiles hot code has done so. */
static void hot_then_changed(void)
{
	uint8_t *p = pages(1, RWX);

	put_constant(p, 0);
	for (uint32_t i = 0; i < 300; i++) {
		put32(p + 4, i);
		for (unsigned k = 0; k < 3000; k++)
			called(p, i);
	}
}

static void protected(void)
{
	uint8_t *p = pages(1, PROT_READ | PROT_WRITE);

	put_constant(p, 0);
	for (uint32_t i = 0; i < 20000; i++) {
		need(!mprotect(p, PAGE, PROT_READ | PROT_WRITE), "mprotect: %s", strerror(errno));
		put32(p + 4, i);
		need(!mprotect(p, PAGE, PROT_READ | PROT_EXEC), "mprotect: %s", strerror(errno));
		called(p, i);
		called(p, i);
	}
}

/* Data and code in one page: each store is to a page of code, and changes none of it. */
static void beside_data(void)
{
	/* mov rax, [rip+121]; inc; mov [rip+..], rax; ret, its counter at +128 */
	static const uint8_t code[] = {0x48, 0x8b, 0x05, 0x79, 0,    0, 0, 0x48, 0xff,
	                               0xc0, 0x48, 0x89, 0x05, 0x6f, 0, 0, 0,    0xc3};
	uint8_t *p = pages(1, RWX);

	memcpy(p, code, sizeof code);
	for (uint32_t i = 1; i <= 300000; i++)
		called(p, i);
}

/* The store is to an instruction of its own basic block, next to come. */
static void ahead(void)
{
	uint8_t *p = pages(1, RWX);
	/* mov [rip+1], edi; mov eax, 0; ret */
	static const uint8_t code[] = {0x89, 0x3d, 1, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0xc3};
	uint32_t (*f)(uint32_t) = (void *)p;

	memcpy(p, code, sizeof code);
	for (uint32_t i = 0; i < 200000; i++) {
		uint32_t got = f(i ^ 0x5555);

		need(got == (i ^ 0x5555), "got %#x, wanted %#x", got, i ^ 0x5555);
	}
}

/* A loop that rewrites its own body on each way round: 1000 rounds of add eax, imm8 where imm8 is
 * incremented. */
static void own_loop(void)
{
	/* xor eax, eax; mov ecx, 1000; L: add eax, 0; inc byte [rip-7]; dec ecx; jnz L; ret */
	static const uint8_t code[] = {0x31, 0xc0, 0xb9, 0xe8, 3,    0,    0,    0x05, 0,    0,    0,   0,
	                               0xfe, 0x05, 0xf6, 0xff, 0xff, 0xff, 0xff, 0xc9, 0x75, 0xf1, 0xc3};
	uint8_t *p = pages(1, RWX);
	uint32_t wanted, imm = 0;

	memcpy(p, code, sizeof code);
	for (unsigned round = 0; round < 200; round++) {
		wanted = 0;
		for (unsigned i = 0; i < 1000; i++, imm++)
			wanted += imm & 0xff;
		called(p, wanted);
	}
}

/* A page whose start runs while its end, an instruction across both pages, changes. */
static void across_pages(void)
{
	uint8_t *p = pages(2, RWX), *q = p + PAGE - 3;

	*q = 0xb8; /* mov eax: two bytes of the immediate here, two there */
	q[5] = 0xc3;
	for (uint32_t i = 0; i < 50000; i++) {
		uint32_t value = i * 2654435761u;

		if (i & 1) {
			memcpy(q + 1, &value, 4);
		} else {
			/* Only the second page's half. */
			memcpy((uint8_t *)&value, q + 1, 2);
			memcpy(q + 3, (uint8_t *)&value + 2, 2);
		}
		called(q, value);
	}
}

/* A jump from one page into another: its target changes, then its displacement. */
static void jump_between_pages(void)
{
	uint8_t *p = pages(4, RWX);

	p[3] = 0xe9;
	for (unsigned k = 1; k < 4; k++)
		put_constant(p + k * PAGE, k);
	for (uint32_t i = 0; i < 100000; i++) {
		unsigned k = 1 + i / 7 % 3;

		put32(p + 4, k * PAGE - 8);
		if (i % 3 == 0)
			put32(p + k * PAGE + 4, i);
		called(p + 3, *(uint32_t *)(void *)(p + k * PAGE + 4));
	}
}

static void strings(void)
{
	uint8_t *p = pages(1, RWX), *source = pages(1, PROT_READ | PROT_WRITE);

	for (uint32_t i = 0; i < 30000; i++) {
		size_t n = PAGE;
		void *to = p, *from = source;

		put_constant(source, i);
		put_constant(source + 2048, ~i);
		__asm__ volatile("rep movsb" : "+c"(n), "+D"(to), "+S"(from)::"memory");
		called(p, i);
		called(p + 2048, ~i);
	}
}

/* ---- aliases ---- */

static int memory_file(unsigned n)
{
	int fd = memfd_create("code", 0);

	need(fd >= 0 && !ftruncate(fd, n * PAGE), "memfd: %s", strerror(errno));
	return fd;
}

static uint8_t *view(int fd, int prot)
{
	uint8_t *p = mmap(NULL, PAGE, prot, MAP_SHARED, fd, 0);

	need(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

static void alias(void)
{
	int fd = memory_file(1);
	uint8_t *writes = view(fd, PROT_READ | PROT_WRITE), *runs = view(fd, PROT_READ | PROT_EXEC),
	        *other = view(fd, PROT_READ | PROT_EXEC);

	put_constant(writes, 0);
	for (uint32_t i = 0; i < 200000; i++) {
		put32(writes + 4, i);
		called(i & 64 ? runs : other, i);
		if (i % 1000 == 0)
			for (unsigned k = 0; k < 200; k++)
				called(runs, i), called(other, i);
	}
}

/* The kernel writes: a file's page, a pipe, another process' memory (our own). */
static void by_the_kernel(void)
{
	int fd = memory_file(1), pair[2];
	uint8_t *runs = view(fd, PROT_READ | PROT_EXEC), *p = pages(1, RWX);

	need(!pipe(pair), "pipe: %s", strerror(errno));
	put_constant(p, 0);
	for (uint32_t i = 0; i < 20000; i++) {
		uint8_t code[9];
		struct iovec local = {code, 9}, remote = {p, 9};

		put_constant(code, i);
		need(pwrite(fd, code, 9, 0) == 9, "pwrite: %s", strerror(errno));
		called(runs, i);
		need(write(pair[1], code, 9) == 9 && read(pair[0], p, 9) == 9, "pipe: %s", strerror(errno));
		called(p, i);
		put_constant(code, ~i);
		need(process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 9, "process_vm_writev: %s",
		     strerror(errno));
		called(p, ~i);
	}
}

/* ---- the same address, other pages ---- */

static void remapped(void)
{
	uint8_t *p = pages(1, RWX);

	for (uint32_t i = 0; i < 10000; i++) {
		need(mmap(p, PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p, "mmap: %s",
		     strerror(errno));
		put_constant(p, i);
		called(p, i);
		called(p, i);
	}
}

static void moved(void)
{
	uint8_t *p = pages(3, RWX);

	for (uint32_t i = 0; i < 5000; i++) {
		put_constant(p, i);
		put_constant(p + PAGE, i + 1);
		called(p, i);
		called(p + PAGE, i + 1);
		need(mremap(p + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p, "mremap: %s",
		     strerror(errno));
		called(p, i + 1);
		need(mmap(p + PAGE, PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + PAGE,
		     "mmap: %s", strerror(errno));
	}
}

/* After a fork each has its own code at one address. */
static void forked(void)
{
	uint8_t *p = pages(1, RWX);

	put_constant(p, 1);
	for (uint32_t i = 0; i < 300; i++) {
		pid_t child;
		int status;

		put32(p + 4, i);
		for (unsigned k = 0; k < 100; k++)
			called(p, i);
		child = fork();
		need(child >= 0, "fork: %s", strerror(errno));
		if (!child) {
			for (unsigned k = 0; k < 100; k++) {
				called(p, k ? i + 1000 + k - 1 : i);
				put32(p + 4, i + 1000 + k);
			}
			_exit(0);
		}
		for (unsigned k = 0; k < 100; k++)
			called(p, i);
		need(waitpid(child, &status, 0) == child && !status, "the child's status is %d", status);
		called(p, i);
	}
}

/* ---- much code ---- */

static void much(void)
{
	enum { FUNCTIONS = 60000, SIZE = 64 };
	uint8_t *p = pages(FUNCTIONS * SIZE / PAGE + 1, RWX);

	for (uint32_t i = 0; i < FUNCTIONS; i++)
		put_constant(p + i * SIZE, i);
	for (unsigned round = 0; round < 6; round++) {
		for (uint32_t i = 0; i < FUNCTIONS; i++)
			for (unsigned k = 0; k < 10; k++)
				called(p + i * SIZE, i + round);
		for (uint32_t i = 0; i < FUNCTIONS; i++)
			put32(p + i * SIZE + 4, i + round + 1);
	}
}

/* ---- threads ---- */

static struct {
	uint8_t *writes, *runs;
	atomic_uint asked, done;
	atomic_bool stop;
	uint32_t last;
} shared;

static void *rewriter(void *unused)
{
	(void)unused;
	for (unsigned seen = 0;;) {
		unsigned asked = atomic_load(&shared.asked);

		if (atomic_load(&shared.stop))
			return NULL;
		if (asked == seen) {
			sched_yield();
			continue;
		}
		seen = asked;
		put32(shared.writes + 4, seen * 2654435761u);
		atomic_store(&shared.done, seen);
	}
}

/* Another thread writes, says so, and this one serializes before the call (SDM vol. 3 8.1.3). */
static void handshake(uint8_t *writes, uint8_t *runs)
{
	pthread_t thread;

	shared.writes = writes;
	shared.runs = runs;
	put_constant(writes, 0);
	atomic_store(&shared.asked, 0);
	atomic_store(&shared.done, 0);
	atomic_store(&shared.stop, false);
	need(!pthread_create(&thread, NULL, rewriter, NULL), "no thread");
	for (unsigned i = 1; i <= 20000; i++) {
		atomic_store(&shared.asked, i);
		while (atomic_load(&shared.done) != i)
			sched_yield();
		serialize();
		for (unsigned k = 0; k < (i % 500 == 0 ? 300 : 2); k++)
			called(runs, i * 2654435761u);
	}
	atomic_store(&shared.stop, true);
	pthread_join(thread, NULL);
}

static void by_a_thread(void)
{
	uint8_t *p = pages(1, RWX);

	handshake(p, p);
}

static void by_a_thread_through_an_alias(void)
{
	int fd = memory_file(1);

	handshake(view(fd, PROT_READ | PROT_WRITE), view(fd, PROT_READ | PROT_EXEC));
}

static void *counter(void *unused)
{
	(void)unused;
	for (uint32_t i = 1; i <= shared.last; i++)
		put32(shared.writes + 4, i << 16 | (~i & 0xffff));
	return NULL;
}

/* Without any: each call must give one of the values that were written, and the last one in the end. */
static void unsynchronized(void)
{
	int fd = memory_file(1);
	pthread_t thread;
	uint32_t got;

	shared.writes = view(fd, PROT_READ | PROT_WRITE);
	shared.runs = view(fd, PROT_READ | PROT_EXEC);
	shared.last = 60000;
	put_constant(shared.writes, 0xffff);
	need(!pthread_create(&thread, NULL, counter, NULL), "no thread");
	do {
		got = call(shared.runs);
		need((got >> 16) == (~got & 0xffff), "got %#x, which nobody has written", got);
		serialize();
	} while (got >> 16 != shared.last);
	pthread_join(thread, NULL);
}

/* Every thread has a function of its own, all in one page, and rewrites it. */
static void *tenant(void *arg)
{
	uint8_t *p = arg;

	for (uint32_t i = 0; i < 30000; i++) {
		put32(p + 4, i);
		called(p, i);
	}
	return NULL;
}

static void one_page_of_many(void)
{
	uint8_t *p = pages(1, RWX);
	pthread_t threads[4];

	for (unsigned n = 0; n < 4; n++) {
		put_constant(p + n * 1024, 0);
		need(!pthread_create(&threads[n], NULL, tenant, p + n * 1024), "no thread");
	}
	for (unsigned n = 0; n < 4; n++)
		pthread_join(threads[n], NULL);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
        {"same-page", same_page},
        {"hot-then-changed", hot_then_changed},
        {"protected", protected},
        {"beside-data", beside_data},
        {"ahead", ahead},
        {"own-loop", own_loop},
        {"across-pages", across_pages},
        {"jump-between-pages", jump_between_pages},
        {"strings", strings},
        {"alias", alias},
        {"by-the-kernel", by_the_kernel},
        {"remapped", remapped},
        {"moved", moved},
        {"forked", forked},
        {"much", much},
        {"by-a-thread", by_a_thread},
        {"by-a-thread-through-an-alias", by_a_thread_through_an_alias},
        {"unsynchronized", unsynchronized},
        {"one-page-of-many", one_page_of_many},
};

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(name, argv[i]))
			return true;
	return argc < 2;
}

int main(int argc, char **argv)
{
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		now = cases[i].name;
		if (!wanted(now, argc, argv))
			continue;
		cases[i].run();
		printf("%s\n", now);
		fflush(stdout);
	}
	return 0;
}
