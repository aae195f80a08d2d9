/*
 * Integer instructions of the soft engine against the host's CPU: random instructions with random registers,
 * flags and memory are run by both, and everything they can change is compared. SOFT_INT_ROUNDS sets how
 * many, SOFT_INT_SEED where to begin.
 */
#undef _GNU_SOURCE /* <ucontext.h> would take our names of registers */
#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <ucontext.h>
#define MAP_FIXED_NOREPLACE 0x100000

#include "soft_guest.h"

#include <Zydis/Zydis.h>
#include <cpuid.h>

/* The data both sees at the same linear address. */
#define DATA      0x40000000ULL
#define DATA_SIZE 0x2000
#define DATA_GPA  0xa00000

static u64 seed = 1;
static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dULL;
}
/* Values that matter more often than they would by chance. */
static u64 value(void)
{
	static const u64 special[] = {0,
	                              1,
	                              2,
	                              0x7f,
	                              0x80,
	                              0xff,
	                              0x7fff,
	                              0x8000,
	                              0xffff,
	                              0x7fffffff,
	                              0x80000000,
	                              0xffffffff,
	                              0x7fffffffffffffff,
	                              0x8000000000000000,
	                              ~0ULL,
	                              ~1ULL};

	switch (rnd() % 4) {
	case 0:
		return special[rnd() % ARRAY_SIZE(special)];
	case 1:
		return rnd() & 0xff;
	default:
		return rnd();
	}
}

/* ---- the host's side ---- */

struct host_regs {
	u64 r[16], flags;
};
static struct host_regs host;
static u8 *host_code;
static volatile int host_fault;

/* Loads host, jumps to host_code; the code there ends by jumping to native_back. */
__asm__(
	"\t.text\n"
	"native_run:\n"
	"\tpush %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"\tmov %rsp, native_rsp(%rip)\n"
	"\tpush 128+host(%rip)\n"
	"\tpopf\n"
	"\tmov host+8(%rip), %rcx\n"
	"\tmov host+16(%rip), %rdx\n"
	"\tmov host+24(%rip), %rbx\n"
	"\tmov host+40(%rip), %rbp\n"
	"\tmov host+48(%rip), %rsi\n"
	"\tmov host+56(%rip), %rdi\n"
	"\tmov host+64(%rip), %r8\n"
	"\tmov host+72(%rip), %r9\n"
	"\tmov host+80(%rip), %r10\n"
	"\tmov host+88(%rip), %r11\n"
	"\tmov host+96(%rip), %r12\n"
	"\tmov host+104(%rip), %r13\n"
	"\tmov host+112(%rip), %r14\n"
	"\tmov host+120(%rip), %r15\n"
	"\tmov host(%rip), %rax\n"
	"\tmov host+32(%rip), %rsp\n"
	"\tjmp *host_code(%rip)\n"
	"native_back:\n"
	"\tmov %rsp, host+32(%rip)\n"
	"\tmov native_rsp(%rip), %rsp\n"
	"\tmov %rax, host(%rip)\n"
	"\tmov %rcx, host+8(%rip)\n"
	"\tmov %rdx, host+16(%rip)\n"
	"\tmov %rbx, host+24(%rip)\n"
	"\tmov %rbp, host+40(%rip)\n"
	"\tmov %rsi, host+48(%rip)\n"
	"\tmov %rdi, host+56(%rip)\n"
	"\tmov %r8, host+64(%rip)\n"
	"\tmov %r9, host+72(%rip)\n"
	"\tmov %r10, host+80(%rip)\n"
	"\tmov %r11, host+88(%rip)\n"
	"\tmov %r12, host+96(%rip)\n"
	"\tmov %r13, host+104(%rip)\n"
	"\tmov %r14, host+112(%rip)\n"
	"\tmov %r15, host+120(%rip)\n"
	"\tpushf\n"
	"\tpop host+128(%rip)\n"
	"\tcld\n"
	"\tpop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"\tret\n"
	"\t.local native_rsp\n"
	"\t.comm native_rsp, 8, 8\n");
void native_run(void);
extern const char native_back[];

static void on_fault(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	host_fault = sig;
	u->uc_mcontext.gregs[16 /* rip */] = (greg_t)native_back;
}

