#include "base/clock.h"
#include "machine/rtc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define NS 1000000000ULL
#define T0 (5000 * NS) /* "now" of the tests */

static bool line;

static void set_line(void *ctx, unsigned n, bool level)
{
	line = level;
}

static struct loop loop;

/* 2026-11-21 14:05:59 UTC, a Saturday, at T0. */
static void setup(struct rtc *r)
{
	struct error e;
	struct tm tm = {
	        .tm_year = 126, .tm_mon = 10, .tm_mday = 21, .tm_hour = 14, .tm_min = 5, .tm_sec = 59};

	loop_init(&loop, &e);
	line = false;
	assert_int_equal(rtc_init(r, (struct irq_line){set_line, NULL, 8}, &loop, 3 * GiB, 1 * GiB, 2, &e),
	                 0);
	rtc_set_time(r, (u64)timegm(&tm) * NS, T0);
}

static void done(struct rtc *r)
{
	rtc_release(r);
	loop_release(&loop);
}

static u8 get(struct rtc *r, u8 cell, u64 now)
{
	rtc_write(r, 0x70, cell, now);
	return rtc_read(r, 0x71, now);
}

static void set(struct rtc *r, u8 cell, u8 value, u64 now)
{
	rtc_write(r, 0x70, cell, now);
	rtc_write(r, 0x71, value, now);
}

static void time_in_bcd(void **state)
{
	struct rtc r;

	setup(&r);
	assert_int_equal(get(&r, RTC_SECONDS, T0), 0x59);
	assert_int_equal(get(&r, RTC_MINUTES, T0), 0x05);
	assert_int_equal(get(&r, RTC_HOURS, T0), 0x14);
	assert_int_equal(get(&r, RTC_WEEKDAY, T0), 7);
	assert_int_equal(get(&r, RTC_DAY, T0), 0x21);
	assert_int_equal(get(&r, RTC_MONTH, T0), 0x11);
	assert_int_equal(get(&r, RTC_YEAR, T0), 0x26);
	assert_int_equal(get(&r, CMOS_CENTURY, T0), 0x20);
	assert_int_equal(get(&r, RTC_SECONDS, T0 + NS), 0);
	assert_int_equal(get(&r, RTC_MINUTES, T0 + NS), 0x06);
	assert_int_equal(get(&r, RTC_D, T0), 0x80);
	done(&r);
}

static void time_in_binary_and_12_hours(void **state)
{
	struct rtc r;

	setup(&r);
	set(&r, RTC_B, RTC_B_BINARY | RTC_B_24H, T0);
	assert_int_equal(get(&r, RTC_SECONDS, T0), 59);
	assert_int_equal(get(&r, RTC_YEAR, T0), 26);
	set(&r, RTC_B, RTC_B_BINARY, T0);
	assert_int_equal(get(&r, RTC_HOURS, T0), 0x82);
	set(&r, RTC_B, 0, T0);
	assert_int_equal(get(&r, RTC_HOURS, T0), 0x82);
	/* midnight and noon are 12 */
	set(&r, RTC_HOURS, 0x12, T0);
	set(&r, RTC_B, RTC_B_24H, T0);
	assert_int_equal(get(&r, RTC_HOURS, T0), 0x00);
	set(&r, RTC_B, 0, T0);
	set(&r, RTC_HOURS, 0x92, T0);
	set(&r, RTC_B, RTC_B_24H, T0);
	assert_int_equal(get(&r, RTC_HOURS, T0), 0x12);
	done(&r);
}

