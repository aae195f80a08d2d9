#include "region/resource.h"
#include "model/json.h"
#include "region/network_change.h"
#include "region/tag.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

extern const struct resource_kind __start_kinds[], __stop_kinds[];

const struct resource_kind *resource_kind_of(const char *id)
{
	for (const struct resource_kind *k = __start_kinds; k < __stop_kinds; k++)
		if (!strncmp(id, k->prefix, strlen(k->prefix)) && !strchr(id + strlen(k->prefix), '-'))
			return k;
	return NULL;
}

bool resource_id_valid(const char *prefix, const char *text)
{
	size_t length = strlen(prefix), digits;

	if (strncmp(text, prefix, length))
		return false;
	digits = strspn(text + length, "0123456789abcdef");
	return (digits == 8 || digits == 17) && !text[length + digits];
}

unsigned resource_shape(const struct model *m, const struct resource_kind *kind)
{
	unsigned from = 0, to = m->shape_count;

	while (from < to) {
		unsigned middle = (from + to) / 2;
		int order = strcmp(kind->shape, model_text(m, m->shapes[middle].name));

		if (!order)
			return middle;
		if (order < 0)
			to = middle;
		else
			from = middle + 1;
	}
	assert(!"a shape that the model does not have");
	return 0;
}

static s64 next_seq(struct request *r)
{
	struct query *q = database_query(r->cloud->db, "UPDATE counter SET value = value + 1 "
	                                               "WHERE name = 'seq' RETURNING value");
	s64 seq = query_row(q) ? query_column_integer(q, 0) : 0;

	query_run(q);
	return seq;
}

const char *resource_id_new(struct request *r, const char *prefix)
{
	char digits[18];

	cloud_random_hex(digits, 17);
	return arena_printf(r->arena, "%s%s", prefix, digits);
}

struct resource *resource_new(struct request *r, const struct resource_kind *kind)
{
	struct resource *res = arena_alloc(r->arena, sizeof(*res));

	*res = (struct resource){.kind = kind,
	                         .id = resource_id_new(r, kind->prefix),
	                         .parent = "",
	                         .state = "",
	                         .doc = value_new(r->arena, r->model, resource_shape(r->model, kind)),
	                         .created_ms = r->now_ms,
	                         .seq = next_seq(r)};
	value_set_string(res->doc, kind->id, res->id);
	if (model_member_find(r->model, value_shape(res->doc), "OwnerId") >= 0)
		value_set_string(res->doc, "OwnerId", r->account);
	return res;
}

static const char *text_of(struct request *r, const struct resource *res)
{
	struct buffer b = {0};
	const char *text;

	json_write(&b, res->doc);
	text = arena_text(r->arena, buffer_str(&b), b.length);
	buffer_release(&b);
	return text;
}

static struct query *query_keys(struct query *q, const struct resource *res)
{
	for (unsigned i = 0; i < RESOURCE_KEYS; i++) {
		const char *path = res->kind->indexed[i], *text = path ? value_path(res->doc, path) : NULL;

		query_text(q, text ? text : "");
	}
	return q;
}

void resource_insert(struct request *r, struct resource *res)
{
	struct query *q = database_query(r->cloud->db,
	                                 "INSERT INTO resource (id, seq, kind, account, region, parent, "
	                                 "state, created, doc, key1, key2, "
	                                 "key3) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");

	query_text(q, res->id);
	query_integer(q, res->seq);
	query_text(q, res->kind->name);
	query_text(q, r->account);
	query_text(q, r->region);
	query_text(q, res->parent);
	query_text(q, res->state);
	query_integer(q, res->created_ms);
	query_text(q, text_of(r, res));
	query_run(query_keys(q, res));
	tag_store(r, res);
	network_change_resource(r->cloud, res);
}

void resource_save(struct request *r, struct resource *res)
{
	struct query *q = database_query(
	        r->cloud->db, "UPDATE resource SET parent = $1, state = $2, doc = $3, key1 = $4, key2 = $5, "
	                      "key3 = $6 WHERE id = $7");

	query_text(q, res->parent);
	query_text(q, res->state);
	query_text(q, text_of(r, res));
	query_run(query_text(query_keys(q, res), res->id));
	network_change_resource(r->cloud, res);
}

