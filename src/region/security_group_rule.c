#include "region/security_group_rule.h"
#include "base/cidr.h"
#include "region/describe.h"
#include "region/link.h"
#include "region/prefix_list.h"
#include "region/security_group.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

RESOURCE_KIND(security_group_rule_kind) = {
        .name = "security-group-rule",
        .prefix = "sgr-",
        .shape = "SecurityGroupRule",
        .id = "SecurityGroupRuleId",
        .noun = "SecurityGroupRuleId",
};

enum { RULES_MAX = 1000 /* each direction */, DESCRIPTION_MAX = 255 };

/* ---- what a rule says ---- */

/* A rule as it is asked for; nothing is stored. */
struct wanted_rule {
	const char *protocol;
	s64 from, to;
	const char *cidr, *ipv6, *list, *group; /* one of them */
	const char *group_vpc, *group_owner, *peering;
	const char *description;
};

static int read_protocol(struct request *r, const char *text, const char **out)
{
	static const char *const names[][2] = {
	        {"6", "tcp"}, {"17", "udp"}, {"1", "icmp"}, {"58", "icmpv6"}, {"all", "-1"}};
	char *end;
	long number;

	if (!text)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter ipProtocol");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcasecmp(text, names[i][0]) || !strcasecmp(text, names[i][1])) {
			*out = names[i][1];
			return 0;
		}
	}
	number = strtol(text, &end, 10);
	if (*end || !isdigit((unsigned char)*text) || number > 255)
		return request_fail(r, "InvalidParameterValue",
		                    "Invalid value '%.64s' for IP protocol. Unknown protocol.", text);
	*out = arena_printf(r->arena, "%ld", number);
	return 0;
}

/* EC2 API Reference: IpPermission */
static int read_ports(struct request *r, const struct value *from, const struct value *to,
                      struct wanted_rule *w)
{
	bool tcp = !strcmp(w->protocol, "tcp") || !strcmp(w->protocol, "udp");
	bool icmp = !strncmp(w->protocol, "icmp", 4);

	w->from = from ? from->integer : -1;
	w->to = to ? to->integer : -1;
	if (!tcp && !icmp) {
		w->from = w->to = -1;
		return 0;
	}
	if (tcp) {
		if (!from || !to)
			return request_fail(
			        r, "InvalidParameterValue",
			        "Invalid value 'Must specify both from and to ports with TCP/UDP.' for "
			        "portRange.");
		if (w->from == -1 && w->to == -1) {
			w->from = 0;
			w->to = 65535;
		}
		if (w->from < 0 || w->from > 65535 || w->to < 0 || w->to > 65535 || w->from > w->to)
			return request_fail(r, "InvalidParameterValue",
			                    "Invalid TCP/UDP port range (%lld:%lld)", (long long)w->from,
			                    (long long)w->to);
		return 0;
	}
	if (w->from < -1 || w->from > 255)
		return request_fail(r, "InvalidParameterValue", "ICMP type (%lld) out of range",
		                    (long long)w->from);
	if (w->to < -1 || w->to > 255 || (w->from == -1 && w->to != -1))
		return request_fail(r, "InvalidParameterValue", "ICMP code (%lld) out of range",
		                    (long long)w->to);
	return 0;
}

static int read_block(struct request *r, const char *text, bool v6, const char **out)
{
	struct cidr c;

	if (!text || cidr_parse(&c, text) < 0 || c.first.v6 != v6)
		return request_fail(r, "InvalidParameterValue", "CIDR block %.64s is malformed",
		                    text ? text : "");
	*out = cidr_text(r->arena, c);
	return 0;
}

