/* What is changed of volumes, and how they are: ModifyVolume, attributes, status. */
#include "model/json.h"
#include "region/block_file.h"
#include "region/describe.h"
#include "region/filter.h"
#include "region/instance.h"
#include "region/link.h"
#include "region/volume.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- modification ---- */

static const char *const modification_filters[] = {"originalMultiAttachEnabled", "OriginalMultiAttachEnabled",
                                                   "targetMultiAttachEnabled", "TargetMultiAttachEnabled",
                                                   NULL};
static const struct resource_kind modification_kind = {
        .name = "volume-modification", .shape = "VolumeModification", .filters = modification_filters};

static void describe_side(struct value *v, const struct value *volume, bool target)
{
	static const char *const pairs[][2] = {{"TargetSize", "OriginalSize"},
	                                       {"TargetIops", "OriginalIops"},
	                                       {"TargetThroughput", "OriginalThroughput"}};
	static const char *const from[] = {"Size", "Iops", "Throughput"};

	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++)
		if (value_get(volume, from[i]))
			value_set_integer(v, pairs[i][!target], value_integer(volume, from[i], 0));
	value_set_string(v, target ? "TargetVolumeType" : "OriginalVolumeType",
	                 value_string(volume, "VolumeType"));
	value_set_boolean(v, target ? "TargetMultiAttachEnabled" : "OriginalMultiAttachEnabled",
	                  value_boolean(volume, "MultiAttachEnabled", false));
}

static void keep_modification(struct request *r, const char *volume, const struct value *v)
{
	struct buffer b = {0};

	json_write(&b, v);
	property_set(r, volume, "modification", buffer_str(&b));
	buffer_release(&b);
}

static struct value *modification_of(struct request *r, const char *volume)
{
	const char *text = property_get(r, volume, "modification");

	return text ? json_parse(r->arena, r->model, resource_shape(r->model, &modification_kind), text,
	                         strlen(text))
	            : NULL;
}

/* A machine that runs would not see that its disk is larger. */
static int check_grow(struct request *r, const struct resource *volume)
{
	const struct value *list = value_get(volume->doc, "Attachments");

	for (unsigned i = 0; i < value_count(list); i++) {
		const char *id = value_string(value_item(list, i), "InstanceId");
		struct resource *instance = resource_find(r, &instance_kind, id);

		if (instance && instance_state_of(instance->doc) != INSTANCE_STOPPED)
			return request_fail(r, "UnsupportedOperation",
			                    "A volume of a running machine cannot be made larger here: stop "
			                    "the instance '%s' first",
			                    id);
	}
	return 0;
}

static int check_modification(struct request *r, const struct resource *volume, const struct volume_wish *w)
{
	const struct value *doc = volume->doc;
	const char *state = value_string(doc, "State");

	if (strcmp(state, "available") && strcmp(state, "in-use"))
		return request_fail(r, "IncorrectState", "Volume '%s' is in the state '%s'", volume->id,
		                    state);
	if (w->size < value_integer(doc, "Size", 0))
		return request_fail(r, "InvalidParameterValue",
		                    "New size cannot be smaller than existing size");
	if (w->size > value_integer(doc, "Size", 0) && block_files_are_real(r) && check_grow(r, volume) < 0)
		return -1;
	if (w->multi_attach != value_boolean(doc, "MultiAttachEnabled", false) &&
	    value_count(value_get(doc, "Attachments")) > 1)
		return request_fail(r, "IncorrectState", "Volume '%s' is attached more than once",
		                    volume->id);
	return 0;
}

