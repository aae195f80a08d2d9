/* The kernel's BPF compiler: random programs are loaded, run by BPF_PROG_TEST_RUN, and what they leave in
 * registers is compared with what the same instructions give here in C; tail calls are switched while another
 * thread runs them; classic filters are attached to sockets and to system calls. The first wrong value ends
 * this with status 1. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REGS = 10, SLOT = -24, OPS = 60, PROGRAMS = 200, RUNS = 40, SWITCHES = 400 };

static void need(bool good, const char *format, ...)
{
	va_list args;

	if (good)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

static uint64_t seed = 88172645463325252ull;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* ---- the system call ---- */

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int map_new(unsigned type, unsigned value_size)
{
	union bpf_attr attr = {.map_type = type, .key_size = 4, .value_size = value_size, .max_entries = 1};
	int fd = (int)bpf(BPF_MAP_CREATE, &attr);

	need(fd >= 0, "BPF_MAP_CREATE: %s", strerror(errno));
	return fd;
}

static void map_set(int map, const void *value)
{
	uint32_t key = 0;
	union bpf_attr attr = {.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)value};

	need(!bpf(BPF_MAP_UPDATE_ELEM, &attr), "BPF_MAP_UPDATE_ELEM: %s", strerror(errno));
}

static void map_get(int map, void *value)
{
	uint32_t key = 0;
	union bpf_attr attr = {.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)value};

	need(!bpf(BPF_MAP_LOOKUP_ELEM, &attr), "BPF_MAP_LOOKUP_ELEM: %s", strerror(errno));
}

static void map_clear(int map)
{
	uint32_t key = 0;
	union bpf_attr attr = {.map_fd = (uint32_t)map, .key = (uintptr_t)&key};

	need(!bpf(BPF_MAP_DELETE_ELEM, &attr), "BPF_MAP_DELETE_ELEM: %s", strerror(errno));
}

static int load(const struct bpf_insn *insns, unsigned count)
{
	static char log[1 << 20];
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
	                       .insns = (uintptr_t)insns,
	                       .insn_cnt = count,
	                       .license = (uintptr_t) "GPL"};
	int fd = (int)bpf(BPF_PROG_LOAD, &attr);

	if (fd < 0) {
		attr.log_buf = (uintptr_t)log;
		attr.log_size = sizeof log;
		attr.log_level = 1;
		fd = (int)bpf(BPF_PROG_LOAD, &attr);
		need(fd >= 0, "%s\nBPF_PROG_LOAD: %s", log, strerror(errno));
	}
	return fd;
}

static bool compiled(int program)
{
	struct bpf_prog_info info = {0};
	union bpf_attr attr = {
	        .info = {.bpf_fd = (uint32_t)program, .info_len = sizeof info, .info = (uintptr_t)&info}};

	need(!bpf(BPF_OBJ_GET_INFO_BY_FD, &attr), "BPF_OBJ_GET_INFO_BY_FD: %s", strerror(errno));
	return info.jited_prog_len > 0;
}

static uint32_t run(int program)
{
	static const uint8_t packet[64];
	union bpf_attr attr = {.test = {.prog_fd = (uint32_t)program,
	                                .data_in = (uintptr_t)packet,
	                                .data_size_in = sizeof packet}};

	need(!bpf(BPF_PROG_TEST_RUN, &attr), "BPF_PROG_TEST_RUN: %s", strerror(errno));
	return attr.test.retval;
}

/* ---- writing programs ---- */

static struct bpf_insn text[512];
static unsigned length;

static void put(unsigned code, unsigned dst, unsigned src, int off, int32_t imm)
{
	text[length++] = (struct bpf_insn){.code = (uint8_t)code,
	                                   .dst_reg = dst & 15,
	                                   .src_reg = src & 15,
	                                   .off = (int16_t)off,
	                                   .imm = imm};
}

static void put_map(unsigned dst, int map)
{
	put(BPF_LD | BPF_IMM | BPF_DW, dst, BPF_PSEUDO_MAP_FD, 0, map);
	put(0, 0, 0, 0, 0);
}

