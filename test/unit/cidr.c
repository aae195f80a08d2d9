/* Addresses and blocks. */
#include "base/cidr.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct cidr block(const char *text)
{
	struct cidr c;

	assert_int_equal(cidr_parse(&c, text), 0);
	return c;
}

static struct ip address(const char *text)
{
	struct ip a;

	assert_int_equal(ip_parse(&a, text), 0);
	return a;
}

static void texts(void **state)
{
	static const char *const same[][2] = {
	        {"10.0.0.0/8", "10.0.0.0/8"},
	        {"100.68.0.18/18", "100.68.0.0/18"},
	        {"255.255.255.255/0", "0.0.0.0/0"},
	        {"1.2.3.4/32", "1.2.3.4/32"},
	        {"2001:DB8:0:0:1::/56", "2001:db8::/56"},
	        {"::/0", "::/0"},
	        {"ffff::1/128", "ffff::1/128"},
	        {"ffff::1/127", "ffff::/127"},
	};
	static const char *const wrong[] = {"",
	                                    "/",
	                                    "10.0.0.0",
	                                    "10.0.0/8",
	                                    "10.0.0.0/",
	                                    "10.0.0.0/33",
	                                    "10.0.0.0/+8",
	                                    "10.0.0.0/08",
	                                    "10.0.0.0/8 ",
	                                    " 10.0.0.0/8",
	                                    "010.0.0.0/8",
	                                    "256.0.0.0/8",
	                                    "::/129",
	                                    "fe80::1%lo/64",
	                                    "::g/1",
	                                    "10.0.0.0/1000",
	                                    "1.2.3.4/-1",
	                                    "::1",
	                                    "11111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/64"};
	char text[CIDR_TEXT];

	for (unsigned i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		cidr_write(text, block(same[i][0]));
		assert_string_equal(text, same[i][1]);
	}
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct cidr c;

		assert_int_equal(cidr_parse(&c, wrong[i]), -1);
	}
}

static void relations(void **state)
{
	assert_true(cidr_contains(block("10.0.0.0/8"), address("10.255.255.255")));
	assert_false(cidr_contains(block("10.0.0.0/8"), address("11.0.0.0")));
	assert_false(cidr_contains(block("0.0.0.0/0"), address("::1")));
	assert_true(cidr_contains(block("::/0"), address("::1")));
	assert_true(cidr_covers(block("10.0.0.0/8"), block("10.1.0.0/16")));
	assert_true(cidr_covers(block("10.0.0.0/8"), block("10.0.0.0/8")));
	assert_false(cidr_covers(block("10.1.0.0/16"), block("10.0.0.0/8")));
	assert_true(cidr_overlaps(block("10.1.0.0/16"), block("10.0.0.0/8")));
	assert_false(cidr_overlaps(block("10.1.0.0/16"), block("10.2.0.0/16")));
	assert_false(cidr_overlaps(block("0.0.0.0/0"), block("::/0")));
	assert_true(ip_equal(block("10.1.2.3/16").first, address("10.1.0.0")));
	assert_false(cidr_covers(block("10.1.0.0/17"), block("10.1.0.0/16")));
}

static void counts(void **state)
{
	char text[CIDR_TEXT];

	assert_true(cidr_size(block("10.0.0.0/28")) == 16);
	assert_true(cidr_size(block("0.0.0.0/0")) == (u64)1 << 32);
	assert_true(cidr_size(block("::/64")) == UINT64_MAX);
	assert_true(cidr_size(block("::/65")) == (u64)1 << 63);
	ip_write(text, cidr_nth(block("10.0.0.0/16"), 257));
	assert_string_equal(text, "10.0.1.1");
	ip_write(text, cidr_last(block("10.0.0.0/20")));
	assert_string_equal(text, "10.0.15.255");
	ip_write(text, cidr_last(block("2001:db8::/64")));
	assert_string_equal(text, "2001:db8::ffff:ffff:ffff:ffff");
	ip_write(text, cidr_last(block("::/0")));
	assert_string_equal(text, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	cidr_write(text, cidr_part(block("172.31.0.0/16"), 20, 2));
	assert_string_equal(text, "172.31.32.0/20");
	cidr_write(text, cidr_part(block("2001:db8::/56"), 64, 255));
	assert_string_equal(text, "2001:db8:0:ff::/64");
	cidr_write(text, cidr_part(block("10.0.0.0/31"), 32, 1));
	assert_string_equal(text, "10.0.0.1/32");
}

static void keys(void **state)
{
	char low[IP_KEY], high[IP_KEY];

	ip_key(low, address("9.255.255.255"));
	ip_key(high, address("10.0.0.0"));
	assert_string_equal(low, "09ffffff");
	assert_true(strcmp(low, high) < 0);
	assert_true(ip_equal(ip_of_key(high), address("10.0.0.0")));
	ip_key(low, address("2001:db8::f"));
	assert_string_equal(low, "20010db800000000000000000000000f");
	assert_true(ip_equal(ip_of_key(low), address("2001:db8::f")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(texts),
	        cmocka_unit_test(relations),
	        cmocka_unit_test(counts),
	        cmocka_unit_test(keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
