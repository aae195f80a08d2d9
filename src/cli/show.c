/* What `insula show` says of an instance to people. */
#include "cli/show.h"
#include "base/types.h"
#include "cli/client.h"
#include "cli/table.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void line(const char *what, const char *text)
{
	if (*text)
		printf("  %-10s %s\n", what, text);
}

static const char *moment(const json_t *v, const char *member, char text[40])
{
	time_t at = (time_t)json_number_value(json_object_get(v, member));
	struct tm tm;

	*text = 0;
	if (at && gmtime_r(&at, &tm))
		strftime(text, 40, "%Y-%m-%d %H:%M:%S UTC", &tm);
	return text;
}

static const char *address(const char *label, const char *text, const char *public)
{
	char both[160];

	if (!*text)
		return label;
	snprintf(both, sizeof(both), "%s%s%s", text, *public ? ", public " : "", public);
	line(label, both);
	return "";
}

/* Those of all its interfaces, a line each. */
static void addresses(const json_t *instance)
{
	const json_t *interfaces = json_object_get(instance, "NetworkInterfaces"), *interface, *item;
	const char *label = "addresses";
	size_t i, k;

	json_array_foreach(interfaces, i, interface)
	{
		json_array_foreach(json_object_get(interface, "PrivateIpAddresses"), k, item) label =
		        address(label, client_text(item, "PrivateIpAddress"),
		                client_text(item, "Association.PublicIp"));
		json_array_foreach(json_object_get(interface, "Ipv6Addresses"), k, item) label =
		        address(label, client_text(item, "Ipv6Address"), "");
	}
	if (*label)
		address(label, client_text(instance, "PrivateIpAddress"),
		        client_text(instance, "PublicIpAddress"));
}

static void place(const json_t *instance)
{
	char text[256];

	snprintf(text, sizeof(text), "%s, %s, %s", client_text(instance, "Placement.AvailabilityZone"),
	         client_text(instance, "VpcId"), client_text(instance, "SubnetId"));
	line("place", text);
	line("group", client_text(instance, "Placement.GroupName"));
}

static void credits(const json_t *c)
{
	char text[160];

	if (!c)
		return;
	snprintf(text, sizeof(text), "%.1f, %lld an hour (%s, baseline %g %%)",
	         json_number_value(json_object_get(c, "Balance")),
	         (long long)json_integer_value(json_object_get(c, "EarnedPerHour")), client_text(c, "Mode"),
	         json_number_value(json_object_get(c, "BaselinePercent")));
	line("credits", text);
}

static void lists(const json_t *instance)
{
	const json_t *item;
	char text[320];
	size_t i;

	json_array_foreach(json_object_get(instance, "SecurityGroups"), i, item)
	{
		snprintf(text, sizeof(text), "%s (%s)", client_text(item, "GroupName"),
		         client_text(item, "GroupId"));
		line(i ? "" : "security", text);
	}
	json_array_foreach(json_object_get(instance, "BlockDeviceMappings"), i, item)
	{
		bool deleted =
		        json_is_true(json_object_get(json_object_get(item, "Ebs"), "DeleteOnTermination"));

		snprintf(text, sizeof(text), "%s is %s, %s with the instance",
		         client_text(item, "DeviceName"), client_text(item, "Ebs.VolumeId"),
		         deleted ? "deleted" : "not deleted");
		line(i ? "" : "volumes", text);
	}
	json_array_foreach(json_object_get(instance, "Tags"), i, item)
	{
		snprintf(text, sizeof(text), "%s = %s", client_text(item, "Key"), client_text(item, "Value"));
		line(i ? "" : "tags", text);
	}
}

void show_instance(const json_t *instance, const char *name)
{
	const char *state = client_text(instance, "State.Name"), *reason;
	char text[40];

	printf("%s%s%s %s%s%s\n", client_text(instance, "InstanceId"), *name ? " " : "", name,
	       table_colour(state), state, table_plain());
	reason = client_text(instance, "StateReason.Message");
	line("because", *reason ? reason : client_text(instance, "StateTransitionReason"));
	line("type", client_text(instance, "InstanceType"));
	line("image", client_text(instance, "ImageId"));
	line("launched", moment(instance, "LaunchTime", text));
	place(instance);
	addresses(instance);
	line("key", client_text(instance, "KeyName"));
	credits(json_object_get(instance, "CpuCredits"));
	lists(instance);
}
