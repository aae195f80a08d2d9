#include "model/value.h"

#include <assert.h>
#include <string.h>

static u8 kind_of(unsigned type)
{
	switch ((enum shape_type)type) {
	case SHAPE_STRUCTURE:
		return VALUE_STRUCTURE;
	case SHAPE_LIST:
		return VALUE_LIST;
	case SHAPE_MAP:
		return VALUE_MAP;
	case SHAPE_STRING:
		return VALUE_STRING;
	case SHAPE_INTEGER:
	case SHAPE_LONG:
		return VALUE_INTEGER;
	case SHAPE_FLOAT:
	case SHAPE_DOUBLE:
		return VALUE_DOUBLE;
	case SHAPE_BOOLEAN:
		return VALUE_BOOLEAN;
	case SHAPE_TIMESTAMP:
		return VALUE_TIME;
	case SHAPE_BLOB:
		return VALUE_BLOB;
	}
	assert(!"a type of shape that there is not");
	return 0;
}

struct value *value_new(struct arena *a, const struct model *m, unsigned shape)
{
	struct value *v = arena_alloc(a, sizeof(*v));

	assert(shape < m->shape_count);
	v->kind = kind_of(m->shapes[shape].type);
	v->shape = (u16)shape;
	v->arena = a;
	v->model = m;
	if (v->kind == VALUE_STRING || v->kind == VALUE_BLOB)
		v->text = "";
	return v;
}

static void room_for(struct value *v, size_t size)
{
	void *more;

	if (v->count < v->room)
		return;
	v->room = v->room ? 2 * v->room : 4;
	more = arena_alloc(v->arena, v->room * size);
	if (v->count)
		memcpy(more, v->items, v->count * size);
	v->items = more;
}

struct value *value_copy(struct arena *a, const struct value *v)
{
	struct value *copy = arena_alloc(a, sizeof(*copy));

	*copy = *v;
	copy->arena = a;
	switch ((enum value_kind)v->kind) {
	case VALUE_STRUCTURE:
		copy->room = v->count;
		copy->fields = arena_alloc(a, v->count * sizeof(*copy->fields));
		for (unsigned i = 0; i < v->count; i++)
			copy->fields[i] =
			        (struct value_field){v->fields[i].member, value_copy(a, v->fields[i].value)};
		break;
	case VALUE_LIST:
	case VALUE_MAP:
		copy->room = v->count;
		copy->items = arena_alloc(a, v->count * sizeof(*copy->items));
		for (unsigned i = 0; i < v->count; i++)
			copy->items[i] = value_copy(a, v->items[i]);
		break;
	case VALUE_STRING:
	case VALUE_BLOB:
		copy->text = arena_text(a, v->text, v->count);
		break;
	default:
		break;
	}
	return copy;
}

bool value_equal(const struct value *a, const struct value *b)
{
	if (!a || !b)
		return a == b;
	if (a->kind != b->kind)
		return false;
	switch ((enum value_kind)a->kind) {
	case VALUE_STRUCTURE:
		if (a->count != b->count)
			return false;
		for (unsigned i = 0; i < a->count; i++)
			if (a->fields[i].member != b->fields[i].member ||
			    !value_equal(a->fields[i].value, b->fields[i].value))
				return false;
		return true;
	case VALUE_LIST:
	case VALUE_MAP:
		if (a->count != b->count)
			return false;
		for (unsigned i = 0; i < a->count; i++)
			if (!value_equal(a->items[i], b->items[i]))
				return false;
		return true;
	case VALUE_STRING:
	case VALUE_BLOB:
		return a->count == b->count && !memcmp(a->text, b->text, a->count);
	case VALUE_DOUBLE:
		return a->number == b->number;
	case VALUE_BOOLEAN:
		return a->boolean == b->boolean;
	default:
		return a->integer == b->integer;
	}
}

/* ---- structures ---- */

static unsigned member_index(const struct value *v, const char *name)
{
	int index = model_member_find(v->model, value_shape(v), name);

	assert(v->kind == VALUE_STRUCTURE && index >= 0);
	return (unsigned)index;
}

struct value *value_at(const struct value *v, unsigned member)
{
	for (unsigned i = 0; i < v->count && v->fields[i].member <= member; i++)
		if (v->fields[i].member == member)
			return v->fields[i].value;
	return NULL;
}

struct value *value_get(const struct value *v, const char *name)
{
	return v ? value_at(v, member_index(v, name)) : NULL;
}

const char *value_string(const struct value *v, const char *name)
{
	const struct value *member = value_get(v, name);

	return member ? member->text : NULL;
}

