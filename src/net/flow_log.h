/*
 * Flow logs (VPC User Guide, "Flow log records"): lines of the default format, version 2, in flow.log, for
 * the interfaces whose plan says so; one line for each flow and direction in a minute (or as vpc.h is told).
 * Loop's thread.
 *
 * What is accepted is counted by conntrack: the first packet of a connection is logged as it passes (NFLOG,
 * group 1, prefix "A eni-…"), the rest when the connection ends. What is refused is logged packet by packet
 * ("R eni-…"), but for what the datapath's rate holds back. What is read here are packets of guests.
 *
 * A minute holds FLOW_LOG_MAX flows; of more, as of packets that were lost, a line SKIPDATA tells.
 * flow.log begins anew at FLOW_LOG_SIZE bytes: whoever wants all of it copies and truncates it before.
 */
#pragma once

#include "base/buffer.h"
#include "net/config.h"

enum { FLOW_LOG_MAX = 1 << 14, FLOW_LOG_SIZE = 256 << 20, FLOW_LOG_EVERY_S = 60, FLOW_ID = 24 };

struct flow {
	char interface[FLOW_ID];
	struct ip from, to;
	u16 from_port, to_port;
	u8 protocol;
	bool refused;
};

/* All zeros is an empty one. */
struct flow_log {
	struct flow_entry *entries; /* a hash table with room for twice as many */
	unsigned count;
	bool lost;
	s64 since; /* when the minute began: seconds */
};

/* Of a packet's first bytes: addresses, ports (0 where there are none) and its length. False: it is not IP.
 */
bool flow_read_packet(struct flow *f, const u8 *in, size_t length, u64 *bytes);
/* Counts so many packets of a flow. now: seconds. */
void flow_log_add(struct flow_log *l, const struct flow *f, u64 packets, u64 bytes, s64 now);
/* Writes the minute's lines and begins another. */
void flow_log_write(struct flow_log *l, const struct config *c, s64 now, struct buffer *out);
void flow_log_release(struct flow_log *l);
