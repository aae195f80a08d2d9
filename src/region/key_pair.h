/* Key pairs: what an instance lets in. */
#pragma once

#include "region/resource.h"

extern const struct resource_kind key_pair_kind;

/* NULL: there is none of that name. */
struct resource *key_pair_named(struct request *r, const char *name);