/* The group of another rule's end: by id, or by its name in the same VPC. */
static int read_group(struct request *r, const struct resource *of, const char *id, const char *name,
                      const char *owner, struct wanted_rule *w)
{
	struct resource *group;

	if (owner && strcmp(owner, r->account))
		return request_fail(r, "InvalidGroup.NotFound",
		                    "The security group '%.255s' of the account %.32s does not exist here",
		                    id     ? id
		                    : name ? name
		                           : "",
		                    owner);
	if (!id && !name)
		return request_fail(r, "MissingParameter",
		                    "Missing source specification: include source security group or CIDR "
		                    "information");
	group = id ? resource_get(r, &security_group_kind, id) : security_group_named(r, of->parent, name);
	if (!group)
		return id ? -1
		          : request_fail(r, "InvalidGroup.NotFound",
		                         "The security group '%.255s' does not exist", name);
	w->group = group->id;
	w->group_owner = r->account;
	if (strcmp(group->parent, of->parent)) {
		w->group_vpc = group->parent;
		w->peering = vpc_peering_between(r, group->parent, of->parent);
		if (!w->peering)
			return request_fail(r, "InvalidGroup.NotFound",
			                    "You have specified two resources that belong to different "
			                    "networks.");
	}
	return 0;
}

static int read_list(struct request *r, const char *id, const char **out)
{
	if (!id)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter prefixListId");
	if (!resource_get(r, &prefix_list_kind, id))
		return -1;
	*out = id;
	return 0;
}

static int check_description(struct request *r, const char *text)
{
	if (!text)
		return 0;
	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(" ._-:/()#,@[]+=&;{}!$*", *p))
			return request_fail(
			        r, "InvalidParameterValue",
			        "Invalid rule description. Valid descriptions are strings less than "
			        "256 characters from the following set: a-zA-Z0-9. "
			        "_-:/()#,@[]+=&;{}!$*");
	if (strlen(text) > DESCRIPTION_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "A rule description has at most %d characters", DESCRIPTION_MAX);
	return 0;
}

/* ---- the rules of a request ---- */

struct wanted {
	struct wanted_rule *rules;
	unsigned count, room;
};

static struct wanted_rule *add(struct request *r, struct wanted *all, const struct wanted_rule *like,
                               const char *description)
{
	if (all->count == all->room) {
		struct wanted_rule *more;

		all->room = all->room ? 2 * all->room : 8;
		more = arena_alloc(r->arena, all->room * sizeof(*more));
		if (all->count)
			memcpy(more, all->rules, all->count * sizeof(*more));
		all->rules = more;
	}
	all->rules[all->count] = *like;
	all->rules[all->count].description = description;
	return &all->rules[all->count++];
}

static int read_permission(struct request *r, const struct resource *group, const struct value *p,
                           struct wanted *all)
{
	static const char *const lists[] = {"IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs"};
	struct wanted_rule like = {0};
	unsigned before = all->count;

	if (read_protocol(r, value_string(p, "IpProtocol"), &like.protocol) < 0 ||
	    read_ports(r, value_get(p, "FromPort"), value_get(p, "ToPort"), &like) < 0)
		return -1;
	for (unsigned k = 0; k < ARRAY_SIZE(lists); k++) {
		const struct value *list = value_get(p, lists[k]);

		for (unsigned i = 0; i < value_count(list); i++) {
			const struct value *item = value_item(list, i);
			const char *description = value_string(item, "Description");
			struct wanted_rule *w = add(r, all, &like, description);
			int result = check_description(r, description);

			if (result == 0 && k == 0)
				result = read_block(r, value_string(item, "CidrIp"), false, &w->cidr);
			else if (result == 0 && k == 1)
				result = read_block(r, value_string(item, "CidrIpv6"), true, &w->ipv6);
			else if (result == 0 && k == 2)
				result = read_list(r, value_string(item, "PrefixListId"), &w->list);
			else if (result == 0)
				result = read_group(r, group, value_string(item, "GroupId"),
				                    value_string(item, "GroupName"),
				                    value_string(item, "UserId"), w);
			if (result < 0)
				return -1;
		}
	}
	if (all->count == before)
		return request_fail(r, "MissingParameter",
		                    "Missing source specification: include source security group or CIDR "
		                    "information");
	return 0;
}

