/*
 * The form of a common integer instruction of 64-bit mode: prefixes, opcode, whether an operand is in memory. What else
 * it has are numbers (registers, displacement, immediate, length), whose places follow from the form. Any thread.
 */
#pragma once

#include "cpu/soft/soft.h"

struct decode_form {
	u64 key;                    /* of the form: never 0, and bit 63 is set */
	u8 len, disp_at, disp, imm; /* bytes; the immediate is behind the displacement, at the end */
	u8 rex, opcode, modrm, sib; /* rex: 0 if there is none */
	u8 seg;                     /* SEG_FS, SEG_GS by a prefix, or SEG_DS */
	bool memory, rel;           /* rel: the displacement is a branch's */
};

/* In the key: a relative branch that does not leave its page. */
#define DECODE_IN_PAGE BIT(21)

/* Takes the instruction at bytes, and at offset off of its page, apart. False: it is none of these, or has more than len
 * bytes. Whether there is such an instruction is not looked at. */
bool decode_form(const u8 *bytes, size_t len, unsigned off, struct decode_form *d);
/* len bytes (up to 8) as a number. */
u64 decode_number(const u8 *p, unsigned len, bool negative);
