/*
 * From guest bytes to struct op: Zydis decodes, decode.c fills the operand fields, a table row or a bind
 * function chooses the function.
 *
 * A mnemonic belongs to exactly one table: integer (int_*.c), system (sys_*.c); everything else is offered to
 * soft_vec_bind(). What no one takes, and what the feature table (features.h) does not offer, is #UD.
 */
#pragma once

#include "cpu/soft/soft.h"

#include <Zydis/Zydis.h>

struct insn {
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	enum soft_mode mode;
	u8 bytes[15];
};

enum {
	OPDEF_END = 1,  /* the block ends behind it (the function returns NULL by itself, e.g. soft_end()) */
	OPDEF_CPL0 = 2, /* #GP(0) if CPL != 0; real mode is CPL 0, virtual-8086 mode is 3 */
};

struct opdef {
	u16 mnemonic; /* ZYDIS_MNEMONIC_* */
	u8 flags;     /* OPDEF_* */
	op_fn fn;     /* or NULL if bind chooses */
	/* Chooses o->fn by operands and sizes, may refine o; false: #UD. o's generic fields are filled. */
	bool (*bind)(struct op *o, const struct insn *i);
};

/* Terminated by a row with mnemonic 0. A mnemonic may have rows in several tables (MOV: general, control and
 * debug registers; MOVSD: string, SSE2): they are asked in turn until one takes the instruction. */
extern const struct opdef soft_int_alu[], soft_int_mul[], soft_int_move[], soft_int_stack[],
        soft_int_branch[];
extern const struct opdef soft_int_shift[], soft_int_bit[], soft_int_string[], soft_int_misc[];
extern const struct opdef soft_sys_table[], soft_sys_far[], soft_sys_io[], soft_sys_xstate[];
bool soft_vec_bind(struct soft_cpu *c, struct op *o, const struct insn *i);

/* Once per process. */
void soft_decode_init(void);
/* Of the model: what it does not have is not decoded as such. */
const ZydisDecoder *soft_decoder(enum soft_mode mode);

/* Decodes one instruction of at most len bytes that starts at page offset off. Vectors must be parked.
 * Returns: */
enum soft_decode_result {
	SOFT_DECODE_OK,   /* *o is filled; *ends says whether the block ends with it */
	SOFT_DECODE_MORE, /* len bytes are not enough (page end, or more than 15: #GP) */
};
/* An undefined instruction decodes OK, to an op that raises #UD. */
enum soft_decode_result soft_decode(struct soft_cpu *c, enum soft_mode mode, const u8 *bytes, size_t len,
                                    unsigned off, struct op *o, bool *ends);

const struct op *op_undefined(struct soft_cpu *c, const struct op *o); /* #UD */
