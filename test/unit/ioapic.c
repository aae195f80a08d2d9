#include "apics.h"

static u32 get(struct ioapic *io, u8 index)
{
	ioapic_write(io, 0, 4, index);
	return (u32)ioapic_read(io, 0x10, 4);
}

static void set(struct ioapic *io, u8 index, u32 value)
{
	ioapic_write(io, 0, 4, index);
	ioapic_write(io, 0x10, 4, value);
}

static void route(struct ioapic *io, unsigned pin, u32 low, u8 dest)
{
	set(io, (u8)(0x11 + 2 * pin), (u32)dest << 24);
	set(io, (u8)(0x10 + 2 * pin), low);
}

#define LEVEL  0x8000u
#define MASKED 0x10000u
#define RIRR   0x4000u

static void registers(void **state)
{
	struct apics *a = apics_new();
	struct ioapic *io = &a->ioapic;

	assert_int_equal(get(io, 1), 0x170020);
	assert_int_equal(get(io, 0), 0);
	set(io, 0, 0xffffffff);
	assert_int_equal(get(io, 0), 0x0f000000);
	assert_int_equal(get(io, 2), 0x0f000000);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		assert_int_equal(get(io, (u8)(0x10 + 2 * pin)), MASKED);
	set(io, 0x20, 0xffffffff);
	set(io, 0x21, 0xffffffff);
	assert_int_equal(get(io, 0x20), 0x1afff); /* without delivery status and remote IRR */
	assert_int_equal(get(io, 0x21), 0xff000000);
	assert_int_equal(get(io, 0x40), 0); /* behind the last pin */
	set(io, 0xff, 1);
	assert_int_equal(get(io, 0xff), 0);
	apics_free(a);
}

static void edge_comes_once_per_edge(void **state)
{
	struct apics *a = apics_new();
	struct ioapic *io = &a->ioapic;

	enable_all(a);
	route(io, 4, 0x34, 1);
	ioapic_set(io, 4, true);
	expect(&a->lapic[1], 0x34);
	ioapic_set(io, 4, true);
	assert_int_equal(lapic_ack(&a->lapic[1]), LAPIC_NONE);
	ioapic_set(io, 4, false);
	ioapic_set(io, 4, true);
	assert_int_equal(a->lapic[1].tmr[1] & BIT(0x34 - 32), 0);
	expect(&a->lapic[1], 0x34);
	apics_free(a);
}

static void masked_edge_is_lost(void **state)
{
	struct apics *a = apics_new();
	struct ioapic *io = &a->ioapic;

	enable_all(a);
	route(io, 4, MASKED | 0x34, 0);
	ioapic_set(io, 4, true);
	ioapic_set(io, 4, false);
	route(io, 4, 0x34, 0);
	assert_int_equal(lapic_ack(&a->lapic[0]), LAPIC_NONE);
	ioapic_set(io, 4, true);
	expect(&a->lapic[0], 0x34);
	apics_free(a);
}

static void level_comes_again_after_eoi(void **state)
{
	struct apics *a = apics_new();
	struct ioapic *io = &a->ioapic;
	struct lapic *l = &a->lapic[0];

	enable_all(a);
	route(io, 17, LEVEL | 0x81, 0);
	ioapic_set(io, 17, true);
	assert_int_equal(get(io, 0x10 + 34), RIRR | LEVEL | 0x81);
	assert_int_equal(lapic_ack(l), 0x81);
	assert_int_equal(rd(l, APIC_TMR + 0x40), BIT(1));
	ioapic_set(io, 17, true);
	assert_int_equal(lapic_ack(l), LAPIC_NONE); /* in service */
	wr(l, APIC_EOI, 0);
	assert_int_equal(lapic_ack(l), 0x81);
	ioapic_set(io, 17, false);
	wr(l, APIC_EOI, 0);
	assert_int_equal(lapic_ack(l), LAPIC_NONE);
	assert_int_equal(get(io, 0x10 + 34), LEVEL | 0x81);
	apics_free(a);
}

static void masked_level_waits(void **state)
{
	struct apics *a = apics_new();
	struct ioapic *io = &a->ioapic;

	enable_all(a);
	route(io, 17, MASKED | LEVEL | 0x81, 0);
	ioapic_set(io, 17, true);
	assert_int_equal(lapic_ack(&a->lapic[0]), LAPIC_NONE);
	route(io, 17, LEVEL | 0x81, 0);
	assert_int_equal(lapic_ack(&a->lapic[0]), 0x81);
	apics_free(a);
}

