/*
 * The host's side: state is loaded from, and saved to, a struct image at STATE_BASE by code that needs no
 * register; the instruction is followed by a jump to the way out, or by int3 where it may go elsewhere.
 * Faults come as signals on a stack of their own, and leave by the way out, too.
 */
#include "oracle.h"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define STATE ((struct image *)(uintptr_t)STATE_BASE)

void native_enter(void);
extern const u8 native_exit[], native_exit_end[], native_leave[];

__asm__(".text\n"
        ".set S, 0x37e91000\n"
        ".globl native_enter, native_exit, native_exit_end, native_leave\n"
        "native_enter:\n"
        "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "	mov %rsp, S+176\n"
        "	mov S+204, %eax; xor %edx, %edx\n"
        "	xrstor64 S+256\n"
        "	push S+136; popfq\n"
        "	mov S+0, %rax; mov S+8, %rcx; mov S+16, %rdx; mov S+24, %rbx\n"
        "	mov S+32, %rsp; mov S+40, %rbp; mov S+48, %rsi; mov S+56, %rdi\n"
        "	mov S+64, %r8; mov S+72, %r9; mov S+80, %r10; mov S+88, %r11\n"
        "	mov S+96, %r12; mov S+104, %r13; mov S+112, %r14; mov S+120, %r15\n"
        "	ljmp *S+144\n"
        /* Copied to EXIT_BASE; entered with everything as the instruction left it. */
        "native_exit:\n"
        "	mov %rax, S+0; mov %rcx, S+8; mov %rdx, S+16; mov %rbx, S+24\n"
        "	mov %rsp, S+32; mov %rbp, S+40; mov %rsi, S+48; mov %rdi, S+56\n"
        "	mov %r8, S+64; mov %r9, S+72; mov %r10, S+80; mov %r11, S+88\n"
        "	mov %r12, S+96; mov %r13, S+104; mov %r14, S+112; mov %r15, S+120\n"
        "	mov S+176, %rsp\n"
        "	pushfq; pop S+136\n"
        "	mov S+204, %eax; xor %edx, %edx\n"
        "	xsave64 S+256\n"
        "native_leave:\n"
        "	mov S+176, %rsp\n"
        "	mov S+204, %eax; xor %edx, %edx\n"
        "	xrstor64 S+4096\n" /* the host's: initial */
        "	push $0x202; popfq\n"
        "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "	ret\n"
        "native_exit_end:\n");

/* Components above AVX: where the host keeps them, and struct image does. */
enum { HIGH = 3 };
static const struct {
	u16 offset, size;
} high[HIGH] = {{1088, 64}, {1152, 512}, {1664, 1024}};
static u32 host_offset[HIGH], host_end = 832;

static void find_layout(void)
{
	if (vectors_components() == 7)
		return;
	for (unsigned i = 0; i < HIGH; i++) {
		u32 eax = 0xd, ebx, ecx = 5 + i, edx;

		__asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
		host_offset[i] = ebx;
		host_end = max(host_end, ebx + high[i].size);
	}
}

static void move_high(u8 *x, bool to_host)
{
	u8 copy[AREA_SIZE - 832];

	if (host_end == 832)
		return;
	memcpy(copy, x + 832, sizeof(copy));
	memset(x + 832, 0, sizeof(copy));
	for (unsigned i = 0; i < HIGH; i++) {
		unsigned from = to_host ? high[i].offset : host_offset[i],
		         to = to_host ? host_offset[i] : high[i].offset;

		memcpy(x + to, copy + (from - 832), high[i].size);
	}
}

static u8 *code, *data; /* writable aliases of what is at CODE_BASE and DATA_BASE */
static bool running;

