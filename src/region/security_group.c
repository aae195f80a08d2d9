#include "region/security_group.h"
#include "region/describe.h"
#include "region/link.h"
#include "region/security_group_rule.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <ctype.h>
#include <string.h>

static const char *const filters[] = {"ip-permission.cidr",
                                      "IpPermissions.IpRanges.CidrIp",
                                      "ip-permission.from-port",
                                      "IpPermissions.FromPort",
                                      "ip-permission.group-id",
                                      "IpPermissions.UserIdGroupPairs.GroupId",
                                      "ip-permission.ipv6-cidr",
                                      "IpPermissions.Ipv6Ranges.CidrIpv6",
                                      "ip-permission.prefix-list-id",
                                      "IpPermissions.PrefixListIds.PrefixListId",
                                      "ip-permission.protocol",
                                      "IpPermissions.IpProtocol",
                                      "ip-permission.to-port",
                                      "IpPermissions.ToPort",
                                      "ip-permission.user-id",
                                      "IpPermissions.UserIdGroupPairs.UserId",
                                      "egress.ip-permission.cidr",
                                      "IpPermissionsEgress.IpRanges.CidrIp",
                                      "egress.ip-permission.from-port",
                                      "IpPermissionsEgress.FromPort",
                                      "egress.ip-permission.group-id",
                                      "IpPermissionsEgress.UserIdGroupPairs.GroupId",
                                      "egress.ip-permission.ipv6-cidr",
                                      "IpPermissionsEgress.Ipv6Ranges.CidrIpv6",
                                      "egress.ip-permission.prefix-list-id",
                                      "IpPermissionsEgress.PrefixListIds.PrefixListId",
                                      "egress.ip-permission.protocol",
                                      "IpPermissionsEgress.IpProtocol",
                                      "egress.ip-permission.to-port",
                                      "IpPermissionsEgress.ToPort",
                                      "egress.ip-permission.user-id",
                                      "IpPermissionsEgress.UserIdGroupPairs.UserId",
                                      NULL};

/* Rules say the ids of groups, not their names. */
static const char *const derived[] = {"ip-permission.group-name", "egress.ip-permission.group-name", NULL};

static const char **derive(struct request *r, const struct value *doc, const char *filter)
{
	const struct value *rules = value_get(doc, *filter == 'e' ? "IpPermissionsEgress" : "IpPermissions");
	unsigned count = 0, room = 1;
	const char **names;

	for (unsigned i = 0; i < value_count(rules); i++)
		room += value_count(value_get(value_item(rules, i), "UserIdGroupPairs"));
	names = arena_alloc(r->arena, room * sizeof(*names));
	for (unsigned i = 0; i < value_count(rules); i++) {
		const struct value *pairs = value_get(value_item(rules, i), "UserIdGroupPairs");

		for (unsigned k = 0; k < value_count(pairs); k++) {
			const char *id = value_string(value_item(pairs, k), "GroupId");
			struct resource *group = id ? resource_find(r, &security_group_kind, id) : NULL;

			if (group)
				names[count++] = value_string(group->doc, "GroupName");
		}
	}
	names[count] = NULL;
	return names;
}

RESOURCE_KIND(security_group_kind) = {
        .name = "security-group",
        .prefix = "sg-",
        .shape = "SecurityGroup",
        .id = "GroupId",
        .noun = "GroupId",
        .not_found = "InvalidGroup.NotFound",
        .filters = filters,
        .derived = derived,
        .derive = derive,
};

enum { TEXT_MAX = 255, GROUPS_MAX = 10000, GROUPS_OF_INTERFACE_MAX = 16 };

/* ---- finding them ---- */

struct resource *vpc_default_group(struct request *r, const char *vpc)
{
	const char *id = property_get(r, vpc, "default-group");

	return id ? resource_find(r, &security_group_kind, id) : NULL;
}

/* Names are a VPC's property, so that one is found without going through all groups. */
static const char *name_key(struct request *r, const char *name)
{
	return arena_printf(r->arena, "group:%s", name);
}

