#include "machine/pic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static bool intr;

static void output(void *ctx, bool level)
{
	intr = level;
}

static void out(struct pic *p, u16 port, u8 value)
{
	pic_write(p, port, value);
}

/* As PCs set it up: vectors 0x20 and 0x28, all unmasked. */
static void setup(struct pic *p, u8 icw4)
{
	pic_init(p, output, NULL);
	out(p, 0x20, 0x11);
	out(p, 0x21, 0x20);
	out(p, 0x21, 0x04);
	out(p, 0x21, icw4);
	out(p, 0xa0, 0x11);
	out(p, 0xa1, 0x28);
	out(p, 0xa1, 0x02);
	out(p, 0xa1, 0x01);
}

static void pulse(struct pic *p, unsigned irq)
{
	pic_set(p, irq, false);
	pic_set(p, irq, true);
	pic_set(p, irq, false);
}

static u8 isr(struct pic *p, u16 port)
{
	out(p, port, 0x0b);
	u8 v = pic_read(p, port);
	out(p, port, 0x0a);
	return v;
}

static void edge_is_latched_until_ack(void **state)
{
	struct pic p;

	setup(&p, 1);
	pulse(&p, 4);
	assert_true(intr);
	assert_int_equal(pic_read(&p, 0x20), 0x10); /* IRR */
	assert_int_equal(pic_ack(&p), 0x24);
	assert_false(intr);
	assert_int_equal(isr(&p, 0x20), 0x10);
	pulse(&p, 4); /* held back by its own service */
	assert_false(intr);
	out(&p, 0x20, 0x20);
	assert_true(intr);
	assert_int_equal(pic_ack(&p), 0x24);
}

static void higher_priority_interrupts(void **state)
{
	struct pic p;

	setup(&p, 1);
	pulse(&p, 4);
	pic_ack(&p);
	pulse(&p, 5);
	assert_false(intr);
	pulse(&p, 1);
	assert_true(intr);
	assert_int_equal(pic_ack(&p), 0x21);
	out(&p, 0x20, 0x20); /* ends 1 */
	assert_int_equal(isr(&p, 0x20), 0x10);
	out(&p, 0x20, 0x64); /* specific EOI of 4 */
	assert_int_equal(pic_ack(&p), 0x25);
}

static void slave_comes_through_irq2(void **state)
{
	struct pic p;

	setup(&p, 1);
	pulse(&p, 10);
	assert_true(intr);
	assert_int_equal(pic_ack(&p), 0x2a);
	assert_int_equal(isr(&p, 0x20), 0x04);
	assert_int_equal(isr(&p, 0xa0), 0x04);
	pulse(&p, 12);
	out(&p, 0x20, 0x20);
	assert_false(intr); /* the slave itself holds 12 back */
	out(&p, 0xa0, 0x20);
	assert_true(intr);
	assert_int_equal(pic_ack(&p), 0x2c);
}

static void masks_hold_and_release(void **state)
{
	struct pic p;

	setup(&p, 1);
	out(&p, 0x21, 0x10);
	assert_int_equal(pic_read(&p, 0x21), 0x10);
	pulse(&p, 4);
	assert_false(intr);
	out(&p, 0x21, 0);
	assert_true(intr);
	out(&p, 0x21, 0x04); /* the cascade */
	pic_ack(&p);
	out(&p, 0x20, 0x20);
	pulse(&p, 8);
	assert_false(intr);
	out(&p, 0x21, 0);
	assert_int_equal(pic_ack(&p), 0x28);
}

static void vanished_request_is_spurious(void **state)
{
	struct pic p;

	setup(&p, 1);
	assert_int_equal(pic_ack(&p), 0x27);
	assert_int_equal(isr(&p, 0x20), 0);
	out(&p, 0x4d1, 0x04); /* IRQ 10 is level */
	pic_set(&p, 10, true);
	assert_true(intr);
	pic_set(&p, 10, false);
	assert_false(intr);
}

static void level_line_repeats(void **state)
{
	struct pic p;

	setup(&p, 1);
	out(&p, 0x4d0, 0xff); /* timer, keyboard, cascade stay edge */
	assert_int_equal(pic_read(&p, 0x4d0), 0xf8);
	out(&p, 0x4d0, 0x20);
	pic_set(&p, 5, true);
	assert_int_equal(pic_ack(&p), 0x25);
	out(&p, 0x20, 0x20);
	assert_true(intr);
	assert_int_equal(pic_ack(&p), 0x25);
	pic_set(&p, 5, false);
	out(&p, 0x20, 0x20);
	assert_false(intr);
}

