#include "cli/net_counters.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool net_counters_read(const char *data, const char *vpc, struct arena *a, struct datapath_counters *c)
{
	struct plan plan = {0};
	struct error e;
	json_t *config;
	char path[4300];
	bool known;

	*c = (struct datapath_counters){0};
	if (geteuid() != 0 || !datapath_exists(vpc))
		return false;
	snprintf(path, sizeof(path), "%s/vpcs/%s/config.json", data, vpc);
	config = json_load_file(path, 0, NULL);
	known = config && plan_read(&plan, json_object_get(config, "plan"), a, &e) == 0 &&
	        datapath_counters(&plan, a, c, &e) == 0;
	json_decref(config);
	return known;
}

const struct datapath_interface *net_counters_interface(const struct datapath_counters *c, const char *id)
{
	for (unsigned i = 0; i < c->interfaces_count; i++)
		if (!strcmp(c->interfaces[i].id, id))
			return &c->interfaces[i];
	return NULL;
}

u64 net_counters_group(const struct datapath_counters *c, const char *group)
{
	u64 sum = 0;

	for (unsigned i = 0; i < c->rules_count; i++)
		if (!strcmp(c->rules[i].group, group))
			sum += c->rules[i].packets;
	return sum;
}

const char *net_counters_bytes(char text[24], u64 bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double n = (double)bytes;
	unsigned unit = 0;

	while (n >= 1000 && unit + 1 < ARRAY_SIZE(units)) {
		n /= 1000;
		unit++;
	}
	snprintf(text, 24, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
	return text;
}
