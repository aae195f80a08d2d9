/* Patterns of policies and filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/wildcard.h"

static void test_any(void **state)
{
	assert_true(wildcard_match("*", "", 0));
	assert_true(wildcard_match("ec2:Describe*", "ec2:DescribeVpcs", 0));
	assert_true(wildcard_match("ec2:describe*", "ec2:DescribeVpcs", WILDCARD_FOLD));
	assert_false(wildcard_match("ec2:describe*", "ec2:DescribeVpcs", 0));
	assert_false(wildcard_match("ec2:Describe", "ec2:DescribeVpcs", 0));
	assert_false(wildcard_match("ec2:DescribeVpcs?", "ec2:DescribeVpcs", 0));
	assert_true(wildcard_match("*:*Vpc?", "ec2:DescribeVpcs", 0));
	assert_true(wildcard_match("a*b*c", "aXbbXbc", 0));
	assert_false(wildcard_match("a*b*c", "aXbbXb", 0));
	/* No slower than the product of the lengths. */
	assert_false(wildcard_match("*a*a*a*a*a*a*a*a*a*a*b",
	                            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0));
}

static void test_escape(void **state)
{
	assert_true(wildcard_match("a\\*c", "a*c", WILDCARD_ESCAPE));
	assert_false(wildcard_match("a\\*c", "abc", WILDCARD_ESCAPE));
	assert_true(wildcard_match("\\?", "?", WILDCARD_ESCAPE));
	assert_true(wildcard_match("a\\\\*", "a\\bc", WILDCARD_ESCAPE));
	assert_false(wildcard_match("a\\", "a\\", WILDCARD_ESCAPE)); /* nothing follows it */
	assert_true(wildcard_match("*\\**", "a*b", WILDCARD_ESCAPE));
	assert_false(wildcard_match("*\\**", "ab", WILDCARD_ESCAPE));
	assert_true(wildcard_match("A\\*", "a*", WILDCARD_ESCAPE | WILDCARD_FOLD));
	/* elsewhere it stands for itself */
	assert_true(wildcard_match("a\\*", "a\\bc", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_any),
	        cmocka_unit_test(test_escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
