/* CPU credits: what is earned, spent, owed and charged; what of it survives. */
#include "region_fixture.h"

#include "region/cpu_credit.h"
#include "region/instance.h"
#include "region/instance_type.h"
#include "region/link.h"

enum { HOUR = 3600000, DAY = 24 * HOUR, PERIOD = 100000, FULL = 250000 };

static s64 credits(s64 n)
{
	return n * CPU_CREDIT_US;
}

static const struct instance_type *type(const char *name)
{
	return instance_type_find(name);
}

/* ---- the account ---- */

static void test_earn(void **state)
{
	struct cpu_credit c = {0};

	cpu_credit_step(&c, type("t3.nano"), false, HOUR, 0);
	assert_int_equal(c.earned, credits(6));
	cpu_credit_step(&c, type("t3.nano"), false, DAY, 0); /* 24 hours' and no more */
	assert_int_equal(c.earned, credits(144));
	cpu_credit_step(&c, type("t2.micro"), false, 10 * DAY, 0);
	assert_int_equal(c.earned, credits(144));
}

static void test_launch_first(void **state)
{
	struct cpu_credit c = {.earned = credits(144), .launch = credits(30)};

	/* They do not count into what it may keep, and are spent first. */
	cpu_credit_step(&c, type("t2.micro"), false, 0, credits(10));
	assert_int_equal(c.launch, credits(20));
	assert_int_equal(c.earned, credits(144));
	cpu_credit_step(&c, type("t2.micro"), false, 0, credits(25));
	assert_int_equal(c.launch, 0);
	assert_int_equal(c.earned, credits(139));
	assert_int_equal(c.used, credits(35));
}

static void test_standard_never_owes(void **state)
{
	struct cpu_credit c = {.earned = credits(1)};

	cpu_credit_step(&c, type("t3.nano"), false, 0, credits(5));
	assert_int_equal(c.earned, 0);
	assert_int_equal(c.surplus, 0);
	assert_int_equal(c.charged, 0);
}

static void test_unlimited(void **state)
{
	struct cpu_credit c = {.earned = credits(1)};

	cpu_credit_step(&c, type("t3.nano"), true, 0, credits(5));
	assert_int_equal(c.surplus, credits(4));
	cpu_credit_step(&c, type("t3.nano"), true, HOUR / 2, 0); /* paid back by what it earns */
	assert_int_equal(c.surplus, credits(1));
	assert_int_equal(c.earned, 0);
	cpu_credit_step(&c, type("t3.nano"), true, HOUR / 2, 0);
	assert_int_equal(c.surplus, 0);
	assert_int_equal(c.earned, credits(2));
	assert_int_equal(c.charged, 0);
	cpu_credit_step(&c, type("t3.nano"), true, 0, credits(2 + 144 + 9)); /* beyond a day's earnings */
	assert_int_equal(c.surplus, credits(144));
	assert_int_equal(c.charged, credits(9));
	cpu_credit_step(&c, type("t3.nano"), false, 0, 0); /* into standard mode: it pays */
	assert_int_equal(c.surplus, 0);
	assert_int_equal(c.charged, credits(153));
}

static void test_quota(void **state)
{
	struct cpu_credit c = {0};

	/* 5% of each of two vCPUs. */
	assert_int_equal(cpu_credit_quota(&c, type("t3.nano"), false, PERIOD), PERIOD / 10);
	assert_int_equal(cpu_credit_quota(&c, type("t2.micro"), false, PERIOD), PERIOD / 10);
	assert_int_equal(cpu_credit_quota(&c, type("t3.2xlarge"), false, PERIOD), 8 * PERIOD * 4 / 10);
	assert_int_equal(cpu_credit_quota(&c, type("t3.nano"), true, PERIOD), -1);
	c.earned = CPU_CREDIT_STEP_MS * 1000; /* one CPU for a step */
	assert_int_equal(cpu_credit_quota(&c, type("t3.nano"), false, PERIOD), PERIOD + PERIOD / 10);
	c.earned = credits(1000000000);
	assert_true(cpu_credit_quota(&c, type("t3.nano"), false, PERIOD) > 1000 * PERIOD);
}

/* ---- rows ---- */

static int setup(void **state)
{
	struct fixture *f;

	fixture_setup(state);
	f = *state;
	f->r.now_ms = 10LL * DAY;
	return 0;
}

static struct resource *instance(struct fixture *f, const char *name, const char *mode)
{
	struct resource *i = resource_new(&f->r, &instance_kind);

	value_set_string(i->doc, "InstanceType", name);
	property_set(&f->r, i->id, "cpu-credits", mode);
	resource_insert(&f->r, i);
	return i;
}

static const struct usage_mark *at(s64 ms)
{
	static struct usage_mark mark;

	mark = (struct usage_mark){10LL * DAY + ms, 1000 + ms, "boot"};
	return &mark;
}

static void has(struct fixture *f, const struct resource *i, const char *part)
{
	struct buffer b = {0};

	assert_int_equal(cpu_credit_write(&f->r, i->id, &b), 0);
	assert_false(database_failed(f->cloud.db));
	if (!strstr(buffer_str(&b), part))
		fail_msg("%s is not in %s", part, buffer_str(&b));
	buffer_release(&b);
}

