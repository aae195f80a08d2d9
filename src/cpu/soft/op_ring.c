#include "cpu/soft/op_ring.h"
#include "cpu/soft/block.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { SEGMENT = 128 << 10, WIDE = 48, NARROW = 18, MAX_INSN = 15 };
/* More than a boot loses; then up to so many segments cost less than decoding does. */
enum { LOST_MANY = 40000, USUAL = 192 };

/* What is in a segment, one behind the other. */
struct record {
	struct soft_block *owner; /* whose ops are elsewhere if this is what it had before */
	u32 size;
	_Alignas(8) struct op ops[];
};

struct op_ring {
	u8 *base;
	size_t size;
	unsigned count, max;   /* of segments: in use, mapped */
	unsigned now;          /* the one being filled */
	unsigned added, again; /* since the first one's last turn */
	unsigned lost;         /* how many were decoded again in all */
	bool narrow;           /* it was made so */
	u32 filled[];          /* bytes of each */
};

static unsigned first(const struct op_ring *r)
{
	return min(r->max, (unsigned)(r->narrow ? NARROW : WIDE));
}

struct op_ring *op_ring_new(size_t size)
{
	unsigned max = (unsigned)(size / SEGMENT);
	struct op_ring *r = calloc(1, sizeof(*r) + max * sizeof(u32));

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

/* Segments from number `from` on are as before their first use. */
static void give_back(struct op_ring *r, unsigned from)
{
	if (r->count > from)
		(void)madvise(r->base + (size_t)from * SEGMENT, (size_t)(r->count - from) * SEGMENT,
		              MADV_DONTNEED);
	for (unsigned i = from; i < r->count; i++)
		((volatile u32 *)r->filled)[i] = 0;
	r->count = min(r->count, from);
}

void op_ring_reset(struct op_ring *r)
{
	give_back(r, first(r));
	for (unsigned i = 0; i < r->count; i++)
		((volatile u32 *)r->filled)[i] = 0;
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
	for (unsigned i = from; i < r->count; i++) {
		u8 *at = r->base + (size_t)i * SEGMENT, *end = at + r->filled[i];

		for (; at < end; at += ((struct record *)at)->size) {
			struct record *k = (struct record *)at;

			if (k->owner->ops == k->ops)
				soft_block_forgotten(k->owner);
		}
	}
	give_back(r, from);
	r->now = min(r->now, r->count - 1);
}

static void move(struct record *to, const struct record *from)
{
	const u64 *s = (const u64 *)from;
	u64 *d = (u64 *)to;

	if (to == from)
		return;
	for (size_t i = from->size / 8; i; i--)
		*d++ = *s++;
}

/* Makes room in the current segment. */
static void sweep(struct op_ring *r)
{
	u8 *start = r->base + (size_t)r->now * SEGMENT, *to = start, *from = start,
	   *end = start + r->filled[r->now];

	/* Blocks are all over the arena: so all misses of the host's cache at once. */
	for (const u8 *at = start; at < end; at += ((const struct record *)at)->size)
		__builtin_prefetch(((const struct record *)at)->owner);
	while (from < end) {
		struct record *k = (struct record *)from;
		struct soft_block *b = k->owner;

		from += k->size;
		if (b->ops != k->ops)
			continue;
		if ((b->seen == (u8)b->heat && !b->learned) || to + k->size - start > SEGMENT / 2) {
			soft_block_forgotten(b);
			continue;
		}
		b->seen = (u8)b->heat;
		b->ops = ((struct record *)to)->ops;
		to += k->size;
		move((struct record *)((u8 *)b->ops - offsetof(struct record, ops)), k);
	}
	r->filled[r->now] = (u32)(to - start);
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
	if (!r->filled[r->now])
		(void)madvise(r->base + (size_t)r->now * SEGMENT, SEGMENT, MADV_POPULATE_WRITE);
	sweep(r);
}

struct op *op_ring_room(struct soft_cpu *c, struct op_ring *r, unsigned most)
{
	size_t room = align_up(sizeof(struct record) + (most + 1) * sizeof(struct op) + most * MAX_INSN, 8ul);

	if (r->filled[r->now] + room > SEGMENT) {
		soft_block_unstop(c);
		do
			advance(r);
		while (r->filled[r->now] + room > SEGMENT);
	}
	return ((struct record *)(r->base + (size_t)r->now * SEGMENT + r->filled[r->now]))->ops;
}

void op_ring_add(struct op_ring *r, struct soft_block *b, bool again)
{
	struct record *k = (struct record *)(r->base + (size_t)r->now * SEGMENT + r->filled[r->now]);
	size_t size = sizeof(*k) + (b->count + 1u) * sizeof(struct op) + b->bytes;

	k->owner = b;
	k->size = (u32)align_up(size, (size_t)8);
	r->filled[r->now] += k->size;
	r->added++;
	r->again += again;
	b->ops = k->ops;
}
