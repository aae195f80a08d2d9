/* Connections that the kernel keeps, of the thread's network namespace (ctnetlink). */
#pragma once

#include "base/cidr.h"
#include "base/error.h"

/* Forgets those from or to one of these addresses, before or after translation. */
int conntrack_forget(const struct ip *addresses, unsigned count, struct error *e);