static void host_setup(void)
{
	static u8 stack[65536];
	stack_t alt = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigaltstack(&alt, NULL);
	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	host_code =
	        mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *p = mmap((void *)DATA, DATA_SIZE, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(p, (void *)DATA);
}

/* ---- instructions ---- */

static bool wanted(const ZydisDecodedInstruction *z)
{
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_OR:
	case ZYDIS_MNEMONIC_ADC:
	case ZYDIS_MNEMONIC_SBB:
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_CMP:
	case ZYDIS_MNEMONIC_TEST:
	case ZYDIS_MNEMONIC_INC:
	case ZYDIS_MNEMONIC_DEC:
	case ZYDIS_MNEMONIC_NEG:
	case ZYDIS_MNEMONIC_NOT:
	case ZYDIS_MNEMONIC_MUL:
	case ZYDIS_MNEMONIC_IMUL:
	case ZYDIS_MNEMONIC_DIV:
	case ZYDIS_MNEMONIC_IDIV:
	case ZYDIS_MNEMONIC_MULX:
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
	case ZYDIS_MNEMONIC_LEA:
	case ZYDIS_MNEMONIC_XCHG:
	case ZYDIS_MNEMONIC_BSWAP:
	case ZYDIS_MNEMONIC_MOVBE:
	case ZYDIS_MNEMONIC_MOVNTI:
	case ZYDIS_MNEMONIC_CBW:
	case ZYDIS_MNEMONIC_CWDE:
	case ZYDIS_MNEMONIC_CDQE:
	case ZYDIS_MNEMONIC_CWD:
	case ZYDIS_MNEMONIC_CDQ:
	case ZYDIS_MNEMONIC_CQO:
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD:
	case ZYDIS_MNEMONIC_SHLX:
	case ZYDIS_MNEMONIC_SHRX:
	case ZYDIS_MNEMONIC_SARX:
	case ZYDIS_MNEMONIC_RORX:
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BSF:
	case ZYDIS_MNEMONIC_BSR:
	case ZYDIS_MNEMONIC_TZCNT:
	case ZYDIS_MNEMONIC_LZCNT:
	case ZYDIS_MNEMONIC_POPCNT:
	case ZYDIS_MNEMONIC_BLSI:
	case ZYDIS_MNEMONIC_BLSMSK:
	case ZYDIS_MNEMONIC_BLSR:
	case ZYDIS_MNEMONIC_ANDN:
	case ZYDIS_MNEMONIC_BEXTR:
	case ZYDIS_MNEMONIC_BZHI:
	case ZYDIS_MNEMONIC_PDEP:
	case ZYDIS_MNEMONIC_PEXT:
	case ZYDIS_MNEMONIC_ADCX:
	case ZYDIS_MNEMONIC_ADOX:
	case ZYDIS_MNEMONIC_CRC32:
	case ZYDIS_MNEMONIC_CMPXCHG:
	case ZYDIS_MNEMONIC_CMPXCHG8B:
	case ZYDIS_MNEMONIC_CMPXCHG16B:
	case ZYDIS_MNEMONIC_XADD:
	case ZYDIS_MNEMONIC_CLC:
	case ZYDIS_MNEMONIC_STC:
	case ZYDIS_MNEMONIC_CMC:
	case ZYDIS_MNEMONIC_CLD:
	case ZYDIS_MNEMONIC_STD:
	case ZYDIS_MNEMONIC_LAHF:
	case ZYDIS_MNEMONIC_SAHF:
	case ZYDIS_MNEMONIC_PUSH:
	case ZYDIS_MNEMONIC_POP:
	case ZYDIS_MNEMONIC_PUSHFQ:
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_ENTER:
	case ZYDIS_MNEMONIC_LEAVE:
	case ZYDIS_MNEMONIC_XLAT:
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_MOVSQ:
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_STOSD:
	case ZYDIS_MNEMONIC_STOSQ:
	case ZYDIS_MNEMONIC_LODSB:
	case ZYDIS_MNEMONIC_LODSW:
	case ZYDIS_MNEMONIC_LODSD:
	case ZYDIS_MNEMONIC_LODSQ:
	case ZYDIS_MNEMONIC_SCASB:
	case ZYDIS_MNEMONIC_SCASW:
	case ZYDIS_MNEMONIC_SCASD:
	case ZYDIS_MNEMONIC_SCASQ:
	case ZYDIS_MNEMONIC_CMPSB:
	case ZYDIS_MNEMONIC_CMPSW:
	case ZYDIS_MNEMONIC_CMPSQ:
		return true;
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_CMPSD:
		return z->meta.isa_set == ZYDIS_ISA_SET_I86 || z->meta.isa_set == ZYDIS_ISA_SET_I386;
	default:
		return z->meta.category == ZYDIS_CATEGORY_CMOV || z->meta.category == ZYDIS_CATEGORY_SETCC;
	}
}

