/* What `insula show` says of an instance to people. */
#pragma once

#include <jansson.h>

/* An Instance of the API, with CpuCredits of the operators' if it has any, and its Name ("": none). */
void show_instance(const json_t *instance, const char *name);