void resource_delete(struct request *r, struct resource *res)
{
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM tag WHERE resource = $1"), res->id));
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM link WHERE source = $1"), res->id));
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM property WHERE resource = $1"),
	                     res->id));
	query_run(query_text(database_query(r->cloud->db, "DELETE FROM resource WHERE id = $1"), res->id));
	network_change_resource(r->cloud, res);
}

struct resource *resource_read(struct request *r, const struct resource_kind *kind, struct query *q,
                               struct arena *a)
{
	struct resource *res = arena_alloc(a, sizeof(*res));

	*res = (struct resource){.kind = kind,
	                         .id = arena_strdup(a, query_column_text(q, 0)),
	                         .parent = arena_strdup(a, query_column_text(q, 1)),
	                         .state = arena_strdup(a, query_column_text(q, 2)),
	                         .created_ms = query_column_integer(q, 3),
	                         .seq = query_column_integer(q, 4)};
	res->doc = json_parse(a, r->model, resource_shape(r->model, kind), query_column_text(q, 5),
	                      query_column_length(q, 5));
	assert(res->doc);
	if (kind->show)
		kind->show(r, res->doc);
	return res;
}

struct resource *resource_find(struct request *r, const struct resource_kind *kind, const char *id)
{
	struct query *q =
	        database_query(r->cloud->db, "SELECT " RESOURCE_COLUMNS " FROM resource "
	                                     "WHERE id = $1 AND kind = $2 AND account = $3 AND region = $4");
	struct resource *res = NULL;

	query_text(query_text(query_text(query_text(q, id), kind->name), r->account), r->region);
	if (query_row(q))
		res = resource_read(r, kind, q, r->arena);
	query_end(q);
	return res;
}

struct resource *resource_get(struct request *r, const struct resource_kind *kind, const char *id)
{
	struct resource *res;
	char code[96];

	if (!resource_id_valid(kind->prefix, id)) {
		snprintf(code, sizeof(code), "Invalid%s.Malformed", kind->noun);
		request_fail(r, kind->malformed ? kind->malformed : code, "Invalid id: \"%.100s\"%s%s%s", id,
		             strncmp(id, kind->prefix, strlen(kind->prefix)) ? " (expecting \"" : "",
		             strncmp(id, kind->prefix, strlen(kind->prefix)) ? kind->prefix : "",
		             strncmp(id, kind->prefix, strlen(kind->prefix)) ? "...\")" : "");
		return NULL;
	}
	res = resource_find(r, kind, id);
	if (!res) {
		snprintf(code, sizeof(code), "Invalid%s.NotFound", kind->noun);
		request_fail(r, kind->not_found ? kind->not_found : code, "The %s ID '%s' does not exist",
		             kind->name, id);
	}
	return res;
}

struct resource *resource_of(struct request *r, const struct resource_kind *kind, const char *member)
{
	const char *id = value_string(r->in, member);

	if (!id) {
		request_fail(r, "MissingParameter", "The request must contain the parameter %s", member);
		return NULL;
	}
	return resource_get(r, kind, id);
}

void resource_each(struct request *r, const struct resource_kind *kind, const char *parent, s64 after,
                   bool (*fn)(void *ctx, struct resource *res), void *ctx)
{
	struct arena row;
	struct query *q;

	if (parent) {
		q = database_query(r->cloud->db, "SELECT " RESOURCE_COLUMNS " FROM resource "
		                                 "WHERE parent = $1 AND kind = $2 AND seq > $3 ORDER BY seq");
		query_text(query_text(q, parent), kind->name);
	} else {
		q = database_query(
		        r->cloud->db,
		        "SELECT " RESOURCE_COLUMNS " FROM resource "
		        "WHERE kind = $1 AND account = $2 AND region = $3 AND seq > $4 ORDER BY seq");
		query_text(query_text(query_text(q, kind->name), r->account), r->region);
	}
	query_integer(q, after);
	arena_init(&row);
	while (query_row(q)) {
		arena_clear(&row);
		if (!fn(ctx, resource_read(r, kind, q, &row)))
			break;
	}
	query_end(q);
	arena_release(&row);
}

struct gathering {
	struct request *request;
	struct resource **list;
	unsigned count, room;
};

