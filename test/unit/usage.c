/* Metering: runs, clocks, reports. */
#include "region_fixture.h"

#include "region/instance.h"
#include "region/usage.h"

/* 2026-01-31T23:59:00Z */
#define LATE 1769903940000LL

static struct resource *instance;

static int setup(void **state)
{
	struct fixture *f;

	fixture_setup(state);
	f = *state;
	instance = resource_new(&f->r, &instance_kind);
	value_set_string(instance->doc, "InstanceType", "t3.nano");
	return 0;
}

static void run(struct fixture *f, s64 wall_ms, s64 up_ms, s64 end_wall_ms, s64 end_up_ms)
{
	const struct usage_mark begin = {wall_ms, up_ms, "boot"}, end = {end_wall_ms, end_up_ms, "boot"};

	usage_begin(&f->r, instance, &begin);
	usage_end(&f->r, instance->id, &end);
}

static const char *report(struct fixture *f, enum usage_by by, s64 from_s, s64 to_s)
{
	const struct usage_report p = {.by = by, .from_s = from_s, .to_s = to_s, .after = ""};
	struct buffer b = {0};
	const char *text;

	assert_int_equal(usage_write(&f->r, &p, &b), 0);
	assert_false(database_failed(f->cloud.db));
	text = arena_strdup(&f->arena, buffer_str(&b));
	buffer_release(&b);
	return text;
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("%s is not in %s", part, text);
}

static void test_least(void **state)
{
	assert_int_equal(usage_seconds(0), 60);
	assert_int_equal(usage_seconds(59999), 60);
	assert_int_equal(usage_seconds(60000), 60);
	assert_int_equal(usage_seconds(60001), 61);
}

static void test_elapsed(void **state)
{
	const struct usage_mark a = {1000000, 5000, "one"}, stepped = {900000, 8000, "one"},
	                        rebooted = {1005000, 10, "two"}, back = {999000, 10, "two"},
	                        keeper = {0, 6000, ""};

	assert_int_equal(usage_elapsed_ms(&a, &stepped), 3000);
	assert_int_equal(usage_elapsed_ms(&a, &rebooted), 5000);
	assert_int_equal(usage_elapsed_ms(&a, &back), 0);
	assert_int_equal(usage_elapsed_ms(&a, &keeper), 1000);
}

static void test_clock_step(void **state)
{
	struct fixture *f = *state;

	f->r.now_ms = LATE + 3600000;
	run(f, LATE, 1000, LATE - 86400000, 121000); /* set back by a day while it ran for two minutes */
	has(report(f, USAGE_BY_INSTANCE, 0, 0), "\"Starts\":1,\"Seconds\":120,");
}

static void test_resize(void **state)
{
	struct fixture *f = *state;
	const char *text;

	f->r.now_ms = LATE + 3600000;
	run(f, LATE, 0, LATE + 100000, 100000);
	value_set_string(instance->doc, "InstanceType", "m5.xlarge"); /* 4 vCPUs, 16 GiB */
	run(f, LATE + 200000, 200000, LATE + 1100000, 1100000);
	text = report(f, USAGE_BY_TYPE, 0, 0);
	has(text, "\"Key\":\"m5.xlarge\",\"Running\":false,\"Starts\":1,\"Seconds\":900,\"VcpuHours\":1.0000,"
	          "\"GibHours\":4.0000}");
	has(text, "\"Key\":\"t3.nano\",\"Running\":false,\"Starts\":1,\"Seconds\":100,");
	text = report(f, USAGE_BY_INSTANCE, 0, 0);
	has(text, "\"Type\":\"m5.xlarge\"");
	has(text, "\"Starts\":2,\"Seconds\":1000,");
	has(report(f, USAGE_BY_OWNER, 0, 0), "\"Key\":\"123456789012\",\"Running\":false,\"Starts\":2,");
}

static void test_again(void **state)
{
	struct fixture *f = *state;
	const struct usage_mark first = {LATE, 0, "boot"}, second = {LATE + 50000, 50000, "boot"},
	                        end = {LATE + 90000, 90000, "boot"};

	f->r.now_ms = LATE + 3600000;
	usage_begin(&f->r, instance, &first);
	usage_begin(&f->r, instance, &second); /* it runs already */
	usage_end(&f->r, instance->id, &end);
	usage_end(&f->r, instance->id, &second); /* it has ended already */
	has(report(f, USAGE_BY_INSTANCE, 0, 0), "\"Starts\":1,\"Seconds\":90,");
}

