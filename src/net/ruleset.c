#include "net/ruleset.h"
#include "base/buffer.h"
#include "net/netlink.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- putting together ---- */

static void *grown(struct arena *a, void *items, unsigned count, unsigned *room)
{
	void **more;

	if (count < *room)
		return items;
	more = arena_alloc(a, (*room = *room * 2 + 8) * sizeof(*more));
	if (count)
		memcpy(more, items, count * sizeof(*more));
	return more;
}

struct unit *ruleset_unit(struct ruleset *r, enum unit_kind kind, const char *table, const char *name,
                          const char *declaration)
{
	struct unit *u = arena_alloc(r->arena, sizeof(*u));

	*u = (struct unit){kind, table, arena_strdup(r->arena, name), declaration, NULL, 0, 0};
	r->units = grown(r->arena, r->units, r->count, &r->room);
	return r->units[r->count++] = u;
}

static void add_line(struct ruleset *r, struct unit *u, const char *line)
{
	u->lines = grown(r->arena, u->lines, u->count, &u->room);
	u->lines[u->count++] = line;
}

void unit_line(struct ruleset *r, struct unit *u, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_line(r, u, arena_vprintf(r->arena, format, args));
	va_end(args);
}

struct unit *ruleset_find(const struct ruleset *r, const char *table, const char *name)
{
	for (unsigned i = 0; i < r->count; i++)
		if (!strcmp(r->units[i]->name, name) && !strcmp(r->units[i]->table, table))
			return r->units[i];
	return NULL;
}

/* ---- texts ---- */

char *ruleset_write(const struct ruleset *r, struct arena *a)
{
	struct buffer b = {0};
	char *text;

	for (unsigned i = 0; i < r->count; i++) {
		const struct unit *u = r->units[i];

		buffer_printf(&b, "%c\t%s\t%s\t%s\n", u->kind, u->table, u->name, u->declaration);
		for (unsigned k = 0; k < u->count; k++) {
			buffer_char(&b, '\t');
			buffer_text(&b, u->lines[k]);
			buffer_char(&b, '\n');
		}
	}
	text = arena_text(a, buffer_str(&b), b.length);
	buffer_release(&b);
	return text;
}

void ruleset_read(struct ruleset *r, const char *text)
{
	char *line = arena_strdup(r->arena, text), *end;
	struct unit *u = NULL;

	for (; (end = strchr(line, '\n')); line = end + 1) {
		char *table, *name, *declaration;

		*end = 0;
		if (*line == '\t') {
			if (u)
				add_line(r, u, line + 1);
			continue;
		}
		if (!*line || !strchr("csm", *line) || !(table = strchr(line, '\t')) ||
		    !(name = strchr(table + 1, '\t')) || !(declaration = strchr(name + 1, '\t')))
			continue;
		*table++ = *name++ = *declaration++ = 0;
		u = ruleset_unit(r, (enum unit_kind) * line, table, name, declaration);
	}
}

/* ---- differences ---- */