/* The parameters from before IpPermissions: one block, or all from a group. */
static int read_flat(struct request *r, const struct resource *group, bool egress, struct wanted *all)
{
	static const char *const protocols[] = {"tcp", "udp", "icmp"};
	const char *source = value_string(r->in, "SourceSecurityGroupName"),
	           *cidr = value_string(r->in, "CidrIp");
	const char *protocol = value_string(r->in, "IpProtocol");
	struct wanted_rule like = {0};

	if (source) {
		if (egress)
			return request_fail(
			        r, "InvalidParameterValue",
			        "SourceSecurityGroupName is not for egress rules; use IpPermissions");
		if (cidr || protocol || value_get(r->in, "FromPort") || value_get(r->in, "ToPort"))
			return request_fail(r, "InvalidParameterCombination",
			                    "SourceSecurityGroupName stands alone: no CidrIp, IpProtocol, "
			                    "FromPort or ToPort");
		if (read_group(r, group, NULL, source, value_string(r->in, "SourceSecurityGroupOwnerId"),
		               &like) < 0)
			return -1;
		for (unsigned i = 0; i < ARRAY_SIZE(protocols); i++) {
			struct wanted_rule *w = add(r, all, &like, NULL);

			w->protocol = protocols[i];
			w->from = i == 2 ? -1 : 0;
			w->to = i == 2 ? -1 : 65535;
		}
		return 0;
	}
	if (!protocol && !cidr)
		return 0;
	if (!cidr)
		return request_fail(r, "MissingParameter",
		                    "Missing source specification: include source security group or CIDR "
		                    "information");
	if (read_protocol(r, protocol, &like.protocol) < 0 ||
	    read_ports(r, value_get(r->in, "FromPort"), value_get(r->in, "ToPort"), &like) < 0)
		return -1;
	return read_block(r, cidr, strchr(cidr, ':') != NULL,
	                  strchr(cidr, ':') ? &add(r, all, &like, NULL)->ipv6
	                                    : &add(r, all, &like, NULL)->cidr);
}

/* All rules that a request has. */
static int read_rules(struct request *r, const struct resource *group, bool egress, struct wanted *all)
{
	const struct value *permissions = value_get(r->in, "IpPermissions");

	*all = (struct wanted){0};
	for (unsigned i = 0; i < value_count(permissions); i++)
		if (read_permission(r, group, value_item(permissions, i), all) < 0)
			return -1;
	if (value_count(permissions) && value_get(r->in, "CidrIp"))
		return request_fail(
		        r, "InvalidParameterCombination",
		        "The parameter 'ipPermissions' may not be used in combination with 'cidrIp'");
	return value_count(permissions) ? 0 : read_flat(r, group, egress, all);
}

static bool same_text(const char *a, const char *b)
{
	return a ? b && !strcmp(a, b) : !b;
}

static bool same_rule(const struct value *rule, bool egress, const struct wanted_rule *w)
{
	const struct value *peer = value_get(rule, "ReferencedGroupInfo");

	return value_boolean(rule, "IsEgress", false) == egress &&
	       same_text(value_string(rule, "IpProtocol"), w->protocol) &&
	       value_integer(rule, "FromPort", -1) == w->from && value_integer(rule, "ToPort", -1) == w->to &&
	       same_text(value_string(rule, "CidrIpv4"), w->cidr) &&
	       same_text(value_string(rule, "CidrIpv6"), w->ipv6) &&
	       same_text(value_string(rule, "PrefixListId"), w->list) &&
	       same_text(peer ? value_string(peer, "GroupId") : NULL, w->group);
}

static bool same_wanted(const struct wanted_rule *a, const struct wanted_rule *b)
{
	return same_text(a->protocol, b->protocol) && a->from == b->from && a->to == b->to &&
	       same_text(a->cidr, b->cidr) && same_text(a->ipv6, b->ipv6) && same_text(a->list, b->list) &&
	       same_text(a->group, b->group);
}

static struct resource *find_rule(struct resource **rules, bool egress, const struct wanted_rule *w)
{
	for (; *rules; rules++)
		if (same_rule((*rules)->doc, egress, w))
			return *rules;
	return NULL;
}

static const char *peer_of(const struct wanted_rule *w)
{
	return w->cidr ? w->cidr : w->ipv6 ? w->ipv6 : w->list ? w->list : w->group;
}

