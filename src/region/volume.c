#include "region/volume.h"
#include "host/hosted.h"
#include "region/block_file.h"
#include "region/boot.h"
#include "region/describe.h"
#include "region/instance.h"
#include "region/instance_volume.h"
#include "region/snapshot.h"
#include "region/tag.h"
#include "region/volume_plug.h"

#include <ctype.h>
#include <string.h>

static const char *const filters[] = {"attachment.attach-time",
                                      "Attachments.AttachTime",
                                      "attachment.delete-on-termination",
                                      "Attachments.DeleteOnTermination",
                                      "attachment.device",
                                      "Attachments.Device",
                                      "attachment.instance-id",
                                      "Attachments.InstanceId",
                                      "attachment.status",
                                      "Attachments.State",
                                      "status",
                                      "State",
                                      NULL};

RESOURCE_KIND(volume_kind) = {
        .name = "volume",
        .prefix = "vol-",
        .shape = "Volume",
        .id = "VolumeId",
        .noun = "Volume",
        .malformed = "InvalidVolumeID.Malformed",
        .filters = filters,
};

/* ---- making and removing ---- */

struct resource *volume_new(struct request *r, const struct volume_wish *w)
{
	struct resource *volume = resource_new(r, &volume_kind);
	struct value *doc = volume->doc;

	value_open(doc, "Attachments");
	value_set_string(doc, "AvailabilityZone", w->zone);
	value_set_time(doc, "CreateTime", r->now_ms);
	value_set_boolean(doc, "Encrypted", w->encrypted);
	if (w->encrypted)
		value_set_string(doc, "KmsKeyId", w->kms);
	value_set_integer(doc, "Size", w->size);
	value_set_string(doc, "SnapshotId", w->snapshot ? w->snapshot->id : "");
	value_set_string(doc, "State", "creating");
	value_set_string(doc, "VolumeType", w->type);
	if (w->iops >= 0)
		value_set_integer(doc, "Iops", w->iops);
	if (w->throughput >= 0)
		value_set_integer(doc, "Throughput", w->throughput);
	value_set_boolean(doc, "MultiAttachEnabled", w->multi_attach);
	return volume;
}

void volume_insert(struct request *r, struct resource *volume, const struct volume_wish *w)
{
	bool real = block_files_are_real(r);

	if (real)
		block_file_want(r, volume->id, w->snapshot ? w->snapshot->id : w->source, w->size * GIB);
	else if (!value_count(value_get(volume->doc, "Attachments")))
		value_set_string(volume->doc, "State", "available");
	resource_insert(r, volume);
}

void volume_remove(struct request *r, struct resource *volume)
{
	block_file_drop(r, volume->id);
	resource_delete(r, volume);
}

void volume_finished(struct request *r, const char *id, const char *why)
{
	struct resource *volume = resource_find(r, &volume_kind, id);

	if (!volume)
		return;
	if (why)
		value_set_string(volume->doc, "State", "error");
	else if (!strcmp(value_string(volume->doc, "State"), "creating"))
		value_set_string(volume->doc, "State", "available");
	resource_save(r, volume);
}

/* ---- attachments ---- */

struct value *volume_attachment(const struct resource *volume, const char *instance)
{
	struct value *list = value_get(volume->doc, "Attachments");

	for (unsigned i = 0; i < value_count(list); i++)
		if (!instance || !strcmp(value_string(value_item(list, i), "InstanceId"), instance))
			return value_item(list, i);
	return NULL;
}

void volume_attach(struct request *r, struct resource *volume, struct resource *instance, const char *device,
                   bool delete_on_termination)
{
	struct value *a = value_append(value_open(volume->doc, "Attachments"));
	struct value *m = value_append(value_open(instance->doc, "BlockDeviceMappings"));
	struct value *ebs = value_open(m, "Ebs");

	value_set_time(a, "AttachTime", r->now_ms);
	value_set_string(a, "Device", device);
	value_set_string(a, "InstanceId", instance->id);
	value_set_string(a, "State", "attached");
	value_set_string(a, "VolumeId", volume->id);
	value_set_boolean(a, "DeleteOnTermination", delete_on_termination);
	value_set_string(m, "DeviceName", device);
	value_set_time(ebs, "AttachTime", r->now_ms);
	value_set_boolean(ebs, "DeleteOnTermination", delete_on_termination);
	value_set_string(ebs, "Status", "attached");
	value_set_string(ebs, "VolumeId", volume->id);
	value_set_string(volume->doc, "State", "in-use");
}

void volume_detach(struct request *r, struct resource *volume, struct resource *instance)
{
	struct value *list = value_open(volume->doc, "Attachments");
	struct value *mappings = value_open(instance->doc, "BlockDeviceMappings");

	for (unsigned i = list->count; i-- > 0;)
		if (!strcmp(value_string(value_item(list, i), "InstanceId"), instance->id))
			value_delete_item(list, i);
	for (unsigned i = mappings->count; i-- > 0;) {
		const char *id = value_path(value_item(mappings, i), "Ebs.VolumeId");

		if (id && !strcmp(id, volume->id))
			value_delete_item(mappings, i);
	}
	if (!list->count)
		value_set_string(volume->doc, "State", "available");
	volume_plug_forget(r, volume->id, instance->id);
	resource_save(r, volume);
}

