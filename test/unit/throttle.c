/* Throttling, with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/throttle.h"

#include <stdio.h>

#define S 1000000000ULL

static unsigned burst(struct throttle *t, const char *action, bool all, u64 now)
{
	unsigned count = 0;

	while (count < 100000 && throttle_request(t, "1", "us-east-1", action, all, now))
		count++;
	return count;
}

/* The figures of EC2's guide: 100 and 20 a second for what reads, 50 and 5 for what changes, ... */
static void test_classes(void **state)
{
	static const struct {
		const char *action;
		bool all;
		unsigned size, per_s;
	} rows[] = {{"DescribeVpcs", true, 100, 20},     {"DescribeInstances", false, 100, 20},
	            {"DescribeInstances", true, 50, 10}, {"CreateVpc", false, 50, 5},
	            {"RunInstances", false, 5, 2},       {"TerminateInstances", false, 50, 5},
	            {"CreateDefaultVpc", false, 1, 1},   {"GetConsoleOutput", false, 100, 20}};
	struct throttle *t = throttle_new(1);

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(burst(t, rows[i].action, rows[i].all, S), rows[i].size);
		assert_int_equal(burst(t, rows[i].action, rows[i].all, 2 * S), rows[i].per_s);
		assert_int_equal(burst(t, rows[i].action, rows[i].all, 2 * S), 0);
		assert_int_equal(burst(t, rows[i].action, rows[i].all, 1000 * S), rows[i].size);
	}
	throttle_free(t);
}

static void test_apart(void **state)
{
	struct throttle *t = throttle_new(1);

	assert_int_equal(burst(t, "CreateVpc", false, S), 50);
	assert_true(throttle_request(t, "1", "us-east-1", "DeleteVpc", false, S));
	assert_true(throttle_request(t, "1", "eu-west-1", "CreateVpc", false, S));
	assert_true(throttle_request(t, "2", "us-east-1", "CreateVpc", false, S));
	assert_false(throttle_request(t, "1", "us-east-1", "CreateVpc", false, S));
	throttle_free(t);
}

static void test_factor(void **state)
{
	struct throttle *t = throttle_new(3);

	assert_int_equal(burst(t, "CreateVpc", false, S), 150);
	assert_int_equal(burst(t, "CreateVpc", false, 2 * S), 15);
	throttle_free(t);
}

static void test_resources(void **state)
{
	struct throttle *t = throttle_new(1);

	assert_true(throttle_resources(t, "1", "us-east-1", "RunInstances", 900, S));
	assert_false(throttle_resources(t, "1", "us-east-1", "RunInstances", 101, S)); /* takes none */
	assert_true(throttle_resources(t, "1", "us-east-1", "RunInstances", 100, S));
	assert_false(throttle_resources(t, "1", "us-east-1", "RunInstances", 1, S));
	assert_true(throttle_resources(t, "1", "us-east-1", "RunInstances", 2, 2 * S));
	assert_false(throttle_resources(t, "1", "us-east-1", "RunInstances", 1, 2 * S));
	assert_true(throttle_resources(t, "1", "us-east-1", "CreateVpc", 1000000, S));
	throttle_free(t);
}

/* Who goes through thousands of regions at once makes no room by it. */
static void test_bounded(void **state)
{
	struct throttle *t = throttle_new(1);
	unsigned taken = 0;
	char region[32];

	for (unsigned i = 0; i < 200000; i++) {
		snprintf(region, sizeof(region), "r-%u", i);
		taken += throttle_request(t, "1", region, "CreateDefaultVpc", false, S);
	}
	assert_true(taken <= 8192);
	throttle_free(t);
}

static void test_clock_back(void **state)
{
	struct throttle *t = throttle_new(1);

	assert_int_equal(burst(t, "CreateVpc", false, 10 * S), 50);
	assert_int_equal(burst(t, "CreateVpc", false, 5 * S), 0);
	assert_int_equal(burst(t, "CreateVpc", false, 10 * S), 0);
	throttle_free(t);
}

static void test_parse(void **state)
{
	double factor;

	assert_true(throttle_parse("off", &factor) && factor == 0);
	assert_true(throttle_parse("aws", &factor) && factor == 1);
	assert_true(throttle_parse("0.5", &factor) && factor == 0.5);
	assert_false(throttle_parse("0", &factor));
	assert_false(throttle_parse("-1", &factor));
	assert_false(throttle_parse("2x", &factor));
	assert_false(throttle_parse("", &factor));
	assert_false(throttle_parse("nan", &factor));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_classes), cmocka_unit_test(test_apart),
	        cmocka_unit_test(test_factor),  cmocka_unit_test(test_resources),
	        cmocka_unit_test(test_bounded), cmocka_unit_test(test_clock_back),
	        cmocka_unit_test(test_parse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
