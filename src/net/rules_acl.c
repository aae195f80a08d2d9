/*
 * Network ACLs: every packet that leaves a subnet or enters one, answers too. An ACL's chain returns what it
 * allows. A packet by way of a NAT gateway also enters and leaves the gateway's subnet, in both directions.
 */
#include "net/rules.h"

#include <string.h>

/* Does the first entry of each family let everything through? Most ACLs are so. */
static bool is_open(const struct rules *r, const struct plan_acl *acl, bool egress)
{
	bool open4 = false, open6 = !r->plan->cidrs6_count, seen4 = false, seen6 = open6;

	if (!acl)
		return true;
	for (unsigned i = 0; i < acl->entries_count; i++) {
		const struct plan_acl_entry *n = &acl->entries[i];
		bool v6 = lookup_is_v6(n->cidr), all = n->allow && n->protocol < 0 && lookup_is_all(n->cidr);

		if (n->egress != egress)
			continue;
		if (v6 && !seen6)
			seen6 = true, open6 = all;
		else if (!v6 && !seen4)
			seen4 = true, open4 = all;
	}
	return open4 && open6;
}

static void acl_chain(struct rules *r, const struct plan_acl *acl, bool egress)
{
	const char *refused = egress ? "goto refused_from" : "goto refused_to";
	struct unit *c;

	if (is_open(r, acl, egress))
		return;
	c = rules_chain(r, arena_printf(r->arena, "%s_%s", egress ? "acl_out" : "acl_in", acl->id), "");
	for (unsigned i = 0; i < acl->entries_count; i++) {
		const struct plan_acl_entry *n = &acl->entries[i];
		bool v6 = lookup_is_v6(n->cidr);

		if (n->egress == egress)
			rules_add(r, c, "%s%s%s", rules_block(r->arena, egress ? "daddr" : "saddr", n->cidr),
			          rules_protocol(r->arena, v6, n->protocol, n->from, n->to, n->icmp_type,
			                         n->icmp_code),
			          n->allow ? "return" : refused);
	}
	rules_add(r, c, "%s", refused);
}

/* The taps of a subnet, and what leaves or enters it. */
static void subnet(struct rules *r, const struct plan_subnet *s, struct unit *from, struct unit *to)
{
	const struct plan_acl *acl = lookup_acl(r->plan, s->acl);
	bool out = !is_open(r, acl, true), in = !is_open(r, acl, false);
	struct unit *taps, *c;

	if (!out && !in)
		return;
	taps = rules_set(r, arena_printf(r->arena, "taps_%s", s->id), "ifname");
	if (out) {
		c = rules_chain(r, arena_printf(r->arena, "leaves_%s", s->id), "");
		rules_add(r, c, "oifname @taps_%s return", s->id);
		rules_add(r, c, "goto acl_out_%s", acl->id);
	}
	if (in) {
		c = rules_chain(r, arena_printf(r->arena, "enters_%s", s->id), "");
		rules_add(r, c, "iifname @taps_%s return", s->id);
		rules_add(r, c, "goto acl_in_%s", acl->id);
	}
	for (unsigned i = 0; i < r->plan->interfaces_count; i++) {
		const struct plan_interface *n = &r->plan->interfaces[i];

		if (strcmp(n->subnet, s->id))
			continue;
		rules_add(r, taps, "\"%s\"", n->tap);
		if (out)
			rules_add(r, from, "\"%s\" : jump leaves_%s", n->tap, s->id);
		if (in)
			rules_add(r, to, "\"%s\" : jump enters_%s", n->tap, s->id);
	}
}

static void nat(struct rules *r, const struct plan_nat *n, struct unit *out, struct unit *back)
{
	const struct plan_subnet *s = lookup_subnet(r->plan, n->subnet);
	const struct plan_acl *acl = s ? lookup_acl(r->plan, s->acl) : NULL;
	bool leaves = !is_open(r, acl, true), enters = !is_open(r, acl, false);
	u32 realm = lookup_realm(r->plan, n);
	struct unit *c;

	if (!leaves && !enters)
		return;
	/* To the gateway, unless the sender is in its subnet, and from there. */
	c = rules_chain(r, arena_printf(r->arena, "out_by_%s", n->id), "");
	if (enters)
		rules_add(r, c, "iifname != @taps_%s jump acl_in_%s", s->id, acl->id);
	if (leaves)
		rules_add(r, c, "jump acl_out_%s", acl->id);
	rules_add(r, out, "%u : jump out_by_%s", realm, n->id);
	c = rules_chain(r, arena_printf(r->arena, "back_by_%s", n->id), "");
	if (enters)
		rules_add(r, c, "jump acl_in_%s", acl->id);
	if (leaves)
		rules_add(r, c, "oifname != @taps_%s jump acl_out_%s", s->id, acl->id);
	rules_add(r, back, "0x%08x : jump back_by_%s", realm << MARK_REALM, n->id);
}

void rules_acl(struct rules *r)
{
	struct unit *c = rules_chain(r, "acls", ""), *from = rules_map(r, "acl_from", "ifname : verdict"),
	            *to = rules_map(r, "acl_to", "ifname : verdict");

	rules_add(r, c, "iifname vmap @acl_from");
	if (r->plan->nats_count) {
		struct unit *out = rules_map(r, "acl_nat_out", "realm : verdict"),
		            *back = rules_map(r, "acl_nat_back", "mark : verdict");

		rules_add(r, c, "ct direction original meta rtclassid vmap @acl_nat_out");
		rules_add(r, c, "ct direction reply ct mark & 0x%08x vmap @acl_nat_back",
		          0xffffU << MARK_REALM);
		for (unsigned i = 0; i < r->plan->nats_count; i++)
			nat(r, &r->plan->nats[i], out, back);
	}
	rules_add(r, c, "oifname vmap @acl_to");
	for (unsigned i = 0; i < r->plan->acls_count; i++) {
		acl_chain(r, &r->plan->acls[i], true);
		acl_chain(r, &r->plan->acls[i], false);
	}
	for (unsigned i = 0; i < r->plan->subnets_count; i++)
		subnet(r, &r->plan->subnets[i], from, to);
}