static int duplicate(struct request *r, const struct wanted_rule *w)
{
	return request_fail(
	        r, "InvalidPermission.Duplicate",
	        "the specified rule \"peer: %s, %s, from port: %lld, to port: %lld, ALLOW\" already "
	        "exists",
	        peer_of(w), !strcmp(w->protocol, "-1") ? "ALL" : w->protocol, (long long)w->from,
	        (long long)w->to);
}

/* ---- storing ---- */

static void fill(struct request *r, struct resource *rule, const struct wanted_rule *w)
{
	struct value *doc = rule->doc;

	value_set_string(doc, "IpProtocol", w->protocol);
	value_set_integer(doc, "FromPort", w->from);
	value_set_integer(doc, "ToPort", w->to);
	value_set_string(doc, "CidrIpv4", w->cidr);
	value_set_string(doc, "CidrIpv6", w->ipv6);
	value_set_string(doc, "PrefixListId", w->list);
	value_set_string(doc, "Description", w->description);
	value_remove(doc, "ReferencedGroupInfo");
	link_remove(r, rule->id, "peer", NULL);
	if (w->list)
		link_add(r, rule->id, "peer", w->list);
	if (w->group) {
		struct value *peer = value_open(doc, "ReferencedGroupInfo");

		value_set_string(peer, "GroupId", w->group);
		value_set_string(peer, "UserId", w->group_owner);
		value_set_string(peer, "VpcId", w->group_vpc);
		value_set_string(peer, "VpcPeeringConnectionId", w->peering);
		value_set_string(peer, "PeeringStatus", w->peering ? "active" : NULL);
		link_add(r, rule->id, "peer", w->group);
	}
}

static struct resource *new_rule(struct request *r, const char *group, bool egress,
                                 const struct wanted_rule *w)
{
	struct resource *rule = resource_new(r, &security_group_rule_kind);

	rule->parent = group;
	value_set_string(rule->doc, "GroupId", group);
	value_set_string(rule->doc, "GroupOwnerId", r->account);
	value_set_boolean(rule->doc, "IsEgress", egress);
	fill(r, rule, w);
	return rule;
}

void security_group_rule_allow_all(struct request *r, const char *group, bool egress, const char *cidr,
                                   const char *peer_group)
{
	bool v6 = cidr && strchr(cidr, ':');
	struct wanted_rule w = {.protocol = "-1",
	                        .from = -1,
	                        .to = -1,
	                        .cidr = v6 ? NULL : cidr,
	                        .ipv6 = v6 ? cidr : NULL,
	                        .group = peer_group,
	                        .group_owner = r->account};

	resource_insert(r, new_rule(r, group, egress, &w));
}

static int authorize(struct request *r, bool egress)
{
	struct resource *group = security_group_of(r), **rules;
	struct value *out = value_open(r->out, "SecurityGroupRules");
	struct wanted all;
	unsigned count = 0;

	if (!group || read_rules(r, group, egress, &all) < 0)
		return -1;
	if (!all.count)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter ipPermissions");
	rules = resource_list(r, &security_group_rule_kind, group->id);
	for (struct resource **p = rules; *p; p++)
		count += value_boolean((*p)->doc, "IsEgress", false) == egress;
	if (count + all.count > RULES_MAX)
		return request_fail(r, "RulesPerSecurityGroupLimitExceeded",
		                    "The maximum number of rules per security group has been reached.");
	for (unsigned i = 0; i < all.count; i++) {
		struct resource *rule;

		for (unsigned k = 0; k < i; k++)
			if (same_wanted(&all.rules[k], &all.rules[i]))
				return request_fail(r, "InvalidParameterValue",
				                    "The same permission must not appear multiple times");
		if (find_rule(rules, egress, &all.rules[i]))
			return duplicate(r, &all.rules[i]);
		rule = new_rule(r, group->id, egress, &all.rules[i]);
		if (tag_specifications(r, rule, NULL) < 0)
			return -1;
		resource_insert(r, rule);
		value_append_value(out, rule->doc);
	}
	security_group_refresh(r, group);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, AuthorizeSecurityGroupIngress)
{
	return authorize(r, false);
}

ACTION(ec2, AuthorizeSecurityGroupEgress)
{
	return authorize(r, true);
}

