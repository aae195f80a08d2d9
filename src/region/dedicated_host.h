/* What stands behind an allocated dedicated host: a whole host of the region (tenancy.h). */
#pragma once

#include "region/action.h"

struct dedicated_stand {
	char host[40];
	s64 vcpus, memory, free_vcpus, free_memory; /* memory in MiB */
};

/* Holds an empty host with at least so much. False: there is none. */
bool dedicated_host_take(struct request *r, const char *dedicated, char zone, s64 vcpus, s64 memory,
                         struct dedicated_stand *out);
/* False: what stands behind it is not there now. */
bool dedicated_host_stand(struct request *r, const char *dedicated, struct dedicated_stand *out);
/* False: machines run on it. */
bool dedicated_host_give_back(struct request *r, const char *dedicated);
