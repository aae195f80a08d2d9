/* Instances as people name them. */
#pragma once

#include "cli/client.h"

/* An instance by its id, or by its Name; to be given back. NULL with e. */
json_t *find_instance(struct client *c, const char *what, struct error *e);
/* The value of one of its tags, "" if it is not there. */
const char *find_tag(const json_t *instance, const char *key);
