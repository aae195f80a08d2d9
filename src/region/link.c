#include "region/link.h"
#include "region/network_change.h"

#include <string.h>

void link_add(struct request *r, const char *source, const char *what, const char *target)
{
	struct query *q =
	        database_query(r->cloud->db, "INSERT INTO link (source, what, target) VALUES ($1, $2, $3) "
	                                     "ON CONFLICT (source, what, target) DO NOTHING");

	query_run(query_text(query_text(query_text(q, source), what), target));
	network_change_id(r->cloud, source);
	network_change_id(r->cloud, target);
}

void link_remove(struct request *r, const char *source, const char *what, const char *target)
{
	struct query *q;

	network_change_id(r->cloud, source);
	if (target) {
		network_change_id(r->cloud, target);
		q = database_query(r->cloud->db,
		                   "DELETE FROM link WHERE source = $1 AND what = $2 AND target = $3");
		query_run(query_text(query_text(query_text(q, source), what), target));
	} else {
		q = database_query(r->cloud->db, "DELETE FROM link WHERE source = $1 AND what = $2");
		query_run(query_text(query_text(q, source), what));
	}
}

static const char **ids(struct request *r, struct query *q, unsigned most)
{
	unsigned count = 0, room = 8;
	const char **list = arena_alloc(r->arena, room * sizeof(*list));

	while (count < most && query_row(q)) {
		if (count + 1 == room) {
			const char **more = arena_alloc(r->arena, 2 * room * sizeof(*more));

			memcpy(more, list, count * sizeof(*list));
			list = more;
			room *= 2;
		}
		list[count++] = arena_strdup(r->arena, query_column_text(q, 0));
	}
	query_end(q);
	list[count] = NULL;
	return list;
}

static struct query *targets(struct request *r, const char *source, const char *what)
{
	struct query *q = database_query(
	        r->cloud->db, "SELECT target FROM link WHERE source = $1 AND what = $2 ORDER BY target");

	return query_text(query_text(q, source), what);
}

static struct query *sources(struct request *r, const char *target, const char *what)
{
	struct query *q = database_query(
	        r->cloud->db, "SELECT source FROM link WHERE target = $1 AND what = $2 ORDER BY source");

	return query_text(query_text(q, target), what);
}

const char **link_targets(struct request *r, const char *source, const char *what)
{
	return ids(r, targets(r, source, what), ~0U);
}

const char **link_sources(struct request *r, const char *target, const char *what)
{
	return ids(r, sources(r, target, what), ~0U);
}

const char *link_target(struct request *r, const char *source, const char *what)
{
	return ids(r, targets(r, source, what), 1)[0];
}

const char *link_source(struct request *r, const char *target, const char *what)
{
	return ids(r, sources(r, target, what), 1)[0];
}

const char *property_get(struct request *r, const char *resource, const char *name)
{
	struct query *q =
	        database_query(r->cloud->db, "SELECT value FROM property WHERE resource = $1 AND name = $2");

	return ids(r, query_text(query_text(q, resource), name), 1)[0];
}

void property_set(struct request *r, const char *resource, const char *name, const char *value)
{
	struct query *q;

	network_change_id(r->cloud, resource);
	if (!value) {
		q = database_query(r->cloud->db, "DELETE FROM property WHERE resource = $1 AND name = $2");
		query_run(query_text(query_text(q, resource), name));
		return;
	}
	q = database_query(r->cloud->db, "INSERT INTO property (resource, name, value) VALUES ($1, $2, $3) "
	                                 "ON CONFLICT (resource, name) DO UPDATE SET value = $3");
	query_run(query_text(query_text(query_text(q, resource), name), value));
}

bool property_is(struct request *r, const char *resource, const char *name, const char *value)
{
	const char *is = property_get(r, resource, name);

	return is && !strcmp(is, value);
}
