/* Event windows: when instances may be maintained, and which; and what tags event notifications have. */
#include "region/describe.h"
#include "region/instance.h"
#include "region/tag.h"
#include "region/tenancy.h"

#include <string.h>

static const char *const filters[] = {"event-window-name",
                                      "Name",
                                      "dedicated-host-id",
                                      "AssociationTarget.DedicatedHostIds",
                                      "instance-id",
                                      "AssociationTarget.InstanceIds",
                                      "instance-tag",
                                      "AssociationTarget.Tags.Value",
                                      "instance-tag-key",
                                      "AssociationTarget.Tags.Key",
                                      "instance-tag-value",
                                      "AssociationTarget.Tags.Value",
                                      NULL};

RESOURCE_KIND(instance_event_window_kind) = {
        .name = "instance-event-window",
        .prefix = "iew-",
        .shape = "InstanceEventWindow",
        .id = "InstanceEventWindowId",
        .noun = "InstanceEventWindowID",
        .filters = filters,
};

enum { HOUR_MOST = 23, NAME_MOST = 255, WINDOWS_MOST = 200 };

static int check_hour(struct request *r, const struct value *range, const char *member)
{
	s64 hour = value_integer(range, member, -1);

	if (hour >= 0 && hour <= HOUR_MOST)
		return 0;
	return request_fail(r, "InvalidParameterValue", "Value (%lld) for parameter %s is invalid: 0 to %d",
	                    (long long)hour, member, HOUR_MOST);
}

/* Name, and either ranges or a cron expression; what is not said stays. */
static int read_window(struct request *r, struct value *doc)
{
	const struct value *ranges = value_get(r->in, "TimeRanges");
	const char *name = value_string(r->in, "Name"), *cron = value_string(r->in, "CronExpression");
	struct value *kept;

	if (value_count(ranges) && cron)
		return request_fail(r, "InvalidParameterCombination",
		                    "TimeRanges and CronExpression cannot be used together");
	if (name && (!*name || strlen(name) > NAME_MOST))
		return request_fail(r, "InvalidParameterValue", "A name has 1 to %d characters", NAME_MOST);
	if (name)
		value_set_string(doc, "Name", name);
	if (cron) {
		value_remove(doc, "TimeRanges");
		value_set_string(doc, "CronExpression", cron);
	}
	if (!value_count(ranges))
		return 0;
	for (unsigned i = 0; i < ranges->count; i++) {
		const struct value *range = value_item(ranges, i);

		if (!value_get(range, "StartWeekDay") || !value_get(range, "EndWeekDay"))
			return request_fail(
			        r, "MissingParameter",
			        "A time range has StartWeekDay, StartHour, EndWeekDay and EndHour");
		if (check_hour(r, range, "StartHour") < 0 || check_hour(r, range, "EndHour") < 0)
			return -1;
	}
	value_remove(doc, "CronExpression");
	kept = value_open(doc, "TimeRanges");
	kept->count = 0;
	for (unsigned i = 0; i < ranges->count; i++) {
		static const char *const days[] = {"StartWeekDay", "EndWeekDay"};
		static const char *const hours[] = {"StartHour", "EndHour"};
		struct value *range = value_append(kept);

		for (unsigned k = 0; k < 2; k++) {
			value_set_string(range, days[k], value_string(value_item(ranges, i), days[k]));
			value_set_integer(range, hours[k], value_integer(value_item(ranges, i), hours[k], 0));
		}
	}
	return 0;
}

static void answer(struct request *r, const struct resource *window)
{
	value_put(r->out, "InstanceEventWindow", value_copy(r->arena, window->doc));
}

ACTION(ec2, CreateInstanceEventWindow)
{
	struct resource *window;

	if (!value_count(value_get(r->in, "TimeRanges")) && !value_get(r->in, "CronExpression"))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter timeRanges or cronExpression");
	if (resource_count(r, &instance_event_window_kind, NULL) >= WINDOWS_MOST)
		return request_fail(r, "InstanceEventWindowLimitExceeded",
		                    "There are at most %d event windows", WINDOWS_MOST);
	window = resource_new(r, &instance_event_window_kind);
	if (read_window(r, window->doc) < 0 || tag_specifications(r, window, NULL) < 0)
		return -1;
	value_set_string(window->doc, "State", "creating");
	answer(r, window);
	value_set_string(window->doc, "State", "active");
	resource_insert(r, window);
	return 0;
}

