/*
 * DHCP options sets: what instances of a VPC are told about names and times. "default" stands for none. VPCs
 * are linked to theirs ("dhcp-options").
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind dhcp_options_kind;

/* The id of the region's default set, which is made if it is not there. */
const char *dhcp_options_default(struct request *r);
