/* Snapshots of volumes; files as those of volumes (block_file.h). */
#pragma once

#include "region/resource.h"

extern const struct resource_kind snapshot_kind;

/* The caller's, or one that others share with it; NULL with a fault. */
struct resource *snapshot_get(struct request *r, const char *id);
/* Stores a snapshot of the volume; tags are to be put before snapshot_insert(). NULL with a fault: it cannot
 * be made now. */
struct resource *snapshot_new(struct request *r, const struct resource *volume, const char *description);
void snapshot_insert(struct request *r, struct resource *snapshot, const char *source);
/* A copy of one that is whole, of another region too; not stored yet. key: of its encryption. NULL with a
 * fault. */
struct resource *snapshot_copy(struct request *r, const struct resource *source, const char *description,
                               bool encrypted, const char *key);
/* Its file is there, or why it is not. */
void snapshot_finished(struct request *r, const char *id, const char *why);
