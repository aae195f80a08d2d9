#include "device/virtio/limiter.h"

#define MS 1000000ULL

/* Longer than any bucket takes to fill; times beyond are not told apart. */
#define REFILL_MAX_MS (24 * 3600 * 1000ULL)

struct limiter_config limiter_config_rate(u64 rate)
{
	struct limiter_config c = {.bytes = {.size = rate, .refill_ms = 1000}};

	/* Below ten a second there is no whole token in a tenth. */
	if (rate >= 10)
		c.bytes = (struct limiter_bucket_config){.size = rate / 10, .refill_ms = 100};
	return c;
}

static void bucket_init(struct limiter_bucket *b, const struct limiter_bucket_config *c, u64 now)
{
	*b = (struct limiter_bucket){0};
	if (!c->size || !c->refill_ms)
		return;
	b->size = c->size;
	b->refill_ns = min(c->refill_ms, REFILL_MAX_MS) * MS;
	b->burst = c->burst;
	b->empty_ns = now > b->refill_ns ? now - b->refill_ns : 0;
}

void limiter_init(struct limiter *l, const struct limiter_config *c, u64 now)
{
	bucket_init(&l->bytes, &c->bytes, now);
	bucket_init(&l->ops, &c->ops, now);
}

/* When the bucket is not empty any more; 0: it is not. */
static u64 bucket_wait(struct limiter_bucket *b, u64 now)
{
	if (!b->size || b->burst)
		return 0;
	/* It does not fill beyond its size. */
	if (now > b->refill_ns && b->empty_ns < now - b->refill_ns) {
		b->empty_ns = now - b->refill_ns;
		b->rest = 0;
	}
	if (b->empty_ns < now)
		return 0;
	/* A hundredth of it, so that timers do not come for every frame; it is not lost, but passes in one
	 * go. */
	return b->empty_ns + 1 + min(b->refill_ns / 100, MS);
}

u64 limiter_wait(struct limiter *l, u64 now)
{
	u64 bytes = bucket_wait(&l->bytes, now), ops = bucket_wait(&l->ops, now);

	return max(bytes, ops);
}

static void bucket_take(struct limiter_bucket *b, u64 tokens)
{
	u64 from_burst = min(b->burst, tokens);
	unsigned __int128 time;

	if (!b->size)
		return;
	b->burst -= from_burst;
	time = (unsigned __int128)(tokens - from_burst) * b->refill_ns + b->rest;
	b->rest = (u64)(time % b->size);
	b->empty_ns += (u64)min(time / b->size, (unsigned __int128)(REFILL_MAX_MS * MS));
}

void limiter_take(struct limiter *l, u64 bytes)
{
	bucket_take(&l->bytes, bytes);
	bucket_take(&l->ops, 1);
}
