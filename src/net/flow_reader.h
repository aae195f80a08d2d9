/*
 * Where flow logs come from: the kernel's packet log and conntrack's events, over netlink. Loop's thread.
 *
 * A connection's packets are counted for each interface at its ends that has a log, in both directions, when
 * it ends; but its first packet when it passed, which is remembered until then.
 */
#pragma once

#include "base/loop.h"
#include "net/flow_log.h"
#include "net/guests.h"

enum { FLOW_GROUP = 1, FLOW_FIRST_MAX = 1 << 14 };

struct flow_first {
	u64 key;   /* 0: free */
	u32 bytes; /* of the packet */
};

struct flow_reader {
	struct guests *guests;
	struct flow_log log;
	struct loop_fd packets, events;
	struct loop_timer timer;
	unsigned every_s; /* how often lines are written */
	int file;
	/* The first packets of connections: by a key of the flow, an older one making room for a newer. */
	struct flow_first *firsts;
};

/* Opens its sockets, in the namespace that this process is in, and DIR/flow.log. */
int flow_reader_open(struct flow_reader *r, int dir, struct error *e);
int flow_reader_start(struct flow_reader *r, struct loop *l, struct guests *g, struct error *e);

/* What a message of the packet log says. False: it is none that we asked for. */
struct nlmsghdr;
bool flow_read_log(struct flow *f, const struct nlmsghdr *m, u64 *bytes);
/* The tuples and counters of a connection that ended: [0] as it began, [1] back. */
bool flow_read_end(struct flow f[2], const struct nlmsghdr *m, u64 packets[2], u64 bytes[2]);
