/*
 * Where jumps to other pages go: jump tables, and links of direct jumps.
 *
 * A table has code by rip, and nothing else is compared. So there is one for each kind of supervisor access
 * (the supervisor's global pages are the same in all address spaces; see jx.own_pages for others), and one
 * for the user of each of the last few address spaces. When a translation of code may have changed, all
 * tables are emptied.
 *
 * A direct jump is linked under the key of its address space: it is taken while the key is the current one,
 * so keys change when tables are emptied. Code is shared by all linear addresses of its page; a link is
 * right for one of them. Pages that are seen at two addresses under one key have no links.
 */
#include "cpu/soft/block.h"
#include "cpu/soft/jit.h"

#define NO_KEY (~0u)

static void zero(void *p, size_t words)
{
	__asm__ volatile("rep stosq" : "+D"(p), "+c"(words) : "a"(0ULL) : "memory");
}

static void empty(struct soft_jit *j, unsigned n)
{
	struct jit_table *t = &j->tables[n];

	if (t->count > ARRAY_SIZE(t->slots)) {
		zero(t->jumps, 2 * t->size * sizeof(*t->jumps) / 8);
		t->count = 0;
	}
	while (t->count) {
		t->jumps[t->slots[--t->count]] = (struct jit_jump){0};
		t->jumps[t->slots[t->count] + t->size] = (struct jit_jump){0};
	}
	t->jumps[0].rip = t->jumps[t->size].rip = 2; /* zero belongs to this slot, two does not */
}

/* Keys that were used are not used again; when there are no more, nothing is linked. */
static u32 new_key(struct soft_jit *j)
{
	if (j->last_key != NO_KEY)
		j->last_key++;
	return j->last_key;
}

void soft_jit_remapped(struct soft_cpu *c)
{
	struct soft_jit *j = c->jit;

	if (!j)
		return;
	for (unsigned i = 0; i < j->table_count; i++)
		empty(j, i);
	c->jx.low_shared = false;
	c->jx.key[0] = new_key(j);
	c->jx.key[1] = new_key(j);
	for (unsigned i = JIT_USER_TABLE; i < j->table_count; i++)
		if (i != j->table)
			j->tables[i].tag = 0;
	j->tables[j->table].key = c->jx.key[0];
	if (j->seen_count)
		zero(j->seen, JIT_SEEN * sizeof(*j->seen) / 8);
	j->seen_count = 0;
}

bool soft_jit_remapped_user(struct soft_cpu *c)
{
	struct soft_jit *j = c->jit;

	if (!j)
		return true;
	if (c->jx.low_shared)
		return false;
	empty(j, j->table);
	c->jx.key[0] = new_key(j);
	j->tables[j->table].key = c->jx.key[0];
	return true;
}

void soft_jit_space(struct soft_cpu *c)
{
	struct soft_jit *j = c->jit;
	unsigned n;

	if (!j || j->tables[j->table].tag == c->tlb_tag)
		return;
	for (n = JIT_USER_TABLE; n < j->table_count && j->tables[n].tag != c->tlb_tag; n++)
		;
	if (n == j->table_count) {
		n = j->oldest == j->table ? j->oldest + 1 : j->oldest;
		if (n >= j->table_count)
			n = JIT_USER_TABLE;
		j->oldest = n + 1 < j->table_count ? n + 1 : JIT_USER_TABLE;
		empty(j, n);
		j->tables[n].tag = (u16)c->tlb_tag;
		j->tables[n].key = new_key(j);
	}
	j->table = n;
	c->jx.key[0] = j->tables[n].key;
	c->jx.table = (u64)j->tables[n].jumps;
}

u32 jit_key(const struct soft_cpu *c, unsigned mode)
{
	return (u32)c->jx.key[mode != SOFT_TLB_USER];
}

/* As jit_flow.c's probe() has it: so that aligned addresses use all slots. */
static unsigned slot_of(const struct jit_table *t, u64 rip)
{
	return (u32)((rip >> 10) + rip * 8) >> 4 & (t->size - 1);
}

static struct jit_table *table_of(const struct soft_cpu *c, unsigned mode)
{
	return &c->jit->tables[mode == SOFT_TLB_USER ? c->jit->table : mode - 1];
}

