#include "region/instance_volume.h"
#include "region/block_file.h"
#include "region/boot.h"
#include "region/tag.h"

#include <string.h>

/* ---- what a launch shall have ---- */

static struct instance_volume *find(struct instance_volumes *v, const char *device)
{
	for (unsigned i = 0; i < v->count; i++)
		if (!strcmp(v->list[i].device, device))
			return &v->list[i];
	return NULL;
}

static int no_such_mapping(struct request *r, const char *device, const char *why)
{
	return request_fail(r, "InvalidBlockDeviceMapping", "%s: %.64s", why, device);
}

/* owner: who has the snapshots: who may launch an image may use what is in it. */
static int read_mapping(struct request *r, struct request *owner, struct instance_volumes *v,
                        const struct value *mapping)
{
	const char *device = value_string(mapping, "DeviceName");
	const struct value *ebs = value_get(mapping, "Ebs");
	struct instance_volume *entry;

	if (!device || !*device)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter blockDeviceMapping.deviceName");
	if (!volume_device_check(r, NULL, device))
		return no_such_mapping(r, device, "Invalid device name");
	entry = find(v, device);
	if (value_get(mapping, "NoDevice")) {
		if (entry && entry->root)
			return no_such_mapping(r, device, "The root device cannot be left out");
		if (entry)
			*entry = v->list[--v->count];
		return 0;
	}
	if (value_get(mapping, "VirtualName"))
		return request_fail(r, "UnsupportedOperation",
		                    "Instance store volumes (%.64s) are not offered here",
		                    value_string(mapping, "VirtualName"));
	if (!ebs)
		return no_such_mapping(r, device, "A block device mapping has nothing to map");
	if (!entry) {
		if (v->count == volume_room(r))
			return request_fail(r, "AttachmentLimitExceeded",
			                    "An instance has room for %u volumes", volume_room(r));
		entry = &v->list[v->count++];
		*entry = (struct instance_volume){
		        .device = device, .wish = VOLUME_WISH, .delete_on_termination = true};
	}
	entry->delete_on_termination =
	        value_boolean(ebs, "DeleteOnTermination", entry->delete_on_termination);
	/* Another type has its own defaults. */
	if (value_get(ebs, "VolumeType"))
		entry->wish.iops = entry->wish.throughput = -1;
	return volume_wish_read(owner, ebs, &entry->wish);
}

static int check_all(struct request *r, struct instance_volumes *v, const struct value *image)
{
	for (unsigned i = 0; i < v->count; i++) {
		struct instance_volume *e = &v->list[i];
		const struct value *list = value_get(image, "BlockDeviceMappings");
		s64 least = 0;

		for (unsigned k = 0; e->root && k < value_count(list); k++)
			if (!strcmp(value_string(value_item(list, k), "DeviceName"), e->device))
				least = value_integer(value_get(value_item(list, k), "Ebs"), "VolumeSize", 0);
		if (e->wish.size >= 0 && e->wish.size < least)
			return request_fail(
			        r, "InvalidBlockDeviceMapping",
			        "Volume of size %lldGB is smaller than the image's, expect size >= "
			        "%lldGB",
			        (long long)e->wish.size, (long long)least);
		if (volume_check(r, &e->wish) < 0)
			return -1;
	}
	return 0;
}

int instance_volumes_read(struct request *r, const struct resource *image, const struct image_source *source,
                          struct instance_volumes *v)
{
	const struct value *own = value_get(image->doc, "BlockDeviceMappings");
	const struct value *wanted = value_get(r->in, "BlockDeviceMappings");
	const char *root = value_string(image->doc, "RootDeviceName");
	struct request owner = *r;

	owner.account = value_string(image->doc, "OwnerId");
	v->count = 0;
	v->source = *source;
	for (unsigned i = 0; i < value_count(own); i++) {
		if (!value_get(value_item(own, i), "Ebs"))
			continue;
		if (read_mapping(r, &owner, v, value_item(own, i)) < 0)
			return -1;
		if (root && !strcmp(v->list[v->count - 1].device, root)) {
			v->list[v->count - 1].root = true;
			v->list[v->count - 1].wish.source = *source->disk ? source->disk : NULL;
		}
	}
	for (unsigned i = 0; i < value_count(wanted); i++) {
		for (unsigned k = 0; k < i; k++) {
			const char *name = value_string(value_item(wanted, i), "DeviceName");
			const char *other = value_string(value_item(wanted, k), "DeviceName");

			if (name && other && !strcmp(name, other))
				return no_such_mapping(r, name, "A device is mapped twice");
		}
		if (read_mapping(r, r, v, value_item(wanted, i)) < 0)
			return -1;
	}
	return check_all(r, v, image->doc);
}

int instance_volumes_create(struct request *r, struct instance_volumes *v, struct resource *instance,
                            const char *zone)
{
	static const char *const others[] = {"instance", "network-interface", "spot-instances-request",
	                                     "elastic-gpu", NULL};

	for (unsigned i = 0; i < v->count; i++) {
		struct instance_volume *e = &v->list[i];
		struct resource *volume;

		e->wish.zone = zone;
		volume = volume_new(r, &e->wish);
		if (tag_specifications(r, volume, others) < 0)
			return -1;
		volume_attach(r, volume, instance, e->device, e->delete_on_termination);
		volume_insert(r, volume, &e->wish);
		if (e->root)
			boot_set(r, volume->id, &v->source);
		else if (e->wish.snapshot)
			boot_copy(r, e->wish.snapshot->id, volume->id);
	}
	return 0;
}

/* ---- of an instance ---- */

void instance_volumes_leave(struct request *r, struct resource *instance)
{
	struct value *list = value_open(instance->doc, "BlockDeviceMappings");

	while (list->count) {
		struct value *ebs = value_get(value_item(list, list->count - 1), "Ebs");
		const char *id = ebs ? value_string(ebs, "VolumeId") : NULL;
		bool gone = ebs && value_boolean(ebs, "DeleteOnTermination", false);
		struct resource *volume = id ? resource_find(r, &volume_kind, id) : NULL;

		value_delete_item(list, list->count - 1);
		if (!volume)
			continue;
		volume_detach(r, volume, instance);
		if (gone && !volume_attachment(volume, NULL))
			volume_remove(r, volume);
	}
}

const char **instance_volume_ids(struct request *r, const struct resource *instance)
{
	const struct value *list = value_get(instance->doc, "BlockDeviceMappings");
	const char *root = value_string(instance->doc, "RootDeviceName");
	const char **ids = arena_alloc(r->arena, (value_count(list) + 1) * sizeof(*ids));
	unsigned count = 0;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < value_count(list); i++) {
			const char *id = value_path(value_item(list, i), "Ebs.VolumeId");
			const char *name = value_string(value_item(list, i), "DeviceName");
			const char *state = value_path(value_item(list, i), "Ebs.Status");
			bool first = root && name && !strcmp(root, name);
			bool leaves = state && (!strcmp(state, "detaching") || !strcmp(state, "busy"));

			if (id && !leaves && first == (pass == 0))
				ids[count++] = id;
		}
	}
	ids[count] = NULL;
	return ids;
}
