#include "region/action.h"

#include <stdlib.h>
#include <string.h>

/* The linker gathers what ACTION() puts into its section. */
extern const struct action __start_actions[], __stop_actions[];

const struct action *action_find(const char *service, const char *name)
{
	for (const struct action *a = __start_actions; a < __stop_actions; a++)
		if (!strcmp(a->name, name) && !strcmp(a->service, service))
			return a;
	return NULL;
}

bool region_has_zone(const char *region, const char *zone)
{
	size_t length = strlen(region);

	return !strncmp(zone, region, length) && zone[length] >= 'a' && zone[length] < 'a' + REGION_ZONES &&
	       !zone[length + 1];
}