/* The map's value in r0, or the end of the program; the map holds the registers' values before and after. */
static void put_lookup(int map)
{
	put(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0);
	put(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
	put(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4);
	put_map(1, map);
	put(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
	put(BPF_JMP | BPF_JNE | BPF_K, 0, 0, 1, 0);
	put(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void put_random(bool last)
{
	static const uint8_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,  BPF_AND,  BPF_LSH,
	                              BPF_RSH, BPF_NEG, BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH, BPF_END};
	static const uint8_t jumps[] = {BPF_JEQ,  BPF_JGT, BPF_JGE, BPF_JSET, BPF_JNE, BPF_JSGT,
	                                BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE};
	static const int32_t atomics[] = {BPF_ADD,  BPF_ADD | BPF_FETCH, BPF_XOR | BPF_FETCH, BPF_AND,
	                                  BPF_XCHG, BPF_CMPXCHG};
	unsigned dst = next() % REGS, src = next() % REGS, op = ops[next() % sizeof ops];
	bool wide = next() & 1, reg = next() & 1;
	int32_t imm = next() & 1 ? (int32_t)next() : (int32_t)(next() % 64) - 32;

	switch (next() % 8) {
	case 0: /* over the next one */
		if (!last) {
			put((wide ? BPF_JMP : BPF_JMP32) | jumps[next() % sizeof jumps] |
			            (reg ? BPF_X : BPF_K),
			    dst, reg ? src : 0, 1, reg ? 0 : imm);
			return;
		}
		break;
	case 1:
		put(BPF_STX | BPF_ATOMIC | (wide ? BPF_DW : BPF_W), 10, src, SLOT,
		    atomics[next() % (sizeof atomics / sizeof *atomics)]);
		return;
	case 2:
		put(BPF_LDX | BPF_MEM | (wide ? BPF_DW : BPF_B), dst, 10,
		    wide ? SLOT : SLOT + (int)(next() % 8), 0);
		return;
	}
	if (op == BPF_END) {
		put(BPF_ALU | BPF_END | (reg ? BPF_TO_BE : BPF_TO_LE), dst, 0, 0, 16 << next() % 3);
		return;
	}
	if (op == BPF_NEG)
		reg = false, imm = 0;
	if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH)
		imm &= wide ? 63 : 31;
	if ((op == BPF_DIV || op == BPF_MOD) && !imm)
		imm = 1;
	put((wide ? BPF_ALU64 : BPF_ALU) | op | (reg ? BPF_X : BPF_K), dst, reg ? src : 0, 0, reg ? 0 : imm);
}

/* All registers from the map, random instructions, all registers back to the map. The slot is at SLOT. */
static void put_program(int map, unsigned *from, unsigned *to)
{
	length = 0;
	put_lookup(map);
	put(BPF_STX | BPF_MEM | BPF_DW, 10, 0, -16, 0);
	put(BPF_ALU64 | BPF_MOV | BPF_X, 9, 0, 0, 0);
	put(BPF_LDX | BPF_MEM | BPF_DW, 0, 9, REGS * 8, 0);
	put(BPF_STX | BPF_MEM | BPF_DW, 10, 0, SLOT, 0);
	for (unsigned r = 0; r < REGS; r++)
		put(BPF_LDX | BPF_MEM | BPF_DW, r, 9, (int)r * 8, 0);
	*from = length;
	for (unsigned i = 0; i < OPS; i++)
		put_random(i == OPS - 1);
	*to = length;
	put(BPF_STX | BPF_MEM | BPF_DW, 10, 9, -32, 0);
	put(BPF_LDX | BPF_MEM | BPF_DW, 9, 10, -16, 0);
	for (unsigned r = 0; r < REGS - 1; r++)
		put(BPF_STX | BPF_MEM | BPF_DW, 9, r, (int)r * 8, 0);
	put(BPF_LDX | BPF_MEM | BPF_DW, 8, 10, -32, 0);
	put(BPF_STX | BPF_MEM | BPF_DW, 9, 8, (REGS - 1) * 8, 0);
	put(BPF_LDX | BPF_MEM | BPF_DW, 8, 10, SLOT, 0);
	put(BPF_STX | BPF_MEM | BPF_DW, 9, 8, REGS * 8, 0);
	put(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* ---- the same in C: r[REGS] is the slot ---- */

static uint64_t alu(unsigned op, uint64_t a, uint64_t b, bool wide)
{
	if (!wide)
		a = (uint32_t)a, b = (uint32_t)b;
	switch (op) {
	case BPF_ADD:
		a += b;
		break;
	case BPF_SUB:
		a -= b;
		break;
	case BPF_MUL:
		a *= b;
		break;
	case BPF_DIV:
		a = b ? a / b : 0;
		break;
	case BPF_MOD:
		a = b ? a % b : a;
		break;
	case BPF_OR:
		a |= b;
		break;
	case BPF_AND:
		a &= b;
		break;
	case BPF_XOR:
		a ^= b;
		break;
	case BPF_MOV:
		a = b;
		break;
	case BPF_NEG:
		a = -a;
		break;
	case BPF_LSH:
		a <<= b & (wide ? 63 : 31);
		break;
	case BPF_RSH:
		a >>= b & (wide ? 63 : 31);
		break;
	case BPF_ARSH:
		a = wide ? (uint64_t)((int64_t)a >> (b & 63)) : (uint32_t)((int32_t)a >> (b & 31));
		break;
	}
	return wide ? a : (uint32_t)a;
}

static bool holds(unsigned op, uint64_t a, uint64_t b, bool wide)
{
	int64_t x = wide ? (int64_t)a : (int32_t)a, y = wide ? (int64_t)b : (int32_t)b;

	if (!wide)
		a = (uint32_t)a, b = (uint32_t)b;
	switch (op) {
	case BPF_JEQ:
		return a == b;
	case BPF_JNE:
		return a != b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	case BPF_JLT:
		return a < b;
	case BPF_JLE:
		return a <= b;
	case BPF_JSET:
		return a & b;
	case BPF_JSGT:
		return x > y;
	case BPF_JSGE:
		return x >= y;
	case BPF_JSLT:
		return x < y;
	default:
		return x <= y;
	}
}

static uint64_t swapped(uint64_t a, int32_t bits, bool swap)
{
	switch (bits) {
	case 16:
		return swap ? __builtin_bswap16((uint16_t)a) : (uint16_t)a;
	case 32:
		return swap ? __builtin_bswap32((uint32_t)a) : (uint32_t)a;
	default:
		return swap ? __builtin_bswap64(a) : a;
	}
}

static void atomic_op(uint64_t *r, const struct bpf_insn *i, bool wide)
{
	uint64_t old = wide ? r[REGS] : (uint32_t)r[REGS], new = old,
	         s = wide ? r[i->src_reg] : (uint32_t)r[i->src_reg];

	switch (i->imm & ~BPF_FETCH) {
	case BPF_ADD:
		new = old + s;
		break;
	case BPF_AND:
		new = old &s;
		break;
	case BPF_XOR:
		new = old ^ s;
		break;
	case BPF_XCHG & ~BPF_FETCH:
		new = s;
		break;
	case BPF_CMPXCHG & ~BPF_FETCH:
		new = old == (wide ? r[0] : (uint32_t)r[0]) ? s : old;
		break;
	}
	r[REGS] = wide ? new : (r[REGS] & ~0xffffffffull) | (uint32_t) new;
	if (i->imm == BPF_CMPXCHG)
		r[0] = old;
	else if (i->imm & BPF_FETCH)
		r[i->src_reg] = old;
}

static void emulate(uint64_t *r, unsigned from, unsigned to)
{
	for (unsigned n = from; n < to; n++) {
		const struct bpf_insn *i = &text[n];
		unsigned class = BPF_CLASS(i->code), op = BPF_OP(i->code);
		uint64_t b = BPF_SRC(i->code) == BPF_X ? r[i->src_reg] : (uint64_t)(int64_t)i->imm;

		if (class == BPF_JMP || class == BPF_JMP32)
			n += holds(op, r[i->dst_reg], b, class == BPF_JMP);
		else if (class == BPF_STX)
			atomic_op(r, i, BPF_SIZE(i->code) == BPF_DW);
		else if (class == BPF_LDX)
			r[i->dst_reg] = BPF_SIZE(i->code) == BPF_DW
			                        ? r[REGS]
			                        : (uint8_t)(r[REGS] >> 8 * (i->off - SLOT));
		else if (op == BPF_END)
			r[i->dst_reg] = swapped(r[i->dst_reg], i->imm, BPF_SRC(i->code) == BPF_TO_BE);
		else
			r[i->dst_reg] = alu(op, r[i->dst_reg], b, class == BPF_ALU64);
	}
}

static void random_programs(void)
{
	int map = map_new(BPF_MAP_TYPE_ARRAY, (REGS + 1) * 8);
	unsigned from, to;

	for (unsigned n = 0; n < PROGRAMS; n++) {
		int program;

		put_program(map, &from, &to);
		program = load(text, length);
		need(compiled(program), "the program was not compiled: is net.core.bpf_jit_enable 1?");
		for (unsigned k = 0; k < RUNS; k++) {
			uint64_t before[REGS + 1], wanted[REGS + 1], got[REGS + 1];

			for (unsigned r = 0; r <= REGS; r++)
				before[r] = next() % 4 ? next() : next() % 5;
			memcpy(wanted, before, sizeof wanted);
			emulate(wanted, from, to);
			map_set(map, before);
			run(program);
			map_get(map, got);
			for (unsigned r = 0; r <= REGS; r++)
				need(got[r] == wanted[r], "program %u, run %u: r%u is %#lx, not %#lx", n, k,
				     r, (unsigned long)got[r], (unsigned long)wanted[r]);
		}
		close(program);
	}
	close(map);
}

/* ---- tail calls: the jump in the caller is patched ---- */

static int constant(int32_t value)
{
	length = 0;
	put(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, value);
	put(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return load(text, length);
}

static atomic_bool stop;
static int caller;

static void *runner(void *count)
{
	for (; !atomic_load(&stop); ++*(unsigned long *)count) {
		uint32_t got = run(caller);

		need(got == 0xdead || got / 1000 == 7, "a tail call gave %u", got);
	}
	return NULL;
}

static void tail_calls(void)
{
	int map = map_new(BPF_MAP_TYPE_PROG_ARRAY, 4), programs[5];
	unsigned long count = 0;
	pthread_t thread;

	for (int i = 0; i < 5; i++)
		programs[i] = constant(7000 + i);
	length = 0;
	put_map(2, map);
	put(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0);
	put(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call);
	put(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0xdead);
	put(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	caller = load(text, length);
	need(!pthread_create(&thread, NULL, runner, &count), "no thread");
	for (unsigned i = 0; i < SWITCHES; i++) {
		uint32_t got, wanted = i % 6 == 5 ? 0xdead : 7000 + i % 6;

		if (i % 6 == 5)
			map_clear(map);
		else
			map_set(map, &programs[i % 6]);
		for (unsigned k = 0; k < 100; k++) {
			got = run(caller);
			need(got == wanted, "switch %u: the tail call gave %u, not %u", i, got, wanted);
		}
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	need(count > 0, "the second thread did nothing");
}

/* ---- classic filters ---- */

static void socket_filters(void)
{
	int pair[2];

	need(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), "socketpair: %s", strerror(errno));
	for (unsigned k = 0; k < 200; k++) {
		/* Takes what begins with k, and of that four bytes. */
		struct sock_filter filter[] = {{BPF_LD | BPF_B | BPF_ABS, 0, 0, 0},
		                               {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, k},
		                               {BPF_RET | BPF_K, 0, 0, 4},
		                               {BPF_RET | BPF_K, 0, 0, 0}};
		struct sock_fprog program = {4, filter};
		unsigned seen = 0;
		uint8_t bytes[8];

		need(!setsockopt(pair[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program),
		     "SO_ATTACH_FILTER: %s", strerror(errno));
		for (unsigned i = 0; i < 256; i++) {
			memset(bytes, (int)i, sizeof bytes);
			send(pair[0], bytes, sizeof bytes, 0);
			for (ssize_t n; (n = recv(pair[1], bytes, sizeof bytes, 0)) >= 0; seen++)
				need(n == 4 && bytes[0] == k && i == k, "filter %u let %u pass, %zd bytes", k,
				     i, n);
		}
		need(seen == 1, "filter %u let %u packets pass", k, seen);
	}
}

static void call_filters(void)
{
	for (unsigned k = 1; k < 60; k++) {
		struct sock_filter filter[] = {
		        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
		        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_getppid},
		        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | k},
		        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
		struct sock_fprog program = {4, filter};
		int status;
		pid_t child = fork();

		need(child >= 0, "fork: %s", strerror(errno));
		if (!child) {
			if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
			    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
				_exit(2);
			for (unsigned i = 0; i < 100; i++)
				if (syscall(SYS_getppid) != -1 || errno != (int)k || syscall(SYS_getpid) <= 0)
					_exit(1);
			_exit(0);
		}
		need(waitpid(child, &status, 0) == child && !status, "filter %u: the child's status is %d", k,
		     status);
	}
}

int main(void)
{
	random_programs();
	puts("random-programs");
	tail_calls();
	puts("tail-calls");
	socket_filters();
	puts("socket-filters");
	call_filters();
	puts("call-filters");
	return 0;
}
