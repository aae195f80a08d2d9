#include "region/instance_network.h"
#include "region/instance.h"
#include "region/instance_type.h"
#include "region/link.h"
#include "region/network_interface.h"
#include "region/security_group.h"
#include "region/subnet.h"
#include "region/vpc.h"

#include <string.h>

/* ---- what a document shows ---- */

/* Members of the same name and kind, whatever the shapes are. */
static void copy_alike(struct value *to, const struct value *from)
{
	for (unsigned i = 0; i < from->count; i++) {
		const struct model_member *member =
		        model_member(from->model, value_shape(from), from->fields[i].member);
		const char *name = model_text(from->model, member->name);
		const struct value *v = from->fields[i].value;
		struct value *out;

		if (model_member_find(to->model, value_shape(to), name) < 0)
			continue;
		value_remove(to, name);
		out = value_open(to, name);
		if (v->kind == VALUE_STRUCTURE) {
			copy_alike(out, v);
		} else if (v->kind == VALUE_LIST) {
			for (unsigned k = 0; k < v->count; k++)
				copy_alike(value_append(out), value_item(v, k));
		} else {
			u16 shape = out->shape;

			*out = *value_copy(to->arena, v);
			out->shape = shape;
		}
	}
}

/* An instance has its private name even where DNS does not know it. */
static const char *private_name(struct request *r, const struct value *doc, const struct value *first)
{
	const char *type = value_path(doc, "PrivateDnsNameOptions.HostnameType"),
	           *address = value_string(first, "PrivateIpAddress");

	if (!address || (type && !strcmp(type, "resource-name")))
		return resource_dns_name(r, value_string(doc, "InstanceId"));
	return private_dns_name(r, address);
}

static void show(struct request *r, struct value *doc, struct resource **interfaces)
{
	static const char *const members[] = {"PrivateIpAddress", "SubnetId", "VpcId", "SourceDestCheck"};
	struct value *list, *groups;
	const struct value *first = interfaces[0] ? interfaces[0]->doc : NULL, *a;

	value_remove(doc, "NetworkInterfaces");
	value_remove(doc, "SecurityGroups");
	list = value_open(doc, "NetworkInterfaces");
	groups = value_open(doc, "SecurityGroups");
	for (unsigned i = 0; i < ARRAY_SIZE(members); i++)
		value_remove(doc, members[i]);
	value_remove(doc, "PublicIpAddress");
	value_remove(doc, "Ipv6Address");
	value_set_string(doc, "PrivateDnsName", "");
	value_set_string(doc, "PublicDnsName", "");
	for (; *interfaces; interfaces++)
		copy_alike(value_append(list), (*interfaces)->doc);
	if (!first)
		return;
	value_set_string(doc, "PrivateDnsName", private_name(r, doc, first));
	for (unsigned i = 0; i < ARRAY_SIZE(members); i++)
		if (value_get(first, members[i]))
			value_put(doc, members[i], value_copy(doc->arena, value_get(first, members[i])));
	for (unsigned i = 0; i < value_count(value_get(first, "Groups")); i++)
		copy_alike(value_append(groups), value_item(value_get(first, "Groups"), i));
	if (value_count(value_get(first, "Ipv6Addresses")))
		value_set_string(
		        doc, "Ipv6Address",
		        value_string(value_item(value_get(first, "Ipv6Addresses"), 0), "Ipv6Address"));
	a = value_get(first, "Association");
	if (a) {
		value_set_string(doc, "PublicIpAddress", value_string(a, "PublicIp"));
		value_set_string(doc, "PublicDnsName", value_string(a, "PublicDnsName"));
	}
}

void instance_network_changed(struct request *r, const char *id)
{
	struct resource *instance = resource_find(r, &instance_kind, id);

	if (!instance)
		return;
	show(r, instance->doc, network_interface_list(r, id));
	resource_save(r, instance);
}

/* ---- launch ---- */

