/*
 * Blocks: an arena that is flushed whole when it is full, a hash by guest-physical address and mode, and in
 * front of it the jump cache by linear address.
 *
 * Validity. A page's word (physmem.h) is marked before its bytes are read; a block is good as long as the
 * word has the value it had then. When the word has changed, the bytes are compared: if they are what was
 * decoded (data beside code was written), the block lives on with the new value. Each block keeps its bytes
 * behind its operations.
 *
 * Jump cache. An entry is good while the epoch, address-space tag, privilege and mode in its key are the
 * current ones (tag 0: a global page). Whatever changes translations of code without changing the tag starts
 * a new epoch; a bitmap of linear pages that have entries tells whether INVLPG must. The halves of the linear
 * address space have epochs and bitmaps of their own: a process that loses a page costs the kernel nothing.
 *
 * Singles. An instruction that crosses the page end, comes from MMIO, may exceed the CS limit, or is stepped,
 * is decoded alone, from bytes that are fetched each time; the decoded form is cached by those bytes.
 */
#include "cpu/soft/block.h"
#include "cpu/soft/decode.h"
#include "cpu/soft/jit.h"
#include "cpu/soft/mmu.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HASH_SIZE = 1 << 17, SINGLES = 1024, MAX_INSN = 15, PAGE_BITS = 4096, REVIVALS = 6 };
/* The most that a block takes in the arena. */
#define BLOCK_MAX                                                                   \
	(sizeof(struct soft_block) + (2 * SOFT_BLOCK_OPS + 1) * sizeof(struct op) + \
	 SOFT_BLOCK_OPS * MAX_INSN + 64)

struct single {
	/* A block without a page, of at most three operations: guard, instruction, end. */
	_Alignas(16) u8 room[sizeof(struct soft_block) + 3 * sizeof(struct op)];
	u8 bytes[MAX_INSN];
	u8 len; /* 0: empty */
};

struct soft_cache {
	u8 *arena;
	size_t size, used;
	u32 epoch[2];                 /* of the lower half of linear addresses, and of the upper one: */
	u64 pages[2][PAGE_BITS / 64]; /* linear pages with entries in the jump cache, by hash */
	struct soft_block *hash[HASH_SIZE];
	struct single singles[SINGLES];
};

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
	k->size = soft_share(c, 192 * MiB, 64 * MiB, 16 * MiB);
	k->arena = soft_map(&c->base.config, k->size, PROT_READ | PROT_WRITE, -1);
	if (k->arena == MAP_FAILED) {
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
	free(c->cache);
	c->cache = NULL;
}

/* ---- the jump cache ---- */

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

bool soft_cache_is_low(const struct soft_cpu *c)
{
	return !((u64)(c->cache->arena + c->cache->size) >> 31);
}

static u64 page_bit(u64 linear)
{
	return (linear >> PAGE_SHIFT) % PAGE_BITS;
}

void soft_cache_invlpg(struct soft_cpu *c, u64 linear)
{
	u64 bit = page_bit(linear);

	if (!(c->cache->pages[linear >> 63][bit / 64] >> (bit % 64) & 1))
		return;
	if (linear >> 63 || !soft_jit_remapped_user(c))
		soft_cache_remapped(c);
	else
		new_epoch(c, 0);
}

void soft_cache_note_jump(struct soft_cpu *c, u64 linear)
{
	u64 bit = page_bit(linear);

	c->cache->pages[linear >> 63][bit / 64] |= BIT(bit % 64);
}

static inline u64 jump_key(const struct soft_cpu *c, u64 linear)
{
	return (u64)c->cache->epoch[linear >> 63] << 32 | (u64)(c->cpl == 3) << 20 | (u64)c->mode << 12 |
	       c->tlb_tag;
}

static inline struct soft_jump *jump_entry(struct soft_cpu *c, u64 linear)
{
	return &c->jumps[(linear ^ linear >> 12) & (SOFT_JUMP_ENTRIES - 1)];
}

bool soft_jump_is_global(struct soft_cpu *c, u64 linear)
{
	return !(jump_entry(c, linear)->key & (PAGE_SIZE - 1));
}

/* ---- the cache ---- */

void soft_cache_flush(struct soft_cpu *c)
{
	struct soft_cache *k = c->cache;

	k->used = 0;
	for (unsigned i = 0; i < HASH_SIZE; i++)
		((struct soft_block *volatile *)k->hash)[i] = NULL;
	for (unsigned i = 0; i < SOFT_JUMP_ENTRIES; i++)
		((volatile struct soft_jump *)c->jumps)[i].block = NULL;
	for (unsigned i = 0; i < SINGLES; i++)
		k->singles[i].len = 0;
	c->block = NULL;
	soft_jit_flush(c);
}

