/* Placement groups: how the scheduler may spread or gather instances. */
#pragma once

#include "region/resource.h"
#include "region/schedule.h"

extern const struct resource_kind placement_group_kind;

/* NULL: there is none of that name. */
struct resource *placement_group_find(struct request *r, const char *name);
/* The same, with a fault: InvalidPlacementGroup.Unknown. */
struct resource *placement_group_named(struct request *r, const char *name);
/* What the scheduler is to heed: name, strategy, partitions; NULL: no group. */
void placement_group_wish(const struct resource *group, struct schedule_wish *wish);
