/* CreateImage, RegisterImage, CopyImage: images of snapshots. */
#include "region/block_file.h"
#include "region/boot.h"
#include "region/image.h"
#include "region/instance.h"
#include "region/instance_volume.h"
#include "region/link.h"
#include "region/snapshot.h"
#include "region/tag.h"

#include <ctype.h>
#include <string.h>

enum { NAME_LEAST = 3, NAME_MOST = 128, DESCRIPTION_MAX = 255 };

static int check_name(struct request *r, const char *name, const char *description)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("()[] ./-'@_", name[i]))
			length = 0;
	if (length < NAME_LEAST || length > NAME_MOST)
		return request_fail(r, "InvalidAMIName.Malformed",
		                    "AMI names must be between %d and %d characters long, and may contain "
		                    "letters, numbers, and ()[] ./-'@_",
		                    NAME_LEAST, NAME_MOST);
	if (description && strlen(description) > DESCRIPTION_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "The description of an image has at most %d characters", DESCRIPTION_MAX);
	if (resource_lookup(r, &image_kind, "Name", name))
		return request_fail(r, "InvalidAMIName.Duplicate", "AMI name %s is already in use", name);
	return 0;
}

/* ---- when it is whole ---- */

/* pending until its snapshots are */
static const char *state_of(struct request *r, const char *image)
{
	const char **snapshots = link_targets(r, image, "snapshot"), *state = "available";

	for (unsigned i = 0; snapshots[i]; i++) {
		struct resource *snapshot = resource_find(r, &snapshot_kind, snapshots[i]);
		const char *is = snapshot ? value_string(snapshot->doc, "State") : "error";

		if (!strcmp(is, "error"))
			return "failed";
		if (strcmp(is, "completed"))
			state = "pending";
	}
	return state;
}

void image_snapshot_finished(struct request *r, const char *snapshot)
{
	const char **images = link_sources(r, snapshot, "snapshot");

	for (unsigned i = 0; images[i]; i++) {
		struct resource *image = resource_find(r, &image_kind, images[i]);

		if (!image || strcmp(value_string(image->doc, "State"), "pending"))
			continue;
		value_set_string(image->doc, "State", state_of(r, image->id));
		resource_save(r, image);
	}
}

static void store(struct request *r, struct resource *image, const struct image_source *source)
{
	image_set_source(r, image->id, source);
	value_set_string(image->doc, "State", state_of(r, image->id));
	resource_insert(r, image);
	value_set_string(r->out, "ImageId", image->id);
}

/* ---- devices ---- */

static struct value *add_device(struct request *r, struct resource *image, const char *name,
                                const char *snapshot)
{
	struct value *mapping = value_append(value_open(image->doc, "BlockDeviceMappings")), *ebs;

	value_set_string(mapping, "DeviceName", name);
	ebs = value_open(mapping, "Ebs");
	value_set_boolean(ebs, "DeleteOnTermination", true);
	if (snapshot) {
		value_set_string(ebs, "SnapshotId", snapshot);
		link_add(r, image->id, "snapshot", snapshot);
	}
	return ebs;
}

static void describe_device(struct value *ebs, const struct volume_wish *w)
{
	value_set_string(ebs, "VolumeType", w->type);
	value_set_integer(ebs, "VolumeSize", w->size);
	value_set_boolean(ebs, "Encrypted", w->encrypted);
	/* gp2 has what its size gives. */
	if (w->iops >= 0 && strcmp(w->type, "gp2"))
		value_set_integer(ebs, "Iops", w->iops);
	if (w->throughput >= 0)
		value_set_integer(ebs, "Throughput", w->throughput);
}

static const struct value *mapping_of(const struct value *list, const char *device)
{
	for (unsigned i = 0; i < value_count(list); i++) {
		const char *name = value_string(value_item(list, i), "DeviceName");

		if (name && !strcmp(name, device))
			return value_item(list, i);
	}
	return NULL;
}

/* As the request has it, and checked. */
static int wish_of(struct request *r, const struct value *mapping, struct volume_wish *w)
{
	const struct value *ebs = value_get(mapping, "Ebs");

	if (!ebs)
		return request_fail(r, "InvalidBlockDeviceMapping",
		                    "Only volumes can be mapped, not instance store");
	if (value_get(ebs, "VolumeType"))
		w->iops = w->throughput = -1;
	return volume_wish_read(r, ebs, w) < 0 || volume_check(r, w) < 0 ? -1 : 0;
}

/* ---- of an instance ---- */

static const char *const others_of_snapshot[] = {"image", NULL}, *const others_of_image[] = {"snapshot",
                                                                                             NULL};

