#include "region/vpc_endpoint.h"
#include "region/vpc_endpoint_service.h"
#include "region/describe.h"
#include "region/link.h"
#include "region/network_interface.h"
#include "region/prefix_list.h"
#include "region/route_table.h"
#include "region/security_group.h"
#include "region/subnet.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <string.h>

static const char *const filters[] = {"vpc-endpoint-state", "State", "vpc-endpoint-type", "VpcEndpointType",
                                      NULL};

RESOURCE_KIND(vpc_endpoint_kind) = {
        .name = "vpc-endpoint",
        .prefix = "vpce-",
        .shape = "VpcEndpoint",
        .id = "VpcEndpointId",
        .noun = "VpcEndpointId",
        .filters = filters,
};

enum { ENDPOINTS_MAX = 255 };

#define POLICY                                                                                             \
	"{\"Version\":\"2008-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":" \
	"\"*\","                                                                                           \
	"\"Resource\":\"*\"}]}"

static bool is_gateway(const struct resource *endpoint)
{
	return !strcmp(value_string(endpoint->doc, "VpcEndpointType"), "Gateway");
}

static int check_policy(struct request *r, const char *policy)
{
	if (policy && policy[strspn(policy, " \t\r\n")] != '{')
		return request_fail(r, "InvalidPolicyDocument", "The policy document is not a JSON object");
	return 0;
}

/* ---- gateway endpoints: routes ---- */

static struct resource *list_of(struct request *r, const struct resource *endpoint)
{
	return resource_lookup(r, &prefix_list_kind, "PrefixListName",
	                       value_string(endpoint->doc, "ServiceName"));
}

static int add_table(struct request *r, struct resource *endpoint, const char *id)
{
	struct resource *table = resource_get(r, &route_table_kind, id), *list = list_of(r, endpoint);
	const struct value *routes;

	if (!table)
		return -1;
	if (strcmp(table->parent, endpoint->parent))
		return request_fail(r, "InvalidParameterValue",
		                    "route table %s and VPC %s are of different networks", table->id,
		                    endpoint->parent);
	routes = value_get(table->doc, "Routes");
	for (unsigned i = 0; list && i < value_count(routes); i++) {
		const char *to = value_string(value_item(routes, i), "DestinationPrefixListId");

		if (to && !strcmp(to, list->id))
			return request_fail(
			        r, "RouteAlreadyExists",
			        "route table %s already has a route with destination-prefix-list-id %s",
			        table->id, list->id);
	}
	if (list)
		route_table_add(r, table, list->id, "GatewayId", endpoint->id);
	value_append_string(value_open(endpoint->doc, "RouteTableIds"), table->id);
	link_add(r, endpoint->id, "endpoint-table", table->id);
	return 0;
}

static void remove_table(struct request *r, struct resource *endpoint, const char *id)
{
	struct value *tables = value_open(endpoint->doc, "RouteTableIds");
	struct resource *table = resource_find(r, &route_table_kind, id);

	for (unsigned i = tables->count; i-- > 0;)
		if (!strcmp(value_item(tables, i)->text, id))
			value_delete_item(tables, i);
	link_remove(r, endpoint->id, "endpoint-table", id);
	if (table)
		route_table_remove_target(r, table, endpoint->id);
}

/* ---- interface endpoints: network interfaces ---- */

static const char *service_word(const struct resource *endpoint)
{
	/* com.amazonaws.REGION.WORD */
	const char *name = value_string(endpoint->doc, "ServiceName") + strlen("com.amazonaws.");

	return strchr(name, '.') + 1;
}

static void set_names(struct request *r, struct resource *endpoint)
{
	const char *word = service_word(endpoint);
	struct value *list;

	value_remove(endpoint->doc, "DnsEntries");
	list = value_open(endpoint->doc, "DnsEntries");
	value_set_string(
	        value_append(list), "DnsName",
	        arena_printf(r->arena, "%s.%s.%s.vpce.amazonaws.com", endpoint->id, word, r->region));
	if (value_boolean(endpoint->doc, "PrivateDnsEnabled", false))
		value_set_string(value_append(list), "DnsName",
		                 arena_printf(r->arena, "%s.%s.amazonaws.com", word, r->region));
}

