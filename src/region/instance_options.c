/* What is changed of instances beside their attributes: monitoring, metadata options, placement; passwords.
 */
#include "region/instance.h"
#include "region/placement_group.h"
#include "region/tenancy.h"

#include <string.h>

/* ---- monitoring ---- */

static int monitor(struct request *r, const char *state)
{
	const struct value *ids = value_get(r->in, "InstanceIds");
	struct value *list = value_open(r->out, "InstanceMonitorings"), *item;

	if (!value_count(ids))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter InstanceId");
	for (unsigned i = 0; i < ids->count; i++) {
		struct resource *instance = resource_get(r, &instance_kind, value_item(ids, i)->text);

		if (!instance)
			return -1;
		if (instance_state_of(instance->doc) == INSTANCE_TERMINATED)
			return request_fail(r, "IncorrectInstanceState", "The instance '%s' is terminated.",
			                    instance->id);
		value_set_string(value_open(instance->doc, "Monitoring"), "State", state);
		resource_save(r, instance);
		item = value_append(list);
		value_set_string(item, "InstanceId", instance->id);
		value_set_string(value_open(item, "Monitoring"), "State", state);
	}
	return 0;
}

ACTION(ec2, MonitorInstances)
{
	return monitor(r, "enabled");
}

ACTION(ec2, UnmonitorInstances)
{
	return monitor(r, "disabled");
}

/* ---- passwords ---- */

/* Only Windows makes one; for others the API answers with an empty one. */
ACTION(ec2, GetPasswordData)
{
	struct resource *instance = resource_of(r, &instance_kind, "InstanceId");

	if (!instance)
		return -1;
	value_set_string(r->out, "InstanceId", instance->id);
	value_set_time(r->out, "Timestamp", r->now_ms);
	value_set_string(r->out, "PasswordData", "");
	return 0;
}

/* ---- placement ---- */

static int check_placement(struct request *r)
{
	static const char *const others[] = {"HostId", "HostResourceGroupArn", "Tenancy", "Affinity"};
	bool other = false;

	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		other |= value_get(r->in, others[i]) != NULL;
	if (value_get(r->in, "GroupName") && value_get(r->in, "GroupId"))
		return request_fail(r, "InvalidParameterCombination",
		                    "The parameters GroupName and GroupId cannot be used together");
	if (!value_get(r->in, "GroupName") && !value_get(r->in, "GroupId") &&
	    !value_get(r->in, "PartitionNumber") && !other)
		return request_fail(r, "MissingParameter",
		                    "The request must contain a placement to modify: GroupName, GroupId, "
		                    "PartitionNumber, Tenancy, HostId or Affinity");
	return 0;
}

/* The group it is in from its next start on, and its number there: 0 for any. */
static int change_group(struct request *r, struct resource *instance, const struct resource *group)
{
	s64 number = value_integer(r->in, "PartitionNumber", 0);
	struct value *placement = value_open(instance->doc, "Placement");
	struct schedule_wish wish = {0};
	struct query *q;

	placement_group_wish(group, &wish);
	if (value_get(r->in, "PartitionNumber") && (number < 1 || number > wish.partitions))
		return request_fail(
		        r, "InvalidParameterValue",
		        "Value (%lld) for parameter PartitionNumber is invalid: the group has %lld "
		        "partitions",
		        (long long)number, (long long)wish.partitions);
	value_set_string(placement, "GroupName", wish.group);
	value_set_string(placement, "GroupId", group ? group->id : NULL);
	value_remove(placement, "PartitionNumber");
	if (number)
		value_set_integer(placement, "PartitionNumber", number);
	q = database_query(r->cloud->db, "UPDATE machine SET placement_group = $1, partition = $2 "
	                                 "WHERE instance = $3");
	query_run(query_text(query_integer(query_text(q, wish.group), number), instance->id));
	return 0;
}

ACTION(ec2, ModifyInstancePlacement)
{
	const char *name = value_string(r->in, "GroupName"), *id = value_string(r->in, "GroupId");
	struct resource *instance = resource_of(r, &instance_kind, "InstanceId"), *group = NULL;

	if (!instance || check_placement(r) < 0)
		return -1;
	if (instance_state_of(instance->doc) != INSTANCE_STOPPED)
		return request_fail(r, "IncorrectInstanceState",
		                    "The instance '%s' is not in the 'stopped' state.", instance->id);
	if (tenancy_modify(r, instance) < 0)
		return -1;
	if (id)
		group = resource_get(r, &placement_group_kind, id);
	else if (name && *name)
		group = placement_group_named(r, name);
	if (!group && (id || (name && *name)))
		return -1;
	if (!id && !name && value_get(r->in, "PartitionNumber"))
		group = placement_group_find(r, value_path(instance->doc, "Placement.GroupName"));
	if ((id || name || value_get(r->in, "PartitionNumber")) && change_group(r, instance, group) < 0)
		return -1;
	resource_save(r, instance);
	value_set_boolean(r->out, "Return", true);
	return 0;
}
