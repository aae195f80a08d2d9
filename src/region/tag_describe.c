/*
 * DescribeTags. Tags are listed in the order of the index on them: key, value, kind and age of their
 * resource; a page begins behind such a place, so tags that come or go meanwhile move no other. Filters by
 * key, and by key and value, are looked up there, filters by resource in the order of resources.
 */
#include "region/describe.h"
#include "region/filter.h"
#include "region/tag.h"

#include <stdlib.h>
#include <string.h>

static const struct resource_kind row_kind = {
        .name = "tag",
        .shape = "TagDescription",
};

/* A tag as the table has it, and where it stands. */
struct place {
	const char *name, *value, *kind;
	s64 seq;
};

static int by_place(const struct place *a, const struct place *b)
{
	int order = strcmp(a->name, b->name);

	if (!order)
		order = strcmp(a->value, b->value);
	if (!order)
		order = strcmp(a->kind, b->kind);
	return order ? order : (a->seq > b->seq) - (a->seq < b->seq);
}

struct tags {
	struct request *request;
	const struct filter *filters;
	struct value *list;
	unsigned most;
	struct place after, last;
	bool more;
};

/* Tokens: "SEQ KIND NAME-LENGTH:NAMEVALUE"; what is of another form is no place. */
static int read_place(struct request *r, const char *text, struct place *p)
{
	char *end, *kind;
	size_t length;

	*p = (struct place){"", "", "", 0};
	if (!*text)
		return 0;
	p->seq = strtoll(text, &end, 10);
	if (*end++ == ' ') {
		kind = end;
		length = strcspn(kind, " ");
		p->kind = arena_text(r->arena, kind, length);
		if (kind[length]) {
			length = strtoul(kind + length + 1, &end, 10);
			if (*end++ == ':' && length <= strlen(end)) {
				p->name = arena_text(r->arena, end, length);
				p->value = arena_strdup(r->arena, end + length);
				return 0;
			}
		}
	}
	return request_fail(r, "InvalidNextToken", "The token '%.100s' is invalid",
	                    value_string(r->in, "NextToken"));
}

/* Columns: resource, name, value, kind, seq. False: the page is full. */
static bool take(struct tags *t, struct query *q)
{
	struct request *r = t->request;
	const struct place at = {query_column_text(q, 1), query_column_text(q, 2), query_column_text(q, 3),
	                         query_column_integer(q, 4)};
	struct arena_mark mark = arena_mark(r->arena);
	struct value *row;

	row = value_new(r->arena, r->model, resource_shape(r->model, &row_kind));
	value_set_string(row, "ResourceId", query_column_text(q, 0));
	value_set_string(row, "Key", at.name);
	value_set_string(row, "Value", at.value);
	value_set_string(row, "ResourceType", at.kind);
	if (!filter_match(t->filters, row)) {
		arena_rewind(r->arena, mark);
		return true;
	}
	if (t->most && t->list->count == t->most) {
		t->more = true;
		return false;
	}
	value_append_value(t->list, row);
	t->last = (struct place){value_string(row, "Key"), value_string(row, "Value"),
	                         value_string(row, "ResourceType"), at.seq};
	return true;
}

static void run(struct tags *t, struct query *q)
{
	while (query_row(q))
		if (!take(t, q))
			break;
	query_end(q);
}

/* ---- ways through the table ---- */

#define SELECT "SELECT resource, name, value, kind, seq FROM tag WHERE account = $1 AND region = $2 AND "
#define ORDER  " ORDER BY name, value, kind, seq"

static struct query *begin(struct tags *t, const char *sql)
{
	struct request *r = t->request;

	return query_text(query_text(database_query(r->cloud->db, sql), r->account), r->region);
}

static void through_all(struct tags *t)
{
	struct query *q = begin(t, SELECT "(name, value, kind, seq) > ($3, $4, $5, $6)" ORDER);

	query_text(query_text(query_text(q, t->after.name), t->after.value), t->after.kind);
	run(t, query_integer(q, t->after.seq));
}

