/*
 * The names of a VPC: those of its plan, both ways, and which zones are its own, so that what is not there
 * does not exist. Plain data in the configuration's arena.
 */
#pragma once

#include "net/dns_name.h"
#include "net/plan.h"

struct dns_entry {
	struct dns_name name;
	struct ip address;
	bool reverse; /* the name is that of the address */
};

struct dns_zone {
	const struct dns_entry **by_name, **by_address;
	unsigned name_count, address_count;
	struct dns_name internal;  /* "ec2.internal" or "REGION.compute.internal" */
	const struct cidr *blocks; /* the addresses whose names are its own */
	unsigned block_count;
	u32 serial;
};

int dns_zone_make(struct dns_zone *z, const struct plan *p, const struct cidr *blocks, unsigned block_count,
                  struct arena *a, struct error *e);
/* The entries of a name, one behind the other; NULL: none. */
const struct dns_entry **dns_zone_name(const struct dns_zone *z, const struct dns_name *n, unsigned *count);
/* The names of an address. */
const struct dns_entry **dns_zone_address(const struct dns_zone *z, struct ip a, unsigned *count);
/* Does this zone say all that there is to say of a name? If so *apex is the offset in the name's bytes where
 * the name of the zone begins, and *empty says that the name is one on the way to others. */
bool dns_zone_owns(const struct dns_zone *z, const struct dns_name *n, size_t *apex, bool *empty);
