#include "region/subnet.h"
#include "region/address_space.h"
#include "region/default_network.h"
#include "region/describe.h"
#include "region/flow_log.h"
#include "region/link.h"
#include "region/network_acl.h"
#include "region/network_interface.h"
#include "region/region.h"
#include "region/route_table.h"
#include "region/subnet_cidr_reservation.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <string.h>

static void show(struct request *r, struct value *doc);

static const char *const filters[] = {"cidr",
                                      "CidrBlock",
                                      "cidrBlock",
                                      "CidrBlock",
                                      "availabilityZone",
                                      "AvailabilityZone",
                                      "availabilityZoneId",
                                      "AvailabilityZoneId",
                                      "defaultForAz",
                                      "DefaultForAz",
                                      "ipv6-cidr-block-association.state",
                                      "Ipv6CidrBlockAssociationSet.Ipv6CidrBlockState.State",
                                      NULL};

RESOURCE_KIND(subnet_kind) = {
        .name = "subnet",
        .prefix = "subnet-",
        .shape = "Subnet",
        .id = "SubnetId",
        .noun = "SubnetID",
        .filters = filters,
        .show = show,
};

enum { PREFIX_LEAST = 16, PREFIX_MOST = 28, IPV6_PREFIX = 64, SUBNETS_MAX = 1000 };

static void show(struct request *r, struct value *doc)
{
	const char *text = value_string(doc, "CidrBlock");
	struct cidr c;
	s64 free = 0;

	if (text && cidr_parse(&c, text) == 0)
		free = (s64)cidr_size(c) - SUBNET_RESERVED - address_used(r, value_string(doc, "SubnetId"));
	value_set_integer(doc, "AvailableIpAddressCount", free);
}

const char *subnet_ipv6_block(const struct resource *subnet)
{
	const struct value *list = value_get(subnet->doc, "Ipv6CidrBlockAssociationSet");

	return value_count(list) ? value_string(value_item(list, 0), "Ipv6CidrBlock") : NULL;
}

/* ---- default subnets ---- */

static const char *default_key(struct request *r, const char *zone)
{
	return arena_printf(r->arena, "default-subnet:%s", zone);
}

struct resource *subnet_default(struct request *r, const char *zone)
{
	for (char letter = 'a'; letter < 'a' + REGION_ZONES; letter++) {
		const char *name = arena_printf(r->arena, "%s%c", r->region, letter), *id;

		if (zone && strcmp(zone, name))
			continue;
		id = property_get(r, region_key(r), default_key(r, name));
		if (id)
			return resource_find(r, &subnet_kind, id);
	}
	return NULL;
}

/* ---- making them ---- */

static struct value *add_ipv6(struct request *r, struct resource *subnet, const char *block)
{
	struct value *a = value_append(value_open(subnet->doc, "Ipv6CidrBlockAssociationSet"));
	const char *id = resource_id_new(r, "subnet-cidr-assoc-");

	value_set_string(a, "AssociationId", id);
	value_set_string(a, "Ipv6CidrBlock", block);
	value_set_string(value_open(a, "Ipv6CidrBlockState"), "State", "associated");
	link_add(r, subnet->id, "block", id);
	return a;
}

struct resource *subnet_new(struct request *r, const struct resource *vpc, const char *zone, const char *cidr,
                            const char *ipv6)
{
	struct resource *subnet = resource_new(r, &subnet_kind);
	struct value *doc = subnet->doc, *names;

	subnet->parent = vpc->id;
	subnet->state = "available";
	value_set_string(doc, "VpcId", vpc->id);
	value_set_string(doc, "AvailabilityZone", zone);
	value_set_string(doc, "AvailabilityZoneId",
	                 region_zone_id(r->arena, r->region, zone[strlen(zone) - 1]));
	value_set_string(doc, "CidrBlock", cidr);
	value_set_string(doc, "State", "available");
	value_set_string(
	        doc, "SubnetArn",
	        arena_printf(r->arena, "arn:aws:ec2:%s:%s:subnet/%s", r->region, r->account, subnet->id));
	value_set_boolean(doc, "DefaultForAz", false);
	value_set_boolean(doc, "MapPublicIpOnLaunch", false);
	value_set_boolean(doc, "MapCustomerOwnedIpOnLaunch", false);
	value_set_boolean(doc, "AssignIpv6AddressOnCreation", false);
	value_set_boolean(doc, "EnableDns64", false);
	value_set_boolean(doc, "Ipv6Native", !cidr);
	value_open(doc, "Ipv6CidrBlockAssociationSet");
	names = value_open(doc, "PrivateDnsNameOptionsOnLaunch");
	value_set_string(names, "HostnameType", cidr ? "ip-name" : "resource-name");
	value_set_boolean(names, "EnableResourceNameDnsARecord", false);
	value_set_boolean(names, "EnableResourceNameDnsAAAARecord", false);
	if (ipv6)
		add_ipv6(r, subnet, ipv6);
	if (!cidr)
		value_set_boolean(doc, "AssignIpv6AddressOnCreation", true);
	show(r, doc);
	return subnet;
}

