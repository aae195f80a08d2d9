#include "region/snapshot.h"
#include "region/block_file.h"
#include "region/boot.h"
#include "region/describe.h"
#include "region/ebs_default.h"
#include "region/filter.h"
#include "region/image.h"
#include "region/instance.h"
#include "region/link.h"
#include "region/permission.h"
#include "region/tag.h"
#include "region/volume.h"

#include <stdio.h>
#include <string.h>

static const char *const filters[] = {"status", "State", NULL};

RESOURCE_KIND(snapshot_kind) = {
        .name = "snapshot",
        .prefix = "snap-",
        .shape = "Snapshot",
        .id = "SnapshotId",
        .noun = "Snapshot",
        .malformed = "InvalidSnapshotID.Malformed",
        .filters = filters,
};

#define PERMISSION "create-volume"

enum { DESCRIPTION_MAX = 255 };

/* ---- finding ---- */

struct resource *snapshot_get(struct request *r, const char *id)
{
	struct resource *snapshot = NULL;

	if (resource_id_valid(snapshot_kind.prefix, id))
		snapshot = resource_find(r, &snapshot_kind, id);
	if (!snapshot && resource_id_valid(snapshot_kind.prefix, id))
		snapshot = permission_find(r, &snapshot_kind, id, PERMISSION);
	return snapshot ? snapshot : resource_get(r, &snapshot_kind, id);
}

/* ---- making ---- */

/* Bytes that a running machine writes cannot be copied as of one moment. */
static int check_still(struct request *r, const struct resource *volume)
{
	const struct value *list = value_get(volume->doc, "Attachments");

	for (unsigned i = 0; i < value_count(list); i++) {
		const char *id = value_string(value_item(list, i), "InstanceId");
		struct resource *instance = resource_find(r, &instance_kind, id);

		if (instance && instance_state_of(instance->doc) != INSTANCE_STOPPED &&
		    instance_state_of(instance->doc) != INSTANCE_TERMINATED)
			return request_fail(
			        r, "UnsupportedOperation",
			        "A volume of a running machine cannot be snapshotted here: stop the "
			        "instance '%s' first",
			        id);
	}
	return 0;
}

struct resource *snapshot_new(struct request *r, const struct resource *volume, const char *description)
{
	const char *state = value_string(volume->doc, "State");
	bool encrypted = value_boolean(volume->doc, "Encrypted", false);
	struct resource *snapshot;

	if (description && strlen(description) > DESCRIPTION_MAX) {
		request_fail(r, "InvalidParameterValue",
		             "The description of a snapshot has at most %d characters", DESCRIPTION_MAX);
		return NULL;
	}
	if (strcmp(state, "available") && strcmp(state, "in-use")) {
		request_fail(r, "IncorrectState", "Volume '%s' is in the state '%s'", volume->id, state);
		return NULL;
	}
	if (block_files_are_real(r) && check_still(r, volume) < 0)
		return NULL;
	snapshot = resource_new(r, &snapshot_kind);
	value_set_string(snapshot->doc, "Description", description ? description : "");
	value_set_boolean(snapshot->doc, "Encrypted", encrypted);
	if (encrypted)
		value_set_string(snapshot->doc, "KmsKeyId", value_string(volume->doc, "KmsKeyId"));
	value_set_string(snapshot->doc, "Progress", "");
	value_set_time(snapshot->doc, "StartTime", r->now_ms);
	value_set_string(snapshot->doc, "State", "pending");
	value_set_string(snapshot->doc, "StorageTier", "standard");
	value_set_string(snapshot->doc, "VolumeId", volume->id);
	value_set_integer(snapshot->doc, "VolumeSize", value_integer(volume->doc, "Size", 0));
	return snapshot;
}

void snapshot_insert(struct request *r, struct resource *snapshot, const char *source)
{
	resource_insert(r, snapshot);
	if (block_files_are_real(r))
		block_file_want(r, snapshot->id, source, value_integer(snapshot->doc, "VolumeSize", 0) * GIB);
	else
		snapshot_finished(r, snapshot->id, NULL);
}

void snapshot_finished(struct request *r, const char *id, const char *why)
{
	struct resource *snapshot = resource_find(r, &snapshot_kind, id);

	if (!snapshot)
		return;
	value_set_string(snapshot->doc, "State", why ? "error" : "completed");
	value_set_string(snapshot->doc, "StateMessage", why);
	value_set_string(snapshot->doc, "Progress", why ? "" : "100%");
	resource_save(r, snapshot);
	image_snapshot_finished(r, id);
}

