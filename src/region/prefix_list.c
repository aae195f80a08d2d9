#include "region/prefix_list.h"
#include "base/buffer.h"
#include "base/cidr.h"
#include "region/describe.h"
#include "region/filter.h"
#include "region/link.h"
#include "region/tag.h"

#include <stdlib.h>
#include <string.h>

RESOURCE_KIND(prefix_list_kind) = {
        .name = "prefix-list",
        .prefix = "pl-",
        .shape = "ManagedPrefixList",
        .id = "PrefixListId",
        .noun = "PrefixListID",
        .malformed = "InvalidPrefixListId.Malformed",
};

enum { LISTS_MAX = 500, ENTRIES_MAX = 1000, TEXT_MAX = 255, CHANGES_MAX = 100 };

/* ---- entries ---- */

struct entry {
	const char *cidr, *description; /* "" if none */
};

struct entries {
	struct entry *list;
	unsigned count;
};

static const char *version_key(struct request *r, s64 version)
{
	return arena_printf(r->arena, "entries:%lld", (long long)version);
}

/* False: there is no such version. Room for CHANGES_MAX more. */
static bool read_entries(struct request *r, const struct resource *list, s64 version, struct entries *out)
{
	const char *text = property_get(r, list->id, version_key(r, version));
	char *line, *rest;

	if (!text)
		return false;
	out->list = arena_alloc(r->arena, (ENTRIES_MAX + CHANGES_MAX) * sizeof(*out->list));
	out->count = 0;
	for (line = arena_strdup(r->arena, text); *line && out->count < ENTRIES_MAX; line = rest) {
		char *tab = strchr(line, '\t');

		rest = strchr(line, '\n');
		if (!tab || !rest)
			break;
		*tab = 0;
		*rest++ = 0;
		out->list[out->count++] = (struct entry){line, tab + 1};
	}
	return true;
}

static void write_entries(struct request *r, const struct resource *list, s64 version,
                          const struct entries *e)
{
	struct buffer b = {0};

	for (unsigned i = 0; i < e->count; i++) {
		buffer_text(&b, e->list[i].cidr);
		buffer_text(&b, "\t");
		buffer_text(&b, e->list[i].description);
		buffer_text(&b, "\n");
	}
	property_set(r, list->id, version_key(r, version), buffer_str(&b));
	buffer_release(&b);
}

static struct entry *find_entry(const struct entries *e, const char *cidr)
{
	for (unsigned i = 0; i < e->count; i++)
		if (!strcmp(e->list[i].cidr, cidr))
			return &e->list[i];
	return NULL;
}

static const char *read_cidr(struct request *r, const struct resource *list, const char *text)
{
	bool v6 = !strcmp(value_string(list->doc, "AddressFamily"), "IPv6");
	struct cidr c;

	if (cidr_parse(&c, text) < 0 || c.first.v6 != v6) {
		request_fail(r, "InvalidParameterValue",
		             "Value (%.64s) for parameter Cidr is invalid: not a block of %s", text,
		             v6 ? "IPv6" : "IPv4");
		return NULL;
	}
	return cidr_text(r->arena, c);
}

static int add_entries(struct request *r, const struct resource *list, const struct value *in,
                       struct entries *e)
{
	if (value_count(in) > CHANGES_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "At most %d entries are changed with each request", CHANGES_MAX);
	for (unsigned i = 0; i < value_count(in); i++) {
		const char *description = value_string(value_item(in, i), "Description");
		const char *cidr = read_cidr(r, list, value_string(value_item(in, i), "Cidr"));
		struct entry *has;

		if (!cidr)
			return -1;
		if (!description)
			description = "";
		if (strlen(description) > TEXT_MAX || strpbrk(description, "\t\n\r"))
			return request_fail(
			        r, "InvalidParameterValue",
			        "The description of an entry has at most %d characters, on one line",
			        TEXT_MAX);
		has = find_entry(e, cidr);
		if (has)
			has->description = description;
		else
			e->list[e->count++] = (struct entry){cidr, description};
	}
	return 0;
}

static int check_size(struct request *r, const struct resource *list, const struct entries *e)
{
	s64 most = value_integer(list->doc, "MaxEntries", 0);

	if (e->count > most)
		return request_fail(r, "PrefixListMaxEntriesExceeded",
		                    "You've reached the maximum number of entries for the prefix list: %lld",
		                    (long long)most);
	return 0;
}

