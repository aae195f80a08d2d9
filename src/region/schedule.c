#include "region/schedule.h"
#include "region/capacity_reservation.h"
#include "region/placement.h"
#include "region/tenancy.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* vCPUs are handed out many times over, as idle guests are many; memory once. A simulated host has an
 * m5.metal's memory, and its vCPUs four times. */
enum { SIMULATED_VCPUS = 4 * 96, SIMULATED_MIB = 384 * 1024, OVERCOMMIT_VCPUS = 32 };

/* Simulated hosts of a zone stand so many in a rack. */
enum { RACK_HOSTS = 16 };

static void put_host(struct cloud *c, const char *id, char zone, unsigned rack, bool simulated, s64 vcpus,
                     s64 memory)
{
	const char letter[2] = {zone, 0};
	struct query *q = database_query(c->db, "INSERT INTO host (id, zone, simulated, state, vcpus, "
	                                        "memory, used_vcpus, used_memory, seen, rack) "
	                                        "VALUES ($1, $2, $3, 'up', $4, $5, 0, 0, $6, $7) ON CONFLICT "
	                                        "(id) DO UPDATE SET state = 'up', "
	                                        "vcpus = $4, memory = $5, seen = $6, rack = $7");

	query_integer(query_text(query_text(q, id), letter), simulated);
	query_integer(query_integer(query_integer(q, vcpus), memory), cloud_now_ms());
	query_run(query_integer(q, rack));
}

void schedule_hosts(struct cloud *c, unsigned simulated)
{
	struct sysinfo info;
	char id[40];

	query_run(database_query(c->db, "UPDATE host SET state = 'down' WHERE simulated = 1"));
	for (unsigned i = 0; i < simulated; i++) {
		snprintf(id, sizeof(id), "h-sim%05u", i);
		put_host(c, id, (char)('a' + i % REGION_ZONES), i / REGION_ZONES / RACK_HOSTS, true,
		         SIMULATED_VCPUS, SIMULATED_MIB);
	}
	sysinfo(&info);
	/* "*": this machine stands for every zone when there are no others. */
	put_host(c, HOST_LOCAL, '*', 0, false, sysconf(_SC_NPROCESSORS_ONLN) * OVERCOMMIT_VCPUS,
	         (s64)(info.totalram / MiB * info.mem_unit));
	if (simulated)
		query_run(database_query(c->db, "UPDATE host SET state = 'down' WHERE simulated = 0"));
	tenancy_hold_again(c);
}

bool schedule_found(struct query *q, const struct request *r, const struct schedule_wish *w,
                    struct schedule_place *place)
{
	bool row = query_row(q);

	if (row) {
		const char *zone = query_column_text(q, 1);

		snprintf(place->host, sizeof(place->host), "%s", query_column_text(q, 0));
		/* "*": this machine is in every zone. */
		snprintf(place->zone, sizeof(place->zone), "%s%s", w->zone ? w->zone : r->region,
		         w->zone        ? ""
		         : *zone == '*' ? "a"
		                        : zone);
		place->simulated = query_column_integer(q, 2);
	}
	query_end(q);
	return row;
}

int schedule_enter(struct request *r, const struct schedule_wish *w, struct schedule_place *place)
{
	struct query *q;
	int reserved;

	*place = (struct schedule_place){0};
	reserved = capacity_enter(r, w, place);
	if (reserved)
		return reserved < 0 ? -1 : 0;
	if (tenancy_is_own(w)) {
		if (tenancy_pick(r, w, place) < 0)
			return -1;
	} else if (!placement_pick(r, w, place)) {
		return request_fail(
		        r, "InsufficientInstanceCapacity",
		        "We currently do not have sufficient capacity in the Availability Zone you "
		        "requested (%s) for %lld vCPUs and %lld MiB%s%s.",
		        w->zone ? w->zone : r->region, (long long)w->vcpus, (long long)w->memory_mib,
		        *w->group ? " in placement group " : "", w->group);
	}
	q = database_query(r->cloud->db, "UPDATE host SET used_vcpus = used_vcpus + $1, "
	                                 "used_memory = used_memory + $2 WHERE id = $3");
	query_run(query_text(query_integer(query_integer(q, w->vcpus), w->memory_mib), place->host));
	return 0;
}

static const char *host_of(struct request *r, const char *instance)
{
	struct query *q = query_text(
	        database_query(r->cloud->db, "SELECT host FROM machine WHERE instance = $1"), instance);
	const char *host = query_row(q) ? arena_strdup(r->arena, query_column_text(q, 0)) : "";

	query_end(q);
	return host;
}

void schedule_leave(struct request *r, const char *instance)
{
	const char *host = host_of(r, instance);
	struct query *q = database_query(
	        r->cloud->db,
	        "UPDATE host SET used_vcpus = used_vcpus - m.vcpus, used_memory = used_memory - m.memory "
	        "FROM machine m WHERE m.instance = $1 AND m.host = host.id");

	if (!query_run(query_text(q, instance)))
		return;
	query_run(query_text(database_query(r->cloud->db, "UPDATE machine SET host = '' WHERE instance = $1"),
	                     instance));
	capacity_leave(r, instance);
	tenancy_leave(r, host);
}