ACTION(ec2, CreateSnapshot)
{
	struct resource *volume = resource_of(r, &volume_kind, "VolumeId"), *snapshot;

	if (!volume)
		return -1;
	if (value_get(r->in, "OutpostArn"))
		return request_fail(r, "UnsupportedOperation", "There are no Outposts here");
	snapshot = snapshot_new(r, volume, value_string(r->in, "Description"));
	if (!snapshot || tag_specifications(r, snapshot, NULL) < 0)
		return -1;
	boot_copy(r, volume->id, snapshot->id);
	r->out = value_copy(r->arena, snapshot->doc);
	snapshot_insert(r, snapshot, volume->id);
	return 0;
}

/* One of CreateSnapshots. */
static int add_snapshot(struct request *r, const struct resource *volume, struct value *list)
{
	static const char *const kept[] = {"Description", "VolumeId", "State",    "Progress",
	                                   "OwnerId",     "Tags",     "StartTime"};
	const char *copy = value_string(r->in, "CopyTagsFromSource");
	struct resource *snapshot = snapshot_new(r, volume, value_string(r->in, "Description"));
	struct value *shown;

	if (!snapshot)
		return -1;
	if (copy && value_get(volume->doc, "Tags"))
		value_put(snapshot->doc, "Tags", value_copy(r->arena, value_get(volume->doc, "Tags")));
	if (tag_specifications(r, snapshot, NULL) < 0)
		return -1;
	shown = value_append(list);
	for (unsigned i = 0; i < ARRAY_SIZE(kept); i++)
		if (value_get(snapshot->doc, kept[i]))
			value_put(shown, kept[i], value_copy(r->arena, value_get(snapshot->doc, kept[i])));
	value_set_string(shown, "SnapshotId", snapshot->id);
	value_set_boolean(shown, "Encrypted", value_boolean(snapshot->doc, "Encrypted", false));
	value_set_integer(shown, "VolumeSize", value_integer(snapshot->doc, "VolumeSize", 0));
	boot_copy(r, volume->id, snapshot->id);
	snapshot_insert(r, snapshot, volume->id);
	return 0;
}

ACTION(ec2, CreateSnapshots)
{
	const struct value *spec = value_get(r->in, "InstanceSpecification");
	const struct value *excluded = value_get(spec, "ExcludeDataVolumeIds"), *mappings;
	const char *id = value_string(spec, "InstanceId"), *root;
	struct value *list = value_open(r->out, "Snapshots");
	struct resource *instance;

	if (!id)
		return request_fail(
		        r, "MissingParameter",
		        "The request must contain the parameter InstanceSpecification.InstanceId");
	instance = resource_get(r, &instance_kind, id);
	if (!instance)
		return -1;
	for (unsigned i = 0; i < value_count(excluded); i++)
		if (!resource_get(r, &volume_kind, value_item(excluded, i)->text))
			return -1;
	root = value_string(instance->doc, "RootDeviceName");
	mappings = value_get(instance->doc, "BlockDeviceMappings");
	for (unsigned i = 0; i < value_count(mappings); i++) {
		const char *volume = value_path(value_item(mappings, i), "Ebs.VolumeId");
		bool is_root = root && !strcmp(root, value_string(value_item(mappings, i), "DeviceName"));
		struct resource *found;

		if (is_root ? value_boolean(spec, "ExcludeBootVolume", false)
		            : value_has_string(excluded, volume))
			continue;
		found = resource_find(r, &volume_kind, volume);
		if (found && add_snapshot(r, found, list) < 0)
			return -1;
	}
	if (!list->count)
		return request_fail(r, "InvalidParameterValue",
		                    "The instance '%s' has no volumes to make snapshots of", id);
	return 0;
}

