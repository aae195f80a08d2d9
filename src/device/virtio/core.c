#include "device/virtio/core.h"

#include <stdatomic.h>
#include <string.h>

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

struct desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};

struct used_entry {
	u32 id, len;
};

/* Offsets in the available and used rings: flags, index, ring, event. */
#define RING_IDX     2
#define RING_ENTRIES 4

#define AVAIL_NO_INTERRUPT 1

static u64 avail_bytes(const struct virtq *q)
{
	return RING_ENTRIES + 2ULL * q->size + 2;
}

static u64 used_bytes(const struct virtq *q)
{
	return RING_ENTRIES + sizeof(struct used_entry) * (u64)q->size + 2;
}

/* Of 16-bit words that guest and device share; the rings were checked to be RAM and aligned. */
static u16 ring_get(struct virtq *q, u64 gpa)
{
	const u16 *p = memory_range(q->mem, gpa, 2);

	return p ? __atomic_load_n(p, __ATOMIC_ACQUIRE) : 0;
}

static void ring_set(struct virtq *q, u64 gpa, u16 v)
{
	u16 *p = memory_range(q->mem, gpa, 2);

	if (p)
		__atomic_store_n(p, v, __ATOMIC_RELEASE);
	memory_written(q->mem, gpa, 2);
}

bool virtq_enable(struct virtq *q)
{
	if ((q->desc & 15) || (q->avail & 1) || (q->used & 3) || !q->size ||
	    !memory_range(q->mem, q->desc, 16ULL * q->size) ||
	    !memory_range(q->mem, q->avail, avail_bytes(q)) || !memory_range(q->mem, q->used, used_bytes(q)))
		return false;
	q->enabled = true;
	return true;
}

void virtq_reset(struct virtq *q)
{
	*q = (struct virtq){.mem = q->mem, .max_size = q->max_size, .size = q->max_size, .vector = 0xffff};
}

static int chain_broken(struct virtq *q)
{
	q->broken = true;
	return -1;
}

static bool chain_add(struct virtq *q, struct virtq_chain *c, const struct desc *d)
{
	unsigned n = c->out_count + c->in_count;
	bool in = d->flags & DESC_WRITE;

	if (!in && c->in_count)
		return false; /* readable after writable */
	if (!d->len)
		return true;
	void *p = n < VIRTQ_MAX_SEGMENTS ? memory_range(q->mem, d->addr, d->len) : NULL;
	if (!p)
		return false;
	c->iov[n] = (struct iovec){p, d->len};
	c->gpa[n] = d->addr;
	c->len[n] = d->len;
	if (in) {
		c->in_count++;
		c->in_len += d->len;
	} else {
		c->out_count++;
		c->out_len += d->len;
	}
	return c->out_len + c->in_len <= UINT32_MAX;
}

/* Walks a table of `count` descriptors from index i; in the queue's own table an indirect one may stand
 * instead. */
static bool chain_walk(struct virtq *q, struct virtq_chain *c, u64 table, u32 count, u32 i, bool indirect)
{
	struct desc d;

	/* A chain that visits more descriptors than there are runs in circles. */
	for (u32 steps = 0; steps < min(count, VIRTQ_MAX_SEGMENTS); steps++) {
		if (i >= count || memory_read(q->mem, table + i * sizeof(d), &d, sizeof(d)) < 0)
			return false;
		if (d.flags & DESC_INDIRECT) {
			/* Not within an indirect table, not with NEXT (§2.7.5.3). */
			if (indirect || (d.flags & DESC_NEXT) || !d.len || d.len % sizeof(d))
				return false;
			return chain_walk(q, c, d.addr, d.len / (u32)sizeof(d), 0, true);
		}
		if (!chain_add(q, c, &d))
			return false;
		if (!(d.flags & DESC_NEXT))
			return true;
		i = d.next;
	}
	return false;
}

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	if (!q->enabled || q->broken)
		return q->broken ? -1 : 0;
	u16 count = (u16)(ring_get(q, q->avail + RING_IDX) - q->next_avail);
	if (!count)
		return 0;
	if (count > q->size)
		return chain_broken(q);
	u16 head = ring_get(q, q->avail + RING_ENTRIES + 2ULL * (q->next_avail & (q->size - 1)));
	c->head = head;
	c->out_count = c->in_count = 0;
	c->out_len = c->in_len = 0;
	if (!chain_walk(q, c, q->desc, q->size, head, false))
		return chain_broken(q);
	q->next_avail++;
	return 1;
}