/* The rule of an id, which must be of the group and, if egress is 0 or 1, of that direction. */
static struct resource *rule_of_group(struct request *r, const struct resource *group, const char *id,
                                      int egress)
{
	struct resource *rule = id ? resource_get(r, &security_group_rule_kind, id) : NULL;

	if (!id)
		request_fail(r, "MissingParameter",
		             "The request must contain the parameter SecurityGroupRuleId");
	if (!rule)
		return NULL;
	if (strcmp(rule->parent, group->id) ||
	    (egress >= 0 && value_boolean(rule->doc, "IsEgress", false) != (egress == 1))) {
		request_fail(r, "InvalidSecurityGroupRuleId.NotFound",
		             "The security group rule ID '%s' does not exist%s", id,
		             egress < 0 || strcmp(rule->parent, group->id) ? " in the group"
		             : egress                                      ? " as an egress rule"
		                                                           : " as an ingress rule");
		return NULL;
	}
	return rule;
}

/* A permission that was not there, as the answer shows it. */
static void show_unknown(struct request *r, const struct wanted_rule *w)
{
	struct value *p = value_append(value_open(r->out, "UnknownIpPermissions"));

	value_set_string(p, "IpProtocol", w->protocol);
	value_set_integer(p, "FromPort", w->from);
	value_set_integer(p, "ToPort", w->to);
	if (w->cidr)
		value_set_string(value_append(value_open(p, "IpRanges")), "CidrIp", w->cidr);
	if (w->ipv6)
		value_set_string(value_append(value_open(p, "Ipv6Ranges")), "CidrIpv6", w->ipv6);
	if (w->list)
		value_set_string(value_append(value_open(p, "PrefixListIds")), "PrefixListId", w->list);
	if (w->group)
		value_set_string(value_append(value_open(p, "UserIdGroupPairs")), "GroupId", w->group);
}

static int revoke(struct request *r, bool egress)
{
	const struct value *ids = value_get(r->in, "SecurityGroupRuleIds");
	struct resource *group = security_group_of(r), **rules, *vpc;
	struct wanted all;

	if (!group || read_rules(r, group, egress, &all) < 0)
		return -1;
	if (!all.count && !value_count(ids))
		return request_fail(r, "MissingParameter",
		                    "Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.");
	if (all.count && value_count(ids))
		return request_fail(
		        r, "InvalidParameterCombination",
		        "The parameters 'ipPermissions' and 'securityGroupRuleIds' may not be used "
		        "together");
	for (unsigned i = 0; i < value_count(ids); i++) {
		struct resource *rule = rule_of_group(r, group, value_item(ids, i)->text, egress);

		if (!rule)
			return -1;
		resource_delete(r, rule);
	}
	rules = resource_list(r, &security_group_rule_kind, group->id);
	vpc = vpc_default(r);
	for (unsigned i = 0; i < all.count; i++) {
		struct resource *rule = find_rule(rules, egress, &all.rules[i]);

		if (rule)
			resource_delete(r, rule);
		else if (vpc && !strcmp(vpc->id, group->parent))
			show_unknown(r, &all.rules[i]);
		else
			return request_fail(r, "InvalidPermission.NotFound",
			                    "The specified rule does not exist in this security group.");
	}
	security_group_refresh(r, group);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, RevokeSecurityGroupIngress)
{
	return revoke(r, false);
}

ACTION(ec2, RevokeSecurityGroupEgress)
{
	return revoke(r, true);
}

/* ---- changing them ---- */

