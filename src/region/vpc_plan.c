#include "region/vpc_plan.h"
#include "base/cidr.h"
#include "region/dhcp_options.h"
#include "region/egress_only_internet_gateway.h"
#include "region/internet_gateway.h"
#include "region/link.h"
#include "region/nat_gateway.h"
#include "region/network_acl.h"
#include "region/network_interface.h"
#include "region/prefix_list.h"
#include "region/public_pool.h"
#include "region/route_table.h"
#include "region/schedule.h"
#include "region/subnet.h"
#include "region/vpc.h"
#include "region/vpc_peering.h"

#include <stdlib.h>
#include <string.h>

void *plan_items_add(struct arena *a, struct plan_items *items, size_t size)
{
	if (items->count == items->room) {
		char *more = arena_alloc(a, (items->room = items->room ? 2 * items->room : 8) * size);

		if (items->count)
			memcpy(more, items->at, items->count * size);
		items->at = more;
	}
	return items->at + size * items->count++;
}

void plan_items_text(struct arena *a, struct plan_items *items, const char *text)
{
	*(const char **)plan_items_add(a, items, sizeof(const char *)) = arena_strdup(a, text);
}

/* plan->LIST and plan->LIST_count are what was gathered. */
#define PUT(to, list, items) ((to)->list = (void *)(items).at, (to)->list##_count = (items).count)

/* Blocks of a document's list, canonical. */
static void blocks(struct request *r, struct plan_items *items, const struct value *list, const char *member)
{
	for (unsigned i = 0; i < value_count(list); i++) {
		const char *block = value_string(value_item(list, i), member);
		const char *good = block ? cidr_canonical(r->arena, block) : NULL;

		if (good)
			plan_items_text(r->arena, items, good);
	}
}

/* ---- subnets, ACLs ---- */

static const struct resource *table_of(struct request *r, const char *subnet, const struct resource *main)
{
	const char *id = link_source(r, subnet, "associated");
	struct resource *own = id ? resource_find(r, &route_table_kind, id) : NULL;

	return own ? own : main;
}

static void subnets(struct request *r, struct plan *p, struct resource **list)
{
	const struct resource *main = route_table_main(r, p->vpc);
	struct plan_items items = {0};

	for (; *list; list++) {
		struct plan_subnet *s = plan_items_add(r->arena, &items, sizeof(*s));
		const char *cidr = value_string((*list)->doc, "CidrBlock"), *cidr6 = subnet_ipv6_block(*list);
		const struct resource *table = table_of(r, (*list)->id, main);
		const char *acl = link_source(r, (*list)->id, "acl-of");

		*s = (struct plan_subnet){.id = (*list)->id,
		                          .cidr = cidr ? cidr : "",
		                          .cidr6 = cidr6 ? cidr_canonical(r->arena, cidr6) : "",
		                          .table = table ? table->id : "",
		                          .acl = acl ? acl : "",
		                          .dns64 = value_boolean((*list)->doc, "EnableDns64", false)};
	}
	PUT(p, subnets, items);
}

/* The document's numbers; the entry 32767 is what an empty list says. */
static void acls(struct request *r, struct plan *p)
{
	struct plan_items items = {0};

	for (struct resource **list = resource_list(r, &network_acl_kind, p->vpc); *list; list++) {
		struct plan_acl *acl = plan_items_add(r->arena, &items, sizeof(*acl));
		const struct value *entries = value_get((*list)->doc, "Entries");
		struct plan_items of = {0};

		acl->id = (*list)->id;
		for (unsigned i = 0; i < value_count(entries); i++) {
			const struct value *entry = value_item(entries, i), *ports, *icmp;
			const char *v4 = value_string(entry, "CidrBlock"),
			           *v6 = value_string(entry, "Ipv6CidrBlock"), *action;
			struct plan_acl_entry *e = plan_items_add(r->arena, &of, sizeof(*e));

			ports = value_get(entry, "PortRange");
			icmp = value_get(entry, "IcmpTypeCode");
			action = value_string(entry, "RuleAction");
			*e = (struct plan_acl_entry){
			        .egress = value_boolean(entry, "Egress", false),
			        .allow = action && !strcmp(action, "allow"),
			        .cidr = cidr_canonical(r->arena, v4 ? v4 : v6),
			        .protocol = strtoll(value_string(entry, "Protocol"), NULL, 10),
			        .from = ports ? value_integer(ports, "From", -1) : -1,
			        .to = ports ? value_integer(ports, "To", -1) : -1,
			        .icmp_type = icmp ? value_integer(icmp, "Type", -1) : -1,
			        .icmp_code = icmp ? value_integer(icmp, "Code", -1) : -1};
		}
		PUT(acl, entries, of);
	}
	PUT(p, acls, items);
}

/* ---- routes ---- */

static bool is_here(const struct plan *p, const char *interface)
{
	for (unsigned i = 0; i < p->interfaces_count; i++)
		if (!strcmp(p->interfaces[i].id, interface))
			return true;
	return false;
}

