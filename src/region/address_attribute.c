/* The reverse DNS names of Elastic IPs; and what came with EC2-Classic and transfers between accounts. */
#include "region/address.h"
#include "region/describe.h"
#include "region/link.h"

#include <ctype.h>
#include <string.h>

static const struct resource_kind attribute_shape = {.name = "address", .shape = "AddressAttribute"};

static struct value *attribute(struct request *r, const struct resource *address)
{
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &attribute_shape));

	value_set_string(v, "PublicIp", value_string(address->doc, "PublicIp"));
	value_set_string(v, "AllocationId", address->id);
	value_set_string(v, "PtrRecord", property_get(r, address->id, "ptr-record"));
	return v;
}

static bool is_name(const char *name)
{
	size_t length = strlen(name), label = 0;

	for (size_t i = 0; i < length; i++) {
		label = name[i] == '.' ? 0 : label + 1;
		if (label > 63 || (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '.') ||
		    (name[i] == '.' && (!i || name[i - 1] == '.')))
			return false;
	}
	return length && length <= 253 && strchr(name, '.');
}

ACTION(ec2, ModifyAddressAttribute)
{
	struct resource *address = resource_of(r, &address_kind, "AllocationId");
	const char *name = value_string(r->in, "DomainName");

	if (!address)
		return -1;
	if (!name)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter domainName");
	if (!is_name(name))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.255s) for parameter domainName is invalid", name);
	if (name[strlen(name) - 1] != '.')
		name = arena_printf(r->arena, "%s.", name);
	property_set(r, address->id, "ptr-record", name);
	value_put(r->out, "Address", attribute(r, address));
	return 0;
}

ACTION(ec2, ResetAddressAttribute)
{
	struct resource *address = resource_of(r, &address_kind, "AllocationId");

	if (!address)
		return -1;
	property_set(r, address->id, "ptr-record", NULL);
	value_put(r->out, "Address", attribute(r, address));
	return 0;
}

ACTION(ec2, DescribeAddressesAttribute)
{
	const struct value *ids = value_get(r->in, "AllocationIds");
	struct value *out = value_open(r->out, "Addresses");
	struct resource **list;
	unsigned most;
	s64 after, last = 0;

	if (describe_page(r, &most, &after) < 0)
		return -1;
	for (unsigned i = 0; i < value_count(ids); i++) {
		struct resource *address = resource_get(r, &address_kind, value_item(ids, i)->text);

		if (!address)
			return -1;
		value_append_value(out, attribute(r, address));
	}
	if (value_count(ids))
		return 0;
	for (list = resource_list(r, &address_kind, NULL); *list; list++) {
		if ((*list)->seq <= after)
			continue;
		if (most && out->count == most) {
			describe_next(r, last);
			break;
		}
		value_append_value(out, attribute(r, *list));
		last = (*list)->seq;
	}
	return 0;
}

static int no_classic(struct request *r)
{
	return request_fail(r, "UnsupportedOperation", "There is no EC2-Classic here");
}

ACTION(ec2, MoveAddressToVpc)
{
	return no_classic(r);
}

ACTION(ec2, RestoreAddressToClassic)
{
	return no_classic(r);
}

/* None is ever on its way to or from EC2-Classic. */
ACTION(ec2, DescribeMovingAddresses)
{
	unsigned most;
	s64 after;

	value_open(r->out, "MovingAddressStatuses");
	return describe_page(r, &most, &after);
}