ACTION(ec2, ModifyVolume)
{
	static const char *const members[] = {"Size", "VolumeType", "Iops", "Throughput",
	                                      "MultiAttachEnabled"};
	struct resource *volume = resource_of(r, &volume_kind, "VolumeId");
	struct volume_wish w = VOLUME_WISH;
	struct value *v, *doc;
	unsigned said = 0;
	bool same;

	if (!volume)
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(members); i++)
		said += value_get(r->in, members[i]) != NULL;
	if (!said)
		return request_fail(r, "InvalidParameterCombination",
		                    "No changes to the volume were specified");
	doc = volume->doc;
	w.type = value_string(r->in, "VolumeType");
	same = !w.type || !strcmp(w.type, value_string(doc, "VolumeType"));
	w.type = same ? value_string(doc, "VolumeType") : w.type;
	w.size = value_integer(r->in, "Size", value_integer(doc, "Size", 0));
	/* gp2 has what its size gives. */
	w.iops = value_integer(r->in, "Iops",
	                       same && strcmp(w.type, "gp2") ? value_integer(doc, "Iops", -1) : -1);
	w.throughput = value_integer(r->in, "Throughput", same ? value_integer(doc, "Throughput", -1) : -1);
	w.multi_attach =
	        value_boolean(r->in, "MultiAttachEnabled", value_boolean(doc, "MultiAttachEnabled", false));
	if (volume_check(r, &w) < 0 || check_modification(r, volume, &w) < 0)
		return -1;
	v = value_new(r->arena, r->model, resource_shape(r->model, &modification_kind));
	value_set_string(v, "VolumeId", volume->id);
	describe_side(v, doc, false);
	if (w.size > value_integer(doc, "Size", 0) && block_files_are_real(r))
		block_file_want(r, volume->id, NULL, w.size * GIB);
	value_set_string(doc, "VolumeType", w.type);
	value_set_integer(doc, "Size", w.size);
	value_remove(doc, "Iops");
	value_remove(doc, "Throughput");
	if (w.iops >= 0)
		value_set_integer(doc, "Iops", w.iops);
	if (w.throughput >= 0)
		value_set_integer(doc, "Throughput", w.throughput);
	value_set_boolean(doc, "MultiAttachEnabled", w.multi_attach);
	describe_side(v, doc, true);
	value_set_string(v, "ModificationState", "completed");
	value_set_integer(v, "Progress", 100);
	value_set_time(v, "StartTime", r->now_ms);
	value_set_time(v, "EndTime", r->now_ms);
	keep_modification(r, volume->id, v);
	resource_save(r, volume);
	v = value_put(r->out, "VolumeModification", value_copy(r->arena, v));
	value_set_string(v, "ModificationState", "modifying");
	value_set_integer(v, "Progress", 0);
	value_remove(v, "EndTime");
	return 0;
}

/* ---- lists of what volumes have ---- */

struct listing {
	struct request *request;
	const struct filter *filter;
	struct value *(*show)(struct request *r, struct resource *volume); /* NULL: it has none */
	struct value *list, *shown;
};

static bool match(void *ctx, struct resource *volume)
{
	struct listing *l = ctx;

	l->shown = l->show(l->request, volume);
	return l->shown && filter_match(l->filter, l->shown);
}

static void add(void *ctx, struct resource *volume)
{
	struct listing *l = ctx;

	(void)volume;
	value_append_value(l->list, l->shown);
}

static int list_volumes(struct request *r, struct listing *l, const struct resource_kind *rows,
                        const char *member)
{
	const struct describe_each each = {.kind = &volume_kind,
	                                   .ids = "VolumeIds",
	                                   .ids_alone = "volumeSet",
	                                   .match = match,
	                                   .add = add,
	                                   .ctx = l};
	struct filter *filter;

	l->request = r;
	l->list = value_open(r->out, member);
	if (filter_read(r, rows, &filter) < 0)
		return -1;
	l->filter = filter;
	return describe_each(r, &each);
}

static struct value *show_modification(struct request *r, struct resource *volume)
{
	return modification_of(r, volume->id);
}

