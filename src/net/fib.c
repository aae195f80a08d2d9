#include "net/fib.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const u8 none[16];

void fib_bytes(u8 out[16], struct ip a)
{
	unsigned size = a.v6 ? 16 : 4;

	memset(out, 0, 16);
	for (unsigned i = 0; i < size; i++)
		out[i] = (u8)(a.bits >> 8 * (size - 1 - i));
}

static struct fib_item *add(struct fib *f)
{
	if (f->count == f->room) {
		struct fib_item *more = arena_alloc(f->arena, (f->room = f->room * 2 + 64) * sizeof(*more));

		if (f->count)
			memcpy(more, f->items, f->count * sizeof(*more));
		f->items = more;
	}
	return memset(&f->items[f->count++], 0, sizeof(struct fib_item));
}

struct fib_item *fib_add(struct fib *f, enum fib_kind kind, struct cidr to)
{
	struct fib_item *i = add(f);

	i->kind = (u8)kind;
	i->v6 = to.first.v6;
	i->length = to.length;
	fib_bytes(i->to, to.first);
	return i;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct fib_item));
}

/* ---- what is there ---- */

struct reading {
	struct fib *fib;
	u32 link;
};

static size_t width(bool v6)
{
	return v6 ? 16 : 4;
}

static void copy(u8 *to, const struct nlattr *a, bool v6)
{
	if (a && netlink_size(a) >= width(v6))
		memcpy(to, netlink_data(a), width(v6));
}

static void read_address(const struct nlmsghdr *m, struct reading *r)
{
	static const u8 loop4[16] = {127, 0, 0, 1}, loop6[16] = {[15] = 1};
	const struct nlattr *a[IFA_MAX + 1];
	const struct ifaddrmsg *b = NLMSG_DATA(m);
	struct fib_item i = {
	        .kind = FIB_ADDRESS, .v6 = b->ifa_family == AF_INET6, .length = b->ifa_prefixlen};

	netlink_attributes(m, sizeof(*b), a, IFA_MAX);
	i.link = b->ifa_index;
	copy(i.to, a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS], i.v6);
	if (memcmp(i.to, i.v6 ? loop6 : loop4, 16))
		*add(r->fib) = i;
}

static void read_neighbour(const struct nlmsghdr *m, struct reading *r)
{
	const struct nlattr *a[NDA_MAX + 1];
	const struct ndmsg *b = NLMSG_DATA(m);
	struct fib_item i = {.kind = FIB_NEIGHBOUR, .v6 = b->ndm_family == AF_INET6};

	if (b->ndm_state != NUD_PERMANENT || (b->ndm_family != AF_INET6 && b->ndm_family != AF_INET))
		return;
	netlink_attributes(m, sizeof(*b), a, NDA_MAX);
	i.length = i.v6 ? 128 : 32;
	i.link = (u32)b->ndm_ifindex;
	copy(i.to, a[NDA_DST], i.v6);
	if (a[NDA_LLADDR] && netlink_size(a[NDA_LLADDR]) == 6)
		memcpy(i.mac, netlink_data(a[NDA_LLADDR]), 6);
	*add(r->fib) = i;
}

static void read_route(const struct nlmsghdr *m, struct reading *r)
{
	const struct nlattr *a[RTA_MAX + 1];
	const struct rtmsg *b = NLMSG_DATA(m);
	struct fib_item i = {.kind = FIB_ROUTE, .v6 = b->rtm_family == AF_INET6, .length = b->rtm_dst_len};

	netlink_attributes(m, sizeof(*b), a, RTA_MAX);
	i.table = netlink_get32(a[RTA_TABLE], b->rtm_table);
	if (i.table == RT_TABLE_LOCAL || b->rtm_protocol == RTPROT_KERNEL || b->rtm_flags & RTM_F_CLONED)
		return;
	i.blackhole = b->rtm_type != RTN_UNICAST;
	copy(i.to, a[RTA_DST], i.v6);
	copy(i.source, a[RTA_PREFSRC], i.v6);
	if (!i.blackhole) {
		i.link = netlink_get32(a[RTA_OIF], 0);
		i.realm = netlink_get32(a[RTA_FLOW], 0);
		if (i.v6)
			copy(i.via, a[RTA_GATEWAY], true);
		else if (a[RTA_VIA] && netlink_size(a[RTA_VIA]) == sizeof(struct rtvia) + 16)
			memcpy(i.via, ((const struct rtvia *)netlink_data(a[RTA_VIA]))->rtvia_addr, 16);
	}
	*add(r->fib) = i;
}

static void read_rule(const struct nlmsghdr *m, struct reading *r)
{
	const struct nlattr *a[FRA_MAX + 1];
	const struct fib_rule_hdr *b = NLMSG_DATA(m);
	struct fib_item i = {.kind = FIB_RULE, .v6 = b->family == AF_INET6};

	netlink_attributes(m, sizeof(*b), a, FRA_MAX);
	i.table = netlink_get32(a[FRA_TABLE], b->table);
	i.priority = netlink_get32(a[FRA_PRIORITY], 0);
	if (!i.priority || i.priority >= 32766)
		return;
	if (a[FRA_IIFNAME])
		snprintf(i.in, sizeof(i.in), "%.15s", (const char *)netlink_data(a[FRA_IIFNAME]));
	*add(r->fib) = i;
}