/* ---- life ---- */

static struct resource *new_list(struct request *r, const char *name, const char *family, s64 most)
{
	struct resource *list = resource_new(r, &prefix_list_kind);

	value_set_string(list->doc, "PrefixListName", name);
	value_set_string(list->doc, "AddressFamily", family);
	value_set_string(list->doc, "State", "create-complete");
	value_set_string(
	        list->doc, "PrefixListArn",
	        arena_printf(r->arena, "arn:aws:ec2:%s:%s:prefix-list/%s", r->region, r->account, list->id));
	if (most)
		value_set_integer(list->doc, "MaxEntries", most);
	value_set_integer(list->doc, "Version", 1);
	return list;
}

void prefix_list_create_own(struct request *r)
{
	static const char *const services[] = {"s3", "dynamodb"};

	for (unsigned i = 0; i < ARRAY_SIZE(services); i++) {
		struct resource *list = new_list(
		        r, arena_printf(r->arena, "com.amazonaws.%s.%s", r->region, services[i]), "IPv4", 0);

		value_set_string(list->doc, "OwnerId", "AWS");
		value_set_string(
		        list->doc, "PrefixListArn",
		        arena_printf(r->arena, "arn:aws:ec2:%s:aws:prefix-list/%s", r->region, list->id));
		property_set(r, list->id, version_key(r, 1), "");
		resource_insert(r, list);
	}
}

static int check_name(struct request *r, const char *name)
{
	if (!*name || strlen(name) > TEXT_MAX || !strncmp(name, "com.amazonaws", 13))
		return request_fail(
		        r, "InvalidParameterValue",
		        "Value (%.255s) for parameter PrefixListName is invalid: 1 to %d characters, "
		        "not beginning with com.amazonaws",
		        name, TEXT_MAX);
	return 0;
}

static int check_most(struct request *r, s64 most)
{
	if (most < 1 || most > ENTRIES_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%lld) for parameter MaxEntries is invalid: 1 to %d",
		                    (long long)most, ENTRIES_MAX);
	return 0;
}

ACTION(ec2, CreateManagedPrefixList)
{
	const char *name = value_string(r->in, "PrefixListName"),
	           *family = value_string(r->in, "AddressFamily");
	s64 most = value_integer(r->in, "MaxEntries", 0);
	struct entries e = {0};
	struct resource *list;

	if (check_name(r, name) < 0 || check_most(r, most) < 0)
		return -1;
	if (strcmp(family, "IPv4") && strcmp(family, "IPv6"))
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.32s) for parameter AddressFamily is invalid: IPv4 or IPv6",
		                    family);
	if (resource_count(r, &prefix_list_kind, NULL) >= LISTS_MAX)
		return request_fail(r, "PrefixListLimitExceeded",
		                    "The maximum number of prefix lists has been reached.");
	list = new_list(r, name, family, most);
	e.list = arena_alloc(r->arena, CHANGES_MAX * sizeof(*e.list));
	if (add_entries(r, list, value_get(r->in, "Entries"), &e) < 0 || check_size(r, list, &e) < 0 ||
	    tag_specifications(r, list, NULL) < 0)
		return -1;
	write_entries(r, list, 1, &e);
	resource_insert(r, list);
	value_put(r->out, "PrefixList", list->doc);
	return 0;
}

/* The list of the request, which must be the account's own. NULL with r->fault. */
static struct resource *own_list(struct request *r)
{
	struct resource *list = resource_of(r, &prefix_list_kind, "PrefixListId");

	if (list && strcmp(value_string(list->doc, "OwnerId"), r->account)) {
		request_fail(r, "OperationNotPermitted", "The prefix list '%s' is AWS's own", list->id);
		return NULL;
	}
	return list;
}

static int check_version(struct request *r, const struct resource *list, const struct value *wanted)
{
	s64 is = value_integer(list->doc, "Version", 0);

	if (wanted && wanted->integer != is)
		return request_fail(r, "PrefixListVersionMismatch",
		                    "The prefix list has the incorrect version number: it is %lld",
		                    (long long)is);
	return 0;
}

