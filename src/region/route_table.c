#include "region/route_table.h"
#include "base/cidr.h"
#include "region/describe.h"
#include "region/link.h"
#include "region/subnet.h"
#include "region/tag.h"
#include "region/internet_gateway.h"
#include "region/vpc.h"

#include <string.h>

static const char *const filters[] = {"association.state", "Associations.AssociationState.State", NULL};

RESOURCE_KIND(route_table_kind) = {
        .name = "route-table",
        .prefix = "rtb-",
        .shape = "RouteTable",
        .id = "RouteTableId",
        .noun = "RouteTableID",
        .malformed = "InvalidRouteTableId.Malformed",
        .filters = filters,
};

enum { TABLES_MAX = 500 };

/* ---- routes ---- */

static const char *destination_member(const char *destination)
{
	return !strncmp(destination, "pl-", 3) ? "DestinationPrefixListId"
	       : strchr(destination, ':')      ? "DestinationIpv6CidrBlock"
	                                       : "DestinationCidrBlock";
}

static void add_local(struct resource *table, const char *block)
{
	struct value *route = value_append(value_open(table->doc, "Routes"));

	value_set_string(route, destination_member(block), block);
	value_set_string(route, "GatewayId", "local");
	value_set_string(route, "Origin", "CreateRouteTable");
	value_set_string(route, "State", "active");
}

void route_table_add(struct request *r, struct resource *table, const char *destination, const char *member,
                     const char *target)
{
	struct value *route = value_append(value_open(table->doc, "Routes"));

	value_set_string(route, destination_member(destination), destination);
	value_set_string(route, member, target);
	value_set_string(route, "Origin", "CreateRoute");
	value_set_string(route, "State", "active");
	link_add(r, table->id, "route", target);
	if (!strncmp(destination, "pl-", 3))
		link_add(r, table->id, "route", destination);
	resource_save(r, table);
}

void route_table_block_added(struct request *r, const char *vpc, const char *block)
{
	for (struct resource **list = resource_list(r, &route_table_kind, vpc); *list; list++) {
		add_local(*list, block);
		resource_save(r, *list);
	}
}

void route_table_block_gone(struct request *r, const char *vpc, const char *block)
{
	for (struct resource **list = resource_list(r, &route_table_kind, vpc); *list; list++) {
		struct value *routes = value_get((*list)->doc, "Routes");

		for (unsigned i = value_count(routes); i-- > 0;) {
			const char *has = value_string(value_item(routes, i), destination_member(block));

			if (has && !strcmp(has, block))
				value_delete_item(routes, i);
		}
		resource_save(r, *list);
	}
}

/* Which instance an interface belongs to comes and goes with its attachment. */
static void set_state(struct request *r, const char *target, const char *state, const char *instance)
{
	static const char *const members[] = {"GatewayId", "NatGatewayId", "NetworkInterfaceId",
	                                      "EgressOnlyInternetGatewayId", "VpcPeeringConnectionId"};

	for (const char **ids = link_sources(r, target, "route"); *ids; ids++) {
		struct resource *table = resource_find(r, &route_table_kind, *ids);
		const struct value *routes = table ? value_get(table->doc, "Routes") : NULL;

		for (unsigned i = 0; i < value_count(routes); i++)
			for (unsigned k = 0; k < ARRAY_SIZE(members); k++) {
				const char *has = value_string(value_item(routes, i), members[k]);

				if (!has || strcmp(has, target))
					continue;
				value_set_string(value_item(routes, i), "State", state);
				value_set_string(value_item(routes, i), "InstanceId", instance);
				value_set_string(value_item(routes, i), "InstanceOwnerId",
				                 instance ? r->account : NULL);
			}
		if (table)
			resource_save(r, table);
	}
}

void route_table_target_gone(struct request *r, const char *target)
{
	set_state(r, target, "blackhole", NULL);
}

void route_table_target_back(struct request *r, const char *target, const char *instance)
{
	set_state(r, target, "active", instance);
}

void route_table_remove_target(struct request *r, struct resource *table, const char *target)
{
	struct value *routes = value_get(table->doc, "Routes");

	for (unsigned i = value_count(routes); i-- > 0;) {
		const char *has = value_string(value_item(routes, i), "GatewayId");
		const char *list = value_string(value_item(routes, i), "DestinationPrefixListId");

		if (!has || strcmp(has, target))
			continue;
		if (list)
			link_remove(r, table->id, "route", list);
		value_delete_item(routes, i);
	}
	link_remove(r, table->id, "route", target);
	resource_save(r, table);
}

/* ---- associations ---- */