static void auto_eoi_needs_no_eoi(void **state)
{
	struct pic p;

	setup(&p, 3);
	pulse(&p, 3);
	assert_int_equal(pic_ack(&p), 0x23);
	assert_int_equal(isr(&p, 0x20), 0);
	pulse(&p, 3);
	assert_true(intr);
}

static void rotation_makes_served_lowest(void **state)
{
	struct pic p;

	setup(&p, 1);
	pulse(&p, 3);
	pic_ack(&p);
	out(&p, 0x20, 0xa0); /* rotate on non-specific EOI: 3 is lowest, 4 highest */
	pulse(&p, 3);
	pulse(&p, 1);
	pulse(&p, 4);
	assert_int_equal(pic_ack(&p), 0x24);
	out(&p, 0x20, 0x20);
	assert_int_equal(pic_ack(&p), 0x21);
	out(&p, 0x20, 0x20);
	assert_int_equal(pic_ack(&p), 0x23);
	out(&p, 0x20, 0x20);
	out(&p, 0x20, 0xc0 | 7); /* set priority: back to normal */
	pulse(&p, 7);
	pulse(&p, 0);
	assert_int_equal(pic_ack(&p), 0x20);
}

static void special_mask_lets_lower_through(void **state)
{
	struct pic p;

	setup(&p, 1);
	pulse(&p, 1);
	pic_ack(&p);
	pulse(&p, 6);
	assert_false(intr);
	out(&p, 0x21, 0x02);
	out(&p, 0x20, 0x68); /* special mask mode on */
	assert_true(intr);
	assert_int_equal(pic_ack(&p), 0x26);
	out(&p, 0x20, 0x48);
}

static void special_nested_slave_interrupts_itself(void **state)
{
	struct pic p;

	setup(&p, 0x11);
	pulse(&p, 12);
	assert_int_equal(pic_ack(&p), 0x2c);
	pulse(&p, 8); /* higher on the slave, while IR2 is in service */
	assert_true(intr);
	assert_int_equal(pic_ack(&p), 0x28);
}

static void poll_is_an_ack(void **state)
{
	struct pic p;

	setup(&p, 1);
	out(&p, 0x20, 0x0c);
	assert_int_equal(pic_read(&p, 0x20), 0);
	pulse(&p, 6);
	out(&p, 0x20, 0x0c);
	assert_int_equal(pic_read(&p, 0x20), 0x86);
	assert_false(intr);
	assert_int_equal(isr(&p, 0x20), 0x40);
}

static void icw1_starts_anew(void **state)
{
	struct pic p;

	setup(&p, 1);
	out(&p, 0x21, 0xff);
	pulse(&p, 3);
	pic_set(&p, 4, true);
	out(&p, 0x20, 0x11);
	assert_int_equal(pic_read(&p, 0x20), 0); /* edges are forgotten */
	out(&p, 0x21, 0x47);                     /* low bits of ICW2 do not count */
	out(&p, 0x21, 0x04);
	out(&p, 0x21, 0x01);
	assert_int_equal(pic_read(&p, 0x21), 0);
	pulse(&p, 1);
	assert_int_equal(pic_ack(&p), 0x41);
}

static void random_ports_do_no_harm(void **state)
{
	static const u16 ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1};
	struct pic p;
	u32 seed = 1;

	setup(&p, 1);
	for (int i = 0; i < 300000; i++) {
		seed = seed * 1664525 + 1013904223;
		u16 port = ports[(seed >> 8) % 6];
		switch (seed >> 30) {
		case 0:
			pic_read(&p, port);
			break;
		case 1:
			pic_set(&p, seed >> 16 & 15, seed & 0x4000);
			break;
		case 2:
			pic_ack(&p);
			break;
		default:
			pic_write(&p, port, (u8)(seed >> 16));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(edge_is_latched_until_ack),
	        cmocka_unit_test(higher_priority_interrupts),
	        cmocka_unit_test(slave_comes_through_irq2),
	        cmocka_unit_test(masks_hold_and_release),
	        cmocka_unit_test(vanished_request_is_spurious),
	        cmocka_unit_test(level_line_repeats),
	        cmocka_unit_test(auto_eoi_needs_no_eoi),
	        cmocka_unit_test(rotation_makes_served_lowest),
	        cmocka_unit_test(special_mask_lets_lower_through),
	        cmocka_unit_test(special_nested_slave_interrupts_itself),
	        cmocka_unit_test(poll_is_an_ack),
	        cmocka_unit_test(icw1_starts_anew),
	        cmocka_unit_test(random_ports_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
