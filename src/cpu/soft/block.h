/*
 * Blocks of decoded operations: the cache of one vCPU. Owner: struct soft_cpu; vCPU thread only.
 *
 * A block may have lost its operations (op_ring.h): soft_block_ops() has them decoded anew. One that is to be
 * interpreted when it is next found is not current then, so that whoever looks for it passes by
 * soft_block_at().
 */
#pragma once

#include "cpu/soft/soft.h"

int soft_cache_init(struct soft_cpu *c, struct error *e);
void soft_cache_release(struct soft_cpu *c);
void soft_cache_flush(struct soft_cpu *c);
/* Is there room for decoded operations that an idle vCPU gives back? And it does: between two instructions.
 */
bool soft_cache_is_wide(const struct soft_cpu *c);
void soft_cache_narrow(struct soft_cpu *c);
/* The block at CS:rip, decoded if need be, with c->regs[SREG_PAGE_RIP] set for it. Raises fetch faults. An
 * instruction that crosses the page end comes as a one-op block that is checked against the bytes each time.
 */
struct soft_block *soft_block_at(struct soft_cpu *c);

/* The one instruction at CS:rip, of a block that lives until the next call: for step mode. */
struct soft_block *soft_block_single(struct soft_cpu *c);
/* Does the page still hold what was decoded? */
static inline bool soft_block_current(const struct soft_block *b)
{
	return atomic_load_explicit(b->page, memory_order_relaxed) == b->generation;
}

/* The block's operations; pointers to others' are no longer good. For a block that soft_block_at() returned,
 * or that has code. Vectors are parked if they have to be decoded. */
struct op *soft_block_decode(struct soft_cpu *c, struct soft_block *b);
static inline struct op *soft_block_ops(struct soft_cpu *c, struct soft_block *b)
{
	return likely(b->ops != NULL) ? b->ops : soft_block_decode(c, b);
}
/* Of a block that has its ops, and is going to be translated anew: if it ended as it became too long, it gets
 * up to SOFT_BLOCK_OPS, and goes on behind a jump a little further on in the page; so does one that ended by a
 * call to code nearby: in what it calls. */
void soft_block_widen(struct soft_cpu *c, struct soft_block *b);
/* op_ring.c: it has no operations any more. */
void soft_block_forgotten(struct soft_block *b);

/* Goes on at page offset o->disp (0 to 4095) of the page being executed: straight into the block there if
 * o->link knows it and nothing else is to be done, else by run.c, and the next time by the link. */
const struct op *soft_chain_slow(struct soft_cpu *c, const struct op *o);
static inline const struct op *soft_chain(struct soft_cpu *c, const struct op *o)
{
	struct soft_block *b = o->link;

	if (likely(b != NULL) && likely(soft_block_current(b)) && likely(b->heat-- > 0) &&
	    likely(!(atomic_load_explicit(&c->base.events, memory_order_relaxed) & c->events_enabled))) {
		c->block = b;
		return b->ops;
	}
	return soft_chain_slow(c, o);
}

/* For the translator: are blocks below 2 GiB; was rip, that soft_block_at() just looked up, in a global page;
 * rip is (about to be) in the translator's jump tables. */
bool soft_cache_is_low(const struct soft_cpu *c);
bool soft_jump_is_global(struct soft_cpu *c, u64 linear);
void soft_cache_note_jump(struct soft_cpu *c, u64 linear);
/* The bytes of a block that has its ops, or code: of its page, from soft_block_first() on. */
const u8 *soft_block_bytes(const struct soft_cpu *c, const struct soft_block *b);
static inline unsigned soft_block_first(const struct soft_block *b)
{
	return b->off - b->before;
}
/* It is going to have code: its bytes stay, whatever becomes of its ops. False: no room, flush everything. */
bool soft_block_keep(struct soft_cpu *c, struct soft_block *b);
/* The block of a page at an offset, NULL: none, or not current. */
struct soft_block *soft_block_find(struct soft_cpu *c, u64 gpa, unsigned off, unsigned mode);
bool soft_op_is_next(const struct op *o); /* the closing op, where the page goes on */

/* The block being executed ends behind the current operation, so that run.c looks at events, or at changed
 * code. */
void soft_block_stop(struct soft_cpu *c);
/* Not any more. */
void soft_block_unstop(struct soft_cpu *c);

/* Translations of code changed: of one page, or of any. */
void soft_cache_invlpg(struct soft_cpu *c, u64 linear);
void soft_cache_remapped(struct soft_cpu *c);

/* Goes on at the op's own address: the closing op of a block, and what stops one. */
const struct op *op_block_end(struct soft_cpu *c, const struct op *o);
/* A jump to where the next op is. */
const struct op *op_jump_next(struct soft_cpu *c, const struct op *o);
/* A call to where the next op is. */
const struct op *op_call_next(struct soft_cpu *c, const struct op *o);
/* In front of an op that OPF_CPL0 marks: #GP(0) unless CPL is 0. */
const struct op *op_guard_cpl0(struct soft_cpu *c, const struct op *o);
