/* insula net: a VPC as a tree: its subnets and interfaces, routes, groups and ACLs. */
#include "base/buffer.h"
#include "base/types.h"
#include "cli/client.h"
#include "cli/find.h"
#include "cli/net_counters.h"
#include "cli/options.h"
#include "cli/table.h"
#include "cli/tree.h"
#include "cli/verbs.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
        "usage: insula net [VPC] [--json] [--data DIR]\n\n"
        "Draws a VPC, or all of the region: subnets, interfaces, routes, groups, ACLs; to root\n"
        "also what has passed.\n";

/* What is drawn, and what each is asked for with. */
static const struct {
	const char *action, *list;
} parts[] = {
        {"DescribeVpcs", "Vpcs"},
        {"DescribeSubnets", "Subnets"},
        {"DescribeNetworkInterfaces", "NetworkInterfaces"},
        {"DescribeRouteTables", "RouteTables"},
        {"DescribeSecurityGroups", "SecurityGroups"},
        {"DescribeNetworkAcls", "NetworkAcls"},
        {"DescribeNatGateways", "NatGateways"},
        {"DescribeInternetGateways", "InternetGateways"},
        {"DescribeVpcPeeringConnections", "VpcPeeringConnections"},
        {"DescribeInstances", "Reservations"},
};

static json_t *fetch(struct client *c, const char *vpc, struct error *e)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		json_t *answer = i == 0 && vpc ? client_call(c, e, parts[i].action, "VpcId.1", vpc, NULL)
		                               : client_call(c, e, parts[i].action, NULL);

		if (!answer) {
			json_decref(all);
			return NULL;
		}
		json_object_set(all, parts[i].list, json_object_get(answer, parts[i].list));
		json_decref(answer);
	}
	return all;
}

#define EACH(all, list, item) json_array_foreach(json_object_get(all, list), item##_at, item)

static const char *name_of(const json_t *v, char text[160])
{
	const char *name = find_tag(v, "Name");

	snprintf(text, 160, "%s%.150s%s", *name ? " \"" : "", name, *name ? "\"" : "");
	return text;
}

/* ---- interfaces ---- */

static const json_t *instance_of(const json_t *all, const char *id)
{
	const json_t *reservation, *instance;
	size_t reservation_at, instance_at;

	EACH(all, "Reservations", reservation)
	EACH(reservation, "Instances", instance)
	if (!strcmp(client_text(instance, "InstanceId"), id))
		return instance;
	return NULL;
}

static void draw_traffic(struct tree *t, const struct datapath_interface *counted)
{
	char in[24], out[24], dropped[64] = "";

	if (!counted)
		return;
	if (counted->in_dropped)
		snprintf(dropped, sizeof(dropped), ", %llu dropped", (unsigned long long)counted->in_dropped);
	tree_add(t, "in %s, out %s%s", net_counters_bytes(in, counted->in_bytes),
	         net_counters_bytes(out, counted->out_bytes), dropped);
}

static void draw_interface(struct tree *subnet, const json_t *all, const json_t *interface,
                           const struct datapath_counters *counters)
{
	const char *id = client_text(interface, "Attachment.InstanceId");
	const json_t *instance = instance_of(all, id), *item;
	struct buffer groups = {0};
	struct tree *t;
	char name[160];
	size_t item_at;

	EACH(interface, "Groups", item)
	buffer_printf(&groups, "%s%s", item_at ? ", " : "", client_text(item, "GroupName"));
	if (instance)
		t = tree_add(subnet, "%s %s%s %s%s%s: %s", client_text(interface, "NetworkInterfaceId"), id,
		             name_of(instance, name), table_colour(client_text(instance, "State.Name")),
		             client_text(instance, "State.Name"), table_plain(), buffer_str(&groups));
	else
		t = tree_add(subnet, "%s %s%s%s", client_text(interface, "NetworkInterfaceId"),
		             client_text(interface,
		                         *client_text(interface, "Description") ? "Description" : "Status"),
		             groups.length ? ": " : "", buffer_str(&groups));
	buffer_release(&groups);
	EACH(interface, "PrivateIpAddresses", item)
	{
		const char *public = client_text(item, "Association.PublicIp");

		tree_add(t, "%s%s%s", client_text(item, "PrivateIpAddress"), *public ? " as " : "", public);
	}
	EACH(interface, "Ipv6Addresses", item)
	tree_add(t, "%s", client_text(item, "Ipv6Address"));
	draw_traffic(t, net_counters_interface(counters, client_text(interface, "NetworkInterfaceId")));
}

/* ---- subnets ---- */

/* The id of the table or ACL that a subnet has: the one associated with it, or the VPC's own. */
static const char *that_of(const json_t *all, const char *list, const char *id, const char *vpc,
                           const char *subnet)
{
	const char *own = "";
	const json_t *item, *association;
	size_t item_at, association_at;

	EACH(all, list, item)
	{
		if (strcmp(client_text(item, "VpcId"), vpc))
			continue;
		if (json_is_true(json_object_get(item, "IsDefault")))
			own = client_text(item, id);
		EACH(item, "Associations", association)
		{
			if (!strcmp(client_text(association, "SubnetId"), subnet))
				return client_text(item, id);
			if (json_is_true(json_object_get(association, "Main")))
				own = client_text(item, id);
		}
	}
	return own;
}

