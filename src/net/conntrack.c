#include "net/conntrack.h"
#include "net/netlink.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What it takes to delete an entry: its first tuple, as the kernel wrote it, its zone and its id. */
struct entry {
	struct entry *next;
	u8 family;
	u16 zone, size;
	u32 id;
	u8 tuple[];
};

struct search {
	const struct ip *addresses;
	unsigned count;
	struct entry *found;
};

static bool is_meant(const struct search *s, const struct nlattr *a, bool v6)
{
	struct ip address = {.v6 = v6};
	const u8 *bytes = a ? netlink_data(a) : NULL;

	if (!a)
		return false;
	for (size_t i = 0; i < netlink_size(a); i++)
		address.bits = address.bits << 8 | bytes[i];
	for (unsigned i = 0; i < s->count; i++)
		if (ip_equal(address, s->addresses[i]))
			return true;
	return false;
}

static bool has_address(const struct search *s, const struct nlattr *tuple)
{
	const struct nlattr *parts[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1];

	netlink_nested(tuple, parts, CTA_TUPLE_MAX);
	netlink_nested(parts[CTA_TUPLE_IP], ip, CTA_IP_MAX);
	return is_meant(s, ip[CTA_IP_V4_SRC], false) || is_meant(s, ip[CTA_IP_V4_DST], false) ||
	       is_meant(s, ip[CTA_IP_V6_SRC], true) || is_meant(s, ip[CTA_IP_V6_DST], true);
}

static void look(const struct nlmsghdr *m, void *arg)
{
	const struct nfgenmsg *body = NLMSG_DATA(m);
	const struct nlattr *a[CTA_MAX + 1];
	struct search *s = arg;
	struct entry *n;

	netlink_attributes(m, sizeof(*body), a, CTA_MAX);
	if (!a[CTA_TUPLE_ORIG] || (!has_address(s, a[CTA_TUPLE_ORIG]) && !has_address(s, a[CTA_TUPLE_REPLY])))
		return;
	n = malloc(sizeof(*n) + netlink_size(a[CTA_TUPLE_ORIG]));
	*n = (struct entry){s->found, body->nfgen_family, 0, (u16)netlink_size(a[CTA_TUPLE_ORIG]),
	                    netlink_get32(a[CTA_ID], 0)};
	if (a[CTA_ZONE])
		memcpy(&n->zone, netlink_data(a[CTA_ZONE]), sizeof(n->zone));
	memcpy(n->tuple, netlink_data(a[CTA_TUPLE_ORIG]), n->size);
	s->found = n;
}

static int forget(struct netlink *n, const struct entry *c, struct error *e)
{
	struct nfgenmsg body = {.nfgen_family = c->family};
	struct netlink_request r;

	netlink_begin(&r, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, 0, &body, sizeof(body));
	netlink_put(&r, CTA_TUPLE_ORIG | NLA_F_NESTED, c->tuple, c->size);
	netlink_put32(&r, CTA_ID, c->id);
	if (c->zone)
		netlink_put(&r, CTA_ZONE, &c->zone, sizeof(c->zone));
	if (netlink_ask(n, &r, e) == 0 || e->code == ENOENT)
		return 0;
	return error_prefix(e, "forgetting a connection");
}

int conntrack_forget(const struct ip *addresses, unsigned count, struct error *e)
{
	struct nfgenmsg all = {.nfgen_family = AF_UNSPEC};
	struct search s = {addresses, count, NULL};
	struct netlink_request r;
	struct netlink n;
	int status;

	if (!count)
		return 0;
	if (netlink_open(&n, NETLINK_NETFILTER, e) < 0)
		return -1;
	netlink_begin(&r, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, 0, &all, sizeof(all));
	status = netlink_dump(&n, &r, look, &s, e);
	while (s.found) {
		struct entry *next = s.found->next;

		if (status == 0)
			status = forget(&n, s.found, e);
		free(s.found);
		s.found = next;
	}
	netlink_close(&n);
	return status;
}
