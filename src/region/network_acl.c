#include "region/network_acl.h"
#include "base/cidr.h"
#include "region/describe.h"
#include "region/link.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *const filters[] = {"association.association-id",
                                      "Associations.NetworkAclAssociationId",
                                      "association.network-acl-id",
                                      "Associations.NetworkAclId",
                                      "association.subnet-id",
                                      "Associations.SubnetId",
                                      "default",
                                      "IsDefault",
                                      "entry.cidr",
                                      "Entries.CidrBlock",
                                      "entry.ipv6-cidr",
                                      "Entries.Ipv6CidrBlock",
                                      "entry.icmp.code",
                                      "Entries.IcmpTypeCode.Code",
                                      "entry.icmp.type",
                                      "Entries.IcmpTypeCode.Type",
                                      "entry.port-range.from",
                                      "Entries.PortRange.From",
                                      "entry.port-range.to",
                                      "Entries.PortRange.To",
                                      "entry.protocol",
                                      "Entries.Protocol",
                                      "entry.rule-action",
                                      "Entries.RuleAction",
                                      "entry.egress",
                                      "Entries.Egress",
                                      "entry.rule-number",
                                      "Entries.RuleNumber",
                                      NULL};

RESOURCE_KIND(network_acl_kind) = {
        .name = "network-acl",
        .prefix = "acl-",
        .shape = "NetworkAcl",
        .id = "NetworkAclId",
        .noun = "NetworkAclID",
        .malformed = "InvalidNetworkAclId.Malformed",
        .filters = filters,
};

enum { NUMBER_MAX = 32766, NUMBER_LAST = 32767, NUMBER_LAST_IPV6 = 32768, ACLS_MAX = 500, ENTRIES_MAX = 80 };

/* ---- entries ---- */

/* A new entry in its place: by direction, then by number. */
static struct value *new_entry(struct value *entries, bool egress, s64 number)
{
	struct value *entry = value_append(entries);
	unsigned at = entries->count - 1;

	for (; at; at--) {
		const struct value *before = value_item(entries, at - 1);
		bool of_egress = value_boolean(before, "Egress", false);

		/* as EC2 lists them: egress first */
		if (of_egress != egress ? of_egress : value_integer(before, "RuleNumber", 0) < number)
			break;
		entries->items[at] = entries->items[at - 1];
	}
	entries->items[at] = entry;
	value_set_boolean(entry, "Egress", egress);
	value_set_integer(entry, "RuleNumber", number);
	return entry;
}

static void add_all(struct resource *acl, s64 number, const char *action, const char *block)
{
	for (unsigned egress = 0; egress < 2; egress++) {
		struct value *entry = new_entry(value_open(acl->doc, "Entries"), egress, number);

		value_set_string(entry, "Protocol", "-1");
		value_set_string(entry, "RuleAction", action);
		value_set_string(entry, strchr(block, ':') ? "Ipv6CidrBlock" : "CidrBlock", block);
	}
}

static struct value *find_entry(const struct resource *acl, bool egress, s64 number, unsigned *at)
{
	const struct value *entries = value_get(acl->doc, "Entries");

	for (unsigned i = 0; i < value_count(entries); i++) {
		struct value *entry = value_item(entries, i);

		if (value_boolean(entry, "Egress", false) == egress &&
		    value_integer(entry, "RuleNumber", 0) == number) {
			*at = i;
			return entry;
		}
	}
	return NULL;
}

/* A protocol's number, "-1" for all. NULL with r->fault. */
static const char *read_protocol(struct request *r)
{
	static const char *const names[][2] = {
	        {"tcp", "6"}, {"udp", "17"}, {"icmp", "1"}, {"all", "-1"}, {"icmpv6", "58"}};
	const char *text = value_string(r->in, "Protocol");
	char *end;
	long number = strtol(text, &end, 10);

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcasecmp(text, names[i][0]))
			return names[i][1];
	if (!strcmp(text, "-1"))
		return text;
	if (*end || !isdigit((unsigned char)*text) || number > 255) {
		request_fail(r, "InvalidParameterValue",
		             "Invalid value '%.64s' for IP protocol. Unknown protocol.", text);
		return NULL;
	}
	return arena_printf(r->arena, "%ld", number);
}

