#include "net/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- texts of bytes ---- */

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_hex(const char *text, u8 *out, size_t room, size_t *length)
{
	size_t n = strlen(text);

	if (n % 2 || n / 2 > room)
		return -1;
	for (size_t i = 0; i < n; i += 2) {
		int high = digit_of(text[i]), low = digit_of(text[i + 1]);

		if (high < 0 || low < 0)
			return -1;
		out[i / 2] = (u8)(high << 4 | low);
	}
	*length = n / 2;
	return 0;
}

static int sextet_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 §4, with its padding and nothing else. */
static int read_base64(const char *text, size_t length, u8 *out, size_t *out_length)
{
	size_t pad = 0, n = 0;
	u32 bits = 0;

	if (length % 4)
		return -1;
	while (length && pad < 2 && text[length - 1] == '=') {
		length--;
		pad++;
	}
	for (size_t i = 0; i < length; i++) {
		int v = sextet_of(text[i]);

		if (v < 0)
			return -1;
		bits = bits << 6 | (u32)v;
		if (i % 4)
			out[n++] = (u8)(bits >> (6 - 2 * (i % 4)));
	}
	*out_length = n;
	return 0;
}

/* ---- metadata ---- */

static int read_options(struct metadata *m, const json_t *options, struct error *e)
{
	const json_t *endpoint = json_object_get(options, "endpoint"),
	             *tokens = json_object_get(options, "tokens"), *hops = json_object_get(options, "hops"),
	             *ipv6 = json_object_get(options, "ipv6");
	const char *word = tokens ? json_string_value(tokens) : "optional";
	s64 count = hops ? json_integer_value(hops) : 1;

	if ((options && !json_is_object(options)) || (endpoint && !json_is_boolean(endpoint)) ||
	    (ipv6 && !json_is_boolean(ipv6)) || !word ||
	    (strcmp(word, "optional") && strcmp(word, "required")) || count < 1 || count > 64)
		return error_set(e, 0, "options: not what belongs there");
	m->endpoint = !endpoint || json_is_true(endpoint);
	m->tokens_required = !strcmp(word, "required");
	m->ipv6 = json_is_true(ipv6);
	m->hops = (u8)count;
	return 0;
}

static int read_metadata(struct config *c, struct metadata *m, const json_t *from, struct error *e)
{
	const json_t *secret = json_object_get(from, "secret"), *data = json_object_get(from, "user_data"),
	             *tree = json_object_get(from, "tree");

	if (!json_is_object(from))
		return error_set(e, 0, "not an object");
	if (read_options(m, json_object_get(from, "options"), e) < 0)
		return -1;
	if (secret &&
	    (!json_is_string(secret) ||
	     read_hex(json_string_value(secret), m->secret, sizeof(m->secret), &m->secret_length) < 0 ||
	     m->secret_length < 16))
		return error_set(e, 0, "secret: not 16 to 64 bytes in hexadecimal");
	if (data && !json_is_null(data)) {
		size_t size = json_string_length(data);
		u8 *bytes = json_is_string(data) ? arena_alloc(&c->arena, size / 4 * 3 + 1) : NULL;

		if (!bytes || read_base64(json_string_value(data), size, bytes, &m->user_data_length) < 0)
			return error_set(e, 0, "user_data: not Base64");
		m->user_data = bytes;
	}
	if (tree && !json_is_object(tree))
		return error_set(e, 0, "tree: not an object");
	m->tree = tree;
	return 0;
}

static int by_instance(const void *a, const void *b)
{
	return strcmp(((const struct metadata *)a)->instance, ((const struct metadata *)b)->instance);
}

static int read_instances(struct config *c, const json_t *from, struct error *e)
{
	unsigned count = (unsigned)json_object_size(from), i = 0;
	const char *id;
	json_t *v;

	if (from && !json_is_object(from))
		return error_set(e, 0, "instances: not an object");
	c->metadata = arena_alloc(&c->arena, (count + 1) * sizeof(*c->metadata));
	json_object_foreach((json_t *)from, id, v)
	{
		c->metadata[i].instance = id;
		if (read_metadata(c, &c->metadata[i], v, e) < 0)
			return error_prefix(e, "instance %.60s", id);
		i++;
	}
	c->metadata_count = i;
	qsort(c->metadata, i, sizeof(*c->metadata), by_instance);
	return 0;
}

/* ---- interfaces ---- */

static const struct plan_subnet *find_subnet(const struct plan *p, const char *id)
{
	for (unsigned i = 0; i < p->subnets_count; i++)
		if (!strcmp(p->subnets[i].id, id))
			return &p->subnets[i];
	return NULL;
}

static int read_addresses(struct config_interface *i, struct arena *a, struct error *e)
{
	const struct plan_interface *p = i->plan;

	i->v4_count = p->addresses_count;
	i->v6_count = p->addresses6_count;
	i->addresses = arena_alloc(a, (i->v4_count + i->v6_count + 1) * sizeof(*i->addresses));
	for (unsigned n = 0; n < i->v4_count + i->v6_count; n++) {
		bool v6 = n >= i->v4_count;
		const char *text = v6 ? p->addresses6[n - i->v4_count] : p->addresses[n];

		if (ip_parse(&i->addresses[n], text) < 0 || i->addresses[n].v6 != v6)
			return error_set(e, 0, "interface %s: an address of the wrong family", p->id);
	}
	i->prefixes = arena_alloc(a, (p->prefixes_count + 1) * sizeof(*i->prefixes));
	for (unsigned n = 0; n < p->prefixes_count; n++)
		if (cidr_parse(&i->prefixes[n], p->prefixes[n]) < 0)
			return error_set(e, 0, "interface %s: a prefix that is none", p->id);
	return 0;
}

