/*
 * The name servers of a VPC: queries of guests by UDP and TCP, answered at once (dns.h) or by way of the
 * resolver (resolver.h). Loop's thread.
 *
 * A query that waits holds one of DNS_WAITING places, and one of its guest's (guests.h). It is answered with
 * SERVFAIL where there is no place, or no answer in time.
 */
#pragma once

#include "base/loop.h"
#include "net/datagram.h"
#include "net/dns.h"
#include "net/guests.h"
#include "net/stream.h"

enum { DNS_PORT = 53, DNS_WAITING = 512, DNS_WAIT_S = 9 };

struct dns_waiting {
	bool busy;
	u32 serial; /* whose turn of the place it is */
	int fd;     /* UDP: where it came from; TCP: -1 */
	struct datagram from;
	struct stream_server *server; /* TCP */
	u64 stream;
	struct dns_query query;
	u8 question[DNS_HEADER + DNS_NAME_MAX + 4];
	u64 deadline_ns;
};

struct dns_server {
	struct loop *loop;
	struct guests *guests;
	struct loop_fd udp[2], resolver;
	struct stream_server tcp[2];
	struct dns_waiting waiting[DNS_WAITING];
	struct loop_timer timer;
};

/* Opens its sockets, in the namespace that this process is in. */
int dns_server_open(struct dns_server *s, struct error *e);
/* resolver: the socket that resolver_start() gave. */
int dns_server_start(struct dns_server *s, struct loop *l, struct guests *g, int resolver, struct error *e);
