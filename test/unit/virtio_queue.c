/* Split virtqueues: what the device makes of the driver's rings, sound and unsound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest.h"

#include "device/virtio/core.h"

#define SIZE 8

struct desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};

struct ring {
	struct guest g;
	struct virtq q;
	struct desc *desc;
	u16 *avail; /* flags, idx, ring, used_event */
	struct {
		u16 flags, idx;
		struct {
			u32 id, len;
		} ring[SIZE];
		u16 avail_event;
	} * used;
	u64 buf;
	struct virtq_chain c;
};

static void ring_open(struct ring *r)
{
	memset(r, 0, sizeof(*r));
	guest_init(&r->g);
	r->q.mem = &r->g.mem;
	r->q.max_size = 256;
	virtq_reset(&r->q);
	r->q.size = SIZE;
	r->q.desc = guest_alloc(&r->g, 4096);
	r->q.avail = guest_alloc(&r->g, 4096);
	r->q.used = guest_alloc(&r->g, 4096);
	r->buf = guest_alloc(&r->g, 65536);
	r->desc = guest_ptr(&r->g, r->q.desc);
	r->avail = guest_ptr(&r->g, r->q.avail);
	r->used = guest_ptr(&r->g, r->q.used);
	assert_true(virtq_enable(&r->q));
}

static void offer(struct ring *r, u16 head)
{
	r->avail[2 + r->avail[1] % SIZE] = head;
	r->avail[1]++;
}

static void chains_come_in_order(void **state)
{
	struct ring r;

	ring_open(&r);
	assert_int_equal(virtq_pop(&r.q, &r.c), 0);
	r.desc[3] = (struct desc){r.buf, 16, 1, 5};
	r.desc[5] = (struct desc){r.buf + 100, 0, 1, 1};
	r.desc[1] = (struct desc){r.buf + 4096, 100, 3, 2};
	r.desc[2] = (struct desc){r.buf + 8192, 1, 2, 0};
	r.desc[7] = (struct desc){r.buf, 5, 0, 0};
	for (int round = 0; round < 20000; round++) { /* indices wrap */
		offer(&r, 3);
		offer(&r, 7);
		assert_int_equal(virtq_pop(&r.q, &r.c), 1);
		assert_int_equal(r.c.head, 3);
		assert_int_equal(r.c.out_count, 1);
		assert_int_equal(r.c.in_count, 2);
		assert_int_equal(r.c.out_len, 16);
		assert_int_equal(r.c.in_len, 101);
		assert_ptr_equal(r.c.iov[2].iov_base, guest_ptr(&r.g, r.buf + 8192));
		virtq_push(&r.q, 3, 101);
		assert_int_equal(virtq_pop(&r.q, &r.c), 1);
		virtq_unpop(&r.q, 1);
		assert_int_equal(virtq_pop(&r.q, &r.c), 1);
		assert_int_equal(r.c.head, 7);
		u16 before = r.used->idx;
		virtq_stage(&r.q, 7, 0);
		assert_int_equal(r.used->idx, before);
		virtq_publish(&r.q);
		assert_int_equal(r.used->idx, (u16)(before + 1));
		assert_int_equal(r.used->ring[before % SIZE].id, 7);
		assert_int_equal(virtq_pop(&r.q, &r.c), 0);
	}
	guest_release(&r.g);
}

static void indirect_tables(void **state)
{
	struct ring r;

	ring_open(&r);
	u64 table = guest_alloc(&r.g, 8192);
	struct desc *t = guest_ptr(&r.g, table);
	for (u16 i = 0; i < 256; i++)
		t[i] = (struct desc){r.buf + i, 1, i < 255 ? 3 : 2, (u16)(i + 1)};
	t[0].flags = 1;
	r.desc[0] = (struct desc){table, 256 * 16, 4, 0};
	offer(&r, 0);
	assert_int_equal(virtq_pop(&r.q, &r.c), 1);
	assert_int_equal(r.c.out_count, 1);
	assert_int_equal(r.c.in_count, 255);
	/* After direct ones is allowed. */
	r.desc[1] = (struct desc){r.buf, 8, 1, 0};
	t[255].flags = 0, t[255].len = 0, t[0].next = 255;
	offer(&r, 1);
	assert_int_equal(virtq_pop(&r.q, &r.c), 1);
	assert_int_equal(r.c.out_len, 9);
	guest_release(&r.g);
}