static const struct value *group_ids(struct request *r, const struct resource *endpoint)
{
	const struct value *groups = value_get(endpoint->doc, "Groups");
	/* the shape of a list of texts that we have */
	struct value *ids = value_copy(r->arena, value_open(endpoint->doc, "SubnetIds"));

	ids->count = 0;
	for (unsigned i = 0; i < value_count(groups); i++)
		value_append_string(ids, value_string(value_item(groups, i), "GroupId"));
	return ids;
}

static int add_subnet(struct request *r, struct resource *endpoint, const char *id)
{
	struct resource *subnet = resource_get(r, &subnet_kind, id), *interface;
	struct network_interface_spec spec = {.subnet = subnet, .requester = "vpc_endpoint"};
	const struct value *subnets = value_open(endpoint->doc, "SubnetIds");

	if (!subnet)
		return -1;
	if (strcmp(subnet->parent, endpoint->parent))
		return request_fail(r, "InvalidParameter", "The subnet '%s' is not of the VPC '%s'",
		                    subnet->id, endpoint->parent);
	for (unsigned i = 0; i < subnets->count; i++) {
		struct resource *other = resource_find(r, &subnet_kind, value_item(subnets, i)->text);

		if (other && !strcmp(value_string(other->doc, "AvailabilityZone"),
		                     value_string(subnet->doc, "AvailabilityZone")))
			return request_fail(
			        r, "DuplicateSubnetsInSameZone",
			        "Found another VPC endpoint subnet in the availability zone of %s",
			        subnet->id);
	}
	spec.groups = group_ids(r, endpoint);
	spec.description = arena_printf(r->arena, "VPC Endpoint Interface %s", endpoint->id);
	interface = network_interface_create(r, &spec);
	if (!interface)
		return -1;
	value_set_string(interface->doc, "Status", "in-use");
	interface->state = "in-use";
	resource_save(r, interface);
	link_add(r, endpoint->id, "endpoint-interface", interface->id);
	value_append_string(value_open(endpoint->doc, "SubnetIds"), subnet->id);
	value_append_string(value_open(endpoint->doc, "NetworkInterfaceIds"), interface->id);
	return 0;
}

static void remove_text(struct value *list, const char *text)
{
	for (unsigned i = value_count(list); i-- > 0;)
		if (!strcmp(value_item(list, i)->text, text))
			value_delete_item(list, i);
}

/* subnet NULL: all of them */
static void remove_interfaces(struct request *r, struct resource *endpoint, const char *subnet)
{
	for (const char **ids = link_targets(r, endpoint->id, "endpoint-interface"); *ids; ids++) {
		struct resource *interface = resource_find(r, &network_interface_kind, *ids);

		if (!interface || (subnet && strcmp(interface->parent, subnet)))
			continue;
		remove_text(value_get(endpoint->doc, "SubnetIds"), interface->parent);
		remove_text(value_get(endpoint->doc, "NetworkInterfaceIds"), interface->id);
		link_remove(r, endpoint->id, "endpoint-interface", interface->id);
		network_interface_delete(r, interface);
	}
}

static void set_groups(struct resource *endpoint, struct resource **groups)
{
	struct value *list = value_open(endpoint->doc, "Groups");

	for (; *groups; groups++) {
		struct value *item = value_append(list);

		value_set_string(item, "GroupId", (*groups)->id);
		value_set_string(item, "GroupName", value_string((*groups)->doc, "GroupName"));
	}
}