static struct value *associate(struct request *r, struct resource *table, const char *subnet,
                               const char *gateway)
{
	struct value *a = value_append(value_open(table->doc, "Associations"));
	const char *id = resource_id_new(r, "rtbassoc-");

	value_set_boolean(a, "Main", !subnet && !gateway);
	value_set_string(a, "RouteTableAssociationId", id);
	value_set_string(a, "RouteTableId", table->id);
	value_set_string(a, "SubnetId", subnet);
	value_set_string(a, "GatewayId", gateway);
	value_set_string(value_open(a, "AssociationState"), "State", "associated");
	link_add(r, table->id, "association", id);
	if (subnet || gateway)
		link_add(r, table->id, "associated", subnet ? subnet : gateway);
	return a;
}

static struct value *find_association(const struct resource *table, const char *id, unsigned *at)
{
	const struct value *list = value_get(table->doc, "Associations");

	for (unsigned i = 0; i < value_count(list); i++) {
		if (strcmp(value_string(value_item(list, i), "RouteTableAssociationId"), id))
			continue;
		*at = i;
		return value_item(list, i);
	}
	return NULL;
}

/* The table and item of an association. NULL with r->fault. */
static struct resource *association_of(struct request *r, const char *id, struct value **a, unsigned *at)
{
	const char *owner = link_source(r, id, "association");
	struct resource *table = owner ? resource_find(r, &route_table_kind, owner) : NULL;

	*a = table ? find_association(table, id, at) : NULL;
	if (!resource_id_valid("rtbassoc-", id)) {
		request_fail(r, "InvalidRouteTableAssociationId.Malformed",
		             "Invalid id: \"%.100s\" (expecting \"rtbassoc-...\")", id);
		return NULL;
	}
	if (!*a) {
		request_fail(r, "InvalidAssociationID.NotFound", "The association ID '%s' does not exist",
		             id);
		return NULL;
	}
	return table;
}

static void remove_association(struct request *r, struct resource *table, unsigned at)
{
	struct value *list = value_get(table->doc, "Associations"), *a = value_item(list, at);
	const char *of =
	        value_string(a, "SubnetId") ? value_string(a, "SubnetId") : value_string(a, "GatewayId");

	link_remove(r, table->id, "association", value_string(a, "RouteTableAssociationId"));
	if (of)
		link_remove(r, table->id, "associated", of);
	value_delete_item(list, at);
	resource_save(r, table);
}

void route_table_subnet_gone(struct request *r, const char *subnet)
{
	const char *id = link_source(r, subnet, "associated");
	struct resource *table = id ? resource_find(r, &route_table_kind, id) : NULL;
	const struct value *list = table ? value_get(table->doc, "Associations") : NULL;

	for (unsigned i = value_count(list); i-- > 0;) {
		const char *of = value_string(value_item(list, i), "SubnetId");

		if (of && !strcmp(of, subnet))
			remove_association(r, table, i);
	}
}

struct resource *route_table_main(struct request *r, const char *vpc)
{
	const char *id = property_get(r, vpc, "main-route-table");

	return id ? resource_find(r, &route_table_kind, id) : NULL;
}

/* ---- life ---- */

static struct resource *new_table(struct request *r, const struct resource *vpc)
{
	static const char *const sets[][2] = {{"CidrBlockAssociationSet", "CidrBlock"},
	                                      {"Ipv6CidrBlockAssociationSet", "Ipv6CidrBlock"}};
	struct resource *table = resource_new(r, &route_table_kind);

	table->parent = vpc->id;
	value_set_string(table->doc, "VpcId", vpc->id);
	value_open(table->doc, "Associations");
	value_open(table->doc, "PropagatingVgws");
	for (unsigned k = 0; k < ARRAY_SIZE(sets); k++) {
		const struct value *list = value_get(vpc->doc, sets[k][0]);

		for (unsigned i = 0; i < value_count(list); i++)
			add_local(table, value_string(value_item(list, i), sets[k][1]));
	}
	return table;
}

struct resource *route_table_create_main(struct request *r, const struct resource *vpc)
{
	struct resource *table = new_table(r, vpc);

	associate(r, table, NULL, NULL);
	resource_insert(r, table);
	property_set(r, vpc->id, "main-route-table", table->id);
	return table;
}

ACTION(ec2, CreateRouteTable)
{
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId"), *table;

	if (!vpc)
		return -1;
	if (resource_count(r, &route_table_kind, vpc->id) >= TABLES_MAX)
		return request_fail(r, "RouteTableLimitExceeded",
		                    "The maximum number of route tables has been reached.");
	table = new_table(r, vpc);
	if (tag_specifications(r, table, NULL) < 0)
		return -1;
	resource_insert(r, table);
	value_put(r->out, "RouteTable", table->doc);
	return 0;
}

