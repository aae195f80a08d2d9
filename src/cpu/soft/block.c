/*
 * Blocks: an arena that is flushed whole when it is full, a hash by guest-physical address and mode, and in
 * front of it the jump cache by linear address. Their operations are in a ring (op_ring.h), and may go.
 *
 * Validity. A page's word (physmem.h) is marked before its bytes are read; a block is good as long as the
 * word has the value it had then. When the word has changed, the bytes are compared: if they are what was
 * decoded (data beside code was written), the block lives on with the new value. Each block has its bytes
 * behind its operations. What has code keeps them apart as well, at the arena's end: its operations, when
 * they are needed, must be those that were translated. Other blocks that lost their operations count as
 * changed (`page` is then a word that is no page's), and what the page holds when they are next found is
 * decoded.
 *
 * block_jumps.c has the jump cache, block_single.c what is decoded alone or crosses a page's end.
 */
#include "cpu/soft/block_arena.h"
#include "cpu/soft/decode.h"
#include "cpu/soft/decode_cache.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/op_ring.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	HASH_FIRST = 1 << 16,
	HASH_MANY = 1 << 18,
	POPULATE = 64 << 10,
	REVIVALS = 6,
	COPY = 64,  /* more than an instruction */
	CALLS = 3,  /* that a wide block goes on behind */
	BACK = 1024 /* … to code that is at most so far in front of its start */
};

_Atomic u32 block_nowhere;

/* Marking a page as code and the barrier behind it are one step to other vCPUs. */
static pthread_mutex_t mark_lock = PTHREAD_MUTEX_INITIALIZER;

