/*
 * The forms: every encoding that the decoder knows, less what the CPU model does not offer, less a short
 * table of those whose result is not a function of what both sides can be given.
 */
#include "oracle.h"

#include "cpu/soft/features.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	u16 mnemonic;
	const char *why;
} excluded_mnemonics[] = {
        {ZYDIS_MNEMONIC_CPUID, "differs by design"},
        {ZYDIS_MNEMONIC_RDTSC, "time"},
        {ZYDIS_MNEMONIC_RDTSCP, "time"},
        {ZYDIS_MNEMONIC_RDPID, "the host's CPU number"},
        {ZYDIS_MNEMONIC_RDPMC, "time"},
        {ZYDIS_MNEMONIC_RDRAND, "random"},
        {ZYDIS_MNEMONIC_RDSEED, "random"},
        {ZYDIS_MNEMONIC_XGETBV, "the host's XCR0 has more"},
        {ZYDIS_MNEMONIC_INT, "enters the host's kernel"},
        {ZYDIS_MNEMONIC_INT1, "enters the host's kernel"},
        {ZYDIS_MNEMONIC_INT3, "how both sides end a case"},
        {ZYDIS_MNEMONIC_SYSCALL, "enters the host's kernel"},
        {ZYDIS_MNEMONIC_SYSENTER, "enters the host's kernel"},
        {ZYDIS_MNEMONIC_SYSRET, "privileged"},
        {ZYDIS_MNEMONIC_SYSEXIT, "privileged"},
        {ZYDIS_MNEMONIC_LAR, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_LSL, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_VERR, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_VERW, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_SGDT, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_SIDT, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_SLDT, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_STR, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_SMSW, "the host's CR0"},
        {ZYDIS_MNEMONIC_LDS, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_LES, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_LFS, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_LGS, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_LSS, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_WRFSBASE, "the host's thread pointer"},
        {ZYDIS_MNEMONIC_WRGSBASE, "stays for the next case"},
        {ZYDIS_MNEMONIC_RDFSBASE, "the host's thread pointer"},
        {ZYDIS_MNEMONIC_IRET, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_IRETD, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_IRETQ, "the host's descriptor tables"},
        {ZYDIS_MNEMONIC_UD0, "its length is a matter of vendors"},
};

/* By meta.category: {category, why}. */
static const struct {
	u8 category;
	const char *why;
} excluded_categories[] = {
        {ZYDIS_CATEGORY_IOSTRINGOP, "whether ports are checked with a count of 0"},
};

/* Of these the model has one instruction each, which enters the hypervisor. */
static const u16 excluded_sets[] = {ZYDIS_ISA_SET_VTX, ZYDIS_ISA_SET_SVM};

/*
 * Encodings on which AMD and Intel differ, and the model is Intel's: reserved hints with registers; 16-bit
 * operands of branches, ENTER and MOVSXD; the upper half of a pushed selector; VEX.W for 64-bit registers in
 * 32-bit modes.
 */
static bool is_vendors(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands)
{
	bool long64 = z->machine_mode == ZYDIS_MACHINE_MODE_LONG_64,
	     small = z->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE;

	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_NOP:
		return z->opcode == 0x0d;
	case ZYDIS_MNEMONIC_ENTER:
	case ZYDIS_MNEMONIC_MOVSXD:
		return small;
	case ZYDIS_MNEMONIC_PUSH:
		return !long64 && z->operand_width == 32 && operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		       ZydisRegisterGetClass(operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
	case ZYDIS_MNEMONIC_VPEXTRD:
	case ZYDIS_MNEMONIC_VPINSRD:
		return z->raw.vex.W;
	case ZYDIS_MNEMONIC_KMOVD:
		return !long64 && z->raw.vex.W;
	default:
		return long64 && small && z->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
	}
}

