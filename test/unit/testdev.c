#include "machine/testdev.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MEM 0xff000000ULL

static int status;
static u32 lines;

static void ended(void *ctx, int s)
{
	status = s;
}

static void set_line(void *ctx, unsigned n, bool level)
{
	lines = level ? lines | (u32)BIT(n) : lines & ~(u32)BIT(n);
}

static struct testdev *t;
static struct bus *pio, *mmio;

static int setup(void **state)
{
	t = malloc(sizeof(*t));
	pio = bus_new();
	mmio = bus_new();
	testdev_init(t, ended, NULL);
	for (unsigned i = 0; i < TESTDEV_LINES; i++)
		t->line[i] = (struct irq_line){set_line, NULL, i};
	return testdev_map(t, pio, mmio, MEM);
}

static int teardown(void **state)
{
	testdev_release(t);
	bus_free(pio);
	bus_free(mmio);
	free(t);
	return 0;
}

static void exit_status_is_2v_plus_1(void **state)
{
	bus_write(pio, 0xf4, 1, 0);
	assert_int_equal(status, 1);
	bus_write(pio, 0xf4, 4, 0x10);
	assert_int_equal(status, 0x21);
	bus_write(pio, 0xf4, 2, 0x7f);
	assert_int_equal(status, 255);
}

static void latch_in_all_sizes(void **state)
{
	bus_write(pio, 0xe0, 4, 0x44332211);
	assert_int_equal(bus_read(pio, 0xe0, 1), 0x11);
	assert_int_equal(bus_read(pio, 0xe1, 1), 0x22);
	assert_int_equal(bus_read(pio, 0xe2, 2), 0x4433);
	bus_write(pio, 0xe1, 1, 0xaa);
	bus_write(pio, 0xe2, 2, 0xccbb);
	assert_int_equal(bus_read(pio, 0xe0, 4), 0xccbbaa11);
	assert_int_equal(bus_read(pio, 0xe8, 4), 0xccbbaa11);
	bus_write(pio, 0xe9, 1, 0);
	assert_int_equal(bus_read(pio, 0xe0, 2), 0x0011);
	bus_write(pio, 0xe4, 4, 0x1000);
}

static void lines_follow(void **state)
{
	bus_write(pio, 0x200e, 1, 1);
	assert_int_equal(lines, BIT(14));
	bus_write(pio, 0x2017, 1, 0x80);
	assert_int_equal(lines, BIT(14) | BIT(23));
	bus_write(pio, 0x200e, 1, 0);
	assert_int_equal(lines, BIT(23));
}

static void memory_is_mmio(void **state)
{
	bus_write(mmio, MEM + 8, 8, 0x1122334455667788);
	assert_true(bus_read(mmio, MEM + 8, 8) == 0x1122334455667788);
	assert_int_equal(bus_read(mmio, MEM + 0xb, 2), 0x4455);
	bus_write(mmio, MEM + TESTDEV_MEM_SIZE - 1, 1, 9);
	assert_int_equal(bus_read(mmio, MEM + TESTDEV_MEM_SIZE - 1, 1), 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(exit_status_is_2v_plus_1),
	        cmocka_unit_test(latch_in_all_sizes),
	        cmocka_unit_test(lines_follow),
	        cmocka_unit_test(memory_is_mmio),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