void volume_set_state(struct resource *volume, struct resource *instance, const char *state)
{
	struct value *attachment = volume_attachment(volume, instance->id);
	struct value *list = value_open(instance->doc, "BlockDeviceMappings");

	if (attachment)
		value_set_string(attachment, "State", state);
	for (unsigned i = 0; i < list->count; i++) {
		const char *id = value_path(value_item(list, i), "Ebs.VolumeId");

		if (id && !strcmp(id, volume->id))
			value_set_string(value_open(value_item(list, i), "Ebs"), "Status", state);
	}
}

void volume_set_delete_on_termination(struct request *r, const struct resource *instance,
                                      struct value *mapping, bool value)
{
	const char *id = value_path(mapping, "Ebs.VolumeId");
	struct resource *volume = id ? resource_find(r, &volume_kind, id) : NULL;
	struct value *attachment = volume ? volume_attachment(volume, instance->id) : NULL;

	value_set_boolean(value_open(mapping, "Ebs"), "DeleteOnTermination", value);
	if (!attachment)
		return;
	value_set_boolean(attachment, "DeleteOnTermination", value);
	resource_save(r, volume);
}

/* "/dev/sdf", "/dev/sda1", "/dev/xvdba", "xvdf", "sdf": EC2 User Guide, "Device names". */
static bool is_device(const char *name)
{
	size_t letters;

	if (!strncmp(name, "/dev/", 5))
		name += 5;
	if (!strncmp(name, "xvd", 3))
		name += 3;
	else if (!strncmp(name, "sd", 2) || !strncmp(name, "hd", 2))
		name += 2;
	else
		return false;
	letters = strspn(name, "abcdefghijklmnopqrstuvwxyz");
	if (letters < 1 || letters > 2)
		return false;
	name += letters;
	while (isdigit((unsigned char)*name))
		name++;
	return !*name;
}

const char *volume_device_check(struct request *r, const struct resource *instance, const char *device)
{
	const struct value *list = instance ? value_get(instance->doc, "BlockDeviceMappings") : NULL;

	if (!is_device(device)) {
		request_fail(r, "InvalidParameterValue",
		             "Value (%.64s) for parameter device is invalid. %.64s is not a valid EBS device "
		             "name.",
		             device, device);
		return NULL;
	}
	for (unsigned i = 0; i < value_count(list); i++) {
		if (strcmp(value_string(value_item(list, i), "DeviceName"), device))
			continue;
		request_fail(r, "InvalidParameterValue",
		             "Invalid value '%s' for unixDevice. Attachment point %s is already in use",
		             device, device);
		return NULL;
	}
	return device;
}

/* ---- actions ---- */

ACTION(ec2, CreateVolume)
{
	struct volume_wish w = VOLUME_WISH;
	struct resource *volume;

	w.zone = value_string(r->in, "AvailabilityZone");
	w.multi_attach = value_boolean(r->in, "MultiAttachEnabled", false);
	if (!region_has_zone(r->region, w.zone))
		return request_fail(r, "InvalidZone.NotFound", "The zone '%.64s' does not exist.", w.zone);
	if (volume_wish_read(r, r->in, &w) < 0 || volume_check(r, &w) < 0)
		return -1;
	volume = volume_new(r, &w);
	if (tag_specifications(r, volume, NULL) < 0)
		return -1;
	if (w.snapshot)
		boot_copy(r, w.snapshot->id, volume->id);
	r->out = value_copy(r->arena, volume->doc);
	volume_insert(r, volume, &w);
	return 0;
}

ACTION(ec2, DeleteVolume)
{
	struct resource *volume = resource_of(r, &volume_kind, "VolumeId");
	struct value *attachment;

	if (!volume)
		return -1;
	attachment = volume_attachment(volume, NULL);
	if (attachment)
		return request_fail(r, "VolumeInUse", "Volume %s is currently attached to %s", volume->id,
		                    value_string(attachment, "InstanceId"));
	volume_remove(r, volume);
	return 0;
}

ACTION(ec2, DescribeVolumes)
{
	static const struct describe d = {.kind = &volume_kind, .list = "Volumes", .ids = "VolumeIds"};

	return describe_run(r, &d);
}

/* ---- attach, detach ---- */

enum { MULTI_ATTACH_MAX = 16 };

unsigned volume_room(struct request *r)
{
	return block_files_are_real(r) ? min(HOSTED_DISKS_MAX, INSTANCE_VOLUMES_MAX) : INSTANCE_VOLUMES_MAX;
}

static struct resource *instance_for(struct request *r, const char *id)
{
	struct resource *instance = resource_get(r, &instance_kind, id);
	enum instance_state state;

	if (!instance)
		return NULL;
	state = instance_state_of(instance->doc);
	if (state != INSTANCE_RUNNING && state != INSTANCE_STOPPED) {
		request_fail(r, "IncorrectState", "Instance '%s' is not 'running' or 'stopped'.", id);
		return NULL;
	}
	return instance;
}

