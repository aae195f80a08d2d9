#include "api/query.h"
#include "model/scalar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is said beside the action's own parameters. */
static const char *const common[] = {"Action",           "Version",         "AWSAccessKeyId",
                                     "Signature",        "Timestamp",       "Expires",
                                     "SignatureVersion", "SignatureMethod", "SecurityToken"};

static bool is_common(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(common); i++)
		if (!strcmp(name, common[i]))
			return true;
	return !strncmp(name, "X-Amz-", 6);
}

static int member_by_query(const struct model *m, const struct model_shape *s, const char *name,
                           size_t length)
{
	for (unsigned i = 0; i < s->count; i++) {
		const char *query = model_text(m, model_member(m, s, i)->query);

		if (!strncmp(query, name, length) && !query[length])
			return (int)i;
	}
	return -1;
}

/* A list being filled: items are numbered, from 1, and may come in any order. */
struct filling {
	struct value *list;
	u32 *numbers;
	u32 room;
	struct filling *next;
};

struct parse {
	struct arena *arena;
	const struct model *model;
	struct filling *lists;
	struct fault *fault;
};

static struct filling *filling_of(struct parse *p, struct value *list)
{
	struct filling *f, **from = &p->lists;

	for (; *from; from = &(*from)->next) {
		f = *from;
		if (f->list != list)
			continue;
		*from = f->next; /* to the front: the next pair is likely of the same list */
		f->next = p->lists;
		return p->lists = f;
	}
	f = arena_alloc(p->arena, sizeof(*f));
	f->list = list;
	f->next = p->lists;
	return p->lists = f;
}

static struct value *item_at(struct parse *p, struct value *list, u32 number)
{
	struct filling *f = filling_of(p, list);
	unsigned at = list->count;
	struct value *item;

	while (at && f->numbers[at - 1] > number)
		at--;
	if (at && f->numbers[at - 1] == number)
		return list->items[at - 1];
	if (list->count == QUERY_ITEMS_MAX)
		return NULL;
	if (list->count == f->room) {
		u32 room = f->room ? 2 * f->room : 8, *numbers = arena_alloc(p->arena, room * sizeof(u32));

		if (list->count)
			memcpy(numbers, f->numbers, list->count * sizeof(u32));
		f->numbers = numbers;
		f->room = room;
	}
	item = value_append(list);
	memmove(&f->numbers[at + 1], &f->numbers[at], (list->count - 1 - at) * sizeof(u32));
	memmove(&list->items[at + 1], &list->items[at], (list->count - 1 - at) * sizeof(struct value *));
	f->numbers[at] = number;
	list->items[at] = item;
	return item;
}

static int unknown(struct parse *p, const char *name)
{
	return fault_set(p->fault, "UnknownParameter", "The parameter %.200s is not recognized", name);
}

static int one(struct parse *p, struct value *v, const struct form_pair *pair)
{
	const char *path = pair->name;

	for (unsigned depth = 0; depth < QUERY_DEPTH_MAX; depth++) {
		size_t length = strcspn(path, ".");
		bool last = !path[length];
		const char *next = path + length + !last;

		if (v->kind == VALUE_STRUCTURE) {
			const struct model_shape *s = value_shape(v);
			int index = member_by_query(p->model, s, path, length);
			struct value *member;

			/* Of a client whose model is newer: token.h takes it from the form. */
			if (index < 0 && !depth && last && !strcmp(path, "ClientToken"))
				return 0;
			if (index < 0)
				return unknown(p, pair->name);
			member = value_at(v, (unsigned)index);
			if (!member) {
				member = value_new(p->arena, p->model,
				                   model_member(p->model, s, (unsigned)index)->shape);
				value_put_at(v, (unsigned)index, member);
			}
			v = member;
		} else if (v->kind == VALUE_LIST) {
			unsigned long number;
			char *end;

			if (p->model->protocol == PROTOCOL_QUERY &&
			    !(value_shape(v)->flags & SHAPE_FLATTENED)) {
				const char *item = model_text(p->model, value_shape(v)->item_xml);

				if (strncmp(path, item, length) || item[length] || last)
					return unknown(p, pair->name);
				path = next;
				length = strcspn(path, ".");
				last = !path[length];
				next = path + length + !last;
			}
			number = strtoul(path, &end, 10);
			if (!length || length > 9 || end != path + length || path[0] == '-' || path[0] == '+')
				return unknown(p, pair->name);
			v = item_at(p, v, (u32)number);
			if (!v)
				return fault_set(p->fault, "InvalidParameterValue",
				                 "The list at %.200s has more than %d items", pair->name,
				                 QUERY_ITEMS_MAX);
		} else {
			return unknown(p, pair->name);
		}
		if (!last) {
			path = next;
			continue;
		}
		/* "Name=" says that a list is empty. */
		if (v->kind == VALUE_LIST && !pair->value_length)
			return 0;
		if (v->kind == VALUE_STRUCTURE || v->kind == VALUE_LIST || v->kind == VALUE_MAP)
			return unknown(p, pair->name);
		if (scalar_parse(v, pair->value, pair->value_length) < 0)
			return fault_set(p->fault, "InvalidParameterValue",
			                 "Value (%.200s) for parameter %.200s is invalid.", pair->value,
			                 pair->name);
		return 0;
	}
	return unknown(p, pair->name);
}

