/*
 * Which of the hosts with room an instance is placed on: one with the fewest vCPUs in use, and as its
 * placement group has it (EC2 User Guide, "Placement groups"):
 *
 *   spread     each on a host of its own, at most seven in a zone
 *   cluster    all in one zone, on as few hosts as there can be, those near each other: racks with numbers
 *              that are next to each other
 *   partition  no host has instances of two partitions; those without a number go to the partition with the
 *              fewest
 */
#pragma once

#include "region/schedule.h"

enum { PLACEMENT_SPREAD_MAX = 7, PLACEMENT_PARTITIONS_MAX = 7 };

/* What is known of a partition group while many instances are placed one after the other; begins zeroed. */
struct placement_use {
	bool known;
	s64 members[PLACEMENT_PARTITIONS_MAX + 1];
};

/* False: there is no such host. Nothing is taken. */
bool placement_pick(struct request *r, const struct schedule_wish *wish, struct schedule_place *place);
/* Has the group an instance that is not terminated? */
bool placement_in_use(struct request *r, const char *group);