struct resource *snapshot_copy(struct request *r, const struct resource *source, const char *description,
                               bool encrypted, const char *key)
{
	struct volume_wish w = VOLUME_WISH;
	struct resource *copy;

	if (strcmp(value_string(source->doc, "State"), "completed")) {
		request_fail(r, "IncorrectState", "Snapshot '%s' is not 'completed'.", source->id);
		return NULL;
	}
	w.size = value_integer(source->doc, "VolumeSize", 0);
	w.type = w.size > 16384 ? "io2" : "gp3";
	w.iops = w.size > 16384 ? 100 : -1;
	w.encrypted = encrypted || value_boolean(source->doc, "Encrypted", false);
	w.kms = key;
	if (volume_check(r, &w) < 0)
		return NULL;
	copy = resource_new(r, &snapshot_kind);
	copy->doc = value_copy(r->arena, source->doc);
	value_remove(copy->doc, "Tags");
	value_set_string(copy->doc, "SnapshotId", copy->id);
	value_set_string(copy->doc, "OwnerId", r->account);
	value_set_string(copy->doc, "Description", description ? description : "");
	value_set_string(copy->doc, "VolumeId", "vol-ffffffff"); /* as EC2 says of a copy */
	value_set_string(copy->doc, "State", "pending");
	value_set_string(copy->doc, "Progress", "");
	value_set_time(copy->doc, "StartTime", r->now_ms);
	value_set_boolean(copy->doc, "Encrypted", w.encrypted);
	value_set_string(copy->doc, "KmsKeyId", w.encrypted ? w.kms : NULL);
	boot_copy(r, source->id, copy->id);
	return copy;
}

ACTION(ec2, CopySnapshot)
{
	struct request from = *r;
	struct resource *source, *copy;

	from.region = value_string(r->in, "SourceRegion");
	source = snapshot_get(&from, value_string(r->in, "SourceSnapshotId"));
	if (!source)
		return -1;
	if (value_get(r->in, "DestinationOutpostArn"))
		return request_fail(r, "UnsupportedOperation", "There are no Outposts here");
	copy = snapshot_copy(r, source, value_string(r->in, "Description"),
	                     value_boolean(r->in, "Encrypted", false), value_string(r->in, "KmsKeyId"));
	if (!copy || tag_specifications(r, copy, NULL) < 0)
		return -1;
	value_set_string(r->out, "SnapshotId", copy->id);
	if (tag_list(copy->doc))
		value_put(r->out, "Tags", value_copy(r->arena, tag_list(copy->doc)));
	snapshot_insert(r, copy, source->id);
	return 0;
}

/* ---- removing ---- */

static struct resource *own(struct request *r)
{
	return resource_of(r, &snapshot_kind, "SnapshotId");
}

struct use {
	const char *snapshot;
	char image[32];
};

static bool uses(void *ctx, struct resource *image)
{
	const struct value *list = value_get(image->doc, "BlockDeviceMappings");
	struct use *u = ctx;

	for (unsigned i = 0; i < value_count(list); i++) {
		const char *id = value_path(value_item(list, i), "Ebs.SnapshotId");

		if (id && !strcmp(id, u->snapshot))
			snprintf(u->image, sizeof(u->image), "%s", image->id);
	}
	return !u->image[0];
}

ACTION(ec2, DeleteSnapshot)
{
	struct resource *snapshot = own(r);
	struct use use = {.snapshot = snapshot ? snapshot->id : NULL};

	if (!snapshot)
		return -1;
	resource_each(r, &image_kind, NULL, 0, uses, &use);
	if (use.image[0])
		return request_fail(r, "InvalidSnapshot.InUse", "The snapshot %s is currently in use by %s",
		                    snapshot->id, use.image);
	block_file_drop(r, snapshot->id);
	resource_delete(r, snapshot);
	return 0;
}

/* ---- describing ---- */

struct listing {
	struct request *request;
	const struct filter *filter;
	struct value *list;
	unsigned most;
	s64 last;
	bool more;
};

static bool listed_owner(struct request *r, const struct value *owners, const char *owner)
{
	for (unsigned i = 0; i < value_count(owners); i++) {
		const char *text = value_item(owners, i)->text;

		if (!strcmp(text, owner) || (!strcmp(text, "self") && !strcmp(owner, r->account)))
			return true;
	}
	return !value_count(owners);
}

static bool restorable(struct request *r, const struct value *users, const struct resource *snapshot)
{
	const char *owner = value_string(snapshot->doc, "OwnerId"), **who;

	if (!value_count(users) || listed_owner(r, users, owner))
		return true;
	who = link_targets(r, snapshot->id, PERMISSION);
	for (unsigned i = 0; who[i]; i++)
		if (value_has_string(users, who[i]) ||
		    (value_has_string(users, "self") && !strcmp(who[i], r->account)))
			return true;
	return false;
}

