/*
 * Throttling, as EC2 documents it (EC2 Developer Guide, "Request throttling for the Amazon EC2 API"): for
 * each account and region, each action has a bucket of tokens, of a size and with a refill that its class
 * has. Each request takes one; RunInstances, StartInstances, StopInstances and TerminateInstances take one
 * for each instance as well, from a second bucket. Who finds too few is answered RequestLimitExceeded.
 *
 * Memory is fixed. Time is given, not read.
 */
#pragma once

#include "base/types.h"

struct throttle;

enum { THROTTLE_DEFAULT = 1000 }; /* times what EC2 allows: none but a runaway loop meets that */

/* factor: buckets and refills are so many times those of EC2. NULL: no memory. */
struct throttle *throttle_new(double factor);
void throttle_free(struct throttle *t);

/* May the account do the action now? all: a listing of everything, without ids, filter or page, for which
 * some actions have a smaller bucket. Takes a token. */
bool throttle_request(struct throttle *t, const char *account, const char *region, const char *action,
                      bool all, u64 now_ns);
/* May it do it to so many instances? Takes as many tokens. True for actions that are not counted so. */
bool throttle_resources(struct throttle *t, const char *account, const char *region, const char *action,
                        u64 count, u64 now_ns);

/* off, aws or a number. *factor 0: off. False: none of these. */
bool throttle_parse(const char *text, double *factor);
