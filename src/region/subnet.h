/*
 * Subnets: a block of a VPC's addresses in one zone. The first four addresses and the last are AWS's
 * (network, router, DNS, future use, broadcast); each other one is taken by a network interface, in the
 * address space that has the subnet's id (address_space.h). Network interfaces have it as their parent.
 */
#pragma once

#include "base/cidr.h"
#include "region/resource.h"

extern const struct resource_kind subnet_kind;

enum { SUBNET_RESERVED_FIRST = 4, SUBNET_RESERVED = 5 };

/* The default subnet of a zone (NULL: of any), or NULL: there is none. */
struct resource *subnet_default(struct request *r, const char *zone);
/* Stores one that was checked: cidr or ipv6 may be NULL. Not yet inserted: for tags. */
struct resource *subnet_new(struct request *r, const struct resource *vpc, const char *zone, const char *cidr,
                            const char *ipv6);
void subnet_insert(struct request *r, struct resource *subnet, bool by_default);
/* Its IPv6 block, or NULL. */
const char *subnet_ipv6_block(const struct resource *subnet);
/* Takes an address of the subnet for holder: `wanted`, or any if it is NULL. NULL with r->fault:
 * InvalidParameterValue, InvalidIPAddress.InUse, InsufficientFreeAddressesInSubnet. */
const char *subnet_take_address(struct request *r, const struct resource *subnet, const char *wanted,
                                const char *holder);
const char *subnet_take_ipv6(struct request *r, const struct resource *subnet, const char *wanted,
                             const char *holder);
/* The same with prefixes: /28 of IPv4, /80 of IPv6. */
const char *subnet_take_prefix(struct request *r, const struct resource *subnet, bool v6, const char *wanted,
                               const char *holder);
/* An address or a prefix. */
void subnet_give_back(struct request *r, const char *subnet, const char *text);
