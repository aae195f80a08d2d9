/*
 * NAT gateways: let a subnet's instances out under one address. Children of their VPC; each has a network
 * interface of its own, and a public one an Elastic IP. A deleted one is shown for an hour.
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind nat_gateway_kind;