static int check_free(struct request *r, const struct resource *volume, const struct resource *instance)
{
	const struct value *list = value_get(volume->doc, "Attachments");
	const char *state = value_string(volume->doc, "State");
	bool multi = value_boolean(volume->doc, "MultiAttachEnabled", false);

	if (volume_attachment(volume, instance->id) || (value_count(list) && !multi))
		return request_fail(r, "VolumeInUse", "%s is already attached to an instance", volume->id);
	if (strcmp(state, "available") && strcmp(state, "in-use"))
		return request_fail(r, "IncorrectState", "Volume '%s' is not 'available'.", volume->id);
	if (value_count(list) >= MULTI_ATTACH_MAX)
		return request_fail(r, "AttachmentLimitExceeded", "Volume '%s' is attached %d times",
		                    volume->id, MULTI_ATTACH_MAX);
	if (strcmp(value_string(volume->doc, "AvailabilityZone"),
	           value_path(instance->doc, "Placement.AvailabilityZone")))
		return request_fail(r, "InvalidVolume.ZoneMismatch",
		                    "The volume '%s' is not in the same availability zone as instance '%s'",
		                    volume->id, instance->id);
	if (value_count(value_get(instance->doc, "BlockDeviceMappings")) >= volume_room(r))
		return request_fail(r, "AttachmentLimitExceeded",
		                    "The instance '%s' has %u volumes, and room for no more", instance->id,
		                    volume_room(r));
	return 0;
}

/* Is there a machine that runs, and has disks? */
static bool has_machine(struct request *r, const struct resource *instance)
{
	return instance_state_of(instance->doc) == INSTANCE_RUNNING && block_files_are_real(r);
}

ACTION(ec2, AttachVolume)
{
	struct resource *volume = resource_of(r, &volume_kind, "VolumeId"), *instance;
	const char *device = value_string(r->in, "Device");

	if (!volume)
		return -1;
	instance = instance_for(r, value_string(r->in, "InstanceId"));
	if (!instance || check_free(r, volume, instance) < 0 || !volume_device_check(r, instance, device))
		return -1;
	volume_attach(r, volume, instance, device, false);
	if (has_machine(r, instance)) {
		volume_plug_want(r, volume->id, instance->id, VOLUME_PLUG_IN);
		volume_set_state(volume, instance, "attaching");
	}
	resource_save(r, volume);
	resource_save(r, instance);
	r->out = value_copy(r->arena, volume_attachment(volume, instance->id));
	value_set_string(r->out, "State", "attaching");
	return 0;
}

ACTION(ec2, DetachVolume)
{
	struct resource *volume = resource_of(r, &volume_kind, "VolumeId"), *instance;
	const char *id = value_string(r->in, "InstanceId"), *device = value_string(r->in, "Device");
	enum volume_plug_what what;
	struct value *attachment;
	bool plugged;

	if (!volume)
		return -1;
	if (id && !resource_get(r, &instance_kind, id))
		return -1;
	if (!volume_attachment(volume, NULL))
		return request_fail(r, "IncorrectState", "Volume '%s' is in the 'available' state.",
		                    volume->id);
	if (!id && value_count(value_get(volume->doc, "Attachments")) > 1)
		return request_fail(r, "MissingParameter",
		                    "The volume '%s' is attached more than once: the request must contain "
		                    "the parameter instanceId",
		                    volume->id);
	attachment = volume_attachment(volume, id);
	if (!attachment || (device && strcmp(device, value_string(attachment, "Device"))))
		return request_fail(r, "InvalidAttachment.NotFound",
		                    "The volume '%s' is not attached to instance '%s' as device '%s'",
		                    volume->id, id ? id : "", device ? device : "");
	instance = instance_for(r, value_string(attachment, "InstanceId"));
	if (!instance)
		return -1;
	device = value_string(attachment, "Device");
	if (instance_state_of(instance->doc) == INSTANCE_RUNNING &&
	    !strcmp(device, value_string(instance->doc, "RootDeviceName")))
		return request_fail(r, "OperationNotPermitted",
		                    "Unable to detach root volume '%s' from instance '%s'", volume->id,
		                    instance->id);
	/* What is on its way to a machine that has stopped meanwhile may still arrive. */
	plugged = volume_plug_wanted(r, volume->id, instance->id, &what);
	if (plugged || has_machine(r, instance)) {
		bool busy = !strcmp(value_string(attachment, "State"), "busy"),
		     force = value_boolean(r->in, "Force", false) ||
		             (plugged && what == VOLUME_PLUG_TEAR_OUT);

		volume_plug_want(r, volume->id, instance->id, force ? VOLUME_PLUG_TEAR_OUT : VOLUME_PLUG_OUT);
		volume_set_state(volume, instance, busy && !force ? "busy" : "detaching");
		r->out = value_copy(r->arena, attachment);
		resource_save(r, volume);
	} else {
		r->out = value_copy(r->arena, attachment);
		value_set_string(r->out, "State", "detaching");
		volume_detach(r, volume, instance);
	}
	resource_save(r, instance);
	return 0;
}
