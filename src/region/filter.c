#include "region/filter.h"
#include "base/wildcard.h"
#include "model/scalar.h"
#include "region/tag.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { PATH_MAX_PARTS = 8 };
enum filter_what { FILTER_PATH, FILTER_TAG, FILTER_TAG_KEY, FILTER_TAG_VALUE, FILTER_DERIVED };

struct filter {
	enum filter_what what;
	const char *key; /* tag:KEY; of what is derived, its name */
	struct request *request;
	const struct resource_kind *kind;
	u16 parts[PATH_MAX_PARTS];
	unsigned count;
	const struct value *values;
	struct filter *next;
};

/* ---- where a filter looks ---- */

/* "cidr-block" against "CidrBlock", "CidrBlockSet", "CidrBlocks". */
static bool same_word(const char *filter, size_t length, const char *member)
{
	for (size_t i = 0; i < length; i++) {
		if (filter[i] == '-')
			continue;
		if (tolower((unsigned char)filter[i]) != tolower((unsigned char)*member))
			return false;
		member++;
	}
	return !*member || !strcmp(member, "s") || !strcmp(member, "es") || !strcmp(member, "Set");
}

static int find_member(const struct model *m, const struct model_shape *s, const char *word, size_t length)
{
	int found = -1;

	for (unsigned i = 0; i < s->count; i++) {
		const char *name = model_text(m, model_member(m, s, i)->name);

		if (!same_word(word, length, name))
			continue;
		if (found < 0 ||
		    strlen(name) < strlen(model_text(m, model_member(m, s, (unsigned)found)->name)))
			found = (int)i;
	}
	return found;
}

/* Parts of a path, by name: of the filter itself, or of the kind's own table. */
static bool resolve(struct filter *f, const struct model *m, unsigned shape, const char *path)
{
	for (f->count = 0; f->count < PATH_MAX_PARTS;) {
		size_t length = strcspn(path, ".");
		const struct model_shape *s = &m->shapes[shape];
		int index;

		while (s->type == SHAPE_LIST)
			s = &m->shapes[s->item];
		if (s->type != SHAPE_STRUCTURE)
			return false;
		index = find_member(m, s, path, length);
		if (index < 0)
			return false;
		f->parts[f->count++] = (u16)index;
		shape = model_member(m, s, (unsigned)index)->shape;
		path += length;
		if (!*path++) {
			s = &m->shapes[shape];
			while (s->type == SHAPE_LIST)
				s = &m->shapes[s->item];
			return s->type != SHAPE_STRUCTURE;
		}
	}
	return false;
}

static int read_one(struct request *r, const struct resource_kind *kind, unsigned shape,
                    const struct value *v, struct filter *f)
{
	const char *name = value_string(v, "Name"), *path = name;

	f->values = value_get(v, "Values");
	if (!name || !*name)
		return request_fail(r, "InvalidParameterValue", "The filter name is missing");
	if (!value_count(f->values))
		return request_fail(r, "InvalidParameterValue", "The filter '%s' has no values", name);
	if (value_count(f->values) > 200)
		return request_fail(r, "FilterLimitExceeded",
		                    "The maximum number of filter values on a single request is 200");
	if (!strncmp(name, "tag:", 4)) {
		f->what = FILTER_TAG;
		f->key = name + 4;
		return 0;
	}
	if (!strcmp(name, "tag-key") || !strcmp(name, "tag-value")) {
		f->what = name[4] == 'k' ? FILTER_TAG_KEY : FILTER_TAG_VALUE;
		return 0;
	}
	for (unsigned i = 0; kind->derived && kind->derived[i]; i++) {
		if (strcmp(kind->derived[i], name))
			continue;
		f->what = FILTER_DERIVED;
		f->key = name;
		f->request = r;
		f->kind = kind;
		return 0;
	}
	for (unsigned i = 0; kind->filters && kind->filters[i]; i += 2)
		if (!strcmp(kind->filters[i], name))
			path = kind->filters[i + 1];
	if (path == name && !model_filter_known(r->model, r->action, name))
		return request_fail(r, "InvalidParameterValue", "The filter '%s' is invalid", name);
	f->what = FILTER_PATH;
	if (!resolve(f, r->model, shape, path))
		return request_fail(r, "UnsupportedOperation", "The filter '%s' is not supported here", name);
	return 0;
}

/* "Filters", of a few actions "Filter". */
static const char *filter_member(struct request *r)
{
	if (model_member_find(r->model, value_shape(r->in), "Filters") >= 0)
		return "Filters";
	return model_member_find(r->model, value_shape(r->in), "Filter") >= 0 ? "Filter" : NULL;
}