ACTION(ec2, ModifySecurityGroupRules)
{
	const struct value *updates = value_get(r->in, "SecurityGroupRules");
	struct resource *group = resource_of(r, &security_group_kind, "GroupId");

	if (!group)
		return -1;
	if (!value_count(updates))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter SecurityGroupRule");
	for (unsigned i = 0; i < updates->count; i++) {
		const struct value *update = value_item(updates, i),
		                   *to = value_get(update, "SecurityGroupRule");
		struct resource *rule = rule_of_group(r, group, value_string(update, "SecurityGroupRuleId"),
		                                      -1),
		                *other;
		struct wanted_rule w = {0};
		unsigned sources = 0;
		bool egress;

		if (!rule)
			return -1;
		if (!to)
			return request_fail(r, "MissingParameter",
			                    "The request must contain the parameter SecurityGroupRule");
		sources += value_get(to, "CidrIpv4") != NULL;
		sources += value_get(to, "CidrIpv6") != NULL;
		sources += value_get(to, "PrefixListId") != NULL;
		sources += value_get(to, "ReferencedGroupId") != NULL;
		if (sources != 1)
			return request_fail(r, sources ? "InvalidParameterCombination" : "MissingParameter",
			                    "A rule has one of CidrIpv4, CidrIpv6, PrefixListId and "
			                    "ReferencedGroupId");
		w.description = value_string(to, "Description");
		if (read_protocol(r, value_string(to, "IpProtocol"), &w.protocol) < 0 ||
		    read_ports(r, value_get(to, "FromPort"), value_get(to, "ToPort"), &w) < 0 ||
		    check_description(r, w.description) < 0)
			return -1;
		if (value_get(to, "CidrIpv4") &&
		    read_block(r, value_string(to, "CidrIpv4"), false, &w.cidr) < 0)
			return -1;
		if (value_get(to, "CidrIpv6") &&
		    read_block(r, value_string(to, "CidrIpv6"), true, &w.ipv6) < 0)
			return -1;
		if (value_get(to, "PrefixListId") &&
		    read_list(r, value_string(to, "PrefixListId"), &w.list) < 0)
			return -1;
		if (value_get(to, "ReferencedGroupId") &&
		    read_group(r, group, value_string(to, "ReferencedGroupId"), NULL, NULL, &w) < 0)
			return -1;
		egress = value_boolean(rule->doc, "IsEgress", false);
		other = find_rule(resource_list(r, &security_group_rule_kind, group->id), egress, &w);
		if (other && strcmp(other->id, rule->id))
			return duplicate(r, &w);
		fill(r, rule, &w);
		resource_save(r, rule);
	}
	security_group_refresh(r, group);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

static int describe_rules(struct request *r, bool egress)
{
	const struct value *by_id = value_get(r->in, "SecurityGroupRuleDescriptions");
	struct resource *group = security_group_of(r), **rules;
	struct wanted all;

	if (!group)
		return -1;
	all = (struct wanted){0};
	for (unsigned i = 0; i < value_count(value_get(r->in, "IpPermissions")); i++)
		if (read_permission(r, group, value_item(value_get(r->in, "IpPermissions"), i), &all) < 0)
			return -1;
	if (!all.count == !value_count(by_id))
		return request_fail(r, all.count ? "InvalidParameterCombination" : "MissingParameter",
		                    "Either 'ipPermissions' or 'securityGroupRuleDescriptions' should be "
		                    "provided.");
	for (unsigned i = 0; i < value_count(by_id); i++) {
		const struct value *item = value_item(by_id, i);
		struct resource *rule =
		        rule_of_group(r, group, value_string(item, "SecurityGroupRuleId"), egress);

		if (!rule || check_description(r, value_string(item, "Description")) < 0)
			return -1;
		value_set_string(rule->doc, "Description", value_string(item, "Description"));
		resource_save(r, rule);
	}
	rules = resource_list(r, &security_group_rule_kind, group->id);
	for (unsigned i = 0; i < all.count; i++) {
		struct resource *rule = find_rule(rules, egress, &all.rules[i]);

		if (!rule)
			return request_fail(r, "InvalidPermission.NotFound",
			                    "The specified rule does not exist in this security group.");
		value_set_string(rule->doc, "Description", all.rules[i].description);
		resource_save(r, rule);
	}
	security_group_refresh(r, group);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, UpdateSecurityGroupRuleDescriptionsIngress)
{
	return describe_rules(r, false);
}

ACTION(ec2, UpdateSecurityGroupRuleDescriptionsEgress)
{
	return describe_rules(r, true);
}

ACTION(ec2, DescribeSecurityGroupRules)
{
	static const struct describe d = {.kind = &security_group_rule_kind,
	                                  .list = "SecurityGroupRules",
	                                  .ids = "SecurityGroupRuleIds"};

	return describe_run(r, &d);
}