static struct soft_block **bucket(struct soft_cpu *c, u64 gpa, unsigned off, unsigned mode)
{
	u64 h = (gpa >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ULL + off * 0x85ebca6bULL + mode;

	return &c->cache->hash[(h ^ h >> 29) & (HASH_SIZE - 1)];
}

static struct soft_block *find(struct soft_cpu *c, u64 gpa, unsigned off, unsigned mode)
{
	struct soft_block *b = *bucket(c, gpa, off, mode);

	while (b && (b->gpa != gpa || b->off != off || b->mode != mode))
		b = b->next;
	return b;
}

struct soft_block *soft_block_find(struct soft_cpu *c, u64 gpa, unsigned off, unsigned mode)
{
	struct soft_block *b = find(c, gpa, off, mode);

	return b && soft_block_current(b) ? b : NULL;
}

static u8 *block_bytes(struct soft_block *b)
{
	return (u8 *)&b->ops[b->count + 1];
}

/* Marks the page as code and returns its word. From now on each store to the page changes the word. */
static u32 mark(struct soft_cpu *c, _Atomic u32 *page)
{
	if (c->base.config.board->mem->single_vcpu) {
		u32 old = atomic_fetch_or(page, PHYSMEM_PAGE_CODE);

		if (!(old & PHYSMEM_PAGE_CODE))
			soft_mmu_code_marked(c, page);
		return old | PHYSMEM_PAGE_CODE;
	}
	/* Also if it is marked: whoever did that may not be past the barrier yet. */
	pthread_mutex_lock(&mark_lock);
	u32 word = atomic_fetch_or(page, PHYSMEM_PAGE_CODE);
	if (!(word & PHYSMEM_PAGE_CODE))
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	pthread_mutex_unlock(&mark_lock);
	return word | PHYSMEM_PAGE_CODE;
}

static void unstop(struct soft_block *b)
{
	if (b->stopped) {
		b->stopped->fn = b->stopped_fn;
		b->stopped = NULL;
	}
}

static s32 hot(const struct soft_cpu *c)
{
	return c->jit ? c->jit->threshold - 1 : SOFT_JIT_NEVER;
}

static bool revive(struct soft_cpu *c, struct soft_block *b, const u8 *page)
{
	u32 word = mark(c, b->page);

	if (memcmp(page + b->off, block_bytes(b), b->bytes))
		return false;
	unstop(b);
	b->generation = word;
	/* Flags' liveness was looked up outside of the block's bytes. */
	for (unsigned i = 0; i < ARRAY_SIZE(b->code); i++)
		b->code[i] = 0;
	/* The more often the page was written to, the longer it is only interpreted. */
	b->heat = c->jit ? hot(c) << b->revived : SOFT_JIT_NEVER;
	if (b->revived < REVIVALS)
		b->revived++;
	return true;
}

static const struct op *op_block_next(struct soft_cpu *c, const struct op *o);
static const struct op *op_too_long(struct soft_cpu *c, const struct op *o)
{
	soft_raise_error(c, EXC_GP, 0);
}

/* Puts a guard in front of the last operation if it needs one; returns their number, 1 or 2. */
static unsigned guarded(struct op *o)
{
	if (!(o->flags & OPF_CPL0))
		return 1;
	o[1] = o[0];
	o[0] = (struct op){.fn = op_guard_cpl0, .off = o[0].off};
	return 2;
}

/* Decodes a block at off of the page; NULL if its first instruction crosses the page end. */
static struct soft_block *decode(struct soft_cpu *c, const struct soft_itlb_entry *t, unsigned off)
{
	struct soft_cache *k = c->cache;
	struct soft_block *b;
	u8 copy[SOFT_BLOCK_OPS * MAX_INSN];
	size_t len = min((size_t)(PAGE_SIZE - off), sizeof(copy)), at = 0;
	unsigned count = 0, insns = 0;
	bool ends = false;

	if (k->used + BLOCK_MAX > k->size)
		soft_cache_flush(c);
	b = (struct soft_block *)(k->arena + k->used);
	*b = (struct soft_block){
	        .gpa = t->gpa, .page = t->page, .mode = c->mode, .off = (u16)off, .heat = hot(c)};
	b->generation = mark(c, t->page);
	memcpy(copy, t->hva + off, len);

