/* Flow logs: what is to be written of the traffic of a VPC, a subnet or a network interface, which is the
 * parent. */
#pragma once

#include "region/resource.h"

extern const struct resource_kind flow_log_kind;

/* What is logged is gone: so are its logs. */
void flow_log_resource_gone(struct request *r, const char *id);
