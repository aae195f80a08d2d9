#include "region/internet_gateway.h"
#include "region/describe.h"
#include "region/link.h"
#include "region/network_interface.h"
#include "region/route_table.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <string.h>

RESOURCE_KIND(internet_gateway_kind) = {
        .name = "internet-gateway",
        .prefix = "igw-",
        .shape = "InternetGateway",
        .id = "InternetGatewayId",
        .noun = "InternetGatewayID",
};

enum { GATEWAYS_MAX = 500 };

static void attach(struct request *r, struct resource *gateway, const char *vpc)
{
	struct value *a = value_append(value_open(gateway->doc, "Attachments"));

	value_set_string(a, "VpcId", vpc);
	value_set_string(a, "State", "available"); /* what EC2 says of an attached one */
	gateway->parent = vpc;
	gateway->state = "attached";
}

struct resource *internet_gateway_create(struct request *r, const char *vpc)
{
	struct resource *gateway = resource_new(r, &internet_gateway_kind);

	attach(r, gateway, vpc);
	resource_insert(r, gateway);
	return gateway;
}

struct resource *internet_gateway_of(struct request *r, const char *vpc)
{
	return resource_list(r, &internet_gateway_kind, vpc)[0];
}

ACTION(ec2, CreateInternetGateway)
{
	struct resource *gateway = resource_new(r, &internet_gateway_kind);

	if (resource_count(r, &internet_gateway_kind, NULL) >= GATEWAYS_MAX)
		return request_fail(r, "InternetGatewayLimitExceeded",
		                    "The maximum number of internet gateways has been reached.");
	value_open(gateway->doc, "Attachments");
	if (tag_specifications(r, gateway, NULL) < 0)
		return -1;
	resource_insert(r, gateway);
	value_put(r->out, "InternetGateway", gateway->doc);
	return 0;
}

ACTION(ec2, AttachInternetGateway)
{
	struct resource *gateway = resource_of(r, &internet_gateway_kind, "InternetGatewayId");
	struct resource *vpc = gateway ? resource_of(r, &vpc_kind, "VpcId") : NULL, *other;

	if (!vpc)
		return -1;
	if (*gateway->parent)
		return request_fail(r, "Resource.AlreadyAssociated",
		                    "resource %s is already attached to network %s", gateway->id,
		                    gateway->parent);
	other = internet_gateway_of(r, vpc->id);
	if (other)
		return request_fail(r, "InvalidParameterValue",
		                    "Network %s already has an internet gateway attached", vpc->id);
	attach(r, gateway, vpc->id);
	resource_save(r, gateway);
	route_table_target_back(r, gateway->id, NULL);
	return 0;
}

ACTION(ec2, DetachInternetGateway)
{
	struct resource *gateway = resource_of(r, &internet_gateway_kind, "InternetGatewayId");
	struct resource *vpc = gateway ? resource_of(r, &vpc_kind, "VpcId") : NULL;

	if (!vpc)
		return -1;
	if (strcmp(gateway->parent, vpc->id))
		return request_fail(r, "Gateway.NotAttached", "resource %s is not attached to network %s",
		                    gateway->id, vpc->id);
	if (network_interface_public_in_vpc(r, vpc->id))
		return request_fail(
		        r, "DependencyViolation",
		        "Network %s has some mapped public address(es). Please unmap those public "
		        "address(es) before detaching the gateway.",
		        vpc->id);
	value_remove(gateway->doc, "Attachments");
	value_open(gateway->doc, "Attachments");
	gateway->parent = gateway->state = "";
	resource_save(r, gateway);
	route_table_target_gone(r, gateway->id);
	return 0;
}

ACTION(ec2, DeleteInternetGateway)
{
	struct resource *gateway = resource_of(r, &internet_gateway_kind, "InternetGatewayId");

	if (!gateway)
		return -1;
	if (*gateway->parent)
		return request_fail(r, "DependencyViolation",
		                    "The internetGateway '%s' has dependencies and cannot be deleted.",
		                    gateway->id);
	route_table_target_gone(r, gateway->id);
	resource_delete(r, gateway);
	return 0;
}

ACTION(ec2, DescribeInternetGateways)
{
	static const struct describe d = {
	        .kind = &internet_gateway_kind, .list = "InternetGateways", .ids = "InternetGatewayIds"};

	return describe_run(r, &d);
}
