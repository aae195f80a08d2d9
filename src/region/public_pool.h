/*
 * The addresses that the cloud gives out to the outside, of all regions and accounts: IPv4 one by one, for
 * Elastic IPs and public addresses at launch; IPv6 in blocks of /56, for VPCs. The settings "public-pool" and
 * "public-pool-ipv6" say which; the defaults are not routed in the internet (RFC 2544, RFC 4193), so that a
 * laptop can route them to its instances.
 */
#pragma once

#include "region/address_space.h"

#define PUBLIC_POOL      "198.18.0.0/15"
#define PUBLIC_POOL_IPV6 "fdaa:1e50::/32"

struct cidr public_pool(struct request *r);
struct cidr public_pool_ipv6(struct request *r);

/* The last address that could be given out is this host's, as instances see it; it never is. */
const char *public_host_address(struct request *r);
/* An address for holder (an id). NULL with r->fault: InsufficientAddressCapacity; one of the pool that is
 * wanted (or NULL) is taken: InvalidAddress.NotFound. */
const char *public_address_take(struct request *r, const char *holder, const char *wanted);
void public_address_give_back(struct request *r, const char *address);
/* A /56. NULL with r->fault. */
const char *public_block_take(struct request *r, const char *holder);
void public_block_give_back(struct request *r, const char *block);
/* "ec2-198-18-0-1.compute-1.amazonaws.com" */
const char *public_dns_name(struct request *r, const char *address);