/* Random bytes that decode to something wanted; its length. */
static unsigned generate(const ZydisDecoder *d, u8 *buf, ZydisDecodedInstruction *z, ZydisDecodedOperand *ops)
{
	for (;;) {
		unsigned n = 0;

		if (rnd() % 8 == 0)
			buf[n++] = 0xf0;
		if (rnd() % 4 == 0)
			buf[n++] = 0x66;
		if (rnd() % 16 == 0)
			buf[n++] = 0x67;
		if (rnd() % 6 == 0)
			buf[n++] = rnd() % 2 ? 0xf3 : 0xf2;
		if (rnd() % 8 == 0) {
			buf[n++] = 0xc4; /* VEX, maps 2 and 3 */
			buf[n++] = (u8)((rnd() & 0xe0) | (2 + rnd() % 2));
			buf[n++] = (u8)(rnd() & ~4u);
		} else {
			if (rnd() % 2)
				buf[n++] = (u8)(0x40 | rnd() % 16);
			if (rnd() % 3 == 0) {
				buf[n++] = 0x0f;
				if (rnd() % 8 == 0)
					buf[n++] = 0x38;
			}
		}
		while (n < 15)
			buf[n++] = (u8)rnd();
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(d, buf, 15, z, ops)) || !wanted(z))
			continue;
		bool ok = true;
		for (unsigned k = 0; k < z->operand_count; k++) {
			const ZydisDecodedOperand *o = &ops[k];

			if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
				/* rip-relative, segments, absolute addresses: tested elsewhere */
				ok &= o->mem.base != ZYDIS_REGISTER_RIP && o->mem.base != ZYDIS_REGISTER_EIP;
				ok &= o->mem.segment != ZYDIS_REGISTER_FS &&
				      o->mem.segment != ZYDIS_REGISTER_GS;
				ok &= o->mem.base != ZYDIS_REGISTER_NONE;
				/* Zydis 4.0 names a base where there is none. */
				ok &= !(z->raw.sib.offset && z->raw.modrm.mod == 0 && z->raw.sib.base == 5);
			}
			if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
			    ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_SEGMENT &&
			    k < z->operand_count_visible)
				ok = false;
			if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
			    (ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_CONTROL ||
			     ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_DEBUG))
				ok = false;
		}
		if (z->mnemonic == ZYDIS_MNEMONIC_ENTER &&
		    (z->raw.imm[0].value.u > 256 || z->raw.imm[1].value.u > 3))
			ok = false;
		if (ok)
			return z->length;
	}
}

/* Registers such that memory operands lie in the data. */
static void prepare(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops, u64 *r)
{
	bool string = false;

	for (unsigned i = 0; i < 16; i++)
		r[i] = value();
	r[4] = DATA + 0x1800 + rnd() % 16;
	r[5] = rnd() % 2 ? value() : DATA + 0x800;
	if (z->mnemonic == ZYDIS_MNEMONIC_LEAVE || z->mnemonic == ZYDIS_MNEMONIC_ENTER)
		r[5] = DATA + 0x1000;
	for (unsigned k = 0; k < z->operand_count; k++) {
		const ZydisDecodedOperand *o = &ops[k];

		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
			continue;
		unsigned base = (unsigned)ZydisRegisterGetId(o->mem.base);
		u64 at = DATA + 0x1000 + rnd() % 64;

		if (rnd() % 8 == 0) /* about the page's end */
			at = DATA + 0xff0 + rnd() % 32;
		string |= o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && (base == 6 || base == 7);
		if (o->mem.index != ZYDIS_REGISTER_NONE) {
			unsigned index = (unsigned)ZydisRegisterGetId(o->mem.index);

			r[index] = rnd() % 16;
			if (index == base || z->mnemonic == ZYDIS_MNEMONIC_XLAT)
				continue;
			at -= r[index] * o->mem.scale;
		}
		if (base == 4)
			continue;
		r[base] = at - (u64)(s64)o->mem.disp.value;
		if (z->address_width == 32)
			r[base] = (u32)r[base];
	}
	if (string)
		r[1] = rnd() % 40;
	if (z->mnemonic == ZYDIS_MNEMONIC_XLAT) {
		r[3] = DATA + 0x1000;
		if (z->address_width != 64)
			r[3] = (u32)r[3];
	}
	/* Bit numbers reach beyond the operand. */
	if (z->mnemonic == ZYDIS_MNEMONIC_BT || z->mnemonic == ZYDIS_MNEMONIC_BTS ||
	    z->mnemonic == ZYDIS_MNEMONIC_BTR || z->mnemonic == ZYDIS_MNEMONIC_BTC)
		if (ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY && ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
			unsigned bit = (unsigned)ZydisRegisterGetId(ops[1].reg.value);

			if (ops[0].mem.base != ZydisRegisterEncode(ZYDIS_REGCLASS_GPR64, (u8)bit) &&
			    ops[0].mem.base != ZydisRegisterEncode(ZYDIS_REGCLASS_GPR32, (u8)bit) && bit != 4)
				r[bit] = (u64)(s64)((s32)(rnd() % 4096) - 2048);
		}
	/* A divisor that does not always overflow. */
	if ((z->mnemonic == ZYDIS_MNEMONIC_DIV || z->mnemonic == ZYDIS_MNEMONIC_IDIV) && rnd() % 4)
		r[2] = z->mnemonic == ZYDIS_MNEMONIC_DIV || rnd() % 2 ? 0 : ~0ULL;
}