static void register_membarrier(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

int soft_cache_init(struct soft_cpu *c, struct error *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct soft_cache *k = calloc(1, sizeof(*k));

	if (!k)
		return error_set(e, 0, "no memory for a vCPU's code cache");
	pthread_once(&once, register_membarrier);
	k->size = soft_share(c, 32 * MiB, 16 * MiB, 4 * MiB);
	k->used = sizeof(struct soft_block);
	k->kept = k->size;
	k->arena = soft_map(&c->base.config, k->size, PROT_READ | PROT_WRITE, -1);
	k->hash_size = HASH_FIRST;
	k->hash = calloc(k->hash_size, sizeof(*k->hash));
	k->ring = op_ring_new(soft_share(c, 160 * MiB, 64 * MiB, 16 * MiB));
	c->decoded = decode_cache_new();
	if (k->arena == MAP_FAILED || !k->hash || !k->ring || !c->decoded) {
		if (k->arena != MAP_FAILED)
			munmap(k->arena, k->size);
		op_ring_free(k->ring);
		decode_cache_free(c->decoded);
		free(k->hash);
		free(k);
		return error_set(e, 0, "no memory for a vCPU's code cache");
	}
	c->cache = k;
	return 0;
}

void soft_cache_release(struct soft_cpu *c)
{
	if (!c->cache)
		return;
	munmap(c->cache->arena, c->cache->size);
	op_ring_free(c->cache->ring);
	decode_cache_free(c->decoded);
	free(c->cache->hash);
	free(c->cache);
	c->cache = NULL;
}

bool soft_cache_is_low(const struct soft_cpu *c)
{
	return !((u64)(c->cache->arena + c->cache->size) >> 31);
}

void soft_cache_flush(struct soft_cpu *c)
{
	struct soft_cache *k = c->cache;

	soft_block_unstop(c);
	k->used = sizeof(struct soft_block);
	k->kept = k->size;
	op_ring_reset(k->ring);
	decode_cache_reset(c->decoded);
	for (unsigned i = 0; i < k->hash_size; i++)
		((volatile u32 *)k->hash)[i] = 0;
	for (unsigned i = 0; i < SOFT_JUMP_ENTRIES; i++)
		((volatile struct soft_jump *)c->jumps)[i].block = NULL;
	block_singles_forget(k);
	c->block = NULL;
	soft_jit_flush(c);
}

bool soft_cache_is_wide(const struct soft_cpu *c)
{
	return op_ring_is_wide(c->cache->ring);
}

void soft_cache_narrow(struct soft_cpu *c)
{
	if (!soft_cache_is_wide(c))
		return;
	soft_block_unstop(c);
	op_ring_narrow(c->cache->ring);
}

static struct soft_block *find(struct soft_cpu *c, u64 gpa, unsigned off, unsigned mode)
{
	struct soft_block *b = block_numbered(c, *block_bucket(c, gpa, off, mode));

	while (b && (b->gpa != gpa || b->off != off || b->mode != mode))
		b = block_numbered(c, b->next);
	return b;
}

/* There are many blocks: more buckets. */
static void grow(struct soft_cpu *c)
{
	struct soft_cache *k = c->cache;
	u32 *old = k->hash, *wider = calloc(HASH_MANY, sizeof(*wider)), old_size = k->hash_size;

	if (!wider)
		return;
	k->hash = wider;
	k->hash_size = HASH_MANY;
	for (u32 i = 0; i < old_size; i++) {
		for (u32 n = old[i], next; n; n = next) {
			struct soft_block *b = block_numbered(c, n);
			u32 *at = block_bucket(c, b->gpa, b->off, b->mode);

			next = b->next;
			b->next = *at;
			*at = n;
		}
	}
	free(old);
}

struct soft_block *soft_block_find(struct soft_cpu *c, u64 gpa, unsigned off, unsigned mode)
{
	struct soft_block *b = find(c, gpa, off, mode);

	return b && soft_block_current(b) ? b : NULL;
}

const u8 *soft_block_bytes(const struct soft_cpu *c, const struct soft_block *b)
{
	return b->kept ? c->cache->arena + b->kept : (const u8 *)&b->ops[b->count + 1];
}

bool soft_block_keep(struct soft_cpu *c, struct soft_block *b)
{
	struct soft_cache *k = c->cache;

	if (b->kept)
		return true;
	if (k->kept - k->used < b->bytes)
		return false;
	k->kept -= b->bytes;
	memcpy(k->arena + k->kept, soft_block_bytes(c, b), b->bytes);
	b->kept = (u32)k->kept;
	return true;
}

void soft_block_forgotten(struct soft_block *b)
{
	b->ops = NULL;
	if (!b->kept || b->heat > 0)
		b->page = &block_nowhere;
}

/* Returns what the word was. */
static u32 set_mark(_Atomic u32 *page)
{
	u32 word = atomic_load(page);

	while (!atomic_compare_exchange_weak(page, &word, (word | PHYSMEM_PAGE_CODE) & ~PHYSMEM_PAGE_TOLD))
		;
	return word;
}

/* Marks the page as code and returns its word. From now on each store to the page changes the word. */
u32 block_mark(struct soft_cpu *c, _Atomic u32 *page)
{
	if (c->base.config.board->mem->single_vcpu) {
		u32 word = set_mark(page);

		if (!(word & PHYSMEM_PAGE_CODE))
			soft_mmu_code_marked(c, page);
		return (word | PHYSMEM_PAGE_CODE) & ~PHYSMEM_PAGE_TOLD;
	}
	/* Also if it is marked: whoever did that may not be past the barrier yet. A store that found a mark
	 * looks again behind a barrier of its own, and so needs none here. */
	pthread_mutex_lock(&mark_lock);
	u32 word = set_mark(page);
	if (!(word & PHYSMEM_PAGE_CODE))
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	pthread_mutex_unlock(&mark_lock);
	return (word | PHYSMEM_PAGE_CODE) & ~PHYSMEM_PAGE_TOLD;
}

void soft_block_unstop(struct soft_cpu *c)
{
	if (c->stop.op)
		c->stop.op->fn = c->stop.fn;
	c->stop.op = NULL;
	c->stop.block = NULL;
}

static const struct op *op_block_next(struct soft_cpu *c, const struct op *o);

const struct op *op_too_long(struct soft_cpu *c, const struct op *o)
{
	soft_raise_error(c, EXC_GP, 0);
}

/* Puts a guard in front of the last operation if it needs one; returns their number, 1 or 2. */
unsigned block_guarded(struct op *o)
{
	if (!(o->flags & OPF_CPL0))
		return 1;
	o[1] = o[0];
	o[0] = (struct op){.fn = op_guard_cpl0, .off = o[0].off};
	return 2;
}

const struct op *op_jump_next(struct soft_cpu *c, const struct op *o)
{
	return o + 1;
}

/* Does o, whose bytes these are, jump to where a wide block can go on? What is jumped over belongs to the block's
 * bytes. */
static bool is_followed(const struct op *o, const u8 *bytes, size_t end)
{
	enum { MOST = 256, JMP8 = 0xeb, JMP32 = 0xe9 };

	return ((bytes[0] == JMP8 && o->len == 2) || (bytes[0] == JMP32 && o->len == 5)) &&
	       o->disp >= o->off + o->len && o->disp <= o->off + o->len + MOST && (u64)o->disp <= end &&
	       (u64)o->disp < PAGE_SIZE;
}

/* Likewise a call, into code from first to end. */
static bool is_entered(const struct op *o, const u8 *bytes, size_t first, size_t end)
{
	enum { CALL = 0xe8 };

	return bytes[0] == CALL && o->len == 5 && o->disp >= (s64)first && o->disp <= (s64)end &&
	       o->disp < (s64)PAGE_SIZE;
}

bool block_decode(struct soft_cpu *c, struct soft_block *b, unsigned first, u8 *bytes, const u8 *from,
                  size_t len)
{
	unsigned most = b->wide ? SOFT_BLOCK_OPS : SOFT_BLOCK_FIRST, count = 0, calls = 0;
	struct op *ops = op_ring_room(c, c->cache->ring, most);
	bool ends = false;
	size_t at = b->off - first, there = from ? 0 : len, low = at, high;

	high = at;
	if (c->vec_live)
		soft_vec_park(c);
	while (!ends && count + 1 < most) {
		struct op *o = &ops[count];
		size_t left = min(len - at, (size_t)MAX_INSN);

		while (at + left > there) {
			size_t more = min(len - there, (size_t)COPY);

			memcpy(bytes + there, from + there, more);
			there += more;
		}
		if (soft_decode(c, soft_block_mode(b), bytes + at, left, first + (unsigned)at, o, &ends) ==
		    SOFT_DECODE_MORE) {
			if (left < MAX_INSN)
				break;
			o->fn = op_too_long;
			ends = true;
		}
		count += block_guarded(o);
		at += ops[count - 1].len;
		high = max(high, at);
		if (!b->wide || !ends)
			continue;
		if (is_followed(o, bytes + at - o->len, first + len))
			o->fn = op_jump_next;
		else if (calls < CALLS && is_entered(o, bytes + at - o->len, first, first + len) && ++calls)
			o->fn = op_call_next;
		else
			continue;
		at = (size_t)o->disp - first;
		low = min(low, at);
		high = max(high, at);
		ends = false;
	}
	if (!count)
		return false;
	ops[count] = (struct op){.fn = op_block_end, .off = (u16)(first + at), .disp = (s64)(first + at)};
	if (b->mode == SOFT_MODE_LONG64 && first + at < PAGE_SIZE)
		ops[count].fn = op_block_next;
	/* What cannot be decoded may have no length, but its bytes made it so. */
	if (ops[count - 1].fn == op_undefined || ops[count - 1].fn == op_too_long) {
		size_t most_bytes = min(at + MAX_INSN, there);

		high = max(high, most_bytes);
	}
	b->count = (u8)count;
	b->bytes = (u16)(high - low);
	b->before = (b->off - first - (unsigned)low) & (PAGE_SIZE - 1);
	memcpy(&ops[count + 1], bytes + low, b->bytes);
	b->learned = false;
	return true;
}

struct op *soft_block_decode(struct soft_cpu *c, struct soft_block *b)
{
	if (!block_decode(c, b, soft_block_first(b), c->cache->arena + b->kept, NULL, b->bytes))
		__builtin_trap();
	op_ring_add(c->cache->ring, b, true);
	b->seen = (u8)b->heat;
	return b->ops;
}

/* Does b end by a call that it goes on behind once it is wide? */
static bool ends_by_call(const struct soft_cpu *c, const struct soft_block *b, size_t first, size_t end)
{
	const struct op *last = &b->ops[b->count - 1];

	return is_entered(last, soft_block_bytes(c, b) + (last->off - soft_block_first(b)), first, end);
}

/* Another vCPU may store to what is added: the page's word changes then, and what was decoded is compared. */
void soft_block_widen(struct soft_cpu *c, struct soft_block *b)
{
	u8 copy[SOFT_BLOCK_OPS * MAX_INSN];
	unsigned first = b->off - min((unsigned)b->off, (unsigned)BACK);
	size_t len = min((size_t)(PAGE_SIZE - first), sizeof(copy));
	const u8 *page;

	if (b->wide || b->mode != SOFT_MODE_LONG64 || !b->kept ||
	    (b->count + 1 < SOFT_BLOCK_FIRST && !ends_by_call(c, b, first, first + len)))
		return;
	page = physmem_ptr(c->base.config.board->mem, b->gpa, PAGE_SIZE);
	if (!page)
		return;
	memcpy(copy, page + first, len);
	/* Old code that still runs has numbers of operations: those it has must stay what they are. */
	if (memcmp(copy + (b->off - first), soft_block_bytes(c, b), b->bytes))
		return;
	b->wide = true;
	if (!block_decode(c, b, first, copy, NULL, len))
		__builtin_trap();
	op_ring_add(c->cache->ring, b, true);
	b->kept = 0;
}

/* A block at off of the page that has not been there, or was another; NULL if its first instruction crosses
 * the page end. old: what takes its place, as it never had code. */
static struct soft_block *block_new(struct soft_cpu *c, const struct soft_itlb_entry *t, unsigned off,
                                    struct soft_block *old)
{
	struct soft_cache *k = c->cache;
	struct soft_block b = {
	        .gpa = t->gpa, .page = t->page, .mode = c->mode, .off = (u16)off, .heat = block_hot(c)};
	bool forgotten = old && old->page == &block_nowhere;
	u8 copy[SOFT_BLOCK_FIRST * MAX_INSN];
	size_t len = min((size_t)(PAGE_SIZE - off), sizeof(copy));
	u32 *at;

	if (!old && k->kept - k->used < sizeof(b))
		soft_cache_flush(c);
	if (k->used >= k->ready && k->ready < k->size) { /* cheaper than a fault for each */
		(void)madvise(k->arena + k->ready, min((size_t)POPULATE, k->size - k->ready),
		              MADV_POPULATE_WRITE);
		k->ready += POPULATE;
	}
	b.generation = block_mark(c, t->page);
	if (!block_decode(c, &b, off, copy, t->hva + off, len))
		return NULL;
	b.seen = (u8)(b.heat - 1);
	if (old) {
		b.next = old->next;
		if (forgotten) { /* no other, as far as one knows */
			b.heat = old->heat;
			b.revived = old->revived;
			b.seen = (u8)b.heat;
		}
	} else {
		if (k->hash_size == HASH_FIRST && k->used / sizeof(b) > HASH_FIRST)
			grow(c);
		old = (struct soft_block *)(k->arena + k->used);
		at = block_bucket(c, b.gpa, off, b.mode);
		b.next = *at;
		*at = (u32)(k->used / sizeof(b));
		k->used += sizeof(b);
	}
	*old = b;
	op_ring_add(k->ring, old, forgotten);
	return old;
}

/* b is not to be found any more; its code may still run. */
void block_withdraw(struct soft_cpu *c, struct soft_block *b)
{
	u32 *at = block_bucket(c, b->gpa, b->off, b->mode);

	while (block_numbered(c, *at) != b)
		at = &block_numbered(c, *at)->next;
	*at = b->next;
}

/* It is there again as it was: the more often its page was written to, the longer it is only interpreted. */
void block_revive(struct soft_cpu *c, struct soft_block *b, unsigned revived)
{
	b->heat = c->jit ? block_hot(c) << revived : SOFT_JIT_NEVER;
	b->revived = (revived + (revived < REVIVALS)) & 15;
}

/* What is at t and off, where b is not current. */
static struct soft_block *renew(struct soft_cpu *c, struct soft_block *b, const struct soft_itlb_entry *t,
                                unsigned off)
{
	bool forgotten = b->page == &block_nowhere;
	u32 word;

	if (!b->ops && !b->kept)
		return block_new(c, t, off, b);
	word = block_mark(c, t->page);
	if (memcmp(t->hva + soft_block_first(b), soft_block_bytes(c, b), b->bytes)) {
		if (!b->kept)
			return block_new(c, t, off, b);
		block_withdraw(c, b);
		return block_new(c, t, off, NULL);
	}
	soft_block_unstop(c);
	b->page = t->page;
	b->generation = word;
	/* Flags' liveness was looked up outside of the block's bytes. */
	for (unsigned i = 0; i < ARRAY_SIZE(b->code); i++)
		b->code[i] = 0;
	soft_jit_plain_again(c, b);
	soft_block_ops(c, b);
	if (forgotten)
		return b;
	block_revive(c, b, b->revived);
	return b;
}

/* ---- lookup ---- */

static __attribute__((noinline)) struct soft_block *lookup(struct soft_cpu *c, u64 linear)
{
	const struct soft_itlb_entry *t = soft_mmu_exec(c, linear);
	unsigned off = linear & (PAGE_SIZE - 1);
	struct soft_block *b;

	if (!t->page)
		return soft_block_single(c);
	if (off > PAGE_SIZE - MAX_INSN) {
		b = c->long64 ? block_crossing(c, t, linear) : NULL;
		if (b)
			return b;
		if (block_known_to_cross(c, t, linear))
			return block_crossing_new(c, soft_block_single(c), linear);
	}
	b = find(c, t->gpa, off, c->mode);
	if (!b || !soft_block_current(b)) {
		if (c->vec_live)
			soft_vec_park(c);
		b = b ? renew(c, b, t, off) : block_new(c, t, off, NULL);
		if (!b)
			return block_crossing_new(c, soft_block_single(c), linear);
	}
	struct soft_jump *j = block_jump(c, linear);
	u64 bit = block_page_bit(linear);
	j->rip = linear;
	j->key = t->tag & (PAGE_SIZE - 1) ? block_jump_key(c, linear)
	                                  : block_jump_key(c, linear) & ~(PAGE_SIZE - 1);
	j->block = b;
	c->cache->pages[linear >> 63][bit / 64] |= BIT(bit % 64);
	return b;
}

struct soft_block *soft_block_at(struct soft_cpu *c)
{
	u64 linear = c->segbase[SEG_CS] + c->rip, key;
	struct soft_jump *j;
	struct soft_block *b;

	if (unlikely(!c->long64)) {
		linear = (u32)linear;
		if (c->rip > c->seg[SEG_CS].limit)
			soft_raise_error(c, EXC_GP, 0);
	}
	key = block_jump_key(c, linear);
	j = block_jump(c, linear);
	b = j->block;
	if (unlikely(!b || j->rip != linear || ((j->key ^ key) & ~(PAGE_SIZE - 1)) ||
	             (j->key != key && (j->key & (PAGE_SIZE - 1))) || !soft_block_current(b)))
		b = lookup(c, linear);
	if (unlikely(!c->long64) && b->page && c->rip + b->bytes - 1 > c->seg[SEG_CS].limit)
		b = soft_block_single(c);
	c->regs[SREG_PAGE_RIP] = c->rip - b->off;
	return b;
}

const struct op *soft_chain_slow(struct soft_cpu *c, const struct op *o)
{
	struct soft_block *b = o->link;

	if (c->block->page && (!b || !soft_block_current(b)))
		b = find(c, c->block->gpa, (unsigned)o->disp, soft_block_mode(c->block));
	((struct op *)o)->link = b;
	c->rip = c->regs[SREG_PAGE_RIP] + (u64)o->disp;
	if (!c->long64)
		c->rip = (u32)c->rip;
	return NULL;
}

/* ---- ends ---- */

const struct op *op_block_end(struct soft_cpu *c, const struct op *o)
{
	c->rip = soft_op_rip(c, o);
	return NULL;
}

/* The closing op where more of the page follows, in 64-bit mode. */
static const struct op *op_block_next(struct soft_cpu *c, const struct op *o)
{
	return soft_chain(c, o);
}

bool soft_op_is_next(const struct op *o)
{
	return o->fn == op_block_next;
}

static const struct op *op_stopped(struct soft_cpu *c, const struct op *o)
{
	soft_block_unstop(c);
	return op_block_end(c, o);
}

void soft_block_stop(struct soft_cpu *c)
{
	struct soft_block *b = c->block;

	if (!b || !b->page || !c->op || c->op[0].fn == op_stopped)
		return;
	soft_block_unstop(c);
	c->stop.block = b;
	c->stop.op = (struct op *)c->op + 1;
	c->stop.fn = c->stop.op->fn;
	c->stop.op->fn = op_stopped;
}

const struct op *op_guard_cpl0(struct soft_cpu *c, const struct op *o)
{
	if (c->cpl)
		soft_raise_error(c, EXC_GP, 0);
	return o + 1;
}
