/* The private addresses, IPv6 addresses and prefixes of network interfaces. */
#include "region/address.h"
#include "region/instance_type.h"
#include "region/network_interface.h"
#include "region/public_pool.h"
#include "region/subnet.h"
#include "region/address_space.h"
#include "region/vpc.h"

#include <string.h>

enum { ADDRESSES_MAX = 50 /* of what is not attached */ };

/* ---- adding ---- */

static struct value *add_private(struct request *r, struct resource *interface, const char *address,
                                 bool primary)
{
	struct value *item = value_append(value_open(interface->doc, "PrivateIpAddresses"));

	value_set_string(item, "PrivateIpAddress", address);
	value_set_boolean(item, "Primary", primary);
	if (vpc_attribute(r, value_string(interface->doc, "VpcId"), "enableDnsHostnames"))
		value_set_string(item, "PrivateDnsName", private_dns_name(r, address));
	if (primary) {
		value_set_string(interface->doc, "PrivateIpAddress", address);
		value_set_string(interface->doc, "PrivateDnsName", value_string(item, "PrivateDnsName"));
	}
	return item;
}

struct value *network_interface_add_address(struct request *r, struct resource *interface,
                                            const struct resource *subnet, const char *wanted)
{
	const char *address = subnet_take_address(r, subnet, wanted, interface->id);

	return address ? add_private(r, interface, address, false) : NULL;
}

static int add_ipv6(struct request *r, struct resource *interface, const struct resource *subnet,
                    const char *wanted)
{
	const char *address = subnet_take_ipv6(r, subnet, wanted, interface->id);

	if (!address)
		return -1;
	value_set_string(value_append(value_open(interface->doc, "Ipv6Addresses")), "Ipv6Address", address);
	return 0;
}

static int add_prefix(struct request *r, struct resource *interface, const struct resource *subnet, bool v6,
                      const char *wanted)
{
	const char *prefix = subnet_take_prefix(r, subnet, v6, wanted, interface->id);

	if (!prefix)
		return -1;
	if (v6)
		value_set_string(value_append(value_open(interface->doc, "Ipv6Prefixes")), "Ipv6Prefix",
		                 prefix);
	else
		value_set_string(value_append(value_open(interface->doc, "Ipv4Prefixes")), "Ipv4Prefix",
		                 prefix);
	return 0;
}

/* The private name of an address is shown, and the public one of what it is associated with, or neither. */
static void rename_address(struct request *r, struct value *address, bool named)
{
	struct value *association = value_get(address, "Association");

	if (association)
		value_set_string(association, "PublicDnsName",
		                 named ? public_dns_name(r, value_string(association, "PublicIp")) : "");
	if (named)
		value_set_string(address, "PrivateDnsName",
		                 private_dns_name(r, value_string(address, "PrivateIpAddress")));
	else
		value_remove(address, "PrivateDnsName");
}

void network_interface_rename(struct request *r, const char *vpc)
{
	bool named = vpc_attribute(r, vpc, "enableDnsHostnames");

	for (struct resource **net = resource_list(r, &subnet_kind, vpc); *net; net++)
		for (struct resource **i = resource_list(r, &network_interface_kind, (*net)->id); *i; i++) {
			struct value *list = value_get((*i)->doc, "PrivateIpAddresses");

			for (unsigned k = 0; k < value_count(list); k++)
				rename_address(r, value_item(list, k), named);
			if (value_count(list))
				rename_address(r, (*i)->doc, named);
			network_interface_save(r, *i);
		}
}

/* ---- at creation ---- */

/* The text of item i: the lists are of texts, or of structures with one. */
static const char *text_of(const struct value *list, unsigned i, const char *member)
{
	const struct value *item = value_item(list, i);

	return item->kind == VALUE_STRUCTURE ? value_string(item, member) : item->text;
}

