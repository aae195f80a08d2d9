/* What makes launches faster elsewhere. Fast launch is for images of Windows, of which there are none. Fast
 * snapshot restores are records: a volume that is made of a snapshot has all of its bytes at once here, so
 * what they promise is so. A snapshot is linked to its zones ("fast-restore"). */
#include "region/describe.h"
#include "region/filter.h"
#include "region/image.h"
#include "region/link.h"
#include "region/snapshot.h"

#include <stdlib.h>
#include <string.h>

ACTION(ec2, EnableFastLaunch)
{
	struct resource *image = image_own(r, value_string(r->in, "ImageId"));

	if (!image)
		return -1;
	return request_fail(r, "UnsupportedOperation",
	                    "Fast launch is for images of Windows; '%s' is not one", image->id);
}

ACTION(ec2, DisableFastLaunch)
{
	struct resource *image = image_own(r, value_string(r->in, "ImageId"));

	if (!image)
		return -1;
	return request_fail(r, "IncorrectState", "Fast launch is not enabled for the image '%s'", image->id);
}

ACTION(ec2, DescribeFastLaunchImages)
{
	static const char *const names[] = {"launch-template", "LaunchTemplate.LaunchTemplateId", NULL};
	static const struct resource_kind kind = {
	        .filters = names, .name = "image", .shape = "DescribeFastLaunchImagesSuccessItem"};
	const struct value *ids = value_get(r->in, "ImageIds");
	struct filter *filter;
	unsigned most;
	s64 after;

	if (filter_read(r, &kind, &filter) < 0 || describe_page(r, &most, &after) < 0)
		return -1;
	for (unsigned i = 0; i < value_count(ids); i++)
		if (!image_get(r, value_item(ids, i)->text, NULL))
			return -1;
	value_open(r->out, "FastLaunchImages");
	return 0;
}

/* ---- fast snapshot restores ---- */

#define RESTORE "fast-restore"
enum { RESTORES_MAX = 50 };

static const char *const filters[] = {"availability-zone",
                                      "AvailabilityZone",
                                      "owner-id",
                                      "OwnerId",
                                      "snapshot-id",
                                      "SnapshotId",
                                      "state",
                                      "State",
                                      NULL};
static const struct resource_kind restore_kind = {.name = "fast-snapshot-restore",
                                                  .shape = "DescribeFastSnapshotRestoreSuccessItem",
                                                  .filters = filters};

static int check_zones(struct request *r)
{
	const struct value *zones = value_get(r->in, "AvailabilityZones");

	for (unsigned i = 0; i < value_count(zones); i++)
		if (!region_has_zone(r->region, value_item(zones, i)->text))
			return request_fail(r, "InvalidParameterValue", "Invalid availability zone: [%.64s]",
			                    value_item(zones, i)->text);
	return 0;
}

static void show(struct request *r, struct value *v, const struct resource *snapshot, const char *zone,
                 bool enabled)
{
	const char *since = property_get(r, snapshot->id, arena_printf(r->arena, RESTORE ":%s", zone));
	s64 ms = since ? strtoll(since, NULL, 10) : r->now_ms;

	value_set_string(v, "SnapshotId", snapshot->id);
	value_set_string(v, "AvailabilityZone", zone);
	value_set_string(v, "State", enabled ? "enabled" : "disabled");
	value_set_string(v, "StateTransitionReason", "Client.UserInitiated");
	value_set_string(v, "OwnerId", value_string(snapshot->doc, "OwnerId"));
	value_set_time(v, "EnablingTime", ms);
	value_set_time(v, "OptimizingTime", ms);
	value_set_time(v, "EnabledTime", ms);
	if (!enabled) {
		value_set_time(v, "DisablingTime", r->now_ms);
		value_set_time(v, "DisabledTime", r->now_ms);
	}
}

static void refuse(struct request *r, const char *snapshot, const char *zone, const char *code,
                   const char *why)
{
	struct value *list = value_open(r->out, "Unsuccessful"), *v = NULL;

	for (unsigned i = 0; i < list->count; i++)
		if (!strcmp(value_string(value_item(list, i), "SnapshotId"), snapshot))
			v = value_item(list, i);
	if (!v)
		v = value_append(list);
	value_set_string(v, "SnapshotId", snapshot);
	v = value_append(value_open(v, "FastSnapshotRestoreStateErrors"));
	value_set_string(v, "AvailabilityZone", zone);
	value_set_string(value_open(v, "Error"), "Code", code);
	value_set_string(value_open(v, "Error"), "Message", why);
}