void subnet_insert(struct request *r, struct resource *subnet, bool by_default)
{
	if (by_default) {
		value_set_boolean(subnet->doc, "DefaultForAz", true);
		value_set_boolean(subnet->doc, "MapPublicIpOnLaunch", true);
		property_set(r, region_key(r), default_key(r, value_string(subnet->doc, "AvailabilityZone")),
		             subnet->id);
	}
	resource_insert(r, subnet);
	network_acl_subnet_added(r, subnet->parent, subnet->id);
}

static int bad_zone(struct request *r, const char *parameter, const char *zone)
{
	return request_fail(
	        r, "InvalidParameterValue",
	        "Value (%.64s) for parameter %s is invalid. Subnets can currently only be created "
	        "in the following availability zones: %sa, %sb, %sc.",
	        zone, parameter, r->region, r->region, r->region);
}

/* The zone that the request wants, or the first. NULL with r->fault. */
static const char *read_zone(struct request *r)
{
	const char *zone = value_string(r->in, "AvailabilityZone"), *name = NULL;
	const char *id = value_string(r->in, "AvailabilityZoneId");

	if (zone && !region_has_zone(r->region, zone)) {
		bad_zone(r, "availabilityZone", zone);
		return NULL;
	}
	for (char letter = 'a'; id && letter < 'a' + REGION_ZONES; letter++)
		if (!strcmp(id, region_zone_id(r->arena, r->region, letter)))
			name = arena_printf(r->arena, "%s%c", r->region, letter);
	if (id && !name) {
		bad_zone(r, "availabilityZoneId", id);
		return NULL;
	}
	if (zone && name && strcmp(zone, name)) {
		request_fail(r, "InvalidParameterCombination",
		             "AvailabilityZone and AvailabilityZoneId are of different zones");
		return NULL;
	}
	return zone ? zone : name ? name : arena_printf(r->arena, "%sa", r->region);
}

/* Checks a block for a subnet of vpc. NULL with r->fault. */
static const char *check_block(struct request *r, const struct resource *vpc, const char *text, bool v6)
{
	struct resource **list = resource_list(r, &subnet_kind, vpc->id);
	struct cidr c, has;

	if (cidr_parse(&c, text) < 0 || c.first.v6 != v6) {
		request_fail(r, "InvalidParameterValue",
		             "Value (%.64s) for parameter %s is invalid. This is not a valid CIDR block.",
		             text, v6 ? "ipv6CidrBlock" : "cidrBlock");
		return NULL;
	}
	if (v6 ? c.length != IPV6_PREFIX : c.length < PREFIX_LEAST || c.length > PREFIX_MOST) {
		request_fail(r, "InvalidSubnet.Range", "The CIDR '%s' is invalid.", text);
		return NULL;
	}
	if (!vpc_covers(vpc, c)) {
		request_fail(r, "InvalidSubnet.Range", "The CIDR '%s' is invalid.", text);
		return NULL;
	}
	for (; *list; list++) {
		const char *of = v6 ? subnet_ipv6_block(*list) : value_string((*list)->doc, "CidrBlock");

		if (of && cidr_parse(&has, of) == 0 && cidr_overlaps(has, c)) {
			request_fail(r, "InvalidSubnet.Conflict",
			             "The CIDR '%s' conflicts with another subnet", text);
			return NULL;
		}
	}
	return cidr_text(r->arena, c);
}

