/*
 * The datapath of the VPCs on this host: makes a plan (plan.h) true in the kernel. A VPC is a network
 * namespace /run/netns/<vpc-id>, with a tap for each interface, routes, and nftables rules; a pair of
 * interfaces ("up0" there, "vpc…" here) leads to the host. "The host" is the network namespace of the calling
 * thread.
 *
 * Any thread; a call takes 5 to 20 ms (a new VPC some more), one is at work at a time on a host, and the
 * caller's namespace never changes. What is there already stays as it is, so running connections live on;
 * what the plan no longer has goes. A call that failed or was killed anywhere is made good by the next one.
 * Needs root, and `nft`.
 *
 * /run/insula/net/<vpc-id>/ remembers the owner and which rules were loaded. An owner is any text that stays
 * the same, such as the region's data directory: several regions on one host leave each other's VPCs alone.
 *
 * The kernel drops nothing of a VPC's running connections when rules change, but as EC2 does it: flows that a
 * rule for everybody lets through, whose answers everybody may get, are judged packet by packet; others when
 * they begin.
 */
#pragma once

#include "net/plan.h"

/* The host as instances see it by IPv6; by IPv4 the plan says it. */
#define DATAPATH_HOST6 "fd69:6e73:756c:61::1"

struct datapath_result {
	bool made;  /* the namespace is new */
	bool peers; /* an end of a peering in another VPC's namespace was made or taken away: apply those
	             * VPCs, too. So does whoever removed a VPC with its peers. */
};

/* The plan comes true. The taps are up when it returns 0; rules are in force before. Result may be NULL. */
int datapath_apply(const struct plan *p, const char *owner, struct datapath_result *result, struct error *e);

/* All of the VPC goes: namespace, taps, peerings, the host's side. Processes in the namespace should have
 * gone; its interfaces go all the same. 0 if there is nothing. */
int datapath_remove(const char *vpc, struct error *e);

bool datapath_exists(const char *vpc);

/* Ids of the owner's VPCs that are here, or half here, in a. */
int datapath_list(const char *owner, struct arena *a, const char ***vpcs, unsigned *count, struct error *e);

/* Tells the interface's own traffic, as the instance sees it. Dropped: what did not fit into its queue. */
struct datapath_interface {
	const char *id; /* eni-… */
	u64 in_packets, in_bytes, in_dropped, out_packets, out_bytes;
};

/* Packets that a rule of a group let through since the group's rules changed last: the first ones of tracked
 * connections, all of untracked ones (what the rule's own direction sends). */
struct datapath_rule {
	const char *group;
	unsigned rule; /* index in the plan's group */
	u64 packets, bytes;
};

struct datapath_counters {
	struct datapath_interface *interfaces; /* in the order of the plan, but only those that are there */
	unsigned interfaces_count;
	struct datapath_rule *rules;
	unsigned rules_count;
};

int datapath_counters(const struct plan *p, struct arena *a, struct datapath_counters *c, struct error *e);
