/* A token bucket: so many things a second, and as many at once. Loop's thread. */
#pragma once

#include "base/types.h"

struct rate {
	u64 per_second;
	u64 full_ns; /* when it is, or was, full again: CLOCK_MONOTONIC */
};

/* Takes one. False: there is none. */
static inline bool rate_take(struct rate *r, u64 now_ns)
{
	u64 each = 1000000000ULL / r->per_second;
	u64 base = r->full_ns > now_ns ? r->full_ns : now_ns;

	if (base + each > now_ns + 1000000000ULL)
		return false;
	r->full_ns = base + each;
	return true;
}