ACTION(ec2, CreateSubnet)
{
	const char *cidr = value_string(r->in, "CidrBlock"), *ipv6 = value_string(r->in, "Ipv6CidrBlock"),
	           *zone;
	bool native = value_boolean(r->in, "Ipv6Native", false);
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId"), *subnet;

	if (!vpc)
		return -1;
	if (value_get(r->in, "OutpostArn"))
		return request_fail(r, "UnsupportedOperation", "There are no outposts here");
	if (native && cidr)
		return request_fail(r, "InvalidParameterCombination",
		                    "An IPv6-only subnet (Ipv6Native) has no CidrBlock");
	if (native ? !ipv6 : !cidr)
		return request_fail(r, "MissingParameter", "The request must contain the parameter %s",
		                    native ? "ipv6CidrBlock" : "cidrBlock");
	zone = read_zone(r);
	if (!zone)
		return -1;
	if (resource_count(r, &subnet_kind, vpc->id) >= SUBNETS_MAX)
		return request_fail(r, "SubnetLimitExceeded",
		                    "The maximum number of subnets has been reached.");
	if (cidr) {
		cidr = check_block(r, vpc, cidr, false);
		if (!cidr)
			return -1;
	}
	if (ipv6) {
		ipv6 = check_block(r, vpc, ipv6, true);
		if (!ipv6)
			return -1;
	}
	subnet = subnet_new(r, vpc, zone, cidr, ipv6);
	if (tag_specifications(r, subnet, NULL) < 0)
		return -1;
	subnet_insert(r, subnet, false);
	value_put(r->out, "Subnet", subnet->doc);
	return 0;
}

ACTION(ec2, CreateDefaultSubnet)
{
	const char *zone = value_string(r->in, "AvailabilityZone"), *block;
	struct resource *vpc = vpc_default(r), *subnet;

	if (!region_has_zone(r->region, zone))
		return bad_zone(r, "availabilityZone", zone);
	if (!vpc)
		return request_fail(
		        r, "DefaultVpcDoesNotExist",
		        "There is no default VPC in this region; create one with CreateDefaultVpc");
	if (subnet_default(r, zone))
		return request_fail(r, "DefaultSubnetAlreadyExistsInAvailabilityZone",
		                    "The default subnet already exists in the availability zone '%s'", zone);
	if (value_boolean(r->in, "Ipv6Native", false))
		return request_fail(r, "UnsupportedOperation", "A default subnet here has IPv4 addresses");
	block = default_network_free_block(r, vpc);
	if (!block)
		return -1;
	subnet = subnet_new(r, vpc, zone, block, NULL);
	subnet_insert(r, subnet, true);
	value_put(r->out, "Subnet", subnet->doc);
	return 0;
}

ACTION(ec2, DeleteSubnet)
{
	struct resource *subnet = resource_of(r, &subnet_kind, "SubnetId");
	struct resource **reservations;
	const char *key;

	if (!subnet)
		return -1;
	if (resource_count(r, &network_interface_kind, subnet->id))
		return request_fail(r, "DependencyViolation",
		                    "The subnet '%s' has dependencies and cannot be deleted.", subnet->id);
	for (reservations = resource_list(r, &subnet_cidr_reservation_kind, subnet->id); *reservations;
	     reservations++)
		resource_delete(r, *reservations);
	network_acl_subnet_gone(r, subnet->parent, subnet->id);
	route_table_subnet_gone(r, subnet->id);
	address_space_delete(r, subnet->id);
	address_space_delete(r, arena_printf(r->arena, "%s/80", subnet->id));
	key = default_key(r, value_string(subnet->doc, "AvailabilityZone"));
	if (property_is(r, region_key(r), key, subnet->id))
		property_set(r, region_key(r), key, NULL);
	flow_log_resource_gone(r, subnet->id);
	resource_delete(r, subnet);
	return 0;
}

ACTION(ec2, DescribeSubnets)
{
	static const struct describe d = {.kind = &subnet_kind, .list = "Subnets", .ids = "SubnetIds"};

	return describe_run(r, &d);
}

/* ---- changing them ---- */

ACTION(ec2, AssociateSubnetCidrBlock)
{
	struct resource *subnet = resource_of(r, &subnet_kind, "SubnetId"), *vpc;
	const char *block = value_string(r->in, "Ipv6CidrBlock");

	if (!subnet)
		return -1;
	if (subnet_ipv6_block(subnet))
		return request_fail(r, "CidrLimitExceeded",
		                    "The subnet '%s' has an IPv6 CIDR block associated with it already",
		                    subnet->id);
	vpc = resource_find(r, &vpc_kind, subnet->parent);
	block = check_block(r, vpc, block, true);
	if (!block)
		return -1;
	value_put(r->out, "Ipv6CidrBlockAssociation", add_ipv6(r, subnet, block));
	value_set_string(r->out, "SubnetId", subnet->id);
	resource_save(r, subnet);
	return 0;
}

