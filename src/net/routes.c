#include "net/routes.h"
#include "net/lookup.h"

#include <string.h>

const u8 routes_mac[6] = {6, 0, 0, 0, 0, 1};
const char *const routes_router = "fe80::400:ff:fe00:1";

enum { BEFORE_MAIN = 50, MAIN = 100, AFTER_MAIN = 200 };

struct context {
	struct fib *fib;
	const struct plan *plan;
	const struct link_list *links;
};

static u32 link_of(const struct context *c, const char *name)
{
	struct link *l = link_find(c->links, name);

	return l ? l->index : 0;
}

/* ---- addresses of our own ---- */

static void on_lo(const struct context *c, const char *address)
{
	fib_add(c->fib, FIB_ADDRESS, lookup_host(address))->link = link_of(c, "lo");
}

static void on_lo_nth(const struct context *c, const char *cidr, unsigned n)
{
	char text[IP_TEXT];

	ip_write(text, lookup_nth(cidr, n));
	on_lo(c, text);
}

static void own_addresses(const struct context *c)
{
	static const char *const services[] = {"169.254.169.254", "169.254.169.253", "169.254.169.123",
	                                       "fd00:ec2::254",   "fd00:ec2::253",   "fd00:ec2::123"};

	for (unsigned i = 0; i < ARRAY_SIZE(services); i++)
		on_lo(c, services[i]);
	for (unsigned i = 0; i < c->plan->cidrs_count; i++)
		on_lo_nth(c, c->plan->cidrs[i], 2);
	for (unsigned i = 0; i < c->plan->subnets_count; i++)
		if (*c->plan->subnets[i].cidr)
			on_lo_nth(c, c->plan->subnets[i].cidr, 1);
}

/* ---- routes ---- */

static struct fib_item *route(const struct context *c, u32 table, struct cidr to)
{
	struct fib_item *i = fib_add(c->fib, FIB_ROUTE, to);

	i->table = table;
	return i;
}

static void to_interface(struct fib_item *i, const struct plan_interface *n, u32 link)
{
	u8 mac[6];

	lookup_mac(mac, n->mac);
	i->link = link;
	fib_bytes(i->via, lookup_hop(mac).first);
}

static void all_blackhole(const struct context *c, u32 table)
{
	route(c, table, lookup_block("0.0.0.0/0"))->blackhole = true;
	route(c, table, lookup_block("::/0"))->blackhole = true;
}

/* Where a route of a route table leads, by way of a NAT gateway (or NULL), whose realm it has then. What
 * leads nowhere is a blackhole: on EC2, too, packets vanish there. */
static void add_route(const struct context *c, u32 table, struct cidr to, const struct plan_route *r,
                      const struct plan_nat *nat)
{
	struct fib_item *i = route(c, table, to);
	bool v6 = to.first.v6;
	char name[PLAN_TAP];

	if (!r) {
	} else if (!strcmp(r->kind, "internet") && c->plan->internet) {
		i->link = link_of(c, "up0");
		i->realm = v6 ? 0 : REALM_INTERNET;
	} else if (!strcmp(r->kind, "egress-only") && c->plan->egress_only && v6) {
		i->link = link_of(c, "up0");
	} else if (!strcmp(r->kind, "interface")) {
		const struct plan_interface *n = lookup_interface(c->plan, r->target);

		if (n && !n->check)
			to_interface(i, n, link_of(c, n->tap));
	} else if (!strcmp(r->kind, "peering")) {
		plan_peering_name(name, r->target);
		i->link = link_of(c, name);
	}
	if (!i->link) {
		memset(i->via, 0, sizeof(i->via));
		i->realm = 0;
		i->blackhole = true;
	} else if (nat && v6) { /* they translate IPv4 only */
		*i = (struct fib_item){.kind = FIB_ROUTE,
		                       .v6 = true,
		                       .blackhole = true,
		                       .length = to.length,
		                       .table = table};
		fib_bytes(i->to, to.first);
	} else if (nat) {
		i->realm = lookup_realm(c->plan, nat);
	}
}

static bool is_own_route(const struct plan_table *t, struct cidr to, const struct plan_route *but)
{
	for (unsigned i = 0; i < t->routes_count; i++)
		if (&t->routes[i] != but &&
		    lookup_block(t->routes[i].to).length >= lookup_block(but->to).length &&
		    cidr_covers(lookup_block(t->routes[i].to), to))
			return true;
	return false;
}

/* A route to a NAT gateway: from there on the gateway's own subnet says the way. So of its routes those
 * within the block count, and the one around it. */
static void nat_routes(const struct context *c, u32 number, const struct plan_table *t,
                       const struct plan_route *r)
{
	const struct plan_route *around = NULL;
	const struct plan_nat *nat = NULL;
	const struct plan_subnet *s;
	const struct plan_table *by;
	struct cidr to = lookup_block(r->to);

	for (unsigned i = 0; i < c->plan->nats_count; i++)
		if (!strcmp(c->plan->nats[i].id, r->target))
			nat = &c->plan->nats[i];
	s = nat ? lookup_subnet(c->plan, nat->subnet) : NULL;
	by = s ? lookup_table(c->plan, s->table) : NULL;
	for (unsigned i = 0; by && i < by->routes_count; i++) {
		const struct plan_route *n = &by->routes[i];
		struct cidr block = lookup_block(n->to);

		if (block.first.v6 != to.first.v6)
			continue;
		if (cidr_covers(block, to)) {
			if (!around || block.length > lookup_block(around->to).length)
				around = n;
		} else if (cidr_covers(to, block) && !is_own_route(t, block, r)) {
			add_route(c, number, block, n, nat);
		}
	}
	add_route(c, number, to, around, nat);
}

