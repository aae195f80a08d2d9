#include "region/egress_only_internet_gateway.h"
#include "region/describe.h"
#include "region/link.h"
#include "region/route_table.h"
#include "region/tag.h"
#include "region/vpc.h"

RESOURCE_KIND(egress_only_internet_gateway_kind) = {
        .name = "egress-only-internet-gateway",
        .prefix = "eigw-",
        .shape = "EgressOnlyInternetGateway",
        .id = "EgressOnlyInternetGatewayId",
        .noun = "EgressOnlyInternetGatewayId",
        .not_found = "InvalidGatewayID.NotFound",
};

enum { GATEWAYS_MAX = 500 };

ACTION(ec2, CreateEgressOnlyInternetGateway)
{
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId"), *gateway;
	struct value *a;

	if (!vpc)
		return -1;
	if (resource_count(r, &egress_only_internet_gateway_kind, NULL) >= GATEWAYS_MAX)
		return request_fail(r, "EgressOnlyInternetGatewayLimitExceeded",
		                    "The maximum number of egress-only internet gateways has been reached.");
	gateway = resource_new(r, &egress_only_internet_gateway_kind);
	gateway->parent = vpc->id;
	a = value_append(value_open(gateway->doc, "Attachments"));
	value_set_string(a, "State", "attached");
	value_set_string(a, "VpcId", vpc->id);
	if (tag_specifications(r, gateway, NULL) < 0)
		return -1;
	resource_insert(r, gateway);
	value_put(r->out, "EgressOnlyInternetGateway", gateway->doc);
	value_set_string(r->out, "ClientToken", value_string(r->in, "ClientToken"));
	return 0;
}

ACTION(ec2, DeleteEgressOnlyInternetGateway)
{
	struct resource *gateway =
	        resource_of(r, &egress_only_internet_gateway_kind, "EgressOnlyInternetGatewayId");

	if (!gateway)
		return -1;
	route_table_target_gone(r, gateway->id);
	resource_delete(r, gateway);
	value_set_boolean(r->out, "ReturnCode", true);
	return 0;
}

ACTION(ec2, DescribeEgressOnlyInternetGateways)
{
	static const struct describe d = {.kind = &egress_only_internet_gateway_kind,
	                                  .list = "EgressOnlyInternetGateways",
	                                  .ids = "EgressOnlyInternetGatewayIds"};

	return describe_run(r, &d);
}