static int check_dns(struct request *r, const char *vpc)
{
	if (!vpc_attribute(r, vpc, "enableDnsSupport") || !vpc_attribute(r, vpc, "enableDnsHostnames"))
		return request_fail(
		        r, "InvalidParameter",
		        "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC "
		        "attributes set to true for %s",
		        vpc);
	return 0;
}

/* ---- life ---- */

static int create_gateway(struct request *r, struct resource *endpoint)
{
	const struct value *tables = value_get(r->in, "RouteTableIds");

	if (value_count(value_get(r->in, "SubnetIds")) || value_count(value_get(r->in, "SecurityGroupIds")))
		return request_fail(r, "InvalidParameter",
		                    "A gateway endpoint has no subnets or security groups");
	if (value_boolean(r->in, "PrivateDnsEnabled", false))
		return request_fail(r, "InvalidParameter", "A gateway endpoint has no private DNS names");
	value_set_boolean(endpoint->doc, "PrivateDnsEnabled", false);
	for (unsigned i = 0; i < value_count(tables); i++)
		if (add_table(r, endpoint, value_item(tables, i)->text) < 0)
			return -1;
	return 0;
}

static int create_interface(struct request *r, struct resource *endpoint)
{
	const struct value *subnets = value_get(r->in, "SubnetIds");
	const struct value *dns = value_get(r->in, "DnsOptions");
	const char *family = value_string(r->in, "IpAddressType"), *record = NULL;
	bool private_dns = value_boolean(r->in, "PrivateDnsEnabled", true);
	struct resource **groups;

	if (value_count(value_get(r->in, "RouteTableIds")))
		return request_fail(r, "InvalidParameter", "An interface endpoint has no route tables");
	if (family && strcmp(family, "ipv4"))
		return request_fail(r, "UnsupportedOperation", "Endpoints have IPv4 addresses here");
	if (private_dns && value_get(r->in, "PrivateDnsEnabled") && check_dns(r, endpoint->parent) < 0)
		return -1;
	private_dns = private_dns && vpc_attribute(r, endpoint->parent, "enableDnsSupport") &&
	              vpc_attribute(r, endpoint->parent, "enableDnsHostnames");
	value_set_boolean(endpoint->doc, "PrivateDnsEnabled", private_dns);
	value_set_string(endpoint->doc, "IpAddressType", "ipv4");
	record = dns ? value_string(dns, "DnsRecordIpType") : NULL;
	value_set_string(value_open(endpoint->doc, "DnsOptions"), "DnsRecordIpType",
	                 record ? record : "ipv4");
	groups = security_group_check(r, endpoint->parent, value_get(r->in, "SecurityGroupIds"));
	if (!groups)
		return -1;
	set_groups(endpoint, groups);
	for (unsigned i = 0; i < value_count(subnets); i++)
		if (add_subnet(r, endpoint, value_item(subnets, i)->text) < 0)
			return -1;
	set_names(r, endpoint);
	return 0;
}