/* Groups by name are those of the default VPC. NULL with r->fault. */
static const struct value *groups_by_name(struct request *r, const struct value *names)
{
	struct resource *vpc = vpc_default(r);
	struct value *ids = value_copy(r->arena, names);

	ids->count = 0;
	for (unsigned i = 0; i < names->count; i++) {
		const char *name = value_item(names, i)->text;
		struct resource *group = vpc ? security_group_named(r, vpc->id, name) : NULL;

		if (!group) {
			request_fail(r, "InvalidGroup.NotFound",
			             "The security group '%.255s' does not exist in default VPC", name);
			return NULL;
		}
		value_append_string(ids, group->id);
	}
	return ids;
}

/* The request's interfaces: each has an index; an existing one is for one instance. */
static int check_list(struct request *r, struct instance_network *n, s64 count)
{
	static const char *const beside[] = {"SubnetId",       "PrivateIpAddress", "SecurityGroupIds",
	                                     "SecurityGroups", "Ipv6AddressCount", "Ipv6Addresses"};
	u64 devices = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(beside); i++)
		if (value_get(r->in, beside[i]))
			return request_fail(
			        r, "InvalidParameterCombination",
			        "Network interfaces and an instance-level %s may not be specified on the "
			        "same request",
			        beside[i]);
	for (unsigned i = 0; i < n->list->count; i++) {
		const struct value *item = value_item(n->list, i);
		s64 device = value_integer(item, "DeviceIndex", -1);
		const char *existing = value_string(item, "NetworkInterfaceId");
		struct resource *interface, *subnet = NULL;

		if (device < 0 || device > 63)
			return request_fail(r, "InvalidParameterValue",
			                    "Each network interface requires a device index of 0 to 63");
		if (devices & BIT(device))
			return request_fail(r, "InvalidParameterValue",
			                    "The device index %lld is given twice", (long long)device);
		devices |= BIT(device);
		if (value_get(item, "InterfaceType") &&
		    strcmp(value_string(item, "InterfaceType"), "interface"))
			return request_fail(r, "UnsupportedOperation",
			                    "There are no interfaces of the type '%.64s' here",
			                    value_string(item, "InterfaceType"));
		if (value_boolean(item, "AssociateCarrierIpAddress", false) ||
		    value_integer(item, "NetworkCardIndex", 0))
			return request_fail(
			        r, "UnsupportedOperation",
			        "There are no carrier addresses and no second network cards here");
		if (value_get(item, "AssociatePublicIpAddress") && (n->list->count > 1 || existing))
			return request_fail(
			        r, "InvalidParameterCombination",
			        "The associatePublicIPAddress parameter cannot be specified when "
			        "launching with multiple network interfaces, or with an existing one");
		if (count > 1 && (existing || value_get(item, "PrivateIpAddress") ||
		                  value_get(item, "PrivateIpAddresses")))
			return request_fail(r, "InvalidParameterCombination",
			                    "An interface or an address is for one instance, not %lld",
			                    (long long)count);
		if (existing) {
			interface = resource_get(r, &network_interface_kind, existing);
			if (!interface)
				return -1;
			if (value_get(interface->doc, "Attachment"))
				return request_fail(r, "InvalidNetworkInterface.InUse",
				                    "Interface: [%s] in use.", interface->id);
			subnet = resource_find(r, &subnet_kind, interface->parent);
		} else if (value_get(item, "SubnetId")) {
			subnet = resource_get(r, &subnet_kind, value_string(item, "SubnetId"));
			if (!subnet)
				return -1;
		}
		if (subnet && n->subnet &&
		    strcmp(value_string(subnet->doc, "AvailabilityZone"),
		           value_string(n->subnet->doc, "AvailabilityZone")))
			return request_fail(r, "InvalidParameterCombination",
			                    "The network interfaces are in different availability zones");
		if (subnet && !n->subnet)
			n->subnet = subnet;
	}
	if (!(devices & 1))
		return request_fail(r, "InvalidParameterValue",
		                    "There is no interface with the device index 0");
	return 0;
}

