#include "region/tally.h"
#include "region/instance.h"

void tally_enter(struct request *r, const struct resource *instance, unsigned state)
{
	const char *type = value_string(instance->doc, "InstanceType");
	const char *zone = value_path(instance->doc, "Placement.AvailabilityZone");
	struct query *q;

	if (state == INSTANCE_TERMINATED) {
		query_run(query_text(database_query(r->cloud->db, "DELETE FROM tally WHERE instance = $1"),
		                     instance->id));
		return;
	}
	q = database_query(r->cloud->db, "INSERT INTO tally VALUES ($1, $2, $3, $4) ON CONFLICT (instance) "
	                                 "DO UPDATE SET state = $2, type = $3, zone = $4");
	query_text(query_text(q, instance->id), instance_state_name((enum instance_state)state));
	query_run(query_text(query_text(q, type ? type : ""), zone ? zone : ""));
}

void tally_each(struct cloud *c, void (*fn)(void *ctx, const struct tally *t), void *ctx)
{
	struct query *q = database_query(c->db, "SELECT state, type, zone, COUNT(*) FROM tally "
	                                        "GROUP BY state, type, zone ORDER BY 4 DESC, 1, 2, 3");

	while (query_row(q)) {
		const struct tally t = {query_column_text(q, 0), query_column_text(q, 1),
		                        query_column_text(q, 2), query_column_integer(q, 3)};

		fn(ctx, &t);
	}
}