/* Do the memory operands lie in the data? Else the two may fault differently: there is more at low addresses
 * in the guest. */
static bool inside(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops, const u64 *r)
{
	for (unsigned k = 0; k < z->operand_count; k++) {
		const ZydisDecodedOperandMem *m = &ops[k].mem;
		u64 at;

		if (ops[k].type != ZYDIS_OPERAND_TYPE_MEMORY || m->type == ZYDIS_MEMOP_TYPE_AGEN)
			continue;
		at = r[ZydisRegisterGetId(m->base)] + (u64)m->disp.value;
		if (m->index != ZYDIS_REGISTER_NONE && z->mnemonic != ZYDIS_MNEMONIC_XLAT)
			at += r[ZydisRegisterGetId(m->index)] * m->scale;
		if (z->address_width == 32)
			at = (u32)at;
		if (k == 0 && z->meta.isa_set != ZYDIS_ISA_SET_I86 &&
		    ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (z->mnemonic == ZYDIS_MNEMONIC_BT || z->mnemonic == ZYDIS_MNEMONIC_BTS ||
		     z->mnemonic == ZYDIS_MNEMONIC_BTR || z->mnemonic == ZYDIS_MNEMONIC_BTC)) {
			u64 bit = r[ZydisRegisterGetId(ops[1].reg.value)];

			at += (u64)((ops[1].size == 16   ? (s16)bit
			             : ops[1].size == 32 ? (s32)bit
			                                 : (s64)bit) >>
			            3);
		}
		if (at < DATA + 0x400 || at > DATA + DATA_SIZE - 0x400)
			return false;
	}
	return true;
}

/* Rotates by more than 1 leave OF undefined: by AMD's CPUs it is as after a rotate by 1, by Intel's not always. */
static u64 undefined_flags(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops, const u64 *r)
{
	const ZydisDecodedOperand *by = &ops[z->operand_count_visible - 1];
	static int intel = -1;
	unsigned a, b, c, d;
	u64 count;

	if (intel < 0) {
		__cpuid(0, a, b, c, d);
		intel = b == signature_INTEL_ebx;
	}
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
		count = z->operand_count_visible < 2                 ? 1
		        : by->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? by->imm.value.u
		                                                   : r[REG_RCX];
		return intel && (count & (ops[0].size == 64 ? 63 : 31)) > 1 ? FLAG_OF : 0;
	default:
		return 0;
	}
}

static void describe(const u8 *code, unsigned len, const u64 *before)
{
	ZydisDisassembledInstruction text;

	ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, CODE, code, len, &text);
	print_error("%s:", text.text);
	for (unsigned i = 0; i < len; i++)
		print_error(" %02x", code[i]);
	print_error("\n");
	for (unsigned i = 0; i < 16; i++)
		print_error("  r%u %016llx", i, (unsigned long long)before[i]);
	print_error("\n");
}

