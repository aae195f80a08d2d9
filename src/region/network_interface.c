#include "region/network_interface.h"
#include "region/address.h"
#include "region/describe.h"
#include "region/flow_log.h"
#include "region/instance_network.h"
#include "region/instance_type.h"
#include "region/link.h"
#include "region/public_pool.h"
#include "region/route_table.h"
#include "region/security_group.h"
#include "region/subnet.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const filters[] = {"addresses.private-ip-address",
                                      "PrivateIpAddresses.PrivateIpAddress",
                                      "addresses.primary",
                                      "PrivateIpAddresses.Primary",
                                      "addresses.association.public-ip",
                                      "PrivateIpAddresses.Association.PublicIp",
                                      "addresses.association.owner-id",
                                      "PrivateIpAddresses.Association.IpOwnerId",
                                      "addresses.association.association-id",
                                      "PrivateIpAddresses.Association.AssociationId",
                                      "addresses.association.allocation-id",
                                      "PrivateIpAddresses.Association.AllocationId",
                                      "group-id",
                                      "Groups.GroupId",
                                      "group-name",
                                      "Groups.GroupName",
                                      "private-dns-name",
                                      "PrivateDnsName",
                                      NULL};

RESOURCE_KIND(network_interface_kind) = {
        .name = "network-interface",
        .prefix = "eni-",
        .shape = "NetworkInterface",
        .id = "NetworkInterfaceId",
        .noun = "NetworkInterfaceID",
        .malformed = "InvalidNetworkInterfaceId.Malformed",
        .indexed = {"SubnetId", "VpcId", "Attachment.InstanceId"},
        .state = "Status",
        .filters = filters,
};

enum { DESCRIPTION_MAX = 255, DEVICES_MAX = 64 };

const char *private_dns_name(struct request *r, const char *address)
{
	char *name = strcmp(r->region, "us-east-1")
	                     ? arena_printf(r->arena, "ip-%s.%s.compute.internal", address, r->region)
	                     : arena_printf(r->arena, "ip-%s.ec2.internal", address);

	for (char *p = name + 3; p < name + 3 + strlen(address); p++)
		if (*p == '.')
			*p = '-';
	return name;
}

const char *resource_dns_name(struct request *r, const char *instance)
{
	return arena_printf(r->arena, "%s%s", instance, strchr(private_dns_name(r, "0.0.0.0"), '.'));
}

/* ---- making them ---- */

/* Locally administered; the lower four bytes are the private address, so that it is the VPC's only one. */
static const char *new_mac(struct request *r, const char *address)
{
	char d[11];
	struct ip a;

	cloud_random_hex(d, 10);
	if (address && ip_parse(&a, address) == 0)
		snprintf(d + 2, 9, "%08x", (u32)a.bits);
	return arena_printf(r->arena, "02:%.2s:%.2s:%.2s:%.2s:%.2s", d, d + 2, d + 4, d + 6, d + 8);
}

static void fill_groups(struct request *r, struct resource *interface, struct resource **groups)
{
	struct value *list;

	value_remove(interface->doc, "Groups");
	list = value_open(interface->doc, "Groups");
	link_remove(r, interface->id, "group", NULL);
	for (; *groups; groups++) {
		struct value *item = value_append(list);

		value_set_string(item, "GroupId", (*groups)->id);
		value_set_string(item, "GroupName", value_string((*groups)->doc, "GroupName"));
		link_add(r, interface->id, "group", (*groups)->id);
	}
}

static void attach(struct request *r, struct resource *interface, const char *instance, unsigned device_index,
                   unsigned network_card_index, bool delete_on_termination)
{
	struct value *a = value_open(interface->doc, "Attachment");
	const char *id = resource_id_new(r, "eni-attach-");

	value_set_string(a, "AttachmentId", id);
	value_set_time(a, "AttachTime", r->now_ms);
	value_set_boolean(a, "DeleteOnTermination", delete_on_termination);
	value_set_integer(a, "DeviceIndex", device_index);
	value_set_integer(a, "NetworkCardIndex", network_card_index);
	value_set_string(a, "InstanceId", instance);
	value_set_string(a, "InstanceOwnerId", r->account);
	value_set_string(a, "Status", "attached");
	value_set_string(interface->doc, "Status", "in-use");
	interface->state = "in-use";
	link_add(r, interface->id, "instance", instance);
	link_add(r, interface->id, "attachment", id);
}

