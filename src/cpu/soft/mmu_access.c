/*
 * Loads and stores that the soft TLB's fast paths leave: across pages, to devices, with alignment checks or
 * data breakpoints, by the byte.
 */
#include "cpu/soft/block.h"
#include "cpu/soft/mmu_tlb.h"

/* Held while a locked instruction works on a copy (page-crossing, MMIO), by any vCPU of the process. */
static atomic_flag split_lock = ATOMIC_FLAG_INIT;

/* ---- bytes ---- */

static void copy(void *dst, const void *src, size_t n)
{
	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

/* The largest access of 1, 2, 4, 8 bytes that n bytes hold. */
static unsigned piece(size_t n)
{
	return n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

static void mmio_read(struct soft_cpu *c, u64 gpa, u8 *buf, size_t n)
{
	const struct cpu_board *b = soft_board(c);
	const u8 *rom = physmem_ptr(b->mem, gpa, n); /* as part of a read-modify-write */

	if (rom) {
		copy(buf, rom, n);
		return;
	}
	while (n) {
		unsigned s = piece(n);
		u64 v = b->mmio_read(b->ctx, &c->base, gpa, s);

		copy(buf, &v, s);
		gpa += s, buf += s, n -= s;
	}
}

static void mmio_write(struct soft_cpu *c, u64 gpa, const u8 *buf, size_t n)
{
	const struct cpu_board *b = soft_board(c);

	if (physmem_find(b->mem, gpa)) /* ROM */
		return;
	while (n) {
		unsigned s = piece(n);
		u64 v = 0;

		copy(&v, buf, s);
		b->mmio_write(b->ctx, &c->base, gpa, s, v);
		gpa += s, buf += s, n -= s;
	}
	/* What it caused (an interrupt to ourselves) is to be seen behind this instruction. */
	if (atomic_load_explicit(&c->base.events, memory_order_relaxed) & c->events_enabled)
		soft_block_stop(c);
}

static void read_place(struct soft_cpu *c, const struct place *p, void *buf, size_t n)
{
	if (likely(p->host != NULL))
		copy(buf, p->host, n);
	else
		mmio_read(c, p->gpa, buf, n);
}

static void written(struct soft_cpu *c, _Atomic u32 *page)
{
	if (unlikely(atomic_load_explicit(page, memory_order_relaxed) & PHYSMEM_PAGE_CODE))
		soft_code_written(c, page);
}

static void write_place(struct soft_cpu *c, const struct place *p, const void *buf, size_t n)
{
	if (likely(p->host != NULL)) {
		copy(p->host, buf, n);
		written(c, p->page);
	} else {
		mmio_write(c, p->gpa, buf, n);
	}
}

void soft_code_written(struct soft_cpu *c, _Atomic u32 *page)
{
	if (unlikely(c->rehearsing))
		return;
	physmem_page_changed(page);
	if (c->block && c->block->page == page)
		soft_block_stop(c);
}

/* Bytes of an access that lie in its first page. */
static size_t in_page(u64 linear, size_t n)
{
	return min((size_t)(PAGE_SIZE - (linear & (PAGE_SIZE - 1))), n);
}

void soft_check_align(struct soft_cpu *c, u64 linear, size_t size)
{
	size_t need = size == 10 ? 8 : size > 16 ? 16 : size; /* SDM vol. 3 table 6-7 */

	/* A non-canonical address is a fault of its own, which comes first. */
	if (c->mmu->align && !(need & (need - 1)) && (linear & (need - 1)) &&
	    (s64)(linear << 16) >> 16 == (s64)linear)
		soft_raise_error(c, EXC_AC, 0);
}

static void check_breakpoints(struct soft_cpu *c, u64 linear, size_t size, bool write)
{
	if (c->mmu->breakpoints)
		soft_debug_data(c, linear, (unsigned)size, write);
}

/* Reads across pages; every page is translated before the first byte is read. */
static void read_span(struct soft_cpu *c, u64 linear, void *buf, size_t n, unsigned mode, unsigned seg)
{
	size_t first = in_page(linear, n);
	struct place a, b;

	mmu_translate(c, linear, false, mode, seg, &a);
	if (first < n)
		mmu_translate(c, mmu_wrap(c, linear + first), false, mode, seg, &b);
	read_place(c, &a, buf, first);
	if (first < n)
		read_place(c, &b, (u8 *)buf + first, n - first);
}

/* Translates a write of n bytes. */
static void span_init(struct soft_cpu *c, struct span *s, u64 linear, size_t n, unsigned mode, unsigned seg)
{
	s->first = (u8)in_page(linear, n);
	s->rest = (u8)(n - s->first);
	mmu_translate(c, linear, true, mode, seg, &s->place[0]);
	if (s->rest)
		mmu_translate(c, mmu_wrap(c, linear + s->first), true, mode, seg, &s->place[1]);
}

static void span_write(struct soft_cpu *c, const struct span *s, const void *buf)
{
	write_place(c, &s->place[0], buf, s->first);
	if (s->rest)
		write_place(c, &s->place[1], (const u8 *)buf + s->first, s->rest);
}

/* One page, power of two: a single access, so that it is atomic towards other vCPUs and devices. */
static u64 load_one(const u8 *p, unsigned size)
{
	switch (size) {
	case 1:
		return *(const volatile u8 *)p;
	case 2:
		return *(const volatile u16 *)p;
	case 4:
		return *(const volatile u32 *)p;
	default:
		return *(const volatile u64 *)p;
	}
}

static void store_one(u8 *p, unsigned size, u64 v)
{
	switch (size) {
	case 1:
		*(volatile u8 *)p = (u8)v;
		break;
	case 2:
		*(volatile u16 *)p = (u16)v;
		break;
	case 4:
		*(volatile u32 *)p = (u32)v;
		break;
	default:
		*(volatile u64 *)p = v;
		break;
	}
}

static u64 load(struct soft_cpu *c, u64 linear, unsigned size, unsigned mode, unsigned seg)
{
	u64 v = 0;

	if (in_page(linear, size) == size) {
		struct place p;

		mmu_translate(c, linear, false, mode, seg, &p);
		if (p.host)
			return load_one(p.host, size);
		mmio_read(c, p.gpa, (u8 *)&v, size);
	} else {
		read_span(c, linear, &v, size, mode, seg);
	}
	return v;
}

static void store(struct soft_cpu *c, u64 linear, unsigned size, u64 v, unsigned mode, unsigned seg)
{
	if (in_page(linear, size) == size) {
		struct place p;

		mmu_translate(c, linear, true, mode, seg, &p);
		if (p.host) {
			store_one(p.host, size, v);
			written(c, p.page);
		} else {
			mmio_write(c, p.gpa, (const u8 *)&v, size);
		}
	} else {
		struct span s;

		span_init(c, &s, linear, size, mode, seg);
		span_write(c, &s, &v);
	}
}

u64 soft_load_slow(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg)
{
	linear = mmu_wrap(c, linear);
	if (likely(!c->mmu->slow))
		return load(c, linear, size, c->mmu->mode, seg);
	soft_check_align(c, linear, size);
	u64 v = load(c, linear, size, c->mmu->mode, seg);
	check_breakpoints(c, linear, size, false);
	return v;
}

void soft_store_slow(struct soft_cpu *c, u64 linear, unsigned size, u64 value, unsigned seg)
{
	linear = mmu_wrap(c, linear);
	if (unlikely(c->mmu->slow))
		soft_check_align(c, linear, size);
	store(c, linear, size, value, c->mmu->mode, seg);
	if (unlikely(c->mmu->slow))
		check_breakpoints(c, linear, size, true);
}

static unsigned system_mode(const struct soft_cpu *c)
{
	return c->cr4 & CR4_SMAP ? SOFT_TLB_SUPER_SMAP : SOFT_TLB_SUPER;
}

u64 soft_sys_load(struct soft_cpu *c, u64 linear, unsigned size)
{
	return load(c, mmu_wrap(c, linear), size, system_mode(c), SEG_DS);
}

void soft_sys_store(struct soft_cpu *c, u64 linear, unsigned size, u64 value)
{
	store(c, mmu_wrap(c, linear), size, value, system_mode(c), SEG_DS);
}

/* ---- read-modify-write ---- */

void *soft_rmw_slow(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg, bool locked)
{
	struct span *s = &c->mmu->rmw;

	linear = mmu_wrap(c, linear);
	soft_check_align(c, linear, size);
	span_init(c, s, linear, size, c->mmu->mode, seg);
	check_breakpoints(c, linear, size, true);
	if (!s->rest && s->place[0].host) {
		c->rmw.page = s->place[0].page;
		return s->place[0].host;
	}
	c->rmw.page = NULL;
	c->rmw.locked = locked;
	if (locked)
		while (atomic_flag_test_and_set_explicit(&split_lock, memory_order_acquire))
			__builtin_ia32_pause();
	read_place(c, &s->place[0], c->rmw.buf, s->first);
	if (s->rest)
		read_place(c, &s->place[1], (u8 *)c->rmw.buf + s->first, s->rest);
	return c->rmw.buf;
}

void soft_rmw_end_slow(struct soft_cpu *c)
{
	if (c->rmw.page) {
		soft_code_written(c, c->rmw.page);
		return;
	}
	span_write(c, &c->mmu->rmw, c->rmw.buf);
	if (c->rmw.locked)
		atomic_flag_clear_explicit(&split_lock, memory_order_release);
}

/* ---- vector operands, runs of bytes ---- */

const void *soft_read_ptr(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg)
{
	const struct soft_tlb_entry *e = soft_tlb_entry(c, linear);
	struct place p;

	if (soft_tlb_hit(c, e->tag_read, linear, size))
		return soft_tlb_host(e, linear);
	linear = mmu_wrap(c, linear);
	soft_check_align(c, linear, size);
	if (in_page(linear, size) == size) {
		mmu_translate(c, linear, false, c->mmu->mode, seg, &p);
		check_breakpoints(c, linear, size, false);
		if (p.host)
			return p.host;
		mmio_read(c, p.gpa, c->bounce[0], size);
	} else {
		read_span(c, linear, c->bounce[0], size, c->mmu->mode, seg);
		check_breakpoints(c, linear, size, false);
	}
	return c->bounce[0];
}

void *soft_write_ptr(struct soft_cpu *c, u64 linear, unsigned size, unsigned seg)
{
	const struct soft_tlb_entry *e = soft_tlb_entry(c, linear);
	struct soft_mmu *m = c->mmu;

	if (soft_tlb_hit(c, e->tag_write, linear, size)) {
		m->write_page = e->page;
		return soft_tlb_host(e, linear);
	}
	linear = mmu_wrap(c, linear);
	soft_check_align(c, linear, size);
	span_init(c, &m->write, linear, size, m->mode, seg);
	check_breakpoints(c, linear, size, true);
	if (!m->write.rest && m->write.place[0].host) {
		m->write_page = m->write.place[0].page;
		return m->write.place[0].host;
	}
	m->write_page = NULL;
	return c->bounce[1];
}

void soft_write_done(struct soft_cpu *c)
{
	struct soft_mmu *m = c->mmu;

	if (m->write_page)
		written(c, m->write_page);
	else
		span_write(c, &m->write, c->bounce[1]);
}

void soft_read_bytes(struct soft_cpu *c, u64 linear, void *buf, size_t len, unsigned seg)
{
	u8 *to = buf;

	soft_probe(c, linear, len, SOFT_READ, seg);
	while (len) {
		struct place p;
		size_t n;

		linear = mmu_wrap(c, linear);
		n = in_page(linear, len);
		mmu_translate(c, linear, false, c->mmu->mode, seg, &p);
		if (unlikely(c->rehearsing))
			p.host = soft_lockstep_host(c, p.host, n, false);
		read_place(c, &p, to, n);
		check_breakpoints(c, linear, n, false);
		linear += n, to += n, len -= n;
	}
}

void soft_write_bytes(struct soft_cpu *c, u64 linear, const void *buf, size_t len, unsigned seg)
{
	const u8 *from = buf;

	soft_probe(c, linear, len, SOFT_WRITE, seg);
	while (len) {
		struct place p;
		size_t n;

		linear = mmu_wrap(c, linear);
		n = in_page(linear, len);
		mmu_translate(c, linear, true, c->mmu->mode, seg, &p);
		if (unlikely(c->rehearsing))
			p.host = soft_lockstep_host(c, p.host, n, true);
		write_place(c, &p, from, n);
		check_breakpoints(c, linear, n, true);
		linear += n, from += n, len -= n;
	}
}

void soft_probe(struct soft_cpu *c, u64 linear, size_t len, enum soft_access access, unsigned seg)
{
	while (len) {
		struct place p;
		size_t n;

		linear = mmu_wrap(c, linear);
		n = in_page(linear, len);
		mmu_translate(c, linear, access == SOFT_WRITE, c->mmu->mode, seg, &p);
		linear += n, len -= n;
	}
}

void *soft_page_ptr(struct soft_cpu *c, u64 linear, size_t *len, enum soft_access access, unsigned seg)
{
	bool write = access == SOFT_WRITE;
	struct place p;

	if (c->mmu->slow)
		return NULL;
	linear = mmu_wrap(c, linear);
	mmu_translate(c, linear, write, c->mmu->mode, seg, &p);
	if (!p.host || (write && (atomic_load_explicit(p.page, memory_order_relaxed) & PHYSMEM_PAGE_CODE)))
		return NULL;
	*len = in_page(linear, *len);
	if (unlikely(c->rehearsing))
		p.host = soft_lockstep_host(c, p.host, *len, true); /* a source may overlap the target */
	return p.host;
}