struct resource *security_group_named(struct request *r, const char *vpc, const char *name)
{
	const char *id = property_get(r, vpc, name_key(r, name));

	return id ? resource_find(r, &security_group_kind, id) : NULL;
}

struct resource *security_group_of(struct request *r)
{
	bool named =
	        model_member_find(r->model, value_shape(r->in), "GroupName") >= 0; /* egress: by id only */
	const char *id = value_string(r->in, "GroupId"),
	           *name = named ? value_string(r->in, "GroupName") : NULL;
	struct resource *vpc, *group;

	if (id)
		return resource_get(r, &security_group_kind, id);
	if (!name) {
		request_fail(r, "MissingParameter",
		             "The request must contain the parameter groupName or groupId");
		return NULL;
	}
	vpc = vpc_default(r);
	group = vpc ? security_group_named(r, vpc->id, name) : NULL;
	if (!group)
		request_fail(r, "InvalidGroup.NotFound", "The security group '%.255s' does not exist%s", name,
		             vpc ? " in default VPC" : "");
	return group;
}

struct resource **security_group_check(struct request *r, const char *vpc, const struct value *ids)
{
	unsigned count = value_count(ids);
	struct resource **list = arena_alloc(r->arena, (count + 2) * sizeof(struct resource *));

	if (!count) {
		list[0] = vpc_default_group(r, vpc);
		return list;
	}
	if (count > GROUPS_OF_INTERFACE_MAX) {
		request_fail(r, "SecurityGroupsPerInterfaceLimitExceeded",
		             "The maximum number of security groups per interface is %d",
		             GROUPS_OF_INTERFACE_MAX);
		return NULL;
	}
	for (unsigned i = 0; i < count; i++) {
		list[i] = resource_get(r, &security_group_kind, value_item(ids, i)->text);
		if (!list[i])
			return NULL;
		if (strcmp(list[i]->parent, vpc)) {
			request_fail(r, "InvalidGroup.NotFound",
			             "The security group '%s' does not exist in VPC '%s'", list[i]->id, vpc);
			return NULL;
		}
	}
	return list;
}

/* ---- permissions ---- */

static bool same_number(const struct value *a, const struct value *b, const char *name)
{
	return value_integer(a, name, -2) == value_integer(b, name, -2);
}

/* The permission that a rule belongs to, made if it is not there. */
static struct value *permission_for(struct value *list, const struct value *rule)
{
	const char *protocol = value_string(rule, "IpProtocol");
	bool ports = strcmp(protocol, "-1") && value_integer(rule, "FromPort", -2) > -2;
	struct value *p;

	for (unsigned i = 0; i < list->count; i++) {
		p = value_item(list, i);
		if (!strcmp(value_string(p, "IpProtocol"), protocol) &&
		    (!ports || (same_number(p, rule, "FromPort") && same_number(p, rule, "ToPort"))))
			return p;
	}
	p = value_append(list);
	value_set_string(p, "IpProtocol", protocol);
	if (ports) {
		value_set_integer(p, "FromPort", value_integer(rule, "FromPort", -1));
		value_set_integer(p, "ToPort", value_integer(rule, "ToPort", -1));
	}
	value_open(p, "IpRanges");
	value_open(p, "Ipv6Ranges");
	value_open(p, "PrefixListIds");
	value_open(p, "UserIdGroupPairs");
	return p;
}

