#include "region/scan.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512, MANY = 2000 };

/* ---- indexes ---- */

/* Parameters: $1 account, $2 region, $3 kind, $4 value, $5 after, $6 how many, $7 key of the tag. */
#define OWN "account = $1 AND region = $2 AND kind = $3 AND "
#define BY(condition, from)                                                                            \
	{                                                                                              \
		"SELECT seq FROM " from " WHERE " OWN condition " AND seq > $5 ORDER BY seq LIMIT $6", \
		        "SELECT COUNT(*) FROM (SELECT 1 FROM " from " WHERE " OWN condition            \
		        " AND seq > $5 LIMIT $6) AS found"                                             \
	}

enum { BY_ID = RESOURCE_KEYS, BY_STATE, BY_TAG, BY_TAG_KEY, BY_PARENT, INDEXES };
static const struct {
	const char *list, *count;
} indexes[INDEXES] = {
        BY("key1 = $4 AND key1 <> ''", "resource"),
        BY("key2 = $4 AND key2 <> ''", "resource"),
        BY("key3 = $4 AND key3 <> ''", "resource"),
        BY("id = $4", "resource"),
        BY("state = $4", "resource"),
        BY("value = $4 AND name = $7", "tag"),
        BY("name = $4", "tag"),
        BY("parent = $4", "resource"),
};

static struct query *look(struct request *r, const char *sql, const struct resource_kind *kind,
                          const struct filter *f, unsigned value, s64 after, unsigned most)
{
	struct query *q = database_query(r->cloud->db, sql);

	query_text(query_text(query_text(q, r->account), r->region), kind->name);
	query_integer(query_integer(query_text(q, value_item(filter_values(f), value)->text), after), most);
	return filter_tag(f) ? query_text(q, filter_tag(f)) : q;
}

/* The index that answers the filter, -1: none does. */
static int index_of(struct request *r, const struct resource_kind *kind, const struct filter *f)
{
	if (!filter_is_exact(f))
		return -1;
	if (filter_tag(f))
		return BY_TAG;
	if (filter_is_tag_key(f))
		return BY_TAG_KEY;
	if (filter_is_parent(f, kind))
		return BY_PARENT;
	if (filter_is_path(f, r->model, kind, kind->id))
		return BY_ID;
	if (kind->state && filter_is_path(f, r->model, kind, kind->state))
		return BY_STATE;
	for (unsigned i = 0; i < RESOURCE_KEYS && kind->indexed[i]; i++)
		if (filter_is_path(f, r->model, kind, kind->indexed[i]))
			return (int)i;
	return -1;
}

/* How many rows the index has for the filter: not more than MANY of each value are counted. */
static s64 count(struct request *r, const struct resource_kind *kind, const struct filter *f, int index,
                 s64 after)
{
	s64 sum = 0;

	for (unsigned i = 0; i < value_count(filter_values(f)); i++) {
		struct query *q = look(r, indexes[index].count, kind, f, i, after, MANY);

		sum += query_row(q) ? query_column_integer(q, 0) : 0;
		query_end(q);
	}
	return sum;
}

/* The filter whose index leaves the least to look at. */
static const struct filter *narrowest(struct request *r, const struct resource_kind *kind,
                                      const struct filter *filters, s64 after, int *index)
{
	const struct filter *best = NULL;
	s64 least = 0;

	for (const struct filter *f = filters; f; f = filter_next(f)) {
		int i = index_of(r, kind, f);
		s64 n;

		if (i < 0)
			continue;
		n = best || filter_next(f) ? count(r, kind, f, i, after) : 0;
		if (best && n >= least)
			continue;
		best = f;
		least = n;
		*index = i;
	}
	return best;
}

/* ---- through an index ---- */

static int by_age(const void *a, const void *b)
{
	const s64 *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The next ages behind *after that any of the filter's values has, in order; *after: what is behind them.
 * Each value gives its next CHUNK, and what lies behind the end of a full chunk is left for the next round,
 * since another value's may come before it. */
static unsigned next_ages(struct request *r, const struct resource_kind *kind, const struct filter *f,
                          int index, s64 *after, s64 *ages)
{
	unsigned values = value_count(filter_values(f)), n = 0, kept = 0;
	s64 end = INT64_MAX;

	for (unsigned i = 0; i < values; i++) {
		struct query *q = look(r, indexes[index].list, kind, f, i, *after, CHUNK);
		unsigned got = 0;

		while (query_row(q)) {
			ages[n++] = query_column_integer(q, 0);
			got++;
		}
		query_end(q);
		if (got == CHUNK)
			end = min(end, ages[n - 1]);
	}
	qsort(ages, n, sizeof(*ages), by_age);
	for (unsigned i = 0; i < n && ages[i] <= end; i++)
		if (!kept || ages[kept - 1] != ages[i])
			ages[kept++] = ages[i];
	*after = end;
	return kept;
}

static struct query *from(struct request *r, const struct resource_kind *kind, s64 age, bool only)
{
	struct query *q =
	        database_query(r->cloud->db, only ? "SELECT " RESOURCE_COLUMNS
	                                            " FROM resource WHERE kind = $1 AND account = $2 AND "
	                                            "region = $3 AND seq = $4"
	                                          : "SELECT " RESOURCE_COLUMNS
	                                            " FROM resource WHERE kind = $1 AND account = $2 AND "
	                                            "region = $3 AND seq > $4 ORDER BY seq");

	query_text(query_text(query_text(q, kind->name), r->account), r->region);
	return query_integer(q, age);
}

struct visit {
	struct request *request;
	const struct resource_kind *kind;
	enum scan (*fn)(void *ctx, struct resource *res);
	void *ctx;
};

/* The query's row; false: that is enough. */
static bool show(const struct visit *v, struct query *q)
{
	struct arena *a = v->request->arena;
	struct arena_mark mark = arena_mark(a);
	enum scan result = v->fn(v->ctx, resource_read(v->request, v->kind, q, a));

	if (result != SCAN_KEEP)
		arena_rewind(a, mark);
	return result != SCAN_STOP;
}

static void through(const struct visit *v, const struct filter *f, int index, s64 after)
{
	s64 *ages = malloc(value_count(filter_values(f)) * CHUNK * sizeof(*ages));
	bool more = ages != NULL;

	if (!ages)
		abort();
	while (more && after != INT64_MAX) {
		unsigned n = next_ages(v->request, v->kind, f, index, &after, ages);

		for (unsigned i = 0; i < n && more; i++) {
			struct query *q = from(v->request, v->kind, ages[i], true);

			more = !query_row(q) || show(v, q);
			query_end(q);
		}
	}
	free(ages);
}

void scan_each(struct request *r, const struct resource_kind *kind, s64 after, const struct filter *filters,
               enum scan (*fn)(void *ctx, struct resource *res), void *ctx)
{
	const struct visit v = {r, kind, fn, ctx};
	const struct filter *f;
	struct query *q;
	int index;

	f = narrowest(r, kind, filters, after, &index);
	if (f) {
		through(&v, f, index, after);
		return;
	}
	q = from(r, kind, after, false);
	while (query_row(q))
		if (!show(&v, q))
			break;
	query_end(q);
}