static void test_days(void **state)
{
	struct fixture *f = *state;
	const char *text;

	f->r.now_ms = LATE + 3600000;
	run(f, LATE, 0, LATE + 90000, 90000); /* a minute before midnight, half a one behind it */
	text = report(f, USAGE_BY_DAY, 0, 0);
	has(text, "\"Key\":\"2026-01-31\",\"Running\":false,\"Starts\":1,\"Seconds\":60,");
	has(text, "\"Key\":\"2026-02-01\",\"Running\":false,\"Starts\":0,\"Seconds\":30,");
	has(report(f, USAGE_BY_TYPE, LATE / 1000 + 10, LATE / 1000 + 20), "\"Starts\":0,\"Seconds\":10,");
	has(report(f, USAGE_BY_TYPE, LATE / 1000 + 90, LATE / 1000 + 95), "\"Usage\":[]");
}

static void test_least_is_within(void **state)
{
	struct fixture *f = *state;

	f->r.now_ms = LATE + 3600000;
	run(f, LATE, 0, LATE + 5000, 5000);
	/* What is billed lies within the minute from the start, and adds up. */
	has(report(f, USAGE_BY_TYPE, LATE / 1000, LATE / 1000 + 40), "\"Starts\":1,\"Seconds\":40,");
	has(report(f, USAGE_BY_TYPE, LATE / 1000 + 40, LATE / 1000 + 80), "\"Starts\":0,\"Seconds\":20,");
}

static void test_pages(void **state)
{
	struct fixture *f = *state;
	const char *text, *token;
	struct usage_report p = {.by = USAGE_BY_INSTANCE};
	struct buffer b = {0};
	char after[64];
	unsigned seen = 0;

	f->r.now_ms = LATE + 3600000;
	for (unsigned i = 0; i < USAGE_PAGE + 1; i++) {
		instance = resource_new(&f->r, &instance_kind);
		value_set_string(instance->doc, "InstanceType", "t3.nano");
		run(f, LATE, 0, LATE + 1000, 1000);
	}
	text = report(f, USAGE_BY_INSTANCE, 0, 0);
	for (const char *at = text; (at = strstr(at, "\"Key\"")); at++)
		seen++;
	assert_int_equal(seen, USAGE_PAGE);
	token = strstr(text, "\"NextToken\":\"");
	assert_non_null(token);
	snprintf(after, sizeof(after), "%.19s", token + 13);
	p.after = after;
	assert_int_equal(usage_write(&f->r, &p, &b), 0);
	seen = 0;
	for (const char *at = buffer_str(&b); (at = strstr(at, "\"Key\"")); at++)
		seen++;
	assert_int_equal(seen, 1);
	assert_null(strstr(buffer_str(&b), "NextToken"));
	buffer_release(&b);
}

static void test_forget(void **state)
{
	struct fixture *f = *state;
	const struct usage_mark now = {LATE, 0, "boot"};

	f->r.now_ms = LATE;
	run(f, LATE - 1000000, 0, LATE - 900000, 100000);
	usage_begin(&f->r, instance, &now);
	usage_forget(&f->cloud, LATE - 800000);
	has(report(f, USAGE_BY_TYPE, 0, 0), "\"Running\":true,\"Starts\":1,");
}

static void test_beat(void **state)
{
	struct fixture *f = *state;
	const struct usage_mark at = {LATE, 77, "boot"};
	struct usage_mark seen;

	assert_false(usage_last_beat(&f->cloud, &seen));
	usage_beat(&f->cloud, &at);
	assert_true(usage_last_beat(&f->cloud, &seen));
	assert_int_equal(seen.up_ms, 77);
	assert_string_equal(seen.boot, "boot");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_least),
	        cmocka_unit_test(test_elapsed),
	        cmocka_unit_test_setup_teardown(test_clock_step, setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_resize, setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_again, setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_days, setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_least_is_within, setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_pages, setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_forget, setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_beat, setup, fixture_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