static void set_stops_the_clock(void **state)
{
	struct rtc r;

	setup(&r);
	set(&r, RTC_B, RTC_B_SET | RTC_B_24H, T0);
	assert_int_equal(get(&r, RTC_SECONDS, T0 + 10 * NS), 0x59);
	assert_int_equal(get(&r, RTC_A, T0 + NS - 1000) & RTC_A_UIP, 0);
	set(&r, RTC_SECONDS, 0x30, T0);
	set(&r, RTC_MINUTES, 0x45, T0);
	set(&r, RTC_HOURS, 0x23, T0);
	set(&r, RTC_DAY, 0x29, T0);
	set(&r, RTC_MONTH, 0x02, T0);
	set(&r, RTC_YEAR, 0x28, T0);
	set(&r, RTC_B, RTC_B_24H, T0 + 100 * NS);
	assert_int_equal(get(&r, RTC_SECONDS, T0 + 105 * NS), 0x35);
	assert_int_equal(get(&r, RTC_DAY, T0 + 105 * NS), 0x29);
	assert_int_equal(get(&r, RTC_WEEKDAY, T0 + 105 * NS), 3); /* Tuesday */
	assert_int_equal(get(&r, RTC_DAY, T0 + (100 + 900) * NS), 0x01);
	assert_int_equal(get(&r, RTC_MONTH, T0 + (100 + 900) * NS), 0x03);
	done(&r);
}

static void divider_reset_delays_half_a_second(void **state)
{
	struct rtc r;

	setup(&r);
	set(&r, RTC_A, 0x76, T0 + 900000000);
	assert_int_equal(get(&r, RTC_SECONDS, T0 + 20 * NS), 0x59);
	set(&r, RTC_A, 0x26, T0 + 20 * NS);
	assert_int_equal(get(&r, RTC_SECONDS, T0 + 20 * NS + NS / 2 - 1), 0x59);
	assert_int_equal(get(&r, RTC_SECONDS, T0 + 20 * NS + NS / 2), 0x00);
	done(&r);
}

static void update_in_progress_ends_each_second(void **state)
{
	struct rtc r;

	setup(&r);
	assert_int_equal(get(&r, RTC_A, T0), 0x26);
	assert_int_equal(get(&r, RTC_A, T0 + NS - 2300000), 0x26);
	assert_int_equal(get(&r, RTC_A, T0 + NS - 2200000), 0xa6);
	assert_int_equal(get(&r, RTC_A, T0 + NS - 1), 0xa6);
	assert_int_equal(get(&r, RTC_A, T0 + NS), 0x26);
	done(&r);
}

static void update_interrupt(void **state)
{
	struct rtc r;

	setup(&r);
	get(&r, RTC_C, T0);
	set(&r, RTC_B, RTC_B_24H | RTC_B_UIE, T0);
	assert_int_equal(get(&r, RTC_C, T0 + NS / 2) & (RTC_C_IRQF | RTC_C_UF), 0);
	assert_false(line);
	set(&r, RTC_B, RTC_B_24H | RTC_B_UIE, T0 + NS); /* any access catches up */
	assert_true(line);
	assert_int_equal(get(&r, RTC_C, T0 + NS) & (RTC_C_IRQF | RTC_C_UF), RTC_C_IRQF | RTC_C_UF);
	assert_false(line);
	assert_int_equal(get(&r, RTC_C, T0 + NS), 0);
	done(&r);
}

static void flags_come_without_enables(void **state)
{
	struct rtc r;

	setup(&r);
	get(&r, RTC_C, T0);
	/* register A says 1024 Hz; the alarm cells are 0:0:0 */
	assert_int_equal(get(&r, RTC_C, T0 + 2000000), RTC_C_PF);
	assert_int_equal(get(&r, RTC_C, T0 + NS + 1), RTC_C_PF | RTC_C_UF);
	assert_false(line);
	done(&r);
}

static void alarm_matches(void **state)
{
	struct rtc r;

	setup(&r);
	set(&r, RTC_SECONDS_ALARM, 0x02, T0);
	set(&r, RTC_MINUTES_ALARM, 0x06, T0);
	set(&r, RTC_HOURS_ALARM, 0x14, T0);
	get(&r, RTC_C, T0);
	assert_int_equal(get(&r, RTC_C, T0 + 2 * NS) & RTC_C_AF, 0);
	assert_int_equal(get(&r, RTC_C, T0 + 3 * NS) & RTC_C_AF, RTC_C_AF);
	assert_int_equal(get(&r, RTC_C, T0 + 64 * NS) & RTC_C_AF, 0);
	/* any hour, any minute */
	set(&r, RTC_MINUTES_ALARM, 0xff, T0 + 64 * NS);
	set(&r, RTC_HOURS_ALARM, 0xc0, T0 + 64 * NS);
	assert_int_equal(get(&r, RTC_C, T0 + 130 * NS) & RTC_C_AF, RTC_C_AF);
	/* a long sleep still sees it */
	assert_int_equal(get(&r, RTC_C, T0 + 1000000 * NS) & RTC_C_AF, RTC_C_AF);
	done(&r);
}

