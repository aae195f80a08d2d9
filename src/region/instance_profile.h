/* IAM instance profiles of instances: which one each is associated with. There is no IAM here, so a profile
 * is a name: none is refused that could be one, and no credentials come of it. */
#pragma once

#include "region/resource.h"

extern const struct resource_kind instance_profile_association_kind;

struct instance_profile {
	const char *arn, *id; /* arn NULL: none */
};

/* Of shape IamInstanceProfileSpecification, or NULL. -1: InvalidParameterValue, InvalidParameterCombination.
 */
int instance_profile_read(struct request *r, const struct value *v, struct instance_profile *p);
/* Associates it; the caller stores the instance. Returns the association. */
struct resource *instance_profile_associate(struct request *r, struct resource *instance,
                                            const struct instance_profile *p);
/* The instance is terminated. */
void instance_profile_leave(struct request *r, struct resource *instance);
