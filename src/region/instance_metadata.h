/* How the metadata service answers an instance: MetadataOptions. */
#pragma once

#include "region/action.h"

/* Takes over what the request's structure says (NULL: nothing) into options, of shape
 * InstanceMetadataOptionsResponse, which has the defaults where it is empty. -1: InvalidParameterValue. */
int instance_metadata_read(struct request *r, const struct value *from, struct value *options);
/* Tags that the service shows have keys that are names in it. -1: InvalidParameterValue. */
int instance_metadata_check_tags(struct request *r, const struct value *instance);