/* What the request says of an entry, checked (EC2 API Reference: CreateNetworkAclEntry). */
static int fill_entry(struct request *r, struct value *entry)
{
	const char *v4 = value_string(r->in, "CidrBlock"), *v6 = value_string(r->in, "Ipv6CidrBlock");
	const struct value *ports = value_get(r->in, "PortRange"), *icmp = value_get(r->in, "IcmpTypeCode");
	const char *protocol = read_protocol(r);
	struct cidr c;
	s64 from, to;

	if (!protocol)
		return -1;
	if (!v4 == !v6)
		return request_fail(r, v4 ? "InvalidParameterCombination" : "MissingParameter",
		                    "Either 'cidrBlock' or 'ipv6CidrBlock' should be provided.");
	if (cidr_parse(&c, v4 ? v4 : v6) < 0 || c.first.v6 != (v6 != NULL))
		return request_fail(
		        r, "InvalidParameterValue",
		        "Value (%.64s) for parameter %s is invalid. This is not a valid CIDR block.",
		        v4 ? v4 : v6, v4 ? "cidrBlock" : "ipv6CidrBlock");
	value_set_string(entry, "Protocol", protocol);
	value_set_string(entry, "RuleAction", value_string(r->in, "RuleAction"));
	value_set_string(entry, v4 ? "CidrBlock" : "Ipv6CidrBlock", cidr_text(r->arena, c));
	if (!strcmp(protocol, "6") || !strcmp(protocol, "17")) {
		if (!ports || !value_get(ports, "From") || !value_get(ports, "To"))
			return request_fail(
			        r, "MissingParameter",
			        "The request must contain the parameter portRange for TCP and UDP");
		from = value_integer(ports, "From", 0);
		to = value_integer(ports, "To", 0);
		if (from == -1 && to == -1) {
			from = 0;
			to = 65535;
		}
		if (from < 0 || to > 65535 || from > to)
			return request_fail(r, "InvalidParameterValue",
			                    "Invalid TCP/UDP port range (%lld:%lld)", (long long)from,
			                    (long long)to);
		value_set_integer(value_open(entry, "PortRange"), "From", from);
		value_set_integer(value_open(entry, "PortRange"), "To", to);
	}
	if (!strcmp(protocol, "1") || !strcmp(protocol, "58")) {
		if (!icmp)
			return request_fail(r, "MissingParameter",
			                    "The request must contain the parameter icmpTypeCode for ICMP");
		from = value_integer(icmp, "Type", -1);
		to = value_integer(icmp, "Code", -1);
		if (from < -1 || from > 255 || to < -1 || to > 255)
			return request_fail(r, "InvalidParameterValue",
			                    "ICMP type %lld or code %lld out of range", (long long)from,
			                    (long long)to);
		value_set_integer(value_open(entry, "IcmpTypeCode"), "Type", from);
		value_set_integer(value_open(entry, "IcmpTypeCode"), "Code", to);
	}
	return 0;
}

static int check_number(struct request *r, s64 number)
{
	if (number < 1 || number > NUMBER_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%lld) for parameter ruleNumber is invalid: 1 to %d",
		                    (long long)number, NUMBER_MAX);
	return 0;
}

ACTION(ec2, CreateNetworkAclEntry)
{
	struct resource *acl = resource_of(r, &network_acl_kind, "NetworkAclId");
	bool egress = value_boolean(r->in, "Egress", false);
	s64 number = value_integer(r->in, "RuleNumber", 0);
	unsigned at;

	if (!acl || check_number(r, number) < 0)
		return -1;
	if (find_entry(acl, egress, number, &at))
		return request_fail(r, "NetworkAclEntryAlreadyExists",
		                    "The network acl entry identified by %lld already exists.",
		                    (long long)number);
	if (value_count(value_get(acl->doc, "Entries")) >= ENTRIES_MAX)
		return request_fail(r, "NetworkAclEntryLimitExceeded",
		                    "The maximum number of network acl entries has been reached.");
	if (fill_entry(r, new_entry(value_open(acl->doc, "Entries"), egress, number)) < 0)
		return -1;
	resource_save(r, acl);
	return 0;
}

