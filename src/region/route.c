/* Routes: items of route tables, with their targets checked. */
#include "base/cidr.h"
#include "region/egress_only_internet_gateway.h"
#include "region/internet_gateway.h"
#include "region/link.h"
#include "region/nat_gateway.h"
#include "region/network_interface.h"
#include "region/prefix_list.h"
#include "region/route_table.h"
#include "region/subnet.h"
#include "region/vpc.h"
#include "region/vpc_endpoint.h"
#include "region/vpc_peering.h"

#include <string.h>

enum { ROUTES_MAX = 1000 };

/* The destination of a request, canonical. NULL with r->fault. */
static const char *read_destination(struct request *r)
{
	const char *v4 = value_string(r->in, "DestinationCidrBlock");
	const char *v6 = value_string(r->in, "DestinationIpv6CidrBlock");
	const char *list = value_string(r->in, "DestinationPrefixListId");
	unsigned count = (v4 != NULL) + (v6 != NULL) + (list != NULL);
	struct cidr c;

	if (count != 1) {
		request_fail(
		        r, count ? "InvalidParameterCombination" : "MissingParameter",
		        "Either DestinationCidrBlock, DestinationIpv6CidrBlock or DestinationPrefixListId "
		        "should be provided.");
		return NULL;
	}
	if (list)
		return resource_get(r, &prefix_list_kind, list) ? list : NULL;
	if (cidr_parse(&c, v4 ? v4 : v6) < 0 || c.first.v6 != (v6 != NULL)) {
		request_fail(r, "InvalidParameterValue",
		             "Value (%.64s) for parameter %s is invalid. This is not a valid CIDR block.",
		             v4 ? v4 : v6, v4 ? "destinationCidrBlock" : "destinationIpv6CidrBlock");
		return NULL;
	}
	return cidr_text(r->arena, c);
}

static struct value *find_route(const struct resource *table, const char *destination, unsigned *at)
{
	static const char *const members[] = {"DestinationCidrBlock", "DestinationIpv6CidrBlock",
	                                      "DestinationPrefixListId"};
	const struct value *routes = value_get(table->doc, "Routes");

	for (unsigned i = 0; i < value_count(routes); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(members); k++) {
			const char *has = value_string(value_item(routes, i), members[k]);

			if (has && !strcmp(has, destination)) {
				*at = i;
				return value_item(routes, i);
			}
		}
	return NULL;
}

struct target {
	const char *member, *id; /* of the route */
	bool blackhole;
	const char *instance;
};

static int other_vpc(struct request *r, const struct resource *table, const char *id)
{
	return request_fail(r, "InvalidParameterValue", "route table %s and %s belong to different networks",
	                    table->id, id);
}

static int target_gateway(struct request *r, const struct resource *table, const char *id, struct target *t)
{
	struct resource *gateway;

	if (!strncmp(id, "vgw-", 4))
		return request_fail(r, "InvalidGatewayID.NotFound", "The gateway ID '%.100s' does not exist",
		                    id);
	gateway = resource_find(r, &internet_gateway_kind, id);
	if (!gateway)
		return request_fail(r, "InvalidGatewayID.NotFound", "The gateway ID '%.100s' does not exist",
		                    id);
	if (strcmp(gateway->parent, table->parent))
		return other_vpc(r, table, id);
	t->member = "GatewayId";
	t->id = gateway->id;
	return 0;
}

static int target_nat(struct request *r, const struct resource *table, const char *id, struct target *t)
{
	struct resource *gateway = resource_get(r, &nat_gateway_kind, id);

	if (!gateway)
		return -1;
	if (strcmp(gateway->state, "available") && strcmp(gateway->state, "pending"))
		return request_fail(r, "InvalidNatGatewayID.NotFound",
		                    "The natGateway ID '%s' does not exist", id);
	if (strcmp(gateway->parent, table->parent))
		return other_vpc(r, table, id);
	t->member = "NatGatewayId";
	t->id = gateway->id;
	return 0;
}

static int target_interface(struct request *r, const struct resource *table, struct resource *interface,
                            struct target *t)
{
	if (strcmp(value_string(interface->doc, "VpcId"), table->parent))
		return other_vpc(r, table, interface->id);
	t->member = "NetworkInterfaceId";
	t->id = interface->id;
	t->instance = value_path(interface->doc, "Attachment.InstanceId");
	t->blackhole = !value_get(interface->doc, "Attachment");
	return 0;
}

