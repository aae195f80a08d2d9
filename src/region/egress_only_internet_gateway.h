/* Egress-only internet gateways: out over IPv6, nothing in. Children of their VPC. */
#pragma once

#include "region/resource.h"

extern const struct resource_kind egress_only_internet_gateway_kind;
