/*
 * VPC endpoints: ways to a service that do not leave the VPC. A gateway endpoint is a route to the service's
 * prefix list in route tables ("endpoint-table" links to them); an interface endpoint is a network interface
 * in each of its subnets ("endpoint-interface"). Children of their VPC.
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind vpc_endpoint_kind;

/* A service that endpoints can be made for. */
struct vpc_service {
	const char *name; /* behind com.amazonaws.REGION. */
	bool gateway, interface;
};
/* NULL: the full name is none of the region's. */
const struct vpc_service *vpc_service_find(struct request *r, const char *name);
