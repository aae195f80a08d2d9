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
bool filter_text_match(const char *pattern, const char *text);
