#include "region/tenancy.h"
#include "region/dedicated_host.h"

#include <stdio.h>
#include <string.h>

bool tenancy_is_own(const struct schedule_wish *w)
{
	return w->tenancy && strcmp(w->tenancy, "default");
}

/* ---- holding ---- */

static void hold(struct request *r, const char *host, const char *dedicated)
{
	struct query *q = database_query(r->cloud->db, "INSERT INTO host_hold VALUES ($1, $2, $3) "
	                                               "ON CONFLICT (host) DO NOTHING");

	query_run(query_text(query_text(query_text(q, host), r->account), dedicated));
	query_run(query_text(database_query(r->cloud->db, "UPDATE host SET state = 'held' WHERE id = $1 AND "
	                                                  "state = 'up'"),
	                     host));
}

static void let_go(struct request *r, const char *host)
{
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM host_hold WHERE host = $1"), host));
	query_run(query_text(database_query(r->cloud->db, "UPDATE host SET state = 'up' WHERE id = $1 AND "
	                                                  "state = 'held'"),
	                     host));
}

static bool has_machines(struct request *r, const char *host)
{
	struct query *q = query_text(
	        database_query(r->cloud->db, "SELECT 1 FROM machine WHERE host = $1 LIMIT 1"), host);
	bool found = query_row(q);

	query_end(q);
	return found;
}

void tenancy_leave(struct request *r, const char *host)
{
	struct query *q = query_text(
	        database_query(r->cloud->db, "SELECT 1 FROM host_hold WHERE host = $1 AND dedicated = ''"),
	        host);
	bool held = query_row(q);

	query_end(q);
	if (held && !has_machines(r, host))
		let_go(r, host);
}

void tenancy_hold_again(struct cloud *c)
{
	query_run(database_query(c->db, "UPDATE host SET state = 'held' WHERE state = 'up' AND id IN "
	                                "(SELECT host FROM host_hold)"));
}

/* ---- dedicated instances ---- */

static int pick_dedicated(struct request *r, const struct schedule_wish *w, struct schedule_place *place)
{
	/* One that is held already before an empty one. */
	struct query *q = database_query(
	        r->cloud->db,
	        "SELECT id, zone, simulated FROM host WHERE (zone = $1 OR zone = '*' OR $1 = '') "
	        "AND vcpus - used_vcpus >= $2 AND memory - used_memory >= $3 "
	        "AND ((state = 'up' AND used_vcpus = 0) OR (state = 'held' AND EXISTS (SELECT 1 FROM "
	        "host_hold "
	        "k WHERE k.host = host.id AND k.account = $4 AND k.dedicated = ''))) "
	        "AND ($5 <> 'spread' OR NOT EXISTS (SELECT 1 FROM machine m WHERE m.host = host.id AND "
	        "m.placement_group = $6)) ORDER BY state, used_vcpus DESC, id LIMIT 1");
	size_t length = w->zone ? strlen(w->zone) : 0;

	query_text(q, length ? w->zone + length - 1 : "");
	query_text(query_integer(query_integer(q, w->vcpus), w->memory_mib), r->account);
	if (!schedule_found(query_text(query_text(q, w->strategy), w->group), r, w, place))
		return request_fail(
		        r, "InsufficientInstanceCapacity",
		        "We currently do not have a host that could be yours alone, with %lld vCPUs "
		        "and %lld MiB, in the Availability Zone you requested (%s).",
		        (long long)w->vcpus, (long long)w->memory_mib, w->zone ? w->zone : r->region);
	hold(r, place->host, "");
	return 0;
}

/* ---- dedicated hosts ---- */

/* What stands behind a dedicated host. */
struct stand {
	char host[40];
	s64 vcpus, memory, used_vcpus, used_memory;
	bool simulated;
};

static bool stand_of(struct request *r, const char *dedicated, struct stand *s)
{
	struct query *q = query_text(
	        database_query(
	                r->cloud->db,
	                "SELECT h.id, h.vcpus, h.memory, h.used_vcpus, h.used_memory, h.simulated FROM "
	                "host h, host_hold k WHERE k.dedicated = $1 AND k.host = h.id AND h.state = "
	                "'held'"),
	        dedicated);
	bool found = query_row(q);

	if (found) {
		*s = (struct stand){.vcpus = query_column_integer(q, 1),
		                    .memory = query_column_integer(q, 2),
		                    .used_vcpus = query_column_integer(q, 3),
		                    .used_memory = query_column_integer(q, 4),
		                    .simulated = query_column_integer(q, 5)};
		snprintf(s->host, sizeof(s->host), "%s", query_column_text(q, 0));
	}
	query_end(q);
	return found;
}

static bool same_family(const char *type, const char *family)
{
	size_t length = strcspn(type, ".");

	return strlen(family) == length && !strncmp(type, family, length);
}