ACTION(ec2, ReplaceNetworkAclEntry)
{
	struct resource *acl = resource_of(r, &network_acl_kind, "NetworkAclId");
	bool egress = value_boolean(r->in, "Egress", false);
	s64 number = value_integer(r->in, "RuleNumber", 0);
	unsigned at = 0;

	if (!acl || check_number(r, number) < 0)
		return -1;
	if (!find_entry(acl, egress, number, &at))
		return request_fail(r, "InvalidNetworkAclEntry.NotFound",
		                    "The network acl entry identified by %lld does not exist.",
		                    (long long)number);
	value_delete_item(value_get(acl->doc, "Entries"), at);
	if (fill_entry(r, new_entry(value_open(acl->doc, "Entries"), egress, number)) < 0)
		return -1;
	resource_save(r, acl);
	return 0;
}

ACTION(ec2, DeleteNetworkAclEntry)
{
	struct resource *acl = resource_of(r, &network_acl_kind, "NetworkAclId");
	s64 number = value_integer(r->in, "RuleNumber", 0);
	unsigned at = 0;

	if (!acl || check_number(r, number) < 0)
		return -1;
	if (!find_entry(acl, value_boolean(r->in, "Egress", false), number, &at))
		return request_fail(r, "InvalidNetworkAclEntry.NotFound",
		                    "The network acl entry identified by %lld does not exist.",
		                    (long long)number);
	value_delete_item(value_get(acl->doc, "Entries"), at);
	resource_save(r, acl);
	return 0;
}

/* ---- associations ---- */

static const char *associate(struct request *r, struct resource *acl, const char *subnet)
{
	struct value *a = value_append(value_open(acl->doc, "Associations"));
	const char *id = resource_id_new(r, "aclassoc-");

	value_set_string(a, "NetworkAclAssociationId", id);
	value_set_string(a, "NetworkAclId", acl->id);
	value_set_string(a, "SubnetId", subnet);
	link_add(r, acl->id, "association", id);
	link_add(r, acl->id, "acl-of", subnet);
	resource_save(r, acl);
	return id;
}

static void remove_association(struct request *r, struct resource *acl, unsigned at)
{
	struct value *list = value_get(acl->doc, "Associations"), *a = value_item(list, at);

	link_remove(r, acl->id, "association", value_string(a, "NetworkAclAssociationId"));
	link_remove(r, acl->id, "acl-of", value_string(a, "SubnetId"));
	value_delete_item(list, at);
	resource_save(r, acl);
}

void network_acl_subnet_added(struct request *r, const char *vpc, const char *subnet)
{
	const char *id = property_get(r, vpc, "default-network-acl");
	struct resource *acl = id ? resource_find(r, &network_acl_kind, id) : NULL;

	if (acl)
		associate(r, acl, subnet);
}

void network_acl_subnet_gone(struct request *r, const char *vpc, const char *subnet)
{
	const char *id = link_source(r, subnet, "acl-of");
	struct resource *acl = id ? resource_find(r, &network_acl_kind, id) : NULL;
	const struct value *list = acl ? value_get(acl->doc, "Associations") : NULL;

	for (unsigned i = value_count(list); i-- > 0;)
		if (!strcmp(value_string(value_item(list, i), "SubnetId"), subnet))
			remove_association(r, acl, i);
}

