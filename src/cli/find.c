#include "cli/find.h"

#include <string.h>

const char *find_tag(const json_t *instance, const char *key)
{
	json_t *tag;
	size_t i;

	json_array_foreach(json_object_get(instance, "Tags"), i,
	                   tag) if (!strcmp(client_text(tag, "Key"), key)) return client_text(tag, "Value");
	return "";
}

json_t *find_instance(struct client *c, const char *what, struct error *e)
{
	bool by_id = !strncmp(what, "i-", 2);
	json_t *all =
	        by_id ? client_call(c, e, "DescribeInstances", "InstanceId.1", what, NULL)
	              : client_call(c, e, "DescribeInstances", "Filter.1.Name", "tag:Name",
	                            "Filter.1.Value.1", what, "Filter.2.Name", "instance-state-name",
	                            "Filter.2.Value.1", "pending", "Filter.2.Value.2", "running",
	                            "Filter.2.Value.3", "stopping", "Filter.2.Value.4", "stopped", NULL);
	json_t *found = NULL, *reservation, *instance;
	size_t i, k, count = 0;

	if (!all)
		return NULL;
	json_array_foreach(json_object_get(all, "Reservations"), i, reservation)
	{
		json_array_foreach(json_object_get(reservation, "Instances"), k, instance)
		{
			found = instance;
			count++;
		}
	}
	if (count == 1)
		json_incref(found);
	else
		error_set(e, 0,
		          count ? "%s: %zu instances have this name; say an id"
		                : "%s: there is no such instance; `insula ls` shows those there are",
		          what, count);
	json_decref(all);
	return count == 1 ? found : NULL;
}
