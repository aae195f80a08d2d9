/* How long things take: counts by fixed bounds, from half a millisecond to ten seconds. Plain; not locked. */
#pragma once

#include "base/types.h"

enum { HISTOGRAM_BOUNDS = 14 };
extern const double histogram_bounds[HISTOGRAM_BOUNDS]; /* seconds, ascending */

struct histogram {
	u64 counts[HISTOGRAM_BOUNDS +
	           1]; /* of what is at most bound i and above bound i - 1; last: the rest */
	u64 count, sum_ns;
};

void histogram_add(struct histogram *h, u64 ns);