static int compare_units(const void *a, const void *b)
{
	const struct unit *x = *(struct unit *const *)a, *y = *(struct unit *const *)b;
	int order = strcmp(x->table, y->table);

	return order ? order : strcmp(x->name, y->name);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A copy whose units are in the order of their names. */
static struct ruleset sorted(const struct ruleset *r, struct arena *a)
{
	struct ruleset s = {a, NULL, r ? r->count : 0, 0};

	if (!s.count)
		return s;
	s.units = arena_alloc(a, s.count * sizeof(*s.units));
	memcpy(s.units, r->units, s.count * sizeof(*s.units));
	qsort(s.units, s.count, sizeof(*s.units), compare_units);
	return s;
}

/* Elements in order; those of chains are as they are. */
static struct unit ordered(const struct unit *u, struct arena *a)
{
	struct unit copy = *u;

	if (u->kind != UNIT_CHAIN && u->count) {
		copy.lines = arena_alloc(a, u->count * sizeof(*copy.lines));
		memcpy(copy.lines, u->lines, u->count * sizeof(*copy.lines));
		qsort(copy.lines, copy.count, sizeof(*copy.lines), compare_lines);
	}
	return copy;
}

static const char *word(const struct unit *u)
{
	return u->kind == UNIT_CHAIN ? "chain" : u->kind == UNIT_SET ? "set" : "map";
}

/* Does it begin with all lines of the other? */
static bool is_longer(const struct unit *a, const struct unit *other)
{
	if (a->count < other->count)
		return false;
	for (unsigned i = 0; i < other->count; i++)
		if (strcmp(a->lines[i], other->lines[i]))
			return false;
	return true;
}

static bool same_lines(const struct unit *a, const struct unit *b)
{
	return a->count == b->count && is_longer(a, b);
}

/* Elements of u that other (may be NULL) does not have; only their keys, to delete them. */
static void elements(struct buffer *b, const char *verb, const struct unit *u, const struct unit *other,
                     bool keys)
{
	unsigned found = 0, k = 0;

	for (unsigned i = 0; i < u->count; i++) {
		const char *line = u->lines[i], *colon = keys ? strstr(line, " : ") : NULL;

		if (i && !strcmp(line, u->lines[i - 1]))
			continue;
		while (other && k < other->count && strcmp(other->lines[k], line) < 0)
			k++;
		if (other && k < other->count && !strcmp(other->lines[k], line))
			continue;
		if (!found++)
			buffer_printf(b, "%s element %s %s { ", verb, u->table, u->name);
		else
			buffer_text(b, ", ");
		buffer_append(b, line, colon ? (size_t)(colon - line) : strlen(line));
	}
	if (found)
		buffer_text(b, " }\n");
}

static void rules(struct buffer *b, const struct unit *u, unsigned from)
{
	for (unsigned i = from; i < u->count; i++)
		buffer_printf(b, "add rule %s %s %s\n", u->table, u->name, u->lines[i]);
}

/* The parts of a transaction, in the order in which the kernel takes them: what is referred to is there
 * first, and goes last. */
struct script {
	struct buffer declare, flush, remove, fill, drop;
	struct arena *arena;
};

static void unit_gone(struct script *s, const struct unit *gone)
{
	struct unit copy = ordered(gone, s->arena), *u = &copy;

	if (u->kind == UNIT_CHAIN)
		buffer_printf(&s->flush, "flush chain %s %s\n", u->table, u->name);
	else
		elements(&s->remove, "delete", u, NULL, true);
	buffer_printf(&s->drop, "delete %s %s %s\n", word(u), u->table, u->name);
}

static void unit_new(struct script *s, const struct unit *new)
{
	struct unit copy = ordered(new, s->arena), *u = &copy;

	buffer_printf(&s->declare, "add %s %s %s %s\n", word(u), u->table, u->name, u->declaration);
	if (u->kind == UNIT_CHAIN)
		rules(&s->fill, u, 0);
	else
		elements(&s->fill, "add", u, NULL, false);
}

static void unit_changed(struct script *s, const struct unit *before, const struct unit *after)
{
	if (same_lines(before, after))
		return;
	if (after->kind == UNIT_CHAIN && is_longer(after, before)) {
		rules(&s->fill, after, before->count);
	} else if (after->kind == UNIT_CHAIN) {
		buffer_printf(&s->flush, "flush chain %s %s\n", after->table, after->name);
		rules(&s->fill, after, 0);
	} else {
		struct unit old = ordered(before, s->arena), new = ordered(after, s->arena);

		elements(&s->remove, "delete", &old, &new, true);
		elements(&s->fill, "add", &new, &old, false);
	}
}

/* Can the units be changed as they are? A declaration cannot. */
static bool is_compatible(const struct ruleset *before, const struct ruleset *after)
{
	for (unsigned i = 0, k = 0; i < before->count && k < after->count;) {
		int order = compare_units(&before->units[i], &after->units[k]);

		if (!order && (before->units[i]->kind != after->units[k]->kind ||
		               strcmp(before->units[i]->declaration, after->units[k]->declaration)))
			return false;
		i += order <= 0;
		k += order >= 0;
	}
	return true;
}

static void differences(struct script *s, const struct ruleset *before, const struct ruleset *after)
{
	unsigned i = 0, k = 0;

	while (i < before->count || k < after->count) {
		int order = i == before->count  ? 1
		            : k == after->count ? -1
		                                : compare_units(&before->units[i], &after->units[k]);

		if (order < 0)
			unit_gone(s, before->units[i]);
		else if (order > 0)
			unit_new(s, after->units[k]);
		else
			unit_changed(s, before->units[i], after->units[k]);
		i += order <= 0;
		k += order >= 0;
	}
}

/* Names, of a sorted ruleset, in the order of their tables. */
static void tables(struct buffer *b, const struct ruleset *r, const char *format)
{
	for (unsigned i = 0; i < r->count; i++) {
		if (i && !strcmp(r->units[i]->table, r->units[i - 1]->table))
			continue;
		for (const char *f = format; *f; f++)
			if (*f == '%')
				buffer_text(b, r->units[i]->table);
			else
				buffer_char(b, *f);
	}
}

static u64 hash(const char *text)
{
	size_t length = strlen(text);
	u64 h = 0xcbf29ce484222325 ^ length, word;

	for (; length; text += sizeof(word), length -= min(length, sizeof(word))) {
		word = 0;
		memcpy(&word, text, min(length, sizeof(word)));
		h = (h ^ word) * 0x9e3779b97f4a7c15;
		h ^= h >> 32;
	}
	return h;
}

/* The empty chain that says which texts were loaded, in the first of the tables. */
static const char *stamp_table(const struct ruleset *r)
{
	const char *first = NULL;

	for (unsigned i = 0; i < r->count; i++)
		if (!first || strcmp(r->units[i]->table, first) < 0)
			first = r->units[i]->table;
	return first;
}

static const char *stamp_name(const char *text, struct arena *a)
{
	return arena_printf(a, "state_%016llx", (unsigned long long)hash(text));
}

static void stamp(struct buffer *b, const char *verb, const struct ruleset *r, const char *text,
                  struct arena *a)
{
	if (r->count && text)
		buffer_printf(b, "%s chain %s %s\n", verb, stamp_table(r), stamp_name(text, a));
}

char *ruleset_script(const struct ruleset *before, const char *before_text, const struct ruleset *after,
                     const char *after_text, struct arena *a)
{
	struct ruleset old = sorted(before, a), new = sorted(after, a);
	struct script s = {.arena = a};
	struct buffer b = {0}, *const parts[] = {&s.declare, &s.flush, &s.remove, &s.fill, &s.drop};
	char *text;

	if (!before || !is_compatible(&old, &new)) {
		tables(&b, &new, "add table %\ndelete table %\nadd table %\n");
		old.count = 0;
	} else {
		stamp(&b, "delete", &old, before_text, a);
		tables(&b, &new, "add table %\n");
	}
	stamp(&b, "add", &new, after_text, a);
	differences(&s, &old, &new);
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		buffer_append(&b, buffer_str(parts[i]), parts[i]->length);
		buffer_release(parts[i]);
	}
	text = arena_text(a, buffer_str(&b), b.length);
	buffer_release(&b);
	return text;
}