static int add_many(struct request *r, struct resource *interface, const struct resource *subnet,
                    const struct value *in, const char *list_name, const char *count_name, const char *member,
                    int (*add)(struct request *, struct resource *, const struct resource *, const char *))
{
	const struct value *list = value_get(in, list_name);
	s64 count = value_integer(in, count_name, 0);

	if (count < 0 || count > ADDRESSES_MAX)
		return request_fail(r, "InvalidParameterValue", "Value (%lld) for parameter %s is invalid",
		                    (long long)count, count_name);
	if (value_count(list) && count)
		return request_fail(r, "InvalidParameterCombination", "%s and %s may not be used together",
		                    list_name, count_name);
	for (unsigned i = 0; i < value_count(list); i++) {
		const char *text = text_of(list, i, member);

		if (!text)
			return request_fail(r, "MissingParameter",
			                    "The request must contain the parameter %s.%s", list_name,
			                    member);
		if (add(r, interface, subnet, text) < 0)
			return -1;
	}
	for (; count; count--)
		if (add(r, interface, subnet, NULL) < 0)
			return -1;
	return 0;
}

static int add_prefix4(struct request *r, struct resource *interface, const struct resource *subnet,
                       const char *wanted)
{
	return add_prefix(r, interface, subnet, false, wanted);
}

static int add_prefix6(struct request *r, struct resource *interface, const struct resource *subnet,
                       const char *wanted)
{
	return add_prefix(r, interface, subnet, true, wanted);
}

/* The private address that is to be the primary one; NULL: any. -1 with r->fault. */
static int find_primary(struct request *r, const struct network_interface_spec *spec, const char **out)
{
	const struct value *list = spec->addresses ? value_get(spec->addresses, "PrivateIpAddresses") : NULL;

	*out = spec->private_address;
	for (unsigned i = 0; i < value_count(list); i++) {
		const struct value *item = value_item(list, i);

		if (!value_string(item, "PrivateIpAddress"))
			return request_fail(r, "MissingParameter",
			                    "The request must contain the parameter "
			                    "PrivateIpAddresses.PrivateIpAddress");
		if (!value_boolean(item, "Primary", false))
			continue;
		if (*out)
			return request_fail(r, "InvalidParameterCombination",
			                    "Only one private IP address can be the primary one");
		*out = value_string(item, "PrivateIpAddress");
	}
	return 0;
}

int network_interface_take_addresses(struct request *r, struct resource *interface,
                                     const struct network_interface_spec *spec)
{
	const struct resource *subnet = spec->subnet;
	const struct value *in = spec->addresses, *list;
	const char *wanted, *address;
	s64 count;

	if (find_primary(r, spec, &wanted) < 0)
		return -1;
	value_open(interface->doc, "PrivateIpAddresses");
	value_open(interface->doc, "Ipv6Addresses");
	if (value_boolean(subnet->doc, "Ipv6Native", false)) {
		value_set_boolean(interface->doc, "Ipv6Native", true);
		if (wanted)
			return request_fail(r, "InvalidParameterCombination",
			                    "The IPv6-only subnet '%s' has no IPv4 addresses", subnet->id);
	} else {
		address = subnet_take_address(r, subnet, wanted, interface->id);
		if (!address)
			return -1;
		add_private(r, interface, address, true);
	}
	if (in) {
		list = value_get(in, "PrivateIpAddresses");
		count = value_integer(in, "SecondaryPrivateIpAddressCount", 0);
		if (count < 0 || count > ADDRESSES_MAX)
			return request_fail(r, "InvalidParameterValue",
			                    "Value (%lld) for parameter secondaryPrivateIpAddressCount is "
			                    "invalid",
			                    (long long)count);
		if (value_count(list) > 1 && count)
			return request_fail(
			        r, "InvalidParameterCombination",
			        "PrivateIpAddresses and SecondaryPrivateIpAddressCount may not be used "
			        "together");
		for (unsigned i = 0; i < value_count(list); i++)
			if (!value_boolean(value_item(list, i), "Primary", false) &&
			    !network_interface_add_address(
			            r, interface, subnet,
			            value_string(value_item(list, i), "PrivateIpAddress")))
				return -1;
		for (; count; count--)
			if (!network_interface_add_address(r, interface, subnet, NULL))
				return -1;
		if (add_many(r, interface, subnet, in, "Ipv6Addresses", "Ipv6AddressCount", "Ipv6Address",
		             add_ipv6) < 0 ||
		    add_many(r, interface, subnet, in, "Ipv4Prefixes", "Ipv4PrefixCount", "Ipv4Prefix",
		             add_prefix4) < 0 ||
		    add_many(r, interface, subnet, in, "Ipv6Prefixes", "Ipv6PrefixCount", "Ipv6Prefix",
		             add_prefix6) < 0)
			return -1;
	}
	for (unsigned i = 0; i < value_count(spec->ipv6); i++) {
		const char *text = text_of(spec->ipv6, i, "Ipv6Address");

		if (!text || add_ipv6(r, interface, subnet, text) < 0)
			return text ? -1
			            : request_fail(r, "MissingParameter",
			                           "The request must contain the parameter Ipv6Address");
	}
	if (spec->ipv6_count < 0 || spec->ipv6_count > ADDRESSES_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%lld) for parameter ipv6AddressCount is invalid",
		                    (long long)spec->ipv6_count);
	for (s64 i = 0; i < spec->ipv6_count; i++)
		if (add_ipv6(r, interface, subnet, NULL) < 0)
			return -1;
	if (value_boolean(subnet->doc, "AssignIpv6AddressOnCreation", false) &&
	    !value_count(value_get(interface->doc, "Ipv6Addresses")))
		return add_ipv6(r, interface, subnet, NULL);
	return 0;
}

