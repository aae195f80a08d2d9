/*
 * Parameters of any action of any model, made by walking the action's input shape: the bytes say which
 * members are there and what their values are (of the kind, enumerated, at the edges of their range, or
 * anything). So every generated table is walked: the parser must take what the shape has, what is validated
 * must be judged the same when it was stored and read again, and what lacks a required member or is out of
 * range must be refused.
 */
#include "api/query.h"
#include "base/buffer.h"
#include "model/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct walk {
	const struct model *model;
	const u8 *at, *end;
	struct buffer form;
	unsigned pairs;
	bool wrong; /* query_validate() must refuse it */
	bool odd;   /* a scalar that query_parse() may refuse */
};

static u8 next(struct walk *w)
{
	return w->at < w->end ? *w->at++ : 0;
}

static void put(struct walk *w, const char *name, const char *value, size_t length)
{
	buffer_printf(&w->form, "%s%s=", w->pairs++ ? "&" : "", name);
	for (size_t i = 0; i < length; i++)
		buffer_printf(&w->form, "%%%02X", (u8)value[i]);
}

static void put_text(struct walk *w, const char *name, const char *value)
{
	put(w, name, value, strlen(value));
}

static void put_integer(struct walk *w, const char *name, const struct model_shape *s)
{
	static const s64 edges[] = {0, 1, -1, 65535, 65536, 2147483647, 2147483648LL, -2147483648LL};
	u8 how = next(w);
	s64 number = edges[how % ARRAY_SIZE(edges)];
	char text[32];

	if ((s->flags & SHAPE_HAS_MIN) && how & 0x40)
		number = s->min - (how & 1);
	else if ((s->flags & SHAPE_HAS_MAX) && how & 0x80)
		number = s->max + (how & 1);
	if (s->type == SHAPE_INTEGER && number != (int)number)
		w->odd = true;
	w->wrong |= ((s->flags & SHAPE_HAS_MIN) && number < s->min) ||
	            ((s->flags & SHAPE_HAS_MAX) && number > s->max);
	snprintf(text, sizeof(text), "%lld", (long long)number);
	put_text(w, name, text);
}

/* Of an enumeration one of its values, or one that is none; else as many bytes as the next one says. */
static void put_string(struct walk *w, const char *name, const struct model_shape *s)
{
	u8 how = next(w);
	size_t length = how % 20, left = (size_t)(w->end - w->at);

	if (s->count && how) {
		put_text(w, name, model_text(w->model, w->model->enums[s->first + (how - 1) % s->count]));
		return;
	}
	if (s->count) {
		w->wrong = true;
		put_text(w, name, "no such value");
		return;
	}
	for (size_t i = 0; i < length && i < left; i++)
		if (!w->at[i])
			length = i;
	length = min(length, left);
	w->odd = true; /* it may be no UTF-8 */
	put(w, name, (const char *)w->at, length);
	w->at += length;
}

static void walk(struct walk *w, const struct model_shape *s, const char *name, unsigned depth)
{
	char inner[512];

	switch ((enum shape_type)s->type) {
	case SHAPE_STRUCTURE:
		for (unsigned i = 0; i < s->count; i++) {
			const struct model_member *m = model_member(w->model, s, i);
			const char *query = model_text(w->model, m->query);
			unsigned before = w->pairs;

			snprintf(inner, sizeof(inner), "%s%s%s", name, *name ? "." : "", query);
			if (depth < 6 && (m->flags & MEMBER_REQUIRED ? next(w) != 1 : next(w) & 1))
				walk(w, &w->model->shapes[m->shape], inner, depth + 1);
			/* Of what is absent with all around it nothing is required. */
			if (w->pairs == before && (m->flags & MEMBER_REQUIRED) && !depth)
				w->wrong = true;
		}
		break;
	case SHAPE_LIST: {
		unsigned count = next(w) % 4;

		for (unsigned i = 0; i < count && depth < 6; i++) {
			bool flat = w->model->protocol == PROTOCOL_EC2 || (s->flags & SHAPE_FLATTENED);

			snprintf(inner, sizeof(inner), "%s.%s%s%u", name,
			         flat ? "" : model_text(w->model, s->item_xml), flat ? "" : ".", i + 1);
			walk(w, &w->model->shapes[s->item], inner, depth + 1);
		}
		break;
	}
	case SHAPE_MAP:
		break;
	case SHAPE_STRING:
		put_string(w, name, s);
		break;
	case SHAPE_INTEGER:
	case SHAPE_LONG:
		put_integer(w, name, s);
		break;
	case SHAPE_FLOAT:
	case SHAPE_DOUBLE:
		put_text(w, name, next(w) & 1 ? "1.5" : "-3e7");
		break;
	case SHAPE_BOOLEAN:
		put_text(w, name, next(w) & 1 ? "true" : "false");
		break;
	case SHAPE_TIMESTAMP:
		put_text(w, name, next(w) & 1 ? "2026-01-31T12:00:00Z" : "1970-01-01T00:00:00.000Z");
		break;
	case SHAPE_BLOB:
		put_text(w, name, next(w) & 1 ? "aGVsbG8=" : "");
		break;
	}
}

static void judge(const struct walk *w, const struct model_action *action, const struct form *form,
                  struct arena *arena)
{
	struct fault f = {0}, g = {0};
	struct value *v = query_parse(arena, w->model, action, form, &f), *again;
	struct buffer json = {0};
	int good;

	if (!v) {
		if (!w->odd || strcmp(f.code, "InvalidParameterValue"))
			abort();
		return;
	}
	good = query_validate(v, &f);
	if (good == 0 ? w->wrong || f.status : !f.status || !f.code[0] || !f.message[0])
		abort();
	json_write(&json, v);
	again = json_parse(arena, w->model, action->input, buffer_str(&json), json.length);
	if (!again || !value_equal(v, again))
		abort();
	if (query_validate(again, &g) != good || strcmp(f.message, g.message))
		abort();
	buffer_release(&json);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const struct model *const models[] = {&model_ec2, &model_sts};
	struct walk w = {.at = data + 3, .end = data + size};
	const struct model_action *action;
	struct form form = {0};
	struct arena arena;

	if (size < 3)
		return 0;
	w.model = models[data[0] % ARRAY_SIZE(models)];
	action = &w.model->actions[(data[1] | data[2] << 8) % (int)w.model->action_count];
	if (action->input == MODEL_NONE)
		return 0;
	arena_init(&arena);
	walk(&w, &w.model->shapes[action->input], "", 0);
	if (form_parse(&form, &arena, buffer_str(&w.form), w.form.length) == 0)
		judge(&w, action, &form, &arena);
	buffer_release(&w.form);
	arena_release(&arena);
	return 0;
}
