/* UDP and raw sockets that say, of each packet, which device it came in on and to which address, and send the
 * answer the same way (ip(7) IP_PKTINFO, ipv6(7) IPV6_RECVPKTINFO). */
#pragma once

#include "base/cidr.h"
#include "base/error.h"

#include <sys/types.h>

struct datagram {
	int device;
	struct ip peer, local; /* local: where it was sent to */
	u16 port;              /* the peer's */
	int hops;              /* IPv6: as it arrived */
	u64 received_ns;       /* CLOCK_REALTIME, by the kernel */
};

/* A socket for all addresses. Not blocking. */
int datagram_open(bool v6, u16 port, struct error *e);
/* ICMPv6, for one type of message. */
int datagram_open_icmp6(u8 type, struct error *e);
/* -1: there is none left. */
ssize_t datagram_receive(int fd, struct datagram *d, u8 *bytes, size_t room);
/* To d's peer, from d's local address (any if it is all zeros), through d's device. */
int datagram_send(int fd, const struct datagram *d, const u8 *bytes, size_t length);