static void draw_subnets(struct tree *vpc, const json_t *all, const char *id,
                         const struct datapath_counters *counters)
{
	const json_t *subnet, *item;
	size_t subnet_at, item_at;
	char name[160];

	EACH(all, "Subnets", subnet)
	{
		const char *of = client_text(subnet, "SubnetId"), *block = client_text(subnet, "CidrBlock");
		struct buffer blocks = {0};
		struct tree *t;

		if (strcmp(client_text(subnet, "VpcId"), id))
			continue;
		buffer_printf(&blocks, "%s%s", *block ? " " : "", block);
		EACH(subnet, "Ipv6CidrBlockAssociationSet", item)
		buffer_printf(&blocks, " %s", client_text(item, "Ipv6CidrBlock"));
		t = tree_add(vpc, "%s%s%s %s, %s, %s", of, name_of(subnet, name), buffer_str(&blocks),
		             client_text(subnet, "AvailabilityZone"),
		             that_of(all, "RouteTables", "RouteTableId", id, of),
		             that_of(all, "NetworkAcls", "NetworkAclId", id, of));
		buffer_release(&blocks);
		EACH(all, "NetworkInterfaces", item)
		if (!strcmp(client_text(item, "SubnetId"), of))
			draw_interface(t, all, item, counters);
		EACH(all, "NatGateways", item)
		if (!strcmp(client_text(item, "SubnetId"), of) &&
		    strcmp(client_text(item, "State"), "deleted"))
			tree_add(t, "%s %s as %s", client_text(item, "NatGatewayId"),
			         client_text(item, "State"),
			         client_text(item, "NatGatewayAddresses.0.PublicIp"));
	}
}

/* ---- routes, groups, ACLs ---- */

/* The first of these members that is there. */
static const char *first_of(const json_t *v, const char *const *members)
{
	for (; *members; members++)
		if (*client_text(v, *members))
			return client_text(v, *members);
	return "";
}

static void draw_routes(struct tree *vpc, const json_t *all, const char *id)
{
	static const char *const to[] = {"DestinationCidrBlock", "DestinationIpv6CidrBlock",
	                                 "DestinationPrefixListId", NULL};
	static const char *const via[] = {"GatewayId",
	                                  "NatGatewayId",
	                                  "NetworkInterfaceId",
	                                  "VpcPeeringConnectionId",
	                                  "EgressOnlyInternetGatewayId",
	                                  NULL};
	const json_t *table, *route;
	size_t table_at, route_at;
	char name[160];

	EACH(all, "RouteTables", table)
	{
		struct tree *t;

		if (strcmp(client_text(table, "VpcId"), id))
			continue;
		t = tree_add(vpc, "%s%s%s", client_text(table, "RouteTableId"), name_of(table, name),
		             json_is_true(json_object_get(
		                     json_array_get(json_object_get(table, "Associations"), 0), "Main"))
		                     ? " main"
		                     : "");
		EACH(table, "Routes", route)
		tree_add(t, "%s to %s%s", first_of(route, to), first_of(route, via),
		         strcmp(client_text(route, "State"), "blackhole") ? "" : ", a black hole");
	}
}

static long long number(const json_t *v, const char *member)
{
	return (long long)json_integer_value(json_object_get(v, member));
}

/* "tcp 22", "icmp", "icmp type 8", "icmp type 3 code 4", "all" */
static const char *service(const json_t *v, char text[64])
{
	const char *protocol = client_text(v, "IpProtocol");
	long long from = number(v, "FromPort"), to = number(v, "ToPort");
	bool ports = json_object_get(v, "FromPort") && from >= 0;

	if (!strcmp(protocol, "-1"))
		snprintf(text, 64, "all");
	else if (ports && !strncmp(protocol, "icmp", 4) && to < 0)
		snprintf(text, 64, "%.20s type %lld", protocol, from);
	else if (ports && !strncmp(protocol, "icmp", 4))
		snprintf(text, 64, "%.9s type %lld code %lld", protocol, from, to);
	else if (ports && from == to)
		snprintf(text, 64, "%.20s %lld", protocol, from);
	else if (ports)
		snprintf(text, 64, "%.20s %lld-%lld", protocol, from, to);
	else
		snprintf(text, 64, "%.20s", protocol);
	return text;
}

static void draw_rules(struct tree *group, const json_t *v, const char *list, const char *way)
{
	static const struct {
		const char *list, *member;
	} peers[] = {{"IpRanges", "CidrIp"},
	             {"Ipv6Ranges", "CidrIpv6"},
	             {"PrefixListIds", "PrefixListId"},
	             {"UserIdGroupPairs", "GroupId"}};
	const json_t *permission, *peer;
	size_t permission_at, peer_at;
	char text[64];

	EACH(v, list, permission)
	for (unsigned i = 0; i < ARRAY_SIZE(peers); i++)
		EACH(permission, peers[i].list, peer)
	tree_add(group, "%s %s %s", service(permission, text), way, client_text(peer, peers[i].member));
}

