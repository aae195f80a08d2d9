/*
 * The thread that makes VPCs true on this host: what takes subprocesses and waiting. There is one job for
 * each VPC, which is told what is wanted last; what was wanted before and has not begun is never done.
 *
 * All functions are for one other thread; they do not wait, but for network_worker_end().
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

struct network_worker;
struct network_job;

struct network_result {
	s64 applied; /* the generation that is true; 0: none */
	bool busy;   /* something is asked for, and not done yet */
	bool gone;   /* it was removed, and nothing else was asked for since */
	bool failed; /* the last try: this generation, and why */
	s64 failed_generation;
	char why[512];
};

/* data: the region's folder. done(ctx) is called by the thread, whenever a job has ended. */
struct network_worker *network_worker_new(const char *data, void (*done)(void *ctx), void *ctx,
                                          struct error *e);
/* Ends the thread, when what it does and all removals are done. NULL is allowed. */
void network_worker_end(struct network_worker *w);
/* Once it has ended and its jobs are dropped. NULL is allowed. */
void network_worker_free(struct network_worker *w);

/* The job of a VPC that has none. NULL: no memory. */
struct network_job *network_worker_add(struct network_worker *w, const char *vpc);
/* The job is not in use any more; nothing that is queued is done. */
void network_worker_drop(struct network_job *j);

/* config: the text of config.json (net/config.h), from malloc(), which is taken over. */
void network_worker_apply(struct network_job *j, char *config, s64 generation);
void network_worker_remove(struct network_job *j);
/* Are its services alive? If not, they are started again. */
void network_worker_watch(struct network_job *j);
void network_worker_look(struct network_job *j, struct network_result *result);
/* Are its peers to be applied again (datapath.h)? Said once. */
bool network_worker_peers(struct network_job *j);
