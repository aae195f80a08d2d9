#include "base/clock.h"
#include "machine/pit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define NS 1000000000ULL

static unsigned rises;
static bool line;

static void set_line(void *ctx, unsigned n, bool level)
{
	if (level && !line)
		rises++;
	line = level;
}

static struct loop loop;

static void setup(struct pit *p)
{
	struct error e;

	loop_init(&loop, &e);
	rises = 0;
	line = false;
	assert_int_equal(pit_init(p, (struct irq_line){set_line, NULL, 0}, &loop, &e), 0);
}

static void done(struct pit *p)
{
	pit_release(p);
	loop_release(&loop);
}

/* A time at which n whole ticks have passed since t0. */
static u64 tick(u64 t0, u64 n)
{
	return t0 + (n * NS + PIT_HZ - 1) / PIT_HZ;
}

static void program(struct pit *p, unsigned channel, u8 mode, u16 count, u64 now)
{
	pit_write(p, 0x43, (u8)(channel << 6 | 0x30 | mode << 1), now);
	pit_write(p, (u16)(0x40 + channel), (u8)count, now);
	pit_write(p, (u16)(0x40 + channel), (u8)(count >> 8), now);
}

static u16 count(struct pit *p, unsigned channel, u64 now)
{
	u8 low = pit_read(p, (u16)(0x40 + channel), now);

	return (u16)(low | pit_read(p, (u16)(0x40 + channel), now) << 8);
}

#define T0 (1000 * NS)

static void mode2_divides(void **state)
{
	struct pit p;

	setup(&p);
	program(&p, 0, 2, 1000, T0);
	assert_int_equal(count(&p, 0, T0), 1000);
	assert_int_equal(count(&p, 0, tick(T0, 1)), 999);
	assert_int_equal(count(&p, 0, tick(T0, 999)), 1);
	assert_int_equal(count(&p, 0, tick(T0, 1000)), 1000);
	assert_true(pit_output(&p.channel[0], tick(T0, 998)));
	assert_false(pit_output(&p.channel[0], tick(T0, 999)));
	assert_true(pit_output(&p.channel[0], tick(T0, 1000)));
	assert_int_equal(pit_next_rise(&p.channel[0], T0), tick(T0, 1000));
	assert_int_equal(pit_next_rise(&p.channel[0], tick(T0, 1000)), tick(T0, 2000));
	done(&p);
}

static void mode3_is_a_square_wave(void **state)
{
	struct pit p;

	setup(&p);
	program(&p, 0, 3, 1000, T0);
	assert_int_equal(count(&p, 0, tick(T0, 1)), 998);
	assert_int_equal(count(&p, 0, tick(T0, 500)), 1000);
	assert_true(pit_output(&p.channel[0], tick(T0, 499)));
	assert_false(pit_output(&p.channel[0], tick(T0, 500)));
	assert_false(pit_output(&p.channel[0], tick(T0, 999)));
	assert_true(pit_output(&p.channel[0], tick(T0, 1000)));
	/* odd: high for one tick more than low */
	program(&p, 0, 3, 5, T0);
	assert_true(pit_output(&p.channel[0], tick(T0, 2)));
	assert_false(pit_output(&p.channel[0], tick(T0, 3)));
	assert_true(pit_output(&p.channel[0], tick(T0, 5)));
	done(&p);
}

static void mode0_ends_once_and_counts_on(void **state)
{
	struct pit p;

	setup(&p);
	program(&p, 0, 0, 100, T0);
	assert_false(line);
	assert_false(pit_output(&p.channel[0], tick(T0, 99)));
	assert_true(pit_output(&p.channel[0], tick(T0, 100)));
	assert_true(pit_output(&p.channel[0], tick(T0, 70000)));
	assert_int_equal(count(&p, 0, tick(T0, 100)), 0);
	assert_int_equal(count(&p, 0, tick(T0, 101)), 0xffff);
	assert_int_equal(pit_next_rise(&p.channel[0], tick(T0, 100)), 0);
	/* the first of two bytes stops it */
	pit_write(&p, 0x40, 50, tick(T0, 200));
	assert_false(pit_output(&p.channel[0], tick(T0, 70000)));
	done(&p);
}

static void count_of_zero_is_65536(void **state)
{
	struct pit p;

	setup(&p);
	program(&p, 0, 2, 0, T0);
	assert_int_equal(count(&p, 0, T0), 0);
	assert_int_equal(count(&p, 0, tick(T0, 1)), 0xffff);
	assert_int_equal(pit_next_rise(&p.channel[0], T0), tick(T0, 65536));
	done(&p);
}

static void bcd_counts_decimal(void **state)
{
	struct pit p;

	setup(&p);
	pit_write(&p, 0x43, 0x35, T0); /* channel 0, mode 2, BCD */
	pit_write(&p, 0x40, 0x00, T0);
	pit_write(&p, 0x40, 0x10, T0); /* 1000 */
	assert_int_equal(count(&p, 0, tick(T0, 1)), 0x0999);
	assert_int_equal(pit_next_rise(&p.channel[0], T0), tick(T0, 1000));
	done(&p);
}

