#include "cpu/soft/decode.h"
#include "cpu/soft/decode_cache.h"
#include "cpu/soft/lockstep.h"
#include "cpu/soft/block.h"
#include "cpu/soft/features.h"

#include <pthread.h>

/* Longest chain of rows for a mnemonic, and rows in all. */
enum { MAX_ROWS = 1024 };

static ZydisDecoder decoders[SOFT_MODE_LONG64 + 1];
/* Rows by mnemonic: index + 1 into rows[], chained. */
static struct {
	const struct opdef *def;
	u16 next;
} rows[MAX_ROWS];
static u16 first_row[ZYDIS_MNEMONIC_MAX_VALUE + 1];
static unsigned row_count;

static void add_table(const struct opdef *t)
{
	for (; t->mnemonic; t++) {
		u16 *at = &first_row[t->mnemonic];

		if (row_count == MAX_ROWS)
			__builtin_trap();
		while (*at)
			at = &rows[*at - 1].next;
		rows[row_count].def = t;
		*at = (u16)++row_count;
	}
}

static void init(void)
{
	static const struct {
		ZydisMachineMode mode;
		ZydisStackWidth stack;
	} kinds[] = {
	        [SOFT_MODE_REAL16] = {ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16},
	        [SOFT_MODE_REAL32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
	        [SOFT_MODE_PROT16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
	        [SOFT_MODE_PROT32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
	        [SOFT_MODE_COMPAT16] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16},
	        [SOFT_MODE_COMPAT32] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
	        [SOFT_MODE_LONG64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
	};
	/* What the model does not have is a NOP, or an older instruction. */
	static const ZydisDecoderMode off[] = {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
	                                       ZYDIS_DECODER_MODE_CLDEMOTE, ZYDIS_DECODER_MODE_KNC};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		ZydisDecoderInit(&decoders[i], kinds[i].mode, kinds[i].stack);
		for (unsigned k = 0; k < ARRAY_SIZE(off); k++)
			ZydisDecoderEnableMode(&decoders[i], off[k], ZYAN_FALSE);
	}
	const struct opdef *const tables[] = {
	        soft_int_alu,   soft_int_mul, soft_int_move,   soft_int_stack, soft_int_branch,
	        soft_int_shift, soft_int_bit, soft_int_string, soft_int_misc,  soft_sys_table,
	        soft_sys_far,   soft_sys_io,  soft_sys_xstate,
	};
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++)
		add_table(tables[i]);
}

void soft_decode_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init);
}

const struct op *op_undefined(struct soft_cpu *c, const struct op *o)
{
	soft_raise(c, EXC_UD);
}

/* Byte offset of a general register into c->regs, or its number for all others. */
static u8 register_number(ZydisRegister r)
{
	u8 id = (u8)ZydisRegisterGetId(r);

	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
		/* ids: AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8B… */
		if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
			return (u8)((r - ZYDIS_REGISTER_AH) * 8 + 1);
		return (u8)((r >= ZYDIS_REGISTER_SPL ? r - ZYDIS_REGISTER_SPL + 4 : r - ZYDIS_REGISTER_AL) *
		            8);
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return id * 8;
	default:
		return id;
	}
}

static u8 address_register(ZydisRegister r)
{
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return (u8)ZydisRegisterGetId(r);
	case ZYDIS_REGCLASS_IP:
		return SREG_PAGE_RIP;
	default:
		return SREG_ZERO; /* none; vector index */
	}
}

static void fill_memory(struct op *o, const struct insn *i, const ZydisDecodedOperand *d)
{
	o->base = address_register(d->mem.base);
	o->index = address_register(d->mem.index);
	o->scale = d->mem.scale == 8 ? 3 : d->mem.scale == 4 ? 2 : d->mem.scale == 2 ? 1 : 0;
	o->disp = d->mem.disp.value;
	/* With a 32-bit address size in 64-bit mode Zydis takes SIB base 5 of mod 0 for r13d when REX.B is
	 * set. */
	if (i->z.raw.sib.offset && i->z.raw.modrm.mod == 0 && i->z.raw.sib.base == 5) {
		o->base = SREG_ZERO;
		o->disp = i->z.raw.disp.value;
	}
	o->seg = d->mem.segment == ZYDIS_REGISTER_NONE ? SEG_DS : (u8)ZydisRegisterGetId(d->mem.segment);
	if (o->base == SREG_PAGE_RIP)
		o->disp += o->off + o->len;
}

