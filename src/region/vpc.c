#include "region/vpc.h"
#include "region/default_network.h"
#include "region/describe.h"
#include "region/dhcp_options.h"
#include "region/flow_log.h"
#include "region/link.h"
#include "region/network_acl.h"
#include "region/network_interface.h"
#include "region/public_pool.h"
#include "region/route_table.h"
#include "region/security_group.h"
#include "region/subnet.h"
#include "region/tag.h"
#include "region/vpc_dependents.h"

#include <string.h>

static const char *const filters[] = {"cidr",
                                      "CidrBlock",
                                      "isDefault",
                                      "IsDefault",
                                      "dhcpOptionsId",
                                      "DhcpOptionsId",
                                      "cidr-block-association.state",
                                      "CidrBlockAssociationSet.CidrBlockState.State",
                                      "ipv6-cidr-block-association.state",
                                      "Ipv6CidrBlockAssociationSet.Ipv6CidrBlockState.State",
                                      NULL};

RESOURCE_KIND(vpc_kind) = {
        .name = "vpc",
        .prefix = "vpc-",
        .shape = "Vpc",
        .id = "VpcId",
        .noun = "VpcID",
        .filters = filters,
};

enum { PREFIX_LEAST = 16, PREFIX_MOST = 28, VPCS_MAX = 500, BLOCKS_MAX = 50, IPV6_BLOCKS_MAX = 5 };

const char *region_key(struct request *r)
{
	return arena_printf(r->arena, "region:%s:%s", r->account, r->region);
}

/* ---- blocks ---- */

bool vpc_covers(const struct resource *vpc, struct cidr block)
{
	const char *set = block.first.v6 ? "Ipv6CidrBlockAssociationSet" : "CidrBlockAssociationSet";
	const char *member = block.first.v6 ? "Ipv6CidrBlock" : "CidrBlock";
	const struct value *list = value_get(vpc->doc, set);

	for (unsigned i = 0; i < value_count(list); i++) {
		struct cidr c;

		if (cidr_parse(&c, value_string(value_item(list, i), member)) == 0 && cidr_covers(c, block))
			return true;
	}
	return false;
}

const char *vpc_ipv6_block(const struct resource *vpc)
{
	const struct value *list = value_get(vpc->doc, "Ipv6CidrBlockAssociationSet");

	return value_count(list) ? value_string(value_item(list, 0), "Ipv6CidrBlock") : NULL;
}

static struct value *add_block(struct request *r, struct resource *vpc, const char *cidr)
{
	struct value *a = value_append(value_open(vpc->doc, "CidrBlockAssociationSet"));
	const char *id = resource_id_new(r, "vpc-cidr-assoc-");

	value_set_string(a, "AssociationId", id);
	value_set_string(a, "CidrBlock", cidr);
	value_set_string(value_open(a, "CidrBlockState"), "State", "associated");
	link_add(r, vpc->id, "block", id);
	return a;
}

/* NULL with r->fault. */
static struct value *add_ipv6_block(struct request *r, struct resource *vpc)
{
	const char *id = resource_id_new(r, "vpc-cidr-assoc-"), *block = public_block_take(r, vpc->id);
	const char *border = value_string(r->in, "Ipv6CidrBlockNetworkBorderGroup");
	struct value *a;

	if (!block)
		return NULL;
	a = value_append(value_open(vpc->doc, "Ipv6CidrBlockAssociationSet"));
	value_set_string(a, "AssociationId", id);
	value_set_string(a, "Ipv6CidrBlock", block);
	value_set_string(value_open(a, "Ipv6CidrBlockState"), "State", "associated");
	value_set_string(a, "NetworkBorderGroup", border ? border : r->region);
	value_set_string(a, "Ipv6Pool", "Amazon");
	link_add(r, vpc->id, "block", id);
	return a;
}

/* What is in the VPC already follows. */
static void block_added(struct request *r, struct resource *vpc, const char *block)
{
	route_table_block_added(r, vpc->id, block);
	if (strchr(block, ':') && value_count(value_get(vpc->doc, "Ipv6CidrBlockAssociationSet")) == 1) {
		network_acl_ipv6_added(r, vpc->id);
		security_group_ipv6_added(r, vpc->id);
	}
}

