#include "region/policy.h"
#include "base/wildcard.h"
#include "region/resource.h"

#include <stdio.h>
#include <string.h>

static bool concerns(bool allow, const char *pattern, const char *const *ids, unsigned count)
{
	unsigned matched = 0;

	if (!strcmp(pattern, "*"))
		return true;
	for (unsigned i = 0; i < count; i++)
		matched += wildcard_match(pattern, ids[i], 0);
	return allow ? count && matched == count : matched > 0;
}

bool policy_allows(const char *policy, const char *action, const char *const *ids, unsigned count)
{
	char effect[8], pattern[136], resource[136];
	bool allowed = !*policy;

	for (; *policy; policy += strcspn(policy, "\n"), policy += *policy == '\n') {
		bool allow;

		/* A line that cannot be read allows nothing. */
		if (sscanf(policy, "%7s %135s %135s", effect, pattern, resource) != 3)
			return false;
		allow = !strcmp(effect, "allow");
		if (!wildcard_match(pattern, action, WILDCARD_FOLD) || !concerns(allow, resource, ids, count))
			continue;
		if (!allow)
			return false;
		allowed = true;
	}
	return allowed;
}

/* ---- the ids of a request ---- */

struct ids {
	const char *list[POLICY_IDS];
	unsigned count;
	bool many; /* more than there is room for */
};

static void keep(struct ids *ids, const char *text)
{
	const struct resource_kind *kind = resource_kind_of(text);

	if (!kind || !kind->prefix || !resource_id_valid(kind->prefix, text))
		return;
	if (ids->count == POLICY_IDS)
		ids->many = true;
	else
		ids->list[ids->count++] = text;
}

static void collect(const struct value *v, struct ids *ids)
{
	switch (v->kind) {
	case VALUE_STRING:
		keep(ids, v->text);
		break;
	case VALUE_STRUCTURE:
		for (unsigned i = 0; i < v->count; i++)
			collect(v->fields[i].value, ids);
		break;
	case VALUE_LIST:
		for (unsigned i = 0; i < v->count; i++)
			collect(v->items[i], ids);
		break;
	default:
		break;
	}
}

int policy_check(struct request *r, const char *service, const char *action, const char *extra)
{
	const char *name = arena_printf(r->arena, "%s:%s", service, action);
	struct ids *ids;

	/* Who one is may always be asked, as in AWS. */
	if (!r->policy || !*r->policy || !strcmp(name, "sts:GetCallerIdentity"))
		return 0;
	ids = arena_alloc(r->arena, sizeof(*ids));
	if (extra)
		ids->list[ids->count++] = extra;
	if (r->in && r->in->shape != MODEL_NONE)
		collect(r->in, ids);
	if (!ids->many && policy_allows(r->policy, name, ids->list, ids->count))
		return 0;
	return request_fail(r, strcmp(service, "sts") ? "UnauthorizedOperation" : "AccessDenied",
	                    "You are not authorized to perform this operation.");
}
