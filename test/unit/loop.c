#include "base/clock.h"
#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MS 1000000ULL

static struct loop loop;
static struct error error;
static char trace[64]; /* what ran, in order */
static u64 ran_at[64];

static int setup(void **state)
{
	memset(trace, 0, sizeof(trace));
	return loop_init(&loop, &error);
}

static int teardown(void **state)
{
	loop_release(&loop);
	return 0;
}

static void note(void *ctx)
{
	size_t n = strlen(trace);

	trace[n] = *(const char *)ctx;
	ran_at[n] = clock_monotonic_ns();
	if (trace[n] == '.')
		loop_stop(&loop);
}

static void timers_fire_in_order_of_deadline(void **state)
{
	static const char names[] = "badcfe.";
	static const unsigned ms[] = {2, 1, 4, 3, 6, 5, 8};
	struct loop_timer t[7];
	u64 now = clock_monotonic_ns();

	for (unsigned i = 0; i < 7; i++) {
		assert_int_equal(loop_timer_init(&loop, &t[i], note, (void *)&names[i], &error), 0);
		loop_timer_arm(&t[i], now + ms[i] * MS);
	}
	assert_int_equal(loop_run(&loop, &error), 0);
	assert_string_equal(trace, "abcdef.");
	for (unsigned i = 0; i < 6; i++)
		assert_true(ran_at[i] >= now + (i + 1) * MS); /* never early */
	for (unsigned i = 0; i < 7; i++) {
		assert_int_equal(t[i].slot, 0); /* one shot */
		loop_timer_release(&t[i]);
	}
}

static void disarmed_timers_do_not_fire(void **state)
{
	struct loop_timer t[16], end;
	u64 now = clock_monotonic_ns();

	loop_timer_init(&loop, &end, note, ".", &error);
	for (unsigned i = 0; i < 16; i++) {
		loop_timer_init(&loop, &t[i], note, i % 3 ? "x" : "o", &error);
		loop_timer_arm(&t[i], now + (i * 7 % 16) * MS / 4);
	}
	for (unsigned i = 0; i < 16; i++)
		if (i % 3)
			loop_timer_disarm(&t[i]);
	loop_timer_disarm(&t[1]); /* twice is harmless */
	loop_timer_arm(&end, now + 20 * MS);
	loop_run(&loop, &error);
	assert_string_equal(trace, "oooooo.");
	for (unsigned i = 0; i < 16; i++)
		loop_timer_release(&t[i]);
	loop_timer_release(&end);
}

static void arming_again_moves(void **state)
{
	struct loop_timer a, b, end;
	u64 now = clock_monotonic_ns();

	loop_timer_init(&loop, &a, note, "a", &error);
	loop_timer_init(&loop, &b, note, "b", &error);
	loop_timer_init(&loop, &end, note, ".", &error);
	loop_timer_arm(&a, now + 1 * MS);
	loop_timer_arm(&b, now + 3600 * 1000 * MS);
	loop_timer_arm(&end, now + 10 * MS);
	loop_timer_arm(&a, now + 5 * MS);
	loop_timer_arm(&b, now + 2 * MS);
	loop_run(&loop, &error);
	assert_string_equal(trace, "ba.");
	loop_timer_release(&a);
	loop_timer_release(&b);
	loop_timer_release(&end);
}

static void a_deadline_in_the_past_fires_at_once(void **state)
{
	struct loop_timer end;

	loop_timer_init(&loop, &end, note, ".", &error);
	loop_timer_arm(&end, 0);
	u64 before = clock_monotonic_ns();
	loop_run(&loop, &error);
	assert_true(clock_monotonic_ns() - before < 60000 * MS);
	loop_timer_release(&end);
}

static void rearm(void *ctx)
{
	struct loop_timer *t = ctx;

	note("r");
	if (strlen(trace) < 5)
		loop_timer_arm(t, clock_monotonic_ns());
	else
		loop_stop(&loop);
}

static void a_callback_may_rearm_itself(void **state)
{
	struct loop_timer t;

	loop_timer_init(&loop, &t, rearm, &t, &error);
	loop_timer_arm(&t, clock_monotonic_ns() + MS);
	loop_run(&loop, &error);
	assert_string_equal(trace, "rrrrr");
	loop_timer_release(&t);
}

static void calls_run_oldest_first_and_once(void **state)
{
	struct loop_call a = {.fn = note, .ctx = "a"}, b = {.fn = note, .ctx = "b"},
	                 end = {.fn = note, .ctx = "."};

	loop_post(&loop, &a);
	loop_post(&loop, &b);
	loop_post(&loop, &a);
	loop_post(&loop, &end);
	loop_run(&loop, &error);
	assert_string_equal(trace, "ab.");
}

static void readable(void *ctx, u32 events)
{
	char c = 0;

	assert_int_equal(events & EPOLLIN, EPOLLIN);
	assert_int_equal(read(*(int *)ctx, &c, 1), 1);
	note(&c);
}

static void descriptors_are_told(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	struct loop_fd f = {.fd = fds[0], .events = EPOLLIN, .fn = readable, .ctx = &fds[0]};
	assert_int_equal(loop_add(&loop, &f, &error), 0);
	assert_int_equal(loop_add(&loop, &f, &error), -1); /* twice */
	assert_int_equal(write(fds[1], "xy.", 3), 3);
	loop_run(&loop, &error);
	assert_string_equal(trace, "xy.");
	/* silenced, removed: nothing comes */
	loop.stop = false;
	loop_modify(&loop, &f, 0);
	assert_int_equal(write(fds[1], "z", 1), 1);
	struct loop_timer end;
	loop_timer_init(&loop, &end, note, ".", &error);
	loop_timer_arm(&end, clock_monotonic_ns() + 5 * MS);
	loop_run(&loop, &error);
	assert_string_equal(trace, "xy..");
	loop_remove(&loop, &f);
	loop_timer_release(&end);
	close(fds[0]);
	close(fds[1]);
}

static void *other_thread(void *ctx)
{
	struct loop_timer *t = ctx;

	usleep(2000);
	loop_timer_arm(t, clock_monotonic_ns() + 2 * MS);
	return NULL;
}

static void another_thread_can_arm(void **state)
{
	struct loop_timer end;
	pthread_t thread;

	loop_timer_init(&loop, &end, note, ".", &error);
	pthread_create(&thread, NULL, other_thread, &end);
	loop_run(&loop, &error);
	pthread_join(thread, NULL);
	assert_string_equal(trace, ".");
	loop_timer_release(&end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(timers_fire_in_order_of_deadline, setup, teardown),
	        cmocka_unit_test_setup_teardown(disarmed_timers_do_not_fire, setup, teardown),
	        cmocka_unit_test_setup_teardown(arming_again_moves, setup, teardown),
	        cmocka_unit_test_setup_teardown(a_deadline_in_the_past_fires_at_once, setup, teardown),
	        cmocka_unit_test_setup_teardown(a_callback_may_rearm_itself, setup, teardown),
	        cmocka_unit_test_setup_teardown(calls_run_oldest_first_and_once, setup, teardown),
	        cmocka_unit_test_setup_teardown(descriptors_are_told, setup, teardown),
	        cmocka_unit_test_setup_teardown(another_thread_can_arm, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