const struct jit_jump *jit_jump_at(const struct soft_cpu *c, u64 rip, unsigned mode)
{
	const struct jit_table *t = table_of(c, mode);

	return &t->jumps[slot_of(t, rip)];
}

void jit_note_jump(struct soft_cpu *c, u64 rip, u32 far_entry, unsigned mode, bool needs_flags)
{
	struct jit_table *t = table_of(c, mode);
	unsigned slot = slot_of(t, rip);

	t->jumps[slot] = (struct jit_jump){.rip = rip, .code = far_entry};
	if (!needs_flags)
		t->jumps[slot + t->size] = t->jumps[slot];
	else if (t->jumps[slot + t->size].rip == rip)
		t->jumps[slot + t->size].rip = slot ? 0 : 2;
	if (t->count < ARRAY_SIZE(t->slots))
		t->slots[t->count++] = (u16)slot;
	else
		t->count = ARRAY_SIZE(t->slots) + 1;
}

/* ---- pages and their addresses ---- */

static bool is_aliased(const struct soft_jit *j, u64 gpa)
{
	u64 bit = (gpa >> PAGE_SHIFT) % JIT_ALIASED;

	return j->aliased[bit / 64] >> (bit % 64) & 1;
}

void jit_note_page(struct soft_cpu *c, const struct soft_block *b, u64 rip, unsigned mode)
{
	struct soft_jit *j = c->jit;
	u32 page = (u32)(b->gpa >> PAGE_SHIFT), key = jit_key(c, mode);
	u64 linear = rip & ~(PAGE_SIZE - 1), bit = page % JIT_ALIASED;
	struct jit_seen *s;

	for (unsigned i = page * 0x9e3779b9u >> 7 ^ key;; i++) {
		s = &j->seen[i % JIT_SEEN];
		if (!s->key || (s->key == key && s->page == page))
			break;
	}
	if (s->key && s->linear == linear)
		return;
	if (s->key && !is_aliased(j, b->gpa)) {
		j->aliased[bit / 64] |= BIT(bit % 64);
		soft_cache_remapped(c); /* which ends the links that there are */
	} else if (!s->key && j->seen_count >= JIT_SEEN / 4 * 3) {
		soft_cache_remapped(c);
	} else {
		j->seen_count += !s->key;
		*s = (struct jit_seen){.page = page, .key = key, .linear = linear};
		return;
	}
	jit_note_page(c, b, rip, mode); /* under the new key */
}

/* ---- links ---- */

static void write32(struct soft_jit *j, u32 at, u32 v)
{
	*(u32 *)(j->write + (at - (u32)(u64)j->run)) = v;
}

void jit_link_none(struct soft_cpu *c, const struct jit_site *s)
{
	u32 at = s->resume - JIT_FAR_MISS;

	if (s->op & JIT_LINK_FAR)
		write32(c->jit, at, s->off - (at + 4));
}

void jit_link(struct soft_cpu *c, const struct jit_site *s, const struct soft_block *b, u32 code,
              unsigned mode)
{
	struct soft_jit *j = c->jit;
	const struct soft_block *from = (const struct soft_block *)(u64)s->block;
	u32 to = s->op & JIT_LINK_FAST ? code + JIT_CHECK_SIZE : code;

	if ((s->op >> JIT_LINK_MODE & 3) != mode || !soft_block_current(from))
		return;
	if (!(s->op & JIT_LINK_FAR)) {
		if (from->gpa != b->gpa || s->off != b->off)
			return;
	} else {
		if (j->link_rip != c->rip || j->link_key != jit_key(c, mode) || j->link_key == NO_KEY ||
		    is_aliased(j, from->gpa))
			return;
		if (s->op >> JIT_LINK_AGAIN == JIT_LINKS)
			jit_link_none(c, s);
		write32(j, (u32)(u64)&s->op, s->op + (1 << JIT_LINK_AGAIN));
		if (s->op & JIT_LINK_FLAGLESS && b->needs_flags) {
			jit_link_none(c, s);
			return;
		}
		write32(j, s->resume - JIT_FAR_GUARD, j->link_key);
	}
	write32(j, s->resume, to - (s->resume + 4));
	jit_pages_linked(j, code, s->resume);
}