static void eoi_register_and_edge_trick_clear_remote_irr(void **state)
{
	struct apics *a = apics_new();
	struct ioapic *io = &a->ioapic;

	enable_all(a);
	route(io, 9, LEVEL | 0x61, 0);
	ioapic_set(io, 9, true);
	ioapic_set(io, 9, false);
	assert_int_equal(get(io, 0x22) & RIRR, RIRR);
	ioapic_write(io, 0x40, 4, 0x62); /* another vector */
	assert_int_equal(get(io, 0x22) & RIRR, RIRR);
	ioapic_write(io, 0x40, 4, 0x61);
	assert_int_equal(get(io, 0x22) & RIRR, 0);
	ioapic_set(io, 9, true);
	ioapic_set(io, 9, false);
	set(io, 0x22, MASKED | 0x61);
	set(io, 0x22, LEVEL | 0x61);
	assert_int_equal(get(io, 0x22) & RIRR, 0);
	apics_free(a);
}

static void unaccepted_level_is_not_in_service(void **state)
{
	struct apics *a = apics_new();
	struct ioapic *io = &a->ioapic;

	route(io, 9, LEVEL | 0x61, 0); /* all APICs are software-disabled */
	ioapic_set(io, 9, true);
	assert_int_equal(get(io, 0x22) & RIRR, 0);
	apics_free(a);
}

static void delivery_modes(void **state)
{
	struct apics *a = apics_new();
	struct ioapic *io = &a->ioapic;

	enable_all(a);
	route(io, 5, 0x400, 2);
	ioapic_set(io, 5, true);
	assert_int_equal(events(a, 2), CPU_EV_NMI);
	route(io, 6, 0x500, 3);
	ioapic_set(io, 6, true);
	assert_int_equal(events(a, 3), CPU_EV_INIT);
	route(io, 7, 0x700, 1);
	ioapic_set(io, 7, true);
	assert_int_equal(events(a, 1), CPU_EV_INTR);
	assert_int_equal(lapic_ack(&a->lapic[1]), LAPIC_EXTINT);
	assert_int_equal(lapic_ack(&a->lapic[1]), LAPIC_NONE);
	apics_free(a);
}

static void logical_destination(void **state)
{
	struct apics *a = apics_new();
	struct ioapic *io = &a->ioapic;

	enable_all(a);
	for (unsigned i = 0; i < APICS; i++)
		wr(&a->lapic[i], APIC_LDR, 1u << (24 + i));
	route(io, 10, 0x800 | 0x71, 0x6);
	ioapic_set(io, 10, true);
	for (unsigned i = 0; i < APICS; i++)
		expect(&a->lapic[i], i == 1 || i == 2 ? 0x71 : LAPIC_NONE);
	/* lowest priority: one of them */
	route(io, 11, 0x900 | 0x72, 0x6);
	ioapic_set(io, 11, true);
	assert_int_equal((lapic_ack(&a->lapic[1]) == 0x72) + (lapic_ack(&a->lapic[2]) == 0x72), 1);
	apics_free(a);
}

static void reset_masks_all(void **state)
{
	struct apics *a = apics_new();
	struct ioapic *io = &a->ioapic;

	route(io, 10, 0x71, 0);
	set(io, 0, 0x0f000000);
	ioapic_reset(io);
	assert_int_equal(get(io, 0x24), MASKED);
	assert_int_equal(get(io, 0), 0);
	apics_free(a);
}

static void pins_out_of_range_do_nothing(void **state)
{
	struct apics *a = apics_new();

	ioapic_set(&a->ioapic, 24, true);
	ioapic_set(&a->ioapic, ~0u, true);
	assert_int_equal(a->ioapic.level, 0);
	apics_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(registers),
	        cmocka_unit_test(edge_comes_once_per_edge),
	        cmocka_unit_test(masked_edge_is_lost),
	        cmocka_unit_test(level_comes_again_after_eoi),
	        cmocka_unit_test(masked_level_waits),
	        cmocka_unit_test(eoi_register_and_edge_trick_clear_remote_irr),
	        cmocka_unit_test(unaccepted_level_is_not_in_service),
	        cmocka_unit_test(delivery_modes),
	        cmocka_unit_test(logical_destination),
	        cmocka_unit_test(reset_masks_all),
	        cmocka_unit_test(pins_out_of_range_do_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
