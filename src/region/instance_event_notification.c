/* Which tags of instances notifications of their scheduled events have: of an account in a region. */
#include "region/link.h"
#include "region/resource.h"
#include "region/tag.h"
#include "model/json.h"

#include <string.h>

enum { KEYS_MOST = TAGS_MAX };

static const struct resource_kind row_kind = {.shape = "InstanceTagNotificationAttribute"};

static const char *place(struct request *r)
{
	return arena_printf(r->arena, "event-notification:%s:%s", r->account, r->region);
}

/* As it is stored; all tags are those without keys. */
static struct value *load(struct request *r)
{
	const char *text = property_get(r, place(r), "tags");
	unsigned shape = resource_shape(r->model, &row_kind);
	struct value *v = text ? json_parse(r->arena, r->model, shape, text, strlen(text)) : NULL;

	if (!v) {
		v = value_new(r->arena, r->model, shape);
		value_set_boolean(v, "IncludeAllTagsOfInstance", false);
	}
	value_open(v, "InstanceTagKeys");
	return v;
}

static void store(struct request *r, struct value *v)
{
	struct buffer b = {0};

	json_write(&b, v);
	property_set(r, place(r), "tags", buffer_str(&b));
	buffer_release(&b);
	value_put(r->out, "InstanceTagAttribute", v);
}

/* The request's attribute, with either of its members; NULL with a fault. */
static const struct value *attribute_of(struct request *r)
{
	const struct value *v = value_get(r->in, "InstanceTagAttribute");
	const struct value *keys = v ? value_get(v, "InstanceTagKeys") : NULL;

	if (!v || (!value_count(keys) && !value_get(v, "IncludeAllTagsOfInstance"))) {
		request_fail(r, "MissingParameter",
		             "The request must contain the parameter InstanceTagAttribute");
		return NULL;
	}
	if (value_count(keys) && value_boolean(v, "IncludeAllTagsOfInstance", false)) {
		request_fail(r, "InvalidParameterCombination",
		             "InstanceTagKeys and IncludeAllTagsOfInstance cannot be used together");
		return NULL;
	}
	for (unsigned i = 0; i < value_count(keys); i++) {
		const char *key = value_item(keys, i)->text;

		if (!*key || strlen(key) > TAG_KEY_MAX) {
			request_fail(r, "InvalidParameterValue", "A tag key has 1 to %d characters",
			             TAG_KEY_MAX);
			return NULL;
		}
	}
	return v;
}

ACTION(ec2, RegisterInstanceEventNotificationAttributes)
{
	const struct value *asked = attribute_of(r), *more;
	struct value *v, *keys;

	if (!asked)
		return -1;
	v = load(r);
	keys = value_open(v, "InstanceTagKeys");
	more = value_get(asked, "InstanceTagKeys");
	if (value_get(asked, "IncludeAllTagsOfInstance"))
		value_set_boolean(v, "IncludeAllTagsOfInstance",
		                  value_boolean(asked, "IncludeAllTagsOfInstance", false));
	for (unsigned i = 0; i < value_count(more); i++)
		if (!value_has_string(keys, value_item(more, i)->text))
			value_append_string(keys, value_item(more, i)->text);
	if (value_count(more))
		value_set_boolean(v, "IncludeAllTagsOfInstance", false);
	else if (value_boolean(v, "IncludeAllTagsOfInstance", false))
		keys->count = 0;
	if (keys->count > KEYS_MOST)
		return request_fail(r, "InvalidParameterValue", "At most %d tag keys can be registered",
		                    KEYS_MOST);
	store(r, v);
	return 0;
}

ACTION(ec2, DeregisterInstanceEventNotificationAttributes)
{
	const struct value *asked = attribute_of(r), *less;
	struct value *v, *keys;

	if (!asked)
		return -1;
	v = load(r);
	keys = value_open(v, "InstanceTagKeys");
	less = value_get(asked, "InstanceTagKeys");
	if (value_boolean(asked, "IncludeAllTagsOfInstance", false))
		value_set_boolean(v, "IncludeAllTagsOfInstance", false);
	for (unsigned i = keys->count; i-- > 0;)
		if (value_has_string(less, value_item(keys, i)->text))
			value_delete_item(keys, i);
	store(r, v);
	return 0;
}

ACTION(ec2, DescribeInstanceEventNotificationAttributes)
{
	value_put(r->out, "InstanceTagAttribute", load(r));
	return 0;
}