/* The parameters that CreateVpc and AssociateVpcCidrBlock share. *cidr: NULL if there is none. */
static int read_blocks(struct request *r, const char **cidr)
{
	const char *text = value_string(r->in, "CidrBlock");
	const char *border = value_string(r->in, "Ipv6CidrBlockNetworkBorderGroup");
	struct cidr c;

	*cidr = NULL;
	if (value_get(r->in, "Ipv4IpamPoolId") || value_get(r->in, "Ipv6IpamPoolId") ||
	    value_get(r->in, "Ipv4NetmaskLength") || value_get(r->in, "Ipv6NetmaskLength"))
		return request_fail(r, "UnsupportedOperation", "There are no IPAM pools here");
	if (value_get(r->in, "Ipv6Pool") || value_get(r->in, "Ipv6CidrBlock"))
		return request_fail(r, "UnsupportedOperation",
		                    "There are no IPv6 address pools of one's own here; use "
		                    "AmazonProvidedIpv6CidrBlock");
	if (border && strcmp(border, r->region))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.64s) for parameter ipv6CidrBlockNetworkBorderGroup is invalid",
		                    border);
	if (!text)
		return 0;
	if (cidr_parse(&c, text) < 0 || c.first.v6)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.64s) for parameter cidrBlock is invalid. This is not a valid "
		                    "CIDR block.",
		                    text);
	if (c.length < PREFIX_LEAST || c.length > PREFIX_MOST)
		return request_fail(r, "InvalidVpc.Range", "The CIDR '%s' is invalid.", text);
	*cidr = cidr_text(r->arena, c);
	return 0;
}

ACTION(ec2, AssociateVpcCidrBlock)
{
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId");
	bool ipv6 = value_boolean(r->in, "AmazonProvidedIpv6CidrBlock", false);
	const struct value *list;
	struct value *added;
	const char *cidr;
	struct cidr c;

	if (!vpc || read_blocks(r, &cidr) < 0)
		return -1;
	if (!cidr == !ipv6)
		return request_fail(
		        r, cidr ? "InvalidParameterCombination" : "MissingParameter",
		        "Either 'cidrBlock' or 'amazonProvidedIpv6CidrBlock' should be provided.");
	value_set_string(r->out, "VpcId", vpc->id);
	if (ipv6) {
		if (value_count(value_get(vpc->doc, "Ipv6CidrBlockAssociationSet")) >= IPV6_BLOCKS_MAX)
			return request_fail(r, "CidrLimitExceeded",
			                    "This network '%s' has met its maximum number of allowed IPv6 "
			                    "CIDRs: %d",
			                    vpc->id, IPV6_BLOCKS_MAX);
		added = add_ipv6_block(r, vpc);
		if (!added)
			return -1;
		value_put(r->out, "Ipv6CidrBlockAssociation", added);
		resource_save(r, vpc);
		block_added(r, vpc, value_string(added, "Ipv6CidrBlock"));
		return 0;
	}
	list = value_get(vpc->doc, "CidrBlockAssociationSet");
	if (list->count >= BLOCKS_MAX)
		return request_fail(r, "CidrLimitExceeded",
		                    "This network '%s' has met its maximum number of allowed CIDRs: %d",
		                    vpc->id, BLOCKS_MAX);
	cidr_parse(&c, cidr);
	for (unsigned i = 0; i < list->count; i++) {
		struct cidr has;

		if (cidr_parse(&has, value_string(value_item(list, i), "CidrBlock")) == 0 &&
		    cidr_overlaps(has, c))
			return request_fail(r, "CidrConflict",
			                    "The CIDR '%s' conflicts with another block of the VPC '%s'",
			                    cidr, vpc->id);
	}
	value_put(r->out, "CidrBlockAssociation", add_block(r, vpc, cidr));
	resource_save(r, vpc);
	block_added(r, vpc, cidr);
	return 0;
}

/* Is a subnet in the block? */
static bool block_used(struct request *r, const char *vpc, const char *block)
{
	struct resource **subnets = resource_list(r, &subnet_kind, vpc);
	struct cidr c, s;

	if (cidr_parse(&c, block) < 0)
		return false;
	for (; *subnets; subnets++) {
		const char *of =
		        c.first.v6 ? subnet_ipv6_block(*subnets) : value_string((*subnets)->doc, "CidrBlock");

		if (of && cidr_parse(&s, of) == 0 && cidr_overlaps(c, s))
			return true;
	}
	return false;
}

