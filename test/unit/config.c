/* The configuration of a VPC's services: what is found in it, and what is refused, in which words. */
#include "net/config.h"

#include "net_fixture.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void found(void **state)
{
	struct config *c = net_fixture_new();
	const struct config_interface *i = config_interface(c, "eni1");
	struct ip a;

	assert_string_equal(i->plan->id, "eni-1");
	assert_memory_equal(i->mac, "\2\0\0\0\0\5", 6);
	assert_string_equal(i->metadata->instance, "i-1");
	assert_int_equal(i->metadata->user_data_length, 4);
	assert_memory_equal(i->metadata->user_data, "\0\1\2\xff", 4);
	assert_int_equal(i->metadata->secret_length, 16);
	assert_int_equal(i->block.length, 20);
	assert_int_equal(config_interface(c, "eni2")->block.length, 0);
	assert_null(config_interface(c, "eni3"));
	assert_true(config_resolver(c, &a) && a.bits == 0x0a000002);
	config_free(c);
}

static bool resolves(const struct config *c, const char *text)
{
	struct ip a;

	assert_int_equal(ip_parse(&a, text), 0);
	return config_is_resolver(c, a);
}

static bool has(const struct config *c, const char *text)
{
	struct ip a;

	assert_int_equal(ip_parse(&a, text), 0);
	return config_has_address(&c->interfaces[0], a);
}

static void addresses(void **state)
{
	static const char prefixed[] =
	        "{\"plan\": {\"vpc\": \"vpc-1\", \"interfaces\": [{\"id\": \"eni-1\", \"tap\": \"eni1\","
	        " \"mac\": \"02:00:00:00:00:05\", \"addresses\": [\"10.0.0.5\"], \"prefixes\": "
	        "[\"10.0.1.16/28\","
	        " \"2001:db8::/80\"]}]}}";
	struct config *c = net_fixture_new();
	struct error e;

	assert_true(resolves(c, "10.0.0.2") && resolves(c, "10.9.16.2") && resolves(c, "169.254.169.253") &&
	            resolves(c, "fd00:ec2::253"));
	assert_false(resolves(c, "10.0.0.1") || resolves(c, "169.254.169.254") || resolves(c, "::a00:2"));
	assert_true(has(c, "10.0.0.6") && has(c, "2001:db8:0:1::5"));
	assert_false(has(c, "10.0.0.7") || has(c, "::a00:6"));
	config_free(c);
	c = config_parse(prefixed, sizeof(prefixed) - 1, &e);
	assert_non_null(c);
	assert_true(has(c, "10.0.0.5") && has(c, "10.0.1.31") && has(c, "2001:db8::1:2"));
	assert_false(has(c, "10.0.1.32") || has(c, "2001:db8:0:0:1::"));
	config_free(c);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
	        {"", "line 1: '[' or '{' expected near end of file"},
	        {"[]", "not an object"},
	        {"{}", "the plan is not an object"},
	        {"{\"plan\": {\"vpc\": \"v\"}, \"plan\": {\"vpc\": \"v\"}}", "line 1: duplicate object key"},
	        {"{\"plan\": {\"vpc\": \"v\", \"cidrs\": [\"2001:db8::/56\"]}}",
	         "the plan: a block of the wrong family"},
	        {"{\"plan\": {\"vpc\": \"v\", \"interfaces\": [{\"id\": \"e\", \"tap\": \"t\"}]}}",
	         "interface e: no tap or no MAC"},
	        {"{\"plan\": {\"vpc\": \"v\", \"interfaces\": [{\"id\": \"e\", \"tap\": "
	         "\"t234567890123456\", \"mac\": "
	         "\"02:00:00:00:00:05\"}]}}",
	         "interface e: no tap or no MAC"},
	        {"{\"plan\": {\"vpc\": \"v\", \"interfaces\": [{\"id\": \"e\", \"tap\": \"t\", \"mac\": "
	         "\"02:00:00:00:00:05\"}, {\"id\": \"f\", \"tap\": \"t\", \"mac\": \"02:00:00:00:00:06\"}]}}",
	         "two interfaces on t"},
	        {"{\"plan\": {\"vpc\": \"v\", \"names\": [{\"name\": \"a..b\", \"address\": \"10.0.0.5\"}]}}",
	         "the plan: names: 'a..b' is not a name of an address"},
	        {"{\"plan\": {\"vpc\": \"v\"}, \"instances\": []}", "instances: not an object"},
	        {"{\"plan\": {\"vpc\": \"v\"}, \"instances\": {\"i\": {\"user_data\": \"AAA\"}}}",
	         "instance i: user_data: not Base64"},
	        {"{\"plan\": {\"vpc\": \"v\"}, \"instances\": {\"i\": {\"secret\": \"00\"}}}",
	         "instance i: secret: not 16 to 64 bytes in hexadecimal"},
	        {"{\"plan\": {\"vpc\": \"v\"}, \"instances\": {\"i\": {\"options\": {\"hops\": 65}}}}",
	         "instance i: options: not what belongs there"},
	        {"{\"plan\": {\"vpc\": \"v\"}, \"instances\": {\"i\": {\"tree\": \"\"}}}",
	         "instance i: tree: not an object"},
	};
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_null(config_parse(bad[i].text, strlen(bad[i].text), &e));
		assert_non_null(strstr(e.text, bad[i].why));
		assert_null(strchr(e.text, '\n'));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(found),
	        cmocka_unit_test(addresses),
	        cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
