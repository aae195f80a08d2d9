/*
 * Short instructions of 64-bit mode that were decoded, by their bytes: most of what a block has was seen
 * elsewhere, and looking it up takes a fraction of the time that decoding takes. One of each vCPU, vCPU
 * thread only.
 *
 * An instruction's length is not known before it is decoded, so each length is tried; no two can be there, as
 * no instruction is the start of another. Relative branches are not kept, as they are bound by where they
 * lead to.
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
/* o was decoded from these bytes. */
void decode_cache_add(struct decode_cache *k, const u8 *bytes, const struct op *o, bool ends);
