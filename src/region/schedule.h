/*
 * The host that an instance runs on: one that is up, in the zone, with room for its vCPUs and memory, allowed
 * by its tenancy (tenancy.h) and chosen as its placement group has it (placement.h).
 */
#pragma once

#include "region/action.h"

#define HOST_LOCAL "h-local"

struct schedule_wish {
	const char *zone; /* NULL: any of the region's */
	s64 vcpus, memory_mib;
	const char *group, *strategy; /* "" without a group */
	s64 partitions, partition;    /* strategy "partition": how many, and which (0: any) */
	struct placement_use *use;    /* NULL: a single one is placed */
	/* Tenancy (tenancy.h); NULL: default, any of the caller's hosts, the default affinity. */
	const char *tenancy, *dedicated_host, *affinity;
	const char *type; /* of instance, for dedicated hosts and reserved capacity */
	/* Reserved capacity (capacity_reservation.h): its id, NULL: it is only tried; the one that it is to
	 * be in (NULL: any open one); or none at all. */
	const char *instance, *reservation;
	bool unreserved;
};

struct schedule_place {
	char host[40], zone[64];
	char dedicated_host[32]; /* of tenancy "host" */
	char reservation[32];    /* of capacity, "": none */
	s64 partition;           /* strategy "partition": its number, else 0 */
	bool simulated;
};

/* This machine, and n simulated ones, spread over the zones; zones are by letter, the same in all regions. */
void schedule_hosts(struct cloud *c, unsigned simulated);
/* -1: InsufficientInstanceCapacity, or what tenancy_pick() says. Capacity is taken. */
int schedule_enter(struct request *r, const struct schedule_wish *wish, struct schedule_place *place);
/* Gives back what the instance took; again: nothing. */
void schedule_leave(struct request *r, const char *instance);
/* For those who choose: the host of a query for "id, zone, simulated", which is ended. false: it has no row.
 */
bool schedule_found(struct query *q, const struct request *r, const struct schedule_wish *wish,
                    struct schedule_place *place);
