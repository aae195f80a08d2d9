/* Tags: a resource's document has them as the API shows them, the table `tag` finds resources by them. */
#pragma once

#include "region/resource.h"

/* EC2: tags of a resource, lengths of key and value. */
enum { TAGS_MAX = 50, TAG_KEY_MAX = 128, TAG_VALUE_MAX = 256 };

/* The tags of a document, NULL: it has none, or cannot have any (tag_member() is NULL). */
const struct value *tag_list(const struct value *doc);
/* The name of their member: "Tags", or "TagSet". */
const char *tag_member(const struct value *doc);
/* Writes the tags of the document to the table. */
void tag_store(struct request *r, const struct resource *res);
/* Takes over the tags that the request's TagSpecifications have for this kind. -1: a tag is invalid, or for a
 * kind that the action does not make (others: further kinds that it does make, NULL at the end). */
int tag_specifications(struct request *r, struct resource *res, const char *const *others);
