/* Slots of capacity reservations, and the instances in them. */
#include "region/capacity_reservation.h"
#include "region/capacity_slot.h"

#include <stdio.h>
#include <string.h>

#define FREE                                                                                             \
	"SELECT c.id, s.slot, s.host, c.zone, h.simulated, s.vcpus, s.memory FROM capacity_reservation " \
	"c JOIN capacity_slot s ON s.reservation = c.id AND s.instance = '' JOIN host h ON h.id = "      \
	"s.host AND h.state = 'up' WHERE (c.ends = 0 OR c.ends > $1) AND c.type = $2 AND s.vcpus >= $3 "
#define FIRST " ORDER BY c.id, s.slot LIMIT 1"

static void take_room(struct request *r, const char *host, s64 vcpus, s64 memory)
{
	struct query *q = database_query(r->cloud->db, "UPDATE host SET used_vcpus = used_vcpus + $1, "
	                                               "used_memory = used_memory + $2 WHERE id = $3");

	query_run(query_text(query_integer(query_integer(q, vcpus), memory), host));
}

bool capacity_slot_enter(struct request *r, const struct schedule_wish *w, struct schedule_place *place)
{
	struct query *q;
	s64 slot = -1, vcpus = 0, memory = 0;

	if (w->reservation) {
		q = database_query(r->cloud->db, FREE "AND c.id = $4" FIRST);
	} else {
		q = database_query(r->cloud->db,
		                   FREE "AND c.account = $4 AND c.region = $5 AND c.open = 1 AND "
		                        "(c.zone = $6 OR $6 = '')" FIRST);
	}
	query_integer(query_text(query_integer(q, r->now_ms), w->type), w->vcpus);
	if (w->reservation)
		query_text(q, w->reservation);
	else
		query_text(query_text(query_text(q, r->account), r->region), w->zone ? w->zone : "");
	if (query_row(q)) {
		snprintf(place->reservation, sizeof(place->reservation), "%s", query_column_text(q, 0));
		slot = query_column_integer(q, 1);
		snprintf(place->host, sizeof(place->host), "%s", query_column_text(q, 2));
		snprintf(place->zone, sizeof(place->zone), "%s", query_column_text(q, 3));
		place->simulated = query_column_integer(q, 4);
		vcpus = query_column_integer(q, 5);
		memory = query_column_integer(q, 6);
	}
	query_end(q);
	if (slot < 0)
		return false;
	q = database_query(r->cloud->db,
	                   "UPDATE capacity_slot SET instance = $1 WHERE reservation = $2 AND slot = $3");
	query_run(query_integer(query_text(query_text(q, w->instance), place->reservation), slot));
	take_room(r, place->host, w->vcpus - vcpus, w->memory_mib - memory);
	return true;
}

void capacity_leave(struct request *r, const char *instance)
{
	struct query *q =
	        query_text(database_query(r->cloud->db, "SELECT host, vcpus, memory FROM capacity_slot "
	                                                "WHERE instance = $1 AND instance <> ''"),
	                   instance);
	const char *host = NULL;
	s64 vcpus = 0, memory = 0;

	if (query_row(q)) {
		host = arena_strdup(r->arena, query_column_text(q, 0));
		vcpus = query_column_integer(q, 1);
		memory = query_column_integer(q, 2);
	}
	query_end(q);
	if (!host)
		return;
	take_room(r, host, vcpus, memory);
	query_run(query_text(database_query(r->cloud->db, "UPDATE capacity_slot SET instance = '' "
	                                                  "WHERE instance = $1 AND instance <> ''"),
	                     instance));
}

s64 capacity_slots(struct request *r, const char *reservation, bool used)
{
	struct query *q = database_query(r->cloud->db, "SELECT COUNT(*) FROM capacity_slot WHERE reservation "
	                                               "= $1 AND (instance <> '') = ($2 = 1)");
	s64 count =
	        query_row(query_integer(query_text(q, reservation), used)) ? query_column_integer(q, 0) : 0;

	query_end(q);
	return count;
}

int capacity_slots_add(struct request *r, const char *reservation, const struct schedule_wish *w, s64 count)
{
	struct schedule_place place;
	struct query *q;
	s64 next;

	q = query_text(database_query(r->cloud->db, "SELECT COALESCE(MAX(slot), 0) FROM capacity_slot "
	                                            "WHERE reservation = $1"),
	               reservation);
	next = query_row(q) ? query_column_integer(q, 0) + 1 : 1;
	query_end(q);
	for (s64 i = 0; i < count; i++) {
		if (schedule_enter(r, w, &place) < 0)
			return -1;
		q = database_query(r->cloud->db, "INSERT INTO capacity_slot VALUES ($1, $2, $3, $4, $5, '')");
		query_text(query_integer(query_text(q, reservation), next + i), place.host);
		query_run(query_integer(query_integer(q, w->vcpus), w->memory_mib));
	}
	return 0;
}

void capacity_slots_drop(struct request *r, const char *reservation, s64 count)
{
	static const char which[] = "SELECT slot FROM capacity_slot WHERE reservation = $1 AND instance = '' "
	                            "ORDER BY slot DESC LIMIT 1";

	for (s64 i = 0; i < count; i++) {
		struct query *q = query_text(database_query(r->cloud->db, which), reservation);
		s64 slot = query_row(q) ? query_column_integer(q, 0) : -1;

		query_end(q);
		if (slot < 0)
			return;
		q = database_query(r->cloud->db,
		                   "UPDATE host SET used_vcpus = used_vcpus - s.vcpus, used_memory = "
		                   "used_memory - s.memory FROM capacity_slot s WHERE s.reservation = $1 AND "
		                   "s.slot = $2 AND s.host = host.id");
		query_run(query_integer(query_text(q, reservation), slot));
		q = database_query(r->cloud->db,
		                   "DELETE FROM capacity_slot WHERE reservation = $1 AND slot = $2");
		query_run(query_integer(query_text(q, reservation), slot));
	}
}