static void test_against_host(void **state)
{
	static const u8 stop[] = {0xa3, 0x00, 0x00, 0xd0, 0xfe, 0, 0, 0, 0}; /* movabs %eax, STOP_GPA */
	static u8 initial[DATA_SIZE];
	const char *rounds_text = getenv("SOFT_INT_ROUNDS"), *seed_text = getenv("SOFT_INT_SEED");
	unsigned rounds = rounds_text ? (unsigned)atoi(rounds_text) : 20000, bad = 0;
	ZydisDecoder d;
	struct vcpu_state s, start;

	if (seed_text)
		seed = strtoull(seed_text, NULL, 0);
	host_setup();
	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	flat(*state, &start, true);
	put64(PDPT + 8, 0x8000 | 7);
	put64(0x8000, 0x9000 | 7);
	for (u64 i = 0; i < DATA_SIZE / PAGE_SIZE; i++)
		put64(0x9000 + i * 8, (DATA_GPA + i * PAGE_SIZE) | 7);
	for (unsigned v = 0; v < 32; v++) {
		gate64(v, 0x11000 + v * 16);
		memcpy(ram + 0x11000 + v * 16, stop, sizeof(stop));
	}
	/* Faults get a stack of their own. */
	put64(TSS + 36, STACK);
	for (unsigned v = 0; v < 32; v++)
		ram[IDT + v * 16 + 4] = 1;

	for (unsigned n = 0; n < rounds && bad < 20; n++) {
		ZydisDecodedInstruction z;
		ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
		u8 code[15];
		unsigned len = generate(&d, code, &z, ops);
		u64 r[16], flags = (rnd() & (FLAG_ARITH | (rnd() % 4 ? 0 : FLAG_DF))) | FLAG_ONE | FLAG_IF;

		prepare(&z, ops, r);
		if (!inside(&z, ops, r))
			continue;
		for (unsigned i = 0; i < DATA_SIZE; i += 8) {
			u64 v = value();
			memcpy(initial + i, &v, 8);
		}

		memcpy((void *)DATA, initial, DATA_SIZE);
		memcpy(host_code, code, len);
		u8 *tail = host_code + len;
		*tail++ = 0xff, *tail++ = 0x25, memset(tail, 0, 4), tail += 4; /* jmp *0(%rip) */
		u64 back = (u64)native_back;
		memcpy(tail, &back, 8);
		memcpy(host.r, r, sizeof(r));
		host.flags = flags;
		host_fault = 0;
		native_run();

		memcpy(ram + DATA_GPA, initial, DATA_SIZE);
		memcpy(ram + CODE, code, len);
		memcpy(ram + CODE + len, stop, sizeof(stop));
		s = start;
		memcpy(s.regs, r, sizeof(r));
		s.rflags = flags;
		run(*state, &s);

		bool fault = s.rip != CODE + len + sizeof(stop), same = true;
		if (host_fault || fault) {
			if (!!host_fault != fault) {
				describe(code, len, r);
				print_error("  fault: host signal %d, guest rip %llx cr2 %llx\n", host_fault,
				            (unsigned long long)s.rip, (unsigned long long)s.cr2);
				bad++;
			}
			continue;
		}
		u64 flags_compared = (FLAG_ARITH | FLAG_DF) & ~undefined_flags(&z, ops, r),
		    host_flags = host.flags & flags_compared, guest_flags = s.rflags & flags_compared;
		same = !memcmp(host.r, s.regs, sizeof(host.r)) && host_flags == guest_flags &&
		       !memcmp((void *)DATA, ram + DATA_GPA, DATA_SIZE);
		if (!same) {
			describe(code, len, r);
			for (unsigned i = 0; i < 16; i++)
				if (host.r[i] != s.regs[i])
					print_error("  r%u: host %016llx guest %016llx\n", i,
					            (unsigned long long)host.r[i],
					            (unsigned long long)s.regs[i]);
			print_error("  flags: before %llx host %llx guest %llx\n", (unsigned long long)flags,
			            (unsigned long long)host_flags, (unsigned long long)guest_flags);
			for (unsigned i = 0; i < DATA_SIZE; i++)
				if (((u8 *)DATA)[i] != ram[DATA_GPA + i]) {
					print_error("  data %x: host %02x guest %02x\n", i, ((u8 *)DATA)[i],
					            ram[DATA_GPA + i]);
					break;
				}
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_against_host, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