struct value *query_parse(struct arena *a, const struct model *m, const struct model_action *action,
                          const struct form *form, struct fault *f)
{
	struct parse p = {.arena = a, .model = m, .fault = f};
	struct value *v;

	if (action->input == MODEL_NONE) {
		v = arena_alloc(a, sizeof(*v)); /* a structure without members */
		v->kind = VALUE_STRUCTURE;
		v->arena = a;
		v->model = m;
		v->shape = MODEL_NONE;
	} else {
		v = value_new(a, m, action->input);
	}
	for (unsigned i = 0; i < form->count; i++) {
		if (is_common(form->pairs[i].name))
			continue;
		if (v->shape == MODEL_NONE) {
			unknown(&p, form->pairs[i].name);
			return NULL;
		}
		if (one(&p, v, &form->pairs[i]) < 0)
			return NULL;
	}
	return v;
}

/* ---- validation ---- */

struct path {
	const struct path *outer;
	const char *name; /* NULL: number */
	unsigned number;
};

static void write_path(const struct path *p, char *text, size_t size)
{
	size_t length;

	if (!p || !size) {
		if (size)
			text[0] = 0;
		return;
	}
	write_path(p->outer, text, size);
	length = strlen(text);
	if (p->name)
		snprintf(text + length, size - length, "%s%s", length ? "." : "", p->name);
	else
		snprintf(text + length, size - length, "%s%u", length ? "." : "", p->number);
}

static int invalid(const struct path *path, const char *value, const char *why, struct fault *f)
{
	char name[256];

	write_path(path, name, sizeof(name));
	return fault_set(f, "InvalidParameterValue", "Value (%.200s) for parameter %s is invalid. %s", value,
	                 name, why);
}

static int check_range(const struct value *v, const struct path *path, s64 number, const char *what,
                       struct fault *f)
{
	const struct model_shape *s = value_shape(v);
	char text[32], why[96];

	snprintf(text, sizeof(text), "%lld", (long long)number);
	if ((s->flags & SHAPE_HAS_MIN) && number < s->min) {
		snprintf(why, sizeof(why), "The %s must be at least %lld.", what, (long long)s->min);
		return invalid(path, text, why, f);
	}
	if ((s->flags & SHAPE_HAS_MAX) && number > s->max) {
		snprintf(why, sizeof(why), "The %s must be at most %lld.", what, (long long)s->max);
		return invalid(path, text, why, f);
	}
	return 0;
}

static int validate(const struct value *v, const struct path *path, struct fault *f)
{
	const struct model *m = v->model;
	const struct model_shape *s = value_shape(v);

	switch ((enum value_kind)v->kind) {
	case VALUE_STRUCTURE:
		for (unsigned i = 0; i < s->count; i++) {
			const struct model_member *member = model_member(m, s, i);
			struct path inner = {path, model_text(m, member->query), 0};
			const struct value *value = value_at(v, i);

			if (!value && (member->flags & MEMBER_REQUIRED)) {
				char name[256];

				write_path(&inner, name, sizeof(name));
				return fault_set(f, "MissingParameter",
				                 "The request must contain the parameter %s", name);
			}
			if (value && validate(value, &inner, f) < 0)
				return -1;
		}
		return 0;
	case VALUE_LIST:
		for (unsigned i = 0; i < v->count; i++) {
			struct path inner = {path, NULL, i + 1};

			if (validate(v->items[i], &inner, f) < 0)
				return -1;
		}
		return check_range(v, path, v->count, "number of items", f);
	case VALUE_STRING:
		if (!model_enum_has(m, s, v->text))
			return invalid(path, v->text, "It is none of the values that this parameter takes.",
			               f);
		return check_range(v, path, v->count, "length", f);
	case VALUE_INTEGER:
		return check_range(v, path, v->integer, "value", f);
	default:
		return 0;
	}
}

int query_validate(const struct value *v, struct fault *f)
{
	return v->shape == MODEL_NONE ? 0 : validate(v, NULL, f);
}
