/*
 * A value in one of the API's shapes: what a request says, what an answer says, what is stored. Values live
 * in an arena and are freed with it.
 *
 * A structure knows its shape; members are reached by the names of the API Reference. A name that the shape
 * does not have is a mistake of ours and asserts. Members that are not set are absent, not zero.
 */
#pragma once

#include "model/model.h"
#include "base/arena.h"

enum value_kind {
	VALUE_STRUCTURE,
	VALUE_LIST,
	VALUE_MAP,
	VALUE_STRING, /* enumerations too */
	VALUE_INTEGER,
	VALUE_DOUBLE,
	VALUE_BOOLEAN,
	VALUE_TIME, /* integer: milliseconds since 1970 */
	VALUE_BLOB,
};

struct value {
	u8 kind; /* enum value_kind */
	u16 shape;
	u32 count; /* members that are set, items, bytes of text */
	u32 room;
	struct arena *arena;       /* containers: where members go */
	const struct model *model; /* containers */
	union {
		const char *text;
		s64 integer;
		double number;
		bool boolean;
		struct value_field *fields;
		struct value **items; /* list; map: key, value, key, … */
	};
};

struct value_field {
	u16 member; /* ascending */
	struct value *value;
};

/* An empty value of a shape: structure, list or map; scalars: "", 0, false. */
struct value *value_new(struct arena *a, const struct model *m, unsigned shape);
/* A copy in an arena. */
struct value *value_copy(struct arena *a, const struct value *v);
bool value_equal(const struct value *a, const struct value *b);

static inline const struct model_shape *value_shape(const struct value *v)
{
	return &v->model->shapes[v->shape];
}

/* ---- members of a structure; NULL and the defaults stand for "not set" ---- */

struct value *value_get(const struct value *v, const char *name);
struct value *value_at(const struct value *v, unsigned member); /* by index */
const char *value_string(const struct value *v, const char *name);
s64 value_integer(const struct value *v, const char *name, s64 otherwise);
bool value_boolean(const struct value *v, const char *name, bool otherwise);
/* A member of a member …, "State.Name". */
const char *value_path(const struct value *v, const char *path);

struct value *value_put(struct value *v, const char *name, struct value *member);
void value_put_at(struct value *v, unsigned index, struct value *member);
void value_set_string(struct value *v, const char *name, const char *text); /* NULL: as value_remove() */
void value_set_integer(struct value *v, const char *name, s64 integer);
void value_set_double(struct value *v, const char *name, double number);
void value_set_boolean(struct value *v, const char *name, bool boolean);
void value_set_time(struct value *v, const char *name, s64 ms);
void value_remove(struct value *v, const char *name);
/* The member, made if it is not there: a structure or a list. */
struct value *value_open(struct value *v, const char *name);

/* ---- lists ---- */

static inline unsigned value_count(const struct value *v)
{
	return v ? v->count : 0;
}
static inline struct value *value_item(const struct value *v, unsigned i)
{
	return v->items[i];
}
/* A new item at the end: a structure, list or scalar of the item's shape. */
struct value *value_append(struct value *list);
void value_append_string(struct value *list, const char *text);
void value_append_value(struct value *list, struct value *item);
void value_delete_item(struct value *list, unsigned i);
bool value_has_string(const struct value *list, const char *text);