ACTION(ec2, DisassociateVpcCidrBlock)
{
	static const struct {
		const char *set, *member, *state, *out;
	} sets[] = {{"CidrBlockAssociationSet", "CidrBlock", "CidrBlockState", "CidrBlockAssociation"},
	            {"Ipv6CidrBlockAssociationSet", "Ipv6CidrBlock", "Ipv6CidrBlockState",
	             "Ipv6CidrBlockAssociation"}};
	const char *id = value_string(r->in, "AssociationId"), *vpc_id;
	struct resource *vpc;

	if (!resource_id_valid("vpc-cidr-assoc-", id))
		return request_fail(r, "InvalidVpcCidrBlockAssociationID.Malformed",
		                    "Invalid id: \"%.100s\" (expecting \"vpc-cidr-assoc-...\")", id);
	vpc_id = link_source(r, id, "block");
	vpc = vpc_id ? resource_find(r, &vpc_kind, vpc_id) : NULL;
	for (unsigned k = 0; vpc && k < ARRAY_SIZE(sets); k++) {
		struct value *list = value_get(vpc->doc, sets[k].set);

		for (unsigned i = 0; i < value_count(list); i++) {
			struct value *a = value_item(list, i);
			const char *block = value_string(a, sets[k].member);

			if (strcmp(value_string(a, "AssociationId"), id))
				continue;
			if (!k && !strcmp(block, value_string(vpc->doc, "CidrBlock")))
				return request_fail(
				        r, "OperationNotPermitted",
				        "The vpc CIDR block with association ID %s may not be "
				        "disassociated. It is the primary IPv4 CIDR block of the VPC",
				        id);
			if (block_used(r, vpc->id, block))
				return request_fail(r, "InvalidCidrBlock.InUse",
				                    "The vpc CIDR block with association ID %s may not be "
				                    "disassociated while it is in use by a subnet",
				                    id);
			if (k)
				public_block_give_back(r, block);
			value_put(r->out, sets[k].out, value_copy(r->arena, a));
			value_set_string(value_open(value_get(r->out, sets[k].out), sets[k].state), "State",
			                 "disassociated");
			value_set_string(r->out, "VpcId", vpc->id);
			route_table_block_gone(r, vpc->id, block);
			value_delete_item(list, i);
			link_remove(r, vpc->id, "block", id);
			resource_save(r, vpc);
			return 0;
		}
	}
	return request_fail(r, "InvalidVpcCidrBlockAssociationID.NotFound",
	                    "The vpc CIDR block association ID '%s' does not exist", id);
}

/* ---- life ---- */

static struct resource *new_vpc(struct request *r, const char *cidr, const char *tenancy, bool by_default)
{
	struct resource *vpc = resource_new(r, &vpc_kind);

	vpc->state = "available";
	value_set_string(vpc->doc, "CidrBlock", cidr);
	value_set_string(vpc->doc, "State", "available");
	value_set_string(vpc->doc, "InstanceTenancy", tenancy ? tenancy : "default");
	value_set_boolean(vpc->doc, "IsDefault", by_default);
	value_set_string(vpc->doc, "DhcpOptionsId", dhcp_options_default(r));
	add_block(r, vpc, cidr);
	return vpc;
}

static void insert_vpc(struct request *r, struct resource *vpc)
{
	bool by_default = value_boolean(vpc->doc, "IsDefault", false);

	link_add(r, vpc->id, "dhcp-options", value_string(vpc->doc, "DhcpOptionsId"));
	property_set(r, vpc->id, "enableDnsSupport", "true");
	if (by_default) {
		property_set(r, vpc->id, "enableDnsHostnames", "true");
		property_set(r, region_key(r), "default-vpc", vpc->id);
	}
	resource_insert(r, vpc);
	security_group_create_default(r, vpc);
	network_acl_create_default(r, vpc);
	route_table_create_main(r, vpc);
}

struct resource *vpc_create(struct request *r, const char *cidr, const char *tenancy, bool by_default)
{
	struct resource *vpc = new_vpc(r, cidr, tenancy, by_default);

	insert_vpc(r, vpc);
	return vpc;
}

struct resource *vpc_default(struct request *r)
{
	const char *id = property_get(r, region_key(r), "default-vpc");

	return id ? resource_find(r, &vpc_kind, id) : NULL;
}

