#include "region/nat_gateway.h"
#include "region/address.h"
#include "region/describe.h"
#include "region/internet_gateway.h"
#include "region/link.h"
#include "region/network_interface.h"
#include "region/route_table.h"
#include "region/subnet.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <string.h>

static const char *const filters[] = {"nat-gateway-id", "NatGatewayId", "state", "State", "subnet-id",
                                      "SubnetId",       "vpc-id",       "VpcId", NULL};

RESOURCE_KIND(nat_gateway_kind) = {
        .name = "natgateway",
        .prefix = "nat-",
        .shape = "NatGateway",
        .id = "NatGatewayId",
        .noun = "NatGatewayID",
        .malformed = "NatGatewayMalformed",
        .not_found = "NatGatewayNotFound",
        .filters = filters,
};

enum { GATEWAYS_MAX = 100 /* in a zone */ };
#define SHOWN_MS (60 * 60 * 1000LL) /* after it was deleted */

static bool too_old(struct request *r, const struct resource *gateway)
{
	const struct value *deleted = value_get(gateway->doc, "DeleteTime");

	return deleted && deleted->integer + SHOWN_MS < r->now_ms;
}

/* The address that a public gateway is to have. NULL with r->fault. */
static struct resource *read_address(struct request *r)
{
	struct resource *address = resource_of(r, &address_kind, "AllocationId");

	if (address && value_get(address->doc, "AssociationId")) {
		request_fail(r, "Resource.AlreadyAssociated", "Elastic IP address [%s] is already associated",
		             address->id);
		return NULL;
	}
	return address;
}

ACTION(ec2, CreateNatGateway)
{
	const char *type = value_string(r->in, "ConnectivityType");
	bool public = !type || !strcmp(type, "public");
	struct resource *subnet = resource_of(r, &subnet_kind, "SubnetId"), *gateway, *address = NULL,
	                *interface;
	struct network_interface_spec spec = {.subnet = subnet,
	                                      .private_address = value_string(r->in, "PrivateIpAddress"),
	                                      .requester = "nat_gateway"};
	struct resource **list;
	struct value *shown;
	unsigned count = 0;

	if (!subnet)
		return -1;
	if (public && !value_get(r->in, "AllocationId"))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter AllocationId");
	if (!public && value_get(r->in, "AllocationId"))
		return request_fail(r, "InvalidParameterCombination",
		                    "A private NAT gateway has no Elastic IP address (AllocationId)");
	if (public) {
		address = read_address(r);
		if (!address)
			return -1;
	}
	for (list = resource_list(r, &nat_gateway_kind, NULL); *list; list++) {
		if (too_old(r, *list))
			resource_delete(r, *list);
		else
			count += !value_get((*list)->doc, "DeleteTime");
	}
	if (count >= GATEWAYS_MAX)
		return request_fail(r, "NatGatewayLimitExceeded",
		                    "The maximum number of NAT gateways has been reached.");
	gateway = resource_new(r, &nat_gateway_kind);
	gateway->parent = subnet->parent;
	gateway->state = "available";
	value_set_time(gateway->doc, "CreateTime", r->now_ms);
	value_set_string(gateway->doc, "SubnetId", subnet->id);
	value_set_string(gateway->doc, "VpcId", subnet->parent);
	value_set_string(gateway->doc, "ConnectivityType", public ? "public" : "private");
	if (tag_specifications(r, gateway, NULL) < 0)
		return -1;
	shown = value_append(value_open(gateway->doc, "NatGatewayAddresses"));
	if (public && !internet_gateway_of(r, subnet->parent)) {
		/* as EC2 does: the gateway is there, to say why it failed */
		gateway->state = "failed";
		gateway->parent = "";
		value_set_time(gateway->doc, "DeleteTime", r->now_ms);
		value_set_string(gateway->doc, "FailureCode", "Gateway.NotAttached");
		value_set_string(gateway->doc, "FailureMessage",
		                 arena_printf(r->arena, "Network %s has no Internet gateway attached",
		                              subnet->parent));
		value_set_string(shown, "AllocationId", address->id);
	} else {
		spec.description = arena_printf(r->arena, "Interface for NAT Gateway %s", gateway->id);
		interface = network_interface_create(r, &spec);
		if (!interface)
			return -1;
		value_set_string(interface->doc, "Status", "in-use");
		value_set_boolean(interface->doc, "SourceDestCheck", false);
		interface->state = "in-use";
		resource_save(r, interface);
		link_add(r, gateway->id, "nat-interface", interface->id);
		value_set_string(shown, "NetworkInterfaceId", interface->id);
		value_set_string(shown, "PrivateIp", value_string(interface->doc, "PrivateIpAddress"));
		if (public) {
			address_associate(r, address, interface,
			                  value_string(interface->doc, "PrivateIpAddress"));
			link_add(r, gateway->id, "nat-address", address->id);
			value_set_string(shown, "AllocationId", address->id);
			value_set_string(shown, "PublicIp", value_string(address->doc, "PublicIp"));
		}
	}
	value_set_string(gateway->doc, "State", gateway->state);
	resource_insert(r, gateway);
	value_put(r->out, "NatGateway", gateway->doc);
	value_set_string(r->out, "ClientToken", value_string(r->in, "ClientToken"));
	return 0;
}

ACTION(ec2, DeleteNatGateway)
{
	struct resource *gateway = resource_of(r, &nat_gateway_kind, "NatGatewayId"), *interface;
	const char *id;

	if (!gateway)
		return -1;
	value_set_string(r->out, "NatGatewayId", gateway->id);
	if (!strcmp(gateway->state, "deleted"))
		return 0;
	id = link_target(r, gateway->id, "nat-interface");
	interface = id ? resource_find(r, &network_interface_kind, id) : NULL;
	if (interface)
		network_interface_delete(r, interface);
	link_remove(r, gateway->id, "nat-interface", NULL);
	link_remove(r, gateway->id, "nat-address", NULL);
	route_table_target_gone(r, gateway->id);
	gateway->parent = "";
	gateway->state = "deleted";
	value_set_string(gateway->doc, "State", "deleted");
	value_set_time(gateway->doc, "DeleteTime", r->now_ms);
	resource_save(r, gateway);
	return 0;
}

static bool shown_still(struct request *r, const struct resource *gateway)
{
	return !too_old(r, gateway);
}

ACTION(ec2, DescribeNatGateways)
{
	static const struct describe d = {.kind = &nat_gateway_kind,
	                                  .list = "NatGateways",
	                                  .ids = "NatGatewayIds",
	                                  .accept = shown_still};

	return describe_run(r, &d);
}