static void change(struct request *r, const struct resource *snapshot, const char *zone, bool enable)
{
	const char *property = arena_printf(r->arena, RESTORE ":%s", zone);
	bool enabled = property_get(r, snapshot->id, property) != NULL;

	if (enable && strcmp(value_string(snapshot->doc, "State"), "completed")) {
		refuse(r, snapshot->id, zone, "InvalidSnapshot.InvalidState",
		       "The snapshot is not completed");
		return;
	}
	if (!enable && !enabled) {
		refuse(r, snapshot->id, zone, "IncorrectState", "Fast snapshot restores are not enabled");
		return;
	}
	if (enable && !enabled) {
		property_set(r, snapshot->id, property, arena_printf(r->arena, "%lld", (long long)r->now_ms));
		link_add(r, snapshot->id, RESTORE, zone);
	}
	show(r, value_append(value_open(r->out, "Successful")), snapshot, zone, enable);
	if (!enable) {
		property_set(r, snapshot->id, property, NULL);
		link_remove(r, snapshot->id, RESTORE, zone);
	}
}

static int change_all(struct request *r, bool enable)
{
	const struct value *ids = value_get(r->in, "SourceSnapshotIds"),
	                   *zones = value_get(r->in, "AvailabilityZones");

	if (check_zones(r) < 0)
		return -1;
	value_open(r->out, "Successful");
	value_open(r->out, "Unsuccessful");
	if (value_count(ids) > RESTORES_MAX)
		return request_fail(r, "InvalidParameterValue", "At most %d snapshots can be said at once",
		                    RESTORES_MAX);
	for (unsigned i = 0; i < value_count(ids); i++) {
		struct resource *snapshot = snapshot_get(r, value_item(ids, i)->text);

		if (!snapshot)
			return -1;
		for (unsigned k = 0; k < value_count(zones); k++)
			change(r, snapshot, value_item(zones, k)->text, enable);
	}
	return 0;
}

ACTION(ec2, EnableFastSnapshotRestores)
{
	return change_all(r, true);
}

ACTION(ec2, DisableFastSnapshotRestores)
{
	return change_all(r, false);
}

enum { SNAPSHOTS_PAGE = 1000 };

/* A page has whole snapshots, with as many of their zones as there are. */
ACTION(ec2, DescribeFastSnapshotRestores)
{
	struct value *list = value_open(r->out, "FastSnapshotRestores");
	struct filter *filter;
	const char *ids[SNAPSHOTS_PAGE];
	unsigned count = 0, most;
	struct query *q;
	s64 after;

	if (filter_read(r, &restore_kind, &filter) < 0 || describe_page(r, &most, &after) < 0)
		return -1;
	q = database_query(r->cloud->db, "SELECT DISTINCT s.id, s.seq FROM link l JOIN resource s ON s.id = "
	                                 "l.source WHERE l.what = '" RESTORE "' AND s.account = $1 AND "
	                                 "s.region = $2 AND s.seq > $3 ORDER BY s.seq LIMIT 1000");
	query_integer(query_text(query_text(q, r->account), r->region), after);
	while (count < SNAPSHOTS_PAGE && query_row(q))
		ids[count++] = arena_strdup(r->arena, query_column_text(q, 0));
	query_end(q);
	for (unsigned i = 0; i < count; i++) {
		struct resource *snapshot = resource_find(r, &snapshot_kind, ids[i]);
		const char **zones = link_targets(r, ids[i], RESTORE);

		if (most && list->count >= most) {
			describe_next(r, after);
			return 0;
		}
		for (; snapshot && *zones; zones++) {
			struct value *v =
			        value_new(r->arena, r->model, resource_shape(r->model, &restore_kind));

			show(r, v, snapshot, *zones, true);
			if (filter_match(filter, v))
				value_append_value(list, v);
		}
		after = snapshot ? snapshot->seq : after;
	}
	if (count == SNAPSHOTS_PAGE)
		describe_next(r, after);
	return 0;
}
