#include "net/links.h"
#include "base/log.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int links_open(struct links *l, struct error *e)
{
	struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int room = 1 << 20;

	*l = (struct links){.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)};
	if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return error_set(e, errno, "netlink");
	setsockopt(l->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	return 0;
}

int links_ask(struct links *l, struct error *e)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg body;
	} request = {
	        .head = {.nlmsg_len = sizeof(request),
	                 .nlmsg_type = RTM_GETLINK,
	                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	};

	if (send(l->fd, &request, sizeof(request), 0) < 0)
		return error_set(e, errno, "netlink");
	return 0;
}

/* Where the device is in the list, or would be. */
static unsigned position(const struct links *l, int index)
{
	unsigned low = 0, high = l->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (l->list[middle]->index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct link *links_find(const struct links *l, int index)
{
	unsigned at = position(l, index);

	return at < l->count && l->list[at]->index == index ? l->list[at] : NULL;
}

static struct link *add(struct links *l, int index)
{
	unsigned at = position(l, index);
	struct link **list = realloc(l->list, (l->count + 1) * sizeof(*list));
	struct link *link = calloc(1, sizeof(*link));

	if (!list || !link)
		abort();
	memmove(list + at + 1, list + at, (l->count - at) * sizeof(*list));
	link->index = index;
	link->rate.per_second = LINK_PACKETS_PER_SECOND;
	list[at] = link;
	l->list = list;
	l->count++;
	return link;
}

static void forget(struct links *l, int index)
{
	unsigned at = position(l, index);

	if (at == l->count || l->list[at]->index != index)
		return;
	free(l->list[at]);
	l->count--;
	memmove(l->list + at, l->list + at + 1, (l->count - at) * sizeof(*l->list));
}

static void take(struct links *l, const struct nlmsghdr *head)
{
	const struct ifinfomsg *info = NLMSG_DATA(head);
	int left = (int)(head->nlmsg_len - NLMSG_LENGTH(sizeof(*info)));
	const char *name = NULL;
	struct link *link;
	bool was_up;

	if (left < 0)
		return;
	if (head->nlmsg_type == RTM_DELLINK) {
		forget(l, info->ifi_index);
		return;
	}
	for (const struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFLA_IFNAME)
			name = RTA_DATA(a);
	if (!name || strnlen(name, PLAN_TAP) == PLAN_TAP)
		return;
	link = links_find(l, info->ifi_index);
	was_up = link && link->up && !strcmp(link->name, name);
	if (!link)
		link = add(l, info->ifi_index);
	snprintf(link->name, sizeof(link->name), "%s", name);
	link->up = info->ifi_flags & IFF_RUNNING;
	if (link->up != was_up || !link->joined)
		l->changed(l->ctx, link);
}

static void take_all(struct links *l, const char *bytes, size_t left)
{
	while (left >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *head = (const struct nlmsghdr *)(const void *)bytes;
		size_t step = NLMSG_ALIGN(head->nlmsg_len);

		if (head->nlmsg_len < sizeof(*head) || head->nlmsg_len > left)
			return;
		if (head->nlmsg_type == RTM_NEWLINK || head->nlmsg_type == RTM_DELLINK)
			take(l, head);
		step = min(step, left);
		bytes += step;
		left -= step;
	}
}

void links_read(struct links *l)
{
	static _Alignas(struct nlmsghdr) char bytes[1 << 16];
	struct error e;
	ssize_t n;

	while ((n = recv(l->fd, bytes, sizeof(bytes), 0)) >= 0 || errno == ENOBUFS) {
		if (n < 0) /* some were lost */
			links_ask(l, &e);
		else
			take_all(l, bytes, (size_t)n);
	}
}
