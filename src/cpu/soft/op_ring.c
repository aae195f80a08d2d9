#include "cpu/soft/op_ring.h"
#include "cpu/soft/block.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { SEGMENT = 128 << 10, WIDE = 48, NARROW = 12, MAX_INSN = 15 };
/* More than a boot loses; then up to so many segments cost less than decoding does. */
enum { LOST_MANY = 24000, USUAL = 192 };

/* Records are one behind the other from a segment's start: operations, and a block's bytes. What says whose
 * they are is in a list that grows down from the segment's end: most owners have their operations elsewhere
 * when a segment's turn comes, and then the record, which no cache of the host's has, is not looked at. */
struct entry {
	struct soft_block *owner; /* whose ops are elsewhere if this is what it had before */
	u32 at, size;             /* in the segment */
};
struct segment {
	u32 filled, records; /* bytes, entries */
};

struct op_ring {
	u8 *base;
	size_t size;
	unsigned count, max;   /* of segments: in use, mapped */
	unsigned now;          /* the one being filled */
	unsigned added, again; /* since the first one's last turn */
	unsigned lost;         /* how many were decoded again in all */
	bool narrow;           /* it was made so */
	struct segment segments[];
};

static unsigned first(const struct op_ring *r)
{
	return min(r->max, (unsigned)(r->narrow ? NARROW : WIDE));
}

struct op_ring *op_ring_new(size_t size)
{
	unsigned max = (unsigned)(size / SEGMENT);
	struct op_ring *r = calloc(1, sizeof(*r) + max * sizeof(struct segment));

	if (!r)
		return NULL;
	r->size = size;
	r->max = max;
	r->count = first(r);
	r->base =
	        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->base == MAP_FAILED) {
		free(r);
		return NULL;
	}
	return r;
}

void op_ring_free(struct op_ring *r)
{
	if (!r)
		return;
	munmap(r->base, r->size);
	free(r);
}

static u8 *start_of(const struct op_ring *r, unsigned n)
{
	return r->base + (size_t)n * SEGMENT;
}

static struct entry *entry_of(const struct op_ring *r, unsigned n, unsigned record)
{
	return (struct entry *)start_of(r, n + 1) - 1 - record;
}

static bool is_live(const struct op_ring *r, unsigned n, const struct entry *k)
{
	return (u8 *)k->owner->ops == start_of(r, n) + k->at;
}

static void empty(struct op_ring *r, unsigned n)
{
	*(volatile u32 *)&r->segments[n].filled = 0;
	r->segments[n].records = 0;
}

/* Segments from number `from` on are as before their first use. */
static void give_back(struct op_ring *r, unsigned from)
{
	if (r->count > from)
		(void)madvise(start_of(r, from), (size_t)(r->count - from) * SEGMENT, MADV_DONTNEED);
	for (unsigned i = from; i < r->count; i++)
		empty(r, i);
	r->count = min(r->count, from);
}

void op_ring_reset(struct op_ring *r)
{
	give_back(r, first(r));
	for (unsigned i = 0; i < r->count; i++)
		empty(r, i);
	r->count = first(r);
	r->now = r->added = r->again = 0;
}

bool op_ring_is_wide(const struct op_ring *r)
{
	return !r->narrow;
}

void op_ring_narrow(struct op_ring *r)
{
	unsigned from = r->count > WIDE ? r->count : NARROW; /* it has grown: it is wanted so */

	r->narrow = true;
	for (unsigned i = from; i < r->count; i++)
		for (unsigned n = 0; n < r->segments[i].records; n++)
			if (is_live(r, i, entry_of(r, i, n)))
				soft_block_forgotten(entry_of(r, i, n)->owner);
	give_back(r, from);
	r->now = min(r->now, r->count - 1);
}

static void move(u8 *to, const u8 *from, size_t size)
{
	const u64 *s = (const u64 *)from;
	u64 *d = (u64 *)to;

	if (to == from)
		return;
	for (size_t i = size / 8; i; i--)
		*d++ = *s++;
}

/* Makes room in the current segment. */
static void sweep(struct op_ring *r)
{
	unsigned n = r->now, count = r->segments[n].records;
	u8 *start = start_of(r, n);

	/* Blocks are all over the arena: so all misses of the host's cache at once. */
	for (unsigned i = 0; i < count; i++)
		__builtin_prefetch(entry_of(r, n, i)->owner);
	empty(r, n);
	for (unsigned i = 0; i < count; i++) {
		struct entry k = *entry_of(r, n, i);
		struct soft_block *b = k.owner;
		u32 to = r->segments[n].filled;

		if (!is_live(r, n, &k))
			continue;
		if ((b->seen == (u8)b->heat && !b->learned) || to + k.size > SEGMENT / 2) {
			soft_block_forgotten(b);
			continue;
		}
		b->seen = (u8)b->heat;
		b->ops = (struct op *)(start + to);
		move(start + to, start + k.at, k.size);
		*entry_of(r, n, r->segments[n].records++) = (struct entry){b, to, k.size};
		r->segments[n].filled += k.size;
	}
}

static bool has_room(const struct op_ring *r, unsigned ops)
{
	const struct segment *s = &r->segments[r->now];
	size_t size = align_up((ops + 1) * sizeof(struct op) + ops * MAX_INSN, 8ul);

	return s->filled + size + (s->records + 1) * sizeof(struct entry) <= SEGMENT;
}

static void advance(struct op_ring *r)
{
	if (++r->now == r->count) {
		r->lost += r->again;
		if (r->again > r->added / 8 * 7 ||
		    (r->lost > LOST_MANY && r->count < USUAL && r->again > r->added / 8))
			r->count = min(r->max, r->count + r->count / 2);
		if (r->now == r->count)
			r->now = 0;
		r->added = r->again = 0;
	}
	if (!r->segments[r->now].filled)
		(void)madvise(start_of(r, r->now), SEGMENT, MADV_POPULATE_WRITE);
	sweep(r);
}

struct op *op_ring_room(struct soft_cpu *c, struct op_ring *r, unsigned most)
{
	if (!has_room(r, most)) {
		soft_block_unstop(c);
		do
			advance(r);
		while (!has_room(r, most));
	}
	return (struct op *)(start_of(r, r->now) + r->segments[r->now].filled);
}

void op_ring_add(struct op_ring *r, struct soft_block *b, bool again)
{
	struct segment *s = &r->segments[r->now];
	size_t size = align_up((b->count + 1u) * sizeof(struct op) + b->bytes, 8ul);

	*entry_of(r, r->now, s->records++) = (struct entry){b, s->filled, (u32)size};
	b->ops = (struct op *)(start_of(r, r->now) + s->filled);
	s->filled += (u32)size;
	r->added++;
	r->again += again;
}
