#include "region/dhcp_options.h"
#include "base/cidr.h"
#include "region/describe.h"
#include "region/link.h"
#include "region/tag.h"
#include "region/vpc.h"

#include <stdlib.h>
#include <string.h>

static const char *const filters[] = {"key", "DhcpConfigurations.Key", "value",
                                      "DhcpConfigurations.Values.Value", NULL};

RESOURCE_KIND(dhcp_options_kind) = {
        .name = "dhcp-options",
        .prefix = "dopt-",
        .shape = "DhcpOptions",
        .id = "DhcpOptionsId",
        .noun = "DhcpOptionID",
        .not_found = "InvalidDhcpOptionID.NotFound",
        .malformed = "InvalidDhcpOptionsId.Malformed",
        .filters = filters,
};

enum { SETS_MAX = 500, SERVERS_MAX = 4 };

const char *dhcp_options_default(struct request *r)
{
	const char *id = property_get(r, region_key(r), "default-dhcp-options");
	struct resource *set;
	struct value *v;

	if (id)
		return id;
	set = resource_new(r, &dhcp_options_kind);
	v = value_append(value_open(set->doc, "DhcpConfigurations"));
	value_set_string(v, "Key", "domain-name");
	value_set_string(value_append(value_open(v, "Values")), "Value",
	                 strcmp(r->region, "us-east-1")
	                         ? arena_printf(r->arena, "%s.compute.internal", r->region)
	                         : "ec2.internal");
	v = value_append(value_open(set->doc, "DhcpConfigurations"));
	value_set_string(v, "Key", "domain-name-servers");
	value_set_string(value_append(value_open(v, "Values")), "Value", "AmazonProvidedDNS");
	resource_insert(r, set);
	property_set(r, region_key(r), "default-dhcp-options", set->id);
	return set->id;
}

static int check_addresses(struct request *r, const char *key, const struct value *values)
{
	if (value_count(values) > SERVERS_MAX)
		return request_fail(r, "InvalidParameterValue", "The option %s has at most %d addresses", key,
		                    SERVERS_MAX);
	for (unsigned i = 0; i < values->count; i++) {
		const char *text = value_item(values, i)->text;
		struct ip a;

		if (!strcmp(key, "domain-name-servers") && !strcmp(text, "AmazonProvidedDNS"))
			continue;
		if (ip_parse(&a, text) < 0)
			return request_fail(
			        r, "InvalidParameterValue",
			        "Value (%.64s) for parameter value is invalid. Invalid IPv4 address", text);
	}
	return 0;
}

/* EC2 API Reference: CreateDhcpOptions, NewDhcpConfiguration */
static int check_option(struct request *r, const char *key, const struct value *values)
{
	if (!value_count(values))
		return request_fail(r, "InvalidParameterValue", "The option %s has no values", key);
	if (!strcmp(key, "domain-name-servers") || !strcmp(key, "ntp-servers") ||
	    !strcmp(key, "netbios-name-servers"))
		return check_addresses(r, key, values);
	if (!strcmp(key, "domain-name"))
		return values->count == 1 ? 0
		                          : request_fail(r, "InvalidParameterValue",
		                                         "The option domain-name has one value");
	if (!strcmp(key, "netbios-node-type")) {
		const char *type = value_item(values, 0)->text;

		if (values->count == 1 && strlen(type) == 1 && strchr("1248", *type))
			return 0;
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.32s) for parameter value is invalid. Valid: 1, 2, 4, 8", type);
	}
	return request_fail(r, "InvalidParameterValue",
	                    "Value (%.64s) for parameter key is invalid. Unknown DHCP option", key);
}

ACTION(ec2, CreateDhcpOptions)
{
	const struct value *list = value_get(r->in, "DhcpConfigurations");
	struct resource *set = resource_new(r, &dhcp_options_kind);
	struct value *out = value_open(set->doc, "DhcpConfigurations");

	if (!value_count(list))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter dhcpConfiguration");
	for (unsigned i = 0; i < list->count; i++) {
		const struct value *values = value_get(value_item(list, i), "Values");
		const char *key = value_string(value_item(list, i), "Key");
		struct value *option;

		if (!key)
			return request_fail(r, "MissingParameter",
			                    "The request must contain the parameter dhcpConfiguration.key");
		if (check_option(r, key, values) < 0)
			return -1;
		for (unsigned k = 0; k < out->count; k++)
			if (!strcmp(value_string(value_item(out, k), "Key"), key))
				return request_fail(r, "InvalidParameterValue",
				                    "The option %s is given twice", key);
		option = value_append(out);
		value_set_string(option, "Key", key);
		for (unsigned k = 0; k < values->count; k++)
			value_set_string(value_append(value_open(option, "Values")), "Value",
			                 value_item(values, k)->text);
	}
	if (resource_count(r, &dhcp_options_kind, NULL) >= SETS_MAX)
		return request_fail(r, "DhcpOptionsLimitExceeded",
		                    "The maximum number of DHCP options sets has been reached.");
	if (tag_specifications(r, set, NULL) < 0)
		return -1;
	resource_insert(r, set);
	value_put(r->out, "DhcpOptions", set->doc);
	return 0;
}

ACTION(ec2, AssociateDhcpOptions)
{
	const char *id = value_string(r->in, "DhcpOptionsId");
	struct resource *vpc = resource_of(r, &vpc_kind, "VpcId");

	if (!vpc)
		return -1;
	if (strcmp(id, "default") && !resource_get(r, &dhcp_options_kind, id))
		return -1;
	link_remove(r, vpc->id, "dhcp-options", NULL);
	if (strcmp(id, "default"))
		link_add(r, vpc->id, "dhcp-options", id);
	value_set_string(vpc->doc, "DhcpOptionsId", id);
	resource_save(r, vpc);
	return 0;
}

ACTION(ec2, DeleteDhcpOptions)
{
	struct resource *set = resource_of(r, &dhcp_options_kind, "DhcpOptionsId");

	if (!set)
		return -1;
	if (link_source(r, set->id, "dhcp-options"))
		return request_fail(r, "DependencyViolation",
		                    "The dhcpOptions '%s' has dependencies and cannot be deleted.", set->id);
	if (property_is(r, region_key(r), "default-dhcp-options", set->id))
		property_set(r, region_key(r), "default-dhcp-options", NULL);
	resource_delete(r, set);
	return 0;
}

ACTION(ec2, DescribeDhcpOptions)
{
	static const struct describe d = {
	        .kind = &dhcp_options_kind, .list = "DhcpOptions", .ids = "DhcpOptionsIds"};

	return describe_run(r, &d);
}
