/*
 * The process that asks the host's resolvers for names that are not the VPC's. It lives in the host's network
 * namespace, in a jail of its own, and reads no packet of a guest: queries come to it as they are, over a
 * socket pair, from the services, which in turn cannot reach the host's network at all.
 *
 * Each query is asked under a random id from a random port, and only an answer from where it was asked, to
 * the same question, is one; then of the next resolver, a few times.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

enum {
	RESOLVER_JOBS = 512,
	RESOLVER_SERVERS = 3,
	RESOLVER_UDP_MS = 1500, /* how long one is waited for */
	RESOLVER_TCP_MS = 4000,
	RESOLVER_TRIES = 4, /* of UDP; two of TCP */
};

/* Before each query, and each answer; one without bytes behind it is that there is none. */
struct resolver_head {
	u32 job; /* whatever the asker likes */
	u32 tcp;
};

/*
 * Starts it. resolv_conf: path of a resolv.conf(5). root: descriptor of an empty folder. Returns the socket,
 * of SOCK_SEQPACKET and not blocking, or -1. It ends when that socket is closed, or the caller does.
 */
int resolver_start(const char *resolv_conf, u32 user, int root, struct error *e);

/* The resolvers that a resolv.conf names, as addresses in text; at most RESOLVER_SERVERS. Returns how many.
 */
unsigned resolver_read(const char *text, char servers[RESOLVER_SERVERS][48]);
