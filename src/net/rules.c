#include "net/rules.h"

#include <string.h>

struct unit *rules_chain(struct rules *r, const char *name, const char *declaration)
{
	return ruleset_unit(r->set, UNIT_CHAIN, RULES_VPC, name, declaration);
}

struct unit *rules_set(struct rules *r, const char *name, const char *type)
{
	return ruleset_unit(r->set, UNIT_SET, RULES_VPC, name, arena_printf(r->arena, "{ type %s; }", type));
}

struct unit *rules_map(struct rules *r, const char *name, const char *type)
{
	return ruleset_unit(r->set, UNIT_MAP, RULES_VPC, name, arena_printf(r->arena, "{ type %s; }", type));
}

static const char *ports(struct arena *a, const char *protocol, s64 from, s64 to)
{
	if (from < 0 || (from == 0 && to == 65535))
		return arena_printf(a, "meta l4proto %s ", protocol);
	if (from == to)
		return arena_printf(a, "%s dport %d ", protocol, (int)from);
	return arena_printf(a, "%s dport %d-%d ", protocol, (int)from, (int)to);
}

static const char *icmp(struct arena *a, const char *protocol, s64 type, s64 code)
{
	if (type < 0)
		return arena_printf(a, "meta l4proto %s ", protocol);
	if (code < 0)
		return arena_printf(a, "%s type %d ", protocol, (int)type);
	return arena_printf(a, "%s type %d %s code %d ", protocol, (int)type, protocol, (int)code);
}

const char *rules_protocol(struct arena *a, bool v6, s64 protocol, s64 from, s64 to, s64 icmp_type,
                           s64 icmp_code)
{
	switch (protocol) {
	case -1:
		return "";
	case 6:
		return ports(a, "tcp", from, to);
	case 17:
		return ports(a, "udp", from, to);
	case 1:
		return v6 ? "meta l4proto 1 " : icmp(a, "icmp", icmp_type, icmp_code);
	case 58:
		return v6 ? icmp(a, "icmpv6", icmp_type, icmp_code) : "meta l4proto 58 ";
	default:
		return arena_printf(a, "meta l4proto %d ", (int)protocol);
	}
}

const char *rules_block(struct arena *a, const char *side, const char *cidr)
{
	bool v6 = lookup_is_v6(cidr);

	if (lookup_is_all(cidr))
		return v6 ? "meta nfproto ipv6 " : "meta nfproto ipv4 ";
	return arena_printf(a, "%s %s %s ", v6 ? "ip6" : "ip", side, cidr);
}

/* Flow logs (nfnetlink_log, group 1): "A eni-…" for the first packet of what an interface sends or gets, "R
 * eni-…" for what is refused. */
static void log_map(struct rules *r, const char *name, char kind)
{
	struct unit *map = rules_map(r, name, "ifname : verdict");

	for (unsigned i = 0; i < r->plan->interfaces_count; i++) {
		const struct plan_interface *n = &r->plan->interfaces[i];

		if (n->log)
			rules_add(r, map, "\"%s\" : jump log_%c_%s", n->tap, kind, n->id);
	}
}

static void logs(struct rules *r)
{
	if (!r->log)
		return;
	log_map(r, "accepted_log", 'A');
	log_map(r, "refused_log", 'R');
	for (unsigned i = 0; i < r->plan->interfaces_count; i++)
		for (const char *kind = "AR"; r->plan->interfaces[i].log && *kind; kind++) {
			const char *id = r->plan->interfaces[i].id;
			struct unit *c = rules_chain(r, arena_printf(r->arena, "log_%c_%s", *kind, id), "");

			rules_add(r, c, "log prefix \"%c %s\" group 1 snaplen 128", *kind, id);
		}
}

/* Where the packets' ways end. */
static void ends(struct rules *r)
{
	struct unit *accepted = rules_chain(r, "accepted", ""), *from = rules_chain(r, "refused_from", ""),
	            *to = rules_chain(r, "refused_to", "");

	if (r->log) {
		rules_add(r, accepted, "ct state new iifname vmap @accepted_log");
		rules_add(r, accepted, "ct state new oifname vmap @accepted_log");
		rules_add(r, from, "limit rate 1000/second iifname vmap @refused_log");
		/* who sent it was let, whom it was for was not */
		rules_add(r, to, "limit rate 1000/second iifname vmap @accepted_log");
		rules_add(r, to, "limit rate 1000/second oifname vmap @refused_log");
	}
	rules_add(r, accepted, "accept");
	rules_add(r, from, "drop");
	rules_add(r, to, "drop");
}

static void forward(struct rules *r)
{
	struct unit *c = rules_chain(r, "forward",
	                             "{ type filter hook forward priority filter; policy drop; }"),
	            *side;

	rules_add(r, c, "jump acls");
	rules_add(r, c, "ct state invalid drop");
	rules_add(r, c, "ct state related accept");
	if (r->plan->nats_count)
		rules_add(r, c, "ct state new ct mark set meta rtclassid map @nat_mark");
	rules_add(r, c, "meta mark 0 ct direction original ct mark & %d == %d goto to_side", MARK_FROM,
	          MARK_FROM);
	rules_add(r, c, "ct direction reply ct mark & %d == %d goto to_side", MARK_TO, MARK_TO);
	rules_add(r, c, "iifname vmap @egress");

	side = rules_chain(r, "to_side", "");
	rules_add(r, side, "meta mark 0 ct direction original ct mark & %d == %d accept", MARK_TO, MARK_TO);
	rules_add(r, side, "ct direction reply ct mark & %d == %d accept", MARK_FROM, MARK_FROM);
	rules_add(r, side, "oifname vmap @ingress");
	rules_add(r, side, "drop");
}

void rules_build(struct ruleset *set, const struct plan *p)
{
	struct rules r = {set, p, set->arena, false};

	for (unsigned i = 0; i < p->interfaces_count; i++)
		r.log |= p->interfaces[i].log;
	rules_source(&r);
	rules_service(&r);
	rules_acl(&r);
	rules_group(&r);
	rules_nat(&r);
	forward(&r);
	ends(&r);
	logs(&r);
}

void rules_host(struct ruleset *set, const char *vpc, const char *outside)
{
	char *table = arena_printf(set->arena, "inet insula_%s", vpc), uplink[PLAN_TAP];
	struct unit *c;

	for (char *at = table; *at; at++)
		if (*at == '-')
			*at = '_';
	plan_uplink_name(uplink, vpc);
	c = ruleset_unit(set, UNIT_CHAIN, table, "postrouting",
	                 "{ type nat hook postrouting priority srcnat; }");
	unit_line(set, c, "iifname \"%s\" oifname != \"vpc*\" masquerade", uplink);
	c = ruleset_unit(set, UNIT_CHAIN, table, "forward", "{ type filter hook forward priority filter; }");
	if (outside)
		unit_line(set, c, "iifname \"%s\" oifname != \"vpc*\" drop", outside);
}