static void fail(const char *what)
{
	fprintf(stderr, "oracle: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void take_state(const ucontext_t *uc)
{
	static const u8 order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
	const greg_t *g = uc->uc_mcontext.gregs;
	const u8 *fp = (const u8 *)uc->uc_mcontext.fpregs;
	struct image *s = STATE;
	u32 magic;

	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = (u64)g[order[i]];
	s->rip = (u64)g[REG_RIP];
	s->rflags = (u64)g[REG_EFL];
	s->vector = (u64)g[REG_TRAPNO];
	s->error = (u64)g[REG_ERR];
	s->cr2 = (u64)g[REG_CR2];
	memset(s->xsave, 0, sizeof(s->xsave));
	memcpy(s->xsave, fp, 416);
	memcpy(&magic, fp + 464, 4);
	if (magic == 0x46505853)
		memcpy(s->xsave + 512, fp + 512, host_end - 512);
	if (s->vector == 3) {
		s->vector = NO_EXCEPTION;
		s->error = 0;
		s->rip--;
	}
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	if (!running) {
		signal(sig, SIG_DFL);
		return;
	}
	take_state(uc);
	running = false;
	g[REG_RIP] = (greg_t)(EXIT_BASE + (native_leave - native_exit));
	g[REG_EFL] = 0x202;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffLL) | SEL_CODE64;
}

static void *map(u32 at, size_t size, int protection, int fd, off_t offset)
{
	void *p = mmap((void *)(uintptr_t)at, size, protection,
	               (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | (at ? MAP_FIXED_NOREPLACE : 0) |
	                       MAP_POPULATE,
	               fd, offset);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

void native_init(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
	static u8 stack[65536];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_sigaction = on_signal,
	                           .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	int fd = memfd_create("oracle-code", MFD_CLOEXEC);

	find_layout();
	if (fd < 0 || ftruncate(fd, 0x3000) < 0)
		fail("memfd");
	code = map(0, 0x3000, PROT_READ | PROT_WRITE, fd, 0);
	memset(code, 0xcc, 0x3000);
	memcpy(code + CODE_SIZE, native_exit, (size_t)(native_exit_end - native_exit));
	map(CODE_BASE, CODE_SIZE, PROT_READ | PROT_EXEC, fd, 0);
	map(EXIT_BASE, 0x1000, PROT_READ | PROT_EXEC, fd, CODE_SIZE);
	close(fd);
	fd = memfd_create("oracle-data", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, DATA_SIZE) < 0)
		fail("memfd");
	data = map(0, DATA_SIZE, PROT_READ | PROT_WRITE, fd, 0);
	map(DATA_BASE, DATA_WRITE, PROT_READ | PROT_WRITE, fd, 0);
	map(DATA_BASE + DATA_WRITE, DATA_SIZE - DATA_WRITE, PROT_READ, fd, DATA_WRITE);
	close(fd);
	map(STATE_BASE, 0x2000, PROT_READ | PROT_WRITE, -1, 0);
	/* Initial configuration, with the default MXCSR. */
	*(u32 *)(uintptr_t)(STATE_BASE + 4096 + 24) = 0x1f80;
	if (sigaltstack(&alternate, NULL) < 0)
		fail("sigaltstack");
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], &action, NULL) < 0)
			fail("sigaction");
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, (unsigned long)GS_BASE) < 0)
		fail("arch_prctl");
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SEL_DATA));
}

u8 *native_data(void)
{
	return data;
}

void native_run(const struct sample *s, struct image *out)
{
	u8 *at = code + (s->rip - CODE_BASE), *p = at + s->len;
	struct image *state = STATE;

	memcpy(at, s->bytes, s->len);
	if (!s->code && !s->form->branch && s->form->compat) {
		u32 to = EXIT_BASE;
		u16 cs = SEL_CODE64;

		p[0] = 0xea;
		memcpy(p + 1, &to, 4);
		memcpy(p + 5, &cs, 2);
	} else if (s->code || !s->form->branch) {
		u32 distance = EXIT_BASE - (s->rip + s->len + 5);

		p[0] = 0xe9;
		memcpy(p + 1, &distance, 4);
	}
	*state = s->in;
	state->vector = NO_EXCEPTION;
	move_high(state->xsave, true);
	running = true;
	native_enter();
	if (running)
		state->rip = s->rip + s->len;
	running = false;
	memset(at, 0xcc, s->len + 7u);
	*out = *state;
	move_high(out->xsave, false);
}
