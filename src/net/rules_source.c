/*
 * Who a packet may be from. This runs before fragments are put together, so that nobody's fragment gets into
 * somebody else's packet. Addresses of an interface are elements of sets; a delegated block is, too.
 */
#include "net/rules.h"

static void from_tap(struct rules *r)
{
	struct unit *c = rules_chain(r, "source_tap", ""), *cast = rules_chain(r, "source_cast", "");

	rules_add(r, c, "iifname . ether saddr != @macs drop");
	rules_add(r, c, "ip hdrlength != 5 drop");
	rules_add(r, c, "exthdr rt exists drop");
	rules_add(r, c, "meta pkttype { broadcast, multicast } goto source_cast");
	rules_add(r, c, "ip daddr 224.0.0.0/3 goto source_cast");
	rules_add(r, c, "ip6 daddr ff00::/8 goto source_cast");
	rules_add(r, c, "iifname . ip saddr @source4 accept");
	rules_add(r, c, "iifname . ip6 saddr @source6 accept");
	rules_add(r, c, "iifname . ip saddr @source4_blocks accept");
	rules_add(r, c, "iifname . ip6 saddr @source6_blocks accept");
	rules_add(r, c, "ip6 saddr fe80::/10 ip6 daddr fe80::/10 accept");
	/* Whoever may send for others may not do so for us, or for nobody. */
	rules_add(r, c, "ip saddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 } drop");
	rules_add(r, c, "ip6 saddr { ::/127, fe80::/10, ff00::/8, fd00:ec2::/64 } drop");
	rules_add(r, c, "iifname @unchecked meta mark set 1 accept");
	rules_add(r, c, "drop");

	rules_add(r, cast, "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67 accept");
	rules_add(r, cast, "iifname . ip saddr @source4 ip daddr 255.255.255.255 udp dport 67 accept");
	rules_add(r, cast, "ip6 saddr fe80::/10 ip6 daddr ff02::1:2 udp dport 547 accept");
	rules_add(r, cast,
	          "ip6 saddr fe80::/10 icmpv6 type { nd-router-solicit, nd-neighbor-solicit } accept");
	rules_add(r, cast, "ip6 saddr :: icmpv6 type { nd-router-solicit, nd-neighbor-solicit } accept");
	rules_add(r, cast, "iifname . ip6 saddr @source6 icmpv6 type nd-neighbor-solicit accept");
	rules_add(r, cast, "drop");
}

/* From the host: no address of the VPC itself or of a peer, whatever networks the host is in. */
static void from_uplink(struct rules *r)
{
	struct unit *c = rules_chain(r, "source_uplink", "");

	rules_add(r, c, "ip hdrlength != 5 drop");
	rules_add(r, c, "exthdr rt exists drop");
	rules_add(r, c, "icmp type redirect drop");
	rules_add(r, c, "ip saddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 } drop");
	rules_add(r, c, "ip6 saddr { fe80::/10, ff00::/8 } drop");
	for (unsigned i = 0; i < r->plan->cidrs_count; i++)
		rules_add(r, c, "ip saddr %s drop", r->plan->cidrs[i]);
	for (unsigned i = 0; i < r->plan->cidrs6_count; i++)
		rules_add(r, c, "ip6 saddr %s drop", r->plan->cidrs6[i]);
	for (unsigned i = 0; i < r->plan->peerings_count; i++)
		for (unsigned k = 0; k < r->plan->peerings[i].cidrs_count; k++)
			rules_add(r, c, "%sdrop",
			          rules_block(r->arena, "saddr", r->plan->peerings[i].cidrs[k]));
	rules_add(r, c, "accept");
}

static void from_peers(struct rules *r, struct unit *sources)
{
	for (unsigned i = 0; i < r->plan->peerings_count; i++) {
		const struct plan_peering *peer = &r->plan->peerings[i];
		char name[PLAN_TAP];
		struct unit *c;

		plan_peering_name(name, peer->id);
		c = rules_chain(r, arena_printf(r->arena, "source_%s", name), "");
		rules_add(r, c, "ip hdrlength != 5 drop");
		rules_add(r, c, "exthdr rt exists drop");
		for (unsigned k = 0; k < peer->cidrs_count; k++)
			rules_add(r, c, "%saccept", rules_block(r->arena, "saddr", peer->cidrs[k]));
		rules_add(r, c, "drop");
		rules_add(r, sources, "\"%s\" : goto source_%s", name, name);
	}
}