static void show_rule(struct value *p, const struct value *rule)
{
	static const struct {
		const char *from, *list, *to;
	} sources[] = {{"CidrIpv4", "IpRanges", "CidrIp"},
	               {"CidrIpv6", "Ipv6Ranges", "CidrIpv6"},
	               {"PrefixListId", "PrefixListIds", "PrefixListId"}};
	const struct value *peer = value_get(rule, "ReferencedGroupInfo");
	struct value *item = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(sources); i++) {
		if (!value_get(rule, sources[i].from))
			continue;
		item = value_append(value_open(p, sources[i].list));
		value_set_string(item, sources[i].to, value_string(rule, sources[i].from));
	}
	if (peer) {
		item = value_append(value_open(p, "UserIdGroupPairs"));
		value_set_string(item, "GroupId", value_string(peer, "GroupId"));
		value_set_string(item, "UserId", value_string(peer, "UserId"));
		value_set_string(item, "VpcId", value_string(peer, "VpcId"));
		value_set_string(item, "VpcPeeringConnectionId",
		                 value_string(peer, "VpcPeeringConnectionId"));
		value_set_string(item, "PeeringStatus", value_string(peer, "PeeringStatus"));
	}
	if (item)
		value_set_string(item, "Description", value_string(rule, "Description"));
}

void security_group_refresh(struct request *r, struct resource *group)
{
	struct resource **rules = resource_list(r, &security_group_rule_kind, group->id);
	struct value *ingress, *egress;

	value_remove(group->doc, "IpPermissions");
	value_remove(group->doc, "IpPermissionsEgress");
	ingress = value_open(group->doc, "IpPermissions");
	egress = value_open(group->doc, "IpPermissionsEgress");
	for (; *rules; rules++) {
		const struct value *rule = (*rules)->doc;

		show_rule(permission_for(value_boolean(rule, "IsEgress", false) ? egress : ingress, rule),
		          rule);
	}
	resource_save(r, group);
}

/* ---- life ---- */

static struct resource *new_group(struct request *r, const struct resource *vpc, const char *name,
                                  const char *description)
{
	struct resource *group = resource_new(r, &security_group_kind);

	group->parent = vpc->id;
	value_set_string(group->doc, "VpcId", vpc->id);
	value_set_string(group->doc, "GroupName", name);
	value_set_string(group->doc, "Description", description);
	return group;
}

/* With what it allows from the start: all egress. */
static void insert_group(struct request *r, const struct resource *vpc, struct resource *group)
{
	resource_insert(r, group);
	property_set(r, vpc->id, name_key(r, value_string(group->doc, "GroupName")), group->id);
	security_group_rule_allow_all(r, group->id, true, "0.0.0.0/0", NULL);
	if (vpc_ipv6_block(vpc))
		security_group_rule_allow_all(r, group->id, true, "::/0", NULL);
}

struct resource *security_group_create_default(struct request *r, const struct resource *vpc)
{
	struct resource *group = new_group(r, vpc, "default", "default VPC security group");

	insert_group(r, vpc, group);
	security_group_rule_allow_all(r, group->id, false, NULL, group->id);
	property_set(r, vpc->id, "default-group", group->id);
	security_group_refresh(r, group);
	return group;
}

void security_group_ipv6_added(struct request *r, const char *vpc)
{
	struct resource *group = vpc_default_group(r, vpc);

	if (!group)
		return;
	security_group_rule_allow_all(r, group->id, true, "::/0", NULL);
	security_group_refresh(r, group);
}

static bool acceptable(const char *text)
{
	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(" ._-:/()#,@[]+=&;{}!$*", *p))
			return false;
	return strlen(text) <= TEXT_MAX;
}

