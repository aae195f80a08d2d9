/*
 * Security groups: allow rules, of all groups that an interface has. A group has a chain for each direction;
 * where a rule matches, the packet goes on to what comes next, and where none does, the next group is asked.
 * Interfaces with the same groups share the chain that asks them.
 *
 * What is tracked (EC2 User Guide, "Security group connection tracking"): every flow, but TCP and UDP that a
 * rule lets through for everybody (0.0.0.0/0 or ::/0) whose answers the other direction lets through to
 * everybody, all ports. Such rules are in chains of their own ("open"), which are asked first, if the
 * interface's other direction is open.
 */
#include "net/rules.h"

#include <stdlib.h>
#include <string.h>

static const char *direction(bool egress)
{
	return egress ? "out" : "in";
}

/* The chain of a group and direction; rule comments say which of the plan's rules it is, for counters. */
static void one_rule(struct rules *r, struct unit *c, const struct plan_group *g, unsigned index, bool v6,
                     const char *peer, bool open)
{
	const struct plan_rule *rule = &g->rules[index];
	const char *next = open ? (rule->egress ? "to_side" : "accepted")
	                        : (rule->egress ? "tracked_from" : "tracked_to");

	rules_add(r, c, "%s%scounter goto %s comment \"%s %u\"", peer,
	          rules_protocol(r->arena, v6, rule->protocol, rule->from, rule->to, rule->icmp_type,
	                         rule->icmp_code),
	          next, g->id, index);
}

/* Blocks of a family as an anonymous set, "" if there are none. */
static const char *blocks(struct rules *r, const struct plan_rule *rule, bool v6)
{
	const char *list = "";

	for (unsigned i = 0; i < rule->prefixes_count; i++) {
		if (lookup_is_v6(rule->prefixes[i]) != v6)
			continue;
		if (lookup_is_all(rule->prefixes[i]))
			return v6 ? "meta nfproto ipv6 " : "meta nfproto ipv4 ";
		list = arena_printf(r->arena, "%s%s%s", list, *list ? ", " : "", rule->prefixes[i]);
	}
	return *list ? arena_printf(r->arena, "%s %s { %s } ", v6 ? "ip6" : "ip",
	                            rule->egress ? "daddr" : "saddr", list)
	             : "";
}

static void group_rule(struct rules *r, struct unit *c, const struct plan_group *g, unsigned index)
{
	const struct plan_rule *rule = &g->rules[index];
	const char *side = rule->egress ? "daddr" : "saddr";

	if (*rule->cidr)
		one_rule(r, c, g, index, lookup_is_v6(rule->cidr), rules_block(r->arena, side, rule->cidr),
		         false);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		const char *list = blocks(r, rule, v6);

		if (*rule->group)
			list = arena_printf(r->arena, "%s %s @members%u_%s ", v6 ? "ip6" : "ip", side,
			                    v6 ? 6 : 4, rule->group);
		else if (*rule->cidr || !*list)
			continue;
		one_rule(r, c, g, index, v6, list, false);
	}
}

static bool is_for_everybody(const struct plan_rule *rule)
{
	return *rule->cidr && lookup_is_all(rule->cidr) &&
	       (rule->protocol < 0 || rule->protocol == 6 || rule->protocol == 17);
}

static void group_chains(struct rules *r, const struct plan_group *g, bool egress)
{
	struct unit *c = rules_chain(r, arena_printf(r->arena, "%s_%s", direction(egress), g->id), ""),
	            *open = rules_chain(r, arena_printf(r->arena, "open_%s_%s", direction(egress), g->id),
	                                "");

	for (unsigned i = 0; i < g->rules_count; i++) {
		const struct plan_rule *rule = &g->rules[i];

		if (rule->egress != egress)
			continue;
		group_rule(r, c, g, i);
		if (is_for_everybody(rule))
			one_rule(r, open, g, i, lookup_is_v6(rule->cidr),
			         rules_block(r->arena, "", rule->cidr), true);
	}
}

static void members(struct rules *r, const struct plan_group *g)
{
	struct unit *m4 = rules_set(r, arena_printf(r->arena, "members4_%s", g->id), "ipv4_addr"),
	            *m6 = rules_set(r, arena_printf(r->arena, "members6_%s", g->id), "ipv6_addr");

	for (unsigned i = 0; i < g->members_count; i++)
		rules_add(r, lookup_is_v6(g->members[i]) ? m6 : m4, "%s", g->members[i]);
}

/* ---- the groups of an interface ---- */