static bool gather(void *ctx, struct resource *res)
{
	struct gathering *g = ctx;
	struct arena *a = g->request->arena;
	struct resource *kept = arena_alloc(a, sizeof(*kept));

	*kept = *res;
	kept->id = arena_strdup(a, res->id);
	kept->parent = arena_strdup(a, res->parent);
	kept->state = arena_strdup(a, res->state);
	kept->doc = value_copy(a, res->doc);
	if (g->count + 1 == g->room) {
		struct resource **more = arena_alloc(a, 2 * g->room * sizeof(struct resource *));

		memcpy(more, g->list, g->count * sizeof(struct resource *));
		g->list = more;
		g->room *= 2;
	}
	g->list[g->count++] = kept;
	return true;
}

struct resource **resource_list(struct request *r, const struct resource_kind *kind, const char *parent)
{
	struct gathering g = {.request = r, .room = 16};

	g.list = arena_alloc(r->arena, g.room * sizeof(struct resource *));
	resource_each(r, kind, parent, 0, gather, &g);
	g.list[g.count] = NULL;
	return g.list;
}

s64 resource_count(struct request *r, const struct resource_kind *kind, const char *parent)
{
	struct query *q;
	s64 count = 0;

	if (parent) {
		q = database_query(r->cloud->db,
		                   "SELECT COUNT(*) FROM resource WHERE parent = $1 AND kind = $2");
		query_text(query_text(q, parent), kind->name);
	} else {
		q = database_query(r->cloud->db, "SELECT COUNT(*) FROM resource "
		                                 "WHERE kind = $1 AND account = $2 AND region = $3");
		query_text(query_text(query_text(q, kind->name), r->account), r->region);
	}
	if (query_row(q))
		count = query_column_integer(q, 0);
	query_end(q);
	return count;
}

struct lookup {
	const char *path, *value;
	char id[64];
};

static bool matches(void *ctx, struct resource *res)
{
	struct lookup *l = ctx;
	const char *text = value_path(res->doc, l->path);

	if (text && !strcmp(text, l->value))
		snprintf(l->id, sizeof(l->id), "%s", res->id);
	return !l->id[0];
}

struct resource *resource_lookup(struct request *r, const struct resource_kind *kind, const char *path,
                                 const char *value)
{
	struct lookup l = {path, value, ""};

	resource_each(r, kind, NULL, 0, matches, &l);
	return l.id[0] ? resource_find(r, kind, l.id) : NULL;
}

/* ---- indexes ---- */

static const char *indexes_of(struct arena *a)
{
	const char *text = "";

	for (const struct resource_kind *k = __start_kinds; k < __stop_kinds; k++)
		for (unsigned i = 0; i < RESOURCE_KEYS; i++)
			if (k->indexed[i])
				text = arena_printf(a, "%s %s:%s", text, k->name, k->indexed[i]);
	return text;
}

/* Some hundred at a time: what is read and what is written do not disturb each other. */
static s64 index_some(struct request *r, const struct resource_kind *kind, s64 after)
{
	enum { SOME = 500 };
	struct query *q = database_query(r->cloud->db, "SELECT " RESOURCE_COLUMNS " FROM resource "
	                                               "WHERE kind = $1 AND seq > $2 ORDER BY seq LIMIT $3");
	struct resource *list[SOME];
	unsigned count = 0;

	query_integer(query_integer(query_text(q, kind->name), after), SOME);
	while (count < SOME && query_row(q))
		list[count++] = resource_read(r, kind, q, r->arena);
	query_end(q);
	for (unsigned i = 0; i < count; i++) {
		q = database_query(r->cloud->db,
		                   "UPDATE resource SET key1 = $1, key2 = $2, key3 = $3 WHERE id = $4");
		query_run(query_text(query_keys(q, list[i]), list[i]->id));
	}
	return count ? list[count - 1]->seq : -1;
}

void resource_index(struct cloud *c)
{
	struct arena names, row;
	struct fault fault = {0};
	struct request r = {
	        .cloud = c, .arena = &row, .model = &model_ec2, .fault = &fault, .account = c->account};
	const char *now, *then = cloud_setting(c, "indexes");

	arena_init(&names);
	arena_init(&row);
	now = indexes_of(&names);
	for (const struct resource_kind *k = __start_kinds; k < __stop_kinds && (!then || strcmp(now, then));
	     k++) {
		s64 after = 0;

		while (k->indexed[0] && after >= 0) {
			after = index_some(&r, k, after);
			arena_clear(&row);
		}
	}
	cloud_set(c, "indexes", now);
	arena_release(&row);
	arena_release(&names);
}