static int target_instance(struct request *r, const struct resource *table, const char *id, struct target *t)
{
	const struct resource_kind *kind = resource_kind_of("i-00000000");
	struct resource **list;

	if (!kind)
		return request_fail(r, "InvalidInstanceID.NotFound",
		                    "The instance ID '%.100s' does not exist", id);
	if (!resource_get(r, kind, id))
		return -1;
	list = network_interface_list(r, id);
	if (!list[0])
		return request_fail(r, "InvalidInstanceID.NotFound", "The instance ID '%s' does not exist",
		                    id);
	if (list[1])
		return request_fail(
		        r, "InvalidInstanceID",
		        "There are multiple interfaces attached to instance '%s'. Please specify an "
		        "interface ID for the operation instead.",
		        id);
	return target_interface(r, table, list[0], t);
}

static int target_peering(struct request *r, const struct resource *table, const char *id, struct target *t)
{
	struct resource *peering = resource_get(r, &vpc_peering_kind, id);

	if (!peering)
		return -1;
	if (!vpc_peering_is_of(peering, table->parent))
		return other_vpc(r, table, id);
	if (strcmp(peering->state, "active"))
		return request_fail(r, "InvalidStateTransition",
		                    "The peering connection '%s' is not active: its state is '%s'", id,
		                    peering->state);
	t->member = "VpcPeeringConnectionId";
	t->id = peering->id;
	return 0;
}

static int target_egress_only(struct request *r, const struct resource *table, const char *id,
                              const char *destination, struct target *t)
{
	struct resource *gateway = resource_get(r, &egress_only_internet_gateway_kind, id);

	if (!gateway)
		return -1;
	if (!strchr(destination, ':'))
		return request_fail(r, "InvalidParameterCombination",
		                    "An egress-only internet gateway is for IPv6 destinations only");
	if (strcmp(gateway->parent, table->parent))
		return other_vpc(r, table, id);
	t->member = "EgressOnlyInternetGatewayId";
	t->id = gateway->id;
	return 0;
}

/* The one target of a request. */
static int read_target(struct request *r, const struct resource *table, const char *destination,
                       struct target *t)
{
	static const char *const members[] = {
	        "GatewayId",        "NatGatewayId",           "NetworkInterfaceId",
	        "InstanceId",       "VpcPeeringConnectionId", "EgressOnlyInternetGatewayId",
	        "TransitGatewayId", "LocalGatewayId",         "CarrierGatewayId",
	        "CoreNetworkArn",   "VpcEndpointId"};
	const char *id = NULL;
	unsigned which = 0, count = 0;
	struct resource *interface;

	*t = (struct target){0};
	for (unsigned i = 0; i < ARRAY_SIZE(members); i++) {
		if (!value_get(r->in, members[i]))
			continue;
		id = value_string(r->in, members[i]);
		which = i;
		count++;
	}
	if (count != 1)
		return request_fail(
		        r, count ? "InvalidParameterCombination" : "MissingParameter",
		        "The request must contain exactly one of gatewayId, natGatewayId, "
		        "networkInterfaceId, vpcPeeringConnectionId, egressOnlyInternetGatewayId, "
		        "instanceId");
	switch (which) {
	case 0:
		return target_gateway(r, table, id, t);
	case 1:
		return target_nat(r, table, id, t);
	case 2:
		interface = resource_get(r, &network_interface_kind, id);
		return interface ? target_interface(r, table, interface, t) : -1;
	case 3:
		return target_instance(r, table, id, t);
	case 4:
		return target_peering(r, table, id, t);
	case 5:
		return target_egress_only(r, table, id, destination, t);
	default:
		if (!strcmp(members[which], "VpcEndpointId") && !resource_get(r, &vpc_endpoint_kind, id))
			return -1;
		return request_fail(r, "UnsupportedOperation",
		                    "Routes to a target of %s are not available here", members[which]);
	}
}

static bool is_subnet(struct request *r, const char *vpc, struct cidr c)
{
	for (struct resource **net = resource_list(r, &subnet_kind, vpc); *net; net++) {
		const char *block =
		        c.first.v6 ? subnet_ipv6_block(*net) : value_string((*net)->doc, "CidrBlock");
		struct cidr own;

		if (block && cidr_parse(&own, block) == 0 && cidr_covers(own, c) && cidr_covers(c, own))
			return true;
	}
	return false;
}

/* What is within the VPC can go another way than the local one: a whole subnet, through an appliance. */
static int check_local(struct request *r, const struct resource *table, const char *destination)
{
	const struct value *routes = value_get(table->doc, "Routes");
	struct cidr c, local;

	if (cidr_parse(&c, destination) < 0)
		return 0;
	for (unsigned i = 0; i < value_count(routes); i++) {
		const struct value *route = value_item(routes, i);
		const char *gateway = value_string(route, "GatewayId");
		const char *block =
		        value_string(route, c.first.v6 ? "DestinationIpv6CidrBlock" : "DestinationCidrBlock");

		if (!gateway || strcmp(gateway, "local") || !block || cidr_parse(&local, block) < 0 ||
		    !cidr_covers(local, c))
			continue;
		if (!value_get(r->in, "NetworkInterfaceId") && !value_get(r->in, "InstanceId") &&
		    !value_get(r->in, "NatGatewayId"))
			return request_fail(
			        r, "InvalidParameterValue",
			        "The destination CIDR block %s is equal to or more specific than one of "
			        "this VPC's CIDR blocks. This route can target only an interface or an "
			        "instance.",
			        destination);
		if (!is_subnet(r, table->parent, c))
			return request_fail(r, "InvalidParameterValue",
			                    "The destination CIDR block %s is within one of this VPC's CIDR "
			                    "blocks, but is not that of a subnet",
			                    destination);
	}
	return 0;
}