/* ---- IPv4, later ---- */

/* May the interface have `more` addresses of a list? */
static int check_limit(struct request *r, const struct resource *interface, const char *list, u64 more)
{
	const char *instance = value_path(interface->doc, "Attachment.InstanceId");
	const struct resource_kind *kind = resource_kind_of("i-00000000");
	struct resource *res = instance && kind ? resource_find(r, kind, instance) : NULL;
	const struct instance_type *type =
	        res ? instance_type_find(value_string(res->doc, "InstanceType")) : NULL;
	unsigned most = type ? type->addresses : ADDRESSES_MAX;

	if (value_count(value_get(interface->doc, list)) + more > most)
		return request_fail(r, "PrivateIpAddressLimitExceeded",
		                    "Number of private addresses will exceed limit (%u) of interface '%s'",
		                    most, interface->id);
	return 0;
}

int network_interface_check_type(struct request *r, const struct resource *interface, unsigned count,
                                 const struct instance_type *type)
{
	static const char *const lists[][2] = {{"PrivateIpAddresses", "Ipv4Prefixes"},
	                                       {"Ipv6Addresses", "Ipv6Prefixes"}};

	if (type && count > type->interfaces)
		return request_fail(r, "AttachmentLimitExceeded",
		                    "Interface count %u exceeds the limit for %s", count, type->name);
	for (unsigned i = 0; type && i < ARRAY_SIZE(lists); i++)
		if (value_count(value_get(interface->doc, lists[i][0])) +
		            value_count(value_get(interface->doc, lists[i][1])) >
		    type->addresses)
			return request_fail(r, "PrivateIpAddressLimitExceeded",
			                    "Number of private addresses exceeds the limit (%u) of an "
			                    "interface of %s",
			                    type->addresses, type->name);
	return 0;
}

static bool remove_text(struct value *list, const char *member, const char *text)
{
	for (unsigned i = 0; i < value_count(list); i++) {
		if (strcmp(value_string(value_item(list, i), member), text))
			continue;
		value_delete_item(list, i);
		return true;
	}
	return false;
}

/* Takes a secondary address away from its interface, if AllowReassignment lets us. */
static int reassign(struct request *r, const struct resource *subnet, const struct resource *to,
                    const char *text)
{
	const char *holder;
	struct resource *from;
	struct value *item;
	struct ip a;

	holder = ip_parse(&a, text) < 0 ? NULL : address_holder(r, subnet->id, a);
	if (!holder || !strcmp(holder, to->id))
		return 0;
	from = resource_find(r, &network_interface_kind, holder);
	item = from ? network_interface_address(from, text) : NULL;
	if (!item)
		return 0;
	if (value_boolean(item, "Primary", false))
		return request_fail(r, "InvalidParameterValue",
		                    "Address %s is the primary address of the interface '%s'", text,
		                    from->id);
	address_private_gone(r, from, text);
	remove_text(value_get(from->doc, "PrivateIpAddresses"), "PrivateIpAddress", text);
	network_interface_save(r, from);
	address_give_back(r, subnet->id, a);
	return 0;
}

static struct resource *interface_and_subnet(struct request *r, struct resource **subnet)
{
	struct resource *interface = resource_of(r, &network_interface_kind, "NetworkInterfaceId");

	if (interface)
		*subnet = resource_find(r, &subnet_kind, interface->parent);
	return interface;
}

