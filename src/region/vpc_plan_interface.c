#include "base/cidr.h"
#include "region/flow_log.h"
#include "region/instance.h"
#include "region/link.h"
#include "region/network_interface.h"
#include "region/prefix_list.h"
#include "region/public_pool.h"
#include "region/schedule.h"
#include "region/security_group.h"
#include "region/security_group_rule.h"
#include "region/subnet.h"
#include "region/vpc.h"
#include "region/vpc_plan.h"

#include <stdlib.h>
#include <string.h>

#define PUT(to, list, items) ((to)->list = (void *)(items).at, (to)->list##_count = (items).count)

/* ---- interfaces ---- */

static const char *instance_of(const struct resource *interface)
{
	return value_path(interface->doc, "Attachment.InstanceId");
}

bool vpc_plan_has_machine(struct request *r, const struct resource *interface)
{
	const char *id = instance_of(interface);
	const struct machine *m = id ? machine_find(r, id) : NULL;

	return m && !strcmp(m->host, HOST_LOCAL) && strcmp(m->status, "stopped") &&
	       strcmp(m->status, "terminated");
}

/* Texts of a document's list, one member of each item. */
static void texts(struct request *r, struct plan_items *items, const struct resource *interface,
                  const char *list, const char *member)
{
	const struct value *of = value_get(interface->doc, list);

	for (unsigned i = 0; i < value_count(of); i++)
		if (value_string(value_item(of, i), member))
			plan_items_text(r->arena, items, value_string(value_item(of, i), member));
}

static void addresses(struct request *r, struct plan_interface *out, const struct resource *interface)
{
	const struct value *list = value_get(interface->doc, "PrivateIpAddresses");
	struct plan_items v4 = {0}, v6 = {0}, prefixes = {0}, publics = {0};

	for (unsigned primary = 2; primary-- > 0;)
		for (unsigned i = 0; i < value_count(list); i++)
			if (value_boolean(value_item(list, i), "Primary", false) == primary)
				plan_items_text(r->arena, &v4,
				                value_string(value_item(list, i), "PrivateIpAddress"));
	texts(r, &v6, interface, "Ipv6Addresses", "Ipv6Address");
	texts(r, &prefixes, interface, "Ipv4Prefixes", "Ipv4Prefix");
	texts(r, &prefixes, interface, "Ipv6Prefixes", "Ipv6Prefix");
	for (unsigned i = 0; i < value_count(list); i++) {
		const char *address = value_path(value_item(list, i), "Association.PublicIp");
		struct plan_public *public;

		if (!address)
			continue;
		public = plan_items_add(r->arena, &publics, sizeof(*public));
		public->address = address;
		public->private = value_string(value_item(list, i), "PrivateIpAddress");
	}
	PUT(out, addresses, v4);
	PUT(out, addresses6, v6);
	PUT(out, prefixes, prefixes);
	PUT(out, publics, publics);
}

/* Of the instance, or of the subnet it was launched into. */
static const struct value *name_options(struct request *r, const struct resource *interface,
                                        const struct resource *instance)
{
	const struct value *own = instance ? value_get(instance->doc, "PrivateDnsNameOptions") : NULL;
	struct resource *subnet;

	if (own)
		return own;
	subnet = resource_find(r, &subnet_kind, interface->parent);
	return subnet ? value_get(subnet->doc, "PrivateDnsNameOptionsOnLaunch") : NULL;
}

static bool has_resource_name(const struct value *options)
{
	const char *type = value_string(options, "HostnameType");

	return type && !strcmp(type, "resource-name");
}

/* The first label of its private DNS name. */
static const char *host_name(struct request *r, const struct resource *interface, const char *instance)
{
	const char *address = value_string(interface->doc, "PrivateIpAddress"), *dot;
	struct resource *of = resource_find(r, &instance_kind, instance);

	if (!address || has_resource_name(name_options(r, interface, of)))
		return instance;
	address = private_dns_name(r, address);
	dot = strchr(address, '.');
	return arena_text(r->arena, address, (size_t)(dot - address));
}

/* Its own flow logs, its subnet's and its VPC's count together. */
static void log_of(struct request *r, const struct plan *p, const struct resource *interface,
                   struct plan_interface *out)
{
	const char *const of[] = {interface->id, interface->parent, p->vpc};