int instance_network_read(struct request *r, const char *zone, s64 count, struct instance_network *n)
{
	const struct value *names = value_get(r->in, "SecurityGroups");

	*n = (struct instance_network){.zone = zone, .groups = value_get(r->in, "SecurityGroupIds")};
	n->list = value_get(r->in, "NetworkInterfaces");
	if (!value_count(n->list))
		n->list = NULL;
	if (n->list && check_list(r, n, count) < 0)
		return -1;
	if (!n->list && value_get(r->in, "SubnetId") && *value_string(r->in, "SubnetId")) {
		n->subnet = resource_of(r, &subnet_kind, "SubnetId");
		if (!n->subnet)
			return -1;
	}
	if (!n->list && value_count(names)) {
		if (value_count(n->groups) || n->subnet)
			return request_fail(r, "InvalidParameterCombination",
			                    "The parameter groupName cannot be used with the parameter %s",
			                    n->subnet ? "subnet" : "securityGroupIds");
		n->groups = groups_by_name(r, names);
		if (!n->groups)
			return -1;
	}
	if (count > 1 &&
	    (value_get(r->in, "PrivateIpAddress") || value_count(value_get(r->in, "Ipv6Addresses"))))
		return request_fail(r, "InvalidParameterCombination",
		                    "An address is for one instance, not %lld", (long long)count);
	if (n->subnet) {
		const char *of = value_string(n->subnet->doc, "AvailabilityZone");

		if (zone && strcmp(zone, of))
			return request_fail(r, "InvalidParameterValue",
			                    "The availability zone '%s' is not that of the subnet '%s'", zone,
			                    n->subnet->id);
		n->zone = of;
	}
	return 0;
}

static struct resource *subnet_in(struct request *r, struct instance_network *n, const char *zone)
{
	unsigned which = (unsigned)(zone[strlen(zone) - 1] - 'a') % REGION_ZONES;

	if (n->subnet)
		return n->subnet;
	if (!n->defaults[which])
		n->defaults[which] = subnet_default(r, zone);
	if (!n->defaults[which]) {
		struct resource *vpc = vpc_default(r);

		if (vpc)
			request_fail(r, "MissingInput",
			             "No subnets found for the default VPC '%s'. Please specify a subnet.",
			             vpc->id);
		else
			request_fail(r, "VPCIdNotSpecified",
			             "No default VPC for this user. Please specify a subnet.");
	}
	return n->defaults[which];
}

/* One of the request's interfaces, made or attached. */
static struct resource *add_listed(struct request *r, const struct value *item, bool alone,
                                   struct resource *subnet, const char *instance)
{
	const char *existing = value_string(item, "NetworkInterfaceId");
	unsigned device = (unsigned)value_integer(item, "DeviceIndex", 0);
	struct network_interface_spec spec = {.private_address = value_string(item, "PrivateIpAddress"),
	                                      .groups = value_get(item, "Groups"),
	                                      .description = value_string(item, "Description"),
	                                      .addresses = item,
	                                      .instance = instance,
	                                      .device_index = device,
	                                      .delete_on_termination =
	                                              value_boolean(item, "DeleteOnTermination", true)};

	if (existing) {
		struct resource *interface = resource_get(r, &network_interface_kind, existing);

		if (interface)
			network_interface_attach(r, interface, instance, device, 0,
			                         value_boolean(item, "DeleteOnTermination", false));
		return interface;
	}
	spec.subnet = value_get(item, "SubnetId")
	                      ? resource_get(r, &subnet_kind, value_string(item, "SubnetId"))
	                      : subnet;
	if (!spec.subnet)
		return NULL;
	spec.public_address =
	        alone && value_boolean(item, "AssociatePublicIpAddress",
	                               value_boolean(spec.subnet->doc, "MapPublicIpOnLaunch", false));
	return network_interface_create(r, &spec);
}

