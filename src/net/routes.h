/*
 * What a plan needs of its namespace's addresses, neighbours, routes and routing rules (fib.h).
 *
 * Table main has the interfaces of this host, and nothing else gets anywhere by it; a rule for each tap sends
 * what is for others to the table of its subnet's route table. What came from the host or from a peer finds
 * main only: so nothing passes through a VPC. A route to a block within the VPC, which leads to an appliance,
 * is asked before main: such routes are in a table of their own.
 */
#pragma once

#include "net/fib.h"
#include "net/link.h"
#include "net/plan.h"

extern const u8 routes_mac[6];          /* of the host's end of every tap: 06:00:00:00:00:01 */
extern const char *const routes_router; /* its link-local address: fe80::400:ff:fe00:1 */

/* Taps and other interfaces are those that are there. */
void routes_plan(struct fib *f, const struct plan *p, const struct link_list *l);
