/*
 * Network interfaces that come and go while a machine runs: what is attached in the records is plugged into
 * the machine, what is not any more is pulled out. Asking a machine may take its time, so that is done by
 * threads; one thing at a time for each machine.
 *
 * The property "taps" of an instance says which interfaces its machine has: their ids, each followed by a
 * blank. All functions are for the thread of the database.
 */
#pragma once

#include "region/resource.h"

struct network_plug;

/* done(ctx) is called from other threads, when a machine has answered. NULL: no memory. */
struct network_plug *network_plug_new(struct cloud *c, void (*done)(void *ctx), void *ctx);
/* Waits for machines that are being asked. NULL is allowed. */
void network_plug_free(struct network_plug *p);

/* A machine is started with these interfaces. */
void network_plug_started(struct request *r, const char *instance, struct resource **interfaces);
/* The interfaces of an instance have changed, and their taps are there: to be looked at in the next run. */
void network_plug_note(struct network_plug *p, const char *instance);
/* A round, within a transaction; r's account and region are changed. */
void network_plug_run(struct network_plug *p, struct request *r);

/* What --net takes for an interface of an instance of this type (NULL: any). */
const char *network_plug_option(struct request *r, const struct resource *interface, const char *type);
