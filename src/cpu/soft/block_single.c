/*
 * Singles. An instruction that crosses the page end outside of 64-bit mode, comes from MMIO, may exceed the CS
 * limit, or is stepped, is decoded alone, from bytes that are fetched each time; the decoded form is cached by
 * those bytes.
 *
 * Crossing blocks. In 64-bit mode an instruction that crosses the end of its page is a block of its own
 * (SOFT_MODE_CROSSING), found by both physical pages. The block behind it in the arena stands for the second
 * page: for its word, and as the owner of code that has to die with it. Neither is in the jump cache, nor
 * linked within the page, as it depends on the address space what the second page is.
 */
#include "cpu/soft/block_arena.h"
#include "cpu/soft/decode.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/op_ring.h"

/* ---- singles ---- */

void block_singles_forget(struct soft_cache *k)
{
	for (unsigned i = 0; i < SINGLES; i++)
		k->singles[i].len = 0;
}

static void fetch(struct soft_cpu *c, const struct soft_itlb_entry *t, unsigned off, u8 *buf, size_t len)
{
	if (t->hva) {
		for (size_t i = 0; i < len; i++)
			buf[i] = ((const volatile u8 *)t->hva)[off + i];
	} else {
		const struct cpu_board *board = soft_board(c);

		for (size_t i = 0; i < len; i++)
			buf[i] = (u8)board->mmio_read(board->ctx, &c->base, t->gpa + off + i, 1);
	}
}

static bool same_bytes(const u8 *a, const u8 *b, size_t n)
{
	while (n && a[n - 1] == b[n - 1])
		n--;
	return n == 0;
}

static struct single *single_at(struct soft_cpu *c, u64 linear)
{
	return &c->cache->singles[(linear ^ linear >> 6 ^ linear >> PAGE_SHIFT) % SINGLES];
}

/* Is the instruction at linear known to cross the page end? (Only a hint to look there first.) */
bool block_known_to_cross(struct soft_cpu *c, const struct soft_itlb_entry *t, u64 linear)
{
	unsigned off = linear & (PAGE_SIZE - 1), first = PAGE_SIZE - off;
	const struct single *s = single_at(c, linear);
	const struct soft_block *b = &s->block;

	return first < MAX_INSN && s->len > first && b->off == off && b->mode == c->mode &&
	       same_bytes(t->hva + off, s->bytes, first);
}

struct soft_block *soft_block_single(struct soft_cpu *c)
{
	u64 linear = c->segbase[SEG_CS] + c->rip, left = MAX_INSN;
	unsigned off, first, have;
	u8 bytes[MAX_INSN];

	if (!c->long64) {
		u32 limit = c->seg[SEG_CS].limit;

		linear = (u32)linear;
		if (c->rip > limit)
			soft_raise_error(c, EXC_GP, 0);
		left = min(left, limit - c->rip + 1);
	}
	off = linear & (PAGE_SIZE - 1);
	first = have = (unsigned)min(left, PAGE_SIZE - off);
	fetch(c, soft_mmu_exec(c, linear), off, bytes, first);

	struct single *s = single_at(c, linear);
	struct soft_block *b = &s->block;
	bool cached = s->len && b->off == off && b->mode == c->mode &&
	              same_bytes(bytes, s->bytes, min((unsigned)s->len, first));
	if (cached && s->len <= have)
		goto found;

	bool ends;
	struct op o;
	enum soft_decode_result r = SOFT_DECODE_MORE;
	if (!cached) {
		if (c->vec_live)
			soft_vec_park(c);
		r = soft_decode(c, c->mode, bytes, have, off, &o, &ends);
	}
	if (r == SOFT_DECODE_MORE) {
		u64 next = linear + first;

		if (have < left) {
			have = (unsigned)left;
			fetch(c, soft_mmu_exec(c, c->long64 ? next : (u32)next), 0, bytes + first,
			      have - first);
			if (cached && s->len <= have && same_bytes(bytes, s->bytes, s->len))
				goto found;
		}
		if (c->vec_live)
			soft_vec_park(c);
		r = soft_decode(c, c->mode, bytes, have, off, &o, &ends);
	}
	if (r == SOFT_DECODE_MORE)
		o.fn = op_too_long;
	*b = (struct soft_block){.gpa = ~0ULL, .mode = c->mode, .off = (u16)off, .count = 1, .ops = s->ops};
	b->ops[0] = o;
	unsigned count = block_guarded(b->ops);
	b->ops[count] = (struct op){.fn = op_block_end, .off = (u16)(off + o.len)};
	for (unsigned i = 0; i < have; i++)
		s->bytes[i] = bytes[i];
	s->len = o.len; /* 0, which is not found again, for what has no length */
found:
	c->regs[SREG_PAGE_RIP] = c->rip - off;
	return b;
}