ACTION(ec2, CreateSecurityGroup)
{
	const char *name = value_string(r->in, "GroupName"),
	           *description = value_string(r->in, "Description"), *id = value_string(r->in, "VpcId");
	struct resource *vpc, *group;
	/* Some tools send an empty one for none. */
	bool named = id && *id;

	vpc = named ? resource_of(r, &vpc_kind, "VpcId") : vpc_default(r);
	if (!vpc)
		return named ? -1
		             : request_fail(r, "VPCIdNotSpecified",
		                            "No default VPC for this user. GroupName is "
		                            "only supported for EC2-Classic and default "
		                            "VPC.");
	if (!*name || !acceptable(name) || !strncmp(name, "sg-", 3))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.255s) for parameter GroupName is invalid. %s", name,
		                    !strncmp(name, "sg-", 3)
		                            ? "Group names may not be in the format sg-*."
		                            : "Character sets beyond ASCII are not supported, and it has 1 "
		                              "to 255 characters of a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*");
	if (!strcasecmp(name, "default"))
		return request_fail(r, "InvalidParameterValue", "Cannot use reserved security group name: %s",
		                    name);
	if (!*description || !acceptable(description))
		return request_fail(
		        r, "InvalidParameterValue",
		        "Invalid security group description. Valid descriptions are strings less than "
		        "256 characters from the following set: a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*");
	if (security_group_named(r, vpc->id, name))
		return request_fail(r, "InvalidGroup.Duplicate",
		                    "The security group '%s' already exists for VPC '%s'", name, vpc->id);
	if (resource_count(r, &security_group_kind, NULL) >= GROUPS_MAX)
		return request_fail(r, "SecurityGroupLimitExceeded",
		                    "The maximum number of security groups has been reached.");
	group = new_group(r, vpc, name, description);
	if (tag_specifications(r, group, NULL) < 0)
		return -1;
	insert_group(r, vpc, group);
	security_group_refresh(r, group);
	value_set_string(r->out, "GroupId", group->id);
	if (value_get(group->doc, "Tags"))
		value_put(r->out, "Tags", value_get(group->doc, "Tags"));
	return 0;
}

/* What of the group's own VPC refers to it: rules of other groups. Those of peered VPCs become stale. */
static bool referred_to(struct request *r, const struct resource *group)
{
	for (const char **rules = link_sources(r, group->id, "peer"); *rules; rules++) {
		struct resource *rule = resource_find(r, &security_group_rule_kind, *rules);
		struct resource *owner;

		if (!rule || !strcmp(rule->parent, group->id))
			continue;
		owner = resource_find(r, &security_group_kind, rule->parent);
		if (owner && !strcmp(owner->parent, group->parent))
			return true;
	}
	return false;
}

ACTION(ec2, DeleteSecurityGroup)
{
	struct resource *group = security_group_of(r), **rules;

	if (!group)
		return -1;
	if (property_is(r, group->parent, "default-group", group->id))
		return request_fail(
		        r, "CannotDelete",
		        "the specified group: \"%s\" name: \"default\" cannot be deleted by a user",
		        group->id);
	if (link_source(r, group->id, "group") || referred_to(r, group))
		return request_fail(r, "DependencyViolation", "resource %s has a dependent object",
		                    group->id);
	for (rules = resource_list(r, &security_group_rule_kind, group->id); *rules; rules++)
		resource_delete(r, *rules);
	property_set(r, group->parent, name_key(r, value_string(group->doc, "GroupName")), NULL);
	resource_delete(r, group);
	return 0;
}

/* Names are those of the default VPC. */
static bool named_by_default(struct request *r, const struct resource *group)
{
	return !value_count(value_get(r->in, "GroupNames")) ||
	       property_is(r, region_key(r), "default-vpc", group->parent);
}

ACTION(ec2, DescribeSecurityGroups)
{
	const struct value *names = value_get(r->in, "GroupNames");
	struct resource *vpc = value_count(names) ? vpc_default(r) : NULL;
	static const struct describe d = {.kind = &security_group_kind,
	                                  .list = "SecurityGroups",
	                                  .ids = "GroupIds",
	                                  .names = "GroupNames",
	                                  .name_path = "GroupName",
	                                  .name_not_found = "InvalidGroup.NotFound",
	                                  .accept = named_by_default};

	for (unsigned i = 0; i < value_count(names); i++) {
		const char *name = value_item(names, i)->text;

		if (!vpc || !security_group_named(r, vpc->id, name))
			return request_fail(r, "InvalidGroup.NotFound",
			                    "The security group '%.255s' does not exist in default VPC",
			                    name);
	}
	return describe_run(r, &d);
}

/* ---- references from peered VPCs ---- */

