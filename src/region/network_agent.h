/*
 * The VPCs of this host: what the records say of them becomes a plan and metadata, and a worker of its own
 * makes them true (net/datapath.h, net/service.h). A VPC is here while a machine of this host that has not
 * ended has an interface in it.
 *
 * The records are looked at on the thread that has the database, and only those of VPCs that have changed
 * (network_change.h); subprocesses and waiting are the worker's. What is true is asked of the host, not
 * remembered, so being killed at any time loses nothing: the next process applies all again, and what is
 * there already stays as it is.
 *
 * DATA/vpcs/<vpc-id>/ is the folder of a VPC's services, there before anything else of it and until all else
 * has gone.
 */
#pragma once

#include "region/resource.h"

struct network_agent;

/* Can this process make networks: is it root, with nft, /dev/net/tun and namespaces? -1 with e: no, and why.
 */
int network_possible(struct error *e);

/* done(ctx) is called by the worker, when something has come true or failed. Begins to note changes in the
 * cloud. NULL with e: this process cannot make networks (network_possible()). */
struct network_agent *network_agent_new(struct cloud *c, void (*done)(void *ctx), void *ctx, struct error *e);
/* Finishes what the worker does at the moment, and removals; other networks stay as they are. NULL is
 * allowed. */
void network_agent_free(struct network_agent *n);

/* A round, within a transaction; r's account and region are changed. */
void network_agent_run(struct network_agent *n, struct request *r);

/* Is the interface of a VPC there, for a machine to be started with? 1; 0: not yet; -1: it cannot be made,
 * and why (good until the next round). */
int network_agent_ready(struct network_agent *n, const char *vpc, const char *interface, const char **why);