ACTION(ec2, DisassociateSubnetCidrBlock)
{
	const char *id = value_string(r->in, "AssociationId"), *subnet_id;
	struct resource *subnet;
	struct value *list;
	struct cidr c;

	if (!resource_id_valid("subnet-cidr-assoc-", id))
		return request_fail(r, "InvalidSubnetCidrBlockAssociationID.Malformed",
		                    "Invalid id: \"%.100s\" (expecting \"subnet-cidr-assoc-...\")", id);
	subnet_id = link_source(r, id, "block");
	subnet = subnet_id ? resource_find(r, &subnet_kind, subnet_id) : NULL;
	if (!subnet)
		return request_fail(r, "InvalidSubnetCidrBlockAssociationID.NotFound",
		                    "The subnet CIDR block association ID '%s' does not exist", id);
	if (value_boolean(subnet->doc, "Ipv6Native", false))
		return request_fail(r, "OperationNotPermitted",
		                    "The IPv6 CIDR block of an IPv6-only subnet may not be disassociated");
	if (cidr_parse(&c, subnet_ipv6_block(subnet)) == 0 && address_any_taken(r, subnet->id, c))
		return request_fail(
		        r, "InvalidCidrBlock.InUse",
		        "The CIDR block of the association '%s' has addresses that are assigned to "
		        "network interfaces",
		        id);
	list = value_get(subnet->doc, "Ipv6CidrBlockAssociationSet");
	value_put(r->out, "Ipv6CidrBlockAssociation", value_copy(r->arena, value_item(list, 0)));
	value_set_string(value_open(value_get(r->out, "Ipv6CidrBlockAssociation"), "Ipv6CidrBlockState"),
	                 "State", "disassociated");
	value_set_string(r->out, "SubnetId", subnet->id);
	value_delete_item(list, 0);
	value_set_boolean(subnet->doc, "AssignIpv6AddressOnCreation", false);
	link_remove(r, subnet->id, "block", id);
	resource_save(r, subnet);
	return 0;
}

static bool wanted(struct request *r, const char *member)
{
	return value_boolean(value_get(r->in, member), "Value", false);
}

ACTION(ec2, ModifySubnetAttribute)
{
	static const char *const members[] = {"AssignIpv6AddressOnCreation",
	                                      "CustomerOwnedIpv4Pool",
	                                      "DisableLniAtDeviceIndex",
	                                      "EnableDns64",
	                                      "EnableLniAtDeviceIndex",
	                                      "EnableResourceNameDnsAAAARecordOnLaunch",
	                                      "EnableResourceNameDnsARecordOnLaunch",
	                                      "MapCustomerOwnedIpOnLaunch",
	                                      "MapPublicIpOnLaunch",
	                                      "PrivateDnsHostnameTypeOnLaunch"};
	struct resource *subnet = resource_of(r, &subnet_kind, "SubnetId");
	struct value *names;
	const char *which;

	if (!subnet)
		return -1;
	which = request_one_of(r, members, ARRAY_SIZE(members), "subnet");
	if (!which)
		return -1;
	names = value_open(subnet->doc, "PrivateDnsNameOptionsOnLaunch");
	if (!strcmp(which, "MapPublicIpOnLaunch")) {
		if (wanted(r, which) && !value_get(subnet->doc, "CidrBlock"))
			return request_fail(r, "InvalidParameterCombination",
			                    "The IPv6-only subnet '%s' has no IPv4 addresses", subnet->id);
		value_set_boolean(subnet->doc, which, wanted(r, which));
	} else if (!strcmp(which, "AssignIpv6AddressOnCreation")) {
		if (wanted(r, which) && !subnet_ipv6_block(subnet))
			return request_fail(
			        r, "InvalidParameterValue",
			        "Invalid value 'true' for assignIpv6AddressOnCreation. The subnet %s "
			        "does not have an IPv6 CIDR block associated with it.",
			        subnet->id);
		value_set_boolean(subnet->doc, which, wanted(r, which));
	} else if (!strcmp(which, "EnableDns64")) {
		if (wanted(r, which) && !subnet_ipv6_block(subnet))
			return request_fail(
			        r, "InvalidParameterValue",
			        "Invalid value 'true' for enableDns64. The subnet %s does not have an "
			        "IPv6 CIDR block associated with it.",
			        subnet->id);
		value_set_boolean(subnet->doc, which, wanted(r, which));
	} else if (!strcmp(which, "PrivateDnsHostnameTypeOnLaunch")) {
		value_set_string(names, "HostnameType", value_string(r->in, which));
	} else if (!strcmp(which, "EnableResourceNameDnsARecordOnLaunch")) {
		value_set_boolean(names, "EnableResourceNameDnsARecord", wanted(r, which));
	} else if (!strcmp(which, "EnableResourceNameDnsAAAARecordOnLaunch")) {
		value_set_boolean(names, "EnableResourceNameDnsAAAARecord", wanted(r, which));
	} else {
		return request_fail(r, "UnsupportedOperation", "There are no outposts here, which %s is for",
		                    which);
	}
	resource_save(r, subnet);
	return 0;
}
