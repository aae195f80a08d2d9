#include "region/vpc_peering.h"
#include "base/cidr.h"
#include "region/describe.h"
#include "region/link.h"
#include "region/route_table.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <stdlib.h>
#include <string.h>

static void show(struct request *r, struct value *doc);

static const char *const filters[] = {"status-code", "Status.Code", "status-message", "Status.Message", NULL};

RESOURCE_KIND(vpc_peering_kind) = {
        .name = "vpc-peering-connection",
        .prefix = "pcx-",
        .shape = "VpcPeeringConnection",
        .id = "VpcPeeringConnectionId",
        .noun = "VpcPeeringConnectionID",
        .malformed = "InvalidVpcPeeringConnectionId.Malformed",
        .filters = filters,
        .show = show,
};

#define EXPIRES_MS (7 * 24 * 60 * 60 * 1000LL)
#define SHOWN_MS   (2 * 60 * 60 * 1000LL) /* after it ended */
enum { PEERINGS_MAX = 125 /* of a VPC that are active */ };

static const struct {
	const char *code, *message;
} statuses[] = {{"pending-acceptance", "Pending Acceptance by "},
                {"active", "Active"},
                {"deleted", "Deleted by "},
                {"rejected", "Rejected by "},
                {"expired", "Expired"},
                {"failed", "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range"}};

static void set_status(struct request *r, struct value *doc, const char *code)
{
	struct value *status = value_open(doc, "Status");

	for (unsigned i = 0; i < ARRAY_SIZE(statuses); i++)
		if (!strcmp(code, statuses[i].code))
			value_set_string(
			        status, "Message",
			        strstr(statuses[i].message, " by ")
			                ? arena_printf(r->arena, "%s%s", statuses[i].message, r->account)
			                : statuses[i].message);
	value_set_string(status, "Code", code);
}

/* A request that nobody answered expires by itself. */
static void show(struct request *r, struct value *doc)
{
	const struct value *expires = value_get(doc, "ExpirationTime");
	const char *code = value_path(doc, "Status.Code");

	if (code && !strcmp(code, "pending-acceptance") && expires && expires->integer < r->now_ms)
		set_status(r, doc, "expired");
}

static const char *code_of(const struct resource *peering)
{
	return value_path(peering->doc, "Status.Code");
}

bool vpc_peering_is_of(const struct resource *peering, const char *vpc)
{
	return !strcmp(value_path(peering->doc, "RequesterVpcInfo.VpcId"), vpc) ||
	       !strcmp(value_path(peering->doc, "AccepterVpcInfo.VpcId"), vpc);
}

static void end(struct request *r, struct resource *peering, const char *code)
{
	set_status(r, peering->doc, code);
	value_remove(peering->doc, "ExpirationTime");
	peering->state = code;
	link_remove(r, peering->id, "peer", NULL);
	property_set(r, peering->id, "ended", arena_printf(r->arena, "%lld", (long long)r->now_ms));
	route_table_target_gone(r, peering->id);
	resource_save(r, peering);
}

void vpc_peering_vpc_gone(struct request *r, const char *vpc)
{
	for (struct resource **list = resource_list(r, &vpc_peering_kind, NULL); *list; list++)
		if (vpc_peering_is_of(*list, vpc) &&
		    (!strcmp(code_of(*list), "active") || !strcmp(code_of(*list), "pending-acceptance")))
			end(r, *list, "deleted");
}

static bool too_old(struct request *r, const struct resource *peering)
{
	const char *ended = property_get(r, peering->id, "ended");

	return ended && strtoll(ended, NULL, 10) + SHOWN_MS < r->now_ms;
}

/* ---- request ---- */

