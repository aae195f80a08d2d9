/*
 * Requests of the ec2 and query protocols: pairs like Filter.1.Value.2=x into a value of the action's input
 * shape. (AWS: "EC2 query protocol"; lists are Name.N in ec2, Name.member.N in query.)
 */
#pragma once

#include "model/fault.h"
#include "api/form.h"
#include "model/value.h"

/* Items of a list, and depth of a path, at most. */
enum { QUERY_ITEMS_MAX = 4096, QUERY_DEPTH_MAX = 16 };

/* NULL with f filled: UnknownParameter, InvalidParameterValue. */
struct value *query_parse(struct arena *a, const struct model *m, const struct model_action *action,
                          const struct form *form, struct fault *f);

/* Required members, enumerated values, lengths and ranges, everywhere in v; in the names of the query
 * string. -1 with f filled: MissingParameter, InvalidParameterValue. */
int query_validate(const struct value *v, struct fault *f);