ACTION(ec2, CreateVpcEndpoint)
{
	const char *name = value_string(r->in, "ServiceName"), *type = value_string(r->in, "VpcEndpointType");
	const char *policy = value_string(r->in, "PolicyDocument");
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId"), *endpoint;
	const struct vpc_service *service;
	const struct resource *own;
	bool gateway;

	if (!vpc)
		return -1;
	if (type && !strcmp(type, "GatewayLoadBalancer"))
		return request_fail(r, "UnsupportedOperation", "There are no gateway load balancers here");
	gateway = !type || !strcmp(type, "Gateway");
	own = vpc_endpoint_service_named(r, name);
	service = own ? &(const struct vpc_service){.interface = true} : vpc_service_find(r, name);
	if (!service)
		return request_fail(r, "InvalidServiceName",
		                    "The Vpc Endpoint Service '%.200s' does not exist", name);
	if (gateway ? !service->gateway : !service->interface)
		return request_fail(
		        r, "InvalidParameter",
		        "The Vpc Endpoint Service '%s' does not support endpoints of the type '%s'", name,
		        gateway ? "Gateway" : "Interface");
	if (resource_count(r, &vpc_endpoint_kind, vpc->id) >= ENDPOINTS_MAX)
		return request_fail(r, "VpcEndpointLimitExceeded",
		                    "The maximum number of VPC endpoints has been reached.");
	if (check_policy(r, policy) < 0)
		return -1;
	endpoint = resource_new(r, &vpc_endpoint_kind);
	endpoint->parent = vpc->id;
	endpoint->state = "available";
	value_set_string(endpoint->doc, "VpcId", vpc->id);
	value_set_string(endpoint->doc, "VpcEndpointType", gateway ? "Gateway" : "Interface");
	value_set_string(endpoint->doc, "ServiceName", name);
	value_set_string(endpoint->doc, "State", "available");
	value_set_string(endpoint->doc, "PolicyDocument", policy ? policy : POLICY);
	value_set_boolean(endpoint->doc, "RequesterManaged", false);
	value_set_time(endpoint->doc, "CreationTimestamp", r->now_ms);
	value_open(endpoint->doc, "RouteTableIds");
	value_open(endpoint->doc, "SubnetIds");
	value_open(endpoint->doc, "Groups");
	value_open(endpoint->doc, "NetworkInterfaceIds");
	value_open(endpoint->doc, "DnsEntries");
	if ((gateway ? create_gateway(r, endpoint) : create_interface(r, endpoint)) < 0 ||
	    tag_specifications(r, endpoint, NULL) < 0)
		return -1;
	if (own)
		vpc_endpoint_service_connect(r, endpoint, own);
	resource_insert(r, endpoint);
	value_put(r->out, "VpcEndpoint", endpoint->doc);
	value_set_string(r->out, "ClientToken", value_string(r->in, "ClientToken"));
	return 0;
}

static int modify_groups(struct request *r, struct resource *endpoint)
{
	const struct value *added = value_get(r->in, "AddSecurityGroupIds");
	const struct value *removed = value_get(r->in, "RemoveSecurityGroupIds");
	struct value *groups = value_open(endpoint->doc, "Groups");
	struct resource **list;

	if (!value_count(added) && !value_count(removed))
		return 0;
	for (unsigned i = 0; i < value_count(removed); i++)
		if (!resource_get(r, &security_group_kind, value_item(removed, i)->text))
			return -1;
	if (value_count(added)) {
		list = security_group_check(r, endpoint->parent, added);
		if (!list)
			return -1;
		for (struct resource **p = list; *p; p++)
			for (unsigned i = groups->count; i-- > 0;)
				if (!strcmp(value_string(value_item(groups, i), "GroupId"), (*p)->id))
					value_delete_item(groups, i);
		set_groups(endpoint, list);
	}
	for (unsigned k = 0; k < value_count(removed); k++)
		for (unsigned i = groups->count; i-- > 0;)
			if (!strcmp(value_string(value_item(groups, i), "GroupId"),
			            value_item(removed, k)->text))
				value_delete_item(groups, i);
	if (!groups->count)
		return request_fail(r, "InvalidParameter",
		                    "An interface endpoint has at least one security group");
	for (const char **ids = link_targets(r, endpoint->id, "endpoint-interface"); *ids; ids++) {
		struct resource *interface = resource_find(r, &network_interface_kind, *ids);

		list = interface ? security_group_check(r, endpoint->parent, group_ids(r, endpoint)) : NULL;
		if (!list)
			return interface ? -1 : 0;
		network_interface_set_groups(r, interface, list);
	}
	return 0;
}