ACTION(ec2, ModifyInstanceEventWindow)
{
	struct resource *window = resource_of(r, &instance_event_window_kind, "InstanceEventWindowId");

	if (!window || read_window(r, window->doc) < 0)
		return -1;
	resource_save(r, window);
	answer(r, window);
	return 0;
}

ACTION(ec2, DeleteInstanceEventWindow)
{
	struct resource *window = resource_of(r, &instance_event_window_kind, "InstanceEventWindowId");
	struct value *state;

	if (!window)
		return -1;
	if (value_get(window->doc, "AssociationTarget") && !value_boolean(r->in, "ForceDelete", false))
		return request_fail(r, "InvalidInstanceEventWindowState",
		                    "The event window '%s' has targets; ForceDelete deletes it with them",
		                    window->id);
	resource_delete(r, window);
	state = value_open(r->out, "InstanceEventWindowState");
	value_set_string(state, "InstanceEventWindowId", window->id);
	value_set_string(state, "State", "deleting");
	return 0;
}

ACTION(ec2, DescribeInstanceEventWindows)
{
	static const struct describe d = {.kind = &instance_event_window_kind,
	                                  .list = "InstanceEventWindows",
	                                  .ids = "InstanceEventWindowIds"};

	return describe_run(r, &d);
}

/* ---- targets ---- */

static int check_targets(struct request *r, const struct value *target)
{
	const struct value *instances = value_get(target, "InstanceIds");
	const struct value *hosts = value_get(target, "DedicatedHostIds"),
	                   *tags = value_get(target, "InstanceTags");

	if ((value_count(instances) != 0) + (value_count(hosts) != 0) + (value_count(tags) != 0) != 1)
		return request_fail(r, "InvalidParameterCombination",
		                    "A target has one of InstanceIds, InstanceTags and DedicatedHostIds");
	for (unsigned i = 0; i < value_count(instances); i++)
		if (!resource_get(r, &instance_kind, value_item(instances, i)->text))
			return -1;
	for (unsigned i = 0; i < value_count(hosts); i++)
		if (!resource_get(r, &dedicated_host_kind, value_item(hosts, i)->text))
			return -1;
	return 0;
}

static bool same_tag(const struct value *a, const struct value *b)
{
	const char *v = value_string(a, "Value"), *w = value_string(b, "Value");

	return !strcmp(value_string(a, "Key"), value_string(b, "Key")) && !strcmp(v ? v : "", w ? w : "");
}

/* The items of `from` in `to`, or out of it. */
static void change(struct value *to, const struct value *from, bool in)
{
	for (unsigned i = 0; i < value_count(from); i++) {
		const struct value *item = value_item(from, i);
		bool there = false;

		for (unsigned k = to->count; k-- > 0;) {
			bool same = item->kind == VALUE_STRING ? !strcmp(value_item(to, k)->text, item->text)
			                                       : same_tag(value_item(to, k), item);

			there |= same;
			if (same && !in)
				value_delete_item(to, k);
		}
		if (!in || there)
			continue;
		if (item->kind == VALUE_STRING) {
			value_append_string(to, item->text);
		} else {
			struct value *tag = value_append(to);

			value_set_string(tag, "Key", value_string(item, "Key"));
			value_set_string(tag, "Value", value_string(item, "Value"));
		}
	}
}

static int associate(struct request *r, bool in)
{
	static const char *const lists[][2] = {{"InstanceIds", "InstanceIds"},
	                                       {"DedicatedHostIds", "DedicatedHostIds"},
	                                       {"InstanceTags", "Tags"}};
	struct resource *window = resource_of(r, &instance_event_window_kind, "InstanceEventWindowId");
	const struct value *target = value_get(r->in, "AssociationTarget");
	struct value *kept;
	unsigned left = 0;

	if (!window || check_targets(r, target) < 0)
		return -1;
	for (unsigned i = 0; i < value_count(value_get(target, "InstanceTags")); i++)
		if (!value_string(value_item(value_get(target, "InstanceTags"), i), "Key"))
			return request_fail(r, "InvalidParameterValue", "Tag key cannot be empty.");
	kept = value_open(window->doc, "AssociationTarget");
	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
		change(value_open(kept, lists[i][1]), value_get(target, lists[i][0]), in);
		left += value_count(value_get(kept, lists[i][1]));
	}
	if (!left)
		value_remove(window->doc, "AssociationTarget");
	resource_save(r, window);
	answer(r, window);
	return 0;
}

ACTION(ec2, AssociateInstanceEventWindow)
{
	return associate(r, true);
}

ACTION(ec2, DisassociateInstanceEventWindow)
{
	return associate(r, false);
}
