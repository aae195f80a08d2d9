/*
 * The network devices of the namespace, by their numbers, as rtnetlink(7) tells of them: which number a tap
 * has is what says whose packet one is. Loop's thread.
 *
 * What is counted of a device's guest is kept here, so that it outlives changes of the configuration.
 */
#pragma once

#include "base/error.h"
#include "net/plan.h"
#include "net/rate.h"

enum { LINK_PACKETS_PER_SECOND = 1024 /* that a guest may send to its services, as on EC2 */ };

struct link {
	int index;
	char name[PLAN_TAP];
	bool up;
	struct rate rate;
	unsigned queries, streams; /* DNS queries that wait, connections */
	bool joined;               /* the groups of IPv6 routers and servers */
	u64 advertised_ns;         /* 0: never */
};

struct links {
	int fd;
	struct link **list; /* by number */
	unsigned count;
	/* A device is new, or has come up. */
	void (*changed)(void *ctx, struct link *l);
	void *ctx;
};

/* Opens the netlink socket in the namespace that this process is in. */
int links_open(struct links *l, struct error *e);
/* Asks for all devices anew; what is known of them is kept. */
int links_ask(struct links *l, struct error *e);
/* Reads what the kernel says; to be called when fd is readable. */
void links_read(struct links *l);
struct link *links_find(const struct links *l, int index);
