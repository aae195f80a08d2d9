#include "region/tag.h"
#include "region/instance.h"
#include "region/instance_metadata.h"

#include <stdio.h>
#include <string.h>

const char *tag_member(const struct value *doc)
{
	if (model_member_find(doc->model, value_shape(doc), "Tags") >= 0)
		return "Tags";
	return model_member_find(doc->model, value_shape(doc), "TagSet") >= 0 ? "TagSet" : NULL;
}

const struct value *tag_list(const struct value *doc)
{
	return tag_member(doc) ? value_get(doc, tag_member(doc)) : NULL;
}

/* ---- table ---- */

void tag_store(struct request *r, const struct resource *res)
{
	const struct value *tags = tag_list(res->doc);

	query_run(query_text(database_query(r->cloud->db, "DELETE FROM tag WHERE resource = $1"), res->id));
	for (unsigned i = 0; i < value_count(tags); i++) {
		struct query *q =
		        database_query(r->cloud->db, "INSERT INTO tag VALUES ($1, $2, $3, $4, $5, $6, $7)");
		const char *value = value_string(value_item(tags, i), "Value");

		query_text(query_text(q, res->id), value_string(value_item(tags, i), "Key"));
		query_text(query_text(q, value ? value : ""), res->kind->name);
		query_run(query_integer(query_text(query_text(q, r->account), r->region), res->seq));
	}
}

/* ---- rules (EC2 User Guide, "Tag restrictions") ---- */

static int check_tag(struct request *r, const char *key, const char *value)
{
	if (!key || !*key)
		return request_fail(r, "InvalidParameterValue", "Tag key cannot be empty.");
	if (strlen(key) > TAG_KEY_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "Tag key exceeds the maximum length of %d characters: %.60s…",
		                    TAG_KEY_MAX, key);
	if (strlen(value) > TAG_VALUE_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "Tag value exceeds the maximum length of %d characters", TAG_VALUE_MAX);
	if (!strncasecmp(key, "aws:", 4))
		return request_fail(r, "InvalidParameterValue",
		                    "Tag keys starting with 'aws:' are reserved for internal use");
	return 0;
}

static int put(struct request *r, struct value *tags, const char *key, const char *value)
{
	struct value *tag = NULL;

	if (!value)
		value = "";
	if (check_tag(r, key, value) < 0)
		return -1;
	for (unsigned i = 0; i < tags->count; i++)
		if (!strcmp(value_string(value_item(tags, i), "Key"), key))
			tag = value_item(tags, i);
	if (!tag && tags->count == TAGS_MAX)
		return request_fail(r, "TagLimitExceeded", "You have reached the maximum number of tags (%d)",
		                    TAGS_MAX);
	if (!tag)
		tag = value_append(tags);
	value_set_string(tag, "Key", key);
	value_set_string(tag, "Value", value);
	return 0;
}

int tag_specifications(struct request *r, struct resource *res, const char *const *others)
{
	const struct value *list = value_get(r->in, "TagSpecifications");

	for (unsigned i = 0; i < value_count(list); i++) {
		const struct value *spec = value_item(list, i), *tags = value_get(spec, "Tags");
		const char *kind = value_string(spec, "ResourceType");
		bool other = false;

		if (!kind)
			return request_fail(r, "InvalidParameterValue",
			                    "Tag specification resource type must have a value");
		for (unsigned k = 0; others && others[k]; k++)
			other |= !strcmp(kind, others[k]);
		if (strcmp(kind, res->kind->name)) {
			if (other)
				continue;
			return request_fail(r, "InvalidParameterValue",
			                    "'%s' is not a valid taggable resource type for this operation.",
			                    kind);
		}
		for (unsigned k = 0; k < value_count(tags); k++)
			if (put(r, value_open(res->doc, tag_member(res->doc)),
			        value_string(value_item(tags, k), "Key"),
			        value_string(value_item(tags, k), "Value")) < 0)
				return -1;
	}
	return 0;
}

/* ---- actions ---- */

/* The resources of a request; NULL with a fault. */
static struct resource **resources(struct request *r, const struct value *ids)
{
	struct resource **list = arena_alloc(r->arena, (value_count(ids) + 1) * sizeof(struct resource *));

	for (unsigned i = 0; i < value_count(ids); i++) {
		const char *id = value_item(ids, i)->text;
		const struct resource_kind *kind = resource_kind_of(id);

		if (!kind) {
			request_fail(r, "InvalidID", "The ID '%.100s' is not valid", id);
			return NULL;
		}
		list[i] = resource_get(r, kind, id);
		if (!list[i])
			return NULL;
		if (!tag_member(list[i]->doc)) {
			request_fail(r, "InvalidParameterValue", "The resource %s cannot have tags", id);
			return NULL;
		}
	}
	return list;
}

ACTION(ec2, CreateTags)
{
	const struct value *ids = value_get(r->in, "Resources"), *tags = value_get(r->in, "Tags");
	struct resource **list;

	if (!value_count(ids))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter ResourceId");
	if (!value_count(tags))
		return request_fail(r, "MissingParameter", "The request must contain the parameter Tag");
	list = resources(r, ids);
	if (!list)
		return -1;
	for (unsigned i = 0; i < ids->count; i++) {
		for (unsigned k = 0; k < tags->count; k++)
			if (put(r, value_open(list[i]->doc, tag_member(list[i]->doc)),
			        value_string(value_item(tags, k), "Key"),
			        value_string(value_item(tags, k), "Value")) < 0)
				return -1;
		if (list[i]->kind == &instance_kind && instance_metadata_check_tags(r, list[i]->doc) < 0)
			return -1;
		resource_save(r, list[i]);
		tag_store(r, list[i]);
	}
	return 0;
}

/* Does the request want tag to go? No tags: all. A tag without a value: whatever its value is. */
static bool unwanted(const struct value *tags, const struct value *tag)
{
	const char *is = value_string(tag, "Value");

	for (unsigned i = 0; i < value_count(tags); i++) {
		const char *value = value_string(value_item(tags, i), "Value");
		const char *key = value_string(value_item(tags, i), "Key");

		if (key && !strcmp(key, value_string(tag, "Key")) && (!value || !strcmp(value, is ? is : "")))
			return true;
	}
	return !value_count(tags);
}

ACTION(ec2, DeleteTags)
{
	const struct value *ids = value_get(r->in, "Resources"), *tags = value_get(r->in, "Tags");
	struct resource **list;

	if (!value_count(ids))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter ResourceId");
	list = resources(r, ids);
	if (!list)
		return -1;
	for (unsigned i = 0; i < ids->count; i++) {
		struct value *has = value_get(list[i]->doc, tag_member(list[i]->doc));

		for (unsigned k = value_count(has); k-- > 0;)
			if (unwanted(tags, value_item(has, k)))
				value_delete_item(has, k);
		resource_save(r, list[i]);
		tag_store(r, list[i]);
	}
	return 0;
}
