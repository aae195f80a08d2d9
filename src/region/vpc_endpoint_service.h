/*
 * Endpoint services of one's own: what VPC endpoints of type Interface of this account, and of those that it
 * allows, may lead to. Behind them are load balancers, which are named, and not here: a connection is a
 * record. An endpoint is linked to its service ("endpoint-service").
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind vpc_endpoint_configuration_kind;

/* By its full name, if the caller may connect to it; else NULL. */
struct resource *vpc_endpoint_service_named(struct request *r, const char *name);
/* A new endpoint, not stored yet, leads to it: its state is as the service wants. */
void vpc_endpoint_service_connect(struct request *r, struct resource *endpoint,
                                  const struct resource *service);
