/*
 * What block*.c share: the arena, and what looks into it. For these files alone; block.c says how it works.
 */
#pragma once

#include "cpu/soft/block.h"
#include "cpu/soft/jit.h"

enum { CROSSING = SOFT_MODE_LONG64 | SOFT_MODE_CROSSING };
enum { SINGLES = 128, MAX_INSN = 15, PAGE_BITS = 32768 };
struct single {
	/* A block without a page, of at most three operations: guard, instruction, end. */
	struct soft_block block;
	struct op ops[3];
	u8 bytes[MAX_INSN];
	u8 len; /* 0: empty */
};

struct soft_cache {
	u8 *arena;
	size_t ready; /* of the arena: up to here its pages are there */
	size_t size, used,
	        kept; /* blocks from its start, bytes that are kept from its end: to used, from kept on */
	struct op_ring *ring;
	u32 epoch[2];                 /* of the lower half of linear addresses, and of the upper one: */
	u64 pages[2][PAGE_BITS / 64]; /* linear pages with entries in the jump cache, by hash */
	u32 wrong;                    /* how often that said so of one that had none in code */
	u32 *hash;     /* numbers of blocks: their place in the arena, by sizeof(struct soft_block) */
	u32 hash_size; /* HASH_FIRST; once there are as many blocks, HASH_MANY (block.c) */
	struct single singles[SINGLES];
};

/* ---- arena and hash ---- */

/* Those of a page are near each other, so that what is run together shares lines of the host's cache. */
static inline u32 *block_bucket(struct soft_cpu *c, u64 gpa, unsigned off, unsigned mode)
{
	u64 h = ((gpa >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ULL >> 40) + off / 16 + mode;

	return &c->cache->hash[h & (c->cache->hash_size - 1)];
}

static inline struct soft_block *block_numbered(struct soft_cpu *c, u32 n)
{
	return n ? (struct soft_block *)c->cache->arena + n : NULL;
}

/* The word of no page, which no block's generation equals: of blocks that lost their operations, and have no
 * code. */
extern _Atomic u32 block_nowhere;

static inline s32 block_hot(const struct soft_cpu *c)
{
	return c->jit ? c->jit->threshold - 1 : SOFT_JIT_NEVER;
}

/* Marks the page as code and returns its word. From now on each store to the page changes the word. */
u32 block_mark(struct soft_cpu *c, _Atomic u32 *page);
/* Decodes what len bytes, its page's from offset first on, hold of b, which is filled but for its ops. from:
 * where they are to be copied from, as far as they are wanted; NULL: they are there. False: not even one
 * instruction. Done again from the bytes that turned out to be the block's, it finds the same. */
bool block_decode(struct soft_cpu *c, struct soft_block *b, unsigned first, u8 *bytes, const u8 *from,
                  size_t len);
/* Puts a guard in front of the last operation if it needs one; returns their number, 1 or 2. */
unsigned block_guarded(struct op *o);
/* b is not to be found any more; its code may still run. */
void block_withdraw(struct soft_cpu *c, struct soft_block *b);
/* It is there again as it was: the more often its page was written to, the longer it is only interpreted. */
void block_revive(struct soft_cpu *c, struct soft_block *b, unsigned revived);
const struct op *op_too_long(struct soft_cpu *c, const struct op *o);

/* ---- the jump cache (block_jumps.c) ---- */

static inline u64 block_page_bit(u64 linear)
{
	return (linear >> PAGE_SHIFT) % PAGE_BITS;
}

static inline struct soft_jump *block_jump(struct soft_cpu *c, u64 linear)
{
	return &c->jumps[(linear ^ linear >> 12) & (SOFT_JUMP_ENTRIES - 1)];
}

static inline u64 block_jump_key(const struct soft_cpu *c, u64 linear)
{
	return (u64)c->cache->epoch[linear >> 63] << 32 | (u64)(c->cpl == 3) << 20 | (u64)c->mode << 12 |
	       c->tlb_tag;
}

/* ---- block_single.c ---- */

void block_singles_forget(struct soft_cache *k);
/* Is the instruction at linear known to cross the page end? (Only a hint to look there first.) */
bool block_known_to_cross(struct soft_cpu *c, const struct soft_itlb_entry *t, u64 linear);
/* The crossing block at linear, if there is one and it is current. Raises faults of the second page. */
struct soft_block *block_crossing(struct soft_cpu *c, const struct soft_itlb_entry *t, u64 linear);
/* What soft_block_single() just found at linear becomes a crossing block, if it can be one. */
struct soft_block *block_crossing_new(struct soft_cpu *c, struct soft_block *found, u64 linear);