static void stop_after(void *ctx)
{
	loop_stop(ctx);
}

static void periodic_interrupt_comes_by_itself(void **state)
{
	struct rtc r;
	struct loop_timer end;
	struct error e;

	setup(&r);
	u64 now = clock_monotonic_ns();
	rtc_set_time(&r, 1000 * NS, now);
	loop_timer_init(&loop, &end, stop_after, &loop, &e);
	set(&r, RTC_B, RTC_B_24H | RTC_B_PIE, now); /* 1024 Hz */
	get(&r, RTC_C, now);
	loop_timer_arm(&end, now + 30000000);
	loop_run(&loop, &e);
	assert_true(line);
	assert_int_equal(get(&r, RTC_C, clock_monotonic_ns()) & 0xc0, 0xc0);
	loop_timer_release(&end);
	done(&r);
}

static void memory_cells(void **state)
{
	struct rtc r;

	setup(&r);
	assert_int_equal(get(&r, 0x15, T0) | get(&r, 0x16, T0) << 8, 640);
	assert_int_equal(get(&r, 0x30, T0) | get(&r, 0x31, T0) << 8, 0xffff);
	assert_int_equal(get(&r, 0x34, T0) | get(&r, 0x35, T0) << 8, (3 * GiB - 16 * MiB) / 65536);
	assert_int_equal(get(&r, 0x5b, T0) | get(&r, 0x5c, T0) << 8, GiB / 65536);
	assert_int_equal(get(&r, 0x5f, T0), 1);
	set(&r, CMOS_SHUTDOWN, 0x0a, T0);
	assert_int_equal(get(&r, CMOS_SHUTDOWN, T0), 0x0a);
	set(&r, 0x80 | CMOS_SHUTDOWN, 0x05, T0); /* bit 7 is the NMI mask */
	assert_int_equal(get(&r, CMOS_SHUTDOWN, T0), 0x05);
	rtc_write(&r, 0x72, 0x10, T0);
	rtc_write(&r, 0x73, 0x77, T0);
	assert_int_equal(rtc_read(&r, 0x73, T0), 0x77);
	assert_int_not_equal(get(&r, 0x10, T0), 0x77);
	set(&r, RTC_C, 0xff, T0);
	set(&r, RTC_D, 0, T0);
	assert_int_equal(get(&r, RTC_D, T0), 0x80);
	done(&r);
}

static void random_ports_do_no_harm(void **state)
{
	struct rtc r;
	u64 seed = 3, now = T0;

	setup(&r);
	for (int i = 0; i < 100000; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		now += seed >> 34;
		if (seed & BIT(33))
			get(&r, (u8)(seed >> 40 & 15), now);
		else
			set(&r, (u8)(seed >> 40 & (seed & BIT(20) ? 15 : 127)), (u8)(seed >> 48), now);
	}
	done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(time_in_bcd),
	        cmocka_unit_test(time_in_binary_and_12_hours),
	        cmocka_unit_test(set_stops_the_clock),
	        cmocka_unit_test(divider_reset_delays_half_a_second),
	        cmocka_unit_test(update_in_progress_ends_each_second),
	        cmocka_unit_test(update_interrupt),
	        cmocka_unit_test(flags_come_without_enables),
	        cmocka_unit_test(alarm_matches),
	        cmocka_unit_test(periodic_interrupt_comes_by_itself),
	        cmocka_unit_test(memory_cells),
	        cmocka_unit_test(random_ports_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
