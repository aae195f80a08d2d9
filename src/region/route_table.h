/*
 * Route tables: where packets of a subnet go. A VPC has a main one, for subnets that are not associated with
 * another. A route whose target is gone stays, as a black hole (EC2 API Reference: Route).
 *
 * A table has its VPC as its parent; links: "route" to each target, "association" to the ids of its
 * associations; a VPC has the property "main-route-table".
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind route_table_kind;

/* The main table of a new VPC, with its local routes. */
struct resource *route_table_create_main(struct request *r, const struct resource *vpc);
struct resource *route_table_main(struct request *r, const char *vpc);
/* A route to a target that was checked; member: "GatewayId". */
void route_table_add(struct request *r, struct resource *table, const char *destination, const char *member,
                     const char *target);
/* A block was associated with a VPC, or is not any more: local routes. */
void route_table_block_added(struct request *r, const char *vpc, const char *block);
void route_table_block_gone(struct request *r, const char *vpc, const char *block);
/* A target is gone, or is back: its routes are black holes, or active. */
void route_table_target_gone(struct request *r, const char *target);
/* instance: of an interface, NULL else. */
void route_table_target_back(struct request *r, const char *target, const char *instance);
/* Takes the routes to a target out of a table. */
void route_table_remove_target(struct request *r, struct resource *table, const char *target);
void route_table_subnet_gone(struct request *r, const char *subnet);