static int by_tap(const void *a, const void *b)
{
	return strcmp(((const struct config_interface *)a)->plan->tap,
	              ((const struct config_interface *)b)->plan->tap);
}

static int read_interfaces(struct config *c, struct error *e)
{
	const struct plan *p = &c->plan;

	c->interfaces = arena_alloc(&c->arena, (p->interfaces_count + 1) * sizeof(*c->interfaces));
	for (unsigned n = 0; n < p->interfaces_count; n++) {
		struct config_interface *i = &c->interfaces[n];
		const char *mac = p->interfaces[n].mac;
		struct metadata key;

		i->plan = &p->interfaces[n];
		key.instance = i->plan->instance;
		if (!*i->plan->tap || strlen(i->plan->tap) >= PLAN_TAP || !*mac)
			return error_set(e, 0, "interface %.60s: no tap or no MAC", i->plan->id);
		for (unsigned b = 0; b < 6; b++)
			i->mac[b] = (u8)(digit_of(mac[3 * b]) << 4 | digit_of(mac[3 * b + 1]));
		i->subnet = find_subnet(p, i->plan->subnet);
		if (i->subnet && *i->subnet->cidr &&
		    (cidr_parse(&i->block, i->subnet->cidr) < 0 || i->block.first.v6))
			return error_set(e, 0, "subnet %s: a block of the wrong family", i->subnet->id);
		i->metadata = bsearch(&key, c->metadata, c->metadata_count, sizeof(key), by_instance);
		if (read_addresses(i, &c->arena, e) < 0)
			return -1;
	}
	c->interfaces_count = p->interfaces_count;
	qsort(c->interfaces, c->interfaces_count, sizeof(*c->interfaces), by_tap);
	for (unsigned n = 1; n < c->interfaces_count; n++)
		if (by_tap(&c->interfaces[n - 1], &c->interfaces[n]) == 0)
			return error_set(e, 0, "two interfaces on %s", c->interfaces[n].plan->tap);
	return 0;
}

static int read_blocks(struct config *c, struct error *e)
{
	const struct plan *p = &c->plan;
	unsigned count = p->cidrs_count + p->cidrs6_count;

	c->blocks = arena_alloc(&c->arena, (count + 1) * sizeof(*c->blocks));
	for (unsigned n = 0; n < count; n++) {
		bool v6 = n >= p->cidrs_count;
		const char *text = v6 ? p->cidrs6[n - p->cidrs_count] : p->cidrs[n];

		if (cidr_parse(&c->blocks[n], text) < 0 || c->blocks[n].first.v6 != v6)
			return error_set(e, 0, "the plan: a block of the wrong family");
	}
	c->v4_count = p->cidrs_count;
	c->v6_count = p->cidrs6_count;
	return 0;
}

/* ---- whole ---- */

static int read_all(struct config *c, struct error *e)
{
	if (!json_is_object(c->json))
		return error_set(e, 0, "not an object");
	if (plan_read(&c->plan, json_object_get(c->json, "plan"), &c->arena, e) < 0 ||
	    read_blocks(c, e) < 0 || read_instances(c, json_object_get(c->json, "instances"), e) < 0 ||
	    read_interfaces(c, e) < 0)
		return -1;
	return dns_zone_make(&c->zone, &c->plan, c->blocks, c->v4_count + c->v6_count, &c->arena, e);
}

struct config *config_parse(const char *bytes, size_t length, struct error *e)
{
	struct config *c = calloc(1, sizeof(*c));
	json_error_t where;

	if (!c) {
		error_set(e, ENOMEM, "a configuration");
		return NULL;
	}
	arena_init(&c->arena);
	c->since = time(NULL);
	c->json = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &where);
	if (!c->json) {
		error_set(e, 0, "line %d: %s", where.line, where.text);
	} else if (read_all(c, e) == 0) {
		return c;
	}
	/* One line: what JSON says of a text may quote it. */
	for (char *p = e->text; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	config_free(c);
	return NULL;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	json_decref(c->json);
	arena_release(&c->arena);
	free(c);
}

const struct config_interface *config_interface(const struct config *c, const char *tap)
{
	struct plan_interface plan = {.tap = tap};
	struct config_interface key = {.plan = &plan};

	return bsearch(&key, c->interfaces, c->interfaces_count, sizeof(key), by_tap);
}

bool config_has_address(const struct config_interface *i, struct ip a)
{
	for (unsigned n = 0; n < i->v4_count + i->v6_count; n++)
		if (ip_equal(i->addresses[n], a))
			return true;
	for (unsigned n = 0; n < i->plan->prefixes_count; n++)
		if (cidr_contains(i->prefixes[n], a))
			return true;
	return false;
}

bool config_resolver(const struct config *c, struct ip *a)
{
	if (!c->v4_count)
		return false;
	*a = cidr_nth(c->blocks[0], 2);
	return true;
}

bool config_is_resolver(const struct config *c, struct ip a)
{
	static const struct ip local = {false, 0xa9fea9fd};
	static const struct ip local6 = {true, (ip_bits)0xfd000ec200000000ULL << 64 | 0x253};

	if (ip_equal(a, local) || ip_equal(a, local6))
		return true;
	for (unsigned n = 0; n < c->v4_count; n++)
		if (ip_equal(cidr_nth(c->blocks[n], 2), a))
			return true;
	return false;
}
