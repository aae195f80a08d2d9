#include "region/placement.h"

#include <stdio.h>
#include <string.h>

/* Parameters: $1 zone, $2 vCPUs, $3 memory, $4 account, $5 region, $6 group, $7 what the strategy has. Hosts
 * in order of the vCPUs in use are an index (host_by_use). Machines that take no room have no host. */
#define HOSTS "SELECT id, zone, simulated FROM host "
#define FITS  "state = 'up' AND zone = $1 AND vcpus - used_vcpus >= $2 AND memory - used_memory >= $3 "
#define MEMBER                                                                       \
	"m.placement_group = $6 AND m.placement_group <> '' AND m.account = $4 AND " \
	"m.region = $5 "
#define LEAST_USED "ORDER BY used_vcpus, id LIMIT 1"

static struct query *ask(struct request *r, const struct schedule_wish *w, const char *sql, const char *zone)
{
	struct query *q = database_query(r->cloud->db, sql);

	query_integer(query_integer(query_text(q, zone), w->vcpus), w->memory_mib);
	return query_text(query_text(query_text(q, r->account), r->region), w->group);
}

static s64 number(struct query *q, s64 otherwise)
{
	s64 n = query_row(q) ? query_column_integer(q, 0) : otherwise;

	query_end(q);
	return n;
}

static bool anywhere(struct request *r, const struct schedule_wish *w, const char *zone,
                     struct schedule_place *place)
{
	/* the last term is there for the parameters, and true */
	return schedule_found(ask(r, w, HOSTS "WHERE " FITS "AND $4 || $5 || $6 <> '' " LEAST_USED, zone), r,
	                      w, place);
}

static bool spread(struct request *r, const struct schedule_wish *w, const char *zone,
                   struct schedule_place *place)
{
	s64 members = number(ask(r, w,
	                         "SELECT COUNT(*) FROM machine m JOIN host h ON h.id = m.host WHERE " MEMBER
	                         "AND h.zone = $1 AND CAST($2 AS BIGINT) + $3 > 0",
	                         zone),
	                     0);

	return members < PLACEMENT_SPREAD_MAX &&
	       schedule_found(ask(r, w,
	                          HOSTS "WHERE " FITS "AND NOT EXISTS (SELECT 1 FROM machine m WHERE " MEMBER
	                                "AND m.host = host.id) " LEAST_USED,
	                          zone),
	                      r, w, place);
}

static bool cluster(struct request *r, const struct schedule_wish *w, const char *zone,
                    struct schedule_place *place)
{
	struct query *q =
	        ask(r, w,
	            "SELECT h.zone, h.rack FROM machine m JOIN host h ON h.id = m.host WHERE " MEMBER
	            "AND $1 || $2 || $3 <> '' LIMIT 1",
	            zone);
	bool any = query_row(q), here = any && !strcmp(query_column_text(q, 0), zone);
	s64 rack = any ? query_column_integer(q, 1) : 0;

	query_end(q);
	if (!any)
		return anywhere(r, w, zone, place);
	if (!here)
		return false;
	if (schedule_found(ask(r, w,
	                       HOSTS "WHERE " FITS "AND id IN (SELECT m.host FROM machine m WHERE " MEMBER
	                             ") ORDER BY used_vcpus DESC, id LIMIT 1",
	                       zone),
	                   r, w, place))
		return true;
	q = ask(r, w,
	        HOSTS "WHERE " FITS
	              "AND $4 || $5 || $6 <> '' ORDER BY ABS(rack - $7), used_vcpus, id LIMIT 1",
	        zone);
	return schedule_found(query_integer(q, rack), r, w, place);
}

static bool partition(struct request *r, const struct schedule_wish *w, const char *zone, s64 partition,
                      struct schedule_place *place)
{
	struct query *q = ask(r, w,
	                      HOSTS "WHERE " FITS "AND NOT EXISTS (SELECT 1 FROM machine m WHERE " MEMBER
	                            "AND m.host = host.id AND m.partition <> $7) " LEAST_USED,
	                      zone);

	place->partition = partition;
	return schedule_found(query_integer(q, partition), r, w, place);
}

static void count_members(struct request *r, const struct schedule_wish *w, struct placement_use *use)
{
	struct query *q = ask(r, w,
	                      "SELECT m.partition, COUNT(*) FROM machine m WHERE " MEMBER
	                      "AND $1 || $2 || $3 <> '' AND m.host <> '' GROUP BY m.partition",
	                      "");

	while (query_row(q)) {
		s64 n = query_column_integer(q, 0);

		if (n >= 0 && n <= PLACEMENT_PARTITIONS_MAX)
			use->members[n] = query_column_integer(q, 1);
	}
	query_end(q);
	use->known = true;
}

/* The fewest first; one that has no room is passed by. */
static bool some_partition(struct request *r, const struct schedule_wish *w, const char *zone,
                           struct schedule_place *place)
{
	struct placement_use own = {0}, *use = w->use ? w->use : &own;
	bool tried[PLACEMENT_PARTITIONS_MAX + 1] = {false};

	if (!use->known)
		count_members(r, w, use);
	for (s64 round = 0; round < w->partitions; round++) {
		s64 least = 0;

		for (s64 n = 1; n <= w->partitions; n++)
			if (!tried[n] && (!least || use->members[n] < use->members[least]))
				least = n;
		tried[least] = true;
		if (partition(r, w, zone, least, place)) {
			use->members[least]++;
			return true;
		}
	}
	return false;
}

static bool in_zone(struct request *r, const struct schedule_wish *w, const char *zone,
                    struct schedule_place *place)
{
	if (!strcmp(w->strategy, "spread"))
		return spread(r, w, zone, place);
	if (!strcmp(w->strategy, "cluster"))
		return cluster(r, w, zone, place);
	if (!strcmp(w->strategy, "partition"))
		return w->partition ? partition(r, w, zone, w->partition, place)
		                    : some_partition(r, w, zone, place);
	return anywhere(r, w, zone, place);
}

bool placement_pick(struct request *r, const struct schedule_wish *w, struct schedule_place *place)
{
	char zones[REGION_ZONES + 2][2] = {{0}};
	size_t length = w->zone ? strlen(w->zone) : 0;
	struct query *q;

	if (length) {
		zones[0][0] = w->zone[length - 1];
		return in_zone(r, w, zones[0], place) || in_zone(r, w, "*", place);
	}
	/* The zone of the host that is used least, then the others. */
	q = database_query(r->cloud->db,
	                   "SELECT zone FROM host WHERE state = 'up' ORDER BY used_vcpus, id LIMIT 1");
	if (query_row(q))
		zones[0][0] = *query_column_text(q, 0);
	query_end(q);
	for (unsigned i = 0; i < REGION_ZONES; i++)
		zones[1 + i][0] = (char)('a' + i);
	zones[1 + REGION_ZONES][0] = '*';
	for (unsigned i = 0; i < ARRAY_SIZE(zones); i++)
		if ((!i || zones[i][0] != zones[0][0]) && in_zone(r, w, zones[i], place))
			return true;
	return false;
}

bool placement_in_use(struct request *r, const char *group)
{
	struct query *q = database_query(
	        r->cloud->db,
	        "SELECT 1 FROM machine WHERE placement_group = $1 AND placement_group <> '' AND "
	        "account = $2 AND region = $3 AND status <> 'terminated' LIMIT 1");

	return number(query_text(query_text(query_text(q, group), r->account), r->region), 0) != 0;
}
