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

const char *request_one_of(struct request *r, const char *const *members, unsigned count, const char *of)
{
	const char *which = NULL;

	for (unsigned i = 0; i < count; i++) {
		if (!value_get(r->in, members[i]))
			continue;
		if (which) {
			request_fail(r, "InvalidParameterCombination",
			             "One attribute is modified with each request, not %s and %s", which,
			             members[i]);
			return NULL;
		}
		which = members[i];
	}
	if (!which)
		request_fail(r, "MissingParameter",
		             "The request must contain an attribute of the %s to modify", of);
	return which;
}

bool region_has_zone(const char *region, const char *zone)
{
	size_t length = strlen(region);

	return !strncmp(zone, region, length) && zone[length] >= 'a' && zone[length] < 'a' + REGION_ZONES &&
	       !zone[length + 1];
}