/* value NULL: any. */
static void through_key(struct tags *t, const char *key, const char *value)
{
	const struct place none = {"", "", "", 0}, *after = &t->after;
	struct query *q;
	int order = strcmp(key, after->name);

	if (!order && value)
		order = strcmp(value, after->value);
	if (order < 0)
		return;
	if (order > 0)
		after = &none;
	if (value) {
		q = begin(t, SELECT "name = $3 AND value = $4 AND (kind, seq) > ($5, $6)" ORDER);
		query_text(query_text(q, key), value);
	} else {
		q = begin(t, SELECT "name = $3 AND (value, kind, seq) > ($4, $5, $6)" ORDER);
		query_text(query_text(q, key), after->value);
	}
	run(t, query_integer(query_text(q, after->kind), after->seq));
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A filter's values, each once, in order. */
static const char **sorted(struct request *r, const struct filter *f, unsigned *count)
{
	const struct value *values = filter_values(f);
	const char **list = arena_alloc(r->arena, values->count * sizeof(*list));
	unsigned kept = 0;

	for (unsigned i = 0; i < values->count; i++)
		list[i] = value_item(values, i)->text;
	qsort(list, values->count, sizeof(*list), by_text);
	for (unsigned i = 0; i < values->count; i++)
		if (!kept || strcmp(list[kept - 1], list[i]))
			list[kept++] = list[i];
	*count = kept;
	return list;
}

/* value NULL: any. */
static void through_keys(struct tags *t, const char *const *keys, unsigned key_count,
                         const struct filter *value)
{
	unsigned value_count = 0;
	const char **values = value ? sorted(t->request, value, &value_count) : NULL;

	for (unsigned i = 0; i < key_count && !t->more; i++) {
		if (!value)
			through_key(t, keys[i], NULL);
		for (unsigned k = 0; k < value_count && !t->more; k++)
			through_key(t, keys[i], values[k]);
	}
}

/* Resources have few tags: all of theirs are put in order. */
struct found {
	struct place at;
	const char *resource;
};

static int by_found(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return by_place(&x->at, &y->at);
}

static void through_resources(struct tags *t, const char *const *ids, unsigned count)
{
	struct request *r = t->request;
	struct found *list = arena_alloc(r->arena, (size_t)count * TAGS_MAX * sizeof(*list));
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		struct query *q = begin(t, SELECT "resource = $3");

		query_text(q, ids[i]);
		for (unsigned k = 0; k < TAGS_MAX && query_row(q); k++, n++)
			list[n] = (struct found){{arena_strdup(r->arena, query_column_text(q, 1)),
			                          arena_strdup(r->arena, query_column_text(q, 2)),
			                          arena_strdup(r->arena, query_column_text(q, 3)),
			                          query_column_integer(q, 4)},
			                         arena_strdup(r->arena, query_column_text(q, 0))};
		query_end(q);
	}
	qsort(list, n, sizeof(*list), by_found);
	for (unsigned i = 0; i < n && !t->more; i++) {
		struct query *q;

		if (by_place(&list[i].at, &t->after) <= 0)
			continue;
		q = begin(t, SELECT "resource = $3 AND name = $4");
		run(t, query_text(query_text(q, list[i].resource), list[i].at.name));
	}
}

ACTION(ec2, DescribeTags)
{
	struct tags t = {.request = r, .list = value_open(r->out, "Tags")};
	const struct filter *key = NULL, *value = NULL, *resource = NULL, *tag = NULL;
	struct filter *filters;
	const char *after, *name;
	unsigned count;

	if (filter_read(r, &row_kind, &filters) < 0 || describe_page_text(r, &t.most, &after) < 0 ||
	    read_place(r, after, &t.after) < 0)
		return -1;
	t.filters = filters;
	for (const struct filter *f = filters; f; f = filter_next(f)) {
		if (!filter_is_exact(f))
			continue;
		if (filter_tag(f))
			tag = f;
		else if (filter_is_path(f, r->model, &row_kind, "Key"))
			key = f;
		else if (filter_is_path(f, r->model, &row_kind, "Value"))
			value = f;
		else if (filter_is_path(f, r->model, &row_kind, "ResourceId"))
			resource = f;
	}
	if (resource) {
		const char **ids = sorted(r, resource, &count);

		through_resources(&t, ids, count);
	} else if (tag) {
		name = filter_tag(tag);
		through_keys(&t, &name, 1, tag);
	} else if (key) {
		const char **keys = sorted(r, key, &count);

		through_keys(&t, keys, count, value);
	} else {
		through_all(&t);
	}
	if (t.more)
		describe_next_text(r,
		                   arena_printf(r->arena, "%lld %s %zu:%s%s", (long long)t.last.seq,
		                                t.last.kind, strlen(t.last.name), t.last.name, t.last.value));
	return 0;
}