static bool is_excluded(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands)
{
	if (z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return true;
	if (is_vendors(z, operands))
		return true;
	for (unsigned i = 0; i < ARRAY_SIZE(excluded_sets); i++)
		if (z->meta.isa_set == excluded_sets[i])
			return true;
	for (unsigned i = 0; i < ARRAY_SIZE(excluded_mnemonics); i++)
		if (z->mnemonic == excluded_mnemonics[i].mnemonic)
			return true;
	for (unsigned i = 0; i < ARRAY_SIZE(excluded_categories); i++)
		if (z->meta.category == excluded_categories[i].category)
			return true;
	/* Loads of segment registers, from the host's descriptor tables. */
	for (unsigned i = 0; i < z->operand_count; i++)
		if (operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(operands[i].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
		    operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			return true;
	return false;
}

ZydisDecoder *oracle_decoder(bool compat)
{
	static ZydisDecoder decoders[2];
	static bool ready;
	static const ZydisDecoderMode off[] = {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
	                                       ZYDIS_DECODER_MODE_CLDEMOTE, ZYDIS_DECODER_MODE_KNC};

	if (!ready) {
		ZydisDecoderInit(&decoders[0], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
		ZydisDecoderInit(&decoders[1], ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
		for (unsigned i = 0; i < ARRAY_SIZE(off); i++) {
			ZydisDecoderEnableMode(&decoders[0], off[i], ZYAN_FALSE);
			ZydisDecoderEnableMode(&decoders[1], off[i], ZYAN_FALSE);
		}
		ready = true;
	}
	return &decoders[compat];
}

static bool has_encoding(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands,
                         ZydisOperandEncoding e)
{
	for (unsigned i = 0; i < z->operand_count; i++)
		if (operands[i].encoding == e)
			return true;
	return false;
}

static void operand_name(const ZydisDecodedOperand *p, char *out, size_t room)
{
	switch (p->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		if (p->encoding == ZYDIS_OPERAND_ENCODING_NONE) {
			snprintf(out, room, "%s", ZydisRegisterGetString(p->reg.value));
			return;
		}
		switch (ZydisRegisterGetClass(p->reg.value)) {
		case ZYDIS_REGCLASS_X87:
			snprintf(out, room, "st");
			return;
		case ZYDIS_REGCLASS_MMX:
			snprintf(out, room, "mm");
			return;
		case ZYDIS_REGCLASS_XMM:
			snprintf(out, room, "xmm");
			return;
		case ZYDIS_REGCLASS_YMM:
			snprintf(out, room, "ymm");
			return;
		case ZYDIS_REGCLASS_ZMM:
			snprintf(out, room, "zmm");
			return;
		case ZYDIS_REGCLASS_MASK:
			snprintf(out, room, "k");
			return;
		case ZYDIS_REGCLASS_SEGMENT:
			snprintf(out, room, "sreg");
			return;
		default:
			snprintf(out, room, "r%u", p->size);
			return;
		}
	case ZYDIS_OPERAND_TYPE_MEMORY:
		snprintf(out, room, "%s%u", p->mem.type == ZYDIS_MEMOP_TYPE_VSIB ? "vm" : "m", p->size);
		return;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		snprintf(out, room, p->imm.is_relative ? "rel%u" : "i%u", p->size);
		return;
	default:
		snprintf(out, room, "ptr");
	}
}

void form_name(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands, bool compat,
               char name[112])
{
	bool vex = z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX,
	     evex = z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX, w = vex ? z->raw.vex.W : z->raw.evex.W;
	unsigned n = 0, map = z->opcode_map, opcode = z->opcode;
	char extra[32] = "";

	if (has_encoding(z, operands, ZYDIS_OPERAND_ENCODING_OPCODE))
		opcode &= 0xf8;
	if (z->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
		if (!has_encoding(z, operands, ZYDIS_OPERAND_ENCODING_MODRM_REG))
			snprintf(extra, sizeof(extra), "/%u", z->raw.modrm.reg);
		if (z->raw.modrm.mod == 3 && !has_encoding(z, operands, ZYDIS_OPERAND_ENCODING_MODRM_RM))
			snprintf(extra + strlen(extra), sizeof(extra) - strlen(extra), "/rm%u",
			         z->raw.modrm.rm);
	}
	n += (unsigned)snprintf(name + n, 112 - n, "%s%s%s%s%s", compat ? "32:" : "",
	                        z->attributes & ZYDIS_ATTRIB_HAS_LOCK ? "lock_" : "",
	                        z->attributes & ZYDIS_ATTRIB_HAS_REPNE                           ? "repne_"
	                        : z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE) ? "rep_"
	                                                                                         : "",
	                        ZydisMnemonicGetString(z->mnemonic), z->operand_count_visible ? "." : "");
	for (unsigned i = 0; i < z->operand_count_visible; i++) {
		char text[24];

		operand_name(&operands[i], text, sizeof(text));
		n += (unsigned)snprintf(name + n, 112 - n, "%s%s", i ? "," : "", text);
	}
	snprintf(name + n, 112 - n, "-%s%u.%02x%s.o%u%s%s",
	         vex    ? "v"
	         : evex ? "e"
	                : "",
	         map, opcode, extra, z->operand_width, vex || evex ? (w ? ".w1" : ".w0") : "",
	         evex && z->raw.evex.b ? ".b" : "");
}

/* Names that are known: index + 1 of the form, by hash. */
#define SEEN_SLOTS 65536u

static void list_add(struct form_list *l, const struct form *f)
{
	static u32 seen[SEEN_SLOTS];
	u32 h = 2166136261u;

	if (!l->count)
		memset(seen, 0, sizeof(seen));
	for (const char *p = f->name; *p; p++)
		h = (h ^ (u8)*p) * 16777619u;
	for (h = h ^ h >> 16;; h++) {
		u32 *slot = &seen[h % SEEN_SLOTS];

		if (!*slot) {
			*slot = l->count + 1;
			break;
		}
		if (!strcmp(l->forms[*slot - 1].name, f->name))
			return;
	}
	if (l->count == l->room) {
		l->room = l->room ? 2 * l->room : 1024;
		l->forms = realloc(l->forms, l->room * sizeof(*l->forms));
		if (!l->forms)
			abort();
	}
	l->excluded += f->excluded;
	l->forms[l->count++] = *f;
}

/* Decodes bytes; keeps what comes out. */
static void try_bytes(struct form_list *l, const u8 *bytes, unsigned len, bool compat)
{
	static char last[112];
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	struct form f = {.compat = compat};

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(oracle_decoder(compat), bytes, len, &z, operands)))
		return;
	if (z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && z.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX &&
	    z.encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return;
	if (!soft_feature_isa(z.meta.isa_set))
		return;
	form_name(&z, operands, compat, f.name);
	if (!strcmp(last, f.name))
		return;
	strcpy(last, f.name);
	f.excluded = is_excluded(&z, operands);
	f.vex = z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	f.mnemonic = z.mnemonic;
	f.category = (u8)z.meta.category;
	f.branch = z.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
	f.opcode = z.opcode;
	f.map = (u8)z.opcode_map;
	f.opcode_free = has_encoding(&z, operands, ZYDIS_OPERAND_ENCODING_OPCODE) ? 7 : 0;
	f.has_modrm = z.attributes & ZYDIS_ATTRIB_HAS_MODRM;
	if (f.has_modrm) {
		f.memory = z.raw.modrm.mod != 3;
		f.reg = z.raw.modrm.reg;
		f.rm = z.raw.modrm.rm;
		f.reg_fixed = !has_encoding(&z, operands, ZYDIS_OPERAND_ENCODING_MODRM_REG);
		f.rm_fixed = !f.memory && !has_encoding(&z, operands, ZYDIS_OPERAND_ENCODING_MODRM_RM);
	}
	f.imm_size[0] = z.raw.imm[0].size / 8;
	f.imm_size[1] = z.raw.imm[1].size / 8;
	f.relative = z.raw.imm[0].is_relative;
	if (!f.has_modrm)
		f.disp_size = z.raw.disp.size / 8;
	for (unsigned i = 0; i < z.operand_count; i++)
		f.vsib |= operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		          operands[i].mem.type == ZYDIS_MEMOP_TYPE_VSIB;
	if (z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) {
		f.evex = true;
		f.w = z.raw.evex.W;
		f.l = (u8)(z.raw.evex.L2 << 1 | z.raw.evex.L);
		f.pp = z.raw.evex.pp;
		f.b = z.raw.evex.b;
		f.vvvv_free = has_encoding(&z, operands, ZYDIS_OPERAND_ENCODING_NDSNDD);
	} else if (f.vex) {
		f.w = z.raw.vex.W;
		f.l = z.raw.vex.L;
		f.pp = z.raw.vex.pp;
		f.vvvv_free = has_encoding(&z, operands, ZYDIS_OPERAND_ENCODING_NDSNDD);
	} else {
		for (unsigned i = 0; i < z.raw.prefix_count; i++) {
			u8 v = z.raw.prefixes[i].value;

			f.size66 |= v == 0x66;
			f.lock |= v == 0xf0;
			if (v == 0xf2 || v == 0xf3)
				f.repeat = v;
		}
		f.w = z.raw.rex.W;
	}
	list_add(l, &f);
}

static void try_modrm(struct form_list *l, u8 *bytes, unsigned n, bool x87, bool compat)
{
	/* Any ModRM byte shows all forms of an opcode by reg; mod 3 by rm too where that is part of the
	 * opcode. */
	for (unsigned reg = 0; reg < 8; reg++) {
		bytes[n] = (u8)(reg << 3 | 6); /* (rsi) */
		try_bytes(l, bytes, 16, compat);
		bytes[n] = (u8)(reg << 3 | 4); /* SIB, for gathers: base rsi, index 1 */
		bytes[n + 1] = 0x0e;
		try_bytes(l, bytes, 16, compat);
		bytes[n + 1] = 0;
		for (unsigned rm = 0; rm < 8; rm++) {
			bytes[n] = (u8)(0xc0 | reg << 3 | rm);
			try_bytes(l, bytes, 16, compat);
		}
	}
}

static void find_legacy(struct form_list *l, bool compat)
{
	static const u8 mandatory[] = {0, 0x66, 0xf2, 0xf3};

	for (unsigned map = 0; map < 4; map++)
		for (unsigned opcode = 0; opcode < 256; opcode++)
			for (unsigned p = 0; p < 8; p++) /* 66, F2, F3 */
				for (unsigned w = 0; w < (compat ? 1 : 2); w++)
					for (unsigned lock = 0; lock < 2; lock++) {
						u8 bytes[32] = {0};
						unsigned n = 0;

						if (p >= 4 && (p == 4 || p == 5))
							continue;
						if (lock)
							bytes[n++] = 0xf0;
						if (p >= 6)
							bytes[n++] = 0x66;
						if (mandatory[p & 3])
							bytes[n++] = mandatory[p & 3];
						if (w)
							bytes[n++] = 0x48;
						if (map)
							bytes[n++] = 0x0f;
						if (map == 2)
							bytes[n++] = 0x38;
						if (map == 3)
							bytes[n++] = 0x3a;
						bytes[n++] = (u8)opcode;
						if (!map && (bytes[n - 1] == 0x0f ||
						             (compat && (opcode == 0xc4 || opcode == 0xc5))))
							continue;
						try_modrm(l, bytes, n, !map && (opcode & 0xf8) == 0xd8,
						          compat);
					}
}

static void find_vex(struct form_list *l, bool compat)
{
	for (unsigned map = 1; map < 4; map++)
		for (unsigned opcode = 0; opcode < 256; opcode++)
			for (unsigned pp = 0; pp < 4; pp++)
				for (unsigned wl = 0; wl < 4; wl++)
					for (unsigned v = 0; v < 2; v++) {
						/* vvvv: 15 (none) or register 2 */
						u8 bytes[32] = {0xc4, (u8)(0xe0 | map),
						                (u8)((wl & 1) << 7 | (v ? 0xd : 0xf) << 3 |
						                     (wl >> 1) << 2 | pp),
						                (u8)opcode};

						try_modrm(l, bytes, 4, false, compat);
					}
}

/* vvvv: 15 (none) or register 2. Masks are not part of a form; some must have one. */
static void find_evex(struct form_list *l, bool compat)
{
	if (vectors_components() == 7)
		return;
	for (unsigned map = 1; map < 4; map++)
		for (unsigned opcode = 0; opcode < 256; opcode++)
			for (unsigned n = 0; n < 4 * 2 * 3 * 2 * 2 * 2; n++) {
				unsigned pp = n & 3, w = n >> 2 & 1, b = n >> 3 & 1, v = n >> 4 & 1,
				         k = n >> 5 & 1, l2 = n >> 6;
				u8 bytes[32] = {0x62, (u8)(0xf0 | map),
				                (u8)(w << 7 | (v ? 0xd : 0xf) << 3 | 4 | pp),
				                (u8)(l2 << 5 | b << 4 | 8 | k), (u8)opcode};

				try_modrm(l, bytes, 5, false, compat);
			}
}

void forms_find(struct form_list *l, bool compat)
{
	find_legacy(l, compat);
	find_vex(l, compat);
	find_evex(l, compat);
}

void forms_release(struct form_list *l)
{
	free(l->forms);
	*l = (struct form_list){0};
}