static bool is_within(const struct plan *p, struct cidr block)
{
	for (unsigned i = 0; i < p->cidrs_count; i++)
		if (cidr_covers(lookup_block(p->cidrs[i]), block))
			return true;
	for (unsigned i = 0; i < p->cidrs6_count; i++)
		if (cidr_covers(lookup_block(p->cidrs6[i]), block))
			return true;
	return false;
}

/* Of two routes to one block in a table the first counts. */
static void once(struct fib *f, unsigned from)
{
	unsigned kept = from;

	for (unsigned i = from; i < f->count; i++) {
		bool first = true;

		for (unsigned k = from; first && k < kept; k++)
			first = f->items[k].table != f->items[i].table || f->items[k].v6 != f->items[i].v6 ||
			        f->items[k].length != f->items[i].length ||
			        memcmp(f->items[k].to, f->items[i].to, 16);
		if (first)
			f->items[kept++] = f->items[i];
	}
	f->count = kept;
}

/* True: it has routes within the VPC. */
static bool add_table(const struct context *c, const struct plan_table *t)
{
	u32 number = lookup_table_number(t->id);
	unsigned from = c->fib->count;
	bool within = false;

	for (unsigned i = 0; i < t->routes_count; i++) {
		struct cidr to = lookup_block(t->routes[i].to);
		bool early = is_within(c->plan, to);

		within |= early;
		if (!strcmp(t->routes[i].kind, "nat"))
			nat_routes(c, number + early, t, &t->routes[i]);
		else
			add_route(c, number + early, to, &t->routes[i], NULL);
	}
	for (unsigned i = 0; i < c->plan->cidrs_count; i++)
		route(c, number, lookup_block(c->plan->cidrs[i]))->blackhole = true;
	for (unsigned i = 0; i < c->plan->cidrs6_count; i++)
		route(c, number, lookup_block(c->plan->cidrs6[i]))->blackhole = true;
	once(c->fib, from);
	return within;
}

static void rule(const struct context *c, const char *in, u32 priority, u32 table)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct fib_item *i = fib_add(c->fib, FIB_RULE, (struct cidr){{v6, 0}, 0});

		i->priority = priority;
		i->table = table;
		for (unsigned k = 0; in[k] && k < sizeof(i->in) - 1; k++)
			i->in[k] = in[k];
	}
}

static void interface(const struct context *c, const struct plan_interface *n)
{
	const struct plan_subnet *s = lookup_subnet(c->plan, n->subnet);
	u32 link = link_of(c, n->tap);
	struct fib_item *i;
	struct cidr router = lookup_host(routes_router);
	u8 mac[6];

	if (!link)
		return;
	lookup_mac(mac, n->mac);
	router.length = 64;
	fib_add(c->fib, FIB_ADDRESS, router)->link = link;
	i = fib_add(c->fib, FIB_NEIGHBOUR, lookup_hop(mac));
	i->link = link;
	memcpy(i->mac, mac, 6);
	for (unsigned k = 0; k < n->addresses_count + n->addresses6_count + n->prefixes_count; k++) {
		unsigned k6 = k - n->addresses_count;
		struct cidr to = k < n->addresses_count ? lookup_host(n->addresses[k])
		                 : k6 < n->addresses6_count
		                         ? lookup_host(n->addresses6[k6])
		                         : lookup_block(n->prefixes[k6 - n->addresses6_count]);

		i = route(c, FIB_MAIN, to);
		to_interface(i, n, link);
		/* What we have to say of a packet comes from the subnet's router. */
		if (!to.first.v6 && s && *s->cidr)
			fib_bytes(i->source, lookup_nth(s->cidr, 1));
	}
}

void routes_plan(struct fib *f, const struct plan *p, const struct link_list *l)
{
	struct context c = {f, p, l};

	own_addresses(&c);
	/* Not in the main table, where it would end each lookup: the kernel suppresses no blackhole. */
	all_blackhole(&c, FIB_DEFAULT);
	rule(&c, "", MAIN, FIB_MAIN);
	for (unsigned i = 0; i < p->interfaces_count; i++)
		interface(&c, &p->interfaces[i]);
	for (unsigned t = 0; t < p->tables_count; t++) {
		u32 number = lookup_table_number(p->tables[t].id);
		bool within = add_table(&c, &p->tables[t]);

		for (unsigned i = 0; i < p->interfaces_count; i++) {
			const struct plan_subnet *s = lookup_subnet(p, p->interfaces[i].subnet);

			if (!s || strcmp(s->table, p->tables[t].id))
				continue;
			if (within)
				rule(&c, p->interfaces[i].tap, BEFORE_MAIN, number + 1);
			rule(&c, p->interfaces[i].tap, AFTER_MAIN, number);
		}
	}
}