/* Each of these breaks the queue for good. */
static void unsound_rings_break_the_queue(void **state)
{
	for (int kind = 0; kind < 14; kind++) {
		struct ring r;

		ring_open(&r);
		u64 table = guest_alloc(&r.g, 4096);
		struct desc *t = guest_ptr(&r.g, table);
		r.desc[0] = (struct desc){r.buf, 16, 0, 0};
		t[0] = (struct desc){r.buf, 16, 0, 0};
		switch (kind) {
		case 0: /* a loop */
			r.desc[0] = (struct desc){r.buf, 16, 1, 0};
			break;
		case 1: /* next beyond the table */
			r.desc[0] = (struct desc){r.buf, 16, 1, SIZE};
			break;
		case 2: /* not RAM */
			r.desc[0].addr = 0xf0000000;
			break;
		case 3: /* ends outside of RAM */
			r.desc[0].addr = GUEST_MEMORY - 8;
			break;
		case 4: /* wraps around */
			r.desc[0].addr = ~7ULL;
			break;
		case 5: /* readable after writable */
			r.desc[0] = (struct desc){r.buf, 16, 3, 1};
			r.desc[1] = (struct desc){r.buf, 16, 0, 0};
			break;
		case 6: /* indirect within indirect */
			r.desc[0] = (struct desc){table, 16, 4, 0};
			t[0] = (struct desc){table, 16, 4, 0};
			break;
		case 7: /* indirect and next */
			r.desc[0] = (struct desc){table, 16, 5, 0};
			break;
		case 8: /* not a table's size */
			r.desc[0] = (struct desc){table, 17, 4, 0};
			break;
		case 9:
			r.desc[0] = (struct desc){table, 0, 4, 0};
			break;
		case 10: /* table not in RAM */
			r.desc[0] = (struct desc){~0xfffULL, 4096, 4, 0};
			break;
		case 11: /* a table's loop */
			r.desc[0] = (struct desc){table, 16, 4, 0};
			t[0].flags = 1;
			break;
		case 12: /* a head that does not exist */
			offer(&r, SIZE);
			break;
		case 13: /* more entries than the ring has */
			r.avail[1] = SIZE + 1;
			break;
		}
		if (kind < 12)
			offer(&r, 0);
		assert_int_equal(virtq_pop(&r.q, &r.c), -1);
		assert_true(r.q.broken);
		assert_int_equal(virtq_pop(&r.q, &r.c), -1);
		virtq_push(&r.q, 0, 0);
		assert_false(virtq_interrupt(&r.q));
		assert_false(virtq_await(&r.q));
		assert_int_equal(r.used->idx, 0);
		guest_release(&r.g);
	}
}

static void places_are_checked(void **state)
{
	struct ring r;

	ring_open(&r);
	struct virtq q = r.q;
	q.enabled = false;
	q.desc += 8;
	assert_false(virtq_enable(&q));
	q = r.q, q.avail++;
	assert_false(virtq_enable(&q));
	q = r.q, q.used += 2;
	assert_false(virtq_enable(&q));
	q = r.q, q.used = GUEST_MEMORY - 4;
	assert_false(virtq_enable(&q));
	q = r.q, q.desc = ~15ULL;
	assert_false(virtq_enable(&q));
	guest_release(&r.g);
}

static void interrupts_are_suppressed_as_asked(void **state)
{
	struct ring r;

	ring_open(&r);
	assert_false(virtq_interrupt(&r.q));
	virtq_push(&r.q, 0, 0);
	assert_true(virtq_interrupt(&r.q));
	assert_false(virtq_interrupt(&r.q));
	r.avail[0] = 1;
	virtq_push(&r.q, 0, 0);
	assert_false(virtq_interrupt(&r.q));
	r.q.event_idx = true;
	r.avail[2 + SIZE] = 4; /* when entry 4 is used */
	virtq_push(&r.q, 0, 0);
	virtq_push(&r.q, 0, 0);
	assert_false(virtq_interrupt(&r.q));
	virtq_push(&r.q, 0, 0);
	assert_true(virtq_interrupt(&r.q));
	virtq_push(&r.q, 0, 0);
	assert_false(virtq_interrupt(&r.q));
	guest_release(&r.g);
}

static void a_notification_is_asked_for(void **state)
{
	struct ring r;

	ring_open(&r);
	r.q.event_idx = true;
	r.desc[0] = (struct desc){r.buf, 16, 0, 0};
	offer(&r, 0);
	offer(&r, 0);
	assert_int_equal(virtq_pop(&r.q, &r.c), 1);
	assert_true(virtq_await(&r.q));
	assert_int_equal(virtq_pop(&r.q, &r.c), 1);
	assert_false(virtq_await(&r.q));
	assert_int_equal(r.used->avail_event, 2);
	guest_release(&r.g);
}

static void bytes_in_pieces(void **state)
{
	char a[4] = "abcd", b[3] = "efg", c[5] = "hijkl", out[16] = {0};
	struct iovec iov[3] = {{a, 4}, {b, 3}, {c, 5}};
	unsigned count = 3;

	assert_int_equal(iov_read(iov, 3, 2, out, 7), 7);
	assert_memory_equal(out, "cdefghi", 7);
	assert_int_equal(iov_read(iov, 3, 10, out, 7), 2);
	assert_int_equal(iov_read(iov, 3, 12, out, 7), 0);
	assert_int_equal(iov_write(iov, 3, 3, "XYZ", 3), 3);
	assert_memory_equal(a, "abcX", 4);
	assert_memory_equal(b, "YZg", 3);
	struct iovec *v = iov_trim_front(iov, &count, 5);
	assert_int_equal(count, 2);
	assert_int_equal(v->iov_len, 2);
	iov_trim_back(v, &count, 6);
	assert_int_equal(count, 1);
	assert_int_equal(v->iov_len, 1);
	iov_trim_back(v, &count, 1);
	assert_int_equal(count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(chains_come_in_order),
	        cmocka_unit_test(indirect_tables),
	        cmocka_unit_test(unsound_rings_break_the_queue),
	        cmocka_unit_test(places_are_checked),
	        cmocka_unit_test(interrupts_are_suppressed_as_asked),
	        cmocka_unit_test(a_notification_is_asked_for),
	        cmocka_unit_test(bytes_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
