/* Volumes that come and go with instances: block device mappings of images and of RunInstances. */
#pragma once

#include "region/image.h"
#include "region/volume.h"

enum { INSTANCE_VOLUMES_MAX = 28 }; /* room for devices that Nitro instances have */

struct instance_volume {
	const char *device;
	struct volume_wish wish;
	bool delete_on_termination, root;
};

struct instance_volumes {
	struct instance_volume list[INSTANCE_VOLUMES_MAX];
	unsigned count;
	struct image_source source; /* what boots the root volume */
};

/* What the image has, as changed by the request's BlockDeviceMappings. -1: InvalidBlockDeviceMapping, … */
int instance_volumes_read(struct request *r, const struct resource *image, const struct image_source *source,
                          struct instance_volumes *v);
/* Makes them, and writes them into the document of the instance, which is not stored yet. */
int instance_volumes_create(struct request *r, struct instance_volumes *v, struct resource *instance,
                            const char *zone);
/* The instance is terminated: its volumes go, or stay behind unattached. */
void instance_volumes_leave(struct request *r, struct resource *instance);
/* Ids of the volumes that its machine is to have, the root first; NULL at the end. */
const char **instance_volume_ids(struct request *r, const struct resource *instance);
