/*
 * Seams: two pages that lie beside each other in the guest's linear addresses, but not in its memory, mapped
 * beside each other once more, so that a group of accesses that goes from one into the other (jit_group.h)
 * has one host address for all of it. A stack frame across a page's end is run a hundred thousand times by
 * some processes, and each of its blocks would be interpreted instead.
 *
 * A seam is a function of two host pages alone, and guest memory stays where it is; so no change of
 * translations matters to it. Who asks has looked both pages up, and uses the answer no longer than what the
 * TLB said: to the end of a block.
 *
 * Owner: struct soft_jit; vCPU thread only.
 */
#pragma once

#include "base/types.h"

struct seams;

/* NULL: no memory. */
struct seams *seams_new(void);
void seams_free(struct seams *s);

/* Where the page at `first` is with the one at `second` behind it; NULL: cannot be, as guest memory that no
 * one shares cannot be mapped again, or not now, as some were made in this tick (some milliseconds), and each
 * costs microseconds. It holds for the next SEAMS_HOLD calls. */
enum { SEAMS_HOLD = 50, SEAMS_PINS = 3 };
u8 *seam_of(struct seams *s, u8 *first, u8 *second, u32 tick);
/* `at` holds until another one is pinned so; it may be none of them. */
void seam_pin(struct seams *s, unsigned pin, const u8 *at);
