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
/* Belongs into neither of the slots that zero belongs into. */
#define JIT_NO_RIP PAGE_SIZE

/* What slots differ in where one rip may be. */
static const u8 ways[] = {0, JIT_OTHER, JIT_NEEDS, JIT_NEEDS ^ JIT_OTHER};

static void zero(void *p, size_t words)
{
	__asm__ volatile("rep stosq" : "+D"(p), "+c"(words) : "a"(0ULL) : "memory");
}

static void empty(struct soft_jit *j, unsigned n)
{
	struct jit_table *t = &j->tables[n];
	static const struct jit_jump none = {.rip = JIT_NO_RIP};

	if (t->count > ARRAY_SIZE(t->slots)) {
		zero(t->jumps, t->size * sizeof(*t->jumps) / 8);
		t->count = 0;
	}
	while (t->count)
		t->jumps[t->slots[--t->count]] = (struct jit_jump){0};
	/* Zero would be found in these. */
	for (unsigned way = 0; way < 4; way++)
		t->jumps[ways[way]] = none;
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
	j->seen_twice = false;
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

/* As jit_flow.c's probe() has it. What is near in code is near in the table, so that what is run together
 * shares lines of the host's cache. */
static unsigned slot_of(const struct jit_table *t, u64 rip)
{
	return (u32)((rip >> 6) + rip * 2) >> 4 & (t->size - 1);
}

static struct jit_table *table_of(const struct soft_cpu *c, unsigned mode)
{
	return &c->jit->tables[mode == SOFT_TLB_USER ? c->jit->table : mode - 1];
}

u32 jit_jump_at(const struct soft_cpu *c, u64 rip, unsigned mode)
{
	const struct jit_table *t = table_of(c, mode);
	unsigned slot = slot_of(t, rip);

	for (unsigned way = 0; way < ARRAY_SIZE(ways); way++)
		if (t->jumps[slot ^ ways[way]].rip == rip)
			return (u32)t->jumps[slot ^ ways[way]].code;
	return 0;
}

static void empty_slot(struct jit_table *t, unsigned slot)
{
	t->jumps[slot] = (struct jit_jump){.rip = slot & ~(JIT_OTHER | JIT_NEEDS) ? 0 : JIT_NO_RIP};
}

static void note_slot(struct jit_table *t, unsigned slot)
{
	if (t->count < ARRAY_SIZE(t->slots))
		t->slots[t->count++] = slot;
	else
		t->count = ARRAY_SIZE(t->slots) + 1;
}

void jit_note_jump(struct soft_cpu *c, u64 rip, u32 code, unsigned mode, bool needs_flags)
{
	struct jit_table *t = table_of(c, mode);
	unsigned slot = slot_of(t, rip);
	const struct jit_jump *usual = &t->jumps[needs_flags ? slot ^ JIT_NEEDS : slot];

	if (usual->rip == rip && usual->code == code) /* and nowhere else */
		return;
	/* In one place alone: what it was may have been of the other kind. */
	for (unsigned way = 0; way < ARRAY_SIZE(ways); way++)
		if (t->jumps[slot ^ ways[way]].rip == rip)
			empty_slot(t, slot ^ ways[way]);
	if (needs_flags)
		slot ^= JIT_NEEDS;
	if (t->jumps[slot].code) { /* which goes on to be found in its other place */
		t->jumps[slot ^ JIT_OTHER] = t->jumps[slot];
		note_slot(t, slot ^ JIT_OTHER);
	}
	t->jumps[slot] = (struct jit_jump){.rip = rip, .code = code};
	note_slot(t, slot);
}

/* ---- pages and their addresses ---- */

static bool is_aliased(const struct soft_jit *j, u64 gpa)
{
	u64 bit = (gpa >> PAGE_SHIFT) % JIT_ALIASED;

	return j->aliased[bit / 64] >> (bit % 64) & 1;
}

static struct jit_seen *seen_at(const struct soft_jit *j, u32 page, u32 key)
{
	/* Processes that follow each other have keys that do, and the same pages: these must not lie side by side. */
	for (unsigned i = (page + key * 0x9e3779b9u) * 0x85ebca6bu >> 16;; i++) {
		struct jit_seen *s = &j->seen[i % JIT_SEEN];

		if (!s->key || (s->key == key && s->page == page))
			return s;
	}
}

/* Forgets pages under keys that nobody uses any more. */
static void sort_out(struct soft_jit *j, u32 supervisor)
{
	struct jit_seen *all = j->seen + JIT_SEEN;

	for (unsigned i = 0; i < JIT_SEEN; i++)
		((volatile struct jit_seen *)all)[i] = j->seen[i];
	zero(j->seen, JIT_SEEN * sizeof(*j->seen) / 8);
	j->seen_count = 0;
	for (unsigned i = 0; i < JIT_SEEN; i++) {
		bool used = all[i].key && all[i].key == supervisor;

		for (unsigned n = JIT_USER_TABLE; all[i].key && n < j->table_count; n++)
			used |= j->tables[n].key == all[i].key;
		if (!used)
			continue;
		*seen_at(j, all[i].page, all[i].key) = all[i];
		j->seen_count++;
	}
}

bool soft_jit_has_page(const struct soft_cpu *c, u64 linear)
{
	const struct soft_jit *j = c->jit;
	u64 page = linear & ~(PAGE_SIZE - 1);

	if (!j)
		return false;
	if (j->seen_twice || (c->jx.low_shared && !(linear >> 63)))
		return true;
	for (unsigned i = 0; i < JIT_SEEN; i++) {
		const struct jit_seen *s = &j->seen[i];

		if (s->linear == page && s->key &&
		    (linear >> 63 || s->key == (u32)c->jx.key[0] || s->key == (u32)c->jx.key[1]))
			return true;
	}
	return false;
}

bool soft_jit_note_pages(struct soft_cpu *c)
{
	const struct soft_jit *j = c->jit;

	if (j && j->seen_twice)
		return false;
	for (unsigned i = 0; j && i < JIT_SEEN; i++)
		if (j->seen[i].key)
			soft_cache_note_jump(c, j->seen[i].linear);
	return true;
}

void jit_note_page(struct soft_cpu *c, const struct soft_block *b, u64 rip, unsigned mode)
{
	struct soft_jit *j = c->jit;
	u32 page = (u32)(b->gpa >> PAGE_SHIFT), key = jit_key(c, mode);
	u64 linear = rip & ~(PAGE_SIZE - 1), bit = page % JIT_ALIASED;
	struct jit_seen *s;

	s = seen_at(j, page, key);
	if (s->key && s->linear == linear)
		return;
	if (s->key && !is_aliased(j, b->gpa)) {
		j->aliased[bit / 64] |= BIT(bit % 64);
		soft_cache_remapped(c); /* which ends the links that there are */
	} else if (!s->key && j->seen_count >= JIT_SEEN / 4 * 3) {
		sort_out(j, (u32)c->jx.key[1]);
		if (j->seen_count >= JIT_SEEN / 2)
			soft_cache_remapped(c);
	} else {
		j->seen_count += !s->key;
		j->seen_twice |= s->key != 0;
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

bool jit_link(struct soft_cpu *c, const struct jit_site *s, const struct soft_block *b, u32 code,
              unsigned mode)
{
	struct soft_jit *j = c->jit;
	const struct soft_block *from = (const struct soft_block *)(u64)s->block;
	u32 to = s->op & JIT_LINK_FAST ? code + JIT_CHECK_SIZE : code;

	if ((s->op >> JIT_LINK_MODE & 3) != mode || !soft_block_current(from))
		return false;
	if (!(s->op & JIT_LINK_FAR)) {
		if (from->gpa != b->gpa || s->off != b->off)
			return false;
	} else {
		if (j->link_rip != c->rip || j->link_key != jit_key(c, mode) || j->link_key == NO_KEY ||
		    is_aliased(j, from->gpa))
			return false;
		if (s->op >> JIT_LINK_AGAIN == JIT_LINKS)
			jit_link_none(c, s);
		write32(j, (u32)(u64)&s->op, s->op + (1 << JIT_LINK_AGAIN));
		if (s->op & JIT_LINK_FLAGLESS && b->needs_flags) {
			jit_link_none(c, s);
			return false;
		}
		write32(j, s->resume - JIT_FAR_GUARD, j->link_key);
	}
	write32(j, s->resume, to - (s->resume + 4));
	jit_pages_linked(j, code, s->resume);
	return true;
}