	out->log_only = "";
	for (unsigned i = 0; i < ARRAY_SIZE(of); i++)
		for (struct resource **l = resource_list(r, &flow_log_kind, of[i]); *l; l++) {
			const char *traffic = value_string((*l)->doc, "TrafficType");

			if (!strcmp(traffic, "ALL") || (out->log && strcmp(traffic, out->log_only)))
				traffic = "";
			out->log = true;
			out->log_only = traffic;
		}
}

void vpc_plan_interfaces(struct request *r, struct plan *p, struct resource **all,
                         const char *const **instances)
{
	struct plan_items items = {0}, machines = {0};

	for (; *all; all++) {
		const struct value *attachment = value_get((*all)->doc, "Attachment");
		struct plan_items groups = {0};
		struct plan_interface *out;
		char tap[PLAN_TAP];
		bool known = false;

		if (!vpc_plan_has_machine(r, *all))
			continue;
		plan_tap_name(tap, (*all)->id);
		out = plan_items_add(r->arena, &items, sizeof(*out));
		*out = (struct plan_interface){.id = (*all)->id,
		                               .tap = arena_strdup(r->arena, tap),
		                               .instance = instance_of(*all),
		                               .subnet = (*all)->parent,
		                               .mac = value_string((*all)->doc, "MacAddress"),
		                               .device = value_integer(attachment, "DeviceIndex", 0),
		                               .check = value_boolean((*all)->doc, "SourceDestCheck", true)};
		log_of(r, p, *all, out);
		out->name = host_name(r, *all, out->instance);
		addresses(r, out, *all);
		texts(r, &groups, *all, "Groups", "GroupId");
		PUT(out, groups, groups);
		for (unsigned i = 0; i < machines.count; i++)
			known |= !strcmp(((const char **)(void *)machines.at)[i], out->instance);
		if (!known)
			plan_items_text(r->arena, &machines, out->instance);
	}
	PUT(p, interfaces, items);
	plan_items_add(r->arena, &machines, sizeof(const char *));
	if (instances)
		*instances = (const char *const *)(void *)machines.at;
}

/* ---- groups ---- */

static s64 protocol_of(const char *text)
{
	static const struct {
		const char *name;
		s64 number;
	} names[] = {{"tcp", 6}, {"udp", 17}, {"icmp", 1}, {"icmpv6", 58}};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i].name))
			return names[i].number;
	return strtoll(text, NULL, 10);
}

static void rule(struct request *r, struct plan_items *items, const struct value *doc)
{
	const char *v4 = value_string(doc, "CidrIpv4"), *v6 = value_string(doc, "CidrIpv6"),
	           *list = value_string(doc, "PrefixListId"), *group;
	s64 from = value_integer(doc, "FromPort", -1), to = value_integer(doc, "ToPort", -1);
	struct plan_items prefixes = {0};
	struct plan_rule *out;

	group = value_path(doc, "ReferencedGroupInfo.GroupId");
	for (const char **b = list ? prefix_list_blocks(r, list) : NULL; b && *b; b++)
		plan_items_text(r->arena, &prefixes, cidr_canonical(r->arena, *b));
	if (!v4 && !v6 && !group && !prefixes.count) /* an empty list allows nothing */
		return;
	out = plan_items_add(r->arena, items, sizeof(*out));
	*out = (struct plan_rule){.egress = value_boolean(doc, "IsEgress", false),
	                          .protocol = protocol_of(value_string(doc, "IpProtocol")),
	                          .from = -1,
	                          .to = -1,
	                          .icmp_type = -1,
	                          .icmp_code = -1,
	                          .cidr = v4 || v6 ? cidr_canonical(r->arena, v4 ? v4 : v6) : "",
	                          .group = group ? group : ""};
	PUT(out, prefixes, prefixes);
	if (out->protocol == 1 || out->protocol == 58) {
		out->icmp_type = from;
		out->icmp_code = to;
	} else if (out->protocol == 6 || out->protocol == 17) {
		out->from = from;
		out->to = to;
	}
}

static void member(struct request *r, struct plan_items *members, const struct resource *interface)
{
	texts(r, members, interface, "PrivateIpAddresses", "PrivateIpAddress");
	texts(r, members, interface, "Ipv6Addresses", "Ipv6Address");
}

