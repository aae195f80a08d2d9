/* Plans as JSON: a table says what the members of each structure are. */
#include "net/plan.h"
#include "base/cidr.h"

#include <stdio.h>
#include <string.h>

enum kind { FLAG, NUMBER, ID, ADDRESS, BLOCK, MAC, LABEL, STRUCTURE, LIST, IDS, ADDRESSES, BLOCKS, LABELS };

struct shape;
struct member {
	const char *name;
	enum kind kind;
	size_t offset, count; /* of a list's number of items */
	const struct shape *of;
};
struct shape {
	size_t size;
	struct member members[32]; /* no name: the end */
};

/* clang-format off */
#define ONE(type, name_, kind_) {#name_, kind_, offsetof(struct type, name_), 0, NULL}
#define MANY(type, name_, kind_, of_) \
	{#name_, kind_, offsetof(struct type, name_), offsetof(struct type, name_##_count), of_}

static const struct shape route = {sizeof(struct plan_route), {
	ONE(plan_route, to, BLOCK), ONE(plan_route, kind, ID), ONE(plan_route, target, ID)}};
static const struct shape table = {sizeof(struct plan_table), {
	ONE(plan_table, id, ID), MANY(plan_table, routes, LIST, &route)}};
static const struct shape acl_entry = {sizeof(struct plan_acl_entry), {
	ONE(plan_acl_entry, egress, FLAG), ONE(plan_acl_entry, allow, FLAG), ONE(plan_acl_entry, cidr, BLOCK),
	ONE(plan_acl_entry, protocol, NUMBER), ONE(plan_acl_entry, from, NUMBER), ONE(plan_acl_entry, to, NUMBER),
	ONE(plan_acl_entry, icmp_type, NUMBER), ONE(plan_acl_entry, icmp_code, NUMBER)}};
static const struct shape acl = {sizeof(struct plan_acl), {
	ONE(plan_acl, id, ID), MANY(plan_acl, entries, LIST, &acl_entry)}};
static const struct shape subnet = {sizeof(struct plan_subnet), {
	ONE(plan_subnet, id, ID), ONE(plan_subnet, cidr, BLOCK), ONE(plan_subnet, cidr6, BLOCK),
	ONE(plan_subnet, table, ID), ONE(plan_subnet, acl, ID), ONE(plan_subnet, dns64, FLAG)}};
static const struct shape rule = {sizeof(struct plan_rule), {
	ONE(plan_rule, egress, FLAG), ONE(plan_rule, protocol, NUMBER), ONE(plan_rule, from, NUMBER),
	ONE(plan_rule, to, NUMBER), ONE(plan_rule, icmp_type, NUMBER), ONE(plan_rule, icmp_code, NUMBER),
	ONE(plan_rule, cidr, BLOCK), ONE(plan_rule, group, ID), MANY(plan_rule, prefixes, BLOCKS, NULL)}};
static const struct shape group = {sizeof(struct plan_group), {
	ONE(plan_group, id, ID), MANY(plan_group, members, ADDRESSES, NULL),
	MANY(plan_group, rules, LIST, &rule)}};
static const struct shape public = {sizeof(struct plan_public), {
	ONE(plan_public, address, ADDRESS), ONE(plan_public, private, ADDRESS)}};
static const struct shape interface = {sizeof(struct plan_interface), {
	ONE(plan_interface, id, ID), ONE(plan_interface, tap, ID), ONE(plan_interface, instance, ID),
	ONE(plan_interface, subnet, ID), ONE(plan_interface, mac, MAC), ONE(plan_interface, name, ID),
	MANY(plan_interface, addresses, ADDRESSES, NULL), MANY(plan_interface, addresses6, ADDRESSES, NULL),
	MANY(plan_interface, prefixes, BLOCKS, NULL), MANY(plan_interface, groups, IDS, NULL),
	MANY(plan_interface, publics, LIST, &public), ONE(plan_interface, device, NUMBER),
	ONE(plan_interface, check, FLAG), ONE(plan_interface, log, FLAG),
	ONE(plan_interface, log_only, ID)}};
static const struct shape nat = {sizeof(struct plan_nat), {
	ONE(plan_nat, id, ID), ONE(plan_nat, subnet, ID), ONE(plan_nat, private, ADDRESS),
	ONE(plan_nat, public, ADDRESS)}};
static const struct shape peering = {sizeof(struct plan_peering), {
	ONE(plan_peering, id, ID), ONE(plan_peering, vpc, ID), MANY(plan_peering, cidrs, BLOCKS, NULL)}};
static const struct shape name = {sizeof(struct plan_name), {
	ONE(plan_name, name, LABEL), ONE(plan_name, address, ADDRESS), ONE(plan_name, reverse, FLAG)}};
static const struct shape dhcp = {sizeof(struct plan_dhcp), {
	ONE(plan_dhcp, domain, LABEL), MANY(plan_dhcp, dns, LABELS, NULL), MANY(plan_dhcp, ntp, LABELS, NULL),
	MANY(plan_dhcp, netbios, LABELS, NULL), ONE(plan_dhcp, netbios_type, NUMBER)}};
static const struct shape plan = {sizeof(struct plan), {
	ONE(plan, vpc, ID), ONE(plan, region, ID), ONE(plan, account, ID), ONE(plan, generation, NUMBER),
	ONE(plan, host, ADDRESS), ONE(plan, internet, FLAG), ONE(plan, egress_only, FLAG), ONE(plan, dns, FLAG),
	ONE(plan, dns_names, FLAG), MANY(plan, cidrs, BLOCKS, NULL), MANY(plan, cidrs6, BLOCKS, NULL),
	{"dhcp", STRUCTURE, offsetof(struct plan, dhcp), 0, &dhcp}, MANY(plan, subnets, LIST, &subnet),
	MANY(plan, tables, LIST, &table), MANY(plan, acls, LIST, &acl), MANY(plan, groups, LIST, &group),
	MANY(plan, interfaces, LIST, &interface), MANY(plan, nats, LIST, &nat),
	MANY(plan, peerings, LIST, &peering), MANY(plan, names, LIST, &name)}};
/* clang-format on */

/* ---- names ---- */

static void host_name(char out[PLAN_TAP], const char *prefix, const char *id)
{
	const char *dash = strchr(id, '-'), *rest = dash ? dash + 1 : id;
	size_t length = strlen(rest);

	snprintf(out, PLAN_TAP, "%.3s%.12s", prefix, length > 12 ? rest + length - 12 : rest);
}

void plan_tap_name(char out[PLAN_TAP], const char *id)
{
	host_name(out, "eni", id);
}

void plan_uplink_name(char out[PLAN_TAP], const char *id)
{
	host_name(out, "vpc", id);
}

void plan_peering_name(char out[PLAN_TAP], const char *id)
{
	host_name(out, "pcx", id);
}

/* ---- texts ---- */

static bool is_mac(const char *text)
{
	unsigned b[6];
	char again[18];

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return false;
	snprintf(again, sizeof(again), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
	return !strcmp(again, text);
}

static bool is_made_of(const char *text, const char *characters, size_t most)
{
	return strlen(text) <= most && text[strspn(text, characters)] == 0;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* Is text one of the kind, in its canonical form? "" is: it stands for none. */
static bool is_good(enum kind kind, const char *text)
{
	char again[CIDR_TEXT];
	struct cidr c;
	struct ip a;

	if (!*text)
		return true;
	switch (kind) {
	case ID:
		return is_made_of(text, LETTERS "-", 63) && *text != '-';
	case LABEL:
		return is_made_of(text, LETTERS "-_.: ", 1024);
	case MAC:
		return is_mac(text);
	case ADDRESS:
		if (ip_parse(&a, text) < 0)
			return false;
		ip_write(again, a);
		return !strcmp(again, text);
	case BLOCK:
		if (cidr_parse(&c, text) < 0)
			return false;
		cidr_write(again, c);
		return !strcmp(again, text);
	default:
		return false;
	}
}

static enum kind item_kind(enum kind list)
{
	return list == IDS ? ID : list == ADDRESSES ? ADDRESS : list == BLOCKS ? BLOCK : LABEL;
}

/* ---- writing ---- */

static json_t *write_structure(const struct shape *shape, const char *at);

static json_t *write_list(const struct member *m, const char *at)
{
	const char *items = *(const char *const *)(at + m->offset);
	unsigned count = *(const unsigned *)(at + m->count);
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(list, m->kind == LIST ? write_structure(m->of, items + i * m->of->size)
		                                            : json_string(((const char *const *)items)[i]));
	return list;
}

static json_t *write_structure(const struct shape *shape, const char *at)
{
	json_t *object = json_object(), *v;

	for (const struct member *m = shape->members; m->name; m++) {
		switch (m->kind) {
		case FLAG:
			v = json_boolean(*(const bool *)(at + m->offset));
			break;
		case NUMBER:
			v = json_integer(*(const s64 *)(at + m->offset));
			break;
		case STRUCTURE:
			v = write_structure(m->of, at + m->offset);
			break;
		case ID:
		case ADDRESS:
		case BLOCK:
		case MAC:
		case LABEL: {
			const char *text = *(const char *const *)(at + m->offset);

			v = json_string(text ? text : "");
			break;
		}
		default:
			v = write_list(m, at);
		}
		json_object_set_new(object, m->name, v);
	}
	return object;
}

json_t *plan_write(const struct plan *p)
{
	return write_structure(&plan, (const char *)p);
}

/* ---- reading ---- */

static int read_structure(const struct shape *shape, char *at, const json_t *from, struct arena *a,
                          struct error *e);

static int bad(const struct member *m, struct error *e)
{
	return error_set(e, 0, "%s: not what belongs there", m->name);
}

static int read_text(const struct member *m, enum kind kind, const char **to, const json_t *v,
                     struct arena *a, struct error *e)
{
	const char *text = v ? json_string_value(v) : "";

	if (!text || !is_good(kind, text))
		return bad(m, e);
	*to = arena_strdup(a, text);
	return 0;
}

static int read_list(const struct member *m, char *at, const json_t *v, struct arena *a, struct error *e)
{
	unsigned count = (unsigned)json_array_size(v);
	size_t size = m->kind == LIST ? m->of->size : sizeof(char *);
	char *items = arena_alloc(a, (count + 1) * size);

	if (v && !json_is_array(v))
		return bad(m, e);
	for (unsigned i = 0; i < count; i++) {
		const json_t *item = json_array_get(v, i);
		int status = m->kind == LIST ? read_structure(m->of, items + i * size, item, a, e)
		                             : read_text(m, item_kind(m->kind),
		                                         (const char **)(void *)items + i, item, a, e);

		if (status < 0)
			return m->kind == LIST ? error_prefix(e, "%s[%u]", m->name, i) : -1;
	}
	*(char **)(at + m->offset) = items;
	*(unsigned *)(at + m->count) = count;
	return 0;
}

static int read_structure(const struct shape *shape, char *at, const json_t *from, struct arena *a,
                          struct error *e)
{
	if (from && !json_is_object(from))
		return error_set(e, 0, "not an object");
	for (const struct member *m = shape->members; m->name; m++) {
		const json_t *v = json_object_get(from, m->name);

		switch (m->kind) {
		case FLAG:
			if (v && !json_is_boolean(v))
				return bad(m, e);
			*(bool *)(at + m->offset) = json_is_true(v);
			break;
		case NUMBER:
			if (v && !json_is_integer(v))
				return bad(m, e);
			*(s64 *)(at + m->offset) = json_integer_value(v);
			break;
		case STRUCTURE:
			if (read_structure(m->of, at + m->offset, v, a, e) < 0)
				return error_prefix(e, "%s", m->name);
			break;
		case ID:
		case ADDRESS:
		case BLOCK:
		case MAC:
		case LABEL:
			if (read_text(m, m->kind, (const char **)(void *)(at + m->offset), v, a, e) < 0)
				return -1;
			break;
		default:
			if (read_list(m, at, v, a, e) < 0)
				return -1;
		}
	}
	return 0;
}

int plan_read(struct plan *p, const json_t *from, struct arena *a, struct error *e)
{
	if (!json_is_object(from))
		return error_set(e, 0, "the plan is not an object");
	if (read_structure(&plan, (char *)p, from, a, e) < 0)
		return error_prefix(e, "the plan");
	if (!*p->vpc)
		return error_set(e, 0, "the plan: vpc: it has none");
	return 0;
}
