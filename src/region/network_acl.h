/*
 * Network ACLs: ordered rules for what enters and leaves a subnet, without memory of connections. Each subnet
 * has one; of the VPC's default, if no other was chosen. The entry 32767 that denies the rest is always
 * there.
 *
 * An ACL has its VPC as its parent; links: "association" to the ids of its associations; a VPC has the
 * property "default-network-acl".
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind network_acl_kind;

struct resource *network_acl_create_default(struct request *r, const struct resource *vpc);
void network_acl_subnet_added(struct request *r, const char *vpc, const char *subnet);
void network_acl_subnet_gone(struct request *r, const char *vpc, const char *subnet);
/* A VPC got its first IPv6 block: the default ACL allows IPv6 as well. */
void network_acl_ipv6_added(struct request *r, const char *vpc);
