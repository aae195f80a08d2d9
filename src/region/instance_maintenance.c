/* What EC2 asks and tells about the upkeep of instances: recovery, reports, screenshots, interrupts, names.
 */
#include "region/capacity_reservation.h"
#include "region/instance.h"
#include "region/instance_network.h"

#include <string.h>

static struct resource *living(struct request *r)
{
	struct resource *instance = resource_of(r, &instance_kind, "InstanceId");

	if (instance && instance_state_of(instance->doc) == INSTANCE_TERMINATED) {
		request_fail(r, "IncorrectInstanceState", "The instance '%s' is terminated.", instance->id);
		return NULL;
	}
	return instance;
}

ACTION(ec2, ModifyInstanceMaintenanceOptions)
{
	struct resource *instance = living(r);
	const char *recovery = value_string(r->in, "AutoRecovery");

	if (!instance)
		return -1;
	if (!recovery)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter autoRecovery");
	value_set_string(value_open(instance->doc, "MaintenanceOptions"), "AutoRecovery", recovery);
	resource_save(r, instance);
	value_set_string(r->out, "InstanceId", instance->id);
	value_set_string(r->out, "AutoRecovery", recovery);
	return 0;
}

/* EC2 collects these for its own engineers; DescribeInstanceStatus does not change by them. */
ACTION(ec2, ReportInstanceStatus)
{
	const struct value *ids = value_get(r->in, "Instances");
	const struct value *start = value_get(r->in, "StartTime"), *end = value_get(r->in, "EndTime");

	for (unsigned i = 0; i < value_count(ids); i++) {
		struct resource *instance = resource_get(r, &instance_kind, value_item(ids, i)->text);

		if (!instance)
			return -1;
		if (instance_state_of(instance->doc) != INSTANCE_RUNNING)
			return request_fail(r, "IncorrectInstanceState", "The instance '%s' is not running.",
			                    instance->id);
	}
	if (start && end && end->integer < start->integer)
		return request_fail(r, "InvalidParameterCombination",
		                    "The end time is before the start time");
	return 0;
}

ACTION(ec2, GetConsoleScreenshot)
{
	if (!living(r))
		return -1;
	return request_fail(
	        r, "UnsupportedOperation",
	        "Machines have a serial console here and no screen: GetConsoleOutput has what they "
	        "say");
}

ACTION(ec2, SendDiagnosticInterrupt)
{
	if (!living(r))
		return -1;
	return request_fail(r, "UnsupportedOperation",
	                    "An interrupt cannot be sent to a machine here, only its power button pressed: "
	                    "StopInstances, RebootInstances");
}

ACTION(ec2, GetInstanceUefiData)
{
	if (!living(r))
		return -1;
	return request_fail(r, "UnsupportedOperation", "Machines are not booted by UEFI here");
}

/* No maintenance is ever planned. */
ACTION(ec2, ModifyInstanceEventStartTime)
{
	struct resource *instance = living(r);

	if (!instance)
		return -1;
	return request_fail(r, "InvalidInstanceEventIDNotFound",
	                    "The instance '%s' has no event of the ID '%.64s'", instance->id,
	                    value_string(r->in, "InstanceEventId"));
}

ACTION(ec2, ModifyPrivateDnsNameOptions)
{
	static const char *const records[] = {"EnableResourceNameDnsARecord",
	                                      "EnableResourceNameDnsAAAARecord"};
	struct resource *instance = living(r);
	const char *kind = value_string(r->in, "PrivateDnsHostnameType");
	struct value *options;

	if (!instance)
		return -1;
	if (kind && instance_state_of(instance->doc) != INSTANCE_STOPPED)
		return request_fail(r, "IncorrectInstanceState",
		                    "The instance '%s' is not in the 'stopped' state.", instance->id);
	options = value_open(instance->doc, "PrivateDnsNameOptions");
	if (kind)
		value_set_string(options, "HostnameType", kind);
	for (unsigned i = 0; i < ARRAY_SIZE(records); i++)
		if (value_get(r->in, records[i]))
			value_set_boolean(options, records[i], value_boolean(r->in, records[i], false));
	resource_save(r, instance);
	instance_network_changed(r, instance->id);
	value_set_boolean(r->out, "Return", true);
	return 0;
}

ACTION(ec2, ModifyInstanceCapacityReservationAttributes)
{
	const struct value *spec = value_get(r->in, "CapacityReservationSpecification");
	const char *preference = value_string(spec, "CapacityReservationPreference");
	struct schedule_wish wish = {0};
	struct resource *instance = living(r);

	if (!instance)
		return -1;
	if (capacity_read(r, spec, &wish) < 0)
		return -1;
	if (!preference && !wish.reservation)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter capacityReservationPreference");
	if (instance_state_of(instance->doc) != INSTANCE_STOPPED)
		return request_fail(r, "IncorrectInstanceState",
		                    "The instance '%s' is not in the 'stopped' state.", instance->id);
	capacity_show(instance->doc, &wish, NULL);
	resource_save(r, instance);
	value_set_boolean(r->out, "Return", true);
	return 0;
}