static void next_version(struct request *r, struct resource *list, const struct entries *e, const char *state)
{
	s64 version = value_integer(list->doc, "Version", 0) + 1;

	write_entries(r, list, version, e);
	value_set_integer(list->doc, "Version", version);
	value_set_string(list->doc, "State", state);
}

ACTION(ec2, ModifyManagedPrefixList)
{
	const struct value *added = value_get(r->in, "AddEntries"),
	                   *removed = value_get(r->in, "RemoveEntries");
	const char *name = value_string(r->in, "PrefixListName");
	struct resource *list = own_list(r);
	struct entries e;

	if (!list)
		return -1;
	if (value_get(r->in, "MaxEntries") && (value_count(added) || value_count(removed)))
		return request_fail(r, "InvalidParameterCombination",
		                    "MaxEntries is not modified together with entries");
	if ((value_count(added) || value_count(removed)) && !value_get(r->in, "CurrentVersion"))
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter CurrentVersion");
	if (check_version(r, list, value_get(r->in, "CurrentVersion")) < 0 ||
	    (name && check_name(r, name) < 0))
		return -1;
	read_entries(r, list, value_integer(list->doc, "Version", 0), &e);
	if (value_get(r->in, "MaxEntries")) {
		if (check_most(r, value_integer(r->in, "MaxEntries", 0)) < 0)
			return -1;
		value_set_integer(list->doc, "MaxEntries", value_integer(r->in, "MaxEntries", 0));
	}
	for (unsigned i = 0; i < value_count(removed); i++) {
		const char *cidr = read_cidr(r, list, value_string(value_item(removed, i), "Cidr"));
		struct entry *has = cidr ? find_entry(&e, cidr) : NULL;

		if (!cidr)
			return -1;
		if (!has)
			return request_fail(r, "InvalidParameterValue",
			                    "The prefix list has no entry with the CIDR %s", cidr);
		for (struct entry *p = has; p + 1 < e.list + e.count; p++)
			*p = p[1];
		e.count--;
	}
	if (add_entries(r, list, added, &e) < 0 || check_size(r, list, &e) < 0)
		return -1;
	if (name)
		value_set_string(list->doc, "PrefixListName", name);
	value_set_string(list->doc, "State", "modify-complete");
	if (value_count(added) || value_count(removed))
		next_version(r, list, &e, "modify-complete");
	resource_save(r, list);
	value_put(r->out, "PrefixList", list->doc);
	return 0;
}

ACTION(ec2, RestoreManagedPrefixListVersion)
{
	s64 previous = value_integer(r->in, "PreviousVersion", 0);
	struct resource *list = own_list(r);
	struct entries e;

	if (!list || check_version(r, list, value_get(r->in, "CurrentVersion")) < 0)
		return -1;
	if (!read_entries(r, list, previous, &e))
		return request_fail(r, "PrefixListVersionNotFound",
		                    "The version %lld of the prefix list '%s' does not exist",
		                    (long long)previous, list->id);
	if (check_size(r, list, &e) < 0)
		return -1;
	next_version(r, list, &e, "restore-complete");
	resource_save(r, list);
	value_put(r->out, "PrefixList", list->doc);
	return 0;
}

ACTION(ec2, DeleteManagedPrefixList)
{
	struct resource *list = own_list(r);

	if (!list)
		return -1;
	if (link_source(r, list->id, "peer") || link_source(r, list->id, "route"))
		return request_fail(r, "DependencyViolation", "The prefix list '%s' is in use", list->id);
	value_set_string(list->doc, "State", "delete-complete");
	resource_delete(r, list);
	value_put(r->out, "PrefixList", list->doc);
	return 0;
}

/* ---- showing them ---- */

ACTION(ec2, DescribeManagedPrefixLists)
{
	static const struct describe d = {
	        .kind = &prefix_list_kind, .list = "PrefixLists", .ids = "PrefixListIds"};

	return describe_run(r, &d);
}

