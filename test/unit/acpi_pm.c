#include "base/clock.h"
#include "machine/acpi_pm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define NS 1000000000ULL

static struct loop loop;
static struct bus *bus;
static bool sci;
static unsigned offs;

static void set_line(void *ctx, unsigned n, bool level)
{
	sci = level;
}

static void off(void *ctx)
{
	offs++;
}

static void setup(struct acpi_pm *pm)
{
	struct error e;

	loop_init(&loop, &e);
	bus = bus_new();
	offs = 0;
	assert_int_equal(acpi_pm_init(pm, (struct irq_line){set_line, NULL, 9}, off, NULL, &loop, &e), 0);
	assert_int_equal(acpi_pm_map(pm, bus), 0);
	assert_false(sci);
}

static void done(struct acpi_pm *pm)
{
	acpi_pm_release(pm);
	bus_free(bus);
	loop_release(&loop);
}

static void smi_command_switches_acpi_mode(void **state)
{
	struct acpi_pm pm;

	setup(&pm);
	assert_int_equal(bus_read(bus, ACPI_PM1_CNT, 2), 0);
	bus_write(bus, ACPI_SMI_CMD, 1, ACPI_ENABLE);
	assert_int_equal(bus_read(bus, ACPI_PM1_CNT, 2), 1);
	bus_write(bus, ACPI_PM1_CNT, 2, 0); /* SCI_EN is not the system's to write */
	assert_int_equal(bus_read(bus, ACPI_PM1_CNT, 2), 1);
	bus_write(bus, ACPI_SMI_CMD, 1, ACPI_DISABLE);
	assert_int_equal(bus_read(bus, ACPI_PM1_CNT, 2), 0);
	done(&pm);
}

static void power_button_is_an_sci(void **state)
{
	struct acpi_pm pm;

	setup(&pm);
	acpi_pm_power_button(&pm);
	assert_false(sci);
	bus_write(bus, ACPI_PM1_EVT + 2, 2, PM1_PWRBTN);
	assert_false(sci); /* not in ACPI mode yet */
	bus_write(bus, ACPI_SMI_CMD, 1, ACPI_ENABLE);
	assert_true(sci);
	assert_int_equal(bus_read(bus, ACPI_PM1_EVT, 2), PM1_PWRBTN);
	bus_write(bus, ACPI_PM1_EVT, 2, PM1_GBL);
	assert_true(sci);
	bus_write(bus, ACPI_PM1_EVT, 2, PM1_PWRBTN);
	assert_false(sci);
	assert_int_equal(bus_read(bus, ACPI_PM1_EVT, 4), PM1_PWRBTN << 16);
	done(&pm);
}

static void s5_powers_off(void **state)
{
	struct acpi_pm pm;

	setup(&pm);
	bus_write(bus, ACPI_PM1_CNT, 2, ACPI_S5_TYPE << 10);
	assert_int_equal(offs, 0);
	bus_write(bus, ACPI_PM1_CNT, 2, 1 << 10 | 1 << 13); /* another sleep type */
	assert_int_equal(offs, 0);
	bus_write(bus, ACPI_PM1_CNT, 2, ACPI_S5_TYPE << 10 | 1 << 13);
	assert_int_equal(offs, 1);
	assert_int_equal(bus_read(bus, ACPI_PM1_CNT, 2) & 1 << 13, 0); /* write-only */
	/* byte by byte */
	bus_write(bus, ACPI_PM1_CNT + 1, 1, (ACPI_S5_TYPE << 10 | 1 << 13) >> 8);
	assert_int_equal(offs, 2);
	done(&pm);
}

static void gpe_is_an_sci(void **state)
{
	struct acpi_pm pm;

	setup(&pm);
	bus_write(bus, ACPI_SMI_CMD, 1, ACPI_ENABLE);
	acpi_pm_gpe(&pm, 9);
	assert_int_equal(bus_read(bus, ACPI_GPE0 + 1, 1), 2);
	assert_false(sci);
	bus_write(bus, ACPI_GPE0 + 3, 1, 2);
	assert_true(sci);
	bus_write(bus, ACPI_GPE0 + 1, 1, 2);
	assert_false(sci);
	done(&pm);
}

static void timer_runs_at_its_rate(void **state)
{
	struct acpi_pm pm;

	setup(&pm);
	assert_int_equal(acpi_pm_timer(NS) - acpi_pm_timer(0), 3579545);
	u64 ns = clock_monotonic_ns();
	u32 v = (u32)bus_read(bus, ACPI_PM_TMR, 4);
	assert_in_range(v, acpi_pm_timer(ns), acpi_pm_timer(clock_monotonic_ns()));
	/* all bytes of one access are of one time */
	for (int i = 0; i < 1000; i++) {
		u32 next = (u32)bus_read(bus, ACPI_PM_TMR, 4);
		assert_true(next - v < 3579545);
		v = next;
	}
	done(&pm);
}

static void timer_carry_sets_status(void **state)
{
	struct acpi_pm pm;

	setup(&pm);
	u64 now = clock_monotonic_ns();
	u64 later = now + 600 * NS; /* bit 31 toggles each 599.9 s */
	acpi_pm_write(&pm, ACPI_PM1_EVT + 2, 2, PM1_TMR, now);
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM1_EVT, now) & PM1_TMR, 0);
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM1_EVT, later) & PM1_TMR, PM1_TMR);
	done(&pm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(smi_command_switches_acpi_mode),
	        cmocka_unit_test(power_button_is_an_sci),
	        cmocka_unit_test(s5_powers_off),
	        cmocka_unit_test(gpe_is_an_sci),
	        cmocka_unit_test(timer_runs_at_its_rate),
	        cmocka_unit_test(timer_carry_sets_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
