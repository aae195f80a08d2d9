/* What the kernel has counted: of interfaces by rtnetlink, of groups' rules by nft's JSON
 * (libnftables-json(5)). */
#include "net/command.h"
#include "net/datapath.h"
#include "net/link.h"
#include "net/namespace.h"
#include "net/rules.h"

#include <stdlib.h>
#include <string.h>

struct reading {
	struct link_list links;
	struct buffer rules;
	struct arena *arena;
	struct error *error;
};

static int within(void *arg)
{
	static const char *const argv[] = {"nft", "-j", "list", "table", "inet", "vpc", NULL};
	struct reading *r = arg;
	struct netlink n;
	int status;

	if (netlink_open(&n, NETLINK_ROUTE, r->error) < 0)
		return -1;
	status = link_list_counters(&n, r->arena, &r->links, r->error);
	netlink_close(&n);
	return status < 0 ? -1 : command_run(argv, NULL, 0, &r->rules, r->error);
}

/* A tap receives what the guest sends. */
static void interfaces(struct datapath_counters *c, const struct plan *p, const struct reading *r)
{
	c->interfaces = arena_alloc(r->arena, (p->interfaces_count + 1) * sizeof(*c->interfaces));
	for (unsigned i = 0; i < p->interfaces_count; i++) {
		const struct link *l = link_find(&r->links, p->interfaces[i].tap);

		if (l)
			c->interfaces[c->interfaces_count++] =
			        (struct datapath_interface){p->interfaces[i].id, l->tx_packets, l->tx_bytes,
			                                    l->tx_dropped,       l->rx_packets, l->rx_bytes};
	}
}

static void count(struct datapath_counters *c, const struct plan *p, unsigned *room, const json_t *rule,
                  struct arena *a)
{
	const char *comment = json_string_value(json_object_get(rule, "comment"));
	const struct plan_group *g;
	const json_t *statement, *counter;
	char group[64] = "", *end;
	size_t i, space;

	space = comment ? strcspn(comment, " ") : 0;
	if (!space || !comment[space] || space >= sizeof(group))
		return;
	memcpy(group, comment, space);
	g = lookup_group(p, group);
	unsigned long index = strtoul(comment + space + 1, &end, 10);
	if (!g || index >= g->rules_count)
		return;
	json_array_foreach(json_object_get(rule, "expr"), i, statement)
	{
		struct datapath_rule *to = NULL;

		if (!(counter = json_object_get(statement, "counter")))
			continue;
		for (unsigned k = 0; k < c->rules_count && !to; k++)
			if (c->rules[k].group == g->id && c->rules[k].rule == index)
				to = &c->rules[k];
		if (!to) {
			if (c->rules_count == *room) {
				struct datapath_rule *more =
				        arena_alloc(a, (*room = *room * 2 + 64) * sizeof(*more));

				if (c->rules_count)
					memcpy(more, c->rules, c->rules_count * sizeof(*more));
				c->rules = more;
			}
			to = &c->rules[c->rules_count++];
			*to = (struct datapath_rule){g->id, (unsigned)index, 0, 0};
		}
		to->packets += (u64)json_integer_value(json_object_get(counter, "packets"));
		to->bytes += (u64)json_integer_value(json_object_get(counter, "bytes"));
	}
}

int datapath_counters(const struct plan *p, struct arena *a, struct datapath_counters *c, struct error *e)
{
	struct reading r = {.arena = a, .error = e};
	json_t *all = NULL;
	const json_t *item;
	unsigned room = 0;
	size_t i;
	int status = namespace_call(p->vpc, within, &r, e);

	*c = (struct datapath_counters){0};
	if (status == 0 && !(all = json_loads(buffer_str(&r.rules), 0, NULL)))
		status = error_set(e, 0, "nft: what it wrote is no JSON");
	if (status == 0) {
		interfaces(c, p, &r);
		json_array_foreach(json_object_get(all, "nftables"), i, item)
		        count(c, p, &room, json_object_get(item, "rule"), a);
	}
	json_decref(all);
	buffer_release(&r.rules);
	return status;
}
