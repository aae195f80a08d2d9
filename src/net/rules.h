/*
 * The nftables rules of a VPC, made from its plan; texts only, nothing happens here. Tables "inet vpc" and
 * "arp vpc" of its namespace. A packet that goes through takes this way:
 *
 * - source (prerouting, before fragments are put together): MAC and address are the interface's own; from the
 *   outside, not one of ours. A packet of somebody else's address, from an interface whose check is off, gets
 *   mark 1. rules_source.c
 * - notrack: what goes to the services (DHCP, DNS, time, metadata), and their answers; no connection is kept.
 *   Then input takes it, and nothing else. rules_service.c
 * - nat_in: public addresses become private ones. rules_nat.c
 * - forward, first acls: network ACLs, of every packet that leaves or enters a subnet. rules_acl.c
 * - egress: the groups of the interface it came from, or `from_internet`. ingress: the groups of the interface
 *   it goes to. rules_group.c
 * - nat_out: private addresses become public ones, by the realm of the route: 1 the internet gateway, others
 *   NAT gateways. What has no public address ends here. rules_nat.c
 *
 * Connection mark: bit 0, the interface that began the connection tracks it, and lets all of it through; bit
 * 1, the other one does. What is not tracked is judged packet by packet. Bits 8 to 23: realm of the NAT
 * gateway it takes.
 */
#pragma once

#include "net/lookup.h"
#include "net/ruleset.h"

#define RULES_VPC "inet vpc"
#define RULES_ARP "arp vpc"

enum { MARK_FROM = 1, MARK_TO = 2, MARK_REALM = 8 };

struct rules {
	struct ruleset *set;
	const struct plan *plan;
	struct arena *arena;
	bool log; /* some interface has a flow log */
};

/* All of them. */
void rules_build(struct ruleset *set, const struct plan *p);

void rules_source(struct rules *r);
void rules_service(struct rules *r);
void rules_acl(struct rules *r);
void rules_group(struct rules *r);
void rules_nat(struct rules *r);

/* The host's side: table "inet insula_…". outside: the device of the host's default route, if it was us who
 * let it forward, so that it forwards for VPCs only; else NULL. */
void rules_host(struct ruleset *set, const char *vpc, const char *outside);

struct unit *rules_chain(struct rules *r, const char *name, const char *declaration);
struct unit *rules_set(struct rules *r, const char *name, const char *type);
struct unit *rules_map(struct rules *r, const char *name, const char *type);
#define rules_add(r, unit, ...) unit_line((r)->set, unit, __VA_ARGS__)

/* "tcp dport 22 " and the like; "" for all. Of the family that is meant. */
const char *rules_protocol(struct arena *a, bool v6, s64 protocol, s64 from, s64 to, s64 icmp_type,
                           s64 icmp_code);
/* "ip saddr 10.0.0.0/8 " and the like: "saddr" or "daddr". */
const char *rules_block(struct arena *a, const char *side, const char *cidr);
