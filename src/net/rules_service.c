/*
 * The services of a VPC: whatever groups and ACLs say, every interface reaches them, and nothing else of the
 * namespace. Connections to them are not tracked: a flood of questions leaves nothing behind.
 */
#include "net/rules.h"

static void element(struct rules *r, struct unit *u, const char *address, const char *protocol, unsigned port)
{
	rules_add(r, u, "%s . %s . %u", address, protocol, port);
}

static void name_server(struct rules *r, struct unit *u, const char *address)
{
	element(r, u, address, "udp", 53);
	element(r, u, address, "tcp", 53);
}

void rules_service(struct rules *r)
{
	struct unit *s4 = rules_set(r, "services4", "ipv4_addr . inet_proto . inet_service"),
	            *s6 = rules_set(r, "services6", "ipv6_addr . inet_proto . inet_service"),
	            *in = rules_chain(r, "input", "{ type filter hook input priority filter; policy drop; }"),
	            *notrack = rules_chain(r, "services", "{ type filter hook prerouting priority raw; }"),
	            *answers = rules_chain(r, "answers", "{ type filter hook output priority raw; }");

	rules_set(r, "solicitors", "ifname; size 65535; flags dynamic");
	element(r, s4, "169.254.169.254", "tcp", 80);
	element(r, s4, "169.254.169.123", "udp", 123);
	element(r, s4, "255.255.255.255", "udp", 67);
	element(r, s4, "169.254.169.254", "udp", 67);
	name_server(r, s4, "169.254.169.253");
	for (unsigned i = 0; i < r->plan->cidrs_count; i++) {
		const char *address = ip_text(r->arena, lookup_nth(r->plan->cidrs[i], 2));

		name_server(r, s4, address);
		element(r, s4, address, "udp", 67);
	}
	for (unsigned i = 0; i < r->plan->subnets_count; i++)
		if (*r->plan->subnets[i].cidr)
			element(r, s4, ip_text(r->arena, lookup_nth(r->plan->subnets[i].cidr, 1)), "udp", 67);
	element(r, s6, "fd00:ec2::254", "tcp", 80);
	element(r, s6, "fd00:ec2::123", "udp", 123);
	name_server(r, s6, "fd00:ec2::253");

	rules_add(r, in, "iifname \"lo\" accept");
	rules_add(r, in, "iifname != @taps drop");
	/* to what an operator has begun in the namespace */
	rules_add(r, in, "ct state established ct direction reply accept");
	rules_add(r, in, "ip daddr . meta l4proto . th dport @services4 accept");
	rules_add(r, in, "ip6 daddr . meta l4proto . th dport @services6 accept");
	rules_add(r, in, "ip6 daddr { fe80::/10, ff02::1:2 } udp dport 547 accept");
	/* A neighbour is remembered for each address that solicits: not for as many as one likes. */
	rules_add(r, in,
	          "meta l4proto icmpv6 update @solicitors { iifname limit rate over 20/second burst 50 "
	          "packets } drop");
	rules_add(r, in,
	          "ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert "
	          "} accept");

	rules_add(r, notrack, "iifname @taps ip daddr . meta l4proto . th dport @services4 notrack");
	rules_add(r, notrack, "iifname @taps ip6 daddr . meta l4proto . th dport @services6 notrack");
	rules_add(r, notrack, "iifname @taps udp dport 547 ip6 daddr { fe80::/10, ff02::1:2 } notrack");
	rules_add(r, notrack,
	          "iifname @taps icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } "
	          "notrack");
	rules_add(r, answers, "ip saddr . meta l4proto . th sport @services4 notrack");
	rules_add(r, answers, "ip6 saddr . meta l4proto . th sport @services6 notrack");
	rules_add(r, answers, "udp sport { 67, 547 } notrack");
}