static bool takes_type(const struct value *host, const char *type)
{
	const struct value *p = value_get(host, "HostProperties");
	const char *only = value_string(p, "InstanceType"), *family = value_string(p, "InstanceFamily");

	return only ? !strcmp(only, type) : family && same_family(type, family);
}

static bool has_room(const struct stand *s, const struct schedule_wish *w)
{
	return s->vcpus - s->used_vcpus >= w->vcpus && s->memory - s->used_memory >= w->memory_mib;
}

static void settle(struct schedule_place *place, const struct resource *host, const struct stand *s)
{
	snprintf(place->host, sizeof(place->host), "%s", s->host);
	snprintf(place->zone, sizeof(place->zone), "%s", value_string(host->doc, "AvailabilityZone"));
	snprintf(place->dedicated_host, sizeof(place->dedicated_host), "%s", host->id);
	place->simulated = s->simulated;
}

static int pick_named(struct request *r, const struct schedule_wish *w, struct schedule_place *place)
{
	struct resource *host = resource_get(r, &dedicated_host_kind, w->dedicated_host);
	struct stand s;

	if (!host)
		return -1;
	if (w->zone && strcmp(w->zone, value_string(host->doc, "AvailabilityZone")))
		return request_fail(r, "InvalidParameterCombination",
		                    "The Dedicated Host '%s' is in the zone %s, not in %s", host->id,
		                    value_string(host->doc, "AvailabilityZone"), w->zone);
	if (!takes_type(host->doc, w->type))
		return request_fail(r, "InvalidParameterCombination",
		                    "The Dedicated Host '%s' does not take instances of the type %s",
		                    host->id, w->type);
	if (!stand_of(r, host->id, &s))
		return request_fail(r, "InvalidHostState", "The Dedicated Host '%s' is not available",
		                    host->id);
	if (!has_room(&s, w))
		return request_fail(
		        r, "InsufficientCapacityOnHost",
		        "There is not enough capacity on the Dedicated Host '%s' to launch or start "
		        "the instance.",
		        host->id);
	settle(place, host, &s);
	return 0;
}

static int pick_automatic(struct request *r, const struct schedule_wish *w, struct schedule_place *place)
{
	struct resource **list = resource_list(r, &dedicated_host_kind, NULL);
	struct stand s;

	for (unsigned i = 0; list[i]; i++) {
		const struct value *doc = list[i]->doc;

		if (strcmp(value_string(doc, "AutoPlacement"), "on") || !takes_type(doc, w->type) ||
		    (w->zone && strcmp(w->zone, value_string(doc, "AvailabilityZone"))) ||
		    !stand_of(r, list[i]->id, &s) || !has_room(&s, w))
			continue;
		settle(place, list[i], &s);
		return 0;
	}
	return request_fail(r, "InsufficientHostCapacity",
	                    "There is no Dedicated Host with auto-placement and room for an instance of the "
	                    "type %s%s%s",
	                    w->type, w->zone ? " in the zone " : "", w->zone ? w->zone : "");
}

int tenancy_pick(struct request *r, const struct schedule_wish *w, struct schedule_place *place)
{
	if (!strcmp(w->tenancy, "dedicated"))
		return pick_dedicated(r, w, place);
	return w->dedicated_host ? pick_named(r, w, place) : pick_automatic(r, w, place);
}

/* ---- instances ---- */

static int check_group(struct request *r, const struct value *v)
{
	if (!value_get(v, "HostResourceGroupArn"))
		return 0;
	return request_fail(r, "UnsupportedOperation", "There are no host resource groups here");
}

int tenancy_read(struct request *r, const struct value *placement, struct schedule_wish *w)
{
	const char *affinity = value_string(placement, "Affinity");

	w->tenancy = value_string(placement, "Tenancy");
	w->dedicated_host = value_string(placement, "HostId");
	w->affinity = affinity;
	if (check_group(r, placement) < 0)
		return -1;
	if (affinity && strcmp(affinity, "default") && strcmp(affinity, "host"))
		return request_fail(
		        r, "InvalidParameterValue",
		        "Value (%.64s) for parameter affinity is invalid. Expecting default or host.",
		        affinity);
	/* A host that is named says what tenancy is meant. */
	if (w->dedicated_host && !w->tenancy)
		w->tenancy = "host";
	if ((w->dedicated_host || (affinity && !strcmp(affinity, "host"))) &&
	    (!w->tenancy || strcmp(w->tenancy, "host")))
		return request_fail(r, "InvalidParameterCombination",
		                    "HostId and Affinity 'host' are for the tenancy 'host' only");
	if (w->dedicated_host && !resource_get(r, &dedicated_host_kind, w->dedicated_host))
		return -1;
	return 0;
}