/* What a route leads to. False: it is a local one. */
static bool target(const struct plan *p, const struct value *route, struct plan_route *to)
{
	static const struct {
		const char *member, *kind;
	} kinds[] = {{"NatGatewayId", "nat"},
	             {"NetworkInterfaceId", "interface"},
	             {"EgressOnlyInternetGatewayId", "egress-only"},
	             {"VpcPeeringConnectionId", "peering"}};
	const char *gateway = value_string(route, "GatewayId"), *state = value_string(route, "State");

	if (gateway && !strcmp(gateway, "local"))
		return false;
	*to = (struct plan_route){.kind = "blackhole", .target = ""};
	if (state && strcmp(state, "active"))
		return true;
	if (gateway && !strncmp(gateway, "igw-", 4))
		*to = (struct plan_route){.kind = "internet", .target = gateway};
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *id = value_string(route, kinds[i].member);

		if (id && (strcmp(kinds[i].kind, "interface") || is_here(p, id)))
			*to = (struct plan_route){.kind = kinds[i].kind, .target = id};
	}
	return true;
}

/* The first route of a destination counts: a block of its own is before those of a prefix list. */
static void add_route(struct request *r, struct plan_items *items, const char *block,
                      const struct plan_route *to)
{
	const struct plan_route *has = (const void *)items->at;
	const char *good = cidr_canonical(r->arena, block);
	struct plan_route *route;

	for (unsigned i = 0; i < items->count; i++)
		if (good && !strcmp(has[i].to, good))
			return;
	if (!good)
		return;
	route = plan_items_add(r->arena, items, sizeof(*route));
	*route = *to;
	route->to = good;
}

static void tables(struct request *r, struct plan *p)
{
	struct plan_items items = {0};

	for (struct resource **list = resource_list(r, &route_table_kind, p->vpc); *list; list++) {
		struct plan_table *table = plan_items_add(r->arena, &items, sizeof(*table));
		const struct value *routes = value_get((*list)->doc, "Routes");
		struct plan_items of = {0};

		table->id = (*list)->id;
		for (unsigned lists = 0; lists < 2; lists++)
			for (unsigned i = 0; i < value_count(routes); i++) {
				const struct value *route = value_item(routes, i);
				const char *v4 = value_string(route, "DestinationCidrBlock"),
				           *v6 = value_string(route, "DestinationIpv6CidrBlock"),
				           *named = value_string(route, "DestinationPrefixListId");
				struct plan_route to;

				if (!target(p, route, &to) || (named != NULL) != (lists == 1))
					continue;
				if (v4 || v6)
					add_route(r, &of, v4 ? v4 : v6, &to);
				for (const char **b = named ? prefix_list_blocks(r, named) : NULL; b && *b;
				     b++)
					add_route(r, &of, *b, &to);
			}
		PUT(table, routes, of);
	}
	PUT(p, tables, items);
}

/* ---- gateways, peers ---- */

static void nats(struct request *r, struct plan *p)
{
	struct plan_items items = {0};

	for (struct resource **list = resource_list(r, &nat_gateway_kind, p->vpc); *list; list++) {
		const struct value *addresses = value_get((*list)->doc, "NatGatewayAddresses");
		const char *private, *public;
		struct plan_nat *nat;

		if (strcmp((*list)->state, "available") || !value_count(addresses))
			continue;
		private = value_string(value_item(addresses, 0), "PrivateIp");
		public = value_string(value_item(addresses, 0), "PublicIp");
		nat = plan_items_add(r->arena, &items, sizeof(*nat));
		*nat = (struct plan_nat){.id = (*list)->id,
		                         .subnet = value_string((*list)->doc, "SubnetId"),
		                         .private = private ? private : "",
		                         .public = public ? public : ""};
	}
	PUT(p, nats, items);
}

static struct resource **interfaces(struct request *r, struct resource **list)
{
	struct plan_items items = {0};

	for (; *list; list++)
		for (struct resource **of = resource_list(r, &network_interface_kind, (*list)->id); *of; of++)
			*(struct resource **)plan_items_add(r->arena, &items, sizeof(*of)) = *of;
	plan_items_add(r->arena, &items, sizeof(struct resource *));
	return (void *)items.at;
}

/* May those who are peered with it resolve names of the VPC as it does itself? */
static bool shows_names(const struct resource *peering, const char *vpc)
{
	const struct value *info = value_get(peering->doc, "RequesterVpcInfo");

	if (strcmp(value_string(info, "VpcId"), vpc))
		info = value_get(peering->doc, "AccepterVpcInfo");
	return value_boolean(value_get(info, "PeeringOptions"), "AllowDnsResolutionFromRemoteVpc", false);
}