/* Does some group let all of the protocol through, for everybody, in this direction? */
static bool lets_all(const struct rules *r, const struct plan_interface *n, bool egress, bool v6,
                     s64 protocol)
{
	for (unsigned i = 0; i < n->groups_count; i++) {
		const struct plan_group *g = lookup_group(r->plan, n->groups[i]);

		for (unsigned k = 0; g && k < g->rules_count; k++) {
			const struct plan_rule *rule = &g->rules[k];
			bool ports = rule->from < 0 || (rule->from == 0 && rule->to == 65535);

			if (rule->egress == egress && is_for_everybody(rule) &&
			    lookup_is_v6(rule->cidr) == v6 &&
			    (rule->protocol < 0 || (rule->protocol == protocol && ports)))
				return true;
		}
	}
	return false;
}

static void asks(struct rules *r, const struct plan_interface *n, const char *name, bool egress)
{
	struct unit *c = rules_chain(r, name, "");

	for (unsigned v6 = 0; v6 < 2; v6++) {
		bool tcp = lets_all(r, n, !egress, v6, 6), udp = lets_all(r, n, !egress, v6, 17);

		for (unsigned i = 0; (tcp || udp) && i < n->groups_count; i++)
			if (lookup_group(r->plan, n->groups[i]))
				rules_add(r, c, "meta nfproto ipv%u meta l4proto %s jump open_%s_%s",
				          v6 ? 6 : 4,
				          tcp && udp ? "{ tcp, udp }"
				          : tcp      ? "tcp"
				                     : "udp",
				          direction(egress), n->groups[i]);
	}
	for (unsigned i = 0; i < n->groups_count; i++)
		if (lookup_group(r->plan, n->groups[i]))
			rules_add(r, c, "jump %s_%s", direction(egress), n->groups[i]);
	rules_add(r, c, "goto %s", egress ? "refused_from" : "refused_to");
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What stands for the interface's set of groups. */
static u64 set_number(struct rules *r, const struct plan_interface *n)
{
	const char **ids = arena_alloc(r->arena, (n->groups_count + 1) * sizeof(*ids));
	u64 h = 0xcbf29ce484222325;

	if (n->groups_count) {
		memcpy(ids, n->groups, n->groups_count * sizeof(*ids));
		qsort(ids, n->groups_count, sizeof(*ids), compare_texts);
	}
	for (unsigned i = 0; i < n->groups_count; i++)
		for (const char *at = ids[i]; *at || at == ids[i]; at++)
			h = (h ^ (at == ids[i] ? 256U + (u8)*at : (u8)*at)) * 0x100000001b3;
	return h;
}

void rules_group(struct rules *r)
{
	struct unit *egress = rules_map(r, "egress", "ifname : verdict"),
	            *ingress = rules_map(r, "ingress", "ifname : verdict"),
	            *from = rules_chain(r, "tracked_from", ""), *to = rules_chain(r, "tracked_to", "");
	u64 *sets = arena_alloc(r->arena, (r->plan->interfaces_count + 1) * sizeof(*sets));
	char name[PLAN_TAP];

	rules_add(r, from, "ct direction original ct mark set ct mark | %d", MARK_FROM);
	rules_add(r, from, "goto to_side");
	rules_add(r, to, "ct direction original ct mark set ct mark | %d", MARK_TO);
	rules_add(r, to, "goto accepted");
	for (unsigned i = 0; i < r->plan->interfaces_count; i++) {
		const struct plan_interface *n = &r->plan->interfaces[i];
		u64 set = sets[i] = set_number(r, n);
		const char *out = arena_printf(r->arena, "groups_out_%016llx", (unsigned long long)set),
		           *in = arena_printf(r->arena, "groups_in_%016llx", (unsigned long long)set);
		unsigned first = 0;

		while (sets[first] != set)
			first++;
		if (first == i) {
			asks(r, n, out, true);
			asks(r, n, in, false);
		}
		rules_add(r, egress, "\"%s\" : goto %s", n->tap, out);
		rules_add(r, ingress, "\"%s\" : goto %s", n->tap, in);
	}
	for (unsigned i = 0; i < r->plan->groups_count; i++) {
		members(r, &r->plan->groups[i]);
		group_chains(r, &r->plan->groups[i], true);
		group_chains(r, &r->plan->groups[i], false);
	}
	for (unsigned i = 0; i < r->plan->peerings_count; i++) {
		plan_peering_name(name, r->plan->peerings[i].id);
		rules_add(r, egress, "\"%s\" : goto to_side", name);
		rules_add(r, ingress, "\"%s\" : goto accepted", name);
	}
	rules_add(r, egress, "\"up0\" : goto from_internet");
	rules_add(r, ingress, "\"up0\" : goto accepted");
}
