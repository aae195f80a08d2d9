/*
 * What must be equal: everything but flags and results that the SDM leaves undefined.
 */
#include "oracle.h"

#include "cpu/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FLAGS_COMPARED (FLAG_ARITH | FLAG_TF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID)

static void say(struct difference *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct difference *d, const char *fmt, ...)
{
	size_t n = strlen(d->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->text + n, sizeof(d->text) - n, fmt, ap);
	va_end(ap);
}

static void say_bytes(struct difference *d, const char *what, unsigned number, const u8 *a, const u8 *b,
                      unsigned len)
{
	if (!memcmp(a, b, len))
		return;
	say(d, "  %s%u: native ", what, number);
	for (unsigned i = len; i-- > 0;)
		say(d, "%02x", a[i]);
	say(d, " soft ");
	for (unsigned i = len; i-- > 0;)
		say(d, "%02x", b[i]);
	say(d, "\n");
}

static void say_number(struct difference *d, const char *what, u64 a, u64 b)
{
	if (a != b)
		say(d, "  %s: native %llx soft %llx\n", what, (unsigned long long)a, (unsigned long long)b);
}

/* Absent components hold their initial values. */
static void normalize(u8 *x)
{
	static const u8 fcw[] = {0x7f, 0x03};

	if (!(x[512] & 1)) {
		memset(x, 0, 24);
		memset(x + 32, 0, 128);
		memcpy(x, fcw, 2);
	}
	if (!(x[512] & 2))
		memset(x + 160, 0, 256);
	if (!(x[512] & 4))
		memset(x + 576, 0, 256);
	if (!(x[512] & 0x20))
		memset(x + 1088, 0, 64);
	if (!(x[512] & 0x40))
		memset(x + 1152, 0, 512);
	if (!(x[512] & 0x80))
		memset(x + 1664, 0, 1024);
}

