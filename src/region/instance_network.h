/*
 * The network of instances: the interfaces they are launched with, and what an instance's document shows of
 * them. The interfaces are the truth; the document is made from them whenever they change.
 */
#pragma once

#include "region/resource.h"

/* The network parameters of a RunInstances request, checked once. */
struct instance_network {
	const char *zone;         /* where the subnet is; NULL: anywhere */
	struct resource *subnet;  /* NULL: the default one of the zone */
	const struct value *list; /* NetworkInterfaces, NULL: one, from the parameters beside it */
	const struct value *groups;
	struct resource *defaults[REGION_ZONES]; /* subnets that were looked for already */
};

/* zone: what Placement says, or NULL; count: of instances at most. -1 with r->fault. */
int instance_network_read(struct request *r, const char *zone, s64 count, struct instance_network *n);
/* Interfaces for an instance that is not stored yet, in a zone; its document shows them. -1 with r->fault. */
int instance_network_create(struct request *r, struct instance_network *n, struct resource *instance,
                            const char *zone);
/* The instance has entered another state: addresses and interfaces come and go. Not stored. */
void instance_network_enter(struct request *r, struct resource *instance);
/* Its Elastic IP has gone: what was launched with a public address has another, if it is running. */
void instance_network_public_back(struct request *r, const char *instance);
/* An interface of the instance was changed. */
void instance_network_changed(struct request *r, const char *instance);
