/* Networks of a region that nobody serves: those that no machine is in any more are taken away. */
#pragma once

#include "base/error.h"

/* data: the region's folder, which no process serves. Returns how many VPCs stay for machines that go on; -1
 * with e: the first that could not be taken away; the others are. */
int network_sweep(const char *data, struct error *e);
