/*
 * Links: that one resource uses another ("eni-1 has the group sg-1"), to find either from the other; and
 * properties, what is known of a resource that its document does not show. Both go away with the resource
 * that they are of (its source).
 */
#pragma once

#include "region/action.h"

void link_add(struct request *r, const char *source, const char *what, const char *target);
/* target NULL: all. */
void link_remove(struct request *r, const char *source, const char *what, const char *target);
/* Ids that source is linked to, or that are linked to target; in the request's arena, NULL at the end. */
const char **link_targets(struct request *r, const char *source, const char *what);
const char **link_sources(struct request *r, const char *target, const char *what);
/* One of them, or NULL. */
const char *link_target(struct request *r, const char *source, const char *what);
const char *link_source(struct request *r, const char *target, const char *what);

/* NULL: it is not set. */
const char *property_get(struct request *r, const char *resource, const char *name);
/* value NULL: it is not set any more. */
void property_set(struct request *r, const char *resource, const char *name, const char *value);
bool property_is(struct request *r, const char *resource, const char *name, const char *value);
