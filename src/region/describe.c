#include "region/describe.h"
#include "model/scalar.h"
#include "region/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_LEAST = 5, PAGE_MOST = 1000 };

static bool has(const struct value *v, const char *name)
{
	return v->shape != MODEL_NONE && model_member_find(v->model, value_shape(v), name) >= 0;
}

int describe_page(struct request *r, unsigned *most, s64 *after)
{
	const char *token = has(r->in, "NextToken") ? value_string(r->in, "NextToken") : NULL;
	s64 limit = has(r->in, "MaxResults") ? value_integer(r->in, "MaxResults", 0) : 0;
	size_t length;
	char *text, *end;

	*most = 0;
	*after = 0;
	if (has(r->in, "MaxResults") && value_get(r->in, "MaxResults")) {
		if (limit < PAGE_LEAST)
			return request_fail(r, "InvalidParameterValue",
			                    "Value ( %lld ) for parameter maxResults is invalid. Expecting a "
			                    "value greater than or equal to %d.",
			                    (long long)limit, PAGE_LEAST);
		*most = (unsigned)min(limit, (s64)PAGE_MOST);
	}
	if (!token || !*token)
		return 0;
	text = base64_parse(r->arena, token, strlen(token), &length);
	if (!text || strncmp(text, "after:", 6))
		return request_fail(r, "InvalidNextToken", "The token '%.100s' is invalid", token);
	*after = strtoll(text + 6, &end, 10);
	if (*end || *after < 0)
		return request_fail(r, "InvalidNextToken", "The token '%.100s' is invalid", token);
	if (!*most)
		*most = PAGE_MOST;
	return 0;
}

void describe_next(struct request *r, s64 last)
{
	char text[40];
	struct buffer b = {0};

	snprintf(text, sizeof(text), "after:%lld", (long long)last);
	base64_write(&b, text, strlen(text));
	value_set_string(r->out, "NextToken", buffer_str(&b));
	buffer_release(&b);
}

struct listing {
	struct request *request;
	const struct describe *describe;
	const struct filter *filters;
	const struct value *names;
	struct value *list;
	bool *named; /* which of the names were found */
	unsigned most;
	s64 after, last;
	bool more;
};

static bool name_match(struct listing *l, const struct resource *res)
{
	const char *name;

	if (!value_count(l->names))
		return true;
	name = value_path(res->doc, l->describe->name_path);
	for (unsigned i = 0; name && i < l->names->count; i++) {
		if (!strcmp(value_item(l->names, i)->text, name)) {
			l->named[i] = true;
			return true;
		}
	}
	return false;
}

static bool visit(void *ctx, struct resource *res)
{
	struct listing *l = ctx;

	if (res->seq <= l->after)
		return true;
	if (!name_match(l, res) || (l->describe->accept && !l->describe->accept(l->request, res)) ||
	    !filter_match(l->filters, res->doc))
		return true;
	if (l->most && l->list->count == l->most) {
		l->more = true;
		return false;
	}
	value_append_value(l->list, value_copy(l->request->arena, res->doc));
	l->last = res->seq;
	return true;
}

int describe_run(struct request *r, const struct describe *d)
{
	const struct value *ids = d->ids ? value_get(r->in, d->ids) : NULL;
	struct listing l = {.request = r,
	                    .describe = d,
	                    .names = d->names ? value_get(r->in, d->names) : NULL,
	                    .list = value_open(r->out, d->list)};
	struct filter *filters = NULL;

	if (r->in->shape != MODEL_NONE && filter_read(r, d->kind, &filters) < 0)
		return -1;
	l.filters = filters;
	l.named = arena_alloc(r->arena, value_count(l.names) + 1);
	if (describe_page(r, &l.most, &l.after) < 0)
		return -1;
	if (value_count(ids)) {
		struct resource **found = arena_alloc(r->arena, ids->count * sizeof(struct resource *));

		for (unsigned i = 0; i < ids->count; i++) {
			found[i] = resource_get(r, d->kind, value_item(ids, i)->text);
			if (!found[i])
				return -1;
		}
		for (unsigned i = 0; i < ids->count; i++) {
			bool twice = false;

			for (unsigned k = 0; k < i && !twice; k++)
				twice = found[k]->seq == found[i]->seq;
			if (!twice && !visit(&l, found[i]))
				break;
		}
	} else {
		resource_each(r, d->kind, NULL, l.after, visit, &l);
		for (unsigned i = 0; i < value_count(l.names); i++)
			if (!l.named[i])
				return request_fail(r, d->name_not_found, "The %s '%.200s' does not exist",
				                    d->kind->name, value_item(l.names, i)->text);
	}
	if (l.more)
		describe_next(r, l.last);
	return 0;
}