static void read_item(const struct nlmsghdr *m, void *arg)
{
	struct reading *r = arg;

	switch (m->nlmsg_type) {
	case RTM_NEWADDR:
		read_address(m, r);
		break;
	case RTM_NEWNEIGH:
		read_neighbour(m, r);
		break;
	case RTM_NEWROUTE:
		read_route(m, r);
		break;
	case RTM_NEWRULE:
		read_rule(m, r);
		break;
	}
	if (r->link && r->fib->count && r->fib->items[r->fib->count - 1].link != r->link)
		r->fib->count--;
}

static int read_kind(struct netlink *n, struct reading *r, unsigned type, u8 family, size_t body,
                     struct error *e)
{
	struct rtmsg all = {.rtm_family = family}; /* all bodies begin with the family */
	struct netlink_request request;

	netlink_begin(&request, type, 0, &all, min(body, sizeof(all)));
	return netlink_dump(n, &request, read_item, r, e);
}

static int read_all(struct netlink *n, struct fib *there, u32 link, struct error *e)
{
	struct reading r = {there, link};

	if (read_kind(n, &r, RTM_GETADDR, AF_UNSPEC, sizeof(struct ifaddrmsg), e) < 0 ||
	    read_kind(n, &r, RTM_GETNEIGH, AF_UNSPEC, sizeof(struct ndmsg), e) < 0 ||
	    read_kind(n, &r, RTM_GETROUTE, AF_INET, sizeof(struct rtmsg), e) < 0 ||
	    read_kind(n, &r, RTM_GETROUTE, AF_INET6, sizeof(struct rtmsg), e) < 0)
		return -1;
	if (!link && (read_kind(n, &r, RTM_GETRULE, AF_INET, sizeof(struct fib_rule_hdr), e) < 0 ||
	              read_kind(n, &r, RTM_GETRULE, AF_INET6, sizeof(struct fib_rule_hdr), e) < 0))
		return -1;
	return 0;
}

int fib_read(struct netlink *n, struct fib *there, u32 link, struct error *e)
{
	return read_all(n, there, link, e) < 0 ? error_prefix(e, "addresses and routes") : 0;
}

/* ---- changes ---- */

static void put_route(struct netlink_request *r, const struct fib_item *i, unsigned type, unsigned flags)
{
	struct rtmsg b = {.rtm_family = i->v6 ? AF_INET6 : AF_INET,
	                  .rtm_dst_len = i->length,
	                  .rtm_protocol = RTPROT_STATIC,
	                  .rtm_type = i->blackhole ? RTN_BLACKHOLE : RTN_UNICAST};
	bool via = memcmp(i->via, none, 16);

	if (type == RTM_DELROUTE) {
		b.rtm_scope = RT_SCOPE_NOWHERE;
		b.rtm_protocol = RTPROT_UNSPEC;
	} else if (!i->v6 && !i->blackhole && !via) {
		b.rtm_scope = RT_SCOPE_LINK;
	}
	netlink_begin(r, type, flags, &b, sizeof(b));
	netlink_put32(r, RTA_TABLE, i->table);
	if (i->length)
		netlink_put(r, RTA_DST, i->to, width(i->v6));
	if (i->link)
		netlink_put32(r, RTA_OIF, i->link);
	if (i->realm)
		netlink_put32(r, RTA_FLOW, i->realm);
	if (memcmp(i->source, none, 16))
		netlink_put(r, RTA_PREFSRC, i->source, width(i->v6));
	if (via && i->v6) {
		netlink_put(r, RTA_GATEWAY, i->via, 16);
	} else if (via) {
		u8 hop[sizeof(struct rtvia) + 16];

		((struct rtvia *)(void *)hop)->rtvia_family = AF_INET6;
		memcpy(hop + sizeof(struct rtvia), i->via, 16);
		netlink_put(r, RTA_VIA, hop, sizeof(hop));
	}
}

static void put_address(struct netlink_request *r, const struct fib_item *i, unsigned type, unsigned flags)
{
	bool local = i->v6 && i->to[0] == 0xfe && (i->to[1] & 0xc0) == 0x80;
	struct ifaddrmsg b = {.ifa_family = i->v6 ? AF_INET6 : AF_INET,
	                      .ifa_prefixlen = i->length,
	                      .ifa_flags = i->v6 ? IFA_F_NODAD : 0,
	                      .ifa_scope = local ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
	                      .ifa_index = i->link};

	netlink_begin(r, type, flags, &b, sizeof(b));
	netlink_put(r, IFA_LOCAL, i->to, width(i->v6));
	netlink_put(r, IFA_ADDRESS, i->to, width(i->v6));
}

static void put_neighbour(struct netlink_request *r, const struct fib_item *i, unsigned type, unsigned flags)
{
	struct ndmsg b = {.ndm_family = i->v6 ? AF_INET6 : AF_INET,
	                  .ndm_ifindex = (int)i->link,
	                  .ndm_state = NUD_PERMANENT};

	netlink_begin(r, type, flags, &b, sizeof(b));
	netlink_put(r, NDA_DST, i->to, width(i->v6));
	netlink_put(r, NDA_LLADDR, i->mac, 6);
}

