/*
 * Regions: any name that AWS's tools take is one, a space of its own, made when it is first used; or only
 * those of --regions.
 */
#pragma once

#include "region/action.h"

#define REGION_DEFAULT "us-east-1"

bool region_offered(const struct cloud *c, const char *name);
/* Regions to list: those of --regions, or those that the account has used and a few of AWS's; NULL behind the
 * last. */
const char *region_listed(struct cloud *c, struct arena *a, const char *account, unsigned i);
/* "use1-az1" of us-east-1a */
const char *region_zone_id(struct arena *a, const char *region, char letter);
/* Makes what a region has from the start, if this is its first use: a default VPC. */
int region_ensure(struct request *r);