	while (!ends && insns < SOFT_BLOCK_OPS) {
		struct op *o = &b->ops[count];
		size_t left = min(len - at, (size_t)MAX_INSN);

		if (soft_decode(c, c->mode, copy + at, left, off + (unsigned)at, o, &ends) ==
		    SOFT_DECODE_MORE) {
			if (left < MAX_INSN)
				break;
			o->fn = op_too_long;
			ends = true;
		}
		count += guarded(o);
		insns++;
		at += b->ops[count - 1].len;
	}
	if (!count)
		return NULL;
	b->ops[count] = (struct op){.fn = op_block_end, .off = (u16)(off + at), .disp = (s64)(off + at)};
	if (c->long64 && off + at < PAGE_SIZE)
		b->ops[count].fn = op_block_next;
	b->count = (u16)count;
	b->bytes = (u16)at;
	/* What cannot be decoded may have no length, but its bytes made it so. */
	if (b->ops[count - 1].fn == op_undefined || b->ops[count - 1].fn == op_too_long)
		b->bytes = (u16)min(at + MAX_INSN, len);
	memcpy(block_bytes(b), copy, b->bytes);
	k->used = align_up((size_t)(block_bytes(b) + b->bytes - k->arena), (size_t)16);
	return b;
}

static void insert(struct soft_cpu *c, struct soft_block *b)
{
	struct soft_block **at = bucket(c, b->gpa, b->off, b->mode);
	struct soft_block **old = at;

	while (*old) {
		if ((*old)->gpa == b->gpa && (*old)->off == b->off && (*old)->mode == b->mode)
			*old = (*old)->next;
		else
			old = &(*old)->next;
	}
	b->next = *at;
	*at = b;
}

/* ---- singles ---- */

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
static bool known_to_cross(struct soft_cpu *c, const struct soft_itlb_entry *t, u64 linear)
{
	unsigned off = linear & (PAGE_SIZE - 1), first = PAGE_SIZE - off;
	const struct single *s = single_at(c, linear);
	const struct soft_block *b = (const struct soft_block *)s->room;

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
	struct soft_block *b = (struct soft_block *)s->room;
	bool cached = s->len && b->off == off && b->mode == c->mode &&
	              same_bytes(bytes, s->bytes, min((unsigned)s->len, first));
	if (cached && s->len <= have)
		goto found;

	if (c->vec_live)
		soft_vec_park(c);
	bool ends;
	struct op o;
	enum soft_decode_result r = SOFT_DECODE_MORE;
	if (!cached)
		r = soft_decode(c, c->mode, bytes, have, off, &o, &ends);
	if (r == SOFT_DECODE_MORE && have < left) {
		u64 next = linear + first;

		have = (unsigned)left;
		fetch(c, soft_mmu_exec(c, c->long64 ? next : (u32)next), 0, bytes + first, have - first);
		if (cached && s->len <= have && same_bytes(bytes, s->bytes, s->len))
			goto found;
		r = soft_decode(c, c->mode, bytes, have, off, &o, &ends);
	} else if (cached) {
		r = soft_decode(c, c->mode, bytes, have, off, &o, &ends);
	}
	if (r == SOFT_DECODE_MORE)
		o.fn = op_too_long;
	*b = (struct soft_block){.gpa = ~0ULL, .mode = c->mode, .off = (u16)off, .count = 1};
	b->ops[0] = o;
	unsigned count = guarded(b->ops);
	b->ops[count] = (struct op){.fn = op_block_end, .off = (u16)(off + o.len)};
	for (unsigned i = 0; i < have; i++)
		s->bytes[i] = bytes[i];
	s->len = o.len; /* 0, which is not found again, for what has no length */
found:
	c->regs[SREG_PAGE_RIP] = c->rip - off;
	return b;
}

/* ---- lookup ---- */

static __attribute__((noinline)) struct soft_block *lookup(struct soft_cpu *c, u64 linear)
{
	const struct soft_itlb_entry *t = soft_mmu_exec(c, linear);
	unsigned off = linear & (PAGE_SIZE - 1);
	struct soft_block *b;

	if (!t->page || known_to_cross(c, t, linear))
		return soft_block_single(c);
	b = find(c, t->gpa, off, c->mode);
	if (!b || !soft_block_current(b)) {
		if (c->vec_live)
			soft_vec_park(c);
		if (!b || !revive(c, b, t->hva)) {
			b = decode(c, t, off);
			if (!b)
				return soft_block_single(c);
			insert(c, b);
		}
	}
	struct soft_jump *j = jump_entry(c, linear);
	u64 bit = page_bit(linear);
	j->rip = linear;
	j->key = t->tag & (PAGE_SIZE - 1) ? jump_key(c, linear) : jump_key(c, linear) & ~(PAGE_SIZE - 1);
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
	key = jump_key(c, linear);
	j = jump_entry(c, linear);
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
		b = find(c, c->block->gpa, (unsigned)o->disp, c->block->mode);
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
	unstop(c->block);
	return op_block_end(c, o);
}

void soft_block_stop(struct soft_cpu *c)
{
	struct soft_block *b = c->block;

	if (!b || !b->page || !c->op || c->op[0].fn == op_stopped)
		return;
	unstop(b);
	b->stopped = (struct op *)c->op + 1;
	b->stopped_fn = b->stopped->fn;
	b->stopped->fn = op_stopped;
}

const struct op *op_guard_cpl0(struct soft_cpu *c, const struct op *o)
{
	if (c->cpl)
		soft_raise_error(c, EXC_GP, 0);
	return o + 1;
}