static void put_rule(struct netlink_request *r, const struct fib_item *i, unsigned type, unsigned flags)
{
	struct fib_rule_hdr b = {.family = i->v6 ? AF_INET6 : AF_INET, .action = FR_ACT_TO_TBL};

	netlink_begin(r, type, flags, &b, sizeof(b));
	netlink_put32(r, FRA_PRIORITY, i->priority);
	netlink_put32(r, FRA_TABLE, i->table);
	if (*i->in)
		netlink_put_text(r, FRA_IIFNAME, i->in);
}

static int fail(const struct fib_item *i, const char *doing, struct error *e)
{
	static const char *const kinds[] = {"address", "neighbour", "route", "rule"};
	struct ip a = {.v6 = i->v6};
	char text[IP_TEXT];

	for (unsigned k = 0; k < width(i->v6); k++)
		a.bits = a.bits << 8 | i->to[k];
	ip_write(text, a);
	return error_prefix(e, "%s %s %s/%u (interface %u%s, table %u)", doing, kinds[i->kind], text,
	                    i->length, i->link, i->in, i->table);
}

static int create(struct netlink *n, const struct fib_item *i, struct error *e)
{
	unsigned flags = NLM_F_CREATE | NLM_F_REPLACE;
	struct netlink_request r;

	switch (i->kind) {
	case FIB_ADDRESS:
		put_address(&r, i, RTM_NEWADDR, flags);
		break;
	case FIB_NEIGHBOUR:
		put_neighbour(&r, i, RTM_NEWNEIGH, flags);
		break;
	case FIB_ROUTE:
		put_route(&r, i, RTM_NEWROUTE, flags);
		break;
	default:
		put_rule(&r, i, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
	}
	return netlink_ask(n, &r, e) < 0 ? fail(i, "making", e) : 0;
}

/* What has gone in the meantime, with something else, is as good as deleted. */
static int delete (struct netlink *n, const struct fib_item *i, struct error *e)
{
	struct netlink_request r;

	switch (i->kind) {
	case FIB_ADDRESS:
		put_address(&r, i, RTM_DELADDR, 0);
		break;
	case FIB_NEIGHBOUR:
		put_neighbour(&r, i, RTM_DELNEIGH, 0);
		break;
	case FIB_ROUTE:
		put_route(&r, i, RTM_DELROUTE, 0);
		break;
	default:
		put_rule(&r, i, RTM_DELRULE, 0);
	}
	if (netlink_ask(n, &r, e) == 0 || e->code == ENOENT || e->code == ESRCH || e->code == EADDRNOTAVAIL ||
	    e->code == ENODEV)
		return 0;
	return fail(i, "taking away", e);
}

/* Of two routes to one place in one table, or of two ways to say who a neighbour is, one can be. */
static bool same_place(const struct fib_item *a, const struct fib_item *b)
{
	return (a->kind == FIB_ROUTE || a->kind == FIB_NEIGHBOUR) && a->kind == b->kind && a->v6 == b->v6 &&
	       a->length == b->length && a->table == b->table && !memcmp(a->to, b->to, 16) &&
	       (a->kind == FIB_ROUTE || a->link == b->link);
}

int fib_apply(struct netlink *n, struct fib *wanted, struct fib *there, struct fib *gone, struct error *e)
{
	struct fib make = {.arena = wanted->arena}, remove = make;
	unsigned w = 0, t = 0;

	if (wanted->count)
		qsort(wanted->items, wanted->count, sizeof(*wanted->items), compare);
	if (there->count)
		qsort(there->items, there->count, sizeof(*there->items), compare);
	while (w < wanted->count || t < there->count) {
		int order = w == wanted->count  ? 1
		            : t == there->count ? -1
		                                : compare(&wanted->items[w], &there->items[t]);

		if (order < 0 && !(w && !compare(&wanted->items[w - 1], &wanted->items[w])))
			*add(&make) = wanted->items[w];
		else if (order > 0)
			*add(&remove) = there->items[t];
		w += order <= 0;
		t += order >= 0;
	}
	/* IPv6 may keep both, where one was to replace the other. */
	for (unsigned i = 0; i < make.count; i++)
		for (unsigned k = 0; k < remove.count; k++)
			if (same_place(&make.items[i], &remove.items[k])) {
				if (make.items[i].v6 && delete (n, &remove.items[k], e) < 0)
					return -1;
				if (gone)
					*add(gone) = remove.items[k];
				memmove(&remove.items[k], &remove.items[k + 1],
				        (remove.count - k - 1) * sizeof(*remove.items));
				remove.count--;
				break;
			}
	for (unsigned i = 0; i < make.count; i++)
		if (create(n, &make.items[i], e) < 0)
			return -1;
	for (unsigned i = remove.count; i-- > 0;) {
		if (delete (n, &remove.items[i], e) < 0)
			return -1;
		if (gone)
			*add(gone) = remove.items[i];
	}
	return 0;
}
