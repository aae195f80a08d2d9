/* The virtio PCI transport, virtio-rng and virtio-blk, driven by a small driver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "virtio_driver.h"

#include "device/virtio/virtio.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define SIZE   (2 * MiB)
#define EVENTS BIT(29)

struct disk {
	struct guest g;
	struct driver d;
	char path[64];
	struct virtio_blk *b;
	u64 buf;
	u8 *p;
};

static void disk_open(struct disk *k, bool readonly)
{
	struct error e = {0};

	memset(k, 0, sizeof(*k));
	guest_init(&k->g);
	strcpy(k->path, "/tmp/insula-vblk-XXXXXX");
	int fd = mkstemp(k->path);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
	struct virtio_blk_config c = {.disk = {.path = k->path, .readonly = readonly, .id = "vol-12"},
	                              .queues = 2};
	k->b = virtio_blk_new(&c, k->g.pci, &k->g.mem, &k->g.loop, &e);
	assert_non_null(k->b);
	driver_find(&k->d, &k->g, 1);
	k->buf = guest_alloc(&k->g, MiB);
	k->p = guest_ptr(&k->g, k->buf);
}

static void disk_close(struct disk *k)
{
	virtio_blk_free(k->b);
	guest_release(&k->g);
	unlink(k->path);
}

/* Header at buf, status at buf + 16, data from buf + 4096. */
static u8 request(struct disk *k, u32 type, u64 sector, u32 len, bool in)
{
	struct {
		u32 type, reserved;
		u64 sector;
	} h = {type, 0, sector};
	struct part parts[3] = {{k->buf, 16, false}, {k->buf + 4096, len, in}, {k->buf + 16, 1, true}};

	memcpy(k->p, &h, 16);
	k->p[16] = 0xff;
	driver_do(&k->d, 0, parts, 3);
	return k->p[16];
}

static void feature_negotiation(void **state)
{
	struct disk k;

	disk_open(&k, false);
	u64 offered = driver_offered(&k.d);
	assert_true(offered & BIT(32));
	assert_true(offered & BIT(9));
	assert_true(offered & BIT(28) && offered & EVENTS);
	/* What was not offered, or no VERSION_1: refused. */
	driver_negotiate(&k.d, BIT(32) | BIT(3));
	assert_int_equal(common_get(&k.d, 0x14, 1), 3);
	driver_negotiate(&k.d, BIT(9));
	assert_int_equal(common_get(&k.d, 0x14, 1), 3);
	driver_negotiate(&k.d, offered);
	assert_int_equal(common_get(&k.d, 0x14, 1), 11);
	/* Starting without FEATURES_OK. */
	common_set(&k.d, 0x14, 1, 0);
	common_set(&k.d, 0x14, 1, 7);
	assert_int_equal(common_get(&k.d, 0x14, 1), 0x47);
	disk_close(&k);
}

