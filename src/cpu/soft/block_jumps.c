/*
 * Jump cache. An entry is good while the epoch, address-space tag, privilege and mode in its key are the
 * current ones (tag 0: a global page). Whatever changes translations of code without changing the tag starts
 * a new epoch; a bitmap of linear pages that have entries tells whether INVLPG must. The halves of the linear
 * address space have epochs and bitmaps of their own: a process that loses a page costs the kernel nothing.
 */
#include "cpu/soft/block_arena.h"

enum { WRONG = 64 };

static void new_epoch(struct soft_cpu *c, unsigned half)
{
	struct soft_cache *k = c->cache;

	for (unsigned i = 0; i < ARRAY_SIZE(k->pages[half]); i++)
		((volatile u64 *)k->pages[half])[i] = 0;
	if (++k->epoch[half] == 0)
		for (unsigned i = 0; i < SOFT_JUMP_ENTRIES; i++)
			c->jumps[i].block = NULL;
}

void soft_cache_remapped(struct soft_cpu *c)
{
	new_epoch(c, 0);
	new_epoch(c, 1);
	soft_jit_remapped(c);
}

/* The jump cache has nothing more of a page. */
static void forget_page(struct soft_cpu *c, u64 linear)
{
	u64 page = linear & ~(PAGE_SIZE - 1);

	for (unsigned off = 0; off < PAGE_SIZE; off++) {
		struct soft_jump *j = block_jump(c, page + off);

		if (j->rip == page + off)
			j->block = NULL;
	}
}

/* The bitmaps anew, as pages that are long gone are in them. */
static void note_pages(struct soft_cpu *c)
{
	struct soft_cache *k = c->cache;

	for (unsigned half = 0; half < 2; half++)
		for (unsigned i = 0; i < ARRAY_SIZE(k->pages[half]); i++)
			((volatile u64 *)k->pages[half])[i] = 0;
	if (!soft_jit_note_pages(c)) {
		soft_cache_remapped(c);
		return;
	}
	for (unsigned i = 0; i < SOFT_JUMP_ENTRIES; i++)
		if (c->jumps[i].block)
			soft_cache_note_jump(c, c->jumps[i].rip);
}

void soft_cache_invlpg(struct soft_cpu *c, u64 linear)
{
	u64 bit = block_page_bit(linear);

	if (!(c->cache->pages[linear >> 63][bit / 64] >> (bit % 64) & 1))
		return;
	if (!soft_jit_has_page(c, linear)) {
		forget_page(c, linear);
		if (c->cache->wrong++ % WRONG == WRONG - 1)
			note_pages(c);
	} else if (linear >> 63 || !soft_jit_remapped_user(c)) {
		soft_cache_remapped(c);
	} else {
		new_epoch(c, 0);
		note_pages(c); /* of other address spaces, whose jumps go on */
	}
}

void soft_cache_note_jump(struct soft_cpu *c, u64 linear)
{
	u64 bit = block_page_bit(linear);

	c->cache->pages[linear >> 63][bit / 64] |= BIT(bit % 64);
}

bool soft_jump_is_global(struct soft_cpu *c, u64 linear)
{
	return !(block_jump(c, linear)->key & (PAGE_SIZE - 1));
}