ACTION(ec2, DeleteRouteTable)
{
	struct resource *table = resource_of(r, &route_table_kind, "RouteTableId");

	if (!table)
		return -1;
	if (value_count(value_get(table->doc, "Associations")) || link_source(r, table->id, "endpoint-table"))
		return request_fail(r, "DependencyViolation",
		                    "The routeTable '%s' has dependencies and cannot be deleted.", table->id);
	resource_delete(r, table);
	return 0;
}

ACTION(ec2, DescribeRouteTables)
{
	static const struct describe d = {
	        .kind = &route_table_kind, .list = "RouteTables", .ids = "RouteTableIds"};

	return describe_run(r, &d);
}

ACTION(ec2, AssociateRouteTable)
{
	struct resource *table = resource_of(r, &route_table_kind, "RouteTableId"), *subnet;
	const char *gateway = value_string(r->in, "GatewayId"), *has, *of;
	struct value *a;

	if (!table)
		return -1;
	if (!value_get(r->in, "SubnetId") == !gateway)
		return request_fail(r, gateway ? "InvalidParameterCombination" : "MissingParameter",
		                    "Either 'subnetId' or 'gatewayId' should be provided.");
	if (gateway) {
		struct resource *igw = resource_get(r, &internet_gateway_kind, gateway);

		if (!igw)
			return -1;
		if (strcmp(igw->parent, table->parent))
			return request_fail(r, "InvalidParameterValue",
			                    "The gateway '%s' and the route table '%s' are of different VPCs",
			                    igw->id, table->id);
		of = igw->id;
	} else {
		subnet = resource_of(r, &subnet_kind, "SubnetId");
		if (!subnet)
			return -1;
		if (strcmp(subnet->parent, table->parent))
			return request_fail(r, "InvalidParameterValue",
			                    "route table %s and subnet %s belong to different networks",
			                    table->id, subnet->id);
		of = subnet->id;
	}
	has = link_source(r, of, "associated");
	if (has && strcmp(has, table->id))
		return request_fail(r, "Resource.AlreadyAssociated",
		                    "the specified association for route table %s conflicts with an existing "
		                    "association",
		                    table->id);
	if (has) {
		const struct value *list = value_get(table->doc, "Associations");

		for (unsigned i = 0; i < list->count; i++) {
			a = value_item(list, i);
			if ((value_string(a, "SubnetId") && !strcmp(value_string(a, "SubnetId"), of)) ||
			    (value_string(a, "GatewayId") && !strcmp(value_string(a, "GatewayId"), of)))
				goto answer;
		}
	}
	a = associate(r, table, gateway ? NULL : of, gateway ? of : NULL);
	resource_save(r, table);
answer:
	value_set_string(r->out, "AssociationId", value_string(a, "RouteTableAssociationId"));
	value_put(r->out, "AssociationState", value_get(a, "AssociationState"));
	return 0;
}

ACTION(ec2, DisassociateRouteTable)
{
	struct value *a;
	unsigned at = 0;
	struct resource *table = association_of(r, value_string(r->in, "AssociationId"), &a, &at);

	if (!table)
		return -1;
	if (value_boolean(a, "Main", false))
		return request_fail(r, "InvalidParameterValue",
		                    "cannot disassociate the main route table association %s",
		                    value_string(a, "RouteTableAssociationId"));
	remove_association(r, table, at);
	return 0;
}

ACTION(ec2, ReplaceRouteTableAssociation)
{
	const char *id = value_string(r->in, "AssociationId"), *subnet, *gateway;
	struct value *a;
	unsigned at = 0;
	struct resource *old = association_of(r, id, &a, &at), *table;

	if (!old)
		return -1;
	table = resource_of(r, &route_table_kind, "RouteTableId");
	if (!table)
		return -1;
	if (strcmp(table->parent, old->parent))
		return request_fail(r, "InvalidParameterValue",
		                    "route table %s and association %s belong to different networks",
		                    table->id, id);
	subnet = value_string(a, "SubnetId");
	gateway = value_string(a, "GatewayId");
	if (value_boolean(a, "Main", false))
		property_set(r, table->parent, "main-route-table", table->id);
	remove_association(r, old, at);
	table = resource_find(r, &route_table_kind, table->id);
	a = associate(r, table, subnet, gateway);
	resource_save(r, table);
	value_set_string(r->out, "NewAssociationId", value_string(a, "RouteTableAssociationId"));
	value_put(r->out, "AssociationState", value_get(a, "AssociationState"));
	return 0;
}
