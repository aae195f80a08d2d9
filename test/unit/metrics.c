/* What metrics are made of: counts that stay bounded whatever clients make up, bounds of time, labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/metrics.h"
#include "api/traffic.h"

#include <stdio.h>
#include <string.h>

static u64 count_of(const struct traffic *t, const char *action, const char *code)
{
	for (unsigned i = 0; i < t->code_count; i++)
		if (!strcmp(t->codes[i]->of->action, action) && !strcmp(t->codes[i]->code, code))
			return t->codes[i]->count;
	return 0;
}

static void test_counts(void **state)
{
	struct traffic *t = traffic_new();

	traffic_add(t, "ec2", "RunInstances", "OK", 1000);
	traffic_add(t, "ec2", "RunInstances", "OK", 3000000);
	traffic_add(t, "ec2", "RunInstances", "InvalidAMIID.NotFound", 1000);
	assert_int_equal(count_of(t, "RunInstances", "OK"), 2);
	assert_int_equal(count_of(t, "RunInstances", "InvalidAMIID.NotFound"), 1);
	assert_int_equal(t->action_count, 1);
	assert_int_equal(t->actions[0]->latency.count, 3);
	traffic_free(t);
}

static void test_bounded(void **state)
{
	struct traffic *t = traffic_new();
	char text[300];
	u64 all = 0;

	for (unsigned i = 0; i < 20000; i++) {
		/* Longer than is kept: cut, not lost. */
		snprintf(text, sizeof(text), "%u%0200u", i, i);
		traffic_add(t, "ec2", text, "OK", 1000);
		traffic_add(t, "ec2", "RunInstances", text, 1000);
	}
	assert_true(t->action_count <= TRAFFIC_ACTIONS);
	assert_true(t->code_count <= TRAFFIC_CODES);
	for (unsigned i = 0; i < t->code_count; i++)
		all += t->codes[i]->count;
	assert_int_equal(all, 40000);
	traffic_free(t);
}

static void test_bounds(void **state)
{
	struct histogram h = {0};

	histogram_add(&h, 500000); /* a bound is within */
	histogram_add(&h, 500001);
	histogram_add(&h, 10000000000ULL);
	histogram_add(&h, 10000000001ULL);
	assert_int_equal(h.counts[0], 1);
	assert_int_equal(h.counts[1], 1);
	assert_int_equal(h.counts[HISTOGRAM_BOUNDS - 1], 1);
	assert_int_equal(h.counts[HISTOGRAM_BOUNDS], 1);
	assert_int_equal(h.count, 4);
}

static void test_escape(void **state)
{
	struct buffer b = {0};

	metrics_escape(&b, "a\"b\\c\nd");
	assert_string_equal(buffer_str(&b), "a\\\"b\\\\c\\nd");
	buffer_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_counts),
	        cmocka_unit_test(test_bounded),
	        cmocka_unit_test(test_bounds),
	        cmocka_unit_test(test_escape),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