ACTION(ec2, ModifyVpcEndpoint)
{
	struct resource *endpoint = resource_of(r, &vpc_endpoint_kind, "VpcEndpointId");
	const struct value *list;
	bool gateway;

	if (!endpoint || check_policy(r, value_string(r->in, "PolicyDocument")) < 0)
		return -1;
	gateway = is_gateway(endpoint);
	if (gateway &&
	    (value_get(r->in, "AddSubnetIds") || value_get(r->in, "RemoveSubnetIds") ||
	     value_get(r->in, "AddSecurityGroupIds") || value_get(r->in, "RemoveSecurityGroupIds") ||
	     value_boolean(r->in, "PrivateDnsEnabled", false)))
		return request_fail(
		        r, "InvalidParameter",
		        "A gateway endpoint has no subnets, security groups or private DNS names");
	if (!gateway && (value_get(r->in, "AddRouteTableIds") || value_get(r->in, "RemoveRouteTableIds")))
		return request_fail(r, "InvalidParameter", "An interface endpoint has no route tables");
	if (value_boolean(r->in, "ResetPolicy", false) && value_get(r->in, "PolicyDocument"))
		return request_fail(r, "InvalidParameterCombination",
		                    "ResetPolicy and PolicyDocument may not be used together");
	if (value_boolean(r->in, "ResetPolicy", false))
		value_set_string(endpoint->doc, "PolicyDocument", POLICY);
	if (value_get(r->in, "PolicyDocument"))
		value_set_string(endpoint->doc, "PolicyDocument", value_string(r->in, "PolicyDocument"));
	list = value_get(r->in, "RemoveRouteTableIds");
	for (unsigned i = 0; i < value_count(list); i++) {
		if (!resource_get(r, &route_table_kind, value_item(list, i)->text))
			return -1;
		remove_table(r, endpoint, value_item(list, i)->text);
	}
	list = value_get(r->in, "AddRouteTableIds");
	for (unsigned i = 0; i < value_count(list); i++)
		if (add_table(r, endpoint, value_item(list, i)->text) < 0)
			return -1;
	if (modify_groups(r, endpoint) < 0)
		return -1;
	list = value_get(r->in, "RemoveSubnetIds");
	for (unsigned i = 0; i < value_count(list); i++) {
		if (!resource_get(r, &subnet_kind, value_item(list, i)->text))
			return -1;
		remove_interfaces(r, endpoint, value_item(list, i)->text);
	}
	list = value_get(r->in, "AddSubnetIds");
	for (unsigned i = 0; i < value_count(list); i++)
		if (add_subnet(r, endpoint, value_item(list, i)->text) < 0)
			return -1;
	if (value_get(r->in, "PrivateDnsEnabled")) {
		bool enable = value_boolean(r->in, "PrivateDnsEnabled", false);

		if (enable && check_dns(r, endpoint->parent) < 0)
			return -1;
		value_set_boolean(endpoint->doc, "PrivateDnsEnabled", enable);
		if (!gateway)
			set_names(r, endpoint);
	}
	resource_save(r, endpoint);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, DeleteVpcEndpoints)
{
	const struct value *ids = value_get(r->in, "VpcEndpointIds");

	value_open(r->out, "Unsuccessful");
	for (unsigned i = 0; i < value_count(ids); i++) {
		const char *id = value_item(ids, i)->text;
		struct resource *endpoint = resource_get(r, &vpc_endpoint_kind, id);

		if (!endpoint) {
			struct value *item = value_append(value_get(r->out, "Unsuccessful"));
			struct value *error = value_open(item, "Error");

			value_set_string(item, "ResourceId", id);
			value_set_string(error, "Code", r->fault->code);
			value_set_string(error, "Message", r->fault->message);
			*r->fault = (struct fault){0};
			continue;
		}
		for (const char **tables = link_targets(r, endpoint->id, "endpoint-table"); *tables; tables++)
			remove_table(r, endpoint, *tables);
		remove_interfaces(r, endpoint, NULL);
		resource_delete(r, endpoint);
	}
	return 0;
}

ACTION(ec2, DescribeVpcEndpoints)
{
	static const struct describe d = {
	        .kind = &vpc_endpoint_kind, .list = "VpcEndpoints", .ids = "VpcEndpointIds"};

	return describe_run(r, &d);
}