static void fill(struct request *r, struct resource *table, const char *destination, const struct target *t)
{
	struct value *route;
	unsigned at = 0;

	route_table_add(r, table, destination, t->member, t->id);
	route = find_route(table, destination, &at);
	if (t->instance) {
		value_set_string(route, "InstanceId", t->instance);
		value_set_string(route, "InstanceOwnerId", r->account);
	}
	if (t->blackhole)
		value_set_string(route, "State", "blackhole");
	resource_save(r, table);
}

/* Links to targets that no route has any more. */
static void unlink_targets(struct request *r, struct resource *table)
{
	static const char *const members[] = {"GatewayId",
	                                      "NatGatewayId",
	                                      "NetworkInterfaceId",
	                                      "EgressOnlyInternetGatewayId",
	                                      "VpcPeeringConnectionId",
	                                      "DestinationPrefixListId"};
	const struct value *routes = value_get(table->doc, "Routes");

	link_remove(r, table->id, "route", NULL);
	for (unsigned i = 0; i < value_count(routes); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(members); k++) {
			const char *target = value_string(value_item(routes, i), members[k]);

			if (target && strcmp(target, "local"))
				link_add(r, table->id, "route", target);
		}
}

ACTION(ec2, CreateRoute)
{
	struct resource *table = resource_of(r, &route_table_kind, "RouteTableId");
	const char *destination;
	struct target t;
	unsigned at;

	if (!table)
		return -1;
	destination = read_destination(r);
	if (!destination || read_target(r, table, destination, &t) < 0)
		return -1;
	if (find_route(table, destination, &at))
		return request_fail(r, "RouteAlreadyExists", "The route identified by %s already exists.",
		                    destination);
	if (check_local(r, table, destination) < 0)
		return -1;
	if (value_count(value_get(table->doc, "Routes")) >= ROUTES_MAX)
		return request_fail(r, "RouteLimitExceeded",
		                    "The maximum number of routes has been reached.");
	fill(r, table, destination, &t);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, ReplaceRoute)
{
	struct resource *table = resource_of(r, &route_table_kind, "RouteTableId");
	const char *destination;
	struct value *route;
	struct target t;
	unsigned at = 0;

	if (!table)
		return -1;
	destination = read_destination(r);
	if (!destination)
		return -1;
	if (value_boolean(r->in, "LocalTarget", false))
		return request_fail(
		        r, "UnsupportedOperation",
		        "The target of a local route is not replaced here, so that LocalTarget has "
		        "nothing to reset");
	if (read_target(r, table, destination, &t) < 0)
		return -1;
	route = find_route(table, destination, &at);
	if (!route)
		return request_fail(r, "InvalidParameterValue",
		                    "There is no route defined for '%s' in the route table. Use CreateRoute "
		                    "instead.",
		                    destination);
	if (value_string(route, "GatewayId") && !strcmp(value_string(route, "GatewayId"), "local"))
		return request_fail(r, "InvalidParameterValue",
		                    "cannot replace local route %s in route table %s", destination,
		                    table->id);
	value_delete_item(value_get(table->doc, "Routes"), at);
	fill(r, table, destination, &t);
	unlink_targets(r, table);
	return 0;
}

ACTION(ec2, DeleteRoute)
{
	struct resource *table = resource_of(r, &route_table_kind, "RouteTableId");
	const char *destination;
	struct value *route;
	unsigned at = 0;

	if (!table)
		return -1;
	destination = read_destination(r);
	if (!destination)
		return -1;
	route = find_route(table, destination, &at);
	if (!route)
		return request_fail(r, "InvalidRoute.NotFound",
		                    "no route with destination-cidr-block %s in route table %s", destination,
		                    table->id);
	if (value_string(route, "GatewayId") && !strcmp(value_string(route, "GatewayId"), "local"))
		return request_fail(r, "InvalidParameterValue",
		                    "cannot remove local route %s in route table %s", destination, table->id);
	value_delete_item(value_get(table->doc, "Routes"), at);
	unlink_targets(r, table);
	resource_save(r, table);
	return 0;
}