/* ---- crossing blocks ---- */

/* The next of a chain that begins at n: that at t and off which goes on in `next`; NULL: any does. */
static struct soft_block *crossing_from(struct soft_cpu *c, u32 n, const struct soft_itlb_entry *t,
                                        unsigned off, const struct soft_itlb_entry *next)
{
	struct soft_block *b = block_numbered(c, n);

	while (b &&
	       (b->gpa != t->gpa || b->off != off || b->mode != CROSSING || (next && b[1].gpa != next->gpa)))
		b = block_numbered(c, b->next);
	return b;
}

/* For the translator: is rip in a global page? Found again it is by its pages alone. */
static void note_crossing(struct soft_cpu *c, u64 linear, const struct soft_itlb_entry *t,
                          const struct soft_itlb_entry *next)
{
	struct soft_jump *j = block_jump(c, linear);

	j->rip = linear;
	j->key = (t->tag | next->tag) & (PAGE_SIZE - 1);
	j->block = NULL;
}

/* The crossing block at linear, if there is one and it is current. Raises faults of the second page. */
struct soft_block *block_crossing(struct soft_cpu *c, const struct soft_itlb_entry *t, u64 linear)
{
	unsigned off = linear & (PAGE_SIZE - 1);
	const struct soft_itlb_entry *next;
	struct soft_block *b = crossing_from(c, *block_bucket(c, t->gpa, off, CROSSING), t, off, NULL);

	/* Whether it crosses the first page's bytes say alone. */
	if (!b || !soft_block_current(b))
		return NULL;
	next = soft_mmu_exec(c, linear + PAGE_SIZE - off);
	b = b[1].gpa == next->gpa ? b : crossing_from(c, b->next, t, off, next);
	if (!b || !soft_block_current(b) || !soft_block_current(b + 1))
		return NULL;
	note_crossing(c, linear, t, next);
	return b;
}

/* What soft_block_single() just found at linear becomes a crossing block, if it can be one. */
struct soft_block *block_crossing_new(struct soft_cpu *c, struct soft_block *found, u64 linear)
{
	const struct single *s = single_at(c, linear);
	const struct soft_itlb_entry *t = soft_mmu_exec(c, linear), *next;
	unsigned off = linear & (PAGE_SIZE - 1), first = PAGE_SIZE - off;
	struct soft_block b = {.gpa = t->gpa, .page = t->page, .off = (u16)off, .mode = CROSSING}, *old;
	struct soft_cache *k = c->cache;
	u8 bytes[MAX_INSN];
	bool forgotten;
	u32 word, *at;

	if (!c->long64 || s->len <= first || s->ops[0].fn == op_undefined)
		return found;
	next = soft_mmu_exec(c, linear + first);
	if (!t->page || !next->page)
		return found;
	if (k->kept - k->used < 2 * sizeof(b)) {
		soft_cache_flush(c);
		return soft_block_single(c);
	}
	if (c->vec_live)
		soft_vec_park(c);
	b.generation = block_mark(c, t->page);
	word = block_mark(c, next->page);
	fetch(c, t, off, bytes, first);
	fetch(c, next, 0, bytes + first, s->len - first);
	if (!same_bytes(bytes, s->bytes, s->len))
		return found; /* it was changed meanwhile */
	at = block_bucket(c, t->gpa, off, CROSSING);
	old = crossing_from(c, *at, t, off, next);
	forgotten = old && old->page == &block_nowhere;
	b.heat = block_hot(c);
	if (old && forgotten) {
		b.heat = old->heat;
		b.revived = old->revived;
	} else if (old && (old->ops || old->kept) &&
	           same_bytes(bytes, soft_block_bytes(c, old), min((unsigned)s->len, (unsigned)old->bytes))) {
		block_revive(c, &b, old->revived);
	}
	/* What had code stays as it is: its operations are those that were translated. */
	if (old && old->kept) {
		block_withdraw(c, old);
		old = NULL;
	}
	if (!block_decode(c, &b, off, bytes, NULL, s->len))
		return found;
	b.seen = (u8)b.heat;
	if (old) {
		b.next = old->next;
	} else {
		old = (struct soft_block *)(k->arena + k->used);
		b.next = *at;
		*at = (u32)(k->used / sizeof(b));
		k->used += 2 * sizeof(b);
	}
	soft_block_unstop(c);
	*old = b;
	old[1] = (struct soft_block){
	        .gpa = next->gpa, .page = next->page, .generation = word, .mode = SOFT_MODE_SECOND};
	op_ring_add(k->ring, old, forgotten);
	note_crossing(c, linear, t, next);
	return old;
}
