#include "machine/bus.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct bus {
	pthread_rwlock_t lock;
	struct bus_region **regions; /* by base */
	size_t count, room;
};

struct bus *bus_new(void)
{
	struct bus *b = calloc(1, sizeof(*b));

	if (b)
		pthread_rwlock_init(&b->lock, NULL);
	return b;
}

void bus_free(struct bus *b)
{
	if (!b)
		return;
	pthread_rwlock_destroy(&b->lock);
	free(b->regions);
	free(b);
}

/* Index of the first region whose last byte is at or above addr. */
static size_t bus_lower(const struct bus *b, u64 addr)
{
	size_t lo = 0, hi = b->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct bus_region *r = b->regions[mid];

		if (r->base + (r->size - 1) < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int bus_add(struct bus *b, struct bus_region *r)
{
	int rc = -1;
	u64 last = r->base + (r->size - 1);

	assert(!r->mapped);
	if (!r->size || last < r->base)
		return -1;
	pthread_rwlock_wrlock(&b->lock);
	size_t i = bus_lower(b, r->base);
	if (i < b->count && b->regions[i]->base <= last)
		goto out;
	if (b->count == b->room) {
		size_t room = b->room ? b->room * 2 : 32;
		struct bus_region **grown = realloc(b->regions, room * sizeof(*grown));

		if (!grown)
			goto out;
		b->regions = grown;
		b->room = room;
	}
	memmove(&b->regions[i + 1], &b->regions[i], (b->count - i) * sizeof(*b->regions));
	b->regions[i] = r;
	b->count++;
	r->mapped = true;
	rc = 0;
out:
	pthread_rwlock_unlock(&b->lock);
	return rc;
}

void bus_unmap(struct bus *b, struct bus_region *r)
{
	pthread_rwlock_wrlock(&b->lock);
	if (r->mapped) {
		size_t i = bus_lower(b, r->base);

		assert(i < b->count && b->regions[i] == r);
		b->count--;
		memmove(&b->regions[i], &b->regions[i + 1], (b->count - i) * sizeof(*b->regions));
		r->mapped = false;
	}
	pthread_rwlock_unlock(&b->lock);
}

void bus_remove(struct bus *b, struct bus_region *r)
{
	bus_unmap(b, r);
	/* Rare (unplugging) and short (one register access), so waiting by yielding is good enough. */
	while (atomic_load_explicit(&r->users, memory_order_acquire))
		sched_yield();
}

/* What a piece of an access needs, copied while the bus is locked: the region may move right after. */
struct target {
	struct bus_region *region; /* held in use */
	u64 offset;
};

/* The region that takes all of the access, held; else NULL with *split telling whether parts of it may hit.
 */
static bool bus_find(struct bus *b, u64 addr, unsigned size, struct target *t, bool *split)
{
	bool found = false;
	u64 last = addr + (size - 1);

	*split = false;
	pthread_rwlock_rdlock(&b->lock);
	size_t i = bus_lower(b, addr);
	if (i < b->count && b->regions[i]->base <= last) {
		struct bus_region *r = b->regions[i];

		if (r->base <= addr && last - r->base < r->size && size <= (r->max_size ? r->max_size : 8)) {
			atomic_fetch_add_explicit(&r->users, 1, memory_order_relaxed);
			*t = (struct target){r, addr - r->base};
			found = true;
		} else {
			*split = size > 1;
		}
	}
	pthread_rwlock_unlock(&b->lock);
	return found;
}

static void bus_done(const struct target *t)
{
	atomic_fetch_sub_explicit(&t->region->users, 1, memory_order_release);
}

u64 bus_read(struct bus *b, u64 addr, unsigned size)
{
	struct target t;
	bool split;
	u64 value;

	if (addr + (size - 1) < addr)
		return MASK(size * 8);
	if (!bus_find(b, addr, size, &t, &split)) {
		if (!split)
			return MASK(size * 8);
		unsigned half = size / 2;
		value = bus_read(b, addr, half);
		return value | bus_read(b, addr + half, half) << half * 8;
	}
	if (t.region->lock)
		pthread_mutex_lock(t.region->lock);
	value = t.region->ops->read ? t.region->ops->read(t.region->ctx, t.offset, size) : ~0ULL;
	if (t.region->lock)
		pthread_mutex_unlock(t.region->lock);
	bus_done(&t);
	return value & MASK(size * 8);
}

void bus_write(struct bus *b, u64 addr, unsigned size, u64 value)
{
	struct target t;
	bool split;

	value &= MASK(size * 8);
	if (addr + (size - 1) < addr)
		return;
	if (!bus_find(b, addr, size, &t, &split)) {
		if (!split)
			return;
		unsigned half = size / 2;
		bus_write(b, addr, half, value);
		bus_write(b, addr + half, half, value >> half * 8);
		return;
	}
	if (t.region->lock)
		pthread_mutex_lock(t.region->lock);
	if (t.region->ops->write)
		t.region->ops->write(t.region->ctx, t.offset, size, value);
	if (t.region->lock)
		pthread_mutex_unlock(t.region->lock);
	bus_done(&t);
}
