/* Regions and availability zones. */
#include "region/describe.h"
#include "region/filter.h"
#include "region/region.h"

#include <stdio.h>
#include <string.h>

static const struct resource_kind region_kind = {.name = "region", .shape = "Region"};

static const char *const zone_filters[] = {"zone-name", "ZoneName",         "state", "State",
                                           "message",   "Messages.Message", NULL};
static const struct resource_kind zone_kind = {
        .name = "availability-zone", .shape = "AvailabilityZone", .filters = zone_filters};

static void add_region(struct request *r, const struct filter *filters, const char *name)
{
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &region_kind));

	value_set_string(v, "RegionName", name);
	value_set_string(v, "Endpoint", arena_printf(r->arena, "ec2.%s.amazonaws.com", name));
	value_set_string(v, "OptInStatus", "opt-in-not-required");
	if (filter_match(filters, v))
		value_append_value(value_open(r->out, "Regions"), v);
}

ACTION(ec2, DescribeRegions)
{
	const struct value *names = value_get(r->in, "RegionNames");
	struct filter *filters;

	value_open(r->out, "Regions");
	if (filter_read(r, &region_kind, &filters) < 0)
		return -1;
	for (unsigned i = 0; i < value_count(names); i++) {
		const char *name = value_item(names, i)->text;

		if (!region_offered(r->cloud, name))
			return request_fail(r, "InvalidParameterValue", "Invalid region names: [%.100s]",
			                    name);
		add_region(r, filters, name);
	}
	if (!value_count(names)) {
		const char *name;

		for (unsigned i = 0; (name = region_listed(r->cloud, r->arena, r->account, i)); i++)
			add_region(r, filters, name);
	}
	return 0;
}

ACTION(ec2, DescribeAvailabilityZones)
{
	const struct value *names = value_get(r->in, "ZoneNames"), *ids = value_get(r->in, "ZoneIds");
	struct value *list = value_open(r->out, "AvailabilityZones");
	struct filter *filters;
	unsigned found = 0;

	if (filter_read(r, &zone_kind, &filters) < 0)
		return -1;
	for (char letter = 'a'; letter < 'a' + REGION_ZONES; letter++) {
		struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &zone_kind));
		const char *name = arena_printf(r->arena, "%s%c", r->region, letter);
		const char *id = region_zone_id(r->arena, r->region, letter);

		if (value_count(names) && !value_has_string(names, name))
			continue;
		if (value_count(ids) && !value_has_string(ids, id))
			continue;
		found++;
		value_set_string(v, "State", "available");
		value_set_string(v, "OptInStatus", "opt-in-not-required");
		value_set_string(v, "RegionName", r->region);
		value_set_string(v, "ZoneName", name);
		value_set_string(v, "ZoneId", id);
		value_set_string(v, "GroupName", r->region);
		value_set_string(v, "NetworkBorderGroup", r->region);
		value_set_string(v, "ZoneType", "availability-zone");
		value_open(v, "Messages");
		if (filter_match(filters, v))
			value_append_value(list, v);
	}
	if (found < value_count(names) + value_count(ids))
		return request_fail(r, "InvalidParameterValue", "Invalid availability zone: [%.100s]",
		                    value_item(value_count(names) ? names : ids, 0)->text);
	return 0;
}

/* The zones of a region are one group, which is in from the start. */
ACTION(ec2, ModifyAvailabilityZoneGroup)
{
	const char *group = value_string(r->in, "GroupName");

	if (strcmp(group, r->region))
		return request_fail(r, "InvalidParameterValue", "Invalid zone group: [%.64s]", group);
	if (strcmp(value_string(r->in, "OptInStatus"), "opted-in"))
		return request_fail(r, "UnsupportedOperation", "The zone group '%s' cannot be opted out of",
		                    group);
	value_set_boolean(r->out, "Return", true);
	return 0;
}
