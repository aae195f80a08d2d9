#include "region/permission.h"
#include "region/link.h"

#include <string.h>

static bool is_account(const char *text)
{
	return strlen(text) == 12 && strspn(text, "0123456789") == 12;
}

/* arn:aws:organizations::123456789012:organization/o-…, …:ou/o-…/ou-… */
static bool is_arn(const char *text, const char *kind)
{
	static const char head[] = "arn:aws:organizations::";
	const char *at = text + strlen(head);

	return !strncmp(text, head, strlen(head)) && strspn(at, "0123456789") == 12 &&
	       !strncmp(at + 12, kind, strlen(kind)) && at[12 + strlen(kind)] && strlen(text) < 300;
}

/* NULL with a fault. */
static const char *read_who(struct request *r, const struct value *v)
{
	const bool text = v->kind == VALUE_STRING;
	const char *group = text ? NULL : value_string(v, "Group"),
	           *user = text ? v->text : value_string(v, "UserId"), *arn = NULL;

	if (text && (is_arn(v->text, ":organization/o-") || is_arn(v->text, ":ou/o-")))
		return v->text;
	if (text && !strncmp(v->text, "arn:", 4))
		arn = v->text;
	else if (!text && model_member_find(v->model, value_shape(v), "OrganizationArn") >= 0) {
		const char *organization = value_string(v, "OrganizationArn"),
		           *unit = value_string(v, "OrganizationalUnitArn");

		arn = organization ? organization : unit;
		if (arn && is_arn(arn, organization ? ":organization/o-" : ":ou/o-"))
			return arn;
	}
	if (arn) {
		request_fail(r, "InvalidParameterValue", "The ARN '%.200s' is not valid", arn);
		return NULL;
	}
	if (group)
		user = group;
	if (user && (!strcmp(user, "all") || is_account(user)))
		return user;
	request_fail(r, "InvalidUserID.Malformed", "Invalid user id: \"%.64s\"", user ? user : "");
	return NULL;
}

int permission_change(struct request *r, const char *id, const char *what, bool add, const struct value *list)
{
	for (unsigned i = 0; i < value_count(list); i++) {
		const char *who = read_who(r, value_item(list, i));

		if (!who)
			return -1;
		if (add)
			link_add(r, id, what, who);
		else
			link_remove(r, id, what, who);
	}
	return 0;
}

void permission_show(struct request *r, const char *id, const char *what, struct value *list)
{
	const char **who = link_targets(r, id, what);

	for (unsigned i = 0; who[i]; i++)
		value_set_string(value_append(list),
		                 !strcmp(who[i], "all")               ? "Group"
		                 : is_account(who[i])                 ? "UserId"
		                 : strstr(who[i], ":organization/o-") ? "OrganizationArn"
		                                                      : "OrganizationalUnitArn",
		                 who[i]);
}

bool permission_has(struct request *r, const char *id, const char *what, const char *who)
{
	struct query *q = database_query(
	        r->cloud->db, "SELECT 1 FROM link WHERE source = $1 AND what = $2 AND target = $3");
	bool found = query_row(query_text(query_text(query_text(q, id), what), who));

	query_end(q);
	return found;
}

struct resource *permission_find(struct request *r, const struct resource_kind *kind, const char *id,
                                 const char *what)
{
	struct request owner = *r;
	struct query *q;
	bool found;

	if (!permission_has(r, id, what, "all") && !permission_has(r, id, what, r->account))
		return NULL;
	q = database_query(r->cloud->db, "SELECT account FROM resource WHERE id = $1 AND kind = $2 "
	                                 "AND region = $3");
	found = query_row(query_text(query_text(query_text(q, id), kind->name), r->region));
	if (found)
		owner.account = arena_strdup(r->arena, query_column_text(q, 0));
	query_end(q);
	return found ? resource_find(&owner, kind, id) : NULL;
}

const char **permission_visible(struct request *r, const struct resource_kind *kind, const char *what,
                                s64 after)
{
	struct query *q = database_query(
	        r->cloud->db,
	        "SELECT id, seq FROM resource WHERE kind = $1 AND account = $2 AND region = $3 AND seq > $4 "
	        "UNION SELECT s.id, s.seq FROM link l JOIN resource s ON s.id = l.source "
	        "WHERE l.target IN ($2, 'all') AND l.what = $5 AND s.kind = $1 AND s.region = $3 "
	        "AND s.seq > $4 ORDER BY 2");
	size_t count = 0, room = 16;
	const char **ids = arena_alloc(r->arena, room * sizeof(*ids));

	query_text(query_text(query_text(q, kind->name), r->account), r->region);
	query_text(query_integer(q, after), what);
	while (query_row(q)) {
		if (count + 1 == room) {
			const char **more = arena_alloc(r->arena, 2 * room * sizeof(*more));

			memcpy(more, ids, count * sizeof(*ids));
			ids = more;
			room *= 2;
		}
		ids[count++] = arena_strdup(r->arena, query_column_text(q, 0));
	}
	ids[count] = NULL;
	return ids;
}
