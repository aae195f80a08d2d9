#include "region/describe.h"
#include "model/scalar.h"
#include "region/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_LEAST = 5, PAGE_MOST = 1000 };

static bool has(const struct value *v, const char *name)
{
	return v->shape != MODEL_NONE && model_member_find(v->model, value_shape(v), name) >= 0;
}

int describe_page_text(struct request *r, unsigned *most, const char **after)
{
	const char *token = has(r->in, "NextToken") ? value_string(r->in, "NextToken") : NULL;
	const struct value *given = has(r->in, "MaxResults") ? value_get(r->in, "MaxResults") : NULL;
	s64 limit = given ? value_integer(r->in, "MaxResults", 0) : 0, least = PAGE_LEAST;
	size_t length;
	char *text;

	*most = 0;
	*after = "";
	if (given) {
		/* Some actions have a bound of their own, in the model. */
		if (value_shape(given)->flags & SHAPE_HAS_MIN)
			least = max(value_shape(given)->min, (s64)1);
		if (limit < least)
			return request_fail(r, "InvalidParameterValue",
			                    "Value ( %lld ) for parameter maxResults is invalid. Expecting a "
			                    "value greater than or equal to %lld.",
			                    (long long)limit, (long long)least);
		*most = (unsigned)min(limit, (s64)PAGE_MOST);
	}
	if (!token || !*token)
		return 0;
	text = base64_parse(r->arena, token, strlen(token), &length);
	if (!text || strncmp(text, "after:", 6) || strlen(text) != length)
		return request_fail(r, "InvalidNextToken", "The token '%.100s' is invalid", token);
	*after = text + 6;
	if (!*most)
		*most = PAGE_MOST;
	return 0;
}

int describe_page(struct request *r, unsigned *most, s64 *after)
{
	const char *text;
	char *end;

	*after = 0;
	if (describe_page_text(r, most, &text) < 0)
		return -1;
	*after = strtoll(text, &end, 10);
	if (*end || *after < 0)
		return request_fail(r, "InvalidNextToken", "The token '%.100s' is invalid",
		                    value_string(r->in, "NextToken"));
	return 0;
}

void describe_next_text(struct request *r, const char *last)
{
	const char *text = arena_printf(r->arena, "after:%s", last);
	struct buffer b = {0};

	base64_write(&b, text, strlen(text));
	value_set_string(r->out, "NextToken", buffer_str(&b));
	buffer_release(&b);
}

void describe_next(struct request *r, s64 last)
{
	char text[40];

	snprintf(text, sizeof(text), "%lld", (long long)last);
	describe_next_text(r, text);
}

/* ---- going through ---- */

struct listing {
	const struct describe_each *each;
	unsigned most, count;
	s64 last;
	bool more;
};

static enum scan visit(void *ctx, struct resource *res)
{
	struct listing *l = ctx;

	if (!l->each->match(l->each->ctx, res))
		return SCAN_SKIP;
	if (l->most && l->count == l->most) {
		l->more = true;
		return SCAN_STOP;
	}
	l->each->add(l->each->ctx, res);
	l->count++;
	l->last = res->seq;
	return SCAN_KEEP;
}

static int by_age(const void *a, const void *b)
{
	const struct resource *const *x = a, *const *y = b;

	return ((*x)->seq > (*y)->seq) - ((*x)->seq < (*y)->seq);
}

/* By age, as all are listed: what a page begins behind is an age. */
static int visit_named(struct request *r, const struct resource_kind *kind, const struct value *ids,
                       s64 after, struct listing *l)
{
	struct resource **found = arena_alloc(r->arena, ids->count * sizeof(struct resource *));
	s64 seen = after;

	for (unsigned i = 0; i < ids->count; i++) {
		found[i] = resource_get(r, kind, value_item(ids, i)->text);
		if (!found[i])
			return -1;
	}
	qsort(found, ids->count, sizeof(struct resource *), by_age);
	for (unsigned i = 0; i < ids->count; i++) {
		if (found[i]->seq <= seen)
			continue;
		seen = found[i]->seq;
		if (visit(l, found[i]) == SCAN_STOP)
			break;
	}
	return 0;
}

int describe_each(struct request *r, const struct describe_each *each)
{
	const struct value *ids = each->ids ? value_get(r->in, each->ids) : NULL;
	struct listing l = {.each = each};
	s64 after;

	if (describe_page(r, &l.most, &after) < 0)
		return -1;
	if (each->ids_alone && value_count(ids) && value_get(r->in, "MaxResults"))
		return request_fail(r, "InvalidParameterCombination",
		                    "The parameter %s cannot be used with the parameter maxResults",
		                    each->ids_alone);
	if (!value_count(ids))
		scan_each(r, each->kind, after, each->filters, visit, &l);
	else if (visit_named(r, each->kind, ids, after, &l) < 0)
		return -1;
	if (l.more)
		describe_next(r, l.last);
	return 0;
}

/* ---- lists of documents ---- */

struct documents {
	struct request *request;
	const struct describe *describe;
	const struct filter *filters;
	const struct value *names;
	struct value *list;
	bool *named; /* which of the names were found */
};

static bool name_match(struct documents *d, const struct resource *res)
{
	const char *name;

	if (!value_count(d->names))
		return true;
	name = value_path(res->doc, d->describe->name_path);
	for (unsigned i = 0; name && i < d->names->count; i++) {
		if (!strcmp(value_item(d->names, i)->text, name)) {
			d->named[i] = true;
			return true;
		}
	}
	return false;
}

static bool match(void *ctx, struct resource *res)
{
	struct documents *d = ctx;

	return name_match(d, res) && (!d->describe->accept || d->describe->accept(d->request, res)) &&
	       filter_match(d->filters, res->doc);
}

static void add(void *ctx, struct resource *res)
{
	struct documents *d = ctx;

	value_append_value(d->list, res->doc);
}

int describe_run(struct request *r, const struct describe *d)
{
	struct documents all = {.request = r,
	                        .describe = d,
	                        .names = d->names ? value_get(r->in, d->names) : NULL,
	                        .list = value_open(r->out, d->list)};
	struct describe_each each = {.kind = d->kind, .ids = d->ids, .match = match, .add = add, .ctx = &all};
	struct filter *filters = NULL;

	if (r->in->shape != MODEL_NONE && filter_read(r, d->kind, &filters) < 0)
		return -1;
	all.filters = each.filters = filters;
	all.named = arena_alloc(r->arena, value_count(all.names) + 1);
	if (describe_each(r, &each) < 0)
		return -1;
	if (d->ids && value_count(value_get(r->in, d->ids)))
		return 0;
	for (unsigned i = 0; i < value_count(all.names); i++)
		if (!all.named[i])
			return request_fail(r, d->name_not_found, "The %s '%.200s' does not exist",
			                    d->kind->name, value_item(all.names, i)->text);
	return 0;
}
