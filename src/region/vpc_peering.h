/*
 * VPC peering connections: packets go between two VPCs without a gateway. The state column is Status.Code;
 * while it is "active", the connection is linked to both VPCs ("peer"). Both VPCs are of one account and
 * region.
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind vpc_peering_kind;

/* Is the VPC one of its two? */
bool vpc_peering_is_of(const struct resource *peering, const char *vpc);
/* A VPC is gone: so are its connections. */
void vpc_peering_vpc_gone(struct request *r, const char *vpc);
