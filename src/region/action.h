/*
 * An API action: what a request asks for, and the function that does it.
 *
 * A file that has actions defines each with ACTION(service, Name) { … }; that is all it takes, the front
 * finds it by its name. The function finds its parameters in r->in (parsed, of the action's input shape,
 * required members present, enumerated values valid), fills r->out, and returns 0; or -1 with r->fault.
 *
 * It runs within a transaction, and only changes the database (database failures are sticky, see database.h:
 * no action looks for them). When it fails, or with DryRun, what it did is taken back. What is to be done in
 * the world follows the commit: request_wake().
 */
#pragma once

#include "model/fault.h"
#include "model/value.h"
#include "region/cloud.h"

struct request {
	struct cloud *cloud;
	struct arena *arena;
	const struct model *model;
	const struct model_action *action;
	const struct value *in;
	struct value *out; /* of the output shape; NULL if the action has none */
	struct fault *fault;
	const char *account, *region; /* whose, and where */
	const char *id;               /* of the request, a UUID */
	const char *key_id;           /* the access key that signed it */
	const char *policy;           /* of that key; NULL or "": all */
	const char *token;            /* ClientToken, if the model does not have it; else NULL */
	s64 now_ms;
	bool dry_run;
};

struct action {
	const char *service, *name;
	int (*fn)(struct request *r);
};

#define ACTION(service_, name_)                                                                              \
	static int action_##name_(struct request *r);                                                        \
	static const struct action row_##name_                                                               \
	        __attribute__((used, section("actions"), aligned(8))) = {#service_, #name_, action_##name_}; \
	static int action_##name_(struct request *r)

/* NULL: there is no function for it. */
const struct action *action_find(const char *service, const char *name);

/* request_fail(r, code, format, …): fills r->fault, is -1 */
#define request_fail(r, ...) fault_set((r)->fault, __VA_ARGS__)

/* The one of these members that the request has. NULL: MissingParameter, with what it is of ("subnet"), or
 * InvalidParameterCombination. */
const char *request_one_of(struct request *r, const char *const *members, unsigned count, const char *of);

/* Zones of a region: its name and a letter from a on. */
enum { REGION_ZONES = 3 };
bool region_has_zone(const char *region, const char *zone);
