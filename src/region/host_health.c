#include "region/host_health.h"
#include "model/json.h"
#include "model/scalar.h"
#include "region/instance.h"
#include "region/tenancy.h"

#include <string.h>

/* `since` of a row of silent_host: when it fell silent, or that it has been told to answer. */
enum { ANSWERS = -1 };

int host_silence(struct request *r, const char *host, bool silent)
{
	struct query *q =
	        query_text(database_query(r->cloud->db, "SELECT simulated FROM host WHERE id = $1"), host);
	bool there = query_row(q), simulated = there && query_column_integer(q, 0);

	query_end(q);
	if (!there)
		return request_fail(r, "InvalidHostID.NotFound", "The host ID '%.64s' does not exist", host);
	if (!simulated)
		return request_fail(r, "UnsupportedOperation", "The host '%.64s' is not a simulated one",
		                    host);
	if (silent)
		query_run(query_integer(
		        query_text(
		                database_query(r->cloud->db,
		                               "INSERT INTO silent_host VALUES ($1, $2, 0) ON CONFLICT (id) "
		                               "DO UPDATE SET since = $2 WHERE silent_host.since < 0"),
		                host),
		        r->now_ms));
	else
		query_run(query_integer(
		        query_text(database_query(r->cloud->db,
		                                  "UPDATE silent_host SET since = $2 WHERE id = $1"),
		                   host),
		        ANSWERS));
	r->cloud->wake = true;
	return 0;
}

/* ---- what changes with a host ---- */

struct ids {
	const char **list;
	size_t count, room;
};

static void keep(struct request *r, struct ids *ids, const char *id)
{
	if (ids->count == ids->room) {
		size_t room = ids->room ? 2 * ids->room : 64;
		const char **more = arena_alloc(r->arena, room * sizeof(*more));

		if (ids->count)
			memcpy(more, ids->list, ids->count * sizeof(*more));
		ids->list = more;
		ids->room = room;
	}
	ids->list[ids->count++] = arena_strdup(r->arena, id);
}

/* reason: NULL to take it back */
static void mark_instances(struct request *r, const char *host, const char *reason)
{
	struct query *q = query_text(
	        database_query(r->cloud->db, "SELECT instance FROM machine WHERE host = $1"), host);
	struct ids ids = {0};

	while (query_row(q))
		keep(r, &ids, query_column_text(q, 0));
	for (size_t i = 0; i < ids.count; i++) {
		struct machine *m = machine_find(r, ids.list[i]);
		struct resource *instance;
		struct value *why;

		r->account = m->account;
		r->region = m->region;
		instance = resource_find(r, &instance_kind, ids.list[i]);
		if (!instance || instance_state_of(instance->doc) != INSTANCE_RUNNING)
			continue;
		value_remove(instance->doc, "StateReason");
		if (reason) {
			why = value_open(instance->doc, "StateReason");
			value_set_string(why, "Code", "Server.InternalError");
			value_set_string(why, "Message", reason);
		}
		resource_save(r, instance);
	}
}

static void set_state(struct request *r, const char *host, const char *state)
{
	struct record line;

	if (record_begin(&line, LOG_WARN, "state")) {
		record_text(&line, "kind", "host");
		record_text(&line, "id", host);
		record_text(&line, "to", state);
		database_say(r->cloud->db, &line);
	}
	query_run(query_text(
	        query_text(database_query(r->cloud->db, "UPDATE host SET state = $1 WHERE id = $2"), state),
	        host));
}

static void lose(struct request *r, const char *host, s64 since)
{
	struct buffer time = {0};

	scalar_write_time(&time, since);
	set_state(r, host, "lost");
	query_run(query_integer(
	        query_text(database_query(r->cloud->db, "UPDATE silent_host SET noticed = $2 WHERE id = $1"),
	                   host),
	        r->now_ms));
	mark_instances(r, host,
	               arena_printf(r->arena, "Server.InternalError: the host %s has not answered since %s",
	                            host, buffer_str(&time)));
	buffer_release(&time);
}

static void find_again(struct request *r, const char *host)
{
	set_state(r, host, "up");
	tenancy_hold_again(r->cloud);
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM silent_host WHERE id = $1"), host));
	mark_instances(r, host, NULL);
}

void host_watch(struct request *r, s64 timeout_ms)
{
	struct query *q = database_query(
	        r->cloud->db,
	        "SELECT s.id FROM silent_host s JOIN host h ON h.id = s.id WHERE s.since < 0 OR "
	        "(h.state IN ('up', 'held') AND s.since <= $1) ORDER BY s.id");
	struct ids ids = {0};

	query_integer(q, r->now_ms - timeout_ms);
	while (query_row(q))
		keep(r, &ids, query_column_text(q, 0));
	for (size_t i = 0; i < ids.count; i++) {
		s64 since = 0;

		q = query_text(database_query(r->cloud->db, "SELECT since FROM silent_host WHERE id = $1"),
		               ids.list[i]);
		if (query_row(q))
			since = query_column_integer(q, 0);
		query_end(q);
		if (since < 0)
			find_again(r, ids.list[i]);
		else
			lose(r, ids.list[i], since);
	}
}

struct host_health host_health(struct request *r, const char *host)
{
	struct host_health health = {0};
	struct query *q = query_text(
	        database_query(r->cloud->db, "SELECT h.state, s.noticed FROM host h LEFT JOIN silent_host s "
	                                     "ON s.id = h.id WHERE h.id = $1"),
	        host);

	if (query_row(q)) {
		health.up =
		        !strcmp(query_column_text(q, 0), "up") || !strcmp(query_column_text(q, 0), "held");
		health.lost_ms = health.up ? 0 : query_column_integer(q, 1);
	}
	query_end(q);
	return health;
}

/* ---- list ---- */

void host_write(struct request *r, const char *after, struct buffer *out)
{
	struct query *q = query_text(
	        database_query(r->cloud->db, "SELECT id, zone, state, simulated, vcpus, used_vcpus, "
	                                     "memory, used_memory FROM host WHERE id > $1 ORDER BY id"),
	        after);
	const char *last = NULL;
	unsigned count = 0;

	buffer_text(out, "{\"Hosts\":[");
	while (query_row(q)) {
		static const char *const names[] = {"HostId", "Zone", "State"};
		static const char *const numbers[] = {"Vcpus", "UsedVcpus", "MemoryMiB", "UsedMemoryMiB"};

		if (count == HOST_PAGE)
			break;
		buffer_text(out, count++ ? ",{" : "{");
		for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
			buffer_printf(out, "\"%s\":", names[i]);
			json_write_text(out, query_column_text(q, i), query_column_length(q, i));
			buffer_char(out, ',');
		}
		buffer_printf(out, "\"Simulated\":%s", query_column_integer(q, 3) ? "true" : "false");
		for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
			buffer_printf(out, ",\"%s\":%lld", numbers[i],
			              (long long)query_column_integer(q, 4 + i));
		buffer_char(out, '}');
		if (count == HOST_PAGE)
			last = arena_strdup(r->arena, query_column_text(q, 0));
	}
	query_end(q);
	buffer_char(out, ']');
	if (last) {
		buffer_text(out, ",\"NextToken\":");
		json_write_text(out, last, strlen(last));
	}
	buffer_char(out, '}');
}