ACTION(ec2, ReplaceNetworkAclAssociation)
{
	const char *id = value_string(r->in, "AssociationId"), *owner = link_source(r, id, "association");
	struct resource *old = owner ? resource_find(r, &network_acl_kind, owner) : NULL, *acl;
	const struct value *list = old ? value_get(old->doc, "Associations") : NULL;

	if (!resource_id_valid("aclassoc-", id))
		return request_fail(r, "InvalidNetworkAclAssociationId.Malformed",
		                    "Invalid id: \"%.100s\" (expecting \"aclassoc-...\")", id);
	acl = resource_of(r, &network_acl_kind, "NetworkAclId");
	if (!acl)
		return -1;
	for (unsigned i = 0; i < value_count(list); i++) {
		const char *subnet = value_string(value_item(list, i), "SubnetId");

		if (strcmp(value_string(value_item(list, i), "NetworkAclAssociationId"), id))
			continue;
		if (strcmp(old->parent, acl->parent))
			return request_fail(r, "InvalidParameterValue",
			                    "network acl %s and subnet %s belong to different networks",
			                    acl->id, subnet);
		remove_association(r, old, i);
		acl = resource_find(r, &network_acl_kind, acl->id);
		value_set_string(r->out, "NewAssociationId", associate(r, acl, subnet));
		return 0;
	}
	return request_fail(r, "InvalidAssociationID.NotFound", "The association ID '%s' does not exist", id);
}

/* ---- life ---- */

static struct resource *new_acl(struct request *r, const struct resource *vpc, bool by_default)
{
	struct resource *acl = resource_new(r, &network_acl_kind);

	acl->parent = vpc->id;
	value_set_string(acl->doc, "VpcId", vpc->id);
	value_set_boolean(acl->doc, "IsDefault", by_default);
	value_open(acl->doc, "Associations");
	if (by_default)
		add_all(acl, 100, "allow", "0.0.0.0/0");
	add_all(acl, NUMBER_LAST, "deny", "0.0.0.0/0");
	if (vpc_ipv6_block(vpc)) {
		if (by_default)
			add_all(acl, 101, "allow", "::/0");
		add_all(acl, NUMBER_LAST_IPV6, "deny", "::/0");
	}
	return acl;
}

void network_acl_ipv6_added(struct request *r, const char *vpc)
{
	for (struct resource **list = resource_list(r, &network_acl_kind, vpc); *list; list++) {
		unsigned at;

		if (value_boolean((*list)->doc, "IsDefault", false) && !find_entry(*list, false, 101, &at) &&
		    !find_entry(*list, true, 101, &at))
			add_all(*list, 101, "allow", "::/0");
		if (!find_entry(*list, false, NUMBER_LAST_IPV6, &at))
			add_all(*list, NUMBER_LAST_IPV6, "deny", "::/0");
		resource_save(r, *list);
	}
}

struct resource *network_acl_create_default(struct request *r, const struct resource *vpc)
{
	struct resource *acl = new_acl(r, vpc, true);

	resource_insert(r, acl);
	property_set(r, vpc->id, "default-network-acl", acl->id);
	return acl;
}

ACTION(ec2, CreateNetworkAcl)
{
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId"), *acl;

	if (!vpc)
		return -1;
	if (resource_count(r, &network_acl_kind, vpc->id) >= ACLS_MAX)
		return request_fail(r, "NetworkAclLimitExceeded",
		                    "The maximum number of network ACLs has been reached.");
	acl = new_acl(r, vpc, false);
	if (tag_specifications(r, acl, NULL) < 0)
		return -1;
	resource_insert(r, acl);
	value_put(r->out, "NetworkAcl", acl->doc);
	return 0;
}

ACTION(ec2, DeleteNetworkAcl)
{
	struct resource *acl = resource_of(r, &network_acl_kind, "NetworkAclId");

	if (!acl)
		return -1;
	if (value_boolean(acl->doc, "IsDefault", false))
		return request_fail(r, "InvalidParameterValue", "cannot delete default network ACL %s",
		                    acl->id);
	if (value_count(value_get(acl->doc, "Associations")))
		return request_fail(r, "DependencyViolation",
		                    "The networkAcl '%s' has dependencies and cannot be deleted.", acl->id);
	resource_delete(r, acl);
	return 0;
}

ACTION(ec2, DescribeNetworkAcls)
{
	static const struct describe d = {
	        .kind = &network_acl_kind, .list = "NetworkAcls", .ids = "NetworkAclIds"};

	return describe_run(r, &d);
}
