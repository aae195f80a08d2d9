/*
 * What `insula vpc` knows: the plan of its VPC, and what the metadata service tells each instance. One JSON
 * document, read whole and never changed; a new one takes the place of the old. Plain data: whoever has a
 * config may read it for as long as it is there.
 *
 *   {"plan": …,                               plan.h
 *    "instances": {"i-…": {
 *      "options": {"endpoint": true, "tokens": "optional" or "required", "hops": 1, "ipv6": false},
 *      "secret": "HEX",                       of tokens: 16 to 64 bytes; none: the process has one of its own
 *      "user_data": "BASE64" or null,
 *      "tree": {"meta-data": {…}, "dynamic": {…}}}}}
 *
 * In a tree an object is a directory and a string is a leaf.
 */
#pragma once

#include "net/dns_zone.h"
#include "net/plan.h"

#include <time.h>

enum { CONFIG_MAX = 64 << 20 /* bytes */, METADATA_SECRET_MAX = 64 };

struct metadata { /* of an instance */
	const char *instance;
	bool endpoint, tokens_required, ipv6;
	u8 hops; /* TTL of the packets that carry a token */
	u8 secret[METADATA_SECRET_MAX];
	size_t secret_length;
	const u8 *user_data; /* NULL: none */
	size_t user_data_length;
	const json_t *tree; /* NULL: empty */
};

struct config_interface {
	const struct plan_interface *plan;
	const struct plan_subnet *subnet; /* NULL: not in the plan */
	const struct metadata *metadata;  /* of its instance; NULL: none */
	u8 mac[6];
	struct cidr block;    /* of the subnet, IPv4; length 0: it has none */
	struct ip *addresses; /* IPv4, then IPv6, as in the plan */
	unsigned v4_count, v6_count;
	struct cidr *prefixes; /* delegated: their addresses are its own, too */
};

struct config {
	struct arena arena;
	json_t *json; /* trees are in it */
	struct plan plan;
	struct config_interface *interfaces; /* by the names of their taps */
	unsigned interfaces_count;
	struct metadata *metadata; /* by instance */
	unsigned metadata_count;
	struct cidr *blocks; /* of the VPC, IPv4, then IPv6 */
	unsigned v4_count, v6_count;
	struct dns_zone zone;
	time_t since; /* when it was read */
};

/* NULL with e: not a configuration. */
struct config *config_parse(const char *bytes, size_t length, struct error *e);
void config_free(struct config *c); /* NULL is allowed */

/* The interface behind a tap, or NULL. */
const struct config_interface *config_interface(const struct config *c, const char *tap);
/* Is it one of the interface's? */
bool config_has_address(const struct config_interface *i, struct ip a);
/* Is it where the VPC's name servers are: base + 2 of a block, 169.254.169.253, fd00:ec2::253? */
bool config_is_resolver(const struct config *c, struct ip a);
/* The VPC's name server, as DHCP tells it: base + 2 of the first block. False: there is no block. */
bool config_resolver(const struct config *c, struct ip *a);