static void found(const struct nlmsghdr *message, void *arg)
{
	*(bool *)arg = true;
}

/* Does the kernel have the stamp? Asked without nft, as most often nothing has changed. */
static bool is_loaded(const struct ruleset *r, const char *text, struct arena *a)
{
	struct nfgenmsg family = {.nfgen_family = NFPROTO_INET};
	const char *table = stamp_table(r);
	struct netlink_request request;
	struct netlink n;
	struct error e;
	bool there = false;

	if (!table || netlink_open(&n, NETLINK_NETFILTER, &e) < 0)
		return false;
	if (!strncmp(table, "arp ", 4))
		family.nfgen_family = NFPROTO_ARP;
	netlink_begin(&request, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, NLM_F_ACK, &family,
	              sizeof(family));
	netlink_put_text(&request, NFTA_CHAIN_TABLE, strchr(table, ' ') + 1);
	netlink_put_text(&request, NFTA_CHAIN_NAME, stamp_name(text, a));
	if (netlink_get(&n, &request, found, &there, &e) < 0)
		there = false;
	netlink_close(&n);
	return there;
}

static void read_generation(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *a[NFTA_GEN_MAX + 1];

	netlink_attributes(message, sizeof(struct nfgenmsg), a, NFTA_GEN_MAX);
	*(u32 *)arg = netlink_get32(a[NFTA_GEN_ID], 0);
}

static int find_generation(u32 *generation, struct error *e)
{
	struct nfgenmsg any = {.nfgen_family = AF_UNSPEC};
	struct netlink_request request;
	struct netlink n;
	int status;

	*generation = 0;
	if (netlink_open(&n, NETLINK_NETFILTER, e) < 0)
		return -1;
	netlink_begin(&request, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, 0, &any, sizeof(any));
	status = netlink_get(&n, &request, read_generation, generation, e);
	netlink_close(&n);
	return status < 0 ? error_prefix(e, "the generation of rules") : 0;
}

static int start(struct ruleset_change *c, const struct ruleset *before, const char *before_text,
                 struct error *e)
{
	static const char *const argv[] = {"nft", "-f", "-", NULL};
	const char *script =
	        ruleset_script(before, before_text, c->after, c->generation ? NULL : c->text, c->arena);

	c->difference = before;
	c->running = command_start(&c->nft, argv, script, strlen(script), e) == 0;
	return c->running ? 0 : -1;
}

int ruleset_begin(struct ruleset_change *c, const char *before, const struct ruleset *after, const char *text,
                  u32 *generation, struct arena *a, struct error *e)
{
	bool same = before && !strcmp(before, text);
	struct ruleset old = {.arena = a};
	u32 now;

	*c = (struct ruleset_change){.arena = a, .after = after, .text = text, .generation = generation};
	if (generation) {
		if (find_generation(&now, e) < 0)
			return -1;
		if (now != *generation)
			before = NULL;
		else if (same)
			return 0;
	} else if (same && is_loaded(after, text, a)) {
		return 0;
	}
	if (!before)
		return start(c, NULL, NULL, e);
	ruleset_read(&old, before);
	return start(c, &old, generation ? NULL : before, e);
}

int ruleset_end(struct ruleset_change *c, struct error *e)
{
	if (!c->running)
		return 0;
	/* A difference that does not fit, as stamps show, fails; then all is loaded anew. */
	if (command_end(&c->nft, NULL, e) < 0 &&
	    (!c->difference || start(c, NULL, NULL, e) < 0 || command_end(&c->nft, NULL, e) < 0))
		return -1;
	return c->generation ? find_generation(c->generation, e) : 0;
}