static void transport_registers(void **state)
{
	struct disk k;

	disk_open(&k, false);
	assert_int_equal(common_get(&k.d, 0x12, 2), 2);
	common_set(&k.d, 0x16, 2, 7); /* no such queue */
	assert_int_equal(common_get(&k.d, 0x18, 2), 0);
	common_set(&k.d, 0x16, 2, 1);
	common_set(&k.d, 0x18, 2, 100); /* no power of two */
	assert_int_equal(common_get(&k.d, 0x18, 2), 256);
	common_set(&k.d, 0x18, 2, 64);
	assert_int_equal(common_get(&k.d, 0x18, 2), 64);
	common_set(&k.d, 0x1a, 2, 77); /* no such vector */
	assert_int_equal(common_get(&k.d, 0x1a, 2), 0xffff);
	common_set(&k.d, 0x1a, 2, 2);
	assert_int_equal(common_get(&k.d, 0x1a, 2), 2);
	common_set(&k.d, 0x20, 4, 0x1000);
	common_set(&k.d, 0x24, 4, 0x2);
	assert_int_equal(bus_read(k.g.mmio, k.d.common + 0x20, 8), 0x200001000);
	/* Device configuration: the capacity; and the same through configuration space. */
	assert_int_equal(bus_read(k.g.mmio, k.d.device, 8), SIZE / 512);
	unsigned cap = 0;
	for (unsigned i = 0, at; (at = guest_capability(&k.g, 1, 9, i)); i++)
		if (pci_config_read(k.g.pci, 1, at + 3, 1) == 5)
			cap = at;
	assert_int_not_equal(cap, 0);
	pci_config_write(k.g.pci, 1, cap + 4, 1, 0);
	pci_config_write(k.g.pci, 1, cap + 8, 4, 0x2000);
	pci_config_write(k.g.pci, 1, cap + 12, 4, 4);
	assert_int_equal(pci_config_read(k.g.pci, 1, cap + 16, 4), SIZE / 512);
	pci_config_write(k.g.pci, 1, cap + 8, 4, 0x14);
	pci_config_write(k.g.pci, 1, cap + 12, 4, 1);
	pci_config_write(k.g.pci, 1, cap + 16, 1, 1);
	assert_int_equal(common_get(&k.d, 0x14, 1), 1);
	/* A queue outside of memory. */
	driver_negotiate(&k.d, BIT(32));
	common_set(&k.d, 0x16, 2, 0);
	common_set(&k.d, 0x20, 8, 0xf0000000);
	common_set(&k.d, 0x1c, 2, 1);
	assert_int_equal(common_get(&k.d, 0x14, 1) & 0x40, 0x40);
	disk_close(&k);
}

static void read_and_write(void **state)
{
	struct disk k;
	static u8 want[65536];

	disk_open(&k, false);
	driver_start(&k.d, BIT(9) | BIT(13) | EVENTS, 2);
	unsigned before = k.g.msi[1];
	for (unsigned i = 0; i < sizeof(want); i++)
		want[i] = (u8)(i * 7 + i / 256);
	memcpy(k.p + 4096, want, sizeof(want));
	assert_int_equal(request(&k, 1, 3, sizeof(want), false), 0);
	assert_true(k.g.msi[1] > before);
	memset(k.p + 4096, 0, sizeof(want));
	assert_int_equal(request(&k, 0, 3, sizeof(want), true), 0);
	assert_memory_equal(k.p + 4096, want, sizeof(want));
	assert_int_equal(request(&k, 4, 0, 0, false), 0);
	assert_int_equal(request(&k, 8, 0, 20, true), 0);
	assert_string_equal((char *)k.p + 4096, "vol-12");
	assert_int_equal(request(&k, 77, 0, 512, true), 2);
	assert_int_equal(request(&k, 0, SIZE / 512, 512, true), 1);
	assert_int_equal(request(&k, 0, SIZE / 512 - 1, 1024, true), 1);
	assert_int_equal(request(&k, 0, ~0ULL, 512, true), 1);
	assert_int_equal(request(&k, 0, 0, 100, true), 1);
	/* Header and status cut in odd places, data in between. */
	struct {
		u32 type, reserved;
		u64 sector;
	} h = {0, 0, 3};
	memcpy(k.p, &h, 16);
	k.p[4096 + 1023] = 0xff;
	memset(k.p + 8192, 0, 8192);
	struct part odd[] = {{k.buf, 3, false},
	                     {k.buf + 3, 13, false},
	                     {k.buf + 8192, 1, true},
	                     {k.buf + 8193, 511, true},
	                     {k.buf + 4096, 1024, true}};
	h.sector = 3;
	assert_int_equal(driver_do(&k.d, 1, odd, 4) > 0,
	                 1); /* 511 data bytes only: an error in the last byte */
	assert_int_equal(k.p[8193 + 510], 1);
	odd[4].len = 1;
	assert_int_equal(driver_do(&k.d, 1, odd, 5), 513);
	assert_memory_equal(k.p + 8192, want, 512);
	assert_int_equal(k.p[4096], 0);
	disk_close(&k);
}

