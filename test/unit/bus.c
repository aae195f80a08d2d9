#include "machine/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct chip {
	u8 mem[64];
	unsigned last_size;
	unsigned calls;
};

static u64 chip_read(void *ctx, u64 offset, unsigned size)
{
	struct chip *c = ctx;
	u64 v = 0;

	assert_true(offset + size <= sizeof(c->mem));
	c->last_size = size;
	c->calls++;
	for (unsigned i = 0; i < size; i++)
		v |= (u64)c->mem[offset + i] << i * 8;
	return v;
}

static void chip_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct chip *c = ctx;

	assert_true(offset + size <= sizeof(c->mem));
	c->last_size = size;
	c->calls++;
	for (unsigned i = 0; i < size; i++)
		c->mem[offset + i] = (u8)(value >> i * 8);
}

static const struct bus_ops chip_ops = {chip_read, chip_write};

static struct bus_region region(struct chip *c, u64 base, u64 size)
{
	return (struct bus_region){.name = "chip", .base = base, .size = size, .ops = &chip_ops, .ctx = c};
}

static void nobody_reads_as_ones(void **state)
{
	struct bus *b = bus_new();

	assert_int_equal(bus_read(b, 0x80, 1), 0xff);
	assert_int_equal(bus_read(b, 0x80, 4), 0xffffffff);
	assert_true(bus_read(b, ~0ULL - 3, 8) == ~0ULL);
	bus_write(b, ~0ULL, 8, 1);
	bus_free(b);
}

static void access_reaches_its_region_only(void **state)
{
	struct bus *b = bus_new();
	struct chip one = {0}, two = {0};
	struct bus_region r1 = region(&one, 0x100, 8), r2 = region(&two, 0x108, 8);

	assert_int_equal(bus_add(b, &r2), 0);
	assert_int_equal(bus_add(b, &r1), 0);
	bus_write(b, 0x104, 4, 0x11223344);
	bus_write(b, 0x108, 8, 0x8877665544332211);
	assert_int_equal(one.mem[4], 0x44);
	assert_int_equal(two.mem[7], 0x88);
	assert_int_equal(bus_read(b, 0x104, 4), 0x11223344);
	assert_int_equal(bus_read(b, 0x110, 1), 0xff);
	assert_int_equal(bus_read(b, 0xff, 1), 0xff);
	bus_free(b);
}

static void straddling_access_is_split(void **state)
{
	struct bus *b = bus_new();
	struct chip one = {0}, two = {0};
	struct bus_region r1 = region(&one, 0x100, 2), r2 = region(&two, 0x103, 4);

	bus_add(b, &r1);
	bus_add(b, &r2);
	bus_write(b, 0x101, 4, 0xaabbccdd);
	assert_int_equal(one.mem[1], 0xdd);
	assert_int_equal(two.mem[0], 0xbb);
	assert_int_equal(two.mem[1], 0xaa);
	assert_int_equal(bus_read(b, 0x101, 4), 0xaabbffdd);
	assert_int_equal(bus_read(b, 0xff, 2), (0x00 << 8) | 0xff);
	bus_free(b);
}

static void narrow_region_gets_narrow_accesses(void **state)
{
	struct bus *b = bus_new();
	struct chip c = {0};
	struct bus_region r = region(&c, 0x40, 4);

	r.max_size = 1;
	bus_add(b, &r);
	bus_write(b, 0x40, 4, 0x04030201);
	assert_int_equal(c.calls, 4);
	assert_int_equal(c.last_size, 1);
	assert_int_equal(c.mem[0], 1);
	assert_int_equal(c.mem[3], 4);
	assert_int_equal(bus_read(b, 0x41, 2), 0x0302);
	bus_free(b);
}