/* How it is named: what the request does not say, its subnet does. */
static void name_options(struct request *r, struct value *doc, const struct resource *subnet)
{
	static const char *const records[] = {"EnableResourceNameDnsARecord",
	                                      "EnableResourceNameDnsAAAARecord"};
	const struct value *said = value_get(r->in, "PrivateDnsNameOptions"),
	                   *otherwise = value_get(subnet->doc, "PrivateDnsNameOptionsOnLaunch");
	struct value *options = value_open(doc, "PrivateDnsNameOptions");
	const char *type = said ? value_string(said, "HostnameType") : NULL;

	value_set_string(options, "HostnameType", type ? type : value_string(otherwise, "HostnameType"));
	for (unsigned i = 0; i < ARRAY_SIZE(records); i++)
		value_set_boolean(options, records[i],
		                  value_boolean(said && value_get(said, records[i]) ? said : otherwise,
		                                records[i], false));
}

int instance_network_create(struct request *r, struct instance_network *n, struct resource *instance,
                            const char *zone)
{
	struct resource *subnet = subnet_in(r, n, zone), **interfaces;
	const struct instance_type *type = instance_type_find(value_string(instance->doc, "InstanceType"));
	unsigned count = n->list ? n->list->count : 1;

	if (!subnet)
		return -1;
	interfaces = arena_alloc(r->arena, (count + 1) * sizeof(struct resource *));
	for (unsigned i = 0; i < count; i++) {
		struct network_interface_spec spec = {.subnet = subnet,
		                                      .groups = n->groups,
		                                      .instance = instance->id,
		                                      .delete_on_termination = true};
		struct resource *made;
		unsigned at = i;

		if (n->list) {
			made = add_listed(r, value_item(n->list, i), count == 1, subnet, instance->id);
		} else {
			spec.private_address = value_string(r->in, "PrivateIpAddress");
			spec.ipv6_count = value_integer(r->in, "Ipv6AddressCount", 0);
			spec.ipv6 = value_get(r->in, "Ipv6Addresses");
			spec.public_address = value_boolean(subnet->doc, "MapPublicIpOnLaunch", false);
			made = network_interface_create(r, &spec);
		}
		if (!made || network_interface_check_type(r, made, count, type) < 0)
			return -1;
		for (;
		     at && value_integer(value_get(interfaces[at - 1]->doc, "Attachment"), "DeviceIndex", 0) >
		                   value_integer(value_get(made->doc, "Attachment"), "DeviceIndex", 0);
		     at--)
			interfaces[at] = interfaces[at - 1];
		interfaces[at] = made;
	}
	name_options(r, instance->doc, resource_find(r, &subnet_kind, interfaces[0]->parent));
	show(r, instance->doc, interfaces);
	if (value_get(instance->doc, "PublicIpAddress"))
		property_set(r, instance->id, "public-address", "true");
	return 0;
}

/* ---- states ---- */

/* The public address of what was launched with one and has one interface only. An empty pool keeps nobody from
 * starting. */
static void assign_public(struct request *r, const char *instance)
{
	struct resource **interfaces = network_interface_list(r, instance);

	if (interfaces[0] && !interfaces[1] && property_is(r, instance, "public-address", "true") &&
	    network_interface_public_assign(r, interfaces[0]) < 0)
		r->fault->status = 0;
}

void instance_network_public_back(struct request *r, const char *id)
{
	struct resource *instance = resource_find(r, &instance_kind, id);
	enum instance_state state = instance ? instance_state_of(instance->doc) : INSTANCE_TERMINATED;

	if (state == INSTANCE_PENDING || state == INSTANCE_RUNNING)
		assign_public(r, id);
}

void instance_network_enter(struct request *r, struct resource *instance)
{
	struct resource **interfaces;

	switch (instance_state_of(instance->doc)) {
	case INSTANCE_TERMINATED:
		network_interface_terminate(r, instance->id);
		break;
	case INSTANCE_STOPPED:
		for (interfaces = network_interface_list(r, instance->id); *interfaces; interfaces++)
			network_interface_public_release(r, *interfaces);
		break;
	case INSTANCE_PENDING:
	case INSTANCE_RUNNING:
		assign_public(r, instance->id);
		break;
	default:
		return;
	}
	show(r, instance->doc, network_interface_list(r, instance->id));
}
