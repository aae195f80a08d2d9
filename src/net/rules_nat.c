/*
 * Public addresses. Those of interfaces are translated one to one, both ways; NAT gateways hide what takes
 * their routes. By IPv6 nothing is translated, and what may come in is what a route to the internet gateway
 * leads back to: so an egress-only gateway, and a subnet that has no such route, let nothing in.
 */
#include "net/rules.h"

#include <stdlib.h>
#include <string.h>

static int by_length(const void *a, const void *b)
{
	const struct plan_route *x = *(const struct plan_route *const *)a,
	                        *y = *(const struct plan_route *const *)b;

	return (int)lookup_block(y->to).length - (int)lookup_block(x->to).length;
}

/* Longest prefix first, so that the first match is the route. */
static void back_by_table(struct rules *r, const struct plan_table *t)
{
	struct unit *c = rules_chain(r, arena_printf(r->arena, "internet_%s", t->id), "");
	const struct plan_route **routes = arena_alloc(r->arena, (t->routes_count + 1) * sizeof(*routes));

	for (unsigned i = 0; i < t->routes_count; i++)
		routes[i] = &t->routes[i];
	if (t->routes_count)
		qsort(routes, t->routes_count, sizeof(*routes), by_length);
	for (unsigned i = 0; i < t->routes_count; i++)
		rules_add(r, c, "%s%s", rules_block(r->arena, "saddr", routes[i]->to),
		          !strcmp(routes[i]->kind, "internet") ? "goto to_side" : "drop");
	rules_add(r, c, "drop");
}

static void from_internet(struct rules *r)
{
	struct unit *c = rules_chain(r, "from_internet", ""),
	            *tables = rules_map(r, "from_internet_to", "ifname : verdict");

	rules_add(r, c, "ct direction reply goto to_side");
	rules_add(r, c, "meta nfproto ipv4 ct status & dnat == 0 drop");
	rules_add(r, c, "oifname vmap @from_internet_to");
	rules_add(r, c, "drop");
	for (unsigned i = 0; i < r->plan->tables_count; i++)
		back_by_table(r, &r->plan->tables[i]);
	for (unsigned i = 0; i < r->plan->interfaces_count; i++) {
		const struct plan_subnet *s = lookup_subnet(r->plan, r->plan->interfaces[i].subnet);

		if (s && lookup_table(r->plan, s->table))
			rules_add(r, tables, "\"%s\" : goto internet_%s", r->plan->interfaces[i].tap,
			          s->table);
	}
}

void rules_nat(struct rules *r)
{
	const struct plan *p = r->plan;
	struct unit *in = rules_chain(r, "nat_in", "{ type nat hook prerouting priority dstnat; }"),
	            *out = rules_chain(r, "nat_out", "{ type nat hook postrouting priority srcnat; }"),
	            *guard = rules_chain(r, "guard", "{ type filter hook postrouting priority 200; }"),
	            *to_private = rules_map(r, "to_private", "ipv4_addr : ipv4_addr"),
	            *to_public = rules_map(r, "to_public", "ipv4_addr : ipv4_addr"),
	            *publics = rules_set(r, "publics", "ipv4_addr"),
	            *nat_public = rules_map(r, "nat_public", "realm : ipv4_addr"),
	            *nat_private = rules_map(r, "nat_private", "realm : ipv4_addr"),
	            *nat_mark = rules_map(r, "nat_mark", "realm : mark");

	for (unsigned i = 0; i < p->interfaces_count; i++)
		for (unsigned k = 0; k < p->interfaces[i].publics_count; k++) {
			const struct plan_public *a = &p->interfaces[i].publics[k];

			if (lookup_is_v6(a->address))
				continue;
			rules_add(r, to_private, "%s : %s", a->address, a->private);
			rules_add(r, to_public, "%s : %s", a->private, a->address);
			rules_add(r, publics, "%s", a->address);
		}
	for (unsigned i = 0; i < p->nats_count; i++) {
		const struct plan_nat *n = &p->nats[i];
		u32 realm = lookup_realm(p, n);

		rules_add(r, nat_private, "%u : %s", realm, n->private);
		rules_add(r, nat_mark, "%u : 0x%08x", realm, realm << MARK_REALM);
		if (*n->public) {
			rules_add(r, nat_public, "%u : %s", realm, n->public);
			rules_add(r, publics, "%s", n->public);
		}
	}
	rules_add(r, in, "iifname \"up0\" dnat ip to ip daddr map @to_private");

	rules_add(r, out, "meta nfproto ipv6 accept");
	rules_add(r, out, "oifname != \"up0\" snat ip to meta rtclassid map @nat_private");
	rules_add(r, out, "oifname != \"up0\" accept");
	rules_add(r, out, "meta rtclassid %d snat ip to ip saddr map @to_public", REALM_INTERNET);
	rules_add(r, out, "snat ip to meta rtclassid map @nat_public");
	rules_add(r, out, "drop");

	/* Nothing leaves but by a public address, whoever sent it. */
	rules_add(r, guard, "oifname != \"up0\" accept");
	rules_add(r, guard, "ip saddr @publics accept");
	for (unsigned i = 0; i < p->cidrs6_count; i++)
		rules_add(r, guard, "ip6 saddr %s accept", p->cidrs6[i]);
	rules_add(r, guard, "drop");
	from_internet(r);
}