static void discard_and_zeroes(void **state)
{
	struct disk k;
	struct {
		u64 sector;
		u32 sectors, flags;
	} range[2] = {{8, 8, 0}, {24, 1, 0}};

	disk_open(&k, false);
	driver_start(&k.d, BIT(9) | BIT(13) | BIT(14), 1);
	memset(k.p + 4096, 5, 65536);
	assert_int_equal(request(&k, 1, 0, 65536, false), 0);
	memcpy(k.p + 4096, range, sizeof(range));
	assert_int_equal(request(&k, 13, 0, sizeof(range), false), 0);
	range[0].sector = 64;
	memcpy(k.p + 4096, range, sizeof(range));
	assert_int_equal(request(&k, 11, 0, 16, false), 0);
	range[0].flags = 2;
	memcpy(k.p + 4096, range, sizeof(range));
	assert_int_equal(request(&k, 11, 0, 16, false), 2);
	range[0].flags = 0, range[0].sector = SIZE / 512;
	memcpy(k.p + 4096, range, sizeof(range));
	assert_int_equal(request(&k, 13, 0, 16, false), 1);
	assert_int_equal(request(&k, 0, 0, 65536, true), 0);
	for (unsigned s = 0; s < 128; s++)
		assert_int_equal(k.p[4096 + s * 512 + 100],
		                 (s >= 8 && s < 16) || s == 24 || (s >= 64 && s < 72) ? 0 : 5);
	disk_close(&k);
}

static void a_readonly_disk(void **state)
{
	struct disk k;

	disk_open(&k, true);
	assert_true(driver_offered(&k.d) & BIT(5));
	driver_start(&k.d, BIT(5), 1);
	assert_int_equal(request(&k, 1, 0, 512, false), 1);
	assert_int_equal(request(&k, 0, 0, 512, true), 0);
	disk_close(&k);
}

/* More requests than the pool has, on both queues, then a reset in their middle. */
static void crowds_and_resets(void **state)
{
	struct disk k;
	u32 id, len;

	disk_open(&k, false);
	for (int round = 0; round < 10; round++) {
		u64 heap = k.g.heap;
		driver_start(&k.d, BIT(9) | BIT(40), 2);
		struct {
			u32 type, reserved;
			u64 sector;
		} h = {1, 0, 0};
		memcpy(k.p, &h, 16);
		for (unsigned q = 0; q < 2; q++)
			for (unsigned i = 0; i < 85; i++) {
				struct part parts[3] = {{k.buf, 16, false},
				                        {k.buf + 4096, 4096, false},
				                        {k.buf + 64 + i + q * 100, 1, true}};
				driver_add(&k.d, q, parts, 3);
			}
		driver_notify(&k.d, 0);
		driver_notify(&k.d, 1);
		if (round % 3 == 0) {
			unsigned n = 0;
			guest_until(&k.g, (n += driver_used(&k.d, 0, &id, &len) +
			                        driver_used(&k.d, 1, &id, &len)) == 170);
		} else if (round % 3 == 1) {
			common_set(&k.d, 0x16, 2, 0);
			common_set(&k.d, 0x3a, 2, 1);
			assert_int_equal(common_get(&k.d, 0x3a, 2), 0);
			assert_int_equal(common_get(&k.d, 0x1c, 2), 0);
			unsigned n = 0;
			guest_until(&k.g, (n += driver_used(&k.d, 1, &id, &len)) == 85);
			driver_queue(&k.d, 0);
			assert_int_equal(request(&k, 0, 0, 512, true), 0);
		} else {
			pci_host_reset(k.g.pci);
			assert_int_equal(common_get(&k.d, 0x14, 1), 0);
			driver_find(&k.d, &k.g, 1);
		}
		common_set(&k.d, 0x14, 1, 0);
		k.g.heap = heap;
	}
	disk_close(&k);
}

static void nonsense_asks_for_a_reset(void **state)
{
	struct disk k;

	disk_open(&k, false);
	driver_start(&k.d, BIT(9), 1);
	struct part bad = {0xf0000000, 16, false};
	unsigned config = k.g.msi[0];
	driver_add(&k.d, 0, &bad, 1);
	driver_notify(&k.d, 0);
	assert_int_equal(common_get(&k.d, 0x14, 1), 0x4f);
	assert_int_equal(k.g.msi[0], config + 1);
	driver_notify(&k.d, 0);
	u64 heap = k.g.heap;
	driver_start(&k.d, BIT(9), 1);
	assert_int_equal(request(&k, 0, 0, 512, true), 0);
	k.g.heap = heap;
	/* No status byte. */
	driver_start(&k.d, BIT(9), 1);
	struct part short_one = {k.buf, 16, false};
	driver_add(&k.d, 0, &short_one, 1);
	driver_notify(&k.d, 0);
	assert_int_equal(common_get(&k.d, 0x14, 1), 0x4f);
	disk_close(&k);
}

