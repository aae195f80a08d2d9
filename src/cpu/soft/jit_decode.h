/*
 * Decoding for the translator, which asks for the same instructions again and again: those that have a form
 * (decode_form.h) are decoded once, and other numbers put into what was decoded then. One of each vCPU, vCPU thread
 * only.
 *
 * What is put in: length, opcode, immediates, the registers of operands. The rest of what differs within a form
 * (prefixes, REX, ModRM, SIB, addresses) is not there to be used: struct op has it.
 */
#pragma once

#include <Zydis/Zydis.h>

#include "cpu/soft/soft.h"

struct jit_decoder;

struct jit_decoder *jit_decoder_new(void); /* NULL: no memory */
void jit_decoder_free(struct jit_decoder *k);

/* The instruction at bytes, of at most len; NULL: there is none. With operands, if that is not NULL: all that it has. Good
 * until the next call. */
const ZydisDecodedInstruction *jit_decode(struct jit_decoder *k, const u8 *bytes, size_t len,
                                          ZydisDecodedOperand *operands);
