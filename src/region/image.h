/*
 * Machine images. Those that `insula image` makes or imports are seen in every region; others belong to their
 * account and region.
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind image_kind;

/* Where an image's bytes are; texts may be "". Without a kernel, its disk boots by firmware. */
struct image_source {
	const char *kernel, *initrd, *disk, *cmdline;
};

/* The caller's, the region's, or one that others let it launch; NULL with a fault: InvalidAMIID.Malformed,
 * .NotFound. */
struct resource *image_get(struct request *r, const char *id, struct image_source *source);
/* One that the caller may change; AuthFailure: it belongs to another account, or to the region. */
struct resource *image_own(struct request *r, const char *id);
/* Is there one of that id that the caller may not use? */
bool image_is_secret(struct request *r, const char *id);
/* The permission that lets other accounts launch it (permission.h). */
#define IMAGE_PERMISSION "launch"

/* One that is not stored yet, as the API shows it, without devices. */
struct resource *image_new(struct request *r, const char *name, const char *description);
void image_set_source(struct request *r, const char *id, const struct image_source *source);

/* One of its snapshots is whole, or failed (image_create.c): when all are, so is the image. */
void image_snapshot_finished(struct request *r, const char *snapshot);

/* Registers a shared image, or replaces the one of that name. Returns its id. */
const char *image_share(struct request *r, const char *name, const char *description,
                        const struct image_source *source);
