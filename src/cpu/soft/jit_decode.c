#include "cpu/soft/jit_decode.h"
#include "cpu/soft/decode.h"
#include "cpu/soft/decode_form.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 512, OPERANDS = 4 };

struct entry {
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operands[OPERANDS];
};

struct jit_decoder {
	ZydisDecodedInstruction other;
	/* In pairs: a key has two places, and takes that which was not used last. */
	u64 keys[ENTRIES]; /* 0: none */
	struct entry entries[ENTRIES];
	bool last[ENTRIES / 2];
};

struct jit_decoder *jit_decoder_new(void)
{
	return calloc(1, sizeof(struct jit_decoder));
}

void jit_decoder_free(struct jit_decoder *k)
{
	free(k);
}

/* A register of the class that r has. */
static ZydisRegister of_class(ZydisRegister r, unsigned n, bool rex)
{
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
		if (n < 4)
			return (ZydisRegister)(ZYDIS_REGISTER_AL + n);
		return (ZydisRegister)((rex ? ZYDIS_REGISTER_SPL : ZYDIS_REGISTER_AH) + n - 4);
	case ZYDIS_REGCLASS_GPR16:
		return (ZydisRegister)(ZYDIS_REGISTER_AX + n);
	case ZYDIS_REGCLASS_GPR32:
		return (ZydisRegister)(ZYDIS_REGISTER_EAX + n);
	case ZYDIS_REGCLASS_GPR64:
		return (ZydisRegister)(ZYDIS_REGISTER_RAX + n);
	default:
		return r;
	}
}

/* The instruction's numbers. */
static void put(ZydisDecodedInstruction *z, ZydisDecodedOperand *operands, const u8 *bytes,
                const struct decode_form *d)
{
	z->length = d->len;
	z->opcode = d->opcode;
	if (d->rel) {
		z->raw.imm[0].value.s = (s64)decode_number(bytes + d->disp_at, d->disp, true);
		z->raw.imm[0].offset = d->disp_at;
	} else if (d->imm) {
		z->raw.imm[0].value.u =
		        decode_number(bytes + d->disp_at + d->disp, d->imm, z->raw.imm[0].is_signed);
		z->raw.imm[0].offset = d->disp_at + d->disp;
	}
	for (unsigned i = 0; operands && i < z->operand_count_visible; i++) {
		ZydisDecodedOperand *o = &operands[i];

		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
			o->reg.value =
			        of_class(o->reg.value, (d->modrm >> 3 & 7) | (d->rex & 4) << 1, d->rex);
		else if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
			o->reg.value = of_class(o->reg.value, (d->modrm & 7) | (d->rex & 1) << 3, d->rex);
		else if (o->encoding == ZYDIS_OPERAND_ENCODING_OPCODE)
			o->reg.value = of_class(o->reg.value, (d->opcode & 7) | (d->rex & 1) << 3, d->rex);
	}
}

const ZydisDecodedInstruction *jit_decode(struct jit_decoder *k, const u8 *bytes, size_t len,
                                          ZydisDecodedOperand *operands)
{
	const ZydisDecoder *zydis = soft_decoder(SOFT_MODE_LONG64);
	ZydisDecoderContext context;
	struct decode_form d;
	struct entry *e;
	unsigned pair, at;

	len = min(len, (size_t)ZYDIS_MAX_INSTRUCTION_LENGTH);
	if (!decode_form(bytes, len, 0, &d)) {
		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(zydis, &context, bytes, len, &k->other)) ||
		    (operands && ZYAN_FAILED(ZydisDecoderDecodeOperands(zydis, &context, &k->other, operands,
		                                                        k->other.operand_count))))
			return NULL;
		return &k->other;
	}
	d.key &= ~DECODE_IN_PAGE;
	pair = (d.key * 0x9e3779b97f4a7c15ULL >> 40) % (ENTRIES / 2);
	at = 2 * pair;
	if (k->keys[at] != d.key && (k->keys[at + 1] == d.key || !k->last[pair]))
		at++;
	k->last[pair] = at & 1;
	e = &k->entries[at];
	if (k->keys[at] != d.key) {
		ZydisDecodedOperand all[ZYDIS_MAX_OPERAND_COUNT];

		k->keys[at] = 0;
		if (ZYAN_FAILED(ZydisDecoderDecodeFull(zydis, bytes, len, &e->z, all)))
			return NULL;
		if (e->z.operand_count > OPERANDS || e->z.length != d.len) {
			if (operands)
				memcpy(operands, all, e->z.operand_count * sizeof(*all));
			return &e->z;
		}
		memcpy(e->operands, all, sizeof(e->operands));
		k->keys[at] = d.key;
	}
	put(&e->z, operands ? e->operands : NULL, bytes, &d);
	if (operands)
		memcpy(operands, e->operands, e->z.operand_count * sizeof(*operands));
	return &e->z;
}