s64 value_integer(const struct value *v, const char *name, s64 otherwise)
{
	const struct value *member = value_get(v, name);

	return member ? member->integer : otherwise;
}

bool value_boolean(const struct value *v, const char *name, bool otherwise)
{
	const struct value *member = value_get(v, name);

	return member ? member->boolean : otherwise;
}

const char *value_path(const struct value *v, const char *path)
{
	char name[128];
	const char *dot;

	while ((dot = strchr(path, '.')) && v) {
		size_t length = (size_t)(dot - path);

		assert(length < sizeof(name));
		memcpy(name, path, length);
		name[length] = 0;
		v = value_get(v, name);
		path = dot + 1;
	}
	return value_string(v, path);
}

void value_put_at(struct value *v, unsigned index, struct value *member)
{
	unsigned at = v->count;

	for (unsigned i = at && v->fields[at - 1].member < index ? at : 0; i < at; i++) {
		if (v->fields[i].member == index) {
			v->fields[i].value = member;
			return;
		}
	}
	room_for(v, sizeof(*v->fields));
	for (; at && v->fields[at - 1].member > index; at--)
		v->fields[at] = v->fields[at - 1];
	v->fields[at] = (struct value_field){(u16)index, member};
	v->count++;
}

struct value *value_put(struct value *v, const char *name, struct value *member)
{
	unsigned index = member_index(v, name);

	assert(kind_of(v->model->shapes[model_member(v->model, value_shape(v), index)->shape].type) ==
	       member->kind);
	value_put_at(v, index, member);
	return member;
}

static struct value *fresh(struct value *v, const char *name)
{
	unsigned index = member_index(v, name);
	struct value *member =
	        value_new(v->arena, v->model, model_member(v->model, value_shape(v), index)->shape);

	value_put_at(v, index, member);
	return member;
}

void value_set_string(struct value *v, const char *name, const char *text)
{
	struct value *member;

	if (!text) {
		value_remove(v, name);
		return;
	}
	member = fresh(v, name);
	assert(member->kind == VALUE_STRING || member->kind == VALUE_BLOB);
	member->count = (u32)strlen(text);
	member->text = arena_text(v->arena, text, member->count);
}

void value_set_integer(struct value *v, const char *name, s64 integer)
{
	struct value *member = fresh(v, name);

	assert(member->kind == VALUE_INTEGER);
	member->integer = integer;
}

void value_set_double(struct value *v, const char *name, double number)
{
	struct value *member = fresh(v, name);

	assert(member->kind == VALUE_DOUBLE);
	member->number = number;
}

void value_set_boolean(struct value *v, const char *name, bool boolean)
{
	struct value *member = fresh(v, name);

	assert(member->kind == VALUE_BOOLEAN);
	member->boolean = boolean;
}

void value_set_time(struct value *v, const char *name, s64 ms)
{
	struct value *member = fresh(v, name);

	assert(member->kind == VALUE_TIME);
	member->integer = ms;
}

void value_remove(struct value *v, const char *name)
{
	unsigned index = member_index(v, name);

	for (unsigned i = 0; i < v->count; i++) {
		if (v->fields[i].member != index)
			continue;
		memmove(&v->fields[i], &v->fields[i + 1], (v->count - i - 1) * sizeof(*v->fields));
		v->count--;
		return;
	}
}

struct value *value_open(struct value *v, const char *name)
{
	struct value *member = value_get(v, name);

	return member ? member : fresh(v, name);
}

/* ---- lists ---- */

void value_append_value(struct value *list, struct value *item)
{
	assert(list->kind == VALUE_LIST || list->kind == VALUE_MAP);
	room_for(list, sizeof(*list->items));
	list->items[list->count++] = item;
}

struct value *value_append(struct value *list)
{
	struct value *item = value_new(list->arena, list->model, value_shape(list)->item);

	value_append_value(list, item);
	return item;
}

void value_append_string(struct value *list, const char *text)
{
	struct value *item = value_append(list);

	assert(item->kind == VALUE_STRING);
	item->count = (u32)strlen(text);
	item->text = arena_text(list->arena, text, item->count);
}

void value_delete_item(struct value *list, unsigned i)
{
	assert(i < list->count);
	memmove(&list->items[i], &list->items[i + 1], (list->count - i - 1) * sizeof(*list->items));
	list->count--;
}

bool value_has_string(const struct value *list, const char *text)
{
	for (unsigned i = 0; i < value_count(list); i++)
		if (!strcmp(list->items[i]->text, text))
			return true;
	return false;
}
