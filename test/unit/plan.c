/* Plans of VPCs, as JSON and back; what is no plan is refused, and its place named. */
#include "net/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char whole[] =
        "{\"vpc\": \"vpc-0123456789abcdef0\", \"generation\": 7, \"dns\": true, \"cidrs\": [\"10.0.0.0/16\"],"
        " \"dhcp\": {\"domain\": \"ec2.internal\", \"dns\": [\"AmazonProvidedDNS\"]},"
        " \"tables\": [{\"id\": \"rtb-1\", \"routes\": [{\"to\": \"0.0.0.0/0\", \"kind\": \"internet\","
        " \"target\": \"igw-1\"}]}],"
        " \"groups\": [{\"id\": \"sg-1\", \"members\": [\"10.0.0.4\", \"fd00::4\"], \"rules\": [{\"egress\": "
        "true,"
        " \"protocol\": -1, \"prefixes\": [\"10.1.0.0/16\", \"::/0\"]}]}],"
        " \"interfaces\": [{\"id\": \"eni-1\", \"mac\": \"02:00:0a:00:00:04\", \"addresses\": [\"10.0.0.4\"],"
        " \"publics\": [{\"address\": \"198.18.0.1\", \"private\": \"10.0.0.4\"}], \"check\": true}]}";

static void there_and_back(void **state)
{
	struct plan p = {0}, q = {0};
	json_t *from = json_loads(whole, 0, NULL), *first, *second;
	struct arena a;
	struct error e;

	arena_init(&a);
	assert_non_null(from);
	assert_int_equal(plan_read(&p, from, &a, &e), 0);
	assert_int_equal(p.generation, 7);
	assert_true(p.dns && !p.dns_names);
	assert_string_equal(p.region, "");
	assert_int_equal(p.groups_count, 1);
	assert_string_equal(p.groups[0].members[1], "fd00::4");
	assert_int_equal(p.groups[0].rules[0].protocol, -1);
	assert_string_equal(p.groups[0].rules[0].prefixes[1], "::/0");
	assert_string_equal(p.interfaces[0].publics[0].private, "10.0.0.4");
	assert_string_equal(p.tables[0].routes[0].kind, "internet");
	first = plan_write(&p);
	assert_int_equal(plan_read(&q, first, &a, &e), 0);
	second = plan_write(&q);
	assert_true(json_equal(first, second));
	json_decref(from);
	json_decref(first);
	json_decref(second);
	arena_release(&a);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
	        {"[]", "the plan is not an object"},
	        {"{}", "vpc"},
	        {"{\"vpc\": 3}", "vpc"},
	        {"{\"vpc\": \"vpc-1; reboot\"}", "vpc"},
	        {"{\"vpc\": \"-n\"}", "vpc"},
	        {"{\"vpc\": \"vpc-1\", \"generation\": \"7\"}", "generation"},
	        {"{\"vpc\": \"vpc-1\", \"dns\": 1}", "dns"},
	        {"{\"vpc\": \"vpc-1\", \"cidrs\": \"10.0.0.0/16\"}", "cidrs"},
	        {"{\"vpc\": \"vpc-1\", \"cidrs\": [\"10.0.0.1/16\"]}", "cidrs"},
	        {"{\"vpc\": \"vpc-1\", \"cidrs\": [null]}", "cidrs"},
	        {"{\"vpc\": \"vpc-1\", \"dhcp\": []}", "dhcp"},
	        {"{\"vpc\": \"vpc-1\", \"dhcp\": {\"domain\": \"a\\nb\"}}", "dhcp: domain"},
	        {"{\"vpc\": \"vpc-1\", \"interfaces\": [{}, {\"mac\": \"02:00:0A:00:00:04\"}]}",
	         "interfaces[1]: mac"},
	        {"{\"vpc\": \"vpc-1\", \"interfaces\": [{\"addresses\": [\"10.0.0.04\"]}]}",
	         "interfaces[0]: addresses"},
	        {"{\"vpc\": \"vpc-1\", \"interfaces\": [7]}", "interfaces[0]: not an object"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *from = json_loads(bad[i].text, 0, NULL);
		struct plan p = {0};
		struct arena a;
		struct error e;

		arena_init(&a);
		assert_non_null(from);
		assert_int_equal(plan_read(&p, from, &a, &e), -1);
		if (!strstr(e.text, bad[i].says))
			fail_msg("%s: %s", bad[i].text, e.text);
		json_decref(from);
		arena_release(&a);
	}
}

static void names(void **state)
{
	char name[PLAN_TAP];

	plan_tap_name(name, "eni-0123456789abcdef0");
	assert_string_equal(name, "eni56789abcdef0");
	plan_uplink_name(name, "vpc-0123456789abcdef0");
	assert_string_equal(name, "vpc56789abcdef0");
	plan_peering_name(name, "pcx-01234567");
	assert_string_equal(name, "pcx01234567");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(there_and_back),
	        cmocka_unit_test(refused),
	        cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
