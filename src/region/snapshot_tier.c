/* Tiers of snapshots and the recycle bin: there is one tier, and no bin. */
#include "region/describe.h"
#include "region/filter.h"
#include "region/snapshot.h"

#include <string.h>

static const char *const filters[] = {"last-tiering-operation", "LastTieringOperationStatus", NULL};
static const struct resource_kind status_kind = {
        .name = "snapshot-tier-status", .shape = "SnapshotTierStatus", .filters = filters};

struct listing {
	struct request *request;
	const struct filter *filter;
	struct value *list, *shown;
};

static bool match(void *ctx, struct resource *snapshot)
{
	static const char *const same[] = {"SnapshotId", "VolumeId", "OwnerId", "Tags", "StorageTier"};
	struct listing *l = ctx;
	struct request *r = l->request;

	l->shown = value_new(r->arena, r->model, resource_shape(r->model, &status_kind));
	for (unsigned i = 0; i < ARRAY_SIZE(same); i++)
		if (value_get(snapshot->doc, same[i]))
			value_put(l->shown, same[i], value_copy(r->arena, value_get(snapshot->doc, same[i])));
	value_set_string(l->shown, "Status", value_string(snapshot->doc, "State"));
	return filter_match(l->filter, l->shown);
}

static void add(void *ctx, struct resource *snapshot)
{
	struct listing *l = ctx;

	(void)snapshot;
	value_append_value(l->list, l->shown);
}

ACTION(ec2, DescribeSnapshotTierStatus)
{
	struct listing l = {.request = r, .list = value_open(r->out, "SnapshotTierStatuses")};
	const struct describe_each each = {.kind = &snapshot_kind, .match = match, .add = add, .ctx = &l};
	struct filter *filter;

	if (filter_read(r, &status_kind, &filter) < 0)
		return -1;
	l.filter = filter;
	return describe_each(r, &each);
}

ACTION(ec2, ModifySnapshotTier)
{
	if (!resource_of(r, &snapshot_kind, "SnapshotId"))
		return -1;
	return request_fail(r, "UnsupportedOperation", "There is no archive tier for snapshots here");
}

ACTION(ec2, RestoreSnapshotTier)
{
	struct resource *snapshot = resource_of(r, &snapshot_kind, "SnapshotId");

	if (!snapshot)
		return -1;
	return request_fail(r, "IncorrectState", "The snapshot '%s' is not archived", snapshot->id);
}

/* Nothing is kept of what was deleted. */
ACTION(ec2, ListSnapshotsInRecycleBin)
{
	const struct value *ids = value_get(r->in, "SnapshotIds");

	for (unsigned i = 0; i < value_count(ids); i++) {
		if (!resource_get(r, &snapshot_kind, value_item(ids, i)->text))
			return -1;
		return request_fail(r, "InvalidSnapshot.NotFound",
		                    "The snapshot '%s' is not in the recycle bin", value_item(ids, i)->text);
	}
	value_open(r->out, "Snapshots");
	return 0;
}

ACTION(ec2, RestoreSnapshotFromRecycleBin)
{
	struct resource *snapshot = resource_of(r, &snapshot_kind, "SnapshotId");

	if (!snapshot)
		return -1;
	return request_fail(r, "IncorrectState", "The snapshot '%s' is not in the recycle bin", snapshot->id);
}