static int image_volume(struct request *r, struct resource *image, const struct resource *instance,
                        const struct value *device)
{
	const char *name = value_string(device, "DeviceName"), *id = value_path(device, "Ebs.VolumeId");
	const struct value *change = mapping_of(value_get(r->in, "BlockDeviceMappings"), name);
	struct resource *volume = id ? resource_find(r, &volume_kind, id) : NULL, *snapshot;
	struct volume_wish w = VOLUME_WISH;
	struct value *ebs;

	if (!volume || (change && value_get(change, "NoDevice")))
		return 0;
	w.type = value_string(volume->doc, "VolumeType");
	w.size = value_integer(volume->doc, "Size", 0);
	w.iops = strcmp(w.type, "gp2") ? value_integer(volume->doc, "Iops", -1) : -1;
	w.throughput = value_integer(volume->doc, "Throughput", -1);
	w.encrypted = value_boolean(volume->doc, "Encrypted", false);
	if (change && wish_of(r, change, &w) < 0)
		return -1;
	if (w.size < value_integer(volume->doc, "Size", 0))
		return request_fail(r, "InvalidBlockDeviceMapping",
		                    "Volume of size %lldGB is smaller than the volume at %s",
		                    (long long)w.size, name);
	snapshot = snapshot_new(
	        r, volume,
	        arena_printf(r->arena, "Created by CreateImage(%s) for %s", instance->id, image->id));
	if (!snapshot || tag_specifications(r, snapshot, others_of_snapshot) < 0)
		return -1;
	boot_copy(r, volume->id, snapshot->id);
	snapshot_insert(r, snapshot, volume->id);
	ebs = add_device(r, image, name, snapshot->id);
	value_set_boolean(ebs, "DeleteOnTermination",
	                  value_boolean(value_get(device, "Ebs"), "DeleteOnTermination", true));
	describe_device(ebs, &w);
	return 0;
}

/* Devices of the request that the instance does not have. */
static int image_extras(struct request *r, struct resource *image, const struct resource *instance)
{
	const struct value *wanted = value_get(r->in, "BlockDeviceMappings");

	for (unsigned i = 0; i < value_count(wanted); i++) {
		const struct value *mapping = value_item(wanted, i);
		const char *name = value_string(mapping, "DeviceName");
		struct volume_wish w = VOLUME_WISH;

		if (!name)
			return request_fail(
			        r, "MissingParameter",
			        "The request must contain the parameter blockDeviceMapping.deviceName");
		if (value_get(mapping, "NoDevice") ||
		    mapping_of(value_get(instance->doc, "BlockDeviceMappings"), name))
			continue;
		if (!volume_device_check(r, NULL, name) || wish_of(r, mapping, &w) < 0)
			return -1;
		describe_device(add_device(r, image, name, w.snapshot ? w.snapshot->id : NULL), &w);
	}
	return 0;
}

ACTION(ec2, CreateImage)
{
	const char *name = value_string(r->in, "Name"), *description = value_string(r->in, "Description");
	struct resource *instance = resource_of(r, &instance_kind, "InstanceId"), *image;
	struct image_source source = {"", "", "", ""};
	const struct value *list;
	enum instance_state state;
	struct machine *m;

	if (!instance || check_name(r, name, description) < 0)
		return -1;
	state = instance_state_of(instance->doc);
	if (state != INSTANCE_RUNNING && state != INSTANCE_STOPPED)
		return request_fail(r, "IncorrectInstanceState",
		                    "The instance '%s' is not in the 'running' or 'stopped' state.",
		                    instance->id);
	image = image_new(r, name, description);
	list = value_get(instance->doc, "BlockDeviceMappings");
	value_set_string(image->doc, "RootDeviceName", value_string(instance->doc, "RootDeviceName"));
	if (tag_specifications(r, image, others_of_image) < 0)
		return -1;
	for (unsigned i = 0; i < value_count(list); i++)
		if (image_volume(r, image, instance, value_item(list, i)) < 0)
			return -1;
	if (image_extras(r, image, instance) < 0)
		return -1;
	m = machine_find(r, instance->id);
	if (m)
		source = (struct image_source){m->kernel, m->initrd, m->disk, m->cmdline};
	store(r, image, &source);
	return 0;
}

/* ---- of snapshots ---- */

static int register_device(struct request *r, struct resource *image, const struct value *mapping,
                           const char *root, struct image_source *source)
{
	const char *name = value_string(mapping, "DeviceName");
	struct volume_wish w = VOLUME_WISH;
	struct value *ebs;
	char path[4200];

	if (!name)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter blockDeviceMapping.deviceName");
	if (!volume_device_check(r, NULL, name) || wish_of(r, mapping, &w) < 0)
		return -1;
	if (!strcmp(name, root)) {
		if (!w.snapshot)
			return request_fail(r, "InvalidBlockDeviceMapping",
			                    "The root device %s must be mapped to a snapshot", root);
		/* Of a root volume that was made here: the same kernel. Else what is on it boots, by
		 * firmware. */
		boot_get(r, w.snapshot->id, source);
		source->disk =
		        arena_strdup(r->arena, block_file_path(r->cloud, path, sizeof(path), w.snapshot->id));
	}
	ebs = add_device(r, image, name, w.snapshot ? w.snapshot->id : NULL);
	value_set_boolean(ebs, "DeleteOnTermination",
	                  value_boolean(value_get(mapping, "Ebs"), "DeleteOnTermination", true));
	describe_device(ebs, &w);
	return 0;
}

