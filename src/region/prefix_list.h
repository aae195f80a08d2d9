/*
 * Prefix lists: named sets of blocks with versions. Those of an account ("managed"), and AWS's own for
 * gateway endpoints (com.amazonaws.REGION.s3, .dynamodb), which every region has from the start.
 *
 * The entries of a version are the property "entries:VERSION": texts "CIDR\tDESCRIPTION\n".
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind prefix_list_kind;

/* AWS's own lists of a new region. */
void prefix_list_create_own(struct request *r);
/* The blocks of its version that counts now; NULL at the end, empty if there is none of that id. */
const char **prefix_list_blocks(struct request *r, const char *id);
