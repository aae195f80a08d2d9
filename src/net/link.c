#include "net/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct reading {
	struct arena *arena;
	struct link_list *links;
};

static void read_link(const struct nlmsghdr *m, void *arg)
{
	const struct nlattr *a[IFLA_STATS64 + 1];
	const struct ifinfomsg *info = NLMSG_DATA(m);
	struct reading *r = arg;
	struct link_list *l = r->links;
	struct link *link;

	if (m->nlmsg_type != RTM_NEWLINK)
		return;
	if (l->count == l->room) {
		struct link *more = arena_alloc(r->arena, (l->room = l->room * 2 + 16) * sizeof(*more));

		if (l->count)
			memcpy(more, l->all, l->count * sizeof(*more));
		l->all = more;
	}
	link = &l->all[l->count++];
	*link = (struct link){.index = (u32)info->ifi_index, .up = info->ifi_flags & IFF_UP};
	netlink_attributes(m, sizeof(*info), a, IFLA_STATS64);
	if (a[IFLA_IFNAME])
		snprintf(link->name, sizeof(link->name), "%.15s", (const char *)netlink_data(a[IFLA_IFNAME]));
	if (a[IFLA_ADDRESS] && netlink_size(a[IFLA_ADDRESS]) == 6)
		memcpy(link->mac, netlink_data(a[IFLA_ADDRESS]), 6);
	link->mtu = netlink_get32(a[IFLA_MTU], 0);
	if (a[IFLA_STATS64]) {
		struct rtnl_link_stats64 s = {0};

		memcpy(&s, netlink_data(a[IFLA_STATS64]), min(netlink_size(a[IFLA_STATS64]), sizeof(s)));
		link->rx_packets = s.rx_packets;
		link->rx_bytes = s.rx_bytes;
		link->tx_packets = s.tx_packets;
		link->tx_bytes = s.tx_bytes;
		link->tx_dropped = s.tx_dropped;
	}
}

static int list(struct netlink *n, struct arena *a, struct link_list *l, bool counters, struct error *e)
{
	struct ifinfomsg all = {.ifi_family = AF_UNSPEC};
	struct reading r = {a, l};
	struct netlink_request request;

	*l = (struct link_list){0};
	netlink_begin(&request, RTM_GETLINK, 0, &all, sizeof(all));
	if (!counters)
		netlink_put32(&request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return netlink_dump(n, &request, read_link, &r, e) < 0 ? error_prefix(e, "interfaces") : 0;
}

int link_list(struct netlink *n, struct arena *a, struct link_list *l, struct error *e)
{
	return list(n, a, l, false, e);
}

int link_list_counters(struct netlink *n, struct arena *a, struct link_list *l, struct error *e)
{
	return list(n, a, l, true, e);
}

int link_look(struct netlink *n, struct arena *a, struct link_list *l, const char *name, struct error *e)
{
	struct ifinfomsg any = {.ifi_family = AF_UNSPEC};
	struct reading r = {a, l};
	struct netlink_request request;

	netlink_begin(&request, RTM_GETLINK, 0, &any, sizeof(any));
	netlink_put_text(&request, IFLA_IFNAME, name);
	netlink_put32(&request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	if (netlink_get(n, &request, read_link, &r, e) == 0 || e->code == ENODEV)
		return 0;
	return error_prefix(e, "interface '%s'", name);
}

struct link *link_find(const struct link_list *l, const char *name)
{
	for (unsigned i = 0; i < l->count; i++)
		if (!strcmp(l->all[i].name, name))
			return &l->all[i];
	return NULL;
}

int link_delete(struct netlink *n, u32 index, struct error *e)
{
	struct ifinfomsg link = {.ifi_index = (int)index};
	struct netlink_request r;

	netlink_begin(&r, RTM_DELLINK, 0, &link, sizeof(link));
	if (netlink_ask(n, &r, e) == 0 || e->code == ENODEV)
		return 0;
	return error_prefix(e, "taking interface %u away", index);
}

int link_start(struct netlink *n, u32 index, const u8 *mac, u32 mtu, struct error *e)
{
	struct ifinfomsg link = {.ifi_index = (int)index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct netlink_request r;

	netlink_begin(&r, RTM_NEWLINK, 0, &link, sizeof(link));
	if (mac)
		netlink_put(&r, IFLA_ADDRESS, mac, 6);
	if (mtu)
		netlink_put32(&r, IFLA_MTU, mtu);
	return netlink_ask(n, &r, e) < 0 ? error_prefix(e, "interface %u", index) : 0;
}

int link_make_tap(const char *name, struct error *e)
{
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), status = 0;

	if (fd < 0)
		return error_set(e, errno, "/dev/net/tun");
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &r) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0)
		status = error_set(e, errno, "tap '%s'", name);
	close(fd);
	return status;
}

int link_make_veth(struct netlink *n, const char *name, const char *peer, int namespace, const u8 mac[6],
                   u32 mtu, struct error *e)
{
	struct ifinfomsg link = {.ifi_flags = IFF_UP | IFF_NOARP, .ifi_change = IFF_UP | IFF_NOARP},
	                 down = {.ifi_flags = IFF_NOARP, .ifi_change = IFF_UP | IFF_NOARP};
	struct netlink_request r;
	size_t info, data, other;

	netlink_begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof(link));
	netlink_put_text(&r, IFLA_IFNAME, name);
	netlink_put(&r, IFLA_ADDRESS, mac, 6);
	netlink_put32(&r, IFLA_MTU, mtu);
	info = netlink_nest(&r, IFLA_LINKINFO, NULL, 0);
	netlink_put_text(&r, IFLA_INFO_KIND, "veth");
	data = netlink_nest(&r, IFLA_INFO_DATA, NULL, 0);
	other = netlink_nest(&r, VETH_INFO_PEER, &down, sizeof(down));
	netlink_put_text(&r, IFLA_IFNAME, peer);
	netlink_put(&r, IFLA_ADDRESS, mac, 6);
	netlink_put32(&r, IFLA_MTU, mtu);
	netlink_put32(&r, IFLA_NET_NS_FD, (u32) namespace);
	netlink_nest_end(&r, other);
	netlink_nest_end(&r, data);
	netlink_nest_end(&r, info);
	return netlink_ask(n, &r, e) < 0 ? error_prefix(e, "interfaces '%s' and '%s'", name, peer) : 0;
}
