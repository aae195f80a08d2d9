/*
 * Translated code of a page dies when the page changes.
 *
 * Code does not look at its page's word while it runs. Whoever changes a marked page tells each vCPU that may
 * have code of it: the page goes to a list of that vCPU and CPU_EV_SYNC is raised, which leaves translated
 * code at the next check (jit.h); the vCPU's thread then overwrites the entries of what is stale by a jump
 * out. What a vCPU itself does to code is heard the same way: no C function that code calls may go back into
 * code while CPU_EV_SYNC is raised.
 *
 * Order. The one who writes: bytes; then, holding the lock, event for all; changes the word (a full barrier);
 * reads heads; lists. The one who translates: head; full barrier; looks whether the block is still current.
 * So either the writer sees the head, or the translator the change. And what the writer stores afterwards (a
 * flag that says "the code is there", an interrupt) is not seen before the event is.
 *
 * How long the mark stays. A second writer may be in the middle of its own old code of the page, on whose way
 * there need be no check of events, and must see what it stores: it has to find the mark. So with several
 * vCPUs a change leaves the mark and adds PHYSMEM_PAGE_TOLD: nothing is current and all vCPUs have the event,
 * so that further stores have nobody to tell. The first of them behind the last sweep takes both away. A vCPU
 * that sleeps or is not run is in the middle of nothing, and is not waited for. Whoever decodes the page
 * meanwhile takes TOLD away (block.c): the next store is a change again.
 */
#include "cpu/soft/block.h"
#include "cpu/soft/jit.h"

#include <sched.h>

static atomic_flag lock = ATOMIC_FLAG_INIT;
static struct soft_cpu *watchers;
/* Changes of code are numbered. Of each page, by its hash: the last that vCPUs were told of. */
static u64 changes, change_of[JIT_HEADS];

static void take(void)
{
	unsigned spins = 0;

	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		if (++spins % 256 == 0)
			sched_yield();
}

static void drop(void)
{
	atomic_flag_clear_explicit(&lock, memory_order_release);
}

static unsigned hash(_Atomic u32 *page)
{
	return (unsigned)((u64)page >> 2) % JIT_HEADS;
}

/* Has each vCPU that runs noticed the last change of such pages? */
static bool all_seen(unsigned h)
{
	for (const struct soft_cpu *c = watchers; c; c = c->watch.next)
		if (c->watch.seen < change_of[h] && !atomic_load(&c->watch.away))
			return false;
	return true;
}

/* Of any vCPU: soft_board() would park the vectors, which are the calling thread's. */
static bool is_alone(const struct soft_cpu *c)
{
	return c->base.config.board->mem->single_vcpu;
}

/* The event for all. True if there may be several vCPUs. */
static bool raise_all(void)
{
	bool several = false;

	for (struct soft_cpu *c = watchers; c; c = c->watch.next) {
		several |= !is_alone(c);
		if (c->jit || !is_alone(c))
			atomic_fetch_or(&c->base.events, CPU_EV_SYNC);
	}
	return several;
}

/* Those who may have translated code of such pages are to look for it. */
static void list(unsigned h)
{
	for (struct soft_cpu *c = watchers; c; c = c->watch.next) {
		struct soft_jit *j = c->jit;

		if (!j || !atomic_load(&j->heads[h]))
			continue;
		if (j->changed_count < JIT_CHANGED)
			j->changed[j->changed_count++] = (u16)h;
		else
			j->changed_all = true;
	}
}

void physmem_code_changed(_Atomic u32 *page)
{
	unsigned h = hash(page);
	u32 v;

	take();
	v = atomic_load(page);
	while (v & PHYSMEM_PAGE_CODE) {
		if (v & PHYSMEM_PAGE_TOLD) {
			if (!all_seen(h) || atomic_compare_exchange_strong(
			                            page, &v, v & ~(PHYSMEM_PAGE_CODE | PHYSMEM_PAGE_TOLD)))
				break;
			continue;
		}
		u32 mark = raise_all() ? PHYSMEM_PAGE_CODE | PHYSMEM_PAGE_TOLD : 0;
		if (atomic_compare_exchange_strong(page, &v,
		                                   ((v & ~PHYSMEM_PAGE_CODE) | mark) + PHYSMEM_PAGE_STEP)) {
			change_of[h] = ++changes;
			list(h);
			break;
		}
	}
	drop();
}

void soft_jit_watch(struct soft_cpu *c)
{
	c->watch.away = true;
	take();
	c->watch.next = watchers;
	watchers = c;
	drop();
}

void soft_jit_unwatch(struct soft_cpu *c)
{
	take();
	for (struct soft_cpu **at = &watchers; *at; at = &(*at)->watch.next) {
		if (*at == c) {
			*at = c->watch.next;
			break;
		}
	}
	drop();
}

void jit_pages_forget(struct soft_jit *j)
{
	j->linked_count = 1;
	for (unsigned i = 0; i < JIT_HEADS; i++) {
		atomic_store_explicit(&j->heads[i], 0, memory_order_relaxed);
		j->retired[i] = 0;
	}
}

bool jit_pages_announce(struct soft_jit *j, const struct soft_block *b)
{
	_Atomic u32 *head = &j->heads[hash(b->page)];

	if (!atomic_load_explicit(head, memory_order_relaxed))
		atomic_store(head, JIT_NO_CODE);
	atomic_thread_fence(memory_order_seq_cst);
	return soft_block_current(b);
}