ACTION(ec2, AssignPrivateIpAddresses)
{
	struct resource *subnet = NULL, *interface = interface_and_subnet(r, &subnet);
	const struct value *addresses = value_get(r->in, "PrivateIpAddresses");
	const struct value *prefixes = value_get(r->in, "Ipv4Prefixes");
	s64 count = value_integer(r->in, "SecondaryPrivateIpAddressCount", 0);
	s64 prefix_count = value_integer(r->in, "Ipv4PrefixCount", 0);
	unsigned ways = (value_count(addresses) != 0) + (count != 0) + (value_count(prefixes) != 0) +
	                (prefix_count != 0);
	struct value *out;

	if (!interface)
		return -1;
	if (ways != 1)
		return request_fail(
		        r, ways ? "InvalidParameterCombination" : "MissingParameter",
		        "Either PrivateIpAddresses, SecondaryPrivateIpAddressCount, Ipv4Prefixes or "
		        "Ipv4PrefixCount should be provided.");
	if (count < 0 || count > ADDRESSES_MAX || prefix_count < 0 || prefix_count > ADDRESSES_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "The number of addresses or prefixes is 1 to %d", ADDRESSES_MAX);
	if (check_limit(r, interface, "PrivateIpAddresses", value_count(addresses) + (u64)count) < 0 ||
	    check_limit(r, interface, "Ipv4Prefixes", value_count(prefixes) + (u64)prefix_count) < 0)
		return -1;
	value_set_string(r->out, "NetworkInterfaceId", interface->id);
	for (unsigned i = 0; i < value_count(addresses) || count > 0; i++, count--) {
		const char *wanted = i < value_count(addresses) ? value_item(addresses, i)->text : NULL;
		struct value *added;

		if (wanted && network_interface_address(interface, wanted))
			continue;
		if (wanted && value_boolean(r->in, "AllowReassignment", false) &&
		    reassign(r, subnet, interface, wanted) < 0)
			return -1;
		added = network_interface_add_address(r, interface, subnet, wanted);
		if (!added)
			return -1;
		out = value_append(value_open(r->out, "AssignedPrivateIpAddresses"));
		value_set_string(out, "PrivateIpAddress", value_string(added, "PrivateIpAddress"));
	}
	for (unsigned i = 0; i < value_count(prefixes) || prefix_count > 0; i++, prefix_count--) {
		const struct value *list;

		if (add_prefix(r, interface, subnet, false,
		               i < value_count(prefixes) ? value_item(prefixes, i)->text : NULL) < 0)
			return -1;
		list = value_get(interface->doc, "Ipv4Prefixes");
		out = value_append(value_open(r->out, "AssignedIpv4Prefixes"));
		value_set_string(out, "Ipv4Prefix",
		                 value_string(value_item(list, list->count - 1), "Ipv4Prefix"));
	}
	network_interface_save(r, interface);
	return 0;
}

/* The canonical text of a prefix, or the text itself. */
static const char *canonical(struct request *r, const char *text)
{
	const char *c = cidr_canonical(r->arena, text);

	return c ? c : text;
}

ACTION(ec2, UnassignPrivateIpAddresses)
{
	struct resource *subnet = NULL, *interface = interface_and_subnet(r, &subnet);
	const struct value *addresses = value_get(r->in, "PrivateIpAddresses");
	const struct value *prefixes = value_get(r->in, "Ipv4Prefixes");

	if (!interface)
		return -1;
	if (!value_count(addresses) && !value_count(prefixes))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter privateIpAddress");
	for (unsigned i = 0; i < value_count(addresses); i++) {
		const char *text = value_item(addresses, i)->text;
		struct value *item = network_interface_address(interface, text);

		if (!item)
			return request_fail(r, "InvalidParameterValue",
			                    "Some of [%.64s] are not assigned to interface %s", text,
			                    interface->id);
		if (value_boolean(item, "Primary", false))
			return request_fail(r, "InvalidParameterValue",
			                    "The primary private address %s of the interface %s cannot be "
			                    "unassigned",
			                    text, interface->id);
		address_private_gone(r, interface, text);
		remove_text(value_get(interface->doc, "PrivateIpAddresses"), "PrivateIpAddress", text);
		subnet_give_back(r, interface->parent, text);
	}
	for (unsigned i = 0; i < value_count(prefixes); i++) {
		const char *text = canonical(r, value_item(prefixes, i)->text);

		if (!remove_text(value_get(interface->doc, "Ipv4Prefixes"), "Ipv4Prefix", text))
			return request_fail(r, "InvalidParameterValue",
			                    "Some of [%.64s] are not assigned to interface %s", text,
			                    interface->id);
		subnet_give_back(r, interface->parent, text);
	}
	network_interface_save(r, interface);
	return 0;
}

