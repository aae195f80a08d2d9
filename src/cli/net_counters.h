/* What the kernel has counted in the VPCs of this host, for `insula net`: root only, by what the region keeps
 * in DATA. */
#pragma once

#include "base/arena.h"
#include "net/datapath.h"

/* False: it is not known; texts of c are in a. */
bool net_counters_read(const char *data, const char *vpc, struct arena *a, struct datapath_counters *c);
/* NULL: the interface is not of this host. */
const struct datapath_interface *net_counters_interface(const struct datapath_counters *c, const char *id);
/* Packets that a group's rules let through. */
u64 net_counters_group(const struct datapath_counters *c, const char *group);
/* "1.2 MB" */
const char *net_counters_bytes(char text[24], u64 bytes);
