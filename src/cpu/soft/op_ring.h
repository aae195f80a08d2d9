/*
 * Where decoded operations are: a ring, as most code runs once or a few times. One of each vCPU, vCPU thread
 * only.
 *
 * A block (block.h) lives on without its operations: `ops` is NULL then, and they are decoded anew when
 * somebody wants them. The ring is a row of segments that are filled in turn. What is in a segment when its
 * turn comes again goes, but for blocks that were used since its last turn, and those whose operations hold
 * what was learned (OPF_TLB, OPF_ALONE): they move to the segment's start, as long as that leaves half of it.
 * When seven of eight that are decoded were there before, or, once many were lost, one of eight, the ring
 * grows, up to what was mapped. It begins wide, as a boot comes to new code all the time, and is narrow once
 * the vCPU was idle.
 *
 * So operations move and go whenever one block is decoded: a pointer to an op is good for as long as no
 * other block is looked up.
 */
#pragma once

#include "cpu/soft/soft.h"

struct op_ring;

/* Of at most `size` bytes, of which little is used at first. NULL: no memory. */
struct op_ring *op_ring_new(size_t size);
void op_ring_free(struct op_ring *r);
/* Everything is forgotten; whoever calls forgets the blocks. */
void op_ring_reset(struct op_ring *r);
/* Has it room that is for a boot alone? And that goes, with what is in it. */
bool op_ring_is_wide(const struct op_ring *r);
void op_ring_narrow(struct op_ring *r);

/* Room for `most` operations, the closing op, their bytes. Other blocks may lose theirs. */
struct op *op_ring_room(struct soft_cpu *c, struct op_ring *r, unsigned most);
/* The ops in that room, count + 1 and `bytes` bytes behind them, are b's. again: it had some before. */
void op_ring_add(struct op_ring *r, struct soft_block *b, bool again);