struct resource *network_interface_create(struct request *r, const struct network_interface_spec *spec)
{
	static const char *const others[] = {"instance", "volume", "spot-instances-request", "elastic-gpu",
	                                     NULL};
	struct resource *none = NULL, **groups = &none, *interface;
	struct value *doc;

	if (!spec->requester || spec->groups)
		groups = security_group_check(r, spec->subnet->parent, spec->groups);
	if (!groups)
		return NULL;
	interface = resource_new(r, &network_interface_kind);
	interface->parent = spec->subnet->id;
	interface->state = "available";
	doc = interface->doc;
	value_set_string(doc, "SubnetId", spec->subnet->id);
	value_set_string(doc, "VpcId", spec->subnet->parent);
	value_set_string(doc, "AvailabilityZone", value_string(spec->subnet->doc, "AvailabilityZone"));
	value_set_string(doc, "Description", spec->description ? spec->description : "");
	value_set_string(doc, "InterfaceType", spec->requester ? spec->requester : "interface");
	value_set_string(doc, "RequesterId", spec->requester ? "amazon" : r->account);
	value_set_boolean(doc, "RequesterManaged", spec->requester != NULL);
	value_set_boolean(doc, "SourceDestCheck", true);
	value_set_string(doc, "Status", "available");
	if (network_interface_take_addresses(r, interface, spec) < 0)
		return NULL;
	value_set_string(doc, "MacAddress", new_mac(r, value_string(doc, "PrivateIpAddress")));
	fill_groups(r, interface, groups);
	value_open(doc, "TagSet");
	if (!spec->requester && model_member_find(r->model, value_shape(r->in), "TagSpecifications") >= 0 &&
	    tag_specifications(r, interface, spec->instance ? others : NULL) < 0)
		return NULL;
	if (spec->instance)
		attach(r, interface, spec->instance, spec->device_index, spec->network_card_index,
		       spec->delete_on_termination);
	resource_insert(r, interface);
	if (spec->public_address && network_interface_public_assign(r, interface) < 0)
		return NULL;
	return interface;
}

void network_interface_save(struct request *r, struct resource *interface)
{
	const char *instance = value_path(interface->doc, "Attachment.InstanceId");

	resource_save(r, interface);
	if (instance)
		instance_network_changed(r, instance);
}

void network_interface_set_groups(struct request *r, struct resource *interface, struct resource **groups)
{
	fill_groups(r, interface, groups);
	network_interface_save(r, interface);
}

void network_interface_delete(struct request *r, struct resource *interface)
{
	static const struct {
		const char *list, *member;
	} lists[] = {{"PrivateIpAddresses", "PrivateIpAddress"},
	             {"Ipv6Addresses", "Ipv6Address"},
	             {"Ipv4Prefixes", "Ipv4Prefix"},
	             {"Ipv6Prefixes", "Ipv6Prefix"}};

	address_interface_gone(r, interface);
	flow_log_resource_gone(r, interface->id);
	for (struct resource **p = resource_list(r, &network_interface_permission_kind, interface->id); *p;
	     p++)
		resource_delete(r, *p);
	network_interface_public_release(r, interface);
	route_table_target_gone(r, interface->id);
	for (unsigned k = 0; k < ARRAY_SIZE(lists); k++) {
		const struct value *list = value_get(interface->doc, lists[k].list);

		for (unsigned i = 0; i < value_count(list); i++)
			subnet_give_back(r, interface->parent,
			                 value_string(value_item(list, i), lists[k].member));
	}
	resource_delete(r, interface);
}

ACTION(ec2, CreateNetworkInterface)
{
	struct resource *subnet = resource_of(r, &subnet_kind, "SubnetId"), *interface;
	struct network_interface_spec spec = {.subnet = subnet,
	                                      .private_address = value_string(r->in, "PrivateIpAddress"),
	                                      .groups = value_get(r->in, "Groups"),
	                                      .description = value_string(r->in, "Description"),
	                                      .addresses = r->in};

	if (!subnet)
		return -1;
	if (value_get(r->in, "InterfaceType"))
		return request_fail(r, "UnsupportedOperation",
		                    "There are no interfaces of the type '%s' here",
		                    value_string(r->in, "InterfaceType"));
	if (spec.description && strlen(spec.description) > DESCRIPTION_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "The description of a network interface has at most %d characters",
		                    DESCRIPTION_MAX);
	interface = network_interface_create(r, &spec);
	if (!interface)
		return -1;
	value_put(r->out, "NetworkInterface", interface->doc);
	value_set_string(r->out, "ClientToken", value_string(r->in, "ClientToken"));
	return 0;
}

