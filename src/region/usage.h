/*
 * Metering: when instances ran, per second, as EC2 bills them ("Amazon EC2 Billing": running is what counts,
 * each start for at least 60 seconds).
 *
 * Table usage has a row for each run of an instance, from `running` to what follows it, with its owner and
 * the type that it had then: a resize between two runs is two rows with two types. Rows are written in the
 * transaction of the state change, so they are as durable as the state itself.
 *
 * How long a run took is told by a clock that nobody sets (CLOCK_BOOTTIME, with the host's boot id): steps of
 * the wall clock make it neither longer nor shorter. A machine that ended while nobody looked ends when its
 * keeper says; one whose keeper is gone too, when it was last seen (usage_beat()).
 */
#pragma once

#include "base/buffer.h"
#include "region/resource.h"

enum {
	USAGE_LEAST_S = 60,
	USAGE_KEEP_DAYS = 400, /* default of how long ended runs are kept */
	USAGE_BEAT_MS = 5000,
	USAGE_PAGE = 1000, /* lines of a report at most */
};

/* A moment, by both clocks. boot: which start of the host up_ms counts from; "": that of the other moment
 * that it is compared with. */
struct usage_mark {
	s64 wall_ms, up_ms;
	char boot[40];
};
void usage_now(const struct cloud *c, s64 wall_ms, struct usage_mark *m);
/* Never negative. By the wall clock only if the host was booted in between. */
s64 usage_elapsed_ms(const struct usage_mark *from, const struct usage_mark *to);
/* What is billed for a run: whole seconds, and the least. */
s64 usage_seconds(s64 elapsed_ms);

/* The instance is in this state from now on. To be called whenever that changes; again: nothing. */
void usage_enter(struct request *r, const struct resource *instance, unsigned state);
void usage_begin(struct request *r, const struct resource *instance, const struct usage_mark *at);
/* Nothing if it does not run. */
void usage_end(struct request *r, const char *instance, const struct usage_mark *at);

/* Machines are being looked after now; and when they last were. False: never. */
void usage_beat(struct cloud *c, const struct usage_mark *at);
bool usage_last_beat(struct cloud *c, struct usage_mark *at);
/* Forgets runs that ended before. */
void usage_forget(struct cloud *c, s64 before_ms);

enum usage_by { USAGE_BY_INSTANCE, USAGE_BY_TYPE, USAGE_BY_OWNER, USAGE_BY_DAY };
struct usage_report {
	s64 from_s, to_s;    /* seconds since 1970; of each run what lies within. to_s 0: now */
	enum usage_by by;    /* days are UTC's */
	const char *account; /* NULL: all */
	const char *after;   /* by instance: only those behind this id; "" for all */
};
/* Writes a JSON document: From, To, By, NextToken (if there is more), Usage: [{Key, Starts, Seconds,
 * VcpuHours, GibHours, …}]. -1 with r->fault. */
int usage_write(struct request *r, const struct usage_report *report, struct buffer *out);
