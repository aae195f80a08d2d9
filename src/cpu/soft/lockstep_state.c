#include "cpu/soft/lockstep_state.h"
#include "cpu/soft/vec.h"

#include <stdlib.h>
#include <sys/mman.h>

/* ---- state ---- */

/* From one copy of struct soft_cpu to another. jmp and what is between are left out. */
static void copy_state(u8 *to, const u8 *from, bool vectors)
{
	enum {
		FIRST_END = offsetof(struct soft_cpu, jmp),
		SECOND = offsetof(struct soft_cpu, seg),
		XSAVE = offsetof(struct soft_cpu, xsave),
		HIGH = offsetof(struct soft_cpu, vec_high)
	};
	bool high = from[HIGH] | to[HIGH];

	vec_copy(to + LOCKSTEP_START, from + LOCKSTEP_START, FIRST_END - LOCKSTEP_START);
	vec_copy(to + SECOND, from + SECOND, offsetof(struct soft_cpu, xsave) - SECOND);
	if (vectors)
		vec_copy(to + XSAVE, from + XSAVE, high ? VCPU_XSAVE_SIZE : XSAVE_END);
}

void lockstep_take(const struct soft_cpu *c, struct lockstep_state *s, bool vectors)
{
	copy_state((u8 *)lockstep_cpu(s), (const u8 *)c, vectors);
}

void lockstep_put(struct soft_cpu *c, const struct lockstep_state *s, bool vectors)
{
	bool live = c->vec_live;

	copy_state((u8 *)c, (const u8 *)lockstep_cpu((struct lockstep_state *)s), vectors);
	c->vec_live = live && !vectors;
	soft_vec_note(c);
}

