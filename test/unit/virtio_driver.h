/* A small virtio-pci driver for unit tests: finds the structures by capability, makes queues, sends requests.
 */
#pragma once

#include "guest.h"

#define RING 256

struct ring_desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};

struct ring_used {
	u16 flags, idx;
	struct {
		u32 id, len;
	} ring[RING];
	u16 avail_event;
};

struct ring {
	u64 desc_gpa, avail_gpa, used_gpa;
	struct ring_desc *desc;
	u16 *avail;
	struct ring_used *used;
	u16 seen, next; /* used entries taken; next free descriptor, in turn */
};

struct driver {
	struct guest *g;
	unsigned slot;
	u64 common, notify, isr, device;
	u32 multiplier;
	struct ring ring[4];
};

static inline u32 common_get(struct driver *d, unsigned o, unsigned size)
{
	return (u32)bus_read(d->g->mmio, d->common + o, size);
}

static inline void common_set(struct driver *d, unsigned o, unsigned size, u64 v)
{
	bus_write(d->g->mmio, d->common + o, size, v);
}

static inline void driver_find(struct driver *d, struct guest *g, unsigned slot)
{
	memset(d, 0, sizeof(*d));
	d->g = g;
	d->slot = slot;
	u64 bar = guest_bar(g, slot);
	for (unsigned i = 0, at; (at = guest_capability(g, slot, 9, i)); i++) {
		u64 place = bar + pci_config_read(g->pci, slot, at + 8, 4);

		switch (pci_config_read(g->pci, slot, at + 3, 1)) {
		case 1:
			d->common = place;
			break;
		case 2:
			d->notify = place;
			d->multiplier = pci_config_read(g->pci, slot, at + 16, 4);
			break;
		case 3:
			d->isr = place;
			break;
		case 4:
			d->device = place;
			break;
		}
	}
	assert_true(d->common && d->notify && d->isr);
	guest_msix(g, slot,
	           bar + (pci_config_read(g->pci, slot, guest_capability(g, slot, 0x11, 0) + 4, 4) & ~7u), 4,
	           0);
}

static inline u64 driver_offered(struct driver *d)
{
	common_set(d, 0, 4, 0);
	u64 f = common_get(d, 4, 4);
	common_set(d, 0, 4, 1);
	return f | (u64)common_get(d, 4, 4) << 32;
}

/* Through reset, ACKNOWLEDGE, DRIVER, FEATURES_OK. */
static inline void driver_negotiate(struct driver *d, u64 features)
{
	common_set(d, 0x14, 1, 0);
	assert_int_equal(common_get(d, 0x14, 1), 0);
	common_set(d, 0x14, 1, 1);
	common_set(d, 0x14, 1, 3);
	common_set(d, 8, 4, 0);
	common_set(d, 0xc, 4, (u32)features);
	common_set(d, 8, 4, 1);
	common_set(d, 0xc, 4, features >> 32);
	common_set(d, 0x14, 1, 11);
}

static inline void driver_queue(struct driver *d, unsigned q)
{
	struct ring *r = &d->ring[q];

	r->desc_gpa = guest_alloc(d->g, RING * 16);
	r->avail_gpa = guest_alloc(d->g, 4096);
	r->used_gpa = guest_alloc(d->g, 4096);
	r->desc = guest_ptr(d->g, r->desc_gpa);
	r->avail = guest_ptr(d->g, r->avail_gpa);
	r->used = guest_ptr(d->g, r->used_gpa);
	r->seen = r->next = 0;
	memset(r->avail, 0, 4096);
	memset(r->used, 0, 4096);
	common_set(d, 0x16, 2, q);
	assert_int_equal(common_get(d, 0x18, 2), RING);
	common_set(d, 0x1a, 2, q + 1);
	common_set(d, 0x20, 8, r->desc_gpa);
	common_set(d, 0x28, 4, r->avail_gpa);
	common_set(d, 0x2c, 4, 0);
	common_set(d, 0x30, 8, r->used_gpa);
	common_set(d, 0x1c, 2, 1);
	assert_int_equal(common_get(d, 0x1c, 2), 1);
}

static inline void driver_start(struct driver *d, u64 features, unsigned queues)
{
	driver_negotiate(d, features | BIT(32));
	assert_int_equal(common_get(d, 0x14, 1), 11);
	common_set(d, 0x10, 2, 0);
	for (unsigned q = 0; q < queues; q++)
		driver_queue(d, q);
	common_set(d, 0x14, 1, 15);
	assert_int_equal(common_get(d, 0x14, 1), 15);
}

static inline void driver_notify(struct driver *d, unsigned q)
{
	common_set(d, 0x16, 2, q);
	bus_write(d->g->mmio, d->notify + common_get(d, 0x1e, 2) * d->multiplier, 2, q);
}

struct part {
	u64 gpa;
	u32 len;
	bool in;
};

/* Puts a chain into the queue; returns its head. */
static inline u16 driver_add(struct driver *d, unsigned q, const struct part *parts, unsigned count)
{
	struct ring *r = &d->ring[q];
	u16 head = r->next;

	for (unsigned i = 0; i < count; i++) {
		bool more = i + 1 < count;

		r->desc[r->next] = (struct ring_desc){parts[i].gpa, parts[i].len,
		                                      (u16)((parts[i].in ? 2 : 0) | (more ? 1 : 0)),
		                                      (u16)((r->next + 1) % RING)};
		r->next = (u16)((r->next + 1) % RING);
	}
	r->avail[2 + r->avail[1] % RING] = head;
	__atomic_store_n(&r->avail[1], (u16)(r->avail[1] + 1), __ATOMIC_RELEASE);
	return head;
}

static inline bool driver_used(struct driver *d, unsigned q, u32 *id, u32 *len)
{
	struct ring *r = &d->ring[q];

	if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->seen)
		return false;
	*id = r->used->ring[r->seen % RING].id;
	*len = r->used->ring[r->seen % RING].len;
	r->seen++;
	return true;
}

/* Adds, notifies, waits; returns the used length. */
static inline u32 driver_do(struct driver *d, unsigned q, const struct part *parts, unsigned count)
{
	u16 head = driver_add(d, q, parts, count);
	u32 id = ~0u, len = 0;

	driver_notify(d, q);
	guest_until(d->g, driver_used(d, q, &id, &len));
	assert_int_equal(id, head);
	return len;
}
