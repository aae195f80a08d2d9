/*
 * The plan of a VPC on this host (net/plan.h), made from the records: what packets, DHCP and DNS need to
 * know. Interfaces are those of machines that are placed here and have not ended; members of groups and
 * names are those of the whole VPC, on whatever host.
 */
#pragma once

#include "net/plan.h"
#include "region/resource.h"

/* Is there a machine of this host that has not ended and has an interface in the VPC? */
bool vpc_plan_wanted(struct request *r, const char *vpc);
/* VPCs that are wanted, of all accounts and regions; in the request's arena, NULL at the end. */
const char **vpc_plan_list(struct request *r);

/*
 * Fills p, in the request's arena, all but its generation. The request's account and region are the VPC's.
 * *instances: those that have interfaces in the plan, NULL at the end; may be NULL. -1: there is no such VPC.
 */
int vpc_plan_make(struct request *r, const char *vpc, struct plan *p, const char *const **instances);

/* ---- vpc_plan_interface.c: interfaces, groups and names ---- */

/* Lists that grow, in an arena. */
struct plan_items {
	char *at;
	unsigned count, room;
};
/* A new item of so many bytes, zeroed. */
void *plan_items_add(struct arena *a, struct plan_items *items, size_t size);
void plan_items_text(struct arena *a, struct plan_items *items, const char *text);

/* all: the VPC's interfaces. */
void vpc_plan_interfaces(struct request *r, struct plan *p, struct resource **all,
                         const char *const **instances);
void vpc_plan_groups(struct request *r, struct plan *p, struct resource **all);
/* Names that they have; publics: those of public addresses, too, which lead to the private ones. */
void vpc_plan_names(struct request *r, struct plan_items *names, struct resource **all, bool publics);
/* Has a machine of this host it, which has not ended? */
bool vpc_plan_has_machine(struct request *r, const struct resource *interface);
