#include "region/placement_group.h"
#include "region/describe.h"
#include "region/placement.h"
#include "region/tag.h"

#include <ctype.h>
#include <string.h>

static const char *const filters[] = {"spread-level", "SpreadLevel", "group-arn", "GroupArn", NULL};

RESOURCE_KIND(placement_group_kind) = {
        .name = "placement-group",
        .prefix = "pg-",
        .shape = "PlacementGroup",
        .id = "GroupId",
        .noun = "PlacementGroupId",
        .malformed = "InvalidPlacementGroupId.Malformed",
        .not_found = "InvalidPlacementGroup.Unknown",
        .filters = filters,
};

enum { NAME_MAX_LENGTH = 255, PARTITIONS_MAX = PLACEMENT_PARTITIONS_MAX, GROUPS_MAX = 500 };

struct resource *placement_group_find(struct request *r, const char *name)
{
	return resource_lookup(r, &placement_group_kind, "GroupName", name);
}

struct resource *placement_group_named(struct request *r, const char *name)
{
	struct resource *group = placement_group_find(r, name);

	if (!group)
		request_fail(r, "InvalidPlacementGroup.Unknown", "The Placement Group '%.255s' is unknown.",
		             name);
	return group;
}

void placement_group_wish(const struct resource *group, struct schedule_wish *wish)
{
	wish->group = group ? value_string(group->doc, "GroupName") : "";
	wish->strategy = group ? value_string(group->doc, "Strategy") : "";
	wish->partitions = group ? value_integer(group->doc, "PartitionCount", 0) : 0;
}

ACTION(ec2, CreatePlacementGroup)
{
	const char *name = value_string(r->in, "GroupName"), *strategy = value_string(r->in, "Strategy");
	const char *level = value_string(r->in, "SpreadLevel");
	s64 partitions = value_integer(r->in, "PartitionCount", 0);
	struct resource *group;

	if (!name || !*name)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter GroupName");
	if (strlen(name) > NAME_MAX_LENGTH || isspace((unsigned char)name[0]))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.64s…) for parameter GroupName is invalid: 1 to 255 characters, "
		                    "not beginning with a space",
		                    name);
	if (!strategy)
		strategy = "cluster";
	if (value_get(r->in, "PartitionCount") && strcmp(strategy, "partition"))
		return request_fail(r, "InvalidParameterCombination",
		                    "PartitionCount is for the strategy 'partition' only");
	if (value_get(r->in, "PartitionCount") && (partitions < 1 || partitions > PARTITIONS_MAX))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%lld) for parameter PartitionCount is invalid: 1 to %d",
		                    (long long)partitions, PARTITIONS_MAX);
	if (level && strcmp(strategy, "spread"))
		return request_fail(r, "InvalidParameterCombination",
		                    "SpreadLevel is for the strategy 'spread' only");
	if (placement_group_find(r, name))
		return request_fail(r, "InvalidPlacementGroup.Duplicate",
		                    "The placement group '%s' already exists.", name);
	if (resource_count(r, &placement_group_kind, NULL) >= GROUPS_MAX)
		return request_fail(r, "PlacementGroupLimitExceeded",
		                    "You may have at most %d placement groups", GROUPS_MAX);
	group = resource_new(r, &placement_group_kind);
	value_set_string(group->doc, "GroupName", name);
	value_set_string(group->doc, "State", "available");
	value_set_string(group->doc, "Strategy", strategy);
	value_set_string(
	        group->doc, "GroupArn",
	        arena_printf(r->arena, "arn:aws:ec2:%s:%s:placement-group/%s", r->region, r->account, name));
	if (!strcmp(strategy, "partition"))
		value_set_integer(group->doc, "PartitionCount", partitions ? partitions : 2);
	if (!strcmp(strategy, "spread"))
		value_set_string(group->doc, "SpreadLevel", level ? level : "rack");
	if (tag_specifications(r, group, NULL) < 0)
		return -1;
	resource_insert(r, group);
	value_put(r->out, "PlacementGroup", group->doc);
	return 0;
}

ACTION(ec2, DeletePlacementGroup)
{
	struct resource *group = placement_group_named(r, value_string(r->in, "GroupName"));

	if (!group)
		return -1;
	if (placement_in_use(r, value_string(r->in, "GroupName")))
		return request_fail(r, "InvalidPlacementGroup.InUse",
		                    "The placement group '%s' is in use and may not be deleted.",
		                    value_string(r->in, "GroupName"));
	resource_delete(r, group);
	return 0;
}

ACTION(ec2, DescribePlacementGroups)
{
	static const struct describe d = {.kind = &placement_group_kind,
	                                  .list = "PlacementGroups",
	                                  .ids = "GroupIds",
	                                  .names = "GroupNames",
	                                  .name_path = "GroupName",
	                                  .name_not_found = "InvalidPlacementGroup.Unknown"};

	return describe_run(r, &d);
}