/* Whoever comes to this code goes to `to`. */
static void divert(struct soft_jit *j, struct jit_code *k, u32 to)
{
	u8 *p = j->write + (k->check - (u32)(u64)j->run) + JIT_CHECK_SIZE;

	p[0] = 0xe9;
	*(u32 *)(p + 1) = to - ((u32)(u64)p + (u32)(u64)(j->run - j->write) + 5);
}

static struct jit_code *code_of(const struct soft_jit *j, u32 check)
{
	const u8 *end = j->write + (check - (u32)(u64)j->run) + JIT_CHECK_SIZE;

	return (struct jit_code *)(end + ((const s32 *)end)[-1]) - 1;
}

void jit_pages_linked(struct soft_jit *j, u32 code, u32 at)
{
	struct jit_code *k = code_of(j, code);

	if (j->linked_count == JIT_LINKED)
		return;
	j->linked[j->linked_count] = (struct jit_linked){at, k->links};
	k->links = j->linked_count++;
}

/* Jumps to k's entries go to those of `new`. */
static void relink(struct soft_jit *j, struct jit_code *k, struct jit_code *new)
{
	for (u32 n = k->links, next; n; n = next) {
		struct jit_linked *l = &j->linked[n];
		u32 *rel = (u32 *)(j->write + (l->at - (u32)(u64)j->run));
		u32 goes = *rel + l->at + 4 - k->check;

		next = l->next;
		if (goes != 0 && goes != JIT_CHECK_SIZE)
			continue;
		*rel += new->check - k->check;
		l->next = new->links;
		new->links = n;
	}
	k->links = 0;
}

void jit_pages_add(struct soft_jit *j, const struct soft_block *b, struct jit_code *code)
{
	unsigned h = hash(b->page);
	_Atomic u32 *head = &j->heads[h];
	u32 at = (u32)(u64)code + (u32)(u64)(j->run - j->write);

	code->next = atomic_load_explicit(head, memory_order_relaxed);
	/* Jumps to what it replaces come here. */
	for (u32 old = j->retired[h] ? code->next : JIT_NO_CODE; old > JIT_NO_CODE;) {
		struct jit_code *k = (struct jit_code *)(old + (u64)(j->write - j->run));

		if (((k->block ^ code->block) & ~(u32)JIT_CODE_FLAGS) == JIT_CODE_RETIRED &&
		    k->generation == code->generation) {
			divert(j, k, code->check + JIT_CHECK_SIZE);
			relink(j, k, code);
			/* Done: it is not counted again when this code is replaced, too. */
			k->block &= ~(u32)JIT_CODE_RETIRED;
			if (j->retired[h] < UINT8_MAX && --j->retired[h] == 0)
				break;
		}
		old = k->next;
	}
	atomic_store_explicit(head, at, memory_order_relaxed);
}

void jit_pages_retire(struct soft_jit *j, struct soft_block *b, unsigned mode)
{
	if (!b->code[mode])
		return;
	struct jit_code *k = code_of(j, b->code[mode]);
	divert(j, k, k->stale);
	k->block |= JIT_CODE_RETIRED;
	if (j->retired[hash(b->page)] < UINT8_MAX)
		j->retired[hash(b->page)]++;
	b->code[mode] = 0;
}

bool jit_pages_change(const struct soft_jit *j, const struct soft_block *b)
{
	return j->deaths[hash(b->page)] == JIT_DEATHS;
}

/* Whatever is stale of one hash chain. True if there was code that may be jumped to without flags. */
static bool sweep(struct soft_jit *j, unsigned h)
{
	bool flagless = false;
	u32 at = atomic_load_explicit(&j->heads[h], memory_order_relaxed), *from = NULL, first = JIT_NO_CODE;

	while (at > JIT_NO_CODE) {
		struct jit_code *k = (struct jit_code *)(at + (u64)(j->write - j->run));
		struct soft_block *b = (struct soft_block *)(u64)(k->block & ~(u32)JIT_CODE_BITS);

		if (atomic_load_explicit(b->page, memory_order_relaxed) == k->generation) {
			if (!from)
				first = at;
			else
				*from = at;
			from = &k->next;
		} else {
			flagless |= !(k->block & JIT_CODE_FLAGS);
			divert(j, k, k->stale);
			b -= b->mode == SOFT_MODE_SECOND;
			for (unsigned m = 0; m < SOFT_TLB_MODES; m++)
				if (b->code[m] == k->check)
					b->code[m] = 0;
		}
		at = k->next;
	}
	if (from)
		*from = JIT_NO_CODE;
	atomic_store_explicit(&j->heads[h], first, memory_order_relaxed);
	if (flagless && j->deaths[h] < JIT_DEATHS)
		j->deaths[h]++;
	return flagless;
}

void soft_jit_sweep(struct soft_cpu *c)
{
	struct soft_jit *j = c->jit;
	u16 changed[JIT_CHANGED];
	unsigned count;
	bool all, flagless = false;

	take();
	c->watch.seen = changes;
	if (!j) {
		drop();
		return;
	}
	count = j->changed_count;
	all = j->changed_all;
	for (unsigned i = 0; i < count; i++)
		changed[i] = j->changed[i];
	j->changed_count = 0;
	j->changed_all = false;
	drop();
	for (unsigned i = 0; i < count; i++)
		flagless |= sweep(j, changed[i]);
	for (unsigned i = 0; all && i < JIT_HEADS; i++)
		flagless |= sweep(j, i);
	/* What is there now may need flags: nobody must come to the way out without. */
	if (flagless)
		soft_jit_remapped(c);
}
