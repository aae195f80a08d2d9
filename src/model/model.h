/*
 * What a service's API looks like: its actions, the shapes of what goes in and out, and the names on the
 * wire. The tables are made by tools/generate-model from botocore's service models, one `struct model` for
 * each service, constant and shared by all threads.
 *
 * Names lie in one pool (`text`) and are said by their offset. Members of a structure, and actions, are in
 * the order of their names, so that they are found by bisection.
 */
#pragma once

#include "base/types.h"

enum model_protocol { PROTOCOL_EC2, PROTOCOL_QUERY, PROTOCOL_JSON, PROTOCOL_REST_JSON, PROTOCOL_REST_XML };

enum shape_type {
	SHAPE_STRUCTURE,
	SHAPE_LIST,
	SHAPE_MAP,
	SHAPE_STRING,
	SHAPE_INTEGER,
	SHAPE_LONG,
	SHAPE_FLOAT,
	SHAPE_DOUBLE,
	SHAPE_BOOLEAN,
	SHAPE_TIMESTAMP,
	SHAPE_BLOB,
};

#define MODEL_NONE 0xffff

enum { MEMBER_REQUIRED = 1, MEMBER_TOKEN = 2 /* an idempotency token */ };

struct model_member {
	u32 name, query, xml; /* in the API Reference, in a query string, in an answer */
	u16 shape;
	u8 flags; /* MEMBER_* */
};

enum { SHAPE_FLATTENED = 1, SHAPE_HAS_MIN = 2, SHAPE_HAS_MAX = 4 };

struct model_shape {
	u32 name;
	u8 type;      /* enum shape_type */
	u8 flags;     /* SHAPE_* */
	u16 count;    /* of members, or of enumerated values (0: any value) */
	u32 first;    /* in model.members or model.enums; map: shape of the key */
	u16 item;     /* list: shape of an item; map: of a value */
	u32 item_xml; /* list: element of an item */
	u32 pattern;  /* string: a regular expression, "" for none */
	s64 min, max; /* of a number, or of the length of a string or list */
};

struct model_action {
	u32 name;
	u16 input, output; /* shapes, or MODEL_NONE */
	u32 wrapper;       /* element around the result, "" for none */
	u32 filter_first;  /* in model.filters: names of documented filters, sorted */
	u16 filter_count;
};

struct model {
	const char *service, *version, *xml_namespace; /* service: as in a credential scope */
	enum model_protocol protocol;
	const char *text;
	const struct model_member *members;
	const u32 *enums;
	const struct model_shape *shapes;
	const u32 *filters;
	const struct model_action *actions;
	unsigned shape_count, action_count;
};

extern const struct model model_ec2, model_sts;

static inline const char *model_text(const struct model *m, u32 offset)
{
	return m->text + offset;
}

/* NULL if there is none. */
const struct model_action *model_action_find(const struct model *m, const char *name);
/* Index of the member among its shape's, or -1. */
int model_member_find(const struct model *m, const struct model_shape *s, const char *name);
static inline const struct model_member *model_member(const struct model *m, const struct model_shape *s,
                                                      unsigned index)
{
	return &m->members[s->first + index];
}
/* Is it one of the shape's enumerated values (true if the shape enumerates none)? */
bool model_enum_has(const struct model *m, const struct model_shape *s, const char *value);
bool model_filter_known(const struct model *m, const struct model_action *a, const char *name);
