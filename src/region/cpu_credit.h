/*
 * CPU credits of burstable instances (EC2 User Guide, "Burstable performance instances"): what they earn,
 * spend and owe. Which mode an instance is in: instance_credit.h.
 *
 * A credit is a vCPU for a minute, so credits are kept as microseconds of CPU time. An instance earns by the
 * hour what its type says, while it runs, and keeps at most what it earns in 24 hours; launch credits (T2 in
 * standard mode) come first and count not into that. What its VMM really took of the host's CPUs is what it
 * spends. Without credits an instance in standard mode has its baseline; one in unlimited mode goes on with
 * surplus credits, which it pays back by what it earns, up to a day's earnings: what is beyond is charged.
 *
 * Table cpu_credit has a row for each instance that a machine stands behind; it is brought up to date in
 * steps of seconds, and counts of a run are the kernel's own: what happened while nobody looked is in the
 * next step.
 */
#pragma once

#include "base/buffer.h"
#include "region/usage.h"

#define CPU_CREDIT_US 60000000LL /* one credit */

enum {
	CPU_CREDIT_STEP_MS = USAGE_BEAT_MS,
	CPU_CREDIT_LAUNCH = 30,      /* of each vCPU */
	CPU_CREDIT_LAUNCHES = 100,   /* of an account in a region, in 24 hours */
	CPU_CREDIT_STOPPED_DAYS = 7, /* T3: how long a stopped instance keeps them */
};

struct instance_type;

/* All in microseconds of CPU time. */
struct cpu_credit {
	s64 earned, launch; /* the balance is their sum */
	s64 surplus, charged, used;
};

/* A step of so many milliseconds, in which used_us were spent. */
void cpu_credit_step(struct cpu_credit *c, const struct instance_type *type, bool unlimited, s64 elapsed_ms,
                     s64 used_us);
/* CPU time that it may take in each period_us of the next step: its baseline and what its balance adds.
 * -1: any. */
s64 cpu_credit_quota(const struct cpu_credit *c, const struct instance_type *type, bool unlimited,
                     s64 period_us);

/* It runs from now on. Nothing for types that have no credits; so for all of these. */
void cpu_credit_begin(struct request *r, const struct resource *instance, const struct usage_mark *at);
/* Where the run with that name has taken cpu_us since its start (-1: not known). quota_us: of each period_us
 * from now on, if that is another one than before; else 0. spent: from now on it has no more than its
 * baseline. False: the type has no credits. */
struct cpu_credit_order {
	s64 period_us, full_us; /* in: the period, and what an instance gets that is not throttled */
	s64 quota_us;
	bool spent;
};
bool cpu_credit_settle(struct request *r, const struct resource *instance, const char *run, s64 cpu_us,
                       const struct usage_mark *at, struct cpu_credit_order *order);
/* Its machine has stopped; gone: for ever. */
void cpu_credit_end(struct request *r, const struct resource *instance, const char *run, s64 cpu_us,
                    const struct usage_mark *at, bool gone);

/* What is recorded of instances of which a machine runs on this host. */
void cpu_credit_each(struct cloud *c, unsigned most,
                     void (*fn)(void *ctx, const char *instance, const struct cpu_credit *credit), void *ctx);
/* Writes a JSON object about one; {} if it has none. -1 with r->fault: there is no such instance. */
int cpu_credit_write(struct request *r, const char *instance, struct buffer *out);
