#include "device/virtio/limiter.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND 1000000000ULL

/* Passes as many operations of `bytes` as may be until `end`, and returns the bytes. The clock jumps to when
 * the limiter says, as a timer would have it. */
static u64 pass(struct limiter *l, u64 *now, u64 end, u64 bytes)
{
	u64 total = 0, wait;

	while (*now < end) {
		wait = limiter_wait(l, *now);
		if (wait) {
			assert_true(wait > *now);
			*now = wait;
			continue;
		}
		limiter_take(l, bytes);
		total += bytes;
	}
	return total;
}

static void rate_holds(void **state)
{
	static const u64 sizes[] = {60, 1500, 9014, 65550, 1000000};
	static const u64 rates[] = {10000, 1250000, 125000000};

	for (unsigned r = 0; r < ARRAY_SIZE(rates); r++)
		for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
			struct limiter_config c = limiter_config_rate(rates[r]);
			u64 now = 5 * SECOND, total;
			struct limiter l;

			limiter_init(&l, &c, now);
			total = pass(&l, &now, now + 10 * SECOND, sizes[s]);
			assert_true(total <= 10 * rates[r] + rates[r] / 10 + sizes[s]);
			assert_true(total + sizes[s] >= 10 * rates[r]);
		}
}

/* Odd numbers, where every division leaves a rest: nothing is lost, nothing is won. */
static void rests_add_up(void **state)
{
	struct limiter_config c = {.bytes = {.size = 7, .refill_ms = 3}};
	u64 now = 0, total;
	struct limiter l;

	limiter_init(&l, &c, now);
	total = pass(&l, &now, 300 * SECOND, 1);
	assert_in_range(total, 699990, 700008);
}

static void operations_count_too(void **state)
{
	struct limiter_config c = {.ops = {.size = 10, .refill_ms = 1000},
	                           .bytes = {.size = 1 << 30, .refill_ms = 1}};
	u64 now = SECOND;
	struct limiter l;

	limiter_init(&l, &c, now);
	assert_in_range(pass(&l, &now, 11 * SECOND, 1500) / 1500, 109, 111);
}

static void burst_is_there_once(void **state)
{
	struct limiter_config c = {.bytes = {.size = 1000, .burst = 50000, .refill_ms = 1000}};
	u64 now = SECOND;
	struct limiter l;

	limiter_init(&l, &c, now);
	assert_in_range(pass(&l, &now, 2 * SECOND, 100), 51900, 52200);
	now = 100 * SECOND;
	assert_in_range(pass(&l, &now, 101 * SECOND, 100), 1900, 2200);
}

/* One that is larger than the bucket passes at once, and those behind it pay. */
static void debt(void **state)
{
	struct limiter_config c = {.bytes = {.size = 1000, .refill_ms = 1000}};
	u64 now = SECOND;
	struct limiter l;

	limiter_init(&l, &c, now);
	assert_int_equal(limiter_wait(&l, now), 0);
	limiter_take(&l, 65000);
	assert_in_range(limiter_wait(&l, now), 65 * SECOND, 65 * SECOND + SECOND / 1000 + 10);
	assert_int_equal(limiter_wait(&l, 65 * SECOND + 10), 0);
}

static void hostile_sizes(void **state)
{
	struct limiter_config c = {.bytes = {.size = 1, .burst = ~0ULL, .refill_ms = ~0ULL},
	                           .ops = {.size = ~0ULL, .refill_ms = 1}};
	struct limiter_config none = {.bytes = {.size = 5}, .ops = {.refill_ms = 5}};
	struct limiter l;

	limiter_init(&l, &c, 0);
	for (unsigned i = 0; i < 100; i++)
		limiter_take(&l, ~0ULL);
	assert_true(limiter_wait(&l, 1) > 1);
	limiter_init(&l, &none, 0);
	assert_false(limiter_limits(&l));
	limiter_take(&l, 5);
	assert_int_equal(limiter_wait(&l, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(rate_holds),
	        cmocka_unit_test(rests_add_up),
	        cmocka_unit_test(operations_count_too),
	        cmocka_unit_test(burst_is_there_once),
	        cmocka_unit_test(debt),
	        cmocka_unit_test(hostile_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
