/*
 * Instructions of 64-bit mode that were decoded: most of what a block has was seen elsewhere, and looking it up
 * takes a fraction of the time that decoding takes. One of each vCPU, vCPU thread only.
 *
 * The common integer instructions are kept by their form: prefixes, opcode, and whether an operand is in memory. What
 * else an instruction has are numbers (registers, displacement, immediate, length), whose places follow from the form
 * and which do not change what is done with them. The function of a relative branch depends on whether it leads out of
 * its page, so there are two forms of each.
 *
 * What else is short is kept by all its bytes. Its length is not known before it is decoded, so each length is tried; no
 * two can be there, as no instruction is the start of another.
 */
#pragma once

#include "cpu/soft/soft.h"

struct decode_cache;

struct decode_cache *decode_cache_new(void); /* NULL: no memory */
void decode_cache_free(struct decode_cache *k);
/* Vector stubs (vec.h) are not what they were. */
void decode_cache_reset(struct decode_cache *k);

/* Fills o and *ends if the len bytes (at least one) start with an instruction that is known. */
bool decode_cache_find(const struct decode_cache *k, const u8 *bytes, size_t len, unsigned off, struct op *o,
                       bool *ends);

/* What an operation does not say of its instruction. */
struct decode_origin {
	bool ends;     /* the block ends with it */
	bool branch;   /* relative */
	bool negative; /* the immediate is sign-extended */
	/* Where the numbers of register operands 0..2 are, and whether those are of 8 bits. */
	u8 from[3];
	bool byte[3];
};
enum { DECODE_FIXED, DECODE_REG, DECODE_RM, DECODE_OPCODE };
/* o was decoded from these bytes. */
void decode_cache_add(struct decode_cache *k, const u8 *bytes, const struct op *o,
                      const struct decode_origin *origin);
