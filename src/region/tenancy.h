/*
 * Hosts that are one account's alone (EC2 User Guide, "Dedicated Instances", "Dedicated Hosts").
 *
 * Such a host is held (table host_hold, host.state "held"): by an allocated dedicated host, until that is
 * released; or by instances of tenancy "dedicated", until the last of them has left. Instances of tenancy
 * "default" go to hosts that are "up", and so never to one that is held.
 */
#pragma once

#include "region/resource.h"
#include "region/schedule.h"

extern const struct resource_kind dedicated_host_kind;

/* Does it take hosts of its own? */
bool tenancy_is_own(const struct schedule_wish *w);
/* -1: InsufficientInstanceCapacity, InsufficientHostCapacity, InsufficientCapacityOnHost, InvalidHostID.…,
 * InvalidHostState. The host is held. */
int tenancy_pick(struct request *r, const struct schedule_wish *w, struct schedule_place *place);
/* A machine has left the host. */
void tenancy_leave(struct request *r, const char *host);
/* At start, when the states of hosts were written anew. */
void tenancy_hold_again(struct cloud *c);

/* Reads Tenancy, HostId, Affinity of a Placement (of RunInstances) into the wish. */
int tenancy_read(struct request *r, const struct value *placement, struct schedule_wish *w);
/* The same of an instance's document, which is to start again. */
void tenancy_of_instance(const struct value *doc, struct schedule_wish *w);
/* What the instance's Placement says of where it is. */
void tenancy_show(struct value *placement, const struct schedule_wish *w, const struct schedule_place *place);
/* HostId, HostResourceGroupArn, Tenancy, Affinity of ModifyInstancePlacement; the instance is saved by the
 * caller. */
int tenancy_modify(struct request *r, struct resource *instance);
