#include "region/root_volume.h"
#include "model/scalar.h"
#include "region/block_file.h"
#include "region/boot.h"
#include "region/describe.h"
#include "region/instance.h"
#include "region/snapshot.h"
#include "region/tag.h"
#include "region/volume.h"

#include <stdio.h>
#include <string.h>

/* How long the guest has to shut down. */
enum { REBOOT_MS = 10 * 1000 };

RESOURCE_KIND(replace_root_volume_task_kind) = {
        .name = "replace-root-volume-task",
        .prefix = "replacevol-",
        .shape = "ReplaceRootVolumeTask",
        .id = "ReplaceRootVolumeTaskId",
        .noun = "ReplaceRootVolumeTaskId",
        .indexed = {"InstanceId"},
};

struct replacement {
	const char *task, *account, *region, *instance, *volume;
	bool remove; /* the volume that was the root */
};

static const char *time_text(struct request *r)
{
	struct buffer b = {0};
	const char *text;

	scalar_write_time(&b, r->now_ms);
	text = arena_strdup(r->arena, buffer_str(&b));
	buffer_release(&b);
	return text;
}

/* ---- rows ---- */

static bool find_row(struct request *r, const char *instance, struct replacement *p)
{
	struct query *q =
	        query_text(database_query(r->cloud->db, "SELECT task, volume, remove FROM root_replacement "
	                                                "WHERE instance = $1"),
	                   instance);
	bool found = query_row(q);

	if (found)
		*p = (struct replacement){.task = arena_strdup(r->arena, query_column_text(q, 0)),
		                          .instance = instance,
		                          .volume = arena_strdup(r->arena, query_column_text(q, 1)),
		                          .remove = query_column_integer(q, 2)};
	query_end(q);
	return found;
}

static void set_state(struct request *r, const char *task, const char *state, bool done)
{
	struct resource *res = resource_find(r, &replace_root_volume_task_kind, task);

	if (res) {
		value_set_string(res->doc, "TaskState", state);
		if (done)
			value_set_string(res->doc, "CompleteTime", time_text(r));
		res->state = state;
		resource_save(r, res);
	}
	if (done)
		query_run(query_text(
		        database_query(r->cloud->db, "DELETE FROM root_replacement WHERE task = $1"), task));
}

static void fail(struct request *r, const struct replacement *p)
{
	struct resource *volume = resource_find(r, &volume_kind, p->volume);

	if (volume && !volume_attachment(volume, NULL))
		volume_remove(r, volume);
	set_state(r, p->task, "failed", true);
}

/* ---- the exchange ---- */

/* The volume that is mapped as the root, or NULL. */
static const struct value *root_mapping(const struct resource *instance)
{
	const struct value *list = value_get(instance->doc, "BlockDeviceMappings");
	const char *root = value_string(instance->doc, "RootDeviceName");

	for (unsigned i = 0; root && i < value_count(list); i++)
		if (!strcmp(value_string(value_item(list, i), "DeviceName"), root))
			return value_item(list, i);
	return NULL;
}

/* The machine boots what the volume was made of. */
static void set_boot(struct request *r, const char *instance, const char *volume)
{
	struct image_source source;
	struct query *q;

	if (!boot_get(r, volume, &source))
		return;
	q = database_query(r->cloud->db, "UPDATE machine SET kernel = $1, initrd = $2, cmdline = $3 "
	                                 "WHERE instance = $4");
	query_text(query_text(query_text(q, source.kernel), source.initrd), source.cmdline);
	query_run(query_text(q, instance));
}

static void exchange(struct request *r, struct resource *instance, const struct replacement *p)
{
	struct resource *new = resource_find(r, &volume_kind, p->volume), *old;
	const struct value *mapping = root_mapping(instance);
	const char *id = mapping ? value_path(mapping, "Ebs.VolumeId") : NULL;
	bool gone = mapping && value_boolean(value_get(mapping, "Ebs"), "DeleteOnTermination", true);

	old = id ? resource_find(r, &volume_kind, id) : NULL;
	if (!new || volume_attachment(new, NULL)) {
		set_state(r, p->task, "failed", true);
		return;
	}
	if (old) {
		volume_detach(r, old, instance);
		if (p->remove && !volume_attachment(old, NULL))
			volume_remove(r, old);
	}
	volume_attach(r, new, instance, value_string(instance->doc, "RootDeviceName"), gone);
	resource_save(r, new);
	resource_save(r, instance);
	set_boot(r, instance->id, new->id);
	set_state(r, p->task, "succeeded", true);
}

void root_volume_exchange(struct request *r, struct resource *instance)
{
	struct replacement p;

	if (find_row(r, instance->id, &p) && block_file_state(r, p.volume) == BLOCK_FILE_READY)
		exchange(r, instance, &p);
}