static int check_registered(struct request *r)
{
	static const char *const unsupported[] = {"KernelId", "RamdiskId",  "ImageLocation",
	                                          "UefiData", "TpmSupport", "BillingProducts"};
	const char *architecture = value_string(r->in, "Architecture");
	const char *kind = value_string(r->in, "VirtualizationType");

	for (unsigned i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (value_get(r->in, unsupported[i]) &&
		    (value_get(r->in, unsupported[i])->kind != VALUE_LIST ||
		     value_get(r->in, unsupported[i])->count))
			return request_fail(r, "UnsupportedOperation", "%s is not offered here yet",
			                    unsupported[i]);
	if (architecture && strcmp(architecture, "x86_64"))
		return request_fail(r, "UnsupportedOperation",
		                    "Machines here are of the architecture x86_64");
	if (kind && strcmp(kind, "hvm"))
		return request_fail(r, "UnsupportedOperation",
		                    "Machines here are of the virtualization type hvm");
	return 0;
}

ACTION(ec2, RegisterImage)
{
	static const char *const same[] = {"BootMode", "ImdsSupport", "SriovNetSupport"};
	const struct value *list = value_get(r->in, "BlockDeviceMappings");
	const char *name = value_string(r->in, "Name"), *root = value_string(r->in, "RootDeviceName");
	struct image_source source = {"", "", "", ""};
	struct resource *image;

	if (check_name(r, name, value_string(r->in, "Description")) < 0 || check_registered(r) < 0)
		return -1;
	if (!root || !mapping_of(list, root))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter rootDeviceName, and a "
		                    "blockDeviceMapping for it");
	image = image_new(r, name, value_string(r->in, "Description"));
	value_set_string(image->doc, "RootDeviceName", root);
	for (unsigned i = 0; i < ARRAY_SIZE(same); i++)
		if (value_get(r->in, same[i]))
			value_set_string(image->doc, same[i], value_string(r->in, same[i]));
	for (unsigned i = 0; i < value_count(list); i++)
		if (register_device(r, image, value_item(list, i), root, &source) < 0)
			return -1;
	store(r, image, &source);
	return 0;
}

/* ---- copies ---- */

ACTION(ec2, CopyImage)
{
	const char *name = value_string(r->in, "Name"), *description = value_string(r->in, "Description");
	bool encrypted = value_boolean(r->in, "Encrypted", false);
	struct image_source source;
	struct request from = *r;
	struct resource *image, *copy;
	struct value *list;

	from.region = value_string(r->in, "SourceRegion");
	image = image_get(&from, value_string(r->in, "SourceImageId"), &source);
	if (!image || check_name(r, name, description) < 0)
		return -1;
	if (strcmp(value_string(image->doc, "State"), "available"))
		return request_fail(r, "InvalidAMIID.Unavailable", "The image ID '%s' is not available",
		                    image->id);
	if (encrypted && block_files_are_real(r))
		return request_fail(r, "UnsupportedOperation",
		                    "Volumes cannot be encrypted here: they are plain files");
	copy = image_new(r, name, description);
	value_set_string(copy->doc, "RootDeviceName", value_string(image->doc, "RootDeviceName"));
	if (value_get(image->doc, "BlockDeviceMappings"))
		value_put(copy->doc, "BlockDeviceMappings",
		          value_copy(r->arena, value_get(image->doc, "BlockDeviceMappings")));
	if (value_boolean(r->in, "CopyImageTags", false) && tag_list(image->doc))
		value_put(copy->doc, "Tags", value_copy(r->arena, tag_list(image->doc)));
	list = value_get(copy->doc, "BlockDeviceMappings");
	for (unsigned i = 0; i < value_count(list); i++) {
		struct value *ebs = value_get(value_item(list, i), "Ebs");
		const char *id = ebs ? value_string(ebs, "SnapshotId") : NULL;
		struct resource *old = id ? snapshot_get(&from, id) : NULL, *made;

		if (!id)
			continue;
		made = old ? snapshot_copy(r, old,
		                           arena_printf(r->arena,
		                                        "Copied for DestinationAmi %s from SourceAmi "
		                                        "%s",
		                                        copy->id, image->id),
		                           encrypted, value_string(r->in, "KmsKeyId"))
		           : NULL;
		if (!made)
			return -1;
		snapshot_insert(r, made, old->id);
		value_set_string(ebs, "SnapshotId", made->id);
		value_set_boolean(ebs, "Encrypted", value_boolean(made->doc, "Encrypted", false));
		link_add(r, copy->id, "snapshot", made->id);
	}
	store(r, copy, &source);
	return 0;
}