static bool bytes_same(const u8 *a, const u8 *b, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		if (*(const u64 *)(a + i) != *(const u64 *)(b + i))
			return false;
	for (; i < n; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

/* What of the XSAVE area is architectural and kept there: not FOP, FIP, FDP, and no padding. high: of
 * AVX-512, too. */
static bool vectors_same(const u8 *a, const u8 *b, bool high)
{
	for (unsigned i = 0; i < 8; i++)
		if (!bytes_same(a + XSAVE_ST + 16 * i, b + XSAVE_ST + 16 * i, 10))
			return false;
	return bytes_same(a, b, XSAVE_FOP) && bytes_same(a + XSAVE_MXCSR, b + XSAVE_MXCSR, 4) &&
	       bytes_same(a + XSAVE_XMM, b + XSAVE_XMM, 256) &&
	       bytes_same(a + XSAVE_YMMH, b + XSAVE_YMMH, 256) &&
	       (!high || bytes_same(a + XSAVE_END, b + XSAVE_END, VCPU_XSAVE_SIZE - XSAVE_END));
}

#define SAME(from, behind)                                     \
	bytes_same((const u8 *)&x->from, (const u8 *)&y->from, \
	           offsetof(struct soft_cpu, behind) - offsetof(struct soft_cpu, from))

bool lockstep_same(const struct soft_cpu *x, const struct soft_cpu *y, bool vectors)
{
	return SAME(regs, regs[REG_COUNT]) && x->rip == y->rip && x->rflags == y->rflags &&
	       SAME(tlb_tag, long64) && x->long64 == y->long64 && x->cpl == y->cpl && x->mode == y->mode &&
	       x->shadow == y->shadow && x->step == y->step && x->vec_deny == y->vec_deny &&
	       SAME(shutdown, jmp) && SAME(seg, fpu_op) && x->fpu_op == y->fpu_op &&
	       (!vectors || vectors_same(x->xsave, y->xsave, x->vec_high | y->vec_high));
}

void lockstep_note(struct lockstep_run *r, const struct soft_cpu *c, u32 flags)
{
	r->notes[r->noted % LOCKSTEP_NOTES].rip = c->rip;
	r->notes[r->noted++ % LOCKSTEP_NOTES].af = flags;
}

/* ---- pages ---- */

int lockstep_pages_init(struct lockstep_run *r)
{
	r->memory = mmap(NULL, 3 * LOCKSTEP_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r->memory == MAP_FAILED)
		return -1;
	for (unsigned i = 0; i < LOCKSTEP_PAGES; i++) {
		r->pages[i].before = r->memory + 3 * i * PAGE_SIZE;
		r->pages[i].copy = r->pages[i].before + PAGE_SIZE;
		r->pages[i].furthest = r->pages[i].copy + PAGE_SIZE;
	}
	return 0;
}

void lockstep_pages_release(struct lockstep_run *r)
{
	munmap(r->memory, 3 * LOCKSTEP_PAGES * PAGE_SIZE);
}

void lockstep_pages_forget(struct lockstep_run *r)
{
	r->count = 0;
	r->further = false;
}

/* For each chunk that is there: its page, its first byte. */
#define EACH_CHUNK(r, p, k)                                                          \
	for (struct lockstep_page *p = (r)->pages; p < (r)->pages + (r)->count; p++) \
		for (unsigned k = 0; k < PAGE_SIZE; k += LOCKSTEP_CHUNK)             \
			if (p->chunks >> k / LOCKSTEP_CHUNK & 1)

/* Pages are as they were. */
static void rewind_pages(struct lockstep_run *r)
{
	EACH_CHUNK(r, p, k)
	vec_copy(p->copy + k, p->before + k, LOCKSTEP_CHUNK);
}

void lockstep_pages_shorten(struct lockstep_run *r)
{
	if (!r->further)
		EACH_CHUNK(r, p, k)
	vec_copy(p->furthest + k, p->copy + k, LOCKSTEP_CHUNK);
	r->further = true;
	rewind_pages(r);
}

void lockstep_pages_again(struct lockstep_run *r)
{
	EACH_CHUNK(r, p, start)
	{
		/* Changed, though not by the rehearsal: by others, it is to be hoped. */
		for (unsigned k = start; k < start + LOCKSTEP_CHUNK; k++) {
			u8 now = *(const volatile u8 *)&p->host[k];

			if (p->copy[k] == p->before[k] && now != p->before[k])
				p->before[k] = now;
		}
	}
	rewind_pages(r);
}

/* A page of the run whose chunks for len bytes at off are there. */
static u8 *page_at(struct lockstep_page *p, size_t off, size_t len)
{
	size_t end = min(off + len, (size_t)PAGE_SIZE);

	for (size_t k = off / LOCKSTEP_CHUNK; k * LOCKSTEP_CHUNK < end; k++) {
		if (p->chunks >> k & 1)
			continue;
		p->chunks |= (u16)(1u << k);
		vec_copy(p->before + k * LOCKSTEP_CHUNK, p->host + k * LOCKSTEP_CHUNK, LOCKSTEP_CHUNK);
		vec_copy(p->copy + k * LOCKSTEP_CHUNK, p->before + k * LOCKSTEP_CHUNK, LOCKSTEP_CHUNK);
		vec_copy(p->furthest + k * LOCKSTEP_CHUNK, p->before + k * LOCKSTEP_CHUNK, LOCKSTEP_CHUNK);
	}
	return p->copy + off;
}

u8 *lockstep_page(struct lockstep_run *r, u8 *host, size_t len, bool write)
{
	size_t off = (uintptr_t)host & (PAGE_SIZE - 1);

	for (unsigned i = 0; i < r->count; i++)
		if (r->pages[i].host == host - off || r->pages[i].copy == host - off)
			return page_at(&r->pages[i], off, len);
	if (!write)
		return host;
	if (r->count == LOCKSTEP_PAGES)
		return NULL;
	r->pages[r->count].host = host - off;
	r->pages[r->count].chunks = 0;
	return page_at(&r->pages[r->count++], off, len);
}

enum lockstep_memory lockstep_pages_compare(const struct lockstep_run *r)
{
	enum lockstep_memory result = LOCKSTEP_SAME;

	EACH_CHUNK((struct lockstep_run *)r, p, start)
	{
		if (bytes_same(p->host + start, p->copy + start, LOCKSTEP_CHUNK))
			continue;
		for (unsigned k = start; k < start + LOCKSTEP_CHUNK; k++) {
			u8 now = *(const volatile u8 *)&p->host[k];

			if (now != p->copy[k] && p->copy[k] != p->before[k])
				return LOCKSTEP_DIFFERS;
			if (now != p->copy[k] && !(r->further && now == p->furthest[k]))
				result = LOCKSTEP_MORE;
		}
	}
	return result;
}