void root_volume_give_up(struct request *r, const char *instance)
{
	struct replacement p;

	if (find_row(r, instance, &p))
		fail(r, &p);
}

/* ---- the agent's round ---- */

static void step(struct request *r, const struct replacement *p)
{
	enum block_file_state file = block_file_state(r, p->volume);
	struct resource *instance = resource_find(r, &instance_kind, p->instance),
	                *task = resource_find(r, &replace_root_volume_task_kind, p->task);
	struct machine *m = instance ? machine_find(r, p->instance) : NULL;

	if (!m || !task || file == BLOCK_FILE_NONE || file == BLOCK_FILE_FAILED) {
		fail(r, p);
		return;
	}
	if (file != BLOCK_FILE_READY)
		return;
	if (instance_state_of(instance->doc) == INSTANCE_STOPPED) {
		exchange(r, instance, p);
		return;
	}
	/* What else is wanted of it ends the machine as well. */
	if (strcmp(task->state, "pending") || strcmp(m->wanted, "running") || strcmp(m->status, "running"))
		return;
	machine_set(r, p->instance, "rebooted", "running", r->now_ms + REBOOT_MS);
	set_state(r, p->task, "in-progress", false);
}

void root_volume_run(struct request *r)
{
	enum { SOME = 32 };
	struct replacement list[SOME];
	struct query *q =
	        database_query(r->cloud->db, "SELECT task, account, region, instance, volume, remove "
	                                     "FROM root_replacement ORDER BY task LIMIT 32");
	unsigned count = 0;

	for (; count < SOME && query_row(q); count++)
		list[count] = (struct replacement){arena_strdup(r->arena, query_column_text(q, 0)),
		                                   arena_strdup(r->arena, query_column_text(q, 1)),
		                                   arena_strdup(r->arena, query_column_text(q, 2)),
		                                   arena_strdup(r->arena, query_column_text(q, 3)),
		                                   arena_strdup(r->arena, query_column_text(q, 4)),
		                                   query_column_integer(q, 5)};
	query_end(q);
	for (unsigned i = 0; i < count; i++) {
		struct request owner = *r;

		owner.account = list[i].account;
		owner.region = list[i].region;
		step(&owner, &list[i]);
	}
}

/* ---- actions ---- */

/* What the new volume begins with. */
struct beginning {
	struct resource *snapshot;
	struct image_source source; /* without a snapshot: its disk */
	bool image;
};

static int of_image(struct request *r, const char *id, struct beginning *b)
{
	struct resource *image = image_get(r, id, &b->source);
	const struct value *list = image ? value_get(image->doc, "BlockDeviceMappings") : NULL;
	const char *root = image ? value_string(image->doc, "RootDeviceName") : NULL;
	struct request owner = *r;

	if (!image)
		return -1;
	b->image = true;
	owner.account = value_string(image->doc, "OwnerId");
	for (unsigned i = 0; root && i < value_count(list); i++) {
		const char *snapshot = value_path(value_item(list, i), "Ebs.SnapshotId");

		if (snapshot && !strcmp(value_string(value_item(list, i), "DeviceName"), root)) {
			b->snapshot = snapshot_get(&owner, snapshot);
			return b->snapshot ? 0 : -1;
		}
	}
	if (!*b->source.disk && block_files_are_real(r))
		return request_fail(r, "InvalidParameterValue", "The image '%s' has no root volume", id);
	return 0;
}

static int begin_with(struct request *r, const struct resource *instance, const struct resource *old,
                      struct beginning *b)
{
	const char *snapshot = value_string(r->in, "SnapshotId"), *image = value_string(r->in, "ImageId");

	*b = (struct beginning){0};
	if (snapshot && image)
		return request_fail(r, "InvalidParameterCombination",
		                    "SnapshotId and ImageId cannot be used together");
	if (image)
		return of_image(r, image, b);
	/* Else the state that it was launched in. */
	if (!snapshot)
		snapshot = value_string(old->doc, "SnapshotId");
	if (!snapshot || !*snapshot)
		return of_image(r, value_string(instance->doc, "ImageId"), b);
	b->snapshot = snapshot_get(r, snapshot);
	return b->snapshot ? 0 : -1;
}

/* Like the old one, as large as what it begins with. */
static struct resource *make_volume(struct request *r, const struct resource *old, const struct beginning *b)
{
	struct volume_wish w = VOLUME_WISH;
	struct resource *volume;

