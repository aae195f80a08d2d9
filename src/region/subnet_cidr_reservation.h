/* Parts of a subnet that are kept for those who ask for them by address (a kind of its own, child of the
 * subnet). */
#pragma once

#include "region/resource.h"

extern const struct resource_kind subnet_cidr_reservation_kind;
