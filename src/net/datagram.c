#include "net/datagram.h"
#include "base/clock.h"
#include "net/wire.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

static int finish(int fd, bool v6, struct error *e)
{
	int status = v6 ? option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) |
	                             option(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1)
	                : option(fd, IPPROTO_IP, IP_PKTINFO, 1) | option(fd, SOL_SOCKET, SO_BROADCAST, 1);

	if (status < 0 || option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1) < 0) {
		error_set(e, errno, "a socket's options");
		close(fd);
		return -1;
	}
	return fd;
}

int datagram_open(bool v6, u16 port, struct error *e)
{
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), status;
	struct sockaddr_in6 at6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};

	if (fd < 0)
		return error_set(e, errno, "a socket");
	if (v6)
		option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	status = v6 ? bind(fd, (struct sockaddr *)&at6, sizeof(at6))
	            : bind(fd, (struct sockaddr *)&at, sizeof(at));
	if (status < 0) {
		error_set(e, errno, "port %u of UDP", port);
		close(fd);
		return -1;
	}
	return finish(fd, v6, e);
}

int datagram_open_icmp6(u8 type, struct error *e)
{
	int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6);
	struct icmp6_filter filter;

	if (fd < 0)
		return error_set(e, errno, "a socket of ICMPv6");
	ICMP6_FILTER_SETBLOCKALL(&filter);
	ICMP6_FILTER_SETPASS(type, &filter);
	setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter));
	option(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255);
	option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255);
	option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
	return finish(fd, true, e);
}

static void read_control(struct datagram *d, struct msghdr *m)
{
	struct timespec ts;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		const void *data = CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			const struct in_pktinfo *info = data;

			d->device = info->ipi_ifindex;
			d->local = wire_ip4((const u8 *)&info->ipi_addr);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			const struct in6_pktinfo *info = data;

			d->device = (int)info->ipi6_ifindex;
			d->local = wire_ip6(info->ipi6_addr.s6_addr);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT) {
			memcpy(&d->hops, data, sizeof(d->hops));
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&ts, data, sizeof(ts));
			d->received_ns = (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
		}
	}
}

ssize_t datagram_receive(int fd, struct datagram *d, u8 *bytes, size_t room)
{
	union {
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} from;
	_Alignas(struct cmsghdr) char control[256];
	struct iovec whole = {bytes, room};
	struct msghdr m = {.msg_name = &from,
	                   .msg_namelen = sizeof(from),
	                   .msg_iov = &whole,
	                   .msg_iovlen = 1,
	                   .msg_control = control,
	                   .msg_controllen = sizeof(control)};
	ssize_t n;

	n = recvmsg(fd, &m, 0);
	if (n < 0)
		return -1;
	*d = (struct datagram){.received_ns = clock_realtime_ns()};
	if (from.v4.sin_family == AF_INET6) {
		d->peer = wire_ip6(from.v6.sin6_addr.s6_addr);
		d->port = ntohs(from.v6.sin6_port);
	} else {
		d->peer = wire_ip4((const u8 *)&from.v4.sin_addr);
		d->port = ntohs(from.v4.sin_port);
	}
	read_control(d, &m);
	return m.msg_flags & MSG_TRUNC ? 0 : n;
}

int datagram_send(int fd, const struct datagram *d, const u8 *bytes, size_t length)
{
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(d->port)};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(d->port)};
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = {0};
	struct iovec whole = {(void *)bytes, length};
	struct msghdr m = {.msg_iov = &whole, .msg_iovlen = 1, .msg_control = control};
	struct cmsghdr *c;
	u8 address[16];

	wire_of_ip(address, d->peer);
	m.msg_controllen =
	        d->peer.v6 ? CMSG_SPACE(sizeof(struct in6_pktinfo)) : CMSG_SPACE(sizeof(struct in_pktinfo));
	c = CMSG_FIRSTHDR(&m);
	if (d->peer.v6) {
		struct in6_pktinfo info = {.ipi6_ifindex = (unsigned)d->device};

		memcpy(&to6.sin6_addr, address, 16);
		/* A link-local address alone says nothing. */
		if (address[0] == 0xfe || address[0] == 0xff)
			to6.sin6_scope_id = (u32)d->device;
		m.msg_name = &to6;
		m.msg_namelen = sizeof(to6);
		wire_of_ip(address, d->local);
		if (address[0] != 0xff)
			memcpy(&info.ipi6_addr, address, 16);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	} else {
		struct in_pktinfo info = {.ipi_ifindex = d->device};

		memcpy(&to.sin_addr, address, 4);
		m.msg_name = &to;
		m.msg_namelen = sizeof(to);
		wire_put32((u8 *)&info.ipi_spec_dst, (u32)d->local.bits);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	}
	return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 0;
}