void virtq_unpop(struct virtq *q, unsigned n)
{
	q->next_avail = (u16)(q->next_avail - n);
}

void virtq_stage(struct virtq *q, u16 head, u32 written)
{
	u16 i = (u16)(q->next_used + q->staged_used) & (u16)(q->size - 1);
	u64 gpa = q->used + RING_ENTRIES + sizeof(struct used_entry) * (u64)i;
	struct used_entry u = {.id = head, .len = written};

	if (!q->enabled || q->broken)
		return;
	memory_write(q->mem, gpa, &u, sizeof(u));
	q->staged_used++;
}

void virtq_publish(struct virtq *q)
{
	if (!q->staged_used)
		return;
	q->next_used = (u16)(q->next_used + q->staged_used);
	q->staged_used = 0;
	/* Release: entries and buffers are visible before the index. */
	ring_set(q, q->used + RING_IDX, q->next_used);
}

void virtq_push(struct virtq *q, u16 head, u32 written)
{
	virtq_stage(q, head, written);
	virtq_publish(q);
}

void virtq_written(const struct virtq *q, const struct virtq_chain *c, u64 n)
{
	for (unsigned i = c->out_count; n && i < c->out_count + c->in_count; i++) {
		u64 k = min(n, (u64)c->len[i]);

		memory_written(q->mem, c->gpa[i], k);
		n -= k;
	}
}

bool virtq_interrupt(struct virtq *q)
{
	u16 now = q->next_used, old = q->signalled;

	if (!q->enabled || q->broken || now == old)
		return false;
	/* The index must be visible before we look whether the driver sleeps: it does these in the other
	 * order. */
	atomic_thread_fence(memory_order_seq_cst);
	q->signalled = now;
	if (!q->event_idx)
		return !(ring_get(q, q->avail) & AVAIL_NO_INTERRUPT);
	u16 event = ring_get(q, q->avail + RING_ENTRIES + 2ULL * q->size);
	return (u16)(now - event - 1) < (u16)(now - old);
}

bool virtq_await(struct virtq *q)
{
	if (!q->enabled || q->broken)
		return false;
	if (q->event_idx)
		ring_set(q, q->used + RING_ENTRIES + sizeof(struct used_entry) * (u64)q->size, q->next_avail);
	/* The event must be visible before we look at the index once more. */
	atomic_thread_fence(memory_order_seq_cst);
	return ring_get(q, q->avail + RING_IDX) != q->next_avail;
}

/* ---- bytes in buffers ---- */

size_t iov_read(const struct iovec *iov, unsigned count, u64 offset, void *buf, size_t len)
{
	size_t done = 0;

	for (; count && done < len; iov++, count--) {
		if (offset >= iov->iov_len) {
			offset -= iov->iov_len;
			continue;
		}
		size_t n = min(len - done, iov->iov_len - (size_t)offset);

		memcpy((u8 *)buf + done, (u8 *)iov->iov_base + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t iov_write(const struct iovec *iov, unsigned count, u64 offset, const void *buf, size_t len)
{
	size_t done = 0;

	for (; count && done < len; iov++, count--) {
		if (offset >= iov->iov_len) {
			offset -= iov->iov_len;
			continue;
		}
		size_t n = min(len - done, iov->iov_len - (size_t)offset);

		memcpy((u8 *)iov->iov_base + offset, (const u8 *)buf + done, n);
		done += n;
		offset = 0;
	}
	return done;
}

struct iovec *iov_trim_front(struct iovec *iov, unsigned *count, u64 n)
{
	while (*count && n >= iov->iov_len) {
		n -= iov->iov_len;
		iov++;
		--*count;
	}
	if (*count) {
		iov->iov_base = (u8 *)iov->iov_base + n;
		iov->iov_len -= n;
	}
	return iov;
}

void iov_trim_back(struct iovec *iov, unsigned *count, u64 n)
{
	while (*count && n >= iov[*count - 1].iov_len)
		n -= iov[--*count].iov_len;
	if (*count)
		iov[*count - 1].iov_len -= n;
}
