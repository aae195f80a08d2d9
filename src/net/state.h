/*
 * What is remembered of the VPCs on this host until it is booted: /run/insula/net/<vpc-id>/NAME, and the lock
 * under which one at a time changes what is there. Files are replaced whole.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

/* A descriptor: close() gives the lock back. */
int state_lock(struct error *e);

/* The VPC is the owner's, on this host (the thread's network namespace); -1: somebody else's. */
int state_claim(const char *vpc, const char *owner, struct error *e);
/* NULL: there is none. */
char *state_read(const char *vpc, const char *name, struct arena *a);
int state_write(const char *vpc, const char *name, const char *text, struct error *e);
/* The same in two steps, of which the second is short; head, of any length up to the text's, replaces its
 * beginning. What was there before stays beside it until the next time, for its pages. */
int state_prepare(const char *vpc, const char *name, const char *text, struct error *e);
int state_commit(const char *vpc, const char *name, const char *head, struct error *e);
void state_drop(const char *vpc, const char *name);
int state_remove(const char *vpc, struct error *e);
/* Those of an owner; of all on this host, if it is NULL. */
int state_list(const char *owner, struct arena *a, const char ***vpcs, unsigned *count, struct error *e);