static bool is_member(const struct resource *interface, const char *group)
{
	const struct value *groups = value_get(interface->doc, "Groups");

	for (unsigned i = 0; i < value_count(groups); i++)
		if (!strcmp(value_string(value_item(groups, i), "GroupId"), group))
			return true;
	return false;
}

static bool has_group(const struct plan_items *items, const char *id)
{
	const struct plan_group *list = (const void *)items->at;

	for (unsigned i = 0; i < items->count; i++)
		if (!strcmp(list[i].id, id))
			return true;
	return false;
}

static bool is_peered(struct request *r, const char *group, const char *vpc)
{
	const struct resource *found = resource_find(r, &security_group_kind, group);

	return found && vpc_peering_between(r, found->parent, vpc);
}

/* Groups of other VPCs that rules refer to: who is in them. A reference that is stale is to nobody: another
 * peer may have the same addresses. */
static void peers(struct request *r, struct plan_items *items, const char *vpc)
{
	unsigned own = items->count;

	for (unsigned i = 0; i < own; i++) {
		struct plan_group g = ((struct plan_group *)(void *)items->at)[i];

		for (unsigned k = 0; k < g.rules_count; k++) {
			const char *id = g.rules[k].group;
			struct plan_items members = {0};
			struct plan_group *out;

			if (!*id || has_group(items, id))
				continue;
			for (const char **of = link_sources(r, id, "group"); *of && is_peered(r, id, vpc);
			     of++) {
				struct resource *i_ = resource_find(r, &network_interface_kind, *of);

				if (i_)
					member(r, &members, i_);
			}
			out = plan_items_add(r->arena, items, sizeof(*out));
			out->id = id;
			PUT(out, members, members);
		}
	}
}

void vpc_plan_groups(struct request *r, struct plan *p, struct resource **all)
{
	struct plan_items items = {0};

	for (struct resource **list = resource_list(r, &security_group_kind, p->vpc); *list; list++) {
		struct plan_group *out = plan_items_add(r->arena, &items, sizeof(*out));
		struct plan_items members = {0}, rules = {0};

		out->id = (*list)->id;
		for (struct resource **i = all; *i; i++)
			if (is_member(*i, (*list)->id))
				member(r, &members, *i);
		for (struct resource **i = resource_list(r, &security_group_rule_kind, (*list)->id); *i; i++)
			rule(r, &rules, (*i)->doc);
		PUT(out, members, members);
		PUT(out, rules, rules);
	}
	peers(r, &items, p->vpc);
	PUT(p, groups, items);
}

/* ---- names ---- */

static void name(struct request *r, struct plan_items *items, const char *text, const char *address,
                 bool reverse)
{
	struct plan_name *n = plan_items_add(r->arena, items, sizeof(*n));

	*n = (struct plan_name){.name = text, .address = address, .reverse = reverse};
}

/* "i-0123….ec2.internal", for what the options say. */
static void resource_names(struct request *r, struct plan_items *items, const struct resource *interface)
{
	const char *id = instance_of(interface), *v4;
	struct resource *instance = id ? resource_find(r, &instance_kind, id) : NULL;
	const struct value *options = name_options(r, interface, instance), *v6;
	bool first = has_resource_name(options);

	if (!id || value_integer(value_get(interface->doc, "Attachment"), "DeviceIndex", 0))
		return;
	id = resource_dns_name(r, id);
	v4 = value_string(interface->doc, "PrivateIpAddress");
	if (v4 && value_boolean(options, "EnableResourceNameDnsARecord", false))
		name(r, items, id, v4, false);
	v6 = value_get(interface->doc, "Ipv6Addresses");
	if (first || value_boolean(options, "EnableResourceNameDnsAAAARecord", false))
		for (unsigned i = 0; i < value_count(v6); i++)
			name(r, items, id, value_string(value_item(v6, i), "Ipv6Address"), true);
}

void vpc_plan_names(struct request *r, struct plan_items *items, struct resource **all, bool publics)
{
	for (; *all; all++) {
		const struct value *list = value_get((*all)->doc, "PrivateIpAddresses");

		for (unsigned i = 0; i < value_count(list); i++) {
			const struct value *item = value_item(list, i);
			const char *address = value_string(item, "PrivateIpAddress"),
			           *public = value_path(item, "Association.PublicIp");

			name(r, items, private_dns_name(r, address), address, true);
			if (public && publics)
				name(r, items, public_dns_name(r, public), address, false);
		}
		resource_names(r, items, *all);
	}
}
