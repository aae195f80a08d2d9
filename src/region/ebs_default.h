/* Encryption of new volumes by default, of an account in a region. */
#pragma once

#include "region/action.h"

bool ebs_default_encryption(struct request *r);
/* The ARN of a key that was named, or of the default one (NULL). */
const char *ebs_default_key(struct request *r, const char *key);