	w.type = value_string(old->doc, "VolumeType");
	w.zone = value_string(old->doc, "AvailabilityZone");
	w.size = value_integer(old->doc, "Size", 0);
	w.iops = strcmp(w.type, "gp2") ? value_integer(old->doc, "Iops", -1) : -1;
	w.throughput = value_integer(old->doc, "Throughput", -1);
	w.encrypted = value_boolean(old->doc, "Encrypted", false);
	w.snapshot = b->snapshot;
	if (!b->snapshot && *b->source.disk)
		w.source = b->source.disk;
	if (b->snapshot)
		w.size = max(w.size, value_integer(b->snapshot->doc, "VolumeSize", 0));
	if (b->snapshot && strcmp(value_string(b->snapshot->doc, "State"), "completed")) {
		request_fail(r, "IncorrectState", "Snapshot is in invalid state - %s",
		             value_string(b->snapshot->doc, "State"));
		return NULL;
	}
	if (volume_check(r, &w) < 0)
		return NULL;
	volume = volume_new(r, &w);
	volume_insert(r, volume, &w);
	if (b->image)
		boot_set(r, volume->id, &b->source);
	else if (b->snapshot)
		boot_copy(r, b->snapshot->id, volume->id);
	return volume;
}

static int check_ids(struct request *r)
{
	const char *snapshot = value_string(r->in, "SnapshotId"), *image = value_string(r->in, "ImageId");

	return (snapshot && !snapshot_get(r, snapshot)) || (image && !image_get(r, image, NULL)) ? -1 : 0;
}

static int check_instance(struct request *r, const struct resource *instance)
{
	struct replacement other;

	if (instance_state_of(instance->doc) != INSTANCE_RUNNING)
		return request_fail(r, "IncorrectInstanceState",
		                    "The instance '%s' is not in the 'running' state.", instance->id);
	if (find_row(r, instance->id, &other))
		return request_fail(r, "IncorrectState",
		                    "The root volume of the instance '%s' is being replaced by the task '%s'",
		                    instance->id, other.task);
	return 0;
}

static void store(struct request *r, struct resource *task, struct resource *instance,
                  struct resource *volume)
{
	struct replacement p = {.task = task->id,
	                        .instance = instance->id,
	                        .volume = volume->id,
	                        .remove = value_boolean(r->in, "DeleteReplacedRootVolume", false)};
	struct query *q;

	task->state = "pending";
	resource_insert(r, task);
	q = database_query(r->cloud->db, "INSERT INTO root_replacement VALUES ($1, $2, $3, $4, $5, $6)");
	query_text(query_text(query_text(q, p.task), r->account), r->region);
	query_run(query_integer(query_text(query_text(q, p.instance), p.volume), p.remove));
	if (!block_files_are_real(r))
		exchange(r, instance, &p);
	r->cloud->wake = true;
}

ACTION(ec2, CreateReplaceRootVolumeTask)
{
	struct resource *instance = resource_of(r, &instance_kind, "InstanceId"), *old, *volume, *task;
	const struct value *mapping = instance ? root_mapping(instance) : NULL;
	const char *id = mapping ? value_path(mapping, "Ebs.VolumeId") : NULL;
	struct beginning begin;

	if (!instance || check_ids(r) < 0 || check_instance(r, instance) < 0)
		return -1;
	old = id ? resource_find(r, &volume_kind, id) : NULL;
	if (!old)
		return request_fail(r, "InvalidParameterValue",
		                    "Invalid value '%s' for instanceId. Instance does not have a volume "
		                    "attached at root",
		                    instance->id);
	if (begin_with(r, instance, old, &begin) < 0)
		return -1;
	volume = make_volume(r, old, &begin);
	if (!volume)
		return -1;
	task = resource_new(r, &replace_root_volume_task_kind);
	value_set_string(task->doc, "InstanceId", instance->id);
	value_set_string(task->doc, "TaskState", "pending");
	value_set_string(task->doc, "StartTime", time_text(r));
	value_set_string(task->doc, "ImageId", value_string(r->in, "ImageId"));
	value_set_string(task->doc, "SnapshotId", begin.snapshot ? begin.snapshot->id : NULL);
	value_set_boolean(task->doc, "DeleteReplacedRootVolume",
	                  value_boolean(r->in, "DeleteReplacedRootVolume", false));
	if (tag_specifications(r, task, NULL) < 0)
		return -1;
	value_put(r->out, "ReplaceRootVolumeTask", value_copy(r->arena, task->doc));
	store(r, task, instance, volume);
	return 0;
}

ACTION(ec2, DescribeReplaceRootVolumeTasks)
{
	static const struct describe d = {.kind = &replace_root_volume_task_kind,
	                                  .list = "ReplaceRootVolumeTasks",
	                                  .ids = "ReplaceRootVolumeTaskIds"};

	return describe_run(r, &d);
}
