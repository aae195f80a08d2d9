#include "region/default_network.h"
#include "base/cidr.h"
#include "region/internet_gateway.h"
#include "region/route_table.h"
#include "region/subnet.h"
#include "region/vpc.h"

#define BLOCK "172.31.0.0/16"
enum { SUBNET_PREFIX = 20 };

const char *default_network_free_block(struct request *r, const struct resource *vpc)
{
	struct resource **list = resource_list(r, &subnet_kind, vpc->id);
	struct cidr whole, c, has;

	cidr_parse(&whole, value_string(vpc->doc, "CidrBlock"));
	for (unsigned n = 0; whole.length <= SUBNET_PREFIX && n < 1U << (SUBNET_PREFIX - whole.length); n++) {
		bool taken = false;

		c = cidr_part(whole, SUBNET_PREFIX, n);
		for (struct resource **p = list; *p && !taken; p++)
			taken = cidr_parse(&has, value_string((*p)->doc, "CidrBlock")) == 0 &&
			        cidr_overlaps(has, c);
		if (!taken)
			return cidr_text(r->arena, c);
	}
	request_fail(r, "InsufficientCidrBlocks", "The default VPC has no free block of /%d", SUBNET_PREFIX);
	return NULL;
}

struct resource *default_network_create(struct request *r)
{
	struct resource *vpc = vpc_create(r, BLOCK, NULL, true);
	struct resource *gateway = internet_gateway_create(r, vpc->id);

	for (char letter = 'a'; letter < 'a' + REGION_ZONES; letter++) {
		const char *block = default_network_free_block(r, vpc);

		if (!block)
			return NULL;
		subnet_insert(
		        r, subnet_new(r, vpc, arena_printf(r->arena, "%s%c", r->region, letter), block, NULL),
		        true);
	}
	route_table_add(r, route_table_main(r, vpc->id), "0.0.0.0/0", "GatewayId", gateway->id);
	return vpc;
}