int filter_read(struct request *r, const struct resource_kind *kind, struct filter **out)
{
	const char *member = filter_member(r);
	const struct value *list = member ? value_get(r->in, member) : NULL;
	struct filter **last = out;

	*out = NULL;
	if (!value_count(list))
		return 0;
	if (list->count > 50)
		return request_fail(r, "FilterLimitExceeded",
		                    "The maximum number of filters on a request is 50");
	for (unsigned i = 0; i < list->count; i++) {
		struct filter *f = arena_alloc(r->arena, sizeof(*f));

		if (read_one(r, kind, resource_shape(r->model, kind), value_item(list, i), f) < 0)
			return -1;
		*last = f;
		last = &f->next;
	}
	return 0;
}

/* ---- matching ---- */

static bool any_value(const struct filter *f, const char *text)
{
	for (unsigned i = 0; i < f->values->count; i++)
		if (wildcard_match(value_item(f->values, i)->text, text, WILDCARD_ESCAPE))
			return true;
	return false;
}

static bool scalar_match(const struct filter *f, const struct value *v)
{
	struct buffer b = {0};
	char text[32];
	bool result;

	switch ((enum value_kind)v->kind) {
	case VALUE_STRING:
		return any_value(f, v->text);
	case VALUE_BOOLEAN:
		return any_value(f, v->boolean ? "true" : "false");
	case VALUE_INTEGER:
		snprintf(text, sizeof(text), "%lld", (long long)v->integer);
		return any_value(f, text);
	case VALUE_TIME:
		scalar_write_time(&b, v->integer);
		break;
	case VALUE_DOUBLE:
		scalar_write_double(&b, v->number);
		break;
	default:
		return false;
	}
	result = any_value(f, buffer_str(&b));
	buffer_release(&b);
	return result;
}

static bool path_match(const struct filter *f, const struct value *v, unsigned part)
{
	if (!v)
		return false;
	if (v->kind == VALUE_LIST) {
		for (unsigned i = 0; i < v->count; i++)
			if (path_match(f, v->items[i], part))
				return true;
		return false;
	}
	if (part == f->count)
		return scalar_match(f, v);
	return v->kind == VALUE_STRUCTURE && path_match(f, value_at(v, f->parts[part]), part + 1);
}

static bool one_tag_match(const struct filter *f, const struct value *tag)
{
	const char *key = value_string(tag, "Key"), *value = value_string(tag, "Value");

	return f->what == FILTER_TAG_KEY     ? any_value(f, key)
	       : f->what == FILTER_TAG_VALUE ? any_value(f, value ? value : "")
	                                     : !strcmp(f->key, key) && any_value(f, value ? value : "");
}

static bool tag_match(const struct filter *f, const struct value *doc)
{
	const struct value *tags = tag_list(doc);

	/* A row of DescribeTags is one itself. */
	if (!tag_member(doc) && model_member_find(doc->model, value_shape(doc), "Key") >= 0)
		return one_tag_match(f, doc);
	for (unsigned i = 0; i < value_count(tags); i++)
		if (one_tag_match(f, value_item(tags, i)))
			return true;
	return false;
}

static bool derived_match(const struct filter *f, const struct value *doc)
{
	const char **texts = f->kind->derive(f->request, doc, f->key);

	for (; texts && *texts; texts++)
		if (any_value(f, *texts))
			return true;
	return false;
}

bool filter_match(const struct filter *f, const struct value *doc)
{
	for (; f; f = f->next)
		if (!(f->what == FILTER_PATH      ? path_match(f, doc, 0)
		      : f->what == FILTER_DERIVED ? derived_match(f, doc)
		                                  : tag_match(f, doc)))
			return false;
	return true;
}

/* ---- for indexes ---- */

struct filter *filter_next(const struct filter *f)
{
	return f->next;
}

const struct value *filter_values(const struct filter *f)
{
	return f->values;
}

bool filter_is_exact(const struct filter *f)
{
	for (unsigned i = 0; i < f->values->count; i++)
		if (strpbrk(value_item(f->values, i)->text, "*?\\"))
			return false;
	return true;
}

bool filter_is_parent(const struct filter *f, const struct resource_kind *kind)
{
	return f->what == FILTER_DERIVED && kind->parent_filter && !strcmp(f->key, kind->parent_filter);
}

bool filter_is_tag_key(const struct filter *f)
{
	return f->what == FILTER_TAG_KEY;
}

const char *filter_tag(const struct filter *f)
{
	return f->what == FILTER_TAG ? f->key : NULL;
}

bool filter_is_path(const struct filter *f, const struct model *m, const struct resource_kind *kind,
                    const char *path)
{
	struct filter other;

	return f->what == FILTER_PATH && resolve(&other, m, resource_shape(m, kind), path) &&
	       other.count == f->count && !memcmp(other.parts, f->parts, f->count * sizeof(*f->parts));
}