static void draw_groups(struct tree *vpc, const json_t *all, const char *id,
                        const struct datapath_counters *counters)
{
	const json_t *group;
	size_t group_at;

	EACH(all, "SecurityGroups", group)
	{
		struct tree *t;

		if (strcmp(client_text(group, "VpcId"), id))
			continue;
		t = tree_add(vpc, "%s %s", client_text(group, "GroupId"), client_text(group, "GroupName"));
		draw_rules(t, group, "IpPermissions", "from");
		draw_rules(t, group, "IpPermissionsEgress", "to");
		if (counters->rules_count)
			tree_add(t, "packets let through: %llu",
			         (unsigned long long)net_counters_group(counters,
			                                                client_text(group, "GroupId")));
	}
}

static void draw_acls(struct tree *vpc, const json_t *all, const char *id)
{
	const json_t *acl, *entry;
	size_t acl_at, entry_at;

	EACH(all, "NetworkAcls", acl)
	{
		struct tree *t;

		if (strcmp(client_text(acl, "VpcId"), id))
			continue;
		t = tree_add(vpc, "%s", client_text(acl, "NetworkAclId"));
		EACH(acl, "Entries", entry)
		{
			const char *block = client_text(entry, "CidrBlock");
			const json_t *ports = json_object_get(entry, "PortRange");
			const char *protocol = client_text(entry, "Protocol");
			char range[40] = "";

			if (ports)
				snprintf(range, sizeof(range), " ports %lld-%lld", number(ports, "From"),
				         number(ports, "To"));
			tree_add(t, "%5lld %s %s%s %s %s", number(entry, "RuleNumber"),
			         client_text(entry, "RuleAction"), strcmp(protocol, "-1") ? protocol : "all",
			         range, json_is_true(json_object_get(entry, "Egress")) ? "to" : "from",
			         *block ? block : client_text(entry, "Ipv6CidrBlock"));
		}
	}
}

static void draw_gateways(struct tree *vpc, const json_t *all, const char *id)
{
	const json_t *item, *attachment;
	size_t item_at, attachment_at;

	EACH(all, "InternetGateways", item)
	EACH(item, "Attachments", attachment)
	if (!strcmp(client_text(attachment, "VpcId"), id))
		tree_add(vpc, "%s to the internet", client_text(item, "InternetGatewayId"));
	EACH(all, "VpcPeeringConnections", item)
	{
		const char *one = client_text(item, "RequesterVpcInfo.VpcId"),
		           *other = client_text(item, "AccepterVpcInfo.VpcId");

		if (!strcmp(one, id) || !strcmp(other, id))
			tree_add(vpc, "%s to %s, %s", client_text(item, "VpcPeeringConnectionId"),
			         strcmp(one, id) ? one : other, client_text(item, "Status.Code"));
	}
}

static void draw(const json_t *all, const json_t *vpc, const char *data)
{
	const char *id = client_text(vpc, "VpcId");
	struct datapath_counters counters;
	struct buffer blocks = {0};
	struct arena arena;
	const json_t *block;
	struct tree *t;
	size_t block_at;
	char name[160];

	EACH(vpc, "CidrBlockAssociationSet", block)
	buffer_printf(&blocks, " %s", client_text(block, "CidrBlock"));
	EACH(vpc, "Ipv6CidrBlockAssociationSet", block)
	buffer_printf(&blocks, " %s", client_text(block, "Ipv6CidrBlock"));
	t = tree_new("%s%s%s%s", id, name_of(vpc, name), buffer_str(&blocks),
	             json_is_true(json_object_get(vpc, "IsDefault")) ? " default" : "");
	buffer_release(&blocks);
	arena_init(&arena);
	net_counters_read(data, id, &arena, &counters);
	draw_gateways(t, all, id);
	draw_subnets(t, all, id, &counters);
	draw_routes(t, all, id);
	draw_groups(t, all, id, &counters);
	draw_acls(t, all, id);
	arena_release(&arena);
	tree_end(t);
}

int net_main(int argc, char **argv)
{
	const char *data = NULL;
	bool json = false;
	const struct verb_option options[] = {{"data", &data, NULL}, {"json", NULL, &json}, {0}};
	int status = options_read(argc, argv, options, usage, 0, 1);
	const json_t *vpc;
	struct client c;
	struct error e;
	json_t *all;
	size_t vpc_at;

	if (status >= 0)
		return status;
	if (client_open(&c, data, &e) < 0)
		return verb_failed("net", &e);
	all = fetch(&c, optind < argc ? argv[optind] : NULL, &e);
	client_close(&c);
	if (!all)
		return verb_failed("net", &e);
	if (json)
		client_print(all);
	else
		EACH(all, "Vpcs", vpc)
	draw(all, vpc, data);
	json_decref(all);
	return fflush(stdout) ? 1 : 0;
}
