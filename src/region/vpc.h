/*
 * VPCs: blocks of addresses in which subnets lie. A VPC has a default security group, a default network ACL,
 * a main route table and a set of DHCP options from the start (EC2 API Reference: CreateVpc).
 *
 * What is in a VPC has it as its parent.
 */
#pragma once

#include "base/cidr.h"
#include "region/resource.h"

extern const struct resource_kind vpc_kind;

/* With all that it has from the start. cidr is canonical; by default: the region's default VPC. */
struct resource *vpc_create(struct request *r, const char *cidr, const char *tenancy, bool by_default);
/* The default VPC, or NULL. */
struct resource *vpc_default(struct request *r);

/* Is the block within one of the VPC's (associated) blocks? */
bool vpc_covers(const struct resource *vpc, struct cidr block);
/* Its IPv6 block, or NULL. */
const char *vpc_ipv6_block(const struct resource *vpc);
/* enableDnsSupport, enableDnsHostnames, enableNetworkAddressUsageMetrics */
bool vpc_attribute(struct request *r, const char *vpc, const char *name);
/* The peering connection that is active between two VPCs, or NULL. */
const char *vpc_peering_between(struct request *r, const char *a, const char *b);

/* The name that the region's own properties have (link.h): "region:ACCOUNT:NAME". */
const char *region_key(struct request *r);