ACTION(ec2, CreateVpc)
{
	const char *tenancy = value_string(r->in, "InstanceTenancy"), *cidr;
	struct resource *vpc;

	if (read_blocks(r, &cidr) < 0)
		return -1;
	if (!cidr)
		return request_fail(r, "MissingParameter",
		                    "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.");
	if (tenancy && !strcmp(tenancy, "host"))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (host) for parameter instanceTenancy is invalid: a VPC has the "
		                    "tenancy 'default' or 'dedicated'");
	if (resource_count(r, &vpc_kind, NULL) >= VPCS_MAX)
		return request_fail(r, "VpcLimitExceeded", "The maximum number of VPCs has been reached.");
	vpc = new_vpc(r, cidr, tenancy, false);
	if (value_boolean(r->in, "AmazonProvidedIpv6CidrBlock", false) && !add_ipv6_block(r, vpc))
		return -1;
	if (tag_specifications(r, vpc, NULL) < 0)
		return -1;
	insert_vpc(r, vpc);
	value_put(r->out, "Vpc", vpc->doc);
	return 0;
}

ACTION(ec2, CreateDefaultVpc)
{
	struct resource *vpc;

	if (vpc_default(r))
		return request_fail(r, "DefaultVpcAlreadyExists",
		                    "A Default VPC already exists for this account in this region.");
	vpc = default_network_create(r);
	if (!vpc)
		return -1;
	value_put(r->out, "Vpc", vpc->doc);
	return 0;
}

ACTION(ec2, DeleteVpc)
{
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId");
	const struct value *blocks;

	if (!vpc)
		return -1;
	if (vpc_has_dependents(r, vpc->id))
		return request_fail(r, "DependencyViolation",
		                    "The vpc '%s' has dependencies and cannot be deleted.", vpc->id);
	vpc_dependents_delete(r, vpc->id);
	blocks = value_get(vpc->doc, "Ipv6CidrBlockAssociationSet");
	for (unsigned i = 0; i < value_count(blocks); i++)
		public_block_give_back(r, value_string(value_item(blocks, i), "Ipv6CidrBlock"));
	if (property_is(r, region_key(r), "default-vpc", vpc->id))
		property_set(r, region_key(r), "default-vpc", NULL);
	flow_log_resource_gone(r, vpc->id);
	resource_delete(r, vpc);
	return 0;
}

ACTION(ec2, DescribeVpcs)
{
	static const struct describe d = {.kind = &vpc_kind, .list = "Vpcs", .ids = "VpcIds"};

	return describe_run(r, &d);
}

/* ---- attributes ---- */

bool vpc_attribute(struct request *r, const char *vpc, const char *name)
{
	return property_is(r, vpc, name, "true");
}

static const char *const attributes[] = {"EnableDnsHostnames", "EnableDnsSupport",
                                         "EnableNetworkAddressUsageMetrics"};

/* Of a member: its name with a small letter, which is the attribute's name and the property's. */
static const char *attribute_name(struct request *r, const char *member)
{
	return arena_printf(r->arena, "e%s", member + 1);
}

ACTION(ec2, ModifyVpcAttribute)
{
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId");
	const struct value *v;
	const char *which;

	if (!vpc)
		return -1;
	which = request_one_of(r, attributes, ARRAY_SIZE(attributes), "VPC");
	if (!which)
		return -1;
	v = value_get(r->in, which);
	if (!value_get(v, "Value"))
		return request_fail(r, "MissingParameter", "The request must contain the parameter %s.Value",
		                    which);
	property_set(r, vpc->id, attribute_name(r, which), value_boolean(v, "Value", false) ? "true" : NULL);
	if (!strcmp(which, "EnableDnsHostnames"))
		network_interface_rename(r, vpc->id);
	return 0;
}

ACTION(ec2, DescribeVpcAttribute)
{
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId");

	if (!vpc)
		return -1;
	value_set_string(r->out, "VpcId", vpc->id);
	for (unsigned i = 0; i < ARRAY_SIZE(attributes); i++) {
		const char *name = attribute_name(r, attributes[i]);

		if (!strcmp(name, value_string(r->in, "Attribute")))
			value_set_boolean(value_open(r->out, attributes[i]), "Value",
			                  vpc_attribute(r, vpc->id, name));
	}
	return 0;
}

ACTION(ec2, ModifyVpcTenancy)
{
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId");

	if (!vpc)
		return -1;
	value_set_string(vpc->doc, "InstanceTenancy", value_string(r->in, "InstanceTenancy"));
	resource_save(r, vpc);
	value_set_boolean(r->out, "ReturnValue", true);
	return 0;
}

const char *vpc_peering_between(struct request *r, const char *a, const char *b)
{
	const char **of_a = link_sources(r, a, "peer"), **of_b = link_sources(r, b, "peer");

	for (; *of_a; of_a++)
		for (const char **p = of_b; *p; p++)
			if (!strcmp(*of_a, *p))
				return *p;
	return NULL;
}