ACTION(ec2, DeleteNetworkInterface)
{
	struct resource *interface = resource_of(r, &network_interface_kind, "NetworkInterfaceId");

	if (!interface)
		return -1;
	if (value_get(interface->doc, "Attachment"))
		return request_fail(r, "InvalidNetworkInterface.InUse",
		                    "Network interface '%s' is currently in use.", interface->id);
	if (value_boolean(interface->doc, "RequesterManaged", false))
		return request_fail(
		        r, "OperationNotPermitted",
		        "You do not have permission to delete the network interface '%s', which is "
		        "managed by a service",
		        interface->id);
	network_interface_delete(r, interface);
	return 0;
}

ACTION(ec2, DescribeNetworkInterfaces)
{
	static const struct describe d = {
	        .kind = &network_interface_kind, .list = "NetworkInterfaces", .ids = "NetworkInterfaceIds"};

	return describe_run(r, &d);
}

/* ---- attaching ---- */

void network_interface_attach(struct request *r, struct resource *interface, const char *instance,
                              unsigned device_index, unsigned network_card_index, bool delete_on_termination)
{
	attach(r, interface, instance, device_index, network_card_index, delete_on_termination);
	network_interface_save(r, interface);
	route_table_target_back(r, interface->id, instance);
}

void network_interface_detach(struct request *r, struct resource *interface)
{
	const char *instance = value_path(interface->doc, "Attachment.InstanceId");

	link_remove(r, interface->id, "instance", NULL);
	link_remove(r, interface->id, "attachment", NULL);
	network_interface_public_release(r, interface);
	value_remove(interface->doc, "Attachment");
	value_set_string(interface->doc, "Status", "available");
	interface->state = "available";
	network_interface_save(r, interface);
	if (instance)
		instance_network_changed(r, instance);
	route_table_target_gone(r, interface->id);
}

static s64 device_of(const struct resource *interface)
{
	return value_integer(value_get(interface->doc, "Attachment"), "DeviceIndex", 0);
}

struct resource **network_interface_list(struct request *r, const char *instance)
{
	const char **ids = link_sources(r, instance, "instance");
	struct resource **list;
	unsigned count = 0;

	while (ids[count])
		count++;
	list = arena_alloc(r->arena, (count + 1) * sizeof(struct resource *));
	count = 0;
	for (; *ids; ids++) {
		struct resource *interface = resource_find(r, &network_interface_kind, *ids);
		unsigned at = count;

		if (!interface)
			continue;
		for (; at && device_of(list[at - 1]) > device_of(interface); at--)
			list[at] = list[at - 1];
		list[at] = interface;
		count++;
	}
	return list;
}

void network_interface_terminate(struct request *r, const char *instance)
{
	for (struct resource **p = network_interface_list(r, instance); *p; p++) {
		if (value_boolean(value_get((*p)->doc, "Attachment"), "DeleteOnTermination", false))
			network_interface_delete(r, *p);
		else
			network_interface_detach(r, *p);
	}
}