static void fill_immediate(struct op *o, const struct insn *i, const ZydisDecodedOperand *d, unsigned nth)
{
	u64 v = d->imm.value.u;

	if (d->imm.is_relative) {
		o->disp = o->off + o->len + d->imm.value.s;
		return;
	}
	if (nth) { /* ENTER, EXTRQ */
		o->aux = v;
		return;
	}
	/* The only 32-bit immediates of 64-bit operations are sign-extended. */
	if (i->z.raw.imm[0].size == 32 && o->osize == 8)
		v = (u64)(s64)(s32)v;
	o->imm = v;
}

/*
 * In 64-bit mode prefixes for CS, DS, ES and SS do nothing, not even choose between #GP and #SS for an
 * address that is not canonical (SDM vol. 1 3.3.7.1); Zydis knows that for explicit operands.
 */
static void fill_prefixes(struct op *o, const struct insn *i)
{
	u8 seg = SEG_DS;

	for (unsigned k = 0; k < i->z.raw.prefix_count; k++) {
		switch (i->z.raw.prefixes[k].value) {
		case 0x26:
			seg = SEG_ES;
			break;
		case 0x2e:
			seg = SEG_CS;
			break;
		case 0x36:
			seg = SEG_SS;
			break;
		case 0x3e:
			seg = SEG_DS;
			break;
		case 0x64:
			seg = SEG_FS;
			break;
		case 0x65:
			seg = SEG_GS;
			break;
		case 0xf0:
			o->flags |= OPF_LOCK;
			break;
		case 0xf2:
			o->flags = (o->flags & ~OPF_REP) | OPF_REPNE;
			break;
		case 0xf3:
			o->flags = (o->flags & ~OPF_REPNE) | OPF_REP;
			break;
		}
	}
	if (i->mode == SOFT_MODE_LONG64 && seg < SEG_FS)
		seg = SEG_DS;
	o->seg = seg; /* for implicit operands; an explicit one says its own */
}

