/*
 * Filters of Describe actions (EC2 User Guide, "List and filter your resources"): values of one filter are
 * alternatives, all filters must match; * and ? stand for any characters, \ takes away their meaning.
 */
#pragma once

#include "region/resource.h"

struct filter;

/* The request's filters for documents of a kind. 0, or -1: a filter that the action does not have. */
int filter_read(struct request *r, const struct resource_kind *kind, struct filter **out);
bool filter_match(const struct filter *f, const struct value *doc);

/* What an index can be asked (scan.h). */
struct filter *filter_next(const struct filter *f);
const struct value *filter_values(const struct filter *f);
/* No value has a wildcard. */
bool filter_is_exact(const struct filter *f);
/* Is it "tag-key"? */
bool filter_is_tag_key(const struct filter *f);
/* Is it for the parent of the kind's resources? */
bool filter_is_parent(const struct filter *f, const struct resource_kind *kind);
/* KEY of "tag:KEY", or NULL. */
const char *filter_tag(const struct filter *f);
/* Does it look at this path of the kind's documents, and at nothing else? */
bool filter_is_path(const struct filter *f, const struct model *m, const struct resource_kind *kind,
                    const char *path);
