/* Internet gateways: attached to one VPC, which is the parent then ("" while detached). */
#pragma once

#include "region/resource.h"

extern const struct resource_kind internet_gateway_kind;

/* One that is attached to vpc. */
struct resource *internet_gateway_create(struct request *r, const char *vpc);
/* The one of a VPC, or NULL. */
struct resource *internet_gateway_of(struct request *r, const char *vpc);