ACTION(ec2, DescribeSecurityGroupReferences)
{
	const struct value *ids = value_get(r->in, "GroupId");
	struct value *out = value_open(r->out, "SecurityGroupReferenceSet");

	for (unsigned i = 0; i < ids->count; i++) {
		struct resource *group = resource_get(r, &security_group_kind, value_item(ids, i)->text);
		const char **rules;

		if (!group)
			return -1;
		for (rules = link_sources(r, group->id, "peer"); *rules; rules++) {
			struct resource *rule = resource_find(r, &security_group_rule_kind, *rules);
			struct resource *owner =
			        rule ? resource_find(r, &security_group_kind, rule->parent) : NULL;
			struct value *item;
			bool there = false;

			if (!owner || !strcmp(owner->parent, group->parent))
				continue;
			for (unsigned k = 0; k < out->count; k++)
				there |= !strcmp(value_string(value_item(out, k), "GroupId"), group->id) &&
				         !strcmp(value_string(value_item(out, k), "ReferencingVpcId"),
				                 owner->parent);
			if (there)
				continue;
			item = value_append(out);
			value_set_string(item, "GroupId", group->id);
			value_set_string(item, "ReferencingVpcId", owner->parent);
			value_set_string(item, "VpcPeeringConnectionId",
			                 value_path(rule->doc, "ReferencedGroupInfo.VpcPeeringConnectionId"));
		}
	}
	return 0;
}

/* Does a rule refer to a group that is gone, or that no active peering leads to? */
static bool stale(struct request *r, const struct resource *rule, const char *vpc)
{
	const char *peer = value_path(rule->doc, "ReferencedGroupInfo.GroupId");
	struct resource *group = peer ? resource_find(r, &security_group_kind, peer) : NULL;

	if (!peer)
		return false;
	return !group || (strcmp(group->parent, vpc) && !vpc_peering_between(r, group->parent, vpc));
}

ACTION(ec2, DescribeStaleSecurityGroups)
{
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId"), **groups;
	struct value *out = value_open(r->out, "StaleSecurityGroupSet");
	unsigned most;
	s64 after, last = 0;

	if (!vpc || describe_page(r, &most, &after) < 0)
		return -1;
	for (groups = resource_list(r, &security_group_kind, vpc->id); *groups; groups++) {
		struct value *item = NULL;

		if ((*groups)->seq <= after)
			continue;
		for (struct resource **rules = resource_list(r, &security_group_rule_kind, (*groups)->id);
		     *rules; rules++) {
			const struct value *rule = (*rules)->doc;
			struct value *p, *pair;

			if (!stale(r, *rules, vpc->id))
				continue;
			if (!item && most && out->count == most) {
				describe_next(r, last);
				return 0;
			}
			if (!item) {
				item = value_append(out);
				value_set_string(item, "GroupId", (*groups)->id);
				value_set_string(item, "GroupName",
				                 value_string((*groups)->doc, "GroupName"));
				value_set_string(item, "Description",
				                 value_string((*groups)->doc, "Description"));
				value_set_string(item, "VpcId", vpc->id);
				last = (*groups)->seq;
			}
			p = value_append(value_open(item, value_boolean(rule, "IsEgress", false)
			                                          ? "StaleIpPermissionsEgress"
			                                          : "StaleIpPermissions"));
			value_set_string(p, "IpProtocol", value_string(rule, "IpProtocol"));
			value_set_integer(p, "FromPort", value_integer(rule, "FromPort", -1));
			value_set_integer(p, "ToPort", value_integer(rule, "ToPort", -1));
			pair = value_append(value_open(p, "UserIdGroupPairs"));
			value_set_string(pair, "GroupId", value_path(rule, "ReferencedGroupInfo.GroupId"));
			value_set_string(pair, "UserId", value_path(rule, "ReferencedGroupInfo.UserId"));
			value_set_string(pair, "VpcId", value_path(rule, "ReferencedGroupInfo.VpcId"));
			value_set_string(pair, "VpcPeeringConnectionId",
			                 value_path(rule, "ReferencedGroupInfo.VpcPeeringConnectionId"));
		}
	}
	return 0;
}
