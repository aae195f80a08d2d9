/*
 * Volumes that a machine is given, or is to give back, while it runs. An action writes down what is wanted
 * (table volume_plug) in the same transaction as the attachment, which is "attaching" or "detaching" from then
 * on; the agent has the machine do it, and makes it "attached" or takes it away. All of it can be asked twice
 * of a machine (host/hosted.h), so being killed at any time loses nothing. A machine that has ended has given
 * back what it was to, and finds what it was to get when it is started.
 *
 * A guest is asked for a volume; while it does not give it back, the attachment is "busy", and it goes on being
 * asked. By force, the volume is torn out. What a machine refuses to take is torn out again, too.
 *
 * The database's thread, and one for each machine that is being asked.
 */
#pragma once

#include "region/resource.h"

struct volume_plug;

/* done(ctx) is called by threads when a machine has answered. NULL: no memory. */
struct volume_plug *volume_plug_new(struct cloud *c, void (*done)(void *ctx), void *ctx);
/* Waits for the threads. NULL is allowed. */
void volume_plug_free(struct volume_plug *p);
/* A round, within a transaction; r's account and region are changed. */
void volume_plug_run(struct volume_plug *p, struct request *r);

/* ---- the actions' side ---- */

enum volume_plug_what { VOLUME_PLUG_IN, VOLUME_PLUG_OUT, VOLUME_PLUG_TEAR_OUT };

/* Replaces what was wanted before of this attachment. The attachment's state is the caller's. */
void volume_plug_want(struct request *r, const char *volume, const char *instance,
                      enum volume_plug_what what);
/* Nothing is wanted any more. */
void volume_plug_forget(struct request *r, const char *volume, const char *instance);
/* Is something wanted, and what? */
bool volume_plug_wanted(struct request *r, const char *volume, const char *instance,
                        enum volume_plug_what *what);