ACTION(ec2, AttachNetworkInterface)
{
	const struct resource_kind *kind = resource_kind_of("i-00000000");
	struct resource *interface = resource_of(r, &network_interface_kind, "NetworkInterfaceId");
	const char *id = value_string(r->in, "InstanceId"), *zone, *state;
	s64 device = value_integer(r->in, "DeviceIndex", 0),
	    card = value_integer(r->in, "NetworkCardIndex", 0);
	const struct instance_type *type;
	struct resource *instance, **has;
	unsigned count = 0;

	if (!interface)
		return -1;
	if (!kind)
		return request_fail(r, "InvalidInstanceID.NotFound",
		                    "The instance ID '%.100s' does not exist", id);
	instance = resource_get(r, kind, id);
	if (!instance)
		return -1;
	if (value_get(r->in, "EnaSrdSpecification"))
		return request_fail(r, "UnsupportedOperation", "ENA Express is not available here");
	if (value_get(interface->doc, "Attachment"))
		return request_fail(r, "InvalidNetworkInterface.InUse", "Interface: [%s] in use.",
		                    interface->id);
	if (device < 0 || device >= DEVICES_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%lld) for parameter deviceIndex is invalid", (long long)device);
	if (card)
		return request_fail(
		        r, "InvalidParameterValue",
		        "Value (%lld) for parameter networkCardIndex is invalid: there is one card",
		        (long long)card);
	state = value_path(instance->doc, "State.Name");
	if (state && strcmp(state, "running") && strcmp(state, "stopped"))
		return request_fail(r, "IncorrectState", "Instance '%s' is not 'running' or 'stopped'.", id);
	zone = value_path(instance->doc, "Placement.AvailabilityZone");
	if (zone && strcmp(zone, value_string(interface->doc, "AvailabilityZone")))
		return request_fail(
		        r, "InvalidParameterCombination",
		        "You may not attach a network interface to an instance if they are not in the "
		        "same availability zone");
	if (value_string(instance->doc, "VpcId") &&
	    strcmp(value_string(instance->doc, "VpcId"), value_string(interface->doc, "VpcId")))
		return request_fail(r, "UnsupportedOperation",
		                    "An instance with interfaces in several VPCs is not available here");
	for (has = network_interface_list(r, id); *has; has++, count++)
		if (device_of(*has) == device)
			return request_fail(r, "InvalidParameterValue",
			                    "Instance '%s' already has an interface attached at device index "
			                    "'%lld'.",
			                    id, (long long)device);
	type = instance_type_find(value_string(instance->doc, "InstanceType"));
	if (network_interface_check_type(r, interface, count + 1, type) < 0)
		return -1;
	network_interface_attach(r, interface, id, (unsigned)device, (unsigned)card, false);
	value_set_string(r->out, "AttachmentId", value_path(interface->doc, "Attachment.AttachmentId"));
	value_set_integer(r->out, "NetworkCardIndex", card);
	return 0;
}

ACTION(ec2, DetachNetworkInterface)
{
	const char *id = value_string(r->in, "AttachmentId"), *owner = link_source(r, id, "attachment");
	struct resource *interface = owner ? resource_find(r, &network_interface_kind, owner) : NULL;

	if (!resource_id_valid("eni-attach-", id))
		return request_fail(r, "InvalidAttachmentID.Malformed",
		                    "Invalid id: \"%.100s\" (expecting \"eni-attach-...\")", id);
	if (!interface)
		return request_fail(r, "InvalidAttachmentID.NotFound",
		                    "An attachment with ID '%s' does not exist", id);
	if (!device_of(interface))
		return request_fail(r, "OperationNotPermitted",
		                    "The network interface at device index 0 cannot be detached.");
	if (value_boolean(interface->doc, "RequesterManaged", false))
		return request_fail(r, "OperationNotPermitted",
		                    "The network interface '%s' is managed by a service", interface->id);
	network_interface_detach(r, interface);
	return 0;
}

/* ---- public addresses ---- */

struct value *network_interface_address(const struct resource *interface, const char *private_address)
{
	const struct value *list = value_get(interface->doc, "PrivateIpAddresses");

	for (unsigned i = 0; i < value_count(list); i++)
		if (!strcmp(value_string(value_item(list, i), "PrivateIpAddress"), private_address))
			return value_item(list, i);
	return NULL;
}

void network_interface_associate(struct request *r, struct resource *interface, const char *private_address,
                                 const struct network_association *a)
{
	struct value *item = network_interface_address(interface, private_address), *shown;
	const struct value *list = value_get(interface->doc, "PrivateIpAddresses");
	const char *vpc = value_string(interface->doc, "VpcId");
	bool any = false;

	if (!item)
		return;
	value_remove(item, "Association");
	if (a) {
		shown = value_open(item, "Association");
		value_set_string(shown, "PublicIp", a->public_address);
		value_set_string(shown, "AllocationId", a->allocation);
		value_set_string(shown, "AssociationId", a->association);
		value_set_string(shown, "IpOwnerId", a->owner);
		value_set_string(shown, "PublicDnsName",
		                 vpc_attribute(r, vpc, "enableDnsHostnames")
		                         ? public_dns_name(r, a->public_address)
		                         : "");
	}
	if (value_boolean(item, "Primary", false)) {
		value_remove(interface->doc, "Association");
		if (a)
			value_put(interface->doc, "Association",
			          value_copy(interface->doc->arena, value_get(item, "Association")));
	}
	for (unsigned i = 0; i < list->count; i++)
		any |= value_get(value_item(list, i), "Association") != NULL;
	if (any)
		link_add(r, interface->id, "public", vpc);
	else
		link_remove(r, interface->id, "public", NULL);
	network_interface_save(r, interface);
}