ACTION(ec2, GetManagedPrefixListEntries)
{
	struct resource *list = resource_of(r, &prefix_list_kind, "PrefixListId");
	struct value *out = value_open(r->out, "Entries");
	struct entries e;
	unsigned most;
	s64 after, version;

	if (!list || describe_page(r, &most, &after) < 0)
		return -1;
	version = value_integer(r->in, "TargetVersion", value_integer(list->doc, "Version", 0));
	if (!read_entries(r, list, version, &e))
		return request_fail(r, "PrefixListVersionNotFound",
		                    "The version %lld of the prefix list '%s' does not exist",
		                    (long long)version, list->id);
	for (s64 i = after; i < (s64)e.count; i++) {
		struct value *item;

		if (most && out->count == most) {
			describe_next(r, i);
			break;
		}
		item = value_append(out);
		value_set_string(item, "Cidr", e.list[i].cidr);
		value_set_string(item, "Description", *e.list[i].description ? e.list[i].description : NULL);
	}
	return 0;
}

ACTION(ec2, GetManagedPrefixListAssociations)
{
	struct resource *list = resource_of(r, &prefix_list_kind, "PrefixListId");
	struct value *out = value_open(r->out, "PrefixListAssociations");
	static const char *const links[] = {"peer", "route"};
	unsigned most;
	s64 after, at = 0;

	if (!list || describe_page(r, &most, &after) < 0)
		return -1;
	for (unsigned k = 0; k < ARRAY_SIZE(links); k++) {
		for (const char **ids = link_sources(r, list->id, links[k]); *ids; ids++) {
			const struct resource_kind *kind = resource_kind_of(*ids);
			struct resource *user = kind ? resource_find(r, kind, *ids) : NULL;
			const char *id = user && !k ? user->parent : *ids; /* a rule: its group */
			bool there = false;

			for (unsigned i = 0; i < out->count; i++)
				there |= !strcmp(value_string(value_item(out, i), "ResourceId"), id);
			if (!user || there || at++ < after)
				continue;
			if (most && out->count == most) {
				describe_next(r, at - 1);
				return 0;
			}
			value_set_string(value_append(out), "ResourceId", id);
			value_set_string(value_item(out, out->count - 1), "ResourceOwner", r->account);
		}
	}
	return 0;
}

/* AWS's own, with their blocks. */
static const struct resource_kind own_kind = {.name = "prefix-list", .shape = "PrefixList"};

ACTION(ec2, DescribePrefixLists)
{
	const struct value *ids = value_get(r->in, "PrefixListIds");
	struct value *out = value_open(r->out, "PrefixLists");
	struct filter *wanted;
	struct resource **lists;
	unsigned most;
	s64 after, last = 0;

	if (filter_read(r, &own_kind, &wanted) < 0 || describe_page(r, &most, &after) < 0)
		return -1;
	for (unsigned i = 0; i < value_count(ids); i++)
		if (!resource_get(r, &prefix_list_kind, value_item(ids, i)->text))
			return -1;
	for (lists = resource_list(r, &prefix_list_kind, NULL); *lists; lists++) {
		struct value *v = value_new(r->arena, r->model, resource_shape(r->model, &own_kind));
		struct entries e = {0};

		if (strcmp(value_string((*lists)->doc, "OwnerId"), "AWS") || (*lists)->seq <= after ||
		    (value_count(ids) && !value_has_string(ids, (*lists)->id)))
			continue;
		value_set_string(v, "PrefixListId", (*lists)->id);
		value_set_string(v, "PrefixListName", value_string((*lists)->doc, "PrefixListName"));
		value_open(v, "Cidrs");
		read_entries(r, *lists, value_integer((*lists)->doc, "Version", 1), &e);
		for (unsigned i = 0; i < e.count; i++)
			value_append_string(value_get(v, "Cidrs"), e.list[i].cidr);
		if (!filter_match(wanted, v))
			continue;
		if (most && out->count == most) {
			describe_next(r, last);
			break;
		}
		value_append_value(out, v);
		last = (*lists)->seq;
	}
	return 0;
}

const char **prefix_list_blocks(struct request *r, const char *id)
{
	struct resource *list = resource_find(r, &prefix_list_kind, id);
	struct entries e = {0};
	const char **out;

	if (list)
		read_entries(r, list, value_integer(list->doc, "Version", 1), &e);
	out = arena_alloc(r->arena, (e.count + 1) * sizeof(*out));
	for (unsigned i = 0; i < e.count; i++)
		out[i] = e.list[i].cidr;
	return out;
}
