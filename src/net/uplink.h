/*
 * The host's side of a VPC: the interface "vpc…", its address, routes to the VPC's public addresses, the
 * table of rules that hides instances behind the host's address on their way out, and the permission to
 * forward: of that interface and of the one of the default route only. What is the host's own stays as it is.
 *
 * IPv4 is forwarded by interface. IPv6 is so from Linux 6.17 on; before, whoever wants it to leave the host
 * sets net.ipv6.conf.all.forwarding.
 *
 * In the thread whose network namespace is the host's, under the lock (state.h).
 */
#pragma once

#include "base/arena.h"
#include "net/plan.h"

/* Does the plan need one? */
bool uplink_wanted(const struct plan *p);
/* Is the host's end there? */
int uplink_exists(const char *vpc, struct arena *a, bool *exists, struct error *e);
/* The pair of interfaces is there, if it is wanted: the rest comes true, or goes. */
int uplink_apply(const struct plan *p, struct arena *a, struct error *e);
int uplink_remove(const char *vpc, struct arena *a, struct error *e);
/* No VPC is left on this host: interfaces forward as before. */
int uplink_restore(struct error *e);
