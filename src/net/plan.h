/*
 * The plan of one VPC on this host: all that its packets and its services need to know. Whoever keeps the
 * records makes it, anew for each change; the datapath (datapath.h) and `insula vpc` (service.h) make it
 * true.
 *
 * A plan is plain data in an arena. Texts are never NULL: "" stands for none. Addresses, blocks and MACs
 * are in their canonical texts (base/cidr.h), ids are as the EC2 API shows them; plan_read() refuses others,
 * so they can be put into a command or a rule as they are. A list X has X_count items.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#include <jansson.h>

enum { PLAN_TAP = 16 }; /* size of an interface's name on the host (IFNAMSIZ) */

struct plan_route {
	const char *to;     /* block */
	const char *kind;   /* "internet", "egress-only", "nat", "interface", "peering", "blackhole" */
	const char *target; /* id of the gateway, the interface or the peering connection */
};

struct plan_table {
	const char *id;
	struct plan_route *routes; /* without the local ones */
	unsigned routes_count;
};

struct plan_acl_entry { /* in the order in which they count; what none of them says is denied */
	bool egress, allow;
	const char *cidr;
	s64 protocol;             /* IANA's number; -1: all */
	s64 from, to;             /* ports of TCP and UDP, both -1: all */
	s64 icmp_type, icmp_code; /* -1: any */
};

struct plan_acl {
	const char *id;
	struct plan_acl_entry *entries;
	unsigned entries_count;
};

struct plan_subnet {
	const char *id, *cidr, *cidr6; /* either may be "" */
	const char *table, *acl;       /* ids */
	bool dns64;
};

/* A rule of a group: what it allows. One of cidr, group and prefixes says with whom. */
struct plan_rule {
	bool egress;
	s64 protocol;             /* IANA's number; -1: all */
	s64 from, to;             /* ports of TCP and UDP, both -1: all */
	s64 icmp_type, icmp_code; /* -1: any */
	const char *cidr, *group;
	const char **prefixes; /* the blocks of a prefix list, of either family */
	unsigned prefixes_count;
};

struct plan_group {
	const char *id;
	const char **members; /* private addresses of all interfaces that have it, on any host, of either
	                       * family; those of a peer's group, too */
	unsigned members_count;
	struct plan_rule *rules; /* none for a group of a peer */
	unsigned rules_count;
};

struct plan_public {
	const char *address; /* public */
	const char *private; /* one of the interface's */
};

struct plan_interface { /* of a machine of this host */
	const char *id, *tap, *instance, *subnet;
	const char *mac;        /* of the guest */
	const char *name;       /* DHCP's host name: "ip-10-0-0-5"; "": none */
	const char **addresses; /* private IPv4, the primary one first */
	unsigned addresses_count;
	const char **addresses6;
	unsigned addresses6_count;
	const char **prefixes; /* delegated blocks of either family, routed to it */
	unsigned prefixes_count;
	const char **groups; /* ids, each of them in the plan */
	unsigned groups_count;
	struct plan_public *publics;
	unsigned publics_count;
	s64 device;           /* index */
	bool check;           /* SourceDestCheck */
	bool log;             /* flow log */
	const char *log_only; /* "ACCEPT" or "REJECT"; "": both */
};

struct plan_nat { /* a NAT gateway */
	const char *id, *subnet;
	const char *private, *public; /* public "": a private one, which hides behind its private address */
};

struct plan_peering {
	const char *id;
	const char *vpc;    /* the other one */
	const char **cidrs; /* of the other one, both families */
	unsigned cidrs_count;
};

struct plan_name { /* a name of an address, and the name of that address */
	const char *name, *address;
	bool reverse; /* this name is the one that the address has */
};

struct plan_dhcp {
	const char *domain; /* "": none */
	const char **dns;   /* "AmazonProvidedDNS" stands for the VPC's own */
	unsigned dns_count;
	const char **ntp;
	unsigned ntp_count;
	const char **netbios;
	unsigned netbios_count;
	s64 netbios_type; /* 0: none */
};

struct plan {
	const char *vpc, *region, *account;
	s64 generation;      /* grows with each change */
	const char *host;    /* this host's address as instances see it: 198.19.255.254 */
	bool internet;       /* an internet gateway is attached */
	bool egress_only;    /* an egress-only internet gateway is */
	bool dns, dns_names; /* enableDnsSupport, enableDnsHostnames */
	const char **cidrs;  /* IPv4 */
	unsigned cidrs_count;
	const char **cidrs6;
	unsigned cidrs6_count;
	struct plan_dhcp dhcp;
	struct plan_subnet *subnets;
	unsigned subnets_count;
	struct plan_table *tables;
	unsigned tables_count;
	struct plan_acl *acls;
	unsigned acls_count;
	struct plan_group *groups;
	unsigned groups_count;
	struct plan_interface *interfaces;
	unsigned interfaces_count;
	struct plan_nat *nats;
	unsigned nats_count;
	struct plan_peering *peerings;
	unsigned peerings_count;
	struct plan_name *names;
	unsigned names_count;
};

/* The names on the host of what an id stands for: a prefix and the id's last twelve characters. */
void plan_tap_name(char out[PLAN_TAP], const char *interface);   /* "eni0123456789ab" */
void plan_uplink_name(char out[PLAN_TAP], const char *vpc);      /* "vpc0123456789ab" */
void plan_peering_name(char out[PLAN_TAP], const char *peering); /* "pcx0123456789ab" */

/* As JSON: members of the same names. */
json_t *plan_write(const struct plan *p);
/* -1 with e, which names the member: what is there is not a plan. Members that are not there are empty. */
int plan_read(struct plan *p, const json_t *from, struct arena *a, struct error *e);
