/* The key that `insula run` gives instances, and `insula ssh` comes in with: DATA/ssh/insula. */
#pragma once

#include "cli/client.h"

#define SSH_KEY_NAME "insula"

/* Makes the key if it is not there, and the region's key pair of that name. -1: instances get none. */
int ssh_key_ensure(struct client *c, const char *data, struct error *e);
