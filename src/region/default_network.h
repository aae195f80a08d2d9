/*
 * The default VPC of a region (EC2 User Guide, "Default VPCs"): 172.31.0.0/16, a public /20 subnet in each
 * zone, a main route table that leads to an internet gateway.
 */
#pragma once

#include "region/resource.h"

/* NULL with r->fault. */
struct resource *default_network_create(struct request *r);
/* The block for a default subnet that is not there, or NULL with r->fault. */
const char *default_network_free_block(struct request *r, const struct resource *vpc);