/* ---- IPv6, later ---- */

ACTION(ec2, AssignIpv6Addresses)
{
	struct resource *subnet = NULL, *interface = interface_and_subnet(r, &subnet);
	unsigned before, prefixes_before;
	const struct value *list;

	if (!interface)
		return -1;
	if (!value_get(r->in, "Ipv6Addresses") && !value_get(r->in, "Ipv6AddressCount") &&
	    !value_get(r->in, "Ipv6Prefixes") && !value_get(r->in, "Ipv6PrefixCount"))
		return request_fail(r, "MissingParameter",
		                    "Either Ipv6Addresses, Ipv6AddressCount, Ipv6Prefixes or Ipv6PrefixCount "
		                    "should be provided.");
	if (check_limit(r, interface, "Ipv6Addresses",
	                value_count(value_get(r->in, "Ipv6Addresses")) +
	                        (u64)max(value_integer(r->in, "Ipv6AddressCount", 0), (s64)0)) < 0)
		return -1;
	before = value_count(value_get(interface->doc, "Ipv6Addresses"));
	prefixes_before = value_count(value_get(interface->doc, "Ipv6Prefixes"));
	if (add_many(r, interface, subnet, r->in, "Ipv6Addresses", "Ipv6AddressCount", NULL, add_ipv6) < 0 ||
	    add_many(r, interface, subnet, r->in, "Ipv6Prefixes", "Ipv6PrefixCount", NULL, add_prefix6) < 0)
		return -1;
	value_set_string(r->out, "NetworkInterfaceId", interface->id);
	list = value_get(interface->doc, "Ipv6Addresses");
	for (unsigned i = before; i < value_count(list); i++)
		value_append_string(value_open(r->out, "AssignedIpv6Addresses"),
		                    value_string(value_item(list, i), "Ipv6Address"));
	list = value_get(interface->doc, "Ipv6Prefixes");
	for (unsigned i = prefixes_before; i < value_count(list); i++)
		value_append_string(value_open(r->out, "AssignedIpv6Prefixes"),
		                    value_string(value_item(list, i), "Ipv6Prefix"));
	network_interface_save(r, interface);
	return 0;
}

static int unassign_ipv6(struct request *r, struct resource *interface, const char *in, const char *list,
                         const char *member, const char *out)
{
	const struct value *texts = value_get(r->in, in);

	for (unsigned i = 0; i < value_count(texts); i++) {
		const char *text = value_item(texts, i)->text;
		struct ip a;

		text = ip_parse(&a, text) == 0 ? ip_text(r->arena, a) : canonical(r, text);
		if (!remove_text(value_get(interface->doc, list), member, text))
			return request_fail(r, "InvalidParameterValue",
			                    "Some of [%.64s] are not assigned to interface %s", text,
			                    interface->id);
		subnet_give_back(r, interface->parent, text);
		value_append_string(value_open(r->out, out), text);
	}
	return 0;
}

ACTION(ec2, UnassignIpv6Addresses)
{
	struct resource *interface = resource_of(r, &network_interface_kind, "NetworkInterfaceId");

	if (!interface)
		return -1;
	if (!value_count(value_get(r->in, "Ipv6Addresses")) && !value_count(value_get(r->in, "Ipv6Prefixes")))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter ipv6Addresses");
	if (unassign_ipv6(r, interface, "Ipv6Addresses", "Ipv6Addresses", "Ipv6Address",
	                  "UnassignedIpv6Addresses") < 0 ||
	    unassign_ipv6(r, interface, "Ipv6Prefixes", "Ipv6Prefixes", "Ipv6Prefix",
	                  "UnassignedIpv6Prefixes") < 0)
		return -1;
	value_set_string(r->out, "NetworkInterfaceId", interface->id);
	network_interface_save(r, interface);
	return 0;
}
