/*
 * Going through many resources: an index is used if a filter can be answered by one, and what is not wanted
 * costs no memory.
 *
 * Indexes are on ids, on tags ("tag:KEY", "tag-key"), on the state, and on the paths of the document that a kind names
 * in its `indexed`. A filter whose values have wildcards is not looked up. The filters are matched by the
 * caller all the same: what is skipped here could not have matched.
 */
#pragma once

#include "region/filter.h"

enum scan { SCAN_SKIP, SCAN_KEEP, SCAN_STOP };

/* Goes through a kind, oldest first, from behind `after`. What fn keeps stays in the request's arena, with
 * all that fn asked for; what it skips does not. fn must not go through resources itself. */
void scan_each(struct request *r, const struct resource_kind *kind, s64 after, const struct filter *filters,
               enum scan (*fn)(void *ctx, struct resource *res), void *ctx);