static bool visit(struct listing *l, struct resource *snapshot)
{
	struct request *r = l->request;

	if (!listed_owner(r, value_get(r->in, "OwnerIds"), value_string(snapshot->doc, "OwnerId")) ||
	    !restorable(r, value_get(r->in, "RestorableByUserIds"), snapshot) ||
	    !filter_match(l->filter, snapshot->doc))
		return true;
	if (l->most && l->list->count == l->most) {
		l->more = true;
		return false;
	}
	value_append_value(l->list, value_copy(r->arena, snapshot->doc));
	l->last = snapshot->seq;
	return true;
}

ACTION(ec2, DescribeSnapshots)
{
	const struct value *named = value_get(r->in, "SnapshotIds");
	struct listing l = {.request = r, .list = value_open(r->out, "Snapshots")};
	const char **ids;
	struct filter *filter;
	s64 after;

	if (filter_read(r, &snapshot_kind, &filter) < 0 || describe_page(r, &l.most, &after) < 0)
		return -1;
	l.filter = filter;
	if (value_count(named) && value_get(r->in, "MaxResults"))
		return request_fail(r, "InvalidParameterCombination",
		                    "The parameter snapshotSet cannot be used with the parameter maxResults");
	for (unsigned i = 0; i < value_count(named); i++) {
		struct resource *snapshot = snapshot_get(r, value_item(named, i)->text);

		if (!snapshot)
			return -1;
		visit(&l, snapshot);
	}
	ids = value_count(named) ? NULL : permission_visible(r, &snapshot_kind, PERMISSION, after);
	for (unsigned i = 0; ids && ids[i]; i++) {
		struct resource *snapshot = resource_find(r, &snapshot_kind, ids[i]);

		if (!snapshot)
			snapshot = permission_find(r, &snapshot_kind, ids[i], PERMISSION);
		if (snapshot && !visit(&l, snapshot))
			break;
	}
	if (l.more)
		describe_next(r, l.last);
	return 0;
}

/* ---- permissions ---- */

static int check_attribute(struct request *r, const char *attribute)
{
	if (!attribute || !strcmp(attribute, "createVolumePermission"))
		return 0;
	return request_fail(r, "InvalidParameterValue", "The attribute '%s' of a snapshot cannot be changed",
	                    attribute);
}

ACTION(ec2, ModifySnapshotAttribute)
{
	struct resource *snapshot = own(r);
	const struct value *change = value_get(r->in, "CreateVolumePermission");
	const char *operation = value_string(r->in, "OperationType");
	const struct value *users = value_get(r->in, "UserIds"), *groups = value_get(r->in, "GroupNames");
	bool add = operation && !strcmp(operation, "add");

	if (!snapshot || check_attribute(r, value_string(r->in, "Attribute")) < 0)
		return -1;
	if (!change && !operation)
		return request_fail(r, "InvalidParameterCombination",
		                    "No permissions to add or remove were specified");
	if (value_boolean(snapshot->doc, "Encrypted", false) &&
	    (value_has_string(groups, "all") || value_count(value_get(change, "Add"))))
		return request_fail(r, "InvalidParameterValue",
		                    "Snapshots encrypted with the default key cannot be shared");
	if (permission_change(r, snapshot->id, PERMISSION, true, value_get(change, "Add")) < 0 ||
	    permission_change(r, snapshot->id, PERMISSION, false, value_get(change, "Remove")) < 0 ||
	    permission_change(r, snapshot->id, PERMISSION, add, users) < 0)
		return -1;
	return permission_change(r, snapshot->id, PERMISSION, add, groups);
}

ACTION(ec2, DescribeSnapshotAttribute)
{
	struct resource *snapshot = own(r);

	if (!snapshot)
		return -1;
	value_set_string(r->out, "SnapshotId", snapshot->id);
	if (!strcmp(value_string(r->in, "Attribute"), "productCodes")) {
		value_open(r->out, "ProductCodes");
		return 0;
	}
	permission_show(r, snapshot->id, PERMISSION, value_open(r->out, "CreateVolumePermissions"));
	return 0;
}

ACTION(ec2, ResetSnapshotAttribute)
{
	struct resource *snapshot = own(r);

	if (!snapshot || check_attribute(r, value_string(r->in, "Attribute")) < 0)
		return -1;
	link_remove(r, snapshot->id, PERMISSION, NULL);
	return 0;
}