static void show_vpc(struct request *r, struct value *info, const struct resource *vpc)
{
	const struct value *list = value_get(vpc->doc, "CidrBlockAssociationSet");
	struct value *options = value_open(info, "PeeringOptions");

	value_set_string(info, "VpcId", vpc->id);
	value_set_string(info, "OwnerId", r->account);
	value_set_string(info, "Region", r->region);
	value_set_string(info, "CidrBlock", value_string(vpc->doc, "CidrBlock"));
	for (unsigned i = 0; i < value_count(list); i++)
		value_set_string(value_append(value_open(info, "CidrBlockSet")), "CidrBlock",
		                 value_string(value_item(list, i), "CidrBlock"));
	list = value_get(vpc->doc, "Ipv6CidrBlockAssociationSet");
	for (unsigned i = 0; i < value_count(list); i++)
		value_set_string(value_append(value_open(info, "Ipv6CidrBlockSet")), "Ipv6CidrBlock",
		                 value_string(value_item(list, i), "Ipv6CidrBlock"));
	value_set_boolean(options, "AllowDnsResolutionFromRemoteVpc", false);
	value_set_boolean(options, "AllowEgressFromLocalClassicLinkToRemoteVpc", false);
	value_set_boolean(options, "AllowEgressFromLocalVpcToRemoteClassicLink", false);
}

static bool overlap(const struct resource *a, const struct resource *b)
{
	const struct value *list = value_get(a->doc, "CidrBlockAssociationSet");
	const struct value *others = value_get(b->doc, "CidrBlockAssociationSet");

	for (unsigned i = 0; i < value_count(list); i++)
		for (unsigned k = 0; k < value_count(others); k++) {
			struct cidr x, y;

			if (cidr_parse(&x, value_string(value_item(list, i), "CidrBlock")) == 0 &&
			    cidr_parse(&y, value_string(value_item(others, k), "CidrBlock")) == 0 &&
			    cidr_overlaps(x, y))
				return true;
		}
	return false;
}

ACTION(ec2, CreateVpcPeeringConnection)
{
	const char *owner = value_string(r->in, "PeerOwnerId"), *region = value_string(r->in, "PeerRegion");
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId"), *peer, *peering, **list;
	unsigned count = 0;

	if (!vpc)
		return -1;
	if (owner && strcmp(owner, r->account))
		return request_fail(r, "UnsupportedOperation",
		                    "Peering with another account is not available here");
	if (region && strcmp(region, r->region))
		return request_fail(r, "UnsupportedOperation",
		                    "Peering with another region is not available here");
	peer = resource_of(r, &vpc_kind, "PeerVpcId");
	if (!peer)
		return -1;
	if (!strcmp(peer->id, vpc->id))
		return request_fail(r, "InvalidParameterValue", "A VPC cannot be peered with itself: %s",
		                    vpc->id);
	for (list = resource_list(r, &vpc_peering_kind, NULL); *list; list++) {
		bool current =
		        !strcmp(code_of(*list), "active") || !strcmp(code_of(*list), "pending-acceptance");

		if (too_old(r, *list)) {
			resource_delete(r, *list);
			continue;
		}
		if (!current || !vpc_peering_is_of(*list, vpc->id))
			continue;
		count++;
		if (vpc_peering_is_of(*list, peer->id))
			return request_fail(r, "VpcPeeringConnectionAlreadyExists",
			                    "A VPC peering connection between %s and %s exists: %s", vpc->id,
			                    peer->id, (*list)->id);
	}
	if (count >= PEERINGS_MAX)
		return request_fail(r, "VpcPeeringConnectionLimitExceeded",
		                    "A VPC has at most %d peering connections", PEERINGS_MAX);
	peering = resource_new(r, &vpc_peering_kind);
	show_vpc(r, value_open(peering->doc, "RequesterVpcInfo"), vpc);
	show_vpc(r, value_open(peering->doc, "AccepterVpcInfo"), peer);
	peering->state = overlap(vpc, peer) ? "failed" : "pending-acceptance";
	set_status(r, peering->doc, peering->state);
	if (strcmp(peering->state, "failed"))
		value_set_time(peering->doc, "ExpirationTime", r->now_ms + EXPIRES_MS);
	if (tag_specifications(r, peering, NULL) < 0)
		return -1;
	resource_insert(r, peering);
	if (!strcmp(peering->state, "failed"))
		end(r, peering, "failed");
	value_put(r->out, "VpcPeeringConnection", peering->doc);
	return 0;
}

