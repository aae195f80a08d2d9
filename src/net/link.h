/* Interfaces of a network namespace: taps, and veths, which come in pairs. For the thread of the netlink
 * socket. */
#pragma once

#include "base/arena.h"
#include "net/netlink.h"

enum { LINK_NAME = 16 };

struct link {
	u32 index;
	char name[LINK_NAME];
	u8 mac[6];
	u32 mtu;
	bool up;
	u64 rx_packets, rx_bytes, tx_packets, tx_bytes, tx_dropped; /* as the kernel sees them */
};

struct link_list {
	struct link *all;
	unsigned count, room;
};

/* Without counters, which cost most of it. */
int link_list(struct netlink *n, struct arena *a, struct link_list *l, struct error *e);
int link_list_counters(struct netlink *n, struct arena *a, struct link_list *l, struct error *e);
/* Looks for one, and adds it to the list if it is there. */
int link_look(struct netlink *n, struct arena *a, struct link_list *l, const char *name, struct error *e);
struct link *link_find(const struct link_list *l, const char *name); /* or NULL */

int link_delete(struct netlink *n, u32 index, struct error *e);
/* Sets address (may be NULL) and MTU (may be 0), and it is up. */
int link_start(struct netlink *n, u32 index, const u8 *mac, u32 mtu, struct error *e);

/* A tap that stays when nobody has it open, with virtio-net headers, in the namespace of the thread. It is
 * down. */
int link_make_tap(const char *name, struct error *e);
/* Two veths, up, of the same address, that need no neighbours: name here, peer in the namespace of the
 * descriptor. */
int link_make_veth(struct netlink *n, const char *name, const char *peer, int namespace, const u8 mac[6],
                   u32 mtu, struct error *e);