static void peerings(struct request *r, struct plan *p, struct plan_items *names)
{
	struct plan_items items = {0};

	for (const char **ids = link_sources(r, p->vpc, "peer"); *ids; ids++) {
		struct resource *peering = resource_find(r, &vpc_peering_kind, *ids), *other;
		struct plan_items of = {0};
		struct plan_peering *peer;
		const char *id;

		if (!peering)
			continue;
		id = value_path(peering->doc, "RequesterVpcInfo.VpcId");
		if (!strcmp(id, p->vpc))
			id = value_path(peering->doc, "AccepterVpcInfo.VpcId");
		other = resource_find(r, &vpc_kind, id);
		if (!other)
			continue;
		blocks(r, &of, value_get(other->doc, "CidrBlockAssociationSet"), "CidrBlock");
		blocks(r, &of, value_get(other->doc, "Ipv6CidrBlockAssociationSet"), "Ipv6CidrBlock");
		peer = plan_items_add(r->arena, &items, sizeof(*peer));
		*peer = (struct plan_peering){.id = peering->id, .vpc = other->id};
		PUT(peer, cidrs, of);
		if (shows_names(peering, other->id))
			vpc_plan_names(r, names, interfaces(r, resource_list(r, &subnet_kind, other->id)),
			               vpc_attribute(r, other->id, "enableDnsHostnames"));
	}
	PUT(p, peerings, items);
}

/* ---- DHCP ---- */

static void dhcp(struct request *r, struct plan *p, const struct resource *vpc)
{
	const char *id = value_string(vpc->doc, "DhcpOptionsId");
	struct resource *set = id ? resource_find(r, &dhcp_options_kind, id) : NULL;
	const struct value *list = set ? value_get(set->doc, "DhcpConfigurations") : NULL;
	struct plan_items dns = {0}, ntp = {0}, netbios = {0};
	struct plan_dhcp *d = &p->dhcp;

	d->domain = "";
	for (unsigned i = 0; i < value_count(list); i++) {
		const char *key = value_string(value_item(list, i), "Key");
		const struct value *values = value_get(value_item(list, i), "Values");
		struct plan_items *to = !strcmp(key, "domain-name-servers")    ? &dns
		                        : !strcmp(key, "ntp-servers")          ? &ntp
		                        : !strcmp(key, "netbios-name-servers") ? &netbios
		                                                               : NULL;

		for (unsigned k = 0; k < value_count(values); k++) {
			const char *text = value_string(value_item(values, k), "Value");

			if (to)
				plan_items_text(r->arena, to, text);
			else if (!strcmp(key, "domain-name"))
				d->domain = text;
			else if (!strcmp(key, "netbios-node-type"))
				d->netbios_type = strtoll(text, NULL, 10);
		}
	}
	PUT(d, dns, dns);
	PUT(d, ntp, ntp);
	PUT(d, netbios, netbios);
}

/* ---- the whole ---- */

int vpc_plan_make(struct request *r, const char *id, struct plan *p, const char *const **instances)
{
	struct resource *vpc = resource_find(r, &vpc_kind, id), **nets, **all;
	struct plan_items v4 = {0}, v6 = {0}, names = {0};

	if (!vpc)
		return -1;
	*p = (struct plan){.vpc = vpc->id,
	                   .region = r->region,
	                   .account = r->account,
	                   .host = public_host_address(r),
	                   .internet = internet_gateway_of(r, id) != NULL,
	                   .egress_only = resource_count(r, &egress_only_internet_gateway_kind, id) > 0,
	                   .dns = vpc_attribute(r, id, "enableDnsSupport"),
	                   .dns_names = vpc_attribute(r, id, "enableDnsHostnames")};
	blocks(r, &v4, value_get(vpc->doc, "CidrBlockAssociationSet"), "CidrBlock");
	blocks(r, &v6, value_get(vpc->doc, "Ipv6CidrBlockAssociationSet"), "Ipv6CidrBlock");
	PUT(p, cidrs, v4);
	PUT(p, cidrs6, v6);
	nets = resource_list(r, &subnet_kind, id);
	all = interfaces(r, nets);
	dhcp(r, p, vpc);
	subnets(r, p, nets);
	acls(r, p);
	vpc_plan_interfaces(r, p, all, instances);
	vpc_plan_groups(r, p, all);
	vpc_plan_names(r, &names, all, p->dns_names);
	tables(r, p);
	nats(r, p);
	peerings(r, p, &names);
	PUT(p, names, names);
	return 0;
}

/* ---- who is here ---- */

/* An instance's first key is its VPC's id (instance_kind.indexed). */
#define HERE                                                                          \
	"FROM machine m JOIN resource i ON i.id = m.instance WHERE i.key1 <> '' AND " \
	"m.host = $1 AND m.status NOT IN ('stopped', 'terminated')"

bool vpc_plan_wanted(struct request *r, const char *vpc)
{
	struct query *q = database_query(r->cloud->db, "SELECT 1 " HERE " AND i.key1 = $2 LIMIT 1");
	bool wanted = query_row(query_text(query_text(q, HOST_LOCAL), vpc));

	query_end(q);
	return wanted;
}

const char **vpc_plan_list(struct request *r)
{
	struct query *q =
	        query_text(database_query(r->cloud->db, "SELECT DISTINCT i.key1 " HERE), HOST_LOCAL);
	struct plan_items items = {0};

	while (query_row(q))
		plan_items_text(r->arena, &items, query_column_text(q, 0));
	plan_items_add(r->arena, &items, sizeof(const char *));
	return (void *)items.at;
}
