/* CPU credits of burstable instances (EC2 User Guide, "Burstable performance instances"): which mode they are in. */
#pragma once

#include "region/action.h"

struct instance_type;

/* What RunInstances asks for, or the family begins with; NULL: the type has no credits. -1:
 * InvalidParameterCombination, InvalidParameterValue. */
int instance_credit_read(struct request *r, const struct instance_type *type, const char **credits);
void instance_credit_set(struct request *r, const char *instance, const char *credits);
