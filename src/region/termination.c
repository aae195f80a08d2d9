#include "region/termination.h"

void termination_note(struct request *r, const char *instance)
{
	struct query *q = database_query(r->cloud->db, "INSERT INTO termination VALUES ($1, $2) "
	                                               "ON CONFLICT (instance) DO NOTHING");

	query_run(query_integer(query_text(q, instance), r->now_ms));
}

/* Of the row of its machine, and of what others say of it. */
static void forget(struct request *r, const char *id)
{
	static const char *const texts[] = {"DELETE FROM machine WHERE instance = $1",
	                                    "DELETE FROM link WHERE target = $1",
	                                    "DELETE FROM termination WHERE instance = $1"};
	struct resource instance = {.id = id};

	resource_delete(r, &instance);
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		query_run(query_text(database_query(r->cloud->db, texts[i]), id));
}

bool termination_purge(struct request *r)
{
	const char *due[TERMINATION_BATCH];
	unsigned count = 0;
	struct query *q;

	/* Not before its machine is gone, with its folder. */
	q = database_query(r->cloud->db,
	                   "SELECT t.instance FROM termination t LEFT JOIN machine m ON m.instance = "
	                   "t.instance WHERE t.at <= $1 AND (m.status IS NULL OR m.status = 'terminated') "
	                   "ORDER BY t.at LIMIT $2");
	query_integer(query_integer(q, r->now_ms - TERMINATION_SHOWN_MS), TERMINATION_BATCH);
	while (count < TERMINATION_BATCH && query_row(q))
		due[count++] = arena_strdup(r->arena, query_column_text(q, 0));
	query_end(q);
	for (unsigned i = 0; i < count; i++)
		forget(r, due[i]);
	return count == TERMINATION_BATCH;
}