/* ---- answers ---- */

static int transition(struct request *r, const struct resource *peering, const char *to)
{
	return request_fail(r, "InvalidStateTransition",
	                    "Invalid state transition for %s, attempted to transition from %s to %s",
	                    peering->id, code_of(peering), to);
}

ACTION(ec2, AcceptVpcPeeringConnection)
{
	struct resource *peering = resource_of(r, &vpc_peering_kind, "VpcPeeringConnectionId");

	if (!peering)
		return -1;
	if (!strcmp(code_of(peering), "pending-acceptance")) {
		set_status(r, peering->doc, "active");
		value_remove(peering->doc, "ExpirationTime");
		peering->state = "active";
		link_add(r, peering->id, "peer", value_path(peering->doc, "RequesterVpcInfo.VpcId"));
		link_add(r, peering->id, "peer", value_path(peering->doc, "AccepterVpcInfo.VpcId"));
		resource_save(r, peering);
	} else if (strcmp(code_of(peering), "active")) {
		return transition(r, peering, "active");
	}
	value_put(r->out, "VpcPeeringConnection", peering->doc);
	return 0;
}

ACTION(ec2, RejectVpcPeeringConnection)
{
	struct resource *peering = resource_of(r, &vpc_peering_kind, "VpcPeeringConnectionId");

	if (!peering)
		return -1;
	if (strcmp(code_of(peering), "pending-acceptance"))
		return transition(r, peering, "rejected");
	end(r, peering, "rejected");
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, DeleteVpcPeeringConnection)
{
	struct resource *peering = resource_of(r, &vpc_peering_kind, "VpcPeeringConnectionId");

	if (!peering)
		return -1;
	if (strcmp(code_of(peering), "active") && strcmp(code_of(peering), "pending-acceptance"))
		return transition(r, peering, "deleted");
	end(r, peering, "deleted");
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, ModifyVpcPeeringConnectionOptions)
{
	static const struct {
		const char *parameter, *info;
	} sides[] = {{"RequesterPeeringConnectionOptions", "RequesterVpcInfo"},
	             {"AccepterPeeringConnectionOptions", "AccepterVpcInfo"}};
	static const char *const classic[] = {"AllowEgressFromLocalClassicLinkToRemoteVpc",
	                                      "AllowEgressFromLocalVpcToRemoteClassicLink"};
	static const char dns[] = "AllowDnsResolutionFromRemoteVpc";
	struct resource *peering = resource_of(r, &vpc_peering_kind, "VpcPeeringConnectionId");

	if (!peering)
		return -1;
	if (strcmp(code_of(peering), "active"))
		return request_fail(r, "OperationNotPermitted",
		                    "Peering %s is not active. Peering options can be added only to active "
		                    "peerings.",
		                    peering->id);
	for (unsigned i = 0; i < ARRAY_SIZE(sides); i++) {
		const struct value *wanted = value_get(r->in, sides[i].parameter);
		struct value *options = value_open(value_open(peering->doc, sides[i].info), "PeeringOptions");

		if (!wanted)
			continue;
		for (unsigned k = 0; k < ARRAY_SIZE(classic); k++)
			if (value_boolean(wanted, classic[k], false))
				return request_fail(r, "UnsupportedOperation",
				                    "There is no EC2-Classic here");
		if (value_get(wanted, dns))
			value_set_boolean(options, dns, value_boolean(wanted, dns, false));
		value_set_boolean(value_open(r->out, sides[i].parameter), dns,
		                  value_boolean(options, dns, false));
	}
	resource_save(r, peering);
	return 0;
}

static bool shown_still(struct request *r, const struct resource *peering)
{
	return !too_old(r, peering);
}

ACTION(ec2, DescribeVpcPeeringConnections)
{
	static const struct describe d = {.kind = &vpc_peering_kind,
	                                  .list = "VpcPeeringConnections",
	                                  .ids = "VpcPeeringConnectionIds",
	                                  .accept = shown_still};

	return describe_run(r, &d);
}
