#include "base/histogram.h"

const double histogram_bounds[HISTOGRAM_BOUNDS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                   0.1,    0.25,  0.5,    1,     2.5,  5,     10};

void histogram_add(struct histogram *h, u64 ns)
{
	unsigned i = 0;

	while (i < HISTOGRAM_BOUNDS && (double)ns > histogram_bounds[i] * 1e9)
		i++;
	h->counts[i]++;
	h->count++;
	h->sum_ns += ns;
}