int network_interface_public_assign(struct request *r, struct resource *interface)
{
	const char *private_address = value_string(interface->doc, "PrivateIpAddress");
	struct network_association a = {.owner = "amazon"};

	if (!private_address || value_get(interface->doc, "Association"))
		return 0;
	a.public_address = public_address_take(r, interface->id, NULL);
	if (!a.public_address)
		return -1;
	network_interface_associate(r, interface, private_address, &a);
	return 0;
}

void network_interface_public_release(struct request *r, struct resource *interface)
{
	const struct value *a = value_get(interface->doc, "Association");

	if (!a || value_get(a, "AllocationId"))
		return;
	public_address_give_back(r, value_string(a, "PublicIp"));
	network_interface_associate(r, interface, value_string(interface->doc, "PrivateIpAddress"), NULL);
}

bool network_interface_public_in_vpc(struct request *r, const char *vpc)
{
	return link_source(r, vpc, "public") != NULL;
}

/* ---- attributes ---- */

ACTION(ec2, ModifyNetworkInterfaceAttribute)
{
	static const char *const members[] = {"Attachment", "Description", "EnaSrdSpecification", "Groups",
	                                      "SourceDestCheck"};
	struct resource *interface = resource_of(r, &network_interface_kind, "NetworkInterfaceId"), **groups;
	const struct value *v;
	const char *which, *id, *text;
	struct value *attachment;

	if (!interface)
		return -1;
	which = request_one_of(r, members, ARRAY_SIZE(members), "network interface");
	if (!which)
		return -1;
	v = value_get(r->in, which);
	if (!strcmp(which, "Description")) {
		text = value_string(v, "Value");
		if (text && strlen(text) > DESCRIPTION_MAX)
			return request_fail(
			        r, "InvalidParameterValue",
			        "The description of a network interface has at most %d characters",
			        DESCRIPTION_MAX);
		value_set_string(interface->doc, which, text ? text : "");
	} else if (!strcmp(which, "SourceDestCheck")) {
		value_set_boolean(interface->doc, which, value_boolean(v, "Value", true));
	} else if (!strcmp(which, "Groups")) {
		groups = security_group_check(r, value_string(interface->doc, "VpcId"), v);
		if (!groups)
			return -1;
		fill_groups(r, interface, groups);
	} else if (!strcmp(which, "Attachment")) {
		id = value_string(v, "AttachmentId");
		attachment = value_get(interface->doc, "Attachment");
		if (!id)
			return request_fail(r, "MissingParameter",
			                    "The request must contain the parameter AttachmentId");
		if (!attachment || strcmp(value_string(attachment, "AttachmentId"), id))
			return request_fail(
			        r, "InvalidAttachmentID.NotFound",
			        "The interface '%s' does not have an attachment with the ID '%.100s'",
			        interface->id, id);
		value_set_boolean(attachment, "DeleteOnTermination",
		                  value_boolean(v, "DeleteOnTermination", false));
	} else {
		return request_fail(r, "UnsupportedOperation", "ENA Express is not available here");
	}
	network_interface_save(r, interface);
	return 0;
}

ACTION(ec2, DescribeNetworkInterfaceAttribute)
{
	struct resource *interface = resource_of(r, &network_interface_kind, "NetworkInterfaceId");
	const char *which = value_string(r->in, "Attribute");

	if (!interface)
		return -1;
	if (!which)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter attribute");
	value_set_string(r->out, "NetworkInterfaceId", interface->id);
	if (!strcmp(which, "description"))
		value_set_string(value_open(r->out, "Description"), "Value",
		                 value_string(interface->doc, "Description"));
	else if (!strcmp(which, "groupSet"))
		value_put(r->out, "Groups", value_open(interface->doc, "Groups"));
	else if (!strcmp(which, "sourceDestCheck"))
		value_set_boolean(value_open(r->out, "SourceDestCheck"), "Value",
		                  value_boolean(interface->doc, "SourceDestCheck", true));
	else if (value_get(interface->doc, "Attachment"))
		value_put(r->out, "Attachment", value_get(interface->doc, "Attachment"));
	return 0;
}

ACTION(ec2, ResetNetworkInterfaceAttribute)
{
	struct resource *interface = resource_of(r, &network_interface_kind, "NetworkInterfaceId");

	if (!interface)
		return -1;
	if (!value_get(r->in, "SourceDestCheck"))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter sourceDestCheck");
	value_set_boolean(interface->doc, "SourceDestCheck", true);
	network_interface_save(r, interface);
	return 0;
}