/* Random rings: the device answers or asks for a reset, and works after one. */
static void noise(void **state)
{
	struct disk k;
	u64 seed = 88172645463325252ULL;

	disk_open(&k, false);
	for (int round = 0; round < 3000; round++) {
		u64 heap = k.g.heap;
		driver_start(&k.d, BIT(9) | BIT(13) | (round & 1 ? EVENTS : 0), 2);
		for (unsigned i = 0; i < RING; i++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			k.d.ring[0].desc[i] =
			        (struct ring_desc){k.buf + (seed & 0xffff), seed >> 16 & 0x7ff,
			                           seed >> 40 & 3, (u16)(i + 1 + !(seed >> 50 & 15))};
			if (!(seed >> 54 & 63))
				k.d.ring[0].desc[i].flags |= 4;
			if (!(seed >> 42 & 1023))
				k.d.ring[0].desc[i].addr = seed;
			k.d.ring[0].avail[2 + i] = seed >> 20 & (RING - 1);
		}
		for (unsigned i = 0; i < 0x10000; i += 64) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			u64 h[2] = {seed % 14, seed >> 30 & 0xfff};
			memcpy(k.p + i, h, 16);
		}
		k.d.ring[0].avail[1] = (u16)(seed & 31);
		driver_notify(&k.d, 0);
		if (round % 8 == 0)
			guest_run(&k.g, 0);
		k.g.heap = heap;
	}
	driver_start(&k.d, BIT(9), 2);
	assert_int_equal(request(&k, 0, 0, 512, true), 0);
	disk_close(&k);
}

static void pin_interrupts(void **state)
{
	struct disk k;

	disk_open(&k, false);
	pci_config_write(k.g.pci, 1, guest_capability(&k.g, 1, 0x11, 0) + 2, 2, 0);
	driver_start(&k.d, BIT(9), 1);
	assert_int_equal(request(&k, 0, 0, 512, true), 0);
	assert_true(k.g.line[17]);
	assert_int_equal(bus_read(k.g.mmio, k.d.isr, 1), 1);
	assert_false(k.g.line[17]);
	assert_int_equal(bus_read(k.g.mmio, k.d.isr, 1), 0);
	disk_close(&k);
}

static void random_bytes(void **state)
{
	struct guest g;
	struct driver d;
	struct error e = {0};
	struct virtio_rng_config c = {0};

	guest_init(&g);
	struct virtio_rng *r = virtio_rng_new(&c, g.pci, &g.mem, &g.loop, &e);
	assert_non_null(r);
	driver_find(&d, &g, 1);
	driver_start(&d, EVENTS, 1);
	u64 buf = guest_alloc(&g, 8192);
	u8 *p = guest_ptr(&g, buf);
	struct part parts[2] = {{buf, 64, true}, {buf + 100, 8000, true}};
	assert_int_equal(driver_do(&d, 0, parts, 1), 64);
	assert_int_equal(driver_do(&d, 0, parts, 2), 1024);
	unsigned sum = 0;
	for (unsigned i = 0; i < 960; i++)
		sum += p[100 + i];
	assert_true(sum > 50000 && sum < 200000);
	assert_int_equal(p[100 + 960], 0);
	assert_true(g.msi[1] >= 1);
	virtio_rng_free(r);
	guest_release(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(feature_negotiation),
	        cmocka_unit_test(transport_registers),
	        cmocka_unit_test(read_and_write),
	        cmocka_unit_test(discard_and_zeroes),
	        cmocka_unit_test(a_readonly_disk),
	        cmocka_unit_test(crowds_and_resets),
	        cmocka_unit_test(nonsense_asks_for_a_reset),
	        cmocka_unit_test(noise),
	        cmocka_unit_test(pin_interrupts),
	        cmocka_unit_test(random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
