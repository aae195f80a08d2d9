/*
 * A rate limiter of two token buckets, for bytes and for operations: what Firecracker calls rx_rate_limiter.
 * A bucket holds up to `size` tokens and fills from empty to full in `refill_ms`; `burst` more are there
 * once, at the start.
 *
 * An operation may begin while no bucket is empty, and takes all that it needs, into debt if need be: so one
 * that is larger than the bucket passes too, and those behind it wait for as much longer. In t seconds no
 * more passes than size + burst + t * rate, and one operation.
 *
 * A function of the times that it is given; the owner's lock is held around every call.
 */
#pragma once

#include "base/types.h"

/* What is wanted; size 0 (or refill_ms 0): no limit. */
struct limiter_bucket_config {
	u64 size, burst, refill_ms;
};

struct limiter_config {
	struct limiter_bucket_config bytes, ops;
};

struct limiter_bucket {
	u64 size, refill_ns; /* size 0: no limit */
	u64 burst;           /* what is left of it */
	u64 empty_ns; /* when it would have been empty, had nobody taken since: it holds what has come since
	                 then */
	u64 rest;     /* of the last division, so that no part of a token is lost */
};

struct limiter {
	struct limiter_bucket bytes, ops;
};

/* A rate in bytes a second, with a bucket of a tenth of a second. 0: no limit. */
struct limiter_config limiter_config_rate(u64 bytes_per_second);

/* Full buckets. */
void limiter_init(struct limiter *l, const struct limiter_config *config, u64 now_ns);
static inline bool limiter_limits(const struct limiter *l)
{
	return l->bytes.size || l->ops.size;
}
/* 0: an operation may begin now; else when to look again, a time in the future, when there is some room. */
u64 limiter_wait(struct limiter *l, u64 now_ns);
/* One operation of so many bytes has begun. */
void limiter_take(struct limiter *l, u64 bytes);
