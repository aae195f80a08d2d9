/*
 * Which VPCs' records have changed since somebody looked: noted wherever records are written (resource.c,
 * link.c), so that no action needs to say it. What was taken back with its transaction is noted as well,
 * which does no harm: whoever looks compares.
 *
 * One thread, that of the database.
 */
#pragma once

#include "region/resource.h"

struct network_changes;

/* What the cloud notes from now on; NULL in cloud->changes: nothing is noted. */
struct network_changes *network_changes_new(void);
void network_changes_free(struct network_changes *changes);

/* vpc "": it may be any. */
void network_change(struct cloud *c, const char *vpc);
/* A resource was written or removed. */
void network_change_resource(struct cloud *c, const struct resource *res);
/* Something was said of, or linked to, what has this id. */
void network_change_id(struct cloud *c, const char *id);

/* Takes one; false: there is none. "": all of them may have changed. */
bool network_change_next(struct network_changes *changes, char out[64]);
/* The same with instances of which something has changed: they themselves, or their interfaces. */
bool network_change_next_instance(struct network_changes *changes, char out[64]);
