/*
 * Addresses, permanent neighbours, routes and routing rules of a network namespace: what is there, what
 * should be, and the steps between. What the kernel makes by itself (table local, routes of link-local
 * blocks, its three rules, 127.0.0.1 and ::1) is not looked at. For the thread of the netlink socket.
 */
#pragma once

#include "base/arena.h"
#include "base/cidr.h"
#include "net/netlink.h"

enum fib_kind { FIB_ADDRESS, FIB_NEIGHBOUR, FIB_ROUTE, FIB_RULE };
enum { FIB_DEFAULT = 253, FIB_MAIN = 254 }; /* its tables */

/* Compared byte by byte: set whole, by fib_add(). */
struct fib_item {
	u8 kind;
	bool v6;
	bool blackhole; /* routes */
	u8 length;      /* of the prefix */
	u8 mac[6];      /* neighbours */
	u8 unused[2];
	u32 table; /* routes, rules */
	u8 to[16]; /* address, neighbour's address, destination */
	u32 link;  /* index; 0: none */
	u32 priority;
	u32 realm;     /* of IPv4 routes, see `rt classid` of nft(8); 0: none */
	u8 via[16];    /* next hop, IPv6; 0: none */
	u8 source[16]; /* that the route prefers; 0: none */
	char in[16];   /* rules: the packet's interface; "": any */
};

struct fib {
	struct arena *arena;
	struct fib_item *items;
	unsigned count, room;
};

/* A zeroed item, to be filled. */
struct fib_item *fib_add(struct fib *f, enum fib_kind kind, struct cidr to);
void fib_bytes(u8 out[16], struct ip a);

/* What is there. link: only what has this interface, and no rules; 0: all of the namespace. */
int fib_read(struct netlink *n, struct fib *there, u32 link, struct error *e);
/* Makes it so, with as few changes as it takes. Of what was there, some may have gone with something else in
 * the meantime. What is not wanted is added to gone (may be NULL). */
int fib_apply(struct netlink *n, struct fib *wanted, struct fib *there, struct fib *gone, struct error *e);