static void test_life(void **state)
{
	struct cpu_credit_order order = {.period_us = PERIOD, .full_us = FULL};
	struct fixture *f = *state;
	struct resource *i = instance(f, "t3.nano", "standard");

	cpu_credit_begin(&f->r, i, at(0));
	assert_true(cpu_credit_settle(&f->r, i, "1:1", 1000000, at(5000), &order));
	assert_int_equal(order.quota_us, PERIOD / 10);
	assert_true(order.spent);
	assert_true(cpu_credit_settle(&f->r, i, "1:1", 1500000, at(10000), &order));
	assert_int_equal(order.quota_us, 0); /* as before */
	assert_false(order.spent);
	/* Nobody looked for an hour: the kernel counted. 3 of the 6 that it earned. */
	assert_true(cpu_credit_settle(&f->r, i, "1:1", 1500000 + credits(3), at(10000 + HOUR), &order));
	assert_int_equal(order.quota_us, FULL);
	has(f, i, "\"Balance\":3.000,");
	/* Another VMM after a reboot: it counts from zero. */
	assert_true(cpu_credit_settle(&f->r, i, "2:1", credits(1), at(10000 + HOUR), &order));
	has(f, i, "\"Balance\":2.000,");
	has(f, i, "\"Used\":4.025");
	property_set(&f->r, i->id, "cpu-credits", "unlimited");
	assert_true(cpu_credit_settle(&f->r, i, "2:1", credits(5), at(10000 + HOUR), &order));
	has(f, i,
	    "\"Mode\":\"unlimited\",\"EarnedPerHour\":6,\"BaselinePercent\":5,\"Balance\":0.000,"
	    "\"SurplusBalance\":2.000,\"SurplusCharged\":0.000");
	cpu_credit_end(&f->r, i, "2:1", credits(6), at(10000 + HOUR), false);
	has(f, i, "\"SurplusBalance\":0.000,\"SurplusCharged\":3.000,\"Used\":9.025");
	cpu_credit_end(&f->r, i, "2:1", -1, at(10000 + HOUR), true);
	has(f, i, "{}");
}

static void test_stopped(void **state)
{
	struct cpu_credit_order order = {.period_us = PERIOD, .full_us = FULL};
	struct fixture *f = *state;
	struct resource *three = instance(f, "t3.micro", "standard"),
	                *two = instance(f, "t2.micro", "standard");

	cpu_credit_begin(&f->r, three, at(0));
	cpu_credit_begin(&f->r, two, at(0));
	has(f, three, "\"Balance\":0.000,");
	has(f, two, "\"Balance\":30.000,");
	cpu_credit_settle(&f->r, three, "1:1", 0, at(HOUR), &order);
	cpu_credit_settle(&f->r, two, "1:1", 0, at(HOUR), &order);
	has(f, three, "\"Balance\":12.000,");
	has(f, two, "\"Balance\":36.000,");
	cpu_credit_end(&f->r, three, "1:1", 0, at(HOUR), false);
	cpu_credit_end(&f->r, two, "1:1", 0, at(HOUR), false);
	has(f, two, "\"Balance\":0.000,");
	/* It earns nothing while it is stopped, and loses all after a week. */
	cpu_credit_begin(&f->r, three, at(6LL * DAY));
	has(f, three, "\"Balance\":12.000,");
	cpu_credit_end(&f->r, three, "1:1", -1, at(6LL * DAY), false);
	cpu_credit_begin(&f->r, three, at(14LL * DAY));
	has(f, three, "\"Balance\":0.000,");
	cpu_credit_begin(&f->r, two, at(14LL * DAY));
	has(f, two, "\"Balance\":30.000,");
}

static void test_launches_are_limited(void **state)
{
	struct fixture *f = *state;
	struct resource *i;

	for (unsigned k = 0; k < CPU_CREDIT_LAUNCHES; k++)
		cpu_credit_begin(&f->r, instance(f, "t2.nano", "standard"), at(0));
	i = instance(f, "t2.nano", "standard");
	cpu_credit_begin(&f->r, i, at(0));
	has(f, i, "\"Balance\":0.000,");
	f->r.region = "eu-west-1"; /* each region for itself */
	i = instance(f, "t2.nano", "standard");
	cpu_credit_begin(&f->r, i, at(0));
	has(f, i, "\"Balance\":30.000,");
	f->r.region = "us-east-1";
	f->r.now_ms += DAY;
	i = instance(f, "t2.nano", "standard");
	cpu_credit_begin(&f->r, i, at(0));
	has(f, i, "\"Balance\":30.000,");
}

static void test_others(void **state)
{
	struct cpu_credit_order order = {.period_us = PERIOD, .full_us = FULL};
	struct fixture *f = *state;
	struct resource *i = instance(f, "m5.large", NULL);

	cpu_credit_begin(&f->r, i, at(0));
	assert_false(cpu_credit_settle(&f->r, i, "1:1", credits(9), at(HOUR), &order));
	has(f, i, "{}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_earn),
	        cmocka_unit_test(test_launch_first),
	        cmocka_unit_test(test_standard_never_owes),
	        cmocka_unit_test(test_unlimited),
	        cmocka_unit_test(test_quota),
	        cmocka_unit_test_setup_teardown(test_life, setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_stopped, setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_launches_are_limited, setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_others, setup, fixture_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