static u8 operand_size(const struct insn *i)
{
	bool wide =
	        i->mode == SOFT_MODE_REAL32 || i->mode == SOFT_MODE_PROT32 || i->mode >= SOFT_MODE_COMPAT32;
	bool toggled = false;

	/* For 8-bit forms Zydis says 8; branches in 64-bit mode ignore 66. */
	if (i->mode == SOFT_MODE_LONG64 && i->z.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
	    i->z.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
		return 8;
	if (i->z.operand_width > 8)
		return i->z.operand_width / 8;
	if (i->mode == SOFT_MODE_LONG64 && i->z.raw.rex.W &&
	    i->z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return 8;
	for (unsigned k = 0; k < i->z.raw.prefix_count; k++)
		toggled |= i->z.raw.prefixes[k].value == 0x66;
	return wide != toggled ? 4 : 2;
}

static void fill(struct op *o, const struct insn *i)
{
	unsigned immediates = 0, visible = i->z.operand_count_visible;

	o->len = i->z.length;
	o->base = o->index = SREG_ZERO;
	o->osize = o->size = operand_size(i);
	o->asize = i->z.address_width / 8;
	o->flags = i->mode == SOFT_MODE_LONG64 ? OPF_LONG : 0;
	fill_prefixes(o, i);
	for (unsigned n = 0; n < visible; n++) {
		const ZydisDecodedOperand *d = &i->operands[n];
		unsigned kind = KIND_NONE;

		switch (d->type) {
		case ZYDIS_OPERAND_TYPE_REGISTER:
			kind = KIND_REG;
			if (n < 3)
				o->r[n] = register_number(d->reg.value);
			break;
		case ZYDIS_OPERAND_TYPE_MEMORY:
			kind = KIND_MEM;
			fill_memory(o, i, d);
			break;
		case ZYDIS_OPERAND_TYPE_POINTER:
			kind = KIND_IMM;
			o->imm = d->ptr.offset;
			o->aux = d->ptr.segment;
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			kind = KIND_IMM;
			fill_immediate(o, i, d, immediates++);
			break;
		default:
			break;
		}
		if (n < 3)
			o->kinds |= (u8)(kind << (2 * n));
		if (n == 0 && d->size && !(d->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && d->imm.is_relative))
			o->size = (u8)(d->size / 8);
	}
}

static bool bind(struct soft_cpu *c, struct op *o, const struct insn *i, bool *ends)
{
	if (!soft_feature_isa(i->z.meta.isa_set))
		return false;
	for (unsigned k = first_row[i->z.mnemonic]; k; k = rows[k - 1].next) {
		const struct opdef *def = rows[k - 1].def;

		if (def->fn)
			o->fn = def->fn;
		else if (!def->bind(o, i))
			continue;
		*ends = def->flags & OPDEF_END;
		if (def->flags & OPDEF_CPL0)
			o->flags |= OPF_CPL0;
		return true;
	}
	return soft_vec_bind(c, o, i);
}

/* What o does not say of its instruction. */
static struct decode_origin origin_of(const struct op *o, const struct insn *i, bool ends)
{
	struct decode_origin r = {.ends = ends};

	for (unsigned n = 0; n < i->z.operand_count_visible; n++) {
		const ZydisDecodedOperand *d = &i->operands[n];

		if (d->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && d->imm.is_relative)
			r.branch = true;
		else if (d->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			r.negative = d->imm.is_signed || (i->z.raw.imm[0].size == 32 && o->osize == 8);
		if (d->type != ZYDIS_OPERAND_TYPE_REGISTER || n >= ARRAY_SIZE(r.from))
			continue;
		r.from[n] = d->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG  ? DECODE_REG
		            : d->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ? DECODE_RM
		            : d->encoding == ZYDIS_OPERAND_ENCODING_OPCODE   ? DECODE_OPCODE
		                                                             : DECODE_FIXED;
		r.byte[n] = ZydisRegisterGetClass(d->reg.value) == ZYDIS_REGCLASS_GPR8;
	}
	return r;
}

const ZydisDecoder *soft_decoder(enum soft_mode mode)
{
	return &decoders[mode];
}

enum soft_decode_result soft_decode(struct soft_cpu *c, enum soft_mode mode, const u8 *bytes, size_t len,
                                    unsigned off, struct op *o, bool *ends)
{
	const u8 *first = bytes;
	struct insn i;
	ZyanStatus status;
	u8 plain[15];

	if (mode == SOFT_MODE_LONG64 && decode_cache_find(c->decoded, bytes, len, off, o, ends))
		return SOFT_DECODE_OK;
	status = ZydisDecoderDecodeFull(&decoders[mode], bytes, len, &i.z, i.operands);

	/* F3 90 is PAUSE, but with REX.B it is XCHG, and F3 means nothing. */
	if (ZYAN_SUCCESS(status) && i.z.mnemonic == ZYDIS_MNEMONIC_PAUSE && mode == SOFT_MODE_LONG64 &&
	    i.z.raw.rex.B) {
		for (unsigned k = 0; k < i.z.length; k++)
			plain[k] = bytes[k] == 0xf3 ? 0x3e : bytes[k];
		bytes = plain;
		status = ZydisDecoderDecodeFull(&decoders[mode], bytes, i.z.length, &i.z, i.operands);
	}

	*o = (struct op){.off = (u16)off};
	*ends = false;
	if (status == ZYDIS_STATUS_NO_MORE_DATA || status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return SOFT_DECODE_MORE;
	i.mode = mode;
	if (ZYAN_SUCCESS(status)) {
		for (unsigned k = 0; k < sizeof(i.bytes); k++)
			i.bytes[k] = k < i.z.length ? bytes[k] : 0;
		fill(o, &i);
		if (bind(c, o, &i, ends)) {
			if (unlikely(c->lockstep != NULL) && soft_lockstep_once(&i))
				o->flags |= OPF_ONCE;
			if (mode == SOFT_MODE_LONG64) {
				struct decode_origin origin = origin_of(o, &i, *ends);

				decode_cache_add(c->decoded, first, o, &origin);
			}
			return SOFT_DECODE_OK;
		}
		*o = (struct op){.off = (u16)off, .len = i.z.length};
	}
	o->fn = op_undefined;
	*ends = true;
	return SOFT_DECODE_OK;
}
