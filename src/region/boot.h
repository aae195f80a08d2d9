/*
 * What boots a root volume: machines begin with a kernel that the region hands them, not with what their disk
 * has. So volumes of an image, snapshots of these and images made of them remember it.
 */
#pragma once

#include "region/image.h"

void boot_set(struct request *r, const char *id, const struct image_source *source);
/* False: it is not known to boot. disk is "". */
bool boot_get(struct request *r, const char *id, struct image_source *source);
void boot_copy(struct request *r, const char *from, const char *to);