void tenancy_of_instance(const struct value *doc, struct schedule_wish *w)
{
	const struct value *placement = value_get(doc, "Placement");

	w->tenancy = value_string(placement, "Tenancy");
	w->affinity = value_string(placement, "Affinity");
	w->dedicated_host =
	        w->affinity && !strcmp(w->affinity, "host") ? value_string(placement, "HostId") : NULL;
	w->type = value_string(doc, "InstanceType");
}

void tenancy_show(struct value *placement, const struct schedule_wish *w, const struct schedule_place *place)
{
	value_set_string(placement, "Tenancy", w->tenancy ? w->tenancy : "default");
	if (!w->tenancy || strcmp(w->tenancy, "host"))
		return;
	value_set_string(placement, "Affinity", w->affinity ? w->affinity : "default");
	value_set_string(placement, "HostId", place->dedicated_host);
}

int tenancy_modify(struct request *r, struct resource *instance)
{
	struct value *placement = value_open(instance->doc, "Placement");
	const char *was = value_string(placement, "Tenancy"), *tenancy = value_string(r->in, "Tenancy");
	const char *host = value_string(r->in, "HostId"), *affinity = value_string(r->in, "Affinity");
	bool own = was && strcmp(was, "default");
	struct resource *found;

	if (check_group(r, r->in) < 0)
		return -1;
	if (tenancy && !own)
		return request_fail(r, "InvalidParameterValue",
		                    "The tenancy of an instance of the tenancy 'default' cannot be changed");
	if (!tenancy)
		tenancy = own ? was : "default";
	if ((host || (affinity && !strcmp(affinity, "host"))) && strcmp(tenancy, "host"))
		return request_fail(r, "InvalidParameterCombination",
		                    "HostId and Affinity 'host' are for the tenancy 'host' only");
	if (host) {
		found = resource_get(r, &dedicated_host_kind, host);
		if (!found)
			return -1;
		if (!takes_type(found->doc, value_string(instance->doc, "InstanceType")) ||
		    strcmp(value_string(found->doc, "AvailabilityZone"),
		           value_string(placement, "AvailabilityZone")))
			return request_fail(r, "InvalidParameterCombination",
			                    "The Dedicated Host '%s' is in another zone, or does not take "
			                    "instances of this type",
			                    host);
	}
	value_set_string(placement, "Tenancy", tenancy);
	if (strcmp(tenancy, "host")) {
		value_remove(placement, "HostId");
		value_remove(placement, "Affinity");
		return 0;
	}
	/* A host that is named is where it is to start. */
	if (affinity || host)
		value_set_string(placement, "Affinity", affinity ? affinity : "host");
	if (host)
		value_set_string(placement, "HostId", host);
	return 0;
}

/* ---- for dedicated_host.c ---- */

bool dedicated_host_take(struct request *r, const char *dedicated, char zone, s64 vcpus, s64 memory,
                         struct dedicated_stand *out)
{
	const char letter[2] = {zone, 0};
	struct query *q = database_query(
	        r->cloud->db,
	        "SELECT id, vcpus, memory FROM host WHERE state = 'up' AND used_vcpus = 0 AND "
	        "(zone = $1 OR zone = '*') AND vcpus >= $2 AND memory >= $3 ORDER BY id LIMIT 1");
	char host[40] = "";

	query_integer(query_integer(query_text(q, letter), vcpus), memory);
	if (query_row(q)) {
		snprintf(host, sizeof(host), "%s", query_column_text(q, 0));
		*out = (struct dedicated_stand){.vcpus = query_column_integer(q, 1),
		                                .memory = query_column_integer(q, 2)};
	}
	query_end(q);
	if (!*host)
		return false;
	hold(r, host, dedicated);
	return true;
}

bool dedicated_host_stand(struct request *r, const char *dedicated, struct dedicated_stand *out)
{
	struct stand s;

	if (!stand_of(r, dedicated, &s))
		return false;
	*out = (struct dedicated_stand){.vcpus = s.vcpus,
	                                .memory = s.memory,
	                                .free_vcpus = s.vcpus - s.used_vcpus,
	                                .free_memory = s.memory - s.used_memory};
	snprintf(out->host, sizeof(out->host), "%s", s.host);
	return true;
}

bool dedicated_host_give_back(struct request *r, const char *dedicated)
{
	struct query *q = query_text(
	        database_query(r->cloud->db, "SELECT host FROM host_hold WHERE dedicated = $1"), dedicated);
	const char *host = query_row(q) ? arena_strdup(r->arena, query_column_text(q, 0)) : NULL;

	query_end(q);
	if (host && has_machines(r, host))
		return false;
	if (host)
		let_go(r, host);
	return true;
}
