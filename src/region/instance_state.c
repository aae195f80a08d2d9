/* StartInstances, StopInstances, RebootInstances, TerminateInstances. */
#include "region/capacity_reservation.h"
#include "region/instance.h"
#include "region/placement_group.h"
#include "region/schedule.h"
#include "region/tenancy.h"
#include "model/scalar.h"

#include <string.h>

/* How long a guest has to shut down after its power button. */
enum { STOP_MS = 120 * 1000 };

/* All of the request's instances, or NULL with a fault. */
static struct resource **instances(struct request *r, unsigned *count)
{
	const struct value *ids = value_get(r->in, "InstanceIds");
	struct resource **list = arena_alloc(r->arena, (value_count(ids) + 1) * sizeof(struct resource *));

	*count = value_count(ids);
	if (!*count) {
		request_fail(r, "MissingParameter", "The request must contain the parameter InstanceId");
		return NULL;
	}
	for (unsigned i = 0; i < *count; i++) {
		list[i] = resource_get(r, &instance_kind, value_item(ids, i)->text);
		if (!list[i])
			return NULL;
	}
	return list;
}

static const char *user_reason(struct request *r, const char *what)
{
	struct buffer b = {0};
	const char *text;

	scalar_write_time(&b, r->now_ms);
	text = arena_printf(r->arena, "%s (%.10s %.8s GMT)", what, buffer_str(&b), buffer_str(&b) + 11);
	buffer_release(&b);
	return text;
}

static void report(struct request *r, const char *list, const struct resource *instance,
                   enum instance_state before)
{
	struct value *change = value_append(value_open(r->out, list));

	value_set_string(change, "InstanceId", instance->id);
	instance_state_write(value_open(change, "CurrentState"), instance_state_of(instance->doc));
	instance_state_write(value_open(change, "PreviousState"), before);
}

static int incorrect(struct request *r, const struct resource *instance, const char *action)
{
	return request_fail(r, "IncorrectInstanceState",
	                    "The instance '%s' is not in a state from which it can be %s (%s).", instance->id,
	                    action, instance_state_name(instance_state_of(instance->doc)));
}

ACTION(ec2, StopInstances)
{
	bool force = value_boolean(r->in, "Force", false);
	unsigned count;
	struct resource **list = instances(r, &count);

	if (!list)
		return -1;
	if (value_boolean(r->in, "Hibernate", false))
		return request_fail(r, "UnsupportedHibernationConfiguration",
		                    "Hibernation is not offered here yet");
	for (unsigned i = 0; i < count; i++) {
		enum instance_state before = instance_state_of(list[i]->doc);
		struct machine *m = machine_find(r, list[i]->id);

		if (before == INSTANCE_SHUTTING_DOWN || before == INSTANCE_TERMINATED ||
		    before == INSTANCE_PENDING)
			return incorrect(r, list[i], "stopped");
		if (m && value_boolean(value_get(m->attributes, "DisableApiStop"), "Value", false))
			return request_fail(r, "OperationNotPermitted",
			                    "The instance '%s' may not be stopped. Modify its "
			                    "'disableApiStop' instance attribute and try again.",
			                    list[i]->id);
		if (m && (before == INSTANCE_RUNNING || (before == INSTANCE_STOPPING && force))) {
			bool now = m->simulated;

			instance_enter(r, list[i], now ? INSTANCE_STOPPED : INSTANCE_STOPPING,
			               user_reason(r, "User initiated"), "Client.UserInitiatedShutdown",
			               "Client.UserInitiatedShutdown: User initiated shutdown");
			machine_set(r, list[i]->id, "stopped",
			            now     ? "stopped"
			            : force ? "killing"
			                    : "running",
			            r->now_ms + STOP_MS);
		}
		report(r, "StoppingInstances", list[i], before);
	}
	return 0;
}

