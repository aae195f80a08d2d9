/*
 * Where a host of Intel's differs from the model, which is AMD's in what the manuals leave to the CPU: SDM volume 1, 8.1.8
 * (x87 pointers), volume 2, 2.4 (#AC of vectors), volume 3, 6.9 (which of several exceptions comes first).
 */
#include "oracle.h"

#include "cpu/state.h"

#include <cpuid.h>
#include <string.h>

enum { FSW_PENDING = 0x80 };
#define REPEATED (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)

static bool is_intel(void)
{
	static int known = -1;
	unsigned a, b, c, d;

	if (known < 0) {
		__cpuid(0, a, b, c, d);
		known = b == signature_INTEL_ebx && c == signature_INTEL_ecx && d == signature_INTEL_edx;
	}
	return known;
}

static u16 fsw_of(const struct image *m)
{
	u16 fsw;

	memcpy(&fsw, m->xsave + 2, sizeof(fsw));
	return fsw;
}

/* Opcode and operand are noted by exceptions that are not masked alone, and what is noted stays when they are cleared. */
bool vendor_keeps_pointers(const struct image *native)
{
	return !is_intel() || fsw_of(native) & FSW_PENDING;
}

static bool has_register(const struct sample *s, ZydisRegisterClass from, ZydisRegisterClass to)
{
	for (unsigned i = 0; i < s->z.operand_count; i++) {
		ZydisRegisterClass class = ZydisRegisterGetClass(s->operands[i].reg.value);

		if (s->operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER && class >= from && class <= to)
			return true;
	}
	return false;
}

static bool is_vector(const struct sample *s)
{
	return has_register(s, ZYDIS_REGCLASS_XMM, ZYDIS_REGCLASS_ZMM) ||
	       has_register(s, ZYDIS_REGCLASS_MASK, ZYDIS_REGCLASS_MASK);
}

static bool stores_80_bits(const struct sample *s)
{
	return (s->z.mnemonic == ZYDIS_MNEMONIC_FSTP || s->z.mnemonic == ZYDIS_MNEMONIC_FBSTP) &&
	       s->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY && s->operands[0].size == 80;
}

/* Of a block the instruction that faulted, else what it is; NULL: none did. Good until the next one. */
static const struct sample *one_of(const struct sample *s, const struct image *native)
{
	static struct sample one;
	u64 at = native->rip - s->rip;

	if (!s->code)
		return s;
	if (native->vector == NO_EXCEPTION || at >= s->len)
		return NULL;
	one = *s;
	one.code = 0;
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(oracle_decoder(false), s->bytes + at, s->len - at, &one.z,
	                                           one.operands))
	               ? &one
	               : NULL;
}

/* Which fault comes first where there are several; ENTER reads before it looks at where it is to store. Of vectors that
 * may be misaligned only AMD's #AC hears, or, where a mask or a conversion makes less of memory than of the register,
 * only Intel's. A pending x87 exception is found before memory is looked at, and so are those of a conversion. What a
 * number of 80 bits has stored in front of a page that is not there stays. XSAVEOPT that saves nothing looks at nothing. */
bool vendor_leaves(const struct sample *s, const struct image *native, const struct image *soft)
{
	bool same = native->vector == soft->vector;

	if (!is_intel() || !(s = one_of(s, native)))
		return false;
	if (same)
		return native->vector == EXC_PF && stores_80_bits(s);
	if (s->z.meta.category == ZYDIS_CATEGORY_X87_ALU)
		return native->vector == NO_EXCEPTION && fsw_of(native) & FSW_PENDING;
	if (is_vector(s))
		return native->vector == EXC_AC || soft->vector == EXC_AC ||
		       (native->vector == EXC_XM && soft->vector == EXC_PF);
	if (s->z.mnemonic == ZYDIS_MNEMONIC_XSAVEOPT)
		return native->vector == NO_EXCEPTION && soft->vector == EXC_PF;
	return s->z.mnemonic == ZYDIS_MNEMONIC_ENTER && native->vector != NO_EXCEPTION &&
	       soft->vector != NO_EXCEPTION;
}

/* Is the vector state what a fault has left of it? */
static bool is_in_between(const struct sample *s, const struct image *native)
{
	if (s->z.mnemonic == ZYDIS_MNEMONIC_XRSTOR || s->z.mnemonic == ZYDIS_MNEMONIC_XRSTOR64)
		return native->vector == EXC_GP;
	/* x87's stack is the MMX registers already; the flags of a conversion are there. */
	return s->z.meta.category == ZYDIS_CATEGORY_AVX2GATHER || s->z.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH ||
	       (s->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
	        has_register(s, ZYDIS_REGCLASS_MMX, ZYDIS_REGCLASS_MMX));
}

static void even_out_string(const struct sample *s, const struct image *native, struct image *soft)
{
	static const u8 regs[] = {REG_RCX, REG_RSI, REG_RDI};

	/* By 32-bit addresses: the upper halves are cleared although nothing has been done. */
	for (unsigned i = 0; s->z.address_width == 32 && i < sizeof(regs); i++)
		if ((u32)native->gpr[regs[i]] == (u32)soft->gpr[regs[i]])
			soft->gpr[regs[i]] = native->gpr[regs[i]];
}

static bool is_near(u64 a, u64 b)
{
	return (a >> 12) - (b >> 12) + 1 <= 2;
}

void vendor_even_out(const struct sample *s, const struct image *native, struct image *soft)
{
	bool fault = native->vector != NO_EXCEPTION && native->vector == soft->vector, string;

	if (!is_intel() || !(s = one_of(s, native)))
		return;
	string = s->z.meta.category == ZYDIS_CATEGORY_STRINGOP;
	if (string && s->z.attributes & REPEATED && (fault || !(u32)s->in.gpr[REG_RCX]))
		even_out_string(s, native, soft);
	if (!fault)
		return;
	/* Which of two operands or pages, and which byte of a page, is told. */
	if (native->vector == EXC_PF && (string || (is_vector(s) && is_near(native->cr2, soft->cr2)))) {
		soft->cr2 = native->cr2;
		soft->error = native->error;
	}
	if (is_in_between(s, native))
		memcpy(soft->xsave, native->xsave, sizeof(soft->xsave));
}