/* Senders of ARP say who they are; a probe (RFC 5227) does not yet. */
static void arp(struct rules *r)
{
	struct unit *senders = ruleset_unit(r->set, UNIT_SET, RULES_ARP, "senders",
	                                    "{ type ifname . ether_addr . ipv4_addr; }"),
	            *blocks = ruleset_unit(r->set, UNIT_SET, RULES_ARP, "blocks",
	                                   "{ type ifname . ether_addr . ipv4_addr; flags interval; }"),
	            *probes = ruleset_unit(r->set, UNIT_SET, RULES_ARP, "probes",
	                                   "{ type ifname . ether_addr; }"),
	            *c = ruleset_unit(r->set, UNIT_CHAIN, RULES_ARP, "input",
	                              "{ type filter hook input priority filter; policy drop; }");

	for (unsigned i = 0; i < r->plan->interfaces_count; i++) {
		const struct plan_interface *n = &r->plan->interfaces[i];

		for (unsigned k = 0; k < n->addresses_count; k++)
			rules_add(r, senders, "\"%s\" . %s . %s", n->tap, n->mac, n->addresses[k]);
		for (unsigned k = 0; k < n->prefixes_count; k++)
			if (!lookup_is_v6(n->prefixes[k]))
				rules_add(r, blocks, "\"%s\" . %s . %s", n->tap, n->mac, n->prefixes[k]);
		rules_add(r, probes, "\"%s\" . %s", n->tap, n->mac);
	}
	rules_add(r, c, "iifname . ether saddr != @probes drop");
	rules_add(r, c, "iifname . arp saddr ether . arp saddr ip @senders accept");
	rules_add(r, c, "iifname . arp saddr ether . arp saddr ip @blocks accept");
	rules_add(r, c, "iifname . arp saddr ether @probes arp saddr ip 0.0.0.0 accept");
}

void rules_source(struct rules *r)
{
	struct unit *c = rules_chain(r, "source",
	                             "{ type filter hook prerouting priority -450; policy drop; }"),
	            *sources = rules_map(r, "sources", "ifname : verdict"),
	            *taps = rules_set(r, "taps", "ifname"),
	            *macs = rules_set(r, "macs", "ifname . ether_addr"),
	            *source4 = rules_set(r, "source4", "ifname . ipv4_addr"),
	            *source6 = rules_set(r, "source6", "ifname . ipv6_addr"),
	            *blocks4 = rules_set(r, "source4_blocks", "ifname . ipv4_addr; flags interval"),
	            *blocks6 = rules_set(r, "source6_blocks", "ifname . ipv6_addr; flags interval"),
	            *unchecked = rules_set(r, "unchecked", "ifname");

	rules_add(r, c, "iifname \"lo\" accept");
	rules_add(r, c, "iifname vmap @sources");
	rules_add(r, sources, "\"up0\" : goto source_uplink");
	for (unsigned i = 0; i < r->plan->interfaces_count; i++) {
		const struct plan_interface *n = &r->plan->interfaces[i];

		rules_add(r, sources, "\"%s\" : goto source_tap", n->tap);
		rules_add(r, taps, "\"%s\"", n->tap);
		rules_add(r, macs, "\"%s\" . %s", n->tap, n->mac);
		for (unsigned k = 0; k < n->addresses_count; k++)
			rules_add(r, source4, "\"%s\" . %s", n->tap, n->addresses[k]);
		for (unsigned k = 0; k < n->addresses6_count; k++)
			rules_add(r, source6, "\"%s\" . %s", n->tap, n->addresses6[k]);
		for (unsigned k = 0; k < n->prefixes_count; k++)
			rules_add(r, lookup_is_v6(n->prefixes[k]) ? blocks6 : blocks4, "\"%s\" . %s", n->tap,
			          n->prefixes[k]);
		if (!n->check)
			rules_add(r, unchecked, "\"%s\"", n->tap);
	}
	from_tap(r);
	from_uplink(r);
	from_peers(r, sources);
	arp(r);
}