/* Count of a shift or rotate as the hardware masks it. */
static unsigned shift_count(const struct sample *s)
{
	unsigned n = s->z.operand_count_visible, size = s->operands[0].size;
	const ZydisDecodedOperand *p = &s->operands[n - 1];
	u64 v = 1;

	if (n < 2)
		return 1;
	if (p->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		v = p->imm.value.u;
	else if (p->type == ZYDIS_OPERAND_TYPE_REGISTER)
		v = s->in.gpr[REG_RCX];
	return v & (size == 64 ? 63 : 31);
}

/* Flags whose value is undefined here. */
static u64 undefined_flags(const struct sample *s, const struct image *native)
{
	u64 undefined = s->z.cpu_flags ? s->z.cpu_flags->undefined : 0;

	/* Intel restores the flags when a repeated comparison faults, AMD does not. */
	if (native->vector != NO_EXCEPTION)
		return s->z.meta.category == ZYDIS_CATEGORY_STRINGOP ? FLAG_ARITH : 0;
	switch (s->z.mnemonic) {
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD: {
		unsigned count = shift_count(s);

		if (!count)
			return 0;
		undefined |= FLAG_AF;
		undefined &= ~(u64)FLAG_OF;
		if (count > 1)
			undefined |= FLAG_OF;
		if (count >= s->operands[0].size)
			undefined |= FLAG_CF;
		return undefined;
	}
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
		return shift_count(s) > 1 ? FLAG_OF : 0;
	default:
		return undefined;
	}
}

/* SHLD and SHRD by more than the operand's size: all of it is undefined. */
static bool is_undefined(const struct sample *s)
{
	return (s->z.mnemonic == ZYDIS_MNEMONIC_SHLD || s->z.mnemonic == ZYDIS_MNEMONIC_SHRD) &&
	       shift_count(s) > s->operands[0].size;
}

/* What a gather that faults has made of its destination behind the elements is up to the CPU. */
static void even_out_gather(const struct sample *s, const u8 *a, u8 *b)
{
	const ZydisDecodedOperand *m = &s->operands[2];
	unsigned elem, index;

	if (s->code || !s->form->evex || s->z.meta.category != ZYDIS_CATEGORY_GATHER)
		return;
	elem = m->element_size / 8;
	index = s->form->opcode & 1 ? 8 : 4;
	for (unsigned n = s->z.avx.vector_length / 8u / max(elem, index) * elem / 4; n < 16; n++) {
		unsigned reg = (unsigned)ZydisRegisterGetId(s->operands[0].reg.value) & 31;

		*vectors_lane(b, reg, n) = *vectors_lane((u8 *)(uintptr_t)a, reg, n);
	}
}

static void compare_vectors(const struct sample *s, const struct image *native, const struct image *soft,
                            struct difference *d)
{
	u8 a[AREA_SIZE] __attribute__((aligned(8))), b[AREA_SIZE] __attribute__((aligned(8)));

	memcpy(a, native->xsave, sizeof(a));
	memcpy(b, soft->xsave, sizeof(b));
	normalize(a);
	normalize(b);
	if (native->vector != NO_EXCEPTION)
		even_out_gather(s, a, b);
	say_number(d, "fcw", *(u16 *)a, *(u16 *)b);
	say_number(d, "fsw", *(u16 *)(a + 2), *(u16 *)(b + 2));
	say_number(d, "ftw", a[4], b[4]);
	/* AMD keeps the pointers only while an exception is pending, and only bits that addresses have. */
	if (*(u64 *)(a + 8) && vendor_keeps_pointers(native)) {
		say_number(d, "fop", *(u16 *)(a + 6) & 0x7ff, *(u16 *)(b + 6) & 0x7ff);
		say_number(d, "fip", *(u64 *)(a + 8) & MASK(48), *(u64 *)(b + 8) & MASK(48));
		say_number(d, "fdp", *(u64 *)(a + 16) & MASK(48), *(u64 *)(b + 16) & MASK(48));
	}
	say_number(d, "mxcsr", *(u32 *)(a + 24), *(u32 *)(b + 24));
	for (unsigned i = 0; i < 8; i++)
		say_bytes(d, "st", i, a + 32 + 16 * i, b + 32 + 16 * i, 10);
	for (unsigned i = 0; i < 16; i++)
		say_bytes(d, "xmm", i, a + 160 + 16 * i, b + 160 + 16 * i, 16);
	for (unsigned i = 0; i < 16; i++)
		say_bytes(d, "ymmh", i, a + 576 + 16 * i, b + 576 + 16 * i, 16);
	for (unsigned i = 0; i < 8; i++)
		say_bytes(d, "k", i, a + 1088 + 8 * i, b + 1088 + 8 * i, 8);
	for (unsigned i = 0; i < 16; i++)
		say_bytes(d, "zmmh", i, a + 1152 + 32 * i, b + 1152 + 32 * i, 32);
	for (unsigned i = 0; i < 16; i++)
		say_bytes(d, "zmm", 16 + i, a + 1664 + 64 * i, b + 1664 + 64 * i, 64);
}

/* In a saved area: pointers as above, and MXCSR_MASK is the CPU's own. */
static void even_out_xstate(const struct sample *s, const u8 *native, u8 *soft)
{
	u64 at = s->target - DATA_BASE;

	if (!sample_is_xstate(s) || s->target < DATA_BASE || at + 32 > DATA_SIZE)
		return;
	if (!native[at + 8] && !native[at + 9] && !native[at + 10])
		memcpy(soft + at + 6, native + at + 6, 18);
	memcpy(soft + at + 28, native + at + 28, 4);
}

static void compare_memory(const u8 *a, const u8 *b, struct difference *d)
{
	unsigned shown = 0;

	if (!memcmp(a, b, DATA_SIZE))
		return;
	for (unsigned i = 0; i < DATA_SIZE && shown < 24; i++)
		if (a[i] != b[i]) {
			say(d, "  memory %x: native %02x soft %02x\n", DATA_BASE + i, a[i], b[i]);
			shown++;
		}
}

static bool is_x87_environment(const struct sample *s)
{
	switch (s->z.mnemonic) {
	case ZYDIS_MNEMONIC_FNSTENV:
	case ZYDIS_MNEMONIC_FLDENV:
	case ZYDIS_MNEMONIC_FNSAVE:
	case ZYDIS_MNEMONIC_FRSTOR:
		return true;
	default:
		return false;
	}
}

static void compare_fault(const struct sample *s, const struct image *native, const struct image *soft,
                          struct difference *d)
{
	u64 error = ~0ULL;

	if (native->vector == NO_EXCEPTION)
		return;
	if (native->vector == EXC_PF) {
		/* There may be a page of the host's kernel, or of the guest's. */
		if (native->cr2 >> 63 || native->cr2 - STATE_BASE < 0x10000)
			error = ~1ULL;
		if (sample_is_kernel(s))
			error &= ~4ULL;
		say_number(d, "cr2", native->cr2, soft->cr2);
	}
	say_number(d, "error code", native->error & error, soft->error & error);
}

/*
 * Where AMD and Intel differ in what a fault leaves: registers of a POPA that did not get to its end; whether
 * a branch to a non-canonical address faults before it is taken; which of several stores faults first, and
 * whether ENTER checks the alignment of where it does not store. MXCSR has a bit 17 only with AMD.
 */
static bool is_vendors(const struct sample *s, const struct image *native, const struct image *soft)
{
	/* In which order the parts of an area are touched, and what is left of them by a fault. */
	if (is_x87_environment(s) || sample_is_xstate(s)) {
		u64 faults = BIT(EXC_SS) | BIT(EXC_GP) | BIT(EXC_PF) | BIT(EXC_AC);

		return native->vector < 64 && soft->vector < 64 && BIT(native->vector) & faults &&
		       BIT(soft->vector) & faults && native->rip == soft->rip &&
		       (native->vector != soft->vector || native->vector == EXC_PF);
	}
	switch (s->z.mnemonic) {
	case ZYDIS_MNEMONIC_POPA:
	case ZYDIS_MNEMONIC_POPAD:
		return native->vector == EXC_PF && soft->vector == EXC_PF;
	case ZYDIS_MNEMONIC_PUSHA:
	case ZYDIS_MNEMONIC_PUSHAD:
	case ZYDIS_MNEMONIC_ENTER:
		return native->vector == EXC_AC && soft->vector != EXC_AC;
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
		return soft->vector == EXC_GP && *(const u32 *)(native->xsave + 24) & 0x20000;
	default:
		return s->form->branch && soft->vector == EXC_GP && soft->rip == s->rip && soft->error == 0;
	}
}

bool compare(const struct sample *s, const struct image *native, const struct image *soft_raw,
             const u8 *native_data, u8 *soft_data, struct difference *d)
{
	static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
	struct image copy = *soft_raw;
	const struct image *soft = &copy;
	u64 flags = FLAGS_COMPARED;

	d->text[0] = 0;
	if (vendor_leaves(s, native, soft))
		return true;
	vendor_even_out(s, native, &copy);
	if (s->code) {
		/* Translated code does not keep flags that are dead, and a fault shows them. */
		flags &= native->vector == NO_EXCEPTION ? ~s->undefined : ~(u64)FLAG_ARITH;
	} else {
		if ((native->vector == NO_EXCEPTION && is_undefined(s)) || is_vendors(s, native, soft))
			return true;
		flags &= ~undefined_flags(s, native);
	}
	say_number(d, "exception", native->vector, soft->vector);
	compare_fault(s, native, soft, d);
	say_number(d, "rip", native->rip, soft->rip);
	say_number(d, "rflags", native->rflags & flags, soft->rflags & flags);
	for (unsigned i = 0; i < 16; i++)
		say_number(d, names[i], native->gpr[i], soft->gpr[i]);
	compare_vectors(s, native, soft, d);
	if (!s->code)
		even_out_xstate(s, native_data, soft_data);
	compare_memory(native_data, soft_data, d);
	return !d->text[0];
}