ACTION(ec2, TerminateInstances)
{
	unsigned count;
	struct resource **list = instances(r, &count);

	if (!list)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		struct machine *m = machine_find(r, list[i]->id);

		if (m && value_boolean(value_get(m->attributes, "DisableApiTermination"), "Value", false))
			return request_fail(r, "OperationNotPermitted",
			                    "The instance '%s' may not be terminated. Modify its "
			                    "'disableApiTermination' instance attribute and try again.",
			                    list[i]->id);
	}
	for (unsigned i = 0; i < count; i++) {
		enum instance_state before = instance_state_of(list[i]->doc);
		struct machine *m = machine_find(r, list[i]->id);

		if (m && before != INSTANCE_TERMINATED && before != INSTANCE_SHUTTING_DOWN) {
			bool now = m->simulated || before == INSTANCE_STOPPED;

			value_set_time(list[i]->doc, "UsageOperationUpdateTime", r->now_ms);
			instance_enter(r, list[i], now ? INSTANCE_TERMINATED : INSTANCE_SHUTTING_DOWN,
			               user_reason(r, "User initiated"), "Client.UserInitiatedShutdown",
			               "Client.UserInitiatedShutdown: User initiated shutdown");
			machine_set(r, list[i]->id, "terminated",
			            m->simulated                 ? "terminated"
			            : before == INSTANCE_STOPPED ? "stopped"
			                                         : "killing",
			            0);
		}
		report(r, "TerminatingInstances", list[i], before);
	}
	return 0;
}

/* What boots from a disk needs it. */
static int check_root(struct request *r, const struct resource *instance, const struct machine *m)
{
	const char *root = value_string(instance->doc, "RootDeviceName");
	const struct value *list = value_get(instance->doc, "BlockDeviceMappings");

	for (unsigned i = 0; i < value_count(list); i++)
		if (root && !strcmp(value_string(value_item(list, i), "DeviceName"), root))
			return 0;
	if (!*m->disk)
		return 0;
	return request_fail(r, "InvalidParameterValue",
	                    "Invalid value '%s' for instanceId. Instance does not have a volume attached at "
	                    "root (%s)",
	                    instance->id, root ? root : "");
}

ACTION(ec2, StartInstances)
{
	unsigned count;
	struct resource **list = instances(r, &count);

	if (!list)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		enum instance_state before = instance_state_of(list[i]->doc);
		struct machine *m = machine_find(r, list[i]->id);
		struct schedule_place place;
		struct query *q;

		if (before != INSTANCE_STOPPED && before != INSTANCE_RUNNING && before != INSTANCE_PENDING)
			return incorrect(r, list[i], "started");
		if (m && before == INSTANCE_STOPPED) {
			const struct resource *group = *m->group ? placement_group_find(r, m->group) : NULL;
			struct schedule_wish wish = {
			        .zone = value_path(list[i]->doc, "Placement.AvailabilityZone"),
			        .vcpus = m->vcpus,
			        .memory_mib = m->memory,
			        .partition = m->partition};

			placement_group_wish(group, &wish);
			tenancy_of_instance(list[i]->doc, &wish);
			capacity_of_instance(list[i]->doc, &wish);
			wish.instance = list[i]->id;
			if (check_root(r, list[i], m) < 0 || schedule_enter(r, &wish, &place) < 0)
				return -1;
			q = database_query(r->cloud->db, "UPDATE machine SET host = $1, partition = $2 "
			                                 "WHERE instance = $3");
			query_run(query_text(query_integer(query_text(q, place.host), place.partition),
			                     list[i]->id));
			if (place.partition)
				value_set_integer(value_open(list[i]->doc, "Placement"), "PartitionNumber",
				                  place.partition);
			tenancy_show(value_open(list[i]->doc, "Placement"), &wish, &place);
			capacity_show(list[i]->doc, &wish, &place);
			value_set_time(list[i]->doc, "LaunchTime", r->now_ms);
			instance_enter(r, list[i], place.simulated ? INSTANCE_RUNNING : INSTANCE_PENDING, "",
			               NULL, NULL);
			machine_set(r, list[i]->id, "running", place.simulated ? "running" : "pending", 0);
		}
		report(r, "StartingInstances", list[i], before);
	}
	return 0;
}

ACTION(ec2, RebootInstances)
{
	unsigned count;
	struct resource **list = instances(r, &count);

	if (!list)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		struct machine *m = machine_find(r, list[i]->id);

		if (instance_state_of(list[i]->doc) != INSTANCE_RUNNING || !m)
			return incorrect(r, list[i], "rebooted");
		if (!m->simulated)
			machine_set(r, list[i]->id, "rebooted", "running", r->now_ms + STOP_MS);
	}
	return 0;
}
