/*
 * What boots a root volume: the kernel of its image, which the region hands the machine. Volumes of such an
 * image, snapshots of these and images made of them remember it. Of others nothing is known: firmware boots
 * what they have.
 */
#pragma once

#include "region/image.h"

void boot_set(struct request *r, const char *id, const struct image_source *source);
/* False: it is not known to boot. disk is "". */
bool boot_get(struct request *r, const char *id, struct image_source *source);
void boot_copy(struct request *r, const char *from, const char *to);