static void overlap_is_refused(void **state)
{
	struct bus *b = bus_new();
	struct chip c = {0};
	struct bus_region r = region(&c, 0x100, 16);
	const u64 bad[][2] = {{0x100, 16}, {0xf8, 16}, {0x10f, 1}, {0x80, 0x200}, {0x104, 4}};

	bus_add(b, &r);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct bus_region x = region(&c, bad[i][0], bad[i][1]);
		assert_int_equal(bus_add(b, &x), -1);
		assert_false(x.mapped);
	}
	struct bus_region empty = region(&c, 0x400, 0), wraps = region(&c, ~0ULL - 1, 16);
	assert_int_equal(bus_add(b, &empty), -1);
	assert_int_equal(bus_add(b, &wraps), -1);
	struct bus_region before = region(&c, 0xf0, 16), last = region(&c, ~0ULL - 15, 16);
	assert_int_equal(bus_add(b, &before), 0);
	assert_int_equal(bus_add(b, &last), 0);
	assert_int_equal(bus_read(b, ~0ULL - 7, 8), 0);
	bus_free(b);
}

static void many_regions_are_found(void **state)
{
	static struct bus_region r[200];
	struct bus *b = bus_new();
	struct chip c = {0};

	for (unsigned i = 0; i < 200; i++) {
		unsigned n = i * 71 % 200; /* not in order */
		r[n] = region(&c, 0x1000 + n * 0x20, 0x10);
		assert_int_equal(bus_add(b, &r[n]), 0);
	}
	for (unsigned i = 0; i < 200; i += 2)
		bus_remove(b, &r[i]);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(bus_read(b, 0x1000 + i * 0x20, 1), i % 2 ? 0 : 0xff);
		assert_int_equal(bus_read(b, 0x1010 + i * 0x20, 1), 0xff);
	}
	bus_free(b);
}

/* A register that moves its own region, as configuration space in MMIO does with BARs. */
struct mover {
	struct bus *bus;
	struct bus_region region;
};

static void mover_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct mover *m = ctx;

	bus_unmap(m->bus, &m->region);
	m->region.base = value;
	assert_int_equal(bus_add(m->bus, &m->region), 0);
}

static u64 mover_read(void *ctx, u64 offset, unsigned size)
{
	return 0x5a;
}

static void region_can_move_itself(void **state)
{
	static const struct bus_ops ops = {mover_read, mover_write};
	struct mover m = {.bus = bus_new()};

	m.region =
	        (struct bus_region){.name = "mover", .base = 0x1000, .size = 0x100, .ops = &ops, .ctx = &m};
	bus_add(m.bus, &m.region);
	bus_write(m.bus, 0x1010, 4, 0x8000);
	assert_int_equal(bus_read(m.bus, 0x1010, 1), 0xff);
	assert_int_equal(bus_read(m.bus, 0x8010, 1), 0x5a);
	bus_free(m.bus);
}

struct race {
	struct bus *bus;
	_Atomic bool stop;
	pthread_mutex_t lock;
	_Atomic bool alive; /* cleared after bus_remove(): no access may come any more */
};

static u64 race_read(void *ctx, u64 offset, unsigned size)
{
	struct race *r = ctx;

	assert_true(r->alive);
	return 0;
}

static void *race_reader(void *ctx)
{
	struct race *r = ctx;

	while (!r->stop)
		bus_read(r->bus, 0x1000, 4);
	return NULL;
}

static void removed_region_is_quiet(void **state)
{
	static const struct bus_ops ops = {race_read, NULL};
	struct race r = {.bus = bus_new()};
	pthread_t t[2];

	pthread_mutex_init(&r.lock, NULL);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, race_reader, &r);
	for (int i = 0; i < 2000; i++) {
		struct bus_region region = {
		        .name = "race", .base = 0x1000, .size = 16, .ops = &ops, .ctx = &r};

		region.lock = &r.lock;
		r.alive = true;
		assert_int_equal(bus_add(r.bus, &region), 0);
		bus_remove(r.bus, &region);
		r.alive = false;
	}
	r.stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	bus_free(r.bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(nobody_reads_as_ones),
	        cmocka_unit_test(access_reaches_its_region_only),
	        cmocka_unit_test(straddling_access_is_split),
	        cmocka_unit_test(narrow_region_gets_narrow_accesses),
	        cmocka_unit_test(overlap_is_refused),
	        cmocka_unit_test(many_regions_are_found),
	        cmocka_unit_test(region_can_move_itself),
	        cmocka_unit_test(removed_region_is_quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