static void gate_drives_channel_2(void **state)
{
	struct pit p;

	setup(&p);
	/* as calibration does: gate up, speaker off, mode 0, poll OUT2 */
	pit_write(&p, 0x61, 1, T0);
	program(&p, 2, 0, 1000, T0);
	assert_int_equal(pit_read(&p, 0x61, tick(T0, 999)) & 0x20, 0);
	assert_int_equal(pit_read(&p, 0x61, tick(T0, 1000)) & 0x20, 0x20);
	/* the gate stops the count, and it goes on where it was */
	program(&p, 2, 0, 1000, T0);
	pit_write(&p, 0x61, 0, tick(T0, 400));
	assert_int_equal(count(&p, 2, tick(T0, 5000)), 600);
	pit_write(&p, 0x61, 1, tick(T0, 10000));
	assert_int_equal(pit_read(&p, 0x61, tick(T0, 10598)) & 0x20, 0);
	assert_int_equal(pit_read(&p, 0x61, tick(T0, 10602)) & 0x20, 0x20);
	/* mode 1: nothing until the gate rises */
	pit_write(&p, 0x61, 0, T0);
	program(&p, 2, 1, 100, T0);
	assert_int_equal(pit_read(&p, 0x61, tick(T0, 5000)) & 0x20, 0x20);
	pit_write(&p, 0x61, 1, tick(T0, 5000));
	assert_int_equal(pit_read(&p, 0x61, tick(T0, 5050)) & 0x20, 0);
	assert_int_equal(pit_read(&p, 0x61, tick(T0, 5102)) & 0x20, 0x20);
	done(&p);
}

static void port61_keeps_and_toggles(void **state)
{
	struct pit p;
	unsigned changes = 0;
	u8 last = 0;

	setup(&p);
	pit_write(&p, 0x61, 0xff, T0);
	assert_int_equal(pit_read(&p, 0x61, T0) & 0xcf, 0x0f);
	for (u64 t = T0; t < T0 + NS / 1000; t += 1000) {
		u8 v = pit_read(&p, 0x61, t) & 0x10;

		changes += v != last;
		last = v;
	}
	assert_in_range(changes, 60, 70); /* each 15 µs */
	done(&p);
}

static void latch_holds_until_read(void **state)
{
	struct pit p;

	setup(&p);
	program(&p, 0, 2, 1000, T0);
	pit_write(&p, 0x43, 0x00, tick(T0, 100));
	pit_write(&p, 0x43, 0x00, tick(T0, 200)); /* the first one holds */
	assert_int_equal(pit_read(&p, 0x40, tick(T0, 300)), 900 & 0xff);
	assert_int_equal(pit_read(&p, 0x40, tick(T0, 400)), 900 >> 8);
	assert_int_equal(count(&p, 0, tick(T0, 500)), 500);
	done(&p);
}

static void read_back_latches_status_and_count(void **state)
{
	struct pit p;

	setup(&p);
	pit_write(&p, 0x43, 0x34, T0);
	pit_write(&p, 0x43, 0xe2, T0);                  /* status of channel 0 */
	assert_int_equal(pit_read(&p, 0x40, T0), 0xf4); /* OUT, null count, both bytes, mode 2 */
	program(&p, 0, 2, 1000, T0);
	pit_write(&p, 0x43, 0xc2, tick(T0, 250)); /* both */
	assert_int_equal(pit_read(&p, 0x40, T0), 0xb4);
	assert_int_equal(pit_read(&p, 0x40, T0), 750 & 0xff);
	assert_int_equal(pit_read(&p, 0x40, T0), 750 >> 8);
	done(&p);
}

static void single_byte_access(void **state)
{
	struct pit p;

	setup(&p);
	pit_write(&p, 0x43, 0x14, T0); /* low byte only */
	pit_write(&p, 0x40, 200, T0);
	assert_int_equal(pit_read(&p, 0x40, tick(T0, 50)), 150);
	assert_int_equal(pit_read(&p, 0x40, tick(T0, 51)), 149);
	pit_write(&p, 0x43, 0x24, T0); /* high byte only */
	pit_write(&p, 0x40, 2, T0);
	assert_int_equal(pit_read(&p, 0x40, tick(T0, 1)), 1);
	assert_int_equal(pit_read(&p, 0x43, T0), 0xff);
	done(&p);
}

static void stop_after(void *ctx)
{
	loop_stop(ctx);
}

static void channel_0_interrupts(void **state)
{
	struct pit p;
	struct loop_timer end;
	struct error e;

	setup(&p);
	loop_timer_init(&loop, &end, stop_after, &loop, &e);
	u64 now = clock_monotonic_ns();
	program(&p, 0, 2, 11932, now); /* 100 Hz */
	rises = 0;
	/* As many as periods have passed, or fewer where the loop was late. */
	for (unsigned ms = 10; rises < 15; ms += 10) {
		loop_timer_arm(&end, now + ms * NS / 1000);
		assert_int_equal(loop_run(&loop, &e), 0);
		loop.stop = false;
		assert_true(rises <= (clock_monotonic_ns() - now) / (NS / 100) && ms < 60000);
	}
	loop_timer_release(&end);
	done(&p);
}

static void random_ports_do_no_harm(void **state)
{
	struct pit p;
	u64 seed = 7, now = T0;

	setup(&p);
	for (int i = 0; i < 300000; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		u16 port = (seed >> 40 & 7) == 7 ? 0x61 : (u16)(0x40 + (seed >> 40 & 3));
		now += seed >> 50;
		if (seed >> 63)
			pit_read(&p, port, now);
		else
			pit_write(&p, port, (u8)(seed >> 32), now);
	}
	done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(mode2_divides),
	        cmocka_unit_test(mode3_is_a_square_wave),
	        cmocka_unit_test(mode0_ends_once_and_counts_on),
	        cmocka_unit_test(count_of_zero_is_65536),
	        cmocka_unit_test(bcd_counts_decimal),
	        cmocka_unit_test(gate_drives_channel_2),
	        cmocka_unit_test(port61_keeps_and_toggles),
	        cmocka_unit_test(latch_holds_until_read),
	        cmocka_unit_test(read_back_latches_status_and_count),
	        cmocka_unit_test(single_byte_access),
	        cmocka_unit_test(channel_0_interrupts),
	        cmocka_unit_test(random_ports_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