ACTION(ec2, DescribeVolumesModifications)
{
	const struct value *ids = value_get(r->in, "VolumeIds");
	struct listing l = {.show = show_modification};

	if (list_volumes(r, &l, &modification_kind, "VolumesModifications") < 0)
		return -1;
	if (value_count(ids) && !l.list->count && !l.filter)
		return request_fail(r, "InvalidVolumeModification.NotFound",
		                    "Modification for volume '%s' does not exist.", value_item(ids, 0)->text);
	return 0;
}

/* ---- status ---- */

static const char *const status_filters[] = {"action.code",
                                             "Actions.Code",
                                             "action.description",
                                             "Actions.Description",
                                             "action.event-id",
                                             "Actions.EventId",
                                             "event.description",
                                             "Events.Description",
                                             "event.event-id",
                                             "Events.EventId",
                                             "event.event-type",
                                             "Events.EventType",
                                             "event.not-after",
                                             "Events.NotAfter",
                                             "event.not-before",
                                             "Events.NotBefore",
                                             "volume-status.details-name",
                                             "VolumeStatus.Details.Name",
                                             "volume-status.details-status",
                                             "VolumeStatus.Details.Status",
                                             "volume-status.status",
                                             "VolumeStatus.Status",
                                             NULL};
static const struct resource_kind status_kind = {
        .name = "volume-status", .shape = "VolumeStatusItem", .filters = status_filters};

static void add_detail(struct value *list, const char *name, const char *status)
{
	struct value *v = value_append(list);

	value_set_string(v, "Name", name);
	value_set_string(v, "Status", status);
}

/* Is its file there? Nobody measures how quick it is. */
static struct value *show_status(struct request *r, struct resource *volume)
{
	struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &status_kind)), *status;
	const char *state = value_string(volume->doc, "State");
	bool waiting = !strcmp(state, "creating") || block_file_state(r, volume->id) == BLOCK_FILE_TODO;
	char path[4200];
	bool good = !block_files_are_real(r) ||
	            access(block_file_path(r->cloud, path, sizeof(path), volume->id), R_OK | W_OK) == 0;

	value_open(v, "Actions");
	value_open(v, "Events");
	value_set_string(v, "AvailabilityZone", value_string(volume->doc, "AvailabilityZone"));
	value_set_string(v, "VolumeId", volume->id);
	status = value_open(v, "VolumeStatus");
	value_set_string(status, "Status", waiting ? "insufficient-data" : good ? "ok" : "impaired");
	status = value_open(status, "Details");
	add_detail(status, "io-enabled", waiting || good ? "passed" : "failed");
	add_detail(status, "io-performance", "not-applicable");
	return v;
}

ACTION(ec2, DescribeVolumeStatus)
{
	struct listing l = {.show = show_status};

	return list_volumes(r, &l, &status_kind, "VolumeStatuses");
}

/* I/O is never withheld from a volume, so it is enabled. */
ACTION(ec2, EnableVolumeIO)
{
	return resource_of(r, &volume_kind, "VolumeId") ? 0 : -1;
}

/* ---- attributes ---- */

ACTION(ec2, DescribeVolumeAttribute)
{
	struct resource *volume = resource_of(r, &volume_kind, "VolumeId");

	if (!volume)
		return -1;
	value_set_string(r->out, "VolumeId", volume->id);
	if (!strcmp(value_string(r->in, "Attribute"), "productCodes"))
		value_open(r->out, "ProductCodes");
	else
		value_set_boolean(value_open(r->out, "AutoEnableIO"), "Value",
		                  property_is(r, volume->id, "auto-enable-io", "true"));
	return 0;
}

ACTION(ec2, ModifyVolumeAttribute)
{
	struct resource *volume = resource_of(r, &volume_kind, "VolumeId");
	const struct value *change = value_get(r->in, "AutoEnableIO");

	if (!volume)
		return -1;
	if (!change || !value_get(change, "Value"))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter autoEnableIO");
	property_set(r, volume->id, "auto-enable-io", value_boolean(change, "Value", false) ? "true" : NULL);
	return 0;
}
